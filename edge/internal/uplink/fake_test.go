package uplink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/uplink"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

func TestMain(m *testing.M) {
	// Codecs are made at their first use and kept: not inside a bubble of synctest.
	if _, err := wire.Unpack(wire.Pack(make([]byte, 4096))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const gateway event.GatewayID = "gw-1"

// far is the far end of every connection: the broker, and the manager behind it.
// It is a perfect one unless a hook says otherwise.
type far struct {
	// Hooks run with mu held and get the number of the occasion, from 1.
	onConnect func(n int) error
	onUp      func(n int, first, last uint64) verdict // of the events lane
	onHello   func(n int, h wire.Hello, w *wire.Welcome) verdict
	deaf      bool // the broker acknowledges nothing
	grant     func(filter string) error

	mu        sync.Mutex
	sessions  []*fakeSession
	positions map[event.Lane]map[string]uint64 // what the manager's database has
	applied   map[event.Lane][]event.ID
	broken    []string // promises that were broken
	ups       []string // batches of the events lane: "1-2"
	hellos    []wire.Hello
	statuses  []string // "online" and "offline", as published
	goodbyes  int
	live      []wire.Live
	liveAt    []time.Time
	asks      []wire.Ask
}

// verdict is what the far end does with a message.
type verdict struct {
	silent  bool   // no answer
	cut     bool   // the connection dies before the manager sees it
	lose    bool   // the connection dies after the manager took it
	slow    bool   // the connection dies before the broker has all of it
	refuse  bool   // it cannot be read
	take    uint64 // commit up to here only; 0: everything
	restore func() // done first
	extra   []wire.Ack
	delay   time.Duration // before the answer
}

func newFar() *far {
	return &far{positions: make(map[event.Lane]map[string]uint64), applied: make(map[event.Lane][]event.ID)}
}

type fakeSession struct {
	far     *far
	will    uplink.Message
	receive func(string, []byte)
	done    chan struct{}
	once    sync.Once
	filters []string
	ready   atomic.Bool // welcomed at least once
}

var errCut = errors.New("cut")

func (f *far) Connect(ctx context.Context, will uplink.Message, receive func(string, []byte)) (uplink.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &fakeSession{far: f, will: will, receive: receive, done: make(chan struct{})}
	f.sessions = append(f.sessions, s)
	if f.onConnect != nil {
		if err := f.onConnect(len(f.sessions)); err != nil {
			return nil, err
		}
	}
	return s, ctx.Err()
}

func (s *fakeSession) Subscribe(_ context.Context, filters ...string) error {
	for _, f := range filters {
		if s.far.grant != nil {
			if err := s.far.grant(f); err != nil {
				return err
			}
		}
	}
	s.filters = filters
	return nil
}

func (s *fakeSession) Done() <-chan struct{} { return s.done }
func (s *fakeSession) Err() error            { return errCut }
func (s *fakeSession) cut()                  { s.once.Do(func() { close(s.done) }) }
func (s *fakeSession) Close()                { s.cut() }
func (s *fakeSession) Disconnect() {
	s.far.mu.Lock()
	s.far.goodbyes++
	s.far.mu.Unlock()
	s.cut()
}

func (s *fakeSession) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *fakeSession) Publish(m uplink.Message) (<-chan struct{}, error) {
	if s.over() {
		return nil, errCut
	}
	f := s.far
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := make(chan struct{})
	if f.deaf {
		return taken, nil
	}
	_, kind, sub, err := wire.ParseTopic(m.Topic)
	if err != nil {
		f.breaks("topic: %v", err)
	}
	if len(m.Payload) > wire.MaxWire {
		f.breaks("%s: %d bytes on the wire", m.Topic, len(m.Payload))
	}
	var v verdict
	switch kind {
	case wire.KindHello:
		v = f.hello(s, m.Payload)
	case wire.KindUp:
		v = f.up(s, event.Lane(sub), m.Payload)
	case wire.KindStatus:
		st, err := wire.Decode[wire.Status](m.Payload)
		f.statuses = append(f.statuses, map[bool]string{true: "online", false: "offline"}[st.Online])
		if err != nil || !m.Retained || m.QoS != 1 {
			f.breaks("status %+v: %v", m, err)
		}
		s.receive(m.Topic, m.Payload) // it reads its own word
	case wire.KindLive:
		l, err := wire.Decode[wire.Live](m.Payload)
		f.live, f.liveAt = append(f.live, l), append(f.liveAt, time.Now())
		if err != nil || m.QoS != 0 || m.Retained {
			f.breaks("live %+v: %v", m, err)
		}
	case wire.KindAsk:
		q, err := wire.Decode[wire.Ask](m.Payload)
		f.asks = append(f.asks, q)
		if err != nil || m.QoS != 0 {
			f.breaks("ask %+v: %v", m, err)
		}
	default:
		f.breaks("published to %s", m.Topic)
	}
	if v.slow {
		time.AfterFunc(10*time.Second, s.cut)
		return taken, nil
	}
	if v.cut || v.lose {
		s.cut()
		return taken, nil
	}
	close(taken)
	return taken, nil
}

func (f *far) breaks(format string, args ...any) {
	f.broken = append(f.broken, fmt.Sprintf(format, args...))
}

func (f *far) hello(s *fakeSession, payload []byte) verdict {
	h, err := wire.Decode[wire.Hello](payload)
	if err != nil {
		f.breaks("hello: %v", err)
		return verdict{}
	}
	if len(s.filters) == 0 {
		f.breaks("hello before SUBACK")
	}
	f.hellos = append(f.hellos, h)
	w := wire.Welcome{Hello: h.Hello, Time: time.Now(), Positions: make(map[event.Lane]map[string]wire.Sequence), Desired: map[string]string{}}
	var v verdict
	if f.onHello != nil {
		v = f.onHello(len(f.hellos), h, &w)
	}
	if v.restore != nil {
		v.restore()
	}
	for lane, streams := range h.Lanes {
		w.Positions[lane] = make(map[string]wire.Sequence)
		for _, st := range streams {
			w.Positions[lane][st.Stream] = wire.Sequence(f.positions[lane][st.Stream])
		}
	}
	if v.silent || v.cut || v.lose {
		return v
	}
	answer := func() {
		s.ready.Store(true)
		s.say(wire.KindWelcome, "", w)
	}
	if v.delay > 0 {
		time.AfterFunc(v.delay, answer)
	} else {
		answer()
	}
	return v
}

func (f *far) up(s *fakeSession, lane event.Lane, payload []byte) verdict {
	events, err := wire.ParseBatch(payload)
	if err != nil {
		f.breaks("batch: %v", err)
		return verdict{}
	}
	ids := make([]event.ID, len(events))
	for i := range events {
		if ids[i], err = events[i].EventID(); err != nil {
			f.breaks("event: %v", err)
		}
	}
	first, last := ids[0], ids[len(ids)-1]
	if !s.ready.Load() {
		f.breaks("batch %s before the welcome", first)
	}
	var v verdict
	if lane == event.LaneEvents {
		f.ups = append(f.ups, fmt.Sprintf("%d-%d", first.Sequence, last.Sequence))
		if f.onUp != nil {
			v = f.onUp(len(f.ups), first.Sequence, last.Sequence)
		}
	}
	if v.restore != nil {
		v.restore()
	}
	for _, a := range v.extra {
		s.say(wire.KindAck, string(lane), a)
	}
	if v.cut || v.slow {
		return v
	}
	if v.refuse {
		s.say(wire.KindAck, string(lane), wire.Ack{Refused: wire.Fingerprint(payload), Reason: "cannot be read"})
		return v
	}
	if f.positions[lane] == nil {
		f.positions[lane] = make(map[string]uint64)
	}
	at := f.positions[lane][first.Stream]
	for _, id := range ids {
		if v.take > 0 && id.Sequence > v.take || id.Sequence > at+1 { // a hole is not crossed
			break
		}
		if id.Sequence <= at {
			continue
		}
		at = id.Sequence
		f.applied[lane] = append(f.applied[lane], id)
	}
	f.positions[lane][first.Stream] = at
	if v.silent || v.lose {
		return v
	}
	start, position := wire.Sequence(first.Sequence), wire.Sequence(at)
	a := wire.Ack{Stream: first.Stream, First: &start, Sequence: &position}
	if v.delay > 0 {
		time.AfterFunc(v.delay, func() { s.say(wire.KindAck, string(lane), a) })
	} else {
		s.say(wire.KindAck, string(lane), a)
	}
	return v
}

// say delivers a message of the manager.
func (s *fakeSession) say(k wire.Kind, sub string, v any) {
	if s.over() {
		return
	}
	payload, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	topic := wire.Topic(gateway, k)
	if sub != "" {
		topic += "/" + sub
	}
	s.receive(topic, wire.Pack(payload))
}

// newest is the connection that was made last.
func (f *far) newest() *fakeSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sessions) == 0 {
		return nil
	}
	return f.sessions[len(f.sessions)-1]
}

