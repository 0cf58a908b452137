package site

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

const (
	sent      = event.StateSent
	delivered = event.StateDelivered
	agreed    = event.StateAccepted
	succeeded = event.StateSucceeded
	failed    = event.StateFailed
	lost      = event.StateIndeterminate
)

func TestAdvance(t *testing.T) {
	final := func(s event.CommandState) move { return move{phase: phaseFinal, final: s, answered: true} }
	none := move{}
	tests := []struct {
		phase phase
		moves map[input]move // everything else changes nothing
	}{
		{phaseWaiting, map[input]move{
			inExpired: final(event.StateExpired), inCancel: final(event.StateCancelled),
			inTimeout: final(failed), inRefused: final(event.StateRejected),
		}},
		{phaseHanded, map[input]move{
			inDelivered: {phase: phaseDelivered}, inAccepted: {phase: phaseAccepted, answered: true},
			inSucceeded: final(succeeded), inEffect: final(succeeded), inRefused: final(event.StateRejected), inNoEffect: final(failed),
			inLost: {phase: phaseHanded, answered: true, look: true}, inTimeout: final(lost),
		}},
		{phaseDelivered, map[input]move{
			inAccepted:  {phase: phaseAccepted, answered: true},
			inSucceeded: final(succeeded), inEffect: final(succeeded), inRefused: final(event.StateRejected), inNoEffect: final(failed),
			inLost: {phase: phaseDelivered, answered: true, look: true}, inTimeout: final(lost),
		}},
		{phaseAccepted, map[input]move{
			inSucceeded: final(succeeded), inEffect: final(succeeded), inRefused: final(event.StateRejected), inNoEffect: final(failed),
			inLost: {phase: phaseAccepted, answered: true, look: true}, inTimeout: final(lost),
		}},
		{phaseFinal, nil},
	}
	for _, tt := range tests {
		for in := inDelivered; in <= inCancel; in++ {
			t.Run(tt.phase.String()+"/"+in.String(), func(t *testing.T) {
				want, moves := tt.moves[in]
				got, ok := advance(tt.phase, in, event.StateRejected)
				if ok != moves || got != want {
					t.Errorf("got %+v, %v; want %+v, %v", got, ok, want, moves)
				}
				if got != none && got.phase < tt.phase {
					t.Errorf("goes back to %s", got.phase)
				}
			})
		}
	}
}

func params(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// obey answers every order with the states given.
func obey(states ...event.CommandState) func(Order, func(Outcome)) {
	return func(_ Order, report func(Outcome)) {
		for _, s := range states {
			report(Outcome{State: s})
		}
	}
}

func TestStartCommand(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, agreed)
		cmd := event.Command{ID: "c1", Type: event.CommandStart, Station: "CP1", EVSE: 1, Params: params(event.StartParams{Token: card("UNKNOWN")})}
		r.execute(cmd)
		r.wantStates("c1", delivered, agreed)
		if _, live := r.site.Live(); len(live) != 1 || live[0].State != agreed {
			t.Errorf("live %+v", live)
		}
		out := r.begin("CP1", 1, "unknown", 10)
		if out.Decision != accepted || r.manager.asked != 0 {
			t.Errorf("start of the ordered token: %+v, manager asked %d times", out, r.manager.asked)
		}
		r.wantStates("c1", delivered, agreed, succeeded)
		s := kept[*event.SessionStarted](r.journal)[0]
		if s.Command != "c1" || s.Trigger != "remote_start" || s.Authorization.By != byCommand {
			t.Errorf("started %+v", s)
		}
		r.execute(cmd) // a repeat is answered and does nothing
		r.wantStates("c1", delivered, agreed, succeeded, succeeded)
		r.restart()
		d2, _ := r.connect("CP1", 1)
		r.execute(cmd)
		r.wantStates("c1", delivered, agreed, succeeded, succeeded, succeeded)
		if len(d.orders) != 1 || len(d2.orders) != 0 {
			t.Errorf("executed %d times, and %d after the restart", len(d.orders), len(d2.orders))
		}
	})
}

func TestStartNotSeen(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) { // quirk 66
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, agreed)
		r.execute(event.Command{ID: "c1", Type: event.CommandStart, Station: "CP1", Params: params(event.StartParams{Token: card("X")})})
		r.pass(5*time.Minute + time.Second)
		r.wantStates("c1", delivered, agreed, lost)
	})
}

