package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
)

// section returns a section of README.md, without its heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("README.md has no section %q", heading)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

// tests returns the source of the tests of a package, by its folder.
func testsOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// The table of what chargers do has no empty cell but the switch, and every test
// that it names is there.
func TestQuirkTable(t *testing.T) {
	row := regexp.MustCompile(`(?m)^\| (\d+) \|(.*)\|$`)
	named := regexp.MustCompile("^`([^`]+)` (Test\\w+)(?: \"([^\"]+)\")?$")
	sources := map[string]string{}
	last, rows := 0, 0
	for _, m := range row.FindAllStringSubmatch(section(t, "What chargers do, and what the gateway does"), -1) {
		rows++
		number, err := strconv.Atoi(m[1])
		if err != nil || number <= last {
			t.Errorf("row %s comes after %d", m[1], last)
		}
		last = number
		cells := strings.Split(m[2], "|")
		if len(cells) != 4 || strings.TrimSpace(cells[0]) == "" || strings.TrimSpace(cells[1]) == "" {
			t.Errorf("row %d has an empty cell", number)
			continue
		}
		for one := range strings.SplitSeq(cells[3], ";") {
			part := named.FindStringSubmatch(strings.TrimSpace(one))
			if part == nil {
				t.Errorf("row %d: expected a package, a test and perhaps its part, got %q", number, one)
				continue
			}
			dir := part[1]
			if _, ok := sources[dir]; !ok {
				sources[dir] = testsOf(t, dir)
			}
			if !strings.Contains(sources[dir], "func "+part[2]+"(t *testing.T)") {
				t.Errorf("row %d: %s has no %s", number, dir, part[2])
			}
			if part[3] != "" && !strings.Contains(sources[dir], part[3]) {
				t.Errorf("row %d: no test of %s has a part %q", number, dir, part[3])
			}
		}
	}
	if rows < 60 {
		t.Errorf("found %d rows", rows)
	}
}

// Every behaviour that a station profile may switch is explained, and no other.
func TestBehaviourTable(t *testing.T) {
	text := section(t, "What chargers do, and what the gateway does")
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\|").FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			explained[strings.Trim(name, "`")] = true
		}
	}
	behaviour := reflect.TypeFor[stationprofile.Behaviour]()
	for i := range behaviour.NumField() {
		name := behaviour.Field(i).Tag.Get("yaml")
		if !explained[name] {
			t.Errorf("%s is not explained", name)
		}
		delete(explained, name)
	}
	for name := range explained {
		t.Errorf("%s is explained and does not exist", name)
	}
	book, err := stationprofile.Load("")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range book.Names() {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the built-in profile %s is not named", name)
		}
	}
}
