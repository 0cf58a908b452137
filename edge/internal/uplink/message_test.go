package uplink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/uplink"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

var _ site.Manager = (*uplink.Uplink)(nil)

func order(id string) wire.Order {
	return wire.Order{Command: event.Command{ID: event.CommandID(id), Type: event.CommandStop, Station: "CP1", Expires: time.Now().Add(time.Hour)}}
}

// TestCommands: they are executed in the order of their arrival, and after what
// the welcome told.
func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.far.onHello = func(n int, _ wire.Hello, answer *wire.Welcome) verdict {
			answer.Transactions = map[event.StationID]int64{"CP1": 7}
			return verdict{delay: time.Second}
		}
		w.start(t)
		synctest.Wait()
		s := w.far.newest()
		s.say(wire.KindCommand, "", order("early")) // overtook the welcome
		time.Sleep(500 * time.Millisecond)
		if got := w.site.heard(); len(got) != 0 {
			t.Errorf("before the welcome: %q", got)
		}
		time.Sleep(time.Second)
		var want []string
		for i := range 100 {
			s.say(wire.KindCommand, "", order(fmt.Sprint(i)))
			want = append(want, fmt.Sprintf("execute %d", i))
		}
		s.say(wire.KindCommand, "", map[string]string{"cancel": "50"})
		synctest.Wait()
		want = append([]string{"raise map[CP1:7]", "execute early"}, append(want, "cancel 50")...)
		if got := w.site.heard(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		w.site.err = site.ErrNotKept
		s.say(wire.KindCommand, "", order("not kept")) // said in the log; the manager repeats it
		synctest.Wait()
		w.finish(t)
		if len(w.clock.told) != 1 {
			t.Errorf("the clock was told %d times", len(w.clock.told))
		}
	})
}

// TestCommandOfDeadConnection: what came over a connection that was never
// welcomed is dropped; the manager repeats it.
func TestCommandOfDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.far.onHello = func(n int, _ wire.Hello, _ *wire.Welcome) verdict { return verdict{silent: n == 1} }
		w.start(t)
		synctest.Wait()
		s := w.far.newest()
		s.say(wire.KindCommand, "", order("lost"))
		s.cut()
		time.Sleep(10 * time.Second)
		w.far.newest().say(wire.KindCommand, "", order("kept"))
		synctest.Wait()
		w.finish(t)
		if got, want := w.site.heard(), []string{"execute kept"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestForeignMessages: nothing that arrives stops a lane.
func TestForeignMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.start(t)
		synctest.Wait()
		s := w.far.newest()
		n := 0
		for _, topic := range []string{"ack/events", "ack/nothing", "ack/samples", "welcome", "cmd", "answer", "desired/site", "status", "hello", "x/y/z", ""} {
			for _, payload := range []string{"", "{", "[]", `"x"`, "\x28\xb5\x2f\xfd junk", `{"id":5}`, strings.Repeat("[", 1000), `{"section":"other"}`} {
				s.receive("cy/1/gw-1/"+topic, []byte(payload))
				s.receive("cy/1/gw-2/"+topic, []byte(payload))
				s.receive(topic, []byte(payload))
				n++
			}
		}
		w.events.add("s", 4)
		time.Sleep(time.Minute)
		w.finish(t)
		if w.events.Backlog() != 0 || w.uplink.Stats().Unreadable == 0 || len(w.site.heard()) != 0 {
			t.Errorf("%d left, stats %+v, heard %q", w.events.Backlog(), w.uplink.Stats(), w.site.heard())
		}
	})
}

// TestFlood: a manager that says too much loses the surplus, and nothing waits.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.start(t)
		synctest.Wait()
		s := w.far.newest()
		w.site.mu.Lock() // the site takes its time
		for i := range 2000 {
			s.say(wire.KindCommand, "", order(fmt.Sprint(i)))
			s.say(wire.KindAck, "events", wire.Ack{Refused: "x"})
			s.say(wire.KindDesired, "x", wire.Desired{Section: "x", Revision: "r", Content: json.RawMessage(`{}`)})
		}
		w.site.mu.Unlock()
		w.events.add("s", 4)
		time.Sleep(time.Minute)
		w.finish(t)
		if got := w.uplink.Stats().Dropped; got < 1000 || w.events.Backlog() != 0 {
			t.Errorf("%d dropped, %d left", got, w.events.Backlog())
		}
	})
}

