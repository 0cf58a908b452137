package ocpp16_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// TestActions checks the table against the messages: 39 actions, each with its
// pair.
func TestActions(t *testing.T) {
	if len(ocpp16.Actions) != 39 {
		t.Errorf("expected 39 actions, got %d", len(ocpp16.Actions))
	}
	counts := map[ocpp16.Direction]int{}
	for _, a := range ocpp16.Actions {
		counts[a.Direction]++
		request, ok := ocpp16.NewRequest(a.Name)
		if !ok || request.Action() != a.Name {
			t.Errorf("%s: request %T, %v", a.Name, request, ok)
			continue
		}
		response, ok := ocpp16.NewResponse(a.Name)
		if !ok || response.Action() != a.Name || request.NewResponse().Action() != a.Name {
			t.Errorf("%s: response %T, %v", a.Name, response, ok)
		}
		if got, ok := ocpp16.Lookup(a.Name); !ok || got != a {
			t.Errorf("%s: looked up %+v, %v", a.Name, got, ok)
		}
	}
	if counts[ocpp16.FromStation] != 13 || counts[ocpp16.FromServer] != 25 || counts[ocpp16.FromStation|ocpp16.FromServer] != 1 {
		t.Errorf("directions %v", counts)
	}
	for _, unknown := range []string{"", "heartbeat", "TransactionEvent"} {
		if _, ok := ocpp16.NewRequest(unknown); ok {
			t.Errorf("a request for %q", unknown)
		}
		if _, ok := ocpp16.NewResponse(unknown); ok {
			t.Errorf("a response for %q", unknown)
		}
		if _, ok := ocpp16.Lookup(unknown); ok {
			t.Errorf("%q is known", unknown)
		}
	}
}

func kinds(deviations []lenient.Deviation) string {
	list := make([]string, len(deviations))
	for i, d := range deviations {
		list[i] = d.Path + " " + string(d.Kind)
	}
	return strings.Join(list, ", ")
}

