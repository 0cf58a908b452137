package lenient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

// sample is read as generated code would.
type sample struct {
	Text  string // required
	Free  string
	Word  string
	Int   int64 // required
	Num   float64
	Bool  bool
	Time  lenient.Time
	Part  *part
	Parts []part
	Texts []string
	Raw   json.RawMessage
	Extra map[string]json.RawMessage
}

type part struct {
	Name  string // required
	Extra map[string]json.RawMessage
}

var (
	sampleFields = []string{"text", "free", "word", "int", "num", "bool", "time", "part", "parts", "texts", "raw"}
	partFields   = []string{"name"}
	words        = []string{"Accepted", "Rejected"}
)

func (v *sample) decode(r *lenient.Reader) bool {
	o := r.Object(sampleFields, 0b1001)
	for o.Next() {
		switch o.Field {
		case 0:
			v.Text = r.Text()
		case 1:
			v.Free = r.AnyText()
		case 2:
			v.Word = r.Word(words)
		case 3:
			v.Int, _ = r.Int()
		case 4:
			v.Num, _ = r.Number()
		case 5:
			v.Bool, _ = r.Bool()
		case 6:
			v.Time = r.Time()
		case 7:
			if p := new(part); p.decode(r) {
				v.Part = p
			}
		case 8:
			v.Parts = nil
			for a := r.Array(); a.Next(); {
				var p part
				if p.decode(r) {
					v.Parts = append(v.Parts, p)
				}
			}
		case 9:
			v.Texts = nil
			for a := r.Array(); a.Next(); {
				v.Texts = append(v.Texts, r.Text())
			}
			if len(v.Texts) == 0 {
				r.NoItems()
			}
		case 10:
			v.Raw = r.Raw()
		default:
			o.Extra(&v.Extra)
		}
	}
	return o.Found()
}

func (v *part) decode(r *lenient.Reader) bool {
	o := r.Object(partFields, 0b1)
	for o.Next() {
		switch o.Field {
		case 0:
			v.Name = r.Text()
		default:
			o.Open(&v.Extra)
		}
	}
	return o.Found()
}

func decode(payload string) (sample, []lenient.Deviation, error) {
	var v sample
	r := lenient.NewReader([]byte(payload))
	v.decode(&r)
	deviations, err := r.Finish()
	return v, deviations, err
}

// records writes deviations as "path kind text", one after the other.
func records(deviations []lenient.Deviation) string {
	texts := make([]string, len(deviations))
	for i, d := range deviations {
		texts[i] = strings.TrimSpace(fmt.Sprintf("%s %s %s", d.Path, d.Kind, d.Text))
	}
	return strings.Join(texts, "; ")
}

