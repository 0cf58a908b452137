package clock

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ site.Clock = (*Clock)(nil)

// fakeSystem is the system's clock and the kernel's word about it.
type fakeSystem struct {
	ahead  atomic.Int64 // nanoseconds before the bubble's time
	synced atomic.Bool
}

func (s *fakeSystem) now() time.Time {
	return time.Now().Add(time.Duration(s.ahead.Load())).Round(0)
}

var (
	real     = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	build    = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	shelf    = 30 * 24 * time.Hour
	at1970   = time.Unix(0, 0)
	discards = slog.New(slog.DiscardHandler)
)

// set makes the system show t.
func (s *fakeSystem) set(t time.Time) { s.ahead.Store(int64(time.Until(t))) }

func newClock(s *fakeSystem, floor time.Time) *Clock {
	return newOn("b", floor, s.now, s.synced.Load, discards)
}

// TestFirstGuess: where time begins while nobody knows it.
func TestFirstGuess(t *testing.T) {
	tests := []struct {
		name   string
		system time.Time
		synced bool
		newest time.Time // in the gateway's own file
		want   time.Time
		clock  event.Clock
	}{
		{name: "1970", system: at1970, want: build, clock: event.ClockUnsynced},
		{name: "1970 with a file", system: at1970, newest: build.Add(shelf), want: build.Add(shelf), clock: event.ClockUnsynced},
		{name: "file older than the build", system: at1970, newest: build.Add(-shelf), want: build, clock: event.ClockUnsynced},
		{name: "clock of the last shutdown", system: build.Add(shelf), newest: build.Add(shelf / 2), want: build.Add(shelf), clock: event.ClockUnsynced},
		{name: "random date", system: build.AddDate(40, 0, 0), want: build, clock: event.ClockUnsynced},
		{name: "random date with a file", system: build.AddDate(40, 0, 0), newest: build.Add(shelf), want: build.Add(shelf), clock: event.ClockUnsynced},
		{name: "synced", system: real, synced: true, newest: real.Add(shelf), want: real, clock: event.ClockSynced},
		{name: "a kernel that calls 1970 synced", system: at1970, synced: true, want: build, clock: event.ClockUnsynced},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &fakeSystem{}
				s.synced.Store(tt.synced)
				s.set(tt.system)
				c := newClock(s, build)
				c.Raise(tt.newest)
				time.Sleep(90 * time.Second)
				got := c.Stamp()
				if want := tt.want.Add(90 * time.Second); !got.Time.Equal(want) || got.Clock != tt.clock || got.Boot != "b" || got.Time.Location() != time.UTC {
					t.Errorf("Stamp: %+v, want %v, %s", got, want, tt.clock)
				}
				if _, ok := c.Judge(); ok {
					t.Error("Judge knows a time that nobody told")
				}
				if want := latest(build, tt.newest); !c.Floor().Equal(want) {
					t.Errorf("Floor: %v, want %v", c.Floor(), want)
				}
			})
		})
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// TestSync: the moment the clock becomes known, one offset mends everything that
// was stamped before, and the time is right from then on.
func TestSync(t *testing.T) {
	tests := []struct {
		name   string
		sync   func(s *fakeSystem, c *Clock, now time.Time)
		source string
		within time.Duration // of the right time
	}{
		{
			name: "kernel", source: SourceKernel,
			sync: func(s *fakeSystem, _ *Clock, now time.Time) { s.set(now); s.synced.Store(true) },
		},
		{
			name: "manager", source: SourceManager, within: 50 * time.Millisecond,
			sync: func(_ *fakeSystem, c *Clock, now time.Time) {
				c.Welcome(now.Add(-20*time.Millisecond), 100*time.Millisecond)
			},
		},
		{
			name: "manager, slowly, but there is nothing better", source: SourceManager, within: 15 * time.Second,
			sync: func(_ *fakeSystem, c *Clock, now time.Time) { c.Welcome(now.Add(-20*time.Second), 30*time.Second) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &fakeSystem{}
				s.set(at1970)
				c := newClock(s, build)
				first := c.Stamp() // of an event at the start
				begun := time.Now()
				stop, reports := runClock(t, c, nil)
				time.Sleep(time.Hour)
				s.set(at1970.Add(99 * time.Hour)) // somebody turns the system's clock: no matter
				before := c.Stamp()
				if elapsed := before.Time.Sub(first.Time); elapsed != time.Hour {
					t.Errorf("an hour took %v", elapsed)
				}
				tt.sync(s, c, real)
				time.Sleep(2 * time.Second)
				now := real.Add(2 * time.Second)
				after := c.Stamp()
				if apart := after.Time.Sub(now).Abs(); apart > tt.within || after.Clock != event.ClockSynced || !c.Synced() {
					t.Errorf("Stamp: %+v, want %v", after, now)
				}
				stop()
				if len(*reports) != 1 {
					t.Fatalf("%d reports, want one", len(*reports))
				}
				r := (*reports)[0]
				mended := first.Time.Add(time.Duration(r.OffsetMS) * time.Millisecond)
				happened := real.Add(-time.Hour)
				if apart := mended.Sub(happened).Abs(); apart > tt.within+time.Second || r.Boot != "b" || r.Source != tt.source {
					t.Errorf("report %+v mends %v to %v, want %v", r, first.Time, mended, happened)
				}
				if time.Since(begun) > 2*time.Hour {
					t.Error("took long")
				}
			})
		})
	}
}

