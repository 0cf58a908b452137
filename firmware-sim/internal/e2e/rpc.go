package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// rpcStation is a station made with a third-party library and driven by lines of
// JSON: ocpp-rpc, which checks every frame of the gateway against the published
// schemas (ocpprpc/station.mjs), or ocpp-go (ocppgo/chargingstation).
type rpcStation struct {
	t  *testing.T
	id string

	write sync.Mutex
	in    io.WriteCloser
	next  int // of our own lines; guarded by write

	mu       sync.Mutex // guards what follows
	answers  map[int]rpcAnswer
	received map[string][]json.RawMessage // what the gateway sent, by action
	said     map[string]int               // what the station said, by action
	faults   []string
	refused  []string // what the station said and the gateway answered with an error
	booted   bool
}

type rpcAnswer struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// newRPCStation starts a station made with ocpp-rpc and waits until it has
// booted.
func newRPCStation(t *testing.T, url, id, protocol string, more ...string) *rpcStation {
	t.Helper()
	exists(t, filepath.Join("ocpprpc", "node_modules", "ocpp-rpc"))
	return newStation(t, id, append([]string{program(t, "node"), exists(t, filepath.Join("ocpprpc", "station.mjs")),
		"--url", url, "--id", id, "--protocol", protocol}, more...)...)
}

// newGoStation starts a station of OCPP 2.0.1 made with ocpp-go.
func newGoStation(t *testing.T, url, id string, more ...string) *rpcStation {
	t.Helper()
	return newStation(t, id, append([]string{peer(t, "chargingstation"), "--url", url, "--id", id}, more...)...)
}

func newStation(t *testing.T, id string, command ...string) *rpcStation {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said := &tail{}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &rpcStation{t: t, id: id, in: in, answers: map[int]rpcAnswer{}, received: map[string][]json.RawMessage{}, said: map[string]int{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			s.take(lines.Bytes(), said)
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // it exits at the end of its input
		done := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-read
		_ = cmd.Wait()
		done.Stop()
		if t.Failed() {
			t.Logf("---- station %s ----\n%s", id, said)
		}
	})
	eventually(t, "the station "+id+" has booted", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.booted {
			return fmt.Errorf("%s", said)
		}
		return nil
	})
	return s
}

// take reads one line of the station's.
func (s *rpcStation) take(line []byte, said io.Writer) {
	_, _ = fmt.Fprintf(said, "%s\n", line)
	var l struct {
		rpcAnswer
		ID       int             `json:"id"`
		Booted   string          `json:"booted"`
		Received string          `json:"received"`
		Params   json.RawMessage `json:"params"`
		Said     string          `json:"said"`
		Fault    string          `json:"fault"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		s.t.Errorf("the station said %s: %v", line, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l.ID > 0:
		s.answers[l.ID] = l.rpcAnswer
	case l.Booted != "":
		s.booted = true
	case l.Received != "":
		s.received[l.Received] = append(s.received[l.Received], l.Params)
	case l.Fault != "":
		s.faults = append(s.faults, string(line))
	case l.Said != "":
		s.said[l.Said]++
		if l.Error != nil {
			s.refused = append(s.refused, string(line))
		}
	}
}

// call lets the station say something and returns the gateway's answer.
func (s *rpcStation) call(action string, params any) json.RawMessage {
	s.t.Helper()
	a := s.order(map[string]any{"call": action, "params": params})
	s.mu.Lock()
	s.said[action]++
	s.mu.Unlock()
	if a.Error != nil {
		s.t.Errorf("%s was answered with %s: %s", action, a.Error.Code, a.Error.Message)
	}
	return a.Result
}

func (s *rpcStation) order(line map[string]any) rpcAnswer {
	s.t.Helper()
	s.write.Lock()
	s.next++
	id := s.next
	line["id"] = id
	b, err := json.Marshal(line)
	if err == nil {
		_, err = s.in.Write(append(b, '\n'))
	}
	s.write.Unlock()
	if err != nil {
		s.t.Fatal(err)
	}
	var a rpcAnswer
	eventually(s.t, "the station has done it", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		var ok bool
		if a, ok = s.answers[id]; !ok {
			return fmt.Errorf("no answer to %s", b)
		}
		return nil
	})
	return a
}

// leave marks a message that this station cannot say.
func (s *rpcStation) leave(action string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[action]++
}

// every fails the test for an action that should have gone over this connection
// and did not.
func (s *rpcStation) every(action string, byStation, byCSMS bool) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if byCSMS && len(s.received[action]) == 0 {
		s.t.Errorf("the gateway never sent %s", action)
	}
	if byStation && s.said[action] == 0 {
		s.t.Errorf("the station never said %s", action)
	}
}

// check fails the test for every fault that the station found.
func (s *rpcStation) check() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		s.t.Errorf("fault: %s", f)
	}
	for _, r := range s.refused {
		s.t.Errorf("refused: %s", r)
	}
}
