package storetest

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// history has a gateway tell something of everything, and API and commander do
// their part between.
func history(t testing.TB, store fleet.Store, g *Gateway) {
	t.Helper()
	s := story{g, t, store}
	g.Say(event.Address{}, began, &event.GatewayStarted{Version: "1", Boot: g.Boot})
	g.Say(At("CP-1"), began, &event.StationConnected{Protocol: "ocpp1.6"})
	g.Say(At("CP-1"), began, &event.StationBooted{Vendor: "V", Model: "M", Registration: "accepted"})
	g.Say(At("CP-1", 1), began, &event.StationStatus{Status: event.StatusAvailable})
	g.Say(event.Address{}, began, &event.GatewayAlarm{Alarm: "disk_full", Severity: "critical", Text: "full"})
	g.Say(At("CP-1"), began, &event.StationConfiguration{Variables: named("Ocpp16", "a", "1", "b", "2")})
	g.Say(At("CP-1"), began, &event.StationConfiguration{Variables: named(fleet.ComponentDeviations, "bad_time", "3")})
	g.Say(At("CP-8"), began, &event.StationSecurity{Event: fleet.UnknownStation})
	g.Deliver(t, store)
	c := command(t, store, g.ID, event.CommandID("c-"+string(g.ID)))
	_, err := store.MoveCommand(t.Context(), c.ID, event.StateSent, "", after(time.Minute))
	must(t, err)
	s.started(1, "s-1-"+event.SessionID(g.ID), "7", 100)
	g.Say(At("CP-1", 1), after(2*time.Minute), &event.SessionSampled{Session: "s-1-" + event.SessionID(g.ID), Samples: []event.Sample{{Time: after(2 * time.Minute), PowerW: ptr(7e3)}}})
	g.Say(At("CP-1", 1), after(2*time.Minute), &event.StationStatus{Status: event.StatusCharging})
	g.Say(At("CP-1", 1), after(2*time.Minute), &event.CommandUpdated{Command: c.ID, State: event.StateDelivered})
	g.Say(At("CP-1", 1), after(2*time.Minute), &event.ProfileUpdated{Status: "effective", LimitA: ptr(16.0)})
	g.Deliver(t, store)
	g.Restart()
	g.Clock = event.ClockUnsynced
	g.Say(event.Address{}, began, &event.GatewayStarted{Version: "2", Boot: g.Boot})
	g.Say(At("CP-1"), after(time.Second), &event.StationConnected{Protocol: "ocpp1.6"})
	g.Say(At("CP-1"), after(time.Second), &event.StationConfiguration{Report: 1, Part: 1, More: true, Complete: true, Variables: named("Ocpp16", "b", "3")})
	g.Say(At("CP-1"), after(time.Second), &event.StationConfiguration{Report: 1, Part: 2, Complete: true, Variables: named("Ocpp16", "c", "3")})
	g.Say(At("CP-1"), after(time.Second), &event.StationConfiguration{Variables: named(fleet.ComponentDeviations, "bad_time", "1")})
	g.Say(At("CP-8"), after(time.Minute), &event.StationSecurity{Event: fleet.UnknownStation, Count: 2})
	g.Say(At("CP-1", 1), after(time.Minute), &event.StationStatus{Status: event.StatusFaulted, ErrorCode: "ground"})
	s.updated(2, "s-1-"+event.SessionID(g.ID), "7", 500)
	g.Deliver(t, store)
	g.Clock = event.ClockSynced
	g.Say(event.Address{}, after(time.Hour), &event.GatewayClock{Boot: g.Boot, OffsetMS: (50 * time.Minute).Milliseconds()})
	g.Say(event.Address{}, after(time.Hour), &event.GatewayAlarm{Alarm: "disk_full", Cleared: true})
	s.orphan(61, "s-2-"+event.SessionID(g.ID), "7", 900)
	s.started(62, "s-3-"+event.SessionID(g.ID), "8", 900)
	g.Say(At("CP-1", 1), after(62*time.Minute), &event.CommandUpdated{Command: c.ID, State: event.StateSucceeded})
	g.Say(At("CP-1", 1), after(63*time.Minute), &event.StationStatus{Status: event.StatusCharging})
	g.Say(At("CP-1", 1), after(63*time.Minute), &event.StationStatus{Status: ""}) // a dead letter
	g.Deliver(t, store)
	must(t, store.PutToken(t.Context(), fleet.Token{Tenant: fleet.DefaultTenant, Value: "T", Status: "accepted", Updated: began}))
	must(t, store.SetDesired(t.Context(), g.ID, wire.SectionSite, []byte(`{}`)))
	must(t, store.PutLocation(t.Context(), fleet.Location{ID: "berlin", Tenant: fleet.DefaultTenant}))
	must(t, store.AddAccess(t.Context(), fleet.Access{ID: "1", Tenant: fleet.DefaultTenant}, "sha"))
	g.Hello(t, store, g.Stream(event.LaneEvents).Summary(1))
}

