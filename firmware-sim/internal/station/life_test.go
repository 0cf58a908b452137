package station_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// §4.2, errata §3.22
func TestBoot(t *testing.T) {
	tests := []struct {
		name    string
		answers []any // to BootNotifications, in order; then Accepted
		boots   []time.Duration
	}{
		{"accepted", nil, []time.Duration{0}},
		{"pending, then accepted", []any{boot(ocpp16.RegistrationStatusPending, 20)}, []time.Duration{0, 20 * time.Second}},
		{"rejected, then accepted", []any{boot(ocpp16.RegistrationStatusRejected, 45), boot(ocpp16.RegistrationStatusRejected, 10)}, []time.Duration{0, 45 * time.Second, 55 * time.Second}},
		{"not answered", []any{silence{}}, []time.Duration{0, time.Minute}},
		{"an error", []any{ocppj.InternalError}, []time.Duration{0, 30 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			live(t, func(w *world) {
				w.pass(2 * time.Minute)
				var boots []time.Duration
				for _, s := range w.said {
					if s.req.Action() == ocpp16.ActionBootNotification {
						boots = append(boots, (s.at - w.said[0].at).Round(time.Second))
					}
				}
				equal(t, "BootNotifications", boots, tt.boots)
				actions := w.actions()
				want := append(slices.Repeat([]string{ocpp16.ActionBootNotification}, len(tt.boots)),
					ocpp16.ActionStatusNotification, ocpp16.ActionStatusNotification, ocpp16.ActionStatusNotification, ocpp16.ActionSecurityEventNotification)
				equal(t, "messages", actions[:min(len(want), len(actions))], want)
				equal(t, "statuses of the whole", w.statuses(0), []string{"Available"})
				equal(t, "statuses", w.statuses(2), []string{"Available"})
			}, connectors(2), decides(func(s said) any {
				if s.req.Action() != ocpp16.ActionBootNotification || n >= len(tt.answers) {
					return nil
				}
				n++
				return tt.answers[n-1]
			}))
		})
	}
}

// §4.2: while Pending the charge point answers, but says only what it is asked
// for; while Rejected it does neither.
func TestBeforeAcceptance(t *testing.T) {
	for _, status := range []ocpp16.RegistrationStatus{ocpp16.RegistrationStatusPending, ocpp16.RegistrationStatusRejected} {
		t.Run(string(status), func(t *testing.T) {
			live(t, func(w *world) {
				w.plug(1)
				equal(t, "messages", w.actions(), []string{"BootNotification"})
				heartbeat := w.call("TriggerMessage", `{"requestedMessage":"Heartbeat"}`)
				remote := w.call("RemoteStartTransaction", `{"idTag":"A"}`)
				if status == ocpp16.RegistrationStatusRejected {
					if heartbeat.Type != 0 || remote.Type != 0 {
						t.Errorf("answered %+v and %+v while rejected", heartbeat, remote)
					}
					equal(t, "messages", w.actions(), []string{"BootNotification"})
					return
				}
				if string(heartbeat.Payload) != `{"status":"Accepted"}` || string(remote.Payload) != `{"status":"Rejected"}` {
					t.Errorf("trigger and remote start were answered with %s and %s", heartbeat.Payload, remote.Payload)
				}
				equal(t, "messages", w.actions(), []string{"BootNotification", "Heartbeat"})
			}, decides(func(s said) any {
				if s.req.Action() == ocpp16.ActionBootNotification {
					return boot(status, 600)
				}
				return nil
			}))
		})
	}
}

