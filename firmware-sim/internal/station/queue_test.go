package station_test

import (
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// transactional lists the transaction-related messages that were said.
func (w *world) transactional() []string {
	var all []string
	for _, a := range w.actions() {
		switch a {
		case ocpp16.ActionStartTransaction, ocpp16.ActionStopTransaction, ocpp16.ActionMeterValues:
			all = append(all, a)
		}
	}
	return all
}

// §3.7: what happens offline is queued and delivered in order.
func TestOfflineQueue(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A") // online; the cache knows A from now on
		w.pass(15 * time.Second)
		w.unplugCable(true)
		w.pass(10 * time.Second)
		w.tap(1, "A")
		w.unplug(1)
		w.charge(1, "A")
		w.pass(25 * time.Second)
		w.unplug(1)
		if v := w.view(); v.Queue != 6 || v.Connected {
			t.Errorf("%d messages are queued, want 6: MeterValues, Stop, Start, two MeterValues, Stop", v.Queue)
		}
		w.pass(time.Hour)
		w.forget()
		w.unplugCable(false)
		w.pass(time.Minute)
		equal(t, "messages", w.transactional(), []string{
			"MeterValues", "StopTransaction", "StartTransaction", "MeterValues", "MeterValues", "StopTransaction",
		})
		stops, meters := of[*ocpp16.StopTransactionRequest](w), of[*ocpp16.MeterValuesRequest](w)
		if stops[0].TransactionID != 1 || stops[1].TransactionID != 2 || *meters[0].TransactionID != 1 || *meters[2].TransactionID != 2 {
			t.Errorf("transactions %d, %d and %d, %d; want 1, 2 and 1, 2", stops[0].TransactionID, stops[1].TransactionID, *meters[0].TransactionID, *meters[2].TransactionID)
		}
		for _, l := range w.lines("message", "StartTransaction") {
			if want := l.FirstSent.Sub(l.Created) > time.Hour; l.Offline != want || l.Attempts != 1 || !l.Confirmed {
				t.Errorf("the ledger says %+v", l)
			}
		}
		if v := w.view(); v.Queue != 0 {
			t.Errorf("%d messages are left", v.Queue)
		}
	}, keys("MeterValueSampleInterval", "10"))
}

// §3.7.1, the example of the specification: three attempts, 60 s between them,
// then 120; then the message is given up and the next one goes out.
func TestFailureToProcess(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.pass(10 * time.Minute)
		w.tap(1, "A")
		w.pass(10 * time.Minute)
		var starts []time.Duration
		for _, s := range w.said {
			if s.req.Action() == ocpp16.ActionStartTransaction {
				starts = append(starts, (s.at - w.said[0].at).Round(time.Second))
			}
		}
		equal(t, "waits", []time.Duration{starts[1] - starts[0], starts[2] - starts[1]}, []time.Duration{60 * time.Second, 120 * time.Second})
		equal(t, "messages", w.transactional(), []string{"StartTransaction", "StartTransaction", "StartTransaction", "StopTransaction"})
		// Errata §3.18: a transaction whose number was never learned is -1.
		if stop := of[*ocpp16.StopTransactionRequest](w)[0]; stop.TransactionID != -1 {
			t.Errorf("the stop is for %d, want -1", stop.TransactionID)
		}
		lines := w.lines("message", "StartTransaction")
		if len(lines) != 1 || lines[0].Confirmed || lines[0].Pending || lines[0].Attempts != 3 {
			t.Errorf("the ledger says %+v", lines)
		}
		if s := w.lines("session", ""); len(s) != 1 || s[0].Transaction != -1 {
			t.Errorf("the ledger says %+v", s)
		}
	}, keys("TransactionMessageAttempts", "3", "TransactionMessageRetryInterval", "60"), decides(func(s said) any {
		if s.req.Action() == ocpp16.ActionStartTransaction {
			return ocppj.InternalError
		}
		return nil
	}))
}

