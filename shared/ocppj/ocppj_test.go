package ocppj_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"github.com/chargeyard/chargeyard/shared/schema"
)

// golden returns the lines of a file in testdata that are no comments.
func golden(t testing.TB, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// equal compares all of two frames but Repaired.
func equal(a, b ocppj.Frame) bool {
	return a.Type == b.Type && a.ID == b.ID && a.Action == b.Action && a.Code == b.Code && a.Description == b.Description &&
		bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.Details, b.Details)
}

// TestGolden reads real frames, holds them against encoding/json and writes
// them again.
func TestGolden(t *testing.T) {
	frames := golden(t, "frames.txt")
	if len(frames) < 15 {
		t.Fatalf("expected at least 15 frames, got %d", len(frames))
	}
	for _, text := range frames {
		f, err := ocppj.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if f.Repaired {
			t.Errorf("%s: repaired", text)
		}
		var want []any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		var got []any
		if err := json.Unmarshal(f.Append(nil), &got); err != nil {
			t.Fatalf("%s was written as %s: %v", text, f.Append(nil), err)
		}
		if a, b := mustJSON(t, got), mustJSON(t, want); a != b {
			t.Errorf("%s was written as %s", b, a)
		}
		again, err := ocppj.Parse(f.Append(nil))
		if err != nil || !equal(f, again) || again.Repaired {
			t.Errorf("%s: %+v became %+v, %v", text, f, again, err)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestPayloadIsPart checks that the payload is not copied.
func TestPayloadIsPart(t *testing.T) {
	data := []byte(`[2,"1","Heartbeat",{"a":1}]`)
	f, err := ocppj.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if &f.Payload[0] != &data[19] {
		t.Error("the payload was copied")
	}
	f.Payload = append(f.Payload, 'x')
	if string(data) != `[2,"1","Heartbeat",{"a":1}]` {
		t.Errorf("appending to the payload changed the frame to %s", data)
	}
}

func TestTolerated(t *testing.T) {
	tests := []struct {
		name, text string
		want       ocppj.Frame
	}{
		{"null payload", `[2,"1","Heartbeat",null]`, ocppj.Frame{Type: ocppj.Call, ID: "1", Action: "Heartbeat", Payload: json.RawMessage(`{}`)}},
		{"id without quotes", `[2,4711,"Heartbeat",{}]`, ocppj.Frame{Type: ocppj.Call, ID: "4711", Action: "Heartbeat", Payload: json.RawMessage(`{}`), Repaired: true}},
		{"type in quotes", `["3","1",{}]`, ocppj.Frame{Type: ocppj.CallResult, ID: "1", Payload: json.RawMessage(`{}`), Repaired: true}},
		{"byte order mark", "\uFEFF[3,\"1\",{}]", ocppj.Frame{Type: ocppj.CallResult, ID: "1", Payload: json.RawMessage(`{}`), Repaired: true}},
		{"long id", `[3,"` + strings.Repeat("i", 255) + `",{}]`, ocppj.Frame{Type: ocppj.CallResult, ID: strings.Repeat("i", 255), Payload: json.RawMessage(`{}`)}},
		{"one element more", `[3,"1",{},{"x":1}]`, ocppj.Frame{Type: ocppj.CallResult, ID: "1", Payload: json.RawMessage(`{}`), Repaired: true}},
		{"error without details", `[4,"1","GenericError","text"]`, ocppj.Frame{Type: ocppj.CallError, ID: "1", Code: "GenericError", Description: "text", Details: json.RawMessage(`{}`), Repaired: true}},
		{"error with code alone", `[4,"1","GenericError"]`, ocppj.Frame{Type: ocppj.CallError, ID: "1", Code: "GenericError", Details: json.RawMessage(`{}`), Repaired: true}},
		{"error with nulls", `[4,"1","GenericError",null,null]`, ocppj.Frame{Type: ocppj.CallError, ID: "1", Code: "GenericError", Details: json.RawMessage(`{}`), Repaired: true}},
		// what issue threads report of real chargers
		{"quirk 16, value missing", `[2,"1","StopTransaction",{"transactionId":,"meterStop":5}]`, ocppj.Frame{Type: ocppj.Call, ID: "1", Action: "StopTransaction", Payload: json.RawMessage(`{"transactionId":null,"meterStop":5}`), Repaired: true}},
		{"quirk 16, last value missing", `[2,"1","StopTransaction",{"meterStop":5,"transactionId": }]`, ocppj.Frame{Type: ocppj.Call, ID: "1", Action: "StopTransaction", Payload: json.RawMessage(`{"meterStop":5,"transactionId": null}`), Repaired: true}},
		{"quirk 17, comma before the first", `[2,"1","MeterValues",{"meterValue":[,{"sampledValue":[ ,{"value":"1,,2"}]}]}]`, ocppj.Frame{Type: ocppj.Call, ID: "1", Action: "MeterValues", Payload: json.RawMessage(`{"meterValue":[{"sampledValue":[ {"value":"1,,2"}]}]}`), Repaired: true}},
		{"quirk 17, comma after the last", `[2,"1","A",{"a":[1,2,],"b":3, }]`, ocppj.Frame{Type: ocppj.Call, ID: "1", Action: "A", Payload: json.RawMessage(`{"a":[1,2],"b":3 }`), Repaired: true}},
		{"quirk 17, two commas", `[2,"1","A",{"a":[1, ,2],,"b":"\"},{"}]`, ocppj.Frame{Type: ocppj.Call, ID: "1", Action: "A", Payload: json.RawMessage(`{"a":[1, 2],"b":"\"},{"}`), Repaired: true}},
		{"quirk 17, comma after the payload", `[2,"1","A",{},]`, ocppj.Frame{Type: ocppj.Call, ID: "1", Action: "A", Payload: json.RawMessage(`{}`), Repaired: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ocppj.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if !equal(f, tt.want) || f.Repaired != tt.want.Repaired {
				t.Errorf("got %+v\nwant %+v", f, tt.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	deep := strings.Repeat("[", ocppj.MaxDepth+1) + strings.Repeat("]", ocppj.MaxDepth+1)
	tests := []struct {
		name, text string
		id         string
		typ        ocppj.MessageType
		code       ocppj.ErrorCode
	}{
		{"empty", ``, "", 0, ocppj.FormatViolation},
		{"blank", " \n", "", 0, ocppj.FormatViolation},
		{"no array", `{"a":1}`, "", 0, ocppj.FormatViolation},
		{"no array, with a pair like a head inside", `{"a":2,"b":1}`, "", 0, ocppj.FormatViolation},
		{"empty array", `[]`, "", 0, ocppj.FormatViolation},
		{"text for the type", `["CALL","1","Heartbeat",{}]`, "", 0, ocppj.ProtocolError},
		{"object for the id", `[2,{"x":2,"y":"z"},"Heartbeat",{}]`, "", ocppj.Call, ocppj.RPCFrameworkError},
		{"null for the id", `[2,null,"Heartbeat",{}]`, "", ocppj.Call, ocppj.RPCFrameworkError},
		{"id of 256 bytes", `[2,"` + strings.Repeat("i", 256) + `","Heartbeat",{}]`, "", ocppj.Call, ocppj.RPCFrameworkError},
		{"type 0", `[0,"1"]`, "1", 0, ocppj.MessageTypeNotSupported},
		{"type 7", `[7,"1",{}]`, "1", 7, ocppj.MessageTypeNotSupported},
		{"no id", `[3]`, "", ocppj.CallResult, ocppj.ProtocolError},
		{"no action", `[2,"1"]`, "1", ocppj.Call, ocppj.ProtocolError},
		{"no payload", `[2,"1","Heartbeat"]`, "1", ocppj.Call, ocppj.ProtocolError},
		{"quirk 19, no payload in an answer", `[3,"1"]`, "1", ocppj.CallResult, ocppj.ProtocolError},
		{"number for the action", `[2,"1",5,{}]`, "1", ocppj.Call, ocppj.ProtocolError},
		{"empty action", `[2,"1","",{}]`, "1", ocppj.Call, ocppj.ProtocolError},
		{"number for the code", `[4,"1",5,"",{}]`, "1", ocppj.CallError, ocppj.ProtocolError},
		{"empty place before the details", `[4,"1","GenericError",,{}]`, "1", ocppj.CallError, ocppj.FormatViolation},
		{"cut in the payload", `[2,"1","StartTransaction",{"connectorId":1,"idT`, "1", ocppj.Call, ocppj.FormatViolation},
		{"cut after the id", `[2,"1"`, "1", ocppj.Call, ocppj.FormatViolation},
		{"cut in the id", `[2,"1`, "", ocppj.Call, ocppj.FormatViolation},
		{"no brackets", `2,"1","Heartbeat",{}`, "1", ocppj.Call, ocppj.FormatViolation},
		{"text before", `>> [2,"1","Heartbeat",{}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"no comma after the type", `[2 "1","Heartbeat",{}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"two frames", `[2,"1","Heartbeat",{}][2,"2","Heartbeat",{}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"NUL behind", "[2,\"1\",\"Heartbeat\",{}]\x00", "1", ocppj.Call, ocppj.FormatViolation},
		{"not UTF-8 in the payload", "[2,\"1\",\"DataTransfer\",{\"vendorId\":\"\xff\"}]", "1", ocppj.Call, ocppj.FormatViolation},
		{"not UTF-8 in the id", "[2,\"\xff\",\"Heartbeat\",{}]", "", 0, ocppj.FormatViolation},
		{"nested too deep", `[2,"1","DataTransfer",` + deep + `]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"control character", "[2,\"1\",\"DataTransfer\",{\"data\":\"a\nb\"}]", "1", ocppj.Call, ocppj.FormatViolation},
		{"wrong escape", `[2,"1","DataTransfer",{"data":"\x41"}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"number with leading zero", `[2,"1","A",{"a":012}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"NaN", `[2,"1","A",{"a":NaN}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"single quotes", `[2,"1","A",{'a':1}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"no colon", `[2,"1","A",{"a" 1}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"unclosed", `[2,"1","A",{"a":1]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"unknown word", `[2,"1","A",{"a":nul}]`, "1", ocppj.Call, ocppj.FormatViolation},
		{"number without digits", `[2,"1","A",{"a":-}]`, "1", ocppj.Call, ocppj.FormatViolation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ocppj.Parse([]byte(tt.text))
			parse, ok := errors.AsType[*ocppj.ParseError](err)
			if !ok {
				t.Fatalf("got %+v, %v", f, err)
			}
			if parse.ID != tt.id || parse.Type != tt.typ || parse.Code != tt.code {
				t.Errorf("got id %q, type %d, code %s; want %q, %d, %s (%v)", parse.ID, parse.Type, parse.Code, tt.id, tt.typ, tt.code, err)
			}
			if parse.Reason == "" || !utf8.ValidString(parse.Error()) {
				t.Errorf("reason %q", parse.Reason)
			}
		})
	}
}

// TestDepth takes exactly as many levels as it promises.
func TestDepth(t *testing.T) {
	for _, tt := range []struct {
		levels int
		ok     bool
	}{{ocppj.MaxDepth, true}, {ocppj.MaxDepth + 1, false}, {500_000, false}} {
		text := `[2,"1","A",` + strings.Repeat(`[`, tt.levels) + strings.Repeat("]", tt.levels) + `]`
		if _, err := ocppj.Parse([]byte(text)); (err == nil) != tt.ok {
			t.Errorf("%d levels: %v", tt.levels, err)
		}
	}
}

func TestAppend(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"call", ocppj.AppendCall(nil, "1", "Reset", []byte(`{"type":"Soft"}`)), `[2,"1","Reset",{"type":"Soft"}]`},
		{"call without payload", ocppj.AppendCall(nil, "1", "ClearCache", nil), `[2,"1","ClearCache",{}]`},
		{"result", ocppj.AppendResult([]byte("x"), "1", []byte(`{"a":1}`)), `x[3,"1",{"a":1}]`},
		{"error", ocppj.AppendError(nil, "1", ocppj.NotImplemented, "no \"Foo\"", nil), `[4,"1","NotImplemented","no \"Foo\"",{}]`},
		{"result error", ocppj.AppendResultError(nil, "1", ocppj.FormatViolation, "", []byte(`{"a":1}`)), `[5,"1","FormatViolation","",{"a":1}]`},
		{"send", ocppj.AppendSend(nil, "1", "NotifyPeriodicEventStream", []byte(`{}`)), `[6,"1","NotifyPeriodicEventStream",{}]`},
		{"id with quote", ocppj.AppendResult(nil, "a\"\\\n\x01\xff", nil), `[3,"a\"\\\n\u0001` + "\uFFFD" + `",{}]`},
		{"long description", ocppj.AppendError(nil, "1", ocppj.GenericError, strings.Repeat("ü", 300), nil), `[4,"1","GenericError","` + strings.Repeat("ü", 255) + `",{}]`},
		{"no type", ocppj.Frame{}.Append(nil), ``},
	}
	for _, tt := range tests {
		if string(tt.got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

// TestCodeFor checks the table of error codes: what each version knows, in its
// spelling.
func TestCodeFor(t *testing.T) {
	tests := []struct {
		code     ocppj.ErrorCode
		v16, v2x ocppj.ErrorCode
	}{
		{"NotImplemented", "NotImplemented", "NotImplemented"},
		{"NotSupported", "NotSupported", "NotSupported"},
		{"InternalError", "InternalError", "InternalError"},
		{"ProtocolError", "ProtocolError", "ProtocolError"},
		{"SecurityError", "SecurityError", "SecurityError"},
		{"FormationViolation", "FormationViolation", "FormatViolation"},
		{"FormatViolation", "FormationViolation", "FormatViolation"},
		{"PropertyConstraintViolation", "PropertyConstraintViolation", "PropertyConstraintViolation"},
		{"OccurenceConstraintViolation", "OccurenceConstraintViolation", "OccurrenceConstraintViolation"},
		{"OccurrenceConstraintViolation", "OccurenceConstraintViolation", "OccurrenceConstraintViolation"},
		{"TypeConstraintViolation", "TypeConstraintViolation", "TypeConstraintViolation"},
		{"GenericError", "GenericError", "GenericError"},
		{"MessageTypeNotSupported", "GenericError", "MessageTypeNotSupported"},
		{"RpcFrameworkError", "ProtocolError", "RpcFrameworkError"},
		{"SomethingOfTheVendor", "GenericError", "GenericError"},
	}
	for _, tt := range tests {
		if got := tt.code.For(ocppj.V16); got != tt.v16 {
			t.Errorf("%s for 1.6: %s, want %s", tt.code, got, tt.v16)
		}
		for _, version := range []string{ocppj.V201, ocppj.V21} {
			if got := tt.code.For(version); got != tt.v2x {
				t.Errorf("%s for %s: %s, want %s", tt.code, version, got, tt.v2x)
			}
		}
	}
}

func TestCodeOf(t *testing.T) {
	problems := func(classes ...lenient.Class) error {
		e := &lenient.Error{}
		for _, c := range classes {
			e.Problems = append(e.Problems, lenient.Problem{Class: c})
		}
		return e
	}
	violation := func(r schema.Rule) error {
		return &schema.ValidationError{Violations: []schema.Violation{{Rule: r}}}
	}
	tests := []struct {
		err  error
		want ocppj.ErrorCode
	}{
		{problems(lenient.ClassOccurrence), ocppj.OccurrenceConstraintViolation},
		{problems(lenient.ClassOccurrence, lenient.ClassType), ocppj.TypeConstraintViolation},
		{problems(lenient.ClassFormat, lenient.ClassType), ocppj.FormatViolation},
		{problems(lenient.ClassOccurrence, lenient.ClassProperty), ocppj.PropertyConstraintViolation},
		{violation(schema.MaxLength), ocppj.PropertyConstraintViolation},
		{violation(schema.MinItems), ocppj.OccurrenceConstraintViolation},
		{violation(schema.Format), ocppj.PropertyConstraintViolation},
		{violation(schema.MaxItems), ocppj.OccurrenceConstraintViolation},
		{violation(schema.Enum), ocppj.PropertyConstraintViolation},
		{&ocppj.ParseError{Code: ocppj.ProtocolError}, ocppj.ProtocolError},
		{errors.Join(errors.New("decode Authorize"), problems(lenient.ClassType)), ocppj.TypeConstraintViolation},
		{errors.New("disk full"), ocppj.InternalError},
	}
	for _, tt := range tests {
		if got := ocppj.CodeOf(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

// TestRefuse checks what strict mode says of every kind of deviation, in the
// spelling of both lines.
func TestRefuse(t *testing.T) {
	tests := []struct {
		kind     lenient.Kind
		v16, v2x ocppj.ErrorCode
	}{
		{lenient.KindNull, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindUnknownField, "FormationViolation", "FormatViolation"},
		{lenient.KindDuplicateKey, "FormationViolation", "FormatViolation"},
		{lenient.KindKeyCase, "FormationViolation", "FormatViolation"},
		{lenient.KindNumberAsText, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindDecimalComma, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindFraction, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindTextAsNumber, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindTextAsBool, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindTextAsJSON, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindBoolAsText, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindBoolAsNumber, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindArrayForOne, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindOneForArray, "TypeConstraintViolation", "TypeConstraintViolation"},
		{lenient.KindEmptyList, "OccurenceConstraintViolation", "OccurrenceConstraintViolation"},
		{lenient.KindUnknownWord, "PropertyConstraintViolation", "PropertyConstraintViolation"},
		{lenient.KindBadUTF8, "FormationViolation", "FormatViolation"},
		{lenient.KindTimeWithoutZone, "PropertyConstraintViolation", "PropertyConstraintViolation"},
		{lenient.KindTimeForm, "PropertyConstraintViolation", "PropertyConstraintViolation"},
		{lenient.KindTimeUnreadable, "PropertyConstraintViolation", "PropertyConstraintViolation"},
		{lenient.KindTimeUnset, "", ""},
		{lenient.KindUnreadable, "TypeConstraintViolation", "TypeConstraintViolation"},
	}
	for _, tt := range tests {
		found := []lenient.Deviation{{Kind: lenient.KindTimeUnset}, {Path: "evse.id", Kind: tt.kind, Text: "x"}}
		for _, version := range []string{ocppj.V16, ocppj.V201, ocppj.V21} {
			want := tt.v2x
			if version == ocppj.V16 {
				want = tt.v16
			}
			code, description := ocppj.Refuse(version, found, nil)
			if code != want {
				t.Errorf("%s in %s: %s, want %s", tt.kind, version, code, want)
			}
			if want != "" && (!strings.HasPrefix(description, "evse.id: expected ") || !strings.HasSuffix(description, ", got x")) {
				t.Errorf("%s in %s: %q", tt.kind, version, description)
			}
		}
	}
	missing := &lenient.Error{Problems: []lenient.Problem{{Path: "evse.id", Class: lenient.ClassOccurrence, Want: "a value"}}}
	for _, tt := range []struct {
		name        string
		found       []lenient.Deviation
		err         error
		code        ocppj.ErrorCode
		description string
	}{
		{"clean", nil, nil, "", ""},
		{"an error before deviations", []lenient.Deviation{{Path: "a", Kind: lenient.KindNull}}, missing, ocppj.OccurenceConstraintViolation, "evse.id: missing, expected a value"},
		{"the payload itself", []lenient.Deviation{{Kind: lenient.KindNull, Text: "null"}}, nil, ocppj.TypeConstraintViolation, "payload: expected a value or no field, got null"},
		{"a kind of later", []lenient.Deviation{{Path: "a", Kind: "odd"}}, nil, ocppj.FormationViolation, "a: expected what the schema says (odd)"},
		{"long", []lenient.Deviation{{Path: strings.Repeat("a", 300), Kind: lenient.KindNull}}, nil, ocppj.TypeConstraintViolation, strings.Repeat("a", 255)},
	} {
		if code, description := ocppj.Refuse(ocppj.V16, tt.found, tt.err); code != tt.code || description != tt.description {
			t.Errorf("%s: %s, %q; want %s, %q", tt.name, code, description, tt.code, tt.description)
		}
	}
}

func TestMessageTypeString(t *testing.T) {
	for typ, want := range map[ocppj.MessageType]string{2: "CALL", 3: "CALLRESULT", 4: "CALLERROR", 5: "CALLRESULTERROR", 6: "SEND", 9: "message type 9"} {
		if got := typ.String(); got != want {
			t.Errorf("%d: %s, want %s", int(typ), got, want)
		}
	}
}

// FuzzParse: nothing panics; a frame that parses is JSON, and written again it
// parses to the same frame; an id that an error carries stood in the input.
func FuzzParse(f *testing.F) {
	for _, text := range golden(f, "frames.txt") {
		f.Add([]byte(text))
	}
	for _, text := range golden(f, "damaged.txt") {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		frame, err := ocppj.Parse(data)
		if string(data) != before {
			t.Fatalf("parsing changed %q to %q", before, data)
		}
		if err != nil {
			parse, ok := errors.AsType[*ocppj.ParseError](err)
			if !ok {
				t.Fatalf("expected a *ParseError, got %T", err)
			}
			if parse.Code == "" || parse.Reason == "" || len(parse.ID) > ocppj.MaxIDBytes || !utf8.ValidString(parse.ID) {
				t.Fatalf("%q: %+v", data, parse)
			}
			if !strings.Contains(before, parse.ID) && !strings.Contains(before, `\`) { // an escape may stand for a part of it
				t.Fatalf("%q: the id %q is not in it", data, parse.ID)
			}
			return
		}
		if !frame.Repaired && !json.Valid(data) {
			t.Fatalf("%q is no JSON and was not repaired", data)
		}
		written := frame.Append(nil)
		if !json.Valid(written) {
			t.Fatalf("%q was written as %q", data, written)
		}
		again, err := ocppj.Parse(written)
		if err != nil {
			t.Fatalf("%q was written as %q: %v", data, written, err)
		}
		if utf8.RuneCountInString(frame.Description) > ocppj.MaxDescription {
			frame.Description = again.Description // cut on the way out
		}
		if !equal(frame, again) || again.Repaired {
			t.Fatalf("%q: %+v became %+v", data, frame, again)
		}
	})
}
