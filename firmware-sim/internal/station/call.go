package station

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// maxTimeouts is how many calls in a row may go unanswered before the connection
// is taken for dead.
const maxTimeouts = 3

// maxQueue is how many transaction-related messages are kept. Beyond it every
// second MeterValues is forgotten, so that starts and stops never are.
const maxQueue = 2000

// errOffline is the fate of a call whose connection went away.
var errOffline = errors.New("the connection was lost before the answer came")

// errTimeout is the fate of a call that nobody answered.
var errTimeout = errors.New("not answered in time")

// callError is a CALLERROR.
type callError struct {
	code        ocppj.ErrorCode
	description string
}

func (e *callError) Error() string { return fmt.Sprintf("%s: %s", e.code, e.description) }

// call is a CALL of ours: either one that lives in RAM, or one of the queue.
type call struct {
	id      string
	order   uint64
	action  string
	payload []byte
	created time.Time
	offline bool
	// keep survives the loss of a connection: it is sent again.
	keep bool
	// early may be sent before the charge point is accepted.
	early     bool
	attempts  int
	firstSent time.Time
	message   *Message // of the queue
	// answered gets the answer, or why there is none.
	answered func(ocpp16.Response, error)
}

// say makes a call that is not transaction-related.
func (s *Station) say(req ocpp16.Request, answered func(ocpp16.Response, error)) *call {
	s.order++
	c := &call{
		id: newID(), order: s.order, action: req.Action(), payload: req.AppendJSON(nil),
		created: s.now(), offline: !s.accepted(), answered: answered,
	}
	s.calls = append(s.calls, c)
	return c
}

// enqueue puts a transaction-related message at the end of the queue.
func (s *Station) enqueue(req ocpp16.Request, tx int64) {
	s.order++
	s.state.Queue = append(s.state.Queue, &Message{
		ID: newID(), Order: s.order, Action: req.Action(), Payload: req.AppendJSON(nil),
		Transaction: tx, Created: ms(s.now()), Offline: !s.accepted(),
	})
	s.dirty = true
	if len(s.state.Queue) > maxQueue {
		s.thin()
	}
}

// thin forgets every second MeterValues that waits, but never the one under way.
func (s *Station) thin() {
	second := false
	s.state.Queue = slices.DeleteFunc(s.state.Queue, func(m *Message) bool {
		if m.Action != ocpp16.ActionMeterValues || s.pending != nil && s.pending.message == m {
			return false
		}
		second = !second
		if second {
			s.account(m, nil, "forgotten: the queue is full", false)
		}
		return second
	})
}

// next chooses what to send. Transaction-related messages keep their order among
// themselves (§3.7); others may overtake them only while those wait.
func (s *Station) next() *call {
	if s.registration != ocpp16.RegistrationStatusAccepted {
		if i := slices.IndexFunc(s.calls, func(c *call) bool { return c.early }); i >= 0 {
			c := s.calls[i]
			s.calls = slices.Delete(s.calls, i, i+1)
			return c
		}
		return nil
	}
	var head *Message
	if len(s.state.Queue) > 0 && !time.Now().Before(s.retryAt) {
		head = s.state.Queue[0]
	}
	if len(s.calls) > 0 && (head == nil || head.Order <= s.backlog || s.calls[0].order < head.Order) {
		c := s.calls[0]
		s.calls = slices.Delete(s.calls, 0, 1)
		return c
	}
	if head == nil {
		return nil
	}
	head.Payload = s.complete(head)
	return &call{
		id: head.ID, order: head.Order, action: head.Action, payload: head.Payload, created: head.Created,
		attempts: head.Attempts, firstSent: head.FirstSent, message: head,
	}
}

// complete fills in the transactionId, which may have become known since the
// message was made.
func (s *Station) complete(m *Message) []byte {
	tx := s.state.Transactions[m.Transaction]
	switch m.Action {
	case ocpp16.ActionStopTransaction:
		var req ocpp16.StopTransactionRequest
		if _, err := req.Decode(m.Payload); err == nil {
			req.TransactionID = tx.id()
			return req.AppendJSON(nil)
		}
	case ocpp16.ActionMeterValues:
		var req ocpp16.MeterValuesRequest
		if _, err := req.Decode(m.Payload); err == nil {
			id := tx.id()
			req.TransactionID = &id
			return req.AppendJSON(nil)
		}
	}
	return m.Payload
}

