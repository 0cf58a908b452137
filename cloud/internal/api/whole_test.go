package api_test

import (
	"encoding/base64"
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
	"golang.org/x/crypto/argon2"
)

// order gives a command as an operator and returns it as the database has it.
func (y *yard) order(body string) fleet.Command {
	y.t.Helper()
	a := y.ask(operator, "POST", "/commands", body)
	var c fleet.Command
	if err := json.Unmarshal(a.body, &c); err != nil || a.status != http.StatusAccepted {
		y.t.Fatalf("%s: %d: %s", body, a.status, a.body)
	}
	if strings.Contains(string(a.body), "/files/") && !strings.Contains(string(a.body), "/files/…") {
		y.t.Errorf("the answer tells the secret of the address: %s", a.body)
	}
	c, err := y.store.Command(y.t.Context(), fleet.Scope{Tenant: fleet.DefaultTenant}, c.ID)
	y.must(err)
	return c
}

// bring orders a file and brings it, as a gateway or a station does, and returns
// its id.
func (y *yard) bring(order, content string) string {
	y.t.Helper()
	c := y.order(order)
	var p struct{ URL string }
	y.must(json.Unmarshal(c.Params, &p))
	r, err := http.NewRequestWithContext(y.t.Context(), "PUT", p.URL, strings.NewReader(content))
	y.must(err)
	res, err := browser.Do(r)
	y.must(err)
	y.must(res.Body.Close())
	if res.StatusCode != http.StatusCreated {
		y.t.Fatalf("bring to %s: %s", p.URL, res.Status)
	}
	l, err := y.store.Files(y.t.Context(), fleet.Scope{Tenant: fleet.DefaultTenant}, fleet.FileFilter{Command: c.ID}, fleet.Page{})
	y.must(err)
	if len(l.Items) != 1 || l.Items[0].State != fleet.FileComplete {
		y.t.Fatalf("files of the command: %+v", l.Items)
	}
	return l.Items[0].ID
}

func TestVariables(t *testing.T) {
	y := open(t)
	y.evening()
	items := read[struct{ Items []fleet.Variable }](y, viewer, "/stations/CP3/variables").Items
	if len(items) != 2 || items[0].Component != "EVSE" || items[0].Unit != "W" || items[1].Values[1] != "300" || items[1].AsOf.IsZero() {
		t.Errorf("got %+v", items)
	}
	if got := read[struct{ Items []fleet.Variable }](y, viewer, "/stations/CP3/variables?component=ocppcommctrlr").Items; len(got) != 1 {
		t.Errorf("of a component: %+v", got)
	}
	cards := read[struct{ Items []fleet.Scorecard }](y, viewer, "/deviations?by=model").Items
	if len(cards) != 1 || cards[0].Model != "W" || cards[0].Count != 7 || cards[0].Kinds[0].Kind != "bad_time" {
		t.Errorf("scorecards %+v", cards)
	}
	if a := y.ask(stranger, "GET", "/stations/CP3/variables", ""); a.status != http.StatusNotFound {
		t.Errorf("a stranger sees variables: %d", a.status)
	}
	for _, path := range []string{"/deviations", "/deviations?by=model", "/security-events", "/pending-stations", "/admissions", "/recordings", "/logs"} {
		if got := read[struct{ Items []json.RawMessage }](y, stranger, path).Items; len(got) != 0 {
			t.Errorf("a stranger sees %d of %s", len(got), path)
		}
	}
}

