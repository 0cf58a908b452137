package fleet

import (
	"cmp"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Origin is the gateway that a batch came from, and who owns it.
type Origin struct {
	Gateway event.GatewayID
	Tenant  Tenant
}

// Unit applies events to the projections. It reads a row once, changes it in
// memory, and puts it back in Flush. It serves one transaction after the other
// as long as nobody else has changed a row in between; after any error but
// ErrSenseless it is of no use.
type Unit struct {
	tx Tx

	offsets   map[bootKey]int64
	stations  cache[string, StationRow]
	evses     cache[evseKey, EVSERow]
	places    cache[PlaceKey, PlaceRow]
	sessions  cache[event.SessionID, SessionRow]
	latest    cache[evseKey, LatestRow]
	intervals []IntervalRow // new ones, not yet put
	samples   []SampleRow   // new ones, not yet put
}

type bootKey struct {
	gateway event.GatewayID
	boot    string
}

type evseKey struct {
	station string
	evse    int
}

// NewUnit starts on a transaction.
func NewUnit(tx Tx) *Unit {
	u := &Unit{tx: tx}
	u.forget()
	return u
}

func (u *Unit) forget() {
	u.offsets = map[bootKey]int64{}
	u.stations = cache[string, StationRow]{}
	u.evses = cache[evseKey, EVSERow]{}
	u.places = cache[PlaceKey, PlaceRow]{}
	u.sessions = cache[event.SessionID, SessionRow]{}
	u.latest = cache[evseKey, LatestRow]{}
}

// Flush puts every row that was changed, stations first and by id, so that two
// managers cannot wait for each other.
func (u *Unit) Flush() error {
	byEVSE := func(a, b evseKey) int {
		return cmp.Or(cmp.Compare(a.station, b.station), cmp.Compare(a.evse, b.evse))
	}
	byPlace := func(a, b PlaceKey) int {
		return cmp.Or(cmp.Compare(a.Station, b.Station), cmp.Compare(a.EVSE, b.EVSE), cmp.Compare(a.Connector, b.Connector))
	}
	if err := u.stations.flush(cmp.Compare, rows(u.tx.PutStations)); err != nil {
		return err
	}
	if err := u.evses.flush(byEVSE, rows(u.tx.PutEVSEs)); err != nil {
		return err
	}
	if err := u.places.flush(byPlace, rows(u.tx.PutPlaces)); err != nil {
		return err
	}
	err := u.sessions.flush(cmp.Compare, func(changed []*cached[SessionRow]) error {
		changes := make([]SessionChange, len(changed))
		for i, c := range changed {
			changes[i].Row = c.row
			if !c.fresh {
				changes[i].Old = &c.stored
			}
		}
		return u.tx.PutSessions(changes)
	})
	if err != nil {
		return err
	}
	if err := u.latest.flush(byEVSE, rows(u.tx.PutLatest)); err != nil {
		return err
	}
	if len(u.intervals) > 0 {
		if err := u.tx.PutIntervals(u.intervals); err != nil {
			return err
		}
		u.intervals = nil
	}
	if len(u.samples) > 0 {
		if err := u.tx.PutSamples(u.samples); err != nil {
			return err
		}
		u.samples = nil
	}
	return nil
}

// keptRows is how many rows of a kind stay in memory between transactions.
const keptRows = 20_000

// Rest is called between two transactions, after Flush: it lets go of what will
// hardly be asked for again.
func (u *Unit) Rest() {
	for id, s := range u.sessions {
		if !s.found || s.row.Status == SessionEnded {
			delete(u.sessions, id)
		}
	}
	if max(len(u.sessions), len(u.stations), len(u.evses), len(u.places), len(u.latest), len(u.offsets)) > keptRows {
		u.forget()
	}
}

// drop flushes and forgets what is in memory, before rows are listed or changed
// past it.
func (u *Unit) drop() error {
	if err := u.Flush(); err != nil {
		return err
	}
	u.forget()
	return nil
}

// cache holds the rows of one kind that have been touched.
type cache[K comparable, R any] map[K]*cached[R]

type cached[R any] struct {
	row    R
	stored R    // as the store has it, unless fresh
	found  bool // the row exists, in the store or since
	fresh  bool // the store does not have it
	dirty  bool
}

// get returns the entry of k, loading it at first use.
func (c cache[K, R]) get(k K, load func(K) (*R, error)) (*cached[R], error) {
	if e, ok := c[k]; ok {
		return e, nil
	}
	r, err := load(k)
	if err != nil {
		return nil, err
	}
	e := &cached[R]{fresh: r == nil}
	if r != nil {
		e.row, e.stored, e.found = *r, *r, true
	}
	c[k] = e
	return e, nil
}

// touch marks the row as existing and changed, and returns it.
func (e *cached[R]) touch() *R {
	e.found, e.dirty = true, true
	return &e.row
}

func (c cache[K, R]) flush(order func(a, b K) int, put func([]*cached[R]) error) error {
	var keys []K
	for k, e := range c {
		if e.dirty {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, order)
	changed := make([]*cached[R], len(keys))
	for i, k := range keys {
		changed[i] = c[k]
	}
	if err := put(changed); err != nil {
		return err
	}
	for _, e := range changed {
		e.dirty, e.fresh, e.stored = false, false, e.row
	}
	return nil
}

// rows puts rows of which the store need not know what they were.
func rows[R any](put func([]R) error) func([]*cached[R]) error {
	return func(changed []*cached[R]) error {
		out := make([]R, len(changed))
		for i, c := range changed {
			out[i] = c.row
		}
		return put(out)
	}
}

// at is the moment t of an event, mended where the boot's offset is known.
func (u *Unit) at(from Origin, e *event.Event, t time.Time) (Moment, error) {
	m := Moment{At: t.UTC().Truncate(time.Millisecond)}
	if e.Clock != event.ClockUnsynced {
		return m, nil
	}
	m.Boot = e.Boot
	offset, err := u.offset(from.Gateway, e.Boot)
	m.At = m.At.Add(time.Duration(offset) * time.Millisecond)
	return m, err
}

func (u *Unit) offset(g event.GatewayID, boot string) (int64, error) {
	k := bootKey{g, boot}
	if ms, ok := u.offsets[k]; ok {
		return ms, nil
	}
	c, err := u.tx.Clock(g, boot)
	if err != nil {
		return 0, err
	}
	if c != nil {
		u.offsets[k] = c.OffsetMS
	} else {
		u.offsets[k] = 0
	}
	return u.offsets[k], nil
}
