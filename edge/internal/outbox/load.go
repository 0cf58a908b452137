package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

const accessReadWrite = 0x4 | 0x2 // R_OK|W_OK of access(2)

// open opens the file for the first time.
func (l *Lane) open() error {
	err := l.acquire()
	for try := 0; l.isSpace(err) && try < maxMends && (l.makeRoom() || l.o.reserve.release()); try++ {
		err = l.acquire()
	}
	if err != nil {
		return fmt.Errorf("%s.db in %s cannot be opened or made anew: %w", l.name, l.o.cfg.Dir, err)
	}
	return nil
}

// acquire opens the file, or moves a damaged one aside and makes a new one, takes
// over what can be read of files that were moved aside, and begins a new stream.
// On an error the lane has no file, and acquire may be called again.
func (l *Lane) acquire() (err error) {
	if err := finishMove(l.path); err != nil {
		return err
	}
	for _, path := range []string{l.path, l.path + walSuffix} { // no damage: a person's mistake
		if err := syscall.Access(path, accessReadWrite); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			return fmt.Errorf("%s: %w: expected a file that this user may read and write", path, err)
		}
	}
	l.db, err = l.openLoaded()
	if faultOf(err) == faultDamaged {
		l.log.Error("file is damaged", "err", err)
		l.db, err = l.replaceFile(err)
	}
	if err == nil {
		err = l.salvageAll()
	}
	if err == nil {
		err = l.limitPages(l.db)
	}
	if err == nil { // the names of new files, or the first commit would be kept nowhere
		err = syncDir(filepath.Dir(l.path))
	}
	if err == nil {
		l.mu.Lock()
		err = l.newStream()
		l.mu.Unlock()
	}
	if err != nil && l.db != nil {
		err = errors.Join(err, l.db.close())
		l.db = nil
	}
	return err
}

func (l *Lane) openLoaded() (*database, error) {
	db, err := openDatabase(l.path)
	if err != nil {
		return nil, err
	}
	if err := l.load(db); err != nil {
		return nil, errors.Join(fmt.Errorf("load %s: %w", l.path, err), db.close())
	}
	return db, nil
}

func (l *Lane) replaceFile(cause error) (*database, error) {
	if _, err := moveAside(l.path, cause); err != nil {
		return nil, err
	}
	return l.openLoaded()
}

