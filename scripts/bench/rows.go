package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A row measures one line of the table and returns one figure per round. unit
// says what it is; reach and aim are what it ought to be.
type row struct {
	name, what, unit string
	reach, aim       float64
	atMost           bool // smaller is better
	measure          func(b *bench) (float64, string, error)
}

var rows = []row{
	{"calls100", "calls per second, 100 chargers, durable, against the reference", "×", 1.5, 2.5, false, func(b *bench) (float64, string, error) { return b.throughput(100) }},
	{"calls1000", "calls per second, 1,000 chargers, durable, against the reference", "×", 1.5, 2.5, false, func(b *bench) (float64, string, error) { return b.throughput(1000) }},
	{"cpu", "CPU per call against the reference, 1,000 chargers", "×", 0.6, 0.4, true, (*bench).cpuPerCall},
	{"p99", "p99 answer time at 2,000 calls/s, 200 chargers, against the reference", "×", 1, 0.5, true, (*bench).paced},
	{"memory", "memory per idle charger connection, 2,000 of them, against the reference", "×", 0.6, 0.4, true, (*bench).memory},
	{"memorytls", "memory per idle charger connection with TLS, against the reference with TLS", "×", 0.6, 0.4, true, (*bench).memoryTLS},
	{"tls", "500 TLS connections: rate against a bare TLS WebSocket server", "×", 0.5, 0.8, false, (*bench).tlsRate},
	{"tlsstorm", "p99 of 50 others while 500 stations come back with TLS, against before", "×", 1.5, 1.1, true, (*bench).tlsStorm},
	{"storm", "chargers stuck after 1,000 left and returned at once, again and again", "", 0, 0, true, (*bench).storm},
	{"away", "p99 with the broker away at 2,000 calls/s against before", "×", 1.2, 1.05, true, (*bench).away},
	{"drain", "backlog drain against reading and deleting the same rows in bare SQLite", "×", 0.5, 0.8, false, (*bench).drain},
	{"rss", "gateway memory (RSS) with 20 chargers, idle", "MB", 40, 25, true, (*bench).idle},
	{"binary", "gateway binary, arm64, stripped", "MB", 25, 18, true, (*bench).binary},
	{"wire", "bytes on the wire per charger and day at one sample each 30 s", "MB", 1.5, 0.3, true, (*bench).wire},
}

// bench holds what rows need.
type bench struct {
	root    string
	seconds time.Duration // of one measurement
	long    bool          // full length where the table says minutes
	cache   map[string][2]measured
}

type measured struct {
	rate float64 // calls per second
	cpu  float64 // seconds per call
}

func (b *bench) bin() string { return filepath.Join(b.root, "bin") }

// both starts our gateway and the reference, one after the other, in turn which
// one is first.
func (b *bench) both(do func(s *server) error) error {
	starts := []func(string) (*server, error){startGateway, startReference}
	for _, start := range starts {
		s, err := start(b.bin())
		if err != nil {
			return err
		}
		if err := errors.Join(do(s), s.stop()); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) load(n int) ([2]measured, error) {
	key := strconv.Itoa(n)
	if m, ok := b.cache[key]; ok {
		return m, nil
	}
	var out [2]measured
	err := b.both(func(s *server) error {
		f := &fleet{url: s.url, count: n, prefix: "B"}
		all, err := f.connect(context.Background())
		defer closeAll(all)
		if err != nil {
			return err
		}
		warm, cancel := context.WithTimeout(context.Background(), b.seconds/4)
		err = f.charge(warm, all)
		cancel()
		if err != nil {
			return err
		}
		calls, began := f.calls.Load(), time.Now()
		cpu, err := s.cpu()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), b.seconds)
		defer cancel()
		if err := f.charge(ctx, all); err != nil {
			return err
		}
		after, err := s.cpu()
		if err != nil {
			return err
		}
		done := float64(f.calls.Load() - calls)
		m := measured{rate: done / time.Since(began).Seconds(), cpu: (after - cpu).Seconds() / done}
		if s.far != nil {
			out[0] = m
		} else {
			out[1] = m
		}
		return nil
	})
	if err == nil {
		b.cache[key] = out
	}
	return out, err
}

