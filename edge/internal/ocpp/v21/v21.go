// Package v21 is the OCPP 2.1 dialect of the gateway: that of 2.0.1, and what 2.1
// added. Messages that both have are handled there, held against the types of
// 2.1; those that 2.1 added become events, and questions are put to the manager.
package v21

import (
	"fmt"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Dialect is OCPP 2.1.
type Dialect struct{ *v201.Dialect }

// New returns the dialect.
func New() *Dialect { return &Dialect{v201.New(version())} }

// version tells package v201 what 2.1 is.
func version() v201.Version {
	names := make([]string, len(ocpp21.Actions))
	for i := range ocpp21.Actions {
		names[i] = ocpp21.Actions[i].Name
	}
	return v201.Version{
		Protocol: ocppj.V21, Actions: names,
		Check: check, Validate: validate, Request: request, Answer: answer,
	}
}

// frequent are requests that are being checked, to be used again: they are most
// of what a station sends, and their lists are long.
var frequent = map[string]*sync.Pool{
	ocpp21.ActionTransactionEvent: {New: func() any { return new(ocpp21.TransactionEventRequest) }},
	ocpp21.ActionMeterValues:      {New: func() any { return new(ocpp21.MeterValuesRequest) }},
}

// usual is the largest payload, in bytes, whose lists are kept.
const usual = 8 << 10

// check reads a request of a station.
func check(action string, payload []byte) ([]lenient.Deviation, error) {
	if pool := frequent[action]; pool != nil && len(payload) <= usual {
		m := pool.Get().(ocpp21.Request)
		defer pool.Put(m)
		return m.Decode(payload)
	}
	m, ok := ocpp21.NewRequest(action)
	if !ok {
		return nil, fmt.Errorf("%s is not of OCPP 2.1", action)
	}
	return m.Decode(payload)
}

// validate holds a request of a station to the bounds of its schema.
func validate(action string, payload []byte) error {
	m, ok := ocpp21.NewRequest(action)
	if !ok {
		return fmt.Errorf("%s is not of OCPP 2.1", action)
	}
	if _, err := m.Decode(payload); err != nil {
		return err
	}
	return m.Validate()
}

// request returns an empty request that goes to stations.
func request(action string) (v201.Outgoing, bool) {
	info, ok := ocpp21.Lookup(action)
	if !ok || info.Direction&ocpp21.FromServer == 0 {
		return nil, false
	}
	return ocpp21.NewRequest(action)
}

// answer reads the answer of a station.
func answer(action string, payload []byte) ([]lenient.Deviation, error) {
	m, ok := ocpp21.NewResponse(action)
	if !ok {
		return nil, fmt.Errorf("%s has no answer in OCPP 2.1", action)
	}
	return m.Decode(payload)
}

// Converse returns the dialect's side of a conversation.
func (d *Dialect) Converse(c *ocpp.Conversation) ocpp.Peer { return &peer{d.Peer(c)} }

// peer is one charging station on one connection.
type peer struct{ *v201.Peer }

// Handle implements ocpp.Peer: what 2.1 added is handled here, anything else as in
// 2.0.1.
func (p *peer) Handle(b []byte, action string, payload []byte, received time.Time) ([]byte, error) {
	handle, added := handlers[action]
	if !added {
		answer, err := p.Peer.Handle(b, action, payload, received)
		if err == nil && action == ocpp21.ActionSignCertificate {
			p.numberSigning(payload)
		}
		return answer, err
	}
	if err := p.Admit(action); err != nil {
		return b, err
	}
	return handle(p, b, payload)
}
