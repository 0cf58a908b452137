package station

import "github.com/chargeyard/chargeyard/firmware-sim/internal/charger"

// View is how the charge point stands.
func (s *Station) View() charger.View {
	v := s.Outline()
	v.Firmware = s.state.Firmware
	for _, c := range s.connectors {
		cv := charger.ConnectorView{
			Status: s.current(c).status, Plugged: c.outlet.Car() != nil && !c.away, Waiting: c.waiting != nil, Authorizing: c.authorizing,
			Refusals: c.refusals, RegisterWh: int64(c.outlet.RegisterWh()), PowerW: c.outlet.Reading().PowerW, Wants: c.outlet.Wants(),
		}
		if tx := s.running(c); tx != nil {
			cv.Token, cv.Transaction = tx.IDTag, "unconfirmed"
			if tx.Known {
				cv.Transaction = itoa(tx.ID)
			}
		}
		if vehicle := c.outlet.Car(); vehicle != nil {
			cv.SoC = vehicle.SoC
		}
		if f := s.broken(c); f != nil {
			cv.Fault = f.code
		}
		v.Connectors = append(v.Connectors, cv)
	}
	return v
}
