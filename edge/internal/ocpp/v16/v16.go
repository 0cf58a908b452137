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
	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Dialect is OCPP 1.6. It remembers, as long as the process lives, what the
// models of charge points have shown they can do.
type Dialect struct {
	models job.Models // by vendor, model and firmware
}

// New returns the dialect.
func New() *Dialect { return &Dialect{} }

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
	if boot := p.st.Boot(); boot != (site.BootReport{}) {
		p.known(boot) // as at its last start
		return p
	}
	p.model.Store(d.models.Of("station " + string(c.Identity())))
	p.limitUnit(p.model.Load())
	return p
}

var _ site.Device = (*peer)(nil)
