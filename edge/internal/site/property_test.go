package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/shared/event"
)

// manualClock moves only when a test moves it.
type manualClock struct{ now time.Time }

func (c *manualClock) Stamp() Stamp             { return Stamp{c.now, "boot", event.ClockSynced} }
func (c *manualClock) Judge() (time.Time, bool) { return c.now, true }

// modelSession is a session as its charger lived through it.
type modelSession struct {
	evse        int
	token       string
	begin, end  int64
	started     ReportedTime
	transaction string // as answered; empty: not yet
	stopAs      string // the transaction that the stop names, if not its own
	stopped     bool
	superseded  bool
}

// message is one that the charger keeps until it is answered.
type message struct {
	session *modelSession
	kind    string // start, meter or stop
	wh      int64
	time    ReportedTime
}

// model is a charger with a queue, and the gateway that it talks to.
type model struct {
	journal  *fakeJournal
	clock    *manualClock
	site     *Site
	stop     context.CancelFunc
	done     chan error
	conn     Connection
	register int64
	running  [3]*modelSession // by connector
	queue    []message
	sessions []*modelSession
	given    []int64 // transactions in the order of their first answers
}

func (m *model) start() error {
	manager := &fakeManager{away: true}
	s, err := New(Config{Offline: OfflineAll}, m.journal, m.clock, manager, m.journal.restored(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.site, m.stop, m.done = s, cancel, make(chan error, 1)
	go func() { m.done <- s.Run(ctx) }()
	return nil
}

func (m *model) shutdown() error {
	if m.stop == nil {
		return nil
	}
	m.stop()
	m.stop = nil
	return <-m.done
}

func (m *model) at(f func(*Station) error) error {
	st := m.site.Station("CP1")
	done := make(chan error, 1)
	if err := st.Post(context.Background(), func() { done <- f(st) }); err != nil {
		return err
	}
	return <-done
}

func (m *model) said() ReportedTime { return said(m.clock.now) }

// act does one thing to charger or gateway.
func (m *model) act(op string, evse int) error {
	m.clock.now = m.clock.now.Add(7 * time.Second)
	m.register += 10
	s := m.running[evse]
	switch op {
	case "start":
		if s != nil {
			s.superseded = true // quirk 58: no stop
		}
		n := &modelSession{evse: evse, token: fmt.Sprint("T", len(m.sessions)), begin: m.register, started: m.said()}
		m.sessions, m.running[evse] = append(m.sessions, n), n
		m.queue = append(m.queue, message{session: n, kind: "start", wh: m.register, time: n.started})
	case "stop", "stop -1", "stop 0":
		if s == nil {
			return nil
		}
		s.end, s.stopped = m.register, true
		if op != "stop" {
			s.stopAs = op[len("stop "):]
		}
		m.running[evse] = nil
		m.queue = append(m.queue, message{session: s, kind: "stop", wh: m.register, time: m.said()})
	case "meter":
		if s != nil {
			m.queue = append(m.queue, message{session: s, kind: "meter", wh: m.register, time: m.said()})
		}
	case "send", "send, answer lost":
		return m.send(op == "send")
	case "send, disk full":
		m.journal.fail = func(Change) bool { return true }
		err := m.send(true)
		m.journal.fail = nil
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

func (m *model) connect() error {
	return m.at(func(st *Station) (err error) {
		m.conn, err = st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp1.6"})
		return err
	})
}

// send offers the oldest message. It stays in the queue until its answer comes.
func (m *model) send(answered bool) error {
	if len(m.queue) == 0 {
		return nil
	}
	q := m.queue[0]
	s := q.session
	err := m.at(func(st *Station) error {
		switch q.kind {
		case "start":
			out, err := st.Start(StartReport{EVSE: s.evse, Connector: 1, Token: card(s.token), MeterWh: &q.wh, Time: q.time})
			if err != nil {
				return err
			}
			tx := strconv.FormatInt(out.Transaction, 10)
			if s.transaction != "" && s.transaction != tx {
				return fmt.Errorf("a retried start got %s, before %s", tx, s.transaction)
			}
			if s.transaction == "" {
				s.transaction = tx
				m.given = append(m.given, out.Transaction)
			}
		case "meter":
			tx := s.transaction
			return st.Meter(MeterReport{EVSE: s.evse, Connector: 1, Transaction: &tx, Samples: []event.Sample{{Time: q.time.Time, EnergyWh: &q.wh}}})
		case "stop":
			tx := s.transaction
			if s.stopAs != "" {
				tx = s.stopAs
			}
			token := card(s.token)
			_, err := st.Stop(StopReport{Transaction: tx, Token: &token, MeterWh: &q.wh, Time: q.time})
			return err
		}
		return nil
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

// check compares what the charger lived through with what was kept.
func (m *model) check() error {
	if !slices.IsSorted(m.given) || len(slices.Compact(slices.Clone(m.given))) != len(m.given) {
		return fmt.Errorf("transactions not increasing: %v", m.given)
	}
	started := make(map[string][]*event.SessionStarted) // by token
	for _, e := range kept[*event.SessionStarted](m.journal) {
		started[e.Token.Value] = append(started[e.Token.Value], e)
	}
	ended := make(map[event.SessionID][]*event.SessionEnded)
	for _, e := range kept[*event.SessionEnded](m.journal) {
		ended[e.Session] = append(ended[e.Session], e)
	}
	for _, s := range m.sessions {
		b := started[s.token]
		if len(b) != 1 || b[0].Transaction != s.transaction || *b[0].MeterWh != s.begin {
			return fmt.Errorf("session %s: %d starts, want 1 with transaction %s", s.token, len(b), s.transaction)
		}
		var real, assumed int
		for _, e := range ended[b[0].Session] {
			if slices.Contains(e.Flags, event.FlagSuperseded) || slices.Contains(e.Flags, event.FlagInferred) {
				assumed++
				if real > 0 {
					return fmt.Errorf("session %s: an assumed end after the real one", s.token)
				}
				continue
			}
			real++
			if !s.stopped || e.EnergyWh == nil || *e.EnergyWh != s.end-s.begin {
				return fmt.Errorf("session %s (stopped %v): ended with %s Wh, want %d", s.token, s.stopped, wh(e.EnergyWh), s.end-s.begin)
			}
		}
		if want := map[bool]int{true: 1}[s.stopped]; real != want || assumed > 1 || s.superseded && assumed != 1 {
			return fmt.Errorf("session %s: %d real ends and %d assumed, want %d (superseded %v)", s.token, real, assumed, want, s.superseded)
		}
		delete(ended, b[0].Session)
	}
	if len(ended) > 0 {
		return fmt.Errorf("%d ends of sessions that never were", len(ended))
	}
	return nil
}

// Whatever is lost, repeated, refused or restarted in whatever order: a confirmed
// start has one session, a confirmed stop one effective end, and no transaction
// is given twice.
func TestAnyOrder(t *testing.T) {
	ops := []string{
		"start", "start", "stop", "stop", "stop -1", "stop 0", "meter",
		"send", "send", "send", "send", "send, answer lost", "send, answer lost", "send, disk full", "reconnect", "restart",
	}
	rapid.Check(t, func(t *rapid.T) {
		m := &model{journal: &fakeJournal{records: make(map[Key][]byte)}, clock: &manualClock{now: base}}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := m.shutdown(); err != nil {
				t.Error(err)
			}
		}()
		err := m.connect()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
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
