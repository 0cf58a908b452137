package outbox

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// salvage copies what can be read of a damaged file into the lane's new one, page
// by page: a damaged tree hides more than is lost, and does not always show as an
// error. Every row proves by its checksum that it is what it was.
type salvage struct {
	l    *Lane
	file string
	from *sql.DB

	streams []*stream // by ordinal
	shift   int64     // from their ordinals to those in the new file
	batch   []salvaged
	looses  []looseRow

	recovered, damaged int // rows and records
}

// salvaged is a row on its way into the new file.
type salvaged struct {
	st *stream
	row
}

// salvageRows is how many rows are copied in one transaction.
const salvageRows = 2000

func (v *salvage) run() error {
	v.readStreams()
	if v.l.name == event.LaneEvents {
		v.readRecords()
	}
	v.scanNames()
	slices.SortFunc(v.streams, func(a, b *stream) int { return int(max(min(a.ordinal-b.ordinal, 1), -1)) })
	if err := v.makeWay(); err != nil {
		return err
	}
	if v.l.name == event.LaneEvents {
		if err := v.l.db.transact(func(ctx context.Context) error { return v.l.o.records.rewrite(ctx, v.l.db) }); err != nil {
			return err
		}
	}
	if err := v.takeRing(); err != nil {
		return err
	}
	if err := v.scanRows(); err != nil {
		return err
	}
	for _, st := range v.streams {
		if err := v.declareHoles(st); err != nil {
			return err
		}
	}
	return v.l.db.exec("INSERT INTO salvaged (file, at) VALUES (?,?) ON CONFLICT DO NOTHING", filepath.Base(v.file), time.Now().Unix())
}

// try notes an error of the damaged file and goes on.
func (v *salvage) try(err error) {
	if err != nil {
		v.l.log.Debug("part of a damaged file is not readable", "file", v.file, "err", err)
	}
}

// addStream takes the name of a stream. An ordinal that seems to have two names
// keeps both: the checksums of the rows tell which is right.
func (v *salvage) addStream(ordinal int64, id string, settled int64) {
	if len(id) != 36 || settled < 0 {
		return
	}
	for _, st := range v.streams {
		if st.ordinal == ordinal && st.id == id {
			st.settled = max(st.settled, uint64(settled))
			return
		}
	}
	v.streams = append(v.streams, &stream{ordinal: ordinal, id: id, settled: uint64(settled)})
}

// readStreams gathers the streams from both of their tables, and from memory
// when the file was damaged while the lane was at work.
func (v *salvage) readStreams() {
	if v.l.memory != nil {
		v.l.mu.Lock()
		for _, st := range v.l.memory.streams {
			if st.stored {
				v.streams = append(v.streams, &stream{ordinal: st.ordinal, id: st.id, settled: st.settled, last: st.last})
			}
		}
		v.l.mu.Unlock()
	}
	for _, query := range []string{"SELECT ordinal, id, settled FROM streams", "SELECT ordinal, id, 0 FROM streams_copy"} {
		for _, order := range []string{"", " ORDER BY ordinal DESC"} {
			v.try(each(context.Background(), v.from, query+order, nil, func(scan func(...any) error) error {
				var ordinal, settled int64
				var id string
				if err := scan(&ordinal, &id, &settled); err == nil {
					v.addStream(ordinal, id, settled)
				}
				return nil
			}))
		}
	}
}

// makeWay works out what to add to the ordinals of the damaged file, so that its
// streams go before others which the new file holds under the same ordinals.
func (v *salvage) makeWay() error {
	taken := map[int64]string{}
	lowest := int64(0)
	err := each(context.Background(), v.l.db.write, "SELECT ordinal, id FROM streams ORDER BY ordinal DESC", nil, func(scan func(...any) error) error {
		var ordinal int64
		var id string
		if err := scan(&ordinal, &id); err != nil {
			return err
		}
		taken[ordinal], lowest = id, ordinal
		return nil
	})
	if err != nil {
		return err
	}
	for _, st := range v.streams {
		if id, ok := taken[st.ordinal]; ok && id != st.id {
			v.shift = lowest - 1 - v.streams[len(v.streams)-1].ordinal
		}
	}
	return nil
}

