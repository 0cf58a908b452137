package ocpp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// quirks returns how often a station departed from the protocol in a way.
func quirks(t *testing.T, y *ocpptest.Yard, station, kind string) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(y.Server.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for _, f := range families {
		if f.GetName() != "chargeyard_edge_quirks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["station"] == station && (kind == "" || labels["kind"] == kind) {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return int(n)
}

// Every bad input gets the right answer, a log line that names the station and a
// counter, and the connection stays.
func TestBadInput(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	tests := []struct {
		name   string
		frame  string
		kind   int
		answer string // prefix of the gateway's answer; empty: none
		quirk  string
	}{
		{name: "truncated", frame: `[2,"x1","Heartbeat",{`, answer: `["4","x1","FormationViolation"`, quirk: "frame_damaged"},
		{name: "truncated in the id", frame: `[2,"x1`, quirk: "frame_damaged"},
		{name: "nested too deep", frame: `[2,"x2","DataTransfer",` + deep + `]`, answer: `["4","x2","FormationViolation"`, quirk: "frame_damaged"},
		{name: "nested arrays", frame: strings.Repeat("[", 100000), quirk: "frame_damaged"},
		{name: "no JSON", frame: `hello`, quirk: "frame_damaged"},
		{name: "empty", frame: ``, quirk: "frame_damaged"},
		{name: "an object", frame: `{}`, quirk: "frame_damaged"},
		{name: "invalid UTF-8", frame: "[2,\"x3\",\"Authorize\",{\"idTag\":\"\xff\xfe\"}]", answer: `["4","x3","FormationViolation"`, quirk: "frame_damaged"},
		{name: "unknown action", frame: `[2,"x4","Fly",{}]`, answer: `["4","x4","NotImplemented"`, quirk: "action"},
		{name: "action of the server", frame: `[2,"x5","Reset",{"type":"Hard"}]`, answer: `["4","x5","NotSupported"`, quirk: "action"},
		{name: "payload that is no object", frame: `[2,"x6","Authorize",[1,2]]`, answer: `["4","x6","TypeConstraintViolation"`, quirk: "problem_type"},
		{name: "wrong type", frame: `[2,"x7","StatusNotification",{"connectorId":{},"errorCode":"NoError","status":"Available"}]`, answer: `["4","x7","TypeConstraintViolation"`, quirk: "problem_type"},
		{name: "required field missing", frame: `[2,"x8","Authorize",{}]`, answer: `["4","x8","OccurenceConstraintViolation"`, quirk: "problem_occurrence"},
		{name: "value not allowed", frame: `[2,"x9","StatusNotification",{"connectorId":-5,"errorCode":"NoError","status":"Available"}]`, answer: `["4","x9","PropertyConstraintViolation"`},
		{name: "number as text", frame: `[2,"x10","StatusNotification",{"connectorId":"1","errorCode":"NoError","status":"Available"}]`, answer: `["3","x10",{}]`, quirk: "number_as_text"},
		{name: "no payload", frame: `[2,"x11","Heartbeat"]`, answer: `["4","x11","ProtocolError"`, quirk: "frame_damaged"},
		{name: "null payload", frame: `[2,"x12","Heartbeat",null]`, answer: `["3","x12"`},
		{name: "binary frame", frame: `[2,"x13","Heartbeat",{}]`, kind: websocket.BinaryMessage, answer: `["3","x13"`, quirk: "frame_binary"},
		{name: "binary noise", frame: "\x00\x01\x02\xff", kind: websocket.BinaryMessage, quirk: "frame_damaged"},
		{name: "quirk 16 empty value", frame: `[2,"x14","StopTransaction",{"transactionId":,"meterStop":5,"timestamp":"2026-01-01T00:00:00Z"}]`, answer: `["3","x14",{}]`, quirk: "frame_repaired"},
		{name: "quirk 17 stray comma", frame: `[2,"x15","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[,{"value":"1"}]}]}]`, answer: `["3","x15",{}]`, quirk: "frame_repaired"},
		{name: "quirk 53 stop without anything", frame: `[2,"x16","StopTransaction",{}]`, answer: `["3","x16",{}]`, quirk: "stop_unusable"},
		{name: "quirk 53 stop cut off", frame: `[2,"x17","StopTransaction",{"transactionId":5,"mete`, answer: `["3","x17",{}]`, quirk: "stop_unusable"},
		{name: "quirk 53 stop in another encoding", frame: "[2,\"x18\",\"StopTransaction\",{\"transactionId\":5,\"meterStop\":7,\"timestamp\":\"2026-01-01T00:00:00Z\",\"idTag\":\"\xe4\"}]", answer: `["3","x18",{}]`, quirk: "frame_damaged"},
		{name: "answer to nobody", frame: `[3,"nobody",{}]`, quirk: "answer_unknown"},
		{name: "error to nobody", frame: `[4,"nobody","InternalError","",{}]`, quirk: "answer_unknown"},
		{name: "OCPP-J 1.6 §4.1.3 unknown type", frame: `[9,"x19",{}]`, quirk: "frame_type"},
		{name: "type of 2.1", frame: `[6,"x20","NotifyPeriodicEventStream",{}]`, quirk: "frame_type"},
		{name: "id that is a number", frame: `[2,21,"Heartbeat",{}]`, answer: `["3","21"`, quirk: "frame_repaired"},
		{name: "id too long", frame: `[2,"` + strings.Repeat("y", 300) + `","Heartbeat",{}]`, quirk: "frame_damaged"},
		{name: "a megabyte", frame: `[2,"x22","DataTransfer",{"vendorId":"v","data":"` + strings.Repeat("z", 1<<20-70) + `"}]`, answer: `["3","x22",{"status":"UnknownVendorId"}]`},
	}
	log := &book{}
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, log.logger(), v16.New())
	s := y.Connect(t, "CP-1", nil)
	s.Boot()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := quirks(t, y, "CP-1", tt.quirk)
			s.SendAs(max(tt.kind, websocket.TextMessage), []byte(tt.frame))
			if tt.answer != "" {
				got, err := s.Next()
				if err != nil {
					t.Fatal(err)
				}
				got = strings.Replace(strings.Replace(got, "[3,", `["3",`, 1), "[4,", `["4",`, 1)
				if !strings.HasPrefix(got, tt.answer) {
					t.Errorf("answered %s, want %s", got, tt.answer)
				}
			}
			if answer := s.Call("Heartbeat", "{}"); !strings.Contains(answer, "currentTime") { // alive, and nothing else was answered
				t.Errorf("heartbeat was answered %s", answer)
			}
			if tt.quirk != "" && quirks(t, y, "CP-1", tt.quirk) == before {
				t.Errorf("%s was not counted", tt.quirk)
			}
			if tt.quirk != "" && !log.has("station=CP-1", tt.quirk) {
				t.Errorf("no log line names the station and %s", tt.quirk)
			}
		})
	}
}

