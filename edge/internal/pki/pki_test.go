package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

var quiet = slog.New(slog.DiscardHandler)

// hand is a clock that a test sets.
type hand struct {
	mu       sync.Mutex
	now      time.Time
	floor    time.Time
	unsynced bool
}

func (h *hand) Stamp() site.Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := site.Stamp{Time: h.now, Clock: event.ClockSynced}
	if h.unsynced {
		s.Clock = event.ClockUnsynced
	}
	return s
}

func (h *hand) Floor() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor
}

func (h *hand) set(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = now
}

var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newHand() *hand { return &hand{now: today, floor: today.Add(-24 * time.Hour)} }

// book takes alarms.
type book struct {
	mu     sync.Mutex
	alarms []string
}

func (b *book) alarm(_ context.Context, a event.GatewayAlarm) {
	b.mu.Lock()
	defer b.mu.Unlock()
	word := a.Alarm
	if a.Cleared {
		word += " cleared"
	}
	b.alarms = append(b.alarms, word)
}

func newAuthority(t testing.TB, cfg Config, clock Clock) *Authority {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "pki")
	}
	cfg.Gateway = "gw-1"
	if cfg.Names == nil {
		cfg.Names = []string{"gw.example", "10.0.0.1"}
	}
	return New(cfg, clock, quiet)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRequest(t testing.TB, key crypto.Signer, subject pkix.Name) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: blockRequest, Bytes: der}))
}

