package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// command queues a command for station CP-1 of a gateway.
func command(t testing.TB, store fleet.Store, g event.GatewayID, id event.CommandID) fleet.Command {
	t.Helper()
	c, err := store.AddCommand(t.Context(), fleet.Command{
		Command: event.Command{ID: id, Type: event.CommandUnlock, Station: "CP-1", EVSE: 1, Params: json.RawMessage(`{"connector":1}`), Expires: after(time.Hour), IssuedBy: "ann"},
		Tenant:  fleet.DefaultTenant, Gateway: g, Created: began,
	}, "", "")
	must(t, err)
	return c
}

func testCommands(t *testing.T, fresh func(t testing.TB) Opener) {
	// A step is the manager's own ("sent!") or the gateway's ("sent").
	tests := []struct {
		name  string
		steps []string
		want  event.CommandState
		seen  []event.CommandState
	}{
		{"queued", nil, "queued", []event.CommandState{"queued"}},
		{"its whole life", []string{"sent!", "delivered", "accepted", "succeeded"}, "succeeded", []event.CommandState{"queued", "sent", "delivered", "accepted", "succeeded"}},
		{"sent is not sent again", []string{"sent!", "sent!"}, "sent", []event.CommandState{"queued", "sent"}},
		{"sent does not undo", []string{"delivered", "sent!"}, "delivered", []event.CommandState{"queued", "delivered"}},
		{"late words do not undo", []string{"sent!", "accepted", "delivered"}, "accepted", nil},
		{"expires unsent", []string{"expired!"}, "expired", nil},
		{"what was sent is the gateway's to end", []string{"sent!", "expired!", "cancelled!"}, "sent", []event.CommandState{"queued", "sent"}},
		{"the gateway expires it", []string{"sent!", "expired"}, "expired", nil},
		{"cancelled unsent", []string{"cancelled!"}, "cancelled", nil},
		{"cancelled, and yet it runs", []string{"cancelled!", "delivered", "succeeded"}, "succeeded", nil},
		{"expired, and yet it runs", []string{"expired!", "accepted"}, "accepted", nil},
		{"an end is an end", []string{"sent!", "rejected", "succeeded"}, "rejected", nil},
		{"except an indeterminate one", []string{"sent!", "indeterminate", "succeeded"}, "succeeded", nil},
		{"which does not replace another", []string{"sent!", "succeeded", "indeterminate"}, "succeeded", nil},
		{"nothing after the end", []string{"sent!", "succeeded", "accepted", "sent!"}, "succeeded", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, g := start(t, fresh)
			c := command(t, store, g.ID, "c-1")
			for i, step := range tt.steps {
				at := after(time.Duration(i+1) * time.Minute)
				if state := event.CommandState(step[:len(step)-1]); step[len(step)-1] == '!' {
					_, err := store.MoveCommand(t.Context(), c.ID, state, "because", at)
					must(t, err)
				} else {
					g.Say(At("CP-1", 1), at, &event.CommandUpdated{Command: c.ID, State: event.CommandState(step), Reason: step})
					g.Deliver(t, store)
				}
			}
			check := func(what string) {
				t.Helper()
				got := ok(store.Command(t.Context(), all, c.ID))
				if got.Status != tt.want {
					t.Errorf("%s: %s, want %s", what, got.Status, tt.want)
				}
				var seen []event.CommandState
				for _, s := range got.Steps {
					seen = append(seen, s.State)
				}
				if tt.seen != nil && !slices.Equal(seen, tt.seen) {
					t.Errorf("%s: steps %v, want %v", what, seen, tt.seen)
				}
				owed := ok(store.OwedCommands(t.Context(), g.ID))
				if (len(owed) == 1) == tt.want.Final() {
					t.Errorf("%s: owed %v", what, owed)
				}
			}
			check("as it comes")
			must(t, store.Rebuild(t.Context(), nil))
			check("rebuilt")
		})
	}
	t.Run("as it was given", func(t *testing.T) {
		store, g := start(t, fresh)
		c := command(t, store, g.ID, "c-1")
		if c.Target != fleet.StationID(g.ID, "CP-1") || c.Status != event.StateQueued || string(c.Params) != `{"connector":1}` || !c.Expires.Equal(after(time.Hour)) || c.IssuedBy != "ann" {
			t.Errorf("got %+v", c)
		}
		g.Say(At("CP-1", 1), after(time.Minute), &event.CommandUpdated{Command: c.ID, State: event.StateSucceeded, Reason: "unlocked", Result: json.RawMessage(`{"a":1}`)})
		g.Deliver(t, store)
		c = ok(store.Command(t.Context(), all, c.ID))
		if c.Reason != "unlocked" || string(c.Result) != `{"a":1}` || !c.Updated.Equal(after(time.Minute)) {
			t.Errorf("got %+v", c)
		}
		_, err := store.MoveCommand(t.Context(), "c-9", event.StateSent, "", began)
		isNotFound(t, err)
		_, err = store.Command(t.Context(), all, "c-9")
		isNotFound(t, err)
	})
	t.Run("one key, one command", func(t *testing.T) {
		store, g := start(t, fresh)
		ask := func(id event.CommandID, key, body string) (fleet.Command, error) {
			return store.AddCommand(t.Context(), fleet.Command{
				Command: event.Command{ID: id, Type: event.CommandReset, Station: "CP-1", Expires: after(time.Hour)},
				Tenant:  fleet.DefaultTenant, Gateway: g.ID,
			}, key, body)
		}
		if c := ok(ask("c-1", "k", "b")); c.ID != "c-1" {
			t.Errorf("got %s", c.ID)
		}
		if c := ok(ask("c-2", "k", "b")); c.ID != "c-1" {
			t.Errorf("again: got %s, want the first", c.ID)
		}
		if _, err := ask("c-3", "k", "other"); !errors.Is(err, fleet.ErrConflict) {
			t.Errorf("another body: %v, want %v", err, fleet.ErrConflict)
		}
		if _, err := ask("c-1", "", "b"); !errors.Is(err, fleet.ErrConflict) {
			t.Errorf("an id twice: %v, want %v", err, fleet.ErrConflict)
		}
		of := func(tenant fleet.Tenant, key, body string) (fleet.Command, error) {
			return store.CommandOf(t.Context(), tenant, key, body)
		}
		if c := ok(of(fleet.DefaultTenant, "k", "b")); c.ID != "c-1" {
			t.Errorf("looked up: got %s", c.ID)
		}
		if _, err := of(fleet.DefaultTenant, "k", "other"); !errors.Is(err, fleet.ErrConflict) {
			t.Errorf("looked up with another body: %v, want %v", err, fleet.ErrConflict)
		}
		_, err := of(fleet.DefaultTenant, "none", "b")
		isNotFound(t, err)
		_, err = of("other", "k", "b")
		isNotFound(t, err)
		if n := len(ok(store.Commands(t.Context(), all, fleet.CommandFilter{}, fleet.Page{})).Items); n != 1 {
			t.Errorf("%d commands, want 1", n)
		}
	})
	t.Run("filters", func(t *testing.T) {
		store, g := start(t, fresh)
		add(t, store, "gw-2")
		command(t, store, g.ID, "c-1")
		command(t, store, "gw-2", "c-2")
		_, err := store.MoveCommand(t.Context(), "c-2", event.StateSent, "", began)
		must(t, err)
		for _, tt := range []struct {
			name   string
			filter fleet.CommandFilter
			want   string
		}{
			{"all", fleet.CommandFilter{}, "[c-2 c-1]"},
			{"gateway", fleet.CommandFilter{Gateway: "gw-1"}, "[c-1]"},
			{"identity", fleet.CommandFilter{Station: "CP-1"}, "[c-2 c-1]"},
			{"manager's id", fleet.CommandFilter{Station: fleet.StationID("gw-2", "CP-1")}, "[c-2]"},
			{"status", fleet.CommandFilter{Status: event.StateSent}, "[c-2]"},
			{"type", fleet.CommandFilter{Type: event.CommandReset}, "[]"},
		} {
			got := []event.CommandID{}
			for _, c := range ok(store.Commands(t.Context(), all, tt.filter, fleet.Page{})).Items {
				got = append(got, c.ID)
			}
			if fmt.Sprint(got) != tt.want {
				t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
			}
		}
	})
	t.Run("word of a command that a restore has lost", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1", 1), began, &event.CommandUpdated{Command: "c-9", State: event.StateSucceeded})
		g.Deliver(t, store)
		if n := len(ok(store.DeadLetters(t.Context(), all, fleet.Page{})).Items); n != 0 {
			t.Errorf("%d dead letters, want none", n)
		}
	})
}
