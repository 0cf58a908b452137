// Package mqtt connects the manager to a broker of its own choice.
//
// Several managers may share one broker: what gateways send to be worked on
// comes through a shared subscription, each message to one manager, and what
// only informs comes to all of them. Sessions are clean and nothing is kept: a
// gateway sends again whatever was not acknowledged.
package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/shared/wire"
	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/client_golang/prometheus"
)

// Timing of a connection.
const (
	keepalive      = 10 * time.Second // a broker gives a dead manager's share to others after one and a half of it
	connectWithin  = 10 * time.Second
	writeWithin    = 5 * time.Second
	retryFirst     = 500 * time.Millisecond
	retryAtMost    = 15 * time.Second
	quietAfterward = 250 // milliseconds that a goodbye may take
)

// filters are what a manager subscribes to, all with QoS 1. What informs about
// the present (status, live) goes to every manager.
var filters = map[string]byte{
	"$share/managers/" + wire.Prefix + "+/" + string(wire.KindUp) + "/+": 1,
	"$share/managers/" + wire.Prefix + "+/" + string(wire.KindHello):     1,
	"$share/managers/" + wire.Prefix + "+/" + string(wire.KindAsk):       1,
	wire.Prefix + "+/" + string(wire.KindStatus):                         1,
	wire.Prefix + "+/" + string(wire.KindLive):                           0,
}

// ErrNotConnected says that a message went nowhere because the broker is out of
// reach.
var ErrNotConnected = errors.New("no connection to the broker")

// Config names the broker.
type Config struct {
	URL      string // mqtt://host[:1883] or mqtts://host[:8883]
	Username string
	Password string
	ClientID string // empty: the user name and something of its own
	CAFile   string // PEM; the only certificates to trust. Empty: those of the system
}

// Bus is the manager's connection to a broker.
type Bus struct {
	cfg    Config
	server string // as paho wants it
	tls    *tls.Config
	handle func(topic string, payload []byte)
	log    *slog.Logger

	connects, lost prometheus.Counter
	subscribed     atomic.Bool

	mu     sync.RWMutex
	client paho.Client // nil while there is no connection
}

// New returns a Bus that connects once Run is called. handle gets every message
// in the goroutine that reads from the broker: it hands over and returns at
// once, and may keep the payload.
func New(cfg Config, handle func(topic string, payload []byte), log *slog.Logger) (*Bus, error) {
	b := &Bus{
		cfg: cfg, handle: handle,
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chargeyard_cloud_mqtt_connects_total",
			Help: "Connections made to the broker.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chargeyard_cloud_mqtt_unpublished_total",
			Help: "Messages that could not be handed to the broker.",
		}),
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("broker url: %w", err)
	}
	b.log = log.With("broker", u.Redacted())
	if u.Hostname() == "" {
		return nil, fmt.Errorf("broker url: expected mqtt://host or mqtts://host, got %q", u.Redacted())
	}
	port := u.Port()
	switch u.Scheme {
	case "mqtt":
		if port == "" {
			port = "1883"
		}
		b.server = "tcp://" + net.JoinHostPort(u.Hostname(), port)
	case "mqtts":
		if port == "" {
			port = "8883"
		}
		b.server = "ssl://" + net.JoinHostPort(u.Hostname(), port)
		b.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
		if cfg.CAFile != "" {
			pem, err := os.ReadFile(cfg.CAFile)
			if err != nil {
				return nil, fmt.Errorf("broker ca_file: %w", err)
			}
			b.tls.RootCAs = x509.NewCertPool()
			if !b.tls.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("broker ca_file %s: expected certificates in PEM", cfg.CAFile)
			}
		}
	default:
		return nil, fmt.Errorf("broker url: expected mqtt:// or mqtts://, got %q", u.Redacted())
	}
	if b.cfg.ClientID == "" {
		b.cfg.ClientID = cfg.Username + "-" + rand.Text()[:8]
	}
	return b, nil
}

