package charger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// maxTimeouts is how many calls in a row may go unanswered before the connection
// is taken for dead.
const maxTimeouts = 3

// maxQueue is how many messages the queue keeps. Beyond it every second spare one
// is forgotten, so that starts and stops never are.
const maxQueue = 2000

// The actions of all versions that the common part has to know by name.
const (
	bootNotification = "BootNotification"
	heartbeat        = "Heartbeat"
)

// ErrOffline is the fate of a call whose connection went away.
var ErrOffline = errors.New("the connection was lost before the answer came")

// ErrTimeout is the fate of a call that nobody answered.
var ErrTimeout = errors.New("not answered in time")

// CallError is a CALLERROR.
type CallError struct {
	Code        ocppj.ErrorCode // canonical
	Description string
}

func (e *CallError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Description) }

// Unsupported tells whether err says that the server does not know a message.
func Unsupported(err error) bool {
	refusal, ok := errors.AsType[*CallError](err)
	return ok && (refusal.Code == ocppj.NotImplemented || refusal.Code == ocppj.NotSupported)
}

// Message is one that the server has to get, whatever happens in between: one of
// a transaction, or another that has to survive a power loss.
type Message struct {
	ID          string          `json:"id"` // of the CALL, the same for every attempt
	Order       uint64          `json:"order"`
	Action      string          `json:"action"`
	Payload     json.RawMessage `json:"payload"`
	Transaction int64           `json:"transaction,omitempty"` // local number
	Created     time.Time       `json:"created"`
	Offline     bool            `json:"offline,omitempty"`
	Attempts    int             `json:"attempts,omitempty"` // times it was put on the wire
	Failures    int             `json:"failures,omitempty"` // times the server failed to process it
	FirstSent   time.Time       `json:"first_sent,omitzero"`
	Spare       bool            `json:"spare,omitempty"` // may be forgotten when the queue is full
	Once        bool            `json:"once,omitempty"`  // given up at the first failure
}

// Call is a CALL of ours: either one that lives in RAM, or one of the queue.
type Call struct {
	Action string
	// Keep survives the loss of a connection: it is sent again.
	Keep bool
	// Early may be sent before the charger is accepted.
	Early bool

	id        string
	order     uint64
	payload   []byte
	created   time.Time
	offline   bool
	attempts  int
	firstSent time.Time
	message   *Message // of the queue
	// answered gets the answer, or why there is none.
	answered func(any, error)
	answer   []byte // payload of the CALLRESULT
}

// Say makes a call that is not of the queue. Answered gets what Dialect.Answer
// has made of the answer, or why there is none; it may be nil.
func (c *Core) Say(action string, payload []byte, answered func(any, error)) *Call {
	c.order++
	call := &Call{
		id: newID(), order: c.order, Action: action, payload: payload,
		created: c.Now(), offline: !c.Accepted(), answered: answered,
	}
	c.Calls = append(c.Calls, call)
	return call
}

// Enqueue puts a message at the end of the queue and returns it.
func (c *Core) Enqueue(action string, payload []byte, transaction int64) *Message {
	c.order++
	m := &Message{
		ID: newID(), Order: c.order, Action: action, Payload: payload,
		Transaction: transaction, Created: Milliseconds(c.Now()), Offline: !c.Accepted(),
	}
	c.Queue = append(c.Queue, m)
	c.dirty = true
	if len(c.Queue) > maxQueue {
		c.thin()
	}
	return m
}

// thin forgets every second spare message that waits, but never the one under
// way.
func (c *Core) thin() {
	second := false
	c.Queue = slices.DeleteFunc(c.Queue, func(m *Message) bool {
		if !m.Spare || c.pending != nil && c.pending.message == m {
			return false
		}
		second = !second
		if second {
			c.account(m, nil, "forgotten: the queue is full", false)
		}
		return second
	})
}

// Send transmits a SEND of OCPP 2.1, which nobody answers.
func (c *Core) Send(action string, payload []byte) {
	if c.Accepted() {
		c.transmit(ocppj.AppendSend(nil, newID(), action, payload))
	}
}

