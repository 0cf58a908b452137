package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// head is the newest position of the log; 0 while it is empty.
func (t *tx) head() (int64, error) {
	var position int64
	_, err := t.one(`SELECT position FROM log ORDER BY position DESC LIMIT 1`, nil, &position)
	return position, err
}

// Rows that one statement takes at most: SQLite takes many rows in one statement
// for half of what it wants for as many statements.
const (
	manyRows = 50
	someRows = 8
)

const logColumns = 11

var insertLog = insert("log (position, tenant, stream, sequence, type, station, evse, session, time, boot, event)", logColumns, "")

// insertion is one statement that inserts rows, for several numbers of rows.
type insertion struct {
	columns         int
	one, some, many string
}

// insert makes an insertion into a table and its columns; then says what is to
// be done about rows that are there already.
func insert(into string, columns int, then string) insertion {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	text := func(n int) string {
		return "INSERT INTO " + into + " VALUES " + row + strings.Repeat(","+row, n-1) + " " + then
	}
	return insertion{columns, text(1), text(someRows), text(manyRows)}
}

// insert inserts rows whose values stand one after the other in args.
func (t *tx) insert(i insertion, args []any) error {
	for _, s := range []struct {
		text string
		rows int
	}{{i.many, manyRows}, {i.some, someRows}, {i.one, 1}} {
		for n := s.rows * i.columns; len(args) >= n; args = args[n:] {
			if _, err := t.exec(s.text, args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// blockSize is the number of positions of which log_index holds a key at most
// once.
const blockSize = 1024

// logWriter appends to the log within one transaction.
type logWriter struct {
	tx       *tx
	position int64 // the newest
	args     []any // of log
	index    []any // of log_index
	text     []byte
	times    []blockTimes // of log_times, one per block

	// Of the batch under way; values are boxed once.
	from           fleet.Origin
	gateway        string // its key
	tenant, stream any
	types          map[event.Type]*typeOf
	stations       map[string]any
}

type typeOf struct {
	value any
	key   string
}

func newLogWriter(t *tx, position int64) *logWriter {
	if len(t.indexed) > keptKeys {
		t.indexed = nil
	}
	if t.indexed == nil {
		t.indexed = map[string]int64{}
	}
	return &logWriter{tx: t, position: position, types: map[event.Type]*typeOf{}, stations: map[string]any{}}
}

// keptKeys bounds the keys of which the newest block is remembered.
const keptKeys = 50_000

// begin starts on a batch of at most n events.
func (l *logWriter) begin(from fleet.Origin, st *stream, n int) {
	l.from, l.gateway, l.tenant, l.stream = from, gatewayKey(from.Gateway), string(from.Tenant), st.id
	l.args = slices.Grow(l.args, n*logColumns)
}

// add appends an event and returns its entry.
func (l *logWriter) add(in *fleet.Incoming) fleet.Entry {
	l.position++
	e := in.Event
	kind := l.types[e.Type]
	if kind == nil {
		kind = &typeOf{string(e.Type), typeKey(e.Type)}
		l.types[e.Type] = kind
	}
	l.find(kind.key)
	l.find(l.gateway)
	var station, evse, session, boot any
	if in.Station != "" {
		if station = l.stations[in.Station]; station == nil {
			station = in.Station
			l.stations[in.Station] = station
		}
		l.find(in.Station)
		if in.Address.EVSE > 0 {
			evse = in.Address.EVSE
		}
	}
	if in.Session != "" {
		session = string(in.Session)
		l.find(string(in.Session))
	}
	if e.Clock == event.ClockUnsynced {
		boot = e.Boot
	}
	l.note(e.Time.UnixMilli(), boot != nil)
	if size := len(e.Data) + len(e.Subject) + 200; cap(l.text)-len(l.text) < size {
		l.text = make([]byte, 0, max(64<<10, size)) // rows keep the one before
	}
	at := len(l.text)
	l.text = appendEvent(l.text, e)
	l.args = append(l.args, l.position, l.tenant, l.stream, int64(in.ID.Sequence), kind.value,
		station, evse, session, e.Time.UnixMilli(), boot, l.text[at:len(l.text):len(l.text)])
	return fleet.Entry{
		Position: l.position, Tenant: l.from.Tenant, Event: *e, Gateway: l.from.Gateway,
		Station: in.Station, Session: in.Session,
	}
}

func typeKey(t event.Type) string         { return "type " + string(t) }
func gatewayKey(g event.GatewayID) string { return "gateway " + string(g) }

// blockTimes are the times that a block of the log holds.
type blockTimes struct {
	block, oldest, newest int64
	loose                 bool
}

// note has a time found in the newest block.
func (l *logWriter) note(at int64, loose bool) {
	block := l.position / blockSize
	n := len(l.times)
	if n == 0 || l.times[n-1].block != block {
		l.times = append(l.times, blockTimes{block, at, at, loose})
		return
	}
	t := &l.times[n-1]
	t.oldest, t.newest, t.loose = min(t.oldest, at), max(t.newest, at), t.loose || loose
}

// find has the newest position found under key.
func (l *logWriter) find(key string) {
	block := l.position / blockSize
	if newest, ok := l.tx.indexed[key]; ok && newest == block {
		return
	}
	l.tx.indexed[key] = block
	l.index = append(l.index, key, block)
}

var insertIndex = insert("log_index (key, block)", 2, "ON CONFLICT DO NOTHING")

// flush writes what add has gathered.
func (l *logWriter) flush() error {
	if err := l.tx.insert(insertLog, l.args); err != nil {
		return err
	}
	for _, t := range l.times {
		_, err := l.tx.exec(`INSERT INTO log_times (block, oldest, newest, loose) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET oldest = min(oldest, excluded.oldest), newest = max(newest, excluded.newest), loose = max(loose, excluded.loose)`,
			t.block, t.oldest, t.newest, t.loose)
		if err != nil {
			return err
		}
	}
	return l.tx.insert(insertIndex, l.index)
}

// kept is what the log keeps of an event beside its columns.
type kept struct {
	Subject    string          `json:"subject"`
	RecordedMS int64           `json:"recorded_ms"`
	Boot       string          `json:"boot"`
	Clock      event.Clock     `json:"clock"` // absent means synced
	Truncated  bool            `json:"truncated"`
	Stub       bool            `json:"stub"`
	Data       json.RawMessage `json:"data"`
}

// appendEvent writes e as kept.
func appendEvent(b []byte, e *event.Event) []byte {
	b = append(b, `{"subject":`...)
	b = appendString(b, e.Subject)
	b = append(b, `,"recorded_ms":`...)
	b = strconv.AppendInt(b, e.Recorded.UnixMilli(), 10)
	b = append(b, `,"boot":`...)
	b = appendString(b, e.Boot)
	if e.Clock != event.ClockSynced {
		b = append(b, `,"clock":`...)
		b = appendString(b, string(e.Clock))
	}
	if e.Truncated {
		b = append(b, `,"truncated":true`...)
	}
	if e.Stub {
		b = append(b, `,"stub":true`...)
	}
	if len(e.Data) > 0 {
		b = append(b, `,"data":`...)
		b = append(b, e.Data...)
	}
	return append(b, '}')
}

// appendString appends s as JSON.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always has a form
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// logRow is a row of the log beside its stream.
type logRow struct {
	entry    fleet.Entry
	lane     event.Lane
	stream   string
	sequence uint64
	time     int64 // as told
	offset   int64 // to be added
	event    []byte
}

const logSelect = `SELECT l.position, l.tenant, s.gateway, s.lane, s.stream, l.sequence, l.type, ifnull(l.station, ''), ifnull(l.session, ''),
	l.time, ` + offsetOf + `, l.event
	FROM log l JOIN streams s ON s.id = l.stream`

// scan reads a row of logSelect.
func (r *logRow) scan(scan func(...any) error) error {
	*r = logRow{}
	e := &r.entry
	if err := scan(&e.Position, &e.Tenant, &e.Gateway, &r.lane, &r.stream, &r.sequence, &e.Type, &e.Station, &e.Session, &r.time, &r.offset, &r.event); err != nil {
		return err
	}
	k := kept{Clock: event.ClockSynced}
	if err := json.Unmarshal(r.event, &k); err != nil {
		return fmt.Errorf("event at position %d: %w", e.Position, err)
	}
	e.SpecVersion, e.Source, e.Subject, e.Recorded = "1.0", event.Source(e.Gateway), k.Subject, fromMS(k.RecordedMS)
	e.Boot, e.Clock, e.Truncated, e.Stub, e.Data = k.Boot, k.Clock, k.Truncated, k.Stub, k.Data
	e.Sequence = event.FormatSequence(r.sequence)
	e.ID = event.ID{Stream: r.stream, Sequence: r.sequence}.String()
	e.Time = fromMS(r.time)
	return nil
}

// mend adds the offset of its boot to the times of an unsynced event.
func (r *logRow) mend() {
	by := time.Duration(r.offset) * time.Millisecond
	r.entry.Time, r.entry.Recorded = r.entry.Time.Add(by), r.entry.Recorded.Add(by)
	r.entry.OffsetMS = r.offset
}

// Events implements fleet.Queries.
func (s *Store) Events(ctx context.Context, scope fleet.Scope, f fleet.EventFilter, p fleet.Page) (fleet.List[fleet.Entry], error) {
	var none fleet.List[fleet.Entry]
	var cursor int64
	if p.Cursor != "" {
		if err := decodeCursor(p.Cursor, &cursor); err != nil {
			return none, err
		}
	}
	keys, err := s.logKeys(ctx, scope, f)
	if err != nil {
		return none, wrap("events", err)
	}
	var items []fleet.Entry
	for _, k := range keys {
		found, err := s.entries(ctx, scope, f, k, cursor, limit(p)+1)
		if err != nil {
			return none, wrap("events", err)
		}
		items = append(items, found...)
	}
	if len(keys) > 1 {
		slices.SortFunc(items, func(a, b fleet.Entry) int {
			if f.Rising {
				a, b = b, a
			}
			return cmp.Compare(b.Position, a.Position)
		})
	}
	return list(items, p, func(e fleet.Entry) []any { return []any{e.Position} })
}

// logKey is a key of log_index, and the column that has it in the log.
type logKey struct {
	key    string // empty: the whole log
	column string
	value  string
}

// logKeys picks the narrowest way through the log: several keys where a station
// is named by an identity that several gateways know, or where a session was
// known by other names; none where nothing can match.
func (s *Store) logKeys(ctx context.Context, scope fleet.Scope, f fleet.EventFilter) ([]logKey, error) {
	var keys []logKey
	switch {
	case f.Session != "":
		names, err := s.namesOf(ctx, f.Session)
		if err != nil {
			return nil, err
		}
		for _, id := range names {
			keys = append(keys, logKey{id, "l.session", id})
		}
	case f.Station != "":
		ids, err := s.stationIDs(ctx, scope, f.Station)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			keys = append(keys, logKey{id, "l.station", id})
		}
	case f.Type != "":
		keys = append(keys, logKey{typeKey(f.Type), "l.type", string(f.Type)})
	case f.Gateway != "":
		keys = append(keys, logKey{gatewayKey(f.Gateway), "s.gateway", string(f.Gateway)})
	default:
		keys = append(keys, logKey{})
	}
	return keys, nil
}

const mendedTime = "l.time + " + offsetOf

const offsetOf = `CASE WHEN l.boot IS NULL THEN 0 ELSE
	ifnull((SELECT c.offset_ms FROM clocks c WHERE c.gateway = s.gateway AND c.boot = l.boot), 0) END`

func (s *Store) entries(ctx context.Context, scope fleet.Scope, f fleet.EventFilter, k logKey, cursor int64, atMost int) ([]fleet.Entry, error) {
	var where where
	joins, block := "", "" // block: the column that names one
	const within = "l.position BETWEEN %s * %d AND %[1]s * %[2]d + %d"
	if k.key != "" {
		block = "i.block"
		joins = " JOIN log_index i ON " + fmt.Sprintf(within, block, blockSize, blockSize-1)
		where.add("i.key = ?", k.key)
		where.add(k.column+" = ?", k.value)
	}
	if !f.From.IsZero() || !f.To.IsZero() {
		// Only the blocks that hold such times. What was told without a clock has
		// happened whenever its boot was mended to.
		if block != "" {
			joins += " JOIN log_times t ON t.block = i.block"
		} else {
			block = "t.block"
			joins = " JOIN log_times t ON " + fmt.Sprintf(within, block, blockSize, blockSize-1)
		}
		where.addIf(!f.From.IsZero(), "(t.loose = 1 OR t.newest >= ?)", f.From.UnixMilli())
		where.addIf(!f.To.IsZero(), "(t.loose = 1 OR t.oldest < ?)", f.To.UnixMilli())
	}
	order := "l.position"
	if block != "" {
		order = block + ", l.position"
	}
	// The plus keeps SQLite from beginning with these, which leads through all of
	// the log: blocks come first.
	where.scope("+l.tenant", "+s.gateway", scope)
	where.addIf(f.Gateway != "", "+s.gateway = ?", f.Gateway)
	if f.Session != "" && f.Station != "" {
		where.add("l.station IN (SELECT id FROM stations WHERE id = ? OR identity = ?)", f.Station, f.Station)
	}
	where.addIf(f.EVSE != 0, "l.evse = ?", f.EVSE)
	where.addIf(f.Type != "", "l.type = ?", f.Type)
	where.addIf(!f.From.IsZero(), mendedTime+" >= ?", f.From.UnixMilli())
	where.addIf(!f.To.IsZero(), mendedTime+" < ?", f.To.UnixMilli())
	if f.Rising {
		cursor = max(cursor, f.After)
		where.add("l.position > ?", cursor)
		where.addIf(block != "", block+" >= ?", cursor/blockSize)
	} else {
		order = strings.ReplaceAll(order, ",", " DESC,") + " DESC"
		where.addIf(cursor > 0, "l.position < ?", cursor)
		where.addIf(cursor > 0 && block != "", block+" <= ?", cursor/blockSize)
	}
	query := logSelect + joins + where.String() + " ORDER BY " + order + " LIMIT ?"
	var items []fleet.Entry
	rows, err := s.read.QueryContext(ctx, query, append(where.args, atMost)...)
	err = each(rows, err, func(scan func(...any) error) error {
		var r logRow
		if err := r.scan(scan); err != nil {
			return err
		}
		r.mend()
		items = append(items, r.entry)
		return nil
	})
	return items, err
}
