package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestNewestConnectionWins(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) { // quirk 10
		old, oldConn := r.connect("CP1", 1)
		_, conn := r.connect("CP1", 1)
		if len(old.closed) != 1 || conn == oldConn {
			t.Fatalf("old one closed %q; connections %d, %d", old.closed, oldConn, conn)
		}
		before := len(r.journal.types())
		r.at("CP1", func(st *Station) {
			if err := st.Disconnected(oldConn, 1000, ""); err != nil {
				t.Error(err)
			}
		})
		if got := r.journal.types()[before:]; len(got) != 0 {
			t.Errorf("the end of the old connection made %v", got)
		}
		if i := r.site.Stations(); len(i) != 1 || !i[0].Connected || i[0].Boot.Vendor != "Acme" {
			t.Errorf("stations %+v", i)
		}
		r.at("CP1", func(st *Station) {
			if err := st.Disconnected(conn, 1006, "read: EOF"); err != nil {
				t.Error(err)
			}
		})
		d := kept[*event.StationDisconnected](r.journal)
		if len(d) != 2 || d[1].Code != 1006 || d[0].Reason == d[1].Reason {
			t.Errorf("disconnected %+v", d)
		}
	})
}

func TestFolds(t *testing.T) {
	tests := []struct {
		name   string
		say    func(st *Station) error
		counts func(j *fakeJournal) []int
	}{
		{
			name: "quirk 32: boot",
			say:  func(st *Station) error { _, err := st.Booted(BootReport{Vendor: "Acme", Model: "One"}); return err },
			counts: func(j *fakeJournal) (out []int) {
				for _, e := range kept[*event.StationBooted](j) {
					out = append(out, e.Count)
				}
				return out
			},
		},
		{
			name: "security", say: func(st *Station) error { return st.Security(SecurityReport{Event: "Tamper"}) },
			counts: func(j *fakeJournal) (out []int) {
				for _, e := range kept[*event.StationSecurity](j) {
					out = append(out, e.Count)
				}
				return out
			},
		},
		{
			name: "data", say: func(st *Station) error { return st.Data(DataReport{Action: "DataTransfer", Vendor: "x"}) },
			counts: func(j *fakeJournal) (out []int) {
				for _, e := range kept[*event.DataReceived](j) {
					out = append(out, e.Count)
				}
				return out
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				for i := range 130 { // one a second, from now on
					if i == 1 {
						r.pass(time.Second / 2) // not at the same moment as the end of a minute
					}
					r.at("CP1", func(st *Station) {
						if err := tt.say(st); err != nil {
							t.Error(err)
						}
					})
					r.pass(time.Second)
				}
				if got := tt.counts(r.journal); !slices.Equal(got, []int{0, 59, 60}) {
					t.Errorf("counts %v, want the first and two minutes of the others", got)
				}
				r.shutdown()
				if got := tt.counts(r.journal); !slices.Equal(got, []int{0, 59, 60, 10}) {
					t.Errorf("counts %v after the stop, want the rest too", got)
				}
			})
		})
	}
}

func TestStatusFolds(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		for range 10 {
			r.status("CP1", 1, event.StatusCharging)
		}
		r.status("CP1", 1, event.StatusFinishing) // the repeats are told before
		r.status("CP1", 1, event.StatusCharging)  // and a change is never a repeat
		var got []string
		for _, s := range kept[*event.StationStatus](r.journal) {
			got = append(got, fmt.Sprint(s.Status, s.Count))
		}
		if want := []string{"charging0", "charging9", "finishing0", "charging0"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A station that keeps reconnecting is told by a handful of events, and the last
// of them says what holds.
func TestFlapping(t *testing.T) {
	bubble(t, Config{RefreshAfter: time.Hour}, func(t *testing.T, r *rig) {
		for range 200 {
			var conn Connection
			r.at("CP1", func(st *Station) {
				var err error
				if conn, err = st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp1.6", Remote: "10.0.0.7:1"}); err != nil {
					t.Error(err)
				}
				if err = st.Disconnected(conn, 1006, "gone"); err != nil {
					t.Error(err)
				}
			})
			r.pass(100 * time.Millisecond)
		}
		r.at("CP1", func(st *Station) {
			if _, err := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp1.6"}); err != nil {
				t.Error(err)
			}
		})
		r.pass(2 * time.Minute)
		types := r.journal.types()
		if len(types) != linkBurst+2 || types[len(types)-1] != "station.connected" {
			t.Errorf("%d events, the last is %s", len(types), types[len(types)-1])
		}
		d := kept[*event.StationDisconnected](r.journal)
		if got := d[len(d)-1].Count; got != 200-linkBurst/2 {
			t.Errorf("count %d, want %d", got, 200-linkBurst/2)
		}
	})
}

