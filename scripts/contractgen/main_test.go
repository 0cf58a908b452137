package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const root = "../.."

// The committed contract is what the types say today.
func TestDrift(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(root, files); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"schemas", "examples/events", "examples/commands", "examples/messages"} {
		there, err := os.ReadDir(filepath.Join(root, "shared", dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range there {
			if name := "shared/" + dir + "/" + f.Name(); files[name] == nil {
				t.Errorf("%s belongs to no type any more", name)
			}
		}
	}
}

// Every example is valid against its schema, and invalid once a required field
// is gone.
func TestExamples(t *testing.T) {
	check := func(file, schemaFile string, part func(map[string]any) any) {
		t.Helper()
		s, err := jsonschema.NewCompiler().Compile(filepath.Join(root, "shared/schemas", schemaFile))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(root, "shared/examples", file))
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		whole, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%s: expected an object", file)
		}
		x := part(whole)
		if err := s.Validate(x); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if o, ok := x.(map[string]any); ok && len(s.Required) > 0 {
			delete(o, s.Required[0])
			if s.Validate(o) == nil {
				t.Errorf("%s: valid without %s", file, s.Required[0])
			}
		}
	}
	all := func(m map[string]any) any { return m }
	for _, e := range event.Types {
		check("events/"+short(e)+".json", "event.json", all)
		check("events/"+short(e)+".json", "event."+short(e)+".json", func(m map[string]any) any { return m["data"] })
	}
	for c := range commands {
		check("commands/"+string(c)+".json", "command.json", all)
		check("commands/"+string(c)+".json", "command."+string(c)+".json", func(m map[string]any) any { return m["params"] })
	}
	for _, m := range messages {
		if m.name != "Ack" && m.name != "Order" { // two shapes each, told apart by their fields
			name := strings.ToLower(m.name) + ".json"
			check("messages/"+name, name, all)
		}
	}
}

// Every event of the examples reads back into its payload.
func TestExamplesDecode(t *testing.T) {
	for _, want := range event.Types {
		raw, err := os.ReadFile(filepath.Join(root, "shared/examples/events", short(want)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		p, err := e.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if p.EventType() != want {
			t.Errorf("%s decodes as %s", want, p.EventType())
		}
	}
}
