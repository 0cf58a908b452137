package sqlite_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/cloud/internal/sqlite"
	"github.com/chargeyard/chargeyard/cloud/internal/storetest"
	"github.com/chargeyard/chargeyard/shared/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens the database at path for the length of a test.
func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	// Making a database takes longer than most tests: they begin with a copy of
	// an empty one.
	first := filepath.Join(t.TempDir(), "empty.db")
	if err := open(t, first).Close(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(t testing.TB) storetest.Opener {
		path := filepath.Join(t.TempDir(), "cloud.db")
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		return func() fleet.Store { return open(t, path) }
	})
}

// TestPragmas: a commit that is not synced would be lost with the power, and a
// pragma that reached one connection of a pool only would not show.
func TestPragmas(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a folder?", "cloud%.db"))
	for name, want := range map[string][2]string{
		"journal_mode": {"wal", "wal"},
		"synchronous":  {"2", "2"},
		"busy_timeout": {"10000", "10000"},
		"query_only":   {"0", "1"},
	} {
		write, read, err := s.Pragmas(t.Context(), name)
		if err != nil || write != want[0] || read != want[1] {
			t.Errorf("%s: %s and %s (%v), want %s and %s", name, write, read, err, want[0], want[1])
		}
	}
}

// tell has a gateway say n statuses more and returns a batch of them.
func tell(g *storetest.Gateway, n int) fleet.Batch {
	s := g.Stream(event.LaneEvents)
	first := len(s.Events) + 1
	for i := range n {
		at := time.Date(2026, 11, 22, 6, len(s.Events), 0, 0, time.UTC)
		status := []event.Status{event.StatusAvailable, event.StatusCharging}[i%2]
		g.Say(storetest.At("CP-1", 1), at, &event.StationStatus{Status: status, Info: fmt.Sprintf("%0500d", i)})
	}
	return g.Batch(s, first, len(s.Events))
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "cloud.db"))
	if err := s.AddGateway(t.Context(), fleet.Gateway{ID: "gw-1", Tenant: fleet.DefaultTenant}, ""); err != nil {
		t.Fatal(err)
	}
	g := storetest.NewGateway("gw-1")
	if _, err := s.Apply(t.Context(), tell(g, 10)); err != nil {
		t.Fatal(err)
	}
	incarnation := func(s *sqlite.Store) string {
		t.Helper()
		v, err := s.Incarnation(t.Context())
		if err != nil || v == "" {
			t.Fatal(v, err)
		}
		return v
	}
	first := incarnation(s)
	path := filepath.Join(dir, "copy.db")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	want := storetest.Dump(t, s)
	later := tell(g, 5)
	if _, err := s.Apply(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 { // cloud.db, -wal, -shm and the copy alone
		t.Errorf("directory holds %v (%v)", entries, err)
	}

	restored := open(t, path)
	if got := storetest.Dump(t, restored); got != want {
		t.Errorf("restored:\n%s\nwant\n%s", got, want)
	}
	second := incarnation(restored)
	if second == first {
		t.Error("a restored database has the incarnation of the old one")
	}
	applied, err := restored.Apply(t.Context(), later)
	if err != nil || len(applied.Entries) != 5 {
		t.Errorf("replay: %d new (%v), want 5", len(applied.Entries), err)
	}
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if got := incarnation(again); got != second {
		t.Error("opened again: another incarnation without a restore")
	}
	third, err := again.NewIncarnation(t.Context())
	if err != nil || third == second || incarnation(again) != third {
		t.Errorf("new incarnation %q (%v)", third, err)
	}
	// Whoever has read the log of an earlier incarnation goes on where both agree.
	const copied, end = 10, 15
	for _, tt := range []struct {
		name        string
		incarnation string
		position    int64
		want        int64
	}{
		{"present", third, 2, 2},
		{"present, by its beginning", third[:8], 2, 2},
		{"no name", "", 2, 2},
		{"beyond the end", third, 1000, 0},
		{"no name, beyond the end", "", 1000, 0},
		{"before the backup", first, 2, 2},
		{"after the backup", first, 1000, copied},
		{"the one between", second, 1000, end},
		{"unknown", "00000000", 2, 0},
	} {
		if got, err := again.Resume(t.Context(), tt.incarnation, tt.position); got != tt.want || err != nil {
			t.Errorf("%s: resumes after %d, %v; want %d", tt.name, got, err, tt.want)
		}
	}
	if got := incarnation(s); got != first {
		t.Error("a backup changed the incarnation of its source")
	}
}

// TestDiskFull: what did not fit was not applied, nothing in memory pretends
// otherwise, and with room everything goes on.
func TestDiskFull(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cloud.db"))
	if err := s.AddGateway(t.Context(), fleet.Gateway{ID: "gw-1", Tenant: fleet.DefaultTenant}, ""); err != nil {
		t.Fatal(err)
	}
	g := storetest.NewGateway("gw-1")
	if _, err := s.Apply(t.Context(), tell(g, 3)); err != nil {
		t.Fatal(err)
	}
	before := storetest.Dump(t, s)
	if err := s.SpareDisk(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	b := tell(g, 100)
	for range 3 {
		if applied, err := s.Apply(t.Context(), b); err == nil || len(applied.Entries) != 0 || applied.Position != 0 {
			t.Fatalf("full: %d new at %d (%v), want an error alone", len(applied.Entries), applied.Position, err)
		}
		if got := storetest.Dump(t, s); got != before {
			t.Errorf("full:\n%s\nwant\n%s", got, before)
		}
	}
	if err := s.SpareDisk(t.Context(), 10_000); err != nil {
		t.Fatal(err)
	}
	if applied, err := s.Apply(t.Context(), b); err != nil || applied.Position != 103 || len(applied.Entries) != 100 {
		t.Errorf("with room: %d new at %d (%v), want 100 at 103", len(applied.Entries), applied.Position, err)
	}
	want := storetest.Dump(t, s)
	if err := s.Rebuild(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Dump(t, s); got != want {
		t.Errorf("rebuilt:\n%s\nwant\n%s", got, want)
	}
}

func TestDisconnected(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cloud.db"))
	began := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	for i, id := range []event.GatewayID{"gw-1", "gw-2"} {
		if err := s.AddGateway(t.Context(), fleet.Gateway{ID: id, Tenant: fleet.DefaultTenant}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Status(t.Context(), id, i == 0, "b", "c", began); err != nil {
			t.Fatal(err)
		}
	}
	restart := began.Add(time.Hour)
	if err := s.Disconnected(t.Context(), restart); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[event.GatewayID]time.Time{"gw-1": restart, "gw-2": began} {
		g, err := s.Gateway(t.Context(), fleet.Scope{Tenant: fleet.DefaultTenant}, id)
		if err != nil || g.Connectivity.Value != fleet.Offline || !g.Connectivity.AsOf.Equal(want) {
			t.Errorf("%s: %+v (%v), want offline since %s", id, g.Connectivity, err, want)
		}
	}
	if _, err := s.Status(t.Context(), "gw-1", true, "b", "c", restart); err != nil {
		t.Fatal(err)
	}
	if g, err := s.Gateway(t.Context(), fleet.Scope{Tenant: fleet.DefaultTenant}, "gw-1"); err != nil || g.Connectivity.Value != fleet.Online {
		t.Errorf("back: %+v (%v)", g.Connectivity, err)
	}
}

// TestOpen: what cannot be a database is said to be none.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloud.db")
	if err := os.WriteFile(path, []byte("this is not a database, and long enough to be looked at closely"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := sqlite.Open(t.Context(), path, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("opened a text", s.Close())
	}
}
