package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/api"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// TestRoles goes through what each role may do.
func TestRoles(t *testing.T) {
	y := open(t)
	y.day()
	station := read[struct{ Items []fleet.Station }](y, admin, "/stations?gateway=gw-1&identity=CP1").Items[0].ID
	unlock := `{"type":"unlock","station":"` + station + `"}`
	call := `{"type":"call","station":"` + station + `","params":{"protocol":"ocpp1.6","action":"Heartbeat","payload":{}}}`
	tests := []struct {
		method, path, body string
		who                []string // who may; the others may not
	}{
		{"GET", "/sessions", "", []string{viewer, operator, admin}},
		{"GET", "/tokens", "", []string{viewer, operator, admin}},
		{"GET", "/dead-letters", "", []string{operator, admin}},
		{"GET", "/pending-stations", "", []string{viewer, operator, admin}},
		{"POST", "/admissions", `{"gateway":"gw-1","identity":"X"}`, []string{admin}},
		{"GET", "/security-events", "", []string{viewer, operator, admin}},
		{"POST", "/commands", unlock, []string{operator, admin}},
		{"POST", "/commands", call, []string{admin}},
		{"PUT", "/tokens/X", `{}`, []string{admin}},
		{"POST", "/tokens", `{"value":"X"}`, []string{admin}},
		{"DELETE", "/tokens/X", "", []string{admin}},
		{"PUT", "/gateways/gw-1", `{"location":"north"}`, []string{admin}},
		{"PUT", "/locations/north", `{"name":"N"}`, []string{admin}},
		{"PUT", "/gateways/gw-1/desired/site", `{}`, []string{admin}},
		{"PUT", "/gateways/gw-1/desired/stations", `{"stations":[]}`, []string{admin}},
	}
	for _, tt := range tests {
		for _, who := range []string{viewer, operator, admin, "cy_nobody", ""} {
			t.Run(tt.method+" "+tt.path+" "+who, func(t *testing.T) {
				a := y.ask(who, tt.method, tt.path, tt.body)
				want := a.status < 300
				switch {
				case who == "" || who == "cy_nobody":
					want = a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") != ""
				case !slices.Contains(tt.who, who):
					want = a.status == http.StatusForbidden
				}
				if !want {
					t.Errorf("%d: %s", a.status, a.body)
				}
			})
		}
	}
	for _, header := range []string{"Basic " + admin, "Bearer", admin, "Bearer  "} {
		if a := y.ask("", "GET", "/sessions", "", "Authorization", header); a.status != http.StatusUnauthorized {
			t.Errorf("Authorization: %s: %d", header, a.status)
		}
	}
	if a := y.ask("", "GET", "/sessions", "", "Authorization", "bearer "+viewer); a.status != http.StatusOK {
		t.Errorf("bearer in lower case: %d", a.status)
	}
}