// TestQuirks decodes what real chargers send. Want is the message as we would
// write it.
func TestQuirks(t *testing.T) {
	tests := []struct {
		name, message, payload string
		want                   string
		deviations             string
		err                    string
	}{
		{"quirk 37, long configuration value", "GetConfigurationResponse", `{"configurationKey":[{"key":"k","readonly":"true","value":"` + strings.Repeat("v", 600) + `"}]}`,
			`{"configurationKey":[{"key":"k","readonly":true,"value":"` + strings.Repeat("v", 600) + `"}]}`, "configurationKey[0].readonly bool_as_text", ""},
		{"quirk 39, word of another message", "UnlockConnectorResponse", `{"status":"Accepted"}`, `{"status":"Accepted"}`, "status unknown_word", ""},
		{"quirk 40, boot with all sorts", "BootNotificationRequest", `{"chargePointVendor":"","chargePointModel":"M","iccid":-67,"imsi":" ","meterType":null,"foo":1}`,
			`{"chargePointVendor":"","chargePointModel":"M","iccid":"-67","imsi":" "}`, "iccid text_as_number, meterType null, foo unknown_field", ""},
		{"quirk 41, no zone", "StartTransactionRequest", `{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-11-22T06:01:02"}`,
			`{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-11-22T06:01:02Z"}`, "timestamp time_without_zone", ""},
		{"quirk 45, offset", "StartTransactionRequest", `{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-11-22T16:01:02+10:00"}`,
			`{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-11-22T06:01:02Z"}`, "", ""},
		{"quirk 54, negative transaction", "StopTransactionRequest", `{"transactionId":-1,"meterStop":1,"timestamp":"2026-11-22T06:01:02Z"}`,
			`{"meterStop":1,"timestamp":"2026-11-22T06:01:02Z","transactionId":-1}`, "", ""},
		{"quirk 56, transaction from a clock", "StopTransactionRequest", `{"transactionId":1795327262345,"meterStop":3000000000,"timestamp":"2026-11-22T06:01:02Z"}`,
			`{"meterStop":3000000000,"timestamp":"2026-11-22T06:01:02Z","transactionId":1795327262345}`, "", ""},
		{"quirk 67, value as number", "MeterValuesRequest", `{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[{"value":12.50,"unit":"kWh"}]}]}`,
			`{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[{"value":"12.50","unit":"kWh"}]}]}`, "meterValue[0].sampledValue[0].value text_as_number", ""},
		{"quirk 68, odd values are kept", "MeterValuesRequest", `{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[{"value":"12,5"},{"value":"NaN"},{"value":""},{"value":null}]}]}`,
			`{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[{"value":"12,5"},{"value":"NaN"},{"value":""},{"value":""}]}]}`,
			"meterValue[0].sampledValue[3].value null", "meterValue[0].sampledValue[3].value: missing, expected a value"},
		{"quirk 73, no begin value", "StartTransactionRequest", `{"connectorId":1,"idTag":"A","meterStart":null,"timestamp":"2026-11-22T06:01:02Z"}`,
			`{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-11-22T06:01:02Z"}`, "meterStart null", "meterStart: missing, expected a value"},
		{"quirk 76, other words", "MeterValuesRequest", `{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[{"value":"50","measurand":"Current.import","unit":"Hz"}]}]}`,
			`{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[{"value":"50","measurand":"Current.import","unit":"Hz"}]}]}`,
			"meterValue[0].sampledValue[0].measurand unknown_word, meterValue[0].sampledValue[0].unit unknown_word", ""},
		{"one sample without its list", "MeterValuesRequest", `{"connectorId":1,"transactionId":null,"meterValue":{"timestamp":"2026-11-22T06:01:02Z","sampledValue":{"value":"1"}}}`,
			`{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[{"value":"1"}]}]}`,
			"transactionId null, meterValue one_for_array, meterValue[0].sampledValue one_for_array", ""},
		{"vendor data as an object", "DataTransferRequest", `{"vendorId":"v","data":{"a":1}}`, `{"vendorId":"v","data":"{\"a\":1}"}`, "data text_as_json", ""},
		{"most of a message", "StartTransactionRequest", `{"connectorId":"one","idTag":"A","timestamp":"soon"}`,
			`{"connectorId":0,"idTag":"A","meterStart":0,"timestamp":"soon"}`, "timestamp time_unreadable",
			`connectorId: expected an integer, got "one"; meterStart: missing, expected a value`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := version.New(t, tt.message)
			deviations, err := m.Decode([]byte(tt.payload))
			if got := string(m.AppendJSON(nil)); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if got := kinds(deviations); got != tt.deviations {
				t.Errorf("deviations %s\nwant %s", got, tt.deviations)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err {
				t.Errorf("error %s\nwant %s", text, tt.err)
			}
		})
	}
}

