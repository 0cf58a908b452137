package v201_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// manager answers questions with what it was given.
type manager struct {
	mu      sync.Mutex // guards what follows
	answers map[string]string
	asked   map[string]string
}

func (m *manager) AskToken(_ context.Context, _ event.Address, token event.Token) (site.TokenInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	decision, parent, _ := strings.Cut(m.answers[token.Value], " ")
	return site.TokenInfo{Token: token, Decision: decision, Parent: parent}, nil
}

func (m *manager) Ask(_ context.Context, at event.Address, q site.Question) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked[q.Kind] = at.Subject() + " " + string(q.Payload)
	answer, ok := m.answers[q.Kind]
	if !ok {
		return nil, site.ErrUnsupported
	}
	return json.RawMessage(answer), nil
}

// What the manager says is the answer, as far as the schema allows it; what it
// does not answer is a clear failure.
func TestQuestions(t *testing.T) {
	const (
		certificate = `{"iso15118SchemaVersion":"urn:iso:15118:2:2013:MsgDef","action":"Update","exiRequest":"gJg="}`
		ocsp        = `{"ocspRequestData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c","responderURL":"http://d"}}`
		needs       = `{"evseId":2,"chargingNeeds":{"requestedEnergyTransfer":"DC"}}`
		contract    = `{"idToken":{"idToken":"DE-8AA","type":"eMAID"},"iso15118CertificateHashData":[{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c","responderURL":"http://d"}]}`
		group       = `{"idToken":{"idToken":"04A1","type":"ISO14443"}}`
	)
	tests := []struct {
		name, action, payload string
		kind, says            string // of the manager; "" answers nothing
		token                 string // decision and group
		want                  string
		asked                 string
	}{
		{"M01 unsupported", "Get15118EVCertificate", certificate, "", "", "", `{"status":"Failed","statusInfo":{"reasonCode":"UnsupportedRequest","additionalInfo":"the manager answers no such question"},"exiResponse":""}`, ""},
		{"M02 answered", "Get15118EVCertificate", certificate, "iso15118_certificate", `{"status":"Accepted","exiResponse":"gAE="}`, "", `{"status":"Accepted","exiResponse":"gAE="}`, "stations/CP-1 " + certificate},
		{"M02 nonsense", "Get15118EVCertificate", certificate, "iso15118_certificate", `{"status":"Perhaps"}`, "", `{"status":"Failed","statusInfo":{"reasonCode":"NoAnswer","additionalInfo":"the manager did not answer"},"exiResponse":""}`, ""},
		{"M06 answered", "GetCertificateStatus", ocsp, "certificate_status", `{"status":"Accepted","ocspResult":"MII="}`, "", `{"status":"Accepted","ocspResult":"MII="}`, "stations/CP-1 " + ocsp},
		{"K15 planned later", "NotifyEVChargingNeeds", needs, "ev_charging_needs", `{"status":"Processing"}`, "", `{"status":"Processing"}`, "stations/CP-1/evses/2 " + needs},
		{"K15 unsupported", "NotifyEVChargingNeeds", needs, "", "", "", `{"status":"Rejected","statusInfo":{"reasonCode":"UnsupportedRequest","additionalInfo":"the manager answers no such question"}}`, ""},
		{"C07.FR.14 both good", "Authorize", contract, "certificate_status", `{"certificateStatus":"Accepted"}`, "accepted", `{"idTokenInfo":{"status":"Accepted"},"certificateStatus":"Accepted"}`, "stations/CP-1 " + contract},
		{"C07.FR.13 contract ended", "Authorize", contract, "certificate_status", `{"certificateStatus":"Accepted"}`, "blocked", `{"idTokenInfo":{"status":"Blocked"},"certificateStatus":"ContractCancelled"}`, ""},
		{"C07.FR.15 expired", "Authorize", contract, "certificate_status", `{"certificateStatus":"CertificateExpired"}`, "accepted", `{"idTokenInfo":{"status":"Expired"},"certificateStatus":"CertificateExpired"}`, ""},
		{"C07.FR.16 revoked", "Authorize", contract, "certificate_status", `{"certificateStatus":"CertificateRevoked"}`, "accepted", `{"idTokenInfo":{"status":"Invalid"},"certificateStatus":"CertificateRevoked"}`, ""},
		{"C07.FR.17 nonsense", "Authorize", contract, "certificate_status", `[]`, "accepted", `{"idTokenInfo":{"status":"Invalid"},"certificateStatus":"CertChainError"}`, ""},
		{"C07.FR.17 unsupported", "Authorize", contract, "", "", "accepted", `{"idTokenInfo":{"status":"Invalid"},"certificateStatus":"CertChainError"}`, ""},
		{"C01.FR.06 the group", "Authorize", group, "", "", "accepted FLEET-7", `{"idTokenInfo":{"status":"Accepted","groupIdToken":{"idToken":"FLEET-7","type":"Central"}}}`, ""},
		{"C01.FR.07 refused", "Authorize", group, "", "", "expired", `{"idTokenInfo":{"status":"Expired"}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &manager{answers: map[string]string{"DE-8AA": tt.token, "04A1": tt.token}, asked: map[string]string{}}
			if tt.kind != "" {
				m.answers[tt.kind] = tt.says
			}
			y := ocpptest.StartWith(t, m, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
			s := y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil)
			got := s.Call(tt.action, tt.payload)
			if without(got, "cacheExpiryDateTime") != tt.want {
				t.Errorf("answered %s\nwant     %s", got, tt.want)
			}
			checkSchema(t, tt.action, got)
			m.mu.Lock()
			defer m.mu.Unlock()
			if tt.asked != "" && m.asked[tt.kind] != tt.asked {
				t.Errorf("asked %q, want %q", m.asked[tt.kind], tt.asked)
			}
		})
	}
}

// without takes a text field, and the comma before it, out of a payload.
func without(payload, field string) string {
	before, rest, ok := strings.Cut(payload, `,"`+field+`":"`)
	if !ok {
		return payload
	}
	_, after, _ := strings.Cut(rest, `"`)
	return before + after
}

// A station that is not accepted may boot and tell of transactions, and send what
// it was asked for. OCPP 2.0.1 B01.FR.10, B02, B03.
func TestPending(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{PendUnknown: true}, quiet, v201.New(v201.V201()))
	s := y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil)
	if got := s.Call("Heartbeat", `{}`); got != "!SecurityError" {
		t.Errorf("Heartbeat before the boot was answered %s", got)
	}
	got := s.Call("BootNotification", `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"Wall"}}`)
	if !strings.Contains(got, `"status":"Pending"`) {
		t.Errorf("the boot was answered %s", got)
	}
	for action, payload := range map[string]string{
		"StatusNotification": `{` + when + `,"connectorStatus":"Available","evseId":1,"connectorId":1}`,
		"NotifyReport":       `{"requestId":1,"generatedAt":"2026-01-01T00:00:00Z","seqNo":0}`,
		"Fly":                `{}`,
	} {
		if got := s.Call(action, payload); got != "!SecurityError" {
			t.Errorf("%s was answered %s", action, got)
		}
	}
	if got := s.Call("TransactionEvent", tx("Started", "Authorized", "x", 0, "", evse1)); got != "{}" {
		t.Errorf("TransactionEvent was answered %s", got)
	}
	y.Journal.Wait(t, "session", func(d event.Draft) bool { return d.Data.EventType() == event.TypeSessionStarted })
}

