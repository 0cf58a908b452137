package model

import (
	"fmt"
	"strconv"
	"strings"
)

// Names of variables that the station itself asks for, as Name.String gives them.
const (
	AlignedInterval         = "AlignedDataCtrlr.Interval"
	AlignedMeasurands       = "AlignedDataCtrlr.Measurands"
	AlignedDuringIdle       = "AlignedDataCtrlr.SendDuringIdle"
	AlignedTxEndedInterval  = "AlignedDataCtrlr.TxEndedInterval"
	AlignedTxEnded          = "AlignedDataCtrlr.TxEndedMeasurands"
	AuthCacheEnabled        = "AuthCacheCtrlr.Enabled"
	AuthCacheLifeTime       = "AuthCacheCtrlr.LifeTime"
	AuthEnabled             = "AuthCtrlr.Enabled"
	AuthorizeRemoteStart    = "AuthCtrlr.AuthorizeRemoteStart"
	LocalAuthorizeOffline   = "AuthCtrlr.LocalAuthorizeOffline"
	LocalPreAuthorize       = "AuthCtrlr.LocalPreAuthorize"
	MasterPassGroup         = "AuthCtrlr.MasterPassGroupId"
	OfflineTxForUnknown     = "AuthCtrlr.OfflineTxForUnknownIdEnabled"
	GetReportItems          = "DeviceDataCtrlr.ItemsPerMessage[GetReport]"
	GetVariablesItems       = "DeviceDataCtrlr.ItemsPerMessage[GetVariables]"
	SetVariablesItems       = "DeviceDataCtrlr.ItemsPerMessage[SetVariables]"
	DisplayMessages         = "DisplayMessageCtrlr.DisplayMessages"
	DisplayFormats          = "DisplayMessageCtrlr.SupportedFormats"
	LocalListEnabled        = "LocalAuthListCtrlr.Enabled"
	LocalListItems          = "LocalAuthListCtrlr.ItemsPerMessage"
	LocalListEntries        = "LocalAuthListCtrlr.Entries"
	SetMonitorItems         = "MonitoringCtrlr.ItemsPerMessage[SetVariableMonitoring]"
	MonitoringEnabled       = "MonitoringCtrlr.Enabled"
	OfflineQueuingSeverity  = "MonitoringCtrlr.OfflineQueuingSeverity"
	HeartbeatInterval       = "OCPPCommCtrlr.HeartbeatInterval"
	MessageAttempts         = "OCPPCommCtrlr.MessageAttempts[TransactionEvent]"
	MessageAttemptInterval  = "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]"
	OfflineThreshold        = "OCPPCommCtrlr.OfflineThreshold"
	UnlockOnEVDisconnect    = "OCPPCommCtrlr.UnlockOnEVSideDisconnect"
	WebSocketPingInterval   = "OCPPCommCtrlr.WebSocketPingInterval"
	NetworkPriority         = "OCPPCommCtrlr.NetworkConfigurationPriority"
	ActiveNetworkProfile    = "OCPPCommCtrlr.ActiveNetworkProfile"
	NonEVSEReservation      = "ReservationCtrlr.NonEvseSpecific"
	TxStartedMeasurands     = "SampledDataCtrlr.TxStartedMeasurands"
	TxUpdatedMeasurands     = "SampledDataCtrlr.TxUpdatedMeasurands"
	TxUpdatedInterval       = "SampledDataCtrlr.TxUpdatedInterval"
	TxEndedMeasurands       = "SampledDataCtrlr.TxEndedMeasurands"
	TxEndedInterval         = "SampledDataCtrlr.TxEndedInterval"
	BasicAuthPassword       = "SecurityCtrlr.BasicAuthPassword"
	OrganizationName        = "SecurityCtrlr.OrganizationName"
	SecurityProfile         = "SecurityCtrlr.SecurityProfile"
	CertificateEntries      = "SecurityCtrlr.CertificateEntries"
	ProfileEntries          = "SmartChargingCtrlr.Entries[ChargingProfiles]"
	PeriodsPerSchedule      = "SmartChargingCtrlr.PeriodsPerSchedule"
	ProfileStackLevel       = "SmartChargingCtrlr.ProfileStackLevel"
	NotifyLimitWithSchedule = "SmartChargingCtrlr.NotifyChargingLimitWithSchedules"
	EVConnectionTimeOut     = "TxCtrlr.EVConnectionTimeOut"
	MaxEnergyOnInvalidID    = "TxCtrlr.MaxEnergyOnInvalidId"
	StopOnEVSideDisconnect  = "TxCtrlr.StopTxOnEVSideDisconnect"
	StopOnInvalidID         = "TxCtrlr.StopTxOnInvalidId"
	TxStartPoint            = "TxCtrlr.TxStartPoint"
	TxStopPoint             = "TxCtrlr.TxStopPoint"
)

