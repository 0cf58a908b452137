package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/uplink"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// world is an uplink between fakes.
type world struct {
	far             *far
	events, samples *fakeLane
	site            *fakeSite
	desired         *fakeDesired
	clock           *fakeClock
	uplink          *uplink.Uplink
	stop            context.CancelFunc
	stopped         chan error
}

func newWorld(perBatch int) *world {
	w := &world{
		far: newFar(), events: newLane(perBatch), samples: newLane(perBatch),
		site: &fakeSite{}, desired: &fakeDesired{}, clock: &fakeClock{},
	}
	w.uplink = uplink.New(uplink.Config{Gateway: gateway, Version: "1", Boot: "b"},
		map[event.Lane]uplink.Lane{event.LaneEvents: w.events, event.LaneSamples: w.samples}, w.far, w.clock, slog.New(slog.DiscardHandler))
	return w
}

// start runs the uplink until finish.
func (w *world) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w.stop, w.stopped = cancel, make(chan error, 1)
	go func() { w.stopped <- w.uplink.Run(ctx, w.site, w.desired) }()
}

// finish stops the uplink and reports broken promises.
func (w *world) finish(t *testing.T) {
	t.Helper()
	w.stop()
	if err := <-w.stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, b := range w.far.broken {
		t.Errorf("broken promise: %s", b)
	}
}

var errAway = errors.New("no route to host")

