package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Bounds of the upkeep.
const (
	deleteRows  = 2000            // in one transaction
	vacuumPages = 1024            // in one transaction
	vacuumFrom  = 256             // free pages that are worth it
	walBytes    = 5000 * pageSize // a larger WAL is cut when there is time
	retainEvery = time.Hour       // of marks, and thus the grain of retention
	// positionsEvery is how long positions wait for a commit with which they can
	// travel: the manager tells them again after a crash, and a card wears.
	positionsEvery = 10 * time.Minute
	// positionsApart is the least time between two commits that store positions:
	// they would be a part of every commit while the manager keeps up.
	positionsApart = time.Second
)

func hourOf(t time.Time) int64 { return t.Unix() / int64(retainEvery/time.Second) }

// upkeep stores positions, deletes what was delivered long ago, keeps the file
// below its limit and makes it smaller. Each step is a short job of the writer,
// so that commits go on in between.
func (l *Lane) upkeep(ctx context.Context) {
	l.mu.Lock()
	due := l.full || l.settledDirty && time.Since(l.positioned) > positionsEvery
	l.mu.Unlock()
	if due {
		l.kick() // when it is full: nobody else may be trying any more
	}
	err := l.retain(ctx)
	if err == nil {
		err = l.relieve(ctx)
	}
	if err == nil {
		err = l.shrink(ctx)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, errClosed) {
		l.log.Warn("upkeep failed", "err", err)
	}
}

