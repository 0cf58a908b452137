package uplink

import (
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Stats is what an Uplink counted since its start, and where it stands.
type Stats struct {
	Connected   bool      // to the broker
	Reachable   bool      // the manager has answered the newest hello
	Since       time.Time // of the connection; zero while there is none
	LastError   string    // why the last connection ended or was not made
	Connections uint64    // made
	Reconnects  uint64    // attempts after a loss or a failure
	Hellos      uint64
	Questions   uint64
	Unreadable  uint64 // messages that are not ours
	Dropped     uint64 // messages for which there was no room
	Lanes       map[event.Lane]LaneStats
}

// LaneStats are the Stats of one lane.
type LaneStats struct {
	Backlog  int    // events not settled
	Batches  uint64 // published, repetitions included
	Bytes    uint64 // published, as packed
	Repeats  uint64 // batches that nobody answered in time
	Events   uint64 // settled
	Refused  uint64 // batches that the manager could not read
	Stubs    uint64
	Failures uint64    // of the outbox
	Blocked  bool      // the manager refuses everything: a person has to look
	LastAck  time.Time // zero: none yet
}

type counters struct {
	since                   atomic.Pointer[time.Time]
	lastError               atomic.Pointer[string]
	connections, reconnects atomic.Uint64
	hellos, questions       atomic.Uint64
	unreadable, dropped     atomic.Uint64
}

func (n *counters) connected(at time.Time) {
	n.connections.Add(1)
	n.since.Store(&at)
}

func (n *counters) disconnected() { n.since.Store(nil) }

func (n *counters) failed(err error) {
	if err != nil {
		text := err.Error()
		n.lastError.Store(&text)
	}
}

type laneCounters struct {
	batches, bytes, repeats, events atomic.Uint64
	refused, stubs, failures        atomic.Uint64
	blocked                         atomic.Bool
	lastAck                         atomic.Pointer[time.Time]
}

func (n *laneCounters) acked(at time.Time, events uint64) {
	n.events.Add(events)
	n.lastAck.Store(&at)
}

// Stats returns where the uplink stands. It is cheap, and never waits for it.
func (u *Uplink) Stats() Stats {
	s := Stats{
		Reachable:   u.reachable.Load() != nil,
		Connections: u.counts.connections.Load(), Reconnects: u.counts.reconnects.Load(),
		Hellos: u.counts.hellos.Load(), Questions: u.counts.questions.Load(),
		Unreadable: u.counts.unreadable.Load(), Dropped: u.counts.dropped.Load(),
		Lanes: make(map[event.Lane]LaneStats, len(u.lanes)),
	}
	if since := u.counts.since.Load(); since != nil {
		s.Connected, s.Since = true, *since
	}
	if text := u.counts.lastError.Load(); text != nil {
		s.LastError = *text
	}
	for _, l := range u.lanes {
		n := LaneStats{
			Backlog: l.Backlog(), Batches: l.counts.batches.Load(), Bytes: l.counts.bytes.Load(),
			Repeats: l.counts.repeats.Load(), Events: l.counts.events.Load(), Refused: l.counts.refused.Load(),
			Stubs: l.counts.stubs.Load(), Failures: l.counts.failures.Load(), Blocked: l.counts.blocked.Load(),
		}
		if at := l.counts.lastAck.Load(); at != nil {
			n.LastAck = *at
		}
		s.Lanes[l.name] = n
	}
	return s
}
