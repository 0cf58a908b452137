package sqlite_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/cloud/internal/storetest"
	"github.com/chargeyard/chargeyard/shared/event"
)

const perCommit = 1000

// days has the stations of a gateway live through charging sessions, as a
// gateway would report them on its events lane.
type days struct {
	g       *storetest.Gateway
	session int
	now     time.Time
	meter   int64
}

// next returns the next n batches of a thousand.
func (d *days) next(n int) []fleet.Batch {
	d.g.Restart()
	s := d.g.Stream(event.LaneEvents)
	for len(s.Events) < n*perCommit {
		d.round()
	}
	out := make([]fleet.Batch, n)
	for i := range out {
		out[i] = d.g.Batch(s, i*perCommit+1, (i+1)*perCommit)
	}
	s.Events = nil
	return out
}

// round is one session on each of 50 stations, side by side.
func (d *days) round() {
	const stations = 50
	token := event.Token{Type: "rfid", Value: "04A1B2C3D4"}
	accepted := event.Authorization{Decision: "accepted", By: "cache"}
	status := func(v event.Status) func(event.SessionID, string, *int64) event.Payload {
		return func(event.SessionID, string, *int64) event.Payload { return &event.StationStatus{Status: v} }
	}
	register := func(id event.SessionID, trx string, meter *int64) event.Payload {
		return &event.SessionUpdated{Session: id, Transaction: trx, MeterWh: meter, Trigger: "meter_clock"}
	}
	steps := []func(id event.SessionID, trx string, meter *int64) event.Payload{
		status(event.StatusPreparing),
		func(event.SessionID, string, *int64) event.Payload {
			return &event.TokenAuthorized{Token: token, Authorization: accepted, Context: "authorize"}
		},
		func(id event.SessionID, trx string, meter *int64) event.Payload {
			return &event.SessionStarted{
				Session: id, Transaction: trx, Protocol: "ocpp1.6", Token: &token, MeterWh: meter,
				Authorization: &accepted, Trigger: "authorized", DeviceTime: "2026-11-22T06:01:02Z",
			}
		},
		status(event.StatusCharging),
		func(id event.SessionID, trx string, _ *int64) event.Payload {
			return &event.SessionUpdated{Session: id, Transaction: trx, ChargingState: "charging", Trigger: "charging_state"}
		},
		register, register, register, register,
		status(event.StatusFinishing),
		func(id event.SessionID, trx string, meter *int64) event.Payload {
			energy := int64(4000)
			return &event.SessionEnded{
				Session: id, Transaction: trx, Reason: "local", MeterStartWh: meter, MeterStopWh: meter, EnergyWh: &energy,
				DurationS: 3600, Token: &token, Trigger: "stop_authorized",
			}
		},
		status(event.StatusAvailable),
	}
	if d.now.IsZero() {
		d.now = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	}
	for _, step := range steps {
		for st := range stations {
			d.now = d.now.Add(37 * time.Millisecond)
			d.meter++
			n := d.session + st
			p := step(event.SessionID(fmt.Sprintf("0197f3c2-6f7e-7cc1-a1f5-%012x", n)), fmt.Sprint(n), &d.meter)
			d.g.Say(storetest.At(event.StationID(fmt.Sprintf("CP-%d", st)), 1), d.now, p)
		}
	}
	d.session += stations
}

// BenchmarkApply measures events applied with all projections, a thousand a
// commit, against BenchmarkBareInserts. What counts is the ratio of ns/event, or
// of cpu-ns/event where other processes share the machine.
func BenchmarkApply(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "cloud.db"))
	if err := store.AddGateway(b.Context(), fleet.Gateway{ID: "gw-1", Tenant: fleet.DefaultTenant}, ""); err != nil {
		b.Fatal(err)
	}
	measure(b, func(batch fleet.Batch) {
		applied, err := store.Apply(b.Context(), batch)
		if err != nil || len(applied.Entries) != perCommit {
			b.Fatal(len(applied.Entries), err)
		}
	})
}

// BenchmarkBareInserts puts the same events into a plain table, one prepared
// insert each, a thousand a commit, in the same mode of the database.
func BenchmarkBareInserts(b *testing.B) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a benchmark's own
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE events (stream TEXT, sequence INTEGER, type TEXT, subject TEXT, time INTEGER, recorded INTEGER, boot TEXT, clock TEXT, data BLOB)`); err != nil {
		b.Fatal(err)
	}
	insert, err := db.Prepare(`INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		b.Fatal(err)
	}
	defer insert.Close() //nolint:errcheck // a benchmark's own
	measure(b, func(batch fleet.Batch) {
		tx, err := db.Begin()
		if err != nil {
			b.Fatal(err)
		}
		st := tx.Stmt(insert)
		for i := range batch.Events {
			e := &batch.Events[i]
			if _, err := st.Exec(batch.Stream, i, string(e.Type), e.Subject, e.Time.UnixMilli(), e.Recorded.UnixMilli(), e.Boot, string(e.Clock), []byte(e.Data)); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	})
}

// measure calls f with one batch after the other and reports the time and the
// CPU time that an event took in it.
func measure(b *testing.B, f func(fleet.Batch)) {
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	const most = 20 // batches in memory: more would be the garbage collector's work
	g := storetest.NewGateway("gw-1")
	d := &days{g: g}
	var spent, used int64
	for left := b.N; left > 0; left -= most {
		batches := d.next(min(left, most))
		before, began := cpu(), time.Now()
		for _, batch := range batches {
			f(batch)
		}
		spent, used = spent+time.Since(began).Nanoseconds(), used+cpu()-before
	}
	events := float64(b.N * perCommit)
	b.ReportMetric(float64(spent)/events, "ns/event")
	b.ReportMetric(float64(used)/events, "cpu-ns/event")
	b.ReportMetric(0, "ns/op")
}
