package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Gateways implements fleet.Queries. Gateways that knock belong to nobody: they
// are shown to the default tenant, where its scope is not narrowed.
func (s *Store) Gateways(ctx context.Context, scope fleet.Scope, p fleet.Page) (l fleet.List[fleet.Gateway], err error) {
	after := ""
	if p.Cursor != "" {
		if err := decodeCursor(p.Cursor, &after); err != nil {
			return l, err
		}
	}
	err = s.view(ctx, "gateways", func(r reader) error {
		items, err := s.gateways(ctx, r, scope, "", after, limit(p)+1)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(g fleet.Gateway) []any { return []any{g.ID} })
		return err
	})
	return l, err
}

// Gateway implements fleet.Queries.
func (s *Store) Gateway(ctx context.Context, scope fleet.Scope, id event.GatewayID) (g fleet.Gateway, err error) {
	err = s.view(ctx, "gateway "+string(id), func(r reader) error {
		items, err := s.gateways(ctx, r, scope, id, "", 1)
		if err != nil {
			return err
		}
		g, err = only(items, "gateway")
		return err
	})
	return g, err
}

func (s *Store) gateways(ctx context.Context, r reader, scope fleet.Scope, id event.GatewayID, after string, atMost int) ([]fleet.Gateway, error) {
	var w where
	w.add("tenant = ?", scope.Tenant)
	w.addIf(scope.Location != "", "location = ?", scope.Location)
	knocking := ""
	if scope.Tenant == fleet.DefaultTenant && scope.Location == "" {
		knocking = ` UNION ALL SELECT gateway, 'default', '', 'knocking', at, version, boot, '', NULL, NULL FROM knocking`
	}
	var outer where
	outer.addIf(id != "", "id = ?", id)
	outer.addIf(after != "", "id > ?", after)
	items, err := query(ctx, r, func(scan scanner) (g fleet.Gateway, err error) {
		var at sql.NullInt64
		var started moment
		err = scan(&g.ID, &g.Tenant, &g.Location, &g.Connectivity.Value, &at, &g.Version, &g.Boot, &g.Clock, &started.ms, &started.boot)
		g.Connectivity.Source = "manager"
		if at.Valid {
			g.Connectivity.AsOf = fromMS(at.Int64)
		}
		if m := started.toPointer(); m != nil {
			g.Started = &m.At
		}
		return g, err
	}, `SELECT * FROM (
		SELECT g.id AS id, g.tenant AS tenant, g.location AS location, CASE WHEN c.online = 1 THEN 'online' ELSE 'offline' END, c.at,
			coalesce(nullif(c.version, ''), f.version, ''), coalesce(nullif(c.boot, ''), f.boot, ''), 
			CASE WHEN f.clock = 'synced' AND f.boot = c.boot THEN f.clock ELSE coalesce(nullif(c.clock, ''), f.clock, '') END,
			f.started, f.started_boot
		FROM gateways g LEFT JOIN connections c ON c.gateway = g.id LEFT JOIN gateway_facts f ON f.gateway = g.id`+prefixed(w, "g.")+knocking+`)`+
		outer.String()+` ORDER BY id LIMIT ?`, append(append(w.args, outer.args...), atMost)...)
	if err != nil {
		return nil, err
	}
	for i := range items {
		if err := s.gatewayParts(ctx, r, &items[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func prefixed(w where, prefix string) string {
	p := where{}
	for _, t := range w.terms {
		p.add(prefix + t)
	}
	return p.String()
}

const (
	shownLosses  = 20
	lossAlarmFor = 30 * 24 * time.Hour
)

func (s *Store) gatewayParts(ctx context.Context, r reader, g *fleet.Gateway) error {
	type part struct {
		fleet.LaneState
		next uint64
	}
	streams, err := query(ctx, r, func(scan scanner) (p part, err error) {
		err = scan(&p.Lane, &p.Stream, &p.Sequence, &p.next)
		return p, err
	}, `SELECT lane, stream, position, next FROM streams WHERE gateway = ? ORDER BY lane, id`, g.ID)
	if err != nil {
		return err
	}
	for _, p := range streams { // the newest stream of a lane comes last
		if n := len(g.Lanes); n == 0 || g.Lanes[n-1].Lane != p.Lane {
			g.Lanes = append(g.Lanes, fleet.LaneState{Lane: p.Lane})
		}
		lane := &g.Lanes[len(g.Lanes)-1]
		lane.Stream, lane.Sequence = p.Stream, p.Sequence
		if p.next > p.Sequence+1 {
			lane.Backlog += p.next - 1 - p.Sequence
		}
	}
	alarms, err := query(ctx, r, readAlarm, `SELECT `+alarmColumns+` FROM alarms WHERE gateway = ? ORDER BY raised, alarm`, g.ID)
	if err != nil {
		return err
	}
	for _, a := range alarms {
		g.Alarms = append(g.Alarms, fleet.Alarm{Alarm: a.Alarm, Severity: a.Severity, Text: a.Text, Since: a.Raised.At})
	}
	g.Losses, err = query(ctx, r, func(scan scanner) (l fleet.Loss, err error) {
		var at int64
		err = scan(&l.Lane, &l.Stream, &l.First, &l.Last, &l.Reason, &at)
		l.At = fromMS(at)
		return l, err
	}, `SELECT lane, stream, first, last, reason, at FROM losses WHERE gateway = ? ORDER BY at DESC, id DESC LIMIT ?`, g.ID, shownLosses)
	if err != nil {
		return err
	}
	var lost uint64
	var since time.Time
	for _, l := range g.Losses {
		if r.now.Sub(l.At) < lossAlarmFor {
			lost, since = lost+l.Last-l.First+1, l.At
		}
	}
	if lost > 0 {
		g.Alarms = append(g.Alarms, fleet.Alarm{
			Alarm: "events_lost", Severity: "critical", Since: since,
			Text: fmt.Sprintf("The gateway no longer had %d numbered events when they were asked for: see losses. Compare its stations' own records for that time.", lost),
		})
	}
	return nil
}
