package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

func testEvents(t *testing.T, fresh func(t testing.TB) Opener) {
	store, g := start(t, fresh)
	other := add(t, store, "gw-2")
	told := story{g, t, store}
	g.Say(event.Address{}, began, &event.GatewayStarted{Version: "1", Boot: g.Boot})
	told.started(1, "s-1", "7", 100)
	g.Say(At("CP-2", 2), after(2*time.Minute), &event.StationStatus{Status: event.StatusAvailable})
	told.orphan(3, "s-2", "7", 900)
	g.Deliver(t, store)
	other.Say(At("CP-1", 1), after(4*time.Minute), &event.StationStatus{Status: event.StatusFaulted, Info: "a\"b\\ü\n"})
	other.Deliver(t, store)
	told.started(5, "s-3", "8", 900)
	g.Deliver(t, store)

	list := func(f fleet.EventFilter, p fleet.Page) fleet.List[fleet.Entry] {
		t.Helper()
		return ok(store.Events(t.Context(), all, f, p))
	}
	for _, tt := range []struct {
		name   string
		filter fleet.EventFilter
		want   []int64
	}{
		{"all", fleet.EventFilter{}, []int64{6, 5, 4, 3, 2, 1}},
		{"after", fleet.EventFilter{Rising: true, After: 2}, []int64{3, 4, 5, 6}},
		{"rising", fleet.EventFilter{Rising: true}, []int64{1, 2, 3, 4, 5, 6}},
		{"gateway, rising", fleet.EventFilter{Gateway: "gw-1", Rising: true}, []int64{1, 2, 3, 4, 6}},
		{"gateway", fleet.EventFilter{Gateway: "gw-1"}, []int64{6, 4, 3, 2, 1}},
		{"gateway, after", fleet.EventFilter{Gateway: "gw-1", Rising: true, After: 2}, []int64{3, 4, 6}},
		{"manager's id", fleet.EventFilter{Station: fleet.StationID("gw-1", "CP-1")}, []int64{6, 4, 2}},
		{"identity at two gateways", fleet.EventFilter{Station: "CP-1"}, []int64{6, 5, 4, 2}},
		{"identity at two gateways, after", fleet.EventFilter{Station: "CP-1", Rising: true, After: 2}, []int64{4, 5, 6}},
		{"identity and gateway", fleet.EventFilter{Station: "CP-1", Gateway: "gw-2"}, []int64{5}},
		{"nobody", fleet.EventFilter{Station: "CP-9"}, nil},
		{"EVSE", fleet.EventFilter{EVSE: 2}, []int64{3}},
		{"session", fleet.EventFilter{Session: "s-3"}, []int64{6}},
		{"session that absorbed another", fleet.EventFilter{Session: "s-1"}, []int64{4, 2}},
		{"absorbed session", fleet.EventFilter{Session: "s-2"}, []int64{4, 2}},
		{"session of another station", fleet.EventFilter{Session: "s-1", Station: "CP-2"}, nil},
		{"type", fleet.EventFilter{Type: event.TypeSessionStarted}, []int64{6, 2}},
		{"type and station", fleet.EventFilter{Type: event.TypeStationStatus, Station: "CP-1"}, []int64{5}},
		{"from", fleet.EventFilter{From: after(4 * time.Minute)}, []int64{6, 5}},
		{"to", fleet.EventFilter{To: after(2 * time.Minute)}, []int64{2, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 100} {
				var got []int64
				for _, e := range everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
					p.Limit = n
					return store.Events(t.Context(), all, tt.filter, p)
				}) {
					got = append(got, e.Position)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%d at a time: %v, want %v", n, got, tt.want)
				}
			}
		})
	}
	t.Run("an entry is the event as it came", func(t *testing.T) {
		got := list(fleet.EventFilter{Rising: true, After: 4}, fleet.Page{Limit: 1}).Items[0]
		want := other.Stream(event.LaneEvents).Events[0]
		if got.Gateway != "gw-2" || got.Tenant != fleet.DefaultTenant || got.Station != fleet.StationID("gw-2", "CP-1") {
			t.Errorf("got %+v", got)
		}
		if e := got.Event; e.ID != want.ID || e.Sequence != want.Sequence || e.Source != want.Source || e.Type != want.Type || e.Subject != want.Subject ||
			!e.Time.Equal(want.Time) || !e.Recorded.Equal(want.Recorded) || e.Boot != want.Boot || e.Clock != want.Clock || e.SpecVersion != "1.0" || string(e.Data) != string(want.Data) {
			t.Errorf("got %+v\nwant %+v", e, want)
		}
	})
	t.Run("what Apply returns is what the log has", func(t *testing.T) {
		g.Say(At("CP-1", 1), after(time.Hour), &event.SessionEnded{Session: "s-3", Transaction: "8"})
		got := g.Deliver(t, store)[0]
		if want := list(fleet.EventFilter{}, fleet.Page{Limit: 1}).Items[0]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	})
	t.Run("a long log", func(t *testing.T) {
		store, g := start(t, fresh)
		var want []int64 // of the rare station
		const events = 3500
		for i := range events {
			at := At("CP-1", 1)
			if i%50 == 7 && i/1000 != 1 {
				at = At("CP-2", 1)
				want = append(want, int64(i+1))
			}
			g.Say(at, after(time.Duration(i)*time.Second), &event.DataReceived{Action: "x"})
		}
		g.Clock = event.ClockUnsynced // and one that happened in the middle, as it turned out
		g.Say(At("CP-3", 1), began.Add(-time.Hour), &event.DataReceived{Action: "x"})
		g.Clock = event.ClockSynced
		g.Say(event.Address{}, after(time.Hour), &event.GatewayClock{Boot: g.Boot, OffsetMS: (time.Hour + 1505*time.Second).Milliseconds()})
		g.Deliver(t, store)
		span := []int64{1501, 1502, 1503, 1504, 1505, 1506, 1507, 1508, 1509, 1510, events + 1}
		for _, tt := range []struct {
			name   string
			filter fleet.EventFilter
			want   []int64
		}{
			{"of everything", fleet.EventFilter{}, span},
			{"of a gateway", fleet.EventFilter{Gateway: "gw-1"}, span},
			{"of a station", fleet.EventFilter{Station: "CP-1"}, span[:10]},
			{"of the one without a clock", fleet.EventFilter{Station: "CP-3"}, span[10:]},
			{"of a type", fleet.EventFilter{Type: event.TypeGatewayClock}, nil},
		} {
			for _, rising := range []bool{true, false} {
				f := tt.filter
				f.From, f.To, f.Rising = after(1500*time.Second), after(1510*time.Second), rising
				var got []int64
				for _, e := range everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
					p.Limit = 3
					return store.Events(t.Context(), all, f, p)
				}) {
					got = append(got, e.Position)
				}
				if !rising {
					slices.Reverse(got)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("a span %s, rising %t: %v, want %v", tt.name, rising, got, tt.want)
				}
			}
		}
		for _, size := range []int{7, 1000} {
			read := func(f fleet.EventFilter) (got []int64) {
				for _, e := range everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
					p.Limit = size
					return store.Events(t.Context(), all, f, p)
				}) {
					got = append(got, e.Position)
				}
				return got
			}
			if got := read(fleet.EventFilter{Station: "CP-2", Rising: true, After: 1}); !slices.Equal(got, want) {
				t.Errorf("rising, %d at a time: %v, want %v", size, got, want)
			}
			falling := slices.Clone(want)
			slices.Reverse(falling)
			if got := read(fleet.EventFilter{Station: "CP-2"}); !slices.Equal(got, falling) {
				t.Errorf("falling, %d at a time: %v, want %v", size, got, falling)
			}
		}
		if got := everything(t, func(p fleet.Page) (fleet.List[fleet.Entry], error) {
			return store.Events(t.Context(), all, fleet.EventFilter{Gateway: g.ID}, p)
		}); len(got) != events+2 {
			t.Errorf("%d of the gateway, want %d", len(got), events+2)
		}
	})
	t.Run("bad cursor", func(t *testing.T) {
		for _, cursor := range []string{"x", "bnVsbA", "WyJ4Il0"} {
			if _, err := store.Events(t.Context(), all, fleet.EventFilter{}, fleet.Page{Cursor: cursor}); !errors.Is(err, fleet.ErrBadCursor) {
				t.Errorf("%q: %v, want %v", cursor, err, fleet.ErrBadCursor)
			}
		}
	})
}

