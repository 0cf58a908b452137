package commander_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/commander"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The compressor makes its channels when it is first used: not inside of one
	// test's virtual time, or the next cannot use it.
	if _, err := wire.Unpack(wire.Pack(make([]byte, 4096))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// yard is a store, a bus and a directory in one, with one tenant and the
// gateways gw-1 and gw-2.
type yard struct {
	mu       sync.Mutex
	commands map[event.CommandID]*fleet.Command
	keys     map[string]string
	tokens   map[string]fleet.Token
	desired  map[event.GatewayID]map[string][]byte
	sent     []string // "gw-1 cmd c1"
	bodies   map[string][]byte
	broken   error // of the bus
	slow     time.Duration
	late     bool // a command moves on just before it would be sent
}

func newYard() *yard {
	return &yard{
		commands: map[event.CommandID]*fleet.Command{}, keys: map[string]string{},
		tokens: map[string]fleet.Token{}, desired: map[event.GatewayID]map[string][]byte{}, bodies: map[string][]byte{},
	}
}

func (y *yard) Owned(_ context.Context, id event.GatewayID) (fleet.Gateway, error) {
	if id != "gw-1" && id != "gw-2" {
		return fleet.Gateway{}, fleet.ErrNotFound
	}
	return fleet.Gateway{ID: id, Tenant: "t"}, nil
}

func (y *yard) All(context.Context) ([]event.GatewayID, error) {
	return []event.GatewayID{"gw-1", "gw-2"}, nil
}

func (y *yard) AddCommand(_ context.Context, c fleet.Command, _, _ string) (fleet.Command, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.commands[c.ID] = &c
	return c, nil
}

func (y *yard) Command(_ context.Context, _ fleet.Scope, id event.CommandID) (fleet.Command, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	c := y.commands[id]
	if c == nil {
		return fleet.Command{}, fleet.ErrNotFound
	}
	return *c, nil
}

func (y *yard) MoveCommand(_ context.Context, id event.CommandID, to event.CommandState, reason string, _ time.Time) (bool, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	c := y.commands[id]
	if y.late && to == event.StateSent {
		c.Status = event.StateCancelled
	}
	if to.Rank() <= c.Status.Rank() || to.Final() && c.Status != event.StateQueued {
		return false, nil
	}
	c.Status, c.Reason = to, reason
	return true, nil
}

func (y *yard) WishCancel(_ context.Context, id event.CommandID, at time.Time) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if c := y.commands[id]; c.CancelAsked == nil {
		c.CancelAsked = &at
	}
	return nil
}

func (y *yard) OwedCommands(_ context.Context, g event.GatewayID) ([]fleet.Command, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	var out []fleet.Command
	for _, c := range y.commands {
		if c.Gateway == g && !c.Status.Final() {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(a, b fleet.Command) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

func (y *yard) Token(ctx context.Context, _ fleet.Tenant, value string) (fleet.Token, error) {
	y.mu.Lock()
	slow := y.slow
	y.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return fleet.Token{}, ctx.Err()
		}
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	t, ok := y.tokens[wire.TokenKey(value)]
	if !ok {
		return fleet.Token{}, fleet.ErrNotFound
	}
	return t, nil
}

func (y *yard) TokensIn(_ context.Context, _ fleet.Tenant, section string) ([]fleet.Token, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	var out []fleet.Token
	for _, t := range y.tokens {
		if wire.TokenSection(t.Value) == section {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b fleet.Token) int { return strings.Compare(a.Value, b.Value) })
	return out, nil
}

func (y *yard) Desired(_ context.Context, g event.GatewayID) (map[string][]byte, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.desired[g], nil
}

func (y *yard) Publish(topic string, payload []byte, qos byte, retained bool) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.broken != nil {
		return y.broken
	}
	g, kind, sub, err := wire.ParseTopic(topic)
	if err != nil || retained || (qos != 1 && kind != wire.KindAnswer) {
		return fmt.Errorf("publish %s with QoS %d, retained %v: %w", topic, qos, retained, err)
	}
	what := string(g) + " " + string(kind)
	switch kind {
	case wire.KindCommand:
		o, err := wire.Decode[wire.Order](payload)
		if err != nil {
			return err
		}
		if o.Cancel != "" {
			what += " cancel " + string(o.Cancel)
		} else {
			what += " " + string(o.ID)
		}
	case wire.KindDesired:
		what += " " + sub
	}
	y.sent = append(y.sent, what)
	y.bodies[what] = payload
	return nil
}

// set changes the yard while the commander works.
func (y *yard) set(change func()) {
	y.mu.Lock()
	defer y.mu.Unlock()
	change()
}

// took returns what was published since the last call.
func (y *yard) took() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	out := y.sent
	y.sent = nil
	return out
}

