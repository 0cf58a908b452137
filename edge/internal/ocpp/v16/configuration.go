package v16

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// Keys of the configuration that the gateway asks for itself. OCPP 1.6 §9.
const (
	keyMaxKeys       = "GetConfigurationMaxKeys"
	keyRateUnit      = "ChargingScheduleAllowedChargingRateUnit"
	keyMaxStackLevel = "ChargeProfileMaxStackLevel"
	keyListChunk     = "SendLocalListMaxLength"
)

// variableOf is a configuration key as the domain knows it.
func variableOf(kv ocpp16.KeyValue) event.Variable {
	v := event.Variable{Component: component, Variable: kv.Key, Value: kv.Value, ReadOnly: kv.Readonly}
	if job.Secret(kv.Key) {
		v.Value = ""
	}
	return v
}

// component holds the configuration keys of 1.6.
const component = "Ocpp16"

// fewKeys is how many keys are asked for at once where the charge point does not
// say how many it takes: some answer no more than four.
const fewKeys = 4

// standardKeys are the keys of OCPP 1.6 and its security extension, asked for one
// by one where a charge point does not answer a question for all.
var standardKeys = []string{
	"AllowOfflineTxForUnknownId", "AuthorizationCacheEnabled", "AuthorizeRemoteTxRequests", "BlinkRepeat",
	"ClockAlignedDataInterval", "ConnectionTimeOut", "ConnectorPhaseRotation", "ConnectorPhaseRotationMaxLength",
	keyMaxKeys, "HeartbeatInterval", "LightIntensity", "LocalAuthorizeOffline", "LocalPreAuthorize",
	"MaxEnergyOnInvalidId", "MeterValuesAlignedData", "MeterValuesAlignedDataMaxLength", "MeterValuesSampledData",
	"MeterValuesSampledDataMaxLength", "MeterValueSampleInterval", "MinimumStatusDuration", "NumberOfConnectors",
	"ResetRetries", "StopTransactionOnEVSideDisconnect", "StopTransactionOnInvalidId", "StopTxnAlignedData",
	"StopTxnAlignedDataMaxLength", "StopTxnSampledData", "StopTxnSampledDataMaxLength", "SupportedFeatureProfiles",
	"SupportedFeatureProfilesMaxLength", "TransactionMessageAttempts", "TransactionMessageRetryInterval",
	"UnlockConnectorOnEVSideDisconnect", "WebSocketPingInterval",
	"LocalAuthListEnabled", "LocalAuthListMaxLength", keyListChunk,
	"ReserveConnectorZeroSupported",
	keyMaxStackLevel, keyRateUnit, "ChargingScheduleMaxPeriods", "ConnectorSwitch3to1PhaseSupported", "MaxChargingProfilesInstalled",
	"AdditionalRootCertificateCheck", "CertificateSignedMaxChainSize", "CertificateStoreMaxLength", "CpoName", "SecurityProfile",
}

// ask reads keys in one message; none named asks for all.
func (j *errand) ask(keys ...string) ([]ocpp16.KeyValue, []string, error) {
	var answer ocpp16.GetConfigurationResponse
	if err := j.Call(&ocpp16.GetConfigurationRequest{Key: keys}, &answer); err != nil {
		return nil, nil, err
	}
	return answer.ConfigurationKey, answer.UnknownKey, nil
}

// read reads keys in as many messages as the charge point needs.
func (j *errand) read(keys []string) (values []ocpp16.KeyValue, unknown []string, err error) {
	for chunk := range slices.Chunk(keys, j.chunk(len(keys))) {
		some, none, err := j.ask(chunk...)
		if err != nil {
			return nil, nil, err
		}
		values, unknown = append(values, some...), append(unknown, none...)
		for _, key := range chunk { // neither known nor unknown: left out
			if !slices.ContainsFunc(some, func(kv ocpp16.KeyValue) bool { return strings.EqualFold(kv.Key, key) }) && !containsFold(none, key) {
				unknown = append(unknown, key)
			}
		}
	}
	return values, unknown, nil
}

// chunk is how many of n keys may be asked for at once.
func (j *errand) chunk(n int) int {
	if most := j.c.Profile().ConfigurationChunk; most > 0 {
		return most
	}
	if n <= fewKeys {
		return fewKeys
	}
	most, known := j.model.Load().Number(keyMaxKeys)
	if !known {
		most = fewKeys
		if values, _, err := j.ask(keyMaxKeys); err == nil && len(values) > 0 {
			if told, err := strconv.Atoi(strings.TrimSpace(values[0].Value)); err == nil && told > 0 {
				most = told
			}
		}
		j.model.Load().Learn(keyMaxKeys, most)
	}
	return most
}

func containsFold(list []string, text string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, text) })
}

// keysOf returns the keys that variables name, or what 1.6 does not have.
func keysOf(variables []event.Variable) (keys []string, wrong string) {
	for _, v := range variables {
		switch {
		case v.Component != "" && v.Component != component:
			return nil, "component: OCPP 1.6 has " + component + " only, got " + strconv.Quote(v.Component)
		case v.Instance != "" || v.EVSE != 0:
			return nil, "instance, evse: OCPP 1.6 has keys of the whole charge point only"
		case v.Attribute != "" && v.Attribute != "Actual":
			return nil, "attribute: OCPP 1.6 has Actual only, got " + strconv.Quote(v.Attribute)
		}
		keys = append(keys, v.Variable)
	}
	return keys, ""
}

