package lenient

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Offset int    // of the byte that cannot be, or the length of the text
	Want   string // what could have stood there
}

// Error tells the place and what was expected there.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("expected %s at byte %d", e.Want, e.Offset)
}

// Space returns the first position from pos on that holds no JSON white space.
func Space(data []byte, pos int) int {
	for pos < len(data) && data[pos] <= ' ' && (data[pos] == ' ' || data[pos] == '\n' || data[pos] == '\t' || data[pos] == '\r') {
		pos++
	}
	return pos
}

// Scan checks that a JSON value (RFC 8259) begins at pos and returns the
// position behind it. Nesting deeper than depth is an error. It allocates
// nothing but the error, which is a *SyntaxError.
func Scan(data []byte, pos, depth int) (end int, err error) {
	end, want := scanValue(data, pos, depth)
	if want != "" {
		return end, &SyntaxError{Offset: end, Want: want}
	}
	return end, nil
}

// scanValue is Scan with the error as the text of what was expected at end.
func scanValue(data []byte, pos, depth int) (end int, want string) {
	if pos >= len(data) {
		return pos, "a value"
	}
	switch c := data[pos]; {
	case c == '"':
		end, _, want = scanString(data, pos)
		return end, want
	case c == '{':
		return scanObject(data, pos, depth)
	case c == '[':
		return scanArray(data, pos, depth)
	case c == '-' || c >= '0' && c <= '9':
		return scanNumber(data, pos)
	case c == 't':
		return scanWord(data, pos, "true")
	case c == 'f':
		return scanWord(data, pos, "false")
	case c == 'n':
		return scanWord(data, pos, "null")
	default:
		return pos, "a value"
	}
}

func scanObject(data []byte, pos, depth int) (end int, want string) {
	if depth == 0 {
		return pos, "less nesting"
	}
	pos = Space(data, pos+1)
	if pos < len(data) && data[pos] == '}' {
		return pos + 1, ""
	}
	for {
		if pos >= len(data) || data[pos] != '"' {
			return pos, "a field name"
		}
		if pos, _, want = scanString(data, pos); want != "" {
			return pos, want
		}
		pos = Space(data, pos)
		if pos >= len(data) || data[pos] != ':' {
			return pos, "a colon"
		}
		if pos, want = scanValue(data, Space(data, pos+1), depth-1); want != "" {
			return pos, want
		}
		pos = Space(data, pos)
		switch {
		case pos < len(data) && data[pos] == ',':
			pos = Space(data, pos+1)
		case pos < len(data) && data[pos] == '}':
			return pos + 1, ""
		default:
			return pos, "a comma or the end of the object"
		}
	}
}

func scanArray(data []byte, pos, depth int) (end int, want string) {
	if depth == 0 {
		return pos, "less nesting"
	}
	pos = Space(data, pos+1)
	if pos < len(data) && data[pos] == ']' {
		return pos + 1, ""
	}
	for {
		if pos, want = scanValue(data, pos, depth-1); want != "" {
			return pos, want
		}
		pos = Space(data, pos)
		switch {
		case pos < len(data) && data[pos] == ',':
			pos = Space(data, pos+1)
		case pos < len(data) && data[pos] == ']':
			return pos + 1, ""
		default:
			return pos, "a comma or the end of the array"
		}
	}
}

// The bytes of a word of eight, and one bit in each.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainBytes returns how many bytes at the start of a word of eight are plain
// in a string: ASCII, no control character, no quote and no backslash.
func plainBytes(word uint64) int {
	quote := word ^ '"'*ones
	escape := word ^ '\\'*ones
	// A byte that is below what is taken from it, and has not been 128 or more
	// before, borrows into its high bit. A borrow may reach the bytes after it,
	// never those before.
	found := (word-' '*ones)&^word | (quote-ones)&^quote | (escape-ones)&^escape | word
	return bits.TrailingZeros64(found&highs) / 8
}

