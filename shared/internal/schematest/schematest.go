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
	"unicode/utf8"

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

// Golden reads the frames of testdata/frames.txt and writes them again: every
// message of the version is there, clean, valid, and comes out with the same
// fields and values as it came in.
func (v Version) Golden(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range v.frames(t) {
		f, line := g.Frame, g.line
		if f.Type != ocppj.CallResult {
			if unanswered := v.NewResponse(f.Action) == nil; unanswered != (f.Type == ocppj.Send) {
				t.Errorf("%s: %s without an answer: %v", line, f.Type, unanswered)
			}
		}
		m := v.New(t, g.message)
		seen[g.message] = true
		if deviations, err := m.Decode(f.Payload); err != nil || len(deviations) > 0 {
			t.Errorf("%s: %v, deviations %v", line, err, deviations)
		}
		if err := m.Validate(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		f.Payload = m.AppendJSON(nil)
		if again := f.Append(nil); !SameJSON(t, again, []byte(line)) {
			t.Errorf("%s became %s", line, again)
		}
	}
	if len(seen) != v.Messages {
		t.Errorf("expected frames of %d messages, got %d", v.Messages, len(seen))
	}
}

// frame is a line of testdata/frames.txt.
type frame struct {
	ocppj.Frame
	line    string
	message string // AuthorizeRequest
}

// frames reads the golden frames of the package under test.
func (v Version) frames(tb testing.TB) []frame {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "frames.txt"))
	if err != nil {
		tb.Fatal(err)
	}
	var list []frame
	actions := map[string]string{} // by id
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f, err := ocppj.Parse([]byte(line))
		if err != nil || f.Repaired {
			tb.Fatalf("%s: %v, repaired %v", line, err, f.Repaired)
		}
		switch f.Type {
		case ocppj.Call, ocppj.Send:
			actions[f.ID] = f.Action
			list = append(list, frame{f, line, f.Action + "Request"})
		case ocppj.CallResult:
			if actions[f.ID] == "" {
				tb.Fatalf("%s: no request has its id", line)
			}
			list = append(list, frame{f, line, actions[f.ID] + "Response"})
		default:
			tb.Fatalf("%s: expected a CALL, a CALLRESULT or a SEND", line)
		}
	}
	return list
}

// Seed is a payload to begin fuzzing with.
type Seed struct {
	Message, Payload string
}

// Fuzz gives any payload to any message. Nothing panics, memory for records is
// bounded, and what was understood can be written as JSON that reads back as the
// same. The golden frames are seeds, and each with its values in quotes.
func (v Version) Fuzz(f *testing.F, seeds ...Seed) {
	var names []string
	index := map[string]uint8{}
	add := func(message, payload string) {
		if _, ok := index[message]; !ok {
			index[message] = uint8(len(names))
			names = append(names, message)
		}
		f.Add(index[message], []byte(payload))
	}
	for _, g := range v.frames(f) {
		add(g.message, string(g.Payload))
		add(g.message, odd.Replace(string(g.Payload)))
	}
	for _, s := range seeds {
		add(s.Message, s.Payload)
	}
	if len(names) != v.Messages || len(names) > 256 {
		f.Fatalf("expected %d messages, at most 256, got %d", v.Messages, len(names))
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		name := names[int(which)%len(names)]
		first := v.New(t, name)
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
		invalid := first.Validate()
		if err == nil && len(deviations) == 0 && invalid == nil {
			if code, description := ocppj.Refuse(v.Protocol, deviations, err); code != "" {
				t.Errorf("a payload without fault is refused with %s: %s", code, description)
			}
		}

		written := first.AppendJSON(nil)
		if !json.Valid(written) {
			t.Fatalf("%s %q was written as %q", name, payload, written)
		}
		second := v.New(t, name)
		if _, err := second.Decode(written); err != nil {
			t.Fatalf("%s %q was written as %q: %v", name, payload, written, err)
		}
		if again := second.AppendJSON(nil); string(again) != string(written) {
			t.Fatalf("%s %q was written as %q, then as %q", name, payload, written, again)
		}
	})
}

// odd makes of a payload what a charger might: numbers in quotes, one value for
// a list, names in other case, null.
var odd = strings.NewReplacer(`:1,`, `:"1",`, `:16,`, `:"16,5",`, `:[{`, `:{`, `}]`, `}`, `"status"`, `"Status"`, `:true`, `:"TRUE"`, `:false`, `:null`, `Z"`, `"`)

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
