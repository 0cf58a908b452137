package ocpp

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// talkative is a connection that always has something to read.
type talkative struct{ net.Conn }

func (talkative) Read(b []byte) (int, error) { return len(b), nil }

// Newcomers are read at once while nobody else is served, in turns with rests
// while somebody is; whoever is in is never held up.
func TestPace(t *testing.T) {
	tests := []struct {
		name    string
		served  time.Duration // ago; 0: nobody
		old     bool          // the reader is in itself
		crowded bool
		rests   bool
	}{
		{name: "nobody is served"},
		{name: "somebody is", served: time.Millisecond, rests: true},
		{name: "somebody was a while ago", served: 2 * time.Second},
		{name: "of those who are in", served: time.Millisecond, old: true},
		{name: "too many wait", served: time.Millisecond, crowded: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPace(1)
				if tt.served > 0 {
					p.heard()
					time.Sleep(tt.served)
				}
				if tt.crowded {
					p.waiting.Add(crowd)
				}
				c := &line{Conn: talkative{}, pace: p, since: time.Now()}
				if tt.old {
					c.since = c.since.Add(-newFor)
				}
				start := time.Now()
				if _, err := c.Read(make([]byte, 1)); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); (took > 0) != tt.rests || took > mostOff {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Turns are given to one after the other, and left while a station is waited for.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1)
		slow, answer := &line{Conn: talkative{}, pace: p, since: time.Now()}, make(chan struct{})
		slow.Conn = blocked{answer}
		var wg sync.WaitGroup
		wg.Go(func() {
			slow.begin()
			if _, err := slow.Read(nil); err != nil { // waits for the station, without its turn
				t.Error(err)
			}
			slow.end()
		})
		synctest.Wait()
		quick := &line{Conn: talkative{}, pace: p, since: time.Now()}
		quick.begin()
		close(answer)
		synctest.Wait()
		if p.waiting.Load() != 1 {
			t.Errorf("%d wait for a turn, want 1", p.waiting.Load())
		}
		quick.end()
		wg.Wait()
	})
}

// blocked is a connection that has nothing to read yet.
type blocked struct{ answer chan struct{} }

func (b blocked) Read([]byte) (int, error)         { <-b.answer; return 1, nil }
func (blocked) Write(p []byte) (int, error)        { return len(p), nil }
func (blocked) Close() error                       { return nil }
func (blocked) LocalAddr() net.Addr                { return nil }
func (blocked) RemoteAddr() net.Addr               { return nil }
func (blocked) SetDeadline(time.Time) error        { return nil }
func (blocked) SetReadDeadline(t time.Time) error  { return nil }
func (blocked) SetWriteDeadline(t time.Time) error { return nil }

// Attempts come back with time, by name and by address.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard()
		who := func(name event.StationID, remote string) *guest { return &guest{id: name, remote: remote + ":1"} }
		for range 10 {
			if g.locked(who("CP-1", "10.0.0.1")) {
				t.Fatal("locked too early")
			}
			g.failed(who("CP-1", "10.0.0.1"))
		}
		for _, tt := range []struct {
			name   string
			who    *guest
			locked bool
		}{
			{"the same", who("CP-1", "10.0.0.1"), true},
			{"the name from elsewhere", who("CP-1", "10.0.0.2"), true},
			{"another name from there", who("CP-2", "10.0.0.1"), false},
		} {
			if got := g.locked(tt.who); got != tt.locked {
				t.Errorf("%s: locked %v", tt.name, got)
			}
		}
		time.Sleep(11 * time.Second)
		if g.locked(who("CP-1", "10.0.0.1")) {
			t.Error("still locked after a pause")
		}
		g.failed(who("CP-1", "10.0.0.1"))
		if !g.locked(who("CP-1", "10.0.0.1")) {
			t.Error("one pause gave more than one attempt")
		}
		for i := range 70 { // one address tries many names
			g.failed(who(event.StationID(rune('a'+i)), "10.0.0.9"))
		}
		if !g.locked(who("new", "10.0.0.9")) || g.locked(who("new", "10.0.0.8")) {
			t.Error("an address that guesses names is not told from others")
		}
		time.Sleep(time.Hour)
		if g.locked(who("new", "10.0.0.9")) {
			t.Error("locked for ever")
		}
	})
}

// Made-up names do not fill the memory, nor free those that are locked.
func TestGuardBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard()
		for i := range 3 * mostBuckets {
			g.failed(&guest{id: event.StationID(rune(i)), remote: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).String() + ":1"})
		}
		if len(g.names) > mostBuckets || len(g.addresses) > mostBuckets {
			t.Errorf("%d names and %d addresses are kept", len(g.names), len(g.addresses))
		}
	})
}
