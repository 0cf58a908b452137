package site

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/shared/event"
)

const quarterHour = 15 * time.Minute

// recentValues is how young the values of an unknown transaction must be to make
// a session of their own: they could also be the rest of one long forgotten.
const recentValues = quarterHour

func quarterOf(t time.Time) int64 { return t.Unix() / int64(quarterHour/time.Second) }

// Meter takes samples. They belong to the session that runs at the connector;
// one that they name at the same connector, running or past, comes first; a
// connector comes before a transaction that is another connector's. Signed
// values, begin, end and interruption readings and the first register of each
// quarter of an hour are durable when it returns; the rest follows within the
// journal's time.
func (st *Station) Meter(r MeterReport) error {
	stamp := st.site.clock.Stamp()
	samples := st.resolve(r.Samples, stamp)
	s, err := st.measured(&r, samples, stamp)
	if err != nil {
		return err
	}
	at := st.at(r.EVSE, r.Connector)
	if s != nil {
		at = s.at(st.id)
		if s.evse == 0 {
			at = st.at(r.EVSE, r.Connector)
		}
	}
	place := st.register(at.EVSE, at.Connector)

	// What must not wait becomes events; nothing is remembered before it is kept.
	var c Change
	next := follow(s, place)
	next.flags |= flagSuspect.when(r.Suspect && s != nil)
	again := s != nil && next.repeats(samples)
	for i := range samples {
		v := &samples[i]
		urgent := mustNotWait(v)
		first := next.hear(v)
		if urgent && !again || first {
			c.Events = append(c.Events, st.reading(s, at, stamp, v, urgent, next.flags))
		}
	}
	if s != nil && next.flags&^s.flags != 0 && len(c.Events) == 0 {
		c.Events = append(c.Events, draft(stamp, at, stamp.Time, &event.SessionUpdated{
			Session: s.id, Transaction: s.transaction, Trigger: "abnormal", Flags: (next.flags &^ s.flags).list(),
		}))
	}
	var f fact
	if len(st.commands) > 0 {
		f = fact{kind: factMeter, evse: at.EVSE, connector: at.Connector, session: s, samples: samples}
	}
	hits := st.effects(f)
	st.addEffects(&c, hits, stamp)
	if len(c.Events) > 0 {
		if s != nil {
			c.Put = append(c.Put, st.sessionRecord(next.session(s)))
		}
		if err := st.commit(c); err != nil {
			return err
		}
	}
	st.applyEffects(hits)
	next.apply(s, place)
	if s != nil && s.end == running {
		if p := st.connector(s.evse, s.connector); p != nil && !p.freeSince.IsZero() {
			p.freeSince = time.Now() // it still measures
			st.grace(p)
		}
	}
	st.showMeter(at, s, samples)
	_, rest := split(samples)
	if len(rest) == 0 {
		return nil
	}
	return st.keepSamples(s, at, stamp, rest)
}

// keepSamples hands samples to the lane that may wait.
func (st *Station) keepSamples(s *session, at event.Address, stamp Stamp, samples []event.Sample) error {
	var data event.Payload
	if s != nil {
		data = &event.SessionSampled{Session: s.id, Transaction: s.transaction, Samples: samples}
	} else {
		data = &event.MeterSampled{Samples: samples}
	}
	return st.site.journal.AddSamples(context.Background(), draft(stamp, at, samples[0].Time, data))
}

// resolve decides the times of samples, in place.
func (st *Station) resolve(samples []event.Sample, stamp Stamp) []event.Sample {
	since := st.connectedSince(stamp)
	for i := range samples {
		v := &samples[i]
		finite(v)
		m := judge(ReportedTime{Raw: v.DeviceTime, Time: v.Time}, stamp.Time, stamp.Clock, since)
		v.Time = m.time
		if !m.doubted && stamp.Clock == event.ClockSynced {
			v.DeviceTime = ""
		}
	}
	return samples
}

// finite drops numbers that are none: they cannot be written down.
func finite(v *event.Sample) {
	drop := func(f **float64) {
		if *f != nil && (math.IsNaN(**f) || math.IsInf(**f, 0)) {
			*f = nil
		}
	}
	drop(&v.PowerW)
	drop(&v.PowerOfferedW)
	drop(&v.CurrentOfferedA)
	drop(&v.SoCPercent)
	drop(&v.FrequencyHz)
	drop(&v.TemperatureC)
	for _, p := range []*event.Phases{v.CurrentA, v.VoltageV} {
		if p != nil {
			drop(&p.L1)
			drop(&p.L2)
			drop(&p.L3)
			drop(&p.N)
		}
	}
	for i := range v.Other {
		drop(&v.Other[i].Value)
	}
}

