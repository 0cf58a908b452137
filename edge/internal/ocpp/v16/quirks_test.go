package v16_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
)

// one runs an endpoint for a station that is configured as CP-1.
func one(t *testing.T, config ocpp.Station, answer func(string, json.RawMessage) string) (*ocpptest.Yard, *ocpptest.Station) {
	t.Helper()
	cfg := ocpptest.Config()
	cfg.Stations = map[event.StationID]ocpp.Station{"CP-1": config}
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	return y, y.Connect(t, "CP-1", answer)
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// The built-in profiles do what they are for: a boot names the model, and what the
// charge point says from then on is taken as that model means it.
func TestProfileOfModel(t *testing.T) {
	book, err := stationprofile.Load("")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, vendor, model string
		start               string // of the register
		want                string // pattern of the session's start
	}{
		{"quirk 70 register of the session", "ABB", "Terra AC", "4711", `"meter_wh":0`},
		{"quirk 73 register lost", "Alfen BV", "NG910", "0", `"trigger":"authorized"`},
		{"any other", "Acme", "Wall", "4711", `"meter_wh":4711`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ocpptest.Config()
			cfg.StationProfiles = book
			y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
			s := y.Connect(t, "CP-1", nil)
			s.Call("BootNotification", fmt.Sprintf(`{"chargePointVendor":%q,"chargePointModel":%q}`, tt.vendor, tt.model))
			s.Call("StartTransaction", `{"connectorId":1,"idTag":"A","meterStart":`+tt.start+`,"timestamp":"`+now()+`"}`)
			d := y.Journal.Wait(t, "start", func(d event.Draft) bool { _, ok := d.Data.(*event.SessionStarted); return ok })
			text, err := json.Marshal(d.Data)
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(tt.want).Match(text) || tt.start == "0" && strings.Contains(string(text), "meter_wh") {
				t.Errorf("got %s, want %s", text, tt.want)
			}
			y.Stop()
		})
	}
}

// Quirk 69: a station that writes another unit than it means.
func TestScale(t *testing.T) {
	y, s := one(t, ocpp.Station{Behaviour: stationprofile.Behaviour{EnergyScale: 1000, PowerScale: 0.1, Heartbeat: 2 * time.Minute}}, nil)
	if answer := s.Call("BootNotification", `{"chargePointVendor":"A","chargePointModel":"B"}`); !strings.Contains(answer, `"interval":120`) {
		t.Errorf("quirk 33: boot was answered %s", answer)
	}
	answer := s.Call("StartTransaction", `{"connectorId":1,"idTag":"A","meterStart":12,"timestamp":"`+now()+`"}`)
	id := regexp.MustCompile(`"transactionId":(\d+)`).FindStringSubmatch(answer)[1]
	s.Call("MeterValues", `{"connectorId":1,"transactionId":`+id+`,"meterValue":[{"timestamp":"`+now()+`","sampledValue":[{"value":"13","unit":"Wh"},{"value":"110000","unit":"W","measurand":"Power.Active.Import"}]}]}`)
	s.Call("StopTransaction", `{"transactionId":`+id+`,"meterStop":15,"timestamp":"`+now()+`"}`)
	var all strings.Builder
	for _, d := range y.Journal.Events() {
		text, err := json.Marshal(d.Data)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, want := range []string{`"meter_wh":12000`, `"energy_wh":13000,"power_w":11000`, `"meter_stop_wh":15000`, `"energy_wh":3000`} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %s in %s", want, all.String())
		}
	}
}

// Quirk 69: where nobody has told the scale, a session whose energy contradicts its
// power is marked.
func TestImplausible(t *testing.T) {
	y, s := one(t, ocpp.Station{}, nil)
	s.Boot()
	begin := time.Now().Add(-2 * time.Hour)
	at := func(minute int) string {
		return begin.Add(time.Duration(minute) * time.Minute).UTC().Format(time.RFC3339)
	}
	answer := s.Call("StartTransaction", `{"connectorId":1,"idTag":"A","meterStart":100,"timestamp":"`+at(0)+`"}`)
	id := regexp.MustCompile(`"transactionId":(\d+)`).FindStringSubmatch(answer)[1]
	for i := range 20 { // 11 kW, and the register counts kWh
		s.Call("MeterValues", fmt.Sprintf(`{"connectorId":1,"transactionId":%s,"meterValue":[{"timestamp":%q,"sampledValue":[{"value":"%d","unit":"Wh"},{"value":"11","unit":"kW","measurand":"Power.Active.Import"}]}]}`,
			id, at(i+1), 100+i/5))
	}
	y.Journal.Wait(t, "a suspect session", func(d event.Draft) bool {
		u, ok := d.Data.(*event.SessionUpdated)
		return ok && len(u.Flags) > 0 && u.Flags[0] == event.FlagSuspect
	})
	if scores := y.Server.Scores(); len(scores) != 1 || scores[0].Model != "Wall" || len(scores[0].Kinds) != 1 || scores[0].Kinds[0].Kind != "energy_implausible" {
		t.Errorf("scores: %+v", scores)
	}
}

