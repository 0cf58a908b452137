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

func tokenKey(value string) string { return wire.TokenKey(value) }

// in narrows column to one of values; to nothing where there are none.
func (w *where) in(column string, values []string) {
	marks, args := "", make([]any, 0, len(values))
	for i, v := range values {
		if i > 0 {
			marks += ", "
		}
		marks += "?"
		args = append(args, v)
	}
	w.add(column+" IN ("+marks+")", args...)
}

// unmarshalSample reads a stored sample, whose time is at once mended.
func unmarshalSample(raw []byte, at int64, s *event.Sample) error {
	if err := json.Unmarshal(raw, s); err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	s.Time = fromMS(at)
	return nil
}

// one writes in a transaction of a single statement.
func (s *Store) one(ctx context.Context, what, query string, args ...any) error {
	return wrap(what, s.tx(ctx, func(t *tx) error {
		_, err := t.exec(query, args...)
		return err
	}))
}

// AddGateway implements fleet.Writes. A gateway stays with its tenant for life:
// rows are the tenant's.
func (s *Store) AddGateway(ctx context.Context, g fleet.Gateway, secretHash string) error {
	if !wire.ValidGateway(g.ID) {
		return fmt.Errorf("add gateway: expected an id like gw-1 ([a-z0-9][a-z0-9-]{0,39}), got %q", g.ID)
	}
	if g.Tenant == "" {
		g.Tenant = fleet.DefaultTenant
	}
	return wrap("add gateway "+string(g.ID), s.tx(ctx, func(t *tx) error {
		var tenant fleet.Tenant
		known, err := t.one(`SELECT tenant FROM gateways WHERE id = ?`, []any{g.ID}, &tenant)
		if err != nil {
			return err
		}
		if known && tenant != g.Tenant {
			return fmt.Errorf("it belongs to tenant %s: %w", tenant, fleet.ErrConflict)
		}
		_, err = t.exec(`INSERT INTO gateways (id, tenant, location, secret) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET secret = excluded.secret, location = CASE WHEN excluded.location = '' THEN location ELSE excluded.location END`,
			g.ID, g.Tenant, g.Location, secretHash)
		if err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM knocking WHERE gateway = ?`, g.ID)
		return err
	}))
}

// PlaceGateway implements fleet.Writes.
func (s *Store) PlaceGateway(ctx context.Context, tenant fleet.Tenant, id event.GatewayID, location string) error {
	return wrap("place gateway "+string(id), s.tx(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE gateways SET location = ? WHERE tenant = ? AND id = ?`, location, tenant, id)
		if err == nil && n == 0 {
			err = fleet.ErrNotFound
		}
		return err
	}))
}

// GatewaySecret implements fleet.Writes.
func (s *Store) GatewaySecret(ctx context.Context, id event.GatewayID) (secretHash string, err error) {
	err = s.view(ctx, "secret of gateway "+string(id), func(r reader) error {
		found, err := query(ctx, r, func(scan scanner) (v string, err error) {
			err = scan(&v)
			return v, err
		}, `SELECT secret FROM gateways WHERE id = ?`, id)
		if err != nil {
			return err
		}
		secretHash, err = only(found, "gateway")
		return err
	})
	return secretHash, err
}

// PutLocation implements fleet.Writes.
func (s *Store) PutLocation(ctx context.Context, l fleet.Location) error {
	return s.one(ctx, "put location", `INSERT OR REPLACE INTO locations (tenant, id, name) VALUES (?, ?, ?)`, l.Tenant, l.ID, l.Name)
}

// PutToken implements fleet.Writes.
func (s *Store) PutToken(ctx context.Context, v fleet.Token) error {
	if v.Updated.IsZero() {
		v.Updated = s.now()
	}
	return s.one(ctx, "put token", `INSERT OR REPLACE INTO tokens (tenant, key, section, type, value, status, parent, expires, label, updated)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		v.Tenant, tokenKey(v.Value), wire.TokenSection(v.Value), v.Type, v.Value, v.Status, v.Parent, ms(v.Expires), v.Label, v.Updated.UnixMilli())
}

// DeleteToken implements fleet.Writes.
func (s *Store) DeleteToken(ctx context.Context, tenant fleet.Tenant, value string) error {
	return wrap("delete token", s.tx(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM tokens WHERE tenant = ? AND key = ?`, tenant, tokenKey(value))
		if err == nil && n == 0 {
			err = fleet.ErrNotFound
		}
		return err
	}))
}

