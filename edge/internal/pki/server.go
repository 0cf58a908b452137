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
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// suites are the cipher suites of TLS 1.2 that are offered: what OCPP wants
// (ECDHE_ECDSA and RSA key exchange, both with AES-GCM), and ECDHE_RSA beside
// them. The library has had no RSA key exchange among its defaults since Go 1.22:
// it has to be named. OCPP 2.0.1 A00.FR.318, 1.6 security whitepaper A00.FR.317.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
}

// TLS returns how to speak TLS with stations, once Ready. Where ask is set, a
// station is asked for its certificate and may have none; whoever shows one is
// judged by Judge, which knows more than the handshake does. Tickets are on:
// stations that come back make no new key exchange with certificates.
func (a *Authority) TLS(ask bool) *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   suites,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: a.certificate,
		Time:           a.now,
	}
	if ask {
		c.ClientAuth = tls.RequestClientCert
	}
	return c
}

// certificate returns the first certificate that the station can use: the ECDSA
// one costs a twentieth of the RSA one.
func (a *Authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	shown := a.server.Load()
	if shown == nil || len(*shown) == 0 {
		return nil, errors.New("there is no certificate to show yet")
	}
	for i := range *shown {
		if hello.SupportsCertificate(&(*shown)[i]) == nil {
			return &(*shown)[i], nil
		}
	}
	return &(*shown)[0], nil // the handshake then says what is missing
}

// loadFiles reads the installer's certificates where a file has changed.
func (a *Authority) loadFiles() error {
	changed := a.server.Load() == nil
	for _, pair := range a.cfg.Certificates {
		for _, path := range []string{pair.Certificate, pair.Key} {
			info, err := os.Stat(path)
			if err != nil {
				return fmt.Errorf("ocpp.tls.certificates: %w", err)
			}
			if !a.files[path].Equal(info.ModTime()) {
				changed = true
			}
			a.files[path] = info.ModTime()
		}
	}
	if !changed {
		return nil
	}
	var shown []tls.Certificate
	for _, pair := range a.cfg.Certificates {
		c, err := loadPair(pair)
		if err != nil {
			clear(a.files) // it is looked at again
			return err
		}
		shown = append(shown, c)
	}
	slices.SortStableFunc(shown, func(x, y tls.Certificate) int { return keyCost(x.Leaf) - keyCost(y.Leaf) })
	a.server.Store(&shown)
	a.log.Info("certificates read", "count", len(shown), "until", shown[0].Leaf.NotAfter.Format(time.DateOnly))
	return nil
}

// keyCost orders certificates by the work of a handshake.
func keyCost(c *x509.Certificate) int {
	if c.PublicKeyAlgorithm == x509.RSA {
		return 1
	}
	return 0
}

func loadPair(pair KeyPair) (tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return c, fmt.Errorf("ocpp.tls.certificates: %s with %s: %w", pair.Certificate, pair.Key, err)
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return c, fmt.Errorf("ocpp.tls.certificates: %s: %w", pair.Certificate, err)
		}
	}
	return c, nil
}

// CheckPair tells what is wrong with the files of a certificate and its key.
func CheckPair(pair KeyPair) error {
	_, err := loadPair(pair)
	return err
}

// rsaBits is the size of the gateway's RSA key: what OCPP asks for at least.
const rsaBits = 2048

// ownCertificates makes, reads and renews the certificates of the site CA for the
// gateway itself. The ECDSA one comes first: the key of the other one takes a
// small box seconds, and stations that need it are few.
func (a *Authority) ownCertificates(ctx context.Context) error {
	names := a.names()
	var shown []tls.Certificate
	for _, kind := range []struct {
		file string
		make func() (crypto.Signer, error)
	}{
		{"server-ecdsa.pem", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
		{"server-rsa.pem", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }},
	} {
		if ctx.Err() != nil {
			return nil
		}
		c, err := a.own(filepath.Join(a.cfg.Dir, kind.file), names, kind.make)
		if err != nil {
			return err
		}
		shown = append(shown, c)
		if before := a.server.Load(); before == nil || len(*before) <= len(shown) {
			both := slices.Clone(shown)
			a.server.Store(&both)
			a.opened.Do(func() { close(a.ready) })
		}
	}
	return nil
}

// names are the DNS names and addresses by which stations know the gateway.
func (a *Authority) names() []string {
	if len(a.cfg.Names) > 0 {
		return a.cfg.Names
	}
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "" {
		host = strings.ToLower(host)
		names = append(names, host)
		if !strings.Contains(host, ".") {
			names = append(names, host+".local")
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return names
	}
	var ips []string
	for _, address := range addresses {
		if ip, ok := address.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
			ips = append(ips, ip.IP.String())
		}
	}
	slices.Sort(ips)
	return append(names, ips...)
}

// own returns the certificate in a file if it will do: of this CA, for these
// names, and not about to end. Otherwise it makes a new one with a new key.
func (a *Authority) own(path string, names []string, newKey func() (crypto.Signer, error)) (tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.rootLocked(true)
	if r == nil {
		return tls.Certificate{}, err
	}
	text, readErr := os.ReadFile(path)
	if readErr == nil {
		key, chain, openErr := open(text)
		if openErr == nil && key != nil && samePublic(key, chain[0]) && a.willDo(chain[0], r, names) {
			return tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key, Leaf: chain[0]}, nil
		}
	} else if !errors.Is(readErr, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("read the gateway's certificate: %w", readErr)
	}
	if err != nil { // the root's key is not there
		return tls.Certificate{}, err
	}
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	now := a.now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if _, ok := key.(*rsa.PrivateKey); ok {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment // the key exchange with RSA
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, leaf, err := r.sign(template, key.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	if text, err = bundle(key, der); err == nil {
		err = write(path, text, true)
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keep the gateway's certificate: %w", err)
	}
	a.log.Info("certificate made", "file", path, "names", strings.Join(names, " "), "until", leaf.NotAfter.Format(time.DateOnly))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// willDo tells whether a certificate of the gateway can still be shown.
func (a *Authority) willDo(c *x509.Certificate, r *root, names []string) bool {
	if c.NotAfter.Sub(a.now()) < RenewBefore || c.CheckSignatureFrom(r.certificate) != nil {
		return false
	}
	var has []string
	has = append(has, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		has = append(has, ip.String())
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			name = ip.String()
		}
		if !slices.Contains(has, name) {
			return false
		}
	}
	return true
}

// sign completes template with a serial number and signs it.
func (r *root) sign(template *x509.Certificate, public crypto.PublicKey) (der []byte, leaf *x509.Certificate, err error) {
	if template.SerialNumber, err = newSerial(); err != nil {
		return nil, nil, err
	}
	if template.NotAfter.After(r.certificate.NotAfter) {
		template.NotAfter = r.certificate.NotAfter
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, r.certificate, public, r.key); err != nil {
		return nil, nil, fmt.Errorf("sign a certificate: %w", err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return der, leaf, nil
}

// Shown returns the certificates that stations are shown now.
func (a *Authority) Shown() []*x509.Certificate {
	shown := a.server.Load()
	if shown == nil {
		return nil
	}
	list := make([]*x509.Certificate, len(*shown))
	for i := range *shown {
		list[i] = (*shown)[i].Leaf
	}
	return list
}
