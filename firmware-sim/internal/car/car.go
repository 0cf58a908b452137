// Package car is what stands behind a simulated charger's plug: a vehicle with a
// battery and a charge curve, and the three-phase supply that feeds it.
//
// It knows no protocol. A Connection is advanced in steps of time; between two
// steps it draws what car, cable and limit allow, and counts every watt-second.
package car

import (
	"math"
	"math/rand/v2"
	"time"
)

// Supply is how the energy comes.
type Supply struct {
	DC bool
	// MaxA is the largest current of an AC outlet per phase, MaxW the largest
	// power of a DC outlet.
	MaxA   float64
	MaxW   float64
	Phases int // of an AC outlet: 1 or 3
}

// Car is a vehicle. The zero value of a field means a usual one.
type Car struct {
	BatteryWh  float64 // usable; 60,000
	SoC        float64 // 0 to 1; 0.2
	ACPhases   int     // of the on-board charger; 3
	ACMaxA     float64 // per phase; 16
	DCMaxW     float64 // 100,000
	Efficiency float64 // AC to battery; 0.9
	Target     float64 // the car stops by itself here; 1
}

// WithDefaults fills what is not set.
func (c Car) WithDefaults() Car {
	set := func(v *float64, usual float64) {
		if *v == 0 {
			*v = usual
		}
	}
	set(&c.BatteryWh, 60_000)
	set(&c.SoC, 0.2)
	set(&c.ACMaxA, 16)
	set(&c.DCMaxW, 100_000)
	set(&c.Efficiency, 0.9)
	set(&c.Target, 1)
	if c.ACPhases == 0 {
		c.ACPhases = 3
	}
	return c
}

// State is a control pilot state of IEC 61851-1.
type State byte

// A: no vehicle. B: vehicle there, not ready. C: ready, energy may flow.
// E: no supply. F: fault.
const (
	StateA State = 'A'
	StateB State = 'B'
	StateC State = 'C'
	StateE State = 'E'
	StateF State = 'F'
)

// MinCurrentA is the least current that IEC 61851 can offer.
const MinCurrentA = 6

// tail is where the charge curve begins to fall, and what is left of it when the
// battery is full.
const (
	tailFrom = 0.8
	tailEnd  = 0.08
)

// Reading is what the outlet's meter shows.
type Reading struct {
	CurrentA [3]float64
	VoltageV [3]float64
	PowerW   float64
	Factor   float64 // power factor
	Hz       float64
	// OfferedA is what the control pilot offers per phase (AC), OfferedW the
	// power of a DC outlet; zero while nothing may flow.
	OfferedA, OfferedW float64
	SoC                float64 // 0 to 1; what the car tells, with DC
}

// Outlet is one connector with its meter. The register never falls.
type Outlet struct {
	supply   Supply
	car      *Car
	closed   bool // the contactor
	limitA   float64
	limitW   float64
	register float64 // Wh
	reading  Reading
	random   *rand.Rand
	voltage  [3]float64 // slow drift of each phase
}

// NewOutlet returns an outlet whose meter stands at registerWh.
func NewOutlet(s Supply, registerWh float64, random *rand.Rand) *Outlet {
	if s.Phases == 0 {
		s.Phases = 3
	}
	o := &Outlet{supply: s, register: registerWh, random: random, limitA: math.Inf(1), limitW: math.Inf(1)}
	for i := range o.voltage {
		o.voltage[i] = 230 + random.NormFloat64()*1.5
	}
	o.measure(0, 0)
	return o
}

// Supply tells what the outlet can give.
func (o *Outlet) Supply() Supply { return o.supply }

// Plug connects a car, whose state of charge the outlet then moves; nil unplugs.
func (o *Outlet) Plug(c *Car) {
	o.car = c
	if c == nil {
		o.closed = false
	}
	o.measure(0, 0)
}

// Car is the one that is plugged in, nil without one.
func (o *Outlet) Car() *Car { return o.car }

// Close closes or opens the contactor. An open one lets nothing flow.
func (o *Outlet) Close(closed bool) {
	o.closed = closed && o.car != nil
	if !o.closed {
		o.measure(0, 0)
	}
}

// Limit bounds the current per phase and the power. Infinity lifts a bound.
func (o *Outlet) Limit(amps, watts float64) { o.limitA, o.limitW = amps, watts }

