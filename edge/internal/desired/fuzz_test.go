package desired

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/chargeyard/chargeyard/shared/wire"
)

// FuzzContent: no content makes a section panic, and what is stored is read back.
func FuzzContent(f *testing.F) {
	f.Add(uint8(0), []byte(`{"tokens":[{"type":"rfid","value":"04A1","status":"accepted","expires":"2027-01-01T00:00:00Z"}]}`))
	f.Add(uint8(1), []byte(`{"stations":[{"identity":"CP 1","password_hash":"x"}]}`))
	f.Add(uint8(2), []byte(`{"fallback_a":{"CP1":6},"circuits":[{"name":"A","limit_a":63,"stations":["CP1"]}]}`))
	f.Add(uint8(3), []byte("{\"a\": \"<\u2028>\"}"))
	sections := []string{"tokens-00", "stations", "site", "tariffs"}
	f.Fuzz(func(t *testing.T, kind uint8, content []byte) {
		d := wire.Desired{Section: sections[int(kind)%len(sections)], Revision: "r", Content: content}
		if _, err := (&Store{}).parse(d); err != nil && !errors.Is(err, errUnknown) {
			return
		}
		b, err := encode(d)
		if err != nil {
			t.Fatalf("encode what could be parsed: %v", err)
		}
		back, err := decodeFile(d.Section, b)
		if err != nil {
			t.Fatalf("read back %q: %v", b, err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, content); err != nil || !bytes.Equal(back.Content, want.Bytes()) {
			t.Fatalf("content %q came back as %q", want.Bytes(), back.Content)
		}
	})
}

// FuzzFile: no file makes a start panic.
func FuzzFile(f *testing.F) {
	good, err := encode(wire.Desired{Section: "site", Revision: "r", Content: json.RawMessage(`{}`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"section":"site","revision":"r","sha256":"","content":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeFile("site", b)
		if err == nil && d.Revision == "" {
			t.Fatal("a section without revision")
		}
	})
}