// TestScopes: a token narrowed to a location sees and changes only what is
// there, and one of another tenant nothing.
func TestScopes(t *testing.T) {
	y := open(t)
	y.day()
	south := read[struct{ Items []fleet.Station }](y, admin, "/stations?gateway=gw-2").Items[0].ID
	order := y.ask(admin, "POST", "/commands", `{"type":"stop","station":"`+south+`"}`)
	var command fleet.Command
	y.must(json.Unmarshal(order.body, &command))

	count := func(token, path string) int {
		t.Helper()
		return len(read[struct{ Items []json.RawMessage }](y, token, path).Items)
	}
	for path, want := range map[string][3]int{ // admin, north, stranger
		"/gateways":     {3, 1, 0}, // the third one knocks
		"/locations":    {2, 1, 0},
		"/stations":     {3, 2, 0},
		"/sessions":     {2, 1, 0},
		"/events":       {23, 13, 0},
		"/commands":     {1, 0, 0},
		"/dead-letters": {1, 1, 0},
	} {
		if got := [3]int{count(admin, path), count(northAdmin, path), count(stranger, path)}; got != want {
			t.Errorf("%s: %v items for admin, north and stranger; want %v", path, got, want)
		}
	}
	hidden := []string{
		"/gateways/gw-2", "/gateways/gw-2/desired", "/stations/" + south, "/stations/" + south + "/timeline",
		"/sessions/" + string(southSession), "/sessions/" + string(southSession) + "/samples",
		"/sessions/" + string(southSession) + "/timeline", "/commands/" + string(command.ID),
	}
	for _, path := range hidden {
		if a := y.ask(admin, "GET", path, ""); a.status != http.StatusOK {
			t.Errorf("%s for admin: %d", path, a.status)
		}
		for _, who := range []string{northAdmin, stranger} {
			if a := y.ask(who, "GET", path, ""); a.status != http.StatusNotFound {
				t.Errorf("%s for %s: %d", path, who, a.status)
			}
		}
	}
	for _, tt := range []struct {
		method, path, body string
		north              int
	}{
		{"POST", "/commands", `{"type":"stop","station":"` + south + `"}`, 422},
		{"POST", "/commands", `{"type":"restart","gateway":"gw-2"}`, 422},
		{"POST", "/commands", `{"type":"restart","gateway":"gw-1"}`, 202},
		{"POST", "/commands", `{"type":"stop","station":"CP1"}`, 202}, // to north there is only one CP1
		{"POST", "/commands/" + string(command.ID) + "/cancel", "", 404},
		{"PUT", "/gateways/gw-2/desired/site", `{}`, 404},
		{"PUT", "/gateways/gw-1/desired/site", `{}`, 200},
		{"PUT", "/gateways/gw-1", `{"location":"south"}`, 403},
		{"PUT", "/locations/north", `{"name":"N"}`, 403},
		{"PUT", "/tokens/X", `{}`, 403},
		{"DELETE", "/tokens/X", "", 403},
	} {
		if a := y.ask(northAdmin, tt.method, tt.path, tt.body); a.status != tt.north {
			t.Errorf("%s %s for north: %d, want %d: %s", tt.method, tt.path, a.status, tt.north, a.body)
		}
	}
	y.ask(admin, "PUT", "/tokens/X", `{}`)
	for who, want := range map[string]int{viewer: http.StatusOK, northAdmin: http.StatusOK, northViewer: http.StatusForbidden} {
		for _, path := range []string{"/tokens", "/tokens/X"} {
			if a := y.ask(who, "GET", path, ""); a.status != want {
				t.Errorf("%s for %s: %d, want %d", path, who, a.status, want)
			}
		}
	}
	if a := y.ask(stranger, "GET", "/tokens/X", ""); a.status != http.StatusNotFound {
		t.Errorf("a stranger sees a token: %d", a.status)
	}
}

// TestPromisedFields: what the contract promises of a station and a session is
// there also where nothing is known of it.
func TestPromisedFields(t *testing.T) {
	c := readContract(t)
	y := open(t)
	plug := event.Address{Station: "CP9", EVSE: 1, Connector: 1}
	y.happen("gw-1", event.LaneEvents,
		event.Draft{Address: plug, Data: &event.SessionStarted{Session: northSession, Transaction: "1"}})
	for path, fields := range map[string][]string{
		"/stations": {"id", "identity", "gateway", "location", "protocol", "vendor", "model", "firmware", "connectivity", "evses"},
		"/sessions": {"id", "station", "evse", "connector", "protocol", "status", "charging_state", "token", "started", "ended", "reason",
			"meter_start_wh", "meter_stop_wh", "energy_wh", "flags"},
	} {
		a := y.ask(viewer, "GET", path, "")
		if err := c.check("GET", path, a); err != nil {
			t.Error(err)
		}
		var l struct{ Items []map[string]any }
		y.must(json.Unmarshal(a.body, &l))
		if len(l.Items) != 1 {
			t.Fatalf("%s: %s", path, a.body)
		}
		for _, f := range fields {
			if _, there := l.Items[0][f]; !there {
				t.Errorf("%s: no %s: %s", path, f, a.body)
			}
		}
	}
}

