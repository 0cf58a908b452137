package site

import (
	"context"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// alarmBook folds identical alarms of the gateway.
type alarmBook struct {
	mu   sync.Mutex
	told map[alarmKey]*foldedAlarm // bounded by maxAlarms
}

type alarmKey struct {
	alarm, text string
	cleared     bool
}

type foldedAlarm struct {
	last  event.GatewayAlarm
	since time.Time // monotonic
	more  int       // not yet told
}

const maxAlarms = 200

// Alarm records that something needs a person. Identical ones fold into one
// event a minute. It tries once: an alarm about a full disk cannot wait for it.
func (s *Site) Alarm(ctx context.Context, a event.GatewayAlarm) {
	key := alarmKey{a.Alarm, a.Text, a.Cleared}
	s.alarms.mu.Lock()
	if f := s.alarms.told[key]; f != nil {
		f.more++
		s.alarms.mu.Unlock()
		return
	}
	if s.alarms.told == nil {
		s.alarms.told = make(map[alarmKey]*foldedAlarm)
	}
	if len(s.alarms.told) < maxAlarms {
		s.alarms.told[key] = &foldedAlarm{last: a, since: time.Now()}
	}
	s.alarms.mu.Unlock()
	s.log.Warn("alarm", "alarm", a.Alarm, "severity", a.Severity, "text", a.Text, "cleared", a.Cleared)
	s.tell(ctx, a)
}

func (s *Site) tell(ctx context.Context, a event.GatewayAlarm) {
	stamp := s.clock.Stamp()
	c := Change{Events: []event.Draft{draft(stamp, event.Address{}, stamp.Time, &a)}}
	if err := s.journal.Commit(context.WithoutCancel(ctx), c); err != nil {
		s.log.Error("alarm not kept", "alarm", a.Alarm, "text", a.Text, "err", err)
	}
}

// foldAlarms tells the repeats of the last minute and forgets what has become
// quiet.
func (s *Site) foldAlarms(ctx context.Context) {
	var due []event.GatewayAlarm
	s.alarms.mu.Lock()
	for key, f := range s.alarms.told {
		if time.Since(f.since) < s.cfg.Fold {
			continue
		}
		if f.more == 0 {
			delete(s.alarms.told, key)
			continue
		}
		a := f.last
		a.Count = f.more
		due = append(due, a)
		f.more, f.since = 0, time.Now()
	}
	s.alarms.mu.Unlock()
	for _, a := range due {
		s.tell(ctx, a)
	}
}
