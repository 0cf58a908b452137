package site

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// story tells events in short lines, in their order, without what every one has.
func story(j *fakeJournal, from int) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	add := func(at event.Address, format string, args ...any) {
		line := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
		out = append(out, fmt.Sprintf("%d/%d %s", at.EVSE, at.Connector, line))
	}
	num := func(v *int64) string {
		if v == nil {
			return ""
		}
		return fmt.Sprint(*v)
	}
	who := func(t *event.Token, a *event.Authorization) string {
		s := ""
		if t != nil {
			s = t.Type[:1] + ":" + t.Value
		}
		if a != nil {
			s += "=" + a.Decision + " by " + a.By
		}
		return s
	}
	list := func(f []event.Flag) string {
		if len(f) == 0 {
			return ""
		}
		return fmt.Sprint(f)
	}
	for _, d := range j.events[from:] {
		switch p := d.Data.(type) {
		case *event.SessionStarted:
			add(d.Address, "started %s %s %s %s %s", p.Trigger, p.ChargingState, who(p.Token, p.Authorization), num(p.MeterWh), list(p.Flags))
		case *event.SessionUpdated:
			signed := ""
			if p.Reading != nil {
				signed = "reading:" + p.Reading.Context
			}
			add(d.Address, "updated %s %s %s %s %s %s", p.Trigger, p.ChargingState, who(p.Token, p.Authorization), num(p.MeterWh), signed, list(p.Flags))
		case *event.SessionEnded:
			add(d.Address, "ended %s %s %s-%s=%s %ds %s", p.Reason, who(p.Token, nil), num(p.MeterStartWh), num(p.MeterStopWh), num(p.EnergyWh), p.DurationS, list(p.Flags))
		case *event.TokenAuthorized:
			add(d.Address, "token %s %s", p.Token.Value, p.Decision)
		case *event.StationStatus:
			add(d.Address, "status %s %s", p.Status, p.ErrorCode)
		case *event.ReservationUpdated:
			add(d.Address, "reservation %d %s", p.Reservation, p.Status)
		case *event.ProfileUpdated:
			add(d.Address, "profile %s %s %s", p.Status, p.Source, p.Reason)
		case *event.CommandUpdated:
			add(d.Address, "command %s", p.State)
		}
	}
	return out
}

// connect2 is connect for a station of OCPP 2.0.1.
func (r *rig) connect2(id event.StationID, evses int) (*fakeDevice, Connection) {
	d, c := r.connect(id, evses)
	r.at(id, func(st *Station) { st.info.Protocol = "ocpp2.0.1" })
	return d, c
}

func (r *rig) tell(id event.StationID, rep TransactionReport) TransactionResult {
	r.t.Helper()
	var out TransactionResult
	r.at(id, func(st *Station) {
		var err error
		if out, err = st.Transaction(rep); err != nil {
			r.t.Error(err)
		}
	})
	return out
}

func seq(n int64) *int64 { return &n }

// energy is a reading of the register.
func energy(at time.Time, context string, wh int64) event.Sample {
	return event.Sample{Time: at, DeviceTime: at.Format(time.RFC3339), Context: context, EnergyWh: &wh}
}

// step2 is a shorter way to write a TransactionReport: a second after base for
// each of its place in the table, unless at says otherwise.
type step2 struct {
	step    TransactionStep
	seq     int64 // below 0: none
	at      int   // seconds after base
	tx      string
	evse    int
	conn    int
	trigger string
	state   string
	card    string // "-": nobody has to show one
	wh      int64
	context string // of wh
	offline bool
	status  event.Status // a status instead
	remote  int
	reserve int
	reason  string
	wait    time.Duration // before
	restart bool          // the gateway, before
	want    string        // decision
}

func (s *step2) report() TransactionReport {
	at := base.Add(time.Duration(s.at) * time.Second)
	r := TransactionReport{
		Step: s.step, Transaction: "T1", Time: said(at), Trigger: s.trigger, Offline: s.offline, EVSE: s.evse, Connector: s.conn,
		ChargingState: s.state, RemoteStart: s.remote, Reservation: s.reserve, Reason: s.reason,
	}
	if s.tx != "" {
		r.Transaction = s.tx
	}
	if s.seq >= 0 {
		r.Sequence = seq(s.seq)
	}
	switch s.card {
	case "":
	case "-":
		r.Token = &event.Token{Type: tokenNone}
	default:
		r.Token = &event.Token{Type: "rfid", Value: s.card}
	}
	if s.wh > 0 {
		r.Readings = []event.Sample{energy(at, s.context, s.wh)}
	}
	return r
}

