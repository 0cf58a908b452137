package uplink_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/clock"
	"github.com/chargeyard/chargeyard/edge/internal/desired"
	"github.com/chargeyard/chargeyard/edge/internal/outbox"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/uplink"
	"github.com/chargeyard/chargeyard/shared/event"
)

// What this package declares is what the others provide.
var (
	_ uplink.Lane       = (*outbox.Lane)(nil)
	_ uplink.Site       = (*site.Site)(nil)
	_ uplink.Desired    = (*desired.Store)(nil)
	_ uplink.Clock      = (*clock.Clock)(nil)
	_ uplink.TrustClock = (*clock.Clock)(nil)
)

// TestOutbox: with the real outbox, over several starts of the gateway, with
// lost messages and a manager restored to nothing, every event is applied, in
// the order in which it was committed.
func TestOutbox(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 2))
				f := newFar()
				f.onUp = func(int, uint64, uint64) verdict {
					return []verdict{{}, {}, {}, {silent: true}, {cut: true}, {lose: true}}[r.IntN(6)]
				}
				total := 0
				for start := range 4 {
					boot := fmt.Sprint("boot-", start)
					log := slog.New(slog.DiscardHandler)
					c := clock.New(boot, time.Now(), log)
					o, err := outbox.Open(outbox.Config{Dir: dir, Gateway: gateway, Boot: boot, BallastBytes: -1}, c, log)
					if err != nil {
						t.Fatal(err)
					}
					w := &world{far: f, site: &fakeSite{}, desired: &fakeDesired{}}
					w.uplink = uplink.New(uplink.Config{Gateway: gateway, Boot: boot},
						map[event.Lane]uplink.Lane{event.LaneEvents: o.Lane(event.LaneEvents), event.LaneSamples: o.Lane(event.LaneSamples)}, f, c, log)
					w.start(t)
					for range 1 + look(f, func() int { return r.IntN(5) }) {
						var change site.Change
						for range 1 + look(f, func() int { return r.IntN(40) }) {
							total++
							at := time.Now()
							change.Events = append(change.Events, event.Draft{
								Time: at, Recorded: at, Boot: boot, Clock: event.ClockSynced, Data: &event.DataReceived{Action: fmt.Sprint(total)},
							})
						}
						if err := o.Commit(t.Context(), change); err != nil {
							t.Fatal(err)
						}
						time.Sleep(time.Duration(look(f, func() int { return r.IntN(3000) })) * time.Millisecond)
					}
					switch start {
					case 2: // the manager's database is lost
						look(f, func() bool {
							f.positions, f.applied = make(map[event.Lane]map[string]uint64), make(map[event.Lane][]event.ID)
							return true
						})
					case 3:
						time.Sleep(3 * time.Hour)
					}
					w.finish(t)
					if err := o.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if got := len(f.applied[event.LaneEvents]); got != total {
					t.Errorf("%d events applied, %d committed", got, total)
				}
				seen := make(map[string]uint64)
				for _, id := range f.applied[event.LaneEvents] {
					if id.Sequence != seen[id.Stream]+1 {
						t.Errorf("%s applied after %d", id, seen[id.Stream])
					}
					seen[id.Stream] = id.Sequence
				}
				if h := f.hellos[len(f.hellos)-1]; len(h.Lanes[event.LaneEvents]) != 4 || h.Lanes[event.LaneSamples] == nil {
					t.Errorf("the last hello names %v", h.Lanes)
				}
			})
		})
	}
}
