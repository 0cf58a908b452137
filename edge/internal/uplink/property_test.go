package uplink_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// TestNothingLost: whatever breaks on the way, and however often the manager is
// restored from a backup, its database has every event in the end, each once
// since the restore and in the order of its number, older streams first.
func TestNothingLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		perBatch := rapid.IntRange(1, 7).Draw(rt, "events per batch")
		trouble := rapid.IntRange(0, 60).Draw(rt, "percent of trouble")
		streams := rapid.IntRange(1, 4).Draw(rt, "streams")
		var broken string
		synctest.Test(t, func(t *testing.T) {
			broken = storm(t, rand.New(rand.NewPCG(seed, 1)), perBatch, trouble, streams)
		})
		if broken != "" {
			rt.Fatal(broken)
		}
	})
}

func storm(t *testing.T, r *rand.Rand, perBatch, trouble, streams int) string {
	w := newWorld(perBatch)
	stormy := true
	bad := func() bool { return stormy && r.IntN(100) < trouble }
	type backup struct {
		positions map[string]uint64
		applied   []event.ID
	}
	backups := []backup{{}}
	w.far.onConnect = func(int) error {
		if bad() {
			return errAway
		}
		return nil
	}
	w.far.onHello = func(int, wire.Hello, *wire.Welcome) verdict {
		if !bad() {
			return verdict{}
		}
		return []verdict{{silent: true}, {cut: true}, {lose: true}, {delay: time.Duration(r.IntN(9000)) * time.Millisecond}}[r.IntN(4)]
	}
	w.far.onUp = func(_ int, first, last uint64) verdict {
		backups = append(backups, backup{maps.Clone(w.far.positions[event.LaneEvents]), slices.Clone(w.far.applied[event.LaneEvents])})
		if !bad() {
			return verdict{}
		}
		switch r.IntN(7) {
		case 0:
			return verdict{silent: true}
		case 1:
			return verdict{cut: true}
		case 2:
			return verdict{lose: true}
		case 3:
			return verdict{delay: time.Duration(r.IntN(20000)) * time.Millisecond}
		case 4:
			return verdict{take: first + uint64(r.IntN(int(last-first)+1))}
		case 5: // a stranger's word, or our own of long ago
			first, position := wire.Sequence(r.Uint64N(9)), wire.Sequence(r.Uint64N(9))
			return verdict{extra: []wire.Ack{{Stream: "s9", First: &first, Sequence: &position}, {Refused: "f"}}}
		}
		return verdict{restore: func() {
			b := backups[r.IntN(len(backups))]
			w.far.positions[event.LaneEvents] = maps.Clone(b.positions)
			w.far.applied[event.LaneEvents] = slices.Clone(b.applied)
		}}
	}
	w.start(t)
	total := 0
	roll := func(n int) int { return look(w.far, func() int { return r.IntN(n) }) } // the hooks roll too
	for s := range streams {
		for range 1 + roll(6) {
			n := 1 + roll(9)
			total += n
			w.events.add(fmt.Sprintf("s%d", s), n)
			w.samples.add("m", roll(3))
			time.Sleep(time.Duration(roll(20000)) * time.Millisecond)
		}
	}
	time.Sleep(10 * time.Minute)
	look(w.far, func() bool { stormy = false; return true })
	time.Sleep(3 * time.Hour)
	w.finish(t)

	applied := w.far.applied[event.LaneEvents]
	if len(applied) != total || w.events.Backlog() != 0 || w.samples.Backlog() != 0 {
		return fmt.Sprintf("%d events applied of %d, backlog %d and %d", len(applied), total, w.events.Backlog(), w.samples.Backlog())
	}
	next := make(map[string]uint64)
	for _, id := range applied {
		if id.Sequence != next[id.Stream]+1 {
			return fmt.Sprintf("event %s was applied after number %d", id, next[id.Stream])
		}
		next[id.Stream] = id.Sequence
	}
	return ""
}
