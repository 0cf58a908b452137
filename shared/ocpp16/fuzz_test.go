package ocpp16_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// FuzzDecode gives any payload to any message. Nothing panics, memory for
// records is bounded, and what was understood can be written as JSON that reads
// back as the same.
func FuzzDecode(f *testing.F) {
	var names []string
	for _, a := range ocpp16.Actions {
		names = append(names, a.Name+"Request", a.Name+"Response")
	}
	index := map[string]uint8{}
	for i, name := range names {
		index[name] = uint8(i)
		f.Add(uint8(i), []byte(`{}`))
	}
	for _, seed := range []struct{ message, payload string }{
		{"MeterValuesRequest", string(payload(f, meterValuesFrame))},
		{"StartTransactionRequest", string(payload(f, startTransactionFrame))},
		{"MeterValuesRequest", `{"connectorId":"1","meterValue":{"timestamp":1795327262,"sampledValue":[{"value":12.5,"Unit":"Hz"},null,"x"]}}`},
		{"StopTransactionRequest", `[{"transactionId":0,"meterStop":"1.520,5","timestamp":"2026-11-22 06:01:02","reason":"","transactionData":[]}]`},
		{"BootNotificationRequest", `{"chargePointVendor":"\ud83d\udd0c\ud83d","chargePointModel":null,"iccid":-67,"iccid":"again","x":{"y":[1]}}`},
		{"SetChargingProfileRequest", `{"connectorId":0,"csChargingProfiles":{"chargingProfileId":1,"stackLevel":0,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","chargingSchedule":{"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":15.96,"numberPhases":3}],"minChargingRate":"6,0"}}}`},
		{"DataTransferRequest", `{"vendorId":"v","data":{"a":[1,2,{}]}}`},
		{"GetConfigurationResponse", `{"configurationKey":[{"key":"a","readonly":"TRUE","value":1}],"unknownKey":"b"}`},
		{"SendLocalListRequest", `{"listVersion":1,"updateType":"Full","localAuthorizationList":[{"idTag":"a","idTagInfo":{"status":"accepted","expiryDate":""}}]}`},
		{"HeartbeatResponse", `null`},
	} {
		f.Add(index[seed.message], []byte(seed.payload))
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		name := names[int(which)%len(names)]
		first := version.New(t, name)
		deviations, err := first.Decode(payload)
		if len(deviations) > lenient.MaxRecords {
			t.Errorf("%d deviations", len(deviations))
		}
		for _, d := range deviations {
			if !utf8.ValidString(d.Path + d.Text) {
				t.Errorf("deviation %q is not UTF-8", d)
			}
		}
		if err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
		_ = first.Validate() // must not panic; its verdict has its own test

		written := first.AppendJSON(nil)
		if !json.Valid(written) {
			t.Fatalf("%s %q was written as %q", name, payload, written)
		}
		second := version.New(t, name)
		if _, err := second.Decode(written); err != nil {
			t.Fatalf("%s %q was written as %q: %v", name, payload, written, err)
		}
		if again := second.AppendJSON(nil); string(again) != string(written) {
			t.Fatalf("%s %q was written as %q, then as %q", name, payload, written, again)
		}
	})
}
