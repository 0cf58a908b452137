package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Gateway makes events as a gateway does: numbered, in two lanes, with new
// streams at every start.
type Gateway struct {
	ID    event.GatewayID
	Boot  string
	Clock event.Clock
	// Streams holds every stream that was begun, oldest first, per lane.
	Streams map[event.Lane][]*Stream

	starts int
}

// Stream is a numbered run of events.
type Stream struct {
	Lane   event.Lane
	Name   string
	Events []event.Event
}

// NewGateway starts a gateway.
func NewGateway(id event.GatewayID) *Gateway {
	g := &Gateway{ID: id, Clock: event.ClockSynced, Streams: map[event.Lane][]*Stream{}}
	g.Restart()
	return g
}

// Restart begins new streams.
func (g *Gateway) Restart() {
	g.starts++
	g.Boot = fmt.Sprintf("boot-%s-%d", g.ID, g.starts)
	for _, lane := range event.Lanes {
		g.Streams[lane] = append(g.Streams[lane], &Stream{
			Lane: lane, Name: fmt.Sprintf("0197f3c2-6f7e-7cc1-%04x-%s-%s", g.starts, g.ID, lane),
		})
	}
}

// Stream returns the newest stream of a lane.
func (g *Gateway) Stream(lane event.Lane) *Stream {
	return g.Streams[lane][len(g.Streams[lane])-1]
}

// At is the place that an event is about: station, EVSE, connector.
func At(station event.StationID, place ...int) event.Address {
	a := event.Address{Station: station}
	if len(place) > 0 {
		a.EVSE, a.Connector = place[0], 1
	}
	if len(place) > 1 {
		a.Connector = place[1]
	}
	return a
}

// Say numbers an event and returns it.
func (g *Gateway) Say(at event.Address, when time.Time, data event.Payload) event.Event {
	d := event.Draft{Address: at, Time: when, Recorded: when.Add(16 * time.Millisecond), Boot: g.Boot, Clock: g.Clock, Data: data}
	s := g.Stream(data.EventType().Lane())
	id := event.ID{Stream: s.Name, Sequence: uint64(len(s.Events)) + 1}
	text, err := event.AppendTail(event.AppendHead(nil, id), g.ID, &d)
	if err != nil {
		panic(err) // the test's own payload
	}
	var e event.Event
	if err := json.Unmarshal(text, &e); err != nil {
		panic(err)
	}
	s.Events = append(s.Events, e)
	return e
}

// Batch is the events of s from number first to last.
func (g *Gateway) Batch(s *Stream, first, last int) fleet.Batch {
	return fleet.Batch{Gateway: g.ID, Lane: s.Lane, Stream: s.Name, Events: slices.Clone(s.Events[first-1 : last])}
}

// Deliver applies everything that the gateway has said, as one batch per
// stream, and fails the test unless all of it was taken.
func (g *Gateway) Deliver(t testing.TB, store fleet.Store) (entries []fleet.Entry) {
	t.Helper()
	for _, lane := range event.Lanes {
		for _, s := range g.Streams[lane] {
			if len(s.Events) == 0 {
				continue
			}
			applied := apply(t, store, g.Batch(s, 1, len(s.Events)))
			if applied.Position != uint64(len(s.Events)) {
				t.Fatalf("stream %s: position %d, want %d", s.Name, applied.Position, len(s.Events))
			}
			entries = append(entries, applied.Entries...)
		}
	}
	return entries
}

func apply(t testing.TB, store fleet.Store, b fleet.Batch) fleet.Applied {
	t.Helper()
	applied, err := store.Apply(t.Context(), b)
	must(t, err)
	return applied
}

// Summary is what a hello says of s from number oldest on.
func (s *Stream) Summary(oldest uint64, missing ...[2]uint64) fleet.Stream {
	return fleet.Stream{Lane: s.Lane, Stream: s.Name, Oldest: oldest, Next: uint64(len(s.Events)) + 1, Missing: missing}
}

// Hello says hello with the streams given.
func (g *Gateway) Hello(t testing.TB, store fleet.Store, streams ...fleet.Stream) map[event.Lane]map[string]uint64 {
	t.Helper()
	positions, err := store.Hello(t.Context(), g.ID, fleet.HelloFacts{
		Version: "1.0", Boot: g.Boot, Connection: "c-" + g.Boot, Clock: g.Clock, Streams: streams, At: began,
	})
	must(t, err)
	return positions
}

// sequences returns the numbers of entries.
func sequences(t testing.TB, entries []fleet.Entry) []uint64 {
	t.Helper()
	out := []uint64{}
	for _, e := range entries {
		n, err := event.ParseSequence(e.Sequence)
		must(t, err)
		out = append(out, n)
	}
	return out
}
