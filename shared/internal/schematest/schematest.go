// Package schematest holds the messages of an OCPP version against the schemas
// that they were generated from. Each of the packages ocpp16, ocpp201 and
// ocpp21 calls it from its tests.
package schematest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Message is what the messages of all versions have in common.
type Message interface {
	Action() string
	Decode(payload []byte) ([]lenient.Deviation, error)
	AppendJSON(b []byte) []byte
	Validate() error
}

// Version is one version under test.
type Version struct {
	Name     string // 2.0.1, also the folder of its schemas
	Protocol string // ocpp2.0.1
	Messages int    // how many it has
	// NewRequest and NewResponse return an empty message for an action, or nil.
	NewRequest, NewResponse func(action string) Message
}

// Instance is a line of testdata/instances.jsonl.gz: a payload with the verdict
// of a JSON Schema validator, written by scripts/ocppgen.
type Instance struct {
	Message string // AuthorizeRequest
	Case    string // what is special about it
	Valid   bool
	Exact   bool // decoding and writing it again gives the same value
	Payload json.RawMessage
}

// Load reads instances from a file.
func Load(path string) (list []Instance, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lines := bufio.NewScanner(unpacked)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var i Instance
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, i)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// load reads the instances of the package under test.
func (v Version) load(t *testing.T) []Instance {
	t.Helper()
	list, err := Load(filepath.Join("testdata", "instances.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 3000 {
		t.Fatalf("expected more than 3,000 instances, got %d", len(list))
	}
	return list
}

// New returns an empty AuthorizeRequest for "AuthorizeRequest".
func (v Version) New(tb testing.TB, name string) Message {
	tb.Helper()
	var m Message
	if action, ok := strings.CutSuffix(name, "Request"); ok {
		m = v.NewRequest(action)
	} else if action, ok := strings.CutSuffix(name, "Response"); ok {
		m = v.NewResponse(action)
	}
	if m == nil {
		tb.Fatalf("no message is called %s", name)
	}
	return m
}

// Verdicts holds Decode and Validate against a JSON Schema validator: what it
// accepts they find clean, and what it refuses they object to, be it with a
// deviation, a problem or a violation.
func (v Version) Verdicts(t *testing.T) {
	seen := map[string]int{}
	for _, i := range v.load(t) {
		m := v.New(t, i.Message)
		deviations, err := m.Decode(i.Payload)
		invalid := m.Validate()
		clean := len(deviations) == 0 && err == nil && invalid == nil
		if clean != i.Valid {
			t.Errorf("%s, %s: valid is %v; deviations %v, problems %v, violations %v\n%.200s", i.Message, i.Case, i.Valid, deviations, err, invalid, i.Payload)
		}
		if i.Exact {
			if again := m.AppendJSON(nil); !SameJSON(t, again, i.Payload) {
				t.Errorf("%s, %s: %.200s became %.200s", i.Message, i.Case, i.Payload, again)
			}
		}
		seen[i.Message]++
	}
	if len(seen) != v.Messages {
		t.Errorf("expected instances of %d messages, got %d", v.Messages, len(seen))
	}
}

// Refusals shows that strict mode refuses exactly what the schemas do, with the
// codes of the version: ocppj.Refuse with what Decode and Validate found.
func (v Version) Refusals(t *testing.T) {
	occurrence, syntax := ocppj.OccurrenceConstraintViolation.For(v.Protocol), ocppj.FormatViolation.For(v.Protocol)
	met := map[ocppj.ErrorCode]int{}
	for _, i := range v.load(t) {
		m := v.New(t, i.Message)
		deviations, err := m.Decode(i.Payload)
		if err == nil && len(deviations) == 0 {
			err = m.Validate()
		}
		code, description := ocppj.Refuse(v.Protocol, deviations, err)
		met[code]++
		if (code == "") != i.Valid || (description == "") != i.Valid {
			t.Errorf("%s, %s: valid is %v, refused with %q: %s", i.Message, i.Case, i.Valid, code, description)
		}
		if i.Valid {
			continue
		}
		want := code
		switch words := strings.Fields(i.Case); {
		case strings.HasSuffix(i.Case, "with a field of its own"):
			want = syntax
		case slices.Contains(words, "without"), strings.HasSuffix(i.Case, "is empty"), strings.HasSuffix(i.Case, "is too long"):
			want = occurrence
		case strings.HasSuffix(i.Case, "characters"), strings.HasSuffix(i.Case, "its minimum"), strings.HasSuffix(i.Case, "its maximum"),
			strings.HasSuffix(i.Case, `is "NoSuchWord"`), strings.HasSuffix(i.Case, `is "yesterday"`), strings.HasSuffix(i.Case, `is "no uri"`):
			want = ocppj.PropertyConstraintViolation
		case strings.HasSuffix(i.Case, "is 4711"), strings.HasSuffix(i.Case, `is "16.5"`), strings.HasSuffix(i.Case, `is "true"`), strings.HasSuffix(i.Case, "is a text"):
			want = ocppj.TypeConstraintViolation
		}
		if code != want && !strings.HasSuffix(i.Case, "is an item without a list") {
			t.Errorf("%s, %s: refused with %s: %s; want %s", i.Message, i.Case, code, description, want)
		}
	}
	for _, code := range []ocppj.ErrorCode{"", occurrence, syntax, ocppj.PropertyConstraintViolation, ocppj.TypeConstraintViolation} {
		if met[code] < 10 {
			t.Errorf("code %q came %d times, expected more", code, met[code])
		}
	}
	if len(met) != 5 {
		t.Errorf("codes %v", met)
	}
}

// DecodeAgain shows that what a message held before leaves no trace in the next
// one that is decoded into it.
func (v Version) DecodeAgain(t *testing.T) {
	used := map[string]Message{}
	for _, i := range v.load(t) {
		fresh := v.New(t, i.Message)
		again := used[i.Message]
		if again == nil {
			again = v.New(t, i.Message)
			used[i.Message] = again
		}
		wantDeviations, wantErr := fresh.Decode(i.Payload)
		deviations, err := again.Decode(i.Payload)
		if !reflect.DeepEqual(deviations, wantDeviations) || !reflect.DeepEqual(err, wantErr) {
			t.Errorf("%s, %s: %v, %v; want %v, %v", i.Message, i.Case, deviations, err, wantDeviations, wantErr)
		}
		if got, want := all(again), all(fresh); got != want {
			t.Errorf("%s, %s: decoded as %.300s, want %.300s", i.Message, i.Case, got, want)
		}
	}
}

// all returns what a message holds, its unknown fields included.
func all(m Message) string {
	return fmt.Sprintf("%#v %s", reflect.ValueOf(m).Elem().FieldByName("Extra"), m.AppendJSON(nil))
}

// Schemas repeats the proof with the schemas themselves, which are not part of
// this repository: set OCPP_SCHEMAS to the folder that has them by version. It
// also shows that whatever Validate accepts is written as the schema wants it,
// however it came in.
func (v Version) Schemas(t *testing.T) {
	folder := os.Getenv("OCPP_SCHEMAS")
	if folder == "" {
		t.Skip("OCPP_SCHEMAS names no folder with schemas")
	}
	compiled := map[string]*jsonschema.Schema{}
	written := 0
	list := v.load(t)
	for _, i := range list {
		s := compiled[i.Message]
		if s == nil {
			s = v.compile(t, folder, i.Message)
			compiled[i.Message] = s
		}
		if valid := s.Validate(document(t, i.Payload)) == nil; valid != i.Valid {
			t.Errorf("%s, %s: the schema says %v, testdata says %v", i.Message, i.Case, valid, i.Valid)
		}
		m := v.New(t, i.Message)
		if _, err := m.Decode(i.Payload); err != nil || m.Validate() != nil {
			continue
		}
		written++
		if err := s.Validate(document(t, m.AppendJSON(nil))); err != nil {
			t.Errorf("%s, %s: written as %.300s: %v", i.Message, i.Case, m.AppendJSON(nil), err)
		}
	}
	if written < len(list)/3 {
		t.Errorf("expected a third of %d instances to be written again, got %d", len(list), written)
	}
}

// compile returns the schema of a message. Messages that are never answered
// have files without Request in the name.
func (v Version) compile(t *testing.T, folder, message string) *jsonschema.Schema {
	t.Helper()
	path := filepath.Join(folder, v.Name, message+".json")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(folder, v.Name, strings.TrimSuffix(message, "Request")+".json")
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func document(t *testing.T, data []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}

// SameJSON tells whether two texts are the same JSON value.
func SameJSON(tb testing.TB, a, b []byte) bool {
	tb.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		tb.Fatalf("%v: %s", err, a)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		tb.Fatalf("%v: %s", err, b)
	}
	return reflect.DeepEqual(x, y)
}
