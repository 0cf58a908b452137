package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/trust"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

var now = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

// issue makes a certificate for public, signed by parent with key, or by itself.
func issue(t *testing.T, serial int64, name string, public any, parent *x509.Certificate, key crypto.Signer) (*x509.Certificate, string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestIdentify(t *testing.T) {
	key := ecKey(t)
	c, text := issue(t, 0x0a1b2c, "root", key.Public(), nil, key)
	id, err := trust.Identify(text, ocpp16.HashAlgorithmSHA256)
	if err != nil {
		t.Fatal(err)
	}
	name := sha256.Sum256(c.RawSubject)
	point, err := key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	public := sha256.Sum256(point.Bytes()) // the bit string is the point itself
	if id.IssuerNameHash != hex.EncodeToString(name[:]) || id.IssuerKeyHash != hex.EncodeToString(public[:]) || id.SerialNumber != "a1b2c" {
		t.Errorf("%+v", id)
	}
	other := id
	other.SerialNumber, other.IssuerNameHash = "0A1B2C", strings.ToUpper(id.IssuerNameHash)
	if !trust.Same(id, other) {
		t.Error("case and leading zeros make a difference")
	}
	for _, algorithm := range []ocpp16.HashAlgorithm{"SHA384", "SHA512"} {
		if again, err := trust.Identify(text, algorithm); err != nil || trust.Same(id, again) {
			t.Errorf("%s: %+v, %v", algorithm, again, err)
		}
	}
	for _, bad := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := trust.Identify(bad, ocpp16.HashAlgorithmSHA256); err == nil {
			t.Errorf("%q was taken for a certificate", bad)
		}
	}
}

func TestRequestAndChain(t *testing.T) {
	key, csr, err := trust.Request("CP-1", "Operator")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(csr))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.CheckSignature(); err != nil || request.Subject.CommonName != "CP-1" || request.Subject.Organization[0] != "Operator" {
		t.Errorf("%v of %s", err, request.Subject)
	}
	caKey, otherKey := ecKey(t), ecKey(t)
	ca, caText := issue(t, 1, "ca", caKey.Public(), nil, caKey)
	_, leaf := issue(t, 2, "CP-1", request.PublicKey, ca, caKey)
	_, foreign := issue(t, 3, "CP-1", otherKey.Public(), ca, caKey)
	_, otherCA := issue(t, 4, "ca", otherKey.Public(), nil, otherKey)
	tests := []struct {
		name, chain, key string
		at               time.Time
		want             string
	}{
		{"leaf", leaf, key, now, ""},
		{"leaf and root", leaf + caText, key, now, ""},
		{"for another key", foreign, key, now, "another key"},
		{"not asked for", leaf, "", now, "asked"},
		{"signed by another", leaf + otherCA, key, now, "not signed"},
		{"over", leaf, key, now.Add(2 * time.Hour), "valid from"},
		{"none", "hello", key, now, "no certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := trust.CheckChain(tt.chain, tt.key, tt.at)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestFirmwareSignatures(t *testing.T) {
	image := []byte("firmware")
	sum := sha256.Sum256(image)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key crypto.Signer, options crypto.SignerOpts) string {
		sig, err := key.Sign(rand.Reader, sum[:], options)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(sig)
	}
	ec := ecKey(t)
	_, ecText := issue(t, 1, "maker", ec.Public(), nil, ec)
	_, rsaText := issue(t, 2, "maker", rsaKey.Public(), nil, rsaKey)
	for name, tt := range map[string]struct{ certificate, signature string }{
		"ecdsa":    {ecText, sign(ec, crypto.SHA256)},
		"rsa":      {rsaText, sign(rsaKey, crypto.SHA256)},
		"rsa, PSS": {rsaText, sign(rsaKey, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})},
	} {
		if err := trust.VerifyImage(tt.certificate, tt.signature, image); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := trust.VerifyImage(tt.certificate, tt.signature, []byte("other")); err == nil {
			t.Errorf("%s: another image passed", name)
		}
	}
	if err := trust.VerifyImage(ecText, "***", image); err == nil {
		t.Error("a signature that is no base64 passed")
	}
	if err := trust.CheckSigner(ecText, nil, now); err != nil {
		t.Error(err)
	}
	if err := trust.CheckSigner(ecText, []string{rsaText}, now); err == nil {
		t.Error("a signer of another root passed")
	}
	if err := trust.CheckSigner(ecText, []string{ecText}, now); err != nil {
		t.Error(err)
	}
}
