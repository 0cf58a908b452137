package metering_test

import (
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/metering"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Quirk 69: a unit that is not the one meant shows by energy against power.
func TestWatch(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	// feed lets 11 kW flow for two hours, a reading a minute.
	feed := func(w *metering.Watch, energyPerWh, powerPerW float64) bool {
		bad := false
		for i := range 120 {
			wh := int64(energyPerWh * 11000 * float64(i) / 60)
			watts := powerPerW * 11000
			_, contradicts := w.Contradicts([]event.Sample{{Time: noon.Add(time.Duration(i) * time.Minute), EnergyWh: &wh, PowerW: &watts}})
			bad = bad || contradicts
		}
		return bad
	}
	tests := []struct {
		name          string
		energy, power float64
		want          bool
	}{
		{"as it is", 1, 1, false},
		{"a coarse meter", 0.7, 1, false},
		{"kWh called Wh", 0.001, 1, true},
		{"a tenth", 0.1, 1, true},
		{"ten times", 10, 1, true},
		{"kW called W", 1, 0.001, true},
		{"both in thousands", 0.001, 0.001, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := feed(&metering.Watch{}, tt.energy, tt.power); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}

	n := func(v int64) *int64 { return &v }
	t.Run("quirk 73 a lifetime in a session", func(t *testing.T) {
		var w metering.Watch
		w.Begin(noon, n(0))
		if why, bad := w.Contradicts([]event.Sample{{Time: noon.Add(time.Minute), EnergyWh: n(12_345_678)}}); !bad || why == "" {
			t.Error("a register that jumps by 12 MWh in a minute is believed")
		}
	})
	t.Run("quirk 77 absence is not zero", func(t *testing.T) {
		var w metering.Watch
		w.Begin(noon, nil)
		zero := 0.0
		for i := range int64(60) {
			s := event.Sample{Time: noon.Add(time.Duration(i) * time.Minute), EnergyWh: n(1000 * i)}
			if i == 30 {
				s.PowerW = &zero
			}
			if why, bad := w.Contradicts([]event.Sample{s}); bad {
				t.Fatal(why)
			}
		}
	})
	t.Run("readings from before", func(t *testing.T) {
		var w metering.Watch
		w.Begin(noon, n(5000))
		if why, bad := w.Contradicts([]event.Sample{
			{Time: noon.Add(-time.Hour), EnergyWh: n(1)}, {Time: noon, EnergyWh: n(9_000_000)},
			{Time: noon.Add(time.Minute), EnergyWh: n(4000), Context: "end"}, {Time: noon.Add(time.Minute), EnergyWh: n(5100)},
		}); bad {
			t.Error(why)
		}
	})
}
