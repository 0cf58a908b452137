package depot_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/central"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/depot"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/socket"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// signer is a certification authority for chargers.
type signer struct {
	t    *testing.T
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newSigner(t *testing.T) (*signer, *x509.CertPool) {
	t.Helper()
	key := newKey(t)
	block, _ := pem.Decode([]byte(certificate(t, template(1, "root of chargers"), key.Public(), key)))
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &signer{t: t, root: root, key: key}, pool
}

// sign makes the chain for a request.
func (s *signer) sign(csr string) string {
	s.t.Helper()
	block, _ := pem.Decode([]byte(csr))
	if block == nil {
		s.t.Fatalf("no request: %q", csr)
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: request.Subject.CommonName, Organization: request.Subject.Organization},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, s.root, request.PublicKey, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// order sends a CALL and returns the status of the answer.
func (y *yard) order(action string, payload []byte) string {
	y.t.Helper()
	answer, err := y.central.Ask(y.ctx, "CP-1", action, payload)
	if err != nil {
		y.t.Fatal(err)
	}
	var a struct {
		Status            string
		SetVariableResult []struct{ AttributeStatus string }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		y.t.Fatal(err)
	}
	if len(a.SetVariableResult) > 0 {
		return a.SetVariableResult[0].AttributeStatus
	}
	return a.Status
}

func (y *yard) must(action string, payload []byte, want string) {
	y.t.Helper()
	if got := y.order(action, payload); got != want {
		y.t.Fatalf("%s: %s, want %s", action, got, want)
	}
}

// request waits for the certificate request of the charger.
func (y *yard) request() string {
	y.t.Helper()
	var csr struct{ CSR string }
	y.signed++ // requests that were waited for
	y.waitFor("SignCertificate", func(all []central.Said) bool {
		n := 0
		for _, s := range all {
			if s.Action == ocpp16.ActionSignCertificate {
				if n++; n == y.signed {
					return json.Unmarshal(s.Payload, &csr) == nil && csr.CSR != ""
				}
			}
		}
		return false
	})
	return csr.CSR
}

// comesWith waits until the charger is connected with its certificate and without
// a password.
func (y *yard) comesWith(name string) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.ctx, patience)
	defer cancel()
	for {
		changes := y.central.Changes()
		password, got := y.central.Login("CP-1")
		if got == name && !password {
			return
		}
		select {
		case <-changes:
		case <-ctx.Done():
			y.t.Fatalf("the charger comes with password %v and certificate %q", password, got)
		}
	}
}

// A charger of 1.6 goes from a password over TLS to a certificate of its own.
func TestMutualTLS16(t *testing.T) {
	ca, pool := newSigner(t)
	system := central.NewTLS(pool)
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: load(t, "idle"), Identity: "CP-1", Password: "0123456789abcdef", Secure: true})
	y.await("registered", func(v charger.View) bool { return v.Registered })
	if password, name := system.Login("CP-1"); !password || name != "" {
		t.Errorf("at first: password %v, certificate %q", password, name)
	}
	profile := func(p string) []byte {
		return (&ocpp16.ChangeConfigurationRequest{Key: "SecurityProfile", Value: p}).AppendJSON(nil)
	}
	y.must("ChangeConfiguration", profile("3"), "Rejected") // there is no certificate yet
	y.must("ExtendedTriggerMessage", (&ocpp16.ExtendedTriggerMessageRequest{RequestedMessage: ocpp16.ExtendedMessageTriggerSignChargePointCertificate}).AppendJSON(nil), "Accepted")
	y.must("CertificateSigned", (&ocpp16.CertificateSignedRequest{CertificateChain: ca.sign(y.request())}).AppendJSON(nil), "Accepted")
	y.must("ChangeConfiguration", profile("3"), "Accepted")
	y.comesWith("CP-1")
	y.renews(func() {
		y.must("ExtendedTriggerMessage", (&ocpp16.ExtendedTriggerMessageRequest{RequestedMessage: ocpp16.ExtendedMessageTriggerSignChargePointCertificate}).AppendJSON(nil), "Accepted")
		y.must("CertificateSigned", (&ocpp16.CertificateSignedRequest{CertificateChain: ca.sign(y.request())}).AppendJSON(nil), "Accepted")
	})
}

