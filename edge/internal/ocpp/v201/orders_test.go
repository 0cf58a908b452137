package v201_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v21"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// orderStep is what the gateway is expected to send, and what the station
// answers: a payload, or a CALLERROR code after an exclamation mark. Calls are
// those that the station sends itself, before it answers: an action, a blank and
// a payload.
type orderStep struct {
	action  string
	payload string // pattern
	answer  string
	calls   []string
}

var orderNumber atomic.Int64

var noLog = slog.New(slog.DiscardHandler)

// outcomeOf gives the site a command and waits until it is no further than its
// device took it: its final state, or accepted.
func outcomeOf(t *testing.T, y *ocpptest.Yard, c event.Command) *event.CommandUpdated {
	t.Helper()
	c.ID = event.CommandID("c" + strconv.FormatInt(orderNumber.Add(1), 10))
	c.Station, c.Expires = "CS-1", time.Now().Add(time.Hour)
	if err := y.Site.Execute(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	delivered := false
	d := y.Journal.Wait(t, "outcome of "+string(c.Type), func(d event.Draft) bool {
		e, ok := d.Data.(*event.CommandUpdated)
		if !ok || e.Command != c.ID {
			return false
		}
		delivered = delivered || e.State == event.StateDelivered
		return e.State.Final() || e.State == event.StateAccepted
	})
	e := d.Data.(*event.CommandUpdated)
	if e.State == event.StateSucceeded && !delivered {
		t.Errorf("%s succeeded and was never delivered", c.Type)
	}
	return e
}

// boot sends the BootNotification of 2.x.
func boot(t *testing.T, s *ocpptest.Station) {
	t.Helper()
	const hello = `{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"Wall"}}`
	if answer := s.Call("BootNotification", hello); !strings.Contains(answer, `"Accepted"`) {
		t.Fatalf("boot was answered %s", answer)
	}
}

// heldLimit waits for the limit that command c left.
func heldLimit(t *testing.T, y *ocpptest.Yard, c event.CommandID, want string) {
	t.Helper()
	d := y.Journal.Wait(t, "limit of "+string(c), func(d event.Draft) bool {
		e, ok := d.Data.(*event.ProfileUpdated)
		return ok && e.Command == c
	})
	e := d.Data.(*event.ProfileUpdated)
	got := ""
	switch {
	case e.LimitA != nil:
		got = fmt.Sprint(*e.LimitA, " A")
	case e.LimitW != nil:
		got = fmt.Sprint(*e.LimitW, " W")
	}
	if e.Status != "effective" || got != want {
		t.Errorf("%s %s, want effective %s", e.Status, got, want)
	}
}

// checkOrder holds what the gateway sends against the schemas: that of 2.0.1
// where the message is of it, and that of 2.1 always.
func checkOrder(t *testing.T, protocol, action string, payload json.RawMessage) {
	t.Helper()
	if protocol == "ocpp2.0.1" {
		m, ok := ocpp201.NewRequest(action)
		if !ok {
			t.Fatalf("the gateway sent %s", action)
		}
		if odd, err := m.Decode(payload); err != nil || len(odd) > 0 {
			t.Errorf("%s departs from the schema of 2.0.1: %v %v in %s", action, odd, err, payload)
		}
		if err := m.Validate(); err != nil {
			t.Errorf("%s, 2.0.1: %v", action, err)
		}
	}
	m, ok := ocpp21.NewRequest(action)
	if !ok {
		t.Fatalf("the gateway sent %s", action)
	}
	if odd, err := m.Decode(payload); err != nil || len(odd) > 0 {
		t.Errorf("%s departs from the schema of 2.1: %v %v in %s", action, odd, err, payload)
	}
	if err := m.Validate(); err != nil {
		t.Errorf("%s, 2.1: %v", action, err)
	}
}

// rootCertificate makes a root certificate, and its name as OCPP writes it.
func rootCertificate(t *testing.T) (string, event.CertificateHash) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0xabc123), Subject: pkix.Name{CommonName: "root"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	ecdhKey, err := key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	name, point := sha256.Sum256(c.RawIssuer), sha256.Sum256(ecdhKey.Bytes())
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), event.CertificateHash{
		Algorithm: "SHA256", IssuerNameHash: hex.EncodeToString(name[:]), IssuerKeyHash: hex.EncodeToString(point[:]), Serial: "abc123",
	}
}

// An order row: what is ordered, what goes over the wire, what becomes of it. Of
// both versions unless protocol says of which.
type orderRow struct {
	name     string
	kind     event.CommandType
	evse     int
	params   any
	steps    []orderStep
	state    event.CommandState
	reason   string // part of it
	held     string // the limit that holds instead
	result   string // pattern
	protocol string
	profile  stationprofile.Behaviour
}

