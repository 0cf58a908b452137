package station2_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

func card(id string) ocpp21.IDToken { return ocpp21.IDToken{IDToken: id, Type: "ISO14443"} }

func ptr[T any](v T) *T { return &v }

func profile(id int64, purpose ocpp21.ChargingProfilePurpose, tx string, amps ...float64) ocpp21.ChargingProfile {
	s := ocpp21.ChargingSchedule{ID: id, ChargingRateUnit: ocpp21.ChargingRateUnitA, StartSchedule: lenient.At(time.Now())}
	for i, a := range amps {
		s.ChargingSchedulePeriod = append(s.ChargingSchedulePeriod, ocpp21.ChargingSchedulePeriod{StartPeriod: int64(600 * i), Limit: &a})
	}
	return ocpp21.ChargingProfile{
		ID: id, StackLevel: 1, ChargingProfilePurpose: purpose, ChargingProfileKind: ocpp21.ChargingProfileKindAbsolute,
		TransactionID: tx, ChargingSchedule: []ocpp21.ChargingSchedule{s},
	}
}

func TestRemoteStart(t *testing.T) {
	both(t, func(w *world) {
		start := &ocpp21.RequestStartTransactionRequest{EVSEID: ptr(int64(1)), IDToken: card("REMOTE"), RemoteStartID: 42}
		p := profile(1, ocpp21.ChargingProfilePurposeTxProfile, "", 8)
		start.ChargingProfile = &p
		if r := ask[*ocpp21.RequestStartTransactionResponse](w, start); r.Status != ocpp21.RequestStartStopStatusAccepted {
			t.Fatalf("%+v", r)
		}
		if !w.view().Connectors[0].Waiting {
			t.Error("F02: nobody waits for the plug")
		}
		w.plug(1)
		w.pass(time.Minute)
		w.tap(1, "REMOTE")
		w.pass(time.Second)
		all := of[*ocpp21.TransactionEventRequest](w)
		if e := all[0]; e.TriggerReason != ocpp21.TriggerReasonCablePluggedIn || e.TransactionInfo.RemoteStartID == nil || *e.TransactionInfo.RemoteStartID != 42 || e.IDToken == nil {
			t.Errorf("%+v", e)
		}
	})
	both(t, func(w *world) {
		w.plug(1)
		r := ask[*ocpp21.RequestStartTransactionResponse](w, &ocpp21.RequestStartTransactionRequest{IDToken: card("REMOTE"), RemoteStartID: 7})
		w.pass(time.Minute)
		tx := w.view().Connectors[0].Transaction
		if r.Status != ocpp21.RequestStartStopStatusAccepted || tx == "" {
			t.Fatalf("%+v, transaction %q", r, tx)
		}
		if r := ask[*ocpp21.RequestStopTransactionResponse](w, &ocpp21.RequestStopTransactionRequest{TransactionID: "another"}); r.Status != ocpp21.RequestStartStopStatusRejected {
			t.Errorf("F03: %+v", r)
		}
		if r := ask[*ocpp21.GetTransactionStatusResponse](w, &ocpp21.GetTransactionStatusRequest{TransactionID: tx}); r.OngoingIndicator == nil || !*r.OngoingIndicator || r.MessagesInQueue {
			t.Errorf("E14: %+v", r)
		}
		ask[*ocpp21.RequestStopTransactionResponse](w, &ocpp21.RequestStopTransactionRequest{TransactionID: tx})
		w.pass(time.Second)
		equal(t, "events", w.events(), []string{"Started/RemoteStart/Charging", "Ended/RemoteStop/EVConnected/Remote"})
	})
	live(t, func(w *world) {
		ask[*ocpp21.RequestStartTransactionResponse](w, &ocpp21.RequestStartTransactionRequest{IDToken: card("REMOTE"), RemoteStartID: 7})
		w.pass(2 * time.Minute)
		equal(t, "E03: nobody came", w.events(), []string{"Started/RemoteStart/Idle", "Ended/EVConnectTimeout/Idle/Timeout"})
	}, variables("TxCtrlr.TxStartPoint", "Authorized", "TxCtrlr.TxStopPoint", "Authorized"))
}