// AddAccess implements fleet.Writes.
func (s *Store) AddAccess(ctx context.Context, a fleet.Access, secretSHA256 string) error {
	return wrap("add access", s.tx(ctx, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM access WHERE tenant = ? AND id = ?`, a.Tenant, a.ID); err != nil {
			return err
		}
		_, err := t.exec(`INSERT OR REPLACE INTO access (secret, id, tenant, name, location, role) VALUES (?, ?, ?, ?, ?, ?)`,
			secretSHA256, a.ID, a.Tenant, a.Name, a.Location, a.Role)
		return err
	}))
}

func readAccess(scan scanner) (v fleet.Access, err error) {
	err = scan(&v.ID, &v.Tenant, &v.Name, &v.Location, &v.Role)
	return v, err
}

// Accesses implements fleet.Writes.
func (s *Store) Accesses(ctx context.Context, tenant fleet.Tenant) (list []fleet.Access, err error) {
	err = s.view(ctx, "list access", func(r reader) error {
		list, err = query(ctx, r, readAccess, `SELECT id, tenant, name, location, role FROM access WHERE tenant = ? ORDER BY id`, tenant)
		return err
	})
	return list, err
}

// DeleteAccess implements fleet.Writes.
func (s *Store) DeleteAccess(ctx context.Context, tenant fleet.Tenant, id string) error {
	return wrap("delete access", s.tx(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM access WHERE tenant = ? AND id = ?`, tenant, id)
		if err == nil && n == 0 {
			err = fleet.ErrNotFound
		}
		return err
	}))
}

// Access implements fleet.Writes.
func (s *Store) Access(ctx context.Context, secretSHA256 string) (a fleet.Access, err error) {
	err = s.view(ctx, "access", func(r reader) error {
		found, err := query(ctx, r, readAccess, `SELECT id, tenant, name, location, role FROM access WHERE secret = ?`, secretSHA256)
		if err != nil {
			return err
		}
		a, err = only(found, "access")
		return err
	})
	return a, err
}

// AddCommand implements fleet.Writes.
func (s *Store) AddCommand(ctx context.Context, c fleet.Command, idempotencyKey, bodyHash string) (fleet.Command, error) {
	first := c.ID
	err := s.tx(ctx, func(t *tx) error {
		if idempotencyKey != "" {
			id, err := t.commandOf(c.Tenant, idempotencyKey, bodyHash)
			if err != nil {
				return err
			}
			if id != "" {
				first = id
				return nil
			}
		}
		if c.Created.IsZero() {
			c.Created = s.now()
		}
		if c.Target == "" && c.Station != "" {
			c.Target = fleet.StationID(c.Gateway, c.Station)
		}
		n, err := t.exec(`INSERT INTO commands (`+commandColumns+`, open, idempotent, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', NULL, ?, NULL, 1, ?, ?) ON CONFLICT (id) DO NOTHING`,
			c.ID, c.Tenant, c.Gateway, c.Station, c.Target, c.EVSE, c.Type, blob(c.Params), c.Expires.UnixMilli(), c.IssuedBy,
			c.Created.UnixMilli(), event.StateQueued, c.Created.UnixMilli(), text(idempotencyKey), bodyHash)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("there is a command %s already: %w", c.ID, fleet.ErrConflict)
		}
		return t.PutStep(fleet.StepRow{Command: c.ID, Tenant: c.Tenant, Gateway: c.Gateway, State: event.StateQueued, At: fleet.Moment{At: c.Created}})
	})
	if err != nil {
		return fleet.Command{}, wrap("add command", err)
	}
	return s.Command(ctx, fleet.Scope{Tenant: c.Tenant}, first)
}

// commandOf is the command that was queued under an idempotency key, if any.
func (t *tx) commandOf(tenant fleet.Tenant, idempotencyKey, bodyHash string) (id event.CommandID, err error) {
	var body string
	known, err := t.one(`SELECT id, body FROM commands WHERE tenant = ? AND idempotent = ?`, []any{tenant, idempotencyKey}, &id, &body)
	if err == nil && known && body != bodyHash {
		err = fmt.Errorf("idempotency key %q was used for another command: %w", idempotencyKey, fleet.ErrConflict)
	}
	return id, err
}

// CommandOf implements fleet.Writes.
func (s *Store) CommandOf(ctx context.Context, tenant fleet.Tenant, idempotencyKey, bodyHash string) (fleet.Command, error) {
	type kept struct {
		id   event.CommandID
		body string
	}
	var found kept
	err := s.view(ctx, "command of a key", func(r reader) error {
		rows, err := query(ctx, r, func(scan scanner) (k kept, err error) {
			err = scan(&k.id, &k.body)
			return k, err
		}, `SELECT id, body FROM commands WHERE tenant = ? AND idempotent = ?`, tenant, idempotencyKey)
		if err != nil {
			return err
		}
		if found, err = only(rows, "command"); err != nil {
			return err
		}
		if found.body != bodyHash {
			return fmt.Errorf("idempotency key %q was used for another command: %w", idempotencyKey, fleet.ErrConflict)
		}
		return nil
	})
	if err != nil {
		return fleet.Command{}, err
	}
	return s.Command(ctx, fleet.Scope{Tenant: tenant}, found.id)
}

