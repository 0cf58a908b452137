package v16

import (
	"math"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// quantity is what a measurand measures, with the unit that it is normalised to.
type quantity uint8

const (
	otherQuantity  quantity = iota
	energy                  // Wh
	power                   // W
	current                 // A
	voltage                 // V
	reactiveEnergy          // varh
	reactivePower           // var
	apparentPower           // VA
	temperature             // degrees Celsius
	charge                  // percent
	frequency               // Hz
)

// normal is the name of each quantity's unit in Value.Unit.
var normal = [...]string{energy: "Wh", power: "W", current: "A", voltage: "V", reactiveEnergy: "varh",
	reactivePower: "var", apparentPower: "VA", temperature: "Celsius", charge: "Percent", frequency: "Hz"}

// quantityOf returns what a measurand measures.
func quantityOf(m ocpp16.Measurand) quantity {
	switch m {
	case ocpp16.MeasurandEnergyActiveImportRegister, ocpp16.MeasurandEnergyActiveExportRegister,
		ocpp16.MeasurandEnergyActiveImportInterval, ocpp16.MeasurandEnergyActiveExportInterval:
		return energy
	case ocpp16.MeasurandPowerActiveImport, ocpp16.MeasurandPowerActiveExport, ocpp16.MeasurandPowerOffered:
		return power
	case ocpp16.MeasurandCurrentImport, ocpp16.MeasurandCurrentExport, ocpp16.MeasurandCurrentOffered:
		return current
	case ocpp16.MeasurandVoltage:
		return voltage
	case ocpp16.MeasurandEnergyReactiveImportRegister, ocpp16.MeasurandEnergyReactiveExportRegister,
		ocpp16.MeasurandEnergyReactiveImportInterval, ocpp16.MeasurandEnergyReactiveExportInterval:
		return reactiveEnergy
	case ocpp16.MeasurandPowerReactiveImport, ocpp16.MeasurandPowerReactiveExport:
		return reactivePower
	case ocpp16.MeasurandTemperature:
		return temperature
	case ocpp16.MeasurandSoC:
		return charge
	case ocpp16.MeasurandFrequency:
		return frequency
	}
	return otherQuantity
}

// spellings are measurands as some stations write them, in lower case.
var spellings = map[string]ocpp16.Measurand{
	"energy":                        ocpp16.MeasurandEnergyActiveImportRegister,
	"energy.active.import":          ocpp16.MeasurandEnergyActiveImportRegister,
	"energy.import.register":        ocpp16.MeasurandEnergyActiveImportRegister,
	"energy.active.net":             ocpp16.MeasurandEnergyActiveImportRegister,
	"power":                         ocpp16.MeasurandPowerActiveImport,
	"power.active":                  ocpp16.MeasurandPowerActiveImport,
	"power.import":                  ocpp16.MeasurandPowerActiveImport,
	"current":                       ocpp16.MeasurandCurrentImport,
	"stateofcharge":                 ocpp16.MeasurandSoC,
	"state_of_charge":               ocpp16.MeasurandSoC,
	"energy.active.import.registry": ocpp16.MeasurandEnergyActiveImportRegister,
}

// measurandOf returns the standard's measurand for a word, absent ones included.
// OCPP 1.6 §7.31.
func measurandOf(word ocpp16.Measurand) ocpp16.Measurand {
	if word == "" {
		return ocpp16.MeasurandEnergyActiveImportRegister
	}
	if quantityOf(word) != otherQuantity {
		return word
	}
	if folded := word.Fold(); folded != word {
		return folded
	}
	if m, ok := spellings[strings.ToLower(strings.TrimSpace(string(word)))]; ok {
		return m
	}
	return word
}

// contextOf returns the unified context of a reading. OCPP 1.6 §7.35.
func contextOf(word ocpp16.ReadingContext) string {
	switch word {
	case "", ocpp16.ReadingContextSamplePeriodic:
		return ""
	case ocpp16.ReadingContextSampleClock:
		return "clock"
	case ocpp16.ReadingContextTransactionBegin:
		return "begin"
	case ocpp16.ReadingContextTransactionEnd:
		return "end"
	case ocpp16.ReadingContextInterruptionBegin:
		return "interruption_begin"
	case ocpp16.ReadingContextInterruptionEnd:
		return "interruption_end"
	case ocpp16.ReadingContextTrigger:
		return "trigger"
	}
	if folded := word.Fold(); folded != word {
		return contextOf(folded)
	}
	return "other"
}

// scale brings a value of quantity q in unit to the normal unit. Ok is false for
// a unit that does not fit the quantity. Odd tells that the unit was not a word
// of the standard, or the energy's unit at a power and the other way round.
func scale(v float64, q quantity, unit ocpp16.UnitOfMeasure) (scaled float64, odd, ok bool) {
	if unit == "" { // OCPP 1.6 §7.38: Wh for energy; the others have one sensible default
		return v, false, true
	}
	if q == temperature {
		switch strings.ToLower(strings.Trim(string(unit), " °")) {
		case "celsius", "celcius", "c", "degc":
			return v, false, true
		case "k", "kelvin":
			return v - 273.15, false, true
		case "fahrenheit", "f":
			return (v - 32) / 1.8, false, true
		}
		return v, true, false
	}
	factor, of := 1.0, otherQuantity
	switch unit { // as the standard writes them, without folding
	case ocpp16.UnitOfMeasureWh:
		of = energy
	case ocpp16.UnitOfMeasureKWh:
		factor, of = 1000, energy
	case ocpp16.UnitOfMeasureW:
		of = power
	case ocpp16.UnitOfMeasureKW:
		factor, of = 1000, power
	case ocpp16.UnitOfMeasureA:
		of = current
	case ocpp16.UnitOfMeasureV:
		of = voltage
	case ocpp16.UnitOfMeasurePercent:
		of = charge
	case ocpp16.UnitOfMeasureVar:
		of = reactivePower
	case ocpp16.UnitOfMeasureKvar:
		factor, of = 1000, reactivePower
	case ocpp16.UnitOfMeasureVarh:
		of = reactiveEnergy
	case ocpp16.UnitOfMeasureKvarh:
		factor, of = 1000, reactiveEnergy
	case ocpp16.UnitOfMeasureVA:
		of = apparentPower
	case ocpp16.UnitOfMeasureKVA:
		factor, of = 1000, apparentPower
	default:
		factor, of = oddUnit(unit)
		odd = true
	}
	switch {
	case of == otherQuantity:
		return v, true, false
	case of == q, q == otherQuantity:
		return v * factor, odd, true
	case of == power && q == energy, of == energy && q == power, // W for Wh and the other way round
		of == reactivePower && q == reactiveEnergy, of == reactiveEnergy && q == reactivePower,
		of == apparentPower && q == power:
		return v * factor, true, true
	}
	return v, true, false
}

// oddUnit reads a unit that the standard does not have, or not in this spelling.
func oddUnit(unit ocpp16.UnitOfMeasure) (factor float64, of quantity) {
	text := strings.TrimSpace(string(unit))
	if text == "mA" || text == "mV" || text == "mW" { // before the case is folded: M is mega
		factor, of = oddUnit(ocpp16.UnitOfMeasure(text[1:]))
		return factor / 1000, of
	}
	switch strings.ToLower(text) {
	case "wh":
		return 1, energy
	case "kwh", "kw/h":
		return 1000, energy
	case "mwh":
		return 1e6, energy
	case "w", "watt", "watts":
		return 1, power
	case "kw":
		return 1000, power
	case "mw":
		return 1e6, power
	case "a", "amp", "amps", "ampere", "amperes":
		return 1, current
	case "v", "volt", "volts":
		return 1, voltage
	case "percent", "%", "percentage":
		return 1, charge
	case "hz", "hertz":
		return 1, frequency
	case "var":
		return 1, reactivePower
	case "kvar":
		return 1000, reactivePower
	case "varh":
		return 1, reactiveEnergy
	case "kvarh":
		return 1000, reactiveEnergy
	case "va":
		return 1, apparentPower
	case "kva":
		return 1000, apparentPower
	}
	return 1, otherQuantity
}

// conductor is the conductor that a phase stands for: 1 to 3, 4 for the neutral,
// 0 where none is named. Pair tells that it is a pair of phases.
func conductor(p ocpp16.Phase) (n int, pair bool) {
	switch p {
	case "":
		return 0, false
	case ocpp16.PhaseL1, ocpp16.PhaseL1N:
		return 1, false
	case ocpp16.PhaseL2, ocpp16.PhaseL2N:
		return 2, false
	case ocpp16.PhaseL3, ocpp16.PhaseL3N:
		return 3, false
	case ocpp16.PhaseN:
		return 4, false
	case ocpp16.PhaseL1L2, ocpp16.PhaseL2L3, ocpp16.PhaseL3L1:
		return 0, true
	}
	if folded := p.Fold(); folded != p {
		return conductor(folded)
	}
	return 0, true // unknown: kept apart
}

// number reads a value as stations write it. Odd tells of a decimal comma.
func number(text string) (v float64, odd, ok bool) {
	// Nearly all are up to 15 digits with a point: exact in one division.
	mantissa, divisor, digits, point := int64(0), int64(1), 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c >= '0' && c <= '9' && digits < 15:
			mantissa = mantissa*10 + int64(c-'0')
			digits++
			if point {
				divisor *= 10
			}
		case c == '.' && !point && digits > 0:
			point = true
		case c == '-' && i == 0:
		default:
			v, kind, ok := lenient.ParseNumber(text)
			return v, kind != "", ok && !math.IsInf(v, 0)
		}
	}
	if digits == 0 {
		return 0, false, false
	}
	v = float64(mantissa) / float64(divisor)
	if text[0] == '-' {
		v = -v
	}
	return v, false, true
}

