//go:build !seams

package seam

import "time"

// Enabled tells whether this binary has seams.
const Enabled = false

// Hit is the failpoint called name.
func Hit(string) {}

// Now is time.Now.
func Now() time.Time { return time.Now() }

// ClockSynced passes on what the system says.
func ClockSynced(system bool) bool { return system }

// MaxPages is the largest size of a database file in pages; 0 is no limit.
func MaxPages(string) int { return 0 }
