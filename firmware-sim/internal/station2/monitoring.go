package station2

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// watch is what a monitor remembers while the station runs.
type watch struct {
	last    string    // value that a delta counts from
	alerted bool      // beyond its threshold
	next    time.Time // of a periodic one
}

func (m Monitor) name() model.Name {
	return model.Name{Component: m.Component, Instance: m.Instance, EVSE: m.EVSE, Connector: m.Connector, Variable: m.Variable, Of: m.Of}
}

// setMonitors is N04.
func (s *Station) setMonitors(req *ocpp21.SetVariableMonitoringRequest) ocpp21.Response {
	resp := &ocpp21.SetVariableMonitoringResponse{}
	for _, d := range req.SetMonitoringData {
		r := ocpp21.SetMonitoringResult{ID: d.ID, Type: d.Type, Component: d.Component, Variable: d.Variable, Severity: d.Severity, Status: s.setMonitor(&d)}
		if r.Status == ocpp21.SetMonitoringStatusAccepted {
			r.ID = d.ID
		}
		resp.SetMonitoringResult = append(resp.SetMonitoringResult, r)
	}
	s.armMonitors()
	return resp
}

// setMonitor sets one monitor and gives it an id.
func (s *Station) setMonitor(d *ocpp21.SetMonitoringData) ocpp21.SetMonitoringStatus {
	n := nameOf(d.Component, d.Variable)
	v, err := s.model.Find(n)
	if errors.Is(err, model.ErrComponent) {
		return ocpp21.SetMonitoringStatusUnknownComponent
	}
	if err != nil {
		return ocpp21.SetMonitoringStatusUnknownVariable
	}
	numeric := v.Type == "integer" || v.Type == "decimal"
	switch {
	case !v.Monitored:
		return ocpp21.SetMonitoringStatusRejected
	case d.Severity > 9:
		return ocpp21.SetMonitoringStatusRejected
	case (d.Type == ocpp21.MonitorUpperThreshold || d.Type == ocpp21.MonitorLowerThreshold) && !numeric,
		d.Type == ocpp21.MonitorTargetDelta, d.Type == ocpp21.MonitorTargetDeltaRelative:
		return ocpp21.SetMonitoringStatusUnsupportedMonitorType
	case (d.Type == ocpp21.MonitorDelta || d.Type == ocpp21.MonitorPeriodic || d.Type == ocpp21.MonitorPeriodicClockAligned) && d.Value < 0:
		return ocpp21.SetMonitoringStatusRejected
	}
	for id, m := range s.state.Monitors { // N04.FR.16
		if m.name() == v.Name && m.Type == string(d.Type) && m.Severity == d.Severity && (d.ID == nil || *d.ID != id) {
			return ocpp21.SetMonitoringStatusDuplicate
		}
	}
	if d.ID != nil {
		if held, ok := s.state.Monitors[*d.ID]; !ok || held.name() != v.Name {
			return ocpp21.SetMonitoringStatusRejected
		}
	} else {
		s.state.NextMonitor++
		d.ID = ptr(s.state.NextMonitor)
	}
	s.state.Monitors[*d.ID] = Monitor{
		ID: *d.ID, Type: string(d.Type), Value: d.Value, Severity: d.Severity, Transaction: d.Transaction != nil && *d.Transaction,
		Component: v.Name.Component, Instance: v.Name.Instance, EVSE: v.Name.EVSE, Connector: v.Name.Connector, Variable: v.Name.Variable, Of: v.Name.Of,
	}
	delete(s.monitors, *d.ID)
	if p := d.PeriodicEventStream; p != nil && s.v21() {
		s.state.Streams[*d.ID] = StreamState{ID: *d.ID, Monitor: *d.ID, Interval: p.Interval, Values: p.Values}
		s.In("streams", 100*time.Millisecond, s.openStreams)
	}
	s.Dirty()
	return ocpp21.SetMonitoringStatusAccepted
}

