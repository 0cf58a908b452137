package site

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestSession(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		started := r.begin("CP1", 1, "GOOD", 1000)
		if started.Transaction <= 0 || started.Decision != accepted {
			t.Fatalf("start answered %+v", started)
		}
		r.status("CP1", 1, event.StatusCharging)
		r.pass(20 * time.Minute)
		tx := fmt.Sprint(started.Transaction)
		r.at("CP1", func(st *Station) {
			err := st.Meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{
				{Time: r.now(), EnergyWh: p[int64](3000), PowerW: p(11000.0)},
			}})
			if err != nil {
				t.Error(err)
			}
		})
		r.pass(10 * time.Minute)
		stop := StopReport{Transaction: tx, MeterWh: p[int64](6000), Time: said(r.now()), Reason: "local", Token: p(card("good"))}
		stopped := r.end("CP1", stop)
		if stopped.Orphan || stopped.Decision != accepted {
			t.Errorf("stop answered %+v", stopped)
		}
		want := []string{
			"station.connected", "station.booted", "station.status", "token.authorized", "session.started",
			"station.status", "session.updated", "session.updated", "session.ended",
		}
		if got := r.journal.types(); !slices.Equal(got, want) {
			t.Errorf("events\n %v\nwant\n %v", got, want)
		}
		e := kept[*event.SessionEnded](r.journal)[0]
		if e.Session != stopped.Session || *e.EnergyWh != 5000 || e.DurationS != 1800 || e.Flags != nil || e.Trigger != "stop_authorized" {
			t.Errorf("ended %+v", e)
		}
		u := kept[*event.SessionUpdated](r.journal)
		if u[0].ChargingState != "charging" || *u[1].MeterWh != 3000 || u[1].Reading != nil {
			t.Errorf("updates %+v %+v", u[0], u[1])
		}
		if len(r.journal.samples) != 1 {
			t.Errorf("%d blocks of samples, want 1", len(r.journal.samples))
		}
		if live, _ := r.site.Live(); len(live) != 1 || live[0].Session != "" {
			t.Errorf("live %+v", live)
		}
	})
}

