package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/cloud/internal/ingest"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

func TestMain(m *testing.M) {
	// The compressor's channels must not belong to the virtual time of one test.
	if _, err := wire.Unpack(wire.Pack(make([]byte, 4096))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// fakeStore keeps nothing but positions, and fails or waits when told to.
type fakeStore struct {
	mu        sync.Mutex
	known     map[event.GatewayID]bool
	positions map[string]uint64
	applied   []string // stream/first of each batch, in order
	letters   []fleet.DeadLetter
	statuses  []string
	// connection of the last online; an offline of another is not the present.
	connection string
	hellos     []fleet.HelloFacts
	err        error
	gate       map[event.Lane]chan struct{} // Apply waits here
}

func (f *fakeStore) check(g event.GatewayID) error {
	if f.err != nil {
		return f.err
	}
	if !f.known[g] {
		return fmt.Errorf("gateway %s: %w", g, fleet.ErrNotFound)
	}
	return nil
}

func (f *fakeStore) Hello(_ context.Context, g event.GatewayID, h fleet.HelloFacts) (map[event.Lane]map[string]uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(g); err != nil {
		return nil, err
	}
	f.hellos = append(f.hellos, h)
	out := map[event.Lane]map[string]uint64{}
	for _, s := range h.Streams {
		if out[s.Lane] == nil {
			out[s.Lane] = map[string]uint64{}
		}
		out[s.Lane][s.Stream] = f.positions[s.Stream]
	}
	return out, nil
}

func (f *fakeStore) Apply(_ context.Context, b fleet.Batch) (fleet.Applied, error) {
	f.mu.Lock()
	gate := f.gate[b.Lane]
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(b.Gateway); err != nil {
		return fleet.Applied{}, err
	}
	var a fleet.Applied
	for i := range b.Events {
		id, err := b.Events[i].EventID()
		if err != nil {
			return a, err
		}
		if id.Sequence == f.positions[b.Stream]+1 {
			f.positions[b.Stream]++
			a.Entries = append(a.Entries, fleet.Entry{Event: b.Events[i], Gateway: b.Gateway})
		}
	}
	f.applied = append(f.applied, b.Events[0].ID)
	a.Position = f.positions[b.Stream]
	return a, nil
}

func (f *fakeStore) Status(_ context.Context, g event.GatewayID, online bool, boot, connection string, _ time.Time) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(g); err != nil {
		return false, err
	}
	f.statuses = append(f.statuses, fmt.Sprint(g, online, boot, connection))
	if online {
		f.connection = connection
	}
	return f.connection == connection, nil
}

func (f *fakeStore) DeadLetter(_ context.Context, d fleet.DeadLetter) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(d.Gateway); err != nil {
		return err
	}
	f.letters = append(f.letters, d)
	return nil
}

func (f *fakeStore) Transactions(context.Context, event.GatewayID) (map[event.StationID]int64, error) {
	return map[event.StationID]int64{"CP-1": 7}, nil
}

func (f *fakeStore) Incarnation(context.Context) (string, error) { return "inc", nil }

// published is a message to a gateway.
type published struct {
	topic   string
	payload string
	qos     byte
}

// world is an Ingest with everything around it, in virtual time.
type world struct {
	store    *fakeStore
	ingest   *ingest.Ingest
	log      bytes.Buffer
	stop     context.CancelFunc
	done     chan error
	mu       sync.Mutex
	sent     []published
	busErr   error
	welcomed []string
	news     []string
	presence []string
	desired  error
}

func (w *world) Publish(topic string, payload []byte, qos byte, retained bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if retained {
		return errors.New("nothing that a manager says is retained")
	}
	if w.busErr != nil {
		return w.busErr
	}
	plain, err := wire.Unpack(payload)
	w.sent = append(w.sent, published{topic, string(plain), qos})
	return err
}

func (w *world) Revisions(context.Context, event.GatewayID) (map[string]string, error) {
	return map[string]string{"site": "r1"}, w.desired
}

func (w *world) Welcomed(g event.GatewayID, h wire.Hello) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.welcomed = append(w.welcomed, fmt.Sprint(g, h.Hello, len(w.sent)))
}