// OCPP-J §5.4: no BootNotification on a mere reconnect; §4.9: a status that
// changed meanwhile is sent, one that did not is not.
func TestReconnect(t *testing.T) {
	live(t, func(w *world) {
		w.forget()
		w.unplugCable(true)
		w.pass(time.Minute)
		w.plug(1)
		w.unplug(1)
		w.plug(1)
		w.unplugCable(false)
		w.pass(30 * time.Second)
		equal(t, "messages", w.actions(), []string{"StatusNotification"})
		equal(t, "statuses", w.statuses(1), []string{"Preparing"})
		w.forget()
		w.unplugCable(true)
		w.unplugCable(false)
		w.pass(30 * time.Second)
		equal(t, "messages", w.actions(), []string(nil))
	}, keys("ConnectionTimeOut", "0"), connectors(2))
}

func TestBackoff(t *testing.T) {
	live(t, func(w *world) {
		w.unplugCable(true)
		before := w.attempts()
		w.pass(5 * time.Minute)
		if n := w.attempts() - before; n < 15 || n > 40 { // 1, 2, 4, 8, then 16 s, each ± 25 %
			t.Errorf("%d attempts in five minutes", n)
		}
	})
}

// A central system that has forgotten us is told again who we are.
func TestSecurityErrorBootsAnew(t *testing.T) {
	forgotten := true
	live(t, func(w *world) {
		w.charge(1, "A")
		w.pass(10 * time.Second)
		if n := len(of[*ocpp16.BootNotificationRequest](w)); n != 2 {
			t.Errorf("%d BootNotifications, want 2: %v", n, w.actions())
		}
		if n := len(w.lines("message", "StartTransaction")); n != 1 || !w.lines("message", "StartTransaction")[0].Confirmed {
			t.Errorf("the start was not confirmed: %v", w.actions())
		}
	}, decides(func(s said) any {
		if s.req.Action() == ocpp16.ActionStartTransaction && forgotten {
			forgotten = false
			return ocppj.SecurityError
		}
		return nil
	}))
}

func TestHeartbeatSetsClock(t *testing.T) {
	live(t, func(w *world) {
		w.must(w.st.SkewClock(w.t.Context(), -time.Hour))
		w.plug(1)
		last := of[*ocpp16.StatusNotificationRequest](w)
		if skew := time.Since(last[len(last)-1].Timestamp.Time).Round(time.Second); skew != time.Hour {
			t.Errorf("the clock is %s behind, want an hour", skew)
		}
		w.pass(10 * time.Minute)
		if n := len(of[*ocpp16.HeartbeatRequest](w)); n != 2 {
			t.Errorf("%d heartbeats in ten minutes of 300 s, want 2", n)
		}
		w.unplug(1)
		last = of[*ocpp16.StatusNotificationRequest](w)
		if skew := time.Since(last[len(last)-1].Timestamp.Time).Abs(); skew > time.Second {
			t.Errorf("the clock is off by %s after a heartbeat", skew)
		}
	})
}