// look runs f with the far end locked.
func look[T any](f *far, get func() T) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return get()
}

// fakeLane is a Lane in memory that keeps every event for ever.
type fakeLane struct {
	perBatch int // events, however few bytes
	trouble  int // calls of Next that fail first

	mu       sync.Mutex
	wake     chan struct{}
	order    []string // streams, oldest first
	last     map[string]uint64
	settled  map[string]uint64
	stubbed  map[event.ID]bool
	padding  []byte
	named    int      // streams in one hello
	welcomes []string // incarnations
}

func newLane(perBatch int) *fakeLane {
	return &fakeLane{
		perBatch: perBatch, wake: make(chan struct{}), named: wire.MaxStreams,
		last: make(map[string]uint64), settled: make(map[string]uint64), stubbed: make(map[event.ID]bool),
	}
}

// add appends n events to a stream.
func (l *fakeLane) add(stream string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.last[stream]; !ok {
		l.order = append(l.order, stream)
	}
	l.last[stream] += uint64(n)
	l.poke()
}

func (l *fakeLane) poke() {
	close(l.wake)
	l.wake = make(chan struct{})
}

func (l *fakeLane) Streams(_ context.Context, settled map[string]bool) ([]wire.StreamSummary, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []wire.StreamSummary
	for _, s := range l.order {
		if settled[s] {
			continue
		}
		if len(out) == l.named {
			return out, true, nil
		}
		out = append(out, wire.StreamSummary{Stream: s, Oldest: 1, Next: wire.Sequence(l.last[s] + 1)})
	}
	return out, false, nil
}

