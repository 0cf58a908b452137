package site

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func profiles(r *rig) (out []string) {
	for _, u := range kept[*event.ProfileUpdated](r.journal) {
		a := "-"
		if u.LimitA != nil {
			a = fmt.Sprint(*u.LimitA)
		}
		out = append(out, u.Status+" "+a)
	}
	return out
}

func orders(d *fakeDevice) (out []string) {
	for _, o := range d.orders {
		s := fmt.Sprintf("%s %d", o.Type, o.EVSE)
		if p, ok := o.Params.(*event.SetLimitParams); ok && p.LimitA != nil {
			s += fmt.Sprint(" ", *p.LimitA)
		}
		if o.Standing {
			s += " standing"
		}
		if o.Default {
			s += " default"
		}
		out = append(out, s)
	}
	return out
}

func TestPlanRefused(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		bad := Plan{FallbackA: map[event.StationID]float64{"A": 20, "B": 20}, Circuits: []Circuit{{Name: "row 1", LimitA: 32, Stations: []event.StationID{"A", "B"}}}}
		if err := r.site.SetPlan(bad); !errors.Is(err, ErrPlanRefused) {
			t.Errorf("%v, want ErrPlanRefused", err)
		}
		bad.FallbackA["B"] = 12
		if err := r.site.SetPlan(bad); err != nil {
			t.Error(err)
		}
	})
}

// A limit is a lease: the plan holds before and after.
func TestLease(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		plan := Plan{LimitA: map[event.StationID]float64{"CP1": 16}, FallbackA: map[event.StationID]float64{"CP1": 6}}
		if err := r.site.SetPlan(plan); err != nil {
			t.Fatal(err)
		}
		d := &fakeDevice{answer: obey(delivered, succeeded)}
		r.at("CP1", func(st *Station) {
			if _, err := st.Connected(d, ConnectionInfo{Protocol: "ocpp1.6"}); err != nil {
				t.Error(err)
			}
		})
		r.pass(time.Second)
		r.execute(event.Command{ID: "a", Type: event.CommandSetLimit, Station: "CP1", Params: params(event.SetLimitParams{LimitA: p(10.0), Until: r.now().Add(30 * time.Minute)})})
		r.execute(event.Command{ID: "b", Type: event.CommandSetLimit, Station: "CP1", EVSE: 2, Params: params(event.SetLimitParams{LimitA: p(8.0), Until: r.now().Add(20 * time.Minute)})})
		r.wantStates("a", delivered, succeeded)
		r.pass(25 * time.Minute)
		r.restart()
		d2 := &fakeDevice{answer: obey(delivered, succeeded)}
		if err := r.site.SetPlan(plan); err != nil {
			t.Fatal(err)
		}
		r.at("CP1", func(st *Station) {
			if _, err := st.Connected(d2, ConnectionInfo{Protocol: "ocpp1.6"}); err != nil {
				t.Error(err)
			}
		})
		r.pass(10 * time.Minute)
		if got, want := orders(d), []string{
			"set_limit 0 6 standing default", "set_limit 0 16 standing", "set_limit 0 10", "set_limit 2 8", "clear_limit 2 standing",
		}; !slices.Equal(got, want) {
			t.Errorf("orders %q, want %q", got, want)
		}
		if got, want := orders(d2), []string{"set_limit 0 6 standing default", "set_limit 0 16 standing"}; !slices.Equal(got, want) {
			t.Errorf("orders after the restart %q, want %q", got, want)
		}
		if got, want := profiles(r), []string{
			"effective 6", "effective 16", "effective 10", "effective 8", "ended 8", "effective 6", "ended 10", "effective 16",
		}; !slices.Equal(got, want) {
			t.Errorf("profiles %q, want %q", got, want)
		}
	})
}

