package v201_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// tx is an event of a transaction, at a second of the first of January; info and
// more go into it, each with its comma in front.
func tx(kind, trigger, id string, seq int, info, more string) string {
	return fmt.Sprintf(`{"eventType":%q,"timestamp":"2026-01-01T00:00:%02dZ","triggerReason":%q,"seqNo":%d,"transactionInfo":{"transactionId":%q%s}%s}`,
		kind, seq, trigger, seq, id, info, more)
}

const (
	evse1 = `,"evse":{"id":1,"connectorId":1}`
	card  = `,"idToken":{"idToken":"04A1B2C3","type":"ISO14443"}`
)

func state(word string) string { return `,"chargingState":"` + word + `"` }

func read(wh int, context string) string {
	return fmt.Sprintf(`,"meterValue":[{"timestamp":"2026-01-01T00:00:01Z","sampledValue":[{"value":%d,"context":%q}]}]`, wh, context)
}

// A transaction from the plug to the unplugging, then those that are not by the
// book. OCPP 2.0.1 E01 to E13.
var transactions = []golden{
	{"E02 cable first", "TransactionEvent", tx("Started", "CablePluggedIn", "a", 0, state("EVConnected"), evse1+read(1000, "Transaction.Begin")), `\{\}`,
		[]string{`evses/1/connectors/1 chargeyard.session.started .*"transaction":"a","protocol":"ocpp2.0.1".*"charging_state":"ev_connected","trigger":"cable_plugged_in"`}},
	{"E02.FR.01 the token is known late", "TransactionEvent", tx("Updated", "Authorized", "a", 1, "", card), `\{"idTokenInfo":\{"status":"Accepted"\}\}`,
		[]string{`evses/1/connectors/1 chargeyard.session.updated .*"token":\{"type":"rfid","value":"04A1B2C3"\},"authorization":\{"decision":"accepted"`}},
	{"E02.FR.13 the charging state", "TransactionEvent", tx("Updated", "ChargingStateChanged", "a", 2, state("Charging"), `,"numberOfPhasesUsed":3,"cableMaxCurrent":32`), `\{\}`,
		[]string{`session.updated .*"charging_state":"charging".*"trigger":"charging_state".*"phases_used":3,"cable_a":32`}},
	{"E02.FR.10 values", "TransactionEvent", tx("Updated", "MeterValuePeriodic", "a", 3, "", read(1200, "Sample.Periodic")), `\{\}`,
		[]string{`evses/1/connectors/1 chargeyard.session.sampled .*"energy_wh":1200`}},
	{"signed values beside the number", "TransactionEvent", tx("Updated", "SignedDataReceived", "a", 4, "", `,"meterValue":[{"timestamp":"2026-01-01T00:00:04Z","sampledValue":[{"value":1300,"signedMeterValue":{"signedMeterData":"T0NNRg==","signingMethod":"","encodingMethod":"OCMF","publicKey":"AA=="}}]}]`), `\{\}`,
		[]string{`session.updated .*"signed":\[\{"data":"T0NNRg==","encoding":"OCMF","key":"AA=="\}\]`}},
	{"E07 the token ends the authorization", "TransactionEvent", tx("Updated", "StopAuthorized", "a", 5, state("EVConnected"), card), `\{"idTokenInfo":\{"status":"Accepted"\}\}`,
		[]string{`session.updated .*"charging_state":"ev_connected"`}},
	{"E06 the end", "TransactionEvent", tx("Ended", "EVDeparted", "a", 6, `,"stoppedReason":"EVDisconnected","timeSpentCharging":5`, read(1500, "Transaction.End")), `\{\}`,
		[]string{`evses/1/connectors/1 chargeyard.session.ended .*"transaction":"a","reason":"ev_disconnected".*"meter_start_wh":1000,"meter_stop_wh":1500,"energy_wh":500.*"trigger":"ev_departed"`}},
	{"E13 the end again", "TransactionEvent", tx("Ended", "EVDeparted", "a", 6, `,"stoppedReason":"EVDisconnected","timeSpentCharging":5`, read(1500, "Transaction.End")), `\{\}`, nil},

	{"C02 nobody shows a token", "TransactionEvent", tx("Started", "Authorized", "b", 10, state("Charging"), `,"evse":{"id":2}`+`,"idToken":{"idToken":"","type":"NoAuthorization"}`), `\{"idTokenInfo":\{"status":"Accepted"\}\}`,
		[]string{`evses/2 chargeyard.session.started .*"token":\{"type":"none","value":""\},"authorization":\{"decision":"accepted"`}},
	{"E06 a remote stop by unlocking", "TransactionEvent", tx("Ended", "UnlockCommand", "b", 11, `,"stoppedReason":"Remote"`, ""), `\{\}`,
		[]string{`evses/2 chargeyard.session.ended .*"transaction":"b","reason":"unlock_command".*"trigger":"unlock_command"`}},

	{"E04 while offline", "TransactionEvent", tx("Started", "Authorized", "c", 20, state("Charging"), `,"offline":true,"reservationId":7,"evse":{"id":3,"connectorId":2}`+card), `\{"idTokenInfo":\{"status":"Accepted"\}\}`,
		[]string{`evses/3/connectors/2 chargeyard.session.started .*"reservation":7.*"flags":\["offline".*\]`}},
	{"quirk 64 a gap, quirk 65 no EVSE", "TransactionEvent", tx("Ended", "StopAuthorized", "c", 25, "", card), `\{"idTokenInfo":\{"status":"Accepted"\}\}`,
		[]string{`evses/3/connectors/2 chargeyard.session.ended .*"transaction":"c","reason":"local".*"flags":\[.*"gap".*\]`}},

	{"E01.S3 authorized before anything is plugged in", "TransactionEvent", tx("Started", "Authorized", "f", 1, state("Idle"), card), `\{"idTokenInfo":\{"status":"Accepted"\}\}`,
		[]string{`stations/CP-1 chargeyard.session.started .*"transaction":"f".*"charging_state":"idle"`}},
	{"E01.FR.16 the EVSE is known late", "TransactionEvent", tx("Updated", "CablePluggedIn", "f", 2, state("EVConnected"), `,"evse":{"id":6,"connectorId":2}`), `\{\}`,
		[]string{`evses/6/connectors/2 chargeyard.session.updated .*"transaction":"f"`}},
	{"E01.FR.16 and remembered", "TransactionEvent", tx("Updated", "MeterValuePeriodic", "f", 3, "", read(10, "Sample.Periodic")), `\{\}`,
		[]string{`evses/6/connectors/2 chargeyard.session.sampled .*"transaction":"f"`}},
	{"E01.FR.14 the next one at that EVSE", "TransactionEvent", tx("Started", "CablePluggedIn", "g", 5, state("EVConnected"), `,"evse":{"id":6,"connectorId":1}`), `\{\}`,
		[]string{`chargeyard.session.ended .*"transaction":"f".*"flags":\[.*"superseded"`, `evses/6/connectors/1 chargeyard.session.started .*"transaction":"g"`}},
	{"a second one beside it at another EVSE", "TransactionEvent", tx("Started", "CablePluggedIn", "h", 6, state("EVConnected"), `,"evse":{"id":7,"connectorId":1}`), `\{\}`,
		[]string{`evses/7/connectors/1 chargeyard.session.started .*"transaction":"h"`}},

	{"E03.FR.05 nobody plugged in", "TransactionEvent", tx("Ended", "EVConnectTimeout", "d", 31, `,"stoppedReason":"Timeout"`, `,"evse":{"id":4}`), `\{\}`,
		[]string{`session.ended .*"transaction":"d","reason":"timeout".*"trigger":"ev_connect_timeout".*"flags":\[.*"recovered"`}},
	{"E08 an update of a transaction that nobody knows", "TransactionEvent", tx("Updated", "ChargingStateChanged", "e", 40, state("SuspendedEV"), `,"evse":{"id":5,"connectorId":1}`), `\{\}`,
		[]string{`evses/5/connectors/1 chargeyard.session.started .*"transaction":"e".*"flags":\[.*"recovered"`}},

	{"quirk 69 a register that cannot be", "TransactionEvent", tx("Updated", "MeterValuePeriodic", "e", 41, "", `,"meterValue":[{"timestamp":"2026-01-01T00:01:00Z","sampledValue":[{"value":1000}]},{"timestamp":"2026-01-01T00:02:00Z","sampledValue":[{"value":900000}]}]`), `\{\}`,
		[]string{`session.updated .*"transaction":"e".*"flags":\["suspect"`}},

	{"E03 remarks no id", "TransactionEvent", `{"eventType":"Ended",` + when + `,"triggerReason":"EVDeparted","seqNo":1,"transactionInfo":{}}`, `\{\}`,
		[]string{`data.received \{"action":"TransactionEvent","payload":\{"eventType":"Ended"`}},
	{"E03 remarks a type nobody knows", "TransactionEvent", tx("Paused", "Trigger", "a", 1, "", ""), `\{\}`, []string{`data.received \{"action":"TransactionEvent"`}},
	{"E03 remarks nothing", "TransactionEvent", `{}`, `\{\}`, []string{`data.received \{"action":"TransactionEvent","payload":\{\}`}},
	{"E03 remarks the rest is odd", "TransactionEvent", `{"eventType":"started","transactionInfo":{"transactionId":17,"chargingState":"charging"},"evse":"?","idToken":[],"meterValue":7,"seqNo":"x"}`, `\{\}`,
		[]string{`chargeyard.session.started .*"transaction":"17"`}},
}

