package event_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/shared/event"
)

// fill draws a value for everything in v: strings that want escapes, numbers of
// any size, fields that are there and fields that are not.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.Just(""), rapid.String(), rapid.SampledFrom([]string{"a<b>&\u2028", "\"\\\n\x00\x7f", "\xff"})).Draw(t, "text"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, "integer"))
	case reflect.Float64:
		n := rapid.Float64().Draw(t, "number")
		if math.IsNaN(n) || math.IsInf(n, 0) {
			n = 1e21
		}
		v.SetFloat(n)
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			at := time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "time")).UTC()
			v.Set(reflect.ValueOf(at.Add(time.Duration(rapid.IntRange(0, 999_999).Draw(t, "fraction")))))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

// What writes itself reads back as what encoding/json writes of it, and has the
// same members.
func TestAppendJSON(t *testing.T) {
	type appender interface{ AppendJSON(b []byte) []byte }
	values := []any{new(event.Sample), new(event.Value), new(event.Signed), new(event.Phases), new(event.Token), new(event.Authorization)}
	for _, kind := range event.Types {
		values = append(values, event.New(kind))
	}
	found := 0
	for _, v := range values {
		if _, ok := v.(appender); !ok {
			continue
		}
		found++
		kind := reflect.TypeOf(v).Elem()
		t.Run(kind.Name(), rapid.MakeCheck(func(t *rapid.T) {
			in := reflect.New(kind)
			fill(t, in.Elem())
			want, err := json.Marshal(in.Interface())
			if err != nil {
				t.Fatal(err)
			}
			text := in.Interface().(appender).AppendJSON([]byte("before"))
			if string(text[:6]) != "before" {
				t.Fatalf("%s: what was there is gone", text)
			}
			got := text[6:]
			a, b := reflect.New(kind), reflect.New(kind)
			if err := json.Unmarshal(got, a.Interface()); err != nil {
				t.Fatalf("%v in %s", err, got)
			}
			if err := json.Unmarshal(want, b.Interface()); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(a.Interface(), b.Interface()) {
				t.Fatalf("wrote %s\nwant  %s", got, want)
			}
			if x, y := normal(t, got), normal(t, want); x != y {
				t.Fatalf("wrote %s\nwant  %s", x, y)
			}
		}))
	}
	if found < 12 {
		t.Errorf("%d types write themselves, expected more", found)
	}
}

// normal is a JSON text with its members in the order of their names.
func normal(t *rapid.T, text []byte) string {
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestAppendTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-63e9, 250e9).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		if got, want := string(event.AppendTime(nil, at)), at.UTC().Format(event.TimeLayout); got != want {
			t.Fatalf("wrote %s, want %s", got, want)
		}
	})
}

func BenchmarkSample(b *testing.B) {
	f := func(v float64) *float64 { return &v }
	wh := int64(1234567)
	s := event.Sample{
		Time: time.Date(2026, 11, 22, 6, 1, 2, 345e6, time.UTC), EnergyWh: &wh, PowerW: f(11040), CurrentOfferedA: f(16), SoCPercent: f(41),
		CurrentA: &event.Phases{L1: f(16.01), L2: f(15.98), L3: f(16.02)}, VoltageV: &event.Phases{L1: f(230.1), L2: f(229.8), L3: f(231)},
	}
	var buf []byte
	for b.Loop() {
		buf = s.AppendJSON(buf[:0])
	}
}
