package outbox

import (
	"context"
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

var sampledAt = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

// sampled is one sample of an EVSE, so many seconds after sampledAt.
func sampled(evse, second int) event.Draft {
	at := sampledAt.Add(time.Duration(second) * time.Second)
	power := float64(second)
	return event.Draft{
		Address: event.Address{Station: "CP-7", EVSE: evse}, Time: at, Recorded: at, Boot: "boot", Clock: event.ClockSynced,
		Data: &event.SessionSampled{Session: "s-1", Transaction: "4711", Samples: []event.Sample{{Time: at, PowerW: &power}}},
	}
}

func addSamples(t testing.TB, o *Outbox, drafts ...event.Draft) {
	t.Helper()
	for _, d := range drafts {
		if err := o.AddSamples(context.Background(), d); err != nil {
			t.Fatal(err)
		}
	}
}

// seconds reads the samples of a batch: per event, the seconds since sampledAt.
func seconds(t testing.TB, b wire.Batch) [][]int {
	t.Helper()
	events, err := wire.ParseBatch(wire.Pack(b.JSON))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]int
	for _, e := range events {
		var p event.SessionSampled
		if err := json.Unmarshal(e.Data, &p); err != nil {
			t.Fatal(err)
		}
		var s []int
		for _, v := range p.Samples {
			s = append(s, int(v.Time.Sub(sampledAt)/time.Second))
		}
		out = append(out, s)
	}
	return out
}

func TestSamplesMerge(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir)) // durable at once
	addSamples(t, o, sampled(1, 0), sampled(2, 5), sampled(1, 10), sampled(1, 59), sampled(1, 60), sampled(1, 61))
	l := o.Lane(event.LaneSamples)
	if n := l.Backlog(); n != 3 {
		t.Errorf("got a backlog of %d, want 3 blocks", n)
	}
	b := next(t, l, 0)
	got, err := json.Marshal(seconds(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "[[0,10,59],[5],[60,61]]" {
		t.Errorf("got blocks %s", got)
	}
	addSamples(t, o, sampled(1, 62)) // the block before has its number
	again := next(t, l, 0)
	if again.First != b.First || again.Last != b.Last || string(again.JSON) != string(b.JSON) {
		t.Errorf("a batch that was handed out has changed")
	}
	if err := l.Settle(context.Background(), b.Stream, b.Last); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = openTest(t, testConfig(dir))
	b2 := next(t, o.Lane(event.LaneSamples), 0)
	if got := seconds(t, b2); len(got) != 1 || got[0][0] != 62 || b2.Stream == b.Stream || b2.First != 1 {
		t.Errorf("got %v as %d of %s, want [[62]] as 1 of a new stream", got, b2.First, b2.Stream)
	}
}

// Samples for which the uplink waits get their numbers with the flush: they are
// written once.
func TestSamplesAwaited(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir)) // durable at once
	l := o.Lane(event.LaneSamples)
	loose := l.nextLoose
	for i := range 3 {
		got := make(chan wire.Batch)
		go func() { got <- next(t, l, 0) }()
		for waits := false; !waits; runtime.Gosched() {
			l.mu.Lock()
			waits = l.awaited
			l.mu.Unlock()
		}
		addSamples(t, o, sampled(1, i))
		b := <-got
		if s := seconds(t, b); len(s) != 1 || len(s[0]) != 1 || s[0][0] != i || b.First != uint64(i+1) {
			t.Errorf("got %v from %d on, want [[%d]] from %d on", s, b.First, i, i+1)
		}
		if err := l.Settle(t.Context(), b.Stream, b.Last); err != nil {
			t.Fatal(err)
		}
	}
	addSamples(t, o, sampled(1, 9)) // for nobody
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if l.nextLoose != loose+1 {
		t.Errorf("%d rows were written without a number, want 1", l.nextLoose-loose)
	}
}

// What could not be written is staged again, whole.
func TestSamplesGivenBack(t *testing.T) {
	for _, numbered := range []bool{false, true} {
		cfg := testConfig(t.TempDir())
		cfg.SamplesFlush = time.Hour
		o := openTest(t, cfg)
		addSamples(t, o, sampled(1, 0), sampled(2, 0), sampled(1, 1), sampled(1, 90))
		for range 3 {
			f := o.sampler.stage(numbered)
			n := 0
			for _, b := range f.blocks {
				n += b.n
			}
			if n != 4 || len(f.blocks) != 3 {
				t.Errorf("numbered %v: staged %d samples in %d blocks, want 4 in 3", numbered, n, len(f.blocks))
			}
			o.sampler.giveBack(f)
		}
	}
}
