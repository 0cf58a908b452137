package event

import (
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

// Object appends one JSON object to a buffer, member by member, as encoding/json
// writes it but without reflection. It is for what comes with every call of a
// charger; the names given must not need escaping.
type Object struct {
	b     []byte
	empty bool
}

// OpenObject begins an object at the end of b.
func OpenObject(b []byte) Object { return Object{b: append(b, '{'), empty: true} }

// Close ends the object and returns the buffer.
func (o *Object) Close() []byte { return append(o.b, '}') }

func (o *Object) name(name string) {
	if !o.empty {
		o.b = append(o.b, ',')
	}
	o.empty = false
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

// Text adds a string.
func (o *Object) Text(name, v string) {
	o.name(name)
	o.b = lenient.AppendString(o.b, v)
}

// TextIf adds a string that is not empty.
func (o *Object) TextIf(name, v string) {
	if v != "" {
		o.Text(name, v)
	}
}

// Int adds an integer.
func (o *Object) Int(name string, v int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, v, 10)
}

// IntIf adds an integer that is not 0.
func (o *Object) IntIf(name string, v int64) {
	if v != 0 {
		o.Int(name, v)
	}
}

// IntAt adds an integer that is there.
func (o *Object) IntAt(name string, v *int64) {
	if v != nil {
		o.Int(name, *v)
	}
}

// UintIf adds an unsigned integer that is not 0.
func (o *Object) UintIf(name string, v uint64) {
	if v != 0 {
		o.name(name)
		o.b = strconv.AppendUint(o.b, v, 10)
	}
}

// NumberAt adds a number that is there.
func (o *Object) NumberAt(name string, v *float64) {
	if v != nil {
		o.name(name)
		o.b = lenient.AppendNumber(o.b, *v)
	}
}

// BoolIf adds what is true.
func (o *Object) BoolIf(name string, v bool) {
	if v {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

// Time adds a time with all its digits.
func (o *Object) Time(name string, t time.Time) {
	o.name(name)
	o.b = append(o.b, '"')
	o.b = t.AppendFormat(o.b, time.RFC3339Nano)
	o.b = append(o.b, '"')
}

// TimeIf adds a time that is not zero.
func (o *Object) TimeIf(name string, t time.Time) {
	if !t.IsZero() {
		o.Time(name, t)
	}
}

// TimeAt adds a time that is there.
func (o *Object) TimeAt(name string, t *time.Time) {
	if t != nil {
		o.Time(name, *t)
	}
}

// Append adds a value that append writes: an object or a list.
func (o *Object) Append(name string, value func(b []byte) []byte) {
	o.name(name)
	o.b = value(o.b)
}

// appendList appends a list whose elements write themselves.
func appendList[T any](b []byte, list []T, element func(v *T, b []byte) []byte) []byte {
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(&list[i], b)
	}
	return append(b, ']')
}
