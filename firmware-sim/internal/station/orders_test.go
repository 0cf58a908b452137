package station_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

func ptr[T any](v T) *T { return &v }

func TestRefusedCalls(t *testing.T) {
	tests := []struct {
		name, action, payload string
		code                  ocppj.ErrorCode
	}{
		{"unknown", "MakeCoffee", `{}`, ocppj.NotImplemented},
		{"of the other direction", "StartTransaction", `{}`, ocppj.NotSupported},
		{"incomplete", "ChangeConfiguration", `{"key":"x"}`, ocppj.OccurenceConstraintViolation},
		{"wrong type", "UnlockConnector", `{"connectorId":{}}`, ocppj.TypeConstraintViolation},
		{"wrong word", "Reset", `{"type":"Gentle"}`, ocppj.PropertyConstraintViolation},
		{"profile for no connector (errata §3.39)", "SetChargingProfile", `{"connectorId":7,"csChargingProfiles":{"chargingProfileId":1,"stackLevel":0,"chargingProfilePurpose":"TxDefaultProfile","chargingProfileKind":"Relative","chargingSchedule":{"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":6}]}}}`, ocppj.PropertyConstraintViolation},
		{"too many keys", "GetConfiguration", `{"key":["a","b","c","d","e"]}`, ocppj.OccurenceConstraintViolation},
		{"composite schedule in horses (errata §3.24)", "GetCompositeSchedule", `{"connectorId":1,"duration":60,"chargingRateUnit":"hp"}`, ocppj.PropertyConstraintViolation},
	}
	live(t, func(w *world) {
		for _, tt := range tests {
			if f := w.call(tt.action, tt.payload); f.Type != ocppj.CallError || f.Code != tt.code {
				t.Errorf("%s: answered with %s %s %s, want %s", tt.name, f.Type, f.Code, f.Payload, tt.code)
			}
		}
		if n := len(w.lines("order", "")); n != 0 {
			t.Errorf("%d refused calls are in the ledger as carried out", n)
		}
		w.conn.in <- []byte(`[2,"broken","Reset",{"type":`)
		w.conn.in <- []byte(`[3,"nobody asked",{}]`)
		w.conn.in <- []byte(`nonsense`)
		w.pass(time.Second)
		if f := w.answers["broken"]; f.Type != ocppj.CallError {
			t.Errorf("a damaged call was answered with %+v", f)
		}
		if !w.view().Connected {
			t.Error("the connection was closed because of a message")
		}
	}, keys("GetConfigurationMaxKeys", "4"))
}

func TestDataTransfer(t *testing.T) {
	live(t, func(w *world) {
		for vendor, want := range map[string]ocpp16.DataTransferStatus{"e2e": "Accepted", "com.example": "UnknownVendorId"} {
			r := ask[*ocpp16.DataTransferResponse](w, &ocpp16.DataTransferRequest{VendorID: vendor, Data: "x"})
			if r.Status != want {
				t.Errorf("vendor %s: %s, want %s", vendor, r.Status, want)
			}
		}
		orders := w.lines("order", "DataTransfer")
		if len(orders) != 2 || !strings.Contains(string(orders[0].Payload), `"data":"x"`) || !strings.Contains(string(orders[0].Answer), `status`) {
			t.Errorf("orders in the ledger: %+v", orders)
		}
	})
}

