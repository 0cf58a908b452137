package station2

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// evse is one EVSE with its connector and what happens there.
type evse struct {
	id     int
	outlet *car.Outlet
	last   time.Time // up to which energy was counted
	still  bool      // a reading is under way, and the register waits
	fault  *fault

	// As the outlet has been told.
	closed         bool
	limitA, limitW float64

	// In RAM.
	auth        *authorization // somebody may charge
	waiting     bool           // authorized, until the plug comes
	authorizing bool
	refusals    int  // cards that were refused since the power came
	finished    bool // a transaction has ended and the car is still there
	away        bool // unplugged on the EV's side while the transaction goes on
	told        ocpp21.ConnectorStatus
	toldAt      time.Time
	sinceSample float64 // Wh at the last sample, for interval measurands
	resetting   bool
}

// authorization lets an EVSE give energy.
type authorization struct {
	token       Token
	remote      int64 // remoteStartId, 0 for none
	reservation *int64
}

// fault is a defect, by the words of OCPP 1.6: they are those of scenarios.
type fault struct {
	code ocpp16.ChargePointErrorCode
	info string
}

// warning tells whether charging goes on in spite of it.
func (f *fault) warning() bool {
	switch f.code {
	case ocpp16.ChargePointErrorCodeEVCommunicationError, ocpp16.ChargePointErrorCodeWeakSignal, ocpp16.ChargePointErrorCodeLocalListConflict:
		return true
	}
	return false
}

func (e *evse) plugged() bool { return e.outlet.Car() != nil && !e.away }

func (e *evse) wake() {
	e.last, e.finished = time.Now(), false
	e.sleep()
}

// sleep forgets what is in RAM.
func (e *evse) sleep() {
	e.auth, e.waiting, e.authorizing, e.refusals, e.away, e.resetting = nil, false, false, 0, false, false
	e.told = ""
	e.outlet.Close(false)
	e.closed = false
}

// evse returns the one with a number from 1.
func (s *Station) evse(id int64) *evse {
	if id < 1 || id > int64(len(s.evses)) {
		return nil
	}
	return s.evses[id-1]
}

// running is the transaction of an EVSE, nil without one.
func (s *Station) running(e *evse) *Transaction {
	return s.state.Transactions[s.state.EVSEs[e.id-1].Transaction]
}

func (s *Station) inoperative(e *evse) bool {
	return s.state.Inoperative || s.state.EVSEs[e.id-1].Inoperative || s.state.EVSEs[e.id-1].Connector
}

func (s *Station) broken(e *evse) *fault {
	if s.board != nil && !s.board.warning() {
		return s.board
	}
	return e.fault
}

// rememberEvery is how old registers in memory may be while energy flows, should
// the simulator be killed.
const rememberEvery = 15 * time.Second

// tick lets energy flow once a second while somebody may charge.
func (s *Station) tick() {
	busy := false
	for _, e := range s.evses {
		if e.closed || s.running(e) != nil {
			busy = true
			s.advance(e)
			s.observeLimits(e)
		}
	}
	s.observe()
	if !busy && len(s.monitors) == 0 {
		return
	}
	s.In("tick", time.Second, s.tick)
	if busy && time.Since(s.SavedAt()) > rememberEvery {
		s.Dirty()
	}
}

// ticking sees to it that time passes. Ticks of a thousand stations are spread
// over the second.
func (s *Station) ticking() {
	if !s.Awaits("tick") {
		s.In("tick", time.Second+time.Duration(s.Random.Float64()*float64(time.Second)/4), s.tick)
	}
}

// advance counts the energy of an EVSE up to now.
func (s *Station) advance(e *evse) {
	if e.still {
		return
	}
	now := time.Now()
	if dt := now.Sub(e.last); dt > 0 && s.Powered {
		e.outlet.Advance(dt)
	}
	e.last = now
}

// hold keeps the register at what it is now until the function that it returns is
// called: whatever a message tells of it is one number.
func (s *Station) hold(e *evse) (release func()) {
	s.advance(e)
	e.still = true
	return func() { e.still = false }
}

func (s *Station) advanceAll() {
	for _, e := range s.evses {
		s.advance(e)
	}
}

// registerWh is the meter's register as OCPP tells it: whole Wh that have flown.
func (s *Station) registerWh(e *evse) int64 {
	s.advance(e)
	s.Dirty() // what is told must not be forgotten
	return int64(math.Floor(e.outlet.RegisterWh() + 1e-6))
}

// applyLimits sets contactors and limits as authorizations and profiles want
// them.
func (s *Station) applyLimits() {
	for _, e := range s.evses {
		closed := e.auth != nil && e.plugged() && !e.finished && !s.starved(e)
		if f := s.broken(e); f != nil && (!f.warning() || f.code == ocpp16.ChargePointErrorCodeEVCommunicationError) {
			closed = false
		}
		amps, watts := s.limits(e)
		if closed == e.closed && amps == e.limitA && watts == e.limitW {
			continue
		}
		s.advance(e)
		e.outlet.Limit(amps, watts)
		e.outlet.Close(closed)
		e.closed, e.limitA, e.limitW = closed, amps, watts
		if closed {
			s.ticking()
		}
	}
}

// starved tells whether a transaction gets no energy because its token was
// refused (E05.FR.03).
func (s *Station) starved(e *evse) bool {
	tx := s.running(e)
	if tx == nil || !tx.Invalid {
		return false
	}
	return int64(e.outlet.RegisterWh())-tx.InvalidWh >= int64(s.model.Int(model.MaxEnergyOnInvalidID))
}

