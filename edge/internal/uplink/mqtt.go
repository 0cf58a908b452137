package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/chargeyard/chargeyard/shared/event"
)

const (
	keepAlive  = 15 * time.Second
	pingWait   = 10 * time.Second
	writeWait  = 10 * time.Second // for one write to the socket: no broker reads so slowly
	goodbye    = 500 * time.Millisecond
	sendQueue  = 128 // messages handed over and not written yet
	notGranted = 0x80
)

// MQTTConfig says where the broker is.
type MQTTConfig struct {
	URL      string          // mqtt://host[:1883] or mqtts://host[:8883]
	Gateway  event.GatewayID // user name and client id
	Password string
	CAFile   string // PEM; the only authorities that mqtts:// trusts. Empty: the system's
	Clock    TrustClock
}

// MQTT is the Transport over MQTT 3.1.1. It makes a client of the library for
// every connection and keeps nothing between two of them: the outbox is the only
// durable queue.
type MQTT struct {
	cfg  MQTTConfig
	host string // host:port
	name string // the host alone
	tls  bool
	wait time.Duration // for one write
}

// NewMQTT returns the transport to the broker at cfg.URL. It connects to nothing.
func NewMQTT(cfg MQTTConfig) (*MQTT, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("mqtt url: %w", err)
	}
	t := &MQTT{cfg: cfg, name: u.Hostname(), wait: writeWait}
	port := ""
	switch u.Scheme {
	case "mqtt":
		port = "1883"
	case "mqtts":
		t.tls, port = true, "8883"
	}
	if port == "" || t.name == "" {
		return nil, fmt.Errorf("mqtt url: expected mqtt://host:port or mqtts://host:port, got %q", u.Redacted())
	}
	if p := u.Port(); p != "" {
		port = p
	}
	t.host = net.JoinHostPort(t.name, port)
	return t, nil
}

// Connect implements Transport.
func (t *MQTT) Connect(ctx context.Context, will Message, receive func(topic string, payload []byte)) (Session, error) {
	s := &mqttSession{queue: make(chan publication, sendQueue), done: make(chan struct{})}
	timeout := connectWait
	if deadline, ok := ctx.Deadline(); ok { // a little more, so that it is ctx that ends the attempt
		timeout = max(time.Until(deadline), 0) + time.Second
	}
	o := mqtt.NewClientOptions().
		AddBroker("tcp://"+t.host).
		SetClientID(string(t.cfg.Gateway)).SetUsername(string(t.cfg.Gateway)).SetPassword(t.cfg.Password).
		SetProtocolVersion(4). // and no falling back to 3.1
		SetCleanSession(true).
		SetAutoReconnect(false).SetConnectRetry(false).
		SetStore(mqtt.NewMemoryStore()).
		SetOrderMatters(true). // commands keep their order; receive does not block
		SetKeepAlive(keepAlive).SetPingTimeout(pingWait).
		SetConnectTimeout(timeout).SetWriteTimeout(t.wait).
		SetBinaryWill(will.Topic, will.Payload, will.QoS, will.Retained).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { receive(m.Topic(), m.Payload()) }).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.end(fmt.Errorf("connection lost: %w", err)) }).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return s.dial(ctx, t) })
	s.client = mqtt.NewClient(o)

	// The library knows no context: a connection being made is cut instead.
	stop := context.AfterFunc(ctx, s.cut)
	token := s.client.Connect()
	<-token.Done()
	err := token.Error()
	if code := s.refusal(); code != 0 { // err says the same, if the library knows the code
		err = fmt.Errorf("the broker refused user %q: %s", t.cfg.Gateway, refusals(code))
	}
	if err != nil {
		stop()
		if token.Error() == nil { // the library believes that it is connected
			s.Close()
		}
		s.cut()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("%s: %w", t.host, err)
	}
	s.workers.Go(s.send)
	if !stop() { // ctx ended at the last moment
		s.Close()
		return nil, fmt.Errorf("%s: %w", t.host, context.Cause(ctx))
	}
	return s, nil
}

// refusals explains the return code of a CONNACK: those of MQTT 3.1.1, and of
// MQTT 5 what a broker may send by mistake.
func refusals(code byte) string {
	switch code {
	case 4, 5, 134, 135:
		return "unknown gateway or wrong password: compare mqtt.password with what `chargeyard-cloud gateway add` printed"
	case 2, 133:
		return "it does not take the gateway's id as client id"
	case 3, 136, 137:
		return "it is not available now"
	case 1, 132:
		return "it does not speak MQTT 3.1.1"
	}
	return fmt.Sprintf("return code %d", code)
}