// Measurands are those that the simulated meter knows.
var Measurands = []string{
	"Energy.Active.Import.Register", "Energy.Active.Import.Interval", "Power.Active.Import", "Power.Offered", "Power.Factor",
	"Current.Import", "Current.Offered", "Voltage", "Frequency", "SoC",
}

// Points are the moments at which a transaction can begin and end.
var Points = []string{"ParkingBayOccupancy", "EVConnected", "Authorized", "PowerPathClosed", "EnergyTransfer"}

const (
	day     = 86400 // seconds
	sampled = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,Power.Offered,SoC"
	states  = "Available,Occupied,Reserved,Unavailable,Faulted"
)

// builder collects the variables of a model.
type builder struct{ all []Variable }

// add makes a variable from its name, as Name.String gives it for the station as
// a whole: Component.Variable or Component.Variable[Instance].
func (b *builder) add(name, kind, unit, value string, m Mutability, options ...func(*Variable)) {
	component, variable, _ := strings.Cut(name, ".")
	v := Variable{Name: Name{Component: component, Variable: variable}, Mutability: m, Type: kind, Unit: unit, Value: value}
	if i := strings.IndexByte(variable, '['); i > 0 {
		v.Name.Variable, v.Name.Of = variable[:i], variable[i+1:len(variable)-1]
	}
	for _, o := range options {
		o(&v)
	}
	b.all = append(b.all, v)
}

func (b *builder) read(name, kind, unit, value string, o ...func(*Variable)) {
	b.add(name, kind, unit, value, ReadOnly, o...)
}

func (b *builder) write(name, kind, unit, value string, o ...func(*Variable)) {
	b.add(name, kind, unit, value, ReadWrite, o...)
}

func within(low, high float64) func(*Variable) {
	return func(v *Variable) { v.Min, v.Max = &low, &high }
}

func of(values ...string) func(*Variable) { return func(v *Variable) { v.Values = values } }

func at(evse, connector int) func(*Variable) {
	return func(v *Variable) { v.Name.EVSE, v.Name.Connector = evse, connector }
}

func monitored(v *Variable) { v.Monitored = true }

func reboot(v *Variable) { v.Reboot = true }

func password(v *Variable) {
	v.check = func(s string) error {
		if n := len(s); n < 16 || n > 64 {
			return fmt.Errorf("%d characters: expected 16 to 40", n)
		}
		return nil
	}
}

// inventory is everything that a station has.
func inventory(h Hardware) []Variable {
	b := &builder{}
	b.station(h)
	b.controllers()
	if h.V21 {
		b.added()
	}
	return b.all
}

