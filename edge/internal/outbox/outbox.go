// Package outbox is the gateway's only durable queue: two lanes of events, each
// a SQLite file of its own, and beside the events the records that the site
// needs after a restart.
//
// What Commit has confirmed is on the disk, fsync included, and goes out in the
// order of its numbers until the manager says that its own database has it. A
// number is never given twice: every start and every new file begins a new
// stream. A damaged file costs what cannot be read of it, never the service.
package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Config says where the outbox lies and how much it may keep. Zero means the
// default, except for SamplesFlush.
type Config struct {
	Dir     string          // created when missing
	Gateway event.GatewayID // owner of Dir
	Boot    string          // names this start, for what the outbox itself reports

	// SamplesFlush is how long a sample may wait before it is durable. Zero: it
	// is durable before AddSamples returns.
	SamplesFlush time.Duration

	EventsBytes  int64         // size of events.db, default 1 GiB
	SamplesBytes int64         // size of samples.db, default 512 MiB
	KeepEvents   time.Duration // after delivery, default 7 days
	KeepSamples  time.Duration // after delivery, default 1 day
	BallastBytes int64         // given free when the disk is full, default 8 MiB; negative: none
	LargeBytes   int64         // size of the folder of events over 64 KiB, default 64 MiB
}

func (c Config) withDefaults() Config {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.EventsBytes, 1<<30)
	def(&c.SamplesBytes, 512<<20)
	def(&c.BallastBytes, 8<<20)
	def(&c.LargeBytes, 64<<20)
	def((*int64)(&c.KeepEvents), int64(7*24*time.Hour))
	def((*int64)(&c.KeepSamples), int64(24*time.Hour))
	return c
}

// Outbox is both lanes and the site's records. It implements site.Journal.
type Outbox struct {
	cfg   Config
	clock site.Clock
	log   *slog.Logger

	lock    *os.File // held while the directory is in use
	events  *Lane
	samples *Lane
	records *records
	sampler *sampler
	ballast *ballast
	reserve *ballast
	large   *large
	alarms  *alarms
	stats   counters

	requests sync.Pool // of *request

	closing sync.Once
}

// Open opens the files of cfg.Dir, or makes them, and begins a new stream in
// each lane. A damaged file is moved aside and salvaged. Open returns an error
// only when the directory belongs to another gateway (ErrOtherGateway) or
// another process (ErrInUse), or cannot be written at all.
//
// Commit and AddSamples work from now on until Close; Run does the upkeep.
func Open(cfg Config, clock site.Clock, log *slog.Logger) (*Outbox, error) {
	cfg = cfg.withDefaults()
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", cfg.Dir, err)
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	o := &Outbox{cfg: cfg, clock: clock, log: log, lock: lock, records: newRecords()}
	if err := o.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return o, nil
}

func (o *Outbox) open() error {
	if err := own(o.cfg.Dir, o.cfg.Gateway); err != nil {
		return err
	}
	o.ballast = &ballast{path: filepath.Join(o.cfg.Dir, "ballast"), size: o.cfg.BallastBytes, log: o.log}
	o.reserve = &ballast{path: filepath.Join(o.cfg.Dir, "reserve"), size: min(reserveBytes, o.cfg.BallastBytes), log: o.log}
	o.large = &large{dir: filepath.Join(o.cfg.Dir, "large"), limit: o.cfg.LargeBytes}
	o.alarms = newAlarms(o)
	o.sampler = newSampler(o)
	o.events = newLane(o, event.LaneEvents, o.cfg.EventsBytes, o.cfg.KeepEvents)
	o.samples = newLane(o, event.LaneSamples, o.cfg.SamplesBytes, o.cfg.KeepSamples)
	for _, l := range []*Lane{o.events, o.samples} {
		if err := l.open(); err != nil {
			return errors.Join(err, o.closeFiles())
		}
	}
	o.records.finish()
	o.reserve.fill()
	o.ballast.fill()
	o.events.start()
	o.samples.start()
	return nil
}

func (o *Outbox) closeFiles() error {
	return errors.Join(o.events.closeFile(), o.samples.closeFile())
}

// Restored returns the records of earlier starts, in no order.
func (o *Outbox) Restored() []site.Record { return o.records.all() }

