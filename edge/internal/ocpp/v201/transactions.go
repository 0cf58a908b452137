package v201

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/metering"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// transactionEvents and meterReadings are messages that are being handled, to be
// used again: they are most of what a station sends, and their lists are long.
var (
	transactionEvents = sync.Pool{New: func() any { return new(ocpp201.TransactionEventRequest) }}
	meterReadings     = sync.Pool{New: func() any { return new(ocpp201.MeterValuesRequest) }}
)

// usualReadings is the largest payload, in bytes, whose lists are kept.
const usualReadings = 8 << 10

// maxRunning bounds the transactions of one connection that are remembered.
const maxRunning = 64

// transactionEvent always confirms: a station repeats an event until it is
// confirmed, and everything that came after it waits. OCPP 2.0.1 E03 remarks,
// E13.
func (p *Peer) transactionEvent(b, payload []byte) ([]byte, error) {
	m := transactionEvents.Get().(*ocpp201.TransactionEventRequest)
	if len(payload) <= usualReadings {
		defer transactionEvents.Put(m)
	}
	wrong, err := p.decode(m, payload, "meterValue", "timestamp", "triggerReason", "seqNo", "offline", "numberOfPhasesUsed",
		"cableMaxCurrent", "reservationId", "evse", "idToken", "transactionInfo.chargingState", "transactionInfo.timeSpentCharging",
		"transactionInfo.stoppedReason", "transactionInfo.remoteStartId")
	if err != nil && p.c.Config().Strict {
		return b, err
	}
	if err != nil {
		return p.keepTransactionEvent(b, payload, nil, err.Error())
	}
	step, ok := stepOf(m.EventType)
	id := strings.TrimSpace(m.TransactionInfo.TransactionID)
	if !ok || id == "" {
		return p.keepTransactionEvent(b, payload, nil, "expected the event types of the standard and a transactionId")
	}
	report := site.TransactionReport{
		Step: step, Transaction: id, Time: timeOf(m.Timestamp), Trigger: triggerOf(m.TriggerReason), Offline: isTrue(m.Offline),
		ChargingState: chargingStateOf(m.TransactionInfo.ChargingState),
		Readings:      p.samplesOf(m.MeterValue, wrong),
	}
	if !wrong.lacks("seqNo") {
		seq := m.SeqNo
		report.Sequence = &seq
	}
	if known := p.running[id]; known != nil && known.ended && step == site.TransactionStarted {
		delete(p.running, id) // the station gives the same id again
	}
	if report.EVSE, report.Connector, err = p.whereIs(id, m.EVSE); err != nil {
		p.c.Deviated("evse_unusable", "", err.Error())
	}
	if m.IDToken != nil && (m.IDToken.IDToken != "" || m.IDToken.Type.Fold() == ocpp201.IDTokenTypeNoAuthorization) {
		token := tokenOf(m.IDToken)
		report.Token = &token
	}
	if n := m.TransactionInfo.RemoteStartID; n != nil {
		report.RemoteStart = small(*n)
	}
	if m.ReservationID != nil {
		report.Reservation = small(*m.ReservationID)
	}
	if m.NumberOfPhasesUsed != nil && *m.NumberOfPhasesUsed <= 3 {
		report.PhasesUsed = small(*m.NumberOfPhasesUsed)
	}
	if m.CableMaxCurrent != nil {
		report.CableMaxA = small(*m.CableMaxCurrent)
	}
	if step == site.TransactionEnded {
		report.Reason = reasonOf(m.TransactionInfo.StoppedReason, report.Trigger)
	}
	report.Suspect = p.implausible(&report)
	result, err := p.st.Transaction(report)
	if errors.Is(err, site.ErrNotKept) {
		return b, err
	}
	if err != nil {
		return p.keepTransactionEvent(b, payload, nil, err.Error())
	}
	p.follow(&report)
	answer := p.transactionAnswer(&result, report.Token != nil)
	return answer.AppendJSON(b), nil
}

// transactionAnswer answers an event: about the token where it named one
// (E01.FR.12), of whatever type (C02.FR.02), and with what the session costs where
// that is known. Left out it means that nobody knows; 0.00, that it was for free.
func (p *Peer) transactionAnswer(r *site.TransactionResult, named bool) ocpp201.TransactionEventResponse {
	answer := ocpp201.TransactionEventResponse{TotalCost: r.TotalCost}
	if named && r.Decision != "" {
		info := p.tokenInfo(r.AuthorizeResult)
		answer.IDTokenInfo = &info
	}
	return answer
}