func TestSilentAfterReconnect(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) { // quirk 31
		r.connect("CP1", 2)
		r.restart()
		d := new(fakeDevice)
		r.at("CP1", func(st *Station) {
			if _, err := st.Connected(d, ConnectionInfo{Protocol: "ocpp1.6"}); err != nil {
				t.Error(err)
			}
		})
		r.pass(29 * time.Second)
		if d.refresh != 0 {
			t.Error("asked too early")
		}
		r.pass(2 * time.Second)
		if d.refresh != 1 {
			t.Errorf("asked %d times, want 1", d.refresh)
		}
		if want := []event.Address{{Station: "CP1", EVSE: 1, Connector: 1}, {Station: "CP1", EVSE: 2, Connector: 1}}; !slices.Equal(d.silent, want) {
			t.Errorf("asked for %v, want %v", d.silent, want)
		}
		r.status("CP1", 1, event.StatusAvailable)
		r.pass(time.Hour)
		s := kept[*event.StationStatus](r.journal)
		if last := s[len(s)-1]; last.Status != event.StatusUnknown || r.journal.events[len(r.journal.events)-1].Address.EVSE != 2 {
			t.Errorf("last status %+v", last)
		}
		if n := len(s); n != 4 { // two, one, and the unknown
			t.Errorf("%d status events, want 4", n)
		}
		if d.refresh != 1 {
			t.Errorf("asked %d times, want 1", d.refresh)
		}
		r.status("CP1", 2, event.StatusAvailable) // and it is no repeat
		if s = kept[*event.StationStatus](r.journal); len(s) != 5 {
			t.Errorf("%d status events, want 5", len(s))
		}
	})
}

// A station that answers for itself as a whole only says nothing against what is
// known of its connectors.
func TestConnectorZeroOnly(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 2)
		r.at("CP1", func(st *Station) {
			if _, err := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp1.6"}); err != nil {
				t.Error(err)
			}
		})
		r.pass(31 * time.Second)
		r.at("CP1", func(st *Station) {
			if err := st.Status(StatusReport{Status: event.StatusAvailable}); err != nil {
				t.Error(err)
			}
		})
		r.pass(time.Hour)
		for _, s := range kept[*event.StationStatus](r.journal) {
			if s.Status != event.StatusAvailable {
				t.Errorf("a connector became %s", s.Status)
			}
		}
	})
}

func TestTopologyLearnedAnew(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) { // quirk 51
		r.connect("CP1", 3)
		r.pass(10 * time.Minute)
		r.connect("CP1", 1) // other hardware under the same name
		r.pass(10 * time.Minute)
		if live, _ := r.site.Live(); len(live) != 1 {
			t.Errorf("connectors %+v, want 1", live)
		}
		gone := map[int]int{}
		r.journal.mu.Lock()
		for _, d := range r.journal.events {
			if s, ok := d.Data.(*event.StationStatus); ok && s.Status == event.StatusUnknown && s.Raw == event.RawGone {
				gone[d.Address.EVSE]++
			}
		}
		r.journal.mu.Unlock()
		if len(gone) != 2 || gone[2] != 1 || gone[3] != 1 {
			t.Errorf("told as gone: %v, want EVSE 2 and 3, once each", gone)
		}
		r.restart()
		r.at("CP1", func(st *Station) {
			if len(st.connectors) != 1 {
				t.Errorf("%d connectors after a restart, want 1", len(st.connectors))
			}
		})
	})
}

func TestPanic(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		bad, _ := r.connect("BAD", 1)
		good, _ := r.connect("GOOD", 1)
		if err := r.site.Station("BAD").Post(context.Background(), func() { panic("mad") }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(bad.closed) != 1 || len(good.closed) != 0 {
			t.Errorf("closed: bad %q, good %q", bad.closed, good.closed)
		}
		r.begin("GOOD", 1, "GOOD", 1)
		r.begin("BAD", 1, "GOOD", 1) // it may come back
	})
}

