package site

import (
	"context"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// maxRefused bounds the identities that are remembered because they were refused.
const maxRefused = 200

// refusedBook folds what is refused at the door.
type refusedBook struct {
	mu   sync.Mutex
	told map[refusedKey]*foldedRefusal // bounded by maxRefused
}

type refusedKey struct {
	station event.StationID
	event   string
}

type foldedRefusal struct {
	last  SecurityReport
	since time.Time // monotonic
	more  int       // not yet told
}

func (s *Site) refused(id event.StationID, r SecurityReport, known bool, now time.Time) {
	b := &s.refusals
	key := refusedKey{id, r.Event}
	b.mu.Lock()
	if f := b.told[key]; f != nil {
		f.last, f.more = r, f.more+1
		b.mu.Unlock()
		return
	}
	if len(b.told) >= maxRefused {
		b.mu.Unlock()
		if !known {
			s.Alarm(context.Background(), event.GatewayAlarm{Alarm: "many_strangers", Severity: "warning", Text: "more unknown stations knock than can be listed: something may be trying out identities"})
			return
		}
		s.tellRefused(id, r, 0)
		return
	}
	if b.told == nil {
		b.told = make(map[refusedKey]*foldedRefusal)
	}
	b.told[key] = &foldedRefusal{last: r, since: now}
	b.mu.Unlock()
	s.tellRefused(id, r, 0)
}

func (s *Site) tellRefused(id event.StationID, r SecurityReport, count int) {
	stamp := s.clock.Stamp()
	d := draft(stamp, event.Address{Station: id}, stamp.Time, &event.StationSecurity{
		Event: r.Event, Info: r.Info, DeviceTime: r.DeviceTime, Count: count,
	})
	if err := s.journal.Commit(context.Background(), Change{Events: []event.Draft{d}}); err != nil {
		s.log.Error("refusal not kept", "station", string(id), "event", r.Event, "err", err)
	}
}

// foldRefusals tells the repeats of the last minute and forgets who has become
// quiet.
func (s *Site) foldRefusals() {
	type due struct {
		key refusedKey
		r   SecurityReport
		n   int
	}
	var all []due
	b := &s.refusals
	b.mu.Lock()
	for key, f := range b.told {
		if time.Since(f.since) < s.cfg.Fold {
			continue
		}
		if f.more == 0 {
			delete(b.told, key)
			continue
		}
		all = append(all, due{key, f.last, f.more})
		f.more, f.since = 0, time.Now()
	}
	b.mu.Unlock()
	for _, d := range all {
		s.tellRefused(d.key.station, d.r, d.n)
	}
}
