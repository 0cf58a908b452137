// Package ingest takes in what gateways report: it answers their hello, commits
// their batches once, and acknowledges what is committed.
//
// Nothing is confirmed before the database has it. Whatever goes wrong on the
// way is met with silence, and the gateway repeats: only a payload that cannot
// be read is refused, because repeating it would not help.
package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// Bounds of what waits. A gateway has one batch of each lane under way, and
// repeats what was dropped.
const (
	workers    = 16
	queueDepth = 8         // messages of one lane of one gateway
	queueBytes = 128 << 20 // of all together
	// statusRetry is how long after a refusal the store is asked again to keep
	// what a gateway said of its connection.
	statusRetry = 2 * time.Second
	maxStatus   = 4 << 10 // bytes of a status, which finds room always
)

// Bus carries messages to gateways.
type Bus interface {
	// Publish hands a message over; an error says that it went nowhere.
	Publish(topic string, payload []byte, qos byte, retained bool) error
}

// Desired knows the state that a gateway ought to be in.
type Desired interface {
	// Revisions returns the revision of every section that g ought to have.
	Revisions(ctx context.Context, g event.GatewayID) (map[string]string, error)
}

// Welcomer sends what a gateway is owed once it has been welcomed. It does not
// block.
type Welcomer interface {
	Welcomed(g event.GatewayID, h wire.Hello)
}

// Ingest works on the messages of all gateways: those of one gateway and lane
// in their order, others beside them.
type Ingest struct {
	store   fleet.Ingest
	bus     Bus
	desired Desired
	after   Welcomer
	log     *slog.Logger
	now     func() time.Time

	metrics metrics

	listeners []func(fleet.Applied)                // set before Run
	presence  []func(event.GatewayID, wire.Status) // the same

	mu      sync.Mutex
	more    sync.Cond
	running bool
	queues  map[queueKey]*queue
	ready   []*queue // those with messages that nobody works on
	bytes   int      // in all queues
	outage  bool     // the store has failed and not worked since
	knocked map[event.GatewayID]bool
}

type queueKey struct {
	gateway event.GatewayID
	kind    wire.Kind
	lane    string
}

// queue holds the messages of one key. It is in ready, or the first message is
// under way, or it waits to try that one again.
type queue struct {
	key      queueKey
	messages []message
	underway bool // somebody works on the first message
}

type message struct {
	topic   string
	payload []byte
}

// New returns an Ingest that works once Run is called.
func New(store fleet.Ingest, bus Bus, desired Desired, after Welcomer, log *slog.Logger, now func() time.Time) *Ingest {
	i := &Ingest{
		store: store, bus: bus, desired: desired, after: after, log: log, now: now,
		metrics: newMetrics(),
		queues:  map[queueKey]*queue{},
		knocked: map[event.GatewayID]bool{},
	}
	i.more.L = &i.mu
	return i
}

// Subscribe has f called with every batch that brought something new, once it
// is committed. f must not block. Subscribe before Run.
func (i *Ingest) Subscribe(f func(fleet.Applied)) { i.listeners = append(i.listeners, f) }

// SubscribeStatus has f called with every word about a connection that the
// store has taken for the present. f must not block. Subscribe before Run.
func (i *Ingest) SubscribeStatus(f func(event.GatewayID, wire.Status)) {
	i.presence = append(i.presence, f)
}

// Metrics returns what ingest counts.
func (i *Ingest) Metrics() []prometheus.Collector { return i.metrics.collectors() }