// scanString returns the position behind the string that begins at pos.
// Plain says that its bytes between the quotes are its value: ASCII without
// escapes.
func scanString(data []byte, pos int) (end int, plain bool, want string) {
	plain = true
	for pos++; pos < len(data); pos++ {
		for len(data)-pos >= 8 {
			n := plainBytes(binary.LittleEndian.Uint64(data[pos:]))
			pos += n
			if n < 8 {
				break
			}
		}
		if pos == len(data) {
			break
		}
		switch c := data[pos]; {
		case c == '"':
			return pos + 1, plain, ""
		case c == '\\':
			plain = false
			pos++
			if pos >= len(data) {
				return pos, false, "the end of the string"
			}
			switch data[pos] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(data, pos+1); !ok {
					return pos, false, "four hexadecimal digits"
				}
				pos += 4
			default:
				return pos, false, "an escape of JSON"
			}
		case c < ' ':
			return pos, false, "no control character in a string"
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	return pos, false, "the end of the string"
}

func scanNumber(data []byte, pos int) (end int, want string) {
	if data[pos] == '-' {
		pos++
	}
	if pos < len(data) && data[pos] == '0' {
		pos++
	} else {
		first := pos
		if pos = scanDigits(data, pos); pos == first {
			return pos, "a digit"
		}
	}
	if pos < len(data) && data[pos] == '.' {
		first := pos + 1
		if pos = scanDigits(data, first); pos == first {
			return pos, "a digit"
		}
	}
	if pos < len(data) && (data[pos] == 'e' || data[pos] == 'E') {
		first := pos + 1
		if first < len(data) && (data[first] == '+' || data[first] == '-') {
			first++
		}
		if pos = scanDigits(data, first); pos == first {
			return pos, "a digit"
		}
	}
	return pos, ""
}

func scanDigits(data []byte, pos int) int {
	for pos < len(data) && data[pos] >= '0' && data[pos] <= '9' {
		pos++
	}
	return pos
}

func scanWord(data []byte, pos int, word string) (end int, want string) {
	if len(data)-pos >= len(word) && string(data[pos:pos+len(word)]) == word {
		return pos + len(word), ""
	}
	return pos, word
}

func hex4(data []byte, pos int) (rune, bool) {
	if len(data)-pos < 4 {
		return 0, false
	}
	var r rune
	for _, c := range data[pos : pos+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Unquote returns the text of a JSON string that Scan has accepted, given with
// its quotes. Half surrogate pairs and bytes that are not UTF-8 become U+FFFD.
func Unquote(quoted []byte) string {
	inside := quoted[1 : len(quoted)-1]
	for _, c := range inside {
		if c == '\\' || c >= utf8.RuneSelf {
			text, _ := unquote(make([]byte, 0, len(inside)), inside)
			return string(text)
		}
	}
	return string(inside)
}

// unquote appends the text of the inside of a JSON string to b. Whole is false
// when something was not UTF-8.
func unquote(b, inside []byte) (text []byte, whole bool) {
	whole = true
	for i := 0; i < len(inside); {
		switch c := inside[i]; {
		case c == '\\' && inside[i+1] == 'u':
			r, _ := hex4(inside, i+2)
			i += 6
			if utf16.IsSurrogate(r) {
				second, ok := rune(0), false
				if i+1 < len(inside) && inside[i] == '\\' && inside[i+1] == 'u' {
					second, ok = hex4(inside, i+2)
				}
				if r = utf16.DecodeRune(r, second); ok && r != utf8.RuneError {
					i += 6
				} else {
					r, whole = utf8.RuneError, false
				}
			}
			b = utf8.AppendRune(b, r)
		case c == '\\':
			c = inside[i+1]
			switch c {
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			}
			b = append(b, c)
			i += 2
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, n := utf8.DecodeRune(inside[i:])
			if r == utf8.RuneError && n == 1 {
				whole = false
			}
			b = utf8.AppendRune(b, r)
			i += n
		}
	}
	return b, whole
}