// A whole session, and what the ledger says of it.
func TestSession(t *testing.T) {
	live(t, func(w *world) {
		w.forget()
		w.charge(1, "CAFE01")
		w.pass(35 * time.Second)
		w.tap(1, "cafe01") // CiString: case does not matter
		w.pass(time.Second)
		w.unplug(1)
		equal(t, "statuses", w.statuses(1), []string{"Preparing", "Charging", "Finishing", "Available"})
		equal(t, "messages", w.actions(), []string{
			"StatusNotification", "Authorize", "StartTransaction", "StatusNotification",
			"MeterValues", "MeterValues", "MeterValues", "StopTransaction", "StatusNotification", "StatusNotification",
		})
		start, stop := of[*ocpp16.StartTransactionRequest](w)[0], of[*ocpp16.StopTransactionRequest](w)[0]
		if start.MeterStart != 1000 || start.Timestamp.Time.Nanosecond() != 0 {
			t.Errorf("start at %d Wh, %s; want 1000 Wh in a whole second", start.MeterStart, start.Timestamp.Time)
		}
		// 16 A of three phases for 35 s are about 107 Wh.
		if got := stop.MeterStop - start.MeterStart; got < 95 || got > 115 {
			t.Errorf("%d Wh were charged, want about 107", got)
		}
		if stop.TransactionID != 1 || stop.Reason != ocpp16.ReasonLocal || !strings.EqualFold(stop.IDTag, "CAFE01") {
			t.Errorf("stop %+v; want transaction 1, Local, CAFE01", stop)
		}
		var contexts []string
		for _, v := range stop.TransactionData {
			contexts = append(contexts, string(v.SampledValue[0].Context))
		}
		equal(t, "contexts", contexts, []string{"Transaction.Begin", "Sample.Periodic", "Sample.Periodic", "Sample.Periodic", "Transaction.End"})
		last := ""
		for _, m := range of[*ocpp16.MeterValuesRequest](w) {
			v := m.MeterValue[0].SampledValue
			if *m.TransactionID != 1 || len(v) != 9 || v[0].Value <= last {
				t.Errorf("MeterValues %+v; want 9 values with a growing register, transaction 1", v)
			}
			last = v[0].Value
		}
		sessions := w.lines("session", "")
		if len(sessions) != 1 {
			t.Fatalf("%d sessions in the ledger", len(sessions))
		}
		s := sessions[0]
		if s.Transaction != 1 || s.Connector != 1 || s.Token != "CAFE01" || s.MeterStart != 1000 || s.MeterStop != stop.MeterStop || s.Reason != "Local" || s.Samples != 3 ||
			!s.Start.Equal(start.Timestamp.Time) || !s.Stop.Equal(stop.Timestamp.Time) {
			t.Errorf("the ledger says %+v of %+v %+v", s, start, stop)
		}
		if n := len(w.lines("message", "Heartbeat")); n != 0 {
			t.Errorf("%d heartbeats in the ledger", n)
		}
	}, keys("MeterValueSampleInterval", "10", "StopTxnSampledData", "Energy.Active.Import.Register"))
}

// Two starts in one second get two timestamps.
func TestUniqueStarts(t *testing.T) {
	live(t, func(w *world) {
		for range 3 {
			w.charge(1, "A")
			w.unplug(1)
		}
		w.charge(2, "A")
		seen := map[int64]bool{}
		for i, r := range of[*ocpp16.StartTransactionRequest](w) {
			if seen[r.Timestamp.Time.Unix()] {
				t.Errorf("start %d repeats %s", i, r.Timestamp.Time)
			}
			seen[r.Timestamp.Time.Unix()] = true
		}
		for i, r := range of[*ocpp16.StopTransactionRequest](w) {
			if start := of[*ocpp16.StartTransactionRequest](w)[i]; r.Timestamp.Time.Before(start.Timestamp.Time) {
				t.Errorf("stop %d at %s is before its start at %s", i, r.Timestamp.Time, start.Timestamp.Time)
			}
		}
	}, connectors(2))
}

func TestClockAlignedValues(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.forget()
		w.pass(time.Hour)
		w.tap(1, "A")
		times := map[int64][]string{}
		for _, m := range of[*ocpp16.MeterValuesRequest](w) {
			at := m.MeterValue[0].Timestamp.Time
			if at.Minute()%15 != 0 || at.Second() != 0 || m.MeterValue[0].SampledValue[0].Context != ocpp16.ReadingContextSampleClock {
				t.Errorf("%s %s is not aligned", at, m.MeterValue[0].SampledValue[0].Context)
			}
			if (m.TransactionID != nil) != (m.ConnectorID == 1) {
				t.Errorf("connector %d with transaction %v", m.ConnectorID, m.TransactionID)
			}
			times[m.ConnectorID] = append(times[m.ConnectorID], at.Format("15:04"))
		}
		if len(times[1]) != 4 || len(times[2]) != 4 {
			t.Errorf("readings at %v; want four of each connector", times)
		}
		stop := of[*ocpp16.StopTransactionRequest](w)[0]
		if len(stop.TransactionData) != 4 || stop.TransactionData[0].SampledValue[0].Measurand != ocpp16.MeasurandVoltage {
			t.Errorf("the stop carries %+v; want four readings of voltage", stop.TransactionData)
		}
	}, connectors(2), keys("ClockAlignedDataInterval", "900", "StopTxnAlignedData", "Voltage"))
}

