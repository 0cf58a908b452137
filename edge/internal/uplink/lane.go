package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
	"github.com/chargeyard/chargeyard/shared/wire"
)

const (
	ackWait     = 5 * time.Second // for the manager's commit, doubled with each try
	ackWaitMax  = 2 * time.Minute
	ackTries    = 3 // unanswered ones before the next hello, which costs less than a batch
	storageWait = time.Second
	storageMax  = time.Minute

	// Bytes of plain JSON asked of the outbox. How many fit in wire.MaxWire
	// depends on how well they pack, which is learned on the way.
	firstBatch = 256 << 10
	largeBatch = 512 << 10
	smallBatch = event.MaxSize
	// A line may be so slow that a batch takes longer than a broker is given.
	leastBatch = 4 << 10
	quickBatch = time.Second     // from publish to PUBACK: the next may be larger
	slowBatch  = 5 * time.Second // the next has to be smaller

	maxStubs   = 3 // in a row; then the fault is not the events'
	refuseWait = time.Minute
	refuseMax  = 30 * time.Minute
)

// alarmRefused is the alarm about a manager that cannot read anything.
const alarmRefused = "events_refused"

// lane delivers one Lane. Its fields belong to the goroutine that delivers, or,
// while none does, to the conversation.
type lane struct {
	Lane
	name   event.Lane
	log    *slog.Logger
	acks   chan wire.Ack
	counts laneCounters

	taken   <-chan struct{} // of the newest publish, nil once it is acknowledged by the broker
	tries   int             // of the batch under way that nobody answered
	failed  int             // attempts in a row that the storage refused
	size    int             // bytes to ask for
	slow    bool            // the last batch was not quick
	halved  int             // bytes to ask for since a batch was refused; 0: size
	stubs   int             // made since a whole event was taken
	blocked int             // waits since the manager was found at fault; 0: it is not
}

// begin is called at the start of a conversation.
func (l *lane) begin() {
	if l.taken != nil { // perhaps the last one ended because of its size
		l.size = max(l.size/4, leastBatch)
	}
	l.taken, l.tries, l.failed = nil, 0, 0
	l.blocked = min(l.blocked, 1) // perhaps it is another manager: soon tried again
}

// deliver offers batch after batch until round ends, or the conversation is
// over, for which it returns the reason. What is under way when round ends is
// waited for a little.
func (l *lane) deliver(round, life context.Context, c *conversation) error {
	for round.Err() == nil {
		b, payload, err := l.next(round)
		if err == nil {
			l.failed = 0
			err = l.bring(round, life, c, b, payload)
		}
		var storage *storageError
		switch {
		case err == nil:
		case errors.Is(err, errSurprised):
			<-round.Done()
		case errors.Is(err, errRoundOver), round.Err() != nil && errors.Is(err, context.Canceled):
			return nil
		case errors.As(err, &storage):
			if l.failed == 0 { // once per trouble, not once per try
				l.log.Error("outbox", "err", err)
			}
			l.counts.failures.Add(1)
			l.failed++
			pause(round, backoff(l.failed-1, storageWait, storageMax))
		default:
			return err
		}
	}
	return nil
}

var (
	errSurprised = errors.New("a hello is needed first")
	errRoundOver = errors.New("round over")
)

// storageError is trouble of the outbox, which may pass.
type storageError struct{ err error }

func (e *storageError) Error() string { return e.err.Error() }
func (e *storageError) Unwrap() error { return e.err }

