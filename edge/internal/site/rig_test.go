package site

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// base is when a test's gateway starts, by its clock.
var base = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

type fakeClock struct {
	mu       sync.Mutex
	start    time.Time
	boot     string
	unsynced bool
	unjudged bool
	ahead    time.Duration
}

func (c *fakeClock) set(f func(*fakeClock)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *fakeClock) Stamp() Stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stamp{Time: base.Add(time.Since(c.start) + c.ahead), Boot: c.boot, Clock: event.ClockSynced}
	if c.unsynced {
		s.Clock = event.ClockUnsynced
	}
	return s
}

func (c *fakeClock) Judge() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return base.Add(time.Since(c.start) + c.ahead), !c.unjudged
}

// fakeJournal keeps what it is given, unless told to fail.
type fakeJournal struct {
	mu      sync.Mutex
	events  []event.Draft
	samples []event.Draft
	records map[Key][]byte
	fail    func(c Change) bool
	full    bool // the samples lane takes nothing
	commits int
}

// refuse makes Commit fail where f says so; nil: nowhere.
func (j *fakeJournal) refuse(f func(c Change) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = f
}

func (j *fakeJournal) Commit(_ context.Context, c Change) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil && j.fail(c) {
		return fmt.Errorf("%w: the disk is full", ErrNotKept)
	}
	j.commits++
	for i := range c.Events {
		if _, err := event.AppendTail(nil, "gw-1", &c.Events[i]); err != nil {
			return fmt.Errorf("%w: %w", ErrNotKept, err)
		}
	}
	j.events = append(j.events, c.Events...)
	for _, k := range c.Delete {
		delete(j.records, k)
	}
	for _, r := range c.Put {
		j.records[r.Key] = r.Value
	}
	return nil
}

func (j *fakeJournal) AddSamples(_ context.Context, d event.Draft) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full {
		return fmt.Errorf("%w: the disk is full", ErrNotKept)
	}
	j.samples = append(j.samples, d)
	return nil
}

func (j *fakeJournal) restored() []Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Record
	for k, v := range j.records {
		out = append(out, Record{Key: k, Value: v})
	}
	return out
}

// types are the short names of the events kept so far.
func (j *fakeJournal) types() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, d := range j.events {
		out = append(out, string(d.Data.EventType()[len("chargeyard."):]))
	}
	return out
}

// kept are the payloads of one type kept so far.
func kept[T event.Payload](j *fakeJournal) []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []T
	for _, d := range j.events {
		if p, ok := d.Data.(T); ok {
			out = append(out, p)
		}
	}
	return out
}

type fakeManager struct {
	tokens map[string]TokenInfo
	away   bool
	mute   bool
	asked  int

	answers   map[string]string // to other questions, by kind
	questions []Question
}

func (m *fakeManager) AskToken(ctx context.Context, _ event.Address, t event.Token) (TokenInfo, error) {
	m.asked++
	switch {
	case m.away:
		return TokenInfo{}, ErrManagerAway
	case m.mute:
		<-ctx.Done()
		return TokenInfo{}, ctx.Err()
	}
	if i, ok := m.tokens[t.Value]; ok {
		return i, nil
	}
	return TokenInfo{Token: t, Decision: "invalid"}, nil
}

func (m *fakeManager) Ask(ctx context.Context, _ event.Address, q Question) (json.RawMessage, error) {
	m.asked++
	m.questions = append(m.questions, q)
	switch {
	case m.away:
		return nil, ErrManagerAway
	case m.mute:
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", ErrManagerAway, ctx.Err())
	case m.answers[q.Kind] == "":
		return nil, ErrUnsupported
	}
	return json.RawMessage(m.answers[q.Kind]), nil
}

// fakeDevice notes its orders; a test answers them.
type fakeDevice struct {
	orders  []Order
	reports []func(Outcome)
	looks   []Order
	looked  []func(Outcome)
	refresh int
	silent  []event.Address // of the newest refresh
	closed  []string
	answer  func(o Order, report func(Outcome)) // at once; nil: the test does
}

func (d *fakeDevice) Execute(o Order, report func(Outcome)) {
	d.orders, d.reports = append(d.orders, o), append(d.reports, report)
	if d.answer != nil {
		d.answer(o, report)
	}
}

func (d *fakeDevice) Look(o Order, report func(Outcome)) {
	d.looks, d.looked = append(d.looks, o), append(d.looked, report)
}

func (d *fakeDevice) Refresh(silent []event.Address) {
	d.refresh++
	d.silent = silent
}

func (d *fakeDevice) Close(reason string) { d.closed = append(d.closed, reason) }

// rig is a gateway around one site.
type rig struct {
	t       *testing.T
	cfg     Config
	journal *fakeJournal
	clock   *fakeClock
	manager *fakeManager
	site    *Site
	stop    context.CancelFunc
	done    chan error
	boots   int
}

