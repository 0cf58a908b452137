package station2

import (
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/google/uuid"
)

// happening is something that a TransactionEvent may have to tell.
type happening struct {
	trigger  ocpp21.TriggerReason
	token    *Token              // that was presented
	reason   ocpp21.Reason       // of an end, should this be one
	readings []ocpp21.MeterValue // of an update
}

// reached tells which points of TxStartPoint and TxStopPoint hold at an EVSE
// (E01, E06).
func (s *Station) reached(e *evse) map[string]bool {
	connected, authorized := e.plugged() || e.away, e.auth != nil
	return map[string]bool{
		"ParkingBayOccupancy": connected,
		"EVConnected":         connected,
		"Authorized":          authorized,
		"PowerPathClosed":     connected && authorized,
		"EnergyTransfer":      connected && authorized && e.closed && e.outlet.Offers() && e.outlet.Wants(),
	}
}

// begins tells whether a transaction begins: any of the start points holds.
func begins(points []string, reached map[string]bool) bool {
	return slices.ContainsFunc(points, func(p string) bool { return reached[p] })
}

// ends tells whether a transaction ends: any of the stop points that it has
// reached holds no more.
func ends(points []string, seen, reached map[string]bool) bool {
	return slices.ContainsFunc(points, func(p string) bool { return seen[p] && !reached[p] })
}

// happened draws the conclusions from something that happened at an EVSE: a
// transaction begins, goes on or ends.
func (s *Station) happened(e *evse, h happening) {
	tx, reached := s.running(e), s.reached(e)
	if tx == nil {
		if !e.finished && s.usable(e) == nil && begins(s.model.List(model.TxStartPoint), reached) {
			s.begin(e, h)
		}
		return
	}
	if h.reason != "" && tx.Ending == "" {
		tx.Ending = string(h.reason)
	}
	for p, now := range reached {
		tx.Seen[p] = tx.Seen[p] || now
	}
	if ends(s.model.List(model.TxStopPoint), tx.Seen, reached) {
		s.end(e, tx, h, time.Time{})
		return
	}
	s.update(e, tx, h)
}

// begin is the first event of a transaction.
func (s *Station) begin(e *evse, h happening) {
	defer s.hold(e)()
	s.state.NextTransaction++
	tx := &Transaction{
		Number: s.state.NextTransaction, ID: uuid.NewString(), EVSE: e.id, Start: charger.Milliseconds(s.Now()),
		MeterWh: s.registerWh(e), BeginWh: e.outlet.RegisterWh(), Seen: s.reached(e),
	}
	s.state.Transactions[tx.Number] = tx
	s.state.EVSEs[e.id-1].Transaction = tx.Number
	e.sinceSample = e.outlet.RegisterWh()
	req := s.event(e, tx, ocpp21.TransactionEventStarted, h)
	req.EVSE = &ocpp21.EVSE{ID: int64(e.id), ConnectorID: ptr(int64(1))}
	req.MeterValue = s.reading(e, ocpp21.ReadingContextTransactionBegin, model.TxStartedMeasurands)
	if supply := e.outlet.Supply(); !supply.DC && e.plugged() {
		req.CableMaxCurrent = ptr(int64(supply.MaxA))
	}
	s.keepReading(e, tx, ocpp21.ReadingContextTransactionBegin, model.TxEndedMeasurands)
	s.enqueue(req, tx.Number)
	s.scheduleSamples(e)
	s.ticking()
}

// update is one in between.
func (s *Station) update(e *evse, tx *Transaction, h happening) {
	req := s.event(e, tx, ocpp21.TransactionEventUpdated, h)
	req.MeterValue = h.readings
	m := s.enqueue(req, tx.Number)
	m.Spare = h.trigger == ocpp21.TriggerReasonMeterValuePeriodic || h.trigger == ocpp21.TriggerReasonMeterValueClock
}

