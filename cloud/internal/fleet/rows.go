package fleet

import (
	"encoding/json"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// The rows that a projection keeps. Since is the position in the log of the
// event that made a row: a rebuild makes anew what is no older than the log.

// Moment is a time as a gateway told it. Boot names the start of the gateway
// whose clock was not set then: gateway.clock of that boot mends At, whenever
// it comes. It is empty where the clock was right.
type Moment struct {
	At   time.Time
	Boot string
}

// ClockRow is what mends the times of one start of a gateway.
type ClockRow struct {
	Gateway  event.GatewayID
	Tenant   Tenant
	Boot     string
	OffsetMS int64 // to be added to every unsynced time of Boot
	Source   string
	Since    int64
}

// GatewayRow is what events tell of a gateway itself.
type GatewayRow struct {
	Gateway event.GatewayID
	Tenant  Tenant
	Version string
	Boot    string
	Started Moment
	Clock   event.Clock
	Since   int64
}

// AlarmRow is an alarm that its gateway has not cleared.
type AlarmRow struct {
	Gateway  event.GatewayID
	Tenant   Tenant
	Alarm    string
	Severity string
	Text     string
	Raised   Moment
	Since    int64
}

// StationRow is what events tell of a station as a whole.
type StationRow struct {
	ID       string
	Tenant   Tenant
	Gateway  event.GatewayID
	Identity event.StationID
	Protocol string
	Vendor   string
	Model    string
	Serial   string
	Firmware string
	// Registration is the answer to its newest boot: accepted, pending or
	// rejected; empty before the first.
	Registration string
	Connected    bool
	// ConnectedAt is when Connected last changed; zero before the first word.
	ConnectedAt Moment
	// Transaction is the highest transaction number known of the station.
	Transaction int64
	// Orphans tells that sessions without a start were seen here, so that
	// others may have to be joined with them.
	Orphans bool
	Since   int64
}

// EVSERow is the state of an EVSE that is not one of its connectors'. EVSE 0
// carries the limit of the whole station.
type EVSERow struct {
	Station string
	Tenant  Tenant
	EVSE    int
	Gone    bool            // the station has been replaced by another since
	Session event.SessionID // the running one
	LimitA  *float64
	LimitW  *float64
	Until   *time.Time // of the limit, which is a lease
	Since   int64
}

// PlaceKey names what can have a status: a connector, an EVSE (connector 0) or
// a station (EVSE 0 too).
type PlaceKey struct {
	Station   string
	EVSE      int
	Connector int
}

// PlaceRow is the current status of a place.
type PlaceRow struct {
	PlaceKey
	Tenant    Tenant
	Gateway   event.GatewayID
	Gone      bool // the station has been replaced by another since
	Status    event.Status
	ErrorCode string
	Info      string
	AsOf      Moment
	Intervals int64     // how many there are; the last one is running
	From      time.Time // of the last one
	Since     int64
}

// IntervalRow is a time that a place spent in one status, up to the From of the
// next. Statuses follow each other in the order in which they arrived, whatever
// times the station claims (quirk: days-old times), so From never lies before
// the From of the interval before it.
type IntervalRow struct {
	PlaceKey
	Tenant    Tenant
	Number    int64 // from 1, per place
	Status    event.Status
	ErrorCode string
	Told      Moment    // as the event said
	From      time.Time // Told, or the From before it where that is later
	Since     int64
}

// SessionRow is a charging session.
type SessionRow struct {
	ID            event.SessionID
	Tenant        Tenant
	Gateway       event.GatewayID
	Station       string // the manager's id
	Identity      event.StationID
	EVSE          int
	Connector     int
	Protocol      string
	Transaction   string
	Status        string
	ChargingState string
	Token         *event.Token
	Started       *Moment
	Ended         *Moment
	At            Moment // orders lists: the start, else the first that is known
	Reason        string
	MeterStartWh  *int64
	MeterStopWh   *int64
	MeterWh       *int64
	EnergyWh      *int64
	Detail        SessionDetail
	Since         int64
}

// SessionDetail is the part of a session by which nobody searches.
type SessionDetail struct {
	Begun         bool                 `json:"begun,omitempty"` // its session.started has come
	StopToken     *event.Token         `json:"stop_token,omitempty"`
	Authorization *event.Authorization `json:"authorization,omitempty"`
	DurationS     int64                `json:"duration_s,omitempty"`
	StartFlags    []event.Flag         `json:"start_flags,omitempty"`
	UpdateFlags   []event.Flag         `json:"update_flags,omitempty"`
	EndFlags      []event.Flag         `json:"end_flags,omitempty"`
	JoinFlags     []event.Flag         `json:"join_flags,omitempty"` // the manager's own
	Readings      []Reading            `json:"readings,omitempty"`
	EndReadings   []Reading            `json:"end_readings,omitempty"`
}

// Reading is a sample that an event carried. Boot is as in Moment.
type Reading struct {
	Sample event.Sample `json:"sample"`
	Boot   string       `json:"boot,omitempty"`
}

// AliasRow says that a session without a start was part of another one.
type AliasRow struct {
	Alias   event.SessionID
	Session event.SessionID
	Tenant  Tenant
	Since   int64
}

// StepRow is one state of a command. Since is 0 for what the manager decided
// itself, else the position of the gateway's event.
type StepRow struct {
	Command event.CommandID
	Tenant  Tenant
	Gateway event.GatewayID
	State   event.CommandState
	Reason  string
	Result  json.RawMessage
	At      Moment
	Since   int64
}

// CommandRow is the part of a command that moves.
type CommandRow struct {
	Command event.CommandID
	Gateway event.GatewayID
	Status  event.CommandState
	Reason  string
	Result  json.RawMessage
	Updated time.Time
}

// SampleRow is a sample, keyed by station, EVSE, time and boot. Its time stays
// as told: whoever reads it adds the offset of the boot, for the samples lane
// and the events lane write no row in common.
type SampleRow struct {
	Station string
	Tenant  Tenant
	Gateway event.GatewayID
	EVSE    int
	Told    Moment
	Context string // why it was told; one moment may have several
	Session event.SessionID
	JSON    json.RawMessage // event.Sample
	Since   int64
}

// LatestRow is the newest sample of an EVSE, kept by the samples lane.
type LatestRow struct {
	Station  string
	Tenant   Tenant
	Gateway  event.GatewayID
	EVSE     int
	Told     Moment
	Session  event.SessionID
	PowerW   *float64
	EnergyWh *int64
	SoC      *float64
	Since    int64
}
