package outbox

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// takeSamples settles the samples lane and returns, by EVSE, the seconds of the
// samples, and the records of thinning.
func takeSamples(t testing.TB, l *Lane) (map[int][]int, []event.StreamThinned) {
	t.Helper()
	got := map[int][]int{}
	var thinned []event.StreamThinned
	for l.Backlog() > 0 {
		b := next(t, l, 0)
		events, err := wire.ParseBatch(wire.Pack(b.JSON))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			p, err := e.Decode()
			if err != nil {
				t.Fatal(err)
			}
			switch p := p.(type) {
			case *event.SessionSampled:
				a, err := event.ParseSubject(e.Subject)
				if err != nil {
					t.Fatal(err)
				}
				if p.Session != "s-1" || p.Transaction != "4711" || len(p.Samples) == 0 || !e.Time.Equal(p.Samples[0].Time) {
					t.Errorf("got %s of %v", e.Data, a)
				}
				for _, s := range p.Samples {
					got[a.EVSE] = append(got[a.EVSE], int(s.Time.Sub(sampledAt)/time.Second))
				}
			case *event.StreamThinned:
				thinned = append(thinned, *p)
			default:
				t.Errorf("%s on the samples lane", e.Type)
			}
		}
		if err := l.Settle(ctxb, b.Stream, b.Last); err != nil {
			t.Fatal(err)
		}
	}
	return got, thinned
}

// TestThinning keeps adding samples while nobody takes them: the file stays
// within its limit, what is older is coarser, and the records tell how many are
// gone.
func TestThinning(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SamplesBytes = 300 << 10
	cfg.SamplesFlush = time.Hour // flushed by hand
	o := openTest(t, cfg)
	l := o.Lane(event.LaneSamples)
	added := 0
	const step, hours, evses = 10, 6, 3
	for second := 0; second < hours*3600; second += step {
		for evse := 1; evse <= evses; evse++ {
			addSamples(t, o, sampled(evse, second))
			added++
		}
		if second%600 == 0 {
			if err := l.submit(ctxb, newRequest()); err != nil {
				t.Fatalf("after %d samples: %v", added, err)
			}
		}
	}
	if err := l.submit(ctxb, newRequest()); err != nil {
		t.Fatal(err)
	}
	if size := fileSize(l.path); size > cfg.SamplesBytes {
		t.Errorf("the file has %d bytes, its limit is %d", size, cfg.SamplesBytes)
	}
	got, thinned := takeSamples(t, l)
	left := 0
	for evse := 1; evse <= evses; evse++ {
		s := got[evse]
		left += len(s)
		if !slices.IsSorted(s) || len(s) < 20 {
			t.Errorf("EVSE %d: %d samples, sorted %v", evse, len(s), slices.IsSorted(s))
		}
		if newest := s[len(s)-1]; newest != hours*3600-step {
			t.Errorf("EVSE %d: newest sample at %d s, want the last one", evse, newest)
		}
		old, young := s[1]-s[0], s[len(s)-1]-s[len(s)-2]
		if old < 60 || young != step {
			t.Errorf("EVSE %d: %d s between the oldest samples, %d s between the newest", evse, old, young)
		}
	}
	removed := 0
	for _, r := range thinned {
		removed += r.Removed
		if r.Reason == "" || r.To.Before(r.From) {
			t.Errorf("record %+v", r)
		}
	}
	if removed != added-left {
		t.Errorf("%d of %d samples are gone, the records say %d", added-left, added, removed)
	}
	if len(thinned) > len(thinSteps)+1 {
		t.Errorf("%d records, want one for each step at most", len(thinned))
	}
}

