package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Proof 3: every command that OCPP 1.6 knows, given through the API, to its
// observed effect on a simulated charger.
func TestCommands(t *testing.T) {
	h := newHouse(t, plan{edge: "authorization: {offline: all}\n"})
	h.online()
	d := h.newDepot(1, "idle", "--identity", "CP-1", "--connectors", "2")
	d.start()
	eventually(t, "the charger is there", func() error { return h.status("CP-1", 1, "available") })

	var uploaded atomic.Int64
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			uploaded.Add(n)
			return
		}
		_, _ = io.WriteString(w, "firmware image 9.9.9") // the charger may hang up
	}))
	t.Cleanup(files.Close)
	certificate, hash := rootCertificate(t)

	do := func(t *testing.T, typ string, evse int, params any, want string) command {
		t.Helper()
		c := h.api.outcome(t, h.api.command(t, typ, "CP-1", evse, params, 2*time.Minute), 3*time.Minute)
		if c.Status != want {
			t.Errorf("%s %v came to %s (%s), want %s", typ, params, c.Status, c.Reason, want)
		}
		if c.Reason == "" {
			t.Errorf("%s came to %s without a reason for people", typ, c.Status)
		}
		return c
	}
	ok := func(t *testing.T, typ string, evse int, params any) command {
		t.Helper()
		return do(t, typ, evse, params, "succeeded")
	}
	driver := p{"type": "rfid", "value": "CAFE01"}
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	active := func() []session {
		return must[session](t, h.api, "/sessions", map[string][]string{"station": {"CP-1"}, "status": {"active"}})
	}

	t.Run("start, limits, stop", func(t *testing.T) {
		if err := d.ask("POST", "/stations/CP-1/plug", p{"connector": 1}, nil); err != nil {
			t.Fatal(err)
		}
		ok(t, "start", 1, p{"token": driver})
		if s := active(); len(s) != 1 || s[0].EVSE != 1 || s[0].Token.Value != "CAFE01" {
			t.Fatalf("sessions %+v, want one of CAFE01 on EVSE 1", s)
		}
		ok(t, "set_limit", 1, p{"limit_a": 10, "until": in(time.Hour)})
		if c := ok(t, "get_limit", 1, p{"unit": "A"}); !strings.Contains(string(c.Result), "10") {
			t.Errorf("get_limit brought %s, want 10 A", c.Result)
		}
		ok(t, "clear_limit", 1, p{})
		// Scheduled until the session has ended: accepted, and nothing more.
		later := h.api.command(t, "set_availability", "CP-1", 1, p{"available": false}, 2*time.Minute)
		eventually(t, "the change is scheduled", func() error { return h.accepted(later) })
		ok(t, "stop", 1, p{"session": active()[0].ID})
		if s := active(); len(s) != 0 {
			t.Errorf("sessions %+v after the stop", s)
		}
		if err := d.ask("POST", "/stations/CP-1/unplug", p{"connector": 1}, nil); err != nil {
			t.Fatal(err)
		}
		if c := h.api.outcome(t, later, time.Minute); c.Status != "succeeded" {
			t.Errorf("the scheduled change came to %s (%s)", c.Status, c.Reason)
		}
		eventually(t, "EVSE 1 is unavailable", func() error { return h.status("CP-1", 1, "unavailable") })
		ok(t, "set_availability", 1, p{"available": true})
	})
	t.Run("stop where nothing runs", func(t *testing.T) { do(t, "stop", 2, p{}, "failed") })
	t.Run("unlock", func(t *testing.T) { ok(t, "unlock", 1, p{"connector": 1}) })
	t.Run("availability", func(t *testing.T) {
		ok(t, "set_availability", 2, p{"available": false})
		eventually(t, "EVSE 2 is unavailable", func() error { return h.status("CP-1", 2, "unavailable") })
		ok(t, "set_availability", 2, p{"available": true})
		eventually(t, "EVSE 2 is available", func() error { return h.status("CP-1", 2, "available") })
	})
	t.Run("configuration", func(t *testing.T) {
		key := p{"component": "Ocpp16", "variable": "MeterValueSampleInterval", "value": ""}
		ok(t, "set_configuration", 0, p{"variables": []p{{"component": "Ocpp16", "variable": "MeterValueSampleInterval", "value": "7"}}})
		if c := ok(t, "get_configuration", 0, p{"variables": []p{key}}); !strings.Contains(string(c.Result), `"7"`) {
			t.Errorf("get_configuration brought %s, want 7", c.Result)
		}
		if c := ok(t, "get_configuration", 0, p{}); strings.Count(string(c.Result), `"variable"`) < 20 {
			t.Errorf("get_configuration of everything brought %s", c.Result)
		}
		do(t, "set_configuration", 0, p{"variables": []p{{"component": "Ocpp16", "variable": "NumberOfConnectors", "value": "7"}}}, "rejected")
	})
	t.Run("trigger", func(t *testing.T) {
		for _, message := range []string{"boot", "heartbeat", "status", "meter", "firmware", "log"} {
			ok(t, "trigger", 0, p{"message": message})
		}
	})
	t.Run("reservation", func(t *testing.T) {
		ok(t, "reserve", 2, p{"reservation": 12, "token": driver, "until": in(time.Hour)})
		eventually(t, "EVSE 2 is reserved", func() error { return h.status("CP-1", 2, "reserved") })
		ok(t, "cancel_reservation", 2, p{"reservation": 12})
		eventually(t, "EVSE 2 is free", func() error { return h.status("CP-1", 2, "available") })
	})
	t.Run("lists", func(t *testing.T) {
		ok(t, "send_local_list", 0, p{"version": 8, "entries": []p{{"token": driver, "status": "accepted"}}})
		ok(t, "clear_cache", 0, p{})
	})
	t.Run("log", func(t *testing.T) {
		ok(t, "get_log", 0, p{"kind": "diagnostics", "url": files.URL + "/log"})
		ok(t, "get_log", 0, p{"kind": "security", "url": files.URL + "/log"})
		if uploaded.Load() == 0 {
			t.Error("nothing was uploaded")
		}
	})
	t.Run("firmware", func(t *testing.T) {
		ok(t, "update_firmware", 0, p{"url": files.URL + "/firmware-9.9.9.bin", "retrieve": in(0)})
	})
	t.Run("certificates", func(t *testing.T) {
		ok(t, "install_certificate", 0, p{"kind": "csms_root", "certificate": certificate})
		c := ok(t, "list_certificates", 0, p{"kind": "csms_root"})
		if !strings.Contains(string(c.Result), hash) {
			t.Errorf("list_certificates brought %s, without serial %s", c.Result, hash)
		}
		var listed struct {
			Certificates []json.RawMessage `json:"certificates"`
		}
		if err := json.Unmarshal(c.Result, &listed); err != nil || len(listed.Certificates) == 0 {
			t.Fatalf("%s: %v", c.Result, err)
		}
		ok(t, "delete_certificate", 0, p{"hash": listed.Certificates[0]})
		ok(t, "sign_certificate", 0, p{})
	})
	t.Run("data and calls", func(t *testing.T) {
		ok(t, "send_data", 0, p{"vendor": "e2e", "message": "hello", "data": "there"})
		ok(t, "call", 0, p{"protocol": "ocpp1.6", "action": "ClearCache", "payload": p{}})
		do(t, "call", 0, p{"protocol": "ocpp2.0.1", "action": "ClearCache", "payload": p{}}, "unsupported")
		do(t, "show_message", 0, p{"text": "hello"}, "unsupported")
	})
	t.Run("reset", func(t *testing.T) {
		for _, kind := range []string{"soft", "hard"} {
			ok(t, "reset", 0, p{"kind": kind})
		}
	})
	t.Run("cancel", func(t *testing.T) {
		h.uplink.setCut(true)
		id := h.api.command(t, "clear_cache", "CP-1", 0, p{}, time.Minute)
		if err := h.api.do("POST", "/commands/"+id+"/cancel", nil, nil); err != nil {
			t.Fatal(err)
		}
		h.uplink.setCut(false)
		if c := h.api.outcome(t, id, time.Minute); c.Status != "cancelled" {
			t.Errorf("came to %s (%s), want cancelled", c.Status, c.Reason)
		}
	})
	t.Run("expiry", func(t *testing.T) {
		h.uplink.setCut(true)
		c := h.api.outcome(t, h.api.command(t, "clear_cache", "CP-1", 0, p{}, 2*time.Second), time.Minute)
		h.uplink.setCut(false)
		if c.Status != "expired" {
			t.Errorf("came to %s (%s), want expired", c.Status, c.Reason)
		}
	})
	t.Run("idempotency", func(t *testing.T) {
		h.idempotent(t)
	})
	t.Run("gateway restart", func(t *testing.T) {
		h.online()
		var out command
		if err := h.api.do("POST", "/commands", p{"type": "restart", "gateway": gatewayID, "expires": in(time.Minute), "params": p{}}, &out); err != nil {
			t.Fatal(err)
		}
		if c := h.api.outcome(t, out.ID, time.Minute); c.Status != "succeeded" {
			t.Errorf("came to %s (%s)", c.Status, c.Reason)
		}
	})
	// Each command went through its life in order.
	life := []string{"queued", "sent", "delivered", "accepted", "succeeded"}
	for _, c := range must[command](t, h.api, "/commands", nil) {
		at := -1
		for _, s := range c.Steps {
			i := slices.Index(life, s.State)
			// A gateway that lets a command wait says so: sent, once more, with a reason.
			if i >= 0 && (i < at || i == at && s.State != "sent") {
				t.Errorf("%s went through %v", c.Type, c.Steps)
			}
			at = max(at, i)
		}
	}
}

