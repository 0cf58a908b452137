package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// crashed returns a copy of a directory whose process was killed: its WAL holds
// the events.
func crashed(t *testing.T, events int) string {
	t.Helper()
	dir := t.TempDir()
	o := openTest(t, testConfig(dir))
	commit(t, o, upTo(events)...)
	return copyDir(t, dir)
}

// TestMoveCutShort: the process died while it moved a damaged file aside. Its
// WAL must neither be lost nor meet the new file.
func TestMoveCutShort(t *testing.T) {
	dir := crashed(t, 20)
	path := filepath.Join(dir, "events.db")
	if err := os.Rename(path, damagedName(path, time.Now())); err != nil {
		t.Fatal(err)
	}
	o := openTest(t, testConfig(dir))
	commit(t, o, 21)
	got, reports := crossed(t, o.Lane(event.LaneEvents))
	wantInfos(t, got, upTo(21)...)
	if words := types(t, reports); !slices.Contains(words, string(event.TypeStreamSalvaged)) {
		t.Errorf("got %v, want the report", words)
	}
}

// TestWALAlone: the file is gone and its WAL is there.
func TestWALAlone(t *testing.T) {
	dir := crashed(t, 20)
	if err := os.Remove(filepath.Join(dir, "events.db")); err != nil {
		t.Fatal(err)
	}
	o := openTest(t, testConfig(dir))
	commit(t, o, 21)
	got, _ := crossed(t, o.Lane(event.LaneEvents))
	if len(got) == 0 || got[len(got)-1] != "21" {
		t.Errorf("got %v, want the new event at least", got)
	}
}

// TestNotAFile: somebody made a directory of that name.
func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "events.db", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := openTest(t, testConfig(dir))
	commit(t, o, 1)
	got, _ := crossed(t, o.Lane(event.LaneEvents))
	wantInfos(t, got, 1)
}

func TestDamagedRecord(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir))
	for _, id := range []string{"a", "b", "c"} {
		err := o.Commit(ctxb, site.Change{Put: []site.Record{{Key: site.Key{Kind: "session", ID: id}, Value: []byte(id)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := openDatabase(filepath.Join(dir, "events.db"))
	if err == nil {
		err = errors.Join(db.exec("UPDATE records SET value = x'00' WHERE name = 'b'"), db.close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for start := range 2 {
		o = openTest(t, testConfig(dir))
		var ids []string
		for _, r := range o.Restored() {
			ids = append(ids, r.Key.ID)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, []string{"a", "c"}) {
			t.Errorf("start %d: got records %v, want a and c", start, ids)
		}
		if err := o.lastAlarm(); start == 0 && err != "file_damaged" || start > 0 && err != "" {
			t.Errorf("start %d: got alarm %q", start, err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// lastAlarm is the word of an alarm that was raised, if any.
func (o *Outbox) lastAlarm() string {
	o.alarms.mu.Lock()
	defer o.alarms.mu.Unlock()
	for word := range o.alarms.raised {
		return word
	}
	return ""
}

// TestAlarmsFold: a repeat within a minute is counted, not sent.
func TestAlarmsFold(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o, err := Open(testConfig(dir), newClock(), quiet())
		if err != nil {
			t.Fatal(err)
		}
		l := o.Lane(event.LaneEvents)
		for n := range 5 {
			o.alarms.raise("storage_lost", "critical", fmt.Sprint(n))
		}
		o.alarms.settle()
		synctest.Wait()
		if n := l.Backlog(); n != 1 {
			t.Errorf("%d events at first, want 1", n)
		}
		time.Sleep(foldAlarms)
		o.alarms.settle()
		o.alarms.settle()
		o.alarms.clear("storage_lost")
		o.alarms.clear("storage_lost")
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		o, err = Open(testConfig(dir), newClock(), quiet())
		if err != nil {
			t.Fatal(err)
		}
		events, err := wire.ParseBatch(next(t, o.Lane(event.LaneEvents), 0).JSON)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			p, err := e.Decode()
			if err != nil {
				t.Fatal(err)
			}
			a := p.(*event.GatewayAlarm)
			got = append(got, fmt.Sprintf("%s %d %v", a.Text, a.Count, a.Cleared))
		}
		if want := []string{"0 0 false", "4 4 false", "4 4 true"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLargeSample: a sample that no event can carry is cut, like an event.
func TestLargeSample(t *testing.T) {
	for _, data := range []event.Payload{
		&event.SessionSampled{Session: "s-1", Transaction: "1", Samples: []event.Sample{{Signed: []event.Signed{{Data: strings.Repeat("a", 90<<10)}}}}},
		&event.MeterSampled{Samples: []event.Sample{{Signed: []event.Signed{{Data: strings.Repeat("a", 40<<10)}}}}},
	} {
		o := openTest(t, testConfig(t.TempDir()))
		d := sampled(1, 0)
		d.Data = data
		addSamples(t, o, d, sampled(1, 1))
		l := o.Lane(event.LaneSamples)
		if n := l.Backlog(); n != 2 {
			t.Errorf("%s: got a backlog of %d, want 2", data.EventType(), n)
		}
		for l.Backlog() > 0 {
			b := next(t, l, 0)
			if _, err := wire.ParseBatch(wire.Pack(b.JSON)); err != nil {
				t.Error(err)
			}
			if err := l.Settle(ctxb, b.Stream, b.Last); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPressure: near the limit delivered rows go before their time, and samples
// thin out, before any commit fails.
func TestPressure(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.EventsBytes, cfg.SamplesBytes = 600<<10, 300<<10
	o := openTest(t, cfg)
	l := o.Lane(event.LaneEvents)
	for n := range 12_000 {
		commit(t, o, n)
		if n%500 == 499 {
			drain(t, l)
			l.upkeep(ctxb)
		}
	}
	for second := range 3000 {
		addSamples(t, o, sampled(1, second*10))
		if second%100 == 99 {
			o.samples.upkeep(ctxb)
		}
	}
	if o.events.isFull() || o.samples.isFull() || o.Stats().SamplesThinned == 0 {
		t.Errorf("full %v and %v, %d samples thinned; want room, and some", o.events.isFull(), o.samples.isFull(), o.Stats().SamplesThinned)
	}
}

// TestTakenBack: a change whose caller goes away while it waits is not made.
func TestTakenBack(t *testing.T) {
	o := openTest(t, testConfig(t.TempDir()))
	l := o.events
	busy, free := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	go func() {
		first <- l.do(ctxb, func() error { close(busy); <-free; return nil })
	}()
	<-busy
	ctx, cancel := context.WithCancel(ctxb)
	second := make(chan error)
	go func() { second <- o.Commit(ctx, site.Change{Events: []event.Draft{draft(1)}}) }()
	for waiting := 0; waiting == 0; {
		l.queue.mu.Lock()
		waiting = len(l.queue.waiting)
		l.queue.mu.Unlock()
	}
	cancel()
	if err := <-second; !errors.Is(err, site.ErrNotKept) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrNotKept", err)
	}
	close(free)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	commit(t, o, 2)
	wantInfos(t, drain(t, o.Lane(event.LaneEvents)), 2)
}
