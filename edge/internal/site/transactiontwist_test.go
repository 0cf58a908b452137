package site

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// What a station does to a transaction that no book describes costs no energy and
// counts none twice.
func TestTransactionTwists(t *testing.T) {
	tests := []struct {
		name string
		do   func(r *rig)
		want []string
	}{
		{"the same id again, counted anew, while the one before never ended", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", wh: 100, context: "begin"}).report())
			r.tell("CP", (&step2{step: updated, seq: 1, at: 20, trigger: "charging_state", state: "charging", wh: 150}).report())
			r.tell("CP", (&step2{step: started, seq: 0, at: 200, evse: 1, conn: 1, trigger: "authorized", card: "OTHER", wh: 160, context: "begin"}).report())
			r.tell("CP", (&step2{step: finish, seq: 1, at: 300, trigger: "local", wh: 400, context: "end"}).report())
		}, []string{
			"1/1 token GOOD accepted",
			"1/1 started authorized r:GOOD=accepted by cloud 100",
			"1/1 updated authorized reading:begin",
			"1/1 updated charging_state charging",
			"1/1 ended other r:GOOD 100-150=50 190s [superseded gap]",
			"1/1 token OTHER invalid",
			"1/1 started authorized r:OTHER=invalid by cloud 160 [unauthorized]",
			"1/1 updated authorized reading:begin",
			"1/1 ended local r:OTHER 160-400=240 100s [unauthorized]",
		}},
		{"the same id again after a reset that cost the clock as well", func(r *rig) {
			say := func(s step2, raw string) {
				rep := s.report()
				rep.Time = ReportedTime{Raw: raw, Quality: TimeUnset}
				r.tell("CP", rep)
			}
			say(step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", wh: 100, context: "begin"}, "1970-01-01T00:00:10Z")
			say(step2{step: finish, seq: 1, at: 20, trigger: "local", wh: 150, context: "end"}, "1970-01-01T00:00:20Z")
			say(step2{step: started, seq: 0, at: 110, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", wh: 150, context: "begin"}, "1970-01-01T00:00:12Z")
			say(step2{step: finish, seq: 1, at: 120, trigger: "local", wh: 190, context: "end"}, "1970-01-01T00:00:22Z")
		}, []string{
			"1/1 token GOOD accepted",
			"1/1 started authorized r:GOOD=accepted by cloud 100 [clock]",
			"1/1 updated authorized reading:begin",
			"1/1 ended local r:GOOD 100-150=50 0s [clock]",
			"1/1 token GOOD accepted",
			"1/1 started authorized r:GOOD=accepted by cache 150 [clock]",
			"1/1 updated authorized reading:begin",
			"1/1 ended local r:GOOD 150-190=40 0s [clock]",
		}},
		{"a register that comes late is nearer to the begin", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized"}).report())
			r.tell("CP", (&step2{step: updated, seq: 2, at: 40, trigger: "meter_periodic", wh: 100}).report())
			r.tell("CP", (&step2{step: updated, seq: 1, at: 20, trigger: "meter_periodic", wh: 60}).report())
			r.tell("CP", (&step2{step: finish, seq: 3, at: 50, trigger: "local", wh: 200, context: "end"}).report())
		}, []string{
			"1/1 started authorized",
			"1/1 updated meter_periodic 100",
			"1/1 ended local 60-200=140 40s",
		}},
		{"a begin that comes late, without a register", func(r *rig) {
			r.tell("CP", (&step2{step: updated, seq: 1, at: 20, evse: 1, conn: 1, trigger: "meter_periodic", wh: 60}).report())
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized"}).report())
			r.tell("CP", (&step2{step: updated, seq: 2, at: 40, trigger: "meter_periodic", wh: 100}).report())
			r.tell("CP", (&step2{step: finish, seq: 3, at: 50, trigger: "local", wh: 200, context: "end"}).report())
		}, []string{
			"1/1 started meter_periodic [recovered unknown_energy]",
			"1/1 started authorized 60",
			"1/1 ended local 60-200=140 40s",
		}},
		{"E05 another token after one that was refused", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "BAD", wh: 5}).report())
			if d := r.tell("CP", (&step2{step: updated, seq: 1, at: 20, trigger: "authorized", card: "GOOD"}).report()); d.Decision != accepted {
				r.t.Errorf("second %s", d.Decision)
			}
			r.tell("CP", (&step2{step: finish, seq: 2, at: 50, trigger: "local", wh: 200, context: "end"}).report())
		}, []string{
			"1/1 token BAD invalid",
			"1/1 started authorized r:BAD=invalid by cloud 5 [unauthorized]",
			"1/1 token GOOD accepted",
			"1/1 updated authorized r:GOOD=accepted by cloud",
			"1/1 ended local r:GOOD 5-200=195 40s [unauthorized]",
		}},
		{"values of the clock that were kept back since before the begin", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: -600, evse: 1, conn: 1, trigger: "authorized", state: "ev_connected", offline: true}).report())
			r.at("CP", func(st *Station) {
				if err := st.Meter(MeterReport{EVSE: 1, Samples: []event.Sample{energy(base.Add(-time.Hour), "clock", 100)}}); err != nil {
					r.t.Error(err)
				}
			})
			r.tell("CP", (&step2{step: updated, seq: 1, at: -500, trigger: "meter_periodic", wh: 30_100}).report())
			r.tell("CP", (&step2{step: finish, seq: 2, at: 0, trigger: "local", wh: 31_000, context: "end"}).report())
		}, []string{
			"1/1 started authorized ev_connected [offline]",
			"1/1 updated meter_periodic 30100",
			"1/1 ended local 30100-31000=900 600s [offline]",
		}},
		{"what was kept back of a lost transaction does not end the newer one", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, tx: "T2", evse: 1, conn: 1, trigger: "authorized", state: "charging", wh: 100, context: "begin"}).report())
			r.tell("CP", (&step2{step: updated, seq: 7, at: -3600, evse: 1, conn: 1, trigger: "meter_periodic", wh: 50, offline: true}).report())
			r.tell("CP", (&step2{step: finish, seq: 8, at: -3500, trigger: "local", wh: 60, context: "end", offline: true}).report())
			r.tell("CP", (&step2{step: updated, seq: 1, tx: "T2", at: 20, trigger: "meter_periodic", wh: 150}).report())
			r.tell("CP", (&step2{step: finish, seq: 2, tx: "T2", at: 40, trigger: "local"}).report())
		}, []string{
			"1/1 started authorized charging 100",
			"1/1 updated authorized reading:begin",
			"1/1 started meter_periodic [recovered unknown_energy offline]",
			"1/1 ended local -60= 0s [recovered unknown_energy offline]",
			"1/1 ended local 100-150=50 30s [gap]",
		}},
		{"values after an assumed end, and an end without any", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", state: "charging", wh: 100, context: "begin"}).report())
			r.tell("CP", (&step2{step: started, seq: 0, at: 11, tx: "T2", evse: 1, conn: 1, trigger: "authorized", wh: 110}).report())
			r.tell("CP", (&step2{step: updated, seq: 1, at: 20, trigger: "meter_periodic", wh: 150}).report())
			r.tell("CP", (&step2{step: finish, seq: 2, at: 40, trigger: "local"}).report())
		}, []string{
			"1/1 started authorized charging 100",
			"1/1 updated authorized reading:begin",
			"1/1 ended other 100-100=0 1s [superseded gap]",
			"1/1 started authorized 110",
			"1/1 ended local 100-150=50 30s [gap]",
		}},
		{"quirk 3 an end from before the session of another protocol", func(r *rig) {
			r.at("CP", func(st *Station) { st.info.Protocol = "ocpp1.6" })
			r.begin("CP", 1, "GOOD", 100)
			r.at("CP", func(st *Station) { st.info.Protocol = "ocpp2.0.1" })
			r.tell("CP", (&step2{step: finish, seq: 8, at: -3500, evse: 1, conn: 1, trigger: "local", wh: 60, context: "end", offline: true}).report())
		}, []string{
			"1/1 token GOOD accepted",
			"1/1 started authorized u:GOOD=accepted by cloud 100",
			"1/1 ended local -60= 0s [recovered unknown_energy offline]",
		}},
		{"quirk 3 a start of 1.6 where a transaction of 2.0.1 named no connector", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 0, evse: 3, trigger: "authorized", wh: 100}).report())
			r.at("CP", func(st *Station) { st.info.Protocol = "ocpp1.6" })
			r.pass(10 * time.Second)
			r.begin("CP", 3, "GOOD", 150)
		}, []string{
			"3/0 started authorized 100",
			"3/0 ended other 100-100=0 10s [superseded gap]",
			"3/1 token GOOD accepted",
			"3/1 started authorized u:GOOD=accepted by cloud 150",
		}},
		{"quirk 64 numbers that stand still, twice in a second", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "cable_plugged_in", state: "ev_connected"}).report())
			r.tell("CP", (&step2{step: updated, seq: 0, at: 11, trigger: "authorized", card: "GOOD"}).report())
			r.tell("CP", (&step2{step: updated, seq: 0, at: 11, trigger: "charging_state", state: "charging", wh: 100, context: "begin"}).report())
			r.tell("CP", (&step2{step: finish, seq: 0, at: 50, trigger: "local", wh: 200, context: "end"}).report())
		}, []string{
			"1/1 started cable_plugged_in ev_connected",
			"1/1 token GOOD accepted",
			"1/1 updated authorized r:GOOD=accepted by cloud",
			"1/1 updated charging_state charging",
			"1/1 updated charging_state reading:begin",
			"1/1 ended local r:GOOD 100-200=100 40s",
		}},
		{"the register of the end among others that must not wait", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 100, context: "begin"}).report())
			rep := (&step2{step: finish, seq: 1, at: 50, trigger: "local", wh: 200, context: "end"}).report()
			s := energy(base.Add(30*time.Second), "clock", 150)
			s.Signed = []event.Signed{{Data: "x"}}
			i := energy(base.Add(20*time.Second), "interruption_end", 120)
			rep.Readings = append(rep.Readings, s, i)
			r.tell("CP", rep)
		}, []string{
			"1/1 started authorized 100",
			"1/1 updated authorized reading:begin",
			"1/1 ended local 100-200=100 40s",
		}},
		{"aligned values with the end are older than the last that was heard", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 100, context: "begin"}).report())
			r.tell("CP", (&step2{step: updated, seq: 1, at: 40, trigger: "meter_periodic", wh: 180}).report())
			rep := (&step2{step: finish, seq: 2, at: 50, trigger: "local"}).report()
			rep.Readings = []event.Sample{energy(base.Add(20*time.Second), "clock", 120), energy(base.Add(30*time.Second), "clock", 150)}
			r.tell("CP", rep)
		}, []string{
			"1/1 started authorized 100",
			"1/1 updated authorized reading:begin",
			"1/1 ended local 100-180=80 40s [gap]",
		}},
		{"the values of the way come after an end without any, over a restart", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", wh: 100}).report())
			r.tell("CP", (&step2{step: finish, seq: 3, at: 50, trigger: "ev_departed", reason: "ev_disconnected"}).report())
			r.tell("CP", (&step2{step: updated, seq: 1, at: 20, trigger: "meter_periodic", wh: 120}).report())
			r.restart()
			r.tell("CP", (&step2{step: updated, seq: 2, at: 40, trigger: "meter_periodic", wh: 180}).report())
			r.tell("CP", (&step2{step: updated, seq: 2, at: 40, trigger: "meter_periodic", wh: 180}).report())
			r.tell("CP", (&step2{step: finish, seq: 3, at: 50, trigger: "ev_departed", reason: "ev_disconnected"}).report())
		}, []string{
			"1/1 token GOOD accepted",
			"1/1 started authorized r:GOOD=accepted by cloud 100",
			"1/1 ended ev_disconnected r:GOOD 100-100=0 40s [gap]",
			"1/1 ended ev_disconnected r:GOOD 100-120=20 40s [gap]",
			"1/1 updated meter_periodic 180",
			"1/1 ended ev_disconnected r:GOOD 100-180=80 40s [gap]",
		}},
		{"values name no transaction while an older one waits for its end, after a restart", func(r *rig) {
			r.tell("CP", (&step2{step: started, seq: 0, at: 20, tx: "T2", evse: 1, conn: 1, trigger: "authorized", wh: 200}).report())
			r.tell("CP", (&step2{step: started, seq: 0, at: 5, evse: 1, conn: 1, trigger: "authorized", wh: 100, offline: true}).report())
			r.restart()
			r.at("CP", func(st *Station) {
				if err := st.Meter(MeterReport{EVSE: 1, Samples: []event.Sample{energy(base.Add(60*time.Second), "clock", 260)}}); err != nil {
					r.t.Error(err)
				}
			})
			r.tell("CP", (&step2{step: finish, seq: 1, at: 15, trigger: "local", offline: true}).report())
			r.tell("CP", (&step2{step: finish, seq: 1, at: 70, tx: "T2", trigger: "local"}).report())
		}, []string{
			"1/1 started authorized 200",
			"1/1 started authorized 100 [meter_regression offline]",
			"1/1 updated meter_clock 260",
			"1/1 ended local 100-100=0 10s [gap meter_regression offline]",
			"1/1 ended local 200-260=60 50s [gap]",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				r.connect2("CP", 2)
				from := len(r.journal.events)
				tt.do(r)
				if got := story(r.journal, from); !slices.Equal(got, tt.want) {
					t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
				}
			})
		})
	}
}