func TestProfilesLimit(t *testing.T) {
	both(t, func(w *world) {
		tx := w.charge(1, "A")
		w.pass(time.Minute)
		amps := func() float64 { return w.view().Connectors[0].PowerW / 230 / 3 / 0.99 }
		set := func(evse int64, p ocpp21.ChargingProfile) ocpp21.ChargingProfileStatus {
			r := ask[*ocpp21.SetChargingProfileResponse](w, &ocpp21.SetChargingProfileRequest{EVSEID: evse, ChargingProfile: p})
			w.pass(5 * time.Second)
			return r.Status
		}
		if got := amps(); got < 15 {
			t.Errorf("%.1f A without a limit", got)
		}
		if s := set(0, profile(1, ocpp21.ChargingProfilePurposeChargingStationMaxProfile, "", 12)); s != ocpp21.ChargingProfileStatusAccepted || amps() > 12.5 || amps() < 10 {
			t.Errorf("%s, %.1f A under a bound of 12 A", s, amps())
		}
		if s := set(1, profile(2, ocpp21.ChargingProfilePurposeTxProfile, tx, 8, 10)); s != ocpp21.ChargingProfileStatusAccepted || amps() > 8.5 {
			t.Errorf("%s, %.1f A under a profile of 8 A", s, amps())
		}
		if s := set(1, profile(3, ocpp21.ChargingProfilePurposeTxProfile, tx, 20)); s != ocpp21.ChargingProfileStatusRejected {
			t.Errorf("K01.FR.39: a second profile of that level was %s", s)
		}
		if s := set(1, profile(4, ocpp21.ChargingProfilePurposeTxProfile, "another", 20)); s != ocpp21.ChargingProfileStatusRejected {
			t.Errorf("K01.FR.09: a profile of another transaction was %s", s)
		}
		c := ask[*ocpp21.GetCompositeScheduleResponse](w, &ocpp21.GetCompositeScheduleRequest{EVSEID: 1, Duration: 3600})
		var limits []float64
		for _, p := range c.Schedule.ChargingSchedulePeriod {
			limits = append(limits, *p.Limit)
		}
		equal(t, "K08", limits, []float64{8, 10})
		if r := ask[*ocpp21.GetChargingProfilesResponse](w, &ocpp21.GetChargingProfilesRequest{RequestID: 5}); r.Status != ocpp21.GetChargingProfileStatusAccepted {
			t.Errorf("K09: %+v", r)
		}
		w.pass(time.Second)
		reports := of[*ocpp21.ReportChargingProfilesRequest](w)
		if len(reports) != 2 || reports[0].Tbc == nil || !*reports[0].Tbc || reports[1].Tbc != nil {
			t.Errorf("K09: %d reports", len(reports))
		}
		w.must(w.st.LimitExternally(w.t.Context(), 1, 6))
		w.pass(5 * time.Second)
		if n := of[*ocpp21.NotifyChargingLimitRequest](w); len(n) != 1 || amps() > 6.5 {
			t.Errorf("K12: %d messages, %.1f A", len(n), amps())
		}
		w.must(w.st.LimitExternally(w.t.Context(), 1, -1))
		w.pass(time.Second)
		if n := of[*ocpp21.ClearedChargingLimitRequest](w); len(n) != 1 {
			t.Errorf("K13: %d messages", len(n))
		}
		if r := ask[*ocpp21.ClearChargingProfileResponse](w, &ocpp21.ClearChargingProfileRequest{ChargingProfileID: ptr(int64(2))}); r.Status != ocpp21.ClearChargingProfileStatusAccepted {
			t.Errorf("K10: %+v", r)
		}
		w.pass(5 * time.Second)
		if got := amps(); got < 10 || got > 12.5 {
			t.Errorf("%.1f A after the profile went", got)
		}
	})
}