// §5.11, §5.12
func TestRemoteStartAndStop(t *testing.T) {
	start := func(w *world, connector int64, tag string) ocpp16.RemoteStartStopStatus {
		return ask[*ocpp16.RemoteStartTransactionResponse](w, &ocpp16.RemoteStartTransactionRequest{ConnectorID: &connector, IDTag: tag}).Status
	}
	live(t, func(w *world) {
		w.plug(2)
		w.forget()
		if got := ask[*ocpp16.RemoteStartTransactionResponse](w, &ocpp16.RemoteStartTransactionRequest{IDTag: "A"}).Status; got != "Accepted" {
			t.Fatalf("start without a connector: %s", got)
		}
		equal(t, "messages", w.actions(), []string{"StartTransaction", "StatusNotification"}) // AuthorizeRemoteTxRequests is false
		if r := of[*ocpp16.StartTransactionRequest](w)[0]; r.ConnectorID != 2 {
			t.Errorf("started at connector %d, want 2, where the car is", r.ConnectorID)
		}
		for connector, want := range map[int64]ocpp16.RemoteStartStopStatus{2: "Rejected", 3: "Rejected", 1: "Accepted"} {
			if got := start(w, connector, "B"); got != want {
				t.Errorf("start at connector %d: %s, want %s", connector, got, want)
			}
		}
		w.plug(1)
		if r := of[*ocpp16.StartTransactionRequest](w); len(r) != 2 || r[1].IDTag != "B" {
			t.Errorf("starts %+v; the plug came in time", r)
		}
		for id, want := range map[int64]ocpp16.RemoteStartStopStatus{1: "Accepted", 77: "Rejected"} {
			if got := ask[*ocpp16.RemoteStopTransactionResponse](w, &ocpp16.RemoteStopTransactionRequest{TransactionID: id}).Status; got != want {
				t.Errorf("stop of %d: %s, want %s", id, got, want)
			}
		}
		if r := of[*ocpp16.StopTransactionRequest](w); len(r) != 1 || r[0].Reason != ocpp16.ReasonRemote || r[0].TransactionID != 1 {
			t.Errorf("stops %+v", r)
		}
	}, connectors(2))
	live(t, func(w *world) {
		w.plug(1)
		w.forget()
		if got := start(w, 1, "A"); got != "Accepted" {
			t.Errorf("start: %s", got)
		}
		equal(t, "messages", w.actions(), []string{"Authorize", "StartTransaction", "StatusNotification"})
	}, keys("AuthorizeRemoteTxRequests", "true"))
}

// §5.18
func TestUnlock(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		for connector, want := range map[int64]ocpp16.UnlockStatus{1: "Unlocked", 9: "NotSupported"} {
			if got := ask[*ocpp16.UnlockConnectorResponse](w, &ocpp16.UnlockConnectorRequest{ConnectorID: connector}).Status; got != want {
				t.Errorf("connector %d: %s, want %s", connector, got, want)
			}
		}
		if r := of[*ocpp16.StopTransactionRequest](w); len(r) != 1 || r[0].Reason != ocpp16.ReasonUnlockCommand {
			t.Errorf("stops %+v", r)
		}
		w.must(w.st.Fault(w.t.Context(), 1, ocpp16.ChargePointErrorCodeConnectorLockFailure, ""))
		if got := ask[*ocpp16.UnlockConnectorResponse](w, &ocpp16.UnlockConnectorRequest{ConnectorID: 1}).Status; got != "UnlockFailed" {
			t.Errorf("a broken lock: %s", got)
		}
	})
}

// §5.2
func TestChangeAvailability(t *testing.T) {
	change := func(w *world, connector int64, kind ocpp16.AvailabilityType) ocpp16.AvailabilityStatus {
		return ask[*ocpp16.ChangeAvailabilityResponse](w, &ocpp16.ChangeAvailabilityRequest{ConnectorID: connector, Type: kind}).Status
	}
	live(t, func(w *world) {
		w.charge(1, "A")
		w.forget()
		if got := change(w, 1, "Inoperative"); got != "Scheduled" {
			t.Errorf("while charging: %s, want Scheduled", got)
		}
		equal(t, "statuses while charging", w.statuses(1), []string(nil))
		w.tap(1, "A")
		w.unplug(1)
		equal(t, "statuses afterwards", w.statuses(1), []string{"Finishing", "Unavailable"})
		if got := change(w, 1, "Inoperative"); got != "Accepted" {
			t.Errorf("the same again: %s, want Accepted", got)
		}
		if got := change(w, 5, "Inoperative"); got != "Rejected" {
			t.Errorf("no such connector: %s, want Rejected", got)
		}
		w.must(w.st.SetPower(w.t.Context(), false))
		w.must(w.st.SetPower(w.t.Context(), true))
		w.forget()
		w.pass(10 * time.Second)
		equal(t, "statuses after a power loss", w.statuses(1), []string{"Unavailable"})
		if err := w.st.Tap(w.t.Context(), 1, "A"); err == nil {
			t.Error("a connector out of service took a card")
		}
		w.forget()
		change(w, 0, "Inoperative")
		change(w, 2, "Operative")
		equal(t, "statuses of the whole", w.statuses(0), []string{"Unavailable", "Available"})
		equal(t, "statuses of connector 2", w.statuses(2), []string{"Unavailable", "Available"})
		equal(t, "statuses of connector 1", w.statuses(1), []string(nil))
	}, connectors(2))
}

