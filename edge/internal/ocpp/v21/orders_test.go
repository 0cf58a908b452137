package v21_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v21"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// answers are what the station of TestOrders says to what it is not asked in
// another way: Accepted.
var answers = map[string]string{
	"GetVariables":               `{"getVariableResult":[{"attributeStatus":"Accepted","attributeValue":"1","component":{"name":"A"},"variable":{"name":"x"}}]}`,
	"SetVariables":               `{"setVariableResult":[{"attributeStatus":"Accepted","component":{"name":"A"},"variable":{"name":"x"}}]}`,
	"GetLocalListVersion":        `{"versionNumber":4}`,
	"UnlockConnector":            `{"status":"Unlocked"}`,
	"GetInstalledCertificateIds": `{"status":"NotFound"}`,
	"GetBaseReport":              `{"status":"EmptyResultSet"}`,
	"GetChargingProfiles":        `{"status":"NoProfiles"}`,
	"GetCompositeSchedule":       `{"status":"Accepted","schedule":{"evseId":1,"duration":300,"scheduleStart":"2026-01-01T00:00:00Z","chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"setpoint":8}]}}`,
	"GetTransactionStatus":       `{"messagesInQueue":false}`,
	"ClearVariableMonitoring":    `{"clearMonitoringResult":[{"id":1,"status":"Accepted"}]}`,
	"SetVariableMonitoring":      `{"setMonitoringResult":[{"component":{"name":"A"},"severity":1,"status":"Accepted","type":"UpperThreshold","variable":{"name":"x"}}]}`,
	"ClearTariffs":               `{"clearTariffsResult":[{"status":"Accepted"}]}`,
	"UnpublishFirmware":          `{"status":"Unpublished"}`,
	"CostUpdated":                `{}`,
	"GetPeriodicEventStream":     `{}`,
	"NotifyWebPaymentStarted":    `{}`,
}