func (y *yard) state(id event.CommandID) event.CommandState {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.commands[id].Status
}

// tell is a gateway's word about a command, applied.
func (y *yard) tell(id event.CommandID, s event.CommandState) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.commands[id].Status = s
}

// run runs a commander in virtual time.
func run(t *testing.T, test func(t *testing.T, c *commander.Commander, y *yard)) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		c := commander.New(y, y, y, slog.New(slog.DiscardHandler), time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		synctest.Wait()
		test(t, c, y)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// wait lets d pass and everything due happen.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func queue(t *testing.T, c *commander.Commander, id event.CommandID, life time.Duration) {
	t.Helper()
	_, err := c.Queue(t.Context(), fleet.Command{
		Command: event.Command{ID: id, Type: event.CommandUnlock, Station: "CP1", Expires: time.Now().Add(life)},
		Gateway: "gw-1", Tenant: "t", Status: event.StateQueued,
	}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// all is what a gateway has that lacks nothing.
func all(t *testing.T, c *commander.Commander) map[string]string {
	t.Helper()
	r, err := c.Revisions(t.Context(), "gw-1")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hello(t *testing.T, c *commander.Commander) {
	t.Helper()
	c.Welcomed("gw-1", wire.Hello{Connection: "c", Desired: all(t, c)})
	synctest.Wait()
}

func expect(t *testing.T, y *yard, want ...string) {
	t.Helper()
	if got := y.took(); !slices.Equal(got, want) {
		t.Errorf("published %q, want %q", got, want)
	}
}

func expectState(t *testing.T, y *yard, id event.CommandID, want event.CommandState) {
	t.Helper()
	if got := y.state(id); got != want {
		t.Errorf("command %s is %s, want %s", id, got, want)
	}
}

func TestCommands(t *testing.T) {
	t.Run("at once when the gateway is there", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			queue(t, c, "c1", time.Minute)
			expect(t, y, "gw-1 cmd c1")
			expectState(t, y, "c1", event.StateSent)
		})
	})
	t.Run("again every ten seconds until the gateway speaks", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			queue(t, c, "c1", time.Minute)
			wait(25 * time.Second)
			expect(t, y, "gw-1 cmd c1", "gw-1 cmd c1", "gw-1 cmd c1")
			y.tell("c1", event.StateDelivered)
			wait(time.Minute)
			expect(t, y)
		})
	})
	t.Run("a new one does not repeat an older one", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			queue(t, c, "c1", time.Minute)
			wait(5 * time.Second)
			queue(t, c, "c2", time.Minute)
			expect(t, y, "gw-1 cmd c1", "gw-1 cmd c2")
		})
	})
	t.Run("waits for the gateway", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			queue(t, c, "c1", time.Minute)
			wait(30 * time.Second)
			expect(t, y)
			expectState(t, y, "c1", event.StateQueued)
			hello(t, c)
			expect(t, y, "gw-1 cmd c1")
		})
	})
	t.Run("expires only if it was never sent", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			queue(t, c, "c1", time.Minute)
			wait(61 * time.Second)
			expectState(t, y, "c1", event.StateExpired)
			hello(t, c)
			queue(t, c, "c2", time.Minute)
			wait(5 * time.Minute)
			expectState(t, y, "c2", event.StateSent)
			y.took()
			wait(time.Hour)
			expect(t, y)
			// The gateway is asked once more when it comes back: it says what became
			// of the command.
			hello(t, c)
			wait(time.Minute)
			expect(t, y, "gw-1 cmd c2")
			wait(6 * 24 * time.Hour)
			hello(t, c)
			expect(t, y)
		})
	})
	t.Run("after a lost connection what was sent goes out again", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			queue(t, c, "c1", time.Hour)
			c.Status("gw-1", wire.Status{Online: false, Connection: "c"})
			wait(time.Minute)
			expect(t, y, "gw-1 cmd c1")
			hello(t, c)
			expect(t, y, "gw-1 cmd c1")
		})
	})
	t.Run("the offline of an older connection is nothing", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			c.Status("gw-1", wire.Status{Online: false, Connection: "before"})
			queue(t, c, "c1", time.Hour)
			expect(t, y, "gw-1 cmd c1")
		})
	})
	t.Run("a bus that fails costs nothing but time", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			y.set(func() { y.broken = errors.New("away") })
			queue(t, c, "c1", time.Hour)
			expect(t, y)
			y.set(func() { y.broken = nil })
			wait(11 * time.Second)
			expect(t, y, "gw-1 cmd c1")
		})
	})
	t.Run("one that was cancelled just now is not sent", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			y.set(func() { y.late = true })
			queue(t, c, "c1", time.Hour)
			wait(time.Minute)
			expect(t, y)
		})
	})
	t.Run("a restart of the manager takes them up again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard()
			y.commands["c1"] = &fleet.Command{Command: event.Command{ID: "c1", Expires: time.Now().Add(time.Minute)}, Gateway: "gw-2", Status: event.StateQueued}
			c := commander.New(y, y, y, slog.New(slog.DiscardHandler), time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			wait(2 * time.Minute)
			expectState(t, y, "c1", event.StateExpired)
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("many at once go out in parts", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			for i := range 250 {
				queue(t, c, event.CommandID(fmt.Sprintf("c%03d", i)), time.Hour)
			}
			hello(t, c)
			if n := len(y.took()); n != 100 {
				t.Errorf("%d at once, want 100", n)
			}
			wait(5 * time.Second)
			if n := len(y.took()); n != 150 {
				t.Errorf("%d afterwards, want 150", n)
			}
		})
	})
}

