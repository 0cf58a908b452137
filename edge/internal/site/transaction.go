package site

import (
	"strconv"
	"strings"

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
	PhasesUsed int // 0: not said
	CableMaxA  int // A; 0: not said
}

// TransactionResult answers a TransactionReport. Decision is empty where no token
// was named.
type TransactionResult struct {
	Session event.SessionID
	AuthorizeResult
	// TotalCost is what the session costs so far, taxes included, in the currency
	// of the station; nil: nobody knows.
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

// Transaction takes one step of a transaction. What it decides is durable when it
// returns, except for an Updated with nothing but periodic values, which follow
// within the journal's time. It is always taken, in any order and as often as it
// comes.
func (st *Station) Transaction(r TransactionReport) (TransactionResult, error) {
	r.Transaction = strings.TrimSpace(r.Transaction)
	if r.Step == TransactionEnded {
		stop, err := st.Stop(StopReport{
			Transaction: r.Transaction, Token: r.Token, Time: r.Time, Reason: r.Reason, Readings: r.Readings,
		})
		return TransactionResult{Session: stop.Session, AuthorizeResult: stop.AuthorizeResult}, err
	}
	s := st.byTransaction(r.Transaction)
	if s == nil {
		var err error
		if s, err = st.beginTransaction(r); err != nil {
			return TransactionResult{}, err
		}
	}
	out := TransactionResult{Session: s.id}
	if r.Token != nil {
		out.AuthorizeResult = s.answer
	}
	if len(r.Readings) == 0 {
		return out, nil
	}
	return out, st.Meter(MeterReport{EVSE: s.evse, Connector: s.connector, Transaction: &r.Transaction, Samples: r.Readings})
}

func (st *Station) beginTransaction(r TransactionReport) (*session, error) {
	stamp := st.site.clock.Stamp()
	when := judge(r.Time, stamp.Time, stamp.Clock, st.connectedSince(stamp))
	id, err := uuid.NewV7()
	if err != nil {
		return nil, notKept("session id", err)
	}
	s := &session{
		id: event.SessionID(id.String()), transaction: r.Transaction, evse: r.EVSE, connector: r.Connector,
		protocol: st.info.Protocol, startKey: hash("transaction", r.Transaction, strconv.Itoa(int(r.Step)), claimText(r.Time)),
		token: r.Token, started: when.time, startClock: stamp.Clock, startBoot: stamp.Boot, begun: r.Step == TransactionStarted,
		flags: when.flags() | flagRecovered.when(r.Step != TransactionStarted),
	}
	var c Change
	ev := &event.SessionStarted{
		Session: s.id, Transaction: s.transaction, Protocol: s.protocol, Token: s.token,
		ChargingState: r.ChargingState, Trigger: r.Trigger, Reservation: r.Reservation, DeviceTime: r.Time.Raw, Flags: s.flags.list(),
	}
	var d decision
	if r.Token != nil {
		d = st.decide(*r.Token, r.EVSE, st.startOrder(r.EVSE, *r.Token) != nil, st.reservationFor(r.EVSE, r.Reservation, *r.Token) != nil, stamp)
		s.answer = d.AuthorizeResult
		ev.Authorization = &event.Authorization{Decision: d.Decision, By: d.by, Reason: d.reason}
		c.Events = append(c.Events, draft(stamp, s.at(st.id), when.time, d.event(*r.Token, "start")))
		c.Put = append(c.Put, d.records()...)
	}
	c.Events = append(c.Events, draft(stamp, s.at(st.id), when.time, ev))
	c.Put = append(c.Put, st.sessionRecord(s))
	if err := st.commit(c); err != nil {
		return nil, err
	}
	st.site.learn(d)
	st.open = append(st.open, s)
	st.showSession(s)
	return s, nil
}
