package event

import (
	"encoding/json"
	"time"
)

// Types lists every event type of version 1, in the order of the contract.
var Types = []Type{
	TypeGatewayStarted, TypeGatewayClock, TypeGatewayAlarm, TypeGatewayApplied,
	TypeStationConnected, TypeStationDisconnected, TypeStationBooted, TypeStationStatus,
	TypeStationConfiguration, TypeStationFirmware, TypeStationLog, TypeStationSecurity,
	TypeSessionStarted, TypeSessionUpdated, TypeSessionEnded, TypeMeterRead,
	TypeSessionSampled, TypeMeterSampled, TypeTokenAuthorized, TypeReservationUpdated,
	TypeProfileUpdated, TypeCommandUpdated, TypeDataReceived, TypeStreamThinned, TypeStreamSalvaged,
}

// New returns an empty payload for events of type t, nil for an unknown type.
func New(t Type) Payload {
	switch t {
	case TypeGatewayStarted:
		return new(GatewayStarted)
	case TypeGatewayClock:
		return new(GatewayClock)
	case TypeGatewayAlarm:
		return new(GatewayAlarm)
	case TypeGatewayApplied:
		return new(GatewayApplied)
	case TypeStationConnected:
		return new(StationConnected)
	case TypeStationDisconnected:
		return new(StationDisconnected)
	case TypeStationBooted:
		return new(StationBooted)
	case TypeStationStatus:
		return new(StationStatus)
	case TypeStationConfiguration:
		return new(StationConfiguration)
	case TypeStationFirmware:
		return new(StationFirmware)
	case TypeStationLog:
		return new(StationLog)
	case TypeStationSecurity:
		return new(StationSecurity)
	case TypeSessionStarted:
		return new(SessionStarted)
	case TypeSessionUpdated:
		return new(SessionUpdated)
	case TypeSessionEnded:
		return new(SessionEnded)
	case TypeMeterRead:
		return new(MeterRead)
	case TypeSessionSampled:
		return new(SessionSampled)
	case TypeMeterSampled:
		return new(MeterSampled)
	case TypeTokenAuthorized:
		return new(TokenAuthorized)
	case TypeReservationUpdated:
		return new(ReservationUpdated)
	case TypeProfileUpdated:
		return new(ProfileUpdated)
	case TypeCommandUpdated:
		return new(CommandUpdated)
	case TypeDataReceived:
		return new(DataReceived)
	case TypeStreamThinned:
		return new(StreamThinned)
	case TypeStreamSalvaged:
		return new(StreamSalvaged)
	}
	return nil
}

