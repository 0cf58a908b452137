package site

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Plan is what holds at the site while no command says otherwise. Amperes are
// per phase.
type Plan struct {
	FallbackA map[event.StationID]float64 // kept in each charger as its default
	LimitA    map[event.StationID]float64
	Circuits  []Circuit
}

// Circuit is a fuse that several stations share.
type Circuit struct {
	Name     string
	LimitA   float64
	Stations []event.StationID
}

// Check tells why a plan must be refused: the currents that its stations take
// when nobody can tell them anything are more than a circuit bears.
func (p *Plan) Check() error {
	for _, c := range p.Circuits {
		sum := 0.0
		for _, id := range c.Stations {
			sum += p.FallbackA[id]
		}
		if sum > c.LimitA+1e-9 {
			return fmt.Errorf("%w: circuit %q bears %g A, the fallbacks of its stations are %g A together", ErrPlanRefused, c.Name, c.LimitA, sum)
		}
	}
	for id, a := range p.FallbackA {
		if a < 0 {
			return fmt.Errorf("%w: fallback of %q: expected 0 A or more, got %g", ErrPlanRefused, id, a)
		}
	}
	for id, a := range p.LimitA {
		if a < 0 {
			return fmt.Errorf("%w: limit of %q: expected 0 A or more, got %g", ErrPlanRefused, id, a)
		}
	}
	return nil
}

// SetPlan puts a plan in force. The error wraps ErrPlanRefused; then the one
// before stays in force.
func (s *Site) SetPlan(p Plan) error {
	if err := p.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	s.plan, s.planned = p, true
	s.mu.Unlock()
	for _, st := range s.all() {
		st.live.mu.Lock()
		connected := st.live.info.Connected
		st.live.mu.Unlock()
		if !connected {
			continue // it takes the plan up when it comes
		}
		s.tellPlan(st)
	}
	return nil
}

// tellPlan lets a station look at the plan, now or as soon as it has room.
func (s *Site) tellPlan(st *Station) {
	if err := st.TryPost(func() { st.restand(); st.pump() }); errors.Is(err, ErrBusy) {
		time.AfterFunc(time.Second, func() { s.tellPlan(st) })
	}
}

// limit is a lease: it ends at its Until, and the plan takes over.
type limit struct {
	EVSE    int             `json:"e,omitempty"`
	LimitA  *float64        `json:"a,omitempty"`
	LimitW  *float64        `json:"w,omitempty"`
	Until   time.Time       `json:"u"`
	Command event.CommandID `json:"c,omitempty"`
	Request int             `json:"n,omitempty"`

	forgotten bool // the device has started anew and may not know it any more
}

func (l *limit) key(station event.StationID) Key {
	return Key{Kind: kindLimit, Station: station, ID: strconv.Itoa(l.EVSE)}
}

func (l *limit) event(status, reason string) *event.ProfileUpdated {
	until := l.Until
	return &event.ProfileUpdated{Status: status, LimitA: l.LimitA, LimitW: l.LimitW, Until: &until, Command: l.Command, Reason: reason}
}

func (st *Station) limitAt(evse int) *limit {
	for i := range st.limits {
		if st.limits[i].EVSE == evse {
			return &st.limits[i]
		}
	}
	return nil
}

// order is l as an order.
func (l *limit) order() *event.SetLimitParams {
	return &event.SetLimitParams{LimitA: l.LimitA, LimitW: l.LimitW, Until: l.Until}
}

func (st *Station) dropLimit(evse int) {
	st.limits = slices.DeleteFunc(st.limits, func(l limit) bool { return l.EVSE == evse })
}

// lower tells whether a limit is below what holds at a place now. Where nothing
// holds every limit is.
func (st *Station) lower(evse int, p *event.SetLimitParams) bool {
	if l := st.limitAt(evse); l != nil {
		switch {
		case p.LimitA != nil && l.LimitA != nil:
			return *p.LimitA <= *l.LimitA
		case p.LimitW != nil && l.LimitW != nil:
			return *p.LimitW <= *l.LimitW
		}
		return false // amperes and watts do not compare
	}
	st.site.mu.Lock()
	planned, ok := st.site.plan.LimitA[st.id]
	st.site.mu.Unlock()
	return !ok || p.LimitA != nil && *p.LimitA <= planned
}

