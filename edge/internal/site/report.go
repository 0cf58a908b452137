package site

import (
	"encoding/json"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// TimeQuality says how a device wrote a time.
type TimeQuality uint8

// The qualities of a time as it was read. Whether to believe it is the site's
// decision.
const (
	TimeGood       TimeQuality = iota // date, time and zone
	TimeNoZone                        // read as UTC for want of a zone
	TimeUnset                         // from before 2015: the device never knew the time
	TimeUnreadable                    // no time at all
)

// ReportedTime is a time as a device claims it. The zero value says that it
// claimed none.
type ReportedTime struct {
	Raw     string    // as the device wrote it
	Time    time.Time // UTC; zero where Raw is missing or unreadable
	Quality TimeQuality
}

// Connection names one connection of a station, from Connected to Disconnected.
type Connection uint64

// ConnectionInfo describes a new connection.
type ConnectionInfo struct {
	Protocol        string // ocpp1.6, ocpp2.0.1, modbus-tcp, …
	Remote          string // network address
	SecurityProfile int    // 0 to 3, as OCPP counts them
	Certificate     string // serial number of the station's certificate, lower-case hexadecimal; empty: it showed none
	Pending         bool   // it may be configured over this connection, and not charge: its certificate has expired, say
}

// BootReport is what a station says of itself when it starts.
// OCPP 1.6 §4.2, OCPP 2.0.1 B01.
type BootReport struct {
	Vendor, Model, Serial, Firmware string
	ICCID, IMSI                     string
	MeterType, MeterSerial          string
	Reason                          string // the device's word; empty in OCPP 1.6
}

// Registration answers a BootReport.
type Registration struct {
	Status   string        // accepted, pending or rejected
	Interval time.Duration // between heartbeats; always positive
	Time     time.Time     // the gateway's clock, UTC
}

// StatusReport is the state of a connector (both numbers positive), an EVSE
// (Connector 0) or the whole station (both 0). The order of arrival is the order
// of states: DeviceTime is only kept.
//
// A protocol that knows only that a place is occupied says StatusOccupied: what
// it is occupied with shows in the transaction there. One that tells of faults
// apart from the state leaves Status empty: the fault stands beside whatever
// state there is until a report without Status and ErrorCode takes it away.
type StatusReport struct {
	EVSE, Connector int
	Status          event.Status
	Raw             string // the device's word where it is not the usual one
	ErrorCode       string // unified; empty without error
	VendorID        string
	VendorErrorCode string
	Info            string
	DeviceTime      string // as the device wrote it
}

// AuthorizeResult is the decision about a token. Decision is accepted, blocked,
// expired, invalid or concurrent.
type AuthorizeResult struct {
	Decision string
	Parent   string     // group of the token
	Expires  *time.Time // until when a device may remember the decision
}

// StartReport says that a session began whose transaction number the gateway
// gives (OCPP 1.6 StartTransaction).
type StartReport struct {
	EVSE, Connector int
	Token           event.Token
	MeterWh         *int64 // nil: the device did not say
	Time            ReportedTime
	Reservation     int // 0: none
}

// StartResult answers a StartReport: the number of the transaction (positive,
// also for a token that was not accepted) and the decision about the token.
type StartResult struct {
	Transaction int64
	AuthorizeResult
}

// StopReport says that a session ended. Transaction is the protocol's id as the
// device named it; -1, 0 and unknown ones are welcome.
//
// The Time of a reading is the device's claim, zero where there is none or it is
// unreadable, and DeviceTime is the claim as it was written: the site replaces
// the one or drops the other.
type StopReport struct {
	Transaction string
	Token       *event.Token
	MeterWh     *int64 // nil: the device did not say
	Time        ReportedTime
	Reason      string // unified: local, remote, ev_disconnected, …; empty means local
	Readings    []event.Sample
}

// StopResult answers a StopReport. A stop is always taken.
type StopResult struct {
	Session event.SessionID
	Orphan  bool // no session was known under that transaction
	// AuthorizeResult is what the gateway knows of the token that stopped the
	// session; Decision is empty where there was none or nothing is known.
	AuthorizeResult
}

// MeterReport carries samples of a connector, an EVSE (Connector 0) or the
// station's main meter (both 0). Times are as in StopReport. The site keeps
// Samples: the caller must not use them afterwards.
type MeterReport struct {
	EVSE, Connector int
	Transaction     *string // as the device named it; nil: it named none
	Samples         []event.Sample
	Suspect         bool // the samples contradict each other or those before
}

// FirmwareReport is progress of a firmware update, Status in snake_case
// (downloading, installed, installation_failed, …). Request is 0 where the
// protocol does not say.
type FirmwareReport struct {
	Status    string
	Request   int
	Publish   bool     // of firmware that is published for other stations
	Locations []string // of published firmware
	Info      string
}

// LogReport is progress of a log upload, Status in snake_case (uploading,
// uploaded, upload_failed, …).
type LogReport struct {
	Status  string
	Request int
	File    string
}

// SecurityReport is a security event.
type SecurityReport struct {
	Event      string
	Info       string
	DeviceTime string
}

// DataReport is a message that has no unified word.
type DataReport struct {
	Action  string
	Vendor  string
	Message string
	Payload json.RawMessage // where it is JSON
	Text    string          // where it is not
	Reason  string          // why it has no type of its own
}

// ConfigurationReport is a set of variables that a station told.
//
// A report that comes in parts has a number, the same in every part; Part counts
// from 1, More says that others follow, Complete (in every part) that all of them
// together are the whole inventory.
type ConfigurationReport struct {
	Variables []event.Variable
	Unknown   []string
	Command   event.CommandID // the command that asked; empty: nobody
	Report    int
	Part      int
	More      bool
	Complete  bool
}

// CertificateReport is a station's request to sign its certificate.
type CertificateReport struct {
	CSR  string // PEM
	Kind string // station, v2g or v2g20; empty means station
}

// ReservationReport says that a station has given up a reservation. Status is
// expired, removed or no_transaction. OCPP 2.0.1 H04.
type ReservationReport struct {
	Reservation int
	Status      string
}

// ExternalLimit is a limit that somebody else has set or taken away. OCPP 2.0.1
// K12, K13.
type ExternalLimit struct {
	EVSE    int      // 0: the whole station
	Source  string   // ems, so, cso, other
	LimitA  *float64 // what holds now, where that can be said in one number
	LimitW  *float64
	Cleared bool
	Info    string
}
