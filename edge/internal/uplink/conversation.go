package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// How long things may take.
const (
	connectWait   = 20 * time.Second // for CONNACK and SUBACK
	publishWait   = 30 * time.Second // for a PUBACK: a broker that gives none is left
	helloWait     = 4 * time.Second  // for the first answer to a hello, doubled with each try
	helloWaitMax  = time.Minute
	helloEvery    = time.Hour
	sectionsWait  = 10 * time.Second // for the first announced section, doubled with each try in vain
	sectionsMax   = 10 * time.Minute
	sectionsQuiet = time.Second // after the last one that came
	surpriseWait  = time.Second // before a second surprise in a row is answered by a hello, doubled
	surpriseMax   = time.Minute
	statusEvery   = time.Second // between repetitions of an overwritten status
	finishWait    = 2 * time.Second
	lastingFrom   = 10 * time.Second // a connection welcomed for so long was a good one
)

// errMute says that a broker takes messages without ever acknowledging one.
var errMute = fmt.Errorf("the broker did not acknowledge a message within %v", publishWait)

// conversation is what is said over one MQTT connection: hello until welcomed,
// then batches and their acknowledgements, and hello again after every hour and
// every surprise.
type conversation struct {
	u       *Uplink
	site    Site
	desired Desired
	log     *slog.Logger
	id      string // names the connection
	session Session

	hello       atomic.Pointer[string] // id of the newest hello, nil once it is answered
	welcomes    chan answer[wire.Welcome]
	surprises   chan string   // why to say hello again
	overwritten chan struct{} // somebody else's word stands in our retained status
	came        chan struct{} // an announced section came
	progress    atomic.Bool   // a batch was settled or a section came since the last surprise
	vain        atomic.Int32  // hellos in a row that no section followed
	online      atomic.Bool   // our status says so, and has to go on saying so

	first     chan struct{} // closed when the first welcome has been taken in
	firstTime time.Time     // when; read after first is closed
	over      chan struct{} // closed at the end of the conversation

	mu       sync.Mutex
	expected map[string]bool                        // sections announced and not come
	asked    map[string]chan<- answer[*wire.Answer] // questions that wait for their answer
}

// answer is a message of the manager and when it arrived.
type answer[T any] struct {
	message T
	at      time.Time
}

func newConversation(u *Uplink, s Site, d Desired) *conversation {
	id := uuid.NewString()
	return &conversation{
		u: u, site: s, desired: d, id: id, log: u.log.With("connection", id),
		welcomes:    make(chan answer[wire.Welcome], 1),
		surprises:   make(chan string, 1),
		overwritten: make(chan struct{}, 1),
		came:        make(chan struct{}, 1),
		first:       make(chan struct{}),
		over:        make(chan struct{}),
		expected:    make(map[string]bool),
		asked:       make(map[string]chan<- answer[*wire.Answer]),
	}
}

// run connects and talks until the connection is lost, its broker turns out to
// be mute, or stop ends; then it settles what is under way and leaves politely.
func (c *conversation) run(stop context.Context) error {
	defer close(c.over)
	connecting, cancel := context.WithTimeout(stop, connectWait)
	defer cancel()
	session, err := c.u.transport.Connect(connecting, c.status(false), c.receive)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer session.Close()
	c.session = session
	c.u.counts.connected(time.Now())
	defer c.u.counts.disconnected()

	topic := func(k wire.Kind, sub ...string) string { return wire.Topic(c.u.cfg.Gateway, k, sub...) }
	err = session.Subscribe(connecting, topic(wire.KindAck, "+"), topic(wire.KindWelcome), topic(wire.KindCommand),
		topic(wire.KindAnswer), topic(wire.KindDesired, "+"), topic(wire.KindStatus))
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	c.online.Store(true)
	if _, err := session.Publish(c.status(true)); err != nil {
		return fmt.Errorf("publish status: %w", err)
	}

	// life ends with the connection, work at the stop too: what is under way
	// then may still be settled.
	life, end := context.WithCancelCause(context.WithoutCancel(stop))
	defer end(nil)
	work, endWork := context.WithCancelCause(stop)
	defer endWork(nil)
	var workers sync.WaitGroup
	workers.Go(func() {
		select {
		case <-session.Done():
			end(session.Err())
			endWork(session.Err())
		case <-life.Done():
		}
	})
	workers.Go(func() { c.keepStatus(life) })
	workers.Go(func() { c.sendLive(work) })

	err = c.talk(work, life)
	c.u.reachable.CompareAndSwap(c, nil)
	c.online.Store(false)
	end(err)
	endWork(err)
	workers.Wait()
	if stop.Err() != nil {
		c.leave(context.WithoutCancel(stop))
		return nil
	}
	return err
}