func TestDynamicAndPriority(t *testing.T) {
	live(t, func(w *world) {
		tx := w.charge(1, "A")
		amps := func() float64 {
			w.pass(5 * time.Second)
			return w.view().Connectors[0].PowerW / 230 / 3 / 0.99
		}
		p := profile(1, ocpp21.ChargingProfilePurposeTxProfile, tx, 10)
		p.ChargingProfileKind, p.ChargingSchedule[0].StartSchedule, p.DynUpdateInterval = ocpp21.ChargingProfileKindDynamic, lenient.Time{}, ptr(int64(60))
		ask[*ocpp21.SetChargingProfileResponse](w, &ocpp21.SetChargingProfileRequest{EVSEID: 1, ChargingProfile: p})
		if got := amps(); got > 10.5 {
			t.Errorf("%.1f A", got)
		}
		if r := ask[*ocpp21.UpdateDynamicScheduleResponse](w, &ocpp21.UpdateDynamicScheduleRequest{ChargingProfileID: 1, ScheduleUpdate: ocpp21.ChargingScheduleUpdate{Limit: ptr(7.0)}}); r.Status != ocpp21.ChargingProfileStatusAccepted || amps() > 7.5 {
			t.Errorf("K28: %+v, %.1f A", r, amps())
		}
		w.pass(2 * time.Minute)
		if n := len(of[*ocpp21.PullDynamicScheduleUpdateRequest](w)); n < 1 {
			t.Error("K28: the update was never pulled")
		}
		use := &ocpp21.UsePriorityChargingRequest{TransactionID: tx, Activate: true}
		if r := ask[*ocpp21.UsePriorityChargingResponse](w, use); r.Status != ocpp21.PriorityChargingStatusNoProfile {
			t.Errorf("K21: %+v", r)
		}
		ask[*ocpp21.SetChargingProfileResponse](w, &ocpp21.SetChargingProfileRequest{EVSEID: 1, ChargingProfile: profile(2, ocpp21.ChargingProfilePurposePriorityCharging, "", 14)})
		if r := ask[*ocpp21.UsePriorityChargingResponse](w, use); r.Status != ocpp21.PriorityChargingStatusAccepted || amps() < 12 {
			t.Errorf("K21: %+v, %.1f A", r, amps())
		}
	})
}

func TestDeviceModel(t *testing.T) {
	both(t, func(w *world) {
		ask[*ocpp21.GetBaseReportResponse](w, &ocpp21.GetBaseReportRequest{RequestID: 3, ReportBase: ocpp21.ReportBaseFullInventory})
		w.pass(time.Second)
		parts := of[*ocpp21.NotifyReportRequest](w)
		variables := 0
		for i, p := range parts {
			variables += len(p.ReportData)
			if p.SeqNo != int64(i) || p.RequestID != 3 || (p.Tbc != nil && *p.Tbc) != (i+1 < len(parts)) {
				t.Errorf("B07: part %d: %d %v", i, p.SeqNo, p.Tbc)
			}
		}
		if len(parts) < 4 || variables < 100 {
			t.Errorf("B07: %d variables in %d parts", variables, len(parts))
		}
		interval := ocpp21.SetVariableData{Component: ocpp21.Component{Name: "SampledDataCtrlr"}, Variable: ocpp21.Variable{Name: "TxUpdatedInterval"}, AttributeValue: "10"}
		model := interval
		model.Component, model.Variable = ocpp21.Component{Name: "ChargingStation"}, ocpp21.Variable{Name: "Model"}
		nothing := interval
		nothing.Component = ocpp21.Component{Name: "CoffeeCtrlr"}
		r := ask[*ocpp21.SetVariablesResponse](w, &ocpp21.SetVariablesRequest{SetVariableData: []ocpp21.SetVariableData{interval, model, nothing}})
		var statuses []string
		for _, v := range r.SetVariableResult {
			statuses = append(statuses, string(v.AttributeStatus))
		}
		equal(t, "B05", statuses, []string{"Accepted", "Rejected", "UnknownComponent"})
		g := ask[*ocpp21.GetVariablesResponse](w, &ocpp21.GetVariablesRequest{GetVariableData: []ocpp21.GetVariableData{
			{Component: interval.Component, Variable: interval.Variable},
			{Component: ocpp21.Component{Name: "SecurityCtrlr"}, Variable: ocpp21.Variable{Name: "BasicAuthPassword"}},
		}})
		if g.GetVariableResult[0].AttributeValue != "10" || g.GetVariableResult[1].AttributeStatus != ocpp21.GetVariableStatusRejected {
			t.Errorf("B06: %+v", g)
		}
		w.charge(1, "A")
		w.pass(65 * time.Second)
		if n := len(of[*ocpp21.TransactionEventRequest](w)); n != 7 {
			t.Errorf("J02: %d events in 65 s with readings every 10 s", n)
		}
	})
}