// renews waits until the charger has come back with the certificate that replaces
// its own.
func (y *yard) renews(replace func()) {
	y.t.Helper()
	before := y.central.Connections("CP-1")
	replace()
	ctx, cancel := context.WithTimeout(y.ctx, patience)
	defer cancel()
	for {
		changes := y.central.Changes()
		if y.central.Connections("CP-1") > before {
			break
		}
		select {
		case <-changes:
		case <-ctx.Done():
			y.t.Fatal("the charger does not come back")
		}
	}
	y.comesWith("CP-1")
}

// A station of OCPP 2 does the same by a network profile.
func TestMutualTLS2(t *testing.T) {
	for _, version := range []string{ocppj.V201, ocppj.V21} {
		t.Run(version, func(t *testing.T) {
			ca, pool := newSigner(t)
			system := central.NewTLS(pool)
			t.Cleanup(system.Close)
			y := open(t, system, depot.Config{Scenario: load(t, "idle"), Version: version, Identity: "CP-1", Password: "0123456789abcdef", Secure: true})
			y.await("registered", func(v charger.View) bool { return v.Registered })
			y.must("TriggerMessage", (&ocpp21.TriggerMessageRequest{RequestedMessage: ocpp21.MessageTriggerSignChargingStationCertificate}).AppendJSON(nil), "Accepted")
			y.must("CertificateSigned", (&ocpp21.CertificateSignedRequest{CertificateChain: ca.sign(y.request())}).AppendJSON(nil), "Accepted")
			y.must("SetNetworkProfile", (&ocpp21.SetNetworkProfileRequest{ConfigurationSlot: 1, ConnectionData: ocpp21.NetworkConnectionProfile{
				OCPPVersion: ocpp21.OCPPVersionOCPP20, OCPPInterface: ocpp21.OCPPInterfaceWired0, OCPPTransport: ocpp21.OCPPTransportJSON,
				OCPPCsmsURL: system.URL(), MessageTimeout: 30, SecurityProfile: 3,
			}}).AppendJSON(nil), "Accepted")
			y.must("SetVariables", (&ocpp21.SetVariablesRequest{SetVariableData: []ocpp21.SetVariableData{{
				Component: ocpp21.Component{Name: "OCPPCommCtrlr"}, Variable: ocpp21.Variable{Name: "NetworkConfigurationPriority"}, AttributeValue: "1",
			}}}).AppendJSON(nil), "RebootRequired")
			y.must("Reset", (&ocpp21.ResetRequest{Type: ocpp21.ResetImmediate}).AppendJSON(nil), "Accepted")
			y.comesWith("CP-1")
			y.await("registered again", func(v charger.View) bool { return v.Registered })
			y.renews(func() {
				y.must("TriggerMessage", (&ocpp21.TriggerMessageRequest{RequestedMessage: ocpp21.MessageTriggerSignChargingStationCertificate}).AppendJSON(nil), "Accepted")
				y.must("CertificateSigned", (&ocpp21.CertificateSignedRequest{CertificateChain: ca.sign(y.request())}).AppendJSON(nil), "Accepted")
			})
			y.await("registered still", func(v charger.View) bool { return v.Registered && v.Connected })
			y.must("ReserveNow", (&ocpp21.ReserveNowRequest{ID: 1, IDToken: ocpp21.IDToken{IDToken: "A", Type: "ISO14443"}, ExpiryDateTime: lenient.At(time.Now().Add(time.Hour))}).AppendJSON(nil), "Accepted")
		})
	}
}

// A server whose certificate leads nowhere is not believed.
func TestUnknownRoot(t *testing.T) {
	_, pool := newSigner(t)
	system := central.NewTLS(pool)
	t.Cleanup(system.Close)
	key := newKey(t)
	dialer := func(t *testing.T, url string, root []byte) *socket.Dialer {
		t.Helper()
		d, err := socket.New(socket.Config{URL: url, Roots: root})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if conn, err := dialer(t, system.URL(), []byte(certificate(t, template(9, "somebody"), key.Public(), key))).Dial(t.Context(), charger.Login{Identity: "CP-1", Version: ocppj.V16}); err == nil {
		t.Error("connected to a server that nobody vouches for")
		_ = conn.Cut()
	}
	conn, err := dialer(t, system.URL(), system.Root()).Dial(t.Context(), charger.Login{Identity: "CP-1", Version: ocppj.V16})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Cut()
}
