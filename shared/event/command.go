package event

import (
	"encoding/json"
	"time"
)

// CommandType says what a manager wants done.
type CommandType string

// The commands of version 1. The last five are for the gateway itself and name
// no station.
const (
	CommandStart              CommandType = "start"
	CommandStop               CommandType = "stop"
	CommandUnlock             CommandType = "unlock"
	CommandReset              CommandType = "reset"
	CommandSetAvailability    CommandType = "set_availability"
	CommandSetLimit           CommandType = "set_limit"
	CommandClearLimit         CommandType = "clear_limit"
	CommandGetLimit           CommandType = "get_limit"
	CommandGetConfiguration   CommandType = "get_configuration"
	CommandSetConfiguration   CommandType = "set_configuration"
	CommandTrigger            CommandType = "trigger"
	CommandReserve            CommandType = "reserve"
	CommandCancelReservation  CommandType = "cancel_reservation"
	CommandUpdateFirmware     CommandType = "update_firmware"
	CommandGetLog             CommandType = "get_log"
	CommandClearCache         CommandType = "clear_cache"
	CommandSendLocalList      CommandType = "send_local_list"
	CommandInstallCertificate CommandType = "install_certificate"
	CommandDeleteCertificate  CommandType = "delete_certificate"
	CommandListCertificates   CommandType = "list_certificates"
	CommandSignCertificate    CommandType = "sign_certificate"
	CommandShowMessage        CommandType = "show_message"
	CommandSendData           CommandType = "send_data"
	CommandCall               CommandType = "call"
	CommandRestart            CommandType = "restart"
	CommandUpdate             CommandType = "update"
	CommandRecord             CommandType = "record"
	CommandScan               CommandType = "scan"
	CommandBundle             CommandType = "bundle"
)

// CommandTypes lists every command of version 1.
var CommandTypes = []CommandType{
	CommandStart, CommandStop, CommandUnlock, CommandReset, CommandSetAvailability,
	CommandSetLimit, CommandClearLimit, CommandGetLimit, CommandGetConfiguration,
	CommandSetConfiguration, CommandTrigger, CommandReserve, CommandCancelReservation,
	CommandUpdateFirmware, CommandGetLog, CommandClearCache, CommandSendLocalList,
	CommandInstallCertificate, CommandDeleteCertificate, CommandListCertificates,
	CommandSignCertificate, CommandShowMessage, CommandSendData, CommandCall,
	CommandRestart, CommandUpdate, CommandRecord, CommandScan, CommandBundle,
}

// ForGateway tells whether commands of type t are for the gateway itself.
func (t CommandType) ForGateway() bool {
	switch t {
	case CommandRestart, CommandUpdate, CommandRecord, CommandScan, CommandBundle:
		return true
	}
	return false
}

// Command is one order of the manager. It is executed at most once and never
// after Expires, which is required.
type Command struct {
	ID       CommandID       `json:"id"` // UUIDv7
	Type     CommandType     `json:"type"`
	Station  StationID       `json:"station,omitempty"`
	EVSE     int             `json:"evse,omitempty"` // 0: any, or the whole station
	Params   json.RawMessage `json:"params,omitempty"`
	Expires  time.Time       `json:"expires"`
	IssuedBy string          `json:"issued_by,omitempty"`
}

// CommandState is where a command is in its life.
type CommandState string

// The life of a command. Succeeded means that the effect was observed, not that
// the device said Accepted. Indeterminate: nobody can tell what happened.
const (
	StateQueued        CommandState = "queued"
	StateSent          CommandState = "sent"
	StateDelivered     CommandState = "delivered"
	StateAccepted      CommandState = "accepted"
	StateSucceeded     CommandState = "succeeded"
	StateRejected      CommandState = "rejected"
	StateUnsupported   CommandState = "unsupported"
	StateFailed        CommandState = "failed"
	StateExpired       CommandState = "expired"
	StateCancelled     CommandState = "cancelled"
	StateIndeterminate CommandState = "indeterminate"
)

