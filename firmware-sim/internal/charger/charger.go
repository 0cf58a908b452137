// Package charger is what simulated chargers of every OCPP version have in
// common: one goroutine that owns all, alarms, a clock that can be wrong, a link
// that comes back, one CALL at a time, a queue of messages that must not be lost,
// non-volatile memory and the ledger. What the messages say is the business of a
// Dialect.
//
// What the outside does to a charger (a plug, a card, a power cut) and what comes
// over the wire is handed to the goroutine and done there one after the other. At
// the end of every turn, what changed in non-volatile memory is saved, and only
// then is anything sent.
//
// Its time is time.Now, moved by the offset of its own clock.
package charger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Config is what the common part of a charger has to know.
type Config struct {
	Identity    string
	Version     string        // of OCPP, as its sub-protocol: ocppj.V16
	Personality string        // for the ledger; empty for one without quirks
	Reconnect   time.Duration // shortest wait before connecting anew; it grows 16-fold
	CallTimeout time.Duration // for the answer to a CALL
	BootTime    time.Duration // from power to the first attempt to connect
	Seed        uint64
}

// Dialect is the part of a charger that knows the messages. All of its methods
// are called on the charger's goroutine.
type Dialect interface {
	// Begin is the start of the simulator, End its end.
	Begin()
	End()
	// Settle ends every turn, before memory is saved and anything is sent.
	Settle()
	// State is what memory is to keep beside the queue.
	State() any
	// View is how the charger stands.
	View() View

	// Login is who the charger is to the server at the next connection.
	Login() Login
	// Boot registers, now that there is a connection; also when it is told to.
	Boot()
	// Resumed tells of a new connection while the registration holds.
	Resumed()
	// Patience is what the configuration says now.
	Patience() Patience

	// Ordered carries out a CALL of the server and answers it.
	Ordered(f ocppj.Frame)
	// Answer reads the payload of an answer; an error is one that cannot be used.
	Answer(action string, payload []byte) (any, error)
	// Complete returns the payload of a queued message as it is to be sent now.
	Complete(m *Message) []byte
	// Concluded takes the answer to a queued message, as Answer has read it.
	Concluded(m *Message, answer any)
	// Discarded is the fate of a queued message that the server would not take.
	Discarded(m *Message, err error)
}

// Patience is how a charger deals with what is not answered.
type Patience struct {
	Attempts int           // to deliver a queued message that the server fails to process
	Wait     time.Duration // before the second; it grows with each
	Ping     time.Duration // between WebSocket pings; 0: none
}

// Registration is how the server took our BootNotification; the words are those
// of all versions. It is empty before the first answer.
type Registration string

// The registrations.
const (
	Accepted Registration = "Accepted"
	Pending  Registration = "Pending"
	Rejected Registration = "Rejected"
)

// ErrStopped is returned for a charger whose Run has ended.
var ErrStopped = errors.New("the charge point has stopped")

// ErrRefused wraps what a charger cannot do in its present state.
var ErrRefused = errors.New("not possible now")

// Refused returns an ErrRefused that says why.
func Refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// Core is the common part of a charger. Do, Look, Await, SetLink, SkewClock and
// Run may be called by any goroutine; everything else is for the Dialect, on the
// goroutine of Run.
type Core struct {
	Log    *slog.Logger
	Random *rand.Rand
	Book   *ledger.Ledger

	cfg     Config
	dialer  Dialer
	dialect Dialect
	memory  Memory

	inbox chan func()
	done  chan struct{} // closed when Run has ended
	wg    sync.WaitGroup

	// What follows belongs to the goroutine of Run.

	// Queue is in non-volatile memory: messages that the server has not
	// answered yet, oldest first.
	Queue  []*Message
	Offset time.Duration // of the charger's clock
	// Powered is set and taken back by the Dialect.
	Powered bool

	ctx      context.Context // of Run
	dirty    bool            // memory is to be saved
	savedAt  time.Time
	alarms   map[string]alarm
	waiters  []waiter
	linkDown bool // the network is away
	fatal    error

	// What follows is in RAM and lost with the power.

	Registration Registration
	Calls        []*Call // not of the queue, waiting to be sent
	RejectedTill time.Time

	link     link
	order    uint64 // of the newest message
	backlog  uint64 // order of the newest message when the connection came
	pending  *Call  // sent and not answered
	retryAt  time.Time
	timeouts int // calls in a row that were not answered in time
}

// alarm is something to be done at a time.
type alarm struct {
	at time.Time
	do func()
}

// New returns the common part of a charger whose queue was remembered.
func New(cfg Config, dialect Dialect, dialer Dialer, memory Memory, queue []*Message, book *ledger.Ledger, log *slog.Logger) *Core {
	c := &Core{
		cfg: cfg, dialect: dialect, dialer: dialer, memory: memory, Queue: queue, Book: book,
		Log:    log.With("station", cfg.Identity),
		inbox:  make(chan func(), 16),
		done:   make(chan struct{}),
		Random: rand.New(rand.NewPCG(cfg.Seed, 0x0C99_16)),
		alarms: map[string]alarm{},
	}
	for _, m := range queue {
		c.order = max(c.order, m.Order)
	}
	return c
}

// Identity is the charger's name.
func (c *Core) Identity() string { return c.cfg.Identity }

