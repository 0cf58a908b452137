package site

import (
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// standAgain is when an order of the site plan that failed is tried again.
const standAgain = 5 * time.Minute

// forgetLimits notes that the device has started anew: leases are told again.
func (st *Station) forgetLimits() {
	for i := range st.limits {
		st.limits[i].forgotten = true
	}
}

// standing is what the device has been told of the site plan.
type standing struct {
	limit    told  // of the station as a whole
	fallback told  // kept by the device on its own
	clear    []int // EVSEs whose lease is over: what was told for it is to go
	retryAt  time.Time
}

// told is one current that a device has been given.
type told struct {
	a       float64
	given   bool     // a holds in the device
	unsure  bool     // nobody knows what the device holds: it has started anew
	earlier bool     // an earlier start of the gateway has told it
	refused bool     // it does not want it; not tried again until something changes
	failed  *float64 // the newest that it could not do, which has been told
}

// over notes that a lease has ended.
func (s *standing) over(evse int) {
	if evse == 0 {
		s.limit = told{given: true, unsure: true} // the lease's, until the device says otherwise
	} else if !slices.Contains(s.clear, evse) {
		s.clear = append(s.clear, evse)
	}
	s.retryAt = time.Time{}
}

// cleared notes that a command has removed what was told for a place.
func (s *standing) cleared(evse int) {
	if evse == 0 {
		s.limit = told{}
	}
	s.clear = slices.DeleteFunc(s.clear, func(n int) bool { return n == evse })
	s.retryAt = time.Time{}
}

// ruled notes that a lease holds now instead.
func (s *standing) ruled(evse int) {
	if evse == 0 {
		s.limit = told{}
	}
	s.clear = slices.DeleteFunc(s.clear, func(n int) bool { return n == evse })
}

// restand notes that the device may have forgotten, or the plan has changed.
func (st *Station) restand() {
	s := &st.standing
	s.limit.unsure, s.fallback.unsure = true, true
	s.limit.refused, s.fallback.refused = false, false
	s.retryAt = time.Time{}
	st.site.mu.Lock()
	_, limited := st.site.plan.LimitA[st.id]
	_, fallback := st.site.plan.FallbackA[st.id]
	st.site.mu.Unlock()
	if limited || fallback || len(s.clear)+len(st.limits) > 0 || s.limit.given || s.fallback.given {
		st.wake(time.Now())
	}
}

// owed is the next thing to tell a device of the plan.
type owed uint8

const (
	owedNothing owed = iota
	owedSet
	owedClear
)

// owe compares what a plan wants with what a device has been told. What an earlier
// start told is not taken back before somebody has said what the plan is now: the
// section may be damaged, and the circuit is not.
func owe(wanted float64, want, planned bool, t told) owed {
	switch {
	case t.refused, !want && t.earlier && !planned:
		return owedNothing
	case want && (t.unsure || !t.given || t.a != wanted):
		return owedSet
	case !want && t.given:
		return owedClear
	}
	return owedNothing
}

// stand tells the device the next thing of the plan that it does not know.
func (st *Station) stand(now time.Time) {
	s := &st.standing
	if st.id == "" || !s.retryAt.IsZero() && now.Before(s.retryAt) {
		return
	}
	st.site.mu.Lock()
	limitA, limited := st.site.plan.LimitA[st.id]
	fallbackA, fallback := st.site.plan.FallbackA[st.id]
	planned := st.site.planned
	st.site.mu.Unlock()
	switch owe(fallbackA, fallback, planned, s.fallback) {
	case owedSet:
		st.order(event.CommandSetLimit, 0, &event.SetLimitParams{LimitA: &fallbackA}, true)
		return
	case owedClear:
		st.order(event.CommandClearLimit, 0, nil, true)
		return
	}
	if st.limitAt(0) == nil {
		switch owe(limitA, limited, planned, s.limit) {
		case owedSet:
			st.order(event.CommandSetLimit, 0, &event.SetLimitParams{LimitA: &limitA}, false)
			return
		case owedClear:
			st.order(event.CommandClearLimit, 0, nil, false)
			return
		}
	}
	for i := range st.limits {
		if l := &st.limits[i]; l.forgotten && st.site.now().Before(l.Until) {
			st.order(event.CommandSetLimit, l.EVSE, l.order(), false)
			return
		}
	}
	if len(s.clear) > 0 {
		st.order(event.CommandClearLimit, s.clear[0], nil, false)
	}
}

// order gives the device an order of the site itself. Only its number is
// journaled: it may be given again at any time.
func (st *Station) order(t event.CommandType, evse int, p *event.SetLimitParams, fallback bool) {
	st.request++
	c := &command{
		owner: st, cmd: event.Command{Type: t, Station: st.id, EVSE: evse}, evse: evse,
		phase: phaseHanded, request: st.request, standing: true, defaults: fallback,
	}
	c.params = &event.ClearLimitParams{}
	if p != nil {
		c.params = p
	}
	c.transaction = st.transactionAt(evse)
	if err := st.commit(Change{Put: []Record{st.counterRecord()}}); err != nil {
		st.standing.retryAt = time.Now().Add(retryAfter)
		st.wake(st.standing.retryAt)
		return
	}
	c.done = func(o Outcome) { st.stood(evse, p, fallback, o) }
	st.commands = append(st.commands, c)
	st.handOver(c, false)
}

// stood takes the answer to an order of the site plan.
func (st *Station) stood(evse int, p *event.SetLimitParams, fallback bool, o Outcome) {
	s := &st.standing
	k := &s.limit
	if fallback {
		k = &s.fallback
	}
	lease := p != nil && !p.Until.IsZero()
	holds := p // what does, once it succeeded
	if o.State == event.StateFailed && o.Instead != nil && p != nil {
		o.State, holds = event.StateSucceeded, o.Instead // it does not go lower
	}
	switch o.State {
	case event.StateSucceeded:
		switch {
		case lease:
		case evse != 0:
			s.cleared(evse)
		case p != nil:
			*k = told{a: *p.LimitA, given: true}
		default:
			*k = told{}
		}
	case event.StateRejected, event.StateUnsupported:
		switch {
		case lease:
		case evse != 0:
			s.cleared(evse)
		default:
			k.refused, k.unsure = true, false
		}
	default:
		s.retryAt = time.Now().Add(standAgain)
		st.wake(s.retryAt)
		if o.State == event.StateFailed && p != nil && !lease && (k.failed == nil || *k.failed != *p.LimitA) {
			k.failed = p.LimitA // once, not once per try
			st.tellStanding(evse, p, fallback, "refused", join(o.Reason, "it is tried again"))
		}
		return
	}
	st.wake(time.Now())
	if !lease && evse == 0 {
		st.keepStanding()
	}
	if l := st.limitAt(evse); l != nil && lease {
		l.forgotten = false
		if o.State == event.StateSucceeded {
			return // it holds as before
		}
	}
	if p == nil {
		return
	}
	switch {
	case o.State != event.StateSucceeded:
		st.tellStanding(evse, p, fallback, "refused", o.Reason)
	case holds != p:
		st.tellStanding(evse, &event.SetLimitParams{LimitA: holds.LimitA, LimitW: holds.LimitW, Until: p.Until}, fallback, "effective", o.Reason)
	default:
		st.tellStanding(evse, p, fallback, "effective", "")
	}
}

// standingState is what a device holds of the site plan, so that what is withdrawn
// while the gateway is down can be taken back from it.
type standingState struct {
	Limit    *float64 `json:"l,omitempty"`
	Fallback *float64 `json:"f,omitempty"`
}

// keepStanding remembers over a restart what the device holds. Where that fails
// the plan is told again, and nothing is lost but what a plan to come withdraws.
func (st *Station) keepStanding() {
	key := Key{Kind: kindStanding, Station: st.id}
	var v standingState
	if t := st.standing.limit; t.given {
		v.Limit = &t.a
	}
	if t := st.standing.fallback; t.given {
		v.Fallback = &t.a
	}
	c := Change{Delete: []Key{key}}
	if v != (standingState{}) {
		c = Change{Put: []Record{record(key, v)}}
	}
	if err := st.commit(c); err != nil {
		st.logger().Warn("what the device holds of the site plan is not kept", "err", err)
	}
}

// restore takes up what the device held when the gateway stopped.
func (s *standing) restore(v standingState) {
	if v.Limit != nil {
		s.limit = told{a: *v.Limit, given: true, unsure: true, earlier: true}
	}
	if v.Fallback != nil {
		s.fallback = told{a: *v.Fallback, given: true, unsure: true, earlier: true}
	}
}

// tellStanding records what became of an order of the site plan, or of a lease
// that was told again.
func (st *Station) tellStanding(evse int, p *event.SetLimitParams, fallback bool, status, why string) {
	stamp := st.site.clock.Stamp()
	ev := &event.ProfileUpdated{Status: status, LimitA: p.LimitA, LimitW: p.LimitW}
	switch {
	case !p.Until.IsZero():
		ev.Until, ev.Reason = &p.Until, join("told again after a start of the device", why)
	case fallback:
		ev.Reason = join("site plan: kept by the device as its default", why)
	default:
		ev.Reason = join("site plan", why)
	}
	d := draft(stamp, st.at(evse, 0), stamp.Time, ev)
	if err := st.commit(Change{Events: []event.Draft{d}}); err != nil {
		st.saySoon(d)
	}
}
