package ocppj

import (
	"errors"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/schema"
)

// ErrorCode is the code of a CALLERROR or CALLRESULTERROR. Any text may come
// in; what goes out is spelled by For.
type ErrorCode string

// The error codes. 1.6 knows two of them in another spelling and lacks two;
// its misspellings are official.
const (
	NotImplemented                ErrorCode = "NotImplemented"                // the action is not known
	NotSupported                  ErrorCode = "NotSupported"                  // the action is known but not supported
	InternalError                 ErrorCode = "InternalError"                 // the receiver failed
	ProtocolError                 ErrorCode = "ProtocolError"                 // the message does not have the structure it should
	SecurityError                 ErrorCode = "SecurityError"                 // a security problem, or a station not accepted yet
	FormationViolation            ErrorCode = "FormationViolation"            // 1.6: not syntactically right
	FormatViolation               ErrorCode = "FormatViolation"               // 2.x: the same
	PropertyConstraintViolation   ErrorCode = "PropertyConstraintViolation"   // a value is not allowed
	OccurenceConstraintViolation  ErrorCode = "OccurenceConstraintViolation"  // 1.6: a field is missing or too frequent
	OccurrenceConstraintViolation ErrorCode = "OccurrenceConstraintViolation" // 2.x: the same
	TypeConstraintViolation       ErrorCode = "TypeConstraintViolation"       // a value is of the wrong type
	GenericError                  ErrorCode = "GenericError"                  // anything else
	MessageTypeNotSupported       ErrorCode = "MessageTypeNotSupported"       // 2.x: the number of the message type is not known
	RPCFrameworkError             ErrorCode = "RpcFrameworkError"             // 2.x: no valid frame, for example no usable id
)

// Canonical returns the 2.x spelling of a code that 1.6 spells in another way,
// and every other code as it is. Compare codes from the wire in this form.
func (c ErrorCode) Canonical() ErrorCode {
	switch c {
	case FormationViolation:
		return FormatViolation
	case OccurenceConstraintViolation:
		return OccurrenceConstraintViolation
	default:
		return c
	}
}

// For returns the code to send to a peer that speaks version (V16, V201, V21):
// in its spelling, and for what it does not have the nearest that it has. Any
// version but V16 is treated as 2.x.
func (c ErrorCode) For(version string) ErrorCode {
	c = c.Canonical()
	if version == V16 {
		switch c {
		case FormatViolation:
			return FormationViolation
		case OccurrenceConstraintViolation:
			return OccurenceConstraintViolation
		case MessageTypeNotSupported:
			return GenericError
		case RPCFrameworkError:
			return ProtocolError
		}
	}
	switch c {
	case NotImplemented, NotSupported, InternalError, ProtocolError, SecurityError, FormatViolation,
		PropertyConstraintViolation, OccurrenceConstraintViolation, TypeConstraintViolation, GenericError,
		MessageTypeNotSupported, RPCFrameworkError:
		return c
	default:
		return GenericError
	}
}

// CodeOf returns the code to answer with when a payload was refused with err:
// an error of Decode (*lenient.Error), of Validate (*schema.ValidationError) or
// of Parse (*ParseError), wrapped or not. Any other error is an InternalError.
func CodeOf(err error) ErrorCode {
	if parse, ok := errors.AsType[*ParseError](err); ok {
		return parse.Code
	}
	if decode, ok := errors.AsType[*lenient.Error](err); ok {
		switch decode.Class() {
		case lenient.ClassFormat:
			return FormatViolation
		case lenient.ClassType:
			return TypeConstraintViolation
		case lenient.ClassProperty:
			return PropertyConstraintViolation
		case lenient.ClassOccurrence:
			return OccurrenceConstraintViolation
		}
	}
	if invalid, ok := errors.AsType[*schema.ValidationError](err); ok {
		switch invalid.Violations[0].Rule {
		case schema.Required, schema.MinItems, schema.MaxItems:
			return OccurrenceConstraintViolation
		case schema.Format:
			return FormatViolation
		default:
			return PropertyConstraintViolation
		}
	}
	return InternalError
}