// Busy tells whether a call of this action waits or is under way.
func (c *Core) Busy(action string) bool {
	return c.pending != nil && c.pending.Action == action ||
		slices.ContainsFunc(c.Calls, func(call *Call) bool { return call.Action == action })
}

// AllSaid tells whether no call waits or is under way; the queue aside.
func (c *Core) AllSaid() bool { return len(c.Calls) == 0 && c.pending == nil }

// next chooses what to send. Messages of the queue keep their order among
// themselves (OCPP 1.6 §3.7); others may overtake them only while those wait.
func (c *Core) next() *Call {
	if c.Registration != Accepted {
		if i := slices.IndexFunc(c.Calls, func(call *Call) bool { return call.Early }); i >= 0 {
			call := c.Calls[i]
			c.Calls = slices.Delete(c.Calls, i, i+1)
			return call
		}
		return nil
	}
	var head *Message
	if len(c.Queue) > 0 && !time.Now().Before(c.retryAt) {
		head = c.Queue[0]
	}
	if len(c.Calls) > 0 && (head == nil || head.Order <= c.backlog || c.Calls[0].order < head.Order) {
		call := c.Calls[0]
		c.Calls = slices.Delete(c.Calls, 0, 1)
		return call
	}
	if head == nil {
		return nil
	}
	head.Payload = c.dialect.Complete(head)
	return &Call{
		id: head.ID, order: head.Order, Action: head.Action, payload: head.Payload, created: head.Created,
		attempts: head.Attempts, firstSent: head.FirstSent, message: head,
	}
}

// prepare takes the next message, when there is one and nothing is under way: one
// CALL at a time (OCPP-J 1.6 §4.1.1). The frame is to be transmitted once memory
// knows of the attempt; nil for none.
func (c *Core) prepare() []byte {
	if c.link.conn == nil || c.pending != nil || c.Silent() {
		return nil
	}
	call := c.next()
	if call == nil {
		return nil
	}
	call.attempts++
	if call.firstSent.IsZero() {
		call.firstSent = c.Now()
	}
	if m := call.message; m != nil {
		m.Attempts, m.FirstSent = call.attempts, call.firstSent
		c.dirty = true
	}
	c.pending = call
	c.In("timeout", c.cfg.CallTimeout, c.timeout)
	return ocppj.AppendCall(nil, call.id, call.Action, call.payload)
}

// transmit puts a frame on the wire.
func (c *Core) transmit(frame []byte) {
	if frame == nil || c.link.conn == nil {
		return
	}
	if err := c.link.conn.Write(frame); err != nil {
		c.lost(c.link.number, err)
	}
}

// Silent tells whether we have been told to say nothing (OCPP 1.6 §4.2).
func (c *Core) Silent() bool {
	return c.Registration == Rejected && time.Now().Before(c.RejectedTill)
}

func (c *Core) timeout() {
	call := c.pending
	if call == nil {
		return
	}
	c.Log.Warn("no answer in time", "action", call.Action, "after", c.cfg.CallTimeout)
	c.timeouts++
	c.failed(call, ErrTimeout)
	if c.timeouts >= maxTimeouts && c.link.conn != nil {
		c.timeouts = 0
		c.Log.Warn("nothing is answered any more: connecting anew")
		c.DropLink("", false)
		c.later()
	}
}

// unanswered puts what was under way back, or ends it, because the connection
// is gone. That is no failure to process it (OCPP 1.6 §3.7.1).
func (c *Core) unanswered() {
	call := c.pending
	c.pending = nil
	lost := slices.Clone(c.Calls)
	c.Calls = c.Calls[:0]
	for _, waiting := range lost {
		if waiting.Keep {
			c.Calls = append(c.Calls, waiting)
			continue
		}
		c.fail(waiting, ErrOffline)
	}
	if call == nil || call.message != nil {
		return
	}
	if call.Keep {
		c.Calls = slices.Insert(c.Calls, 0, call)
		return
	}
	c.fail(call, ErrOffline)
}

// fail ends a call that lives in RAM.
func (c *Core) fail(call *Call, err error) {
	c.giveUp(call, err.Error())
	if call.answered != nil {
		call.answered(nil, err)
	}
}

