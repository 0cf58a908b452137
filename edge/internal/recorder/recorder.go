// Package recorder is the gateway's flight recorder: the last frames of each
// station, as they went over the wire, in memory.
//
// It is bounded in bytes for each station and for all of them together; what is
// oldest goes first. Recording costs a copy. Whatever is read out has its
// passwords and keys taken out: see Redact.
package recorder

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Config bounds a Recorder. Zero values mean the defaults named beside them.
type Config struct {
	StationBytes int // of one station; 64 KiB
	TotalBytes   int // of all; 16 MiB
}

const (
	// firstChunk is what a station that has said little holds; each further
	// chunk is twice as large, up to largestChunk.
	firstChunk   = 512
	largestChunk = 8 << 10
	// header is the moment, the direction and the two lengths before each frame.
	header = 8 + 1 + 4 + 4
)

// chunk is a piece of a station's tape.
type chunk struct {
	tape *tape // not changed
	size int   // capacity of data; not changed

	data []byte // guarded by tape.mu
	next *chunk // of the same tape; guarded by tape.mu

	older, newer *chunk // of all tapes; guarded by Recorder.mu
}

// tape is what is kept of one station.
type tape struct {
	mu          sync.Mutex // guards what follows; may be held when Recorder.mu is taken
	first, last *chunk
	bytes       int // of the chunks
}

// Recorder keeps frames. Its methods may be called on any goroutine.
type Recorder struct {
	station, total int
	tapes          sync.Map // event.StationID: *tape

	mu             sync.Mutex // guards what follows; held for a few assignments
	oldest, newest *chunk
	bytes          int // of all chunks
}

// New returns an empty Recorder.
func New(cfg Config) *Recorder {
	r := &Recorder{station: cfg.StationBytes, total: cfg.TotalBytes}
	if r.station <= 0 {
		r.station = 64 << 10
	}
	if r.total <= 0 {
		r.total = 16 << 20
	}
	return r
}

// Record keeps a copy of a frame: of one that came in, or of one that went out.
// Of a frame larger than a quarter of what a station may have only the beginning
// is kept. The frame is the caller's again when Record returns.
func (r *Recorder) Record(id event.StationID, incoming bool, at time.Time, frame []byte) {
	v, ok := r.tapes.Load(id)
	if !ok {
		v, _ = r.tapes.LoadOrStore(id, &tape{})
	}
	t := v.(*tape)
	whole := len(frame)
	frame = frame[:min(whole, r.station/4)]
	t.mu.Lock()
	fresh := r.room(t, header+len(frame))
	c := t.last
	direction := byte(0)
	if incoming {
		direction = 1
	}
	c.data = binary.LittleEndian.AppendUint64(c.data, uint64(at.UnixMicro()))
	c.data = append(c.data, direction)
	c.data = binary.LittleEndian.AppendUint32(c.data, uint32(len(frame)))
	c.data = binary.LittleEndian.AppendUint32(c.data, uint32(whole))
	c.data = append(c.data, frame...)
	t.mu.Unlock()
	if fresh {
		r.shrink(c)
	}
}

// room makes sure that n bytes fit into the last chunk of t. It tells whether
// that is a new one. It needs t.mu.
func (r *Recorder) room(t *tape, n int) (fresh bool) {
	size := firstChunk
	if t.last != nil {
		if t.last.size-len(t.last.data) >= n {
			return false
		}
		size = min(2*t.last.size, largestChunk, r.station/4)
	}
	size = max(size, n)
	var data []byte // of one that is dropped for this one
	for t.first != nil && t.bytes+size > r.station {
		data = r.drop(t)
	}
	if cap(data) < size {
		data = make([]byte, 0, size)
	}
	c := &chunk{tape: t, size: cap(data), data: data[:0]}
	if t.last == nil {
		t.first = c
	} else {
		t.last.next = c
	}
	t.last = c
	t.bytes += c.size

	r.mu.Lock()
	defer r.mu.Unlock()
	if c.older = r.newest; c.older == nil {
		r.oldest = c
	} else {
		c.older.newer = c
	}
	r.newest = c
	r.bytes += c.size
	return true
}