// Run keeps a connection until ctx ends.
func (b *Bus) Run(ctx context.Context) error {
	for try := 0; ; {
		up, err := b.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if up > retryAtMost {
			try = 0
		}
		try++
		wait := min(retryFirst<<min(try-1, 10), retryAtMost)
		wait += time.Duration(mathrand.Int64N(int64(wait)/2 + 1)) // many managers do not come back at once
		b.log.Warn("no connection to the broker, trying again", "wait", wait.Round(time.Millisecond), "try", try, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// session is one connection from beginning to end; it tells how long it was up.
func (b *Bus) session(ctx context.Context) (up time.Duration, err error) {
	lost := make(chan error, 1)
	o := paho.NewClientOptions().
		AddBroker(b.server).
		SetClientID(b.cfg.ClientID).
		SetUsername(b.cfg.Username).
		SetPassword(b.cfg.Password).
		SetProtocolVersion(4).
		SetCleanSession(true).
		SetKeepAlive(keepalive).
		SetPingTimeout(keepalive / 2).
		SetConnectTimeout(connectWithin).
		SetWriteTimeout(writeWithin).
		SetAutoReconnect(false). // one client per connection: what was not sent is not ours to send later
		SetConnectRetry(false).
		SetOrderMatters(true).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { b.handle(m.Topic(), m.Payload()) }).
		SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
	if b.tls != nil {
		o.SetTLSConfig(b.tls)
	}
	client := paho.NewClient(o)
	defer client.Disconnect(quietAfterward)
	if err := wait(ctx, client.Connect()); err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	b.use(client) // before the first message comes: it wants an answer
	defer b.use(nil)
	token := client.SubscribeMultiple(filters, nil)
	if err := wait(ctx, token); err != nil {
		return 0, fmt.Errorf("subscribe: %w", err)
	}
	if t, ok := token.(*paho.SubscribeToken); ok {
		for filter, code := range t.Result() {
			if code == 0x80 { // MQTT 3.1.1 §3.9.3
				return 0, fmt.Errorf("subscribe to %s: the broker refused; the manager's user needs cy/1/# to read and write", filter)
			}
		}
	}
	b.subscribed.Store(true)
	defer b.subscribed.Store(false)
	began := time.Now()
	b.connects.Inc()
	b.log.Info("connected to the broker", "client", b.cfg.ClientID)
	select {
	case <-ctx.Done():
		return time.Since(began), ctx.Err()
	case err := <-lost:
		return time.Since(began), err
	}
}

func wait(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(connectWithin):
		return fmt.Errorf("no answer within %s", connectWithin)
	}
}

func (b *Bus) use(c paho.Client) {
	b.mu.Lock()
	b.client = c
	b.mu.Unlock()
}

// Ready returns nil while the manager hears its gateways.
func (b *Bus) Ready() error {
	if !b.subscribed.Load() {
		return ErrNotConnected
	}
	return nil
}

// Publish hands a message to the connection. It does not wait for the broker,
// whose acknowledgement counts for nothing: an error says only that the message
// certainly went nowhere.
func (b *Bus) Publish(topic string, payload []byte, qos byte, retained bool) error {
	b.mu.RLock()
	client := b.client
	b.mu.RUnlock()
	err := ErrNotConnected
	if client != nil {
		t := client.Publish(topic, qos, retained, payload)
		select {
		case <-t.Done():
			err = t.Error()
		default:
			err = nil
		}
	}
	if err != nil {
		b.lost.Inc()
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Metrics returns what the connection counts.
func (b *Bus) Metrics() []prometheus.Collector {
	return []prometheus.Collector{b.connects, b.lost, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chargeyard_cloud_mqtt_connected",
		Help: "1 while the manager is connected to its broker.",
	}, func() float64 {
		if b.subscribed.Load() {
			return 1
		}
		return 0
	})}
}