// Neither a lost connection nor silence is a failure to process: the message is
// repeated until it is answered, with the same id.
func TestRepeatedUntilAnswered(t *testing.T) {
	for name, fate := range map[string]any{"connection lost": hangup{}, "no answer": silence{}} {
		t.Run(name, func(t *testing.T) {
			left := 8
			live(t, func(w *world) {
				w.plug(1)
				w.tap(1, "A")
				w.pass(20 * time.Minute)
				ids := map[string]bool{}
				n := 0
				for _, s := range w.said {
					if s.req.Action() == ocpp16.ActionStartTransaction {
						n++
						ids[s.id] = true
					}
				}
				if n != 9 || len(ids) != 1 {
					t.Errorf("%d attempts with %d ids, want 9 with one", n, len(ids))
				}
				lines := w.lines("message", "StartTransaction")
				if len(lines) != 1 || !lines[0].Confirmed || lines[0].Attempts != 9 {
					t.Errorf("the ledger says %+v", lines)
				}
				if got := w.view().Connectors[0].Transaction; got != "1" {
					t.Errorf("transaction %q, want 1", got)
				}
			}, keys("TransactionMessageAttempts", "2", "TransactionMessageRetryInterval", "1"), decides(func(s said) any {
				if s.req.Action() == ocpp16.ActionStartTransaction && left > 0 {
					left--
					return fate
				}
				return nil
			}))
		})
	}
}

// An answer that comes after its time still counts, as long as the message waits
// to be repeated.
func TestLateAnswer(t *testing.T) {
	var id string
	live(t, func(w *world) {
		w.plug(1)
		w.tap(1, "A")
		w.pass(40 * time.Second) // 30 s of patience, then a wait of a minute
		w.conn.in <- ocppj.AppendResult(nil, id, []byte(`{"idTagInfo":{"status":"Accepted"},"transactionId":7}`))
		w.pass(5 * time.Minute)
		if got := w.view().Connectors[0].Transaction; got != "7" {
			t.Errorf("transaction %q, want 7", got)
		}
		equal(t, "messages", w.transactional(), []string{"StartTransaction"})
	}, keys("TransactionMessageRetryInterval", "60"), decides(func(s said) any {
		if s.req.Action() == ocpp16.ActionStartTransaction {
			id = s.id
			return silence{}
		}
		return nil
	}))
}

// OCPP-J §4.1.1: one CALL at a time; theirs are answered all the while.
func TestOneCallAtATime(t *testing.T) {
	live(t, func(w *world) {
		w.forget()
		w.plug(1)
		w.tap(1, "A")
		equal(t, "messages while the first is not answered", w.actions(), []string{"StatusNotification"})
		conf := ask[*ocpp16.GetConfigurationResponse](w, &ocpp16.GetConfigurationRequest{})
		if len(conf.ConfigurationKey) < 40 {
			t.Errorf("%d keys", len(conf.ConfigurationKey))
		}
		w.pass(2 * time.Minute)
		if actions := w.actions(); !slices.Contains(actions, "StartTransaction") && !slices.Contains(actions, "Authorize") {
			t.Errorf("nothing goes on after the time: %v", actions)
		}
	}, decides(func(s said) any {
		if r, ok := s.req.(*ocpp16.StatusNotificationRequest); ok && r.Status == ocpp16.ChargePointStatusPreparing {
			return silence{}
		}
		return nil
	}))
}

// Calls that are not transaction-related overtake a backlog.
func TestBacklogDoesNotDelayCards(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.unplugCable(true)
		w.pass(5 * time.Minute)
		w.forget()
		w.unplugCable(false)
		// The status of connector 2 and an Authorize come while thirty readings wait.
		for len(w.actions()) == 0 {
			w.pass(time.Second)
		}
		actions := w.actions()
		if actions[0] != "MeterValues" && actions[0] != "StatusNotification" {
			t.Errorf("messages %v", actions)
		}
		if n := len(w.transactional()); n != 30 {
			t.Errorf("%d readings were delivered, want 30", n)
		}
	}, connectors(2), keys("MeterValueSampleInterval", "10"))
}

// A full queue forgets readings, never starts and stops.
func TestQueueIsBounded(t *testing.T) {
	live(t, func(w *world) {
		w.unplugCable(true)
		for range 3 {
			w.charge(1, "A")
			w.pass(20 * time.Minute)
			w.unplug(1)
		}
		if n := w.view().Queue; n > 2000 {
			t.Errorf("%d messages are queued", n)
		}
		w.forget()
		w.unplugCable(false)
		w.pass(5 * time.Minute)
		starts, stops := of[*ocpp16.StartTransactionRequest](w), of[*ocpp16.StopTransactionRequest](w)
		if len(starts) != 3 || len(stops) != 3 || stops[2].TransactionID != 3 {
			t.Errorf("%d starts and %d stops arrived", len(starts), len(stops))
		}
		last := time.Time{}
		for _, m := range of[*ocpp16.MeterValuesRequest](w) {
			if at := m.MeterValue[0].Timestamp.Time; !at.After(last) {
				t.Errorf("a reading of %s after one of %s", at, last)
			} else {
				last = at
			}
		}
	}, keys("MeterValueSampleInterval", "1", "AllowOfflineTxForUnknownId", "true"))
}
