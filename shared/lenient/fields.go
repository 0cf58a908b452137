package lenient

import (
	"encoding/json"
	"strconv"
)

// The methods and functions of this file read and write one field each. They
// are what the generated code of the OCPP messages consists of: several hundred
// types with all their fields. So every one of them is a single call, and the
// short ones are kept from being copied to where they are called.

// Begin makes r read payload, as NewReader does.
//
//go:noinline
func (r *Reader) Begin(payload []byte) {
	r.data, r.pos, r.need = payload, Space(payload, 0), true
}

// TextTo reads a string into text, see Text.
//
//go:noinline
func (r *Reader) TextTo(text *string) { *text = r.text(false) }

// AnyTextTo reads a string into text, see AnyText.
//
//go:noinline
func (r *Reader) AnyTextTo(text *string) { *text = r.text(true) }

// WordTo reads a word into text, see Word.
//
//go:noinline
func (r *Reader) WordTo(text *string, words []string) { *text = r.Word(words) }

// TimeTo reads a time into t, see Time.
//
//go:noinline
func (r *Reader) TimeTo(t *Time) { *t = r.Time() }

// IntTo reads an integer into n, which becomes 0 where there was none.
//
//go:noinline
func (r *Reader) IntTo(n *int64) { *n, _ = r.Int() }

// NumberTo reads a number into v, which becomes 0 where there was none.
//
//go:noinline
func (r *Reader) NumberTo(v *float64) { *v, _ = r.Number() }

// BoolTo reads true or false into b, which becomes false where there was
// neither.
//
//go:noinline
func (r *Reader) BoolTo(b *bool) { *b, _ = r.Bool() }

// OptionalInt reads an integer and makes n point to it; where there was none, n
// stays.
//
//go:noinline
func (r *Reader) OptionalInt(n **int64) {
	if v, ok := r.Int(); ok {
		*n = &v
	}
}

// OptionalNumber reads a number and makes v point to it; where there was none,
// v stays.
//
//go:noinline
func (r *Reader) OptionalNumber(v **float64) {
	if e, ok := r.Number(); ok {
		*v = &e
	}
}

// OptionalBool reads true or false and makes b point to it; where there was
// neither, b stays.
//
//go:noinline
func (r *Reader) OptionalBool(b **bool) {
	if v, ok := r.Bool(); ok {
		*b = &v
	}
}

// Texts reads a list of strings.
func (r *Reader) Texts() []string {
	var list []string
	for a := r.Array(); a.Next(); {
		list = append(list, r.Text())
	}
	return list
}

// Words reads a list of words, see Word.
func Words[T ~string](r *Reader, words []string) []T {
	var list []T
	for a := r.Array(); a.Next(); {
		list = append(list, T(r.Word(words)))
	}
	return list
}

// Ints reads a list of integers. What is none is left out.
func (r *Reader) Ints() []int64 {
	var list []int64
	for a := r.Array(); a.Next(); {
		if n, ok := r.Int(); ok {
			list = append(list, n)
		}
	}
	return list
}

// ExtraTo is Extra, or Open for objects whose schema allows any field.
//
//go:noinline
func (o *Object) ExtraTo(extra *map[string]json.RawMessage, open bool) { o.keep(extra, !open) }

// Items records an empty list when n, the number of its items, is 0; for lists
// whose schema wants at least one.
//
//go:noinline
func (r *Reader) Items(n int) {
	if n == 0 {
		r.NoItems()
	}
}

// AppendName appends the name of a field. It is given as it is written, here
// and below: `,"name":`.
//
//go:noinline
func AppendName(b []byte, name string) []byte {
	return append(b, name...)
}

// AppendText appends a field that is a string.
//
//go:noinline
func AppendText(b []byte, name, text string) []byte {
	return AppendString(append(b, name...), text)
}

// AppendInt appends a field that is an integer.
//
//go:noinline
func AppendInt(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), n, 10)
}

