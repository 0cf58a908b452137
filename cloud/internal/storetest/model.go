package storetest

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// testModel lets two gateways tell random stories and delivers them as badly as
// a network and dying processes can: twice, overlapping, with holes, with the
// database closed and opened and projections made anew in between. Whatever
// happens, every event is applied once and in order, and what the projections
// show is what they show of the same stories delivered as they should be.
//
// A story takes two databases and many commits, so that a few dozen must do
// unless -rapid.checks asks for more.
func testModel(t *testing.T, fresh func(t testing.TB) Opener) {
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		if err := f.Value.Set("30"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		opener := fresh(t)
		m := &model{t: t, rt: rt, opener: opener, store: opener(), positions: map[string]int{}}
		for _, id := range []event.GatewayID{"gw-1", "gw-2"} {
			m.tellers = append(m.tellers, &teller{Gateway: add(t, m.store, id), rt: rt, senseless: map[string]bool{}})
		}
		rt.Repeat(map[string]func(*rapid.T){
			"say":     func(*rapid.T) { m.teller().say() },
			"say on":  func(*rapid.T) { m.teller().say() },
			"restart": func(*rapid.T) { m.teller().restart() },
			"deliver": func(*rapid.T) { m.deliver() },
			"reopen": func(*rapid.T) {
				must(t, m.store.Close())
				m.store = opener()
			},
			"rebuild": func(*rapid.T) {
				want := Dump(t, m.store)
				must(t, m.store.Rebuild(t.Context(), nil))
				same(rt, "rebuilt", Dump(t, m.store), want)
			},
		})
		m.finish(fresh)
	})
}

type model struct {
	t         *testing.T
	rt        *rapid.T
	opener    Opener
	store     fleet.Store
	tellers   []*teller
	positions map[string]int // of each stream
}

func (m *model) teller() *teller { return rapid.SampledFrom(m.tellers).Draw(m.rt, "gateway") }

// deliver applies some run of events of the oldest stream that is not done, or
// of one that is.
func (m *model) deliver() {
	g := m.teller()
	lane := rapid.SampledFrom(event.Lanes[:]).Draw(m.rt, "lane")
	streams := g.Streams[lane]
	open := slices.IndexFunc(streams, func(s *Stream) bool { return m.positions[s.Name] < len(s.Events) })
	if open < 0 {
		open = len(streams) - 1
	}
	s := streams[rapid.IntRange(max(0, open-1), open).Draw(m.rt, "stream")]
	if len(s.Events) == 0 {
		return
	}
	first := rapid.IntRange(1, len(s.Events)).Draw(m.rt, "first")
	if rapid.Bool().Draw(m.rt, "next") {
		first = min(m.positions[s.Name]+1, len(s.Events))
	}
	last := rapid.IntRange(first, len(s.Events)).Draw(m.rt, "last")
	m.apply(g, s, first, last)
}

// apply applies a batch and checks what became of it.
func (m *model) apply(g *teller, s *Stream, first, last int) {
	position := m.positions[s.Name]
	want, from := position, position+1
	if first <= position+1 {
		want = max(position, last)
	}
	var expected []string
	for n := from; n <= want; n++ {
		if id := s.Events[n-1].ID; !g.senseless[id] {
			expected = append(expected, id)
		}
	}
	applied := apply(m.t, m.store, g.Batch(s, first, last))
	var got []string
	for _, e := range applied.Entries {
		got = append(got, e.ID)
	}
	if applied.Position != uint64(want) || !slices.Equal(got, expected) {
		m.rt.Fatalf("%d to %d of %s at %d: position %d and %v, want %d and %v", first, last, s.Name, position, applied.Position, got, want, expected)
	}
	m.positions[s.Name] = want
}

// finish delivers what is left, and everything once more to another database.
func (m *model) finish(fresh func(t testing.TB) Opener) {
	defer func() { must(m.t, m.store.Close()) }()
	should := fresh(m.t)()
	defer func() { must(m.t, should.Close()) }()
	for _, g := range m.tellers {
		add(m.t, should, g.ID)
		for _, lane := range event.Lanes {
			for _, s := range g.Streams[lane] {
				if n := len(s.Events); n > 0 {
					m.apply(g, s, min(m.positions[s.Name]+1, n), n)
					apply(m.t, should, g.Batch(s, 1, n))
				}
			}
		}
		for _, streams := range g.Streams { // for the log to be compared with
			for _, s := range streams {
				s.Events = slices.DeleteFunc(s.Events, func(e event.Event) bool { return g.senseless[e.ID] })
			}
		}
	}
	inOrder(m.t, m.rt, m.store, m.tellers[0].Gateway, m.tellers[1].Gateway)
	got := Dump(m.t, m.store)
	same(m.rt, "delivered badly", got, Dump(m.t, should))
	must(m.t, m.store.Rebuild(m.t.Context(), nil))
	same(m.rt, "rebuilt in the end", Dump(m.t, m.store), got)
}

// teller makes up what happens behind a gateway.
type teller struct {
	*Gateway
	rt        *rapid.T
	senseless map[string]bool // ids of events that become dead letters
	minute    int
	sessions  int
	offset    time.Duration // that the clock of this start lacks
	mended    bool
}

