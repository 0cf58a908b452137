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
	status       event.Status  // as events tell it; empty: not told since the gateway started
	base         event.Status  // as the device told it
	fault        *StatusReport // that it told apart from its state; never changed in place
	finished     bool          // the session there has ended and the car has not left
	key          uint64        // of the whole last report
	told         bool          // since the connection or the last boot
	freeSince    time.Time     // monotonic: available though a session runs; zero: not so
	inferAt      time.Time     // monotonic: when that session is taken to be over; zero with freeSince
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
	known := st.connector(r.EVSE, r.Connector)
	base, fault := stands(known, r)
	s := st.openAt(r.EVSE, r.Connector)
	ev := statusEvent(r, shown(base, s, known != nil && known.finished), fault)
	key := statusKey(at, ev)

	var c Change
	kept := func() {}
	changed := known == nil || known.key != key
	if changed && known != nil && known.key != 0 {
		kept = st.flushFold(&c, known.key, stamp)
	}
	burst := 1
	if ev.ErrorCode != "" {
		burst = faultBurst
	}
	if !st.repeated(key, burst, at, ev) {
		c.Events = append(c.Events, draft(stamp, at, stamp.Time, ev))
	}
	state := chargingState(r.Status)
	moved := s != nil && !s.own && state != "" && state != s.state
	if moved {
		c.Events = append(c.Events, draft(stamp, s.at(st.id), stamp.Time, &event.SessionUpdated{
			Session: s.id, Transaction: s.transaction, ChargingState: state, Trigger: "charging_state",
		}))
	}
	if known == nil && len(st.connectors) < maxConnectors {
		more := append(slices.Clip(st.connectors), connector{evse: r.EVSE, number: r.Connector})
		c.Put = append(c.Put, st.stationRecord(st.boot, more))
	}
	var f fact
	if r.Status != "" {
		f = fact{kind: factStatus, evse: r.EVSE, connector: r.Connector, status: r.Status}
	}
	hits := st.effects(f)
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
		known.key, known.status, known.base, known.fault = key, ev.Status, base, fault
		known.told = known.told || r.Status != ""
		known.finished = known.finished && base == event.StatusOccupied
		switch {
		case s == nil || base != event.StatusAvailable:
			known.occupied()
		case known.freeSince.IsZero():
			known.freeSince = time.Now()
			st.grace(known)
		}
	}
	st.showStatus(r.EVSE, r.Connector, ev.Status, stamp.Time)
	return nil
}

// stands is the state and the fault of a place after r.
func stands(known *connector, r StatusReport) (base event.Status, fault *StatusReport) {
	base = r.Status
	if known != nil {
		fault = known.fault
	}
	if r.Status != "" {
		return base, fault
	}
	if base = event.StatusUnknown; known != nil && known.base != "" {
		base = known.base
	}
	if r.ErrorCode == "" {
		return base, nil
	}
	return base, &r
}

// statusEvent is what r says, with the fault that stands beside it where it tells
// of none.
func statusEvent(r StatusReport, status event.Status, fault *StatusReport) *event.StationStatus {
	ev := &event.StationStatus{
		Status: status, Raw: r.Raw, ErrorCode: r.ErrorCode, VendorID: r.VendorID,
		VendorErrorCode: r.VendorErrorCode, Info: r.Info, DeviceTime: r.DeviceTime,
	}
	if fault != nil && r.ErrorCode == "" {
		ev.ErrorCode, ev.VendorID, ev.VendorErrorCode = fault.ErrorCode, fault.VendorID, fault.VendorErrorCode
		ev.Info = join(fault.Info, r.Info)
	}
	return ev
}

func statusKey(at event.Address, ev *event.StationStatus) uint64 {
	return hash("status", at.Subject(), string(ev.Status), ev.Raw, ev.ErrorCode, ev.VendorID, ev.VendorErrorCode, ev.Info)
}

// shown is the status of a place that is in state base while s runs there (nil:
// nothing does). finished: the session there has ended and the car is still
// there.
func shown(base event.Status, s *session, finished bool) event.Status {
	if base != event.StatusOccupied {
		return base
	}
	if s == nil {
		if finished {
			return event.StatusFinishing
		}
		return base
	}
	switch s.state {
	case "charging":
		return event.StatusCharging
	case "suspended_ev":
		return event.StatusSuspendedEV
	case "suspended_evse":
		return event.StatusSuspendedEVSE
	case "ev_connected", "idle":
		if s.energised {
			return event.StatusFinishing
		}
		return event.StatusPreparing
	}
	return base
}

// derived is the status of a place that changes with the session there.
type derived struct {
	evse, number int
	ev           *event.StationStatus
	finished     bool
}

// showStatus adds to the change the status of the places of the session where it
// changes with s, which is nil once it has ended.
func (n *news) showStatus(s *session) {
	n.statuses = n.st.derive(&n.change, n.s.evse, n.s.connector, s, n.stamp)
}

// derive adds to c the status of the places at a connector (0: all of the EVSE)
// where it changes with the session s there; nil: it has ended.
func (st *Station) derive(c *Change, evse, number int, s *session, stamp Stamp) []derived {
	var out []derived
	for i := range st.connectors {
		p := &st.connectors[i]
		if evse == 0 || p.evse != evse || p.base != event.StatusOccupied || number != 0 && p.number != 0 && p.number != number {
			continue
		}
		d := derived{evse: p.evse, number: p.number, finished: s == nil}
		status := shown(p.base, s, d.finished)
		if status == p.status && d.finished == p.finished {
			continue
		}
		d.ev = statusEvent(StatusReport{}, status, p.fault)
		if status != p.status {
			at := st.at(p.evse, p.number)
			c.Events = append(c.Events, draft(stamp, at, stamp.Time, d.ev))
		}
		out = append(out, d)
	}
	return out
}

// applyDerived remembers what derive has told.
func (st *Station) applyDerived(all []derived, stamp Stamp) {
	for _, d := range all {
		if p := st.connector(d.evse, d.number); p != nil {
			p.status, p.finished, p.key = d.ev.Status, d.finished, statusKey(st.at(d.evse, d.number), d.ev)
			st.showStatus(d.evse, d.number, d.ev.Status, stamp.Time)
		}
	}
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
	if st.bootedConn && st.Registration() != RegistrationAccepted {
		return // it has nothing to say yet
	}
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
			p.status, p.base, p.fault, p.key = event.StatusUnknown, event.StatusUnknown, nil, 0
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
