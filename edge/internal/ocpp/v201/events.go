package v201

import (
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// fault is a problem that a station has reported and not taken back.
type fault struct {
	faultKey
	code       string // unified
	tech, info string
}

// faultKey says what it is that has a problem.
type faultKey struct {
	evse, connector int
	component       string // with its instance
	variable        string // in lower case
}

// Bounds of what one connection may have a peer remember.
const (
	maxFaults   = 200
	maxMonitors = 2000
)

// notifyEvent takes what the station has noticed about itself: the state of a
// place and faults become status, the rest is kept as it came. OCPP 2.0.1 N07,
// N08; G01.FR.07 lets a station tell its availability in this way alone.
func (p *Peer) notifyEvent(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyEventRequest
	wrong, err := p.decode(&m, payload, "generatedAt", "seqNo", "eventData")
	if err != nil {
		return b, err
	}
	rest := len(wrong) > 0
	for i := range m.EventData {
		d := &m.EventData[i]
		taken, err := p.tookEvent(d)
		if err != nil {
			return b, err
		}
		rest = rest || !taken
	}
	if rest {
		if err := p.keep(m.Action(), payload, "events of the device model"); err != nil {
			return b, err
		}
	}
	return (&ocpp201.NotifyEventResponse{}).AppendJSON(b), nil
}

// tookEvent makes a status of an event that is about one.
func (p *Peer) tookEvent(d *ocpp201.EventData) (bool, error) {
	evse, connector, err := eventPlace(&d.Component)
	if err != nil {
		p.c.Deviated("evse_unusable", "NotifyEvent", err.Error())
		return false, nil
	}
	component, variable := strings.ToLower(d.Component.Name), strings.ToLower(d.Variable.Name)
	if variable == "availabilitystate" {
		switch component {
		case "chargingstation":
			evse, connector = 0, 0
		case "evse":
			connector = 0
		case "connector":
		default:
			return false, nil
		}
		report := site.StatusReport{EVSE: evse, Connector: connector, DeviceTime: d.Timestamp.Raw}
		report.Status, report.Raw = statusOf(d.ActualValue)
		return true, p.status(report)
	}
	code, raised := p.problemOf(d)
	if code == "" {
		return false, nil
	}
	f := fault{
		faultKey: faultKey{evse: evse, connector: connector, component: nameOf(&d.Component), variable: variable},
		code:     code, tech: d.TechCode, info: d.TechInfo,
	}
	if f.info == "" {
		f.info = f.component + "/" + d.Variable.Name
	}
	if !p.noteFault(f, raised) {
		return true, nil
	}
	return true, p.st.Status(p.faultAt(evse, connector, d.Timestamp.Raw))
}

// status passes the state of a place on.
func (p *Peer) status(r site.StatusReport) error {
	if p.places == nil {
		p.places = map[[2]int]bool{}
	}
	if len(p.places) < maxFaults {
		p.places[[2]int{r.EVSE, r.Connector}] = true
	}
	return p.st.Status(r)
}

// eventPlace returns where a component stands.
func eventPlace(c *ocpp201.Component) (evse, connector int, err error) {
	if c.EVSE == nil {
		return 0, 0, nil
	}
	var n int64
	if c.EVSE.ConnectorID != nil {
		n = *c.EVSE.ConnectorID
	}
	return place(c.EVSE.ID, n)
}

// faultAt reports the newest of the faults that a place has, or that it has none.
func (p *Peer) faultAt(evse, connector int, time string) site.StatusReport {
	r := site.StatusReport{EVSE: evse, Connector: connector, DeviceTime: time}
	for _, f := range slices.Backward(p.faults) {
		if f.evse == evse && f.connector == connector {
			r.ErrorCode, r.VendorErrorCode, r.Info = f.code, f.tech, f.info
			return r
		}
	}
	return r
}

// noteFault remembers a fault or forgets it, and tells whether that is news. A
// fault that is over and was not raised on this connection may have been on one
// before: once that is news, where the state of the place is known.
func (p *Peer) noteFault(f fault, raised bool) bool {
	at := slices.IndexFunc(p.faults, func(k fault) bool { return k.faultKey == f.faultKey })
	if at >= 0 {
		p.faults = slices.Delete(p.faults, at, at+1)
	}
	if raised {
		if len(p.faults) >= maxFaults {
			p.faults = slices.Delete(p.faults, 0, 1)
		}
		p.faults = append(p.faults, f)
		delete(p.over, f.faultKey)
		return true
	}
	if p.over == nil {
		p.over = map[faultKey]bool{}
	}
	told := p.over[f.faultKey]
	if len(p.over) < maxMonitors {
		p.over[f.faultKey] = true
	}
	return at >= 0 || !told && p.places[[2]int{f.evse, f.connector}]
}

// problemOf tells whether an event is about a fault, by its unified code, and
// whether the fault is there or gone. OCPP 2.0.1 part 2 appendix 3: Problem and
// Tripped are truth values, the others are faults where they alert.
func (p *Peer) problemOf(d *ocpp201.EventData) (code string, raised bool) {
	component, variable := strings.ToLower(d.Component.Name), strings.ToLower(d.Variable.Name)
	alerting := d.Trigger.Fold() == ocpp201.EventTriggerAlerting
	switch variable {
	case "problem", "tripped", "overload":
		yes, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(d.ActualValue)))
		if err != nil {
			yes = alerting
		}
		return faultOf(component), yes && !isTrue(d.Cleared)
	case "active":
		if component != "temperaturesensor" || !alerting {
			return "", false
		}
		yes, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(d.ActualValue)))
		return "temperature_high", (yes || err != nil) && !isTrue(d.Cleared)
	}
	if !alerting {
		return "", false
	}
	switch variable {
	case "temperature":
		if p.monitors[monitorOf(d)] == ocpp201.MonitorLowerThreshold {
			return "", false
		}
		code = "temperature_high"
	case "signalstrength":
		code = "weak_signal"
	case "acvoltage", "dcvoltage", "voltage":
		code = p.voltageFault(d)
	case "accurrent", "dccurrent":
		if p.monitors[monitorOf(d)] != ocpp201.MonitorLowerThreshold {
			code = "over_current"
		}
	}
	return code, !isTrue(d.Cleared)
}

