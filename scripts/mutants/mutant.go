package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// mutant is one patch with its explanation.
type mutant struct {
	name  string // of the file, without .patch
	file  string
	says  string // what the product does wrong with it
	proof string // the command that has to notice
}

// endToEnd tells whether the proof starts binaries.
func (m mutant) endToEnd() bool { return strings.Contains(m.proof, "internal/e2e") }

// load reads the mutants of a folder whose names match, in order of name.
func load(folder string, pattern *regexp.Regexp) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.patch"))
	if err != nil {
		return nil, fmt.Errorf("list mutants: %w", err)
	}
	var mutants []mutant
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".patch")
		if !pattern.MatchString(name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read mutant: %w", err)
		}
		m, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		m.name, m.file = name, file
		mutants = append(mutants, m)
	}
	if len(mutants) == 0 {
		return nil, fmt.Errorf("no patch in %s matches %q", folder, pattern)
	}
	return mutants, nil
}

// parse reads the head of a patch. It wants "# says:" and "# proof:" before
// the first line of the diff.
func parse(text []byte) (mutant, error) {
	var m mutant
	diff := false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan() && !diff; {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# says:"); ok {
			m.says = strings.TrimSpace(rest)
		}
		if rest, ok := strings.CutPrefix(line, "# proof:"); ok {
			m.proof = strings.TrimSpace(rest)
		}
		diff = strings.HasPrefix(line, "diff --git ") || strings.HasPrefix(line, "--- ")
	}
	switch {
	case m.says == "":
		return m, errors.New(`want a line "# says: ..." before the diff`)
	case m.proof == "":
		return m, errors.New(`want a line "# proof: ..." before the diff`)
	case !strings.HasPrefix(m.proof, "go test "):
		return m, fmt.Errorf(`proof %q: want one that begins with "go test "`, m.proof)
	case !diff:
		return m, errors.New("want a diff below the head")
	}
	return m, nil
}

// outcome is what became of a mutant.
type outcome int

const (
	caught   outcome = iota // a test failed
	survived                // the proof passed
	hollow                  // the proof ran no test
	broken                  // the mutant does not compile
	misfit                  // the patch does not apply
	endless                 // the proof did not end in time
)

func (o outcome) String() string {
	switch o {
	case caught:
		return "fails, as it should"
	case survived:
		return "PASSES: it does not see the mutant"
	case hollow:
		return "RUNS NO TEST"
	case broken:
		return "DOES NOT COMPILE"
	case misfit:
		return "PATCH DOES NOT APPLY"
	case endless:
		return "DID NOT END"
	}
	return fmt.Sprintf("outcome(%d)", int(o))
}

var (
	failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: |^FAIL\t.*\[?[0-9.]+m?s\]?$|^panic: |^fatal error: |^WARNING: DATA RACE`)
	unbuilt    = regexp.MustCompile(`(?m)^FAIL\t.*\[(build|setup) failed\]$`)
	ranNothing = regexp.MustCompile(`(?m)^ok .*\[no tests to run\]$|^\?.*\[no test files\]$|^testing: warning: no tests to run$`)
	skipped    = regexp.MustCompile(`(?m)^\s*--- SKIP: `)
	passed     = regexp.MustCompile(`(?m)^\s*--- PASS: `)
)

// judge reads what go test -v has printed and whether it succeeded.
func judge(output []byte, success bool) outcome {
	switch {
	case unbuilt.Match(output):
		return broken
	case success && (ranNothing.Match(output) || skipped.Match(output)) && !passed.Match(output):
		return hollow
	case success:
		return survived
	case failedTest.Match(output):
		return caught
	}
	return broken // the command itself went wrong
}
