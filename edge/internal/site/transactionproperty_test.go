package site

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/shared/event"
)

// ownSession is a transaction as the station that numbers it lived through it.
type ownSession struct {
	id         string
	evse       int
	begin, end int64
	over       bool
	superseded bool
	plain      bool // nothing unusual happened to it
}

// ownStation is a station of OCPP 2.x with its queue.
type ownStation struct {
	model
	running map[int]*ownSession
	all     []*ownSession
	queue   []TransactionReport
	seq     [3]int64 // by EVSE
}

func (m *ownStation) say(step TransactionStep, s *ownSession, trigger, state, context string) {
	wh := m.register
	n := m.seq[s.evse]
	m.seq[s.evse]++
	r := TransactionReport{
		Step: step, Transaction: s.id, Sequence: &n, Time: m.said(), EVSE: s.evse, Connector: 1, Trigger: trigger, ChargingState: state,
		Readings: []event.Sample{energy(m.clock.now, context, wh)},
	}
	if step != TransactionStarted {
		r.EVSE, r.Connector = 0, 0
	}
	m.queue = append(m.queue, r)
}

func (m *ownStation) act(op string, evse int) error {
	m.clock.now = m.clock.now.Add(7 * time.Second)
	m.register += 10
	s := m.running[evse]
	switch op {
	case "begin":
		if s != nil {
			s.superseded = true
		}
		n := &ownSession{id: fmt.Sprint("T", len(m.all)), evse: evse, begin: m.register, plain: true}
		m.all, m.running[evse] = append(m.all, n), n
		m.say(TransactionStarted, n, "cable_plugged_in", "ev_connected", "begin")
	case "charge":
		if s != nil {
			m.say(TransactionUpdated, s, "charging_state", "charging", "")
		}
	case "meter":
		if s != nil {
			m.say(TransactionUpdated, s, "meter_periodic", "", "")
		}
	case "end":
		if s != nil {
			s.over, s.end = true, m.register
			m.running[evse] = nil
			m.say(TransactionEnded, s, "ev_departed", "", "end")
		}
	case "swap":
		if len(m.queue) > 1 {
			m.queue[0], m.queue[1] = m.queue[1], m.queue[0]
			m.unusual()
		}
	case "drop":
		if i := slices.IndexFunc(m.queue, func(r TransactionReport) bool { return r.Step == TransactionUpdated }); i >= 0 {
			m.queue = slices.Delete(m.queue, i, i+1)
			m.unusual()
		}
	case "count anew":
		m.seq = [3]int64{}
		m.unusual()
	case "send", "send, answer lost":
		return m.send(op == "send")
	case "send, disk full":
		m.journal.fail, m.journal.full = func(Change) bool { return true }, true
		err := m.send(true)
		m.journal.fail, m.journal.full = nil, false
		return err
	case "reconnect":
		return m.connect()
	case "restart":
		if err := m.shutdown(); err != nil {
			return err
		}
		if err := m.start(); err != nil {
			return err
		}
		return m.connect()
	}
	return nil
}

// unusual notes that what runs or is queued now need not be without flags.
func (m *ownStation) unusual() {
	for _, s := range m.all {
		s.plain = false
	}
}

func (m *ownStation) connect() error {
	return m.at(func(st *Station) error {
		_, err := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp2.0.1"})
		return err
	})
}

func (m *ownStation) send(answered bool) error {
	if len(m.queue) == 0 {
		return nil
	}
	r := m.queue[0]
	r.Readings = slices.Clone(r.Readings) // the site keeps them
	err := m.at(func(st *Station) error {
		_, err := st.Transaction(r)
		return err
	})
	switch {
	case errors.Is(err, ErrNotKept):
		return nil
	case err != nil:
		return err
	case answered:
		m.queue = m.queue[1:]
	}
	return nil
}

