// Package depot runs many simulated chargers side by side, each living through
// its script.
package depot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/scenario"
	"golang.org/x/sync/errgroup"
)

// Config is a depot. What is zero is left to the scenario or is usual.
type Config struct {
	Scenario    *scenario.Scenario
	Count       int    // chargers; 0: as many as the scenario has
	Prefix      string // of identities: prefix and number from 001
	Identity    string // of the only charger
	Connectors  int    // of each charger; 0: as the scenario says
	Version     string // of OCPP, as its sub-protocol; empty: as the scenario says
	Personality string // of every charger; empty: as the scenario says
	Password    string
	StateDir    string // memories of the chargers; empty: in RAM
	Seed        uint64
	Reconnect   time.Duration
	CallTimeout time.Duration
	BootTime    time.Duration
	DataVendors []string
	Secure      bool // chargers can go to security profiles 2 and 3
}

const (
	usualReconnect = time.Second
	usualTimeout   = 30 * time.Second
	usualBoot      = 500 * time.Millisecond
	startSpacing   = 2 * time.Millisecond // between chargers, so that a thousand do not start at once
)

// Depot is a number of chargers.
type Depot struct {
	chargers []member
	byID     map[string]Charger
	log      *slog.Logger

	mu       sync.Mutex
	draining bool
	drain    chan struct{} // closed when nothing new is to begin
	scripts  sync.WaitGroup
}

type member struct {
	station Charger
	group   *scenario.Group
	seed    uint64
}

// New makes the chargers. They start in Run.
func New(cfg Config, dialer charger.Dialer, book *ledger.Ledger, log *slog.Logger) (*Depot, error) {
	count := cfg.Count
	if count == 0 {
		count = cfg.Scenario.Chargers()
	}
	if cfg.Identity != "" {
		if cfg.Count > 1 {
			return nil, fmt.Errorf("one identity for %d chargers: expected a prefix, or a count of 1", cfg.Count)
		}
		count = 1
	}
	first := func(values ...time.Duration) time.Duration {
		for _, v := range values {
			if v > 0 {
				return v
			}
		}
		return 0
	}
	var folder *charger.Folder
	if cfg.StateDir != "" {
		var err error
		if folder, err = charger.OpenFolder(cfg.StateDir); err != nil {
			return nil, err
		}
	}
	d := &Depot{byID: map[string]Charger{}, log: log, drain: make(chan struct{})}
	taken := map[*scenario.Group]int{} // personalities of a group so far
	for i, g := range cfg.Scenario.Assign(count) {
		id := fmt.Sprintf("%s%03d", cfg.Prefix, i+1)
		if cfg.Identity != "" {
			id = cfg.Identity
		}
		m := maker{
			cfg: cfg, group: g, identity: id, seed: cfg.Seed<<20 + uint64(i) + 1, dialer: dialer, folder: folder, book: book, log: log,
			reconnect: first(cfg.Reconnect, cfg.Scenario.Reconnect, usualReconnect),
			timeout:   first(cfg.CallTimeout, usualTimeout), boot: first(cfg.BootTime, usualBoot),
		}
		name := cfg.Personality
		if n := len(g.Personalities); name == "" && n > 0 {
			name = g.Personalities[taken[g]%n]
			taken[g]++
		}
		st, err := m.charger(or(cfg.Version, g.Version), name)
		if err != nil {
			return nil, err
		}
		d.chargers = append(d.chargers, member{st, g, m.seed})
		d.byID[id] = st
	}
	return d, nil
}

// Station finds a charger.
func (d *Depot) Station(id string) (Charger, bool) {
	s, ok := d.byID[id]
	return s, ok
}

// Views returns how all chargers stand, in order.
func (d *Depot) Views(ctx context.Context) ([]charger.View, error) {
	all := make([]charger.View, 0, len(d.chargers))
	for _, c := range d.chargers {
		v, err := c.station.Look(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// Run lets the chargers live until ctx ends. It returns an error when one of
// their memories fails.
func (d *Depot) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	scripts, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		select {
		case <-d.drain:
			stop()
		case <-ctx.Done():
		}
		return nil
	})
	d.scripts.Add(len(d.chargers))
	for i, c := range d.chargers {
		group.Go(func() error {
			t := time.NewTimer(time.Duration(i) * startSpacing)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
			}
			var players errgroup.Group
			for n := 1; n <= c.station.Connectors() && len(c.group.Script) > 0; n++ {
				p := scenario.NewPlayer(c.group, c.station, c.station.Identity(), n, c.seed, d.log)
				players.Go(func() error { return p.Play(scripts) })
			}
			group.Go(func() error {
				defer d.scripts.Done()
				return players.Wait()
			})
			return c.station.Run(ctx)
		})
	}
	return group.Wait()
}

// Drain lets no session begin any more, and ends those that run. What is queued
// goes on being sent.
func (d *Depot) Drain(ctx context.Context) error {
	d.mu.Lock()
	if !d.draining {
		d.draining = true
		close(d.drain)
	}
	d.mu.Unlock()
	d.scripts.Wait() // they end at once, or the chargers have ended
	var errs []error
	for _, c := range d.chargers {
		if err := c.station.Drain(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.station.Identity(), err))
		}
	}
	return errors.Join(errs...)
}

// Empty tells whether nothing runs and nothing is queued anywhere.
func (d *Depot) Empty(ctx context.Context) (bool, error) {
	views, err := d.Views(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(views, func(v charger.View) bool { return v.Queue > 0 || v.Transaction() != "" }), nil
}