// A station that does not move hinders only whoever waits for it.
func TestStuckStation(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		free := make(chan struct{})
		st := r.site.Station("CP1")
		for range inboxSize + 1 {
			if err := st.Post(context.Background(), func() { <-free }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if err := st.TryPost(func() {}); !errors.Is(err, ErrBusy) {
			t.Errorf("TryPost: %v, want ErrBusy", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := st.Post(ctx, func() {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Post: %v, want the deadline", err)
		}
		if live, _ := r.site.Live(); len(live) != 1 {
			t.Errorf("live %+v", live)
		}
		r.connect("CP2", 1)
		close(free)
	})
}

func TestManyKnownStations(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		for i := range 2000 {
			r.site.Station(event.StationID(fmt.Sprint("CP", i)))
		}
		for _, st := range r.site.all() {
			if st.inbox != nil {
				t.Fatal("a station that never connected has a goroutine")
			}
		}
		r.site.SetStations([]Admission{{Station: "X"}})
		if _, ok := r.site.Admitted("X"); !ok {
			t.Error("X is not admitted")
		}
		if _, ok := r.site.Admitted("CP1"); ok {
			t.Error("CP1 is admitted though nobody said so")
		}
		r.shutdown()
		if err := r.site.Station("CP1").Post(context.Background(), func() {}); !errors.Is(err, ErrStopped) {
			t.Errorf("Post after the end: %v, want ErrStopped", err)
		}
	})
}

// What a station can make the gateway remember has bounds.
func TestBounded(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		for i := range 100 {
			a := r.begin("CP1", 1, "GOOD", int64(i*10))
			r.pass(time.Minute)
			r.end("CP1", StopReport{Transaction: fmt.Sprint(a.Transaction), MeterWh: p(int64(i*10 + 5)), Time: said(r.now())})
			r.end("CP1", StopReport{Transaction: fmt.Sprint(1000000 - i), MeterWh: p[int64](5), Time: said(r.now())})
			r.at("CP1", func(st *Station) {
				for _, err := range []error{
					st.Data(DataReport{Action: fmt.Sprint("A", i)}),
					st.Status(StatusReport{EVSE: i + 2, Connector: 5, Status: event.StatusAvailable}),
					st.Meter(MeterReport{EVSE: 10 * i, Connector: 9, Samples: []event.Sample{{Time: r.now(), EnergyWh: p[int64](1)}}}),
				} {
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range 300 {
			r.at("CP1", func(st *Station) {
				if err := st.Status(StatusReport{EVSE: 1000 + i, Connector: 1, Status: event.StatusAvailable}); err != nil {
					t.Error(err)
				}
			})
		}
		r.at("CP1", func(st *Station) {
			if len(st.ended) > keepSessions || len(st.folds) > maxFolds || len(st.connectors) > maxConnectors || len(st.registers) > maxConnectors {
				t.Errorf("%d sessions, %d folds, %d connectors, %d registers", len(st.ended), len(st.folds), len(st.connectors), len(st.registers))
			}
		})
		if n := len(r.journal.records); n > keepSessions+10 {
			t.Errorf("%d records: %v", n, sortedKeys(r.journal.records))
		}
		if got := len(kept[*event.SessionEnded](r.journal)); got != 200 {
			t.Errorf("%d sessions ended, want 200", got)
		}
	})
}

func TestAlarmsFold(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		for range 100 {
			r.site.Alarm(context.Background(), event.GatewayAlarm{Alarm: "disk_full", Severity: "critical", Text: "the disk is full"})
			r.pass(time.Second)
		}
		r.pass(3 * time.Minute)
		sum := 0
		alarms := kept[*event.GatewayAlarm](r.journal)
		for _, a := range alarms {
			sum += max(a.Count, 1)
		}
		if sum != 100 || len(alarms) > 4 || alarms[0].Count != 0 {
			t.Errorf("%d alarms in %d events", sum, len(alarms))
		}
	})
}

// What the gateway cannot read of an earlier start costs only that.
func TestDamagedRecord(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		a := r.begin("CP1", 1, "GOOD", 1)
		r.shutdown()
		r.journal.records[Key{Kind: kindCounter, Station: "CP1"}] = []byte("{")
		r.journal.records[Key{Kind: "future", Station: "CP1"}] = []byte("{}")
		r.start()
		synctest.Wait()
		if alarms := kept[*event.GatewayAlarm](r.journal); len(alarms) != 1 || alarms[0].Alarm != "records_unreadable" {
			t.Errorf("alarms %+v", alarms)
		}
		r.connect("CP1", 1)
		if b := r.begin("CP1", 1, "GOOD", 2); b.Transaction != a.Transaction+1 {
			t.Errorf("transactions %d, then %d", a.Transaction, b.Transaction)
		}
	})
}

// The end of a connection is told even if it cannot be kept at once: no device
// repeats it.
func TestDisconnectedKeptLater(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		_, conn := r.connect("CP1", 1)
		r.journal.refuse(func(Change) bool { return true })
		r.at("CP1", func(st *Station) {
			if err := st.Disconnected(conn, 1006, "gone"); !errors.Is(err, ErrNotKept) {
				t.Errorf("%v, want ErrNotKept", err)
			}
		})
		r.pass(12 * time.Second)
		r.journal.refuse(nil)
		r.pass(12 * time.Second)
		if d := kept[*event.StationDisconnected](r.journal); len(d) != 1 || d[0].Code != 1006 {
			t.Errorf("disconnected %+v", d)
		}
	})
}

