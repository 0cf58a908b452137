package lenient

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Text reads a string. Numbers, true and false are taken as they are written.
func (r *Reader) Text() string {
	return r.text(false)
}

// AnyText reads a string that the schema neither bounds nor gives a form, such
// as vendor data: an object or array there is kept as its JSON text.
func (r *Reader) AnyText() string {
	return r.text(true)
}

func (r *Reader) text(any bool) string {
	if r.broken {
		return ""
	}
	wrapped := !any && r.peek() == '[' && r.unwrap()
	c := r.peek()
	var text string
	switch {
	case c == '"':
		text = string(r.quoted())
	case c == '-' || c >= '0' && c <= '9' || c == 't' || c == 'f':
		kind := KindTextAsNumber
		if c == 't' || c == 'f' {
			kind = KindTextAsBool
		}
		if raw := r.skip(); !r.broken {
			r.deviate(kind, quote(raw))
			text = string(raw)
		}
	case any && (c == '{' || c == '['):
		if raw := r.skip(); !r.broken {
			r.deviate(KindTextAsJSON, quote(raw))
			text = strings.ToValidUTF8(string(raw), "\uFFFD")
		}
	default:
		r.mismatch("a string")
	}
	r.rewrap(wrapped)
	return text
}

// quoted reads the string under the cursor. The bytes belong to the payload
// where they need no change.
func (r *Reader) quoted() []byte {
	end, plain, want := scanString(r.data, r.pos)
	if want != "" {
		r.fail(end, want)
		return nil
	}
	inside := r.data[r.pos+1 : end-1]
	r.pos = end
	if plain {
		return inside
	}
	text, whole := unquote(make([]byte, 0, len(inside)), inside)
	if !whole {
		r.deviate(KindBadUTF8, quote(inside))
	}
	return text
}

// Word reads a word of an enumeration and returns it; one that is not in words
// is kept as it was written and recorded.
func (r *Reader) Word(words []string) string {
	if r.broken {
		return ""
	}
	if r.peek() != '"' {
		text := r.Text()
		if text != "" && !slices.Contains(words, text) {
			r.deviate(KindUnknownWord, quote([]byte(text)))
		}
		return text
	}
	text := r.quoted()
	for _, word := range words {
		if string(text) == word {
			return word
		}
	}
	if !r.broken {
		r.deviate(KindUnknownWord, quote(text))
	}
	return string(text)
}

// FoldWord returns the word of words that text means when case and blanks
// around it are ignored, or text itself.
func FoldWord(words []string, text string) string {
	if slices.Contains(words, text) {
		return text
	}
	trimmed := strings.TrimSpace(text)
	for _, word := range words {
		if strings.EqualFold(word, trimmed) {
			return word
		}
	}
	return text
}

// Int reads an integer. Ok is false where there was none; then it is recorded.
func (r *Reader) Int() (n int64, ok bool) {
	if r.broken {
		return 0, false
	}
	wrapped := r.peek() == '[' && r.unwrap()
	if n, ok = r.plainInt(); !ok {
		n, ok = r.oddInt()
	}
	r.rewrap(wrapped)
	return n, ok
}

// plainInt reads an integer of at most 18 digits and stays where it is when
// there is something else.
func (r *Reader) plainInt() (int64, bool) {
	pos := r.pos
	negative := pos < len(r.data) && r.data[pos] == '-'
	if negative {
		pos++
	}
	first := pos
	var n int64
	for pos < len(r.data) && pos-first < 19 && r.data[pos] >= '0' && r.data[pos] <= '9' {
		n = n*10 + int64(r.data[pos]-'0')
		pos++
	}
	digits := pos - first
	if digits == 0 || digits > 18 || digits > 1 && r.data[first] == '0' {
		return 0, false
	}
	if pos < len(r.data) {
		switch r.data[pos] {
		case '.', 'e', 'E':
			return 0, false
		}
	}
	if negative {
		n = -n
	}
	r.pos = pos
	return n, true
}

// oddInt reads an integer that is not written as one.
func (r *Reader) oddInt() (int64, bool) {
	text, kind, ok := r.numeral()
	if !ok {
		r.mismatch("an integer")
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(text, 64)
		f = math.Round(f)
		if err != nil || f < -(1<<63) || f >= 1<<63 {
			r.mismatch("an integer")
			return 0, false
		}
		n = int64(f)
		if kind == "" {
			kind = KindFraction
		}
	}
	raw := r.skip()
	if kind != "" {
		r.deviate(kind, quote(raw))
	}
	return n, true
}

// Number reads a decimal number. Ok is false where there was none; then it is
// recorded.
func (r *Reader) Number() (f float64, ok bool) {
	if r.broken {
		return 0, false
	}
	if f, ok = r.plainNumber(); ok {
		return f, true
	}
	wrapped := r.peek() == '[' && r.unwrap()
	text, kind, ok := r.numeral()
	if ok {
		var err error
		f, err = strconv.ParseFloat(text, 64)
		ok = err == nil
	}
	if ok {
		raw := r.skip()
		if kind != "" {
			r.deviate(kind, quote(raw))
		}
	} else {
		f = 0
		r.mismatch("a number")
	}
	r.rewrap(wrapped)
	return f, ok
}