// TestNumberedIsNeverThinned: rows that a batch may hold stay as they are.
func TestNumberedIsNeverThinned(t *testing.T) {
	o := openTest(t, testConfig(t.TempDir()))
	l := o.Lane(event.LaneSamples)
	for second := range 120 {
		addSamples(t, o, sampled(1, second))
	}
	b := next(t, l, 0)
	for second := range 120 {
		addSamples(t, o, sampled(2, second))
	}
	if err := l.do(ctxb, func() error {
		for {
			if some, err := l.thin(); !some || err != nil {
				return err
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if again := next(t, l, 0); string(again.JSON) != string(b.JSON) {
		t.Error("a batch that was handed out has changed")
	}
	got, thinned := takeSamples(t, l)
	// The open block of the second minute is not thinned.
	if len(got[1]) != 120 || len(got[2]) != 60 || len(thinned) == 0 {
		t.Errorf("got %d and %d samples, %d records; want 120, 60 and some", len(got[1]), len(got[2]), len(thinned))
	}
}

// TestSamplesWithoutDisk counts what cannot be kept and says so afterwards.
func TestSamplesWithoutDisk(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SamplesFlush = time.Hour
	o := openTest(t, cfg)
	l := o.Lane(event.LaneSamples)
	limit := func(bytes int64) {
		t.Helper()
		if err := l.do(ctxb, func() error { l.limit = bytes; return l.limitPages(l.db) }); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	d := sampled(1, 0)
	big := make([]byte, 20<<10)
	for i := range big {
		big[i] = 'x'
	}
	added := 0
	for o.Stats().SamplesLost < 5 {
		d.Data = &event.SessionSampled{Session: "s-1", Transaction: "4711", Samples: []event.Sample{{
			Time: sampledAt.Add(time.Duration(added) * time.Second), DeviceTime: string(big),
		}}}
		addSamples(t, o, d)
		added++
	}
	if !l.isFull() {
		t.Error("the lane does not know that it is full")
	}
	limit(512 << 20)
	if err := l.submit(ctxb, newRequest()); err != nil {
		t.Fatal(err)
	}
	got, thinned := takeSamples(t, l)
	if len(got[1]) != added-5 || len(thinned) != 1 || thinned[0].Removed != 5 || thinned[0].StepS != 0 {
		t.Errorf("got %d of %d samples and records %+v; want 5 counted as lost", len(got[1]), added, thinned)
	}
}

func TestSamplesFlush(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SamplesFlush = time.Millisecond
	o := openTest(t, cfg)
	ctx, cancel := context.WithCancel(ctxb)
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	addSamples(t, o, sampled(1, 0))
	if got := seconds(t, next(t, o.Lane(event.LaneSamples), 0)); len(got) != 1 {
		t.Errorf("got %v, want one block", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestSamplesSurvive: rows without a number get theirs in the new stream.
func TestSamplesSurvive(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SamplesFlush = time.Hour
	o := openTest(t, cfg)
	addSamples(t, o, sampled(1, 0), sampled(1, 10), sampled(2, 0))
	if err := o.Close(); err != nil { // flushes
		t.Fatal(err)
	}
	o = openTest(t, cfg)
	l := o.Lane(event.LaneSamples)
	if n := l.Backlog(); n != 2 {
		t.Errorf("got a backlog of %d, want 2", n)
	}
	b := next(t, l, 0)
	if b.First != 1 || b.Last != 2 {
		t.Errorf("got numbers %d to %d, want 1 and 2", b.First, b.Last)
	}
	got, err := json.Marshal(seconds(t, b))
	if err != nil || string(got) != "[[0,10],[0]]" {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestSamplesDamagedAtWork: open blocks go on in the new file.
func TestSamplesDamagedAtWork(t *testing.T) {
	o := openTest(t, testConfig(t.TempDir()))
	l := o.Lane(event.LaneSamples)
	addSamples(t, o, sampled(1, 0), sampled(1, 10))
	if err := l.distrust(ctxb, errDamaged); err != nil {
		t.Fatal(err)
	}
	addSamples(t, o, sampled(1, 20), sampled(2, 0))
	got, _ := takeSamples(t, l)
	if !slices.Equal(got[1], []int{0, 10, 20}) || !slices.Equal(got[2], []int{0}) {
		t.Errorf("got %v", got)
	}
	_, reports := crossed(t, o.Lane(event.LaneEvents))
	if words := types(t, reports); !slices.Contains(words, string(event.TypeStreamSalvaged)) || !slices.Contains(words, "file_damaged") {
		t.Errorf("got %v, want the report and the alarm", words)
	}
}