func (l *fakeLane) Welcome(_ context.Context, positions map[string]uint64, incarnation string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.settled, positions)
	l.welcomes = append(l.welcomes, incarnation)
	l.poke()
	return nil
}

var errDisk = errors.New("disk on fire")

func (l *fakeLane) Next(ctx context.Context, maxBytes int) (wire.Batch, error) {
	for {
		l.mu.Lock()
		wake := l.wake
		if l.trouble > 0 {
			l.trouble--
			l.mu.Unlock()
			return wire.Batch{}, errDisk
		}
		for _, s := range l.order {
			if l.settled[s] >= l.last[s] {
				continue
			}
			b := wire.NewBatcher(s)
			n := 0
			for i := l.settled[s] + 1; i <= l.last[s] && n < l.perBatch; i++ {
				tail := l.tail(event.ID{Stream: s, Sequence: i})
				if n > 0 && b.Size()+len(tail) > maxBytes {
					break
				}
				b.Add(i, tail)
				n++
			}
			l.mu.Unlock()
			return b.Batch(), nil
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return wire.Batch{}, fmt.Errorf("next: %w", ctx.Err())
		case <-wake:
		}
	}
}

func (l *fakeLane) tail(id event.ID) []byte {
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	if l.stubbed[id] {
		return []byte(`"source":"/gateways/gw-1","type":"chargeyard.data.received","time":"2026-11-22T06:00:00.000Z","recorded":"2026-11-22T06:00:00.000Z","boot":"b","clock":"synced","stub":true,"data":{}}`)
	}
	b, err := event.AppendTail(nil, gateway, &event.Draft{
		Time: at, Recorded: at, Boot: "b", Clock: event.ClockSynced, Data: &event.DataReceived{Action: "x", Text: string(l.padding)},
	})
	if err != nil {
		panic(err)
	}
	return b
}

func (l *fakeLane) Settle(_ context.Context, stream string, position uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled[stream] = position
	return nil
}

func (l *fakeLane) Stub(_ context.Context, stream string, sequence uint64, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stubbed[event.ID{Stream: stream, Sequence: sequence}] = true
	return nil
}

func (l *fakeLane) Backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for s, last := range l.last {
		n += int(last - min(last, l.settled[s]))
	}
	return n
}

// fakeSite notes what it is told.
type fakeSite struct {
	mu     sync.Mutex
	said   []string
	alarms []event.GatewayAlarm
	err    error
	live   []site.LiveConnector
	shown  uint64
}

func (s *fakeSite) Live() ([]site.LiveConnector, []site.LiveCommand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.live), nil
}

func (s *fakeSite) LiveVersion() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown
}

func (s *fakeSite) note(format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
	return s.err
}

func (s *fakeSite) Execute(_ context.Context, c event.Command) error {
	return s.note("execute %s", c.ID)
}
func (s *fakeSite) Cancel(_ context.Context, id event.CommandID) error {
	return s.note("cancel %s", id)
}

func (s *fakeSite) RaiseTransactions(highest map[event.StationID]int64) {
	if len(highest) > 0 {
		_ = s.note("raise %v", highest)
	}
}

func (s *fakeSite) Alarm(_ context.Context, a event.GatewayAlarm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarms = append(s.alarms, a)
}

func (s *fakeSite) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

// fakeDesired applies whatever comes.
type fakeDesired struct {
	mu      sync.Mutex
	inForce map[string]string
	err     error
}

func (d *fakeDesired) Revisions() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.inForce)
}

func (d *fakeDesired) Wanted(announced map[string]string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for s, r := range announced {
		if d.inForce[s] != r {
			out = append(out, s)
		}
	}
	return out
}

func (d *fakeDesired) Apply(_ context.Context, s wire.Desired) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		if d.inForce == nil {
			d.inForce = make(map[string]string)
		}
		d.inForce[s.Section] = s.Revision
	}
	return d.err
}

// fakeClock is right, and notes what the manager told it.
type fakeClock struct {
	mu   sync.Mutex
	told []time.Time
}

func (*fakeClock) Stamp() site.Stamp {
	return site.Stamp{Time: time.Now(), Boot: "b", Clock: event.ClockSynced}
}

func (c *fakeClock) Welcome(t time.Time, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, t)
}
