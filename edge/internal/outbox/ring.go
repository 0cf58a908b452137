package outbox

// ringBytes bounds what a lane keeps in memory of its newest events.
const ringBytes = 1 << 20

// ring holds the newest events of the current stream, so that an uplink which
// has caught up never reads them back from the file.
type ring struct {
	limit int      // bytes
	first uint64   // number of tails[0]
	tails [][]byte // without holes
	bytes int
}

func (r *ring) reset() { r.first, r.tails, r.bytes = 0, nil, 0 }

// push appends the events from number first on.
func (r *ring) push(first uint64, tails [][]byte) {
	if len(r.tails) == 0 || r.first+uint64(len(r.tails)) != first {
		r.reset()
		r.first = first
	}
	r.tails = append(r.tails, tails...)
	for _, t := range tails {
		r.bytes += len(t)
	}
	drop := 0
	for over := r.bytes - r.limit; over > 0 && drop < len(r.tails); drop++ {
		over -= len(r.tails[drop])
	}
	r.drop(drop)
}

// drop forgets the n oldest.
func (r *ring) drop(n int) {
	for _, t := range r.tails[:n] {
		r.bytes -= len(t)
	}
	clear(r.tails[:n])
	r.tails = r.tails[n:]
	r.first += uint64(n)
	if len(r.tails) == 0 {
		r.reset()
	}
}

// dropThrough forgets everything up to number n.
func (r *ring) dropThrough(n uint64) {
	if len(r.tails) > 0 && n >= r.first {
		r.drop(int(min(n-r.first+1, uint64(len(r.tails)))))
	}
}

// from returns the events from number n on, nil when n is not held.
func (r *ring) from(n uint64) [][]byte {
	if len(r.tails) == 0 || n < r.first || n >= r.first+uint64(len(r.tails)) {
		return nil
	}
	return r.tails[n-r.first:]
}

// replace exchanges one event, if it is held.
func (r *ring) replace(n uint64, tail []byte) {
	if t := r.from(n); t != nil {
		r.bytes += len(tail) - len(t[0])
		t[0] = tail
	}
}