// In strict mode whatever the schema does not allow is refused with the code for
// it, and nothing is made of it. OCPP 2.0.1 part 4 §4.3.
func TestStrict(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.Stations = map[event.StationID]ocpp.Station{"CP-1": {Strict: true}}
	y := ocpptest.Start(t, cfg, site.Config{}, quiet, v201.New(v201.V201()))
	s := y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil)
	s.Call("Heartbeat", "{}")
	before := len(y.Journal.Events())
	tests := []struct{ name, action, payload, want string }{
		{"as it should be", "Heartbeat", `{}`, ""},
		{"unknown field", "Heartbeat", `{"now":true}`, "!FormatViolation"},
		{"missing field", "TransactionEvent", `{}`, "!OccurrenceConstraintViolation"},
		{"wrong type", "TransactionEvent", strings.Replace(tx("Started", "Authorized", "x", 0, "", evse1), `"seqNo":0`, `"seqNo":"0"`, 1), "!TypeConstraintViolation"},
		{"unknown word", "TransactionEvent", tx("Begun", "Authorized", "x", 0, "", evse1), "!PropertyConstraintViolation"},
		{"too long", "StatusNotification", `{` + when + `,"connectorStatus":"Available","evseId":1}`, "!OccurrenceConstraintViolation"},
		{"over the bound", "BootNotification", `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"` + strings.Repeat("x", 21) + `"}}`, "!PropertyConstraintViolation"},
		{"unknown action", "Fly", `{}`, "!NotImplemented"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.Call(tt.action, tt.payload); got != tt.want && (tt.want != "" || strings.HasPrefix(got, "!")) {
				t.Errorf("answered %s, want %s", got, tt.want)
			}
		})
	}
	if after := y.Journal.Events(); len(after) != before {
		t.Errorf("refused messages became events: %v", after[before:])
	}
}

// A fault is over when the station says so, also over another connection than the
// one on which it was raised.
func TestFaultOverReconnect(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	lock := component("ConnectorPlugRetentionLock", `,"evse":{"id":1,"connectorId":1}`)
	status := `{` + when + `,"connectorStatus":"Occupied","evseId":1,"connectorId":1}`
	s := y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil)
	s.Call("StatusNotification", status)
	s.Call("NotifyEvent", notify(occurrence("1", lock, "Problem", "Alerting", "true", "")))
	s.Drop()
	play(t, y, y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil), []golden{
		{"the fault stands beside the state", "StatusNotification", status, `\{\}`, []string{`"status":"occupied","error_code":"connector_lock"`}},
		{"N07 it is over", "NotifyEvent", notify(occurrence("2", lock, "Problem", "Alerting", "false", `,"cleared":true`)), `\{\}`,
			[]string{`evses/1/connectors/1 chargeyard.station.status \{"status":"occupied","device_time"`}},
		{"N07 it still is", "NotifyEvent", notify(occurrence("3", lock, "Problem", "Delta", "false", "")), `\{\}`, nil},
	})
}