// A device that is held at its minimum holds a limit, which ends like any other.
func TestLimitBelowMinimum(t *testing.T) {
	minimum := func(o Order, report func(Outcome)) {
		if p, ok := o.Params.(*event.SetLimitParams); ok && *p.LimitA < 6 {
			report(Outcome{State: delivered})
			report(Outcome{State: failed, Reason: "held at 6 A", Instead: &event.SetLimitParams{LimitA: new(6.0)}})
			return
		}
		obey(delivered, succeeded)(o, report)
	}
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = minimum
		if err := r.site.SetPlan(Plan{LimitA: map[event.StationID]float64{"CP1": 4}}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Hour)
		if got, want := orders(d), []string{"set_limit 0 4 standing"}; !slices.Equal(got, want) {
			t.Errorf("orders %q, want %q", got, want)
		}
		r.execute(event.Command{ID: "a", Type: event.CommandSetLimit, Station: "CP1", EVSE: 1, Params: params(event.SetLimitParams{LimitA: p(2.0), Until: r.now().Add(30 * time.Minute)})})
		r.wantStates("a", delivered, failed)
		r.restart()
		d, _ = r.connect("CP1", 1)
		d.answer = minimum
		r.pass(time.Hour)
		if got, want := orders(d), []string{"set_limit 1 6 standing", "clear_limit 1 standing"}; !slices.Equal(got, want) {
			t.Errorf("orders after the restart %q, want %q", got, want)
		}
		if got, want := profiles(r), []string{"effective 6", "effective 6", "ended 6"}; !slices.Equal(got, want) {
			t.Errorf("profiles %q, want %q", got, want)
		}
	})
}

// A plan that a device cannot keep to is told once, and tried again.
func TestPlanFails(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, failed)
		plan := func(a float64) {
			if err := r.site.SetPlan(Plan{LimitA: map[event.StationID]float64{"CP1": a}}); err != nil {
				t.Fatal(err)
			}
			r.pass(2*standAgain + time.Minute)
		}
		plan(10)
		plan(12)
		if got, want := profiles(r), []string{"refused 10", "refused 12"}; !slices.Equal(got, want) || len(d.orders) != 6 {
			t.Errorf("profiles %q after %d orders, want %q", got, len(d.orders), want)
		}
		d.answer = obey(delivered, succeeded)
		r.pass(standAgain)
		if got, want := profiles(r), []string{"refused 10", "refused 12", "effective 12"}; !slices.Equal(got, want) {
			t.Errorf("profiles %q, want %q", got, want)
		}
	})
}

func TestLimitRefused(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, event.StateRejected)
		r.execute(event.Command{ID: "a", Type: event.CommandSetLimit, Station: "CP1", Params: params(event.SetLimitParams{LimitA: p(10.0), Until: r.now().Add(time.Hour)})})
		r.wantStates("a", delivered, event.StateRejected)
		if got := profiles(r); !slices.Equal(got, []string{"refused 10"}) {
			t.Errorf("profiles %q", got)
		}
	})
}

// A device that cannot be asked proves a limit by what its meter shows.
func TestLimitMeasured(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, agreed)
		r.execute(event.Command{ID: "a", Type: event.CommandSetLimit, Station: "CP1", EVSE: 1, Params: params(event.SetLimitParams{LimitA: p(10.0), Until: r.now().Add(5 * time.Hour)})})
		r.pass(time.Hour) // nobody charges: nothing can be seen
		r.wantStates("a", delivered, agreed)
		tx := fmt.Sprint(r.begin("CP1", 1, "GOOD", 1).Transaction)
		for _, a := range []float64{16, 9.8} {
			r.meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{{Time: r.now(), CurrentA: &event.Phases{L1: p(a)}}}})
		}
		r.wantStates("a", delivered, agreed, succeeded)
		d.answer = obey(delivered, succeeded)
		r.execute(event.Command{ID: "b", Type: event.CommandClearLimit, Station: "CP1", EVSE: 1})
		if got := profiles(r); !slices.Equal(got, []string{"effective 10", "ended 10"}) {
			t.Errorf("profiles %q", got)
		}
	})
}

