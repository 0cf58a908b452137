package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is the program under test: the gateway, or the reference.
type server struct {
	cmd  *exec.Cmd
	url  string // where chargers connect to
	dir  string
	far  *far // nil for the reference
	done chan error
}

// startGateway runs bin/chargeyard-edge with a far end that acknowledges.
func startGateway(bin string) (*server, error) { return startGatewayWith(bin, "") }

// startGatewayWith adds to what stands under ocpp.
func startGatewayWith(bin, ocpp string) (*server, error) {
	dir, err := os.MkdirTemp("", "chargeyard-bench-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	broker := "127.0.0.1:" + strconv.Itoa(ports[2])
	f, err := newFar(broker)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "edge.yaml")
	text := fmt.Sprintf(`gateway: bench
data_dir: %s
mqtt: {url: "mqtt://%s", password: bench}
ocpp: {listen: "127.0.0.1:%d", unknown_stations: accept, unknown_limit: 10000%s}
console: {listen: "127.0.0.1:%d"}
authorization: {offline: all}
`, filepath.Join(dir, "data"), broker, ports[0], ocpp, ports[1])
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &server{url: fmt.Sprintf("ws://127.0.0.1:%d/ocpp", ports[0]), dir: dir, far: f}
	return s, s.start(ports[0], filepath.Join(bin, "chargeyard-edge"), "run", "--config", conf)
}

// startReference runs the minimal server on ocpp-go that keeps nothing.
func startReference(bin string) (*server, error) { return startReferenceWith(bin, "ws") }

func startReferenceWith(bin, scheme string, args ...string) (*server, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	s := &server{url: fmt.Sprintf("%s://127.0.0.1:%d/ocpp", scheme, ports[0])}
	return s, s.start(ports[0], filepath.Join(bin, "ref", "reference"), append(args, "-listen", ":"+strconv.Itoa(ports[0]))...)
}

func (s *server) start(port int, path string, args ...string) error {
	s.cmd = exec.Command(path, args...)
	if os.Getenv("BENCH_LOG") != "" {
		s.cmd.Stderr = os.Stderr
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w (make host ref builds it)", path, err)
	}
	s.done = make(chan error, 1)
	go func() { s.done <- s.cmd.Wait() }()
	for end := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return c.Close()
		}
		select {
		case err := <-s.done:
			return fmt.Errorf("%s ended: %w", path, err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("%s does not listen", path), err, s.stop())
		}
	}
}

// stop kills the program and removes what it wrote.
func (s *server) stop() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	var err error
	if s.far != nil {
		err = s.far.stop()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// cpu is the processor time that the program has used.
func (s *server) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("cannot read %q", raw)
	}
	user, err := strconv.Atoi(f[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(f[12])
	return time.Duration(user+system) * (time.Second / 100), err // USER_HZ is 100 on Linux
}

// rss is the program's resident memory in KiB.
func (s *server) rss() (int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(raw), "VmRSS:")
	f := strings.Fields(rest)
	if !ok || len(f) == 0 {
		return 0, errors.New("no VmRSS")
	}
	return strconv.Atoi(f[0])
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // only the number is wanted
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
