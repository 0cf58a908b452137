package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxStreams   = 1000             // at once
	ownerFresh   = 10 * time.Second // a gateway may be given to another location
	newsBuffered = 1024             // messages of gateways on their way to listeners
)

// LiveMessage is the newest power and state of what stands behind a gateway. It
// is never stored.
type LiveMessage struct {
	Gateway event.GatewayID `json:"gateway"`
	wire.Live
}

// GatewayMessage says that a gateway came or went.
type GatewayMessage struct {
	Gateway event.GatewayID `json:"gateway"`
	Online  bool            `json:"online"`
	At      time.Time       `json:"at"`
}

// Hub tells the streams of the API that something happened.
//
// It buffers nothing that could grow. Events are read from the log by each
// stream at its own pace: the log is the buffer, and a signal says only that
// there is more. Of what is not in the log each stream is owed the newest word
// of each gateway.
type Hub struct {
	gateways Owners
	log      *slog.Logger
	now      func() time.Time
	news     chan news
	streams  prometheus.Gauge
	cut      prometheus.Counter

	mu        sync.Mutex
	listening map[*audience]bool
	live      map[event.GatewayID]LiveMessage // the newest of each gateway that is online
	owners    map[event.GatewayID]owner
	closed    bool
}

// Owners tells whose a gateway is.
type Owners interface {
	// Owned returns a gateway of whatever tenant, fleet.ErrNotFound for one that
	// nobody has added.
	Owned(ctx context.Context, id event.GatewayID) (fleet.Gateway, error)
}

// owner is whom a gateway belongs to; known is false for one that nobody has
// added.
type owner struct {
	tenant   fleet.Tenant
	location string
	known    bool
	until    time.Time
}

// news is a message of a gateway that is not in the log.
type news struct {
	gateway event.GatewayID
	live    []byte
	status  *wire.Status
}

// NewHub returns a Hub that works once Run is called.
func NewHub(gateways Owners, log *slog.Logger, now func() time.Time) *Hub {
	return &Hub{
		gateways: gateways, log: log, now: now,
		news:      make(chan news, newsBuffered),
		listening: map[*audience]bool{},
		live:      map[event.GatewayID]LiveMessage{},
		owners:    map[event.GatewayID]owner{},
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chargeyard_cloud_streams",
			Help: "Listeners on the stream of the API.",
		}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chargeyard_cloud_streams_cut_total",
			Help: "Listeners that were cut because they did not read.",
		}),
	}
}

// Metrics returns what the hub counts.
func (h *Hub) Metrics() []prometheus.Collector { return []prometheus.Collector{h.streams, h.cut} }

// Run passes on what gateways say until ctx ends; then every stream ends.
func (h *Hub) Run(ctx context.Context) error {
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.closed = true
		for a := range h.listening {
			close(a.done)
		}
		clear(h.listening)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-h.news:
			h.spread(ctx, n)
		}
	}
}

// Applied tells every stream that the log has grown.
func (h *Hub) Applied(a fleet.Applied) {
	if len(a.Entries) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listening {
		l.nudge()
	}
}

// Live takes a live message of a gateway. It never blocks: with too many on
// their way it is dropped, and the next one comes within a second.
func (h *Hub) Live(g event.GatewayID, payload []byte) { h.offer(news{gateway: g, live: payload}) }

// Status takes a gateway's word about its connection, once the store has it.
func (h *Hub) Status(g event.GatewayID, s wire.Status) { h.offer(news{gateway: g, status: &s}) }

func (h *Hub) offer(n news) {
	select {
	case h.news <- n:
	default:
	}
}

