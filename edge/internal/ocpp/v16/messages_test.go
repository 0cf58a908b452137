package v16_test

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

var quiet = slog.New(slog.DiscardHandler)

// Every message that a charge point can send, with its answer as it stands on the
// wire and the events it becomes. Numbers that the gateway makes are matched by
// patterns.
func TestMessages(t *testing.T) {
	const when = `"timestamp":"2026-01-01T00:00:00Z"`
	tests := []struct {
		name, action, payload string
		answer                string   // pattern of the whole payload
		events                []string // patterns of subject, type and data
	}{
		{"OCPP 1.6 §4.2", "BootNotification", `{"chargePointVendor":"Acme","chargePointModel":"Wall 22","chargeBoxSerialNumber":"B1","firmwareVersion":"1.2","iccid":"89","imsi":"26","meterType":"M","meterSerialNumber":"MS"}`,
			`\{"status":"Accepted","currentTime":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z","interval":300\}`,
			[]string{`stations/CP-1 chargeyard.station.booted .*"vendor":"Acme","model":"Wall 22","serial":"B1","firmware":"1.2","iccid":"89","imsi":"26","meter_type":"M","meter_serial":"MS","registration":"accepted"`}},
		{"quirk 40 blank and oversized", "BootNotification", `{"chargePointVendor":"","chargePointModel":"` + strings.Repeat("x", 60) + `","chargePointSerialNumber":" ","chargeBoxSerialNumber":"B2","iccid":-67,"more":{}}`,
			`\{"status":"Accepted",.*`, []string{`"serial":"B2","iccid":"-67"`}},
		{"quirk 40 nothing at all", "BootNotification", `{}`, `\{"status":"Accepted",.*`, []string{`station.booted`}},
		{"OCPP 1.6 §4.6", "Heartbeat", `{}`, `\{"currentTime":"[^"+]*Z"\}`, nil},
		{"OCPP 1.6 §4.9", "StatusNotification", `{"connectorId":2,"errorCode":"GroundFailure","info":"leak","status":"Faulted",` + when + `,"vendorId":"V","vendorErrorCode":"E7"}`, `\{\}`,
			[]string{`stations/CP-1/evses/2/connectors/1 chargeyard.station.status \{"status":"faulted","error_code":"ground","vendor_id":"V","vendor_error_code":"E7","info":"leak","device_time":"2026-01-01T00:00:00Z"\}`}},
		{"quirk 47 connector 0", "StatusNotification", `{"connectorId":0,"errorCode":"NoError","status":"Unavailable"}`, `\{\}`,
			[]string{`stations/CP-1 chargeyard.station.status \{"status":"unavailable"\}`}},
		{"two connectors of one EVSE", "StatusNotification", `{"connectorId":4,"errorCode":"NoError","status":"Available"}`, `\{\}`,
			[]string{`stations/CP-1/evses/3/connectors/2 chargeyard.station.status`}},
		{"status without error code", "StatusNotification", `{"connectorId":1,"status":"Available"}`, `\{\}`, []string{`evses/1/connectors/1 .*\{"status":"available"\}`}},
		{"error code nobody knows", "StatusNotification", `{"connectorId":1,"errorCode":"Smoke","status":"charging"}`, `\{\}`,
			[]string{`\{"status":"charging","raw":"charging","error_code":"other","vendor_error_code":"Smoke"\}`}},
		{"OCPP 1.6 §4.1", "Authorize", `{"idTag":"04A1B2C3"}`, `\{"idTagInfo":\{"status":"Accepted"\}\}`,
			[]string{`stations/CP-1 chargeyard.token.authorized .*"value":"04A1B2C3"`}},
		{"OCPP 1.6 §4.8", "StartTransaction", `{"connectorId":1,"idTag":"04A1B2C3","meterStart":1520,"reservationId":0,` + when + `}`,
			`\{"idTagInfo":\{"status":"Accepted"\},"transactionId":[1-9]\d*\}`,
			[]string{`stations/CP-1/evses/1/connectors/1 chargeyard.session.started .*"value":"04A1B2C3".*"meter_wh":1520`}},
		{"quirk 73 no register", "StartTransaction", `{"connectorId":2,"idTag":"B","meterStart":null,` + when + `}`,
			`\{"idTagInfo":\{"status":"Accepted"\},"transactionId":[1-9]\d*\}`, []string{`evses/2/connectors/1 chargeyard.session.started`}},
		{"quirk 44 year 1970", "StartTransaction", `{"connectorId":4,"idTag":"C","meterStart":0,"timestamp":"1970-01-01T00:00:00Z"}`,
			`\{"idTagInfo":\{"status":"Accepted"\},"transactionId":[1-9]\d*\}`, []string{`evses/3/connectors/2 chargeyard.session.started .*"device_time":"1970-01-01T00:00:00Z","flags":\["clock"\]`}},
		{"start on connector 0", "StartTransaction", `{"connectorId":0,"idTag":"D","meterStart":0,` + when + `}`, `\{"idTagInfo".*`, []string{`evses/1/connectors/1 chargeyard.session.started`}},
		{"OCPP 1.6 §4.7", "MeterValues", `{"connectorId":2,"meterValue":[{` + when + `,"sampledValue":[{"value":"12.5","unit":"kWh"}]}]}`, `\{\}`,
			[]string{`stations/CP-1/evses/2/connectors/1 chargeyard.session.sampled .*"energy_wh":12500`}},
		{"values outside a session", "MeterValues", `{"connectorId":0,"meterValue":[{` + when + `,"sampledValue":[{"value":"7","measurand":"Power.Active.Import","unit":"kW"}]}]}`, `\{\}`,
			[]string{`stations/CP-1 chargeyard.meter.sampled .*"power_w":7000`}},
		{"values that are none", "MeterValues", `{"connectorId":1,"meterValue":"later"}`, `\{\}`, []string{`data.received \{"action":"MeterValues","payload":\{"connectorId":1,"meterValue":"later"\}`}},
		{"OCPP 1.6 §4.10 unknown id", "StopTransaction", `{"transactionId":99,"meterStop":6520,` + when + `,"reason":"EVDisconnected","idTag":"04A1B2C3","transactionData":[{` + when + `,"sampledValue":[{"value":"6520","context":"Transaction.End"}]}]}`,
			`\{("idTagInfo":\{"status":"Accepted"\})?\}`, []string{`chargeyard.session.ended .*"transaction":"99","reason":"ev_disconnected".*"meter_stop_wh":6520`}},
		{"quirk 53 damaged stop", "StopTransaction", `{"transactionId":{},"meterStop":6520}`, `\{\}`, []string{`data.received \{"action":"StopTransaction","payload":\{"transactionId":\{\},"meterStop":6520\},"reason":`}},
		{"OCPP 1.6 §4.4", "FirmwareStatusNotification", `{"status":"DownloadFailed"}`, `\{\}`, []string{`station.firmware \{"status":"download_failed"\}`}},
		{"security extension L01", "SignedFirmwareStatusNotification", `{"status":"InstallVerificationFailed","requestId":7}`, `\{\}`, []string{`station.firmware \{"status":"install_verification_failed","request":7\}`}},
		{"OCPP 1.6 §4.5", "DiagnosticsStatusNotification", `{"status":"UploadFailed"}`, `\{\}`, []string{`station.log \{"status":"upload_failed"\}`}},
		{"security extension N01", "LogStatusNotification", `{"status":"UploadFailure","requestId":8}`, `\{\}`, []string{`station.log \{"status":"upload_failed","request":8\}`}},
		{"security extension A04", "SecurityEventNotification", `{"type":"FailedToAuthenticateAtCentralSystem",` + when + `,"techInfo":"x"}`, `\{\}`,
			[]string{`station.security \{"event":"FailedToAuthenticateAtCsms","info":"x","device_time":"2026-01-01T00:00:00Z"\}`}},
		{"security extension A02", "SignCertificate", `{"csr":"-----BEGIN"}`, `\{"status":"Accepted"\}`, []string{`data.received \{"action":"SignCertificate","payload":\{"csr":"-----BEGIN"\}`}},
		{"OCPP 1.6 §4.3 text", "DataTransfer", `{"vendorId":"V","messageId":"M","data":"hello"}`, `\{"status":"UnknownVendorId"\}`,
			[]string{`data.received \{"action":"DataTransfer","vendor":"V","message":"M","text":"hello","reason":"unknown vendor"\}`}},
		{"DataTransfer with JSON", "DataTransfer", `{"vendorId":"V","data":{"a":[1]}}`, `\{"status":"UnknownVendorId"\}`, []string{`"payload":\{"a":\[1\]\}`}},
		{"OCPP-J 1.6 §4.2.3 unknown action", "Fly", `{"high":true}`, `!NotImplemented`, []string{`data.received \{"action":"Fly","payload":\{"high":true\},"reason":"unknown action"\}`}},
		{"action of the central system", "GetLog", `{}`, `!NotSupported`, []string{`data.received \{"action":"GetLog"`}},
		{"missing field", "Authorize", `{}`, `!OccurenceConstraintViolation`, nil},
		{"wrong type", "StatusNotification", `{"connectorId":[],"errorCode":"NoError","status":"Available"}`, `!TypeConstraintViolation`, nil},
	}
	cfg := ocpptest.Config()
	cfg.Stations = map[event.StationID]ocpp.Station{"CP-1": {Connectors: []ocpp.Connector{{Number: 3, EVSE: 3, Connector: 1}, {Number: 4, EVSE: 3, Connector: 2}}}}
	y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
	s := y.Connect(t, "CP-1", nil)
	handled := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.action, func(t *testing.T) {
			handled[tt.action] = true
			before := len(y.Journal.Events())
			answer := s.Call(tt.action, tt.payload)
			if !regexp.MustCompile(`^(` + tt.answer + `)$`).MatchString(answer) {
				t.Errorf("answered %s, want %s", answer, tt.answer)
			}
			checkSchema(t, tt.action, answer)
			var lines []string
			for _, d := range y.Journal.Events()[before:] {
				data, err := json.Marshal(d.Data)
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, d.Address.Subject()+" "+string(d.Data.EventType())+" "+string(data))
			}
			all := strings.Join(lines, "\n")
			for _, want := range tt.events {
				if !regexp.MustCompile(want).MatchString(all) {
					t.Errorf("no event %s in\n%s", want, all)
				}
			}
		})
	}
	for _, a := range ocpp16.Actions {
		if a.Direction&ocpp16.FromStation != 0 && !handled[a.Name] {
			t.Errorf("%s has no row here", a.Name)
		}
	}
}

// checkSchema holds an answer of ours against the schema: quirk 28, nothing in it
// may be too much.
func checkSchema(t *testing.T, action, answer string) {
	t.Helper()
	if strings.HasPrefix(answer, "!") {
		return
	}
	m, ok := ocpp16.NewResponse(action)
	if !ok {
		t.Fatalf("no response of %s", action)
	}
	odd, err := m.Decode([]byte(answer))
	if err != nil || len(odd) > 0 {
		t.Errorf("the answer to %s departs from the schema: %v %v", action, odd, err)
	}
	if err := m.Validate(); err != nil {
		t.Errorf("the answer to %s: %v", action, err)
	}
}

// The same start twice is one transaction, with the same answer (quirk 57), and
// the gateway's tokens go back as they came.
func TestRepeatedStart(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v16.New())
	s := y.Connect(t, "CP-1", nil)
	const start = `{"connectorId":1,"idTag":"A","meterStart":1,"timestamp":"2026-01-01T00:00:00Z"}`
	first, second := s.Call("StartTransaction", start), s.Call("StartTransaction", start)
	if first != second {
		t.Errorf("answered %s, then %s", first, second)
	}
}
