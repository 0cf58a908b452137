package station2

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

func nameOf(c ocpp21.Component, v ocpp21.Variable) model.Name {
	n := model.Name{Component: c.Name, Instance: c.Instance, Variable: v.Name, Of: v.Instance}
	if c.EVSE != nil {
		n.EVSE = int(c.EVSE.ID)
		if c.EVSE.ConnectorID != nil {
			n.Connector = int(*c.EVSE.ConnectorID)
		}
	}
	return n
}

func componentOf(n model.Name) ocpp21.Component {
	c := ocpp21.Component{Name: n.Component, Instance: n.Instance}
	if n.EVSE > 0 {
		c.EVSE = &ocpp21.EVSE{ID: int64(n.EVSE)}
		if n.Connector > 0 {
			c.EVSE.ConnectorID = ptr(int64(n.Connector))
		}
	}
	return c
}

func variableOf(n model.Name) ocpp21.Variable {
	return ocpp21.Variable{Name: n.Variable, Instance: n.Of}
}

// getVariables is B06.
func (s *Station) getVariables(req *ocpp21.GetVariablesRequest) ocpp21.Response {
	resp := &ocpp21.GetVariablesResponse{}
	for _, d := range req.GetVariableData {
		r := ocpp21.GetVariableResult{Component: d.Component, Variable: d.Variable, AttributeType: d.AttributeType, AttributeStatus: ocpp21.GetVariableStatusAccepted}
		v, err := s.model.Find(nameOf(d.Component, d.Variable))
		switch {
		case errors.Is(err, model.ErrComponent):
			r.AttributeStatus = ocpp21.GetVariableStatusUnknownComponent
		case err != nil:
			r.AttributeStatus = ocpp21.GetVariableStatusUnknownVariable
		case d.AttributeType != "" && d.AttributeType != ocpp21.AttributeActual:
			r.AttributeStatus = ocpp21.GetVariableStatusNotSupportedAttributeType
		case v.Mutability == model.WriteOnly:
			r.AttributeStatus = ocpp21.GetVariableStatusRejected
		default:
			r.AttributeValue = v.Value
		}
		resp.GetVariableResult = append(resp.GetVariableResult, r)
	}
	return resp
}

// setVariables is B05.
func (s *Station) setVariables(req *ocpp21.SetVariablesRequest) (ocpp21.Response, func()) {
	resp := &ocpp21.SetVariablesResponse{}
	var then []func()
	for _, d := range req.SetVariableData {
		r := ocpp21.SetVariableResult{Component: d.Component, Variable: d.Variable, AttributeType: d.AttributeType, AttributeStatus: ocpp21.SetVariableStatusAccepted}
		name := nameOf(d.Component, d.Variable)
		if d.AttributeType != "" && d.AttributeType != ocpp21.AttributeActual {
			r.AttributeStatus = ocpp21.SetVariableStatusNotSupportedAttributeType
		} else {
			reboot, err := s.setVariable(name, d.AttributeValue)
			switch {
			case errors.Is(err, model.ErrComponent):
				r.AttributeStatus = ocpp21.SetVariableStatusUnknownComponent
			case errors.Is(err, model.ErrVariable):
				r.AttributeStatus = ocpp21.SetVariableStatusUnknownVariable
			case err != nil:
				r.AttributeStatus = ocpp21.SetVariableStatusRejected
			case reboot:
				r.AttributeStatus = ocpp21.SetVariableStatusRebootRequired
			default:
				then = append(then, s.variableSet(name))
			}
		}
		resp.SetVariableResult = append(resp.SetVariableResult, r)
	}
	s.Dirty()
	return resp, func() {
		for _, f := range then {
			f()
		}
	}
}

// setVariable writes one variable. A priority must name slots that are filled
// (B09.FR.21); the order may not lower the security profile.
func (s *Station) setVariable(n model.Name, value string) (reboot bool, err error) {
	if strings.EqualFold(n.Component+"."+n.Variable, model.NetworkPriority) {
		for slot := range strings.SplitSeq(value, ",") {
			id, ok := slotNumber(slot)
			profile, filled := s.state.Network[id]
			if !ok || id != 0 && !filled || id != 0 && profile.SecurityProfile < int64(s.model.Int(model.SecurityProfile)) {
				return false, model.ErrRejected
			}
		}
	}
	return s.model.Set(n, value)
}

// variableSet returns what a changed variable sets in motion.
func (s *Station) variableSet(n model.Name) func() {
	v, err := s.model.Find(n)
	if err != nil {
		return func() {}
	}
	switch v.Name.String() {
	case model.HeartbeatInterval:
		return s.scheduleHeartbeat
	case model.WebSocketPingInterval:
		return s.SchedulePing
	case model.AlignedInterval, model.AlignedTxEndedInterval:
		return s.scheduleAligned
	case model.TxUpdatedInterval, model.TxEndedInterval:
		return func() {
			for _, e := range s.evses {
				if s.running(e) != nil {
					s.scheduleSamples(e)
				}
			}
		}
	case model.BasicAuthPassword:
		return func() {
			s.security("ReconfigurationOfSecurityParameters", "BasicAuthPassword")
			s.In("reconnect", 200*time.Millisecond, func() { s.Reconnect("new password") })
		}
	}
	return func() {}
}

