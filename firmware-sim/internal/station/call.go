package station

import (
	"fmt"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// call is a CALL of ours that is not transaction-related.
type call = charger.Call

// say makes a call that is not transaction-related.
func (s *Station) say(req ocpp16.Request, answered func(ocpp16.Response, error)) *call {
	var then func(any, error)
	if answered != nil {
		then = func(answer any, err error) {
			resp, _ := answer.(ocpp16.Response) // nil when err says why
			answered(resp, err)
		}
	}
	return s.Say(req.Action(), req.AppendJSON(nil), then)
}

// enqueue puts a transaction-related message at the end of the queue.
func (s *Station) enqueue(req ocpp16.Request, tx int64) *charger.Message {
	m := s.Enqueue(req.Action(), req.AppendJSON(nil), tx)
	m.Spare = m.Action == ocpp16.ActionMeterValues
	return m
}

// Answer reads the payload of an answer.
func (s *Station) Answer(action string, payload []byte) (any, error) {
	req, ok := ocpp16.NewRequest(action)
	if !ok {
		return nil, fmt.Errorf("%s is no action of OCPP 1.6", action)
	}
	resp := req.NewResponse()
	_, err := resp.Decode(payload)
	return resp, err
}

// Complete fills in the transactionId, which may have become known since the
// message was made.
func (s *Station) Complete(m *charger.Message) []byte {
	tx := s.state.Transactions[m.Transaction]
	switch m.Action {
	case ocpp16.ActionStopTransaction:
		var req ocpp16.StopTransactionRequest
		if _, err := req.Decode(m.Payload); err == nil {
			req.TransactionID = tx.id()
			return req.AppendJSON(nil)
		}
	case ocpp16.ActionMeterValues:
		var req ocpp16.MeterValuesRequest
		if _, err := req.Decode(m.Payload); err == nil {
			id := tx.id()
			req.TransactionID = &id
			return req.AppendJSON(nil)
		}
	}
	return m.Payload
}
