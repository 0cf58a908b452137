// Package v16 is the OCPP 1.6 dialect of the gateway: core, the other profiles
// and the security extension. What a charge point says becomes a call of the
// domain, a command of the domain becomes the messages that carry it out.
//
// Charge points are taken as they are: what can be understood is, each departure
// from the standard is counted, and what cannot be understood is kept as it came.
// A StopTransaction is confirmed whatever it looks like, because a charge point
// repeats it until it is.
package v16

import (
	"sync"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Dialect is OCPP 1.6. It remembers, as long as the process lives, what the
// models of charge points have shown they can do.
type Dialect struct {
	mu     sync.Mutex
	models map[string]*model // by vendor, model and firmware; guarded by mu
}

// New returns the dialect.
func New() *Dialect { return &Dialect{models: map[string]*model{}} }

// Protocol returns the subprotocol of OCPP 1.6.
func (*Dialect) Protocol() string { return ocppj.V16 }

// Actions lists the messages of OCPP 1.6.
func (*Dialect) Actions() []string {
	names := make([]string, len(ocpp16.Actions))
	for i := range ocpp16.Actions {
		names[i] = ocpp16.Actions[i].Name
	}
	return names
}

// Converse returns the dialect's side of a conversation.
func (d *Dialect) Converse(c *ocpp.Conversation) ocpp.Peer {
	p := &peer{dialect: d, c: c, st: c.Station(), accepted: true, connectors: c.Config().Connectors}
	p.model.Store(d.model("station " + string(c.Identity())))
	return p
}

// maxModels bounds the memory of models: beyond it, it begins anew.
const maxModels = 1000

// model returns what is known of the model called key.
func (d *Dialect) model(key string) *model {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.models[key]
	if m == nil {
		if len(d.models) >= maxModels {
			clear(d.models)
		}
		m = &model{}
		d.models[key] = m
	}
	return m
}

// model is what one model of charge point has shown that it can do.
type model struct {
	mu      sync.Mutex // guards what follows
	refused map[string]bool
	numbers map[string]int
}

// can tells that the model has not yet shown that it lacks a feature.
func (m *model) can(feature string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.refused[feature]
}

// cannot remembers that the model lacks a feature.
func (m *model) cannot(feature string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused == nil {
		m.refused = map[string]bool{}
	}
	m.refused[feature] = true
}

// number returns a number that the model told, such as the most keys of a
// request.
func (m *model) number(name string) (n int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok = m.numbers[name]
	return n, ok
}

// learn remembers a number.
func (m *model) learn(name string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.numbers == nil {
		m.numbers = map[string]int{}
	}
	m.numbers[name] = n
}

var _ site.Device = (*peer)(nil)
