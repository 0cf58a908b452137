package site

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/shared/event"
)

// TransactionStep is where in its life a transaction is.
type TransactionStep uint8

// The steps of a transaction. OCPP 2.0.1 TransactionEventEnumType.
const (
	TransactionStarted TransactionStep = iota
	TransactionUpdated
	TransactionEnded
)

// String returns the word for t.
func (t TransactionStep) String() string {
	return [...]string{"started", "updated", "ended"}[t]
}

// TransactionReport is what a station that numbers its transactions itself tells
// of one. OCPP 2.0.1 E02 to E13.
type TransactionReport struct {
	Step        TransactionStep
	Transaction string // the station's own id
	Sequence    *int64 // seqNo; nil: not told
	Time        ReportedTime
	Trigger     string // snake_case of the trigger reason
	Offline     bool   // it happened while the station was cut off, as it says

	EVSE, Connector int // 0: not said; remembered per transaction

	Token         *event.Token // nil: none named
	ChargingState string       // charging, ev_connected, suspended_ev, suspended_evse, idle; empty: not said
	RemoteStart   int          // remoteStartId: Order.Request of the start command; 0: none
	Reservation   int          // 0: none
	Reason        string       // unified, of an end; empty means local
	// Readings are as in StopReport: those that must not wait (signed, begin, end
	// and interruption) and plain samples alike.
	Readings   []event.Sample
	Suspect    bool // the readings contradict each other or those before
	PhasesUsed int  // 0: not said
	CableMaxA  int  // A; 0: not said
}

// TransactionResult answers a TransactionReport. Decision is empty where no token
// was named.
type TransactionResult struct {
	Session event.SessionID
	AuthorizeResult
	// TotalCost is what the session costs so far, as Config.TotalCost says; nil:
	// nobody knows.
	TotalCost *float64
}

// TransactionAsker is a Device that can be asked what became of a transaction
// (OCPP 2.0.1 E14). The site asks after a reconnect and before it takes a session
// to be over.
type TransactionAsker interface {
	// AskTransaction asks for a transaction of the station's own numbering.
	// report is called on the station's goroutine, once: ongoing is nil where the
	// station did not say; queued tells whether it has messages left to send of
	// it; known is false where there was no answer at all.
	AskTransaction(transaction string, report func(ongoing *bool, queued bool, known bool))
}

// tokenNone is the type of the token that stands for nobody: the station lets
// everybody charge. OCPP 2.0.1 C02, IdTokenEnumType NoAuthorization.
const tokenNone = "none"

// news is what one report makes of a transaction, until it is kept.
type news struct {
	st    *Station
	r     *TransactionReport
	stamp Stamp
	when  moment
	flags flagSet // that the report itself deserves
	key   uint64
	order order

	old   *session // nil: it is a new one
	s     *session // as it will be
	place *register
	heard following
	again bool // it goes on, although it was taken to be over

	change   Change
	answer   AuthorizeResult
	decided  *decision // about the token of the session
	command  event.CommandID
	facts    []fact
	replaced []replacement
	used     *reservation
	statuses []derived
}

// Transaction takes one step of a transaction. What it decides is durable when it
// returns, except for an Updated with nothing but periodic values, which follow
// within the journal's time. It is always taken, in any order and as often as it
// comes.
func (st *Station) Transaction(r TransactionReport) (TransactionResult, error) {
	r.Transaction = strings.TrimSpace(r.Transaction)
	if r.Token != nil && strings.TrimSpace(r.Token.Value) == "" && r.Token.Type != tokenNone {
		r.Token = nil
	}
	stamp := st.site.clock.Stamp()
	n := &news{st: st, r: &r, stamp: stamp, key: transactionKey(&r)}
	n.when = judge(r.Time, stamp.Time, stamp.Clock, st.connectedSince(stamp))
	n.flags = n.when.flags() | flagOffline.when(r.Offline) | flagSuspect.when(r.Suspect)
	s := st.findTransaction(&r)
	if s != nil && r.Step != TransactionUpdated && s.reused(&r, n.key) {
		s = nil // the station gives the same id again
	}
	if s == nil {
		return n.unheard()
	}
	next := *s
	n.old, n.s = s, &next
	next.trail, n.order = s.trail.next(n.key, r.Sequence, r.Time)
	next.askAt, next.goneAt = time.Time{}, time.Time{} // it is alive
	if n.when.time.After(next.heardAt) {
		next.heardAt = n.when.time
	}
	if n.order == inOrder && r.Step == TransactionUpdated && st.goesOn(s, &r) {
		n.again = true
		next.resume()
	}
	switch {
	case n.order == repeated, r.Step == TransactionStarted && s.startKey == n.key, r.Step == TransactionEnded && s.end == stopped && s.stopKey == n.key:
		n.recall()
		return n.result(), nil
	case r.Step == TransactionEnded:
		n.adopt()
		n.settle()
		return n.end()
	case r.Step == TransactionStarted && !s.begun:
		return n.begunAfterAll()
	}
	return n.update()
}