// TestDecodeReplaces uses one message twice.
func TestDecodeReplaces(t *testing.T) {
	var m ocpp16.StopTransactionRequest
	for _, payload := range []string{
		`{"transactionId":1,"meterStop":2,"timestamp":"2026-11-22T06:01:02Z","idTag":"A","reason":"Local","x":1}`,
		`{"transactionId":3,"meterStop":4,"timestamp":"2026-11-22T06:01:03Z"}`,
	} {
		if _, err := m.Decode([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if m.IDTag != "" || m.Reason != "" || m.Extra != nil || m.TransactionID != 3 {
		t.Errorf("left over: %+v", m)
	}
}

func TestFold(t *testing.T) {
	if got := ocpp16.Measurand("current.import ").Fold(); got != ocpp16.MeasurandCurrentImport {
		t.Errorf("got %q", got)
	}
	if got := ocpp16.UnitOfMeasure("Hz"); got.Known() || got.Fold() != got {
		t.Errorf("Hz is known or became %q", got.Fold())
	}
	if !ocpp16.UnitOfMeasureCelcius.Known() || !ocpp16.UnitOfMeasureCelsius.Known() {
		t.Error("one of the spellings of Celsius is not known")
	}
}

// TestSend builds messages as the server does.
func TestSend(t *testing.T) {
	at := lenient.At(time.Date(2026, 11, 22, 6, 1, 2, 345_000_000, time.UTC))
	duration, phases := int64(3600), int64(3)
	tests := []struct {
		name string
		m    ocpp16.Message
		want string
		err  string
	}{
		{"quirk 34, time of the boot answer", &ocpp16.BootNotificationResponse{CurrentTime: at, Interval: 300, Status: ocpp16.RegistrationStatusAccepted},
			`{"status":"Accepted","currentTime":"2026-11-22T06:01:02.345Z","interval":300}`, ""},
		{"quirk 81, limits with noise", &ocpp16.SetChargingProfileRequest{ConnectorID: 1, CsChargingProfiles: ocpp16.ChargingProfile{
			ChargingProfileID: 1, ChargingProfilePurpose: ocpp16.ChargingProfilePurposeTxProfile, ChargingProfileKind: ocpp16.ChargingProfileKindAbsolute, ValidFrom: at,
			ChargingSchedule: ocpp16.ChargingSchedule{Duration: &duration, ChargingRateUnit: ocpp16.ChargingRateUnitA,
				ChargingSchedulePeriod: []ocpp16.ChargingSchedulePeriod{{Limit: 16 / 3.0, NumberPhases: &phases}, {StartPeriod: 60, Limit: 21.4}}}}},
			`{"connectorId":1,"csChargingProfiles":{"chargingProfileId":1,"stackLevel":0,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Absolute","validFrom":"2026-11-22T06:01:02.345Z",` +
				`"chargingSchedule":{"duration":3600,"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":5.3,"numberPhases":3},{"startPeriod":60,"limit":21.4}]}}}`,
			"csChargingProfiles.chargingSchedule.chargingSchedulePeriod[0].limit: expected multipleOf 1e-1, got 5.333333333333333"},
		{"quirk 29, nothing optional", &ocpp16.RemoteStartTransactionRequest{IDTag: "04A1B2C3"}, `{"idTag":"04A1B2C3"}`, ""},
		{"quirk 28, nothing of its own", &ocpp16.StartTransactionResponse{TransactionID: 4711, IDTagInfo: ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatusAccepted},
			Extra: map[string]json.RawMessage{"status": json.RawMessage(`1`)}}, `{"idTagInfo":{"status":"Accepted"},"transactionId":4711}`, ""},
		{"empty answer", &ocpp16.StopTransactionResponse{}, `{}`, ""},
		{"empty request", &ocpp16.HeartbeatRequest{}, `{}`, ""},
		{"empty list that is required", &ocpp16.MeterValuesRequest{ConnectorID: 1}, `{"connectorId":1,"meterValue":[]}`, ""},
		{"nothing set", &ocpp16.BootNotificationResponse{}, `{"status":"","currentTime":"0001-01-01T00:00:00Z","interval":0}`,
			`status: expected enum one of Accepted, Pending, Rejected, got ""; currentTime: expected required a time, got nothing`},
		{"too long", &ocpp16.GetConfigurationRequest{Key: []string{"HeartbeatInterval", strings.Repeat("k", 51)}},
			`{"key":["HeartbeatInterval","` + strings.Repeat("k", 51) + `"]}`, "key[1]: expected maxLength 50, got 51 characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.m.AppendJSON(nil)); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			err := tt.m.Validate()
			if tt.err == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if _, ok := errors.AsType[*ocpp16.ValidationError](err); !ok || err.Error() != tt.err {
				t.Errorf("got %v\nwant %s", err, tt.err)
			}
		})
	}
}

// TestEncodingJSON uses the types through encoding/json, on their own and as
// parts of others.
func TestEncodingJSON(t *testing.T) {
	type kept struct {
		Profile ocpp16.ChargingProfile         `json:"profile"`
		Last    *ocpp16.StopTransactionRequest `json:"last"`
	}
	text := `{"profile":{"chargingProfileId":7,"stackLevel":0,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","chargingSchedule":{"chargingRateUnit":"W","chargingSchedulePeriod":[{"startPeriod":0,"limit":11000}]}},` +
		`"last":{"meterStop":5,"timestamp":"2026-11-22T06:01:02Z","transactionId":1}}`
	var v kept
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(v)
	if err != nil || string(got) != text {
		t.Errorf("got %s, %v", got, err)
	}
	err = json.Unmarshal([]byte(`{"profile":{"chargingProfileId":7}}`), &v)
	if _, ok := errors.AsType[*lenient.Error](err); !ok {
		t.Errorf("got %v", err)
	}
}
