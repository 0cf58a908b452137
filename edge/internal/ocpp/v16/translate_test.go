package v16

import (
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

func TestStatusOf(t *testing.T) {
	tests := []struct {
		word ocpp16.ChargePointStatus
		want event.Status
		raw  string
	}{
		{"Available", event.StatusAvailable, ""},
		{"Preparing", event.StatusPreparing, ""},
		{"Charging", event.StatusCharging, ""},
		{"SuspendedEV", event.StatusSuspendedEV, ""},
		{"SuspendedEVSE", event.StatusSuspendedEVSE, ""},
		{"Finishing", event.StatusFinishing, ""},
		{"Reserved", event.StatusReserved, ""},
		{"Unavailable", event.StatusUnavailable, ""},
		{"Faulted", event.StatusFaulted, ""},
		{"Occupied", event.StatusOccupied, ""},
		{"suspendedEv", event.StatusSuspendedEV, "suspendedEv"},
		{"Sleeping", event.StatusUnknown, "Sleeping"},
	}
	for _, tt := range tests {
		if got, raw := statusOf(tt.word); got != tt.want || raw != tt.raw {
			t.Errorf("%s: got %s %q, want %s %q", tt.word, got, raw, tt.want, tt.raw)
		}
	}
}

func TestFaultOf(t *testing.T) {
	tests := map[ocpp16.ChargePointErrorCode]string{
		"NoError": "", "": "", "ConnectorLockFailure": "connector_lock", "EVCommunicationError": "ev_communication",
		"GroundFailure": "ground", "HighTemperature": "temperature_high", "InternalError": "internal", "LocalListConflict": "internal",
		"OverCurrentFailure": "over_current", "OverVoltage": "over_voltage", "UnderVoltage": "under_voltage",
		"PowerMeterFailure": "meter", "PowerSwitchFailure": "power_switch", "ReaderFailure": "reader", "ResetFailure": "reset",
		"WeakSignal": "weak_signal", "OtherError": "other", "noerror": "", "Broken": "other",
	}
	for word, want := range tests {
		if got := faultOf(word); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestReasonOf(t *testing.T) {
	tests := map[ocpp16.Reason]string{
		"": "local", "Local": "local", "Remote": "remote", "EVDisconnected": "ev_disconnected", "DeAuthorized": "deauthorized",
		"EmergencyStop": "emergency_stop", "PowerLoss": "power_loss", "Reboot": "reboot", "HardReset": "reboot", "SoftReset": "reboot",
		"UnlockCommand": "unlock_command", "Other": "other", "deauthorized": "deauthorized", "Bored": "other",
	}
	for word, want := range tests {
		if got := reasonOf(word); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestAuthorizationOf(t *testing.T) {
	tests := map[string]ocpp16.AuthorizationStatus{
		"accepted": "Accepted", "blocked": "Blocked", "expired": "Expired", "invalid": "Invalid", "concurrent": "ConcurrentTx",
		"no_credit": "Blocked", "not_at_this_location": "Invalid", "unknown": "Invalid", "": "Invalid",
	}
	for decision, want := range tests {
		if got := authorizationOf(decision); got != want {
			t.Errorf("%q: got %q, want %q", decision, got, want)
		}
	}
}

func TestTimeOf(t *testing.T) {
	tests := []struct {
		text string
		want site.TimeQuality
		zero bool
	}{
		{"2026-11-22T06:01:02Z", site.TimeGood, false},
		{"2026-11-22T08:01:02+02:00", site.TimeGood, false},
		{"2026-11-22T06:01:02", site.TimeNoZone, false},
		{"1970-01-01T00:00:12Z", site.TimeUnset, false},
		{"yesterday", site.TimeUnreadable, true},
	}
	for _, tt := range tests {
		got := timeOf(lenient.ParseTime(tt.text))
		if got.Raw != tt.text || got.Quality != tt.want || got.Time.IsZero() != tt.zero {
			t.Errorf("%s: got %+v, want quality %d", tt.text, got, tt.want)
		}
	}
	if got := timeOf(lenient.Time{}); got != (site.ReportedTime{}) {
		t.Errorf("no time: got %+v", got)
	}
}

func TestSnake(t *testing.T) {
	tests := map[string]string{
		"Installed": "installed", "DownloadFailed": "download_failed", "InstallVerificationFailed": "install_verification_failed",
		"Idle": "idle", "some Word": "some_word", "": "",
	}
	for word, want := range tests {
		if got := snake(word); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := uploadOf("UploadFailure"); got != "upload_failed" {
		t.Errorf("UploadFailure: got %q", got)
	}
}

func TestSecurityOf(t *testing.T) {
	tests := map[string]string{
		"FailedToAuthenticateAtCentralSystem": "FailedToAuthenticateAtCsms",
		"InvalidChargePointCertificate":       "InvalidChargingStationCertificate",
		"InvalidCentralSystemCertificate":     "InvalidCsmsCertificate",
		"TamperDetectionActivated":            "TamperDetectionActivated",
	}
	for word, want := range tests {
		if got := securityOf(word); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