// talk says hello and serves the lanes in turn.
func (c *conversation) talk(work, life context.Context) error {
	for _, l := range c.u.lanes {
		l.begin()
	}
	for surprised := 0; ; {
		if err := c.greet(work); err != nil {
			return err
		}
		why, err := c.serve(work, life)
		if err != nil {
			return err
		}
		if why == "" { // an hour has passed
			continue
		}
		c.log.Info("saying hello again", "why", why)
		if c.progress.Swap(false) {
			surprised = 0
		}
		if surprised > 0 && !pause(work, backoff(surprised-1, surpriseWait, surpriseMax)) {
			return context.Cause(work)
		}
		surprised++
	}
}

// greet says hello until the manager has told its position in every stream.
func (c *conversation) greet(ctx context.Context) error {
	settled := make(map[event.Lane]map[string]bool)
	for _, l := range c.u.lanes {
		settled[l.name] = make(map[string]bool)
	}
	for more := true; more; {
		var err error
		if more, err = c.ask(ctx, settled); err != nil {
			return err
		}
	}
	if c.u.reachable.Swap(c) != c {
		c.log.Info("welcomed by the manager")
	}
	return nil
}

// ask says hello, again and again until it is answered, and takes the welcome
// in. The streams whose positions it brought are added to settled.
func (c *conversation) ask(ctx context.Context, settled map[event.Lane]map[string]bool) (more bool, err error) {
	defer c.hello.Store(nil)
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if try == 1 { // whoever asks for a token need not wait for it
			c.u.reachable.CompareAndSwap(c, nil)
			c.log.Warn("no answer to hello, trying again")
		}
		said, err := c.compose(ctx, settled)
		if err != nil {
			c.log.Error("compose hello, trying again", "err", err)
			if !pause(ctx, backoff(try, helloWait, helloWaitMax)) {
				return false, context.Cause(ctx)
			}
			continue
		}
		w, err := c.say(ctx, said, backoff(try, helloWait, helloWaitMax))
		if errors.Is(err, errNoAnswer) {
			continue
		}
		if err != nil {
			return false, err
		}
		if err := c.takeIn(ctx, said, w, settled); err != nil {
			c.log.Error("take in the manager's positions, saying hello again", "err", err)
			if !pause(ctx, backoff(try, helloWait, helloWaitMax)) {
				return false, context.Cause(ctx)
			}
			continue
		}
		return said.More, nil
	}
}

// errNoAnswer says that the manager did not answer in time.
var errNoAnswer = errors.New("no answer in time")

