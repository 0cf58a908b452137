package site

import (
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

const (
	// liveWindow is how far a device's clock may be off before a message that
	// has just been written is doubted.
	liveWindow = 5 * time.Minute
	// oldestClaim is the longest that a station may have kept a message.
	oldestClaim = 400 * 24 * time.Hour
	// firstYear is the year before which no device can mean its time.
	firstYear = 2015
	lastYear  = 2200 // nor after this one
	zoneStep  = 30 * time.Minute
	zoneSlack = 90 * time.Second
	zoneMost  = 14 * time.Hour
)

// moment is when something happened, as far as the gateway believes.
type moment struct {
	time    time.Time
	doubted bool // there was a claim and it was not believed
	offline bool // it happened well before it was told
}

// readable tells whether a device claimed a time that it can have meant.
func (r ReportedTime) readable() bool {
	return !r.Time.IsZero() && r.Quality != TimeUnset && r.Quality != TimeUnreadable && r.Time.Year() >= firstYear && r.Time.Year() < lastYear
}

// judge decides when something happened that was told at now over a connection
// that is up since the given time. A claim is never a reason to discard: what is
// not believed is replaced by now.
//
// While the gateway's own clock is not synced every time is its own, so that one
// offset mends the whole start. A claim from before the connection came from the
// device's queue. One that is off by a whole number of half hours, though the
// device was connected all the while, is local time called UTC.
func judge(r ReportedTime, now time.Time, clock event.Clock, since time.Time) moment {
	if clock != event.ClockSynced {
		return moment{time: now}
	}
	if !r.readable() {
		return moment{time: now, doubted: r.Raw != "" || !r.Time.IsZero()}
	}
	ahead := r.Time.Sub(now)
	zone := ahead.Round(zoneStep)
	whole := zone != 0 && zone.Abs() <= zoneMost && (ahead-zone).Abs() <= zoneSlack
	switch {
	case ahead.Abs() <= liveWindow:
		return moment{time: r.Time.UTC()}
	case r.Quality == TimeNoZone && whole:
		return moment{time: r.Time.Add(-zone).UTC(), doubted: true}
	case ahead > 0, ahead < -oldestClaim:
		return moment{time: now, doubted: true}
	case whole && r.Time.After(since):
		return moment{time: now, doubted: true}
	}
	return moment{time: r.Time.UTC(), offline: true}
}
