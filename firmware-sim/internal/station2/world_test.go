package station2_test

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
	"github.com/chargeyard/chargeyard/firmware-sim/internal/station2"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errGone = errors.New("the connection is gone")

// world is a station in virtual time with a CSMS that a test decides for.
type world struct {
	t      *testing.T
	st     *station2.Station
	cfg    station2.Config
	memory charger.Memory
	book   *notes
	end    func()

	mu      sync.Mutex
	decide  func(ocpp21.Request) any // a Response, an ocppj.ErrorCode, silence{}, or nil for a friendly answer
	away    bool
	conn    *fakeConn
	said    []ocpp21.Request
	logins  []charger.Login
	answers map[string]ocppj.Frame
	calls   int
}

type silence struct{}

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

// session is a line of the ledger about a transaction.
type session struct {
	Kind, Token, Reason, Version string
	ID                           string  `json:"transaction_id"`
	MeterStart                   int64   `json:"meter_start"`
	MeterStop                    int64   `json:"meter_stop"`
	EnergyWh                     float64 `json:"energy_wh"`
	Samples                      int
}

func (w *world) sessions() []session {
	w.t.Helper()
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	var all []session
	for text := range strings.Lines(w.book.String()) {
		var s session
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			w.t.Fatalf("ledger: %v in %s", err, text)
		}
		if s.Kind == "session" {
			all = append(all, s)
		}
	}
	return all
}

type option func(*world)

func variables(pairs ...string) option {
	return func(w *world) {
		for i := 0; i < len(pairs); i += 2 {
			w.cfg.Configuration[pairs[i]] = pairs[i+1]
		}
	}
}

func evses(n int) option {
	return func(w *world) { w.cfg.Outlets = slices.Repeat(w.cfg.Outlets[:1], n) }
}

func version(v string) option { return func(w *world) { w.cfg.Version = v } }

func decides(f func(ocpp21.Request) any) option { return func(w *world) { w.decide = f } }

// both runs a test with a station of each version.
func both(t *testing.T, test func(w *world), options ...option) {
	t.Helper()
	for _, v := range []string{ocppj.V201, ocppj.V21} {
		t.Run(v, func(t *testing.T) { live(t, test, append([]option{version(v)}, options...)...) })
	}
}

// live runs a test against a station that has been accepted.
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
		t: t, memory: charger.RAM{}, book: &notes{}, answers: map[string]ocppj.Frame{},
		cfg: station2.Config{
			Identity: "CS-1", Version: ocppj.V21, Vendor: "Vendor", Model: "Model", Firmware: "1.0.0", RegisterWh: 1000,
			Outlets: []car.Supply{{MaxA: 32, Phases: 3}}, Configuration: map[string]string{"SampledDataCtrlr.TxUpdatedInterval": "0"},
			Reconnect: time.Second, CallTimeout: 30 * time.Second, BootTime: time.Second, DataVendors: []string{"e2e"}, Seed: 1,
		},
	}
	for _, o := range options {
		o(w)
	}
	return w
}

func (w *world) start() {
	w.t.Helper()
	st, err := station2.New(w.cfg, w, w.memory, ledger.New(w.book), slog.New(slog.NewTextHandler(testLog{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug})))
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

// testLog fails a test when the simulator breaks the schema.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "breaks the schema") {
		l.t.Error(string(p))
	}
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
}

