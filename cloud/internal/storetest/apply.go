package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// say makes n events of a station's status on the newest stream.
func say(g *Gateway, n int) *Stream {
	for i := range n {
		status := []event.Status{event.StatusAvailable, event.StatusPreparing, event.StatusCharging}[i%3]
		g.Say(At("CP-1", 1), after(time.Duration(i)*time.Second), &event.StationStatus{Status: status})
	}
	return g.Stream(event.LaneEvents)
}

func testApply(t *testing.T, fresh func(t testing.TB) Opener) {
	type step struct {
		first, last int // batch
		oldest      uint64
		missing     [][2]uint64 // a hello with these comes before it
		position    uint64
		new         []uint64
	}
	tests := []struct {
		name  string
		steps []step
		lost  [][2]uint64
	}{
		{name: "in order", steps: []step{{first: 1, last: 3, position: 3, new: []uint64{1, 2, 3}}, {first: 4, last: 5, position: 5, new: []uint64{4, 5}}}},
		{name: "twice", steps: []step{{first: 1, last: 3, position: 3, new: []uint64{1, 2, 3}}, {first: 1, last: 3, position: 3}}},
		{name: "overlapping", steps: []step{{first: 1, last: 3, position: 3, new: []uint64{1, 2, 3}}, {first: 2, last: 5, position: 5, new: []uint64{4, 5}}}},
		{name: "older batch after a newer one", steps: []step{{first: 1, last: 6, position: 6, new: []uint64{1, 2, 3, 4, 5, 6}}, {first: 2, last: 4, position: 6}}},
		{name: "hole in front stops", steps: []step{{first: 3, last: 5, position: 0}, {first: 1, last: 2, position: 2, new: []uint64{1, 2}}, {first: 3, last: 5, position: 5, new: []uint64{3, 4, 5}}}},
		{
			name:  "hole below oldest is crossed",
			steps: []step{{first: 1, last: 2, position: 2, new: []uint64{1, 2}}, {first: 5, last: 6, oldest: 5, position: 6, new: []uint64{5, 6}}},
			lost:  [][2]uint64{{3, 4}},
		},
		{
			name:  "hole that was declared is crossed",
			steps: []step{{first: 1, last: 2, position: 2, new: []uint64{1, 2}}, {first: 5, last: 6, oldest: 1, missing: [][2]uint64{{3, 4}}, position: 6, new: []uint64{5, 6}}},
			lost:  [][2]uint64{{3, 4}},
		},
		{
			name:  "hole declared in part stops at the rest",
			steps: []step{{first: 1, last: 2, oldest: 1, position: 2, new: []uint64{1, 2}}, {first: 6, last: 7, oldest: 1, missing: [][2]uint64{{3, 4}}, position: 4}, {first: 5, last: 7, position: 7, new: []uint64{5, 6, 7}}},
			lost:  [][2]uint64{{3, 4}},
		},
		{
			name:  "a hole and the end of what is gone",
			steps: []step{{first: 6, last: 7, oldest: 4, missing: [][2]uint64{{4, 5}}, position: 7, new: []uint64{6, 7}}},
			lost:  [][2]uint64{{1, 3}, {4, 5}},
		},
		{
			name:  "what is applied is no loss",
			steps: []step{{first: 1, last: 6, position: 6, new: []uint64{1, 2, 3, 4, 5, 6}}, {first: 7, last: 8, oldest: 5, missing: [][2]uint64{{5, 6}}, position: 8, new: []uint64{7, 8}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, g := start(t, fresh)
			s := say(g, 8)
			for i, step := range tt.steps {
				if step.oldest > 0 {
					g.Hello(t, store, s.Summary(step.oldest, step.missing...))
				}
				applied := apply(t, store, g.Batch(s, step.first, step.last))
				if got := sequences(t, applied.Entries); applied.Position != step.position || !slices.Equal(got, step.new) {
					t.Errorf("batch %d: position %d and new %v, want %d and %v", i+1, applied.Position, got, step.position, step.new)
				}
			}
			var lost [][2]uint64
			view := ok(store.Gateway(t.Context(), all, g.ID))
			for _, l := range view.Losses {
				lost = append([][2]uint64{{l.First, l.Last}}, lost...)
			}
			if !slices.Equal(lost, tt.lost) {
				t.Errorf("lost %v, want %v", lost, tt.lost)
			}
			if alarmed := slices.ContainsFunc(view.Alarms, func(a fleet.Alarm) bool { return a.Alarm == "events_lost" }); alarmed != (len(tt.lost) > 0) {
				t.Errorf("alarms %v with losses %v", view.Alarms, lost)
			}
		})
	}

	t.Run("a hole inside a batch", func(t *testing.T) {
		store, g := start(t, fresh)
		s := say(g, 5)
		b := g.Batch(s, 1, 5)
		b.Events = slices.Delete(b.Events, 2, 3)
		if applied := apply(t, store, b); applied.Position != 2 || len(applied.Entries) != 2 {
			t.Errorf("position %d, %d new; want 2, 2", applied.Position, len(applied.Entries))
		}
	})
	t.Run("survives a restart", func(t *testing.T) {
		opener := fresh(t)
		store := opener()
		g := add(t, store, "gw-1")
		s := say(g, 4)
		apply(t, store, g.Batch(s, 1, 2))
		store = opener()
		if applied := apply(t, store, g.Batch(s, 1, 4)); applied.Position != 4 || len(applied.Entries) != 2 {
			t.Errorf("position %d, %d new; want 4, 2", applied.Position, len(applied.Entries))
		}
	})
	t.Run("lanes and gateways are apart", func(t *testing.T) {
		store, g := start(t, fresh)
		other := add(t, store, "gw-2")
		for _, g := range []*Gateway{g, other} {
			say(g, 3)
			g.Say(At("CP-1", 1), began, &event.SessionSampled{Session: "s", Samples: []event.Sample{{Time: began}}})
			g.Deliver(t, store)
		}
		entries := everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
			return store.Events(t.Context(), all, fleet.EventFilter{}, p)
		})
		if len(entries) != 8 {
			t.Errorf("%d entries, want 8", len(entries))
		}
	})
	t.Run("unknown gateway", func(t *testing.T) {
		store, _ := start(t, fresh)
		g := NewGateway("gw-9")
		_, err := store.Apply(t.Context(), g.Batch(say(g, 1), 1, 1))
		isNotFound(t, err)
	})
	t.Run("many at once", func(t *testing.T) {
		store, _ := start(t, fresh)
		const gateways, events = 8, 40
		errs := make(chan error, gateways)
		spoiler := add(t, store, "spoiler")
		spoiled := spoiler.Batch(say(spoiler, 3), 1, 3)
		spoiled.Stream = "another"
		spoil, stopped := make(chan struct{}), make(chan int)
		go func() {
			taken := 0
			for {
				select {
				case <-spoil:
					stopped <- taken
					return
				default:
				}
				if _, err := store.Apply(t.Context(), spoiled); err == nil {
					taken++
				}
			}
		}()
		for i := range gateways {
			g := add(t, store, event.GatewayID(fmt.Sprintf("many-%d", i)))
			s := say(g, events)
			go func() {
				for n := 1; n <= events; n += 5 {
					applied, err := store.Apply(t.Context(), g.Batch(s, n, n+4))
					if err == nil && (applied.Position != uint64(n+4) || len(applied.Entries) != 5) {
						err = fmt.Errorf("%s: position %d, %d new after %d", g.ID, applied.Position, len(applied.Entries), n+4)
					}
					if err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range gateways {
			must(t, <-errs)
		}
		close(spoil)
		if taken := <-stopped; taken > 0 {
			t.Errorf("%d batches of mixed streams were taken", taken)
		}
		entries := everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
			return store.Events(t.Context(), all, fleet.EventFilter{}, p)
		})
		if len(entries) != gateways*events {
			t.Errorf("%d entries, want %d", len(entries), gateways*events)
		}
	})
}