func TestStopCommand(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 2)
		d.answer = obey(delivered, agreed)
		r.execute(event.Command{ID: "none", Type: event.CommandStop, Station: "CP1", EVSE: 1})
		r.wantStates("none", failed)
		a := r.begin("CP1", 1, "GOOD", 10)
		r.begin("CP1", 2, "GOOD", 20)
		r.execute(event.Command{ID: "two", Type: event.CommandStop, Station: "CP1"})
		r.wantStates("two", failed)
		s := kept[*event.SessionStarted](r.journal)[0]
		r.execute(event.Command{ID: "stop", Type: event.CommandStop, Station: "CP1", Params: params(event.StopParams{Session: s.Session})})
		r.wantStates("stop", delivered, agreed)
		if o := d.orders[0]; o.Transaction != s.Transaction || o.EVSE != 1 || o.Request <= 0 {
			t.Errorf("order %+v", o)
		}
		r.end("CP1", StopReport{Transaction: s.Transaction, MeterWh: p[int64](11), Reason: "remote", Time: said(r.now())})
		r.wantStates("stop", delivered, agreed, succeeded)
		if e := kept[*event.SessionEnded](r.journal)[0]; e.Command != "stop" || e.Trigger != "remote_stop" {
			t.Errorf("ended %+v (transaction %d)", e, a.Transaction)
		}
	})
}

func TestCommandNotConnected(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		_, conn := r.connect("CP1", 1)
		r.at("CP1", func(st *Station) {
			if err := st.Disconnected(conn, 1006, ""); err != nil {
				t.Error(err)
			}
		})
		r.execute(event.Command{ID: "start", Type: event.CommandStart, Station: "CP1", Params: params(event.StartParams{Token: card("X")})})
		r.execute(event.Command{ID: "conf", Type: event.CommandGetConfiguration, Station: "CP1"})
		r.execute(event.Command{ID: "short", Type: event.CommandGetConfiguration, Station: "CP1", Expires: r.now().Add(90 * time.Second)})
		r.execute(event.Command{ID: "over", Type: event.CommandGetConfiguration, Station: "CP1", Expires: r.now().Add(-time.Second)})
		r.execute(event.Command{ID: "nobody", Type: event.CommandGetConfiguration, Station: "CP9"})
		r.wantStates("over", event.StateExpired)
		r.wantStates("nobody", event.StateRejected)
		r.pass(5 * time.Minute)
		r.wantStates("start", sent, failed)
		r.wantStates("short", sent, event.StateExpired)
		r.wantStates("conf", sent)
		d, _ := r.connect("CP1", 1)
		synctest.Wait()
		if len(d.orders) != 1 || d.orders[0].ID != "conf" {
			t.Fatalf("orders %+v", d.orders)
		}
		r.at("CP1", func(*Station) {
			d.reports[0](Outcome{State: delivered})
			d.reports[0](Outcome{State: succeeded, Result: json.RawMessage(`{"a":1}`)})
			d.reports[0](Outcome{State: failed})
		})
		r.wantStates("conf", sent, delivered, succeeded)
	})
}

func TestCancel(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		cancel := func(id event.CommandID) {
			if err := r.site.Cancel(context.Background(), id); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		r.execute(event.Command{ID: "a", Type: event.CommandClearCache, Station: "CP1"})
		r.execute(event.Command{ID: "b", Type: event.CommandClearCache, Station: "CP1"})
		cancel("b") // it waits for its turn
		r.wantStates("b", sent, event.StateCancelled)
		cancel("a") // it is under way
		r.wantStates("a", sent)
		cancel("c") // it has not come yet
		r.execute(event.Command{ID: "c", Type: event.CommandClearCache, Station: "CP1"})
		r.wantStates("c", event.StateCancelled, event.StateCancelled)
		r.at("CP1", func(*Station) { d.reports[0](Outcome{State: succeeded}) })
		r.pass(time.Minute)
		if len(d.orders) != 1 {
			t.Errorf("orders %+v", d.orders)
		}
	})
}

// Journal after effect would be no at-most-once.
func TestJournaledBeforeEffect(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		full := true
		r.journal.refuse(func(Change) bool { return full })
		d.answer = func(o Order, report func(Outcome)) {
			if _, ok := r.journal.records[Key{Kind: kindCommand, Station: "CP1", ID: string(o.ID)}]; !ok {
				t.Errorf("%s carried out before it was journaled", o.ID)
			}
			report(Outcome{State: delivered})
		}
		r.execute(event.Command{ID: "a", Type: event.CommandClearCache, Station: "CP1"})
		r.pass(time.Minute)
		if len(d.orders) != 0 {
			t.Fatal("carried out though the journal failed")
		}
		full = false
		r.pass(time.Minute)
		if len(d.orders) != 1 {
			t.Fatalf("%d orders once the journal works", len(d.orders))
		}
	})
}