func (b *builder) station(h Hardware) {
	b.read("ChargingStation.AvailabilityState", "OptionList", "", "Available", of(strings.Split(states, ",")...), monitored)
	b.read("ChargingStation.Available", "boolean", "", "true")
	b.read("ChargingStation.Model", "string", "", h.Model)
	b.read("ChargingStation.Problem", "boolean", "", "false", monitored)
	b.read("ChargingStation.SupplyPhases", "integer", "", strconv.Itoa(h.Phases))
	b.read("ChargingStation.VendorName", "string", "", h.Vendor)
	b.read("ChargingStation.SerialNumber", "string", "", h.Identity)
	kind := "cType2"
	if h.DC {
		kind = "cCCS2"
	}
	for i := 1; i <= h.EVSEs; i++ {
		b.read("EVSE.AllowReset", "boolean", "", "true", at(i, 0))
		b.read("EVSE.AvailabilityState", "OptionList", "", "Available", of(strings.Split(states, ",")...), monitored, at(i, 0))
		b.read("EVSE.Available", "boolean", "", "true", at(i, 0))
		b.read("EVSE.Power", "decimal", "W", "0", within(0, h.MaxW), monitored, at(i, 0))
		b.read("EVSE.ACCurrent", "decimal", "A", "0", within(0, max(1, h.MaxA)), monitored, at(i, 0))
		b.read("EVSE.Problem", "boolean", "", "false", monitored, at(i, 0))
		b.read("EVSE.SupplyPhases", "integer", "", strconv.Itoa(h.Phases), at(i, 0))
		b.read("Connector.AvailabilityState", "OptionList", "", "Available", of(strings.Split(states, ",")...), monitored, at(i, 1))
		b.read("Connector.Available", "boolean", "", "true", at(i, 1))
		b.read("Connector.ConnectorType", "string", "", kind, at(i, 1))
		b.read("Connector.SupplyPhases", "integer", "", strconv.Itoa(h.Phases), at(i, 1))
		b.read("FiscalMetering.EnergyImportRegister", "decimal", "Wh", "0", monitored, at(i, 0))
	}
}