func TestTransactions(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	play(t, y, y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil), transactions)
}

// Every trigger reason, charging state and stop reason of the standard has a word,
// and nothing is lost on the way.
func TestTransactionWords(t *testing.T) {
	triggers := map[string]string{
		"Authorized": "authorized", "CablePluggedIn": "cable_plugged_in", "ChargingRateChanged": "charging_rate_changed", "ChargingStateChanged": "charging_state",
		"Deauthorized": "deauthorized", "EnergyLimitReached": "energy_limit_reached", "EVCommunicationLost": "ev_communication_lost", "EVConnectTimeout": "ev_connect_timeout",
		"MeterValueClock": "meter_clock", "MeterValuePeriodic": "meter_periodic", "TimeLimitReached": "time_limit_reached", "Trigger": "trigger", "UnlockCommand": "unlock_command",
		"StopAuthorized": "stop_authorized", "EVDeparted": "ev_departed", "EVDetected": "ev_detected", "RemoteStop": "remote_stop", "RemoteStart": "remote_start",
		"AbnormalCondition": "abnormal", "SignedDataReceived": "signed_data_received", "ResetCommand": "reset_command",
		// 2.1
		"SoCLimitReached": "soc_limit_reached", "TxResumed": "tx_resumed", "LimitSet": "limit_set",
	}
	reasons := map[string]string{
		"DeAuthorized": "deauthorized", "EmergencyStop": "emergency_stop", "EnergyLimitReached": "limit_reached", "EVDisconnected": "ev_disconnected",
		"GroundFault": "fault", "ImmediateReset": "reboot", "Local": "local", "LocalOutOfCredit": "limit_reached", "MasterPass": "master_pass", "Other": "other",
		"OvercurrentFault": "fault", "PowerLoss": "power_loss", "PowerQuality": "fault", "Reboot": "reboot", "Remote": "remote", "SOCLimitReached": "limit_reached",
		"StoppedByEV": "stopped_by_ev", "TimeLimitReached": "limit_reached", "Timeout": "timeout",
		"ReqEnergyTransferRejected": "transfer_rejected", "BadMood": "other", // 2.1, nobody
	}
	states := map[string]string{"Charging": "charging", "EVConnected": "ev_connected", "SuspendedEV": "suspended_ev", "SuspendedEVSE": "suspended_evse", "Idle": "idle"}
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	s := y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil)
	n := 0
	start := func(trigger, state string) *event.SessionStarted {
		t.Helper()
		n++
		id := fmt.Sprint("s", n)
		s.Call("TransactionEvent", tx("Started", trigger, id, 0, `,"chargingState":"`+state+`"`, fmt.Sprintf(`,"evse":{"id":%d,"connectorId":1}`, n)))
		d := y.Journal.Wait(t, trigger, func(d event.Draft) bool {
			started, ok := d.Data.(*event.SessionStarted)
			return ok && started.Transaction == id
		})
		return d.Data.(*event.SessionStarted)
	}
	for word, want := range triggers {
		if got := start(word, "Charging").Trigger; got != want {
			t.Errorf("trigger %s: got %q, want %q", word, got, want)
		}
	}
	for word, want := range states {
		if got := start("Authorized", word).ChargingState; got != want {
			t.Errorf("charging state %s: got %q, want %q", word, got, want)
		}
	}
	for word, want := range reasons {
		start("Authorized", "Charging")
		id := fmt.Sprint("s", n)
		s.Call("TransactionEvent", tx("Ended", "EVDeparted", id, 1, `,"stoppedReason":"`+word+`"`, ""))
		d := y.Journal.Wait(t, word, func(d event.Draft) bool {
			ended, ok := d.Data.(*event.SessionEnded)
			return ok && ended.Transaction == id
		})
		if got := d.Data.(*event.SessionEnded).Reason; got != want {
			t.Errorf("reason %s: got %q, want %q", word, got, want)
		}
	}
}

