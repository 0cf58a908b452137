package depot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/central"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/control"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/depot"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/scenario"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/socket"
	"github.com/chargeyard/chargeyard/firmware-sim/scenarios"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// yard is a depot with its central system, its ledger and its control port, all
// over real sockets.
type yard struct {
	t       *testing.T
	ctx     context.Context
	central *central.System
	depot   *depot.Depot
	path    string // of the ledger
	base    string // of the control port
	end     func()
	signed  int // certificate requests that were waited for
}

func parse(t *testing.T, text string) *scenario.Scenario {
	t.Helper()
	s, faults := scenario.Parse([]byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return s
}

func open(t *testing.T, system *central.System, cfg depot.Config) *yard {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	y := &yard{t: t, ctx: ctx, central: system, path: filepath.Join(t.TempDir(), "ledger.jsonl")}
	dialer, err := socket.New(socket.Config{URL: system.URL(), Roots: system.Root()})
	if err != nil {
		t.Fatal(err)
	}
	book, err := ledger.Open(y.path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if cfg.Prefix == "" {
		cfg.Prefix = "CP-"
	}
	cfg.Reconnect, cfg.BootTime, cfg.Seed = 50*time.Millisecond, 10*time.Millisecond, 1
	if y.depot, err = depot.New(cfg, dialer, book, log); err != nil {
		t.Fatal(err)
	}
	port, err := control.Listen("127.0.0.1:0", y.depot, cancel, log)
	if err != nil {
		t.Fatal(err)
	}
	y.base = "http://" + port.Address()
	done := make(chan error, 2)
	go func() { done <- y.depot.Run(ctx) }()
	go func() { done <- port.Run(ctx) }()
	y.end = func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
		y.end = func() {}
	}
	t.Cleanup(func() {
		y.end()
		http.DefaultClient.CloseIdleConnections()
	})
	return y
}

// post sends a wish to the control port and returns the status.
func (y *yard) post(path, body string) int {
	y.t.Helper()
	req, err := http.NewRequestWithContext(y.t.Context(), http.MethodPost, y.base+path, strings.NewReader(body))
	if err != nil {
		y.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		y.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		y.t.Fatal(err)
	}
	return resp.StatusCode
}

type row struct {
	ID          string `json:"id"`
	Connected   bool   `json:"connected"`
	Transaction string `json:"transaction"`
	Queue       int    `json:"queue"`
}

func (y *yard) rows() []row {
	y.t.Helper()
	resp, err := http.Get(y.base + "/stations")
	if err != nil {
		y.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var all []row
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		y.t.Fatal(err)
	}
	return all
}

// waitFor waits until met holds of everything that chargers said.
func (y *yard) waitFor(what string, met func([]central.Said) bool) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), patience)
	defer cancel()
	if err := y.central.Wait(ctx, met); err != nil {
		y.t.Fatalf("%s: %v", what, err)
	}
}

// await waits until all chargers are so.
func (y *yard) await(what string, met func(charger.View) bool) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), patience)
	defer cancel()
	for _, r := range y.rows() {
		st, _ := y.depot.Station(r.ID)
		if err := st.Await(ctx, met); err != nil {
			y.t.Fatalf("%s: %s: %v", r.ID, what, err)
		}
	}
}

func count[R ocpp16.Request](all []central.Said) (n int) {
	for _, s := range all {
		if _, ok := s.Request.(R); ok {
			n++
		}
	}
	return n
}

type line struct {
	Kind, Station, Action string
	Confirmed, Pending    bool
	Attempts              int
	Transaction           int64
	Payload, Answer       json.RawMessage
	MeterStart            int64 `json:"meter_start"`
	MeterStop             int64 `json:"meter_stop"`
}

func (y *yard) ledger() []line {
	y.t.Helper()
	data, err := os.ReadFile(y.path)
	if err != nil {
		y.t.Fatal(err)
	}
	var all []line
	for text := range strings.Lines(string(data)) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			y.t.Fatalf("%v in %s", err, text)
		}
		all = append(all, l)
	}
	return all
}

