package ocppj

import (
	"strconv"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

// mend returns a copy of a frame with the two faults of real chargers mended
// that leave no doubt: a member without value gets null, as in
// {"transactionId":,"meterStop":5}, and a comma with nothing on one of its
// sides goes, as in [,{"value":"1"}]. Between the elements of the frame itself
// an empty place stays, since it would move those after it. Mended is false
// when there was neither.
func mend(data []byte) (copied []byte, mended bool) {
	depth := 0
	last := byte(0) // the last byte copied that is no space
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			copied = append(copied, c)
			continue
		case '"':
			end := i + 1
			for end < len(data) && data[end] != '"' {
				if data[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(data))
			copied = append(copied, data[i:end]...)
			last, i = '"', end-1
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if last == ':' {
				copied, mended = append(copied, "null"...), true
			}
			depth--
		case ',':
			if last == ':' {
				copied, mended = append(copied, "null"...), true
				break
			}
			next := lenient.Space(data, i+1)
			ending := next >= len(data) || data[next] == '}' || data[next] == ']'
			doubled := last == ','
			if last == '{' || last == '[' || ending || doubled && depth > 1 {
				mended = true
				continue
			}
		}
		copied = append(copied, c)
		last = c
	}
	return copied, mended
}

// salvage looks for the head of a frame, type and id, in a text that is no
// frame: without its bracket, with text before it, or damaged between the two.
// It does not look into objects. Known is the type if that is known already.
func salvage(data []byte, known MessageType) (MessageType, string) {
	const reach = 64 // bytes before the type
	for i := 0; i < len(data) && i < reach && data[i] != '{' && data[i] != ':'; i++ {
		if data[i] < '2' || data[i] > '6' || i > 0 && isWord(data[i-1]) {
			continue
		}
		pos := i + 1
		if pos < len(data) && data[pos] == '"' { // ["2","id"
			pos++
		}
		for pos < len(data) && (data[pos] == ',' || data[pos] == ' ' || data[pos] == '\t' || data[pos] == '\r' || data[pos] == '\n') {
			pos++
		}
		if pos == i+1 || pos >= len(data) || data[pos] != '"' {
			continue
		}
		end, err := lenient.Scan(data, pos, 1)
		if err != nil || end-pos-2 > MaxIDBytes || end-pos == 2 || !utf8.Valid(data[pos:end]) {
			continue
		}
		t, err := strconv.Atoi(string(data[i : i+1]))
		if err != nil {
			continue
		}
		return MessageType(t), lenient.Unquote(data[pos:end])
	}
	return known, ""
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_' || c == '-'
}