func TestReader(t *testing.T) {
	tests := []struct {
		name       string
		payload    string // what follows {"text":"t","int":1
		want       func(v *sample)
		deviations string
	}{
		{"clean", `,"word":"Accepted","num":-1.5e2,"bool":true,"parts":[{"name":"a"}, {"name":"b"}] , "texts":["x"] , "free":""`,
			func(v *sample) {
				v.Word, v.Num, v.Bool, v.Parts, v.Texts = "Accepted", -150, true, []part{{Name: "a"}, {Name: "b"}}, []string{"x"}
			}, ""},
		{"escapes", `,"free":"\"\\\/\b\f\n\r\t\u0041\ud83d\udd0cé"`, func(v *sample) { v.Free = "\"\\/\b\f\n\r\tA\U0001F50Cé" }, ""},
		{"half a surrogate pair", `,"free":"\ud83d\u0041"`, func(v *sample) { v.Free = "\uFFFDA" }, `free bad_utf8 \ud83d\u0041`},
		{"not UTF-8", ",\"free\":\"a\xffb\"", func(v *sample) { v.Free = "a\uFFFDb" }, "free bad_utf8 a\uFFFDb"},
		{"null", `,"word":null,"part":null,"parts":null`, nil, "word null null; part null null; parts null null"},
		{"unknown field", `,"more":{"a":[1]},"m\u006fre2":2`, func(v *sample) {
			v.Extra = map[string]json.RawMessage{"more": json.RawMessage(`{"a":[1]}`), "more2": json.RawMessage(`2`)}
		}, `more unknown_field {"a":[1]}; more2 unknown_field 2`},
		{"open object", `,"part":{"x":1,"name":"a"}`, func(v *sample) {
			v.Part = &part{Name: "a", Extra: map[string]json.RawMessage{"x": json.RawMessage(`1`)}}
		}, ""},
		{"twice", `,"word":"Accepted","word":"Rejected","parts":[{"name":"a"}],"parts":[{"name":"b"}],"x":1,"x":2`, func(v *sample) {
			v.Word, v.Parts, v.Extra = "Rejected", []part{{Name: "b"}}, map[string]json.RawMessage{"x": json.RawMessage(`2`)}
		}, "word duplicate_key word; parts duplicate_key parts; x unknown_field 1; x duplicate_key x"},
		{"twice, then null", `,"word":"Accepted","word":null`, func(v *sample) { v.Word = "Accepted" }, "word duplicate_key word; word null null"},
		{"case of a name", `,"Word":"Accepted","PART":{"Name":"a"}`, func(v *sample) { v.Word, v.Part = "Accepted", &part{Name: "a"} },
			"word key_case Word; part key_case PART; part.name key_case Name"},
		{"number in quotes", `,"num":"12.5","int":" 7 "`, func(v *sample) { v.Num, v.Int = 12.5, 7 }, `num number_as_text "12.5"; int duplicate_key int; int number_as_text " 7 "`},
		{"decimal comma", `,"num":"12,5"`, func(v *sample) { v.Num = 12.5 }, `num decimal_comma "12,5"`},
		{"thousands", `,"num":"1,234"`, nil, `num unreadable "1,234"`},
		{"no number", `,"num":"NaN"`, nil, `num unreadable "NaN"`},
		{"text from number", `,"free":1.50e2,"word":1`, func(v *sample) { v.Free, v.Word = "1.50e2", "1" }, "free text_as_number 1.50e2; word text_as_number 1; word unknown_word 1"},
		{"text from bool", `,"free":true`, func(v *sample) { v.Free = "true" }, "free text_as_bool true"},
		{"text from object", `,"free":{"a": [1]}`, func(v *sample) { v.Free = `{"a": [1]}` }, `free text_as_json {"a": [1]}`},
		{"unknown word", `,"word":"accepted"`, func(v *sample) { v.Word = "accepted" }, "word unknown_word accepted"},
		{"bool in quotes", `,"bool":" True "`, func(v *sample) { v.Bool = true }, `bool bool_as_text " True "`},
		{"bool as number", `,"bool":1`, func(v *sample) { v.Bool = true }, "bool bool_as_number 1"},
		{"no bool", `,"bool":2`, nil, "bool unreadable 2"},
		{"list of one", `,"word":[ "Accepted" ],"num":[1.5],"bool":[true],"part":[{"name":"a"}],"time":["2026-11-22T06:01:02Z"]`, func(v *sample) {
			v.Word, v.Num, v.Bool, v.Part, v.Time = "Accepted", 1.5, true, &part{Name: "a"}, lenient.ParseTime("2026-11-22T06:01:02Z")
		}, "word array_for_one; num array_for_one; bool array_for_one; part array_for_one; time array_for_one"},
		{"list of more than one", `,"part":[{"name":"a"},{"name":5},"x"]`, func(v *sample) { v.Part = &part{Name: "a"} }, "part array_for_one"},
		{"list of none", `,"part":[],"word":[]`, nil, "part unreadable []; word unreadable []"},
		{"one for a list", `,"parts":{"name":"a"},"texts":"x"`, func(v *sample) { v.Parts, v.Texts = []part{{Name: "a"}}, []string{"x"} },
			"parts one_for_array; texts one_for_array"},
		{"list with nulls and nonsense", `,"parts":[null,{"name":"a"},5],"texts":[null]`, func(v *sample) { v.Parts = []part{{Name: "a"}} },
			"parts[0] null null; parts[2] unreadable 5; texts[0] null null; texts empty_list []"},
		{"wrong type", `,"part":"x","time":{"a":1}`, nil, `part unreadable "x"; time unreadable {"a":1}`},
		{"unreadable time", `,"time":"soon"`, func(v *sample) { v.Time = lenient.Time{Raw: "soon", Quality: lenient.Unreadable} }, "time time_unreadable soon"},
		{"time as number", `,"time":1795327262`, func(v *sample) { v.Time = lenient.ParseTime("1795327262") }, "time time_form 1795327262"},
		{"raw", `,"raw": {"a" : 1} `, func(v *sample) { v.Raw = json.RawMessage(`{"a" : 1}`) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, deviations, err := decode(`{"text":"t","int":1` + tt.payload + `}`)
			if err != nil {
				t.Fatal(err)
			}
			want := sample{Text: "t", Int: 1}
			if tt.want != nil {
				tt.want(&want)
			}
			if !reflect.DeepEqual(v, want) {
				t.Errorf("got %+v\nwant %+v", v, want)
			}
			if got := records(deviations); got != tt.deviations {
				t.Errorf("deviations %s\nwant %s", got, tt.deviations)
			}
			if tt.deviations == "" && deviations != nil {
				t.Error("clean input made a list")
			}
		})
	}
}

