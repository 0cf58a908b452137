package v21_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v21"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// Whatever a station says, it is answered once, with what the schema of 2.1
// allows.
func FuzzHandle(f *testing.F) {
	for _, m := range messages {
		f.Add(m.action, m.payload)
	}
	y := ocpptest.Start(f, ocpptest.Config(), site.Config{}, quiet, v21.New())
	f.Fuzz(func(t *testing.T, action, payload string) {
		info, known := ocpp21.Lookup(action)
		if !known || info.Send || !json.Valid([]byte(payload)) {
			return
		}
		s := y.ConnectAs(t, "ocpp2.1", "FUZZ", nil)
		s.Send(`[2,"1","` + action + `",` + payload + `]`)
		answer, err := s.Next()
		if err != nil {
			t.Fatalf("%s %q ended the connection: %v", action, payload, err)
		}
		if rest, ok := strings.CutPrefix(answer, `[3,"1",`); ok {
			checkAnswer(t, action, strings.TrimSuffix(rest, "]"))
		} else if !strings.HasPrefix(answer, `[4,"1",`) {
			t.Errorf("%s %q was answered %s", action, payload, answer)
		}
	})
}

// Whatever a station answers to an order, the conversation goes on.
func FuzzAnswer(f *testing.F) {
	for i, o := range orders {
		answer := answers[o.action]
		if answer == "" {
			answer = `{"status":"Accepted"}`
		}
		f.Add(i, answer)
	}
	y := ocpptest.Start(f, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v21.New())
	number := 0
	f.Fuzz(func(t *testing.T, which int, answer string) {
		if which < 0 || which >= len(orders) || !json.Valid([]byte(answer)) || strings.HasPrefix(answer, "!") {
			return
		}
		o := orders[which]
		number++
		id := event.StationID("FUZZ-" + strconv.Itoa(number%50))
		s := y.ConnectAs(t, "ocpp2.1", string(id), func(string, json.RawMessage) string { return answer })
		s.Call("Heartbeat", `{}`)
		c := event.Command{ID: event.CommandID("f" + strconv.Itoa(number)), Type: o.kind, Station: id, EVSE: o.evse, Expires: time.Now().Add(time.Hour), Params: json.RawMessage(o.params)}
		if o.kind == event.CommandCall {
			c.Params = json.RawMessage(`{"protocol":"ocpp2.1","action":"` + o.action + `","payload":` + o.params + `}`)
		}
		if err := y.Site.Execute(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		y.Journal.Wait(t, "outcome of "+o.action+" answered "+answer, func(d event.Draft) bool {
			e, ok := d.Data.(*event.CommandUpdated)
			return ok && e.Command == c.ID && e.State != event.StateSent && e.State != event.StateQueued
		})
		s.Send(`[2,"next","Heartbeat",{}]`)
		for {
			frame, err := s.Next()
			if err != nil {
				t.Fatalf("%s answered %q ended the conversation: %v", o.action, answer, err)
			}
			if strings.HasPrefix(frame, `[3,"next",`) {
				return
			}
			if !strings.HasPrefix(frame, `[5,`) { // the refusal of the answer
				t.Fatalf("the gateway sent %s", frame)
			}
		}
	})
}
