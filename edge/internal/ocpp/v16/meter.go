package v16

import (
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/metering"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// samplesOf turns the meter values of a message into samples, one for each
// moment and context.
func samplesOf(values []ocpp16.MeterValue, rules metering.Rules) []event.Sample {
	samples := make([]event.Sample, 0, len(values))
	for i := range values {
		mv := &values[i]
		samples = rules.Append(samples, mv.Timestamp, len(mv.SampledValue), func(n int) metering.Value {
			return valueOf(&mv.SampledValue[n])
		})
	}
	return samples
}

// valueOf returns a sampled value as it is to be read. OCPP 1.6 §7.43: a signed
// one is nothing else.
func valueOf(v *ocpp16.SampledValue) metering.Value {
	value := metering.Value{
		Measurand: string(v.Measurand), Context: string(v.Context), Phase: string(v.Phase),
		Location: string(v.Location), Unit: string(v.Unit), Text: v.Value,
	}
	if v.Format == ocpp16.ValueFormatSignedData || v.Format != "" && v.Format.Fold() == ocpp16.ValueFormatSignedData {
		value.IsSigned, value.Signed = true, &event.Signed{Data: v.Value}
	}
	if strings.EqualFold(value.Measurand, net) { // 1.6 has none: the register is meant
		value.Measurand = ""
	}
	return value
}

// net is a measurand of OCPP 2.
const net = "Energy.Active.Net"
