package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// thinSteps are the spaces that thinning leaves between the samples of one EVSE
// or meter, finer ones first. After the last nothing is left of what is oldest.
var thinSteps = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// thinRows is how many rows one transaction thins.
const thinRows = 1000

// thin takes samples out of the rows without a number, oldest first and one step
// coarser than before, with the record of it in the same transaction. It tells
// whether there was anything to thin. Rows with a number are never touched. It
// runs in the writer's goroutine.
func (l *Lane) thin() (bool, error) {
	for _, step := range append(thinSteps, 0) {
		some, err := l.thinTo(step)
		if some || err != nil {
			return some, err
		}
	}
	return false, nil
}

// place tells which samples belong together.
type place struct{ subject, session string }

// thinTo leaves one sample in each step, or none for 0, of the oldest rows that
// are finer.
func (l *Lane) thinTo(step time.Duration) (bool, error) {
	seconds := int(step / time.Second)
	where, args := "step >= 0 AND step < ? ORDER BY id LIMIT ?", []any{seconds, thinRows}
	if step == 0 {
		where, args = "step >= 0 ORDER BY id LIMIT ?", []any{thinRows}
	}
	done := event.StreamThinned{StepS: seconds, Reason: fmt.Sprintf("%s.db is at its limit", l.name)}
	rowsGone, rowsNew := 0, 0
	err := l.db.transact(func(ctx context.Context) error {
		rowsGone, rowsNew = 0, 0
		var rows []looseRow
		err := l.selectLoose(ctx, where, args, func(r looseRow) bool {
			if !l.o.sampler.isOpen(r.id) {
				rows = append(rows, r)
			}
			return true
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		last := map[place]int64{} // number of the last step that has its sample
		for _, r := range rows {
			if done.From.IsZero() || r.first.Before(done.From) {
				done.From = r.first
			}
			if r.last.After(done.To) {
				done.To = r.last
			}
			kept := 0
			if step > 0 && r.body != nil {
				if r, kept, err = thinRow(r, step, last); err != nil {
					l.log.Warn("samples not readable, dropped", "err", err)
				}
			}
			done.Removed += max(r.samples-kept, 0)
			done.Kept += kept
			if kept == 0 {
				rowsGone++
				_, err = l.db.deleteLoose.ExecContext(ctx, r.id)
			} else {
				r.samples, r.step = kept, seconds
				err = l.putLoose(ctx, r)
			}
			if err != nil {
				return err
			}
		}
		rowsNew, err = l.recordThinned(ctx, done)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("thin samples: %w", err)
	}
	l.addLoose(rowsNew - rowsGone)
	if rowsNew == 0 && done.Removed == 0 && done.Kept == 0 {
		return false, nil
	}
	l.o.stats.samplesThinned.Add(int64(done.Removed))
	l.log.Warn("samples thinned out", "from", done.From, "to", done.To, "removed", done.Removed, "kept", done.Kept, "step", step)
	return true, nil
}

// thinRow leaves in r the samples that open a new step of their place.
func thinRow(r looseRow, step time.Duration, last map[place]int64) (looseRow, int, error) {
	var e event.Event
	if err := json.Unmarshal(append([]byte{'{'}, r.body...), &e); err != nil {
		return r, 0, err
	}
	p, err := e.Decode()
	if err != nil {
		return r, 0, err
	}
	at := place{subject: e.Subject}
	var samples []event.Sample
	switch p := p.(type) {
	case *event.SessionSampled:
		at.session, samples = string(p.Session), p.Samples
	case *event.MeterSampled:
		samples = p.Samples
	default:
		return r, 0, fmt.Errorf("expected samples, got %s", e.Type)
	}
	kept := samples[:0]
	for _, s := range samples {
		n := s.Time.Unix() / int64(step/time.Second)
		if before, ok := last[at]; ok && before == n {
			continue
		}
		last[at] = n
		kept = append(kept, s)
	}
	if len(kept) == 0 {
		return r, 0, nil
	}
	if len(kept) == len(samples) {
		return r, len(kept), nil
	}
	r.first, r.last = kept[0].Time, kept[0].Time
	for _, s := range kept {
		if s.Time.After(r.last) {
			r.last = s.Time
		}
	}
	switch p := p.(type) {
	case *event.SessionSampled:
		p.Samples = kept
	case *event.MeterSampled:
		p.Samples = kept
	}
	address, err := event.ParseSubject(e.Subject)
	if err != nil {
		return r, 0, err
	}
	gateway := event.GatewayID(e.Source[len(event.Source("")):])
	r.body, err = event.AppendTail(nil, gateway, &event.Draft{
		Address: address, Time: r.first, Recorded: e.Recorded, Boot: e.Boot, Clock: e.Clock, Data: p,
	})
	return r, len(kept), err
}

// recordThinned stores what was thinned out, in the open transaction, and
// returns how many rows that added. A record that has no number yet and is
// about the same step takes it in, so that records cannot fill the file.
func (l *Lane) recordThinned(ctx context.Context, now event.StreamThinned) (added int, err error) {
	id := int64(0)
	err = l.selectLoose(ctx, "step = ? ORDER BY id DESC LIMIT 16", []any{thinnedStep}, func(r looseRow) bool {
		var e event.Event
		var before event.StreamThinned
		if r.body == nil || json.Unmarshal(append([]byte{'{'}, r.body...), &e) != nil || json.Unmarshal(e.Data, &before) != nil {
			return true
		}
		if before.StepS != now.StepS || before.Reason != now.Reason {
			return true
		}
		if before.From.Before(now.From) {
			now.From = before.From
		}
		if before.To.After(now.To) {
			now.To = before.To
		}
		now.Removed += before.Removed
		now.Kept += before.Kept
		id = r.id
		return false
	})
	if err != nil {
		return 0, err
	}
	if id == 0 {
		id = l.nextLoose
		l.nextLoose++
		added = 1
	}
	stamp := l.o.stamp()
	tail, err := event.AppendTail(nil, l.o.cfg.Gateway, &event.Draft{
		Time: stamp.Time, Recorded: stamp.Time, Boot: stamp.Boot, Clock: stamp.Clock, Data: &now,
	})
	if err != nil {
		return 0, err
	}
	return added, l.putLoose(ctx, looseRow{id: id, first: now.From, last: now.To, step: thinnedStep, body: tail})
}