// TestDesired: announced sections that do not come are asked for, by a hello
// that names what is in force; those that came are not.
func TestDesired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		announced := map[string]string{"site": "r1", "stations": "r2", "tokens-00": "r3"}
		w.far.onHello = func(_ int, h wire.Hello, answer *wire.Welcome) verdict {
			answer.Desired = announced
			s := w.far.sessions[len(w.far.sessions)-1]
			for _, name := range []string{"site", "stations", "tokens-00"} { // one a hello: the most that is owed
				if h.Desired[name] != announced[name] {
					time.AfterFunc(100*time.Millisecond, func() {
						s.say(wire.KindDesired, name, wire.Desired{Section: name, Revision: announced[name], Content: json.RawMessage(`{}`)})
					})
					break
				}
			}
			return verdict{}
		}
		w.start(t)
		time.Sleep(20 * time.Second)
		if got := w.desired.Revisions(); len(got) != 3 || len(look(w.far, func() []wire.Hello { return w.far.hellos })) != 3 {
			t.Errorf("after %d hellos in force: %v", len(w.far.hellos), got)
		}
		time.Sleep(30 * time.Minute)
		w.finish(t)
		if n := len(w.far.hellos); n != 3 {
			t.Errorf("%d hellos, want 3", n)
		}
	})
}

// TestDesiredNeverComes: hellos become rare, and batches go on.
func TestDesiredNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.far.onHello = func(_ int, _ wire.Hello, answer *wire.Welcome) verdict {
			answer.Desired = map[string]string{"site": "r1"}
			return verdict{}
		}
		w.start(t)
		for range 60 {
			w.events.add("s", 1)
			time.Sleep(time.Minute)
		}
		w.finish(t)
		if n := len(w.far.hellos); n < 5 || n > 20 {
			t.Errorf("%d hellos within an hour, want some", n)
		}
		if w.events.Backlog() != 0 {
			t.Errorf("%d left", w.events.Backlog())
		}
	})
}