// clearMonitors is N06.
func (s *Station) clearMonitors(req *ocpp21.ClearVariableMonitoringRequest) ocpp21.Response {
	resp := &ocpp21.ClearVariableMonitoringResponse{}
	for _, id := range req.ID {
		status := ocpp21.ClearMonitoringStatusNotFound
		if _, ok := s.state.Monitors[id]; ok {
			status = ocpp21.ClearMonitoringStatusAccepted
			s.forgetMonitor(id)
		}
		resp.ClearMonitoringResult = append(resp.ClearMonitoringResult, ocpp21.ClearMonitoringResult{ID: id, Status: status})
	}
	return resp
}

func (s *Station) forgetMonitor(id int64) {
	delete(s.state.Monitors, id)
	delete(s.monitors, id)
	s.closeStream(id)
	s.Dirty()
}

// setMonitoringBase is N05: nothing is monitored from the factory, so every base
// but All takes away what the CSMS has set.
func (s *Station) setMonitoringBase(base ocpp21.MonitoringBase) ocpp21.Response {
	s.state.MonitoringBase = string(base)
	s.Dirty()
	if base != ocpp21.MonitoringBaseAll {
		for id := range s.state.Monitors {
			s.forgetMonitor(id)
		}
	}
	return &ocpp21.SetMonitoringBaseResponse{Status: ocpp21.GenericDeviceModelStatusAccepted}
}

func (s *Station) setMonitoringLevel(severity int64) ocpp21.Response {
	if severity > 9 {
		return &ocpp21.SetMonitoringLevelResponse{Status: ocpp21.GenericStatusRejected}
	}
	s.state.MonitoringLevel = severity
	s.Dirty()
	return &ocpp21.SetMonitoringLevelResponse{Status: ocpp21.GenericStatusAccepted}
}

// monitoringReport is N02.
func (s *Station) monitoringReport(req *ocpp21.GetMonitoringReportRequest) (ocpp21.Response, func()) {
	kinds := map[ocpp21.MonitoringCriterion][]ocpp21.Monitor{
		ocpp21.MonitoringCriterionThresholdMonitoring: {ocpp21.MonitorUpperThreshold, ocpp21.MonitorLowerThreshold},
		ocpp21.MonitoringCriterionDeltaMonitoring:     {ocpp21.MonitorDelta},
		ocpp21.MonitoringCriterionPeriodicMonitoring:  {ocpp21.MonitorPeriodic, ocpp21.MonitorPeriodicClockAligned},
	}
	var data []ocpp21.MonitoringData
	for _, m := range s.sortedMonitors() {
		fits := len(req.MonitoringCriteria) == 0 || slices.ContainsFunc(req.MonitoringCriteria, func(c ocpp21.MonitoringCriterion) bool {
			return slices.Contains(kinds[c], ocpp21.Monitor(m.Type))
		})
		if !fits || !wanted(req.ComponentVariable, m.name()) {
			continue
		}
		v := ocpp21.VariableMonitoring{
			ID: m.ID, Transaction: m.Transaction, Value: m.Value, Type: ocpp21.Monitor(m.Type), Severity: m.Severity,
			EventNotificationType: ocpp21.EventNotificationCustomMonitor,
		}
		data = append(data, ocpp21.MonitoringData{Component: componentOf(m.name()), Variable: variableOf(m.name()), VariableMonitoring: []ocpp21.VariableMonitoring{v}})
	}
	if len(data) == 0 {
		return &ocpp21.GetMonitoringReportResponse{Status: ocpp21.GenericDeviceModelStatusEmptyResultSet}, nil
	}
	return &ocpp21.GetMonitoringReportResponse{Status: ocpp21.GenericDeviceModelStatusAccepted}, func() {
		part := int64(0)
		for chunk := range slices.Chunk(data, partLength) {
			part++
			s.say(&ocpp21.NotifyMonitoringReportRequest{
				RequestID: req.RequestID, Monitor: chunk, SeqNo: part - 1, GeneratedAt: at(s.Now()), Tbc: optional(int(part)*partLength < len(data)),
			}, nil).Keep = true
		}
	}
}