// takeRow takes one row, if it proves to be one of st.
func (v *salvage) takeRow(st *stream, n uint64, crc any, body []byte) error {
	if crc != checksum(st.id, n, body) {
		return nil // a hole, once it is known what comes after
	}
	if st.last > 0 && n > st.last {
		return nil // of a commit that failed
	}
	v.batch = append(v.batch, salvaged{st, row{n, body}})
	if len(v.batch) < salvageRows {
		return nil
	}
	return v.writeRows()
}

// takeRing takes the newest events from memory, if the lane was at work.
func (v *salvage) takeRing() error {
	m := v.l.memory
	if m == nil {
		return nil
	}
	last := m.streams[len(m.streams)-1]
	for _, st := range v.streams {
		if st.id != last.id {
			continue
		}
		for i, tail := range m.ring.tails {
			v.batch = append(v.batch, salvaged{st, row{m.ring.first + uint64(i), tail}})
		}
	}
	return v.writeRows()
}

// writeRows stores what was taken; what is there already stays.
func (v *salvage) writeRows() error {
	written := int64(0)
	err := v.l.db.transact(func(ctx context.Context) error {
		written = 0
		w := v.l.db.write
		var before *stream
		for _, r := range v.batch {
			ordinal := r.st.ordinal + v.shift
			if r.st != before {
				before = r.st
				if err := v.writeStream(ctx, r.st, ordinal); err != nil {
					return err
				}
			}
			done, err := w.ExecContext(ctx, "INSERT INTO rows (key, crc, body) VALUES (?,?,?) ON CONFLICT DO NOTHING",
				rowKey(ordinal, r.sequence), checksum(r.st.id, r.sequence, r.tail), r.tail)
			if err != nil {
				return err
			}
			n, err := done.RowsAffected()
			if err != nil {
				return err
			}
			written += n
		}
		return nil
	})
	v.batch = v.batch[:0]
	v.recovered += int(written)
	return err
}

func (v *salvage) writeStream(ctx context.Context, st *stream, ordinal int64) error {
	w := v.l.db.write
	_, err := w.ExecContext(ctx, "INSERT INTO streams (ordinal, id, settled) VALUES (?,?,?) ON CONFLICT DO NOTHING", ordinal, st.id, int64(st.settled))
	if err == nil {
		_, err = w.ExecContext(ctx, "INSERT INTO streams_copy (ordinal, id) VALUES (?,?) ON CONFLICT DO NOTHING", ordinal, st.id)
	}
	if err == nil && st.settled > 0 { // kept for a while from now on
		_, err = w.ExecContext(ctx, "INSERT INTO marks (ordinal, hour, settled) VALUES (?,?,?) ON CONFLICT DO NOTHING", ordinal, hourOf(v.l.o.stamp().Time), int64(st.settled))
	}
	return err
}