// Final tells whether a command in state s has come to its end.
func (s CommandState) Final() bool {
	switch s {
	case StateQueued, StateSent, StateDelivered, StateAccepted:
		return false
	}
	return true
}

// Rank orders states, so that one that arrives late does not undo a later one.
func (s CommandState) Rank() int {
	switch s {
	case StateQueued:
		return 0
	case StateSent:
		return 1
	case StateDelivered:
		return 2
	case StateAccepted:
		return 3
	}
	return 4
}

// The parameters of each type of command. A field that a protocol cannot carry
// makes the command unsupported, with the field's name in the reason.

// StartParams: begin a session for Token; observed when the session begins.
type StartParams struct {
	Token  Token    `json:"token"`
	LimitA *float64 `json:"limit_a,omitempty"`
}

// StopParams: end a session, named by Session, else the only one of the EVSE.
type StopParams struct {
	Session SessionID `json:"session,omitempty"`
}

// UnlockParams: release the plug.
type UnlockParams struct {
	Connector int `json:"connector,omitempty"` // of the EVSE; 0 means 1
}

// ResetParams: restart the station, or the EVSE that the command names.
type ResetParams struct {
	Kind string `json:"kind"` // soft: once nothing is charging, where the device can wait; hard: at once; resume: at once, and sessions go on afterwards
}

// SetAvailabilityParams: take the station, an EVSE or one of its connectors in or
// out of service.
type SetAvailabilityParams struct {
	Available bool `json:"available"`
	Connector int  `json:"connector,omitempty"` // of the EVSE; 0 means all of it
}

// SetLimitParams: hold the EVSE, or the station, below a limit until Until. One
// of LimitA (per phase) and LimitW is given. A limit is a lease.
type SetLimitParams struct {
	LimitA *float64  `json:"limit_a,omitempty"`
	LimitW *float64  `json:"limit_w,omitempty"`
	Until  time.Time `json:"until"`
}

// ClearLimitParams: end the limit of the EVSE or the station now.
type ClearLimitParams struct{}

// GetLimitParams: ask what limit the device holds to for the next DurationS.
type GetLimitParams struct {
	DurationS int    `json:"duration_s,omitempty"` // 0 means 3600
	Unit      string `json:"unit,omitempty"`       // A or W; absent: the device's choice
}

// GetConfigurationParams: read variables; none named means all, which succeeds
// once the whole inventory has come.
type GetConfigurationParams struct {
	Variables []Variable `json:"variables,omitempty"`
}

// SetConfigurationParams: write variables; observed by reading them back.
type SetConfigurationParams struct {
	Variables []Variable `json:"variables"`
}

// TriggerParams: ask the station for a message now.
type TriggerParams struct {
	Message string `json:"message"` // boot, heartbeat, status, meter, transaction, firmware, publish_firmware, log, sign_certificate, sign_v2g_certificate, sign_v2g20_certificate, sign_combined_certificate, or custom:<the device's own word>
}

// ReserveParams: keep the EVSE for Token until Until.
type ReserveParams struct {
	Reservation int       `json:"reservation"`
	Token       Token     `json:"token"`
	Parent      string    `json:"parent,omitempty"`
	Until       time.Time `json:"until"`
}

// CancelReservationParams: give the place free again.
type CancelReservationParams struct {
	Reservation int `json:"reservation"`
}

// UpdateFirmwareParams: fetch and install firmware.
type UpdateFirmwareParams struct {
	URL           string    `json:"url"`
	Retrieve      time.Time `json:"retrieve"`
	Install       time.Time `json:"install,omitzero"`
	Retries       int       `json:"retries,omitempty"`
	RetryInterval int       `json:"retry_interval_s,omitempty"`
	Certificate   string    `json:"certificate,omitempty"` // PEM; with Signature: a signed update
	Signature     string    `json:"signature,omitempty"`   // base64
}

