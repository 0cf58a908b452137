package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Names of files that were moved aside: events.db becomes
// events.damaged-20261122T060102.345Z.db, its WAL the same with -wal.
const (
	damagedMark = ".damaged-"
	walSuffix   = "-wal"
	shmSuffix   = "-shm"
	keepDamaged = 3 // files for a person to look at
)

func damagedName(path string, at time.Time) string {
	return strings.TrimSuffix(path, ".db") + damagedMark + at.UTC().Format("20060102T150405.000000Z") + ".db"
}

func damagedFiles(path string) ([]string, error) {
	found, err := filepath.Glob(strings.TrimSuffix(path, ".db") + damagedMark + "*.db")
	slices.Sort(found)
	return found, err
}

// moveAside renames a damaged file together with its WAL, which belongs to it
// and to no other.
func moveAside(path string, cause error) (string, error) {
	to := damagedName(path, time.Now())
	for _, suffix := range []string{"", walSuffix, shmSuffix} {
		if err := os.Rename(path+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("move %s aside: %w", path+suffix, err)
		}
	}
	note := fmt.Sprintf("%s\n%v\n", filepath.Base(path), cause)
	if err := os.WriteFile(to+".txt", []byte(note), 0o640); err != nil && faultOf(err) != faultFull {
		return "", err
	}
	return to, syncDir(filepath.Dir(path))
}

// finishMove does what a moveAside that was cut short has left: a WAL without
// its file must not meet a new one.
func finishMove(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(path + walSuffix); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to := damagedName(path, time.Now())
	if found, err := damagedFiles(path); err == nil && len(found) > 0 {
		newest := found[len(found)-1]
		if _, err := os.Stat(newest + walSuffix); errors.Is(err, fs.ErrNotExist) {
			to = newest
		}
	}
	for _, suffix := range []string{walSuffix, shmSuffix} {
		if err := os.Rename(path+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move %s aside: %w", path+suffix, err)
		}
	}
	return syncDir(filepath.Dir(path))
}

// replace moves the file aside while the lane is at work and goes on with a new
// one. What is in memory makes up for what cannot be read: records, positions,
// the newest events. It runs in the writer's goroutine.
func (l *Lane) replace(cause error) error {
	l.log.Error("file is damaged, going on with a new one", "err", cause)
	l.file.Lock()
	defer l.file.Unlock()
	if l.db != nil {
		if err := l.db.close(); err != nil {
			l.log.Warn("damaged file not closed cleanly", "err", err)
		}
		l.db = nil
		if _, err := moveAside(l.path, cause); err != nil {
			return err
		}
	}
	if err := l.acquire(); err != nil {
		return err
	}
	l.mu.Lock()
	l.suspected = nil
	l.mu.Unlock()
	l.poke()
	return nil
}

// salvageAll takes over what can be read of the files that were moved aside, each
// once, and reports it. It may be cut short at any point and begins anew then.
func (l *Lane) salvageAll() error {
	files, err := damagedFiles(l.path)
	if err != nil {
		return err
	}
	for _, file := range files {
		done, err := l.db.number("SELECT count(*) FROM salvaged WHERE file = ?", filepath.Base(file))
		if err != nil {
			return err
		}
		if done > 0 {
			continue
		}
		if err := l.salvageFile(file); err != nil {
			return fmt.Errorf("salvage %s: %w", file, err)
		}
	}
	for _, file := range files[:max(len(files)-keepDamaged, 0)] {
		for _, suffix := range []string{"", walSuffix, shmSuffix, ".txt"} {
			if err := os.Remove(file + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.log.Warn("old damaged file not removed", "file", file, "err", err)
			}
		}
	}
	return nil
}

func (l *Lane) salvageFile(file string) error {
	start := time.Now()
	v := &salvage{l: l, file: file}
	from, err := sql.Open("sqlite", (dsnReadOnly(file)))
	if err != nil {
		return err
	}
	from.SetMaxOpenConns(1)
	v.from = from
	err = v.run()
	if cerr := from.Close(); cerr != nil {
		l.log.Warn("damaged file not closed", "file", file, "err", cerr)
	}
	if err != nil {
		return err
	}
	if err := l.load(l.db); err != nil {
		return err
	}
	cause := "damaged"
	if note, err := os.ReadFile(file + ".txt"); err == nil {
		if _, why, ok := strings.Cut(string(note), "\n"); ok {
			cause = strings.TrimSpace(why)
		}
	}
	l.log.Error("damaged file salvaged", "file", file, "recovered", v.recovered, "damaged", v.damaged, "took", time.Since(start))
	l.o.stats.salvages.Add(1)
	l.o.stats.damagedRows.Add(int64(v.damaged))
	l.o.alarms.report(&event.StreamSalvaged{
		Lane: l.name, File: filepath.Base(file), Recovered: v.recovered, Damaged: v.damaged, Error: cause,
	})
	l.o.alarms.raise("file_damaged", "critical", fmt.Sprintf(
		"%s.db was damaged (%s) and moved aside as %s: %d rows could be read, %d are lost; the card may be failing",
		l.name, cause, filepath.Base(file), v.recovered, v.damaged))
	return nil
}

