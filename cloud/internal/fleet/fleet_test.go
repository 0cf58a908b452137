package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

var began = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

// TestStationID: the names are in links and in other people's databases.
func TestStationID(t *testing.T) {
	seen := map[string]bool{}
	for _, tt := range []struct {
		gateway  event.GatewayID
		identity event.StationID
		want     string
	}{
		{"gw-1", "CP-1", "stgwer3iv6j347qbss"},
		{"gw-2", "CP-1", ""},
		{"gw-1", "CP-2", ""},
		{"gw-1", "cp-1", ""},
		{"gw-1", "a/b ü", ""},
	} {
		got := StationID(tt.gateway, tt.identity)
		if tt.want != "" && got != tt.want || len(got) != 18 || seen[got] || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Errorf("%s, %q: %s, want %s", tt.gateway, tt.identity, got, tt.want)
		}
		seen[got] = true
	}
}

// TestStanding has a line per pair of words about a command: what the second
// does to the first. "!" marks the manager's own.
func TestStanding(t *testing.T) {
	for _, tt := range []struct{ steps, want string }{
		{"", ""},
		{"queued!", "queued!"},
		{"queued! sent!", "sent!"},
		{"queued! sent! delivered", "delivered"},
		{"delivered sent!", "delivered"},
		{"accepted delivered", "accepted"},
		{"accepted accepted", "accepted2"},
		{"sent! sent!", "sent!"},
		{"sent! failed", "failed"},
		{"expired! delivered", "delivered"},
		{"expired! expired", "expired"},
		{"cancelled! succeeded", "succeeded"},
		{"cancelled! sent!", "cancelled!"},
		{"succeeded cancelled!", "succeeded"},
		{"succeeded accepted", "succeeded"},
		{"rejected succeeded", "rejected"},
		{"indeterminate succeeded", "succeeded"},
		{"indeterminate indeterminate", "indeterminate"},
		{"succeeded indeterminate", "succeeded"},
	} {
		var steps []StepRow
		for i, w := range strings.Fields(tt.steps) {
			state, own := strings.CutSuffix(w, "!")
			s := StepRow{State: event.CommandState(state), Since: int64(i + 1)}
			if own {
				s.Since = 0
			}
			steps = append(steps, s)
		}
		got := ""
		if s := Standing(steps); s != nil {
			got = string(s.State)
			if s.Since == 0 {
				got += "!"
			}
			if s.Since == 2 && tt.want == got+"2" {
				got += "2"
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.steps, got, tt.want)
		}
	}
}

