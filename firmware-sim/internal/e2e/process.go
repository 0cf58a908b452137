// Package e2e holds the proofs from outside: tests that start the real
// binaries, kill them, cut their wires, and compare what chargers said with what
// the manager's database holds.
//
// They run with CHARGEYARD_E2E=1; CHARGEYARD_BIN names the folder of the
// binaries, built with the race detector and the tag "seams".
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a proof waits for anything before it gives up. Machines
// are shared, and the binaries carry the race detector.
const patience = 90 * time.Second

// need skips the test unless end-to-end tests are asked for.
func need(t *testing.T) {
	t.Helper()
	if os.Getenv("CHARGEYARD_E2E") != "1" {
		t.Skip("end-to-end tests run with CHARGEYARD_E2E=1 (make test sets it)")
	}
}

// binary is the path of one of our programs.
func binary(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("CHARGEYARD_BIN")
	if dir == "" {
		t.Fatal("CHARGEYARD_BIN is not set: make race builds the binaries, make test sets it")
	}
	return exists(t, filepath.Join(dir, name))
}

// peer is the path of a third-party program that make ref builds.
func peer(t *testing.T, name string) string {
	t.Helper()
	return exists(t, filepath.Join(os.Getenv("CHARGEYARD_BIN"), "..", "ref", name))
}

func exists(t *testing.T, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// program finds an installed program, in the places of administrators too.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: make test installs it", name)
	return ""
}

// process is a program that a test started, may kill, and starts again.
type process struct {
	t    *testing.T
	name string
	path string
	args []string
	env  []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	err    error         // of the end; set before done is closed
	output *tail
	starts int
	last   []string // environment of the newest start
}

// newProcess prepares a program. It ends with the test, and what it said is
// shown when the test failed.
func newProcess(t *testing.T, name, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, path: path, args: args, env: env, output: &tail{}}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("---- %s, %d starts ----\n%s", name, p.starts, p.output)
		}
		if race := p.output.race(); race != "" {
			t.Errorf("%s has a data race:\n%s", name, race)
		}
	})
	return p
}

// start runs the program with more environment, if any.
func (p *process) start(env ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(append(os.Environ(), p.env...), env...)
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.err, p.last = cmd, done, nil, env
	p.starts++
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
}

// running tells whether the process lives.
func (p *process) running() bool {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// ended is closed when the running process has ended.
func (p *process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// kill is kill -9: no warning, nothing flushed.
func (p *process) kill() { p.signal(syscall.SIGKILL) }

// stop asks the process to end and fails the test when it does not obey.
func (p *process) stop() {
	p.t.Helper()
	if !p.running() {
		return
	}
	p.mu.Lock()
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	p.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("stop %s: %v", p.name, err)
	}
	select {
	case <-p.ended():
	case <-time.After(20 * time.Second):
		p.t.Errorf("%s did not stop within 20 s of SIGTERM", p.name)
		p.kill()
	}
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	if err := cmd.Process.Signal(s); err == nil || errors.Is(err, os.ErrProcessDone) {
		<-done
	}
}

// exitError is how the process ended.
func (p *process) exitError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// tail keeps the end of a program's output.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const tailSize = 256 << 10

// Write implements io.Writer.
func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.data = append(w.data, b...)
	if over := len(w.data) - tailSize; over > 0 {
		w.data = append(w.data[:0], w.data[over:]...)
	}
	return len(b), nil
}

// String returns the last lines.
func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	const shown = 24 << 10
	return string(w.data[max(0, len(w.data)-shown):])
}

// contains tells whether the kept output has s.
func (w *tail) contains(s string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.data, []byte(s))
}

func (w *tail) race() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, after, found := bytes.Cut(w.data, []byte("WARNING: DATA RACE"))
	if !found {
		return ""
	}
	return string(after[:min(len(after), 4000)])
}

// freePort asks the system for a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually waits until ok says so. What ok returns is the reason why not yet.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	eventuallyWithin(t, patience, what, ok)
}

func eventuallyWithin(t *testing.T, limit time.Duration, what string, ok func() error) {
	t.Helper()
	var err error
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = ok(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-tick.C
	}
}

// healthy asks a health page.
func healthy(url string) error {
	_, err := fetch(url)
	return err
}

// fetch reads a page; anything but 200 is an error.
func fetch(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

// run executes a program to its end and returns what it printed.
func run(t *testing.T, env []string, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(path), strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// currentUser is who runs the tests: Mosquitto wants to be told, or it gives up
// root's rights.
func currentUser(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}
