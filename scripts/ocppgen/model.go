package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// kind is how a value is read, held, checked and written.
type kind int

const (
	kindText    kind = iota + 1 // string
	kindAnyText                 // string without bound or form, which may have been an object
	kindInt
	kindNumber
	kindBool
	kindTime
	kindURI
	kindWord // of an enumeration
	kindObject
	kindRaw // any JSON
)

// field is one field of a structure, or the elements of one that is a list.
type field struct {
	json     string
	name     string // in Go
	kind     kind
	typeName string // of a word or an object
	list     bool
	required bool
	schema   *node // of the value or element, resolved
	minItems int
	maxItems int
}

// structure is a Go type for a JSON object.
type structure struct {
	name     string
	fields   []field
	open     bool
	source   string // where it was met first, for error texts
	used     []string
	optional bool // a field may have it or not
}

// enumeration is a Go type for a list of words.
type enumeration struct {
	name  string
	words []string
	used  []string
}

// model is everything that is generated for one version.
type model struct {
	version  string
	messages []message
	roots    map[string]*structure // of the messages, by name
	shared   map[string]*structure
	enums    map[string]*enumeration
	actions  []info
	names    map[string]string
	named    map[string]bool   // the entries of names that were used
	origin   map[string]string // the definition a Go name was made of
}

// build makes the model of the schemas in folder.
func build(folder, version string) (*model, error) {
	messages, err := load(folder)
	if err != nil {
		return nil, err
	}
	actions, err := actionsOf(version)
	if err != nil {
		return nil, err
	}
	m := &model{
		version: version, messages: messages, actions: actions, names: namesOf(version),
		roots: map[string]*structure{}, shared: map[string]*structure{}, enums: map[string]*enumeration{},
		named: map[string]bool{}, origin: map[string]string{},
	}
	for _, msg := range messages {
		s, err := m.structure(msg.schema, msg.schema, msg.name, msg.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", msg.file, err)
		}
		m.roots[msg.name] = s
	}
	return m, m.complete()
}

// complete checks that tables and schemas speak of the same things.
func (m *model) complete() error {
	for name := range maps.Keys(m.names) {
		if !m.named[name] {
			return fmt.Errorf("names: %s is in the table but not in the schemas", name)
		}
	}
	known := map[string]bool{}
	for _, a := range m.actions {
		known[a.name] = true
		if m.roots[a.name+"Request"] == nil {
			return fmt.Errorf("actions: %s has no schema", a.name)
		}
	}
	for _, msg := range m.messages {
		if !known[msg.action] {
			return fmt.Errorf("actions: %s is not in the table", msg.action)
		}
	}
	for name := range m.shared {
		if m.roots[name] != nil || m.enums[name] != nil {
			return fmt.Errorf("%s is the name of two types", name)
		}
	}
	return nil
}

// structure makes the type of an object schema; root holds its definitions.
func (m *model) structure(n, root *node, name, message string) (*structure, error) {
	if n.Type != "object" {
		return nil, fmt.Errorf("%s: expected type object, got %q", name, n.Type)
	}
	s := &structure{name: name, open: n.Open, source: message, used: []string{message}}
	for _, p := range n.Properties {
		f, err := m.field(p, n, root, name, message)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, p.name, err)
		}
		s.fields = append(s.fields, f)
	}
	if len(s.fields) > 64 {
		return nil, fmt.Errorf("%s: expected at most 64 fields, got %d", name, len(s.fields))
	}
	return s, nil
}

// methods are the names that a field of a message cannot have.
var methods = []string{"Action", "AppendJSON", "Decode", "Extra", "MarshalJSON", "NewResponse", "UnmarshalJSON", "Validate"}

// field makes a field of the type owner.
func (m *model) field(p property, parent, root *node, owner, message string) (field, error) {
	f := field{
		json: p.name, name: goName(p.name), required: slices.Contains(parent.Required, p.name),
		minItems: -1, maxItems: -1,
	}
	if slices.Contains(methods, f.name) {
		f.name += "Value"
	}
	n := p.node
	if n.Type == "array" {
		f.list, f.minItems, f.maxItems = true, n.MinItems, n.MaxItems
		if n = n.Items; n == nil {
			return f, fmt.Errorf("expected items")
		}
	}
	typeName := ""
	if n.Ref != "" {
		definition, ok := strings.CutPrefix(n.Ref, "#/definitions/")
		if !ok || root.Definitions[definition] == nil {
			return f, fmt.Errorf("$ref %q: expected a definition of the same file", n.Ref)
		}
		n = root.Definitions[definition]
		typeName = m.rename(message+"/"+definition, m.rename(definition, definitionName(definition)))
		if before, ok := m.origin[typeName]; ok && before != definition && root.Definitions[before] != nil {
			return f, fmt.Errorf("definitions %s and %s would both be called %s", before, definition, typeName)
		}
		m.origin[typeName] = definition
	} else if n.Type == "object" || len(n.Enum) > 0 {
		typeName = m.rename(owner+"."+p.name, goName(p.name))
	}
	f.schema = n
	if err := m.kindOf(&f, n, root, typeName, message); err != nil {
		return f, err
	}
	if f.list && !slices.Contains([]kind{kindText, kindInt, kindWord, kindObject}, f.kind) {
		return f, fmt.Errorf("a list of type %q with format %q is not known to this generator", n.Type, n.Format)
	}
	return f, nil
}