// TestAdmission: from a knock to a station that may connect, and back.
func TestAdmission(t *testing.T) {
	y := open(t)
	y.evening()
	waiting := func() (ids []event.StationID) {
		for _, v := range read[struct{ Items []fleet.PendingStation }](y, viewer, "/pending-stations").Items {
			ids = append(ids, v.Identity)
		}
		return ids
	}
	if got := waiting(); !slices.Equal(got, []event.StationID{"X1", "CP3"}) {
		t.Errorf("waiting %q", got)
	}
	admit := func(body string) api.Admission {
		t.Helper()
		a := y.ask(admin, "POST", "/admissions", body)
		var v api.Admission
		if err := json.Unmarshal(a.body, &v); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d: %s", body, a.status, a.body)
		}
		return v
	}
	// hash is what the gateway is told, which must be that of the password.
	section := func() map[event.StationID]wire.AdmittedStation {
		t.Helper()
		own, err := y.store.Desired(t.Context(), "gw-1")
		y.must(err)
		var s wire.Stations
		y.must(json.Unmarshal(own[wire.SectionStations], &s))
		out := map[event.StationID]wire.AdmittedStation{}
		for _, st := range s.Stations {
			out[st.Identity] = st
		}
		return out
	}
	matches := func(hash, password string) bool {
		var m, p uint32
		var lanes uint8
		var rest string
		if _, err := fmt.Sscanf(hash, "$argon2id$v=19$m=%d,t=%d,p=%d$%s", &m, &p, &lanes, &rest); err != nil {
			return false
		}
		salt, key, _ := strings.Cut(rest, "$")
		return key == unpadded(argon2.IDKey([]byte(password), decoded(salt), p, m, lanes, 32))
	}
	first := admit(`{"gateway":"gw-1","identity":"X1","security_profile":2}`)
	if len(first.Password) != 20 || !first.HasPassword || first.SecurityProfile != 2 || first.ID != fleet.StationID("gw-1", "X1") {
		t.Errorf("admitted %+v", first)
	}
	if got := section()["X1"]; got.Profile != 2 || !matches(got.PasswordHash, first.Password) {
		t.Errorf("section has %+v", got)
	}
	if got := waiting(); !slices.Equal(got, []event.StationID{"CP3"}) {
		t.Errorf("waiting %q", got)
	}
	if again := admit(`{"gateway":"gw-1","identity":"X1","security_profile":1}`); again.Password != "" || section()["X1"].Profile != 1 || !matches(section()["X1"].PasswordHash, first.Password) {
		t.Errorf("changed without a password: %+v", again)
	}
	if other := admit(`{"gateway":"gw-1","identity":"X1","new_password":true}`); other.Password == "" || matches(section()["X1"].PasswordHash, first.Password) {
		t.Errorf("new password: %+v", other)
	}
	if own := admit(`{"gateway":"gw-1","identity":"CP3","password":"0123456789abcdef!"}`); own.Password != "" || !own.HasPassword || !matches(section()["CP3"].PasswordHash, "0123456789abcdef!") {
		t.Errorf("own password: %+v", own)
	}
	if plain := admit(`{"gateway":"gw-1","identity":"CP4"}`); plain.Password != "" || plain.HasPassword {
		t.Errorf("without a password: %+v", plain)
	}
	// The key of an OCPP 1.6 station is written in hex digits and sent as bytes.
	hexed := admit(`{"gateway":"gw-1","identity":"CP5","password":"30313233343536373839616263646566"}`)
	if !hexed.HasPassword || !matches(section()["CP5"].PasswordHash, string([]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef})) {
		t.Errorf("hex: %+v", section()["CP5"])
	}
	var ids []event.StationID
	for cursor := ""; ; {
		l := read[struct {
			Items []api.Admission
			Next  *string
		}](y, viewer, "/admissions?limit=3&cursor="+cursor)
		for _, x := range l.Items {
			if x.Password != "" {
				t.Errorf("the list shows the password of %s", x.Identity)
			}
			ids = append(ids, x.Identity)
		}
		if l.Next == nil {
			break
		}
		cursor = *l.Next
	}
	if !slices.Equal(ids, []event.StationID{"CP3", "CP4", "CP5", "X1"}) {
		t.Errorf("admitted %q", ids)
	}
	if a := y.ask(viewer, "GET", "/gateways/gw-1/desired", ""); a.status != http.StatusOK || strings.Contains(string(a.body), "argon2") {
		t.Errorf("a viewer sees hashes: %s", a.body)
	}
	if a := y.ask(admin, "GET", "/gateways/gw-1/desired", ""); !strings.Contains(string(a.body), "argon2") {
		t.Errorf("an admin sees no hashes: %s", a.body)
	}
	if a := y.ask(stranger, "DELETE", "/admissions/"+first.ID, ""); a.status != http.StatusNotFound {
		t.Errorf("a stranger withdraws: %d", a.status)
	}
	if a := y.ask(admin, "DELETE", "/admissions/"+first.ID, ""); a.status != http.StatusNoContent {
		t.Errorf("withdraw: %d: %s", a.status, a.body)
	}
	if _, there := section()["X1"]; there || len(section()) != 3 || !slices.Contains(waiting(), "X1") {
		t.Errorf("withdrawn: %+v, waiting %q", section(), waiting())
	}
}