// next returns the next batch, packed to fit.
func (l *lane) next(ctx context.Context) (wire.Batch, []byte, error) {
	for {
		limit := l.size
		if l.halved > 0 {
			limit = min(limit, l.halved)
		}
		b, err := l.Next(ctx, limit)
		if err != nil {
			return wire.Batch{}, nil, &storageError{fmt.Errorf("next batch: %w", err)}
		}
		payload := wire.Pack(b.JSON)
		plain, full := len(b.JSON), len(b.JSON) > limit-limit/8
		switch {
		case len(payload) > wire.MaxWire && b.First == b.Last:
			return wire.Batch{}, nil, &storageError{fmt.Errorf("event %s/%s takes %d bytes on the wire, expected at most %d",
				b.Stream, event.FormatSequence(b.First), len(payload), wire.MaxWire)}
		case len(payload) > wire.MaxWire:
			l.size = min(limit, plain) / 2
			continue
		case full && l.halved == 0 && !l.slow && (len(payload) < wire.MaxWire/2 || l.size < smallBatch):
			l.size = min(2*l.size, largeBatch)
		}
		return b, payload, nil
	}
}

// bring publishes one batch until it is answered, and settles it.
func (l *lane) bring(round, life context.Context, c *conversation, b wire.Batch, payload []byte) error {
	mark := wire.Fingerprint(payload)
	for {
		if err := l.publish(life, c, payload); err != nil {
			return err
		}
		a, err := l.await(round, life, b, mark)
		if errors.Is(err, errNoAnswer) {
			if l.tries == 0 { // once per outage, not once per try
				l.log.Warn("no acknowledgement, trying again", "stream", b.Stream, "first", b.First, "last", b.Last)
			}
			l.tries++
			l.counts.repeats.Add(1)
			if l.tries%ackTries == 0 {
				c.surprise("no acknowledgement on lane " + string(l.name))
				return errSurprised
			}
			continue
		}
		if err != nil {
			return err
		}
		if l.tries > 0 {
			l.log.Info("manager is back", "tries", l.tries+1)
			l.tries = 0
		}
		if a.Refused != "" {
			return l.refused(round, c, b, a.Reason)
		}
		return l.settle(life, c, b, uint64(*a.Sequence))
	}
}

// publish hands a batch over, once the broker has taken the one before.
func (l *lane) publish(life context.Context, c *conversation, payload []byte) error {
	if l.taken != nil {
		timer := time.NewTimer(publishWait)
		defer timer.Stop()
		select {
		case <-l.taken:
		case <-life.Done():
			return context.Cause(life)
		case <-timer.C:
			return errMute
		}
	}
	for stale := true; stale; { // answers to earlier batches
		select {
		case <-l.acks:
		default:
			stale = false
		}
	}
	seam.Hit("edge.uplink.before-publish")
	taken, err := c.session.Publish(Message{Topic: wire.Topic(c.u.cfg.Gateway, wire.KindUp, string(l.name)), Payload: payload, QoS: 1})
	if err != nil {
		return fmt.Errorf("publish batch of %s: %w", l.name, err)
	}
	l.taken = taken
	l.counts.batches.Add(1)
	l.counts.bytes.Add(uint64(len(payload)))
	return nil
}

// await returns the answer to the batch b whose payload has the fingerprint mark.
func (l *lane) await(round, life context.Context, b wire.Batch, mark string) (wire.Ack, error) {
	begun := time.Now()
	arrived := func() {
		took := time.Since(begun)
		if l.slow = took > quickBatch; took > slowBatch {
			l.size = max(l.size/2, leastBatch)
		}
		l.taken = nil
		seam.Hit("edge.uplink.after-publish")
	}
	timer := time.NewTimer(backoff(l.tries, ackWait, ackWaitMax))
	defer timer.Stop()
	var grace <-chan time.Time
	ended := round.Done()
	for {
		select {
		case a := <-l.acks:
			refused := a.Refused != "" && a.Refused == mark
			taken := a.Refused == "" && a.Stream == b.Stream && a.First != nil && uint64(*a.First) == b.First && a.Sequence != nil
			if !refused && !taken {
				continue
			}
			select { // the broker usually speaks before the manager
			case <-l.taken:
				arrived()
			default:
			}
			return a, nil
		case <-l.taken:
			arrived()
		case <-timer.C:
			if l.taken == nil {
				return wire.Ack{}, errNoAnswer
			}
			// It is still on its way: sending it twice would not help.
			left := publishWait - time.Since(begun)
			if left <= 0 {
				return wire.Ack{}, errMute
			}
			timer.Reset(left)
		case <-ended:
			ended, grace = nil, time.After(finishWait)
		case <-grace:
			return wire.Ack{}, errRoundOver
		case <-life.Done():
			return wire.Ack{}, context.Cause(life)
		}
	}
}