// stepOf reads the type of an event.
func stepOf(word ocpp201.TransactionEvent) (step site.TransactionStep, ok bool) {
	switch word.Fold() {
	case ocpp201.TransactionEventStarted:
		return site.TransactionStarted, true
	case ocpp201.TransactionEventUpdated:
		return site.TransactionUpdated, true
	case ocpp201.TransactionEventEnded:
		return site.TransactionEnded, true
	}
	return 0, false
}

// whereIs returns where a transaction runs: what the event says, else what one
// before it said. Only the first after the car was plugged in has to (E01.FR.16).
func (p *Peer) whereIs(id string, at *ocpp201.EVSE) (evse, connector int, err error) {
	if at != nil {
		var n int64
		if at.ConnectorID != nil {
			n = *at.ConnectorID
		}
		evse, connector, err = place(at.ID, n)
	}
	if r := p.running[id]; r != nil {
		switch {
		case evse == 0:
			return r.evse, r.connector, err
		case evse == r.evse && connector == 0:
			return evse, r.connector, err
		}
	}
	return evse, connector, err
}

// seen returns what is remembered of a transaction.
func (p *Peer) seen(id string) *running {
	known := p.running[id]
	if known != nil {
		return known
	}
	if p.running == nil {
		p.running = map[string]*running{}
	}
	if len(p.running) >= maxRunning {
		maps.DeleteFunc(p.running, func(_ string, r *running) bool { return r.ended })
	}
	if len(p.running) >= maxRunning { // a station that never ends any
		clear(p.running)
	}
	known = new(running)
	p.running[id] = known
	return known
}

// follow remembers the transactions that run, for orders that name one and for
// events that do not say where.
func (p *Peer) follow(r *site.TransactionReport) {
	known := p.seen(r.Transaction)
	known.evse, known.connector = r.EVSE, r.Connector
	switch r.Step {
	case site.TransactionEnded: // remembered: events from before may follow
		known.ended = true
	case site.TransactionStarted: // one transaction runs at an EVSE
		for id, other := range p.running {
			if id != r.Transaction && r.EVSE != 0 && other.evse == r.EVSE {
				other.ended = true
			}
		}
	}
}

// implausible tells whether the readings of a transaction contradict each other
// or those before: quirk 69.
func (p *Peer) implausible(r *site.TransactionReport) bool {
	if len(r.Readings) == 0 {
		return false
	}
	known := p.seen(r.Transaction)
	if r.Step == site.TransactionStarted {
		known.watch.Begin(r.Time.Time, r.Readings[0].EnergyWh)
	}
	why, contradicts := known.watch.Contradicts(r.Readings)
	if contradicts {
		p.c.Deviated("energy_implausible", "", why)
	}
	return contradicts
}

// keepTransactionEvent confirms an event that cannot be used, and keeps it as it
// came: payload where it is JSON, text where it is not.
func (p *Peer) keepTransactionEvent(b, payload, text []byte, why string) ([]byte, error) {
	p.c.Warn("event of a transaction cannot be used, kept as it came", "reason", why)
	p.c.Deviated("transaction_event_unusable", "", why)
	report := site.DataReport{Action: ocpp201.ActionTransactionEvent, Payload: bytes.Clone(payload), Text: string(text), Reason: why}
	if err := p.st.Data(report); err != nil {
		return b, err
	}
	return (&ocpp201.TransactionEventResponse{}).AppendJSON(b), nil
}

// meterValues are values outside of transactions. OCPP 2.0.1 J01.
func (p *Peer) meterValues(b, payload []byte) ([]byte, error) {
	m := meterReadings.Get().(*ocpp201.MeterValuesRequest)
	if len(payload) <= usualReadings {
		defer meterReadings.Put(m)
	}
	wrong, err := p.decode(m, payload, "meterValue", "evseId")
	if err != nil {
		return b, err
	}
	evse, _, err := place(m.EVSEID, 0)
	if err != nil {
		return b, err
	}
	report := site.MeterReport{EVSE: evse, Samples: p.samplesOf(m.MeterValue, wrong)}
	switch {
	case wrong.lacks("evseId"):
		err = p.keep(m.Action(), payload, wrong[0].String())
	case len(report.Samples) > 0:
		err = p.st.Meter(report)
	case len(wrong) > 0: // nothing of it could be read
		err = p.keep(m.Action(), payload, wrong[0].String())
	}
	if err != nil {
		return b, err
	}
	return (&ocpp201.MeterValuesResponse{}).AppendJSON(b), nil
}