// orders are all messages that go to a station, each by the command that makes it;
// %C stands for a certificate.
var orders = []struct {
	action string
	kind   event.CommandType
	evse   int
	params string
	sent   string // pattern of the payload
}{
	{"RequestStartTransaction", event.CommandStart, 1, `{"token":{"type":"rfid","value":"04A1"}}`, `\{"evseId":1,"idToken":\{"idToken":"04A1","type":"ISO14443"\},"remoteStartId":\d+\}`},
	{"RequestStopTransaction", event.CommandStop, 1, `{}`, `\{"transactionId":"t1"\}`},
	{"UnlockConnector", event.CommandUnlock, 1, `{}`, `\{"evseId":1,"connectorId":1\}`},
	{"Reset", event.CommandReset, 0, `{"kind":"hard"}`, `\{"type":"Immediate"\}`},
	{"ChangeAvailability", event.CommandSetAvailability, 2, `{"available":false}`, `\{"evse":\{"id":2\},"operationalStatus":"Inoperative"\}`},
	{"SetChargingProfile", event.CommandSetLimit, 2, `{"limit_a":8,"until":"2999-01-01T00:00:00Z"}`, `\{"evseId":2,"chargingProfile":\{"id":18,.*\}`},
	{"ClearChargingProfile", event.CommandClearLimit, 2, `{}`, `\{"chargingProfileCriteria":\{"evseId":2,.*\}`},
	{"GetCompositeSchedule", event.CommandGetLimit, 2, `{}`, `\{"duration":3600,"evseId":2\}`},
	{"GetVariables", event.CommandGetConfiguration, 0, `{"variables":[{"component":"A","variable":"x"}]}`, `\{"getVariableData":\[\{"component":\{"name":"A"\},"variable":\{"name":"x"\}\}\]\}`},
	{"GetBaseReport", event.CommandGetConfiguration, 0, `{}`, `\{"requestId":\d+,"reportBase":"FullInventory"\}`},
	{"SetVariables", event.CommandSetConfiguration, 0, `{"variables":[{"component":"A","variable":"x","value":"1"}]}`, `\{"setVariableData":\[\{"attributeValue":"1",.*\}\]\}`},
	{"TriggerMessage", event.CommandTrigger, 0, `{"message":"heartbeat"}`, `\{"requestedMessage":"Heartbeat"\}`},
	{"ReserveNow", event.CommandReserve, 2, `{"reservation":7,"token":{"type":"rfid","value":"04A1"},"until":"2999-01-01T00:00:00Z"}`, `\{"id":7,.*\}`},
	{"CancelReservation", event.CommandCancelReservation, 0, `{"reservation":7}`, `\{"reservationId":7\}`},
	{"UpdateFirmware", event.CommandUpdateFirmware, 0, `{"url":"https://f"}`, `.*"location":"https://f".*`},
	{"GetLog", event.CommandGetLog, 0, `{"url":"https://l"}`, `.*"logType":"DiagnosticsLog".*`},
	{"ClearCache", event.CommandClearCache, 0, `{}`, `\{\}`},
	{"SendLocalList", event.CommandSendLocalList, 0, `{"version":4}`, `\{"versionNumber":4,"updateType":"Full"\}`},
	{"GetLocalListVersion", event.CommandSendLocalList, 0, `{"version":4}`, `\{\}`},
	{"InstallCertificate", event.CommandInstallCertificate, 0, `{"kind":"csms_root","certificate":"%C"}`, `.*"CSMSRootCertificate".*`},
	{"DeleteCertificate", event.CommandDeleteCertificate, 0, `{"hash":{"algorithm":"SHA256","issuer_name_hash":"a","issuer_key_hash":"b","serial":"c"}}`, `\{"certificateHashData":\{.*\}\}`},
	{"GetInstalledCertificateIds", event.CommandListCertificates, 0, `{"kind":"mo_root"}`, `\{"certificateType":\["MORootCertificate"\]\}`},
	{"CertificateSigned", event.CommandSignCertificate, 0, `{"chain":"PEM","kind":"v2g20"}`, `\{"certificateChain":"PEM","certificateType":"V2G20Certificate"\}`},
	{"SetDisplayMessage", event.CommandShowMessage, 0, `{"text":"hello","format":"qrcode"}`, `.*"format":"QRCODE","content":"hello".*`},
	{"ClearDisplayMessage", event.CommandShowMessage, 0, `{"id":5}`, `\{"id":5\}`},
	{"DataTransfer", event.CommandSendData, 0, `{"vendor":"V","data":"x"}`, `\{"data":"x","vendorId":"V"\}`},

	// What has no command of its own goes out by call.
	{"GetReport", event.CommandCall, 0, `{"requestId":1,"componentCriteria":["Problem"]}`, ``},
	{"SetNetworkProfile", event.CommandCall, 0, `{"configurationSlot":1,"connectionData":{"messageTimeout":30,"ocppCsmsUrl":"wss://x","ocppInterface":"Wired0","ocppTransport":"JSON","securityProfile":2}}`, ``},
	{"GetTransactionStatus", event.CommandCall, 0, `{"transactionId":"t1"}`, ``},
	{"CostUpdated", event.CommandCall, 0, `{"totalCost":16.5,"transactionId":"t1"}`, ``},
	{"GetChargingProfiles", event.CommandCall, 0, `{"requestId":1,"chargingProfile":{"chargingProfilePurpose":"PriorityCharging"}}`, ``},
	{"PublishFirmware", event.CommandCall, 0, `{"location":"https://f","checksum":"d41d8cd98f00b204e9800998ecf8427e","requestId":1}`, ``},
	{"UnpublishFirmware", event.CommandCall, 0, `{"checksum":"d41d8cd98f00b204e9800998ecf8427e"}`, ``},
	{"ClearVariableMonitoring", event.CommandCall, 0, `{"id":[1]}`, ``},
	{"CustomerInformation", event.CommandCall, 0, `{"requestId":1,"report":true,"clear":false}`, ``},
	{"GetMonitoringReport", event.CommandCall, 0, `{"requestId":1}`, ``},
	{"SetMonitoringBase", event.CommandCall, 0, `{"monitoringBase":"FactoryDefault"}`, ``},
	{"SetMonitoringLevel", event.CommandCall, 0, `{"severity":4}`, ``},
	{"SetVariableMonitoring", event.CommandCall, 0, `{"setMonitoringData":[{"value":253,"type":"UpperThreshold","severity":1,"component":{"name":"A"},"variable":{"name":"x"}}]}`, ``},
	{"GetDisplayMessages", event.CommandCall, 0, `{"requestId":1}`, ``},
	{"NotifyWebPaymentStarted", event.CommandCall, 0, `{"evseId":1,"timeout":60}`, ``},
	{"ChangeTransactionTariff", event.CommandCall, 0, `{"tariff":{"tariffId":"T","currency":"EUR"},"transactionId":"t1"}`, ``},
	{"ClearTariffs", event.CommandCall, 0, `{"tariffIds":["T"]}`, ``},
	{"GetTariffs", event.CommandCall, 0, `{"evseId":1}`, ``},
	{"SetDefaultTariff", event.CommandCall, 0, `{"evseId":1,"tariff":{"tariffId":"T","currency":"EUR","energy":{"prices":[{"priceKwh":0.4}]}}}`, ``},
	{"UpdateDynamicSchedule", event.CommandCall, 0, `{"chargingProfileId":3,"scheduleUpdate":{"limit":12.5}}`, ``},
	{"UsePriorityCharging", event.CommandCall, 0, `{"transactionId":"t1","activate":true}`, ``},
	{"AdjustPeriodicEventStream", event.CommandCall, 0, `{"id":1,"params":{"interval":60}}`, ``},
	{"GetPeriodicEventStream", event.CommandCall, 0, `{}`, ``},
	{"AFRRSignal", event.CommandCall, 0, `{"timestamp":"2026-01-01T00:00:00Z","signal":3}`, ``},
	{"NotifyAllowedEnergyTransfer", event.CommandCall, 0, `{"transactionId":"t1","allowedEnergyTransfer":["AC_BPT"]}`, ``},
	{"ClearDERControl", event.CommandCall, 0, `{"isDefault":true}`, ``},
	{"GetDERControl", event.CommandCall, 0, `{"requestId":1,"isDefault":true}`, ``},
	{"SetDERControl", event.CommandCall, 0, `{"isDefault":true,"controlId":"c1","controlType":"FixedPFInject","fixedPFInject":{"priority":1,"displacement":0.9,"excitation":true}}`, ``},
	{"RequestBatterySwap", event.CommandCall, 0, `{"requestId":1,"idToken":{"idToken":"B","type":"Central"}}`, ``},
}

