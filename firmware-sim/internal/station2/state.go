package station2

import (
	"encoding/json"
	"time"
)

// State is what a charging station knows after a power loss. Messages of OCPP are
// kept as the JSON that they came as.
type State struct {
	Firmware        string                  `json:"firmware"`
	Variables       map[string]string       `json:"variables"`
	Inoperative     bool                    `json:"inoperative,omitempty"`
	EVSEs           []EVSEState             `json:"evses"`        // EVSE 1 first
	Transactions    map[int64]*Transaction  `json:"transactions"` // by local number, until their last event is settled
	NextTransaction int64                   `json:"next_transaction"`
	List            List                    `json:"list"`
	Cache           map[string]CacheEntry   `json:"cache"` // by token
	Profiles        []Profile               `json:"profiles"`
	Reservations    map[int64]Reservation   `json:"reservations"` // by id
	Certificates    []InstalledCertificate  `json:"certificates,omitempty"`
	Key             string                  `json:"key,omitempty"`   // PEM
	Chain           string                  `json:"chain,omitempty"` // PEM, signed by the CSMS
	PendingKey      string                  `json:"pending_key,omitempty"`
	Network         map[int64]NetworkSlot   `json:"network,omitempty"`
	Messages        map[int64]DisplayText   `json:"messages,omitempty"`
	Monitors        map[int64]Monitor       `json:"monitors,omitempty"`
	MonitoringBase  string                  `json:"monitoring_base"`
	MonitoringLevel int64                   `json:"monitoring_level"`
	NextMonitor     int64                   `json:"next_monitor"`
	Streams         map[int64]StreamState   `json:"streams,omitempty"`
	DER             map[string]DERControl   `json:"der,omitempty"`     // by control id
	Tariffs         map[int64]TariffState   `json:"tariffs,omitempty"` // by EVSE, 0 for all
	FirmwareJob     *int64                  `json:"firmware_job,omitempty"`
	Published       map[string]string       `json:"published,omitempty"` // checksum to location
	SecurityLog     []SecurityEvent         `json:"security_log,omitempty"`
	ClockOffset     time.Duration           `json:"clock_offset,omitempty"`
	Alive           time.Time               `json:"alive"` // when the station was last known to run, by its clock
	Customers       map[string]CustomerData `json:"customers,omitempty"`
	Resume          bool                    `json:"resume,omitempty"` // transactions go on after the start that comes
}

// fill makes what is missing.
func (s *State) fill() {
	if s.Transactions == nil {
		s.Transactions = map[int64]*Transaction{}
	}
	if s.Cache == nil {
		s.Cache = map[string]CacheEntry{}
	}
	if s.List.Entries == nil {
		s.List.Entries = map[string]TokenInfo{}
	}
	if s.Reservations == nil {
		s.Reservations = map[int64]Reservation{}
	}
	if s.Network == nil {
		s.Network = map[int64]NetworkSlot{}
	}
	if s.Messages == nil {
		s.Messages = map[int64]DisplayText{}
	}
	if s.Monitors == nil {
		s.Monitors = map[int64]Monitor{}
	}
	if s.Streams == nil {
		s.Streams = map[int64]StreamState{}
	}
	if s.DER == nil {
		s.DER = map[string]DERControl{}
	}
	if s.Tariffs == nil {
		s.Tariffs = map[int64]TariffState{}
	}
	if s.Published == nil {
		s.Published = map[string]string{}
	}
	if s.Customers == nil {
		s.Customers = map[string]CustomerData{}
	}
	if s.MonitoringBase == "" {
		s.MonitoringBase, s.MonitoringLevel = "All", 9
	}
}

// EVSEState is what is remembered of one EVSE.
type EVSEState struct {
	RegisterWh  float64 `json:"register_wh"`
	Inoperative bool    `json:"inoperative,omitempty"` // the EVSE
	Connector   bool    `json:"connector,omitempty"`   // its connector is inoperative
	Transaction int64   `json:"transaction,omitempty"` // local number of the running one, 0 for none
}

// Token is an identification.
type Token struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	// Group is the token of the group that it belongs to, empty for none.
	Group string `json:"group,omitempty"`
}