// drop forgets the oldest chunk of t and returns its memory. It needs t.mu.
func (r *Recorder) drop(t *tape) []byte {
	c := t.first
	data := c.data
	if t.first = c.next; t.first == nil {
		t.last = nil
	}
	t.bytes -= c.size
	c.data, c.next = nil, nil

	r.mu.Lock()
	defer r.mu.Unlock()
	if c.older == nil {
		r.oldest = c.newer
	} else {
		c.older.newer = c.newer
	}
	if c.newer == nil {
		r.newest = c.older
	} else {
		c.newer.older = c.older
	}
	c.older, c.newer = nil, nil
	r.bytes -= c.size
	return data
}

// shrink forgets the oldest chunks of all stations while there is too much, but
// not the one that was just made.
func (r *Recorder) shrink(made *chunk) {
	for {
		r.mu.Lock()
		c := r.oldest
		enough := r.bytes <= r.total || c == nil || c == made
		r.mu.Unlock()
		if enough {
			return
		}
		c.tape.mu.Lock()
		if c.tape.first == c { // nobody was quicker
			r.drop(c.tape)
		}
		c.tape.mu.Unlock()
	}
}

// Frame is one frame that was kept.
type Frame struct {
	Time     time.Time // UTC, microseconds
	Incoming bool
	Data     []byte // as it was on the wire, secrets and all
	Cut      int    // bytes at its end that were not kept
}

// Frames returns copies of the frames of a station from one moment up to, not
// including, another, in their order. A zero moment is no bound.
func (r *Recorder) Frames(id event.StationID, from, to time.Time) []Frame {
	v, ok := r.tapes.Load(id)
	if !ok {
		return nil
	}
	t := v.(*tape)
	var frames []Frame
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := t.first; c != nil; c = c.next {
		for rest := c.data; len(rest) > 0; {
			at := time.UnixMicro(int64(binary.LittleEndian.Uint64(rest))).UTC()
			n, whole := int(binary.LittleEndian.Uint32(rest[9:])), int(binary.LittleEndian.Uint32(rest[13:]))
			if (from.IsZero() || !at.Before(from)) && (to.IsZero() || at.Before(to)) {
				frames = append(frames, Frame{Time: at, Incoming: rest[8] == 1, Data: bytes.Clone(rest[header : header+n]), Cut: whole - n})
			}
			rest = rest[header+n:]
		}
	}
	return frames
}

// Bytes is how much memory the frames of all stations take.
func (r *Recorder) Bytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// line is a frame as it is read out.
type line struct {
	Time      string          `json:"time"`      // RFC 3339, microseconds
	Direction string          `json:"direction"` // in: of the station, out: of the gateway
	Frame     json.RawMessage `json:"frame,omitempty"`
	Text      *string         `json:"text,omitempty"` // of a frame that is no JSON
	Cut       int             `json:"cut,omitempty"`  // bytes at the end that were not kept
}

// Write writes frames to w, each as a line of JSON, redacted:
//
//	{"time":"2026-11-22T10:00:00.123456Z","direction":"in","frame":[2,"1","Heartbeat",{}]}
//
// What is no JSON stands in "text" in place of "frame".
func Write(w io.Writer, frames []Frame) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for i := range frames {
		f := &frames[i]
		l := line{Time: f.Time.Format("2006-01-02T15:04:05.000000Z07:00"), Direction: "out", Cut: f.Cut}
		if f.Incoming {
			l.Direction = "in"
		}
		var text string
		if l.Frame, text = Redact(f.Data); l.Frame == nil {
			l.Text = &text
		}
		if err := out.Encode(&l); err != nil {
			return err
		}
	}
	return nil
}
