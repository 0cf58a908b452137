package ocpp_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v21"
	"github.com/chargeyard/chargeyard/edge/internal/recorder"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
)

const heartbeat = `[2,"h","Heartbeat",{}]`

// What each version says to frames that it does not have, or that are damaged.
func TestFramesByVersion(t *testing.T) {
	tests := []struct {
		name, protocol, frame string
		answer                string // pattern; empty: none
		quirk                 string
	}{
		{"unknown type", "ocpp1.6", `[9,"a",{}]`, "", "frame_type"},
		{"unknown type", "ocpp2.0.1", `[9,"a",{}]`, `\[4,"a","MessageTypeNotSupported".*`, "frame_type"},
		{"unknown type", "ocpp2.1", `[9,"a",{}]`, `\[4,"a","MessageTypeNotSupported".*`, "frame_type"},
		{"SEND", "ocpp2.0.1", `[6,"a","NotifyPeriodicEventStream",{}]`, `\[4,"a","MessageTypeNotSupported".*`, "frame_type"},
		{"SEND", "ocpp2.1", `[6,"a","NotifyPeriodicEventStream",{"id":1,"pending":0,"basetime":"2026-11-22T10:00:00Z","data":[{"t":0,"v":"1"}]}]`, "", ""},
		{"SEND of an unknown action", "ocpp2.1", `[6,"a","Fly",{}]`, "", ""},
		{"SEND cut off", "ocpp2.1", `[6,"a","NotifyPeriodicEventStream",{`, "", "frame_damaged"},
		{"CALLRESULTERROR", "ocpp2.0.1", `[5,"a","FormatViolation","",{}]`, `\[4,"a","MessageTypeNotSupported".*`, "frame_type"},
		{"CALLRESULTERROR", "ocpp2.1", `[5,"a","FormatViolation","",{}]`, "", ""},
		{"id that cannot be read", "ocpp1.6", `[2,{},"Heartbeat",{}]`, "", "frame_damaged"},
		{"id that cannot be read", "ocpp2.0.1", `[2,{},"Heartbeat",{}]`, `\[4,"-1","RpcFrameworkError".*`, "frame_damaged"},
		{"nothing that can be read", "ocpp2.1", `hello`, `\[4,"-1","FormatViolation".*`, "frame_damaged"},
		{"answer whose id cannot be read", "ocpp2.1", `[3,{},{}]`, "", "frame_damaged"},
		{"answer to nobody that cannot be read", "ocpp2.1", `[3,"a",[`, `\[5,"a","FormatViolation".*`, "answer_unknown"},
	}
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v16.New(), v201.New(v201.V201()), v21.New())
	for i, tt := range tests {
		t.Run(tt.protocol+" "+tt.name, func(t *testing.T) {
			id := fmt.Sprint("CP-", i)
			s := y.ConnectAs(t, tt.protocol, id, nil)
			s.Send(tt.frame)
			s.Send(heartbeat)
			got, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if tt.answer != "" {
				if !regexp.MustCompile(`^` + tt.answer + `$`).MatchString(got) {
					t.Errorf("answered %s, want %s", got, tt.answer)
				}
				got, err = s.Next()
			}
			if err != nil || !strings.HasPrefix(got, `[3,"h",`) {
				t.Errorf("then %s, %v", got, err)
			}
			if tt.quirk != "" && quirks(t, y, id, tt.quirk) != 1 {
				t.Errorf("%s was not counted", tt.quirk)
			}
		})
	}
}