// end is the last event of a transaction. A time that is not zero is when it
// really ended.
func (s *Station) end(e *evse, tx *Transaction, h happening, when time.Time) {
	defer s.hold(e)()
	if when.IsZero() {
		s.keepReading(e, tx, ocpp21.ReadingContextTransactionEnd, model.TxEndedMeasurands)
		tx.MeterEndWh, tx.EndWh, tx.Stop = s.registerWh(e), e.outlet.RegisterWh(), charger.Milliseconds(s.Now())
	} else {
		tx.MeterEndWh, tx.EndWh = max(tx.MeterWh, int64(e.outlet.RegisterWh()+1e-6)), max(tx.BeginWh, e.outlet.RegisterWh())
		tx.Stop = charger.Milliseconds(when)
		if len(s.model.List(model.TxEndedMeasurands)) > 0 {
			tx.Data = append(tx.Data, Kept{Time: tx.Stop, Context: string(ocpp21.ReadingContextTransactionEnd), Values: []Value{{
				Measurand: string(ocpp21.MeasurandEnergyActiveImportRegister), Value: float64(tx.MeterEndWh), Unit: "Wh", Location: string(ocpp21.LocationOutlet),
			}}})
		}
	}
	if tx.Stop.Before(tx.Start) {
		tx.Stop = tx.Start
	}
	tx.Reason = tx.Ending
	if tx.Reason == "" {
		tx.Reason = string(ocpp21.ReasonOther)
		switch h.trigger {
		case ocpp21.TriggerReasonChargingStateChanged:
			tx.Reason = string(ocpp21.ReasonStoppedByEV)
		case ocpp21.TriggerReasonEVCommunicationLost, ocpp21.TriggerReasonEVDeparted:
			tx.Reason = string(ocpp21.ReasonEVDisconnected)
		}
	}
	e.finished = e.plugged()
	e.auth, e.waiting = nil, false
	req := s.event(e, tx, ocpp21.TransactionEventEnded, h)
	req.Timestamp = at(tx.Stop)
	req.TransactionInfo.StoppedReason = ocpp21.Reason(tx.Reason)
	req.MeterValue = kept(tx.Data)
	tx.Data = nil
	s.state.EVSEs[e.id-1].Transaction = 0
	name := strconv.Itoa(e.id)
	s.Off("sample " + name)
	s.Off("ended " + name)
	s.Off("plug " + name)
	s.endProfiles(tx.ID)
	delete(s.priority, tx.ID)
	s.endMessages(tx.ID)
	s.enqueue(req, tx.Number)
	if e.away { // the car went long ago
		e.outlet.Plug(nil)
		e.away, e.finished = false, false
	}
	s.applyLimits()
	s.afterTransaction()
}

// finish ends a transaction whatever TxStopPoint says.
func (s *Station) finish(e *evse, trigger ocpp21.TriggerReason, reason ocpp21.Reason) {
	if tx := s.running(e); tx != nil {
		s.advance(e)
		tx.Ending = string(reason)
		s.end(e, tx, happening{trigger: trigger, reason: reason}, time.Time{})
	}
}

// deauthorize takes the energy away; the transaction ends when TxStopPoint says
// so.
func (s *Station) deauthorize(e *evse, h happening) {
	s.advance(e)
	if e.auth == nil && s.running(e) == nil {
		return
	}
	e.auth, e.waiting = nil, false
	s.Off("plug " + strconv.Itoa(e.id))
	s.happened(e, h)
	if s.running(e) != nil {
		e.finished = e.plugged() // this car has had its charge
	}
}

// event makes a TransactionEvent with what all of them say.
func (s *Station) event(e *evse, tx *Transaction, kind ocpp21.TransactionEvent, h happening) *ocpp21.TransactionEventRequest {
	state := s.chargingState(e)
	s.countCharging(tx, state)
	changed := string(state) != tx.State
	tx.State = string(state)
	req := &ocpp21.TransactionEventRequest{
		EventType: kind, Timestamp: at(s.Now()), TriggerReason: h.trigger, SeqNo: tx.Sequence, Offline: optional(!s.Accepted()),
		TransactionInfo: ocpp21.Transaction{TransactionID: tx.ID},
	}
	if changed || kind != ocpp21.TransactionEventUpdated || h.trigger == ocpp21.TriggerReasonTrigger {
		req.TransactionInfo.ChargingState = state
	}
	tx.Sequence++
	if a := e.auth; a != nil && tx.Token == nil { // E03, E02.FR.15: once, in the first event after it was authorized
		token := a.token
		tx.Token, tx.Remote = &token, a.remote
		req.IDToken, req.ReservationID = token.message(), a.reservation
		req.TransactionInfo.RemoteStartID = optional(a.remote)
	}
	if h.token != nil {
		req.IDToken = h.token.message()
	}
	if kind == ocpp21.TransactionEventEnded || h.trigger == ocpp21.TriggerReasonTrigger {
		req.TransactionInfo.TimeSpentCharging = ptr(int64(tx.Charged / time.Second))
	}
	if changed && state == ocpp21.ChargingStateCharging && !e.outlet.Supply().DC && e.outlet.Car() != nil {
		req.NumberOfPhasesUsed = ptr(int64(min(phasesOf(e.outlet.Supply()), e.outlet.Car().ACPhases)))
	}
	s.Dirty()
	return req
}