// prepare takes the next message, when there is one and nothing is under way: one
// CALL at a time (OCPP-J 1.6 §4.1.1). The frame is to be transmitted once memory
// knows of the attempt; nil for none.
func (s *Station) prepare() []byte {
	if s.link.conn == nil || s.pending != nil || s.silent() {
		return nil
	}
	c := s.next()
	if c == nil {
		return nil
	}
	c.attempts++
	if c.firstSent.IsZero() {
		c.firstSent = s.now()
	}
	if m := c.message; m != nil {
		m.Attempts, m.FirstSent = c.attempts, c.firstSent
		s.dirty = true
	}
	s.pending = c
	s.in("timeout", s.cfg.CallTimeout, s.timeout)
	return ocppj.AppendCall(nil, c.id, c.action, c.payload)
}

// transmit puts a frame on the wire.
func (s *Station) transmit(frame []byte) {
	if frame == nil || s.link.conn == nil {
		return
	}
	if err := s.link.conn.Write(frame); err != nil {
		s.lost(s.link.number, err)
	}
}

// silent tells whether we have been told to say nothing (§4.2).
func (s *Station) silent() bool {
	return s.registration == ocpp16.RegistrationStatusRejected && time.Now().Before(s.rejectedTill)
}

func (s *Station) timeout() {
	c := s.pending
	if c == nil {
		return
	}
	s.log.Warn("no answer in time", "action", c.action, "after", s.cfg.CallTimeout)
	s.timeouts++
	s.answer(c, nil, errTimeout)
	if s.timeouts >= maxTimeouts && s.link.conn != nil {
		s.timeouts = 0
		s.log.Warn("nothing is answered any more: connecting anew")
		s.dropLink("", false)
		s.later()
	}
}

// unanswered puts what was under way back, or ends it, because the connection
// is gone. That is no failure to process it (§3.7.1).
func (s *Station) unanswered() {
	c := s.pending
	s.pending = nil
	lost := slices.Clone(s.calls)
	s.calls = s.calls[:0]
	for _, waiting := range lost {
		if waiting.keep {
			s.calls = append(s.calls, waiting)
			continue
		}
		s.fail(waiting, errOffline)
	}
	if c == nil || c.message != nil {
		return
	}
	if c.keep {
		s.calls = slices.Insert(s.calls, 0, c)
		return
	}
	s.fail(c, errOffline)
}

// fail ends a call that lives in RAM.
func (s *Station) fail(c *call, err error) {
	s.giveUp(c, err.Error())
	if c.answered != nil {
		c.answered(nil, err)
	}
}

// giveUp writes down that a call in RAM has no answer and will get none.
func (s *Station) giveUp(c *call, why string) {
	if c.attempts == 0 || c.action == ocpp16.ActionHeartbeat || c.message != nil {
		return
	}
	s.ledger.Message(ledger.Message{
		Time: ms(time.Now()), Station: s.cfg.Identity, Action: c.action, Payload: c.payload, Error: why,
		Attempts: c.attempts, Offline: c.offline, Created: ms(c.created), FirstSent: moment(c.firstSent),
	})
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = ms(t)
	return &t
}

// account writes down the fate of a message of the queue.
func (s *Station) account(m *Message, answer []byte, why string, pending bool) {
	s.ledger.Message(ledger.Message{
		Time: ms(time.Now()), Station: s.cfg.Identity, Action: m.Action, Payload: m.Payload, Answer: answer, Error: why,
		Confirmed: why == "", Pending: pending, Attempts: m.Attempts, Offline: m.Offline, Created: m.Created, FirstSent: moment(m.FirstSent),
	})
}

// received takes one message from the wire.
func (s *Station) received(data []byte) {
	f, err := ocppj.Parse(data)
	if err != nil {
		s.damaged(err)
		return
	}
	switch f.Type {
	case ocppj.Call:
		s.ordered(f)
	case ocppj.CallResult:
		c := s.asked(f.ID)
		if c == nil {
			s.log.Warn("an answer to nothing that was asked", "id", f.ID)
			return
		}
		s.settled(c, f.Payload)
	case ocppj.CallError:
		c := s.pending
		if c == nil || c.id != f.ID {
			s.log.Warn("an error about nothing that was asked", "id", f.ID, "code", string(f.Code))
			return
		}
		s.link.tries, s.timeouts = 0, 0
		s.answer(c, nil, &callError{code: f.Code.Canonical(), description: f.Description})
	default:
		s.log.Warn("a message of a type that OCPP 1.6 does not have", "type", f.Type.String())
	}
}

// asked finds the call that an answer belongs to: the one under way, or a message
// of the queue whose answer comes after its time.
func (s *Station) asked(id string) *call {
	if s.pending != nil {
		if s.pending.id == id {
			return s.pending
		}
		return nil
	}
	if len(s.state.Queue) == 0 || s.state.Queue[0].ID != id || s.state.Queue[0].Attempts == 0 {
		return nil
	}
	m := s.state.Queue[0]
	return &call{id: m.ID, action: m.Action, payload: m.Payload, message: m}
}

