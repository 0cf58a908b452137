// Package commander brings what the manager wants to the gateways: commands,
// followed until the gateway has spoken about them, and sections of desired
// state. It also answers what chargers wait for.
//
// Nothing here trusts a broker. A command goes out again from the database
// until the gateway reports it, and a gateway executes each at most once; a
// section goes out again until the gateway's hello names its revision.
package commander

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/prometheus/client_golang/prometheus"
)

// Timing.
const (
	resend = 10 * time.Second // until a gateway has spoken about a command
	// collect is how long changes of desired state are collected.
	collect = 5 * time.Second
	// afterlife is how long past its expires a sent command is still shown to a
	// gateway that says hello: it answers with the stored result, or with
	// expired. The gateway's journal keeps commands 7 days.
	afterlife = 6 * 24 * time.Hour
	atOnce    = 100 // commands sent to one gateway in one go
)

// Store is what the commander needs of the database.
type Store interface {
	AddCommand(ctx context.Context, c fleet.Command, idempotencyKey, bodyHash string) (fleet.Command, error)
	Command(ctx context.Context, s fleet.Scope, id event.CommandID) (fleet.Command, error)
	MoveCommand(ctx context.Context, id event.CommandID, to event.CommandState, reason string, at time.Time) (bool, error)
	WishCancel(ctx context.Context, id event.CommandID, at time.Time) error
	OwedCommands(ctx context.Context, g event.GatewayID) ([]fleet.Command, error)
	Token(ctx context.Context, t fleet.Tenant, value string) (fleet.Token, error)
	TokensIn(ctx context.Context, t fleet.Tenant, section string) ([]fleet.Token, error)
	Desired(ctx context.Context, g event.GatewayID) (map[string][]byte, error)
}

// Directory knows every gateway that somebody has added, of whatever tenant.
type Directory interface {
	// Owned returns a gateway, fleet.ErrNotFound for one that nobody has added.
	Owned(ctx context.Context, id event.GatewayID) (fleet.Gateway, error)
	All(ctx context.Context) ([]event.GatewayID, error)
}

// Bus carries messages to gateways.
type Bus interface {
	Publish(topic string, payload []byte, qos byte, retained bool) error
}

// Commander sends commands and desired state.
type Commander struct {
	store    Store
	gateways Directory
	bus      Bus
	log      *slog.Logger
	now      func() time.Time

	sent, answered *prometheus.CounterVec

	sections *sections
	asks     chan ask
	wake     chan struct{}

	mu      sync.Mutex
	peers   map[event.GatewayID]*peer
	changed map[change]time.Time // section: when to send it
}

// peer is what the commander knows of a gateway.
type peer struct {
	online     bool
	connection string
	check      time.Time // when to look for commands next; zero: nothing is owed
	sentAt     map[event.CommandID]time.Time
	cancelAt   map[event.CommandID]time.Time // when a wish to cancel was told last
	welcomed   bool                          // it has just said hello: show it everything that it has not spoken about
	owed       bool                          // and the sections that it does not have
	has        map[string]string             // section: revision, as its hello said
	refused    map[string]string             // section: revision that it could not put in force
}

// due tells whether it is time to look for commands.
func (p *peer) due(now time.Time) bool { return !p.check.IsZero() && !p.check.After(now) }

type change struct {
	tenant  fleet.Tenant
	gateway event.GatewayID // empty: every gateway of the tenant
	section string
}

// New returns a Commander whose work starts in Run.
func New(store Store, gateways Directory, bus Bus, log *slog.Logger, now func() time.Time) *Commander {
	return &Commander{
		store: store, gateways: gateways, bus: bus, log: log, now: now,
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chargeyard_cloud_commands_sent_total",
			Help: "Commands sent to gateways; again: not for the first time.",
		}, []string{"again"}),
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chargeyard_cloud_asks_total",
			Help: "Questions of gateways, by what became of them.",
		}, []string{"outcome"}),
		sections: newSections(store, gateways, now),
		asks:     make(chan ask, 256),
		wake:     make(chan struct{}, 1),
		peers:    map[event.GatewayID]*peer{},
		changed:  map[change]time.Time{},
	}
}

// Metrics returns what the commander counts.
func (c *Commander) Metrics() []prometheus.Collector {
	return []prometheus.Collector{c.sent, c.answered}
}

// Run sends until ctx ends.
func (c *Commander) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 4 {
		wg.Go(func() { c.answer(ctx) })
	}
	if err := c.remember(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		c.round(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-c.wake:
		}
	}
	return nil
}

