package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

func testGateways(t *testing.T, fresh func(t testing.TB) Opener) {
	t.Run("facts", func(t *testing.T) {
		store, g := start(t, fresh)
		s := say(g, 3)
		g.Hello(t, store, s.Summary(1))
		g.Say(event.Address{}, after(time.Minute), &event.GatewayStarted{Version: "1.1", Boot: g.Boot, OS: "linux", Arch: "arm64"})
		apply(t, store, g.Batch(s, 1, 1))
		view := ok(store.Gateway(t.Context(), all, g.ID))
		if view.Version != "1.0" || view.Boot != g.Boot || view.Connectivity.Value != fleet.Online || view.Started != nil {
			t.Errorf("got %+v", view)
		}
		if want := []fleet.LaneState{{Lane: event.LaneEvents, Stream: s.Name, Sequence: 1, Backlog: 2}}; !slices.Equal(view.Lanes, want) {
			t.Errorf("lanes %+v, want %+v", view.Lanes, want)
		}
		g.Deliver(t, store)
		view = ok(store.Gateway(t.Context(), all, g.ID))
		if view.Started == nil || !view.Started.Equal(after(time.Minute)) {
			t.Errorf("started %v", view.Started)
		}
	})
	t.Run("clock", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Clock = event.ClockUnsynced
		g.Hello(t, store)
		clock := func() event.Clock { return ok(store.Gateway(t.Context(), all, g.ID)).Clock }
		g.Say(event.Address{}, began, &event.GatewayStarted{Version: "1", Boot: g.Boot})
		g.Deliver(t, store)
		if got := clock(); got != event.ClockUnsynced {
			t.Errorf("not set: %s", got)
		}
		g.Say(event.Address{}, began, &event.GatewayClock{Boot: "another", OffsetMS: 1})
		g.Deliver(t, store)
		if got := clock(); got != event.ClockUnsynced {
			t.Errorf("that of another start set: %s", got)
		}
		g.Say(event.Address{}, began, &event.GatewayClock{Boot: g.Boot, OffsetMS: 1})
		g.Deliver(t, store)
		if got := clock(); got != event.ClockSynced {
			t.Errorf("set: %s", got)
		}
	})
	t.Run("alarms", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(event.Address{}, began, &event.GatewayAlarm{Alarm: "disk_full", Severity: "critical", Text: "full"})
		g.Say(event.Address{}, after(time.Minute), &event.GatewayAlarm{Alarm: "disk_full", Severity: "critical", Text: "still full", Count: 9})
		g.Say(event.Address{}, after(time.Minute), &event.GatewayAlarm{Alarm: "clock", Severity: "warning", Text: "late"})
		g.Deliver(t, store)
		want := []fleet.Alarm{{Alarm: "disk_full", Severity: "critical", Text: "still full", Since: began}, {Alarm: "clock", Severity: "warning", Text: "late", Since: after(time.Minute)}}
		if got := ok(store.Gateway(t.Context(), all, g.ID)).Alarms; !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		g.Say(event.Address{}, after(time.Hour), &event.GatewayAlarm{Alarm: "disk_full", Cleared: true})
		g.Deliver(t, store)
		if got := ok(store.Gateway(t.Context(), all, g.ID)).Alarms; !slices.Equal(got, want[1:]) {
			t.Errorf("got %+v, want %+v", got, want[1:])
		}
	})
	t.Run("connection", func(t *testing.T) {
		store, g := start(t, fresh)
		steps := []struct {
			name       string
			online     bool
			connection string
			want       string
			asOf       time.Duration
		}{
			{"online", true, "c-1", fleet.Online, 0},
			{"said again", true, "c-1", fleet.Online, 0},
			{"its next connection", true, "c-2", fleet.Online, 2 * time.Minute},
			{"will of the older one", false, "c-1", fleet.Online, 2 * time.Minute},
			{"its own will", false, "c-2", fleet.Offline, 4 * time.Minute},
		}
		for i, step := range steps {
			present := status(t, store, g, step.online, step.connection, after(time.Duration(i)*time.Minute))
			if want := step.name != "will of the older one"; present != want {
				t.Errorf("%s: taken for the present: %t, want %t", step.name, present, want)
			}
			got := ok(store.Gateway(t.Context(), all, g.ID)).Connectivity
			if want := (fleet.Fact[string]{Value: step.want, AsOf: after(step.asOf), Source: "manager"}); got != want {
				t.Errorf("%s: got %+v, want %+v", step.name, got, want)
			}
		}
		_, err := store.Status(t.Context(), "gw-9", true, "b", "c", began)
		isNotFound(t, err)
	})
}

