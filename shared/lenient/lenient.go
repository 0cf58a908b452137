// Package lenient reads JSON the way chargers write it and writes it the way
// the OCPP schemas want it.
//
// A Reader walks one payload once, asked by generated code for the value it
// expects next. Where a charger wrote something else that can have only one
// meaning, that meaning is taken and a Deviation recorded; what cannot be
// understood is recorded as a Problem and skipped, so that the rest is still
// read. A payload as the schema wants it costs no records at all.
//
// Nothing here touches a socket, a clock or a log. Memory is bounded by the
// size of the payload: lengths are known before anything is allocated, nesting
// is limited to MaxDepth, and at most MaxRecords deviations are kept.
package lenient

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what one payload may ask for.
const (
	// MaxDepth is how deep arrays and objects may nest in one payload.
	MaxDepth = 64
	// MaxRecords is how many deviations and how many problems of one payload
	// are kept; what comes after them is still read, but not recorded.
	MaxRecords = 64
	// maxQuote is how many bytes of the offending text a record keeps.
	maxQuote = 80
)

// Kind says in which way a payload departed from its schema. The words are
// stable: they label metrics and events.
type Kind string

// The kinds of deviation.
const (
	KindNull            Kind = "null"              // null where the field should have been left out
	KindUnknownField    Kind = "unknown_field"     // a field that the schema does not have
	KindDuplicateKey    Kind = "duplicate_key"     // a field given twice; the last one counts
	KindKeyCase         Kind = "key_case"          // a field name in other case
	KindNumberAsText    Kind = "number_as_text"    // "12" for 12
	KindDecimalComma    Kind = "decimal_comma"     // "12,5" for 12.5
	KindFraction        Kind = "fraction"          // 12.0 for 12; other fractions are rounded
	KindTextAsNumber    Kind = "text_as_number"    // 12 for "12", as written
	KindTextAsBool      Kind = "text_as_bool"      // true for "true"
	KindTextAsJSON      Kind = "text_as_json"      // an object or array for a text without a form of its own
	KindBoolAsText      Kind = "bool_as_text"      // "true" for true
	KindBoolAsNumber    Kind = "bool_as_number"    // 1 for true
	KindArrayForOne     Kind = "array_for_one"     // [x] for x
	KindOneForArray     Kind = "one_for_array"     // x for [x]
	KindEmptyList       Kind = "empty_list"        // [] where the schema wants at least one item or nothing
	KindUnknownWord     Kind = "unknown_word"      // a word that the enumeration does not have, kept as text
	KindBadUTF8         Kind = "bad_utf8"          // bytes that are not UTF-8, replaced by U+FFFD
	KindTimeWithoutZone Kind = "time_without_zone" // a time without zone, taken as UTC
	KindTimeForm        Kind = "time_form"         // a time in another form than RFC 3339 with capital letters
	KindTimeUnset       Kind = "time_unset"        // a time from before OCPP 1.6: the clock was never set
	KindTimeUnreadable  Kind = "time_unreadable"   // no time at all; the text is kept
	KindUnreadable      Kind = "unreadable"        // an optional value that cannot be understood, taken as absent
)

// Deviation is one departure of a payload from its schema that could be
// understood.
type Deviation struct {
	Path string // where: meterValue[0].sampledValue[3].value; empty for the payload itself
	Kind Kind   // in which way
	Text string // what was written there, cut after 80 bytes
}

// Class says which kind of OCPP error a Problem is.
type Class uint8

// The classes of problem, with the OCPP error code that each stands for.
const (
	// ClassFormat is a payload that is no well-formed JSON (FormationViolation,
	// in 2.x FormatViolation).
	ClassFormat Class = iota + 1
	// ClassOccurrence is a required field that is missing
	// (OccurenceConstraintViolation, in 2.x OccurrenceConstraintViolation).
	ClassOccurrence
	// ClassType is a value of another type that cannot be converted
	// (TypeConstraintViolation).
	ClassType
	// ClassProperty is a value of the right type that is not allowed
	// (PropertyConstraintViolation).
	ClassProperty
)

// String returns the word used in error texts.
func (c Class) String() string {
	switch c {
	case ClassFormat:
		return "format"
	case ClassOccurrence:
		return "occurrence"
	case ClassType:
		return "type"
	case ClassProperty:
		return "property"
	default:
		return fmt.Sprintf("class %d", uint8(c))
	}
}

// Problem is one place of a payload that could not be understood.
type Problem struct {
	Path  string // as in Deviation
	Class Class
	Want  string // what the schema wants there
	Got   string // what was there, cut after 80 bytes; empty where something was missing
}

// String returns a sentence: where, what was expected and what came.
func (p Problem) String() string {
	path := p.Path
	if path == "" {
		path = "payload"
	}
	if p.Class == ClassOccurrence {
		return path + ": missing, expected " + p.Want
	}
	return path + ": expected " + p.Want + ", got " + p.Got
}

// Error is what Decode returns when a required field is missing or has no
// usable value. All other fields have been read nevertheless. It has at least
// one problem, in the order of the payload.
type Error struct {
	Problems []Problem
}

// Error lists the problems.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Class returns the class of the gravest problem, for the error code of an
// answer: format before type before property before occurrence.
func (e *Error) Class() Class {
	rank := func(c Class) int {
		switch c {
		case ClassFormat:
			return 4
		case ClassType:
			return 3
		case ClassProperty:
			return 2
		default:
			return 1
		}
	}
	worst := ClassOccurrence
	for _, p := range e.Problems {
		if rank(p.Class) > rank(worst) {
			worst = p.Class
		}
	}
	return worst
}

// quote returns raw for a record: valid UTF-8, at most maxQuote bytes.
func quote(raw []byte) string {
	cut := len(raw) > maxQuote
	if cut {
		raw = raw[:maxQuote]
		for i := len(raw) - 1; i >= len(raw)-utf8.UTFMax; i-- { // no half character at the end
			if utf8.RuneStart(raw[i]) {
				if !utf8.FullRune(raw[i:]) {
					raw = raw[:i]
				}
				break
			}
		}
	}
	s := strings.ToValidUTF8(string(raw), "\uFFFD")
	if cut {
		s += "…"
	}
	return s
}
