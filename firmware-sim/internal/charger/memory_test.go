package charger

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// remembered is the state of a dialect.
type remembered struct {
	Number int               `json:"number"`
	Words  map[string]string `json:"words"`
}

// Whatever happens to a queue, and wherever the process ends, what was saved is
// what is loaded.
func TestFileKeepsTheQueue(t *testing.T) {
	base := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		folder, err := OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		f := folder.File("CP/1 ö")
		f.limit = 30
		state := &remembered{Number: 7, Words: map[string]string{"A": "Accepted"}}
		var messages []*Message
		if _, found, err := f.Load(&remembered{}); found || err != nil {
			t.Fatalf("an empty memory holds something, %v", err)
		}
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "messages") {
					n++
					messages = append(messages, &Message{ID: fmt.Sprint(n), Order: uint64(n), Action: "MeterValues", Payload: json.RawMessage(`{"connectorId":1}`)})
				}
			},
			"answer": func(t *rapid.T) {
				messages = messages[min(len(messages), rapid.IntRange(1, 30).Draw(t, "answered")):]
			},
			"thin": func(t *rapid.T) {
				var left []*Message
				for i, m := range messages {
					if i%2 == 0 {
						left = append(left, m)
					}
				}
				messages = left
			},
			"attempt": func(t *rapid.T) {
				if len(messages) > 0 {
					messages[0].Attempts++
					messages[0].FirstSent = time.Unix(1_800_000_000, 0).UTC()
				}
			},
			"save": func(t *rapid.T) {
				if err := f.Save(state, messages); err != nil {
					t.Fatal(err)
				}
			},
			"end and begin": func(t *rapid.T) {
				if err := f.Save(state, messages); err != nil {
					t.Fatal(err)
				}
				f = folder.File("CP/1 ö")
				f.limit = 30
				loaded := &remembered{}
				queue, found, err := f.Load(loaded)
				if err != nil || !found {
					t.Fatal(found, err)
				}
				got, want := text(t, queue), text(t, messages)
				if got != want || loaded.Number != 7 || loaded.Words["A"] != "Accepted" {
					t.Fatalf("loaded %s, saved %s", got, want)
				}
				state, messages = loaded, queue
			},
		})
		files, err := os.ReadDir(dir)
		if err != nil || len(files) > 3 {
			t.Fatalf("%d files: %v", len(files), err)
		}
	})
}

func text(t *rapid.T, queue []*Message) string {
	b, err := json.Marshal(append([]*Message{}, queue...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFileRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "CP-1.json"), []byte(`{"state":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := folder.File("CP-1").Load(&remembered{}); err == nil {
		t.Error("a damaged memory was loaded")
	}
}
