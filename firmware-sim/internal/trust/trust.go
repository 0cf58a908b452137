// Package trust does the cryptography of the OCPP 1.6 security extension for a
// charge point: certificate requests, hashes that identify certificates, chains
// and firmware signatures.
package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA384 and SHA512 identify certificates
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// Request makes a key and a certificate signing request for a charge point,
// both in PEM. The common name is its serial number, the organization the
// operator's name.
func Request(serial, organization string) (key, csr string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	subject := pkix.Name{CommonName: serial}
	if organization != "" {
		subject.Organization = []string{organization}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, private)
	if err != nil {
		return "", "", fmt.Errorf("make a certificate request: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", fmt.Errorf("encode a key: %w", err)
	}
	return encode("PRIVATE KEY", keyDER), encode("CERTIFICATE REQUEST", der), nil
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// parse reads the certificates of a text in PEM, at least one.
func parse(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return all, nil
}

// Identify returns the hashes by which OCPP names a certificate: of its issuer's
// distinguished name, of its issuer's key, and its serial number. For a root,
// which is all that a charge point is given, the issuer is itself.
func Identify(certificate string, algorithm ocpp16.HashAlgorithm) (ocpp16.CertificateHashData, error) {
	all, err := parse(certificate)
	if err != nil {
		return ocpp16.CertificateHashData{}, err
	}
	var hash crypto.Hash
	switch algorithm {
	case ocpp16.HashAlgorithmSHA256:
		hash = crypto.SHA256
	case ocpp16.HashAlgorithmSHA384:
		hash = crypto.SHA384
	case ocpp16.HashAlgorithmSHA512:
		hash = crypto.SHA512
	default:
		return ocpp16.CertificateHashData{}, fmt.Errorf("hash algorithm %q: expected SHA256, SHA384 or SHA512", algorithm)
	}
	sum := func(b []byte) string {
		h := hash.New()
		_, _ = h.Write(b) // never fails
		return hex.EncodeToString(h.Sum(nil))
	}
	c := all[0]
	issuer := c
	if len(all) > 1 {
		issuer = all[1]
	}
	// The key without the tag and length of its bit string, as in OCSP (RFC 6960).
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &info); err != nil {
		return ocpp16.CertificateHashData{}, fmt.Errorf("public key: %w", err)
	}
	return ocpp16.CertificateHashData{
		HashAlgorithm: algorithm, IssuerNameHash: sum(c.RawIssuer), IssuerKeyHash: sum(info.Key.RightAlign()), SerialNumber: c.SerialNumber.Text(16),
	}, nil
}

// Same tells whether two hashes name one certificate. Case and leading zeros of
// hex numbers do not matter.
func Same(a, b ocpp16.CertificateHashData) bool {
	number := func(s string) string { return strings.TrimLeft(strings.ToLower(s), "0") }
	return a.HashAlgorithm == b.HashAlgorithm && strings.EqualFold(a.IssuerNameHash, b.IssuerNameHash) &&
		strings.EqualFold(a.IssuerKeyHash, b.IssuerKeyHash) && number(a.SerialNumber) == number(b.SerialNumber)
}

// CheckChain tells what is wrong with a chain that was signed for a key: the
// first certificate must be for that key and valid, each signed by the next.
func CheckChain(chain, key string, now time.Time) error {
	all, err := parse(chain)
	if err != nil {
		return err
	}
	if key == "" {
		return errors.New("no certificate was asked for")
	}
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return errors.New("the key of this charge point cannot be read")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("the key of this charge point: %w", err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return errors.New("the key of this charge point cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(all[0].PublicKey) {
		return errors.New("the certificate is for another key")
	}
	for i, c := range all {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return fmt.Errorf("certificate %d is valid from %s to %s", i+1, c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
		}
		if i+1 < len(all) {
			if err := c.CheckSignatureFrom(all[i+1]); err != nil {
				return fmt.Errorf("certificate %d is not signed by the next: %w", i+1, err)
			}
		}
	}
	return nil
}

// CheckSigner tells what is wrong with the certificate that signed firmware. It
// must lead to one of roots, when there are any.
func CheckSigner(certificate string, roots []string, now time.Time) error {
	all, err := parse(certificate)
	if err != nil {
		return err
	}
	if now.Before(all[0].NotBefore) || now.After(all[0].NotAfter) {
		return fmt.Errorf("valid from %s to %s", all[0].NotBefore.Format(time.RFC3339), all[0].NotAfter.Format(time.RFC3339))
	}
	if len(roots) == 0 {
		return nil
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, root := range roots {
		options.Roots.AppendCertsFromPEM([]byte(root))
	}
	for _, c := range all[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err = all[0].Verify(options)
	return err
}

// VerifyImage checks the signature of firmware: SHA-256 with RSA (PSS or PKCS 1)
// or ECDSA, in base64.
func VerifyImage(certificate, signature string, image []byte) error {
	all, err := parse(certificate)
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(signature))
	if err != nil {
		return fmt.Errorf("signature: expected base64: %w", err)
	}
	sum := sha256.Sum256(image)
	switch key := all[0].PublicKey.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPSS(key, crypto.SHA256, sum[:], sig, nil) == nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil {
			return nil
		}
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, sum[:], sig) {
			return nil
		}
	default:
		return fmt.Errorf("a signing key of type %T: expected RSA or ECDSA", key)
	}
	return errors.New("the signature is not of this image")
}
