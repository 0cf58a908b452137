// Package ocpp201 holds the messages of OCPP 2.0.1 as Go types, generated from the
// schemas of the Open Charge Alliance (scripts/ocppgen). Facts about the
// messages are theirs, the code is ours.
//
// Required fields are values. Optional strings, words of enumerations, times
// and lists are absent when they are empty; optional numbers, booleans and
// objects are pointers. Integers are int64, whatever the machine.
//
// Decode reads what chargers write (see package lenient): it returns how the
// payload departed from the schema, nil for a clean one, and an error of type
// *lenient.Error when the payload is no object or a required field is missing
// or unusable. Everything that could be read is in the struct even then. Decode
// does not look at bounds: Validate does, and words that no enumeration has,
// over-long texts and unknown fields (in Extra) survive it. A message may be
// decoded into again and again: it keeps the room of its lists of objects, so
// nothing may hold on to those.
//
// AppendJSON writes strictly what the schema allows, except for values that
// break its bounds; call Validate before sending what a person or another
// program has put together. The types have no methods of encoding/json: Decode
// and AppendJSON are the way in and out.
package ocpp201

//go:generate go run ../../scripts/ocppgen -schemas $OCPP_SCHEMAS/2.0.1 -version 2.0.1 -package ocpp201 -out .

import (
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/schema"
)

// Message is one payload, a request or a response.
type Message interface {
	// Action returns the name that the CALL has or had.
	Action() string
	// Decode replaces the message by what payload says.
	Decode(payload []byte) ([]lenient.Deviation, error)
	// AppendJSON appends the payload to b.
	AppendJSON(b []byte) []byte
	// Validate checks the message against its schema. The error is a
	// *ValidationError.
	Validate() error
}

// Request is the payload of a CALL.
type Request interface {
	Message
	// NewResponse returns an empty response to the request.
	NewResponse() Response
}

// Response is the payload of a CALLRESULT.
type Response interface {
	Message
	answers()
}

// ValidationError is what Validate returns.
type ValidationError = schema.ValidationError

// Direction tells who sends a request.
type Direction uint8

// The directions; DataTransfer has both.
const (
	FromStation Direction = 1 << iota
	FromServer
)

// Block is a functional block by the letter of its chapter in the
// specification.
type Block string

// ActionInfo tells about an action.
type ActionInfo struct {
	Name      string
	Block     Block
	Direction Direction
}

// Lookup returns what is known of an action. Ok is false when OCPP 2.0.1 does not
// have it.
func Lookup(action string) (info ActionInfo, ok bool) {
	for _, a := range Actions {
		if a.Name == action {
			return a, true
		}
	}
	return ActionInfo{}, false
}
