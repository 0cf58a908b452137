// Package event is the vocabulary of Chargeyard: the events that a gateway
// reports and the commands that a manager gives, whatever protocol a charger
// speaks.
//
// Every event is a CloudEvent 1.0 in JSON with one typed payload under "data".
// Field names are snake_case with the unit in the name, numbers are numbers,
// times are UTC with milliseconds. Unknown fields are ignored; within version 1
// fields are only added.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// GatewayID names a gateway: [a-z0-9][a-z0-9-]{0,39}. It is its MQTT user name
// and client id too.
type GatewayID string

// StationID is the identity of a station as it names itself, decoded. It is
// unique within one gateway only.
type StationID string

// SessionID is the gateway's own UUIDv7 for a charging session.
type SessionID string

// CommandID is the manager's UUIDv7 for a command.
type CommandID string

// Lane is one of the two queues on which events travel.
type Lane string

// The lanes. Each has its own file, streams, sequence and acknowledgement.
const (
	LaneEvents  Lane = "events"
	LaneSamples Lane = "samples"
)

// Lanes lists both lanes, the urgent one first.
var Lanes = [...]Lane{LaneEvents, LaneSamples}

// Type says what happened: "chargeyard." and one of the names below.
type Type string

// The event types of version 1.
const (
	TypeGatewayStarted       Type = "chargeyard.gateway.started"
	TypeGatewayClock         Type = "chargeyard.gateway.clock"
	TypeGatewayAlarm         Type = "chargeyard.gateway.alarm"
	TypeGatewayApplied       Type = "chargeyard.gateway.applied"
	TypeStationConnected     Type = "chargeyard.station.connected"
	TypeStationDisconnected  Type = "chargeyard.station.disconnected"
	TypeStationBooted        Type = "chargeyard.station.booted"
	TypeStationStatus        Type = "chargeyard.station.status"
	TypeStationConfiguration Type = "chargeyard.station.configuration"
	TypeStationFirmware      Type = "chargeyard.station.firmware"
	TypeStationLog           Type = "chargeyard.station.log"
	TypeStationSecurity      Type = "chargeyard.station.security"
	TypeSessionStarted       Type = "chargeyard.session.started"
	TypeSessionUpdated       Type = "chargeyard.session.updated"
	TypeSessionEnded         Type = "chargeyard.session.ended"
	TypeMeterRead            Type = "chargeyard.meter.read"
	TypeSessionSampled       Type = "chargeyard.session.sampled"
	TypeMeterSampled         Type = "chargeyard.meter.sampled"
	TypeTokenAuthorized      Type = "chargeyard.token.authorized"
	TypeReservationUpdated   Type = "chargeyard.reservation.updated"
	TypeProfileUpdated       Type = "chargeyard.profile.updated"
	TypeCommandUpdated       Type = "chargeyard.command.updated"
	TypeDataReceived         Type = "chargeyard.data.received"
	TypeStreamThinned        Type = "chargeyard.stream.thinned"
	TypeStreamSalvaged       Type = "chargeyard.stream.salvaged"
)

// Lane tells on which lane events of type t travel.
func (t Type) Lane() Lane {
	switch t {
	case TypeSessionSampled, TypeMeterSampled, TypeStreamThinned:
		return LaneSamples
	}
	return LaneEvents
}

// Clock says whether the gateway trusted its own clock when it recorded.
type Clock string

// An unsynced event's times are mended by the gateway.clock event of its boot.
const (
	ClockSynced   Clock = "synced"
	ClockUnsynced Clock = "unsynced"
)

// MaxSize is the largest event in bytes; a larger one is cut and marked
// truncated.
const MaxSize = 64 << 10

// ID identifies an event for ever: the stream that numbered it and its number
// there, from 1, without holes.
type ID struct {
	Stream   string // UUIDv7 in its usual text form
	Sequence uint64
}

// String returns stream/sequence, the sequence as 16 hex digits.
func (id ID) String() string { return id.Stream + "/" + FormatSequence(id.Sequence) }

