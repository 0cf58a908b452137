package station

import (
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/schedule"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// State is what a charge point knows after a power loss.
type State struct {
	Firmware        string                 `json:"firmware"`
	Configuration   map[string]string      `json:"configuration"`
	Inoperative     bool                   `json:"inoperative,omitempty"` // the charge point as a whole
	Connectors      []ConnectorState       `json:"connectors"`            // connector 1 first
	Transactions    map[int64]*Transaction `json:"transactions"`          // by local number, until their StopTransaction is settled
	NextTransaction int64                  `json:"next_transaction"`
	LastStarts      []int64                `json:"last_starts"` // Unix seconds of the newest StartTransactions, so that none is used twice
	List            LocalList              `json:"list"`
	Cache           map[string]CacheEntry  `json:"cache"` // by idTag in capitals
	Profiles        schedule.Set           `json:"profiles"`
	Reservations    map[int64]Reservation  `json:"reservations"` // by connector, 0 for any
	Certificates    []InstalledCertificate `json:"certificates,omitempty"`
	Key             string                 `json:"key,omitempty"`   // PEM
	Chain           string                 `json:"chain,omitempty"` // PEM, signed by the central system
	PendingKey      string                 `json:"pending_key,omitempty"`
	FirmwareReport  *FirmwareReport        `json:"firmware_report,omitempty"`
	SecurityLog     []SecurityEvent        `json:"security_log,omitempty"`
	ClockOffset     time.Duration          `json:"clock_offset,omitempty"`
	Alive           time.Time              `json:"alive"` // when the charge point was last known to run, by its clock
}

// ConnectorState is what is remembered of one connector.
type ConnectorState struct {
	RegisterWh  float64 `json:"register_wh"`
	Inoperative bool    `json:"inoperative,omitempty"`
	Transaction int64   `json:"transaction,omitempty"` // local number of the running one, 0 for none
}

// Transaction is one that has begun and whose end is not confirmed yet.
type Transaction struct {
	Number    int64     `json:"number"` // local, from 1
	Connector int       `json:"connector"`
	ID        int64     `json:"id"`    // the central system's, when Known
	Known     bool      `json:"known"` // a StartTransaction.conf came
	IDTag     string    `json:"id_tag"`
	Parent    string    `json:"parent,omitempty"`
	Start     time.Time `json:"start"`
	MeterWh   int64     `json:"meter_wh"`
	BeginWh   float64   `json:"begin_wh"`          // MeterWh as the meter knows it, not rounded
	Invalid   bool      `json:"invalid,omitempty"` // the central system does not accept the idTag: no energy, but for MaxEnergyOnInvalidId
	InvalidWh int64     `json:"invalid_wh,omitempty"`

	Samples int                 `json:"samples"`
	Data    []ocpp16.MeterValue `json:"data,omitempty"` // for the StopTransaction

	Stop       time.Time     `json:"stop,omitzero"`
	MeterEndWh int64         `json:"meter_end_wh,omitempty"`
	EndWh      float64       `json:"end_wh,omitempty"`
	Reason     ocpp16.Reason `json:"reason,omitempty"`
}

// id is the transactionId for messages. Errata 1.6 §3.18: -1 when no
// StartTransaction.conf ever came.
func (t *Transaction) id() int64 {
	if t == nil || !t.Known {
		return -1
	}
	return t.ID
}

// LocalList is the local authorization list, §3.5.2.
type LocalList struct {
	Version int64                       `json:"version"`
	Entries map[string]ocpp16.IDTagInfo `json:"entries"` // by idTag in capitals
}

// CacheEntry is one of the authorization cache, §3.5.1.
type CacheEntry struct {
	Info ocpp16.IDTagInfo `json:"info"`
	Seen time.Time        `json:"seen"`
}

// Reservation holds a connector, or any for connector 0.
type Reservation struct {
	ID        int64     `json:"id"`
	Connector int       `json:"connector"`
	IDTag     string    `json:"id_tag"`
	Parent    string    `json:"parent,omitempty"`
	Expiry    time.Time `json:"expiry"`
}

// InstalledCertificate is a root certificate.
type InstalledCertificate struct {
	Use ocpp16.CertificateUse `json:"use"`
	PEM string                `json:"pem"`
}

// FirmwareReport is the last word about an update that the next start of the
// charge point has to say.
type FirmwareReport struct {
	Signed    bool  `json:"signed"`
	RequestID int64 `json:"request_id,omitempty"`
}

// SecurityEvent is a line of the security log.
type SecurityEvent struct {
	Time time.Time `json:"time"`
	Type string    `json:"type"`
	Info string    `json:"info,omitempty"`
}