func TestRun(t *testing.T) {
	// at gives the verdict about the n-th batch, and takes all others.
	at := func(verdicts map[int]verdict) func(int, uint64, uint64) verdict {
		return func(n int, _, _ uint64) verdict { return verdicts[n] }
	}
	always := func(bad uint64) func(int, uint64, uint64) verdict { // cannot read event bad
		return func(_ int, first, last uint64) verdict { return verdict{refuse: first <= bad && bad <= last} }
	}
	foreign := wire.Sequence(1)
	tests := []struct {
		name    string
		set     func(w *world)
		within  time.Duration // of virtual time; 0: half a minute
		offered []string      // the batches that the manager saw, of the four events in the outbox
		left    int           // events not settled in the end
		hellos  int           // 0: one
		stubs   int
	}{
		{name: "batch after batch", offered: []string{"1-2", "3-4"}},
		{name: "no network", set: func(w *world) {
			w.far.onConnect = func(n int) error {
				if n < 4 {
					return errAway
				}
				return nil
			}
		}, offered: []string{"1-2", "3-4"}},
		{name: "no acknowledgement", set: func(w *world) { w.far.onUp = at(map[int]verdict{1: {silent: true}}) }, offered: []string{"1-2", "1-2", "3-4"}},
		{
			name: "acknowledgement lost with the connection",
			set:  func(w *world) { w.far.onUp = at(map[int]verdict{1: {lose: true}}) }, offered: []string{"1-2", "3-4"}, hellos: 2,
		},
		{
			name: "batch lost with the connection",
			set:  func(w *world) { w.far.onUp = at(map[int]verdict{1: {cut: true}}) }, offered: []string{"1-2", "1-2", "3-4"}, hellos: 2,
		},
		{name: "half committed", set: func(w *world) { w.far.onUp = at(map[int]verdict{1: {take: 1}}) }, offered: []string{"1-2", "2-3", "4-4"}},
		{name: "manager restored", set: func(w *world) {
			w.far.onUp = at(map[int]verdict{2: {restore: func() { clear(w.far.positions[event.LaneEvents]) }}})
		}, offered: []string{"1-2", "3-4", "1-2", "3-4"}, hellos: 2},
		{
			name: "manager restored while nothing happens", within: 2 * time.Hour,
			set: func(w *world) {
				w.far.onHello = func(n int, _ wire.Hello, _ *wire.Welcome) verdict {
					if n == 2 {
						clear(w.far.positions[event.LaneEvents])
					}
					return verdict{}
				}
			}, offered: []string{"1-2", "3-4", "1-2", "3-4"}, hellos: -1,
		},
		{name: "acknowledgements for others", set: func(w *world) {
			w.far.onUp = at(map[int]verdict{1: {silent: true, extra: []wire.Ack{
				{Stream: "else", First: &foreign, Sequence: &foreign}, {Stream: "s", Sequence: &foreign}, {Stream: "s", First: new(wire.Sequence), Sequence: &foreign}, {Refused: "0123456789abcdef"}, {},
			}}})
		}, offered: []string{"1-2", "1-2", "3-4"}},
		{name: "late acknowledgement", set: func(w *world) { w.far.onUp = at(map[int]verdict{1: {delay: 6 * time.Second}}) }, offered: []string{"1-2", "1-2", "3-4"}},
		{
			name: "one event cannot be read", set: func(w *world) {
				w.far.onUp = func(_ int, first, last uint64) verdict {
					return verdict{refuse: first <= 2 && 2 <= last && !w.events.stubbed[event.ID{Stream: "s", Sequence: 2}]}
				}
			}, offered: []string{"1-2", "1-1", "2-3", "2-2", "2-2", "3-4"}, stubs: 1,
		},
		{name: "nothing can be read", set: func(w *world) { w.far.onUp = always(1) }, offered: []string{"1-2", "1-1", "1-1"}, left: 4, stubs: 1},
		{
			name: "stubs alone can be read", within: 25 * time.Second,
			set: func(w *world) {
				w.events.perBatch = 1
				w.far.onUp = func(_ int, first, _ uint64) verdict {
					return verdict{refuse: !w.events.stubbed[event.ID{Stream: "s", Sequence: first}]}
				}
			}, offered: []string{"1-1", "1-1", "2-2", "2-2", "3-3", "3-3", "4-4"}, left: 1, stubs: 3,
		},
		{
			name: "manager mended", within: time.Hour / 2,
			set: func(w *world) {
				w.far.onUp = func(n int, _, _ uint64) verdict { return verdict{refuse: n <= 5} }
			}, offered: []string{"1-2", "1-1", "1-1", "1-1", "1-1", "1-1", "2-3", "4-4"}, stubs: 1,
		},
		{name: "welcome late", set: func(w *world) {
			w.far.onHello = func(n int, _ wire.Hello, _ *wire.Welcome) verdict { return verdict{silent: n < 3} }
		}, offered: []string{"1-2", "3-4"}, hellos: 3},
		{name: "welcome to an older hello", set: func(w *world) {
			w.far.onHello = func(n int, _ wire.Hello, answer *wire.Welcome) verdict {
				if n == 1 {
					answer.Hello = "older"
				}
				return verdict{}
			}
		}, offered: []string{"1-2", "3-4"}, hellos: 2},
		{name: "connection lost during hello", set: func(w *world) {
			w.far.onHello = func(n int, _ wire.Hello, _ *wire.Welcome) verdict { return verdict{cut: n == 1} }
		}, offered: []string{"1-2", "3-4"}, hellos: 2},
		{name: "storage trouble", set: func(w *world) { w.events.trouble = 2 }, offered: []string{"1-2", "3-4"}},
		{name: "may not subscribe", set: func(w *world) {
			w.far.grant = func(string) error {
				if len(w.far.sessions) < 3 {
					return errors.New("not authorized")
				}
				return nil
			}
		}, offered: []string{"1-2", "3-4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // fails if Run leaves a goroutine behind
				w := newWorld(2)
				w.events.add("s", 4)
				if tt.set != nil {
					tt.set(w)
				}
				w.start(t)
				if tt.within == 0 {
					tt.within = 30 * time.Second
				}
				time.Sleep(tt.within)
				w.finish(t)
				if !slices.Equal(w.far.ups, tt.offered) || w.events.Backlog() != tt.left {
					t.Errorf("offered %q, %d left; want %q, %d", w.far.ups, w.events.Backlog(), tt.offered, tt.left)
				}
				if want := max(tt.hellos, 1); tt.hellos >= 0 && len(w.far.hellos) != want {
					t.Errorf("%d hellos, want %d", len(w.far.hellos), want)
				}
				if len(w.events.stubbed) != tt.stubs {
					t.Errorf("stubs %v, want %d", w.events.stubbed, tt.stubs)
				}
			})
		})
	}
}

// TestRefusedAlarm: whoever refuses everything is the one to be looked at.
func TestRefusedAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.events.add("s", 3)
		broken := true
		w.far.onUp = func(int, uint64, uint64) verdict { return verdict{refuse: broken} }
		w.start(t)
		time.Sleep(10 * time.Minute)
		if s := w.uplink.Stats().Lanes[event.LaneEvents]; !s.Blocked || s.Stubs != 1 || s.Refused > 8 {
			t.Errorf("stats while blocked: %+v", s)
		}
		look(w.far, func() bool { broken = false; return true })
		time.Sleep(40 * time.Minute)
		w.finish(t)
		var alarms []string
		for _, a := range w.site.alarms {
			alarms = append(alarms, fmt.Sprintf("%s cleared=%t", a.Alarm, a.Cleared))
		}
		if want := []string{"events_refused cleared=false", "events_refused cleared=true"}; !slices.Equal(alarms, want) {
			t.Errorf("alarms %q, want %q", alarms, want)
		}
		if s := w.uplink.Stats().Lanes[event.LaneEvents]; s.Blocked || s.Backlog != 0 {
			t.Errorf("stats afterwards: %+v", s)
		}
	})
}