func TestMonitoring(t *testing.T) {
	both(t, func(w *world) {
		r := ask[*ocpp21.SetVariableMonitoringResponse](w, &ocpp21.SetVariableMonitoringRequest{SetMonitoringData: []ocpp21.SetMonitoringData{
			{Value: 5000, Type: ocpp21.MonitorUpperThreshold, Severity: 4, Component: ocpp21.Component{Name: "EVSE", EVSE: &ocpp21.EVSE{ID: 1}}, Variable: ocpp21.Variable{Name: "Power"}},
			{Value: 1, Type: ocpp21.MonitorDelta, Severity: 8, Component: ocpp21.Component{Name: "EVSE", EVSE: &ocpp21.EVSE{ID: 1}}, Variable: ocpp21.Variable{Name: "AvailabilityState"}},
			{Value: 1, Type: ocpp21.MonitorDelta, Severity: 8, Component: ocpp21.Component{Name: "ChargingStation"}, Variable: ocpp21.Variable{Name: "Model"}},
		}})
		var statuses []string
		for _, m := range r.SetMonitoringResult {
			statuses = append(statuses, string(m.Status))
		}
		equal(t, "N04", statuses, []string{"Accepted", "Accepted", "Rejected"})
		w.charge(1, "A")
		w.pass(10 * time.Second)
		w.tap(1, "A")
		w.pass(10 * time.Second)
		var told []string
		for _, n := range of[*ocpp21.NotifyEventRequest](w) {
			for _, e := range n.EventData {
				told = append(told, e.Variable.Name+" "+string(e.Trigger)+" "+strings.TrimSpace(map[bool]string{true: "cleared"}[e.Cleared != nil && *e.Cleared]))
			}
		}
		for _, want := range []string{"Power Alerting ", "Power Alerting cleared", "AvailabilityState Delta "} {
			if !slices.Contains(told, want) {
				t.Errorf("N07: %q is not in %q", want, told)
			}
		}
		ask[*ocpp21.GetMonitoringReportResponse](w, &ocpp21.GetMonitoringReportRequest{RequestID: 9})
		w.pass(time.Second)
		if n := of[*ocpp21.NotifyMonitoringReportRequest](w); len(n) != 1 || len(n[0].Monitor) != 2 {
			t.Errorf("N02: %+v", n)
		}
		c := ask[*ocpp21.ClearVariableMonitoringResponse](w, &ocpp21.ClearVariableMonitoringRequest{ID: []int64{1, 99}})
		if c.ClearMonitoringResult[0].Status != ocpp21.ClearMonitoringStatusAccepted || c.ClearMonitoringResult[1].Status != ocpp21.ClearMonitoringStatusNotFound {
			t.Errorf("N06: %+v", c)
		}
	})
}