func (b *bench) throughput(n int) (float64, string, error) {
	m, err := b.load(n)
	return m[0].rate / m[1].rate, fmt.Sprintf("%.0f against %.0f calls/s", m[0].rate, m[1].rate), err
}

func (b *bench) cpuPerCall() (float64, string, error) {
	m, err := b.load(1000)
	return m[0].cpu / m[1].cpu, fmt.Sprintf("%.0f against %.0f µs", m[0].cpu*1e6, m[1].cpu*1e6), err
}

func (b *bench) paced() (float64, string, error) {
	var p99 [2]time.Duration
	err := b.both(func(s *server) error {
		f := &fleet{url: s.url, count: 200, prefix: "P", pace: 100 * time.Millisecond}
		all, err := f.connect(context.Background())
		defer closeAll(all)
		if err != nil {
			return err
		}
		warm, cancel := context.WithTimeout(context.Background(), b.seconds/4)
		err = f.charge(warm, all)
		cancel()
		if err != nil {
			return err
		}
		f.quantile(0.99)
		ctx, cancel := context.WithTimeout(context.Background(), b.seconds)
		defer cancel()
		if err := f.charge(ctx, all); err != nil {
			return err
		}
		i := 1
		if s.far != nil {
			i = 0
		}
		p99[i] = f.quantile(0.99)
		return nil
	})
	return float64(p99[0]) / float64(p99[1]), fmt.Sprintf("%v against %v", p99[0].Round(10*time.Microsecond), p99[1].Round(10*time.Microsecond)), err
}

func (b *bench) memory() (float64, string, error) {
	return memoryOf(func() (*server, error) { return startGateway(b.bin()) }, func() (*server, error) { return startReference(b.bin()) })
}

// memoryOf compares what an idle connection costs at two servers.
func memoryOf(ours, reference func() (*server, error)) (float64, string, error) {
	const count = 2000
	var per [2]float64
	for i, start := range []func() (*server, error){ours, reference} {
		s, err := start()
		if err != nil {
			return 0, "", err
		}
		per[i], err = perConnection(s, count)
		if err = errors.Join(err, s.stop()); err != nil {
			return 0, "", err
		}
	}
	return per[0] / per[1], fmt.Sprintf("%.1f against %.1f KiB", per[0], per[1]), nil
}

// perConnection is the memory of one of count idle connections, in KiB.
func perConnection(s *server, count int) (float64, error) {
	one := &fleet{url: s.url, count: 50, prefix: "W"} // what only the first ones cost
	warm, err := one.connect(context.Background())
	defer closeAll(warm)
	if err != nil {
		return 0, err
	}
	before, err := settledRSS(s)
	if err != nil {
		return 0, err
	}
	f := &fleet{url: s.url, count: count, prefix: "M"}
	all, err := f.connect(context.Background())
	defer closeAll(all)
	if err != nil {
		return 0, err
	}
	after, err := settledRSS(s)
	return float64(after-before) / float64(count), err
}

// settledRSS waits until the memory of s has stopped to fall: freed pages go
// back to the system in the background.
func settledRSS(s *server) (int, error) {
	least, still := 1<<62, 0
	for still < 20 {
		n, err := s.rss()
		if err != nil {
			return 0, err
		}
		if n < least-256 {
			least, still = n, 0
		} else {
			still++
		}
		time.Sleep(time.Second)
	}
	return least, nil
}

func (b *bench) storm() (float64, string, error) {
	s, err := startGateway(b.bin())
	if err != nil {
		return 0, "", err
	}
	const count = 1000
	trials := 20
	if b.long {
		trials = 100
	}
	stuck := 0
	for range trials {
		f := &fleet{url: s.url, count: count, prefix: "S"}
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		all, err := f.connect(ctx)
		cancel()
		if err != nil {
			for _, c := range all {
				if c == nil {
					stuck++
				}
			}
		}
		closeAll(all)
	}
	return float64(stuck), fmt.Sprintf("%d trials of %d", trials, count), s.stop()
}