// reading collects the values of one moment and one context. The numbers that
// the sample points to lie in it, so that a sample costs one allocation.
type reading struct {
	sample           event.Sample
	energy, export   int64
	currents, volts  event.Phases
	amps, volt       [5]float64 // by conductor; 0: none named
	f                [6]float64 // power, offered power, offered current, SoC, frequency, temperature
	importW, exportW parts
	importWh, outWh  parts
	lone             [2]bool // a current, a voltage without conductor
}

// parts is a quantity that may come as a total, by phase, or both.
type parts struct {
	total, sum     float64
	whole, divided bool
	seen           uint8 // phases in sum, by bit
	elsewhere      bool  // not measured at the outlet
}

// add adds one value. It returns false when that has to be kept in Other: the
// value of a phase, a second one, or one from elsewhere when the outlet has it.
func (p *parts) add(n float64, phase int, outlet bool) bool {
	if !outlet && (p.whole || p.divided) && !p.elsewhere {
		return false
	}
	p.elsewhere = !outlet
	if phase == 0 {
		if p.whole {
			return false
		}
		p.total, p.whole = n, true
		return true
	}
	if bit := uint8(1) << phase; p.seen&bit == 0 {
		p.sum, p.divided = p.sum+n, true
		p.seen |= bit
	}
	return false
}