func TestCommandsOfAPI(t *testing.T) {
	y := open(t)
	y.day()
	station := read[struct{ Items []fleet.Station }](y, admin, "/stations?gateway=gw-1&identity=CP1").Items[0].ID
	order := func(token, body string, header ...string) (int, fleet.Command, string) {
		t.Helper()
		a := y.ask(token, "POST", "/commands", body, header...)
		var c fleet.Command
		if a.status == http.StatusAccepted {
			y.must(json.Unmarshal(a.body, &c))
		}
		return a.status, c, string(a.body)
	}
	t.Run("idempotency", func(t *testing.T) {
		body := `{"type":"stop","station":"` + station + `"}`
		_, first, _ := order(operator, body, "Idempotency-Key", "k")
		_, second, _ := order(operator, ` { "station" : "`+station+`", "type" : "stop" } `, "Idempotency-Key", "k")
		if first.ID == "" || first.ID != second.ID {
			t.Errorf("the same key and command: %s and %s", first.ID, second.ID)
		}
		if status, _, text := order(operator, `{"type":"unlock","station":"`+station+`"}`, "Idempotency-Key", "k"); status != http.StatusConflict {
			t.Errorf("the same key and another command: %d: %s", status, text)
		}
		if _, other, _ := order(admin, body, "Idempotency-Key", "k"); other.ID == first.ID {
			t.Error("the same key of another token is another's command")
		}
		_, a, _ := order(operator, body)
		_, b, _ := order(operator, body)
		if a.ID == b.ID || a.ID == "" {
			t.Error("without a key each is one of its own")
		}
	})
	t.Run("idempotency once the command has expired", func(t *testing.T) {
		body := `{"type":"stop","station":"` + station + `","expires":"` + time.Now().Add(time.Minute).UTC().Format(time.RFC3339) + `"}`
		_, first, _ := order(operator, body, "Idempotency-Key", "late")
		y.ahead.Store(int64(time.Hour))
		defer y.ahead.Store(0)
		status, second, text := order(operator, body, "Idempotency-Key", "late")
		if status != http.StatusAccepted || first.ID == "" || first.ID != second.ID {
			t.Errorf("the answer was lost: %d, %s and %s: %s", status, first.ID, second.ID, text)
		}
		if status, _, _ := order(operator, body, "Idempotency-Key", "another"); status != http.StatusUnprocessableEntity {
			t.Errorf("the same under another key: %d", status)
		}
	})
	t.Run("who and when", func(t *testing.T) {
		_, c, _ := order(operator, `{"type":"unlock","station":"`+station+`","evse":1}`)
		if c.IssuedBy != "Otto" || c.Status != event.StateQueued || c.Gateway != "gw-1" || c.Station != "CP1" || c.Target != station || len(c.Steps) != 1 {
			t.Errorf("command %+v", c)
		}
		if life := c.Expires.Sub(c.Created); life != 2*time.Minute {
			t.Errorf("lives %s", life)
		}
	})
	t.Run("station by identity", func(t *testing.T) {
		if status, _, text := order(operator, `{"type":"unlock","station":"CP1"}`); status != 422 || !strings.Contains(text, "body.station") {
			t.Errorf("two of that identity: %d: %s", status, text)
		}
		if status, c, text := order(operator, `{"type":"unlock","station":"CP1","gateway":"gw-1"}`); status != 202 || c.Target != station {
			t.Errorf("with a gateway: %d: %s", status, text)
		}
		if status, c, _ := order(operator, `{"type":"unlock","station":"CP2"}`); status != 202 || c.Station != "CP2" {
			t.Errorf("the only one: %d", status)
		}
		if status, _, text := order(operator, `{"type":"unlock","station":"`+station+`","gateway":"gw-2"}`); status != 422 {
			t.Errorf("behind another gateway: %d: %s", status, text)
		}
	})
	t.Run("faults name their field", func(t *testing.T) {
		for body, field := range map[string]string{
			`{"type":"dance","station":"S"}`:                                             "body.type",
			`{"station":"S"}`:                                                            "body",
			`{"type":"unlock"}`:                                                          "body.station",
			`{"type":"unlock","station":"nobody"}`:                                       "body.station",
			`{"type":"unlock","station":"S","evse":-1}`:                                  "body.evse",
			`{"type":"unlock","station":"S","params":{"force":true}}`:                    "body.params.force",
			`{"type":"set_limit","station":"S","params":{"limit_a":"16"}}`:               "body.params.limit_a",
			`{"type":"set_limit","station":"S","params":{"limit_a":16}}`:                 "body.params.until",
			`{"type":"unlock","station":"S","params":[]}`:                                "body.params",
			`{"type":"unlock","station":"S","expires":"2020-01-01T00:00:00Z"}`:           "body.expires",
			`{"type":"unlock","station":"S","colour":"red"}`:                             "body.colour",
			`{"type":"restart"}`:                                                         "body.gateway",
			`{"type":"restart","gateway":"gw-9"}`:                                        "body.gateway",
			`{"type":"restart","gateway":"gw-1","station":"S"}`:                          "body.station",
			`{"type":"start","station":"S","params":{"token":{"type":"rfid"}}}`:          "body.params.token.value",
			`{"type":"trigger","station":"S","params":{"message":"boot","message2":""}}`: "body.params.message2",
		} {
			a := y.ask(operator, "POST", "/commands", strings.ReplaceAll(body, `"S"`, `"`+station+`"`))
			var p struct {
				Errors []struct{ Location, Message string }
			}
			y.must(json.Unmarshal(a.body, &p))
			if a.status != 422 || len(p.Errors) == 0 || p.Errors[0].Location != field || p.Errors[0].Message == "" {
				t.Errorf("%s: %d, want one about %s: %s", body, a.status, field, a.body)
			}
		}
	})
	t.Run("cancel", func(t *testing.T) {
		_, c, _ := order(operator, `{"type":"stop","station":"`+station+`"}`)
		for range 2 {
			a := y.ask(operator, "POST", "/commands/"+string(c.ID)+"/cancel", "")
			var got fleet.Command
			y.must(json.Unmarshal(a.body, &got))
			if a.status != http.StatusAccepted || got.Status != event.StateCancelled {
				t.Errorf("cancel: %d: %s", a.status, a.body)
			}
		}
		_, c, _ = order(operator, `{"type":"stop","station":"`+station+`"}`)
		y.happen("gw-1", event.LaneEvents, event.Draft{Address: event.Address{Station: "CP1"}, Data: &event.CommandUpdated{Command: c.ID, State: event.StateSucceeded}})
		if a := y.ask(operator, "POST", "/commands/"+string(c.ID)+"/cancel", ""); a.status != http.StatusConflict {
			t.Errorf("cancel what has succeeded: %d: %s", a.status, a.body)
		}
	})
}

