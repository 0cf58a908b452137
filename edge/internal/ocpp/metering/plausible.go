package metering

import (
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

const (
	// enoughWh is how much energy has to have flowed, by the register or by the
	// power, before the two are compared: registers count in steps of up to 100 Wh.
	enoughWh = 500
	// wildly is the ratio of register and power from which on one of them is
	// wrong: a wrong unit is 1000, a wrong factor 10.
	wildly = 4
	// longGap is the time between two readings above which the power in between is
	// not known.
	longGap = 15 * time.Minute
	// mostW is more than any connector delivers.
	mostW = 5e6
)

// Watch compares what one meter says with what it says: the energy by which its
// register rises, and its power over the time. The zero value begins.
type Watch struct {
	last    point   // the newest reading
	risen   float64 // Wh since the comparison began, by the register
	flowed  float64 // Wh since then, by the power
	against int     // comparisons in a row that failed
}

// point is what counts of a reading.
type point struct {
	at       time.Time
	wh       int64
	power    float64 // W
	known    bool    // wh is one
	hasPower bool
}

// Begin forgets what was before and starts at a register in Wh; nil: none is known.
func (w *Watch) Begin(at time.Time, register *int64) {
	*w = Watch{last: point{at: at}}
	if register != nil {
		w.last.wh, w.last.known = *register, true
	}
}

// Contradicts takes readings in the order of their time and tells whether they
// cannot be true together with those before, and why.
func (w *Watch) Contradicts(samples []event.Sample) (why string, contradicts bool) {
	for i := range samples {
		if text, bad := w.hear(&samples[i]); bad {
			why, contradicts = text, true
		}
	}
	return why, contradicts
}

func (w *Watch) hear(s *event.Sample) (why string, bad bool) {
	if s.EnergyWh == nil || s.Context == "begin" || s.Context == "end" {
		return "", false
	}
	before, next := w.last, point{at: s.Time, wh: *s.EnergyWh, known: true}
	if next.hasPower = s.PowerW != nil; next.hasPower {
		next.power = *s.PowerW
	}
	span := s.Time.Sub(before.at)
	if before.known && span <= 0 {
		return "", false
	}
	w.last = next
	if !before.known {
		return "", false
	}
	rise := float64(next.wh - before.wh)
	hours := span.Hours()
	if rise > mostW*hours+1000 {
		w.risen, w.flowed = 0, 0
		return fmt.Sprintf("the register rose by %.0f Wh in %v", rise, span.Round(time.Second)), true
	}
	if rise < 0 || !before.hasPower || !next.hasPower || span > longGap {
		w.risen, w.flowed, w.against = 0, 0, 0
		return "", false
	}
	w.risen += rise
	w.flowed += (before.power + next.power) / 2 * hours
	if max(w.risen, w.flowed) < enoughWh {
		return "", false
	}
	risen, flowed := w.risen, w.flowed
	w.risen, w.flowed = 0, 0
	if risen <= wildly*flowed && flowed <= wildly*risen {
		w.against = 0
		return "", false
	}
	if w.against++; w.against < 2 { // once may be chance
		return "", false
	}
	return fmt.Sprintf("by its register %.0f Wh, by its power %.0f Wh", risen, flowed), true
}
