package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// testFlags are those of the Makefile's TEST_FLAGS, so that SQLite is compiled
// once for all.
const testFlags = "-buildvcs=false -race -tags=seams"

// tree is a copy of the work tree in which mutants live. It lies at the same
// place every time, so that the build cache knows it.
type tree struct{ path string }

// plant copies the files that git knows, and those it would take, from root.
func plant(ctx context.Context, root, path string) (*tree, error) {
	list := exec.CommandContext(ctx, "git", "ls-files", "-z", "-co", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list files of %s: %w", root, err)
	}
	if err := os.RemoveAll(path); err != nil {
		return nil, fmt.Errorf("clear scratch folder: %w", err)
	}
	for name := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(path, name)); err != nil {
			return nil, fmt.Errorf("copy %s: %w", name, err)
		}
	}
	// The peers of the end-to-end tests are not mutated.
	if err := os.MkdirAll(filepath.Join(path, "bin"), 0o755); err != nil {
		return nil, fmt.Errorf("make bin: %w", err)
	}
	if err := os.Symlink(filepath.Join(root, "bin", "ref"), filepath.Join(path, "bin", "ref")); err != nil {
		return nil, fmt.Errorf("link third-party peers: %w", err)
	}
	return &tree{path: path}, nil
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed, and not yet committed
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

func (t *tree) remove() {
	if err := os.RemoveAll(t.path); err != nil {
		fmt.Fprintln(os.Stderr, "mutants: remove scratch folder:", err)
	}
}

// apply applies a patch, or takes it back.
func (t *tree) apply(ctx context.Context, file string, back bool) error {
	args := []string{"apply", "--whitespace=nowarn"}
	if back {
		args = append(args, "--reverse")
	}
	cmd := exec.CommandContext(ctx, "git", append(args, file)...)
	cmd.Dir = t.path
	// Otherwise git finds the repository around the scratch folder and skips
	// every file, because bin/ is ignored there.
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(t.path))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git apply: %w: %s", err, bytes.TrimSpace(text))
	}
	return nil
}

// verdict is the outcome of one mutant.
type verdict struct {
	mutant  mutant
	outcome outcome
	took    time.Duration
}

// warden tries mutants, one at a time.
type warden struct {
	tree    *tree
	limit   time.Duration
	out     io.Writer
	verbose bool
}

// baseline sees every proof pass once without a mutant.
func (w *warden) baseline(ctx context.Context, mutants []mutant) error {
	seen := map[string]bool{}
	for _, m := range mutants {
		if seen[m.proof] {
			continue
		}
		seen[m.proof] = true
		fmt.Fprintf(w.out, "baseline: %s\n", m.proof)
		got, text, err := w.prove(ctx, m)
		if err != nil {
			return err
		}
		if got != survived {
			return fmt.Errorf("without a mutant the proof of %s should pass, but %s:\n%s", m.name, strings.ToLower(got.String()), tail(text))
		}
	}
	return nil
}

// try applies a mutant, runs its proof and takes the mutant back.
func (w *warden) try(ctx context.Context, m mutant) (verdict, error) {
	fmt.Fprintf(w.out, "%s: %s\n", m.name, m.says)
	begin := time.Now()
	if err := w.tree.apply(ctx, m.file, false); err != nil {
		if ctx.Err() != nil {
			return verdict{}, ctx.Err()
		}
		fmt.Fprintln(w.out, err)
		return verdict{mutant: m, outcome: misfit}, nil
	}
	got, text, err := w.prove(ctx, m)
	if err != nil {
		return verdict{}, err
	}
	if err := w.tree.apply(ctx, m.file, true); err != nil {
		return verdict{}, fmt.Errorf("take it back: %w", err)
	}
	fmt.Fprintf(w.out, "    the proof %s\n", got)
	if got != caught && !w.verbose {
		fmt.Fprintf(w.out, "%s\n", tail(text))
	}
	return verdict{mutant: m, outcome: got, took: time.Since(begin)}, nil
}

// prove runs the proof of m on the tree as it stands, after the binaries that
// it needs have been built.
func (w *warden) prove(ctx context.Context, m mutant) (outcome, []byte, error) {
	if m.endToEnd() {
		build := "mkdir -p bin/race && go build -o bin/race/chargeyard-edge ./edge && " +
			"go build -o bin/race/chargeyard-cloud ./cloud && go build -o bin/race/chargeyard-sim ./firmware-sim"
		text, success, err := w.shell(ctx, build)
		if err != nil || !success {
			return broken, text, err
		}
	}
	text, success, err := w.shell(ctx, strings.Replace(m.proof, "go test ", "go test -v ", 1))
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return endless, text, nil
	}
	if err != nil {
		return 0, text, err
	}
	return judge(text, success), text, nil
}

// shell runs a line in the tree. The processes it started end with it: they
// are a group of their own.
func (w *warden) shell(ctx context.Context, line string) (output []byte, success bool, err error) {
	limited, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	var text bytes.Buffer
	cmd := exec.CommandContext(limited, "bash", "-c", line)
	cmd.Dir = w.tree.path
	cmd.Env = append(os.Environ(), "GOFLAGS="+testFlags, "CHARGEYARD_E2E=1", "CHARGEYARD_BIN="+filepath.Join(w.tree.path, "bin", "race"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdout = &text
	if w.verbose {
		cmd.Stdout = io.MultiWriter(&text, w.out)
	}
	cmd.Stderr = cmd.Stdout
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case limited.Err() != nil:
		return text.Bytes(), false, limited.Err()
	case errors.As(err, &exit):
		return text.Bytes(), false, nil
	case err != nil:
		return text.Bytes(), false, fmt.Errorf("run %q: %w", line, err)
	}
	return text.Bytes(), true, nil
}

// tail is the end of what a proof has printed.
func tail(text []byte) []byte {
	const keep = 3000
	if len(text) > keep {
		text = text[len(text)-keep:]
	}
	return bytes.TrimSpace(text)
}