func (g *teller) restart() {
	g.Restart()
	g.Clock, g.offset, g.mended = event.ClockSynced, 0, false
	if rapid.Bool().Draw(g.rt, "without a clock") {
		g.Clock = event.ClockUnsynced
		g.offset = time.Duration(rapid.IntRange(1, 1000).Draw(g.rt, "hours behind")) * time.Hour
	}
	g.Say(event.Address{}, g.now(), &event.GatewayStarted{Version: "1", Boot: g.Boot})
}

func (g *teller) now() time.Time {
	if rapid.IntRange(0, 9).Draw(g.rt, "time passes") > 0 {
		g.minute++
	}
	t := after(time.Duration(g.minute) * time.Minute)
	if g.Clock == event.ClockUnsynced {
		t = t.Add(-g.offset)
	}
	return t
}

// id is a session's: one of the last few, or a new one.
func (g *teller) id() (event.SessionID, string) {
	if rapid.IntRange(0, 3).Draw(g.rt, "new session") == 0 || g.sessions == 0 {
		g.sessions++
	}
	n := rapid.IntRange(max(1, g.sessions-2), g.sessions).Draw(g.rt, "session")
	station := n % 2
	// Few transactions, so that some have several sessions.
	return event.SessionID(fmt.Sprintf("%s-s-%04d", g.ID, n)), fmt.Sprintf("%d/%d", station, n/3)
}

func (g *teller) say() {
	now := g.now()
	id, of := g.id()
	var n, transaction int
	if _, err := fmt.Sscanf(of, "%d/%d", &n, &transaction); err != nil {
		panic(err)
	}
	at := At(event.StationID(fmt.Sprintf("CP-%d", n)), 1+transaction%2)
	trx := fmt.Sprint(transaction)
	meter := int64(rapid.IntRange(0, 20).Draw(g.rt, "meter")) * 100
	flags := rapid.SampledFrom([][]event.Flag{nil, nil, {event.FlagRecovered}, {event.FlagInferred}, {event.FlagSuperseded}}).Draw(g.rt, "flags")
	var p event.Payload
	switch rapid.IntRange(0, 15).Draw(g.rt, "what") {
	case 0:
		p = &event.StationConnected{Protocol: "ocpp1.6"}
	case 1:
		p = &event.StationDisconnected{Reason: "gone"}
	case 2:
		p = &event.StationBooted{Vendor: "V", Model: "M", Serial: rapid.SampledFrom([]string{"1", "1", "2"}).Draw(g.rt, "serial"),
			Registration: rapid.SampledFrom([]string{"accepted", "pending", ""}).Draw(g.rt, "registration")}
	case 3, 4:
		p = &event.StationStatus{Status: rapid.SampledFrom([]event.Status{event.StatusAvailable, event.StatusCharging, event.StatusFaulted}).Draw(g.rt, "status")}
		if rapid.IntRange(0, 4).Draw(g.rt, "old") == 0 {
			now = now.Add(-time.Hour)
		}
	case 5, 6:
		p = &event.SessionStarted{Session: id, Transaction: trx, MeterWh: &meter, Flags: flags}
	case 7:
		p = &event.SessionUpdated{Session: id, Transaction: trx, MeterWh: &meter, ChargingState: "charging", Reading: &event.Sample{Time: now, EnergyWh: &meter}}
	case 8, 9:
		p = &event.SessionEnded{Session: id, Transaction: trx, MeterStopWh: &meter, Reason: "local", Flags: flags, Readings: []event.Sample{{Time: now, Context: "end"}}}
		if rapid.Bool().Draw(g.rt, "no place") {
			at = event.Address{Station: at.Station}
		}
	case 10:
		p = &event.SessionSampled{Session: id, Transaction: trx, Samples: []event.Sample{{Time: now, EnergyWh: &meter, PowerW: ptr(float64(meter))}}}
	case 11:
		p = &event.ProfileUpdated{Status: rapid.SampledFrom([]string{"effective", "ended", "refused"}).Draw(g.rt, "limit"), LimitA: ptr(float64(meter))}
	case 12:
		if g.Clock == event.ClockUnsynced && !g.mended {
			g.mended = true
			if rapid.Bool().Draw(g.rt, "and from now on") {
				g.Clock = event.ClockSynced
			}
			g.Say(event.Address{}, now, &event.GatewayClock{Boot: g.Boot, OffsetMS: g.offset.Milliseconds()})
			return
		}
		p = &event.StationStatus{} // no status: makes no sense
		g.senseless[g.Say(at, now, p).ID] = true
		return
	case 13:
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(g.rt, "variable")
		part := rapid.IntRange(0, 3).Draw(g.rt, "part")
		p = &event.StationConfiguration{
			Variables: named("C", name, fmt.Sprint(meter)), Report: min(1, part), Part: part,
			More: part > 0 && rapid.Bool().Draw(g.rt, "more"), Complete: rapid.Bool().Draw(g.rt, "whole"),
		}
	case 14:
		p = &event.StationConfiguration{Variables: named(fleet.ComponentDeviations, "bad_time", fmt.Sprint(meter))}
	case 15:
		p = &event.StationSecurity{Event: rapid.SampledFrom([]string{fleet.UnknownStation, "TamperDetectionActivated"}).Draw(g.rt, "security")}
		if rapid.Bool().Draw(g.rt, "stranger") {
			at = event.Address{Station: "X"}
		}
	}
	g.Say(at, now, p)
}
