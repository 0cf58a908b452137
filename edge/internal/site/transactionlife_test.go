package site

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// A remote start is tied by its number, whatever token comes (F01.FR.25,
// F02.FR.01).
func TestRemoteStart(t *testing.T) {
	tests := []struct {
		name  string
		steps []step2
		trig  string
	}{
		{name: "F02.FR.01 the start first", steps: []step2{
			{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "remote_start", card: "APP", remote: 1, want: accepted},
		}},
		{name: "F01.FR.25 the cable first", steps: []step2{
			{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "cable_plugged_in"},
			{step: updated, seq: 1, at: 20, trigger: "remote_start", remote: 1},
			{step: updated, seq: 2, at: 30, trigger: "authorized", card: "APP", want: accepted},
		}},
		{name: "no number, the token alone", steps: []step2{
			{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "remote_start", card: "APP", want: accepted},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				d, _ := r.connect2("CP", 1)
				r.execute(event.Command{ID: "c1", Type: event.CommandStart, Station: "CP", EVSE: 1, Params: []byte(`{"token":{"type":"central","value":"APP"}}`)})
				if len(d.orders) != 1 || d.orders[0].Request != 1 {
					t.Fatalf("orders %+v", d.orders)
				}
				r.at("CP", func(*Station) {
					d.reports[0](Outcome{State: event.StateDelivered})
					d.reports[0](Outcome{State: event.StateAccepted})
				})
				for i := range tt.steps {
					if got := r.tell("CP", tt.steps[i].report()); got.Decision != tt.steps[i].want {
						t.Errorf("step %d: %q, want %q", i, got.Decision, tt.steps[i].want)
					}
				}
				r.wantStates("c1", event.StateDelivered, event.StateAccepted, event.StateSucceeded)
				tied := event.CommandID("")
				for _, e := range kept[*event.SessionStarted](r.journal) {
					tied += e.Command
				}
				for _, e := range kept[*event.SessionUpdated](r.journal) {
					tied += e.Command
				}
				if tied != "c1" {
					t.Errorf("the session names command %q", tied)
				}
				d.answer = nil
				r.execute(event.Command{ID: "c2", Type: event.CommandStop, Station: "CP", EVSE: 1})
				if len(d.orders) != 2 || d.orders[1].Transaction != "T1" {
					t.Errorf("stop names %+v", d.orders)
				}
			})
		})
	}
}

// E02.FR.03: a reservation is used by its token, also where that is known later.
func TestTransactionReservation(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect2("CP", 1)
		d.answer = func(_ Order, report func(Outcome)) { report(Outcome{State: event.StateAccepted}) }
		r.execute(event.Command{ID: "c1", Type: event.CommandReserve, Station: "CP", EVSE: 1, Params: []byte(`{"reservation":7,"token":{"type":"rfid","value":"KEPT"},"until":"2026-11-22T08:00:00Z"}`)})
		from := len(r.journal.events)
		r.tell("CP", (&step2{step: started, at: 1, evse: 1, conn: 1, trigger: "cable_plugged_in", reserve: 7}).report())
		if got := r.tell("CP", (&step2{step: updated, seq: 1, at: 2, trigger: "authorized", card: "KEPT"}).report()); got.Decision != accepted {
			t.Errorf("decided %q", got.Decision)
		}
		want := []string{"1/1 started cable_plugged_in", "1/1 token KEPT accepted", "1/1 updated authorized r:KEPT=accepted by reservation", "1/1 reservation 7 used"}
		if got := story(r.journal, from); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}

		// and where the number comes after the token
		from = len(r.journal.events)
		r.tell("CP", (&step2{step: started, at: 3, tx: "T2", evse: 1, conn: 1, trigger: "authorized", card: "GOOD"}).report())
		r.execute(event.Command{ID: "c2", Type: event.CommandReserve, Station: "CP", EVSE: 1, Params: []byte(`{"reservation":8,"token":{"type":"rfid","value":"GOOD"},"until":"2026-11-22T08:00:00Z"}`)})
		r.tell("CP", (&step2{step: updated, seq: 1, at: 4, tx: "T2", trigger: "meter_periodic", reserve: 8}).report())
		if got := story(r.journal, from); got[len(got)-1] != "1/1 reservation 8 used" {
			t.Errorf("told %q", got)
		}
	})
}

// askingDevice is a device that can be asked about transactions.
type askingDevice struct {
	fakeDevice
	asked  []string
	answer func(report func(*bool, bool, bool))
}

func (d *askingDevice) AskTransaction(id string, report func(*bool, bool, bool)) {
	d.asked = append(d.asked, id)
	if d.answer != nil {
		d.answer(report)
	}
}