// findTransaction finds the session of a transaction: under the station's id or,
// after the station has come back with another protocol, the one that it left
// running at the EVSE. Nil: nobody knows it.
func (st *Station) findTransaction(r *TransactionReport) *session {
	var elsewhere *session
	for _, list := range [][]*session{st.open, st.ended} {
		for _, s := range slices.Backward(list) {
			if !s.own || s.transaction != r.Transaction && (s.alias == "" || s.alias != r.Transaction) {
				continue
			}
			if s.evse == 0 || r.EVSE == 0 || s.evse == r.EVSE {
				return s
			}
			if elsewhere == nil {
				elsewhere = s
			}
		}
	}
	if r.Step == TransactionStarted { // some give the same id to two EVSEs
		return nil
	}
	if elsewhere != nil {
		return elsewhere
	}
	return st.leftBehind(r.EVSE, r.Time)
}

// leftBehind is the session that began under another protocol of the station and
// runs at an EVSE still; EVSE 0 is the only one that there is. What happened before
// it began is not about it: the station had kept that back.
func (st *Station) leftBehind(evse int, at ReportedTime) *session {
	var found *session
	for _, s := range st.open {
		if s.protocol == "" || st.info.Protocol == "" || s.protocol == st.info.Protocol || s.alias != "" || evse != 0 && s.evse != evse {
			continue
		}
		if at.readable() && at.Time.Before(s.startClaim) {
			continue
		}
		if found != nil {
			return nil // nobody guesses between two
		}
		found = s
	}
	return found
}

// reused tells whether r, which is named key, is about another transaction than s:
// some stations begin with the same ids after each start.
func (s *session) reused(r *TransactionReport, key uint64) bool {
	readable := r.Time.readable()
	switch {
	case s.stopKey != 0 && s.stopKey == key, s.begun && s.startKey == key, slices.Contains(s.trail.keys, key):
		return false // it was taken before
	case r.Step == TransactionStarted && s.end == running:
		// Its end was lost with the numbers of its station: they begin anew, after
		// everything that was heard of it.
		last := s.trail.last
		return s.begun && last != nil && r.Sequence != nil && *r.Sequence < *last && (!readable || r.Time.Time.After(s.trail.at))
	case r.Step == TransactionStarted:
		return s.begun && (!readable || r.Time.Time.After(s.endedAt))
	case r.Step == TransactionEnded:
		return s.end == stopped && readable && r.Time.Time.Sub(s.endedAt) > recentStart
	}
	return false
}

// unheard takes the first report of a transaction.
func (n *news) unheard() (TransactionResult, error) {
	if err := n.create(); err != nil {
		return TransactionResult{}, err
	}
	n.settle()
	if n.r.Step == TransactionEnded {
		return n.end()
	}
	n.supersede()
	n.authorize()
	if n.hasRegister() { // session.started carries it
		n.s.quarter = quarterOf(n.when.time)
	}
	readings := n.hear()
	s := n.s
	s.energise(n.r.ChargingState)
	s.flags |= n.st.beganBelow(s, n.place)
	n.change.Events = append(n.change.Events, n.startEvent())
	if phases, cable := n.wiring(); phases+cable != 0 {
		n.change.Events = append(n.change.Events, draft(n.stamp, s.at(n.st.id), n.when.time, &event.SessionUpdated{
			Session: s.id, Transaction: s.transaction, Trigger: n.r.Trigger, PhasesUsed: phases, CableA: cable,
		}))
	}
	n.change.Events = append(n.change.Events, readings...)
	n.useReservation()
	n.showStatus(s)
	if err := n.keep(); err != nil {
		return TransactionResult{}, err
	}
	return n.result(), nil
}