// remember looks once after the commands of every gateway, also of those that
// do not come back: theirs expire.
func (c *Commander) remember(ctx context.Context) error {
	all, err := c.gateways.All(ctx)
	if err != nil {
		return fmt.Errorf("list gateways: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range all {
		c.peer(g).check = c.now()
	}
	return nil
}

// peer returns the record of g; c.mu is held.
func (c *Commander) peer(g event.GatewayID) *peer {
	p := c.peers[g]
	if p == nil {
		p = &peer{sentAt: map[event.CommandID]time.Time{}, cancelAt: map[event.CommandID]time.Time{}}
		c.peers[g] = p
	}
	return p
}

func (c *Commander) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Welcomed takes note that g has been welcomed: it gets what it is owed.
func (c *Commander) Welcomed(g event.GatewayID, h wire.Hello) {
	c.mu.Lock()
	p := c.peer(g)
	p.online, p.connection = true, h.Connection
	p.check, p.welcomed = c.now(), true
	p.has, p.owed = h.Desired, true
	c.mu.Unlock()
	c.nudge()
}

// Applied takes note of sections that gateways have put in force or refused, as
// they say in events that are committed. It does not block.
func (c *Commander) Applied(a fleet.Applied) {
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Type != event.TypeGatewayApplied {
			continue
		}
		var applied event.GatewayApplied
		if json.Unmarshal(e.Data, &applied) != nil {
			continue // ingest has spoken about it
		}
		c.mu.Lock()
		p := c.peer(e.Gateway)
		if applied.Error == "" {
			applied.Revision = "" // none
		}
		if p.refused[applied.Section] != applied.Revision {
			p.refused = maps.Clone(p.refused) // serve may be reading the old one
			if p.refused == nil {
				p.refused = map[string]string{}
			}
			p.refused[applied.Section] = applied.Revision
		}
		c.mu.Unlock()
	}
}

// Status takes note of a gateway's word about its connection.
func (c *Commander) Status(g event.GatewayID, s wire.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peer(g)
	if s.Online {
		if !p.online {
			// It may stay connected over a restart of the manager and say no hello:
			// this word is the only sign that it can be told something.
			p.check = c.now()
			c.nudge()
		}
		p.online, p.connection = true, s.Connection
		return
	}
	if p.connection == "" || p.connection == s.Connection {
		p.online = false
	}
}

// Queue keeps a command and sends it at once if its gateway is there. The same
// key with the same body returns the first command, with another body
// fleet.ErrConflict.
func (c *Commander) Queue(ctx context.Context, cmd fleet.Command, key, bodyHash string) (fleet.Command, error) {
	kept, err := c.store.AddCommand(ctx, cmd, key, bodyHash)
	if err != nil {
		return fleet.Command{}, err
	}
	c.mu.Lock()
	p := c.peer(kept.Gateway)
	if now := c.now(); p.check.IsZero() || p.check.After(now) {
		p.check = now
	}
	c.mu.Unlock()
	c.nudge()
	return kept, nil
}

// Cancel takes a command back. One that was never sent ends here; of another
// the gateway decides, which is told until it has. It returns the command as
// it stands then.
func (c *Commander) Cancel(ctx context.Context, s fleet.Scope, id event.CommandID) (fleet.Command, error) {
	cmd, err := c.store.Command(ctx, s, id)
	if err != nil || cmd.Status.Final() {
		return cmd, err
	}
	// The store moves it only if it was never sent: the command may leave at this
	// very moment.
	if _, err := c.store.MoveCommand(ctx, id, event.StateCancelled, "cancelled before it was sent", c.now()); err != nil {
		return fleet.Command{}, err
	}
	cmd, err = c.store.Command(ctx, s, id)
	if err != nil || cmd.Status.Final() {
		return cmd, err
	}
	if err := c.store.WishCancel(ctx, id, c.now()); err != nil {
		return fleet.Command{}, err
	}
	if cmd, err = c.store.Command(ctx, s, id); err != nil {
		return fleet.Command{}, err
	}
	c.mu.Lock()
	p := c.peer(cmd.Gateway)
	delete(p.cancelAt, id)
	p.check = c.now()
	c.mu.Unlock()
	c.nudge()
	return cmd, nil
}

// TokenChanged sends the section of a token to every gateway of its tenant, a
// little later: changes seldom come alone.
func (c *Commander) TokenChanged(t fleet.Tenant, value string) {
	section := wire.TokenSection(value)
	c.sections.forget(t, section)
	c.later(change{tenant: t, section: section})
}

// DesiredChanged sends a section of one gateway, a little later.
func (c *Commander) DesiredChanged(g event.GatewayID, section string) {
	c.later(change{gateway: g, section: section})
}

func (c *Commander) later(ch change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, waits := c.changed[ch]; !waits {
		c.changed[ch] = c.now().Add(collect)
	}
}

// round does what is due.
func (c *Commander) round(ctx context.Context) {
	now := c.now()
	var due []event.GatewayID
	var changes []change
	c.mu.Lock()
	for g, p := range c.peers {
		if p.owed || p.due(now) {
			due = append(due, g)
		}
	}
	for ch, at := range c.changed {
		if !at.After(now) {
			changes = append(changes, ch)
			delete(c.changed, ch)
		}
	}
	c.mu.Unlock()
	slices.Sort(due)
	for _, g := range due {
		if ctx.Err() != nil {
			return
		}
		c.serve(ctx, g, now)
	}
	c.sendChanged(ctx, changes)
}

