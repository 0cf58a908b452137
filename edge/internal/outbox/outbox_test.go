package outbox

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(recordEnv); dir != "" { // see TestUnsyncedWrites
		if err := recordWrites(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Each check opens files many times: fewer than rapid's default of 100.
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// testClock stands where it is put.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *testClock {
	return &testClock{now: time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)}
}

func (c *testClock) Stamp() site.Stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return site.Stamp{Time: c.now, Boot: "boot", Clock: event.ClockSynced}
}

func (c *testClock) Judge() (time.Time, bool) { return c.Stamp().Time, true }

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testConfig(dir string) Config {
	return Config{Dir: dir, Gateway: "gw-1", Boot: "boot", BallastBytes: -1}
}

func openTest(t testing.TB, cfg Config) *Outbox {
	t.Helper()
	return openWith(t, cfg, newClock())
}

func openWith(t testing.TB, cfg Config, c site.Clock) *Outbox {
	t.Helper()
	o, err := Open(cfg, c, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// draft is an event that says n.
func draft(n int) event.Draft {
	at := time.Date(2026, 11, 22, 6, 0, 0, n*1e6, time.UTC)
	return event.Draft{
		Address: event.Address{Station: "CP-7", EVSE: 1, Connector: 1},
		Time:    at, Recorded: at, Boot: "boot", Clock: event.ClockSynced,
		Data: &event.StationStatus{Status: event.StatusAvailable, Info: fmt.Sprint(n)},
	}
}

func commit(t testing.TB, o *Outbox, numbers ...int) {
	t.Helper()
	var c site.Change
	for _, n := range numbers {
		c.Events = append(c.Events, draft(n))
	}
	if err := o.Commit(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

// infos reads what the events of a batch say.
func infos(t testing.TB, b wire.Batch) []string {
	t.Helper()
	events, err := wire.ParseBatch(wire.Pack(b.JSON))
	if err != nil {
		t.Fatalf("%v\n%.300s", err, b.JSON)
	}
	var out []string
	for i, e := range events {
		id, err := e.EventID()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && id.Sequence != b.First || i == len(events)-1 && id.Sequence != b.Last {
			t.Errorf("batch says %d to %d, event %d is %s", b.First, b.Last, i, id)
		}
		var data struct{ Info string }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if e.Type == event.TypeStationStatus {
			out = append(out, data.Info)
		} else {
			out = append(out, string(e.Type))
		}
	}
	return out
}

func next(t testing.TB, l *Lane, maxBytes int) wire.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := l.Next(ctx, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drain settles everything that the lane has now and returns what it said.
func drain(t testing.TB, l *Lane) []string {
	t.Helper()
	var out []string
	for l.Backlog() > 0 {
		b := next(t, l, 0)
		out = append(out, infos(t, b)...)
		if err := l.Settle(context.Background(), b.Stream, b.Last); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func wantInfos(t testing.TB, got []string, numbers ...int) {
	t.Helper()
	var want []string
	for _, n := range numbers {
		want = append(want, fmt.Sprint(n))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}

func TestCommitAndNext(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir))
	commit(t, o, 1)
	commit(t, o, 2, 3)
	b := next(t, o.Lane(event.LaneEvents), 0)
	wantInfos(t, infos(t, b), 1, 2, 3)
	if b.First != 1 || b.Last != 3 {
		t.Errorf("got %d to %d, want 1 to 3", b.First, b.Last)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}

	again := openTest(t, testConfig(dir))
	commit(t, again, 4)
	l := again.Lane(event.LaneEvents)
	streams, more, err := l.Streams(context.Background(), nil)
	if err != nil || more || len(streams) != 2 || streams[0].Stream != b.Stream || streams[0].Next != 4 || streams[1].Next != 2 {
		t.Fatalf("got %v, %v, %v; want the old stream with 3 events, then the new one with 1", streams, more, err)
	}
	wantInfos(t, drain(t, l), 1, 2, 3, 4)
}

func TestRecordsSurvive(t *testing.T) {
	dir := t.TempDir()
	o := openTest(t, testConfig(dir))
	key := func(id string) site.Key { return site.Key{Kind: "session", Station: "CP-7", ID: id} }
	put := func(o *Outbox, id, value string) {
		t.Helper()
		if err := o.Commit(context.Background(), site.Change{Put: []site.Record{{Key: key(id), Value: []byte(value)}}}); err != nil {
			t.Fatal(err)
		}
	}
	put(o, "a", "1")
	put(o, "b", "1")
	put(o, "a", "2")
	if err := o.Commit(context.Background(), site.Change{Delete: []site.Key{key("b")}, Put: []site.Record{{Key: key("c"), Value: []byte("3")}}}); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range openTest(t, testConfig(dir)).Restored() {
		got[r.Key.ID] = string(r.Value)
	}
	if fmt.Sprint(got) != "map[a:2 c:3]" {
		t.Errorf("got %v, want a=2 and c=3", got)
	}
}
