package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// testTransactions tells the sessions that OCPP 2.x knows and 1.6 does not.
func testTransactions(t *testing.T, fresh func(t testing.TB) Opener) {
	minute := func(n int) time.Time { return after(time.Duration(n) * time.Minute) }
	card := &event.Token{Type: "rfid", Value: "04A1"}
	get := func(t *testing.T, store fleet.Store, g *Gateway, id event.SessionID) fleet.Session {
		t.Helper()
		g.Deliver(t, store)
		return ok(store.Session(t.Context(), all, id))
	}
	t.Run("E02 the token comes after the start", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1", 1), minute(0), &event.SessionStarted{Session: "s", Transaction: "tx-a", Protocol: "ocpp2.0.1", Trigger: "cable_plugged_in", ChargingState: "ev_connected"})
		v := get(t, store, g, "s")
		if v.Token != nil || v.Authorization != nil || v.ChargingState != "ev_connected" || v.Transaction != "tx-a" || v.Status != fleet.SessionActive {
			t.Errorf("without a token: %+v", v)
		}
		g.Say(At("CP-1", 1), minute(1), &event.SessionUpdated{Session: "s", Transaction: "tx-a", Token: card, Authorization: &event.Authorization{Decision: "accepted", By: "cloud"}})
		g.Say(At("CP-1", 1), minute(2), &event.SessionUpdated{Session: "s", Transaction: "tx-a", ChargingState: "charging"})
		v = get(t, store, g, "s")
		if v.Token == nil || *v.Token != *card || v.Authorization == nil || v.Authorization.By != "cloud" || v.ChargingState != "charging" {
			t.Errorf("with a token: %+v", v)
		}
		if found := ok(store.Sessions(t.Context(), all, fleet.SessionFilter{Token: "04a1"}, fleet.Page{})).Items; len(found) != 1 {
			t.Errorf("%d sessions of the token", len(found))
		}
	})
	t.Run("the update comes before the start", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1", 1), minute(1), &event.SessionUpdated{Session: "s", Transaction: "tx-a", ChargingState: "charging", Token: card})
		g.Say(At("CP-1", 1), minute(0), &event.SessionStarted{Session: "s", Transaction: "tx-a", ChargingState: "ev_connected"})
		if v := get(t, store, g, "s"); v.ChargingState != "charging" || v.Token == nil || !v.Started.Equal(minute(0)) {
			t.Errorf("got %+v", v)
		}
	})
	t.Run("a begin comes after the decision, and after a begin that was guessed", func(t *testing.T) {
		store, g := start(t, fresh)
		lost := []event.Flag{event.FlagRecovered, event.FlagUnknownEnergy}
		g.Say(At("CP-1", 1), minute(1), &event.SessionStarted{Session: "s", Transaction: "tx-a", Flags: lost})
		g.Say(At("CP-1", 1), minute(2), &event.SessionUpdated{Session: "s", Transaction: "tx-a", Token: card, Authorization: &event.Authorization{Decision: "accepted", By: "cloud"}})
		g.Say(At("CP-1", 1), minute(0), &event.SessionStarted{Session: "s", Transaction: "tx-a", Token: card, MeterWh: ptr(int64(100))})
		if v := get(t, store, g, "s"); v.Authorization == nil || v.Authorization.By != "cloud" || len(v.Flags) != 0 || v.MeterStartWh == nil {
			t.Errorf("got %+v", v)
		}
	})
	t.Run("an older one that was kept back leaves the EVSE to the newer", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1", 1), minute(10), &event.SessionStarted{Session: "new", Transaction: "tx-b"})
		g.Say(At("CP-1", 1), minute(0), &event.SessionStarted{Session: "old", Transaction: "tx-a", Flags: []event.Flag{event.FlagOffline}})
		for _, more := range []func(){
			func() {},
			func() {
				g.Say(At("CP-1", 1), minute(5), &event.SessionEnded{Session: "old", Transaction: "tx-a", Reason: "local"})
			},
		} {
			more()
			g.Deliver(t, store)
			if st := station(t, store); len(st.EVSEs) != 1 || st.EVSEs[0].Session != "new" {
				t.Errorf("got %+v", st.EVSEs)
			}
		}
	})
	t.Run("the energy is known after all", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1", 1), minute(1), &event.SessionStarted{Session: "s", Transaction: "tx-a", Flags: []event.Flag{event.FlagRecovered, event.FlagUnknownEnergy}})
		g.Say(At("CP-1", 1), minute(9), &event.SessionEnded{
			Session: "s", Transaction: "tx-a", Reason: "local", MeterStartWh: ptr(int64(100)), MeterStopWh: ptr(int64(900)), EnergyWh: ptr(int64(800)),
			Flags: []event.Flag{event.FlagRecovered},
		})
		if v := get(t, store, g, "s"); v.EnergyWh == nil || *v.EnergyWh != 800 || !slices.Equal(v.Flags, []event.Flag{event.FlagRecovered}) {
			t.Errorf("got %+v", v)
		}
	})
	t.Run("E03 offline is told at any time", func(t *testing.T) {
		store, g := start(t, fresh)
		g.Say(At("CP-1", 1), minute(0), &event.SessionStarted{Session: "s", Transaction: "tx-a"})
		g.Say(At("CP-1", 1), minute(1), &event.SessionUpdated{Session: "s", Transaction: "tx-a", Flags: []event.Flag{event.FlagOffline}})
		g.Say(At("CP-1", 1), minute(2), &event.SessionEnded{Session: "s", Transaction: "tx-a", Reason: "local", Flags: []event.Flag{event.FlagGap}})
		if v := get(t, store, g, "s"); !slices.Equal(v.Flags, []event.Flag{event.FlagGap, event.FlagOffline}) {
			t.Errorf("flags %v", v.Flags)
		}
	})
	t.Run("several at a time, each at its EVSE", func(t *testing.T) {
		store, g := start(t, fresh)
		for n, id := range []event.SessionID{"s-1", "s-2", "s-3"} {
			at := At("CP-1", n+1, 2)
			g.Say(at, minute(n), &event.StationStatus{Status: event.StatusOccupied})
			g.Say(At("CP-1", n+1, 1), minute(n), &event.StationStatus{Status: event.StatusAvailable})
			g.Say(at, minute(n), &event.SessionStarted{Session: id, Transaction: "tx-" + string(id)})
			g.Say(at, minute(n), &event.StationStatus{Status: event.StatusCharging})
		}
		g.Say(At("CP-1", 2, 2), minute(10), &event.SessionEnded{Session: "s-2", Transaction: "tx-s-2", Reason: "local"})
		g.Say(At("CP-1", 2, 2), minute(10), &event.StationStatus{Status: event.StatusFinishing})
		g.Deliver(t, store)
		st := station(t, store)
		for i, want := range []struct{ session, one, two string }{{"s-1", "available", "charging"}, {"", "available", "finishing"}, {"s-3", "available", "charging"}} {
			e := st.EVSEs[i]
			if e.Session != want.session || e.Connectors[0].Status.Value != want.one || e.Connectors[1].Status.Value != want.two {
				t.Errorf("EVSE %d: %+v, want %+v", i+1, e, want)
			}
		}
		active := ok(store.Sessions(t.Context(), all, fleet.SessionFilter{Status: fleet.SessionActive, Station: "CP-1"}, fleet.Page{})).Items
		if len(active) != 2 || active[0].Connector != 2 {
			t.Errorf("active: %+v", active)
		}
	})
}