// TestPages: a list read in parts is the whole list, whatever the size of the
// parts.
func TestPages(t *testing.T) {
	y := open(t)
	y.day()
	station := read[struct{ Items []fleet.Station }](y, admin, "/stations?gateway=gw-1&identity=CP1").Items[0].ID
	for _, path := range []string{"/events?", "/stations?", "/sessions?", "/gateways?", "/stations/" + station + "/timeline?", "/sessions/" + string(northSession) + "/samples?", "/sessions/" + string(northSession) + "/timeline?"} {
		whole := read[struct {
			Items []json.RawMessage
			Next  *string
		}](y, admin, path+"limit=1000")
		if whole.Next != nil || len(whole.Items) == 0 {
			t.Errorf("%s: %d items, next %v", path, len(whole.Items), whole.Next)
		}
		for _, limit := range []int{1, 2, 3, 7} {
			var parts []string
			next, rounds := "", 0
			for ; rounds < 100; rounds++ {
				part := read[struct {
					Items []json.RawMessage
					Next  *string
				}](y, admin, fmt.Sprintf("%slimit=%d%s", path, limit, next))
				for _, item := range part.Items {
					parts = append(parts, string(item))
				}
				if part.Next == nil {
					break
				}
				next = "&cursor=" + *part.Next
			}
			want := make([]string, len(whole.Items))
			for i, item := range whole.Items {
				want[i] = string(item)
			}
			slices.Sort(parts) // a timeline of small parts orders what is simultaneous otherwise
			slices.Sort(want)
			if !slices.Equal(parts, want) {
				t.Errorf("%s in parts of %d: %d items, want %d", path, limit, len(parts), len(want))
			}
		}
	}
}