// spread passes a message on to those who may see its gateway.
func (h *Hub) spread(ctx context.Context, n news) {
	o, err := h.owner(ctx, n.gateway)
	if err != nil {
		h.log.Error("find out whose a gateway is", "gateway", n.gateway, "err", err)
		return
	}
	if !o.known {
		return
	}
	var live LiveMessage
	if n.status == nil {
		l, err := wire.Decode[wire.Live](n.live)
		if err != nil {
			h.log.Debug("live message cannot be read", "gateway", n.gateway, "err", err)
			return
		}
		live = LiveMessage{Gateway: n.gateway, Live: l}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.status == nil {
		h.live[n.gateway] = merge(h.live[n.gateway], live)
	} else if !n.status.Online {
		delete(h.live, n.gateway) // it is the present no more
	}
	for l := range h.listening {
		if !l.sees(o) {
			continue
		}
		if n.status == nil {
			l.owe(func() { l.live[n.gateway] = merge(l.live[n.gateway], live) })
		} else {
			m := GatewayMessage{Gateway: n.gateway, Online: n.status.Online, At: h.now().UTC()}
			l.owe(func() { l.gateways[n.gateway] = m })
		}
	}
}

// merge is what two live messages of a gateway say together: the later one may
// tell of some connectors only.
func merge(earlier, later LiveMessage) LiveMessage {
	if later.Gateway == "" {
		return earlier
	}
	type place struct {
		station         event.StationID
		evse, connector int
	}
	told := make(map[place]bool, len(later.Connectors))
	for _, c := range later.Connectors {
		told[place{c.Station, c.EVSE, c.Connector}] = true
	}
	out := later
	out.Connectors = nil
	for _, c := range earlier.Connectors {
		if !told[place{c.Station, c.EVSE, c.Connector}] {
			out.Connectors = append(out.Connectors, c)
		}
	}
	out.Connectors = append(out.Connectors, later.Connectors...)
	return out
}

// owner finds out whose a gateway is.
func (h *Hub) owner(ctx context.Context, g event.GatewayID) (owner, error) {
	now := h.now()
	h.mu.Lock()
	o, ok := h.owners[g]
	h.mu.Unlock()
	if ok && now.Before(o.until) {
		return o, nil
	}
	found, err := h.gateways.Owned(ctx, g)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		o = owner{}
	case err != nil:
		return owner{}, err
	default:
		o = owner{tenant: found.Tenant, location: found.Location, known: found.Tenant != ""}
	}
	o.until = now.Add(ownerFresh)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.owners) > 100_000 { // strangers' names cost memory too
		clear(h.owners)
	}
	h.owners[g] = o
	return o, nil
}

// audience is one stream.
type audience struct {
	scope fleet.Scope
	wake  chan struct{}
	done  chan struct{} // closed when the hub ends

	mu       sync.Mutex
	live     map[event.GatewayID]LiveMessage
	gateways map[event.GatewayID]GatewayMessage
}

// sees tells whether the audience may see what belongs to o.
func (a *audience) sees(o owner) bool {
	return o.known && a.scope.Tenant != "" && a.scope.Tenant == o.tenant &&
		(a.scope.Location == "" || a.scope.Location == o.location)
}

func (a *audience) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *audience) owe(add func()) {
	a.mu.Lock()
	add()
	a.mu.Unlock()
	a.nudge()
}

// take returns what is owed, in the order of the gateways' names.
func (a *audience) take() (gone []GatewayMessage, live []LiveMessage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range slices.Sorted(maps.Keys(a.gateways)) {
		gone = append(gone, a.gateways[g])
	}
	for _, g := range slices.Sorted(maps.Keys(a.live)) {
		live = append(live, a.live[g])
	}
	clear(a.gateways)
	clear(a.live)
	return gone, live
}

// join adds a stream; nil when there are too many or the hub has ended. It is
// owed the present at once.
func (h *Hub) join(ctx context.Context, s fleet.Scope) (*audience, error) {
	a := &audience{
		scope: s, wake: make(chan struct{}, 1), done: make(chan struct{}),
		live: map[event.GatewayID]LiveMessage{}, gateways: map[event.GatewayID]GatewayMessage{},
	}
	h.mu.Lock()
	if h.closed || len(h.listening) >= maxStreams {
		h.mu.Unlock()
		return nil, nil
	}
	h.listening[a] = true
	h.streams.Set(float64(len(h.listening)))
	present := maps.Clone(h.live)
	h.mu.Unlock()
	for g, l := range present {
		o, err := h.owner(ctx, g)
		if err != nil {
			h.leave(a)
			return nil, err
		}
		if !a.sees(o) {
			continue
		}
		a.owe(func() { a.live[g] = merge(l, a.live[g]) }) // what came meanwhile is newer
	}
	return a, nil
}

func (h *Hub) leave(a *audience) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listening, a)
	h.streams.Set(float64(len(h.listening)))
}