func testHello(t *testing.T, fresh func(t testing.TB) Opener) {
	t.Run("positions of exactly the streams named", func(t *testing.T) {
		store, g := start(t, fresh)
		s := say(g, 4)
		apply(t, store, g.Batch(s, 1, 3))
		g.Restart()
		other := g.Stream(event.LaneEvents)
		positions := g.Hello(t, store, s.Summary(1), other.Summary(1))
		if got := positions[event.LaneEvents]; len(got) != 2 || got[s.Name] != 3 || got[other.Name] != 0 {
			t.Errorf("positions %v", got)
		}
		positions = g.Hello(t, store, other.Summary(1))
		if got := positions[event.LaneEvents]; len(got) != 1 {
			t.Errorf("positions %v, want one", got)
		}
	})
	t.Run("a stream may end in what is lost", func(t *testing.T) {
		store, g := start(t, fresh)
		s := say(g, 6)
		apply(t, store, g.Batch(s, 1, 3))
		if got := g.Hello(t, store, s.Summary(1, [2]uint64{4, 6}))[event.LaneEvents][s.Name]; got != 6 {
			t.Errorf("position %d, want 6", got)
		}
	})
	t.Run("a position is never forgotten", func(t *testing.T) {
		store, g := start(t, fresh)
		s := say(g, 6)
		apply(t, store, g.Batch(s, 1, 6))
		s.Events = s.Events[:2] // an older card
		if got := g.Hello(t, store, s.Summary(1))[event.LaneEvents][s.Name]; got != 6 {
			t.Errorf("position %d, want 6", got)
		}
		if applied := apply(t, store, g.Batch(s, 1, 2)); applied.Position != 6 || len(applied.Entries) != 0 {
			t.Errorf("position %d, %d new; want 6, 0", applied.Position, len(applied.Entries))
		}
	})
	t.Run("unknown gateway knocks", func(t *testing.T) {
		store, _ := start(t, fresh)
		g := NewGateway("gw-9")
		_, err := store.Hello(t.Context(), g.ID, fleet.HelloFacts{Version: "7", At: began})
		isNotFound(t, err)
		view := ok(store.Gateway(t.Context(), all, g.ID))
		if view.Connectivity.Value != fleet.Knocking || view.Version != "7" || !view.Connectivity.AsOf.Equal(began) {
			t.Errorf("got %+v", view)
		}
		_, err = store.Gateway(t.Context(), fleet.Scope{Tenant: "other"}, g.ID)
		isNotFound(t, err)
		_, err = store.Gateway(t.Context(), fleet.Scope{Tenant: fleet.DefaultTenant, Location: "berlin"}, g.ID)
		isNotFound(t, err)
		add(t, store, g.ID)
		if got := ok(store.Gateway(t.Context(), all, g.ID)).Connectivity.Value; got != fleet.Offline {
			t.Errorf("added: %s, want %s", got, fleet.Offline)
		}
	})
}