// What becomes known while the journal fails is told once it works.
func TestStateKeptLater(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		r.execute(event.Command{ID: "a", Type: event.CommandClearCache, Station: "CP1"})
		r.journal.refuse(func(Change) bool { return true })
		r.at("CP1", func(*Station) { d.reports[0](Outcome{State: delivered}); d.reports[0](Outcome{State: succeeded}) })
		r.pass(12 * time.Second)
		r.journal.refuse(nil)
		r.pass(12 * time.Second)
		r.wantStates("a", delivered, succeeded)
	})
}

func TestCommandAfterCrash(t *testing.T) {
	tests := []struct {
		name   string
		cmd    event.Command
		before []event.CommandState // reported before the crash
		look   event.CommandState   // what the device shows then; empty: nobody looks
		seen   func(r *rig)         // what the station tells then
		want   event.CommandState
	}{
		{name: "the device shows it", cmd: event.Command{Type: event.CommandSetConfiguration, Params: params(event.SetConfigurationParams{Variables: []event.Variable{{Variable: "X"}}})}, before: []event.CommandState{delivered}, look: succeeded, want: succeeded},
		{name: "the device does not show it", cmd: event.Command{Type: event.CommandSetConfiguration, Params: params(event.SetConfigurationParams{Variables: []event.Variable{{Variable: "X"}}})}, look: failed, want: failed},
		{name: "nobody can tell", cmd: event.Command{Type: event.CommandClearCache}, look: lost, want: lost},
		{name: "it boots", cmd: event.Command{Type: event.CommandReset, Params: params(event.ResetParams{Kind: "hard"})}, before: []event.CommandState{delivered}, want: succeeded},
		{name: "a session begins", cmd: event.Command{Type: event.CommandStart, Params: params(event.StartParams{Token: card("X")})}, before: []event.CommandState{delivered, agreed}, seen: func(r *rig) { r.begin("CP1", 1, "X", 1) }, want: succeeded},
		{name: "no session begins", cmd: event.Command{Type: event.CommandStart, Params: params(event.StartParams{Token: card("X")})}, look: lost, want: lost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				d, _ := r.connect("CP1", 1)
				d.answer = obey(tt.before...)
				tt.cmd.ID, tt.cmd.Station = "a", "CP1"
				r.execute(tt.cmd)
				if len(d.orders) != 1 {
					t.Fatalf("%d orders", len(d.orders))
				}
				r.restart()
				d2, _ := r.connect("CP1", 1)
				synctest.Wait()
				if tt.seen != nil {
					tt.seen(r)
				}
				r.pass(11 * time.Second)
				if (len(d2.looks) > 0) != (tt.look != "") {
					t.Fatalf("looked %d times", len(d2.looks))
				}
				if tt.look != "" {
					if d2.looks[0].Request != d.orders[0].Request {
						t.Errorf("looked for request %d, want %d", d2.looks[0].Request, d.orders[0].Request)
					}
					r.at("CP1", func(*Station) { d2.looked[0](Outcome{State: tt.look}) })
				}
				r.pass(10 * time.Minute)
				if got := r.states("a"); len(got) == 0 || got[len(got)-1] != tt.want || slices.Contains(got[:len(got)-1], tt.want) {
					t.Errorf("states %v, want %v at the end", got, tt.want)
				}
				if len(d2.orders) != 0 {
					t.Error("carried out again")
				}
			})
		})
	}
}

// A station that resets closes its connection before it answers.
func TestLostAnswer(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, conn := r.connect("CP1", 1)
		d.answer = obey(delivered)
		r.execute(event.Command{ID: "reset", Type: event.CommandReset, Station: "CP1"})
		r.at("CP1", func(st *Station) {
			if err := st.Disconnected(conn, 1001, "going away"); err != nil {
				t.Error(err)
			}
			d.reports[0](Outcome{State: lost}) // the adapter says it too
		})
		r.pass(2 * time.Minute)
		r.connect("CP1", 1)
		r.wantStates("reset", delivered, succeeded)
	})
}