const (
	started = TransactionStarted
	updated = TransactionUpdated
	finish  = TransactionEnded
)

func TestTransaction(t *testing.T) {
	const occupied = event.StatusOccupied
	tests := []struct {
		name  string
		cfg   Config
		steps []step2
		want  []string
	}{
		{
			name: "E02.FR.20 cable first, the token is known later",
			steps: []step2{
				{status: occupied},
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "cable_plugged_in", state: "ev_connected", wh: 1000, context: "begin"},
				{step: updated, seq: 1, at: 20, trigger: "authorized", card: "GOOD", want: accepted},
				{step: updated, seq: 2, at: 30, trigger: "charging_state", state: "charging"},
				{step: updated, seq: 3, at: 40, trigger: "meter_periodic", wh: 1010},
				{step: updated, seq: 4, at: 50, trigger: "stop_authorized", card: "GOOD", want: accepted},
				{step: updated, seq: 5, at: 60, trigger: "charging_state", state: "ev_connected"},
				{step: finish, seq: 6, at: 3610, trigger: "ev_communication_lost", wh: 9000, context: "end", wait: time.Hour},
				{status: event.StatusAvailable},
			},
			want: []string{
				"1/1 status occupied",
				"1/1 started cable_plugged_in ev_connected 1000", "1/1 updated cable_plugged_in reading:begin", "1/1 status preparing",
				"1/1 token GOOD accepted", "1/1 updated authorized r:GOOD=accepted by cloud",
				"1/1 updated charging_state charging", "1/1 status charging",
				"1/1 updated stop_authorized",
				"1/1 updated charging_state ev_connected", "1/1 status finishing",
				"1/1 ended local r:GOOD 1000-9000=8000 3600s",
				"1/1 status available",
			},
		},
		{
			name: "E03.FR.01 token first, EVSE and begin come with the cable (E02.FR.21)",
			steps: []step2{
				{step: started, seq: 0, at: 10, trigger: "authorized", card: "GOOD", want: accepted, wait: time.Second},
				{step: updated, seq: 1, at: 30, trigger: "cable_plugged_in", state: "ev_connected", evse: 2, conn: 1},
				{step: updated, seq: 2, at: 40, trigger: "charging_state", state: "charging", wh: 500, context: "begin"},
				{step: updated, seq: 3, at: 60, trigger: "meter_periodic", wh: 600},
				{step: finish, seq: 4, at: 110, trigger: "ev_departed", reason: "ev_disconnected"},
			},
			want: []string{
				"0/0 token GOOD accepted", "0/0 started authorized r:GOOD=accepted by cloud",
				"2/1 updated cable_plugged_in ev_connected",
				"2/1 updated charging_state charging", "2/1 updated charging_state reading:begin",
				"2/1 updated meter_periodic 600",
				"2/1 ended ev_disconnected r:GOOD 500-600=100 100s [gap]",
			},
		},
		{
			name: "E05.FR.01 a token that is not accepted",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "BAD", want: invalid, wh: 5},
				{step: updated, seq: 1, at: 20, trigger: "deauthorized", state: "suspended_evse"},
				{step: finish, seq: 2, at: 30, trigger: "deauthorized", reason: "deauthorized", wh: 5, context: "end"},
			},
			want: []string{
				"1/1 token BAD invalid", "1/1 started authorized r:BAD=invalid by cloud 5 [unauthorized]",
				"1/1 updated deauthorized suspended_evse",
				"1/1 ended deauthorized r:BAD 5-5=0 20s [unauthorized]",
			},
		},
		{
			name: "C02 nobody has to show a token",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "cable_plugged_in", card: "-", want: accepted, wh: 5},
				{step: finish, seq: 1, at: 30, trigger: "ev_departed", card: "-", want: accepted, wh: 15, context: "end"},
			},
			want: []string{"1/1 token accepted", "1/1 started cable_plugged_in n:=accepted by station 5", "1/1 ended local n: 5-15=10 20s"},
		},
		{
			name: "E13.FR.02 what is sent again is one event",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
				{step: updated, seq: 1, at: 20, trigger: "charging_state", state: "charging"},
				{step: updated, seq: 1, at: 20, trigger: "charging_state", state: "charging"},
				{step: finish, seq: 2, at: 30, trigger: "local", wh: 15, context: "end", restart: true},
				{step: finish, seq: 2, at: 30, trigger: "local", wh: 15, context: "end"},
				{step: finish, seq: 2, at: 30, trigger: "local", wh: 15, context: "end", restart: true},
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
			},
			want: []string{
				"1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cloud 5",
				"1/1 updated charging_state charging", "1/1 ended local r:GOOD 5-15=10 20s",
			},
		},
		{
			name: "E02.FR.07 a hole in the numbers",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 5},
				{step: updated, seq: 3, at: 20, trigger: "charging_state", state: "charging"},
				{step: finish, seq: 4, at: 30, trigger: "local", wh: 15, context: "end"},
			},
			want: []string{"1/1 started authorized 5", "1/1 updated charging_state charging", "1/1 ended local 5-15=10 20s [gap]"},
		},
		{
			name: "E02.FR.07 what fills the hole comes late and changes no state",
			steps: []step2{
				{step: started, seq: 10, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 5},
				{step: updated, seq: 12, at: 30, trigger: "charging_state", state: "charging"},
				{step: updated, seq: 11, at: 20, trigger: "charging_state", state: "ev_connected"},
				{step: finish, seq: 13, at: 40, trigger: "local", wh: 15, context: "end"},
			},
			want: []string{"1/1 started authorized 5", "1/1 updated charging_state charging", "1/1 ended local 5-15=10 30s"},
		},
		{
			name: "quirk 64 numbers that begin anew: the end is no old update",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 5},
				{step: updated, seq: 1, at: 20, trigger: "charging_state", state: "charging"},
				{step: updated, seq: 0, at: 30, trigger: "charging_state", state: "suspended_ev"},
				{step: finish, seq: 1, at: 40, trigger: "local", wh: 15, context: "end"},
			},
			want: []string{
				"1/1 started authorized 5", "1/1 updated charging_state charging",
				"1/1 updated charging_state suspended_ev", "1/1 ended local 5-15=10 30s",
			},
		},
		{
			name: "quirk 64 numbers that stand still",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 5},
				{step: updated, seq: 0, at: 10, trigger: "cable_plugged_in", state: "ev_connected"},
				{step: updated, seq: 0, at: 10, trigger: "cable_plugged_in", state: "ev_connected"},
				{step: updated, seq: 0, at: 20, trigger: "charging_state", state: "charging"},
				{step: finish, seq: 0, at: 40, trigger: "local", wh: 15, context: "end"},
			},
			want: []string{
				"1/1 started authorized 5", "1/1 updated cable_plugged_in ev_connected",
				"1/1 updated charging_state charging", "1/1 ended local 5-15=10 30s",
			},
		},
		{
			name: "E04.FR.03 all of it happened offline",
			steps: []step2{
				{step: started, seq: 0, at: -7200, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5, offline: true},
				{step: finish, seq: 1, at: -3600, trigger: "local", wh: 15, context: "end", offline: true},
			},
			want: []string{
				"1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cloud 5 [offline]",
				"1/1 ended local r:GOOD 5-15=10 3600s [offline]",
			},
		},
		{
			name: "the begin was lost: recovered from an update",
			steps: []step2{
				{step: updated, seq: 4, at: 20, evse: 1, conn: 1, trigger: "charging_state", state: "charging", wh: 10},
				{step: finish, seq: 5, at: 40, trigger: "local", wh: 15, context: "end"},
			},
			want: []string{
				"1/1 started charging_state charging [recovered unknown_energy]",
				"1/1 ended local -15= 0s [recovered unknown_energy]",
			},
		},
		{
			name: "the begin comes after all",
			steps: []step2{
				{step: updated, seq: 4, at: 20, evse: 1, conn: 1, trigger: "charging_state", state: "charging", wh: 10},
				{step: started, seq: 3, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
				{step: finish, seq: 5, at: 40, trigger: "local", wh: 15, context: "end"},
			},
			want: []string{
				"1/1 started charging_state charging [recovered unknown_energy]",
				"1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cloud 5",
				"1/1 ended local r:GOOD 5-15=10 30s",
			},
		},
		{
			name: "an end that nobody knows, with all registers in it",
			steps: []step2{
				{step: finish, seq: 5, at: 40, evse: 2, conn: 1, trigger: "local", wh: 15, context: "end"},
				{step: started, seq: 3, at: 10, evse: 2, conn: 1, trigger: "authorized", wh: 5},
			},
			want: []string{"2/1 ended local -15= 0s [recovered unknown_energy]", "2/1 started authorized 5"},
		},
		{
			name: "two EVSEs, and a second transaction at one of them supersedes",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 5},
				{step: started, seq: 0, at: 11, tx: "T2", evse: 2, conn: 1, trigger: "authorized", wh: 7},
				{step: started, seq: 0, at: 20, tx: "T3", evse: 1, conn: 1, trigger: "authorized", wh: 9},
				{step: finish, seq: 1, at: 15, trigger: "local", wh: 8, context: "end", offline: true},
				{step: finish, seq: 1, at: 31, tx: "T2", trigger: "local", wh: 17, context: "end"},
			},
			want: []string{
				"1/1 started authorized 5", "2/1 started authorized 7",
				"1/1 ended other 5-5=0 10s [superseded gap]", "1/1 started authorized 9",
				"1/1 ended local 5-8=3 5s [offline]", "2/1 ended local 7-17=10 20s",
			},
		},
		{
			name: "an older one that was kept back does not end the newer",
			steps: []step2{
				{step: started, seq: 0, at: 20, tx: "T2", evse: 1, conn: 1, trigger: "authorized", wh: 9},
				{step: started, seq: 0, at: 5, evse: 1, conn: 1, trigger: "authorized", wh: 5, offline: true},
				{step: finish, seq: 1, at: 15, trigger: "local", wh: 8, context: "end", offline: true},
				{step: finish, seq: 1, at: 30, tx: "T2", trigger: "local", wh: 12, context: "end"},
			},
			want: []string{
				"1/1 started authorized 9", "1/1 started authorized 5 [meter_regression offline]",
				"1/1 ended local 5-8=3 10s [meter_regression offline]", "1/1 ended local 9-12=3 10s",
			},
		},
		{
			name: "quirk 56 the same id again after a start of the station",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 5},
				{step: finish, seq: 1, at: 20, trigger: "local", wh: 8, context: "end"},
				{step: started, seq: 0, at: 30, evse: 1, conn: 1, trigger: "authorized", wh: 8},
				{step: finish, seq: 1, at: 40, trigger: "local", wh: 9, context: "end"},
			},
			want: []string{
				"1/1 started authorized 5", "1/1 ended local 5-8=3 10s",
				"1/1 started authorized 8", "1/1 ended local 8-9=1 10s",
			},
		},
		{
			name: "the first register is the begin's; one after energy has flowed leaves a gap",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized"},
				{step: updated, seq: 1, at: 20, trigger: "charging_state", state: "charging"},
				{step: updated, seq: 2, at: 80, trigger: "meter_periodic", wh: 100},
				{step: finish, seq: 3, at: 90, trigger: "local", wh: 115, context: "end"},
			},
			want: []string{
				"1/1 started authorized", "1/1 updated charging_state charging", "1/1 updated meter_periodic 100",
				"1/1 ended local 100-115=15 80s [gap]",
			},
		},
		{
			name: "quirk 70 a register that counts each session on its own",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", wh: 50_000},
				{step: updated, seq: 1, at: 20, trigger: "meter_clock", wh: 10},
				{step: updated, seq: 2, at: 80, trigger: "meter_periodic", wh: 100},
				{step: finish, seq: 3, at: 90, trigger: "local", wh: 115, context: "end"},
			},
			want: []string{
				"1/1 started authorized 50000", "1/1 updated meter_clock [meter_regression]",
				"1/1 ended local 50000-115=105 80s [suspect meter_regression]",
			},
		},
		{
			name: "a restart of the gateway in mid-session makes no hole and forgets nothing",
			steps: []step2{
				{status: occupied},
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
				{step: updated, seq: 1, at: 20, trigger: "charging_state", state: "charging"},
				{step: updated, seq: 2, at: 30, trigger: "meter_periodic", wh: 6},
				{step: updated, seq: 4, at: 50, trigger: "meter_periodic", wh: 7, restart: true},
				{status: occupied},
				{step: updated, seq: 5, at: 60, trigger: "charging_state", state: "charging"},
				{step: updated, seq: 6, at: 65, trigger: "authorized", card: "GOOD", want: accepted},
				{step: finish, seq: 7, at: 70, trigger: "stop_authorized", card: "GOOD", want: accepted, wh: 15, context: "end"},
			},
			want: []string{
				"1/1 status occupied", "1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cloud 5",
				"1/1 updated charging_state charging", "1/1 status charging",
				"1/1 updated meter_periodic 7", "1/1 status charging", "1/1 updated charging_state", "1/1 updated authorized",
				"1/1 ended local r:GOOD 5-15=10 60s", "1/1 status finishing",
			},
		},
		{
			name: "C16 a master pass ends and does not begin", cfg: Config{MasterPassGroup: "masters"},
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
				{step: started, seq: 0, at: 20, tx: "T2", evse: 2, conn: 1, trigger: "authorized", card: "MASTER", want: invalid, wh: 5},
				{step: finish, seq: 1, at: 40, trigger: "stop_authorized", card: "MASTER", want: accepted, reason: "master_pass", wh: 8, context: "end"},
			},
			want: []string{
				"1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cloud 5",
				"2/1 token MASTER invalid", "2/1 started authorized r:MASTER=invalid by local_list 5 [unauthorized]",
				"1/1 ended master_pass r:MASTER 5-8=3 30s",
			},
		},
		{
			name: "a token that charges already, where that is not wanted", cfg: Config{RefuseConcurrent: true},
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
				{step: started, seq: 0, at: 20, tx: "T2", evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted, wh: 5},
				{step: started, seq: 0, at: 30, tx: "T3", evse: 2, conn: 1, trigger: "authorized", card: "GOOD", want: concurrent, wh: 5},
			},
			want: []string{
				"1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cloud 5",
				"1/1 ended other r:GOOD 5-5=0 10s [superseded gap]",
				"1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cache 5",
				"2/1 token GOOD concurrent", "2/1 started authorized r:GOOD=concurrent by cache 5 [unauthorized]",
			},
		},
		{
			name: "E14 a session of which only the card is there is not over though the place is free",
			steps: []step2{
				{step: started, seq: 0, at: 10, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", want: accepted},
				{status: event.StatusAvailable},
				{step: updated, seq: 1, at: 200, trigger: "cable_plugged_in", state: "ev_connected", wait: 3 * time.Minute},
			},
			want: []string{
				"1/1 token GOOD accepted", "1/1 started authorized r:GOOD=accepted by cloud", "1/1 status available",
				"1/1 updated cable_plugged_in ev_connected",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.cfg, func(t *testing.T, r *rig) {
				r.site.SetTokens("tokens-00", []TokenInfo{{Token: card("MASTER"), Decision: accepted, Parent: "masters"}})
				r.connect2("CP", 2)
				from := len(r.journal.events)
				for i := range tt.steps {
					s := &tt.steps[i]
					if s.restart {
						r.restart()
						before := len(r.journal.events)
						r.at("CP", func(st *Station) {
							if _, err := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp2.0.1"}); err != nil {
								t.Error(err)
							}
						})
						r.journal.events = slices.Delete(r.journal.events, before, len(r.journal.events))
					}
					r.pass(max(s.wait, time.Millisecond))
					if s.status != "" {
						r.status("CP", 1, s.status)
						continue
					}
					if got := r.tell("CP", s.report()); got.Decision != s.want || got.Session == "" {
						t.Errorf("step %d: decided %q, want %q; session %q", i, got.Decision, s.want, got.Session)
					}
				}
				if got := story(r.journal, from); !slices.Equal(got, tt.want) {
					t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
				}
			})
		})
	}
}