// serve brings one gateway what it is owed.
func (c *Commander) serve(ctx context.Context, g event.GatewayID, now time.Time) {
	log := c.log.With("gateway", g)
	c.mu.Lock()
	p := c.peer(g)
	look, owed, was := p.due(now), p.owed, *p
	p.welcomed, p.owed = false, false
	if look {
		p.check = time.Time{}
	}
	c.mu.Unlock()
	if look {
		next, err := c.commands(ctx, g, was.online, was.welcomed, now)
		if err != nil && ctx.Err() == nil {
			log.Error("send commands", "err", err)
			next = now.Add(resend)
		}
		c.mu.Lock()
		if p.check.IsZero() || !next.IsZero() && next.Before(p.check) {
			p.check = next
		}
		c.mu.Unlock()
	}
	if owed && was.online {
		if err := c.sendOwed(ctx, g, was.has, was.refused); err != nil && ctx.Err() == nil {
			log.Error("send desired state", "err", err)
		}
	}
}

// commands sends what g has not spoken about and tells when to look again;
// never, if that is zero.
func (c *Commander) commands(ctx context.Context, g event.GatewayID, online, welcomed bool, now time.Time) (next time.Time, err error) {
	owed, err := c.store.OwedCommands(ctx, g)
	if err != nil {
		return time.Time{}, err
	}
	look := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	running := make(map[event.CommandID]bool, len(owed))
	sent := 0
	for _, cmd := range owed {
		running[cmd.ID] = true
		expired := !cmd.Expires.After(now)
		last := c.lastSent(g, cmd.ID)
		switch {
		case cmd.Status == event.StateQueued && expired:
			// Never sent: nobody but the manager can know what became of it.
			if _, err := c.store.MoveCommand(ctx, cmd.ID, event.StateExpired, "expired before its gateway was online to take it", now); err != nil {
				return time.Time{}, err
			}
		case cmd.Status == event.StateQueued && !online:
			look(cmd.Expires)
		case cmd.Status != event.StateQueued && cmd.Status != event.StateSent, !online:
			// The gateway has spoken, or is away: its hello brings us back here.
		case expired && (!welcomed || now.Sub(cmd.Expires) > afterlife):
			// It was sent: the gateway's word decides, however late.
		case !welcomed && now.Sub(last) < resend:
			look(last.Add(resend))
		case sent >= atOnce:
			look(now.Add(time.Second))
		default:
			sent++
			if err := c.send(ctx, cmd, now); err != nil {
				return time.Time{}, err
			}
			if !expired {
				look(now.Add(resend))
			}
		}
	}
	for _, cmd := range owed {
		if cmd.CancelAsked == nil || !online || cmd.Status == event.StateQueued {
			continue
		}
		if last := c.lastCancel(g, cmd.ID); now.Sub(last) >= resend || welcomed {
			c.publish(g, wire.KindCommand, "", 1, wire.Order{Cancel: cmd.ID})
			c.mu.Lock()
			c.peer(g).cancelAt[cmd.ID] = now
			c.mu.Unlock()
			look(now.Add(resend))
		} else {
			look(last.Add(resend))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peer(g)
	gone := func(id event.CommandID, _ time.Time) bool { return !running[id] }
	maps.DeleteFunc(p.sentAt, gone)
	maps.DeleteFunc(p.cancelAt, gone)
	return next, nil
}

func (c *Commander) lastCancel(g event.GatewayID, id event.CommandID) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer(g).cancelAt[id]
}

func (c *Commander) lastSent(g event.GatewayID, id event.CommandID) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer(g).sentAt[id]
}

// send publishes a command. That it is sent is recorded first: otherwise a
// crash in between would let the manager declare expired what a gateway
// executed.
func (c *Commander) send(ctx context.Context, cmd fleet.Command, now time.Time) error {
	again := cmd.Status == event.StateSent
	if !again {
		moved, err := c.store.MoveCommand(ctx, cmd.ID, event.StateSent, "", now)
		if err != nil || !moved { // not moved: cancelled in the meantime
			return err
		}
	}
	seam.Hit("cloud.commander.before-publish")
	c.publish(cmd.Gateway, wire.KindCommand, "", 1, wire.Order{Command: cmd.Command})
	seam.Hit("cloud.commander.after-publish")
	c.sent.WithLabelValues(strconv.FormatBool(again)).Inc()
	if !again {
		c.log.Info("command sent", "gateway", cmd.Gateway, "station", cmd.Station, "command", cmd.ID, "type", cmd.Type)
	}
	c.mu.Lock()
	c.peer(cmd.Gateway).sentAt[cmd.ID] = now
	c.mu.Unlock()
	return nil
}

// publish sends a message to a gateway. What does not leave goes out again: a
// command every few seconds, a section after the next hello.
func (c *Commander) publish(g event.GatewayID, k wire.Kind, sub string, qos byte, message any) {
	plain, err := json.Marshal(message)
	if err != nil {
		c.log.Error("encode message", "gateway", g, "kind", k, "err", err)
		return
	}
	topic := wire.Topic(g, k)
	if sub != "" {
		topic = wire.Topic(g, k, sub)
	}
	if err := c.bus.Publish(topic, wire.Pack(plain), qos, false); err != nil {
		c.log.Warn("message did not leave", "gateway", g, "kind", k, "err", err)
	}
}
