package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

var ctxb = context.Background()

// types lists the types and, of alarms, the words of events.
func types(t testing.TB, events []event.Event) []string {
	t.Helper()
	var out []string
	for _, e := range events {
		p, err := e.Decode()
		if err != nil {
			t.Fatal(err)
		}
		switch p := p.(type) {
		case *event.GatewayAlarm:
			word := p.Alarm
			if p.Cleared {
				word += " cleared"
			}
			out = append(out, word)
		default:
			out = append(out, string(e.Type))
		}
	}
	return out
}

func TestNextWaits(t *testing.T) {
	o := openTest(t, testConfig(t.TempDir()))
	l := o.Lane(event.LaneEvents)
	ctx, cancel := context.WithCancel(ctxb)
	stopped := make(chan error)
	go func() {
		_, err := l.Next(ctx, 0)
		stopped <- err
	}()
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	got := make(chan wire.Batch)
	go func() { got <- next(t, l, 0) }()
	commit(t, o, 1)
	wantInfos(t, infos(t, <-got), 1)
}

func TestNextBounds(t *testing.T) {
	for _, where := range []string{"memory", "file"} {
		t.Run(where, func(t *testing.T) {
			dir := t.TempDir()
			o := openTest(t, testConfig(dir))
			commit(t, o, upTo(200)...)
			if where == "file" {
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
				o = openTest(t, testConfig(dir))
			}
			l := o.Lane(event.LaneEvents)
			if b := next(t, l, 1); b.First != 1 || b.Last != 1 {
				t.Errorf("smallest batch: got %d to %d, want 1 alone", b.First, b.Last)
			}
			for _, limit := range []int{2000, 10_000} {
				b := next(t, l, limit)
				if len(b.JSON) > limit || len(b.JSON) < limit/2 {
					t.Errorf("got %d bytes, want at most %d and not much less", len(b.JSON), limit)
				}
			}
			wantInfos(t, drain(t, l), upTo(200)...)
		})
	}
}

func TestSettleBackwards(t *testing.T) {
	o := openTest(t, testConfig(t.TempDir()))
	l := o.Lane(event.LaneEvents)
	commit(t, o, upTo(5)...)
	b := next(t, l, 0)
	drain(t, l)
	if err := l.Welcome(ctxb, map[string]uint64{b.Stream: 2, "unknown": 7}, "restored"); err != nil {
		t.Fatal(err)
	}
	if n := l.Backlog(); n != 3 {
		t.Errorf("got a backlog of %d, want 3", n)
	}
	wantInfos(t, drain(t, l), 3, 4, 5)
	if got := o.Stats().Replayed; got != 3 {
		t.Errorf("got %d replayed, want 3", got)
	}
}

func TestStorageLost(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir))
	commit(t, o, 1, 2)
	old := next(t, o.Lane(event.LaneEvents), 0).Stream
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = openTest(t, testConfig(dir))
	l := o.Lane(event.LaneEvents)
	if err := l.Welcome(ctxb, map[string]uint64{old: 9}, ""); err != nil {
		t.Fatal(err)
	}
	got, reports := crossed(t, l)
	for len(reports) == 0 { // the alarm travels with a commit of its own
		b := next(t, l, 0)
		events, err := wire.ParseBatch(wire.Pack(b.JSON))
		if err != nil {
			t.Fatal(err)
		}
		reports = events
	}
	if len(got) != 0 || !slices.Equal(types(t, reports), []string{"storage_lost"}) {
		t.Errorf("got %v and %v, want the alarm alone", got, types(t, reports))
	}
}