// status has a gateway say whether it is online, and tells whether the store
// took it for the present.
func status(t testing.TB, store fleet.Store, g *Gateway, online bool, connection string, at time.Time) bool {
	t.Helper()
	present, err := store.Status(t.Context(), g.ID, online, "b", connection, at)
	must(t, err)
	return present
}

// station returns the only station of a store.
func station(t testing.TB, store fleet.Store) fleet.Station {
	t.Helper()
	l := ok(store.Stations(t.Context(), all, fleet.StationFilter{}, fleet.Page{}))
	if len(l.Items) != 1 {
		t.Fatalf("%d stations, want 1", len(l.Items))
	}
	return l.Items[0]
}

func testStations(t *testing.T, fresh func(t testing.TB) Opener) {
	boot := &event.StationBooted{Protocol: "ocpp1.6", Vendor: "V", Model: "M", Serial: "1", Firmware: "F", Registration: "accepted"}
	t.Run("becomes known and stays the same", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP/1 ü"), began, &event.StationConnected{Protocol: "ocpp1.6", Remote: "10.0.0.7:1"})
		g.Say(At("CP/1 ü"), after(time.Second), boot)
		g.Say(At("CP/1 ü"), after(2*time.Second), &event.StationStatus{Status: event.StatusAvailable})
		g.Say(At("CP/1 ü", 2), after(3*time.Second), &event.StationStatus{Status: event.StatusFaulted, ErrorCode: "ground", Info: "wet"})
		g.Say(At("CP/1 ü", 1), after(4*time.Second), &event.StationStatus{Status: event.StatusAvailable})
		g.Deliver(t, store)
		status(t, store, g, true, "c", began)
		st := station(t, store)
		if st.ID != fleet.StationID(g.ID, "CP/1 ü") || st.Identity != "CP/1 ü" || st.Vendor != "V" || st.Model != "M" || st.Firmware != "F" || st.Protocol != "ocpp1.6" {
			t.Errorf("got %+v", st)
		}
		if want := (fleet.Fact[string]{Value: fleet.Online, AsOf: began, Source: "gateway"}); st.Connectivity != want {
			t.Errorf("connectivity %+v, want %+v", st.Connectivity, want)
		}
		if want := (fleet.Fact[string]{Value: "available", AsOf: after(2 * time.Second), Source: "station"}); st.Status != want {
			t.Errorf("status %+v, want %+v", st.Status, want)
		}
		if len(st.EVSEs) != 2 || st.EVSEs[1].EVSE != 2 || len(st.EVSEs[1].Connectors) != 1 {
			t.Fatalf("EVSEs %+v", st.EVSEs)
		}
		want := fleet.Connector{Connector: 1, Status: fleet.Fact[string]{Value: "faulted", AsOf: after(3 * time.Second), Source: "station"}, ErrorCode: "ground", Info: "wet"}
		if got := st.EVSEs[1].Connectors[0]; got != want {
			t.Errorf("connector %+v, want %+v", got, want)
		}
		for _, name := range []string{st.ID, "CP/1 ü"} {
			if got := ok(store.Station(t.Context(), all, name)); got.ID != st.ID {
				t.Errorf("by %q: %+v", name, got)
			}
		}
		_, err := store.Station(t.Context(), all, "CP-9")
		isNotFound(t, err)
	})
	t.Run("stale where somebody on the way is away", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1"), began, &event.StationConnected{Protocol: "ocpp1.6"})
		g.Say(At("CP-1", 1), began, &event.StationStatus{Status: event.StatusAvailable})
		g.Deliver(t, store)
		check := func(what string, connectivity string, stale, statusStale bool) {
			t.Helper()
			st := station(t, store)
			if st.Connectivity.Value != connectivity || st.Connectivity.Stale != stale || st.EVSEs[0].Connectors[0].Status.Stale != statusStale {
				t.Errorf("%s: connectivity %+v, connector %+v", what, st.Connectivity, st.EVSEs[0].Connectors[0].Status)
			}
		}
		check("gateway never seen", fleet.Online, true, true)
		status(t, store, g, true, "c", began)
		check("gateway online", fleet.Online, false, false)
		g.Say(At("CP-1"), after(time.Minute), &event.StationDisconnected{Code: 1006, Reason: "gone"})
		g.Deliver(t, store)
		check("station gone", fleet.Offline, false, true)
		status(t, store, g, false, "c", began)
		check("both gone", fleet.Offline, true, true)
	})
	t.Run("no connection outlives its gateway", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1"), began, &event.StationConnected{Protocol: "ocpp1.6"})
		g.Restart()
		g.Say(event.Address{}, after(time.Minute), &event.GatewayStarted{Version: "1", Boot: g.Boot})
		g.Deliver(t, store)
		if got := station(t, store).Connectivity; got.Value != fleet.Offline || !got.AsOf.Equal(after(time.Minute)) {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("other hardware has other connectors", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1"), began, boot)
		for evse := range 3 {
			g.Say(At("CP-1", evse+1), began, &event.StationStatus{Status: event.StatusAvailable})
		}
		g.Say(At("CP-1"), after(time.Minute), boot)
		g.Deliver(t, store)
		if got := station(t, store).EVSEs; len(got) != 3 {
			t.Errorf("same hardware: %d EVSEs, want 3", len(got))
		}
		other := *boot
		other.Serial = "2"
		g.Say(At("CP-1"), after(time.Hour), &other)
		g.Say(At("CP-1", 1), after(time.Hour), &event.StationStatus{Status: event.StatusAvailable})
		g.Deliver(t, store)
		if got := station(t, store).EVSEs; len(got) != 1 || len(got[0].Connectors) != 1 {
			t.Errorf("other hardware: %+v, want one EVSE", got)
		}
	})
	t.Run("connectors that its gateway misses", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1"), began, boot)
		for _, place := range [][]int{{1, 1}, {2, 1}, {2, 2}} {
			g.Say(At("CP-1", place...), began, &event.StationStatus{Status: event.StatusAvailable})
		}
		gone := &event.StationStatus{Status: event.StatusUnknown, Raw: "gone"}
		evses := func() (out []int) { // connectors of each EVSE
			g.Deliver(t, store)
			for _, e := range station(t, store).EVSEs {
				out = append(out, len(e.Connectors))
			}
			return out
		}
		g.Say(At("CP-1", 1, 1), after(time.Minute), &event.StationStatus{Status: event.StatusUnknown})
		if got := evses(); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("silent: connectors %v, want all", got)
		}
		g.Say(At("CP-1", 2, 2), after(2*time.Minute), gone)
		if got := evses(); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("one is gone: connectors %v", got)
		}
		g.Say(At("CP-1", 2, 1), after(3*time.Minute), gone)
		g.Say(At("CP-1", 3, 1), after(3*time.Minute), gone)
		if got := evses(); !slices.Equal(got, []int{1}) {
			t.Errorf("a whole EVSE is gone: connectors %v", got)
		}
		g.Say(At("CP-1", 2, 1), after(4*time.Minute), &event.StationStatus{Status: event.StatusAvailable})
		if got := evses(); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("there again: connectors %v", got)
		}
	})
	t.Run("limits", func(t *testing.T) {
		store, g := start(t, fresh)
		far := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		past := began.Add(-time.Hour * 24 * 365)
		limit := func(status string, a float64, until *time.Time) *float64 {
			g.Say(At("CP-1", 1, 0), began, &event.ProfileUpdated{Status: status, LimitA: &a, Until: until})
			g.Deliver(t, store)
			return station(t, store).EVSEs[0].LimitA
		}
		if got := limit("effective", 16, &far); got == nil || *got != 16 {
			t.Errorf("effective: %v", got)
		}
		if got := limit("refused", 10, &far); got == nil || *got != 16 {
			t.Errorf("refused: %v, want what held before", got)
		}
		if got := limit("effective", 8, &past); got != nil {
			t.Errorf("over: %v, want none", *got)
		}
		if got := limit("ended", 8, nil); got != nil {
			t.Errorf("ended: %v, want none", *got)
		}
	})
	t.Run("power is that of the running session", func(t *testing.T) {
		store, g := start(t, fresh)
		power := func() *float64 { return station(t, store).EVSEs[0].PowerW }
		g.Say(At("CP-1", 1), began, &event.SessionStarted{Session: "s-1", Transaction: "1"})
		g.Say(At("CP-1", 1), began, &event.SessionSampled{Session: "s-1", Samples: []event.Sample{
			{Time: after(2 * time.Minute), PowerW: ptr(7000.0)}, {Time: after(time.Minute), PowerW: ptr(3000.0)},
		}})
		g.Deliver(t, store)
		if got := power(); got == nil || *got != 7000 {
			t.Errorf("running: %v, want 7000", got)
		}
		if got := station(t, store).EVSEs[0]; got.Session != "s-1" || !got.PowerAsOf.Equal(after(2*time.Minute)) {
			t.Errorf("running: %+v", got)
		}
		g.Say(At("CP-1", 1), after(time.Hour), &event.SessionEnded{Session: "s-1", Transaction: "1"})
		g.Deliver(t, store)
		if got := power(); got != nil || station(t, store).EVSEs[0].Session != "" {
			t.Errorf("ended: %v", got)
		}
	})
}