// newRig starts a site inside a synctest bubble.
func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{
		t: t, cfg: cfg,
		journal: &fakeJournal{records: make(map[Key][]byte)},
		clock:   &fakeClock{start: time.Now()},
		manager: &fakeManager{tokens: map[string]TokenInfo{"GOOD": {Token: card("GOOD"), Decision: accepted}}},
	}
	r.start()
	t.Cleanup(func() { r.shutdown() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	r.boots++
	r.clock.set(func(c *fakeClock) { c.boot = fmt.Sprintf("boot-%d", r.boots) })
	s, err := New(r.cfg, r.journal, r.clock, r.manager, r.journal.restored(), slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.site, r.stop, r.done = s, cancel, make(chan error, 1)
	go func() { r.done <- s.Run(ctx) }()
	synctest.Wait()
}

// pass lets time go by until everybody waits for something later. What the test has read or set so far happens before what the stations do then.
func (r *rig) pass(d time.Duration) {
	for _, st := range r.site.all() {
		if st.inbox != nil && len(st.inbox) == 0 {
			r.at(st.id, func(*Station) {})
		}
	}
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) shutdown() {
	r.t.Helper()
	if r.stop == nil {
		return
	}
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Error(err)
	}
	r.stop = nil
}

// restart is a gateway that dies and starts again.
func (r *rig) restart() {
	r.t.Helper()
	r.shutdown()
	r.start()
}

// at runs f on the goroutine of station id and waits for it.
func (r *rig) at(id event.StationID, f func(*Station)) {
	r.t.Helper()
	st := r.site.Station(id)
	done := make(chan struct{})
	if err := st.Post(context.Background(), func() { defer close(done); f(st) }); err != nil {
		r.t.Fatal(err)
	}
	<-done
}

// connect brings a station up, booted and with connectors available.
func (r *rig) connect(id event.StationID, connectors int) (*fakeDevice, Connection) {
	r.t.Helper()
	d := new(fakeDevice)
	var c Connection
	r.at(id, func(st *Station) {
		var err error
		if c, err = st.Connected(d, ConnectionInfo{Protocol: "ocpp1.6", Remote: "10.0.0.7:5555"}); err != nil {
			r.t.Error(err)
		}
		if _, err = st.Booted(BootReport{Vendor: "Acme", Model: "One"}); err != nil {
			r.t.Error(err)
		}
		for i := 1; i <= connectors; i++ {
			if err = st.Status(StatusReport{EVSE: i, Connector: 1, Status: event.StatusAvailable}); err != nil {
				r.t.Error(err)
			}
		}
	})
	return d, c
}

func card(value string) event.Token { return event.Token{Type: "unspecified", Value: value} }

func p[T any](v T) *T { return &v }

// said is a time that a device claims.
func said(t time.Time) ReportedTime {
	return ReportedTime{Raw: t.Format(time.RFC3339), Time: t}
}

func (r *rig) now() time.Time { return r.clock.Stamp().Time }

func (r *rig) begin(id event.StationID, evse int, token string, meter int64) StartResult {
	r.t.Helper()
	var out StartResult
	r.at(id, func(st *Station) {
		var err error
		out, err = st.Start(StartReport{EVSE: evse, Connector: 1, Token: card(token), MeterWh: &meter, Time: said(r.now())})
		if err != nil {
			r.t.Error(err)
		}
	})
	return out
}

func (r *rig) end(id event.StationID, rep StopReport) StopResult {
	r.t.Helper()
	var out StopResult
	r.at(id, func(st *Station) {
		var err error
		if out, err = st.Stop(rep); err != nil {
			r.t.Error(err)
		}
	})
	return out
}

func (r *rig) status(id event.StationID, evse int, s event.Status) {
	r.t.Helper()
	r.at(id, func(st *Station) {
		if err := st.Status(StatusReport{EVSE: evse, Connector: 1, Status: s}); err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) execute(cmd event.Command) {
	r.t.Helper()
	if cmd.Expires.IsZero() {
		cmd.Expires = r.now().Add(time.Hour)
	}
	if err := r.site.Execute(context.Background(), cmd); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// states are the states of a command as they were told.
func (r *rig) states(id event.CommandID) []event.CommandState {
	var out []event.CommandState
	for _, u := range kept[*event.CommandUpdated](r.journal) {
		if u.Command == id {
			out = append(out, u.State)
		}
	}
	return out
}

func (r *rig) wantStates(id event.CommandID, want ...event.CommandState) {
	r.t.Helper()
	synctest.Wait()
	if got := r.states(id); !slices.Equal(got, want) {
		r.t.Errorf("command %s went through %v, want %v", id, got, want)
	}
	for _, u := range kept[*event.CommandUpdated](r.journal) {
		if u.State.Final() && u.Reason == "" {
			r.t.Errorf("command %s came to %s without a reason for people", u.Command, u.State)
		}
	}
}

func flags(f []event.Flag) string { return fmt.Sprint(f) }

// bubble runs f in virtual time.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cfg)
		defer r.shutdown()
		f(t, r)
	})
}

func sortedKeys(m map[Key][]byte) []Key {
	return slices.SortedFunc(maps.Keys(m), func(a, b Key) int {
		return slices.Compare([]string{string(a.Kind), string(a.Station), a.ID}, []string{string(b.Kind), string(b.Station), b.ID})
	})
}
