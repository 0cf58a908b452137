package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/config"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/google/uuid"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ears hear from the log where the manager listens.
type ears struct {
	mu        sync.Mutex
	addresses map[string]chan string
	text      bytes.Buffer
}

func (e *ears) Enabled(context.Context, slog.Level) bool { return true }
func (e *ears) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e *ears) WithGroup(string) slog.Handler            { return e }

func (e *ears) Handle(_ context.Context, r slog.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintf(&e.text, "%s %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&e.text, " %s=%v", a.Key, a.Value)
		if ch := e.addresses[r.Message]; ch != nil && a.Key == "address" {
			ch <- a.Value.String()
		}
		return true
	})
	e.text.WriteByte('\n')
	return nil
}

func (e *ears) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

// running is a manager that serves.
type running struct {
	t      *testing.T
	conf   config.Config
	http   string
	broker string
	token  string
	ears   *ears
	cancel context.CancelFunc
	ended  chan error
}

const adminToken = "cy_the-admin-of-this-test"

// begin starts a manager on the data in dir.
func begin(t *testing.T, dir string) *running {
	t.Helper()
	conf, err := config.Parse("", []byte(`{http: {listen: "127.0.0.1:0", public_url: "https://manager.example"}, broker: {embedded: {listen: "127.0.0.1:0"}}}`), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	conf.DataDir = dir
	r := &running{t: t, conf: conf, token: adminToken, ended: make(chan error, 1), ears: &ears{addresses: map[string]chan string{
		"http listens": make(chan string, 1), "broker listens": make(chan string, 1),
	}}}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.ended <- serve(ctx, conf, adminToken, slog.New(r.ears)) }()
	for message, to := range map[string]*string{"http listens": &r.http, "broker listens": &r.broker} {
		select {
		case *to = <-r.ears.addresses[message]:
		case err := <-r.ended:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatal("the manager does not listen")
		}
	}
	t.Cleanup(r.stop)
	return r
}

// stop ends the manager; it may be called more than once.
func (r *running) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("serve: %v", err)
		}
	case <-time.After(2 * patience):
		r.t.Fatal("the manager does not stop")
	}
}

// ask makes a request and reads the answer.
func (r *running) ask(method, path, body string, header ...string) (int, []byte) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.http+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, got
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func read[T any](r *running, path string) T {
	r.t.Helper()
	var v T
	status, body := r.ask("GET", "/api/v1"+path, "")
	if err := json.Unmarshal(body, &v); err != nil || status != http.StatusOK {
		r.t.Fatalf("GET %s: %d, %v: %s", path, status, err, body)
	}
	return v
}

