package sqlite

import (
	"context"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

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
	var afterBoot, afterContext string
	var afterEVSE int
	if p.Cursor != "" {
		if err := decodeCursor(p.Cursor, &after, &afterBoot, &afterEVSE, &afterContext); err != nil {
			return l, err
		}
	}
	names, err := s.namesOf(ctx, id)
	if err != nil {
		return l, wrap("samples", err)
	}
	type row struct {
		fleet.SamplePoint
		at      int64
		boot    string
		evse    int
		context string
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
		outer.addIf(p.Cursor != "", "(at, boot, evse, context) > (?, ?, ?, ?)", after, afterBoot, afterEVSE, afterContext)
		// Unsynced times lie anywhere, but there are few of them.
		text := `SELECT at, boot, evse, context, sample FROM (
				SELECT boot, evse, context, sample, time AS at FROM samples` + w.String() + ` AND boot = '' AND time BETWEEN ? AND ?
				UNION ALL
				SELECT boot, evse, context, sample, time + ifnull((SELECT c.offset_ms FROM clocks c JOIN stations s ON s.gateway = c.gateway
					WHERE s.id = samples.station AND c.boot = samples.boot), 0) AS at FROM samples` + w.String() + ` AND boot > '')` +
			outer.String() + ` ORDER BY at, boot, evse, context LIMIT ?`
		args := slices.Concat(w.args, []any{from, to}, w.args, outer.args, []any{limit(p) + 1})
		items, err := query(ctx, r, func(scan scanner) (v row, err error) {
			var raw []byte
			if err := scan(&v.at, &v.boot, &v.evse, &v.context, &raw); err != nil {
				return v, err
			}
			v.Session = own.ID
			return v, unmarshalSample(raw, v.at, &v.Sample)
		}, text, args...)
		if err != nil {
			return err
		}
		page, err := list(items, p, func(v row) []any { return []any{v.at, v.boot, v.evse, v.context} })
		l.Items, l.Next = make([]fleet.SamplePoint, 0, len(page.Items)), page.Next
		for _, v := range page.Items {
			l.Items = append(l.Items, v.SamplePoint)
		}
		return err
	})
	return l, err
}
