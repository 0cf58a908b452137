package ocpp

import (
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Strict returns the CALLERROR for a payload that departs from its schema, nil for
// one that does not. Found and err are those of Decode, or of Validate where
// Decode found nothing. It is for stations that are tested against the standard:
// all others are taken as they are.
func Strict(version string, found []lenient.Deviation, err error) *CallError {
	if err != nil {
		return &CallError{Code: ocppj.CodeOf(err).For(version), Description: err.Error()}
	}
	if len(found) == 0 {
		return nil
	}
	d := found[0]
	text := string(d.Kind)
	if d.Path != "" {
		text = d.Path + ": " + text
	}
	if d.Text != "" {
		text += ", got " + d.Text
	}
	return &CallError{Code: codeOf(d.Kind).For(version), Description: text}
}

// codeOf is the code for a deviation. OCPP-J 1.6 §4.2.3, OCPP 2.0.1 part 4 §4.3.
func codeOf(kind lenient.Kind) ocppj.ErrorCode {
	switch kind {
	case lenient.KindUnknownField, lenient.KindDuplicateKey, lenient.KindKeyCase, lenient.KindBadUTF8:
		return ocppj.FormatViolation
	case lenient.KindEmptyList:
		return ocppj.OccurrenceConstraintViolation
	case lenient.KindUnknownWord, lenient.KindTimeWithoutZone, lenient.KindTimeForm, lenient.KindTimeUnset, lenient.KindTimeUnreadable:
		return ocppj.PropertyConstraintViolation
	}
	return ocppj.TypeConstraintViolation
}