func TestAskToken(t *testing.T) {
	expires := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	token := event.Token{Type: "rfid", Value: "04A1"}
	at := event.Address{Station: "CP1", EVSE: 2}
	tests := []struct {
		name   string
		answer func(w *world, q wire.Ask)
		wait   time.Duration // of the asker; 0: none of its own
		want   site.TokenInfo
		away   bool
		took   time.Duration
	}{
		{name: "known", answer: func(w *world, q wire.Ask) {
			w.far.newest().say(wire.KindAnswer, "", wire.Answer{ID: "another"})
			w.far.newest().say(wire.KindAnswer, "", wire.Answer{ID: q.ID, Token: &wire.TokenEntry{
				Token: event.Token{Type: "rfid", Value: "04a1"}, Status: "accepted", Parent: "fleet", Expires: &expires, CacheS: 60,
			}})
		}, want: site.TokenInfo{Token: token, Decision: "accepted", Parent: "fleet", Expires: &expires, Cache: time.Minute}},
		{name: "not known", answer: func(w *world, q wire.Ask) {
			w.far.newest().say(wire.KindAnswer, "", wire.Answer{ID: q.ID})
		}, want: site.TokenInfo{Token: token, Decision: "invalid"}},
		{name: "error", answer: func(w *world, q wire.Ask) {
			w.far.newest().say(wire.KindAnswer, "", wire.Answer{ID: q.ID, Error: "database away"})
		}, away: true},
		{name: "no answer", answer: func(*world, wire.Ask) {}, away: true, took: 3 * time.Second},
		{name: "no answer within the asker's time", answer: func(*world, wire.Ask) {}, wait: time.Second, away: true, took: time.Second},
		{name: "connection lost", answer: func(w *world, _ wire.Ask) {
			time.AfterFunc(time.Second, w.far.newest().cut)
		}, away: true, took: time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(2)
				w.far.onHello = func(n int, _ wire.Hello, _ *wire.Welcome) verdict { return verdict{delay: time.Second} }
				ask := func(ctx context.Context) (site.TokenInfo, error) { return w.uplink.AskToken(ctx, at, token) }
				if _, err := ask(t.Context()); !errors.Is(err, site.ErrManagerAway) {
					t.Errorf("before Run: %v, want ErrManagerAway", err)
				}
				w.start(t)
				synctest.Wait()
				begun := time.Now()
				if _, err := ask(t.Context()); !errors.Is(err, site.ErrManagerAway) || time.Since(begun) > 0 {
					t.Errorf("before the welcome, after %v: %v, want ErrManagerAway at once", time.Since(begun), err)
				}
				time.Sleep(5 * time.Second)

				ctx := t.Context()
				if tt.wait > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.wait)
					defer cancel()
				}
				begun = time.Now()
				var wg sync.WaitGroup
				var got site.TokenInfo
				var err error
				wg.Go(func() { got, err = ask(ctx) })
				synctest.Wait()
				q := look(w.far, func() wire.Ask { return w.far.asks[0] })
				if want := cmpWait(tt.wait).Milliseconds(); q.Question != "token" || q.Station != "CP1" || q.EVSE != 2 || *q.Token != token || q.WaitMS != want {
					t.Errorf("asked %+v", q)
				}
				tt.answer(w, q)
				wg.Wait()
				if took := time.Since(begun); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if errors.Is(err, site.ErrManagerAway) != tt.away || (err != nil) != tt.away {
					t.Errorf("error %v, want away: %t", err, tt.away)
				}
				if !tt.away && (got.Token != tt.want.Token || got.Decision != tt.want.Decision || got.Parent != tt.want.Parent || got.Cache != tt.want.Cache || (got.Expires == nil) != (tt.want.Expires == nil)) {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				w.finish(t)
				if _, err := ask(t.Context()); !errors.Is(err, site.ErrManagerAway) {
					t.Errorf("after Run: %v, want ErrManagerAway", err)
				}
			})
		})
	}
}

// Every other question travels with its payload.
func TestAsk(t *testing.T) {
	at := event.Address{Station: "CP1", EVSE: 2}
	tests := []struct {
		name    string
		payload string
		answer  func(q wire.Ask) *wire.Answer // nil: none comes
		want    string
		err     error
		took    time.Duration
	}{
		{name: "answered", payload: `{"csr":"x"}`, answer: func(q wire.Ask) *wire.Answer {
			return &wire.Answer{ID: q.ID, Payload: json.RawMessage(`{"chain":"y"}`)}
		}, want: `{"chain":"y"}`},
		{name: "answered with nothing", answer: func(q wire.Ask) *wire.Answer { return &wire.Answer{ID: q.ID} }},
		{name: "unsupported", answer: func(q wire.Ask) *wire.Answer { return &wire.Answer{ID: q.ID, Error: "unsupported"} }, err: site.ErrUnsupported},
		{name: "error", answer: func(q wire.Ask) *wire.Answer { return &wire.Answer{ID: q.ID, Error: "database away"} }, err: site.ErrManagerAway},
		{name: "no answer", answer: func(wire.Ask) *wire.Answer { return nil }, err: site.ErrManagerAway, took: 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(2)
				question := site.Question{Kind: site.QuestionSignCertificate, Payload: json.RawMessage(tt.payload)}
				if _, err := w.uplink.Ask(t.Context(), at, question); !errors.Is(err, site.ErrManagerAway) {
					t.Errorf("before Run: %v, want ErrManagerAway", err)
				}
				w.start(t)
				time.Sleep(5 * time.Second)
				if _, err := w.uplink.Ask(t.Context(), at, site.Question{Kind: "data", Payload: json.RawMessage("{")}); err == nil {
					t.Error("a payload that is no JSON was asked")
				}
				begun := time.Now()
				var wg sync.WaitGroup
				var got json.RawMessage
				var err error
				wg.Go(func() { got, err = w.uplink.Ask(t.Context(), at, question) })
				synctest.Wait()
				q := look(w.far, func() wire.Ask { return w.far.asks[0] })
				if q.Question != "sign_certificate" || q.Station != "CP1" || q.EVSE != 2 || q.Token != nil || string(q.Payload) != tt.payload || q.WaitMS != 30_000 {
					t.Errorf("asked %+v", q)
				}
				if a := tt.answer(q); a != nil {
					w.far.newest().say(wire.KindAnswer, "", *a)
				}
				wg.Wait()
				if !errors.Is(err, tt.err) || string(got) != tt.want || time.Since(begun) != tt.took {
					t.Errorf("got %s, %v after %v; want %s, %v after %v", got, err, time.Since(begun), tt.want, tt.err, tt.took)
				}
				w.finish(t)
			})
		})
	}
}