// A damaged frame that was an event of a transaction is mended or kept, and
// confirmed; any other is refused.
func TestDamaged(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	s := y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil)
	s.Call("Heartbeat", "{}")
	tests := []struct{ name, frame, answer, kept string }{
		{"letters", strings.Replace(`[2,"1","TransactionEvent",`+tx("Started", "Authorized", "x?", 0, "", evse1)+`]`, "?", "\xff", 1), `[3,"1",{}]`, "session.started"},
		{"cut off", `[2,"2","TransactionEvent",{"eventType":"Ended","transactionInfo":{"transac`, `[3,"2",{}]`, "data.received"},
		{"another", `[2,"3","Heartbeat",{"`, `[4,"3","FormatViolation",`, "data.received"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(y.Journal.Events())
			s.Send(tt.frame)
			answer, err := s.Next()
			if err != nil || !strings.HasPrefix(answer, tt.answer) {
				t.Errorf("answered %s (%v), want %s", answer, err, tt.answer)
			}
			events := y.Journal.Events()[before:]
			if len(events) == 0 {
				t.Fatal("nothing was kept")
			}
			if !strings.HasSuffix(string(events[0].Data.EventType()), tt.kept) {
				t.Errorf("kept %d events, the first %+v, want %s", len(events), events[0].Data, tt.kept)
			}
		})
	}
}

// What cannot be kept is not answered: the station sends it again.
func TestNotKept(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	s := y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil)
	s.Call("Heartbeat", "{}")
	y.Journal.Fill(true)
	s.Send(`[2,"1","TransactionEvent",` + tx("Ended", "EVDeparted", "x", 1, "", "") + `]`)
	if answer, err := s.Next(); err == nil {
		t.Errorf("answered %s, want a closed connection", answer)
	}
	y.Journal.Fill(false)
}