// TestStop: what is under way is settled, the status says offline, and the last
// will is not needed.
func TestStop(t *testing.T) {
	tests := []struct {
		name string
		up   verdict
		left int
	}{
		{name: "answer while stopping", up: verdict{delay: time.Second}, left: 2},
		{name: "no answer while stopping", up: verdict{silent: true}, left: 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(2)
				w.events.add("s", 4)
				w.far.onUp = func(int, uint64, uint64) verdict { return tt.up }
				w.start(t)
				synctest.Wait()
				begun := time.Now()
				w.finish(t)
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("stopping took %v", took)
				}
				if w.events.Backlog() != tt.left || len(w.far.ups) != 1 {
					t.Errorf("offered %q, %d left; want one batch, %d", w.far.ups, w.events.Backlog(), tt.left)
				}
				if want := []string{"online", "offline"}; !slices.Equal(w.far.statuses, want) || w.far.goodbyes != 1 {
					t.Errorf("statuses %q, %d goodbyes; want %q, 1", w.far.statuses, w.far.goodbyes, want)
				}
			})
		})
	}
}

// TestMuteBroker: a broker that takes everything and acknowledges nothing is left.
func TestMuteBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.events.add("s", 4)
		w.far.deaf = true
		w.start(t)
		time.Sleep(5 * time.Minute)
		look(w.far, func() bool { w.far.deaf = false; return true })
		connections := look(w.far, func() int { return len(w.far.sessions) })
		if connections < 3 || connections > 10 {
			t.Errorf("%d connections within five minutes, want a few", connections)
		}
		time.Sleep(2 * time.Minute)
		w.finish(t)
		if w.events.Backlog() != 0 {
			t.Errorf("%d events left", w.events.Backlog())
		}
	})
}

// TestMuteManager: batches are not repeated for ever to nobody, hellos are.
func TestMuteManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		mute := false
		w.far.onUp = func(int, uint64, uint64) verdict { return verdict{silent: mute, cut: false} }
		w.far.onHello = func(int, wire.Hello, *wire.Welcome) verdict { return verdict{silent: mute} }
		w.start(t)
		time.Sleep(time.Minute)
		look(w.far, func() bool { mute = true; return true })
		w.events.add("s", 4)
		time.Sleep(time.Hour / 2)
		if n := look(w.far, func() int { return len(w.far.ups) }); n != 3 {
			t.Errorf("%d batches to a mute manager, want 3", n)
		}
		if _, err := w.uplink.AskToken(t.Context(), event.Address{}, event.Token{}); !errors.Is(err, site.ErrManagerAway) {
			t.Errorf("AskToken: %v, want ErrManagerAway at once", err)
		}
		if s := w.uplink.Stats(); !s.Connected || s.Reachable {
			t.Errorf("stats: %+v, want connected and not reachable", s)
		}
		look(w.far, func() bool { mute = false; return true })
		time.Sleep(2 * time.Minute)
		w.finish(t)
		if w.events.Backlog() != 0 || len(w.far.sessions) != 1 {
			t.Errorf("%d events left, %d connections", w.events.Backlog(), len(w.far.sessions))
		}
	})
}

// TestLatency: an event that comes while nothing is under way leaves at once.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(100)
		w.start(t)
		time.Sleep(10 * time.Minute)
		for i := range 10 {
			w.events.add("s", 1)
			synctest.Wait() // no time passes
			if n := look(w.far, func() int { return len(w.far.applied[event.LaneEvents]) }); n != i+1 {
				t.Fatalf("after event %d the manager has %d", i+1, n)
			}
		}
		w.finish(t)
	})
}