// settled reads the payload of an answer.
func (s *Station) settled(c *call, payload []byte) {
	s.link.tries, s.timeouts = 0, 0
	req, ok := ocpp16.NewRequest(c.action)
	if !ok {
		s.answer(c, nil, fmt.Errorf("%s is no action of OCPP 1.6", c.action))
		return
	}
	resp := req.NewResponse()
	if _, err := resp.Decode(payload); err != nil {
		s.answer(c, nil, fmt.Errorf("the answer cannot be used: %w", err))
		return
	}
	s.off("timeout")
	s.pending = nil
	if c.action != ocpp16.ActionHeartbeat && c.message == nil {
		s.ledger.Message(ledger.Message{
			Time: ms(time.Now()), Station: s.cfg.Identity, Action: c.action, Payload: c.payload, Answer: payload, Confirmed: true,
			Attempts: c.attempts, Offline: c.offline, Created: ms(c.created), FirstSent: moment(c.firstSent),
		})
	}
	if m := c.message; m != nil {
		s.account(m, payload, "", false)
		s.unqueue(m)
		s.retryAt = time.Time{}
		s.off("retry")
		s.concluded(m, resp)
		return
	}
	if c.answered != nil {
		c.answered(resp, nil)
	}
}

// answer ends the call under way with an error.
func (s *Station) answer(c *call, _ ocpp16.Response, err error) {
	s.off("timeout")
	s.pending = nil
	if code, ok := errors.AsType[*callError](err); ok && code.code == ocppj.SecurityError && c.action != ocpp16.ActionBootNotification {
		// The central system does not know us any more: register anew.
		s.log.Warn("the central system wants us to register", "action", c.action)
		s.registration = ""
		if c.message == nil {
			s.fail(c, err)
		}
		s.boot()
		return
	}
	m := c.message
	if m == nil {
		s.fail(c, err)
		return
	}
	if m.Action == ocpp16.ActionSecurityEventNotification {
		if code, ok := errors.AsType[*callError](err); ok && unsupported(code.code) {
			s.noSecurity = true
		}
		s.account(m, nil, err.Error(), false)
		s.unqueue(m)
		return
	}
	// §3.7.1: the wait grows with the number of transmissions. Only what the
	// central system failed to process counts; without any answer the message
	// is repeated until one comes.
	wait := s.keys.Seconds(keys.TransactionMessageRetry)
	if errors.Is(err, errTimeout) {
		s.retry(wait)
		return
	}
	m.Failures++
	s.dirty = true
	if m.Failures >= max(1, s.keys.Int(keys.TransactionMessageAttempts)) {
		s.log.Error("a transaction-related message was refused and is given up", "action", m.Action, "attempts", m.Attempts, "err", err)
		s.account(m, nil, err.Error(), false)
		s.unqueue(m)
		s.discarded(m)
		return
	}
	s.log.Warn("a transaction-related message was not processed", "action", m.Action, "failures", m.Failures, "err", err)
	s.retry(wait * time.Duration(m.Failures))
}

func unsupported(c ocppj.ErrorCode) bool {
	return c == ocppj.NotImplemented || c == ocppj.NotSupported
}

func (s *Station) retry(wait time.Duration) {
	s.retryAt = time.Now().Add(wait)
	s.in("retry", wait, func() { s.retryAt = time.Time{} })
}

func (s *Station) unqueue(m *Message) {
	s.state.Queue = slices.DeleteFunc(s.state.Queue, func(other *Message) bool { return other == m })
	s.dirty = true
}

// damaged handles a frame that cannot be read: a CALL among them is answered
// when its id could be saved, the call under way ends when it was meant.
func (s *Station) damaged(err error) {
	s.log.Warn("a message that cannot be read", "err", err)
	parse, ok := errors.AsType[*ocppj.ParseError](err)
	if !ok || parse.ID == "" {
		return
	}
	switch parse.Type {
	case ocppj.Call:
		s.refuse(parse.ID, parse.Code, parse.Reason)
	case ocppj.CallResult, ocppj.CallError:
		if c := s.pending; c != nil && c.id == parse.ID {
			s.answer(c, nil, err)
		}
	}
}

// reply answers a CALL.
func (s *Station) reply(id string, resp ocpp16.Response) {
	s.transmit(ocppj.AppendResult(nil, id, resp.AppendJSON(nil)))
}

// refuse answers a CALL with a CALLERROR.
func (s *Station) refuse(id string, code ocppj.ErrorCode, text string) {
	s.transmit(ocppj.AppendError(nil, id, code.For(ocppj.V16), text, nil))
}

func raw(m ocpp16.Message) json.RawMessage { return m.AppendJSON(nil) }
