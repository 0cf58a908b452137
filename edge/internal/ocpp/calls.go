package ocpp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// keepLate is how many calls without an answer are remembered.
const keepLate = 4

// pending is a CALL of ours that waits for its answer.
type pending struct {
	id     string
	answer chan answer // room for one
}

// answer is what came back: a payload, or why there is none.
type answer struct {
	payload []byte
	err     error
}

// Errors of Call.
var (
	// ErrLost says that the connection ended before the answer came; whether the
	// station has acted on the call is not known.
	ErrLost = errors.New("connection lost before the answer")
	// ErrNotSent says that the connection ended before the call was sent.
	ErrNotSent = errors.New("connection lost before the call was sent")
	// ErrTimeout says that no answer came in time.
	ErrTimeout = errors.New("no answer in time")
)

// CallError is a CALLERROR, received or to be sent.
type CallError struct {
	Code        ocppj.ErrorCode
	Description string
}

// Error tells code and description.
func (e *CallError) Error() string {
	if e.Description == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Description
}

// Call sends a CALL and waits for the answer to it: at most one is under way,
// the others wait in the order in which they came. sent is called as soon as it
// has been sent; it may be nil. The payload that comes back is the caller's.
//
// The error is ErrNotSent, ErrLost, ErrTimeout, a *CallError, or that of a
// damaged answer.
func (c *Conversation) Call(action string, payload []byte, sent func()) ([]byte, error) {
	answer, _, err := c.CallID(action, payload, sent)
	return answer, err
}

// CallID is Call for those who may find that the answer cannot be used: id names
// the call for RefuseResult.
func (c *Conversation) CallID(action string, payload []byte, sent func()) (answer []byte, id string, err error) {
	id = uuid.NewString() // never that of another call, whatever ended before
	answer, err = c.call(id, action, payload, sent)
	return answer, id, err
}

// RefuseResult tells the station that its answer to a call of ours cannot be used.
// Only OCPP 2.1 has a frame for that; nothing is sent in other versions.
func (c *Conversation) RefuseResult(id string, code ocppj.ErrorCode, description string) {
	if c.info.Protocol != ocppj.V21 {
		return
	}
	c.server.metrics.resultErrors.WithLabelValues("sent").Inc()
	if err := c.write(ocppj.AppendResultError(nil, id, code.For(c.info.Protocol), description, nil)); err != nil {
		c.Log().Debug("refusal of an answer not sent", "err", err)
	}
}

func (c *Conversation) call(id, action string, payload []byte, sent func()) ([]byte, error) {
	<-c.queue() // those before it give up soon when the connection ends
	defer c.next()
	select {
	case <-c.ready:
	case <-c.done:
	}
	select {
	case <-c.done:
		return nil, ErrNotSent
	default:
	}

	p := &pending{id: id, answer: make(chan answer, 1)}
	c.mu.Lock()
	c.pending = p
	c.mu.Unlock()
	if err := c.write(ocppj.AppendCall(nil, p.id, action, payload)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	c.server.metrics.called(action)
	if sent != nil {
		sent()
	}
	timeout := time.NewTimer(c.timeout(action))
	defer timeout.Stop()
	select {
	case a := <-p.answer:
		return a.payload, a.err
	case <-c.done:
		return nil, ErrLost
	case <-timeout.C:
		return c.miss(p, action)
	}
}

// queue takes a place in the order of our calls; the channel is closed when it
// is the first.
func (c *Conversation) queue() chan struct{} {
	turn := make(chan struct{})
	c.mu.Lock()
	free := !c.busy
	c.busy = true
	if !free {
		c.turns = append(c.turns, turn)
	}
	c.mu.Unlock()
	if free {
		close(turn)
	}
	return turn
}

// next lets the next of our calls go.
func (c *Conversation) next() {
	c.mu.Lock()
	c.pending = nil
	var turn chan struct{}
	if len(c.turns) > 0 {
		turn, c.turns = c.turns[0], c.turns[1:]
	} else {
		c.busy, c.turns = false, nil
	}
	c.mu.Unlock()
	if turn != nil {
		close(turn)
	}
}

// miss gives a call up. After several in a row the connection is closed: some
// stations answer nothing any more until they reconnect.
func (c *Conversation) miss(p *pending, action string) ([]byte, error) {
	c.mu.Lock()
	c.pending = nil
	if len(c.late) == keepLate {
		c.late = c.late[:copy(c.late, c.late[1:])]
	}
	c.late = append(c.late, p.id)
	c.missed++
	missed := c.missed
	c.mu.Unlock()
	select {
	case a := <-p.answer: // it came in the meantime
		return a.payload, a.err
	default:
	}
	c.server.metrics.timeouts.Inc()
	c.Log().Warn("no answer in time", "action", action, "id", p.id, "timeout", c.timeout(action).String())
	if missed >= c.server.cfg.TimeoutsToClose {
		c.hangUp(websocket.CloseGoingAway, fmt.Sprintf("no answer to %d calls in a row", missed))
	}
	return nil, fmt.Errorf("%w: %s after %v", ErrTimeout, action, c.timeout(action))
}

// answered hands an answer to the call that waits for it. Answers to nobody are
// logged, counted and dropped; they never touch the call under way.
func (c *Conversation) answered(id string, a answer) {
	c.mu.Lock()
	p := c.pending
	if p != nil && p.id == id {
		c.pending, c.missed = nil, 0
		c.mu.Unlock()
		p.answer <- a
		return
	}
	late := slices.Contains(c.late, id)
	if late {
		c.missed = 0 // slow, not dumb
	}
	c.mu.Unlock()
	if late {
		c.Warn("late answer, dropped", "id", id)
		c.Deviated("answer_late", "", id)
		return
	}
	c.Warn("answer to nobody, dropped", "id", id, "err", a.err)
	c.Deviated("answer_unknown", "", id)
}
