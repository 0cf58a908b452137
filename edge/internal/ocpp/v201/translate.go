package v201

import (
	"strings"
	"time"
	"unicode"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// statusOf returns the unified state of a connector, and the station's word where
// that is not one of the standard's. Occupied is all that it says of a connector
// in use: the rest is in the charging state of its transaction. OCPP 2.0.1
// ConnectorStatusEnumType; some stations write the words of 1.6.
func statusOf(word string) (status event.Status, raw string) {
	switch ocpp201.ConnectorStatus(word).Fold() {
	case ocpp201.ConnectorStatusAvailable:
		status = event.StatusAvailable
	case ocpp201.ConnectorStatusOccupied:
		status = event.StatusOccupied
	case ocpp201.ConnectorStatusReserved:
		status = event.StatusReserved
	case ocpp201.ConnectorStatusUnavailable:
		status = event.StatusUnavailable
	case ocpp201.ConnectorStatusFaulted:
		status = event.StatusFaulted
	default:
		switch s := event.Status(snake(strings.TrimSpace(word))); s {
		case event.StatusPreparing, event.StatusCharging, event.StatusSuspendedEV, event.StatusSuspendedEVSE, event.StatusFinishing:
			return s, word
		}
		return event.StatusUnknown, word
	}
	if !ocpp201.ConnectorStatus(word).Known() {
		raw = word
	}
	return status, raw
}

// reasonOf returns the unified reason of an end. OCPP 2.0.1 ReasonEnumType: absent
// means Local; ReqEnergyTransferRejected is from 2.1.
func reasonOf(word ocpp201.Reason, trigger string) string {
	switch word.Fold() {
	case "", ocpp201.ReasonLocal:
		return "local"
	case ocpp201.ReasonRemote:
		if trigger == "unlock_command" {
			return "unlock_command"
		}
		return "remote"
	case ocpp201.ReasonEVDisconnected:
		return "ev_disconnected"
	case ocpp201.ReasonDeAuthorized:
		return "deauthorized"
	case ocpp201.ReasonEmergencyStop:
		return "emergency_stop"
	case ocpp201.ReasonPowerLoss:
		return "power_loss"
	case ocpp201.ReasonReboot, ocpp201.ReasonImmediateReset:
		return "reboot"
	case ocpp201.ReasonEnergyLimitReached, ocpp201.ReasonTimeLimitReached, ocpp201.ReasonSOCLimitReached, ocpp201.ReasonLocalOutOfCredit:
		return "limit_reached"
	case ocpp201.ReasonStoppedByEV:
		return "stopped_by_ev"
	case ocpp201.ReasonGroundFault, ocpp201.ReasonOvercurrentFault, ocpp201.ReasonPowerQuality:
		return "fault"
	case ocpp201.ReasonTimeout:
		return "timeout"
	case ocpp201.ReasonMasterPass:
		return "master_pass"
	case "ReqEnergyTransferRejected":
		return "transfer_rejected"
	}
	return "other"
}

// triggerOf returns the unified word for what made a station send an event. Those
// that 1.6 lets us derive have the same word there.
func triggerOf(word ocpp201.TriggerReason) string {
	switch word = word.Fold(); word {
	case ocpp201.TriggerReasonMeterValuePeriodic:
		return "meter_periodic"
	case ocpp201.TriggerReasonMeterValueClock:
		return "meter_clock"
	case ocpp201.TriggerReasonChargingStateChanged:
		return "charging_state"
	case ocpp201.TriggerReasonAbnormalCondition:
		return "abnormal"
	}
	return snake(string(word))
}

// chargingStateOf returns the unified charging state, empty where none was said.
func chargingStateOf(word ocpp201.ChargingState) string { return snake(string(word.Fold())) }

// authorizationOf returns the word for a decision. OCPP 2.0.1
// AuthorizationStatusEnumType.
func authorizationOf(decision string) ocpp201.AuthorizationStatus {
	switch decision {
	case "accepted":
		return ocpp201.AuthorizationStatusAccepted
	case "blocked":
		return ocpp201.AuthorizationStatusBlocked
	case "expired":
		return ocpp201.AuthorizationStatusExpired
	case "concurrent":
		return ocpp201.AuthorizationStatusConcurrentTx
	case "no_credit":
		return ocpp201.AuthorizationStatusNoCredit
	case "not_allowed_type_evse":
		return ocpp201.AuthorizationStatusNotAllowedTypeEVSE
	case "not_at_this_location":
		return ocpp201.AuthorizationStatusNotAtThisLocation
	case "not_at_this_time":
		return ocpp201.AuthorizationStatusNotAtThisTime
	case "unknown":
		return ocpp201.AuthorizationStatusUnknown
	}
	return ocpp201.AuthorizationStatusInvalid
}

// maxToken is how many characters an idToken has. OCPP 2.0.1 IdTokenType, 2.1
// IdTokenType.
func (p *Peer) maxToken() int {
	if p.dialect.version.Protocol == ocppj.V201 {
		return 36
	}
	return 255
}

// tokenInfo answers a question about a token: with its group where it has one
// (C01.FR.06), and without EVSEs, since it is allowed at all of them (C01.FR.19).
// Nobody here has a message for the driver.
func (p *Peer) tokenInfo(r site.AuthorizeResult) ocpp201.IDTokenInfo {
	info := ocpp201.IDTokenInfo{Status: authorizationOf(r.Decision)}
	if len(r.Parent) <= p.maxToken() {
		info.GroupIDToken = groupOf(r.Parent)
	}
	if r.Expires != nil {
		info.CacheExpiryDateTime = lenient.At(*r.Expires)
	}
	return info
}

// tokenTypes are the unified types of tokens. OCPP 2.0.1 IdTokenEnumType; in 2.1
// the type is a free word.
var tokenTypes = map[ocpp201.IDTokenType]string{
	ocpp201.IDTokenTypeISO14443:        "rfid",
	ocpp201.IDTokenTypeISO15693:        "rfid",
	ocpp201.IDTokenTypeCentral:         "central",
	ocpp201.IDTokenTypeEMAID:           "emaid",
	ocpp201.IDTokenTypeKeyCode:         "key_code",
	ocpp201.IDTokenTypeLocal:           "local",
	ocpp201.IDTokenTypeMacAddress:      "mac",
	ocpp201.IDTokenTypeNoAuthorization: "none",
}

// tokenOf returns the token that a station names.
func tokenOf(t *ocpp201.IDToken) event.Token {
	token := event.Token{Value: strings.TrimSpace(t.IDToken)}
	switch kind, ok := tokenTypes[t.Type.Fold()]; {
	case ok:
		token.Type = kind
	case t.Type == "":
		token.Type = "unspecified"
	default:
		token.Type = snake(string(t.Type))
	}
	return token
}

// registrationOf returns the word for a registration.
func registrationOf(status string) ocpp201.RegistrationStatus {
	switch status {
	case "accepted":
		return ocpp201.RegistrationStatusAccepted
	case "pending":
		return ocpp201.RegistrationStatusPending
	}
	return ocpp201.RegistrationStatusRejected
}

// timeOf passes on a claimed time; whether to believe it is decided by the site.
func timeOf(t lenient.Time) site.ReportedTime {
	r := site.ReportedTime{Raw: t.Raw, Time: t.Time}
	switch t.Quality {
	case lenient.NoZone:
		r.Quality = site.TimeNoZone
	case lenient.Unset:
		r.Quality = site.TimeUnset
	case lenient.Unreadable:
		r.Quality = site.TimeUnreadable
	}
	return r
}

// securityEvents are the security events of the standard. OCPP 2.0.1 part 2
// appendix 1, and one of 2.1.
var securityEvents = []string{
	"FirmwareUpdated", "FailedToAuthenticateAtCsms", "CsmsFailedToAuthenticate", "SettingSystemTime", "StartupOfTheDevice",
	"ResetOrReboot", "SecurityLogWasCleared", "ReconfigurationOfSecurityParameters", "MemoryExhaustion", "InvalidMessages",
	"AttemptedReplayAttacks", "TamperDetectionActivated", "InvalidFirmwareSignature", "InvalidFirmwareSigningCertificate",
	"InvalidCsmsCertificate", "InvalidChargingStationCertificate", "InvalidTLSVersion", "InvalidTLSCipherSuite",
	"MaintenanceLoginAccepted", "MaintenanceLoginFailed", "DiscardedRenewedClientCertificate",
}

// securityNames are parts of the names that the security extension of 1.6 has;
// some stations keep them.
var securityNames = strings.NewReplacer("CentralSystem", "Csms", "ChargePoint", "ChargingStation", "CSMS", "Csms")

// securityOf returns the one name that a security event has in all versions.
func securityOf(word string) string {
	return lenient.FoldWord(securityEvents, securityNames.Replace(strings.TrimSpace(word)))
}

// unwords are words whose capitals say nothing about where a word ends.
var unwords = strings.NewReplacer("SoC", "Soc", "eMAID", "Emaid", "TLS", "Tls")

// snake writes a word of OCPP as ours are written: EVConnectTimeout becomes
// ev_connect_timeout.
func snake(word string) string {
	word = unwords.Replace(word)
	var b strings.Builder
	b.Grow(len(word) + 4)
	runes := []rune(word)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 {
			before := runes[i-1]
			ends := unicode.IsUpper(before) && i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsLower(before) || ends {
				b.WriteByte('_')
			}
		}
		if r == ' ' || r == '-' {
			r = '_'
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// uploadOf returns the unified word for the state of an upload.
func uploadOf(word string) string {
	if s := snake(word); s != "upload_failure" {
		return s
	}
	return "upload_failed"
}

// requestOf returns the request id that a message names, 0 where it names none.
func requestOf(id *int64) int {
	if id == nil {
		return 0
	}
	return small(*id)
}

// small returns a number that fits where only positive ones of 31 bits make
// sense, 0 in place of any other.
func small(n int64) int {
	if n < 0 || n >= 1<<31 {
		return 0
	}
	return int(n)
}

// isTrue reads an optional truth value.
func isTrue(b *bool) bool { return b != nil && *b }

// seconds is d in whole seconds, at least one.
func seconds(d time.Duration) int64 { return max(int64(d/time.Second), 1) }
