// Package wire is what gateway and manager say to each other over MQTT: topic
// names and the shape of every message that is not an event.
//
// It neither connects nor stores: both houses build on it, and their tests read
// the same example messages in testdata.
package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Limits of one message. Every common broker service takes MaxWire.
const (
	MaxWire     = 120 << 10 // bytes on the wire
	MaxUnpacked = 4 << 20   // bytes after decompression
	MaxOwed     = 32 << 10  // bytes of desired sections sent after one welcome
	MaxStreams  = 500       // streams of a lane named in one hello
)

// Prefix opens every topic of version 1.
const Prefix = "cy/1/"

// Kind is the part of a topic after the gateway.
type Kind string

// The kinds of topics. Up, Ack and Desired are followed by a lane or section.
const (
	KindHello   Kind = "hello"
	KindWelcome Kind = "welcome"
	KindUp      Kind = "up"
	KindAck     Kind = "ack"
	KindCommand Kind = "cmd"
	KindAsk     Kind = "ask"
	KindAnswer  Kind = "answer"
	KindDesired Kind = "desired"
	KindLive    Kind = "live"
	KindStatus  Kind = "status"
)

// Topic returns the topic of a kind for gateway g; sub is the lane or section
// where the kind has one.
func Topic(g event.GatewayID, k Kind, sub ...string) string {
	t := Prefix + string(g) + "/" + string(k)
	for _, s := range sub {
		t += "/" + s
	}
	return t
}

// ParseTopic takes a topic apart. The topic's gateway is the truth, whatever a
// payload says.
func ParseTopic(topic string) (g event.GatewayID, k Kind, sub string, err error) {
	rest, ok := strings.CutPrefix(topic, Prefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) < 2 || len(parts) > 3 || !ValidGateway(event.GatewayID(parts[0])) {
		return "", "", "", fmt.Errorf("topic: expected %s{gateway}/{kind}[/{lane}], got %q", Prefix, topic)
	}
	if len(parts) == 3 {
		sub = parts[2]
	}
	return event.GatewayID(parts[0]), Kind(parts[1]), sub, nil
}

var gatewayID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// ValidGateway tells whether g may name a gateway.
func ValidGateway(g event.GatewayID) bool { return gatewayID.MatchString(string(g)) }

// Sequence is a number of a stream; on the wire 16 hex digits, all zeros before
// the first.
type Sequence uint64

// MarshalText writes the 16 hex digits.
func (s Sequence) MarshalText() ([]byte, error) {
	return event.AppendSequence(nil, uint64(s)), nil
}

// UnmarshalText reads the 16 hex digits.
func (s *Sequence) UnmarshalText(b []byte) error {
	n, err := event.ParseSequence(string(b))
	*s = Sequence(n)
	return err
}

// Hello opens a conversation: what the gateway still holds, lane by lane.
type Hello struct {
	Hello      string                         `json:"hello"` // names this hello; the welcome repeats it
	Version    string                         `json:"version"`
	Boot       string                         `json:"boot"`
	Connection string                         `json:"connection"` // names this MQTT connection
	Clock      event.Clock                    `json:"clock"`
	Time       time.Time                      `json:"time"` // the gateway's clock
	Lanes      map[event.Lane][]StreamSummary `json:"lanes"`
	More       bool                           `json:"more,omitempty"` // the next hello names other streams
	Desired    map[string]string              `json:"desired"`        // section: revision in force
}

// StreamSummary is what a gateway holds of one stream.
type StreamSummary struct {
	Stream string   `json:"stream"`
	Oldest Sequence `json:"oldest"` // first number still held
	Next   Sequence `json:"next"`   // the number that the next event will get
	// Missing are ranges above Oldest, first and last included, that are lost
	// for ever: the manager crosses them and records the loss.
	Missing [][2]Sequence `json:"missing,omitempty"`
}