const hasty = `
configuration: {MeterValueSampleInterval: 1, AllowOfflineTxForUnknownId: true, TransactionMessageRetryInterval: 0}
groups:
  - name: hasty
    count: 8
    tokens: [A, B]
    script:
      - repeat:
          steps: [plug, tap, {charge: {for: 50ms..400ms}}, {sometimes: {chance: 0.2, steps: [lose_link: 20ms..200ms]}}, unplug, {wait: 10ms..50ms}]
`

// Chargers that charge without end against a central system that hangs up, errs
// and forgets to answer: in the end every session is there once, and the ledger
// knows it.
func TestNothingIsLost(t *testing.T) {
	var n atomic.Int64
	starts := map[string]int64{} // by business key: what a good central system answers to a repetition
	var next int64
	system := central.New()
	t.Cleanup(system.Close)
	lock := make(chan struct{}, 1)
	system.Decide = func(s central.Said) central.Answer {
		lock <- struct{}{}
		defer func() { <-lock }()
		r, ok := s.Request.(*ocpp16.StartTransactionRequest)
		var answer central.Answer
		if ok {
			key := fmt.Sprint(s.Station, r.ConnectorID, r.IDTag, r.Timestamp.Time.Unix())
			if starts[key] == 0 {
				next++
				starts[key] = next
			}
			answer.Response = &ocpp16.StartTransactionResponse{TransactionID: starts[key], IDTagInfo: ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatusAccepted}}
		}
		if n.Add(1)%11 == 0 { // after it was taken in, the connection breaks before the answer
			return central.Answer{Hangup: true}
		}
		return answer
	}
	y := open(t, system, depot.Config{Scenario: parse(t, hasty), StateDir: t.TempDir()})
	y.waitFor("sixty stops", func(all []central.Said) bool { return count[*ocpp16.StopTransactionRequest](all) >= 60 })
	if got := y.post("/drain", ""); got != http.StatusNoContent {
		t.Fatalf("drain: %d", got)
	}
	y.await("drained", func(v charger.View) bool { return v.Queue == 0 && v.Transaction() == "" })
	if got := y.post("/quit", ""); got != http.StatusNoContent {
		t.Fatalf("quit: %d", got)
	}
	y.end()

	said := map[int64]int{} // stops by transaction
	for _, s := range system.Said() {
		if r, ok := s.Request.(*ocpp16.StopTransactionRequest); ok {
			said[r.TransactionID]++
		}
	}
	confirmed, sessions, retried := 0, 0, 0
	attempts := map[int64]int{}
	for _, l := range y.ledger() {
		if l.Kind == "session" {
			sessions++
			if l.MeterStop < l.MeterStart {
				t.Errorf("%+v", l)
			}
			continue
		}
		if l.Action == "StartTransaction" || l.Action == "StopTransaction" {
			if !l.Confirmed || l.Pending {
				t.Errorf("%s %s was not confirmed", l.Station, l.Payload)
			}
			if l.Attempts > 1 {
				retried++
			}
		}
		if l.Action == "StopTransaction" {
			confirmed++
			var r ocpp16.StopTransactionRequest
			if _, err := r.Decode(l.Payload); err != nil {
				t.Fatal(err)
			}
			attempts[r.TransactionID] += l.Attempts
		}
	}
	if confirmed != len(starts) || sessions != confirmed || retried == 0 {
		t.Errorf("%d starts, %d confirmed stops, %d sessions, %d of them needed more than one attempt", len(starts), confirmed, sessions, retried)
	}
	for tx, n := range said {
		if attempts[tx] < n {
			t.Errorf("transaction %d: the central system heard %d stops, the ledger tells of %d attempts", tx, n, attempts[tx])
		}
	}
	t.Logf("%d sessions, %d messages needed more than one attempt", sessions, retried)
}

