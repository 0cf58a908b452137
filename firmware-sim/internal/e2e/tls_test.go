package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Stations of both third-party libraries connect over TLS, with a password and
// with a certificate that the site CA signed, and are hung up on without them.
func TestTLS(t *testing.T) {
	need(t)
	const password = "correct horse battery staple"
	hash := strings.TrimSpace(pipe(t, password, binary(t, "chargeyard-edge"), "hash"))
	stations := "stations:\n"
	for _, id := range []string{"RPC-16", "GO-201"} {
		stations += fmt.Sprintf("  - {identity: %s, security_profile: 2, password_hash: %q}\n", id, hash)
	}
	for _, id := range []string{"RPC-201", "RPC-21", "GO-16", "REVOKED"} {
		stations += fmt.Sprintf("  - {identity: %s, security_profile: 3}\n", id)
	}
	h := newHouse(t, plan{tls: true, edge: "authorization: {offline: all}\n" + stations})
	h.online()
	h.admit("04A1B2C3D4")
	root := filepath.Join(h.dir, "root.pem")
	h.write(root, h.root())
	address := fmt.Sprintf("wss://127.0.0.1:%d/ocpp", h.ocppTLS)

	t.Run("password", func(t *testing.T) {
		for _, s := range []*rpcStation{
			newRPCStation(t, address, "RPC-16", "ocpp1.6", "--ca", root, "--password", password),
			newGoStation(t, address, "GO-201", "--ca", root, "--password", password),
		} {
			h.profile(t, s.id, 2)
			if c := h.api.outcome(t, h.api.command(t, "start", s.id, 1, p{"token": p{"type": "rfid", "value": "CAFE01"}}, time.Minute), 2*time.Minute); c.Status != "succeeded" {
				t.Errorf("%s: start came to %s (%s)", s.id, c.Status, c.Reason)
			}
			s.check()
		}
	})
	t.Run("certificate", func(t *testing.T) {
		for id, protocol := range map[string]string{"RPC-201": "ocpp2.0.1", "RPC-21": "ocpp2.1"} {
			certificate, key, _ := h.certify(t, id)
			s := newRPCStation(t, address, id, protocol, "--ca", root, "--certificate", certificate, "--key", key)
			h.profile(t, id, 3)
			s.check()
		}
		certificate, key, _ := h.certify(t, "GO-16")
		run(t, nil, peer(t, "chargepoint"), "-url", address, "-id", "GO-16", "-ca", root, "-certificate", certificate, "-key", key, "-samples", "2")
		h.profile(t, "GO-16", 3)
	})
	t.Run("refused", func(t *testing.T) {
		certificate, key, serial := h.certify(t, "REVOKED")
		other, otherKey, _ := h.certify(t, "GO-16")
		run(t, nil, binary(t, "chargeyard-edge"), "ca", "revoke", serial, "--config", h.edgeYAML)
		for name, args := range map[string][]string{
			"wrong password":           {"-url", address, "-id", "RPC-16", "-ca", root, "-password", "guessed"},
			"no password":              {"-url", address, "-id", "RPC-16", "-ca", root},
			"password, no TLS":         {"-url", h.ocppURL(), "-id", "RPC-16", "-password", password},
			"no certificate":           {"-url", address, "-id", "RPC-201", "-ca", root},
			"certificate of another":   {"-url", address, "-id", "RPC-201", "-ca", root, "-certificate", other, "-key", otherKey},
			"revoked certificate":      {"-url", address, "-id", "REVOKED", "-ca", root, "-certificate", certificate, "-key", key},
			"plain, once seen at 3":    {"-url", h.ocppURL(), "-id", "GO-16"},
			"password in place of one": {"-url", address, "-id", "GO-16", "-ca", root, "-password", password},
		} {
			t.Run(name, func(t *testing.T) {
				cmd := exec.Command(peer(t, "chargepoint"), args...)
				out, err := cmd.CombinedOutput()
				if exit := new(exec.ExitError); !errors.As(err, &exit) || strings.Contains(string(out), "BootNotification") {
					t.Errorf("it was let in: %v\n%s", err, out)
				}
			})
		}
		eventually(t, "the operator hears of it", func() error {
			seen := map[string]bool{}
			for _, e := range h.events("chargeyard.station.security") {
				var d struct{ Event string }
				if err := json.Unmarshal(e.Data, &d); err != nil {
					return err
				}
				seen[d.Event] = true
			}
			if !seen["FailedAuthentication"] || !seen["InvalidChargingStationCertificate"] {
				return fmt.Errorf("%v", seen)
			}
			return nil
		})
	})
}

// root is the certificate of the site CA.
func (h *house) root() string {
	h.t.Helper()
	shown := run(h.t, nil, binary(h.t, "chargeyard-edge"), "ca", "show", "--config", h.edgeYAML)
	return shown[strings.Index(shown, "-----BEGIN"):]
}

// certify lets the site CA sign a key for a station, and returns the files and
// the serial number.
func (h *house) certify(t *testing.T, id string) (certificate, key, serial string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}}, private)
	if err != nil {
		t.Fatal(err)
	}
	key, certificate = filepath.Join(t.TempDir(), "key.pem"), filepath.Join(t.TempDir(), "certificate.pem")
	h.write(key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	chain := pipe(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})),
		binary(t, "chargeyard-edge"), "ca", "issue", "--station", id, "--request", "-", "--config", h.edgeYAML)
	h.write(certificate, chain)
	block, _ := pem.Decode([]byte(chain))
	if block == nil {
		t.Fatalf("ca issue printed %s", chain)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key, c.SerialNumber.Text(16)
}

// profile fails the test unless a station is seen to have connected with a
// security profile.
func (h *house) profile(t *testing.T, id string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is seen at profile %d", id, want), func() error {
		all, err := list[entry](h.api, "/events", url.Values{"type": {"chargeyard.station.connected"}})
		if err != nil {
			return err
		}
		for _, e := range all {
			if e.Subject == "stations/"+id && strings.Contains(string(e.Data), fmt.Sprintf(`"security_profile":%d`, want)) {
				return nil
			}
		}
		return fmt.Errorf("%d connections, none of them", len(all))
	})
}

// pipe runs a program to its end with an input, and returns what it printed.
func pipe(t *testing.T, in, path string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", filepath.Base(path), strings.Join(args, " "), err)
	}
	return string(out)
}
