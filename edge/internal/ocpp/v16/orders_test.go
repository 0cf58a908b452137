package v16_test

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
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// step is what the gateway is expected to send, and what the charge point answers:
// a payload, or a CALLERROR code after an exclamation mark.
type step struct {
	action  string
	payload string // pattern
	answer  string
}

var number atomic.Int64

// outcome gives the site a command and waits until it is no further than its
// device took it: its final state, or accepted.
func outcome(t *testing.T, y *ocpptest.Yard, c event.Command) *event.CommandUpdated {
	t.Helper()
	c.ID = event.CommandID("c" + strconv.FormatInt(number.Add(1), 10))
	c.Station, c.Expires = "CP-1", time.Now().Add(time.Hour)
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

// held waits for the limit that command c left.
func held(t *testing.T, y *ocpptest.Yard, c event.CommandID, want string) {
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

func TestOrders(t *testing.T) {
	until := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
	certificate, hash := root(t)
	hashJSON := func(c string) string {
		return fmt.Sprintf(`{"hashAlgorithm":"SHA256","issuerNameHash":%q,"issuerKeyHash":%q,"serialNumber":%q}`, hash.IssuerNameHash, hash.IssuerKeyHash, c+hash.Serial)
	}
	const yes = `{"status":"Accepted"}`
	token := event.Token{Type: "rfid", Value: "04A1B2C3"}
	a := func(v float64) *float64 { return &v }
	profile := func(purpose, unit, limit string) string {
		return `.*"chargingProfilePurpose":"` + purpose + `","chargingProfileKind":"Absolute","validTo":"[^"]+Z","chargingSchedule":\{"duration":\d+,"startSchedule":"[^"]+Z","chargingRateUnit":"` +
			unit + `","chargingSchedulePeriod":\[\{"startPeriod":0,"limit":` + limit + `\}\]\}\}\}`
	}
	schedule := func(unit string, limit float64) string {
		return fmt.Sprintf(`{"status":"Accepted","connectorId":0,"scheduleStart":%q,"chargingSchedule":{"chargingRateUnit":%q,"chargingSchedulePeriod":[{"startPeriod":0,"limit":%g}]}}`,
			time.Now().UTC().Format(time.RFC3339), unit, limit)
	}
	smart := step{"GetConfiguration", `\{"key":\["ChargingScheduleAllowedChargingRateUnit","ChargeProfileMaxStackLevel"\]\}`,
		`{"configurationKey":[{"key":"ChargingScheduleAllowedChargingRateUnit","readonly":true,"value":"Current,Power"},{"key":"ChargeProfileMaxStackLevel","readonly":true,"value":"10"}]}`}
	onlyA := step{smart.action, smart.payload, `{"configurationKey":[{"key":"ChargingScheduleAllowedChargingRateUnit","readonly":true,"value":"A"}]}`}
	onlyW := step{smart.action, smart.payload, `{"configurationKey":[{"key":"ChargingScheduleAllowedChargingRateUnit","readonly":true,"value":"W"}]}`}
	variables := func(pairs ...string) []event.Variable {
		var out []event.Variable
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, event.Variable{Component: "Ocpp16", Variable: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	entries := func(n int, status string) []event.ListEntry {
		var out []event.ListEntry
		for i := range n {
			out = append(out, event.ListEntry{Token: event.Token{Value: "T" + strconv.Itoa(i)}, Status: status})
		}
		return out
	}
	listMax := step{"GetConfiguration", `\{"key":\["SendLocalListMaxLength"\]\}`, `{"configurationKey":[{"key":"SendLocalListMaxLength","readonly":true,"value":"2"}]}`}
	// tunnel is a message of Plug & Charge over OCPP 1.6.
	tunnel := func(message, data string) string {
		return `\{"vendorId":"org.openchargealliance.iso15118pnc","messageId":"` + message + `","data":"` + data + `"\}`
	}
	inside := func(data string) string {
		return fmt.Sprintf(`{"status":"Accepted","data":%q}`, data)
	}
	tests := []struct {
		name   string
		kind   event.CommandType
		evse   int
		params any
		steps  []step
		state  event.CommandState
		reason string // part of it
		held   string // the limit that holds instead
		result string // pattern
		config ocpp.Station
	}{
		{name: "OCPP 1.6 §5.11", kind: event.CommandStart, evse: 2, params: event.StartParams{Token: token},
			steps: []step{{"RemoteStartTransaction", `\{"connectorId":2,"idTag":"04A1B2C3"\}`, yes}}, state: event.StateAccepted},
		{name: "start anywhere with a limit", kind: event.CommandStart, params: event.StartParams{Token: token, LimitA: a(16.000000000000004)},
			steps: []step{{"RemoteStartTransaction", `\{"idTag":"04A1B2C3","chargingProfile":\{"chargingProfileId":[1-9]\d*,"stackLevel":1,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","chargingSchedule":\{"chargingRateUnit":"A","chargingSchedulePeriod":\[\{"startPeriod":0,"limit":16\}\]\}\}\}`, yes}},
			state: event.StateAccepted},
		{name: "start refused", kind: event.CommandStart, params: event.StartParams{Token: token}, steps: []step{{"RemoteStartTransaction", `.*`, `{"status":"Rejected"}`}}, state: event.StateRejected, reason: "Rejected"},
		{name: "token too long", kind: event.CommandStart, params: event.StartParams{Token: event.Token{Value: strings.Repeat("A", 21)}}, state: event.StateUnsupported, reason: "idTag"},
		{name: "OCPP 1.6 §5.18", kind: event.CommandUnlock, evse: 2, params: event.UnlockParams{}, steps: []step{{"UnlockConnector", `\{"connectorId":2\}`, `{"status":"Unlocked"}`}}, state: event.StateSucceeded},
		{name: "unlock failed", kind: event.CommandUnlock, evse: 2, params: event.UnlockParams{}, steps: []step{{"UnlockConnector", `.*`, `{"status":"UnlockFailed"}`}}, state: event.StateFailed},
		{name: "quirk 39 word of another message", kind: event.CommandUnlock, evse: 2, params: event.UnlockParams{}, steps: []step{{"UnlockConnector", `.*`, yes}}, state: event.StateSucceeded, reason: "Accepted"},
		{name: "unlock not supported", kind: event.CommandUnlock, evse: 2, params: event.UnlockParams{}, steps: []step{{"UnlockConnector", `.*`, `{"status":"NotSupported"}`}}, state: event.StateUnsupported},
		{name: "unlock of an EVSE with two connectors", kind: event.CommandUnlock, evse: 3, params: event.UnlockParams{Connector: 2},
			steps: []step{{"UnlockConnector", `\{"connectorId":4\}`, `{"status":"Unlocked"}`}}, state: event.StateSucceeded,
			config: ocpp.Station{Connectors: []ocpp.Connector{{Number: 3, EVSE: 3, Connector: 1}, {Number: 4, EVSE: 3, Connector: 2}}}},
		{name: "OCPP 1.6 §5.14 soft", kind: event.CommandReset, params: event.ResetParams{Kind: "soft"}, steps: []step{{"Reset", `\{"type":"Soft"\}`, yes}}, state: event.StateAccepted},
		{name: "OCPP 1.6 §5.14 hard", kind: event.CommandReset, params: event.ResetParams{Kind: "hard"}, steps: []step{{"Reset", `\{"type":"Hard"\}`, yes}}, state: event.StateAccepted},
		{name: "OCPP 1.6 §5.2", kind: event.CommandSetAvailability, evse: 1, params: event.SetAvailabilityParams{}, steps: []step{{"ChangeAvailability", `\{"connectorId":1,"type":"Inoperative"\}`, yes}}, state: event.StateAccepted},
		{name: "OCPP 1.6 §5.2 scheduled", kind: event.CommandSetAvailability, params: event.SetAvailabilityParams{Available: true}, steps: []step{{"ChangeAvailability", `\{"connectorId":0,"type":"Operative"\}`, `{"status":"Scheduled"}`}}, state: event.StateAccepted, reason: "scheduled"},

		{name: "OCPP 1.6 §3.13 of the station", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(16), Until: until},
			steps: []step{smart, {"SetChargingProfile", `\{"connectorId":0,"csChargingProfiles":\{"chargingProfileId":[1-9]\d*,"stackLevel":1,` + profile("ChargePointMaxProfile", "A", "16")[2:], yes}, {"GetCompositeSchedule", `\{"connectorId":0,"duration":300,"chargingRateUnit":"A"\}`, schedule("A", 16)}},
			state: event.StateSucceeded, result: `.*"read_back":16.*`},
		{name: "quirk 79 only TxDefaultProfile", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until},
			steps: []step{onlyA, {"SetChargingProfile", profile("ChargePointMaxProfile", "A", "10"), `{"status":"NotSupported"}`},
				{"SetChargingProfile", profile("TxDefaultProfile", "A", "10"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 10)}},
			state: event.StateSucceeded},
		{name: "quirk 80 only A", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitW: a(11000), Until: until},
			steps: []step{onlyA, {"SetChargingProfile", profile("TxDefaultProfile", "A", "15.9"), yes}, {"GetCompositeSchedule", `.*"chargingRateUnit":"A".*`, schedule("A", 15.9)}},
			state: event.StateSucceeded, reason: "amperes only"},
		{name: "only W", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(16), Until: until},
			steps: []step{onlyW, {"SetChargingProfile", profile("TxDefaultProfile", "W", "3680"), yes}, {"GetCompositeSchedule", `.*`, schedule("W", 3680)}},
			state: event.StateSucceeded, reason: "watts only"},
		{name: "quirk 81 float noise", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(0.1 + 0.2), Until: until},
			steps: []step{onlyA, {"SetChargingProfile", profile("TxDefaultProfile", "A", "0.3"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 0.3)}}, state: event.StateSucceeded},
		{name: "quirk 80 accepted but not applied", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until},
			steps: []step{onlyA, {"SetChargingProfile", profile("ChargePointMaxProfile", "A", "10"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 32)},
				{"SetChargingProfile", profile("TxDefaultProfile", "A", "10"), `{"status":"Rejected"}`}},
			state: event.StateRejected},
		{name: "limit that cannot be read back", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until},
			steps: []step{onlyA, {"SetChargingProfile", `.*`, yes}, {"GetCompositeSchedule", `.*`, `!NotImplemented`}}, state: event.StateAccepted, reason: "cannot be read back"},
		{name: "no smart charging", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until},
			steps: []step{{smart.action, smart.payload, `{"unknownKey":["ChargingScheduleAllowedChargingRateUnit"]}`}, {"SetChargingProfile", `.*`, `!NotSupported`}, {"SetChargingProfile", `.*`, `!NotSupported`}, {"SetChargingProfile", `.*`, `!NotSupported`}, {"SetChargingProfile", `.*`, `!NotSupported`}},
			state: event.StateUnsupported},
		{name: "quirk 52 least current", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(0), Until: until}, config: ocpp.Station{MinimumA: 6},
			steps: []step{onlyA, {"SetChargingProfile", profile("TxDefaultProfile", "A", "6"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 6)}}, state: event.StateFailed, reason: "held at 6 A", held: "6 A"},
		{name: "quirk 52 least current, ordered in watts", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitW: a(500), Until: until}, config: ocpp.Station{MinimumA: 6},
			steps: []step{smart, {"SetChargingProfile", profile("TxDefaultProfile", "W", "1380"), yes}, {"GetCompositeSchedule", `.*`, schedule("W", 1380)}}, state: event.StateFailed, reason: "held at 1380 W", held: "1380 W"},
		{name: "quirk 52 least current, watts told in amperes", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitW: a(2000), Until: until}, config: ocpp.Station{MinimumA: 6},
			steps: []step{onlyA, {"SetChargingProfile", profile("TxDefaultProfile", "A", "6"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 6)}}, state: event.StateFailed, reason: "held at 6 A", held: "6 A"},
		{name: "quirk 52 nothing put", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(0), Until: until}, config: ocpp.Station{MinimumA: 6},
			steps: []step{onlyA, {"SetChargingProfile", `.*`, `{"status":"Rejected"}`}}, state: event.StateRejected},
		{name: "OCPP 1.6 §5.5", kind: event.CommandClearLimit, params: event.ClearLimitParams{},
			steps: []step{smart, {"ClearChargingProfile", `\{"connectorId":0,"chargingProfilePurpose":"ChargePointMaxProfile","stackLevel":1\}`, yes}, {"ClearChargingProfile", `\{"connectorId":0,"chargingProfilePurpose":"TxDefaultProfile","stackLevel":1\}`, `{"status":"Unknown"}`}},
			state: event.StateSucceeded},
		{name: "OCPP 1.6 §5.7", kind: event.CommandGetLimit, evse: 1, params: event.GetLimitParams{DurationS: 60, Unit: "W"},
			steps: []step{{"GetCompositeSchedule", `\{"connectorId":1,"duration":60,"chargingRateUnit":"W"\}`, schedule("W", 11000)}}, state: event.StateSucceeded, result: `\{"unit":"W","start":"[^"]+","periods":\[\{"start_s":0,"limit":11000\}\]\}`},
		{name: "limit not told", kind: event.CommandGetLimit, params: event.GetLimitParams{}, steps: []step{{"GetCompositeSchedule", `\{"connectorId":0,"duration":3600\}`, `{"status":"Rejected"}`}}, state: event.StateRejected},

		{name: "OCPP 1.6 §5.8 all", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{},
			steps: []step{{"GetConfiguration", `\{\}`, `{"configurationKey":[{"key":"HeartbeatInterval","readonly":false,"value":"300"},{"key":"AuthorizationKey","readonly":false,"value":"secret"}]}`}},
			state: event.StateSucceeded, result: `\{"variables":\[\{"component":"Ocpp16","variable":"HeartbeatInterval","value":"300"\},\{"component":"Ocpp16","variable":"AuthorizationKey","value":""\}\]\}`},
		{name: "by name, in parts", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: variables("A", "", "B", "", "C", "", "D", "", "E", "")},
			steps: []step{{"GetConfiguration", `\{"key":\["GetConfigurationMaxKeys"\]\}`, `{"configurationKey":[{"key":"GetConfigurationMaxKeys","readonly":true,"value":"3"}]}`},
				{"GetConfiguration", `\{"key":\["A","B","C"\]\}`, `{"configurationKey":[{"key":"A","readonly":true,"value":"1"}],"unknownKey":["B"]}`}, {"GetConfiguration", `\{"key":\["D","E"\]\}`, `{"configurationKey":[{"key":"D","readonly":false},{"key":"E","readonly":false,"value":"5"}]}`}},
			state: event.StateSucceeded, result: `.*"variable":"A","value":"1","read_only":true.*"variable":"E","value":"5".*"unknown":\["B","C"\].*`},
		{name: "component of 2.x", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: []event.Variable{{Component: "OCPPCommCtrlr", Variable: "X"}}}, state: event.StateUnsupported, reason: "component"},
		{name: "OCPP 1.6 §5.3", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("HeartbeatInterval", "60")},
			steps: []step{{"ChangeConfiguration", `\{"key":"HeartbeatInterval","value":"60"\}`, yes}, {"GetConfiguration", `\{"key":\["HeartbeatInterval"\]\}`, `{"configurationKey":[{"key":"HeartbeatInterval","readonly":false,"value":"60"}]}`}}, state: event.StateSucceeded},
		{name: "reads back otherwise", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("HeartbeatInterval", "60")},
			steps: []step{{"ChangeConfiguration", `.*`, yes}, {"GetConfiguration", `.*`, `{"configurationKey":[{"key":"HeartbeatInterval","readonly":false,"value":"900"}]}`}}, state: event.StateFailed, reason: `"900"`},
		{name: "reboot required", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("X", "1")}, steps: []step{{"ChangeConfiguration", `.*`, `{"status":"RebootRequired"}`}}, state: event.StateAccepted, reason: "reboot required"},
		{name: "key that cannot be set", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("X", "1", "Y", "2")},
			steps: []step{{"ChangeConfiguration", `.*"X".*`, yes}, {"ChangeConfiguration", `.*"Y".*`, `{"status":"NotSupported"}`}}, state: event.StateFailed, reason: "1 of 2"},
		{name: "password is not told", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("AuthorizationKey", "00112233445566778899aabbccddeeff")},
			steps: []step{{"ChangeConfiguration", `.*`, yes}, {"GetConfiguration", `.*`, `{"unknownKey":["AuthorizationKey"]}`}}, state: event.StateSucceeded, reason: "does not tell"},
		{name: "password is told as nothing", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("AuthorizationKey", "00112233445566778899aabbccddeeff")},
			steps: []step{{"ChangeConfiguration", `.*`, yes}, {"GetConfiguration", `.*`, `{"configurationKey":[{"key":"AuthorizationKey","readonly":false,"value":""}]}`}}, state: event.StateSucceeded, reason: "does not tell"},

		{name: "OCPP 1.6 §5.17", kind: event.CommandTrigger, evse: 2, params: event.TriggerParams{Message: "meter"}, steps: []step{{"TriggerMessage", `\{"requestedMessage":"MeterValues","connectorId":2\}`, yes}}, state: event.StateAccepted},
		{name: "trigger by the other message", kind: event.CommandTrigger, params: event.TriggerParams{Message: "log"},
			steps: []step{{"TriggerMessage", `\{"requestedMessage":"DiagnosticsStatusNotification"\}`, `{"status":"NotImplemented"}`}, {"ExtendedTriggerMessage", `\{"requestedMessage":"LogStatusNotification"\}`, yes}}, state: event.StateAccepted},
		{name: "trigger of a signing request", kind: event.CommandTrigger, params: event.TriggerParams{Message: "sign_certificate"}, steps: []step{{"ExtendedTriggerMessage", `\{"requestedMessage":"SignChargePointCertificate"\}`, yes}}, state: event.StateAccepted},
		{name: "no triggers", kind: event.CommandTrigger, params: event.TriggerParams{Message: "status"}, steps: []step{{"TriggerMessage", `.*`, `!NotImplemented`}, {"ExtendedTriggerMessage", `.*`, `!NotImplemented`}}, state: event.StateUnsupported},
		{name: "OCPP 1.6 §5.13", kind: event.CommandReserve, evse: 1, params: event.ReserveParams{Reservation: 5, Token: token, Parent: "G", Until: until},
			steps: []step{{"ReserveNow", `\{"connectorId":1,"expiryDate":"[^"]+Z","idTag":"04A1B2C3","parentIdTag":"G","reservationId":5\}`, yes}}, state: event.StateAccepted},
		{name: "reserve an occupied place", kind: event.CommandReserve, evse: 1, params: event.ReserveParams{Reservation: 6, Token: token, Until: until}, steps: []step{{"ReserveNow", `.*`, `{"status":"Occupied"}`}}, state: event.StateRejected, reason: "Occupied"},
		{name: "OCPP 1.6 §5.1", kind: event.CommandCancelReservation, params: event.CancelReservationParams{Reservation: 5}, steps: []step{{"CancelReservation", `\{"reservationId":5\}`, `{"status":"Rejected"}`}}, state: event.StateRejected},

		{name: "OCPP 1.6 §5.19", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "https://host/f.bin", Retrieve: until, Retries: 3, RetryInterval: 60},
			steps: []step{{"UpdateFirmware", `\{"location":"https://host/f.bin","retries":3,"retrieveDate":"[^"]+Z","retryInterval":60\}`, `{}`}}, state: event.StateAccepted},
		{name: "security extension L01", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "https://host/f.bin", Retrieve: until, Install: until, Certificate: "PEM", Signature: "c2ln"},
			steps: []step{{"SignedUpdateFirmware", `\{"requestId":[1-9]\d*,"firmware":\{"location":"https://host/f.bin","retrieveDateTime":"[^"]+Z","installDateTime":"[^"]+Z","signingCertificate":"PEM","signature":"c2ln"\}\}`, yes}}, state: event.StateAccepted},
		{name: "invalid certificate", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "https://host/f.bin", Certificate: "PEM", Signature: "c2ln"}, steps: []step{{"SignedUpdateFirmware", `.*`, `{"status":"InvalidCertificate"}`}}, state: event.StateRejected, reason: "InvalidCertificate"},
		{name: "address that is none", kind: event.CommandUpdateFirmware, params: event.UpdateFirmwareParams{URL: "not an address"}, state: event.StateUnsupported, reason: "location"},
		{name: "security extension N01", kind: event.CommandGetLog, params: event.GetLogParams{Kind: "security", URL: "https://host/up", From: until, To: until},
			steps: []step{{"GetLog", `\{"log":\{"remoteLocation":"https://host/up","oldestTimestamp":"[^"]+","latestTimestamp":"[^"]+"\},"logType":"SecurityLog","requestId":[1-9]\d*\}`, `{"status":"Accepted","filename":"s.log"}`}}, state: event.StateAccepted, result: `\{"file":"s.log"\}`},
		{name: "OCPP 1.6 §5.9", kind: event.CommandGetLog, params: event.GetLogParams{Kind: "diagnostics", URL: "https://host/up", From: until},
			steps: []step{{"GetLog", `.*"DiagnosticsLog".*`, `!NotImplemented`}, {"GetDiagnostics", `\{"location":"https://host/up","startTime":"[^"]+"\}`, `{"fileName":"d.zip"}`}}, state: event.StateAccepted, result: `\{"file":"d.zip"\}`},

		{name: "OCPP 1.6 §5.4", kind: event.CommandClearCache, params: event.ClearCacheParams{}, steps: []step{{"ClearCache", `\{\}`, yes}}, state: event.StateSucceeded},
		{name: "cache refused", kind: event.CommandClearCache, params: event.ClearCacheParams{}, steps: []step{{"ClearCache", `.*`, `{"status":"Rejected"}`}}, state: event.StateRejected},
		{name: "another error", kind: event.CommandClearCache, params: event.ClearCacheParams{}, steps: []step{{"ClearCache", `.*`, `!InternalError`}}, state: event.StateFailed, reason: "InternalError"},
		{name: "quirk 19 answer without structure", kind: event.CommandClearCache, params: event.ClearCacheParams{}, steps: []step{{"ClearCache", `.*`, `{"nothing":1}`}}, state: event.StateIndeterminate},

		{name: "OCPP 1.6 §5.15 full, in parts", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 7, Entries: entries(5, "accepted")},
			steps: []step{listMax,
				{"SendLocalList", `\{"listVersion":5,"localAuthorizationList":\[\{"idTag":"T0","idTagInfo":\{"status":"Accepted"\}\},\{"idTag":"T1",.*\],"updateType":"Full"\}`, yes},
				{"SendLocalList", `\{"listVersion":6,.*"T2".*"T3".*"Differential"\}`, yes}, {"SendLocalList", `\{"listVersion":7,"localAuthorizationList":\[\{"idTag":"T4",[^\]]*\],"updateType":"Differential"\}`, yes},
				{"GetLocalListVersion", `\{\}`, `{"listVersion":7}`}}, state: event.StateSucceeded},
		{name: "empty full list", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 1}, steps: []step{{"SendLocalList", `\{"listVersion":1,"updateType":"Full"\}`, yes}, {"GetLocalListVersion", `.*`, `{"listVersion":1}`}}, state: event.StateSucceeded},
		{name: "differential removal", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 8, Differential: true, Entries: entries(1, "")},
			steps: []step{{"SendLocalList", `\{"listVersion":8,"localAuthorizationList":\[\{"idTag":"T0"\}\],"updateType":"Differential"\}`, yes}, {"GetLocalListVersion", `.*`, `{"listVersion":8}`}}, state: event.StateSucceeded},
		{name: "version mismatch of a difference", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 8, Differential: true, Entries: entries(1, "accepted")},
			steps: []step{{"SendLocalList", `.*`, `{"status":"VersionMismatch"}`}, {"GetLocalListVersion", `.*`, `{"listVersion":9}`}}, state: event.StateRejected, reason: "version 9"},
		{name: "version mismatch in the middle, sent whole", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 7, Entries: entries(3, "blocked")},
			steps: []step{listMax, {"SendLocalList", `.*"Full"\}`, yes}, {"SendLocalList", `.*"Differential"\}`, `{"status":"VersionMismatch"}`}, {"SendLocalList", `\{"listVersion":7,.*"T0".*"T1".*"T2".*"Full"\}`, yes}, {"GetLocalListVersion", `.*`, `{"listVersion":7}`}}, state: event.StateSucceeded},
		{name: "list that is not kept", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 3, Entries: entries(1, "accepted")}, steps: []step{{"SendLocalList", `.*`, yes}, {"GetLocalListVersion", `.*`, `{"listVersion":0}`}}, state: event.StateFailed, reason: "version 0"},
		{name: "no local list", kind: event.CommandSendLocalList, params: event.SendLocalListParams{Version: 3, Entries: entries(1, "accepted")}, steps: []step{{"SendLocalList", `.*`, `{"status":"NotSupported"}`}}, state: event.StateUnsupported},

		{name: "security extension M05", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "csms_root", Certificate: certificate},
			steps: []step{{"InstallCertificate", `\{"certificateType":"CentralSystemRootCertificate","certificate":.*`, yes}, {"GetInstalledCertificateIds", `\{"certificateType":"CentralSystemRootCertificate"\}`, `{"status":"Accepted","certificateHashData":[` + hashJSON("00") + `]}`}}, state: event.StateSucceeded, result: `.*issuer_name_hash.*`},
		{name: "installed and not there", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "manufacturer_root", Certificate: certificate},
			steps: []step{{"InstallCertificate", `.*"ManufacturerRootCertificate".*`, yes}, {"GetInstalledCertificateIds", `.*`, `{"status":"NotFound"}`}}, state: event.StateFailed},
		{name: "no certificate", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "csms_root", Certificate: "x"}, state: event.StateRejected, reason: "PEM"},
		{name: "kind of 2.x", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "oem_root", Certificate: certificate}, state: event.StateUnsupported, reason: "kind"},
		{name: "security extension M04", kind: event.CommandDeleteCertificate, params: event.DeleteCertificateParams{Hash: hash},
			steps: []step{{"DeleteCertificate", `\{"certificateHashData":\{"hashAlgorithm":"SHA256",.*`, yes}, {"GetInstalledCertificateIds", `.*`, `{"status":"NotFound"}`}, {"GetInstalledCertificateIds", `.*`, `{"status":"NotFound"}`}}, state: event.StateSucceeded},
		{name: "delete what is not there", kind: event.CommandDeleteCertificate, params: event.DeleteCertificateParams{Hash: hash}, steps: []step{{"DeleteCertificate", `.*`, `{"status":"NotFound"}`}, {"DataTransfer", tunnel("DeleteCertificate", `.*`), `{"status":"UnknownVendorId"}`}}, state: event.StateFailed},
		{name: "security extension M03", kind: event.CommandListCertificates, params: event.ListCertificatesParams{Kind: "csms_root"},
			steps: []step{{"GetInstalledCertificateIds", `.*`, `{"status":"Accepted","certificateHashData":[` + hashJSON("") + `]}`}}, state: event.StateSucceeded, result: `\{"certificates":\[\{"algorithm":"SHA256".*\}\]\}`},
		{name: "security extension A02 ask", kind: event.CommandSignCertificate, params: event.SignCertificateParams{}, steps: []step{{"ExtendedTriggerMessage", `\{"requestedMessage":"SignChargePointCertificate"\}`, yes}}, state: event.StateAccepted},
		{name: "security extension A02 chain", kind: event.CommandSignCertificate, params: event.SignCertificateParams{Chain: "PEM"}, steps: []step{{"CertificateSigned", `\{"certificateChain":"PEM"\}`, yes}}, state: event.StateSucceeded, reason: "next TLS connection"},
		{name: "security extension A02 chain refused", kind: event.CommandSignCertificate, params: event.SignCertificateParams{Chain: "PEM"}, steps: []step{{"CertificateSigned", `.*`, `{"status":"Rejected"}`}}, state: event.StateRejected},
		{name: "show message", kind: event.CommandShowMessage, params: event.ShowMessageParams{Text: "hello"}, state: event.StateUnsupported},

		{name: "OCPP 1.6 §5.6", kind: event.CommandSendData, params: event.SendDataParams{Vendor: "V", Message: "M", Data: "D"}, steps: []step{{"DataTransfer", `\{"vendorId":"V","messageId":"M","data":"D"\}`, `{"status":"Accepted","data":"back"}`}}, state: event.StateSucceeded, result: `\{"data":"back"\}`},
		{name: "vendor it does not know", kind: event.CommandSendData, params: event.SendDataParams{Vendor: "V"}, steps: []step{{"DataTransfer", `.*`, `{"status":"UnknownVendorId"}`}}, state: event.StateUnsupported},
		{name: "call", kind: event.CommandCall, params: event.CallParams{Protocol: "ocpp1.6", Action: "GetLocalListVersion", Payload: json.RawMessage(`{}`)}, steps: []step{{"GetLocalListVersion", `\{\}`, `{"listVersion":3}`}}, state: event.StateSucceeded, result: `\{"listVersion":3\}`},
		{name: "call of another version", kind: event.CommandCall, params: event.CallParams{Protocol: "ocpp2.0.1", Action: "GetReport", Payload: json.RawMessage(`{}`)}, state: event.StateUnsupported, reason: "ocpp2.0.1"},
		{name: "quirk 37 long value", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: variables("Long", "")},
			steps: []step{{"GetConfiguration", `.*`, `{"configurationKey":[{"key":"Long","readonly":true,"value":"` + strings.Repeat("v", 3000) + `"}]}`}}, state: event.StateSucceeded, result: `.*v{1000}.*`},
		// what station profiles switch
		{name: "profile limit_unit", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitW: a(6900), Until: until}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{LimitUnit: "A"}},
			steps: []step{smart, {"SetChargingProfile", profile("TxDefaultProfile", "A", "10"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 10)}}, state: event.StateSucceeded, reason: "amperes only"},
		{name: "profile limit_purposes", kind: event.CommandSetLimit, params: event.SetLimitParams{LimitA: a(10), Until: until}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{LimitPurposes: []string{"TxDefaultProfile", "ChargingStationMaxProfile"}}},
			steps: []step{smart, {"SetChargingProfile", profile("TxDefaultProfile", "A", "10"), `{"status":"Rejected"}`}, {"SetChargingProfile", profile("TxDefaultProfile", "W", "2300"), `{"status":"Rejected"}`},
				{"SetChargingProfile", profile("ChargePointMaxProfile", "A", "10"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 10)}}, state: event.StateSucceeded},
		{name: "profile minimum_current_a", kind: event.CommandSetLimit, evse: 1, params: event.SetLimitParams{LimitA: a(2), Until: until}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{MinimumA: 6}},
			steps: []step{smart, {"SetChargingProfile", profile("TxDefaultProfile", "A", "6"), yes}, {"GetCompositeSchedule", `.*`, schedule("A", 6)}}, state: event.StateFailed, held: "6 A"},
		{name: "profile configuration_chunk", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{Variables: variables("A", "", "B", "", "C", "")}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{ConfigurationChunk: 2}},
			steps: []step{{"GetConfiguration", `\{"key":\["A","B"\]\}`, `{"unknownKey":["A","B"]}`}, {"GetConfiguration", `\{"key":\["C"\]\}`, `{"unknownKey":["C"]}`}}, state: event.StateSucceeded},
		{name: "profile configuration_list", kind: event.CommandGetConfiguration, params: event.GetConfigurationParams{}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{ConfigurationList: new(bool), ConfigurationChunk: 1000}},
			steps: []step{{"GetConfiguration", `\{"key":\["AllowOfflineTxForUnknownId",.*\]\}`, `{"configurationKey":[{"key":"HeartbeatInterval","readonly":false,"value":"60"}]}`}}, state: event.StateSucceeded, reason: "does not list"},
		{name: "profile unlock none", kind: event.CommandUnlock, evse: 1, params: event.UnlockParams{}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{Unlock: "none"}}, state: event.StateUnsupported, reason: "nothing to unlock"},
		{name: "profile trigger extended", kind: event.CommandTrigger, params: event.TriggerParams{Message: "heartbeat"}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{Trigger: "extended"}},
			steps: []step{{"ExtendedTriggerMessage", `\{"requestedMessage":"Heartbeat"\}`, yes}}, state: event.StateAccepted},
		{name: "profile trigger plain", kind: event.CommandTrigger, params: event.TriggerParams{Message: "heartbeat"}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{Trigger: "plain"}},
			steps: []step{{"TriggerMessage", `\{"requestedMessage":"Heartbeat"\}`, `!NotImplemented`}}, state: event.StateUnsupported},
		{name: "profile trigger none", kind: event.CommandTrigger, params: event.TriggerParams{Message: "heartbeat"}, config: ocpp.Station{Behaviour: stationprofile.Behaviour{Trigger: "none"}}, state: event.StateUnsupported},
		{name: "trigger of 2.x", kind: event.CommandTrigger, params: event.TriggerParams{Message: "transaction"}, state: event.StateUnsupported, reason: "message"},
		{name: "Plug & Charge trigger", kind: event.CommandTrigger, params: event.TriggerParams{Message: "sign_v2g_certificate"},
			steps: []step{{"DataTransfer", tunnel("TriggerMessage", `.*SignV2GCertificate.*`), inside(yes)}}, state: event.StateAccepted},
		// the password
		{name: "password as text", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("AuthorizationKey", "0123456789abcdef")},
			steps: []step{{"ChangeConfiguration", `\{"key":"AuthorizationKey","value":"30313233343536373839616263646566"\}`, yes}, {"GetConfiguration", `.*`, `{}`}}, state: event.StateSucceeded, reason: "does not tell"},
		{name: "password in hexadecimal", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("AuthorizationKey", "00112233445566778899aabbccddeeff")},
			steps: []step{{"ChangeConfiguration", `\{"key":"AuthorizationKey","value":"00112233445566778899aabbccddeeff"\}`, yes}, {"GetConfiguration", `.*`, `{}`}}, state: event.StateSucceeded,
			result: `\[\{"variable":"AuthorizationKey","status":"Accepted"\}\]`},
		{name: "quirk 9 password too short to set", kind: event.CommandSetConfiguration, params: event.SetConfigurationParams{Variables: variables("AuthorizationKey", "short")}, state: event.StateRejected, reason: "16 to 20 bytes"},
		// Plug & Charge
		{name: "Plug & Charge root", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "v2g_root", Certificate: certificate},
			steps: []step{{"DataTransfer", tunnel("InstallCertificate", `\{\\"certificate\\":\\"-----BEGIN.*\\"certificateType\\":\\"V2GRootCertificate\\"\}`), inside(yes)},
				{"DataTransfer", tunnel("GetInstalledCertificateIds", `\{\\"certificateType\\":\[\\"V2GRootCertificate\\"\]\}`), inside(`{"status":"Accepted","certificateHashDataChain":[{"certificateType":"V2GRootCertificate","certificateHashData":` + hashJSON("") + `}]}`)}},
			state: event.StateSucceeded},
		{name: "Plug & Charge root refused", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "mo_root", Certificate: certificate},
			steps: []step{{"DataTransfer", tunnel("InstallCertificate", `.*MORootCertificate.*`), inside(`{"status":"Rejected"}`)}}, state: event.StateRejected},
		{name: "Plug & Charge unknown", kind: event.CommandInstallCertificate, params: event.InstallCertificateParams{Kind: "mo_root", Certificate: certificate},
			steps: []step{{"DataTransfer", tunnel("InstallCertificate", `.*`), `{"status":"UnknownVendorId"}`}}, state: event.StateUnsupported, reason: "Plug & Charge"},
		{name: "Plug & Charge answer without data", kind: event.CommandListCertificates, params: event.ListCertificatesParams{Kind: "mo_root"},
			steps: []step{{"DataTransfer", tunnel("GetInstalledCertificateIds", `.*`), yes}}, state: event.StateFailed},
		{name: "Plug & Charge list", kind: event.CommandListCertificates, params: event.ListCertificatesParams{Kind: "v2g_chain"},
			steps: []step{{"DataTransfer", tunnel("GetInstalledCertificateIds", `.*V2GCertificateChain.*`), inside(`{"status":"Accepted","certificateHashDataChain":[{"certificateType":"V2GCertificateChain","certificateHashData":` + hashJSON("") + `,"childCertificateHashData":[` + hashJSON("1") + `]}]}`)}},
			state: event.StateSucceeded, result: `\{"certificates":\[\{.*"serial":"abc123"\},\{.*"serial":"1abc123"\}\]\}`},
		{name: "list of all kinds", kind: event.CommandListCertificates, params: event.ListCertificatesParams{},
			steps: []step{{"GetInstalledCertificateIds", `.*CentralSystemRootCertificate.*`, `{"status":"Accepted","certificateHashData":[` + hashJSON("") + `]}`}, {"GetInstalledCertificateIds", `.*ManufacturerRootCertificate.*`, `{"status":"NotFound"}`},
				{"DataTransfer", tunnel("GetInstalledCertificateIds", `.*`), `{"status":"UnknownVendorId"}`}},
			state: event.StateSucceeded, result: `\{"certificates":\[\{.*"serial":"abc123","kind":"csms_root"\}\]\}`},
		{name: "Plug & Charge delete", kind: event.CommandDeleteCertificate, params: event.DeleteCertificateParams{Hash: hash},
			steps: []step{{"DeleteCertificate", `.*`, `{"status":"NotFound"}`}, {"DataTransfer", tunnel("DeleteCertificate", `.*abc123.*`), inside(yes)}}, state: event.StateSucceeded},
		{name: "Plug & Charge chain", kind: event.CommandSignCertificate, params: event.SignCertificateParams{Kind: "v2g", Chain: certificate},
			steps: []step{{"DataTransfer", tunnel("CertificateSigned", `.*V2GCertificate.*`), inside(yes)}}, state: event.StateSucceeded},
		{name: "Plug & Charge request to sign", kind: event.CommandSignCertificate, params: event.SignCertificateParams{Kind: "v2g"},
			steps: []step{{"DataTransfer", tunnel("TriggerMessage", `\{\\"requestedMessage\\":\\"SignV2GCertificate\\"\}`), inside(yes)}}, state: event.StateAccepted},
		{name: "kind of 2.1", kind: event.CommandSignCertificate, params: event.SignCertificateParams{Kind: "v2g20"}, state: event.StateUnsupported, reason: "kind"},
		{name: "call without an object", kind: event.CommandCall, params: event.CallParams{Protocol: "ocpp1.6", Action: "Reset", Payload: json.RawMessage(`[]`)}, state: event.StateRejected},
	}
	seen := map[event.CommandType]bool{}
	for _, tt := range tests {
		t.Run(string(tt.kind)+" "+tt.name, func(t *testing.T) {
			seen[tt.kind] = true
			cfg := ocpptest.Config()
			cfg.Stations = map[event.StationID]ocpp.Station{"CP-1": tt.config}
			y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour, Observe: map[event.CommandType]time.Duration{tt.kind: time.Hour}}, quiet, v16.New())
			left := tt.steps
			s := y.Connect(t, "CP-1", func(action string, payload json.RawMessage) string {
				if len(left) == 0 {
					t.Errorf("unexpected %s %s", action, payload)
					return `!GenericError`
				}
				next := left[0]
				left = left[1:]
				if action != next.action || !regexp.MustCompile(`^(`+next.payload+`)$`).Match(payload) {
					t.Errorf("sent %s %s\nwant %s %s", action, payload, next.action, next.payload)
				}
				checkRequest(t, action, payload)
				return next.answer
			})
			s.Boot()
			raw, err := json.Marshal(tt.params)
			if err != nil {
				t.Fatal(err)
			}
			got := outcome(t, y, event.Command{Type: tt.kind, EVSE: tt.evse, Params: raw})
			if got.State != tt.state || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("%s (%s), want %s (%s)", got.State, got.Reason, tt.state, tt.reason)
			}
			if tt.held != "" {
				held(t, y, got.Command, tt.held)
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
	for _, kind := range event.CommandTypes {
		if !kind.ForGateway() && !seen[kind] && kind != event.CommandStop { // TestStop
			t.Errorf("%s has no row here", kind)
		}
	}
}

