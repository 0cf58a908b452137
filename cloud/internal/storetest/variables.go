package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// named makes variables Component.Variable=value.
func named(component string, pairs ...string) (out []event.Variable) {
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, event.Variable{Component: component, Variable: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func testVariables(t *testing.T, fresh func(t testing.TB) Opener) {
	show := func(t *testing.T, store fleet.Store, f fleet.VariableFilter) (out []string) {
		t.Helper()
		for _, v := range everything(t, func(p fleet.Page) (fleet.List[fleet.Variable], error) {
			p.Limit = 2
			return store.Variables(t.Context(), all, "CP-1", f, p)
		}) {
			text := v.Component + "." + v.Variable.Variable
			if v.EVSE > 0 {
				text += fmt.Sprintf("@%d", v.EVSE)
			}
			if v.Attribute != "" {
				text += "/" + v.Attribute
			}
			out = append(out, text+"="+v.Value)
		}
		return out
	}
	type report struct {
		number, part int
		more, whole  bool
		variables    []event.Variable
		unknown      []string
	}
	tests := []struct {
		name    string
		reports []report
		filter  fleet.VariableFilter
		want    []string
	}{
		{name: "whatever the version", reports: []report{
			{variables: named("Ocpp16", "HeartbeatInterval", "60")},
			{variables: []event.Variable{{Component: "EVSE", Variable: "Power", EVSE: 2, Value: "7", Attribute: "Actual"}, {Component: "EVSE", Variable: "Power", EVSE: 2, Value: "9", Attribute: "Target"}}},
		}, want: []string{"EVSE.Power@2=7", "EVSE.Power@2/Target=9", "Ocpp16.HeartbeatInterval=60"}},
		{name: "a newer value", reports: []report{{variables: named("A", "x", "1", "y", "2")}, {variables: named("A", "x", "3")}}, want: []string{"A.x=3", "A.y=2"}},
		{name: "not known any more", reports: []report{{variables: named("A", "x", "1", "y", "2", "z", "3")}, {unknown: []string{"x", "A.z"}}}, want: []string{"A.y=2"}},
		{name: "a whole inventory in one part", reports: []report{{variables: named("A", "x", "1", "y", "2")}, {whole: true, variables: named("A", "y", "3")}}, want: []string{"A.y=3"}},
		{name: "a report that is not whole takes nothing away", reports: []report{{variables: named("A", "x", "1")}, {number: 1, part: 1, variables: named("A", "y", "3")}}, want: []string{"A.x=1", "A.y=3"}},
		{name: "B07 in parts", reports: []report{
			{variables: named("A", "old", "1", "x", "1")},
			{number: 7, part: 1, more: true, whole: true, variables: named("A", "x", "2")},
			{number: 7, part: 2, more: true, whole: true, variables: named("A", "y", "2")},
			{number: 7, part: 3, whole: true, variables: named("B", "z", "2")},
		}, want: []string{"A.x=2", "A.y=2", "B.z=2"}},
		{name: "B07 parts that have not all come", reports: []report{
			{variables: named("A", "old", "1")},
			{number: 7, part: 1, more: true, whole: true, variables: named("A", "x", "2")},
			{number: 7, part: 3, whole: true, variables: named("B", "z", "2")},
		}, want: []string{"A.old=1", "A.x=2", "B.z=2"}},
		{name: "B07 parts of two reports", reports: []report{
			{variables: named("A", "old", "1")},
			{number: 7, part: 1, more: true, whole: true, variables: named("A", "x", "2")},
			{number: 8, part: 2, whole: true, variables: named("B", "z", "2")},
		}, want: []string{"A.old=1", "A.x=2", "B.z=2"}},
		{name: "what changed during a report stays", reports: []report{
			{number: 7, part: 1, more: true, whole: true, variables: named("A", "x", "2")},
			{variables: named("C", "new", "1")},
			{number: 7, part: 2, whole: true, variables: named("A", "y", "2")},
		}, want: []string{"A.x=2", "A.y=2", "C.new=1"}},
		{name: "a component", reports: []report{{variables: append(named("A", "x", "1"), named("B", "x", "2", "y", "3")...)}}, filter: fleet.VariableFilter{Component: "b"}, want: []string{"B.x=2", "B.y=3"}},
		{name: "a variable", reports: []report{{variables: append(named("A", "x", "1"), named("B", "x", "2", "y", "3")...)}}, filter: fleet.VariableFilter{Variable: "X"}, want: []string{"A.x=1", "B.x=2"}},
		{name: "deviations are none of the station's", reports: []report{{variables: named(fleet.ComponentDeviations, "bad_time", "3")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, g := start(t, fresh)
			for i, r := range tt.reports {
				g.Say(At("CP-1"), after(time.Duration(i)*time.Minute), &event.StationConfiguration{
					Variables: r.variables, Unknown: r.unknown, Report: r.number, Part: r.part, More: r.more, Complete: r.whole,
				})
				g.Deliver(t, store) // also again, what came before
			}
			if got := show(t, store, tt.filter); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			before := Dump(t, store)
			must(t, store.Rebuild(t.Context(), nil))
			same(t, "rebuilt", Dump(t, store), before)
		})
	}
	t.Run("what is known of a variable", func(t *testing.T) {
		store, g := start(t, fresh)
		v := event.Variable{Component: "C", Variable: "v", Value: "1", ReadOnly: true, Mutability: "read_only", DataType: "option_list", Unit: "A", Values: []string{"1", "2"}}
		g.Say(At("CP-1"), began, &event.StationConfiguration{Variables: []event.Variable{v}})
		g.Say(At("CP-1"), after(time.Minute), &event.StationConfiguration{Variables: named("C", "v", "2")}) // read alone
		g.Deliver(t, store)
		got := ok(store.Variables(t.Context(), all, fleet.StationID("gw-1", "CP-1"), fleet.VariableFilter{}, fleet.Page{})).Items
		if len(got) != 1 || got[0].Value != "2" || got[0].DataType != "option_list" || len(got[0].Values) != 2 || !got[0].AsOf.Equal(after(time.Minute)) {
			t.Errorf("got %+v", got)
		}
		_, err := store.Variables(t.Context(), all, "CP-9", fleet.VariableFilter{}, fleet.Page{})
		isNotFound(t, err)
	})
	t.Run("its time is mended", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Clock = event.ClockUnsynced
		g.Say(At("CP-1"), began, &event.StationConfiguration{Variables: named("C", "v", "2")})
		g.Clock = event.ClockSynced
		g.Say(event.Address{}, after(time.Minute), &event.GatewayClock{Boot: g.Boot, OffsetMS: time.Hour.Milliseconds()})
		g.Deliver(t, store)
		if got := ok(store.Variables(t.Context(), all, "CP-1", fleet.VariableFilter{}, fleet.Page{})).Items[0].AsOf; !got.Equal(after(time.Hour)) {
			t.Errorf("as of %s", got)
		}
	})
}

func testScores(t *testing.T, fresh func(t testing.TB) Opener) {
	store, g := start(t, fresh)
	other := add(t, store, "gw-2")
	boot := func(g *Gateway, station event.StationID, model, firmware string) {
		g.Say(At(station), began, &event.StationBooted{Protocol: "ocpp1.6", Vendor: "V", Model: model, Firmware: firmware, Registration: "accepted"})
	}
	minute := 0
	deviates := func(g *Gateway, station event.StationID, pairs ...string) {
		minute++
		g.Say(At(station), after(time.Duration(minute)*time.Minute), &event.StationConfiguration{Variables: named(fleet.ComponentDeviations, pairs...)})
	}
	g.Say(event.Address{}, began, &event.GatewayStarted{Version: "1", Boot: g.Boot})
	boot(g, "CP-1", "M", "1")
	boot(g, "CP-2", "M", "1")
	boot(g, "CP-3", "N", "1")
	boot(other, "CP-1", "M", "2")
	deviates(g, "CP-1", "bad_time", "3", "unknown_field", "1")
	deviates(g, "CP-1", "bad_time", "5", "unknown_field", "1")
	deviates(g, "CP-1", "bad_time", "4", "nonsense", "many", "none", "0") // older than what was said, or no count
	deviates(g, "CP-2", "bad_time", "2")
	deviates(other, "CP-1", "bad_time", "1")
	g.Deliver(t, store)
	other.Deliver(t, store)
	g.Restart() // counts begin anew
	g.Say(event.Address{}, after(time.Hour), &event.GatewayStarted{Version: "1", Boot: g.Boot})
	minute = 60
	deviates(g, "CP-1", "bad_time", "2")
	g.Deliver(t, store)
	check := func(t *testing.T, list func(fleet.Page) (fleet.List[fleet.Scorecard], error), want ...string) {
		t.Helper()
		for _, size := range []int{1, 100} {
			var got []string
			for _, c := range everything(t, func(p fleet.Page) (fleet.List[fleet.Scorecard], error) {
				p.Limit = size
				return list(p)
			}) {
				text := fmt.Sprintf("%s%s %s %s: %d of %d, %d", c.Gateway, c.Identity, c.Model, c.Firmware, c.Deviating, c.Stations, c.Count)
				for _, k := range c.Kinds {
					text += fmt.Sprintf(" %s=%d(%d)@%d %v-%v", k.Kind, k.Count, k.Recent, k.Stations, k.First.Sub(began).Minutes(), k.Last.Sub(began).Minutes())
				}
				got = append(got, text)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d at a time:\n got %q\nwant %q", size, got, want)
			}
		}
	}
	for range 2 {
		check(t, func(p fleet.Page) (fleet.List[fleet.Scorecard], error) {
			return store.StationScores(t.Context(), all, fleet.ScoreFilter{}, p)
		},
			"gw-1CP-1 M 1: 1 of 1, 8 bad_time=7(2)@1 1-61 unknown_field=1(0)@1 1-1",
			"gw-1CP-2 M 1: 1 of 1, 2 bad_time=2(0)@1 4-4",
			"gw-2CP-1 M 2: 1 of 1, 1 bad_time=1(0)@1 5-5")
		check(t, func(p fleet.Page) (fleet.List[fleet.Scorecard], error) {
			return store.ModelScores(t.Context(), all, fleet.ScoreFilter{}, p)
		},
			" M 1: 2 of 2, 10 bad_time=9(2)@2 1-61 unknown_field=1(0)@1 1-1",
			" M 2: 1 of 1, 1 bad_time=1(0)@1 5-5",
			" N 1: 0 of 1, 0")
		check(t, func(p fleet.Page) (fleet.List[fleet.Scorecard], error) {
			return store.StationScores(t.Context(), all, fleet.ScoreFilter{Kind: "unknown_field", Gateway: "gw-1", Station: "CP-1", Vendor: "V", Model: "M"}, p)
		}, "gw-1CP-1 M 1: 1 of 1, 1 unknown_field=1(0)@1 1-1")
		must(t, store.Rebuild(t.Context(), nil))
	}
}

func testSecurity(t *testing.T, fresh func(t testing.TB) Opener) {
	store, g := start(t, fresh)
	g.Say(At("CP-1"), began, &event.StationConnected{Protocol: "ocpp2.0.1"})
	g.Say(At("CP-1"), after(time.Minute), &event.StationSecurity{Event: "FailedAuthentication", Info: "remote=192.0.2.1"})
	g.Say(At("CP-1"), after(2*time.Minute), &event.StationSecurity{Event: "TamperDetectionActivated", Count: 3})
	g.Say(At("X"), after(3*time.Minute), &event.StationSecurity{Event: fleet.UnknownStation})
	g.Say(event.Address{}, after(4*time.Minute), &event.DataReceived{Action: "x"})
	g.Deliver(t, store)
	for _, tt := range []struct {
		name   string
		filter fleet.SecurityFilter
		want   []string
	}{
		{"all", fleet.SecurityFilter{}, []string{"UnknownStation", "TamperDetectionActivated", "FailedAuthentication"}},
		{"a station", fleet.SecurityFilter{Station: "CP-1"}, []string{"TamperDetectionActivated", "FailedAuthentication"}},
		{"the manager's id", fleet.SecurityFilter{Station: fleet.StationID("gw-1", "X")}, []string{"UnknownStation"}},
		{"critical", fleet.SecurityFilter{Critical: true}, []string{"TamperDetectionActivated"}},
		{"an event", fleet.SecurityFilter{Event: "failedauthentication", Gateway: "gw-1"}, []string{"FailedAuthentication"}},
		{"a time", fleet.SecurityFilter{From: after(2 * time.Minute), To: after(3 * time.Minute)}, []string{"TamperDetectionActivated"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 100} {
				var got []string
				for _, e := range everything(t, func(p fleet.Page) (fleet.List[fleet.SecurityEvent], error) {
					p.Limit = size
					return store.SecurityEvents(t.Context(), all, tt.filter, p)
				}) {
					got = append(got, e.Event)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%d at a time: %q, want %q", size, got, tt.want)
				}
			}
		})
	}
	got := ok(store.SecurityEvents(t.Context(), all, fleet.SecurityFilter{Critical: true}, fleet.Page{})).Items[0]
	if got.Identity != "CP-1" || got.Station != fleet.StationID("gw-1", "CP-1") || got.Count != 3 || got.Position != 3 || !got.Time.Equal(after(2*time.Minute)) {
		t.Errorf("got %+v", got)
	}
	if got := ok(store.Stations(t.Context(), all, fleet.StationFilter{}, fleet.Page{})).Items; len(got) != 1 || got[0].Identity != "CP-1" {
		t.Errorf("stations %+v, want none that only knocked", got)
	}
}

func testPending(t *testing.T, fresh func(t testing.TB) Opener) {
	waiting := func(t *testing.T, store fleet.Store) (out []string) {
		t.Helper()
		for _, v := range everything(t, func(p fleet.Page) (fleet.List[fleet.PendingStation], error) {
			p.Limit = 100
			return store.PendingStations(t.Context(), all, "", p)
		}) {
			text := fmt.Sprintf("%s %s %s %s %s%s %d %v-%v", v.Identity, v.Reason, v.Protocol, v.Remote, v.Vendor, v.Model, v.Count, v.First.Sub(began).Minutes(), v.Last.Sub(began).Minutes())
			out = append(out, text)
		}
		return out
	}
	knock := func(g *Gateway, id event.StationID, minute, count int) {
		g.Say(At(id), after(time.Duration(minute)*time.Minute), &event.StationSecurity{Event: fleet.UnknownStation, Count: count, Info: "unknown station: admit it (from 192.0.2.7)"})
	}
	t.Run("at the door, then admitted", func(t *testing.T) {
		store, g := start(t, fresh)
		knock(g, "CP-1", 0, 0)
		knock(g, "CP-2", 1, 0)
		knock(g, "CP-1", 2, 4)
		g.Deliver(t, store)
		g.Deliver(t, store)
		if got, want := waiting(t, store), []string{"CP-1 unknown  192.0.2.7  5 0-2", "CP-2 unknown  192.0.2.7  1 1-1"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		first := ok(store.PendingStations(t.Context(), all, "gw-1", fleet.Page{Limit: 1})).Items[0]
		if first.ID != fleet.StationID("gw-1", "CP-1") {
			t.Errorf("got %+v", first)
		}
		admit := func(content string) {
			must(t, store.ChangeDesired(t.Context(), g.ID, "stations", func([]byte) ([]byte, error) { return []byte(content), nil }))
		}
		admit(`{"stations":[{"identity":"CP-1"},{"identity":"CP-2","registration":"pending"}]}`)
		must(t, store.Rebuild(t.Context(), nil))
		if got, want := waiting(t, store), []string{"CP-2 unknown  192.0.2.7  1 1-1"}; !slices.Equal(got, want) {
			t.Errorf("admitted: got %q, want %q", got, want)
		}
		g.Say(At("CP-1"), after(time.Hour), &event.StationBooted{Vendor: "V", Model: "M", Registration: "accepted"})
		g.Deliver(t, store)
		admit(`{"stations":[]}`)
		if got, want := waiting(t, store), []string{"CP-2 unknown  192.0.2.7  1 1-1"}; !slices.Equal(got, want) {
			t.Errorf("came and withdrawn: got %q, want %q", got, want)
		}
	})
	t.Run("B02 connected and waiting", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1"), began, &event.StationConnected{Protocol: "ocpp2.1"})
		g.Say(At("CP-1"), after(time.Minute), &event.StationBooted{Vendor: "V", Model: "M", Registration: "pending"})
		g.Deliver(t, store)
		if got, want := waiting(t, store), []string{"CP-1 pending ocpp2.1  VM 1 1-1"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		registered := func(registration string) int {
			return len(ok(store.Stations(t.Context(), all, fleet.StationFilter{Registration: registration}, fleet.Page{})).Items)
		}
		if registered("pending") != 1 || registered("accepted") != 0 || station(t, store).Registration != "pending" {
			t.Errorf("station %+v", station(t, store))
		}
		g.Say(At("CP-1"), after(2*time.Minute), &event.StationBooted{Vendor: "V", Model: "M", Registration: "accepted"})
		g.Deliver(t, store)
		if got := waiting(t, store); len(got) != 0 || registered("pending") != 0 || registered("accepted") != 1 {
			t.Errorf("accepted: %q", got)
		}
	})
	t.Run("a flood of names", func(t *testing.T) {
		store, g := start(t, fresh)
		other := add(t, store, "gw-2")
		knock(other, "CP-1", 0, 0)
		other.Deliver(t, store)
		for i := range fleet.MaxPending + 50 {
			knock(g, event.StationID(fmt.Sprint("X-", i)), i, 0)
		}
		g.Deliver(t, store)
		got := waiting(t, store)
		if len(got) != fleet.MaxPending+1 || got[0] != fmt.Sprintf("X-%d unknown  192.0.2.7  1 %d-%[1]d", fleet.MaxPending+49, fleet.MaxPending+49) {
			t.Errorf("%d remembered, first %q", len(got), got[0])
		}
		if stations := ok(store.Stations(t.Context(), all, fleet.StationFilter{}, fleet.Page{})).Items; len(stations) != 0 {
			t.Errorf("%d of them became stations", len(stations))
		}
		must(t, store.Rebuild(t.Context(), nil))
		if again := waiting(t, store); !slices.Equal(again, got) {
			t.Errorf("rebuilt: %d remembered, first %q", len(again), again[0])
		}
	})
}