// AppendFloat appends a field that is a number, see AppendNumber.
//
//go:noinline
func AppendFloat(b []byte, name string, v float64) []byte {
	return AppendNumber(append(b, name...), v)
}

// AppendRounded appends a field that is a number of one decimal, see
// AppendDecimal.
//
//go:noinline
func AppendRounded(b []byte, name string, v float64) []byte {
	return AppendDecimal(append(b, name...), v, 1)
}

// AppendBool appends a field that is true or false.
//
//go:noinline
func AppendBool(b []byte, name string, v bool) []byte {
	return strconv.AppendBool(append(b, name...), v)
}

// AppendDate appends a field that is a time.
//
//go:noinline
func AppendDate(b []byte, name string, t *Time) []byte {
	return t.AppendJSON(append(b, name...))
}

// AppendRaw appends a field that may hold anything.
//
//go:noinline
func AppendRaw(b []byte, name string, raw []byte) []byte {
	return append(append(b, name...), raw...)
}

// AppendOptionalText appends a field that is a string, if it is not empty.
//
//go:noinline
func AppendOptionalText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return AppendText(b, name, text)
}

// AppendOptionalInt appends a field that is an integer, if there is one.
//
//go:noinline
func AppendOptionalInt(b []byte, name string, n *int64) []byte {
	if n == nil {
		return b
	}
	return AppendInt(b, name, *n)
}

// AppendOptionalFloat appends a field that is a number, if there is one.
//
//go:noinline
func AppendOptionalFloat(b []byte, name string, v *float64) []byte {
	if v == nil {
		return b
	}
	return AppendFloat(b, name, *v)
}

// AppendOptionalRounded appends a field that is a number of one decimal, if
// there is one.
//
//go:noinline
func AppendOptionalRounded(b []byte, name string, v *float64) []byte {
	if v == nil {
		return b
	}
	return AppendRounded(b, name, *v)
}

// AppendOptionalBool appends a field that is true or false, if it is there.
//
//go:noinline
func AppendOptionalBool(b []byte, name string, v *bool) []byte {
	if v == nil {
		return b
	}
	return AppendBool(b, name, *v)
}

// AppendOptionalDate appends a field that is a time, if there is one.
//
//go:noinline
func AppendOptionalDate(b []byte, name string, t *Time) []byte {
	if t.IsZero() {
		return b
	}
	return AppendDate(b, name, t)
}

// AppendOptionalRaw appends a field that may hold anything, if it holds
// something.
//
//go:noinline
func AppendOptionalRaw(b []byte, name string, raw []byte) []byte {
	if len(raw) == 0 {
		return b
	}
	return AppendRaw(b, name, raw)
}

// AppendOptionalTexts appends a field that is a list of strings, if it is not
// empty.
func AppendOptionalTexts[T ~string](b []byte, name string, list []T) []byte {
	if len(list) == 0 {
		return b
	}
	return AppendTexts(b, name, list)
}

// AppendOptionalInts appends a field that is a list of integers, if it is not
// empty.
func AppendOptionalInts(b []byte, name string, list []int64) []byte {
	if len(list) == 0 {
		return b
	}
	return AppendInts(b, name, list)
}

// AppendTexts appends a field that is a list of strings.
func AppendTexts[T ~string](b []byte, name string, list []T) []byte {
	b = append(b, name...)
	from := len(b)
	for _, text := range list {
		b = AppendString(append(b, ','), string(text))
	}
	return CloseArray(b, from)
}

// AppendInts appends a field that is a list of integers.
func AppendInts(b []byte, name string, list []int64) []byte {
	b = append(b, name...)
	from := len(b)
	for _, n := range list {
		b = strconv.AppendInt(append(b, ','), n, 10)
	}
	return CloseArray(b, from)
}

// Comma appends the comma before an item of a list.
//
//go:noinline
func Comma(b []byte) []byte {
	return append(b, ',')
}