func TestEventStream(t *testing.T) {
	live(t, func(w *world) {
		ask[*ocpp21.SetVariableMonitoringResponse](w, &ocpp21.SetVariableMonitoringRequest{SetMonitoringData: []ocpp21.SetMonitoringData{{
			Value: 1, Type: ocpp21.MonitorPeriodic, Severity: 8, Component: ocpp21.Component{Name: "EVSE", EVSE: &ocpp21.EVSE{ID: 1}}, Variable: ocpp21.Variable{Name: "Power"},
			PeriodicEventStream: &ocpp21.PeriodicEventStreamParams{Values: ptr(int64(5))},
		}}})
		w.pass(30 * time.Second)
		if n := len(of[*ocpp21.OpenPeriodicEventStreamRequest](w)); n != 1 {
			t.Fatalf("N11: %d streams were opened", n)
		}
		sent := of[*ocpp21.NotifyPeriodicEventStreamRequest](w)
		if len(sent) < 3 || len(sent[0].Data) != 5 {
			t.Errorf("N14: %d messages", len(sent))
		}
		if r := ask[*ocpp21.GetPeriodicEventStreamResponse](w, &ocpp21.GetPeriodicEventStreamRequest{}); len(r.ConstantStreamData) != 1 {
			t.Errorf("N13: %+v", r)
		}
		ask[*ocpp21.ClearVariableMonitoringResponse](w, &ocpp21.ClearVariableMonitoringRequest{ID: []int64{1}})
		w.pass(time.Second)
		if n := len(of[*ocpp21.ClosePeriodicEventStreamRequest](w)); n != 1 {
			t.Errorf("N12: %d streams were closed", n)
		}
	})
}

func TestReservations(t *testing.T) {
	both(t, func(w *world) {
		reserve := &ocpp21.ReserveNowRequest{ID: 1, EVSEID: ptr(int64(1)), IDToken: card("HERS"), ExpiryDateTime: lenient.At(time.Now().Add(time.Hour))}
		if r := ask[*ocpp21.ReserveNowResponse](w, reserve); r.Status != ocpp21.ReserveNowStatusAccepted {
			t.Fatalf("%+v", r)
		}
		w.plug(1)
		w.tap(1, "HIS")
		w.pass(time.Second)
		if v := w.view().Connectors[0]; v.Transaction != "" || v.Refusals != 1 {
			t.Errorf("H03: %+v", v)
		}
		w.tap(1, "HERS")
		w.pass(time.Second)
		if e := of[*ocpp21.TransactionEventRequest](w); len(e) != 1 || e[0].ReservationID == nil || *e[0].ReservationID != 1 {
			t.Errorf("H03: %v", w.events())
		}
		w.tap(1, "HERS")
		w.unplug(1)
		reserve.ID, reserve.ExpiryDateTime = 2, lenient.At(time.Now().Add(time.Minute))
		ask[*ocpp21.ReserveNowResponse](w, reserve)
		w.pass(2 * time.Minute)
		if n := of[*ocpp21.ReservationStatusUpdateRequest](w); len(n) != 1 || n[0].ReservationID != 2 || n[0].ReservationUpdateStatus != ocpp21.ReservationUpdateStatusExpired {
			t.Errorf("H04: %+v", n)
		}
	})
}

func TestAvailability(t *testing.T) {
	both(t, func(w *world) {
		w.charge(1, "A")
		change := &ocpp21.ChangeAvailabilityRequest{EVSE: &ocpp21.EVSE{ID: 1}, OperationalStatus: ocpp21.OperationalStatusInoperative}
		if r := ask[*ocpp21.ChangeAvailabilityResponse](w, change); r.Status != ocpp21.ChangeAvailabilityStatusScheduled {
			t.Errorf("G03: %+v", r)
		}
		w.tap(1, "A")
		w.unplug(1)
		w.pass(time.Second)
		if s := of[*ocpp21.StatusNotificationRequest](w); s[len(s)-1].ConnectorStatus != ocpp21.ConnectorStatusUnavailable {
			t.Errorf("G03: %s", s[len(s)-1].ConnectorStatus)
		}
		change.OperationalStatus, change.EVSE.ConnectorID = ocpp21.OperationalStatusOperative, nil
		ask[*ocpp21.ChangeAvailabilityResponse](w, change)
		w.pass(time.Second)
		if s := of[*ocpp21.StatusNotificationRequest](w); s[len(s)-1].ConnectorStatus != ocpp21.ConnectorStatusAvailable {
			t.Errorf("G03: %s", s[len(s)-1].ConnectorStatus)
		}
		if r := ask[*ocpp21.ChangeAvailabilityResponse](w, &ocpp21.ChangeAvailabilityRequest{EVSE: &ocpp21.EVSE{ID: 7}, OperationalStatus: ocpp21.OperationalStatusOperative}); r.Status != ocpp21.ChangeAvailabilityStatusRejected {
			t.Errorf("an EVSE that is not there: %+v", r)
		}
	})
}

