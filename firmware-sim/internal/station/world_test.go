package station_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/station"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errGone = errors.New("the connection is gone")

// world is a charge point in virtual time with a central system that a test
// decides for.
type world struct {
	t      *testing.T
	st     *station.Station
	cfg    station.Config
	memory charger.Memory
	book   *notes
	end    func()

	mu      sync.Mutex
	decide  func(said) any // a Response, an ocppj.ErrorCode, hangup, silence, or nil for a friendly answer
	away    bool           // nobody answers the phone
	conn    *fakeConn
	said    []said
	begun   time.Time
	dials   int
	nextID  int64
	answers map[string]ocppj.Frame
	calls   int
}

// said is a CALL of the charge point.
type said struct {
	id  string
	req ocpp16.Request
	at  time.Duration // since the test began
}

type (
	hangup  struct{}
	silence struct{}
)

// notes is a ledger in memory.
type notes struct {
	mu sync.Mutex
	bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Buffer.Write(p)
}

func (n *notes) Close() error { return nil }

// line is a line of the ledger.
type line struct {
	Kind, Action, Error, Reason string
	Confirmed, Pending, Offline bool
	Attempts, Samples           int
	Payload, Answer             json.RawMessage
	Transaction                 int64
	MeterStart                  int64     `json:"meter_start"`
	MeterStop                   int64     `json:"meter_stop"`
	FirstSent                   time.Time `json:"first_sent"`
	Time, Start, Stop           time.Time
	Station, Token              string
	Connector                   int
	Created                     time.Time
}

func (w *world) lines(kind, action string) []line {
	w.t.Helper()
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	var all []line
	for text := range strings.Lines(w.book.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			w.t.Fatalf("ledger: %v in %s", err, text)
		}
		if l.Kind == kind && (action == "" || l.Action == action) {
			all = append(all, l)
		}
	}
	return all
}

// option changes the charge point of a test.
type option func(*world)

func keys(pairs ...string) option {
	return func(w *world) {
		for i := 0; i < len(pairs); i += 2 {
			w.cfg.Configuration[pairs[i]] = pairs[i+1]
		}
	}
}

func connectors(n int) option {
	return func(w *world) { w.cfg.Outlets = slices.Repeat(w.cfg.Outlets[:1], n) }
}

func supply(s car.Supply) option { return func(w *world) { w.cfg.Outlets = []car.Supply{s} } }

func remembers(m charger.Memory) option { return func(w *world) { w.memory = m } }

func decides(f func(said) any) option { return func(w *world) { w.decide = f } }

// live runs a test against a charge point that has been accepted.
func live(t *testing.T, test func(w *world), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, options...)
		w.start()
		w.pass(5 * time.Second)
		test(w)
		w.end()
	})
}

func newWorld(t *testing.T, options ...option) *world {
	// Virtual time begins in 2000, when nothing of this existed.
	time.Sleep(time.Until(time.Date(2026, time.May, 4, 6, 7, 8, 0, time.UTC)))
	w := &world{
		t: t, memory: charger.RAM{}, book: &notes{}, begun: time.Now(), answers: map[string]ocppj.Frame{},
		cfg: station.Config{
			Identity: "CP-1", Vendor: "Vendor", Model: "Model", Firmware: "1.0.0", RegisterWh: 1000,
			Outlets: []car.Supply{{MaxA: 32, Phases: 3}}, Configuration: map[string]string{"MeterValueSampleInterval": "0"},
			Reconnect: time.Second, CallTimeout: 30 * time.Second, BootTime: time.Second, DataVendors: []string{"e2e"}, Seed: 1,
		},
	}
	for _, o := range options {
		o(w)
	}
	return w
}

