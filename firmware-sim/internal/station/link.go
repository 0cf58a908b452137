package station

import (
	"context"
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/google/uuid"
)

// backoffLimit is by how much the wait before connecting grows at most.
const backoffLimit = 16

// lasting is how long a connection that was good for something stays up.
const lasting = 30 * time.Second

// link is the connection and how it comes back.
type link struct {
	conn    Conn
	number  int // of the connection, so that news of an older one can be told apart
	dialing context.CancelFunc
	tries   int // since the last CALL that was answered, or a connection that lasted
	since   time.Time
}

// accepted tells whether the central system takes messages from us.
func (s *Station) accepted() bool {
	return s.link.conn != nil && s.registration == ocpp16.RegistrationStatusAccepted
}

// connect begins to connect, unless that is under way or impossible.
func (s *Station) connect() {
	if s.link.conn != nil || s.link.dialing != nil || s.linkDown || !s.powered {
		return
	}
	s.off("connect")
	s.link.number++
	number, password := s.link.number, s.password()
	s.link.dialing = s.background(func(ctx context.Context) {
		conn, err := s.dialer.Dial(ctx, s.cfg.Identity, password)
		if err == nil && ctx.Err() != nil {
			err = errors.Join(ctx.Err(), conn.Cut())
		}
		s.post(func() { s.dialed(number, conn, err) })
		if err == nil {
			s.read(number, conn)
		}
	})
}

// read hands over what comes until the connection ends. It runs beside the
// goroutine.
func (s *Station) read(number int, conn Conn) {
	for {
		data, err := conn.Read()
		if err != nil {
			s.post(func() { s.lost(number, err) })
			return
		}
		s.post(func() {
			if number == s.link.number && s.link.conn != nil {
				s.received(data)
			}
		})
	}
}

func (s *Station) dialed(number int, conn Conn, err error) {
	if number != s.link.number || s.link.conn != nil {
		if err == nil {
			s.cut(conn)
		}
		return
	}
	s.link.dialing = nil
	if err != nil {
		if s.link.tries == 0 { // once per outage
			s.log.Warn("the central system cannot be reached", "err", err)
		}
		s.later()
		return
	}
	if s.linkDown || !s.powered {
		s.cut(conn)
		return
	}
	s.link.conn = conn
	s.backlog = s.order
	s.schedulePing()
	s.log.Info("connected")
	s.link.since = time.Now()
	if s.silent() { // §4.2: a new connection does not shorten the interval
		s.in("boot", time.Until(s.rejectedTill), s.boot)
		return
	}
	if s.registration != ocpp16.RegistrationStatusAccepted {
		s.boot()
		return
	}
	// OCPP-J 1.6 §3.1: no BootNotification on a mere reconnect.
	s.scheduleHeartbeat()
	s.forgetUnconfirmedStatuses()
}

func (s *Station) cut(conn Conn) {
	if err := conn.Cut(); err != nil {
		s.log.Debug("close the connection", "err", err)
	}
}

// later sets the time of the next attempt to connect: growing and random, so
// that a thousand charge points do not come at once.
func (s *Station) later() {
	if s.linkDown || !s.powered {
		return
	}
	grown := min(1<<min(s.link.tries, 10), backoffLimit)
	s.link.tries++
	wait := time.Duration(float64(s.cfg.Reconnect) * float64(grown) * (0.75 + s.random.Float64()/2))
	s.in("connect", wait, s.connect)
}

// lost is the end of a connection that nobody wanted.
func (s *Station) lost(number int, err error) {
	if number != s.link.number || s.link.conn == nil {
		return
	}
	s.log.Info("connection lost", "err", err)
	if time.Since(s.link.since) > lasting {
		s.link.tries = 0
	}
	s.dropLink("", false)
	s.later()
}

// dropLink forgets the connection; what was under way goes back to its queue. A
// polite end says goodbye.
func (s *Station) dropLink(reason string, polite bool) {
	s.off("connect")
	s.off("ping")
	s.off("heartbeat")
	s.off("timeout")
	if s.link.dialing != nil {
		s.link.dialing()
		s.link.dialing = nil
	}
	s.link.number++
	conn := s.link.conn
	s.link.conn = nil
	if conn != nil {
		if polite {
			if err := conn.Close(reason); err != nil {
				s.log.Debug("close the connection", "err", err)
			}
		} else {
			s.cut(conn)
		}
	}
	s.unanswered()
}

// reconnect closes the connection and opens another.
func (s *Station) reconnect(reason string) {
	s.dropLink(reason, true)
	s.in("connect", s.cfg.Reconnect, s.connect)
}

func (s *Station) schedulePing() {
	s.off("ping")
	every := s.keys.Seconds(keys.WebSocketPingInterval)
	if every <= 0 || s.link.conn == nil {
		return
	}
	s.in("ping", every, func() {
		if s.link.conn == nil {
			return
		}
		if err := s.link.conn.Ping(max(every, 20*time.Second)); err != nil {
			s.lost(s.link.number, err)
			return
		}
		s.schedulePing()
	})
}

// SetLink takes the network away from the charge point, or gives it back.
func (s *Station) SetLink(ctx context.Context, up bool) error {
	return s.do(ctx, func() error {
		s.setLink(up)
		return nil
	})
}

func (s *Station) setLink(up bool) {
	if s.linkDown == !up {
		return
	}
	s.linkDown = !up
	if !up {
		s.log.Info("the link goes down")
		s.dropLink("", false)
		return
	}
	s.log.Info("the link comes back")
	s.link.tries = 0
	s.in("connect", time.Duration(s.random.Float64()*float64(s.cfg.Reconnect)), s.connect)
}

func newID() string { return uuid.NewString() }
