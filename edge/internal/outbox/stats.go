package outbox

import (
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Stats are counts since the start, for metrics.
type Stats struct {
	Lanes          map[event.Lane]LaneStats
	NotKept        int64 // changes that could not be made durable
	Truncated      int64 // events over 64 KiB
	Stubs          int64 // events that the manager could not read
	Replayed       int64 // events sent again because the manager had lost them
	DamagedRows    int64 // rows and records that could not be read back
	Salvages       int64 // files moved aside
	SamplesTaken   int64 // samples reported
	SamplesLost    int64 // samples that could not be kept for lack of disk
	SamplesThinned int64 // samples taken out at the limit
	BallastFreed   int64 // times that the ballast was given free
}

// LaneStats are about one lane.
type LaneStats struct {
	Backlog    int // events not acknowledged
	Streams    int
	Commits    int64
	Committed  int64         // events
	Settled    int64         // events acknowledged
	CommitTime time.Duration // spent in commits, in all
	FileBytes  int64         // with the WAL
}

type laneCounters struct {
	commits, committed, commitNanos, settled atomic.Int64
}

type counters struct {
	events, samples laneCounters

	notKept, truncated, stubs, replayed, damagedRows, salvages atomic.Int64
	samplesTaken, samplesLost, samplesThinned, ballastFreed    atomic.Int64
}

func (c *counters) lane(name event.Lane) *laneCounters {
	if name == event.LaneSamples {
		return &c.samples
	}
	return &c.events
}

// Stats returns the counts.
func (o *Outbox) Stats() Stats {
	s := Stats{
		Lanes:          map[event.Lane]LaneStats{},
		NotKept:        o.stats.notKept.Load(),
		Truncated:      o.stats.truncated.Load(),
		Stubs:          o.stats.stubs.Load(),
		Replayed:       o.stats.replayed.Load(),
		DamagedRows:    o.stats.damagedRows.Load(),
		Salvages:       o.stats.salvages.Load(),
		SamplesTaken:   o.stats.samplesTaken.Load(),
		SamplesLost:    o.stats.samplesLost.Load(),
		SamplesThinned: o.stats.samplesThinned.Load(),
		BallastFreed:   o.stats.ballastFreed.Load(),
	}
	for _, l := range []*Lane{o.events, o.samples} {
		c := o.stats.lane(l.name)
		ls := LaneStats{
			Backlog: l.Backlog(), Commits: c.commits.Load(), Committed: c.committed.Load(), Settled: c.settled.Load(),
			CommitTime: time.Duration(c.commitNanos.Load()), FileBytes: fileSize(l.path) + fileSize(l.path+"-wal"),
		}
		l.mu.Lock()
		ls.Streams = len(l.streams)
		l.mu.Unlock()
		s.Lanes[l.name] = ls
	}
	return s
}
