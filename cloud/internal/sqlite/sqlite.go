// Package sqlite keeps what the charging manager knows in one SQLite file. It
// implements fleet.Store.
//
// Whatever a method that writes has returned without an error is on the disk:
// the file runs in WAL mode with synchronous=FULL. One connection writes, a few
// read beside it and never wait for it. Other processes may open the file at
// the same time.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

//go:embed migrations/*.sql
var migrations embed.FS

// pragmas go into the data source name, so that every connection has them.
const pragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
	"&_pragma=foreign_keys(0)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-32000)" +
	"&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)"

// Store is an open database. It is safe for concurrent use.
type Store struct {
	log   *slog.Logger
	path  string
	now   func() time.Time
	write *sql.DB // one connection, which writer holds
	read  *sql.DB

	writer writer
	queue  queue
}

var _ fleet.Store = (*Store)(nil)

// Open opens the database at path, makes it when there is none, and brings its
// schema up to date. A file that Backup wrote and that is opened here counts as
// restored: it gets a new incarnation.
func Open(ctx context.Context, path string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("directory of database: %w", err)
	}
	s := &Store{log: log, path: path, now: time.Now}
	var err error
	if s.write, err = open(path, "&_txlock=immediate", 1); err != nil {
		return nil, err
	}
	// An index made for one question would cost a walk through all of the log.
	if s.read, err = open(path, "&_pragma=query_only(1)&_pragma=automatic_index(0)", max(4, runtime.GOMAXPROCS(0))); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), s.Close())
	}
	return s, nil
}

func open(path, more string, connections int) (*sql.DB, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() + "?" + pragmas + more
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// prepare migrates the schema and names the database.
func (s *Store) prepare(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, files)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	s.writer = writer{turn: make(chan struct{}, 1), conn: conn, stmts: map[string]*sql.Stmt{}}
	s.writer.turn <- struct{}{}
	return s.tx(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO meta (name, value) VALUES ('incarnation', ?) ON CONFLICT DO NOTHING`, uuid.NewString()); err != nil {
			return err
		}
		n, err := t.exec(`DELETE FROM meta WHERE name = 'backup'`)
		if err != nil || n == 0 {
			return err
		}
		_, err = t.rename()
		return err
	})
}

// Close closes the database. Nothing else may be under way. Once is enough, and
// more does no harm.
func (s *Store) Close() error {
	errs := []error{s.read.Close()}
	for _, st := range s.writer.stmts {
		errs = append(errs, st.Close())
	}
	if s.writer.conn != nil {
		errs = append(errs, s.writer.conn.Close())
	}
	s.writer.conn, s.writer.stmts = nil, nil
	return errors.Join(append(errs, s.write.Close())...)
}

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
}

// Backup implements fleet.Store. The file must not exist yet; it appears whole
// or not at all.
func (s *Store) Backup(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("backup: %s exists already", path)
	}
	part := path + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("backup: %w", err)
	}
	if err := s.copyTo(ctx, part); err != nil {
		return errors.Join(fmt.Errorf("backup to %s: %w", path, err), removeIfThere(part))
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

func (s *Store) copyTo(ctx context.Context, path string) (err error) {
	source, err := open(s.path, "", 1) // VACUUM INTO reads only, and yet is refused where nothing may be written
	if err != nil {
		return err
	}
	_, err = source.ExecContext(ctx, `VACUUM INTO ?`, path)
	if err = errors.Join(err, source.Close()); err != nil {
		return err
	}
	db, err := open(path, "&_pragma=journal_mode(DELETE)", 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// Whoever opens this copy as a database has restored it.
	_, err = db.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('backup', ?)`, s.now().UTC().Format(time.RFC3339))
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writer is the one connection that writes. Its statements are prepared once.
type writer struct {
	turn chan struct{} // holds one token while nobody writes
	conn *sql.Conn
	// The rest belongs to whoever holds the token.
	stmts map[string]*sql.Stmt // by text
	// projected keeps rows of the projections between transactions, indexed the
	// newest block of each key in log_index. They are nil after an error, and good
	// for nothing once another connection has written: then data_version differs
	// from version.
	projected *fleet.Unit
	indexed   map[string]int64
	version   int64
}

// tx is one writing transaction.
type tx struct{ *writer }

// tx runs f in a transaction and commits it unless f fails. The context counts
// until the transaction begins: what has begun is not interrupted.
func (s *Store) tx(ctx context.Context, f func(t *tx) error) error {
	select {
	case <-s.writer.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.writer.turn <- struct{}{} }()
	t := &tx{&s.writer}
	if _, err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := f(t)
	if err == nil {
		if _, err = t.exec("COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	t.projected, t.indexed = nil, nil
	// After a full disk SQLite may have rolled back by itself.
	if _, rollback := t.exec("ROLLBACK"); rollback != nil {
		s.log.Debug("roll back", "err", rollback)
	}
	return err
}

// unit returns what projects events within t.
func (s *Store) unit(t *tx) (*fleet.Unit, error) {
	var version int64
	if _, err := t.one("PRAGMA data_version", nil, &version); err != nil {
		return nil, err
	}
	if t.projected == nil || t.version != version {
		t.projected, t.indexed, t.version = fleet.NewUnit(&tx{&s.writer}), nil, version
	}
	return t.projected, nil
}

func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if st, ok := t.stmts[query]; ok {
		return st, nil
	}
	st, err := t.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", query, err)
	}
	t.stmts[query] = st
	return st, nil
}

// exec runs a statement. Its context is never one that can be cancelled: the
// driver would start a goroutine for each.
func (t *tx) exec(query string, args ...any) (changed int64, err error) {
	st, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// one reads at most one row into dest and tells whether there was one.
func (t *tx) one(query string, args []any, dest ...any) (bool, error) {
	st, err := t.stmt(query)
	if err != nil {
		return false, err
	}
	err = st.QueryRowContext(context.Background(), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// all calls row for every row that query finds.
func (t *tx) all(query string, args []any, row func(scan func(...any) error) error) (err error) {
	st, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(context.Background(), args...)
	return each(rows, err, row)
}

// each calls row for every row and closes them.
func each(rows *sql.Rows, err error, row func(scan func(...any) error) error) (failed error) {
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, rows.Close()) }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