// Handle takes a message of a gateway and returns at once: hello, up and
// status; others are not its business. What finds no room is dropped, as is
// what comes while Run does not run: its gateway repeats it. A status is said
// once, so it finds room always and is tried until the store has it.
func (i *Ingest) Handle(topic string, payload []byte) {
	g, kind, lane, err := wire.ParseTopic(topic)
	if err != nil {
		i.log.Debug("message on a topic that is not ours", "topic", topic, "err", err)
		return
	}
	switch kind {
	case wire.KindHello, wire.KindUp, wire.KindStatus:
	default:
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	key := queueKey{g, kind, lane}
	q := i.queues[key]
	if q != nil && kind == wire.KindStatus && len(payload) <= maxStatus {
		i.bytes -= q.makeRoom(payload)
	}
	full := q != nil && len(q.messages) >= queueDepth || i.bytes+len(payload) > queueBytes
	if kind == wire.KindStatus && len(payload) <= maxStatus {
		full = false
	}
	if !i.running || full {
		i.metrics.dropped.Inc()
		return
	}
	if q == nil {
		q = &queue{key: key}
		i.queues[key] = q
		i.ready = append(i.ready, q)
		i.more.Signal()
	}
	q.messages = append(q.messages, message{topic, payload})
	i.bytes += len(payload)
}

// makeRoom takes out what a new status makes needless: the same word, said
// before, and the oldest words beyond the queue's depth. It returns their bytes.
// An offline does not replace an online: it may be that of an older connection.
func (q *queue) makeRoom(payload []byte) (freed int) {
	kept := q.messages[:0:0]
	waiting := q.messages
	if q.underway {
		kept, waiting = append(kept, waiting[0]), waiting[1:]
	}
	for n, m := range waiting {
		if bytes.Equal(m.payload, payload) || len(waiting)-n >= queueDepth {
			freed += len(m.payload)
			continue
		}
		kept = append(kept, m)
	}
	q.messages = kept
	return freed
}

// Run works until ctx ends. A message under way is finished.
func (i *Ingest) Run(ctx context.Context) error {
	i.mu.Lock()
	i.running = true
	i.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.running = false
		i.more.Broadcast()
	})
	defer stop()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { i.work(ctx) })
	}
	wg.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.queues, i.ready, i.bytes = map[queueKey]*queue{}, nil, 0
	return nil
}

// work takes one message after the other, each of the queue that has waited
// longest.
func (i *Ingest) work(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // what is begun is brought to its end
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		for i.running && len(i.ready) == 0 {
			i.more.Wait()
		}
		if !i.running {
			return
		}
		q := i.ready[0]
		i.ready = i.ready[1:]
		m := q.messages[0]
		q.underway = true
		i.mu.Unlock()
		kept := i.message(ctx, q.key, m)
		i.mu.Lock()
		q.underway = false
		if !kept && q.key.kind == wire.KindStatus && len(m.payload) <= maxStatus {
			i.later(q)
			continue
		}
		i.bytes -= len(m.payload)
		if q.messages = q.messages[1:]; len(q.messages) > 0 {
			i.ready = append(i.ready, q)
			i.more.Signal()
		} else {
			delete(i.queues, q.key)
		}
	}
}

// later makes q ready after a while; i.mu is held.
func (i *Ingest) later(q *queue) {
	time.AfterFunc(statusRetry, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.running && i.queues[q.key] == q { // Run may have ended, and begun again
			i.ready = append(i.ready, q)
			i.more.Signal()
		}
	})
}

// message works on m and tells whether the store could; a gateway that nobody
// knows and an answer that goes nowhere are no fault of it.
func (i *Ingest) message(ctx context.Context, from queueKey, m message) (kept bool) {
	log := i.log.With("gateway", from.gateway)
	var err error
	switch from.kind {
	case wire.KindHello:
		err = i.hello(ctx, log, from.gateway, m)
	case wire.KindUp:
		err = i.up(ctx, log, from.gateway, event.Lane(from.lane), m)
	case wire.KindStatus:
		err = i.status(ctx, from.gateway, m)
	}
	switch {
	case err == nil:
		i.storeWorks()
	case errors.Is(err, fleet.ErrNotFound):
		i.knock(log, from.gateway)
	case errors.Is(err, errUnpublished):
		log.Debug("answer", "topic", m.topic, "err", err) // the gateway is gone, or comes again
	default:
		i.storeFails(log, m.topic, err)
		return false
	}
	return true
}

