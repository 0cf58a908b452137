package station

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"pgregory.net/rapid"
)

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
		s := &State{NextTransaction: 7, Cache: map[string]CacheEntry{"A": {Info: ocpp16.IDTagInfo{Status: "Accepted"}}}}
		if loaded, err := f.Load(); loaded != nil || err != nil {
			t.Fatalf("an empty memory holds %+v, %v", loaded, err)
		}
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "messages") {
					n++
					s.Queue = append(s.Queue, &Message{ID: fmt.Sprint(n), Order: uint64(n), Action: "MeterValues", Payload: json.RawMessage(`{"connectorId":1}`)})
				}
			},
			"answer": func(t *rapid.T) {
				s.Queue = s.Queue[min(len(s.Queue), rapid.IntRange(1, 30).Draw(t, "answered")):]
			},
			"thin": func(t *rapid.T) {
				var left []*Message
				for i, m := range s.Queue {
					if i%2 == 0 {
						left = append(left, m)
					}
				}
				s.Queue = left
			},
			"attempt": func(t *rapid.T) {
				if len(s.Queue) > 0 {
					s.Queue[0].Attempts++
					s.Queue[0].FirstSent = time.Unix(1_800_000_000, 0).UTC()
				}
			},
			"save": func(t *rapid.T) {
				if err := f.Save(s); err != nil {
					t.Fatal(err)
				}
			},
			"end and begin": func(t *rapid.T) {
				if err := f.Save(s); err != nil {
					t.Fatal(err)
				}
				f = folder.File("CP/1 ö")
				f.limit = 30
				loaded, err := f.Load()
				if err != nil {
					t.Fatal(err)
				}
				got, want := text(t, loaded.Queue), text(t, s.Queue)
				if got != want || loaded.NextTransaction != 7 || loaded.Cache["A"].Info.Status != "Accepted" {
					t.Fatalf("loaded %s, saved %s", got, want)
				}
				s = loaded
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
	if _, err := folder.File("CP-1").Load(); err == nil {
		t.Error("a damaged memory was loaded")
	}
}
