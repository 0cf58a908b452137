package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"os"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// pageSize of both files, in bytes.
const pageSize = 4096

// checkpointPages is the size of the WAL, in pages, from which on a commit carries
// it over into the file: all other commits wait for that, and the longer it is put
// off the more often a page has been overwritten in between.
const checkpointPages = 4000

// schema is the same in both files; events.db leaves loose empty, samples.db
// records.
//
// The key of a row is ordinal<<40 | sequence, so that rows lie in the order in
// which they go out and a new one is always appended. streams_copy is a second
// page with the same content: without the name of a stream its rows are worth
// nothing.
const schema = `
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS rows (key INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS streams (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL, settled INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS streams_copy (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS holes (ordinal INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (ordinal, first)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (ordinal INTEGER NOT NULL, hour INTEGER NOT NULL, settled INTEGER NOT NULL, PRIMARY KEY (ordinal, hour)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, station TEXT NOT NULL, name TEXT NOT NULL, crc INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS loose (id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, samples INTEGER NOT NULL, step INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS salvaged (file TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
COMMIT;
`

const sequenceBits = 40

// rowKey is where row sequence of a stream lies.
func rowKey(ordinal int64, sequence uint64) int64 {
	return ordinal<<sequenceBits | int64(sequence)
}

func splitKey(key int64) (ordinal int64, sequence uint64) {
	return key >> sequenceBits, uint64(key & (1<<sequenceBits - 1))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum of a row: CRC-32C over the name of its stream, its number and body.
func checksum(stream string, number uint64, body []byte) int64 {
	return checksumFrom(sumText(0, stream), number, body)
}

// checksumFrom is checksum for the name of a stream that has been summed up.
func checksumFrom(stream uint32, number uint64, body []byte) int64 {
	crc := ^stream
	for shift := 56; shift >= 0; shift -= 8 {
		crc = castagnoli[byte(crc)^byte(number>>shift)] ^ crc>>8
	}
	return int64(crc32.Update(^crc, castagnoli, body))
}

// sumText carries the CRC-32C on over text: package crc32 would have it copied to
// the heap.
func sumText(crc uint32, text string) uint32 {
	crc = ^crc
	for i := range len(text) {
		crc = castagnoli[byte(crc)^text[i]] ^ crc>>8
	}
	return ^crc
}

// database is one open file: a connection that writes, owned by the writer's
// goroutine, and a few that read.
type database struct {
	path    string
	pool    *sql.DB // of the one connection below
	write   *sql.Conn
	readers *sql.DB
	stmts   []*sql.Stmt

	begin, commit, rollback  *sql.Stmt
	insertRows               [len(insertSizes)]*sql.Stmt
	insertStream, copyStream *sql.Stmt
	setSettled, setMark      *sql.Stmt
	putRecord, deleteRecord  *sql.Stmt
	putLoose, deleteLoose    *sql.Stmt
}

// insertSizes are the numbers of rows that one statement inserts.
var insertSizes = [...]int{32, 8, 1}

func dsn(path string, pragmas ...string) string {
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range append([]string{
		"busy_timeout(5000)",
		fmt.Sprintf("journal_size_limit(%d)", checkpointPages*pageSize),
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages),
		"synchronous(full)",
		"temp_store(memory)",
	}, pragmas...) {
		q.Add("_pragma", p)
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// openDatabase opens the file at path, or makes it. Any error means that the
// file is of no use as it is.
func openDatabase(path string) (*database, error) {
	d := &database{path: path}
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.close())
	}
	return d, nil
}

func (d *database) open() error {
	ctx := context.Background()
	var err error
	pragmas := []string{"journal_mode(wal)"}
	if fileSize(d.path) == 0 {
		// Before the first table, or the file never shrinks. On a file that is
		// there it would be a write, and the disk may be full.
		pragmas = append(pragmas, "auto_vacuum(incremental)", fmt.Sprintf("page_size(%d)", pageSize))
	}
	if d.pool, err = sql.Open("sqlite", dsn(d.path, pragmas...)); err != nil {
		return err
	}
	d.pool.SetMaxOpenConns(1)
	if d.write, err = d.pool.Conn(ctx); err != nil {
		return err
	}
	if _, err := d.write.ExecContext(ctx, schema); err != nil {
		return err
	}
	if d.readers, err = sql.Open("sqlite", dsn(d.path, "query_only(1)", "cache_size(-512)")); err != nil {
		return err
	}
	d.readers.SetMaxOpenConns(2)
	d.readers.SetMaxIdleConns(2)
	if err := d.readers.PingContext(ctx); err != nil {
		return err
	}
	return d.prepare(ctx)
}