// contradicts tells that total and phases are clearly not the same.
func (p *parts) contradicts() bool {
	return p.whole && p.divided && math.Abs(p.total-p.sum) > 100+math.Abs(p.total)/10
}

// value prefers the total over the sum of the phases.
func (p *parts) value() (v float64, ok bool) {
	if p.whole {
		return p.total, true
	}
	return p.sum, p.divided
}

// odd is told about what was not as it should be: the kind of deviation, the
// measurand, what was written.
type oddities func(kind, where, text string)

// samplesOf turns the meter values of a message into samples, one for each
// moment and context: values of the begin of a transaction in a periodic message
// are no newer reading. Nothing is thrown away: what is no number, has no field
// or comes twice stays in Other.
func samplesOf(values []ocpp16.MeterValue, odd oddities) []event.Sample {
	samples := make([]event.Sample, 0, len(values))
	for i := range values {
		samples = appendSamples(samples, &values[i], odd)
	}
	return samples
}

func appendSamples(samples []event.Sample, mv *ocpp16.MeterValue, odd oddities) []event.Sample {
	if len(mv.SampledValue) == 0 {
		return samples
	}
	var first *reading
	var more []*reading // contexts after the first, rarely any
	elsewhere := false
	find := func(context ocpp16.ReadingContext) *reading {
		c := contextOf(context)
		if first == nil {
			first = newReading(mv.Timestamp, c)
		}
		if first.sample.Context == c {
			return first
		}
		for _, r := range more {
			if r.sample.Context == c {
				return r
			}
		}
		more = append(more, newReading(mv.Timestamp, c))
		return more[len(more)-1]
	}
	for i := range mv.SampledValue {
		v := &mv.SampledValue[i]
		if v.Location != "" && v.Location != ocpp16.LocationOutlet {
			elsewhere = true
			find(v.Context)
			continue
		}
		find(v.Context).take(v, odd)
	}
	// What was measured at another place stands in where the outlet said nothing.
	for i := 0; elsewhere && i < len(mv.SampledValue); i++ {
		if v := &mv.SampledValue[i]; v.Location != "" && v.Location != ocpp16.LocationOutlet {
			find(v.Context).take(v, odd)
		}
	}
	samples = append(samples, first.finish(odd))
	for _, r := range more {
		samples = append(samples, r.finish(odd))
	}
	return samples
}

