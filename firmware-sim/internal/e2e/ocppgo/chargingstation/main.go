// Command chargingstation is an OCPP 2.0.1 charging station made with the
// library ocpp-go, which shares no code with this product: it reads and checks
// what comes and writes what goes.
//
// It is driven by JSON lines on standard input and tells what happened on
// standard output, as the station of ../../ocpprpc does.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/lorenzodonini/ocpp-go/ws"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chargingstation:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	f := flag.NewFlagSet("chargingstation", flag.ContinueOnError)
	url := f.String("url", "ws://127.0.0.1:8887/ocpp", "address of the gateway, without the identity")
	id := f.String("id", "OCPPGO-2", "identity of this charging station")
	f.String("protocol", "ocpp2.0.1", "the only one there is")
	password := f.String("password", "", "Basic auth password (security profiles 1 and 2); none without it")
	ca := f.String("ca", "", "PEM file with the certificate authority of a wss:// address")
	certificate := f.String("certificate", "", "PEM file with the station's certificate (security profile 3)")
	key := f.String("key", "", "PEM file with its key")
	if err := f.Parse(args); err != nil {
		return err
	}
	client := ws.NewClient()
	if *ca != "" {
		trust, err := authorities(*ca)
		if err != nil {
			return err
		}
		conf := &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}
		if *certificate != "" {
			own, err := tls.LoadX509KeyPair(*certificate, *key)
			if err != nil {
				return fmt.Errorf("read the station's certificate: %w", err)
			}
			conf.Certificates = []tls.Certificate{own}
		}
		client = ws.NewTLSClient(conf)
	}
	if *password != "" {
		client.SetBasicAuth(*id, *password)
	}
	s := newStation(*id, client, out)
	if err := s.link.Start(*url); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer s.link.Stop()
	s.boot("PowerUp")
	s.tell(object{"booted": "ocpp2.0.1"})
	return s.obeyLines(in)
}

// obeyLines does what the lines of in say until it ends.
func (s *station) obeyLines(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l struct {
			ID     int    `json:"id"`
			Call   string `json:"call"`
			Params object `json:"params"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("line %s: %w", lines.Bytes(), err)
		}
		result, err := s.call(l.Call, l.Params)
		if err != nil {
			s.tell(object{"id": l.ID, "error": object{"code": "none", "message": err.Error()}})
			continue
		}
		s.tell(object{"id": l.ID, "result": result})
	}
	return lines.Err()
}

func authorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read certificate authority %s: no certificate in it", path)
	}
	return pool, nil
}
