package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// rebuildRows is the number of log rows that are projected at a time.
const rebuildRows = 2000

// Rebuild implements fleet.Store. It is one transaction: readers see the old
// projections until it is done, and nothing is taken in meanwhile.
func (s *Store) Rebuild(ctx context.Context, progress func(done, total int64)) error {
	return wrap("rebuild", s.tx(ctx, func(t *tx) error {
		var oldest, newest int64
		if _, err := t.one(`SELECT ifnull(min(position), 0), ifnull(max(position), 0) FROM log`, nil, &oldest, &newest); err != nil {
			return err
		}
		if newest == 0 {
			return nil
		}
		if err := t.clear(oldest); err != nil {
			return err
		}
		t.projected = nil // it knows the rows that are gone
		unit := fleet.NewUnit(t)
		for position := oldest - 1; position < newest; {
			if err := ctx.Err(); err != nil {
				return err
			}
			rows, err := t.logAfter(position, rebuildRows)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				break
			}
			for i := range rows {
				r := &rows[i]
				position = r.entry.Position
				b := fleet.Batch{Gateway: r.entry.Gateway, Lane: r.lane, Stream: r.stream, Events: []event.Event{r.entry.Event}}
				in := fleet.Read(&b)
				err := unit.Project(fleet.Origin{Gateway: b.Gateway, Tenant: r.entry.Tenant}, position, &in[0])
				if errors.Is(err, fleet.ErrSenseless) {
					s.log.Warn("event in the log makes no sense", "position", position, "event", r.entry.ID, "err", err)
				} else if err != nil {
					return fmt.Errorf("position %d: %w", position, err)
				}
			}
			if err := unit.Flush(); err != nil {
				return err
			}
			unit.Rest()
			if progress != nil {
				progress(position-oldest+1, newest-oldest+1)
			}
		}
		return nil
	}))
}

// clear takes away what events from oldest on have made. Two kinds of rows stay
// and are written over: clocks, or rows that are older than the log would be
// mended twice; and the steps of commands, or those of the manager, which stand
// between them, would come first.
func (t *tx) clear(oldest int64) error {
	for _, table := range []string{
		"gateway_facts", "alarms", "stations", "evses", "places", "intervals",
		"sessions", "session_aliases", "samples", "latest",
		"variables", "inventories", "deviations", "security_events", "pending",
	} {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE since >= ?`, oldest); err != nil {
			return fmt.Errorf("clear %s: %w", table, err)
		}
	}
	// A place that is older than the log goes back to its last interval.
	_, err := t.exec(`UPDATE places SET (intervals, status, error_code, start) = (
			SELECT i.number, i.status, i.error_code, i.start FROM intervals i WHERE i.place = places.id ORDER BY i.number DESC LIMIT 1)
		WHERE EXISTS (SELECT 1 FROM intervals i WHERE i.place = places.id)`)
	return err
}

// logAfter reads rows of the log, with their times as told.
func (t *tx) logAfter(position int64, atMost int) ([]logRow, error) {
	return collect(t, func(scan scanner) (r logRow, err error) {
		err = r.scan(scan)
		return r, err
	}, logSelect+` WHERE l.position > ? ORDER BY l.position LIMIT ?`, position, atMost)
}