func newReading(t lenient.Time, context string) *reading {
	return &reading{sample: event.Sample{Time: t.Time, DeviceTime: t.Raw, Context: context}}
}

// absurd is more than anything on earth measures, and far from overflowing.
const absurd = 1e15

// take adds one value.
func (r *reading) take(v *ocpp16.SampledValue, odd oddities) {
	if v.Format == ocpp16.ValueFormatSignedData || v.Format != "" && v.Format.Fold() == ocpp16.ValueFormatSignedData {
		r.sample.Signed = append(r.sample.Signed, event.Signed{Data: v.Value})
		return
	}
	m := measurandOf(v.Measurand)
	q := quantityOf(m)
	n, comma, ok := number(v.Value)
	if !ok || math.Abs(n) > absurd {
		odd("value_unreadable", string(m), v.Value)
		r.other(v, m, 0, false, string(v.Unit))
		return
	}
	if comma {
		odd(string(lenient.KindDecimalComma), string(m), v.Value)
	}
	scaled, strange, ok := scale(n, q, v.Unit)
	if strange {
		odd("unit", string(m), string(v.Unit))
	}
	if !ok {
		r.other(v, m, n, true, string(v.Unit))
		return
	}
	if q == otherQuantity || !r.set(m, q, v, scaled) {
		unit := normal[q]
		if q == otherQuantity {
			unit = string(v.Unit)
			if scaled != n { // kVA of a measurand that 1.6 does not have
				unit = strings.TrimPrefix(unit, "k")
			}
		}
		r.other(v, m, scaled, true, unit)
	}
}

// other keeps a value that has no field; the text of one that is no number.
func (r *reading) other(v *ocpp16.SampledValue, m ocpp16.Measurand, n float64, isNumber bool, unit string) {
	o := event.Value{Measurand: string(v.Measurand), Unit: unit, Phase: string(v.Phase)}
	if o.Measurand == "" {
		o.Measurand = string(m)
	}
	if isNumber {
		value := n
		o.Value = &value
	} else {
		o.Raw = v.Value
	}
	if v.Location != ocpp16.LocationOutlet {
		o.Location = strings.ToLower(string(v.Location))
	}
	r.sample.Other = append(r.sample.Other, o)
}

