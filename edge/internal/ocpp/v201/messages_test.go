package v201_test

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

var quiet = slog.New(slog.DiscardHandler)

const when = `"timestamp":"2026-01-01T00:00:00Z"`

// golden is one message of a station, its answer as it stands on the wire and the
// events that it becomes.
type golden struct {
	name, action, payload string
	answer                string   // pattern of the whole payload, or ! and a code
	events                []string // patterns of subject, type and data
}

// play sends the messages one after the other over one connection.
func play(t *testing.T, y *ocpptest.Yard, s *ocpptest.Station, tests []golden) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.action, func(t *testing.T) {
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
			if tt.events == nil && all != "" {
				t.Errorf("unexpected events\n%s", all)
			}
		})
	}
}

// checkSchema holds an answer of ours against the schema: quirk 28, nothing in it
// may be too much.
func checkSchema(t *testing.T, action, answer string) {
	t.Helper()
	if strings.HasPrefix(answer, "!") {
		return
	}
	m, ok := ocpp201.NewResponse(action)
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

func component(name, more string) string { return `"component":{"name":"` + name + `"` + more + `}` }

func occurrence(id, component, variable, trigger, value, more string) string {
	return `{"eventId":` + id + `,` + when + `,"trigger":"` + trigger + `","actualValue":"` + value + `","eventNotificationType":"HardWiredNotification",` +
		component + `,"variable":{"name":"` + variable + `"}` + more + `}`
}

func notify(events ...string) string {
	return `{"generatedAt":"2026-01-01T00:00:00Z","seqNo":0,"eventData":[` + strings.Join(events, ",") + `]}`
}

// largeReport is a report of 50 variables with values of 1000 characters.
func largeReport() string {
	v := `{"component":{"name":"C"},"variable":{"name":"V"},"variableAttribute":[{"value":"` + strings.Repeat("x", 1000) + `"}]}`
	return `{"requestId":36,"generatedAt":"2026-01-01T00:00:00Z","seqNo":0,"reportData":[` + strings.Repeat(v+",", 49) + v + `]}`
}

// messages are all that a station can send. Numbers that the gateway makes are
// matched by patterns.
var messages = []golden{
	{"B01", "BootNotification", `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"Wall 22","serialNumber":" S1 ","firmwareVersion":"1.2","modem":{"iccid":"89","imsi":"26"}}}`,
		`\{"currentTime":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z","interval":300,"status":"Accepted"\}`,
		[]string{`stations/CP-1 chargeyard.station.booted .*"vendor":"Acme","model":"Wall 22","serial":"S1","firmware":"1.2","iccid":"89","imsi":"26","reason":"power_up","registration":"accepted"`}},
	{"quirk 40 nothing at all", "BootNotification", `{}`, `\{"currentTime":.*"status":"Accepted"\}`, []string{`station.booted`}},
	{"quirk 40 flat, as in 1.6", "BootNotification", `{"chargePointVendor":"Acme","chargePointModel":"x"}`, `\{"currentTime":.*"status":"Accepted"\}`, []string{}},
	{"G02", "Heartbeat", `{}`, `\{"currentTime":"[^"+]*Z"\}`, nil},
	{"G01", "StatusNotification", `{` + when + `,"connectorStatus":"Unavailable","evseId":2,"connectorId":1}`, `\{\}`,
		[]string{`stations/CP-1/evses/2/connectors/1 chargeyard.station.status \{"status":"unavailable","device_time":"2026-01-01T00:00:00Z"\}`}},
	{"quirk 48 the station", "StatusNotification", `{` + when + `,"connectorStatus":"Available","evseId":0,"connectorId":0}`, `\{\}`,
		[]string{`stations/CP-1 chargeyard.station.status \{"status":"available"`}},
	{"quirk 48 an EVSE", "StatusNotification", `{` + when + `,"connectorStatus":"Faulted","evseId":1,"connectorId":0}`, `\{\}`,
		[]string{`stations/CP-1/evses/1 chargeyard.station.status \{"status":"faulted"`}},
	{"a word of 1.6", "StatusNotification", `{` + when + `,"connectorStatus":"SuspendedEV","evseId":1,"connectorId":1}`, `\{\}`,
		[]string{`evses/1/connectors/1 chargeyard.station.status \{"status":"suspended_ev","raw":"SuspendedEV"`}},
	{"no such place", "StatusNotification", `{` + when + `,"connectorStatus":"Available","evseId":-1,"connectorId":1}`, `!PropertyConstraintViolation`, nil},
	{"C01", "Authorize", `{"idToken":{"idToken":"04A1B2C3","type":"ISO14443"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`,
		[]string{`stations/CP-1 chargeyard.token.authorized .*"token":\{"type":"rfid","value":"04A1B2C3"\}.*"decision":"accepted"`}},
	{"C04", "Authorize", `{"idToken":{"idToken":"1234","type":"KeyCode"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, []string{`"token":\{"type":"key_code","value":"1234"\}`}},
	{"C06", "Authorize", `{"idToken":{"idToken":"P1","type":"Local"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, []string{`"token":\{"type":"local","value":"P1"\}`}},
	{"C02", "Authorize", `{"idToken":{"idToken":"","type":"NoAuthorization"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, []string{`"token":\{"type":"none","value":""\},"decision":"accepted","by":"station"`}},
	{"C05", "Authorize", `{"idToken":{"idToken":"7F3A","type":"Central"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, []string{`"token":\{"type":"central","value":"7F3A"\}`}},
	{"C07 an eMAID alone", "Authorize", `{"idToken":{"idToken":"DE-8AA-C1-8","type":"eMAID"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, []string{`"token":\{"type":"emaid","value":"DE-8AA-C1-8"\}`}},
	{"C08 Autocharge", "Authorize", `{"idToken":{"idToken":"001122334455","type":"MacAddress","additionalInfo":[{"additionalIdToken":"x","type":"y"}]}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, []string{`"token":\{"type":"mac","value":"001122334455"\}`}},
	{"type left out", "Authorize", `{"idToken":{"idToken":"04FF"}}`, `\{"idTokenInfo":\{"status":"Accepted"\}\}`, []string{`"token":\{"type":"unspecified","value":"04FF"\}`}},
	{"C07 certificate that nobody can judge", "Authorize", `{"idToken":{"idToken":"DE-8AA-1234567-8","type":"eMAID"},"certificate":"-----BEGIN"}`,
		`\{"idTokenInfo":\{"status":"Invalid"\},"certificateStatus":"CertChainError"\}`, nil},
	{"E02", "TransactionEvent", `{"eventType":"Started",` + when + `,"triggerReason":"CablePluggedIn","seqNo":0,"transactionInfo":{"transactionId":"t1","chargingState":"EVConnected"},"evse":{"id":2,"connectorId":1},
		"meterValue":[{` + when + `,"sampledValue":[{"value":12.5,"context":"Transaction.Begin","unitOfMeasure":{"unit":"kWh"}}]}]}`, `\{\}`,
		[]string{`stations/CP-1/evses/2/connectors/1 chargeyard.session.started .*"transaction":"t1","protocol":"ocpp2.0.1".*"trigger":"cable_plugged_in"`}},
	{"J01", "MeterValues", `{"evseId":0,"meterValue":[{` + when + `,"sampledValue":[{"value":7,"measurand":"Power.Active.Import","unitOfMeasure":{"unit":"W","multiplier":3}}]}]}`, `\{\}`,
		[]string{`stations/CP-1 chargeyard.meter.sampled .*"power_w":7000`}},
	{"values that are none", "MeterValues", `{"evseId":1,"meterValue":"later"}`, `\{\}`, []string{`data.received \{"action":"MeterValues","payload":\{"evseId":1,"meterValue":"later"\}`}},
	{"a value that is none", "MeterValues", `{"evseId":1,"meterValue":[{` + when + `,"sampledValue":[{"value":"n/a","measurand":"Voltage"},{"value":5,"measurand":"Frequency"}]}]}`, `\{\}`,
		[]string{`meter.sampled .*"frequency_hz":5,"other":\[\{"measurand":"Voltage","raw":"n/a"\}\]`}},
	{"B07", "NotifyReport", `{"requestId":31,"generatedAt":"2026-01-01T00:00:00Z","seqNo":0,"tbc":true,"reportData":[
		{"component":{"name":"OCPPCommCtrlr"},"variable":{"name":"HeartbeatInterval"},"variableAttribute":[{"value":"300","mutability":"ReadWrite"},{"type":"MaxSet","value":"900","mutability":"ReadOnly"}],"variableCharacteristics":{"dataType":"integer","unit":"s","supportsMonitoring":false}},
		{"component":{"name":"Connector","evse":{"id":1,"connectorId":2}},"variable":{"name":"ConnectorType"},"variableAttribute":[{"value":"cType2"}],"variableCharacteristics":{"dataType":"OptionList","valuesList":"cType2, cCCS2","supportsMonitoring":false}},
		{"component":{"name":"SecurityCtrlr","instance":"b"},"variable":{"name":"BasicAuthPassword","instance":"x"},"variableAttribute":[{"value":"secret","mutability":"WriteOnly"}]}]}`, `\{\}`,
		[]string{`station.configuration .*"component":"OCPPCommCtrlr","variable":"HeartbeatInterval","value":"300","mutability":"read_write","data_type":"integer","unit":"s"`,
			`"variable":"HeartbeatInterval","attribute":"MaxSet","value":"900","read_only":true,"mutability":"read_only"`,
			`"component":"Connector/connector-2","variable":"ConnectorType","evse":1,"value":"cType2","data_type":"option_list","values":\["cType2","cCCS2"\]`,
			`"component":"SecurityCtrlr/b","variable":"BasicAuthPassword","instance":"x","value":"","mutability":"write_only"`,
			`"report":31,"part":1,"more":true\}`}},
	{"B07 the last part is empty", "NotifyReport", `{"requestId":31,"generatedAt":"2026-01-01T00:00:00Z","seqNo":1}`, `\{\}`, []string{`station.configuration \{"variables":\[\],"report":31,"part":2\}`}},
	{"B07 a part is missing", "NotifyReport", `{"requestId":31,"generatedAt":"2026-01-01T00:00:00Z","seqNo":4}`, `\{\}`, []string{`station.configuration \{"variables":\[\],"report":31,"part":5\}`}},
	{"B07 too much for one event", "NotifyReport", largeReport(), `\{\}`, []string{`"report":36,"part":1,"more":true\}`, `"report":36,"part":2\}`}},
	{"N02", "NotifyMonitoringReport", `{"requestId":32,"seqNo":0,"generatedAt":"2026-01-01T00:00:00Z","monitor":[{"component":{"name":"ElectricalFeed"},"variable":{"name":"ACVoltage"},"variableMonitoring":[
		{"id":7,"transaction":false,"value":253,"type":"UpperThreshold","severity":4},{"id":8,"transaction":false,"value":207,"type":"LowerThreshold","severity":4}]}]}`, `\{\}`,
		[]string{`data.received \{"action":"NotifyMonitoringReport","payload":\{"requestId":32,`}},
	{"N07 availability of a connector", "NotifyEvent", notify(occurrence("1", component("Connector", `,"evse":{"id":3,"connectorId":1}`), "AvailabilityState", "Delta", "Occupied", "")), `\{\}`,
		[]string{`stations/CP-1/evses/3/connectors/1 chargeyard.station.status \{"status":"occupied"`}},
	{"N07 availability of an EVSE and of the station", "NotifyEvent", notify(
		occurrence("2", component("EVSE", `,"evse":{"id":3}`), "AvailabilityState", "Delta", "Unavailable", ""),
		occurrence("3", component("ChargingStation", ""), "AvailabilityState", "Delta", "Reserved", "")), `\{\}`,
		[]string{`stations/CP-1/evses/3 chargeyard.station.status \{"status":"unavailable"`, `stations/CP-1 chargeyard.station.status \{"status":"reserved"`}},
	{"N07 a problem", "NotifyEvent", notify(occurrence("4", component("ConnectorPlugRetentionLock", `,"evse":{"id":3,"connectorId":1}`), "Problem", "Alerting", "true", `,"techCode":"E7","techInfo":"stuck"`)), `\{\}`,
		[]string{`evses/3/connectors/1 chargeyard.station.status \{"status":"occupied","error_code":"connector_lock","vendor_error_code":"E7","info":"stuck"`}},
	{"N07 another problem at the same place", "NotifyEvent", notify(occurrence("5", component("PowerContactor", `,"evse":{"id":3,"connectorId":1}`), "Problem", "Alerting", "true", "")), `\{\}`,
		[]string{`evses/3/connectors/1 .*"error_code":"power_switch","info":"PowerContactor/connector-1/Problem"`}},
	{"N07 that one is over", "NotifyEvent", notify(occurrence("6", component("PowerContactor", `,"evse":{"id":3,"connectorId":1}`), "Problem", "Alerting", "false", `,"cleared":true`)), `\{\}`,
		[]string{`evses/3/connectors/1 .*"error_code":"connector_lock"`}},
	{"N07 all are over", "NotifyEvent", notify(occurrence("7", component("ConnectorPlugRetentionLock", `,"evse":{"id":3,"connectorId":1}`), "Problem", "Delta", "false", "")), `\{\}`,
		[]string{`evses/3/connectors/1 chargeyard.station.status \{"status":"occupied","device_time"`}},
	{"N07 cleared twice", "NotifyEvent", notify(occurrence("7", component("ConnectorPlugRetentionLock", `,"evse":{"id":3,"connectorId":1}`), "Problem", "Delta", "false", "")), `\{\}`, nil},
	{"N07 voltages by their monitors", "NotifyEvent", notify(
		occurrence("8", component("ElectricalFeed", ""), "ACVoltage", "Alerting", "260.1", `,"variableMonitoringId":7`)), `\{\}`,
		[]string{`stations/CP-1 chargeyard.station.status .*"error_code":"over_voltage","info":"ElectricalFeed/ACVoltage"`}},
	{"N07 the other bound", "NotifyEvent", notify(
		occurrence("9", component("ElectricalFeed", ""), "ACVoltage", "Alerting", "200", `,"variableMonitoringId":8`)), `\{\}`,
		[]string{`"error_code":"under_voltage"`}},
	{"N08 anything else", "NotifyEvent", notify(occurrence("10", component("ClockCtrlr", ""), "DateTime", "Periodic", "2026-01-01", "")), `\{\}`,
		[]string{`data.received \{"action":"NotifyEvent","payload":\{"generatedAt"`}},
	{"O03", "NotifyDisplayMessages", `{"requestId":33,"messageInfo":[{"id":1,"priority":"NormalCycle","message":{"format":"UTF8","content":"hi"}}]}`, `\{\}`, []string{`data.received \{"action":"NotifyDisplayMessages"`}},
	{"N09", "NotifyCustomerInformation", `{"requestId":34,"seqNo":0,"generatedAt":"2026-01-01T00:00:00Z","data":"none"}`, `\{\}`, []string{`data.received \{"action":"NotifyCustomerInformation"`}},
	{"K09", "ReportChargingProfiles", `{"requestId":35,"chargingLimitSource":"CSO","evseId":1,"chargingProfile":[{"id":1,"stackLevel":0,"chargingProfilePurpose":"TxDefaultProfile","chargingProfileKind":"Absolute","chargingSchedule":[{"id":1,"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":16}]}]}]}`,
		`\{\}`, []string{`data.received \{"action":"ReportChargingProfiles"`}},
	{"K12", "NotifyChargingLimit", `{"evseId":2,"chargingLimit":{"chargingLimitSource":"EMS","isGridCritical":true},"chargingSchedule":[{"id":1,"chargingRateUnit":"W","chargingSchedulePeriod":[{"startPeriod":0,"limit":4200}]}]}`, `\{\}`,
		[]string{`stations/CP-1/evses/2 chargeyard.profile.updated \{"status":"effective","limit_w":4200,"source":"ems","reason":"critical for the grid"\}`}},
	{"K12 a schedule", "NotifyChargingLimit", `{"chargingLimit":{"chargingLimitSource":"SO"},"chargingSchedule":[{"id":1,"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":6},{"startPeriod":60,"limit":8}]}]}`, `\{\}`,
		[]string{`stations/CP-1 chargeyard.profile.updated \{"status":"effective","source":"so"\}`, `data.received \{"action":"NotifyChargingLimit"`}},
	{"K13", "ClearedChargingLimit", `{"evseId":2,"chargingLimitSource":"EMS"}`, `\{\}`, []string{`stations/CP-1/evses/2 chargeyard.profile.updated \{"status":"ended","source":"ems"\}`}},
	{"K15 nobody plans", "NotifyEVChargingNeeds", `{"evseId":1,"chargingNeeds":{"requestedEnergyTransfer":"AC_three_phase","acChargingParameters":{"energyAmount":20000,"evMinCurrent":6,"evMaxCurrent":32,"evMaxVoltage":400}}}`,
		`\{"status":"Rejected","statusInfo":\{"reasonCode":"NoAnswer","additionalInfo":"the manager is out of reach"\}\}`, []string{`data.received \{"action":"NotifyEVChargingNeeds"`}},
	{"K15 no EVSE", "NotifyEVChargingNeeds", `{"evseId":0,"chargingNeeds":{"requestedEnergyTransfer":"DC"}}`, `!PropertyConstraintViolation`, []string{`data.received`}},
	{"K17", "NotifyEVChargingSchedule", `{"evseId":1,"timeBase":"2026-01-01T00:00:00Z","chargingSchedule":{"id":1,"chargingRateUnit":"W","chargingSchedulePeriod":[{"startPeriod":0,"limit":11000}]}}`,
		`\{"status":"Accepted"\}`, []string{`data.received \{"action":"NotifyEVChargingSchedule"`}},
	{"A04", "SecurityEventNotification", `{"type":"SettingSystemTime",` + when + `,"techInfo":"x"}`, `\{\}`,
		[]string{`station.security \{"event":"SettingSystemTime","info":"x","device_time":"2026-01-01T00:00:00Z"\}`}},
	{"A04 a name of 1.6", "SecurityEventNotification", `{"type":"InvalidCentralSystemCertificate",` + when + `}`, `\{\}`, []string{`"event":"InvalidCsmsCertificate"`}},
	{"A04 in other case", "SecurityEventNotification", `{"type":"InvalidTlsVersion",` + when + `}`, `\{\}`, []string{`"event":"InvalidTLSVersion"`}},
	{"A02", "SignCertificate", `{"csr":"-----BEGIN","certificateType":"V2GCertificate"}`, `\{"status":"Accepted"\}`, []string{`data.received \{"action":"SignCertificate","payload":\{"csr":"-----BEGIN","kind":"v2g"\}`}},
	{"A02 nothing to sign", "SignCertificate", `{"csr":""}`, `\{"status":"Rejected"\}`, nil},
	{"M01", "Get15118EVCertificate", `{"iso15118SchemaVersion":"urn:iso:15118:2:2013:MsgDef","action":"Install","exiRequest":"gJg="}`,
		`\{"status":"Failed","statusInfo":\{"reasonCode":"NoAnswer","additionalInfo":"the manager is out of reach"\},"exiResponse":""\}`, nil},
	{"M06", "GetCertificateStatus", `{"ocspRequestData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"c","responderURL":"http://d"}}`,
		`\{"status":"Failed","statusInfo":\{"reasonCode":"NoAnswer","additionalInfo":"the manager is out of reach"\}\}`, nil},
	{"L01", "FirmwareStatusNotification", `{"status":"InstallVerificationFailed","requestId":7}`, `\{\}`, []string{`station.firmware \{"status":"install_verification_failed","request":7\}`}},
	{"L03", "PublishFirmwareStatusNotification", `{"status":"Published","requestId":8,"location":["http://lc/fw"]}`, `\{\}`, []string{`station.firmware \{"status":"published","request":8,"publish":true,"locations":\["http://lc/fw"\]\}`}},
	{"N01", "LogStatusNotification", `{"status":"UploadFailure","requestId":9}`, `\{\}`, []string{`station.log \{"status":"upload_failed","request":9\}`}},
	{"H04", "ReservationStatusUpdate", `{"reservationId":5,"reservationUpdateStatus":"Removed"}`, `\{\}`, []string{`reservation.updated \{"reservation":5,"status":"cancelled"\}`}},
	{"H04 no reservation", "ReservationStatusUpdate", `{"reservationId":0,"reservationUpdateStatus":"Expired"}`, `!PropertyConstraintViolation`, []string{`data.received`}},
	{"P02 text", "DataTransfer", `{"vendorId":"V","messageId":"M","data":"hello"}`, `\{"status":"UnknownVendorId"\}`,
		[]string{`data.received \{"action":"DataTransfer","vendor":"V","message":"M","payload":"hello","reason":"unknown vendor"\}`}},
	{"P02 JSON", "DataTransfer", `{"vendorId":"V","data":{"a":[1]}}`, `\{"status":"UnknownVendorId"\}`, []string{`"payload":\{"a":\[1\]\}`}},
	{"P02 nothing", "DataTransfer", `{"vendorId":"V"}`, `\{"status":"UnknownVendorId"\}`, []string{`data.received \{"action":"DataTransfer","vendor":"V","reason"`}},
	{"part 4 §4.2.3 unknown action", "Fly", `{"high":true}`, `!NotImplemented`, []string{`data.received \{"action":"Fly","payload":\{"high":true\},"reason":"unknown action"\}`}},
	{"an action of 1.6", "StopTransaction", `{"transactionId":1}`, `!NotImplemented`, []string{`data.received \{"action":"StopTransaction"`}},
	{"action of the CSMS", "GetLog", `{}`, `!NotSupported`, []string{`data.received \{"action":"GetLog"`}},
	{"missing field", "Authorize", `{}`, `!OccurrenceConstraintViolation`, nil},
	{"wrong type", "SecurityEventNotification", `{"type":{}}`, `!TypeConstraintViolation`, nil},
}

func TestMessages(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	play(t, y, y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil), messages)
	handled := map[string]bool{}
	for _, tt := range messages {
		handled[tt.action] = true
	}
	for _, a := range ocpp201.Actions {
		if a.Direction&ocpp201.FromStation != 0 && !handled[a.Name] {
			t.Errorf("%s has no row here", a.Name)
		}
	}
}
