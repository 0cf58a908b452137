package broker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// door decides who comes in and which topics are theirs.
type door struct {
	mochi.HookBase
	gateways Gateways
	secrets  *verifier
	log      *slog.Logger

	refused *prometheus.CounterVec // by reason
	denied  prometheus.Counter
	dropped prometheus.Counter

	mu     sync.Mutex
	owners map[event.GatewayID]*conn // the newest connection of each gateway

	knocks  *rate.Limiter
	knocked map[event.GatewayID]time.Time // when it was last kept
}

func newDoor(gateways Gateways, log *slog.Logger) *door {
	return &door{
		gateways: gateways,
		secrets:  newVerifier(),
		log:      log,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chargeyard_cloud_broker_refused_total",
			Help: "Connections that the embedded broker refused, by reason.",
		}, []string{"reason"}),
		denied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chargeyard_cloud_broker_denied_total",
			Help: "Publishes and subscriptions outside a gateway's own topics.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chargeyard_cloud_broker_dropped_total",
			Help: "Messages dropped because a gateway did not read them.",
		}),
		owners:  map[event.GatewayID]*conn{},
		knocks:  rate.NewLimiter(1, 20),
		knocked: map[event.GatewayID]time.Time{},
	}
}

// ID implements mochi.Hook.
func (d *door) ID() string { return "door" }

// Provides implements mochi.Hook.
func (d *door) Provides(b byte) bool {
	switch b {
	case mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish,
		mochi.OnWill, mochi.OnSessionEstablished, mochi.OnDisconnect, mochi.OnPublishDropped:
		return true
	}
	return false
}

// OnConnect bounds what a client may ask for: no session outlives its
// connection and no connection lives without a sign of life.
func (d *door) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	cl.Properties.Clean = true
	if cl.State.Keepalive == 0 || cl.State.Keepalive > maxKeepalive {
		cl.State.Keepalive = maxKeepalive
	}
	return nil
}

// Reserved tells whether a name is the broker's own: no gateway may have it.
func Reserved(g event.GatewayID) bool { return g == mochi.InlineClientId }

// OnConnectAuthenticate lets a gateway in whose user name and client id are its
// id, whose password is right and whose last will is about itself.
func (d *door) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	g := event.GatewayID(cl.Properties.Username)
	log := d.log.With("gateway", g, "remote", cl.Net.Remote)
	if !wire.ValidGateway(g) || Reserved(g) {
		d.refused.WithLabelValues("name").Inc()
		d.log.Debug("broker refuses: user name is not a gateway id", "remote", cl.Net.Remote)
		return false
	}
	if cl.ID != string(g) {
		d.refused.WithLabelValues("client_id").Inc()
		log.Warn("broker refuses: expected the gateway's id as client id", "client", cl.ID)
		return false
	}
	if will := cl.Properties.Will; will.Flag != 0 && !allowed(g, will.TopicName, true) {
		d.refused.WithLabelValues("will").Inc()
		log.Warn("broker refuses: expected a last will on the gateway's own topics", "topic", will.TopicName)
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
	defer cancel()
	hash, err := d.gateways.GatewaySecret(ctx, g)
	if errors.Is(err, fleet.ErrNotFound) {
		d.refused.WithLabelValues("unknown").Inc()
		d.knock(ctx, g, log)
		return false
	}
	if err != nil {
		d.refused.WithLabelValues("error").Inc()
		log.Error("broker cannot look a gateway up", "err", err)
		return false
	}
	ok, err := d.secrets.verify(ctx, g, hash, pk.Connect.Password)
	if err != nil {
		d.refused.WithLabelValues("error").Inc()
		log.Error("broker cannot check a password", "err", err)
		return false
	}
	if !ok {
		d.refused.WithLabelValues("password").Inc()
		log.Warn("broker refuses: wrong password; chargeyard-cloud gateway add makes a new one")
		return false
	}
	if err := d.take(ctx, g, cl); err != nil {
		d.refused.WithLabelValues("busy").Inc()
		log.Warn("broker refuses: the old connection of this gateway does not end", "err", err)
		return false
	}
	return true
}