// ParseID reads what ID.String wrote.
func ParseID(s string) (ID, error) {
	stream, seq, ok := strings.Cut(s, "/")
	if !ok || stream == "" {
		return ID{}, fmt.Errorf("event id: expected stream/sequence, got %q", s)
	}
	n, err := ParseSequence(seq)
	if err != nil {
		return ID{}, fmt.Errorf("event id %q: %w", s, err)
	}
	return ID{Stream: stream, Sequence: n}, nil
}

// FormatSequence writes a sequence as it stands on the wire: 16 hex digits.
func FormatSequence(n uint64) string { return string(AppendSequence(nil, n)) }

// AppendSequence appends the 16 hex digits of n to b.
func AppendSequence(b []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&0xf])
	}
	return b
}

// ParseSequence reads 16 hex digits.
func ParseSequence(s string) (uint64, error) {
	if len(s) != 16 {
		return 0, fmt.Errorf("sequence: expected 16 hex digits, got %q", s)
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("sequence: expected 16 hex digits, got %q", s)
	}
	return n, nil
}

// Address is the place an event is about, in the three tiers of OCPP 2: station,
// EVSE, connector. EVSE 0 means the whole station, connector 0 the whole EVSE.
// The zero Address is the gateway itself.
type Address struct {
	Station   StationID
	EVSE      int
	Connector int
}

// Subject writes a as the subject of a CloudEvent, the identity
// percent-encoded: "stations/CP-7/evses/1/connectors/1".
func (a Address) Subject() string { return string(a.AppendSubject(nil)) }

// AppendSubject appends the subject, nothing for the gateway itself.
func (a Address) AppendSubject(b []byte) []byte {
	if a.Station == "" {
		return b
	}
	b = append(b, "stations/"...)
	if plain(string(a.Station)) {
		b = append(b, a.Station...)
	} else {
		b = append(b, url.PathEscape(string(a.Station))...)
	}
	if a.EVSE > 0 {
		b = append(b, "/evses/"...)
		b = strconv.AppendInt(b, int64(a.EVSE), 10)
		if a.Connector > 0 {
			b = append(b, "/connectors/"...)
			b = strconv.AppendInt(b, int64(a.Connector), 10)
		}
	}
	return b
}

