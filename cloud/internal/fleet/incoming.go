package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// ErrSenseless marks an event that could be read and makes no sense: it becomes
// a dead letter, and the position moves on.
var ErrSenseless = errors.New("event makes no sense")

func senseless(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSenseless}, args...)...)
}

// Incoming is an event of a batch, taken apart.
type Incoming struct {
	Event   *event.Event
	ID      event.ID // zero where the event has none that can be read
	Address event.Address
	Station string // the manager's id; empty where the event is about no station
	// Payload is nil for a stub, and for a truncated event whose rest cannot be
	// read: those are kept in the log and change nothing.
	Payload event.Payload
	Session event.SessionID // where the payload names one
	Command event.CommandID // where the payload names one
	Err     error           // wraps ErrSenseless
}

// parallelFrom is the size of a batch that is worth several goroutines.
const parallelFrom = 128

// Read takes the events of b apart, in their order. It needs no transaction,
// so that none is held open meanwhile.
func Read(b *Batch) []Incoming {
	out := make([]Incoming, len(b.Events))
	workers := min(runtime.GOMAXPROCS(0), len(b.Events)/(parallelFrom/2))
	if len(b.Events) < parallelFrom || workers < 2 {
		newReader(b).read(out, 0)
		return out
	}
	var wg sync.WaitGroup
	part := (len(b.Events) + workers - 1) / workers
	for from := 0; from < len(b.Events); from += part {
		wg.Go(func() { newReader(b).read(out[from:min(from+part, len(out))], from) })
	}
	wg.Wait()
	return out
}

// reader reads events of one batch. The same few places return in them.
type reader struct {
	batch  *Batch
	source string
	places map[string]place // by subject
}

type place struct {
	address event.Address
	station string
}

func newReader(b *Batch) *reader {
	return &reader{batch: b, source: event.Source(b.Gateway), places: map[string]place{}}
}

// read reads the events from number from on into out.
func (r *reader) read(out []Incoming, from int) {
	for i := range out {
		in := &out[i]
		in.Event = &r.batch.Events[from+i]
		in.Err = r.fill(in)
	}
}

func (r *reader) place(subject string) (place, error) {
	if p, ok := r.places[subject]; ok {
		return p, nil
	}
	a, err := event.ParseSubject(subject)
	if err != nil {
		return place{}, senseless("%w", err)
	}
	p := place{address: a}
	if a.Station != "" {
		p.station = StationID(r.batch.Gateway, a.Station)
	}
	r.places[subject] = p
	return p, nil
}

func (r *reader) fill(in *Incoming) error {
	e := in.Event
	id, err := e.EventID()
	if err != nil {
		return senseless("%w", err)
	}
	in.ID = id
	if id.Stream != r.batch.Stream {
		return senseless("expected stream %s, got event %s", r.batch.Stream, e.ID)
	}
	if e.Source != r.source {
		return senseless("expected source %q, got %q", r.source, e.Source)
	}
	if e.Stub {
		return nil
	}
	if e.Time.IsZero() {
		return senseless("no time")
	}
	if !plausible(e.Time) || !plausible(e.Recorded) {
		return senseless("expected times of this age, got %s, recorded %s", e.Time, e.Recorded)
	}
	p, err := r.place(e.Subject)
	if err != nil {
		return err
	}
	in.Address, in.Station = p.address, p.station
	payload, err := decode(e)
	switch {
	case err == nil:
	case e.Truncated && !errors.Is(err, event.ErrUnknownType):
		return nil
	default:
		return senseless("%w", err)
	}
	if lane := e.Type.Lane(); lane != r.batch.Lane {
		return senseless("%s belongs on lane %s, came on %s", e.Type, lane, r.batch.Lane)
	}
	in.Payload = payload
	in.Session, in.Command = names(payload)
	return in.check()
}

// plausible tells whether t can be shown, also once it was mended. A year of
// five digits has no form in JSON.
func plausible(t time.Time) bool { return t.Year() < 9000 }

// maxOffset is the most by which a clock can stand wrong.
const maxOffset = 200 * 365 * 24 * time.Hour