// mqttSession is one connection and the client made for it.
type mqttSession struct {
	client  mqtt.Client
	queue   chan publication
	workers sync.WaitGroup
	done    chan struct{} // closed when the connection is over

	mu     sync.Mutex
	conn   *socket // nil until dialled
	ended  bool
	closed bool // the connection is not to be used any more
	err    error
}

// publication is a message on its way to the library.
type publication struct {
	message Message
	taken   chan struct{}
}

// errClosed is the end of a session that was closed.
var errClosed = errors.New("connection closed")

// dial opens the socket for the library.
func (s *mqttSession) dial(ctx context.Context, t *MQTT) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: keepAlive}
	conn, err := dialer.DialContext(ctx, "tcp", t.host)
	if err != nil {
		return nil, err
	}
	if t.tls {
		cfg, err := tlsConfig(t.name, t.cfg.CAFile, t.cfg.Clock)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		secure := tls.Client(conn, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("TLS with %s: %w", t.host, err), conn.Close())
		}
		conn = secure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(errClosed, conn.Close())
	}
	s.conn = &socket{Conn: conn, wait: t.wait}
	return s.conn, nil
}

// socket makes up for two weaknesses of the library. It bounds each write: the
// library sets a deadline for some of its packets only, and a broker that stopped
// reading would hold the others for ever. And it keeps the CONNACK: the library
// takes a return code that it does not know for an acceptance, and some brokers
// send those of MQTT 5.
type socket struct {
	net.Conn
	wait  time.Duration
	first [connackSize]byte // what the broker said first; written while connecting
	read  int               // bytes of it
}

const connackSize = 4

func (c *socket) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.read < connackSize {
		c.read += copy(c.first[c.read:], b[:n])
	}
	return n, err
}

// refusal is the return code of the CONNACK; 0 accepts.
func (c *socket) refusal() byte { return c.first[connackSize-1] }

func (c *socket) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.wait)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// cut closes the socket, whatever the library is doing with it.
func (s *mqttSession) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		_ = s.conn.Close() // nothing hangs on how it ends
	}
}

// refusal is the return code of the CONNACK, 0 if there was none.
func (s *mqttSession) refusal() byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return 0
	}
	return s.conn.refusal()
}

// end notes the end of the connection; the first reason counts.
func (s *mqttSession) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
		close(s.done)
	}
}

// Done implements Session.
func (s *mqttSession) Done() <-chan struct{} { return s.done }

// Err implements Session.
func (s *mqttSession) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Subscribe implements Session.
func (s *mqttSession) Subscribe(ctx context.Context, filters ...string) error {
	wanted := make(map[string]byte, len(filters))
	for _, f := range filters {
		wanted[f] = 1
	}
	token := s.client.SubscribeMultiple(wanted, nil)
	select {
	case <-token.Done():
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return fmt.Errorf("no SUBACK: %w", context.Cause(ctx))
	}
	if err := token.Error(); err != nil {
		return err
	}
	granted, ok := token.(*mqtt.SubscribeToken)
	if !ok {
		return fmt.Errorf("expected a SUBACK, got %T", token)
	}
	for filter, qos := range granted.Result() {
		if qos >= notGranted {
			return fmt.Errorf("the broker does not let the gateway read %s: check its access rules", filter)
		}
	}
	return nil
}

// Publish implements Session.
func (s *mqttSession) Publish(m Message) (<-chan struct{}, error) {
	select {
	case <-s.done:
		return nil, s.Err()
	default:
	}
	p := publication{message: m, taken: make(chan struct{})}
	select {
	case s.queue <- p:
		return p.taken, nil
	default:
		return nil, fmt.Errorf("%d messages wait to be written", sendQueue)
	}
}

// send hands publications to the library, which may block for as long as a write.
func (s *mqttSession) send() {
	for {
		var p publication
		select {
		case <-s.done:
			return
		case p = <-s.queue:
		}
		token := s.client.Publish(p.message.Topic, p.message.QoS, p.message.Retained, p.message.Payload)
		s.workers.Go(func() {
			defer close(p.taken)
			select {
			case <-token.Done():
				if err := token.Error(); err != nil {
					s.end(fmt.Errorf("publish %s: %w", p.message.Topic, err))
				}
			case <-s.done:
			}
		})
	}
}

// Disconnect implements Session.
func (s *mqttSession) Disconnect() {
	s.end(errClosed)
	s.client.Disconnect(uint(goodbye.Milliseconds()))
}

// Close implements Session.
func (s *mqttSession) Close() {
	s.end(errClosed)
	s.cut()
	s.client.Disconnect(uint(goodbye.Milliseconds())) // only tidies up: the socket is closed
	s.workers.Wait()
}