// §5.3, §5.8
func TestConfiguration(t *testing.T) {
	tests := []struct {
		key, value string
		want       ocpp16.ConfigurationStatus
	}{
		{"HeartbeatInterval", "60", "Accepted"},
		{"heartbeatinterval", "30", "Accepted"}, // CiString50Type
		{"HeartbeatInterval", "often", "Rejected"},
		{"HeartbeatInterval", "-1", "Rejected"},
		{"NumberOfConnectors", "7", "Rejected"},
		{"ConnectorPhaseRotation", "1.RST", "RebootRequired"},
		{"MeterValuesSampledData", "Voltage,RPM", "Rejected"}, // §3.16.4
		{"MeterValuesSampledData", "Voltage.L1,Current.Import", "Accepted"},
		{"LocalPreAuthorize", "maybe", "Rejected"},
		{"MakeCoffee", "true", "NotSupported"},
		{"AuthorizationKey", "0123456789ABCDEF0123456789ABCDEF", "Accepted"},
		{"SecurityProfile", "0", "Rejected"}, // A05.FR.01: never down
		{"SecurityProfile", "3", "Rejected"}, // A05.FR.04: no certificate
		{"SecurityProfile", "1", "Accepted"},
	}
	live(t, func(w *world) {
		for _, tt := range tests {
			r := ask[*ocpp16.ChangeConfigurationResponse](w, &ocpp16.ChangeConfigurationRequest{Key: tt.key, Value: tt.value})
			if r.Status != tt.want {
				t.Errorf("%s = %s: %s, want %s", tt.key, tt.value, r.Status, tt.want)
			}
		}
		w.pass(5 * time.Second) // a new password means a new connection
		r := ask[*ocpp16.GetConfigurationResponse](w, &ocpp16.GetConfigurationRequest{Key: []string{"HeartbeatInterval", "AuthorizationKey", "MakeCoffee", "SupportedFeatureProfiles", "NumberOfConnectors"}})
		equal(t, "unknown keys", r.UnknownKey, []string{"MakeCoffee"})
		got := map[string]ocpp16.KeyValue{}
		for _, kv := range r.ConfigurationKey {
			got[kv.Key] = kv
		}
		if got["HeartbeatInterval"].Value != "30" || got["AuthorizationKey"].Value != "" || !got["NumberOfConnectors"].Readonly || got["NumberOfConnectors"].Value != "1" {
			t.Errorf("configuration %+v", got)
		}
		if v := got["SupportedFeatureProfiles"].Value; v != "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger" {
			t.Errorf("profiles %s", v)
		}
		w.charge(1, "A")
		ask[*ocpp16.ChangeConfigurationResponse](w, &ocpp16.ChangeConfigurationRequest{Key: "MeterValueSampleInterval", Value: "5"})
		w.forget()
		w.pass(11 * time.Second)
		readings := of[*ocpp16.MeterValuesRequest](w)
		if len(readings) != 2 {
			t.Fatalf("%d readings in 11 s of 5", len(readings))
		}
		var what []string
		for _, v := range readings[0].MeterValue[0].SampledValue {
			what = append(what, string(v.Measurand)+" "+string(v.Phase))
		}
		equal(t, "measurands", what, []string{"Voltage L1-N", "Current.Import L1", "Current.Import L2", "Current.Import L3"})
	})
}