// accepted asks whether a command was accepted and has not come to its end.
func (h *house) accepted(id string) error {
	var c command
	if err := h.api.do(http.MethodGet, "/commands/"+id, nil, &c); err != nil {
		return err
	}
	if c.Status != "accepted" {
		return fmt.Errorf("%s is %s: %s", c.Type, c.Status, c.Reason)
	}
	return nil
}

// status asks whether an EVSE shows a status.
func (h *house) status(identity string, evse int, want string) error {
	all, err := list[station](h.api, "/stations", map[string][]string{"identity": {identity}})
	if err != nil {
		return err
	}
	for _, s := range all {
		for _, e := range s.EVSEs {
			for _, c := range e.Connectors {
				if e.EVSE == evse && c.Status.Value == want {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("%+v", all)
}

// rootCertificate makes a certificate and tells its serial number in hex.
func rootCertificate(t *testing.T) (pemText, serial string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(0x1a2b3c), Subject: pkix.Name{CommonName: "e2e root", Organization: []string{"Chargeyard"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "1a2b3c"
}

// idempotent posts one command twice under one key: it is one command.
func (h *house) idempotent(t *testing.T) {
	t.Helper()
	body := fmt.Sprintf(`{"type":"send_data","station":"CP-1","params":{"vendor":"e2e","data":"twice"},"expires":%q}`, time.Now().Add(time.Minute).UTC().Format(time.RFC3339))
	post := func(body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.api.base+"/api/v1/commands", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+h.api.token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "the-same")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var c command
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode < 300 {
			if err := json.Unmarshal(b, &c); err != nil {
				t.Fatal(err)
			}
		}
		return resp.StatusCode, c.ID
	}
	status1, first := post(body)
	status2, second := post(body)
	if status1 != http.StatusAccepted || status2 != http.StatusAccepted || first != second {
		t.Errorf("%d %s, then %d %s; want 202 and one command", status1, first, status2, second)
	}
	if status, _ := post(strings.Replace(body, "twice", "thrice", 1)); status != http.StatusConflict && status != http.StatusUnprocessableEntity {
		t.Errorf("another body under the same key: %d, want a refusal", status)
	}
	h.api.outcome(t, first, time.Minute)
}