// An answer comes only after the commit, and a failed one leaves no trace.
func TestNotKept(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		before := len(r.journal.types())
		r.journal.refuse(func(Change) bool { return true })
		start := StartReport{EVSE: 1, Connector: 1, Token: card("GOOD"), MeterWh: p[int64](10), Time: said(r.now())}
		stop := StopReport{Transaction: "9", MeterWh: p[int64](10), Time: said(r.now())}
		r.at("CP1", func(st *Station) {
			for name, f := range map[string]func() error{
				"start":     func() error { _, err := st.Start(start); return err },
				"stop":      func() error { _, err := st.Stop(stop); return err },
				"status":    func() error { return st.Status(StatusReport{EVSE: 1, Connector: 1, Status: event.StatusFaulted}) },
				"authorize": func() error { _, err := st.Authorize(card("GOOD")); return err },
				"boot":      func() error { _, err := st.Booted(BootReport{Vendor: "Other"}); return err },
				"security":  func() error { return st.Security(SecurityReport{Event: "X"}) },
				"data":      func() error { return st.Data(DataReport{Action: "Y"}) },
				"signed": func() error {
					return st.Meter(MeterReport{EVSE: 1, Connector: 1, Samples: []event.Sample{{Time: r.now(), Signed: []event.Signed{{Data: "x"}}}}})
				},
			} {
				if err := f(); !errors.Is(err, ErrNotKept) {
					t.Errorf("%s: %v, want ErrNotKept", name, err)
				}
			}
		})
		r.journal.refuse(nil)
		r.at("CP1", func(st *Station) { // each again, and each is an event now
			for i := range 2 {
				if _, err := st.Start(start); err != nil {
					t.Error(i, err)
				}
				if _, err := st.Stop(stop); err != nil {
					t.Error(i, err)
				}
			}
			for _, err := range []error{
				st.Status(StatusReport{EVSE: 1, Connector: 1, Status: event.StatusFaulted}),
				st.Security(SecurityReport{Event: "X"}), st.Data(DataReport{Action: "Y"}),
			} {
				if err != nil {
					t.Error(err)
				}
			}
			if _, err := st.Booted(BootReport{Vendor: "Other"}); err != nil {
				t.Error(err)
			}
		})
		want := []string{
			"token.authorized", "session.started", "session.ended",
			"station.status", "station.security", "data.received", "station.booted",
		}
		if got := r.journal.types()[before:]; !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

func TestStartAgain(t *testing.T) {
	at := base.Add(time.Minute)
	first := StartReport{EVSE: 1, Connector: 1, Token: card("GOOD"), MeterWh: p[int64](100), Time: said(at)}
	alter := func(f func(*StartReport)) StartReport { r := first; f(&r); return r }
	stuck := ReportedTime{Raw: "1970-01-01T00:00:00Z", Time: time.Unix(0, 0).UTC(), Quality: TimeUnset}
	tests := []struct {
		name    string
		first   StartReport
		stop    bool // a stop comes in between
		restart bool
		second  StartReport
		same    bool
	}{
		{name: "quirk 57: retry", first: first, second: first, same: true},
		{name: "retry after a restart of the gateway", first: first, restart: true, second: first, same: true},
		{name: "token in other letters", first: first, second: alter(func(r *StartReport) { r.Token.Value = "good " }), same: true},
		{name: "other register", first: first, second: alter(func(r *StartReport) { r.MeterWh = p[int64](101) })},
		{name: "other time", first: first, second: alter(func(r *StartReport) { r.Time = said(at.Add(time.Second)) })},
		{name: "other connector", first: first, second: alter(func(r *StartReport) { r.EVSE = 2 })},
		{name: "other token", first: first, second: alter(func(r *StartReport) { r.Token.Value = "OTHER" })},
		{name: "retry after the stop", first: first, stop: true, second: first, same: true},
		{name: "quirk 44: clock stands still", first: alter(func(r *StartReport) { r.Time = stuck }), second: alter(func(r *StartReport) { r.Time = stuck }), same: true},
		{
			name: "quirk 44: clock stands still, next session", first: alter(func(r *StartReport) { r.Time = stuck }), stop: true,
			second: alter(func(r *StartReport) { r.Time = stuck }),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				r.connect("CP1", 2)
				r.pass(time.Minute)
				start := func(rep StartReport) (out StartResult) {
					r.at("CP1", func(st *Station) {
						var err error
						if out, err = st.Start(rep); err != nil {
							t.Error(err)
						}
					})
					return out
				}
				a := start(tt.first)
				if tt.stop {
					r.end("CP1", StopReport{Transaction: fmt.Sprint(a.Transaction), MeterWh: p[int64](500), Time: said(r.now())})
				}
				if tt.restart {
					r.restart()
					r.connect("CP1", 2)
				}
				b := start(tt.second)
				if (a.Transaction == b.Transaction) != tt.same {
					t.Errorf("transactions %d and %d, same: want %v", a.Transaction, b.Transaction, tt.same)
				}
				want := 2
				if tt.same {
					want = 1
					if a.AuthorizeResult != b.AuthorizeResult {
						t.Errorf("decisions %+v and %+v", a.AuthorizeResult, b.AuthorizeResult)
					}
				}
				if got := len(kept[*event.SessionStarted](r.journal)); got != want {
					t.Errorf("%d sessions, want %d", got, want)
				}
			})
		})
	}
}

func TestSuperseded(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) { // quirk 58
		r.connect("CP1", 1)
		a := r.begin("CP1", 1, "GOOD", 100)
		r.pass(time.Hour)
		r.at("CP1", func(st *Station) {
			if err := st.Meter(MeterReport{EVSE: 1, Connector: 1, Samples: []event.Sample{{Time: r.now(), EnergyWh: p[int64](900)}}}); err != nil {
				t.Error(err)
			}
		})
		b := r.begin("CP1", 1, "GOOD", 1000)
		if b.Transaction <= a.Transaction {
			t.Errorf("transactions %d, then %d", a.Transaction, b.Transaction)
		}
		e := kept[*event.SessionEnded](r.journal)
		if len(e) != 1 || *e[0].EnergyWh != 800 || flags(e[0].Flags) != "[superseded gap]" {
			t.Fatalf("ended %+v", e)
		}
		// the real stop comes late and replaces it
		r.end("CP1", StopReport{Transaction: fmt.Sprint(a.Transaction), MeterWh: p[int64](950), Time: said(r.now())})
		e = kept[*event.SessionEnded](r.journal)
		if len(e) != 2 || e[1].Session != e[0].Session || *e[1].EnergyWh != 850 || e[1].Flags != nil {
			t.Fatalf("ended %+v", e)
		}
		r.end("CP1", StopReport{Transaction: fmt.Sprint(b.Transaction), MeterWh: p[int64](1500), Time: said(r.now())})
		if e = kept[*event.SessionEnded](r.journal); len(e) != 3 || e[2].Session == e[0].Session {
			t.Fatalf("ended %+v", e)
		}
	})
}