// Welcome answers a hello: how far the manager's database has committed each
// stream that the hello named.
type Welcome struct {
	Hello        string                             `json:"hello"`
	Time         time.Time                          `json:"time"`        // the manager's clock
	Incarnation  string                             `json:"incarnation"` // new after each restore that we know of
	Positions    map[event.Lane]map[string]Sequence `json:"positions"`
	Transactions map[event.StationID]int64          `json:"transactions,omitempty"` // highest transaction id known of each station
	Desired      map[string]string                  `json:"desired"`                // section: revision that ought to be in force
}

// Ack answers one batch. Either First and Sequence say that the batch which
// began with First was taken and everything up to Sequence is committed, or
// Refused names a payload that could not be read.
type Ack struct {
	Stream   string    `json:"stream,omitempty"`
	First    *Sequence `json:"first,omitempty"`
	Sequence *Sequence `json:"sequence,omitempty"`
	Refused  string    `json:"refused,omitempty"` // Fingerprint of the payload
	Reason   string    `json:"reason,omitempty"`
}

// Fingerprint names a payload in a refusal: the first 16 hex digits of its
// SHA-256, taken of the bytes on the wire.
func Fingerprint(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:8])
}

// Order is what travels on cmd: a command, or the wish to cancel one.
type Order struct {
	event.Command
	Cancel event.CommandID `json:"cancel,omitempty"`
}

// MarshalJSON writes a cancellation as {"cancel": id} alone.
func (o Order) MarshalJSON() ([]byte, error) {
	if o.Cancel != "" {
		return json.Marshal(map[string]event.CommandID{"cancel": o.Cancel})
	}
	return json.Marshal(o.Command)
}

// QuestionToken asks for a token that the gateway does not know. Every other
// question carries a Payload and is answered with one, or with error
// "unsupported".
const QuestionToken = "token"

// Ask is a question that a charger waits for.
type Ask struct {
	ID       string          `json:"id"`
	Deadline time.Time       `json:"deadline"` // by the asker's clock; WaitMS is the same without a clock
	WaitMS   int64           `json:"wait_ms"`
	Question string          `json:"question"` // token, sign_certificate, iso15118_certificate, certificate_status, certificate_chain_status, vat_number, dynamic_schedule, ev_charging_needs, data
	Station  event.StationID `json:"station,omitempty"`
	EVSE     int             `json:"evse,omitempty"`
	Token    *event.Token    `json:"token,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"` // of any question but token
}

// Answer answers an Ask.
type Answer struct {
	ID      string          `json:"id"`
	Error   string          `json:"error,omitempty"` // unsupported: this manager answers no such question
	Token   *TokenEntry     `json:"token,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// TokenEntry is what a manager knows of a token: an answer to a question, or a
// row of a desired tokens section.
type TokenEntry struct {
	event.Token
	Status  string     `json:"status"` // accepted, blocked, expired, invalid, concurrent
	Parent  string     `json:"parent,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	// CacheS is how long an answer may be remembered, in seconds.
	CacheS int64 `json:"cache_s,omitempty"`
}

// Live is the newest state of everything, at most once a second, never stored.
type Live struct {
	Time       time.Time       `json:"time"`
	Connectors []LiveConnector `json:"connectors,omitempty"`
	Commands   []LiveCommand   `json:"commands,omitempty"`
	Backlog    map[string]int  `json:"backlog,omitempty"` // lane: events not yet acknowledged
}

// LiveConnector is the newest state of a connector.
type LiveConnector struct {
	Station   event.StationID `json:"station"`
	EVSE      int             `json:"evse"`
	Connector int             `json:"connector"`
	Status    event.Status    `json:"status"`
	PowerW    *float64        `json:"power_w,omitempty"`
	EnergyWh  *int64          `json:"energy_wh,omitempty"` // of the running session
	SoC       *float64        `json:"soc_percent,omitempty"`
	Session   event.SessionID `json:"session,omitempty"`
	AsOf      time.Time       `json:"as_of"`
}

