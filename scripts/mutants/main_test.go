package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	head     = "# says: %\n# proof: go test -count=1 ./...\n"
	wrongSum = `--- a/sum.go
+++ b/sum.go
@@ -1,4 +1,4 @@
 package sum
 
 // Of adds.
-func Of(a, b int) int { return a + b }
+func Of(a, b int) int { return a - b }
`
	samePatch = `--- a/sum.go
+++ b/sum.go
@@ -1,4 +1,4 @@
 package sum
 
-// Of adds.
+// Of adds two numbers.
 func Of(a, b int) int { return a + b }
`
	wontCompile = `--- a/sum.go
+++ b/sum.go
@@ -1,4 +1,4 @@
 package sum
 
 // Of adds.
-func Of(a, b int) int { return a + b }
+func Of(a, b int) int { return c }
`
	wontApply = `--- a/sum.go
+++ b/sum.go
@@ -1,4 +1,4 @@
 package product
 
 // Of multiplies.
-func Of(a, b int) int { return a * b }
+func Of(a, b int) int { return a + b }
`
)

// module makes a repository with one package and one mutant.
func module(t *testing.T, patch string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"go.mod":                            "module example.com/sum\n\ngo 1.26.0\n",
		"sum.go":                            "package sum\n\n// Of adds.\nfunc Of(a, b int) int { return a + b }\n",
		"sum_test.go":                       "package sum\n\nimport \"testing\"\n\nfunc TestOf(t *testing.T) {\n\tif got := Of(2, 3); got != 5 {\n\t\tt.Errorf(\"got %d, want 5\", got)\n\t}\n}\n",
		".gitignore":                        "/bin/\n",
		"scripts/mutants/patches/sum.patch": patch,
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := exec.Command("git", "init", "-q", root).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, text)
	}
	return root
}

func TestRun(t *testing.T) {
	tests := []struct {
		name  string
		patch string
		want  string // in the table; the error too when it is in capitals
	}{
		{name: "caught", patch: head + wrongSum, want: "fails, as it should"},
		{name: "survives", patch: head + samePatch, want: "PASSES"},
		{name: "does not compile", patch: head + wontCompile, want: "DOES NOT COMPILE"},
		{name: "does not apply", patch: head + wontApply, want: "PATCH DOES NOT APPLY"},
		{name: "no such test", patch: strings.Replace(head, "./...", "-run TestNone ./...", 1) + wrongSum, want: "RUNS NO TEST"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), []string{"-root", module(t, tt.patch)}, &out)
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("printed %s\nwant %q", &out, tt.want)
			}
			if good := tt.want == strings.ToLower(tt.want); good != (err == nil) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestBaseline(t *testing.T) {
	root := module(t, head+wrongSum)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-root", root, "-baseline"}, &out); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	sum := "package sum\n\n// Of adds.\nfunc Of(a, b int) int { return a + b + 1 }\n"
	if err := os.WriteFile(filepath.Join(root, "sum.go"), []byte(sum), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-root", root, "-baseline"}, &out); err == nil {
		t.Error("a proof that fails by itself was taken for one")
	}
}

func TestParse(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no says", "# proof: go test ./...\n" + wrongSum, `"# says: ..."`},
		{"no proof", "# says: x\n" + wrongSum, `"# proof: ..."`},
		{"another command", "# says: x\n# proof: true\n" + wrongSum, `"go test "`},
		{"no diff", head, "want a diff"},
		{"head below the diff", wrongSum + head, `"# says: ..."`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		output  string
		success bool
		want    outcome
	}{
		{"failed test", "--- FAIL: TestA (0.00s)\nFAIL\nFAIL\tx\t0.1s\n", false, caught},
		{"race", "WARNING: DATA RACE\nFAIL\tx\t0.1s\n", false, caught},
		{"panic", "panic: boom\nFAIL\tx\t0.1s\n", false, caught},
		{"passed", "--- PASS: TestA (0.00s)\nok  \tx\t0.1s\n", true, survived},
		{"passed, another package has no such test", "--- PASS: TestA (0.00s)\nok  \tx\t0.1s\nok  \ty\t0.1s [no tests to run]\n", true, survived},
		{"skipped", "--- SKIP: TestA (0.00s)\nok  \tx\t0.1s\n", true, hollow},
		{"no test", "testing: warning: no tests to run\nok  \tx\t0.1s [no tests to run]\n", true, hollow},
		{"build failed", "x.go:1:1: undefined\nFAIL\tx [build failed]\n", false, broken},
		{"no such package", "no required module provides package\n", false, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge([]byte(tt.output), tt.success); got != tt.want {
				t.Errorf("judged %q, want %q", got, tt.want)
			}
		})
	}
}

// A change to the code that a committed patch touches shows here, and not
// only in the next run of make mutants.
func TestPatchesApply(t *testing.T) {
	files, err := filepath.Glob("patches/*.patch")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("there are no patches")
	}
	if _, err := load("patches", regexp.MustCompile("")); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		abs, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "git", "apply", "--check", "--whitespace=nowarn", abs)
		cmd.Dir = filepath.Join("..", "..")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", file, err, text)
		}
	}
}