func TestInferredEnd(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		a := r.begin("CP1", 1, "GOOD", 100)
		r.status("CP1", 1, event.StatusCharging)
		r.pass(10 * time.Minute)
		r.status("CP1", 1, event.StatusAvailable)
		r.pass(59 * time.Second)
		if e := kept[*event.SessionEnded](r.journal); len(e) != 0 {
			t.Fatalf("ended too early: %+v", e[0])
		}
		free := r.now().Add(-59 * time.Second)
		r.pass(2 * time.Second)
		e := kept[*event.SessionEnded](r.journal)
		if len(e) != 1 || flags(e[0].Flags) != "[inferred gap]" || *e[0].EnergyWh != 0 {
			t.Fatalf("ended %+v", e)
		}
		last := r.journal.events[len(r.journal.events)-1]
		if d := last.Time.Sub(free).Abs(); d > time.Second {
			t.Errorf("ended at %v, want %v", last.Time, free)
		}
		r.restart()
		r.end("CP1", StopReport{Transaction: fmt.Sprint(a.Transaction), MeterWh: p[int64](400), Time: said(free)})
		if e = kept[*event.SessionEnded](r.journal); len(e) != 2 || e[1].Session != e[0].Session || *e[1].EnergyWh != 300 || e[1].Flags != nil {
			t.Fatalf("ended %+v", e[1])
		}
		r.end("CP1", StopReport{Transaction: fmt.Sprint(a.Transaction), MeterWh: p[int64](400), Time: said(free)})
		if e = kept[*event.SessionEnded](r.journal); len(e) != 2 {
			t.Fatalf("%d ends after a repeated stop, want 2", len(e))
		}
	})
}

// A connector that was available before the session says nothing about its end,
// and one that is not connected may hold the stop.
func TestNotInferred(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		_, conn := r.connect("CP1", 1)
		r.begin("CP1", 1, "GOOD", 100)
		r.pass(time.Hour)
		if e := kept[*event.SessionEnded](r.journal); len(e) != 0 {
			t.Fatalf("ended: %+v", e[0])
		}
		r.status("CP1", 1, event.StatusCharging)
		r.status("CP1", 1, event.StatusAvailable)
		r.at("CP1", func(st *Station) {
			if err := st.Disconnected(conn, 1006, "gone"); err != nil {
				t.Error(err)
			}
		})
		r.pass(time.Hour)
		if e := kept[*event.SessionEnded](r.journal); len(e) != 0 {
			t.Fatalf("ended while away: %+v", e[0])
		}
	})
}

// The samples that come with a stop are kept before it is: a repeat of a stop
// that is known would not bring them again.
func TestSamplesOfAStop(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		stop := StopReport{Transaction: fmt.Sprint(r.begin("CP1", 1, "GOOD", 100).Transaction), MeterWh: p[int64](400), Time: said(r.now())}
		full := func(b bool) {
			r.journal.mu.Lock()
			defer r.journal.mu.Unlock()
			r.journal.full = b
		}
		full(true)
		r.at("CP1", func(st *Station) {
			stop.Readings = []event.Sample{r.energy(300)}
			if _, err := st.Stop(stop); !errors.Is(err, ErrNotKept) {
				t.Errorf("%v, want ErrNotKept", err)
			}
		})
		if e := kept[*event.SessionEnded](r.journal); len(e) != 0 {
			t.Fatalf("ended %+v", e[0])
		}
		full(false)
		stop.Readings = []event.Sample{r.energy(300)}
		r.end("CP1", stop)
		e := kept[*event.SessionEnded](r.journal)
		if len(e) != 1 || len(r.journal.samples) != 1 {
			t.Fatalf("%d ends, %d blocks of samples", len(e), len(r.journal.samples))
		}
		if got := r.journal.samples[0].Data.(*event.SessionSampled).Session; got != e[0].Session {
			t.Errorf("samples of %s, want %s", got, e[0].Session)
		}
	})
}

