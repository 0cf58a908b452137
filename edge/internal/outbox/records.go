package outbox

import (
	"context"
	"fmt"
	"sync"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// records is what the site needs after a restart, in memory too: it is small,
// and a damaged file can so be written anew without a loss.
type records struct {
	mu     sync.Mutex
	values map[site.Key]record
	// finished is set when the outbox is open.
	finished bool

	// Owned by the writer of the events lane.
	ids    map[site.Key]int64 // where the record lies, or will lie
	nextID int64
}

type record struct {
	id    int64
	value []byte
}

func newRecords() *records {
	return &records{values: map[site.Key]record{}, ids: map[site.Key]int64{}, nextID: 1}
}

// recordChecksum is the checksum of a record: its key stands for the name of a
// stream.
func recordChecksum(k site.Key, id int64, value []byte) int64 {
	crc := sumText(sumText(0, string(k.Kind)), "\x00")
	crc = sumText(sumText(crc, string(k.Station)), "\x00")
	return checksumFrom(sumText(crc, k.ID), uint64(id), value)
}

// restore takes a record that was read from a file.
func (r *records) restore(id int64, k site.Key, value []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.values[k]; ok && old.id > id {
		return
	}
	r.values[k] = record{id, value}
	r.ids[k] = id
	r.nextID = max(r.nextID, id+1)
}

// has tells whether k lies in place id, or in one that was given later.
func (r *records) has(k site.Key, id int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.values[k]
	return ok && v.id >= id
}

func (r *records) all() []site.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]site.Record, 0, len(r.values))
	for k, v := range r.values {
		out = append(out, site.Record{Key: k, Value: v.value})
	}
	return out
}

// write stores changes in the open transaction. A place that a rolled back
// transaction gave to a new record stays its own.
func (r *records) write(ctx context.Context, db *database, put []site.Record, del []site.Key) error {
	for i := range put {
		k := put[i].Key
		id, ok := r.ids[k]
		if !ok {
			id = r.nextID
			r.nextID++
			r.ids[k] = id
		}
		if err := writeRecord(ctx, db, id, put[i]); err != nil {
			return err
		}
	}
	for _, k := range del {
		id, ok := r.ids[k]
		if !ok {
			continue
		}
		if _, err := db.deleteRecord.ExecContext(ctx, id); err != nil {
			return fmt.Errorf("delete record %s of %q: %w", k.Kind, k.Station, err)
		}
	}
	return nil
}

func writeRecord(ctx context.Context, db *database, id int64, rec site.Record) error {
	k, value := rec.Key, rec.Value
	if value == nil {
		value = []byte{}
	}
	crc := recordChecksum(k, id, value)
	if _, err := db.putRecord.ExecContext(ctx, id, string(k.Kind), string(k.Station), k.ID, crc, value); err != nil {
		return fmt.Errorf("store record %s of %q: %w", k.Kind, k.Station, err)
	}
	return nil
}

// apply takes a committed group into memory. A record that the group deletes and
// puts again lies in the place that it had.
func (r *records) apply(group []*request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var deleted []site.Key
	for _, c := range group {
		for _, p := range c.put {
			r.values[p.Key] = record{r.ids[p.Key], p.Value}
		}
		for _, k := range c.delete {
			delete(r.values, k)
			deleted = append(deleted, k)
		}
	}
	for _, k := range deleted {
		if _, back := r.values[k]; !back {
			delete(r.ids, k)
		}
	}
}

// rewrite stores every record in a new file, in the open transaction.
func (r *records) rewrite(ctx context.Context, db *database) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, v := range r.values {
		if err := writeRecord(ctx, db, v.id, site.Record{Key: k, Value: v.value}); err != nil {
			return err
		}
	}
	return nil
}

func keyOf(kind, station, name string) site.Key {
	return site.Key{Kind: site.Kind(kind), Station: event.StationID(station), ID: name}
}

// finish says that everything is restored: from now on memory is newer than any
// file.
func (r *records) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = true
}

func (r *records) restoring() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.finished
}
