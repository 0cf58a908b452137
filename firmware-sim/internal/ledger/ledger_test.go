package ledger_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
)

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	at := time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)
	for range 2 { // the second run goes on in the same book
		l, err := ledger.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				l.Message(ledger.Message{Time: at, Station: "CP-1", Action: "Authorize", Payload: json.RawMessage(`{"idTag":"A"}`), Answer: json.RawMessage(`{}`), Confirmed: true, Attempts: 2, Created: at, FirstSent: &at})
				l.Order(ledger.Order{Time: at, Station: "CP-1", Action: "ClearCache", Payload: json.RawMessage(`{}`), Answer: json.RawMessage(`{}`)})
				l.Session(ledger.Session{Time: at, Station: "CP-1", Connector: 1, Transaction: 7, Start: at, Stop: at, Reason: "Local"})
			})
		}
		wg.Wait()
		if err := errors.Join(l.Err(), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for text := range strings.Lines(string(data)) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		kind, _ := line["kind"].(string)
		kinds[kind]++
		for _, field := range map[string][]string{
			"message": {"time", "station", "action", "payload", "answer", "confirmed", "pending", "attempts", "offline", "first_sent"},
			"order":   {"time", "station", "action", "payload", "answer"},
			"session": {"station", "connector", "token", "transaction", "start", "stop", "meter_start", "meter_stop", "reason", "samples"},
		}[kind] {
			if _, ok := line[field]; !ok {
				t.Errorf("a %s without %s: %s", kind, field, text)
			}
		}
	}
	if kinds["message"] != 8 || kinds["order"] != 8 || kinds["session"] != 8 {
		t.Errorf("lines %v, want 8 of each kind", kinds)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }
func (full) Close() error              { return nil }

func TestFullDisk(t *testing.T) {
	l := ledger.New(full{})
	l.Order(ledger.Order{})
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("%v", err)
	}
	if err := l.Close(); err == nil {
		t.Error("closing an incomplete ledger says nothing")
	}
	var none *ledger.Ledger
	none.Message(ledger.Message{})
	if err := errors.Join(none.Err(), none.Close()); err != nil {
		t.Errorf("no ledger: %v", err)
	}
}