// Ids say nothing: the same one twice is answered twice.
func TestDuplicateIDs(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v16.New())
	s := y.Connect(t, "CP-1", nil)
	for range 3 {
		s.Send(`[2,"same","Heartbeat",{}]`)
	}
	for range 3 {
		if got, err := s.Next(); err != nil || !strings.HasPrefix(got, `[3,"same",`) {
			t.Fatalf("got %s, %v", got, err)
		}
	}
}

func TestFrameLimit(t *testing.T) {
	log := &book{}
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, log.logger(), v16.New())
	s := y.Connect(t, "CP-1", nil)
	s.Boot()
	s.Send(`[2,"x","DataTransfer",{"vendorId":"v","data":"` + strings.Repeat("z", 3<<20) + `"}]`)
	if err := <-s.Closed; !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("closed with %v, want 1009", err)
	}
	y.Journal.Wait(t, "report of the frame", func(d event.Draft) bool {
		e, ok := d.Data.(*event.DataReceived)
		return ok && strings.Contains(e.Reason, "1048576")
	})
	end := y.Journal.Wait(t, "end of the connection", func(d event.Draft) bool {
		_, ok := d.Data.(*event.StationDisconnected)
		return ok
	})
	if code := end.Data.(*event.StationDisconnected).Code; code != websocket.CloseMessageTooBig {
		t.Errorf("disconnected with code %d, want 1009", code)
	}
	if quirks(t, y, "CP-1", "frame_too_large") != 1 || !log.has("station=CP-1", "frame over the limit") {
		t.Error("neither counted nor logged")
	}
	y.Connect(t, "CP-1", nil).Boot()
}