func testRebuild(t *testing.T, fresh func(t testing.TB) Opener) {
	t.Run("shows the same", func(t *testing.T) {
		store, g := start(t, fresh)
		history(t, store, g)
		history(t, store, add(t, store, "gw-2"))
		want := Dump(t, store)
		var calls int
		var done, total int64
		must(t, store.Rebuild(t.Context(), func(d, n int64) { calls, done, total = calls+1, d, n }))
		same(t, "rebuilt", Dump(t, store), want)
		if calls == 0 || done != total || total < 30 {
			t.Errorf("progress %d of %d in %d calls", done, total, calls)
		}
		must(t, store.Rebuild(t.Context(), nil))
		same(t, "rebuilt again", Dump(t, store), want)
	})
	t.Run("leaves alone what the API made, positions and dead letters", func(t *testing.T) {
		store, g := start(t, fresh)
		history(t, store, g)
		incarnation := ok(store.Incarnation(t.Context()))
		must(t, store.Rebuild(t.Context(), nil))
		if got := ok(store.GatewaySecret(t.Context(), g.ID)); got != "hash" {
			t.Errorf("secret %q", got)
		}
		ok(store.Token(t.Context(), fleet.DefaultTenant, "T"))
		ok(store.Access(t.Context(), "sha"))
		if got := ok(store.Desired(t.Context(), g.ID)); len(got) != 1 {
			t.Errorf("desired %v", got)
		}
		if got := ok(store.Locations(t.Context(), all, fleet.Page{})).Items; len(got) != 1 {
			t.Errorf("locations %v", got)
		}
		if got := ok(store.DeadLetters(t.Context(), all, fleet.Page{})).Items; len(got) != 1 {
			t.Errorf("%d dead letters, want 1", len(got))
		}
		if got := ok(store.Incarnation(t.Context())); got != incarnation {
			t.Errorf("incarnation %s, was %s", got, incarnation)
		}
		if applied := g.again(t, store); applied != 0 {
			t.Errorf("%d events were applied again", applied)
		}
	})
	t.Run("goes on as before", func(t *testing.T) {
		var dumps []string
		for _, rebuild := range []bool{false, true} {
			store, g := start(t, fresh)
			history(t, store, g)
			if rebuild {
				must(t, store.Rebuild(t.Context(), nil))
			}
			g.Say(At("CP-1", 1), after(90*time.Minute), &event.StationStatus{Status: event.StatusAvailable})
			story{g, t, store}.ended(90, "s-3-gw-1", "8", 900, 2000)
			g.Deliver(t, store)
			dumps = append(dumps, Dump(t, store))
		}
		same(t, "rebuilt, then told more", dumps[1], dumps[0])
	})
	t.Run("nothing older than the log", func(t *testing.T) {
		probe, g := start(t, fresh)
		if _, can := probe.(Forgetter); !can {
			t.Skip("this store cannot forget a part of its log")
		}
		history(t, probe, g)
		want := Dump(t, probe)
		n := ok(probe.Events(t.Context(), all, fleet.EventFilter{}, fleet.Page{Limit: 1})).Items[0].Position
		for upTo := int64(1); upTo < n; upTo++ {
			t.Run(fmt.Sprintf("without the first %d", upTo), func(t *testing.T) {
				store, g := start(t, fresh)
				history(t, store, g)
				must(t, store.(Forgetter).Forget(t.Context(), upTo))
				must(t, store.Rebuild(t.Context(), nil))
				same(t, "rebuilt", Dump(t, store), want)
			})
		}
	})
}

// again delivers everything once more and returns how much of it was new.
func (g *Gateway) again(t testing.TB, store fleet.Store) int {
	t.Helper()
	return len(g.Deliver(t, store))
}

func testBackup(t *testing.T, fresh func(t testing.TB) Opener) {
	store, g := start(t, fresh)
	history(t, store, g)
	path := filepath.Join(t.TempDir(), "copy.db")
	must(t, store.Backup(t.Context(), path))
	if err := store.Backup(t.Context(), path); err == nil {
		t.Error("a backup wrote over another")
	}
}

