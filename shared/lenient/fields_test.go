package lenient_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

type colour string

// TestAppendFields writes each kind of field, and leaves the optional ones out
// that are not there.
func TestAppendFields(t *testing.T) {
	n, v, yes := int64(-7), 21.46, true
	at := lenient.At(time.Date(2026, 11, 22, 6, 1, 2, 0, time.UTC))
	var none lenient.Time
	const name = `,"x":`
	for _, tt := range []struct{ got, want string }{
		{string(lenient.AppendName(nil, name)), `,"x":`},
		{string(lenient.AppendText(nil, name, "")), `,"x":""`},
		{string(lenient.AppendOptionalText(nil, name, `a"`)), `,"x":"a\""`},
		{string(lenient.AppendOptionalText([]byte("{"), name, "")), `{`},
		{string(lenient.AppendInt(nil, name, 0)), `,"x":0`},
		{string(lenient.AppendOptionalInt(nil, name, &n)), `,"x":-7`},
		{string(lenient.AppendOptionalInt(nil, name, nil)), ``},
		{string(lenient.AppendFloat(nil, name, 0)), `,"x":0`},
		{string(lenient.AppendOptionalFloat(nil, name, &v)), `,"x":21.46`},
		{string(lenient.AppendOptionalFloat(nil, name, nil)), ``},
		{string(lenient.AppendRounded(nil, name, 21.45)), `,"x":21.5`},
		{string(lenient.AppendOptionalRounded(nil, name, &v)), `,"x":21.5`},
		{string(lenient.AppendOptionalRounded(nil, name, nil)), ``},
		{string(lenient.AppendBool(nil, name, false)), `,"x":false`},
		{string(lenient.AppendOptionalBool(nil, name, &yes)), `,"x":true`},
		{string(lenient.AppendOptionalBool(nil, name, nil)), ``},
		{string(lenient.AppendDate(nil, name, &none)), `,"x":"0001-01-01T00:00:00Z"`},
		{string(lenient.AppendOptionalDate(nil, name, &at)), `,"x":"2026-11-22T06:01:02Z"`},
		{string(lenient.AppendOptionalDate(nil, name, &none)), ``},
		{string(lenient.AppendRaw(nil, name, []byte(`{"a":1}`))), `,"x":{"a":1}`},
		{string(lenient.AppendOptionalRaw(nil, name, []byte(`1`))), `,"x":1`},
		{string(lenient.AppendOptionalRaw(nil, name, nil)), ``},
		{string(lenient.AppendTexts(nil, name, []string(nil))), `,"x":[]`},
		{string(lenient.AppendOptionalTexts(nil, name, []colour{"red", "blue"})), `,"x":["red","blue"]`},
		{string(lenient.AppendOptionalTexts[colour](nil, name, nil)), ``},
		{string(lenient.AppendInts(nil, name, nil)), `,"x":[]`},
		{string(lenient.AppendOptionalInts(nil, name, []int64{1, -2})), `,"x":[1,-2]`},
		{string(lenient.AppendOptionalInts(nil, name, nil)), ``},
		{string(lenient.Comma([]byte("1"))), `1,`},
	} {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

// fields has one of each kind that can be read.
type fields struct {
	Text, Any, Word   string
	Time              lenient.Time
	Int               int64
	Number            float64
	Bool              bool
	OptionalInt       *int64
	OptionalNumber    *float64
	OptionalBool      *bool
	Texts             []string
	Words             []colour
	Ints              []int64
	Extra             map[string]json.RawMessage
	colours, names    []string
	deviations, wrong int
}

func (v *fields) read(payload string) {
	v.colours = []string{"red", "blue"}
	v.names = []string{"text", "any", "word", "time", "int", "number", "bool", "optionalInt", "optionalNumber", "optionalBool", "texts", "words", "ints"}
	var r lenient.Reader
	r.Begin([]byte(payload))
	o := r.Object(v.names, 0)
	for o.Next() {
		switch o.Field {
		case 0:
			r.TextTo(&v.Text)
		case 1:
			r.AnyTextTo(&v.Any)
		case 2:
			r.WordTo(&v.Word, v.colours)
		case 3:
			r.TimeTo(&v.Time)
		case 4:
			r.IntTo(&v.Int)
		case 5:
			r.NumberTo(&v.Number)
		case 6:
			r.BoolTo(&v.Bool)
		case 7:
			r.OptionalInt(&v.OptionalInt)
		case 8:
			r.OptionalNumber(&v.OptionalNumber)
		case 9:
			r.OptionalBool(&v.OptionalBool)
		case 10:
			v.Texts = r.Texts()
			r.Items(len(v.Texts))
		case 11:
			v.Words = lenient.Words[colour](&r, v.colours)
		case 12:
			v.Ints = r.Ints()
		default:
			o.ExtraTo(&v.Extra, true)
		}
	}
	deviations, err := r.Finish()
	v.deviations = len(deviations)
	if err != nil {
		v.wrong++
	}
}

// TestReadFields reads each kind of field, as it should be and otherwise.
func TestReadFields(t *testing.T) {
	var v fields
	v.read(` {"text":"a","any":{"b":1},"word":"red","time":"2026-11-22T06:01:02Z","int":1,"number":1.5,"bool":true,` +
		`"optionalInt":2,"optionalNumber":2.5,"optionalBool":false,"texts":["a",1],"words":["blue","green"],"ints":[1,"2",{}],"more":[1]}`)
	if v.Text != "a" || v.Any != `{"b":1}` || v.Word != "red" || v.Time.Time.Year() != 2026 || v.Int != 1 || v.Number != 1.5 || !v.Bool ||
		*v.OptionalInt != 2 || *v.OptionalNumber != 2.5 || *v.OptionalBool || len(v.Texts) != 2 || len(v.Words) != 2 || v.Words[1] != "green" ||
		len(v.Ints) != 2 || v.Ints[1] != 2 || string(v.Extra["more"]) != "[1]" || v.wrong != 0 {
		t.Errorf("read %+v", v)
	}
	if v.deviations != 5 { // a text as JSON, one as a number, a word, an integer as text, one that is none
		t.Errorf("%d deviations, want 5", v.deviations)
	}
	kept := int64(9)
	v = fields{Int: 3, OptionalInt: &kept}
	v.read(`{"int":"x","optionalInt":"x","optionalNumber":[],"optionalBool":"x","texts":[],"words":"red","number":null}`)
	if v.Int != 0 || *v.OptionalInt != 9 || v.OptionalNumber != nil || v.OptionalBool != nil || len(v.Texts) != 0 || len(v.Words) != 1 {
		t.Errorf("read %+v", v)
	}
	if v.deviations != 7 {
		t.Errorf("%d deviations, want 7", v.deviations)
	}
}