func TestReservation(t *testing.T) {
	reserve := func(r *rig, id event.CommandID, n int, token string, until time.Duration) {
		r.execute(event.Command{ID: id, Type: event.CommandReserve, Station: "CP1", EVSE: 1, Params: params(event.ReserveParams{Reservation: n, Token: card(token), Until: r.now().Add(until)})})
	}
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, agreed)
		reserve(r, "a", 7, "STRANGER", time.Hour)
		r.wantStates("a", delivered, agreed)
		r.status("CP1", 1, event.StatusReserved)
		r.wantStates("a", delivered, agreed, succeeded)
		r.restart()
		d, _ = r.connect("CP1", 1)
		d.answer = obey(delivered, agreed)
		if out := r.begin("CP1", 1, "STRANGER", 1); out.Decision != accepted || r.manager.asked != 0 {
			t.Errorf("the token of the reservation: %+v", out)
		}
		reserve(r, "b", 8, "X", time.Hour)
		r.status("CP1", 1, event.StatusReserved)
		r.execute(event.Command{ID: "c", Type: event.CommandCancelReservation, Station: "CP1", EVSE: 1, Params: params(event.CancelReservationParams{Reservation: 8})})
		r.wantStates("c", delivered, agreed)
		r.status("CP1", 1, event.StatusAvailable)
		r.wantStates("c", delivered, agreed, succeeded)
		reserve(r, "d", 9, "X", 10*time.Minute)
		r.pass(12 * time.Minute)
		r.wantStates("d", delivered, agreed, lost)
		var got []string
		for _, u := range kept[*event.ReservationUpdated](r.journal) {
			got = append(got, fmt.Sprint(u.Reservation, " ", u.Status))
		}
		if want := []string{"7 active", "7 used", "8 active", "8 cancelled", "9 active", "9 expired"}; !slices.Equal(got, want) {
			t.Errorf("reservations %q, want %q", got, want)
		}
	})
}

func TestAvailability(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 2)
		d.answer = obey(delivered, agreed)
		set := func(id event.CommandID, evse int, on bool) {
			r.execute(event.Command{ID: id, Type: event.CommandSetAvailability, Station: "CP1", EVSE: evse, Params: params(event.SetAvailabilityParams{Available: on})})
		}
		set("already", 0, true)
		r.wantStates("already", delivered, succeeded)
		set("off", 1, false)
		r.wantStates("off", delivered, agreed)
		r.status("CP1", 1, event.StatusUnavailable)
		r.wantStates("off", delivered, agreed, succeeded)
		set("unseen", 2, false)
		r.pass(31 * time.Second)
		r.wantStates("unseen", delivered, agreed, lost)

		tx := fmt.Sprint(r.begin("CP1", 2, "GOOD", 1).Transaction)
		d.answer = func(_ Order, report func(Outcome)) {
			report(Outcome{State: delivered})
			report(Outcome{State: agreed, Reason: "scheduled: a session is running"})
		}
		set("later", 2, false)
		r.pass(3 * time.Hour)
		r.wantStates("later", delivered, agreed)
		r.end("CP1", StopReport{Transaction: tx, MeterWh: p[int64](5), Time: said(r.now())})
		r.status("CP1", 2, event.StatusUnavailable)
		r.wantStates("later", delivered, agreed, succeeded)
	})
}

// A station whose connectors alone tell their status shows its availability by
// all of them.
func TestAvailabilityPerConnector(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 2)
		d.answer = obey(delivered, agreed)
		r.execute(event.Command{ID: "off", Type: event.CommandSetAvailability, Station: "CP1", Params: params(event.SetAvailabilityParams{})})
		r.status("CP1", 1, event.StatusUnavailable)
		r.wantStates("off", delivered, agreed)
		r.status("CP1", 2, event.StatusUnavailable)
		r.wantStates("off", delivered, agreed, succeeded)
	})
}

