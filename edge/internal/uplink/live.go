package uplink

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/wire"
)

const (
	liveEvery = time.Second
	// liveValues is the least time between two messages that differ only in
	// measured values: they would be most of a site's traffic.
	liveValues = 10 * time.Second
)

// sendLive publishes the newest state of everything, at most once a second: at
// once what a person waits for (status, session, command), measured values and
// the backlog more slowly, nothing while nothing changes.
func (c *conversation) sendLive(ctx context.Context) {
	if !c.awaitWelcome(ctx) {
		return
	}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var (
		seen                uint64 // version that now shows
		now                 wire.Live
		newShape, newValues string // of now
		shape, values       string // of what was sent last
		backlog             map[string]int
		sent                time.Time // zero: not yet on this connection
	)
	for {
		version, waiting := c.site.LiveVersion(), c.u.backlog()
		if sent.IsZero() || version != seen {
			seen, now = version, liveOf(c.site.Live())
			newShape, newValues = shapeOf(now), valuesOf(now)
		}
		slow := newValues != values || !maps.Equal(waiting, backlog)
		if sent.IsZero() || newShape != shape || slow && time.Since(sent) >= liveValues {
			now.Time, now.Backlog = c.u.clock.Stamp().Time.UTC().Truncate(time.Millisecond), waiting
			payload, err := packed(now)
			if err != nil { // thousands of connectors: those in use matter more
				now.Connectors = slices.DeleteFunc(slices.Clone(now.Connectors), func(c wire.LiveConnector) bool { return c.Session == "" })
				payload, err = packed(now)
			}
			if err != nil {
				c.log.Debug("live message left out", "err", err)
			} else if _, err := c.session.Publish(Message{Topic: wire.Topic(c.u.cfg.Gateway, wire.KindLive), Payload: payload}); err != nil {
				c.log.Debug("live message left out", "err", err)
			}
			shape, values, backlog, sent = newShape, newValues, waiting, time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (u *Uplink) backlog() map[string]int {
	out := make(map[string]int, len(u.lanes))
	for _, l := range u.lanes {
		out[string(l.name)] = l.Backlog()
	}
	return out
}

// liveOf writes the site's state as it travels, in a fixed order.
func liveOf(connectors []site.LiveConnector, commands []site.LiveCommand) wire.Live {
	var l wire.Live
	for _, c := range connectors {
		l.Connectors = append(l.Connectors, wire.LiveConnector{
			Station: c.Station, EVSE: c.EVSE, Connector: c.Connector, Status: c.Status, PowerW: c.PowerW,
			EnergyWh: c.EnergyWh, SoC: c.SoCPercent, Session: c.Session, AsOf: c.AsOf.UTC().Truncate(time.Millisecond),
		})
	}
	for _, c := range commands {
		l.Commands = append(l.Commands, wire.LiveCommand{Command: c.Command, State: c.State, Reason: c.Reason})
	}
	slices.SortFunc(l.Connectors, func(a, b wire.LiveConnector) int {
		return cmp.Or(cmp.Compare(a.Station, b.Station), cmp.Compare(a.EVSE, b.EVSE), cmp.Compare(a.Connector, b.Connector))
	})
	slices.SortFunc(l.Commands, func(a, b wire.LiveCommand) int { return cmp.Compare(a.Command, b.Command) })
	return l
}

// shapeOf is the part of l whose change is worth a message at once.
func shapeOf(l wire.Live) string {
	connectors := make([]wire.LiveConnector, len(l.Connectors))
	for i, c := range l.Connectors {
		connectors[i] = wire.LiveConnector{Station: c.Station, EVSE: c.EVSE, Connector: c.Connector, Status: c.Status, Session: c.Session}
	}
	return textOf(connectors, l.Commands)
}

// valuesOf is l without the moments at which nothing changed.
func valuesOf(l wire.Live) string {
	connectors := slices.Clone(l.Connectors)
	for i := range connectors {
		connectors[i].AsOf = time.Time{}
	}
	return textOf(connectors, l.Commands)
}

func textOf(connectors []wire.LiveConnector, commands []wire.LiveCommand) string {
	text, err := json.Marshal(wire.Live{Connectors: connectors, Commands: commands})
	if err != nil {
		return "" // a number that is none: not worth a message
	}
	return string(text)
}