// take makes cl the connection of g. It waits until an older one has been
// cleared away whole: the library takes a connection over while the old one
// still tidies up, and the tidying can hit the new one.
func (d *door) take(ctx context.Context, g event.GatewayID, cl *mochi.Client) error {
	mine, ok := cl.Net.Conn.(*conn)
	if !ok {
		return errors.New("not a connection of this broker's listeners")
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	for {
		d.mu.Lock()
		old := d.owners[g]
		if old == nil || isClosed(old.gone) {
			d.owners[g] = mine
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		if err := old.Close(); err == nil {
			d.log.Info("broker ends the older connection of a gateway", "gateway", g, "remote", old.RemoteAddr())
		}
		select {
		case <-old.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// knock keeps that an unknown gateway was here: not more often than once a
// minute for each, and not faster than a database bears.
func (d *door) knock(ctx context.Context, g event.GatewayID, log *slog.Logger) {
	now := time.Now()
	d.mu.Lock()
	if now.Sub(d.knocked[g]) < time.Minute || !d.knocks.AllowN(now, 1) {
		d.mu.Unlock()
		return
	}
	if len(d.knocked) >= 1000 {
		clear(d.knocked)
	}
	d.knocked[g] = now
	d.mu.Unlock()
	log.Warn("unknown gateway knocks; chargeyard-cloud gateway add makes it known")
	if err := d.gateways.Knocked(ctx, g); err != nil {
		log.Error("keep a knock", "err", err)
	}
}

// OnACLCheck implements design: a gateway writes up, hello, ask, live and
// status, and reads ack, welcome, cmd, answer, desired and status, of its own
// tree. For a subscription, topic is the filter.
func (d *door) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if cl.Net.Inline {
		return true
	}
	if allowed(event.GatewayID(cl.ID), topic, write) {
		return true
	}
	d.denied.Inc()
	d.log.Warn("broker denies a topic", "gateway", cl.ID, "topic", topic, "write", write)
	return false
}

// allowed tells whether g may publish to a topic, or subscribe to a filter and
// read a topic.
func allowed(g event.GatewayID, topic string, write bool) bool {
	rest, ok := strings.CutPrefix(topic, wire.Prefix+string(g)+"/")
	if !ok {
		return false
	}
	kind, sub, tiers := strings.Cut(rest, "/")
	if strings.ContainsAny(sub, "/#") || write && strings.Contains(sub, "+") || tiers && sub == "" {
		return false
	}
	switch wire.Kind(kind) {
	case wire.KindStatus:
		return !tiers
	case wire.KindHello, wire.KindAsk, wire.KindLive:
		return write && !tiers
	case wire.KindUp:
		return write && tiers
	case wire.KindWelcome, wire.KindCommand, wire.KindAnswer:
		return !write && !tiers
	case wire.KindAck, wire.KindDesired:
		return !write && tiers
	}
	return false
}

// OnPublish keeps nothing but a gateway's status: anything else retained would
// stay for ever and come again at every connect.
func (d *door) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if !cl.Net.Inline && pk.FixedHeader.Retain {
		pk.FixedHeader.Retain = strings.HasSuffix(pk.TopicName, "/"+string(wire.KindStatus))
	}
	return pk, nil
}

// OnWill lets only a status be retained. The library does not check a will
// against the topics; OnConnectAuthenticate did.
func (d *door) OnWill(_ *mochi.Client, will mochi.Will) (mochi.Will, error) {
	will.Retain = will.Retain && strings.HasSuffix(will.TopicName, "/"+string(wire.KindStatus))
	return will, nil
}

// OnSessionEstablished implements mochi.Hook.
func (d *door) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	d.log.Info("gateway connects", "gateway", cl.ID, "remote", cl.Net.Remote)
}

// OnDisconnect implements mochi.Hook.
func (d *door) OnDisconnect(cl *mochi.Client, err error, _ bool) {
	d.log.Info("gateway disconnects", "gateway", cl.ID, "remote", cl.Net.Remote, "err", err)
}

// OnPublishDropped implements mochi.Hook.
func (d *door) OnPublishDropped(cl *mochi.Client, pk packets.Packet) {
	d.dropped.Inc()
	d.log.Debug("broker drops a message that is not read", "gateway", cl.ID, "topic", pk.TopicName)
}