// A trail places every event.
func TestTrail(t *testing.T) {
	at := func(s int) ReportedTime { return said(base.Add(time.Duration(s) * time.Second)) }
	tests := []struct {
		name  string
		seqs  []int64 // below 0: none
		times []int
		want  string
		holes string
	}{
		{name: "one after the other", seqs: []int64{4, 5, 6}, times: []int{1, 2, 3}, want: "in order,in order,in order", holes: "[]"},
		{name: "two of one time", seqs: []int64{0, 1, 2}, times: []int{1, 1, 1}, want: "in order,in order,in order", holes: "[]"},
		{name: "a hole", seqs: []int64{0, 4}, times: []int{1, 2}, want: "in order,in order", holes: "[[1 3]]"},
		{name: "a hole half filled", seqs: []int64{0, 4, 2}, times: []int{1, 3, 2}, want: "in order,in order,late", holes: "[[1 1] [3 3]]"},
		{name: "late without a hole", seqs: []int64{5, 4}, times: []int{2, 1}, want: "in order,late", holes: "[]"},
		{name: "begun anew", seqs: []int64{5, 0, 1}, times: []int{1, 2, 3}, want: "in order,in order,in order", holes: "[]"},
		{name: "standing still", seqs: []int64{0, 0, 0}, times: []int{1, 1, 2}, want: "in order,in order,in order", holes: "[]"},
		{name: "no numbers", seqs: []int64{-1, -1, -1}, times: []int{1, 3, 2}, want: "in order,in order,late", holes: "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tr trail
			var got []string
			for i, n := range tt.seqs {
				var o order
				var s *int64
				if n >= 0 {
					s = seq(n)
				}
				tr, o = tr.next(uint64(i+1), s, at(tt.times[i]))
				got = append(got, o.String())
				if _, again := tr.next(uint64(i+1), s, at(tt.times[i])); again != repeated {
					t.Errorf("event %d again is %s", i, again)
				}
			}
			if s := strings.Join(got, ","); s != tt.want || fmt.Sprint(tr.holes) != tt.holes {
				t.Errorf("placed %s, holes %v; want %s, %s", s, tr.holes, tt.want, tt.holes)
			}
		})
	}
}