// say publishes a hello and waits for its welcome.
func (c *conversation) say(ctx context.Context, h wire.Hello, wait time.Duration) (wire.Welcome, error) {
	payload, err := packed(h)
	if err != nil {
		return wire.Welcome{}, err
	}
	select { // an answer to an older hello
	case <-c.welcomes:
	default:
	}
	c.hello.Store(&h.Hello)
	c.u.counts.hellos.Add(1)
	begun := time.Now()
	taken, err := c.session.Publish(Message{Topic: wire.Topic(c.u.cfg.Gateway, wire.KindHello), Payload: payload, QoS: 1})
	if err != nil {
		return wire.Welcome{}, fmt.Errorf("publish hello: %w", err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return wire.Welcome{}, context.Cause(ctx)
		case a := <-c.welcomes:
			if a.message.Hello == h.Hello {
				c.u.clock.Welcome(a.message.Time, a.at.Sub(begun))
				return a.message, nil
			}
		case <-taken:
			taken = nil
		case <-timer.C:
			if taken == nil {
				return wire.Welcome{}, errNoAnswer
			}
			// It is still on its way: saying it twice would not help.
			left := publishWait - time.Since(begun)
			if left <= 0 {
				return wire.Welcome{}, errMute
			}
			timer.Reset(left)
		}
	}
}

// compose makes the next hello: the streams of every lane that are not settled.
func (c *conversation) compose(ctx context.Context, settled map[event.Lane]map[string]bool) (wire.Hello, error) {
	now := c.u.clock.Stamp()
	h := wire.Hello{
		Hello: uuid.NewString(), Version: c.u.cfg.Version, Boot: c.u.cfg.Boot, Connection: c.id,
		Clock: now.Clock, Time: now.Time.UTC().Truncate(time.Millisecond),
		Lanes: make(map[event.Lane][]wire.StreamSummary), Desired: c.desired.Revisions(),
	}
	if h.Desired == nil {
		h.Desired = map[string]string{}
	}
	for _, l := range c.u.lanes {
		streams, more, err := l.Streams(ctx, settled[l.name])
		if err != nil {
			return wire.Hello{}, fmt.Errorf("streams of %s: %w", l.name, err)
		}
		if len(streams) > wire.MaxStreams {
			streams, more = streams[:wire.MaxStreams], true
		}
		h.Lanes[l.name] = append([]wire.StreamSummary{}, streams...)
		h.More = h.More || more
	}
	// Hundreds of streams with many holes: name half of them, and again.
	for {
		payload, err := packed(h)
		if err == nil {
			return h, nil
		}
		longest := slices.MaxFunc(c.u.lanes, func(a, b *lane) int { return len(h.Lanes[a.name]) - len(h.Lanes[b.name]) }).name
		n := len(h.Lanes[longest])
		if n < 2 {
			return wire.Hello{}, fmt.Errorf("hello of %d bytes: %w", len(payload), err)
		}
		h.Lanes[longest], h.More = h.Lanes[longest][:n/2], true
	}
}

// takeIn acts on the answer w to the hello h.
func (c *conversation) takeIn(ctx context.Context, h wire.Hello, w wire.Welcome, settled map[event.Lane]map[string]bool) error {
	c.site.RaiseTransactions(w.Transactions)
	for _, l := range c.u.lanes {
		positions := make(map[string]uint64)
		for _, s := range h.Lanes[l.name] {
			settled[l.name][s.Stream] = true
			p, ok := w.Positions[l.name][s.Stream]
			if !ok {
				c.log.Warn("the welcome names no position of a stream that the hello named", "lane", l.name, "stream", s.Stream)
				continue
			}
			positions[s.Stream] = uint64(p)
		}
		if err := l.Welcome(ctx, positions, w.Incarnation); err != nil {
			return fmt.Errorf("lane %s: %w", l.name, err)
		}
	}
	c.expect(c.desired.Wanted(w.Desired))
	select {
	case <-c.first:
	default:
		c.firstTime = time.Now()
		close(c.first)
	}
	return nil
}

