package ocpp16_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// instance is a line of testdata/instances.jsonl: a payload with the verdict of
// a JSON Schema validator, written by scripts/ocppgen.
type instance struct {
	Message string
	Case    string
	Valid   bool
	Exact   bool // decoding and writing it again gives the same value
	Payload json.RawMessage
}

func instances(t *testing.T) []instance {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "instances.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var list []instance
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var i instance
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			t.Fatal(err)
		}
		list = append(list, i)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(list) < 3000 {
		t.Fatalf("expected some 3,000 instances, got %d", len(list))
	}
	return list
}

// newMessage returns an empty AuthorizeRequest for "AuthorizeRequest".
func newMessage(t testing.TB, name string) ocpp16.Message {
	t.Helper()
	if action, ok := strings.CutSuffix(name, "Request"); ok {
		if m, ok := ocpp16.NewRequest(action); ok {
			return m
		}
	}
	if action, ok := strings.CutSuffix(name, "Response"); ok {
		if m, ok := ocpp16.NewResponse(action); ok {
			return m
		}
	}
	t.Fatalf("no message is called %s", name)
	return nil
}

// TestVerdicts holds Decode and Validate against a JSON Schema validator: what
// it accepts they find clean, and what it refuses they object to, be it with a
// deviation, a problem or a violation.
func TestVerdicts(t *testing.T) {
	seen := map[string]int{}
	for _, i := range instances(t) {
		m := newMessage(t, i.Message)
		deviations, err := m.Decode(i.Payload)
		invalid := m.Validate()
		clean := len(deviations) == 0 && err == nil && invalid == nil
		if clean != i.Valid {
			t.Errorf("%s, %s: valid is %v; deviations %v, problems %v, violations %v\n%.200s", i.Message, i.Case, i.Valid, deviations, err, invalid, i.Payload)
		}
		if i.Exact {
			if again := m.AppendJSON(nil); !sameJSON(t, again, i.Payload) {
				t.Errorf("%s, %s: %.200s became %.200s", i.Message, i.Case, i.Payload, again)
			}
		}
		seen[i.Message]++
	}
	if len(seen) != 78 {
		t.Errorf("expected instances of 78 messages, got %d", len(seen))
	}
}

// What a message held before leaves no trace in the next one that is decoded
// into it.
func TestDecodeAgain(t *testing.T) {
	used := map[string]ocpp16.Message{}
	for _, i := range instances(t) {
		fresh := newMessage(t, i.Message)
		again := used[i.Message]
		if again == nil {
			again = newMessage(t, i.Message)
			used[i.Message] = again
		}
		wantDeviations, wantErr := fresh.Decode(i.Payload)
		deviations, err := again.Decode(i.Payload)
		if !reflect.DeepEqual(deviations, wantDeviations) || !reflect.DeepEqual(err, wantErr) {
			t.Errorf("%s, %s: %v, %v; want %v, %v", i.Message, i.Case, deviations, err, wantDeviations, wantErr)
		}
		got, want := fmt.Sprintf("%#v %s", reflect.ValueOf(again).Elem().FieldByName("Extra"), again.AppendJSON(nil)), fmt.Sprintf("%#v %s", reflect.ValueOf(fresh).Elem().FieldByName("Extra"), fresh.AppendJSON(nil))
		if got != want {
			t.Errorf("%s, %s: decoded as %.300s, want %.300s", i.Message, i.Case, got, want)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%v: %s", err, a)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return reflect.DeepEqual(x, y)
}

// TestSchemas repeats the proof with the schemas themselves, which are not part
// of this repository: set OCPP_SCHEMAS to the folder that has them in 1.6/. It
// also shows that whatever Validate accepts is written as the schema wants it,
// however it came in.
func TestSchemas(t *testing.T) {
	folder := os.Getenv("OCPP_SCHEMAS")
	if folder == "" {
		t.Skip("OCPP_SCHEMAS names no folder with schemas")
	}
	compiled := map[string]*jsonschema.Schema{}
	written := 0
	for _, i := range instances(t) {
		s := compiled[i.Message]
		if s == nil {
			c := jsonschema.NewCompiler()
			c.AssertFormat()
			var err error
			if s, err = c.Compile(filepath.Join(folder, "1.6", i.Message+".json")); err != nil {
				t.Fatal(err)
			}
			compiled[i.Message] = s
		}
		if valid := s.Validate(document(t, i.Payload)) == nil; valid != i.Valid {
			t.Errorf("%s, %s: the schema says %v, testdata says %v", i.Message, i.Case, valid, i.Valid)
		}
		m := newMessage(t, i.Message)
		if _, err := m.Decode(i.Payload); err != nil || m.Validate() != nil {
			continue
		}
		written++
		if err := s.Validate(document(t, m.AppendJSON(nil))); err != nil {
			t.Errorf("%s, %s: written as %.300s: %v", i.Message, i.Case, m.AppendJSON(nil), err)
		}
	}
	if written < 1500 {
		t.Errorf("expected more than 1,500 instances to be written again, got %d", written)
	}
}

func document(t *testing.T, data []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}
