package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Batch is a run of numbered events of one stream, as it travels on up: a JSON
// array of CloudEvents in the order of their numbers.
type Batch struct {
	Stream string
	First  uint64
	Last   uint64
	JSON   []byte // plain, not packed
}

// Batcher builds a Batch from stored tails (event.AppendTail).
type Batcher struct {
	batch Batch
}

// NewBatcher starts a batch of one stream.
func NewBatcher(stream string) *Batcher {
	return &Batcher{batch: Batch{Stream: stream, JSON: []byte{'['}}}
}

// Grow makes room for n more bytes of JSON.
func (b *Batcher) Grow(n int) { b.batch.JSON = slices.Grow(b.batch.JSON, n) }

// Add appends the event with number sequence, whose tail was stored.
func (b *Batcher) Add(sequence uint64, tail []byte) {
	if b.batch.First == 0 {
		b.batch.First = sequence
	} else {
		b.batch.JSON = append(b.batch.JSON, ',')
	}
	b.batch.Last = sequence
	b.batch.JSON = event.AppendHead(b.batch.JSON, event.ID{Stream: b.batch.Stream, Sequence: sequence})
	b.batch.JSON = append(b.batch.JSON, tail...)
}

// Size is the number of bytes so far.
func (b *Batcher) Size() int { return len(b.batch.JSON) }

// Batch closes the array.
func (b *Batcher) Batch() Batch {
	out := b.batch
	out.JSON = append(out.JSON, ']')
	return out
}

// ParseBatch reads the payload of an up message: one stream, rising numbers.
// Everything else is ErrNotOurs, to be refused by its Fingerprint. Numbers may
// have holes; whether they may be crossed is for the reader to judge.
func ParseBatch(payload []byte) ([]event.Event, error) {
	plain, err := Unpack(payload)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	var events []event.Event
	if err := d.Decode(&events); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("%w: expected at least one event", ErrNotOurs)
	}
	var before event.ID
	for i := range events {
		id, err := events[i].EventID()
		if err != nil {
			return nil, fmt.Errorf("%w: event %d: %w", ErrNotOurs, i, err)
		}
		if i > 0 && (id.Stream != before.Stream || id.Sequence <= before.Sequence) {
			return nil, fmt.Errorf("%w: event %d: expected a number above %s, got %s", ErrNotOurs, i, before, id)
		}
		before = id
	}
	return events, nil
}