func TestWithoutTime(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.clock.set(func(c *fakeClock) { c.unjudged = true })
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, succeeded)
		until := r.now().Add(time.Hour)
		r.begin("CP1", 1, "GOOD", 1)
		for id, c := range map[event.CommandID]event.Command{
			"unlock": {Type: event.CommandUnlock},
			"limit":  {Type: event.CommandSetLimit, Params: params(event.SetLimitParams{LimitA: p(10.0), Until: until})},
			"stop":   {Type: event.CommandStop},
		} {
			c.ID, c.Station = id, "CP1"
			r.execute(c)
		}
		r.execute(event.Command{ID: "higher", Type: event.CommandSetLimit, Station: "CP1", Params: params(event.SetLimitParams{LimitA: p(20.0), Until: until})})
		r.wantStates("limit", delivered, succeeded)
		r.wantStates("stop", delivered, succeeded)
		r.wantStates("unlock", sent)
		r.wantStates("higher", sent)
		r.clock.set(func(c *fakeClock) { c.unjudged = false })
		r.pass(2 * time.Minute)
		r.wantStates("higher", sent, delivered, succeeded)
	})
}

func TestVerdict(t *testing.T) {
	cmd := func(p phase, evse int, params any) *command {
		return &command{cmd: event.Command{ID: "x", EVSE: evse}, evse: evse, phase: p, params: params, request: 5, session: "s1"}
	}
	amps := func(a float64) []event.Sample { return []event.Sample{{CurrentA: &event.Phases{L1: &a}}} }
	s1, s2 := &session{id: "s1"}, &session{id: "s2"}
	tests := []struct {
		name string
		c    *command
		f    fact
		want event.CommandState
	}{
		{"start", cmd(phaseAccepted, 1, &event.StartParams{Token: card("a")}), fact{kind: factStarted, evse: 1, token: card("A")}, succeeded},
		{"start before the answer", cmd(phaseHanded, 0, &event.StartParams{Token: card("a")}), fact{kind: factStarted, evse: 1, token: card("A")}, succeeded},
		{"start of another token", cmd(phaseAccepted, 1, &event.StartParams{Token: card("b")}), fact{kind: factStarted, evse: 1, token: card("A")}, ""},
		{"start elsewhere", cmd(phaseAccepted, 2, &event.StartParams{Token: card("a")}), fact{kind: factStarted, evse: 1, token: card("A")}, ""},
		{"start not told yet", cmd(phaseWaiting, 1, &event.StartParams{Token: card("a")}), fact{kind: factStarted, evse: 1, token: card("A")}, ""},
		{"stop", cmd(phaseAccepted, 1, &event.StopParams{}), fact{kind: factStopped, session: s1}, succeeded},
		{"stop of another session", cmd(phaseAccepted, 1, &event.StopParams{}), fact{kind: factStopped, session: s2}, ""},
		{"reset", cmd(phaseDelivered, 0, &event.ResetParams{}), fact{kind: factBooted}, succeeded},
		{"reset, only a connection", cmd(phaseDelivered, 0, &event.ResetParams{}), fact{kind: factConnected}, ""},
		{"unavailable", cmd(phaseAccepted, 1, &event.SetAvailabilityParams{}), fact{kind: factStatus, evse: 1, status: event.StatusUnavailable}, succeeded},
		{"unavailable, still charging", cmd(phaseAccepted, 1, &event.SetAvailabilityParams{}), fact{kind: factStatus, evse: 1, status: event.StatusCharging}, ""},
		{"available", cmd(phaseAccepted, 1, &event.SetAvailabilityParams{Available: true}), fact{kind: factStatus, evse: 1, status: event.StatusPreparing}, succeeded},
		{"available, but faulted", cmd(phaseAccepted, 1, &event.SetAvailabilityParams{Available: true}), fact{kind: factStatus, evse: 1, status: event.StatusFaulted}, ""},
		{"reserved", cmd(phaseAccepted, 1, &event.ReserveParams{}), fact{kind: factStatus, evse: 1, status: event.StatusReserved}, succeeded},
		{"reserved elsewhere", cmd(phaseAccepted, 1, &event.ReserveParams{}), fact{kind: factStatus, evse: 2, status: event.StatusReserved}, ""},
		{"reservation gone", cmd(phaseAccepted, 1, &event.CancelReservationParams{}), fact{kind: factStatus, evse: 1, status: event.StatusAvailable}, succeeded},
		{"trigger", cmd(phaseAccepted, 0, &event.TriggerParams{Message: "heartbeat"}), fact{kind: factHeartbeat}, succeeded},
		{"trigger, another message", cmd(phaseAccepted, 0, &event.TriggerParams{Message: "heartbeat"}), fact{kind: factStatus}, ""},
		{"limit kept", cmd(phaseAccepted, 1, &event.SetLimitParams{LimitA: p(10.0)}), fact{kind: factMeter, evse: 1, session: s1, samples: amps(10.2)}, succeeded},
		{"limit not kept", cmd(phaseAccepted, 1, &event.SetLimitParams{LimitA: p(10.0)}), fact{kind: factMeter, evse: 1, session: s1, samples: amps(16)}, ""},
		{"limit without a session", cmd(phaseAccepted, 1, &event.SetLimitParams{LimitA: p(10.0)}), fact{kind: factMeter, evse: 1, samples: amps(0)}, ""},
		{"firmware installed", cmd(phaseAccepted, 0, &event.UpdateFirmwareParams{}), fact{kind: factFirmware, word: "installed", request: 5}, succeeded},
		{"firmware failed", cmd(phaseAccepted, 0, &event.UpdateFirmwareParams{}), fact{kind: factFirmware, word: "installation_failed"}, failed},
		{"firmware of another job", cmd(phaseAccepted, 0, &event.UpdateFirmwareParams{}), fact{kind: factFirmware, word: "installed", request: 4}, ""},
		{"firmware on its way", cmd(phaseAccepted, 0, &event.UpdateFirmwareParams{}), fact{kind: factFirmware, word: "downloading", request: 5}, ""},
		{"log", cmd(phaseAccepted, 0, &event.GetLogParams{}), fact{kind: factLog, word: "uploaded"}, succeeded},
		{"log refused", cmd(phaseAccepted, 0, &event.GetLogParams{}), fact{kind: factLog, word: "permission_denied"}, failed},
		{"csr", cmd(phaseAccepted, 0, &event.SignCertificateParams{}), fact{kind: factCertificate, word: "csr"}, succeeded},
		{"chain in use", cmd(phaseAccepted, 0, &event.SignCertificateParams{Chain: "x"}), fact{kind: factConnected, profile: 3}, succeeded},
		{"chain not valid", cmd(phaseAccepted, 0, &event.SignCertificateParams{Chain: "x"}), fact{kind: factSecurity, word: "InvalidChargePointCertificate"}, failed},
		{"F01.FR.25 start by its number", cmd(phaseAccepted, 1, &event.StartParams{Token: card("a")}), fact{kind: factStarted, evse: 2, request: 5, token: card("B")}, succeeded},
		{"start by another number", cmd(phaseAccepted, 1, &event.StartParams{Token: card("a")}), fact{kind: factStarted, evse: 1, request: 4, token: card("A")}, ""},
		{"B11 reset of an EVSE", cmd(phaseAccepted, 1, &event.ResetParams{}), fact{kind: factStatus, evse: 1, connector: 1, status: event.StatusAvailable}, succeeded},
		{"B11 reset of an EVSE under way", cmd(phaseAccepted, 1, &event.ResetParams{}), fact{kind: factStatus, evse: 1, connector: 1, status: event.StatusUnavailable}, ""},
		{"B11 reset of another EVSE", cmd(phaseAccepted, 2, &event.ResetParams{}), fact{kind: factStatus, evse: 1, connector: 1, status: event.StatusAvailable}, ""},
		{"G03 unavailable connector", cmd(phaseAccepted, 1, &event.SetAvailabilityParams{Connector: 2}), fact{kind: factStatus, evse: 1, connector: 2, status: event.StatusUnavailable}, succeeded},
		{"G03 the other connector", cmd(phaseAccepted, 1, &event.SetAvailabilityParams{Connector: 2}), fact{kind: factStatus, evse: 1, connector: 1, status: event.StatusUnavailable}, ""},
		{"H04 reservation removed", cmd(phaseAccepted, 0, &event.CancelReservationParams{Reservation: 7}), fact{kind: factReservation, request: 7}, succeeded},
		{"H04 another reservation removed", cmd(phaseAccepted, 0, &event.CancelReservationParams{Reservation: 7}), fact{kind: factReservation, request: 8}, ""},
		{"firmware published for others", cmd(phaseAccepted, 0, &event.UpdateFirmwareParams{}), fact{kind: factPublish, word: "download_failed"}, ""},
		{"log cancelled by a newer one", cmd(phaseAccepted, 0, &event.GetLogParams{}), fact{kind: factLog, word: "accepted_canceled", request: 5}, failed},
		{"trigger of a transaction", cmd(phaseAccepted, 0, &event.TriggerParams{Message: "transaction"}), fact{kind: factTransaction}, succeeded},
		{"final", cmd(phaseFinal, 0, &event.ResetParams{}), fact{kind: factBooted}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := verdict(tt.c, tt.f); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A setting that takes effect after a reset is read back after it.
func TestSetConfigurationNeedsReset(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = func(_ Order, report func(Outcome)) {
			report(Outcome{State: delivered})
			report(Outcome{State: agreed, Reason: "it takes effect after a reset", Result: json.RawMessage(`{"x":1}`)})
		}
		for _, id := range []event.CommandID{"a", "b"} {
			r.execute(event.Command{ID: id, Type: event.CommandSetConfiguration, Station: "CP1", Params: params(event.SetConfigurationParams{Variables: []event.Variable{{Variable: "X"}}})})
			r.pass(5 * time.Minute)
		}
		r.pass(time.Minute)
		r.wantStates("a", delivered, agreed, lost)
		d2, _ := r.connect("CP1", 1)
		r.pass(11 * time.Second)
		if len(d2.looks) != 1 {
			t.Fatalf("looked %d times", len(d2.looks))
		}
		r.at("CP1", func(*Station) { d2.looked[0](Outcome{State: succeeded}) })
		r.wantStates("b", delivered, agreed, succeeded)
		for _, u := range kept[*event.CommandUpdated](r.journal) {
			if u.State != delivered && string(u.Result) != `{"x":1}` {
				t.Errorf("result of %s %s: %s", u.Command, u.State, u.Result)
			}
		}
	})
}

// A big result is told once and not kept in memory and journal.
func TestBigResult(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		big := params(map[string]string{"x": string(make([]byte, 5000))}) // each of them takes six bytes
		d.answer = func(_ Order, report func(Outcome)) { report(Outcome{State: succeeded, Result: big}) }
		cmd := event.Command{ID: "a", Type: event.CommandGetConfiguration, Station: "CP1"}
		r.execute(cmd)
		r.execute(cmd)
		u := kept[*event.CommandUpdated](r.journal)
		if len(u) != 2 || len(u[0].Result) != len(big) || u[1].Result != nil || u[1].Reason == "" {
			t.Errorf("told %d times, results of %d and then %d bytes", len(u), len(u[0].Result), len(u[len(u)-1].Result))
		}
		if n := len(r.journal.records[Key{Kind: kindCommand, Station: "CP1", ID: "a"}]); n > 1000 {
			t.Errorf("record of %d bytes", n)
		}
		d.answer = func(_ Order, report func(Outcome)) { report(Outcome{State: succeeded, Result: []byte("{")}) }
		cmd.ID = "b"
		r.execute(cmd)
		r.wantStates("b", succeeded)
	})
}

