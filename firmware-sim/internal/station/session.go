package station

import (
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// start begins a transaction.
func (s *Station) start(c *connector, a admission) {
	c.waiting = nil
	s.Off("plug " + itoa(c.id))
	s.state.NextTransaction++
	tx := &Transaction{
		Number: s.state.NextTransaction, Connector: c.id, IDTag: a.tag, Parent: a.parent,
		Start: s.uniqueStart(), MeterWh: s.registerWh(c), BeginWh: c.outlet.RegisterWh(),
	}
	s.state.Transactions[tx.Number] = tx
	s.state.Connectors[c.id-1].Transaction = tx.Number
	c.finished, c.info, c.sinceSample = false, "", c.outlet.RegisterWh()
	if a.profile != nil {
		s.state.Profiles.Install(c.id, *a.profile, s.Now(), s.bounds())
	}
	s.enqueue(&ocpp16.StartTransactionRequest{
		ConnectorID: int64(c.id), IDTag: a.tag, MeterStart: tx.MeterWh, Timestamp: at(tx.Start),
		ReservationID: s.useReservation(c, a.tag, a.parent),
	}, tx.Number)
	s.sampleForStop(c, tx, ocpp16.ReadingContextTransactionBegin, keys.StopTxnSampledData)
	s.scheduleSample(c)
	if !s.Awaits("tick") {
		s.In("tick", s.tickDelay(), s.tick)
	}
}

// uniqueStart is now in whole seconds, moved on where that second has been used:
// connector, token, register and time are all that tells two starts apart.
func (s *Station) uniqueStart() time.Time {
	t := s.Now().Truncate(time.Second)
	for slices.Contains(s.state.LastStarts, t.Unix()) {
		t = t.Add(time.Second)
	}
	s.state.LastStarts = append(s.state.LastStarts, t.Unix())
	if n := len(s.state.LastStarts) - 32; n > 0 {
		s.state.LastStarts = slices.Delete(s.state.LastStarts, 0, n)
	}
	return t
}

// stop ends a transaction. Tag is the card that did it, empty for none.
func (s *Station) stop(c *connector, reason ocpp16.Reason, tag string) {
	tx := s.running(c)
	if tx == nil {
		return
	}
	s.sampleForStop(c, tx, ocpp16.ReadingContextTransactionEnd, keys.StopTxnSampledData)
	tx.MeterEndWh, tx.EndWh = s.registerWh(c), c.outlet.RegisterWh()
	s.conclude(c, tx, later(charger.Milliseconds(s.Now()), tx.Start), reason, tag)
	c.finished = c.outlet.Car() != nil && !c.away
	if c.away { // the car went long ago
		c.outlet.Plug(nil)
		c.away = false
	}
	s.applyLimits()
	s.afterTransaction()
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// conclude makes the StopTransaction.
func (s *Station) conclude(c *connector, tx *Transaction, end time.Time, reason ocpp16.Reason, tag string) {
	tx.Stop, tx.Reason = end, reason
	s.state.Connectors[c.id-1].Transaction = 0
	s.Off("sample " + itoa(c.id))
	s.state.Profiles.EndTransaction(c.id)
	s.enqueue(&ocpp16.StopTransactionRequest{
		IDTag: tag, MeterStop: tx.MeterEndWh, Timestamp: at(end), TransactionID: tx.id(), Reason: reason, TransactionData: tx.Data,
	}, tx.Number)
	tx.Data = nil
}

// interrupted ends what ran when the power went, at that time.
func (s *Station) interrupted(when time.Time) {
	for _, c := range s.connectors {
		tx := s.running(c)
		if tx == nil {
			continue
		}
		tx.MeterEndWh, tx.EndWh = max(tx.MeterWh, int64(c.outlet.RegisterWh()+1e-6)), max(tx.BeginWh, c.outlet.RegisterWh())
		s.conclude(c, tx, later(charger.Milliseconds(when), tx.Start), ocpp16.ReasonPowerLoss, "")
	}
}

// Concluded takes the answer to a message of the queue.
func (s *Station) Concluded(m *charger.Message, answer any) {
	tx := s.state.Transactions[m.Transaction]
	switch resp := answer.(type) {
	case *ocpp16.StartTransactionResponse:
		if tx != nil {
			s.started(tx, resp)
		}
	case *ocpp16.StopTransactionResponse:
		if tx == nil {
			return
		}
		if resp.IDTagInfo != nil {
			var req ocpp16.StopTransactionRequest
			if _, err := req.Decode(m.Payload); err == nil {
				s.learn(req.IDTag, *resp.IDTagInfo)
			}
		}
		s.Book.Session(ledger.Session{
			Time: charger.Milliseconds(time.Now()), Station: s.cfg.Identity, Version: ocppj.V16, Personality: s.cfg.Personality, Connector: tx.Connector, Token: tx.IDTag, Transaction: tx.id(),
			Start: tx.Start, Stop: tx.Stop, MeterStart: tx.MeterWh, MeterStop: tx.MeterEndWh, Reason: string(tx.Reason), Samples: tx.Samples,
			EnergyWh: tx.EndWh - tx.BeginWh,
		})
		delete(s.state.Transactions, tx.Number)
		s.Dirty()
	}
}

// started takes a StartTransaction.conf.
func (s *Station) started(tx *Transaction, resp *ocpp16.StartTransactionResponse) {
	tx.ID, tx.Known = resp.TransactionID, true
	s.Dirty()
	s.learn(tx.IDTag, resp.IDTagInfo)
	c := s.connector(int64(tx.Connector))
	j := s.judge(resp.IDTagInfo)
	if j.parent != "" {
		tx.Parent = j.parent
	}
	if resp.IDTagInfo.Status == ocpp16.AuthorizationStatusAccepted || s.running(c) != tx {
		return
	}
	s.Log.Info("the token of a running transaction is refused", "transaction", tx.ID, "status", string(resp.IDTagInfo.Status))
	if s.keys.Bool(keys.StopTransactionOnInvalidID) { // §3.5.4
		s.stop(c, ocpp16.ReasonDeAuthorized, "")
		return
	}
	tx.Invalid, tx.InvalidWh = true, s.registerWh(c)
}

// Discarded is the fate of a message that the central system would not process.
func (s *Station) Discarded(m *charger.Message, err error) {
	if m.Action == ocpp16.ActionSecurityEventNotification && charger.Unsupported(err) {
		s.noSecurity = true
	}
	if m.Action == ocpp16.ActionStopTransaction {
		delete(s.state.Transactions, m.Transaction)
		s.Dirty()
	}
}

// afterTransaction does what had to wait until nothing was charging.
func (s *Station) afterTransaction() {
	for _, c := range s.connectors {
		if s.running(c) != nil {
			return
		}
	}
	s.firmware.resume()
}
