package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// PutSecurity implements fleet.Tx.
func (t *tx) PutSecurity(r fleet.SecurityRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO security_events (since, tenant, gateway, station, identity, event, critical, info, device_time, count, told, told_boot)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Position, r.Tenant, r.Gateway, text(r.Station), r.Identity, r.Event, r.Critical, r.Info, r.DeviceTime, r.Count, at(&r.Told), boot(&r.Told))
	return err
}

// visitor is the part of a pending station by which nobody searches.
type visitor struct {
	Protocol string `json:"protocol,omitempty"`
	Remote   string `json:"remote,omitempty"`
	Vendor   string `json:"vendor,omitempty"`
	Model    string `json:"model,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	Info     string `json:"info,omitempty"`
}

// Pending implements fleet.Tx.
func (t *tx) Pending(g event.GatewayID, identity event.StationID) (*fleet.PendingRow, error) {
	return get(t, func(scan scanner) (r fleet.PendingRow, err error) {
		var detail []byte
		var first, last moment
		if err := scan(&r.Gateway, &r.Identity, &r.Tenant, &r.Reason, &detail, &first.ms, &first.boot, &last.ms, &last.boot, &r.Count, &r.Seen, &r.Since); err != nil {
			return r, err
		}
		r.First, r.Last = first.to(), last.to()
		var v visitor
		err = json.Unmarshal(detail, &v)
		r.Protocol, r.Remote, r.Info = v.Protocol, v.Remote, v.Info
		r.Vendor, r.Model, r.Serial, r.Firmware = v.Vendor, v.Model, v.Serial, v.Firmware
		return r, err
	}, `SELECT gateway, identity, tenant, reason, detail, first, first_boot, last, last_boot, count, seen, since FROM pending WHERE gateway = ? AND identity = ?`, g, identity)
}

// PutPending implements fleet.Tx.
func (t *tx) PutPending(r fleet.PendingRow) error {
	detail, err := json.Marshal(visitor{r.Protocol, r.Remote, r.Vendor, r.Model, r.Serial, r.Firmware, r.Info})
	if err != nil {
		return fmt.Errorf("pending station: %w", err)
	}
	_, err = t.exec(`INSERT INTO pending (gateway, identity, tenant, reason, detail, first, first_boot, last, last_boot, count, seen, since)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET reason = excluded.reason, detail = excluded.detail,
		last = excluded.last, last_boot = excluded.last_boot, count = excluded.count, seen = excluded.seen`,
		r.Gateway, r.Identity, r.Tenant, r.Reason, string(detail), at(&r.First), boot(&r.First), at(&r.Last), boot(&r.Last), r.Count, r.Seen, r.Since)
	if err != nil {
		return err
	}
	_, err = t.exec(`DELETE FROM pending WHERE gateway = ?1 AND seen <= (SELECT seen FROM pending WHERE gateway = ?1 ORDER BY seen DESC LIMIT 1 OFFSET ?2)`,
		r.Gateway, fleet.MaxPending)
	return err
}

// DeletePending implements fleet.Tx.
func (t *tx) DeletePending(g event.GatewayID, identity event.StationID) error {
	_, err := t.exec(`DELETE FROM pending WHERE gateway = ? AND identity = ?`, g, identity)
	return err
}

// SecurityEvents implements fleet.Queries.
func (s *Store) SecurityEvents(ctx context.Context, scope fleet.Scope, f fleet.SecurityFilter, p fleet.Page) (l fleet.List[fleet.SecurityEvent], err error) {
	mended := `told + ` + offsetAt("security_events", "told_boot")
	var w where
	w.scope("tenant", "gateway", scope)
	w.addIf(f.Gateway != "", "gateway = ?", f.Gateway)
	w.addIf(f.Station != "", "(station = ? OR identity = ?)", f.Station, f.Station)
	w.addIf(f.Event != "", "event = ? COLLATE NOCASE", f.Event)
	w.addIf(f.Critical, "critical = 1")
	w.addIf(!f.From.IsZero(), mended+" >= ?", f.From.UnixMilli())
	w.addIf(!f.To.IsZero(), mended+" < ?", f.To.UnixMilli())
	if p.Cursor != "" {
		var before int64
		if err := decodeCursor(p.Cursor, &before); err != nil {
			return l, err
		}
		w.add("since < ?", before)
	}
	err = s.view(ctx, "security events", func(r reader) error {
		items, err := query(ctx, r, func(scan scanner) (e fleet.SecurityEvent, err error) {
			var told int64
			err = scan(&e.Position, &e.Gateway, &e.Station, &e.Identity, &e.Event, &e.Critical, &e.Info, &e.DeviceTime, &e.Count, &told)
			e.Time = fromMS(told)
			return e, err
		}, `SELECT since, gateway, ifnull(station, ''), identity, event, critical, info, device_time, count, `+mended+` FROM security_events`+w.String()+`
			ORDER BY since DESC LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(e fleet.SecurityEvent) []any { return []any{e.Position} })
		return err
	})
	return l, err
}