func (b *bench) away() (float64, string, error) {
	s, err := startGateway(b.bin())
	if err != nil {
		return 0, "", err
	}
	length := 60 * time.Second
	if b.long {
		length = 10 * time.Minute
	}
	f := &fleet{url: s.url, count: 200, prefix: "A", pace: 100 * time.Millisecond}
	all, err := f.connect(context.Background())
	defer closeAll(all)
	if err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	for _, d := range []time.Duration{b.seconds, length} { // warm up, then as long as without the broker
		ctx, cancel := context.WithTimeout(context.Background(), d)
		f.quantile(0.99)
		err = f.charge(ctx, all)
		cancel()
		if err != nil {
			return 0, "", errors.Join(err, s.stop())
		}
	}
	before := f.quantile(0.99)
	rss, err := s.rss()
	if err != nil {
		return 0, "", err
	}
	if err := s.far.stop(); err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	if err := f.charge(ctx, all); err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	during := f.quantile(0.99)
	after, err := s.rss()
	if err != nil {
		return 0, "", err
	}
	s.far = nil // stopped already
	return float64(during) / float64(before), fmt.Sprintf("%v away: %v against %v; memory grew by %.1f MB", length, during.Round(10*time.Microsecond), before.Round(10*time.Microsecond), float64(after-rss)/1024), s.stop()
}

var ratio = regexp.MustCompile(`([0-9.]+) ratio`)

// drain runs the benchmark that stands beside the outbox.
func (b *bench) drain() (float64, string, error) {
	cmd := exec.Command("go", "test", "-buildvcs=false", "-run", "^$", "-bench", "^BenchmarkDrainAgainstSQLite$", "-benchtime", "1x", "./edge/internal/outbox")
	cmd.Dir = b.root
	if b.long {
		cmd.Env = append(os.Environ(), "BENCH_DRAIN=1000000")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, "", fmt.Errorf("%w\n%s", err, out)
	}
	m := ratio.FindSubmatch(out)
	if m == nil {
		return 0, "", fmt.Errorf("the benchmark printed no ratio:\n%s", out)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	return v, "", err
}

func (b *bench) idle() (float64, string, error) {
	s, err := startGateway(b.bin())
	if err != nil {
		return 0, "", err
	}
	f := &fleet{url: s.url, count: 20, prefix: "I"}
	all, err := f.connect(context.Background())
	defer closeAll(all)
	if err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	kib, err := settledRSS(s)
	return float64(kib) / 1024, "", errors.Join(err, s.stop())
}

func (b *bench) binary() (float64, string, error) {
	dir, err := os.MkdirTemp("", "chargeyard-bench-")
	if err != nil {
		return 0, "", err
	}
	path := filepath.Join(dir, "edge")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", path, "./edge")
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, "", fmt.Errorf("%w\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, "", err
	}
	return float64(info.Size()) / (1 << 20), "", os.RemoveAll(dir)
}

// wire lets 20 chargers send a reading each 30 s for some minutes and counts
// what the uplink published, with its MQTT and TCP headers estimated at 60
// bytes a message.
func (b *bench) wire() (float64, string, error) {
	s, err := startGateway(b.bin())
	if err != nil {
		return 0, "", err
	}
	const count = 20
	length := 3 * time.Minute
	f := &fleet{url: s.url, count: count, prefix: "N", pace: 30 * time.Second}
	all, err := f.connect(context.Background())
	defer closeAll(all)
	if err != nil {
		return 0, "", errors.Join(err, s.stop())
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, count)
	for i, c := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := start(c)
			t := time.NewTicker(30 * time.Second)
			defer t.Stop()
			for err == nil && ctx.Err() == nil {
				if err = values(c); err != nil {
					break
				}
				select {
				case <-ctx.Done():
				case <-t.C:
				}
			}
			errs[i] = err
		}()
	}
	first := time.Now()
	wg.Wait()
	sent := float64(s.far.bytes.Load())
	days := time.Since(first).Hours() / 24 * count
	return sent / days / 1e6, fmt.Sprintf("%.0f bytes in %v, extrapolated", sent, length), errors.Join(errors.Join(errs...), s.stop())
}

// median of the rounds of one row.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func names() string {
	var all []string
	for _, r := range rows {
		all = append(all, r.name)
	}
	return strings.Join(all, " ")
}