func TestCancel(t *testing.T) {
	run(t, func(t *testing.T, c *commander.Commander, y *yard) {
		queue(t, c, "c1", time.Hour)
		got, err := c.Cancel(t.Context(), fleet.Scope{}, "c1")
		if err != nil || got.Status != event.StateCancelled {
			t.Errorf("cancel what was not sent: %s, %v", got.Status, err)
		}
		hello(t, c)
		queue(t, c, "c2", time.Hour)
		expect(t, y, "gw-1 cmd c2")
		got, err = c.Cancel(t.Context(), fleet.Scope{}, "c2")
		if err != nil || got.Status != event.StateSent {
			t.Errorf("cancel what was sent: %s, %v", got.Status, err)
		}
		synctest.Wait()
		expect(t, y, "gw-1 cmd cancel c2")
		y.tell("c2", event.StateAccepted)
		wait(11 * time.Second)
		expect(t, y, "gw-1 cmd cancel c2")
		y.tell("c2", event.StateSucceeded)
		wait(time.Minute)
		expect(t, y)
		got, err = c.Cancel(t.Context(), fleet.Scope{}, "c2")
		if err != nil || got.Status != event.StateSucceeded {
			t.Errorf("cancel what has ended: %s, %v", got.Status, err)
		}
		if _, err = c.Cancel(t.Context(), fleet.Scope{}, "c9"); !errors.Is(err, fleet.ErrNotFound) {
			t.Errorf("cancel what is not there: %v", err)
		}
	})
}

