package site

import (
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestJudge(t *testing.T) {
	now := base
	since := now.Add(-3 * time.Hour)
	claim := func(d time.Duration) ReportedTime { return said(now.Add(d)) }
	noZone := func(d time.Duration) ReportedTime { r := claim(d); r.Quality = TimeNoZone; return r }
	tests := []struct {
		name     string
		claim    ReportedTime
		unsynced bool
		want     moment
	}{
		{name: "now", claim: claim(0), want: moment{time: now}},
		{name: "a little ahead", claim: claim(4 * time.Minute), want: moment{time: now.Add(4 * time.Minute)}},
		{name: "none", want: moment{time: now}},
		{name: "unreadable", claim: ReportedTime{Raw: "soon", Quality: TimeUnreadable}, want: moment{time: now, doubted: true}},
		{name: "quirk 44: 1970", claim: ReportedTime{Raw: "1970", Time: time.Unix(0, 0), Quality: TimeUnset}, want: moment{time: now, doubted: true}},
		{name: "year 9999", claim: said(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), want: moment{time: now, doubted: true}},
		{name: "ahead", claim: claim(time.Hour), want: moment{time: now, doubted: true}},
		{name: "from the queue", claim: claim(-5 * time.Hour), want: moment{time: now.Add(-5 * time.Hour), offline: true}},
		{name: "from the queue, odd time", claim: claim(-5*time.Hour - 7*time.Minute), want: moment{time: now.Add(-5*time.Hour - 7*time.Minute), offline: true}},
		{name: "late though connected", claim: claim(-40*time.Minute - 10*time.Second), want: moment{time: now.Add(-40*time.Minute - 10*time.Second), offline: true}},
		{name: "quirk 43: local time called UTC", claim: claim(-time.Hour + 20*time.Second), want: moment{time: now, doubted: true}},
		{name: "quirk 41: no zone", claim: noZone(2*time.Hour - 20*time.Second), want: moment{time: now.Add(-20 * time.Second), doubted: true}},
		{name: "too old", claim: claim(-500 * 24 * time.Hour), want: moment{time: now, doubted: true}},
		{name: "gateway without a clock", claim: claim(-time.Hour), unsynced: true, want: moment{time: now}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clock := event.ClockSynced
			if tt.unsynced {
				clock = event.ClockUnsynced
			}
			if got := judge(tt.claim, now, clock, since); !got.time.Equal(tt.want.time) || got.doubted != tt.want.doubted || got.offline != tt.want.offline {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
