package uplink

import (
	"context"
	"encoding/json"
	"time"

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
	if c.u.cfg.Live == nil || !c.awaitWelcome(ctx) {
		return
	}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var shape, values string // of what was sent last
	var sent time.Time
	for {
		now := c.u.cfg.Live()
		now.Backlog = make(map[string]int)
		for _, l := range c.u.lanes {
			now.Backlog[string(l.name)] = l.Backlog()
		}
		newShape, newValues := liveShape(now), liveText(now)
		if newShape != shape || newValues != values && time.Since(sent) >= liveValues {
			now.Time = c.u.clock.Stamp().Time.UTC().Truncate(time.Millisecond)
			if payload, err := packed(now); err != nil {
				c.log.Debug("live message left out", "err", err)
			} else if _, err := c.session.Publish(Message{Topic: wire.Topic(c.u.cfg.Gateway, wire.KindLive), Payload: payload}); err != nil {
				return
			}
			shape, values, sent = newShape, newValues, time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// liveShape is the part of l whose change is worth a message at once.
func liveShape(l wire.Live) string {
	shape := wire.Live{Commands: l.Commands, Connectors: make([]wire.LiveConnector, len(l.Connectors))}
	for i, n := range l.Connectors {
		shape.Connectors[i] = wire.LiveConnector{Station: n.Station, EVSE: n.EVSE, Connector: n.Connector, Status: n.Status, Session: n.Session}
	}
	return liveText(shape)
}

// liveText is l without the moments at which nothing changed.
func liveText(l wire.Live) string {
	connectors := make([]wire.LiveConnector, len(l.Connectors))
	copy(connectors, l.Connectors)
	for i := range connectors {
		connectors[i].AsOf = time.Time{}
	}
	l.Connectors = connectors
	text, err := json.Marshal(l)
	if err != nil {
		return "" // a number that is none: not worth a message
	}
	return string(text)
}
