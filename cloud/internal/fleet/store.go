package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// ErrNotFound says that there is no such row, or none in the asker's scope.
var ErrNotFound = errors.New("not found")

// ErrConflict says that a row of that name exists with another content.
var ErrConflict = errors.New("conflict")

// ErrBadCursor says that a page's cursor is none that a list has given out.
var ErrBadCursor = errors.New("bad cursor")

// ErrNoAddress says that no address can be given out to which a file is brought.
var ErrNoAddress = errors.New("no address for a file")

// Stream is one stream of a gateway's lane as a hello tells it.
type Stream struct {
	Lane    event.Lane
	Stream  string
	Oldest  uint64
	Next    uint64
	Missing [][2]uint64
}

// Batch is a run of events of one stream, rising numbers.
type Batch struct {
	Gateway event.GatewayID
	Lane    event.Lane
	Stream  string
	Events  []event.Event
}

// Applied is what became of a batch.
type Applied struct {
	Position uint64  // the stream is committed up to here
	Entries  []Entry // what was new, in the order of the log
}

// Page asks for a part of a list.
type Page struct {
	Limit  int    // 0 means 100; at most 1,000
	Cursor string // opaque, from the page before
}

// List is a part of a list and where the next part begins.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // empty at the end
}

// Scope narrows every read to what the asker may see.
type Scope struct {
	Tenant   Tenant
	Location string // empty: all
}

// StationFilter narrows a list of stations; empty fields do not.
type StationFilter struct {
	Gateway  event.GatewayID
	Location string
	Identity event.StationID
	// Registration is the answer to the newest boot: accepted, pending, rejected.
	Registration string
}

// VariableFilter narrows a list of variables; empty fields do not. Names are
// compared without regard to case.
type VariableFilter struct {
	Component string
	Variable  string
	EVSE      int
}

// ScoreFilter narrows scorecards; empty fields do not.
type ScoreFilter struct {
	Gateway event.GatewayID
	Station string // the manager's id, or an identity
	Vendor  string
	Model   string
	Kind    string // of the deviation
}

// SecurityFilter narrows a list of security events, newest first.
type SecurityFilter struct {
	Gateway  event.GatewayID
	Station  string // the manager's id, or an identity
	Event    string // compared without regard to case
	Critical bool   // only those that OCPP calls so
	From, To time.Time
}

// FileFilter narrows a list of files, newest first.
type FileFilter struct {
	Kind     string
	Gateway  event.GatewayID
	Station  string // the manager's id, or an identity
	Command  event.CommandID
	State    string
	From, To time.Time // overlapping what was asked for
}

// SessionFilter narrows a list of sessions, newest first.
type SessionFilter struct {
	Station     string // the manager's id, or an identity
	EVSE        int
	Gateway     event.GatewayID
	Status      string
	Token       string
	Transaction string
	From, To    time.Time // of the start
}

// EventFilter narrows the event log, newest first unless it asks for rising
// order.
type EventFilter struct {
	Gateway  event.GatewayID
	Station  string // the manager's id, or an identity
	EVSE     int
	Session  event.SessionID
	Type     event.Type
	From, To time.Time
	Rising   bool  // oldest first
	After    int64 // of a rising order: the position after which it begins
}

// CommandFilter narrows a list of commands, newest first.
type CommandFilter struct {
	Gateway event.GatewayID
	Station string
	Status  event.CommandState
	Type    event.CommandType
	// From and To narrow to those that somebody gave, or that moved, in between.
	From, To time.Time
}

