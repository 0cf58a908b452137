package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Bounds of what samples may take.
const (
	blockSpan    = time.Minute // of sample times within one block
	blockBytes   = 32 << 10
	firstBlock   = 512       // bytes that a new block has room for
	flushBytes   = 512 << 10 // in memory: flush without waiting for the interval
	waitBytes    = 2 << 20   // in memory: wait for the flush
	unkeptBytes  = 4 << 20   // in memory, when the file takes no more: drop and count
	looseStream  = "loose"   // stands for the stream in the checksum of a row without a number
	thinnedStep  = -1        // step of a row that holds a stream.thinned
	wholeSamples = 0         // step of a row that was never thinned
)

// blockKey is what the samples of one block have in common.
type blockKey struct {
	address     event.Address
	kind        event.Type
	session     event.SessionID
	transaction string
	boot        string
	clock       event.Clock
}

// block is a run of samples of one EVSE or meter that becomes one event.
type block struct {
	key         blockKey
	recorded    time.Time
	opened      time.Time // with a monotonic reading
	first, last time.Time // of the samples
	json        []byte    // the samples, with commas between; only ever appended to
	n           int
	tail        []byte // set where a single sample is too large: its cut event

	row    int64 // id of its row, 0 before the first flush
	stored int   // samples in that row
	// storedBytes is what stored takes, commas not counted.
	storedBytes int
}

// sampler gathers samples to blocks until they are flushed. Blocks that are in
// the file stay open, to be written again with more, until they are a minute
// long or get their number.
type sampler struct {
	o *Outbox

	mu     sync.Mutex
	open   map[blockKey]*block
	byRow  map[int64]*block // those of open that have a row
	closed []*block         // not open any more and not in the file as they are
	bytes  int              // of samples that are not in the file
	lost   lost
}

// lost is what could not be kept since the last record of it.
type lost struct {
	from, to time.Time
	samples  int
}

func (l *lost) add(at time.Time, n int) {
	if l.samples == 0 || at.Before(l.from) {
		l.from = at
	}
	if at.After(l.to) {
		l.to = at
	}
	l.samples += n
}

func newSampler(o *Outbox) *sampler {
	return &sampler{o: o, open: map[blockKey]*block{}, byRow: map[int64]*block{}}
}

