package job

import (
	"crypto"
	_ "crypto/sha256" // the hashes that name certificates
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// ParseCertificate reads one certificate in PEM.
func ParseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("expected a certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// SameCertificate tells whether two hashes name the same certificate: hex digits
// without regard to case and leading zeros.
func SameCertificate(a, b event.CertificateHash) bool {
	return strings.EqualFold(a.Algorithm, b.Algorithm) && strings.EqualFold(a.IssuerNameHash, b.IssuerNameHash) &&
		strings.EqualFold(a.IssuerKeyHash, b.IssuerKeyHash) && plainSerial(a.Serial) == plainSerial(b.Serial)
}

func plainSerial(s string) string { return strings.TrimLeft(strings.ToLower(s), "0") }

// Installed is the outcome of an order to install a root certificate, by the list
// of those that are installed.
func Installed(certificate *x509.Certificate, hashes []event.CertificateHash) site.Outcome {
	for _, h := range hashes {
		own, err := HashCertificate(certificate, h.Algorithm)
		if err == nil && SameCertificate(own, h) {
			return site.Outcome{State: event.StateSucceeded, Result: Result(h)}
		}
	}
	serial := strings.ToLower(certificate.SerialNumber.Text(16))
	if slices.ContainsFunc(hashes, func(h event.CertificateHash) bool { return plainSerial(h.Serial) == serial }) {
		// some hash other bytes than the standard says, the number is right
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; found by its serial number"}
	}
	return Failedf("accepted, but it is not among the %d installed certificates", len(hashes))
}

// HashCertificate works out how OCPP names a root certificate, which is its own
// issuer: hashes of the issuer's name and key, as for OCSP. RFC 6960 §4.1.1.
func HashCertificate(c *x509.Certificate, algorithm string) (event.CertificateHash, error) {
	hash, ok := map[string]crypto.Hash{"SHA256": crypto.SHA256, "SHA384": crypto.SHA384, "SHA512": crypto.SHA512}[strings.ToUpper(algorithm)]
	if !ok {
		return event.CertificateHash{}, fmt.Errorf("hash algorithm: expected SHA256, SHA384 or SHA512, got %q", algorithm)
	}
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &key); err != nil {
		return event.CertificateHash{}, fmt.Errorf("public key: %w", err)
	}
	sum := func(b []byte) string {
		h := hash.New()
		h.Write(b)
		return hex.EncodeToString(h.Sum(nil))
	}
	return event.CertificateHash{
		Algorithm: strings.ToUpper(algorithm), IssuerNameHash: sum(c.RawIssuer),
		IssuerKeyHash: sum(key.Key.RightAlign()), Serial: c.SerialNumber.Text(16),
	}, nil
}
