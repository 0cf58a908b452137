package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

func TestTopic(t *testing.T) {
	for _, tt := range []struct {
		kind  wire.Kind
		sub   []string
		topic string
	}{
		{wire.KindHello, nil, "cy/1/gw-1/hello"},
		{wire.KindUp, []string{"events"}, "cy/1/gw-1/up/events"},
		{wire.KindDesired, []string{"tokens-3f"}, "cy/1/gw-1/desired/tokens-3f"},
	} {
		if got := wire.Topic("gw-1", tt.kind, tt.sub...); got != tt.topic {
			t.Errorf("got %s, want %s", got, tt.topic)
		}
		g, k, sub, err := wire.ParseTopic(tt.topic)
		if err != nil || g != "gw-1" || k != tt.kind || sub != strings.Join(tt.sub, "/") {
			t.Errorf("%s reads as %q %q %q, %v", tt.topic, g, k, sub, err)
		}
	}
	for _, bad := range []string{"", "cy/1", "cy/1/gw-1", "cy/2/gw-1/up/events", "cy/1/GW/hello", "cy/1/-a/hello", "cy/1/a/b/c/d", "cy/1/" + strings.Repeat("a", 41) + "/hello"} {
		if g, _, _, err := wire.ParseTopic(bad); err == nil {
			t.Errorf("%q reads as gateway %q, want an error", bad, g)
		}
	}
}

func TestTokenSection(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range []string{"04a1b2c3", "04A1B2C3", " 04A1B2C3 "} {
		seen[wire.TokenSection(v)] = true
	}
	if len(seen) != 1 {
		t.Errorf("one token in several sections: %v", seen)
	}
	for i := range 5000 {
		seen[wire.TokenSection(string(rune('a'+i)))] = true
	}
	if len(seen) != wire.TokenSections || !seen["tokens-00"] || !seen["tokens-3f"] {
		t.Errorf("%d sections in use, want tokens-00 to tokens-3f", len(seen))
	}
}

func TestInForce(t *testing.T) {
	none := wire.Revision([]byte(`{"tokens":[]}`))
	for _, tt := range []struct {
		section, has, want string
		inForce            bool
	}{
		{"tokens-00", none, none, true},
		{"tokens-00", "", none, true},
		{"tokens-00", "other", none, false},
		{"tokens-00", none, "other", false},
		{"tokens-00", "", "other", false},
		{"site", "", none, false},
		{"site", "other", "other", true},
	} {
		if got := wire.InForce(tt.section, tt.has, tt.want); got != tt.inForce {
			t.Errorf("%s has %q, wants %q: in force is %v", tt.section, tt.has, tt.want, got)
		}
	}
	// The empty section is encoded by the types as the constant says.
	b, err := json.Marshal(wire.Tokens{Tokens: []wire.TokenEntry{}})
	if err != nil || wire.Revision(b) != none {
		t.Errorf("an empty section is %s", b)
	}
}

func TestPack(t *testing.T) {
	for _, plain := range [][]byte{nil, []byte("[]"), bytes.Repeat([]byte("charging "), 20_000), []byte(strings.Repeat("x", 600))} {
		packed := wire.Pack(plain)
		if len(packed) > len(plain) {
			t.Errorf("%d bytes grew to %d", len(plain), len(packed))
		}
		got, err := wire.Unpack(packed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes came back as %d: %v", len(plain), len(got), err)
		}
	}
	for name, bad := range map[string][]byte{
		"over the limit":        make([]byte, wire.MaxWire+1),
		"bomb":                  wire.Pack(make([]byte, wire.MaxUnpacked+1)),
		"magic and then nought": {0x28, 0xb5, 0x2f, 0xfd},
	} {
		if _, err := wire.Unpack(bad); !errors.Is(err, wire.ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func batch(t *testing.T, numbers ...uint64) []byte {
	t.Helper()
	b := wire.NewBatcher("0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55")
	for _, n := range numbers {
		tail, err := event.AppendTail(nil, "gw-1", &event.Draft{Data: &event.MeterRead{}})
		if err != nil {
			t.Fatal(err)
		}
		b.Add(n, tail)
	}
	got := b.Batch()
	if got.First != numbers[0] || got.Last != numbers[len(numbers)-1] {
		t.Errorf("batch says %d to %d", got.First, got.Last)
	}
	return got.JSON
}

func TestBatch(t *testing.T) {
	events, err := wire.ParseBatch(wire.Pack(batch(t, 7, 8, 10)))
	if err != nil || len(events) != 3 || events[2].Sequence != "000000000000000a" {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for name, bad := range map[string][]byte{
		"not JSON": []byte("hello"), "an object": []byte("{}"), "empty": []byte("[]"), "null": []byte("null"),
		"falling": batch(t, 8, 7), "twice": batch(t, 8, 8), "no id": []byte(`[{"type":"x"}]`),
		"two streams": bytes.Replace(batch(t, 1, 2), []byte(`f55/0000000000000002`), []byte(`f56/0000000000000002`), 1),
		"truncated":   batch(t, 1, 2)[:100],
	} {
		if _, err := wire.ParseBatch(bad); !errors.Is(err, wire.ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The published examples read into the types and say the same when written
// again: both ends are held to them.
func TestExamples(t *testing.T) {
	for name, v := range map[string]any{
		"hello": &wire.Hello{}, "welcome": &wire.Welcome{}, "ack": &wire.Ack{}, "order": &wire.Order{}, "ask": &wire.Ask{},
		"answer": &wire.Answer{}, "desired": &wire.Desired{}, "live": &wire.Live{}, "status": &wire.Status{},
	} {
		raw, err := os.ReadFile(filepath.Join("../examples/messages", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, v); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if json.Unmarshal(raw, &want) != nil || json.Unmarshal(again, &got) != nil || !reflect.DeepEqual(want, got) {
			t.Errorf("%s changed on the way:\n%s\n%s", name, raw, again)
		}
	}
}

func TestOrderCancel(t *testing.T) {
	b, err := json.Marshal(wire.Order{Cancel: "c1"})
	if err != nil || string(b) != `{"cancel":"c1"}` {
		t.Fatalf("%s, %v", b, err)
	}
	o, err := wire.Decode[wire.Order](b)
	if err != nil || o.Cancel != "c1" || o.ID != "" {
		t.Errorf("%+v, %v", o, err)
	}
}

// No payload makes the parsers panic, and what parses is in order.
func FuzzParseBatch(f *testing.F) {
	raw, err := os.ReadFile("../examples/events/session.started.json")
	if err != nil {
		f.Fatal(err)
	}
	one := append(append([]byte("["), raw...), ']')
	f.Add(one)
	f.Add(wire.Pack(bytes.Repeat(one, 3)))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		events, err := wire.ParseBatch(payload)
		if err != nil {
			if !errors.Is(err, wire.ErrNotOurs) {
				t.Fatalf("%v is not ErrNotOurs", err)
			}
			return
		}
		var last uint64
		for _, e := range events {
			id, err := e.EventID()
			if err != nil || id.Sequence <= last && last > 0 {
				t.Fatalf("%v after %d: %v", id, last, err)
			}
			last = id.Sequence
		}
	})
}
