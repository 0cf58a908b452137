package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReadme makes the table of edge/README.md again: what is committed must be
// what the packages and their tests say.
func TestReadme(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := table(root)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "edge", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, got, _, err := parts(readme)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the table of edge/README.md is not what the code says; run go run ./scripts/actiontable")
	}
	rows := 0
	for line := range strings.Lines(string(got)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || cells[2] == " action " || strings.HasPrefix(cells[1], "---") {
			continue
		}
		rows++
		if slices.ContainsFunc(cells[1:6], func(cell string) bool { return strings.TrimSpace(cell) == "" }) {
			t.Errorf("an empty cell: %s", line)
		}
	}
	if rows != 39+64+91 {
		t.Errorf("expected %d rows, got %d", 39+64+91, rows)
	}
}

// TestCheck shows each fault that a table can have.
func TestCheck(t *testing.T) {
	const tests = `package v9

import "testing"

func TestBoot(t *testing.T)  { send(t, "[2,\"1\",\"Boot\",{}]") }
func TestReset(t *testing.T) { for _, tt := range orders { t.Run(tt.name, nil) } }
func TestAll(t *testing.T)   { for _, a := range ocpp9.Actions { t.Run(a.Name, nil) } }
func TestTyped(t *testing.T) { _ = new(ocpp9.ResetRequest) }

func TestHelp(name string, t *testing.T) {}
func helper(t *testing.T)    { send(t, "Boot") }

var orders = []struct{ name, want string }{{"soft reset", "[2,x,Reset]"}}
`
	actions := []action{{"Boot", "B", "station"}, {"Reset", "B", "gateway"}}
	for _, tt := range []struct{ name, rows, want string }{
		{"whole", `{"Boot", "an " + "event", TestBoot, ""}, {ocpp9.ActionReset, "a command", TestReset, "soft reset"}`, ""},
		{"through the list", `{"Boot", "an event", TestAll, "Boot"}, {"Reset", "a command", TestTyped, ""}`, ""},
		{"a row missing", `{"Boot", "an event", TestBoot, ""}`, "Reset: expected one row, got 0"},
		{"a row twice", `{"Boot", "x", TestBoot, ""}, {"Boot", "x", TestBoot, ""}, {"Reset", "x", TestReset, ""}`, "Boot: expected one row, got 2"},
		{"an empty cell", `{"Boot", " ", TestBoot, ""}, {"Reset", "x", TestReset, ""}`, "Boot: expected a sentence"},
		{"a bar", `{"Boot", "a|b", TestBoot, ""}, {"Reset", "x", TestReset, ""}`, "Boot: expected a sentence"},
		{"no such test", `{"Boot", "x", TestBot, ""}, {"Reset", "x", TestReset, ""}`, "Boot: TestBot is no test"},
		{"a helper for a test", `{"Boot", "x", helper, ""}, {"Reset", "x", TestReset, ""}`, "Boot: helper is no test"},
		{"a function called like a test", `{"Boot", "x", TestHelp, ""}, {"Reset", "x", TestReset, ""}`, "Boot: TestHelp is no test"},
		{"a test of something else", `{"Boot", "x", TestReset, ""}, {"Reset", "x", TestReset, ""}`, "Boot: nothing in TestReset speaks of it"},
		{"no such part", `{"Boot", "x", TestBoot, ""}, {"Reset", "x", TestReset, "hard reset"}`, `Reset: TestReset has no part "hard reset"`},
		{"an unknown action", `{"Boot", "x", TestBoot, ""}, {"Reset", "x", TestReset, ""}, {"Foo", "x", TestBoot, ""}`, "Foo: the version has no such action"},
		{"a short row", `{"Boot", "x", TestBoot}`, "expected {"},
		{"a test in quotes", `{"Boot", "x", "TestBoot", ""}`, "column 3: expected the name of a test"},
		{"a text of a variable", `{"Boot", text, TestBoot, ""}`, "column 2: expected a text"},
		{"no rows", ``, "expected a variable actionTable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			for name, text := range map[string]string{"boot_test.go": tests, "actions_test.go": "package v9\n\nvar actionTable = []row{" + tt.rows + "}\n"} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			d, err := read(folder)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				for _, fault := range d.check(actions) {
					got += fault.Error() + "\n"
				}
			}
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

// TestParts cuts a README, and refuses one without a place for the table.
func TestParts(t *testing.T) {
	before, made, after, err := parts([]byte("a\n" + begin + "b\n" + end + "c\n"))
	if err != nil || string(before) != "a\n"+begin || string(made) != "b\n" || string(after) != end+"c\n" {
		t.Errorf("%q, %q, %q, %v", before, made, after, err)
	}
	for _, text := range []string{"", begin, end, end + begin} {
		if _, _, _, err := parts([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