func (w *world) Dial(ctx context.Context, login charger.Login) (charger.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logins = append(w.logins, login)
	if w.away {
		return nil, errGone
	}
	w.conn = &fakeConn{w: w, in: make(chan []byte, 100), closed: make(chan struct{})}
	return w.conn, ctx.Err()
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

func (c *fakeConn) Ping(time.Duration) error { return nil }

func (c *fakeConn) Close(string) error { return c.Cut() }

func (c *fakeConn) Cut() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// unplugCable makes the CSMS unreachable, or reachable again.
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

// valid holds a payload against the schema of the station's version.
func (w *world) valid(action string, payload []byte, answer bool) error {
	type message interface {
		Decode([]byte) ([]lenient.Deviation, error)
		Validate() error
	}
	var m message
	ok := false
	switch {
	case w.cfg.Version == ocppj.V201 && answer:
		m, ok = ocpp201.NewResponse(action)
	case w.cfg.Version == ocppj.V201:
		m, ok = ocpp201.NewRequest(action)
	case answer:
		m, ok = ocpp21.NewResponse(action)
	default:
		m, ok = ocpp21.NewRequest(action)
	}
	if !ok {
		return fmt.Errorf("%s is not there", action)
	}
	deviations, err := m.Decode(payload)
	if len(deviations) > 0 {
		err = errors.Join(err, fmt.Errorf("%v", deviations))
	}
	return errors.Join(err, m.Validate())
}

// heard is the CSMS.
func (w *world) heard(c *fakeConn, data []byte) {
	f, err := ocppj.Parse(data)
	if err != nil || f.Repaired {
		w.t.Errorf("the station sent %s: %v", data, err)
		return
	}
	if f.Type != ocppj.Call && f.Type != ocppj.Send {
		w.mu.Lock()
		w.answers[f.ID] = f
		w.mu.Unlock()
		return
	}
	if err := w.valid(f.Action, f.Payload, false); err != nil {
		w.t.Errorf("the station sent %s: %v", data, err)
	}
	req, ok := ocpp21.NewRequest(f.Action)
	if !ok {
		w.t.Errorf("the station sent %s", data)
		return
	}
	if _, err := req.Decode(f.Payload); err != nil && w.cfg.Version == ocppj.V21 { // 2.1 requires what 2.0.1 does not have
		w.t.Error(err)
	}
	w.mu.Lock()
	w.said = append(w.said, req)
	decide := w.decide
	w.mu.Unlock()
	if f.Type == ocppj.Send {
		return
	}
	var answer any
	if decide != nil {
		answer = decide(req)
	}
	switch a := answer.(type) {
	case nil:
		c.in <- ocppj.AppendResult(nil, f.ID, friendly(req).AppendJSON(nil))
	case ocpp21.Response:
		c.in <- ocppj.AppendResult(nil, f.ID, a.AppendJSON(nil))
	case ocppj.ErrorCode:
		c.in <- ocppj.AppendError(nil, f.ID, a, "as the test wants", nil)
	case silence:
	}
}

func friendly(req ocpp21.Request) ocpp21.Response {
	accepted := ocpp21.IDTokenInfo{Status: ocpp21.AuthorizationStatusAccepted}
	switch r := req.(type) {
	case *ocpp21.BootNotificationRequest:
		return &ocpp21.BootNotificationResponse{Status: ocpp21.RegistrationStatusAccepted, CurrentTime: lenient.At(time.Now()), Interval: 300}
	case *ocpp21.HeartbeatRequest:
		return &ocpp21.HeartbeatResponse{CurrentTime: lenient.At(time.Now())}
	case *ocpp21.AuthorizeRequest:
		return &ocpp21.AuthorizeResponse{IDTokenInfo: accepted}
	case *ocpp21.TransactionEventRequest:
		if r.IDToken != nil {
			return &ocpp21.TransactionEventResponse{IDTokenInfo: &accepted}
		}
	case *ocpp21.SignCertificateRequest:
		return &ocpp21.SignCertificateResponse{Status: ocpp21.GenericStatusAccepted}
	case *ocpp21.OpenPeriodicEventStreamRequest:
		return &ocpp21.OpenPeriodicEventStreamResponse{Status: ocpp21.GenericStatusAccepted}
	}
	return req.NewResponse()
}

// ask sends a CALL and returns the answer, which must be as the schema wants it.
func ask[R ocpp21.Response](w *world, req ocpp21.Request) R {
	w.t.Helper()
	resp, ok := req.NewResponse().(R)
	if !ok {
		w.t.Fatalf("%s is answered by %T", req.Action(), req.NewResponse())
	}
	f := w.call(req.Action(), string(req.AppendJSON(nil)))
	if f.Type != ocppj.CallResult {
		w.t.Fatalf("%s was answered with %s: %s", req.Action(), f.Code, f.Description)
	}
	if err := w.valid(req.Action(), f.Payload, true); err != nil {
		w.t.Errorf("%s was answered with %s: %v", req.Action(), f.Payload, err)
	}
	if _, err := resp.Decode(f.Payload); err != nil {
		w.t.Error(err)
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
func of[R ocpp21.Request](w *world) []R {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []R
	for _, s := range w.said {
		if r, ok := s.(R); ok {
			all = append(all, r)
		}
	}
	return all
}

// forget begins a new list of what was said.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = nil
}

// events lists the transaction events as people write them down:
// Started/Authorized/Charging.
func (w *world) events() []string {
	var all []string
	for _, e := range of[*ocpp21.TransactionEventRequest](w) {
		text := string(e.EventType) + "/" + string(e.TriggerReason)
		if e.TransactionInfo.ChargingState != "" {
			text += "/" + string(e.TransactionInfo.ChargingState)
		}
		if e.TransactionInfo.StoppedReason != "" {
			text += "/" + string(e.TransactionInfo.StoppedReason)
		}
		all = append(all, text)
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

func (w *world) plug(evse int) {
	w.t.Helper()
	w.must(w.st.Plug(w.t.Context(), evse, car.Car{}))
}

func (w *world) unplug(evse int) {
	w.t.Helper()
	w.must(w.st.Unplug(w.t.Context(), evse))
}

func (w *world) tap(evse int, token string) {
	w.t.Helper()
	w.must(w.st.Tap(w.t.Context(), evse, token))
}

// charge begins a session and returns the transaction's id.
func (w *world) charge(evse int, token string) string {
	w.t.Helper()
	w.plug(evse)
	w.tap(evse, token)
	id := w.view().Connectors[evse-1].Transaction
	if id == "" {
		w.t.Fatalf("nothing runs at EVSE %d after %s", evse, token)
	}
	return id
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}
