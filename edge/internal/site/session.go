package site

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/shared/event"
)

const (
	// maxTransaction is the highest number that a station may lift the counter
	// to by naming it: there must be room above.
	maxTransaction = 1 << 30
	// keepSessions and keepFor bound what is remembered of past sessions, for
	// stops and values that come late or twice.
	keepSessions = 32
	keepFor      = 30 * 24 * time.Hour
	// recentStart is how long a start without a usable time can be recognised.
	recentStart = 10 * time.Minute
)

// endKind says how a session came to its end.
type endKind uint8

const (
	running    endKind = iota
	stopped            // the device said so
	superseded         // the next one began without a stop
	inferred           // the connector stayed available
)

// session is one charging session of this station. What a past one needs no
// more is dropped.
type session struct {
	id          event.SessionID
	transaction string // the protocol's id
	evse        int    // 0: not known, an orphan's
	connector   int
	protocol    string
	startKey    uint64
	answer      AuthorizeResult

	token      *event.Token
	started    time.Time // as its event says
	startMono  time.Time // monotonic; zero: begun before this start of the gateway
	startClaim time.Time // the device's claim; zero: unreadable
	startClock event.Clock
	startBoot  string
	meterStart *int64
	signed     bool   // meterStart is a signed one
	begun      bool   // the device told the session's begin, not only the gateway
	register   *int64 // the last one heard
	registerAt time.Time
	rises      rises // of the register since the begin
	regressed  bool  // it ran backwards in between
	fell       bool  // to below the begin, as one that began anew does
	flags      flagSet
	command    event.CommandID

	state   string // charging state as last told
	quarter int64  // of the last register that became an event
	reading uint64 // the newest message with readings that must not wait

	end     endKind
	endedAt time.Time
	stopKey uint64
	endWh   *int64

	// Of a session whose station numbers its transactions itself.
	own         bool
	alias       string // the station's id for it since it has changed its protocol
	trail       trail
	guess       startGuess
	energised   bool // energy may have flowed
	reservation int  // that it named before its token was known
	phases      int  // in use, as last told
	cableA      int
	heardAt     time.Time
	askAt       time.Time // monotonic: when to ask the station whether it runs; zero: not
	goneAt      time.Time // monotonic: when it is over, as the station said it is not running; zero: not so
	mute        bool      // the station cannot be asked over this connection
	bare        *bareEnd  // how it ended, where registers that come late may still tell what it took
}

// startGuess says where the begin register of a session comes from.
type startGuess uint8

const (
	startExact startGuess = iota // the device told it as such
	startFirst                   // it is the first one that came
	startLate                    // it is, and energy may have flowed before
)

func (s *session) at(id event.StationID) event.Address {
	return event.Address{Station: id, EVSE: s.evse, Connector: s.connector}
}

// number is the transaction as OCPP 1.6 wants it.
func (s *session) number() int64 {
	n, err := strconv.ParseInt(s.transaction, 10, 64)
	if err != nil {
		return 0 // not a number that this gateway gave
	}
	return n
}

// openAt is the session that runs at a connector, nil when none does. An older one
// may still wait for an end that its station has kept back.
func (st *Station) openAt(evse, connector int) *session {
	if evse == 0 {
		return nil
	}
	var found *session
	for _, s := range st.open {
		if s.evse == evse && s.covers(connector) && (found == nil || s.started.After(found.started)) {
			found = s
		}
	}
	return found
}

// covers tells whether s is at a connector of its EVSE: a station that numbers its
// transactions itself may leave the connector out.
func (s *session) covers(connector int) bool {
	return s.connector == connector || s.own && (s.connector == 0 || connector == 0)
}

// startKey names a start by what it says: retries come with new message ids.
func startKey(r StartReport) uint64 {
	return hash("start", strconv.Itoa(r.EVSE), strconv.Itoa(r.Connector), tokenKey(r.Token.Value), claimText(r.Time), wh(r.MeterWh))
}

// stopKey names a stop by what it says: the transactions -1 and 0 come again.
func stopKey(r StopReport) uint64 {
	return hash("stop", strings.TrimSpace(r.Transaction), claimText(r.Time), wh(r.MeterWh))
}

// claimText is a claimed time in one spelling.
func claimText(r ReportedTime) string {
	if r.Time.IsZero() {
		return r.Raw
	}
	return strconv.FormatInt(r.Time.UnixMilli(), 10)
}

func wh(v *int64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatInt(*v, 10)
}