// serve delivers batches until there is a reason to say hello: why is empty when
// an hour has passed. No batch is under way when it returns.
func (c *conversation) serve(work, life context.Context) (why string, err error) {
	select { // whatever it was, the hello has just been answered
	case <-c.surprises:
	default:
	}
	round, end := context.WithCancel(work)
	broken := make(chan error, len(c.u.lanes))
	var lanes sync.WaitGroup
	defer lanes.Wait()
	defer end()
	for _, l := range c.u.lanes {
		lanes.Go(func() {
			if err := l.deliver(round, life, c); err != nil {
				broken <- err
			}
		})
	}

	hour := time.NewTimer(backoff(0, helloEvery, helloEvery) + helloEvery/4) // 45 to 75 minutes
	defer hour.Stop()
	if c.missing() == 0 {
		c.vain.Store(0)
	}
	overdue := time.NewTimer(backoff(int(c.vain.Add(1))-1, sectionsWait, sectionsMax))
	defer overdue.Stop()
	for {
		select {
		case <-work.Done():
			return "", context.Cause(work)
		case err := <-broken:
			return "", err
		case why := <-c.surprises:
			return why, nil
		case <-hour.C:
			return "", nil
		case <-c.came:
			overdue.Reset(sectionsQuiet)
		case <-overdue.C:
			if n := c.missing(); n > 0 {
				return fmt.Sprintf("%d announced sections of desired state did not come", n), nil
			}
		}
	}
}

// leave ends a conversation that was stopped; the last will is for accidents.
func (c *conversation) leave(ctx context.Context) {
	select {
	case <-c.session.Done():
		return
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, finishWait)
	defer cancel()
	taken, err := c.session.Publish(c.status(false))
	if err != nil {
		c.log.Debug("publish offline status", "err", err)
		return
	}
	select {
	case <-taken:
		c.session.Disconnect()
	case <-ctx.Done(): // let the last will say it
	}
}

// status is the retained word about this connection; offline it is the last will.
func (c *conversation) status(online bool) Message {
	payload, err := json.Marshal(wire.Status{Online: online, Boot: c.u.cfg.Boot, Connection: c.id})
	if err != nil {
		panic(err) // two strings and a bool
	}
	return Message{Topic: wire.Topic(c.u.cfg.Gateway, wire.KindStatus), Payload: payload, QoS: 1, Retained: true}
}

// keepStatus repeats the online status whenever another word, such as the last
// will of a connection before, has taken its place.
func (c *conversation) keepStatus(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.overwritten:
		}
		c.log.Debug("the retained status was overwritten, repeating it")
		if _, err := c.session.Publish(c.status(true)); err != nil || !pause(ctx, statusEvery) {
			return
		}
	}
}

// surprise asks for a hello.
func (c *conversation) surprise(why string) { offer(c.surprises, why) }

// awaitWelcome waits until the conversation's first welcome has been taken in
// and tells whether it was.
func (c *conversation) awaitWelcome(ctx context.Context) bool {
	select {
	case <-c.first:
		return true
	default:
	}
	select {
	case <-c.first:
		return true
	case <-c.over:
	case <-ctx.Done():
	}
	return false
}

// lasted tells whether the conversation, now over, was a good one.
func (c *conversation) lasted() bool {
	select {
	case <-c.first:
		return time.Since(c.firstTime) >= lastingFrom
	default:
		return false
	}
}

// expect replaces the sections that ought to come.
func (c *conversation) expect(sections []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.expected)
	for _, s := range sections {
		c.expected[s] = true
	}
}

func (c *conversation) missing() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.expected)
}

// sectionCame notes that a section came, in whichever revision.
func (c *conversation) sectionCame(section string) {
	c.mu.Lock()
	delete(c.expected, section)
	c.mu.Unlock()
	c.progress.Store(true)
	c.vain.Store(0)
	offer(c.came, struct{}{})
}

// packed is v as it travels, within the limits of a message.
func packed(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	payload := wire.Pack(plain)
	if len(payload) > wire.MaxWire || len(plain) > wire.MaxUnpacked {
		return payload, fmt.Errorf("message of %d bytes, %d packed: expected at most %d, %d", len(plain), len(payload), wire.MaxUnpacked, wire.MaxWire)
	}
	return payload, nil
}

// offer sends v without waiting and tells whether there was room.
func offer[T any](to chan<- T, v T) bool {
	select {
	case to <- v:
		return true
	default:
		return false
	}
}

// pause waits for d and tells whether ctx is still on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
