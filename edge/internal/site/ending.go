package site

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/shared/event"
)

func notKept(what string, err error) error { return fmt.Errorf("%w: %s: %w", ErrNotKept, what, err) }

// ending is how a session ended.
type ending struct {
	kind     endKind
	time     time.Time
	claim    time.Time // the device's claim; zero: none that can be read
	device   string    // as it wrote it
	meter    *int64    // nil: not told
	token    *event.Token
	reason   string
	trigger  string
	command  event.CommandID
	readings []event.Sample
	key      uint64
	flags    flagSet
}

// Stop ends a session. It is always taken: a stop that no session explains is
// kept as an orphan, one that was taken before is confirmed again, and the real
// one after an end that the gateway had to assume replaces that end.
func (st *Station) Stop(r StopReport) (StopResult, error) {
	stamp := st.site.clock.Stamp()
	r.Transaction = strings.TrimSpace(r.Transaction)
	if r.Reason == "" {
		r.Reason = "local"
	}
	key := stopKey(r)
	found, verdict := st.stopped(r, key)
	if verdict == stopRepeated {
		return StopResult{Session: found.id, AuthorizeResult: st.recall(r.Token)}, nil
	}
	when := judge(r.Time, stamp.Time, stamp.Clock, st.connectedSince(stamp))
	e := ending{
		kind: stopped, time: when.time, device: r.Time.Raw, meter: r.MeterWh, token: r.Token,
		reason: r.Reason, trigger: stopTrigger(r), key: key, flags: when.flags(),
	}
	if r.Time.readable() {
		e.claim = r.Time.Time
	}
	s := found
	if verdict == stopReplaces {
		real := *found // without what the assumed end said of itself
		real.flags &^= flagInferred | flagSuperseded | flagGap | flagUnknownEnergy
		s = &real
	}
	if verdict == stopOrphan {
		id, err := uuid.NewV7()
		if err != nil {
			return StopResult{}, notKept("session id", err)
		}
		s = &session{id: event.SessionID(id.String()), transaction: r.Transaction, token: r.Token, flags: flagRecovered, started: when.time}
		if found != nil { // it names one that ended otherwise
			s.evse, s.connector = found.evse, found.connector
			s.flags |= flagSuspect
		}
	}
	samples := st.resolve(r.Readings, stamp)
	e.readings, samples = split(samples)
	if m := endReading(e.readings); m != nil && (e.meter == nil || len(m.Signed) > 0) {
		e.meter = m.EnergyWh
	}
	order := st.stopOrder(s)
	if order != nil {
		e.command = order.cmd.ID
	}

	// First the samples: once the end is kept, its repeat does not bring them again.
	if len(samples) > 0 {
		if err := st.keepSamples(s, s.at(st.id), stamp, samples); err != nil {
			return StopResult{}, err
		}
	}
	c := Change{Events: []event.Draft{st.endEvent(s, &e, stamp)}}
	hits := st.effects(fact{kind: factStopped, evse: s.evse, session: s})
	st.addEffects(&c, hits, stamp)
	next := s.after(e)
	c.Put = append(c.Put, st.sessionRecord(next))
	if st.named(r.Transaction) {
		c.Put = append(c.Put, st.counterRecord())
	}
	forget := st.outlived(1, stamp)
	if slices.Contains(forget, found) {
		forget = nil
	}
	for _, f := range forget {
		c.Delete = append(c.Delete, sessionKey(st.id, f.id))
	}
	if err := st.commit(c); err != nil {
		return StopResult{}, err
	}
	st.applyEffects(hits)
	st.forget(forget)
	if verdict == stopOrphan {
		found = s
	}
	st.close(found, next)
	return StopResult{Session: s.id, Orphan: verdict == stopOrphan, AuthorizeResult: st.recall(r.Token)}, nil
}

// stopVerdict says what a stop is about.
type stopVerdict uint8

const (
	stopEnds     stopVerdict = iota // it ends the session
	stopRepeated                    // it was taken before
	stopReplaces                    // it is the real end of one that was assumed to have ended
	stopOrphan                      // no session explains it
)

// stopped decides what a stop is about. A positive transaction means exactly its
// session; -1 and 0 mean the one whose token, register and time do not
// contradict, and nobody guesses between two.
func (st *Station) stopped(r StopReport, key uint64) (*session, stopVerdict) {
	for _, s := range slices.Backward(st.ended) {
		if s.stopKey == key && s.end == stopped {
			return s, stopRepeated
		}
	}
	if !placeholder(r.Transaction) {
		for _, s := range st.open {
			if s.transaction == r.Transaction {
				return s, stopEnds
			}
		}
		if s := st.leftBehind(0, r.Time); s != nil && s.own && st.byTransaction(r.Transaction) == nil && st.explains(s, r) {
			return s, stopEnds // it has come back with another protocol, and a number of its own
		}
		for _, s := range slices.Backward(st.ended) {
			if s.transaction != r.Transaction {
				continue
			}
			switch {
			case s.end != stopped, s.endWh == nil && r.MeterWh != nil:
				return s, stopReplaces
			case r.MeterWh == nil, *r.MeterWh == *s.endWh:
				return s, stopRepeated // with another time: some write a new one
			}
			return s, stopOrphan
		}
		return nil, stopOrphan
	}
	var fits []*session
	for _, s := range st.open {
		if st.explains(s, r) {
			fits = append(fits, s)
		}
	}
	if len(fits) == 1 {
		return fits[0], stopEnds
	}
	if len(fits) == 0 {
		for _, s := range slices.Backward(st.ended) {
			if s.end != stopped && st.explains(s, r) {
				return s, stopReplaces
			}
		}
	}
	return nil, stopOrphan
}