// take returns what was published since it was last called, once everything is
// at rest.
func (w *world) take() []published {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

// run runs test with an Ingest at work.
func run(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			store: &fakeStore{known: map[event.GatewayID]bool{"gw-1": true, "gw-2": true}, positions: map[string]uint64{}, gate: map[event.Lane]chan struct{}{}},
			done:  make(chan error, 1),
		}
		w.ingest = ingest.New(w.store, w, w, w, slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelInfo})), time.Now)
		w.ingest.Subscribe(func(a fleet.Applied) {
			for _, e := range a.Entries {
				w.mu.Lock()
				w.news = append(w.news, e.ID)
				w.mu.Unlock()
			}
		})
		w.ingest.SubscribeStatus(func(g event.GatewayID, s wire.Status) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.presence = append(w.presence, fmt.Sprint(g, " ", s.Online, " ", s.Connection))
		})
		ctx, cancel := context.WithCancel(t.Context())
		w.stop = cancel
		go func() { w.done <- w.ingest.Run(ctx) }()
		synctest.Wait()
		test(t, w)
		cancel()
		if err := <-w.done; err != nil {
			t.Error(err)
		}
	})
}

const stream = "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55"

// batch is a payload of the events first to last of a stream.
func batch(t *testing.T, name string, first, last uint64) []byte {
	t.Helper()
	b := wire.NewBatcher(name)
	for n := first; n <= last; n++ {
		tail, err := event.AppendTail(nil, "gw-1", &event.Draft{
			Address: event.Address{Station: "CP-1", EVSE: 1, Connector: 1}, Time: time.Now(), Recorded: time.Now(), Boot: "b", Clock: event.ClockSynced,
			Data: &event.StationStatus{Status: event.StatusAvailable},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Add(n, tail)
	}
	return b.Batch().JSON
}

func sequence(n uint64) string { return event.FormatSequence(n) }

func ack(first, position uint64) string {
	return fmt.Sprintf(`{"stream":"%s","first":"%s","sequence":"%s"}`, stream, sequence(first), sequence(position))
}

func TestHello(t *testing.T) {
	hello := `{"hello":"h-1","version":"1.2","boot":"b","connection":"c","clock":"synced","time":"2026-11-22T06:00:00Z","desired":{},
		"lanes":{"events":[{"stream":"s-1","oldest":"0000000000000003","next":"0000000000000009","missing":[["0000000000000005","0000000000000006"],["0000000000000008","0000000000000009"]]},
		                    {"stream":"s-2","oldest":"0000000000000001","next":"0000000000000001"}],"samples":[]}}`
	t.Run("is welcomed, then gets what it is owed", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			w.store.positions["s-1"] = 4
			w.ingest.Handle("cy/1/gw-1/hello", []byte(hello))
			sent := w.take()
			if len(sent) != 1 || sent[0].topic != "cy/1/gw-1/welcome" || sent[0].qos != 1 {
				t.Fatalf("sent %v", sent)
			}
			var got wire.Welcome
			if err := json.Unmarshal([]byte(sent[0].payload), &got); err != nil {
				t.Fatal(err)
			}
			if got.Hello != "h-1" || got.Incarnation != "inc" || got.Desired["site"] != "r1" || got.Transactions["CP-1"] != 7 || !got.Time.Equal(time.Now()) {
				t.Errorf("welcome %+v", got)
			}
			if want := map[string]wire.Sequence{"s-1": 4, "s-2": 0}; !maps.Equal(got.Positions[event.LaneEvents], want) || len(got.Positions[event.LaneSamples]) != 0 {
				t.Errorf("positions %v, want %v", got.Positions, want)
			}
			if !slices.Equal(w.welcomed, []string{"gw-1h-11"}) {
				t.Errorf("welcomed %q, want it after the welcome", w.welcomed)
			}
			facts := w.store.hellos[0]
			if facts.Version != "1.2" || facts.Boot != "b" || facts.Connection != "c" || len(facts.Streams) != 2 {
				t.Errorf("facts %+v", facts)
			}
			if s := facts.Streams[0]; s.Oldest != 3 || s.Next != 9 || !slices.Equal(s.Missing, [][2]uint64{{5, 6}}) {
				t.Errorf("stream %+v: a hole up to next is none", s)
			}
		})
	})
	t.Run("unknown gateway gets no answer", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			for range 3 {
				w.ingest.Handle("cy/1/gw-9/hello", []byte(hello))
				w.ingest.Handle("cy/1/gw-9/up/events", []byte("x"))
				w.ingest.Handle("cy/1/gw-9/up/events", batch(t, stream, 1, 1))
			}
			if sent := w.take(); len(sent) != 0 || len(w.welcomed) != 0 {
				t.Errorf("sent %v", sent)
			}
			if n := strings.Count(w.log.String(), "unknown gateway"); n != 1 {
				t.Errorf("spoken of %d times, want once: %s", n, w.log.String())
			}
		})
	})
	t.Run("what is none", func(t *testing.T) {
		for _, payload := range []string{``, `{`, `[]`, `{"hello":""}`, `{"hello":"h","lanes":{"dreams":[]}}`, `{"hello":"h","lanes":{"events":[{"stream":"s","oldest":"x","next":"1"}]}}`, `{"hello":7}`, `{"hello":"h","lanes":{"events":[{"stream":"s","oldest":"0000000000000001","next":"ffffffffffffffff"}]}}`} {
			run(t, func(t *testing.T, w *world) {
				w.ingest.Handle("cy/1/gw-1/hello", []byte(payload))
				if sent := w.take(); len(sent) != 0 || len(w.store.letters) != 1 {
					t.Errorf("%s: sent %v, letters %v", payload, sent, w.store.letters)
				}
			})
		}
	})
	t.Run("desired state out of reach", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			w.desired = errors.New("disk")
			w.ingest.Handle("cy/1/gw-1/hello", []byte(hello))
			if sent := w.take(); len(sent) != 0 || len(w.welcomed) != 0 {
				t.Errorf("sent %v", sent)
			}
		})
	})
	t.Run("welcome that went nowhere", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			w.busErr = errors.New("away")
			w.ingest.Handle("cy/1/gw-1/hello", []byte(hello))
			w.take()
			if len(w.welcomed) != 0 {
				t.Errorf("welcomed %v", w.welcomed)
			}
		})
	})
}

