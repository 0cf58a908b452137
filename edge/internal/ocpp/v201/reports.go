package v201

import (
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// notifyReport takes a part of the device model. OCPP 2.0.1 B07, B08.
func (p *Peer) notifyReport(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyReportRequest
	wrong, err := p.decode(&m, payload, "generatedAt", "seqNo", "reportData")
	if err != nil {
		return b, err
	}
	if len(wrong) > 0 { // the rest is told; what could not be read stays as it came
		if err := p.keep(m.Action(), payload, wrong[0].String()); err != nil {
			return b, err
		}
	}
	more := isTrue(m.Tbc)
	variables := variablesOf(m.ReportData)
	command := p.arrived(m.Action(), m.RequestID, &m, more)
	report := site.ConfigurationReport{
		Variables: variables, Command: command, Report: small(m.RequestID), Part: small(m.SeqNo) + 1, More: more,
		Complete: !more && p.isWhole(m.RequestID),
	}
	if err := p.st.Configuration(report); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyReportResponse{}).AppendJSON(b), nil
}

// variablesOf returns the variables of a report, one for each attribute, with
// what they may be.
func variablesOf(data []ocpp201.ReportData) []event.Variable {
	n := 0
	for i := range data {
		n += len(data[i].VariableAttribute)
	}
	variables := make([]event.Variable, 0, n)
	for i := range data {
		d := &data[i]
		v := variableOf(&d.Component, &d.Variable)
		if c := d.VariableCharacteristics; c != nil {
			v.DataType, v.Unit = snake(string(c.DataType)), c.Unit
			v.Values = listOf(c.ValuesList)
		}
		for j := range d.VariableAttribute {
			a, one := &d.VariableAttribute[j], v
			if kind := a.Type.Fold(); kind != ocpp201.AttributeActual {
				one.Attribute = string(kind)
			}
			if !job.Secret(one.Variable) {
				one.Value = a.Value
			}
			if a.Mutability != "" {
				one.Mutability = snake(string(a.Mutability.Fold()))
				one.ReadOnly = one.Mutability == "read_only"
			}
			variables = append(variables, one)
		}
	}
	return variables
}

// variableOf returns the place of a variable: an instance of a component stands
// behind a slash, a connector in place of it, as connector-2.
func variableOf(c *ocpp201.Component, v *ocpp201.Variable) event.Variable {
	evse, _, err := eventPlace(c)
	if err != nil {
		evse = 0
	}
	return event.Variable{Component: nameOf(c), Variable: v.Name, Instance: v.Instance, EVSE: evse}
}

// nameOf returns the name of a component within its EVSE.
func nameOf(c *ocpp201.Component) string {
	switch {
	case c.Instance != "":
		return c.Name + "/" + c.Instance
	case c.EVSE != nil && c.EVSE.ConnectorID != nil && *c.EVSE.ConnectorID > 0:
		return c.Name + "/connector-" + strconv.FormatInt(*c.EVSE.ConnectorID, 10)
	}
	return c.Name
}

// listOf reads a list of values. OCPP 2.0.1 part 1 §4: separated by commas.
func listOf(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// notifyMonitoringReport takes a part of the monitors that are set. OCPP 2.0.1
// N02.
func (p *Peer) notifyMonitoringReport(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyMonitoringReportRequest
	if _, err := p.decode(&m, payload, "generatedAt", "seqNo", "monitor"); err != nil {
		return b, err
	}
	for i := range m.Monitor {
		for _, v := range m.Monitor[i].VariableMonitoring {
			p.noteMonitor(v.ID, v.Type)
		}
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report of monitors"); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyMonitoringReportResponse{}).AppendJSON(b), nil
}

// notifyDisplayMessages takes a part of the messages that the station shows. OCPP
// 2.0.1 O03, O04.
func (p *Peer) notifyDisplayMessages(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyDisplayMessagesRequest
	if _, err := p.decode(&m, payload, "messageInfo"); err != nil {
		return b, err
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report of display messages"); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyDisplayMessagesResponse{}).AppendJSON(b), nil
}

// notifyCustomerInformation takes a part of what the station knows of a customer.
// OCPP 2.0.1 N09.
func (p *Peer) notifyCustomerInformation(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyCustomerInformationRequest
	if _, err := p.decode(&m, payload, "generatedAt", "seqNo", "data"); err != nil {
		return b, err
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report about a customer"); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyCustomerInformationResponse{}).AppendJSON(b), nil
}

// reportChargingProfiles takes a part of the profiles that the station holds. OCPP
// 2.0.1 K09.
func (p *Peer) reportChargingProfiles(b, payload []byte) ([]byte, error) {
	var m ocpp201.ReportChargingProfilesRequest
	if _, err := p.decode(&m, payload, "chargingProfile", "chargingLimitSource", "evseId"); err != nil {
		return b, err
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report of charging profiles"); err != nil {
		return b, err
	}
	return (&ocpp201.ReportChargingProfilesResponse{}).AppendJSON(b), nil
}
