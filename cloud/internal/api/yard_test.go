package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/api"
	"github.com/chargeyard/chargeyard/cloud/internal/commander"
	"github.com/chargeyard/chargeyard/cloud/internal/files"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/cloud/internal/sqlite"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// yard is an API on a database with two gateways: gw-1 at location north, gw-2
// at south.
type yard struct {
	t     *testing.T
	url   string
	store *sqlite.Store
	hub   *api.Hub
	next  map[event.GatewayID]uint64
	deaf  atomic.Bool  // the bus is away
	ahead atomic.Int64 // nanoseconds that the API's clock is ahead
}

func (y *yard) now() time.Time { return time.Now().Add(time.Duration(y.ahead.Load())) }

// The tokens of the yard, by who uses them.
const (
	admin       = "cy_admin"
	operator    = "cy_operator"
	viewer      = "cy_viewer"
	northAdmin  = "cy_north" // narrowed to one location
	northViewer = "cy_north_viewer"
	stranger    = "cy_stranger"
)

func open(t *testing.T) *yard {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cloud.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	y := &yard{t: t, store: store, next: map[event.GatewayID]uint64{}}
	y.hub = api.NewHub(y, log, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- y.hub.Run(ctx) }()
	mux := http.NewServeMux()
	server := httptest.NewServer(api.Problems(mux, log))
	y.url = server.URL
	desk := files.New(files.Config{Dir: t.TempDir(), PublicURL: y.url, Limit: 1 << 20, Total: 1 << 30, Keep: time.Hour}, store, log, time.Now)
	desk.Register(mux)
	api.New(mux, store, commander.New(store, y, y, log, time.Now), y, y.hub, desk, log, y.now)
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for secret, a := range map[string]fleet.Access{
		admin:       {ID: "a", Name: "Ada", Role: fleet.RoleAdmin, Tenant: fleet.DefaultTenant},
		operator:    {ID: "o", Name: "Otto", Role: fleet.RoleOperator, Tenant: fleet.DefaultTenant},
		viewer:      {ID: "v", Name: "Vera", Role: fleet.RoleViewer, Tenant: fleet.DefaultTenant},
		northAdmin:  {ID: "n", Name: "Nora", Role: fleet.RoleAdmin, Tenant: fleet.DefaultTenant, Location: "north"},
		northViewer: {ID: "w", Name: "Wim", Role: fleet.RoleViewer, Tenant: fleet.DefaultTenant, Location: "north"},
		stranger:    {ID: "s", Name: "Sam", Role: fleet.RoleAdmin, Tenant: "elsewhere"},
	} {
		y.must(store.AddAccess(t.Context(), a, api.HashToken(secret)))
	}
	for _, l := range []string{"north", "south"} {
		y.must(store.PutLocation(t.Context(), fleet.Location{ID: l, Tenant: fleet.DefaultTenant, Name: "The " + l}))
	}
	for id, l := range map[event.GatewayID]string{"gw-1": "north", "gw-2": "south"} {
		y.must(store.AddGateway(t.Context(), fleet.Gateway{ID: id, Tenant: fleet.DefaultTenant, Location: l}, "hash"))
		_, err := store.Hello(t.Context(), id, fleet.HelloFacts{Version: "1", Boot: "b", Connection: "c", Clock: event.ClockSynced, At: time.Now()})
		y.must(err)
	}
	if _, err := store.Hello(t.Context(), "gw-9", fleet.HelloFacts{At: time.Now()}); err == nil {
		t.Fatal("an unknown gateway is welcome")
	}
	return y
}

func (y *yard) must(err error) {
	y.t.Helper()
	if err != nil {
		y.t.Fatal(err)
	}
}

// Owned implements commander.Directory and api.Owners.
func (y *yard) Owned(ctx context.Context, id event.GatewayID) (fleet.Gateway, error) {
	g, err := y.store.Gateway(ctx, fleet.Scope{Tenant: fleet.DefaultTenant}, id)
	if err == nil && g.Connectivity.Value == fleet.Knocking {
		err = fleet.ErrNotFound
	}
	return g, err
}

// All implements commander.Directory.
func (y *yard) All(context.Context) ([]event.GatewayID, error) { return nil, nil }

// Publish implements commander.Bus.
func (y *yard) Publish(string, []byte, byte, bool) error { return nil }

// Ready implements api.Bus.
func (y *yard) Ready() error {
	if y.deaf.Load() {
		return errors.New("away")
	}
	return nil
}

