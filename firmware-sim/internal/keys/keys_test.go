package keys_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

func TestFactorySettingsAreValid(t *testing.T) {
	s := keys.NewStore(nil, 2)
	known, _ := s.Report(nil)
	seen := map[string]bool{}
	for _, kv := range known {
		if seen[kv.Key] {
			t.Errorf("%s is there twice", kv.Key)
		}
		seen[kv.Key] = true
		if kv.Value != "" {
			if err := keys.Check(kv.Key, kv.Value); err != nil {
				t.Errorf("factory setting: %v", err)
			}
		}
	}
	// OCPP 1.6 §9: the keys that a charge point with all profiles must have.
	for _, name := range []string{
		"AuthorizeRemoteTxRequests", "ClockAlignedDataInterval", "ConnectionTimeOut", "ConnectorPhaseRotation", "GetConfigurationMaxKeys",
		"HeartbeatInterval", "LocalAuthorizeOffline", "LocalPreAuthorize", "MeterValuesAlignedData", "MeterValuesSampledData", "MeterValueSampleInterval",
		"NumberOfConnectors", "ResetRetries", "StopTransactionOnEVSideDisconnect", "StopTransactionOnInvalidId", "StopTxnAlignedData", "StopTxnSampledData",
		"SupportedFeatureProfiles", "TransactionMessageAttempts", "TransactionMessageRetryInterval", "UnlockConnectorOnEVSideDisconnect",
		"LocalAuthListEnabled", "LocalAuthListMaxLength", "SendLocalListMaxLength", "ChargeProfileMaxStackLevel",
		"ChargingScheduleAllowedChargingRateUnit", "ChargingScheduleMaxPeriods", "MaxChargingProfilesInstalled",
	} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestPreset(t *testing.T) {
	s := keys.NewStore(nil, 1)
	if err := s.Preset("getconfigurationmaxkeys", "5"); err != nil || s.Int(keys.GetConfigurationMaxKeys) != 5 {
		t.Errorf("%v: %d; a read only key can be preset", err, s.Int(keys.GetConfigurationMaxKeys))
	}
	for _, bad := range [][2]string{{"HeartbeatInterval", "x"}, {"Unheard", "1"}} {
		if err := s.Preset(bad[0], bad[1]); err == nil {
			t.Errorf("%s = %s was taken", bad[0], bad[1])
		}
	}
}

func TestSplitMeasurand(t *testing.T) {
	for item, want := range map[string][2]string{
		"Voltage.L1":                    {"Voltage", "L1"},
		"Current.Import.L2":             {"Current.Import", "L2"},
		"Energy.Active.Import.Register": {"Energy.Active.Import.Register", ""},
	} {
		m, p := keys.SplitMeasurand(item)
		if m != ocpp16.Measurand(want[0]) || p != ocpp16.Phase(want[1]) {
			t.Errorf("%s: %s and %s, want %v", item, m, p, want)
		}
	}
}