// MoveCommand implements fleet.Writes.
func (s *Store) MoveCommand(ctx context.Context, id event.CommandID, to event.CommandState, reason string, at time.Time) (moved bool, err error) {
	err = s.tx(ctx, func(t *tx) error {
		var tenant fleet.Tenant
		c, err := t.Command(id)
		if err != nil {
			return err
		}
		if c == nil {
			return fleet.ErrNotFound
		}
		// What was sent is the gateway's to end.
		if to.Rank() <= c.Status.Rank() || to.Final() && c.Status != event.StateQueued {
			return nil
		}
		if _, err := t.one(`SELECT tenant FROM commands WHERE id = ?`, []any{id}, &tenant); err != nil {
			return err
		}
		if err := t.PutStep(fleet.StepRow{Command: id, Tenant: tenant, Gateway: c.Gateway, State: to, Reason: reason, At: fleet.Moment{At: at}}); err != nil {
			return err
		}
		moved = true
		c.Status, c.Reason, c.Result, c.Updated = to, reason, nil, at
		return t.PutCommand(*c)
	})
	return moved, wrap("move command "+string(id), err)
}

// SetDesired implements fleet.Writes. Content nil takes the section away.
func (s *Store) SetDesired(ctx context.Context, g event.GatewayID, section string, content []byte) error {
	return wrap("set desired "+section, s.tx(ctx, func(t *tx) error {
		from, err := t.origin(g)
		if err != nil {
			return err
		}
		if content == nil {
			_, err = t.exec(`DELETE FROM desired WHERE gateway = ? AND section = ?`, g, section)
			return err
		}
		_, err = t.exec(`INSERT OR REPLACE INTO desired (gateway, section, tenant, content) VALUES (?, ?, ?, ?)`, g, section, from.Tenant, content)
		return err
	}))
}

// Desired implements fleet.Writes.
func (s *Store) Desired(ctx context.Context, g event.GatewayID) (map[string][]byte, error) {
	out := map[string][]byte{}
	rows, err := s.read.QueryContext(ctx, `SELECT section, content FROM desired WHERE gateway = ?`, g)
	err = each(rows, err, func(scan func(...any) error) error {
		var section string
		var content []byte
		err := scan(&section, &content)
		out[section] = content
		return err
	})
	return out, wrap("desired of "+string(g), err)
}

// Status implements fleet.Ingest.
func (s *Store) Status(ctx context.Context, g event.GatewayID, online bool, boot, connection string, at time.Time) (present bool, err error) {
	err = s.tx(ctx, func(t *tx) error {
		from, err := t.origin(g)
		if err != nil {
			return err
		}
		var was bool
		var current string
		known, err := t.one(`SELECT online, connection FROM connections WHERE gateway = ?`, []any{g}, &was, &current)
		if err != nil {
			return err
		}
		present = online || !known || connection == current
		if !present || known && online == was && connection == current {
			return nil
		}
		_, err = t.exec(`INSERT INTO connections (gateway, tenant, online, boot, connection, at, version, clock) VALUES (?, ?, ?, ?, ?, ?, '', '')
			ON CONFLICT DO UPDATE SET online = excluded.online, boot = excluded.boot, connection = excluded.connection, at = excluded.at`,
			g, from.Tenant, online, boot, connection, at.UnixMilli())
		return err
	})
	return present && err == nil, wrap("status of "+string(g), err)
}

// Disconnected notes that no gateway is connected: to be called when the broker
// through which all of them come has just started. Those that are there say so.
func (s *Store) Disconnected(ctx context.Context, at time.Time) error {
	return s.one(ctx, "disconnected", `UPDATE connections SET online = 0, at = ? WHERE online = 1`, at.UnixMilli())
}

// DeadLetter implements fleet.Ingest. The newest thousand of each gateway are
// kept, the first 64 KiB of each.
func (s *Store) DeadLetter(ctx context.Context, d fleet.DeadLetter) error {
	return wrap("dead letter", s.tx(ctx, func(t *tx) error {
		from, err := t.origin(d.Gateway)
		if err != nil {
			return err
		}
		if d.Received.IsZero() {
			d.Received = s.now()
		}
		return t.putLetter(from, d)
	}))
}

// Transactions implements fleet.Ingest.
func (s *Store) Transactions(ctx context.Context, g event.GatewayID) (map[event.StationID]int64, error) {
	out := map[event.StationID]int64{}
	rows, err := s.read.QueryContext(ctx, `SELECT identity, trx FROM stations WHERE gateway = ? AND trx > 0`, g)
	err = each(rows, err, func(scan func(...any) error) error {
		var id event.StationID
		var n int64
		err := scan(&id, &n)
		out[id] = n
		return err
	})
	return out, wrap("transactions of "+string(g), err)
}