// declareHoles declares what is missing between the rows that were recovered.
func (v *salvage) declareHoles(st *stream) error {
	ctx := context.Background()
	ordinal := st.ordinal + v.shift
	end := st.last // as memory knows
	known := map[span]bool{}
	v.try(each(ctx, v.from, "SELECT first, last FROM holes WHERE ordinal = ?", []any{st.ordinal}, func(scan func(...any) error) error {
		var first, last int64
		if err := scan(&first, &last); err == nil && first > 0 && last >= first {
			known[span{uint64(first), uint64(last)}] = true
		}
		return nil
	}))
	var holes []span
	before := uint64(0)
	err := each(ctx, v.l.db.write, "SELECT key FROM rows WHERE key BETWEEN ? AND ? ORDER BY key", []any{rowKey(ordinal, 1), rowKey(ordinal+1, 0) - 1}, func(scan func(...any) error) error {
		var key int64
		if err := scan(&key); err != nil {
			return err
		}
		_, n := splitKey(key)
		switch {
		case before == 0 && n > st.settled+1: // below the oldest: may be crossed without a word
			v.damaged += int(n - 1 - st.settled)
		case before > 0 && n > before+1:
			holes = append(holes, span{before + 1, n - 1})
		}
		before = n
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case before == 0 && end > st.settled:
		v.damaged += int(end - st.settled)
	case before > 0 && end > before:
		holes = append(holes, span{before + 1, end})
	}
	if len(holes) == 0 {
		return nil
	}
	return v.l.db.transact(func(ctx context.Context) error {
		for _, h := range holes {
			if !known[h] {
				v.damaged += int(h.last - h.first + 1)
			}
			if err := v.l.writeHole(ctx, ordinal, h); err != nil {
				return err
			}
		}
		return nil
	})
}

// takeRecord takes one record, if it proves to be whole. While the lane is at
// work memory is newer than any file.
func (v *salvage) takeRecord(id int64, values []any) (whole bool) {
	kind, _ := values[0].(string)
	station, _ := values[1].(string)
	name, _ := values[2].(string)
	value, _ := values[4].([]byte)
	k := keyOf(kind, station, name)
	if values[3] != recordChecksum(k, id, value) {
		return false
	}
	if records := v.l.o.records; !records.has(k, id) {
		v.recovered++
		if records.restoring() {
			records.restore(id, k, value)
		}
	}
	return true
}

// readRecords takes the records from both ends, as far as SQLite reads them. It
// knows which pages are in use; those that it does not reach are left to
// scanNames.
func (v *salvage) readRecords() {
	for _, order := range []string{"", " DESC"} {
		v.try(each(context.Background(), v.from, "SELECT id, kind, station, name, crc, value FROM records ORDER BY id"+order, nil, func(scan func(...any) error) error {
			var id int64
			values := make([]any, 5)
			if err := scan(&id, &values[0], &values[1], &values[2], &values[3], &values[4]); err != nil {
				return err
			}
			if !v.takeRecord(id, values) && order == "" {
				v.damaged++
			}
			return nil
		}))
	}
}

// takeLoose takes one row without a number, if it proves to be whole.
func (v *salvage) takeLoose(id int64, values []any) error {
	body, _ := values[5].([]byte)
	if values[4] != checksum(looseStream, uint64(id), body) {
		return nil
	}
	number := func(i int) int64 { n, _ := values[i].(int64); return n }
	v.looses = append(v.looses, looseRow{
		id: id, first: time.UnixMilli(number(0)).UTC(), last: time.UnixMilli(number(1)).UTC(),
		samples: int(number(2)), step: int(number(3)), body: body,
	})
	if len(v.looses) < salvageRows {
		return nil
	}
	return v.writeLoose()
}

func (v *salvage) writeLoose() error {
	before, err := v.l.db.number("SELECT count(*) FROM loose")
	if err != nil {
		return err
	}
	err = v.l.db.transact(func(ctx context.Context) error {
		for _, r := range v.looses {
			if err := v.l.putLoose(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.looses = v.looses[:0]
	after, err := v.l.db.number("SELECT count(*) FROM loose")
	v.recovered += int(after - before)
	return err
}

// scanNames gathers streams and records that SQLite did not find a way to.
func (v *salvage) scanNames() {
	v.try(scanPages(v.file, func(id int64, values []any) error {
		switch {
		case len(values) == 2 && isText(values[0]): // streams and their copy
			settled, _ := values[1].(int64)
			v.addStream(id, values[0].(string), settled)
		case len(values) == 1 && isText(values[0]):
			v.addStream(id, values[0].(string), 0)
		case len(values) == 5 && v.l.name == event.LaneEvents:
			v.takeRecord(id, values)
		}
		return nil
	}))
}

func isText(v any) bool { _, ok := v.(string); return ok }

// scanRows gathers the rows, with a number and without.
func (v *salvage) scanRows() error {
	byOrdinal := map[int64][]*stream{}
	for _, st := range v.streams {
		byOrdinal[st.ordinal] = append(byOrdinal[st.ordinal], st)
	}
	var failed error
	v.try(scanPages(v.file, func(id int64, values []any) error {
		switch {
		case len(values) == 2:
			ordinal, n := splitKey(id)
			body, _ := values[1].([]byte)
			for _, st := range byOrdinal[ordinal] {
				if failed = v.takeRow(st, n, values[0], body); failed != nil {
					return failed
				}
			}
		case len(values) == 6 && v.l.name == event.LaneSamples:
			failed = v.takeLoose(id, values)
		}
		return failed
	}))
	if failed == nil {
		failed = v.writeRows()
	}
	if failed == nil {
		failed = v.writeLoose()
	}
	return failed
}
