package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
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
	from, err := sql.Open("sqlite", dsnDamaged(file))
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

// dsnDamaged opens a damaged file as it is, its WAL included.
// writable_schema has SQLite read a file that is shorter than it says.
func dsnDamaged(path string) string {
	q := url.Values{"_pragma": {"busy_timeout(1000)", "writable_schema(1)"}}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
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

// maxRowID is above every id that is given.
const maxRowID = 1 << 62

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
	w := walker{from: v.from, table: "rows", key: "key", columns: []string{"crc", "body"}, note: v.try}
	err := w.run(low, high, func(key int64, values []any) error {
		_, n := splitKey(key)
		body, _ := values[1].([]byte)
		if n <= before || values[0] != checksum(st.id, n, body) {
			return nil // a hole, once it is known what comes after
		}
		if st.last > 0 && n > st.last {
			return nil // of a commit that failed
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
	loaded := v.l.o.records
	restoring := loaded.restoring()
	w := walker{from: v.from, table: "records", key: "id", columns: []string{"crc", "kind", "station", "name", "value"}, note: v.try}
	// Without an error: f returns none.
	_ = w.run(1, maxRowID, func(id int64, values []any) error {
		kind, _ := values[1].(string)
		station, _ := values[2].(string)
		name, _ := values[3].(string)
		value, _ := values[4].([]byte)
		k := keyOf(kind, station, name)
		if values[0] != checksum(recordStream(k), uint64(id), value) {
			v.damaged++
			return nil
		}
		v.recovered++
		if restoring { // else memory is newer
			loaded.restore(id, k, value)
		}
		return nil
	})
}

// copyLoose copies the rows without a number.
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
	w := walker{from: v.from, table: "loose", key: "id", columns: []string{"crc", "body", "first", "last", "samples", "step"}, note: v.try}
	err := w.run(1, maxRowID, func(id int64, values []any) error {
		body, _ := values[1].([]byte)
		if values[0] != checksum(looseStream, uint64(id), body) {
			v.damaged++
			return nil
		}
		number := func(i int) int64 { n, _ := values[i].(int64); return n }
		batch = append(batch, looseRow{
			id: id, first: time.UnixMilli(number(2)).UTC(), last: time.UnixMilli(number(3)).UTC(),
			samples: int(number(4)), step: int(number(5)), body: body,
		})
		if len(batch) == salvageRows {
			return write()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return write()
}
