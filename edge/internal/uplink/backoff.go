package uplink

import (
	"math/rand/v2"
	"time"
)

// backoff is the pause before try number try+1: base doubled with each try, at
// most limit, and of that a random share between a half and the whole, so that
// a thousand gateways do not come back at the same moment.
func backoff(try int, base, limit time.Duration) time.Duration {
	d := limit
	if shift := max(try, 0); shift < 32 && base<<shift < limit && base<<shift > 0 {
		d = base << shift
	}
	return d/2 + rand.N(d/2+1)
}

// reconnectAfter is the pause after the try-th failure in a row: the first is
// usually a broker that was restarted, and its return is worth a quick look.
func reconnectAfter(try int) time.Duration {
	if try == 0 {
		return backoff(0, 200*time.Millisecond, 200*time.Millisecond)
	}
	return backoff(try-1, time.Second, time.Minute)
}
