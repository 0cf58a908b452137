package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/console"
	"github.com/chargeyard/chargeyard/edge/internal/outbox"
	"github.com/chargeyard/chargeyard/edge/internal/recorder"
	"github.com/chargeyard/chargeyard/edge/internal/uplink"
	"github.com/chargeyard/chargeyard/shared/event"
)

// sources is what the console shows of the gateway.
func (g *gateway) sources() console.Sources {
	s := console.Sources{
		Stations: g.site.Stations,
		Scores:   g.scores,
		Alarm:    g.site.Alarm,
		Turned:   g.turned,
		Checks: []console.Check{
			{Name: "stations", Fine: func() error {
				if !g.server.Listening() {
					return errors.New("not yet listening for stations")
				}
				return nil
			}},
			{Name: "storage", Fine: func() error {
				if ago, lost := g.server.LastNotKept(); lost && ago < time.Minute {
					return fmt.Errorf("a message could not be made durable %v ago: see the log", ago.Round(time.Second))
				}
				return nil
			}},
		},
		Facts: []console.Fact{
			{Name: "manager", Value: g.managerFact},
			{Name: "clock", Value: g.clockFact},
			{Name: "TLS for stations", Value: g.tlsFact},
			{Name: "waiting for the manager", Value: g.backlogFact},
		},
		Collectors: append(g.server.Collectors(), console.Collector(append(g.outboxMetrics(), g.uplinkMetrics()...)...)),
	}
	if g.recorder != nil {
		s.Frames = g.frames
	}
	return s
}

// scores are those of the stations, as the console shows them.
func (g *gateway) scores() []console.Score {
	all := g.server.Scores()
	out := make([]console.Score, len(all))
	for i, s := range all {
		out[i] = console.Score{
			Station: s.Station, Profile: s.Profile,
			Model: strings.TrimSpace(s.Vendor + " " + s.Model + " " + s.Firmware),
		}
		for _, d := range s.Kinds {
			out[i].Kinds = append(out[i].Kinds, console.Deviations{Kind: d.Kind, Count: d.Count, Last: d.Last, Text: d.Text})
		}
	}
	return out
}

// frames writes what is recorded of a station.
func (g *gateway) frames(w io.Writer, id event.StationID, from, to time.Time) (known bool, err error) {
	frames := g.recorder.Frames(id, from, to)
	if len(frames) == 0 {
		return false, nil
	}
	return true, recorder.Write(w, frames)
}

func (g *gateway) managerFact() string {
	s := g.uplink.Stats()
	switch {
	case s.Reachable:
		return "reachable since " + s.Since.UTC().Format(time.DateTime)
	case s.Connected:
		return "the broker is reachable, the manager does not answer"
	}
	return "out of reach: " + strconv.FormatUint(s.Reconnects, 10) + " attempts"
}

// tlsFact says what stations are shown, and until when.
func (g *gateway) tlsFact() string {
	if !g.cfg.OCPP.TLS.On() {
		return "off"
	}
	shown := g.pki.Shown()
	if len(shown) == 0 {
		return "waits for a certificate: see the log"
	}
	text := "on " + g.cfg.OCPP.TLS.Listen
	for _, c := range shown {
		text += ", " + c.PublicKeyAlgorithm.String() + " certificate until " + c.NotAfter.UTC().Format(time.DateOnly)
	}
	return text
}

// turned lists whom the server did not let in.
func (g *gateway) turned() []console.Turned {
	away := g.server.TurnedAway()
	list := make([]console.Turned, len(away))
	for i, t := range away {
		list[i] = console.Turned{At: t.At, Name: string(t.Name), Remote: t.Remote, Reason: t.Reason}
	}
	return list
}

func (g *gateway) clockFact() string {
	now := g.clock.Stamp()
	return now.Time.Format(time.DateTime) + " UTC, " + string(now.Clock)
}

func (g *gateway) backlogFact() string {
	waiting := make([]string, len(event.Lanes))
	for i, l := range event.Lanes {
		waiting[i] = strconv.Itoa(g.outbox.Lane(l).Backlog()) + " " + string(l)
	}
	return strings.Join(waiting, ", ")
}