func (m *ownStation) check() error {
	ids := map[string]event.SessionID{}
	begins := map[string]int{}
	for _, e := range kept[*event.SessionStarted](m.journal) {
		if before := ids[e.Transaction]; before != "" && before != e.Session {
			return fmt.Errorf("transaction %s has two sessions", e.Transaction)
		}
		ids[e.Transaction] = e.Session
		if !slices.Contains(e.Flags, event.FlagRecovered) {
			begins[e.Transaction]++
		}
	}
	last := map[string]*event.SessionEnded{}
	for _, e := range kept[*event.SessionEnded](m.journal) {
		if before := ids[e.Transaction]; before != "" && before != e.Session {
			return fmt.Errorf("transaction %s ends another session", e.Transaction)
		}
		if b := last[e.Transaction]; b != nil && !assumed(b) && assumed(e) {
			return fmt.Errorf("transaction %s: an assumed end after the real one", e.Transaction)
		}
		last[e.Transaction] = e
	}
	for _, s := range m.all {
		if begins[s.id] != 1 {
			return fmt.Errorf("transaction %s began %d times", s.id, begins[s.id])
		}
		e := last[s.id]
		switch {
		case !s.over:
			if e != nil && (!s.superseded || !assumed(e)) {
				return fmt.Errorf("transaction %s ended and runs still", s.id)
			}
			continue
		case e == nil:
			return fmt.Errorf("transaction %s never ended", s.id)
		case e.MeterStopWh == nil || *e.MeterStopWh != s.end:
			return fmt.Errorf("transaction %s ended at %s Wh, want %d", s.id, wh(e.MeterStopWh), s.end)
		}
		if e.EnergyWh != nil && *e.EnergyWh != s.end-s.begin {
			return fmt.Errorf("transaction %s took %d Wh, want %d", s.id, *e.EnergyWh, s.end-s.begin)
		}
		flags := slices.DeleteFunc(slices.Clone(e.Flags), func(f event.Flag) bool { return f == event.FlagOffline }) // it may have queued for long
		if s.plain && (len(flags) > 0 || e.EnergyWh == nil) {
			return fmt.Errorf("transaction %s, to which nothing happened, has flags %v", s.id, e.Flags)
		}
	}
	return nil
}

func assumed(e *event.SessionEnded) bool {
	return slices.Contains(e.Flags, event.FlagSuperseded) || slices.Contains(e.Flags, event.FlagInferred)
}

// Whatever is lost, repeated, swapped, dropped, refused or restarted: each
// transaction is one session, begins once and ends where the station says.
func TestAnyOrderOfTransactions(t *testing.T) {
	ops := []string{
		"begin", "begin", "charge", "meter", "meter", "end", "end", "swap", "drop", "count anew",
		"send", "send", "send", "send", "send", "send, answer lost", "send, answer lost", "send, disk full", "reconnect", "restart",
	}
	rapid.Check(t, func(t *rapid.T) {
		m := &ownStation{
			model:   model{journal: &fakeJournal{records: make(map[Key][]byte)}, clock: &manualClock{now: base}},
			running: map[int]*ownSession{},
		}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := m.shutdown(); err != nil {
				t.Error(err)
			}
		}()
		err := m.connect()
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			if err != nil {
				break
			}
			err = m.act(rapid.SampledFrom(ops).Draw(t, "op"), rapid.IntRange(1, 2).Draw(t, "evse"))
		}
		for err == nil && len(m.queue) > 0 {
			err = m.send(true)
		}
		if stopped := m.shutdown(); err == nil {
			err = stopped
		}
		if err == nil {
			err = m.check()
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkTransaction is an update with nothing but values: what comes most.
func BenchmarkTransaction(b *testing.B) {
	m := &ownStation{
		model:   model{journal: &fakeJournal{records: make(map[Key][]byte)}, clock: &manualClock{now: base}},
		running: map[int]*ownSession{},
	}
	s, err := New(Config{}, m.journal, m.clock, &fakeManager{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	st := s.Station("CP")
	if _, err := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp2.0.1"}); err != nil {
		b.Fatal(err)
	}
	n := int64(0)
	tell := func(step TransactionStep, trigger string) {
		n++
		v := n
		r := TransactionReport{
			Step: step, Transaction: "T1", Sequence: &v, Time: said(base.Add(time.Duration(n) * time.Millisecond)), Trigger: trigger,
			EVSE: 1, Connector: 1, Readings: []event.Sample{energy(base.Add(time.Duration(n)*time.Millisecond), "", n)},
		}
		if _, err := st.Transaction(r); err != nil {
			b.Fatal(err)
		}
	}
	tell(TransactionStarted, "authorized")
	b.ReportAllocs()
	for b.Loop() {
		tell(TransactionUpdated, "meter_periodic")
		if n%1000 == 0 {
			m.journal.samples = m.journal.samples[:0]
			m.clock.now = base.Add(time.Duration(n) * time.Millisecond)
		}
	}
}
