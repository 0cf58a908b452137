package e2e

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// order is one command, and what it must come to.
type order struct {
	typ    string
	evse   int
	params p
	want   string // succeeded, unless said otherwise
}

// p is an object of JSON.
type p = map[string]any

// call is an order for a message that has no word of its own.
func call(protocol, action string, payload p) order {
	return order{typ: "call", params: p{"protocol": protocol, "action": action, "payload": payload}}
}

// strictly gives all orders to a station and reads what it found.
func strictly(t *testing.T, h *house, s *rpcStation, orders []order) {
	t.Helper()
	for _, o := range orders {
		name := o.typ
		if o.typ == "call" {
			name = o.params["action"].(string)
		}
		if o.want == "" {
			o.want = "succeeded"
		}
		c := h.api.outcome(t, h.api.command(t, o.typ, s.id, o.evse, o.params, 2*time.Minute), 3*time.Minute)
		if c.Status != o.want {
			t.Errorf("%s %v came to %s (%s), want %s", name, o.params, c.Status, c.Reason, o.want)
		}
	}
}

func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// A station that is strict about OCPP 1.6 gets every message that a central
// system has, says every message that a charge point has, and finds no fault.
func TestStrict16(t *testing.T) {
	h := newHouse(t, plan{edge: "authorization: {offline: all}\n"})
	h.online()
	s := newRPCStation(t, h.ocppURL(), "RPC-16", "ocpp1.6")
	root, _ := rootCertificate(t)
	driver := p{"type": "rfid", "value": "CAFE01"}
	variable := p{"component": "Ocpp16", "variable": "MeterValueSampleInterval", "value": "7"}
	strictly(t, h, s, []order{
		{typ: "start", evse: 1, params: p{"token": driver, "limit_a": 16.5}},
		{typ: "set_limit", evse: 1, params: p{"limit_a": 10.3, "until": in(time.Hour)}},
		{typ: "get_limit", evse: 1, params: p{"unit": "A"}},
		{typ: "clear_limit", evse: 1, params: p{}},
		{typ: "stop", evse: 1, params: p{}},
		{typ: "unlock", evse: 1, params: p{"connector": 1}},
		{typ: "set_availability", evse: 1, params: p{"available": false}},
		{typ: "set_availability", evse: 1, params: p{"available": true}},
		{typ: "set_configuration", params: p{"variables": []p{variable}}},
		{typ: "get_configuration", params: p{}},
		{typ: "trigger", params: p{"message": "boot"}},
		{typ: "trigger", params: p{"message": "heartbeat"}},
		{typ: "trigger", params: p{"message": "status"}},
		{typ: "trigger", params: p{"message": "meter"}},
		{typ: "trigger", params: p{"message": "log"}},
		call("ocpp1.6", "TriggerMessage", p{"requestedMessage": "DiagnosticsStatusNotification"}),
		call("ocpp1.6", "ExtendedTriggerMessage", p{"requestedMessage": "LogStatusNotification"}),
		{typ: "reserve", evse: 1, params: p{"reservation": 12, "token": driver, "until": in(time.Hour)}},
		{typ: "cancel_reservation", evse: 1, params: p{"reservation": 12}},
		{typ: "send_local_list", params: p{"version": 8, "entries": []p{{"token": driver, "status": "accepted"}}}},
		{typ: "clear_cache", params: p{}},
		{typ: "get_log", params: p{"kind": "security", "url": "http://127.0.0.1/log"}},
		call("ocpp1.6", "GetDiagnostics", p{"location": "http://127.0.0.1/log"}),
		{typ: "update_firmware", params: p{"url": "http://127.0.0.1/firmware", "retrieve": in(0)}},
		{typ: "update_firmware", params: p{"url": "http://127.0.0.1/firmware", "retrieve": in(0), "certificate": root, "signature": "c2lnbmF0dXJl"}},
		{typ: "install_certificate", params: p{"kind": "csms_root", "certificate": root}},
		{typ: "list_certificates", params: p{"kind": "csms_root"}},
		{typ: "sign_certificate", params: p{"chain": root}},
		{typ: "send_data", params: p{"vendor": "e2e", "message": "hello", "data": "there"}},
		{typ: "reset", params: p{"kind": "soft"}},
	})

	erase(t, h, s)

	// What a charge point says, the rest of it.
	now := in(0)
	says(s, map[string]p{
		"Authorize":                        {"idTag": "CAFE01"},
		"DataTransfer":                     {"vendorId": "nobody", "data": "x"},
		"SecurityEventNotification":        {"type": "TamperDetectionActivated", "timestamp": now},
		"DiagnosticsStatusNotification":    {"status": "Idle"},
		"FirmwareStatusNotification":       {"status": "Idle"},
		"SignedFirmwareStatusNotification": {"status": "Idle"},
		"LogStatusNotification":            {"status": "Idle"},
		"SignCertificate":                  {"csr": "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----"},
	})
	for _, a := range ocpp16.Actions {
		s.every(a.Name, a.Direction&ocpp16.FromStation != 0, a.Direction&ocpp16.FromServer != 0)
	}
	s.check()
}

// erase deletes the root certificate that a station lists.
func erase(t *testing.T, h *house, s *rpcStation) {
	t.Helper()
	c := h.api.outcome(t, h.api.command(t, "list_certificates", s.id, 0, p{"kind": "csms_root"}, time.Minute), 2*time.Minute)
	var listed struct {
		Certificates []struct {
			Algorithm      string `json:"algorithm"`
			IssuerNameHash string `json:"issuer_name_hash"`
			IssuerKeyHash  string `json:"issuer_key_hash"`
			Serial         string `json:"serial"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(c.Result, &listed); err != nil || len(listed.Certificates) == 0 {
		t.Fatalf("list_certificates brought %s (%s): %v", c.Result, c.Reason, err)
	}
	hash := listed.Certificates[0]
	strictly(t, h, s, []order{{typ: "delete_certificate", params: p{"hash": p{
		"algorithm": hash.Algorithm, "issuer_name_hash": hash.IssuerNameHash, "issuer_key_hash": hash.IssuerKeyHash, "serial": hash.Serial,
	}}}})
}

// says lets the station say messages, in the order of their names.
func says(s *rpcStation, messages map[string]p) {
	s.t.Helper()
	for _, action := range slices.Sorted(maps.Keys(messages)) {
		s.call(action, messages[action])
	}
}