// What has no other word is kept as it came, also where it is no JSON.
func TestData(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		version := r.site.LiveVersion()
		r.at("CP1", func(st *Station) {
			for _, err := range []error{
				st.Data(DataReport{Action: "X", Payload: []byte(`{"a":1}`)}),
				st.Data(DataReport{Action: "X", Payload: []byte(`{"a":`)}),
				st.Configuration(ConfigurationReport{Variables: []event.Variable{{Component: "Ocpp16", Variable: "K", Value: "1"}}, Command: "c"}),
			} {
				if err != nil {
					t.Error(err)
				}
			}
		})
		d := kept[*event.DataReceived](r.journal)
		if len(d) != 2 || string(d[0].Payload) != `{"a":1}` || d[1].Payload != nil || d[1].Text != `{"a":` {
			t.Errorf("data %+v", d)
		}
		if c := kept[*event.StationConfiguration](r.journal); len(c) != 1 || c[0].Command != "c" {
			t.Errorf("configuration %+v", c)
		}
		r.status("CP1", 1, event.StatusAvailable)
		if r.site.LiveVersion() == version {
			t.Error("nobody learns that Live shows something else")
		}
	})
}

func TestStatusOfSession(t *testing.T) {
	want := map[event.Status]string{
		event.StatusAvailable: "", event.StatusPreparing: "ev_connected", event.StatusCharging: "charging",
		event.StatusSuspendedEV: "suspended_ev", event.StatusSuspendedEVSE: "suspended_evse", event.StatusFinishing: "idle",
		event.StatusOccupied: "ev_connected", event.StatusReserved: "", event.StatusUnavailable: "", event.StatusFaulted: "", event.StatusUnknown: "",
	}
	for s, state := range want {
		if got := chargingState(s); got != state {
			t.Errorf("%s: %q, want %q", s, got, state)
		}
	}
}

func TestStopTrigger(t *testing.T) {
	tests := []struct {
		reason string
		token  bool
		want   string
	}{
		{"remote", false, "remote_stop"}, {"unlock_command", false, "unlock_command"}, {"ev_disconnected", true, "ev_departed"},
		{"deauthorized", true, "deauthorized"}, {"reboot", false, "reset_command"}, {"power_loss", false, "abnormal"},
		{"other", false, "abnormal"}, {"local", true, "stop_authorized"}, {"local", false, "local"}, {"emergency_stop", false, "abnormal"},
	}
	for _, tt := range tests {
		r := StopReport{Reason: tt.reason}
		if tt.token {
			r.Token = p(card("A"))
		}
		if got := stopTrigger(r); got != tt.want {
			t.Errorf("%s, token %v: %s, want %s", tt.reason, tt.token, got, tt.want)
		}
	}
}

// The goroutine of an idle station is let go, and the next message finds another
// one: nothing is lost, doubled or out of order on the way.
func TestIdleStation(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		st := r.site.Station("CP1")
		var got []int
		post := func(n int) {
			if err := st.Post(t.Context(), func() { got = append(got, n) }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for i := 0; i < 12; i += 4 {
			post(i) // after a long time
			if n := st.posted.Load(); n != 0 {
				t.Errorf("after message %d the station counts %d, want no goroutine", i, n)
			}
			post(i + 1)
			post(i + 2)
			if n := st.posted.Load(); n != 1 {
				t.Errorf("after message %d the station counts %d, want a goroutine", i+2, n)
			}
			time.Sleep(busyWithin)
			post(i + 3)
			time.Sleep(2 * restEvery)
			synctest.Wait()
			if n := st.posted.Load(); n != 0 {
				t.Errorf("after message %d and a while the station counts %d, want no goroutine", i+3, n)
			}
		}
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}; !slices.Equal(got, want) {
			t.Errorf("ran %v, want %v", got, want)
		}
	})
}

// Posting, resting and stopping at the same time: what was taken runs, once, and
// never two at a time.
func TestPostWhileResting(t *testing.T) {
	s, err := New(Config{}, &fakeJournal{records: make(map[Key][]byte)}, &fakeClock{start: time.Now()}, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	st := s.Station("CP1")
	var busy, ran, taken atomic.Int64
	var posting sync.WaitGroup
	resting := make(chan struct{})
	go func() {
		defer close(resting)
		for taken.Load() < 30_000 {
			st.rest()
			runtime.Gosched()
		}
	}()
	for range 3 {
		posting.Go(func() {
			for range 10_000 {
				err := st.Post(t.Context(), func() {
					if busy.Add(1) != 1 {
						t.Error("two functions run at the same time")
					}
					ran.Add(1)
					busy.Add(-1)
				})
				if err != nil {
					t.Error(err)
				}
				taken.Add(1)
			}
		})
	}
	posting.Wait()
	<-resting
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if ran.Load() != 30_000 {
		t.Errorf("%d functions ran, want 30,000", ran.Load())
	}
}