// create makes the session of a transaction that nobody has heard of. One that
// does not begin with its begin was lost on the way.
func (n *news) create() error {
	id, err := uuid.NewV7()
	if err != nil {
		return notKept("session id", err)
	}
	r := n.r
	began := r.Step == TransactionStarted
	n.s = &session{
		id: event.SessionID(id.String()), transaction: r.Transaction, own: true, protocol: n.st.info.Protocol,
		started: n.when.time, startClock: n.stamp.Clock, startBoot: n.stamp.Boot, begun: began,
		flags: n.flags | flagRecovered.when(!began) | flagUnknownEnergy.when(r.Step == TransactionUpdated),
	}
	if began {
		n.s.startKey, n.s.startMono = n.key, time.Now()
		if r.Time.readable() {
			n.s.startClaim = r.Time.Time
		}
	}
	n.s.trail, _ = trail{}.next(n.key, r.Sequence, r.Time)
	n.s.reservation = r.Reservation
	n.s.state = r.ChargingState
	return nil
}

// energise notes that energy may have flowed.
func (s *session) energise(state string) {
	switch state {
	case "charging", "suspended_ev", "suspended_evse":
		s.energised = true
	}
}

func (n *news) hasRegister() bool {
	return slices.ContainsFunc(n.r.Readings, func(v event.Sample) bool { return v.EnergyWh != nil })
}

// hear takes the readings of the report in. It returns the events of those that
// must not wait.
func (n *news) hear() (urgent []event.Draft) {
	all := n.st.resolve(n.r.Readings, n.stamp)
	n.heard = follow(n.s, n.place)
	if n.s.end == stopped && n.when.time.After(n.s.endedAt) {
		n.heard.running = false // they are no longer its own
	}
	again := n.heard.repeats(all)
	at := n.s.at(n.st.id)
	for i := range all {
		v := &all[i]
		wait := !mustNotWait(v)
		first := n.heard.hear(v)
		if (wait || again) && !first {
			continue
		}
		d := n.st.reading(n.s, at, n.stamp, v, !wait, n.heard.flags)
		if u, ok := d.Data.(*event.SessionUpdated); ok && n.r.Trigger != "" {
			u.Trigger = n.r.Trigger
		}
		urgent = append(urgent, d)
	}
	if len(n.st.commands) > 0 && len(all) > 0 {
		n.facts = append(n.facts, fact{kind: factMeter, evse: n.s.evse, connector: n.s.connector, session: n.s, samples: all})
	}
	n.heard.write(n.s)
	return urgent
}

// samples are the readings of the report that may wait.
func (n *news) samples() []event.Sample {
	all := n.r.Readings
	if !slices.ContainsFunc(all, func(v event.Sample) bool { return mustNotWait(&v) }) {
		return all
	}
	_, rest := split(slices.Clone(all))
	return rest
}

// beganBelow compares the begin of a session with what its meter told before.
// Zero is a register that counts each session on its own.
func (st *Station) beganBelow(s *session, before *register) flagSet {
	return flagMeterRegression.when(before != nil && before.known && s.meterStart != nil && *s.meterStart != 0 && *s.meterStart < before.wh)
}

func (n *news) startEvent() event.Draft {
	s := n.s
	ev := &event.SessionStarted{
		Session: s.id, Transaction: s.transaction, Protocol: s.protocol, Token: s.token, MeterWh: s.meterStart,
		ChargingState: n.r.ChargingState, Trigger: n.r.Trigger, Reservation: n.r.Reservation, Command: s.command,
		DeviceTime: n.r.Time.Raw, Flags: s.flags.list(),
	}
	if ev.Trigger == "" {
		ev.Trigger = "abnormal"
	}
	if n.decided != nil {
		ev.Authorization = n.decided.authorization()
	}
	return draft(n.stamp, s.at(n.st.id), n.when.time, ev)
}

