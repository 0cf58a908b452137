package main

import (
	"slices"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp1.6/smartcharging"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
)

// installed is a charging profile and when it came; connector 0 stands for all.
type installed struct {
	connector int
	at        time.Time
	profile   *types.ChargingProfile
}

func (c *charger) OnSetChargingProfile(r *smartcharging.SetChargingProfileRequest) (*smartcharging.SetChargingProfileConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(r.ConnectorId)
	running := k != nil && k.running != nil
	tx := r.ChargingProfile.ChargingProfilePurpose == types.ChargingProfilePurposeTxProfile
	// OCPP 1.6 §5.16.2: a TxProfile needs a transaction to belong to
	if (k == nil && r.ConnectorId != 0) || (tx && !running) {
		return answered(c, r, smartcharging.NewSetChargingProfileConfirmation(smartcharging.ChargingProfileStatusRejected))
	}
	c.profiles = slices.DeleteFunc(c.profiles, func(p installed) bool {
		same := p.profile.StackLevel == r.ChargingProfile.StackLevel &&
			p.profile.ChargingProfilePurpose == r.ChargingProfile.ChargingProfilePurpose && p.connector == r.ConnectorId
		return same || p.profile.ChargingProfileId == r.ChargingProfile.ChargingProfileId
	})
	c.profiles = append(c.profiles, installed{connector: r.ConnectorId, at: time.Now(), profile: r.ChargingProfile})
	return answered(c, r, smartcharging.NewSetChargingProfileConfirmation(smartcharging.ChargingProfileStatusAccepted))
}

func (c *charger) OnClearChargingProfile(r *smartcharging.ClearChargingProfileRequest) (*smartcharging.ClearChargingProfileConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.profiles)
	c.profiles = slices.DeleteFunc(c.profiles, func(p installed) bool {
		if r.Id != nil {
			return p.profile.ChargingProfileId == *r.Id
		}
		return (r.ConnectorId == nil || p.connector == *r.ConnectorId) &&
			(r.ChargingProfilePurpose == "" || p.profile.ChargingProfilePurpose == r.ChargingProfilePurpose) &&
			(r.StackLevel == nil || p.profile.StackLevel == *r.StackLevel)
	})
	status := smartcharging.ClearChargingProfileStatusUnknown
	if len(c.profiles) < before {
		status = smartcharging.ClearChargingProfileStatusAccepted
	}
	return answered(c, r, smartcharging.NewClearChargingProfileConfirmation(status))
}

// OnGetCompositeSchedule answers with the limit in force now, for the whole
// duration: one period is a schedule, if a plain one.
func (c *charger) OnGetCompositeSchedule(r *smartcharging.GetCompositeScheduleRequest) (*smartcharging.GetCompositeScheduleConfirmation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.ConnectorId != 0 && c.at(r.ConnectorId) == nil {
		return answered(c, r, smartcharging.NewGetCompositeScheduleConfirmation(smartcharging.GetCompositeScheduleStatusRejected))
	}
	limit := c.limitA(r.ConnectorId)
	unit := types.ChargingRateUnitAmperes
	if r.ChargingRateUnit == types.ChargingRateUnitWatts {
		unit, limit = types.ChargingRateUnitWatts, 3*voltageV*limit
	}
	schedule := types.NewChargingSchedule(unit, types.NewChargingSchedulePeriod(0, limit))
	schedule.Duration = &r.Duration
	answer := smartcharging.NewGetCompositeScheduleConfirmation(smartcharging.GetCompositeScheduleStatusAccepted)
	answer.ConnectorId = &r.ConnectorId
	answer.ScheduleStart = types.Now()
	answer.ChargingSchedule = schedule
	return answered(c, r, answer)
}

// dropTxProfiles forgets what belonged to an ended transaction. The lock is
// held.
func (c *charger) dropTxProfiles(number int) {
	c.profiles = slices.DeleteFunc(c.profiles, func(p installed) bool {
		return p.connector == number && p.profile.ChargingProfilePurpose == types.ChargingProfilePurposeTxProfile
	})
}

// currentA is what the car draws of each phase. The lock is held.
func (c *charger) currentA(number int) float64 { return min(carCurrentA, c.limitA(number)) }

// limitA is the limit in force per phase: a TxProfile goes before a
// TxDefaultProfile, the higher stack level before the lower, and the maximum
// of the charge point bounds both. The lock is held.
func (c *charger) limitA(number int) float64 {
	const cableA = 32.0
	best := map[types.ChargingProfilePurposeType]installed{}
	now := time.Now()
	for _, p := range c.profiles {
		if p.connector != 0 && p.connector != number {
			continue
		}
		if _, ok := limitNow(p, now); !ok {
			continue
		}
		purpose := p.profile.ChargingProfilePurpose
		if old, ok := best[purpose]; !ok || p.profile.StackLevel > old.profile.StackLevel {
			best[purpose] = p
		}
	}
	limit := cableA
	for _, purpose := range []types.ChargingProfilePurposeType{types.ChargingProfilePurposeTxProfile, types.ChargingProfilePurposeTxDefaultProfile} {
		if p, ok := best[purpose]; ok {
			a, _ := limitNow(p, now)
			limit = min(limit, a)
			break
		}
	}
	if p, ok := best[types.ChargingProfilePurposeChargePointMaxProfile]; ok {
		a, _ := limitNow(p, now)
		limit = min(limit, a)
	}
	return limit
}

// limitNow is the limit in ampere per phase that a profile sets now; false
// means that it is not in force.
func limitNow(p installed, now time.Time) (float64, bool) {
	s := p.profile.ChargingSchedule
	begin := p.at
	if p.profile.ChargingProfileKind != types.ChargingProfileKindRelative && s.StartSchedule != nil {
		begin = s.StartSchedule.Time
	}
	if p.profile.ChargingProfileKind == types.ChargingProfileKindRecurring {
		period := 24 * time.Hour
		if p.profile.RecurrencyKind == types.RecurrencyKindWeekly {
			period = 7 * 24 * time.Hour
		}
		if now.After(begin) {
			begin = begin.Add(now.Sub(begin).Truncate(period))
		}
	}
	after := now.Sub(begin)
	switch {
	case after < 0,
		p.profile.ValidFrom != nil && now.Before(p.profile.ValidFrom.Time),
		p.profile.ValidTo != nil && now.After(p.profile.ValidTo.Time),
		s.Duration != nil && after > time.Duration(*s.Duration)*time.Second:
		return 0, false
	}
	limit, phases, found := 0.0, 3, false
	for _, period := range s.ChargingSchedulePeriod {
		if after >= time.Duration(period.StartPeriod)*time.Second {
			limit, found = period.Limit, true
			if period.NumberPhases != nil {
				phases = *period.NumberPhases
			}
		}
	}
	if s.ChargingRateUnit == types.ChargingRateUnitWatts {
		limit /= voltageV * float64(max(1, phases))
	}
	return limit, found
}
