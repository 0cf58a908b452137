// Package keys holds the configuration keys of an OCPP 1.6 charge point: the
// standard ones of §9, those of the security extension, and a few of the
// simulator's own, with their rules for reading and changing.
package keys

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// The keys that the charge point itself asks for.
const (
	AllowOfflineTxForUnknownID    = "AllowOfflineTxForUnknownId"
	AuthorizationCacheEnabled     = "AuthorizationCacheEnabled"
	AuthorizationKey              = "AuthorizationKey"
	AuthorizeRemoteTxRequests     = "AuthorizeRemoteTxRequests"
	CertificateStoreMaxLength     = "CertificateStoreMaxLength"
	ChargeProfileMaxStackLevel    = "ChargeProfileMaxStackLevel"
	ChargingScheduleMaxPeriods    = "ChargingScheduleMaxPeriods"
	ClockAlignedDataInterval      = "ClockAlignedDataInterval"
	ConnectionTimeOut             = "ConnectionTimeOut"
	CpoName                       = "CpoName"
	GetConfigurationMaxKeys       = "GetConfigurationMaxKeys"
	HeartbeatInterval             = "HeartbeatInterval"
	LocalAuthListEnabled          = "LocalAuthListEnabled"
	LocalAuthListMaxLength        = "LocalAuthListMaxLength"
	LocalAuthorizeOffline         = "LocalAuthorizeOffline"
	LocalPreAuthorize             = "LocalPreAuthorize"
	MaxChargingProfilesInstalled  = "MaxChargingProfilesInstalled"
	MaxEnergyOnInvalidID          = "MaxEnergyOnInvalidId"
	MeterValuesAlignedData        = "MeterValuesAlignedData"
	MeterValuesSampledData        = "MeterValuesSampledData"
	MeterValueSampleInterval      = "MeterValueSampleInterval"
	MinimumStatusDuration         = "MinimumStatusDuration"
	NumberOfConnectors            = "NumberOfConnectors"
	ResetRetries                  = "ResetRetries"
	ReserveConnectorZero          = "ReserveConnectorZeroSupported"
	SecurityProfile               = "SecurityProfile"
	SendLocalListMaxLength        = "SendLocalListMaxLength"
	StopOnEVSideDisconnect        = "StopTransactionOnEVSideDisconnect"
	StopTransactionOnInvalidID    = "StopTransactionOnInvalidId"
	StopTxnAlignedData            = "StopTxnAlignedData"
	StopTxnSampledData            = "StopTxnSampledData"
	SupportedFeatureProfiles      = "SupportedFeatureProfiles"
	TransactionMessageAttempts    = "TransactionMessageAttempts"
	TransactionMessageRetry       = "TransactionMessageRetryInterval"
	UnlockOnEVSideDisconnect      = "UnlockConnectorOnEVSideDisconnect"
	WebSocketPingInterval         = "WebSocketPingInterval"
	AdditionalRootCertificate     = "AdditionalRootCertificateCheck"
	SupportedFileTransferProtocol = "SupportedFileTransferProtocols"
)

// Profiles are the feature profiles that the charge point announces.
var Profiles = []ocpp16.Profile{
	ocpp16.ProfileCore, ocpp16.ProfileFirmwareManagement, ocpp16.ProfileLocalAuthListManagement,
	ocpp16.ProfileReservation, ocpp16.ProfileSmartCharging, ocpp16.ProfileRemoteTrigger,
}

// measurands are those that the simulated meter knows.
var measurands = []ocpp16.Measurand{
	ocpp16.MeasurandEnergyActiveImportRegister, ocpp16.MeasurandEnergyActiveImportInterval, ocpp16.MeasurandPowerActiveImport,
	ocpp16.MeasurandPowerOffered, ocpp16.MeasurandPowerFactor, ocpp16.MeasurandCurrentImport, ocpp16.MeasurandCurrentOffered,
	ocpp16.MeasurandVoltage, ocpp16.MeasurandFrequency, ocpp16.MeasurandTemperature, ocpp16.MeasurandSoC,
}

// definition is what is fixed about a key.
type definition struct {
	name     string
	value    string // as it leaves the factory
	readonly bool
	secret   bool                     // can be written, but shows no value
	reboot   bool                     // takes effect at the next start
	check    func(value string) error // nil: any text
}

func number(low, high int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q: expected a whole number from %d to %d", v, low, high)
		}
		return nil
	}
}

func boolean(v string) error {
	if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		return fmt.Errorf("%q: expected true or false", v)
	}
	return nil
}