func testIntervals(t *testing.T, fresh func(t testing.TB) Opener) {
	at := At("CP-1", 1)
	minute := func(n int) time.Time { return after(time.Duration(n) * time.Minute) }
	show := func(t *testing.T, store fleet.Store, from, to time.Time) (out []string) {
		t.Helper()
		rows := everything(t, func(p fleet.Page) (fleet.List[fleet.StatusInterval], error) {
			return store.StatusIntervals(t.Context(), all, "CP-1", from, to, p)
		})
		slices.Reverse(rows)
		for _, r := range rows {
			end := "…"
			if r.To != nil {
				end = fmt.Sprint(r.To.Sub(began).Minutes())
			}
			out = append(out, fmt.Sprintf("%d/%d %s%s %v-%s", r.EVSE, r.Connector, r.Status, r.ErrorCode, r.From.Sub(began).Minutes(), end))
		}
		return out
	}
	tests := []struct {
		name   string
		events func(g *Gateway)
		want   []string
	}{
		{name: "one after the other", events: func(g *Gateway) {
			g.Say(at, minute(0), &event.StationStatus{Status: event.StatusAvailable})
			g.Say(at, minute(2), &event.StationStatus{Status: event.StatusPreparing})
			g.Say(at, minute(3), &event.StationStatus{Status: event.StatusCharging})
		}, want: []string{"1/1 available 0-2", "1/1 preparing 2-3", "1/1 charging 3-…"}},
		{name: "the same again is no other", events: func(g *Gateway) {
			g.Say(at, minute(0), &event.StationStatus{Status: event.StatusAvailable})
			g.Say(at, minute(2), &event.StationStatus{Status: event.StatusAvailable, Info: "x"})
			g.Say(at, minute(3), &event.StationStatus{Status: event.StatusAvailable, ErrorCode: "meter"})
		}, want: []string{"1/1 available 0-3", "1/1 availablemeter 3-…"}},
		{name: "quirk 46: order of arrival", events: func(g *Gateway) {
			g.Say(at, minute(10), &event.StationStatus{Status: event.StatusAvailable})
			g.Say(at, minute(2), &event.StationStatus{Status: event.StatusFaulted})
			g.Say(at, minute(12), &event.StationStatus{Status: event.StatusAvailable})
		}, want: []string{"1/1 available 10-10", "1/1 faulted 10-12", "1/1 available 12-…"}},
		{name: "places are apart", events: func(g *Gateway) {
			g.Say(At("CP-1"), minute(0), &event.StationStatus{Status: event.StatusAvailable})
			g.Say(At("CP-1", 1, 2), minute(1), &event.StationStatus{Status: event.StatusAvailable})
			g.Say(At("CP-1", 2), minute(2), &event.StationStatus{Status: event.StatusCharging})
		}, want: []string{"0/0 available 0-…", "1/2 available 1-…", "2/1 charging 2-…"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, g := start(t, fresh)
			tt.events(g)
			g.Deliver(t, store)
			if got := show(t, store, time.Time{}, time.Time{}); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("a span", func(t *testing.T) {
		store, g := start(t, fresh)
		tests[0].events(g)
		g.Deliver(t, store)
		for _, span := range []struct {
			from, to int
			want     []string
		}{{2, 3, []string{"1/1 preparing 2-3"}}, {1, 2, []string{"1/1 available 0-2"}}, {1, 3, tests[0].want[:2]}, {5, 9, tests[0].want[2:]}} {
			if got := show(t, store, minute(span.from), minute(span.to)); !slices.Equal(got, span.want) {
				t.Errorf("%d to %d: got %q, want %q", span.from, span.to, got, span.want)
			}
		}
		_, err := store.StatusIntervals(t.Context(), all, "CP-9", time.Time{}, time.Time{}, fleet.Page{})
		isNotFound(t, err)
	})
}
