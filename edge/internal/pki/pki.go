// Package pki is the gateway's own certification authority, and its trust: which
// certificates the gateway shows to stations, which ones of theirs it believes,
// and the ones that it signs for them.
//
// Everything lives in files of one directory, each written whole or not at all:
//
//	root.pem             key and certificate of the site CA
//	server-ecdsa.pem     key and certificate of the gateway itself, and
//	server-rsa.pem       the same for stations that know RSA only
//	issued/SERIAL.pem    every certificate that was signed for a station
//	revoked/SERIAL       when and why one was revoked
//
// So the command line and the running gateway work beside each other. A key of a
// station is never kept.
package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// KeyPair names a certificate with its chain and its key, both PEM files.
type KeyPair struct {
	Certificate string
	Key         string
}

// Config is what an installer decides about certificates.
type Config struct {
	Dir           string // made on first use
	Gateway       event.GatewayID
	Names         []string  // DNS names and addresses of the gateway; none: this host's
	Certificates  []KeyPair // shown to stations instead of the site CA's
	ClientCAs     []string  // PEM files of further authorities whose stations are believed
	Organisation  string    // O of every station certificate; empty: not checked
	AcceptExpired bool      // a station may come with an expired certificate, to renew it
	CommonNames   map[event.StationID]string
	// Alarm says that something needs a person; nil: nobody is told.
	Alarm func(context.Context, event.GatewayAlarm)
}

// Clock tells by which time certificates are judged.
type Clock interface {
	Stamp() site.Stamp
	// Floor is a moment that is surely past, even when the clock is not synced.
	Floor() time.Time
}

// How long certificates hold, and how long before its end one is renewed.
const (
	rootLife    = 20 * 365 * 24 * time.Hour
	serverLife  = 397 * 24 * time.Hour
	stationLife = 2 * 365 * 24 * time.Hour
	// backdate is how far a new certificate reaches back: clocks of stations are
	// often behind.
	backdate = 48 * time.Hour
	// RenewBefore is how long before its end a certificate is to be renewed.
	RenewBefore = 30 * 24 * time.Hour
)

// Authority is the site CA with the gateway's own certificates.
type Authority struct {
	cfg   Config
	clock Clock
	log   *slog.Logger

	server  atomic.Pointer[[]tls.Certificate] // what is shown, the preferred one first
	trusted atomic.Pointer[trusted]
	revoked revocations
	ready   chan struct{} // closed once there is something to show
	opened  sync.Once

	mu    sync.Mutex // guards what follows
	root  *root      // nil until it was read or made
	files map[string]time.Time
	told  map[string]bool // alarms that are up
}

// trusted is whom stations' certificates may come from; replaced, never changed.
type trusted struct {
	all *x509.CertPool
	own *x509.Certificate // the site CA; nil while there is none
}

// New returns an Authority; it opens nothing.
func New(cfg Config, clock Clock, log *slog.Logger) *Authority {
	a := &Authority{cfg: cfg, clock: clock, log: log, ready: make(chan struct{}),
		files: map[string]time.Time{}, told: map[string]bool{}}
	a.revoked.dir = revokedDir(cfg.Dir)
	a.trusted.Store(&trusted{all: x509.NewCertPool()})
	return a
}

// Ready is closed once there is a certificate to show to stations.
func (a *Authority) Ready() <-chan struct{} { return a.ready }

// lookEvery is the pause between looks at the files: a new certificate needs no
// restart.
const lookEvery = time.Minute

// Run keeps the gateway's certificates until ctx ends: makes them, reads files
// that were replaced, renews what ends. What goes wrong is reported and tried
// again; stations that need no TLS are served meanwhile.
func (a *Authority) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		a.keep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// keep makes, reads or renews whatever needs it now.
func (a *Authority) keep(ctx context.Context) {
	a.report(ctx, alarmCA, "the site CA", a.trust())
	if len(a.cfg.Certificates) > 0 {
		a.report(ctx, alarmCertificate, "the gateway's certificate", a.loadFiles())
	} else {
		a.report(ctx, alarmCertificate, "the gateway's certificate", a.ownCertificates(ctx))
	}
	if shown := a.server.Load(); shown != nil && len(*shown) > 0 {
		a.opened.Do(func() { close(a.ready) })
		a.report(ctx, alarmExpiry, "the gateway's certificate", a.lasting(*shown))
	}
}

// Alarms of this package.
const (
	alarmCA          = "site_ca"
	alarmCertificate = "tls_certificate"
	alarmExpiry      = "tls_certificate_ends"
)

// report raises or clears an alarm, once per change.
func (a *Authority) report(ctx context.Context, alarm, what string, err error) {
	a.mu.Lock()
	was := a.told[alarm]
	a.told[alarm] = err != nil
	a.mu.Unlock()
	if was == (err != nil) {
		return
	}
	g := event.GatewayAlarm{Alarm: alarm, Severity: "critical", Text: what + " is in order again", Cleared: err == nil}
	if err != nil {
		g.Text = err.Error()
		a.log.Error("certificates", "alarm", alarm, "err", err)
	}
	if a.cfg.Alarm != nil {
		a.cfg.Alarm(ctx, g)
	}
}

// lasting complains about a certificate that ends soon: those of the site CA are
// renewed before, so it is one of the installer's files.
func (a *Authority) lasting(shown []tls.Certificate) error {
	now := a.now()
	for i := range shown {
		if until := shown[i].Leaf.NotAfter; until.Sub(now) < RenewBefore/3 {
			return fmt.Errorf("the certificate that is shown to stations (%s) ends on %s: replace its file, no restart is needed",
				shown[i].Leaf.Subject.CommonName, until.Format(time.DateOnly))
		}
	}
	return nil
}

// now is the time by which the gateway judges what it issues itself.
func (a *Authority) now() time.Time {
	now := a.clock.Stamp()
	if floor := a.clock.Floor(); now.Clock != event.ClockSynced && floor.After(now.Time) {
		return floor
	}
	return now.Time
}

// trust reads or makes the root and reads the further authorities.
func (a *Authority) trust() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &trusted{all: x509.NewCertPool()}
	var wrong []error
	if r, err := a.rootLocked(true); err != nil {
		wrong = append(wrong, err)
		if r != nil {
			t.own = r.certificate
		}
	} else {
		t.own = r.certificate
	}
	if t.own != nil {
		t.all.AddCert(t.own)
	}
	for _, path := range a.cfg.ClientCAs {
		list, err := readCertificates(path)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("client_ca_files: %w", err))
		}
		for _, c := range list {
			t.all.AddCert(c)
		}
	}
	if before := a.trusted.Load(); !before.all.Equal(t.all) {
		a.trusted.Store(t)
	}
	return errors.Join(wrong...)
}