func TestRecording(t *testing.T) {
	y := open(t)
	y.day()
	station := fleet.StationID("gw-1", "CP1")
	const content = `{"time":"2026-11-22T06:00:00Z","direction":"in","frame":[2,"1","Heartbeat",{}]}` + "\n"
	id := y.bring(`{"type":"record","params":{"station":"`+station+`","from":"2026-11-22T06:00:00Z"}}`, content)
	f := read[fleet.File](y, viewer, "/recordings/"+id)
	if f.Gateway != "gw-1" || f.Identity != "CP1" || f.Station != station || f.Size != int64(len(content)) || f.To == nil || f.From == nil || f.Command == "" {
		t.Errorf("recording %+v", f)
	}
	c, err := y.store.Command(t.Context(), fleet.Scope{Tenant: fleet.DefaultTenant}, f.Command)
	if err != nil || c.Station != "" || c.Gateway != "gw-1" || c.Target != station || !strings.Contains(string(c.Params), `"station":"CP1"`) {
		t.Errorf("command %+v, %v", c, err)
	}
	a := y.ask(viewer, "GET", "/recordings/"+id+"/content", "")
	if string(a.body) != content || a.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("content %q of %s", a.body, a.header.Get("Content-Type"))
	}
	for _, who := range []string{stranger} {
		for _, path := range []string{"/recordings/" + id, "/recordings/" + id + "/content"} {
			if a := y.ask(who, "GET", path, ""); a.status != http.StatusNotFound {
				t.Errorf("%s sees %s: %d", who, path, a.status)
			}
		}
	}
	// A station that its gateway refuses is none of the manager's, and may be
	// recorded all the same.
	if c := y.order(`{"type":"record","gateway":"gw-1","params":{"station":"X1"}}`); !strings.Contains(string(c.Params), "/files/") {
		t.Errorf("command %s", c.Params)
	}
	for _, bad := range []string{`{"type":"record","params":{"station":"X1"}}`, `{"type":"record","params":{"station":"CP1"}}`, `{"type":"record","gateway":"gw-1"}`} {
		if a := y.ask(operator, "POST", "/commands", bad); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d: %s", bad, a.status, a.body)
		}
	}
	// One's own address stays as it is.
	if c := y.order(`{"type":"get_log","station":"` + station + `","params":{"kind":"security","url":"ftp://host/x"}}`); !strings.Contains(string(c.Params), `"ftp://host/x"`) {
		t.Errorf("command %s", c.Params)
	}
	list := y.ask(viewer, "GET", "/commands", "")
	if strings.Contains(string(list.body), y.url+"/files/") && !strings.Contains(string(list.body), "/files/…") {
		t.Errorf("the list tells addresses: %s", list.body)
	}
}

// TestSessionTimeline: whoever told it, in the order of time, each thing once.
func TestSessionTimeline(t *testing.T) {
	y := open(t)
	y.day()
	s := read[fleet.Session](y, viewer, "/sessions/"+string(northSession))
	plug := event.Address{Station: "CP1", EVSE: 1, Connector: 1}
	began := *s.Started
	y.happen("gw-1", event.LaneEvents,
		event.Draft{Address: plug, Time: began.Add(-3 * time.Second), Data: &event.TokenAuthorized{Token: *s.Token, Authorization: event.Authorization{Decision: "accepted", By: "cloud"}, Context: "authorize"}},
		event.Draft{Address: event.Address{Station: "CP1", EVSE: 2, Connector: 1}, Time: began.Add(time.Second), Data: &event.DataReceived{Action: "elsewhere"}},
		event.Draft{Address: event.Address{Station: "CP1"}, Time: began.Add(2 * time.Second), Data: &event.StationSecurity{Event: "SettingSystemTime"}},
		event.Draft{Address: event.Address{Station: "CP1"}, Time: began.Add(-time.Hour), Data: &event.DataReceived{Action: "long before"}},
		event.Draft{Address: plug, Time: began.Add(time.Minute), Data: &event.SessionUpdated{Session: northSession, Transaction: "1", ChargingState: "charging"}},
	)
	line := func(after time.Duration, direction, frame string) string {
		return fmt.Sprintf(`{"time":%q,"direction":%q,"frame":%s}`+"\n", began.Add(after).Format("2006-01-02T15:04:05.000000Z"), direction, frame)
	}
	frames := line(-2*time.Second, "in", `[2,"7","StartTransaction",{}]`) + line(-time.Second, "out", `[3,"7",{}]`) +
		line(-time.Hour, "in", `[2,"1","Old",{}]`) + "nonsense\n" + line(3*time.Hour, "in", `[2,"9","Later",{}]`)
	for range 2 { // two recordings hold the same
		y.bring(`{"type":"record","gateway":"gw-1","params":{"station":"CP1"}}`, frames)
	}
	stop, err := y.store.AddCommand(t.Context(), fleet.Command{
		Command: event.Command{ID: "0197f3c2-0000-7000-8000-00000000000c", Type: event.CommandStop, Station: "CP1", EVSE: 1, Params: []byte(`{}`), Expires: began.Add(time.Hour)},
		Tenant:  fleet.DefaultTenant, Gateway: "gw-1", Created: began.Add(9 * time.Second),
	}, "", "")
	y.must(err)
	moved, err := y.store.MoveCommand(t.Context(), stop.ID, event.StateSent, "", began.Add(10*time.Second))
	if err != nil || !moved {
		t.Fatal(moved, err)
	}
	y.happen("gw-1", event.LaneEvents, event.Draft{Address: plug, Time: began.Add(11 * time.Second), Data: &event.CommandUpdated{Command: stop.ID, State: event.StateSucceeded, Reason: "it has stopped"}})
	tell := func(i api.SessionItem) string {
		switch i.Kind {
		case "event":
			return "event " + strings.TrimPrefix(string(i.Event.Type), "chargeyard.")
		case "status":
			return "status " + i.Status.Status
		case "decision":
			return "decision " + i.Decision.Decision
		case "command":
			return "command " + string(i.Command.State)
		case "frame":
			return "frame " + i.Frame.Direction + " " + string(i.Frame.Frame)
		}
		return i.Kind
	}
	want := []string{
		"event station.booted", "status available", "status preparing", "decision accepted", `frame in [2,"7","StartTransaction",{}]`, `frame out [3,"7",{}]`,
		"event session.started", "status charging", "event station.security", "command queued", "command sent", "command succeeded", "event session.updated",
		"event session.ended", "status finishing",
	}
	for _, size := range []string{"1000", "1", "4"} {
		var got []string
		var before time.Time
		for cursor := ""; ; {
			l := read[struct {
				Items []api.SessionItem
				Next  *string
			}](y, viewer, "/sessions/"+string(northSession)+"/timeline?limit="+size+"&cursor="+cursor)
			for _, i := range l.Items {
				if i.Time.Before(before) {
					t.Errorf("%s comes before the one before", tell(i))
				}
				before = i.Time
				if text := tell(i); text != "event station.connected" && text != "event gateway.started" {
					got = append(got, text)
				}
			}
			if l.Next == nil {
				break
			}
			cursor = *l.Next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s at a time:\n got %q\nwant %q", size, got, want)
		}
	}
	only := read[struct{ Items []api.SessionItem }](y, viewer, "/sessions/"+string(northSession)+"/timeline?kind=frame,decision").Items
	if len(only) != 3 {
		t.Errorf("frames and decisions: %d, want 3", len(only))
	}
}