// Quirk 61: a tag that the gateway told comes back in another case, or with two
// characters more, and is still that tag.
func TestTagsComeBack(t *testing.T) {
	const told = "CY0123456789ABCDEF12"
	tests := []struct{ name, back, want string }{
		{"another case", "cy0123456789abcdef12", told},
		{"two more", told + "00", told},
		{"three more", told + "000", told + "000"},
		{"another", "CY0123456789ABCDEF13", "CY0123456789ABCDEF13"},
		{"shorter", "CY0123", "CY0123"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y, s := one(t, ocpp.Station{}, func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
			s.Boot()
			params, err := json.Marshal(event.StartParams{Token: event.Token{Value: told}})
			if err != nil {
				t.Fatal(err)
			}
			outcome(t, y, event.Command{Type: event.CommandStart, EVSE: 1, Params: params})
			s.Call("StartTransaction", `{"connectorId":1,"idTag":"`+tt.back+`","meterStart":1,"timestamp":"`+now()+`"}`)
			d := y.Journal.Wait(t, "start", func(d event.Draft) bool { _, ok := d.Data.(*event.SessionStarted); return ok })
			started := d.Data.(*event.SessionStarted)
			if started.Token.Value != tt.want || (started.Trigger == "remote_start") != (tt.want == told) {
				t.Errorf("token %q, trigger %s; want %q", started.Token.Value, started.Trigger, tt.want)
			}
			y.Stop()
		})
	}
}

// manager answers questions as a test says.
type manager struct {
	ocpptest.Away
	answers map[string]string
	asked   chan site.Question
}

func (m *manager) Ask(_ context.Context, _ event.Address, q site.Question) (json.RawMessage, error) {
	if q.Kind == site.QuestionSignCertificate {
		return nil, site.ErrUnsupported // of the site, not of the tunnel
	}
	m.asked <- q
	if a, ok := m.answers[q.Kind]; ok {
		return json.RawMessage(a), nil
	}
	return nil, site.ErrUnsupported
}