// set puts a value into its field. It returns false when there is none, or when
// it is taken.
func (r *reading) set(m ocpp16.Measurand, q quantity, v *ocpp16.SampledValue, n float64) bool {
	phase, pair := conductor(v.Phase)
	outlet := v.Location == "" || v.Location == ocpp16.LocationOutlet
	if v.Location == ocpp16.LocationEV && q != charge || pair {
		return false
	}
	switch m {
	case ocpp16.MeasurandEnergyActiveImportRegister:
		return r.importWh.add(n, phase, outlet)
	case ocpp16.MeasurandEnergyActiveExportRegister:
		return r.outWh.add(n, phase, outlet)
	case ocpp16.MeasurandPowerActiveImport:
		return r.importW.add(n, phase, outlet)
	case ocpp16.MeasurandPowerActiveExport:
		return r.exportW.add(n, phase, outlet)
	case ocpp16.MeasurandCurrentImport:
		return line(&r.currents, &r.amps, &r.lone[0], n, phase)
	case ocpp16.MeasurandVoltage:
		return line(&r.volts, &r.volt, &r.lone[1], n, phase)
	case ocpp16.MeasurandPowerOffered:
		return r.single(&r.sample.PowerOfferedW, 1, n, phase)
	case ocpp16.MeasurandCurrentOffered:
		return r.single(&r.sample.CurrentOfferedA, 2, n, phase)
	case ocpp16.MeasurandSoC:
		return r.single(&r.sample.SoCPercent, 3, n, phase)
	case ocpp16.MeasurandFrequency:
		return r.single(&r.sample.FrequencyHz, 4, n, 0)
	case ocpp16.MeasurandTemperature:
		return r.single(&r.sample.TemperatureC, 5, n, phase)
	}
	return false
}

// line puts a current or voltage to its conductor.
func line(to *event.Phases, store *[5]float64, lone *bool, n float64, conductor int) bool {
	slot := [...]**float64{nil, &to.L1, &to.L2, &to.L3, &to.N}[conductor]
	if slot == nil {
		if *lone {
			return false
		}
		store[0], *lone = n, true
		return true
	}
	if *slot != nil {
		return false
	}
	store[conductor] = n
	*slot = &store[conductor]
	return true
}

// single sets a value that has no phases.
func (r *reading) single(slot **float64, at int, n float64, phase int) bool {
	if *slot != nil || phase != 0 {
		return false
	}
	r.f[at] = n
	*slot = &r.f[at]
	return true
}

// finish works out totals and returns the sample.
func (r *reading) finish(odd oddities) event.Sample {
	if r.importW.contradicts() || r.importWh.contradicts() {
		odd("phase_sum", "", "total and phases differ")
	}
	if wh, ok := r.importWh.value(); ok {
		r.energy = int64(math.Round(wh))
		r.sample.EnergyWh = &r.energy
	}
	if wh, ok := r.outWh.value(); ok {
		r.export = int64(math.Round(wh))
		r.sample.ExportWh = &r.export
	}
	in, haveIn := r.importW.value()
	out, haveOut := r.exportW.value()
	if haveIn || haveOut {
		r.f[0] = in - out
		r.sample.PowerW = &r.f[0]
	}
	r.sample.CurrentA = r.conductors(&r.currents, &r.amps, r.lone[0], ocpp16.MeasurandCurrentImport, current)
	r.sample.VoltageV = r.conductors(&r.volts, &r.volt, r.lone[1], ocpp16.MeasurandVoltage, voltage)
	return r.sample
}

// conductors returns the currents or voltages by conductor. One without a
// conductor is that of the only phase, unless phases are named: then it is a
// total that no field has. A current on the neutral alone is that of a single
// phase.
func (r *reading) conductors(to *event.Phases, store *[5]float64, lone bool, m ocpp16.Measurand, q quantity) *event.Phases {
	named := to.L1 != nil || to.L2 != nil || to.L3 != nil
	switch {
	case lone && named:
		r.sample.Other = append(r.sample.Other, event.Value{Measurand: string(m), Value: &store[0], Unit: normal[q]})
	case lone:
		to.L1 = &store[0]
	case !named && to.N != nil && q == current:
		to.L1, to.N = to.N, nil
	}
	if to.L1 == nil && to.L2 == nil && to.L3 == nil && to.N == nil {
		return nil
	}
	return to
}
