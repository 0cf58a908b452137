package charger

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Conn is a connection to the server. Read and Write are called by one goroutine
// each, the others by any.
type Conn interface {
	Read() ([]byte, error)
	Write(data []byte) error
	// Ping sends a ping; hearing nothing for patience ends the connection.
	Ping(patience time.Duration) error
	Close(reason string) error
	// Cut ends the connection without a word.
	Cut() error
}

// Login is how a charger presents itself and whom it believes.
type Login struct {
	Identity string
	Version  string // of OCPP, as its sub-protocol
	// Profile is the security profile: 2 and 3 need TLS, 3 has no password.
	// Below them, the address that the simulator was given decides.
	Profile  int
	Password []byte // empty: no Basic authentication
	// Key and Chain, in PEM, are the charger's certificate for TLS; both empty
	// for none.
	Key, Chain string
	// Roots, in PEM, are those that the server's certificate has to lead to,
	// beside those that the simulator was started with.
	Roots []string
	// Unnamed leaves the sub-protocol out of the handshake.
	Unnamed bool
}

// Dialer connects to the server.
type Dialer interface {
	Dial(ctx context.Context, login Login) (Conn, error)
}

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

// Connected tells whether there is a connection.
func (c *Core) Connected() bool { return c.link.conn != nil }

// Accepted tells whether the server takes messages from us.
func (c *Core) Accepted() bool {
	return c.link.conn != nil && c.Registration == Accepted
}

// Connect begins to connect, unless that is under way or impossible.
func (c *Core) Connect() {
	if c.link.conn != nil || c.link.dialing != nil || c.linkDown || !c.Powered {
		return
	}
	c.Off("connect")
	c.link.number++
	number, login := c.link.number, c.dialect.Login()
	c.link.dialing = c.Background(func(ctx context.Context) {
		conn, err := c.dialer.Dial(ctx, login)
		if err == nil && ctx.Err() != nil {
			err = errors.Join(ctx.Err(), conn.Cut())
		}
		if err != nil {
			c.Post(func() { c.dialed(number, nil, err) })
			return
		}
		// Whoever gives up meanwhile, or ends, does not know of the connection yet.
		stop := context.AfterFunc(ctx, func() { c.cut(conn) })
		defer stop()
		c.Post(func() { c.dialed(number, conn, nil) })
		c.read(number, conn)
	})
}

// read hands over what comes until the connection ends. It runs beside the
// goroutine.
func (c *Core) read(number int, conn Conn) {
	for {
		data, err := conn.Read()
		if err != nil {
			c.Post(func() { c.lost(number, err) })
			return
		}
		c.Post(func() {
			if number == c.link.number && c.link.conn != nil {
				c.received(data)
			}
		})
	}
}

func (c *Core) dialed(number int, conn Conn, err error) {
	if number != c.link.number || c.link.conn != nil {
		if err == nil {
			c.cut(conn)
		}
		return
	}
	c.link.dialing = nil
	if err != nil {
		if c.link.tries == 0 { // once per outage
			c.Log.Warn("the central system cannot be reached", "err", err)
		}
		c.later()
		return
	}
	if c.linkDown || !c.Powered {
		c.cut(conn)
		return
	}
	c.link.conn = conn
	c.backlog = c.order
	c.SchedulePing()
	c.Log.Info("connected")
	c.link.since = time.Now()
	if c.Silent() { // OCPP 1.6 §4.2: a new connection does not shorten the interval
		c.In("boot", time.Until(c.RejectedTill), c.dialect.Boot)
		return
	}
	if c.Registration != Accepted {
		c.dialect.Boot()
		return
	}
	c.dialect.Resumed()
}

func (c *Core) cut(conn Conn) {
	if err := conn.Cut(); err != nil {
		c.Log.Debug("close the connection", "err", err)
	}
}

// later sets the time of the next attempt to connect: growing and random, so
// that a thousand chargers do not come at once.
func (c *Core) later() {
	if c.linkDown || !c.Powered {
		return
	}
	grown := min(1<<min(c.link.tries, 10), backoffLimit)
	c.link.tries++
	wait := time.Duration(float64(c.cfg.Reconnect) * float64(grown) * (0.75 + c.Random.Float64()/2))
	c.In("connect", wait, c.Connect)
}

// lost is the end of a connection that nobody wanted.
func (c *Core) lost(number int, err error) {
	if number != c.link.number || c.link.conn == nil {
		return
	}
	c.Log.Info("connection lost", "err", err)
	if time.Since(c.link.since) > lasting {
		c.link.tries = 0
	}
	c.DropLink("", false)
	c.later()
}

// DropLink forgets the connection; what was under way goes back to its queue. A
// polite end says goodbye.
func (c *Core) DropLink(reason string, polite bool) {
	c.Off("connect")
	c.Off("ping")
	c.Off("heartbeat")
	c.Off("timeout")
	if c.link.dialing != nil {
		c.link.dialing()
		c.link.dialing = nil
	}
	c.link.number++
	conn := c.link.conn
	c.link.conn = nil
	if conn != nil {
		if polite {
			if err := conn.Close(reason); err != nil {
				c.Log.Debug("close the connection", "err", err)
			}
		} else {
			c.cut(conn)
		}
	}
	c.unanswered()
}

// Reconnect closes the connection and opens another.
func (c *Core) Reconnect(reason string) {
	c.DropLink(reason, true)
	c.In("connect", c.cfg.Reconnect, c.Connect)
}

// Startup sets the time of the first connection after the power came. Chargers
// that get their power back together do not start together.
func (c *Core) Startup() {
	c.In("connect", c.cfg.BootTime+time.Duration(c.Random.Float64()*float64(c.cfg.Reconnect)), c.Connect)
}

// SchedulePing sets the time of the next ping by what the configuration says.
func (c *Core) SchedulePing() {
	c.Off("ping")
	every := c.dialect.Patience().Ping
	if every <= 0 || c.link.conn == nil {
		return
	}
	c.In("ping", every, func() {
		if c.link.conn == nil {
			return
		}
		if err := c.link.conn.Ping(max(every, 20*time.Second)); err != nil {
			c.lost(c.link.number, err)
			return
		}
		c.SchedulePing()
	})
}

// SetLink takes the network away from the charger, or gives it back.
func (c *Core) SetLink(ctx context.Context, up bool) error {
	return c.Do(ctx, func() error {
		c.SwitchLink(up)
		return nil
	})
}

// SwitchLink is SetLink for the goroutine itself.
func (c *Core) SwitchLink(up bool) {
	if c.linkDown == !up {
		return
	}
	c.linkDown = !up
	if !up {
		c.Log.Info("the link goes down")
		c.DropLink("", false)
		return
	}
	c.Log.Info("the link comes back")
	c.link.tries = 0
	c.In("connect", time.Duration(c.Random.Float64()*float64(c.cfg.Reconnect)), c.Connect)
}

func newID() string { return uuid.NewString() }
