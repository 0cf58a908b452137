package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/edge/internal/config"
	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/self"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Every alarm that the gateway raises is explained to whoever looks after it.
func TestAlarmsAreExplained(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := bytes.Cut(readme, []byte("\n| alarm |"))
	table, _, _ = bytes.Cut(table, []byte("\n\n"))
	raised := regexp.MustCompile(`(?:Alarm: *|raise\(|\balarm[A-Z]\w* *= *|return )"([a-z]+_[a-z_]+)"`)
	words := map[string]bool{}
	err = fs.WalkDir(os.DirFS("internal"), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(filepath.Join("internal", path))
		if err != nil || !bytes.Contains(source, []byte("larm")) {
			return err
		}
		for _, m := range raised.FindAllSubmatch(source, -1) {
			words[string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(words) < 9 {
		t.Errorf("found the alarms %v only: has the way to raise one changed?", words)
	}
	for w := range words {
		if !bytes.Contains(table, []byte("\n| `"+w+"` |")) {
			t.Errorf("README.md does not explain the alarm %s", w)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+_[a-z_]+)` \\|").FindAllSubmatch(table, -1) {
		if !words[string(m[1])] {
			t.Errorf("README.md explains the alarm %s, which nothing raises", m[1])
		}
	}
}

// The clock of a box that has none begins when its program was built.
func TestBuildTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2027-03-01T12:00:00+01:00": time.Date(2027, 3, 1, 11, 0, 0, 0, time.UTC),
		"":                          oldest,
		"yesterday":                 oldest,
		"1980-01-01T00:00:00Z":      oldest,
	} {
		if got := buildTime(text); !got.Equal(want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("bad.yaml", "gateway: GW\nfoo: 1\nmqtt: {url: \"mqtt://h:1\", password: x}\n")
	write("other.yaml", "gateway: gw-2\ndata_dir: data\nmqtt: {url: \"mqtt://h:1\", password: x}\n")
	if err := os.Mkdir("data", 0o750); err != nil {
		t.Fatal(err)
	}
	write("data/gateway", "gw-1\n")
	tests := []struct {
		args []string
		in   string
		code int
		out  string // part of what is printed
		err  string // part of what is complained
	}{
		{args: nil, code: 2, err: "chargeyard-edge run"},
		{args: []string{"help"}, out: "chargeyard-edge run"},
		{args: []string{"fly"}, code: 2, err: `unknown command "fly"`},
		{args: []string{"run", "now"}, code: 2, err: `got "now"`},
		{args: []string{"run", "--speed", "9"}, code: 2, err: "-speed"},
		{args: []string{"version"}, out: "chargeyard-edge unknown go1"},
		{args: []string{"run"}, code: 1, err: "chargeyard-edge init"},
		{args: []string{"check", "--config", "nowhere.yaml"}, code: 1, err: "chargeyard-edge init --config nowhere.yaml"},
		{args: []string{"check", "--config", "bad.yaml"}, code: 1, err: "bad.yaml: line 1: gateway: expected"},
		{args: []string{"check", "--config", "bad.yaml"}, code: 1, err: "bad.yaml: line 2: foo: unknown key"},
		{args: []string{"run", "--config", "bad.yaml"}, code: 1, err: "has 2 faults"},
		{args: []string{"check", "--config", "other.yaml"}, code: 1, err: `belongs to "gw-1"`},
		{args: []string{"run", "--config", "other.yaml"}, code: 1, err: `belongs to "gw-1"`},
		{args: []string{"init", "--config", "new.yaml", "--gateway", "gw-5"}, out: "chargeyard-cloud gateway add gw-5"},
		{args: []string{"init", "--config", "new.yaml"}, code: 1, err: "is there already"},
		{args: []string{"check", "--config", "new.yaml"}, out: "no faults"},
		{args: []string{"hash"}, in: "secret\n", out: "$argon2id$"},
		{args: []string{"hash"}, in: "", code: 1, err: "expected a password"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var out, problems bytes.Buffer
			code := command(tt.args, strings.NewReader(tt.in), &out, &problems)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(problems.String(), tt.err) {
				t.Errorf("code %d, want %d\n%s%s", code, tt.code, &out, &problems)
			}
		})
	}
	if info, err := os.Stat("new.yaml"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the configuration can be read by others: %v %v", info, err)
	}
}

func TestHashCommandIsUnderstood(t *testing.T) {
	var out bytes.Buffer
	if err := hashCommand(strings.NewReader("secret"), &out); err != nil {
		t.Fatal(err)
	}
	if _, err := credential.ParseHash(strings.TrimSpace(out.String())); err != nil {
		t.Error(err)
	}
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// A whole gateway without a manager: a station boots, health is fine, the end is
// quick and leaves nothing behind; the data directory is then this gateway's.
func TestRun(t *testing.T) {
	stations, page := freePort(t), freePort(t)
	dir := t.TempDir()
	cfg, err := config.Parse(fmt.Appendf(nil, "gateway: gw-1\ndata_dir: %s\nmqtt: {url: \"mqtt://127.0.0.1:1\", password: x}\n"+
		"ocpp: {listen: \"127.0.0.1:%d\", unknown_stations: accept}\nconsole: {listen: \"127.0.0.1:%d\"}\n", filepath.Join(dir, "data"), stations, page), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start finds what the first one left
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
		waitHealthy(t, fmt.Sprintf("http://127.0.0.1:%d/healthz", page))
		ws, _, err := (&websocket.Dialer{Subprotocols: []string{"ocpp1.6"}}).Dial(fmt.Sprintf("ws://127.0.0.1:%d/ocpp/CP-1", stations), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`[2,"1","BootNotification",{"chargePointVendor":"A","chargePointModel":"B"}]`)); err != nil {
			t.Fatal(err)
		}
		if _, answer, err := ws.ReadMessage(); err != nil || !strings.Contains(string(answer), "Accepted") {
			t.Fatalf("answered %s, %v", answer, err)
		}
		start := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > stopWithin {
			t.Errorf("the end took %v", took)
		}
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("the station was told %v", err)
		}
		if err := ws.Close(); err != nil {
			t.Log(err)
		}
	}
	cfg.Gateway = "gw-2"
	if err := run(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "gw-1") {
		t.Errorf("another gateway's data: %v", err)
	}
}

func waitHealthy(t *testing.T, url string) {
	t.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	late := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if response, err := client.Get(url); err == nil {
			_, readErr := io.Copy(io.Discard, response.Body)
			if closeErr := response.Body.Close(); readErr == nil && closeErr == nil && response.StatusCode == 200 {
				return
			}
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the gateway does not get well")
		}
	}
}

// A restart is agreed to before it happens.
func TestSelf(t *testing.T) {
	yes := make(chan struct{})
	s, err := self.New(self.Config{Clock: still{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	depot, err := site.New(site.Config{Self: s}, memory{}, still{}, away{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Bind(depot.Station(""), func() { close(yes) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- depot.Run(ctx) }()
	states := make(chan event.CommandState, 4)
	s.Execute(site.Order{Command: event.Command{Type: event.CommandScan}}, func(o site.Outcome) { states <- o.State })
	if got := <-states; got != event.StateUnsupported {
		t.Errorf("scan is %s", got)
	}
	s.Execute(site.Order{Command: event.Command{Type: event.CommandRestart}}, func(o site.Outcome) { states <- o.State })
	if a, b := <-states, <-states; a != event.StateDelivered || b != event.StateAccepted {
		t.Errorf("restart is %s, %s", a, b)
	}
	<-yes
	s.Look(site.Order{Command: event.Command{Type: event.CommandRestart}}, func(o site.Outcome) { states <- o.State })
	if got := <-states; got != event.StateSucceeded {
		t.Errorf("after a restart it is %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type memory struct{}

func (memory) Commit(context.Context, site.Change) error     { return nil }
func (memory) AddSamples(context.Context, event.Draft) error { return nil }

type still struct{}

func (still) Stamp() site.Stamp        { return site.Stamp{Time: time.Now(), Clock: event.ClockSynced} }
func (still) Judge() (time.Time, bool) { return time.Now(), true }

type away struct{}

func (away) AskToken(context.Context, event.Address, event.Token) (site.TokenInfo, error) {
	return site.TokenInfo{}, site.ErrManagerAway
}

func (away) Ask(context.Context, event.Address, site.Question) (json.RawMessage, error) {
	return nil, site.ErrManagerAway
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := socket.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("NOTIFY_SOCKET", path)
	if err := notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := socket.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if err := notify("READY=1"); err == nil {
		t.Error("a socket that is not there took it")
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify("READY=1"); err != nil {
		t.Error(err)
	}
}

// A secret never appears in the log.
func TestNoSecretInLog(t *testing.T) {
	var log bytes.Buffer
	cfg, err := config.Parse([]byte("gateway: gw-1\ndata_dir: "+t.TempDir()+"\nmqtt: {url: \"mqtt://127.0.0.1:1\", password: hush-hush}\nocpp: {listen: \"127.0.0.1:0\"}\nconsole: {listen: \"\"}\nlog: {level: debug, format: json}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := run(ctx, cfg, newLogger(cfg.Log, &log)); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "hush-hush") {
		t.Error("the password is in the log")
	}
	if !strings.HasPrefix(log.String(), "{") {
		t.Errorf("no JSON: %s", log.String())
	}
}