// data checks a list of measurands, each with an optional phase behind it.
func data(v string) error {
	for _, item := range list(v) {
		name, phase := SplitMeasurand(item)
		if !slices.Contains(measurands, name) {
			return fmt.Errorf("%q: the meter has no such measurand", item)
		}
		switch phase {
		case "", ocpp16.PhaseL1, ocpp16.PhaseL2, ocpp16.PhaseL3, ocpp16.PhaseL1N, ocpp16.PhaseL2N, ocpp16.PhaseL3N:
		default:
			return fmt.Errorf("%q: the meter does not know this phase", item)
		}
	}
	if n := len(list(v)); n > dataMaxLength {
		return fmt.Errorf("%d measurands: expected at most %d", n, dataMaxLength)
	}
	return nil
}

// rotation checks a list such as "0.RST,1.RTS".
func rotation(v string) error {
	words := []string{"NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR"}
	for _, item := range list(v) {
		_, word, dotted := strings.Cut(item, ".")
		if !dotted {
			word = item
		}
		if !slices.Contains(words, word) {
			return fmt.Errorf("%q: expected one of %s, with the connector before it", item, strings.Join(words, ", "))
		}
	}
	return nil
}

const (
	day           = 86400 // seconds
	dataMaxLength = 20
	sampled       = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,Power.Offered,SoC"
)

func passwordCheck(v string) error {
	if n := len(v); n < 16 || n > 40 {
		return fmt.Errorf("%d characters: expected 16 to 40 (hex digits are decoded)", n)
	}
	return nil
}

// definitions is the list of OCPP 1.6 §9, then the keys of the security
// whitepaper, in alphabetical order each.
var definitions = []definition{
	{name: AllowOfflineTxForUnknownID, value: "false", check: boolean},
	{name: AuthorizationCacheEnabled, value: "true", check: boolean},
	{name: AuthorizeRemoteTxRequests, value: "false", check: boolean},
	{name: "BlinkRepeat", value: "3", check: number(0, 100)},
	{name: ChargeProfileMaxStackLevel, value: "10", readonly: true},
	{name: "ChargingScheduleAllowedChargingRateUnit", value: "Current,Power", readonly: true},
	{name: ChargingScheduleMaxPeriods, value: "100", readonly: true},
	{name: ClockAlignedDataInterval, value: "0", check: number(0, day)},
	{name: ConnectionTimeOut, value: "60", check: number(0, day)},
	{name: "ConnectorPhaseRotation", value: "Unknown", reboot: true, check: rotation},
	{name: "ConnectorPhaseRotationMaxLength", value: "16", readonly: true},
	{name: "ConnectorSwitch3to1PhaseSupported", value: "false", readonly: true},
	{name: GetConfigurationMaxKeys, value: "100", readonly: true},
	{name: HeartbeatInterval, value: "300", check: number(0, 7*day)},
	{name: "LightIntensity", value: "80", check: number(0, 100)},
	{name: LocalAuthListEnabled, value: "true", check: boolean},
	{name: LocalAuthListMaxLength, value: "10000", readonly: true},
	{name: LocalAuthorizeOffline, value: "true", check: boolean},
	{name: LocalPreAuthorize, value: "false", check: boolean},
	{name: MaxChargingProfilesInstalled, value: "50", readonly: true},
	{name: MaxEnergyOnInvalidID, value: "0", check: number(0, 1_000_000)},
	{name: MeterValuesAlignedData, value: "Energy.Active.Import.Register", check: data},
	{name: "MeterValuesAlignedDataMaxLength", value: strconv.Itoa(dataMaxLength), readonly: true},
	{name: MeterValuesSampledData, value: sampled, check: data},
	{name: "MeterValuesSampledDataMaxLength", value: strconv.Itoa(dataMaxLength), readonly: true},
	{name: MeterValueSampleInterval, value: "60", check: number(0, day)},
	{name: MinimumStatusDuration, value: "0", check: number(0, day)},
	{name: NumberOfConnectors, readonly: true},
	{name: ReserveConnectorZero, value: "true", readonly: true},
	{name: ResetRetries, value: "1", check: number(0, 100)},
	{name: SendLocalListMaxLength, value: "1000", readonly: true},
	{name: StopOnEVSideDisconnect, value: "true", check: boolean},
	{name: StopTransactionOnInvalidID, value: "true", check: boolean},
	{name: StopTxnAlignedData, value: "", check: data},
	{name: "StopTxnAlignedDataMaxLength", value: strconv.Itoa(dataMaxLength), readonly: true},
	{name: StopTxnSampledData, value: "", check: data},
	{name: "StopTxnSampledDataMaxLength", value: strconv.Itoa(dataMaxLength), readonly: true},
	{name: SupportedFeatureProfiles, readonly: true},
	{name: "SupportedFeatureProfilesMaxLength", value: "6", readonly: true},
	{name: TransactionMessageAttempts, value: "3", check: number(0, 1000)},
	{name: TransactionMessageRetry, value: "10", check: number(0, day)},
	{name: UnlockOnEVSideDisconnect, value: "true", check: boolean},
	{name: WebSocketPingInterval, value: "60", check: number(0, day)},

	{name: AdditionalRootCertificate, value: "false", readonly: true},
	{name: AuthorizationKey, secret: true, check: passwordCheck},
	{name: "CertificateSignedMaxChainSize", value: "10000", readonly: true},
	{name: CertificateStoreMaxLength, value: "20", readonly: true},
	{name: CpoName},
	{name: SecurityProfile, value: "0", check: number(0, 3)},
	{name: SupportedFileTransferProtocol, value: "HTTP,HTTPS", readonly: true},
}