// admitted selects the identities that the manager admits at the gateway of a
// pending station.
const admitted = `SELECT json_extract(e.value, '$.identity') FROM desired d, json_each(CAST(d.content AS TEXT), '$.stations') e
	WHERE d.gateway = pending.gateway AND d.section = '` + wire.SectionStations + `' AND json_extract(e.value, '$.registration') IS NULL`

// PendingStations implements fleet.Queries. What was admitted since is not
// listed, whether or not the station has come back.
func (s *Store) PendingStations(ctx context.Context, scope fleet.Scope, g event.GatewayID, p fleet.Page) (l fleet.List[fleet.PendingStation], err error) {
	var w where
	w.scope("pending.tenant", "pending.gateway", scope)
	w.addIf(g != "", "pending.gateway = ?", g)
	w.add("identity NOT IN (" + admitted + ")")
	if p.Cursor != "" {
		var seen int64
		if err := decodeCursor(p.Cursor, &seen); err != nil {
			return l, err
		}
		w.add("seen < ?", seen)
	}
	type row struct {
		fleet.PendingStation
		seen int64
	}
	err = s.view(ctx, "pending stations", func(r reader) error {
		rows, err := query(ctx, r, func(scan scanner) (v row, err error) {
			var detail []byte
			var first, last int64
			if err := scan(&v.Gateway, &v.Location, &v.Identity, &v.Reason, &detail, &first, &last, &v.Count, &v.seen); err != nil {
				return v, err
			}
			v.ID, v.First, v.Last = fleet.StationID(v.Gateway, v.Identity), fromMS(first), fromMS(last)
			var known visitor
			err = json.Unmarshal(detail, &known)
			v.Protocol, v.Remote, v.Info = known.Protocol, known.Remote, known.Info
			v.Vendor, v.Model, v.Serial, v.Firmware = known.Vendor, known.Model, known.Serial, known.Firmware
			return v, err
		}, `SELECT pending.gateway, g.location, identity, reason, detail, first + `+offsetAt("pending", "first_boot")+`, last + `+offsetAt("pending", "last_boot")+`, count, seen
			FROM pending JOIN gateways g ON g.id = pending.gateway`+w.String()+` ORDER BY seen DESC LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		page, err := list(rows, p, func(v row) []any { return []any{v.seen} })
		l.Items, l.Next = make([]fleet.PendingStation, 0, len(page.Items)), page.Next
		for _, v := range page.Items {
			l.Items = append(l.Items, v.PendingStation)
		}
		return err
	})
	return l, err
}

// ChangeDesired implements fleet.Writes.
func (s *Store) ChangeDesired(ctx context.Context, g event.GatewayID, section string, change func(old []byte) ([]byte, error)) error {
	return wrap("change desired "+section, s.tx(ctx, func(t *tx) error {
		from, err := t.origin(g)
		if err != nil {
			return err
		}
		var old []byte
		if _, err := t.one(`SELECT content FROM desired WHERE gateway = ? AND section = ?`, []any{g, section}, &old); err != nil {
			return err
		}
		content, err := change(old)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT OR REPLACE INTO desired (gateway, section, tenant, content) VALUES (?, ?, ?, ?)`, g, section, from.Tenant, content)
		return err
	}))
}

// WishCancel implements fleet.Writes.
func (s *Store) WishCancel(ctx context.Context, id event.CommandID, at time.Time) error {
	return s.one(ctx, "wish to cancel "+string(id), `UPDATE commands SET cancel = ? WHERE id = ? AND open = 1 AND cancel IS NULL`, at.UnixMilli(), id)
}
