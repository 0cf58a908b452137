package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// filled makes a closed data directory with two streams of events, records and
// samples without a number, and returns the numbers that its events say.
func filled(t testing.TB, events int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for start := range 2 {
		o := openTest(t, testConfig(dir))
		for n := start * events / 2; n < (start+1)*events/2; n += 10 {
			c := site.Change{Put: []site.Record{{
				Key: site.Key{Kind: "session", Station: "CP-7", ID: fmt.Sprint(n)}, Value: []byte(fmt.Sprint(n)),
			}}}
			for i := range 10 {
				c.Events = append(c.Events, draft(n+i+1))
			}
			if err := o.Commit(context.Background(), c); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 50 {
			addSamples(t, o, sampled(n+1, start*50+n))
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// crossed follows a lane as a manager does, from its summaries, and fails when a
// number is missing that is not declared. It returns what the events say.
func crossed(t testing.TB, l *Lane) (infos []string, alarms []event.Event) {
	t.Helper()
	ctx := context.Background()
	position := map[string]uint64{}
	for l.Backlog() > 0 {
		b := next(t, l, 64<<10)
		streams, _, err := l.Streams(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(streams, func(s wire.StreamSummary) bool { return s.Stream == b.Stream })
		if i < 0 {
			t.Fatalf("a batch of %s, which is not named", b.Stream)
		}
		sum := streams[i]
		at := max(position[b.Stream], uint64(sum.Oldest)-1)
		for _, m := range sum.Missing {
			if uint64(m[0]) <= at+1 && uint64(m[1]) > at {
				at = uint64(m[1])
			}
		}
		if at+1 != b.First {
			t.Fatalf("stream %s: batch begins with %d, position %d, oldest %d, missing %v", b.Stream, b.First, position[b.Stream], sum.Oldest, sum.Missing)
		}
		events, err := wire.ParseBatch(wire.Pack(b.JSON))
		if err != nil {
			t.Fatal(err)
		}
		for n, e := range events {
			id, err := e.EventID()
			if err != nil || id.Sequence != b.First+uint64(n) {
				t.Fatalf("event %s in a batch from %d on: %v", e.ID, b.First, err)
			}
			switch e.Type {
			case event.TypeStationStatus:
				var data struct{ Info string }
				if err := json.Unmarshal(e.Data, &data); err != nil {
					t.Fatal(err)
				}
				infos = append(infos, data.Info)
			default:
				alarms = append(alarms, e)
			}
		}
		position[b.Stream] = b.Last
		if err := l.Settle(ctx, b.Stream, b.Last); err != nil {
			t.Fatal(err)
		}
	}
	return infos, alarms
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// damage changes a file at an offset.
type damage struct {
	name  string
	least int // percent of the events that come through, on average
	do    func(t testing.TB, path string, r *rand.Rand)
}

var damages = []damage{
	{"flipped bytes", 90, func(t testing.TB, path string, r *rand.Rand) {
		b := readFile(t, path)
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		}
		write(t, path, b)
	}},
	{"zeroed page", 90, func(t testing.TB, path string, r *rand.Rand) {
		b := readFile(t, path)
		at := r.IntN(len(b)/pageSize) * pageSize
		clear(b[at : at+pageSize])
		write(t, path, b)
	}},
	{"page of noise", 90, func(t testing.TB, path string, r *rand.Rand) {
		b := readFile(t, path)
		at := r.IntN(len(b)/pageSize) * pageSize
		for i := range pageSize {
			b[at+i] = byte(r.Uint32())
		}
		write(t, path, b)
	}},
	{"truncated", 40, func(t testing.TB, path string, r *rand.Rand) {
		b := readFile(t, path)
		write(t, path, b[:r.IntN(len(b))])
	}},
	{"page of another place", 90, func(t testing.TB, path string, r *rand.Rand) {
		b := readFile(t, path)
		from, to := r.IntN(len(b)/pageSize)*pageSize, r.IntN(len(b)/pageSize)*pageSize
		copy(b[to:to+pageSize], b[from:from+pageSize])
		write(t, path, b)
	}},
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedAtStart damages both files at random offsets: the gateway starts,
// takes new events, and hands out old and new ones without an undeclared hole.
func TestDamagedAtStart(t *testing.T) {
	const events = 600
	origin := filled(t, events)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			recovered, records := 0, 0
			const rounds = 12
			for seed := range uint64(rounds) {
				r := rand.New(rand.NewPCG(seed, 2))
				dir := copyDir(t, origin)
				d.do(t, filepath.Join(dir, "events.db"), r)
				d.do(t, filepath.Join(dir, "samples.db"), r)
				o := openTest(t, testConfig(dir))
				for _, r := range o.Restored() {
					if string(r.Value) != r.Key.ID {
						t.Errorf("seed %d: record %v says %s", seed, r.Key, r.Value)
					}
				}
				records += len(o.Restored())
				ctx, cancel := context.WithCancel(context.Background())
				o.events.check(ctx) // as Run does in the background
				o.samples.check(ctx)
				cancel()
				commit(t, o, 100_001, 100_002)
				addSamples(t, o, sampled(99, 500))
				got, _ := crossed(t, o.Lane(event.LaneEvents))
				if n := len(got); n < 2 || got[n-2] != "100001" || got[n-1] != "100002" {
					t.Fatalf("seed %d: the new events do not come last: %v", seed, got[max(0, n-5):])
				}
				if !slices.IsSortedFunc(got, func(a, b string) int {
					return slices.Compare([]int{len(a)}, []int{len(b)})*2 + strings.Compare(a, b)*boolInt(len(a) == len(b))
				}) {
					t.Errorf("seed %d: out of order: %v", seed, got)
				}
				if len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Errorf("seed %d: an event came twice", seed)
				}
				recovered += len(got) - 2
				crossed(t, o.Lane(event.LaneSamples))
				if err := o.Close(); err != nil {
					t.Error(err)
				}
				if again := openTest(t, testConfig(dir)); again.Stats().Salvages != 0 {
					t.Errorf("seed %d: the next start salvages again", seed)
				}
			}
			t.Logf("%d%% of the events and %d%% of the records were recovered", recovered*100/(rounds*events), records*100/(rounds*events/10))
			if recovered*100/(rounds*events) < d.least {
				t.Errorf("%d%% of the events were recovered, want %d%%", recovered*100/(rounds*events), d.least)
			}
		})
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestDamagedAtWork ruins events.db under a lane at work: what memory knows
// makes up for it, and no caller notices.
func TestDamagedAtWork(t *testing.T) {
	for _, ruin := range []struct {
		name string
		do   func(t *testing.T, path string)
	}{
		{"page 1", func(t *testing.T, path string) { overwrite(t, path, 0, pageSize) }},
		{"everything", func(t *testing.T, path string) { overwrite(t, path, 0, int(fileSize(path))) }},
	} {
		t.Run(ruin.name, func(t *testing.T) {
			dir := t.TempDir()
			o := openTest(t, testConfig(dir))
			l := o.Lane(event.LaneEvents)
			key := func(n int) site.Key { return site.Key{Kind: "session", ID: fmt.Sprint(n)} }
			for n := 1; n <= 300; n++ {
				err := o.Commit(ctxb, site.Change{Events: []event.Draft{draft(n)}, Put: []site.Record{{Key: key(n), Value: []byte("v")}}})
				if err != nil {
					t.Fatal(err)
				}
			}
			b := next(t, l, 10_000)
			if err := l.Settle(ctxb, b.Stream, b.Last); err != nil {
				t.Fatal(err)
			}
			if err := o.events.do(ctxb, func() error { return o.events.db.exec("PRAGMA wal_checkpoint(TRUNCATE)") }); err != nil {
				t.Fatal(err)
			}
			ruin.do(t, l.path)
			if err := l.distrust(ctxb, errDamaged); err != nil {
				t.Fatal(err)
			}
			commit(t, o, 301)
			got := drain(t, l)
			if !slices.Contains(got, string(event.TypeStreamSalvaged)) {
				t.Errorf("the report is missing")
			}
			got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, ".") })
			var want []int
			for n := int(b.Last) + 1; n <= 301; n++ {
				want = append(want, n)
			}
			wantInfos(t, got, want...)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if n := len(openTest(t, testConfig(dir)).Restored()); n != 300 {
				t.Errorf("%d records are left, want 300", n)
			}
		})
	}
}

func overwrite(t *testing.T, path string, at, n int) {
	t.Helper()
	b := readFile(t, path)
	for i := range n {
		b[at+i] = 0xa5
	}
	write(t, path, b)
}

func FuzzPages(f *testing.F) {
	dir := filled(f, 40)
	for _, name := range []string{"events.db", "samples.db"} {
		b := readFile(f, filepath.Join(dir, name))
		for at := 0; at+pageSize <= len(b); at += pageSize {
			f.Add(b[at:at+pageSize], []byte{})
		}
		f.Add(b, b[:min(len(b), 500)])
	}
	f.Fuzz(func(t *testing.T, file, wal []byte) {
		path := filepath.Join(t.TempDir(), "x.db")
		write(t, path, file)
		write(t, path+walSuffix, wal)
		err := scanPages(path, func(_ int64, values []any) error {
			for _, v := range values {
				switch v.(type) {
				case nil, int64, string, []byte:
				default:
					t.Errorf("column %T", v)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