// The simulator is stopped and started: the chargers go on where they were.
func TestStateDir(t *testing.T) {
	system := central.New()
	t.Cleanup(system.Close)
	dir := t.TempDir()
	cfg := depot.Config{Scenario: load(t, "idle"), Identity: "CP 1/2", StateDir: dir}
	y := open(t, system, cfg)
	y.await("registered", func(v charger.View) bool { return v.Registered })
	st, _ := y.depot.Station("CP 1/2")
	for _, err := range []error{plug(st), st.Tap(t.Context(), 1, "A")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	y.waitFor("a start", func(all []central.Said) bool { return count[*ocpp16.StartTransactionRequest](all) == 1 })
	y.await("confirmed", func(v charger.View) bool { return v.Queue == 0 && v.Transaction() == "1" })
	y.end()
	again := open(t, system, cfg)
	again.waitFor("the stop of the interrupted session", func(all []central.Said) bool { return count[*ocpp16.StopTransactionRequest](all) == 1 })
	for _, s := range system.Said() {
		if r, ok := s.Request.(*ocpp16.StopTransactionRequest); ok && (r.TransactionID != 1 || r.Reason != ocpp16.ReasonPowerLoss || s.Station != "CP 1/2") {
			t.Errorf("%s", s)
		}
	}
}

func load(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Load(name, scenarios.Files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func plug(st depot.Charger) error { return st.Plug(context.Background(), 1, usual) }

// What an installer does by hand.
func TestControl(t *testing.T) {
	system := central.New()
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: load(t, "idle"), Count: 2, Connectors: 2})
	y.await("registered", func(v charger.View) bool { return v.Registered })
	for _, step := range []struct {
		path, body string
		want       int
	}{
		{"/stations/CP-001/plug", `{"connector":2}`, 204},
		{"/stations/CP-001/plug", `{"connector":2}`, 409},
		{"/stations/CP-001/plug", `{"connector":3}`, 409},
		{"/stations/CP-001/tap", `{"connector":2,"token":"CAFE01"}`, 204},
		{"/stations/CP-001/tap", `{"connector":2}`, 400},
		{"/stations/CP-001/tap", `{"conector":2}`, 400},
		{"/stations/CP-001/tap", `[`, 400},
		{"/stations/CP-009/plug", ``, 404},
		{"/stations/CP-001/dance", ``, 404},
		{"/stations/CP-002/fault", `{"code":"GroundFailure"}`, 204},
		{"/stations/CP-002/fault", `{"code":"Sadness"}`, 400},
		{"/stations/CP-002/clear", ``, 204},
		{"/stations/CP-002/clock-skew", `{"by":"1h"}`, 204},
		{"/stations/CP-002/link-down", ``, 204},
	} {
		if got := y.post(step.path, step.body); got != step.want {
			t.Errorf("%s %s: %d, want %d", step.path, step.body, got, step.want)
		}
	}
	y.waitFor("a start", func(all []central.Said) bool { return count[*ocpp16.StartTransactionRequest](all) == 1 })
	st, _ := y.depot.Station("CP-001")
	if err := st.Await(y.ctx, func(v charger.View) bool { return v.Queue == 0 }); err != nil {
		t.Fatal(err)
	}
	rows := y.rows()
	if len(rows) != 2 || rows[0] != (row{"CP-001", true, "1", 0}) || rows[1].Connected {
		t.Errorf("%+v", rows)
	}
	for _, path := range []string{"/stations/CP-002/link-up", "/stations/CP-001/unplug", "/stations/CP-001/power-off"} {
		body := ""
		if strings.Contains(path, "unplug") {
			body = `{"connector":2}`
		}
		if got := y.post(path, body); got != 204 {
			t.Errorf("%s: %d", path, got)
		}
	}
	if got := y.post("/stations/CP-001/tap", `{"token":"CAFE01"}`); got != 409 {
		t.Errorf("a card without power: %d, want 409", got)
	}
	if got := y.post("/stations/CP-001/power-on", ``); got != 204 {
		t.Error(got)
	}
	y.await("all there", func(v charger.View) bool { return v.Registered && v.Queue == 0 })
	if _, err := control.Listen("0.0.0.0:0", y.depot, func() {}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("the control port opened to the world")
	}
}

// Firmware, logs and certificates over HTTP.
func TestUpkeep(t *testing.T) {
	var uploads atomic.Pointer[string]
	mux := http.NewServeMux()
	mux.HandleFunc("GET /firmware-2.3.4.bin", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "image") })
	mux.HandleFunc("PUT /logs/", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		text := r.URL.Path + " " + string(b)
		uploads.Store(&text)
	})
	files := httptest.NewServer(mux)
	t.Cleanup(files.Close)
	system := central.New()
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: load(t, "idle"), Identity: "CP-1"})
	y.await("registered", func(v charger.View) bool { return v.Registered && v.Queue == 0 })
	call := func(req ocpp16.Request) ocpp16.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		resp := req.NewResponse()
		if err := system.Call(ctx, "CP-1", req, resp); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	progress := func(what string, want ...string) {
		t.Helper()
		var got []string
		defer func() {
			if t.Failed() {
				t.Logf("%s: %v", what, got)
			}
		}()
		y.waitFor(what, func(all []central.Said) bool {
			got = nil
			for _, s := range all {
				switch r := s.Request.(type) {
				case *ocpp16.FirmwareStatusNotificationRequest:
					got = append(got, "firmware "+string(r.Status))
				case *ocpp16.SignedFirmwareStatusNotificationRequest:
					got = append(got, fmt.Sprintf("signed %d %s", *r.RequestID, r.Status))
				case *ocpp16.DiagnosticsStatusNotificationRequest:
					got = append(got, "diagnostics "+string(r.Status))
				case *ocpp16.LogStatusNotificationRequest:
					got = append(got, fmt.Sprintf("log %d %s", *r.RequestID, r.Status))
				case *ocpp16.BootNotificationRequest:
					got = append(got, "boot "+r.FirmwareVersion)
				}
			}
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	none := int64(0)
	want := []string{"boot 1.0.0"}
	then := func(what string, more ...string) {
		t.Helper()
		want = append(want, more...)
		progress(what, want...)
	}
	call(&ocpp16.GetDiagnosticsRequest{Location: files.URL + "/logs/"})
	then("diagnostics", "diagnostics Uploading", "diagnostics Uploaded")
	if text := *uploads.Load(); !strings.HasPrefix(text, "/logs/CP-1-diagnostics-") || !strings.Contains(text, `"HeartbeatInterval"`) {
		t.Errorf("uploaded %.200s", text)
	}
	call(&ocpp16.GetDiagnosticsRequest{Location: "ftp://127.0.0.1/", Retries: &none})
	then("diagnostics by FTP", "diagnostics Uploading", "diagnostics UploadFailed")
	call(&ocpp16.GetLogRequest{LogType: ocpp16.LogTypeSecurityLog, RequestID: 5, Log: ocpp16.LogParameters{RemoteLocation: files.URL + "/logs/here"}})
	then("log", "log 5 Uploading", "log 5 Uploaded")
	if text := *uploads.Load(); !strings.HasPrefix(text, "/logs/here ") || !strings.Contains(text, "StartupOfTheDevice") {
		t.Errorf("uploaded %.200s", text)
	}
	call(&ocpp16.GetLogRequest{LogType: ocpp16.LogTypeDiagnosticsLog, RequestID: 6, Retries: &none, Log: ocpp16.LogParameters{RemoteLocation: files.URL + "/nowhere"}})
	then("log to nowhere", "log 6 Uploading", "log 6 UploadFailure")

	now := lenient.At(time.Now().Truncate(time.Second))
	call(&ocpp16.UpdateFirmwareRequest{Location: files.URL + "/missing.bin", RetrieveDate: now, Retries: &none})
	then("missing firmware", "firmware Downloading", "firmware DownloadFailed")
	call(&ocpp16.UpdateFirmwareRequest{Location: files.URL + "/firmware-2.3.4.bin", RetrieveDate: now})
	then("firmware", "firmware Downloading", "firmware Downloaded", "firmware Installing", "boot 2.3.4", "firmware Installed")

	root, key := authority(t)
	signature := sign(t, key, []byte("image"))
	order := &ocpp16.SignedUpdateFirmwareRequest{RequestID: 9, Firmware: ocpp16.Firmware{
		Location: files.URL + "/firmware-2.3.4.bin", RetrieveDateTime: now, SigningCertificate: root, Signature: sign(t, key, []byte("other"))}}
	call(order)
	then("a wrong signature", "signed 9 Downloading", "signed 9 Downloaded", "signed 9 InvalidSignature")
	order.RequestID, order.Firmware.Signature = 10, signature
	call(order)
	then("signed firmware", "signed 10 Downloading", "signed 10 Downloaded", "signed 10 SignatureVerified", "signed 10 Installing",
		"signed 10 InstallRebooting", "boot 2.3.4", "signed 10 Installed")
	order.Firmware.SigningCertificate = "nonsense"
	if r, ok := call(order).(*ocpp16.SignedUpdateFirmwareResponse); !ok || r.Status != ocpp16.UpdateFirmwareStatusInvalidCertificate {
		t.Errorf("a certificate that is none: %+v", r)
	}
	certificates(t, y, root, call)
}

// certificates installs, lists and deletes a root, and lets the charger ask for a
// certificate of its own.
func certificates(t *testing.T, y *yard, root string, call func(ocpp16.Request) ocpp16.Response) {
	t.Helper()
	use := ocpp16.CertificateUseCentralSystemRootCertificate
	list := func() *ocpp16.GetInstalledCertificateIdsResponse {
		r, _ := call(&ocpp16.GetInstalledCertificateIdsRequest{CertificateType: use}).(*ocpp16.GetInstalledCertificateIdsResponse)
		return r
	}
	if r := list(); r.Status != ocpp16.GetInstalledCertificateStatusNotFound {
		t.Errorf("%+v before anything was installed", r)
	}
	for text, want := range map[string]ocpp16.InstallCertificateStatus{root: "Accepted", "nonsense": "Rejected"} {
		if r, ok := call(&ocpp16.InstallCertificateRequest{CertificateType: use, Certificate: text}).(*ocpp16.InstallCertificateResponse); !ok || r.Status != want {
			t.Errorf("install: %+v, want %s", r, want)
		}
	}
	listed := list()
	if len(listed.CertificateHashData) != 1 || listed.CertificateHashData[0].SerialNumber != "1a2b3c" {
		t.Fatalf("%+v", listed)
	}
	for _, want := range []ocpp16.DeleteCertificateStatus{"Accepted", "NotFound"} {
		if r, ok := call(&ocpp16.DeleteCertificateRequest{CertificateHashData: listed.CertificateHashData[0]}).(*ocpp16.DeleteCertificateResponse); !ok || r.Status != want {
			t.Errorf("delete: %+v, want %s", r, want)
		}
	}
	call(&ocpp16.ExtendedTriggerMessageRequest{RequestedMessage: ocpp16.ExtendedMessageTriggerSignChargePointCertificate})
	var csr string
	y.waitFor("SignCertificate", func(all []central.Said) bool {
		for _, s := range all {
			if r, ok := s.Request.(*ocpp16.SignCertificateRequest); ok {
				csr = r.CSR
				return true
			}
		}
		return false
	})
	for chain, want := range map[string]ocpp16.CertificateSignedStatus{signed(t, csr): "Accepted", root: "Rejected"} {
		if r, ok := call(&ocpp16.CertificateSignedRequest{CertificateChain: chain}).(*ocpp16.CertificateSignedResponse); !ok || r.Status != want {
			t.Errorf("CertificateSigned: %+v, want %s", r, want)
		}
	}
}

// A password set over the air is used from the next connection on.
func TestPassword(t *testing.T) {
	system := central.New()
	t.Cleanup(system.Close)
	system.Password = "first-password-0001"
	y := open(t, system, depot.Config{Scenario: load(t, "idle"), Identity: "CP-1", Password: "first-password-0001"})
	y.await("registered", func(v charger.View) bool { return v.Registered })
	req := &ocpp16.ChangeConfigurationRequest{Key: "AuthorizationKey", Value: "6e65772d70617373776f72642d303031"} // hex of what follows
	system.SetPassword("new-password-001")
	if err := system.Call(y.ctx, "CP-1", req, req.NewResponse()); err != nil {
		t.Fatal(err)
	}
	y.await("away", func(v charger.View) bool { return !v.Connected })
	y.await("back with the new password", func(v charger.View) bool { return v.Connected })
}

func TestConfig(t *testing.T) {
	if _, err := depot.New(depot.Config{Scenario: load(t, "idle"), Identity: "X", Count: 2}, nil, nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two chargers with one identity")
	}
	if _, err := socket.New(socket.Config{URL: "http://127.0.0.1"}); err == nil {
		t.Error("an address that is no WebSocket")
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(load(t, "depot").Chargers()); err != nil || strings.TrimSpace(b.String()) != "12" {
		t.Errorf("%s, %v", b.String(), err)
	}
}