// measured finds the session that samples belong to; nil: none. Young values of
// a transaction that nobody knows, on a connector where nothing runs, are the
// trace of a session that this gateway has lost: it is made again.
func (st *Station) measured(r *MeterReport, samples []event.Sample, stamp Stamp) (*session, error) {
	transaction := ""
	if r.Transaction != nil {
		transaction = strings.TrimSpace(*r.Transaction)
	}
	real := !placeholder(transaction)
	here := st.openAt(r.EVSE, r.Connector)
	if here != nil && !real && here.own && here.beganAfter(samples) {
		here = nil // the station had kept them back
	}
	if here != nil && (!real || here.transaction == transaction) {
		return here, nil
	}
	if real {
		if s := st.byTransaction(transaction); s != nil && (r.EVSE == 0 || s.evse == 0 || s.evse == r.EVSE && s.connector == r.Connector) {
			return s, nil
		}
	}
	if here != nil {
		return here, nil // connector first, transaction second
	}
	if !real || r.EVSE == 0 || len(st.open) >= maxConnectors || st.byTransaction(transaction) != nil || !young(samples, stamp.Time) {
		return nil, nil
	}
	return st.recover(r, transaction, samples, stamp)
}

// beganAfter tells whether s began after samples were taken, by the clock of the
// device that tells of both.
func (s *session) beganAfter(samples []event.Sample) bool {
	if s.startClaim.IsZero() || !s.started.Equal(s.startClaim) {
		return false
	}
	return !slices.ContainsFunc(samples, func(v event.Sample) bool { return !v.Time.Before(s.started.Add(-time.Minute)) })
}

func young(samples []event.Sample, now time.Time) bool {
	for i := range samples {
		if v := &samples[i]; v.Context == "end" || now.Sub(v.Time).Abs() > recentValues {
			return false
		}
	}
	return len(samples) > 0
}

func (st *Station) byTransaction(transaction string) *session {
	for _, s := range st.open {
		if s.transaction == transaction {
			return s
		}
	}
	for i := len(st.ended) - 1; i >= 0; i-- {
		if s := st.ended[i]; s.transaction == transaction {
			return s
		}
	}
	return nil
}

// recover opens a session from its values. Its begin is not known.
func (st *Station) recover(r *MeterReport, transaction string, samples []event.Sample, stamp Stamp) (*session, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, notKept("session id", err)
	}
	s := &session{
		id: event.SessionID(id.String()), transaction: transaction, evse: r.EVSE, connector: r.Connector,
		protocol: st.info.Protocol, started: samples[0].Time, startMono: time.Now(),
		startClock: stamp.Clock, startBoot: stamp.Boot, flags: flagRecovered | flagUnknownEnergy,
	}
	c := Change{Events: []event.Draft{draft(stamp, s.at(st.id), s.started, &event.SessionStarted{
		Session: s.id, Transaction: transaction, Protocol: s.protocol, Trigger: "abnormal", Flags: s.flags.list(),
	})}, Put: []Record{st.sessionRecord(s)}}
	if st.named(transaction) {
		c.Put = append(c.Put, st.counterRecord())
	}
	if err := st.commit(c); err != nil {
		return nil, err
	}
	st.open = append(st.open, s)
	st.showSession(s)
	return s, nil
}

// register is the newest reading of one meter of the station. Values do not make
// a connector: a meter is known by where it speaks from.
type register struct {
	evse, connector int
	known           bool
	wh              int64
	quarter         int64 // of an hour, since 1970, of the last one that became an event
}

// register returns the meter of a place, nil when the station has too many.
func (st *Station) register(evse, connector int) *register {
	for i := range st.registers {
		if r := &st.registers[i]; r.evse == evse && r.connector == connector {
			return r
		}
	}
	if len(st.registers) >= maxConnectors {
		return nil
	}
	st.registers = append(st.registers, register{evse: evse, connector: connector})
	return &st.registers[len(st.registers)-1]
}

func (st *Station) noteRegister(evse, connector int, wh int64) {
	if r := st.register(evse, connector); r != nil {
		r.wh, r.known = wh, true
	}
}

// following is what registers do to a session and its place, until it is kept.
type following struct {
	running   bool
	start     *int64
	signed    bool
	register  *int64
	at        time.Time
	rises     rises
	regressed bool
	fell      bool
	quarter   int64
	reading   uint64
	flags     flagSet
	meter     register

	guessing  bool // the first register may be the begin's: none is told as such
	guess     startGuess
	energised bool
	ending    bool // these are the readings of an end
}

// follow begins where s and the place's meter stand; each may be nil.
func follow(s *session, meter *register) following {
	var f following
	if s != nil {
		// An assumed end may be followed by the real one, which may bring no register;
		// those from before may come after it.
		f.running, f.reading = s.end == running || s.own && s.end != stopped || s.bare != nil, s.reading
		f.start, f.signed, f.register, f.at = s.meterStart, s.signed, s.register, s.registerAt
		f.rises, f.regressed, f.fell, f.quarter, f.flags = s.rises, s.regressed, s.fell, s.quarter, s.flags
		f.guessing, f.guess, f.energised = s.own && s.begun, s.guess, s.energised
	}
	if meter != nil {
		f.meter = *meter
	}
	return f
}

