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
	var v metering.Value
	for i := range values {
		mv := &values[i]
		m := rules.At(mv.Timestamp)
		for n := range mv.SampledValue {
			read(&mv.SampledValue[n], &v)
			m.Take(&v)
		}
		for n := 0; m.Elsewhere() && n < len(mv.SampledValue); n++ {
			if mv.SampledValue[n].Location != "" {
				read(&mv.SampledValue[n], &v)
				m.TakeElsewhere(&v)
			}
		}
		samples = m.Append(samples)
	}
	return samples
}

// read reads a sampled value. OCPP 1.6 §7.43: a signed one is nothing else. It
// writes to a value that is used again: a copy of one for each costs much.
func read(v *ocpp16.SampledValue, to *metering.Value) {
	to.Measurand, to.Context, to.Phase = string(v.Measurand), string(v.Context), string(v.Phase)
	to.Location, to.Unit, to.Text = string(v.Location), string(v.Unit), v.Value
	to.IsSigned, to.Signed = false, nil
	if v.Format == ocpp16.ValueFormatSignedData || v.Format != "" && v.Format.Fold() == ocpp16.ValueFormatSignedData {
		to.IsSigned, to.Signed = true, &event.Signed{Data: v.Value}
	}
	if len(to.Measurand) == len(net) && strings.EqualFold(to.Measurand, net) { // 1.6 has none: the register is meant
		to.Measurand = ""
	}
}

// net is a measurand of OCPP 2.
const net = "Energy.Active.Net"