func TestManyStreams(t *testing.T) {
	dir := t.TempDir()
	for n := range 3 {
		o := openTest(t, testConfig(dir))
		commit(t, o, n)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// As many starts as a crash loop makes, without waiting for them.
	db, err := openDatabase(filepath.Join(dir, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	err = db.transact(func(ctx context.Context) error {
		for n := 10; n < 10+wire.MaxStreams; n++ {
			id := fmt.Sprintf("0197f3c2-6f7e-7cc1-a1f5-%012d", n)
			d := draft(n)
			tail, err := event.AppendTail(nil, "gw-1", &d)
			if err != nil {
				return err
			}
			if _, err := db.insertStream.ExecContext(ctx, n, id); err != nil {
				return err
			}
			if _, err := db.insertRows[len(insertSizes)-1].ExecContext(ctx, rowKey(int64(n), 1), checksum(id, 1, tail), tail); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.close()); err != nil {
		t.Fatal(err)
	}
	l := openTest(t, testConfig(dir)).Lane(event.LaneEvents)
	first, more, err := l.Streams(ctxb, nil)
	if err != nil || len(first) != wire.MaxStreams || !more {
		t.Fatalf("got %d streams, more %v, %v; want %d and more", len(first), more, err, wire.MaxStreams)
	}
	settled := map[string]bool{}
	for _, s := range first {
		settled[s.Stream] = true
	}
	rest, more, err := l.Streams(ctxb, settled)
	if err != nil || len(rest) != 3 || more || settled[rest[0].Stream] {
		t.Errorf("got %d streams, more %v, %v; want the other 3", len(rest), more, err)
	}
}

// TestHole damages the body of rows in the file: they are declared, with an
// alarm, and everything else goes out.
func TestHole(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir))
	commit(t, o, upTo(40)...)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := openDatabase(filepath.Join(dir, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"UPDATE rows SET body = x'00' WHERE key & 255 IN (1, 11, 12, 39)",
		"DELETE FROM rows WHERE key & 255 IN (20, 40)",
	} {
		if err := db.exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
	o = openTest(t, testConfig(dir))
	l := o.Lane(event.LaneEvents)
	commit(t, o, 41)
	got, reports := crossed(t, l)
	var want []int
	for n := 1; n <= 41; n++ {
		if !slices.Contains([]int{1, 11, 12, 20, 39, 40}, n) {
			want = append(want, n)
		}
	}
	wantInfos(t, got, want...)
	if !slices.Contains(types(t, reports), "file_damaged") {
		t.Errorf("got %v, want an alarm", types(t, reports))
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = openTest(t, testConfig(dir)) // the holes are remembered
	streams, _, err := o.Lane(event.LaneEvents).Streams(ctxb, nil)
	if err != nil || len(streams) == 0 || len(streams[0].Missing) < 3 {
		t.Errorf("got %+v, %v; want the holes of the first stream", streams, err)
	}
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	o := openWith(t, testConfig(dir), clock)
	l := o.Lane(event.LaneEvents)
	commit(t, o, upTo(6000)...)
	old := next(t, l, 0).Stream
	drain(t, l)
	l.upkeep(ctxb)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	size := fileSize(filepath.Join(dir, "events.db"))

	o = openWith(t, testConfig(dir), clock)
	l = o.Lane(event.LaneEvents)
	commit(t, o, 6001)
	named := func() (ids []string) {
		streams, _, err := l.Streams(ctxb, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range streams {
			ids = append(ids, s.Stream)
		}
		return ids
	}
	clock.advance(6 * 24 * time.Hour)
	l.upkeep(ctxb)
	if got := named(); len(got) != 2 || got[0] != old {
		t.Errorf("after 6 days: got %v, want the old stream and the new", got)
	}
	clock.advance(26 * time.Hour)
	l.upkeep(ctxb)
	if got := named(); len(got) != 1 || got[0] == old {
		t.Errorf("after 7 days: got %v, want the new stream alone", got)
	}
	wantInfos(t, drain(t, l), 6001)
	if now := fileSize(l.path); now > size/4 {
		t.Errorf("the file has %d bytes after %d: it does not shrink", now, size)
	}
	if wal := fileSize(l.path + "-wal"); wal > 64<<10 {
		t.Errorf("the WAL has %d bytes: it is not cut", wal)
	}
}

// TestFull fills events.db to its limit: nothing confirmed is lost, what is not
// kept says so, and it goes on by itself when the manager has taken its part.
func TestFull(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.EventsBytes = 400 << 10
	o := openTest(t, cfg)
	l := o.Lane(event.LaneEvents)
	var kept []int
	var err error
	for n := 1; err == nil && n < 5000; n++ {
		if err = o.Commit(ctxb, site.Change{Events: []event.Draft{draft(n)}}); err == nil {
			kept = append(kept, n)
		}
	}
	if !errors.Is(err, site.ErrNotKept) {
		t.Fatalf("after %d events: got %v, want ErrNotKept", len(kept), err)
	}
	if err := o.Commit(ctxb, site.Change{Events: []event.Draft{draft(9999)}}); !errors.Is(err, site.ErrNotKept) {
		t.Errorf("again: got %v, want ErrNotKept", err)
	}
	if size := fileSize(l.path); size > cfg.EventsBytes {
		t.Errorf("the file has %d bytes, its limit is %d", size, cfg.EventsBytes)
	}
	wantInfos(t, drain(t, l), kept...)
	commit(t, o, 10_001)
	commit(t, o, 10_002)
	got, reports := crossed(t, l)
	wantInfos(t, got, 10_001, 10_002)
	if words := types(t, reports); !slices.Contains(words, "disk_full") || !slices.Contains(words, "disk_full cleared") {
		t.Errorf("got %v, want the alarm and its end", words)
	}
	if s := o.Stats(); s.NotKept != 2 || s.Salvages != 0 {
		t.Errorf("got %d not kept and %d salvages, want 2 and 0", s.NotKept, s.Salvages)
	}
}

func TestBallast(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.BallastBytes = 1 << 20
	o := openTest(t, cfg)
	path := filepath.Join(cfg.Dir, "ballast")
	if got := fileSize(path); got != cfg.BallastBytes {
		t.Fatalf("ballast has %d bytes, want %d", got, cfg.BallastBytes)
	}
	freed := false
	if err := o.events.do(ctxb, func() error { freed = o.events.makeRoom(); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := fileSize(path); !freed || got != 0 {
		t.Errorf("freed %v, ballast has %d bytes; want it given free", freed, got)
	}
	o.ballast.fill()
	if got := fileSize(path); got != cfg.BallastBytes {
		t.Errorf("ballast has %d bytes, want %d again", got, cfg.BallastBytes)
	}
}

func TestTooLarge(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir))
	d := draft(1)
	text := strings.Repeat("long ", 20_000)
	d.Data = &event.DataReceived{Action: "DataTransfer", Text: text}
	if err := o.Commit(ctxb, site.Change{Events: []event.Draft{d}}); err != nil {
		t.Fatal(err)
	}
	events, err := wire.ParseBatch(next(t, o.Lane(event.LaneEvents), 0).JSON)
	if err != nil || len(events) != 1 || !events[0].Truncated {
		t.Fatalf("got %d events, %v; want one that is truncated", len(events), err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "large", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got files %v, %v; want one", files, err)
	}
	var whole struct {
		Data event.DataReceived
	}
	if err := json.Unmarshal(readFile(t, files[0]), &whole); err != nil || whole.Data.Text != text {
		t.Errorf("the whole is not in the file: %v", err)
	}
}

func TestStub(t *testing.T) {
	for _, where := range []string{"memory", "file"} {
		t.Run(where, func(t *testing.T) {
			dir := t.TempDir()
			o := openTest(t, testConfig(dir))
			commit(t, o, 1, 2, 3)
			if where == "file" {
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
				o = openTest(t, testConfig(dir))
			}
			l := o.Lane(event.LaneEvents)
			b := next(t, l, 0)
			if err := l.Stub(ctxb, b.Stream, 2, "not readable"); err != nil {
				t.Fatal(err)
			}
			before, err := wire.ParseBatch(wire.Pack(b.JSON))
			if err != nil {
				t.Fatal(err)
			}
			after, err := wire.ParseBatch(wire.Pack(next(t, l, 0).JSON))
			if err != nil || len(after) != 3 {
				t.Fatalf("got %d events, %v; want 3", len(after), err)
			}
			e := after[1]
			if !e.Stub || after[0].Stub || e.ID != before[1].ID || e.Type != before[1].Type || e.Subject != before[1].Subject || !e.Time.Equal(before[1].Time) {
				t.Errorf("got %+v, want a stub of %+v", e, before[1])
			}
			var data stub
			if err := json.Unmarshal(e.Data, &data); err != nil || data.Reason != "not readable" {
				t.Fatalf("got %s, %v; want the reason", e.Data, err)
			}
			var whole event.Event
			if err := json.Unmarshal(readFile(t, filepath.Join(dir, data.File)), &whole); err != nil || string(whole.Data) != string(before[1].Data) {
				t.Errorf("the file holds %s, %v; want the event", whole.Data, err)
			}
		})
	}
}

func TestLargeFolderIsBounded(t *testing.T) {
	g := &large{dir: filepath.Join(t.TempDir(), "large"), limit: 1000}
	for n := range 5 {
		name, err := g.keep(fmt.Sprint(n), make([]byte, 400))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(n), 0)
		if err := os.Chtimes(filepath.Join(g.dir, filepath.Base(name)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(g.dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != "3" {
		t.Errorf("got %v, %v; want the 2 newest", entries, err)
	}
	if _, err := g.keep("x", make([]byte, 2000)); err == nil {
		t.Error("a file over the limit was taken")
	}
}

func TestOwner(t *testing.T) {
	dir := t.TempDir()
	if err := CheckOwner(filepath.Join(dir, "none"), "gw-1"); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
	o := openTest(t, testConfig(dir))
	if _, err := Open(testConfig(dir), newClock(), quiet()); !errors.Is(err, ErrInUse) {
		t.Errorf("a second time: got %v, want ErrInUse", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(dir)
	cfg.Gateway = "gw-2"
	if err := CheckOwner(dir, "gw-2"); !errors.Is(err, ErrOtherGateway) {
		t.Errorf("CheckOwner: got %v, want ErrOtherGateway", err)
	}
	if _, err := Open(cfg, newClock(), quiet()); !errors.Is(err, ErrOtherGateway) {
		t.Errorf("Open: got %v, want ErrOtherGateway", err)
	}
}

func TestClosed(t *testing.T) {
	o := openTest(t, testConfig(t.TempDir()))
	commit(t, o, 1)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.Commit(ctxb, site.Change{Events: []event.Draft{draft(2)}}); !errors.Is(err, site.ErrNotKept) {
		t.Errorf("Commit: got %v, want ErrNotKept", err)
	}
	if err := o.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func TestCommitRefuses(t *testing.T) {
	o := openTest(t, testConfig(t.TempDir()))
	if err := o.Commit(ctxb, site.Change{Events: []event.Draft{sampled(1, 0)}}); !errors.Is(err, site.ErrNotKept) {
		t.Errorf("samples: got %v, want ErrNotKept", err)
	}
	if err := o.AddSamples(ctxb, draft(1)); !errors.Is(err, site.ErrNotKept) {
		t.Errorf("an event as samples: got %v, want ErrNotKept", err)
	}
	ctx, cancel := context.WithCancel(ctxb)
	cancel()
	if err := o.Commit(ctx, site.Change{Events: []event.Draft{draft(1)}}); !errors.Is(err, site.ErrNotKept) || !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: got %v, want ErrNotKept", err)
	}
	if n := o.Lane(event.LaneEvents).Backlog(); n != 0 {
		t.Errorf("%d events were kept, want none", n)
	}
}

func TestNewest(t *testing.T) {
	dir := t.TempDir()
	if got := Newest(dir); !got.IsZero() {
		t.Errorf("of an empty directory: got %s, want none", got)
	}
	o := openTest(t, testConfig(dir))
	commit(t, o, 1, 7, 3)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := Newest(dir), draft(7).Recorded; !got.Equal(want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestStreamEnds: a stream whose last rows are lost goes with the others that
// were delivered, and so does one without any row.
func TestStreamEnds(t *testing.T) {
	dir := t.TempDir()
	for n := range 3 {
		o := openTest(t, testConfig(dir))
		commit(t, o, n*3+1, n*3+2, n*3+3)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db, err := openDatabase(filepath.Join(dir, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		db.exec("UPDATE rows SET body = x'00' WHERE key = ?", rowKey(1, 3)),
		db.exec("DELETE FROM rows WHERE key BETWEEN ? AND ?", rowKey(2, 0), rowKey(3, 0)),
		db.close())
	if err != nil {
		t.Fatal(err)
	}
	clock := newClock()
	o := openWith(t, testConfig(dir), clock)
	l := o.Lane(event.LaneEvents)
	got, _ := crossed(t, l)
	wantInfos(t, got, 1, 2, 7, 8, 9)
	l.mu.Lock()
	l.positioned = time.Time{} // positions were stored long ago
	l.mu.Unlock()
	if err := l.submit(ctxb, newRequest()); err != nil { // stores the positions
		t.Fatal(err)
	}
	clock.advance(8 * 24 * time.Hour)
	l.upkeep(ctxb)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = openWith(t, testConfig(dir), clock)
	l = o.Lane(event.LaneEvents)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.streams) != 2 { // the alarm's and the current one
		t.Errorf("%d streams are left, want 2", len(l.streams))
	}
}

// TestAllAtOnce has everything happen at the same time, for the race detector.
func TestAllAtOnce(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SamplesFlush = 5 * time.Millisecond
	o := openTest(t, cfg)
	ctx, cancel := context.WithCancel(ctxb)
	var background, work sync.WaitGroup
	background.Go(func() {
		if err := o.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	delivered := make(chan string, 1000)
	for _, name := range event.Lanes {
		l := o.Lane(name)
		background.Go(func() {
			for {
				b, err := l.Next(ctx, 5000)
				if err != nil {
					return
				}
				if _, _, err := l.Streams(ctx, nil); err != nil {
					return
				}
				if name == event.LaneEvents {
					for _, info := range infos(t, b) {
						delivered <- info
					}
				}
				if err := l.Settle(ctx, b.Stream, b.Last); err != nil {
					return
				}
			}
		})
	}
	const callers, each = 8, 100
	for caller := range callers {
		work.Go(func() {
			for n := range each {
				commit(t, o, caller*1000+n)
				addSamples(t, o, sampled(caller+1, n))
				if n%25 == 10 {
					o.Stats()
					o.Restored()
					o.events.upkeep(ctx)
				}
				if n == 50 && caller < 2 {
					if err := o.Lane(event.Lanes[caller]).distrust(ctx, errDamaged); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	seen := map[string]bool{}
	for len(seen) < callers*each {
		select {
		case info := <-delivered:
			if !strings.Contains(info, ".") { // not a report of the gateway
				if seen[info] {
					t.Errorf("event %s came twice", info)
				}
				seen[info] = true
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d events were delivered", len(seen), callers*each)
		}
	}
	work.Wait()
	cancel()
	go func() {
		for range delivered {
		}
	}()
	background.Wait()
	close(delivered)
}
