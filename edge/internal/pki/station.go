package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Errors of this package that a caller may tell apart.
var (
	// ErrRequest says that a certificate request cannot be signed as it is.
	ErrRequest = errors.New("certificate request refused")
	// ErrRevoked says that a certificate was revoked.
	ErrRevoked = errors.New("certificate is revoked")
	// ErrUntrusted says that a certificate is not to be believed.
	ErrUntrusted = errors.New("certificate is not trusted")
)

// urn opens the name under which the site CA binds a certificate to a station: the
// common name is the serial number of the device, and not always its identity.
const urn = "urn:chargeyard:station:"

// Client is what a station's certificate, once believed, says.
type Client struct {
	Serial     string // in hex
	Station    event.StationID
	CommonName string
	NotAfter   time.Time
	Expired    bool // let in all the same, to renew it
}

// Is tells whether the certificate is that of a station: the site CA wrote its
// identity into it; with other authorities the common name has to be the one that
// is configured, or the identity.
func (c *Client) Is(id event.StationID, commonName string) bool {
	if c.Station != "" {
		return c.Station == id
	}
	if commonName != "" {
		return c.CommonName == commonName
	}
	return c.CommonName == string(id)
}

// Judge tells whether a station's certificate is to be believed, and what it says.
// chain is what the station sent, its own first. The error wraps ErrRevoked or
// ErrUntrusted. On a box whose clock nobody set, a certificate is judged at the
// later of the floor and its own beginning.
func (a *Authority) Judge(chain []*x509.Certificate) (Client, error) {
	if len(chain) == 0 {
		return Client{}, fmt.Errorf("%w: expected one, got none", ErrUntrusted)
	}
	leaf := chain[0]
	c := Client{Serial: Serial(leaf), CommonName: leaf.Subject.CommonName, NotAfter: leaf.NotAfter}
	if a.Revoked(c.Serial) {
		return c, fmt.Errorf("%w: serial number %s", ErrRevoked, c.Serial)
	}
	t := a.trusted.Load()
	now := a.clock.Stamp()
	at := now.Time
	if now.Clock != event.ClockSynced {
		at = a.clock.Floor()
		for _, link := range chain {
			if link.NotBefore.After(at) {
				at = link.NotBefore
			}
		}
	}
	between := x509.NewCertPool()
	for _, link := range chain[1:] {
		between.AddCert(link)
	}
	options := x509.VerifyOptions{Roots: t.all, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	chains, err := leaf.Verify(options)
	if invalid := (x509.CertificateInvalidError{}); a.cfg.AcceptExpired && errors.As(err, &invalid) && invalid.Reason == x509.Expired && at.After(leaf.NotAfter) {
		c.Expired = true
		options.CurrentTime = leaf.NotAfter
		chains, err = leaf.Verify(options)
	}
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	for _, links := range chains {
		for _, link := range links[1:] {
			if a.Revoked(Serial(link)) {
				return c, fmt.Errorf("%w: serial number %s, of its issuer", ErrRevoked, Serial(link))
			}
		}
	}
	if want := a.cfg.Organisation; want != "" && !slices.Contains(leaf.Subject.Organization, want) { // OCPP 2.0.1 A00.FR.403
		return c, fmt.Errorf("%w: expected the organisation %q, got %q", ErrUntrusted, want, strings.Join(leaf.Subject.Organization, ", "))
	}
	if t.own != nil && chains[0][len(chains[0])-1].Equal(t.own) {
		if c.Station = boundTo(leaf); c.Station == "" {
			return c, fmt.Errorf("%w: it is not a station's", ErrUntrusted)
		}
	}
	return c, nil
}

// boundTo returns the station that the site CA wrote into a certificate.
func boundTo(c *x509.Certificate) event.StationID {
	for _, u := range c.URIs {
		if name, ok := strings.CutPrefix(u.String(), urn); ok {
			if id, err := url.PathUnescape(name); err == nil {
				return event.StationID(id)
			}
		}
	}
	return ""
}

// kinds are the words for certificates that prove a station to the gateway; the
// other ones are for the car, and another authority signs them.
var kinds = []string{"", "station", "ChargingStationCertificate"}

// Sign signs the certificate request of a station and returns the chain that it
// is to install, without the root. It implements site.Signer. The error wraps
// ErrRequest where the request is at fault.
func (a *Authority) Sign(_ context.Context, station event.StationID, kind, request string) (string, error) {
	if !slices.Contains(kinds, kind) {
		return "", fmt.Errorf("%w: the site CA signs certificates of charging stations only, got %q", ErrRequest, kind)
	}
	csr, err := a.request(station, request)
	if err != nil {
		return "", err
	}
	leaf, err := a.issue(station, csr.Subject, csr.PublicKey, stationLife)
	if err != nil {
		return "", err
	}
	return PEM(leaf), nil
}

// request reads a certificate request and checks it against the policy.
func (a *Authority) request(station event.StationID, text string) (*x509.CertificateRequest, error) {
	refuse := func(format string, args ...any) (*x509.CertificateRequest, error) {
		return nil, fmt.Errorf("%w: %s", ErrRequest, fmt.Sprintf(format, args...))
	}
	der := []byte(text)
	if block, _ := pem.Decode(der); block != nil {
		if !strings.HasSuffix(block.Type, blockRequest) { // some say NEW CERTIFICATE REQUEST
			return refuse("expected a certificate request in PEM, got %q", block.Type)
		}
		der = block.Bytes
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return refuse("expected a certificate request in PEM: %v", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return refuse("its signature does not match its key: %v", err)
	}
	switch key := csr.PublicKey.(type) { // OCPP 2.0.1 A00.FR.502, A00.FR.503
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 224 {
			return refuse("expected an ECDSA key of at least 224 bits, got %d", key.Curve.Params().BitSize)
		}
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 || key.N.BitLen() > 8192 {
			return refuse("expected an RSA key of 2048 to 8192 bits, got %d", key.N.BitLen())
		}
	default:
		return refuse("expected an ECDSA or RSA key, got %v", csr.PublicKeyAlgorithm)
	}
	name := csr.Subject.CommonName
	if name == "" || len(name) > 64 {
		return refuse("expected a common name of 1 to 64 characters, got %q", name)
	}
	if want := a.cfg.CommonNames[station]; want != "" && name != want {
		return refuse("expected the common name %q, got %q", want, name)
	}
	for other, cn := range a.cfg.CommonNames {
		if other != station && cn == name {
			return refuse("the common name %q is that of %s", name, other)
		}
	}
	if want := a.cfg.Organisation; want != "" && !slices.Contains(csr.Subject.Organization, want) {
		return refuse("expected the organisation %q, got %q", want, strings.Join(csr.Subject.Organization, ", "))
	}
	return csr, nil
}

// Issue makes a key and a certificate for a station whose installer carries both
// there, and returns them as PEM. The key is kept nowhere.
func (a *Authority) Issue(station event.StationID) (key, chain string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	name := a.cfg.CommonNames[station]
	if name == "" {
		name = string(station)
	}
	if len(name) > 64 {
		return "", "", fmt.Errorf("expected a common name of at most 64 characters (RFC 5280), got %q: set certificate_cn", name)
	}
	leaf, err := a.issue(station, pkix.Name{CommonName: name}, private.Public(), stationLife)
	if err != nil {
		return "", "", err
	}
	text, err := bundle(private)
	return string(text), PEM(leaf), err
}

// issue signs a certificate of a station and keeps it before anybody gets it.
func (a *Authority) issue(station event.StationID, asked pkix.Name, public crypto.PublicKey, life time.Duration) (*x509.Certificate, error) {
	a.mu.Lock()
	r, err := a.rootLocked(true)
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	now := a.now()
	subject := pkix.Name{CommonName: asked.CommonName, Organization: asked.Organization}
	if a.cfg.Organisation != "" {
		subject.Organization = []string{a.cfg.Organisation}
	}
	usage := x509.KeyUsageDigitalSignature
	if _, ok := public.(*rsa.PublicKey); ok {
		usage |= x509.KeyUsageKeyEncipherment
	}
	der, leaf, err := r.sign(&x509.Certificate{
		Subject: subject, NotBefore: now.Add(-backdate), NotAfter: now.Add(life), KeyUsage: usage,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "urn", Opaque: strings.TrimPrefix(urn, "urn:") + url.PathEscape(string(station))}},
	}, public)
	if err != nil {
		return nil, err
	}
	text, err := bundle(nil, der)
	if err == nil {
		err = write(filepath.Join(a.cfg.Dir, "issued", Serial(leaf)+".pem"), text, true)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the certificate: %w", err)
	}
	a.log.Info("certificate signed", "station", string(station), "serial", Serial(leaf), "until", leaf.NotAfter.Format(time.DateOnly))
	return leaf, nil
}

