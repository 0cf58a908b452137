// Package ledger writes down what simulated chargers said, what came back and
// what they were told to do, as JSON lines, so that whoever stands behind them
// can be held against it. firmware-sim/README.md describes the lines.
//
// A file is appended to, never cut: chargers that come back after a restart of
// the simulator go on in the same book.
package ledger

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Message is a message of a charger that the far end has to account for. It is
// written once its fate is known, or when the simulator ends.
type Message struct {
	Time        time.Time       `json:"time"`
	Station     string          `json:"station"`
	Version     string          `json:"version,omitempty"`     // of OCPP, as its sub-protocol
	Personality string          `json:"personality,omitempty"` // of a charger with quirks
	Action      string          `json:"action"`
	Payload     json.RawMessage `json:"payload"`          // as it was last sent, before quirks
	Answer      json.RawMessage `json:"answer,omitempty"` // payload of the CALLRESULT
	Error       string          `json:"error,omitempty"`  // why there is no answer
	Confirmed   bool            `json:"confirmed"`        // a CALLRESULT came
	Pending     bool            `json:"pending"`          // still in the charger's memory when the simulator ended
	Attempts    int             `json:"attempts"`         // how often it was put on the wire
	Offline     bool            `json:"offline"`          // made while there was no connection
	Created     time.Time       `json:"created"`
	FirstSent   *time.Time      `json:"first_sent,omitempty"`
}

// Order is a CALL that came to a charger and was answered with a CALLRESULT. It
// is written before the answer is sent.
type Order struct {
	Time        time.Time       `json:"time"`
	Station     string          `json:"station"`
	Version     string          `json:"version,omitempty"`
	Personality string          `json:"personality,omitempty"`
	Action      string          `json:"action"`
	Payload     json.RawMessage `json:"payload"`
	Answer      json.RawMessage `json:"answer"`
}

// Session is a transaction whose end was confirmed. It tells the truth of the
// meter, whatever a charger with quirks made of it on the wire.
type Session struct {
	Time          time.Time `json:"time"`
	Station       string    `json:"station"`
	Version       string    `json:"version,omitempty"`
	Personality   string    `json:"personality,omitempty"`
	Connector     int       `json:"connector"` // in OCPP 2: of EVSE 1, 2, …, each of which has one
	Token         string    `json:"token"`
	Transaction   int64     `json:"transaction"`              // of OCPP 1.6; -1 when the charger never learned it
	TransactionID string    `json:"transaction_id,omitempty"` // of OCPP 2
	Start         time.Time `json:"start"`
	Stop          time.Time `json:"stop"`
	MeterStart    int64     `json:"meter_start"` // Wh
	MeterStop     int64     `json:"meter_stop"`  // Wh
	Reason        string    `json:"reason"`
	EnergyWh      float64   `json:"energy_wh"` // that flowed, not rounded
	Samples       int       `json:"samples"`   // readings made in between
}

// Ledger is safe for use by many chargers. A nil Ledger takes everything and
// keeps nothing.
type Ledger struct {
	mu  sync.Mutex // guards what follows, and the order of lines
	out io.WriteCloser
	err error // the first one
}

// Open opens the ledger at path for appending, or makes it.
func Open(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	return New(f), nil
}

// New returns a ledger that writes to out, one Write a line, and closes it.
func New(out io.WriteCloser) *Ledger { return &Ledger{out: out} }

// Message writes m down.
func (l *Ledger) Message(m Message) {
	l.write(struct {
		Kind string `json:"kind"`
		Message
	}{"message", m})
}

// Order writes o down.
func (l *Ledger) Order(o Order) {
	l.write(struct {
		Kind string `json:"kind"`
		Order
	}{"order", o})
}

// Session writes s down.
func (l *Ledger) Session(s Session) {
	l.write(struct {
		Kind string `json:"kind"`
		Session
	}{"session", s})
}

func (l *Ledger) write(line any) {
	if l == nil {
		return
	}
	b, err := json.Marshal(line)
	b = append(b, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.out.Write(b)
	}
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("write the ledger: %w", err)
	}
}

// Err is the first error of writing: a ledger with an error is not complete.
func (l *Ledger) Err() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close closes the ledger and returns the first error that it met.
func (l *Ledger) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.out.Close(); err != nil && l.err == nil {
		l.err = fmt.Errorf("close the ledger: %w", err)
	}
	return l.err
}
