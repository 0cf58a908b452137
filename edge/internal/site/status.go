package site

import (
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// connector is what is known of one place that tells its status: a connector, an
// EVSE (connector 0) or the station (both 0).
type connector struct {
	evse, number int
	status       event.Status // empty: not told since the gateway started
	key          uint64       // of the whole last report
	told         bool         // since the connection or the last boot
	freeSince    time.Time    // monotonic: available though a session runs; zero: not so
	inferAt      time.Time    // monotonic: when that session is taken to be over; zero with freeSince
}

// occupied notes that nothing says that the session at c is over.
func (c *connector) occupied() { c.freeSince, c.inferAt = time.Time{}, time.Time{} }

// grace leaves the stop of the session at a free connector time to come.
func (st *Station) grace(c *connector) {
	c.inferAt = time.Now().Add(st.site.cfg.InferAfter)
	st.wake(c.inferAt)
}

// maxConnectors bounds what one station can make the gateway remember.
const maxConnectors = 256

// faultBurst is how many identical faults become events of their own in a minute:
// whoever repairs wants to know each.
const faultBurst = 5

// connector returns what is known of a place, nil when it was never named.
func (st *Station) connector(evse, number int) *connector {
	for i := range st.connectors {
		if c := &st.connectors[i]; c.evse == evse && c.number == number {
			return c
		}
	}
	return nil
}

// learnConnector returns what is known of a place that has just been named. Nil:
// the station has named too many.
func (st *Station) learnConnector(evse, number int) *connector {
	if c := st.connector(evse, number); c != nil {
		return c
	}
	if len(st.connectors) >= maxConnectors {
		return nil
	}
	st.connectors = append(st.connectors, connector{evse: evse, number: number})
	return &st.connectors[len(st.connectors)-1]
}

// chargingState is the state of a running session that a status of its connector
// shows; empty where it shows none.
func chargingState(s event.Status) string {
	switch s {
	case event.StatusCharging:
		return "charging"
	case event.StatusSuspendedEV:
		return "suspended_ev"
	case event.StatusSuspendedEVSE:
		return "suspended_evse"
	case event.StatusPreparing, event.StatusOccupied:
		return "ev_connected"
	case event.StatusFinishing:
		return "idle"
	}
	return ""
}

// Status says that a place is in a state. Repeats of the same state fold.
func (st *Station) Status(r StatusReport) error {
	stamp := st.site.clock.Stamp()
	at := st.at(r.EVSE, r.Connector)
	ev := &event.StationStatus{
		Status: r.Status, Raw: r.Raw, ErrorCode: r.ErrorCode, VendorID: r.VendorID,
		VendorErrorCode: r.VendorErrorCode, Info: r.Info, DeviceTime: r.DeviceTime,
	}
	key := hash("status", at.Subject(), string(r.Status), r.Raw, r.ErrorCode, r.VendorID, r.VendorErrorCode, r.Info)
	known := st.connector(r.EVSE, r.Connector)

	var c Change
	kept := func() {}
	changed := known == nil || known.key != key
	if changed && known != nil && known.key != 0 {
		kept = st.flushFold(&c, known.key, stamp)
	}
	burst := 1
	if r.ErrorCode != "" {
		burst = faultBurst
	}
	if !st.repeated(key, burst, at, ev) {
		c.Events = append(c.Events, draft(stamp, at, stamp.Time, ev))
	}
	s := st.openAt(r.EVSE, r.Connector)
	state := chargingState(r.Status)
	moved := s != nil && state != "" && state != s.state
	if moved {
		c.Events = append(c.Events, draft(stamp, s.at(st.id), stamp.Time, &event.SessionUpdated{
			Session: s.id, Transaction: s.transaction, ChargingState: state, Trigger: "charging_state",
		}))
	}
	if known == nil && len(st.connectors) < maxConnectors {
		more := append(slices.Clip(st.connectors), connector{evse: r.EVSE, number: r.Connector})
		c.Put = append(c.Put, st.stationRecord(st.boot, more))
	}
	hits := st.effects(fact{kind: factStatus, evse: r.EVSE, connector: r.Connector, status: r.Status})
	st.addEffects(&c, hits, stamp)
	if len(c.Events)+len(c.Put) > 0 {
		if err := st.commit(c); err != nil {
			st.forgetFold(key)
			return err
		}
	}
	kept()
	st.applyEffects(hits)
	if moved {
		s.state = state
	}
	if known = st.learnConnector(r.EVSE, r.Connector); known != nil {
		known.key, known.status, known.told = key, r.Status, true
		switch {
		case s == nil || r.Status != event.StatusAvailable:
			known.occupied()
		case known.freeSince.IsZero():
			known.freeSince = time.Now()
			st.grace(known)
		}
	}
	st.showStatus(r.EVSE, r.Connector, r.Status, stamp.Time)
	return nil
}

// expectStatus gives the station a time to tell of itself.
func (st *Station) expectStatus(within time.Duration) {
	st.checkAt = time.Now().Add(within)
	st.wake(st.checkAt)
}

// silent tells whether a connector that ought to has not told its status.
func (st *Station) silent() bool {
	told := false
	for i := range st.connectors {
		c := &st.connectors[i]
		told = told || c.told
		if c.number > 0 && !c.told {
			return true
		}
	}
	return !told
}

// missed are the connectors that have not told their status.
func (st *Station) missed() []event.Address {
	var silent []event.Address
	for i := range st.connectors {
		if c := &st.connectors[i]; c.number > 0 && !c.told {
			silent = append(silent, st.at(c.evse, c.number))
		}
	}
	return silent
}

// checkStatus asks a station that came back without a word, once; then its
// silent connectors are unknown. After a boot, connectors that stay silent while
// others speak are gone.
func (st *Station) checkStatus(now time.Time) {
	if st.checkAt.IsZero() || now.Before(st.checkAt) || st.device == nil {
		return
	}
	st.checkAt = time.Time{}
	if !st.silent() {
		st.relearn = false
		return
	}
	if !st.refreshed {
		st.refreshed = true
		st.expectStatus(st.site.cfg.StatusAfter)
		st.device.Refresh(st.missed())
		return
	}
	stamp := st.site.clock.Stamp()
	var c Change
	speaks := slices.ContainsFunc(st.connectors, func(p connector) bool { return p.told && p.number > 0 })
	if !speaks && slices.ContainsFunc(st.connectors, func(p connector) bool { return p.told }) {
		// It speaks of itself as a whole only: that says nothing against what is
		// known of its connectors.
		st.relearn = false
		return
	}
	left := make([]connector, 0, len(st.connectors))
	var unknown []int
	var kept []func()
	for _, p := range st.connectors {
		gone := st.relearn && speaks && !p.told && st.openAt(p.evse, p.number) == nil
		if !p.told && (gone || p.status != event.StatusUnknown) {
			at := st.at(p.evse, p.number)
			kept = append(kept, st.flushFold(&c, p.key, stamp))
			told := &event.StationStatus{Status: event.StatusUnknown}
			if gone {
				told.Raw = event.RawGone
			}
			c.Events = append(c.Events, draft(stamp, at, stamp.Time, told))
			p.status, p.key = event.StatusUnknown, 0
			unknown = append(unknown, len(left))
		}
		if !gone {
			left = append(left, p)
		} else {
			unknown = slices.DeleteFunc(unknown, func(i int) bool { return i == len(left) })
			st.hideConnector(p.evse, p.number)
		}
	}
	if len(left) != len(st.connectors) {
		c.Put = append(c.Put, st.stationRecord(st.boot, left))
	}
	if len(c.Events)+len(c.Put) > 0 {
		if err := st.commit(c); err != nil {
			st.logger().Warn("unknown status not kept, trying again", "err", err)
			st.expectStatus(retryAfter)
			return
		}
	}
	st.connectors, st.relearn = left, false
	for _, f := range kept {
		f()
	}
	for _, i := range unknown {
		st.showStatus(left[i].evse, left[i].number, event.StatusUnknown, stamp.Time)
	}
}