func TestLocalList(t *testing.T) {
	both(t, func(w *world) {
		accepted := &ocpp21.IDTokenInfo{Status: ocpp21.AuthorizationStatusAccepted}
		blocked := &ocpp21.IDTokenInfo{Status: ocpp21.AuthorizationStatusBlocked}
		send := func(version int64, kind ocpp21.Update, entries ...ocpp21.AuthorizationData) ocpp21.SendLocalListStatus {
			return ask[*ocpp21.SendLocalListResponse](w, &ocpp21.SendLocalListRequest{VersionNumber: version, UpdateType: kind, LocalAuthorizationList: entries}).Status
		}
		if s := send(5, ocpp21.UpdateFull, ocpp21.AuthorizationData{IDToken: card("GOOD"), IDTokenInfo: accepted}, ocpp21.AuthorizationData{IDToken: card("BAD"), IDTokenInfo: blocked}); s != ocpp21.SendLocalListStatusAccepted {
			t.Errorf("D01: %s", s)
		}
		if s := send(5, ocpp21.UpdateDifferential, ocpp21.AuthorizationData{IDToken: card("GOOD")}); s != ocpp21.SendLocalListStatusVersionMismatch {
			t.Errorf("D01: %s", s)
		}
		if s := send(6, ocpp21.UpdateDifferential, ocpp21.AuthorizationData{IDToken: card("NEW"), IDTokenInfo: accepted}); s != ocpp21.SendLocalListStatusAccepted {
			t.Errorf("D01: %s", s)
		}
		if r := ask[*ocpp21.GetLocalListVersionResponse](w, &ocpp21.GetLocalListVersionRequest{}); r.VersionNumber != 6 {
			t.Errorf("D02: %+v", r)
		}
		w.unplugCable(true)
		w.plug(1)
		w.tap(1, "BAD")
		if w.view().Connectors[0].Transaction != "" {
			t.Error("C13: a blocked card charges offline")
		}
		w.tap(1, "new")
		if w.view().Connectors[0].Transaction == "" {
			t.Error("C13: a listed card does not charge offline")
		}
		w.unplugCable(false)
		w.pass(time.Minute)
	})
}

func TestDisplayAndCustomers(t *testing.T) {
	both(t, func(w *world) {
		tx := w.charge(1, "A")
		text := func(id int64, tx string) *ocpp21.SetDisplayMessageRequest {
			return &ocpp21.SetDisplayMessageRequest{Message: ocpp21.MessageInfo{
				ID: id, Priority: ocpp21.MessagePriorityNormalCycle, TransactionID: tx, Message: ocpp21.MessageContent{Format: ocpp21.MessageFormatUTF8, Content: "moin"},
			}}
		}
		if r := ask[*ocpp21.SetDisplayMessageResponse](w, text(1, "")); r.Status != ocpp21.DisplayMessageStatusAccepted {
			t.Errorf("O01: %+v", r)
		}
		if r := ask[*ocpp21.SetDisplayMessageResponse](w, text(2, tx)); r.Status != ocpp21.DisplayMessageStatusAccepted {
			t.Errorf("O02: %+v", r)
		}
		if r := ask[*ocpp21.SetDisplayMessageResponse](w, text(3, "another")); r.Status != ocpp21.DisplayMessageStatusUnknownTransaction {
			t.Errorf("O02: %+v", r)
		}
		w.tap(1, "A")
		w.pass(time.Second)
		ask[*ocpp21.GetDisplayMessagesResponse](w, &ocpp21.GetDisplayMessagesRequest{RequestID: 1})
		w.pass(time.Second)
		if n := of[*ocpp21.NotifyDisplayMessagesRequest](w); len(n) != 1 || len(n[0].MessageInfo) != 1 || n[0].MessageInfo[0].ID != 1 {
			t.Errorf("O03: %+v", n)
		}
		holder := card("A")
		ask[*ocpp21.CustomerInformationResponse](w, &ocpp21.CustomerInformationRequest{RequestID: 2, Report: true, Clear: true, IDToken: &holder})
		ask[*ocpp21.CustomerInformationResponse](w, &ocpp21.CustomerInformationRequest{RequestID: 3, Report: true, IDToken: &holder})
		w.pass(time.Second)
		n := of[*ocpp21.NotifyCustomerInformationRequest](w)
		if len(n) != 2 || !strings.Contains(n[0].Data, "1 sessions") || n[1].Data != "" {
			t.Errorf("N09, N10: %+v", n)
		}
	})
}