// sameStart finds the session that a start has made before. A start whose time
// means nothing (a clock that stands still says the same each time) is only
// known while its session runs or has just begun.
func (st *Station) sameStart(key uint64, t ReportedTime, now time.Time) *session {
	for _, s := range st.open {
		if s.startKey == key {
			return s
		}
	}
	for _, s := range slices.Backward(st.ended) {
		if s.startKey != key {
			continue
		}
		if t.readable() || s.end != stopped && now.Sub(s.started).Abs() < recentStart {
			return s
		}
	}
	return nil
}

// Start opens a session and gives it a transaction number. A retry gets the same
// number and the same decision; a session that still runs at the connector is
// superseded. A token that is not accepted gets a number too, and a session with
// a flag: the device has begun one.
func (st *Station) Start(r StartReport) (StartResult, error) {
	stamp := st.site.clock.Stamp()
	key := startKey(r)
	if s := st.sameStart(key, r.Time, stamp.Time); s != nil {
		return StartResult{Transaction: s.number(), AuthorizeResult: s.answer}, nil
	}
	when := judge(r.Time, stamp.Time, stamp.Clock, st.connectedSince(stamp))
	order := st.startOrder(r.EVSE, r.Token)
	reserved := st.reservationFor(r.EVSE, r.Reservation, r.Token)
	var but []event.SessionID
	if s := st.openAt(r.EVSE, r.Connector); s != nil {
		but = []event.SessionID{s.id} // this start ends it
	}
	d := st.decideStart(r.Token, r.EVSE, but, order != nil, reserved != nil, stamp)

	id, err := uuid.NewV7()
	if err != nil {
		return StartResult{}, notKept("session id", err)
	}
	s := &session{
		id: event.SessionID(id.String()), transaction: strconv.FormatInt(st.nextTransaction(), 10),
		evse: r.EVSE, connector: r.Connector, protocol: st.info.Protocol, startKey: key, answer: d.AuthorizeResult,
		token: &r.Token, started: when.time, startMono: time.Now(), startClock: stamp.Clock, startBoot: stamp.Boot,
		meterStart: r.MeterWh, begun: true,
		flags: when.flags() | flagUnauthorized.when(d.Decision != accepted),
	}
	if r.Time.readable() {
		s.startClaim = r.Time.Time
	}
	if r.MeterWh != nil {
		s.register, s.registerAt, s.quarter = r.MeterWh, when.time, quarterOf(when.time)
		s.flags |= st.startRegression(r)
	}

	var c Change
	at := s.at(st.id)
	old := st.replaced(r.EVSE, r.Connector)
	var oldEnd ending
	if old != nil {
		oldEnd = ending{kind: superseded, time: when.time, reason: "other", trigger: "abnormal", flags: flagSuperseded}
		c.Events = append(c.Events, st.endEvent(old, &oldEnd, stamp))
	}
	c.Events = append(c.Events, draft(stamp, at, when.time, d.event(r.Token, "start")))
	ev := &event.SessionStarted{
		Session: s.id, Transaction: s.transaction, Protocol: s.protocol, Token: s.token,
		Authorization: &event.Authorization{Decision: d.Decision, By: d.by, Reason: d.reason},
		MeterWh:       r.MeterWh, Trigger: "authorized", Reservation: r.Reservation,
		DeviceTime: r.Time.Raw, Flags: s.flags.list(),
	}
	if order != nil {
		ev.Trigger, ev.Command, s.command = "remote_start", order.cmd.ID, order.cmd.ID
	}
	c.Events = append(c.Events, draft(stamp, at, when.time, ev))
	if p := st.connector(r.EVSE, r.Connector); p != nil && p.told && p.status != event.StatusAvailable {
		if s.state = chargingState(p.status); s.state == "charging" || s.state == "suspended_ev" || s.state == "suspended_evse" {
			c.Events = append(c.Events, draft(stamp, at, when.time, &event.SessionUpdated{
				Session: s.id, Transaction: s.transaction, ChargingState: s.state, Trigger: "charging_state",
			}))
		} else {
			s.state = ""
		}
	}
	if reserved != nil {
		c.Events = append(c.Events, draft(stamp, at, when.time, reserved.event("used", s.id)))
		c.Delete = append(c.Delete, reserved.key(st.id))
	}
	hits := st.effects(fact{kind: factStarted, evse: r.EVSE, token: r.Token, session: s})
	st.addEffects(&c, hits, stamp)
	var oldAfter *session
	if old != nil {
		oldAfter = old.after(oldEnd)
		c.Put = append(c.Put, st.sessionRecord(oldAfter))
	}
	c.Put = append(c.Put, st.sessionRecord(s), st.counterRecord())
	c.Put = append(c.Put, d.records()...)
	forget := st.outlived(1, stamp)
	for _, f := range forget {
		c.Delete = append(c.Delete, sessionKey(st.id, f.id))
	}
	if err := st.commit(c); err != nil {
		return StartResult{}, err
	}
	st.site.learn(d)
	st.applyEffects(hits)
	if old != nil {
		st.close(old, oldAfter)
	}
	st.forget(forget)
	if reserved != nil {
		st.dropReservation(reserved.ID)
	}
	st.open = append(st.open, s)
	if p := st.learnConnector(r.EVSE, r.Connector); p != nil {
		p.occupied() // what it said before this start does not count
	}
	if r.MeterWh != nil {
		st.noteRegister(r.EVSE, r.Connector, *r.MeterWh)
	}
	st.showSession(s)
	return StartResult{Transaction: s.number(), AuthorizeResult: d.AuthorizeResult}, nil
}

