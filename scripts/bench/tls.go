package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// role is the environment variable that makes this program be something else:
// the load of a storm must not take the time of those that are measured, nor a
// bare server that of its clients.
const role = "CHARGEYARD_BENCH_ROLE"

// play is what this program does in a role; false: it has none.
func play() (bool, error) {
	args := strings.Fields(os.Getenv(role))
	if len(args) == 0 {
		return false, nil
	}
	switch {
	case args[0] == "bare" && len(args) == 4:
		return true, bare(args[1], args[2], args[3])
	case args[0] == "storm" && len(args) == 3:
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return true, err
		}
		return true, storming(args[1], n)
	}
	return true, fmt.Errorf("no role %q", args)
}

// bare is a TLS WebSocket server that does nothing at all.
func bare(listen, certificate, key string) error {
	upgrader := websocket.Upgrader{Subprotocols: []string{"ocpp1.6"}}
	server := &http.Server{Addr: listen, ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the client tells
		}
		defer func() { _ = c.Close() }() // nobody is left to tell
		for {
			if _, _, err := c.NextReader(); err != nil {
				return
			}
		}
	})}
	return server.ListenAndServeTLS(certificate, key)
}

// storming lets n stations connect and leave at once, until its input ends.
func storming(url string, n int) error {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = os.Stdin.Read(make([]byte, 1)) // its end is what counts
	}()
	for {
		_, failed := rush(url, "T", n, n)
		if failed > 0 {
			return fmt.Errorf("%d of %d stations could not connect", failed, n)
		}
		select {
		case <-gone:
			return nil
		default:
		}
	}
}

// rush opens n connections, so many of them at a time, closes them and tells how
// long the opening took.
func rush(url, prefix string, n, atATime int) (took time.Duration, failed int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, gate := make([]*socket, n), make(chan struct{}, atATime)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range all {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			all[i], _ = open(ctx, fmt.Sprintf("%s/%s%05d", url, prefix, i)) // nil tells
		})
	}
	wg.Wait()
	took = time.Since(began)
	for _, c := range all {
		if c == nil {
			failed++
			continue
		}
		_ = c.Close() // the measurement is over
	}
	return took, failed
}

// certificate writes a certificate for this machine and its key, and returns
// their files.
func certificate() (dir, certificate, key string, err error) {
	if dir, err = os.MkdirTemp("", "chargeyard-bench-"); err != nil {
		return "", "", "", err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", "", err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		return "", "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", "", err
	}
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	return dir, certificate, key, errors.Join(
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// startSecureGateway starts our gateway with a TLS listener beside the plain one.
func startSecureGateway(bin, certificate, key string) (s *server, secure string, err error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, "", err
	}
	s, err = startGatewayWith(bin, fmt.Sprintf(`, tls: {listen: "127.0.0.1:%d", certificates: [{certificate: %s, key: %s}]}`, ports[0], certificate, key))
	return s, fmt.Sprintf("wss://127.0.0.1:%d/ocpp", ports[0]), err
}

func (b *bench) memoryTLS() (float64, string, error) {
	dir, certificate, key, err := certificate()
	if err != nil {
		return 0, "", err
	}
	ratio, note, err := memoryOf(func() (*server, error) {
		s, secure, err := startSecureGateway(b.bin(), certificate, key)
		if err == nil {
			s.url = secure
		}
		return s, err
	}, func() (*server, error) {
		return startReferenceWith(b.bin(), "wss", "-certificate", certificate, "-key", key)
	})
	return ratio, note, errors.Join(err, os.RemoveAll(dir))
}

// other starts this program in a role.
func other(words ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), role+"="+strings.Join(words, " "))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

func (b *bench) tlsRate() (float64, string, error) {
	const stations, atATime, times = 500, 32, 5
	dir, certificate, key, err := certificate()
	if err != nil {
		return 0, "", err
	}
	ports, err := freePorts(1)
	if err != nil {
		return 0, "", err
	}
	rate := func(url string) (float64, error) {
		var all time.Duration
		for i := range times + 1 {
			took, failed := rush(url, "R", stations, atATime)
			if failed > 0 {
				return 0, fmt.Errorf("%d of %d connections to %s failed", failed, stations, url)
			}
			if i > 0 { // the first is the warm-up
				all += took
			}
		}
		return stations * times / all.Seconds(), nil
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	cmd, err := other("bare", address, certificate, key)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, "", err
	}
	var theirs, ours float64
	if err = listens(address); err == nil {
		theirs, err = rate("wss://" + address + "/ocpp")
	}
	err = errors.Join(err, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	if err != nil {
		return 0, "", err
	}
	s, secure, err := startSecureGateway(b.bin(), certificate, key)
	if err != nil {
		return 0, "", err
	}
	ours, err = rate(secure)
	return ours / theirs, fmt.Sprintf("%.0f against %.0f connections/s", ours, theirs), errors.Join(err, s.stop(), os.RemoveAll(dir))
}

func listens(address string) error {
	var err error
	for range 100 {
		var c net.Conn
		if c, err = net.Dial("tcp", address); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (b *bench) tlsStorm() (float64, string, error) {
	const stations = 500
	dir, certificate, key, err := certificate()
	if err != nil {
		return 0, "", err
	}
	s, secure, err := startSecureGateway(b.bin(), certificate, key)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &fleet{url: s.url, count: 50, prefix: "O", pace: 100 * time.Millisecond}
	all, err := f.connect(context.Background())
	defer closeAll(all)
	if err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	measure := func() (time.Duration, error) {
		ctx, cancel := context.WithTimeout(context.Background(), b.seconds)
		defer cancel()
		err := f.charge(ctx, all)
		return f.quantile(0.99), err
	}
	if _, err = measure(); err != nil { // warm up
		return 0, "", errors.Join(err, s.stop())
	}
	before, err := measure()
	if err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	cmd, err := other("storm", secure, strconv.Itoa(stations))
	if err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	end, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	// The stations of a site bring their own processors.
	err = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 19)
	during, failed := measure()
	err = errors.Join(err, failed, end.Close(), cmd.Wait(), s.stop())
	return float64(during) / float64(before), fmt.Sprintf("%v against %v", during.Round(10*time.Microsecond), before.Round(10*time.Microsecond)), err
}