func TestAskTransaction(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		name   string
		answer func(n int, report func(*bool, bool, bool))
		asked  int
		ended  string // "" still running
	}{
		{name: "E14.FR.02 it runs", answer: func(_ int, f func(*bool, bool, bool)) { f(&yes, false, true) }, asked: 1},
		{name: "E14.FR.01 nobody knows it", answer: func(_ int, f func(*bool, bool, bool)) { f(&no, false, true) }, asked: 1, ended: "1/1 ended other 5-6=1 30s [inferred gap]"},
		{name: "E14.FR.04 its end is on the way", answer: func(n int, f func(*bool, bool, bool)) { f(&no, n < 3, true) }, asked: 3, ended: "1/1 ended other 5-6=1 30s [inferred gap]"},
		{name: "no answer", answer: func(_ int, f func(*bool, bool, bool)) { f(nil, false, false) }, asked: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				_, c := r.connect2("CP", 1)
				r.tell("CP", (&step2{step: started, at: 0, evse: 1, conn: 1, trigger: "authorized", state: "charging", wh: 5}).report())
				r.tell("CP", (&step2{step: updated, seq: 1, at: 30, trigger: "meter_periodic", wh: 6}).report())
				r.at("CP", func(st *Station) {
					if err := st.Disconnected(c, 1006, "gone"); err != nil {
						t.Error(err)
					}
				})
				r.pass(time.Minute)
				d := &askingDevice{}
				d.answer = func(f func(*bool, bool, bool)) { tt.answer(len(d.asked), f) }
				from := len(r.journal.events)
				r.at("CP", func(st *Station) {
					if _, err := st.Connected(d, ConnectionInfo{Protocol: "ocpp2.0.1"}); err != nil {
						t.Error(err)
					}
				})
				r.pass(5 * time.Minute)
				if len(d.asked) != tt.asked {
					t.Errorf("asked %d times, want %d", len(d.asked), tt.asked)
				}
				ended := ""
				for _, line := range story(r.journal, from) {
					if strings.Contains(line, "ended") {
						ended += line
					}
				}
				if ended != tt.ended {
					t.Errorf("ended as %q, want %q", ended, tt.ended)
				}
				// the real end comes all the same
				r.tell("CP", (&step2{step: finish, seq: 2, at: 60, trigger: "local", wh: 9, context: "end"}).report())
				got := story(r.journal, from)
				if want := "1/1 ended local 5-9=4 60s"; got[len(got)-1] != want {
					t.Errorf("at last told %q, want %q", got[len(got)-1], want)
				}
			})
		})
	}
}

