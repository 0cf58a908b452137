package site

import (
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// A fold is a message that a device repeats. The first ones of a minute become
// events; the rest become one, with a count.
type fold struct {
	key   uint64
	at    event.Address
	until time.Time     // monotonic: end of the minute
	seen  int           // in this minute
	more  int           // of them not yet told
	data  event.Payload // the newest, where more > 0
}

// maxFolds bounds what is remembered of one station.
const maxFolds = 16

// repeated tells whether the message known by key is the repeat of one that was
// told burst times in this minute already; then it is counted and will be told
// with the others. Otherwise the caller makes it an event.
func (st *Station) repeated(key uint64, burst int, at event.Address, data event.Payload) bool {
	now := time.Now()
	for i := range st.folds {
		f := &st.folds[i]
		if f.key != key {
			continue
		}
		if f.more == 0 && now.After(f.until) {
			f.seen, f.until = 1, now.Add(st.site.cfg.Fold)
			return false
		}
		if f.seen < burst {
			f.seen++
			return false
		}
		f.more, f.at, f.data = f.more+1, at, data
		if f.more == 1 {
			st.wake(f.until)
		}
		return true
	}
	if len(st.folds) == maxFolds && !st.dropFold(now) {
		return false // too many different ones repeat at once: each is told
	}
	st.folds = append(st.folds, fold{key: key, at: at, until: now.Add(st.site.cfg.Fold), seen: 1})
	return false
}

// dropFold makes room by forgetting the oldest message that has nothing left to
// tell.
func (st *Station) dropFold(now time.Time) bool {
	oldest := -1
	for i := range st.folds {
		f := &st.folds[i]
		if f.more == 0 && (oldest < 0 || f.until.Before(st.folds[oldest].until)) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	st.folds = append(st.folds[:oldest], st.folds[oldest+1:]...)
	return true
}

// flushFold appends what is untold of key, and forgets it: what follows says
// something else. The returned function is to be called once that is durable.
func (st *Station) flushFold(c *Change, key uint64, stamp Stamp) (kept func()) {
	for i := range st.folds {
		if st.folds[i].key != key {
			continue
		}
		if f := &st.folds[i]; f.more > 0 {
			setCount(f.data, f.more)
			c.Events = append(c.Events, draft(stamp, f.at, stamp.Time, f.data))
		}
		return func() {
			for i := range st.folds {
				if st.folds[i].key == key {
					st.folds = append(st.folds[:i], st.folds[i+1:]...)
					return
				}
			}
		}
	}
	return func() {}
}

// tellFolds makes one event of each message whose minute is over. All of them
// when everything is true: the site stops.
func (st *Station) tellFolds(now time.Time, everything bool) {
	var c Change
	stamp := st.site.clock.Stamp()
	for i := range st.folds {
		f := &st.folds[i]
		if f.more > 0 && (everything || !now.Before(f.until)) {
			setCount(f.data, f.more)
			c.Events = append(c.Events, draft(stamp, f.at, stamp.Time, f.data))
		}
	}
	if len(c.Events) == 0 {
		return
	}
	if err := st.commit(c); err != nil {
		st.logger().Warn("repeats not kept, trying again", "events", len(c.Events), "err", err)
		st.wake(now.Add(retryAfter))
		return
	}
	keep := st.folds[:0]
	for _, f := range st.folds {
		if f.more > 0 && (everything || !now.Before(f.until)) {
			// it goes on: one event a minute from here
			f.more, f.data, f.seen, f.until = 0, nil, 1<<30, now.Add(st.site.cfg.Fold)
		}
		keep = append(keep, f)
	}
	st.folds = keep
}

// linkBurst is how many connections and ends become events of their own in a
// minute.
const linkBurst = 10

// linkFold folds what a station that keeps connecting says by that: two kinds of
// events whose order tells which holds.
type linkFold struct {
	until time.Time // monotonic: end of the minute
	seen  int
	more  int                        // ends not yet told
	down  *event.StationDisconnected // the newest of them
	up    bool                       // a connection was not told
}

// quiet tells whether this minute has heard enough.
func (l *linkFold) quiet(now time.Time, minute time.Duration) bool {
	if l.more == 0 && !l.up && now.After(l.until) {
		l.seen, l.until = 0, now.Add(minute)
	}
	return l.seen >= linkBurst
}

// came notes a connection, or anything that was told.
func (l *linkFold) came(quiet bool) {
	if quiet {
		l.up = true
	} else {
		l.seen++
	}
}

// went notes an end that was not told.
func (l *linkFold) went(d *event.StationDisconnected) {
	l.more++
	l.down = d
}

// tellLink makes one event of the ends of a minute and, if the station is
// connected now, one of that.
func (st *Station) tellLink(now time.Time, everything bool) {
	l := &st.link
	if l.more == 0 && !l.up || !everything && now.Before(l.until) {
		return
	}
	stamp := st.site.clock.Stamp()
	var c Change
	if l.more > 0 {
		d := *l.down
		if l.more > 1 {
			d.Count = l.more
		}
		c.Events = append(c.Events, draft(stamp, st.at(0, 0), stamp.Time, &d))
	}
	if st.device != nil {
		c.Events = append(c.Events, draft(stamp, st.at(0, 0), stamp.Time, st.info.event()))
	}
	if len(c.Events) > 0 {
		if err := st.commit(c); err != nil {
			st.logger().Warn("connections not kept, trying again", "err", err)
			st.wake(now.Add(retryAfter))
			return
		}
	}
	l.more, l.up, l.down, l.until = 0, false, nil, now.Add(st.site.cfg.Fold)
}

// setCount writes how many repeats an event stands for.
func setCount(p event.Payload, n int) {
	switch d := p.(type) {
	case *event.StationBooted:
		d.Count = n
	case *event.StationStatus:
		d.Count = n
	case *event.StationFirmware:
		d.Count = n
	case *event.StationLog:
		d.Count = n
	case *event.StationSecurity:
		d.Count = n
	case *event.TokenAuthorized:
		d.Count = n
	case *event.DataReceived:
		d.Count = n
	}
}

// FNV-1a, 64 bits: keys must mean the same after a restart.
const (
	hashSeed  uint64 = 14695981039346656037
	hashPrime uint64 = 1099511628211
)

// hash names what a device said by its parts. Parts are kept apart by a byte
// that no text holds.
func hash(parts ...string) uint64 {
	h := hashSeed
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * hashPrime
		}
		h = (h ^ 0xff) * hashPrime
	}
	return h
}