func testDeadLetters(t *testing.T, fresh func(t testing.TB) Opener) {
	tests := []struct {
		name   string
		lane   event.Lane
		change func(e *event.Event)
	}{
		{name: "unknown type", change: func(e *event.Event) { e.Type = "chargeyard.station.danced" }},
		{name: "data of another shape", change: func(e *event.Event) { e.Data = []byte(`{"status": 7}`) }},
		{name: "no data", change: func(e *event.Event) { e.Data = nil }},
		{name: "another gateway's", change: func(e *event.Event) { e.Source = "/gateways/gw-2" }},
		{name: "no station", change: func(e *event.Event) { e.Subject = "" }},
		{name: "bad subject", change: func(e *event.Event) { e.Subject = "stations/CP-1/evses/x" }},
		{name: "no time", change: func(e *event.Event) { e.Time = time.Time{} }},
		{name: "far too late", change: func(e *event.Event) { e.Time = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{name: "a clock that cannot be", change: func(e *event.Event) {
			e.Type, e.Data = event.TypeGatewayClock, []byte(`{"boot":"b","offset_ms":9000000000000000000}`)
		}},
		{name: "a reading of the far future", change: func(e *event.Event) {
			e.Type, e.Data = event.TypeSessionUpdated, []byte(`{"session":"s","reading":{"time":"9999-12-31T23:59:59Z"}}`)
		}},
		{name: "wrong lane", lane: event.LaneSamples, change: func(*event.Event) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, g := start(t, fresh)
			say(g, 3)
			s := g.Stream(event.LaneEvents)
			b := g.Batch(s, 1, 3)
			if tt.lane != "" {
				b.Lane = tt.lane
				b.Events = b.Events[:1]
			}
			tt.change(&b.Events[min(1, len(b.Events)-1)])
			applied := apply(t, store, b)
			if applied.Position != uint64(len(b.Events)) || len(applied.Entries) != len(b.Events)-1 {
				t.Errorf("position %d, %d new; want %d, %d", applied.Position, len(applied.Entries), len(b.Events), len(b.Events)-1)
			}
			letters := ok(store.DeadLetters(t.Context(), all, fleet.Page{})).Items
			if len(letters) != 1 || letters[0].Event != b.Events[min(1, len(b.Events)-1)].ID || letters[0].Reason == "" || len(letters[0].Payload) == 0 {
				t.Errorf("dead letters %+v", letters)
			}
			if again := apply(t, store, b); len(again.Entries) != 0 {
				t.Errorf("%d new when it came again", len(again.Entries))
			}
		})
	}
	t.Run("another gateway's session and command", func(t *testing.T) {
		store, g := start(t, fresh)
		other := add(t, store, "gw-2")
		g.Say(At("CP-1", 1), began, &event.SessionStarted{Session: "s-1", Transaction: "1"})
		g.Deliver(t, store)
		c := command(t, store, g.ID, "c-1")
		other.Say(At("CP-1", 1), began, &event.SessionEnded{Session: "s-1", Transaction: "1"})
		other.Say(event.Address{}, began, &event.CommandUpdated{Command: c.ID, State: event.StateSucceeded})
		if entries := other.Deliver(t, store); len(entries) != 0 {
			t.Errorf("%d entries, want none", len(entries))
		}
		if letters := ok(store.DeadLetters(t.Context(), all, fleet.Page{})).Items; len(letters) != 2 {
			t.Errorf("%d dead letters, want 2", len(letters))
		}
		if got := ok(store.Session(t.Context(), all, "s-1")).Status; got != fleet.SessionActive {
			t.Errorf("session is %s", got)
		}
		if got := ok(store.Command(t.Context(), all, c.ID)).Status; got != event.StateQueued {
			t.Errorf("command is %s", got)
		}
	})
	t.Run("a stub and a cut event are kept and change nothing", func(t *testing.T) {
		store, g := start(t, fresh)
		say(g, 2)
		s := g.Stream(event.LaneEvents)
		b := g.Batch(s, 1, 2)
		b.Events[0].Stub, b.Events[0].Data = true, nil
		b.Events[1].Truncated, b.Events[1].Data = true, []byte(`"cut"`)
		applied := apply(t, store, b)
		if applied.Position != 2 || len(applied.Entries) != 2 {
			t.Errorf("position %d, %d new; want 2, 2", applied.Position, len(applied.Entries))
		}
		if letters := ok(store.DeadLetters(t.Context(), all, fleet.Page{})).Items; len(letters) != 0 {
			t.Errorf("dead letters %+v", letters)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		store, g := start(t, fresh)
		for range 1100 {
			g.Say(At("CP-1", 1), began, &event.StationStatus{Status: ""})
		}
		g.Deliver(t, store)
		must(t, store.DeadLetter(t.Context(), fleet.DeadLetter{Gateway: g.ID, Topic: "t", Reason: "newest", Payload: []byte("x"), Received: began}))
		letters := everything(t, func(p fleet.Page) (fleet.List[fleet.DeadLetter], error) {
			return store.DeadLetters(t.Context(), all, p)
		})
		if len(letters) != 1000 || letters[0].Reason != "newest" || string(letters[0].Payload) != "x" || !letters[0].Received.Equal(began) {
			t.Errorf("%d are kept, the first %+v; want 1000 and the newest", len(letters), letters[0])
		}
		isNotFound(t, store.DeadLetter(t.Context(), fleet.DeadLetter{Gateway: "gw-9"}))
	})
}