// §5.13, §5.1
func TestReservations(t *testing.T) {
	reserve := func(w *world, connector, id int64, tag string, minutes time.Duration) ocpp16.ReservationStatus {
		return ask[*ocpp16.ReserveNowResponse](w, &ocpp16.ReserveNowRequest{
			ConnectorID: connector, ReservationID: id, IDTag: tag, ExpiryDate: lenient.At(time.Now().Add(minutes * time.Minute)),
		}).Status
	}
	live(t, func(w *world) {
		w.forget()
		if got := reserve(w, 1, 10, "A", 30); got != "Accepted" {
			t.Fatalf("%s", got)
		}
		if got := reserve(w, 1, 11, "B", 30); got != "Occupied" {
			t.Errorf("a second one: %s, want Occupied", got)
		}
		if got := reserve(w, 1, 10, "A", 20); got != "Accepted" {
			t.Errorf("the same id again: %s, want Accepted", got)
		}
		w.plug(1)
		w.tap(1, "B")
		if v := w.view().Connectors[0]; v.Transaction != "" || v.Refusals != 1 {
			t.Errorf("B charges at A's connector: %+v", v)
		}
		w.tap(1, "A")
		if r := of[*ocpp16.StartTransactionRequest](w); len(r) != 1 || r[0].ReservationID == nil || *r[0].ReservationID != 10 {
			t.Errorf("starts %+v, want one that tells of reservation 10", r)
		}
		equal(t, "statuses", w.statuses(1), []string{"Reserved", "Charging"})
		if got := reserve(w, 1, 12, "A", 30); got != "Occupied" {
			t.Errorf("while charging: %s, want Occupied", got)
		}

		w.forget() // expiry
		reserve(w, 2, 20, "A", 5)
		w.pass(6 * time.Minute)
		equal(t, "statuses of connector 2", w.statuses(2), []string{"Reserved", "Available"})

		w.forget() // cancelled
		reserve(w, 2, 21, "A", 5)
		for id, want := range map[int64]ocpp16.CancelReservationStatus{21: "Accepted", 99: "Rejected"} {
			if got := ask[*ocpp16.CancelReservationResponse](w, &ocpp16.CancelReservationRequest{ReservationID: id}).Status; got != want {
				t.Errorf("cancel %d: %s, want %s", id, got, want)
			}
		}
		equal(t, "statuses of connector 2", w.statuses(2), []string{"Reserved", "Available"})

		// One of any connector: the last free one is kept.
		if got := reserve(w, 0, 30, "C", 30); got != "Accepted" {
			t.Errorf("any connector: %s", got)
		}
		w.plug(2)
		w.tap(2, "B")
		if v := w.view().Connectors[1]; v.Transaction != "" {
			t.Error("B took the connector that was kept for C")
		}
		w.unplug(2)
		ask[*ocpp16.ChangeAvailabilityResponse](w, &ocpp16.ChangeAvailabilityRequest{ConnectorID: 2, Type: "Inoperative"})
		if got := reserve(w, 2, 40, "C", 30); got != "Unavailable" {
			t.Errorf("out of service: %s", got)
		}
	}, connectors(2))
}

func profile(id int64, purpose ocpp16.ChargingProfilePurpose, level int64, amps float64) ocpp16.ChargingProfile {
	return ocpp16.ChargingProfile{
		ChargingProfileID: id, StackLevel: level, ChargingProfilePurpose: purpose, ChargingProfileKind: ocpp16.ChargingProfileKindRelative,
		ChargingSchedule: ocpp16.ChargingSchedule{ChargingRateUnit: "A", ChargingSchedulePeriod: []ocpp16.ChargingSchedulePeriod{{Limit: amps}}},
	}
}

