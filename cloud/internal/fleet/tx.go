package fleet

import "github.com/chargeyard/chargeyard/shared/event"

// Tx is one transaction of a store as the projection sees it: rows by key, and
// the few lists that it needs. A row that is not there is nil. Every error is
// the store's and ends the transaction.
//
// Unit keeps rows in memory and puts each once, so an implementation need not.
// It puts many rows at a time where there may be many.
type Tx interface {
	Clock(g event.GatewayID, boot string) (*ClockRow, error)
	PutClock(ClockRow) error

	Gateway(g event.GatewayID) (*GatewayRow, error)
	PutGateway(GatewayRow) error
	Alarms(g event.GatewayID) ([]AlarmRow, error)
	PutAlarm(AlarmRow) error
	DeleteAlarm(g event.GatewayID, alarm string) error

	Station(id string) (*StationRow, error)
	StationsOf(g event.GatewayID) ([]StationRow, error)
	PutStations([]StationRow) error
	EVSE(station string, evse int) (*EVSERow, error)
	EVSEsOf(station string) ([]EVSERow, error)
	PutEVSEs([]EVSERow) error
	Place(PlaceKey) (*PlaceRow, error)
	PlacesOf(station string) ([]PlaceRow, error)
	PutPlaces([]PlaceRow) error

	// Interval returns one interval; Intervals those of a place from number on.
	Interval(p PlaceKey, number int64) (*IntervalRow, error)
	Intervals(p PlaceKey, number int64) ([]IntervalRow, error)
	// IntervalsOf returns the lowest number told during boot, per place.
	IntervalsOf(g event.GatewayID, boot string) (map[PlaceKey]int64, error)
	PutIntervals([]IntervalRow) error // new ones
	// MendIntervals puts the times of intervals that are there.
	MendIntervals([]IntervalRow) error

	Session(id event.SessionID) (*SessionRow, error)
	// SessionsWith returns the sessions of a station that bear a transaction,
	// newest first.
	SessionsWith(station, transaction string) ([]SessionRow, error)
	// SessionsOf returns the sessions of which some time was told during boot.
	SessionsOf(g event.GatewayID, boot string) ([]SessionRow, error)
	// PutSessions puts changed sessions.
	PutSessions([]SessionChange) error
	DeleteSession(id event.SessionID) error
	Alias(id event.SessionID) (*AliasRow, error)
	PutAlias(AliasRow) error

	Command(id event.CommandID) (*CommandRow, error)
	PutCommand(CommandRow) error
	// Steps returns the steps of a command in the order in which they came to be
	// known.
	Steps(id event.CommandID) ([]StepRow, error)
	// PutStep adds a step; one of the same event is written over.
	PutStep(StepRow) error
	// StepsOf returns the steps told during boot.
	StepsOf(g event.GatewayID, boot string) ([]StepRow, error)

	// PutVariables puts variables; of one that is there all but Since is written
	// over. DropVariables takes away those of a station that no event from
	// position seen on has told of, DropVariable those called name, or
	// Component.Variable.
	PutVariables([]VariableRow) error
	DropVariables(station string, seen int64) error
	DropVariable(station, name string) error
	Inventory(station string) (*InventoryRow, error)
	PutInventory(InventoryRow) error
	// PutDeviations puts counts. Of one that is there the higher one stands, and
	// Last moves only where it rises.
	PutDeviations([]DeviationRow) error
	// PutSecurity puts a security event; one of the same position is written over.
	PutSecurity(SecurityRow) error
	Pending(g event.GatewayID, identity event.StationID) (*PendingRow, error)
	// PutPending puts a station that waits to be admitted and keeps no more than
	// MaxPending of its gateway: the ones heard last.
	PutPending(PendingRow) error
	DeletePending(g event.GatewayID, identity event.StationID) error

	// The samples lane's own.

	PutSamples([]SampleRow) error
	Latest(station string, evse int) (*LatestRow, error)
	PutLatest([]LatestRow) error
}

// SessionChange is a session as it is and, unless it is new, as the store has
// it.
type SessionChange struct {
	Row SessionRow
	Old *SessionRow
}