func testWrites(t *testing.T, fresh func(t testing.TB) Opener) {
	t.Run("gateways", func(t *testing.T) {
		store := fresh(t)()
		must(t, store.AddGateway(t.Context(), fleet.Gateway{ID: "gw-1", Tenant: "a", Location: "berlin"}, "one"))
		must(t, store.AddGateway(t.Context(), fleet.Gateway{ID: "gw-1", Tenant: "a"}, "two"))
		if got := ok(store.GatewaySecret(t.Context(), "gw-1")); got != "two" {
			t.Errorf("secret %q, want the new one", got)
		}
		if got := ok(store.Gateway(t.Context(), fleet.Scope{Tenant: "a"}, "gw-1")).Location; got != "berlin" {
			t.Errorf("location %q, want it kept", got)
		}
		if err := store.AddGateway(t.Context(), fleet.Gateway{ID: "gw-1", Tenant: "b"}, "three"); !errors.Is(err, fleet.ErrConflict) {
			t.Errorf("another tenant: %v, want %v", err, fleet.ErrConflict)
		}
		if err := store.AddGateway(t.Context(), fleet.Gateway{ID: "GW 1"}, "x"); err == nil {
			t.Error("took a bad id")
		}
		must(t, store.PlaceGateway(t.Context(), "a", "gw-1", "hamburg"))
		if got := ok(store.Gateway(t.Context(), fleet.Scope{Tenant: "a"}, "gw-1")).Location; got != "hamburg" {
			t.Errorf("location %q, want the new one", got)
		}
		if got := ok(store.GatewaySecret(t.Context(), "gw-1")); got != "two" {
			t.Errorf("secret %q, want it kept", got)
		}
		isNotFound(t, store.PlaceGateway(t.Context(), "b", "gw-1", "hamburg"))
		isNotFound(t, store.PlaceGateway(t.Context(), "a", "gw-9", "hamburg"))
		_, err := store.GatewaySecret(t.Context(), "gw-9")
		isNotFound(t, err)
	})
	t.Run("tokens", func(t *testing.T) {
		store := fresh(t)()
		expires := after(time.Hour)
		token := fleet.Token{Tenant: "a", Type: "rfid", Value: "04a1", Status: "accepted", Parent: "p", Expires: &expires, Label: "Ann", Updated: began}
		must(t, store.PutToken(t.Context(), token))
		got := ok(store.Token(t.Context(), "a", " 04A1"))
		if got.Value != "04a1" || got.Parent != "p" || !got.Expires.Equal(expires) || got.Label != "Ann" || got.Status != "accepted" {
			t.Errorf("got %+v", got)
		}
		token.Value, token.Status, token.Expires = "04A1", "blocked", nil
		must(t, store.PutToken(t.Context(), token))
		l := ok(store.Tokens(t.Context(), fleet.Scope{Tenant: "a"}, fleet.Page{})).Items
		if len(l) != 1 || l[0].Status != "blocked" || l[0].Expires != nil {
			t.Errorf("got %+v", l)
		}
		if l := ok(store.TokensIn(t.Context(), "a", wire.TokenSection("04a1"))); len(l) != 1 {
			t.Errorf("in its section: %+v", l)
		}
		other := "tokens-00"
		if wire.TokenSection("04a1") == other {
			other = "tokens-01"
		}
		if l := ok(store.TokensIn(t.Context(), "a", other)); len(l) != 0 {
			t.Errorf("in another section: %+v", l)
		}
		_, err := store.Token(t.Context(), "b", "04A1")
		isNotFound(t, err)
		must(t, store.DeleteToken(t.Context(), "a", "04a1"))
		isNotFound(t, store.DeleteToken(t.Context(), "a", "04a1"))
	})
	t.Run("access", func(t *testing.T) {
		store := fresh(t)()
		a := fleet.Access{ID: "1", Name: "ann", Tenant: "a", Location: "berlin", Role: fleet.RoleOperator}
		must(t, store.AddAccess(t.Context(), a, "sha"))
		if got := ok(store.Access(t.Context(), "sha")); got != a {
			t.Errorf("got %+v", got)
		}
		_, err := store.Access(t.Context(), "other")
		isNotFound(t, err)
		b := fleet.Access{ID: "2", Name: "ben", Tenant: "a", Role: fleet.RoleViewer}
		must(t, store.AddAccess(t.Context(), b, "ben's"))
		must(t, store.AddAccess(t.Context(), fleet.Access{ID: "1", Tenant: "b", Role: fleet.RoleAdmin}, "another tenant's"))
		must(t, store.AddAccess(t.Context(), a, "new")) // in the place of the old one
		_, err = store.Access(t.Context(), "sha")
		isNotFound(t, err)
		if got := ok(store.Accesses(t.Context(), "a")); !slices.Equal(got, []fleet.Access{a, b}) {
			t.Errorf("got %+v", got)
		}
		must(t, store.DeleteAccess(t.Context(), "a", "1"))
		isNotFound(t, store.DeleteAccess(t.Context(), "a", "1"))
		_, err = store.Access(t.Context(), "new")
		isNotFound(t, err)
		for _, secret := range []string{"ben's", "another tenant's"} {
			ok(store.Access(t.Context(), secret))
		}
	})
	t.Run("desired", func(t *testing.T) {
		store, g := start(t, fresh)
		must(t, store.SetDesired(t.Context(), g.ID, wire.SectionSite, []byte(`{"a":1}`)))
		must(t, store.SetDesired(t.Context(), g.ID, wire.SectionSite, []byte(`{"a":2}`)))
		must(t, store.SetDesired(t.Context(), g.ID, wire.SectionStations, []byte(`{}`)))
		must(t, store.SetDesired(t.Context(), g.ID, wire.SectionStations, nil))
		if got := ok(store.Desired(t.Context(), g.ID)); len(got) != 1 || string(got[wire.SectionSite]) != `{"a":2}` {
			t.Errorf("got %s", got)
		}
		isNotFound(t, store.SetDesired(t.Context(), "gw-9", wire.SectionSite, []byte(`{}`)))
	})
	t.Run("locations", func(t *testing.T) {
		store := fresh(t)()
		must(t, store.PutLocation(t.Context(), fleet.Location{ID: "berlin", Tenant: "a", Name: "B"}))
		must(t, store.PutLocation(t.Context(), fleet.Location{ID: "berlin", Tenant: "a", Name: "Berlin"}))
		l := ok(store.Locations(t.Context(), fleet.Scope{Tenant: "a"}, fleet.Page{})).Items
		if len(l) != 1 || l[0].Name != "Berlin" {
			t.Errorf("got %+v", l)
		}
	})
	t.Run("ping", func(t *testing.T) { must(t, fresh(t)().Ping(t.Context())) })
}

