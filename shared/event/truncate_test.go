package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestAppendTruncatedTail(t *testing.T) {
	long := strings.Repeat("ä\"", 60<<10)
	many := make([]event.Variable, 20000)
	for i := range many {
		many[i] = event.Variable{Component: "Ocpp16", Variable: "Key", Value: strings.Repeat("v", i%200)}
	}
	wide := map[string]string{}
	for i := range 9000 {
		wide[strings.Repeat("k", i%70)+string(rune('a'+i%26))+time.Duration(i).String()] = "value"
	}
	wideJSON, err := json.Marshal(wide)
	if err != nil {
		t.Fatal(err)
	}
	number := json.RawMessage(`{"n":12345678901234567890,"text":"` + strings.Repeat("x", 70<<10) + `"}`)
	tests := []struct {
		name string
		data event.Payload
	}{
		{"long text", &event.DataReceived{Action: "DataTransfer", Vendor: "v", Text: long}},
		{"long list", &event.StationConfiguration{Variables: many, Command: "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55"}},
		{"wide object", &event.DataReceived{Action: "Foo", Payload: wideJSON}},
		{"large number stays", &event.DataReceived{Action: "Foo", Payload: number}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := event.Draft{
				Address: event.Address{Station: "CP 1", EVSE: 1}, Time: time.Now(), Recorded: time.Now(),
				Boot: "boot", Clock: event.ClockSynced, Data: tt.data,
			}
			if _, err := event.AppendTail(nil, "gw-1", &d); !errors.Is(err, event.ErrTooLarge) {
				t.Fatalf("AppendTail: got %v, want ErrTooLarge", err)
			}
			cut, err := event.AppendTruncatedTail([]byte("before"), "gw-1", &d, "large/x.json")
			if err != nil {
				t.Fatal(err)
			}
			tail, ok := strings.CutPrefix(string(cut), "before")
			if !ok {
				t.Fatal("what stood before was not kept")
			}
			whole := append(event.AppendHead(nil, event.ID{Stream: "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55", Sequence: 1}), tail...)
			if len(whole) > event.MaxSize {
				t.Errorf("got %d bytes, want at most %d", len(whole), event.MaxSize)
			}
			var e event.Event
			if err := json.Unmarshal(whole, &e); err != nil {
				t.Fatal(err)
			}
			p, err := e.Decode()
			if err != nil {
				t.Fatal(err)
			}
			if !e.Truncated {
				t.Error("not marked truncated")
			}
			switch p := p.(type) {
			case *event.DataReceived:
				if want := tt.data.(*event.DataReceived).Action; p.Action != want {
					t.Errorf("action: got %q, want %q", p.Action, want)
				}
				if tt.name == "large number stays" && !strings.Contains(string(p.Payload), "12345678901234567890") {
					t.Errorf("number changed: %.80s", p.Payload)
				}
			case *event.StationConfiguration:
				if len(p.Variables) == 0 || p.Command != "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55" {
					t.Errorf("got %d variables, command %q", len(p.Variables), p.Command)
				}
			}
		})
	}
}
