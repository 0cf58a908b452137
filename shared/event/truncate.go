package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendWholeTail is AppendTail without the limit: for the file in which a too
// large event is kept.
func AppendWholeTail(b []byte, g GatewayID, d *Draft) ([]byte, error) {
	data, err := json.Marshal(d.Data)
	if err != nil {
		return b, fmt.Errorf("encode %s: %w", d.Data.EventType(), err)
	}
	b = appendEnvelope(b, g, d, false)
	b = append(b, data...)
	return append(b, '}'), nil
}

// AppendTruncatedTail appends the tail of an event that is over MaxSize as it
// is: long texts and lists of its data are cut, coarser and coarser until it
// fits, and it is marked truncated. whole, where given, names the file in which
// the gateway keeps the event uncut.
func AppendTruncatedTail(b []byte, g GatewayID, d *Draft, whole string) ([]byte, error) {
	data, err := json.Marshal(d.Data)
	if err != nil {
		return b, fmt.Errorf("encode %s: %w", d.Data.EventType(), err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a register keeps all its digits
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return b, fmt.Errorf("cut %s: %w", d.Data.EventType(), err)
	}
	// The fields of the payload itself stay: its type reads them.
	start := len(b)
	for _, cut := range []cutting{{16 << 10, 1000}, {4 << 10, 250}, {1 << 10, 60}, {256, 15}, {64, 4}, {16, 1}, {0, 0}} {
		data, err := json.Marshal(cut.apply(tree, 0))
		if err != nil {
			return b[:start], fmt.Errorf("cut %s: %w", d.Data.EventType(), err)
		}
		b = appendEnvelope(b[:start], g, d, true)
		b = append(b, data...)
		if whole != "" {
			b = append(b, `,"whole":`...)
			b = strconv.AppendQuote(b, whole)
		}
		b = append(b, '}')
		if len(b)-start <= MaxSize-headSize {
			return b, nil
		}
	}
	return b[:start], fmt.Errorf("cut %s: %w: its address alone is too long", d.Data.EventType(), ErrTooLarge)
}

// cutting bounds the length of texts, in bytes, and of lists and inner objects.
type cutting struct{ text, list int }

func (c cutting) apply(v any, depth int) any {
	switch v := v.(type) {
	case string:
		return cutText(v, c.text)
	case []any:
		out := make([]any, 0, min(len(v), c.list))
		for _, e := range v[:min(len(v), c.list)] {
			out = append(out, c.apply(e, depth+1))
		}
		return out
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		if depth > 0 {
			keys = keys[:min(len(keys), c.list)]
		}
		out := make(map[string]any, len(keys))
		for _, k := range keys {
			if depth == 0 || len(k) <= max(c.text, 64) {
				out[k] = c.apply(v[k], depth+1)
			}
		}
		return out
	}
	return v
}

// cutText shortens s to n bytes, at a character's border, and marks it so.
func cutText(s string, n int) string {
	const mark = "…"
	if len(s) <= n+len(mark) || len(s) <= 64 { // identities and words stay whole
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
