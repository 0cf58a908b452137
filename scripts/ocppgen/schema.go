package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// node is a JSON schema as the OCPP schemas use it.
type node struct {
	Ref         string
	Type        string // empty for any
	Format      string
	Enum        []string
	MaxLength   int // -1 for none
	MinItems    int // -1 for none
	MaxItems    int // -1 for none
	Minimum     *float64
	Maximum     *float64
	MultipleOf  *float64
	Items       *node
	Properties  []property // in the order of the file
	Required    []string
	Open        bool // an object that may have other properties
	Definitions map[string]*node
	text        string // of the schema itself
}

type property struct {
	name string
	node *node
}

// UnmarshalJSON refuses keywords that the generator does not know, so that no
// rule is lost in silence.
func (n *node) UnmarshalJSON(data []byte) error {
	members, err := ordered(data)
	if err != nil {
		return err
	}
	*n = node{MaxLength: -1, MinItems: -1, MaxItems: -1, Open: true, text: string(data)}
	for _, m := range members {
		var err error
		switch m.name {
		case "$schema", "$id", "id", "title", "comment", "description", "javaType", "default", "additionalItems":
		case "$ref":
			err = json.Unmarshal(m.value, &n.Ref)
		case "type":
			err = json.Unmarshal(m.value, &n.Type)
		case "format":
			err = json.Unmarshal(m.value, &n.Format)
		case "enum":
			err = json.Unmarshal(m.value, &n.Enum)
		case "maxLength":
			err = json.Unmarshal(m.value, &n.MaxLength)
		case "minItems":
			err = json.Unmarshal(m.value, &n.MinItems)
		case "maxItems":
			err = json.Unmarshal(m.value, &n.MaxItems)
		case "minimum":
			err = json.Unmarshal(m.value, &n.Minimum)
		case "maximum":
			err = json.Unmarshal(m.value, &n.Maximum)
		case "multipleOf":
			err = json.Unmarshal(m.value, &n.MultipleOf)
		case "items":
			err = json.Unmarshal(m.value, &n.Items)
		case "required":
			err = json.Unmarshal(m.value, &n.Required)
		case "additionalProperties":
			err = json.Unmarshal(m.value, &n.Open)
		case "definitions":
			err = json.Unmarshal(m.value, &n.Definitions)
		case "properties":
			var properties []member
			if properties, err = ordered(m.value); err != nil {
				break
			}
			for _, p := range properties {
				child := new(node)
				if err = json.Unmarshal(p.value, child); err != nil {
					err = fmt.Errorf("%s: %w", p.name, err)
					break
				}
				n.Properties = append(n.Properties, property{p.name, child})
			}
		default:
			err = fmt.Errorf("keyword %q is not known to this generator", m.name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

type member struct {
	name  string
	value json.RawMessage
}

// ordered reads the members of a JSON object in their order.
func ordered(data []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("expected an object, got %v", t)
	}
	var members []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("expected a name, got %v", t)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		members = append(members, member{name, value})
	}
	return members, nil
}

// message is one schema file.
type message struct {
	name   string // of the Go type: AuthorizeRequest
	action string
	file   string
	schema *node
}

func (m message) isRequest() bool { return strings.HasSuffix(m.name, "Request") }

// load reads the schemas of folder, sorted by action, the request first.
func load(folder string) ([]message, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no schemas (*.json) there", folder)
	}
	messages := make([]message, 0, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		m := message{name: strings.TrimSuffix(filepath.Base(file), ".json"), file: file, schema: new(node)}
		if err := json.Unmarshal(data, m.schema); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		m.action = strings.TrimSuffix(strings.TrimSuffix(m.name, "Request"), "Response")
		if m.action == m.name { // a message without answer
			m.name += "Request"
		}
		messages = append(messages, m)
	}
	slices.SortFunc(messages, func(a, b message) int {
		if c := strings.Compare(a.action, b.action); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return messages, nil
}