// retain deletes the rows whose time after delivery is over.
func (l *Lane) retain(ctx context.Context) error {
	for ctx.Err() == nil {
		n := 0
		err := l.do(ctx, func() (err error) {
			if l.db == nil {
				return nil
			}
			n, err = l.deleteDelivered(deleteRows, true)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// deleteDelivered deletes the oldest rows that the manager has, at most limit;
// with old only those that were delivered longer ago than they are kept. A
// stream goes with its last row. It runs in the writer's goroutine.
func (l *Lane) deleteDelivered(limit int, old bool) (int, error) {
	type cut struct {
		st            *stream
		upto          uint64
		before        uint64 // oldest until now
		last, current bool
	}
	l.mu.Lock()
	streams := append([]*stream(nil), l.streams...)
	l.mu.Unlock()
	for _, st := range streams {
		c := cut{st: st}
		l.mu.Lock()
		c.upto, c.before = min(st.settled, st.last), st.oldest
		c.current = st == l.current()
		empty := st.stored && !c.current && st.oldest > st.last
		l.mu.Unlock()
		if !st.stored || (c.upto < c.before && !empty) {
			continue
		}
		if old {
			delivered, err := l.deliveredBefore(st, hourOf(l.o.stamp().Time.Add(-l.keep)))
			if err != nil {
				return 0, err
			}
			c.upto = min(c.upto, delivered)
			if c.upto < c.before && !empty {
				continue
			}
		}
		if !empty {
			l.mu.Lock()
			c.upto = min(st.through(c.upto), c.before+uint64(limit)-1)
			l.mu.Unlock()
		}
		c.last = !c.current && c.upto >= st.last
		n, err := l.cut(c.st, c.before, c.upto, c.last)
		if err == nil && c.last {
			n = max(n, 1) // the stream itself
		}
		return n, err
	}
	return 0, nil
}

// deliveredBefore is the position that st had reached before hour.
func (l *Lane) deliveredBefore(st *stream, hour int64) (uint64, error) {
	var n sql.NullInt64
	row := l.db.write.QueryRowContext(context.Background(),
		"SELECT max(settled) FROM marks WHERE ordinal = ? AND hour < ?", st.ordinal, hour)
	if err := row.Scan(&n); err != nil {
		return 0, fmt.Errorf("read marks: %w", err)
	}
	return uint64(max(n.Int64, 0)), nil
}

// cut deletes the rows of st from first to upto, and with last the stream.
func (l *Lane) cut(st *stream, first, upto uint64, last bool) (int, error) {
	// Nobody may look for a row that is going.
	l.mu.Lock()
	st.oldest = upto + 1
	l.mu.Unlock()
	err := l.db.transact(func(ctx context.Context) error {
		write := l.db.write
		_, err := write.ExecContext(ctx, "DELETE FROM rows WHERE key BETWEEN ? AND ?", rowKey(st.ordinal, first), rowKey(st.ordinal, upto))
		if err == nil {
			_, err = write.ExecContext(ctx, "DELETE FROM holes WHERE ordinal = ? AND last <= ?", st.ordinal, int64(upto))
		}
		if err == nil {
			// The newest of those that are of no more use stays: it says where retention stands.
			_, err = write.ExecContext(ctx, "DELETE FROM marks WHERE ordinal = ?1 AND hour < (SELECT max(hour) FROM marks WHERE ordinal = ?1 AND settled <= ?2)", st.ordinal, int64(upto))
		}
		if err == nil && last {
			for _, table := range []string{"streams", "streams_copy", "holes", "marks"} {
				if _, err = write.ExecContext(ctx, "DELETE FROM "+table+" WHERE ordinal = ?", st.ordinal); err != nil {
					break
				}
			}
		}
		return err
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		st.oldest = first
		return 0, fmt.Errorf("delete delivered events: %w", err)
	}
	st.trim()
	if last {
		for i, s := range l.streams {
			if s == st {
				l.streams = append(l.streams[:i:i], l.streams[i+1:]...)
				break
			}
		}
		l.log.Info("stream delivered and deleted", "stream", st.id, "last", st.last)
	}
	return int(upto + 1 - first), nil
}

// shrink gives free pages back to the disk and cuts the WAL.
func (l *Lane) shrink(ctx context.Context) error {
	vacuumed := false
	for ctx.Err() == nil {
		more := false
		err := l.do(ctx, func() error {
			if l.db == nil {
				return nil
			}
			free, err := l.db.number("PRAGMA freelist_count")
			if err != nil {
				return err
			}
			count, err := l.db.number("PRAGMA page_count")
			if err != nil {
				return err
			}
			more = free >= vacuumFrom && free > count/10
			if more {
				vacuumed = true
				return l.db.exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumPages))
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if !vacuumed && fileSize(l.path+"-wal") <= walBytes || l.checking.Load() {
		return nil // the check reads for minutes: cutting would wait for it
	}
	return l.do(ctx, func() error {
		if l.db == nil {
			return nil
		}
		// A reader in the way leaves it for the next time.
		return l.db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	})
}

// check looks over the whole file in the background, on a connection of its own:
// that takes minutes on a card. A file that fails is replaced.
func (l *Lane) check(ctx context.Context) {
	l.file.RLock()
	db := l.db
	l.file.RUnlock()
	if db == nil {
		return
	}
	pool, err := sql.Open("sqlite", dsn(l.path, "query_only(1)", "cache_size(-256)"))
	if err != nil {
		l.log.Warn("file not checked", "err", err)
		return
	}
	pool.SetMaxOpenConns(1)
	l.checking.Store(true)
	defer l.checking.Store(false)
	verdict := ""
	err = pool.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	if cerr := pool.Close(); cerr != nil {
		l.log.Warn("check not closed", "err", cerr)
	}
	l.file.RLock()
	same := db == l.db
	l.file.RUnlock()
	switch {
	case ctx.Err() != nil || !same:
	case err == nil && verdict == "ok":
		l.log.Debug("file checked")
	case err != nil && faultOf(err) != faultDamaged:
		l.log.Warn("file not checked", "err", err)
	default:
		if err == nil {
			err = fmt.Errorf("%w: %s", errDamaged, verdict)
		}
		if err := l.distrust(ctx, err); err != nil && ctx.Err() == nil {
			l.log.Warn("file that failed its check not replaced", "err", err)
		}
	}
}