// TestMoreStreams: a hello that cannot name every stream is followed by others
// before the first batch, and the oldest stream goes first.
func TestMoreStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.events.named = 2
		for i := range 5 {
			w.events.add(fmt.Sprintf("s%d", i), 1)
		}
		w.far.positions[event.LaneEvents] = map[string]uint64{"s1": 1}
		w.start(t)
		time.Sleep(time.Minute)
		w.finish(t)
		var named []string
		for _, h := range w.far.hellos {
			var of []string
			for _, s := range h.Lanes[event.LaneEvents] {
				of = append(of, s.Stream)
			}
			named = append(named, fmt.Sprint(of, h.More))
		}
		if want := []string{"[s0 s1] true", "[s2 s3] true", "[s4] false"}; !slices.Equal(named, want) {
			t.Errorf("hellos named %q, want %q", named, want)
		}
		if got, want := fmt.Sprint(w.far.applied[event.LaneEvents]), "s0/0000000000000001 s2/0000000000000001 s3/0000000000000001 s4/0000000000000001"; got != "["+want+"]" {
			t.Errorf("applied %s, want %s", got, want)
		}
	})
}

// TestLargeHello: hundreds of streams full of holes are spread over hellos that
// fit in a message.
func TestLargeHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		lane := &holed{fakeLane: w.events, holes: 400}
		for i := range 40 {
			w.events.add(fmt.Sprintf("s%d", i), 1)
		}
		w.uplink = uplink.New(uplink.Config{Gateway: gateway, Boot: "b"},
			map[event.Lane]uplink.Lane{event.LaneEvents: lane}, w.far, w.clock, slog.New(slog.DiscardHandler))
		w.start(t)
		time.Sleep(time.Minute)
		w.finish(t)
		if w.events.Backlog() != 0 || len(w.far.hellos) < 2 {
			t.Errorf("%d events left after %d hellos", w.events.Backlog(), len(w.far.hellos))
		}
	})
}

// holed names many holes in each stream.
type holed struct {
	*fakeLane
	holes int
}

func (l *holed) Streams(ctx context.Context, settled map[string]bool) ([]wire.StreamSummary, bool, error) {
	out, more, err := l.fakeLane.Streams(ctx, settled)
	seed := uint64(1)
	for i := range out {
		for range l.holes {
			seed = seed*6364136223846793005 + 1442695040888963407 // does not pack well
			out[i].Missing = append(out[i].Missing, [2]wire.Sequence{wire.Sequence(seed), wire.Sequence(seed + 1)})
		}
	}
	return out, more, err
}

// TestLargeEvents: however badly events pack, a batch fits in a message.
func TestLargeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1000)
		seed := uint32(1)
		for range 40 << 10 {
			seed = seed*1664525 + 1013904223
			w.events.padding = append(w.events.padding, '!'+byte(seed>>24)%90)
		}
		w.events.padding = []byte(strings.NewReplacer(`"`, "q", `\`, "b", "<", "l", ">", "g", "&", "a").Replace(string(w.events.padding)))
		w.events.add("s", 50)
		w.start(t)
		time.Sleep(time.Minute)
		w.finish(t)
		if w.events.Backlog() != 0 {
			t.Errorf("%d events left", w.events.Backlog())
		}
	})
}

// TestSlowLine: a line that breaks under large batches gets smaller ones.
func TestSlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(10000)
		w.events.add("s", 5000)
		seen := 0
		w.far.onUp = func(_ int, first, last uint64) verdict {
			if n := int(last - first + 1); n > 100 {
				return verdict{slow: true}
			} else if n > seen {
				seen = n
			}
			return verdict{}
		}
		w.start(t)
		time.Sleep(30 * time.Minute)
		w.finish(t)
		if w.events.Backlog() != 0 || seen < 20 {
			t.Errorf("%d events left, the largest batch that got through had %d", w.events.Backlog(), seen)
		}
	})
}

// TestStatus: an old last will does not get the last word.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.start(t)
		synctest.Wait()
		s := w.far.newest()
		for range 5 { // of an older connection, in a burst
			s.say(wire.KindStatus, "", wire.Status{Boot: "b", Connection: "older"})
		}
		time.Sleep(10 * time.Second)
		own, err := wire.Decode[wire.Status](s.will.Payload)
		if err != nil || own.Online || own.Boot != "b" || own.Connection != w.far.hellos[0].Connection || !s.will.Retained {
			t.Errorf("last will %+v of %+v: %v", own, s.will, err)
		}
		s.say(wire.KindStatus, "", own)
		time.Sleep(10 * time.Second)
		w.finish(t)
		n := len(w.far.statuses)
		if n < 4 || n > 5 || w.far.statuses[n-1] != "offline" || slices.Contains(w.far.statuses[:n-1], "offline") {
			t.Errorf("statuses %q, want online, repeated twice or thrice, and offline at the end", w.far.statuses)
		}
	})
}
