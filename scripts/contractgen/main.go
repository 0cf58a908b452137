// Command contractgen makes the published message contract from the types in
// shared/event and shared/wire: JSON Schemas, the AsyncAPI document, an example
// of everything, and the reference part of shared/README.md.
//
//	go run ./scripts/contractgen            writes them
//	go run ./scripts/contractgen -check     says which of them have drifted
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
)

func main() {
	root := flag.String("root", ".", "folder of the module")
	check := flag.Bool("check", false, "write nothing, exit 1 when a file has drifted")
	flag.Parse()
	files, err := generate(*root)
	if err == nil && *check {
		err = compare(*root, files)
	} else if err == nil {
		err = write(*root, files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "contractgen:", err)
		os.Exit(1)
	}
}

func write(root string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func compare(root string, files map[string][]byte) error {
	var errs []error
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(got, want) {
			errs = append(errs, fmt.Errorf("%s differs from the types: run make generate", name))
		}
	}
	return errors.Join(errs...)
}

const (
	schemaBase = "https://chargeyard.example/schemas/v1/"
	begin      = "<!-- reference: made by scripts/contractgen, do not edit below -->\n"
)

// generate returns the content of every file of the contract by its name.
func generate(root string) (map[string][]byte, error) {
	var c contract
	var err error
	if c.event, err = read(filepath.Join(root, "shared/event")); err != nil {
		return nil, err
	}
	if c.wire, err = read(filepath.Join(root, "shared/wire")); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	var doc bytes.Buffer
	for _, part := range []func(map[string][]byte, *bytes.Buffer) error{c.events, c.commands, c.messages, c.types} {
		if err := part(files, &doc); err != nil {
			return nil, err
		}
	}
	if files["shared/asyncapi.json"], err = c.asyncAPI(); err != nil {
		return nil, err
	}
	readme, err := os.ReadFile(filepath.Join(root, "shared/README.md"))
	if err != nil {
		return nil, err
	}
	head, _, ok := bytes.Cut(readme, []byte(begin))
	if !ok {
		return nil, fmt.Errorf("shared/README.md: expected the line %q", strings.TrimSpace(begin))
	}
	files["shared/README.md"] = slices.Concat(head, []byte(begin), doc.Bytes())
	return files, nil
}

// events writes schema, example and reference of every event type.
func (c *contract) events(files map[string][]byte, doc *bytes.Buffer) error {
	doc.WriteString("\n## Events\n\nEvery event is an [envelope](#envelope); these are its `data`.\n")
	examples := map[event.Type]event.Draft{}
	for _, d := range events {
		examples[d.Data.EventType()] = d
	}
	for n, t := range event.Types {
		d, ok := examples[t]
		if !ok {
			return fmt.Errorf("no example of %s", t)
		}
		s := c.event.structs[strings.TrimPrefix(fmt.Sprintf("%T", d.Data), "*event.")]
		if err := c.schema(files, "event."+short(t), c.event, s); err != nil {
			return err
		}
		d.Time, d.Recorded, d.Boot, d.Clock = at, at.Add(16e6), boot, event.ClockSynced
		body := event.AppendHead(nil, event.ID{Stream: stream, Sequence: uint64(n) + 1})
		body, err := event.AppendTail(body, gateway, &d)
		if err != nil {
			return err
		}
		name := "shared/examples/events/" + short(t) + ".json"
		if files[name], err = pretty(body); err != nil {
			return err
		}
		fmt.Fprintf(doc, "\n### %s\n\n%s Lane `%s`.\n\n", t, s.doc, t.Lane())
		if err := c.table(doc, c.event, s); err != nil {
			return err
		}
		data, err := json.Marshal(d.Data)
		if err != nil {
			return err
		}
		fmt.Fprintf(doc, "\n```json\n%s\n```\n", data)
	}
	return nil
}

func short(t event.Type) string { return strings.TrimPrefix(string(t), "chargeyard.") }

// commands writes schema, example and reference of every command type.
func (c *contract) commands(files map[string][]byte, doc *bytes.Buffer) error {
	doc.WriteString("\n## Commands\n\nEvery command is an [order](#order); these are its `params`.\n")
	if err := c.schema(files, "command", c.event, c.event.structs["Command"]); err != nil {
		return err
	}
	for _, t := range event.CommandTypes {
		if paramless[t] {
			fmt.Fprintf(doc, "\n### %s\n\nFor the gateway itself; the name is taken, version 1 answers `unsupported`.\n", t)
			continue
		}
		params, ok := commands[t]
		if !ok {
			return fmt.Errorf("no example of the command %s", t)
		}
		s := c.event.structs[strings.TrimPrefix(fmt.Sprintf("%T", params), "event.")]
		if err := c.schema(files, "command."+string(t), c.event, s); err != nil {
			return err
		}
		raw, err := json.Marshal(params)
		if err != nil {
			return err
		}
		cmd := event.Command{ID: order, Type: t, Params: raw, Expires: at.Add(60e9), IssuedBy: "operator"}
		if !t.ForGateway() {
			cmd.Station, cmd.EVSE = place.Station, place.EVSE
		}
		body, err := json.Marshal(cmd)
		if err != nil {
			return err
		}
		if files["shared/examples/commands/"+string(t)+".json"], err = pretty(body); err != nil {
			return err
		}
		fmt.Fprintf(doc, "\n### %s\n\n%s\n", t, sentence(s.doc))
		if len(s.fields) > 0 {
			doc.WriteString("\n")
			if err := c.table(doc, c.event, s); err != nil {
				return err
			}
		}
		fmt.Fprintf(doc, "\n```json\n%s\n```\n", raw)
	}
	return nil
}

