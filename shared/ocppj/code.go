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
		default:
			return PropertyConstraintViolation
		}
	}
	return InternalError
}

// Refuse returns the code to refuse a payload with that departs from its
// schema, in the spelling of version, and the description that tells where.
// Found and err are those of Decode, or err that of Validate where Decode found
// nothing. The code is empty for a payload that is as the schema wants it.
//
// It is for stations that are tested against the standard. An error counts
// before the deviations, of which the first counts. A clock that was never set
// gives times that the schema allows.
func Refuse(version string, found []lenient.Deviation, err error) (code ErrorCode, description string) {
	if err != nil {
		return CodeOf(err).For(version), err.Error()
	}
	for _, d := range found {
		violation, fault := violationOf(d.Kind)
		if violation == "" {
			continue
		}
		where := d.Path
		if where == "" {
			where = "payload"
		}
		description = where + ": " + fault
		if d.Text != "" {
			description += ", got " + d.Text
		}
		return violation.For(version), cut(description, MaxDescription)
	}
	return "", ""
}

// violationOf returns the code for a deviation and what is wrong with it; the
// code is empty where the schema allows it.
//
// The text of the codes is open to some reading (OCPP-J 1.6 §4.2.3, OCPP 2.0.1
// part 4 §4.2.3): here, fields that should not be there are wrong syntax, values
// of another JSON type are wrong types, words and times that mean nothing are
// wrong values, and lists with too few items are wrong in number.
func violationOf(kind lenient.Kind) (code ErrorCode, fault string) {
	switch kind {
	case lenient.KindUnknownField:
		return FormatViolation, "expected no such field"
	case lenient.KindDuplicateKey:
		return FormatViolation, "expected the field once"
	case lenient.KindKeyCase:
		return FormatViolation, "expected the name of the field in the case of the schema"
	case lenient.KindBadUTF8:
		return FormatViolation, "expected UTF-8"
	case lenient.KindNull:
		return TypeConstraintViolation, "expected a value or no field"
	case lenient.KindNumberAsText, lenient.KindDecimalComma:
		return TypeConstraintViolation, "expected a number"
	case lenient.KindFraction:
		return TypeConstraintViolation, "expected an integer"
	case lenient.KindTextAsNumber, lenient.KindTextAsBool, lenient.KindTextAsJSON:
		return TypeConstraintViolation, "expected a string"
	case lenient.KindBoolAsText, lenient.KindBoolAsNumber:
		return TypeConstraintViolation, "expected true or false"
	case lenient.KindArrayForOne:
		return TypeConstraintViolation, "expected one value, not a list"
	case lenient.KindOneForArray:
		return TypeConstraintViolation, "expected a list"
	case lenient.KindUnreadable:
		return TypeConstraintViolation, "expected another type"
	case lenient.KindEmptyList:
		return OccurrenceConstraintViolation, "expected at least one item"
	case lenient.KindUnknownWord:
		return PropertyConstraintViolation, "expected a word of the enumeration"
	case lenient.KindTimeWithoutZone, lenient.KindTimeForm, lenient.KindTimeUnreadable:
		return PropertyConstraintViolation, "expected a time as RFC 3339 has it"
	case lenient.KindTimeUnset:
		return "", ""
	default:
		return FormatViolation, "expected what the schema says (" + string(kind) + ")"
	}
}