func TestInt(t *testing.T) {
	tests := []struct {
		text string
		want int64
		kind lenient.Kind
		bad  bool
	}{
		{text: "0"}, {text: "-0"}, {text: "4711", want: 4711}, {text: "-1", want: -1},
		{text: "999999999999999999", want: 999999999999999999},
		{text: "9223372036854775807", want: 9223372036854775807},
		{text: "-9223372036854775808", want: -9223372036854775808},
		{text: "9223372036854775808", bad: true},
		{text: "1e30", bad: true},
		{text: "12.0", want: 12, kind: lenient.KindFraction},
		{text: "12.5", want: 13, kind: lenient.KindFraction},
		{text: "1520.4999", want: 1520, kind: lenient.KindFraction},
		{text: "-12.5", want: -13, kind: lenient.KindFraction},
		{text: "12e2", want: 1200, kind: lenient.KindFraction},
		{text: `"12"`, want: 12, kind: lenient.KindNumberAsText},
		{text: `"+012"`, want: 12, kind: lenient.KindNumberAsText},
		{text: `"12.0"`, want: 12, kind: lenient.KindNumberAsText},
		{text: `"12,0"`, want: 12, kind: lenient.KindDecimalComma},
		{text: `"1,234"`, bad: true},
		{text: `""`, bad: true}, {text: `"-"`, bad: true}, {text: `"0x1F"`, bad: true}, {text: `"1_000"`, bad: true},
		{text: `"Infinity"`, bad: true}, {text: "true", bad: true}, {text: "{}", bad: true}, {text: "[]", bad: true},
		{text: "[5]", want: 5, kind: lenient.KindArrayForOne},
	}
	for _, tt := range tests {
		v, deviations, err := decode(`{"text":"t","int":` + tt.text + `}`)
		if tt.bad {
			problems, ok := errors.AsType[*lenient.Error](err)
			if !ok || problems.Class() != lenient.ClassType || problems.Problems[0].Path != "int" {
				t.Errorf("%s: got %d, %v", tt.text, v.Int, err)
			}
			continue
		}
		if err != nil || v.Int != tt.want {
			t.Errorf("%s: got %d, %v; want %d", tt.text, v.Int, err, tt.want)
		}
		if got := kinds(deviations); got != string(tt.kind) {
			t.Errorf("%s: deviations %q, want %q", tt.text, got, tt.kind)
		}
	}
}

