// Package uplink carries events from the lanes of the outbox to the manager, and
// the manager's commands, answers and desired state back.
//
// One batch of a lane is under way at a time, and the manager's position is the
// truth: what its database has is settled, what it lost goes out again. Whatever
// dies on the way costs a repetition and never a gap. A broker's word counts for
// nothing, and a manager out of reach is everyday life on a site.
package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// Lane is one durable queue of this gateway; package outbox provides it.
type Lane interface {
	// Streams names the oldest streams, at most wire.MaxStreams, without those
	// in settled; more says that there are others.
	Streams(ctx context.Context, settled map[string]bool) (streams []wire.StreamSummary, more bool, err error)
	// Welcome moves each stream to the manager's position, forwards or
	// backwards. Settled rows are kept for a while, so that it can go backwards.
	Welcome(ctx context.Context, positions map[string]uint64, incarnation string) error
	// Next waits for events and returns the first that are not settled: one
	// stream, the oldest that has any, at least one event and of more only as
	// many as fit in maxBytes of plain JSON.
	Next(ctx context.Context, maxBytes int) (wire.Batch, error)
	// Settle moves a stream to the manager's position.
	Settle(ctx context.Context, stream string, position uint64) error
	// Stub replaces an event that the manager cannot read by a stub of the same
	// number and keeps the whole as a file.
	Stub(ctx context.Context, stream string, sequence uint64, reason string) error
	// Backlog is the number of events not settled.
	Backlog() int
}

// Site is the domain, as far as the manager's messages concern it.
type Site interface {
	// Execute journals a command and sets it going; what becomes of it goes out
	// as events.
	Execute(ctx context.Context, c event.Command) error
	// Cancel stops a command that the device has not been told of yet.
	Cancel(ctx context.Context, id event.CommandID) error
	// RaiseTransactions tells the highest transaction id that the manager knows
	// of each station, before any command that came with it is executed.
	RaiseTransactions(highest map[event.StationID]int64)
	// Alarm reports what needs a person.
	Alarm(ctx context.Context, a event.GatewayAlarm)
	// Live is the newest state of everything; LiveVersion changes with it.
	Live() ([]site.LiveConnector, []site.LiveCommand)
	LiveVersion() uint64
}

// Desired keeps the sections of desired state; package desired provides it.
type Desired interface {
	// Revisions maps each section to its revision in force.
	Revisions() map[string]string
	// Wanted lists the sections whose announced revision is neither in force
	// nor was refused before.
	Wanted(announced map[string]string) []string
	// Apply puts a section in force, or records why not.
	Apply(ctx context.Context, d wire.Desired) error
}

// Clock tells the time and learns the manager's; package clock provides it.
type Clock interface {
	Stamp() site.Stamp
	// Welcome takes the manager's time t, answered within rtt of being asked.
	Welcome(t time.Time, rtt time.Duration)
}

// Config is what an Uplink needs to know.
type Config struct {
	Gateway event.GatewayID
	Version string
	Boot    string // names this start of the gateway
}

// Message is one MQTT message.
type Message struct {
	Topic    string
	Payload  []byte
	QoS      byte
	Retained bool
}

// Transport makes MQTT connections; MQTT is the real one.
type Transport interface {
	// Connect makes one connection, which has will as its last will and calls
	// receive for each message in the order of arrival, possibly before it
	// returns. receive does not block.
	Connect(ctx context.Context, will Message, receive func(topic string, payload []byte)) (Session, error)
}

// Session is one MQTT connection, from its CONNACK to its end.
type Session interface {
	// Subscribe waits until the broker has granted every filter at QoS 1.
	Subscribe(ctx context.Context, filters ...string) error
	// Publish hands m over to be written and does not wait for it. taken is closed when the broker has
	// acknowledged it (QoS 0: when it is written), or the session is over.
	Publish(m Message) (taken <-chan struct{}, err error)
	// Done is closed when the connection is over; then Err says why.
	Done() <-chan struct{}
	Err() error
	// Disconnect says goodbye, so that the last will is dropped.
	Disconnect()
	// Close ends the connection, by its last will unless it was disconnected
	// before, and waits until nothing of it is left.
	Close()
}