// A station that was away is given time to tell of the stop; without one, the
// session ended when its connector became available.
func TestInferredEndAfterAbsence(t *testing.T) {
	for _, stops := range []bool{true, false} {
		t.Run(fmt.Sprint("stop in its queue: ", stops), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				_, conn := r.connect("CP1", 1)
				a := r.begin("CP1", 1, "GOOD", 100)
				r.pass(10 * time.Minute)
				r.status("CP1", 1, event.StatusCharging)
				r.status("CP1", 1, event.StatusAvailable)
				free := r.now()
				r.at("CP1", func(st *Station) {
					if err := st.Disconnected(conn, 1006, "gone"); err != nil {
						t.Error(err)
					}
				})
				r.pass(3*time.Hour + 59*time.Second)
				r.connect("CP1", 1)
				r.pass(30 * time.Second)
				if stops {
					r.end("CP1", StopReport{Transaction: fmt.Sprint(a.Transaction), MeterWh: p[int64](400), Time: said(free)})
				}
				r.pass(time.Hour)
				e := kept[*event.SessionEnded](r.journal)
				if len(e) != 1 || stops == slices.Contains(e[0].Flags, event.FlagInferred) {
					t.Fatalf("%d ends, the first %+v", len(e), e[0])
				}
				for _, d := range r.journal.events {
					if _, ok := d.Data.(*event.SessionEnded); ok && d.Time.Sub(free).Abs() > time.Second {
						t.Errorf("ended at %v, want %v", d.Time, free)
					}
				}
			})
		})
	}
}

func TestRestartGoesOn(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 2)
		a := r.begin("CP1", 1, "GOOD", 100)
		r.restart()
		r.connect("CP1", 2)
		r.status("CP1", 1, event.StatusCharging)
		b := r.begin("CP1", 2, "GOOD", 5)
		if b.Transaction != a.Transaction+1 {
			t.Errorf("transactions %d, then %d", a.Transaction, b.Transaction)
		}
		r.pass(time.Minute)
		tx := fmt.Sprint(a.Transaction)
		r.at("CP1", func(st *Station) {
			if err := st.Meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{{Time: r.now(), EnergyWh: p[int64](200)}}}); err != nil {
				t.Error(err)
			}
		})
		s := kept[*event.SessionStarted](r.journal)
		if got := r.journal.samples[0].Data.(*event.SessionSampled).Session; got != s[0].Session {
			t.Errorf("samples of %s, want %s", got, s[0].Session)
		}
		r.end("CP1", StopReport{Transaction: tx, MeterWh: p[int64](300), Time: said(r.now())})
		e := kept[*event.SessionEnded](r.journal)
		if len(e) != 1 || e[0].Session != s[0].Session || *e[0].EnergyWh != 200 || e[0].Flags != nil || e[0].Started == nil {
			t.Errorf("ended %+v", e[0])
		}
	})
}

func TestTransactionNumbers(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		a := r.begin("CP1", 1, "GOOD", 1).Transaction
		if a%4096 != 1 || a >= 1<<23 || a < 4096 {
			t.Errorf("first number %d of a fresh start, want a multiple of 4096 below 2^23, and one", a)
		}
		r.site.RaiseTransactions(map[event.StationID]int64{"CP1": a + 10, "CP2": 70, "CP3": 1 << 40})
		if b := r.begin("CP1", 1, "GOOD", 2).Transaction; b != a+11 {
			t.Errorf("after raising to %d: %d", a+10, b)
		}
		r.connect("CP2", 1)
		if b := r.begin("CP2", 1, "GOOD", 2).Transaction; b != 71 {
			t.Errorf("CP2: %d, want 71", b)
		}
		r.connect("CP3", 1)
		if b := r.begin("CP3", 1, "GOOD", 2).Transaction; b != 1 {
			t.Errorf("CP3: %d, want 1: the manager knows of none", b)
		}
		r.site.RaiseTransactions(map[event.StationID]int64{"CP4": 5000})
		r.restart()
		r.connect("CP4", 1)
		if b := r.begin("CP4", 1, "GOOD", 2).Transaction; b != 5001 {
			t.Errorf("CP4 after a restart: %d, want 5001", b)
		}
		r.connect("CP1", 1)
		r.end("CP1", StopReport{Transaction: "9000000", MeterWh: p[int64](1), Time: said(r.now())})
		if b := r.begin("CP1", 1, "GOOD", 3).Transaction; b != 9000001 {
			t.Errorf("after the station named 9000000: %d", b)
		}
		r.end("CP1", StopReport{Transaction: "2000000000", MeterWh: p[int64](1), Time: said(r.now())})
		r.restart()
		r.connect("CP1", 1)
		if b := r.begin("CP1", 1, "GOOD", 4).Transaction; b != 9000002 {
			t.Errorf("after the station named a number over 2^30: %d", b)
		}
	})
}