func TestUp(t *testing.T) {
	const topic = "cy/1/gw-1/up/events"
	t.Run("is acknowledged once it is committed", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			for _, tt := range []struct {
				first, last uint64
				want        string
			}{{1, 3, ack(1, 3)}, {1, 3, ack(1, 3)}, {3, 5, ack(3, 5)}, {8, 9, ack(8, 5)}} {
				w.ingest.Handle(topic, wire.Pack(batch(t, stream, tt.first, tt.last)))
				if sent := w.take(); len(sent) != 1 || sent[0] != (published{"cy/1/gw-1/ack/events", tt.want, 1}) {
					t.Errorf("%d to %d: sent %v, want %s", tt.first, tt.last, sent, tt.want)
				}
			}
			if len(w.news) != 5 {
				t.Errorf("news of %v, want 5 events once", w.news)
			}
		})
	})
	t.Run("what cannot be read is refused by its name", func(t *testing.T) {
		two := append(append([]byte{}, bytes.TrimSuffix(batch(t, stream, 1, 1), []byte("]"))...), append([]byte(","), bytes.TrimPrefix(batch(t, "other", 2, 2), []byte("["))...)...)
		for name, m := range map[string]struct {
			topic   string
			payload []byte
		}{
			"no JSON":         {topic, []byte("x")},
			"nothing":         {topic, nil},
			"no events":       {topic, []byte("[]")},
			"no ids":          {topic, []byte(`[{}]`)},
			"cut":             {topic, batch(t, stream, 1, 3)[:100]},
			"two streams":     {topic, two},
			"broken zstd":     {topic, []byte("\x28\xb5\x2f\xfdxx")},
			"too large":       {topic, make([]byte, wire.MaxWire+1)},
			"no such lane":    {"cy/1/gw-1/up/dreams", batch(t, stream, 1, 1)},
			"time of day":     {topic, bytes.ReplaceAll(batch(t, stream, 1, 1), []byte(`"time":"`), []byte(`"time":"noon`))},
			"falling numbers": {topic, bytes.ReplaceAll(batch(t, stream, 1, 2), []byte("0002"), []byte("0001"))},
		} {
			t.Run(name, func(t *testing.T) {
				run(t, func(t *testing.T, w *world) {
					w.ingest.Handle(m.topic, m.payload)
					sent := w.take()
					if len(sent) != 1 || !strings.HasPrefix(sent[0].payload, `{"refused":"`+wire.Fingerprint(m.payload)+`","reason":"`) {
						t.Fatalf("sent %v", sent)
					}
					if len(w.store.letters) != 1 || w.store.letters[0].Topic != m.topic || !bytes.Equal(w.store.letters[0].Payload, m.payload) {
						t.Errorf("letters %v", w.store.letters)
					}
				})
			})
		}
	})
	t.Run("an outage of the database is met with silence", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			w.store.err = errors.New("disk full")
			for range 3 {
				w.ingest.Handle(topic, batch(t, stream, 1, 1))
				w.ingest.Handle("cy/1/gw-2/up/events", []byte("x"))
				if sent := w.take(); len(sent) != 0 {
					t.Errorf("sent %v", sent)
				}
			}
			if n := strings.Count(w.log.String(), "disk full"); n != 1 {
				t.Errorf("spoken of %d times, want once: %s", n, w.log.String())
			}
			w.store.err = nil
			w.ingest.Handle(topic, batch(t, stream, 1, 1))
			if sent := w.take(); len(sent) != 1 {
				t.Errorf("sent %v after the outage", sent)
			}
			if !strings.Contains(w.log.String(), "again") {
				t.Errorf("nobody said that it is over: %s", w.log.String())
			}
		})
	})
	t.Run("a lane in its order, others beside it", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			gate := make(chan struct{})
			w.store.gate[event.LaneSamples] = gate
			for n := uint64(1); n <= 5; n++ {
				w.ingest.Handle("cy/1/gw-1/up/samples", batch(t, "samples", n, n))
			}
			for n := uint64(1); n <= 5; n++ {
				w.ingest.Handle(topic, batch(t, stream, n, n))
			}
			if sent := w.take(); len(sent) != 5 {
				t.Errorf("%d acks while the other lane waits, want 5", len(sent))
			}
			close(gate)
			if sent := w.take(); len(sent) != 5 {
				t.Errorf("%d acks of the other lane, want 5", len(sent))
			}
			for i, id := range w.store.applied {
				name, n := stream, uint64(i+1)
				if i >= 5 {
					name, n = "samples", uint64(i-4)
				}
				if want := name + "/" + sequence(n); id != want {
					t.Errorf("batch %d was %s, want %s", i, id, want)
				}
			}
		})
	})
	t.Run("never blocks, and drops what finds no room", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			gate := make(chan struct{})
			w.store.gate[event.LaneEvents] = gate
			payload := batch(t, stream, 1, 1)
			for range 10_000 {
				w.ingest.Handle(topic, payload)
			}
			close(gate)
			if sent := w.take(); len(sent) == 0 || len(sent) > 20 {
				t.Errorf("%d acks, want a few", len(sent))
			}
			w.ingest.Handle(topic, payload)
			if sent := w.take(); len(sent) != 1 {
				t.Errorf("%d acks afterwards, want 1", len(sent))
			}
		})
	})
	t.Run("stopping finishes what is under way and takes no more", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			gate := make(chan struct{})
			w.store.gate[event.LaneEvents] = gate
			w.ingest.Handle(topic, batch(t, stream, 1, 1))
			w.ingest.Handle(topic, batch(t, stream, 2, 2))
			synctest.Wait()
			w.stop()
			synctest.Wait()
			w.ingest.Handle(topic, batch(t, stream, 3, 3))
			close(gate)
			if sent := w.take(); len(sent) != 1 || sent[0].payload != ack(1, 1) {
				t.Errorf("sent %v, want the first ack alone", sent)
			}
		})
	})
}