// What must be durable is, and what may wait does.
func TestTransactionDurable(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect2("CP", 1)
		steps := []struct {
			name   string
			s      step2
			commit bool
		}{
			{"begin", step2{step: started, seq: 0, at: 1, evse: 1, conn: 1, trigger: "authorized", wh: 5}, true},
			{"state", step2{step: updated, seq: 1, at: 2, trigger: "charging_state", state: "charging"}, true},
			{"values", step2{step: updated, seq: 2, at: 3, trigger: "meter_periodic", wh: 6}, false},
			{"values at an interruption", step2{step: updated, seq: 3, at: 4, trigger: "meter_periodic", wh: 6, context: "interruption_begin"}, true},
			{"first register of a quarter", step2{step: updated, seq: 4, at: 901, trigger: "meter_clock", wh: 7, context: "clock", wait: 15 * time.Minute}, true},
			{"second register of a quarter", step2{step: updated, seq: 5, at: 902, trigger: "meter_clock", wh: 7, context: "clock"}, false},
			{"end", step2{step: finish, seq: 6, at: 903, trigger: "local", wh: 8, context: "end"}, true},
		}
		for _, s := range steps {
			r.pass(s.s.wait + time.Second)
			before, samples := r.journal.commits, len(r.journal.samples)
			// what cannot be kept is not remembered either
			r.journal.refuse(func(c Change) bool { return len(c.Events) > 0 })
			r.journal.full = true
			r.at("CP", func(st *Station) {
				if _, err := st.Transaction(s.s.report()); err == nil {
					t.Errorf("%s: taken though the disk is full", s.name)
				}
			})
			r.journal.refuse(nil)
			r.journal.full = false
			r.tell("CP", s.s.report())
			if got := r.journal.commits > before; got != s.commit {
				t.Errorf("%s: durable at once is %v, want %v", s.name, got, s.commit)
			}
			if !s.commit && len(r.journal.samples) == samples {
				t.Errorf("%s: the sample was forgotten", s.name)
			}
		}
	})
}