// GatewayStarted is sent once by every start of a gateway.
type GatewayStarted struct {
	Version string `json:"version"`
	Boot    string `json:"boot"` // names this start; every event carries it
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// GatewayClock says that the gateway's clock was set. The manager adds OffsetMS
// to the times of every unsynced event of Boot, sent before this one or after.
type GatewayClock struct {
	Boot     string `json:"boot"`
	OffsetMS int64  `json:"offset_ms"`
	Source   string `json:"source"` // "kernel" or "manager"
}

// GatewayAlarm needs a person.
type GatewayAlarm struct {
	Alarm    string `json:"alarm"`    // a word for programs: storage_lost, disk_full, file_damaged, …
	Severity string `json:"severity"` // "warning" or "critical"
	Text     string `json:"text"`     // for people: what happened and what to do
	Cleared  bool   `json:"cleared,omitempty"`
	Count    int    `json:"count,omitempty"` // identical repeats folded into this one, when more than one
}

// GatewayApplied says that a desired section took effect, or why it did not.
type GatewayApplied struct {
	Section  string `json:"section"`
	Revision string `json:"revision"`
	Error    string `json:"error,omitempty"`
}

// StationConnected says that a station's transport is up.
type StationConnected struct {
	Protocol        string `json:"protocol"` // ocpp1.6, ocpp2.0.1, ocpp2.1, modbus-tcp, …
	Remote          string `json:"remote"`   // network address
	SecurityProfile int    `json:"security_profile"`
}

// StationDisconnected says that a station's transport is down.
type StationDisconnected struct {
	Code         int    `json:"code,omitempty"` // WebSocket close code
	Reason       string `json:"reason"`
	DurationS    int64  `json:"duration_s"` // how long it had been connected
	OpenSessions int    `json:"open_sessions"`
	Count        int    `json:"count,omitempty"` // identical repeats folded into this one
}

// StationBooted carries what a station says of itself when it starts.
// OCPP 1.6 §4.2, OCPP 2.0.1 B01.
type StationBooted struct {
	Protocol     string `json:"protocol"`
	Vendor       string `json:"vendor"`
	Model        string `json:"model"`
	Serial       string `json:"serial,omitempty"`
	Firmware     string `json:"firmware,omitempty"`
	ICCID        string `json:"iccid,omitempty"`
	IMSI         string `json:"imsi,omitempty"`
	MeterType    string `json:"meter_type,omitempty"`
	MeterSerial  string `json:"meter_serial,omitempty"`
	Reason       string `json:"reason,omitempty"`
	Registration string `json:"registration"`    // accepted, pending or rejected
	Count        int    `json:"count,omitempty"` // identical repeats folded into this one
}

// Status is the state of a connector, an EVSE or a station.
type Status string

// The unified states; unified-mapping of OCPP in shared/README.md.
const (
	StatusAvailable     Status = "available"
	StatusPreparing     Status = "preparing"
	StatusCharging      Status = "charging"
	StatusSuspendedEV   Status = "suspended_ev"
	StatusSuspendedEVSE Status = "suspended_evse"
	StatusFinishing     Status = "finishing"
	StatusOccupied      Status = "occupied"
	StatusReserved      Status = "reserved"
	StatusUnavailable   Status = "unavailable"
	StatusFaulted       Status = "faulted"
	StatusUnknown       Status = "unknown"
)

// RawGone beside StatusUnknown says that the station has no such connector any
// more: it booted and told of others only.
const RawGone = "gone"

// StationStatus is the state of the place that the subject names.
type StationStatus struct {
	Status          Status `json:"status"`
	Raw             string `json:"raw,omitempty"`        // the device's own word where it is not the usual one; "gone" with unknown: the station has no such connector any more
	ErrorCode       string `json:"error_code,omitempty"` // unified: connector_lock, ground, meter, other, …; absent without error
	VendorID        string `json:"vendor_id,omitempty"`
	VendorErrorCode string `json:"vendor_error_code,omitempty"`
	Info            string `json:"info,omitempty"`
	DeviceTime      string `json:"device_time,omitempty"` // as the device wrote it
	Count           int    `json:"count,omitempty"`       // identical repeats folded into this one
}

// Variable is one setting or reading of a station: an OCPP 1.6 key is variable
// Key of component "Ocpp16".
type Variable struct {
	Component string `json:"component"`
	Variable  string `json:"variable"`
	Instance  string `json:"instance,omitempty"`
	EVSE      int    `json:"evse,omitempty"`
	Attribute string `json:"attribute,omitempty"` // absent means Actual
	Value     string `json:"value"`
	ReadOnly  bool   `json:"read_only,omitempty"`

	Mutability string   `json:"mutability,omitempty"` // read_only, write_only or read_write, where the device told it
	DataType   string   `json:"data_type,omitempty"`  // string, decimal, integer, date_time, boolean, option_list, sequence_list, member_list
	Unit       string   `json:"unit,omitempty"`
	Values     []string `json:"values,omitempty"` // the words that it may take
}

// StationConfiguration reports variables of a station.
type StationConfiguration struct {
	Variables []Variable `json:"variables"`
	Unknown   []string   `json:"unknown,omitempty"` // asked for and not known to the station
	Command   CommandID  `json:"command,omitempty"`
	Report    int        `json:"report,omitempty"`   // the number of the report of which this is a part; absent: it stands alone
	Part      int        `json:"part,omitempty"`     // of the report, from 1
	More      bool       `json:"more,omitempty"`     // further parts of the report follow
	Complete  bool       `json:"complete,omitempty"` // the report with all its parts is the whole inventory: what is not in it is gone
}

// StationFirmware is the progress of a firmware update.
type StationFirmware struct {
	Status    string    `json:"status"` // snake_case of the OCPP word: downloading, installed, installation_failed, …
	Request   int       `json:"request,omitempty"`
	Publish   bool      `json:"publish,omitempty"`   // not of its own: firmware that a local controller hands to other stations
	Locations []string  `json:"locations,omitempty"` // where published firmware lies
	Info      string    `json:"info,omitempty"`
	Command   CommandID `json:"command,omitempty"`
	Count     int       `json:"count,omitempty"`
}

// StationLog is the progress of a log upload.
type StationLog struct {
	Status  string    `json:"status"` // snake_case of the OCPP word: uploading, uploaded, upload_failed, …
	Request int       `json:"request,omitempty"`
	File    string    `json:"file,omitempty"`
	Command CommandID `json:"command,omitempty"`
	Count   int       `json:"count,omitempty"`
}

// StationSecurity is a security event of a station or about one.
type StationSecurity struct {
	Event      string `json:"event"`
	Info       string `json:"info,omitempty"`
	DeviceTime string `json:"device_time,omitempty"`
	Count      int    `json:"count,omitempty"`
}

// Token is what a driver shows: a card, a code, a contract.
type Token struct {
	Type  string `json:"type"`  // rfid, emaid, mac, local, central, key_code, …; "none" where nobody has to show one; "unspecified" where the protocol does not say
	Value string `json:"value"` // as the device wrote it; compared without regard to case; empty for none
}

// Flag marks what is unusual about a session.
type Flag string

// The closed list of session flags.
const (
	FlagRecovered       Flag = "recovered"        // made from a stop or values of an unknown transaction
	FlagSuperseded      Flag = "superseded"       // ended because the next one began without a stop
	FlagInferred        Flag = "inferred"         // ended because the connector was free again
	FlagSuspect         Flag = "suspect"          // a claim that cannot be right was corrected
	FlagGap             Flag = "gap"              // numbers or time are missing in between
	FlagMeterRegression Flag = "meter_regression" // the register ran backwards
	FlagClock           Flag = "clock"            // the device's clock was not believed
	FlagUnknownEnergy   Flag = "unknown_energy"   // the energy could not be worked out
	FlagOffline         Flag = "offline"          // it happened while the station was cut off
	FlagUnauthorized    Flag = "unauthorized"     // the token was not accepted
)

// Authorization is a decision about a token.
type Authorization struct {
	Decision string `json:"decision"` // accepted, blocked, expired, invalid, concurrent
	By       string `json:"by"`       // cloud, cache, local_list, offline_policy, reservation, command; station: it asks nobody to show a token
	Reason   string `json:"reason,omitempty"`
}

// SessionStarted opens a charging session.
type SessionStarted struct {
	Session       SessionID      `json:"session"`
	Transaction   string         `json:"transaction"` // the protocol's id, as text
	Protocol      string         `json:"protocol"`
	Token         *Token         `json:"token,omitempty"`
	Authorization *Authorization `json:"authorization,omitempty"`
	MeterWh       *int64         `json:"meter_wh,omitempty"`
	ChargingState string         `json:"charging_state,omitempty"` // as in session.updated
	Trigger       string         `json:"trigger,omitempty"`        // authorized, remote_start, …
	Reservation   int            `json:"reservation,omitempty"`
	Command       CommandID      `json:"command,omitempty"` // the start command that caused it
	DeviceTime    string         `json:"device_time,omitempty"`
	Flags         []Flag         `json:"flags,omitempty"`
}

// SessionUpdated tells what changed in a running session.
type SessionUpdated struct {
	Session       SessionID      `json:"session"`
	Transaction   string         `json:"transaction"`
	ChargingState string         `json:"charging_state,omitempty"` // charging, suspended_ev, suspended_evse, ev_connected, idle
	Token         *Token         `json:"token,omitempty"`          // of the session, which began without one
	Authorization *Authorization `json:"authorization,omitempty"`  // of that token
	MeterWh       *int64         `json:"meter_wh,omitempty"`       // register of a quarter of an hour, or at an interruption
	Trigger       string         `json:"trigger,omitempty"`
	Reading       *Sample        `json:"reading,omitempty"` // a reading that may not wait: signed, begin, interruption
	PhasesUsed    int            `json:"phases_used,omitempty"`
	CableA        int            `json:"cable_a,omitempty"` // what the cable bears
	Command       CommandID      `json:"command,omitempty"` // the start command that this session obeys after all
	DeviceTime    string         `json:"device_time,omitempty"`
	Flags         []Flag         `json:"flags,omitempty"`
}

// SessionEnded closes a charging session. A second one for the same session
// replaces the first: the real stop came after an inferred end.
type SessionEnded struct {
	Session      SessionID  `json:"session"`
	Transaction  string     `json:"transaction"`
	Reason       string     `json:"reason"` // local, remote, ev_disconnected, …
	Token        *Token     `json:"token,omitempty"`
	Started      *time.Time `json:"started,omitempty"`
	MeterStartWh *int64     `json:"meter_start_wh,omitempty"`
	MeterStopWh  *int64     `json:"meter_stop_wh,omitempty"`
	EnergyWh     *int64     `json:"energy_wh,omitempty"` // absent where it cannot be known
	DurationS    int64      `json:"duration_s"`
	Trigger      string     `json:"trigger,omitempty"`
	Command      CommandID  `json:"command,omitempty"` // the stop command that caused it
	Readings     []Sample   `json:"readings,omitempty"`
	DeviceTime   string     `json:"device_time,omitempty"`
	Flags        []Flag     `json:"flags,omitempty"`
}

// Phases are values of the conductors, where the device tells them.
type Phases struct {
	L1 *float64 `json:"l1,omitempty"`
	L2 *float64 `json:"l2,omitempty"`
	L3 *float64 `json:"l3,omitempty"`
	N  *float64 `json:"n,omitempty"`
}

// Value is a measured quantity that has no field of its own in Sample.
type Value struct {
	Measurand string   `json:"measurand"`          // the device's word
	Value     *float64 `json:"value,omitempty"`    // in Unit, normalised
	Raw       string   `json:"raw,omitempty"`      // what could not be read as a number
	Unit      string   `json:"unit,omitempty"`     //
	Phase     string   `json:"phase,omitempty"`    //
	Location  string   `json:"location,omitempty"` // absent means outlet
}

// Sample is what a meter or a charger measured at one moment. Absence is not
// zero.
type Sample struct {
	Time            time.Time `json:"time"`
	Context         string    `json:"context,omitempty"` // absent means periodic; clock, begin, end, interruption_begin, interruption_end, trigger, other
	EnergyWh        *int64    `json:"energy_wh,omitempty"`
	ExportWh        *int64    `json:"export_wh,omitempty"`
	PowerW          *float64  `json:"power_w,omitempty"` // import positive
	PowerOfferedW   *float64  `json:"power_offered_w,omitempty"`
	CurrentA        *Phases   `json:"current_a,omitempty"`
	CurrentOfferedA *float64  `json:"current_offered_a,omitempty"`
	VoltageV        *Phases   `json:"voltage_v,omitempty"` // line to neutral
	SoCPercent      *float64  `json:"soc_percent,omitempty"`
	FrequencyHz     *float64  `json:"frequency_hz,omitempty"`
	TemperatureC    *float64  `json:"temperature_c,omitempty"`
	Other           []Value   `json:"other,omitempty"`
	Signed          []Signed  `json:"signed,omitempty"`
	DeviceTime      string    `json:"device_time,omitempty"` // only where it was not believed
}

// Signed is a signed meter value, untouched.
type Signed struct {
	Data     string `json:"data"`
	Method   string `json:"method,omitempty"`
	Encoding string `json:"encoding,omitempty"`
	Key      string `json:"key,omitempty"`
}

// MeterRead is a register outside sessions, each quarter of an hour and at
// changes.
type MeterRead struct {
	Reading Sample `json:"reading"`
}

// SessionSampled is a block of samples of one session, up to a minute of one
// EVSE.
type SessionSampled struct {
	Session     SessionID `json:"session"`
	Transaction string    `json:"transaction"`
	Samples     []Sample  `json:"samples"`
}

// MeterSampled is a block of samples outside sessions.
type MeterSampled struct {
	Samples []Sample `json:"samples"`
}

// TokenAuthorized is a decision about a token.
type TokenAuthorized struct {
	Token Token `json:"token"`
	Authorization
	Parent  string     `json:"parent,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	Context string     `json:"context"` // authorize, start or remote_start
	Count   int        `json:"count,omitempty"`
}

// ReservationUpdated says that a reservation was made, used or ended.
type ReservationUpdated struct {
	Reservation int       `json:"reservation"`
	Status      string    `json:"status"` // active, used, expired, cancelled
	Token       *Token    `json:"token,omitempty"`
	Session     SessionID `json:"session,omitempty"`
	Command     CommandID `json:"command,omitempty"`
}

// ProfileUpdated says that a charging limit took effect, ended or was refused.
type ProfileUpdated struct {
	Status  string     `json:"status"` // effective, ended, refused
	LimitA  *float64   `json:"limit_a,omitempty"`
	LimitW  *float64   `json:"limit_w,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Source  string     `json:"source,omitempty"` // whose limit it is where it is not ours: ems, so, cso, other
	Command CommandID  `json:"command,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

// CommandUpdated says that a command moved on.
type CommandUpdated struct {
	Command CommandID       `json:"command"`
	State   CommandState    `json:"state"`
	Reason  string          `json:"reason,omitempty"` // for people
	Result  json.RawMessage `json:"result,omitempty"` // what a question brought
}

// DataReceived keeps a message that no other type covers.
type DataReceived struct {
	Action  string          `json:"action"`
	Vendor  string          `json:"vendor,omitempty"`
	Message string          `json:"message,omitempty"` // vendor's message id
	Payload json.RawMessage `json:"payload,omitempty"` // verbatim where it is JSON
	Text    string          `json:"text,omitempty"`    // verbatim where it is not
	Reason  string          `json:"reason,omitempty"`  // why it has no type of its own
	Count   int             `json:"count,omitempty"`
}

// StreamThinned says which samples were thinned out, and why.
type StreamThinned struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Removed int       `json:"removed"` // samples
	Kept    int       `json:"kept"`    // samples
	StepS   int       `json:"step_s"`  // one sample of each EVSE was kept per so many seconds; 0: none
	Reason  string    `json:"reason"`
}

// StreamSalvaged says that a damaged file was moved aside and what of it could
// be read.
type StreamSalvaged struct {
	Lane      Lane   `json:"lane"`
	File      string `json:"file"` // where the damaged file lies now
	Recovered int    `json:"recovered"`
	Damaged   int    `json:"damaged"` // rows that were there and could not be read
	Error     string `json:"error"`
}

// EventType implements Payload.
func (*GatewayStarted) EventType() Type { return TypeGatewayStarted }

// EventType implements Payload.
func (*GatewayClock) EventType() Type { return TypeGatewayClock }

// EventType implements Payload.
func (*GatewayAlarm) EventType() Type { return TypeGatewayAlarm }

// EventType implements Payload.
func (*GatewayApplied) EventType() Type { return TypeGatewayApplied }

// EventType implements Payload.
func (*StationConnected) EventType() Type { return TypeStationConnected }

// EventType implements Payload.
func (*StationDisconnected) EventType() Type { return TypeStationDisconnected }

// EventType implements Payload.
func (*StationBooted) EventType() Type { return TypeStationBooted }

// EventType implements Payload.
func (*StationStatus) EventType() Type { return TypeStationStatus }

// EventType implements Payload.
func (*StationConfiguration) EventType() Type { return TypeStationConfiguration }

// EventType implements Payload.
func (*StationFirmware) EventType() Type { return TypeStationFirmware }

// EventType implements Payload.
func (*StationLog) EventType() Type { return TypeStationLog }

// EventType implements Payload.
func (*StationSecurity) EventType() Type { return TypeStationSecurity }

// EventType implements Payload.
func (*SessionStarted) EventType() Type { return TypeSessionStarted }

// EventType implements Payload.
func (*SessionUpdated) EventType() Type { return TypeSessionUpdated }

// EventType implements Payload.
func (*SessionEnded) EventType() Type { return TypeSessionEnded }

// EventType implements Payload.
func (*MeterRead) EventType() Type { return TypeMeterRead }

// EventType implements Payload.
func (*SessionSampled) EventType() Type { return TypeSessionSampled }

// EventType implements Payload.
func (*MeterSampled) EventType() Type { return TypeMeterSampled }

// EventType implements Payload.
func (*TokenAuthorized) EventType() Type { return TypeTokenAuthorized }

// EventType implements Payload.
func (*ReservationUpdated) EventType() Type { return TypeReservationUpdated }

// EventType implements Payload.
func (*ProfileUpdated) EventType() Type { return TypeProfileUpdated }

// EventType implements Payload.
func (*CommandUpdated) EventType() Type { return TypeCommandUpdated }

// EventType implements Payload.
func (*DataReceived) EventType() Type { return TypeDataReceived }

// EventType implements Payload.
func (*StreamThinned) EventType() Type { return TypeStreamThinned }

// EventType implements Payload.
func (*StreamSalvaged) EventType() Type { return TypeStreamSalvaged }