// Where the station cannot be asked, a free connector ends the sessions in which a
// car was there.
func TestFreeConnector(t *testing.T) {
	tests := []struct {
		name  string
		state string
		want  string
	}{
		{name: "it charged", state: "charging", want: "1/1 ended other 5-5=0 0s [inferred gap]"},
		{name: "the car was there", state: "ev_connected", want: "1/1 ended other 5-5=0 0s [inferred gap]"},
		{name: "TxStopPoint ParkingBayOccupancy", state: "idle"},
		{name: "TxStartPoint Authorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				r.connect2("CP", 1)
				r.tell("CP", (&step2{step: started, at: 0, evse: 1, conn: 1, trigger: "authorized", state: tt.state, wh: 5}).report())
				from := len(r.journal.events)
				r.status("CP", 1, event.StatusAvailable)
				r.pass(5 * time.Minute)
				got := slices.DeleteFunc(story(r.journal, from), func(s string) bool { return !strings.Contains(s, "ended") })
				if strings.Join(got, "") != tt.want {
					t.Errorf("told %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// Quirk 3: a session goes on when its station comes back with another protocol.
func TestProtocolChange(t *testing.T) {
	connect := func(r *rig, protocol string) {
		r.at("CP", func(st *Station) {
			if _, err := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: protocol}); err != nil {
				r.t.Error(err)
			}
		})
	}
	t.Run("from 1.6 to 2.0.1", func(t *testing.T) {
		bubble(t, Config{}, func(t *testing.T, r *rig) {
			r.connect("CP", 2)
			r.begin("CP", 1, "GOOD", 100)
			connect(r, "ocpp2.0.1")
			from := len(r.journal.events)
			r.tell("CP", (&step2{step: updated, seq: 7, at: 30, tx: "new", evse: 1, conn: 1, trigger: "charging_state", state: "charging"}).report())
			r.restart()
			connect(r, "ocpp2.0.1")
			r.tell("CP", (&step2{step: finish, seq: 8, at: 60, tx: "new", trigger: "local", wh: 150, context: "end"}).report())
			got := slices.DeleteFunc(story(r.journal, from), func(s string) bool { return !strings.Contains(s, "updated") && !strings.Contains(s, "ended") })
			want := []string{"1/1 updated charging_state charging", "1/1 ended local u:GOOD 100-150=50 60s"}
			if !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	})
	t.Run("from 2.0.1 to 1.6", func(t *testing.T) {
		bubble(t, Config{}, func(t *testing.T, r *rig) {
			r.connect2("CP", 2)
			s := r.tell("CP", (&step2{step: started, at: 0, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", wh: 100}).report())
			connect(r, "ocpp1.6")
			r.at("CP", func(st *Station) {
				if err := st.Meter(MeterReport{EVSE: 1, Connector: 1, Transaction: p("17"), Samples: []event.Sample{energy(base.Add(20*time.Second), "", 120)}}); err != nil {
					t.Error(err)
				}
			})
			got := r.end("CP", StopReport{Transaction: "17", MeterWh: p(int64(150)), Time: said(base.Add(time.Minute))})
			if got.Session != s.Session || got.Orphan {
				t.Errorf("stopped %+v, want session %s", got, s.Session)
			}
		})
	})
}

// E02.FR.19: the phases in use are news where they change, not with every value.
func TestPhasesUsed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect2("CP", 1)
		for i, phases := range []int{3, 3, 3, 1, 1} {
			rep := (&step2{step: updated, seq: int64(i), at: i, evse: 1, conn: 1, trigger: "meter_periodic", wh: 5}).report()
			if i == 0 {
				rep.Step = started
			}
			rep.PhasesUsed, rep.CableMaxA = phases, 32
			r.tell("CP", rep)
			if i == 2 {
				r.restart()
			}
		}
		var got []int
		for _, u := range kept[*event.SessionUpdated](r.journal) {
			if u.PhasesUsed+u.CableA != 0 {
				got = append(got, u.PhasesUsed, u.CableA)
			}
		}
		if want := []int{3, 32, 1, 0}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}

// A session that was taken to be over goes on with what is heard of it, until the
// station says again that it is over, or ends it.
func TestGoesOn(t *testing.T) {
	tests := []struct {
		name string
		do   func(r *rig, d *askingDevice)
		want []string
	}{
		{"and is over at last", func(r *rig, d *askingDevice) {
			r.execute(event.Command{ID: "c1", Type: event.CommandStop, Station: "CP", EVSE: 1})
			if len(d.orders) != 1 || d.orders[0].Transaction != "T1" {
				r.t.Errorf("stop names %+v", d.orders)
			}
			r.pass(5 * time.Minute)
		}, []string{"1/1 updated meter_periodic", "1/1 updated meter_periodic 50", "1/1 ended other 5-50=45 900s [inferred gap]"}},
		{"and ends", func(r *rig, _ *askingDevice) {
			r.tell("CP", (&step2{step: finish, seq: 2, at: 960, trigger: "local"}).report())
			r.pass(5 * time.Minute)
		}, []string{"1/1 updated meter_periodic", "1/1 updated meter_periodic 50", "1/1 ended local 5-50=45 960s [gap]"}},
		{"over a restart", func(r *rig, _ *askingDevice) {
			r.restart()
			r.tell("CP", (&step2{step: updated, seq: 2, at: 930, trigger: "charging_state", state: "suspended_ev", wh: 60}).report())
			r.tell("CP", (&step2{step: finish, seq: 3, at: 960, trigger: "local", wh: 61, context: "end"}).report())
		}, []string{"1/1 updated meter_periodic", "1/1 updated meter_periodic 50", "1/1 updated charging_state suspended_ev", "1/1 updated charging_state 60", "1/1 ended local 5-61=56 960s"}},
		{"unless another has begun there", func(r *rig, _ *askingDevice) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 930, tx: "T2", evse: 1, conn: 1, trigger: "authorized", wh: 60}).report())
			r.tell("CP", (&step2{step: updated, seq: 2, at: 940, trigger: "charging_state", state: "charging"}).report())
		}, []string{"1/1 updated meter_periodic", "1/1 updated meter_periodic 50", "1/1 ended other 5-50=45 930s [superseded gap]", "1/1 started authorized 60", "1/1 updated charging_state"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				_, c := r.connect2("CP", 1)
				r.tell("CP", (&step2{step: started, at: 0, evse: 1, conn: 1, trigger: "authorized", state: "charging", wh: 5}).report())
				r.at("CP", func(st *Station) {
					if err := st.Disconnected(c, 1006, "gone"); err != nil {
						t.Error(err)
					}
				})
				r.pass(time.Minute)
				no := false
				d := &askingDevice{answer: func(f func(*bool, bool, bool)) { f(&no, false, true) }}
				r.at("CP", func(st *Station) {
					if _, err := st.Connected(d, ConnectionInfo{Protocol: "ocpp2.0.1"}); err != nil {
						t.Error(err)
					}
				})
				r.pass(13 * time.Minute)
				if n := len(kept[*event.SessionEnded](r.journal)); n != 1 {
					t.Fatalf("%d ends, want one that is inferred", n)
				}
				from := len(r.journal.events)
				r.pass(time.Minute)
				r.tell("CP", (&step2{step: updated, seq: 1, at: 900, trigger: "meter_periodic", wh: 50}).report())
				tt.do(r, d)
				got := slices.DeleteFunc(story(r.journal, from), func(s string) bool { return strings.Contains(s, "command") })
				if !slices.Equal(got, tt.want) {
					t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
				}
			})
		})
	}
}
