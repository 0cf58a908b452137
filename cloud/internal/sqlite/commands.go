package sqlite

import (
	"context"
	"database/sql"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

const commandColumns = `id, tenant, gateway, station, target, evse, type, params, expires, issued_by, created, status, reason, result, updated, cancel`

func readCommand(scan scanner) (c fleet.Command, err error) {
	var params, result []byte
	var expires, created, updated int64
	var cancel sql.NullInt64
	err = scan(&c.ID, &c.Tenant, &c.Gateway, &c.Station, &c.Target, &c.EVSE, &c.Type, &params, &expires, &c.IssuedBy, &created,
		&c.Status, &c.Reason, &result, &updated, &cancel)
	c.Params, c.Result = params, result
	c.Expires, c.Created, c.Updated = fromMS(expires), fromMS(created), fromMS(updated)
	c.CancelAsked = when(cancel)
	return c, err
}

// Commands implements fleet.Queries.
func (s *Store) Commands(ctx context.Context, scope fleet.Scope, f fleet.CommandFilter, p fleet.Page) (l fleet.List[fleet.Command], err error) {
	var w where
	w.scope("tenant", "gateway", scope)
	w.addIf(f.Gateway != "", "gateway = ?", f.Gateway)
	w.addIf(f.Station != "", "(target = ? OR station = ?)", f.Station, f.Station)
	w.addIf(f.Status != "", "status = ?", f.Status)
	w.addIf(f.Type != "", "type = ?", f.Type)
	w.addIf(!f.From.IsZero(), "updated >= ?", f.From.UnixMilli())
	w.addIf(!f.To.IsZero(), "created < ?", f.To.UnixMilli())
	if p.Cursor != "" {
		var before string
		if err := decodeCursor(p.Cursor, &before); err != nil {
			return l, err
		}
		w.add("id < ?", before)
	}
	err = s.view(ctx, "commands", func(r reader) error {
		items, err := commands(ctx, r, w, "id DESC", limit(p)+1)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(c fleet.Command) []any { return []any{c.ID} })
		return err
	})
	return l, err
}

// Command implements fleet.Queries.
func (s *Store) Command(ctx context.Context, scope fleet.Scope, id event.CommandID) (c fleet.Command, err error) {
	err = s.view(ctx, "command "+string(id), func(r reader) error {
		var w where
		w.scope("tenant", "gateway", scope)
		w.add("id = ?", id)
		items, err := commands(ctx, r, w, "id", 1)
		if err != nil {
			return err
		}
		c, err = only(items, "command")
		return err
	})
	return c, err
}

// OwedCommands implements fleet.Writes.
func (s *Store) OwedCommands(ctx context.Context, g event.GatewayID) (items []fleet.Command, err error) {
	err = s.view(ctx, "owed commands of "+string(g), func(r reader) error {
		var w where
		w.add("gateway = ?", g)
		w.add("open = 1")
		items, err = commands(ctx, r, w, "id", -1)
		return err
	})
	return items, err
}

func commands(ctx context.Context, r reader, w where, order string, atMost int) ([]fleet.Command, error) {
	items, err := query(ctx, r, readCommand, `SELECT `+commandColumns+` FROM commands`+w.String()+` ORDER BY `+order+` LIMIT ?`, append(w.args, atMost)...)
	if err != nil {
		return nil, err
	}
	for i := range items {
		steps, err := query(ctx, r, readStep, `SELECT `+stepColumns+` FROM command_steps WHERE command = ? ORDER BY id`, items[i].ID)
		if err != nil {
			return nil, err
		}
		items[i].Steps = make([]fleet.CommandStep, 0, len(steps))
		for _, st := range steps {
			if n := len(items[i].Steps); n > 0 && items[i].Steps[n-1].State == st.State && items[i].Steps[n-1].Reason == st.Reason {
				continue // the gateway repeats itself when it is asked again
			}
			items[i].Steps = append(items[i].Steps, fleet.CommandStep{State: st.State, At: st.At.At, Reason: st.Reason})
		}
	}
	return items, nil
}
