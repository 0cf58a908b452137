package station

import (
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// maxStopData is how many readings a StopTransaction carries at most; of more,
// every second one between first and last is left out.
const maxStopData = 200

// scheduleSample sets the time of the next periodic reading of a transaction
// (§3.16.1).
func (s *Station) scheduleSample(c *connector) {
	name := "sample " + itoa(c.id)
	s.Off(name)
	every := s.keys.Seconds(keys.MeterValueSampleInterval)
	if every <= 0 || s.running(c) == nil {
		return
	}
	s.In(name, every, func() {
		if tx := s.running(c); tx != nil {
			s.sample(c, tx, ocpp16.ReadingContextSamplePeriodic, keys.MeterValuesSampledData)
			s.sampleForStop(c, tx, ocpp16.ReadingContextSamplePeriodic, keys.StopTxnSampledData)
			s.scheduleSample(c)
		}
	})
}

// sample sends a reading of a transaction.
func (s *Station) sample(c *connector, tx *Transaction, context ocpp16.ReadingContext, key string) {
	values := s.reading(c, context, key)
	if values == nil {
		return
	}
	tx.Samples++
	id := tx.id()
	s.enqueue(&ocpp16.MeterValuesRequest{
		ConnectorID: int64(c.id), TransactionID: &id,
		MeterValue: []ocpp16.MeterValue{{Timestamp: at(charger.Milliseconds(s.Now())), SampledValue: values}},
	}, tx.Number)
}

// sampleForStop keeps a reading for the StopTransaction.
func (s *Station) sampleForStop(c *connector, tx *Transaction, context ocpp16.ReadingContext, key string) {
	values := s.reading(c, context, key)
	if values == nil {
		return
	}
	tx.Data = append(tx.Data, ocpp16.MeterValue{Timestamp: at(charger.Milliseconds(s.Now())), SampledValue: values})
	s.Dirty()
	if len(tx.Data) <= maxStopData {
		return
	}
	kept := tx.Data[:1]
	for i := 2; i < len(tx.Data); i += 2 {
		kept = append(kept, tx.Data[i])
	}
	tx.Data = kept
}

// scheduleAligned sets the time of the next clock-aligned reading: a multiple of
// the interval since midnight (§3.16.2), by the charge point's own clock.
func (s *Station) scheduleAligned() {
	s.Off("aligned")
	every := s.keys.Seconds(keys.ClockAlignedDataInterval)
	if every <= 0 || !s.Powered {
		return
	}
	now := s.Now()
	midnight := now.Truncate(24 * time.Hour)
	next := midnight.Add((now.Sub(midnight)/every + 1) * every)
	if tomorrow := midnight.Add(24 * time.Hour); next.After(tomorrow) {
		next = tomorrow
	}
	s.In("aligned", next.Sub(now), func() {
		s.aligned()
		s.scheduleAligned()
	})
}

func (s *Station) aligned() {
	for _, c := range s.connectors {
		if tx := s.running(c); tx != nil {
			s.sample(c, tx, ocpp16.ReadingContextSampleClock, keys.MeterValuesAlignedData)
			s.sampleForStop(c, tx, ocpp16.ReadingContextSampleClock, keys.StopTxnAlignedData)
			continue
		}
		if s.Accepted() {
			s.sayReading(c, ocpp16.ReadingContextSampleClock, keys.MeterValuesAlignedData)
		}
	}
}

// sayReading sends a reading that belongs to no transaction, or that was asked
// for.
func (s *Station) sayReading(c *connector, context ocpp16.ReadingContext, key string) *call {
	values := s.reading(c, context, key)
	if values == nil {
		return nil
	}
	req := &ocpp16.MeterValuesRequest{
		ConnectorID: int64(c.id), MeterValue: []ocpp16.MeterValue{{Timestamp: at(charger.Milliseconds(s.Now())), SampledValue: values}},
	}
	if tx := s.running(c); tx != nil && tx.Known {
		req.TransactionID = &tx.ID
	}
	return s.say(req, nil)
}

// reading is what the meter shows of the measurands that a key lists; nil when
// it lists none.
func (s *Station) reading(c *connector, context ocpp16.ReadingContext, key string) []ocpp16.SampledValue {
	items := s.keys.List(key)
	if len(items) == 0 {
		return nil
	}
	register := s.registerWh(c)
	var values []ocpp16.SampledValue
	for _, item := range items {
		measurand, only := keys.SplitMeasurand(item)
		for _, v := range s.measure(c, measurand, register) {
			if only == "" || v.Phase == only || v.Phase == only+"-N" {
				v.Context, v.Measurand, v.Format = context, measurand, ocpp16.ValueFormatRaw
				if v.Location == "" {
					v.Location = ocpp16.LocationOutlet
				}
				values = append(values, v)
			}
		}
	}
	return values
}

// measure reads one measurand.
func (s *Station) measure(c *connector, m ocpp16.Measurand, register int64) []ocpp16.SampledValue {
	r, supply := c.outlet.Reading(), c.outlet.Supply()
	phases := []ocpp16.Phase{ocpp16.PhaseL1, ocpp16.PhaseL2, ocpp16.PhaseL3}[:phasesOf(supply)]
	if supply.DC {
		phases = phases[:1]
	}
	one := func(v float64, decimals int, unit ocpp16.UnitOfMeasure) []ocpp16.SampledValue {
		return []ocpp16.SampledValue{{Value: strconv.FormatFloat(v, 'f', decimals, 64), Unit: unit}}
	}
	each := func(values [3]float64, decimals int, unit ocpp16.UnitOfMeasure) []ocpp16.SampledValue {
		if supply.DC {
			return one(values[0], decimals, unit)
		}
		var all []ocpp16.SampledValue
		for i, phase := range phases {
			v := one(values[i], decimals, unit)[0]
			v.Phase = phase
			all = append(all, v)
		}
		return all
	}
	switch m {
	case ocpp16.MeasurandEnergyActiveImportRegister:
		return []ocpp16.SampledValue{{Value: itoa(register), Unit: ocpp16.UnitOfMeasureWh}}
	case ocpp16.MeasurandEnergyActiveImportInterval:
		flown := c.outlet.RegisterWh() - c.sinceSample
		c.sinceSample = c.outlet.RegisterWh()
		return one(flown, 1, ocpp16.UnitOfMeasureWh)
	case ocpp16.MeasurandPowerActiveImport:
		return one(r.PowerW, 1, ocpp16.UnitOfMeasureW)
	case ocpp16.MeasurandPowerOffered:
		if supply.DC {
			return one(r.OfferedW, 0, ocpp16.UnitOfMeasureW)
		}
		return one(r.OfferedA*230*float64(len(phases)), 0, ocpp16.UnitOfMeasureW)
	case ocpp16.MeasurandCurrentOffered:
		if supply.DC {
			return one(r.OfferedW/400, 1, ocpp16.UnitOfMeasureA)
		}
		return one(r.OfferedA, 1, ocpp16.UnitOfMeasureA)
	case ocpp16.MeasurandPowerFactor:
		return one(r.Factor, 2, "")
	case ocpp16.MeasurandCurrentImport:
		return each(r.CurrentA, 2, ocpp16.UnitOfMeasureA)
	case ocpp16.MeasurandVoltage:
		values := each(r.VoltageV, 1, ocpp16.UnitOfMeasureV)
		for i := range values { // to neutral
			if !supply.DC {
				values[i].Phase += "-N"
			}
		}
		return values
	case ocpp16.MeasurandFrequency:
		return one(r.Hz, 2, "")
	case ocpp16.MeasurandTemperature:
		v := one(24+r.PowerW/2500, 1, ocpp16.UnitOfMeasureCelsius)
		v[0].Location = ocpp16.LocationBody
		return v
	case ocpp16.MeasurandSoC:
		if !supply.DC || c.outlet.Car() == nil { // an AC car does not tell
			return nil
		}
		v := one(r.SoC*100, 0, ocpp16.UnitOfMeasurePercent)
		v[0].Location = ocpp16.LocationEV
		return v
	}
	return nil
}