// TestCancelRestart: a wish outlives the manager that took it.
func TestCancelRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		for _, second := range []bool{false, true} {
			c := commander.New(y, y, y, slog.New(slog.DiscardHandler), time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			synctest.Wait()
			if second {
				expect(t, y)
				c.Status("gw-1", wire.Status{Online: true, Connection: "c"}) // it stayed connected
				wait(2 * time.Second)
				expect(t, y, "gw-1 cmd cancel c1")
			} else {
				hello(t, c)
				queue(t, c, "c1", time.Hour)
				expect(t, y, "gw-1 cmd c1")
				y.tell("c1", event.StateDelivered)
				if got, err := c.Cancel(t.Context(), fleet.Scope{}, "c1"); err != nil || got.CancelAsked == nil {
					t.Errorf("%+v, %v", got, err)
				}
				synctest.Wait()
				expect(t, y, "gw-1 cmd cancel c1")
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestDesired(t *testing.T) {
	token := func(y *yard, value, status string) {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.tokens[wire.TokenKey(value)] = fleet.Token{Tenant: "t", Type: "rfid", Value: value, Status: status}
	}
	t.Run("after a welcome what differs", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			y.set(func() { y.desired["gw-1"] = map[string][]byte{"site": []byte(`{ "limit_a": {"A<B": 6} }`)} })
			token(y, "CARD", "accepted")
			has := all(t, c)
			if len(has) != wire.TokenSections+1 {
				t.Errorf("%d sections, want %d", len(has), wire.TokenSections+1)
			}
			delete(has, "site")
			has[wire.TokenSection("CARD")] = "another"
			c.Welcomed("gw-1", wire.Hello{Desired: has})
			synctest.Wait()
			expect(t, y, "gw-1 desired site", "gw-1 desired "+wire.TokenSection("CARD"))
			for _, what := range []string{"gw-1 desired site", "gw-1 desired " + wire.TokenSection("CARD")} {
				d, err := wire.Decode[wire.Desired](y.bodies[what])
				if err != nil {
					t.Fatal(err)
				}
				if want := all(t, c)[d.Section]; d.Revision != want || wire.Revision(d.Content) != want {
					t.Errorf("section %s: revision %s, that of its content %s; want %s", d.Section, d.Revision, wire.Revision(d.Content), want)
				}
			}
		})
	})
	t.Run("at most 32 KiB at once, at least one", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			var sum [16]byte
			for i := range 8000 {
				sum = [16]byte([]byte(fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15)))
				token(y, string(sum[:]), "accepted")
			}
			has := map[string]string{}
			for rounds := 0; len(has) < wire.TokenSections; rounds++ {
				if rounds > wire.TokenSections {
					t.Fatal("it never ends")
				}
				c.Welcomed("gw-1", wire.Hello{Desired: has})
				synctest.Wait()
				sent, bytes := y.took(), 0
				for _, what := range sent {
					d, err := wire.Decode[wire.Desired](y.bodies[what])
					if err != nil {
						t.Fatal(err)
					}
					bytes += len(y.bodies[what])
					has[d.Section] = d.Revision
				}
				if len(sent) == 0 || bytes > wire.MaxOwed && len(sent) > 1 {
					t.Fatalf("round %d: %d sections with %d bytes", rounds, len(sent), bytes)
				}
			}
		})
	})
	t.Run("what was refused comes last", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			y.set(func() { y.desired["gw-1"] = map[string][]byte{"site": []byte(`{}`)} })
			token(y, "CARD", "accepted")
			has := all(t, c)
			site := has["site"]
			delete(has, "site")
			delete(has, wire.TokenSection("CARD"))
			applied := func(reason string) {
				data, err := json.Marshal(event.GatewayApplied{Section: "site", Revision: site, Error: reason})
				if err != nil {
					t.Fatal(err)
				}
				c.Applied(fleet.Applied{Entries: []fleet.Entry{{Gateway: "gw-1", Event: event.Event{Type: event.TypeGatewayApplied, Data: data}}}})
				c.Welcomed("gw-1", wire.Hello{Desired: has})
				synctest.Wait()
			}
			applied("too much")
			expect(t, y, "gw-1 desired "+wire.TokenSection("CARD"), "gw-1 desired site")
			applied("")
			expect(t, y, "gw-1 desired site", "gw-1 desired "+wire.TokenSection("CARD"))
		})
	})
	t.Run("changes are collected for five seconds", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			for range 3 {
				token(y, "CARD", "blocked")
				c.TokenChanged("t", "CARD")
				wait(time.Second)
			}
			expect(t, y)
			wait(3 * time.Second)
			expect(t, y, "gw-1 desired "+wire.TokenSection("CARD"))
			wait(time.Minute)
			expect(t, y)
		})
	})
	t.Run("not to who is away, not to another", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			hello(t, c)
			c.Status("gw-2", wire.Status{Online: true, Connection: "x"})
			y.set(func() { y.desired["gw-1"] = map[string][]byte{"site": []byte(`{}`)} })
			c.DesiredChanged("gw-1", "site")
			wait(10 * time.Second)
			expect(t, y, "gw-1 desired site")
			c.Status("gw-1", wire.Status{Online: false, Connection: "c"})
			c.DesiredChanged("gw-1", "site")
			wait(10 * time.Second)
			expect(t, y)
		})
	})
	t.Run("a deleted token leaves an empty section", func(t *testing.T) {
		run(t, func(t *testing.T, c *commander.Commander, y *yard) {
			token(y, "CARD", "accepted")
			hello(t, c)
			y.set(func() { delete(y.tokens, "CARD") })
			c.TokenChanged("t", "CARD")
			wait(6 * time.Second)
			what := "gw-1 desired " + wire.TokenSection("CARD")
			expect(t, y, what)
			d, err := wire.Decode[wire.Desired](y.bodies[what])
			if err != nil || string(d.Content) != `{"tokens":[]}` {
				t.Errorf("content %s, %v", d.Content, err)
			}
		})
	})
}