// placeholder tells whether a transaction is no real one: stations that never
// heard their number say -1 (OCPP 1.6 errata), others say 0 whatever they got.
func placeholder(transaction string) bool {
	return transaction == "" || transaction == "0" || strings.HasPrefix(transaction, "-")
}

// explains tells whether nothing in r contradicts that it ends s.
func (st *Station) explains(s *session, r StopReport) bool {
	if r.Token != nil && s.token != nil && r.Token.Value != "" && !sameToken(s.token.Value, r.Token.Value) {
		parent := st.site.tokens.parent(r.Token.Value)
		if parent == "" || tokenKey(parent) != tokenKey(s.answer.Parent) {
			return false
		}
	}
	if r.MeterWh != nil && s.meterStart != nil && *r.MeterWh < *s.meterStart {
		return false
	}
	return !r.Time.readable() || s.startClaim.IsZero() || !r.Time.Time.Before(s.startClaim)
}

// stopTrigger derives what made a session end, for protocols that do not say.
func stopTrigger(r StopReport) string {
	switch r.Reason {
	case "remote":
		return "remote_stop"
	case "unlock_command":
		return "unlock_command"
	case "ev_disconnected":
		return "ev_departed"
	case "deauthorized":
		return "deauthorized"
	case "reboot":
		return "reset_command"
	case "local":
		if r.Token != nil {
			return "stop_authorized"
		}
		return "local"
	}
	return "abnormal"
}

// mustNotWait tells whether a reading is too precious to be a sample.
func mustNotWait(r *event.Sample) bool {
	if len(r.Signed) > 0 {
		return true
	}
	switch r.Context {
	case "begin", "end", "interruption_begin", "interruption_end":
		return true
	}
	return false
}

// split parts readings from samples, in place and in order.
func split(all []event.Sample) (readings, samples []event.Sample) {
	samples = all[:0]
	for i := range all {
		if mustNotWait(&all[i]) {
			readings = append(readings, all[i])
		} else {
			samples = append(samples, all[i])
		}
	}
	return readings, samples
}

// endReading is the register at the end of a session among its readings: one that
// says so, else the newest; a signed one is worth more than another.
func endReading(readings []event.Sample) *event.Sample {
	var best *event.Sample
	for i := range readings {
		r := &readings[i]
		if r.EnergyWh == nil || r.Context == "begin" {
			continue
		}
		if best == nil || !endsBetter(best, r) {
			best = r
		}
	}
	return best
}

// endsBetter tells whether a says more of where a session ended than b, which came
// after it.
func endsBetter(a, b *event.Sample) bool {
	if end := a.Context == "end"; end != (b.Context == "end") {
		return end
	}
	if signed := len(a.Signed) > 0; signed != (len(b.Signed) > 0) {
		return signed
	}
	return a.Time.After(b.Time)
}

// endEvent writes the end of s. It adds to e what the totals reveal.
func (st *Station) endEvent(s *session, e *ending, stamp Stamp) event.Draft {
	start, signed := s.meterStart, s.signed
	for i := range e.readings {
		r := &e.readings[i]
		if r.Context == "begin" && r.EnergyWh != nil && (start == nil || len(r.Signed) > 0 && !signed) {
			start, signed = r.EnergyWh, len(r.Signed) > 0
		}
	}
	t := total(totalIn{
		kind: e.kind, begun: s.begun, start: start, stop: e.meter, register: s.register, rises: s.rises,
		duration: st.duration(s, e, stamp), regressed: s.regressed, fell: s.fell,
	})
	e.flags |= t.flags
	if e.meter == nil {
		e.meter = t.stop
	}
	out := &event.SessionEnded{
		Session: s.id, Transaction: s.transaction, Reason: e.reason, Token: e.token,
		MeterStartWh: start, MeterStopWh: e.meter, EnergyWh: t.energy, DurationS: int64(t.duration / time.Second),
		Trigger: e.trigger, Command: e.command, Readings: e.readings, DeviceTime: e.device,
		Flags: (s.flags | e.flags).list(),
	}
	if out.Token == nil {
		out.Token = s.token
	}
	// A start recorded by an unsynced clock is mended by the manager, which
	// cannot mend a copy of it inside a synced event.
	if s.begun && (s.startClock == stamp.Clock && s.startBoot == stamp.Boot || s.startClock == event.ClockSynced) {
		started := s.started
		out.Started = &started
	}
	return draft(stamp, s.at(st.id), e.time, out)
}