// What a charge point says about contracts of cars goes through the tunnel of the
// note, in its dialect and in the older one.
func TestPlugAndCharge(t *testing.T) {
	tests := []struct {
		name, vendor, message, data string
		answers                     map[string]string // of the manager
		status, want                string            // patterns: of the answer, and of the data in it
		asked                       string            // what the manager was asked
	}{
		{"contract without certificate", "org.openchargealliance.iso15118pnc", "Authorize", `{"idToken":"DE-8AA-CA2B3C4D5-N"}`, nil, "Accepted", `\{"idTokenInfo":\{"status":"Accepted"\}\}`, ""},
		{"contract as 2.0.1 writes it", "org.openchargealliance.iso15118pnc", "Authorize", `{"idToken":{"idToken":"DE8AACA2B3C4D5N","type":"eMAID"}}`, nil, "Accepted", `\{"idTokenInfo":\{"status":"Accepted"\}\}`, ""},
		{"contract, nobody verifies", "org.openchargealliance.iso15118pnc", "Authorize", `{"idToken":"DE8AACA2B3C4D5N","certificate":"x"}`, nil, "Accepted",
			`\{"idTokenInfo":\{"status":"Invalid"\},"certificateStatus":"CertChainError"\}`, `"certificate":"x"`},
		{"contract verified", "org.openchargealliance.iso15118pnc", "Authorize", `{"idToken":"DE8AACA2B3C4D5N","iso15118CertificateHashData":[{"serialNumber":"1"}]}`,
			map[string]string{"certificate_status": `{"certificateStatus":"Accepted"}`}, "Accepted", `\{"idTokenInfo":\{"status":"Accepted"\},"certificateStatus":"Accepted"\}`, `"serialNumber":"1"`},
		{"contract of an expired certificate", "org.openchargealliance.iso15118pnc", "Authorize", `{"idToken":"DE8AACA2B3C4D5N","certificate":"x"}`,
			map[string]string{"certificate_status": `{"certificateStatus":"CertificateExpired"}`}, "Accepted", `\{"idTokenInfo":\{"status":"Expired"\},"certificateStatus":"CertificateExpired"\}`, "x"},
		{"contract with empty fields", "org.openchargealliance.iso15118pnc", "Authorize", `{"idToken":"DE8AACA2B3C4D5N","certificate":null,"iso15118CertificateHashData":[ ]}`, nil, "Accepted", `\{"idTokenInfo":\{"status":"Accepted"\}\}`, ""},
		{"no contract", "org.openchargealliance.iso15118pnc", "Authorize", `{}`, nil, "Accepted", `\{"idTokenInfo":\{"status":"Invalid"\}\}`, ""},
		{"certificate for a car", "org.openchargealliance.iso15118pnc", "Get15118EVCertificate", `{"iso15118SchemaVersion":"urn:iso:15118:2:2013:MsgDef","action":"Install","exiRequest":"AAA"}`,
			map[string]string{"iso15118_certificate": `{"status":"Accepted","exiResponse":"BBB"}`}, "Accepted", `\{"status":"Accepted","exiResponse":"BBB"\}`, `"exiRequest":"AAA"`},
		{"certificate for a car, older dialect", "iso15118", "Get15118EVCertificate", `{"15118SchemaVersion":"urn:iso:15118:2:2013:MsgDef","exiStreamRequest":"AAA"}`,
			map[string]string{"iso15118_certificate": `{"status":"Accepted","exiResponse":"BBB"}`}, "Accepted", `\{"status":"Accepted","exiResponse":"BBB"\}`, `\{"exiRequest":"AAA","iso15118SchemaVersion":"urn`},
		{"certificate for a car, nobody there", "org.openchargealliance.iso15118pnc", "Get15118EVCertificate", `{"exiRequest":"AAA"}`, nil, "Accepted", `\{"exiResponse":"","status":"Failed"\}`, "AAA"},
		{"status of a certificate", "org.openchargealliance.iso15118pnc", "GetCertificateStatus", `{"ocspRequestData":{}}`, map[string]string{"certificate_status": `{"status":"Accepted","ocspResult":"CCC"}`}, "Accepted", `.*"CCC".*`, "ocspRequestData"},
		{"status of a certificate, an answer that is none", "org.openchargealliance.iso15118pnc", "GetCertificateStatus", `{"ocspRequestData":{}}`, map[string]string{"certificate_status": `[]`}, "Accepted", `\{"status":"Failed"\}`, "ocspRequestData"},
		{"request to sign", "org.openchargealliance.iso15118pnc", "SignCertificate", `{"csr":"-----BEGIN","certificateType":"V2GCertificate"}`, nil, "Accepted", `\{"status":"Accepted"\}`, ""},
		{"request to sign nothing", "org.openchargealliance.iso15118pnc", "SignCertificate", `{}`, nil, "Accepted", `\{"status":"Rejected"\}`, ""},
		{"another message", "org.openchargealliance.iso15118pnc", "Dance", `{}`, nil, "UnknownMessageId", ``, ""},
		{"no JSON", "org.openchargealliance.iso15118pnc", "Authorize", `hello`, nil, "Rejected", ``, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &manager{answers: tt.answers, asked: make(chan site.Question, 1)}
			y := ocpptest.StartWith(t, m, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
			s := y.Connect(t, "CP-1", nil)
			s.Boot()
			answer := s.Call("DataTransfer", fmt.Sprintf(`{"vendorId":%q,"messageId":%q,"data":%q}`, tt.vendor, tt.message, tt.data))
			checkSchema(t, "DataTransfer", answer)
			var got struct{ Status, Data string }
			if err := json.Unmarshal([]byte(answer), &got); err != nil {
				t.Fatal(err)
			}
			if got.Status != tt.status || !regexp.MustCompile(`^(`+tt.want+`)$`).MatchString(got.Data) {
				t.Errorf("answered %s, want %s %s", answer, tt.status, tt.want)
			}
			select {
			case q := <-m.asked:
				if tt.asked == "" || !regexp.MustCompile(tt.asked).Match(q.Payload) {
					t.Errorf("asked %s %s, want %q", q.Kind, q.Payload, tt.asked)
				}
			default:
				if tt.asked != "" {
					t.Error("the manager was not asked")
				}
			}
			y.Stop()
		})
	}
}