// ---- reports

func (s *Station) reportData(v model.Variable) ocpp21.ReportData {
	attribute := ocpp21.VariableAttribute{Type: ocpp21.AttributeActual, Value: v.Value, Mutability: ocpp21.Mutability(v.Mutability), Persistent: ptr(true), Constant: ptr(false)}
	if v.Mutability == model.WriteOnly {
		attribute.Value = ""
	}
	return ocpp21.ReportData{
		Component: componentOf(v.Name), Variable: variableOf(v.Name), VariableAttribute: []ocpp21.VariableAttribute{attribute},
		VariableCharacteristics: &ocpp21.VariableCharacteristics{
			Unit: v.Unit, DataType: ocpp21.Data(v.Type), MinLimit: v.Min, MaxLimit: v.Max, ValuesList: strings.Join(v.Values, ","), SupportsMonitoring: v.Monitored,
		},
	}
}

// baseReport is B07.
func (s *Station) baseReport(req *ocpp21.GetBaseReportRequest) (ocpp21.Response, func()) {
	var chosen []model.Variable
	for _, v := range s.model.All() {
		summary := v.Name.Variable == "AvailabilityState" || v.Name.Variable == "Problem"
		if req.ReportBase == ocpp21.ReportBaseFullInventory || req.ReportBase == ocpp21.ReportBaseConfigurationInventory && v.Mutability != model.ReadOnly ||
			req.ReportBase == ocpp21.ReportBaseSummaryInventory && summary {
			chosen = append(chosen, v)
		}
	}
	return &ocpp21.GetBaseReportResponse{Status: ocpp21.GenericDeviceModelStatusAccepted}, func() { s.report(req.RequestID, chosen) }
}

// getReport is B08.
func (s *Station) getReport(req *ocpp21.GetReportRequest) (ocpp21.Response, func()) {
	if len(req.ComponentVariable) > s.model.Int(model.GetReportItems) {
		return &ocpp21.GetReportResponse{Status: ocpp21.GenericDeviceModelStatusRejected}, nil
	}
	var chosen []model.Variable
	for _, v := range s.model.All() {
		if wanted(req.ComponentVariable, v.Name) && s.fitsCriteria(req.ComponentCriteria, v.Name) {
			chosen = append(chosen, v)
		}
	}
	if len(chosen) == 0 {
		return &ocpp21.GetReportResponse{Status: ocpp21.GenericDeviceModelStatusEmptyResultSet}, nil
	}
	return &ocpp21.GetReportResponse{Status: ocpp21.GenericDeviceModelStatusAccepted}, func() { s.report(req.RequestID, chosen) }
}

// wanted tells whether a variable is one of those asked for; none asked for means
// all.
func wanted(list []ocpp21.ComponentVariable, n model.Name) bool {
	if len(list) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(cv ocpp21.ComponentVariable) bool {
		c := cv.Component
		if !strings.EqualFold(c.Name, n.Component) || c.Instance != "" && !strings.EqualFold(c.Instance, n.Instance) {
			return false
		}
		if c.EVSE != nil && (int(c.EVSE.ID) != n.EVSE || c.EVSE.ConnectorID != nil && int(*c.EVSE.ConnectorID) != n.Connector) {
			return false
		}
		v := cv.Variable
		return v == nil || strings.EqualFold(v.Name, n.Variable) && (v.Instance == "" || strings.EqualFold(v.Instance, n.Of))
	})
}

// fitsCriteria keeps the components that have a variable of one of the names
// asked for, and have it true. A component without Available, Enabled or Active is
// that by itself (B08.FR.07 to B08.FR.10).
func (s *Station) fitsCriteria(criteria []ocpp21.ComponentCriterion, n model.Name) bool {
	if len(criteria) == 0 {
		return true
	}
	return slices.ContainsFunc(criteria, func(c ocpp21.ComponentCriterion) bool {
		n := n
		n.Variable, n.Of = string(c), ""
		v, err := s.model.Find(n)
		if err != nil {
			return c != ocpp21.ComponentCriterionProblem
		}
		return strings.EqualFold(v.Value, "true")
	})
}

// partLength is how many variables a NotifyReport carries.
const partLength = 25

// report sends variables in parts.
func (s *Station) report(id int64, all []model.Variable) {
	if len(all) == 0 {
		s.say(&ocpp21.NotifyReportRequest{RequestID: id, GeneratedAt: at(s.Now())}, nil)
		return
	}
	part := int64(0)
	for chunk := range slices.Chunk(all, partLength) {
		req := &ocpp21.NotifyReportRequest{RequestID: id, GeneratedAt: at(s.Now()), SeqNo: part}
		for _, v := range chunk {
			req.ReportData = append(req.ReportData, s.reportData(v))
		}
		part++
		req.Tbc = optional(int(part)*partLength < len(all))
		s.say(req, nil).Keep = true
	}
}
