// Package v201 is the OCPP 2.0.1 dialect of the gateway, and what OCPP 2.1 has in
// common with it. What a charging station says becomes a call of the domain, a
// command of the domain becomes the messages that carry it out.
//
// Charging stations are taken as they are: what can be understood is, each
// departure from the standard is counted, and what cannot be understood is kept
// as it came. A TransactionEvent is confirmed whatever it looks like, because a
// station repeats it until it is, and everything behind it waits.
package v201

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/metering"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Version is one of the protocols that this package speaks.
type Version struct {
	// Protocol is the subprotocol: ocpp2.0.1.
	Protocol string
	// Actions lists its messages, in both directions.
	Actions []string
	// Check reads a payload of a station as the types of the version want it, and
	// says what departs from them. Nil means those of 2.0.1, by which the payload
	// is read in any case: a later version has all that they have.
	Check func(action string, payload []byte) ([]lenient.Deviation, error)
	// Validate holds a payload of a station that reads well to the bounds of its
	// schema, for strict mode. Nil means those of 2.0.1.
	Validate func(action string, payload []byte) error
	// Request returns an empty request that goes to stations, of the version's own
	// types: what is sent has to follow its schema to the letter. Nil means those of
	// 2.0.1.
	Request func(action string) (Outgoing, bool)
	// Answer reads the answer to an action as Check reads a request.
	Answer func(action string, payload []byte) ([]lenient.Deviation, error)
}

// V201 is OCPP 2.0.1.
func V201() Version {
	names := make([]string, len(ocpp201.Actions))
	for i := range ocpp201.Actions {
		names[i] = ocpp201.Actions[i].Name
	}
	return Version{Protocol: ocppj.V201, Actions: names}
}

// Dialect is one version of OCPP 2.
type Dialect struct {
	version Version
	outDialect
}

// New returns the dialect of a version.
func New(v Version) *Dialect { return &Dialect{version: v} }

// Protocol returns the subprotocol.
func (d *Dialect) Protocol() string { return d.version.Protocol }

// Actions lists the messages of the version, in both directions.
func (d *Dialect) Actions() []string { return d.version.Actions }

// Converse returns the dialect's side of a conversation.
func (d *Dialect) Converse(c *ocpp.Conversation) ocpp.Peer { return d.Peer(c) }

// Peer returns the dialect's side of a conversation, for a version that adds to
// it.
func (d *Dialect) Peer(c *ocpp.Conversation) *Peer {
	return &Peer{dialect: d, c: c, st: c.Station()}
}

// Peer is one charging station on one connection. Everything except the orders
// runs on the station's goroutine.
type Peer struct {
	dialect  *Dialect
	c        *ocpp.Conversation
	st       *site.Station
	accepted bool // a known station that comes without a boot is
	booted   bool // a boot came over this connection
	running  map[string]*running
	faults   []fault           // that the station has raised on this connection, oldest first
	over     map[faultKey]bool // those that it has said are over
	places   map[[2]int]bool   // EVSE and connector whose state it has told
	monitors map[int64]ocpp201.Monitor

	reporting []reporting // reports that are coming in, oldest first

	mu      sync.Mutex // guards what follows
	awaited map[awaited]*await
	invited map[string]bool // actions that a station not yet accepted was asked for
	whole   map[int64]bool  // requests whose report is the whole inventory

	outPeer
}

// running is a transaction that was seen on this connection.
type running struct {
	evse, connector int
	ended           bool
	watch           metering.Watch // of what its meter says
}

// Conversation returns the conversation that the peer takes part in.
func (p *Peer) Conversation() *ocpp.Conversation { return p.c }

// Joined implements ocpp.Peer.
func (p *Peer) Joined(site.Connection) {
	p.accepted = p.st.Registration() == site.RegistrationAccepted
	if boot := p.st.Boot(); boot.Vendor != "" || boot.Model != "" {
		p.learnModel(boot.Vendor, boot.Model, boot.Firmware)
	}
}

// Close implements site.Device.
func (p *Peer) Close(reason string) { p.c.Close(reason) }

// awaited names a report that was asked for: the message that brings it, and the
// id of the request.
type awaited struct {
	action  string
	request int64
}

// await is who waits for a report.
type await struct {
	command event.CommandID
	take    func(message any, more bool)
}

// await has take called, on the station's goroutine, with each part of the report
// that the station sends by action (NotifyReport, NotifyMonitoringReport,
// NotifyDisplayMessages, NotifyCustomerInformation, ReportChargingProfiles) for
// the request: the decoded message, and whether more parts follow. Take must not
// wait for anything. The parts become events all the same, in the name of the
// command. Forget ends it; it may be called from any goroutine.
func (p *Peer) await(action string, request int, command event.CommandID, take func(message any, more bool)) (forget func()) {
	key := awaited{action: action, request: int64(request)}
	mine := &await{command: command, take: take}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awaited == nil {
		p.awaited = map[awaited]*await{}
	}
	p.awaited[key] = mine
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.awaited[key] == mine {
			delete(p.awaited, key)
		}
	}
}

