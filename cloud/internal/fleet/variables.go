package fleet

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// ComponentDeviations is the component under which a gateway reports how often
// a station broke the rules of its protocol: variable is the kind of deviation,
// value how often since the gateway started. It is no part of the station.
const ComponentDeviations = "Deviations"

// VariableRow is one attribute of a variable of a station. Its time stays as
// told: whoever reads it adds the offset of the boot.
type VariableRow struct {
	Station string
	Tenant  Tenant
	Gateway event.GatewayID
	event.Variable
	Told  Moment
	Seen  int64 // position of the newest event that told of it
	Since int64
}

// InventoryRow is how far a station's report of everything that it has has
// come: what such a report does not name once it is complete is no more.
type InventoryRow struct {
	Station string
	Tenant  Tenant
	Report  int
	Begun   int64 // position of its first part
	Next    int   // number of the next part, from 1; negative once one was missing
	Since   int64
}

// DeviationRow is how often a station broke the rules in one way during one
// start of its gateway. Times stay as told.
type DeviationRow struct {
	Station string
	Tenant  Tenant
	Gateway event.GatewayID
	Boot    string
	Kind    string
	Count   int64
	First   Moment
	Last    Moment // when Count was last seen to have risen
	Since   int64
}

// stationConfiguration keeps the variables that a station has reported.
func (w *word) stationConfiguration(p *event.StationConfiguration) error {
	st := &w.station.row
	told := w.told()
	rows := make([]VariableRow, 0, len(p.Variables))
	var deviations []DeviationRow
	for _, v := range p.Variables {
		if v.Component == ComponentDeviations {
			n, err := strconv.ParseInt(v.Value, 10, 64)
			if err != nil || n < 0 || v.Variable == "" {
				continue // a count that is none; the log has it
			}
			deviations = append(deviations, DeviationRow{
				Station: st.ID, Tenant: st.Tenant, Gateway: st.Gateway, Boot: w.in.Event.Boot, Kind: v.Variable,
				Count: n, First: told, Last: told, Since: w.position,
			})
			continue
		}
		if v.Variable == "" {
			continue
		}
		rows = append(rows, VariableRow{Station: st.ID, Tenant: st.Tenant, Gateway: st.Gateway, Variable: v, Told: told, Seen: w.position, Since: w.position})
	}
	if err := w.tx.PutDeviations(deviations); err != nil {
		return err
	}
	if err := w.tx.PutVariables(rows); err != nil {
		return err
	}
	for _, name := range p.Unknown {
		if err := w.tx.DropVariable(st.ID, name); err != nil {
			return err
		}
	}
	if !p.Complete {
		return nil
	}
	return w.inventory(p)
}

// inventory follows the parts of a report of everything and, with the last of
// them, takes away what the station has no more. A part that is missing or cut
// leaves everything as it is.
func (w *word) inventory(p *event.StationConfiguration) error {
	st := &w.station.row
	old, err := w.tx.Inventory(st.ID)
	if err != nil {
		return err
	}
	part := max(1, p.Part) // 0: the report has one part only
	row := InventoryRow{Station: st.ID, Tenant: st.Tenant, Report: p.Report, Begun: w.position, Next: 1, Since: w.position}
	if old != nil {
		row.Since = old.Since
		if part > 1 && old.Report == p.Report {
			row.Begun, row.Next = old.Begun, old.Next
		}
	}
	switch {
	case w.in.Event.Truncated || part > row.Next:
		row.Next = -1
	case part == row.Next:
		row.Next++
	default:
		return nil // told already
	}
	if err := w.tx.PutInventory(row); err != nil {
		return err
	}
	if p.More || row.Next < 0 {
		return nil
	}
	return w.tx.DropVariables(st.ID, row.Begun)
}

// told is the time of the event as its gateway told it.
func (w *word) told() Moment {
	m := Moment{At: w.in.Event.Time.UTC().Truncate(time.Millisecond)}
	if w.in.Event.Clock == event.ClockUnsynced {
		m.Boot = w.in.Event.Boot
	}
	return m
}

// SortKinds puts the kinds of a scorecard in order, the most frequent first.
func SortKinds(kinds []DeviationCount) {
	slices.SortFunc(kinds, func(a, b DeviationCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind))
	})
}
