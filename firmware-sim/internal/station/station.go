// Package station is an OCPP 1.6 charge point with everything that a real one
// has but the metal: connectors with meters and cars, registration, local
// authorization, an offline queue, smart charging, reservations, firmware, logs
// and certificates.
//
// One goroutine, Run, owns a charge point. What the outside does to it (a plug,
// a card, a power cut) and what comes over the wire is handed to that goroutine
// and done there one after the other. At the end of every turn, what changed in
// non-volatile memory is saved, and only then is anything sent.
//
// Its time is time.Now, moved by the offset of its own clock.
package station

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// Conn is a connection to the central system. Read and Write are called by one
// goroutine each, the others by any.
type Conn interface {
	Read() ([]byte, error)
	Write(data []byte) error
	// Ping sends a ping; hearing nothing for patience ends the connection.
	Ping(patience time.Duration) error
	Close(reason string) error
	// Cut ends the connection without a word.
	Cut() error
}

// Dialer connects to the central system.
type Dialer interface {
	Dial(ctx context.Context, identity string, password []byte) (Conn, error)
}

// Config is one charge point.
type Config struct {
	Identity string
	Password string // of the factory; AuthorizationKey replaces it
	Vendor   string
	Model    string
	Firmware string // version of the factory
	Outlets  []car.Supply
	// RegisterWh is where the meters stand when the charge point is new.
	RegisterWh float64
	// Configuration presets keys; what the central system sets stays.
	Configuration map[string]string
	Reconnect     time.Duration // shortest wait before connecting anew; it grows 16-fold
	CallTimeout   time.Duration // for the answer to a CALL
	BootTime      time.Duration // from power to the first attempt to connect
	DataVendors   []string      // vendorIds whose DataTransfer is accepted
	Seed          uint64
}

// ErrStopped is returned for a charge point whose Run has ended.
var ErrStopped = errors.New("the charge point has stopped")

// ErrRefused wraps what a charge point cannot do in its present state.
var ErrRefused = errors.New("not possible now")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// Station is one charge point. Its methods may be called by any goroutine while
// Run runs.
type Station struct {
	cfg    Config
	dialer Dialer
	memory Memory
	ledger *ledger.Ledger
	log    *slog.Logger

	inbox chan func()
	done  chan struct{} // closed when Run has ended
	wg    sync.WaitGroup

	// What follows belongs to the goroutine of Run.

	ctx        context.Context // of Run
	random     *rand.Rand
	state      *State
	dirty      bool // state is to be saved
	savedAt    time.Time
	keys       *keys.Store
	offset     time.Duration // of the charge point's clock
	connectors []*connector  // connector 1 first
	board      *fault        // of the charge point as a whole
	conflict   bool          // a LocalListConflict is to be reported
	alarms     map[string]alarm
	waiters    []waiter
	draining   bool
	powered    bool
	linkDown   bool // the network is away
	fatal      error

	// What follows is in RAM and lost with the power.

	link         link
	registration ocpp16.RegistrationStatus // empty before the first answer
	fresh        bool                      // not accepted yet since the start
	rejectedTill time.Time
	calls        []*call // not transaction-related, waiting to be sent
	order        uint64  // of the newest message
	backlog      uint64  // order of the newest message when the connection came
	pending      *call   // sent and not answered
	retryAt      time.Time
	timeouts     int // calls in a row that were not answered in time
	firmware     job
	upload       job
	jobs         int  // so far
	noSecurity   bool // the central system does not know the security extension
	boardStatus  report
	resetting    ocpp16.ResetType
}

// alarm is something to be done at a time.
type alarm struct {
	at time.Time
	do func()
}

// waiter is somebody who waits for a state of the charge point.
type waiter struct {
	met  func(View) bool
	done chan struct{}
}

// New returns a charge point that remembers what is in memory. It starts in Run.
func New(cfg Config, dialer Dialer, memory Memory, book *ledger.Ledger, log *slog.Logger) (*Station, error) {
	if cfg.Identity == "" || len(cfg.Outlets) == 0 {
		return nil, fmt.Errorf("charge point %q with %d connectors: expected an identity and at least one", cfg.Identity, len(cfg.Outlets))
	}
	s := &Station{
		cfg: cfg, dialer: dialer, memory: memory, ledger: book,
		log:    log.With("station", cfg.Identity),
		inbox:  make(chan func(), 16),
		done:   make(chan struct{}),
		random: rand.New(rand.NewPCG(cfg.Seed, 0x0C99_16)),
		alarms: map[string]alarm{},
	}
	state, err := memory.Load()
	if err != nil {
		return nil, fmt.Errorf("charge point %s: %w", cfg.Identity, err)
	}
	if state == nil {
		state = &State{Firmware: cfg.Firmware}
		for range cfg.Outlets {
			state.Connectors = append(state.Connectors, ConnectorState{RegisterWh: cfg.RegisterWh})
		}
	}
	if n := len(state.Connectors); n > len(cfg.Outlets) {
		return nil, fmt.Errorf("charge point %s remembers %d connectors and has %d: expected at least as many (remove its memory to start with a new one)", cfg.Identity, n, len(cfg.Outlets))
	}
	for len(state.Connectors) < len(cfg.Outlets) {
		state.Connectors = append(state.Connectors, ConnectorState{RegisterWh: cfg.RegisterWh})
	}
	if err := s.restore(state); err != nil {
		return nil, fmt.Errorf("charge point %s: %w", cfg.Identity, err)
	}
	return s, nil
}