// plain tells whether nothing in an identity needs an escape in a URL.
func plain(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// ParseSubject reads what Subject wrote.
func ParseSubject(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	parts := strings.Split(s, "/")
	bad := fmt.Errorf("subject: expected stations/{identity}[/evses/{n}[/connectors/{n}]], got %q", s)
	names := []string{"stations", "evses", "connectors"}
	if len(parts)%2 != 0 || len(parts) > 2*len(names) {
		return Address{}, bad
	}
	var a Address
	for i := 0; i < len(parts); i += 2 {
		if parts[i] != names[i/2] {
			return Address{}, bad
		}
		if i == 0 {
			id, err := url.PathUnescape(parts[1])
			if err != nil || id == "" {
				return Address{}, bad
			}
			a.Station = StationID(id)
			continue
		}
		n, err := strconv.Atoi(parts[i+1])
		if err != nil || n < 1 {
			return Address{}, bad
		}
		if i == 2 {
			a.EVSE = n
		} else {
			a.Connector = n
		}
	}
	return a, nil
}

// Source is the CloudEvents source of a gateway: "/gateways/gw-1".
func Source(g GatewayID) string { return sourcePrefix + string(g) }

const sourcePrefix = "/gateways/"

// Payload is the data of one type of event.
type Payload interface{ EventType() Type }

// Draft is an event before its lane has numbered it.
type Draft struct {
	Address  Address
	Time     time.Time // when it happened, by the gateway's clock or a trusted claim
	Recorded time.Time // the gateway's clock when it learned of it
	Boot     string    // the start of the gateway that recorded it
	Clock    Clock
	Data     Payload
}

// Event is a CloudEvent as it travels. Data stays raw: decode it with Decode.
type Event struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Sequence    string          `json:"sequence"`
	Source      string          `json:"source"`
	Type        Type            `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        time.Time       `json:"time"`
	Recorded    time.Time       `json:"recorded"`
	Boot        string          `json:"boot"`
	Clock       Clock           `json:"clock"`
	Truncated   bool            `json:"truncated,omitempty"`
	Stub        bool            `json:"stub,omitempty"` // stands for an event that the manager could not read
	Data        json.RawMessage `json:"data"`
}

// TimeLayout is RFC 3339 in UTC with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// AppendTime appends t as TimeLayout says.
func AppendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, TimeLayout)
	}
	hour, minute, second := t.Clock()
	milli := t.Nanosecond() / int(time.Millisecond)
	two := func(n int) (byte, byte) { return byte('0' + n/10), byte('0' + n%10) }
	y1, y2 := two(year / 100)
	y3, y4 := two(year % 100)
	m1, m2 := two(int(month))
	d1, d2 := two(day)
	h1, h2 := two(hour)
	i1, i2 := two(minute)
	s1, s2 := two(second)
	f1, f2 := two(milli / 10)
	return append(b, y1, y2, y3, y4, '-', m1, m2, '-', d1, d2, 'T', h1, h2, ':', i1, i2, ':', s1, s2,
		'.', f1, f2, byte('0'+milli%10), 'Z')
}

// AppendTail appends everything of a numbered event that follows its number,
// from "source" to the closing brace. What a lane stores is this tail: the head
// is made anew from stream and number by AppendHead.
func AppendTail(b []byte, g GatewayID, d *Draft) ([]byte, error) {
	start := len(b)
	b = appendEnvelope(b, g, d, false)
	b, err := appendData(b, d.Data)
	if err != nil {
		return b[:start], fmt.Errorf("encode %s: %w", d.Data.EventType(), err)
	}
	b = append(b, '}')
	if len(b)-start > MaxSize-headSize {
		return b[:start], fmt.Errorf("encode %s: %w: %d bytes", d.Data.EventType(), ErrTooLarge, len(b)-start)
	}
	return b, nil
}

// ErrTooLarge marks an event over MaxSize: its whole is to be kept as a file and
// a Truncated event sent in its place.
var ErrTooLarge = errors.New("event larger than 64 KiB")

const headSize = 200 // generous bound of what AppendHead writes

func appendEnvelope(b []byte, g GatewayID, d *Draft, truncated bool) []byte {
	b = append(b, `"source":"`...)
	b = append(b, sourcePrefix...)
	b = append(b, g...)
	b = append(b, `","type":"`...)
	b = append(b, d.Data.EventType()...)
	if d.Address.Station != "" {
		b = append(b, `","subject":"`...)
		b = d.Address.AppendSubject(b) // percent-encoded: nothing in it needs a JSON escape
	}
	b = append(b, `","time":"`...)
	b = AppendTime(b, d.Time)
	b = append(b, `","recorded":"`...)
	b = AppendTime(b, d.Recorded)
	b = append(b, `","boot":"`...)
	b = append(b, d.Boot...)
	b = append(b, `","clock":"`...)
	b = append(b, d.Clock...)
	b = append(b, '"')
	if truncated {
		b = append(b, `,"truncated":true`...)
	}
	return append(b, `,"data":`...)
}

// AppendHead appends the opening of a numbered event, up to its tail.
func AppendHead(b []byte, id ID) []byte {
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = append(b, id.Stream...)
	b = append(b, '/')
	b = AppendSequence(b, id.Sequence)
	b = append(b, `","sequence":"`...)
	b = AppendSequence(b, id.Sequence)
	return append(b, `",`...)
}

// ErrUnknownType is returned by Decode for a type that this version does not know.
var ErrUnknownType = errors.New("unknown event type")

// Decode reads e's data into the payload of its type.
func (e *Event) Decode() (Payload, error) {
	p := New(e.Type)
	if p == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownType, e.Type)
	}
	if err := json.Unmarshal(e.Data, p); err != nil {
		return nil, fmt.Errorf("data of %s: %w", e.Type, err)
	}
	return p, nil
}

// EventID parses e's id and checks that its sequence says the same.
func (e *Event) EventID() (ID, error) {
	id, err := ParseID(e.ID)
	if err != nil {
		return ID{}, err
	}
	if e.Sequence != FormatSequence(id.Sequence) {
		return ID{}, fmt.Errorf("event %s: sequence says %q", e.ID, e.Sequence)
	}
	return id, nil
}
