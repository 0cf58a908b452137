package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

// kindOf is the part of a variable by which nobody searches.
type kindOf struct {
	ReadOnly   bool     `json:"read_only,omitempty"`
	Mutability string   `json:"mutability,omitempty"`
	DataType   string   `json:"data_type,omitempty"`
	Unit       string   `json:"unit,omitempty"`
	Values     []string `json:"values,omitempty"`
}

// A value alone, as a question for it brings, leaves what the inventory said.
var insertVariables = insert("variables (station, component, evse, variable, instance, attribute, tenant, gateway, value, detail, told, told_boot, seen, since)", 14,
	`ON CONFLICT DO UPDATE SET value = excluded.value, detail = CASE WHEN excluded.detail = '{}' THEN detail ELSE excluded.detail END,
		told = excluded.told, told_boot = excluded.told_boot, seen = excluded.seen`)

// PutVariables implements fleet.Tx.
func (t *tx) PutVariables(rows []fleet.VariableRow) error {
	args := make([]any, 0, len(rows)*insertVariables.columns)
	for i := range rows {
		r := &rows[i]
		detail, err := json.Marshal(kindOf{r.ReadOnly, r.Mutability, r.DataType, r.Unit, r.Values})
		if err != nil {
			return fmt.Errorf("variable %s: %w", r.Variable.Variable, err)
		}
		attribute := r.Attribute
		if attribute == "Actual" {
			attribute = ""
		}
		args = append(args, r.Station, r.Component, r.EVSE, r.Variable.Variable, r.Instance, attribute, string(r.Tenant), string(r.Gateway),
			r.Value, string(detail), at(&r.Told), boot(&r.Told), r.Seen, r.Since)
	}
	return t.insert(insertVariables, args)
}

// DropVariables implements fleet.Tx.
func (t *tx) DropVariables(station string, seen int64) error {
	_, err := t.exec(`DELETE FROM variables WHERE station = ? AND seen < ?`, station, seen)
	return err
}

// DropVariable implements fleet.Tx.
func (t *tx) DropVariable(station, name string) error {
	_, err := t.exec(`DELETE FROM variables WHERE station = ?1 AND (variable = ?2 OR component || '.' || variable = ?2)`, station, name)
	return err
}

// Inventory implements fleet.Tx.
func (t *tx) Inventory(station string) (*fleet.InventoryRow, error) {
	return get(t, func(scan scanner) (r fleet.InventoryRow, err error) {
		err = scan(&r.Station, &r.Tenant, &r.Report, &r.Begun, &r.Next, &r.Since)
		return r, err
	}, `SELECT station, tenant, report, begun, next, since FROM inventories WHERE station = ?`, station)
}

// PutInventory implements fleet.Tx.
func (t *tx) PutInventory(r fleet.InventoryRow) error {
	_, err := t.exec(`INSERT OR REPLACE INTO inventories (station, tenant, report, begun, next, since) VALUES (?, ?, ?, ?, ?, ?)`,
		r.Station, r.Tenant, r.Report, r.Begun, r.Next, r.Since)
	return err
}

var insertDeviations = insert("deviations (station, kind, boot, tenant, gateway, count, first, first_boot, last, last_boot, since)", 11,
	`ON CONFLICT DO UPDATE SET last = CASE WHEN excluded.count > count THEN excluded.last ELSE last END,
		last_boot = CASE WHEN excluded.count > count THEN excluded.last_boot ELSE last_boot END, count = max(count, excluded.count)`)

// PutDeviations implements fleet.Tx.
func (t *tx) PutDeviations(rows []fleet.DeviationRow) error {
	args := make([]any, 0, len(rows)*insertDeviations.columns)
	for i := range rows {
		r := &rows[i]
		args = append(args, r.Station, r.Kind, r.Boot, string(r.Tenant), string(r.Gateway), r.Count, at(&r.First), boot(&r.First), at(&r.Last), boot(&r.Last), r.Since)
	}
	return t.insert(insertDeviations, args)
}

// offsetAt is the offset to be added to a time as told: table names a table with
// a gateway, column the boot beside the time.
func offsetAt(table, column string) string {
	return `ifnull((SELECT c.offset_ms FROM clocks c WHERE c.gateway = ` + table + `.gateway AND c.boot = ` + table + `.` + column + `), 0)`
}