func find(name string) (definition, bool) {
	for _, d := range definitions {
		if strings.EqualFold(d.name, name) { // CiString50Type
			return d, true
		}
	}
	return definition{}, false
}

// Store is the configuration of one charge point. Values holds what differs
// from the factory's settings, by the key's own spelling; it is what has to be
// remembered.
type Store struct {
	Values map[string]string
	fixed  map[string]string // read only, of this charge point
}

// NewStore returns a store over values that were remembered, which it goes on
// to change. Connectors is the number that the charge point has.
func NewStore(values map[string]string, connectors int) *Store {
	if values == nil {
		values = map[string]string{}
	}
	var profiles []string
	for _, p := range Profiles {
		profiles = append(profiles, string(p))
	}
	return &Store{Values: values, fixed: map[string]string{
		NumberOfConnectors:       strconv.Itoa(connectors),
		SupportedFeatureProfiles: strings.Join(profiles, ","),
	}}
}

func (s *Store) value(d definition) string {
	if v, ok := s.fixed[d.name]; ok {
		return v
	}
	if v, ok := s.Values[d.name]; ok {
		return v
	}
	return d.value
}

// Get returns the value of a key as text; empty for an unknown one.
func (s *Store) Get(name string) string {
	d, ok := find(name)
	if !ok {
		return ""
	}
	return s.value(d)
}

// Int returns the value of a key that is a number.
func (s *Store) Int(name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s.Get(name)))
	if err != nil {
		return 0
	}
	return n
}

// Seconds returns the value of a key that is a number of seconds.
func (s *Store) Seconds(name string) time.Duration { return time.Duration(s.Int(name)) * time.Second }

// Bool returns the value of a key that is true or false.
func (s *Store) Bool(name string) bool { return strings.EqualFold(s.Get(name), "true") }

// List returns the items of a value that is a comma separated list.
func (s *Store) List(name string) []string { return list(s.Get(name)) }

func list(v string) []string {
	var items []string
	for item := range strings.SplitSeq(v, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// Change carries out a ChangeConfiguration, §5.3.
func (s *Store) Change(name, value string) ocpp16.ConfigurationStatus {
	d, ok := find(name)
	switch {
	case !ok:
		return ocpp16.ConfigurationStatusNotSupported
	case d.readonly:
		return ocpp16.ConfigurationStatusRejected
	case d.check != nil && d.check(value) != nil:
		return ocpp16.ConfigurationStatusRejected
	}
	s.Values[d.name] = value
	if d.reboot {
		return ocpp16.ConfigurationStatusRebootRequired
	}
	return ocpp16.ConfigurationStatusAccepted
}

// Preset sets a key from outside the protocol, read only ones too.
func (s *Store) Preset(name, value string) error {
	d, ok := find(name)
	if !ok {
		return fmt.Errorf("configuration key %q is not known", name)
	}
	if d.check != nil {
		if err := d.check(value); err != nil {
			return fmt.Errorf("configuration key %s: %w", d.name, err)
		}
	}
	s.Values[d.name] = value
	return nil
}

// Check tells whether Preset would take a key with a value.
func Check(name, value string) error { return NewStore(nil, 1).Preset(name, value) }

// Report answers a GetConfiguration, §5.8: all keys for none, else those asked
// for and those that are not known.
func (s *Store) Report(names []string) (known []ocpp16.KeyValue, unknown []string) {
	if len(names) == 0 {
		for _, d := range definitions {
			known = append(known, s.show(d))
		}
		return known, nil
	}
	for _, name := range names {
		d, ok := find(name)
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		known = append(known, s.show(d))
	}
	return known, unknown
}

func (s *Store) show(d definition) ocpp16.KeyValue {
	kv := ocpp16.KeyValue{Key: d.name, Readonly: d.readonly}
	if !d.secret {
		kv.Value = s.value(d)
	}
	return kv
}

// SplitMeasurand splits an item of a list of measurands: some charge points,
// this one too, take a phase behind the name (Current.Import.L1).
func SplitMeasurand(item string) (ocpp16.Measurand, ocpp16.Phase) {
	if i := strings.LastIndexByte(item, '.'); i > 0 && strings.HasPrefix(item[i+1:], "L") && !slices.Contains(measurands, ocpp16.Measurand(item)) {
		return ocpp16.Measurand(item[:i]), ocpp16.Phase(item[i+1:])
	}
	return ocpp16.Measurand(item), ""
}