func testManagers(t *testing.T, fresh func(t testing.TB) Opener) {
	t.Run("in turn", func(t *testing.T) {
		var dumps []string
		for _, count := range []int{1, 2} {
			opener := fresh(t)
			var managers []fleet.Store
			for range count {
				managers = append(managers, opener())
			}
			g := add(t, managers[0], "gw-1")
			g.Clock = event.ClockUnsynced
			s := story{g, t, managers[0]}
			for i := range 6 {
				id, trx := event.SessionID(fmt.Sprint("s-", i)), fmt.Sprint(i)
				s.started(2*i, id, trx, int64(i))
				g.Say(At("CP-1", 1), after(time.Duration(i)*time.Minute), &event.StationStatus{Status: event.StatusCharging})
				s.updated(2*i, id, trx, int64(i+1))
				g.Say(At("CP-1", 1), after(time.Duration(i)*time.Minute), &event.StationStatus{Status: event.StatusAvailable})
				s.orphan(2*i+1, "x-"+id, trx, int64(i+2))
				if i == 3 {
					g.Say(event.Address{}, after(time.Hour), &event.GatewayClock{Boot: g.Boot, OffsetMS: time.Hour.Milliseconds()})
				}
			}
			stream := g.Stream(event.LaneEvents)
			for n := range stream.Events {
				apply(t, managers[n%count], g.Batch(stream, n+1, n+1))
			}
			dumps = append(dumps, Dump(t, managers[0]))
		}
		same(t, "two managers in turn", dumps[1], dumps[0])
	})
	t.Run("at once", func(t *testing.T) { testRace(t, fresh) })
}

// testRace has two managers take the same batches, as after a broker handed
// them out twice.
func testRace(t *testing.T, fresh func(t testing.TB) Opener) {
	opener := fresh(t)
	managers := []fleet.Store{opener(), opener()}
	g := add(t, managers[0], "gw-1")
	s := say(g, 200)
	for i := range 40 {
		g.Say(At("CP-1", 1), after(time.Duration(i)*time.Minute), &event.SessionSampled{Samples: []event.Sample{{Time: after(time.Duration(i) * time.Minute)}}})
	}
	samples := g.Stream(event.LaneSamples)
	errs := make(chan error)
	entries := make(chan []fleet.Entry, 1000)
	for _, m := range managers {
		for _, stream := range []*Stream{s, samples} {
			go func() {
				for n := 1; n <= len(stream.Events); n += 3 {
					applied, err := m.Apply(t.Context(), g.Batch(stream, n, min(n+7, len(stream.Events)))) // they overlap
					if err != nil {
						errs <- err
						return
					}
					entries <- applied.Entries
				}
				errs <- nil
			}()
		}
	}
	for range 2 * len(managers) {
		must(t, <-errs)
	}
	close(entries)
	seen := map[string]int{}
	for list := range entries {
		for _, e := range list {
			seen[e.ID]++
		}
	}
	for _, stream := range []*Stream{s, samples} {
		for _, e := range stream.Events {
			if seen[e.ID] != 1 {
				t.Errorf("event %s was applied %d times", e.ID, seen[e.ID])
			}
		}
	}
	inOrder(t, t, managers[1], g)
	rows := everything(t, func(p fleet.Page) (fleet.List[fleet.StatusInterval], error) {
		return managers[1].StatusIntervals(t.Context(), all, "CP-1", time.Time{}, time.Time{}, p)
	})
	if len(rows) != 200 {
		t.Errorf("%d intervals, want 200", len(rows))
	}
	// One made a command; the other moves it.
	c := command(t, managers[0], g.ID, "c-1")
	if moved := ok(managers[1].MoveCommand(t.Context(), c.ID, event.StateSent, "", began)); !moved {
		t.Error("the other manager could not move the command")
	}
	if moved := ok(managers[0].MoveCommand(t.Context(), c.ID, event.StateSent, "", began)); moved {
		t.Error("both managers moved the command")
	}
}

// inOrder fails fail unless the log holds what each gateway has said, once, and
// each stream in order.
func inOrder(t testing.TB, fail rapid.TB, store fleet.Store, gateways ...*Gateway) {
	t.Helper()
	got := map[string][]string{}
	var before int64
	for _, e := range everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
		return store.Events(t.Context(), all, fleet.EventFilter{}, p)
	}) {
		if before != 0 && e.Position != before-1 {
			fail.Errorf("position %d follows %d", e.Position, before)
		}
		before = e.Position
		id, err := event.ParseID(e.ID)
		must(t, err)
		got[id.Stream] = append(got[id.Stream], e.ID)
	}
	for _, g := range gateways {
		for _, streams := range g.Streams {
			for _, s := range streams {
				var want []string
				for _, e := range s.Events {
					want = append(want, e.ID)
				}
				slices.Reverse(got[s.Name])
				if !slices.Equal(got[s.Name], want) {
					fail.Errorf("stream %s: log has %d events %.200v, want %d", s.Name, len(got[s.Name]), got[s.Name], len(want))
				}
			}
		}
	}
}
