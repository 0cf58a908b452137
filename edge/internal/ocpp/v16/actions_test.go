package v16_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// actionTable says for every action of OCPP 1.6 how it is handled and which test
// shows it; scripts/actiontable makes the table of edge/README.md of it.
var actionTable = []struct {
	action  string
	handled string // one short sentence
	test    func(*testing.T)
	part    string // the subtest that shows it, where the test is a table
}{
	{"Authorize", "`token.authorized`; answered by list, cache, manager or what holds offline", TestMessages, "OCPP 1.6 §4.1"},
	{"BootNotification", "`station.booted`; answered from the registration of the site", TestMessages, "OCPP 1.6 §4.2"},
	{"DataTransfer", "`send_data`; from a station `data.received`, answered UnknownVendorId, except Plug & Charge", TestMessages, "OCPP 1.6 §4.3 text"},
	{"DiagnosticsStatusNotification", "`station.log`", TestMessages, "OCPP 1.6 §4.5"},
	{"FirmwareStatusNotification", "`station.firmware`", TestMessages, "OCPP 1.6 §4.4"},
	{"Heartbeat", "answered with the gateway's clock", TestMessages, "OCPP 1.6 §4.6"},
	{"MeterValues", "`session.sampled`, `meter.sampled`, `meter.read`", TestMessages, "OCPP 1.6 §4.7"},
	{"StartTransaction", "`session.started`; the number of the transaction is the gateway's", TestMessages, "OCPP 1.6 §4.8"},
	{"StatusNotification", "`station.status`", TestMessages, "OCPP 1.6 §4.9"},
	{"StopTransaction", "`session.ended`; never refused, what cannot be read is `data.received`", TestMessages, "OCPP 1.6 §4.10 unknown id"},
	{"LogStatusNotification", "`station.log`", TestMessages, "security extension N01"},
	{"SecurityEventNotification", "`station.security`, one list of names for all versions", TestMessages, "security extension A04"},
	{"SignCertificate", "signed by the site CA or the manager; acknowledged at once", TestMessages, "security extension A02"},
	{"SignedFirmwareStatusNotification", "`station.firmware`", TestMessages, "security extension L01"},

	{"CancelReservation", "`cancel_reservation`", TestOrders, "OCPP 1.6 §5.1"},
	{"CertificateSigned", "`sign_certificate` with a chain", TestOrders, "security extension A02 chain"},
	{"ChangeAvailability", "`set_availability` of station or connector; done when the status shows it", TestOrders, "OCPP 1.6 §5.2"},
	{"ChangeConfiguration", "`set_configuration`, with a verdict for each key; read back", TestOrders, "OCPP 1.6 §5.3"},
	{"ClearCache", "`clear_cache`", TestOrders, "OCPP 1.6 §5.4"},
	{"ClearChargingProfile", "`clear_limit`", TestOrders, "OCPP 1.6 §5.5"},
	{"DeleteCertificate", "`delete_certificate`; looked for in the list afterwards", TestOrders, "security extension M04"},
	{"ExtendedTriggerMessage", "`trigger`, where TriggerMessage has no such word or is refused", TestOrders, "trigger by the other message"},
	{"GetCompositeSchedule", "`get_limit`; `set_limit` reads back by it", TestOrders, "OCPP 1.6 §5.7"},
	{"GetConfiguration", "`get_configuration`, named keys in chunks of GetConfigurationMaxKeys; reads back what was set", TestOrders, "OCPP 1.6 §5.8 all"},
	{"GetDiagnostics", "`get_log` of the diagnostics; followed by its progress", TestOrders, "OCPP 1.6 §5.9"},
	{"GetInstalledCertificateIds", "`list_certificates`", TestOrders, "security extension M03"},
	{"GetLocalListVersion", "reads back `send_local_list`", TestOrders, "OCPP 1.6 §5.15 full, in parts"},
	{"GetLog", "`get_log`; followed by its progress", TestOrders, "security extension N01"},
	{"InstallCertificate", "`install_certificate`; looked for in the list afterwards", TestOrders, "security extension M05"},
	{"RemoteStartTransaction", "`start`; done when the session begins", TestOrders, "OCPP 1.6 §5.11"},
	{"RemoteStopTransaction", "`stop`; done when the session ends", TestRunningTransaction, ""},
	{"ReserveNow", "`reserve`", TestOrders, "OCPP 1.6 §5.13"},
	{"Reset", "`reset`; done when the station boots or is back", TestOrders, "OCPP 1.6 §5.14 soft"},
	{"SendLocalList", "`send_local_list`, full or differential, in chunks; the version is read back", TestOrders, "OCPP 1.6 §5.15 full, in parts"},
	{"SetChargingProfile", "`set_limit`, in the unit and purpose that the model takes; read back", TestOrders, "OCPP 1.6 §3.13 of the station"},
	{"SignedUpdateFirmware", "`update_firmware` with a signature; followed by its progress", TestOrders, "security extension L01"},
	{"TriggerMessage", "`trigger`; also after a connection without a boot", TestOrders, "OCPP 1.6 §5.17"},
	{"UnlockConnector", "`unlock`; the answer is the outcome", TestOrders, "OCPP 1.6 §5.18"},
	{"UpdateFirmware", "`update_firmware`; followed by its progress", TestOrders, "OCPP 1.6 §5.19"},
}

func TestActionTable(t *testing.T) {
	listed := map[string]bool{}
	for _, row := range actionTable {
		if listed[row.action] || row.handled == "" || row.test == nil {
			t.Errorf("%s: listed twice, or with an empty column", row.action)
		}
		listed[row.action] = true
		if _, ok := ocpp16.Lookup(row.action); !ok {
			t.Errorf("%s: OCPP 1.6 has no such action", row.action)
		}
	}
	for _, a := range ocpp16.Actions {
		if !listed[a.Name] {
			t.Errorf("%s: not listed", a.Name)
		}
	}
}