func TestAsk(t *testing.T) {
	soon := func(d time.Duration) *time.Time { at := time.Now().Add(d); return &at }
	tests := []struct {
		name    string
		gateway event.GatewayID
		ask     any
		slow    time.Duration
		want    string // status of the token, or error; empty: no answer
		cache   int64
	}{
		{name: "known", ask: wire.Ask{ID: "1", Question: "token", WaitMS: 3000, Token: &event.Token{Value: "good"}}, want: "accepted", cache: 86400},
		{name: "known, expires soon", ask: wire.Ask{ID: "1", Question: "token", Token: &event.Token{Value: "SOON"}}, want: "accepted", cache: 60},
		{name: "blocked", ask: wire.Ask{ID: "1", Question: "token", WaitMS: 3000, Token: &event.Token{Value: "BAD"}}, want: "blocked", cache: 86400},
		{name: "expired", ask: wire.Ask{ID: "1", Question: "token", WaitMS: 3000, Token: &event.Token{Value: "OLD"}}, want: "expired", cache: 86400},
		{name: "unknown", ask: wire.Ask{ID: "1", Question: "token", WaitMS: 3000, Token: &event.Token{Value: "WHO"}}, want: "invalid", cache: 300},
		{name: "too slow", slow: 4 * time.Second, ask: wire.Ask{ID: "1", Question: "token", WaitMS: 3000, Token: &event.Token{Value: "GOOD"}}},
		{name: "slow enough", slow: 2 * time.Second, ask: wire.Ask{ID: "1", Question: "token", WaitMS: 3000, Token: &event.Token{Value: "GOOD"}}, want: "accepted", cache: 86400},
		{name: "stranger", gateway: "gw-9", ask: wire.Ask{ID: "1", Question: "token", Token: &event.Token{Value: "GOOD"}}},
		{name: "another question", ask: wire.Ask{ID: "1", Question: "vat_number", Payload: json.RawMessage(`{}`)}, want: "unsupported"},
		{name: "another question of a stranger", gateway: "gw-9", ask: wire.Ask{ID: "1", Question: "vat_number"}},
		{name: "no token", ask: wire.Ask{ID: "1", Question: "token"}, want: "error"},
		{name: "no id", ask: wire.Ask{Question: "token", Token: &event.Token{Value: "GOOD"}}},
		{name: "not JSON", ask: json.RawMessage(`"x"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(t *testing.T, c *commander.Commander, y *yard) {
				y.set(func() {
					y.slow = tt.slow
					y.tokens = map[string]fleet.Token{
						"GOOD": {Value: "GOOD", Status: "accepted"}, "BAD": {Value: "BAD", Status: "blocked"},
						"SOON": {Value: "SOON", Status: "accepted", Expires: soon(time.Minute)}, "OLD": {Value: "OLD", Status: "accepted", Expires: soon(-time.Hour)},
					}
				})
				payload, err := json.Marshal(tt.ask)
				if err != nil {
					t.Fatal(err)
				}
				g := tt.gateway
				if g == "" {
					g = "gw-1"
				}
				c.Ask(g, payload)
				wait(10 * time.Second)
				if tt.want == "" {
					expect(t, y)
					return
				}
				expect(t, y, "gw-1 answer")
				a, err := wire.Decode[wire.Answer](y.bodies["gw-1 answer"])
				if err != nil || a.ID != "1" {
					t.Fatalf("answer %+v, %v", a, err)
				}
				if tt.want == "unsupported" {
					if a.Error != tt.want || a.Token != nil || a.Payload != nil {
						t.Errorf("answer %+v, want that it is not supported", a)
					}
					return
				}
				if tt.want == "error" {
					if a.Error == "" {
						t.Errorf("answer %+v, want an error", a)
					}
					return
				}
				if a.Token == nil || a.Token.Status != tt.want || a.Token.CacheS != tt.cache {
					t.Errorf("answer %+v, want %s for %d s", a.Token, tt.want, tt.cache)
				}
				if q, ok := tt.ask.(wire.Ask); ok && a.Token.Value != q.Token.Value {
					t.Errorf("token %q, want as it was asked: %q", a.Token.Value, q.Token.Value)
				}
			})
		})
	}
}

// A manager that starts anew may meet a gateway that stays connected and says no
// hello: its status alone must bring it what was queued before.
func TestRestartBesideConnectedGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.commands["c1"] = &fleet.Command{
			Command: event.Command{ID: "c1", Type: event.CommandUnlock, Station: "CP1", Expires: time.Now().Add(5 * time.Minute)},
			Gateway: "gw-1", Tenant: "t", Status: event.StateQueued,
		}
		c := commander.New(y, y, y, slog.New(slog.DiscardHandler), time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		synctest.Wait()
		expect(t, y) // nobody is known to be there
		c.Status("gw-1", wire.Status{Online: true, Boot: "b", Connection: "c"})
		synctest.Wait()
		expect(t, y, "gw-1 cmd c1")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