func kinds(deviations []lenient.Deviation) string {
	list := make([]string, len(deviations))
	for i, d := range deviations {
		list[i] = string(d.Kind)
	}
	return strings.Join(list, " ")
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]float64{
		"0": 0, "-0.5": -0.5, "21.4": 21.4, "0.1": 0.1, "123456789012345": 123456789012345, "1234567890.12345": 1234567890.12345,
		"0.000001": 0.000001, "9007199254740993": 9007199254740992, "1e-7": 1e-7, "1.7976931348623157e308": 1.7976931348623157e308,
		"3.14159265358979323846": 3.141592653589793, "100": 100, "0.30000000000000004": 0.30000000000000004,
	} {
		v, deviations, err := decode(`{"text":"t","int":1,"num":` + text + `}`)
		if v.Num != want || deviations != nil || err != nil {
			t.Errorf("%s: got %v, %v, %v", text, v.Num, deviations, err)
		}
	}
	for _, text := range []string{"01", "1.", ".5", "-", "1.2.3", "1e", "+1", "00.5", "12345678901234567890."} {
		if v, _, err := decode(`{"text":"t","int":1,"num":` + text + `}`); err == nil {
			t.Errorf("%s was accepted as %v", text, v.Num)
		}
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, payload string
		class         lenient.Class
		want          string
		read          string // text of what was read nevertheless
	}{
		{"missing", `{"int":1}`, lenient.ClassOccurrence, "text: missing, expected a value", ""},
		{"all missing", `{}`, lenient.ClassOccurrence, "text: missing, expected a value; int: missing, expected a value", ""},
		{"null payload", `null`, lenient.ClassOccurrence, "text: missing, expected a value; int: missing, expected a value", ""},
		{"required null", `{"text":"t","int":null}`, lenient.ClassOccurrence, "int: missing, expected a value", "t"},
		{"missing inside", `{"text":"t","int":1,"parts":[{"name":"a"},{}]}`, lenient.ClassOccurrence, "parts[1].name: missing, expected a value", "t"},
		{"wrong type", `{"int":"x","text":"t"}`, lenient.ClassType, `int: expected an integer, got "x"`, "t"},
		{"wrong and missing", `{"int":{"a":1}}`, lenient.ClassType, `int: expected an integer, got {"a":1}; text: missing, expected a value`, ""},
		{"no object", `"text"`, lenient.ClassType, `payload: expected an object, got "text"`, ""},
		{"a list of none", `[]`, lenient.ClassType, `payload: expected an object, got []`, ""},
		{"empty", ` `, lenient.ClassFormat, "payload: expected a value at byte 1, got the end", ""},
		{"cut", `{"text":"t","int":1,"parts":[{"name":`, lenient.ClassFormat, "parts[0].name: expected a value at byte 37, got the end", "t"},
		{"cut in a name", `{"text":"t","in`, lenient.ClassFormat, "payload: expected the end of the string at byte 15, got the end", "t"},
		{"no colon", `{"text":"t","int" 1}`, lenient.ClassFormat, `payload: expected a colon at byte 18, got 1}`, "t"},
		{"no comma", `{"text":"t" "int":1}`, lenient.ClassFormat, `payload: expected a comma or the end of the object at byte 12, got "int":1}`, "t"},
		{"no comma in a list", `{"text":"t","texts":["a" "b"]}`, lenient.ClassFormat, `texts[0]: expected a comma or the end of the array at byte 25, got "b"]}`, "t"},
		{"number with a tail", `{"text":"t","int":12abc}`, lenient.ClassFormat, `payload: expected a comma or the end of the object at byte 20, got abc}`, "t"},
		{"something behind", `{"text":"t","int":1} x`, lenient.ClassFormat, `payload: expected the end of the payload at byte 21, got x`, "t"},
		{"unknown field too deep", `{"text":"t","x":` + strings.Repeat("[", 65), lenient.ClassFormat, `x: expected less nesting at byte 79, got [[`, "t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, _, err := decode(tt.payload)
			problems, ok := errors.AsType[*lenient.Error](err)
			if !ok {
				t.Fatalf("got %+v, %v", v, err)
			}
			if err.Error() != tt.want || problems.Class() != tt.class {
				t.Errorf("got %s (%s)\nwant %s (%s)", err, problems.Class(), tt.want, tt.class)
			}
			if v.Text != tt.read {
				t.Errorf("read %q, want %q", v.Text, tt.read)
			}
		})
	}
}