// LiveCommand is the state of a running command.
type LiveCommand struct {
	Command event.CommandID    `json:"command"`
	State   event.CommandState `json:"state"`
	Reason  string             `json:"reason,omitempty"`
}

// Status is the retained word about a gateway's connection; its last will says
// offline. The manager ignores the offline of an older connection.
type Status struct {
	Online     bool   `json:"online"`
	Boot       string `json:"boot"`
	Connection string `json:"connection"`
}

// Desired is one section of the state that a gateway ought to be in.
type Desired struct {
	Section  string          `json:"section"`
	Revision string          `json:"revision"` // Revision(Content)
	Content  json.RawMessage `json:"content"`
}

// Revision is the hash of a section's content, compared for equality only.
func Revision(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:12])
}

// The sections of desired state.
const (
	SectionSite        = "site"
	SectionStations    = "stations"
	sectionTokenPrefix = "tokens-"
)

// TokenSections is the number of sections over which tokens are spread:
// tokens-00 to tokens-3f.
const TokenSections = 64

// TokenKey is the form in which tokens are compared: upper case, no blanks
// around.
func TokenKey(value string) string { return strings.ToUpper(strings.TrimSpace(value)) }

// TokenSection names the section in which a token stands: the first six bits of
// the SHA-256 of its TokenKey.
func TokenSection(value string) string {
	sum := sha256.Sum256([]byte(TokenKey(value)))
	return fmt.Sprintf("%s%02x", sectionTokenPrefix, sum[0]>>2)
}

// IsTokenSection tells whether a section holds tokens.
func IsTokenSection(section string) bool { return strings.HasPrefix(section, sectionTokenPrefix) }

// noTokens is the revision of a tokens section without a token.
var noTokens = Revision([]byte(`{"tokens":[]}`))

// InForce tells whether a gateway that reports the revision has for a section
// needs nothing to be at revision want. A tokens section that it never got is
// one without a token.
func InForce(section, has, want string) bool {
	return has == want || has == "" && want == noTokens && IsTokenSection(section)
}

// Tokens is the content of a tokens section.
type Tokens struct {
	Tokens []TokenEntry `json:"tokens"`
}

// Stations is the content of the stations section: stations that the manager
// admits beside those in the gateway's own file.
type Stations struct {
	Stations []AdmittedStation `json:"stations"`
}

// AdmittedStation may connect. PasswordHash is in the form that
// chargeyard-edge hash prints; without one the station needs no password.
type AdmittedStation struct {
	Identity       event.StationID `json:"identity"`
	PasswordHash   string          `json:"password_hash,omitempty"`
	PasswordHashes []string        `json:"password_hashes,omitempty"`  // further ones, while a password is being changed
	Profile        int             `json:"security_profile,omitempty"` // the least with which it may connect, 0 to 3
	Registration   string          `json:"registration,omitempty"`     // pending or rejected: it may connect and not charge; absent: accepted
}

// SitePlan is the content of the site section: what holds when no command does.
type SitePlan struct {
	// FallbackA is kept in each charger as its default profile, per phase.
	FallbackA map[event.StationID]float64 `json:"fallback_a,omitempty"`
	LimitA    map[event.StationID]float64 `json:"limit_a,omitempty"`
	Circuits  []Circuit                   `json:"circuits,omitempty"`
}

// Circuit is a fuse that several stations share. The section is refused when
// the fallbacks of its stations together exceed LimitA.
type Circuit struct {
	Name     string            `json:"name"`
	LimitA   float64           `json:"limit_a"`
	Stations []event.StationID `json:"stations"`
}

// ErrNotOurs marks a payload that is not a message of this contract.
var ErrNotOurs = errors.New("not a chargeyard message")

// Decode reads a message of type T, packed or plain.
func Decode[T any](payload []byte) (T, error) {
	var v T
	plain, err := Unpack(payload)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(plain, &v); err != nil {
		return v, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	return v, nil
}
