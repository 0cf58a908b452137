package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// recordEnv names the directory in which the test binary, started anew under
// strace, works as the gateway whose writes are recorded.
const recordEnv = "CHARGEYARD_OUTBOX_RECORD"

const (
	recordCallers = 4
	recordCommits = 60 // of each caller, in each of three rounds
	boundaries    = 100
)

// recordWrites commits from several callers at once and says on stdout what was
// confirmed. Each line is one write, so that it has its place among the others.
func recordWrites(dir string) error {
	cfg := testConfig(dir)
	o, err := Open(cfg, newClock(), quiet())
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { _, _ = os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n") }
	say("opened")
	next := 0
	for round := range 3 {
		errs := make([]error, recordCallers)
		var wg sync.WaitGroup
		for caller := range recordCallers {
			wg.Go(func() {
				for n := next + 1; n <= next+recordCommits && errs[caller] == nil; n++ {
					errs[caller] = recordCommit(o, caller, n, say)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		next += recordCommits
		for second := range 20 {
			if err := o.AddSamples(context.Background(), sampled(round+1, second)); err != nil {
				return err
			}
			say("sample %d %d", round+1, second)
		}
		for _, name := range event.Lanes {
			if err := recordBatch(o.Lane(name), say); err != nil {
				return err
			}
		}
		if round == 1 { // damage at work: renames and a new file
			if err := o.events.distrust(context.Background(), errDamaged); err != nil {
				return err
			}
			say("replaced")
		}
		o.events.upkeep(context.Background())
		o.samples.upkeep(context.Background())
	}
	return o.Close()
}

func recordCommit(o *Outbox, caller, n int, say func(string, ...any)) error {
	say("begin %d %d", caller, n)
	value := fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", 6000)) // enough for checkpoints
	err := o.Commit(context.Background(), site.Change{
		Events: []event.Draft{draft(caller*10_000 + n)},
		Put:    []site.Record{{Key: site.Key{Kind: "session", ID: strconv.Itoa(caller)}, Value: value}},
	})
	if err == nil {
		say("confirmed %d %d", caller, n)
	}
	return err
}

func recordBatch(l *Lane, say func(string, ...any)) error {
	b, err := l.Next(context.Background(), 4000)
	if err != nil {
		return err
	}
	events, err := wire.ParseBatch(b.JSON)
	if err != nil {
		return err
	}
	for _, e := range events {
		say("sent %s %s", e.ID, wire.Revision(e.Data))
	}
	return l.Settle(context.Background(), b.Stream, b.Last)
}

// said is what the recorded gateway has said up to some moment.
type said struct {
	begun, confirmed [recordCallers]int
	sent             map[string]string // event id: hash of its data
	samples          map[[2]int]bool
}

func newSaid() *said { return &said{sent: map[string]string{}, samples: map[[2]int]bool{}} }

func (s *said) take(line string) error {
	var a, b int
	var id, hash string
	switch {
	case line == "opened", line == "replaced":
	case scan(line, "begin %d %d", &a, &b):
		s.begun[a] = b
	case scan(line, "confirmed %d %d", &a, &b):
		s.confirmed[a] = b
	case scan(line, "sample %d %d", &a, &b):
		s.samples[[2]int{a, b}] = true
	case scan(line, "sent %s %s", &id, &hash):
		s.sent[id] = hash
	default:
		return fmt.Errorf("the recorded gateway said %q", line)
	}
	return nil
}

func scan(line, format string, to ...any) bool {
	n, err := fmt.Sscanf(line, format, to...)
	return err == nil && n == len(to)
}

// TestUnsyncedWrites records every write of a gateway at work and cuts the power
// at 100 moments: of each file only what the last fsync before it had covered is
// left, of each directory the same. Nothing that was confirmed is missing then,
// and no number ever means something else.
func TestUnsyncedWrites(t *testing.T) {
	if os.Getenv("CHARGEYARD_E2E") != "1" {
		t.Skip("set CHARGEYARD_E2E=1 to run end-to-end tests")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("this test records writes with strace, which is not installed: %v", err)
	}
	base := t.TempDir()
	dir, out := filepath.Join(base, "data"), filepath.Join(base, "trace")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(strace, "-f", "-y", "-xx", "-s", "1048576", "-e", "signal=none", "-o", out,
		"-e", "trace=open,openat,write,pwrite64,fsync,fdatasync,ftruncate,fallocate,unlink,unlinkat,rename,renameat,renameat2,mkdirat,mkdir", self)
	child.Env = append(os.Environ(), recordEnv+"="+dir)
	var stderr strings.Builder
	child.Stderr = &stderr
	if err := child.Run(); err != nil {
		t.Fatalf("recording: %v\n%s", err, stderr.String())
	}
	calls, err := readTrace(out)
	if err != nil {
		t.Fatal(err)
	}
	opened := slices.IndexFunc(calls, func(c call) bool { return c.name == "write" && c.fd == 1 && string(c.data) == "opened\n" })
	if opened < 0 || len(calls) < boundaries {
		t.Fatalf("%d calls recorded, opened at %d", len(calls), opened)
	}
	disk, s := newDisk(dir), newSaid()
	at, checked, syncs := 0, 0, 0
	for n := 1; n <= boundaries; n++ {
		upto := n * len(calls) / boundaries
		for ; at < upto; at++ {
			c := calls[at]
			if c.name == "write" && c.fd == 1 {
				for line := range strings.Lines(string(c.data)) {
					if err := s.take(strings.TrimSpace(line)); err != nil {
						t.Fatal(err)
					}
				}
				continue
			}
			if c.name == "fsync" || c.name == "fdatasync" {
				syncs++
			}
			if err := disk.apply(at, c); err != nil {
				t.Fatalf("call %d: %v", at, err)
			}
		}
		if at <= opened {
			continue
		}
		checked++
		after := filepath.Join(base, fmt.Sprintf("after-%d", n))
		if err := disk.restore(after); err != nil {
			t.Fatal(err)
		}
		checkRestored(t, fmt.Sprintf("power cut after call %d of %d", at, len(calls)), after, s)
		if err := os.RemoveAll(after); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d calls, %d syncs, %d boundaries checked, %d commits confirmed", len(calls), syncs, checked, s.confirmed[0]*recordCallers)
	if s.confirmed[0] != 3*recordCommits {
		t.Errorf("the recording ends at commit %d of %d", s.confirmed[0], 3*recordCommits)
	}
}

// checkRestored opens what a power cut has left and compares it with what had
// been said.
func checkRestored(t *testing.T, when, dir string, s *said) {
	t.Helper()
	o, err := Open(testConfig(dir), newClock(), quiet())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	if n := o.Stats().Salvages; n > 0 && s.begun[0] < 2*recordCommits {
		t.Errorf("%s: %d files were damaged", when, n)
	}
	commit(t, o, 999_999)
	addSamples(t, o, sampled(99, 0))
	found := map[string]string{}
	var highest [recordCallers]int
	samples := map[[2]int]bool{}
	for _, name := range event.Lanes {
		l := o.Lane(name)
		streams, _, err := l.Streams(ctxb, nil)
		if err != nil {
			t.Fatal(err)
		}
		positions := map[string]uint64{}
		for _, st := range streams {
			positions[st.Stream] = 0
			if len(st.Missing) > 0 || st.Oldest != 1 {
				t.Errorf("%s: %s: stream %+v has holes", when, name, st)
			}
		}
		if err := l.Welcome(ctxb, positions, ""); err != nil { // everything again
			t.Fatal(err)
		}
		for l.Backlog() > 0 {
			b := next(t, l, 0)
			events, err := wire.ParseBatch(wire.Pack(b.JSON))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if found[e.ID] != "" {
					t.Errorf("%s: event %s twice", when, e.ID)
				}
				found[e.ID] = wire.Revision(e.Data)
				p, err := e.Decode()
				if err != nil {
					t.Fatal(err)
				}
				switch p := p.(type) {
				case *event.StationStatus:
					n, err := strconv.Atoi(p.Info)
					if err != nil {
						t.Fatal(err)
					}
					if caller := n / 10_000; caller < recordCallers {
						if n%10_000 != highest[caller]+1 {
							t.Errorf("%s: caller %d: event %d after %d", when, caller, n%10_000, highest[caller])
						}
						highest[caller] = n % 10_000
					}
				case *event.SessionSampled:
					a, err := event.ParseSubject(e.Subject)
					if err != nil {
						t.Fatal(err)
					}
					for _, v := range p.Samples {
						samples[[2]int{a.EVSE, int(v.Time.Sub(sampledAt).Seconds())}] = true
					}
				}
			}
			if err := l.Settle(ctxb, b.Stream, b.Last); err != nil {
				t.Fatal(err)
			}
		}
	}
	records := map[string]int{}
	for _, r := range o.Restored() {
		number, _, _ := strings.Cut(string(r.Value), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		records[r.Key.ID] = n
	}
	for caller := range recordCallers {
		if highest[caller] < s.confirmed[caller] || highest[caller] > s.begun[caller] {
			t.Errorf("%s: caller %d: %d events are there, %d were confirmed, %d begun", when, caller, highest[caller], s.confirmed[caller], s.begun[caller])
		}
		if got := records[strconv.Itoa(caller)]; got != highest[caller] {
			t.Errorf("%s: caller %d: the record says %d, its event %d", when, caller, got, highest[caller])
		}
	}
	for id, hash := range s.sent {
		if found[id] != hash {
			t.Errorf("%s: event %s was sent as %s and is now %q", when, id, hash, found[id])
		}
	}
	for sample := range s.samples {
		if !samples[sample] {
			t.Errorf("%s: sample %v was confirmed and is gone", when, sample)
		}
	}
}
