package ocpp

import (
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// guard counts failed attempts, by address and by name, in buckets that fill up
// again: whoever fails too often is turned away without a slow hash. A password
// that is known to be right is never held up by it, so that nobody locks a station
// out by guessing in its name.
type guard struct {
	mu        sync.Mutex // guards what follows
	addresses map[string]bucket
	names     map[event.StationID]bucket
}

// bucket holds attempts.
type bucket struct {
	left float64
	at   time.Time // when it held left
}

// rate is how a bucket fills.
type rate struct {
	most  float64 // attempts
	every time.Duration
}

// Many stations may stand behind one address, so it is given more.
var (
	perAddress = rate{most: 60, every: time.Second}
	perName    = rate{most: 10, every: 10 * time.Second}
)

// mostBuckets bounds the memory of each map.
const mostBuckets = 4096

func newGuard() *guard {
	return &guard{addresses: map[string]bucket{}, names: map[event.StationID]bucket{}}
}

// filled is what a bucket holds now.
func (r rate) filled(b bucket, known bool, now time.Time) float64 {
	if !known {
		return r.most
	}
	return min(r.most, b.left+float64(now.Sub(b.at))/float64(r.every))
}

// take takes one attempt out of the bucket of key.
func take[K comparable](buckets map[K]bucket, key K, r rate, now time.Time) {
	b, known := buckets[key]
	left := r.filled(b, known, now)
	if !known && len(buckets) >= mostBuckets {
		for k, b := range buckets {
			if r.filled(b, true, now) == r.most {
				delete(buckets, k)
			}
		}
		if len(buckets) >= mostBuckets { // all are at it: one of them starts anew
			for k := range buckets {
				delete(buckets, k)
				break
			}
		}
	}
	buckets[key] = bucket{left: max(left-1, -r.most), at: now}
}

// failed notes a failed attempt.
func (g *guard) failed(who *guest) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	take(g.addresses, host(who.remote), perAddress, now)
	take(g.names, who.id, perName, now)
}

// locked tells whether a guest has to wait.
func (g *guard) locked(who *guest) bool {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a, knownA := g.addresses[host(who.remote)]
	n, knownN := g.names[who.id]
	return perAddress.filled(a, knownA, now) < 1 || perName.filled(n, knownN, now) < 1
}
