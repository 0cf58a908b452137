package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

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
	w.addIf(f.Registration != "", "s.registration = ?", f.Registration)
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
			s.connected, s.connected_at, s.connected_boot, s.trx, s.orphans, s.registration, s.since, g.location, ifnull(c.online, 0)
		FROM stations s JOIN gateways g ON g.id = s.gateway LEFT JOIN connections c ON c.gateway = s.gateway`+w.String()+`
		ORDER BY s.gateway, s.identity LIMIT ?`, append(w.args, atMost)...)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	all, err := readParts(ctx, r, ids)
	if err != nil {
		return nil, err
	}
	items := make([]fleet.Station, 0, len(rows))
	for _, row := range rows {
		st := row.StationRow
		v := fleet.Station{
			ID: st.ID, Tenant: st.Tenant, Gateway: st.Gateway, Identity: st.Identity, Location: row.location,
			Protocol: st.Protocol, Vendor: st.Vendor, Model: st.Model, Serial: st.Serial, Firmware: st.Firmware, Registration: st.Registration,
			Connectivity: fleet.Fact[string]{Value: fleet.Offline, AsOf: st.ConnectedAt.At, Source: "gateway", Stale: !row.online},
			Status:       fleet.Fact[string]{Value: string(event.StatusUnknown), Source: "station", Stale: !row.online || !st.Connected},
		}
		if st.Connected {
			v.Connectivity.Value = fleet.Online
		}
		all[st.ID].show(&v, r.now)
		items = append(items, v)
	}
	return items, nil
}

// parts are the rows of what belongs to one station.
type parts struct {
	places []fleet.PlaceRow
	evses  []fleet.EVSERow
	latest []newest
}

// newest is the newest sample of an EVSE and its mended time.
type newest struct {
	fleet.LatestRow
	at time.Time
}

// readParts reads what belongs to stations, in their order.
func readParts(ctx context.Context, r reader, stations []string) (map[string]*parts, error) {
	all := make(map[string]*parts, len(stations))
	for _, id := range stations {
		all[id] = &parts{}
	}
	var w where
	w.in("station", stations)
	places, err := query(ctx, r, readPlace, `SELECT `+placeColumns+` FROM places`+w.String()+` AND gone = 0 ORDER BY station, evse, connector`, w.args...)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		all[p.Station].places = append(all[p.Station].places, p)
	}
	evses, err := query(ctx, r, readEVSE, `SELECT `+evseColumns+` FROM evses`+w.String()+` AND gone = 0 AND evse > 0 ORDER BY station, evse`, w.args...)
	if err != nil {
		return nil, err
	}
	for _, e := range evses {
		all[e.Station].evses = append(all[e.Station].evses, e)
	}
	latest, err := query(ctx, r, func(scan scanner) (v newest, err error) {
		var offset int64
		v.LatestRow, err = readLatest(func(dest ...any) error { return scan(append(dest, &offset)...) })
		v.at = v.Told.At.Add(time.Duration(offset) * time.Millisecond)
		return v, err
	}, `SELECT `+latestColumns+`, ifnull((SELECT c.offset_ms FROM clocks c WHERE c.gateway = latest.gateway AND c.boot = latest.boot), 0)
		FROM latest`+w.String(), w.args...)
	if err != nil {
		return nil, err
	}
	for _, v := range latest {
		all[v.Station].latest = append(all[v.Station].latest, v)
	}
	return all, nil
}

// show adds the parts to their station.
func (p *parts) show(st *fleet.Station, now time.Time) {
	stale := st.Status.Stale
	st.EVSEs = make([]fleet.EVSE, 0, len(p.evses))
	for _, row := range p.evses {
		e := fleet.EVSE{EVSE: row.EVSE, Session: string(row.Session), Connectors: []fleet.Connector{}}
		if row.Until == nil || row.Until.After(now) {
			e.LimitA, e.LimitW = row.LimitA, row.LimitW
		}
		for _, v := range p.latest {
			// A session's last value says nothing about the EVSE once it has ended.
			if v.EVSE == row.EVSE && (v.Session == "" || v.Session == row.Session) && v.PowerW != nil {
				e.PowerW, e.PowerAsOf = v.PowerW, &v.at
			}
		}
		for _, c := range p.places {
			if c.EVSE == row.EVSE && c.Connector > 0 {
				e.Connectors = append(e.Connectors, fleet.Connector{
					Connector: c.Connector, Status: fact(c, stale), ErrorCode: c.ErrorCode, Info: c.Info,
				})
			}
		}
		st.EVSEs = append(st.EVSEs, e)
	}
	for _, c := range p.places {
		if c.EVSE == 0 && c.Connector == 0 {
			st.Status = fact(c, stale)
		}
	}
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
