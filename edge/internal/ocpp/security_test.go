package ocpp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/pki"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// trustClock is the system's, and as good as a synced one.
type trustClock struct{ ocpptest.Clock }

func (trustClock) Floor() time.Time { return time.Now() }

// newAuthority runs a site CA until the test ends, and waits for its certificate.
func newAuthority(tb testing.TB, cfg pki.Config) *pki.Authority {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = tb.TempDir()
	}
	cfg.Gateway, cfg.Names = "gw-1", []string{"localhost", "127.0.0.1"}
	a := pki.New(cfg, trustClock{}, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	<-a.Ready()
	return a
}

// roots trusts the site CA alone.
func roots(tb testing.TB, a *pki.Authority) *x509.CertPool {
	tb.Helper()
	root, err := a.Root()
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool
}

// certificate is one that the site CA makes for a station.
func certificate(tb testing.TB, a *pki.Authority, id event.StationID) tls.Certificate {
	tb.Helper()
	key, chain, err := a.Issue(id)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := tls.X509KeyPair([]byte(chain), []byte(key))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// madeBy is a certificate of somebody else's authority, or of itself where parent
// is nil.
func madeBy(tb testing.TB, parent *tls.Certificate, template *x509.Certificate) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	issuer, signer := template, any(key)
	if parent != nil {
		issuer, signer = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// secureYard is an endpoint with a plain listener and one with TLS.
type secureYard struct {
	*ocpptest.Yard
	authority *pki.Authority
	secure    string // wss://127.0.0.1:port/ocpp
	roots     *x509.CertPool
}

func startSecure(tb testing.TB, a *pki.Authority, cfg ocpp.Config, depot site.Config) *secureYard {
	tb.Helper()
	cfg.Trust = a
	if len(cfg.Listeners) == 0 {
		cfg.Listeners = []ocpp.Listener{{Address: "127.0.0.1:0", TLS: true}}
	}
	y := &secureYard{Yard: ocpptest.Start(tb, cfg, depot, quiet, v16.New()), authority: a, roots: roots(tb, a)}
	y.secure = y.urlOf(tb, 1)
	return y
}

func (y *secureYard) urlOf(tb testing.TB, number int) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address := y.Server.AddressOf(ctx, number)
	if address == nil {
		tb.Fatal("the listener with TLS does not open")
	}
	return "wss://" + address.String() + "/ocpp"
}

// dial connects with what a station has.
func dial(tb testing.TB, url string, secure *tls.Config, header http.Header) (*websocket.Conn, int, error) {
	tb.Helper()
	d := websocket.Dialer{Subprotocols: []string{"ocpp1.6"}, HandshakeTimeout: 10 * time.Second, TLSClientConfig: secure}
	ws, response, err := d.DialContext(tb.Context(), url, header)
	if response == nil {
		return ws, 0, err
	}
	return ws, response.StatusCode, err
}

func basic(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

// notes is a Seen in memory.
type notes struct {
	mu sync.Mutex
	of map[event.StationID]int
}

func (n *notes) Profile(id event.StationID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[id]
}

func (n *notes) Raise(id event.StationID, profile int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of[id] = max(n.of[id], profile)
}

// Who is let in where, by what, and with which security profile.
func TestSecurityProfiles(t *testing.T) {
	hash, err := credential.NewHash([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	maker := madeBy(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "Maker CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	makerFile := writePEM(t, maker.Leaf)
	a := newAuthority(t, pki.Config{Organisation: "", ClientCAs: []string{makerFile}})
	client := func(cn string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: cn}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	}
	own, other, withSlash := certificate(t, a, "CERT"), certificate(t, a, "OTHER"), certificate(t, a, "r pc/1.6")
	revoked := certificate(t, a, "CERT")
	if err := a.Revoke(fmt.Sprintf("%X", revokedSerial(t, revoked)), "stolen"); err != nil {
		t.Fatal(err)
	}
	makers := madeBy(t, &maker, client("SN-1"))
	makersID := madeBy(t, &maker, client("CERT"))
	expired := madeBy(t, &maker, func() *x509.Certificate {
		c := client("SN-1")
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
		return c
	}())
	serverOnly := madeBy(t, &maker, &x509.Certificate{Subject: pkix.Name{CommonName: "SN-1"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	self := madeBy(t, nil, client("CERT"))

	three, two, zero := 3, 2, 0
	cfg := ocpptest.Config()
	cfg.AcceptUnknown = false
	cfg.Seen = &notes{of: map[event.StationID]int{"WAS-2": 2, "LOWERED": 3}}
	cfg.Stations = map[event.StationID]ocpp.Station{
		"MAKERS": {CommonName: "SN-1"}, "STRICT": {SecurityProfile: &three}, "LEAST-2": {SecurityProfile: &two}, "LOWERED": {SecurityProfile: &zero},
	}
	cfg.Listeners = []ocpp.Listener{
		{Address: "127.0.0.1:0", TLS: true}, {Address: "127.0.0.1:0", TLS: true, Profiles: []int{3}},
		{Address: "127.0.0.1:0", TLS: true, Profiles: []int{2}}, {Address: "127.0.0.1:0", Profiles: []int{1}},
	}
	depot := site.Config{Stations: []site.Admission{
		{Station: "OPEN"}, {Station: "PW", PasswordHashes: []string{hash}}, {Station: "PW-PLAIN", PasswordHashes: []string{hash}}, {Station: "CERT"}, {Station: "r pc/1.6"}, {Station: "MAKERS"},
		{Station: "STRICT", PasswordHashes: []string{hash}}, {Station: "LEAST-2", PasswordHashes: []string{hash}},
		{Station: "BOTH", PasswordHashes: []string{hash}}, {Station: "WAS-2", PasswordHashes: []string{hash}}, {Station: "LOWERED"},
		{Station: "FROM-MANAGER", PasswordHashes: []string{hash}, SecurityProfile: 2},
	}}
	y := startSecure(t, a, cfg, depot)
	plain, secure, only3, only2, only1 := y.URL, y.secure, y.urlOf(t, 2), y.urlOf(t, 3), strings.Replace(y.urlOf(t, 4), "wss", "ws", 1)
	tests := []struct {
		name     string
		url      string
		id       string
		show     *tls.Certificate
		password string
		status   int
		profile  int
	}{
		{"profile 0", plain, "OPEN", nil, "", 101, 0},
		{"profile 0 within TLS", secure, "OPEN", nil, "", 101, 0},
		{"profile 1", plain, "PW-PLAIN", nil, "secret", 101, 1},
		{"profile 1, no password", plain, "PW", nil, "", 401, 0},
		{"profile 1, wrong password", plain, "PW", nil, "guess", 401, 0},
		{"profile 2", secure, "PW", nil, "secret", 101, 2},
		{"profile 2, wrong password", secure, "PW", nil, "guess", 401, 0},
		{"profile 3", secure, "CERT", &own, "", 101, 3},
		{"profile 3, escaped identity", secure, "r%20pc%2F1.6", &withSlash, "", 101, 3},
		{"profile 3, beside a password", secure, "BOTH", ptr(certificate(t, a, "BOTH")), "", 101, 3},
		{"A00.FR.405 another station's certificate", secure, "CERT", &other, "", 403, 0},
		{"A00.FR.405 another station's certificate, right password", secure, "PW", &other, "secret", 101, 2},
		{"A00.FR.405 revoked", secure, "CERT", &revoked, "", 403, 0},
		{"A00.FR.405 its own authority", secure, "CERT", &self, "", 403, 0},
		{"A00.FR.405 expired", secure, "MAKERS", &expired, "", 403, 0},
		{"not for clients", secure, "MAKERS", &serverOnly, "", 403, 0},
		{"maker's, by its common name", secure, "MAKERS", &makers, "", 101, 3},
		{"maker's, for another name", secure, "CERT", &makers, "", 403, 0},
		{"maker's, with the identity", secure, "CERT", &makersID, "", 101, 3},
		{"listener for 3, password", only3, "PW", nil, "secret", 403, 0},
		{"listener for 3, certificate", only3, "CERT", &own, "", 101, 3},
		{"listener for 2, password", only2, "PW", nil, "secret", 101, 2},
		{"listener for 2, certificate not looked at", only2, "CERT", &own, "", 403, 0},
		{"listener for 1, password", only1, "PW-PLAIN", nil, "secret", 101, 1},
		{"listener for 1, none", only1, "OPEN", nil, "", 403, 0},
		{"3 wanted, password", secure, "STRICT", nil, "secret", 403, 0},
		{"3 wanted, plain", plain, "STRICT", nil, "secret", 403, 0},
		{"2 wanted, plain", plain, "LEAST-2", nil, "secret", 403, 0},
		{"2 wanted, password", secure, "LEAST-2", nil, "secret", 101, 2},
		{"2 wanted by the manager, plain", plain, "FROM-MANAGER", nil, "secret", 403, 0},
		{"seen at 2 before, plain", plain, "WAS-2", nil, "secret", 403, 0},
		{"seen at 2 before, TLS", secure, "WAS-2", nil, "secret", 101, 2},
		{"seen at 3 before, lowered by hand", plain, "LOWERED", nil, "", 101, 0},
		{"seen at 3 in this test, plain", plain, "CERT", nil, "", 403, 0},
		{"unknown", secure, "NOBODY", &own, "", 404, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := &tls.Config{RootCAs: y.roots}
			if tt.show != nil {
				config.Certificates = []tls.Certificate{*tt.show}
			}
			header := http.Header{}
			if tt.password != "" {
				header = basic(tt.id, tt.password)
			}
			before := len(y.Journal.Events())
			ws, status, err := dial(t, tt.url+"/"+tt.id, config, header)
			if status != tt.status {
				t.Fatalf("status %d, want %d (%v)", status, tt.status, err)
			}
			if status != 101 {
				return
			}
			s := ocpptest.Play(t, ws, nil)
			s.Boot()
			for _, d := range y.Journal.Events()[before:] {
				if c, ok := d.Data.(*event.StationConnected); ok {
					if c.SecurityProfile != tt.profile {
						t.Errorf("security profile %d, want %d", c.SecurityProfile, tt.profile)
					}
					return
				}
			}
			t.Error("no connection was reported")
		})
	}
	y.Journal.Wait(t, "security event of a certificate", func(d event.Draft) bool {
		e, ok := d.Data.(*event.StationSecurity)
		return ok && e.Event == "InvalidChargingStationCertificate" && d.Address.Station == "CERT"
	})
	y.Journal.Wait(t, "security event of a password", func(d event.Draft) bool {
		e, ok := d.Data.(*event.StationSecurity)
		return ok && e.Event == "FailedAuthentication" && d.Address.Station == "PW"
	})
	for _, d := range y.Journal.Events() {
		if e, ok := d.Data.(*event.StationSecurity); ok && (strings.Contains(e.Info, "secret") || strings.Contains(e.Info, "guess")) {
			t.Errorf("a password is in a security event: %q", e.Info)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// Every kind of station finds a suite: OCPP 2.0.1 A00.FR.318 and A00.FR.319.
func TestSuites(t *testing.T) {
	a := newAuthority(t, pki.Config{})
	y := startSecure(t, a, ocpptest.Config(), site.Config{})
	waitRSA(t, a)
	tests := []struct {
		name  string
		suite uint16 // of TLS 1.2; 0: what the library has
		least uint16
		most  uint16
		kind  x509.PublicKeyAlgorithm
	}{
		{"TLS 1.3", 0, tls.VersionTLS13, tls.VersionTLS13, x509.ECDSA},
		{"ECDHE_ECDSA AES-128", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.VersionTLS12, tls.VersionTLS12, x509.ECDSA},
		{"ECDHE_ECDSA AES-256", tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.VersionTLS12, tls.VersionTLS12, x509.ECDSA},
		{"ECDHE_RSA AES-128", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.VersionTLS12, tls.VersionTLS12, x509.RSA},
		{"RSA AES-128", tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.VersionTLS12, tls.VersionTLS12, x509.RSA},
		{"RSA AES-256", tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.VersionTLS12, tls.VersionTLS12, x509.RSA},
		{"TLS 1.1 is over", tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.VersionTLS11, tls.VersionTLS11, x509.UnknownPublicKeyAlgorithm},
		{"no CBC", tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.VersionTLS12, tls.VersionTLS12, x509.UnknownPublicKeyAlgorithm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := &tls.Config{RootCAs: y.roots, MinVersion: tt.least, MaxVersion: tt.most}
			if tt.suite != 0 {
				config.CipherSuites = []uint16{tt.suite}
			}
			ws, _, err := dial(t, y.secure+"/CP-1", config, nil)
			if tt.kind == x509.UnknownPublicKeyAlgorithm {
				if err == nil {
					t.Error("the handshake went well")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			state := ws.NetConn().(*tls.Conn).ConnectionState()
			ocpptest.Play(t, ws, nil).Boot()
			if state.Version != tt.most || tt.suite != 0 && state.CipherSuite != tt.suite || state.PeerCertificates[0].PublicKeyAlgorithm != tt.kind {
				t.Errorf("%s, %s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.PeerCertificates[0].PublicKeyAlgorithm)
			}
		})
	}
}

// waitRSA waits for the certificate that takes its time.
func waitRSA(tb testing.TB, a *pki.Authority) {
	tb.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(a.Shown()) < 2 {
		select {
		case <-tick.C:
		case <-late:
			tb.Fatal("no RSA certificate")
		}
	}
}

// A station that comes back resumes its session, with its certificate, and one
// that was revoked meanwhile does not get in by that.
func TestResumption(t *testing.T) {
	for _, most := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(most), func(t *testing.T) {
			a := newAuthority(t, pki.Config{})
			y := startSecure(t, a, ocpptest.Config(), site.Config{})
			own := certificate(t, a, "CP-1")
			config := &tls.Config{RootCAs: y.roots, MaxVersion: most, Certificates: []tls.Certificate{own}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
			for i, resumed := range []bool{false, true} {
				ws, _, err := dial(t, y.secure+"/CP-1", config, nil)
				if err != nil {
					t.Fatal(err)
				}
				state := ws.NetConn().(*tls.Conn).ConnectionState()
				s := ocpptest.Play(t, ws, nil)
				s.Boot() // TLS 1.3 brings the ticket with it
				if state.DidResume != resumed {
					t.Errorf("connection %d: resumed %v, want %v", i+1, state.DidResume, resumed)
				}
				c := y.Journal.Wait(t, "connection", func(d event.Draft) bool { _, ok := d.Data.(*event.StationConnected); return ok })
				if got := c.Data.(*event.StationConnected).SecurityProfile; got != 3 {
					t.Errorf("security profile %d, want 3", got)
				}
				s.Drop()
			}
			if err := a.Revoke(fmt.Sprintf("%x", revokedSerial(t, own)), ""); err != nil {
				t.Fatal(err)
			}
			if _, status, _ := dial(t, y.secure+"/CP-1", config, nil); status != 403 {
				t.Errorf("revoked: status %d, want 403", status)
			}
		})
	}
}

func revokedSerial(t *testing.T, c tls.Certificate) *big.Int {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber
}

func writePEM(t *testing.T, c *x509.Certificate) string {
	t.Helper()
	path := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(path, []byte(pki.PEM(c)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A handshake that stands still costs its own connection only, and the end of the
// gateway does not wait for it.
func TestStandstill(t *testing.T) {
	a := newAuthority(t, pki.Config{})
	y := startSecure(t, a, ocpptest.Config(), site.Config{})
	var mute []net.Conn
	for range 200 {
		conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(y.secure, "wss://"), "/ocpp"))
		if err != nil {
			t.Fatal(err)
		}
		mute = append(mute, conn)
	}
	ws, _, err := dial(t, y.secure+"/CP-1", &tls.Config{RootCAs: y.roots}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ocpptest.Play(t, ws, nil).Boot()
	start := time.Now()
	y.Stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	for _, conn := range mute {
		conn.Close()
	}
}

// Whoever guesses is turned away without a slow hash, and the station whose name
// is guessed at gets in all the same.
func TestLocked(t *testing.T) {
	hash, err := credential.NewHash([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{Stations: []site.Admission{{Station: "CP-1", PasswordHashes: []string{hash}}}}, quiet, v16.New())
	connect := func(password string) int {
		t.Helper()
		ws, status, _ := dial(t, y.URL+"/CP-1", nil, basic("CP-1", password))
		if ws != nil {
			ws.Close()
		}
		return status
	}
	if got := connect("secret"); got != 101 {
		t.Fatalf("status %d, want 101", got)
	}
	statuses := map[int]int{}
	for i := range 20 {
		statuses[connect(fmt.Sprintf("guess %d", i))]++
	}
	if statuses[401] != 10 || statuses[429] != 10 {
		t.Errorf("answered %v, want 401 ten times, then 429", statuses)
	}
	if got := connect("secret"); got != 101 {
		t.Errorf("the station itself: status %d, want 101", got)
	}
}

// A new password is good beside the old one until it was used.
func TestPasswordChange(t *testing.T) {
	old, err := credential.NewHash([]byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := credential.NewHash([]byte("next"))
	if err != nil {
		t.Fatal(err)
	}
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{Stations: []site.Admission{{Station: "CP-1", PasswordHashes: []string{old}}}}, quiet, v16.New())
	connect := func(password string, want int) {
		t.Helper()
		ws, status, _ := dial(t, y.URL+"/CP-1", nil, basic("CP-1", password))
		if status != want {
			t.Errorf("%s: status %d, want %d", password, status, want)
		}
		if ws != nil {
			ws.Close()
		}
	}
	connect("old", 101)
	connect("next", 401)
	changed := make(chan error, 1)
	st := y.Site.Station("CP-1")
	if err := st.Post(t.Context(), func() { changed <- st.PasswordChanged(next) }); err != nil {
		t.Fatal(err)
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	connect("old", 101)
	connect("next", 101)
	connect("old", 401)
	connect("next", 101)
}

// A certificate that is revoked ends the connection; one that ends soon is asked
// to be renewed, once a day.
func TestInspect(t *testing.T) {
	maker := madeBy(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "Maker CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a := newAuthority(t, pki.Config{ClientCAs: []string{writePEM(t, maker.Leaf)}})
	y := startSecure(t, a, ocpptest.Config(), site.Config{})
	join := func(id string, c tls.Certificate) *ocpptest.Station {
		ws, _, err := dial(t, y.secure+"/"+id, &tls.Config{RootCAs: y.roots, Certificates: []tls.Certificate{c}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := ocpptest.Play(t, ws, func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
		s.Boot()
		return s
	}
	lasting := certificate(t, a, "LASTING")
	ending := join("ENDING", madeBy(t, &maker, &x509.Certificate{Subject: pkix.Name{CommonName: "ENDING"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
	fine := join("LASTING", lasting)
	for range 2 { // the second time it has been asked
		y.Server.InspectNow()
	}
	if call := <-ending.Calls; call.Action != "ExtendedTriggerMessage" || !strings.Contains(string(call.Payload), "SignChargePointCertificate") {
		t.Errorf("asked %s %s", call.Action, call.Payload)
	}
	if err := a.Revoke(fmt.Sprintf("%x", revokedSerial(t, lasting)), ""); err != nil {
		t.Fatal(err)
	}
	y.Server.InspectNow()
	if err := <-fine.Closed; !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("closed with %v", err)
	}
	if len(ending.Calls) > 0 {
		t.Errorf("asked again: %+v", <-ending.Calls)
	}
}

// A00.FR.411: a station with an expired certificate boots as pending where that is
// configured, and is asked to renew it.
func TestExpired(t *testing.T) {
	maker := madeBy(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "Maker CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-72 * time.Hour)})
	a := newAuthority(t, pki.Config{ClientCAs: []string{writePEM(t, maker.Leaf)}, AcceptExpired: true})
	y := startSecure(t, a, ocpptest.Config(), site.Config{})
	old := madeBy(t, &maker, &x509.Certificate{Subject: pkix.Name{CommonName: "CP-1"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	ws, _, err := dial(t, y.secure+"/CP-1", &tls.Config{RootCAs: y.roots, Certificates: []tls.Certificate{old}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := ocpptest.Play(t, ws, func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
	if answer := s.Call("BootNotification", `{"chargePointVendor":"Acme","chargePointModel":"Wall"}`); !strings.Contains(answer, `"Pending"`) {
		t.Errorf("boot was answered %s", answer)
	}
	y.Server.InspectNow()
	for call := range s.Calls {
		if call.Action == "ExtendedTriggerMessage" && strings.Contains(string(call.Payload), "SignChargePointCertificate") {
			return
		}
	}
}