// giveUp writes down that a call in RAM has no answer and will get none.
func (c *Core) giveUp(call *Call, why string) {
	if call.attempts == 0 || call.Action == heartbeat || call.message != nil {
		return
	}
	c.Book.Message(c.said(call, nil, why))
}

func (c *Core) said(call *Call, answer []byte, why string) ledger.Message {
	return ledger.Message{
		Time: Milliseconds(time.Now()), Station: c.cfg.Identity, Version: c.cfg.Version, Personality: c.cfg.Personality,
		Action: call.Action, Payload: call.payload, Answer: answer, Error: why, Confirmed: why == "",
		Attempts: call.attempts, Offline: call.offline, Created: Milliseconds(call.created), FirstSent: moment(call.firstSent),
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = Milliseconds(t)
	return &t
}

// account writes down the fate of a message of the queue.
func (c *Core) account(m *Message, answer []byte, why string, pending bool) {
	c.Book.Message(ledger.Message{
		Time: Milliseconds(time.Now()), Station: c.cfg.Identity, Version: c.cfg.Version, Personality: c.cfg.Personality,
		Action: m.Action, Payload: m.Payload, Answer: answer, Error: why,
		Confirmed: why == "", Pending: pending, Attempts: m.Attempts, Offline: m.Offline, Created: m.Created, FirstSent: moment(m.FirstSent),
	})
}

// received takes one message from the wire.
func (c *Core) received(data []byte) {
	f, err := ocppj.Parse(data)
	if err != nil {
		c.damaged(err)
		return
	}
	switch f.Type {
	case ocppj.Call:
		if c.Silent() { // OCPP 1.6 §4.2: while Rejected nothing is answered
			c.Log.Info("not answered while rejected", "action", f.Action)
			return
		}
		c.dialect.Ordered(f)
	case ocppj.CallResult:
		call := c.asked(f.ID)
		if call == nil {
			c.Log.Warn("an answer to nothing that was asked", "id", f.ID)
			return
		}
		c.settled(call, f.Payload)
	case ocppj.CallError:
		call := c.pending
		if call == nil || call.id != f.ID {
			c.Log.Warn("an error about nothing that was asked", "id", f.ID, "code", string(f.Code))
			return
		}
		c.link.tries, c.timeouts = 0, 0
		c.failed(call, &CallError{Code: f.Code.Canonical(), Description: f.Description})
	case ocppj.CallResultError:
		c.Log.Warn("the server cannot use an answer of ours", "id", f.ID, "code", string(f.Code), "description", f.Description)
	default:
		c.Log.Warn("a message of a type that is not for chargers", "type", f.Type.String())
	}
}

// asked finds the call that an answer belongs to: the one under way, or a message
// of the queue whose answer comes after its time.
func (c *Core) asked(id string) *Call {
	if c.pending != nil {
		if c.pending.id == id {
			return c.pending
		}
		return nil
	}
	if len(c.Queue) == 0 || c.Queue[0].ID != id || c.Queue[0].Attempts == 0 {
		return nil
	}
	m := c.Queue[0]
	return &Call{id: m.ID, Action: m.Action, payload: m.Payload, message: m}
}

// settled reads the payload of an answer.
func (c *Core) settled(call *Call, payload []byte) {
	c.link.tries, c.timeouts = 0, 0
	answer, err := c.dialect.Answer(call.Action, payload)
	if err != nil {
		c.failed(call, fmt.Errorf("the answer cannot be used: %w", err))
		return
	}
	c.Off("timeout")
	c.pending = nil
	if m := call.message; m != nil {
		c.account(m, payload, "", false)
		c.unqueue(m)
		c.retryAt = time.Time{}
		c.Off("retry")
		c.dialect.Concluded(m, answer)
		return
	}
	if call.Action != heartbeat {
		c.Book.Message(c.said(call, payload, ""))
	}
	call.answer = slices.Clone(payload)
	if call.answered != nil {
		call.answered(answer, nil)
	}
}

// Tell sends a CALL that the charger would not have sent by itself and returns the
// payload of its answer, so that tests can say whatever a charger may say. With
// send, it is a SEND of OCPP 2.1, and nobody answers.
func (c *Core) Tell(ctx context.Context, action string, payload json.RawMessage, send bool) (json.RawMessage, error) {
	type outcome struct {
		answer json.RawMessage
		err    error
	}
	done := make(chan outcome, 1)
	err := c.Do(ctx, func() error {
		if !c.Accepted() {
			return Refused("the charger is not connected and accepted")
		}
		if send {
			c.Send(action, payload)
			done <- outcome{}
			return nil
		}
		var call *Call
		call = c.Say(action, payload, func(_ any, err error) { done <- outcome{call.answer, err} })
		return nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case o := <-done:
		return o.answer, o.err
	case <-c.done:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// failed ends the call under way with an error.
func (c *Core) failed(call *Call, err error) {
	c.Off("timeout")
	c.pending = nil
	if refusal, ok := errors.AsType[*CallError](err); ok && refusal.Code == ocppj.SecurityError && call.Action != bootNotification {
		// The server does not know us any more: register anew.
		c.Log.Warn("the central system wants us to register", "action", call.Action)
		c.Registration = ""
		if call.message == nil {
			c.fail(call, err)
		}
		c.dialect.Boot()
		return
	}
	m := call.message
	if m == nil {
		c.fail(call, err)
		return
	}
	if m.Once {
		c.abandon(m, err)
		return
	}
	// OCPP 1.6 §3.7.1: the wait grows with the number of transmissions. Only what
	// the server failed to process counts; without any answer the message is
	// repeated until one comes.
	patience := c.dialect.Patience()
	if errors.Is(err, ErrTimeout) {
		c.retry(patience.Wait)
		return
	}
	m.Failures++
	c.dirty = true
	if m.Failures >= max(1, patience.Attempts) {
		c.Log.Error("a transaction-related message was refused and is given up", "action", m.Action, "attempts", m.Attempts, "err", err)
		c.abandon(m, err)
		return
	}
	c.Log.Warn("a transaction-related message was not processed", "action", m.Action, "failures", m.Failures, "err", err)
	c.retry(patience.Wait * time.Duration(m.Failures))
}

// abandon gives a message of the queue up.
func (c *Core) abandon(m *Message, err error) {
	c.account(m, nil, err.Error(), false)
	c.unqueue(m)
	c.dialect.Discarded(m, err)
}

func (c *Core) retry(wait time.Duration) {
	c.retryAt = time.Now().Add(wait)
	c.In("retry", wait, func() { c.retryAt = time.Time{} })
}

func (c *Core) unqueue(m *Message) {
	c.Queue = slices.DeleteFunc(c.Queue, func(other *Message) bool { return other == m })
	c.dirty = true
}

// damaged handles a frame that cannot be read: a CALL among them is answered
// when its id could be saved, the call under way ends when it was meant.
func (c *Core) damaged(err error) {
	c.Log.Warn("a message that cannot be read", "err", err)
	parse, ok := errors.AsType[*ocppj.ParseError](err)
	if !ok || parse.ID == "" {
		return
	}
	switch parse.Type {
	case ocppj.Call:
		c.Refuse(parse.ID, parse.Code, parse.Reason)
	case ocppj.CallResult, ocppj.CallError:
		if call := c.pending; call != nil && call.id == parse.ID {
			c.failed(call, err)
		}
	}
}

// Reply answers a CALL. It is in memory and in the ledger before it is sent.
func (c *Core) Reply(f ocppj.Frame, answer []byte) {
	c.Save()
	c.Book.Order(ledger.Order{
		Time: Milliseconds(time.Now()), Station: c.cfg.Identity, Version: c.cfg.Version, Personality: c.cfg.Personality,
		Action: f.Action, Payload: slices.Clone(f.Payload), Answer: answer,
	})
	c.transmit(ocppj.AppendResult(nil, f.ID, answer))
}

// Refuse answers a CALL with a CALLERROR.
func (c *Core) Refuse(id string, code ocppj.ErrorCode, text string) {
	c.transmit(ocppj.AppendError(nil, id, code.For(c.cfg.Version), text, nil))
}