// Uplink moves events from the lanes to the manager. It implements site.Manager.
type Uplink struct {
	cfg       Config
	lanes     []*lane
	transport Transport
	clock     Clock
	log       *slog.Logger

	orders   chan queued[wire.Order]
	sections chan queued[section]

	// reachable is the connection whose manager has answered, nil while there
	// is none: questions are asked on it.
	reachable atomic.Pointer[conversation]
	counts    counters
}

// queued is a message of the manager that waits for its turn; it is dropped when
// its conversation is over before it was welcomed.
type queued[T any] struct {
	message T
	from    *conversation
}

// section is a desired section as it came: unpacked it may be thirty times as
// large, so that is left until its turn.
type section struct {
	name    string
	payload []byte
}

// warnEvery is how many tries in vain are worth one line in the log: with the
// longest pause some three quarters of an hour.
const warnEvery = 60

// The manager sends anew what did not fit.
const (
	orderQueue   = 256
	sectionQueue = 2 * wire.TokenSections
)

// New returns an Uplink whose work starts in Run.
func New(cfg Config, lanes map[event.Lane]Lane, t Transport, c Clock, log *slog.Logger) *Uplink {
	u := &Uplink{
		cfg: cfg, transport: t, clock: c, log: log,
		orders:   make(chan queued[wire.Order], orderQueue),
		sections: make(chan queued[section], sectionQueue),
	}
	for _, name := range event.Lanes {
		if l := lanes[name]; l != nil {
			u.lanes = append(u.lanes, &lane{name: name, Lane: l, log: log.With("lane", name), acks: make(chan wire.Ack, 16), size: firstBatch})
		}
	}
	return u
}

// Run keeps a conversation with the manager going until ctx ends, then returns
// nil after what is under way is settled, within seconds. s and d get what the
// manager says; until then, AskToken answers that the manager is away.
func (u *Uplink) Run(ctx context.Context, s Site, d Desired) error {
	var workers sync.WaitGroup
	workers.Go(func() { u.execute(ctx, s) })
	workers.Go(func() { u.apply(ctx, d) })
	defer workers.Wait()

	for try := 0; ctx.Err() == nil; try++ {
		c := newConversation(u, s, d)
		err := c.run(ctx)
		if ctx.Err() != nil {
			break
		}
		if c.lasted() {
			try = 0
		}
		pause := reconnectAfter(try)
		level := slog.LevelDebug
		if try < 2 || try%warnEvery == 0 { // the loss, why it stays so, and a reminder
			level = slog.LevelWarn
		}
		u.log.Log(ctx, level, "no connection to the manager, trying again", "tries", try+1, "after", pause.Round(time.Millisecond), "err", err)
		u.counts.failed(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			u.counts.reconnects.Add(1)
		}
	}
	return nil
}

// execute carries out orders in the order of their arrival.
func (u *Uplink) execute(ctx context.Context, s Site) {
	for {
		var q queued[wire.Order]
		select {
		case <-ctx.Done():
			return
		case q = <-u.orders:
		}
		if !q.from.awaitWelcome(ctx) {
			continue
		}
		var err error
		if q.message.Cancel != "" {
			err = s.Cancel(ctx, q.message.Cancel)
		} else {
			err = s.Execute(ctx, q.message.Command)
		}
		if err != nil && ctx.Err() == nil { // the manager sends it again
			u.log.Warn("command not taken", "command", q.message.ID, "type", q.message.Type, "cancel", q.message.Cancel, "err", err)
		}
	}
}

// apply puts desired sections in force in the order of their arrival.
func (u *Uplink) apply(ctx context.Context, d Desired) {
	for {
		var q queued[section]
		select {
		case <-ctx.Done():
			return
		case q = <-u.sections:
		}
		if !q.from.awaitWelcome(ctx) {
			continue
		}
		s, err := wire.Decode[wire.Desired](q.message.payload)
		if err == nil && s.Section != q.message.name {
			err = fmt.Errorf("%w: expected section %q, got %q", wire.ErrNotOurs, q.message.name, s.Section)
		}
		if err != nil {
			u.counts.unreadable.Add(1)
		} else {
			err = d.Apply(ctx, s)
		}
		if err != nil && ctx.Err() == nil {
			u.log.Warn("desired section not taken", "section", q.message.name, "revision", s.Revision, "err", err)
			continue
		}
		q.from.sectionCame(s.Section)
	}
}
