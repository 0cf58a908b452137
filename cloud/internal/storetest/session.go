package storetest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// story is what a gateway says of sessions at one station.
type story struct {
	*Gateway
	t     testing.TB
	store fleet.Store
}

func (s story) started(minute int, id event.SessionID, transaction string, meter int64, flags ...event.Flag) {
	s.Say(At("CP-1", 1), after(time.Duration(minute)*time.Minute), &event.SessionStarted{
		Session: id, Transaction: transaction, Protocol: "ocpp1.6", MeterWh: &meter, Flags: flags,
		Token:         &event.Token{Type: "rfid", Value: "04a1B2"},
		Authorization: &event.Authorization{Decision: "accepted", By: "cloud"},
	})
}

func (s story) updated(minute int, id event.SessionID, transaction string, meter int64) {
	s.Say(At("CP-1", 1), after(time.Duration(minute)*time.Minute), &event.SessionUpdated{
		Session: id, Transaction: transaction, ChargingState: "charging", MeterWh: &meter,
	})
}

// ended is the end of a session whose start the gateway knows.
func (s story) ended(minute int, id event.SessionID, transaction string, from, to int64, flags ...event.Flag) {
	energy := to - from
	s.Say(At("CP-1", 1), after(time.Duration(minute)*time.Minute), &event.SessionEnded{
		Session: id, Transaction: transaction, Reason: "local", MeterStartWh: &from, MeterStopWh: &to, EnergyWh: &energy,
		DurationS: int64(minute) * 60, Flags: flags,
	})
}

// orphan is the stop of a transaction that the gateway does not know: no EVSE,
// no start.
func (s story) orphan(minute int, id event.SessionID, transaction string, to int64) {
	s.Say(At("CP-1"), after(time.Duration(minute)*time.Minute), &event.SessionEnded{
		Session: id, Transaction: transaction, Reason: "local", MeterStopWh: &to,
		Flags: []event.Flag{event.FlagRecovered, event.FlagUnknownEnergy},
	})
}

func (s story) session(id event.SessionID) fleet.Session {
	s.t.Helper()
	s.Deliver(s.t, s.store)
	v, err := s.store.Session(s.t.Context(), all, id)
	must(s.t, err)
	return v
}

func (s story) count() int {
	s.t.Helper()
	s.Deliver(s.t, s.store)
	return len(ok(s.store.Sessions(s.t.Context(), all, fleet.SessionFilter{}, fleet.Page{})).Items)
}

// outline is what the tests compare of a session.
type outline struct {
	status, reason      string
	started, ended      int // minutes; -1 where unknown
	start, stop, energy int64
	flags               string
}

func outlineOf(s fleet.Session) outline {
	minutes := func(t *time.Time) int {
		if t == nil {
			return -1
		}
		return int(t.Sub(began).Minutes())
	}
	number := func(n *int64) int64 {
		if n == nil {
			return -1
		}
		return *n
	}
	flags, err := json.Marshal(s.Flags)
	if err != nil {
		panic(err)
	}
	return outline{s.Status, s.Reason, minutes(s.Started), minutes(s.Ended), number(s.MeterStartWh), number(s.MeterStopWh), number(s.EnergyWh), string(flags)}
}