func cmpWait(d time.Duration) time.Duration {
	if d == 0 {
		return 3 * time.Second
	}
	return d
}

// TestLive: at once what a person waits for, values more slowly, nothing while
// nothing changes, never twice within a second.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.site.live = []site.LiveConnector{{Station: "CP1", EVSE: 1, Connector: 1, Status: event.StatusAvailable}}
		change := func(f func(c *site.LiveConnector)) {
			w.site.mu.Lock()
			defer w.site.mu.Unlock()
			f(&w.site.live[0])
			w.site.shown++
		}
		w.start(t)
		count := func() int { return look(w.far, func() int { return len(w.far.live) }) }
		time.Sleep(time.Minute)
		if n := count(); n != 1 {
			t.Errorf("%d messages although nothing changed", n)
		}
		change(func(c *site.LiveConnector) { c.AsOf = time.Now() })
		time.Sleep(time.Minute)
		if n := count(); n != 1 {
			t.Errorf("%d messages although nothing but the moment changed", n)
		}
		change(func(c *site.LiveConnector) { c.Status = event.StatusCharging })
		time.Sleep(time.Second + time.Millisecond)
		if n := count(); n != 2 {
			t.Errorf("%d messages a second after a status changed, want 2", n)
		}
		for i := range 600 { // a meter twice a second for five minutes
			change(func(c *site.LiveConnector) { c.PowerW = new(float64); *c.PowerW = float64(i) })
			time.Sleep(500 * time.Millisecond)
		}
		if n := count(); n < 30 || n > 35 {
			t.Errorf("%d messages after five minutes of changing power, want one each ten seconds", n)
		}
		for i := range 100 {
			change(func(c *site.LiveConnector) { c.Session = event.SessionID(fmt.Sprint(i)) })
			time.Sleep(100 * time.Millisecond)
		}
		w.events.add("s", 4)
		time.Sleep(time.Minute)
		w.finish(t)
		for i := range w.far.liveAt[1:] {
			if d := w.far.liveAt[i+1].Sub(w.far.liveAt[i]); d < time.Second {
				t.Errorf("two messages within %v", d)
			}
		}
		last := w.far.live[len(w.far.live)-1]
		if last.Connectors[0].Session != "99" || last.Backlog["events"] != 0 || last.Time.IsZero() {
			t.Errorf("last message %+v", last)
		}
	})
}

// TestLiveOfMany: a site too large for a message shows what is in use.
func TestLiveOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		r := rand.New(rand.NewPCG(1, 1))
		for i := range 20000 {
			c := site.LiveConnector{Station: event.StationID(fmt.Sprintf("%016x", r.Uint64())), EVSE: 1, Connector: 1, Status: event.StatusAvailable}
			if i%100 == 0 {
				c.Session = event.SessionID(fmt.Sprintf("%016x", r.Uint64()))
			}
			w.site.live = append(w.site.live, c)
		}
		w.start(t)
		time.Sleep(time.Second)
		w.finish(t)
		if len(w.far.live) != 1 || len(w.far.live[0].Connectors) != 200 {
			t.Errorf("%d live messages", len(w.far.live))
		}
	})
}
