package e2e

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// cable is a TCP connection's way that a test can cut and mend. Cutting breaks
// what runs over it at once and refuses what comes.
type cable struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// newCable listens on loopback and passes everything on to the address to.
func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, to: to, conns: map[net.Conn]bool{}}
	c.wg.Add(1)
	go c.accept()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		c.setCut(true)
		c.wg.Wait()
	})
	return c
}

// address is where to connect to.
func (c *cable) address() string { return c.listener.Addr().String() }

// setCut cuts or mends the cable.
func (c *cable) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for conn := range c.conns {
			_ = conn.Close() // it may be closed from the other side already
		}
	}
}

func (c *cable) accept() {
	defer c.wg.Done()
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.wg.Add(1)
		go c.pass(conn)
	}
}

func (c *cable) pass(near net.Conn) {
	defer c.wg.Done()
	defer c.drop(near)
	if !c.keep(near) {
		return
	}
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer c.drop(far)
	if !c.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Add(2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			defer both.Done()
			_, _ = io.Copy(way[0], way[1]) // ends when either side closes
			_ = way[0].Close()
			_ = way[1].Close()
		}()
	}
	both.Wait()
}

func (c *cable) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		c.conns[conn] = true
	}
	return !c.cut
}

func (c *cable) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	_ = conn.Close()
}

// String says where the cable leads.
func (c *cable) String() string { return fmt.Sprintf("%s to %s", c.address(), c.to) }

// dial connects to a port of this machine.
func dial(port int) (net.Conn, error) { return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) }