// usable tells why nothing can begin at an EVSE.
func (s *Station) usable(e *evse) error {
	f := s.broken(e)
	switch {
	case s.draining:
		return charger.Refused("the charging station is being emptied")
	case s.resetting || s.scheduled || e.resetting:
		return charger.Refused("the charging station is starting anew")
	case f != nil && !f.warning():
		return charger.Refused("EVSE %d is broken: %s", e.id, f.code)
	case s.inoperative(e), s.firmware.installing:
		return charger.Refused("EVSE %d is out of service", e.id)
	}
	return nil
}

// ---- what people do

// Plug connects a car.
func (s *Station) Plug(ctx context.Context, id int, vehicle car.Car) error {
	return s.Do(ctx, func() error {
		e := s.evse(int64(id))
		switch {
		case e == nil:
			return charger.Refused("there is no EVSE %d", id)
		case e.plugged():
			return charger.Refused("a car is plugged in at EVSE %d", id)
		}
		vehicle = vehicle.WithDefaults()
		s.advance(e)
		back := e.away
		e.outlet.Plug(&vehicle)
		e.closed, e.away, e.finished = false, false, false
		if !s.Powered {
			return nil
		}
		e.waiting = false
		s.Off("plug " + strconv.Itoa(e.id))
		if !s.model.Bool(model.AuthEnabled) && e.auth == nil && s.usable(e) == nil { // C15: nobody is asked
			e.auth = &authorization{token: Token{Type: tokenNone}}
		}
		trigger := ocpp21.TriggerReasonCablePluggedIn
		if back {
			trigger = ocpp21.TriggerReasonEVDetected
		}
		s.happened(e, happening{trigger: trigger})
		return nil
	})
}

// Unplug takes the car away.
func (s *Station) Unplug(ctx context.Context, id int) error {
	return s.Do(ctx, func() error {
		e := s.evse(int64(id))
		switch {
		case e == nil:
			return charger.Refused("there is no EVSE %d", id)
		case !e.plugged():
			return charger.Refused("no car is plugged in at EVSE %d", id)
		}
		s.unplug(e)
		return nil
	})
}

func (s *Station) unplug(e *evse) {
	s.advance(e)
	tx := s.running(e)
	if tx != nil && s.Powered && e.auth != nil && !s.model.Bool(model.StopOnEVSideDisconnect) { // E10: it waits for the car to come back
		e.away = true
		s.happened(e, happening{trigger: ocpp21.TriggerReasonEVCommunicationLost})
		return
	}
	e.outlet.Plug(nil)
	e.closed, e.away, e.finished, e.auth = false, false, false, nil
	if tx != nil && s.Powered {
		s.happened(e, happening{trigger: ocpp21.TriggerReasonEVCommunicationLost, reason: ocpp21.ReasonEVDisconnected})
	}
	e.finished = false
}

// Fault breaks an EVSE, or the station as a whole for 0.
func (s *Station) Fault(ctx context.Context, id int, code ocpp16.ChargePointErrorCode, info string) error {
	return s.Do(ctx, func() error {
		f := &fault{code: code, info: info}
		if id == 0 {
			s.board = f
		} else if e := s.evse(int64(id)); e != nil {
			e.fault = f
		} else {
			return charger.Refused("there is no EVSE %d", id)
		}
		if f.warning() || !s.Powered {
			return nil
		}
		s.endReservations(int64(id), ocpp21.ReservationUpdateStatusRemoved)
		for _, e := range s.evses {
			if s.running(e) != nil && (id == 0 || e.id == id) {
				s.finish(e, ocpp21.TriggerReasonAbnormalCondition, faultReason(code))
			}
		}
		return nil
	})
}

// Clear mends an EVSE, or the station as a whole.
func (s *Station) Clear(ctx context.Context, id int) error {
	return s.Do(ctx, func() error {
		if id == 0 {
			s.board = nil
		} else if e := s.evse(int64(id)); e != nil {
			e.fault = nil
		} else {
			return charger.Refused("there is no EVSE %d", id)
		}
		return nil
	})
}

// Drain lets nothing begin any more, and ends what runs.
func (s *Station) Drain(ctx context.Context) error {
	return s.Do(ctx, func() error {
		s.draining = true
		s.SwitchLink(true)
		s.powerOn()
		s.board = nil
		for _, e := range s.evses {
			e.fault, e.waiting = nil, false
			if tx := s.running(e); tx != nil {
				s.stopLocally(e, tx)
			}
			e.auth = nil
			if e.outlet.Car() != nil {
				e.away = false
				s.unplug(e)
			}
			if s.running(e) != nil { // whatever TxStopPoint says
				s.finish(e, ocpp21.TriggerReasonEVDeparted, ocpp21.ReasonLocal)
			}
		}
		return nil
	})
}

func faultReason(code ocpp16.ChargePointErrorCode) ocpp21.Reason {
	switch code {
	case ocpp16.ChargePointErrorCodeGroundFailure:
		return ocpp21.ReasonGroundFault
	case ocpp16.ChargePointErrorCodeOverCurrentFailure:
		return ocpp21.ReasonOvercurrentFault
	case ocpp16.ChargePointErrorCodeOverVoltage, ocpp16.ChargePointErrorCodeUnderVoltage:
		return ocpp21.ReasonPowerQuality
	}
	return ocpp21.ReasonOther
}