// Ingest is the part of a store that takes in what gateways say. Every method
// is one transaction; an error means that nothing of it was kept.
type Ingest interface {
	// Hello stores what a gateway holds (oldest numbers, declared holes) and
	// returns the committed position of each stream named: zero for a new one.
	// ErrNotFound for a gateway that nobody has added; it is kept as knocking.
	Hello(ctx context.Context, g event.GatewayID, h HelloFacts) (positions map[event.Lane]map[string]uint64, err error)
	// Apply commits a batch once: it skips what is applied, crosses a hole only
	// below the oldest number or where one was declared, and stops before any
	// other. Events that parse but make no sense become dead letters.
	Apply(ctx context.Context, b Batch) (Applied, error)
	// Status keeps a gateway's word about its connection and reports whether it
	// is the present: an offline of an older connection is ignored.
	Status(ctx context.Context, g event.GatewayID, online bool, boot, connection string, at time.Time) (present bool, err error)
	// DeadLetter keeps a message that made no sense.
	DeadLetter(ctx context.Context, d DeadLetter) error
	// Transactions returns the highest transaction id known of each station of g.
	Transactions(ctx context.Context, g event.GatewayID) (map[event.StationID]int64, error)
	// Incarnation is that of Queries.
	Incarnation(ctx context.Context) (string, error)
}

// HelloFacts are what a hello says beside its streams.
type HelloFacts struct {
	Version    string
	Boot       string
	Connection string
	Clock      event.Clock
	Streams    []Stream
	At         time.Time // the manager's clock
}

// Queries is the part of a store that the API reads.
type Queries interface {
	Gateways(ctx context.Context, s Scope, p Page) (List[Gateway], error)
	Gateway(ctx context.Context, s Scope, id event.GatewayID) (Gateway, error)
	Locations(ctx context.Context, s Scope, p Page) (List[Location], error)
	Stations(ctx context.Context, s Scope, f StationFilter, p Page) (List[Station], error)
	Station(ctx context.Context, s Scope, id string) (Station, error)
	StatusIntervals(ctx context.Context, s Scope, station string, from, to time.Time, p Page) (List[StatusInterval], error)
	Sessions(ctx context.Context, s Scope, f SessionFilter, p Page) (List[Session], error)
	Session(ctx context.Context, s Scope, id event.SessionID) (Session, error)
	Samples(ctx context.Context, s Scope, session event.SessionID, p Page) (List[SamplePoint], error)
	Events(ctx context.Context, s Scope, f EventFilter, p Page) (List[Entry], error)
	// Variables lists the variables of a station, named by the manager's id or by
	// an identity that only one has, in the order of their names.
	Variables(ctx context.Context, s Scope, station string, f VariableFilter, p Page) (List[Variable], error)
	// StationScores lists the stations that broke rules, ModelScores every model
	// with its stations; those with the most deviations first.
	StationScores(ctx context.Context, s Scope, f ScoreFilter, p Page) (List[Scorecard], error)
	ModelScores(ctx context.Context, s Scope, f ScoreFilter, p Page) (List[Scorecard], error)
	SecurityEvents(ctx context.Context, s Scope, f SecurityFilter, p Page) (List[SecurityEvent], error)
	// PendingStations lists stations that nobody has admitted, the one heard last
	// first.
	PendingStations(ctx context.Context, s Scope, g event.GatewayID, p Page) (List[PendingStation], error)
	Files(ctx context.Context, s Scope, f FileFilter, p Page) (List[File], error)
	File(ctx context.Context, s Scope, id string) (File, error)
	// Incarnation names this database: new after each restore that we know of.
	Incarnation(ctx context.Context) (string, error)
	// Resume returns the position after which somebody goes on who has read the
	// log up to position in an incarnation, named by its beginning; empty stands
	// for the present one. After a restore that is the last position that both
	// logs have in common; 0, the beginning, where nobody can tell: for an
	// incarnation that is not known and a position beyond the end.
	Resume(ctx context.Context, incarnation string, position int64) (after int64, err error)
	DeadLetters(ctx context.Context, s Scope, p Page) (List[DeadLetter], error)
	Commands(ctx context.Context, s Scope, f CommandFilter, p Page) (List[Command], error)
	Command(ctx context.Context, s Scope, id event.CommandID) (Command, error)
	Tokens(ctx context.Context, s Scope, p Page) (List[Token], error)
	Token(ctx context.Context, t Tenant, value string) (Token, error)
}