// start switches the charge point on, with what memory holds.
func (w *world) start() {
	w.t.Helper()
	st, err := station.New(w.cfg, w, w.memory, ledger.New(w.book), slog.New(slog.NewTextHandler(testLog{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		w.t.Fatal(err)
	}
	w.st = st
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	w.end = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		w.end = func() {}
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	time.Sleep(d) // virtual
	synctest.Wait()
}

// ---- the wire

type fakeConn struct {
	w      *world
	in     chan []byte
	closed chan struct{}
	once   sync.Once
	pings  int
}

func (w *world) Dial(ctx context.Context, _ charger.Login) (charger.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials++
	if w.away {
		return nil, errGone
	}
	w.conn = &fakeConn{w: w, in: make(chan []byte, 100), closed: make(chan struct{})}
	return w.conn, ctx.Err()
}

// attempts is how often the charge point tried to connect.
func (w *world) attempts() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials
}

func (c *fakeConn) Read() ([]byte, error) {
	select {
	case data := <-c.in:
		return data, nil
	case <-c.closed:
		return nil, io.EOF
	}
}

func (c *fakeConn) Write(data []byte) error {
	select {
	case <-c.closed:
		return errGone
	default:
		c.w.heard(c, slices.Clone(data))
		return nil
	}
}

func (c *fakeConn) Ping(time.Duration) error {
	c.pings++
	return nil
}

func (c *fakeConn) Close(string) error { return c.Cut() }

func (c *fakeConn) Cut() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// unplugCable makes the central system unreachable, or reachable again.
func (w *world) unplugCable(away bool) {
	w.mu.Lock()
	w.away = away
	conn := w.conn
	w.mu.Unlock()
	if away && conn != nil {
		_ = conn.Cut()
	}
	synctest.Wait()
}

// heard is the central system.
func (w *world) heard(c *fakeConn, data []byte) {
	f, err := ocppj.Parse(data)
	if err != nil || f.Repaired {
		w.t.Errorf("the charge point sent %s: %v", data, err)
		return
	}
	if f.Type != ocppj.Call {
		w.mu.Lock()
		w.answers[f.ID] = f
		w.mu.Unlock()
		return
	}
	req, ok := ocpp16.NewRequest(f.Action)
	if !ok {
		w.t.Errorf("the charge point sent %s", data)
		return
	}
	deviations, err := req.Decode(f.Payload)
	if err := errors.Join(err, req.Validate()); err != nil || len(deviations) > 0 {
		w.t.Errorf("the charge point sent %s: %v %v", data, err, deviations)
	}
	s := said{id: f.ID, req: req, at: time.Since(w.begun)}
	w.mu.Lock()
	w.said = append(w.said, s)
	decide := w.decide
	w.mu.Unlock()
	var answer any
	if decide != nil {
		answer = decide(s)
	}
	switch a := answer.(type) {
	case nil:
		c.in <- ocppj.AppendResult(nil, f.ID, w.friendly(req).AppendJSON(nil))
	case ocpp16.Response:
		c.in <- ocppj.AppendResult(nil, f.ID, a.AppendJSON(nil))
	case ocppj.ErrorCode:
		c.in <- ocppj.AppendError(nil, f.ID, a, "as the test wants", nil)
	case hangup:
		_ = c.Cut()
	case silence:
	}
}

func accepted() ocpp16.IDTagInfo {
	return ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatusAccepted}
}

func (w *world) friendly(req ocpp16.Request) ocpp16.Response {
	switch req.(type) {
	case *ocpp16.BootNotificationRequest:
		return boot(ocpp16.RegistrationStatusAccepted, 300)
	case *ocpp16.HeartbeatRequest:
		return &ocpp16.HeartbeatResponse{CurrentTime: lenient.At(time.Now())}
	case *ocpp16.AuthorizeRequest:
		return &ocpp16.AuthorizeResponse{IDTagInfo: accepted()}
	case *ocpp16.StartTransactionRequest:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.nextID++
		return &ocpp16.StartTransactionResponse{IDTagInfo: accepted(), TransactionID: w.nextID}
	}
	return req.NewResponse()
}

func boot(status ocpp16.RegistrationStatus, interval int64) *ocpp16.BootNotificationResponse {
	return &ocpp16.BootNotificationResponse{Status: status, CurrentTime: lenient.At(time.Now()), Interval: interval}
}

// ask sends a CALL and returns the answer, which must be as the schema wants it.
func ask[R ocpp16.Response](w *world, req ocpp16.Request) R {
	w.t.Helper()
	resp, ok := req.NewResponse().(R)
	if !ok {
		w.t.Fatalf("%s is answered by %T", req.Action(), req.NewResponse())
	}
	f := w.call(req.Action(), string(req.AppendJSON(nil)))
	if f.Type != ocppj.CallResult {
		w.t.Fatalf("%s was answered with %s: %s", req.Action(), f.Code, f.Description)
	}
	deviations, err := resp.Decode(f.Payload)
	if err := errors.Join(err, resp.Validate()); err != nil || len(deviations) > 0 {
		w.t.Errorf("%s was answered with %s: %v %v", req.Action(), f.Payload, err, deviations)
	}
	return resp
}

// call sends a CALL as it is and returns the answer; its type is 0 when none
// came.
func (w *world) call(action, payload string) ocppj.Frame {
	w.t.Helper()
	w.mu.Lock()
	w.calls++
	id := fmt.Sprint("call-", w.calls)
	conn := w.conn
	w.mu.Unlock()
	conn.in <- ocppj.AppendCall(nil, id, action, []byte(payload))
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answers[id]
}

// ---- what was said

// of returns what was said of one kind.
func of[R ocpp16.Request](w *world) []R {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []R
	for _, s := range w.said {
		if r, ok := s.req.(R); ok {
			all = append(all, r)
		}
	}
	return all
}

// actions lists what was said, in order.
func (w *world) actions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, s := range w.said {
		all = append(all, s.req.Action())
	}
	return all
}

// forget begins a new list of what was said.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = nil
}

// statuses lists what was said about a connector.
func (w *world) statuses(connector int64) []string {
	var all []string
	for _, r := range of[*ocpp16.StatusNotificationRequest](w) {
		if r.ConnectorID == connector {
			text := string(r.Status)
			if r.ErrorCode != ocpp16.ChargePointErrorCodeNoError {
				text += "/" + string(r.ErrorCode)
			}
			all = append(all, text)
		}
	}
	return all
}

func (w *world) view() charger.View {
	w.t.Helper()
	v, err := w.st.Look(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// ---- what people do

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func (w *world) plug(connector int) {
	w.t.Helper()
	w.must(w.st.Plug(w.t.Context(), connector, car.Car{}))
}

func (w *world) unplug(connector int) {
	w.t.Helper()
	w.must(w.st.Unplug(w.t.Context(), connector))
}

func (w *world) tap(connector int, tag string) {
	w.t.Helper()
	w.must(w.st.Tap(w.t.Context(), connector, tag))
}

// charge begins a session.
func (w *world) charge(connector int, tag string) {
	w.t.Helper()
	w.plug(connector)
	w.tap(connector, tag)
	if w.view().Connectors[connector-1].Transaction == "" {
		w.t.Fatalf("nothing runs at connector %d after %s", connector, tag)
	}
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
