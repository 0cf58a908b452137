package ocpp

import (
	"net"
	"sync/atomic"
	"time"
)

// pace shares the processor between stations that come and stations that are in.
// Five hundred that return at once must not keep the others waiting: what is done
// for newcomers is done in turns, one for each processor at a time, and while
// others are being served, each turn is followed by a rest that is longer than
// itself. A gateway that serves nobody else lets newcomers in as fast as it can.
type pace struct {
	turns   chan struct{} // first come first served
	waiting atomic.Int64
	began   time.Time
	served  atomic.Int64 // since began: when a station that is in was last heard; 0: never
}

const (
	newFor   = 10 * time.Second // a station is new after it has connected
	serving  = time.Second      // after it was heard a station is being served
	restTime = 10               // of the turn
	leastOff = time.Millisecond
	mostOff  = 20 * time.Millisecond
	crowd    = 1000 // so many wait that resting would have them give up
)

func newPace(turns int) *pace { return &pace{turns: make(chan struct{}, turns), began: time.Now()} }

// take waits for a turn.
func (p *pace) take() (since time.Time) {
	p.waiting.Add(1)
	p.turns <- struct{}{}
	p.waiting.Add(-1)
	return time.Now()
}

// give ends a turn.
func (p *pace) give(since time.Time) {
	if p.busy() && p.waiting.Load() < crowd {
		time.Sleep(min(max(restTime*time.Since(since), leastOff), mostOff))
	}
	<-p.turns
}

// heard notes that a station that is in has said something.
func (p *pace) heard() { p.served.Store(int64(time.Since(p.began)) + 1) }

// busy tells whether stations are being served.
func (p *pace) busy() bool {
	at := p.served.Load()
	return at > 0 && int64(time.Since(p.began))-at < int64(serving)
}

// line is a connection that keeps the pace.
type line struct {
	net.Conn
	pace  *pace
	since time.Time // when it came
	turn  time.Time // when its turn began, while it has one
}

// Read passes on what comes. In a TLS handshake it leaves its turn to others while
// it waits; a newcomer's message takes a turn of its own; whoever is in is read at
// once.
func (c *line) Read(b []byte) (int, error) {
	if !c.turn.IsZero() {
		c.pace.give(c.turn)
		n, err := c.Conn.Read(b)
		c.turn = c.pace.take()
		return n, err
	}
	n, err := c.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	switch {
	case time.Since(c.since) >= newFor:
		c.pace.heard()
	case c.pace.busy():
		c.pace.give(c.pace.take())
	}
	return n, err
}

// begin takes a turn that lasts over reads and writes, except while they wait.
func (c *line) begin() { c.turn = c.pace.take() }

// end gives it back.
func (c *line) end() {
	c.pace.give(c.turn)
	c.turn = time.Time{}
}

// CloseWrite ends our half of the connection.
func (c *line) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
