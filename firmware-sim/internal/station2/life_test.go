package station2_test

import (
	"slices"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

func TestSession(t *testing.T) {
	both(t, func(w *world) {
		if n := len(of[*ocpp21.StatusNotificationRequest](w)); n != 1 {
			t.Errorf("%d statuses after the start, want 1", n)
		}
		id := w.charge(1, "CAFE01")
		w.pass(10 * time.Minute)
		w.tap(1, "CAFE01")
		w.pass(5 * time.Second)
		w.unplug(1)
		w.pass(5 * time.Second)
		equal(t, "events", w.events(), []string{
			"Started/Authorized/Charging", "Ended/StopAuthorized/EVConnected/Local",
		})
		all := of[*ocpp21.TransactionEventRequest](w)
		for i, e := range all {
			if e.TransactionInfo.TransactionID != id || e.SeqNo != int64(i) || e.Offline != nil {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		if e := all[0]; e.EVSE == nil || e.EVSE.ID != 1 || e.IDToken == nil || e.IDToken.IDToken != "CAFE01" || e.MeterValue == nil {
			t.Errorf("first event %+v", e)
		}
		if e := all[1]; e.EVSE != nil || len(e.MeterValue) != 2 || e.TransactionInfo.TimeSpentCharging == nil || *e.TransactionInfo.TimeSpentCharging < 599 {
			t.Errorf("last event %+v", e)
		}
		sessions := w.sessions()
		if len(sessions) != 1 || sessions[0].ID != id || sessions[0].Token != "CAFE01" || sessions[0].MeterStop-sessions[0].MeterStart < 1700 || sessions[0].EnergyWh < 1700 || sessions[0].Version != w.cfg.Version {
			t.Errorf("ledger %+v", sessions)
		}
	})
}

func TestTransactionPoints(t *testing.T) {
	tests := []struct {
		name, start, stop string
		want              []string
	}{
		{"E01 power path", "PowerPathClosed", "PowerPathClosed", []string{
			"Started/Authorized/Charging", "Ended/StopAuthorized/EVConnected/Local",
		}},
		{"E01 cable first", "EVConnected", "EVConnected", []string{
			"Started/CablePluggedIn/EVConnected", "Updated/Authorized/Charging", "Updated/StopAuthorized/EVConnected", "Ended/EVCommunicationLost/Idle/Local",
		}},
		{"E01 from the parking bay to the end of the authorization", "ParkingBayOccupancy", "Authorized", []string{
			"Started/CablePluggedIn/EVConnected", "Updated/Authorized/Charging", "Ended/StopAuthorized/EVConnected/Local",
		}},
		{"E01 energy", "EnergyTransfer", "EnergyTransfer", []string{
			"Started/Authorized/Charging", "Ended/StopAuthorized/EVConnected/Local",
		}},
		{"E01 any of two", "Authorized,EVConnected", "Authorized,EVConnected", []string{
			"Started/CablePluggedIn/EVConnected", "Updated/Authorized/Charging", "Ended/StopAuthorized/EVConnected/Local",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(w *world) {
				w.plug(1)
				w.pass(time.Second)
				w.tap(1, "A")
				w.pass(time.Minute)
				w.tap(1, "A")
				w.pass(time.Second)
				w.unplug(1)
				w.pass(time.Second)
				equal(t, "events", w.events(), tt.want)
				if n := len(w.sessions()); n != 1 {
					t.Errorf("%d sessions in the ledger", n)
				}
			}, variables("TxCtrlr.TxStartPoint", tt.start, "TxCtrlr.TxStopPoint", tt.stop))
		})
	}
}

func TestOffline(t *testing.T) {
	both(t, func(w *world) {
		w.unplugCable(true)
		w.charge(1, "UNKNOWN")
		w.pass(5 * time.Minute)
		w.tap(1, "UNKNOWN")
		w.unplug(1)
		w.unplugCable(false)
		w.pass(time.Minute)
		all := of[*ocpp21.TransactionEventRequest](w)
		for i, e := range all {
			if e.SeqNo != int64(i) || e.Offline == nil || !*e.Offline {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		if len(all) < 3 || all[len(all)-1].EventType != ocpp21.TransactionEventEnded || w.view().Queue != 0 || len(w.sessions()) != 1 {
			t.Errorf("events %v, queue %d", w.events(), w.view().Queue)
		}
	}, variables("AuthCtrlr.OfflineTxForUnknownIdEnabled", "true", "SampledDataCtrlr.TxUpdatedInterval", "60"))
}

func TestMessageAttempts(t *testing.T) {
	refused := 0
	live(t, func(w *world) {
		w.charge(1, "A")
		w.pass(time.Minute)
		w.tap(1, "A")
		w.pass(time.Minute)
		if events := w.events(); refused != 3 || events[0] != events[1] || events[1] != events[2] || len(w.sessions()) != 1 {
			t.Errorf("E13: %d refusals, events %v", refused, events)
		}
	}, variables("OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]", "5"), decides(func(req ocpp21.Request) any {
		if e, ok := req.(*ocpp21.TransactionEventRequest); ok && e.EventType == ocpp21.TransactionEventStarted && refused < 3 {
			refused++
			return ocppj.InternalError
		}
		return nil
	}))
}

func TestPowerLoss(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.pass(10 * time.Minute)
		w.must(w.st.SetPower(w.t.Context(), false))
		w.pass(time.Minute)
		w.must(w.st.SetPower(w.t.Context(), true))
		w.pass(time.Minute)
		events := w.events()
		if events[len(events)-1] != "Ended/AbnormalCondition/EVConnected/PowerLoss" && events[len(events)-1] != "Ended/AbnormalCondition/Charging/PowerLoss" {
			t.Errorf("events %v", events)
		}
		if s := w.sessions(); len(s) != 1 || s[0].Reason != "PowerLoss" || s[0].EnergyWh < 1700 {
			t.Errorf("ledger %+v", s)
		}
	})
}

func TestRestartOfTheSimulator(t *testing.T) {
	folder, err := charger.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	live(t, func(w *world) {
		w.charge(1, "A")
		w.unplugCable(true)
		w.pass(10 * time.Minute)
		w.end()
		w.unplugCable(false)
		w.memory = folder.File("CS-1")
		w.start()
		w.pass(time.Minute)
		if s := w.sessions(); len(s) != 1 || s[0].Reason != "PowerLoss" || w.view().Queue != 0 {
			t.Errorf("ledger %+v, events %v", s, w.events())
		}
	}, func(w *world) { w.memory = folder.File("CS-1") })
}

func TestRefusedToken(t *testing.T) {
	live(t, func(w *world) {
		w.unplugCable(true)
		w.charge(1, "BAD")
		w.unplugCable(false)
		w.pass(time.Minute)
		events := w.events()
		if events[len(events)-1] != "Ended/Deauthorized/EVConnected/DeAuthorized" {
			t.Errorf("E05: events %v", events)
		}
	}, variables("AuthCtrlr.OfflineTxForUnknownIdEnabled", "true"), decides(func(req ocpp21.Request) any {
		if e, ok := req.(*ocpp21.TransactionEventRequest); ok && e.IDToken != nil {
			return &ocpp21.TransactionEventResponse{IDTokenInfo: &ocpp21.IDTokenInfo{Status: ocpp21.AuthorizationStatusBlocked}}
		}
		return nil
	}))
}

func TestPending(t *testing.T) {
	boots := 0
	live(t, func(w *world) {
		if w.view().Registered || len(of[*ocpp21.StatusNotificationRequest](w)) > 0 {
			t.Error("B02: something was said while pending")
		}
		if r := ask[*ocpp21.RequestStartTransactionResponse](w, &ocpp21.RequestStartTransactionRequest{IDToken: ocpp21.IDToken{IDToken: "A", Type: "ISO14443"}, RemoteStartID: 1}); r.Status != ocpp21.RequestStartStopStatusRejected {
			t.Errorf("B02.FR.05: %+v", r)
		}
		if r := ask[*ocpp21.GetBaseReportResponse](w, &ocpp21.GetBaseReportRequest{RequestID: 1, ReportBase: ocpp21.ReportBaseFullInventory}); r.Status != ocpp21.GenericDeviceModelStatusAccepted {
			t.Errorf("%+v", r)
		}
		w.pass(time.Minute)
		if !w.view().Registered || boots != 2 {
			t.Errorf("%d boots", boots)
		}
	}, decides(func(req ocpp21.Request) any {
		if _, ok := req.(*ocpp21.BootNotificationRequest); ok {
			if boots++; boots == 1 {
				return &ocpp21.BootNotificationResponse{Status: ocpp21.RegistrationStatusPending, CurrentTime: lenient.At(time.Now()), Interval: 20}
			}
		}
		return nil
	}))
}

func TestFault(t *testing.T) {
	both(t, func(w *world) {
		w.charge(1, "A")
		w.pass(time.Minute)
		w.must(w.st.Fault(w.t.Context(), 1, ocpp16.ChargePointErrorCodeGroundFailure, "wet"))
		w.pass(time.Second)
		w.must(w.st.Clear(w.t.Context(), 1))
		w.pass(time.Second)
		events := w.events()
		if events[len(events)-1] != "Ended/AbnormalCondition/EVConnected/GroundFault" {
			t.Errorf("events %v", events)
		}
		var told []string
		for _, n := range of[*ocpp21.NotifyEventRequest](w) {
			told = append(told, n.EventData[0].Component.Name+" "+n.EventData[0].ActualValue+" "+n.EventData[0].TechCode)
		}
		equal(t, "N07", told, []string{"RCD true GroundFailure", "RCD false GroundFailure"})
		var statuses []string
		for _, n := range of[*ocpp21.StatusNotificationRequest](w) {
			statuses = append(statuses, string(n.ConnectorStatus))
		}
		equal(t, "G01", statuses, []string{"Available", "Occupied", "Faulted", "Occupied"})
	})
}

func TestResets(t *testing.T) {
	tests := []struct {
		kind ocpp21.Reset
		want ocpp21.ResetStatus
		last string
	}{
		{ocpp21.ResetImmediate, ocpp21.ResetStatusAccepted, "Ended/ResetCommand/EVConnected/ImmediateReset"},
		{ocpp21.ResetOnIdle, ocpp21.ResetStatusScheduled, "Ended/StopAuthorized/EVConnected/Local"},
		{ocpp21.ResetImmediateAndResume, ocpp21.ResetStatusAccepted, "Ended/StopAuthorized/EVConnected/Local"},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			live(t, func(w *world) {
				w.charge(1, "A")
				w.pass(time.Minute)
				if r := ask[*ocpp21.ResetResponse](w, &ocpp21.ResetRequest{Type: tt.kind}); r.Status != tt.want {
					t.Errorf("%+v", r)
				}
				w.pass(time.Minute)
				if tt.kind != ocpp21.ResetImmediate {
					w.tap(1, "A")
					w.pass(time.Minute)
				}
				events := w.events()
				if events[len(events)-1] != tt.last || len(of[*ocpp21.BootNotificationRequest](w)) != 2 || len(w.sessions()) != 1 {
					t.Errorf("events %v, sessions %+v", events, w.sessions())
				}
				if tt.kind == ocpp21.ResetImmediateAndResume && !slices.Contains(events, "Updated/TxResumed/Charging") && !slices.Contains(events, "Updated/TxResumed/SuspendedEVSE") {
					t.Errorf("B12: events %v", events)
				}
			})
		})
	}
}