// checkRequest holds what the gateway sends against the schema.
func checkRequest(t *testing.T, action string, payload json.RawMessage) {
	t.Helper()
	m, ok := ocpp16.NewRequest(action)
	if !ok {
		t.Fatalf("the gateway sent %s", action)
	}
	odd, err := m.Decode(payload)
	if err != nil || len(odd) > 0 {
		t.Errorf("%s departs from the schema: %v %v", action, odd, err)
	}
	if err := m.Validate(); err != nil {
		t.Errorf("%s: %v", action, err)
	}
}

// root makes a root certificate, and its name as OCPP writes it.
func root(t *testing.T) (string, event.CertificateHash) {
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

// A stop names the transaction of the session; a limit of a running transaction
// falls back to its TxProfile.
func TestRunningTransaction(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	profiles := make(chan string, 10)
	stopped := make(chan string, 1)
	s := y.Connect(t, "CP-1", func(action string, payload json.RawMessage) string {
		switch action {
		case "SetChargingProfile":
			profiles <- string(payload)
			if strings.Contains(string(payload), "TxDefaultProfile") {
				return `{"status":"Rejected"}`
			}
		case "GetCompositeSchedule":
			return `{"status":"Accepted","chargingSchedule":{"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":8}]}}`
		case "RemoteStopTransaction":
			stopped <- string(payload)
		case "GetConfiguration":
			return `{"configurationKey":[{"key":"ChargingScheduleAllowedChargingRateUnit","readonly":true,"value":"A"}]}`
		}
		return `{"status":"Accepted"}`
	})
	s.Boot()
	answer := s.Call("StartTransaction", `{"connectorId":1,"idTag":"A","meterStart":1,"timestamp":"`+time.Now().UTC().Format(time.RFC3339)+`"}`)
	id := regexp.MustCompile(`"transactionId":(\d+)`).FindStringSubmatch(answer)[1]
	limit := 8.0
	params, err := json.Marshal(event.SetLimitParams{LimitA: &limit, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, y, event.Command{Type: event.CommandSetLimit, EVSE: 1, Params: params}); got.State != event.StateSucceeded {
		t.Errorf("limit %s: %s", got.State, got.Reason)
	}
	<-profiles
	if p := <-profiles; !strings.Contains(p, `"transactionId":`+id) || !strings.Contains(p, "TxProfile") {
		t.Errorf("second profile %s", p)
	}
	if got := outcome(t, y, event.Command{Type: event.CommandStop, EVSE: 1}); got.State != event.StateAccepted {
		t.Errorf("stop %s: %s", got.State, got.Reason)
	}
	if p := <-stopped; p != `{"transactionId":`+id+`}` {
		t.Errorf("stop named %s, want %s", p, id)
	}
}

// What a model has shown that it lacks is not tried again.
func TestModelIsRemembered(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v16.New())
	tried := make(chan string, 20)
	answer := func(action string, payload json.RawMessage) string {
		switch action {
		case "SetChargingProfile":
			purpose := "TxDefault"
			if strings.Contains(string(payload), "ChargePointMaxProfile") {
				purpose = "Max"
			}
			tried <- purpose
			if purpose == "Max" {
				return `{"status":"NotSupported"}`
			}
		case "GetCompositeSchedule":
			return `!NotSupported`
		case "GetConfiguration":
			return `{"configurationKey":[{"key":"ChargingScheduleAllowedChargingRateUnit","readonly":true,"value":"A"}]}`
		}
		return `{"status":"Accepted"}`
	}
	y.Connect(t, "CP-1", answer).Boot()
	limit := 8.0
	params, err := json.Marshal(event.SetLimitParams{LimitA: &limit, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := outcome(t, y, event.Command{Type: event.CommandSetLimit, Params: params}); got.State != event.StateAccepted {
			t.Errorf("limit %s: %s", got.State, got.Reason)
		}
	}
	for i, want := range []string{"Max", "TxDefault", "TxDefault"} {
		if got := <-tried; got != want {
			t.Errorf("profile %d was %s, want %s", i, got, want)
		}
	}
}

// A connection lost in the middle leaves the outcome open, not the goroutine.
func TestLostInTheMiddle(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour, LookAfter: time.Millisecond}, quiet, v16.New())
	s := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return "" })
	s.Boot()
	c := event.Command{ID: "lost", Type: event.CommandClearCache, Station: "CP-1", Expires: time.Now().Add(time.Hour)}
	if err := y.Site.Execute(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	<-s.Calls
	s.Drop()
	y.Journal.Wait(t, "end of the connection", func(d event.Draft) bool {
		_, ok := d.Data.(*event.StationDisconnected)
		return ok
	})
	again := y.Connect(t, "CP-1", func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
	again.Boot()
	d := y.Journal.Wait(t, "outcome", func(d event.Draft) bool {
		e, ok := d.Data.(*event.CommandUpdated)
		return ok && e.State.Final()
	})
	if state := d.Data.(*event.CommandUpdated).State; state != event.StateIndeterminate {
		t.Errorf("the command is %s, want indeterminate", state)
	}
	select {
	case call := <-again.Calls:
		t.Errorf("%s was sent again", call.Action)
	default:
	}
}
