package v16

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/metering"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

func TestSamplesOf(t *testing.T) {
	tests := []struct {
		name   string
		values string // of one meterValue
		want   string // samples without time
		odd    []string
	}{
		{"defaults", `{"value":"1520"}`, `[{"energy_wh":1520}]`, nil},
		{"kWh", `{"value":"12.345","unit":"kWh"}`, `[{"energy_wh":12345}]`, nil},
		{"decimals", `{"value":"1520.6","unit":"Wh"}`, `[{"energy_wh":1521}]`, nil},
		{"quirk 67 number", `{"value":12.5,"unit":"kWh"}`, `[{"energy_wh":12500}]`, nil},
		{"quirk 68 comma", `{"value":"12,5","unit":"kWh"}`, `[{"energy_wh":12500}]`, []string{"decimal_comma"}},
		{"quirk 68 blanks", `{"value":" 12.5 ","unit":"kWh"}`, `[{"energy_wh":12500}]`, nil},
		{"quirk 68 null", `{"value":"null","unit":"kWh"}`, `[{"other":[{"measurand":"Energy.Active.Import.Register","raw":"null","unit":"kWh"}]}]`, []string{"value_unreadable"}},
		{"quirk 68 NaN", `{"value":"NaN","measurand":"Voltage"}`, `[{"other":[{"measurand":"Voltage","raw":"NaN"}]}]`, []string{"value_unreadable"}},
		{"quirk 68 empty", `{"value":"","measurand":"SoC"}`, `[{"other":[{"measurand":"SoC"}]}]`, []string{"value_unreadable"}},
		{"negative", `{"value":"-3.5","measurand":"Power.Active.Import","unit":"kW"}`, `[{"power_w":-3500}]`, nil},
		{"exponent", `{"value":"1.5e3","measurand":"Power.Active.Import","unit":"W"}`, `[{"power_w":1500}]`, nil},
		{"export", `{"value":"7","measurand":"Energy.Active.Export.Register","unit":"kWh"},{"value":"2","measurand":"Power.Active.Export","unit":"kW"}`,
			`[{"export_wh":7000,"power_w":-2000}]`, nil},
		{"import less export", `{"value":"5","measurand":"Power.Active.Import","unit":"kW"},{"value":"2","measurand":"Power.Active.Export","unit":"kW"}`,
			`[{"power_w":3000}]`, nil},
		{"three phases", `{"value":"16","measurand":"Current.Import","phase":"L1","unit":"A"},{"value":"15","measurand":"Current.Import","phase":"L2-N","unit":"A"},
			{"value":"14","measurand":"Current.Import","phase":"L3","unit":"A"},{"value":"0.5","measurand":"Current.Import","phase":"N","unit":"A"},
			{"value":"230","measurand":"Voltage","phase":"L1-N","unit":"V"},{"value":"231","measurand":"Voltage","phase":"L2","unit":"V"},
			{"value":"400","measurand":"Voltage","phase":"L1-L2","unit":"V"}`,
			`[{"current_a":{"l1":16,"l2":15,"l3":14,"n":0.5},"voltage_v":{"l1":230,"l2":231},"other":[{"measurand":"Voltage","value":400,"unit":"V","phase":"L1-L2"}]}]`, nil},
		{"single phase without a name", `{"value":"16","measurand":"Current.Import"},{"value":"230","measurand":"Voltage"}`,
			`[{"current_a":{"l1":16},"voltage_v":{"l1":230}}]`, nil},
		{"current on the neutral only", `{"value":"16","measurand":"Current.Import","phase":"N"}`, `[{"current_a":{"l1":16}}]`, nil},
		{"total beside the phases", `{"value":"30","measurand":"Current.Import"},{"value":"16","measurand":"Current.Import","phase":"L1"}`,
			`[{"current_a":{"l1":16},"other":[{"measurand":"Current.Import","value":30,"unit":"A"}]}]`, nil},
		{"power by phase only", `{"value":"1","measurand":"Power.Active.Import","phase":"L1","unit":"kW"},{"value":"2","measurand":"Power.Active.Import","phase":"L2","unit":"kW"}`,
			`[{"power_w":3000,"other":[{"measurand":"Power.Active.Import","value":1000,"unit":"W","phase":"L1"},{"measurand":"Power.Active.Import","value":2000,"unit":"W","phase":"L2"}]}]`, nil},
		{"total and phases that contradict", `{"value":"9","measurand":"Power.Active.Import","unit":"kW"},{"value":"2","measurand":"Power.Active.Import","phase":"L2","unit":"kW"}`,
			`[{"power_w":9000,"other":[{"measurand":"Power.Active.Import","value":2000,"unit":"W","phase":"L2"}]}]`, []string{"phase_sum"}},
		{"the same phase twice", `{"value":"1","measurand":"Power.Active.Import","phase":"L1","unit":"kW"},{"value":"1","measurand":"Power.Active.Import","phase":"L1-N","unit":"kW"}`,
			`[{"power_w":1000,"other":[{"measurand":"Power.Active.Import","value":1000,"unit":"W","phase":"L1"},{"measurand":"Power.Active.Import","value":1000,"unit":"W","phase":"L1-N"}]}]`, nil},
		{"offered", `{"value":"32","measurand":"Current.Offered","unit":"A"},{"value":"22","measurand":"Power.Offered","unit":"kW"}`,
			`[{"power_offered_w":22000,"current_offered_a":32}]`, nil},
		{"SoC in the car", `{"value":"42.5","measurand":"SoC","location":"EV","unit":"Percent"}`, `[{"soc_percent":42.5}]`, nil},
		{"at the inlet for want of the outlet", `{"value":"100","location":"Inlet"}`, `[{"energy_wh":100}]`, nil},
		{"at the inlet beside the outlet", `{"value":"100","location":"Inlet"},{"value":"90"}`,
			`[{"energy_wh":90,"other":[{"measurand":"Energy.Active.Import.Register","value":100,"unit":"Wh","location":"inlet"}]}]`, nil},
		{"power in the car", `{"value":"100","measurand":"Power.Active.Import","location":"EV"}`,
			`[{"other":[{"measurand":"Power.Active.Import","value":100,"unit":"W","location":"ev"}]}]`, nil},
		{"intervals are no registers", `{"value":"5","measurand":"Energy.Active.Import.Interval","unit":"Wh"}`,
			`[{"other":[{"measurand":"Energy.Active.Import.Interval","value":5,"unit":"Wh"}]}]`, nil},
		{"reactive", `{"value":"1.5","measurand":"Power.Reactive.Import","unit":"kvar"}`,
			`[{"other":[{"measurand":"Power.Reactive.Import","value":1500,"unit":"var"}]}]`, nil},
		{"quirk 76 frequency", `{"value":"50.01","measurand":"Frequency","unit":"Hz"}`, `[{"frequency_hz":50.01}]`, []string{"unit"}},
		{"frequency without unit", `{"value":"50","measurand":"Frequency"}`, `[{"frequency_hz":50}]`, nil},
		{"quirk 76 Celcius", `{"value":"21.5","measurand":"Temperature","unit":"Celcius"}`, `[{"temperature_c":21.5}]`, nil},
		{"Fahrenheit", `{"value":"212","measurand":"Temperature","unit":"Fahrenheit"}`, `[{"temperature_c":100}]`, nil},
		{"Kelvin", `{"value":"373.15","measurand":"Temperature","unit":"K"}`, `[{"temperature_c":100}]`, nil},
		{"quirk 76 spelling", `{"value":"16","measurand":"Current.import","phase":"l1"}`, `[{"current_a":{"l1":16}}]`, nil},
		{"quirk 69 W for Wh", `{"value":"1500","unit":"W"}`, `[{"energy_wh":1500}]`, []string{"unit"}},
		{"milliampere", `{"value":"16000","measurand":"Current.Import","unit":"mA"}`, `[{"current_a":{"l1":16}}]`, []string{"unit"}},
		{"unit that does not fit", `{"value":"5","measurand":"Voltage","unit":"Wh"}`, `[{"other":[{"measurand":"Voltage","value":5,"unit":"Wh"}]}]`, []string{"unit"}},
		{"unit nobody knows", `{"value":"5","unit":"BTU"}`, `[{"other":[{"measurand":"Energy.Active.Import.Register","value":5,"unit":"BTU"}]}]`, []string{"unit"}},
		{"measurand nobody knows", `{"value":"5","measurand":"Humidity","unit":"Percent"}`, `[{"other":[{"measurand":"Humidity","value":5,"unit":"Percent"}]}]`, nil},
		{"rpm", `{"value":"900","measurand":"RPM"}`, `[{"other":[{"measurand":"RPM","value":900}]}]`, nil},
		{"contexts are moments of their own", `{"value":"10","context":"Transaction.Begin"},{"value":"20","context":"Sample.Periodic"}`,
			`[{"context":"begin","energy_wh":10},{"energy_wh":20}]`, nil},
		{"all contexts", `{"value":"1","context":"Sample.Clock"},{"value":"2","context":"Transaction.End"},{"value":"3","context":"Interruption.Begin"},
			{"value":"4","context":"Interruption.End"},{"value":"5","context":"Trigger"},{"value":"6","context":"Other"}`,
			`[{"context":"clock","energy_wh":1},{"context":"end","energy_wh":2},{"context":"interruption_begin","energy_wh":3},{"context":"interruption_end","energy_wh":4},
			{"context":"trigger","energy_wh":5},{"context":"other","energy_wh":6}]`, nil},
		{"signed", `{"value":"OCMF|{}|{}","format":"SignedData","context":"Transaction.End"},{"value":"10","context":"Transaction.End"}`,
			`[{"context":"end","energy_wh":10,"signed":[{"data":"OCMF|{}|{}"}]}]`, nil},
		{"a second register", `{"value":"10"},{"value":"11"}`, `[{"energy_wh":10,"other":[{"measurand":"Energy.Active.Import.Register","value":11,"unit":"Wh"}]}]`, nil},
		{"absurd", `{"value":"1e300"}`, `[{"other":[{"measurand":"Energy.Active.Import.Register","raw":"1e300"}]}]`, []string{"value_unreadable"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m ocpp16.MeterValuesRequest
			if _, err := m.Decode([]byte(`{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[` + tt.values + `]}]}`)); err != nil {
				t.Fatal(err)
			}
			var odd []string
			got, err := json.Marshal(samplesOf(m.MeterValue, metering.Rules{Odd: func(kind, _, _ string) { odd = append(odd, kind) }}))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(got), `"time":"2026-11-22T06:01:02Z",`, "")
			text = strings.ReplaceAll(text, `,"device_time":"2026-11-22T06:01:02Z"`, "")
			want := strings.NewReplacer("\n", "", "\t", "").Replace(tt.want)
			if text != want || !slices.Equal(odd, tt.odd) {
				t.Errorf("got  %s %q\nwant %s %q", text, odd, want, tt.odd)
			}
		})
	}
}