// testScope asks everything of two tenants, one of them with two locations.
func testScope(t *testing.T, fresh func(t testing.TB) Opener) {
	store := fresh(t)()
	for i, at := range []struct{ tenant, location string }{{"a", "berlin"}, {"a", "paris"}, {"b", "rome"}} {
		must(t, store.PutLocation(t.Context(), fleet.Location{ID: at.location, Tenant: fleet.Tenant(at.tenant), Name: at.location}))
		g := NewGateway(event.GatewayID(fmt.Sprintf("gw-%d", i)))
		must(t, store.AddGateway(t.Context(), fleet.Gateway{ID: g.ID, Tenant: fleet.Tenant(at.tenant), Location: at.location}, "x"))
		id := event.SessionID(fmt.Sprintf("s-%d", i))
		g.Say(At("CP-1", 1), began, &event.SessionStarted{Session: id, Transaction: "1"})
		g.Say(At("CP-1", 1), began, &event.StationStatus{Status: event.StatusCharging})
		g.Say(At("CP-1", 1), began, &event.StationStatus{Status: ""}) // a dead letter
		g.Say(At("CP-1", 1), began, &event.SessionSampled{Session: id, Samples: []event.Sample{{Time: began}}})
		g.Deliver(t, store)
		_, err := store.AddCommand(t.Context(), fleet.Command{
			Command: event.Command{ID: event.CommandID(fmt.Sprintf("c-%d", i)), Type: event.CommandReset, Expires: began}, Tenant: fleet.Tenant(at.tenant), Gateway: g.ID,
		}, "", "")
		must(t, err)
	}
	for _, tt := range []struct {
		name  string
		scope fleet.Scope
		sees  []int
	}{
		{"tenant", fleet.Scope{Tenant: "a"}, []int{0, 1}},
		{"location", fleet.Scope{Tenant: "a", Location: "paris"}, []int{1}},
		{"other tenant", fleet.Scope{Tenant: "b"}, []int{2}},
		{"other tenant's location", fleet.Scope{Tenant: "b", Location: "berlin"}, nil},
		{"nobody", fleet.Scope{Tenant: "c"}, nil},
		{"no tenant", fleet.Scope{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := len(tt.sees)
			for name, counts := range map[string][2]int{
				"gateways":  {len(ok(store.Gateways(t.Context(), tt.scope, fleet.Page{})).Items), n},
				"locations": {len(ok(store.Locations(t.Context(), tt.scope, fleet.Page{})).Items), n},
				"stations":  {len(ok(store.Stations(t.Context(), tt.scope, fleet.StationFilter{}, fleet.Page{})).Items), n},
				"sessions":  {len(ok(store.Sessions(t.Context(), tt.scope, fleet.SessionFilter{}, fleet.Page{})).Items), n},
				"events":    {len(ok(store.Events(t.Context(), tt.scope, fleet.EventFilter{}, fleet.Page{})).Items), 3 * n},
				"by type":   {len(ok(store.Events(t.Context(), tt.scope, fleet.EventFilter{Type: event.TypeSessionStarted}, fleet.Page{})).Items), n},
				"by name":   {len(ok(store.Events(t.Context(), tt.scope, fleet.EventFilter{Station: "CP-1"}, fleet.Page{})).Items), 3 * n},
				"letters":   {len(ok(store.DeadLetters(t.Context(), tt.scope, fleet.Page{})).Items), n},
				"commands":  {len(ok(store.Commands(t.Context(), tt.scope, fleet.CommandFilter{}, fleet.Page{})).Items), n},
			} {
				if counts[0] != counts[1] {
					t.Errorf("%s: %d, want %d", name, counts[0], counts[1])
				}
			}
			for i := range 3 {
				want := slices.Contains(tt.sees, i)
				check := func(what string, err error) {
					t.Helper()
					if (err == nil) != want {
						t.Errorf("%s %d: %v", what, i, err)
					}
					if !want {
						isNotFound(t, err)
					}
				}
				g := event.GatewayID(fmt.Sprintf("gw-%d", i))
				_, err := store.Gateway(t.Context(), tt.scope, g)
				check("gateway", err)
				_, err = store.Station(t.Context(), tt.scope, fleet.StationID(g, "CP-1"))
				check("station", err)
				_, err = store.StatusIntervals(t.Context(), tt.scope, fleet.StationID(g, "CP-1"), time.Time{}, time.Time{}, fleet.Page{})
				check("intervals", err)
				_, err = store.Session(t.Context(), tt.scope, event.SessionID(fmt.Sprintf("s-%d", i)))
				check("session", err)
				_, err = store.Samples(t.Context(), tt.scope, event.SessionID(fmt.Sprintf("s-%d", i)), fleet.Page{})
				check("samples", err)
				_, err = store.Command(t.Context(), tt.scope, event.CommandID(fmt.Sprintf("c-%d", i)))
				check("command", err)
			}
		})
	}
	t.Run("station filter", func(t *testing.T) {
		for _, f := range []fleet.StationFilter{{Gateway: "gw-1"}, {Location: "paris"}} {
			if l := ok(store.Stations(t.Context(), fleet.Scope{Tenant: "a"}, f, fleet.Page{})).Items; len(l) != 1 || l[0].Gateway != "gw-1" || l[0].Location != "paris" {
				t.Errorf("%+v: %+v", f, l)
			}
		}
		if l := ok(store.Stations(t.Context(), fleet.Scope{Tenant: "a"}, fleet.StationFilter{Identity: "CP-1"}, fleet.Page{})).Items; len(l) != 2 {
			t.Errorf("by identity: %d, want 2", len(l))
		}
		_, err := store.Station(t.Context(), fleet.Scope{Tenant: "a"}, "CP-1") // which?
		isNotFound(t, err)
	})
}

