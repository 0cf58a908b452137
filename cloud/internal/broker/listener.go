package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// listener accepts connections for the broker library. The library's own gives
// up for good at the first error of Accept, lets a connection that never says
// anything live for ever, and does not tell when one has been cleared away.
type listener struct {
	id, addr string
	tls      *tls.Config
	max      int
	log      *slog.Logger

	mu     sync.Mutex
	listen net.Listener
	conns  map[*conn]bool
	closed bool
	wg     sync.WaitGroup
}

func newListener(id, addr string, conf *tls.Config, limit int, log *slog.Logger) *listener {
	return &listener{id: id, addr: addr, tls: conf, max: limit, log: log, conns: map[*conn]bool{}}
}

// conn is a connection of which others can wait for the end.
type conn struct {
	net.Conn
	gone chan struct{} // closed when the broker holds nothing of it any more
}

// ID implements listeners.Listener.
func (l *listener) ID() string { return l.id }

// Protocol implements listeners.Listener.
func (l *listener) Protocol() string { return "tcp" }

// Address implements listeners.Listener; it is the true one once Init is done.
func (l *listener) Address() string {
	if l.listen != nil {
		return l.listen.Addr().String()
	}
	return l.addr
}

// Init implements listeners.Listener.
func (l *listener) Init(*slog.Logger) error {
	listen, err := net.Listen("tcp", l.addr)
	if err != nil {
		return err
	}
	if l.tls != nil {
		listen = tls.NewListener(listen, l.tls)
	}
	l.listen = listen
	return nil
}

// Serve implements listeners.Listener.
func (l *listener) Serve(establish listeners.EstablishFn) {
	for wait := 5 * time.Millisecond; ; {
		raw, err := l.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, most likely: it passes
			l.log.Warn("broker cannot accept", "address", l.Address(), "err", err)
			time.Sleep(wait)
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		c := &conn{Conn: raw, gone: make(chan struct{})}
		if !l.take(c) {
			if err := raw.Close(); err != nil {
				l.log.Debug("close", "remote", raw.RemoteAddr(), "err", err)
			}
			continue
		}
		go func() {
			defer l.leave(c)
			// Until CONNECT has come, the library sets no deadline.
			err := c.SetDeadline(time.Now().Add(connectWithin))
			if err == nil {
				err = establish(l.id, c)
			}
			if err != nil {
				l.log.Debug("broker connection ended", "remote", c.RemoteAddr(), "err", err)
			}
		}()
	}
}

func (l *listener) take(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.conns) >= l.max {
		return false
	}
	l.conns[c] = true
	l.wg.Add(1)
	return true
}

func (l *listener) leave(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	close(c.gone)
	l.wg.Done()
}

// Close implements listeners.Listener: nobody new, a word to everybody known,
// and an end to those that have not said who they are.
func (l *listener) Close(closeClients listeners.CloseFn) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	if l.listen == nil {
		return
	}
	if err := l.listen.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		l.log.Warn("close broker listener", "address", l.Address(), "err", err)
	}
	closeClients(l.id)
	l.mu.Lock()
	for c := range l.conns {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			l.log.Debug("close", "remote", c.RemoteAddr(), "err", err)
		}
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// certificate is a pair of files, read anew when the certificate's has changed.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.cert)
	if err == nil && c.loaded != nil && info.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.cert, c.key)
	}
	if err != nil {
		if c.loaded != nil { // half written: the old one serves on
			return c.loaded, nil
		}
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c.loaded, c.changed = &pair, info.ModTime()
	return c.loaded, nil
}