func (b *builder) controllers() {
	yes, no := "true", "false"
	b.read("AlignedDataCtrlr.Available", "boolean", "", yes)
	b.write("AlignedDataCtrlr.Enabled", "boolean", "", yes)
	b.write(AlignedInterval, "integer", "s", "0", within(0, day))
	b.write(AlignedMeasurands, "MemberList", "", "Energy.Active.Import.Register", of(Measurands...))
	b.write(AlignedDuringIdle, "boolean", "", no)
	b.write(AlignedTxEndedInterval, "integer", "s", "0", within(0, day))
	b.write(AlignedTxEnded, "MemberList", "", "", of(Measurands...))
	b.read("AuthCacheCtrlr.Available", "boolean", "", yes)
	b.write(AuthCacheEnabled, "boolean", "", yes)
	b.write(AuthCacheLifeTime, "integer", "s", "0", within(0, 365*day))
	b.read("AuthCacheCtrlr.Policy", "OptionList", "", "LRU", of("LRU", "LFU", "FIFO"))
	b.write(AuthEnabled, "boolean", "", yes)
	b.write(AuthorizeRemoteStart, "boolean", "", no)
	b.write(LocalAuthorizeOffline, "boolean", "", yes)
	b.write(LocalPreAuthorize, "boolean", "", no)
	b.write(MasterPassGroup, "string", "", "")
	b.write(OfflineTxForUnknown, "boolean", "", no)
	b.read("ClockCtrlr.DateTime", "dateTime", "", "")
	b.write("ClockCtrlr.TimeSource", "SequenceList", "", "Heartbeat", of("Heartbeat", "NTP", "RealTimeClock"))
	b.write("ClockCtrlr.TimeZone", "string", "", "UTC")
	b.read("DeviceDataCtrlr.BytesPerMessage[GetReport]", "integer", "", "65536")
	b.read("DeviceDataCtrlr.BytesPerMessage[GetVariables]", "integer", "", "65536")
	b.read("DeviceDataCtrlr.BytesPerMessage[SetVariables]", "integer", "", "65536")
	b.read(GetReportItems, "integer", "", "20")
	b.read(GetVariablesItems, "integer", "", "20")
	b.read(SetVariablesItems, "integer", "", "10")
	b.read("DisplayMessageCtrlr.Available", "boolean", "", yes)
	b.read(DisplayMessages, "integer", "", "0", within(0, 20))
	b.read(DisplayFormats, "MemberList", "", "ASCII,UTF8", of("ASCII", "HTML", "URI", "UTF8"))
	b.read("DisplayMessageCtrlr.SupportedPriorities", "MemberList", "", "AlwaysFront,InFront,NormalCycle", of("AlwaysFront", "InFront", "NormalCycle"))
	b.read("LocalAuthListCtrlr.Available", "boolean", "", yes)
	b.read("LocalAuthListCtrlr.BytesPerMessage", "integer", "", "65536")
	b.write(LocalListEnabled, "boolean", "", yes)
	b.read(LocalListEntries, "integer", "", "0", within(0, 10_000))
	b.read(LocalListItems, "integer", "", "100")
	b.read("MonitoringCtrlr.Available", "boolean", "", yes)
	b.read("MonitoringCtrlr.BytesPerMessage[SetVariableMonitoring]", "integer", "", "65536")
	b.write(MonitoringEnabled, "boolean", "", yes)
	b.read(SetMonitorItems, "integer", "", "20")
	b.read("MonitoringCtrlr.ItemsPerMessage[ClearVariableMonitoring]", "integer", "", "50")
	b.write(OfflineQueuingSeverity, "integer", "", "4", within(0, 9))
	b.read("MonitoringCtrlr.ActiveMonitoringBase", "OptionList", "", "All", of("All", "FactoryDefault", "HardwiredOnly"))
	b.read("MonitoringCtrlr.ActiveMonitoringLevel", "integer", "", "9")
	b.read(ActiveNetworkProfile, "integer", "", "0")
	b.read("OCPPCommCtrlr.FileTransferProtocols", "MemberList", "", "HTTP,HTTPS", of("FTP", "FTPS", "HTTP", "HTTPS", "SFTP"))
	b.write(HeartbeatInterval, "integer", "s", "300", within(0, 7*day))
	b.read("OCPPCommCtrlr.MessageTimeout[Default]", "integer", "s", "30")
	b.write(MessageAttemptInterval, "integer", "s", "10", within(0, day))
	b.write(MessageAttempts, "integer", "", "3", within(0, 1000))
	b.write(NetworkPriority, "SequenceList", "", "0", reboot)
	b.write("OCPPCommCtrlr.NetworkProfileConnectionAttempts", "integer", "", "3", within(1, 100))
	b.write(OfflineThreshold, "integer", "s", "60", within(0, day))
	b.write("OCPPCommCtrlr.QueueAllMessages", "boolean", "", no)
	b.write("OCPPCommCtrlr.ResetRetries", "integer", "", "1", within(0, 100))
	b.write("OCPPCommCtrlr.RetryBackOffRandomRange", "integer", "s", "1", within(0, day))
	b.write("OCPPCommCtrlr.RetryBackOffRepeatTimes", "integer", "", "4", within(0, 100))
	b.write("OCPPCommCtrlr.RetryBackOffWaitMinimum", "integer", "s", "1", within(0, day))
	b.write(UnlockOnEVDisconnect, "boolean", "", yes)
	b.write(WebSocketPingInterval, "integer", "s", "60", within(0, day))
	b.read("ReservationCtrlr.Available", "boolean", "", yes)
	b.write("ReservationCtrlr.Enabled", "boolean", "", yes)
	b.read(NonEVSEReservation, "boolean", "", yes)
	b.read("SampledDataCtrlr.Available", "boolean", "", yes)
	b.write("SampledDataCtrlr.Enabled", "boolean", "", yes)
	b.write(TxEndedInterval, "integer", "s", "0", within(0, day))
	b.write(TxEndedMeasurands, "MemberList", "", "Energy.Active.Import.Register", of(Measurands...))
	b.write(TxStartedMeasurands, "MemberList", "", "Energy.Active.Import.Register", of(Measurands...))
	b.write(TxUpdatedInterval, "integer", "s", "60", within(0, day))
	b.write(TxUpdatedMeasurands, "MemberList", "", sampled, of(Measurands...))
	b.read("SecurityCtrlr.AdditionalRootCertificateCheck", "boolean", "", no)
	b.add(BasicAuthPassword, "string", "", "", WriteOnly, password)
	b.read(CertificateEntries, "integer", "", "0", within(0, 20))
	b.write("SecurityCtrlr.CertSigningRepeatTimes", "integer", "", "3", within(0, 100))
	b.write("SecurityCtrlr.CertSigningWaitMinimum", "integer", "s", "30", within(0, day))
	b.read("SecurityCtrlr.Identity", "string", "", "")
	b.read("SecurityCtrlr.MaxCertificateChainSize", "integer", "", "10000")
	b.write(OrganizationName, "string", "", "Chargeyard")
	b.read(SecurityProfile, "integer", "", "0")
	b.read("SmartChargingCtrlr.ACPhaseSwitchingSupported", "boolean", "", no)
	b.read("SmartChargingCtrlr.Available", "boolean", "", yes)
	b.write("SmartChargingCtrlr.Enabled", "boolean", "", yes)
	b.read(ProfileEntries, "integer", "", "0", within(0, 50))
	b.write("SmartChargingCtrlr.ExternalControlSignalsEnabled", "boolean", "", yes)
	b.write("SmartChargingCtrlr.LimitChangeSignificance", "decimal", "Percent", "1", within(0, 100))
	b.write(NotifyLimitWithSchedule, "boolean", "", yes)
	b.read(PeriodsPerSchedule, "integer", "", "100")
	b.read(ProfileStackLevel, "integer", "", "10")
	b.read("SmartChargingCtrlr.RateUnit", "MemberList", "", "A,W", of("A", "W"))
	b.read("TariffCostCtrlr.Available[Tariff]", "boolean", "", yes)
	b.read("TariffCostCtrlr.Available[Cost]", "boolean", "", yes)
	b.write("TariffCostCtrlr.Currency", "string", "", "EUR")
	b.write("TariffCostCtrlr.Enabled[Tariff]", "boolean", "", yes)
	b.write("TariffCostCtrlr.Enabled[Cost]", "boolean", "", yes)
	b.write("TariffCostCtrlr.TariffFallbackMessage", "string", "", "")
	b.write("TariffCostCtrlr.TotalCostFallbackMessage", "string", "", "")
	b.write(EVConnectionTimeOut, "integer", "s", "60", within(0, day))
	b.write(MaxEnergyOnInvalidID, "integer", "Wh", "0", within(0, 1_000_000))
	b.write(StopOnEVSideDisconnect, "boolean", "", yes)
	b.write(StopOnInvalidID, "boolean", "", yes)
	b.write(TxStartPoint, "MemberList", "", "PowerPathClosed", of(Points...))
	b.write(TxStopPoint, "MemberList", "", "PowerPathClosed", of(Points...))
}

// added is what OCPP 2.1 brings.
func (b *builder) added() {
	b.read("SmartChargingCtrlr.SupportedAdditionalPurposes", "MemberList", "", "PriorityCharging", of("PriorityCharging", "LocalGeneration"))
	b.read("SmartChargingCtrlr.SupportsDynamicProfiles", "boolean", "", "true")
	b.read("MonitoringCtrlr.MaxPeriodicEventStreams", "integer", "", "10")
	b.read("ACDERCtrlr.Available", "boolean", "", "true")
	b.write("ACDERCtrlr.Enabled", "boolean", "", "true")
	b.read("WebPaymentsCtrlr.Available", "boolean", "", "true")
	b.write("WebPaymentsCtrlr.Enabled", "boolean", "", "true")
	b.write("V2XChargingCtrlr.Enabled", "boolean", "", "false")
}
