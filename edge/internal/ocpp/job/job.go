// Package job carries out orders of the site over a conversation: what the
// dialects of OCPP share. A job is one order on its way; it tells the site how
// far it has come, sends one message after the other, and turns answers and
// errors into the outcome. What a message says is the dialect's.
package job

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Request is a message to be sent.
type Request interface {
	Action() string
	// Validate checks the message against its schema.
	Validate() error
	AppendJSON(b []byte) []byte
}

// Response reads the answer to a Request.
type Response interface {
	Decode(payload []byte) ([]lenient.Deviation, error)
}

// Job is one order on its way, on a goroutine of its own: what takes several
// messages reads from top to bottom.
type Job struct {
	Order site.Order
	// Check holds the payload of a request to the schema; nil: the request's own
	// Validate. A version that adds to another one's messages sets it.
	Check func(action string, payload []byte) error
	// Read decodes the answer to action; nil: the answer's own Decode.
	Read func(action string, payload []byte, answer Response) ([]lenient.Deviation, error)

	version   string // as reasons name it
	c         *ocpp.Conversation
	report    func(site.Outcome)
	delivered bool // the site knows that the station was told
}

// New returns the job of order o over c. Version is the standard's name as a
// reason gives it, such as "OCPP 1.6". With looking, nothing is reported as
// delivered: what the job asks is not the order.
func New(c *ocpp.Conversation, version string, o site.Order, report func(site.Outcome), looking bool) *Job {
	return &Job{Order: o, version: version, c: c, report: report, delivered: looking}
}

// Own returns a job of the gateway itself, which has no order and reports
// nothing.
func Own(c *ocpp.Conversation, version string) *Job {
	return &Job{version: version, c: c, report: func(site.Outcome) {}, delivered: true}
}

// Start runs do on a goroutine of its own and reports its outcome.
func (j *Job) Start(do func() (site.Outcome, error)) {
	j.c.Go(func() {
		outcome, err := do()
		if err != nil {
			outcome = j.Failure(err)
		}
		j.Tell(outcome)
	})
}

// Tell reports on the station's goroutine.
func (j *Job) Tell(o site.Outcome) {
	if err := j.c.Post(func() { j.report(o) }); err != nil {
		// The site is at its end: its journal says how far the command came.
		j.c.Log().Debug("outcome not reported", "command", string(j.Order.ID), "state", string(o.State), "err", err)
	}
}

// Call sends one message and reads its answer. The first one of an order tells
// the site that the station has been told.
func (j *Job) Call(request Request, answer Response) error {
	text := request.AppendJSON(nil)
	var err error
	if j.Check != nil {
		err = j.Check(request.Action(), text)
	} else {
		err = request.Validate()
	}
	if err != nil {
		return &unsendable{action: request.Action(), err: err}
	}
	payload, id, err := j.c.CallID(request.Action(), text, j.sent)
	if err != nil {
		return fmt.Errorf("%s: %w", request.Action(), err)
	}
	read := j.Read
	if read == nil {
		read = func(_ string, payload []byte, answer Response) ([]lenient.Deviation, error) {
			return answer.Decode(payload)
		}
	}
	found, err := read(request.Action(), payload, answer)
	j.c.DeviatedIn(request.Action()+"Response", found)
	if err != nil {
		j.c.Deviated("answer_unusable", request.Action(), string(payload))
		j.c.RefuseResult(id, ocppj.CodeOf(err), err.Error())
		return &unreadable{action: request.Action(), err: err}
	}
	return nil
}

// Send sends one message as it is and returns its answer as it came.
func (j *Job) Send(action string, payload []byte) ([]byte, error) {
	answer, err := j.c.Call(action, payload, j.sent)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	return answer, nil
}

func (j *Job) sent() {
	if j.delivered {
		return
	}
	j.delivered = true
	j.Tell(site.Outcome{State: event.StateDelivered})
}

// OnStation runs f on the station's goroutine and waits for what it returns.
func (j *Job) OnStation(f func() error) error {
	done := make(chan error, 1)
	if err := j.c.Post(func() { done <- f() }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-j.c.Done():
		return ocpp.ErrLost
	}
}

// unsendable is the error of a message that the schema does not allow.
type unsendable struct {
	action string
	err    error
}

func (e *unsendable) Error() string { return e.action + ": " + e.err.Error() }
func (e *unsendable) Unwrap() error { return e.err }

// unreadable is the error of an answer without its required fields.
type unreadable struct {
	action string
	err    error
}

func (e *unreadable) Error() string { return "answer to " + e.action + ": " + e.err.Error() }
func (e *unreadable) Unwrap() error { return e.err }

// Lacking tells that the station does not have the message.
func Lacking(err error) bool {
	refusal := new(ocpp.CallError)
	return errors.As(err, &refusal) && (refusal.Code == ocppj.NotImplemented || refusal.Code == ocppj.NotSupported)
}

// Failure is the outcome of an order that an error ended. Whether a message that
// nobody answered had its effect is not known.
func (j *Job) Failure(err error) site.Outcome {
	refusal := new(ocpp.CallError)
	unsent, strange := new(unsendable), new(unreadable)
	switch {
	case Lacking(err):
		return site.Outcome{State: event.StateUnsupported, Reason: "the station does not have this: " + err.Error()}
	case errors.As(err, &refusal):
		return site.Outcome{State: event.StateFailed, Reason: "the station answered with an error: " + err.Error()}
	case errors.As(err, &unsent):
		return site.Outcome{State: event.StateUnsupported, Reason: j.version + " cannot carry this: " + err.Error()}
	case errors.As(err, &strange):
		return site.Outcome{State: event.StateIndeterminate, Reason: "the answer cannot be understood: " + err.Error()}
	case errors.Is(err, ocpp.ErrNotSent) && !j.delivered:
		return site.Outcome{State: event.StateFailed, Reason: "the connection was lost before the station was told"}
	}
	return site.Outcome{State: event.StateIndeterminate, Reason: err.Error()}
}

// Result writes what a question brought.
func Result(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // only of our own structs
		return nil
	}
	return b
}