// Writes is the part of a store that API, command line and commander change.
type Writes interface {
	// AddGateway makes a gateway known; secretHash is its broker password,
	// hashed. An existing gateway gets the new password.
	AddGateway(ctx context.Context, g Gateway, secretHash string) error
	GatewaySecret(ctx context.Context, id event.GatewayID) (secretHash string, err error)
	// PlaceGateway says where a gateway stands and leaves its password alone.
	PlaceGateway(ctx context.Context, t Tenant, id event.GatewayID, location string) error
	PutLocation(ctx context.Context, l Location) error
	PutToken(ctx context.Context, t Token) error
	DeleteToken(ctx context.Context, t Tenant, value string) error
	// AddAccess keeps an API token by the SHA-256 of its secret, in the place of
	// one with the same id.
	AddAccess(ctx context.Context, a Access, secretSHA256 string) error
	// Accesses lists the API tokens of a tenant, by id: oldest first.
	Accesses(ctx context.Context, t Tenant) ([]Access, error)
	// DeleteAccess makes an API token worthless.
	DeleteAccess(ctx context.Context, t Tenant, id string) error
	Access(ctx context.Context, secretSHA256 string) (Access, error)
	// AddCommand queues a command. The same idempotency key with the same body
	// returns the first command, with another body ErrConflict.
	AddCommand(ctx context.Context, c Command, idempotencyKey, bodyHash string) (Command, error)
	// CommandOf returns the command that was queued under an idempotency key:
	// ErrNotFound where there is none, ErrConflict where its body was another.
	CommandOf(ctx context.Context, t Tenant, idempotencyKey, bodyHash string) (Command, error)
	// MoveCommand records a state that the manager itself decides: sent, expired
	// or cancelled. It never undoes a later state. It reports whether it moved.
	MoveCommand(ctx context.Context, id event.CommandID, to event.CommandState, reason string, at time.Time) (moved bool, err error)
	// WishCancel notes that a command which was sent is to be taken back.
	WishCancel(ctx context.Context, id event.CommandID, at time.Time) error
	// OwedCommands returns the commands of g that are not final, oldest first.
	OwedCommands(ctx context.Context, g event.GatewayID) ([]Command, error)
	// TokensIn returns the tokens of a tenant whose section is named, sorted by value.
	TokensIn(ctx context.Context, t Tenant, section string) ([]Token, error)
	// SetDesired keeps the content of a section of desired state that is not
	// made from tokens (site, stations); Desired returns it.
	SetDesired(ctx context.Context, g event.GatewayID, section string, content []byte) error
	Desired(ctx context.Context, g event.GatewayID) (map[string][]byte, error)
	// ChangeDesired replaces the content of a section by what change makes of it,
	// nil where there is none, with nobody in between. An error of change is
	// returned and changes nothing.
	ChangeDesired(ctx context.Context, g event.GatewayID, section string, change func(old []byte) ([]byte, error)) error
	// AddFile notes a file that is to come, under the SHA-256 of the secret in its
	// address.
	AddFile(ctx context.Context, f File, secretSHA256 string) error
	// FileOf returns the file that an address stands for.
	FileOf(ctx context.Context, secretSHA256 string) (File, error)
	// CompleteFile notes that a file has come, once.
	CompleteFile(ctx context.Context, id string, size int64, sha256 string, at time.Time) error
	// StaleFiles returns files that are to be deleted at now: their time is over,
	// or nobody has brought them until a day after their address expired.
	StaleFiles(ctx context.Context, now time.Time) ([]File, error)
	DeleteFile(ctx context.Context, id string) error
}

// Store keeps everything. Two databases implement it and pass one suite.
type Store interface {
	Ingest
	Queries
	Writes
	// Rebuild makes the projections anew from the event log. It touches nothing
	// older than the oldest kept event and nothing that the API made.
	Rebuild(ctx context.Context, progress func(done, total int64)) error
	// Backup writes a copy of the live database to path.
	Backup(ctx context.Context, path string) error
	Ping(ctx context.Context) error
	Close() error
}
