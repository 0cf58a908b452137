//go:build seams

package seam

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Enabled tells whether this binary has seams.
const Enabled = true

// failpoint is set by CHARGEYARD_FAILPOINT=name:n: at the n-th Hit of name the
// process kills itself with SIGKILL.
var failpoint, countdown = func() (string, *atomic.Int64) {
	name, n, _ := strings.Cut(os.Getenv("CHARGEYARD_FAILPOINT"), ":")
	left, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		left = 1
	}
	var c atomic.Int64
	c.Store(left)
	return name, &c
}()

// Hit is the failpoint called name.
func Hit(name string) {
	if name != failpoint || countdown.Add(-1) != 0 {
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		os.Exit(137)
	}
	select {} // until the signal arrives
}

var start = time.Now()

// skew reads CHARGEYARD_CLOCK: the time that the clock shows at the start
// (RFC 3339), and, in the file CHARGEYARD_CLOCK_SYNCED names, whether it has
// been set since: while the file is missing the clock stands wrong.
var wrong, syncedFile = func() (time.Time, string) {
	t, err := time.Parse(time.RFC3339, os.Getenv("CHARGEYARD_CLOCK"))
	if err != nil {
		return time.Time{}, ""
	}
	return t, os.Getenv("CHARGEYARD_CLOCK_SYNCED")
}()

func clockSet() bool {
	if syncedFile == "" {
		return false
	}
	_, err := os.Stat(syncedFile)
	return err == nil
}

// Now is time.Now, or the wrong clock of a test.
func Now() time.Time {
	if wrong.IsZero() || clockSet() {
		return time.Now()
	}
	return wrong.Add(time.Since(start))
}

// ClockSynced is what the system says, or what the test says.
func ClockSynced(system bool) bool {
	if wrong.IsZero() {
		return system
	}
	return clockSet()
}

// MaxPages reads CHARGEYARD_MAX_PAGES_{name}: a number, or the name of a file
// that holds one, so that a test can give the disk free again.
func MaxPages(name string) int {
	v := os.Getenv("CHARGEYARD_MAX_PAGES_" + strings.ToUpper(name))
	if n, err := strconv.Atoi(v); err == nil {
		return n
	}
	b, err := os.ReadFile(v)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
}
