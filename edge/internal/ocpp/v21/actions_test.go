package v21_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// actionTable says for every action of OCPP 2.1 how it is handled and which test
// shows it; scripts/actiontable makes the table of edge/README.md of it.
var actionTable = []struct {
	action  string
	handled string // one short sentence
	test    func(*testing.T)
	part    string // the subtest that shows it, where the test is a table
}{
	{"BootNotification", "`station.booted`; answered from the registration of the site", TestMessages, "BootNotification"},
	{"Heartbeat", "answered with the gateway's clock", TestMessages, "Heartbeat"},
	{"StatusNotification", "`station.status`", TestMessages, "StatusNotification"},
	{"NotifyEvent", "`station.status` where it is about availability or a fault, else `data.received`", TestMessages, "NotifyEvent"},
	{"Authorize", "`token.authorized`; a contract certificate is put to the manager", TestMessages, "Authorize"},
	{"TransactionEvent", "`session.started`, `session.updated`, `session.ended`", TestMessages, "TransactionEvent"},
	{"MeterValues", "`meter.sampled`, `meter.read`", TestMessages, "MeterValues"},
	{"NotifyReport", "`station.configuration`, part by part", TestMessages, "NotifyReport"},
	{"NotifyMonitoringReport", "`data.received`", TestMessages, "NotifyMonitoringReport"},
	{"NotifyDisplayMessages", "`data.received`", TestMessages, "NotifyDisplayMessages"},
	{"NotifyCustomerInformation", "`data.received`", TestMessages, "NotifyCustomerInformation"},
	{"ReportChargingProfiles", "`data.received`", TestMessages, "ReportChargingProfiles"},
	{"NotifyChargingLimit", "`profile.updated`; schedules also `data.received`", TestMessages, "NotifyChargingLimit"},
	{"ClearedChargingLimit", "`profile.updated`", TestMessages, "ClearedChargingLimit"},
	{"NotifyEVChargingNeeds", "`data.received` and a question to the manager; until then Rejected", TestMessages, "NotifyEVChargingNeeds"},
	{"NotifyEVChargingSchedule", "`data.received`; Accepted", TestMessages, "NotifyEVChargingSchedule"},
	{"SecurityEventNotification", "`station.security`, one list of names for all versions", TestMessages, "SecurityEventNotification"},
	{"SignCertificate", "signed by the site CA or the manager; acknowledged at once", TestMessages, "SignCertificate"},
	{"Get15118EVCertificate", "question to the manager; until then Failed", TestMessages, "Get15118EVCertificate"},
	{"GetCertificateStatus", "question to the manager; until then Failed", TestMessages, "GetCertificateStatus"},
	{"FirmwareStatusNotification", "`station.firmware`", TestMessages, "FirmwareStatusNotification"},
	{"PublishFirmwareStatusNotification", "`station.firmware`", TestMessages, "PublishFirmwareStatusNotification"},
	{"LogStatusNotification", "`station.log`", TestMessages, "LogStatusNotification"},
	{"ReservationStatusUpdate", "`reservation.updated`", TestMessages, "ReservationStatusUpdate"},
	{"NotifySettlement", "`data.received`", TestMessages, "NotifySettlement"},
	{"VatNumberValidation", "`data.received` and a question to the manager; until then Rejected", TestMessages, "VatNumberValidation"},
	{"NotifyPriorityCharging", "`data.received`", TestMessages, "NotifyPriorityCharging"},
	{"PullDynamicScheduleUpdate", "`data.received` and a question to the manager; until then Rejected", TestMessages, "PullDynamicScheduleUpdate"},
	{"GetCertificateChainStatus", "`data.received` and a question to the manager; until then Failed", TestMessages, "GetCertificateChainStatus"},
	{"OpenPeriodicEventStream", "`data.received`; Accepted", TestMessages, "OpenPeriodicEventStream"},
	{"ClosePeriodicEventStream", "`data.received`", TestMessages, "ClosePeriodicEventStream"},
	{"NotifyDERAlarm", "`data.received`", TestMessages, "NotifyDERAlarm"},
	{"NotifyDERStartStop", "`data.received`", TestMessages, "NotifyDERStartStop"},
	{"ReportDERControl", "`data.received`", TestMessages, "ReportDERControl"},
	{"BatterySwap", "`data.received`", TestMessages, "BatterySwap"},
	{"NotifyPeriodicEventStream", "a SEND, never answered: `data.received`", TestStream, ""},
	{"RequestStartTransaction", "`start`; done when the session begins", TestOrders, "RequestStartTransaction"},
	{"RequestStopTransaction", "`stop`; done when the session ends", TestOrders, "RequestStopTransaction"},
	{"UnlockConnector", "`unlock`; the answer is the outcome", TestOrders, "UnlockConnector"},
	{"Reset", "`reset` of the station or an EVSE: soft is OnIdle, hard Immediate, resume ImmediateAndResume; done when it boots or is back", TestOrders, "Reset"},
	{"ChangeAvailability", "`set_availability` of station, EVSE or connector; done when the status shows it", TestOrders, "ChangeAvailability"},
	{"SetChargingProfile", "`set_limit`, with fixed profile ids and stack levels; read back", TestOrders, "SetChargingProfile"},
	{"ClearChargingProfile", "`clear_limit`; also what stands in the place of our profile", TestOrders, "ClearChargingProfile"},
	{"GetCompositeSchedule", "`get_limit`; `set_limit` reads back by it", TestOrders, "GetCompositeSchedule"},
	{"GetVariables", "`get_configuration` of named variables, in chunks of ItemsPerMessage and BytesPerMessage; reads back what was set", TestOrders, "GetVariables"},
	{"GetBaseReport", "`get_configuration` of everything; done with the last part", TestOrders, "GetBaseReport"},
	{"SetVariables", "`set_configuration`, in chunks, with a verdict for each variable; read back", TestOrders, "SetVariables"},
	{"TriggerMessage", "`trigger`, every message and the maker's own; also after a connection without a boot", TestOrders, "TriggerMessage"},
	{"ReserveNow", "`reserve`", TestOrders, "ReserveNow"},
	{"CancelReservation", "`cancel_reservation`", TestOrders, "CancelReservation"},
	{"UpdateFirmware", "`update_firmware`, signed or not; followed by its progress", TestOrders, "UpdateFirmware"},
	{"GetLog", "`get_log`; followed by its progress", TestOrders, "GetLog"},
	{"ClearCache", "`clear_cache`", TestOrders, "ClearCache"},
	{"SendLocalList", "`send_local_list`, full or differential, in chunks; the version is read back", TestOrders, "SendLocalList"},
	{"GetLocalListVersion", "reads back `send_local_list`", TestOrders, "GetLocalListVersion"},
	{"InstallCertificate", "`install_certificate`; looked for in the list afterwards", TestOrders, "InstallCertificate"},
	{"DeleteCertificate", "`delete_certificate`; looked for in the list afterwards", TestOrders, "DeleteCertificate"},
	{"GetInstalledCertificateIds", "`list_certificates`", TestOrders, "GetInstalledCertificateIds"},
	{"CertificateSigned", "`sign_certificate` with a chain", TestOrders, "CertificateSigned"},
	{"SetDisplayMessage", "`show_message`", TestOrders, "SetDisplayMessage"},
	{"ClearDisplayMessage", "`show_message` without a text", TestOrders, "ClearDisplayMessage"},
	{"DataTransfer", "`send_data`; from a station `data.received`, answered UnknownVendorId", TestOrders, "DataTransfer"},
	{"GetReport", "`call`, held against the schema", TestOrders, "GetReport"},
	{"SetNetworkProfile", "`call`, held against the schema", TestOrders, "SetNetworkProfile"},
	{"GetTransactionStatus", "asked after a reconnect with an open session; `call`", TestOrders, "GetTransactionStatus"},
	{"CostUpdated", "`call`, held against the schema", TestOrders, "CostUpdated"},
	{"GetChargingProfiles", "reads back `set_limit` where there is no composite schedule; `call`", TestOrders, "GetChargingProfiles"},
	{"PublishFirmware", "`call`, held against the schema", TestOrders, "PublishFirmware"},
	{"UnpublishFirmware", "`call`, held against the schema", TestOrders, "UnpublishFirmware"},
	{"ClearVariableMonitoring", "`call`, held against the schema", TestOrders, "ClearVariableMonitoring"},
	{"CustomerInformation", "`call`, held against the schema", TestOrders, "CustomerInformation"},
	{"GetMonitoringReport", "`call`, held against the schema", TestOrders, "GetMonitoringReport"},
	{"SetMonitoringBase", "`call`, held against the schema", TestOrders, "SetMonitoringBase"},
	{"SetMonitoringLevel", "`call`, held against the schema", TestOrders, "SetMonitoringLevel"},
	{"SetVariableMonitoring", "`call`, held against the schema", TestOrders, "SetVariableMonitoring"},
	{"GetDisplayMessages", "`call`, held against the schema", TestOrders, "GetDisplayMessages"},
	{"NotifyWebPaymentStarted", "`call`, held against the schema", TestOrders, "NotifyWebPaymentStarted"},
	{"ChangeTransactionTariff", "`call`, held against the schema", TestOrders, "ChangeTransactionTariff"},
	{"ClearTariffs", "`call`, held against the schema", TestOrders, "ClearTariffs"},
	{"GetTariffs", "`call`, held against the schema", TestOrders, "GetTariffs"},
	{"SetDefaultTariff", "`call`, held against the schema", TestOrders, "SetDefaultTariff"},
	{"UpdateDynamicSchedule", "`call`, held against the schema", TestOrders, "UpdateDynamicSchedule"},
	{"UsePriorityCharging", "`call`, held against the schema", TestOrders, "UsePriorityCharging"},
	{"AdjustPeriodicEventStream", "`call`, held against the schema", TestOrders, "AdjustPeriodicEventStream"},
	{"GetPeriodicEventStream", "`call`, held against the schema", TestOrders, "GetPeriodicEventStream"},
	{"AFRRSignal", "`call`, held against the schema", TestOrders, "AFRRSignal"},
	{"NotifyAllowedEnergyTransfer", "`call`, held against the schema", TestOrders, "NotifyAllowedEnergyTransfer"},
	{"ClearDERControl", "`call`, held against the schema", TestOrders, "ClearDERControl"},
	{"GetDERControl", "`call`, held against the schema", TestOrders, "GetDERControl"},
	{"SetDERControl", "`call`, held against the schema", TestOrders, "SetDERControl"},
	{"RequestBatterySwap", "`call`, held against the schema", TestOrders, "RequestBatterySwap"},
}

func TestActionTable(t *testing.T) {
	listed := map[string]bool{}
	for _, row := range actionTable {
		if listed[row.action] || row.handled == "" || row.test == nil {
			t.Errorf("%s: listed twice, or with an empty column", row.action)
		}
		listed[row.action] = true
		if _, ok := ocpp21.Lookup(row.action); !ok {
			t.Errorf("%s: OCPP 2.1 has no such action", row.action)
		}
	}
	for _, a := range ocpp21.Actions {
		if !listed[a.Name] {
			t.Errorf("%s: not listed", a.Name)
		}
	}
}