// happen commits events of a gateway and tells the hub.
func (y *yard) happen(g event.GatewayID, lane event.Lane, drafts ...event.Draft) {
	y.t.Helper()
	stream := map[event.GatewayID]string{"gw-1": "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f51", "gw-2": "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f52"}[g]
	key := g
	if lane == event.LaneSamples {
		stream, key = strings.Replace(stream, "0197", "0198", 1), g+"samples"
	}
	b := wire.NewBatcher(stream)
	for i := range drafts {
		d := &drafts[i]
		if d.Time.IsZero() {
			d.Time = time.Now()
		}
		d.Recorded, d.Boot, d.Clock = time.Now(), "b", event.ClockSynced
		tail, err := event.AppendTail(nil, g, d)
		y.must(err)
		y.next[key]++
		b.Add(y.next[key], tail)
	}
	events, err := wire.ParseBatch(b.Batch().JSON)
	y.must(err)
	applied, err := y.store.Apply(y.t.Context(), fleet.Batch{Gateway: g, Lane: lane, Stream: stream, Events: events})
	y.must(err)
	if len(applied.Entries) != len(drafts) {
		y.t.Fatalf("%d of %d events were taken", len(applied.Entries), len(drafts))
	}
	y.hub.Applied(applied)
}

const (
	northSession event.SessionID = "0197f3c2-0000-7000-8000-000000000001"
	southSession event.SessionID = "0197f3c2-0000-7000-8000-000000000002"
)

// day is what happened in the yard: at each gateway a station CP1 with one
// session and some samples, and at gw-1 a second station.
func (y *yard) day() {
	y.t.Helper()
	began := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	watts, register := 11000.0, int64(1234)
	for g, session := range map[event.GatewayID]event.SessionID{"gw-1": northSession, "gw-2": southSession} {
		station := event.Address{Station: "CP1"}
		plug := event.Address{Station: "CP1", EVSE: 1, Connector: 1}
		start, stop := int64(1000), int64(6000)
		energy := stop - start
		y.happen(g, event.LaneEvents,
			event.Draft{Data: &event.GatewayStarted{Version: "1", Boot: "b", OS: "linux", Arch: "arm64"}, Time: began.Add(-time.Minute)},
			event.Draft{Address: station, Time: began.Add(-50 * time.Second), Data: &event.StationConnected{Protocol: "ocpp1.6", Remote: "192.0.2.1:1"}},
			event.Draft{Address: station, Time: began.Add(-49 * time.Second), Data: &event.StationBooted{Protocol: "ocpp1.6", Vendor: "V", Model: "M"}},
			event.Draft{Address: plug, Time: began.Add(-48 * time.Second), Data: &event.StationStatus{Status: event.StatusAvailable}},
			event.Draft{Address: plug, Time: began.Add(-10 * time.Second), Data: &event.StationStatus{Status: event.StatusPreparing}},
			event.Draft{Address: plug, Time: began, Data: &event.SessionStarted{Session: session, Transaction: "1", Protocol: "ocpp1.6", Token: &event.Token{Type: "rfid", Value: "04AB"}, MeterWh: &start, Authorization: &event.Authorization{Decision: "accepted", By: "cloud"}}},
			event.Draft{Address: plug, Time: began.Add(time.Second), Data: &event.StationStatus{Status: event.StatusCharging}},
			event.Draft{Address: plug, Time: began.Add(30 * time.Minute), Data: &event.StationStatus{Status: event.StatusFinishing}},
			event.Draft{Address: plug, Time: began.Add(30 * time.Minute), Data: &event.SessionEnded{Session: session, Transaction: "1", Reason: "local", Started: &began, MeterStartWh: &start, MeterStopWh: &stop, EnergyWh: &energy, DurationS: 1800, Flags: []event.Flag{event.FlagClock}}},
		)
		y.happen(g, event.LaneSamples, event.Draft{Address: plug, Time: began.Add(time.Minute), Data: &event.SessionSampled{Session: session, Transaction: "1", Samples: []event.Sample{
			{Time: began.Add(10 * time.Second), PowerW: &watts, EnergyWh: &register}, {Time: began.Add(40 * time.Second), PowerW: &watts},
		}}})
	}
	y.happen("gw-1", event.LaneEvents,
		event.Draft{Address: event.Address{Station: "CP2"}, Data: &event.StationConnected{Protocol: "ocpp1.6"}},
		event.Draft{Address: event.Address{Station: "CP2", EVSE: 1, Connector: 1}, Data: &event.StationStatus{Status: event.StatusFaulted, ErrorCode: "ground", Info: "RCD"}},
		event.Draft{Data: &event.GatewayAlarm{Alarm: "disk_full", Severity: "warning", Text: "full"}},
	)
	y.must(y.store.DeadLetter(y.t.Context(), fleet.DeadLetter{Gateway: "gw-1", Topic: "cy/1/gw-1/up/events", Reason: "nonsense", Payload: []byte("x"), Received: time.Now()}))
}