// TestDeaf: while the manager hears no gateway, it knows of nothing whether it
// still holds.
func TestDeaf(t *testing.T) {
	y := open(t)
	y.day()
	for _, deaf := range []bool{false, true} {
		y.deaf.Store(deaf)
		g := read[fleet.Gateway](y, viewer, "/gateways/gw-1")
		s := read[struct{ Items []fleet.Station }](y, viewer, "/stations?gateway=gw-1&identity=CP1").Items[0]
		if got := []bool{g.Connectivity.Stale, s.Connectivity.Stale, s.EVSEs[0].Connectors[0].Status.Stale}; !slices.Equal(got, []bool{deaf, deaf, deaf}) {
			t.Errorf("stale %v, want all %v", got, deaf)
		}
	}
}

func TestTimeline(t *testing.T) {
	y := open(t)
	y.day()
	station := read[struct{ Items []fleet.Station }](y, admin, "/stations?gateway=gw-1&identity=CP1").Items[0].ID
	items := read[struct{ Items []api.TimelineItem }](y, viewer, "/stations/"+station+"/timeline").Items
	var statuses []string
	for i, it := range items {
		if i > 0 && it.Time.After(items[i-1].Time) {
			t.Errorf("item %d is newer than the one before", i)
		}
		if it.Kind == "status" && it.Status.EVSE == 1 && it.Status.Connector == 1 {
			statuses = append(statuses, it.Status.Status)
		}
	}
	if want := []string{"finishing", "charging", "preparing", "available"}; !slices.Equal(statuses, want) {
		t.Errorf("statuses %v, want %v", statuses, want)
	}
}

