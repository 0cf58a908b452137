package v201

import (
	"encoding/json"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// What a later version needs to handle the messages that it adds. All of it is
// for the station's goroutine.

// Admit returns the refusal of a message that the station may not send yet: it is
// not accepted, and nobody has asked for it.
func (p *Peer) Admit(action string) error {
	if !p.accepted && !p.may(action) {
		return refusal(ocppj.SecurityError, "the charging station is not accepted, expected BootNotification")
	}
	return nil
}

// Incoming is a message of a station, of the types of a later version.
type Incoming interface {
	Action() string
	Decode(payload []byte) ([]lenient.Deviation, error)
	Validate() error
}

// Read reads a payload and counts what departs from the schema. Problems in the
// fields named bearable are lived with; any other is the error to answer with.
func (p *Peer) Read(m Incoming, payload []byte, bearable ...string) error {
	_, err := p.decode(m, payload, bearable...)
	return err
}

// Keep makes a message that has no unified word an event, as it came. Why says
// what it is.
func (p *Peer) Keep(action string, payload []byte, why string) error {
	return p.keep(action, payload, why)
}

// Refuse is Keep for a message whose values make no sense; it returns the error to
// answer with.
func (p *Peer) Refuse(action string, payload []byte, why string) error {
	return p.asIs(action, payload, why)
}

// Question puts a message of the station to the manager and waits for the payload
// of the answer.
func (p *Peer) Question(kind string, payload []byte, wait time.Duration) (json.RawMessage, error) {
	return p.ask(kind, payload, wait)
}

// WhyNot is the reason for a failure that err, of Question, explains: a reason
// code, and a text for people. OCPP 2.0.1 part 2 appendix 5.
func WhyNot(err error) (code, text string) {
	info := why(err)
	return info.ReasonCode, info.AdditionalInfo
}
