// Package fleet is the domain of the charging manager: gateways, locations,
// stations, sessions, tokens and commands, and how events change them. It has
// not heard of MQTT, SQL or HTTP.
package fleet

import (
	"encoding/json"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Tenant owns rows. Every row carries its tenant.
type Tenant string

// DefaultTenant owns what nobody has given to another.
const DefaultTenant Tenant = "default"

// Fact is a value that somebody else reported: manager to gateway, gateway to
// station and the age of a value are three different facts.
type Fact[T any] struct {
	Value  T         `json:"value"`
	AsOf   time.Time `json:"as_of"`
	Source string    `json:"source"` // station, gateway or manager: who said so
	// Stale: somebody on the way to the source is out of reach, so the value may
	// have changed since.
	Stale bool `json:"stale"`
}

// Connectivity of a gateway or station.
const (
	Online   = "online"
	Offline  = "offline"
	Knocking = "knocking" // a gateway that nobody has added
)

// Gateway is a box on a site.
type Gateway struct {
	ID           event.GatewayID `json:"id"`
	Tenant       Tenant          `json:"tenant"`
	Location     string          `json:"location,omitempty"`
	Connectivity Fact[string]    `json:"connectivity"`
	Version      string          `json:"version,omitempty"`
	Boot         string          `json:"boot,omitempty"`
	Started      *time.Time      `json:"started,omitempty"`
	Clock        event.Clock     `json:"clock,omitempty"`
	Lanes        []LaneState     `json:"lanes,omitempty"`
	Alarms       []Alarm         `json:"alarms,omitempty"`
	Losses       []Loss          `json:"losses,omitempty"` // the newest ones
}

// Loss is a run of events that a gateway had numbered and no longer has.
type Loss struct {
	Lane   event.Lane `json:"lane"`
	Stream string     `json:"stream"`
	First  uint64     `json:"first"`
	Last   uint64     `json:"last"`
	Reason string     `json:"reason"` // expired (deleted before it was delivered) or declared (by the gateway)
	At     time.Time  `json:"at"`     // when the manager learned of it
}

// LaneState is how far a gateway's lane has been taken.
type LaneState struct {
	Lane     event.Lane `json:"lane"`
	Stream   string     `json:"stream"` // the newest
	Sequence uint64     `json:"sequence"`
	Backlog  uint64     `json:"backlog"` // as of the last hello
}

// Alarm needs a person.
type Alarm struct {
	Alarm    string    `json:"alarm"`
	Severity string    `json:"severity"`
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
}

// Location is a place with gateways.
type Location struct {
	ID     string `json:"id"`
	Tenant Tenant `json:"tenant"`
	Name   string `json:"name"`
}

// Station is a charging station.
type Station struct {
	ID       string          `json:"id"` // the manager's
	Tenant   Tenant          `json:"tenant"`
	Gateway  event.GatewayID `json:"gateway"`
	Identity event.StationID `json:"identity"`
	Location string          `json:"location"`
	Protocol string          `json:"protocol"`
	Vendor   string          `json:"vendor"`
	Model    string          `json:"model"`
	Serial   string          `json:"serial,omitempty"`
	Firmware string          `json:"firmware"`
	// Registration is the gateway's answer to the newest boot.
	Registration string       `json:"registration,omitempty"`
	Connectivity Fact[string] `json:"connectivity"`
	Status       Fact[string] `json:"status"` // of the station as a whole
	EVSEs        []EVSE       `json:"evses"`
}

// EVSE charges one vehicle at a time.
type EVSE struct {
	EVSE       int         `json:"evse"`
	Session    string      `json:"session,omitempty"` // the running one
	PowerW     *float64    `json:"power_w,omitempty"`
	PowerAsOf  *time.Time  `json:"power_as_of,omitempty"`
	LimitA     *float64    `json:"limit_a,omitempty"`
	LimitW     *float64    `json:"limit_w,omitempty"`
	Connectors []Connector `json:"connectors"`
}

// Connector is a plug or socket.
type Connector struct {
	Connector int          `json:"connector"`
	Status    Fact[string] `json:"status"`
	ErrorCode string       `json:"error_code,omitempty"`
	Info      string       `json:"info,omitempty"`
}

// StatusInterval is a time that a place spent in one status. To is nil while it
// lasts.
type StatusInterval struct {
	Station   string     `json:"station"` // the manager's id
	EVSE      int        `json:"evse"`
	Connector int        `json:"connector"`
	Status    string     `json:"status"`
	ErrorCode string     `json:"error_code,omitempty"`
	From      time.Time  `json:"from"`
	To        *time.Time `json:"to,omitempty"`
}

// Session statuses.
const (
	SessionActive = "active"
	SessionEnded  = "ended"
)

// Session is what a device called a transaction.
type Session struct {
	ID            event.SessionID      `json:"id"`
	Tenant        Tenant               `json:"tenant"`
	Gateway       event.GatewayID      `json:"gateway"`
	Station       string               `json:"station"`  // the manager's id
	Identity      event.StationID      `json:"identity"` // of the station
	EVSE          int                  `json:"evse"`
	Connector     int                  `json:"connector"`
	Protocol      string               `json:"protocol"`
	Transaction   string               `json:"transaction"`
	Status        string               `json:"status"`
	ChargingState string               `json:"charging_state"`
	Token         *event.Token         `json:"token"`
	StopToken     *event.Token         `json:"stop_token,omitempty"`
	Authorization *event.Authorization `json:"authorization,omitempty"`
	Started       *time.Time           `json:"started"`
	Ended         *time.Time           `json:"ended"`
	Reason        string               `json:"reason"`
	MeterStartWh  *int64               `json:"meter_start_wh"`
	MeterStopWh   *int64               `json:"meter_stop_wh"`
	MeterWh       *int64               `json:"meter_wh,omitempty"` // newest register that an event carried
	EnergyWh      *int64               `json:"energy_wh"`
	DurationS     int64                `json:"duration_s,omitempty"`
	Readings      []event.Sample       `json:"readings,omitempty"`
	Flags         []event.Flag         `json:"flags"`
}

// SamplePoint is one sample, keyed by EVSE and time.
type SamplePoint struct {
	event.Sample
	Session event.SessionID `json:"session,omitempty"`
}

// Entry is an event in the log. Position orders everything that this manager
// ever committed.
type Entry struct {
	Position int64  `json:"position"`
	Tenant   Tenant `json:"tenant"`
	event.Event
	Gateway event.GatewayID `json:"gateway"`
	Station string          `json:"station,omitempty"` // the manager's id
	Session event.SessionID `json:"session,omitempty"`
	// OffsetMS was added to Time and Recorded: the gateway's clock was not set.
	OffsetMS int64 `json:"offset_ms,omitempty"`
}

// Command is an order and what became of it.
type Command struct {
	event.Command
	Tenant  Tenant             `json:"tenant"`
	Gateway event.GatewayID    `json:"gateway"`
	Target  string             `json:"target,omitempty"` // the manager's id of the station
	Status  event.CommandState `json:"status"`
	Reason  string             `json:"reason,omitempty"`
	Result  json.RawMessage    `json:"result,omitempty"`
	Created time.Time          `json:"created"`
	Updated time.Time          `json:"updated"`
	// CancelAsked is when somebody wished to take back what was sent already.
	CancelAsked *time.Time    `json:"cancel_asked,omitempty"`
	Steps       []CommandStep `json:"steps"`
}

// CommandStep is one state of a command and when it was reached.
type CommandStep struct {
	State  event.CommandState `json:"state"`
	At     time.Time          `json:"at"`
	Reason string             `json:"reason,omitempty"`
}

// Token is a driver's token that the manager knows.
type Token struct {
	Tenant  Tenant     `json:"tenant"`
	Type    string     `json:"type"`
	Value   string     `json:"value"`
	Status  string     `json:"status"` // accepted, blocked, expired, invalid
	Parent  string     `json:"parent,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	Label   string     `json:"label,omitempty"`
	Updated time.Time  `json:"updated"`
}

// Variable is a setting or reading of a station, whatever its protocol calls it.
type Variable struct {
	event.Variable
	AsOf time.Time `json:"as_of"` // when the station last said so
}

// Scorecard tells how often a station, or all stations of one model, broke the
// rules of their protocol.
type Scorecard struct {
	Vendor    string           `json:"vendor"`
	Model     string           `json:"model"`
	Firmware  string           `json:"firmware"`
	Protocol  string           `json:"protocol,omitempty"` // of one station
	Gateway   event.GatewayID  `json:"gateway,omitempty"`  // of one station
	Station   string           `json:"station,omitempty"`  // the manager's id, of one station
	Identity  event.StationID  `json:"identity,omitempty"` // of one station
	Stations  int              `json:"stations"`           // how many are counted here
	Deviating int              `json:"deviating"`          // how many of them broke a rule
	Count     int64            `json:"count"`
	Last      *time.Time       `json:"last,omitempty"`
	Kinds     []DeviationCount `json:"kinds"`
}

// DeviationCount is how often one rule was broken.
type DeviationCount struct {
	Kind     string    `json:"kind"`
	Count    int64     `json:"count"`    // as long as the manager has counted
	Recent   int64     `json:"recent"`   // since the newest start of the gateway that told of it
	Stations int       `json:"stations"` // that broke it
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// SecurityEvent is a security event of a station or about one.
type SecurityEvent struct {
	Position   int64           `json:"position"` // in the event log
	Gateway    event.GatewayID `json:"gateway"`
	Station    string          `json:"station,omitempty"`  // the manager's id; it may be unknown here
	Identity   event.StationID `json:"identity,omitempty"` // of the station
	Time       time.Time       `json:"time"`
	Event      string          `json:"event"`
	Critical   bool            `json:"critical"` // as OCPP sees it
	Info       string          `json:"info,omitempty"`
	DeviceTime string          `json:"device_time,omitempty"`
	Count      int             `json:"count,omitempty"` // identical ones folded into this one, when more than one
}

// PendingStation has knocked at a gateway and waits to be admitted.
type PendingStation struct {
	ID       string          `json:"id"` // the manager's id of the station that it would be
	Gateway  event.GatewayID `json:"gateway"`
	Location string          `json:"location"`
	Identity event.StationID `json:"identity"`
	Reason   string          `json:"reason"` // unknown: refused at the door; pending: connected and waiting
	Protocol string          `json:"protocol,omitempty"`
	Remote   string          `json:"remote,omitempty"`
	Vendor   string          `json:"vendor,omitempty"`
	Model    string          `json:"model,omitempty"`
	Serial   string          `json:"serial,omitempty"`
	Firmware string          `json:"firmware,omitempty"`
	Info     string          `json:"info,omitempty"`
	First    time.Time       `json:"first"`
	Last     time.Time       `json:"last"`
	Count    int64           `json:"count"` // how often it knocked
}

// What a file is.
const (
	FileRecording = "recording" // frames of a station, as its gateway recorded them
	FileLog       = "log"       // a log of a station
)

// States of a file.
const (
	FileWaiting  = "waiting"  // nobody has brought it yet, or not all of it
	FileComplete = "complete" // it can be fetched
	FileLapsed   = "lapsed"   // nobody brought it in time
)

// File is something that was too large for a message: whoever has it brings it
// to an address that serves once.
type File struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`
	Tenant    Tenant          `json:"tenant"`
	Gateway   event.GatewayID `json:"gateway"`
	Station   string          `json:"station,omitempty"`  // the manager's id
	Identity  event.StationID `json:"identity,omitempty"` // of the station
	Command   event.CommandID `json:"command,omitempty"`  // that asked for it
	State     string          `json:"state"`
	From      *time.Time      `json:"from,omitempty"` // the time that was asked for
	To        *time.Time      `json:"to,omitempty"`
	Size      int64           `json:"size"`             // bytes, once complete
	SHA256    string          `json:"sha256,omitempty"` // hex, once complete
	Limit     int64           `json:"limit"`            // bytes at most
	Created   time.Time       `json:"created"`
	Expires   time.Time       `json:"expires"` // of the address
	Completed *time.Time      `json:"completed,omitempty"`
	Until     time.Time       `json:"until"` // it is deleted then
}

// DeadLetter is a message that made no sense, kept for a person to look at.
type DeadLetter struct {
	ID       int64           `json:"id"`
	Gateway  event.GatewayID `json:"gateway"`
	Topic    string          `json:"topic"`
	Event    string          `json:"event,omitempty"` // event id, where it has one
	Reason   string          `json:"reason"`
	Payload  []byte          `json:"payload"`
	Received time.Time       `json:"received"`
}

// Role of an API token; each may do all that the one before may.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleAdmin    Role = "admin"
)

// Access is who asks: what an API token stands for. Location narrows the scope
// to one location where it is not empty.
type Access struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Tenant   Tenant `json:"tenant"`
	Location string `json:"location,omitempty"`
	Role     Role   `json:"role"`
}