// countCharging adds up the time in which energy flowed.
func (s *Station) countCharging(tx *Transaction, state ocpp21.ChargingState) {
	now := s.Now()
	if tx.ChargedAt != nil {
		tx.Charged += max(0, now.Sub(*tx.ChargedAt))
	}
	tx.ChargedAt = nil
	if state == ocpp21.ChargingStateCharging {
		tx.ChargedAt = &now
	}
}

// chargingState is that of an EVSE (E02).
func (s *Station) chargingState(e *evse) ocpp21.ChargingState {
	switch {
	case !e.plugged():
		return ocpp21.ChargingStateIdle
	case e.auth == nil:
		return ocpp21.ChargingStateEVConnected
	case !e.outlet.Offers(): // has precedence over SuspendedEV
		return ocpp21.ChargingStateSuspendedEVSE
	case !e.outlet.Wants():
		return ocpp21.ChargingStateSuspendedEV
	}
	return ocpp21.ChargingStateCharging
}

// followState tells of a charging state that changed by itself.
func (s *Station) followState(e *evse) {
	tx := s.running(e)
	if tx == nil {
		if e.auth != nil && e.plugged() && e.closed { // TxStartPoint EnergyTransfer
			s.happened(e, happening{trigger: ocpp21.TriggerReasonChargingStateChanged})
		}
		return
	}
	if string(s.chargingState(e)) != tx.State {
		s.happened(e, happening{trigger: ocpp21.TriggerReasonChargingStateChanged})
	}
}

// interrupted ends what ran when the power went, at that time; after a reset that
// resumes, it goes on.
func (s *Station) interrupted(when time.Time) {
	if s.state.Resume {
		return
	}
	for _, e := range s.evses {
		if tx := s.running(e); tx != nil {
			tx.Ending = string(ocpp21.ReasonPowerLoss)
			s.end(e, tx, happening{trigger: ocpp21.TriggerReasonAbnormalCondition}, when)
		}
	}
}

// resume goes on with transactions after a reset (2.1, B12).
func (s *Station) resume() {
	if !s.state.Resume {
		return
	}
	s.state.Resume = false
	for _, e := range s.evses {
		tx := s.running(e)
		if tx == nil {
			continue
		}
		if tx.Token != nil {
			e.auth = &authorization{token: *tx.Token, remote: tx.Remote}
		}
		s.happened(e, happening{trigger: ocpp21.TriggerReasonTxResumed})
		s.scheduleSamples(e)
		s.ticking()
	}
}

// Concluded takes the answer to a queued message.
func (s *Station) Concluded(m *charger.Message, answer any) {
	resp, ok := answer.(*ocpp21.TransactionEventResponse)
	tx := s.state.Transactions[m.Transaction]
	if !ok || tx == nil {
		return
	}
	var req ocpp21.TransactionEventRequest
	if _, err := req.Decode(m.Payload); err != nil {
		return
	}
	s.Dirty()
	if resp.TotalCost != nil {
		tx.Cost = *resp.TotalCost
	}
	if l := resp.TransactionLimit; l != nil && s.v21() {
		tx.Limits = &TxLimits{Cost: l.MaxCost, EnergyWh: l.MaxEnergy, Seconds: l.MaxTime, SoC: l.MaxSoC}
	}
	if info := resp.IDTokenInfo; info != nil && req.IDToken != nil {
		s.learn(req.IDToken.IDToken, *info)
		s.judgeRunning(tx, *info)
	}
	if req.EventType == ocpp21.TransactionEventEnded {
		s.closed(tx)
	}
}