// A strict station gets the CALLERROR for whatever is off the schema, and nothing
// of it is kept.
func TestStrict(t *testing.T) {
	const when = `"timestamp":"2026-01-01T00:00:00Z"`
	tests := []struct{ name, action, payload, answer string }{
		{"as it should be", "StatusNotification", `{"connectorId":1,"errorCode":"NoError","status":"Available"}`, `{}`},
		{"unknown field", "StatusNotification", `{"connectorId":1,"errorCode":"NoError","status":"Available","more":1}`, `!FormationViolation`},
		{"unknown word", "StatusNotification", `{"connectorId":1,"errorCode":"Smoke","status":"Available"}`, `!PropertyConstraintViolation`},
		{"number as text", "StatusNotification", `{"connectorId":"1","errorCode":"NoError","status":"Available"}`, `!TypeConstraintViolation`},
		{"missing field", "StatusNotification", `{"connectorId":1,"status":"Available"}`, `!OccurenceConstraintViolation`},
		{"too long", "Authorize", `{"idTag":"` + strings.Repeat("A", 21) + `"}`, `!PropertyConstraintViolation`},
		{"stop without a meter", "StopTransaction", `{"transactionId":1,` + when + `}`, `!OccurenceConstraintViolation`},
		{"boot without vendor", "BootNotification", `{"chargePointModel":"B"}`, `!OccurenceConstraintViolation`},
		{"data that is no text", "DataTransfer", `{"vendorId":"V","data":{"a":1}}`, `!TypeConstraintViolation`},
		{"unknown action", "Fly", `{}`, `!NotImplemented`},
	}
	y, s := one(t, ocpp.Station{Strict: true}, nil)
	s.Boot()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(y.Journal.Events())
			if answer := s.Call(tt.action, tt.payload); answer != tt.answer {
				t.Errorf("answered %s, want %s", answer, tt.answer)
			}
			if kept := y.Journal.Events()[before:]; len(kept) > 0 && tt.answer[0] == '!' {
				t.Errorf("kept %+v", kept[0].Data)
			}
		})
	}
	for _, frame := range []string{`[2,"r1","StopTransaction",{"transactionId":,"meterStop":5}]`, `[2,"r1","StopTransaction",{"transactionId":1,"me`} {
		before := len(y.Journal.Events())
		s.Send(frame)
		if answer, err := s.Next(); err != nil || !strings.HasPrefix(answer, `[4,"r1","FormationViolation"`) {
			t.Errorf("%s was answered %s, %v", frame, answer, err)
		}
		if len(y.Journal.Events()) != before {
			t.Errorf("%s was kept", frame)
		}
	}
}

// Quirk 62: what was said last counts, also when nobody waits for the answer.
func TestLastWord(t *testing.T) {
	y, s := one(t, ocpp.Station{}, nil)
	s.Boot()
	answer := s.Call("StartTransaction", `{"connectorId":1,"idTag":"A","meterStart":1,"timestamp":"`+now()+`"}`)
	id := regexp.MustCompile(`"transactionId":(\d+)`).FindStringSubmatch(answer)[1]
	s.Send(`[2,"last","StopTransaction",{"transactionId":` + id + `,"meterStop":77,"reason":"HardReset","timestamp":"` + now() + `"}]`)
	s.Drop()
	d := y.Journal.Wait(t, "end", func(d event.Draft) bool { _, ok := d.Data.(*event.SessionEnded); return ok })
	if ended := d.Data.(*event.SessionEnded); ended.Reason != "reboot" || ended.MeterStopWh == nil || *ended.MeterStopWh != 77 {
		t.Errorf("got %+v", ended)
	}
}

// Quirk 46: the state that came last holds, whatever time it names.
func TestStatusByArrival(t *testing.T) {
	y, s := one(t, ocpp.Station{}, nil)
	s.Boot()
	s.Call("StatusNotification", `{"connectorId":1,"errorCode":"NoError","status":"Charging","timestamp":"`+now()+`"}`)
	s.Call("StatusNotification", `{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"2026-01-01T00:00:00Z"}`)
	connectors, _ := y.Site.Live()
	if len(connectors) != 1 || connectors[0].Status != event.StatusAvailable {
		t.Errorf("got %+v", connectors)
	}
}