// repeats notes a message by the readings in it that must not wait, and tells
// whether it is the one before again: it was not answered in time.
func (f *following) repeats(samples []event.Sample) bool {
	h, any := hashSeed, false
	for i := range samples {
		v := &samples[i]
		if !mustNotWait(v) {
			continue
		}
		any = true
		claim := v.DeviceTime // kept where Time is not what the device said
		if claim == "" {
			claim = strconv.FormatInt(v.Time.UnixMilli(), 10)
		}
		h = h*hashPrime ^ hash(v.Context, claim, wh(v.EnergyWh))
		for _, s := range v.Signed {
			h = h*hashPrime ^ hash(s.Data)
		}
	}
	if !any {
		return false
	}
	same := h == f.reading
	f.reading = h
	return same
}

// hear takes one reading in. It tells whether its register is the first of its
// quarter of an hour.
func (f *following) hear(v *event.Sample) (first bool) {
	if v.EnergyWh == nil {
		return false
	}
	wh, q := *v.EnergyWh, quarterOf(v.Time)
	if !f.running {
		// of the place, or of a session that is over
		first = q > f.meter.quarter
		f.meter.wh, f.meter.known, f.meter.quarter = wh, true, max(q, f.meter.quarter)
		return first
	}
	if v.Context == "begin" {
		// not the running register: it is as old as the session
		if f.start == nil || f.guess != startExact || len(v.Signed) > 0 && !f.signed {
			f.start, f.signed, f.guess = v.EnergyWh, len(v.Signed) > 0, startExact
			f.flags &^= flagUnknownEnergy
		}
		if f.register == nil {
			f.register, f.at = v.EnergyWh, v.Time
		}
		return false
	}
	if f.guessing && f.start == nil && !f.ending && v.Context != "end" {
		if f.start, f.guess = v.EnergyWh, startFirst; f.energised {
			f.guess = startLate
		}
	}
	if f.register != nil {
		switch {
		case v.Time.Before(f.at), v.Time.Equal(f.at) && wh < *f.register:
			f.earlier(wh)
			return false // late or again: it says nothing about now
		case wh < *f.register:
			f.regressed = true
			f.fell = f.fell || f.start == nil || *f.start == 0 || wh < *f.start
			f.flags |= flagMeterRegression
		}
		f.rises = f.rises.next(*f.register, wh)
	}
	f.register, f.at = v.EnergyWh, v.Time
	f.meter.wh, f.meter.known = wh, true
	if q > f.quarter {
		f.quarter = q
		return true
	}
	return false
}

// earlier takes in a register, in Wh, from before the last one: it is nearer to the
// begin than one that was taken for it for want of a better.
func (f *following) earlier(wh int64) {
	if f.start == nil || f.guess == startExact || f.regressed || wh >= *f.start {
		return
	}
	f.rises.gained += *f.start - wh
	f.start = &wh
}

// session is s as it will be.
func (f *following) session(s *session) *session {
	out := *s
	f.write(&out)
	return &out
}

func (f *following) write(s *session) {
	s.reading = f.reading
	if !f.running {
		return
	}
	s.meterStart, s.signed, s.register, s.registerAt = f.start, f.signed, f.register, f.at
	s.rises, s.regressed, s.fell, s.quarter, s.flags = f.rises, f.regressed, f.fell, f.quarter, f.flags
	s.guess = f.guess
}

// apply remembers what is kept now.
func (f *following) apply(s *session, meter *register) {
	if s != nil {
		f.write(s)
	}
	if meter != nil {
		*meter = f.meter
	}
}

// reading is the event of something that must not wait.
func (st *Station) reading(s *session, at event.Address, stamp Stamp, v *event.Sample, urgent bool, flags flagSet) event.Draft {
	kept := *v
	if s == nil {
		return draft(stamp, at, v.Time, &event.MeterRead{Reading: kept})
	}
	u := &event.SessionUpdated{
		Session: s.id, Transaction: s.transaction, Trigger: meterTrigger(v.Context),
		Flags: (flags &^ s.flags).list(),
	}
	if v.Context != "begin" { // which is no news of where the register stands
		u.MeterWh = v.EnergyWh
	}
	if urgent {
		u.Reading = &kept
	}
	return draft(stamp, at, v.Time, u)
}

// meterTrigger says what made a device send values.
func meterTrigger(context string) string {
	switch context {
	case "clock":
		return "meter_clock"
	case "trigger":
		return "trigger"
	}
	return "meter_periodic"
}