// add takes the samples of d, encoded in the caller's goroutine, and tells how
// many bytes are not in the file now.
func (s *sampler) add(d *event.Draft) (waiting int, err error) {
	key := blockKey{address: d.Address, kind: d.Data.EventType(), boot: d.Boot, clock: d.Clock}
	var samples []event.Sample
	switch p := d.Data.(type) {
	case *event.SessionSampled:
		key.session, key.transaction, samples = p.Session, p.Transaction, p.Samples
	case *event.MeterSampled:
		samples = p.Samples
	default:
		return 0, fmt.Errorf("%s is not samples", d.Data.EventType())
	}
	s.o.stats.samplesTaken.Add(int64(len(samples)))
	buf := scratches.Get().(*[]byte)
	defer scratches.Put(buf)
	for i := range samples {
		sample := &samples[i]
		if sample.Time.IsZero() {
			sample.Time = d.Time
		}
		*buf = sample.AppendJSON((*buf)[:0])
		if len(*buf) > blockBytes {
			if err := s.addLarge(d, key, sample); err != nil {
				return 0, err
			}
			continue
		}
		s.mu.Lock()
		s.put(key, d.Recorded, sample.Time, *buf)
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, nil
}

// scratches are buffers in which samples are encoded.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// room tells whether memory takes n bytes more, and counts a sample that it
// does not take. The caller holds mu.
func (s *sampler) room(at time.Time, n int) bool {
	if s.bytes+n <= unkeptBytes {
		return true
	}
	s.lost.add(at, 1)
	s.o.stats.samplesLost.Add(1)
	return false
}

// put adds one encoded sample to its block. The caller holds mu.
func (s *sampler) put(key blockKey, recorded, at time.Time, encoded []byte) {
	if !s.room(at, len(encoded)) {
		return
	}
	b := s.open[key]
	if b != nil && (at.Before(b.first) || at.Sub(b.first) >= blockSpan || len(b.json)+len(encoded) > blockBytes) {
		s.shut(b)
		b = nil
	}
	if b == nil {
		b = &block{key: key, recorded: recorded, opened: time.Now(), first: at, last: at, json: make([]byte, 0, max(2*len(encoded), firstBlock))}
		s.open[key] = b
	}
	if b.n > 0 {
		b.json = append(b.json, ',')
	}
	b.json = append(b.json, encoded...)
	b.n++
	if at.After(b.last) {
		b.last = at
	}
	s.bytes += len(encoded)
}

// addLarge makes an event of its own of a sample that fills a block alone.
func (s *sampler) addLarge(d *event.Draft, key blockKey, sample *event.Sample) error {
	single := *d
	single.Time = sample.Time
	if key.kind == event.TypeSessionSampled {
		single.Data = &event.SessionSampled{Session: key.session, Transaction: key.transaction, Samples: []event.Sample{*sample}}
	} else {
		single.Data = &event.MeterSampled{Samples: []event.Sample{*sample}}
	}
	tail, err := s.o.encode(&single)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room(sample.Time, len(tail)) {
		s.closed = append(s.closed, &block{key: key, first: sample.Time, last: sample.Time, n: 1, tail: tail})
		s.bytes += len(tail)
	}
	return nil
}

// shut ends a block. The caller holds mu.
func (s *sampler) shut(b *block) {
	delete(s.open, b.key)
	delete(s.byRow, b.row)
	if b.n > b.stored {
		s.closed = append(s.closed, b)
	}
}

// blockData is the payload of a block, its samples encoded already.
type blockData struct {
	key  *blockKey
	json []byte
}

// EventType implements event.Payload.
func (d blockData) EventType() event.Type { return d.key.kind }

// AppendJSON writes what event.SessionSampled or event.MeterSampled would.
func (d blockData) AppendJSON(b []byte) []byte {
	o := event.OpenObject(b)
	if d.key.kind == event.TypeSessionSampled {
		o.Text("session", string(d.key.session))
		o.Text("transaction", d.key.transaction)
	}
	o.Append("samples", func(b []byte) []byte {
		return append(append(append(b, '['), d.json...), ']')
	})
	return o.Close()
}

// MarshalJSON is AppendJSON for encoding/json.
func (d blockData) MarshalJSON() ([]byte, error) { return d.AppendJSON(nil), nil }

// encode returns the tail of a block with the given samples.
func (s *sampler) encode(b *block, samples []byte) ([]byte, error) {
	if b.tail != nil {
		return b.tail, nil
	}
	return event.AppendTail(make([]byte, 0, len(samples)+envelopeSize), s.o.cfg.Gateway, &event.Draft{
		Address: b.key.address, Time: b.first, Recorded: b.recorded, Boot: b.key.boot, Clock: b.key.clock,
		Data: blockData{&b.key, samples},
	})
}

// envelopeSize is what an event needs around its samples, generously.
const envelopeSize = 512

// flush is what is written of the sampler in one transaction.
type flush struct {
	sampler  *sampler
	blocks   []stagedBlock
	closed   int  // of blocks: those that were closed
	numbered bool // blocks are written as numbered events, by the caller
	lost     lost
	newRows  int
}

type stagedBlock struct {
	*block
	json        []byte
	n           int
	first, last time.Time
	id          int64
}

// stage takes a picture of everything that is not in the file. With numbered,
// which is only to be asked for while no row is without a number, the open blocks
// end with it: they get their numbers at once.
func (s *sampler) stage(numbered bool) *flush {
	f := &flush{sampler: s, numbered: numbered}
	s.mu.Lock()
	defer s.mu.Unlock()
	take := func(b *block) {
		f.blocks = append(f.blocks, stagedBlock{b, b.json[:len(b.json):len(b.json)], b.n, b.first, b.last, b.row})
	}
	for _, b := range s.closed {
		take(b)
	}
	f.closed = len(s.closed)
	s.closed = nil
	for _, b := range s.open {
		if b.n > b.stored {
			take(b)
		}
	}
	slices.SortStableFunc(f.blocks[f.closed:], func(a, b stagedBlock) int { return a.opened.Compare(b.opened) })
	if numbered {
		f.closed = len(f.blocks)
		clear(s.open)
		clear(s.byRow)
	}
	f.lost, s.lost = s.lost, lost{}
	return f
}

func (f *flush) empty() bool { return len(f.blocks) == 0 && f.lost.samples == 0 }

// restart prepares f for another attempt.
func (f *flush) restart() { f.newRows = 0 }

// tails encodes the blocks that get their numbers at once.
func (f *flush) tails() ([][]byte, error) {
	if !f.numbered {
		return nil, nil
	}
	tails := make([][]byte, 0, len(f.blocks))
	for i := range f.blocks {
		b := &f.blocks[i]
		tail, err := f.sampler.encode(b.block, b.json)
		if err != nil {
			return nil, fmt.Errorf("encode samples: %w", err)
		}
		tails = append(tails, tail)
	}
	return tails, nil
}

// write stores the picture, except for what is numbered. Rows without a number
// may still change.
func (f *flush) write(ctx context.Context, l *Lane) error {
	f.newRows = 0
	for i := 0; i < len(f.blocks) && !f.numbered; i++ {
		b := &f.blocks[i]
		tail, err := f.sampler.encode(b.block, b.json)
		if err != nil {
			return fmt.Errorf("encode samples: %w", err)
		}
		if b.row == 0 {
			if b.id == 0 {
				b.id = l.nextLoose
				l.nextLoose++
			}
			f.newRows++
		}
		if err := l.putLoose(ctx, looseRow{id: b.id, first: b.first, last: b.last, samples: b.n, step: wholeSamples, body: tail}); err != nil {
			return err
		}
	}
	if f.lost.samples == 0 {
		return nil
	}
	added, err := l.recordThinned(ctx, event.StreamThinned{
		From: f.lost.from, To: f.lost.to, Removed: f.lost.samples, Reason: "no space on the gateway's disk",
	})
	f.newRows += added
	return err
}

// flushed takes the success of f into memory.
func (s *sampler) flushed(f *flush) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range f.blocks {
		staged := &f.blocks[i]
		b := staged.block
		s.bytes -= b.unstored(staged)
		b.row, b.stored = staged.id, staged.n
		if i < f.closed {
			continue
		}
		if s.open[b.key] != b { // shut meanwhile
			continue
		}
		s.byRow[b.row] = b
		if b.n == b.stored && time.Since(b.opened) >= blockSpan {
			s.shut(b)
		}
	}
	for _, b := range s.open { // quiet ones
		if b.n == b.stored && time.Since(b.opened) >= blockSpan {
			s.shut(b)
		}
	}
}