func TestOrphanStop(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		stop := StopReport{Transaction: "77", MeterWh: p[int64](500), Time: said(r.now()), Token: p(card("GOOD"))}
		a := r.end("CP1", stop)
		b := r.end("CP1", stop)
		r.restart()
		c := r.end("CP1", stop)
		if !a.Orphan || a.Session != b.Session || a.Session != c.Session {
			t.Errorf("orphan %+v, again %+v, after a restart %+v", a, b, c)
		}
		e := kept[*event.SessionEnded](r.journal)
		if len(e) != 1 || flags(e[0].Flags) != "[recovered unknown_energy]" || e[0].EnergyWh != nil || e[0].Transaction != "77" || e[0].Started != nil {
			t.Errorf("ended %+v", e[0])
		}
	})
}

// What a stop is about, by transaction, token, register and time.
func TestStopped(t *testing.T) {
	t0 := base
	type s = session
	one := func(k *s) []*s { return []*s{k} }
	open := func() *s {
		return &s{id: "a", transaction: "10", evse: 1, connector: 1, token: p(card("RED")), meterStart: p[int64](100), startClaim: t0}
	}
	assumed := func() *s { k := open(); k.end, k.endWh = inferred, p[int64](200); return k }
	over := func() *s { k := open(); k.end, k.endWh, k.stopKey = stopped, p[int64](200), 1; return k }
	stop := func(tx string, meter int64, token string) StopReport {
		r := StopReport{Transaction: tx, MeterWh: &meter, Time: said(t0.Add(time.Hour))}
		if token != "" {
			r.Token = p(card(token))
		}
		return r
	}
	other := func() *s { k := open(); k.id, k.transaction, k.evse, k.token = "b", "11", 2, p(card("BLUE")); return k }
	tests := []struct {
		name        string
		open, ended []*s
		stop        StopReport
		want        event.SessionID
		verdict     stopVerdict
	}{
		{name: "its transaction", open: []*s{open(), other()}, stop: stop("11", 300, ""), want: "b", verdict: stopEnds},
		{name: "its transaction, another token", open: one(open()), stop: stop("10", 300, "MASTER"), want: "a", verdict: stopEnds},
		{name: "assumed end", ended: one(assumed()), stop: stop("10", 300, ""), want: "a", verdict: stopReplaces},
		{name: "ended with the same register", ended: one(over()), stop: stop("10", 200, ""), want: "a", verdict: stopRepeated},
		{name: "ended with another register", ended: one(over()), stop: stop("10", 300, ""), want: "a", verdict: stopOrphan},
		{name: "quirk 59: unknown transaction", open: one(open()), stop: stop("99", 300, "RED"), verdict: stopOrphan},
		{name: "quirk 54: -1 by token", open: []*s{open(), other()}, stop: stop("-1", 300, "blue"), want: "b", verdict: stopEnds},
		{name: "quirk 55: 0 with one running", open: one(open()), stop: stop("0", 300, ""), want: "a", verdict: stopEnds},
		{name: "0 with two running", open: []*s{open(), other()}, stop: stop("0", 300, ""), verdict: stopOrphan},
		{name: "-1 by the register", open: []*s{open(), func() *s { k := other(); k.meterStart = p[int64](900); return k }()}, stop: stop("-1", 300, ""), want: "a", verdict: stopEnds},
		{name: "-1 of another token", open: one(open()), stop: stop("-1", 300, "BLUE"), verdict: stopOrphan},
		{name: "-1 before the begin", open: one(open()), stop: StopReport{Transaction: "-1", Time: said(t0.Add(-time.Hour))}, verdict: stopOrphan},
		{name: "-1 of an assumed end", ended: one(assumed()), stop: stop("-1", 300, "RED"), want: "a", verdict: stopReplaces},
		{name: "-1 of a real end", ended: one(over()), stop: stop("-1", 300, "RED"), verdict: stopOrphan},
		{name: "token with two characters more", open: one(func() *s { k := open(); k.token = p(card("A1B2C3D4E5F60718AB")); return k }()), stop: stop("-1", 300, "A1B2C3D4E5F60718AB00"), want: "a", verdict: stopEnds},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := newStation(&Site{tokens: newTokenBook(1)}, "CP1")
			st.open, st.ended = tt.open, tt.ended
			got, verdict := st.stopped(tt.stop, stopKey(tt.stop))
			var id event.SessionID
			if got != nil {
				id = got.id
			}
			if id != tt.want || verdict != tt.verdict {
				t.Errorf("session %q, verdict %d; want %q, %d", id, verdict, tt.want, tt.verdict)
			}
		})
	}
}