// Variables implements fleet.Queries.
func (s *Store) Variables(ctx context.Context, scope fleet.Scope, station string, f fleet.VariableFilter, p fleet.Page) (l fleet.List[fleet.Variable], err error) {
	ids, err := s.stationIDs(ctx, scope, station)
	if err != nil {
		return l, wrap("variables", err)
	}
	if len(ids) != 1 {
		return l, fmt.Errorf("variables: station %s: %w", station, fleet.ErrNotFound)
	}
	var w where
	w.add("station = ?", ids[0])
	w.addIf(f.Component != "", "component = ? COLLATE NOCASE", f.Component)
	w.addIf(f.Variable != "", "variable = ? COLLATE NOCASE", f.Variable)
	w.addIf(f.EVSE != 0, "evse = ?", f.EVSE)
	if p.Cursor != "" {
		var component, variable, instance, attribute string
		var evse int
		if err := decodeCursor(p.Cursor, &component, &evse, &variable, &instance, &attribute); err != nil {
			return l, err
		}
		w.add("(component, evse, variable, instance, attribute) > (?, ?, ?, ?, ?)", component, evse, variable, instance, attribute)
	}
	err = s.view(ctx, "variables", func(r reader) error {
		items, err := query(ctx, r, func(scan scanner) (v fleet.Variable, err error) {
			var detail []byte
			var told int64
			if err := scan(&v.Component, &v.EVSE, &v.Variable.Variable, &v.Instance, &v.Attribute, &v.Value, &detail, &told); err != nil {
				return v, err
			}
			v.AsOf = fromMS(told)
			var k kindOf
			err = json.Unmarshal(detail, &k)
			v.ReadOnly, v.Mutability, v.DataType, v.Unit, v.Values = k.ReadOnly, k.Mutability, k.DataType, k.Unit, k.Values
			return v, err
		}, `SELECT component, evse, variable, instance, attribute, value, detail, told + `+offsetAt("variables", "told_boot")+` FROM variables`+w.String()+`
			ORDER BY component, evse, variable, instance, attribute LIMIT ?`, append(w.args, limit(p)+1)...)
		if err != nil {
			return err
		}
		l, err = list(items, p, func(v fleet.Variable) []any {
			return []any{v.Component, v.EVSE, v.Variable.Variable, v.Instance, v.Attribute}
		})
		return err
	})
	return l, err
}

// scored is a count of one kind at one station.
type scored struct {
	station fleet.Scorecard
	kind    fleet.DeviationCount
}

// scores reads the counts of every station that f leaves. Recent is what was
// counted since the gateway's newest start.
func scores(ctx context.Context, r reader, scope fleet.Scope, f fleet.ScoreFilter, all bool) ([]scored, error) {
	var w where
	w.scope("s.tenant", "s.gateway", scope)
	w.addIf(f.Gateway != "", "s.gateway = ?", f.Gateway)
	w.addIf(f.Station != "", "(s.id = ? OR s.identity = ?)", f.Station, f.Station)
	w.addIf(f.Vendor != "", "s.vendor = ?", f.Vendor)
	w.addIf(f.Model != "", "s.model = ?", f.Model)
	join, on := "JOIN", ""
	if all {
		join = "LEFT JOIN"
	}
	args := []any{}
	if f.Kind != "" {
		on, args = " AND d.kind = ?", append(args, f.Kind)
	}
	return query(ctx, r, func(scan scanner) (v scored, err error) {
		var first, last int64
		c := &v.station
		err = scan(&c.Station, &c.Gateway, &c.Identity, &c.Protocol, &c.Vendor, &c.Model, &c.Firmware, &v.kind.Kind, &v.kind.Count, &v.kind.Recent, &first, &last)
		v.kind.First, v.kind.Last, v.kind.Stations = fromMS(first), fromMS(last), 1
		return v, err
	}, `SELECT s.id, s.gateway, s.identity, s.protocol, s.vendor, s.model, s.firmware, ifnull(d.kind, ''), ifnull(sum(d.count), 0),
			ifnull(sum(CASE WHEN d.boot = f.boot THEN d.count END), 0),
			ifnull(min(d.first + `+offsetAt("d", "first_boot")+`), 0), ifnull(max(d.last + `+offsetAt("d", "last_boot")+`), 0)
		FROM stations s `+join+` deviations d ON d.station = s.id AND d.count > 0`+on+` LEFT JOIN gateway_facts f ON f.gateway = s.gateway`+w.String()+`
		GROUP BY s.id, d.kind ORDER BY s.id, d.kind`, append(args, w.args...)...)
}

// StationScores implements fleet.Queries.
func (s *Store) StationScores(ctx context.Context, scope fleet.Scope, f fleet.ScoreFilter, p fleet.Page) (l fleet.List[fleet.Scorecard], err error) {
	return s.cards(ctx, scope, f, p, false, func(c *fleet.Scorecard) [4]string { return [4]string{c.Station} })
}

// ModelScores implements fleet.Queries.
func (s *Store) ModelScores(ctx context.Context, scope fleet.Scope, f fleet.ScoreFilter, p fleet.Page) (l fleet.List[fleet.Scorecard], err error) {
	return s.cards(ctx, scope, f, p, true, func(c *fleet.Scorecard) [4]string { return [4]string{c.Vendor, c.Model, c.Firmware} })
}

// cards gathers counts on cards of one key each, those with the most first.
func (s *Store) cards(ctx context.Context, scope fleet.Scope, f fleet.ScoreFilter, p fleet.Page, models bool, keyOf func(*fleet.Scorecard) [4]string) (l fleet.List[fleet.Scorecard], err error) {
	after, seek := cardPlace{}, p.Cursor != ""
	if seek {
		if err := decodeCursor(p.Cursor, &after.Count, &after.Key); err != nil {
			return l, err
		}
	}
	err = s.view(ctx, "scorecards", func(r reader) error {
		rows, err := scores(ctx, r, scope, f, models)
		if err != nil {
			return err
		}
		items := gather(rows, models, keyOf)
		if seek {
			items = after.rest(items, keyOf)
		}
		l, err = list(items, p, func(c fleet.Scorecard) []any { return []any{c.Count, keyOf(&c)} })
		return err
	})
	return l, err
}