// sentence drops the Go name that opens a comment: "StopParams: end a session".
func sentence(doc string) string {
	if _, rest, ok := strings.Cut(doc, "Params: "); ok && rest != "" {
		return strings.ToUpper(rest[:1]) + rest[1:]
	}
	return doc
}

// messages writes schema, example and reference of everything else on the wire.
func (c *contract) messages(files map[string][]byte, doc *bytes.Buffer) error {
	doc.WriteString("\n## Messages\n")
	for _, m := range messages {
		home, s := c.wire, c.wire.structs[m.name]
		if err := c.schema(files, strings.ToLower(m.name), home, s); err != nil {
			return err
		}
		body, err := json.Marshal(m.value)
		if err != nil {
			return err
		}
		if files["shared/examples/messages/"+strings.ToLower(m.name)+".json"], err = pretty(body); err != nil {
			return err
		}
		fmt.Fprintf(doc, "\n### %s\n\n%s Topic `cy/1/{gateway}/%s`, QoS %d%s, %s.\n\n", m.name, s.doc, m.topic, m.qos,
			map[bool]string{true: ", retained"}[m.retain], map[bool]string{true: "gateway to manager", false: "manager to gateway"}[m.up])
		if err := c.table(doc, home, s); err != nil {
			return err
		}
		fmt.Fprintf(doc, "\n```json\n%s\n```\n", body)
	}
	return nil
}

// types writes the reference of what the others are made of.
func (c *contract) types(files map[string][]byte, doc *bytes.Buffer) error {
	doc.WriteString("\n## Envelope\n")
	if err := c.schema(files, "event", c.event, c.event.structs["Event"]); err != nil {
		return err
	}
	doc.WriteString("\n")
	if err := c.table(doc, c.event, c.event.structs["Event"]); err != nil {
		return err
	}
	doc.WriteString("\n## Types\n")
	for _, t := range []struct {
		home *pkg
		name string
	}{
		{c.event, "Token"}, {c.event, "Authorization"}, {c.event, "Sample"}, {c.event, "Phases"}, {c.event, "Value"}, {c.event, "Signed"},
		{c.event, "Variable"}, {c.event, "ListEntry"}, {c.event, "CertificateHash"},
		{c.wire, "StreamSummary"}, {c.wire, "TokenEntry"}, {c.wire, "Tokens"}, {c.wire, "Stations"}, {c.wire, "AdmittedStation"},
		{c.wire, "SitePlan"}, {c.wire, "Circuit"}, {c.wire, "LiveConnector"}, {c.wire, "LiveCommand"},
	} {
		s := t.home.structs[t.name]
		if s == nil {
			return fmt.Errorf("no struct %s", t.name)
		}
		fmt.Fprintf(doc, "\n### %s\n\n%s\n\n", t.name, s.doc)
		if err := c.table(doc, t.home, s); err != nil {
			return err
		}
	}
	doc.WriteString("\n## Words\n\nLists marked open may grow within version 1.\n")
	for _, name := range []string{"Status", "Flag", "CommandState", "Clock", "Lane"} {
		e := c.event.enums[name]
		fmt.Fprintf(doc, "\n**%s.** %s `%s`\n", name, e.doc, strings.Join(e.values, "`, `"))
	}
	return nil
}

func (c *contract) table(doc *bytes.Buffer, home *pkg, s *structType) error {
	rows, err := c.rows(home, s)
	if err != nil {
		return err
	}
	doc.WriteString("| field | type | |\n|---|---|---|\n")
	for _, r := range rows {
		note := r.doc
		if r.optional {
			note = strings.TrimSpace("*optional* " + note)
		}
		fmt.Fprintf(doc, "| `%s` | %s | %s |\n", r.name, r.typ, strings.ReplaceAll(note, "|", "\\|"))
	}
	return nil
}

func (c *contract) schema(files map[string][]byte, name string, home *pkg, s *structType) error {
	if s == nil {
		return fmt.Errorf("no struct for %s", name)
	}
	o, err := c.object(home, s)
	if err != nil {
		return err
	}
	o.Schema, o.ID, o.Title = "https://json-schema.org/draft/2020-12/schema", schemaBase+name+".json", name
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	files["shared/schemas/"+name+".json"], err = pretty(body)
	return err
}

func pretty(body []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
