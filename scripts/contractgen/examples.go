package main

import (
	"encoding/json"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// The examples tell one morning at one station, so that they can be read
// together. The compiler holds them to the types.

const (
	gateway = event.GatewayID("gw-1")
	boot    = "0197f3c2-0000-7000-8000-00000000b001"
	stream  = "0197f3c2-6f7e-7cc1-a1f5-3f8d2f1f9f55"
	session = event.SessionID("0197f3c2-7a01-7d11-9a3b-5d1f5a0c9e77")
	order   = event.CommandID("0197f3c2-8b10-7e22-8c4d-6e2f6b1d0f88")
)

var (
	at     = time.Date(2026, 11, 22, 6, 1, 2, 345e6, time.UTC)
	place  = event.Address{Station: "CP-7", EVSE: 1, Connector: 1}
	whole  = event.Address{Station: "CP-7"}
	driver = event.Token{Type: "rfid", Value: "04A1B2C3"}
)

func ptr[T any](v T) *T { return &v }

func sample(wh int64, kw float64) event.Sample {
	return event.Sample{
		Time: at.Add(30 * time.Second), EnergyWh: ptr(wh), PowerW: ptr(kw * 1000),
		CurrentA: &event.Phases{L1: ptr(15.9), L2: ptr(16.0), L3: ptr(15.8)},
		VoltageV: &event.Phases{L1: ptr(230.1), L2: ptr(229.8), L3: ptr(231.0)}, SoCPercent: ptr(41.0),
	}
}

var events = []event.Draft{
	{Data: &event.GatewayStarted{Version: "1.0.0", Boot: boot, OS: "linux", Arch: "arm64"}},
	{Data: &event.GatewayClock{Boot: boot, OffsetMS: 3_600_250, Source: "manager"}},
	{Data: &event.GatewayAlarm{Alarm: "disk_full", Severity: "critical", Text: "the disk is full: stations are disconnected until there is room for their messages; free space on the data directory"}},
	{Data: &event.GatewayApplied{Section: "tokens-2a", Revision: "5f2c9a1b7d3e4f60718293a4"}},
	{Address: whole, Data: &event.StationConnected{Protocol: "ocpp1.6", Remote: "192.0.2.17:51514", SecurityProfile: 1}},
	{Address: whole, Data: &event.StationDisconnected{Code: 1006, Reason: "connection lost", DurationS: 86_400, OpenSessions: 1}},
	{Address: whole, Data: &event.StationBooted{Protocol: "ocpp1.6", Vendor: "Example", Model: "Wall 22", Serial: "EX-0007", Firmware: "4.2.1", Registration: "accepted"}},
	{Address: place, Data: &event.StationStatus{Status: event.StatusFaulted, ErrorCode: "ground", VendorErrorCode: "E-17", Info: "residual current"}},
	{Address: whole, Data: &event.StationConfiguration{Variables: []event.Variable{{Component: "OCPPCommCtrlr", Variable: "HeartbeatInterval", Value: "300", Mutability: "read_write", DataType: "integer", Unit: "s"}}, Command: order, Report: 31, Part: 2, More: true}},
	{Address: whole, Data: &event.StationFirmware{Status: "installed", Command: order}},
	{Address: whole, Data: &event.StationLog{Status: "uploaded", File: "CP-7-diagnostics.zip", Command: order}},
	{Address: whole, Data: &event.StationSecurity{Event: "InvalidCentralSystemCertificate", Info: "unknown issuer"}},
	{Address: place, Data: &event.SessionStarted{Session: session, Transaction: "4711", Protocol: "ocpp1.6", Token: &driver, Authorization: &event.Authorization{Decision: "accepted", By: "local_list"}, MeterWh: ptr(int64(1520)), Trigger: "authorized"}},
	{Address: place, Data: &event.SessionUpdated{Session: session, Transaction: "4711", ChargingState: "suspended_ev", MeterWh: ptr(int64(9870)), Trigger: "charging_state"}},
	{Address: place, Data: &event.SessionEnded{Session: session, Transaction: "4711", Reason: "local", Token: &driver, Started: &at, MeterStartWh: ptr(int64(1520)), MeterStopWh: ptr(int64(23_480)), EnergyWh: ptr(int64(21_960)), DurationS: 7_260, Trigger: "stop_authorized"}},
	{Address: whole, Data: &event.MeterRead{Reading: sample(1_204_551, 0)}},
	{Address: place, Data: &event.SessionSampled{Session: session, Transaction: "4711", Samples: []event.Sample{sample(1612, 11.04)}}},
	{Address: place, Data: &event.MeterSampled{Samples: []event.Sample{sample(1612, 0)}}},
	{Address: place, Data: &event.TokenAuthorized{Token: driver, Authorization: event.Authorization{Decision: "accepted", By: "cache", Reason: "the manager accepted it at 05:40"}, Context: "authorize"}},
	{Address: place, Data: &event.ReservationUpdated{Reservation: 12, Status: "used", Token: &driver, Session: session}},
	{Address: place, Data: &event.ProfileUpdated{Status: "effective", LimitA: ptr(10.0), Until: ptr(at.Add(2 * time.Hour)), Command: order}},
	{Address: place, Data: &event.CommandUpdated{Command: order, State: event.StateSucceeded, Reason: "the session began"}},
	{Address: whole, Data: &event.DataReceived{Action: "DataTransfer", Vendor: "com.example", Message: "tamper", Payload: json.RawMessage(`{"lid":"open"}`), Reason: "vendor data"}},
	{Data: &event.StreamThinned{From: at.Add(-72 * time.Hour), To: at.Add(-48 * time.Hour), Removed: 51_840, Kept: 1_440, StepS: 60, Reason: "samples.db reached its limit of 512 MiB"}},
	{Data: &event.StreamSalvaged{Lane: event.LaneEvents, File: "events.db.damaged-20261122T060102Z", Recovered: 1812, Damaged: 3, Error: "database disk image is malformed"}},
}

var commands = map[event.CommandType]any{
	event.CommandStart:              event.StartParams{Token: driver},
	event.CommandStop:               event.StopParams{Session: session},
	event.CommandUnlock:             event.UnlockParams{Connector: 1},
	event.CommandReset:              event.ResetParams{Kind: "soft"},
	event.CommandSetAvailability:    event.SetAvailabilityParams{Available: false},
	event.CommandSetLimit:           event.SetLimitParams{LimitA: ptr(10.0), Until: at.Add(2 * time.Hour)},
	event.CommandClearLimit:         event.ClearLimitParams{},
	event.CommandGetLimit:           event.GetLimitParams{DurationS: 3600, Unit: "A"},
	event.CommandGetConfiguration:   event.GetConfigurationParams{Variables: []event.Variable{{Component: "Ocpp16", Variable: "HeartbeatInterval"}}},
	event.CommandSetConfiguration:   event.SetConfigurationParams{Variables: []event.Variable{{Component: "Ocpp16", Variable: "HeartbeatInterval", Value: "300"}}},
	event.CommandTrigger:            event.TriggerParams{Message: "status"},
	event.CommandReserve:            event.ReserveParams{Reservation: 12, Token: driver, Until: at.Add(time.Hour)},
	event.CommandCancelReservation:  event.CancelReservationParams{Reservation: 12},
	event.CommandUpdateFirmware:     event.UpdateFirmwareParams{URL: "https://manager.example/files/1f0c", Retrieve: at},
	event.CommandGetLog:             event.GetLogParams{Kind: "diagnostics", URL: "https://manager.example/files/2a1d"},
	event.CommandClearCache:         event.ClearCacheParams{},
	event.CommandSendLocalList:      event.SendLocalListParams{Version: 8, Entries: []event.ListEntry{{Token: driver, Status: "accepted"}}},
	event.CommandInstallCertificate: event.InstallCertificateParams{Kind: "csms_root", Certificate: "-----BEGIN CERTIFICATE-----\n…"},
	event.CommandDeleteCertificate:  event.DeleteCertificateParams{Hash: event.CertificateHash{Algorithm: "SHA256", IssuerNameHash: "9f86d081…", IssuerKeyHash: "60303ae2…", Serial: "1a2b"}},
	event.CommandListCertificates:   event.ListCertificatesParams{Kind: "csms_root"},
	event.CommandSignCertificate:    event.SignCertificateParams{},
	event.CommandShowMessage:        event.ShowMessageParams{Text: "Ready at 06:30", ID: 4, End: at.Add(time.Hour), Language: "en"},
	event.CommandSendData:           event.SendDataParams{Vendor: "com.example", Message: "led", Data: "green"},
	event.CommandCall:               event.CallParams{Protocol: "ocpp1.6", Action: "ClearCache", Payload: json.RawMessage(`{}`)},
	event.CommandRestart:            event.RestartParams{},
	event.CommandRecord:             event.RecordParams{Station: "CP-7", From: at.Add(-10 * time.Minute), To: at, URL: "https://manager.example/files/77e0"},
}

// paramless lists the commands whose parameters are not part of version 1 yet:
// a gateway answers them with unsupported.
var paramless = map[event.CommandType]bool{
	event.CommandUpdate: true, event.CommandScan: true, event.CommandBundle: true,
}

type message struct {
	name   string // of the type in package wire
	topic  string
	qos    int
	retain bool
	up     bool
	value  any
}

var messages = []message{
	{name: "Hello", topic: "hello", qos: 1, up: true, value: wire.Hello{
		Hello: "0197f3c2-0000-7000-8000-00000000c001", Version: "1.0.0", Boot: boot, Connection: "0197f3c2-0000-7000-8000-00000000d001",
		Clock: event.ClockSynced, Time: at,
		Lanes:   map[event.Lane][]wire.StreamSummary{event.LaneEvents: {{Stream: stream, Oldest: 1, Next: 43, Missing: [][2]wire.Sequence{{7, 9}}}}, event.LaneSamples: {}},
		Desired: map[string]string{"tokens-2a": "5f2c9a1b7d3e4f60718293a4"},
	}},
	{name: "Welcome", topic: "welcome", qos: 1, value: wire.Welcome{
		Hello: "0197f3c2-0000-7000-8000-00000000c001", Time: at, Incarnation: "0197f3c2-0000-7000-8000-00000000e001",
		Positions:    map[event.Lane]map[string]wire.Sequence{event.LaneEvents: {stream: 41}, event.LaneSamples: {}},
		Transactions: map[event.StationID]int64{"CP-7": 4711}, Desired: map[string]string{"tokens-2a": "5f2c9a1b7d3e4f60718293a4"},
	}},
	{name: "Ack", topic: "ack/{lane}", qos: 1, value: wire.Ack{Stream: stream, First: ptr(wire.Sequence(42)), Sequence: ptr(wire.Sequence(42))}},
	{name: "Order", topic: "cmd", qos: 1, value: wire.Order{Command: event.Command{ID: order, Type: event.CommandStart, Station: "CP-7", EVSE: 1, Params: json.RawMessage(`{"token":{"type":"rfid","value":"04A1B2C3"}}`), Expires: at.Add(time.Minute), IssuedBy: "operator"}}},
	{name: "Ask", topic: "ask", qos: 0, up: true, value: wire.Ask{ID: "0197f3c2-0000-7000-8000-00000000f001", Deadline: at.Add(3 * time.Second), WaitMS: 3000, Question: "token", Station: "CP-7", EVSE: 1, Token: &driver}},
	{name: "Answer", topic: "answer", qos: 0, value: wire.Answer{ID: "0197f3c2-0000-7000-8000-00000000f001", Token: &wire.TokenEntry{Token: driver, Status: "accepted", CacheS: 86_400}}},
	{name: "Desired", topic: "desired/{section}", qos: 1, value: wire.Desired{Section: "tokens-2a", Revision: "5f2c9a1b7d3e4f60718293a4", Content: json.RawMessage(`{"tokens":[{"type":"rfid","value":"04A1B2C3","status":"accepted"}]}`)}},
	{name: "Live", topic: "live", qos: 0, up: true, value: wire.Live{Time: at, Connectors: []wire.LiveConnector{{Station: "CP-7", EVSE: 1, Connector: 1, Status: event.StatusCharging, PowerW: ptr(11_040.0), EnergyWh: ptr(int64(92)), Session: session, AsOf: at}}, Backlog: map[string]int{"events": 0, "samples": 3}}},
	{name: "Status", topic: "status", qos: 1, retain: true, up: true, value: wire.Status{Online: true, Boot: boot, Connection: "0197f3c2-0000-7000-8000-00000000d001"}},
}
