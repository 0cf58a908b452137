package ocpp21_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// TestActions checks the table against the messages: every action with its
// pair, in the numbers of the specification.
func TestActions(t *testing.T) {
	directions, blocks := map[ocpp21.Direction]int{}, map[ocpp21.Block]int{}
	for _, a := range ocpp21.Actions {
		directions[a.Direction]++
		blocks[a.Block]++
		request, ok := ocpp21.NewRequest(a.Name)
		if !ok || request.Action() != a.Name {
			t.Errorf("%s: request %T, %v", a.Name, request, ok)
			continue
		}
		if a.Send {
			if _, ok := ocpp21.NewResponse(a.Name); ok || request.NewResponse() != nil || a.Name != ocpp21.ActionNotifyPeriodicEventStream {
				t.Errorf("%s: has an answer", a.Name)
			}
			continue
		}
		response, ok := ocpp21.NewResponse(a.Name)
		if !ok || response.Action() != a.Name || request.NewResponse().Action() != a.Name {
			t.Errorf("%s: response %T, %v", a.Name, response, ok)
		}
		if got, ok := ocpp21.Lookup(a.Name); !ok || got != a {
			t.Errorf("%s: looked up %+v, %v", a.Name, got, ok)
		}
	}
	if directions[ocpp21.FromStation] != 36 || directions[ocpp21.FromServer] != 54 || directions[ocpp21.FromStation|ocpp21.FromServer] != 1 || len(ocpp21.Actions) != 91 {
		t.Errorf("directions %v of %d actions", directions, len(ocpp21.Actions))
	}
	if len(blocks) != 19 || blocks["A"] != 3 || blocks["K"] != 13 || blocks["O"] != 4 {
		t.Errorf("blocks %v", blocks)
	}
	for _, unknown := range []string{"", "heartbeat", "StartTransaction"} {
		if _, ok := ocpp21.NewRequest(unknown); ok {
			t.Errorf("a request for %q", unknown)
		}
		if _, ok := ocpp21.NewResponse(unknown); ok {
			t.Errorf("a response for %q", unknown)
		}
		if _, ok := ocpp21.Lookup(unknown); ok {
			t.Errorf("%q is known", unknown)
		}
	}
}