// Times are passed on as they were claimed.
func TestSampleTimes(t *testing.T) {
	var m ocpp16.MeterValuesRequest
	payload := `{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T06:01:02","sampledValue":[{"value":"1"}]},{"timestamp":"soon","sampledValue":[{"value":"2"}]},{"timestamp":"2026-11-22T06:01:04Z","sampledValue":[]}]}`
	if _, err := m.Decode([]byte(payload)); err != nil {
		t.Fatal(err)
	}
	got := samplesOf(m.MeterValue, metering.Rules{Odd: func(string, string, string) {}})
	if len(got) != 2 || got[0].DeviceTime != "2026-11-22T06:01:02" || got[0].Time.IsZero() || got[1].DeviceTime != "soon" || !got[1].Time.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkSamplesOf(b *testing.B) {
	var m ocpp16.MeterValuesRequest
	payload := []byte(`{"connectorId":1,"transactionId":7,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[` +
		`{"value":"1520.4","measurand":"Energy.Active.Import.Register","unit":"Wh"},{"value":"11040.0","measurand":"Power.Active.Import","unit":"W"},` +
		`{"value":"16.0","measurand":"Current.Import","phase":"L1","unit":"A"},{"value":"230.0","measurand":"Voltage","phase":"L1-N","unit":"V"},` +
		`{"value":"16.0","measurand":"Current.Import","phase":"L2","unit":"A"},{"value":"230.0","measurand":"Voltage","phase":"L2-N","unit":"V"},` +
		`{"value":"16.0","measurand":"Current.Import","phase":"L3","unit":"A"},{"value":"230.0","measurand":"Voltage","phase":"L3-N","unit":"V"},` +
		`{"value":"42.8","measurand":"SoC","location":"EV","unit":"Percent"},{"value":"50.0","measurand":"Frequency"}]}]}`)
	none := func(string, string, string) {}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Decode(payload); err != nil {
			b.Fatal(err)
		}
		if s := samplesOf(m.MeterValue, metering.Rules{Odd: none}); len(s) != 1 {
			b.Fatal(s)
		}
	}
}

func FuzzSamplesOf(f *testing.F) {
	f.Add(`{"value":"1","context":"Trigger","phase":"N","measurand":"Voltage","unit":"kWh","location":"EV","format":"Raw"}`)
	f.Add(`{"value":"1e308","unit":"kW","measurand":"Power.Active.Import"},{"value":"-1e308"}`)
	f.Fuzz(func(t *testing.T, values string) {
		var m ocpp16.MeterValuesRequest
		if _, err := m.Decode([]byte(`{"connectorId":1,"meterValue":[{"timestamp":"x","sampledValue":[` + values + `]}]}`)); err != nil {
			return
		}
		taken := 0
		for _, mv := range m.MeterValue {
			taken += len(mv.SampledValue)
		}
		samples := samplesOf(m.MeterValue, metering.Rules{Odd: func(string, string, string) {}})
		if taken > 0 && len(samples) == 0 {
			t.Error("values disappeared")
		}
		if _, err := json.Marshal(samples); err != nil {
			t.Errorf("samples that cannot be written: %v", err)
		}
	})
}
