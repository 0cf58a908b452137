package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// Bounds of a batch and of what is read at once.
const (
	defaultBatch = 512 << 10 // bytes of plain JSON, where the caller sets none
	maxBatchRows = 4096
	headSize     = 150 // bytes that a row's head adds, generously
	usualEvent   = 1 << 10
)

// row is one numbered event.
type row struct {
	sequence uint64
	tail     []byte
}

// Next waits for events and returns the first that are not settled: one stream,
// the oldest that has any, in the order of their numbers, at least one event and
// of more only as many as fit in maxBytes of plain JSON (0: a sensible size). A
// batch never spans a hole. One caller at a time.
func (l *Lane) Next(ctx context.Context, maxBytes int) (wire.Batch, error) {
	if maxBytes <= 0 {
		maxBytes = defaultBatch
	}
	maxBytes = min(maxBytes, wire.MaxUnpacked-headSize)
	for {
		if err := ctx.Err(); err != nil {
			return wire.Batch{}, err
		}
		l.mu.Lock()
		st, first := l.pending()
		var tails [][]byte
		var last uint64
		if st != nil {
			last = st.until(first)
			if st == l.current() {
				tails = l.ring.from(first)
			}
			if len(tails) > 0 {
				// The array of the ring moves on; its events never change.
				tails = append([][]byte(nil), fit(tails, maxBytes)...)
			}
		}
		loose := l.looseRows
		l.awaited = st == nil && loose == 0
		l.mu.Unlock()

		switch {
		case len(tails) > 0:
			l.ahead.Store(nil)
			return batchOf(st.id, first, tails[:min(uint64(len(tails)), last-first+1)]), nil
		case st != nil:
			b, err := l.read(ctx, st, span{first, last}, maxBytes)
			if err != nil {
				return wire.Batch{}, err
			}
			if b.First != 0 {
				return b, nil
			} // a hole was found: look again
		case loose > 0:
			if err := l.number(ctx, maxBytes); err != nil {
				if ctx.Err() != nil {
					return wire.Batch{}, ctx.Err()
				}
				// No space for numbers now: the lane waits, the others go on.
				if err := l.pause(ctx); err != nil {
					return wire.Batch{}, err
				}
			}
		default:
			select {
			case <-ctx.Done():
				l.stopWaiting()
				return wire.Batch{}, ctx.Err()
			case <-l.wake:
			}
		}
	}
}

// stopWaiting says that nobody takes what comes next.
func (l *Lane) stopWaiting() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaited = false
}

// pauseAfterFailure keeps a lane that cannot work from spinning.
const pauseAfterFailure = time.Second

