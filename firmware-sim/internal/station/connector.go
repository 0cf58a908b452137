package station

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/schedule"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// connector is one outlet with what happens at it.
type connector struct {
	id     int
	outlet *car.Outlet
	last   time.Time // up to which energy was counted
	fault  *fault

	// As the outlet has been told.
	closed         bool
	limitA, limitW float64

	// In RAM.
	waiting     *admission // authorized, until the plug comes
	authorizing bool
	refusals    int    // cards that were refused since the power came
	finished    bool   // a transaction has ended and the car is still there
	info        string // for the next StatusNotification
	reported    report // what the central system was told last
	seen        report // what holds now, since seenAt
	seenAt      time.Time
	sinceSample float64 // Wh at the last sample, for interval measurands
	away        bool    // unplugged on the EV's side while the transaction goes on
}

// admission is an authorized token that may start a transaction.
type admission struct {
	tag, parent string
	profile     *ocpp16.ChargingProfile
}

// fault is a defect.
type fault struct {
	code ocpp16.ChargePointErrorCode
	info string
}

// warning tells whether charging goes on in spite of it (§4.9).
func (f *fault) warning() bool {
	switch f.code {
	case ocpp16.ChargePointErrorCodeEVCommunicationError, ocpp16.ChargePointErrorCodeWeakSignal, ocpp16.ChargePointErrorCodeLocalListConflict:
		return true
	}
	return false
}

// report is what a StatusNotification says.
type report struct {
	status ocpp16.ChargePointStatus
	code   ocpp16.ChargePointErrorCode
}

func (c *connector) wake() {
	c.last = time.Now()
	c.finished = false
	c.sleep()
}

// sleep forgets what is in RAM.
func (c *connector) sleep() {
	c.waiting, c.authorizing, c.refusals, c.info, c.away = nil, false, 0, "", false
	c.reported, c.seen = report{}, report{}
	c.outlet.Close(false)
	c.closed = false
}

