package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestSubject(t *testing.T) {
	tests := []struct {
		address event.Address
		subject string
	}{
		{event.Address{}, ""},
		{event.Address{Station: "CP-7"}, "stations/CP-7"},
		{event.Address{Station: "CP-7", EVSE: 2}, "stations/CP-7/evses/2"},
		{event.Address{Station: "r pc/1|6", EVSE: 1, Connector: 1}, "stations/r%20pc%2F1%7C6/evses/1/connectors/1"},
		{event.Address{Station: "Säule \"1\""}, "stations/S%C3%A4ule%20%221%22"},
	}
	for _, tt := range tests {
		if got := tt.address.Subject(); got != tt.subject {
			t.Errorf("%+v is %q, want %q", tt.address, got, tt.subject)
		}
		if got, err := event.ParseSubject(tt.subject); err != nil || got != tt.address {
			t.Errorf("%q reads as %+v, %v; want %+v", tt.subject, got, err, tt.address)
		}
	}
	for _, bad := range []string{"stations", "stations/", "station/x", "stations/x/evses", "stations/x/evses/0", "stations/x/evses/a", "stations/x/connectors/1", "stations/%zz", "stations/x/evses/1/connectors/1/y/1"} {
		if a, err := event.ParseSubject(bad); err == nil {
			t.Errorf("%q reads as %+v, want an error", bad, a)
		}
	}
}

// An event that is put together from head and tail reads back whole, whatever
// stands in it.
func TestAppend(t *testing.T) {
	at := time.Date(2026, 11, 22, 6, 1, 2, 345e6, time.UTC)
	d := event.Draft{
		Address: event.Address{Station: `a"b\c`, EVSE: 1}, Time: at, Recorded: at.Add(time.Second),
		Boot: "b", Clock: event.ClockUnsynced, Data: &event.StationStatus{Status: event.StatusFaulted, Info: "\x00\u2028<>&"},
	}
	id := event.ID{Stream: "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55", Sequence: 42}
	body, err := event.AppendTail(event.AppendHead(nil, id), "gw-1", &d)
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if got, err := e.EventID(); err != nil || got != id {
		t.Errorf("id reads as %v, %v", got, err)
	}
	if e.Source != "/gateways/gw-1" || !e.Time.Equal(at) || !e.Recorded.Equal(at.Add(time.Second)) || e.Clock != event.ClockUnsynced {
		t.Errorf("envelope reads as %+v", e)
	}
	p, err := e.Decode()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *p.(*event.StationStatus), *d.Data.(*event.StationStatus); got != want {
		t.Errorf("data reads as %+v, want %+v", got, want)
	}
}

func TestAppendTooLarge(t *testing.T) {
	d := event.Draft{Data: &event.DataReceived{Text: strings.Repeat("x", event.MaxSize)}}
	before := []byte("kept")
	b, err := event.AppendTail(before, "gw-1", &d)
	if !errors.Is(err, event.ErrTooLarge) || string(b) != "kept" {
		t.Errorf("%d bytes, %v; want what was there and ErrTooLarge", len(b), err)
	}
}

func TestEventIDRefuses(t *testing.T) {
	for _, e := range []event.Event{
		{},
		{ID: "s/1", Sequence: "1"},
		{ID: "/0000000000000001", Sequence: "0000000000000001"},
		{ID: "s/0000000000000001", Sequence: "0000000000000002"},
		{ID: "s/000000000000000g", Sequence: "000000000000000g"},
	} {
		if id, err := e.EventID(); err == nil {
			t.Errorf("%q, %q reads as %v", e.ID, e.Sequence, id)
		}
	}
}

// Every type has a payload that answers to its name, and a lane.
func TestTypes(t *testing.T) {
	for _, typ := range event.Types {
		if p := event.New(typ); p == nil || p.EventType() != typ {
			t.Errorf("%s has payload %T", typ, p)
		}
		want := event.LaneEvents
		if strings.HasSuffix(string(typ), ".sampled") || typ == event.TypeStreamThinned {
			want = event.LaneSamples
		}
		if typ.Lane() != want {
			t.Errorf("%s travels on %s", typ, typ.Lane())
		}
	}
	e := event.Event{Type: "chargeyard.unheard.of", Data: json.RawMessage("{}")}
	if _, err := e.Decode(); !errors.Is(err, event.ErrUnknownType) {
		t.Errorf("unknown type: %v", err)
	}
}

// A later state of a command is never undone by an earlier one.
func TestCommandStateRank(t *testing.T) {
	life := []event.CommandState{event.StateQueued, event.StateSent, event.StateDelivered, event.StateAccepted, event.StateSucceeded}
	for i := 1; i < len(life); i++ {
		if life[i-1].Rank() >= life[i].Rank() || life[i-1].Final() {
			t.Errorf("%s does not come before %s", life[i-1], life[i])
		}
	}
	for _, s := range []event.CommandState{event.StateRejected, event.StateUnsupported, event.StateFailed, event.StateExpired, event.StateCancelled, event.StateIndeterminate} {
		if !s.Final() || s.Rank() != event.StateSucceeded.Rank() {
			t.Errorf("%s is not an end", s)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	at := time.Date(2026, 11, 22, 6, 1, 2, 345e6, time.UTC)
	wh := int64(1520)
	d := event.Draft{
		Address: event.Address{Station: "CP-7", EVSE: 1, Connector: 1}, Time: at, Recorded: at, Boot: "0197f3c2", Clock: event.ClockSynced,
		Data: &event.SessionStarted{Session: "0197f3c2-7a01-7d11-9a3b-5d1f5a0c9e77", Transaction: "4711", Protocol: "ocpp1.6", Token: &event.Token{Type: "rfid", Value: "04A1B2C3"}, MeterWh: &wh},
	}
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = event.AppendTail(buf[:0], "gw-1", &d); err != nil {
			b.Fatal(err)
		}
	}
}
