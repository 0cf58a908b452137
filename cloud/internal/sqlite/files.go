package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

const fileColumns = `id, tenant, gateway, kind, station, identity, command, span_from, span_to, size, sha256, bound, created, expires, completed, until`

// readFile reads a file as it stands at now.
func readFile(now time.Time) func(scanner) (fleet.File, error) {
	return func(scan scanner) (f fleet.File, err error) {
		var from, to, completed sql.NullInt64
		var created, expires, until int64
		err = scan(&f.ID, &f.Tenant, &f.Gateway, &f.Kind, &f.Station, &f.Identity, &f.Command, &from, &to, &f.Size, &f.SHA256, &f.Limit,
			&created, &expires, &completed, &until)
		f.Created, f.Expires, f.Until = fromMS(created), fromMS(expires), fromMS(until)
		f.From, f.To, f.Completed = when(from), when(to), when(completed)
		switch {
		case f.Completed != nil:
			f.State = fleet.FileComplete
		case now.Before(f.Expires):
			f.State = fleet.FileWaiting
		default:
			f.State = fleet.FileLapsed
		}
		return f, err
	}
}

func when(v sql.NullInt64) *time.Time {
	if !v.Valid {
		return nil
	}
	t := fromMS(v.Int64)
	return &t
}

// AddFile implements fleet.Writes.
func (s *Store) AddFile(ctx context.Context, f fleet.File, secretSHA256 string) error {
	return s.one(ctx, "add file", `INSERT INTO files (`+fileColumns+`, secret) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', ?, ?, ?, NULL, ?, ?)`,
		f.ID, f.Tenant, f.Gateway, f.Kind, f.Station, f.Identity, f.Command, ms(f.From), ms(f.To), f.Limit,
		f.Created.UnixMilli(), f.Expires.UnixMilli(), f.Until.UnixMilli(), secretSHA256)
}

// FileOf implements fleet.Writes.
func (s *Store) FileOf(ctx context.Context, secretSHA256 string) (fleet.File, error) {
	var w where
	w.add("secret = ?", secretSHA256)
	return s.file(ctx, "file of an address", w)
}

// File implements fleet.Queries.
func (s *Store) File(ctx context.Context, scope fleet.Scope, id string) (fleet.File, error) {
	var w where
	w.scope("tenant", "gateway", scope)
	w.add("id = ?", id)
	return s.file(ctx, "file "+id, w)
}

func (s *Store) file(ctx context.Context, what string, w where) (f fleet.File, err error) {
	err = s.view(ctx, what, func(r reader) error {
		items, err := query(ctx, r, readFile(r.now), `SELECT `+fileColumns+` FROM files`+w.String(), w.args...)
		if err != nil {
			return err
		}
		f, err = only(items, "file")
		return err
	})
	return f, err
}

// Files implements fleet.Queries.
func (s *Store) Files(ctx context.Context, scope fleet.Scope, f fleet.FileFilter, p fleet.Page) (l fleet.List[fleet.File], err error) {
	var w where
	w.scope("tenant", "gateway", scope)
	w.addIf(f.Kind != "", "kind = ?", f.Kind)
	w.addIf(f.Gateway != "", "gateway = ?", f.Gateway)
	w.addIf(f.Station != "", "(station = ? OR identity = ?)", f.Station, f.Station)
	w.addIf(f.Command != "", "command = ?", f.Command)
	w.addIf(!f.From.IsZero(), "ifnull(span_to, completed) > ?", f.From.UnixMilli())
	w.addIf(!f.To.IsZero(), "ifnull(span_from, 0) < ?", f.To.UnixMilli())
	if p.Cursor != "" {
		var before string
		if err := decodeCursor(p.Cursor, &before); err != nil {
			return l, err
		}
		w.add("id < ?", before)
	}
	err = s.view(ctx, "files", func(r reader) error {
		state := w
		switch now := r.now.UnixMilli(); f.State {
		case fleet.FileComplete:
			state.add("completed IS NOT NULL")
		case fleet.FileWaiting:
			state.add("completed IS NULL AND expires > ?", now)
		case fleet.FileLapsed:
			state.add("completed IS NULL AND expires <= ?", now)
		}
		items, err := query(ctx, r, readFile(r.now), `SELECT `+fileColumns+` FROM files`+state.String()+` ORDER BY id DESC LIMIT ?`, append(state.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(f fleet.File) []any { return []any{f.ID} })
		return err
	})
	return l, err
}

// CompleteFile implements fleet.Writes.
func (s *Store) CompleteFile(ctx context.Context, id string, size int64, sha256 string, at time.Time) error {
	return wrap("complete file "+id, s.tx(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE files SET size = ?, sha256 = ?, completed = ? WHERE id = ? AND completed IS NULL`, size, sha256, at.UnixMilli(), id)
		if err == nil && n == 0 {
			err = fmt.Errorf("it is there already, or was never asked for: %w", fleet.ErrConflict)
		}
		return err
	}))
}

// lapsedFor is how long a file that nobody brought stays in the list.
const lapsedFor = 24 * time.Hour

// StaleFiles implements fleet.Writes.
func (s *Store) StaleFiles(ctx context.Context, now time.Time) (items []fleet.File, err error) {
	err = s.view(ctx, "stale files", func(r reader) error {
		items, err = query(ctx, r, readFile(now), `SELECT `+fileColumns+` FROM files WHERE until <= ? OR completed IS NULL AND expires <= ? ORDER BY id LIMIT 1000`,
			now.UnixMilli(), now.Add(-lapsedFor).UnixMilli())
		return err
	})
	return items, err
}

// DeleteFile implements fleet.Writes.
func (s *Store) DeleteFile(ctx context.Context, id string) error {
	return s.one(ctx, "delete file "+id, `DELETE FROM files WHERE id = ?`, id)
}