// testPages reads every list in pages of each size and finds the same.
func testPages(t *testing.T, fresh func(t testing.TB) Opener) {
	store := fresh(t)()
	for i := range 3 {
		g := add(t, store, event.GatewayID(fmt.Sprintf("gw-%d", i)))
		must(t, store.PutLocation(t.Context(), fleet.Location{ID: fmt.Sprint(i), Tenant: fleet.DefaultTenant}))
		must(t, store.PutToken(t.Context(), fleet.Token{Tenant: fleet.DefaultTenant, Value: fmt.Sprint("t", i)}))
		for n := range 3 {
			id := fmt.Sprintf("s-%d-%d", i, n)
			g.Say(At(event.StationID(fmt.Sprint("CP-", n)), 1), began, &event.SessionStarted{Session: event.SessionID(id), Transaction: "1"})
			g.Say(At("CP-0", n+1), began, &event.StationStatus{Status: event.StatusFaulted})
			g.Say(At("CP-0", n+1), began, &event.StationStatus{Status: event.StatusAvailable})
			g.Say(At("CP-0", 1), began, &event.StationStatus{})
		}
		g.Say(At("CP-0", 1), began, &event.SessionSampled{Session: event.SessionID(fmt.Sprintf("s-%d-0", i)), Samples: []event.Sample{{Time: began}, {Time: after(1)}, {Time: after(time.Second)}, {Time: after(time.Minute)}}})
		g.Deliver(t, store)
		command(t, store, g.ID, event.CommandID(fmt.Sprint("c-", i)))
	}
	ctx := t.Context()
	check := func(name string, count int, list func(p fleet.Page) (int, []string, string, error)) {
		t.Run(name, func(t *testing.T) {
			read := func(size int) (out []string) {
				p := fleet.Page{Limit: size}
				for {
					n, items, next, err := list(p)
					must(t, err)
					if n > size {
						t.Fatalf("%d items in a page of %d", n, size)
					}
					out = append(out, items...)
					if next == "" {
						return out
					}
					if n == 0 {
						t.Fatal("an empty page that is not the last")
					}
					p.Cursor = next
				}
			}
			whole := read(1000)
			if len(whole) != count {
				t.Errorf("%d items, want %d", len(whole), count)
			}
			for _, size := range []int{1, 2, 5} {
				if got := read(size); !slices.Equal(got, whole) {
					t.Errorf("pages of %d: %v\nwant %v", size, got, whole)
				}
			}
		})
	}
	check("gateways", 3, pages(func(p fleet.Page) (fleet.List[fleet.Gateway], error) { return store.Gateways(ctx, all, p) }))
	check("locations", 3, pages(func(p fleet.Page) (fleet.List[fleet.Location], error) { return store.Locations(ctx, all, p) }))
	check("tokens", 3, pages(func(p fleet.Page) (fleet.List[fleet.Token], error) { return store.Tokens(ctx, all, p) }))
	check("stations", 9, pages(func(p fleet.Page) (fleet.List[fleet.Station], error) {
		return store.Stations(ctx, all, fleet.StationFilter{}, p)
	}))
	check("intervals", 6, pages(func(p fleet.Page) (fleet.List[fleet.StatusInterval], error) {
		return store.StatusIntervals(ctx, all, fleet.StationID("gw-0", "CP-0"), time.Time{}, time.Time{}, p)
	}))
	check("sessions", 9, pages(func(p fleet.Page) (fleet.List[fleet.Session], error) {
		return store.Sessions(ctx, all, fleet.SessionFilter{}, p)
	}))
	check("samples", 3, pages(func(p fleet.Page) (fleet.List[fleet.SamplePoint], error) {
		return store.Samples(ctx, all, "s-0-0", p)
	}))
	check("events", 30, pages(func(p fleet.Page) (fleet.List[fleet.Entry], error) {
		return store.Events(ctx, all, fleet.EventFilter{}, p)
	}))
	check("dead letters", 9, pages(func(p fleet.Page) (fleet.List[fleet.DeadLetter], error) { return store.DeadLetters(ctx, all, p) }))
	check("commands", 3, pages(func(p fleet.Page) (fleet.List[fleet.Command], error) {
		return store.Commands(ctx, all, fleet.CommandFilter{}, p)
	}))
}

// pages makes lists of one kind comparable.
func pages[T any](list func(fleet.Page) (fleet.List[T], error)) func(p fleet.Page) (int, []string, string, error) {
	return func(p fleet.Page) (int, []string, string, error) {
		l, err := list(p)
		var items []string
		for _, v := range l.Items {
			items = append(items, fmt.Sprintf("%+v", v))
		}
		return len(l.Items), items, l.Next, err
	}
}
