package v16

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// statuses are the states of a connector. OCPP 1.6 §7.7; Occupied is from 1.5.
var statuses = map[ocpp16.ChargePointStatus]event.Status{
	ocpp16.ChargePointStatusAvailable:     event.StatusAvailable,
	ocpp16.ChargePointStatusPreparing:     event.StatusPreparing,
	ocpp16.ChargePointStatusCharging:      event.StatusCharging,
	ocpp16.ChargePointStatusSuspendedEV:   event.StatusSuspendedEV,
	ocpp16.ChargePointStatusSuspendedEVSE: event.StatusSuspendedEVSE,
	ocpp16.ChargePointStatusFinishing:     event.StatusFinishing,
	ocpp16.ChargePointStatusReserved:      event.StatusReserved,
	ocpp16.ChargePointStatusUnavailable:   event.StatusUnavailable,
	ocpp16.ChargePointStatusFaulted:       event.StatusFaulted,
	"Occupied":                            event.StatusOccupied,
}

// statusOf returns the unified state, and the station's word where that is not
// one of the standard's.
func statusOf(word ocpp16.ChargePointStatus) (status event.Status, raw string) {
	if status, ok := statuses[word]; ok {
		return status, ""
	}
	if status, ok := statuses[word.Fold()]; ok {
		return status, string(word)
	}
	return event.StatusUnknown, string(word)
}

// faults are the error codes of a connector. OCPP 1.6 §7.6.
var faults = map[ocpp16.ChargePointErrorCode]string{
	ocpp16.ChargePointErrorCodeConnectorLockFailure: "connector_lock",
	ocpp16.ChargePointErrorCodeEVCommunicationError: "ev_communication",
	ocpp16.ChargePointErrorCodeGroundFailure:        "ground",
	ocpp16.ChargePointErrorCodeHighTemperature:      "temperature_high",
	ocpp16.ChargePointErrorCodeInternalError:        "internal",
	ocpp16.ChargePointErrorCodeLocalListConflict:    "internal",
	ocpp16.ChargePointErrorCodeNoError:              "",
	ocpp16.ChargePointErrorCodeOtherError:           "other",
	ocpp16.ChargePointErrorCodeOverCurrentFailure:   "over_current",
	ocpp16.ChargePointErrorCodePowerMeterFailure:    "meter",
	ocpp16.ChargePointErrorCodePowerSwitchFailure:   "power_switch",
	ocpp16.ChargePointErrorCodeReaderFailure:        "reader",
	ocpp16.ChargePointErrorCodeResetFailure:         "reset",
	ocpp16.ChargePointErrorCodeUnderVoltage:         "under_voltage",
	ocpp16.ChargePointErrorCodeOverVoltage:          "over_voltage",
	ocpp16.ChargePointErrorCodeWeakSignal:           "weak_signal",
}

// faultOf returns the unified error code, empty without an error. A word that the
// standard does not have is "other".
func faultOf(word ocpp16.ChargePointErrorCode) string {
	if word == "" {
		return ""
	}
	if fault, ok := faults[word.Fold()]; ok {
		return fault
	}
	return "other"
}

// reasonOf returns the unified reason of a stop. OCPP 1.6 §7.36: absent means
// Local.
func reasonOf(word ocpp16.Reason) string {
	switch word.Fold() {
	case "", ocpp16.ReasonLocal:
		return "local"
	case ocpp16.ReasonRemote:
		return "remote"
	case ocpp16.ReasonEVDisconnected:
		return "ev_disconnected"
	case ocpp16.ReasonDeAuthorized:
		return "deauthorized"
	case ocpp16.ReasonEmergencyStop:
		return "emergency_stop"
	case ocpp16.ReasonPowerLoss:
		return "power_loss"
	case ocpp16.ReasonReboot, ocpp16.ReasonHardReset, ocpp16.ReasonSoftReset:
		return "reboot"
	case ocpp16.ReasonUnlockCommand:
		return "unlock_command"
	}
	return "other"
}

// authorizationOf returns what 1.6 can say of a decision: what it has no word
// for becomes Invalid, want of credit becomes Blocked.
func authorizationOf(decision string) ocpp16.AuthorizationStatus {
	switch decision {
	case "accepted":
		return ocpp16.AuthorizationStatusAccepted
	case "blocked", "no_credit":
		return ocpp16.AuthorizationStatusBlocked
	case "expired":
		return ocpp16.AuthorizationStatusExpired
	case "concurrent":
		return ocpp16.AuthorizationStatusConcurrentTx
	}
	return ocpp16.AuthorizationStatusInvalid
}

// tagInfo answers a question about a token.
func tagInfo(r site.AuthorizeResult) ocpp16.IDTagInfo {
	info := ocpp16.IDTagInfo{Status: authorizationOf(r.Decision)}
	if len(r.Parent) <= maxTag {
		info.ParentIDTag = r.Parent
	}
	if r.Expires != nil {
		info.ExpiryDate = lenient.At(*r.Expires)
	}
	return info
}

// maxTag is how many characters an idTag has. OCPP 1.6 §7.28.
const maxTag = 20

// tokenOf returns the token that an idTag stands for. 1.6 does not say of what
// kind it is.
func tokenOf(tag string) event.Token {
	return event.Token{Type: "unspecified", Value: strings.TrimSpace(tag)}
}

// registrationOf returns the word for a registration.
func registrationOf(status string) ocpp16.RegistrationStatus {
	switch status {
	case "accepted":
		return ocpp16.RegistrationStatusAccepted
	case "pending":
		return ocpp16.RegistrationStatusPending
	}
	return ocpp16.RegistrationStatusRejected
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

// securityOf returns the one name that a security event has in all versions.
var securityOf = strings.NewReplacer("CentralSystem", "Csms", "ChargePoint", "ChargingStation").Replace

// snake writes a word of OCPP as ours are written: DownloadFailed becomes
// download_failed.
func snake(word string) string {
	var b strings.Builder
	var before rune
	for _, r := range word {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			b.WriteByte('_')
		}
		if r == ' ' || r == '-' {
			r = '_'
		}
		b.WriteRune(unicode.ToLower(r))
		before = r
	}
	return b.String()
}

// uploadOf returns the unified word for the state of an upload; the two messages
// of 1.6 differ in one.
func uploadOf(word string) string {
	if s := snake(word); s != "upload_failure" {
		return s
	}
	return "upload_failed"
}

// registerOf returns a register that was given as an integer.
func registerOf(wh int64, given bool) *int64 {
	if !given {
		return nil
	}
	return &wh
}

// transactionOf writes the id of a transaction as text.
func transactionOf(id int64) string { return strconv.FormatInt(id, 10) }

// seconds is d in whole seconds, at least one.
func seconds(d time.Duration) int64 { return max(int64(d/time.Second), 1) }
