package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// instance is one payload with the verdict of a JSON Schema validator.
type instance struct {
	Message string `json:"message"` // AuthorizeRequest
	Case    string `json:"case"`    // what is special about it
	Valid   bool   `json:"valid"`
	// Exact tells that decoding and writing it again gives the same value.
	Exact   bool `json:"exact,omitempty"`
	Payload any  `json:"payload"`
}

// variant is one value for a place in a payload.
type variant struct {
	name  string // of the place and what is special; empty for the plain value
	value any
	loose bool // written again it may look otherwise, although it is valid
}

// instances returns a line of JSON for each instance, in the order of the
// messages, compressed. Definitions that several messages share are the same
// Go type: each is varied in every respect where it is met first, and in short
// where it is met again.
func (m *model) instances() ([]byte, error) {
	var out bytes.Buffer
	packed, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	encoder := json.NewEncoder(packed)
	encoder.SetEscapeHTML(false)
	met := map[string]bool{}
	for _, msg := range m.messages {
		validator, err := compile(msg.file)
		if err != nil {
			return nil, err
		}
		vary := varier{root: msg.schema, met: met}
		for _, v := range vary.variants(msg.schema, "") {
			value, err := plain(v.value)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", msg.name, v.name, err)
			}
			valid := validator.Validate(value) == nil
			name := v.name
			if name == "" {
				name = "required fields"
			}
			err = encoder.Encode(instance{msg.name, name, valid, valid && !v.loose, v.value})
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", msg.name, v.name, err)
			}
		}
	}
	if err := packed.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// compile returns the validator for one schema file.
func compile(file string) (*jsonschema.Schema, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("urn:schema", document); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return compiler.Compile("urn:schema")
}