// The journal forgets a command a week after its expiry.
func TestCommandsForgotten(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, succeeded)
		r.execute(event.Command{ID: "a", Type: event.CommandClearCache, Station: "CP1"})
		key := Key{Kind: kindCommand, Station: "CP1", ID: "a"}
		r.pass(keepCommand)
		if _, ok := r.journal.records[key]; !ok {
			t.Error("forgotten too early")
		}
		r.pass(3 * time.Hour)
		if _, ok := r.journal.records[key]; ok {
			t.Error("kept for ever")
		}
	})
}

// Parameters that no device could make sense of are refused with a reason.
func TestParams(t *testing.T) {
	until := base.Add(time.Hour)
	tests := []struct {
		t      event.CommandType
		params any
		ok     bool
	}{
		{event.CommandStart, event.StartParams{}, false},
		{event.CommandStart, "text", false},
		{event.CommandReset, event.ResetParams{Kind: "gentle"}, false},
		{event.CommandReset, nil, true},
		{event.CommandReset, event.ResetParams{Kind: "resume"}, true},
		{event.CommandSetAvailability, event.SetAvailabilityParams{Connector: -1}, false},
		{event.CommandTrigger, event.TriggerParams{Message: "custom:Dance"}, true},
		{event.CommandTrigger, event.TriggerParams{Message: "sign_v2g_certificate"}, true},
		{event.CommandShowMessage, event.ShowMessageParams{}, false},
		{event.CommandShowMessage, event.ShowMessageParams{ID: 4}, true},
		{event.CommandShowMessage, event.ShowMessageParams{Text: "hello", ID: -1}, false},
		{event.CommandSetLimit, event.SetLimitParams{LimitA: p(1.0)}, false},
		{event.CommandSetLimit, event.SetLimitParams{Until: until}, false},
		{event.CommandSetLimit, event.SetLimitParams{LimitA: p(1.0), LimitW: p(1.0), Until: until}, false},
		{event.CommandSetLimit, event.SetLimitParams{LimitA: p(-1.0), Until: until}, false},
		{event.CommandSetLimit, event.SetLimitParams{LimitA: p(0.0), Until: until}, true},
		{event.CommandTrigger, event.TriggerParams{Message: "dance"}, false},
		{event.CommandReserve, event.ReserveParams{Token: card("A"), Until: until}, false},
		{event.CommandReserve, event.ReserveParams{Reservation: 1, Until: until}, false},
		{event.CommandReserve, event.ReserveParams{Reservation: 1, Token: card("A")}, false},
		{event.CommandSetConfiguration, nil, false},
		{event.CommandCancelReservation, nil, false},
		{event.CommandUpdateFirmware, nil, false},
		{event.CommandGetLog, nil, false},
		{event.CommandSendData, nil, false},
		{event.CommandCall, nil, false},
		{event.CommandBundle, "anything", true},
	}
	for _, tt := range tests {
		var raw json.RawMessage
		if tt.params != nil {
			raw = params(tt.params)
		}
		if _, err := decodeParams(tt.t, raw); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.t, raw, err)
		}
	}
	for _, c := range event.CommandTypes {
		if v, err := decodeParams(c, nil); err == nil && v == nil && !c.ForGateway() {
			t.Errorf("%s has no parameters of its own", c)
		}
	}
}