// add makes a gateway known as the command line does, beside the running
// manager.
func (r *running) add(id string) string {
	r.t.Helper()
	var out bytes.Buffer
	c := gatewayAddCommand{Name: id, Format: "plain"}
	r.t.Setenv("CHARGEYARD_DATA_DIR", r.conf.DataDir)
	if err := c.Run(&surroundings{ctx: r.t.Context(), stdout: &out}); err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

type listOf[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// TestManager follows one day of a gateway through everything that serve wires.
func TestManager(t *testing.T) {
	r := begin(t, t.TempDir())
	for _, path := range []string{"/healthz", "/readyz", "/", "/page.js", "/views.js", "/style.css", "/icon.svg", "/metrics", "/api/v1/openapi.json"} {
		if status, body := r.ask("GET", path, ""); status != http.StatusOK || len(body) == 0 {
			t.Errorf("GET %s: %d", path, status)
		}
	}
	if b := newBox("gw-1"); b.connect(r.broker, "guess") == nil {
		t.Error("an unknown gateway is let in")
	}
	if g := read[fleet.Gateway](r, "/gateways/gw-1"); g.Connectivity.Value != fleet.Knocking {
		t.Errorf("unknown gateway: %+v, want it knocking", g.Connectivity)
	}
	password := r.add("gw-1")
	b := plug(t, r.broker, "gw-1", password)
	if g := read[fleet.Gateway](r, "/gateways/gw-1"); g.Connectivity.Value != fleet.Online || g.Version != "1.2.3" {
		t.Errorf("gateway: %+v", g)
	}

	stream := r.listen("")
	session := event.SessionID(uuid.NewString())
	b.report(t, append(arrive("CP 1/a", 2),
		event.Draft{Address: at("CP 1/a", 1), Data: &event.SessionStarted{
			Session: session, Transaction: "7", Protocol: "ocpp1.6", Token: &event.Token{Type: "rfid", Value: "04AB"}, MeterWh: wh(1000),
		}},
	)...)
	stations := read[listOf[fleet.Station]](r, "/stations").Items
	if len(stations) != 1 || stations[0].Identity != "CP 1/a" || len(stations[0].EVSEs) != 2 {
		t.Fatalf("stations: %+v", stations)
	}
	sessions := read[listOf[fleet.Session]](r, "/sessions?status=active").Items
	if len(sessions) != 1 || sessions[0].ID != session || sessions[0].Station != stations[0].ID {
		t.Fatalf("sessions: %+v", sessions)
	}
	for range 6 {
		if m := stream.next(t); m.kind != "event" || m.id == "" {
			t.Fatalf("stream: %+v", m)
		}
	}

	t.Run("command", func(t *testing.T) {
		status, body := r.ask("POST", "/api/v1/commands", `{"type":"unlock","station":"CP 1/a","evse":1}`, "Idempotency-Key", "k")
		var c fleet.Command
		if err := json.Unmarshal(body, &c); err != nil || status != http.StatusAccepted {
			t.Fatalf("POST: %d, %v: %s", status, err, body)
		}
		o := get(t, b.orders, "command")
		if o.ID != c.ID || o.Type != event.CommandUnlock || o.Station != "CP 1/a" || o.EVSE != 1 || o.IssuedBy != "admin" {
			t.Errorf("order %+v", o)
		}
		b.report(t, event.Draft{Address: at("CP 1/a", 1), Data: &event.CommandUpdated{Command: c.ID, State: event.StateSucceeded, Reason: "the plug is free"}})
		got := read[fleet.Command](r, "/commands/"+string(c.ID))
		var states []event.CommandState
		for _, s := range got.Steps {
			states = append(states, s.State)
		}
		if got.Status != event.StateSucceeded || !slices.Equal(states, []event.CommandState{"queued", "sent", "succeeded"}) {
			t.Errorf("command %+v, states %v", got, states)
		}
		again, body := r.ask("POST", "/api/v1/commands", `{"type":"unlock","station":"CP 1/a","evse":1}`, "Idempotency-Key", "k")
		var second fleet.Command
		if err := json.Unmarshal(body, &second); err != nil || again != http.StatusAccepted || second.ID != c.ID {
			t.Errorf("again: %d, %v: %s", again, err, body)
		}
	})
	t.Run("token", func(t *testing.T) {
		for len(b.sections) > 0 {
			<-b.sections
		}
		if status, body := r.ask("PUT", "/api/v1/tokens/04AB", `{"status":"accepted","label":"Ada"}`); status != http.StatusOK {
			t.Fatalf("PUT: %d: %s", status, body)
		}
		if err := b.send(wire.KindAsk, "", wire.Ask{ID: "q", Question: "token", WaitMS: 3000, Token: &event.Token{Type: "rfid", Value: "04ab"}}, false); err != nil {
			t.Fatal(err)
		}
		if a := get(t, b.answers, "answer"); a.ID != "q" || a.Token == nil || a.Token.Status != "accepted" {
			t.Errorf("answer %+v", a)
		}
		s := get(t, b.sections, "section")
		if s.Section != wire.TokenSection("04AB") || !strings.Contains(string(s.Content), "04AB") {
			t.Errorf("section %s: %s", s.Section, s.Content)
		}
	})
	t.Run("recording", func(t *testing.T) {
		status, body := r.ask("POST", "/api/v1/commands", `{"type":"record","params":{"station":"CP 1/a"}}`)
		if status != http.StatusAccepted {
			t.Fatalf("POST: %d: %s", status, body)
		}
		o := get(t, b.orders, "command")
		var p event.RecordParams
		if err := json.Unmarshal(o.Params, &p); err != nil || p.Station != "CP 1/a" || !strings.HasPrefix(p.URL, "https://manager.example/files/") {
			t.Fatalf("order %+v, %v: %s", o, err, o.Params)
		}
		const frames = `{"time":"2026-11-22T06:00:00Z","direction":"in","frame":[2,"1","Heartbeat",{}]}`
		path := strings.TrimPrefix(p.URL, "https://manager.example")
		if status, body := r.ask("PUT", path, frames); status != http.StatusCreated {
			t.Fatalf("PUT: %d: %s", status, body)
		}
		list := read[listOf[fleet.File]](r, "/recordings?station="+url.QueryEscape("CP 1/a")).Items
		if len(list) != 1 || list[0].State != fleet.FileComplete {
			t.Fatalf("recordings %+v", list)
		}
		if _, body := r.ask("GET", "/api/v1/recordings/"+list[0].ID+"/content", ""); string(body) != frames {
			t.Errorf("content %q", body)
		}
	})
	t.Run("admission", func(t *testing.T) {
		for len(b.sections) > 0 {
			<-b.sections
		}
		b.report(t, event.Draft{Address: event.Address{Station: "X"}, Data: &event.StationSecurity{Event: fleet.UnknownStation}})
		if got := read[listOf[fleet.PendingStation]](r, "/pending-stations").Items; len(got) != 1 || got[0].Identity != "X" {
			t.Fatalf("pending %+v", got)
		}
		if status, body := r.ask("POST", "/api/v1/admissions", `{"gateway":"gw-1","identity":"X","security_profile":1}`); status != http.StatusOK {
			t.Fatalf("POST: %d: %s", status, body)
		}
		s := get(t, b.sections, "section")
		var content wire.Stations
		if err := json.Unmarshal(s.Content, &content); err != nil || s.Section != wire.SectionStations || len(content.Stations) != 1 ||
			content.Stations[0].Identity != "X" || content.Stations[0].Profile != 1 || content.Stations[0].PasswordHash == "" {
			t.Errorf("section %s: %s, %v", s.Section, s.Content, err)
		}
	})
	t.Run("question", func(t *testing.T) {
		if err := b.send(wire.KindAsk, "", wire.Ask{ID: "v", Question: "vat_number", WaitMS: 3000, Payload: json.RawMessage(`{}`)}, false); err != nil {
			t.Fatal(err)
		}
		if a := get(t, b.answers, "answer"); a.ID != "v" || a.Error != "unsupported" {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("live", func(t *testing.T) {
		watts := 11000.0
		err := b.send(wire.KindLive, "", wire.Live{Time: time.Now(), Connectors: []wire.LiveConnector{{Station: "CP 1/a", EVSE: 1, Connector: 1, Status: event.StatusCharging, PowerW: &watts}}}, false)
		if err != nil {
			t.Fatal(err)
		}
		for {
			m := stream.next(t)
			if m.kind == "live" {
				if m.id != "" || !strings.Contains(m.data, "11000") || !strings.Contains(m.data, `"gateway":"gw-1"`) {
					t.Errorf("live: %+v", m)
				}
				break
			}
		}
	})
	t.Run("restart", func(t *testing.T) {
		stream.close()
		b.client.Disconnect(50)
		r.stop()
		if strings.Contains(r.ears.heard(), adminToken) || strings.Contains(r.ears.heard(), password) {
			t.Error("the log holds a secret")
		}
		r = begin(t, r.conf.DataDir)
		if g := read[fleet.Gateway](r, "/gateways/gw-1"); g.Connectivity.Value != fleet.Offline {
			t.Errorf("after a restart: %+v, want it offline until it comes", g.Connectivity)
		}
		if err := b.connect(r.broker, password); err != nil {
			t.Fatal(err)
		}
		if w := b.hello(t); uint64(w.Positions[event.LaneEvents][b.stream]) != b.next-1 || w.Transactions["CP 1/a"] != 7 {
			t.Errorf("welcome %+v, want position %d", w, b.next-1)
		}
		b.client.Disconnect(50)
	})
}

// message is one server-sent event.
type message struct{ id, kind, data string }

// listener reads a stream.
type listener struct {
	body     io.Closer
	messages chan message
}

func (r *running) listen(last string) *listener {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", "http://"+r.http+"/api/v1/stream", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	answer, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		r.t.Fatalf("stream: %s", answer.Status)
	}
	l := &listener{body: answer.Body, messages: make(chan message, 100)}
	go func() {
		defer close(l.messages)
		var m message
		for s := bufio.NewScanner(answer.Body); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), ": ")
			switch key {
			case "id":
				m.id = value
			case "event":
				m.kind = value
			case "data":
				m.data = value
			case "":
				if m.kind != "" {
					l.messages <- m
				}
				m = message{}
			}
		}
	}()
	r.t.Cleanup(l.close)
	return l
}

func (l *listener) next(t *testing.T) message {
	t.Helper()
	select {
	case m, ok := <-l.messages:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return m
	case <-time.After(patience):
		t.Fatal("nothing on the stream")
		panic("unreachable")
	}
}

func (l *listener) close() {
	l.body.Close() //nolint:errcheck // it ends the reading
	for range l.messages {
	}
}

// TestRestore: after a restore the gateway learns what its manager has
// forgotten.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	r := begin(t, dir)
	password := r.add("gw-1")
	b := plug(t, r.broker, "gw-1", password)
	b.report(t, arrive("CP1", 1)...)
	copied := b.next - 1
	run := func(c interface{ Run(*surroundings) error }) error {
		var out bytes.Buffer
		return c.Run(&surroundings{ctx: t.Context(), stdout: &out})
	}
	backup := filepath.Join(dir, "copy.db")
	if err := run(&backupCommand{Path: backup}); err != nil {
		t.Fatal(err)
	}
	b.report(t, event.Draft{Address: at("CP1", 1), Data: &event.StationStatus{Status: event.StatusCharging}})
	before := b.hello(t)
	if err := run(&restoreCommand{Path: backup}); err == nil || !strings.Contains(err.Error(), "stop the manager") {
		t.Errorf("restore under a running manager: %v", err)
	}
	if err := serve(t.Context(), r.conf, "", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two managers run on one folder")
	}
	b.client.Disconnect(50)
	r.stop()
	if err := run(&restoreCommand{Path: filepath.Join(dir, "manager.lock")}); err == nil {
		t.Error("restored from an empty file")
	}
	if err := run(&restoreCommand{Path: backup}); err != nil {
		t.Fatal(err)
	}
	if found, err := filepath.Glob(filepath.Join(dir, "cloud.db.*Z")); err != nil || len(found) == 0 {
		t.Errorf("what was there is gone: %v, %v", found, err)
	}
	r = begin(t, dir)
	if err := b.connect(r.broker, password); err != nil {
		t.Fatal(err)
	}
	defer b.client.Disconnect(50)
	after := b.hello(t)
	if got := uint64(after.Positions[event.LaneEvents][b.stream]); got != copied || after.Incarnation == before.Incarnation {
		t.Errorf("position %d, want %d; incarnation %s, before %s", got, copied, after.Incarnation, before.Incarnation)
	}
}

