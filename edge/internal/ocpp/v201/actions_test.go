package v201_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// actionTable says for every action of OCPP 2.0.1 how it is handled and which
// test shows it; scripts/actiontable makes the table of edge/README.md of it.
var actionTable = []struct {
	action  string
	handled string
	test    func(*testing.T)
	part    string
}{
	// What stations send.
	{"BootNotification", "`station.booted`; answered from the registration of the site", TestMessages, "B01"},
	{"Heartbeat", "answered with the gateway's clock", TestMessages, "G02"},
	{"StatusNotification", "`station.status`; what a place is occupied with shows in its transaction", TestMessages, "G01"},
	{"NotifyEvent", "`station.status` where it is about availability or a fault, else `data.received`", TestMessages, "N07 a problem"},
	{"Authorize", "`token.authorized`; the certificate of a car is a question to the manager, until then CertChainError", TestMessages, "C01"},
	{"TransactionEvent", "`session.started`, `session.updated`, `session.sampled`, `session.ended`; always confirmed", TestTransactions, "E02 cable first"},
	{"MeterValues", "`meter.sampled`", TestMessages, "J01"},
	{"NotifyReport", "`station.configuration`, part by part", TestMessages, "B07"},
	{"NotifyMonitoringReport", "`data.received`; the kinds of monitors are remembered", TestMessages, "N02"},
	{"NotifyDisplayMessages", "`data.received`", TestMessages, "O03"},
	{"NotifyCustomerInformation", "`data.received`", TestMessages, "N09"},
	{"ReportChargingProfiles", "`data.received`", TestMessages, "K09"},
	{"NotifyChargingLimit", "`profile.updated` with its source; a schedule is `data.received` too", TestMessages, "K12"},
	{"ClearedChargingLimit", "`profile.updated` with its source", TestMessages, "K13"},
	{"NotifyEVChargingNeeds", "`data.received` and a question to the manager; until it answers Rejected", TestQuestions, "K15 planned later"},
	{"NotifyEVChargingSchedule", "`data.received`, Accepted", TestMessages, "K17"},
	{"SecurityEventNotification", "`station.security`, by one list of names for all versions", TestMessages, "A04"},
	{"SignCertificate", "acknowledged at once; the chain follows by CertificateSigned", TestMessages, "A02"},
	{"Get15118EVCertificate", "question to the manager; until it answers Failed", TestQuestions, "M02 answered"},
	{"GetCertificateStatus", "question to the manager; until it answers Failed", TestQuestions, "M06 answered"},
	{"FirmwareStatusNotification", "`station.firmware`", TestMessages, "L01"},
	{"PublishFirmwareStatusNotification", "`station.firmware` with `publish`", TestMessages, "L03"},
	{"LogStatusNotification", "`station.log`", TestMessages, "N01"},
	{"ReservationStatusUpdate", "`reservation.updated`", TestMessages, "H04"},
	{"DataTransfer", "from the station `data.received`, UnknownVendorId; to it `send_data`", TestMessages, "P02 JSON"},
	// What stations are sent.
	{"RequestStartTransaction", "`start`, tied to its session by remoteStartId; done when the session begins", TestOrders, "OCPP 2.0.1 F01"},
	{"RequestStopTransaction", "`stop`; done when the session ends", TestRunningTransaction, ""},
	{"UnlockConnector", "`unlock`; the answer is the outcome", TestOrders, "OCPP 2.0.1 F05"},
	{"Reset", "`reset` of the station or an EVSE: soft is OnIdle, hard Immediate; done when it boots or is back", TestOrders, "OCPP 2.0.1 B11"},
	{"ChangeAvailability", "`set_availability` of station, EVSE or connector; done when the status shows it", TestOrders, "OCPP 2.0.1 G03 of a connector"},
	{"SetChargingProfile", "`set_limit`, with fixed profile ids and stack levels; read back", TestOrders, "OCPP 2.0.1 K01 of an EVSE"},
	{"ClearChargingProfile", "`clear_limit`; also what stands in the place of our profile", TestOrders, "OCPP 2.0.1 K10"},
	{"GetCompositeSchedule", "`get_limit`; `set_limit` reads back by it", TestOrders, "OCPP 2.0.1 K08"},
	{"GetChargingProfiles", "reads back `set_limit` where there is no composite schedule; `call`", TestOrders, "OCPP 2.0.1 K09 read back by its profile"},
	{"GetVariables", "`get_configuration` of named variables, in chunks of ItemsPerMessage and BytesPerMessage; reads back what was set", TestOrders, "OCPP 2.0.1 B06 in chunks"},
	{"SetVariables", "`set_configuration`, in chunks, with a verdict for each variable; read back", TestOrders, "OCPP 2.0.1 B05"},
	{"GetBaseReport", "`get_configuration` of everything; done with the last part", TestOrders, "OCPP 2.0.1 B07"},
	{"GetReport", "`call`; its parts become `station.configuration` in the name of the command", TestCallNamesItsReport, ""},
	{"SetNetworkProfile", "`call`", TestCalls, "SetNetworkProfile"},
	{"TriggerMessage", "`trigger`; also asked after a connection without a boot", TestOrders, "OCPP 2.0.1 F06"},
	{"ReserveNow", "`reserve`", TestOrders, "OCPP 2.0.1 H01"},
	{"CancelReservation", "`cancel_reservation`", TestOrders, "OCPP 2.0.1 H02"},
	{"UpdateFirmware", "`update_firmware`, signed or not; followed by its progress", TestOrders, "OCPP 2.0.1 L02"},
	{"PublishFirmware", "`call`", TestCalls, "PublishFirmware"},
	{"UnpublishFirmware", "`call`", TestCalls, "UnpublishFirmware"},
	{"GetLog", "`get_log`; followed by its progress", TestOrders, "OCPP 2.0.1 N01"},
	{"ClearCache", "`clear_cache`", TestOrders, "OCPP 2.0.1 C11"},
	{"SendLocalList", "`send_local_list`, full or differential, in chunks of ItemsPerMessage; the version is read back", TestOrders, "OCPP 2.0.1 D01 full, in parts"},
	{"GetLocalListVersion", "reads back `send_local_list`", TestOrders, "OCPP 2.0.1 D01 difference"},
	{"InstallCertificate", "`install_certificate`; looked for in the list afterwards", TestOrders, "OCPP 2.0.1 M05"},
	{"DeleteCertificate", "`delete_certificate`; looked for in the list afterwards", TestOrders, "OCPP 2.0.1 M04"},
	{"GetInstalledCertificateIds", "`list_certificates`", TestOrders, "OCPP 2.0.1 M03"},
	{"CertificateSigned", "`sign_certificate` with a chain", TestOrders, "OCPP 2.0.1 A02 chain"},
	{"SetDisplayMessage", "`show_message`", TestOrders, "OCPP 2.0.1 O01"},
	{"ClearDisplayMessage", "`show_message` without a text", TestOrders, "OCPP 2.0.1 O05"},
	{"GetDisplayMessages", "`call`", TestCalls, "GetDisplayMessages"},
	{"GetTransactionStatus", "asked after a reconnect with an open session; `call`", TestAskTransaction, ""},
	{"CostUpdated", "`call`", TestCalls, "CostUpdated"},
	{"SetMonitoringBase", "`call`", TestCalls, "SetMonitoringBase"},
	{"SetMonitoringLevel", "`call`", TestCalls, "SetMonitoringLevel"},
	{"SetVariableMonitoring", "`call`", TestCalls, "SetVariableMonitoring"},
	{"ClearVariableMonitoring", "`call`", TestCalls, "ClearVariableMonitoring"},
	{"GetMonitoringReport", "`call`", TestCalls, "GetMonitoringReport"},
	{"CustomerInformation", "`call`", TestCalls, "CustomerInformation"},
}

func TestActionTable(t *testing.T) {
	listed := map[string]bool{}
	for _, row := range actionTable {
		if listed[row.action] || row.handled == "" || row.test == nil {
			t.Errorf("%s: listed twice, or with an empty column", row.action)
		}
		listed[row.action] = true
		if _, ok := ocpp201.Lookup(row.action); !ok {
			t.Errorf("%s: OCPP 2.0.1 has no such action", row.action)
		}
	}
	for _, a := range ocpp201.Actions {
		if !listed[a.Name] {
			t.Errorf("%s: not listed", a.Name)
		}
	}
}