// update takes a step in between, or values of a session that is over.
func (n *news) update() (TransactionResult, error) {
	s, r := n.s, n.r
	placed := n.adopt()
	placed = n.settle() || placed
	if placed && s.end == running {
		n.supersede()
	}
	before := s.flags
	if s.end == running {
		n.authorize()
	} else {
		n.recall()
	}
	s.flags |= n.flags
	moved := n.order == inOrder && s.end == running && r.ChargingState != "" && r.ChargingState != s.state
	if moved {
		s.state = r.ChargingState
	}
	readings := n.hear()
	if s.end == running {
		s.energise(r.ChargingState)
	}
	if n.order == inOrder && r.Trigger == "trigger" {
		n.facts = append(n.facts, fact{kind: factTransaction, evse: s.evse, connector: s.connector, session: s})
	}
	phases, cable := n.wiring()
	fresh := moved || placed || n.again || n.decided != nil || n.command != "" || phases+cable != 0
	switch {
	case fresh || n.worthTelling() || s.flags&^before != 0 && len(readings) == 0:
		ev := n.updateEvent(before, moved)
		ev.PhasesUsed, ev.CableA = phases, cable
		n.change.Events = append(n.change.Events, draft(n.stamp, s.at(n.st.id), n.when.time, ev))
	case len(readings) > 0: // the first of them says what is new about the session
		if u, ok := readings[0].Data.(*event.SessionUpdated); ok {
			u.Flags = (s.flags &^ before).list()
		}
	}
	n.change.Events = append(n.change.Events, readings...)
	if s.bare != nil && s.register != nil && (s.endWh == nil || *s.register != *s.endWh) {
		n.endAgain()
	}
	n.useReservation()
	if s.end == running {
		n.showStatus(s)
	}
	if err := n.keep(); err != nil {
		return TransactionResult{}, err
	}
	return n.result(), nil
}

// adopt gives a session that began under another protocol the id that its station
// uses now.
func (n *news) adopt() bool {
	s := n.s
	if s.transaction == n.r.Transaction || s.alias == n.r.Transaction {
		return false
	}
	s.alias, s.own = n.r.Transaction, true
	return true
}

// worthTelling tells whether an update without any news is an event all the same:
// its trigger says something, and did not say it just now.
func (n *news) worthTelling() bool {
	if n.r.Trigger == "" || n.r.Trigger == "meter_periodic" || n.r.Trigger == "meter_clock" || n.order != inOrder {
		return false
	}
	now := time.Now()
	word := hash(n.r.Trigger, n.r.ChargingState)
	t := &n.s.trail
	if word == t.word && now.Sub(t.wordAt) < n.st.site.cfg.Fold {
		return false
	}
	t.word, t.wordAt = word, now
	return true
}

func (n *news) updateEvent(before flagSet, moved bool) *event.SessionUpdated {
	s, r := n.s, n.r
	u := &event.SessionUpdated{
		Session: s.id, Transaction: s.transaction, Trigger: r.Trigger,
		Command: n.command, DeviceTime: r.Time.Raw, Flags: (s.flags&^before | n.flags).list(),
	}
	if moved {
		u.ChargingState = s.state
	}
	if n.decided != nil {
		u.Token, u.Authorization = s.token, n.decided.authorization()
	}
	return u
}

// wiring is what changes of the phases in use and of the cable; 0: nothing. Some
// stations tell them with every value.
func (n *news) wiring() (phases, cable int) {
	s, r := n.s, n.r
	if n.order != inOrder {
		return 0, 0
	}
	if r.PhasesUsed != 0 && r.PhasesUsed != s.phases {
		phases, s.phases = r.PhasesUsed, r.PhasesUsed
	}
	if r.CableMaxA != 0 && r.CableMaxA != s.cableA {
		cable, s.cableA = r.CableMaxA, r.CableMaxA
	}
	return phases, cable
}