func parse(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	_, chain, err := open([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return chain[0]
}

// The root is made once, whoever comes first, and nobody else can read it.
func TestRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	prints := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 { // the command line and the gateway at the same moment
		wg.Go(func() {
			root, err := newAuthority(t, Config{Dir: dir}, newHand()).Root()
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			prints[Fingerprint(root)] = true
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(prints) != 1 {
		t.Errorf("%d roots were made", len(prints))
	}
	info, err := os.Stat(filepath.Join(dir, "root.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("root.pem: %v %v, want mode 0600", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	root, err := newAuthority(t, Config{Dir: dir}, newHand()).Root()
	if err != nil {
		t.Fatal(err)
	}
	if !root.IsCA || !root.MaxPathLenZero || root.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() || root.NotAfter.Before(today.AddDate(19, 0, 0)) {
		t.Errorf("root: %+v", root.Subject)
	}
}

// A damaged CA is reported and never replaced: that would lock every station out.
func TestDamagedRoot(t *testing.T) {
	tests := []struct {
		name     string
		damage   func(text string) string
		believes bool // what it has signed
	}{
		{"no PEM", func(string) string { return "\x00\x00" }, false},
		{"empty", func(string) string { return "" }, false},
		{"key cut", func(text string) string { return strings.Replace(text, "PRIVATE KEY-----\n", "PRIVATE KEY-----\nA", 1) }, true},
		{"no key", func(text string) string { return text[strings.Index(text, "-----BEGIN CERTIFICATE"):] }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			before := newAuthority(t, Config{Dir: dir}, newHand())
			key, chain, err := before.Issue("CP-1")
			if err != nil || key == "" {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "root.pem")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := tt.damage(string(text))
			if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			var alarms book
			a := newAuthority(t, Config{Dir: dir, Alarm: alarms.alarm}, newHand())
			a.keep(t.Context())
			if !slices.Contains(alarms.alarms, "site_ca") {
				t.Errorf("alarms %v", alarms.alarms)
			}
			if _, _, err := a.Issue("CP-2"); err == nil {
				t.Error("a certificate was signed")
			}
			if _, err := a.Judge([]*x509.Certificate{parse(t, chain)}); (err == nil) != tt.believes {
				t.Errorf("judged %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != damaged {
				t.Error("the damaged file was touched")
			}
			if err := os.WriteFile(path, text, 0o600); err != nil { // from a copy
				t.Fatal(err)
			}
			a.keep(t.Context())
			if !slices.Contains(alarms.alarms, "site_ca cleared") {
				t.Errorf("alarms %v", alarms.alarms)
			}
			if _, _, err := a.Issue("CP-2"); err != nil {
				t.Error(err)
			}
		})
	}
}

// The gateway's own certificates are kept over restarts, and made anew before
// they end and for other names, without a restart.
func TestOwnCertificates(t *testing.T) {
	clock := newHand()
	a := newAuthority(t, Config{}, clock)
	a.keep(t.Context())
	<-a.Ready()
	shown := a.Shown()
	if len(shown) != 2 || shown[0].PublicKeyAlgorithm != x509.ECDSA || shown[1].PublicKeyAlgorithm != x509.RSA {
		t.Fatalf("shown: %d certificates", len(shown))
	}
	root, err := a.Root()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for _, c := range shown {
		for _, name := range []string{"gw.example", "10.0.0.1"} {
			if _, err := c.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: today}); err != nil {
				t.Error(err)
			}
		}
		if c.NotAfter.Sub(c.NotBefore) > 400*24*time.Hour {
			t.Errorf("it holds for %v", c.NotAfter.Sub(c.NotBefore))
		}
	}
	same := func(b *Authority) bool { return b.Shown()[0].Equal(shown[0]) && b.Shown()[1].Equal(shown[1]) }
	again := newAuthority(t, Config{Dir: a.cfg.Dir}, clock)
	again.keep(t.Context())
	if !same(again) {
		t.Error("a restart made new certificates")
	}
	renamed := newAuthority(t, Config{Dir: a.cfg.Dir, Names: []string{"gw.example", "10.0.0.1", "new.example"}}, clock)
	renamed.keep(t.Context())
	if same(renamed) || !slices.Contains(renamed.Shown()[0].DNSNames, "new.example") {
		t.Errorf("names %v", renamed.Shown()[0].DNSNames)
	}
	clock.set(a.Shown()[0].NotAfter.Add(-31 * 24 * time.Hour))
	a.keep(t.Context())
	held := a.Shown()
	clock.set(held[0].NotAfter.Add(-29 * 24 * time.Hour))
	a.keep(t.Context())
	if a.Shown()[0].Equal(held[0]) || !a.Shown()[0].NotAfter.After(held[0].NotAfter) || !a.Shown()[1].NotAfter.After(held[1].NotAfter) {
		t.Error("not renewed 29 days before the end")
	}
	if err := os.WriteFile(filepath.Join(a.cfg.Dir, "server-ecdsa.pem"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.keep(t.Context())
	if len(a.Shown()) != 2 {
		t.Error("a damaged file was not replaced")
	}
}

// Files of the installer are read again when they change; one that is gone keeps
// the old one in use.
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(until time.Time, stamp time.Time) {
		t.Helper()
		key := newKey(t)
		template := &x509.Certificate{SerialNumber: big.NewInt(until.Unix()), Subject: pkix.Name{CommonName: "gw"}, NotBefore: today.Add(-time.Hour), NotAfter: until, DNSNames: []string{"gw"}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := bundle(key, der)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "both.pem")
		if err := write(path, text, true); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	var alarms book
	path := filepath.Join(dir, "both.pem")
	a := newAuthority(t, Config{Certificates: []KeyPair{{path, path}}, Alarm: alarms.alarm}, newHand())
	a.keep(t.Context())
	select {
	case <-a.Ready():
		t.Error("ready without a certificate")
	default:
	}
	put(today.Add(5*24*time.Hour), today)
	a.keep(t.Context())
	<-a.Ready()
	put(today.Add(90*24*time.Hour), today.Add(time.Second))
	a.keep(t.Context())
	if got := a.Shown()[0].NotAfter; !got.Equal(today.Add(90 * 24 * time.Hour)) {
		t.Errorf("shown until %v", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	a.keep(t.Context())
	if len(a.Shown()) != 1 {
		t.Error("the old certificate is not shown any more")
	}
	want := []string{"tls_certificate", "tls_certificate cleared", "tls_certificate_ends", "tls_certificate_ends cleared", "tls_certificate"}
	if !slices.Equal(alarms.alarms, want) {
		t.Errorf("alarms %v, want %v", alarms.alarms, want)
	}
}

// What is signed for a station, and what is not.
func TestSign(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Log(err) // the library refuses to make one: then it cannot be tried
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	named := func(cn string, o ...string) pkix.Name { return pkix.Name{CommonName: cn, Organization: o} }
	forged := strings.Replace(newRequest(t, newKey(t), named("CP-1", "Example Ltd")), "A", "B", 1)
	tests := []struct {
		name    string
		station event.StationID
		kind    string
		request string
		wrong   string // part of the complaint; empty: it is signed
	}{
		{"identity", "CP-1", "", newRequest(t, newKey(t), named("CP-1", "Example Ltd")), ""},
		{"serial number", "CP-1", "station", newRequest(t, newKey(t), named("SN-0815", "Example Ltd")), ""},
		{"of OCPP 2.x", "CP-1", "ChargingStationCertificate", newRequest(t, newKey(t), named("CP-1", "Example Ltd")), ""},
		{"RSA", "CP-1", "", newRequest(t, large, named("CP-1", "Example Ltd")), ""},
		{"NEW CERTIFICATE REQUEST", "CP-1", "", strings.ReplaceAll(newRequest(t, newKey(t), named("CP-1", "Example Ltd")), "CERTIFICATE REQ", "NEW CERTIFICATE REQ"), ""},
		{"configured name", "CN", "", newRequest(t, newKey(t), named("SN-1", "Example Ltd")), ""},
		{"not the configured name", "CN", "", newRequest(t, newKey(t), named("CN", "Example Ltd")), `expected the common name "SN-1"`},
		{"another station's name", "CP-1", "", newRequest(t, newKey(t), named("SN-1", "Example Ltd")), "is that of CN"},
		{"another organisation", "CP-1", "", newRequest(t, newKey(t), named("CP-1", "Else")), `expected the organisation "Example Ltd"`},
		{"no common name", "CP-1", "", newRequest(t, newKey(t), named("", "Example Ltd")), "common name"},
		{"for a car", "CP-1", "V2GCertificate", newRequest(t, newKey(t), named("CP-1", "Example Ltd")), "charging stations only"},
		{"nonsense", "CP-1", "", "nonsense", "in PEM"},
		{"a certificate", "CP-1", "", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "in PEM"},
		{"forged", "CP-1", "", forged, ""},
	}
	if small != nil {
		tests = append(tests, struct {
			name    string
			station event.StationID
			kind    string
			request string
			wrong   string
		}{"A00.FR.503 small RSA key", "CP-1", "", newRequest(t, small, named("CP-1", "Example Ltd")), "2048"})
	}
	a := newAuthority(t, Config{Organisation: "Example Ltd", CommonNames: map[event.StationID]string{"CN": "SN-1"}}, newHand())
	if err := a.trust(); err != nil {
		t.Fatal(err)
	}
	var _ site.Signer = a
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chain, err := a.Sign(t.Context(), tt.station, tt.kind, tt.request)
			if tt.name == "forged" { // not even the letters that make it so are known
				if err == nil {
					t.Error("it was signed")
				}
				return
			}
			if tt.wrong != "" {
				if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("got %v, want %q", err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			leaf := parse(t, chain)
			client, err := a.Judge([]*x509.Certificate{leaf})
			if err != nil {
				t.Fatal(err)
			}
			if client.Station != tt.station || !client.Is(tt.station, "whatever") || client.Is("CP-9", "") || leaf.IsCA {
				t.Errorf("signed %+v", client)
			}
		})
	}
	list, err := a.List()
	if err != nil || len(list) != 6 || list[0].Station == "" {
		t.Errorf("%d are listed, want 6: %v", len(list), err)
	}
}

// Whom the gateway believes, and when.
func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name     string
		now      time.Time
		floor    time.Time
		unsynced bool
		accept   bool // expired ones
		want     error
		expired  bool
	}{
		{name: "now", now: today},
		{name: "too early", now: today.AddDate(0, -1, 0), want: ErrUntrusted},
		{name: "a box without a clock", now: time.Unix(0, 0), floor: today.AddDate(-1, 0, 0), unsynced: true},
		{name: "a box without a clock, past the end for sure", now: time.Unix(0, 0), floor: today.AddDate(3, 0, 0), unsynced: true, want: ErrUntrusted},
		{name: "expired", now: today.AddDate(3, 0, 0), want: ErrUntrusted},
		{name: "A00.FR.411 expired, to be renewed", now: today.AddDate(3, 0, 0), accept: true, expired: true},
		{name: "too early, expired ones accepted", now: today.AddDate(0, -1, 0), accept: true, want: ErrUntrusted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := newHand()
			a := newAuthority(t, Config{AcceptExpired: tt.accept}, clock)
			_, chain, err := a.Issue("CP-1")
			if err != nil {
				t.Fatal(err)
			}
			if err := a.trust(); err != nil {
				t.Fatal(err)
			}
			clock.now, clock.unsynced = tt.now, tt.unsynced
			if !tt.floor.IsZero() {
				clock.floor = tt.floor
			}
			c, err := a.Judge([]*x509.Certificate{parse(t, chain)})
			if !errors.Is(err, tt.want) || c.Expired != tt.expired {
				t.Errorf("got %v, expired %v", err, c.Expired)
			}
		})
	}
	a := newAuthority(t, Config{}, newHand())
	if _, err := a.Judge(nil); !errors.Is(err, ErrUntrusted) {
		t.Errorf("none: %v", err)
	}
	a.keep(t.Context())
	if _, err := a.Judge(a.Shown()[:1]); !errors.Is(err, ErrUntrusted) {
		t.Errorf("the gateway's own: %v", err)
	}
}

// A revocation by another process is seen, however the number is written.
func TestRevoke(t *testing.T) {
	clock := newHand()
	a := newAuthority(t, Config{}, clock)
	_, chain, err := a.Issue("CP-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.trust(); err != nil {
		t.Fatal(err)
	}
	leaf := parse(t, chain)
	if _, err := a.Judge([]*x509.Certificate{leaf}); err != nil {
		t.Fatal(err)
	}
	line := newAuthority(t, Config{Dir: a.cfg.Dir}, clock)
	serial := strings.ToUpper(Serial(leaf))
	if err := line.Revoke(serial[:2]+":"+serial[2:], "stolen\nin the night"); err != nil {
		t.Fatal(err)
	}
	a.revoked.mu.Lock()
	a.revoked.looked = time.Time{} // a second has passed
	a.revoked.mu.Unlock()
	if _, err := a.Judge([]*x509.Certificate{leaf}); !errors.Is(err, ErrRevoked) {
		t.Errorf("got %v, want ErrRevoked", err)
	}
	if err := a.Revoke(serial, "again"); err != nil {
		t.Error(err)
	}
	list, err := a.List()
	if err != nil || len(list) != 1 || !strings.HasSuffix(list[0].Revoked, "stolen in the night") {
		t.Errorf("listed %+v, %v", list, err)
	}
	for _, bad := range []string{"", "0", "00:00", "xyz", "../../etc/passwd", strings.Repeat("ab", 40)} {
		if err := a.Revoke(bad, ""); err == nil {
			t.Errorf("%q was revoked", bad)
		}
	}
}

// Whom a certificate stands for.
func TestIs(t *testing.T) {
	tests := []struct {
		c    Client
		id   event.StationID
		cn   string
		want bool
	}{
		{Client{Station: "CP-1", CommonName: "SN"}, "CP-1", "", true},
		{Client{Station: "CP-1", CommonName: "CP-2"}, "CP-2", "", false},
		{Client{Station: "CP-1", CommonName: "SN"}, "CP-2", "SN", false},
		{Client{CommonName: "CP-1"}, "CP-1", "", true},
		{Client{CommonName: "SN"}, "CP-1", "SN", true},
		{Client{CommonName: "CP-1"}, "CP-1", "SN", false},
		{Client{}, "CP-1", "", false},
	}
	for _, tt := range tests {
		if got := tt.c.Is(tt.id, tt.cn); got != tt.want {
			t.Errorf("%+v is %s (%s): %v", tt.c, tt.id, tt.cn, got)
		}
	}
}

// Run keeps going until its end, and reports a fault once.
func TestRun(t *testing.T) {
	var alarms book
	synctest.Test(t, func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "nowhere.pem")
		a := newAuthority(t, Config{Certificates: []KeyPair{{missing, missing}}, Alarm: alarms.alarm}, newHand())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
		if _, err := a.certificate(&tls.ClientHelloInfo{}); err == nil {
			t.Error("something was shown")
		}
	})
	if !slices.Equal(alarms.alarms, []string{"tls_certificate"}) {
		t.Errorf("alarms %v", alarms.alarms)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	if err := write(path, []byte("1"), false); err != nil {
		t.Fatal(err)
	}
	if err := write(path, []byte("2"), false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want ErrExist", err)
	}
	if err := write(path, []byte("3"), true); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "3" {
		t.Errorf("%q, %v", text, err)
	}
}

// Whatever a station sends for signing is signed by the rules or refused.
func FuzzSign(f *testing.F) {
	key := newKey(f)
	f.Add(newRequest(f, key, pkix.Name{CommonName: "CP-1"}))
	f.Add("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n")
	f.Add("")
	a := newAuthority(f, Config{}, newHand())
	if err := a.trust(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		chain, err := a.Sign(t.Context(), "CP-1", "", text)
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Fatal(err)
			}
			return
		}
		if c, err := a.Judge([]*x509.Certificate{parse(t, chain)}); err != nil || c.Station != "CP-1" {
			t.Errorf("%q was signed: %+v, %v", text, c, err)
		}
	})
}

// FuzzSerial: what is taken for a serial number is a file name of hex digits.
func FuzzSerial(f *testing.F) {
	for _, seed := range []string{"0A:1b", "../x", "", "00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if serial, err := plainSerial(text); err == nil && (serial == "" || strings.Trim(serial, "0123456789abcdef") != "") {
			t.Errorf("%q gives %q", text, serial)
		}
	})
}