// Every message that can be triggered is the effect of its trigger, and so is
// what a station sends of its own for the other jobs.
// A driver may take minutes to find the cable: the token stays authorised, and
// the session is that of the command.
func TestStartByASlowDriver(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, agreed)
		r.execute(event.Command{ID: "a", Type: event.CommandStart, Station: "CP1", EVSE: 1, Params: params(event.StartParams{Token: card("GUEST")})})
		r.pass(4*time.Minute + 30*time.Second)
		if out := r.begin("CP1", 1, "GUEST", 1); out.Decision != accepted || r.manager.asked != 0 {
			t.Errorf("decision %s, the manager was asked %d times", out.Decision, r.manager.asked)
		}
		r.wantStates("a", delivered, agreed, succeeded)
		if s := kept[*event.SessionStarted](r.journal); len(s) != 1 || s[0].Command != "a" {
			t.Errorf("started %+v", s)
		}
	})
}

func TestObservedMessages(t *testing.T) {
	tests := []struct {
		cmd event.Command
		say func(st *Station) error
	}{
		{event.Command{Type: event.CommandTrigger, Params: params(event.TriggerParams{Message: "heartbeat"})}, func(st *Station) error { _, err := st.Heartbeat(); return err }},
		{event.Command{Type: event.CommandTrigger, Params: params(event.TriggerParams{Message: "boot"})}, func(st *Station) error {
			_, err := st.Booted(BootReport{Vendor: "Acme", Model: "One"})
			return err
		}},
		{event.Command{Type: event.CommandTrigger, EVSE: 1, Params: params(event.TriggerParams{Message: "status"})}, func(st *Station) error {
			return st.Status(StatusReport{EVSE: 1, Connector: 1, Status: event.StatusAvailable})
		}},
		{event.Command{Type: event.CommandTrigger, EVSE: 1, Params: params(event.TriggerParams{Message: "meter"})}, func(st *Station) error {
			return st.Meter(MeterReport{EVSE: 1, Connector: 1, Samples: []event.Sample{{PowerW: p(1.0)}}})
		}},
		{event.Command{Type: event.CommandTrigger, Params: params(event.TriggerParams{Message: "firmware"})}, func(st *Station) error { return st.Firmware(FirmwareReport{Status: "idle"}) }},
		{event.Command{Type: event.CommandTrigger, Params: params(event.TriggerParams{Message: "log"})}, func(st *Station) error { return st.Log(LogReport{Status: "idle"}) }},
		{event.Command{Type: event.CommandTrigger, Params: params(event.TriggerParams{Message: "sign_certificate"})}, func(st *Station) error { return st.Certificate(CertificateReport{CSR: "x"}) }},
		{event.Command{Type: event.CommandTrigger, Params: params(event.TriggerParams{Message: "sign_v2g_certificate"})}, func(st *Station) error { return st.Certificate(CertificateReport{CSR: "x", Kind: "v2g"}) }},
		{event.Command{Type: event.CommandTrigger, Params: params(event.TriggerParams{Message: "publish_firmware"})}, func(st *Station) error {
			return st.Firmware(FirmwareReport{Status: "published", Publish: true})
		}},
		{event.Command{Type: event.CommandTrigger, EVSE: 1, Params: params(event.TriggerParams{Message: "transaction"})}, func(st *Station) error {
			_, err := st.Transaction((&step2{step: updated, evse: 1, conn: 1, trigger: "trigger"}).report())
			if err == nil {
				_, err = st.Transaction((&step2{step: updated, seq: 1, trigger: "trigger", at: 1}).report())
			}
			return err
		}},
		{event.Command{Type: event.CommandSignCertificate}, func(st *Station) error { return st.Certificate(CertificateReport{CSR: "x"}) }},
		{event.Command{Type: event.CommandGetLog, Params: params(event.GetLogParams{URL: "https://x"})}, func(st *Station) error { return st.Log(LogReport{Status: "uploaded"}) }},
	}
	for _, early := range []int{0, 1, 2} { // the message comes before it is known that the device agreed, or was told
		for _, tt := range tests {
			t.Run(string(tt.cmd.Type)+string(tt.cmd.Params), func(t *testing.T) {
				bubble(t, Config{}, func(t *testing.T, r *rig) {
					d, _ := r.connect("CP1", 1)
					tt.cmd.ID, tt.cmd.Station = "a", "CP1"
					r.execute(tt.cmd)
					say := func() {
						r.at("CP1", func(st *Station) {
							if err := tt.say(st); err != nil {
								t.Error(err)
							}
						})
					}
					if early == 2 {
						say()
					}
					r.at("CP1", func(*Station) { d.reports[0](Outcome{State: delivered}) })
					if early == 1 {
						say()
					}
					r.at("CP1", func(*Station) { d.reports[0](Outcome{State: agreed}) })
					if early == 0 {
						r.wantStates("a", delivered, agreed)
						say()
					}
					if got := r.states("a"); got[len(got)-1] != succeeded {
						t.Errorf("states %v", got)
					}
				})
			})
		}
	}
}

