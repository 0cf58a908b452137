package console_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/edge/internal/console"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newConsole(t *testing.T, cfg console.Config, s console.Sources) *console.Console {
	t.Helper()
	if s.Stations == nil {
		s.Stations = func() []site.StationInfo { return nil }
	}
	c, err := console.New(cfg, s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, c *console.Console, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	var wrong error
	c := newConsole(t, console.Config{Gateway: "gw-1", Version: "v1"}, console.Sources{
		Checks: []console.Check{{Name: "storage", Fine: func() error { return wrong }}},
		Facts:  []console.Fact{{Name: "manager", Value: func() string { return "out of reach" }}},
	})
	if code, body := get(t, c, "/healthz"); code != 200 || !strings.Contains(body, `"status":"ok"`) || !strings.Contains(body, "out of reach") {
		t.Errorf("got %d %s", code, body)
	}
	wrong = errors.New("the disk is full")
	if code, body := get(t, c, "/healthz"); code != 503 || !strings.Contains(body, `"storage":"the disk is full"`) {
		t.Errorf("got %d %s", code, body)
	}
}

func TestPage(t *testing.T) {
	watts, wh := 11040.0, int64(5300)
	c := newConsole(t, console.Config{Gateway: "gw-1"}, console.Sources{
		Stations: func() []site.StationInfo {
			return []site.StationInfo{
				{ID: "CP-2"},
				{ID: "<script>", Connected: true, Protocol: "ocpp1.6", Remote: "10.0.0.5:1", Security: 2, Registration: "pending", Heard: time.Date(2026, 11, 22, 6, 1, 2, 0, time.UTC),
					Boot:       site.BootReport{Vendor: "A&B", Model: "Wall"},
					Connectors: []site.LiveConnector{{EVSE: 2, Connector: 1, Status: "available"}, {EVSE: 1, Connector: 1, Status: "charging", PowerW: &watts, EnergyWh: &wh}}},
			}
		},
		Turned: func() []console.Turned {
			return []console.Turned{{At: time.Date(2026, 11, 22, 6, 2, 3, 0, time.UTC), Name: "<b>", Remote: "10.0.0.6:1", Reason: "unknown station"}}
		},
	})
	code, body := get(t, c, "/")
	for _, want := range []string{"ocpp1.6 from 10.0.0.5:1, security profile 2 <span class=bad>pending", "2026-11-22 06:02:03<td>&lt;b&gt;<td>10.0.0.6:1<td>unknown station", "&lt;script&gt;", "A&amp;B Wall", "1.1 charging, 11.0 kW, 5.30 kWh<br>2.1 available", "2026-11-22 06:01:02", "away"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if code != 200 || strings.Contains(body, "<script>") {
		t.Errorf("got %d %s", code, body)
	}
	if code, _ := get(t, c, "/elsewhere"); code != 404 {
		t.Errorf("got %d for a page that is none", code)
	}
}

func TestMetrics(t *testing.T) {
	c := newConsole(t, console.Config{}, console.Sources{Collectors: collectors()})
	_, body := get(t, c, "/metrics")
	for _, want := range []string{`chargeyard_edge_backlog{lane="events"} 7`, "chargeyard_edge_things_total 3", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(body, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}

func TestRun(t *testing.T) {
	c := newConsole(t, console.Config{Listen: "127.0.0.1:0"}, console.Sources{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A console that gets no address stops nobody: it says so once and ends with ctx.
func TestRunWithoutAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, listen := range []string{taken.Addr().String(), "256.0.0.1:0"} {
		alarms := make(chan event.GatewayAlarm, 10)
		c := newConsole(t, console.Config{Listen: listen}, console.Sources{
			Alarm: func(_ context.Context, a event.GatewayAlarm) { alarms <- a },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		select {
		case a := <-alarms:
			if a.Alarm != "console_down" || a.Cleared {
				t.Errorf("%s: alarm %+v", listen, a)
			}
		case err := <-done:
			t.Fatalf("%s: ended with %v", listen, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: ended with %v", listen, err)
		}
	}
}

// It serves as soon as the address is free.
func TestRunOnceAddressIsFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	alarms := make(chan event.GatewayAlarm, 10)
	c := newConsole(t, console.Config{Listen: taken.Addr().String(), Retry: time.Millisecond}, console.Sources{
		Alarm: func(_ context.Context, a event.GatewayAlarm) { alarms <- a },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	if a := <-alarms; a.Cleared {
		t.Errorf("first alarm %+v", a)
	}
	if err := taken.Close(); err != nil {
		t.Error(err)
	}
	if a := <-alarms; !a.Cleared {
		t.Errorf("second alarm %+v", a)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
