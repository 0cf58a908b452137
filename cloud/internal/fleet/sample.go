package fleet

import (
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// sampled keeps the samples of a block. Nothing here reads or writes a row of
// the events lane: a block may come before the session that it belongs to, or
// after its end.
func (u *Unit) sampled(from Origin, position int64, in *Incoming, p *sampled) error {
	station := in.Station
	var boot string
	if in.Event.Clock == event.ClockUnsynced {
		boot = in.Event.Boot
	}
	latest, err := u.latest.get(evseKey{station, in.Address.EVSE}, func(k evseKey) (*LatestRow, error) { return u.tx.Latest(k.station, k.evse) })
	if err != nil {
		return err
	}
	for i := range p.samples {
		s := &p.samples[i]
		told := Moment{At: s.Time.UTC().Truncate(time.Millisecond), Boot: boot}
		u.samples = append(u.samples, SampleRow{
			Station: station, Tenant: from.Tenant, Gateway: from.Gateway, EVSE: in.Address.EVSE,
			Told: told, Context: s.Context, Session: p.Session, JSON: p.Samples[i], Since: position,
		})
		old := &latest.row
		if latest.found && old.Told.Boot == boot && told.At.Before(old.Told.At) {
			continue
		}
		row := LatestRow{
			Station: station, Tenant: from.Tenant, Gateway: from.Gateway, EVSE: in.Address.EVSE,
			Told: told, Session: p.Session, PowerW: s.PowerW, EnergyWh: s.EnergyWh, SoC: s.SoCPercent, Since: position,
		}
		if latest.found && old.Session == row.Session && old.Told.Boot == boot && old.Told.At.Equal(told.At) { // one moment in two parts
			row.PowerW, row.EnergyWh, row.SoC = first(row.PowerW, old.PowerW), first(row.EnergyWh, old.EnergyWh), first(row.SoC, old.SoC)
		}
		*latest.touch() = row
	}
	return nil
}

func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}
