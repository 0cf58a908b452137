package site

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func (r *rig) meter(rep MeterReport) {
	r.t.Helper()
	r.at("CP1", func(st *Station) {
		if err := st.Meter(rep); err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) energy(wh int64) event.Sample { return event.Sample{Time: r.now(), EnergyWh: &wh} }

// quirk 78: values are routed by connector first, transaction second.
func TestMeterRouting(t *testing.T) {
	tests := []struct {
		name      string
		evse      int
		tx        func(open, past, other string) *string
		age       time.Duration
		want      string // open, past, other, new, or none
		connector int
	}{
		{name: "its transaction", evse: 1, tx: func(o, _, _ string) *string { return &o }, want: "open"},
		{name: "none named", evse: 1, tx: func(_, _, _ string) *string { return nil }, want: "open"},
		{name: "-1", evse: 1, tx: func(_, _, _ string) *string { return p("-1") }, want: "open"},
		{name: "0", evse: 1, tx: func(_, _, _ string) *string { return p("0") }, want: "open"},
		{name: "another connector's", evse: 1, tx: func(_, _, x string) *string { return &x }, want: "open"},
		{name: "late, of the session before", evse: 1, tx: func(_, l, _ string) *string { return &l }, want: "past"},
		{name: "unknown, while one runs", evse: 1, tx: func(_, _, _ string) *string { return p("4") }, want: "open"},
		{name: "connector 0", evse: 0, tx: func(_, _, x string) *string { return &x }, want: "other"},
		{name: "connector 0, none named", evse: 0, tx: func(_, _, _ string) *string { return nil }, want: "none"},
		{name: "free connector", evse: 3, tx: func(_, _, _ string) *string { return nil }, want: "none"},
		{name: "unknown on a free connector", evse: 3, tx: func(_, _, _ string) *string { return p("4") }, want: "new"},
		{name: "unknown and old", evse: 3, tx: func(_, _, _ string) *string { return p("4") }, age: time.Hour, want: "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				r.connect("CP1", 3)
				tx := func(res StartResult) string { return fmt.Sprint(res.Transaction) }
				past := tx(r.begin("CP1", 1, "GOOD", 1))
				r.end("CP1", StopReport{Transaction: past, MeterWh: p[int64](2), Time: said(r.now())})
				open, other := tx(r.begin("CP1", 1, "GOOD", 3)), tx(r.begin("CP1", 2, "GOOD", 4))
				connector := min(tt.evse, 1)
				r.meter(MeterReport{EVSE: tt.evse, Connector: connector, Transaction: tt.tx(open, past, other), Samples: []event.Sample{
					{Time: r.now().Add(-tt.age), PowerW: p(1.0)},
				}})
				names := map[string]string{open: "open", past: "past", other: "other", "4": "new"}
				got := "none"
				if s, ok := r.journal.samples[0].Data.(*event.SessionSampled); ok {
					got = names[s.Transaction]
				}
				if got != tt.want {
					t.Errorf("went to %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A session that this gateway has lost is made again from its values.
func TestRecoveredSession(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		tx := "4711"
		r.meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{r.energy(5000)}})
		r.pass(time.Minute)
		r.meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{r.energy(5100)}})
		r.end("CP1", StopReport{Transaction: tx, MeterWh: p[int64](5500), Time: said(r.now())})
		s, e := kept[*event.SessionStarted](r.journal), kept[*event.SessionEnded](r.journal)
		if len(s) != 1 || len(e) != 1 || s[0].Session != e[0].Session {
			t.Fatalf("started %+v, ended %+v", s, e)
		}
		if flags(e[0].Flags) != "[recovered unknown_energy]" || e[0].EnergyWh != nil {
			t.Errorf("ended %+v", e[0])
		}
		if next := r.begin("CP1", 1, "GOOD", 6000).Transaction; next != 4712 && next < 4096 {
			t.Errorf("next transaction %d", next)
		}
	})
}

func TestMustNotWait(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		tx := fmt.Sprint(r.begin("CP1", 1, "GOOD", 100).Transaction)
		sample := func(context string, wh int64, signed string) event.Sample {
			s := r.energy(wh)
			s.Context = context
			if signed != "" {
				s.Signed = []event.Signed{{Data: signed}}
			}
			return s
		}
		report := func() MeterReport {
			return MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{
				sample("", 110, ""), sample("interruption_begin", 120, ""), sample("", 121, "blob"), sample("begin", 100, ""),
			}}
		}
		m := report()
		r.meter(m)
		r.meter(report()) // the retry of a message that was not answered
		var got []string
		for _, u := range kept[*event.SessionUpdated](r.journal) {
			got = append(got, fmt.Sprint(wh(u.MeterWh), u.Reading != nil))
		}
		if want := []string{"120true", "121true", "true"}; !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		if n := len(r.journal.samples[0].Data.(*event.SessionSampled).Samples); n != 1 {
			t.Errorf("%d samples, want 1", n)
		}
		for range 4 { // the first register of each quarter of an hour, and no other
			r.pass(8 * time.Minute)
			r.meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{r.energy(200)}})
		}
		if u := kept[*event.SessionUpdated](r.journal)[3:]; len(u) != 2 || u[0].Reading != nil {
			t.Errorf("%d quarter registers in 32 minutes, want 2", len(u))
		}
	})
}