func TestJobs(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, agreed)
		r.execute(event.Command{ID: "fw", Type: event.CommandUpdateFirmware, Station: "CP1", Params: params(event.UpdateFirmwareParams{URL: "https://x"})})
		r.execute(event.Command{ID: "log", Type: event.CommandGetLog, Station: "CP1", Params: params(event.GetLogParams{URL: "https://x"})})
		for _, w := range []string{"downloading", "downloaded", "installing"} {
			r.pass(25 * time.Minute)
			r.at("CP1", func(st *Station) {
				if err := st.Firmware(FirmwareReport{Status: w}); err != nil {
					t.Error(err)
				}
			})
		}
		r.wantStates("log", delivered, agreed, lost)
		r.wantStates("fw", delivered, agreed)
		r.at("CP1", func(st *Station) {
			if err := st.Firmware(FirmwareReport{Status: "installed"}); err != nil {
				t.Error(err)
			}
		})
		r.wantStates("fw", delivered, agreed, succeeded)
		f := kept[*event.StationFirmware](r.journal)
		if len(f) != 4 || f[3].Command != "fw" {
			t.Errorf("firmware %+v", f[len(f)-1])
		}
	})
}

func TestGatewayCommand(t *testing.T) {
	d := &fakeDevice{answer: obey(delivered, agreed)}
	bubble(t, Config{Self: d}, func(t *testing.T, r *rig) {
		r.execute(event.Command{ID: "r", Type: event.CommandRestart})
		r.wantStates("r", delivered, agreed)
		r.restart()
		r.wantStates("r", delivered, agreed, succeeded)
		if len(d.orders) != 1 {
			t.Errorf("%d orders", len(d.orders))
		}
	})
	d = &fakeDevice{answer: obey(delivered, agreed)}
	bubble(t, Config{Self: d}, func(t *testing.T, r *rig) { // nobody can tell whether it has expired
		r.clock.set(func(c *fakeClock) { c.unjudged = true })
		r.execute(event.Command{ID: "r", Type: event.CommandRestart})
		r.pass(2 * time.Minute)
		r.wantStates("r", event.StateSent)
		r.clock.set(func(c *fakeClock) { c.unjudged = false })
		r.pass(2 * time.Minute)
		r.wantStates("r", event.StateSent, delivered, agreed, lost) // this one never starts again
	})
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.execute(event.Command{ID: "r", Type: event.CommandScan})
		r.wantStates("r", event.StateUnsupported)
	})
}

func TestOwe(t *testing.T) {
	tests := []struct {
		name   string
		wanted float64
		want   bool
		told   told
		owed   owed
	}{
		{"nothing wanted, nothing told", 0, false, told{}, owedNothing},
		{"wanted", 10, true, told{}, owedSet},
		{"told", 10, true, told{a: 10, given: true}, owedNothing},
		{"changed", 10, true, told{a: 12, given: true}, owedSet},
		{"started anew", 10, true, told{a: 10, given: true, unsure: true}, owedSet},
		{"no longer wanted", 0, false, told{a: 10, given: true}, owedClear},
		{"refused", 10, true, told{refused: true}, owedNothing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := owe(tt.wanted, tt.want, true, tt.told); got != tt.owed {
				t.Errorf("owes %d, want %d", got, tt.owed)
			}
		})
	}
}