func orderRows(t *testing.T) []orderRow {
	until := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
	certificate, hash := rootCertificate(t)
	hashJSON := func(zeros string) string {
		return fmt.Sprintf(`{"hashAlgorithm":"SHA256","issuerNameHash":%q,"issuerKeyHash":%q,"serialNumber":%q}`, hash.IssuerNameHash, hash.IssuerKeyHash, zeros+hash.Serial)
	}
	chainOf := func(kind string) string {
		return `{"status":"Accepted","certificateHashDataChain":[{"certificateHashData":` + hashJSON("00") + `,"certificateType":"` + kind + `"}]}`
	}
	const yes = `{"status":"Accepted"}`
	no := func(code string) string { return `{"status":"Rejected","statusInfo":{"reasonCode":"` + code + `"}}` }
	token := event.Token{Type: "rfid", Value: "04A1B2C3"}
	a := func(v float64) *float64 { return &v }
	value := func(component, variable, instance, v string) string {
		if instance != "" {
			instance = `,"instance":"` + instance + `"`
		}
		if v != "" {
			v = `"attributeValue":"` + v + `",`
		}
		return `{"attributeStatus":"Accepted",` + v + `"component":{"name":"` + component + `"},"variable":{"name":"` + variable + `"` + instance + `}}`
	}
	values := func(all ...string) string { return `{"getVariableResult":[` + strings.Join(all, ",") + `]}` }
	smart := func(units, level string) orderStep {
		return orderStep{"GetVariables", `\{"getVariableData":\[\{"component":\{"name":"SmartChargingCtrlr"\},"variable":\{"name":"RateUnit"\}\},\{"component":\{"name":"SmartChargingCtrlr"\},"variable":\{"name":"ProfileStackLevel"\}\}\]\}`,
			values(value("SmartChargingCtrlr", "RateUnit", "", units), value("SmartChargingCtrlr", "ProfileStackLevel", "", level)), nil}
	}
	both := smart("A,W", "8")
	profile := func(evse int, id int, level int, purpose, unit, limit string) string {
		return fmt.Sprintf(`\{"evseId":%d,"chargingProfile":\{"id":%d,"stackLevel":%d,"chargingProfilePurpose":"%s","chargingProfileKind":"Absolute","validTo":"[^"]+Z",`+
			`"chargingSchedule":\[\{"id":1,"startSchedule":"[^"]+Z","duration":\d+,"chargingRateUnit":"%s","chargingSchedulePeriod":\[\{"startPeriod":0,"limit":%s\}\]\}\]\}\}`,
			evse, id, level, purpose, unit, limit)
	}
	schedule := func(unit string, limit float64) string {
		return fmt.Sprintf(`{"status":"Accepted","schedule":{"evseId":0,"duration":300,"scheduleStart":%q,"chargingRateUnit":%q,"chargingSchedulePeriod":[{"startPeriod":0,"limit":%g}]}}`,
			time.Now().UTC().Format(time.RFC3339), unit, limit)
	}
	composite := func(unit string, limit float64) orderStep {
		return orderStep{"GetCompositeSchedule", `.*"duration":300,.*`, schedule(unit, limit), nil}
	}
	report := func(evse, id int, unit string, limit float64) string {
		return fmt.Sprintf(`{"requestId":1073741825,"chargingLimitSource":"CSO","evseId":%d,"chargingProfile":[{"id":%d,"stackLevel":1,"chargingProfilePurpose":"TxDefaultProfile","chargingProfileKind":"Absolute","chargingSchedule":[{"id":1,"chargingRateUnit":%q,"chargingSchedulePeriod":[{"startPeriod":0,"limit":%g}]}]}]}`,
			evse, id, unit, limit)
	}
	named := func(names ...string) []event.Variable {
		var out []event.Variable
		for _, name := range names {
			c, v, _ := strings.Cut(name, ".")
			v, text, _ := strings.Cut(v, "=")
			out = append(out, event.Variable{Component: c, Variable: v, Value: text})
		}
		return out
	}
	entries := func(n int, status string) []event.ListEntry {
		var out []event.ListEntry
		for i := range n {
			out = append(out, event.ListEntry{Token: event.Token{Type: "central", Value: "T" + strconv.Itoa(i)}, Status: status})
		}
		return out
	}
	listMax := orderStep{"GetVariables", `.*"LocalAuthListCtrlr".*"ItemsPerMessage".*"BytesPerMessage".*`,
		values(value("LocalAuthListCtrlr", "ItemsPerMessage", "", "2"), value("LocalAuthListCtrlr", "BytesPerMessage", "", "8000")), nil}
	part := func(version int, kind, first, last string) orderStep {
		return orderStep{"SendLocalList", fmt.Sprintf(`\{"localAuthorizationList":\[\{"idToken":\{"idToken":"%s".*"idToken":"%s".*\],"versionNumber":%d,"updateType":"%s"\}`, first, last, version, kind), yes, nil}
	}
	rooms := func(instance, items, bytes string) orderStep {
		return orderStep{"GetVariables", `.*"ItemsPerMessage","instance":"` + instance + `".*"BytesPerMessage","instance":"` + instance + `".*`,
			values(value("DeviceDataCtrlr", "ItemsPerMessage", instance, items), value("DeviceDataCtrlr", "BytesPerMessage", instance, bytes)), nil}
	}
	notifyReport := func(request int, seq int, more bool, names ...string) string {
		var data []string
		for _, n := range names {
			data = append(data, `{"component":{"name":"Ctrlr"},"variable":{"name":"`+n+`"},"variableAttribute":[{"value":"1"}]}`)
		}
		return fmt.Sprintf(`NotifyReport {"requestId":%d,"generatedAt":"2026-01-01T00:00:00Z","seqNo":%d,"tbc":%t,"reportData":[%s]}`, request, seq, more, strings.Join(data, ","))
	}
	set := func(names ...string) string {
		var all []string
		for _, name := range names {
			name, status, _ := strings.Cut(name, "=")
			c, v, _ := strings.Cut(name, ".")
			all = append(all, `{"attributeStatus":"`+status+`","component":{"name":"`+c+`"},"variable":{"name":"`+v+`"}}`)
		}
		return `{"setVariableResult":[` + strings.Join(all, ",") + `]}`
	}
	const v201, v21 = "ocpp2.0.1", "ocpp2.1"
	return []orderRow{
		// start, stop
		{name: "OCPP 2.0.1 F01", kind: event.CommandStart, evse: 2, params: event.StartParams{Token: token}, state: event.StateAccepted,
			steps: []orderStep{{"RequestStartTransaction", `\{"evseId":2,"idToken":\{"idToken":"04A1B2C3","type":"ISO14443"\},"remoteStartId":\d+\}`, yes, nil}}},
		{name: "any EVSE, a card of eight bytes", kind: event.CommandStart, params: event.StartParams{Token: event.Token{Type: "rfid", Value: "E004010012345678"}}, state: event.StateAccepted,
			steps: []orderStep{{"RequestStartTransaction", `\{"idToken":\{"idToken":"E004010012345678","type":"ISO15693"\},"remoteStartId":\d+\}`, `{"status":"Accepted","transactionId":"tx-1"}`, nil}}, result: `\{"transaction":"tx-1"\}`},
		{name: "token of the operator", kind: event.CommandStart, params: event.StartParams{Token: event.Token{Value: "fleet-7"}}, state: event.StateAccepted,
			steps: []orderStep{{"RequestStartTransaction", `.*\{"idToken":"fleet-7","type":"Central"\}.*`, yes, nil}}},
		{name: "OCPP 2.0.1 K05.FR.02", kind: event.CommandStart, evse: 1, params: event.StartParams{Token: token, LimitA: a(16.04)}, state: event.StateAccepted,
			steps: []orderStep{both, {"RequestStartTransaction", `.*"chargingProfile":\{"id":11,"stackLevel":1,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","chargingSchedule":\[\{"id":1,"chargingRateUnit":"A","chargingSchedulePeriod":\[\{"startPeriod":0,"limit":16\}\]\}\]\}\}`, yes, nil}}},
		{name: "refused", kind: event.CommandStart, params: event.StartParams{Token: token}, state: event.StateRejected, reason: "Occupied",
			steps: []orderStep{{"RequestStartTransaction", `.*`, no("Occupied"), nil}}},
		{name: "token too long", kind: event.CommandStart, params: event.StartParams{Token: event.Token{Type: "central", Value: strings.Repeat("x", 40)}}, state: event.StateUnsupported, reason: "idToken", protocol: v201},
		{name: "token of 2.1", kind: event.CommandStart, params: event.StartParams{Token: event.Token{Type: "direct_payment", Value: strings.Repeat("x", 40)}}, state: event.StateAccepted, protocol: v21,
			steps: []orderStep{{"RequestStartTransaction", `.*"type":"DirectPayment".*`, yes, nil}}},
		{name: "nothing runs", kind: event.CommandStop, params: event.StopParams{}, state: event.StateFailed},

		// unlock, reset, availability
		{name: "OCPP 2.0.1 F05", kind: event.CommandUnlock, evse: 2, params: event.UnlockParams{Connector: 2}, state: event.StateSucceeded,
			steps: []orderStep{{"UnlockConnector", `\{"evseId":2,"connectorId":2\}`, `{"status":"Unlocked"}`, nil}}},
		{name: "stuck", kind: event.CommandUnlock, evse: 1, params: event.UnlockParams{}, state: event.StateFailed,
			steps: []orderStep{{"UnlockConnector", `\{"evseId":1,"connectorId":1\}`, `{"status":"UnlockFailed"}`, nil}}},
		{name: "OCPP 2.0.1 F05.FR.02", kind: event.CommandUnlock, evse: 1, params: event.UnlockParams{}, state: event.StateRejected, reason: "stop the session first",
			steps: []orderStep{{"UnlockConnector", `.*`, `{"status":"OngoingAuthorizedTransaction"}`, nil}}},
		{name: "no such connector", kind: event.CommandUnlock, evse: 9, params: event.UnlockParams{}, state: event.StateRejected, reason: "UnknownConnector",
			steps: []orderStep{{"UnlockConnector", `.*`, `{"status":"UnknownConnector"}`, nil}}},
		{name: "no EVSE", kind: event.CommandUnlock, params: event.UnlockParams{}, state: event.StateRejected, reason: "evse"},
		{name: "profile without a lock", kind: event.CommandUnlock, evse: 1, params: event.UnlockParams{}, state: event.StateUnsupported, reason: "nothing to unlock", profile: stationprofile.Behaviour{Unlock: "none"}},
		{name: "OCPP 2.0.1 B11", kind: event.CommandReset, params: event.ResetParams{Kind: "hard"}, state: event.StateAccepted, steps: []orderStep{{"Reset", `\{"type":"Immediate"\}`, yes, nil}}},
		{name: "OCPP 2.0.1 B12 of an EVSE", kind: event.CommandReset, evse: 2, params: event.ResetParams{}, state: event.StateAccepted, reason: "scheduled",
			steps: []orderStep{{"Reset", `\{"type":"OnIdle","evseId":2\}`, `{"status":"Scheduled"}`, nil}}},
		{name: "resume", kind: event.CommandReset, params: event.ResetParams{Kind: "resume"}, state: event.StateUnsupported, reason: "type", protocol: v201},
		{name: "resume", kind: event.CommandReset, params: event.ResetParams{Kind: "resume"}, state: event.StateAccepted, protocol: v21, steps: []orderStep{{"Reset", `\{"type":"ImmediateAndResume"\}`, yes, nil}}},
		{name: "OCPP 2.0.1 G04", kind: event.CommandSetAvailability, params: event.SetAvailabilityParams{Available: true}, state: event.StateAccepted,
			steps: []orderStep{{"ChangeAvailability", `\{"operationalStatus":"Operative"\}`, yes, nil}}},
		{name: "OCPP 2.0.1 G03 of a connector", kind: event.CommandSetAvailability, evse: 1, params: event.SetAvailabilityParams{Connector: 2}, state: event.StateAccepted, reason: "scheduled",
			steps: []orderStep{{"ChangeAvailability", `\{"evse":\{"id":1,"connectorId":2\},"operationalStatus":"Inoperative"\}`, `{"status":"Scheduled"}`, nil}}},
		{name: "of an EVSE", kind: event.CommandSetAvailability, evse: 1, params: event.SetAvailabilityParams{}, state: event.StateAccepted,
			steps: []orderStep{{"ChangeAvailability", `\{"evse":\{"id":1\},"operationalStatus":"Inoperative"\}`, yes, nil}}},
		{name: "connector of no EVSE", kind: event.CommandSetAvailability, params: event.SetAvailabilityParams{Connector: 2}, state: event.StateRejected, reason: "evse"},

		// limits
		{name: "OCPP 2.0.1 K01 of the station", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(32), Until: until}, state: event.StateSucceeded,
			steps:  []orderStep{both, {"SetChargingProfile", profile(0, 1, 1, "ChargingStationMaxProfile", "A", "32"), yes, nil}, composite("A", 32)},
			result: `\{"purpose":"ChargingStationMaxProfile","evse":0,"profile":1,"unit":"A","limit":32,"read_back":32\}`},
		{name: "OCPP 2.0.1 K01 of an EVSE", kind: event.CommandSetLimit, evse: 2, params: event.SetLimitParams{LimitW: a(3600.04), Until: until}, state: event.StateSucceeded,
			steps: []orderStep{both, {"SetChargingProfile", profile(2, 18, 2, "TxDefaultProfile", "W", "3600"), yes, nil}, composite("W", 3600)}},
		{name: "amperes only", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitW: a(6900), Until: until}, state: event.StateSucceeded, reason: "amperes only",
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", profile(1, 10, 2, "TxDefaultProfile", "A", "10"), yes, nil}, composite("A", 10)}},
		{name: "watts only by profile", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateSucceeded, reason: "watts only", profile: stationprofile.Behaviour{LimitUnit: "W"},
			steps: []orderStep{both, {"SetChargingProfile", profile(1, 10, 2, "TxDefaultProfile", "W", "2300"), yes, nil}, composite("W", 2300)}},
		{name: "lowest stack", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateSucceeded,
			steps: []orderStep{smart("A", "0"), {"SetChargingProfile", profile(1, 10, 0, "TxDefaultProfile", "A", "10"), yes, nil}, composite("A", 10)}},
		{name: "quirk 79", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateSucceeded,
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", profile(0, 1, 1, "ChargingStationMaxProfile", "A", "10"), no("UnsupportedParam"), nil},
				{"SetChargingProfile", profile(0, 2, 1, "TxDefaultProfile", "A", "10"), yes, nil}, composite("A", 10)}},
		{name: "quirk 79 by profile", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateSucceeded, profile: stationprofile.Behaviour{LimitPurposes: []string{"TxDefaultProfile"}},
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", profile(0, 2, 1, "TxDefaultProfile", "A", "10"), yes, nil}, composite("A", 10)}},
		{name: "quirk 80 accepted but not applied", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateFailed, reason: "holds to 32 A",
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", `.*`, yes, nil}, composite("A", 32), {"SetChargingProfile", `.*TxDefaultProfile.*`, `!NotSupported`, nil}}},
		{name: "OCPP 2.0.1 K01.FR.53 another one's profile", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateSucceeded,
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", `.*`, no("DuplicateProfile"), nil},
				{"ClearChargingProfile", `\{"chargingProfileCriteria":\{"evseId":1,"chargingProfilePurpose":"TxDefaultProfile","stackLevel":2\}\}`, `{"status":"Unknown"}`, nil},
				{"ClearChargingProfile", `\{"chargingProfileCriteria":\{"evseId":0,"chargingProfilePurpose":"TxDefaultProfile","stackLevel":2\}\}`, yes, nil},
				{"SetChargingProfile", `.*`, yes, nil}, composite("A", 10)}},
		{name: "OCPP 2.0.1 K09 read back by its profile", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateSucceeded, reason: "its profile is installed",
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", `.*`, yes, nil}, {"GetCompositeSchedule", `.*`, `!NotImplemented`, nil},
				{"GetChargingProfiles", `\{"requestId":1073741825,"evseId":1,"chargingProfile":\{"chargingProfileId":\[10\]\}\}`, yes, []string{"ReportChargingProfiles " + report(1, 10, "A", 10)}}}},
		{name: "not kept", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateFailed, reason: "not among those",
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", `.*`, yes, nil}, {"GetCompositeSchedule", `.*`, `{"status":"Rejected"}`, nil},
				{"GetChargingProfiles", `.*"evseId":0,.*`, `{"status":"NoProfiles"}`, nil}, {"SetChargingProfile", `.*TxDefaultProfile.*`, `!NotSupported`, nil}}},
		{name: "cannot be read back", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateAccepted, reason: "cannot be read back",
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", `.*`, yes, nil}, {"GetCompositeSchedule", `.*`, `!NotSupported`, nil}, {"GetChargingProfiles", `.*`, `!NotSupported`, nil}}},
		{name: "no smart charging", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(10), Until: until}, state: event.StateUnsupported,
			steps: []orderStep{{"GetVariables", `.*`, `!NotSupported`, nil}, {"SetChargingProfile", `.*"A".*`, `!NotImplemented`, nil}, {"SetChargingProfile", `.*"W".*`, `!NotImplemented`, nil}}},
		{name: "quirk 52", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(0), Until: until}, state: event.StateFailed, reason: "held at 6 A", held: "6 A", profile: stationprofile.Behaviour{MinimumA: 6},
			steps: []orderStep{smart("A", "8"), {"SetChargingProfile", profile(1, 10, 2, "TxDefaultProfile", "A", "6"), yes, nil}, composite("A", 6)}},
		{name: "OCPP 2.0.1 K10", kind: event.CommandClearLimit, evse: 1, params: event.ClearLimitParams{}, state: event.StateSucceeded,
			steps: []orderStep{both, {"ClearChargingProfile", `\{"chargingProfileCriteria":\{"evseId":1,"chargingProfilePurpose":"TxDefaultProfile","stackLevel":2\}\}`, yes, nil},
				{"ClearChargingProfile", `.*"TxProfile".*`, `{"status":"Unknown"}`, nil}}},
		{name: "clear what cannot be cleared", kind: event.CommandClearLimit, params: event.ClearLimitParams{}, state: event.StateUnsupported,
			steps: []orderStep{both, {"ClearChargingProfile", `.*`, `!NotSupported`, nil}, {"ClearChargingProfile", `.*`, `!NotSupported`, nil}}},
		{name: "OCPP 2.0.1 K08", kind: event.CommandGetLimit, evse: 1, params: event.GetLimitParams{DurationS: 60, Unit: "A"}, state: event.StateSucceeded,
			steps:  []orderStep{{"GetCompositeSchedule", `\{"duration":60,"chargingRateUnit":"A","evseId":1\}`, schedule("A", 16), nil}},
			result: `\{"unit":"A","start":"[^"]+","periods":\[\{"start_s":0,"limit":16\}\]\}`},
		{name: "unit", kind: event.CommandGetLimit, params: event.GetLimitParams{Unit: "V"}, state: event.StateRejected, reason: "unit"},
		{name: "refused", kind: event.CommandGetLimit, params: event.GetLimitParams{}, state: event.StateRejected, steps: []orderStep{{"GetCompositeSchedule", `\{"duration":3600,"evseId":0\}`, `{"status":"Rejected"}`, nil}}},

		// configuration
		{name: "OCPP 2.0.1 B06", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: append(named("A.x", "B.y"), event.Variable{Component: "Connector/connector-2", EVSE: 1, Variable: "Available", Attribute: "Target"}, event.Variable{Component: "SecurityCtrlr", Variable: "BasicAuthPassword"})}, state: event.StateSucceeded,
			steps: []orderStep{{"GetVariables", `\{"getVariableData":\[\{"component":\{"name":"A"\},"variable":\{"name":"x"\}\},\{"component":\{"name":"B"\},"variable":\{"name":"y"\}\},\{"attributeType":"Target","component":\{"evse":\{"id":1,"connectorId":2\},"name":"Connector"\},"variable":\{"name":"Available"\}\},.*\]\}`,
				values(value("A", "x", "", "1"), `{"attributeStatus":"UnknownVariable","component":{"name":"B"},"variable":{"name":"y"}}`,
					`{"attributeStatus":"Accepted","attributeType":"Target","attributeValue":"true","component":{"name":"Connector","evse":{"id":1,"connectorId":2}},"variable":{"name":"Available"}}`,
					value("SecurityCtrlr", "BasicAuthPassword", "", "secret")), nil}},
			result: `\{"variables":\[\{"component":"A","variable":"x","value":"1"\},\{"component":"Connector/connector-2","variable":"Available","evse":1,"attribute":"Target","value":"true"\},\{"component":"SecurityCtrlr","variable":"BasicAuthPassword","value":""\}\],"unknown":\["B.y"\]\}`},
		{name: "OCPP 2.0.1 B06 in chunks", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: named("A.a", "A.b", "A.c", "A.d", "A.e")}, state: event.StateSucceeded,
			steps: []orderStep{rooms("GetVariables", "3", "10000"), rooms("SetVariables", "3", "10000"),
				{"GetVariables", `.*"a".*"b".*"c".*`, values(value("A", "a", "", "1"), value("A", "b", "", "1"), value("A", "c", "", "1")), nil},
				{"GetVariables", `.*"d".*"e".*`, values(value("A", "d", "", "1"), value("A", "e", "", "1")), nil}}},
		{name: "in chunks of few bytes", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: named("A.a", "A.b", "A.c", "A.d", "A.e")}, state: event.StateSucceeded,
			steps: []orderStep{rooms("GetVariables", "9", "250"), rooms("SetVariables", "9", "250"),
				{"GetVariables", `.*"a".*"b".*`, values(value("A", "a", "", "1")), nil}, {"GetVariables", `.*"c".*"d".*`, values(value("A", "c", "", "1")), nil}, {"GetVariables", `.*"e".*`, values(value("A", "e", "", "1")), nil}},
			result: `.*"unknown":\["A.b","A.d"\]\}`},
		{name: "one by one in the end", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: named("A.a", "A.b")}, state: event.StateSucceeded,
			steps:  []orderStep{{"GetVariables", `.*"a".*"b".*`, `!OccurrenceConstraintViolation`, nil}, {"GetVariables", `.*"a".*`, values(value("A", "a", "", "1")), nil}, {"GetVariables", `.*"b".*`, values(value("A", "b", "", "2")), nil}},
			result: `\{"variables":\[.*"value":"1"\},.*"value":"2"\}\]\}`},
		{name: "in chunks by profile", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: named("A.a", "A.b", "A.c", "A.d", "A.e")}, state: event.StateSucceeded, profile: stationprofile.Behaviour{ConfigurationChunk: 3},
			steps: []orderStep{{"GetVariables", `.*"c".*`, values(value("A", "a", "", "1")), nil}, {"GetVariables", `.*"e".*`, values(value("A", "e", "", "1")), nil}}},
		{name: "OCPP 2.0.1 B07", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{}, state: event.StateSucceeded,
			steps:  []orderStep{{"GetBaseReport", `\{"requestId":1,"reportBase":"FullInventory"\}`, yes, []string{notifyReport(1, 0, true, "a", "b"), notifyReport(1, 1, false, "c")}}},
			result: `\{"parts":2,"report":"FullInventory","variables":3\}`},
		{name: "OCPP 2.0.1 B07.FR.13", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{}, state: event.StateSucceeded, reason: "nothing to report",
			steps: []orderStep{{"GetBaseReport", `.*`, `{"status":"EmptyResultSet"}`, nil}}},
		{name: "OCPP 2.0.1 B07 summary only", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{}, state: event.StateSucceeded, reason: "SummaryInventory",
			steps: []orderStep{{"GetBaseReport", `.*"FullInventory".*`, `{"status":"NotSupported"}`, nil}, {"GetBaseReport", `.*"ConfigurationInventory".*`, `{"status":"NotSupported"}`, nil},
				{"GetBaseReport", `.*"SummaryInventory".*`, yes, []string{notifyReport(1, 0, false, "a")}}}},
		{name: "busy", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{}, state: event.StateRejected, steps: []orderStep{{"GetBaseReport", `.*`, `{"status":"Rejected"}`, nil}}},
		{name: "OCPP 2.0.1 B05", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: named("A.x=1", "A.y=on")}, state: event.StateSucceeded,
			steps: []orderStep{{"SetVariables", `\{"setVariableData":\[\{"attributeValue":"1","component":\{"name":"A"\},"variable":\{"name":"x"\}\},\{"attributeValue":"on",.*\]\}`, set("A.x=Accepted", "A.y=Accepted"), nil},
				{"GetVariables", `.*`, values(value("A", "x", "", "1.0"), value("A", "y", "", "ON")), nil}}},
		{name: "in chunks", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: named("A.a=1", "A.b=1", "A.c=1", "A.d=1", "A.e=1")}, state: event.StateSucceeded, profile: stationprofile.Behaviour{ConfigurationChunk: 4},
			steps: []orderStep{{"SetVariables", `.*"d".*`, set("A.a=Accepted", "A.b=Accepted", "A.c=Accepted", "A.d=Accepted"), nil}, {"SetVariables", `.*"e".*`, set("A.e=Accepted"), nil},
				{"GetVariables", `.*`, values(value("A", "a", "", "1"), value("A", "b", "", "1"), value("A", "c", "", "1"), value("A", "d", "", "1")), nil}, {"GetVariables", `.*`, values(value("A", "e", "", "1")), nil}}},
		{name: "reads back otherwise", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: named("A.x=1")}, state: event.StateFailed, reason: `reads back as "2"`,
			steps: []orderStep{{"SetVariables", `.*`, set("A.x=Accepted"), nil}, {"GetVariables", `.*`, values(value("A", "x", "", "2")), nil}}},
		{name: "some of them", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: named("A.x=1", "A.y=1")}, state: event.StateFailed, reason: "A.y: the station answered \"UnknownVariable\"; 1 of 2",
			steps: []orderStep{{"SetVariables", `.*`, set("A.x=Accepted", "A.y=UnknownVariable"), nil}}, result: `.*"status":"UnknownVariable".*`},
		{name: "OCPP 2.0.1 B05.FR.10 reboot", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: named("A.x=1")}, state: event.StateAccepted, reason: "reboot required",
			steps: []orderStep{{"SetVariables", `.*`, set("A.x=RebootRequired"), nil}}},
		{name: "OCPP 2.0.1 A01 password", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: named("SecurityCtrlr.BasicAuthPassword=0123456789abcdef")}, state: event.StateSucceeded, reason: "does not tell",
			steps:  []orderStep{{"SetVariables", `.*`, set("SecurityCtrlr.BasicAuthPassword=Accepted"), nil}, {"GetVariables", `.*`, `{"getVariableResult":[{"attributeStatus":"Rejected","component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"}}]}`, nil}},
			result: `\[\{"component":"SecurityCtrlr","variable":"SecurityCtrlr.BasicAuthPassword","status":"Accepted"\}\]`},
		{name: "password too short", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: named("SecurityCtrlr.BasicAuthPassword=secret")}, state: event.StateRejected, reason: "expected 16 to 64"},

		// triggers
		{name: "OCPP 2.0.1 F06", kind: event.CommandTrigger, params: event.TriggerParams{Message: "heartbeat"}, state: event.StateAccepted, steps: []orderStep{{"TriggerMessage", `\{"requestedMessage":"Heartbeat"\}`, yes, nil}}},
		{name: "OCPP 2.0.1 F06 of a connector", kind: event.CommandTrigger, evse: 2, params: event.TriggerParams{Message: "status"}, state: event.StateAccepted, steps: []orderStep{{"TriggerMessage", `\{"evse":\{"id":2,"connectorId":1\},"requestedMessage":"StatusNotification"\}`, yes, nil}}},
		{name: "OCPP 2.0.1 F06 of an EVSE", kind: event.CommandTrigger, evse: 2, params: event.TriggerParams{Message: "meter"}, state: event.StateAccepted, steps: []orderStep{{"TriggerMessage", `\{"evse":\{"id":2\},"requestedMessage":"MeterValues"\}`, yes, nil}}},
		{name: "not implemented", kind: event.CommandTrigger, params: event.TriggerParams{Message: "log"}, state: event.StateUnsupported, steps: []orderStep{{"TriggerMessage", `.*`, `{"status":"NotImplemented"}`, nil}}},
		{name: "custom", kind: event.CommandTrigger, params: event.TriggerParams{Message: "custom:hello"}, state: event.StateUnsupported, protocol: v201},
		{name: "custom", kind: event.CommandTrigger, evse: 1, params: event.TriggerParams{Message: "custom:hello"}, state: event.StateSucceeded, protocol: v21, steps: []orderStep{{"TriggerMessage", `\{"evse":\{"id":1\},"requestedMessage":"CustomTrigger","customTrigger":"hello"\}`, yes, nil}}},

		// reservations
		{name: "OCPP 2.0.1 H01", kind: event.CommandReserve, evse: 1, params: event.ReserveParams{Reservation: 7, Token: token, Parent: "G", Until: until}, state: event.StateAccepted,
			steps: []orderStep{{"ReserveNow", `\{"id":7,"expiryDateTime":"[^"]+Z","idToken":\{"idToken":"04A1B2C3","type":"ISO14443"\},"evseId":1,"groupIdToken":\{"idToken":"G","type":"Central"\}\}`, yes, nil}}},
		{name: "occupied", kind: event.CommandReserve, params: event.ReserveParams{Reservation: 7, Token: token, Until: until}, state: event.StateRejected, reason: "Occupied", steps: []orderStep{{"ReserveNow", `.*`, `{"status":"Occupied"}`, nil}}},
		{name: "OCPP 2.0.1 H02", kind: event.CommandCancelReservation, params: event.CancelReservationParams{Reservation: 7}, steps: []orderStep{{"CancelReservation", `\{"reservationId":7\}`, no("UnknownReservation"), nil}}, state: event.StateRejected},

		// firmware, logs, cache
		{name: "OCPP 2.0.1 L02", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "https://f", Retries: 3, Install: until}, state: event.StateAccepted,
			steps: []orderStep{{"UpdateFirmware", `\{"retries":3,"requestId":\d+,"firmware":\{"location":"https://f","retrieveDateTime":"[^"]+Z","installDateTime":"[^"]+Z"\}\}`, yes, nil}}},
		{name: "OCPP 2.0.1 L01", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "https://f", Certificate: "C", Signature: "S"}, state: event.StateRejected, reason: "InvalidCertificate",
			steps: []orderStep{{"UpdateFirmware", `.*"signingCertificate":"C","signature":"S".*`, `{"status":"InvalidCertificate"}`, nil}}},
		{name: "in place of another", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "https://f"}, state: event.StateAccepted, reason: "AcceptedCanceled", steps: []orderStep{{"UpdateFirmware", `.*`, `{"status":"AcceptedCanceled"}`, nil}}},
		{name: "half signed", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "https://f", Signature: "S"}, state: event.StateRejected, reason: "certificate and signature"},
		{name: "OCPP 2.0.1 N01", kind: event.CommandGetLog, params: event.GetLogParams{Kind: "security", URL: "https://l", From: until, To: until}, state: event.StateAccepted, result: `\{"file":"f.zip"\}`,
			steps: []orderStep{{"GetLog", `\{"log":\{"remoteLocation":"https://l","oldestTimestamp":"[^"]+Z","latestTimestamp":"[^"]+Z"\},"logType":"SecurityLog","requestId":\d+\}`, `{"status":"Accepted","filename":"f.zip"}`, nil}}},
		{name: "kind", kind: event.CommandGetLog, params: event.GetLogParams{Kind: "x", URL: "https://l"}, state: event.StateRejected, reason: "kind"},
		{name: "OCPP 2.0.1 C11", kind: event.CommandClearCache, params: event.ClearCacheParams{}, state: event.StateSucceeded, steps: []orderStep{{"ClearCache", `\{\}`, yes, nil}}},

		// local list
		{name: "OCPP 2.0.1 D01 full, in parts", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 7, Entries: entries(4, "accepted")}, state: event.StateSucceeded,
			steps: []orderStep{listMax, part(6, "Full", "T0", "T1"), part(7, "Differential", "T2", "T3"), {"GetLocalListVersion", `\{\}`, `{"versionNumber":7}`, nil}}, result: `\{"version":7\}`},
		{name: "OCPP 2.0.1 D01 difference", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 8, Differential: true, Entries: entries(1, "")}, state: event.StateSucceeded,
			steps: []orderStep{{"SendLocalList", `\{"localAuthorizationList":\[\{"idToken":\{"idToken":"T0","type":"Central"\}\}\],"versionNumber":8,"updateType":"Differential"\}`, yes, nil}, {"GetLocalListVersion", `\{\}`, `{"versionNumber":8}`, nil}}},
		{name: "OCPP 2.0.1 D01.FR.04 emptied", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 9}, state: event.StateSucceeded,
			steps: []orderStep{{"SendLocalList", `\{"versionNumber":9,"updateType":"Full"\}`, yes, nil}, {"GetLocalListVersion", `\{\}`, `{"versionNumber":9}`, nil}}},
		{name: "version mismatch of a difference", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 8, Differential: true, Entries: entries(1, "accepted")}, state: event.StateRejected, reason: "version 9",
			steps: []orderStep{{"SendLocalList", `.*`, `{"status":"VersionMismatch"}`, nil}, {"GetLocalListVersion", `\{\}`, `{"versionNumber":9}`, nil}}},
		{name: "version mismatch of a part", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 8, Entries: entries(4, "accepted")}, state: event.StateSucceeded,
			steps: []orderStep{listMax, part(7, "Full", "T0", "T1"), {"SendLocalList", `.*"Differential".*`, `{"status":"VersionMismatch"}`, nil}, part(8, "Full", "T0", "T3"), {"GetLocalListVersion", `\{\}`, `{"versionNumber":8}`, nil}}},
		{name: "not kept", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 3, Entries: entries(1, "accepted")}, state: event.StateFailed, reason: "version 0",
			steps: []orderStep{{"SendLocalList", `.*`, yes, nil}, {"GetLocalListVersion", `.*`, `{"versionNumber":0}`, nil}}},
		{name: "failed", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 3}, state: event.StateFailed, steps: []orderStep{{"SendLocalList", `.*`, `{"status":"Failed"}`, nil}}},
		{name: "no status", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 3, Entries: entries(1, "")}, state: event.StateRejected, reason: "status"},
		{name: "no version", kind: event.CommandSendLocalList, params: event.SendLocalListParams{}, state: event.StateRejected, reason: "version"},

		// certificates
		{name: "OCPP 2.0.1 M05", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "v2g_root", Certificate: certificate}, state: event.StateSucceeded,
			steps: []orderStep{{"InstallCertificate", `.*"certificateType":"V2GRootCertificate".*`, yes, nil}, {"GetInstalledCertificateIds", `\{"certificateType":\["V2GRootCertificate"\]\}`, chainOf("V2GRootCertificate"), nil}}},
		{name: "OCPP 2.0.1 M05 not there", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "csms_root", Certificate: certificate}, state: event.StateFailed,
			steps: []orderStep{{"InstallCertificate", `.*`, yes, nil}, {"GetInstalledCertificateIds", `.*`, `{"status":"NotFound"}`, nil}}},
		{name: "OCPP 2.0.1 M05.FR.03", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "mo_root", Certificate: certificate}, state: event.StateFailed, steps: []orderStep{{"InstallCertificate", `.*"MORootCertificate".*`, `{"status":"Failed"}`, nil}}},
		{name: "kind of 2.1", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "oem_root", Certificate: certificate}, state: event.StateUnsupported, reason: "certificateType", protocol: v201},
		{name: "kind of 2.1", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "oem_root", Certificate: certificate}, state: event.StateSucceeded, protocol: v21,
			steps: []orderStep{{"InstallCertificate", `.*"OEMRootCertificate".*`, yes, nil}, {"GetInstalledCertificateIds", `.*`, chainOf("OEMRootCertificate"), nil}}},
		{name: "no certificate", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "csms_root", Certificate: "x"}, state: event.StateRejected, reason: "PEM"},
		{name: "OCPP 2.0.1 M04", kind: event.CommandDeleteCertificate, params: event.DeleteCertificateParams{Hash: hash}, state: event.StateSucceeded,
			steps: []orderStep{{"DeleteCertificate", `\{"certificateHashData":\{"hashAlgorithm":"SHA256",.*`, yes, nil}, {"GetInstalledCertificateIds", `\{\}`, `{"status":"NotFound"}`, nil}}},
		{name: "still there", kind: event.CommandDeleteCertificate, params: event.DeleteCertificateParams{Hash: hash}, state: event.StateFailed, steps: []orderStep{{"DeleteCertificate", `.*`, yes, nil}, {"GetInstalledCertificateIds", `\{\}`, chainOf("CSMSRootCertificate"), nil}}},
		{name: "never there", kind: event.CommandDeleteCertificate, params: event.DeleteCertificateParams{Hash: hash}, state: event.StateFailed, steps: []orderStep{{"DeleteCertificate", `.*`, `{"status":"NotFound"}`, nil}}},
		{name: "OCPP 2.0.1 M03", kind: event.CommandListCertificates, params: event.ListCertificatesParams{}, state: event.StateSucceeded, result: `\{"certificates":\[\{"algorithm":"SHA256".*"kind":"v2g_chain","children":\[\{.*\}\]\}\]\}`,
			steps: []orderStep{{"GetInstalledCertificateIds", `\{\}`, `{"status":"Accepted","certificateHashDataChain":[{"certificateHashData":` + hashJSON("") + `,"certificateType":"V2GCertificateChain","childCertificateHashData":[` + hashJSON("") + `]}]}`, nil}}},
		{name: "OCPP 2.0.1 A02 ask", kind: event.CommandSignCertificate, params: event.SignCertificateParams{}, state: event.StateAccepted, steps: []orderStep{{"TriggerMessage", `\{"requestedMessage":"SignChargingStationCertificate"\}`, yes, nil}}},
		{name: "OCPP 2.0.1 A02 chain", kind: event.CommandSignCertificate, params: event.SignCertificateParams{Kind: "v2g", Chain: "PEM"}, state: event.StateSucceeded, reason: "does not connect with it",
			steps: []orderStep{{"CertificateSigned", `\{"certificateChain":"PEM","certificateType":"V2GCertificate"\}`, yes, nil}}},
		{name: "OCPP 2.0.1 A02 chain refused", kind: event.CommandSignCertificate, params: event.SignCertificateParams{Chain: "PEM"}, state: event.StateRejected, steps: []orderStep{{"CertificateSigned", `.*"ChargingStationCertificate".*`, `{"status":"Rejected"}`, nil}}},

		// display, data, anything
		{name: "OCPP 2.0.1 O01", kind: event.CommandShowMessage, params: event.ShowMessageParams{Text: "hello", ID: 5, Priority: "in_front", State: "idle", End: until, Language: "en"}, state: event.StateSucceeded, result: `\{"id":5\}`,
			steps: []orderStep{{"SetDisplayMessage", `\{"message":\{"id":5,"priority":"InFront","state":"Idle","endDateTime":"[^"]+Z","message":\{"format":"UTF8","language":"en","content":"hello"\}\}\}`, yes, nil}}},
		{name: "ASCII only", kind: event.CommandShowMessage, params: event.ShowMessageParams{Text: "hello"}, state: event.StateSucceeded,
			steps: []orderStep{{"SetDisplayMessage", `.*"UTF8".*`, `{"status":"NotSupportedMessageFormat"}`, nil}, {"SetDisplayMessage", `.*"ASCII".*`, yes, nil}}},
		{name: "OCPP 2.0.1 O01 priority", kind: event.CommandShowMessage, params: event.ShowMessageParams{Text: "hello", Priority: "always_front"}, state: event.StateUnsupported, reason: "NotSupportedPriority",
			steps: []orderStep{{"SetDisplayMessage", `.*"AlwaysFront".*`, `{"status":"NotSupportedPriority"}`, nil}}},
		{name: "no display", kind: event.CommandShowMessage, params: event.ShowMessageParams{Text: "hello"}, state: event.StateUnsupported, steps: []orderStep{{"SetDisplayMessage", `.*`, `!NotSupported`, nil}}},
		{name: "OCPP 2.0.1 O05", kind: event.CommandShowMessage, params: event.ShowMessageParams{ID: 5}, state: event.StateSucceeded, steps: []orderStep{{"ClearDisplayMessage", `\{"id":5\}`, yes, nil}}},
		{name: "longer than 2.0.1 allows", kind: event.CommandShowMessage, params: event.ShowMessageParams{Text: strings.Repeat("x", 600)}, state: event.StateUnsupported, reason: "content", protocol: v201},
		{name: "longer than 2.0.1 allows", kind: event.CommandShowMessage, params: event.ShowMessageParams{Text: strings.Repeat("x", 600)}, state: event.StateSucceeded, protocol: v21, steps: []orderStep{{"SetDisplayMessage", `.*`, yes, nil}}},
		{name: "OCPP 2.0.1 P01", kind: event.CommandSendData, params: event.SendDataParams{Vendor: "V", Message: "M", Data: "D"}, state: event.StateSucceeded, result: `\{"data":\{"x":1\}\}`,
			steps: []orderStep{{"DataTransfer", `\{"messageId":"M","data":"D","vendorId":"V"\}`, `{"status":"Accepted","data":{"x":1}}`, nil}}},
		{name: "any JSON", kind: event.CommandSendData, params: event.SendDataParams{Vendor: "V", Data: `{"a":[1]}`}, state: event.StateUnsupported, steps: []orderStep{{"DataTransfer", `\{"data":\{"a":\[1\]\},"vendorId":"V"\}`, `{"status":"UnknownVendorId"}`, nil}}},
		{name: "call", kind: event.CommandCall, params: event.CallParams{Protocol: v201, Action: "GetReport", Payload: json.RawMessage(`{"requestId":9}`)}, state: event.StateSucceeded, protocol: v201, result: `\{"status":"Accepted"\}`,
			steps: []orderStep{{"GetReport", `\{"requestId":9\}`, yes, []string{notifyReport(9, 0, false, "a")}}}},
		{name: "call off the schema", kind: event.CommandCall, params: event.CallParams{Protocol: v201, Action: "GetReport", Payload: json.RawMessage(`{"requestid":9}`)}, state: event.StateRejected, reason: "requestId", protocol: v201},
		{name: "call of a word that there is not", kind: event.CommandCall, params: event.CallParams{Protocol: v201, Action: "SetMonitoringBase", Payload: json.RawMessage(`{"monitoringBase":"Every"}`)}, state: event.StateRejected, reason: "monitoringBase", protocol: v201},
		{name: "call of another version", kind: event.CommandCall, params: event.CallParams{Protocol: "ocpp1.6", Action: "Reset"}, state: event.StateUnsupported, reason: "ocpp1.6"},
		{name: "call of a station's message", kind: event.CommandCall, params: event.CallParams{Protocol: v201, Action: "Authorize"}, state: event.StateRejected, reason: "action", protocol: v201},
		{name: "call of 2.1", kind: event.CommandCall, params: event.CallParams{Protocol: v21, Action: "AFRRSignal", Payload: json.RawMessage(`{"timestamp":"2026-01-01T00:00:00Z","signal":3}`)}, state: event.StateSucceeded, protocol: v21,
			steps: []orderStep{{"AFRRSignal", `\{"timestamp":"2026-01-01T00:00:00Z","signal":3\}`, yes, nil}}},
	}
}

