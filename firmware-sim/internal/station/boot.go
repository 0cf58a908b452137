package station

import (
	"context"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

const (
	// bootRetry is the wait after a BootNotification that was not answered, or
	// refused without an interval (§4.2: the charge point chooses).
	bootRetry = 30 * time.Second
	// clockSlack is how far our clock may be from the central system's before
	// it is set: whole seconds and the way here are no reason.
	clockSlack = 2 * time.Second
	// resetPatience is how long a soft reset waits for its StopTransactions to
	// be answered.
	resetPatience = 15 * time.Second
)

// powerOn is the start of the firmware.
func (s *Station) powerOn() {
	if s.powered {
		return
	}
	s.powered, s.fresh = true, true
	s.registration = ""
	s.boardStatus = report{}
	for _, c := range s.connectors {
		c.wake()
	}
	s.expireReservations()
	s.scheduleAligned()
	s.in("tick", s.tickDelay(), s.tick)
	// Charge points that get their power back together do not start together.
	s.in("connect", s.cfg.BootTime+time.Duration(s.random.Float64()*float64(s.cfg.Reconnect)), s.connect)
	s.log.Info("power is on", "firmware", s.state.Firmware)
}

// powerOff is the loss of power: RAM is gone, contactors open, and what ran is
// noted with the last of the charge.
func (s *Station) powerOff() {
	if !s.powered {
		return
	}
	s.advanceAll()
	s.state.Alive = s.now()
	s.interrupted(s.state.Alive)
	s.powered = false
	s.dropLink("", false)
	s.forget()
	s.log.Info("power is off")
}

// forget loses what is in RAM.
func (s *Station) forget() {
	for _, c := range s.calls {
		s.giveUp(c, "lost with the power")
	}
	s.calls = nil
	if s.pending != nil {
		s.giveUp(s.pending, "lost with the power")
		s.pending = nil
	}
	s.retryAt, s.timeouts, s.resetting = time.Time{}, 0, ""
	s.firmware.end()
	s.upload.end()
	s.noSecurity, s.conflict = false, false
	for _, c := range s.connectors {
		c.sleep()
	}
	clear(s.alarms)
	s.dirty = true
}

// reboot is an orderly start anew: the application ends and begins.
func (s *Station) reboot(why string) {
	s.log.Info("starting anew", "because", why)
	s.dropLink(why, true)
	s.advanceAll()
	s.state.Alive = s.now()
	s.powered = false
	s.forget()
	s.powerOn()
}

// SetPower takes the mains away from the charge point, or gives it back.
func (s *Station) SetPower(ctx context.Context, on bool) error {
	return s.do(ctx, func() error {
		if on {
			s.powerOn()
		} else {
			s.powerOff()
		}
		return nil
	})
}

// boot sends a BootNotification, unless one waits already.
func (s *Station) boot() {
	s.off("boot")
	for _, c := range s.calls {
		if c.action == ocpp16.ActionBootNotification {
			return
		}
	}
	if s.pending != nil && s.pending.action == ocpp16.ActionBootNotification || s.link.conn == nil {
		return
	}
	c := s.say(&ocpp16.BootNotificationRequest{
		ChargePointVendor: s.cfg.Vendor, ChargePointModel: s.cfg.Model, ChargePointSerialNumber: cutText(s.cfg.Identity, 25),
		FirmwareVersion: s.state.Firmware, MeterType: "simulated",
	}, s.booted)
	c.early = true
}

func cutText(text string, n int) string {
	r := []rune(text)
	return string(r[:min(n, len(r))])
}

// booted takes the answer to a BootNotification, §4.2.
func (s *Station) booted(answer ocpp16.Response, err error) {
	if err != nil {
		if s.link.conn != nil {
			s.log.Warn("the BootNotification has no answer", "err", err)
			s.in("boot", bootRetry, s.boot)
		}
		return
	}
	resp, ok := answer.(*ocpp16.BootNotificationResponse)
	if !ok {
		return
	}
	before := s.registration
	s.registration = resp.Status
	s.setClock(resp.CurrentTime.Time)
	wait := time.Duration(resp.Interval) * time.Second
	s.log.Info("registration", "status", string(resp.Status), "interval", wait)
	if resp.Status != ocpp16.RegistrationStatusAccepted {
		if wait <= 0 {
			wait = bootRetry + time.Duration(s.random.Float64()*float64(bootRetry))
		}
		if resp.Status == ocpp16.RegistrationStatusRejected {
			s.rejectedTill = time.Now().Add(wait)
		}
		s.in("boot", wait, s.boot)
		return
	}
	s.rejectedTill = time.Time{}
	if wait > 0 {
		s.keys.Values[keys.HeartbeatInterval] = itoa(resp.Interval)
		s.dirty = true
	}
	s.scheduleHeartbeat()
	if before != ocpp16.RegistrationStatusAccepted {
		s.boardStatus = report{}
		for _, c := range s.connectors {
			c.reported = report{}
		}
		s.reportStatuses() // §4.9: every connector, before anything else
		if s.fresh {
			s.fresh = false
			s.afterBoot()
		}
	}
}

// setClock follows the central system's time.
func (s *Station) setClock(t time.Time) {
	if t.IsZero() {
		return
	}
	if off := t.Sub(s.now()); off.Abs() > clockSlack {
		s.log.Info("the clock is set", "by", off.Round(time.Millisecond))
		s.offset += off
		s.dirty = true
		s.scheduleAligned()
	}
}

// SkewClock moves the charge point's clock until the central system sets it.
func (s *Station) SkewClock(ctx context.Context, by time.Duration) error {
	return s.do(ctx, func() error {
		s.offset += by
		s.dirty = true
		return nil
	})
}

func (s *Station) scheduleHeartbeat() {
	s.off("heartbeat")
	every := s.keys.Seconds(keys.HeartbeatInterval)
	if every <= 0 || !s.accepted() {
		return
	}
	s.in("heartbeat", every, func() {
		s.heartbeat()
		s.scheduleHeartbeat()
	})
}

func (s *Station) heartbeat() *call {
	for _, c := range s.calls { // one that waits is enough
		if c.action == ocpp16.ActionHeartbeat {
			return c
		}
	}
	return s.say(&ocpp16.HeartbeatRequest{}, func(answer ocpp16.Response, err error) {
		if resp, ok := answer.(*ocpp16.HeartbeatResponse); ok && err == nil {
			s.setClock(resp.CurrentTime.Time)
		}
	})
}

// reset carries out a Reset.req, §5.14.
func (s *Station) reset(kind ocpp16.ResetType) {
	s.resetting = kind
	reason := ocpp16.ReasonSoftReset
	if kind == ocpp16.ResetTypeHard {
		reason = ocpp16.ReasonHardReset
	}
	for _, c := range s.connectors {
		if s.running(c) != nil {
			s.stop(c, reason, "")
		}
	}
	if kind == ocpp16.ResetTypeHard { // messages go out after the start
		s.in("reset", 100*time.Millisecond, func() { s.reboot("hard reset") })
		return
	}
	// A soft one says goodbye in order first.
	deadline := time.Now().Add(resetPatience)
	var wait func()
	wait = func() {
		busy := len(s.state.Queue) > 0 || len(s.calls) > 0 || s.pending != nil
		if busy && time.Now().Before(deadline) && s.accepted() {
			s.in("reset", 100*time.Millisecond, wait)
			return
		}
		s.reboot("soft reset")
	}
	s.in("reset", 100*time.Millisecond, wait)
}
