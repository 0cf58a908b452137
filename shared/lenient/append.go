package lenient

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends text as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func AppendString(b []byte, text string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(text[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, text[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			if c < ' ' {
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			} else {
				b = utf8.AppendRune(b, utf8.RuneError)
			}
		}
		i++
		start = i
	}
	b = append(b, text[start:]...)
	return append(b, '"')
}

// AppendNumber appends v in the shortest form that reads back as v. What JSON
// cannot say (infinities, not a number) becomes 0.
func AppendNumber(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, '0')
	}
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// AppendDecimal appends v rounded to places decimals, halves away from zero,
// without trailing zeros. It rounds the shortest decimal text of v, so that
// 21.45 becomes 21.5 although the float lies below it.
func AppendDecimal(b []byte, v float64, places int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, '0')
	}
	var buffer [32]byte
	text := strconv.AppendFloat(buffer[:0], v, 'f', -1, 64)
	return append(b, roundDecimal(text, places)...)
}

// roundDecimal rounds a decimal text in place, as AppendDecimal says.
func roundDecimal(text []byte, places int) []byte {
	point := slices.Index(text, '.')
	if end := point + 1 + places; point >= 0 && end < len(text) {
		up := text[end] >= '5'
		text = text[:end]
		for i := end - 1; up && i >= 0; i-- {
			switch {
			case text[i] == '.' || text[i] == '-':
			case text[i] == '9':
				text[i] = '0'
			default:
				text[i]++
				up = false
			}
		}
		if up { // 9.96 is now 0.0: the carry becomes a digit of its own
			first := 0
			if text[0] == '-' {
				first = 1
			}
			text = slices.Insert(text, first, '1')
		}
	}
	if point >= 0 {
		for text[len(text)-1] == '0' {
			text = text[:len(text)-1]
		}
		if text[len(text)-1] == '.' {
			text = text[:len(text)-1]
		}
	}
	if string(text) == "-0" {
		return text[1:]
	}
	return text
}

// Decimals tells how many digits behind the point the shortest decimal text of
// v has.
func Decimals(v float64) int {
	var buffer [32]byte
	text := strconv.AppendFloat(buffer[:0], v, 'f', -1, 64)
	if point := slices.Index(text, '.'); point >= 0 {
		return len(text) - point - 1
	}
	return 0
}

// AppendTime appends t as a JSON string, YYYY-MM-DDThh:mm:ss.sssZ in UTC, the
// milliseconds only where they are not zero: more than three decimals and
// numeric offsets are not understood by some chargers.
func AppendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	layout := `"2006-01-02T15:04:05Z"`
	if t.Nanosecond() >= int(time.Millisecond) {
		layout = `"2006-01-02T15:04:05.000Z"`
	}
	return t.AppendFormat(b, layout)
}

// CloseObject ends the object whose members were appended from start on, each
// as `,"name":value`. It appends {} when there are none.
func CloseObject(b []byte, start int) []byte {
	if len(b) == start {
		return append(b, '{', '}')
	}
	b[start] = '{'
	return append(b, '}')
}

// CloseArray ends the array whose elements were appended from start on, each
// with a comma before it. It appends [] when there are none.
func CloseArray(b []byte, start int) []byte {
	if len(b) == start {
		return append(b, '[', ']')
	}
	b[start] = '['
	return append(b, ']')
}

// AppendExtra appends members that a schema leaves open, by name.
func AppendExtra(b []byte, extra map[string]json.RawMessage) []byte {
	names := make([]string, 0, len(extra))
	for name := range extra {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b = append(b, ',')
		b = AppendString(b, name)
		b = append(b, ':')
		b = append(b, extra[name]...)
	}
	return b
}