func TestStatus(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		for _, payload := range []string{`{"online":true,"boot":"b","connection":"c"}`, ``, `{"online":false,"boot":"b","connection":"c"}`, `{`} {
			w.ingest.Handle("cy/1/gw-1/status", []byte(payload))
			w.take()
		}
		w.ingest.Handle("cy/1/gw-9/status", []byte(`{"online":true}`))
		w.take()
		if want := []string{"gw-1truebc", "gw-1falsebc"}; !slices.Equal(w.store.statuses, want) {
			t.Errorf("statuses %q, want %q", w.store.statuses, want)
		}
		if len(w.store.letters) != 1 {
			t.Errorf("letters %v, want one", w.store.letters)
		}
	})
}

func TestSubscribeStatus(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		for _, payload := range []string{
			`{"online":true,"boot":"b","connection":"1"}`, `{"online":true,"boot":"b","connection":"2"}`,
			`{"online":false,"boot":"b","connection":"1"}`, `{"online":false,"boot":"b","connection":"2"}`,
		} {
			w.ingest.Handle("cy/1/gw-1/status", []byte(payload))
			w.take()
		}
		if want := []string{"gw-1 true 1", "gw-1 true 2", "gw-1 false 2"}; !slices.Equal(w.presence, want) {
			t.Errorf("told %q, want %q", w.presence, want)
		}
	})
}