// What made a device send values is told of each that becomes an event, and a
// begin value is never where the register stands.
func TestReadingContext(t *testing.T) {
	tests := []struct{ context, trigger, meter string }{
		{context: "", trigger: "meter_periodic", meter: "5000"},
		{context: "clock", trigger: "meter_clock", meter: "5000"},
		{context: "trigger", trigger: "trigger", meter: "5000"},
		{context: "interruption_end", trigger: "meter_periodic", meter: "5000"},
		{context: "end", trigger: "meter_periodic", meter: "5000"},
		{context: "begin", trigger: "meter_periodic"},
	}
	for _, tt := range tests {
		t.Run(tt.context, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				r.connect("CP1", 1)
				r.begin("CP1", 1, "GOOD", 1000)
				r.pass(quarterHour)
				v := r.energy(5000)
				v.Context = tt.context
				r.meter(MeterReport{EVSE: 1, Connector: 1, Samples: []event.Sample{v}})
				u := kept[*event.SessionUpdated](r.journal)
				if len(u) != 1 || u[0].Trigger != tt.trigger || wh(u[0].MeterWh) != tt.meter {
					t.Errorf("%d updates, the first %+v; want trigger %s, register %q", len(u), u[0], tt.trigger, tt.meter)
				}
			})
		})
	}
}

func TestMeterOutsideSessions(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		for range 16 {
			r.meter(MeterReport{Samples: []event.Sample{r.energy(5)}})
			r.pass(2 * time.Minute)
		}
		if n := len(kept[*event.MeterRead](r.journal)); n != 3 {
			t.Errorf("%d registers in half an hour, want 3", n)
		}
		if n := len(r.journal.samples); n != 16 {
			t.Errorf("%d blocks of samples, want 16", n)
		}
	})
}

// What a register that ran backwards leaves of the energy of a session.
func TestMeterDips(t *testing.T) {
	tests := []struct {
		name          string
		start         int64
		readings      []int64
		stop          int64
		energy, flags string
	}{
		{name: "one zero", start: 100000, readings: []int64{102000, 0, 103000, 104000}, stop: 105000, energy: "5000", flags: "[meter_regression]"},
		{name: "jitter", start: 100000, readings: []int64{102000, 101999, 102001, 102000, 102500}, stop: 103000, energy: "3000", flags: "[meter_regression]"},
		{name: "zeros in a row", start: 100000, readings: []int64{102000, 0, 1000, 0}, stop: 105000, energy: "5000", flags: "[meter_regression]"},
		{name: "one value too high", start: 100000, readings: []int64{102000, 150000, 103000}, stop: 105000, energy: "5000", flags: "[meter_regression]"},
		{name: "began anew", start: 100000, readings: []int64{102000, 0, 3000}, stop: 4000, energy: "6000", flags: "[suspect meter_regression]"},
		{name: "began anew, with jitter", start: 100000, readings: []int64{102000, 0, 3000, 2999, 3500}, stop: 4000, energy: "6000", flags: "[suspect meter_regression]"},
		{name: "began anew at zero", start: 0, readings: []int64{5000, 0}, stop: 300, energy: "5300", flags: "[suspect meter_regression]"},
	}
	for _, tt := range tests {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %t", tt.name, again), func(t *testing.T) {
				bubble(t, Config{}, func(t *testing.T, r *rig) {
					r.connect("CP1", 1)
					tx := fmt.Sprint(r.begin("CP1", 1, "GOOD", tt.start).Transaction)
					for _, wh := range tt.readings {
						r.pass(quarterHour) // each is kept
						r.meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{r.energy(wh)}})
					}
					if again {
						r.restart()
					}
					r.pass(quarterHour)
					r.end("CP1", StopReport{Transaction: tx, MeterWh: &tt.stop, Time: said(r.now())})
					e := kept[*event.SessionEnded](r.journal)[0]
					if wh(e.EnergyWh) != tt.energy || flags(e.Flags) != tt.flags {
						t.Errorf("energy %q, flags %v; want %s, %s", wh(e.EnergyWh), e.Flags, tt.energy, tt.flags)
					}
				})
			})
		}
	}
}

