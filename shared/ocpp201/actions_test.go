package ocpp201_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// TestActions checks the table against the messages: every action with its
// pair, in the numbers of the specification.
func TestActions(t *testing.T) {
	directions, blocks := map[ocpp201.Direction]int{}, map[ocpp201.Block]int{}
	for _, a := range ocpp201.Actions {
		directions[a.Direction]++
		blocks[a.Block]++
		request, ok := ocpp201.NewRequest(a.Name)
		if !ok || request.Action() != a.Name {
			t.Errorf("%s: request %T, %v", a.Name, request, ok)
			continue
		}
		response, ok := ocpp201.NewResponse(a.Name)
		if !ok || response.Action() != a.Name || request.NewResponse().Action() != a.Name {
			t.Errorf("%s: response %T, %v", a.Name, response, ok)
		}
		if got, ok := ocpp201.Lookup(a.Name); !ok || got != a {
			t.Errorf("%s: looked up %+v, %v", a.Name, got, ok)
		}
	}
	if directions[ocpp201.FromStation] != 24 || directions[ocpp201.FromServer] != 39 || directions[ocpp201.FromStation|ocpp201.FromServer] != 1 || len(ocpp201.Actions) != 64 {
		t.Errorf("directions %v of %d actions", directions, len(ocpp201.Actions))
	}
	if len(blocks) != 16 || blocks["A"] != 3 || blocks["K"] != 9 || blocks["O"] != 4 {
		t.Errorf("blocks %v", blocks)
	}
	for _, unknown := range []string{"", "heartbeat", "StartTransaction"} {
		if _, ok := ocpp201.NewRequest(unknown); ok {
			t.Errorf("a request for %q", unknown)
		}
		if _, ok := ocpp201.NewResponse(unknown); ok {
			t.Errorf("a response for %q", unknown)
		}
		if _, ok := ocpp201.Lookup(unknown); ok {
			t.Errorf("%q is known", unknown)
		}
	}
}