func (l *Lane) pause(ctx context.Context) error {
	t := time.NewTimer(pauseAfterFailure)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// pending returns the oldest stream that has something to send, and from which
// number on. The caller holds mu.
func (l *Lane) pending() (*stream, uint64) {
	for _, s := range l.streams {
		if n := s.next(); n > 0 {
			return s, n
		}
	}
	return nil, 0
}

// fit cuts tails to what a batch may hold.
func fit(tails [][]byte, maxBytes int) [][]byte {
	size := 2
	for i, t := range tails {
		size += headSize + len(t)
		if i > 0 && (size > maxBytes || i >= maxBatchRows) {
			return tails[:i]
		}
	}
	return tails
}

func batchOf(stream string, first uint64, tails [][]byte) wire.Batch {
	b := wire.NewBatcher(stream)
	size := 1
	for _, t := range tails {
		size += headSize + len(t)
	}
	b.Grow(size)
	for i, t := range tails {
		b.Add(first+uint64(i), t)
	}
	return b.Batch()
}

// ahead is a batch that is read while the one before it is on its way.
type ahead struct {
	stream   string
	first    uint64
	maxBytes int
	done     chan struct{} // closed when batch is there
	batch    wire.Batch    // empty where anything was unusual
}

// read makes a batch of the rows of st within want from the file, or takes the
// one that was read ahead. The batch is empty when the file turned out to hold
// something else than expected; the lane has then learned of it.
func (l *Lane) read(ctx context.Context, st *stream, want span, maxBytes int) (wire.Batch, error) {
	batch, ok := l.takeAhead(st, want, maxBytes)
	if !ok {
		var bad []span
		var err error
		batch, bad, err = l.scan(st, want, maxBytes)
		switch {
		case err != nil && faultOf(err) != faultDamaged:
			return wire.Batch{}, fmt.Errorf("read %s: %w", l.path, err)
		case err != nil:
			return wire.Batch{}, l.distrust(ctx, err)
		case batch.First == 0:
			return wire.Batch{}, l.declare(ctx, st, bad)
		}
	}
	if batch.Last < want.last {
		l.readAhead(st, span{batch.Last + 1, want.last}, maxBytes)
	}
	return batch, nil
}

// takeAhead returns the batch that was read ahead, if it is the wanted one.
func (l *Lane) takeAhead(st *stream, want span, maxBytes int) (wire.Batch, bool) {
	a := l.ahead.Swap(nil)
	if a == nil {
		return wire.Batch{}, false
	}
	<-a.done
	return a.batch, a.stream == st.id && a.first == want.first && a.maxBytes == maxBytes && a.batch.First != 0
}

// readAhead begins to read a batch. What it finds amiss is left to be found
// again when it is its turn.
func (l *Lane) readAhead(st *stream, want span, maxBytes int) {
	a := &ahead{stream: st.id, first: want.first, maxBytes: maxBytes, done: make(chan struct{})}
	l.ahead.Store(a)
	go func() {
		defer close(a.done)
		if batch, _, err := l.scan(st, want, maxBytes); err == nil {
			a.batch = batch
		}
	}()
}

// scan reads one batch. Without a single good row at the beginning of want the
// batch is empty, and bad tells what is damaged there.
func (l *Lane) scan(st *stream, want span, maxBytes int) (batch wire.Batch, bad []span, err error) {
	b := wire.NewBatcher(st.id)
	b.Grow(int(min(uint64(maxBytes), (want.last-want.first+1)*usualEvent)))
	expected := want.first
	err = l.readRows(st, want, func(r row, ok bool) bool {
		if r.sequence > expected {
			bad = append(bad, span{expected, r.sequence - 1})
		}
		expected = r.sequence + 1
		if !ok {
			bad = append(bad, span{r.sequence, r.sequence})
		}
		if len(bad) > 0 {
			return !ok && b.Size() == 1 // on to the next good row, unless there is a batch already
		}
		if b.Size() > 1 && b.Size()+headSize+len(r.tail) > maxBytes {
			return false
		}
		b.Add(r.sequence, r.tail)
		return true
	})
	if err != nil {
		return wire.Batch{}, nil, err
	}
	if b.Size() == 1 && len(bad) == 0 {
		bad = []span{want} // nothing at all is there
	}
	return b.Batch(), bad, nil
}

// readRows calls f with the rows of st within want in their order, with ok false
// where the checksum fails, until f returns false; its tail is valid until f
// returns. The read transaction ends with it.
func (l *Lane) readRows(st *stream, want span, f func(r row, ok bool) bool) (err error) {
	l.file.RLock()
	defer l.file.RUnlock()
	if l.db == nil {
		return fmt.Errorf("%w: %s is not open", errDamaged, l.path)
	}
	rows, err := l.db.readers.QueryContext(context.Background(), // short, and no goroutine to watch over it
		"SELECT key, crc, body FROM rows WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
		rowKey(st.ordinal, want.first), rowKey(st.ordinal, want.last), maxBatchRows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var before uint64
	for rows.Next() {
		var key, crc int64
		var body sql.RawBytes
		if err := rows.Scan(&key, &crc, &body); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		ordinal, sequence := splitKey(key)
		if ordinal != st.ordinal || sequence <= before || sequence < want.first || sequence > want.last {
			return fmt.Errorf("%w: expected a row of stream %s above %d, got %d/%d", errDamaged, st.id, before, ordinal, sequence)
		}
		before = sequence
		if !f(row{sequence, body}, checksum(st.id, sequence, body) == crc) {
			return nil
		}
	}
	return rows.Err()
}

// declare makes holes of rows that cannot be read: the hello names them, and the
// manager crosses them and records the loss.
func (l *Lane) declare(ctx context.Context, st *stream, bad []span) error {
	lost := 0
	l.mu.Lock()
	st = l.find(st.id)
	if st == nil {
		l.mu.Unlock()
		return nil // delivered and deleted meanwhile
	}
	bad = slices.DeleteFunc(bad, func(h span) bool { return h.first < st.oldest }) // rows that upkeep deletes
	l.mu.Unlock()
	if len(bad) == 0 {
		return nil
	}
	for _, h := range bad {
		lost += int(h.last - h.first + 1)
	}
	l.log.Error("events cannot be read back", "stream", st.id, "first", bad[0].first, "last", bad[len(bad)-1].last, "events", lost)
	l.o.stats.damagedRows.Add(int64(lost))
	l.o.alarms.raise("file_damaged", "critical", fmt.Sprintf(
		"%d events of stream %s from number %d on cannot be read back from %s.db and are lost: the card may be failing",
		lost, st.id, bad[0].first, l.name))
	l.mu.Lock()
	for _, h := range bad {
		st.lose(h)
	}
	l.mu.Unlock()
	// In the file too, or the next start would look for them again.
	err := l.do(ctx, func() error {
		if l.db == nil {
			return fmt.Errorf("%w: %s is not open", errDamaged, l.path)
		}
		return l.db.transact(func(ctx context.Context) error {
			for _, h := range bad {
				if err := l.writeHole(ctx, st.ordinal, h); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil && ctx.Err() == nil {
		l.log.Warn("hole not stored", "stream", st.id, "err", err)
		return nil // it is known in memory
	}
	return ctx.Err()
}

func (l *Lane) writeHole(ctx context.Context, ordinal int64, h span) error {
	_, err := l.db.write.ExecContext(ctx,
		"INSERT INTO holes (ordinal, first, last) VALUES (?,?,?) ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
		ordinal, int64(h.first), int64(h.last))
	return err
}

// distrust has the writer replace the file, because reading it failed with err.
func (l *Lane) distrust(ctx context.Context, cause error) error {
	l.mu.Lock()
	l.suspected = cause
	l.mu.Unlock()
	err := l.do(ctx, func() error {
		l.mu.Lock()
		suspected := l.suspected
		l.mu.Unlock()
		if suspected == nil {
			return nil // another request saw to it
		}
		return l.replace(suspected)
	})
	if err == nil {
		return nil
	}
	if errors.Is(err, errClosed) || ctx.Err() != nil {
		return err
	}
	return l.pause(ctx)
}

// parseTail reads a stored tail as an event without its number.
func parseTail(tail []byte) (event.Event, error) {
	var e event.Event
	err := json.Unmarshal(append([]byte{'{'}, tail...), &e)
	return e, err
}
