package v21_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v21"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

var quiet = slog.New(slog.DiscardHandler)

const when = `"timestamp":"2026-01-01T00:00:00Z"`

// golden is one message of a station, its answer as it stands on the wire and the
// event that it becomes.
type golden struct {
	action, payload string
	answer          string // pattern of the whole payload, or ! and a code
	event           string // pattern of type and data; "": none is looked for
}

// messages are all those that a station can send, those that 2.1 added last.
var messages = []golden{
	{"BootNotification", `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"Wall 30","firmwareVersion":"3.0"}}`, `\{"currentTime":.*"status":"Accepted"\}`, `station.booted .*"model":"Wall 30"`},
	{"Heartbeat", `{}`, `\{"currentTime":"[^"+]*Z"\}`, ``},
	{"StatusNotification", `{` + when + `,"connectorStatus":"Available","evseId":1,"connectorId":1}`, `\{\}`, `station.status \{"status":"available"`},
	{"NotifyEvent", `{"generatedAt":"2026-01-01T00:00:00Z","seqNo":0,"eventData":[{"eventId":1,` + when + `,"trigger":"Alerting","actualValue":"true","severity":2,"eventNotificationType":"HardWiredNotification","component":{"name":"ClockCtrlr"},"variable":{"name":"Problem"}}]}`, `\{\}`, ``},
	{"Authorize", `{"idToken":{"idToken":"P-77","type":"DirectPayment"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, `token.authorized .*"token":\{"type":"direct_payment","value":"P-77"\}`},
	{"TransactionEvent", `{"eventType":"Started",` + when + `,"triggerReason":"CablePluggedIn","seqNo":0,"transactionInfo":{"transactionId":"t1","chargingState":"EVConnected","operationMode":"ChargingOnly"},"evse":{"id":1,"connectorId":1},"preconditioningStatus":"Ready"}`, `\{\}`, `session.started .*"transaction":"t1"`},
	{"MeterValues", `{"evseId":2,"meterValue":[{` + when + `,"sampledValue":[{"value":7,"measurand":"Power.Active.Import","location":"Upstream"}]}]}`, `\{\}`, `meter.sampled`},
	{"NotifyReport", `{"requestId":1,"generatedAt":"2026-01-01T00:00:00Z","seqNo":0,"reportData":[{"component":{"name":"Ctrlr"},"variable":{"name":"Enabled"},"variableAttribute":[{"value":"true"}]}]}`, `\{\}`, `station.configuration .*"variable":"Enabled"`},
	{"NotifyMonitoringReport", `{"requestId":1,"generatedAt":"2026-01-01T00:00:00Z","seqNo":0}`, `\{\}`, `data.received \{"action":"NotifyMonitoringReport"`},
	{"NotifyDisplayMessages", `{"requestId":1,"messageInfo":[{"id":1,"priority":"NormalCycle","message":{"format":"QRCODE","content":"x"}}]}`, `\{\}`, `data.received \{"action":"NotifyDisplayMessages"`},
	{"NotifyCustomerInformation", `{"requestId":1,"generatedAt":"2026-01-01T00:00:00Z","seqNo":0,"data":"none"}`, `\{\}`, `data.received \{"action":"NotifyCustomerInformation"`},
	{"ReportChargingProfiles", `{"requestId":1,"chargingLimitSource":"CSO","evseId":1,"chargingProfile":[{"id":1,"stackLevel":0,"chargingProfilePurpose":"PriorityCharging","chargingProfileKind":"Dynamic","chargingSchedule":[{"id":1,"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0}]}]}]}`, `\{\}`, `data.received \{"action":"ReportChargingProfiles"`},
	{"NotifyChargingLimit", `{"evseId":1,"chargingLimit":{"chargingLimitSource":"EMS","isGridCritical":true},"chargingSchedule":[{"id":1,"chargingRateUnit":"W","chargingSchedulePeriod":[{"startPeriod":0,"limit":4200}]}]}`, `\{\}`, `profile.updated .*"limit_w":4200`},
	{"ClearedChargingLimit", `{"evseId":1,"chargingLimitSource":"EMS"}`, `\{\}`, `profile.updated \{"status":"ended"`},
	{"NotifyEVChargingNeeds", `{"evseId":1,"chargingNeeds":{"requestedEnergyTransfer":"AC_three_phase","controlMode":"DynamicControl"},` + when + `}`, `\{"status":"Rejected",.*\}`, `data.received \{"action":"NotifyEVChargingNeeds"`},
	{"NotifyEVChargingSchedule", `{"evseId":1,"timeBase":"2026-01-01T00:00:00Z","chargingSchedule":{"id":1,"chargingRateUnit":"W","chargingSchedulePeriod":[{"startPeriod":0,"limit":11000}]}}`, `\{"status":"Accepted"\}`, `data.received \{"action":"NotifyEVChargingSchedule"`},
	{"SecurityEventNotification", `{"type":"SettingSystemTime",` + when + `}`, `\{\}`, `station.security \{"event":"SettingSystemTime"`},
	{"SignCertificate", `{"csr":"-----BEGIN","certificateType":"V2G20Certificate","requestId":5}`, `\{"status":"Accepted"\}`, `data.received \{"action":"SignCertificate".*"kind":"v2g20"`},
	{"Get15118EVCertificate", `{"iso15118SchemaVersion":"urn:iso:15118:2:2013:MsgDef","action":"Install","exiRequest":"gJg="}`, `\{"status":"Failed",.*"exiResponse":""\}`, ``},
	{"GetCertificateStatus", `{"ocspRequestData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c","responderURL":"http://d"}}`, `\{"status":"Failed",.*\}`, ``},
	{"FirmwareStatusNotification", `{"status":"Downloaded","requestId":7}`, `\{\}`, `station.firmware \{"status":"downloaded"`},
	{"PublishFirmwareStatusNotification", `{"status":"Published","requestId":7,"location":["https://a"]}`, `\{\}`, `station.firmware .*"publish":true`},
	{"LogStatusNotification", `{"status":"Uploading","requestId":8}`, `\{\}`, `station.log \{"status":"uploading"`},
	{"ReservationStatusUpdate", `{"reservationId":4,"reservationUpdateStatus":"NoTransaction"}`, `\{\}`, ``},
	{"DataTransfer", `{"vendorId":"Acme","messageId":"x","data":[1]}`, `\{"status":"UnknownVendorId"\}`, `data.received \{"action":"DataTransfer"`},

	{"NotifySettlement", `{"pspRef":"P1","status":"Settled","settlementAmount":12.5,"settlementTime":"2026-01-01T00:00:00Z"}`, `\{\}`, `data.received \{"action":"NotifySettlement","payload":\{"pspRef":"P1",.*"reason":"the settlement of a payment"`},
	{"VatNumberValidation", `{"vatNumber":"DE123","evseId":2}`, `\{"statusInfo":\{"reasonCode":"NoAnswer","additionalInfo":"the manager is out of reach"\},"vatNumber":"DE123","evseId":2,"status":"Rejected"\}`, `data.received \{"action":"VatNumberValidation"`},
	{"NotifyPriorityCharging", `{"transactionId":"t1","activated":true}`, `\{\}`, `data.received \{"action":"NotifyPriorityCharging"`},
	{"PullDynamicScheduleUpdate", `{"chargingProfileId":3}`, `\{"status":"Rejected","statusInfo":\{"reasonCode":"NoAnswer",.*\}\}`, `data.received \{"action":"PullDynamicScheduleUpdate"`},
	{"GetCertificateChainStatus", `{"certificateStatusRequests":[{"source":"OCSP","urls":["http://o"],"certificateHashData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c"}}]}`,
		`\{"certificateStatus":\[\{"certificateHashData":\{"hashAlgorithm":"SHA256",.*\},"source":"OCSP","status":"Failed","nextUpdate":"[^"]+Z"\}\]\}`, `data.received \{"action":"GetCertificateChainStatus"`},
	{"OpenPeriodicEventStream", `{"constantStreamData":{"id":1,"params":{"interval":5,"values":10},"variableMonitoringId":7}}`, `\{"status":"Accepted"\}`, `data.received \{"action":"OpenPeriodicEventStream"`},
	{"ClosePeriodicEventStream", `{"id":1}`, `\{\}`, `data.received \{"action":"ClosePeriodicEventStream"`},
	{"NotifyDERAlarm", `{"controlType":"VoltVar",` + when + `,"gridEventFault":"OverVoltage"}`, `\{\}`, `data.received \{"action":"NotifyDERAlarm"`},
	{"NotifyDERStartStop", `{"controlId":"c1","started":true,` + when + `}`, `\{\}`, `data.received \{"action":"NotifyDERStartStop"`},
	{"ReportDERControl", `{"requestId":3}`, `\{\}`, `data.received \{"action":"ReportDERControl"`},
	{"BatterySwap", `{"eventType":"BatteryIn","requestId":3,"idToken":{"idToken":"B","type":"Central"},"batteryData":[{"evseId":1,"serialNumber":"S","soC":10,"soH":99}]}`, `\{\}`, `data.received \{"action":"BatterySwap"`},
}

// line writes an event as golden.event wants it.
func line(t *testing.T, d event.Draft) string {
	t.Helper()
	data, err := json.Marshal(d.Data)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(string(d.Data.EventType()), "chargeyard.") + " " + string(data)
}

// waitFor waits for an event that fits a pattern.
func waitFor(t *testing.T, y *ocpptest.Yard, pattern string) {
	t.Helper()
	want := regexp.MustCompile(`^` + pattern)
	y.Journal.Wait(t, pattern, func(d event.Draft) bool { return want.MatchString(line(t, d)) })
}

// checkAnswer holds an answer of ours against the schema of 2.1.
func checkAnswer(t *testing.T, action, answer string) {
	t.Helper()
	if strings.HasPrefix(answer, "!") {
		return
	}
	m, ok := ocpp21.NewResponse(action)
	if !ok {
		t.Fatalf("no response of %s", action)
	}
	if odd, err := m.Decode([]byte(answer)); err != nil || len(odd) > 0 {
		t.Errorf("the answer to %s departs from the schema: %v %v in %s", action, odd, err, answer)
	}
	if err := m.Validate(); err != nil {
		t.Errorf("the answer to %s: %v", action, err)
	}
}

// Everything that a station of 2.1 can send is handled, shared with 2.0.1 or not,
// and nothing of it departs from what 2.1 wants.
func TestMessages(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v21.New())
	s := y.ConnectAs(t, "ocpp2.1", "CS-1", nil)
	handled := map[string]bool{"NotifyPeriodicEventStream": true} // TestStream
	for _, tt := range messages {
		handled[tt.action] = true
		t.Run(tt.action, func(t *testing.T) {
			m, ok := ocpp21.NewRequest(tt.action)
			if !ok {
				t.Fatal("2.1 has no such message")
			}
			if odd, err := m.Decode([]byte(tt.payload)); err != nil || len(odd) > 0 {
				t.Fatalf("the example departs from the schema: %v %v", odd, err)
			}
			answer := s.Call(tt.action, tt.payload)
			if !regexp.MustCompile(`^(` + tt.answer + `)$`).MatchString(answer) {
				t.Errorf("answered %s, want %s", answer, tt.answer)
			}
			checkAnswer(t, tt.action, answer)
			if tt.event != "" {
				waitFor(t, y, tt.event)
			}
		})
	}
	for _, a := range ocpp21.Actions {
		if a.Direction&ocpp21.FromStation != 0 && !handled[a.Name] {
			t.Errorf("%s has no row here", a.Name)
		}
	}
}

// Values of a stream come without asking for an answer, and get none; a station
// that calls instead of sending gets one.
func TestStream(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v21.New())
	s := y.ConnectAs(t, "ocpp2.1", "CS-1", nil)
	const values = `{"id":1,"pending":0,"basetime":"2026-01-01T00:00:00Z","data":[{"t":0.5,"v":"230.1"}]}`
	s.Send(`[6,"s1","NotifyPeriodicEventStream",` + values + `]`)
	waitFor(t, y, `data.received \{"action":"NotifyPeriodicEventStream","payload":\{"id":1,.*"reason":"values of a stream"`)
	if answer := s.Call("NotifyPeriodicEventStream", values); answer != "{}" {
		t.Errorf("answered %s, want {}", answer)
	}
}

// manager answers questions with what it was given.
type manager struct {
	ocpptest.Away
	mu      sync.Mutex        // guards what follows
	answers map[string]string // by kind
	asked   string
}

func (m *manager) Ask(_ context.Context, _ event.Address, q site.Question) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = q.Kind + " " + string(q.Payload)
	if answer, ok := m.answers[q.Kind]; ok {
		return json.RawMessage(answer), nil
	}
	return nil, site.ErrUnsupported
}

// What the manager says is the answer, as far as the schema allows it; what it
// does not answer is a clear failure.
func TestQuestions(t *testing.T) {
	const chain = `{"certificateStatusRequests":[{"source":"CRL","urls":["http://o"],"certificateHashData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c"}}]}`
	const good = `{"certificateStatus":[{"certificateHashData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c"},"source":"CRL","status":"Good","nextUpdate":"2026-01-01T00:00:00Z"}]}`
	tests := []struct {
		name, action, payload string
		kind, says            string // of the manager; "" answers nothing
		want                  string // pattern
	}{
		{"C21 valid", "VatNumberValidation", `{"vatNumber":"DE1"}`, "vat_number", `{"vatNumber":"DE1","status":"Accepted"}`, `\{"vatNumber":"DE1","status":"Accepted"\}`},
		{"C21 unsupported", "VatNumberValidation", `{"vatNumber":"DE1"}`, "", "", `\{"statusInfo":\{"reasonCode":"UnsupportedRequest",.*"status":"Rejected"\}`},
		{"C21 nonsense", "VatNumberValidation", `{"vatNumber":"DE1"}`, "vat_number", `{"status":"Maybe"}`, `\{"statusInfo":.*"status":"Rejected"\}`},
		{"K28 a value", "PullDynamicScheduleUpdate", `{"chargingProfileId":3}`, "dynamic_schedule", `{"status":"Accepted","scheduleUpdate":{"limit":12.5}}`, `\{"scheduleUpdate":\{"limit":12.5\},"status":"Accepted"\}`},
		{"K28 unsupported", "PullDynamicScheduleUpdate", `{"chargingProfileId":3}`, "", "", `\{"status":"Rejected","statusInfo":.*\}`},
		{"M07 good", "GetCertificateChainStatus", chain, "certificate_chain_status", good, regexp.QuoteMeta(good)},
		{"M07 unsupported", "GetCertificateChainStatus", chain, "", "", `\{"certificateStatus":\[\{.*"status":"Failed",.*\}\]\}`},
		{"M07 nothing asked", "GetCertificateChainStatus", `{"certificateStatusRequests":[]}`, "", "", `!PropertyConstraintViolation`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &manager{answers: map[string]string{}}
			if tt.kind != "" {
				m.answers[tt.kind] = tt.says
			}
			y := ocpptest.StartWith(t, m, ocpptest.Config(), site.Config{}, quiet, v21.New())
			s := y.ConnectAs(t, "ocpp2.1", "CS-1", nil)
			got := s.Call(tt.action, tt.payload)
			if !regexp.MustCompile(`^(` + tt.want + `)$`).MatchString(got) {
				t.Errorf("answered %s\nwant     %s", got, tt.want)
			}
			checkAnswer(t, tt.action, got)
			m.mu.Lock()
			defer m.mu.Unlock()
			if tt.kind != "" && m.asked != tt.kind+" "+tt.payload {
				t.Errorf("asked %q", m.asked)
			}
		})
	}
}

// Before it is accepted a station may not send what 2.1 added either.
func TestPending(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{PendUnknown: true}, quiet, v21.New())
	s := y.ConnectAs(t, "ocpp2.1", "CS-1", nil)
	if answer := s.Call("NotifyPriorityCharging", `{"transactionId":"t1","activated":true}`); answer != "!SecurityError" {
		t.Errorf("answered %s, want a SecurityError", answer)
	}
}

// What is off the schema of 2.1 is refused in strict mode, and only there.
func TestStrict(t *testing.T) {
	const odd = `{"transactionId":"t1","activated":"true"}`
	for strict, want := range map[bool]string{false: "{}", true: "!TypeConstraintViolation"} {
		cfg := ocpptest.Config()
		cfg.Stations = map[event.StationID]ocpp.Station{"CS-1": {Strict: strict}}
		y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour}, quiet, v21.New())
		s := y.ConnectAs(t, "ocpp2.1", "CS-1", nil)
		if answer := s.Call("NotifyPriorityCharging", odd); answer != want {
			t.Errorf("strict %t: answered %s, want %s", strict, answer, want)
		}
	}
}
