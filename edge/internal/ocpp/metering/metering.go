// Package metering turns the meter values of a message into samples of the
// domain, whatever version of OCPP they came in: one unit for each quantity,
// conductors apart, one sample for each moment and context. Absence is not zero,
// and nothing is thrown away: what is no number, has no field or comes twice
// stays in Sample.Other.
package metering

import (
	"math"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
)

// Value is one value as a station wrote it. Words are those of the standard or
// what the station put in their place; an empty one stands for its default.
type Value struct {
	Measurand, Context, Phase, Location, Unit string
	// Text is the value where it came as text, or where it is no number.
	Text string
	// Number is the value where it came as a number.
	Number   float64
	IsNumber bool
	// Multiplier is the power of ten that the number is to be multiplied with.
	Multiplier int64
	// IsSigned marks a value that is nothing but Signed.
	IsSigned bool
	Signed   *event.Signed // beside the number, or in its place
}

// Rules say how the values of one station are read.
type Rules struct {
	// V2 tells that they are of OCPP 2, which has more units.
	V2 bool
	// Odd is told what was not as it should be: the kind of deviation, the
	// measurand, what was written.
	Odd func(kind, where, text string)
	// EnergyScale and PowerScale correct a station that writes another unit than
	// it means; 0 means 1.
	EnergyScale, PowerScale float64
}

// Moment collects the values that a station measured at one moment: one sample
// for each context, since values of the begin of a transaction in a periodic
// message are no newer reading.
//
// Every value goes through Take. Where Elsewhere says so afterwards, every one
// goes through TakeElsewhere as well: what was measured at another place than the
// outlet stands in where the outlet said nothing.
type Moment struct {
	rules     Rules
	at        lenient.Time
	first     *reading
	more      []*reading // contexts after the first, rarely any
	elsewhere bool
}

// At begins a moment, with its time as the station wrote it.
func (u *Rules) At(t lenient.Time) Moment { return Moment{rules: *u, at: t} }

// Take takes a value that was measured at the outlet.
func (m *Moment) Take(v *Value) {
	r := m.find(v.Context)
	if v.Location != "" && v.Location != outlet {
		m.elsewhere = true
		return
	}
	r.take(v, &m.rules)
}

// Elsewhere tells whether there were values of another place.
func (m *Moment) Elsewhere() bool { return m.elsewhere }

// TakeElsewhere takes a value that was not measured at the outlet.
func (m *Moment) TakeElsewhere(v *Value) {
	if v.Location != "" && v.Location != outlet {
		m.find(v.Context).take(v, &m.rules)
	}
}

// Append appends the samples of the moment; none without values.
func (m *Moment) Append(samples []event.Sample) []event.Sample {
	if m.first == nil {
		return samples
	}
	samples = append(samples, m.first.finish(&m.rules))
	for _, r := range m.more {
		samples = append(samples, r.finish(&m.rules))
	}
	return samples
}

// find returns the reading of a context.
func (m *Moment) find(word string) *reading {
	c := contextOf(word)
	if m.first == nil {
		m.first = newReading(m.at, c)
	}
	if m.first.sample.Context == c {
		return m.first
	}
	for _, r := range m.more {
		if r.sample.Context == c {
			return r
		}
	}
	m.more = append(m.more, newReading(m.at, c))
	return m.more[len(m.more)-1]
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

func newReading(t lenient.Time, context string) *reading {
	return &reading{sample: event.Sample{Time: t.Time, DeviceTime: t.Raw, Context: context}}
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

// absurd is more than anything on earth measures, and far from overflowing.
const absurd = 1e15

// take adds one value.
func (r *reading) take(v *Value, u *Rules) {
	if v.Signed != nil {
		r.sample.Signed = append(r.sample.Signed, *v.Signed)
	}
	if v.IsSigned {
		return
	}
	m, q := measurandOf(v.Measurand)
	n, comma, ok := v.number()
	if !ok || math.Abs(n) > absurd {
		u.Odd("value_unreadable", m, v.Text)
		r.other(v, m, 0, false, v.Unit)
		return
	}
	if comma {
		u.Odd(string(lenient.KindDecimalComma), m, v.Text)
	}
	scaled, strange, ok := scale(n, q, v.Unit, u.V2)
	if strange {
		u.Odd("unit", m, v.Unit)
	}
	if !ok {
		r.other(v, m, n, true, v.Unit)
		return
	}
	switch {
	case q == energy && u.EnergyScale > 0:
		scaled *= u.EnergyScale
	case q == power && u.PowerScale > 0:
		scaled *= u.PowerScale
	}
	if q == otherQuantity || !r.set(m, q, v, scaled) {
		unit := normal[q]
		if q == otherQuantity {
			unit = v.Unit
			if scaled != n { // kVA of a measurand that the standard does not have
				unit = strings.TrimPrefix(unit, "k")
			}
		}
		r.other(v, m, scaled, true, unit)
	}
}

// other keeps a value that has no field; the text of one that is no number.
func (r *reading) other(v *Value, m string, n float64, isNumber bool, unit string) {
	o := event.Value{Measurand: v.Measurand, Unit: unit, Phase: v.Phase}
	if o.Measurand == "" {
		o.Measurand = m
	}
	if isNumber {
		value := n
		o.Value = &value
	} else {
		o.Raw = v.Text
	}
	if v.Location != outlet {
		o.Location = strings.ToLower(v.Location)
	}
	r.sample.Other = append(r.sample.Other, o)
}

// set puts a value into its field. It returns false when there is none, or when
// it is taken.
func (r *reading) set(m string, q quantity, v *Value, n float64) bool {
	phase, pair := conductor(v.Phase)
	here := v.Location == "" || v.Location == outlet
	if v.Location == inVehicle && q != charge || v.Location == upstream || pair {
		return false
	}
	switch m {
	case energyImport:
		return r.importWh.add(n, phase, here)
	case energyExport:
		return r.outWh.add(n, phase, here)
	case powerImport:
		return r.importW.add(n, phase, here)
	case powerExport:
		return r.exportW.add(n, phase, here)
	case currentImport:
		return line(&r.currents, &r.amps, &r.lone[0], n, phase)
	case voltageNow:
		return line(&r.volts, &r.volt, &r.lone[1], n, phase)
	case powerOffered:
		return r.single(&r.sample.PowerOfferedW, 1, n, phase)
	case currentOffered:
		return r.single(&r.sample.CurrentOfferedA, 2, n, phase)
	case stateOfCharge:
		return r.single(&r.sample.SoCPercent, 3, n, phase)
	case frequencyNow:
		return r.single(&r.sample.FrequencyHz, 4, n, 0)
	case temperatureNow:
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
func (r *reading) finish(u *Rules) event.Sample {
	if r.importW.contradicts() || r.importWh.contradicts() {
		u.Odd("phase_sum", "", "total and phases differ")
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
	r.sample.CurrentA = r.conductors(&r.currents, &r.amps, r.lone[0], currentImport, current)
	r.sample.VoltageV = r.conductors(&r.volts, &r.volt, r.lone[1], voltageNow, voltage)
	return r.sample
}

// conductors returns the currents or voltages by conductor. One without a
// conductor is that of the only phase, unless phases are named: then it is a
// total that no field has. A current on the neutral alone is that of a single
// phase.
func (r *reading) conductors(to *event.Phases, store *[5]float64, lone bool, m string, q quantity) *event.Phases {
	named := to.L1 != nil || to.L2 != nil || to.L3 != nil
	switch {
	case lone && named:
		r.sample.Other = append(r.sample.Other, event.Value{Measurand: m, Value: &store[0], Unit: normal[q]})
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