// What cannot be made durable is not answered: the station is hung up on, and
// comes back.
func TestNotKept(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v16.New())
	s := y.Connect(t, "CP-1", nil)
	s.Boot()
	y.Journal.Fill(true)
	s.Send(`[2,"x","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":1,"timestamp":"2026-01-01T00:00:00Z"}]`)
	if answer, err := s.Next(); err == nil {
		t.Errorf("it was answered %s", answer)
	}
	if _, lost := y.Server.LastNotKept(); !lost {
		t.Error("not told to the health check")
	}
	y.Journal.Fill(false)
	s = y.Connect(t, "CP-1", nil)
	if answer := s.Call("StartTransaction", `{"connectorId":1,"idTag":"A","meterStart":1,"timestamp":"2026-01-01T00:00:00Z"}`); !strings.Contains(answer, "transactionId") {
		t.Errorf("the repeat was answered %s", answer)
	}
}

// order gives the site a command and waits for its final state.
func order(t *testing.T, y *ocpptest.Yard, kind event.CommandType, station event.StationID, params any) *event.CommandUpdated {
	t.Helper()
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	id := event.CommandID(fmt.Sprintf("%s-%d", kind, time.Now().UnixNano()))
	c := event.Command{ID: id, Type: kind, Station: station, Params: raw, Expires: time.Now().Add(time.Hour)}
	if err := y.Site.Execute(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	d := y.Journal.Wait(t, "end of "+string(kind), func(d event.Draft) bool {
		e, ok := d.Data.(*event.CommandUpdated)
		return ok && e.Command == id && e.State.Final()
	})
	return d.Data.(*event.CommandUpdated)
}

// Late answers and answers to nobody touch no other call; after some calls
// without an answer the station is hung up on.
func TestUnanswered(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.Timeout, cfg.TimeoutsToClose = 200*time.Millisecond, 3
	y := ocpptest.Start(t, cfg, site.Config{Observe: map[event.CommandType]time.Duration{event.CommandClearCache: 100 * time.Millisecond}}, quiet, v16.New())
	s := y.Connect(t, "CP-1", func(action string, _ json.RawMessage) string {
		if action == "ClearCache" {
			return ""
		}
		return `{"status":"Accepted"}`
	})
	s.Boot()
	if got := order(t, y, event.CommandClearCache, "CP-1", event.ClearCacheParams{}); got.State != event.StateIndeterminate {
		t.Errorf("no answer is %s (%s), want indeterminate", got.State, got.Reason)
	}
	late := <-s.Calls
	s.Send(fmt.Sprintf(`[3,%q,{"status":"Accepted"}]`, late.ID))
	s.Send(`[3,"nobody",{"status":"Accepted"}]`)
	if answer := s.Call("Heartbeat", "{}"); !strings.Contains(answer, "currentTime") {
		t.Errorf("heartbeat was answered %s", answer)
	}
	if quirks(t, y, "CP-1", "answer_late") != 1 || quirks(t, y, "CP-1", "answer_unknown") != 1 {
		t.Error("late and unknown answers were not counted")
	}
	for range cfg.TimeoutsToClose - 1 {
		order(t, y, event.CommandClearCache, "CP-1", event.ClearCacheParams{})
	}
	last := event.Command{ID: "last", Type: event.CommandClearCache, Station: "CP-1", Expires: time.Now().Add(time.Hour)}
	if err := y.Site.Execute(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection was not closed")
	}
}

// Quirk 30: nothing is sent before the boot was answered.
func TestBootFirst(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.BootWait = time.Hour
	y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
	s := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
	y.Journal.Wait(t, "connection", func(d event.Draft) bool {
		_, ok := d.Data.(*event.StationConnected)
		return ok
	})
	c := event.Command{ID: "c1", Type: event.CommandClearCache, Station: "CP-1", Expires: time.Now().Add(time.Hour)}
	if err := y.Site.Execute(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	select {
	case call := <-s.Calls:
		t.Fatalf("%s was sent before the boot", call.Action)
	case <-time.After(100 * time.Millisecond):
	}
	s.Boot()
	if call := <-s.Calls; call.Action != "ClearCache" {
		t.Errorf("%s was sent, want ClearCache", call.Action)
	}
}

// wantCalls waits for triggers in this order.
func wantCalls(t *testing.T, s *ocpptest.Station, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case call := <-s.Calls:
			var p struct {
				RequestedMessage string `json:"requestedMessage"`
				ConnectorID      int    `json:"connectorId"`
			}
			if err := json.Unmarshal(call.Payload, &p); err != nil {
				t.Fatal(err)
			}
			got := call.Action + " " + p.RequestedMessage
			if p.ConnectorID != 0 {
				got += fmt.Sprint(" ", p.ConnectorID)
			}
			if got != w {
				t.Errorf("got %s, want %s", got, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not asked: %s", w)
		}
	}
}

// A station that came back without a word is asked for each of its connectors:
// without one, some answer for the whole station only.
func TestRefreshEachConnector(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.BootWait = 10 * time.Millisecond
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: 50 * time.Millisecond}, quiet, v16.New())
	first := y.Connect(t, "CP-1", nil)
	first.Boot()
	for _, n := range []string{"0", "1", "2"} {
		first.Call("StatusNotification", `{"connectorId":`+n+`,"errorCode":"NoError","status":"Available"}`)
	}
	second := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
	wantCalls(t, second, "TriggerMessage BootNotification", "TriggerMessage StatusNotification 1", "TriggerMessage StatusNotification 2")
}