// Issued is a certificate that was signed for a station.
type Issued struct {
	Serial     string
	Station    event.StationID
	CommonName string
	NotBefore  time.Time
	NotAfter   time.Time
	Revoked    string // when and why; empty: it is not
}

// List returns every certificate that was signed for a station, oldest first.
func (a *Authority) List() ([]Issued, error) {
	dir := filepath.Join(a.cfg.Dir, "issued")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	var list []Issued
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".pem" || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		chain, err := readCertificates(filepath.Join(dir, entry.Name()))
		if err != nil {
			a.log.Warn("certificate of a station cannot be read", "file", entry.Name(), "err", err)
			continue
		}
		c := chain[0]
		i := Issued{Serial: Serial(c), Station: boundTo(c), CommonName: c.Subject.CommonName, NotBefore: c.NotBefore, NotAfter: c.NotAfter}
		if why, err := os.ReadFile(filepath.Join(revokedDir(a.cfg.Dir), i.Serial)); err == nil {
			i.Revoked = strings.TrimSpace(string(why))
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(x, y Issued) int { return x.NotBefore.Compare(y.NotBefore) })
	return list, nil
}

func revokedDir(dir string) string { return filepath.Join(dir, "revoked") }

// Revoke makes sure that a certificate is not believed any more. The serial number
// may be of another authority's. Revoking again changes nothing.
func (a *Authority) Revoke(serial, reason string) error {
	serial, err := plainSerial(serial)
	if err != nil {
		return err
	}
	text := a.now().UTC().Format(time.RFC3339)
	if reason = strings.Join(strings.Fields(reason), " "); reason != "" {
		text += " " + reason
	}
	err = write(filepath.Join(revokedDir(a.cfg.Dir), serial), []byte(text+"\n"), false)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("revoke %s: %w", serial, err)
	}
	a.revoked.forget()
	return nil
}

// Revoked tells whether a certificate was revoked, by this process or another one
// a second ago.
func (a *Authority) Revoked(serial string) bool { return a.revoked.has(serial) }

// revocations is the directory of revoked serial numbers in memory.
type revocations struct {
	dir string

	mu      sync.Mutex // guards what follows; held while the directory is read, at most once a second
	looked  time.Time
	changed time.Time // of the directory
	serials map[string]bool
}

func (r *revocations) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked, r.changed = time.Time{}, time.Time{}
}

func (r *revocations) has(serial string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.looked) >= time.Second {
		r.looked = now
		r.read()
	}
	return r.serials[serial]
}

// read reads the directory if it has changed. One that cannot be read leaves what
// was known.
func (r *revocations) read() {
	info, err := os.Stat(r.dir)
	if err != nil || info.ModTime().Equal(r.changed) && time.Since(r.changed) > 5*time.Second {
		return
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return
	}
	serials := make(map[string]bool, len(entries))
	for _, entry := range entries {
		serials[entry.Name()] = true
	}
	r.serials, r.changed = serials, info.ModTime()
}
