package ocpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Listener is one address for stations.
type Listener struct {
	Address  string
	TLS      bool
	Profiles []int // the security profiles that it admits; none: 0 and 1, with TLS 0, 2 and 3
}

// listener is one address at work.
type listener struct {
	Listener
	secure  *tls.Config // nil: plain; set before bound
	once    sync.Once
	bound   chan struct{} // closed once address is known
	address net.Addr
}

// admits tells whether stations may come with a security profile.
func (l *listener) admits(profile int) bool { return slices.Contains(l.Profiles, profile) }

// listen sets the listeners up; none is opened.
func (s *Server) listen() error {
	all := s.cfg.Listeners
	if s.cfg.Listen != "" {
		all = append([]Listener{{Address: s.cfg.Listen, Profiles: s.cfg.Profiles}}, all...)
	}
	if len(all) == 0 {
		return errors.New("expected an address to listen on, got none")
	}
	for _, l := range all {
		if l.TLS && s.cfg.Trust == nil {
			return fmt.Errorf("listen on %s with TLS: expected certificates, got none", l.Address)
		}
		if len(l.Profiles) == 0 {
			l.Profiles = []int{0, 1}
			if l.TLS {
				l.Profiles = []int{0, 2, 3}
			}
		}
		s.listeners = append(s.listeners, &listener{Listener: l, bound: make(chan struct{})})
	}
	return nil
}

// Address waits until the first listener is open and returns where, or nil when
// ctx ends.
func (s *Server) Address(ctx context.Context) net.Addr { return s.AddressOf(ctx, 0) }

// AddressOf does so for the listener with a number, in the order of Config: Listen
// comes first.
func (s *Server) AddressOf(ctx context.Context, number int) net.Addr {
	l := s.listeners[number]
	select {
	case <-l.bound:
		return l.address
	case <-ctx.Done():
		return nil
	}
}

// attendAgain keeps a listener open until ctx ends: one that fails does not take
// the others along.
func (s *Server) attendAgain(ctx context.Context, l *listener) {
	const pause = 10 * time.Second
	down := false
	up := func() {
		if down {
			down = false
			s.site.Alarm(ctx, event.GatewayAlarm{Alarm: alarmListener, Severity: "critical", Cleared: true,
				Text: "stations can connect to " + l.Listener.Address})
		}
	}
	for {
		err := s.attend(ctx, l, up)
		if err == nil {
			return
		}
		if !down {
			down = true
			s.log.Error("stations cannot connect here, trying again", "listen", l.Listener.Address, "err", err)
			s.site.Alarm(ctx, event.GatewayAlarm{Alarm: alarmListener, Severity: "critical", Text: fmt.Sprintf(
				"stations cannot connect to %s: %v; free the address or change it under ocpp:", l.Listener.Address, err)})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// alarmListener is the word for an address at which stations cannot connect.
const alarmListener = "listener_down"

// attend accepts stations on l until ctx ends; then it returns nil. One with TLS
// opens once there is a certificate to show. up is called once it is open.
func (s *Server) attend(ctx context.Context, l *listener, up func()) error {
	if l.TLS {
		select {
		case <-s.cfg.Trust.Ready():
		case <-ctx.Done():
			return nil
		}
		l.secure = s.cfg.Trust.TLS(l.admits(3))
	}
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.Listener.Address)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("listen for stations: %w", err)
	}
	l.once.Do(func() {
		l.address = socket.Addr()
		close(l.bound)
	})
	s.log.Info("waiting for stations", "listen", socket.Addr().String(), "tls", l.TLS, "profiles", fmt.Sprint(l.Profiles))
	up()
	defer context.AfterFunc(ctx, func() {
		if err := socket.Close(); err != nil {
			s.log.Debug("close listener", "err", err)
		}
	})()
	for pause := time.Duration(0); ; {
		conn, err := socket.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case err == nil:
			pause = 0
			s.knock(l, conn)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept stations: %w", err)
		default: // no file descriptor left, say: it passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("station not accepted, trying again", "pause", pause.String(), "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// mostGuests is how many handshakes may be under way: each costs memory before
// anybody knows who it is.
const mostGuests = 4096

// knock begins the handshake of one connection, on a goroutine of its own.
func (s *Server) knock(l *listener, conn net.Conn) {
	s.mu.Lock()
	full := len(s.guests) >= mostGuests
	if !full {
		s.guests[conn] = struct{}{}
	}
	s.mu.Unlock()
	if full {
		s.metrics.handshake("busy")
		conn.Close()
		return
	}
	s.knocking.Go(func() {
		s.greet(l, &line{Conn: conn, pace: s.pace, since: time.Now()})
		s.mu.Lock()
		delete(s.guests, conn)
		s.mu.Unlock()
	})
}

// showOut gives the handshakes under way so long to finish, then cuts them off.
func (s *Server) showOut(patience time.Duration) {
	finished := make(chan struct{})
	go func() {
		s.knocking.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return
	case <-time.After(patience):
	}
	s.mu.Lock()
	guests := len(s.guests)
	for conn := range s.guests {
		if err := conn.SetDeadline(time.Now()); err != nil {
			s.log.Debug("handshake not cut off", "err", err)
		}
	}
	s.mu.Unlock()
	s.log.Debug("handshakes cut off", "count", guests)
	s.hurry() // those who wait for a password to be checked
	<-finished
}
