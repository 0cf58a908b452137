package car_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
)

func outlet(s car.Supply) *car.Outlet {
	return car.NewOutlet(s, 1000, rand.New(rand.NewPCG(1, 2)))
}

var ac22 = car.Supply{MaxA: 32, Phases: 3}

// What the register counts is what the battery took, but for the losses; it is
// the integral of the power that the meter showed.
func TestEnergyBalance(t *testing.T) {
	for name, tt := range map[string]struct {
		supply car.Supply
		losses float64
	}{"AC": {ac22, 0.9}, "DC": {car.Supply{DC: true, MaxW: 60_000}, 1}} {
		t.Run(name, func(t *testing.T) {
			o := outlet(tt.supply)
			c := car.Car{BatteryWh: 40_000, SoC: 0.3}.WithDefaults()
			o.Plug(&c)
			o.Close(true)
			shown, last := 0.0, o.RegisterWh()
			for range 8 * 3600 {
				o.Advance(time.Second)
				shown += o.Reading().PowerW / 3600
				if o.RegisterWh() < last {
					t.Fatal("the register fell")
				}
				last = o.RegisterWh()
			}
			if c.SoC != 1 || o.State() != car.StateB || o.Reading().PowerW != 0 {
				t.Errorf("after eight hours: SoC %v, state %c, %v W", c.SoC, o.State(), o.Reading().PowerW)
			}
			drawn, want := o.RegisterWh()-1000, 0.7*40_000/tt.losses
			if math.Abs(drawn-want) > 1 || math.Abs(drawn-shown) > 1 {
				t.Errorf("register counted %.1f Wh, power shown integrates to %.1f, battery took %.1f", drawn, shown, want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		name        string
		amps, watts float64
		want        float64 // A per phase, about
	}{
		{"none", math.Inf(1), math.Inf(1), 16},
		{"ten amperes", 10, math.Inf(1), 10},
		{"six amperes", 6, math.Inf(1), 6},
		{"below six", 5.9, math.Inf(1), 0},
		{"zero", 0, math.Inf(1), 0},
		{"in watts", math.Inf(1), 230 * 3 * 8, 8},
		{"the lower counts", 12, 230 * 3 * 8, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := outlet(ac22)
			c := car.Car{}.WithDefaults()
			o.Plug(&c)
			o.Limit(tt.amps, tt.watts)
			o.Close(true)
			o.Advance(time.Second)
			r := o.Reading()
			for i, a := range r.CurrentA {
				if a > tt.want || a < tt.want*0.98 {
					t.Errorf("phase %d takes %.2f A, want %v", i+1, a, tt.want)
				}
			}
			if offers := tt.want > 0; o.Offers() != offers {
				t.Errorf("offers: %v", o.Offers())
			}
		})
	}
}

func TestPhases(t *testing.T) {
	o := outlet(ac22)
	c := car.Car{ACPhases: 1, ACMaxA: 32}.WithDefaults()
	o.Plug(&c)
	o.Close(true)
	o.Advance(time.Second)
	if r := o.Reading(); r.CurrentA[0] < 31 || r.CurrentA[1] != 0 || r.CurrentA[2] != 0 || r.PowerW < 6800 || r.PowerW > 7500 {
		t.Errorf("a single-phase car takes %+v", r)
	}
}

// An almost full battery takes less and less.
func TestTaper(t *testing.T) {
	o := outlet(car.Supply{DC: true, MaxW: 150_000})
	c := car.Car{SoC: 0.5}.WithDefaults()
	o.Plug(&c)
	o.Close(true)
	o.Advance(time.Second)
	full := o.Reading().PowerW
	last := full
	for c.SoC < 0.99 {
		o.Advance(time.Second)
		if p := o.Reading().PowerW; p > last+1 {
			t.Fatalf("power rose from %.0f to %.0f W at %.0f %%", last, p, c.SoC*100)
		}
		last = o.Reading().PowerW
	}
	if full != 100_000 || last > full/4 {
		t.Errorf("from %.0f to %.0f W, want 100 kW and less than a quarter", full, last)
	}
}

func TestUnplugged(t *testing.T) {
	o := outlet(ac22)
	o.Close(true)
	o.Advance(time.Hour)
	if o.RegisterWh() != 1000 || o.State() != car.StateA {
		t.Errorf("without a car: %v Wh, state %c", o.RegisterWh(), o.State())
	}
}
