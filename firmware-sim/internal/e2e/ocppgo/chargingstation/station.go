package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/authorization"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/availability"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/data"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/diagnostics"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/display"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/firmware"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/iso15118"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/localauth"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/meter"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/provisioning"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/remotecontrol"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/reservation"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/security"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/smartcharging"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/tariffcost"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/transactions"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/types"
	"github.com/lorenzodonini/ocpp-go/ocppj"
	"github.com/lorenzodonini/ocpp-go/ws"
)

// object is a message as it stands in JSON.
type object = map[string]any

var profiles = []*ocpp.Profile{
	authorization.Profile, availability.Profile, data.Profile, diagnostics.Profile, display.Profile, firmware.Profile,
	iso15118.Profile, localauth.Profile, meter.Profile, provisioning.Profile, remotecontrol.Profile, reservation.Profile,
	security.Profile, smartcharging.Profile, tariffcost.Profile, transactions.Profile,
}

// feature finds an action among those that the library knows.
func feature(action string) ocpp.Feature {
	for _, p := range profiles {
		if f := p.GetFeature(action); f != nil {
			return f
		}
	}
	return nil
}

// outcome is what became of a call of ours.
type outcome struct {
	response ocpp.Response
	err      error
}

// station is one charging station with one EVSE.
type station struct {
	link     *ocppj.Client
	outcomes chan outcome // of the call under way
	calling  sync.Mutex   // one call at a time

	mu  sync.Mutex // guards what follows
	out io.Writer
	state
}

func newStation(id string, client *ws.Client, out io.Writer) *station {
	client.SetRequestedSubProtocol(types.V201Subprotocol)
	link := ocppj.NewClient(id, client, ocppj.NewDefaultClientDispatcher(ocppj.NewFIFOClientQueue(0)), nil, profiles...)
	link.SetDialect(ocpp.V2)
	s := &station{link: link, outcomes: make(chan outcome, 1), out: out, state: newState()}
	link.SetResponseHandler(func(r ocpp.Response, _ string) { s.outcomes <- outcome{response: r} })
	link.SetErrorHandler(func(err *ocpp.Error, _ any) { s.outcomes <- outcome{err: err} })
	link.SetOnRequestCanceled(func(_ string, _ ocpp.Request, err *ocpp.Error) { s.outcomes <- outcome{err: err} })
	link.SetInvalidMessageHook(func(err *ocpp.Error, raw string, _ []any) *ocpp.Error {
		s.tell(object{"fault": "said by the gateway", "payload": raw, "detail": err.Error()})
		return nil
	})
	link.SetRequestHandler(s.handle)
	return s
}

// tell prints one line.
func (s *station) tell(line object) {
	b, err := json.Marshal(line)
	if err != nil {
		b = fmt.Appendf(nil, `{"fault":"not printable","detail":%q}`, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.out.Write(append(b, '\n')); err != nil {
		panic(err) // the test is gone
	}
}

// convert reads from as the library's own type t, or writes it as an object.
func convert(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// call sends a message and waits for its answer.
func (s *station) call(action string, params object) (object, error) {
	f := feature(action)
	if f == nil {
		return nil, fmt.Errorf("the library has no %s", action)
	}
	request, ok := reflect.New(f.GetRequestType()).Interface().(ocpp.Request)
	if !ok {
		return nil, fmt.Errorf("the library's %s is no request", action)
	}
	if err := convert(params, request); err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	s.calling.Lock()
	defer s.calling.Unlock()
	if err := s.link.SendRequest(request); err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	select {
	case o := <-s.outcomes:
		if o.err != nil {
			return nil, o.err
		}
		var result object
		err := convert(o.response, &result)
		return result, err
	case <-time.After(60 * time.Second):
		return nil, errors.New("no answer within 60 s")
	}
}

// say is call for the station's own life.
func (s *station) say(action string, params object) {
	result, err := s.call(action, params)
	line := object{"said": action, "params": params, "result": result}
	if err != nil {
		line = object{"said": action, "params": params, "error": object{"code": "none", "message": err.Error()}}
	}
	s.tell(line)
}

// handle answers a message of the gateway's, which the library has read and
// found right.
func (s *station) handle(request ocpp.Request, id, action string) {
	go func() {
		var params object
		if err := convert(request, &params); err != nil {
			s.tell(object{"fault": "not readable", "method": action, "detail": err.Error()})
			return
		}
		s.mu.Lock()
		answer, after := s.obey(action, params)
		s.mu.Unlock()
		s.tell(object{"received": action, "params": params, "answer": answer})
		if err := s.respond(id, action, answer); err != nil {
			s.tell(object{"fault": "said by the station", "method": action, "payload": answer, "detail": err.Error()})
		}
		if after != nil {
			after()
		}
	}()
}

func (s *station) respond(id, action string, answer object) error {
	if answer == nil {
		return s.link.SendError(id, ocppj.NotImplemented, "not here", nil)
	}
	response, ok := reflect.New(feature(action).GetResponseType()).Interface().(ocpp.Response)
	if !ok {
		return fmt.Errorf("the library's answer to %s is no response", action)
	}
	if err := convert(answer, response); err != nil {
		return err
	}
	return s.link.SendResponse(id, response)
}