// A fault that is told apart from the state stands beside it until it is taken
// away.
func TestFaultBesideStatus(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect2("CP", 1)
		from := len(r.journal.events)
		say := func(rep StatusReport) {
			rep.EVSE, rep.Connector = 1, 1
			r.at("CP", func(st *Station) {
				if err := st.Status(rep); err != nil {
					t.Error(err)
				}
			})
		}
		say(StatusReport{ErrorCode: "ground", Info: "RCD"})
		say(StatusReport{Status: event.StatusOccupied})
		r.tell("CP", (&step2{step: started, at: 1, evse: 1, conn: 1, trigger: "authorized", state: "charging"}).report())
		say(StatusReport{})
		say(StatusReport{Status: event.StatusFaulted})
		want := []string{
			"1/1 status available ground", "1/1 status occupied ground", "1/1 started authorized charging", "1/1 status charging ground",
			"1/1 status charging", "1/1 status faulted",
		}
		if got := story(r.journal, from); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestRetriedTransactionStartsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.shutdown()
		r.connect2("CP", 1)
		rep := (&step2{step: started, at: 1, evse: 1, conn: 1, trigger: "authorized", card: "GOOD", wh: 5}).report()
		r.journal.refuse(func(c Change) bool { return len(c.Events) > 0 })
		r.at("CP", func(st *Station) {
			if _, err := st.Transaction(rep); err == nil {
				t.Error("taken though nothing could be kept")
			}
		})
		r.journal.refuse(nil)
		first := r.tell("CP", rep)
		if again := r.tell("CP", rep); again != first {
			t.Errorf("answered %+v, then %+v", first, again)
		}
		if n := len(kept[*event.SessionStarted](r.journal)); n != 1 {
			t.Errorf("%d sessions began", n)
		}
	})
}
