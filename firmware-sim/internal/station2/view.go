package station2

import (
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// View is how the station stands.
func (s *Station) View() charger.View {
	v := s.Outline()
	v.Firmware = s.state.Firmware
	for _, e := range s.evses {
		cv := charger.ConnectorView{
			Status: s.plainStatus(e), Plugged: e.plugged(), Waiting: e.waiting, Authorizing: e.authorizing, Refusals: e.refusals,
			RegisterWh: int64(e.outlet.RegisterWh()), PowerW: e.outlet.Reading().PowerW, Wants: e.outlet.Wants(),
		}
		if tx := s.running(e); tx != nil {
			cv.Transaction = tx.ID
			if tx.Token != nil {
				cv.Token = tx.Token.ID
			}
		}
		if vehicle := e.outlet.Car(); vehicle != nil {
			cv.SoC = vehicle.SoC
		}
		if f := s.broken(e); f != nil {
			cv.Fault = f.code
		}
		v.Connectors = append(v.Connectors, cv)
	}
	return v
}

// plainStatus is the status of an EVSE in the words of OCPP 1.6.
func (s *Station) plainStatus(e *evse) ocpp16.ChargePointStatus {
	switch s.status(e) {
	case ocpp21.ConnectorStatusFaulted:
		return ocpp16.ChargePointStatusFaulted
	case ocpp21.ConnectorStatusUnavailable:
		return ocpp16.ChargePointStatusUnavailable
	case ocpp21.ConnectorStatusReserved:
		return ocpp16.ChargePointStatusReserved
	case ocpp21.ConnectorStatusAvailable:
		return ocpp16.ChargePointStatusAvailable
	}
	tx := s.running(e)
	switch {
	case tx == nil && e.finished:
		return ocpp16.ChargePointStatusFinishing
	case tx == nil:
		return ocpp16.ChargePointStatusPreparing
	}
	switch s.chargingState(e) {
	case ocpp21.ChargingStateCharging:
		return ocpp16.ChargePointStatusCharging
	case ocpp21.ChargingStateSuspendedEV:
		return ocpp16.ChargePointStatusSuspendedEV
	case ocpp21.ChargingStateSuspendedEVSE:
		return ocpp16.ChargePointStatusSuspendedEVSE
	}
	return ocpp16.ChargePointStatusPreparing
}
