package storetest

import (
	"regexp"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// testClock tells one story with a clock that is right, and then with one that
// stands wrong and is mended at different moments: all must look the same.
func testClock(t *testing.T, fresh func(t testing.TB) Opener) {
	const wrong = -50 * 365 * 24 * time.Hour // 1976
	story := func(t *testing.T, store fleet.Store, wrong time.Duration, mendAt int) {
		t.Helper()
		g := add(t, store, "gw-1")
		c := command(t, store, g.ID, "c-1")
		at := func(minute int) time.Time { return after(time.Duration(minute)*time.Minute + wrong) }
		if wrong != 0 {
			g.Clock = event.ClockUnsynced
		}
		steps := []func(){
			func() { g.Say(event.Address{}, at(0), &event.GatewayStarted{Version: "1", Boot: g.Boot}) },
			func() { g.Say(At("CP-1"), at(1), &event.StationConnected{Protocol: "ocpp1.6"}) },
			func() {
				g.Say(event.Address{}, at(1), &event.GatewayAlarm{Alarm: "clock", Severity: "warning", Text: "not set"})
			},
			func() { g.Say(At("CP-1", 1), at(2), &event.StationStatus{Status: event.StatusPreparing}) },
			func() {
				g.Say(At("CP-1", 1), at(3), &event.SessionStarted{Session: "s-1", Transaction: "1", MeterWh: ptr(int64(0))})
			},
			func() { g.Say(At("CP-1", 1), at(3), &event.StationStatus{Status: event.StatusCharging}) },
			func() {
				g.Say(At("CP-1", 1), at(5), &event.SessionSampled{Session: "s-1", Samples: []event.Sample{{Time: at(4), PowerW: ptr(1.0)}, {Time: at(5), PowerW: ptr(2.0)}}})
			},
			func() {
				g.Say(At("CP-1", 1), at(6), &event.SessionUpdated{Session: "s-1", Transaction: "1", Reading: &event.Sample{Time: at(6), Context: "begin", EnergyWh: ptr(int64(1))}})
			},
			func() {
				g.Say(event.Address{}, at(6), &event.CommandUpdated{Command: c.ID, State: event.StateAccepted})
			},
			func() {
				g.Say(At("CP-1", 1), at(9), &event.SessionEnded{
					Session: "s-1", Transaction: "1", Reason: "local", Started: ptr(at(3)), MeterStopWh: ptr(int64(9)), EnergyWh: ptr(int64(9)), DurationS: 360,
					Readings: []event.Sample{{Time: at(9), Context: "end"}},
				})
			},
			func() {
				g.Say(At("CP-1", 1), at(10), &event.SessionEnded{Session: "s-2", Transaction: "-1", Started: ptr(at(8)), Flags: []event.Flag{event.FlagRecovered}})
			},
			func() { g.Say(At("CP-1", 1), at(10), &event.StationStatus{Status: event.StatusAvailable}) },
			func() { g.Say(At("CP-1"), at(11), &event.StationDisconnected{Reason: "gone"}) },
		}
		for i, step := range steps {
			if wrong != 0 && mendAt == i {
				clock := g.Clock
				g.Clock = event.ClockSynced
				g.Say(event.Address{}, after(time.Hour), &event.GatewayClock{Boot: g.Boot, OffsetMS: -wrong.Milliseconds(), Source: "kernel"})
				g.Clock = clock // what was recorded before it may still come after it
			}
			step()
		}
		if wrong != 0 && mendAt >= len(steps) {
			g.Clock = event.ClockSynced
			g.Say(event.Address{}, after(time.Hour), &event.GatewayClock{Boot: g.Boot, OffsetMS: -wrong.Milliseconds(), Source: "kernel"})
		}
		// A later status with the clock right follows, whatever was told before it.
		g.Clock = event.ClockSynced
		g.Say(At("CP-1", 1), after(12*time.Minute), &event.StationStatus{Status: event.StatusFaulted})
		g.Deliver(t, store)
		status(t, store, g, true, "c", began)
	}
	clean := func(t *testing.T, store fleet.Store) string {
		t.Helper()
		return timeless.ReplaceAllString(Dump(t, store), "")
	}
	right := fresh(t)()
	story(t, right, 0, 0)
	want := clean(t, right)
	for _, tt := range []struct {
		name   string
		mendAt int
	}{{"first of all", 0}, {"between", 5}, {"in the session", 8}, {"after the end", 10}, {"last of all", 99}} {
		t.Run(tt.name, func(t *testing.T) {
			store := fresh(t)()
			story(t, store, wrong, tt.mendAt)
			same(t, "mended", clean(t, store), want)
			for _, e := range everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
				return store.Events(t.Context(), all, fleet.EventFilter{}, p)
			}) {
				if e.Time.Before(began) || e.Recorded.Before(began) || e.Clock == event.ClockUnsynced != (e.OffsetMS != 0) {
					t.Errorf("event %s of %s, recorded %s, offset %d", e.Type, e.Time, e.Recorded, e.OffsetMS)
				}
			}
			from := ok(store.Events(t.Context(), all, fleet.EventFilter{Type: event.TypeStationConnected, From: began, To: after(time.Hour)}, fleet.Page{}))
			if len(from.Items) != 1 {
				t.Errorf("%d events by mended time, want 1", len(from.Items))
			}
			must(t, store.Rebuild(t.Context(), nil))
			same(t, "rebuilt", clean(t, store), want)
		})
	}
	t.Run("set twice", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Clock = event.ClockUnsynced
		g.Say(At("CP-1", 1), began.Add(wrong), &event.SessionStarted{Session: "s-1", Transaction: "1"})
		for _, by := range []time.Duration{-wrong / 2, -wrong} {
			g.Say(event.Address{}, began, &event.GatewayClock{Boot: g.Boot, OffsetMS: by.Milliseconds()})
		}
		g.Deliver(t, store)
		if got := ok(store.Session(t.Context(), all, "s-1")).Started; !got.Equal(began) {
			t.Errorf("started %s, want %s", got, began)
		}
	})
	t.Run("another boot, another gateway, another clock", func(t *testing.T) {
		store, g := start(t, fresh)
		other := add(t, store, "gw-2")
		other.Boot = g.Boot
		for i, g := range []*Gateway{g, other} {
			g.Clock = event.ClockUnsynced
			g.Say(At("CP-1", 1), began, &event.SessionStarted{Session: event.SessionID([]string{"s-1", "s-2"}[i]), Transaction: "1"})
		}
		boot := g.Boot
		g.Boot = "another"
		g.Say(At("CP-1", 2), began, &event.SessionStarted{Session: "s-3", Transaction: "2"})
		g.Say(event.Address{}, began, &event.GatewayClock{Boot: boot, OffsetMS: time.Hour.Milliseconds()})
		g.Deliver(t, store)
		other.Deliver(t, store)
		for id, want := range map[event.SessionID]time.Time{"s-1": after(time.Hour), "s-2": began, "s-3": began} {
			if got := ok(store.Session(t.Context(), all, id)).Started; !got.Equal(want) {
				t.Errorf("%s started %s, want %s", id, got, want)
			}
		}
	})
	t.Run("mended intervals do not overlap", func(t *testing.T) {
		store, g := start(t, fresh)
		at := At("CP-1", 1)
		g.Say(at, began, &event.StationStatus{Status: event.StatusAvailable})
		g.Restart()
		g.Clock = event.ClockUnsynced
		g.Say(at, began.Add(wrong), &event.StationStatus{Status: event.StatusPreparing})
		g.Say(at, began.Add(wrong+time.Minute), &event.StationStatus{Status: event.StatusCharging})
		g.Clock = event.ClockSynced
		g.Say(event.Address{}, after(time.Hour), &event.GatewayClock{Boot: g.Boot, OffsetMS: (-wrong + 10*time.Minute).Milliseconds()})
		g.Deliver(t, store)
		rows := ok(store.StatusIntervals(t.Context(), all, "CP-1", time.Time{}, time.Time{}, fleet.Page{})).Items
		for i, want := range []time.Duration{11 * time.Minute, 10 * time.Minute, 0} {
			if !rows[i].From.Equal(after(want)) {
				t.Errorf("%s from %s, want %s", rows[i].Status, rows[i].From, after(want))
			}
		}
	})
}

// timeless finds what tells a mended time from one that was right.
var timeless = regexp.MustCompile(`"clock":"[a-z]*",?`)