// certificate makes a root certificate, in PEM and quoted for JSON.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	quoted := strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return strings.Trim(quoted, `"`)
}

// Every message that goes to a station of 2.1 follows its schema to the letter,
// and its answer is understood.
func TestOrders(t *testing.T) {
	root := certificate(t)
	sendable := map[string]bool{}
	for i, tt := range orders {
		sendable[tt.action] = true
		t.Run(tt.action, func(t *testing.T) {
			y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour, Observe: map[event.CommandType]time.Duration{tt.kind: time.Hour}}, quiet, v21.New())
			var sent []string
			s := y.ConnectAs(t, "ocpp2.1", "CS-1", func(action string, payload json.RawMessage) string {
				m, ok := ocpp21.NewRequest(action)
				if !ok {
					t.Fatalf("the gateway sent %s", action)
				}
				if odd, err := m.Decode(payload); err != nil || len(odd) > 0 {
					t.Errorf("%s departs from the schema: %v %v in %s", action, odd, err, payload)
				}
				if err := m.Validate(); err != nil {
					t.Errorf("%s: %v", action, err)
				}
				if action == tt.action {
					sent = append(sent, string(payload))
				}
				if answer, ok := answers[action]; ok {
					return answer
				}
				return `{"status":"Accepted"}`
			})
			s.Call("BootNotification", `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"`+tt.action+`"}}`)
			s.Call("TransactionEvent", `{"eventType":"Started","timestamp":"`+time.Now().UTC().Format(time.RFC3339)+`","triggerReason":"CablePluggedIn","seqNo":0,"transactionInfo":{"transactionId":"t1"},"evse":{"id":1,"connectorId":1}}`)
			c := event.Command{ID: event.CommandID("c" + strconv.Itoa(i)), Type: tt.kind, Station: "CS-1", EVSE: tt.evse, Expires: time.Now().Add(time.Hour)}
			c.Params = json.RawMessage(strings.ReplaceAll(tt.params, "%C", root))
			want := tt.sent
			if tt.kind == event.CommandCall {
				c.Params = json.RawMessage(`{"protocol":"ocpp2.1","action":"` + tt.action + `","payload":` + tt.params + `}`)
			}
			if err := y.Site.Execute(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			d := y.Journal.Wait(t, "outcome", func(d event.Draft) bool {
				e, ok := d.Data.(*event.CommandUpdated)
				return ok && e.Command == c.ID && (e.State.Final() || e.State == event.StateAccepted)
			})
			e := d.Data.(*event.CommandUpdated)
			y.Stop()
			if len(sent) == 0 {
				t.Fatalf("%s was not sent; the command is %s: %s", tt.action, e.State, e.Reason)
			}
			if want != "" && !regexp.MustCompile(`^(`+want+`)$`).MatchString(sent[0]) {
				t.Errorf("sent %s, want %s", sent[0], want)
			}
			if e.State == event.StateUnsupported || e.State == event.StateIndeterminate {
				t.Errorf("%s: %s", e.State, e.Reason)
			}
		})
	}
	for _, a := range ocpp21.Actions {
		if a.Direction&ocpp21.FromServer != 0 && !sendable[a.Name] {
			t.Errorf("%s has no row here", a.Name)
		}
	}
}