func (d *database) prepare(ctx context.Context) error {
	var failed error
	prepare := func(text string) *sql.Stmt {
		s, err := d.write.PrepareContext(ctx, text)
		if err != nil {
			failed = errors.Join(failed, err)
			return nil
		}
		d.stmts = append(d.stmts, s)
		return s
	}
	d.begin, d.commit, d.rollback = prepare("BEGIN IMMEDIATE"), prepare("COMMIT"), prepare("ROLLBACK")
	for i, n := range insertSizes {
		d.insertRows[i] = prepare("INSERT INTO rows (key, crc, body) VALUES (?,?,?)" + strings.Repeat(",(?,?,?)", n-1))
	}
	d.insertStream = prepare("INSERT INTO streams (ordinal, id, settled) VALUES (?,?,0)")
	d.copyStream = prepare("INSERT INTO streams_copy (ordinal, id) VALUES (?,?)")
	d.setSettled = prepare("UPDATE streams SET settled = ? WHERE ordinal = ?")
	d.setMark = prepare("INSERT INTO marks (ordinal, hour, settled) VALUES (?,?,?) ON CONFLICT DO UPDATE SET settled = excluded.settled")
	d.putRecord = prepare("INSERT INTO records (id, kind, station, name, crc, value) VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET crc = excluded.crc, value = excluded.value")
	d.deleteRecord = prepare("DELETE FROM records WHERE id = ?")
	d.putLoose = prepare("INSERT INTO loose (id, first, last, samples, step, crc, body) VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET first = excluded.first, last = excluded.last, samples = excluded.samples, step = excluded.step, crc = excluded.crc, body = excluded.body")
	d.deleteLoose = prepare("DELETE FROM loose WHERE id = ?")
	return failed
}

// close gives the file free. After an error there is nothing to be done with it.
func (d *database) close() error {
	var err error
	for _, s := range d.stmts {
		err = errors.Join(err, s.Close())
	}
	if d.readers != nil {
		err = errors.Join(err, d.readers.Close())
	}
	if d.write != nil {
		err = errors.Join(err, d.write.Close())
	}
	if d.pool != nil {
		err = errors.Join(err, d.pool.Close())
	}
	return err
}

// transact runs f between BEGIN and COMMIT on the writing connection. Nothing of
// f is kept when it returns an error.
func (d *database) transact(f func(ctx context.Context) error) error {
	ctx := context.Background() // a transaction is short, and half of one is of no use
	if _, err := d.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := f(ctx)
	if err == nil {
		if _, err = d.commit.ExecContext(ctx); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if _, rerr := d.rollback.ExecContext(ctx); rerr != nil && !strings.Contains(rerr.Error(), "no transaction is active") {
		err = errors.Join(err, fmt.Errorf("roll back: %w", rerr))
	}
	return err
}

// number asks for one integer on the writing connection.
func (d *database) number(query string, args ...any) (int64, error) {
	var n sql.NullInt64
	if err := d.write.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("%s: %w", query, err)
	}
	return n.Int64, nil
}

// exec runs one statement on the writing connection.
func (d *database) exec(query string, args ...any) error {
	if _, err := d.write.ExecContext(context.Background(), query, args...); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	return nil
}

// fault is a class of errors that are answered alike.
type fault int

const (
	faultNone    fault = iota // not the file's fault
	faultFull                 // no space: make some and try again
	faultDamaged              // the file cannot be trusted any more
)

// faultOf classifies an error of SQLite.
func faultOf(err error) fault {
	if err == nil {
		return faultNone
	}
	if errors.Is(err, errDamaged) {
		return faultDamaged
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return faultFull
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return faultNone
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return faultFull
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FORMAT,
		sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CONSTRAINT,
		sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_INTERNAL, sqlite3.SQLITE_READONLY:
		// The statements are constants and known to be right: where one fails for
		// its words, the file's schema or content is not what was written.
		return faultDamaged
	}
	return faultNone
}

// isIO tells whether the system could not read or write.
func isIO(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_IOERR || code == sqlite3.SQLITE_CANTOPEN
}

// errDamaged marks content that contradicts its checksum or itself.
var errDamaged = errors.New("file is damaged")

// fileSize is 0 for a file that is not there.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
