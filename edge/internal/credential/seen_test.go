package credential

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

var quiet = slog.New(slog.DiscardHandler)

// The highest profile survives a restart, and many stations at once cost few
// writes.
func TestSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config", "seen.json")
	synctest.Test(t, func(t *testing.T) {
		s := OpenSeen(path, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		s.Raise("CP-1", 3)
		s.Raise("CP-1", 2)
		for i := range 500 {
			s.Raise(event.StationID(fmt.Sprintf("S-%d", i)), 2)
		}
		time.Sleep(3 * time.Second)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Raise("CP-1", 3) // nothing new
		time.Sleep(3 * time.Second)
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("written again for nothing: %v", err)
		}
		s.Raise("LAST", 2)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	again := OpenSeen(path, quiet)
	for id, want := range map[event.StationID]int{"CP-1": 3, "S-499": 2, "LAST": 2, "NOBODY": 0} {
		if got := again.Profile(id); got != want {
			t.Errorf("%s: profile %d, want %d", id, got, want)
		}
	}
}

// What is raised right before the end is kept.
func TestSeenAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	s := OpenSeen(path, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Raise("CP-1", 2)
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := OpenSeen(path, quiet).Profile("CP-1"); got != 2 {
		t.Errorf("profile %d, want 2", got)
	}
}

// A damaged file is moved aside, and no station locked out by it.
func TestSeenDamaged(t *testing.T) {
	for _, text := range []string{"", "{", `{"CP-1": "x"}`, "null"} {
		path := filepath.Join(t.TempDir(), "seen.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := OpenSeen(path, quiet)
		if got := s.Profile("CP-1"); got != 0 {
			t.Errorf("%q: profile %d", text, got)
		}
		s.Raise("CP-1", 2)
		if got := s.Profile("CP-1"); got != 2 {
			t.Errorf("%q: not raised", text)
		}
		if _, err := os.Stat(path + ".damaged"); text != "null" && err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSeenBounded(t *testing.T) {
	s := OpenSeen(filepath.Join(t.TempDir(), "seen.json"), quiet)
	for i := range maxSeen + 10 {
		s.Raise(event.StationID(fmt.Sprint(i)), 2)
	}
	if len(s.profiles) != maxSeen {
		t.Errorf("%d are remembered, want %d", len(s.profiles), maxSeen)
	}
}
