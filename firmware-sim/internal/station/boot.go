package station

import (
	"context"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

const (
	// bootRetry is the wait after a BootNotification that was not answered, or
	// refused without an interval (§4.2: the charge point chooses).
	bootRetry = 30 * time.Second
	// resetPatience is how long a soft reset waits for its StopTransactions to
	// be answered.
	resetPatience = 15 * time.Second
)

// powerOn is the start of the firmware.
func (s *Station) powerOn() {
	if s.Powered {
		return
	}
	s.Powered, s.fresh = true, true
	s.Registration = ""
	s.boardStatus = report{}
	for _, c := range s.connectors {
		c.wake()
	}
	s.expireReservations()
	s.scheduleAligned()
	s.In("tick", s.tickDelay(), s.tick)
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
	s.interrupted(s.state.Alive)
	s.Powered = false
	s.DropLink("", false)
	s.forget()
	s.Log.Info("power is off")
}

// forget loses what is in RAM.
func (s *Station) forget() {
	s.Forget()
	s.resetting = ""
	s.firmware.end()
	s.upload.end()
	s.noSecurity, s.conflict = false, false
	for _, c := range s.connectors {
		c.sleep()
	}
}

// reboot is an orderly start anew: the application ends and begins.
func (s *Station) reboot(why string) {
	s.Log.Info("starting anew", "because", why)
	s.DropLink(why, true)
	s.advanceAll()
	s.state.Alive = s.Now()
	s.Powered = false
	s.forget()
	s.powerOn()
}

// SetPower takes the mains away from the charge point, or gives it back.
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
func (s *Station) Boot() {
	s.Off("boot")
	if s.Busy(ocpp16.ActionBootNotification) || !s.Connected() {
		return
	}
	c := s.say(&ocpp16.BootNotificationRequest{
		ChargePointVendor: s.cfg.Vendor, ChargePointModel: s.cfg.Model, ChargePointSerialNumber: cutText(s.cfg.Identity, 25),
		FirmwareVersion: s.state.Firmware, MeterType: "simulated",
	}, s.booted)
	c.Early = true
}

func cutText(text string, n int) string {
	r := []rune(text)
	return string(r[:min(n, len(r))])
}

// booted takes the answer to a BootNotification, §4.2.
func (s *Station) booted(answer ocpp16.Response, err error) {
	if err != nil {
		if s.Connected() {
			s.Log.Warn("the BootNotification has no answer", "err", err)
			s.In("boot", bootRetry, s.Boot)
		}
		return
	}
	resp, ok := answer.(*ocpp16.BootNotificationResponse)
	if !ok {
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
		s.keys.Values[keys.HeartbeatInterval] = itoa(resp.Interval)
		s.Dirty()
	}
	s.scheduleHeartbeat()
	if before != charger.Accepted {
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
	if s.SetClock(t) {
		s.scheduleAligned()
	}
}

func (s *Station) scheduleHeartbeat() {
	s.Off("heartbeat")
	every := s.keys.Seconds(keys.HeartbeatInterval)
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
		if c.Action == ocpp16.ActionHeartbeat {
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
		s.In("reset", 100*time.Millisecond, func() { s.reboot("hard reset") })
		return
	}
	// A soft one says goodbye in order first.
	deadline := time.Now().Add(resetPatience)
	var wait func()
	wait = func() {
		busy := len(s.Queue) > 0 || !s.AllSaid()
		if busy && time.Now().Before(deadline) && s.Accepted() {
			s.In("reset", 100*time.Millisecond, wait)
			return
		}
		s.reboot("soft reset")
	}
	s.In("reset", 100*time.Millisecond, wait)
}