// replaced is the running session that a start at a connector ends: the one
// there, or the oldest where a station runs more of them than it can have.
func (st *Station) replaced(evse, connector int) *session {
	for _, s := range st.open {
		if s.evse == evse && s.covers(connector) {
			return s
		}
	}
	if len(st.open) >= maxConnectors {
		return st.open[0]
	}
	return nil
}

// startRegression compares a begin register with the last one that the connector
// told. Zero is a register that counts each session on its own.
func (st *Station) startRegression(r StartReport) flagSet {
	p := st.register(r.EVSE, r.Connector)
	return flagMeterRegression.when(p != nil && p.known && *r.MeterWh != 0 && *r.MeterWh < p.wh)
}

// nextTransaction gives a number that was never given: positive and increasing.
func (st *Station) nextTransaction() int64 {
	if st.transaction.Load() == 0 {
		st.raise(st.site.firstTransaction())
	}
	return st.transaction.Add(1)
}

// raise lifts the counter to at least n.
func (st *Station) raise(n int64) {
	for {
		old := st.transaction.Load()
		if n <= old || st.transaction.CompareAndSwap(old, n) {
			return
		}
	}
}

// named lifts the counter to a number that the station used. It tells whether
// that changed it.
func (st *Station) named(transaction string) bool {
	n, err := strconv.ParseInt(transaction, 10, 64)
	if err != nil || n <= st.transaction.Load() || n > maxTransaction {
		return false
	}
	st.raise(n)
	return true
}

// connectedSince is when the connection came, by the gateway's clock of now.
func (st *Station) connectedSince(stamp Stamp) time.Time {
	if st.device == nil {
		return stamp.Time
	}
	return stamp.Time.Add(-time.Since(st.since))
}

// outlived are the past sessions to forget when n more are to be remembered.
func (st *Station) outlived(n int, stamp Stamp) []*session {
	cut := max(len(st.ended)+n-keepSessions, 0)
	cut = min(cut, len(st.ended))
	for cut < len(st.ended) && stamp.Clock == event.ClockSynced && stamp.Time.Sub(st.ended[cut].endedAt) > keepFor {
		cut++
	}
	return st.ended[:cut]
}

// forget drops sessions that outlived gave: the oldest.
func (st *Station) forget(gone []*session) {
	if len(gone) > 0 {
		st.ended = slices.Delete(st.ended, 0, len(gone))
	}
}

// close takes a session from the running ones to the past ones, as next.
func (st *Station) close(s, next *session) {
	if i := slices.Index(st.open, s); i >= 0 {
		st.open = slices.Delete(st.open, i, i+1)
	}
	if i := slices.Index(st.ended, s); i >= 0 {
		st.ended = slices.Delete(st.ended, i, i+1)
	}
	*s = *next
	st.ended = append(st.ended, s)
	if p := st.connector(s.evse, s.connector); p != nil {
		p.occupied()
	}
	if s.endWh != nil && s.evse > 0 {
		st.noteRegister(s.evse, s.connector, *s.endWh)
	}
	st.hideSession(s)
}

// after is s as it will be once e is kept. A session that the device ended for
// good needs little: its keys.
func (s *session) after(e ending) *session {
	out := *s
	out.end, out.endedAt, out.stopKey, out.endWh = e.kind, e.time, e.key, e.meter
	if out.endWh == nil {
		out.endWh = s.register
	}
	out.flags |= e.flags
	if e.kind == stopped {
		out.startClock, out.startBoot, out.state, out.protocol = "", "", "", ""
		out.command = ""
	}
	return &out
}
