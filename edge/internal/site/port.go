// Package site is the domain of the gateway: the stations of one depot, their
// EVSEs, connectors, sessions and limits, who may charge, and what became of a
// command. It decides; it has not heard of OCPP, Modbus, SQL or MQTT.
//
// One goroutine owns one station: whatever is said by it or about it runs there,
// in order, so that nothing about one station is ever concurrent. What a station
// is told in answer has been made durable before.
package site

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Kind is a sort of record that survives a restart.
type Kind string

// Key names a record. Station is empty for records of the whole site.
type Key struct {
	Kind    Kind
	Station event.StationID
	ID      string
}

// Record is state that a restart needs, in the domain's own JSON.
type Record struct {
	Key   Key
	Value []byte
}

// Change is what becomes durable together or not at all.
type Change struct {
	Events []event.Draft
	Put    []Record
	Delete []Key
}

// ErrNotKept says that a change could not be made durable: nothing of it was
// kept, and whoever reported it must not get an answer.
var ErrNotKept = errors.New("not kept")

// Journal makes changes durable; package outbox provides it.
type Journal interface {
	// Commit returns nil once c is on the disk, fsync included. Any error wraps
	// ErrNotKept.
	Commit(ctx context.Context, c Change) error
	// AddSamples takes an event of the samples lane (SessionSampled or
	// MeterSampled, any number of samples). It may wait up to samples.flush
	// before it is durable, and merges with its neighbours to blocks of up to a
	// minute.
	AddSamples(ctx context.Context, d event.Draft) error
}

// Stamp is the gateway's time at one moment, and whether to believe it.
type Stamp struct {
	Time  time.Time
	Boot  string
	Clock event.Clock
}

// Clock tells the gateway's time; package clock provides it.
type Clock interface {
	Stamp() Stamp
	// Judge returns the time by which a command expires: the manager's, carried
	// on by the monotonic clock. ok is false until the manager told it.
	Judge() (now time.Time, ok bool)
}

// TokenInfo is what somebody knows of a token.
type TokenInfo struct {
	Token    event.Token
	Decision string // accepted, blocked, expired, invalid
	Parent   string
	Expires  *time.Time
	Cache    time.Duration // how long the answer may be remembered; 0: the site's default
}

// ErrManagerAway is the answer of a Manager that cannot be asked now.
var ErrManagerAway = errors.New("manager is out of reach")

// Manager answers questions that a charger waits for; package uplink provides it.
type Manager interface {
	// AskToken asks for an unknown token and waits until ctx ends at the latest.
	// It returns ErrManagerAway at once while there is no connection.
	AskToken(ctx context.Context, at event.Address, t event.Token) (TokenInfo, error)
	// Ask asks any other question and waits until ctx ends at the latest. The
	// error wraps ErrManagerAway, at once while there is no connection, or
	// ErrUnsupported.
	Ask(ctx context.Context, at event.Address, q Question) (json.RawMessage, error)
}

// Device is the connected far end of a station; a protocol adapter provides one
// per connection. Its methods are called on the station's goroutine, return at
// once, and report later, on that goroutine again.
type Device interface {
	// Execute carries out an order. report is called with StateDelivered as soon
	// as the device has been told, then with what it answered: StateAccepted (the
	// effect is still to be observed by the site), StateSucceeded (the answer, or
	// what was read back, is the effect), or another final state. After a final
	// state nothing more is reported. A connection lost in between reports
	// StateIndeterminate.
	Execute(o Order, report func(Outcome))
	// Look asks the device whether the effect of o is there, without repeating
	// it: after a crash between journal and effect. It reports StateSucceeded,
	// StateFailed (it is not there) or StateIndeterminate.
	Look(o Order, report func(Outcome))
	// Refresh asks the device to tell its state anew (boot data and status), as
	// far as its protocol can. The connectors whose status is missed are silent;
	// none: nobody knows which there are.
	Refresh(silent []event.Address)
	// Close ends the connection.
	Close(reason string)
}

// Order is a command with what the site knows and the device needs.
type Order struct {
	event.Command
	// Params are the decoded parameters: *event.StartParams and so on.
	Params any
	// Transaction is the protocol's id of the session that the command is about,
	// where it is about one; EVSE is then that session's.
	Transaction string
	// Request is the integer that stands for the command where a protocol wants
	// one (profile ids, request ids): positive, never given twice on this station.
	Request int
	// Standing marks a set_limit or clear_limit of the site itself; it has no ID.
	// Without an end (Until is zero) it is the site plan, which holds whenever no
	// command's limit does; with one it tells a device that has started anew of a
	// limit that still runs.
	Standing bool
	// Default marks a Standing limit that the device is to keep on its own, as its
	// default profile or watchdog current, for the time when nobody tells it
	// anything (fallback_a).
	Default bool
}

// Outcome is a step of an order.
type Outcome struct {
	State  event.CommandState
	Reason string
	Result json.RawMessage
	// Instead is the limit that the device holds to in place of a lower one that
	// was ordered, with StateFailed: it cannot go so low. Only its current or
	// power is looked at.
	Instead *event.SetLimitParams
}
