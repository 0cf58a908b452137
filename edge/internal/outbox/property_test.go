package outbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// world is a gateway's outbox and a manager, as a model sees them.
type world struct {
	t     *rapid.T
	cfg   Config
	clock *testClock
	o     *Outbox

	said      int               // events committed, each says its number
	confirmed []string          // what they say
	records   map[string]string // as committed

	position map[string]uint64 // the manager's database
	applied  []string          // in the order of arrival
	backup   *world            // an older copy of the manager's half
	ids      map[string]string // event id: what it said, for ever
}

func (w *world) fail(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() {
	o, err := Open(w.cfg, w.clock, quiet())
	w.fail(err)
	w.o = o
	got := map[string]string{}
	for _, r := range o.Restored() {
		got[r.Key.ID] = string(r.Value)
	}
	if fmt.Sprint(got) != fmt.Sprint(w.records) {
		w.t.Fatalf("records: got %v, want %v", got, w.records)
	}
}

// commit lets some callers commit at the same time.
func (w *world) commit(t *rapid.T) {
	callers := rapid.IntRange(1, 4).Draw(t, "callers")
	errs := make(chan error, callers)
	for range callers {
		var c site.Change
		for range rapid.IntRange(0, 12).Draw(t, "events") {
			w.said++
			c.Events = append(c.Events, draft(w.said))
			w.confirmed = append(w.confirmed, fmt.Sprint(w.said))
		}
		id := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "record"))
		key := site.Key{Kind: "session", Station: "CP-7", ID: id}
		if callers > 1 { // in which order they come is open: no records
			go func() { errs <- w.o.Commit(context.Background(), c) }()
			continue
		}
		if rapid.Bool().Draw(t, "delete") {
			c.Delete = []site.Key{key}
			delete(w.records, id)
		} else {
			c.Put = []site.Record{{Key: key, Value: []byte(fmt.Sprint(w.said))}}
			w.records[id] = fmt.Sprint(w.said)
		}
		errs <- w.o.Commit(context.Background(), c)
	}
	for range callers {
		w.fail(<-errs)
	}
}

// crash opens what the disk holds at this moment, as after a kill.
func (w *world) crash(t *rapid.T) {
	dir, err := os.MkdirTemp(filepath.Dir(w.cfg.Dir), "crashed-*")
	w.fail(err)
	w.fail(os.CopyFS(dir, os.DirFS(w.cfg.Dir)))
	w.fail(w.o.Close())
	w.cfg.Dir = dir
	w.open()
}

func (w *world) restart(*rapid.T) {
	w.fail(w.o.Close())
	w.open()
}

// replace is damage found while at work.
func (w *world) replace(*rapid.T) {
	w.fail(w.lane().distrust(context.Background(), errDamaged))
}

func (w *world) lane() *Lane { return w.o.Lane(event.LaneEvents) }

// hello tells the manager which streams there are and takes its positions.
func (w *world) hello() {
	ctx := context.Background()
	settled := map[string]bool{}
	for more := true; more; {
		var streams []wire.StreamSummary
		var err error
		streams, more, err = w.lane().Streams(ctx, settled)
		w.fail(err)
		positions := map[string]uint64{}
		for _, s := range streams {
			if len(s.Missing) > 0 {
				w.t.Fatalf("stream %s has holes %v", s.Stream, s.Missing)
			}
			if p := w.position[s.Stream]; uint64(s.Oldest) > p+1 {
				w.t.Fatalf("stream %s: oldest %d, the manager is at %d", s.Stream, s.Oldest, p)
			}
			positions[s.Stream] = w.position[s.Stream]
			settled[s.Stream] = true
		}
		w.fail(w.lane().Welcome(ctx, positions, "incarnation"))
	}
}

// deliver hands batches to the manager, which may be cut off before its ack.
func (w *world) deliver(t *rapid.T) {
	w.hello()
	for range rapid.IntRange(1, 6).Draw(t, "batches") {
		if w.lane().Backlog() == 0 {
			return
		}
		w.deliverOne(t, rapid.IntRange(300, 4000).Draw(t, "bytes"), rapid.IntRange(0, 3).Draw(t, "lost ack") > 0)
	}
}

func (w *world) deliverOne(t *rapid.T, bytes int, ack bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := w.lane().Next(ctx, bytes)
	w.fail(err)
	if b.First != w.position[b.Stream]+1 && !ack {
		return // the manager would ask for a hello
	}
	events, err := wire.ParseBatch(wire.Pack(b.JSON))
	w.fail(err)
	for _, e := range events {
		id, err := e.EventID()
		w.fail(err)
		said := string(e.Type)
		if e.Type == event.TypeStationStatus {
			p, err := e.Decode()
			w.fail(err)
			said = p.(*event.StationStatus).Info
		}
		if before, ok := w.ids[e.ID]; ok && before != said {
			t.Fatalf("event %s said %s before and now %s", e.ID, before, said)
		}
		w.ids[e.ID] = said
		if id.Sequence != w.position[id.Stream]+1 {
			if id.Sequence <= w.position[id.Stream] {
				continue // applied before
			}
			t.Fatalf("event %s came while the manager is at %d", e.ID, w.position[id.Stream])
		}
		w.position[id.Stream] = id.Sequence
		if e.Type == event.TypeStationStatus {
			w.applied = append(w.applied, said)
		}
	}
	if ack {
		w.fail(w.lane().Settle(ctx, b.Stream, w.position[b.Stream]))
	}
}

func (w *world) backUp(*rapid.T) {
	w.backup = &world{position: map[string]uint64{}, applied: slices.Clone(w.applied)}
	for k, v := range w.position {
		w.backup.position[k] = v
	}
}

// restore puts the manager's backup back: what it had taken since goes out again.
func (w *world) restore(t *rapid.T) {
	if w.backup == nil {
		t.Skip("no backup")
	}
	w.position, w.applied = map[string]uint64{}, slices.Clone(w.backup.applied)
	for k, v := range w.backup.position {
		w.position[k] = v
	}
	w.hello()
}

// upkeep must not delete anything that a restored manager could ask for.
func (w *world) upkeep(t *rapid.T) {
	w.clock.advance(time.Duration(rapid.IntRange(0, 3).Draw(t, "hours")) * time.Hour)
	w.lane().upkeep(context.Background())
}

// TestNothingLost drives an outbox and a manager through commits, deliveries,
// lost acks, kills, restarts, damage at work and restored backups: in the end
// the manager has every confirmed event once and in order.
func TestNothingLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		w := &world{
			t: rt, cfg: testConfig(base + "/data"), clock: newClock(), records: map[string]string{},
			position: map[string]uint64{}, ids: map[string]string{},
		}
		w.open()
		defer func() { w.fail(w.o.Close()) }()
		rt.Repeat(map[string]func(*rapid.T){
			"commit": w.commit, "commit again": w.commit, "deliver": w.deliver, "deliver again": w.deliver,
			"crash": w.crash, "restart": w.restart, "replace": w.replace,
			"back up": w.backUp, "restore": w.restore, "upkeep": w.upkeep,
		})
		w.hello()
		for w.lane().Backlog() > 0 {
			w.deliverOne(rt, 0, true)
		}
		got, want := slices.Clone(w.applied), slices.Clone(w.confirmed)
		slices.Sort(got) // callers at the same time have no order between them
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("applied %v, confirmed %v", w.applied, w.confirmed)
		}
	})
}