func TestTriggers(t *testing.T) {
	both(t, func(w *world) {
		w.charge(1, "A")
		w.pass(time.Minute)
		for _, message := range []ocpp21.MessageTrigger{
			ocpp21.MessageTriggerHeartbeat, ocpp21.MessageTriggerStatusNotification, ocpp21.MessageTriggerMeterValues, ocpp21.MessageTriggerTransactionEvent,
			ocpp21.MessageTriggerFirmwareStatusNotification, ocpp21.MessageTriggerLogStatusNotification, ocpp21.MessageTriggerPublishFirmwareStatusNotification,
			ocpp21.MessageTriggerSignChargingStationCertificate,
		} {
			w.forget()
			if r := ask[*ocpp21.TriggerMessageResponse](w, &ocpp21.TriggerMessageRequest{RequestedMessage: message}); r.Status != ocpp21.TriggerMessageStatusAccepted {
				t.Errorf("F06: %s: %+v", message, r)
			}
			w.pass(time.Second)
			action := strings.Replace(string(message), "SignChargingStationCertificate", "SignCertificate", 1)
			if !slices.ContainsFunc(of[ocpp21.Request](w), func(r ocpp21.Request) bool { return r.Action() == action }) {
				t.Errorf("F06: %s was not sent", action)
			}
		}
		if r := ask[*ocpp21.TriggerMessageResponse](w, &ocpp21.TriggerMessageRequest{RequestedMessage: ocpp21.MessageTriggerBootNotification}); r.Status != ocpp21.TriggerMessageStatusRejected {
			t.Errorf("F06.FR.17: %+v", r)
		}
	})
}

func TestSecurityProfile(t *testing.T) {
	both(t, func(w *world) {
		slot := &ocpp21.SetNetworkProfileRequest{ConfigurationSlot: 1, ConnectionData: ocpp21.NetworkConnectionProfile{
			OCPPVersion: ocpp21.OCPPVersionOCPP20, OCPPTransport: ocpp21.OCPPTransportJSON, OCPPInterface: ocpp21.OCPPInterfaceWired0,
			OCPPCsmsURL: "wss://csms.example/ocpp", MessageTimeout: 30, SecurityProfile: 2,
		}}
		if r := ask[*ocpp21.SetNetworkProfileResponse](w, slot); r.Status != ocpp21.SetNetworkProfileStatusAccepted {
			t.Fatalf("B09: %+v", r)
		}
		priority := ocpp21.SetVariableData{Component: ocpp21.Component{Name: "OCPPCommCtrlr"}, Variable: ocpp21.Variable{Name: "NetworkConfigurationPriority"}, AttributeValue: "1,0"}
		if r := ask[*ocpp21.SetVariablesResponse](w, &ocpp21.SetVariablesRequest{SetVariableData: []ocpp21.SetVariableData{priority}}); r.SetVariableResult[0].AttributeStatus != ocpp21.SetVariableStatusRebootRequired {
			t.Errorf("B10: %+v", r)
		}
		ask[*ocpp21.ResetResponse](w, &ocpp21.ResetRequest{Type: ocpp21.ResetOnIdle})
		w.pass(30 * time.Second)
		if last := w.logins[len(w.logins)-1]; last.Profile != 2 {
			t.Errorf("B10: %+v", last)
		}
		slot.ConnectionData.SecurityProfile = 1
		if r := ask[*ocpp21.SetNetworkProfileResponse](w, slot); r.Status != ocpp21.SetNetworkProfileStatusRejected {
			t.Errorf("B09: a downgrade was %+v", r)
		}
	}, func(w *world) { w.cfg.Secure, w.cfg.Password = true, "0123456789abcdef" })
}

