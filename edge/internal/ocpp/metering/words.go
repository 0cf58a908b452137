package metering

import (
	"math"
	"slices"
	"strings"

	"github.com/chargeyard/chargeyard/shared/lenient"
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
	apparentEnergy          // VAh
	apparentPower           // VA
	temperature             // degrees Celsius
	charge                  // percent
	frequency               // Hz
)

// normal is the name of each quantity's unit in Value.Unit.
var normal = [...]string{energy: "Wh", power: "W", current: "A", voltage: "V", reactiveEnergy: "varh", reactivePower: "var",
	apparentEnergy: "VAh", apparentPower: "VA", temperature: "Celsius", charge: "Percent", frequency: "Hz"}

// The measurands that have a field in a sample. OCPP 1.6 §7.31, 2.0.1 part 2
// MeasurandEnumType.
const (
	energyImport   = "Energy.Active.Import.Register"
	energyExport   = "Energy.Active.Export.Register"
	powerImport    = "Power.Active.Import"
	powerExport    = "Power.Active.Export"
	powerOffered   = "Power.Offered"
	currentImport  = "Current.Import"
	currentOffered = "Current.Offered"
	voltageNow     = "Voltage"
	stateOfCharge  = "SoC"
	frequencyNow   = "Frequency"
	temperatureNow = "Temperature" // 1.6 only
)

// The locations that matter. OCPP 1.6 §7.30, 2.1 LocationEnumType.
const (
	outlet    = "Outlet"
	inVehicle = "EV"
	upstream  = "Upstream" // 2.1: not what this EVSE delivers
)

// measurandWords are the measurands of all versions and what they measure, the
// frequent ones first. Those of otherQuantity keep the unit that they came with.
var measurandWords = []struct {
	word string
	of   quantity
}{
	{energyImport, energy}, {powerImport, power}, {currentImport, current}, {voltageNow, voltage}, {stateOfCharge, charge},
	{currentOffered, current}, {powerOffered, power}, {frequencyNow, frequency}, {temperatureNow, temperature},
	{energyExport, energy}, {powerExport, power}, {"Current.Export", current},
	{"Energy.Active.Import.Interval", energy}, {"Energy.Active.Export.Interval", energy},
	{"Energy.Reactive.Import.Register", reactiveEnergy}, {"Energy.Reactive.Export.Register", reactiveEnergy},
	{"Energy.Reactive.Import.Interval", reactiveEnergy}, {"Energy.Reactive.Export.Interval", reactiveEnergy},
	{"Power.Reactive.Import", reactivePower}, {"Power.Reactive.Export", reactivePower},
	{"Power.Factor", otherQuantity}, {"RPM", otherQuantity}, // 1.6 has RPM
	// 2.0.1
	{"Energy.Active.Net", energy}, {"Energy.Reactive.Net", reactiveEnergy},
	{"Energy.Apparent.Net", apparentEnergy}, {"Energy.Apparent.Import", apparentEnergy}, {"Energy.Apparent.Export", apparentEnergy},
	// 2.1
	{"Current.Export.Offered", current}, {"Current.Export.Minimum", current}, {"Current.Import.Offered", current}, {"Current.Import.Minimum", current},
	{"Energy.Active.Import.CableLoss", energy}, {"Energy.Active.Import.LocalGeneration.Register", energy}, {"Energy.Active.Setpoint.Interval", energy},
	{"EnergyRequest.Target", energy}, {"EnergyRequest.Minimum", energy}, {"EnergyRequest.Maximum", energy},
	{"EnergyRequest.Minimum.V2X", energy}, {"EnergyRequest.Maximum.V2X", energy}, {"EnergyRequest.Bulk", energy},
	{"Power.Active.Setpoint", power}, {"Power.Active.Residual", power}, {"Power.Export.Minimum", power}, {"Power.Export.Offered", power},
	{"Power.Import.Offered", power}, {"Power.Import.Minimum", power}, {"Voltage.Minimum", voltage}, {"Voltage.Maximum", voltage},
	{"Display.PresentSOC", charge}, {"Display.MinimumSOC", charge}, {"Display.TargetSOC", charge}, {"Display.MaximumSOC", charge},
	{"Display.RemainingTimeToMinimumSOC", otherQuantity}, {"Display.RemainingTimeToTargetSOC", otherQuantity},
	{"Display.RemainingTimeToMaximumSOC", otherQuantity}, {"Display.ChargingComplete", otherQuantity},
	{"Display.BatteryEnergyCapacity", energy}, {"Display.InletHot", otherQuantity},
}

// measurands finds what a word of the standard measures; folded does so for a
// word in lower case, and for spellings that some stations have.
var (
	measurands = map[string]quantity{}
	folded     = map[string]string{
		"energy":                        energyImport,
		"energy.active.import":          energyImport,
		"energy.import.register":        energyImport,
		"energy.active.import.registry": energyImport,
		"power":                         powerImport,
		"power.active":                  powerImport,
		"power.import":                  powerImport,
		"current":                       currentImport,
		"stateofcharge":                 stateOfCharge,
		"state_of_charge":               stateOfCharge,
	}
)

func init() {
	for _, m := range measurandWords {
		measurands[m.word] = m.of
		folded[strings.ToLower(m.word)] = m.word
	}
}

