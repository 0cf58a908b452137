package site

import (
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// end takes the end of a transaction. It is always taken: one that nobody has
// heard of is kept as an orphan, and the real one replaces an end that the
// gateway had to assume.
func (n *news) end() (TransactionResult, error) {
	st, s, r := n.st, n.s, n.r
	if t := r.Token; t != nil {
		n.answer = st.stopAnswer(s, t)
	}
	e := ending{
		kind: stopped, time: n.when.time, device: r.Time.Raw, token: r.Token, reason: r.Reason, trigger: r.Trigger,
		key: n.key, flags: n.flags,
	}
	if e.reason == "" {
		e.reason = "local" // OCPP 2.0.1 E06: what an absent stoppedReason means
	}
	if e.trigger == "" {
		e.trigger = "abnormal"
	}
	if r.Time.readable() {
		e.claim = r.Time.Time
	}
	all := st.resolve(r.Readings, n.stamp)
	e.readings, _ = split(slices.Clone(all))
	e.meter = s.lastRegister(all, e.readings)
	bare := e.meter == nil && len(e.readings) == 0
	switch {
	case s.end == running:
	case s.end != stopped: // without what the assumed end said of itself
		s.end = running
		s.flags &^= flagInferred | flagSuperseded | flagGap | flagUnknownEnergy
	case e.meter == nil || s.endWh != nil && *e.meter == *s.endWh:
		return n.result(), nil // in other words
	default:
		s.end = running
	}
	n.heard = follow(s, n.place)
	n.heard.ending = true
	for i := range all {
		n.heard.hear(&all[i])
	}
	n.heard.write(s)
	s.energise(r.ChargingState)
	e.flags |= flagGap.when(len(s.trail.holes) > 0 || s.guess == startLate)
	if order := st.stopOrder(s); order != nil {
		e.command = order.cmd.ID
	}
	n.change.Events = append(n.change.Events, st.endEvent(s, &e, n.stamp))
	n.showStatus(nil)
	n.facts = append(n.facts, fact{kind: factStopped, evse: s.evse, session: s})
	hits := st.effectsOf(n.facts)
	if samples := n.samples(); len(samples) > 0 {
		if err := st.keepSamples(s, s.at(st.id), n.stamp, samples); err != nil {
			return TransactionResult{}, err
		}
	}
	st.addEffects(&n.change, hits, n.stamp)
	next := s.after(e)
	if next.bare = nil; bare {
		next.bare = &bareEnd{Reason: e.reason, Trigger: e.trigger, Device: e.device, Token: e.token, Command: e.command, Claim: e.claim}
		next.startClock, next.startBoot = s.startClock, s.startBoot
	}
	n.change.Put = append(n.change.Put, st.sessionRecord(next))
	forget := st.outlived(1, n.stamp)
	if slices.Contains(forget, n.old) {
		forget = nil
	}
	for _, f := range forget {
		n.change.Delete = append(n.change.Delete, sessionKey(st.id, f.id))
	}
	if err := st.commit(n.change); err != nil {
		return TransactionResult{}, err
	}
	st.applyEffects(hits)
	st.forget(forget)
	if n.old == nil {
		n.old = s
	}
	st.close(n.old, next)
	st.applyDerived(n.statuses, n.stamp)
	n.s = next
	return n.result(), nil
}

// lastRegister is the register at the end of a transaction: that of its end
// readings, else the newest among those that came with the end. One from before
// the last that was heard says nothing about the end: a station may send all the
// values of the clock with it. OCPP 2.0.1 J01, AlignedDataTxEndedMeasurands.
func (s *session) lastRegister(all, readings []event.Sample) *int64 {
	last := endReading(readings)
	if last == nil {
		for i := range all {
			v := &all[i]
			if v.EnergyWh != nil && v.Context != "begin" && (last == nil || !v.Time.Before(last.Time)) {
				last = v
			}
		}
	}
	if last == nil || last.Context != "end" && last.Time.Before(s.registerAt) {
		return nil
	}
	return last.EnergyWh
}

// bareEnd is an end that brought neither a register nor readings to keep.
type bareEnd struct {
	Reason  string          `json:"r"`
	Trigger string          `json:"t,omitempty"`
	Device  string          `json:"d,omitempty"`
	Token   *event.Token    `json:"o,omitempty"`
	Command event.CommandID `json:"q,omitempty"`
	Claim   time.Time       `json:"c,omitzero"`
}

// endAgain tells the end of a session once more: a register from before it, which
// was on the way longer, says more of what the session took.
func (n *news) endAgain() {
	s, b := n.s, n.s.bare
	s.flags &^= flagGap | flagUnknownEnergy
	e := ending{
		kind: stopped, time: s.endedAt, claim: b.Claim, device: b.Device, token: b.Token, reason: b.Reason, trigger: b.Trigger,
		command: b.Command, flags: flagGap,
	}
	n.change.Events = append(n.change.Events, n.st.endEvent(s, &e, n.stamp))
	s.endWh = e.meter
	s.flags |= e.flags
}

// SessionCost is what there is to know for the price of a session.
type SessionCost struct {
	Station  event.StationID
	Session  event.SessionID
	Token    *event.Token
	Started  time.Time
	EnergyWh *int64 // so far; nil: unknown
	Ended    bool
}

func (s *session) cost(station event.StationID) SessionCost {
	c := SessionCost{Station: station, Session: s.id, Token: s.token, Started: s.started, Ended: s.end != running}
	last := s.register
	if c.Ended {
		last = s.endWh
	}
	if s.meterStart != nil && last != nil && *last >= *s.meterStart {
		wh := *last - *s.meterStart
		c.EnergyWh = &wh
	}
	return c
}