func itoa[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// connector returns the one with a number from 1.
func (s *Station) connector(id int64) *connector {
	if id < 1 || id > int64(len(s.connectors)) {
		return nil
	}
	return s.connectors[id-1]
}

// running is the transaction of a connector, nil without one.
func (s *Station) running(c *connector) *Transaction {
	return s.state.Transactions[s.state.Connectors[c.id-1].Transaction]
}

func (s *Station) inoperative(c *connector) bool {
	return s.state.Inoperative || s.state.Connectors[c.id-1].Inoperative
}

func (s *Station) broken(c *connector) *fault {
	if s.board != nil && !s.board.warning() {
		return s.board
	}
	return c.fault
}

// ---- energy

// rememberEvery is how old registers in memory may be while energy flows, should
// the simulator be killed.
const rememberEvery = 15 * time.Second

// tickDelay spreads a thousand charge points over the second.
func (s *Station) tickDelay() time.Duration {
	return time.Second + time.Duration(s.Random.Float64()*float64(time.Second)/4)
}

// tick lets energy flow once a second while a transaction runs.
func (s *Station) tick() {
	busy := false
	for _, c := range s.connectors {
		if s.running(c) != nil {
			busy = true
			s.advance(c)
		}
	}
	if !busy {
		return
	}
	s.In("tick", time.Second, s.tick)
	if time.Since(s.SavedAt()) > rememberEvery {
		s.Dirty()
	}
}

// advance counts the energy of a connector up to now.
func (s *Station) advance(c *connector) {
	now := time.Now()
	if dt := now.Sub(c.last); dt > 0 && s.Powered {
		c.outlet.Advance(dt)
	}
	c.last = now
}

func (s *Station) advanceAll() {
	for _, c := range s.connectors {
		s.advance(c)
	}
}

// registerWh is the meter's register as OCPP tells it: whole Wh that have flown.
func (s *Station) registerWh(c *connector) int64 {
	s.advance(c)
	s.Dirty() // what is told must not be forgotten
	return int64(math.Floor(c.outlet.RegisterWh() + 1e-6))
}

// applyLimits sets contactors and limits as transactions and profiles want them.
func (s *Station) applyLimits() {
	now := s.Now()
	active := 0
	for _, c := range s.connectors {
		if s.running(c) != nil && c.outlet.Wants() {
			active++
		}
	}
	whole, bounded := s.state.Profiles.Station(now)
	for _, c := range s.connectors {
		tx := s.running(c)
		closed := tx != nil && !c.away && !s.starved(c, tx)
		if f := s.broken(c); f != nil && (!f.warning() || f.code == ocpp16.ChargePointErrorCodeEVCommunicationError) {
			closed = false
		}
		amps, watts := math.Inf(1), math.Inf(1)
		dc := c.outlet.Supply().DC
		if tx != nil {
			if l, ok := s.state.Profiles.Connector(c.id, now, &schedule.Transaction{ID: tx.id(), Start: tx.Start}); ok {
				amps, watts = bound(amps, watts, l, dc, 1)
			}
			if bounded { // §3.13.3: the bound is for all connectors together
				amps, watts = bound(amps, watts, whole, dc, max(1, active))
			}
		}
		s.advanceBefore(c, closed, amps, watts)
	}
}

// advanceBefore changes an outlet after counting what flowed until now.
func (s *Station) advanceBefore(c *connector, closed bool, amps, watts float64) {
	if closed == c.closed && amps == c.limitA && watts == c.limitW {
		return
	}
	s.advance(c)
	c.outlet.Limit(amps, watts)
	c.outlet.Close(closed)
	c.closed, c.limitA, c.limitW = closed, amps, watts
}

// bound is the smaller of what holds and a limit that so many connectors share.
func bound(amps, watts float64, l schedule.Limit, dc bool, share int) (float64, float64) {
	if dc && l.Unit == ocpp16.ChargingRateUnitW {
		return amps, min(watts, l.Value/float64(share))
	}
	return min(amps, l.Amps()/float64(share)), watts
}

func phasesOf(supply car.Supply) int {
	if supply.Phases == 0 {
		return 3
	}
	return supply.Phases
}

// starved tells whether a transaction gets no energy because its token was
// refused (§3.5.4).
func (s *Station) starved(c *connector, tx *Transaction) bool {
	if !tx.Invalid {
		return false
	}
	allowance := int64(s.keys.Int(keys.MaxEnergyOnInvalidID))
	return int64(c.outlet.RegisterWh())-tx.InvalidWh >= allowance
}

// ---- what people do

// Plug connects a car.
func (s *Station) Plug(ctx context.Context, id int, vehicle car.Car) error {
	return s.Do(ctx, func() error {
		c := s.connector(int64(id))
		switch {
		case c == nil:
			return charger.Refused("there is no connector %d", id)
		case c.outlet.Car() != nil && !c.away:
			return charger.Refused("a car is plugged in at connector %d", id)
		}
		vehicle = vehicle.WithDefaults()
		s.advance(c)
		c.outlet.Plug(&vehicle)
		c.closed = false
		c.away, c.finished, c.info = false, false, ""
		if !s.Powered {
			return nil
		}
		if a := c.waiting; a != nil {
			s.start(c, *a)
			return nil
		}
		s.expectCard(c)
		return nil
	})
}

// expectCard lets a connector go to Finishing when nobody presents a card in
// time. Otherwise the card of the next driver would start the wrong car, on a
// charge point with several connectors and one reader (errata 1.6 §3.20).
func (s *Station) expectCard(c *connector) {
	wait := s.keys.Seconds(keys.ConnectionTimeOut)
	if wait <= 0 || len(s.connectors) == 1 || s.running(c) != nil {
		return
	}
	s.In("card "+itoa(c.id), wait, func() {
		if s.running(c) == nil && c.outlet.Car() != nil && !c.authorizing {
			c.finished = true
		}
	})
}

// Unplug takes the car away.
func (s *Station) Unplug(ctx context.Context, id int) error {
	return s.Do(ctx, func() error {
		c := s.connector(int64(id))
		switch {
		case c == nil:
			return charger.Refused("there is no connector %d", id)
		case c.outlet.Car() == nil || c.away:
			return charger.Refused("no car is plugged in at connector %d", id)
		}
		s.unplug(c)
		return nil
	})
}

func (s *Station) unplug(c *connector) {
	s.advance(c)
	if s.running(c) != nil && s.Powered {
		c.info = "EV side disconnected"
		if !s.keys.Bool(keys.StopOnEVSideDisconnect) { // §4.10: it waits for the car to come back
			c.away = true
			return
		}
		s.stop(c, ocpp16.ReasonEVDisconnected, "")
		s.reportStatuses() // Finishing, before the plug is away
	}
	c.outlet.Plug(nil)
	c.closed = false
	c.finished, c.away, c.info = false, false, ""
	s.Off("card " + itoa(c.id))
}

// Fault breaks a connector, or the charge point as a whole for connector 0.
func (s *Station) Fault(ctx context.Context, id int, code ocpp16.ChargePointErrorCode, info string) error {
	return s.Do(ctx, func() error {
		f := &fault{code: code, info: info}
		if id == 0 {
			s.board = f
		} else if c := s.connector(int64(id)); c != nil {
			c.fault = f
		} else {
			return charger.Refused("there is no connector %d", id)
		}
		if f.warning() {
			return nil
		}
		s.endReservations(int64(id))
		for _, c := range s.connectors {
			if s.Powered && s.running(c) != nil && (id == 0 || c.id == id) {
				s.stop(c, ocpp16.ReasonOther, "")
			}
		}
		return nil
	})
}

// Clear mends a connector, or the charge point as a whole.
func (s *Station) Clear(ctx context.Context, id int) error {
	return s.Do(ctx, func() error {
		if id == 0 {
			s.board = nil
		} else if c := s.connector(int64(id)); c != nil {
			c.fault = nil
		} else {
			return charger.Refused("there is no connector %d", id)
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
		for _, c := range s.connectors {
			c.fault, c.waiting = nil, nil
			if tx := s.running(c); tx != nil {
				s.stop(c, ocpp16.ReasonLocal, tx.IDTag)
			}
			if c.outlet.Car() != nil {
				s.unplug(c)
			}
		}
		return nil
	})
}
