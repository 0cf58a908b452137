package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
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

// stationIDs returns the manager's ids of the stations that name means: an id,
// or an identity at one or more gateways.
func (s *Store) stationIDs(ctx context.Context, scope fleet.Scope, name string) ([]string, error) {
	var w where
	w.scope("tenant", "gateway", scope)
	w.add("(id = ? OR identity = ?)", name, name)
	var ids []string
	rows, err := s.read.QueryContext(ctx, `SELECT id FROM stations`+w.String()+` ORDER BY id`, w.args...)
	err = each(rows, err, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// Stations implements fleet.Queries.
func (s *Store) Stations(ctx context.Context, scope fleet.Scope, f fleet.StationFilter, p fleet.Page) (l fleet.List[fleet.Station], err error) {
	var w where
	w.scope("s.tenant", "s.gateway", scope)
	w.addIf(f.Gateway != "", "s.gateway = ?", f.Gateway)
	w.addIf(f.Location != "", "g.location = ?", f.Location)
	w.addIf(f.Identity != "", "s.identity = ?", f.Identity)
	if p.Cursor != "" {
		var gateway, identity string
		if err := decodeCursor(p.Cursor, &gateway, &identity); err != nil {
			return l, err
		}
		w.add("(s.gateway, s.identity) > (?, ?)", gateway, identity)
	}
	err = s.view(ctx, "stations", func(r reader) error {
		items, err := stations(ctx, r, w, limit(p)+1)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(v fleet.Station) []any { return []any{v.Gateway, v.Identity} })
		return err
	})
	return l, err
}

// Station implements fleet.Queries. An identity that only one station in scope
// has will do as well.
func (s *Store) Station(ctx context.Context, scope fleet.Scope, id string) (st fleet.Station, err error) {
	err = s.view(ctx, "station "+id, func(r reader) error {
		var w where
		w.scope("s.tenant", "s.gateway", scope)
		w.add("(s.id = ? OR s.identity = ?)", id, id)
		items, err := stations(ctx, r, w, 2)
		if err != nil {
			return err
		}
		if len(items) > 1 {
			return fmt.Errorf("several stations are called that, ask by the manager's id: %w", fleet.ErrNotFound)
		}
		st, err = only(items, "station")
		return err
	})
	return st, err
}

func stations(ctx context.Context, r reader, w where, atMost int) ([]fleet.Station, error) {
	type row struct {
		fleet.StationRow
		location string
		online   bool
	}
	rows, err := query(ctx, r, func(scan scanner) (v row, err error) {
		v.StationRow, err = readStation(func(dest ...any) error { return scan(append(dest, &v.location, &v.online)...) })
		return v, err
	}, `SELECT s.id, s.tenant, s.gateway, s.identity, s.protocol, s.vendor, s.model, s.serial, s.firmware,
			s.connected, s.connected_at, s.connected_boot, s.trx, s.orphans, s.since, g.location, ifnull(c.online, 0)
		FROM stations s JOIN gateways g ON g.id = s.gateway LEFT JOIN connections c ON c.gateway = s.gateway`+w.String()+`
		ORDER BY s.gateway, s.identity LIMIT ?`, append(w.args, atMost)...)
	if err != nil {
		return nil, err
	}
	items := make([]fleet.Station, 0, len(rows))
	for _, row := range rows {
		st := row.StationRow
		v := fleet.Station{
			ID: st.ID, Tenant: st.Tenant, Gateway: st.Gateway, Identity: st.Identity, Location: row.location,
			Protocol: st.Protocol, Vendor: st.Vendor, Model: st.Model, Serial: st.Serial, Firmware: st.Firmware,
			Connectivity: fleet.Fact[string]{Value: fleet.Offline, AsOf: st.ConnectedAt.At, Source: "gateway", Stale: !row.online},
			Status:       fleet.Fact[string]{Value: string(event.StatusUnknown), Source: "station", Stale: !row.online || !st.Connected},
		}
		if st.Connected {
			v.Connectivity.Value = fleet.Online
		}
		if v.EVSEs, err = evses(ctx, r, &v); err != nil {
			return nil, err
		}
		items = append(items, v)
	}
	return items, nil
}

// evses reads the EVSEs of st with their connectors, and its own status.
func evses(ctx context.Context, r reader, st *fleet.Station) ([]fleet.EVSE, error) {
	stale := st.Status.Stale
	places, err := query(ctx, r, readPlace, `SELECT `+placeColumns+` FROM places WHERE station = ? AND gone = 0 ORDER BY evse, connector`, st.ID)
	if err != nil {
		return nil, err
	}
	rows, err := query(ctx, r, readEVSE, `SELECT `+evseColumns+` FROM evses WHERE station = ? AND gone = 0 AND evse > 0 ORDER BY evse`, st.ID)
	if err != nil {
		return nil, err
	}
	type newest struct {
		fleet.LatestRow
		at time.Time
	}
	latest, err := query(ctx, r, func(scan scanner) (v newest, err error) {
		var offset int64
		v.LatestRow, err = readLatest(func(dest ...any) error { return scan(append(dest, &offset)...) })
		v.at = v.Told.At.Add(time.Duration(offset) * time.Millisecond)
		return v, err
	}, `SELECT `+latestColumns+`, ifnull((SELECT c.offset_ms FROM clocks c WHERE c.gateway = latest.gateway AND c.boot = latest.boot), 0)
		FROM latest WHERE station = ?`, st.ID)
	if err != nil {
		return nil, err
	}
	out := make([]fleet.EVSE, 0, len(rows))
	for _, row := range rows {
		e := fleet.EVSE{EVSE: row.EVSE, Session: string(row.Session), Connectors: []fleet.Connector{}}
		if row.Until == nil || row.Until.After(r.now) {
			e.LimitA, e.LimitW = row.LimitA, row.LimitW
		}
		for _, v := range latest {
			// A session's last value says nothing about the EVSE once it has ended.
			if v.EVSE == row.EVSE && (v.Session == "" || v.Session == row.Session) && v.PowerW != nil {
				e.PowerW, e.PowerAsOf = v.PowerW, &v.at
			}
		}
		for _, p := range places {
			if p.EVSE == row.EVSE && p.Connector > 0 {
				e.Connectors = append(e.Connectors, fleet.Connector{
					Connector: p.Connector, Status: fact(p, stale), ErrorCode: p.ErrorCode, Info: p.Info,
				})
			}
		}
		out = append(out, e)
	}
	for _, p := range places {
		if p.EVSE == 0 && p.Connector == 0 {
			st.Status = fact(p, stale)
		}
	}
	return out, nil
}

func fact(p fleet.PlaceRow, stale bool) fleet.Fact[string] {
	return fleet.Fact[string]{Value: string(p.Status), AsOf: p.AsOf.At, Source: "station", Stale: stale}
}

// StatusIntervals implements fleet.Queries: those that overlap [from, to),
// newest first per place.
func (s *Store) StatusIntervals(ctx context.Context, scope fleet.Scope, station string, from, to time.Time, p fleet.Page) (l fleet.List[fleet.StatusInterval], err error) {
	ids, err := s.stationIDs(ctx, scope, station)
	if err != nil {
		return l, wrap("status intervals", err)
	}
	if len(ids) != 1 {
		return l, fmt.Errorf("status intervals: station %s: %w", station, fleet.ErrNotFound)
	}
	const next = `(SELECT n.start FROM intervals n WHERE n.place = i.place AND n.number = i.number + 1)`
	var w where
	w.add("station = ?", ids[0])
	w.addIf(!to.IsZero(), "start < ?", to.UnixMilli())
	w.addIf(!from.IsZero(), "(stop IS NULL OR stop > ?)", from.UnixMilli())
	if p.Cursor != "" {
		var at, number int64
		var evse, connector int
		if err := decodeCursor(p.Cursor, &at, &evse, &connector, &number); err != nil {
			return l, err
		}
		w.add("(start, -evse, -connector, number) < (?, ?, ?, ?)", at, -evse, -connector, number)
	}
	type row struct {
		fleet.StatusInterval
		number int64
	}
	err = s.view(ctx, "status intervals", func(r reader) error {
		items, err := query(ctx, r, func(scan scanner) (v row, err error) {
			var start int64
			var stop sql.NullInt64
			err = scan(&v.Station, &v.EVSE, &v.Connector, &v.number, &v.Status, &v.ErrorCode, &start, &stop)
			v.From = fromMS(start)
			if stop.Valid {
				t := fromMS(stop.Int64)
				v.To = &t
			}
			return v, err
		}, `SELECT station, evse, connector, number, status, error_code, start, stop FROM (
			SELECT p.station, p.evse, p.connector, i.number, i.status, i.error_code, i.start, `+next+` AS stop
			FROM places p JOIN intervals i ON i.place = p.id)`+w.String()+`
			ORDER BY start DESC, evse, connector, number DESC LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		rows, err := list(items, p, func(v row) []any { return []any{v.From.UnixMilli(), v.EVSE, v.Connector, v.number} })
		l.Items, l.Next = make([]fleet.StatusInterval, 0, len(rows.Items)), rows.Next
		for _, v := range rows.Items {
			l.Items = append(l.Items, v.StatusInterval)
		}
		return err
	})
	return l, err
}

// Sessions implements fleet.Queries.
func (s *Store) Sessions(ctx context.Context, scope fleet.Scope, f fleet.SessionFilter, p fleet.Page) (l fleet.List[fleet.Session], err error) {
	var w where
	w.scope("tenant", "gateway", scope)
	w.addIf(f.Gateway != "", "gateway = ?", f.Gateway)
	if f.Station != "" {
		ids, err := s.stationIDs(ctx, scope, f.Station)
		if err != nil {
			return l, wrap("sessions", err)
		}
		w.in("station", ids)
	}
	w.addIf(f.EVSE != 0, "evse = ?", f.EVSE)
	switch f.Status {
	case "":
	case fleet.SessionActive:
		w.add("status = 'active'") // written out, or the index of the active ones is not used
	default:
		w.add("status = ?", f.Status)
	}
	w.addIf(f.Token != "", "token = ?", tokenKey(f.Token))
	w.addIf(f.Transaction != "", "trx = ?", f.Transaction)
	w.addIf(!f.From.IsZero(), "at >= ?", f.From.UnixMilli())
	w.addIf(!f.To.IsZero(), "at < ?", f.To.UnixMilli())
	if p.Cursor != "" {
		var at, row int64
		if err := decodeCursor(p.Cursor, &at, &row); err != nil {
			return l, err
		}
		w.add("(at, rowid) < (?, ?)", at, row)
	}
	type row struct {
		fleet.SessionRow
		id int64
	}
	err = s.view(ctx, "sessions", func(r reader) error {
		rows, err := query(ctx, r, func(scan scanner) (v row, err error) {
			v.SessionRow, err = readSession(func(dest ...any) error { return scan(append(dest, &v.id)...) })
			return v, err
		}, `SELECT `+sessionColumns+`, rowid FROM sessions`+w.String()+` ORDER BY at DESC, rowid DESC LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		page, err := list(rows, p, func(v row) []any { return []any{v.At.At.UnixMilli(), v.id} })
		l.Items, l.Next = make([]fleet.Session, 0, len(page.Items)), page.Next
		for i := range page.Items {
			l.Items = append(l.Items, page.Items[i].View())
		}
		return err
	})
	return l, err
}

// Session implements fleet.Queries. A session that turned out to be part of
// another is found under both names.
func (s *Store) Session(ctx context.Context, scope fleet.Scope, id event.SessionID) (v fleet.Session, err error) {
	err = s.view(ctx, "session "+string(id), func(r reader) error {
		row, err := session(ctx, r, scope, id)
		v = row.View()
		return err
	})
	return v, err
}

func session(ctx context.Context, r reader, scope fleet.Scope, id event.SessionID) (fleet.SessionRow, error) {
	var w where
	w.scope("tenant", "gateway", scope)
	w.add("id = ifnull((SELECT session FROM session_aliases WHERE alias = ?), ?)", id, id)
	rows, err := query(ctx, r, readSession, `SELECT `+sessionColumns+` FROM sessions`+w.String(), w.args...)
	if err != nil {
		return fleet.SessionRow{}, err
	}
	return only(rows, "session")
}

// namesOf returns every name under which events speak of a session.
func (s *Store) namesOf(ctx context.Context, id event.SessionID) (names []string, err error) {
	rows, err := s.read.QueryContext(ctx, `WITH own(id) AS (SELECT ifnull((SELECT session FROM session_aliases WHERE alias = ?1), ?1))
		SELECT id FROM own UNION SELECT alias FROM session_aliases WHERE session = (SELECT id FROM own)`, id)
	err = each(rows, err, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	})
	return names, err
}

// sampleMargin is how far outside a session its samples may lie: devices and
// gateways do not share a clock.
const sampleMargin = 24 * time.Hour

// Samples implements fleet.Queries: those of one session, in the order of time.
func (s *Store) Samples(ctx context.Context, scope fleet.Scope, id event.SessionID, p fleet.Page) (l fleet.List[fleet.SamplePoint], err error) {
	var after int64
	var afterBoot string
	if p.Cursor != "" {
		if err := decodeCursor(p.Cursor, &after, &afterBoot); err != nil {
			return l, err
		}
	}
	names, err := s.namesOf(ctx, id)
	if err != nil {
		return l, wrap("samples", err)
	}
	type row struct {
		fleet.SamplePoint
		at   int64
		boot string
	}
	err = s.view(ctx, "samples of session "+string(id), func(r reader) error {
		own, err := session(ctx, r, scope, id)
		if err != nil {
			return err
		}
		var w where
		w.add("station = ?", own.Station)
		w.addIf(own.EVSE > 0, "evse IN (0, ?)", own.EVSE)
		w.in("session", names)
		from, to := int64(0), r.now.Add(10*365*24*time.Hour).UnixMilli()
		if own.Started != nil && own.Started.Boot == "" {
			from = own.Started.At.Add(-sampleMargin).UnixMilli()
		}
		if own.Ended != nil && own.Ended.Boot == "" {
			to = own.Ended.At.Add(sampleMargin).UnixMilli()
		}
		outer := where{}
		outer.addIf(p.Cursor != "", "(at, boot) > (?, ?)", after, afterBoot)
		// Unsynced times lie anywhere, but there are few of them.
		text := `SELECT at, boot, sample FROM (
				SELECT boot, sample, time AS at FROM samples` + w.String() + ` AND boot = '' AND time BETWEEN ? AND ?
				UNION ALL
				SELECT boot, sample, time + ifnull((SELECT c.offset_ms FROM clocks c JOIN stations s ON s.gateway = c.gateway
					WHERE s.id = samples.station AND c.boot = samples.boot), 0) AS at FROM samples` + w.String() + ` AND boot > '')` +
			outer.String() + ` ORDER BY at, boot LIMIT ?`
		args := slices.Concat(w.args, []any{from, to}, w.args, outer.args, []any{limit(p) + 1})
		items, err := query(ctx, r, func(scan scanner) (v row, err error) {
			var raw []byte
			if err := scan(&v.at, &v.boot, &raw); err != nil {
				return v, err
			}
			v.Session = own.ID
			return v, unmarshalSample(raw, v.at, &v.Sample)
		}, text, args...)
		if err != nil {
			return err
		}
		page, err := list(items, p, func(v row) []any { return []any{v.at, v.boot} })
		l.Items, l.Next = make([]fleet.SamplePoint, 0, len(page.Items)), page.Next
		for _, v := range page.Items {
			l.Items = append(l.Items, v.SamplePoint)
		}
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

const commandColumns = `id, tenant, gateway, station, target, evse, type, params, expires, issued_by, created, status, reason, result, updated`

func readCommand(scan scanner) (c fleet.Command, err error) {
	var params, result []byte
	var expires, created, updated int64
	err = scan(&c.ID, &c.Tenant, &c.Gateway, &c.Station, &c.Target, &c.EVSE, &c.Type, &params, &expires, &c.IssuedBy, &created,
		&c.Status, &c.Reason, &result, &updated)
	c.Params, c.Result = params, result
	c.Expires, c.Created, c.Updated = fromMS(expires), fromMS(created), fromMS(updated)
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
			items[i].Steps = append(items[i].Steps, fleet.CommandStep{State: st.State, At: st.At.At, Reason: st.Reason})
		}
	}
	return items, nil
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
