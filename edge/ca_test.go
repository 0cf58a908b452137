package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/config"
)

// output runs a command line that has to work.
func output(t *testing.T, in string, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	if code := command(args, strings.NewReader(in), &out, &problems); code != 0 {
		t.Fatalf("%v: code %d\n%s", args, code, &problems)
	}
	return out.String()
}

// The commands about certificates, beside a running gateway: what is issued lets a
// station in, what is revoked does not.
func TestCA(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "edge.yaml")
	plain, secure := freePort(t), freePort(t)
	text := fmt.Sprintf("gateway: gw-1\ndata_dir: %s\nmqtt: {url: \"mqtt://127.0.0.1:1\", password: x}\nconsole: {listen: \"\"}\n"+
		"ocpp: {listen: \"127.0.0.1:%d\", tls: {listen: \"127.0.0.1:%d\", names: [localhost]}}\n"+
		"stations: [{identity: CP-1, security_profile: 3}, {identity: CP-2, security_profile: 3}]\n", filepath.Join(dir, "data"), plain, secure)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	root := output(t, "", "ca", "show", "--config", path)
	if again := output(t, "", "ca", "show", "--config", path); again != root || !strings.Contains(root, "SHA-256 ") {
		t.Errorf("shown %s, then %s", root, again)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(root)) {
		t.Fatalf("no certificate in %s", root)
	}

	pair := output(t, "", "ca", "issue", "--station", "CP-1", "--config", path)
	one, err := tls.X509KeyPair([]byte(pair), []byte(pair))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "SN-2"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	request := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	chain := output(t, request, "ca", "issue", "--station", "CP-2", "--request", "-", "--config", path)
	block, _ := pem.Decode([]byte(chain))
	two := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}

	cfg, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	connect := func(id string, c tls.Certificate) int {
		t.Helper()
		d := websocket.Dialer{Subprotocols: []string{"ocpp1.6"}, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{c}}}
		late := time.Now().Add(20 * time.Second)
		for {
			ws, response, err := d.Dial(fmt.Sprintf("wss://localhost:%d/ocpp/%s", secure, id), nil)
			if ws != nil {
				ws.Close()
			}
			if response != nil {
				return response.StatusCode
			}
			if time.Now().After(late) {
				t.Fatal(err)
			}
		}
	}
	for id, c := range map[string]tls.Certificate{"CP-1": one, "CP-2": two} {
		if got := connect(id, c); got != 101 {
			t.Errorf("%s: status %d, want 101", id, got)
		}
	}
	if got := connect("CP-2", one); got != 403 {
		t.Errorf("another's certificate: status %d, want 403", got)
	}
	list := output(t, "", "ca", "list", "--config", path)
	found := regexp.MustCompile(`(?m)^([0-9a-f]{32})  CP-1 `).FindStringSubmatch(list)
	if found == nil || !strings.Contains(list, "SN-2") {
		t.Fatalf("listed\n%s", list)
	}
	if got := output(t, "", "ca", "revoke", found[1], "--reason", "stolen", "--config", path); strings.Contains(got, "no certificate") {
		t.Errorf("a certificate of this site is revoked as a stranger's: %s", got)
	}
	if got := output(t, "", "ca", "revoke", "0A:BC", "--config", path); !strings.Contains(got, "no certificate that was signed here") {
		t.Errorf("expected a word on the serial number of no certificate, got %s", got)
	}
	if list = output(t, "", "ca", "list", "--config", path); !strings.Contains(list, "stolen") {
		t.Errorf("listed\n%s", list)
	}
	for late := time.Now().Add(10 * time.Second); connect("CP-1", one) != 403; { // it looks each second
		if time.Now().After(late) {
			t.Fatal("a revoked certificate is still good")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"ca"}, {"ca", "fly"}, {"ca", "show", "more"}} {
		if code := command(args, strings.NewReader(""), new(bytes.Buffer), new(bytes.Buffer)); code != 2 {
			t.Errorf("%v: code %d, want 2", args, code)
		}
	}
	for args, want := range map[string]string{
		"ca revoke":                         "expected a serial number",
		"ca revoke xyz":                     "in hex",
		"ca issue":                          "--station",
		"ca issue --station A --request no": "no such file",
	} {
		var problems bytes.Buffer
		if code := command(append(strings.Fields(args), "--config", path), strings.NewReader(""), new(bytes.Buffer), &problems); code != 1 || !strings.Contains(problems.String(), want) {
			t.Errorf("%s: code %d, %s; want %q", args, code, &problems, want)
		}
	}
}

// The configurations of the README have no faults.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	writePair := func(name string, key any, public any) {
		t.Helper()
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca", "maker", "ecdsa"} {
		writePair(name, elliptic, elliptic.Public())
	}
	writePair("rsa", long, long.Public())
	count := 0
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(readme, -1) {
		if !bytes.HasPrefix(m[1], []byte("gateway:")) {
			continue // a part of one, or of something else
		}
		count++
		if _, err := config.Parse(m[1], nil); err != nil {
			t.Errorf("%s\n%v", m[1], err)
		}
	}
	if count < 3 {
		t.Errorf("%d configurations were found, want 3 at least", count)
	}
}
