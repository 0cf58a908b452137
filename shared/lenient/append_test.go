package lenient_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

func TestAppendString(t *testing.T) {
	for text, want := range map[string]string{
		"":                   `""`,
		"plain":              `"plain"`,
		"\"\\/":              `"\"\\/"`,
		"\n\r\t\x00\x1f\x7f": "\"\\n\\r\\t\\u0000\\u001f\x7f\"",
		"é€\U0001F50C\u2028": "\"é€\U0001F50C\u2028\"",
		"a\xffb\xc3":         "\"a\uFFFDb\uFFFD\"",
		"<&>":                `"<&>"`,
	} {
		got := lenient.AppendString(nil, text)
		if string(got) != want || !json.Valid(got) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestAppendDecimal(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		// quirk 81: 21.4 and its like are no multiples of 0.1 in binary
		{21.4, "21.4"}, {0.1 + 0.2, "0.3"}, {21.449999999999996, "21.4"}, {21.45, "21.5"}, {6.25, "6.3"}, {6.24, "6.2"},
		{-6.25, "-6.3"}, {0.05, "0.1"}, {0.04, "0"}, {-0.04, "0"}, {9.95, "10"}, {99.96, "100"}, {-99.96, "-100"}, {16, "16"},
		{16.04, "16"}, {0, "0"}, {math.Copysign(0, -1), "0"}, {11000, "11000"}, {1e21, "1000000000000000000000"}, {1e-9, "0"},
		{math.NaN(), "0"}, {math.Inf(1), "0"},
	} {
		if got := string(lenient.AppendDecimal(nil, tt.v, 1)); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.v, got, tt.want)
		}
	}
	if got := string(lenient.AppendDecimal(nil, 1.995, 2)); got != "2" {
		t.Errorf("two decimals: %s", got)
	}
}

func TestAppendNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 16: "16", -0.1: "-0.1", 1e21: "1e+21", 1e-7: "1e-07", 123456789.25: "123456789.25", math.Inf(-1): "0"} {
		if got := string(lenient.AppendNumber(nil, v)); got != want || !json.Valid([]byte(got)) {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestDecimals(t *testing.T) {
	for v, want := range map[float64]int{0: 0, 16: 0, 21.4: 1, 6.25: 2, -0.125: 3, 1e-7: 7, 1e300: 0} {
		if got := lenient.Decimals(v); got != want {
			t.Errorf("%v: %d, want %d", v, got, want)
		}
	}
}

func TestClose(t *testing.T) {
	if got := string(lenient.CloseObject([]byte(`[3,"1",`), 7)); got != `[3,"1",{}` {
		t.Errorf("empty object: %s", got)
	}
	if got := string(lenient.CloseObject([]byte(`x,"a":1,"b":2`), 1)); got != `x{"a":1,"b":2}` {
		t.Errorf("object: %s", got)
	}
	if got := string(lenient.CloseArray([]byte(`x`), 1)); got != `x[]` {
		t.Errorf("empty array: %s", got)
	}
	if got := string(lenient.CloseArray([]byte(`,1,2`), 0)); got != `[1,2]` {
		t.Errorf("array: %s", got)
	}
	extra := map[string]json.RawMessage{"b\"": json.RawMessage(`[1]`), "a": json.RawMessage(`{}`)}
	if got := string(lenient.CloseObject(lenient.AppendExtra(nil, extra), 0)); got != `{"a":{},"b\"":[1]}` {
		t.Errorf("extra: %s", got)
	}
}