// Wants tells whether the car would take energy now.
func (o *Outlet) Wants() bool { return o.car != nil && o.car.SoC < math.Min(o.car.Target, 1) }

// State is the control pilot's.
func (o *Outlet) State() State {
	switch {
	case o.car == nil:
		return StateA
	case o.Wants():
		return StateC
	}
	return StateB
}

// RegisterWh is the meter's energy register.
func (o *Outlet) RegisterWh() float64 { return o.register }

// Reading is what the meter shows since the last Advance.
func (o *Outlet) Reading() Reading { return o.reading }

// offered is the current per phase, or the power, that the outlet lets the car
// take; zero below the least that can be offered.
func (o *Outlet) offered() (amps, watts float64) {
	if !o.closed {
		return 0, 0
	}
	if o.supply.DC {
		return 0, math.Max(0, math.Min(o.supply.MaxW, math.Min(o.limitW, o.limitA*400)))
	}
	amps = math.Min(o.supply.MaxA, math.Min(o.limitA, o.limitW/(230*float64(o.supply.Phases))))
	if amps < MinCurrentA {
		return 0, 0
	}
	return amps, 0
}

// Offers tells whether the outlet lets the car take anything at all.
func (o *Outlet) Offers() bool {
	amps, watts := o.offered()
	return amps > 0 || watts > 0
}

// Advance lets dt pass: energy flows, the battery fills, the register counts.
func (o *Outlet) Advance(dt time.Duration) {
	for i := range o.voltage { // a slow walk that is pulled back to 230 V
		o.voltage[i] += (230-o.voltage[i])*0.02 + o.random.NormFloat64()*0.2
	}
	amps, watts := o.offered()
	if !o.Wants() || amps == 0 && watts == 0 {
		o.measure(0, 0)
		return
	}
	c := o.car
	taper := taper(c.SoC)
	hours := dt.Hours()
	room := (math.Min(c.Target, 1) - c.SoC) * c.BatteryWh
	if o.supply.DC {
		power := math.Min(watts, c.DCMaxW*taper)
		if into := power * hours; into > room {
			power = room / hours
		}
		o.measure(0, power)
		o.register += power * hours
		c.SoC = math.Min(1, c.SoC+power*hours/c.BatteryWh)
		return
	}
	phases := min(o.supply.Phases, c.ACPhases)
	current := math.Min(amps, c.ACMaxA)
	// Near the end of the curve the car itself asks for less, down to what a
	// charger can offer least.
	current = math.Min(current, math.Max(MinCurrentA, c.ACMaxA*taper*1.6))
	current *= 1 - 0.01*o.random.Float64()
	power := 0.0
	for i := range phases {
		power += current * o.voltage[i] * powerFactor
	}
	if into := power * hours * c.Efficiency; into > room {
		scale := room / into
		current, power = current*scale, power*scale
	}
	o.measure(current, power)
	o.register += power * hours
	c.SoC = math.Min(1, c.SoC+power*hours*c.Efficiency/c.BatteryWh)
}

const powerFactor = 0.99

// taper is the part of its full power that a battery takes at a state of charge.
func taper(soc float64) float64 {
	if soc <= tailFrom {
		return 1
	}
	return math.Max(tailEnd, 1-(1-tailEnd)*(soc-tailFrom)/(1-tailFrom))
}

// measure sets what the meter shows.
func (o *Outlet) measure(amps, watts float64) {
	r := Reading{PowerW: watts, Factor: 1, Hz: 50 + o.random.NormFloat64()*0.01, VoltageV: o.voltage}
	r.OfferedA, r.OfferedW = o.offered()
	if o.car != nil {
		r.SoC = o.car.SoC
	}
	if o.supply.DC {
		if watts > 0 {
			// A DC meter shows battery voltage and current on one pair of poles.
			v := 350 + 60*r.SoC
			r.VoltageV, r.CurrentA = [3]float64{v}, [3]float64{watts / v}
		}
		o.reading = r
		return
	}
	if amps > 0 {
		r.Factor = powerFactor
		for i := range min(o.supply.Phases, o.car.ACPhases) {
			r.CurrentA[i] = amps
		}
	}
	o.reading = r
}