// check looks for what the payload needs beside itself.
func (in *Incoming) check() error {
	switch p := in.Payload.(type) {
	case *event.GatewayStarted, *event.GatewayAlarm, *event.GatewayApplied, *event.CommandUpdated,
		*event.StreamThinned, *event.StreamSalvaged, *event.DataReceived, *event.TokenAuthorized,
		*event.ReservationUpdated, *event.MeterRead:
	case *event.GatewayClock:
		if p.Boot == "" {
			return senseless("a clock without a boot")
		}
		if most := maxOffset.Milliseconds(); p.OffsetMS > most || p.OffsetMS < -most {
			return senseless("expected a clock to be at most %d ms wrong, got %d", most, p.OffsetMS)
		}
	default:
		if in.Address.Station == "" {
			return senseless("%s without a station in its subject %q", in.Event.Type, in.Event.Subject)
		}
	}
	for _, t := range times(in.Payload) {
		if !plausible(t) {
			return senseless("expected times of this age, got %s", t)
		}
	}
	switch p := in.Payload.(type) {
	case *event.SessionStarted, *event.SessionUpdated, *event.SessionEnded:
		if in.Session == "" {
			return senseless("%s without a session", in.Event.Type)
		}
	case *event.CommandUpdated:
		if p.Command == "" || !known(p.State) {
			return senseless("expected a command and its state, got %q and %q", p.Command, p.State)
		}
	case *event.StationStatus:
		if p.Status == "" {
			return senseless("a status without a status")
		}
	case *event.GatewayAlarm:
		if p.Alarm == "" {
			return senseless("an alarm without a name")
		}
	}
	return nil
}

// times returns the times in a payload that are kept and shown.
func times(p event.Payload) (out []time.Time) {
	switch p := p.(type) {
	case *event.SessionUpdated:
		if p.Reading != nil {
			out = append(out, p.Reading.Time)
		}
	case *event.SessionEnded:
		if p.Started != nil {
			out = append(out, *p.Started)
		}
		for i := range p.Readings {
			out = append(out, p.Readings[i].Time)
		}
	case *sampled:
		for i := range p.samples {
			out = append(out, p.samples[i].Time)
		}
	}
	return out
}

func known(s event.CommandState) bool {
	switch s {
	case event.StateQueued, event.StateSent, event.StateDelivered, event.StateAccepted, event.StateSucceeded,
		event.StateRejected, event.StateUnsupported, event.StateFailed, event.StateExpired,
		event.StateCancelled, event.StateIndeterminate:
		return true
	}
	return false
}

// sampled is a block of samples that keeps each as it was written.
type sampled struct {
	of      event.Type
	Session event.SessionID   `json:"session"`
	Samples []json.RawMessage `json:"samples"`

	samples []event.Sample // read from Samples
}

// EventType implements event.Payload.
func (s *sampled) EventType() event.Type { return s.of }

func decode(e *event.Event) (event.Payload, error) {
	if e.Type != event.TypeSessionSampled && e.Type != event.TypeMeterSampled {
		return e.Decode()
	}
	s := &sampled{of: e.Type}
	if err := json.Unmarshal(e.Data, s); err != nil {
		return nil, fmt.Errorf("data of %s: %w", e.Type, err)
	}
	s.samples = make([]event.Sample, len(s.Samples))
	for i, raw := range s.Samples {
		if err := json.Unmarshal(raw, &s.samples[i]); err != nil {
			return nil, fmt.Errorf("sample %d of %s: %w", i, e.Type, err)
		}
		if s.samples[i].Time.IsZero() {
			return nil, fmt.Errorf("sample %d of %s: no time", i, e.Type)
		}
	}
	return s, nil
}

// names finds the session and the command that a payload is about.
func names(p event.Payload) (event.SessionID, event.CommandID) {
	switch p := p.(type) {
	case *sampled:
		return p.Session, ""
	case *event.SessionStarted:
		return p.Session, p.Command
	case *event.SessionUpdated:
		return p.Session, ""
	case *event.SessionEnded:
		return p.Session, p.Command
	case *event.ReservationUpdated:
		return p.Session, p.Command
	case *event.ProfileUpdated:
		return "", p.Command
	case *event.CommandUpdated:
		return "", p.Command
	case *event.StationConfiguration:
		return "", p.Command
	case *event.StationFirmware:
		return "", p.Command
	case *event.StationLog:
		return "", p.Command
	}
	return "", ""
}