// dsnReadOnly opens a damaged file as it is. Its WAL is read where it can be.
func dsnReadOnly(path string) string {
	return strings.Replace(dsn(path), "_txlock=immediate", "_txlock=deferred", 1)
}

// salvage copies what can be read of a damaged file into the lane's new one.
type salvage struct {
	l    *Lane
	file string
	from *sql.DB

	streams            []*stream
	recovered, damaged int
}

// salvageRows is how many rows are copied in one transaction.
const salvageRows = 2000

func (v *salvage) run() error {
	v.readStreams()
	shift, err := v.makeWay()
	if err != nil {
		return err
	}
	if v.l.name == event.LaneEvents {
		v.readRecords()
		if err := v.l.db.transact(func(ctx context.Context) error { return v.l.o.records.rewrite(ctx, v.l.db) }); err != nil {
			return err
		}
	}
	for _, st := range v.streams {
		if err := v.copyStream(st, st.ordinal+shift); err != nil {
			return err
		}
	}
	if v.l.name == event.LaneSamples {
		if err := v.copyLoose(); err != nil {
			return err
		}
	}
	return v.l.db.exec("INSERT INTO salvaged (file, at) VALUES (?,?) ON CONFLICT DO NOTHING", filepath.Base(v.file), time.Now().Unix())
}

// readStreams gathers the streams from both of their tables, and from memory
// when the file was damaged while the lane was at work.
func (v *salvage) readStreams() {
	known := map[int64]*stream{}
	add := func(ordinal int64, id string, settled int64) {
		if len(id) != 36 || settled < 0 {
			return
		}
		if st := known[ordinal]; st != nil {
			st.settled = max(st.settled, uint64(settled))
			return
		}
		st := &stream{ordinal: ordinal, id: id, settled: uint64(settled)}
		known[ordinal] = st
		v.streams = append(v.streams, st)
	}
	v.l.mu.Lock()
	for _, st := range v.l.streams {
		if st.stored {
			add(st.ordinal, st.id, int64(st.settled))
			known[st.ordinal].last = st.last
		}
	}
	v.l.mu.Unlock()
	for _, query := range []string{"SELECT ordinal, id, settled FROM streams", "SELECT ordinal, id, 0 FROM streams_copy"} {
		for _, order := range []string{"", " ORDER BY ordinal DESC"} {
			v.try(each(context.Background(), v.from, query+order, nil, func(scan func(...any) error) error {
				var ordinal, settled int64
				var id string
				if err := scan(&ordinal, &id, &settled); err == nil {
					add(ordinal, id, settled)
				}
				return nil
			}))
		}
	}
	slices.SortFunc(v.streams, func(a, b *stream) int { return int(max(min(a.ordinal-b.ordinal, 1), -1)) })
}

// try notes an error of the damaged file and goes on.
func (v *salvage) try(err error) {
	if err != nil {
		v.l.log.Debug("part of a damaged file is not readable", "file", v.file, "err", err)
	}
}

// makeWay returns what to add to the ordinals of the damaged file, so that its
// streams go before others which the new file holds under the same ordinals.
func (v *salvage) makeWay() (shift int64, err error) {
	taken := map[int64]string{}
	lowest := int64(0)
	err = each(context.Background(), v.l.db.write, "SELECT ordinal, id FROM streams ORDER BY ordinal DESC", nil, func(scan func(...any) error) error {
		var ordinal int64
		var id string
		if err := scan(&ordinal, &id); err != nil {
			return err
		}
		taken[ordinal], lowest = id, ordinal
		return nil
	})
	if err != nil || len(v.streams) == 0 {
		return 0, err
	}
	for _, st := range v.streams {
		if id, ok := taken[st.ordinal]; ok && id != st.id {
			return lowest - 1 - v.streams[len(v.streams)-1].ordinal, nil
		}
	}
	return 0, nil
}