// settle moves the lane to the position that the manager told about b.
func (l *lane) settle(life context.Context, c *conversation, b wire.Batch, position uint64) error {
	if position < b.First {
		// A restored database, or a hole that the manager was not told of: the
		// welcome will say where to go on.
		c.surprise(fmt.Sprintf("the manager is at %s of stream %s, before the batch from %s",
			event.FormatSequence(position), b.Stream, event.FormatSequence(b.First)))
		return errSurprised
	}
	seam.Hit("edge.uplink.before-settle")
	if err := l.Settle(context.WithoutCancel(life), b.Stream, position); err != nil { // even while stopping
		return &storageError{fmt.Errorf("settle %s/%s: %w", b.Stream, event.FormatSequence(position), err)}
	}
	seam.Hit("edge.uplink.after-settle")
	c.progress.Store(true)
	l.counts.acked(time.Now(), min(position, b.Last)-b.First+1)
	if l.halved > 0 {
		if l.halved *= 2; l.halved >= l.size {
			l.halved = 0
		}
	}
	if (l.stubs > 0 || l.blocked > 0) && holdsWhole(b, position) {
		if l.blocked > 0 {
			l.log.Info("the manager reads events again")
			c.site.Alarm(context.WithoutCancel(life), event.GatewayAlarm{Alarm: alarmRefused, Severity: "critical", Cleared: true,
				Text: fmt.Sprintf("The manager reads the events of lane %s again.", l.name)})
		}
		l.stubs, l.blocked = 0, 0
		l.counts.blocked.Store(false)
	}
	return nil
}

// refused acts on a batch that the manager could not read: halve it, stub the
// one event that is left, and after a few of those leave the blame with the
// manager and wait.
func (l *lane) refused(round context.Context, c *conversation, b wire.Batch, reason string) error {
	l.counts.refused.Add(1)
	if b.First != b.Last {
		l.log.Warn("batch refused, halving it", "stream", b.Stream, "first", b.First, "last", b.Last, "reason", reason)
		l.halved = max(len(b.JSON)/2, 1)
		return nil
	}
	if l.stubs < maxStubs && l.blocked == 0 && holdsWhole(b, b.Last) {
		l.log.Error("event refused, sending a stub in its place", "stream", b.Stream, "sequence", b.First, "reason", reason)
		if err := l.Stub(context.WithoutCancel(round), b.Stream, b.First, reason); err != nil {
			return &storageError{fmt.Errorf("stub %s/%s: %w", b.Stream, event.FormatSequence(b.First), err)}
		}
		l.stubs++
		l.counts.stubs.Add(1)
		return nil
	}
	if l.blocked == 0 {
		l.log.Error("the manager refuses event after event, waiting", "stream", b.Stream, "sequence", b.First, "reason", reason)
		l.counts.blocked.Store(true)
		c.site.Alarm(context.WithoutCancel(round), event.GatewayAlarm{Alarm: alarmRefused, Severity: "critical",
			Text: fmt.Sprintf("The manager refuses event after event of lane %s (%q), so the fault is its own. Nothing is lost: the gateway keeps them and tries again. Update the manager.", l.name, reason)})
	}
	l.blocked++
	pause(round, backoff(l.blocked-1, refuseWait, refuseMax))
	return nil
}

// holdsWhole tells whether b holds, up to position, an event that is not a stub.
func holdsWhole(b wire.Batch, position uint64) bool {
	events, err := wire.ParseBatch(b.JSON)
	if err != nil {
		return true // unreadable here too: surely no stub of ours
	}
	for i := range events {
		id, err := events[i].EventID()
		if err == nil && id.Sequence <= position && !events[i].Stub {
			return true
		}
	}
	return false
}