// arrived hands a part of a report to whoever waits for it, and returns the
// command that asked.
func (p *Peer) arrived(action string, request int64, message any, more bool) event.CommandID {
	p.mu.Lock()
	who := p.awaited[awaited{action: action, request: request}]
	p.mu.Unlock()
	if who == nil {
		return ""
	}
	who.take(message, more)
	return who.command
}

// invite lets a station that is not accepted yet send a message: it is asked to,
// by TriggerMessage, GetBaseReport or GetReport. OCPP 2.0.1 B01.FR.10. It may be
// called from any goroutine.
func (p *Peer) invite(action string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.invited == nil {
		p.invited = map[string]bool{}
	}
	p.invited[action] = true
}

// welcome tells whether a station that is not accepted may send a message.
func (p *Peer) welcome(action string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.invited[action]
}

// expectWhole says that the report for a request will be the whole inventory: what
// is not in it, the station does not have. It may be called from any goroutine.
func (p *Peer) expectWhole(request int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.whole == nil {
		p.whole = map[int64]bool{}
	}
	p.whole[int64(request)] = true
}

// isWhole tells whether the report for a request is the whole inventory, once: it
// is forgotten with its last part, or when it does not come.
func (p *Peer) isWhole(request int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	whole := p.whole[request]
	delete(p.whole, request)
	return whole
}

// ofWhole tells whether a part belongs to a report of the whole inventory.
func (p *Peer) ofWhole(request int64, more bool) bool {
	if !more {
		return p.isWhole(request)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whole[request]
}

// request is a message of a station.
type request interface {
	Action() string
	Decode(payload []byte) ([]lenient.Deviation, error)
}

// borne is what decode found wrong and could be lived with.
type borne []lenient.Problem

// lacks tells that a field was missing or unusable.
func (b borne) lacks(path string) bool {
	for i := range b {
		if b[i].Path == path {
			return true
		}
	}
	return false
}

// decode reads a payload and counts its deviations. Problems in the fields named
// bearable, or below them, are returned; any other refuses the message. In strict
// mode anything that the schema does not allow does.
func (p *Peer) decode(m request, payload []byte, bearable ...string) (borne, error) {
	found, err := m.Decode(payload)
	version := &p.dialect.version
	if version.Check != nil {
		found, err = version.Check(m.Action(), payload)
	}
	if len(found) > 0 {
		p.c.DeviatedIn(m.Action(), found)
	}
	if p.c.Config().Strict {
		if err == nil && len(found) == 0 {
			if version.Validate != nil {
				err = version.Validate(m.Action(), payload)
			} else if bounded, ok := m.(interface{ Validate() error }); ok {
				err = bounded.Validate()
			}
		}
		if refused := ocpp.Strict(version.Protocol, found, err); refused != nil {
			return nil, refused
		}
	}
	if err == nil {
		return nil, nil
	}
	wrong := new(lenient.Error)
	if !errors.As(err, &wrong) {
		return nil, fmt.Errorf("decode %s: %w", m.Action(), err)
	}
	for _, problem := range wrong.Problems {
		p.c.Deviated("problem_"+problem.Class.String(), m.Action()+"."+problem.Path, problem.String())
		if !bears(bearable, problem.Path) {
			return nil, &ocpp.CallError{Code: ocppj.CodeOf(err), Description: err.Error()}
		}
	}
	return wrong.Problems, nil
}

func bears(bearable []string, path string) bool {
	for _, name := range bearable {
		if rest, ok := strings.CutPrefix(path, name); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// keep makes a message that has no unified word an event.
func (p *Peer) keep(action string, payload []byte, why string) error {
	return p.st.Data(site.DataReport{Action: action, Payload: bytes.Clone(payload), Reason: why})
}

// maxEVSE is the highest EVSE or connector that is believed.
const maxEVSE = 1000

// place checks where something stands. EVSE 0 is the station, connector 0 the
// whole EVSE. OCPP 2.0.1 part 1 §4.
func place(evse, connector int64) (int, int, error) {
	if evse < 0 || evse > maxEVSE || connector < 0 || connector > maxEVSE {
		return 0, 0, &ocpp.CallError{Code: ocppj.PropertyConstraintViolation,
			Description: fmt.Sprintf("evse: expected numbers from 0 to %d, got %d, connector %d", maxEVSE, evse, connector)}
	}
	if evse == 0 {
		return 0, 0, nil
	}
	return int(evse), int(connector), nil
}

// count is the Deviated of meter values, without the path of a payload.
func (p *Peer) count(kind, where, text string) { p.c.Deviated(kind, where, text) }