// duration is how long s ran, negative where nobody can tell. The device's own
// claims are best, because one clock made both.
func (st *Station) duration(s *session, e *ending, stamp Stamp) time.Duration {
	switch {
	case !s.begun:
		return -1
	case !s.startClaim.IsZero() && !e.claim.IsZero() && !e.claim.Before(s.startClaim):
		return e.claim.Sub(s.startClaim)
	case s.startClock == stamp.Clock && (s.startClock == event.ClockSynced || s.startBoot == stamp.Boot):
		return e.time.Sub(s.started)
	case !s.startMono.IsZero():
		return time.Since(s.startMono)
	}
	return -1
}

// totalIn is what the totals of a session are worked out from.
type totalIn struct {
	kind      endKind
	begun     bool
	start     *int64 // register at the begin
	stop      *int64 // register at the end, where the device told it
	register  *int64 // the last register heard in between
	rises     rises  // of the registers in between
	duration  time.Duration
	regressed bool // the register ran backwards in between
	fell      bool // to below the begin
}

type totals struct {
	stop     *int64
	energy   *int64
	duration time.Duration
	flags    flagSet
}

// mostW is more than any charger delivers.
const mostW = 4_000_000

// total works out a session. Energy stays unknown rather than wrong: without a
// begin register, and where the register ran backwards in a way that nobody can
// explain. A register that began anew within the session, or counts each session
// on its own while the begin was told from another, is explained by what it
// gained.
func total(in totalIn) totals {
	out := totals{stop: in.stop, duration: in.duration}
	if out.duration < 0 {
		out.duration = 0
		out.flags |= flagClock.when(in.begun)
	}
	if out.stop == nil {
		out.stop = in.register
		out.flags |= flagGap.when(in.kind != stopped || in.register != nil)
	}
	if in.start == nil || out.stop == nil {
		out.flags |= flagUnknownEnergy
		return out
	}
	energy := *out.stop - *in.start
	gained := in.rises.gained
	if in.register != nil && *out.stop > *in.register {
		gained = in.rises.next(*in.register, *out.stop).gained
	}
	switch {
	case energy < 0 && gained <= 0:
		out.flags |= flagMeterRegression | flagUnknownEnergy
		return out
	case energy < 0, in.regressed && in.fell && gained > energy:
		// the register began anew: what it gained is what we know
		energy = gained
		out.flags |= flagMeterRegression | flagSuspect
	case in.regressed:
		out.flags |= flagMeterRegression
	}
	if float64(energy) > mostW*(out.duration+time.Minute).Hours() && in.duration >= 0 {
		out.flags |= flagSuspect
	}
	out.energy = &energy
	return out
}

// inferEnds ends sessions whose connector has been available for long enough: no
// stop will come, or it comes later and replaces this end.
func (st *Station) inferEnds(now time.Time) {
	for i := range st.connectors {
		p := &st.connectors[i]
		if p.inferAt.IsZero() || now.Before(p.inferAt) {
			continue
		}
		s := st.openAt(p.evse, p.number)
		if s == nil {
			p.occupied()
			continue
		}
		if st.device == nil { // its queue may hold the stop: see Connected
			st.grace(p)
			continue
		}
		if !st.mayBeOver(s, p, now) {
			continue
		}
		if err := st.inferEnd(s, st.site.clock.Stamp().Time.Add(-now.Sub(p.freeSince))); err != nil {
			st.logger().Warn("inferred end not kept, trying again", "session", string(s.id), "err", err)
			p.inferAt = now.Add(retryAfter)
		}
	}
}

// inferEnd ends a session that the device does not end, as of at.
func (st *Station) inferEnd(s *session, at time.Time) error {
	stamp := st.site.clock.Stamp()
	e := ending{
		kind: inferred, time: at, reason: "other", trigger: "abnormal",
		flags: flagInferred | flagGap.when(len(s.trail.holes) > 0 || s.guess == startLate),
	}
	if e.time.Before(s.started) {
		e.time = stamp.Time
	}
	c := Change{Events: []event.Draft{st.endEvent(s, &e, stamp)}}
	statuses := st.derive(&c, s.evse, s.connector, nil, stamp)
	hits := st.effects(fact{kind: factStopped, evse: s.evse, session: s})
	st.addEffects(&c, hits, stamp)
	next := s.after(e)
	c.Put = append(c.Put, st.sessionRecord(next))
	forget := st.outlived(1, stamp)
	for _, f := range forget {
		c.Delete = append(c.Delete, sessionKey(st.id, f.id))
	}
	if err := st.commit(c); err != nil {
		return err
	}
	st.applyEffects(hits)
	st.forget(forget)
	st.close(s, next)
	st.applyDerived(statuses, stamp)
	return nil
}