// TestBounded checks that records do not grow with the payload.
func TestBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"text":"t","int":1`)
	for i := range 1000 {
		fmt.Fprintf(&b, `,"x%d":"%s"`, i, strings.Repeat("é", 100))
	}
	b.WriteString(`,"parts":[`)
	for range 1000 {
		b.WriteString(`{},`)
	}
	b.WriteString(`{}]}`)
	v, deviations, err := decode(b.String())
	problems, ok := errors.AsType[*lenient.Error](err)
	if !ok || len(problems.Problems) != lenient.MaxRecords || len(deviations) != lenient.MaxRecords {
		t.Errorf("%d deviations, %v", len(deviations), err)
	}
	if len(v.Extra) != 1000 || len(v.Parts) != 1001 {
		t.Errorf("read %d unknown fields and %d parts", len(v.Extra), len(v.Parts))
	}
	if got := deviations[0].Text; len(got) > 90 || !strings.HasSuffix(got, "é…") {
		t.Errorf("text %q", got)
	}
}

// TestNothingShared changes the payload after reading it.
func TestNothingShared(t *testing.T) {
	payload := []byte(`{"text":"abc","int":1,"word":"Other","free":{"a":1},"time":"2026-11-22T06:01:02Z","raw":[1],"x":{"y":1}}`)
	var v sample
	r := lenient.NewReader(payload)
	v.decode(&r)
	deviations, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprintf("%+v %+v", v, deviations)
	for i := range payload {
		payload[i] = '#'
	}
	if after := fmt.Sprintf("%+v %+v", v, deviations); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

func TestParseNumber(t *testing.T) {
	tests := []struct {
		text string
		want float64
		kind lenient.Kind
		ok   bool
	}{
		{"12", 12, "", true}, {" 12.50 ", 12.5, "", true}, {"-0.5", -0.5, "", true}, {"+3", 3, "", true}, {"007", 7, "", true},
		{"1e3", 1000, "", true}, {".5", 0.5, "", true}, {"5.", 5, "", true}, {"\u00a012", 12, "", true},
		{"12,5", 12.5, lenient.KindDecimalComma, true}, {"0,234", 0.234, lenient.KindDecimalComma, true},
		{"1234,567", 1234.567, lenient.KindDecimalComma, true}, {"-1,5", -1.5, lenient.KindDecimalComma, true},
		{"1,234", 0, "", false}, {"1.234,5", 0, "", false}, {"1,234.5", 0, "", false}, {"1,2,3", 0, "", false},
		{"", 0, "", false}, {"null", 0, "", false}, {"NaN", 0, "", false}, {"inf", 0, "", false}, {"12 kWh", 0, "", false},
		{"--1", 0, "", false}, {"1e", 0, "", false}, {"1e999", 0, "", false}, {"0x10", 0, "", false}, {".", 0, "", false}, {",", 0, "", false},
	}
	for _, tt := range tests {
		got, kind, ok := lenient.ParseNumber(tt.text)
		if got != tt.want || kind != tt.kind || ok != tt.ok {
			t.Errorf("%q: got %v, %q, %v; want %v, %q, %v", tt.text, got, kind, ok, tt.want, tt.kind, tt.ok)
		}
	}
}

func TestFoldWord(t *testing.T) {
	for text, want := range map[string]string{"Accepted": "Accepted", " accepted\t": "Accepted", "REJECTED": "Rejected", "Maybe": "Maybe", "": ""} {
		if got := lenient.FoldWord(words, text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzReader holds the reader against encoding/json: both find the same
// payloads well-formed, and the scanner too.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`{"text":"t","int":1}`, `{"text":1,"int":"1,5","num":-0.0e-1,"parts":{"name":"\ud83d\udd0c"},"Raw":[null]}`, `[{"text":"t"}]`,
		`{"text":"t","int":1,"time":"2026-11-22 06:01:02.5+01","bool":"1","x":{"a":[{}]}}`, `null`, `{"text":["t",2],"parts":[[{"name":"a"}]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, deviations, err := decode(string(data))
		start := lenient.Space(data, 0)
		end, scanErr := lenient.Scan(data, start, lenient.MaxDepth)
		wellFormed := scanErr == nil && lenient.Space(data, end) == len(data)
		if wellFormed && !json.Valid(data) {
			t.Fatalf("%q was scanned, encoding/json refuses it", data)
		}
		if !wellFormed && json.Valid(data) && !strings.Contains(fmt.Sprint(scanErr), "less nesting") {
			t.Fatalf("%q: %v, encoding/json takes it", data, scanErr)
		}
		problems, bad := errors.AsType[*lenient.Error](err)
		if broken := bad && problems.Class() == lenient.ClassFormat; broken == wellFormed {
			t.Fatalf("%q: well-formed is %v, error %v", data, wellFormed, err)
		}
		if len(deviations) > lenient.MaxRecords {
			t.Fatalf("%d deviations", len(deviations))
		}
	})
}