// A device that starts anew is told again what holds, and asked for the session
// that a limit is about.
func TestLimitAfterBoot(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 2)
		d.answer = obey(delivered, succeeded)
		tx := fmt.Sprint(r.begin("CP1", 2, "GOOD", 1).Transaction)
		r.execute(event.Command{ID: "a", Type: event.CommandSetLimit, Station: "CP1", EVSE: 2, Params: params(event.SetLimitParams{LimitA: p(8.0), Until: r.now().Add(20 * time.Minute)})})
		if d.orders[0].Transaction != tx {
			t.Errorf("transaction %q, want %s", d.orders[0].Transaction, tx)
		}
		r.pass(time.Minute)
		d2, _ := r.connect("CP1", 2)
		d2.answer = obey(delivered, succeeded)
		r.pass(time.Minute)
		if got, want := orders(d2), []string{"set_limit 2 8 standing"}; !slices.Equal(got, want) {
			t.Errorf("orders %q, want %q", got, want)
		}
		r.pass(time.Hour)
		if got, want := orders(d2), []string{"set_limit 2 8 standing", "clear_limit 2 standing"}; !slices.Equal(got, want) {
			t.Errorf("orders %q, want %q", got, want)
		}
		if got, want := profiles(r), []string{"effective 8", "ended 8"}; !slices.Equal(got, want) {
			t.Errorf("profiles %q, want %q", got, want)
		}
	})
}

// A busy station takes a new plan up as soon as it has room.
func TestPlanForBusyStation(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, succeeded)
		st, free := r.site.Station("CP1"), make(chan struct{})
		for st.TryPost(func() { <-free }) == nil {
			synctest.Wait()
		}
		if err := r.site.SetPlan(Plan{LimitA: map[event.StationID]float64{"CP1": 16}}); err != nil {
			t.Fatal(err)
		}
		close(free)
		r.pass(3 * time.Second)
		if got := orders(d); !slices.Equal(got, []string{"set_limit 0 16 standing"}) {
			t.Errorf("orders %q", got)
		}
		d.answer = obey(delivered, event.StateUnsupported)
		if err := r.site.SetPlan(Plan{LimitA: map[event.StationID]float64{"CP1": 10}}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Hour)
		if got := profiles(r); !slices.Equal(got, []string{"effective 16", "refused 10"}) {
			t.Errorf("profiles %q", got)
		}
		d.answer = obey(delivered, succeeded)
		if err := r.site.SetPlan(Plan{}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		if got := orders(d); got[len(got)-1] != "clear_limit 0 standing" || len(got) != 3 {
			t.Errorf("orders %q", got)
		}
	})
}

// What a plan no longer wants is taken back also where the gateway started in
// between; what nobody has said to be withdrawn stays.
func TestWithdrawnWhileDown(t *testing.T) {
	tests := []struct {
		name string
		plan *Plan // after the restart; nil: none came
		want []string
	}{
		{name: "withdrawn", plan: &Plan{}, want: []string{"clear_limit 0 standing default", "clear_limit 0 standing"}},
		{name: "changed", plan: &Plan{LimitA: map[event.StationID]float64{"CP1": 10}}, want: []string{"clear_limit 0 standing default", "set_limit 0 10 standing"}},
		{name: "not known", want: nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				if err := r.site.SetPlan(Plan{LimitA: map[event.StationID]float64{"CP1": 16}, FallbackA: map[event.StationID]float64{"CP1": 6}}); err != nil {
					t.Fatal(err)
				}
				d, _ := r.connect("CP1", 1)
				d.answer = obey(delivered, succeeded)
				r.pass(time.Minute)
				r.restart()
				if tt.plan != nil {
					if err := r.site.SetPlan(*tt.plan); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 { // it is taken back once
					d = &fakeDevice{answer: obey(delivered, succeeded)}
					r.at("CP1", func(st *Station) {
						if _, err := st.Connected(d, ConnectionInfo{Protocol: "ocpp1.6"}); err != nil {
							t.Error(err)
						}
					})
					r.pass(time.Minute)
					if tt.plan != nil && len(tt.plan.LimitA) > 0 {
						break
					}
					if got := orders(d); !slices.Equal(got, tt.want) {
						t.Errorf("orders %q, want %q", got, tt.want)
					}
					tt.want = nil
				}
				if tt.want != nil {
					if got := orders(d); !slices.Equal(got, tt.want) {
						t.Errorf("orders %q, want %q", got, tt.want)
					}
				}
			})
		})
	}
}