// copyStream copies the rows of one stream and declares what lies between them.
func (v *salvage) copyStream(st *stream, ordinal int64) error {
	low, high := rowKey(st.ordinal, 1), rowKey(st.ordinal+1, 0)-1
	known := v.readHoles(st)
	var batch []row
	var before, first uint64
	var holes []span
	write := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := v.l.db.transact(func(ctx context.Context) error { return v.writeRows(ctx, st, ordinal, batch, holes) })
		v.recovered += len(batch)
		batch, holes = batch[:0], holes[:0]
		return err
	}
	take := func(r row) error {
		if before > 0 && r.sequence > before+1 {
			h := span{before + 1, r.sequence - 1}
			holes = append(holes, h)
			if !slices.Contains(known, h) {
				v.damaged += int(h.last - h.first + 1)
			}
		}
		if first == 0 {
			first = r.sequence
		}
		before = r.sequence
		batch = append(batch, r)
		if len(batch) == salvageRows {
			return write()
		}
		return nil
	}
	err := v.walk("SELECT key, crc, body FROM rows WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?", low, high, func(key, crc int64, body []byte) error {
		_, n := splitKey(key)
		if n <= before || checksum(st.id, n, body) != crc {
			return nil
		}
		// Rows that only memory still has go between.
		for _, r := range v.remembered(st, before+1, n-1) {
			if err := take(r); err != nil {
				return err
			}
		}
		return take(row{n, body})
	})
	if err != nil {
		return err
	}
	for _, r := range v.remembered(st, before+1, st.last) {
		if err := take(r); err != nil {
			return err
		}
	}
	if before > 0 && before < st.last { // memory knows that there were more
		holes = append(holes, span{before + 1, st.last})
		v.damaged += int(st.last - before)
	}
	if before == 0 {
		return nil
	}
	if len(batch) == 0 && len(holes) > 0 {
		return v.l.db.transact(func(ctx context.Context) error { return v.writeRows(ctx, st, ordinal, nil, holes) })
	}
	return write()
}

// remembered returns the rows of the lane's ring within a range.
func (v *salvage) remembered(st *stream, first, last uint64) []row {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if len(v.l.streams) == 0 || v.l.current().id != st.id || first > last {
		return nil
	}
	first = max(first, v.l.ring.first)
	var out []row
	for _, tail := range v.l.ring.from(first) {
		if first > last {
			break
		}
		out = append(out, row{first, tail})
		first++
	}
	return out
}

func (v *salvage) writeRows(ctx context.Context, st *stream, ordinal int64, rows []row, holes []span) error {
	w := v.l.db.write
	_, err := w.ExecContext(ctx, "INSERT INTO streams (ordinal, id, settled) VALUES (?,?,?) ON CONFLICT DO NOTHING", ordinal, st.id, int64(st.settled))
	if err == nil {
		_, err = w.ExecContext(ctx, "INSERT INTO streams_copy (ordinal, id) VALUES (?,?) ON CONFLICT DO NOTHING", ordinal, st.id)
	}
	if err == nil && st.settled > 0 { // kept for a while from now on
		_, err = w.ExecContext(ctx, "INSERT INTO marks (ordinal, hour, settled) VALUES (?,?,?) ON CONFLICT DO NOTHING", ordinal, hourOf(v.l.o.clock.Stamp().Time), int64(st.settled))
	}
	for i := 0; err == nil && i < len(rows); i++ {
		r := rows[i]
		_, err = w.ExecContext(ctx, "INSERT INTO rows (key, crc, body) VALUES (?,?,?) ON CONFLICT DO NOTHING",
			rowKey(ordinal, r.sequence), checksum(st.id, r.sequence, r.tail), r.tail)
	}
	for i := 0; err == nil && i < len(holes); i++ {
		err = v.l.writeHole(ctx, ordinal, holes[i])
	}
	return err
}

func (v *salvage) readHoles(st *stream) []span {
	var known []span
	v.try(each(context.Background(), v.from, "SELECT first, last FROM holes WHERE ordinal = ?", []any{st.ordinal}, func(scan func(...any) error) error {
		var first, last int64
		if err := scan(&first, &last); err == nil {
			known = append(known, span{uint64(first), uint64(last)})
		}
		return nil
	}))
	return known
}

// readRecords takes the records that memory does not have.
func (v *salvage) readRecords() {
	seen := map[int64]bool{}
	loaded := v.l.o.records
	fresh := loaded.empty()
	read := func(scan func(...any) error) error {
		var id, crc int64
		var kind, station, name string
		var value []byte
		if err := scan(&id, &kind, &station, &name, &crc, &value); err != nil || seen[id] {
			return nil
		}
		seen[id] = true
		k := keyOf(kind, station, name)
		if checksum(recordStream(k), uint64(id), value) != crc {
			v.damaged++
			return nil
		}
		v.recovered++
		if fresh { // else memory is newer
			loaded.restore(id, k, value)
		}
		return nil
	}
	const columns = "SELECT id, kind, station, name, crc, value FROM records"
	low, high := v.bounds("records", "id", 1, 1<<62)
	v.try(v.walkFrom(low, high, func(from int64, limit int) (int64, error) {
		last := from - 1
		err := each(context.Background(), v.from, columns+" WHERE id >= ? ORDER BY id LIMIT ?", []any{from, limit}, func(scan func(...any) error) error {
			return read(func(dest ...any) error {
				err := scan(dest...)
				if id, ok := dest[0].(*int64); ok && err == nil {
					last = *id
				}
				return err
			})
		})
		return last, err
	}))
}