// TokenInfo is what is known of a token.
type TokenInfo struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Group   string    `json:"group,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// List is the local authorization list.
type List struct {
	Version int64                `json:"version"`
	Entries map[string]TokenInfo `json:"entries"` // by token
}

// CacheEntry is one of the authorization cache.
type CacheEntry struct {
	TokenInfo
	Seen time.Time `json:"seen"`
}

// Transaction is one that has begun and whose end is not confirmed yet.
type Transaction struct {
	Number   int64           `json:"number"` // local, from 1
	ID       string          `json:"id"`
	EVSE     int             `json:"evse"`
	Sequence int64           `json:"sequence"` // of the next event
	Token    *Token          `json:"token,omitempty"`
	Remote   int64           `json:"remote,omitempty"` // remoteStartId
	Start    time.Time       `json:"start"`
	MeterWh  int64           `json:"meter_wh"`
	BeginWh  float64         `json:"begin_wh"`
	Seen     map[string]bool `json:"seen"` // points of TxStopPoint that have been reached
	State    string          `json:"state"`
	Invalid  bool            `json:"invalid,omitempty"` // its token is not accepted: no energy, but for MaxEnergyOnInvalidId
	// InvalidWh is where the register stood when that became known.
	InvalidWh int64         `json:"invalid_wh,omitempty"`
	Ending    string        `json:"ending,omitempty"` // stoppedReason that is known before the end
	Samples   int           `json:"samples"`
	Data      []Kept        `json:"data,omitempty"` // for the last event
	Cost      float64       `json:"cost,omitempty"`
	Limits    *TxLimits     `json:"limits,omitempty"`
	ChargedAt *time.Time    `json:"charged_at,omitempty"` // since when energy flows
	Charged   time.Duration `json:"charged,omitempty"`    // before that

	Stop       time.Time `json:"stop,omitzero"`
	MeterEndWh int64     `json:"meter_end_wh,omitempty"`
	EndWh      float64   `json:"end_wh,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// TxLimits end a transaction by themselves (2.1).
type TxLimits struct {
	Cost, EnergyWh *float64
	Seconds, SoC   *int64
}

// Kept is a reading for the last event of a transaction.
type Kept struct {
	Time    time.Time `json:"time"`
	Context string    `json:"context"`
	Values  []Value   `json:"values"`
}

// Value is one of a reading.
type Value struct {
	Measurand string  `json:"measurand"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit,omitempty"`
	Phase     string  `json:"phase,omitempty"`
	Location  string  `json:"location,omitempty"`
}

// Profile is a charging profile that is installed.
type Profile struct {
	EVSE     int             `json:"evse"`
	Received time.Time       `json:"received"`
	Source   string          `json:"source"` // of the limit: CSO or EMS
	Payload  json.RawMessage `json:"payload"`
}

// Reservation holds an EVSE, or any for EVSE 0.
type Reservation struct {
	ID     int64     `json:"id"`
	EVSE   int       `json:"evse"`
	Token  string    `json:"token"`
	Group  string    `json:"group,omitempty"`
	Expiry time.Time `json:"expiry"`
}

// InstalledCertificate is a root certificate.
type InstalledCertificate struct {
	Use string `json:"use"`
	PEM string `json:"pem"`
}

// NetworkSlot is a network connection profile.
type NetworkSlot struct {
	URL             string `json:"url"`
	SecurityProfile int64  `json:"security_profile"`
	Password        string `json:"password,omitempty"`
}

// DisplayText is a message on the display.
type DisplayText struct {
	Payload     json.RawMessage `json:"payload"`
	Priority    string          `json:"priority"`
	State       string          `json:"state,omitempty"`
	End         time.Time       `json:"end,omitzero"`
	Transaction string          `json:"transaction,omitempty"`
}

// Monitor watches a variable.
type Monitor struct {
	ID          int64   `json:"id"`
	Type        string  `json:"type"`
	Value       float64 `json:"value"`
	Severity    int64   `json:"severity"`
	Transaction bool    `json:"transaction,omitempty"`
	Component   string  `json:"component"`
	Instance    string  `json:"instance,omitempty"`
	EVSE        int     `json:"evse,omitempty"`
	Connector   int     `json:"connector,omitempty"`
	Variable    string  `json:"variable"`
	Of          string  `json:"of,omitempty"`
}

// StreamState is a periodic event stream (2.1).
type StreamState struct {
	ID       int64  `json:"id"`
	Monitor  int64  `json:"monitor"`
	Interval *int64 `json:"interval,omitempty"` // seconds
	Values   *int64 `json:"values,omitempty"`
}

// DERControl is a setting of a distributed energy resource (2.1).
type DERControl struct {
	Type    string          `json:"type"`
	Default bool            `json:"default,omitempty"`
	Payload json.RawMessage `json:"payload"`
}

// TariffState is a default tariff (2.1).
type TariffState struct {
	ID       string          `json:"id"`
	Currency string          `json:"currency"`
	Payload  json.RawMessage `json:"payload"`
}

// CustomerData is what the station remembers of a customer.
type CustomerData struct {
	Sessions int       `json:"sessions"`
	Seen     time.Time `json:"seen"`
}

// SecurityEvent is a line of the security log.
type SecurityEvent struct {
	Time time.Time `json:"time"`
	Type string    `json:"type"`
	Info string    `json:"info,omitempty"`
}