func TestMinimumStatusDuration(t *testing.T) {
	live(t, func(w *world) {
		w.forget()
		w.plug(1)
		w.pass(5 * time.Second)
		w.unplug(1)
		w.pass(time.Minute)
		equal(t, "statuses of a short visit", w.statuses(1), []string(nil))
		w.plug(1)
		w.pass(time.Minute)
		equal(t, "statuses of a long one", w.statuses(1), []string{"Preparing"})
	}, keys("MinimumStatusDuration", "10"))
}

func TestFaults(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.forget()
		w.must(w.st.Fault(w.t.Context(), 1, ocpp16.ChargePointErrorCodeEVCommunicationError, "pilot")) // a warning
		w.must(w.st.Clear(w.t.Context(), 1))
		w.must(w.st.Fault(w.t.Context(), 1, ocpp16.ChargePointErrorCodeGroundFailure, "RCD"))
		w.must(w.st.Clear(w.t.Context(), 1))
		w.must(w.st.Fault(w.t.Context(), 0, ocpp16.ChargePointErrorCodeInternalError, ""))
		w.must(w.st.Clear(w.t.Context(), 0))
		equal(t, "statuses", w.statuses(1), []string{
			"SuspendedEV/EVCommunicationError", "Charging", "Faulted/GroundFailure", "Finishing", "Faulted/InternalError", "Finishing",
		})
		equal(t, "statuses of the whole", w.statuses(0), []string{"Faulted/InternalError", "Available"})
		if r := of[*ocpp16.StopTransactionRequest](w); len(r) != 1 || r[0].Reason != ocpp16.ReasonOther {
			t.Errorf("stops %+v, want one of reason Other", r)
		}
	})
}

// §4.10
func TestUnplugging(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.forget()
		w.unplug(1)
		equal(t, "statuses", w.statuses(1), []string{"Finishing", "Available"})
		if r := of[*ocpp16.StopTransactionRequest](w); len(r) != 1 || r[0].Reason != ocpp16.ReasonEVDisconnected {
			t.Errorf("stops %+v", r)
		}
	})
	live(t, func(w *world) {
		w.charge(1, "A")
		w.forget()
		w.unplug(1)
		equal(t, "statuses without the car", w.statuses(1), []string{"SuspendedEV"})
		w.plug(1)
		equal(t, "statuses", w.statuses(1), []string{"SuspendedEV", "Charging"})
		w.tap(1, "A")
		if r := of[*ocpp16.StopTransactionRequest](w); len(r) != 1 || r[0].Reason != ocpp16.ReasonLocal {
			t.Errorf("stops %+v", r)
		}
	}, keys("StopTransactionOnEVSideDisconnect", "false"))
}

// A power loss ends the transaction with the registers of that moment; the
// message goes out after the start.
func TestPowerLoss(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.pass(time.Minute)
		w.must(w.st.SetPower(w.t.Context(), false))
		off := time.Now()
		if v := w.view(); v.Powered || v.Connected {
			t.Errorf("%+v without power", v)
		}
		w.forget()
		w.pass(time.Hour)
		w.must(w.st.SetPower(w.t.Context(), true))
		w.pass(10 * time.Second)
		equal(t, "messages", w.actions()[:4], []string{"BootNotification", "StatusNotification", "StatusNotification", "StopTransaction"})
		stop := of[*ocpp16.StopTransactionRequest](w)[0]
		if stop.Reason != ocpp16.ReasonPowerLoss || stop.TransactionID != 1 || stop.Timestamp.Time.Sub(off).Abs() > time.Second || stop.MeterStop < 1150 || stop.MeterStop > 1200 {
			t.Errorf("stop %+v", stop)
		}
	})
}