// samplesOf turns meter values into samples. What decode found wrong in them is
// no zero.
func (p *Peer) samplesOf(values []ocpp201.MeterValue, wrong borne) []event.Sample {
	if len(values) == 0 {
		return nil
	}
	profile := p.c.Profile()
	rules := metering.Rules{V2: true, Odd: p.count, EnergyScale: profile.EnergyScale, PowerScale: profile.PowerScale}
	samples := make([]event.Sample, 0, len(values))
	damaged := wrong.below("meterValue")
	apart := damaged && wrong.tellsZeros(values)
	var v metering.Value
	next := func(at, n int) {
		s := &values[at].SampledValue[n]
		readValue(s, &v)
		if !damaged || v.Number != 0 {
			return
		}
		if path := valuePath(at, n); !apart || wrong.lacks(path) {
			v.IsNumber, v.Text = false, wrong.got(path)
		}
	}
	for i := range values {
		mv := &values[i]
		m := rules.At(mv.Timestamp)
		for n := range mv.SampledValue {
			next(i, n)
			m.Take(&v)
		}
		for n := 0; m.Elsewhere() && n < len(mv.SampledValue); n++ {
			if mv.SampledValue[n].Location != "" {
				next(i, n)
				m.TakeElsewhere(&v)
			}
		}
		samples = m.Append(samples)
	}
	return samples
}

// below tells that something below a field was wrong.
func (b borne) below(field string) bool {
	for i := range b {
		if strings.HasPrefix(b[i].Path, field) {
			return true
		}
	}
	return false
}

// valuePath is where the number of a sampled value stands in a payload.
func valuePath(at, n int) string { return fmt.Sprintf("meterValue[%d].sampledValue[%d].value", at, n) }

// tellsZeros tells that each number that could not be read is known to be one of
// those that decode left at zero: the others were written so. Where elements were
// left out nobody can tell.
func (b borne) tellsZeros(values []ocpp201.MeterValue) bool {
	found := 0
	for i := range values {
		for n := range values[i].SampledValue {
			if values[i].SampledValue[n].Value == 0 && b.lacks(valuePath(i, n)) {
				found++
			}
		}
	}
	for i := range b {
		switch path := b[i].Path; {
		case !strings.HasPrefix(path, "meterValue"):
		case strings.HasSuffix(path, ".value"):
			found--
		case strings.HasSuffix(path, "]"): // of a whole element
			return false
		}
	}
	return found == 0
}

// got returns what was written at path.
func (b borne) got(path string) string {
	for i := range b {
		if b[i].Path == path {
			return strings.Trim(b[i].Got, `"`)
		}
	}
	return ""
}

// readValue reads a sampled value.
func readValue(v *ocpp201.SampledValue, to *metering.Value) {
	*to = metering.Value{
		Measurand: string(v.Measurand), Context: string(v.Context), Phase: string(v.Phase), Location: string(v.Location),
		Number: v.Value, IsNumber: true,
	}
	if u := v.UnitOfMeasure; u != nil {
		to.Unit = u.Unit
		if u.Multiplier != nil {
			to.Multiplier = *u.Multiplier
		}
	}
	if s := v.SignedMeterValue; s != nil {
		to.Signed = &event.Signed{Data: s.SignedMeterData, Method: s.SigningMethod, Encoding: s.EncodingMethod, Key: s.PublicKey}
	}
}

// Damaged implements ocpp.Peer. A frame that was meant to be the event of a
// transaction is mended as far as its letters go, else kept and confirmed.
func (p *Peer) Damaged(b, frame []byte, damage *ocppj.ParseError, _ time.Time) ([]byte, error) {
	if meansTransaction(frame, damage) {
		mended, err := ocppj.Parse(bytes.ToValidUTF8(frame, []byte("\uFFFD")))
		if err == nil && mended.Type == ocppj.Call && mended.Action == ocpp201.ActionTransactionEvent {
			return p.transactionEvent(b, mended.Payload)
		}
		return p.keepTransactionEvent(b, nil, bounded(frame), damage.Reason)
	}
	report := site.DataReport{Text: string(bounded(frame)), Reason: damage.Error()}
	if err := p.st.Data(report); err != nil {
		return b, err
	}
	return b, refusal(damage.Code, damage.Reason)
}

// meansTransaction tells whether a damaged frame was the call TransactionEvent.
func meansTransaction(frame []byte, damage *ocppj.ParseError) bool {
	const reach = 600 // an id of 255 bytes may stand before the action
	return damage.ID != "" && (damage.Type == ocppj.Call || damage.Type == 0) &&
		bytes.Contains(frame[:min(len(frame), reach)], []byte(`"`+ocpp201.ActionTransactionEvent+`"`))
}

// bounded returns at most the first 8 KiB of a frame, as valid UTF-8.
func bounded(frame []byte) []byte {
	return bytes.ToValidUTF8(frame[:min(len(frame), 8<<10)], []byte("\uFFFD"))
}