// rename returns the name that the table gives to key, or otherwise.
func (m *model) rename(key, otherwise string) string {
	if name, ok := m.names[key]; ok {
		m.named[key] = true
		return name
	}
	return otherwise
}

// kindOf sets the kind of f, and makes the type that it needs.
func (m *model) kindOf(f *field, n, root *node, typeName, message string) error {
	switch {
	case n.Type == "object":
		f.kind, f.typeName = kindObject, typeName
		s, err := m.structure(n, root, typeName, message)
		if err != nil {
			return err
		}
		if err := m.share(s); err != nil {
			return err
		}
		if !f.list && !f.required {
			m.shared[typeName].optional = true
		}
		return nil
	case len(n.Enum) > 0:
		f.kind, f.typeName = kindWord, typeName
		return m.enumerate(typeName, n.Enum, message)
	case n.Type == "string" && n.Format == "date-time":
		f.kind = kindTime
	case n.Type == "string" && n.Format == "uri":
		f.kind = kindURI
	case n.Type == "string" && n.Format == "" && n.MaxLength < 0:
		f.kind = kindAnyText
	case n.Type == "string" && n.Format == "":
		f.kind = kindText
	case n.Type == "integer":
		f.kind = kindInt
	case n.Type == "number":
		f.kind = kindNumber
		if n.MultipleOf != nil && *n.MultipleOf != 0.1 {
			return fmt.Errorf("multipleOf %v: expected 0.1", *n.MultipleOf)
		}
	case n.Type == "boolean":
		f.kind = kindBool
	case n.Type == "":
		f.kind = kindRaw
	default:
		return fmt.Errorf("type %q with format %q is not known to this generator", n.Type, n.Format)
	}
	return nil
}

// share keeps a nested type, once for all messages that have the same.
func (m *model) share(s *structure) error {
	before, ok := m.shared[s.name]
	if !ok {
		m.shared[s.name] = s
		return nil
	}
	if signature(before) != signature(s) {
		return fmt.Errorf("%s differs from the one in %s: one of them needs an entry in names", s.name, before.source)
	}
	before.used = appendNew(before.used, s.used...)
	return nil
}

// enumerate keeps an enumeration, once for all that have the same words.
func (m *model) enumerate(name string, words []string, message string) error {
	before, ok := m.enums[name]
	if !ok {
		m.enums[name] = &enumeration{name: name, words: words, used: []string{message}}
		return nil
	}
	if !slices.Equal(slices.Sorted(slices.Values(before.words)), slices.Sorted(slices.Values(words))) {
		return fmt.Errorf("%s has other words than in %s: one of them needs an entry in names", name, before.used[0])
	}
	before.used = appendNew(before.used, message)
	return nil
}

// signature is equal for structures that are the same type.
func signature(s *structure) string {
	var b strings.Builder
	fmt.Fprintf(&b, "open %v\n", s.open)
	for _, f := range s.fields {
		fmt.Fprintf(&b, "%s %d %s %v %v %d %d %s\n", f.json, f.kind, f.typeName, f.list, f.required, f.minItems, f.maxItems, bounds(f))
	}
	return b.String()
}

// bounds describes what the schema says about a value beyond its type.
func bounds(f field) string {
	var parts []string
	n := f.schema
	if n.MaxLength >= 0 {
		parts = append(parts, fmt.Sprintf("at most %d characters", n.MaxLength))
	}
	if n.Minimum != nil {
		parts = append(parts, fmt.Sprintf("at least %v", *n.Minimum))
	}
	if n.Maximum != nil {
		parts = append(parts, fmt.Sprintf("at most %v", *n.Maximum))
	}
	if n.MultipleOf != nil {
		parts = append(parts, "one decimal")
	}
	if f.kind == kindURI {
		parts = append(parts, "a URI")
	}
	if f.minItems > 0 {
		parts = append(parts, fmt.Sprintf("at least %d items", f.minItems))
	}
	if f.maxItems >= 0 {
		parts = append(parts, fmt.Sprintf("at most %d items", f.maxItems))
	}
	return strings.Join(parts, ", ")
}

func appendNew(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
