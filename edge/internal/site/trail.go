package site

import (
	"slices"
	"strconv"
	"time"
)

// trail is what is remembered of the events of one transaction that its station
// numbers, so that one that comes again, late or after a hole is known as such.
// OCPP 2.0.1 E02.FR.07.
type trail struct {
	last  *int64     // highest number since the numbering began; nil: none was told
	holes [][2]int64 // numbers below last that never came, first and last included
	keys  []uint64   // of the newest events, oldest first
	at    time.Time  // claimed by the newest; zero: nothing readable
	loose bool       // numbers may have been heard that are not remembered

	word   uint64    // what the newest event without news said
	wordAt time.Time // monotonic: when it was told
}

const (
	// keepKeys bounds the events of a transaction that are known again. A station
	// has one call under way and repeats that one.
	keepKeys = 16
	// keepHoles bounds the ranges of numbers that are missing.
	keepHoles = 8
)

// order says where an event stands among those of its transaction.
type order uint8

const (
	inOrder  order = iota // the newest
	late                  // older than what was heard: it says nothing about now
	repeated              // it was taken before
)

// String returns the word for o.
func (o order) String() string { return [...]string{"in order", "late", "repeated"}[o] }

// transactionKey names an event by what it says: the message id changes with each
// try, and some stations begin to count anew or never count, so that the number
// alone means little. Where neither number nor time tells events apart the readings
// do.
func transactionKey(r *TransactionReport) uint64 {
	token := ""
	if r.Token != nil {
		token = tokenKey(r.Token.Value)
	}
	h := hash("transaction", r.Transaction, r.Step.String(), wh(r.Sequence), claimText(r.Time), r.Trigger, r.ChargingState, token)
	if r.Sequence != nil && r.Time.readable() {
		return h
	}
	h = h*hashPrime ^ hash(r.Reason, strconv.Itoa(r.EVSE))
	for i := range r.Readings {
		v := &r.Readings[i]
		h = h*hashPrime ^ hash(v.DeviceTime, strconv.FormatInt(v.Time.UnixMilli(), 10), v.Context, wh(v.EnergyWh))
	}
	return h
}

// next places an event with a key, a number (nil: none) and a claimed time. It
// returns the trail as it will be.
//
// A higher number is newer, and what it leaves out is a hole. A number that does
// not rise though the time does is a count that began anew. Everything else is
// late, and may fill a hole.
func (t trail) next(key uint64, sequence *int64, claim ReportedTime) (trail, order) {
	if slices.Contains(t.keys, key) {
		return t, repeated
	}
	t.keys = append(slices.Clip(t.keys[max(len(t.keys)-keepKeys+1, 0):]), key)
	readable := claim.readable()
	newer := readable && (t.at.IsZero() || claim.Time.After(t.at))
	same := !readable || claim.Time.Equal(t.at)
	placed := inOrder
	switch {
	case sequence == nil:
		if readable && !t.at.IsZero() && claim.Time.Before(t.at) {
			placed = late
		}
	case t.last == nil:
		t.last = sequence
	case *sequence > *t.last:
		if *sequence > *t.last+1 && !t.loose && len(t.holes) < keepHoles {
			t.holes = append(slices.Clip(t.holes), [2]int64{*t.last + 1, *sequence - 1})
		}
		t.last = sequence
	case t.fills(*sequence):
		t.holes = fill(t.holes, *sequence)
		placed = late
	case newer, same && *sequence == *t.last:
		t.last = sequence
	default:
		placed = late
	}
	if placed == late {
		return t, late
	}
	t.loose = false
	if readable {
		t.at = claim.Time
	}
	return t, inOrder
}

// missesSince tells whether events between number n, which was heard too, and the
// newest may not have come.
func (t *trail) missesSince(n *int64) bool {
	return n == nil || t.last == nil || *t.last-*n >= int64(len(t.keys))
}

func (t *trail) fills(n int64) bool {
	return slices.ContainsFunc(t.holes, func(h [2]int64) bool { return h[0] <= n && n <= h[1] })
}

// fill takes n out of holes.
func fill(holes [][2]int64, n int64) [][2]int64 {
	var out [][2]int64
	for _, h := range holes {
		if n < h[0] || n > h[1] {
			out = append(out, h)
			continue
		}
		if h[0] < n {
			out = append(out, [2]int64{h[0], n - 1})
		}
		if n < h[1] {
			out = append(out, [2]int64{n + 1, h[1]})
		}
	}
	return out
}