func TestAdded(t *testing.T) {
	live(t, func(w *world) {
		holder := card("A")
		ask[*ocpp21.RequestBatterySwapResponse](w, &ocpp21.RequestBatterySwapRequest{IDToken: holder, RequestID: 4})
		w.pass(5 * time.Second)
		if n := of[*ocpp21.BatterySwapRequest](w); len(n) != 2 || n[0].EventType != ocpp21.BatterySwapEventBatteryIn || n[1].EventType != ocpp21.BatterySwapEventBatteryOut {
			t.Errorf("S: %+v", n)
		}
		set := &ocpp21.SetDERControlRequest{ControlID: "c1", ControlType: ocpp21.DERControlLimitMaxDischarge, LimitMaxDischarge: &ocpp21.LimitMaxDischarge{Priority: 1, PctMaxDischargePower: ptr(50.0)}}
		ask[*ocpp21.SetDERControlResponse](w, set)
		set.ControlID = "c2"
		if r := ask[*ocpp21.SetDERControlResponse](w, set); !slices.Equal(r.SupersededIDs, []string{"c1"}) {
			t.Errorf("R04: %+v", r)
		}
		ask[*ocpp21.GetDERControlResponse](w, &ocpp21.GetDERControlRequest{RequestID: 8})
		w.pass(time.Second)
		if n := of[*ocpp21.ReportDERControlRequest](w); len(n) != 1 || n[0].LimitMaxDischarge[0].ID != "c2" {
			t.Errorf("R05: %+v", n)
		}
		if r := ask[*ocpp21.ClearDERControlResponse](w, &ocpp21.ClearDERControlRequest{ControlID: "c2"}); r.Status != ocpp21.DERControlStatusAccepted {
			t.Errorf("R06: %+v", r)
		}
		tariff := ocpp21.Tariff{TariffID: "T1", Currency: "EUR"}
		ask[*ocpp21.SetDefaultTariffResponse](w, &ocpp21.SetDefaultTariffRequest{EVSEID: 1, Tariff: tariff})
		if r := ask[*ocpp21.GetTariffsResponse](w, &ocpp21.GetTariffsRequest{EVSEID: 0}); len(r.TariffAssignments) != 1 || r.TariffAssignments[0].TariffID != "T1" {
			t.Errorf("I10: %+v", r)
		}
		tx := w.charge(1, "A")
		if r := ask[*ocpp21.ChangeTransactionTariffResponse](w, &ocpp21.ChangeTransactionTariffRequest{TransactionID: tx, Tariff: tariff}); r.Status != ocpp21.TariffChangeStatusAccepted {
			t.Errorf("I11: %+v", r)
		}
		if r := ask[*ocpp21.ClearTariffsResponse](w, &ocpp21.ClearTariffsRequest{TariffIDs: []string{"T1", "T2"}}); len(r.ClearTariffsResult) != 2 {
			t.Errorf("I09: %+v", r)
		}
	})
}

// A limit of the transaction's own ends it.
func TestTransactionLimit(t *testing.T) {
	live(t, func(w *world) {
		w.must(w.st.Plug(w.t.Context(), 1, car.Car{}))
		w.tap(1, "A")
		w.pass(10 * time.Minute)
		events := w.events()
		if events[len(events)-1] != "Ended/EnergyLimitReached/EVConnected/EnergyLimitReached" {
			t.Errorf("E16: %v", events)
		}
		if s := w.sessions(); len(s) != 1 || s[0].EnergyWh < 500 || s[0].EnergyWh > 520 {
			t.Errorf("E16: %+v", s)
		}
	}, decides(func(req ocpp21.Request) any {
		if e, ok := req.(*ocpp21.TransactionEventRequest); ok && e.EventType == ocpp21.TransactionEventStarted {
			return &ocpp21.TransactionEventResponse{TransactionLimit: &ocpp21.TransactionLimit{MaxEnergy: ptr(500.0)}}
		}
		return nil
	}))
}
