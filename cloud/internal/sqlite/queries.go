package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

// reader is one view of the database, the same for all that is asked of it.
type reader struct {
	*sql.Tx
	now time.Time
}

// view runs f on one state of the database.
func (s *Store) view(ctx context.Context, what string, f func(r reader) error) (err error) {
	raw, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return wrap(what, err)
	}
	defer func() {
		if end := raw.Rollback(); end != nil && !errors.Is(end, sql.ErrTxDone) && err == nil {
			err = wrap(what, end)
		}
	}()
	return wrap(what, f(reader{Tx: raw, now: s.now()}))
}

// query reads rows with read.
func query[R any](ctx context.Context, r reader, read func(scanner) (R, error), text string, args ...any) ([]R, error) {
	var out []R
	rows, err := r.QueryContext(ctx, text, args...)
	err = each(rows, err, func(scan func(...any) error) error {
		v, err := read(scan)
		out = append(out, v)
		return err
	})
	return out, err
}

// only returns the one item of a list, or ErrNotFound.
func only[T any](items []T, what string) (T, error) {
	if len(items) == 0 {
		var none T
		return none, fmt.Errorf("%s: %w", what, fleet.ErrNotFound)
	}
	return items[0], nil
}

// Locations implements fleet.Queries.
func (s *Store) Locations(ctx context.Context, scope fleet.Scope, p fleet.Page) (l fleet.List[fleet.Location], err error) {
	var w where
	w.add("tenant = ?", scope.Tenant)
	w.addIf(scope.Location != "", "id = ?", scope.Location)
	if p.Cursor != "" {
		var after string
		if err := decodeCursor(p.Cursor, &after); err != nil {
			return l, err
		}
		w.add("id > ?", after)
	}
	err = s.view(ctx, "locations", func(r reader) error {
		items, err := query(ctx, r, func(scan scanner) (v fleet.Location, err error) {
			err = scan(&v.ID, &v.Tenant, &v.Name)
			return v, err
		}, `SELECT id, tenant, name FROM locations`+w.String()+` ORDER BY id LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(v fleet.Location) []any { return []any{v.ID} })
		return err
	})
	return l, err
}

// DeadLetters implements fleet.Queries, newest first.
func (s *Store) DeadLetters(ctx context.Context, scope fleet.Scope, p fleet.Page) (l fleet.List[fleet.DeadLetter], err error) {
	var w where
	w.scope("tenant", "gateway", scope)
	if p.Cursor != "" {
		var before int64
		if err := decodeCursor(p.Cursor, &before); err != nil {
			return l, err
		}
		w.add("id < ?", before)
	}
	err = s.view(ctx, "dead letters", func(r reader) error {
		items, err := query(ctx, r, func(scan scanner) (d fleet.DeadLetter, err error) {
			var received int64
			err = scan(&d.ID, &d.Gateway, &d.Topic, &d.Event, &d.Reason, &d.Payload, &received)
			d.Received = fromMS(received)
			return d, err
		}, `SELECT id, gateway, topic, event, reason, payload, received FROM dead_letters`+w.String()+` ORDER BY id DESC LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(d fleet.DeadLetter) []any { return []any{d.ID} })
		return err
	})
	return l, err
}

const tokenColumns = `tenant, type, value, status, parent, expires, label, updated`

func readToken(scan scanner) (v fleet.Token, err error) {
	var expires sql.NullInt64
	var updated int64
	err = scan(&v.Tenant, &v.Type, &v.Value, &v.Status, &v.Parent, &expires, &v.Label, &updated)
	if expires.Valid {
		t := fromMS(expires.Int64)
		v.Expires = &t
	}
	v.Updated = fromMS(updated)
	return v, err
}

// Tokens implements fleet.Queries, in the order of their values.
func (s *Store) Tokens(ctx context.Context, scope fleet.Scope, p fleet.Page) (l fleet.List[fleet.Token], err error) {
	var w where
	w.add("tenant = ?", scope.Tenant)
	if p.Cursor != "" {
		var after string
		if err := decodeCursor(p.Cursor, &after); err != nil {
			return l, err
		}
		w.add("key > ?", after)
	}
	err = s.view(ctx, "tokens", func(r reader) error {
		items, err := query(ctx, r, readToken, `SELECT `+tokenColumns+` FROM tokens`+w.String()+` ORDER BY key LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(v fleet.Token) []any { return []any{tokenKey(v.Value)} })
		return err
	})
	return l, err
}

// Token implements fleet.Queries.
func (s *Store) Token(ctx context.Context, tenant fleet.Tenant, value string) (v fleet.Token, err error) {
	err = s.view(ctx, "token", func(r reader) error {
		items, err := query(ctx, r, readToken, `SELECT `+tokenColumns+` FROM tokens WHERE tenant = ? AND key = ?`, tenant, tokenKey(value))
		if err != nil {
			return err
		}
		v, err = only(items, "token")
		return err
	})
	return v, err
}

// TokensIn implements fleet.Writes.
func (s *Store) TokensIn(ctx context.Context, tenant fleet.Tenant, section string) (items []fleet.Token, err error) {
	err = s.view(ctx, "tokens in "+section, func(r reader) error {
		items, err = query(ctx, r, readToken, `SELECT `+tokenColumns+` FROM tokens WHERE tenant = ? AND section = ? ORDER BY key`, tenant, section)
		return err
	})
	return items, err
}