func testSessions(t *testing.T, fresh func(t testing.TB) Opener) {
	tests := []struct {
		name   string
		events func(s story)
		want   map[event.SessionID]outline
		count  int // of sessions listed; 0: as many as wanted
	}{
		{
			name:   "running",
			events: func(s story) { s.started(0, "s-1", "7", 100); s.updated(15, "s-1", "7", 350) },
			want:   map[event.SessionID]outline{"s-1": {"active", "", 0, -1, 100, -1, 250, `[]`}},
		},
		{
			name: "a begin reading that comes late",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.updated(15, "s-1", "7", 350)
				s.Say(At("CP-1", 1), after(16*time.Minute), &event.SessionUpdated{
					Session: "s-1", Transaction: "7", MeterWh: ptr(int64(100)), Reading: &event.Sample{Time: began, Context: "begin", EnergyWh: ptr(int64(100))},
				})
			},
			want: map[event.SessionID]outline{"s-1": {"active", "", 0, -1, 100, -1, 250, `[]`}},
		},
		{
			name:   "an end counted from a signed begin",
			events: func(s story) { s.started(0, "s-1", "7", 100); s.ended(30, "s-1", "7", 110, 900) },
			want:   map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 110, 900, 790, `[]`}},
		},
		{
			name:   "the same, told before the start",
			events: func(s story) { s.ended(30, "s-1", "7", 110, 900); s.started(0, "s-1", "7", 100) },
			want:   map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 110, 900, 790, `[]`}},
		},
		{
			name:   "from start to end",
			events: func(s story) { s.started(0, "s-1", "7", 100); s.ended(30, "s-1", "7", 100, 900) },
			want:   map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `[]`}},
		},
		{
			name: "the real stop replaces an inferred end",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.ended(20, "s-1", "7", 100, 500, event.FlagInferred)
				s.ended(30, "s-1", "7", 100, 900, event.FlagOffline)
			},
			want: map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `["offline"]`}},
		},
		{
			name: "an inferred end does not replace the real stop",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.ended(30, "s-1", "7", 100, 900)
				s.ended(20, "s-1", "7", 100, 500, event.FlagSuperseded)
			},
			want: map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `[]`}},
		},
		{
			name:   "the end before the start",
			events: func(s story) { s.ended(30, "s-1", "7", 100, 900) },
			want:   map[event.SessionID]outline{"s-1": {"ended", "local", -1, 30, 100, 900, 800, `["recovered"]`}},
		},
		{
			name:   "the end before the start, which comes",
			events: func(s story) { s.ended(30, "s-1", "7", 100, 900); s.started(0, "s-1", "7", 100) },
			want:   map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `[]`}},
		},
		{
			name:   "an update alone",
			events: func(s story) { s.updated(5, "s-1", "7", 200) },
			want:   map[event.SessionID]outline{"s-1": {"active", "", -1, -1, -1, -1, -1, `["recovered"]`}},
		},
		{
			name:   "an orphan stop joins its session",
			events: func(s story) { s.started(0, "s-1", "7", 100); s.orphan(30, "s-2", "7", 900) },
			want: map[event.SessionID]outline{
				"s-1": {"ended", "local", 0, 30, 100, 900, 800, `["recovered"]`},
				"s-2": {"ended", "local", 0, 30, 100, 900, 800, `["recovered"]`},
			},
			count: 1,
		},
		{
			name:   "an orphan stop before the start",
			events: func(s story) { s.orphan(30, "s-2", "7", 900); s.started(0, "s-1", "7", 100) },
			want:   map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `["recovered"]`}},
			count:  1,
		},
		{
			name: "an orphan stop replaces an inferred end",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.ended(20, "s-1", "7", 100, 500, event.FlagInferred)
				s.orphan(30, "s-2", "7", 900)
			},
			want:  map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `["recovered"]`}},
			count: 1,
		},
		{
			name: "an orphan that repeats the real stop",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.ended(30, "s-1", "7", 100, 900)
				s.orphan(30, "s-2", "7", 900)
			},
			want:  map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `[]`}},
			count: 1,
		},
		{
			name: "an orphan with another stop than the real one",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.ended(30, "s-1", "7", 100, 900)
				s.orphan(50, "s-2", "7", 1900)
			},
			want: map[event.SessionID]outline{
				"s-1": {"ended", "local", 0, 30, 100, 900, 800, `["suspect"]`},
				"s-2": {"ended", "local", -1, 50, -1, 1900, -1, `["recovered","suspect","unknown_energy"]`},
			},
		},
		{
			name:   "an orphan whose meter contradicts",
			events: func(s story) { s.started(0, "s-1", "7", 1000); s.orphan(30, "s-2", "7", 900) },
			want: map[event.SessionID]outline{
				"s-1": {"active", "", 0, -1, 1000, -1, 0, `["suspect"]`},
				"s-2": {"ended", "local", -1, 30, -1, 900, -1, `["recovered","suspect","unknown_energy"]`},
			},
		},
		{
			name:   "an orphan whose time contradicts",
			events: func(s story) { s.started(40, "s-1", "7", 100); s.orphan(30, "s-2", "7", 900) },
			want: map[event.SessionID]outline{
				"s-1": {"active", "", 40, -1, 100, -1, 0, `["suspect"]`},
				"s-2": {"ended", "local", -1, 30, -1, 900, -1, `["recovered","suspect","unknown_energy"]`},
			},
		},
		{
			name: "an orphan on another EVSE",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.Say(At("CP-1", 2), after(time.Minute), &event.SessionEnded{Session: "s-2", Transaction: "7", MeterStopWh: ptr(int64(900)), Flags: []event.Flag{event.FlagRecovered}})
			},
			want: map[event.SessionID]outline{
				"s-1": {"active", "", 0, -1, 100, -1, 0, `["suspect"]`},
				"s-2": {"ended", "", -1, 1, -1, 900, -1, `["recovered","suspect"]`},
			},
		},
		{
			name: "-1 and 0 say nothing",
			events: func(s story) {
				s.started(0, "s-1", "-1", 100)
				s.orphan(30, "s-2", "-1", 900)
				s.orphan(30, "s-3", "0", 900)
			},
			want: map[event.SessionID]outline{
				"s-1": {"active", "", 0, -1, 100, -1, 0, `[]`},
				"s-2": {"ended", "local", -1, 30, -1, 900, -1, `["recovered","unknown_energy"]`},
				"s-3": {"ended", "local", -1, 30, -1, 900, -1, `["recovered","unknown_energy"]`},
			},
		},
		{
			name: "a recovered session that began under another name",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.started(10, "s-2", "7", 300, event.FlagRecovered)
				s.ended(30, "s-2", "7", 300, 900)
			},
			want:  map[event.SessionID]outline{"s-1": {"ended", "local", 0, 30, 100, 900, 800, `["recovered"]`}},
			count: 1,
		},
		{
			name: "the stop of a joined session comes once more",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.orphan(30, "s-2", "7", 900)
				s.orphan(31, "s-2", "7", 950)
			},
			want:  map[event.SessionID]outline{"s-1": {"ended", "local", 0, 31, 100, 950, 850, `["recovered"]`}},
			count: 1,
		},
		{
			name: "stations and gateways do not share transactions",
			events: func(s story) {
				s.started(0, "s-1", "7", 100)
				s.Say(At("CP-2"), after(time.Minute), &event.SessionEnded{Session: "s-2", Transaction: "7", MeterStopWh: ptr(int64(900))})
			},
			want: map[event.SessionID]outline{
				"s-1": {"active", "", 0, -1, 100, -1, 0, `[]`},
				"s-2": {"ended", "", -1, 1, -1, 900, -1, `["recovered"]`},
			},
		},
	}
	for _, tt := range tests {
		for _, batches := range []string{"one batch", "a batch each"} {
			t.Run(tt.name+", "+batches, func(t *testing.T) {
				store, g := start(t, fresh)
				tt.events(story{g, t, store})
				s := g.Stream(event.LaneEvents)
				if batches != "one batch" {
					for n := range s.Events {
						apply(t, store, g.Batch(s, n+1, n+1))
					}
				}
				told := story{g, t, store}
				for id, want := range tt.want {
					if got := outlineOf(told.session(id)); got != want {
						t.Errorf("%s:\n got %+v\nwant %+v", id, got, want)
					}
				}
				want := tt.count
				if want == 0 {
					want = len(tt.want)
				}
				if got := told.count(); got != want {
					t.Errorf("%d sessions, want %d", got, want)
				}
			})
		}
	}

	t.Run("everything that events tell", func(t *testing.T) {
		store, g := start(t, fresh)
		s := story{g, t, store}
		s.started(0, "s-1", "7", 100)
		g.Say(At("CP-1", 1), after(time.Minute), &event.SessionUpdated{
			Session: "s-1", Transaction: "7", ChargingState: "charging", Flags: []event.Flag{event.FlagGap},
			Reading: &event.Sample{Time: after(time.Minute), Context: "begin", EnergyWh: ptr(int64(100)), Signed: []event.Signed{{Data: "x"}}},
		})
		v := s.session("s-1")
		if v.ChargingState != "charging" || v.Protocol != "ocpp1.6" || v.Token == nil || v.Token.Value != "04a1B2" || v.Authorization == nil || v.Authorization.By != "cloud" {
			t.Errorf("got %+v", v)
		}
		if v.Station != fleet.StationID(g.ID, "CP-1") || v.Identity != "CP-1" || v.EVSE != 1 || v.Connector != 1 {
			t.Errorf("place %+v", v)
		}
		g.Say(At("CP-1", 1), after(time.Hour), &event.SessionEnded{
			Session: "s-1", Transaction: "7", Reason: "remote", MeterStopWh: ptr(int64(900)), DurationS: 3600,
			Token: &event.Token{Type: "rfid", Value: "other"}, Readings: []event.Sample{{Time: after(time.Hour), Context: "end", EnergyWh: ptr(int64(900))}},
		})
		v = s.session("s-1")
		if v.ChargingState != "" || v.StopToken == nil || v.StopToken.Value != "other" || v.DurationS != 3600 || *v.MeterStartWh != 100 {
			t.Errorf("got %+v", v)
		}
		if len(v.Readings) != 2 || v.Readings[0].Context != "begin" || v.Readings[1].Context != "end" {
			t.Errorf("readings %+v", v.Readings)
		}
		if !slices.Equal(v.Flags, []event.Flag{event.FlagGap}) {
			t.Errorf("flags %v", v.Flags)
		}
	})
	t.Run("filters", func(t *testing.T) {
		store, g := start(t, fresh)
		s := story{g, t, store}
		s.started(0, "s-1", "1", 0)
		s.ended(10, "s-1", "1", 0, 10)
		s.started(20, "s-2", "2", 10)
		g.Say(At("CP-2", 2), after(30*time.Minute), &event.SessionStarted{Session: "s-3", Transaction: "1"})
		g.Deliver(t, store)
		for _, tt := range []struct {
			name   string
			filter fleet.SessionFilter
			want   []event.SessionID
		}{
			{"all", fleet.SessionFilter{}, []event.SessionID{"s-3", "s-2", "s-1"}},
			{"active", fleet.SessionFilter{Status: fleet.SessionActive}, []event.SessionID{"s-3", "s-2"}},
			{"ended", fleet.SessionFilter{Status: fleet.SessionEnded}, []event.SessionID{"s-1"}},
			{"identity", fleet.SessionFilter{Station: "CP-1"}, []event.SessionID{"s-2", "s-1"}},
			{"manager's id", fleet.SessionFilter{Station: fleet.StationID(g.ID, "CP-2")}, []event.SessionID{"s-3"}},
			{"nobody's id", fleet.SessionFilter{Station: "CP-9"}, nil},
			{"EVSE", fleet.SessionFilter{EVSE: 2}, []event.SessionID{"s-3"}},
			{"gateway", fleet.SessionFilter{Gateway: "gw-2"}, nil},
			{"token", fleet.SessionFilter{Token: " 04A1b2"}, []event.SessionID{"s-2", "s-1"}},
			{"transaction", fleet.SessionFilter{Transaction: "1"}, []event.SessionID{"s-3", "s-1"}},
			{"from", fleet.SessionFilter{From: after(20 * time.Minute)}, []event.SessionID{"s-3", "s-2"}},
			{"to", fleet.SessionFilter{To: after(20 * time.Minute)}, []event.SessionID{"s-1"}},
		} {
			var got []event.SessionID
			for _, v := range ok(store.Sessions(t.Context(), all, tt.filter, fleet.Page{})).Items {
				got = append(got, v.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
		_, err := store.Session(t.Context(), all, "s-9")
		isNotFound(t, err)
	})
	t.Run("transactions", func(t *testing.T) {
		store, g := start(t, fresh)
		s := story{g, t, store}
		s.started(0, "s-1", "7", 0)
		s.started(1, "s-2", "5", 0)
		s.started(2, "s-3", "-1", 0)
		s.started(3, "s-4", "0b7c", 0)
		s.orphan(4, "s-5", "9", 0)
		s.orphan(5, "s-6", "2000000000", 0) // a wild number of the station's own
		g.Say(At("CP-2", 1), began, &event.SessionStarted{Session: "s-7", Transaction: "2000000000"})
		g.Deliver(t, store)
		got := ok(store.Transactions(t.Context(), g.ID))
		if len(got) != 2 || got["CP-1"] != 9 || got["CP-2"] != 2000000000 {
			t.Errorf("got %v", got)
		}
	})
}

func testSamples(t *testing.T, fresh func(t testing.TB) Opener) {
	sampled := func(g *Gateway, place []int, id event.SessionID, samples ...event.Sample) {
		g.Say(At("CP-1", place...), after(time.Hour), &event.SessionSampled{Session: id, Transaction: "7", Samples: samples})
	}
	t.Run("in the order of time, whatever comes first", func(t *testing.T) {
		store, g := start(t, fresh)
		s := story{g, t, store}
		sampled(g, []int{1}, "s-1", event.Sample{Time: after(2 * time.Minute), PowerW: ptr(2.0)}, event.Sample{Time: after(3 * time.Minute), PowerW: ptr(3.0)})
		sampled(g, []int{1}, "s-1", event.Sample{Time: after(time.Minute), PowerW: ptr(1.0), CurrentA: &event.Phases{L1: ptr(6.5)}})
		sampled(g, []int{1}, "s-2", event.Sample{Time: after(4 * time.Minute), PowerW: ptr(4.0)})
		g.Say(At("CP-1", 1), began, &event.MeterSampled{Samples: []event.Sample{{Time: after(5 * time.Minute), PowerW: ptr(5.0)}}})
		for _, b := range g.Streams[event.LaneSamples] { // before the session is known
			apply(t, store, g.Batch(b, 1, len(b.Events)))
		}
		s.started(0, "s-1", "7", 0)
		g.Deliver(t, store)
		got := everything(t, func(p fleet.Page) (fleet.List[fleet.SamplePoint], error) {
			p.Limit = 2
			return store.Samples(t.Context(), all, "s-1", p)
		})
		if len(got) != 3 {
			t.Fatalf("%d samples, want 3", len(got))
		}
		for i, v := range got {
			if *v.PowerW != float64(i+1) || !v.Time.Equal(after(time.Duration(i+1)*time.Minute)) || v.Session != "s-1" {
				t.Errorf("sample %d: %+v", i, v)
			}
		}
		if *got[0].CurrentA.L1 != 6.5 {
			t.Errorf("current %+v", got[0].CurrentA)
		}
		if v := s.session("s-1"); v.EnergyWh == nil || *v.EnergyWh != 0 {
			t.Errorf("energy from samples: %v", v.EnergyWh)
		}
	})
	t.Run("one moment told in two parts", func(t *testing.T) {
		store, g := start(t, fresh)
		story{g, t, store}.started(0, "s-1", "7", 0)
		sampled(g, []int{1}, "s-1", event.Sample{Time: after(time.Minute), PowerW: ptr(1.0)})
		sampled(g, []int{1}, "s-1", event.Sample{Time: after(time.Minute), EnergyWh: ptr(int64(9)), PowerW: ptr(2.0)})
		g.Deliver(t, store)
		got := ok(store.Samples(t.Context(), all, "s-1", fleet.Page{})).Items
		if len(got) != 1 || *got[0].PowerW != 2 || *got[0].EnergyWh != 9 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("one moment told for two reasons, and lists in parts", func(t *testing.T) {
		store, g := start(t, fresh)
		story{g, t, store}.started(0, "s-1", "7", 0)
		at := after(time.Minute)
		value := func(measurand string) []event.Value { return []event.Value{{Measurand: measurand, Value: ptr(1.0)}} }
		sampled(g, []int{1}, "s-1", event.Sample{Time: at, EnergyWh: ptr(int64(8)), Other: value("a"), Signed: []event.Signed{{Data: "x"}}})
		sampled(g, []int{1}, "s-1", event.Sample{Time: at, Context: "clock", EnergyWh: ptr(int64(9))})
		sampled(g, []int{1}, "s-1", event.Sample{Time: at, Other: append(value("a"), value("b")...)})
		g.Deliver(t, store)
		got := everything(t, func(p fleet.Page) (fleet.List[fleet.SamplePoint], error) {
			p.Limit = 1
			return store.Samples(t.Context(), all, "s-1", p)
		})
		if len(got) != 2 || got[0].Context != "" || *got[0].EnergyWh != 8 || got[1].Context != "clock" || *got[1].EnergyWh != 9 {
			t.Fatalf("got %+v, want both contexts", got)
		}
		if len(got[0].Other) != 2 || len(got[0].Signed) != 1 || len(got[1].Other) != 0 {
			t.Errorf("other %+v, signed %+v, want a and b, and x", got[0].Other, got[0].Signed)
		}
	})
	t.Run("nested deeper than a database reads", func(t *testing.T) {
		store, g := start(t, fresh)
		story{g, t, store}.started(0, "s-1", "7", 0)
		deep := `{"time":"2026-11-22T06:01:00Z","power_w":5,"ext":` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + `}`
		for range 2 {
			sampled(g, []int{1}, "s-1", event.Sample{Time: after(time.Minute)})
		}
		s := g.Stream(event.LaneSamples)
		b := g.Batch(s, 1, 2)
		for i := range b.Events {
			b.Events[i].Data = []byte(`{"session":"s-1","samples":[` + deep + `]}`)
		}
		if applied := apply(t, store, b); applied.Position != 2 {
			t.Errorf("position %d, want 2", applied.Position)
		}
		apply(t, store, g.Batch(g.Stream(event.LaneEvents), 1, 1))
		if got := ok(store.Samples(t.Context(), all, "s-1", fleet.Page{})).Items; len(got) != 1 || *got[0].PowerW != 5 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("of a session that was part of another", func(t *testing.T) {
		store, g := start(t, fresh)
		s := story{g, t, store}
		s.started(0, "s-1", "7", 0)
		sampled(g, []int{1}, "s-1", event.Sample{Time: after(time.Minute)})
		sampled(g, []int{1}, "s-2", event.Sample{Time: after(2 * time.Minute)})
		s.orphan(3, "s-2", "7", 100)
		g.Deliver(t, store)
		for _, id := range []event.SessionID{"s-1", "s-2"} {
			if got := ok(store.Samples(t.Context(), all, id, fleet.Page{})).Items; len(got) != 2 {
				t.Errorf("%s: %d samples, want 2", id, len(got))
			}
		}
	})
	t.Run("thinning is in the log", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(event.Address{}, began, &event.StreamThinned{Removed: 3, Kept: 1, Reason: "no room"})
		g.Deliver(t, store)
		l := ok(store.Events(t.Context(), all, fleet.EventFilter{Type: event.TypeStreamThinned}, fleet.Page{}))
		if len(l.Items) != 1 {
			t.Errorf("%d entries, want 1", len(l.Items))
		}
	})
	t.Run("of nobody", func(t *testing.T) {
		store, _ := start(t, fresh)
		_, err := store.Samples(t.Context(), all, "s-9", fleet.Page{})
		isNotFound(t, err)
	})
}