// load reads into memory what db holds: streams, records, counts.
func (l *Lane) load(db *database) error {
	ctx := context.Background()
	known := map[int64]*stream{}
	var streams []*stream
	err := each(ctx, db.write, `SELECT ordinal, id, settled FROM streams
		UNION ALL SELECT ordinal, id, 0 FROM streams_copy WHERE ordinal NOT IN (SELECT ordinal FROM streams)
		ORDER BY ordinal`, nil, func(scan func(...any) error) error {
		var ordinal, settled int64
		var id string
		if err := scan(&ordinal, &id, &settled); err != nil {
			return err
		}
		if known[ordinal] != nil || settled < 0 {
			return fmt.Errorf("%w: stream %d stands there twice or is settled at %d", errDamaged, ordinal, settled)
		}
		st := &stream{ordinal: ordinal, id: id, stored: true, settled: uint64(settled), settledStored: uint64(settled)}
		known[ordinal] = st
		streams = append(streams, st)
		return nil
	})
	if err != nil {
		return err
	}
	for _, st := range streams {
		if err := loadBounds(ctx, db, st); err != nil {
			return err
		}
	}
	err = each(ctx, db.write, "SELECT ordinal, first, last FROM holes ORDER BY ordinal, first", nil, func(scan func(...any) error) error {
		var ordinal, first, last int64
		if err := scan(&ordinal, &first, &last); err != nil {
			return err
		}
		if st := known[ordinal]; st != nil && first > 0 && last >= first {
			st.lose(span{uint64(first), uint64(last)})
			st.last = max(st.last, uint64(last))
			st.trim()
		}
		return nil
	})
	if err != nil {
		return err
	}
	loose, err := db.number("SELECT count(*) FROM loose")
	if err != nil {
		return err
	}
	nextLoose, err := db.number("SELECT max(id) FROM loose")
	if err != nil {
		return err
	}
	if l.name == event.LaneEvents && l.o.records.restoring() {
		if err := l.loadRecords(ctx, db); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, st := range streams {
		if known := l.memory.find(st.id); known != nil {
			st.settled = min(known.settled, st.last) // newer than the file
		}
	}
	l.streams = streams
	l.looseRows = int(loose)
	l.nextLoose = max(l.nextLoose, nextLoose+1)
	l.settledDirty = true
	l.ring.reset()
	return nil
}

// loadBounds finds the first and the last row of st. Damaged rows at the end are
// counted as numbers that were given, as long as they follow one another.
func loadBounds(ctx context.Context, db *database, st *stream) error {
	low, high := rowKey(st.ordinal, 1), rowKey(st.ordinal+1, 0)-1
	first, err := db.number("SELECT min(key) FROM rows WHERE key BETWEEN ? AND ?", low, high)
	if err != nil {
		return err
	}
	if first == 0 {
		st.oldest, st.last = st.settled+1, st.settled
		return nil
	}
	_, st.oldest = splitKey(first)
	var bad []uint64 // above the last good row, newest first
	stop := errors.New("found")
	err = each(ctx, db.write, "SELECT key, crc, body FROM rows WHERE key BETWEEN ? AND ? ORDER BY key DESC", []any{low, high}, func(scan func(...any) error) error {
		var key, crc int64
		var body []byte
		if err := scan(&key, &crc, &body); err != nil {
			return err
		}
		_, n := splitKey(key)
		if checksum(st.id, n, body) == crc {
			st.last = n
			return stop
		}
		if len(bad) == maxBatchRows {
			return fmt.Errorf("%w: the last %d rows of stream %s fail their checksums", errDamaged, len(bad), st.id)
		}
		bad = append(bad, n)
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return err
	}
	if st.last == 0 { // not one good row
		st.last = st.oldest - 1
	}
	for i := len(bad) - 1; i >= 0 && bad[i] == st.last+1; i-- {
		st.last = bad[i]
	}
	if st.last < st.settled {
		// The position was the manager's word; the rows are gone.
		st.settled = st.last
	}
	return nil
}

func (l *Lane) loadRecords(ctx context.Context, db *database) error {
	var bad []int64
	err := each(ctx, db.write, "SELECT id, kind, station, name, crc, value FROM records ORDER BY id", nil, func(scan func(...any) error) error {
		var id, crc int64
		var kind, station, name string
		var value []byte
		if err := scan(&id, &kind, &station, &name, &crc, &value); err != nil {
			return err
		}
		k := keyOf(kind, station, name)
		if recordChecksum(k, id, value) != crc {
			bad = append(bad, id)
			return nil
		}
		l.o.records.restore(id, k, value)
		return nil
	})
	if err != nil || len(bad) == 0 {
		return err
	}
	l.log.Error("records cannot be read back", "records", len(bad))
	l.o.stats.damagedRows.Add(int64(len(bad)))
	l.o.alarms.raise("file_damaged", "critical", fmt.Sprintf(
		"%d records of %s.db cannot be read back: what they said of sessions or commands is forgotten; the card may be failing", len(bad), l.name))
	return db.transact(func(ctx context.Context) error {
		for _, id := range bad {
			if _, err := db.deleteRecord.ExecContext(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// querier is a connection or a pool of them.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls f for each row of a query until f returns an error. A value that
// does not fit its type is damage.
func each(ctx context.Context, q querier, query string, args []any, f func(scan func(...any) error) error) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		err := f(func(dest ...any) error {
			if err := rows.Scan(dest...); err != nil {
				return fmt.Errorf("%w: %w", errDamaged, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

// Newest returns when the newest event in dir was recorded, zero when there is
// none that can be read: time was never earlier than that. To be called before
// Open.
func Newest(dir string) time.Time {
	var newest time.Time
	path := filepath.Join(dir, string(event.LaneEvents)+".db")
	if fileSize(path) == 0 {
		return newest
	}
	pool, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return newest
	}
	pool.SetMaxOpenConns(1)
	defer func() { _ = pool.Close() }() // read only
	// An error leaves what was found: a damaged file is for Open to mend.
	_ = each(context.Background(), pool, "SELECT body FROM rows ORDER BY key DESC LIMIT 100", nil, func(scan func(...any) error) error {
		var body []byte
		if err := scan(&body); err != nil {
			return err
		}
		if e, err := parseTail(body); err == nil && e.Recorded.After(newest) {
			newest = e.Recorded
		}
		return nil
	})
	return newest
}