// evening is what a station of another version and a stranger do at gw-1.
func (y *yard) evening() {
	y.t.Helper()
	cp3 := event.Address{Station: "CP3"}
	y.happen("gw-1", event.LaneEvents,
		event.Draft{Address: cp3, Data: &event.StationConnected{Protocol: "ocpp2.0.1"}},
		event.Draft{Address: cp3, Data: &event.StationBooted{Protocol: "ocpp2.0.1", Vendor: "V", Model: "W", Firmware: "2", Registration: "pending"}},
		event.Draft{Address: cp3, Data: &event.StationConfiguration{Report: 1, Part: 1, Complete: true, Variables: []event.Variable{
			{Component: "EVSE", Variable: "Power", EVSE: 1, Value: "0", Mutability: "read_only", DataType: "decimal", Unit: "W"},
			{Component: "OCPPCommCtrlr", Variable: "HeartbeatInterval", Value: "60", Mutability: "read_write", DataType: "integer", Values: []string{"60", "300"}},
		}}},
		event.Draft{Address: cp3, Data: &event.StationConfiguration{Variables: []event.Variable{{Component: fleet.ComponentDeviations, Variable: "bad_time", Value: "7", ReadOnly: true}}}},
		event.Draft{Address: cp3, Data: &event.StationSecurity{Event: "TamperDetectionActivated", Info: "lid"}},
		event.Draft{Address: event.Address{Station: "X1"}, Data: &event.StationSecurity{Event: fleet.UnknownStation, Info: "unknown station (from 192.0.2.9)"}},
	)
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask makes a request; headers come in pairs.
func (y *yard) ask(token, method, path, body string, headers ...string) answer {
	y.t.Helper()
	r, err := http.NewRequestWithContext(y.t.Context(), method, y.url+"/api/v1"+path, strings.NewReader(body))
	y.must(err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := browser.Do(r)
	y.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	y.must(err)
	return answer{res.StatusCode, res.Header, b}
}

var browser = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// read gets a path as token and reads the answer.
func read[T any](y *yard, token, path string) T {
	y.t.Helper()
	a := y.ask(token, "GET", path, "")
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil || a.status != http.StatusOK {
		y.t.Fatalf("GET %s: %d, %v: %s", path, a.status, err, a.body)
	}
	return v
}

// sse is one message of a stream.
type sse struct{ id, kind, data string }

type listening struct {
	body     io.Closer
	messages chan sse
}

// listen opens a stream; last is where to resume.
func (y *yard) listen(token, last string) *listening {
	y.t.Helper()
	r, err := http.NewRequestWithContext(y.t.Context(), "GET", y.url+"/api/v1/stream", nil)
	y.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	res, err := browser.Do(r)
	y.must(err)
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || kind != "text/event-stream" {
		y.t.Fatalf("stream: %s, %s", res.Status, kind)
	}
	l := &listening{body: res.Body, messages: make(chan sse, 1000)}
	go func() {
		defer close(l.messages)
		var m sse
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), ": ")
			switch key {
			case "id":
				m.id = value
			case "event":
				m.kind = value
			case "data":
				m.data = value
			case "":
				if m != (sse{}) {
					l.messages <- m
				}
				m = sse{}
			}
		}
	}()
	y.t.Cleanup(l.close)
	return l
}

func (l *listening) close() {
	l.body.Close() //nolint:errcheck // it ends the reading
	for range l.messages {
	}
}

func (l *listening) next(t *testing.T) sse {
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

// entry reads the next message as one of the log.
func (l *listening) entry(t *testing.T) fleet.Entry {
	t.Helper()
	m := l.next(t)
	var e fleet.Entry
	if err := json.Unmarshal([]byte(m.data), &e); err != nil || m.kind != "event" || !strings.HasSuffix(m.id, fmt.Sprint(".", e.Position)) {
		t.Fatalf("message %+v, %v; want an event", m, err)
	}
	return e
}
