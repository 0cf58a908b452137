package outbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// started is an event of about 450 bytes, as a StartTransaction makes it.
func started(n int) event.Draft {
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	meter := int64(1520 + n)
	return event.Draft{
		Address: event.Address{Station: "CP-7", EVSE: 1, Connector: 1},
		Time:    at, Recorded: at, Boot: "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55", Clock: event.ClockSynced,
		Data: &event.SessionStarted{
			Session: "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55", Transaction: fmt.Sprint(n), Protocol: "ocpp1.6",
			Token:   &event.Token{Type: "rfid", Value: "04A1B2C3"},
			MeterWh: &meter,
		},
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			o := openTest(b, testConfig(b.TempDir()))
			var left atomic.Int64
			left.Store(int64(b.N))
			before := cpu(b)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for {
						n := left.Add(-1)
						if n < 0 {
							return
						}
						if err := o.Commit(context.Background(), site.Change{Events: []event.Draft{started(int(n))}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			s := o.Stats().Lanes[event.LaneEvents]
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(s.Committed)/float64(s.Commits), "events/commit")
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/event")
		})
	}
}

// cpu is what this process has used so far: on a busy machine it says more than
// the clock.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill stores n events.
func fill(b *testing.B, o *Outbox, n int) {
	b.Helper()
	for i := 0; i < n; i += 1000 {
		var c site.Change
		for j := range min(1000, n-i) {
			c.Events = append(c.Events, started(i+j))
		}
		if err := o.Commit(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}

// backlog is how many events wait for BenchmarkDrainAgainstSQLite, unless
// BENCH_DRAIN says otherwise.
const backlog = 100_000

// BenchmarkDrainAgainstSQLite hands a backlog to a far end that only
// acknowledges, reads and deletes the same rows with nothing around, and reports
// how much faster the first is.
func BenchmarkDrainAgainstSQLite(b *testing.B) {
	n := backlog
	if v := os.Getenv("BENCH_DRAIN"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	var ours, bare time.Duration
	for b.Loop() {
		ours += drainOurs(b, full(b, n), n)
		bare += drainBare(b, full(b, n), n)
	}
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(float64(n)*float64(b.N)/ours.Seconds(), "events/s")
}

// full returns a directory with n events in it.
func full(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	o := openTest(b, testConfig(dir))
	fill(b, o, n)
	if err := o.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

func drainOurs(b *testing.B, dir string, want int) time.Duration {
	b.Helper()
	o := openTest(b, testConfig(dir))
	l := o.Lane(event.LaneEvents)
	start, n := time.Now(), 0
	for l.Backlog() > 0 {
		batch := next(b, l, 0)
		n += int(batch.Last - batch.First + 1)
		if err := l.Settle(context.Background(), batch.Stream, batch.Last); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(start)
	if n != want {
		b.Fatalf("got %d events, want %d", n, want)
	}
	if err := o.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

func drainBare(b *testing.B, dir string, want int) time.Duration {
	b.Helper()
	db, err := openDatabase(filepath.Join(dir, "events.db"))
	if err != nil {
		b.Fatal(err)
	}
	start, n, last := time.Now(), 0, int64(0)
	for {
		read := 0
		err := db.transact(func(ctx context.Context) error {
			err := each(ctx, db.write, "SELECT key, body FROM rows WHERE key > ? ORDER BY key LIMIT 1000", []any{last}, func(scan func(...any) error) error {
				var body []byte
				read++
				return scan(&last, &body)
			})
			if err != nil {
				return err
			}
			_, err = db.write.ExecContext(ctx, "DELETE FROM rows WHERE key <= ?", last)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		if n += read; read == 0 {
			break
		}
	}
	took := time.Since(start)
	if n != want {
		b.Fatalf("got %d rows, want %d", n, want)
	}
	if err := db.close(); err != nil {
		b.Fatal(err)
	}
	return took
}

func BenchmarkSamples(b *testing.B) {
	for _, flush := range []time.Duration{10 * time.Second, 0} {
		b.Run(fmt.Sprintf("flush=%s", flush), func(b *testing.B) {
			cfg := testConfig(b.TempDir())
			cfg.SamplesFlush = flush
			o := openTest(b, cfg)
			var count atomic.Int64
			b.SetParallelism(50)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := int(count.Add(1))
					if err := o.AddSamples(context.Background(), sampled(n%100, n/100*10)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "samples/s")
			if lost := o.Stats().SamplesLost; lost > 0 {
				b.Errorf("%d samples lost", lost)
			}
		})
	}
}