// restore takes over what was remembered.
func (s *Station) restore(state *State) error {
	if state.Transactions == nil {
		state.Transactions = map[int64]*Transaction{}
	}
	if state.Cache == nil {
		state.Cache = map[string]CacheEntry{}
	}
	if state.List.Entries == nil {
		state.List.Entries = map[string]ocpp16.IDTagInfo{}
	}
	if state.Reservations == nil {
		state.Reservations = map[int64]Reservation{}
	}
	preset := keys.NewStore(nil, len(s.cfg.Outlets))
	for name, value := range s.cfg.Configuration {
		if err := preset.Preset(name, value); err != nil {
			return err
		}
	}
	if state.Configuration == nil {
		state.Configuration = preset.Values
	}
	s.state = state
	s.keys = keys.NewStore(state.Configuration, len(s.cfg.Outlets))
	s.offset = state.ClockOffset
	for i, supply := range s.cfg.Outlets {
		s.connectors = append(s.connectors, &connector{
			id: i + 1, outlet: car.NewOutlet(supply, state.Connectors[i].RegisterWh, s.random), last: time.Now(),
		})
	}
	for _, m := range state.Queue {
		s.order = max(s.order, m.Order)
	}
	return nil
}

// Identity is the charge point's name.
func (s *Station) Identity() string { return s.cfg.Identity }

// Connectors is how many it has.
func (s *Station) Connectors() int { return len(s.cfg.Outlets) }

// Run is the life of the charge point: it is switched on, and when ctx ends it
// is unplugged from the world. It returns an error only when its memory fails.
func (s *Station) Run(ctx context.Context) error {
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.ctx = runCtx
	s.interrupted(s.state.Alive) // what ran when the simulator ended
	s.powerOn()
	s.settle()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.fatal == nil && ctx.Err() == nil {
		timer.Reset(s.untilNext())
		select {
		case <-ctx.Done():
		case f := <-s.inbox:
			f()
			s.settle()
		case <-timer.C:
			s.ring()
			s.settle()
		}
	}
	s.finish()
	close(s.done)
	cancel()
	s.wg.Wait()
	return s.fatal
}

// finish is the end of the simulator: memory and ledger are brought up to date.
func (s *Station) finish() {
	s.draining = true // nothing begins any more
	s.advanceAll()
	s.state.Alive = s.now()
	s.dirty = true
	s.dropLink("the simulator ends", true)
	for _, c := range s.calls {
		s.giveUp(c, "the simulator ended")
	}
	s.calls = nil
	for _, m := range s.state.Queue {
		s.account(m, nil, "the simulator ended", true)
	}
	s.save()
}

// save writes memory when it changed.
func (s *Station) save() {
	if !s.dirty || s.fatal != nil {
		return
	}
	s.dirty = false
	for i, c := range s.connectors {
		s.state.Connectors[i].RegisterWh = c.outlet.RegisterWh()
	}
	s.state.ClockOffset, s.savedAt = s.offset, time.Now()
	if s.powered {
		s.state.Alive = s.now()
	}
	if err := s.memory.Save(s.state); err != nil {
		s.fatal = fmt.Errorf("charge point %s: %w", s.cfg.Identity, err)
	}
}

// settle ends every turn: limits and contactors follow what happened, status
// changes are noted, memory is saved, the next message is sent, and whoever
// waited for this is told.
func (s *Station) settle() {
	if s.powered {
		s.applyLimits()
		s.reportStatuses()
	}
	frame := s.prepare()
	s.save()
	if s.fatal != nil {
		return
	}
	s.transmit(frame)
	if len(s.waiters) == 0 {
		return
	}
	view := s.view()
	s.waiters = slices.DeleteFunc(s.waiters, func(w waiter) bool {
		if !w.met(view) {
			return false
		}
		close(w.done)
		return true
	})
}

// ---- time

// now is the time as the charge point's clock shows it.
func (s *Station) now() time.Time { return time.Now().Add(s.offset).UTC() }

// in sets an alarm; one of the same name is replaced.
func (s *Station) in(name string, d time.Duration, do func()) {
	s.alarms[name] = alarm{at: time.Now().Add(max(0, d)), do: do}
}

// off takes an alarm back.
func (s *Station) off(name string) { delete(s.alarms, name) }

// untilNext is how long the goroutine may sleep.
func (s *Station) untilNext() time.Duration {
	next := time.Hour
	for _, a := range s.alarms {
		next = min(next, time.Until(a.at))
	}
	return max(0, next)
}

// ring does what is due, in order of time.
func (s *Station) ring() {
	for {
		var name string
		var first alarm
		now := time.Now()
		for n, a := range s.alarms {
			if !a.at.After(now) && (name == "" || a.at.Before(first.at) || a.at.Equal(first.at) && n < name) {
				name, first = n, a
			}
		}
		if name == "" {
			return
		}
		delete(s.alarms, name)
		first.do()
	}
}

// ---- from outside

// post hands f to the goroutine; it is lost when the charge point has stopped.
func (s *Station) post(f func()) {
	select {
	case s.inbox <- f:
	case <-s.done:
	}
}

// do runs f on the goroutine and returns its error.
func (s *Station) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case s.inbox <- func() { result <- f() }:
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// background runs work beside the goroutine; its context ends with the charge
// point or with the returned function.
func (s *Station) background(work func(ctx context.Context)) context.CancelFunc {
	ctx, cancel := context.WithCancel(s.ctx)
	s.wg.Go(func() {
		defer cancel()
		work(ctx)
	})
	return cancel
}

func at(t time.Time) lenient.Time { return lenient.At(t) }

// ms cuts a time to what OCPP can say.
func ms(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