// closed writes a transaction down whose end is confirmed.
func (s *Station) closed(tx *Transaction) {
	token := ""
	if tx.Token != nil {
		token = tx.Token.ID
		c := s.state.Customers[tokenKey(token)]
		c.Sessions, c.Seen = c.Sessions+1, tx.Stop
		s.state.Customers[tokenKey(token)] = c
	}
	s.Book.Session(ledger.Session{
		Time: charger.Milliseconds(time.Now()), Station: s.cfg.Identity, Version: s.cfg.Version, Personality: s.cfg.Personality,
		Connector: tx.EVSE, Token: token, Transaction: -1, TransactionID: tx.ID, Start: tx.Start, Stop: tx.Stop,
		MeterStart: tx.MeterWh, MeterStop: tx.MeterEndWh, Reason: tx.Reason, EnergyWh: tx.EndWh - tx.BeginWh, Samples: tx.Samples,
	})
	delete(s.state.Transactions, tx.Number)
}

// judgeRunning draws the conclusion from what the CSMS thinks of the token of a
// transaction that runs (E05).
func (s *Station) judgeRunning(tx *Transaction, info ocpp21.IDTokenInfo) {
	e := s.evse(int64(tx.EVSE))
	if s.running(e) != tx || info.Status == ocpp21.AuthorizationStatusAccepted {
		if g := info.GroupIDToken; g != nil && tx.Token != nil {
			tx.Token.Group = g.IDToken
		}
		return
	}
	s.Log.Info("the token of a running transaction is refused", "transaction", tx.ID, "status", string(info.Status))
	if s.model.Bool(model.StopOnInvalidID) {
		s.deauthorize(e, happening{trigger: ocpp21.TriggerReasonDeauthorized, reason: ocpp21.ReasonDeAuthorized})
		return
	}
	tx.Invalid, tx.InvalidWh = true, s.registerWh(e)
}

// Discarded is the fate of a message that the CSMS would not process.
func (s *Station) Discarded(m *charger.Message, err error) {
	if m.Action == ocpp21.ActionSecurityEventNotification && charger.Unsupported(err) {
		s.noSecurity = true
	}
	var req ocpp21.TransactionEventRequest
	if m.Action != ocpp21.ActionTransactionEvent {
		return
	}
	if _, err := req.Decode(m.Payload); err == nil && req.EventType == ocpp21.TransactionEventEnded {
		delete(s.state.Transactions, m.Transaction)
		s.Dirty()
	}
}

// observeLimits ends a transaction that has reached a limit of its own (2.1, E16).
func (s *Station) observeLimits(e *evse) {
	tx := s.running(e)
	if tx == nil || tx.Limits == nil || e.auth == nil {
		return
	}
	l := tx.Limits
	stop := func(trigger ocpp21.TriggerReason, reason ocpp21.Reason) {
		s.deauthorize(e, happening{trigger: trigger, reason: reason})
	}
	car := e.outlet.Car()
	switch {
	case l.EnergyWh != nil && e.outlet.RegisterWh()-tx.BeginWh >= *l.EnergyWh:
		stop(ocpp21.TriggerReasonEnergyLimitReached, ocpp21.ReasonEnergyLimitReached)
	case l.Seconds != nil && s.Now().Sub(tx.Start) >= time.Duration(*l.Seconds)*time.Second:
		stop(ocpp21.TriggerReasonTimeLimitReached, ocpp21.ReasonTimeLimitReached)
	case l.SoC != nil && car != nil && car.SoC*100 >= float64(*l.SoC):
		stop(ocpp21.TriggerReasonSoCLimitReached, ocpp21.ReasonSOCLimitReached)
	case l.Cost != nil && tx.Cost >= *l.Cost:
		stop(ocpp21.TriggerReasonCostLimitReached, ocpp21.ReasonLocalOutOfCredit)
	}
}

// afterTransaction does what had to wait until nothing was charging.
func (s *Station) afterTransaction() {
	for _, e := range s.evses {
		if s.running(e) != nil {
			return
		}
	}
	if s.scheduled {
		s.scheduled = false
		s.restart(ocpp21.BootReasonScheduledReset, resetPatience)
		return
	}
	s.firmware.resume()
}
