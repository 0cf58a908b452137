package metering

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
)

func number64(n float64) Value { return Value{Number: n, IsNumber: true} }

// collect is what a dialect does with the values of one moment.
func collect(u *Rules, at lenient.Time, values []Value) []event.Sample {
	m := u.At(at)
	for i := range values {
		m.Take(&values[i])
	}
	for i := 0; m.Elsewhere() && i < len(values); i++ {
		m.TakeElsewhere(&values[i])
	}
	return m.Append(nil)
}

// What OCPP 2 has and 1.6 has not; the rest is shown by the tests of the dialect
// of 1.6.
func TestAppend(t *testing.T) {
	with := func(v Value, change func(*Value)) Value {
		change(&v)
		return v
	}
	tests := []struct {
		name   string
		rules  Rules
		values []Value
		want   string
		odd    []string
	}{
		{"defaults", Rules{}, []Value{number64(1520)}, `[{"energy_wh":1520}]`, nil},
		{"multiplier", Rules{}, []Value{with(number64(1.5), func(v *Value) { v.Multiplier = 3 })}, `[{"energy_wh":1500}]`, nil},
		{"negative multiplier", Rules{}, []Value{with(number64(505), func(v *Value) { v.Measurand, v.Unit, v.Multiplier = "Current.Import", "A", -1 })},
			`[{"current_a":{"l1":50.5}}]`, nil},
		{"multiplier and prefix", Rules{}, []Value{with(number64(2), func(v *Value) { v.Measurand, v.Unit, v.Multiplier = "Power.Active.Import", "kW", 1 })},
			`[{"power_w":20000}]`, nil},
		{"absurd multiplier", Rules{}, []Value{with(number64(2), func(v *Value) { v.Multiplier, v.Text = 400, "2" })},
			`[{"other":[{"measurand":"Energy.Active.Import.Register","raw":"2"}]}]`, []string{"value_unreadable"}},
		{"zero is a value", Rules{}, []Value{with(number64(0), func(v *Value) { v.Measurand, v.Unit = "Power.Active.Import", "W" })}, `[{"power_w":0}]`, nil},
		{"no number", Rules{}, []Value{{Text: "later"}}, `[{"other":[{"measurand":"Energy.Active.Import.Register","raw":"later"}]}]`, []string{"value_unreadable"}},
		{"infinite", Rules{}, []Value{number64(math.Inf(1))}, `[{"other":[{"measurand":"Energy.Active.Import.Register"}]}]`, []string{"value_unreadable"}},
		{"signed beside the number", Rules{}, []Value{with(number64(7), func(v *Value) {
			v.Context, v.Signed = "Transaction.End", &event.Signed{Data: "AB", Method: "ECDSA", Encoding: "OCMF", Key: "K"}
		})}, `[{"context":"end","energy_wh":7,"signed":[{"data":"AB","method":"ECDSA","encoding":"OCMF","key":"K"}]}]`, nil},
		{"net is no register", Rules{}, []Value{with(number64(7), func(v *Value) { v.Measurand = "Energy.Active.Net" })},
			`[{"other":[{"measurand":"Energy.Active.Net","value":7,"unit":"Wh"}]}]`, nil},
		{"apparent energy", Rules{V2: true}, []Value{with(number64(7), func(v *Value) { v.Measurand, v.Unit = "Energy.Apparent.Import", "kVAh" })},
			`[{"other":[{"measurand":"Energy.Apparent.Import","value":7000,"unit":"VAh"}]}]`, nil},
		{"Hz is a unit", Rules{V2: true}, []Value{with(number64(50), func(v *Value) { v.Measurand, v.Unit = "Frequency", "Hz" })}, `[{"frequency_hz":50}]`, nil},
		{"mHz of 2.1", Rules{V2: true}, []Value{with(number64(50000), func(v *Value) { v.Measurand, v.Unit = "Frequency", "mHz" })}, `[{"frequency_hz":50}]`, nil},
		{"seconds of 2.1", Rules{V2: true}, []Value{with(number64(60), func(v *Value) { v.Measurand, v.Unit = "Display.RemainingTimeToTargetSOC", "s" })},
			`[{"other":[{"measurand":"Display.RemainingTimeToTargetSOC","value":60,"unit":"s"}]}]`, nil},
		{"display of 2.1", Rules{V2: true}, []Value{with(number64(60), func(v *Value) { v.Measurand, v.Unit = "Display.PresentSOC", "Percent" })},
			`[{"other":[{"measurand":"Display.PresentSOC","value":60,"unit":"Percent"}]}]`, nil},
		{"upstream of 2.1", Rules{V2: true}, []Value{with(number64(60), func(v *Value) { v.Measurand, v.Unit, v.Location = "Power.Active.Import", "W", "Upstream" })},
			`[{"other":[{"measurand":"Power.Active.Import","value":60,"unit":"W","location":"upstream"}]}]`, nil},
		{"quirk 69 scales", Rules{EnergyScale: 10, PowerScale: 0.1}, []Value{number64(5), with(number64(50), func(v *Value) { v.Measurand = "Power.Active.Import" }),
			with(number64(230), func(v *Value) { v.Measurand = "Voltage" })}, `[{"energy_wh":50,"power_w":5,"voltage_v":{"l1":230}}]`, nil},
		{"contexts in other case", Rules{}, []Value{with(number64(5), func(v *Value) { v.Context = "transaction.begin" })}, `[{"context":"begin","energy_wh":5}]`, nil},
		{"context nobody knows", Rules{}, []Value{with(number64(5), func(v *Value) { v.Context = "Moon.Full" })}, `[{"context":"other","energy_wh":5}]`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var odd []string
			tt.rules.Odd = func(kind, _, _ string) { odd = append(odd, kind) }
			at := lenient.At(time.Date(2026, 11, 22, 6, 1, 2, 0, time.UTC))
			got, err := json.Marshal(collect(&tt.rules, at, tt.values))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(got), `"time":"2026-11-22T06:01:02Z",`, "")
			if text != tt.want || !slices.Equal(odd, tt.odd) {
				t.Errorf("got  %s %q\nwant %s %q", text, odd, tt.want, tt.odd)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	tests := []struct {
		text string
		want float64
		ok   bool
	}{
		{"0", 0, true}, {"12.5", 12.5, true}, {"-0.1", -0.1, true}, {"123456789012345", 123456789012345, true}, {"12345678901234567", 12345678901234567, true},
		{"0.1", 0.1, true}, {"1e3", 1000, true}, {"+5", 5, true}, {"5.", 5, true}, {"", 0, false}, {"-", 0, false}, {".", 0, false}, {"abc", 0, false}, {"1e999", 0, false},
	}
	for _, tt := range tests {
		if got, _, ok := number(tt.text); got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %v, %v; want %v, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}
