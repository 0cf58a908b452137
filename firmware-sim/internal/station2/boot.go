package station2

import (
	"context"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

const (
	// bootRetry is the wait after a BootNotification that was not answered, or
	// refused without an interval.
	bootRetry = 30 * time.Second
	// resetPatience is how long a reset waits for its last words to be
	// answered.
	resetPatience = 15 * time.Second
)

// powerOn is the start of the firmware.
func (s *Station) powerOn() {
	if s.Powered {
		return
	}
	s.Powered, s.fresh = true, true
	s.Registration = ""
	for _, e := range s.evses {
		e.wake()
	}
	s.chooseNetwork()
	s.expireReservations()
	s.scheduleAligned()
	s.armMonitors()
	s.ticking()
	s.resume()
	s.Startup()
	s.Log.Info("power is on", "firmware", s.state.Firmware)
}

// powerOff is the loss of power: RAM is gone, contactors open, and what ran is
// noted with the last of the charge.
func (s *Station) powerOff() {
	if !s.Powered {
		return
	}
	s.advanceAll()
	s.state.Alive = s.Now()
	s.DropLink("", false) // what is noted now is told after the start
	s.interrupted(s.state.Alive)
	s.Powered = false
	s.forget()
	s.reason = ocpp21.BootReasonPowerUp
	s.Log.Info("power is off")
}

// forget loses what is in RAM.
func (s *Station) forget() {
	s.Forget()
	s.forgetRAM()
	for _, e := range s.evses {
		e.sleep()
	}
}

func (s *Station) forgetRAM() {
	s.firmware.end()
	s.upload.end()
	s.publish.end()
	s.noSecurity, s.resetting, s.scheduled = false, false, false
	s.monitors, s.streams = map[int64]*watch{}, map[int64]*stream{}
	s.alerts, s.priority = map[int]fault{}, map[string]bool{}
}

// reboot is an orderly start anew: the application ends and begins.
func (s *Station) reboot(reason ocpp21.BootReason) {
	s.Log.Info("starting anew", "because", string(reason))
	s.DropLink("reset", true)
	s.advanceAll()
	s.state.Alive = s.Now()
	s.Powered = false
	s.forget()
	s.reason = reason
	s.powerOn()
}

// SetPower takes the mains away from the station, or gives it back.
func (s *Station) SetPower(ctx context.Context, on bool) error {
	return s.Do(ctx, func() error {
		if on {
			s.powerOn()
		} else {
			s.powerOff()
		}
		return nil
	})
}

// Boot sends a BootNotification, unless one waits already.
func (s *Station) Boot() { s.bootBecause(s.reason) }

func (s *Station) bootBecause(reason ocpp21.BootReason) {
	s.Off("boot")
	if s.Busy(ocpp21.ActionBootNotification) || !s.Connected() {
		return
	}
	s.say(&ocpp21.BootNotificationRequest{
		Reason: reason,
		ChargingStation: ocpp21.ChargingStation{
			SerialNumber: cut(s.cfg.Identity, 25), Model: cut(s.cfg.Model, 20), VendorName: cut(s.cfg.Vendor, 50), FirmwareVersion: cut(s.state.Firmware, 50),
		},
	}, s.booted).Early = true
}

// booted takes the answer to a BootNotification (B01 to B03).
func (s *Station) booted(answer ocpp21.Response, err error) {
	resp, ok := answer.(*ocpp21.BootNotificationResponse)
	if err != nil || !ok {
		if s.Connected() {
			s.Log.Warn("the BootNotification has no answer", "err", err)
			s.In("boot", bootRetry, s.Boot)
		}
		return
	}
	before := s.Registration
	s.Registration = charger.Registration(resp.Status)
	s.setClock(resp.CurrentTime.Time)
	wait := time.Duration(resp.Interval) * time.Second
	s.Log.Info("registration", "status", string(resp.Status), "interval", wait)
	if s.Registration != charger.Accepted {
		if wait <= 0 {
			wait = bootRetry + time.Duration(s.Random.Float64()*float64(bootRetry))
		}
		if s.Registration == charger.Rejected {
			s.RejectedTill = time.Now().Add(wait)
		}
		s.In("boot", wait, s.Boot)
		return
	}
	s.RejectedTill = time.Time{}
	if wait > 0 {
		s.model.Values[model.HeartbeatInterval] = strconv.FormatInt(resp.Interval, 10)
		s.Dirty()
	}
	s.scheduleHeartbeat()
	if before == charger.Accepted {
		return
	}
	for _, e := range s.evses {
		e.told = ""
	}
	s.reportStatuses() // B01.FR.05: every connector, before anything else
	s.openStreams()
	if s.fresh {
		s.fresh = false
		s.afterBoot()
	}
	s.reason = ocpp21.BootReasonUnknown // should it be asked for again without a start
}

func (s *Station) setClock(t time.Time) {
	if s.SetClock(t) {
		s.scheduleAligned()
	}
}

func (s *Station) scheduleHeartbeat() {
	s.Off("heartbeat")
	every := s.model.Seconds(model.HeartbeatInterval)
	if every <= 0 || !s.Accepted() {
		return
	}
	s.In("heartbeat", every, func() {
		s.heartbeat()
		s.scheduleHeartbeat()
	})
}

func (s *Station) heartbeat() *call {
	for _, c := range s.Calls { // one that waits is enough
		if c.Action == ocpp21.ActionHeartbeat {
			return c
		}
	}
	return s.say(&ocpp21.HeartbeatRequest{}, func(answer ocpp21.Response, err error) {
		if resp, ok := answer.(*ocpp21.HeartbeatResponse); ok && err == nil {
			s.setClock(resp.CurrentTime.Time)
		}
	})
}

// reset carries out a Reset (B11, B12).
func (s *Station) reset(req *ocpp21.ResetRequest) (ocpp21.Response, func()) {
	answer := func(status ocpp21.ResetStatus) *ocpp21.ResetResponse { return &ocpp21.ResetResponse{Status: status} }
	if s.resetting {
		return answer(ocpp21.ResetStatusRejected), nil
	}
	chosen := s.evses
	if req.EVSEID != nil && *req.EVSEID > 0 {
		e := s.evse(*req.EVSEID)
		if e == nil {
			return answer(ocpp21.ResetStatusRejected), nil
		}
		chosen = []*evse{e}
	}
	busy := false
	for _, e := range chosen {
		busy = busy || s.running(e) != nil
	}
	if len(chosen) == 1 && req.EVSEID != nil && *req.EVSEID > 0 {
		return s.resetEVSE(chosen[0], req.Type, busy)
	}
	switch {
	case req.Type == ocpp21.ResetOnIdle && busy:
		return answer(ocpp21.ResetStatusScheduled), func() { s.scheduled = true }
	case req.Type == ocpp21.ResetImmediateAndResume:
		return answer(ocpp21.ResetStatusAccepted), func() {
			s.state.Resume = true
			s.restart(ocpp21.BootReasonRemoteReset, resetPatience)
		}
	}
	return answer(ocpp21.ResetStatusAccepted), func() {
		for _, e := range s.evses {
			s.finish(e, ocpp21.TriggerReasonResetCommand, ocpp21.ReasonImmediateReset)
		}
		s.restart(ocpp21.BootReasonRemoteReset, resetPatience)
	}
}

// resetEVSE starts one EVSE anew; the others go on.
func (s *Station) resetEVSE(e *evse, kind ocpp21.Reset, busy bool) (ocpp21.Response, func()) {
	if kind == ocpp21.ResetOnIdle && busy {
		return &ocpp21.ResetResponse{Status: ocpp21.ResetStatusScheduled}, nil // nothing of an EVSE outlasts its transaction
	}
	return &ocpp21.ResetResponse{Status: ocpp21.ResetStatusAccepted}, func() {
		if kind != ocpp21.ResetImmediateAndResume {
			s.finish(e, ocpp21.TriggerReasonResetCommand, ocpp21.ReasonImmediateReset)
		}
		e.resetting = true
		s.In("reset "+strconv.Itoa(e.id), time.Second, func() { e.resetting = false })
	}
}

// restart starts the station anew once its last words are answered, or after a
// while.
func (s *Station) restart(reason ocpp21.BootReason, patience time.Duration) {
	s.resetting = true
	s.security("ResetOrReboot", string(reason))
	deadline := time.Now().Add(patience)
	var wait func()
	wait = func() {
		busy := len(s.Queue) > 0 || !s.AllSaid()
		if busy && time.Now().Before(deadline) && s.Accepted() {
			s.In("reset", 100*time.Millisecond, wait)
			return
		}
		s.reboot(reason)
	}
	s.In("reset", 100*time.Millisecond, wait)
}

// afterBoot says what the start before had no time to say.
func (s *Station) afterBoot() {
	s.security("StartupOfTheDevice", "")
	id := s.state.FirmwareJob
	if id == nil {
		return
	}
	s.state.FirmwareJob = nil
	s.Dirty()
	s.firmware = job{id: *id}
	s.firmwareStatus("Installed")
	s.security("FirmwareUpdated", s.state.Firmware)
	s.firmware = job{}
}

// security notes a security event. Those are sent, in order with the queue, until
// the CSMS says that it does not know them.
func (s *Station) security(kind, info string) {
	info = cut(info, 255)
	s.state.SecurityLog = append(s.state.SecurityLog, SecurityEvent{Time: charger.Milliseconds(s.Now()), Type: kind, Info: info})
	if n := len(s.state.SecurityLog) - securityLogLength; n > 0 {
		s.state.SecurityLog = s.state.SecurityLog[n:]
	}
	s.Dirty()
	if !s.noSecurity {
		s.enqueue(&ocpp21.SecurityEventNotificationRequest{Type: kind, Timestamp: at(s.Now()), TechInfo: info}, 0).Once = true
	}
}

// securityLogLength is how many security events a station remembers.
const securityLogLength = 100
