package station2

import (
	"errors"
	"fmt"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// call is a CALL of ours that is not of the queue.
type call = charger.Call

// message is a payload of either version.
type message interface {
	Decode(payload []byte) ([]lenient.Deviation, error)
	Validate() error
}

// check holds a payload against the schema of the station's version: what the
// types of 2.1 have made may be no message of 2.0.1.
func (s *Station) check(m message, ok bool, payload []byte) error {
	if !ok {
		return fmt.Errorf("no message of %s", s.cfg.Version)
	}
	deviations, err := m.Decode(payload)
	if len(deviations) > 0 {
		err = errors.Join(err, fmt.Errorf("%v", deviations))
	}
	return errors.Join(err, m.Validate())
}

// checkRequest is check for a request of an action.
func (s *Station) checkRequest(action string, payload []byte) error {
	if s.v21() {
		m, ok := ocpp21.NewRequest(action)
		return s.check(m, ok, payload)
	}
	m, ok := ocpp201.NewRequest(action)
	return s.check(m, ok, payload)
}

// checkResponse is check for the answer to an action.
func (s *Station) checkResponse(action string, payload []byte) error {
	if s.v21() {
		m, ok := ocpp21.NewResponse(action)
		return s.check(m, ok, payload)
	}
	m, ok := ocpp201.NewResponse(action)
	return s.check(m, ok, payload)
}

// encode makes the payload of a request. One that breaks the schema is sent all
// the same: the far end shall see what the simulator has done wrong.
func (s *Station) encode(req ocpp21.Request) []byte {
	payload := req.AppendJSON(nil)
	if older, ok := ocpp201.NewRequest(req.Action()); ok && !s.v21() {
		payload = without(older, payload)
	}
	if err := s.checkRequest(req.Action(), payload); err != nil {
		s.Log.Error("the simulator breaks the schema", "action", req.Action(), "payload", string(payload), "err", err)
	}
	return payload
}

// without is a payload in the fields that a message of 2.0.1 has: what 2.1 added is
// left out. One that cannot be read stays as it is, for check to find.
func without(older ocpp201.Message, payload []byte) []byte {
	if _, err := older.Decode(payload); err != nil {
		return payload
	}
	return older.AppendJSON(nil)
}

// say makes a call that is not of the queue.
func (s *Station) say(req ocpp21.Request, answered func(ocpp21.Response, error)) *call {
	var then func(any, error)
	if answered != nil {
		then = func(answer any, err error) {
			resp, _ := answer.(ocpp21.Response) // nil when err says why
			answered(resp, err)
		}
	}
	return s.Say(req.Action(), s.encode(req), then)
}

// keep makes a call that survives the loss of a connection.
func (s *Station) keep(req ocpp21.Request) { s.say(req, nil).Keep = true }

// enqueue puts a message that must not be lost at the end of the queue.
func (s *Station) enqueue(req ocpp21.Request, tx int64) *charger.Message {
	return s.Enqueue(req.Action(), s.encode(req), tx)
}

// Answer reads the payload of an answer.
func (s *Station) Answer(action string, payload []byte) (any, error) {
	resp, ok := ocpp21.NewResponse(action)
	if !ok {
		return nil, fmt.Errorf("%s is no action of OCPP 2", action)
	}
	_, err := resp.Decode(payload)
	return resp, err
}

// Complete returns the payload of a queued message: a TransactionEvent says the
// same at every attempt (E04).
func (s *Station) Complete(m *charger.Message) []byte { return m.Payload }

// Ordered carries out a CALL of the CSMS.
func (s *Station) Ordered(f ocppj.Frame) {
	req, ok := ocpp21.NewRequest(f.Action)
	if !s.v21() {
		_, ok = ocpp201.NewRequest(f.Action)
	}
	if !ok {
		s.Refuse(f.ID, ocppj.NotImplemented, f.Action+" is not known")
		return
	}
	if info, _ := ocpp21.Lookup(f.Action); info.Direction&ocpp21.FromServer == 0 {
		s.Refuse(f.ID, ocppj.NotSupported, f.Action+" is sent by charging stations")
		return
	}
	if err := s.acceptable(f); err != nil {
		s.Refuse(f.ID, ocppj.CodeOf(err), err.Error())
		return
	}
	if _, err := req.Decode(f.Payload); err != nil {
		s.Refuse(f.ID, ocppj.CodeOf(err), err.Error())
		return
	}
	resp, then := s.carryOut(req, f.Payload)
	if resp == nil {
		s.Refuse(f.ID, ocppj.NotSupported, f.Action+" is not supported")
		return
	}
	answer := resp.AppendJSON(nil)
	if older, ok := ocpp201.NewResponse(f.Action); ok && !s.v21() {
		answer = without(older, answer)
	}
	if err := s.checkResponse(f.Action, answer); err != nil {
		s.Log.Error("the simulator breaks the schema", "action", f.Action, "answer", string(answer), "err", err)
	}
	s.Reply(f, answer)
	if then != nil {
		then()
	}
}

// acceptable tells what is wrong with a request by the schema of our version.
func (s *Station) acceptable(f ocppj.Frame) error {
	var m message
	if s.v21() {
		m, _ = ocpp21.NewRequest(f.Action)
	} else {
		m, _ = ocpp201.NewRequest(f.Action)
	}
	if _, err := m.Decode(f.Payload); err != nil {
		return err
	}
	return m.Validate()
}