// configurationResult is what a reading of the configuration brought.
type configurationResult struct {
	Variables []event.Variable `json:"variables"`
	Unknown   []string         `json:"unknown,omitempty"`
}

func (j *errand) getConfiguration(p *event.GetConfigurationParams) (site.Outcome, error) {
	keys, wrong := keysOf(p.Variables)
	if wrong != "" {
		return job.Unsupportedf("%s", wrong), nil
	}
	var values []ocpp16.KeyValue
	var unknown []string
	var err error
	reason := ""
	if len(keys) > 0 {
		values, unknown, err = j.read(keys)
	} else if !stationprofile.On(j.c.Profile().ConfigurationList, true) {
		values, _, err = j.read(standardKeys)
		reason = "the charge point does not list its keys: those of the standard were asked for"
	} else if values, _, err = j.ask(); refusesAll(values, err) {
		// No answer, an error, or an empty list: by name it may work.
		values, _, err = j.read(standardKeys)
		reason = "the charge point does not list its keys: those of the standard were asked for"
	}
	if err != nil {
		return site.Outcome{}, err
	}
	found := configurationResult{Variables: make([]event.Variable, len(values)), Unknown: unknown}
	for i := range values {
		found.Variables[i] = variableOf(values[i])
	}
	report := site.ConfigurationReport{Variables: found.Variables, Unknown: unknown, Command: j.Order.ID}
	if err := j.OnStation(func() error { return j.st.Configuration(report) }); err != nil {
		return site.Outcome{}, err
	}
	return site.Outcome{State: event.StateSucceeded, Reason: reason, Result: job.Result(found)}, nil
}

// refusesAll tells that a question for all keys brought nothing, although the
// charge point is there.
func refusesAll(values []ocpp16.KeyValue, err error) bool {
	refusal := new(ocpp.CallError)
	return err == nil && len(values) == 0 || errors.As(err, &refusal) || errors.Is(err, ocpp.ErrTimeout)
}

// written is what became of one key.
type written struct {
	Variable string `json:"variable"`
	Status   string `json:"status"` // the charge point's word
	Value    string `json:"value,omitempty"`
}

func (j *errand) setConfiguration(p *event.SetConfigurationParams) (site.Outcome, error) {
	keys, wrong := keysOf(p.Variables)
	if wrong != "" {
		return job.Unsupportedf("%s", wrong), nil
	}
	if len(keys) == 0 {
		return job.Rejectedf("variables: expected at least one"), nil
	}
	var all []written
	var worst site.Outcome // the outcome of the first key that was not simply accepted
	done, reboot := 0, false
	for i, v := range p.Variables {
		if strings.EqualFold(v.Variable, keyPassword) {
			password, hexadecimal, ok := passwordOf(v.Value)
			if !ok {
				return job.Rejectedf("%s: expected 16 to 20 bytes as text, or 32 to 40 hexadecimal digits, got %d characters", keyPassword, len(v.Value)), nil
			}
			if err := j.newPassword(password); err != nil {
				return site.Outcome{}, fmt.Errorf("the new password is not kept, nothing was sent: %w", err)
			}
			v.Value = hexadecimal
		}
		var answer ocpp16.ChangeConfigurationResponse
		if err := j.Call(&ocpp16.ChangeConfigurationRequest{Key: v.Variable, Value: v.Value}, &answer); err != nil {
			return site.Outcome{}, err
		}
		all = append(all, written{Variable: keys[i], Status: string(answer.Status)})
		switch o := job.Judge(string(answer.Status), event.StateSucceeded); {
		case o.State == event.StateSucceeded:
			done++
		case o.State == event.StateAccepted:
			done++
			reboot = true
		case worst.State == "":
			worst = o
			worst.Reason = v.Variable + ": " + o.Reason
		}
	}
	if worst.State != "" {
		if done > 0 {
			worst.State = event.StateFailed
			worst.Reason += "; " + strconv.Itoa(done) + " of " + strconv.Itoa(len(keys)) + " were accepted"
		}
		worst.Result = job.Result(all)
		return worst, nil
	}
	if reboot {
		return site.Outcome{State: event.StateAccepted, Result: job.Result(all),
			Reason: "reboot required: the values take effect after a reset of the charge point"}, nil
	}
	return j.readBack(p.Variables, all)
}

// readBack compares what was written with what the charge point now has.
func (j *errand) readBack(variables []event.Variable, all []written) (site.Outcome, error) {
	keys := make([]string, len(variables))
	for i := range variables {
		keys[i] = variables[i].Variable
	}
	values, _, err := j.read(keys)
	if err != nil {
		return site.Outcome{State: event.StateAccepted, Reason: "accepted, but cannot be read back: " + err.Error(), Result: job.Result(all)}, nil
	}
	o := site.Outcome{State: event.StateSucceeded}
	for i, v := range variables {
		at := slices.IndexFunc(values, func(kv ocpp16.KeyValue) bool { return strings.EqualFold(kv.Key, v.Variable) })
		if at < 0 || job.Secret(v.Variable) { // a password is never told, or not as it is
			o.Reason = v.Variable + ": accepted; the charge point does not tell its value"
			continue
		}
		if i < len(all) {
			all[i].Value = values[at].Value
		}
		if !job.SameValue(v.Value, values[at].Value) {
			return site.Outcome{State: event.StateFailed, Result: job.Result(all),
				Reason: v.Variable + ": accepted, but it reads back as " + strconv.Quote(values[at].Value)}, nil
		}
	}
	o.Result = job.Result(all)
	return o, nil
}
