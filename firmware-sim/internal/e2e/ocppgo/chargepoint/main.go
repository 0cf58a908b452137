// Command chargepoint is an OCPP 1.6 charge point made with the library
// ocpp-go, which shares no code with this product.
//
// It boots, lives through one charging session and obeys commands. Every
// message goes to standard output as one JSON line together with its answer,
// so that a test can compare what was said with what became of it.
//
// It exits with 0 when everything was answered, 1 when an answer was an error
// or did not come within 30 s, 2 when a flag is wrong, 3 when the token was
// refused.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ws"
)

// options are the flags of one run.
type options struct {
	url        string
	id         string
	password   string
	caFile     string
	certFile   string
	keyFile    string
	vendor     string
	model      string
	connectors int
	connector  int
	tag        string
	meterStart int // Wh
	energy     int // Wh
	samples    int
	interval   time.Duration
	reason     core.Reason
	start      string
	stop       string
	linger     time.Duration
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var reason string
	f := flag.NewFlagSet("chargepoint", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.url, "url", "ws://127.0.0.1:8887/ocpp", "address of the gateway, without the identity")
	f.StringVar(&o.id, "id", "OCPPGO-1", "identity of this charge point")
	f.StringVar(&o.password, "password", "", "Basic auth password (security profile 1); none without it")
	f.StringVar(&o.caFile, "ca", "", "PEM file with the certificate authority of a wss:// address")
	f.StringVar(&o.certFile, "certificate", "", "PEM file with the charge point's certificate (security profile 3)")
	f.StringVar(&o.keyFile, "key", "", "PEM file with its key")
	f.StringVar(&o.vendor, "vendor", "ocpp-go", "chargePointVendor")
	f.StringVar(&o.model, "model", "v0.19.0", "chargePointModel")
	f.IntVar(&o.connectors, "connectors", 2, "number of connectors")
	f.IntVar(&o.connector, "connector", 1, "connector of the local session")
	f.StringVar(&o.tag, "tag", "04A1B2C3D4", "idTag of the local session")
	f.IntVar(&o.meterStart, "meter-start", 1000, "energy register before the session, in Wh")
	f.IntVar(&o.energy, "energy", 5000, "energy delivered over all samples, in Wh")
	f.IntVar(&o.samples, "samples", 5, "periodic meter values of a session")
	f.DurationVar(&o.interval, "interval", 200*time.Millisecond, "time between two meter values")
	f.StringVar(&reason, "reason", string(core.ReasonLocal), "reason of a local stop")
	f.StringVar(&o.start, "start", "local", "how the session begins: local, remote, or none for no session")
	f.StringVar(&o.stop, "stop", "local", "how it ends: local, or remote for waiting until the gateway stops it")
	f.DurationVar(&o.linger, "linger", 0, "stay connected for so long after the session")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	o.reason = core.Reason(reason)
	switch {
	case f.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.connectors < 1 || o.connector < 1 || o.connector > o.connectors:
		return options{}, fmt.Errorf("connector %d of %d: want one from 1 to the number of connectors", o.connector, o.connectors)
	case o.samples < 1:
		return options{}, fmt.Errorf("%d samples: want at least 1", o.samples)
	case o.interval <= 0:
		return options{}, fmt.Errorf("interval %v: want more than 0", o.interval)
	case o.start != "local" && o.start != "remote" && o.start != "none":
		return options{}, fmt.Errorf("start %q: want local, remote or none", o.start)
	case o.stop != "local" && o.stop != "remote":
		return options{}, fmt.Errorf("stop %q: want local or remote", o.stop)
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "chargepoint:", err)
		return 2
	}
	err = newCharger(o, stdout).run(ctx)
	if errors.Is(err, errRefused) {
		fmt.Fprintln(stderr, "chargepoint:", err)
		return 3
	}
	if err != nil {
		fmt.Fprintln(stderr, "chargepoint:", err)
		return 1
	}
	return 0
}

// socket makes the library's client for one connection.
func (o options) socket() (*ws.Client, error) {
	client := ws.NewClient()
	if o.caFile != "" {
		pem, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate authority: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificate authority %s: no certificate in it", o.caFile)
		}
		conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		if o.certFile != "" {
			own, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
			if err != nil {
				return nil, fmt.Errorf("read the charge point's certificate: %w", err)
			}
			conf.Certificates = []tls.Certificate{own}
		}
		client = ws.NewTLSClient(conf)
	}
	if o.password != "" {
		client.SetBasicAuth(o.id, o.password)
	}
	timeouts := ws.NewClientTimeoutConfig()
	timeouts.RetryBackOffWaitMinimum = 500 * time.Millisecond
	timeouts.RetryBackOffRandomRange = 0
	timeouts.RetryBackOffRepeatTimes = 2 // doubles twice, then stays at 2 s
	client.SetTimeoutConfig(timeouts)
	return client, nil
}