func (v *salvage) copyLoose() error {
	var batch []looseRow
	write := func() error {
		err := v.l.db.transact(func(ctx context.Context) error {
			for _, r := range batch {
				if err := v.l.putLoose(ctx, r); err != nil {
					return err
				}
			}
			return nil
		})
		v.recovered += len(batch)
		batch = batch[:0]
		return err
	}
	low, high := v.bounds("loose", "id", 1, 1<<62)
	var failed error
	v.try(v.walkFrom(low, high, func(from int64, limit int) (int64, error) {
		last := from - 1
		err := each(context.Background(), v.from, "SELECT id, first, last, samples, step, crc, body FROM loose WHERE id >= ? ORDER BY id LIMIT ?", []any{from, limit}, func(scan func(...any) error) error {
			var r looseRow
			var first, end, crc int64
			if err := scan(&r.id, &first, &end, &r.samples, &r.step, &crc, &r.body); err != nil {
				return err
			}
			last = max(last, r.id)
			if checksum(looseStream, uint64(r.id), r.body) != crc {
				v.damaged++
				return nil
			}
			r.first, r.last = time.UnixMilli(first).UTC(), time.UnixMilli(end).UTC()
			batch = append(batch, r)
			return nil
		})
		if len(batch) >= salvageRows && failed == nil {
			failed = write()
		}
		return last, err
	}))
	if failed != nil {
		return failed
	}
	return write()
}

// walk calls f for each row that can be read between two keys, whatever stands
// between them.
func (v *salvage) walk(query string, low, high int64, f func(key, crc int64, body []byte) error) error {
	var failed error
	low, high = v.bounds("rows", "key", low, high)
	v.try(v.walkFrom(low, high, func(from int64, limit int) (int64, error) {
		last := from - 1
		err := each(context.Background(), v.from, query, []any{from, high, limit}, func(scan func(...any) error) error {
			var key, crc int64
			var body []byte
			if err := scan(&key, &crc, &body); err != nil {
				return err
			}
			if key <= last || key > high {
				return fmt.Errorf("%w: row %d after %d", errDamaged, key, last)
			}
			last = key
			if failed == nil {
				failed = f(key, crc, body)
			}
			return nil
		})
		return last, err
	}))
	return failed
}

// bounds narrows a range of keys to what the table holds, where that can be read.
func (v *salvage) bounds(table, key string, low, high int64) (int64, int64) {
	for _, edge := range []struct {
		query string
		to    *int64
	}{
		{fmt.Sprintf("SELECT %[2]s FROM %[1]s WHERE %[2]s BETWEEN ? AND ? ORDER BY %[2]s LIMIT 1", table, key), &low},
		{fmt.Sprintf("SELECT %[2]s FROM %[1]s WHERE %[2]s BETWEEN ? AND ? ORDER BY %[2]s DESC LIMIT 1", table, key), &high},
	} {
		var n int64
		err := v.from.QueryRow(edge.query, low, high).Scan(&n)
		switch {
		case err == nil && n >= low && n <= high:
			*edge.to = n
		case errors.Is(err, sql.ErrNoRows):
			return low, low - 1
		default:
			v.try(err)
		}
	}
	return low, high
}

// walkFrom reads in portions from low to high. After an error it goes on key by
// key for about a page, then in longer and longer leaps, and when a leap lands
// behind the damage, again key by key from where the leap began.
func (v *salvage) walkFrom(low, high int64, read func(from int64, limit int) (last int64, err error)) error {
	const (
		portion  = 500
		patience = 64   // keys, about a page of rows
		attempts = 5000 // in all, so that a wreck does not hold up the start
	)
	var first error
	failures, leap := 0, int64(1)
	sure := low // below it everything was tried
	for from := low; from <= high; {
		limit := portion
		if failures > 0 {
			limit = 1
		}
		last, err := read(from, limit)
		if last >= from { // some were read
			if leap > 1 && from > sure { // what was leapt over, key by key
				for k := sure; k < from && failures < attempts; k++ {
					if _, err := read(k, 1); err != nil {
						failures++
					}
				}
			}
			from, leap = last+1, 1
			sure = from
			if err == nil {
				failures = 0
			}
		} else if err == nil {
			return first // nothing more is there
		}
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		if failures++; failures > attempts {
			return first
		}
		if failures%patience == 0 {
			leap *= 2
		}
		from += leap
	}
	return first
}
