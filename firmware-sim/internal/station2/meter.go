package station2

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// maxKept is how many readings the last event of a transaction carries at most;
// of more, every second one between first and last is left out.
const maxKept = 200

// scheduleSamples sets the times of the periodic readings of a transaction (J02).
func (s *Station) scheduleSamples(e *evse) {
	name := strconv.Itoa(e.id)
	s.repeat("sample "+name, model.TxUpdatedInterval, func() bool {
		tx := s.running(e)
		if tx == nil {
			return false
		}
		if readings := s.reading(e, ocpp21.ReadingContextSamplePeriodic, model.TxUpdatedMeasurands); readings != nil {
			tx.Samples++
			s.update(e, tx, happening{trigger: ocpp21.TriggerReasonMeterValuePeriodic, readings: readings})
		}
		return true
	})
	s.repeat("ended "+name, model.TxEndedInterval, func() bool {
		tx := s.running(e)
		if tx != nil {
			s.keepReading(e, tx, ocpp21.ReadingContextSamplePeriodic, model.TxEndedMeasurands)
		}
		return tx != nil
	})
}

// repeat does work at every interval that a variable says, as long as it returns
// true.
func (s *Station) repeat(name, interval string, work func() bool) {
	s.Off(name)
	every := s.model.Seconds(interval)
	if every <= 0 {
		return
	}
	s.In(name, every, func() {
		if work() {
			s.repeat(name, interval, work)
		}
	})
}

// scheduleAligned sets the time of the next clock-aligned readings: multiples of
// the interval since midnight, by the station's own clock (J01).
func (s *Station) scheduleAligned() {
	s.align("aligned", model.AlignedInterval, func(e *evse, tx *Transaction) {
		readings := s.reading(e, ocpp21.ReadingContextSampleClock, model.AlignedMeasurands)
		switch {
		case readings == nil:
		case tx != nil:
			tx.Samples++
			s.update(e, tx, happening{trigger: ocpp21.TriggerReasonMeterValueClock, readings: readings})
		case s.Accepted():
			s.say(&ocpp21.MeterValuesRequest{EVSEID: int64(e.id), MeterValue: readings}, nil)
		}
	})
	s.align("aligned ended", model.AlignedTxEndedInterval, func(e *evse, tx *Transaction) {
		if tx != nil {
			s.keepReading(e, tx, ocpp21.ReadingContextSampleClock, model.AlignedTxEnded)
		}
	})
}

func (s *Station) align(name, interval string, work func(*evse, *Transaction)) {
	s.Off(name)
	every := s.model.Seconds(interval)
	if every <= 0 || !s.Powered {
		return
	}
	now := s.Now()
	midnight := now.Truncate(24 * time.Hour)
	next := midnight.Add((now.Sub(midnight)/every + 1) * every)
	if tomorrow := midnight.Add(24 * time.Hour); next.After(tomorrow) {
		next = tomorrow
	}
	s.In(name, next.Sub(now), func() {
		for _, e := range s.evses {
			work(e, s.running(e))
		}
		s.align(name, interval, work)
	})
}

// keepReading keeps a reading for the last event.
func (s *Station) keepReading(e *evse, tx *Transaction, context ocpp21.ReadingContext, list string) {
	values := s.values(e, list)
	if values == nil {
		return
	}
	tx.Data = append(tx.Data, Kept{Time: s.Now(), Context: string(context), Values: values})
	s.Dirty()
	if len(tx.Data) <= maxKept {
		return
	}
	fewer := tx.Data[:1]
	for i := 2; i < len(tx.Data); i += 2 {
		fewer = append(fewer, tx.Data[i])
	}
	tx.Data = fewer
}

// kept makes meter values of what was kept.
func kept(data []Kept) []ocpp21.MeterValue {
	var all []ocpp21.MeterValue
	for _, k := range data {
		all = append(all, meterValue(k.Time, ocpp21.ReadingContext(k.Context), k.Values))
	}
	return all
}

// reading is what the meter shows of the measurands of a list; nil when it has
// none.
func (s *Station) reading(e *evse, context ocpp21.ReadingContext, list string) []ocpp21.MeterValue {
	values := s.values(e, list)
	if values == nil {
		return nil
	}
	return []ocpp21.MeterValue{meterValue(s.Now(), context, values)}
}