// A silent station is sent something after a while all the same.
func TestBootWait(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.BootWait = 50 * time.Millisecond
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: 10 * time.Millisecond}, quiet, v16.New())
	s := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return `{"status":"NotImplemented"}` })
	// quirk 31: it is asked for its state, by the one message or by the other
	wantCalls(t, s, "TriggerMessage BootNotification", "ExtendedTriggerMessage BootNotification",
		"TriggerMessage StatusNotification", "ExtendedTriggerMessage StatusNotification")
	if answer := s.Call("StatusNotification", `{"connectorId":1,"errorCode":"NoError","status":"Available"}`); answer != "{}" {
		t.Errorf("a status without a boot was answered %s", answer)
	}
}

// Quirk 10: the newest connection wins, and the end of the old one does not touch
// it.
func TestNewestWins(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v16.New())
	first := y.Connect(t, "CP-1", nil)
	first.Boot()
	second := y.Connect(t, "CP-1", nil)
	<-first.Closed
	second.Boot()
	for range 3 {
		second.Call("Heartbeat", "{}")
	}
	for _, i := range y.Site.Stations() {
		if !i.Connected {
			t.Error("the site takes the station for away")
		}
	}
}

// A thousand stations with the same identity: one of them stays, nothing leaks.
func TestSameIdentity(t *testing.T) {
	const n = 1000
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v16.New())
	sockets := make([]*websocket.Conn, n)
	var wg sync.WaitGroup
	gate := make(chan struct{}, 50)
	for i := range n {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			ws, _, err := ocpptest.Dial(t.Context(), y.URL+"/CP-1", nil, "ocpp1.6")
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			sockets[i] = ws
		})
	}
	wg.Wait()
	open := 0
	for i, ws := range sockets {
		if ws == nil {
			continue
		}
		if err := ws.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if i > 0 && open > 0 { // the others are closed already
			if err := ws.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := ws.ReadMessage(); err != nil && strings.Contains(err.Error(), "timeout") {
			open++
		}
	}
	if open != 1 {
		t.Errorf("%d connections are open, want 1", open)
	}
	last := y.Connect(t, "CP-1", nil)
	last.Boot()
	for _, ws := range sockets {
		if ws == nil {
			continue
		}
		if err := ws.Close(); err != nil {
			t.Log(err)
		}
	}
}