// A lost answer while the connection stands is looked after like one lost with
// it.
func TestAnswerNotUnderstood(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect("CP1", 1)
		d.answer = obey(delivered, lost)
		r.execute(event.Command{ID: "cache", Type: event.CommandClearCache, Station: "CP1"})
		if len(d.looks) != 1 {
			t.Fatalf("looked %d times", len(d.looks))
		}
		r.at("CP1", func(*Station) { d.looked[0](Outcome{State: lost, Reason: "it cannot be read"}) })
		r.wantStates("cache", delivered, lost)
		r.execute(event.Command{ID: "reset", Type: event.CommandReset, Station: "CP1"})
		r.pass(11 * time.Second)
		r.at("CP1", func(*Station) { d.looked[1](Outcome{State: lost}) })
		r.pass(6 * time.Minute)
		r.wantStates("reset", delivered, lost)
	})
}

// The connection breaks while the device is looked at: it is looked at again.
func TestLookAgainAfterLoss(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, conn := r.connect("CP1", 1)
		d.answer = obey(delivered, lost)
		r.execute(event.Command{ID: "a", Type: event.CommandClearCache, Station: "CP1"})
		r.execute(event.Command{ID: "b", Type: event.CommandUnlock, Station: "CP1"})
		r.at("CP1", func(st *Station) {
			if err := st.Disconnected(conn, 1006, ""); err != nil {
				t.Error(err)
			}
		})
		r.pass(31 * time.Second)
		r.wantStates("b", sent, failed)
		d2, _ := r.connect("CP1", 1)
		r.pass(time.Second)
		r.at("CP1", func(*Station) { d2.looked[0](Outcome{State: succeeded}) })
		r.wantStates("a", delivered, succeeded)
	})
}

// A manager that asks every few seconds does not fill the outbox.
func TestRepeatsAreFew(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		for range 30 {
			r.execute(event.Command{ID: "a", Type: event.CommandClearCache, Station: "CP1"})
			r.pass(10 * time.Second)
		}
		if n := len(r.states("a")); n > 6 {
			t.Errorf("told %d times in 5 minutes", n)
		}
	})
}