// GetLogParams: upload a log to URL.
type GetLogParams struct {
	Kind          string    `json:"kind"` // diagnostics or security
	URL           string    `json:"url"`
	From          time.Time `json:"from,omitzero"`
	To            time.Time `json:"to,omitzero"`
	Retries       int       `json:"retries,omitempty"`
	RetryInterval int       `json:"retry_interval_s,omitempty"`
}

// ClearCacheParams: forget cached authorizations.
type ClearCacheParams struct{}

// ListEntry is one token of a station's own list. Status absent removes it in a
// differential update.
type ListEntry struct {
	Token   Token      `json:"token"`
	Status  string     `json:"status,omitempty"` // accepted, blocked, expired, invalid
	Parent  string     `json:"parent,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

// SendLocalListParams: set the station's own list of tokens. Observed by its
// version.
type SendLocalListParams struct {
	Version      int         `json:"version"`
	Differential bool        `json:"differential,omitempty"`
	Entries      []ListEntry `json:"entries"`
}

// InstallCertificateParams: give the station a root certificate.
type InstallCertificateParams struct {
	Kind        string `json:"kind"`        // csms_root, manufacturer_root, mo_root, v2g_root or oem_root
	Certificate string `json:"certificate"` // PEM
}

// CertificateHash names an installed certificate.
type CertificateHash struct {
	Algorithm      string `json:"algorithm"` // SHA256, SHA384, SHA512
	IssuerNameHash string `json:"issuer_name_hash"`
	IssuerKeyHash  string `json:"issuer_key_hash"`
	Serial         string `json:"serial"`
}

// DeleteCertificateParams: remove a certificate.
type DeleteCertificateParams struct {
	Hash CertificateHash `json:"hash"`
}

// ListCertificatesParams: ask which certificates are installed.
type ListCertificatesParams struct {
	Kind string `json:"kind,omitempty"` // csms_root, manufacturer_root, mo_root, v2g_root, oem_root or v2g_chain; absent: all
}

// SignCertificateParams: hand the station a signed chain for its own key or,
// without one, ask it for a signing request.
type SignCertificateParams struct {
	Chain string `json:"chain,omitempty"` // PEM
	Kind  string `json:"kind,omitempty"`  // station, v2g or v2g20; absent: station
}

// ShowMessageParams: show a text to the driver. A message with an id that is
// there already replaces it; without Text the message with that id is taken away.
type ShowMessageParams struct {
	Text     string    `json:"text"`
	ID       int       `json:"id,omitempty"`       // 0: the gateway chooses one and tells it in the result
	Priority string    `json:"priority,omitempty"` // normal, in_front or always_front; absent: normal
	State    string    `json:"state,omitempty"`    // charging, faulted, idle, unavailable, …: show it only then
	Start    time.Time `json:"start,omitzero"`
	End      time.Time `json:"end,omitzero"`
	Session  SessionID `json:"session,omitempty"`  // show it for as long as this one runs
	Format   string    `json:"format,omitempty"`   // utf8, ascii, html, uri or qrcode; absent: utf8
	Language string    `json:"language,omitempty"` // RFC 5646
}

// SendDataParams: a vendor's own message.
type SendDataParams struct {
	Vendor  string `json:"vendor"`
	Message string `json:"message,omitempty"`
	Data    string `json:"data,omitempty"`
}

// CallParams: a message for which there is no word yet; refused where the
// station speaks another Protocol.
type CallParams struct {
	Protocol string          `json:"protocol"`
	Action   string          `json:"action"`
	Payload  json.RawMessage `json:"payload"`
}

// RecordParams: upload the frames that the flight recorder holds of a station,
// as lines of JSON, to a one-time URL. The result has frames, bytes and sha256.
type RecordParams struct {
	Station StationID `json:"station"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	URL     string    `json:"url"`
}

// RestartParams: restart the gateway's process.
type RestartParams struct{}
