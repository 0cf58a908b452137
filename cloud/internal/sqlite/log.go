package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
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

// Rows that one statement takes: SQLite reads many in one statement for half of
// what it wants for as many statements.
const manyRows = 20

const logColumns = 11

var insertLog, insertLogMany = insert("log (position, tenant, stream, sequence, type, station, evse, session, time, boot, event)", logColumns)

// insert returns the statement that inserts one row and the one for manyRows.
func insert(into string, columns int) (one, many string) {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	one = "INSERT INTO " + into + " VALUES " + row
	return one, one + strings.Repeat(","+row, manyRows-1)
}

// insertRows inserts rows whose values stand one after the other in args.
func (t *tx) insertRows(one, many string, columns int, args []any) error {
	for len(args) >= manyRows*columns {
		if _, err := t.exec(many, args[:manyRows*columns]...); err != nil {
			return err
		}
		args = args[manyRows*columns:]
	}
	for len(args) > 0 {
		if _, err := t.exec(one, args[:columns]...); err != nil {
			return err
		}
		args = args[columns:]
	}
	return nil
}

// logWriter appends to the log within one transaction.
type logWriter struct {
	tx       *tx
	position int64 // the newest
	args     []any
	touched  map[string]*[2]int64 // key: first and last position
	text     []byte               // of the rows not yet written
}

// add appends an event and returns its entry.
func (l *logWriter) add(from fleet.Origin, st *stream, in *fleet.Incoming) fleet.Entry {
	l.position++
	e := in.Event
	entry := fleet.Entry{Position: l.position, Tenant: from.Tenant, Event: *e, Gateway: from.Gateway, Session: in.Session}
	var station, evse, session, boot any
	if in.Address.Station != "" {
		entry.Station = fleet.StationID(from.Gateway, in.Address.Station)
		station = entry.Station
		l.touch(entry.Station)
		if in.Address.EVSE > 0 {
			evse = in.Address.EVSE
		}
	}
	if in.Session != "" {
		session = string(in.Session)
		l.touch(string(in.Session))
	}
	if e.Clock == event.ClockUnsynced {
		boot = e.Boot
	}
	l.touch(typeKey(e.Type))
	l.touch(gatewayKey(from.Gateway))
	at := len(l.text)
	l.text = appendEvent(l.text, e)
	l.args = append(l.args, l.position, string(from.Tenant), st.id, int64(in.ID.Sequence), string(e.Type),
		station, evse, session, e.Time.UnixMilli(), boot, l.text[at:len(l.text):len(l.text)])
	return entry
}

func typeKey(t event.Type) string         { return "type " + string(t) }
func gatewayKey(g event.GatewayID) string { return "gateway " + string(g) }

func (l *logWriter) touch(key string) {
	if l.touched == nil {
		l.touched = map[string]*[2]int64{}
	}
	if t, ok := l.touched[key]; ok {
		t[1] = l.position
		return
	}
	l.touched[key] = &[2]int64{l.position, l.position}
}

var insertIndex, insertIndexMany = insert("log_index (key, first, last)", 3)

// flush writes what add has gathered.
func (l *logWriter) flush() error {
	if err := l.tx.insertRows(insertLog, insertLogMany, logColumns, l.args); err != nil {
		return err
	}
	keys := make([]string, 0, len(l.touched))
	for k := range l.touched {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	args := make([]any, 0, 3*len(keys))
	for _, k := range keys {
		args = append(args, k, l.touched[k][0], l.touched[k][1])
	}
	l.args, l.touched, l.text = nil, nil, nil
	return l.tx.insertRows(insertIndex, insertIndexMany, 3, args)
}

// appendEvent writes what the columns of the log do not say.
func appendEvent(b []byte, e *event.Event) []byte {
	b = append(b, `{"subject":`...)
	b = appendString(b, e.Subject)
	b = append(b, `,"recorded":"`...)
	b = e.Recorded.UTC().AppendFormat(b, event.TimeLayout)
	b = append(b, `","boot":`...)
	b = appendString(b, e.Boot)
	b = append(b, `,"clock":`...)
	b = appendString(b, string(e.Clock))
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
	kind := e.Type
	if err := json.Unmarshal(r.event, &e.Event); err != nil {
		return fmt.Errorf("event at position %d: %w", e.Position, err)
	}
	e.SpecVersion, e.Type, e.Source = "1.0", kind, event.Source(e.Gateway)
	e.Sequence = event.FormatSequence(r.sequence)
	e.ID = event.ID{Stream: r.stream, Sequence: r.sequence}.String()
	e.Time = time.UnixMilli(r.time).UTC()
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
			if f.After > 0 {
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
	from, order, where := "", "l.position", where{}
	if k.key != "" {
		from, order = " JOIN log_index i ON l.position BETWEEN i.first AND i.last", "i.first, l.position"
		where.add("i.key = ?", k.key)
		where.add(k.column+" = ?", k.value)
	}
	where.scope("l.tenant", "s.gateway", scope)
	where.addIf(f.Gateway != "", "s.gateway = ?", f.Gateway)
	if f.Session != "" && f.Station != "" {
		where.add("l.station IN (SELECT id FROM stations WHERE id = ? OR identity = ?)", f.Station, f.Station)
	}
	where.addIf(f.EVSE != 0, "l.evse = ?", f.EVSE)
	where.addIf(f.Type != "", "l.type = ?", f.Type)
	where.addIf(!f.From.IsZero(), mendedTime+" >= ?", f.From.UnixMilli())
	where.addIf(!f.To.IsZero(), mendedTime+" < ?", f.To.UnixMilli())
	if f.After > 0 {
		cursor = max(cursor, f.After)
		where.add("l.position > ?", cursor)
		where.addIf(k.key != "", "i.last > ?", cursor)
	} else {
		order = strings.ReplaceAll(order, ",", " DESC,") + " DESC"
		where.addIf(cursor > 0, "l.position < ?", cursor)
		where.addIf(cursor > 0 && k.key != "", "i.first < ?", cursor)
	}
	query := logSelect + from + where.String() + " ORDER BY " + order + " LIMIT ?"
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
