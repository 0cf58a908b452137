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
	ID           string          `json:"id"` // the manager's
	Tenant       Tenant          `json:"tenant"`
	Gateway      event.GatewayID `json:"gateway"`
	Identity     event.StationID `json:"identity"`
	Location     string          `json:"location"`
	Protocol     string          `json:"protocol"`
	Vendor       string          `json:"vendor"`
	Model        string          `json:"model"`
	Serial       string          `json:"serial,omitempty"`
	Firmware     string          `json:"firmware"`
	Connectivity Fact[string]    `json:"connectivity"`
	Status       Fact[string]    `json:"status"` // of the station as a whole
	EVSEs        []EVSE          `json:"evses"`
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
	Steps   []CommandStep      `json:"steps"`
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
