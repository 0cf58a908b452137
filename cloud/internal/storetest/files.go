package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

func testFiles(t *testing.T, fresh func(t testing.TB) Opener) {
	store, g := start(t, fresh)
	now := time.Now().UTC().Truncate(time.Millisecond)
	file := func(id, kind string, from, to *time.Time) fleet.File {
		f := fleet.File{
			ID: id, Kind: kind, Tenant: fleet.DefaultTenant, Gateway: g.ID, Station: fleet.StationID(g.ID, "CP-1"), Identity: "CP-1",
			Command: event.CommandID("c-" + id), From: from, To: to, Limit: 1000, Created: now, Expires: now.Add(time.Hour), Until: now.Add(48 * time.Hour),
		}
		must(t, store.AddFile(t.Context(), f, "sha-"+id))
		f.State = fleet.FileWaiting
		return f
	}
	one := file("1", fleet.FileRecording, ptr(now.Add(-time.Hour)), ptr(now))
	file("2", fleet.FileLog, nil, nil)
	file("3", fleet.FileRecording, ptr(now.Add(-3*time.Hour)), ptr(now.Add(-2*time.Hour)))
	got := ok(store.FileOf(t.Context(), "sha-1"))
	if got.ID != one.ID || got.State != one.State || got.Limit != 1000 || !got.From.Equal(*one.From) || !got.Until.Equal(one.Until) || got.Command != one.Command {
		t.Errorf("got %+v, want %+v", got, one)
	}
	_, err := store.FileOf(t.Context(), "sha-9")
	isNotFound(t, err)
	_, err = store.File(t.Context(), fleet.Scope{Tenant: "other"}, "1")
	isNotFound(t, err)
	must(t, store.CompleteFile(t.Context(), "1", 12, "abc", now))
	if err := store.CompleteFile(t.Context(), "1", 13, "def", now); !errors.Is(err, fleet.ErrConflict) {
		t.Errorf("completed twice: %v", err)
	}
	if got := ok(store.File(t.Context(), all, "1")); got.State != fleet.FileComplete || got.Size != 12 || got.SHA256 != "abc" || !got.Completed.Equal(now) {
		t.Errorf("complete: %+v", got)
	}
	for _, tt := range []struct {
		name   string
		filter fleet.FileFilter
		want   []string
	}{
		{"all", fleet.FileFilter{}, []string{"3", "2", "1"}},
		{"recordings", fleet.FileFilter{Kind: fleet.FileRecording, Station: "CP-1"}, []string{"3", "1"}},
		{"complete", fleet.FileFilter{State: fleet.FileComplete}, []string{"1"}},
		{"waiting", fleet.FileFilter{State: fleet.FileWaiting}, []string{"3", "2"}},
		{"of a command", fleet.FileFilter{Command: "c-2"}, []string{"2"}},
		{"of a time", fleet.FileFilter{Kind: fleet.FileRecording, From: now.Add(-4 * time.Hour), To: now.Add(-90 * time.Minute)}, []string{"3"}},
	} {
		var ids []string
		for _, f := range everything(t, func(p fleet.Page) (fleet.List[fleet.File], error) {
			p.Limit = 1
			return store.Files(t.Context(), all, tt.filter, p)
		}) {
			ids = append(ids, f.ID)
		}
		if !slices.Equal(ids, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, ids, tt.want)
		}
	}
	stale := func(at time.Time) (ids []string) {
		for _, f := range ok(store.StaleFiles(t.Context(), at)) {
			ids = append(ids, f.ID)
		}
		return ids
	}
	if got := stale(now.Add(24 * time.Hour)); len(got) != 0 {
		t.Errorf("stale after a day: %q", got)
	}
	if got := stale(now.Add(26 * time.Hour)); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("stale, never brought: %q", got)
	}
	if got := stale(now.Add(48 * time.Hour)); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("stale in the end: %q", got)
	}
	must(t, store.Rebuild(t.Context(), nil))
	must(t, store.DeleteFile(t.Context(), "1"))
	_, err = store.File(t.Context(), all, "1")
	isNotFound(t, err)
}

func testWishes(t *testing.T, fresh func(t testing.TB) Opener) {
	store, g := start(t, fresh)
	c := command(t, store, g.ID, "c-1")
	_, err := store.MoveCommand(t.Context(), c.ID, event.StateSent, "", began)
	must(t, err)
	must(t, store.WishCancel(t.Context(), c.ID, after(time.Minute)))
	must(t, store.WishCancel(t.Context(), c.ID, after(time.Hour))) // the first wish counts
	must(t, store.Rebuild(t.Context(), nil))
	got := ok(store.OwedCommands(t.Context(), g.ID))
	if len(got) != 1 || got[0].CancelAsked == nil || !got[0].CancelAsked.Equal(after(time.Minute)) {
		t.Errorf("owed %+v", got)
	}
	for _, tt := range []struct {
		from, to time.Time
		want     int
	}{{to: got[0].Created, want: 0}, {to: got[0].Created.Add(time.Hour), want: 1}, {from: after(time.Hour), want: 0}} {
		if n := len(ok(store.Commands(t.Context(), all, fleet.CommandFilter{From: tt.from, To: tt.to}, fleet.Page{})).Items); n != tt.want {
			t.Errorf("from %s to %s: %d commands, want %d", tt.from, tt.to, n, tt.want)
		}
	}
	// A change of a section sees what was there.
	for _, want := range []string{"", "a", "aa"} {
		must(t, store.ChangeDesired(t.Context(), g.ID, wire.SectionSite, func(old []byte) ([]byte, error) {
			if string(old) != want {
				t.Errorf("changes %q, want %q", old, want)
			}
			return append(old, 'a'), nil
		}))
	}
	no := errors.New("no")
	if err := store.ChangeDesired(t.Context(), g.ID, wire.SectionSite, func([]byte) ([]byte, error) { return nil, no }); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if got := ok(store.Desired(t.Context(), g.ID)); string(got[wire.SectionSite]) != "aaa" {
		t.Errorf("left with %q", got)
	}
	isNotFound(t, store.ChangeDesired(t.Context(), "gw-9", wire.SectionSite, func([]byte) ([]byte, error) { return nil, nil }))
}
