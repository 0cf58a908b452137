package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// What an engineer asks for in the morning: the variables of a station, whatever
// it speaks, and everything about one session in one list, frames included.
func TestSessionTimeline(t *testing.T) {
	h := newHouse(t, plan{})
	h.online()
	h.admit("CAFE01")
	for protocol, id := range map[string]string{"ocpp1.6": "RPC-16", "ocpp2.0.1": "RPC-201", "ocpp2.1": "RPC-21"} {
		t.Run(protocol, func(t *testing.T) {
			s := newRPCStation(t, h.ocppURL(), id, protocol)
			from := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
			strictly(t, h, s, []order{
				{typ: "get_configuration", params: p{}},
				{typ: "start", evse: 1, params: p{"token": p{"type": "rfid", "value": "CAFE01"}}},
				{typ: "stop", evse: 1, params: p{}},
			})
			eventually(t, "the variables are in the list", func() error {
				all, err := list[struct {
					Component, Variable, Value string
				}](h.api, "/stations/"+h.station(t, id).ID+"/variables", nil)
				if err == nil && len(all) < 5 {
					err = fmt.Errorf("%+v", all)
				}
				return err
			})

			var recorded command
			err := h.api.do(http.MethodPost, "/commands", p{
				"type": "record", "gateway": gatewayID, "expires": in(2 * time.Minute), "params": p{"station": id, "from": from, "to": in(time.Minute)},
			}, &recorded)
			if err != nil {
				t.Fatal(err)
			}
			if c := h.api.outcome(t, recorded.ID, 2*time.Minute); c.Status != "succeeded" {
				t.Fatalf("record came to %s (%s)", c.Status, c.Reason)
			}
			sessions := must[session](t, h.api, "/sessions", url.Values{"station": {id}})
			if len(sessions) != 1 {
				t.Fatalf("%d sessions, want 1", len(sessions))
			}
			kinds := map[string]int{}
			var last time.Time
			for _, e := range must[struct {
				Kind string
				Time time.Time
			}](t, h.api, "/sessions/"+sessions[0].ID+"/timeline", nil) {
				kinds[e.Kind]++
				if e.Time.Before(last) {
					t.Errorf("%s at %s comes after %s", e.Kind, e.Time, last)
				}
				last = e.Time
			}
			for _, kind := range []string{"event", "command", "frame"} {
				if kinds[kind] == 0 {
					t.Errorf("the timeline has %v, no %s", kinds, kind)
				}
			}
			s.check()
		})
	}
}

// station is the manager's row of a station.
func (h *house) station(t *testing.T, identity string) station {
	t.Helper()
	all := must[station](t, h.api, "/stations", url.Values{"identity": {identity}})
	if len(all) != 1 {
		t.Fatalf("%d stations are called %s, want 1", len(all), identity)
	}
	return all[0]
}