// A status is said once: what the store refuses, or what finds the queue full,
// must reach it all the same.
func TestStatusReachesTheStore(t *testing.T) {
	const topic = "cy/1/gw-1/status"
	word := func(online bool, connection string) []byte {
		return fmt.Appendf(nil, `{"online":%t,"boot":"b","connection":"%s"}`, online, connection)
	}
	t.Run("after an outage of the database", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			w.store.err = errors.New("disk full")
			w.ingest.Handle(topic, word(true, "2"))
			w.take()
			w.ingest.Handle(topic, word(false, "1")) // the will of the connection before
			time.Sleep(time.Minute)
			w.take()
			w.store.mu.Lock()
			w.store.err = nil
			w.store.mu.Unlock()
			time.Sleep(5 * time.Second)
			w.take()
			if want := []string{"gw-1trueb2", "gw-1falseb1"}; !slices.Equal(w.store.statuses, want) {
				t.Errorf("statuses %q, want %q", w.store.statuses, want)
			}
		})
	})
	t.Run("after more words than the queue holds", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			w.store.err = errors.New("disk full")
			for n := range 100 {
				w.ingest.Handle(topic, word(true, fmt.Sprint(n)))
				w.ingest.Handle(topic, word(false, fmt.Sprint(n)))
			}
			w.take()
			w.store.mu.Lock()
			w.store.err = nil
			w.store.mu.Unlock()
			time.Sleep(5 * time.Second)
			w.take()
			n := len(w.store.statuses)
			if n < 2 || n > 10 || w.store.statuses[n-1] != "gw-1falseb99" || w.store.statuses[n-2] != "gw-1trueb99" {
				t.Errorf("statuses %q, want a few, up to the newest", w.store.statuses)
			}
		})
	})
	t.Run("the last of equal words", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			w.store.err = errors.New("disk full")
			for _, online := range []bool{true, false, true} {
				w.ingest.Handle(topic, word(online, "1"))
				w.take()
			}
			w.store.mu.Lock()
			w.store.err = nil
			w.store.mu.Unlock()
			time.Sleep(5 * time.Second)
			w.take()
			if n := len(w.store.statuses); n == 0 || w.store.statuses[n-1] != "gw-1trueb1" {
				t.Errorf("statuses %q, want online at last", w.store.statuses)
			}
		})
	})
}

func TestOtherTopics(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		for _, topic := range []string{"", "x", "cy/2/gw-1/hello", "cy/1/GW/hello", "cy/1/gw-1", "cy/1/gw-1/live", "cy/1/gw-1/ask", "cy/1/gw-1/up/events/more"} {
			w.ingest.Handle(topic, []byte(`{}`))
		}
		if sent := w.take(); len(sent) != 0 || len(w.store.letters) != 0 {
			t.Errorf("sent %v, letters %v", sent, w.store.letters)
		}
	})
}

// FuzzUp: whatever comes, the lane goes on: it is refused or acknowledged.
func FuzzUp(f *testing.F) {
	f.Add([]byte(`[{"specversion":"1.0","id":"s/0000000000000001","sequence":"0000000000000001","source":"/gateways/gw-1","type":"chargeyard.station.status","subject":"stations/CP-1","time":"2026-11-22T06:01:02.345Z","recorded":"2026-11-22T06:01:02.361Z","boot":"b","clock":"synced","data":{"status":"available"}}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		run(t, func(t *testing.T, w *world) {
			w.ingest.Handle("cy/1/gw-1/up/events", payload)
			if sent := w.take(); len(sent) != 1 {
				t.Errorf("sent %v", sent)
			}
		})
	})
}