// plain returns value as the validator wants it.
func plain(value any) (any, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// varier makes the variants of one message.
type varier struct {
	root *node           // has the definitions
	met  map[string]bool // the definitions that have been varied in full, in any message
}

// resolve returns the schema that n refers to, and whether it is a definition
// that has been met before.
func (y varier) resolve(n *node) (resolved *node, again bool) {
	definition, ok := strings.CutPrefix(n.Ref, "#/definitions/")
	if !ok {
		return n, false
	}
	resolved = y.root.Definitions[definition]
	key := definition + "\n" + resolved.text // two messages may mean different things by one name
	again = y.met[key]
	y.met[key] = true
	return resolved, again
}

// variants returns values for a place with schema n, the first of them valid
// and as small as can be, each other one different in one respect.
func (y varier) variants(n *node, path string) []variant {
	n, again := y.resolve(n)
	at := func(what string) string { return strings.TrimPrefix(path+" "+what, " ") }
	bad := func(values ...any) []variant {
		list := make([]variant, 0, len(values))
		for _, v := range values {
			text, err := json.Marshal(v)
			if err != nil {
				panic(err) // only literals come here
			}
			list = append(list, variant{name: at("is " + string(text)), value: v, loose: true})
		}
		return list
	}
	switch {
	case n.Type == "object":
		return y.objectVariants(n, path, again, at)
	case n.Type == "array":
		return y.arrayVariants(n, path, at)
	case len(n.Enum) > 0:
		list := []variant{{value: n.Enum[0]}}
		if again {
			return append(list, bad("NoSuchWord")...)
		}
		for _, word := range n.Enum[1:] {
			list = append(list, variant{name: at("is " + word), value: word})
		}
		return append(list, bad("NoSuchWord", strings.ToLower(n.Enum[0])+" ", "", 1, true, map[string]any{})...)
	case n.Type == "string":
		return textVariants(n, at, bad)
	case n.Type == "integer":
		list := []variant{{value: within(n, 1)}, {name: at("is 0"), value: 0}, {name: at("is negative"), value: -7}, {name: at("is large"), value: 2147483647}}
		list = append(list, edges(n, at, 1)...)
		return append(list, bad("1", "one", 1.5, true, nil, []any{}, map[string]any{})...)
	case n.Type == "number":
		list := []variant{{value: within(n, 16)}, {name: at("is 21.4"), value: 21.4}, {name: at("is 0"), value: 0}, {name: at("is negative"), value: -0.1}}
		list = append(list, edges(n, at, 0.5)...)
		list = append(list, variant{name: at("has two decimals"), value: 6.25, loose: n.MultipleOf != nil})
		return append(list, bad("16.5", "a lot", false, nil, []any{}, map[string]any{})...)
	case n.Type == "boolean":
		return append([]variant{{value: true}, {name: at("is false"), value: false}}, bad("true", 1, "maybe", nil, []any{})...)
	default: // anything goes
		return []variant{{value: "text"}, {name: at("is an object"), value: map[string]any{"a": []any{1, nil}}}, {name: at("is 1"), value: 1}}
	}
}

// within returns the number nearest to v that the bounds of n allow.
func within(n *node, v float64) float64 {
	if n.Minimum != nil {
		v = max(v, *n.Minimum)
	}
	if n.Maximum != nil {
		v = min(v, *n.Maximum)
	}
	return v
}

// edges returns the numbers at the bounds of n, and step beyond them.
func edges(n *node, at func(string) string, step float64) []variant {
	var list []variant
	if n.Minimum != nil {
		list = append(list, variant{name: at("is at its minimum"), value: *n.Minimum}, variant{name: at("is below its minimum"), value: *n.Minimum - step})
	}
	if n.Maximum != nil {
		list = append(list, variant{name: at("is at its maximum"), value: *n.Maximum}, variant{name: at("is above its maximum"), value: *n.Maximum + step})
	}
	return list
}

func textVariants(n *node, at func(string) string, bad func(...any) []variant) []variant {
	switch n.Format {
	case "date-time":
		list := []variant{
			{value: "2026-11-22T06:01:02Z"},
			{name: at("has milliseconds"), value: "2026-11-22T06:01:02.345Z"},
			{name: at("has an offset"), value: "2026-11-22T16:01:02+10:00", loose: true},
			{name: at("has nanoseconds"), value: "2024-02-29T23:59:59.123456789-03:30", loose: true},
		}
		return append(list, bad("2026-11-22T06:01:02", "2026-11-22 06:01:02Z", "2026-11-22", "2026-02-29T06:01:02Z",
			"2026-11-22T24:01:02Z", "2026-11-22T06:01Z", "2026-11-22T06:01:02+0100", "yesterday", "", 1795327262, nil, map[string]any{})...)
	case "uri":
		list := []variant{{value: "ftp://user:secret@host:2121/a/b.bin"}, {name: at("is long"), value: "https://host/" + strings.Repeat("a", 300)}}
		return append(list, bad("no uri", "/a/b", "", 1, nil)...)
	}
	list := []variant{{value: "x"}, {name: at("is empty"), value: "", loose: true}}
	list = append(list, variant{name: at("has all kinds of characters"), value: "a\"\\/\b\f\n\r\t\u0001<&>é€\U0001F50C\u2028"})
	if limit := n.MaxLength; limit >= 0 {
		if limit < 24 {
			list = list[:2]
		}
		list = append(list,
			variant{name: at(fmt.Sprintf("has %d characters", limit)), value: strings.Repeat("x", limit)},
			variant{name: at(fmt.Sprintf("has %d characters", limit+1)), value: strings.Repeat("x", limit+1)})
		if limit < 1000 {
			list = append(list,
				variant{name: at(fmt.Sprintf("has %d wide characters", limit)), value: strings.Repeat("ü", limit)},
				variant{name: at(fmt.Sprintf("has %d wide characters", limit+1)), value: strings.Repeat("€", limit+1)})
		}
	}
	return append(list, bad(4711, true, nil, []any{}, []any{"x"}, map[string]any{"a": 1})...)
}

func (y varier) objectVariants(n *node, path string, again bool, at func(string) string) []variant {
	base := map[string]any{}
	full := map[string]any{}
	children := make([][]variant, len(n.Properties))
	for i, p := range n.Properties {
		full[p.name] = y.fullest(p.node)
		if required := slices.Contains(n.Required, p.name); required || !again {
			children[i] = y.variants(p.node, strings.TrimPrefix(path+"."+p.name, "."))
			if required {
				base[p.name] = children[i][0].value
			}
		}
	}
	with := func(name string, value any) map[string]any {
		object := maps.Clone(base)
		object[name] = value
		return object
	}
	list := []variant{{value: base}}
	if len(n.Properties) > len(n.Required) {
		list = append(list, variant{name: at("has every field"), value: full})
	}
	for i, p := range n.Properties {
		if slices.Contains(n.Required, p.name) {
			object := maps.Clone(base)
			delete(object, p.name)
			list = append(list, variant{name: at("without " + p.name), value: object})
			children[i] = children[i][1:]
		} else if !again {
			children[i][0].name = at("with " + p.name)
		}
		if again {
			continue
		}
		for _, v := range children[i] {
			list = append(list, variant{v.name, with(p.name, v.value), v.loose})
		}
	}
	list = append(list,
		variant{name: at("with a field of its own"), value: with("somethingElse", map[string]any{"a": 1})},
		variant{name: at("is a list of it"), value: []any{base}},
		variant{name: at("is a text"), value: "text"},
		variant{name: at("is null"), value: nil})
	if len(n.Properties) > 0 && !again {
		p := n.Properties[0]
		object := maps.Clone(base)
		delete(object, p.name)
		object[strings.ToUpper(p.name)] = y.variants(p.node, "")[0].value
		list = append(list, variant{name: at("with a field in capitals"), value: object})
	}
	return list
}

func (y varier) arrayVariants(n *node, path string, at func(string) string) []variant {
	children := y.variants(n.Items, path+"[0]")
	one := children[0].value
	list := []variant{
		{value: slices.Repeat([]any{one}, max(n.MinItems, 1))},
		{name: at("has two items"), value: []any{one, one}},
		{name: at("is empty"), value: []any{}, loose: true},
		{name: at("is an item without a list"), value: one},
		{name: at("is null"), value: nil},
		{name: at("has a null"), value: []any{one, nil}},
	}
	if n.MaxItems >= 0 {
		list = append(list,
			variant{name: at("is full"), value: slices.Repeat([]any{one}, n.MaxItems)},
			variant{name: at("is too long"), value: slices.Repeat([]any{one}, n.MaxItems+1)})
	}
	for _, v := range children[1:] {
		list = append(list, variant{v.name, []any{v.value}, v.loose})
	}
	return list
}

// fullest returns a value with every optional field in it.
func (y varier) fullest(n *node) any {
	y.met = maps.Clone(y.met) // nothing is varied here
	n, _ = y.resolve(n)
	switch n.Type {
	case "object":
		object := map[string]any{}
		for _, p := range n.Properties {
			object[p.name] = y.fullest(p.node)
		}
		return object
	case "array":
		return slices.Repeat([]any{y.fullest(n.Items)}, max(n.MinItems, 1))
	default:
		return y.variants(n, "")[0].value
	}
}