// runClock runs c until stop, and notes what it reports. fail says how often
// recording fails first.
func runClock(t *testing.T, c *Clock, fail *int) (stop func(), reports *[]event.GatewayClock) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reports = new([]event.GatewayClock)
	done := make(chan error, 1)
	go func() {
		done <- c.Run(ctx, func(_ context.Context, r event.GatewayClock) error {
			if fail != nil && *fail > 0 {
				*fail--
				return errors.New("disk full")
			}
			*reports = append(*reports, r)
			return nil
		})
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}, reports
}

// TestOneOffset: whoever comes second changes nothing about the past.
func TestOneOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSystem{}
		s.set(at1970)
		c := newClock(s, build)
		stop, reports := runClock(t, c, nil)
		time.Sleep(time.Minute)
		c.Welcome(real, 0)
		time.Sleep(time.Minute)
		s.set(real.Add(time.Minute + 3*time.Second)) // the kernel knows better by three seconds
		s.synced.Store(true)
		time.Sleep(2 * time.Minute)
		if got, want := c.Stamp().Time, s.now().UTC(); !got.Equal(want) {
			t.Errorf("Stamp: %v, want the kernel's %v", got, want)
		}
		s.synced.Store(false) // it lost its source: what it has is still the best
		time.Sleep(10 * time.Minute)
		if got := c.Stamp(); !got.Time.Equal(s.now().UTC()) || got.Clock != event.ClockSynced {
			t.Errorf("Stamp: %+v, want %v", got, s.now())
		}
		stop()
		if len(*reports) != 1 || (*reports)[0].Source != SourceManager {
			t.Errorf("reports %+v, want the manager's alone", *reports)
		}
	})
}

// TestSyncedFromTheStart: nothing is to be mended, so nothing is reported.
func TestSyncedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSystem{}
		s.synced.Store(true)
		s.set(real)
		c := newClock(s, build)
		stop, reports := runClock(t, c, nil)
		c.Welcome(real.Add(-time.Hour), 0)
		time.Sleep(time.Hour)
		stop()
		if len(*reports) != 0 || !c.Stamp().Time.Equal(s.now().UTC()) {
			t.Errorf("reports %+v, time %v", *reports, c.Stamp().Time)
		}
		judge, ok := c.Judge()
		if want := real.Add(-time.Hour).Add(time.Hour); !ok || !judge.Equal(want) {
			t.Errorf("Judge: %v, %t; want the manager's %v", judge, ok, want)
		}
	})
}

// TestReportAgain: an offset that cannot be recorded is not forgotten.
func TestReportAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSystem{}
		s.set(at1970)
		c := newClock(s, build)
		fail := 5
		stop, reports := runClock(t, c, &fail)
		c.Welcome(real, 0)
		time.Sleep(5 * time.Minute)
		stop()
		if len(*reports) != 1 {
			t.Errorf("%d reports, want one", len(*reports))
		}
	})
}

// TestJudge: commands expire by the manager's time and the monotonic clock.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSystem{}
		s.set(at1970)
		c := newClock(s, build)
		c.Welcome(time.Time{}, 0) // says nothing
		if _, ok := c.Judge(); ok {
			t.Error("Judge knows a time that nobody told")
		}
		c.Welcome(real, 2*time.Second)
		s.set(at1970.Add(5000 * time.Hour))
		time.Sleep(time.Hour)
		if got, ok := c.Judge(); !ok || !got.Equal(real.Add(time.Hour+time.Second)) {
			t.Errorf("Judge: %v, %t", got, ok)
		}
		c.Welcome(real, time.Minute) // an hour old by the time it came: not believed
		if got, _ := c.Judge(); !got.Equal(real.Add(time.Hour + time.Second)) {
			t.Errorf("Judge after a slow welcome: %v", got)
		}
		c.Welcome(real.Add(2*time.Hour), time.Second)
		if got, _ := c.Judge(); !got.Equal(real.Add(2*time.Hour + time.Second/2)) {
			t.Errorf("Judge after a quick welcome: %v", got)
		}
	})
}

// TestKernel: whatever this machine's kernel says, asking it does not fail.
func TestKernel(t *testing.T) {
	c := New("b", build, discards)
	if got := c.Stamp(); got.Time.Before(build) || got.Boot != "b" {
		t.Errorf("Stamp: %+v", got)
	}
	t.Logf("kernel synced: %t", c.Synced())
}

func BenchmarkStamp(b *testing.B) {
	c := New("b", build, discards)
	c.Welcome(real, 0)
	for b.Loop() {
		if c.Stamp().Boot == "" {
			b.Fatal("no boot")
		}
	}
}