func TestContradicts(t *testing.T) {
	moment := func(minute int, boot string) *Moment {
		return &Moment{At: began.Add(time.Duration(minute) * time.Minute), Boot: boot}
	}
	wh := func(n int64) *int64 { return &n }
	session := SessionRow{EVSE: 1, Started: moment(10, ""), MeterStartWh: wh(100), MeterWh: wh(500)}
	ended := session
	ended.Ended, ended.MeterStopWh = moment(30, ""), wh(900)
	inferred := ended
	inferred.Detail.EndFlags = []event.Flag{event.FlagInferred}
	for _, tt := range []struct {
		name   string
		row    SessionRow
		orphan SessionRow
		want   bool
	}{
		{"fits", session, SessionRow{Ended: moment(30, ""), MeterStopWh: wh(900)}, false},
		{"knows nothing", session, SessionRow{}, false},
		{"its EVSE", session, SessionRow{EVSE: 1}, false},
		{"another EVSE", session, SessionRow{EVSE: 2}, true},
		{"before the start", session, SessionRow{Ended: moment(9, "")}, true},
		{"before the start, without a clock", session, SessionRow{Ended: moment(9, "b")}, false},
		{"below the start", session, SessionRow{MeterStopWh: wh(99)}, true},
		{"below what was read since", session, SessionRow{MeterStopWh: wh(499)}, true},
		{"what was read since", session, SessionRow{MeterStopWh: wh(500)}, false},
		{"its own stop again", ended, SessionRow{Ended: moment(30, ""), MeterStopWh: wh(900)}, false},
		{"another stop", ended, SessionRow{Ended: moment(30, ""), MeterStopWh: wh(901)}, true},
		{"another time", ended, SessionRow{Ended: moment(31, ""), MeterStopWh: wh(900)}, true},
		{"after an inferred end", inferred, SessionRow{Ended: moment(31, ""), MeterStopWh: wh(950)}, false},
	} {
		if got := tt.row.contradicts(&tt.orphan); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFlags(t *testing.T) {
	row := SessionRow{Detail: SessionDetail{
		StartFlags: []event.Flag{event.FlagOffline, "new"}, UpdateFlags: []event.Flag{event.FlagGap}, EndFlags: []event.Flag{event.FlagInferred, event.FlagGap},
	}}
	if got, want := row.Flags(), []event.Flag{event.FlagRecovered, event.FlagInferred, event.FlagGap, event.FlagOffline, "new"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	row.Detail = SessionDetail{Begun: true}
	if got, err := json.Marshal(row.View().Flags); err != nil || string(got) != "[]" {
		t.Errorf("none: %s (%v), want an empty list", got, err)
	}
}

// events makes n numbered events of a few types.
func events(n int) *Batch {
	b := &Batch{Gateway: "gw-1", Lane: event.LaneEvents, Stream: "s"}
	for i := range n {
		id := event.ID{Stream: "s", Sequence: uint64(i + 1)}
		e := event.Event{
			ID: id.String(), Sequence: event.FormatSequence(id.Sequence), Source: "/gateways/gw-1", Time: began,
			Type: event.TypeStationStatus, Subject: fmt.Sprintf("stations/CP-%d/evses/1", i%7), Data: json.RawMessage(`{"status":"available"}`),
		}
		if i%3 == 0 {
			e.Type, e.Data = event.TypeSessionStarted, json.RawMessage(fmt.Sprintf(`{"session":"s-%d","transaction":"1","command":"c"}`, i))
		}
		if i%11 == 0 {
			e.Data = json.RawMessage(`[]`)
		}
		b.Events = append(b.Events, e)
	}
	return b
}

// TestRead: many hands read what one would.
func TestRead(t *testing.T) {
	b := events(10 * parallelFrom)
	many := Read(b)
	for i := range many {
		one := Read(&Batch{Gateway: b.Gateway, Lane: b.Lane, Stream: b.Stream, Events: b.Events[i : i+1]})[0]
		got := many[i]
		if fmt.Sprint(got.Err) != fmt.Sprint(one.Err) || got.ID != one.ID || got.Station != one.Station || got.Address != one.Address ||
			got.Session != one.Session || got.Command != one.Command || !reflect.DeepEqual(got.Payload, one.Payload) {
			t.Fatalf("event %d: %+v, want %+v", i, got, one)
		}
		if (i%11 == 0) != errors.Is(got.Err, ErrSenseless) || got.ID.Sequence != uint64(i+1) {
			t.Fatalf("event %d: %+v", i, got)
		}
	}
	if Read(&Batch{}) == nil {
		t.Error("nothing for no events, want an empty list")
	}
}

// FuzzRead: an event is either read or called senseless, whatever is in it.
func FuzzRead(f *testing.F) {
	f.Add("chargeyard.station.status", "stations/CP-1/evses/1/connectors/1", `{"status":"available"}`, int64(1), false)
	f.Add("chargeyard.session.sampled", "stations/CP%2F1", `{"session":"s","samples":[{"time":"2026-11-22T06:00:00Z","power_w":1}]}`, int64(1), false)
	f.Add("chargeyard.session.ended", "", `{"session":"s"}`, int64(0), true)
	f.Add("chargeyard.command.updated", "stations", `{"command":"c","state":"succeeded"}`, int64(-1), false)
	f.Fuzz(func(t *testing.T, kind, subject, data string, at int64, truncated bool) {
		for _, lane := range event.Lanes {
			b := &Batch{Gateway: "gw-1", Lane: lane, Stream: "s", Events: []event.Event{{
				ID: "s/0000000000000001", Sequence: "0000000000000001", Source: "/gateways/gw-1", Type: event.Type(kind), Subject: subject,
				Time: time.Unix(at, 0), Truncated: truncated, Data: json.RawMessage(data),
			}}}
			in := Read(b)[0]
			switch {
			case in.Err != nil && !errors.Is(in.Err, ErrSenseless):
				t.Errorf("error %v", in.Err)
			case in.Err == nil && in.Payload == nil && !truncated:
				t.Error("neither read nor senseless")
			case in.Payload != nil && in.Err == nil && in.Payload.EventType() != event.Type(kind):
				t.Errorf("read as %s", in.Payload.EventType())
			}
		}
	})
}