// §5.16, §3.13: limits are obeyed.
func TestSmartCharging(t *testing.T) {
	set := func(w *world, connector int64, p ocpp16.ChargingProfile) ocpp16.ChargingProfileStatus {
		return ask[*ocpp16.SetChargingProfileResponse](w, &ocpp16.SetChargingProfileRequest{ConnectorID: connector, CsChargingProfiles: p}).Status
	}
	watts := func(w *world, connector int) float64 {
		w.pass(3 * time.Second)
		return w.view().Connectors[connector-1].PowerW
	}
	near := func(t *testing.T, what string, got, amps float64) {
		t.Helper()
		if want := amps * 3 * 230; got < want*0.95 || got > want*1.03 {
			t.Errorf("%s: %.0f W, want about %.0f W (%g A)", what, got, want, amps)
		}
	}
	live(t, func(w *world) {
		if got := set(w, 1, profile(1, "TxProfile", 0, 8)); got != "Rejected" {
			t.Errorf("a TxProfile without a transaction: %s", got)
		}
		set(w, 0, profile(2, "TxDefaultProfile", 0, 12))
		w.charge(1, "A")
		near(t, "default of the charge point", watts(w, 1), 12)
		set(w, 1, profile(3, "TxDefaultProfile", 0, 10))
		near(t, "default of the connector", watts(w, 1), 10)
		p := profile(4, "TxProfile", 0, 8)
		p.TransactionID = ptr(int64(99))
		if got := set(w, 1, p); got != "Rejected" {
			t.Errorf("a TxProfile of another transaction: %s", got)
		}
		p.TransactionID = ptr(int64(1))
		set(w, 1, p)
		near(t, "profile of the transaction", watts(w, 1), 8)
		p = profile(5, "ChargePointMaxProfile", 0, 14)
		p.ChargingProfileKind, p.ChargingSchedule.StartSchedule = "Absolute", lenient.At(time.Now().Truncate(time.Second))
		set(w, 0, p)
		w.charge(2, "A")
		near(t, "second connector, half of the whole", watts(w, 2), 7)
		near(t, "first connector, half of the whole", watts(w, 1), 7)

		w.forget()
		set(w, 1, profile(6, "TxProfile", 1, 5)) // less than a control pilot can offer
		if got := watts(w, 1); got != 0 {
			t.Errorf("%g W below 6 A", got)
		}
		equal(t, "statuses", w.statuses(1), []string{"SuspendedEVSE"})
		near(t, "the whole is for the other alone", watts(w, 2), 7)
		if got := ask[*ocpp16.ClearChargingProfileResponse](w, &ocpp16.ClearChargingProfileRequest{ID: ptr(int64(6))}).Status; got != "Accepted" {
			t.Errorf("clear: %s", got)
		}
		if got := ask[*ocpp16.ClearChargingProfileResponse](w, &ocpp16.ClearChargingProfileRequest{ID: ptr(int64(6))}).Status; got != "Unknown" {
			t.Errorf("clear again: %s", got)
		}
		near(t, "cleared", watts(w, 1), 7)
		w.tap(1, "A") // the TxProfile ends with its transaction
		w.tap(2, "A")
		ask[*ocpp16.ClearChargingProfileResponse](w, &ocpp16.ClearChargingProfileRequest{ChargingProfilePurpose: "ChargePointMaxProfile"})
		w.unplug(1)
		w.charge(1, "A")
		near(t, "next transaction", watts(w, 1), 10)
	}, connectors(2))
}

func TestRemoteStartWithProfile(t *testing.T) {
	live(t, func(w *world) {
		w.plug(1)
		p := profile(1, "TxProfile", 0, 9)
		ask[*ocpp16.RemoteStartTransactionResponse](w, &ocpp16.RemoteStartTransactionRequest{IDTag: "A", ChargingProfile: &p})
		r := ask[*ocpp16.GetCompositeScheduleResponse](w, &ocpp16.GetCompositeScheduleRequest{ConnectorID: 1, Duration: 3600, ChargingRateUnit: "A"})
		if r.Status != "Accepted" || len(r.ChargingSchedule.ChargingSchedulePeriod) != 1 || r.ChargingSchedule.ChargingSchedulePeriod[0].Limit != 9 {
			t.Errorf("composite %+v", r.ChargingSchedule)
		}
		bad := profile(2, "TxDefaultProfile", 0, 9)
		if got := ask[*ocpp16.RemoteStartTransactionResponse](w, &ocpp16.RemoteStartTransactionRequest{IDTag: "A", ChargingProfile: &bad}).Status; got != "Rejected" {
			t.Errorf("a default profile in a remote start: %s", got)
		}
	})
}

func TestFullCar(t *testing.T) {
	live(t, func(w *world) {
		w.must(w.st.Plug(w.t.Context(), 1, car.Car{BatteryWh: 1000, SoC: 0.95}))
		w.tap(1, "A")
		w.pass(time.Hour)
		v := w.view().Connectors[0]
		if v.Status != "SuspendedEV" || v.SoC < 0.999 || v.PowerW != 0 {
			t.Errorf("%+v after an hour; want a full car", v)
		}
		readings := of[*ocpp16.MeterValuesRequest](w)
		last := readings[len(readings)-1].MeterValue[0].SampledValue
		i := slices.IndexFunc(last, func(v ocpp16.SampledValue) bool { return v.Measurand == ocpp16.MeasurandSoC })
		if i < 0 || last[i].Value != "100" || last[i].Location != ocpp16.LocationEV {
			t.Errorf("last reading %+v, want a state of charge of 100", last)
		}
	}, supply(car.Supply{DC: true, MaxW: 60_000}), keys("MeterValueSampleInterval", "60"))
}