var errUnpublished = errors.New("answer went nowhere")

func (i *Ingest) publish(topic string, v any, qos byte) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", topic, err)
	}
	if err := i.bus.Publish(topic, wire.Pack(payload), qos, false); err != nil {
		return fmt.Errorf("%w: %w", errUnpublished, err)
	}
	return nil
}

// storeFails speaks once per outage: gateways repeat until it is over.
func (i *Ingest) storeFails(log *slog.Logger, topic string, err error) {
	i.metrics.failed.Inc()
	i.mu.Lock()
	first := !i.outage
	i.outage = true
	i.mu.Unlock()
	if first {
		log.Error("the database does not take what gateways report; they repeat it", "topic", topic, "err", err)
	}
}

func (i *Ingest) storeWorks() {
	i.mu.Lock()
	over := i.outage
	i.outage = false
	i.mu.Unlock()
	if over {
		i.log.Info("the database takes what gateways report again")
	}
}

// knock speaks once of a gateway that nobody has added.
func (i *Ingest) knock(log *slog.Logger, g event.GatewayID) {
	i.mu.Lock()
	first := !i.knocked[g]
	if len(i.knocked) > 1000 {
		clear(i.knocked)
	}
	i.knocked[g] = true
	i.mu.Unlock()
	if first {
		log.Warn("unknown gateway says hello; it gets no answer until it is added (chargeyard-cloud gateway add)")
	}
}

// hello stores what the gateway holds and answers with the positions.
func (i *Ingest) hello(ctx context.Context, log *slog.Logger, g event.GatewayID, m message) error {
	h, err := wire.Decode[wire.Hello](m.payload)
	if err == nil {
		err = checkHello(h)
	}
	if err != nil {
		log.Warn("hello cannot be read", "err", err)
		return i.bury(ctx, g, m, err)
	}
	now := i.now()
	facts := fleet.HelloFacts{Version: h.Version, Boot: h.Boot, Connection: h.Connection, Clock: h.Clock, At: now}
	for _, lane := range event.Lanes {
		for _, s := range h.Lanes[lane] {
			facts.Streams = append(facts.Streams, streamOf(lane, s))
		}
	}
	positions, err := i.store.Hello(ctx, g, facts)
	if err != nil {
		return err
	}
	w := wire.Welcome{Hello: h.Hello, Positions: map[event.Lane]map[string]wire.Sequence{}}
	for _, lane := range event.Lanes {
		w.Positions[lane] = map[string]wire.Sequence{}
		for stream, position := range positions[lane] {
			w.Positions[lane][stream] = wire.Sequence(position)
		}
	}
	if w.Transactions, err = i.store.Transactions(ctx, g); err != nil {
		return err
	}
	if w.Incarnation, err = i.store.Incarnation(ctx); err != nil {
		return err
	}
	if w.Desired, err = i.desired.Revisions(ctx, g); err != nil {
		return fmt.Errorf("desired state of %s: %w", g, err)
	}
	if w.Desired == nil {
		w.Desired = map[string]string{}
	}
	w.Time = i.now().UTC().Truncate(time.Millisecond)
	i.metrics.hellos.Inc()
	if err := i.publish(wire.Topic(g, wire.KindWelcome), w, 1); err != nil {
		return err
	}
	i.after.Welcomed(g, h)
	return nil
}

// streamOf takes a stream as its gateway tells it. Of what cannot be right in it
// nothing is believed: a hole that is none would cost events.
func streamOf(lane event.Lane, s wire.StreamSummary) fleet.Stream {
	out := fleet.Stream{Lane: lane, Stream: s.Stream, Oldest: min(uint64(s.Oldest), uint64(s.Next)), Next: uint64(s.Next)}
	for _, r := range s.Missing {
		if r[0] > 0 && r[0] <= r[1] && r[1] < s.Next {
			out.Missing = append(out.Missing, [2]uint64{uint64(r[0]), uint64(r[1])})
		}
	}
	return out
}