func meterValue(t time.Time, context ocpp21.ReadingContext, values []Value) ocpp21.MeterValue {
	m := ocpp21.MeterValue{Timestamp: at(t)}
	for _, v := range values {
		sampled := ocpp21.SampledValue{
			Value: v.Value, Measurand: ocpp21.Measurand(v.Measurand), Context: context, Phase: ocpp21.Phase(v.Phase), Location: ocpp21.Location(v.Location),
		}
		if v.Unit != "" {
			sampled.UnitOfMeasure = &ocpp21.UnitOfMeasure{Unit: v.Unit}
		}
		m.SampledValue = append(m.SampledValue, sampled)
	}
	return m
}

func (s *Station) values(e *evse, list string) []Value {
	items := s.model.List(list)
	if len(items) == 0 {
		return nil
	}
	register := s.registerWh(e)
	var all []Value
	for _, item := range items {
		all = append(all, e.measure(ocpp21.Measurand(item), register)...)
	}
	return all
}

// measure reads one measurand.
func (e *evse) measure(m ocpp21.Measurand, register int64) []Value {
	r, supply := e.outlet.Reading(), e.outlet.Supply()
	phases := []string{"L1", "L2", "L3"}[:phasesOf(supply)]
	round := func(v float64, decimals int) float64 {
		scale := math.Pow10(decimals)
		return math.Round(v*scale) / scale
	}
	one := func(v float64, decimals int, unit string) []Value {
		return []Value{{Measurand: string(m), Value: round(v, decimals), Unit: unit, Location: string(ocpp21.LocationOutlet)}}
	}
	each := func(values [3]float64, decimals int, unit, to string) []Value {
		if supply.DC {
			return one(values[0], decimals, unit)
		}
		var all []Value
		for i, phase := range phases {
			v := one(values[i], decimals, unit)[0]
			v.Phase = phase + to
			all = append(all, v)
		}
		return all
	}
	switch m {
	case ocpp21.MeasurandEnergyActiveImportRegister:
		return one(float64(register), 0, "Wh")
	case ocpp21.MeasurandEnergyActiveImportInterval:
		flown := e.outlet.RegisterWh() - e.sinceSample
		e.sinceSample = e.outlet.RegisterWh()
		return one(flown, 1, "Wh")
	case ocpp21.MeasurandPowerActiveImport:
		return one(r.PowerW, 1, "W")
	case ocpp21.MeasurandPowerOffered:
		if supply.DC {
			return one(r.OfferedW, 0, "W")
		}
		return one(r.OfferedA*230*float64(len(phases)), 0, "W")
	case ocpp21.MeasurandCurrentOffered:
		if supply.DC {
			return one(r.OfferedW/400, 1, "A")
		}
		return one(r.OfferedA, 1, "A")
	case ocpp21.MeasurandPowerFactor:
		return one(r.Factor, 2, "")
	case ocpp21.MeasurandCurrentImport:
		return each(r.CurrentA, 2, "A", "")
	case ocpp21.MeasurandVoltage:
		return each(r.VoltageV, 1, "V", "-N")
	case ocpp21.MeasurandFrequency:
		return one(r.Hz, 2, "Hertz")
	case ocpp21.MeasurandSoC:
		if !supply.DC || e.outlet.Car() == nil { // an AC car does not tell
			return nil
		}
		v := one(r.SoC*100, 0, "Percent")
		v[0].Location = string(ocpp21.LocationEV)
		return v
	}
	return nil
}

// sayReadings sends what was asked for: readings of the EVSEs chosen.
func (s *Station) sayReadings(chosen []*evse) []*call {
	var all []*call
	for _, e := range chosen {
		if readings := s.reading(e, ocpp21.ReadingContextTrigger, model.AlignedMeasurands); readings != nil {
			all = append(all, s.say(&ocpp21.MeterValuesRequest{EVSEID: int64(e.id), MeterValue: readings}, nil))
		}
	}
	return slices.Clip(all)
}
