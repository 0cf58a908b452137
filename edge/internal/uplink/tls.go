package uplink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// TrustClock tells by which time certificates are judged; package clock provides it.
type TrustClock interface {
	Stamp() site.Stamp
	// Floor is a moment that is surely past, even when the clock is not synced.
	Floor() time.Time
}

// tlsConfig pins the authorities in caFile (the system's when it is empty) and
// judges validity by clock instead of the system's time, which may be 1970. The
// file is read at each connection: a new one needs no restart, a missing one
// does not keep the gateway from serving its chargers.
func tlsConfig(host, caFile string, clock TrustClock) (*tls.Config, error) {
	var roots *x509.CertPool // nil: the system's
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("mqtt.ca_file: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("mqtt.ca_file %s: expected PEM certificates, found none", caFile)
		}
	}
	return &tls.Config{
		ServerName: host,
		MinVersion: tls.VersionTLS12,
		// The library would judge by one time for every certificate:
		// VerifyConnection does the same work with a time of its own.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verify(state.PeerCertificates, host, roots, clock)
		},
	}, nil
}

// verify checks the chain of a broker for host. With a pinned authority and a
// clock that nobody set, a certificate is judged at the later of the floor and
// its own beginning: a box straight from the shelf must reach its manager.
func verify(chain []*x509.Certificate, host string, roots *x509.CertPool, clock TrustClock) error {
	if len(chain) == 0 {
		return errors.New("expected a certificate of the broker, got none")
	}
	now := clock.Stamp()
	at := now.Time
	if now.Clock != event.ClockSynced && roots != nil {
		at = clock.Floor()
		for _, c := range chain {
			if c.NotBefore.After(at) {
				at = c.NotBefore
			}
		}
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: at})
	return err
}