// Lane returns one of the two lanes.
func (o *Outbox) Lane(l event.Lane) *Lane {
	if l == event.LaneSamples {
		return o.samples
	}
	return o.events
}

// Commit implements site.Journal. It encodes in the caller's goroutine, then
// waits for the commit that the change shares with others. A ctx that ends
// while the change still waits for its turn takes it back.
func (o *Outbox) Commit(ctx context.Context, c site.Change) error {
	r := o.request()
	defer o.release(r)
	for i := range c.Events {
		d := &c.Events[i]
		if d.Data.EventType().Lane() != event.LaneEvents {
			return fmt.Errorf("%w: %s does not travel on the events lane", site.ErrNotKept, d.Data.EventType())
		}
		tail, err := o.encode(d)
		if err != nil {
			o.stats.notKept.Add(1)
			return fmt.Errorf("%w: %w", site.ErrNotKept, err)
		}
		r.add(tail)
	}
	r.put, r.delete = c.Put, c.Delete
	if err := o.events.submit(ctx, r); err != nil {
		o.stats.notKept.Add(1)
		return fmt.Errorf("%w: %w", site.ErrNotKept, err)
	}
	return nil
}

// stamp is the gateway's time for what the outbox itself reports.
func (o *Outbox) stamp() site.Stamp {
	s := o.clock.Stamp()
	if o.cfg.Boot != "" {
		s.Boot = o.cfg.Boot
	}
	return s
}

// encode returns the tail of d. The whole of an event over 64 KiB is kept as a
// file, and what is left of it names that file.
func (o *Outbox) encode(d *event.Draft) ([]byte, error) {
	buf := scratches.Get().(*[]byte)
	defer scratches.Put(buf)
	tail, err := event.AppendTail((*buf)[:0], o.cfg.Gateway, d)
	if err == nil {
		*buf = tail
		return bytes.Clone(tail), nil
	}
	if !errors.Is(err, event.ErrTooLarge) {
		return nil, err
	}
	name, err := o.large.keepDraft(o.cfg.Gateway, d)
	if err != nil {
		// The event matters more than its length.
		o.log.Warn("whole of a large event not kept", "type", d.Data.EventType(), "err", err)
	}
	o.stats.truncated.Add(1)
	return event.AppendTruncatedTail(nil, o.cfg.Gateway, d, name)
}

// AddSamples implements site.Journal.
func (o *Outbox) AddSamples(ctx context.Context, d event.Draft) error {
	waiting, err := o.sampler.add(&d)
	if err != nil {
		return fmt.Errorf("%w: %w", site.ErrNotKept, err)
	}
	if o.cfg.SamplesFlush > 0 {
		switch {
		case waiting > waitBytes && !o.samples.isFull():
			// A flood is slowed down. What the disk does not take is counted.
			if err := o.samples.submit(ctx, newRequest()); err != nil {
				o.log.Debug("samples not flushed", "err", err)
			}
		case waiting > flushBytes && !o.samples.isFull():
			o.samples.kick()
		}
		return nil
	}
	if err := o.samples.submit(ctx, newRequest()); err != nil {
		return fmt.Errorf("%w: %w", site.ErrNotKept, err)
	}
	return nil
}

// upkeepEvery is how often retention, space and settled positions are looked at.
const upkeepEvery = 5 * time.Second

// Run flushes samples and keeps the files in shape until ctx ends, then returns
// nil.
func (o *Outbox) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		o.events.check(ctx)
		o.samples.check(ctx)
		return nil
	})
	if o.cfg.SamplesFlush > 0 {
		g.Go(func() error {
			every(ctx, o.cfg.SamplesFlush, o.samples.kick)
			return nil
		})
	}
	g.Go(func() error {
		every(ctx, upkeepEvery, func() {
			o.events.upkeep(ctx)
			o.samples.upkeep(ctx)
			o.reserve.fill()
			o.ballast.fill()
			o.alarms.settle()
		})
		return nil
	})
	return g.Wait()
}

// every calls f at each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// Close makes durable what is in flight and closes the files. Commit fails from
// then on.
func (o *Outbox) Close() error {
	var err error
	o.closing.Do(func() {
		o.events.stop()
		o.samples.stop()
		err = errors.Join(o.closeFiles(), o.lock.Close())
	})
	return err
}