func (s *Station) sortedMonitors() []Monitor {
	all := make([]Monitor, 0, len(s.state.Monitors))
	for _, m := range s.state.Monitors {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Monitor) int { return int(a.ID - b.ID) })
	return all
}

// armMonitors lets the monitors count from now.
func (s *Station) armMonitors() {
	for id, m := range s.state.Monitors {
		if s.monitors[id] == nil {
			v, err := s.model.Find(m.name())
			if err != nil {
				continue
			}
			s.monitors[id] = &watch{last: v.Value, next: s.nextPeriod(m)}
		}
	}
	if len(s.monitors) > 0 && s.Powered {
		s.ticking()
	}
}

func (s *Station) nextPeriod(m Monitor) time.Time {
	every := time.Duration(m.Value * float64(time.Second))
	if every <= 0 {
		return time.Time{}
	}
	if m.Type == string(ocpp21.MonitorPeriodicClockAligned) {
		return s.Now().Truncate(every).Add(every)
	}
	return s.Now().Add(every)
}

// observe looks at what is monitored, once a second (N07, N08).
func (s *Station) observe() {
	if !s.model.Bool(model.MonitoringEnabled) {
		return
	}
	var events []ocpp21.EventData
	for _, m := range s.sortedMonitors() {
		w := s.monitors[m.ID]
		if w == nil || m.Severity > s.state.MonitoringLevel || m.Transaction && !s.anyRunning(m.EVSE) {
			continue
		}
		v, err := s.model.Find(m.name())
		if err != nil {
			continue
		}
		trigger, cleared, fired := s.fires(m, w, v.Value)
		if !fired || s.stream(m.ID, v.Value) {
			continue
		}
		if !s.Accepted() && m.Severity > int64(s.model.Int(model.OfflineQueuingSeverity)) {
			continue
		}
		events = append(events, ocpp21.EventData{
			Timestamp: at(s.Now()), Trigger: trigger, ActualValue: v.Value, Cleared: optional(cleared), VariableMonitoringID: &m.ID,
			Component: componentOf(m.name()), Variable: variableOf(m.name()), EventNotificationType: ocpp21.EventNotificationCustomMonitor, Severity: &m.Severity,
		})
	}
	if len(events) > 0 {
		s.notifyEvent(events).Keep = true
	}
}

func (s *Station) anyRunning(id int) bool {
	return slices.ContainsFunc(s.evses, func(e *evse) bool { return (id == 0 || e.id == id) && s.running(e) != nil })
}

// fires tells whether a monitor has something to say about a value.
func (s *Station) fires(m Monitor, w *watch, value string) (trigger ocpp21.EventTrigger, cleared, fired bool) {
	switch ocpp21.Monitor(m.Type) {
	case ocpp21.MonitorUpperThreshold, ocpp21.MonitorLowerThreshold:
		n, err := strconv.ParseFloat(value, 64)
		beyond := err == nil && (n > m.Value) == (m.Type == string(ocpp21.MonitorUpperThreshold)) && n != m.Value
		if beyond == w.alerted {
			return "", false, false
		}
		w.alerted = beyond
		return ocpp21.EventTriggerAlerting, !beyond, true
	case ocpp21.MonitorDelta:
		n, err1 := strconv.ParseFloat(value, 64)
		last, err2 := strconv.ParseFloat(w.last, 64)
		if err1 == nil && err2 == nil && math.Abs(n-last) < m.Value || value == w.last {
			return "", false, false
		}
		w.last = value
		return ocpp21.EventTriggerDelta, false, true
	case ocpp21.MonitorPeriodic, ocpp21.MonitorPeriodicClockAligned:
		if w.next.IsZero() || s.Now().Before(w.next) {
			return "", false, false
		}
		w.next = s.nextPeriod(m)
		return ocpp21.EventTriggerPeriodic, false, true
	}
	return "", false, false
}