// begunAfterAll takes the begin of a session of which something else came first.
func (n *news) begunAfterAll() (TransactionResult, error) {
	s, r := n.s, n.r
	s.begun, s.startKey, s.started = true, n.key, n.when.time
	s.startClock, s.startBoot = n.stamp.Clock, n.stamp.Boot
	if r.Time.readable() {
		s.startClaim = r.Time.Time
	}
	s.flags = s.flags&^(flagRecovered|flagUnknownEnergy) | n.flags
	placed := n.settle()
	if placed && s.end == running {
		n.supersede()
	}
	if s.end == running {
		n.authorize()
	} else {
		n.recall()
		if s.token == nil {
			s.token = r.Token
		}
	}
	readings := slices.DeleteFunc(n.hear(), func(d event.Draft) bool { // session.started carries the register
		u, ok := d.Data.(*event.SessionUpdated)
		return ok && u.Reading == nil
	})
	s.energise(r.ChargingState)
	for i := range r.Readings {
		if v := &r.Readings[i]; v.EnergyWh != nil && v.Context != "end" {
			s.meterStart, s.guess = v.EnergyWh, startExact
			break
		}
	}
	if s.meterStart == nil && s.end == running && s.register != nil && !s.regressed { // the first one that was heard
		first := *s.register - s.rises.gained
		if s.meterStart, s.guess = &first, startFirst; s.energised || s.trail.missesSince(r.Sequence) {
			s.guess = startLate
		}
	}
	n.change.Events = append(n.change.Events, n.startEvent())
	n.change.Events = append(n.change.Events, readings...)
	n.useReservation()
	if err := n.keep(); err != nil {
		return TransactionResult{}, err
	}
	return n.result(), nil
}

// keep makes the news durable and remembers them: samples first, because a
// repeat of what is remembered does not bring them again.
func (n *news) keep() error {
	st, s := n.st, n.s
	hits := st.effectsOf(n.facts)
	if samples := n.samples(); len(samples) > 0 {
		if err := st.keepSamples(s, s.at(st.id), n.stamp, samples); err != nil {
			return err
		}
	}
	st.addEffects(&n.change, hits, n.stamp)
	forget := n.forgettable()
	if len(n.change.Events) > 0 {
		n.change.Put = append(n.change.Put, st.sessionRecord(s))
		if err := st.commit(n.change); err != nil {
			return err
		}
		st.forget(forget)
	}
	if n.decided != nil {
		st.site.learn(*n.decided)
		st.site.use(s)
	}
	st.applyEffects(hits)
	for _, r := range n.replaced {
		st.close(r.old, r.after)
	}
	if n.used != nil {
		st.dropReservation(n.used.ID)
	}
	if n.old == nil {
		st.open = append(st.open, s)
	} else {
		placed := n.old.evse != s.evse || n.old.connector != s.connector
		*n.old = *s
		s = n.old
		if n.again {
			st.reopen(s)
		}
		if (placed || n.again) && s.end == running {
			st.showSession(s)
		}
	}
	if s.evse != 0 {
		if p := st.register(s.evse, s.connector); p != nil {
			*p = n.heard.meter
		}
	}
	n.remember(s)
	st.showMeter(s.at(st.id), s, n.r.Readings)
	return nil
}

// forgettable adds to the change the past sessions that those which end push out.
func (n *news) forgettable() []*session {
	if len(n.replaced) == 0 {
		return nil
	}
	forget := n.st.outlived(len(n.replaced), n.stamp)
	if slices.Contains(forget, n.old) {
		return nil
	}
	for _, f := range forget {
		n.change.Delete = append(n.change.Delete, sessionKey(n.st.id, f.id))
	}
	return forget
}

// remember updates what is known beside the session itself.
func (n *news) remember(s *session) {
	st := n.st
	st.applyDerived(n.statuses, n.stamp)
	if n.old == nil {
		st.showSession(s)
		if p := st.connector(s.evse, s.connector); p != nil {
			p.occupied() // what it said before this start does not count
		}
		return
	}
	if p := st.connector(s.evse, s.connector); p != nil && s.end == running && !p.freeSince.IsZero() {
		p.freeSince = time.Now() // it still speaks
		st.grace(p)
	}
}

func (n *news) result() TransactionResult {
	out := TransactionResult{Session: n.s.id, AuthorizeResult: n.answer}
	if f := n.st.site.cfg.TotalCost; f != nil {
		out.TotalCost = f(n.s.cost(n.st.id))
	}
	return out
}