func TestTotal(t *testing.T) {
	n := p[int64]
	tests := []struct {
		name   string
		in     totalIn
		energy *int64
		flags  string
	}{
		{name: "plain", in: totalIn{begun: true, start: n(100), stop: n(700), register: n(650), rises: rises{gained: 550}}, energy: n(600), flags: "[]"},
		{name: "quirk 73: no begin", in: totalIn{begun: true, stop: n(700)}, flags: "[unknown_energy]"},
		{name: "no end, values in between", in: totalIn{begun: true, kind: inferred, start: n(100), register: n(650), rises: rises{gained: 550}}, energy: n(550), flags: "[gap]"},
		{name: "no end at all", in: totalIn{begun: true, kind: superseded, start: n(100)}, flags: "[gap unknown_energy]"},
		{name: "ran backwards", in: totalIn{begun: true, start: n(900), stop: n(700)}, flags: "[meter_regression unknown_energy]"},
		{name: "quirk 70: begin of the meter, rest of the session", in: totalIn{begun: true, start: n(900000), stop: n(700), register: n(650), rises: rises{gained: 650}, regressed: true, fell: true}, energy: n(700), flags: "[suspect meter_regression]"},
		{name: "register of the session, told by both", in: totalIn{begun: true, start: n(0), stop: n(700), register: n(650), rises: rises{gained: 650}}, energy: n(700), flags: "[]"},
		{name: "restarted in between", in: totalIn{begun: true, start: n(0), stop: n(300), register: n(250), rises: rises{gained: 5250}, regressed: true, fell: true}, energy: n(5300), flags: "[suspect meter_regression]"},
		{name: "quirk 69: more than any charger gives", in: totalIn{begun: true, start: n(0), stop: n(9_000_000)}, energy: n(9_000_000), flags: "[suspect]"},
		{name: "no duration", in: totalIn{begun: true, start: n(0), stop: n(10), duration: -1}, energy: n(10), flags: "[clock]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.in.duration == 0 {
				tt.in.duration = time.Hour
			}
			got := total(tt.in)
			if wh(got.energy) != wh(tt.energy) || flags(got.flags.list()) != tt.flags {
				t.Errorf("energy %q, flags %v; want %q, %s", wh(got.energy), got.flags.list(), wh(tt.energy), tt.flags)
			}
		})
	}
}

// Two starts without a connector are two sessions, one after the other; and no
// station runs more sessions than it can have places.
func TestStartAnywhere(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		for i := range maxConnectors + 10 {
			r.at("CP1", func(st *Station) {
				for _, evse := range []int{0, 10 + i} {
					wh := int64(i)
					if _, err := st.Start(StartReport{EVSE: evse, Connector: min(evse, 1), Token: card("GOOD"), MeterWh: &wh, Time: said(r.now())}); err != nil {
						t.Error(err)
					}
				}
				if len(st.open) > maxConnectors {
					t.Fatalf("%d sessions run", len(st.open))
				}
			})
		}
	})
}
