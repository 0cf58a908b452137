package main

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
)

const (
	carCurrentA   = 16.0 // what the car draws of each phase when nothing limits it
	voltageV      = 230.0
	batteryWh     = 60000.0
	firstSoC      = 40.0
	noReservation = 0
)

// charge lives through one session. When a driver started it here, and not a
// remote command, the token is authorized first.
func (c *charger) charge(number int, tag string, remote bool, reservation int) error {
	s := &session{stop: make(chan core.Reason, 1), ended: make(chan struct{})}
	c.mu.Lock()
	k := c.connectors[number-1]
	if k.running != nil {
		c.mu.Unlock()
		return fmt.Errorf("connector %d: a session is running", number)
	}
	k.running = s
	begin := k.register
	ask := !remote || c.config["AuthorizeRemoteTxRequests"].value == "true"
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		k.running = nil
		k.reservation = noReservation
		c.dropTxProfiles(number)
		c.mu.Unlock()
		close(s.ended)
		select {
		case c.done <- struct{}{}:
		default: // nobody counts them
		}
	}()

	if err := c.become(number, core.ChargePointStatusPreparing); err != nil {
		return err
	}
	if ask {
		answer, err := c.send(core.NewAuthorizationRequest(tag))
		if err != nil {
			return err
		}
		if got := answer.(*core.AuthorizeConfirmation).IdTagInfo.Status; got != types.AuthorizationStatusAccepted {
			return c.refuse(number, "Authorize", got)
		}
	}
	start := core.NewStartTransactionRequest(number, tag, int(math.Round(begin)), types.Now())
	if reservation != noReservation {
		start.ReservationId = &reservation
	}
	answer, err := c.send(start)
	if err != nil {
		return err
	}
	conf := answer.(*core.StartTransactionConfirmation)
	c.mu.Lock()
	s.transaction = conf.TransactionId
	c.mu.Unlock()
	first := c.reading(number, types.ReadingContextTransactionBegin)
	if got := conf.IdTagInfo.Status; got != types.AuthorizationStatusAccepted {
		// OCPP 1.6 §4.8 and StopTransactionOnInvalidId: end it at once
		if err := c.finish(number, s, tag, core.ReasonDeAuthorized, first); err != nil {
			return err
		}
		return fmt.Errorf("StartTransaction: %w: %s", errRefused, got)
	}
	if err := c.become(number, core.ChargePointStatusCharging); err != nil {
		return err
	}
	if err := c.meter(number, s, first); err != nil {
		return err
	}
	reason, err := c.deliver(number, s)
	if err != nil {
		return err
	}
	return c.finish(number, s, tag, reason, first)
}

// refuse takes the car's driver away again.
func (c *charger) refuse(number int, message string, got types.AuthorizationStatus) error {
	if err := c.become(number, core.ChargePointStatusAvailable); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w: %s", message, errRefused, got)
}

// deliver charges until the flags or a command end it, and says why it ended.
func (c *charger) deliver(number int, s *session) (core.Reason, error) {
	ticker := time.NewTicker(c.opts.interval)
	defer ticker.Stop()
	step := float64(c.opts.energy) / float64(c.opts.samples)
	for sample := 1; ; sample++ {
		select {
		case reason := <-s.stop:
			return reason, nil
		case <-c.tick.Done():
			return core.ReasonOther, nil
		case <-ticker.C:
		}
		c.mu.Lock()
		c.connectors[number-1].register += step * c.currentA(number) / carCurrentA
		c.mu.Unlock()
		if err := c.meter(number, s, c.reading(number, types.ReadingContextSamplePeriodic)); err != nil {
			return "", err
		}
		if sample == c.opts.samples && c.opts.stop == "local" {
			return c.opts.reason, nil
		}
	}
}

// finish sends the StopTransaction with the first and the last reading, and
// frees the connector.
func (c *charger) finish(number int, s *session, tag string, reason core.Reason, first types.MeterValue) error {
	c.mu.Lock()
	register := c.connectors[number-1].register
	c.mu.Unlock()
	stop := core.NewStopTransactionRequest(int(math.Round(register)), types.Now(), s.transaction)
	stop.IdTag = tag
	if reason == core.ReasonRemote || reason == core.ReasonDeAuthorized {
		stop.IdTag = "" // nobody presented it
	}
	stop.Reason = reason
	stop.TransactionData = []types.MeterValue{first, c.reading(number, types.ReadingContextTransactionEnd)}
	if _, err := c.send(stop); err != nil {
		return err
	}
	if err := c.become(number, core.ChargePointStatusFinishing); err != nil {
		return err
	}
	c.mu.Lock()
	next := core.ChargePointStatusAvailable
	if c.connectors[number-1].inoperative {
		next = core.ChargePointStatusUnavailable
	}
	c.mu.Unlock()
	return c.become(number, next)
}

// end asks the session on a connector to stop and waits until it has.
func (c *charger) end(number int, reason core.Reason) {
	c.mu.Lock()
	s := c.connectors[number-1].running
	c.mu.Unlock()
	if s == nil {
		return
	}
	select {
	case s.stop <- reason:
	default: // it is stopping for another reason
	}
	<-s.ended
}

// meter sends a reading; s is nil outside of a session.
func (c *charger) meter(number int, s *session, reading types.MeterValue) error {
	r := core.NewMeterValuesRequest(number, []types.MeterValue{reading})
	if s != nil {
		transaction := s.transaction
		r.TransactionId = &transaction
	}
	_, err := c.send(r)
	return err
}

// reading is what the meter of a connector shows now.
func (c *charger) reading(number int, why types.ReadingContext) types.MeterValue {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.connectors[number-1]
	currentA := 0.0
	if k.running != nil {
		currentA = c.currentA(number)
	}
	values := []types.SampledValue{
		{Value: number1(k.register), Measurand: types.MeasurandEnergyActiveImportRegister, Unit: types.UnitOfMeasureWh, Location: types.LocationOutlet},
		{Value: number1(c.powerW(currentA)), Measurand: types.MeasurandPowerActiveImport, Unit: types.UnitOfMeasureW, Location: types.LocationOutlet},
	}
	for i, phase := range []types.Phase{types.PhaseL1, types.PhaseL2, types.PhaseL3} {
		values = append(values,
			types.SampledValue{Value: number1(currentA), Measurand: types.MeasurandCurrentImport, Unit: types.UnitOfMeasureA, Phase: phase, Location: types.LocationOutlet},
			types.SampledValue{Value: number1(voltageV - 0.4*float64(i)), Measurand: types.MeasurandVoltage, Unit: types.UnitOfMeasureV, Phase: phase + "-N", Location: types.LocationOutlet})
	}
	soc := firstSoC + 100*(k.register-float64(c.opts.meterStart))/batteryWh
	values = append(values, types.SampledValue{
		Value: number1(min(100, soc)), Measurand: types.MeasurandSoC, Unit: types.UnitOfMeasurePercent, Location: types.LocationEV,
	})
	for i := range values {
		values[i].Context = why
	}
	return types.MeterValue{Timestamp: types.Now(), SampledValue: values}
}

// powerW is the power by which the register rises, which the flags make much
// faster than a car would.
func (c *charger) powerW(currentA float64) float64 {
	step := float64(c.opts.energy) / float64(c.opts.samples)
	return step * currentA / carCurrentA / c.opts.interval.Hours()
}

func number1(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
