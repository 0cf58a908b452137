package v16

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
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// uses are the kinds of root certificates of 1.6.
var uses = map[string]ocpp16.CertificateUse{
	"csms_root":         ocpp16.CertificateUseCentralSystemRootCertificate,
	"manufacturer_root": ocpp16.CertificateUseManufacturerRootCertificate,
}

// use returns the word for a kind, or why there is none.
func use(kind string) (ocpp16.CertificateUse, string) {
	if u, ok := uses[kind]; ok {
		return u, ""
	}
	return "", fmt.Sprintf("kind: OCPP 1.6 has csms_root and manufacturer_root, got %q", kind)
}

// hashOf is a certificate's hash as the domain knows it.
func hashOf(h ocpp16.CertificateHashData) event.CertificateHash {
	return event.CertificateHash{
		Algorithm: string(h.HashAlgorithm), IssuerNameHash: h.IssuerNameHash, IssuerKeyHash: h.IssuerKeyHash, Serial: h.SerialNumber,
	}
}

// sameCertificate tells whether two hashes name the same certificate: hex digits
// without regard to case and leading zeros.
func sameCertificate(a, b event.CertificateHash) bool {
	plain := func(s string) string { return strings.TrimLeft(strings.ToLower(s), "0") }
	return strings.EqualFold(a.Algorithm, b.Algorithm) && strings.EqualFold(a.IssuerNameHash, b.IssuerNameHash) &&
		strings.EqualFold(a.IssuerKeyHash, b.IssuerKeyHash) && plain(a.Serial) == plain(b.Serial)
}

// installed asks which certificates of a kind there are.
func (j *job) installed(u ocpp16.CertificateUse) ([]event.CertificateHash, error) {
	var answer ocpp16.GetInstalledCertificateIdsResponse
	if err := j.call(&ocpp16.GetInstalledCertificateIdsRequest{CertificateType: u}, &answer); err != nil {
		return nil, err
	}
	hashes := make([]event.CertificateHash, len(answer.CertificateHashData))
	for i := range hashes {
		hashes[i] = hashOf(answer.CertificateHashData[i])
	}
	return hashes, nil
}

func (j *job) listCertificates(p *event.ListCertificatesParams) (site.Outcome, error) {
	u, wrong := use(p.Kind)
	if wrong != "" {
		return unsupported("%s", wrong), nil
	}
	hashes, err := j.installed(u)
	if err != nil {
		return site.Outcome{}, err
	}
	return site.Outcome{State: event.StateSucceeded, Result: result(map[string]any{"certificates": hashes})}, nil
}

func (j *job) installCertificate(p *event.InstallCertificateParams) (site.Outcome, error) {
	u, wrong := use(p.Kind)
	if wrong != "" {
		return unsupported("%s", wrong), nil
	}
	certificate, err := parseCertificate(p.Certificate)
	if err != nil {
		return rejected("certificate: %v", err), nil
	}
	var answer ocpp16.InstallCertificateResponse
	if err := j.call(&ocpp16.InstallCertificateRequest{CertificateType: u, Certificate: p.Certificate}, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := judge(string(answer.Status), event.StateSucceeded)
	if o.State != event.StateSucceeded {
		if answer.Status.Fold() == ocpp16.InstallCertificateStatusFailed {
			o.State = event.StateFailed
		}
		return o, nil
	}
	return j.checkInstalled(u, certificate)
}

// checkInstalled looks for the certificate among those that are installed.
func (j *job) checkInstalled(u ocpp16.CertificateUse, certificate *x509.Certificate) (site.Outcome, error) {
	hashes, err := j.installed(u)
	if err != nil {
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; the list of certificates cannot be read: " + err.Error()}, nil
	}
	for _, h := range hashes {
		own, err := hashCertificate(certificate, h.Algorithm)
		if err == nil && sameCertificate(own, h) {
			return site.Outcome{State: event.StateSucceeded, Result: result(h)}, nil
		}
	}
	serial := strings.ToLower(certificate.SerialNumber.Text(16))
	if slices.ContainsFunc(hashes, func(h event.CertificateHash) bool { return strings.TrimLeft(strings.ToLower(h.Serial), "0") == serial }) {
		// some hash other bytes than the standard says, the number is right
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; found by its serial number"}, nil
	}
	return failed("accepted, but it is not among the %d installed certificates", len(hashes)), nil
}

func (j *job) deleteCertificate(p *event.DeleteCertificateParams) (site.Outcome, error) {
	request := &ocpp16.DeleteCertificateRequest{CertificateHashData: ocpp16.CertificateHashData{
		HashAlgorithm: ocpp16.HashAlgorithm(p.Hash.Algorithm), IssuerNameHash: p.Hash.IssuerNameHash,
		IssuerKeyHash: p.Hash.IssuerKeyHash, SerialNumber: p.Hash.Serial,
	}}
	var answer ocpp16.DeleteCertificateResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	switch answer.Status.Fold() {
	case ocpp16.DeleteCertificateStatusNotFound:
		return failed("the charge point has no such certificate"), nil
	case ocpp16.DeleteCertificateStatusFailed:
		return failed("the charge point could not delete it"), nil
	}
	if o := judge(string(answer.Status), event.StateSucceeded); o.State != event.StateSucceeded {
		return o, nil
	}
	gone, known := j.checkDeleted(p.Hash)
	switch {
	case !known:
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; the list of certificates cannot be read"}, nil
	case !gone:
		return failed("accepted, but it is still among the installed certificates"), nil
	}
	return site.Outcome{State: event.StateSucceeded}, nil
}

// checkDeleted tells whether a certificate is on no list any more. Known is false
// where no list can be read.
func (j *job) checkDeleted(hash event.CertificateHash) (gone, known bool) {
	gone = true
	for _, u := range uses {
		hashes, err := j.installed(u)
		if err != nil {
			continue
		}
		known = true
		if slices.ContainsFunc(hashes, func(h event.CertificateHash) bool { return sameCertificate(h, hash) }) {
			gone = false
		}
	}
	return gone, known
}

// signCertificate hands over a signed chain or, without one, asks for a request
// to sign.
func (j *job) signCertificate(p *event.SignCertificateParams) (site.Outcome, error) {
	if p.Chain == "" {
		return j.triggerExtended(ocpp16.ExtendedMessageTriggerSignChargePointCertificate)
	}
	var answer ocpp16.CertificateSignedResponse
	if err := j.call(&ocpp16.CertificateSignedRequest{CertificateChain: p.Chain}, &answer); err != nil {
		return site.Outcome{}, err
	}
	// The charge point checks the chain before it accepts (security extension A02);
	// there is nothing else to read it back from.
	o := judge(string(answer.Status), event.StateSucceeded)
	if o.State == event.StateSucceeded {
		o.Reason = join(o.Reason, "the charge point has checked and accepted the chain; its next TLS connection shows it in use")
	}
	return o, nil
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("expected a certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// hashCertificate works out how OCPP names a root certificate, which is its own
// issuer: hashes of the issuer's name and key, as for OCSP. RFC 6960 §4.1.1.
func hashCertificate(c *x509.Certificate, algorithm string) (event.CertificateHash, error) {
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