func TestOrders(t *testing.T) {
	seen := map[event.CommandType]bool{}
	for _, tt := range orderRows(t) {
		seen[tt.kind] = true
		for protocol, dialect := range map[string]func() ocpp.Dialect{
			"ocpp2.0.1": func() ocpp.Dialect { return v201.New(v201.V201()) },
			"ocpp2.1":   func() ocpp.Dialect { return v21.New() },
		} {
			if tt.protocol != "" && tt.protocol != protocol {
				continue
			}
			t.Run(string(tt.kind)+" "+tt.name+" "+protocol, func(t *testing.T) {
				cfg := ocpptest.Config()
				cfg.Stations = map[event.StationID]ocpp.Station{"CS-1": {Behaviour: tt.profile}}
				y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour, Observe: map[event.CommandType]time.Duration{tt.kind: time.Hour}}, noLog, dialect())
				left := tt.steps
				var s *ocpptest.Station
				ready := make(chan struct{})
				s = y.ConnectAs(t, protocol, "CS-1", func(action string, payload json.RawMessage) string {
					<-ready
					if len(left) == 0 {
						t.Errorf("unexpected %s %s", action, payload)
						return `!GenericError`
					}
					next := left[0]
					left = left[1:]
					if action != next.action || !regexp.MustCompile(`^(`+next.payload+`)$`).Match(payload) {
						t.Errorf("sent %s %s\nwant %s %s", action, payload, next.action, next.payload)
					}
					checkOrder(t, protocol, action, payload)
					for i, call := range next.calls {
						name, text, _ := strings.Cut(call, " ")
						s.Send(fmt.Sprintf(`[2,"own-%d",%q,%s]`, i, name, text))
					}
					return next.answer
				})
				close(ready)
				boot(t, s)
				raw, err := json.Marshal(tt.params)
				if err != nil {
					t.Fatal(err)
				}
				got := outcomeOf(t, y, event.Command{Type: tt.kind, EVSE: tt.evse, Params: raw})
				if got.State != tt.state || !strings.Contains(got.Reason, tt.reason) {
					t.Errorf("%s (%s), want %s (%s)", got.State, got.Reason, tt.state, tt.reason)
				}
				if tt.held != "" {
					heldLimit(t, y, got.Command, tt.held)
				}
				if tt.result != "" && !regexp.MustCompile(`^(`+tt.result+`)$`).Match(got.Result) {
					t.Errorf("result %s, want %s", got.Result, tt.result)
				}
				y.Stop()
				if len(left) > 0 {
					t.Errorf("not sent: %v", left)
				}
			})
		}
	}
	for _, kind := range event.CommandTypes {
		if !kind.ForGateway() && !seen[kind] {
			t.Errorf("%s has no row here", kind)
		}
	}
}