// one is a reading without labels.
func one(n float64) []console.Value { return []console.Value{{Number: n}} }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (g *gateway) outboxMetrics() []console.Metric {
	lanes := func(f func(outbox.LaneStats) float64) func() []console.Value {
		return func() []console.Value {
			var values []console.Value
			for lane, s := range g.outbox.Stats().Lanes {
				values = append(values, console.Value{Labels: []string{string(lane)}, Number: f(s)})
			}
			return values
		}
	}
	all := func(f func(outbox.Stats) float64) func() []console.Value {
		return func() []console.Value { return one(f(g.outbox.Stats())) }
	}
	lane := []string{"lane"}
	return []console.Metric{
		{Name: "backlog", Help: "Events that the manager has not confirmed.", Gauge: true, Labels: lane, Read: lanes(func(s outbox.LaneStats) float64 { return float64(s.Backlog) })},
		{Name: "streams", Help: "Streams that hold events.", Gauge: true, Labels: lane, Read: lanes(func(s outbox.LaneStats) float64 { return float64(s.Streams) })},
		{Name: "file_bytes", Help: "Size of the database file with its WAL.", Gauge: true, Labels: lane, Read: lanes(func(s outbox.LaneStats) float64 { return float64(s.FileBytes) })},
		{Name: "commits_total", Help: "Commits with fsync.", Labels: lane, Read: lanes(func(s outbox.LaneStats) float64 { return float64(s.Commits) })},
		{Name: "committed_total", Help: "Events made durable.", Labels: lane, Read: lanes(func(s outbox.LaneStats) float64 { return float64(s.Committed) })},
		{Name: "commit_seconds_total", Help: "Time spent in commits.", Labels: lane, Read: lanes(func(s outbox.LaneStats) float64 { return s.CommitTime.Seconds() })},
		{Name: "settled_total", Help: "Events that the manager has confirmed.", Labels: lane, Read: lanes(func(s outbox.LaneStats) float64 { return float64(s.Settled) })},
		{Name: "not_kept_total", Help: "Changes that could not be made durable.", Read: all(func(s outbox.Stats) float64 { return float64(s.NotKept) })},
		{Name: "truncated_total", Help: "Events over 64 KiB.", Read: all(func(s outbox.Stats) float64 { return float64(s.Truncated) })},
		{Name: "stubs_total", Help: "Events that the manager could not read.", Read: all(func(s outbox.Stats) float64 { return float64(s.Stubs) })},
		{Name: "replayed_total", Help: "Events sent again because the manager had lost them.", Read: all(func(s outbox.Stats) float64 { return float64(s.Replayed) })},
		{Name: "damaged_rows_total", Help: "Rows that could not be read back.", Read: all(func(s outbox.Stats) float64 { return float64(s.DamagedRows) })},
		{Name: "salvages_total", Help: "Damaged files moved aside.", Read: all(func(s outbox.Stats) float64 { return float64(s.Salvages) })},
		{Name: "samples_total", Help: "Meter samples taken.", Read: all(func(s outbox.Stats) float64 { return float64(s.SamplesTaken) })},
		{Name: "samples_lost_total", Help: "Meter samples lost for want of disk.", Read: all(func(s outbox.Stats) float64 { return float64(s.SamplesLost) })},
		{Name: "samples_thinned_total", Help: "Meter samples thinned out at the limit.", Read: all(func(s outbox.Stats) float64 { return float64(s.SamplesThinned) })},
	}
}

func (g *gateway) uplinkMetrics() []console.Metric {
	all := func(f func(uplink.Stats) float64) func() []console.Value {
		return func() []console.Value { return one(f(g.uplink.Stats())) }
	}
	lanes := func(f func(uplink.LaneStats) float64) func() []console.Value {
		return func() []console.Value {
			var values []console.Value
			for lane, s := range g.uplink.Stats().Lanes {
				values = append(values, console.Value{Labels: []string{string(lane)}, Number: f(s)})
			}
			return values
		}
	}
	lane := []string{"lane"}
	return []console.Metric{
		{Name: "clock_synced", Help: "1 while the clock is trusted.", Gauge: true, Read: func() []console.Value { return one(truth(g.clock.Synced())) }},
		{Name: "uplink_connected", Help: "1 while the broker is connected.", Gauge: true, Read: all(func(s uplink.Stats) float64 { return truth(s.Connected) })},
		{Name: "uplink_reachable", Help: "1 while the manager answers.", Gauge: true, Read: all(func(s uplink.Stats) float64 { return truth(s.Reachable) })},
		{Name: "uplink_connections_total", Help: "Connections made to the broker.", Read: all(func(s uplink.Stats) float64 { return float64(s.Connections) })},
		{Name: "uplink_unreadable_total", Help: "Messages of the manager that could not be read.", Read: all(func(s uplink.Stats) float64 { return float64(s.Unreadable) })},
		{Name: "uplink_dropped_total", Help: "Messages of the manager for which there was no room.", Read: all(func(s uplink.Stats) float64 { return float64(s.Dropped) })},
		{Name: "uplink_batches_total", Help: "Batches published, repetitions included.", Labels: lane, Read: lanes(func(s uplink.LaneStats) float64 { return float64(s.Batches) })},
		{Name: "uplink_bytes_total", Help: "Bytes published, as packed.", Labels: lane, Read: lanes(func(s uplink.LaneStats) float64 { return float64(s.Bytes) })},
		{Name: "uplink_repeats_total", Help: "Batches that nobody answered in time.", Labels: lane, Read: lanes(func(s uplink.LaneStats) float64 { return float64(s.Repeats) })},
		{Name: "uplink_refused_total", Help: "Batches that the manager could not read.", Labels: lane, Read: lanes(func(s uplink.LaneStats) float64 { return float64(s.Refused) })},
		{Name: "uplink_blocked", Help: "1 while the manager refuses everything.", Gauge: true, Labels: lane, Read: lanes(func(s uplink.LaneStats) float64 { return truth(s.Blocked) })},
	}
}