func TestMeterRegression(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		tx := fmt.Sprint(r.begin("CP1", 1, "GOOD", 100).Transaction)
		for _, wh := range []int64{500, 900, 10, 300} {
			r.pass(time.Second)
			r.meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: []event.Sample{r.energy(wh)}})
		}
		r.restart()
		r.end("CP1", StopReport{Transaction: tx, MeterWh: p[int64](350), Time: said(r.now())})
		e := kept[*event.SessionEnded](r.journal)[0]
		if flags(e.Flags) != "[suspect meter_regression]" {
			t.Errorf("flags %v, energy %s", e.Flags, wh(e.EnergyWh))
		}
	})
}

// A begin value that comes as a reading is one.
func TestBeginReading(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) { // quirk 73
		r.connect("CP1", 1)
		var tx string
		r.at("CP1", func(st *Station) {
			out, err := st.Start(StartReport{EVSE: 1, Connector: 1, Token: card("GOOD"), Time: said(r.now())})
			if err != nil {
				t.Error(err)
			}
			tx = fmt.Sprint(out.Transaction)
		})
		begin := r.energy(1000)
		begin.Context = "begin"
		end := r.energy(4000)
		end.Context, end.Signed = "end", []event.Signed{{Data: "blob"}}
		r.end("CP1", StopReport{Transaction: tx, MeterWh: p[int64](4001), Time: said(r.now()), Readings: []event.Sample{begin, r.energy(2000), end}})
		e := kept[*event.SessionEnded](r.journal)[0]
		if wh(e.EnergyWh) != "3000" || len(e.Readings) != 2 || len(r.journal.samples) != 1 || e.Flags != nil {
			t.Errorf("ended %+v, energy %s", e, wh(e.EnergyWh))
		}
	})
}

// While the gateway has no clock every time is its own.
func TestUnsynced(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.clock.set(func(c *fakeClock) { c.unsynced = true })
		r.clock.set(func(c *fakeClock) { c.ahead = -24 * time.Hour })
		r.connect("CP1", 1)
		claim := base.Add(time.Hour)
		var tx string
		r.at("CP1", func(st *Station) {
			out, err := st.Start(StartReport{EVSE: 1, Connector: 1, Token: card("GOOD"), MeterWh: p[int64](1), Time: said(claim)})
			if err != nil {
				t.Error(err)
			}
			tx = fmt.Sprint(out.Transaction)
		})
		s := r.journal.events[len(r.journal.events)-1]
		if d := s.Data.(*event.SessionStarted); !s.Time.Equal(r.now()) || d.DeviceTime != said(claim).Raw || d.Flags != nil || s.Clock != event.ClockUnsynced {
			t.Errorf("started %+v at %v", d, s.Time)
		}
		r.pass(10 * time.Minute)
		r.clock.set(func(c *fakeClock) { c.unsynced, c.ahead = false, time.Hour })
		r.end("CP1", StopReport{Transaction: tx, MeterWh: p[int64](2), Time: said(claim.Add(10 * time.Minute))})
		e := kept[*event.SessionEnded](r.journal)[0]
		if e.DurationS != 600 || e.Started != nil || e.Flags != nil {
			t.Errorf("ended %+v", e)
		}
	})
}

func TestDoubtedClock(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		r.at("CP1", func(st *Station) {
			if _, err := st.Start(StartReport{EVSE: 1, Connector: 1, Token: card("GOOD"), MeterWh: p[int64](1), Time: said(r.now().Add(3 * time.Hour))}); err != nil {
				t.Error(err)
			}
		})
		s := r.journal.events[len(r.journal.events)-1]
		if d := s.Data.(*event.SessionStarted); !s.Time.Equal(r.now()) || d.DeviceTime == "" || flags(d.Flags) != "[clock]" {
			t.Errorf("started %+v at %v", d, s.Time)
		}
	})
}
