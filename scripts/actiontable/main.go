// Command actiontable writes the table of edge/README.md that tells of every
// action of every OCPP version who sends it, how the gateway handles it, and
// which test shows that.
//
//	go run ./scripts/actiontable
//
// Actions and directions come from the packages of the versions, the rest from
// the table actionTable in actions_test.go of each dialect, where the compiler
// sees that a test exists. Here it is checked that every action is there once,
// that no cell is empty, and that the test speaks of the action at all.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

//go:generate go run . -root ../..

func main() {
	root := flag.String("root", ".", "folder of the repository")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "actiontable:", err)
		os.Exit(1)
	}
}

// The lines in the README between which the table stands.
const (
	begin = "<!-- made by scripts/actiontable from here -->\n"
	end   = "<!-- to here -->\n"
)

func run(root string) error {
	path := filepath.Join(root, "edge", "README.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	made, err := table(root)
	if err != nil {
		return err
	}
	before, _, after, err := parts(old)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, made, after}, nil), 0o644)
}

// parts cuts a README at the two lines, which stay with what is around them.
func parts(readme []byte) (before, made, after []byte, err error) {
	from, to := bytes.Index(readme, []byte(begin)), bytes.Index(readme, []byte(end))
	if from < 0 || to < from {
		return nil, nil, nil, fmt.Errorf("expected the lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	from += len(begin)
	return readme[:from], readme[from:to], readme[to:], nil
}

// action is what the package of a version tells of an action.
type action struct {
	name   string
	group  string // feature profile, or letter of the functional block
	sender string // station, gateway or either
}

// version is one OCPP version with the package that speaks it.
type version struct {
	name    string
	pkg     string // in edge/internal/ocpp
	actions []action
}

func versions() []version {
	sender := map[uint8]string{1: "station", 2: "gateway", 3: "either"}
	list := []version{{name: "1.6", pkg: "v16"}, {name: "2.0.1", pkg: "v201"}, {name: "2.1", pkg: "v21"}}
	for _, a := range ocpp16.Actions {
		list[0].actions = append(list[0].actions, action{a.Name, string(a.Profile), sender[uint8(a.Direction)]})
	}
	for _, a := range ocpp201.Actions {
		list[1].actions = append(list[1].actions, action{a.Name, string(a.Block), sender[uint8(a.Direction)]})
	}
	for _, a := range ocpp21.Actions {
		list[2].actions = append(list[2].actions, action{a.Name, string(a.Block), sender[uint8(a.Direction)]})
	}
	return list
}

// table makes the text between the two lines. The error tells every fault.
func table(root string) ([]byte, error) {
	var b bytes.Buffer
	var faults []error
	for _, v := range versions() {
		folder := filepath.Join(root, "edge", "internal", "ocpp", v.pkg)
		dialect, err := read(folder)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		found := dialect.check(v.actions)
		if len(found) > 0 {
			faults = append(faults, fmt.Errorf("%s: %w", folder, errors.Join(found...)))
			continue
		}
		v.write(&b, dialect.rows)
	}
	return b.Bytes(), errors.Join(faults...)
}

// write appends the table of one version, in the order of its package, the
// functional blocks of 2.x by their letters.
func (v version) write(b *bytes.Buffer, rows []row) {
	by := map[string]row{}
	for _, r := range rows {
		by[r.action] = r
	}
	group := "block"
	if v.name == "1.6" {
		group = "profile"
	}
	fmt.Fprintf(b, "\n**OCPP %s**, %d actions; tests of `internal/ocpp/%s`:\n\n", v.name, len(v.actions), v.pkg)
	fmt.Fprintf(b, "| %s | action | sent by | handled | shown by |\n|---|---|---|---|---|\n", group)
	actions := slices.Clone(v.actions)
	if v.name != "1.6" {
		slices.SortStableFunc(actions, func(a, b action) int { return strings.Compare(a.group, b.group) })
	}
	for _, a := range actions {
		r := by[a.name]
		test := r.test
		if r.part != "" {
			test += "/" + strings.ReplaceAll(r.part, " ", "_")
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | `%s` |\n", a.group, a.name, a.sender, r.handled, test)
	}
	b.WriteString("\n")
}