// voltageFault tells on which side a voltage is out of bounds: by the monitor
// that has alerted, where its kind is known.
func (p *Peer) voltageFault(d *ocpp201.EventData) string {
	switch p.monitors[monitorOf(d)] {
	case ocpp201.MonitorUpperThreshold:
		return "over_voltage"
	case ocpp201.MonitorLowerThreshold:
		return "under_voltage"
	}
	for _, f := range p.faults { // as it was raised
		if f.component == nameOf(&d.Component) && strings.EqualFold(d.Variable.Name, f.variable) {
			return f.code
		}
	}
	return ""
}

// monitorOf returns the monitor that an event came of; 0: none is named.
func monitorOf(d *ocpp201.EventData) int64 {
	if d.VariableMonitoringID == nil {
		return 0
	}
	return *d.VariableMonitoringID
}

// noteMonitor remembers of which kind a monitor is.
func (p *Peer) noteMonitor(id int64, kind ocpp201.Monitor) {
	if p.monitors == nil {
		p.monitors = map[int64]ocpp201.Monitor{}
	}
	if len(p.monitors) >= maxMonitors {
		clear(p.monitors)
	}
	p.monitors[id] = kind.Fold()
}

// componentFaults are the unified codes of faults, by the component that has
// them, in lower case.
var componentFaults = map[string]string{
	"connectorpluretentionlock": "connector_lock", "connectorplugretentionlock": "connector_lock", "connectorprotectionrelease": "connector_lock",
	"connectedev": "ev_communication", "chademoctrlr": "ev_communication", "iso15118ctrlr": "ev_communication", "cppwmcontroller": "ev_communication",
	"rcd": "ground", "groundisolationprotection": "ground", "electricalfeed": "over_current",
	"temperaturesensor": "temperature_high", "liquidcoolingsystem": "temperature_high", "aircoolingsystem": "temperature_high",
	"controller": "internal", "chargingstation": "internal", "evse": "internal", "localauthlistctrlr": "internal",
	"overcurrentbreaker": "over_current", "overcurrentprotection": "over_current", "overcurrentprotectionrecloser": "over_current",
	"fiscalmetering": "meter", "powercontactor": "power_switch", "tokenreader": "reader", "datalink": "weak_signal",
}

// faultOf returns the unified code of a fault of a component.
func faultOf(component string) string {
	if code, ok := componentFaults[component]; ok {
		return code
	}
	return "other"
}

// notifyChargingLimit says that somebody else limits the station, or an EVSE.
// OCPP 2.0.1 K12.
func (p *Peer) notifyChargingLimit(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyChargingLimitRequest
	wrong, err := p.decode(&m, payload, "chargingSchedule", "evseId", "chargingLimit")
	if err != nil {
		return b, err
	}
	limit := site.ExternalLimit{Source: sourceOf(m.ChargingLimit.ChargingLimitSource), EVSE: p.optionalEVSE(m.EVSEID)}
	if isTrue(m.ChargingLimit.IsGridCritical) {
		limit.Info = "critical for the grid"
	}
	single := len(m.ChargingSchedule) == 1 && len(m.ChargingSchedule[0].ChargingSchedulePeriod) == 1
	if single {
		s := &m.ChargingSchedule[0]
		value := s.ChargingSchedulePeriod[0].Limit
		if s.ChargingRateUnit.Fold() == ocpp201.ChargingRateUnitW {
			limit.LimitW = &value
		} else {
			limit.LimitA = &value
		}
	}
	if len(m.ChargingSchedule) > 0 && !single || len(wrong) > 0 { // more than a limit can say
		if err := p.keep(m.Action(), payload, "the schedule of an external limit"); err != nil {
			return b, err
		}
	}
	if err := p.st.ExternalLimit(limit); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyChargingLimitResponse{}).AppendJSON(b), nil
}

// clearedChargingLimit says that an external limit is gone. OCPP 2.0.1 K13.
func (p *Peer) clearedChargingLimit(b, payload []byte) ([]byte, error) {
	var m ocpp201.ClearedChargingLimitRequest
	if _, err := p.decode(&m, payload, "evseId", "chargingLimitSource"); err != nil {
		return b, err
	}
	limit := site.ExternalLimit{Source: sourceOf(m.ChargingLimitSource), EVSE: p.optionalEVSE(m.EVSEID), Cleared: true}
	if err := p.st.ExternalLimit(limit); err != nil {
		return b, err
	}
	return (&ocpp201.ClearedChargingLimitResponse{}).AppendJSON(b), nil
}

// sourceOf returns whose limit it is. OCPP 2.0.1 ChargingLimitSourceEnumType; in
// 2.1 it is a free word.
func sourceOf(word ocpp201.ChargingLimitSource) string {
	switch s := snake(string(word.Fold())); s {
	case "ems", "so", "cso", "other":
		return s
	case "":
		return "other"
	default:
		return s
	}
}

// optionalEVSE reads an EVSE that need not be named.
func (p *Peer) optionalEVSE(id *int64) int {
	if id == nil {
		return 0
	}
	evse, _, err := place(*id, 0)
	if err != nil {
		p.c.Deviated("evse_unusable", "", err.Error())
	}
	return evse
}
