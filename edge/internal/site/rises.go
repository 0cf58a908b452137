package site

import "slices"

// rises is by how much a register rose since a session began. A drop is taken
// back when the register reaches the height again from which it fell: then the
// values in between were wrong. Where it never does, it began anew, and what it
// gained on both sides counts.
type rises struct {
	gained int64  // Wh
	drops  []drop // not taken back, the highest first; never changed in place
}

// drop is a height from which a register fell.
type drop struct {
	Wh     int64 `json:"w"`
	Gained int64 `json:"g"` // up to then
}

// maxDrops bounds what is remembered of a register that falls and falls.
const maxDrops = 8

// next is r after a step of the register, both in Wh.
func (r rises) next(from, to int64) rises {
	if to < from {
		if len(r.drops) < maxDrops {
			r.drops = append(slices.Clip(r.drops), drop{from, r.gained})
		}
		return r
	}
	r.gained += to - from
	for n := len(r.drops) - 1; n >= 0 && to >= r.drops[n].Wh; n-- {
		r.gained = r.drops[n].Gained + to - r.drops[n].Wh
		r.drops = r.drops[:n]
	}
	return r
}