// Stations that leave and return all at once: none is stuck.
func TestLeaveAndReturn(t *testing.T) {
	stations, rounds := 200, 10
	if testing.Short() {
		stations, rounds = 50, 3
	}
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v16.New())
	for round := range rounds {
		var wg sync.WaitGroup
		for i := range stations {
			wg.Go(func() {
				ws, _, err := ocpptest.Dial(t.Context(), fmt.Sprintf("%s/CP-%d", y.URL, i), nil, "ocpp1.6")
				if err != nil {
					t.Errorf("round %d, station %d: %v", round, i, err)
					return
				}
				defer ws.Close()
				if err := ws.WriteMessage(websocket.TextMessage, []byte(`[2,"1","BootNotification",{"chargePointVendor":"A","chargePointModel":"B"}]`)); err != nil {
					t.Errorf("round %d, station %d: %v", round, i, err)
					return
				}
				if err := ws.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Error(err)
				}
				if _, data, err := ws.ReadMessage(); err != nil || !strings.Contains(string(data), "Accepted") {
					t.Errorf("round %d, station %d is stuck: %s %v", round, i, data, err)
				}
			})
		}
		wg.Wait()
	}
}

// A station that does not read is hung up on; its neighbour does not notice.
func TestDoesNotRead(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.WriteWait = time.Second
	log := &book{}
	y := ocpptest.Start(t, cfg, site.Config{}, log.logger(), v16.New())
	deaf, _, err := ocpptest.Dial(t.Context(), y.URL+"/DEAF", nil, "ocpp1.6")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	sent := make(chan struct{})
	go func() { // asks and asks, and never reads an answer
		defer close(sent)
		for {
			if err := deaf.WriteMessage(websocket.TextMessage, []byte(`[2,"`+strings.Repeat("i", 250)+`","Heartbeat",{}]`)); err != nil {
				return
			}
		}
	}()
	good := y.Connect(t, "GOOD", nil)
	slowest := time.Duration(0)
	for done := false; !done; {
		start := time.Now()
		good.Call("Heartbeat", "{}")
		slowest = max(slowest, time.Since(start))
		select {
		case <-sent:
			done = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	if slowest > 800*time.Millisecond {
		t.Errorf("the neighbour waited for %v", slowest)
	}
	y.Journal.Wait(t, "end of the deaf one", func(d event.Draft) bool {
		e, ok := d.Data.(*event.StationDisconnected)
		return ok && d.Address.Station == "DEAF" && strings.Contains(e.Reason, "does not read")
	})
}

// Quirks 11, 12: silence ends a connection, any frame keeps it.
func TestReadDeadline(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.Heartbeat, cfg.ReadDeadlineMinimum = 100*time.Millisecond, 400*time.Millisecond
	cfg.Ping = 0
	y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
	s := y.Connect(t, "CP-1", nil)
	s.Boot()
	select {
	case <-s.Closed:
	case <-time.After(20 * time.Second):
		t.Fatal("silence did not end the connection")
	}
	end := y.Journal.Wait(t, "end", func(d event.Draft) bool {
		_, ok := d.Data.(*event.StationDisconnected)
		return ok
	})
	if reason := end.Data.(*event.StationDisconnected).Reason; !strings.Contains(reason, "nothing heard") {
		t.Errorf("reason %q", reason)
	}
}

// The gateway pings; a station that pongs or not stays connected.
func TestPing(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.Ping = 20 * time.Millisecond
	y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
	ws, _, err := ocpptest.Dial(t.Context(), y.URL+"/CP-1", nil, "ocpp1.6")
	if err != nil {
		t.Fatal(err)
	}
	pinged := make(chan struct{}, 100)
	ws.SetPingHandler(func(string) error { // no pong
		pinged <- struct{}{}
		return nil
	})
	s := ocpptest.Play(t, ws, nil)
	for range 5 {
		select {
		case <-pinged:
		case <-time.After(10 * time.Second):
			t.Fatal("no ping came")
		}
	}
	s.Boot()
}

// What is in flight when the gateway stops is answered, then the station is told.
func TestStop(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v16.New())
	var stations []*ocpptest.Station
	for i := range 20 {
		s := y.Connect(t, fmt.Sprintf("CP-%d", i), nil)
		s.Boot()
		stations = append(stations, s)
	}
	start := time.Now()
	y.Stop()
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("stopping took %v", took)
	}
	for _, s := range stations {
		if err := <-s.Closed; !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("closed with %v, want 1001", err)
		}
	}
	if _, _, err := ocpptest.Dial(context.Background(), y.URL+"/CP-1", nil, "ocpp1.6"); err == nil {
		t.Error("a connection was accepted after the end")
	}
}
