// Package broker is the MQTT broker that runs inside the manager: every gateway
// has its own credentials and its own tree of topics, and the manager itself is
// served in process.
//
// It keeps nothing on disk and promises nothing about delivery. Whoever needs
// certainty has it from end to end: a batch from its ack, a command from its
// command.updated.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"
)

// Limits of the broker.
const (
	maxPacket     = 256 << 10 // bytes; above wire.MaxWire, so that a message too large is refused by name and not by a closed socket
	maxPending    = 256       // messages waiting for one slow gateway; beyond, they are dropped and come again
	maxKeepalive  = 600       // seconds; a client that asks for more or for none gets this
	connectWithin = 10 * time.Second
	leaveWithin   = 5 * time.Second // for an old connection of the same gateway
)

// filters are what the manager listens to. They are plain: an inline
// subscription to $share never matches.
var filters = []string{
	wire.Prefix + "+/" + string(wire.KindHello),
	wire.Prefix + "+/" + string(wire.KindUp) + "/+",
	wire.Prefix + "+/" + string(wire.KindAsk),
	wire.Prefix + "+/" + string(wire.KindStatus),
	wire.Prefix + "+/" + string(wire.KindLive),
}

// Config says where to listen.
type Config struct {
	Listen    string // host:port without TLS; empty: none
	ListenTLS string // host:port with TLS; empty: none
	CertFile  string // PEM chain, with ListenTLS
	KeyFile   string // PEM key, with ListenTLS
	MaxConns  int    // at once; 0 means 10,000
}

// Gateways tells who may connect.
type Gateways interface {
	// GatewaySecret returns the hash of a gateway's password, fleet.ErrNotFound
	// for one that nobody has added.
	GatewaySecret(ctx context.Context, id event.GatewayID) (hash string, err error)
	// Knocked keeps that a gateway which nobody has added tried to connect.
	Knocked(ctx context.Context, id event.GatewayID) error
}

// Broker serves gateways over TCP and the manager in process.
type Broker struct {
	cfg    Config
	server *mochi.Server
	door   *door
	log    *slog.Logger

	listeners []*listener
	once      sync.Once
	listening chan struct{} // closed when every listener accepts
}

// New returns a broker that listens once Run is called. handle gets every
// message for the manager in the goroutine that read it: it hands over and
// returns at once, and may keep the payload.
func New(cfg Config, gateways Gateways, handle func(topic string, payload []byte), log *slog.Logger) (*Broker, error) {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 10_000
	}
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumClients = int64(cfg.MaxConns)
	capabilities.MaximumMessageExpiryInterval = 0 // or retained messages vanish after a day
	capabilities.MaximumSessionExpiryInterval = 0 // clean sessions only
	capabilities.MaximumClientWritesPending = maxPending
	capabilities.MaximumPacketSize = maxPacket
	capabilities.MaximumInflight = 1024
	capabilities.TopicAliasMaximum = 0
	capabilities.SharedSubAvailable = 0
	capabilities.SubIDAvailable = 0
	b := &Broker{
		cfg: cfg,
		server: mochi.New(&mochi.Options{
			Capabilities:           capabilities,
			InlineClient:           true,
			SysTopicResendInterval: 60, // each time stops the world to count memory
			Logger:                 slog.New(discreet{log.Handler()}),
		}),
		log:       log,
		listening: make(chan struct{}),
	}
	b.door = newDoor(gateways, log)
	if err := b.server.AddHook(b.door, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	for i, f := range filters {
		err := b.server.Subscribe(f, i+1, func(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
			handle(pk.TopicName, pk.Payload)
		})
		if err != nil {
			return nil, fmt.Errorf("broker: subscribe to %s: %w", f, err)
		}
	}
	return b, nil
}

// Run listens and serves until ctx ends, then disconnects everybody.
func (b *Broker) Run(ctx context.Context) error {
	add := func(id, addr string, conf *tls.Config) error {
		l := newListener(id, addr, conf, b.cfg.MaxConns, b.log)
		if err := b.server.AddListener(l); err != nil {
			return fmt.Errorf("broker: listen on %s: %w", addr, err)
		}
		b.listeners = append(b.listeners, l)
		return nil
	}
	var err error
	if b.cfg.Listen != "" {
		err = add("plain", b.cfg.Listen, nil)
	}
	if err == nil && b.cfg.ListenTLS != "" {
		err = add("tls", b.cfg.ListenTLS, &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: (&certificate{cert: b.cfg.CertFile, key: b.cfg.KeyFile}).get,
		})
	}
	if err == nil {
		err = b.server.Serve()
	}
	if err != nil {
		return errors.Join(err, b.server.Close())
	}
	b.once.Do(func() { close(b.listening) })
	for _, l := range b.listeners {
		b.log.Info("broker listens", "address", l.Address(), "tls", l.tls != nil)
	}
	<-ctx.Done()
	return b.server.Close()
}

// Listening is closed once the broker accepts connections.
func (b *Broker) Listening() <-chan struct{} { return b.listening }

// Ready returns nil once the broker accepts connections.
func (b *Broker) Ready() error {
	select {
	case <-b.listening:
		return nil
	default:
		return errors.New("broker: not listening yet")
	}
}

// Addresses are those that the broker listens on, once Listening is closed.
func (b *Broker) Addresses() []string {
	var out []string
	for _, l := range b.listeners {
		out = append(out, l.Address())
	}
	return out
}

// Publish sends a message of the manager to whoever subscribes to it. It does
// not block: what a slow gateway cannot take is dropped, and comes again.
func (b *Broker) Publish(topic string, payload []byte, qos byte, retained bool) error {
	if err := b.server.Publish(topic, payload, retained, qos); err != nil {
		return fmt.Errorf("broker: publish to %s: %w", topic, err)
	}
	return nil
}

// Metrics returns what the broker counts.
func (b *Broker) Metrics() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "chargeyard_cloud_broker_clients",
			Help: "Gateways connected to the embedded broker.",
		}, func() float64 { return float64(b.server.Info.Clone().ClientsConnected) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "chargeyard_cloud_broker_received_total",
			Help: "Messages that the embedded broker received.",
		}, func() float64 { return float64(b.server.Info.Clone().MessagesReceived) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "chargeyard_cloud_broker_sent_total",
			Help: "Messages that the embedded broker sent.",
		}, func() float64 { return float64(b.server.Info.Clone().MessagesSent) }),
		b.door.refused, b.door.denied, b.door.dropped,
	}
}

// discreet passes errors of the broker library on without packets: they hold
// passwords and drivers' tokens. What is worth a log line below that the door
// says itself.
type discreet struct{ slog.Handler }

func (d discreet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && d.Handler.Enabled(ctx, l)
}

func (d discreet) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "pk" && a.Key != "packet" {
			out.AddAttrs(a)
		}
		return true
	})
	return d.Handler.Handle(ctx, out)
}

func (d discreet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return discreet{d.Handler.WithAttrs(attrs)}
}

func (d discreet) WithGroup(name string) slog.Handler { return discreet{d.Handler.WithGroup(name)} }
