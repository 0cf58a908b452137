package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
)

// root is the site CA.
type root struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func (a *Authority) rootPath() string { return filepath.Join(a.cfg.Dir, "root.pem") }

// rootLocked returns the site CA, read on first use, and made where there is none
// and create says so. A file that cannot be read is never replaced: a new CA
// would lock out every station that trusts the old one. A root whose key alone is
// damaged is returned with the error: what it has signed is still believed. It
// needs a.mu.
func (a *Authority) rootLocked(create bool) (*root, error) {
	if a.root != nil {
		return a.root, nil
	}
	text, err := os.ReadFile(a.rootPath())
	if errors.Is(err, fs.ErrNotExist) && create {
		if text, err = a.newRoot(); err != nil {
			return nil, fmt.Errorf("make the site CA: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the site CA: %w", err)
	}
	key, chain, err := open(text)
	switch {
	case err != nil && len(chain) == 0, err == nil && !chain[0].IsCA:
		return nil, fmt.Errorf("the site CA in %s cannot be read: put the file back from a copy, or remove it to begin anew, "+
			"and give every station the new root and a new certificate", a.rootPath())
	case err != nil, key == nil, !samePublic(key, chain[0]):
		return &root{certificate: chain[0]}, fmt.Errorf("the key of the site CA in %s cannot be read: "+
			"stations with its certificates are let in, no new ones are signed; put the file back from a copy", a.rootPath())
	}
	a.root = &root{certificate: chain[0], key: key}
	return a.root, nil
}

func samePublic(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// newRoot makes the site CA and returns its file, or that of whoever was quicker.
func (a *Authority) newRoot() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	subject := pkix.Name{CommonName: "Chargeyard site CA " + string(a.cfg.Gateway)}
	if a.cfg.Organisation != "" {
		subject.Organization = []string{a.cfg.Organisation}
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: now.Add(-backdate), NotAfter: now.Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	text, err := bundle(key, der)
	if err != nil {
		return nil, err
	}
	err = write(a.rootPath(), text, false)
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(a.rootPath())
	}
	if err == nil {
		a.log.Info("site CA made", "file", a.rootPath())
	}
	return text, err
}

// newSerial returns 127 random bits, positive as RFC 5280 §4.1.2.2 wants it.
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // of one length always
	return new(big.Int).SetBytes(b), nil
}

// Serial is a serial number as it is written everywhere: hex, in lower case.
func Serial(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }

// plainSerial brings a serial number that a person or a station wrote into that
// form.
func plainSerial(text string) (string, error) {
	text = strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(strings.TrimSpace(text)))
	if len(text)%2 == 1 {
		text = "0" + text
	}
	b, err := hex.DecodeString(text)
	b = new(big.Int).SetBytes(b).Bytes()
	if err != nil || len(b) == 0 || len(b) > 32 {
		return "", fmt.Errorf("expected a serial number in hex, got %q", text)
	}
	return hex.EncodeToString(b), nil
}

// Root returns the certificate of the site CA, made on first use.
func (a *Authority) Root() (*x509.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.rootLocked(true)
	if r == nil {
		return nil, err
	}
	return r.certificate, nil
}

// PEM is a certificate as text.
func PEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: c.Raw}))
}

// Fingerprint is the SHA-256 of a certificate in pairs of hex digits.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}