// A chain names the request that it answers.
func TestChainNamesItsRequest(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v21.New())
	sent := make(chan string, 4)
	s := y.ConnectAs(t, "ocpp2.1", "CS-1", func(action string, payload json.RawMessage) string {
		sent <- action + " " + string(payload)
		return `{"status":"Accepted"}`
	})
	s.Call("BootNotification", `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"Wall"}}`)
	s.Call("SignCertificate", `{"csr":"-----BEGIN","certificateType":"V2GCertificate","requestId":5}`)
	for i, want := range []string{`CertificateSigned {"certificateChain":"PEM","certificateType":"V2GCertificate","requestId":5}`, `CertificateSigned {"certificateChain":"PEM","certificateType":"V2GCertificate"}`} {
		c := event.Command{ID: event.CommandID("s" + strconv.Itoa(i)), Type: event.CommandSignCertificate, Station: "CS-1", Expires: time.Now().Add(time.Hour), Params: json.RawMessage(`{"chain":"PEM","kind":"v2g"}`)}
		if err := y.Site.Execute(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-sent:
			if got != want {
				t.Errorf("sent %s, want %s", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no chain was sent")
		}
	}
}

// An answer that cannot be used is refused, and the command's outcome is open.
func TestAnswerIsRefused(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v21.New())
	s := y.ConnectAs(t, "ocpp2.1", "CS-1", func(string, json.RawMessage) string { return `{}` })
	s.Call("BootNotification", `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"Wall"}}`)
	c := event.Command{ID: "c", Type: event.CommandClearCache, Station: "CS-1", Expires: time.Now().Add(time.Hour)}
	if err := y.Site.Execute(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got, err := s.Next()
	if err != nil || !regexp.MustCompile(`^\[5,"[^"]+","OccurrenceConstraintViolation","[^"]*status[^"]*",\{\}\]$`).MatchString(got) {
		t.Errorf("the answer was answered %s %v, want a CALLRESULTERROR", got, err)
	}
	d := y.Journal.Wait(t, "outcome", func(d event.Draft) bool {
		e, ok := d.Data.(*event.CommandUpdated)
		return ok && e.Command == c.ID && e.State.Final()
	})
	if e := d.Data.(*event.CommandUpdated); e.State != event.StateIndeterminate {
		t.Errorf("%s: %s", e.State, e.Reason)
	}
}