// Run is the life of the charger: it is switched on, and when ctx ends it is
// unplugged from the world. It returns an error only when its memory fails.
func (c *Core) Run(ctx context.Context) error {
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	c.ctx = runCtx
	c.dialect.Begin()
	c.settle()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for c.fatal == nil && ctx.Err() == nil {
		timer.Reset(c.untilNext())
		select {
		case <-ctx.Done():
		case f := <-c.inbox:
			f()
			c.settle()
		case <-timer.C:
			c.ring()
			c.settle()
		}
	}
	c.finish()
	close(c.done)
	cancel()
	c.wg.Wait()
	return c.fatal
}

// finish is the end of the simulator: memory and ledger are brought up to date.
func (c *Core) finish() {
	c.dialect.End()
	c.dirty = true
	c.DropLink("the simulator ends", true)
	for _, call := range c.Calls {
		c.giveUp(call, "the simulator ended")
	}
	c.Calls = nil
	for _, m := range c.Queue {
		c.account(m, nil, "the simulator ended", true)
	}
	c.Save()
}

// Dirty tells that memory has changed.
func (c *Core) Dirty() { c.dirty = true }

// SavedAt is when memory was saved last.
func (c *Core) SavedAt() time.Time { return c.savedAt }

// Save writes memory when it changed.
func (c *Core) Save() {
	if !c.dirty || c.fatal != nil {
		return
	}
	c.dirty, c.savedAt = false, time.Now()
	if err := c.memory.Save(c.dialect.State(), c.Queue); err != nil {
		c.fatal = fmt.Errorf("charge point %s: %w", c.cfg.Identity, err)
	}
}

// settle ends every turn: the dialect draws its conclusions, memory is saved, the
// next message is sent, and whoever waited for this is told.
func (c *Core) settle() {
	c.dialect.Settle()
	frame := c.prepare()
	c.Save()
	if c.fatal != nil {
		return
	}
	c.transmit(frame)
	if len(c.waiters) == 0 {
		return
	}
	view := c.dialect.View()
	c.waiters = slices.DeleteFunc(c.waiters, func(w waiter) bool {
		if !w.met(view) {
			return false
		}
		close(w.done)
		return true
	})
}

// Forget loses what is in RAM.
func (c *Core) Forget() {
	for _, call := range c.Calls {
		c.giveUp(call, "lost with the power")
	}
	c.Calls = nil
	if c.pending != nil {
		c.giveUp(c.pending, "lost with the power")
		c.pending = nil
	}
	c.retryAt, c.timeouts = time.Time{}, 0
	clear(c.alarms)
	c.dirty = true
}

// ---- time

// clockSlack is how far our clock may be from the server's before it is set:
// whole seconds and the way here are no reason.
const clockSlack = 2 * time.Second

// Now is the time as the charger's clock shows it.
func (c *Core) Now() time.Time { return time.Now().Add(c.Offset).UTC() }

// SetClock follows the server's time and reports whether that was necessary.
func (c *Core) SetClock(t time.Time) bool {
	if t.IsZero() {
		return false
	}
	off := t.Sub(c.Now())
	if off.Abs() <= clockSlack {
		return false
	}
	c.Log.Info("the clock is set", "by", off.Round(time.Millisecond))
	c.Offset += off
	c.dirty = true
	return true
}

// SkewClock moves the charger's clock until the server sets it.
func (c *Core) SkewClock(ctx context.Context, by time.Duration) error {
	return c.Do(ctx, func() error {
		c.Offset += by
		c.dirty = true
		return nil
	})
}

// In sets an alarm; one of the same name is replaced.
func (c *Core) In(name string, d time.Duration, do func()) {
	c.alarms[name] = alarm{at: time.Now().Add(max(0, d)), do: do}
}

// Off takes an alarm back.
func (c *Core) Off(name string) { delete(c.alarms, name) }

// Awaits tells whether an alarm is set.
func (c *Core) Awaits(name string) bool {
	_, ok := c.alarms[name]
	return ok
}

// untilNext is how long the goroutine may sleep.
func (c *Core) untilNext() time.Duration {
	next := time.Hour
	for _, a := range c.alarms {
		next = min(next, time.Until(a.at))
	}
	return max(0, next)
}

// ring does what is due, in order of time.
func (c *Core) ring() {
	for {
		var name string
		var first alarm
		now := time.Now()
		for n, a := range c.alarms {
			if !a.at.After(now) && (name == "" || a.at.Before(first.at) || a.at.Equal(first.at) && n < name) {
				name, first = n, a
			}
		}
		if name == "" {
			return
		}
		delete(c.alarms, name)
		first.do()
	}
}

// Milliseconds cuts a time to what OCPP can say.
func Milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// ---- from outside

// Post hands f to the goroutine; it is lost when the charger has stopped.
func (c *Core) Post(f func()) {
	select {
	case c.inbox <- f:
	case <-c.done:
	}
}

// Do runs f on the goroutine and returns its error.
func (c *Core) Do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case c.inbox <- func() { result <- f() }:
	case <-c.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-c.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Background runs work beside the goroutine; its context ends with the charger or
// with the returned function.
func (c *Core) Background(work func(ctx context.Context)) context.CancelFunc {
	ctx, cancel := context.WithCancel(c.ctx)
	c.wg.Go(func() {
		defer cancel()
		work(ctx)
	})
	return cancel
}
