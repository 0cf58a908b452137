package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// span is a run of numbers, both ends included.
type span struct{ first, last uint64 }

// stream is what is known in memory of one stream. The numbers themselves are
// kept in the rows only.
type stream struct {
	ordinal int64
	id      string
	stored  bool   // its row is in the file: from its first numbered event on
	oldest  uint64 // first row still held; last+1 when there is none
	last    uint64 // newest row; 0 before the first
	settled uint64 // position of the manager, as far as we know
	missing []span // above oldest: rows that are lost for ever, in order

	settledStored uint64 // as the file says
}

func (s *stream) held() bool { return s.last >= s.oldest && s.last > 0 }

// next is the first number above settled that can go out, or 0.
func (s *stream) next() uint64 {
	n := max(s.settled+1, s.oldest)
	for _, m := range s.missing {
		if n >= m.first && n <= m.last {
			n = m.last + 1
		}
	}
	if n > s.last {
		return 0
	}
	return n
}

// until is the last number before the next hole above n.
func (s *stream) until(n uint64) uint64 {
	for _, m := range s.missing {
		if m.first > n {
			return m.first - 1
		}
	}
	return s.last
}

// through is n, or the end of the holes that follow it: nothing is held there.
func (s *stream) through(n uint64) uint64 {
	for _, m := range s.missing {
		if m.first == n+1 {
			n = m.last
		}
	}
	return n
}

// backlog counts what is not settled.
func (s *stream) backlog() int {
	n := max(s.settled+1, s.oldest)
	if n > s.last {
		return 0
	}
	count := s.last - n + 1
	for _, m := range s.missing {
		if m.last >= n {
			count -= m.last - max(m.first, n) + 1
		}
	}
	return int(count)
}

// lose declares numbers as lost and merges what touches.
func (s *stream) lose(lost span) {
	s.missing = append(s.missing, lost)
	slices.SortFunc(s.missing, func(a, b span) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		return 0
	})
	merged := s.missing[:1]
	for _, m := range s.missing[1:] {
		if last := &merged[len(merged)-1]; m.first <= last.last+1 {
			last.last = max(last.last, m.last)
		} else {
			merged = append(merged, m)
		}
	}
	s.missing = merged
}

// trim forgets holes below oldest: they may be crossed without a word.
func (s *stream) trim() {
	s.missing = slices.DeleteFunc(s.missing, func(m span) bool { return m.last < s.oldest })
}

// Lane is one durable queue. Its methods are those that package uplink calls.
type Lane struct {
	name  event.Lane
	o     *Outbox
	log   *slog.Logger
	path  string
	limit int64 // bytes of the file
	keep  time.Duration

	// file guards db: readers hold it for one batch, the writer to replace db.
	file sync.RWMutex
	db   *database

	// Owned by the writer.
	nextLoose     int64 // id of the next row without a number
	irreplaceable bool  // the last attempt to replace the file failed

	queue    queue
	done     chan struct{} // closed when the writer is gone
	checking atomic.Bool   // a long read transaction is open
	ahead    atomic.Pointer[ahead]

	mu           sync.Mutex
	streams      []*stream // in the order in which they go out; the last is current
	ring         ring
	incarnation  string
	looseRows    int           // rows without a number
	awaited      bool          // Next has nothing to return
	wake         chan struct{} // has a token when Next should look again
	full         bool          // the last commit found no space
	suspected    error         // why the reader distrusts the file; the writer replaces it
	memory       *memory       // while the writer replaces the file, else nil
	settledDirty bool          // a position is newer than the file
	positioned   time.Time     // when positions were last stored, with a monotonic reading
}

// memory is what a lane at work knows better than a file that is damaged.
type memory struct {
	streams []*stream
	ring    ring // of the last of them
}

// find returns a stream as memory knows it, or nil.
func (m *memory) find(id string) *stream {
	if m != nil {
		for _, st := range m.streams {
			if st.id == id {
				return st
			}
		}
	}
	return nil
}

func newLane(o *Outbox, name event.Lane, limit int64, keep time.Duration) *Lane {
	return &Lane{
		name: name, o: o, log: o.log.With("lane", name), limit: limit, keep: keep,
		path:  filepath.Join(o.cfg.Dir, string(name)+".db"),
		queue: queue{wake: make(chan struct{}, 1)},
		done:  make(chan struct{}),
		wake:  make(chan struct{}, 1),
		ring:  ring{limit: ringBytes},
	}
}