// command gives the site an order and returns how it ended or that it was accepted.
func command(t *testing.T, y *ocpptest.Yard, c event.Command, params any) *event.CommandUpdated {
	t.Helper()
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	c.Params, c.Expires = raw, time.Now().Add(time.Hour)
	if err := y.Site.Execute(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	d := y.Journal.Wait(t, "outcome", func(d event.Draft) bool {
		u, ok := d.Data.(*event.CommandUpdated)
		return ok && u.Command == c.ID && (u.State.Final() || u.State == event.StateAccepted)
	})
	return d.Data.(*event.CommandUpdated)
}

// Quirk 30: what cannot take a call before its boot is answered gets none.
func TestProfileBootFirst(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.BootWait = time.Millisecond
	yes := true
	cfg.Stations = map[event.StationID]ocpp.Station{"CP-1": {Behaviour: stationprofile.Behaviour{BootFirst: &yes}}}
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	s := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
	s.Call("Heartbeat", "{}") // it has joined
	if err := y.Site.Execute(t.Context(), event.Command{ID: "c", Type: event.CommandClearCache, Station: "CP-1", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		s.Call("Heartbeat", "{}") // shows that it answers, and is not enough
	}
	select {
	case c := <-s.Calls:
		t.Fatalf("%s was sent before the boot", c.Action)
	default:
	}
	s.Boot()
	if c := <-s.Calls; c.Action != "ClearCache" {
		t.Errorf("got %s", c.Action)
	}
}

// Quirk 25: each action may have its own time.
func TestTimeoutOfAction(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.Timeout = time.Hour
	cfg.TimeoutsToClose = 10
	cfg.Stations = map[event.StationID]ocpp.Station{"CP-1": {Behaviour: stationprofile.Behaviour{
		Timeout: time.Hour, Timeouts: map[string]time.Duration{"ClearCache": 10 * time.Millisecond},
	}}}
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour, LookAfter: time.Millisecond}, quiet, v16.New())
	s := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return "" })
	s.Boot()
	if got := command(t, y, event.Command{ID: "c", Type: event.CommandClearCache, Station: "CP-1"}, nil); got.State != event.StateIndeterminate {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

// What a station called itself at its last boot decides from the first frame of the
// next connection.
func TestProfileIsRestored(t *testing.T) {
	book, err := stationprofile.Load("")
	if err != nil {
		t.Fatal(err)
	}
	cfg := ocpptest.Config()
	cfg.StationProfiles = book
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	s := y.Connect(t, "CP-1", nil)
	s.Call("BootNotification", `{"chargePointVendor":"ABB","chargePointModel":"Terra AC"}`)
	s.Drop()
	s = y.Connect(t, "CP-1", nil)
	s.Call("StartTransaction", `{"connectorId":1,"idTag":"A","meterStart":4711,"timestamp":"`+time.Now().UTC().Format(time.RFC3339)+`"}`)
	d := y.Journal.Wait(t, "start", func(d event.Draft) bool { _, ok := d.Data.(*event.SessionStarted); return ok })
	if wh := d.Data.(*event.SessionStarted).MeterWh; wh == nil || *wh != 0 {
		t.Errorf("the session begins at %v, want 0", wh)
	}
	if scores := y.Server.Scores(); len(scores) != 1 || scores[0].Profile != "abb-terra" || scores[0].Vendor != "ABB" {
		t.Errorf("scores: %+v", scores)
	}
}

// Deviations become variables of the station when it goes.
func TestDeviationsAreTold(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	tell := func() {
		s := y.Connect(t, "CP-1", nil)
		s.Call("Heartbeat", `{"a":1}`)
		s.Call("Heartbeat", `{"a":1,"b":2}`)
		s.Call("StatusNotification", `{"connectorId":"1","errorCode":"NoError","status":"Available"}`)
		s.Drop()
	}
	tell()
	told := func(d event.Draft) bool {
		c, ok := d.Data.(*event.StationConfiguration)
		return ok && len(c.Variables) > 0 && c.Variables[0].Component == site.ComponentDeviations
	}
	d := y.Journal.Wait(t, "deviations", told)
	text, err := json.Marshal(d.Data.(*event.StationConfiguration).Variables)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"variable":"number_as_text","value":"1"`, `"variable":"unknown_field","value":"3"`, `"read_only":true`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	tell() // again so soon: it is for later
	y.Journal.Wait(t, "second end", func() func(event.Draft) bool {
		n := 0
		return func(d event.Draft) bool {
			if _, ok := d.Data.(*event.StationDisconnected); ok {
				n++
			}
			return n == 2
		}
	}())
	y.Stop()
	n := 0
	for _, d := range y.Journal.Events() {
		if told(d) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("told %d times, want 1", n)
	}
}

// Every frame is recorded, both ways, also what is no frame.
func TestRecorded(t *testing.T) {
	tape := recorder.New(recorder.Config{})
	cfg := ocpptest.Config()
	cfg.Recorder = tape
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	s := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
	s.Send("hello")
	s.Boot()
	if got := command(t, y, event.Command{ID: "c", Type: event.CommandClearCache, Station: "CP-1"}, nil); got.State != event.StateSucceeded {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
	var got []string
	for _, f := range tape.Frames("CP-1", time.Time{}, time.Time{}) {
		got = append(got, map[bool]string{true: "<", false: ">"}[f.Incoming]+string(f.Data))
	}
	want := `^<hello <\[2,"m1","BootNotification",.* >\[3,"m1",.* >\[2,"[-0-9a-f]{36}","ClearCache",\{\}\] <\[3,"[-0-9a-f]{36}",.*$`
	if !regexp.MustCompile(want).MatchString(strings.Join(got, " ")) {
		t.Errorf("got %q", got)
	}
}

// Quirk 15: a message in pieces is one message.
func TestFragments(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	d := websocket.Dialer{Subprotocols: []string{"ocpp1.6"}, WriteBufferSize: 64}
	ws, response, err := d.DialContext(t.Context(), y.URL+"/CP-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	w, err := ws.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(`[2,"h","DataTransfer",{"vendorId":"V","data":"` + strings.Repeat("z", 5000) + `"}]`)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := ocpptest.Play(t, ws, nil)
	if answer, err := s.Next(); err != nil || !strings.HasPrefix(answer, `[3,"h",`) {
		t.Errorf("answered %s, %v", answer, err)
	}
}

// Our ids are never the same, whoever asks.
func TestOurIDs(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	seen := map[string]bool{}
	var mu sync.Mutex
	var work sync.WaitGroup
	for n := range 4 {
		id := event.StationID(fmt.Sprint("CP-", n))
		s := y.Connect(t, string(id), func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
		s.Boot()
		work.Go(func() {
			for range 10 {
				c := <-s.Calls
				mu.Lock()
				if seen[c.ID] || len(c.ID) > 36 {
					t.Errorf("id %s", c.ID)
				}
				seen[c.ID] = true
				mu.Unlock()
			}
		})
		for i := range 10 {
			command(t, y, event.Command{ID: event.CommandID(fmt.Sprint(n, "-", i)), Type: event.CommandClearCache, Station: id}, nil)
		}
	}
	work.Wait()
}

// Whatever comes in whatever order, while the gateway asks questions of its own:
// the conversation lives, answers what it is asked, and leaves nothing behind (see
// TestMain).
func FuzzConversationState(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(seed))
	}
	protocols := []string{"ocpp1.6", "ocpp2.0.1", "ocpp2.1"}
	cfg := ocpptest.Config()
	cfg.Timeout = 5 * time.Millisecond
	cfg.TimeoutsToClose = 1 << 30
	cfg.Recorder = recorder.New(recorder.Config{StationBytes: 16 << 10, TotalBytes: 64 << 10})
	y := ocpptest.Start(f, cfg, site.Config{RefreshAfter: time.Hour, LookAfter: time.Hour}, quiet, v16.New(), v201.New(v201.V201()), v21.New())
	number := 0
	f.Fuzz(func(t *testing.T, seed uint64, version uint8) {
		r := rand.New(rand.NewPCG(seed, uint64(version)))
		mood := rand.New(rand.NewPCG(seed, 1))
		s := y.ConnectAs(t, protocols[int(version)%3], "FUZZ", func(string, json.RawMessage) string { // to some, in some way
			return []string{"", "{}", "!GenericError", `{"status":"Accepted"}`, `[`, `null`}[mood.IntN(6)]
		})
		payloads := []string{`{}`, `null`, `[]`, `{"a":[{}]}`, `"x"`, `{`, ``, `{"idTag":"A"}`, `{"status":"Accepted"}`, `{"id":1,"data":[]}`}
		actions := []string{`"Heartbeat"`, `"BootNotification"`, `"StopTransaction"`, `"TransactionEvent"`, `"NotifyPeriodicEventStream"`, `"Fly"`, `5`, `""`}
		for range 30 {
			number++
			c := event.Command{ID: event.CommandID(fmt.Sprint("f", number)), Type: event.CommandClearCache, Station: "FUZZ", Expires: time.Now().Add(time.Second)}
			if r.IntN(4) == 0 {
				if err := y.Site.Execute(t.Context(), c); err != nil {
					continue // it has enough to do
				}
			}
			// each its own: whoever plays the station tells answers apart by it
			ids := []string{fmt.Sprintf(`"a%d"`, number), `""`, fmt.Sprint(number), `null`, fmt.Sprintf(`"%s%d"`, strings.Repeat("x", 40), number), `{}`}
			id, payload, action := ids[r.IntN(len(ids))], payloads[r.IntN(len(payloads))], actions[r.IntN(len(actions))]
			switch kind := r.IntN(9); kind {
			case 2, 6:
				s.Send(fmt.Sprintf(`[%d,%s,%s,%s]`, kind, id, action, payload))
			case 3:
				s.Send(fmt.Sprintf(`[3,%s,%s]`, id, payload))
			case 4, 5:
				s.Send(fmt.Sprintf(`[%d,%s,"Code","text",%s]`, kind, id, payload))
			default:
				s.Send(fmt.Sprintf(`[%d,%s]`, kind, id))
			}
		}
		s.Send(heartbeat)
		for {
			answer, err := s.Next()
			if err != nil {
				t.Fatalf("seed %d, %d: %v", seed, version, err)
			}
			if strings.HasPrefix(answer, `[3,"h",`) || strings.HasPrefix(answer, `[4,"h",`) {
				break
			}
		}
		if bytes := cfg.Recorder.(*recorder.Recorder).Bytes(); bytes > 64<<10 {
			t.Errorf("the recorder holds %d bytes", bytes)
		}
	})
}