// The memory survives the simulator: a transaction that ran ends, what was queued
// is sent, and nothing is sent twice.
func TestRestartOfTheSimulator(t *testing.T) {
	folder, err := charger.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, remembers(folder.File("CP/1")), keys("MeterValueSampleInterval", "10"), connectors(2))
		w.start()
		w.pass(5 * time.Second)
		w.call("ChangeAvailability", `{"connectorId":2,"type":"Inoperative"}`)
		w.call("ChangeConfiguration", `{"key":"ConnectionTimeOut","value":"77"}`)
		w.charge(1, "A")
		w.unplugCable(true)
		w.pass(25 * time.Second)
		w.end()
		pending := w.lines("message", "MeterValues")
		if len(pending) != 2 || pending[0].Confirmed || !pending[0].Pending || pending[0].Attempts != 0 {
			t.Errorf("the ledger says %+v of what was queued at the end", pending)
		}
		w.forget()
		w.pass(time.Hour)

		w.unplugCable(false)
		w.start()
		w.pass(10 * time.Second)
		equal(t, "messages", w.actions(), []string{
			"BootNotification", "StatusNotification", "StatusNotification", "StatusNotification",
			"MeterValues", "MeterValues", "StopTransaction", "SecurityEventNotification",
		})
		equal(t, "statuses of connector 2", w.statuses(2), []string{"Unavailable"})
		stop := of[*ocpp16.StopTransactionRequest](w)[0]
		if stop.TransactionID != 1 || stop.Reason != ocpp16.ReasonPowerLoss || time.Since(stop.Timestamp.Time) < time.Hour {
			t.Errorf("stop %+v", stop)
		}
		conf := ask[*ocpp16.GetConfigurationResponse](w, &ocpp16.GetConfigurationRequest{Key: []string{"ConnectionTimeOut"}})
		if conf.ConfigurationKey[0].Value != "77" {
			t.Errorf("ConnectionTimeOut is %s after a restart", conf.ConfigurationKey[0].Value)
		}
		w.charge(1, "A")
		if start := of[*ocpp16.StartTransactionRequest](w)[0]; start.MeterStart < stop.MeterStop {
			t.Errorf("the register fell from %d to %d Wh", stop.MeterStop, start.MeterStart)
		}
		w.end()
	})
}

// §5.14
func TestReset(t *testing.T) {
	for _, kind := range []ocpp16.ResetType{ocpp16.ResetTypeSoft, ocpp16.ResetTypeHard} {
		t.Run(string(kind), func(t *testing.T) {
			live(t, func(w *world) {
				w.charge(1, "A")
				w.forget()
				resp := ask[*ocpp16.ResetResponse](w, &ocpp16.ResetRequest{Type: kind})
				if resp.Status != ocpp16.ResetStatusAccepted {
					t.Fatalf("%s", resp.Status)
				}
				w.pass(20 * time.Second)
				actions := w.actions()
				reboot, stop := slices.Index(actions, "BootNotification"), slices.Index(actions, "StopTransaction")
				if reboot < 0 || stop < 0 {
					t.Fatalf("messages %v", actions)
				}
				if kind == ocpp16.ResetTypeSoft && stop > reboot {
					t.Errorf("a soft reset says goodbye first: %v", actions)
				}
				if reason := of[*ocpp16.StopTransactionRequest](w)[0].Reason; string(reason) != string(kind)+"Reset" {
					t.Errorf("reason %s", reason)
				}
				if !w.view().Registered {
					t.Error("not registered after the reset")
				}
			})
		})
	}
}

// The table of §4.9 that matters for what a connector is.
func ExampleView_Transaction() {
	v := charger.View{Connectors: []charger.ConnectorView{{}, {Transaction: "12"}}}
	fmt.Println(v.Transaction())
	// Output: 12
}