// TestTimelineOfNeighbours: sessions that follow each other closely keep apart
// what happened.
func TestTimelineOfNeighbours(t *testing.T) {
	y := open(t)
	plug := event.Address{Station: "CP1", EVSE: 1, Connector: 1}
	began := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	sessions := []event.SessionID{"0197f3c2-0000-7000-8000-0000000000a1", "0197f3c2-0000-7000-8000-0000000000a2", "0197f3c2-0000-7000-8000-0000000000a3"}
	for i, id := range sessions {
		at := began.Add(time.Duration(i) * time.Minute)
		card := event.Token{Type: "rfid", Value: fmt.Sprint("CARD", i)}
		y.happen("gw-1", event.LaneEvents,
			event.Draft{Address: plug, Time: at, Data: &event.TokenAuthorized{Token: card, Authorization: event.Authorization{Decision: "accepted", By: "cloud"}, Context: "authorize"}},
			event.Draft{Address: plug, Time: at.Add(time.Second), Data: &event.SessionStarted{Session: id, Transaction: fmt.Sprint(i), Token: &card}},
			event.Draft{Address: plug, Time: at.Add(30 * time.Second), Data: &event.SessionEnded{Session: id, Transaction: fmt.Sprint(i), Reason: "local"}},
		)
	}
	for i, want := range [][]string{{"CARD0", "CARD1"}, {"CARD1", "CARD2"}, {"CARD2"}} {
		var got []string
		for _, item := range read[struct{ Items []api.SessionItem }](y, viewer, "/sessions/"+string(sessions[i])+"/timeline?kind=decision").Items {
			got = append(got, item.Decision.Token.Value)
		}
		if !slices.Equal(got, want) { // what comes between two belongs to either
			t.Errorf("session %d: %q, want %q", i, got, want)
		}
	}
}

// TestRevoked: a token that is taken away ends its stream.
func TestRevoked(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a pulse of the stream")
	}
	y := open(t)
	l := y.listen(viewer, "")
	y.must(y.store.DeleteAccess(t.Context(), fleet.DefaultTenant, "v"))
	for deadline := time.After(30 * time.Second); ; {
		select {
		case _, more := <-l.messages:
			if !more {
				return
			}
		case <-deadline:
			t.Fatal("the stream goes on")
		}
	}
}

func unpadded(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

func decoded(text string) []byte {
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return b
}