// maxNumber is a number that no gateway reaches.
const maxNumber = 1 << 62

// checkHello looks for what makes a hello one of ours.
func checkHello(h wire.Hello) error {
	if h.Hello == "" {
		return fmt.Errorf("%w: expected a hello with a name of its own", wire.ErrNotOurs)
	}
	for lane, streams := range h.Lanes {
		if lane != event.LaneEvents && lane != event.LaneSamples {
			return fmt.Errorf("%w: expected lanes events and samples, got %q", wire.ErrNotOurs, lane)
		}
		for _, s := range streams {
			if s.Next > maxNumber {
				return fmt.Errorf("%w: stream %s: expected numbers that somebody has counted, got %x", wire.ErrNotOurs, s.Stream, uint64(s.Next))
			}
		}
		if len(streams) > wire.MaxStreams {
			return fmt.Errorf("%w: expected at most %d streams of lane %s, got %d", wire.ErrNotOurs, wire.MaxStreams, lane, len(streams))
		}
	}
	return nil
}

// up commits a batch and acknowledges what is committed.
func (i *Ingest) up(ctx context.Context, log *slog.Logger, g event.GatewayID, lane event.Lane, m message) error {
	began := i.now()
	events, err := wire.ParseBatch(m.payload)
	if err == nil && lane != event.LaneEvents && lane != event.LaneSamples {
		err = fmt.Errorf("%w: expected lane events or samples, got %q", wire.ErrNotOurs, lane)
	}
	topic := wire.Topic(g, wire.KindAck, string(lane))
	if err != nil {
		if err := i.bury(ctx, g, m, err); err != nil {
			return err
		}
		log.Warn("batch cannot be read, refused", "lane", lane, "bytes", len(m.payload), "err", err)
		i.metrics.refused.Inc()
		return i.publish(topic, wire.Ack{Refused: wire.Fingerprint(m.payload), Reason: err.Error()}, 1)
	}
	first, err := events[0].EventID()
	if err != nil {
		return fmt.Errorf("batch of %s: %w", g, err) // ParseBatch lets none through
	}
	applied, err := i.store.Apply(ctx, fleet.Batch{Gateway: g, Lane: lane, Stream: first.Stream, Events: events})
	if err != nil {
		return err
	}
	seam.Hit("cloud.ingest.after-commit")
	i.metrics.batches.WithLabelValues(string(lane)).Inc()
	i.metrics.events.WithLabelValues(string(lane)).Add(float64(len(applied.Entries)))
	i.metrics.seconds.Observe(i.now().Sub(began).Seconds())
	if len(applied.Entries) > 0 {
		for _, f := range i.listeners {
			f(applied)
		}
	}
	begin, position := wire.Sequence(first.Sequence), wire.Sequence(applied.Position)
	err = i.publish(topic, wire.Ack{Stream: first.Stream, First: &begin, Sequence: &position}, 1)
	seam.Hit("cloud.ingest.after-ack")
	return err
}

// status keeps the gateway's word about its connection.
func (i *Ingest) status(ctx context.Context, g event.GatewayID, m message) error {
	if len(m.payload) == 0 {
		return nil // somebody has deleted the retained one
	}
	s, err := wire.Decode[wire.Status](m.payload)
	if err != nil {
		return i.bury(ctx, g, m, err)
	}
	present, err := i.store.Status(ctx, g, s.Online, s.Boot, s.Connection, i.now())
	if err != nil || !present {
		return err
	}
	for _, f := range i.presence {
		f(g, s)
	}
	return nil
}

// bury keeps a message that cannot be read.
func (i *Ingest) bury(ctx context.Context, g event.GatewayID, m message, why error) error {
	return i.store.DeadLetter(ctx, fleet.DeadLetter{
		Gateway: g, Topic: m.topic, Reason: why.Error(), Payload: m.payload, Received: i.now(),
	})
}