// unstored is the number of bytes of b that staged has made durable.
func (b *block) unstored(staged *stagedBlock) int {
	if b.tail != nil {
		return len(b.tail)
	}
	// Commas are not counted: one between two samples.
	stored := b.storedBytes
	b.storedBytes = len(staged.json) - (staged.n - 1)
	return b.storedBytes - stored
}

// giveBack returns what could not be written.
func (s *sampler) giveBack(f *flush) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range f.closed {
		s.closed = append(s.closed, f.blocks[i].block)
	}
	if f.lost.samples > 0 {
		s.lost.add(f.lost.from, f.lost.samples)
		s.lost.add(f.lost.to, 0)
	}
}

// seal ends the open block of a row that gets its number and returns its tail,
// complete; nil when the row has no open block.
func (s *sampler) seal(id int64) (*block, []byte, error) {
	s.mu.Lock()
	b := s.byRow[id]
	if b == nil {
		s.mu.Unlock()
		return nil, nil, nil
	}
	delete(s.open, b.key)
	delete(s.byRow, id)
	s.mu.Unlock()
	tail, err := s.encode(b, b.json)
	return b, tail, err
}

// sealed takes the end of a numbering into memory: the blocks are in the file,
// or have to be flushed again.
func (s *sampler) sealed(blocks []*block, kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range blocks {
		if kept {
			s.bytes -= len(b.json) - (b.n - 1) - b.storedBytes
			continue
		}
		if b.n > b.stored {
			s.closed = append(s.closed, b)
		}
	}
}

// isOpen tells whether the row with this id may still grow.
func (s *sampler) isOpen(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byRow[id] != nil
}
