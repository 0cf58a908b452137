package station2

import (
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// facts are what the status of a connector follows from.
type facts struct {
	broken, occupied, reserved, inoperative bool
}

// connectorStatus works out the status of a connector (G01).
func connectorStatus(f facts) ocpp21.ConnectorStatus {
	switch {
	case f.broken:
		return ocpp21.ConnectorStatusFaulted
	case f.occupied:
		return ocpp21.ConnectorStatusOccupied
	case f.inoperative:
		return ocpp21.ConnectorStatusUnavailable
	case f.reserved:
		return ocpp21.ConnectorStatusReserved
	}
	return ocpp21.ConnectorStatusAvailable
}

// status is what holds for the connector of an EVSE now.
func (s *Station) status(e *evse) ocpp21.ConnectorStatus {
	f := s.broken(e)
	return connectorStatus(facts{
		broken: f != nil && !f.warning(), occupied: e.outlet.Car() != nil || s.running(e) != nil,
		reserved: s.held(e) != nil, inoperative: s.inoperative(e) || s.firmware.installing,
	})
}

// reportStatuses sends what the CSMS does not know yet. While there is no
// connection nothing is kept: only the status that holds afterwards counts.
func (s *Station) reportStatuses() {
	if !s.Accepted() {
		return
	}
	for _, e := range s.evses {
		if now := s.status(e); now != e.told {
			s.sayStatus(e, now)
		}
	}
	s.reportFaults()
}

func (s *Station) sayStatus(e *evse, status ocpp21.ConnectorStatus) *call {
	e.told, e.toldAt = status, time.Now()
	return s.say(&ocpp21.StatusNotificationRequest{
		Timestamp: at(s.Now()), ConnectorStatus: status, EVSEID: int64(e.id), ConnectorID: 1,
	}, func(_ ocpp21.Response, err error) {
		if errors.Is(err, charger.ErrOffline) || errors.Is(err, charger.ErrTimeout) {
			e.told = ""
		}
	})
}

// place is where a fault shows in the device model.
type place struct{ component, variable string }

// places are those of the faults, by their words in OCPP 1.6.
var places = map[ocpp16.ChargePointErrorCode]place{
	ocpp16.ChargePointErrorCodeConnectorLockFailure: {"ConnectorPlugRetentionLock", "Problem"},
	ocpp16.ChargePointErrorCodeEVCommunicationError: {"ConnectedEV", "Problem"},
	ocpp16.ChargePointErrorCodeGroundFailure:        {"RCD", "Tripped"},
	ocpp16.ChargePointErrorCodeHighTemperature:      {"TemperatureSensor", "Active"},
	ocpp16.ChargePointErrorCodeInternalError:        {"Controller", "Problem"},
	ocpp16.ChargePointErrorCodeLocalListConflict:    {"Controller", "Problem"},
	ocpp16.ChargePointErrorCodeOverCurrentFailure:   {"OverCurrentBreaker", "Tripped"},
	ocpp16.ChargePointErrorCodeOverVoltage:          {"ElectricalFeed", "Problem"},
	ocpp16.ChargePointErrorCodeUnderVoltage:         {"ElectricalFeed", "Problem"},
	ocpp16.ChargePointErrorCodePowerMeterFailure:    {"FiscalMetering", "Problem"},
	ocpp16.ChargePointErrorCodePowerSwitchFailure:   {"PowerContactor", "Problem"},
	ocpp16.ChargePointErrorCodeReaderFailure:        {"TokenReader", "Problem"},
	ocpp16.ChargePointErrorCodeResetFailure:         {"Controller", "Problem"},
	ocpp16.ChargePointErrorCodeWeakSignal:           {"DataLink", "Problem"},
}

// reportFaults tells of faults that came and went (N07): a hard-wired
// notification of the component that is broken.
func (s *Station) reportFaults() {
	now := map[int]*fault{0: s.board}
	for _, e := range s.evses {
		now[e.id] = e.fault
	}
	for id := 0; id <= len(s.evses); id++ {
		f := now[id]
		told, was := s.alerts[id]
		if was && (f == nil || *f != told) {
			delete(s.alerts, id)
			s.notifyFault(id, told, true)
			was = false
		}
		if f != nil && !was {
			s.alerts[id] = *f
			s.notifyFault(id, *f, false)
		}
	}
}

func (s *Station) notifyFault(id int, f fault, cleared bool) {
	p, ok := places[f.code]
	if !ok {
		p = place{"ChargingStation", "Problem"}
		if id > 0 {
			p = place{"EVSE", "Problem"}
		}
	}
	component := ocpp21.Component{Name: p.component}
	if id > 0 {
		component.EVSE = &ocpp21.EVSE{ID: int64(id)}
	}
	value := "true"
	if cleared {
		value = "false"
	}
	severity := int64(3) // Error
	if f.warning() {
		severity = 5
	}
	s.notifyEvent([]ocpp21.EventData{{
		Timestamp: at(s.Now()), Trigger: ocpp21.EventTriggerAlerting, ActualValue: value, TechCode: string(f.code), TechInfo: f.info,
		Cleared: optional(cleared), Component: component, Variable: ocpp21.Variable{Name: p.variable},
		EventNotificationType: ocpp21.EventNotificationHardWiredNotification, Severity: &severity,
	}}).Keep = true
}

// notifyEvent sends events; their ids are given here.
func (s *Station) notifyEvent(events []ocpp21.EventData) *call {
	for i := range events {
		s.events++
		events[i].EventID = s.events
	}
	return s.say(&ocpp21.NotifyEventRequest{GeneratedAt: at(s.Now()), EventData: events}, nil)
}