// endLimits ends the leases whose time is over.
func (st *Station) endLimits() {
	if len(st.limits) == 0 {
		return
	}
	now := st.site.now()
	stamp := st.site.clock.Stamp()
	for _, l := range slices.Clone(st.limits) {
		if now.Before(l.Until) {
			continue
		}
		c := Change{
			Events: []event.Draft{draft(stamp, st.at(l.EVSE, 0), stamp.Time, l.event("ended", "its time is over; the site plan holds"))},
			Delete: []Key{l.key(st.id)},
		}
		if err := st.commit(c); err != nil {
			st.logger().Warn("end of a limit not kept, trying again", "evse", l.EVSE, "err", err)
			return
		}
		st.dropLimit(l.EVSE)
		st.standing.over(l.EVSE)
	}
}

// consequences adds to change what a step of c means for reservations and
// limits. The returned function is to be called once it is kept.
func (st *Station) consequences(c *command, change *Change) (apply func()) {
	stamp := st.site.clock.Stamp()
	agreed := c.phase == phaseAccepted || c.phase == phaseFinal && c.final == event.StateSucceeded
	refused := c.phase == phaseFinal && (c.final == event.StateRejected || c.final == event.StateUnsupported || c.final == event.StateFailed)
	add := func(evse int, data event.Payload) {
		change.Events = append(change.Events, draft(stamp, st.at(evse, 0), stamp.Time, data))
	}
	nothing := func() {}
	original := c
	for _, k := range st.commands {
		if k.cmd.ID == c.cmd.ID {
			original = k // c may be a copy of what it will be
		}
	}
	switch p := c.params.(type) {
	case *event.SetLimitParams:
		l := limit{EVSE: c.evse, LimitA: p.LimitA, LimitW: p.LimitW, Until: p.Until, Command: c.cmd.ID, Request: c.request}
		why := ""
		if refused && c.instead != nil { // a lease all the same: it is to end
			agreed, refused, why = true, false, c.reason
			l.LimitA, l.LimitW = c.instead.LimitA, c.instead.LimitW
		}
		if refused && !c.applied {
			add(c.evse, l.event("refused", c.reason))
		}
		if !agreed || c.applied {
			return nothing
		}
		c.applied = true
		add(c.evse, l.event("effective", why))
		change.Put = append(change.Put, record(l.key(st.id), l))
		return func() {
			original.applied = true
			st.dropLimit(l.EVSE)
			st.limits = append(st.limits, l)
			st.standing.ruled(l.EVSE)
			st.wake(st.wallDeadline(l.Until))
		}
	case *event.ClearLimitParams:
		if !agreed || c.applied {
			return nothing
		}
		c.applied = true
		if l := st.limitAt(c.evse); l != nil {
			add(c.evse, l.event("ended", "cleared by a command"))
			change.Delete = append(change.Delete, l.key(st.id))
		}
		return func() {
			original.applied = true
			st.dropLimit(c.evse)
			st.standing.cleared(c.evse)
		}
	case *event.ReserveParams:
		if !agreed || c.applied {
			return nothing
		}
		c.applied = true
		r := reservation{ID: p.Reservation, EVSE: c.evse, Token: p.Token, Parent: p.Parent, Until: p.Until, Command: c.cmd.ID}
		add(c.evse, r.event("active", ""))
		change.Put = append(change.Put, record(r.key(st.id), r))
		return func() {
			original.applied = true
			st.dropReservation(r.ID)
			st.reservations = append(st.reservations, r)
			st.wake(st.wallDeadline(r.Until))
		}
	case *event.CancelReservationParams:
		if !agreed || c.applied {
			return nothing
		}
		c.applied = true
		for i := range st.reservations {
			if r := &st.reservations[i]; r.ID == p.Reservation {
				add(r.EVSE, r.event("cancelled", ""))
				change.Delete = append(change.Delete, r.key(st.id))
			}
		}
		return func() {
			original.applied = true
			st.dropReservation(p.Reservation)
		}
	}
	return nothing
}