// measurandOf returns the standard's measurand for a word, absent ones included,
// and what it measures.
func measurandOf(word string) (m string, of quantity) {
	switch word { // the most frequent ones
	case "", energyImport:
		return energyImport, energy
	case powerImport:
		return powerImport, power
	case currentImport:
		return currentImport, current
	case voltageNow:
		return voltageNow, voltage
	case stateOfCharge:
		return stateOfCharge, charge
	case frequencyNow:
		return frequencyNow, frequency
	}
	if of, ok := measurands[word]; ok {
		return word, of
	}
	if m, ok := folded[strings.ToLower(strings.TrimSpace(word))]; ok {
		return m, measurands[m]
	}
	return word, otherQuantity
}

// contextOf returns the unified context of a reading. OCPP 1.6 §7.35, 2.0.1
// ReadingContextEnumType.
func contextOf(word string) string {
	switch word {
	case "", "Sample.Periodic":
		return ""
	case "Sample.Clock":
		return "clock"
	case "Transaction.Begin":
		return "begin"
	case "Transaction.End":
		return "end"
	case "Interruption.Begin":
		return "interruption_begin"
	case "Interruption.End":
		return "interruption_end"
	case "Trigger":
		return "trigger"
	}
	if folded := lenient.FoldWord(contextWords, word); folded != word {
		return contextOf(folded)
	}
	return "other"
}

var contextWords = []string{"Sample.Periodic", "Sample.Clock", "Transaction.Begin", "Transaction.End", "Interruption.Begin", "Interruption.End", "Trigger", "Other"}

// conductor is the conductor that a phase stands for: 1 to 3, 4 for the neutral,
// 0 where none is named. Pair tells that it is a pair of phases, or unknown: kept
// apart.
func conductor(phase string) (n int, pair bool) {
	switch phase {
	case "":
		return 0, false
	case "L1", "L1-N":
		return 1, false
	case "L2", "L2-N":
		return 2, false
	case "L3", "L3-N":
		return 3, false
	case "N":
		return 4, false
	case "L1-L2", "L2-L3", "L3-L1":
		return 0, true
	}
	if folded := strings.ToUpper(strings.TrimSpace(phase)); folded != phase {
		return conductor(folded)
	}
	return 0, true
}

// scale brings a value of quantity q in unit to the normal unit. Ok is false for
// a unit that does not fit the quantity. Odd tells that the unit was not a word
// of the standard, or the energy's unit at a power and the other way round; v2
// that the standard is OCPP 2.
func scale(v float64, q quantity, unit string, v2 bool) (scaled float64, odd, ok bool) {
	if unit == "" { // OCPP 1.6 §7.38: Wh for energy; the others have one sensible default
		return v, false, true
	}
	if q == temperature {
		switch strings.ToLower(strings.Trim(unit, " °")) {
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
	case "Wh":
		of = energy
	case "kWh":
		factor, of = 1000, energy
	case "W":
		of = power
	case "kW":
		factor, of = 1000, power
	case "A":
		of = current
	case "V":
		of = voltage
	case "Percent":
		of = charge
	case "var":
		of = reactivePower
	case "kvar":
		factor, of = 1000, reactivePower
	case "varh":
		of = reactiveEnergy
	case "kvarh":
		factor, of = 1000, reactiveEnergy
	case "VA":
		of = apparentPower
	case "kVA":
		factor, of = 1000, apparentPower
	case "VAh":
		of = apparentEnergy
	case "kVAh":
		factor, of = 1000, apparentEnergy
	default:
		factor, of = oddUnit(unit)
		odd = !v2 || !slices.Contains(laterUnits, unit)
	}
	switch {
	case of == otherQuantity && q == otherQuantity:
		return v, odd, true
	case of == otherQuantity:
		return v, true, false
	case of == q, q == otherQuantity:
		return v * factor, odd, true
	case of == power && q == energy, of == energy && q == power, // W for Wh and the other way round
		of == reactivePower && q == reactiveEnergy, of == reactiveEnergy && q == reactivePower,
		of == apparentPower && (q == power || q == apparentEnergy), of == apparentEnergy && q == apparentPower:
		return v * factor, true, true
	}
	return v, true, false
}

// laterUnits are units that 1.6 does not have. OCPP 2.0.1 part 2 appendix 2, and
// mHz of 2.1.
var laterUnits = []string{"Hz", "mHz", "s", "RPM", "Deg", "Ohm", "RH", "m", "ms2", "N", "kPa", "lx", "B", "ASU", "dB", "dBm", "Celsius", "Fahrenheit", "K"}

// oddUnit reads a unit that the standard does not have, or not in this spelling.
func oddUnit(unit string) (factor float64, of quantity) {
	text := strings.TrimSpace(unit)
	if text == "mA" || text == "mV" || text == "mW" { // before the case is folded: M is mega
		factor, of = oddUnit(text[1:])
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
	case "mhz":
		return 0.001, frequency
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
	case "vah":
		return 1, apparentEnergy
	case "kvah":
		return 1000, apparentEnergy
	}
	return 1, otherQuantity
}

// number returns the value, and whether it had a decimal comma.
func (v *Value) number() (n float64, comma, ok bool) {
	if !v.IsNumber {
		n, comma, ok = number(v.Text)
	} else {
		n, ok = v.Number, !math.IsNaN(v.Number) && !math.IsInf(v.Number, 0)
	}
	const most = 30
	switch m := v.Multiplier; {
	case m == 0 || !ok:
	case m > most || m < -most:
		return n, comma, false
	case m > 0:
		n *= math.Pow10(int(m))
	default: // exact where the number is an integer
		n /= math.Pow10(int(-m))
	}
	return n, comma, ok
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