// current is the stream that numbers new events. The caller holds mu, or is the
// writer.
func (l *Lane) current() *stream { return l.streams[len(l.streams)-1] }

// newStream begins a stream after all others. The caller holds mu, or nobody
// else knows the lane yet.
func (l *Lane) newStream() error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("new stream: %w", err)
	}
	ordinal := int64(1)
	if n := len(l.streams); n > 0 {
		ordinal = l.streams[n-1].ordinal + 1
	}
	l.streams = append(l.streams, &stream{ordinal: ordinal, id: id.String(), oldest: 1})
	l.ring.reset()
	return nil
}

// find returns a stream by its name, or nil. The caller holds mu.
func (l *Lane) find(id string) *stream {
	for _, s := range l.streams {
		if s.id == id {
			return s
		}
	}
	return nil
}

// poke makes Next look again.
func (l *Lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Streams names the oldest streams that hold a row, at most wire.MaxStreams,
// without those in settled; more says that there are others.
func (l *Lane) Streams(ctx context.Context, settled map[string]bool) (streams []wire.StreamSummary, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	streams = []wire.StreamSummary{} // an empty list is a word, null is none
	for _, s := range l.streams {
		if !s.held() || settled[s.id] {
			continue
		}
		if len(streams) == wire.MaxStreams {
			return streams, true, nil
		}
		sum := wire.StreamSummary{Stream: s.id, Oldest: wire.Sequence(s.oldest), Next: wire.Sequence(s.last + 1)}
		for _, m := range s.missing {
			sum.Missing = append(sum.Missing, [2]wire.Sequence{wire.Sequence(m.first), wire.Sequence(m.last)})
		}
		streams = append(streams, sum)
	}
	return streams, false, nil
}

// Welcome moves each stream to the manager's position, forwards or backwards:
// what the manager has lost goes out again from the rows that are kept after
// delivery. A position beyond the last number of a stream means that this
// gateway's storage lost what it had confirmed: the stream is settled and an
// alarm raised.
func (l *Lane) Welcome(ctx context.Context, positions map[string]uint64, incarnation string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.incarnation != incarnation && l.incarnation != "" {
		l.log.Info("manager was restored from a backup", "incarnation", incarnation)
	}
	l.incarnation = incarnation
	for id, position := range positions {
		if err := l.move(id, position, true); err != nil {
			return err
		}
	}
	l.poke()
	return nil
}

// Settle moves a stream to the manager's position, as an ack tells it.
func (l *Lane) Settle(ctx context.Context, stream string, position uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.move(stream, position, false)
	l.poke()
	return err
}

// move settles one stream. The caller holds mu. The file learns of it with a
// later commit: the manager tells its position again in every welcome.
func (l *Lane) move(id string, position uint64, welcome bool) error {
	s := l.find(id)
	if s == nil {
		if s := l.memory.find(id); s != nil { // the file is being replaced
			s.settled = min(position, s.last)
		}
		return nil // its last row is gone: settled long ago
	}
	if position > s.last {
		if err := l.lost(s, position); err != nil {
			return err
		}
		position = s.last
	}
	if position == s.settled {
		return nil
	}
	if position < s.settled {
		l.log.Warn("manager is behind what it had acknowledged, sending again", "stream", id, "acknowledged", s.settled, "position", position, "welcome", welcome)
		l.o.stats.replayed.Add(int64(s.settled - position))
	} else {
		l.o.stats.lane(l.name).settled.Add(int64(position - s.settled))
	}
	s.settled = position
	l.settledDirty = true
	if s == l.current() {
		l.ring.dropThrough(position)
	}
	return nil
}

// lost answers a position that was never given in stream s of this file.
func (l *Lane) lost(s *stream, position uint64) error {
	l.log.Error("storage lost events that the manager has", "stream", s.id, "last", s.last, "position", position)
	l.o.alarms.raise("storage_lost", "critical", fmt.Sprintf(
		"the manager has events of stream %s up to number %d, the gateway's storage only up to %d: the storage lost what it had confirmed, or an older image of it was put back; check the card and its backups",
		s.id, position, s.last))
	if s != l.current() {
		return nil
	}
	// New numbers of this stream would pass for old ones.
	return l.newStream()
}

// Backlog is the number of events not settled, rows without a number included.
func (l *Lane) Backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.looseRows
	for _, s := range l.streams {
		n += s.backlog()
	}
	return n
}

// errClosed is what Commit answers after Close.
var errClosed = errors.New("outbox is closed")
