// Package clock tells the gateway's time and whether to believe it.
//
// A box may boot without a clock. Until the clock is synced, time runs from the
// best guess at the start by the monotonic clock, so that one offset mends every
// event of the start. Synced means that the kernel says so or that the manager
// told its time. The system's clock is never set.
package clock

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
)

// Sources of a sync, as gateway.clock names them.
const (
	SourceKernel  = "kernel"
	SourceManager = "manager"
)

const (
	// plausible bounds how far ahead of the floor an unsynced system clock is
	// still the better guess: a box off for a year is likelier than one whose
	// battery-less clock holds a random date, and a guess once recorded raises
	// the floor of every later start.
	plausible = 365 * 24 * time.Hour
	// pollUnsynced and pollSynced are the pauses between looks at the kernel.
	pollUnsynced = time.Second
	pollSynced   = time.Minute
	// slowAnswer is the round trip above which a manager's time is taken only
	// when there is none yet: it may be wrong by half of it.
	slowAnswer = 10 * time.Second
	// disagreement between a synced kernel and the manager that is worth a line
	// in the log.
	disagreement = time.Minute
)

// oldest is before any moment at which this program can have run: a kernel that
// shows less is not synced, whatever it says.
var oldest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Clock is the gateway's clock. It implements site.Clock.
type Clock struct {
	boot   string
	log    *slog.Logger
	system func() time.Time // the system's clock
	kernel func() bool      // whether the kernel takes it for synced

	reading atomic.Pointer[reading] // replaced, never changed
	judge   atomic.Pointer[reading] // the manager's time; nil until told
	wake    chan struct{}           // tells Run that there is a sync to report

	mu     sync.Mutex
	floor  time.Time           // guarded by mu
	report *event.GatewayClock // of the sync of this boot, until Run has reported it
}

// reading is how to tell the time: the system's clock, or wall at the moment at,
// carried on by the monotonic clock.
type reading struct {
	system func() time.Time // nil: wall
	wall   time.Time
	at     time.Time // with a monotonic reading
	clock  event.Clock
}

func (r *reading) now() time.Time {
	if r.system != nil {
		return r.system().UTC()
	}
	return r.wall.Add(time.Since(r.at))
}

// New returns the clock of the start called boot. floor is a moment that is
// surely past: the build of this program, or the newest event that it recorded.
func New(boot string, floor time.Time, log *slog.Logger) *Clock {
	return newOn(boot, floor, seam.Now, func() bool { return seam.ClockSynced(adjtimex()) }, log)
}

func newOn(boot string, floor time.Time, system func() time.Time, kernel func() bool, log *slog.Logger) *Clock {
	c := &Clock{boot: boot, log: log, system: system, kernel: kernel, wake: make(chan struct{}, 1)}
	c.raise(floor)
	if c.kernelSynced() {
		c.reading.Store(c.systemReading())
	}
	return c
}

// Raise moves the floor up to newest, a moment found to be past after New: the
// newest event in the gateway's own file. It belongs before the first event of
// this start is stamped, since one offset has to mend them all.
func (c *Clock) Raise(newest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if newest.After(c.floor) {
		c.raise(newest)
	}
}

// raise is called with mu held, or before c is shared.
func (c *Clock) raise(floor time.Time) {
	c.floor = floor.UTC()
	if r := c.reading.Load(); r != nil && r.clock == event.ClockSynced {
		return
	}
	wall := c.floor
	if system := c.system().UTC(); system.After(wall) && system.Sub(wall) < plausible {
		wall = system
	}
	c.reading.Store(&reading{wall: wall, at: time.Now(), clock: event.ClockUnsynced})
}

// Floor is a moment that is surely past, whatever the clock shows.
func (c *Clock) Floor() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floor
}

// Stamp returns the gateway's time. It is cheap: every call of a charger takes one.
func (c *Clock) Stamp() site.Stamp {
	r := c.reading.Load()
	return site.Stamp{Time: r.now(), Boot: c.boot, Clock: r.clock}
}

// Synced tells whether the clock is to be believed.
func (c *Clock) Synced() bool { return c.reading.Load().clock == event.ClockSynced }

// Judge returns the manager's time, by which commands expire; ok is false until
// a welcome told it. The system's clock, synced or not, has no say.
func (c *Clock) Judge() (now time.Time, ok bool) {
	r := c.judge.Load()
	if r == nil {
		return time.Time{}, false
	}
	return r.now(), true
}

// Welcome takes the manager's time t, answered within rtt of being asked. It
// syncs an unsynced clock.
func (c *Clock) Welcome(t time.Time, rtt time.Duration) {
	if t.IsZero() || rtt < 0 || rtt > slowAnswer && c.judge.Load() != nil {
		return
	}
	manager := &reading{wall: t.UTC().Add(rtt / 2), at: time.Now(), clock: event.ClockSynced}
	c.judge.Store(manager)
	if !c.sync(manager, SourceManager) {
		if apart := c.Stamp().Time.Sub(manager.now()); apart.Abs() > disagreement {
			c.log.Warn("the system's clock says that it is synced and disagrees with the manager", "ahead_ms", apart.Milliseconds())
		}
	}
}

// look asks the kernel and tells whether it is synced. Once it was, its clock is
// followed, also when it loses its source later.
func (c *Clock) look() bool {
	if !c.kernelSynced() {
		return false
	}
	if !c.sync(c.systemReading(), SourceKernel) && c.reading.Load().system == nil {
		// It followed the manager so far; the kernel knows better from now on.
		// Nothing is reported: what was stamped since the sync is right.
		c.reading.Store(c.systemReading())
	}
	return true
}

func (c *Clock) systemReading() *reading {
	return &reading{system: c.system, clock: event.ClockSynced}
}

// kernelSynced tells whether the system's clock is to be believed.
func (c *Clock) kernelSynced() bool { return c.kernel() && c.system().After(oldest) }

// sync makes to the reading of a clock that was unsynced and tells whether it did.
func (c *Clock) sync(to *reading, source string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.reading.Load()
	if from.clock == event.ClockSynced {
		return false
	}
	offset := to.now().Sub(from.now())
	c.reading.Store(to)
	c.report = &event.GatewayClock{Boot: c.boot, OffsetMS: offset.Milliseconds(), Source: source}
	c.log.Info("clock synced", "source", source, "offset_ms", offset.Milliseconds())
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return true
}

// Run watches the kernel until ctx ends and returns nil. onSync gets the offset
// of this start, once, when a clock that started unsynced becomes synced; it is
// asked again until it returns nil, because without the offset the times of the
// whole start stay wrong.
func (c *Clock) Run(ctx context.Context, onSync func(context.Context, event.GatewayClock) error) error {
	for failed := 0; ; {
		pause := pollUnsynced
		if c.look() {
			pause = pollSynced
		}
		if r := c.unreported(); r != nil {
			err := onSync(ctx, *r)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				if failed == 0 {
					c.log.Error("record the offset of the clock, trying again", "offset_ms", r.OffsetMS, "err", err)
				}
				failed++
				pause = min(pollUnsynced<<min(failed, 6), pollSynced)
			} else {
				c.reported()
				failed = 0
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-time.After(pause):
		}
	}
}

func (c *Clock) unreported() *event.GatewayClock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

func (c *Clock) reported() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report = nil
}