// plainNumber reads a number of at most 15 digits without exponent, which a
// float64 division gives exactly, and stays where it is when there is
// something else.
func (r *Reader) plainNumber() (float64, bool) {
	pos := r.pos
	negative := pos < len(r.data) && r.data[pos] == '-'
	if negative {
		pos++
	}
	first, point := pos, -1
	mantissa, divisor := int64(0), int64(1)
	for ; pos < len(r.data) && pos-first < 17; pos++ {
		c := r.data[pos]
		if c == '.' && point < 0 {
			point = pos
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		mantissa = mantissa*10 + int64(c-'0')
		if point >= 0 {
			divisor *= 10
		}
	}
	if pos == first || pos-first > 16 || point == first || point == pos-1 {
		return 0, false
	}
	if r.data[first] == '0' && pos-first > 1 && point != first+1 { // 012 is no number
		return 0, false
	}
	if mantissa >= 1e15 || pos < len(r.data) && (r.data[pos] == 'e' || r.data[pos] == 'E' || r.data[pos] == '.') {
		return 0, false
	}
	r.pos = pos
	f := float64(mantissa) / float64(divisor)
	if negative {
		f = -f
	}
	return f, true
}

// numeral returns the decimal text of the number under the cursor, which may
// be in quotes, in the form of JSON, and stays where it is. Kind is how it
// departs from a JSON number, if it does.
func (r *Reader) numeral() (text string, kind Kind, ok bool) {
	if r.peek() == '"' {
		end, plain, want := scanString(r.data, r.pos)
		if want != "" || !plain {
			return "", "", false
		}
		text, kind, ok = numeral(string(r.data[r.pos+1 : end-1]))
		if kind == "" {
			kind = KindNumberAsText
		}
		return text, kind, ok
	}
	c := r.peek()
	if c != '-' && (c < '0' || c > '9') {
		return "", "", false
	}
	end, want := scanNumber(r.data, r.pos)
	if want != "" {
		return "", "", false
	}
	return string(r.data[r.pos:end]), "", true
}

// ParseNumber reads a decimal number as chargers write it into a text: with
// blanks around it, a plus sign, leading zeros, and a comma for the point
// where it can mean nothing else. Kind is KindDecimalComma in that case, else
// empty. Words (NaN, null) and grouped thousands are no numbers.
func ParseNumber(text string) (value float64, kind Kind, ok bool) {
	text, kind, ok = numeral(text)
	if !ok {
		return 0, "", false
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, "", false
	}
	return value, kind, true
}

// numeral is ParseNumber without the conversion; it returns digits that
// strconv understands.
func numeral(text string) (digits string, kind Kind, ok bool) {
	text = strings.Trim(text, " \t\r\n\u00a0")
	sign := ""
	switch {
	case strings.HasPrefix(text, "-"):
		sign, text = "-", text[1:]
	case strings.HasPrefix(text, "+"):
		text = text[1:]
	}
	if whole, fraction, found := strings.Cut(text, ","); found {
		// 1,234 may be a thousand and more, 0,234 and 1,23 may not.
		if len(fraction) == 3 && strings.Trim(whole, "0") != "" && len(whole) <= 3 {
			return "", "", false
		}
		if strings.ContainsAny(fraction, ".,") || strings.Contains(whole, ".") {
			return "", "", false
		}
		text, kind = whole+"."+fraction, KindDecimalComma
	}
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole+fraction == "" || !isDigits(whole) || !isDigits(fraction) {
		return "", "", false
	}
	if scientific {
		exponent = strings.TrimPrefix(strings.TrimPrefix(exponent, "+"), "-")
		if exponent == "" || !isDigits(exponent) {
			return "", "", false
		}
	}
	return sign + text, kind, true
}

func isDigits(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Bool reads true or false. Ok is false where there was neither; then it is
// recorded.
func (r *Reader) Bool() (b, ok bool) {
	if r.broken {
		return false, false
	}
	wrapped := r.peek() == '[' && r.unwrap()
	b, ok = r.bool()
	r.rewrap(wrapped)
	return b, ok
}

func (r *Reader) bool() (b, ok bool) {
	switch c := r.peek(); {
	case c == 't' && r.literal("true"):
		return true, true
	case c == 'f' && r.literal("false"):
		return false, true
	case c == '"':
		end, _, want := scanString(r.data, r.pos)
		if want != "" {
			break
		}
		switch strings.ToLower(strings.TrimSpace(string(r.data[r.pos+1 : end-1]))) {
		case "true", "1":
			b, ok = true, true
		case "false", "0":
			b, ok = false, true
		}
		if ok {
			r.deviate(KindBoolAsText, quote(r.skip()))
			return b, true
		}
	case c == '0' || c == '1':
		end, want := scanNumber(r.data, r.pos)
		if want == "" && end == r.pos+1 {
			r.deviate(KindBoolAsNumber, quote(r.skip()))
			return c == '1', true
		}
	}
	r.mismatch("true or false")
	return false, false
}

// Raw reads any value and returns a copy of its text.
func (r *Reader) Raw() json.RawMessage {
	return bytes.Clone(r.skip())
}