func TestTools(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CHARGEYARD_DATA_DIR", dir)
	run := func(c interface{ Run(*surroundings) error }, stdin string) (string, error) {
		var out bytes.Buffer
		err := c.Run(&surroundings{ctx: t.Context(), stdin: strings.NewReader(stdin), stdout: &out})
		return strings.TrimSpace(out.String()), err
	}
	mustRun := func(c interface{ Run(*surroundings) error }, stdin string) string {
		t.Helper()
		out, err := run(c, stdin)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := mustRun(&gatewayAddCommand{Name: "gw-1", Format: "plain"}, ""); len(out) < 40 || strings.ContainsAny(out, " \n") {
		t.Errorf("gateway add prints %q, want a password alone", out)
	}
	if out := mustRun(&gatewayAddCommand{Name: "gw-2", Format: "mosquitto", PasswordStdin: true, Location: "yard"}, "secret\n"); !strings.HasPrefix(out, "gw-2:$7$") {
		t.Errorf("gateway add --format mosquitto prints %q", out)
	}
	for _, name := range []string{"GW", "-gw", "inline", "", strings.Repeat("g", 41)} {
		if _, err := run(&gatewayAddCommand{Name: name, Format: "plain"}, ""); err == nil {
			t.Errorf("gateway add %q: no error", name)
		}
	}
	if out := mustRun(&gatewayListCommand{}, ""); !strings.Contains(out, "gw-1") || !strings.Contains(out, "yard") {
		t.Errorf("gateway list prints %q", out)
	}
	if out := mustRun(&tokenCreateCommand{Role: "viewer"}, ""); !strings.HasPrefix(out, "cy_") {
		t.Errorf("token create prints %q", out)
	}
	listed := mustRun(&tokenListCommand{}, "")
	if !strings.Contains(listed, "viewer") || strings.Contains(listed, "cy_") {
		t.Errorf("token list prints %q", listed)
	}
	id, _, _ := strings.Cut(strings.Split(listed, "\n")[1], " ")
	if out := mustRun(&tokenRevokeCommand{ID: id}, ""); !strings.Contains(out, id) {
		t.Errorf("token revoke prints %q", out)
	}
	if _, err := run(&tokenRevokeCommand{ID: id}, ""); err == nil || !strings.Contains(err.Error(), "token list") {
		t.Errorf("revoked twice: %v", err)
	}
	mustRun(&rebuildCommand{}, "")
	mustRun(&backupCommand{Path: filepath.Join(dir, "copy.db")}, "")
	if _, err := run(&backupCommand{Path: filepath.Join(dir, "copy.db")}, ""); err == nil {
		t.Error("backup over a file: no error")
	}
	if out := mustRun(&checkCommand{}, ""); !strings.Contains(out, "no fault") {
		t.Errorf("check prints %q", out)
	}
	if out := mustRun(versionCommand{}, ""); !strings.HasPrefix(out, "chargeyard-cloud ") {
		t.Errorf("version prints %q", out)
	}
}