func TestStream(t *testing.T) {
	y := open(t)
	y.day()
	now := y.listen(viewer, "")
	north := y.listen(northAdmin, "")
	nobody := y.listen(stranger, "")
	status := func(g event.GatewayID, info string) {
		y.happen(g, event.LaneEvents, event.Draft{Address: event.Address{Station: "CP1", EVSE: 1, Connector: 1}, Data: &event.StationStatus{Status: event.StatusAvailable, Info: info}})
	}
	status("gw-2", "one")
	status("gw-1", "two")
	first, second := now.entry(t), now.entry(t)
	if !strings.Contains(string(first.Data), "one") || !strings.Contains(string(second.Data), "two") || second.Position != first.Position+1 {
		t.Errorf("entries %s and %s", first.Data, second.Data)
	}
	if e := north.entry(t); e.Position != second.Position {
		t.Errorf("north hears %+v, want only its own", e)
	}

	t.Run("the log in its order", func(t *testing.T) {
		for after, want := range map[string]int64{"0": 1, "1": 2} {
			l := read[struct{ Items []fleet.Entry }](y, admin, "/events?limit=2&after="+after)
			if len(l.Items) != 2 || l.Items[0].Position != want || l.Items[1].Position != want+1 {
				t.Errorf("after %s: %+v", after, l.Items)
			}
		}
	})
	t.Run("resume", func(t *testing.T) {
		again := y.listen(viewer, fmt.Sprint(first.Position))
		if e := again.entry(t); e.Position != second.Position {
			t.Errorf("resumed at %d, want %d", e.Position, second.Position)
		}
		whole := y.listen(viewer, "0")
		for want := int64(1); want <= second.Position; want++ {
			if e := whole.entry(t); e.Position != want {
				t.Fatalf("position %d, want %d", e.Position, want)
			}
		}
		future := y.listen(viewer, "999999") // of a log that is no more
		if e := future.entry(t); e.Position != 1 {
			t.Errorf("from the future: %+v, want the oldest", e)
		}
		status("gw-1", "three")
		if e := whole.entry(t); e.Position != second.Position+1 {
			t.Errorf("afterwards %d, want %d", e.Position, second.Position+1)
		}
		if e := now.entry(t); !strings.Contains(string(e.Data), "three") {
			t.Errorf("entry %s", e.Data)
		}
		north.entry(t)
	})
	t.Run("resume after a restore", func(t *testing.T) {
		incarnation := y.ask(viewer, "GET", "/events?limit=1", "").header.Get("Log-Incarnation")
		second := fmt.Sprint(incarnation, ".", first.Position)
		y.must(ignore(y.store.NewIncarnation(t.Context())))
		status("gw-2", "after the restore")
		end := now.entry(t).Position
		for _, last := range []string{second, fmt.Sprint(incarnation, ".", first.Position+1000)} {
			want := min(first.Position, end-1)
			if last != second {
				want = end - 1 // what both have in common
			}
			if e := y.listen(viewer, last).entry(t); e.Position != want+1 {
				t.Errorf("%s resumes at %d, want %d", last, e.Position, want+1)
			}
			l := read[struct{ Items []fleet.Entry }](y, viewer, "/events?limit=1&after="+last)
			if len(l.Items) != 1 || l.Items[0].Position != want+1 {
				t.Errorf("after=%s: %+v, want %d", last, l.Items, want+1)
			}
		}
		if e := y.listen(viewer, "00000000.5").entry(t); e.Position != 1 {
			t.Errorf("of an unknown incarnation: %d, want 1", e.Position)
		}
	})
	t.Run("live", func(t *testing.T) {
		live := func(g event.GatewayID, watts float64) {
			payload, err := json.Marshal(wire.Live{Time: time.Now(), Connectors: []wire.LiveConnector{{Station: "CP1", EVSE: 1, Connector: 1, Status: event.StatusCharging, PowerW: &watts}}})
			y.must(err)
			y.hub.Live(g, payload)
		}
		live("gw-9", 9)                        // only knocks
		y.hub.Live("gw-2", []byte("nonsense")) // is heard by nobody
		live("gw-2", 2)
		live("gw-1", 1)
		y.hub.Status("gw-2", wire.Status{Online: false})
		seen := map[string]bool{}
		for !seen["gw-1 live"] || !seen["gw-2 live"] || !seen["gw-2 gateway"] {
			m := now.next(t)
			var about struct{ Gateway string }
			y.must(json.Unmarshal([]byte(m.data), &about))
			if m.id != "" || about.Gateway == "gw-9" {
				t.Fatalf("message %+v", m)
			}
			seen[about.Gateway+" "+m.kind] = true
		}
		if m := north.next(t); m.kind != "live" || !strings.Contains(m.data, `"gateway":"gw-1"`) {
			t.Errorf("north hears %+v", m)
		}
		// Who comes later is told the present of what is there.
		late := y.listen(viewer, "")
		if m := late.next(t); m.kind != "live" || !strings.Contains(m.data, `"gateway":"gw-1"`) {
			t.Errorf("who comes later hears %+v", m)
		}
		select {
		case m := <-late.messages:
			t.Errorf("and %+v", m)
		default:
		}
	})
	select {
	case m := <-nobody.messages:
		t.Errorf("a stranger hears %+v", m)
	default:
	}
}

func ignore(_ string, err error) error { return err }