// §5.17
func TestTriggers(t *testing.T) {
	tests := []struct {
		message   string
		connector *int64
		want      ocpp16.TriggerMessageStatus
		sends     []string
	}{
		{"BootNotification", nil, "Accepted", []string{"BootNotification"}},
		{"Heartbeat", nil, "Accepted", []string{"Heartbeat"}},
		{"StatusNotification", nil, "Accepted", []string{"StatusNotification", "StatusNotification", "StatusNotification"}},
		{"StatusNotification", ptr(int64(2)), "Accepted", []string{"StatusNotification"}},
		{"StatusNotification", ptr(int64(3)), "Rejected", nil},
		{"MeterValues", ptr(int64(1)), "Accepted", []string{"MeterValues"}},
		{"MeterValues", nil, "Accepted", []string{"MeterValues", "MeterValues"}},
		{"FirmwareStatusNotification", nil, "Accepted", []string{"FirmwareStatusNotification"}},
		{"DiagnosticsStatusNotification", nil, "Accepted", []string{"DiagnosticsStatusNotification"}},
	}
	live(t, func(w *world) {
		for _, tt := range tests {
			w.forget()
			r := ask[*ocpp16.TriggerMessageResponse](w, &ocpp16.TriggerMessageRequest{RequestedMessage: ocpp16.MessageTrigger(tt.message), ConnectorID: tt.connector})
			if r.Status != tt.want {
				t.Errorf("%s: %s, want %s", tt.message, r.Status, tt.want)
			}
			equal(t, tt.message, w.actions(), tt.sends)
		}
		for message, action := range map[ocpp16.ExtendedMessageTrigger]string{
			"LogStatusNotification": "LogStatusNotification", "SignChargePointCertificate": "SignCertificate", "Heartbeat": "Heartbeat",
		} {
			w.forget()
			ask[*ocpp16.ExtendedTriggerMessageResponse](w, &ocpp16.ExtendedTriggerMessageRequest{RequestedMessage: message})
			equal(t, string(message), w.actions(), []string{action})
		}
		if r := of[*ocpp16.MeterValuesRequest](w); len(r) > 0 && r[0].MeterValue[0].SampledValue[0].Context != ocpp16.ReadingContextTrigger {
			t.Errorf("context %s", r[0].MeterValue[0].SampledValue[0].Context)
		}
	}, connectors(2))
}

func TestClearCache(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.unplug(1)
		if got := ask[*ocpp16.ClearCacheResponse](w, &ocpp16.ClearCacheRequest{}).Status; got != "Accepted" {
			t.Errorf("%s", got)
		}
		w.unplugCable(true)
		w.plug(1)
		w.tap(1, "A")
		if w.view().Transaction() != "" {
			t.Error("A is still known after the cache was cleared")
		}
	})
}

// A central system without the security extension is not bothered again.
func TestNoSecurityExtension(t *testing.T) {
	live(t, func(w *world) {
		ask[*ocpp16.ChangeConfigurationResponse](w, &ocpp16.ChangeConfigurationRequest{Key: "AuthorizationKey", Value: "0123456789ABCDEF"})
		w.pass(10 * time.Second)
		if n := len(of[*ocpp16.SecurityEventNotificationRequest](w)); n != 1 {
			t.Errorf("%d security events, want the first only", n)
		}
		if v := w.view(); v.Queue != 0 {
			t.Errorf("%d messages are stuck", v.Queue)
		}
	}, decides(func(s said) any {
		if s.req.Action() == ocpp16.ActionSecurityEventNotification {
			return ocppj.NotImplemented
		}
		return nil
	}))
}

// Drain ends what runs and lets nothing begin.
func TestDrain(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A")
		w.must(w.st.SetLink(w.t.Context(), false))
		w.must(w.st.Drain(w.t.Context()))
		w.pass(10 * time.Second)
		if v := w.view(); v.Queue != 0 || v.Transaction() != "" || v.Connectors[0].Status != "Available" {
			t.Errorf("%+v after a drain", v)
		}
		if got := ask[*ocpp16.RemoteStartTransactionResponse](w, &ocpp16.RemoteStartTransactionRequest{IDTag: "A"}).Status; got != "Rejected" {
			t.Errorf("a remote start after a drain: %s", got)
		}
	})
}
