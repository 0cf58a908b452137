package station2

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/schedule"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// unlimited stands for a period without a limit.
const unlimited = 1e6

// sourceCSO is the source of limits that the CSMS sets, sourceEMS that of the
// site's energy management.
const (
	sourceCSO = "CSO"
	sourceEMS = "EMS"
)

// plan is what the installed profiles allow, in sets whose minimum counts (K01).
type plan struct {
	station, external, transactions, priority schedule.Set
}

// plan sorts the installed profiles into sets that package schedule can read.
func (s *Station) plan() plan {
	var p plan
	for _, i := range s.state.Profiles {
		profile, err := decodeProfile(i)
		if err != nil {
			continue // it was checked when it came
		}
		installed := schedule.Installed{Connector: i.EVSE, Received: i.Received, Profile: plain(profile, i.EVSE)}
		set := &p.transactions
		switch profile.ChargingProfilePurpose {
		case ocpp21.ChargingProfilePurposeChargingStationMaxProfile:
			set = &p.station
		case ocpp21.ChargingProfilePurposeChargingStationExternalConstraints:
			set = &p.external
		case ocpp21.ChargingProfilePurposePriorityCharging:
			set = &p.priority
		}
		set.Profiles = append(set.Profiles, installed)
	}
	return p
}

func decodeProfile(i Profile) (ocpp21.ChargingProfile, error) {
	var req ocpp21.SetChargingProfileRequest
	_, err := req.Decode(i.Payload)
	return req.ChargingProfile, err
}

// plain is a profile in the terms of OCPP 1.6, in which package schedule thinks:
// its first schedule, a purpose of the same effect within its set, and no
// transaction, which is known by the EVSE.
func plain(p ocpp21.ChargingProfile, evse int) ocpp16.ChargingProfile {
	out := ocpp16.ChargingProfile{
		ChargingProfileID: p.ID, StackLevel: p.StackLevel, ChargingProfileKind: ocpp16.ChargingProfileKind(p.ChargingProfileKind),
		RecurrencyKind: ocpp16.RecurrencyKind(p.RecurrencyKind), ValidFrom: p.ValidFrom, ValidTo: p.ValidTo,
		ChargingProfilePurpose: ocpp16.ChargingProfilePurposeTxDefaultProfile,
	}
	switch p.ChargingProfilePurpose {
	case ocpp21.ChargingProfilePurposeTxProfile:
		out.ChargingProfilePurpose = ocpp16.ChargingProfilePurposeTxProfile
	case ocpp21.ChargingProfilePurposeChargingStationMaxProfile, ocpp21.ChargingProfilePurposeChargingStationExternalConstraints:
		if evse == 0 {
			out.ChargingProfilePurpose = ocpp16.ChargingProfilePurposeChargePointMaxProfile
		}
	}
	if p.ChargingProfileKind == ocpp21.ChargingProfileKindDynamic {
		out.ChargingProfileKind = ocpp16.ChargingProfileKindAbsolute
	}
	if len(p.ChargingSchedule) == 0 {
		return out
	}
	from := p.ChargingSchedule[0]
	out.ChargingSchedule = ocpp16.ChargingSchedule{
		Duration: from.Duration, StartSchedule: from.StartSchedule, ChargingRateUnit: ocpp16.ChargingRateUnit(from.ChargingRateUnit), MinChargingRate: from.MinChargingRate,
	}
	for _, period := range from.ChargingSchedulePeriod {
		limit := unlimited
		switch {
		case period.Limit != nil && period.Setpoint != nil:
			limit = min(*period.Limit, *period.Setpoint)
		case period.Limit != nil:
			limit = *period.Limit
		case period.Setpoint != nil:
			limit = max(0, *period.Setpoint)
		}
		out.ChargingSchedule.ChargingSchedulePeriod = append(out.ChargingSchedule.ChargingSchedulePeriod, ocpp16.ChargingSchedulePeriod{
			StartPeriod: period.StartPeriod, Limit: limit, NumberPhases: period.NumberPhases,
		})
	}
	return out
}

// limits is what an EVSE may take now: the least of all purposes.
func (s *Station) limits(e *evse) (amps, watts float64) {
	amps, watts = math.Inf(1), math.Inf(1)
	if len(s.state.Profiles) == 0 {
		return amps, watts
	}
	now, p, dc := s.Now(), s.plan(), e.outlet.Supply().DC
	active := 0
	for _, other := range s.evses {
		if other.auth != nil && other.plugged() && other.outlet.Wants() {
			active++
		}
	}
	bound := func(l schedule.Limit, share int) {
		if dc && l.Unit == ocpp16.ChargingRateUnitW {
			watts = min(watts, l.Value/float64(share))
			return
		}
		amps = min(amps, l.Amps()/float64(share))
	}
	for _, set := range []*schedule.Set{&p.station, &p.external} {
		if l, ok := set.Station(now); ok {
			bound(l, max(1, active))
		}
	}
	if l, ok := p.external.Connector(e.id, now, nil); ok {
		bound(l, 1)
	}
	if tx := s.running(e); tx != nil {
		at := &schedule.Transaction{ID: tx.Number, Start: tx.Start}
		l, ok := p.priority.Connector(e.id, now, at)
		if !ok || !s.priority[tx.ID] {
			l, ok = p.transactions.Connector(e.id, now, at)
		}
		if ok {
			bound(l, 1)
		}
	}
	return amps, watts
}

func (s *Station) bounds() schedule.Bounds {
	return schedule.Bounds{MaxStackLevel: s.model.Int(model.ProfileStackLevel), MaxPeriods: s.model.Int(model.PeriodsPerSchedule), MaxInstalled: 50}
}

// checkProfile tells what is wrong with a profile for an EVSE (K01).
func (s *Station) checkProfile(evse int64, p ocpp21.ChargingProfile) error {
	if evse < 0 || evse > int64(len(s.evses)) {
		return fmt.Errorf("there is no EVSE %d", evse)
	}
	switch p.ChargingProfilePurpose {
	case ocpp21.ChargingProfilePurposeChargingStationExternalConstraints:
		return errors.New("ChargingStationExternalConstraints are not for the CSMS to set") // K01.FR.22
	case ocpp21.ChargingProfilePurposeLocalGeneration:
		return errors.New("there is no local generation")
	}
	if p.ChargingProfilePurpose == ocpp21.ChargingProfilePurposeChargingStationMaxProfile && evse != 0 {
		return fmt.Errorf("ChargingStationMaxProfile on EVSE %d: expected 0", evse)
	}
	if err := schedule.Check(int(evse), plain(p, int(evse)), s.bounds()); err != nil {
		return err
	}
	for _, i := range s.state.Profiles { // K01.FR.06, K01.FR.39
		held, err := decodeProfile(i)
		if err != nil || held.ID == p.ID || int64(i.EVSE) != evse || held.ChargingProfilePurpose != p.ChargingProfilePurpose || held.StackLevel != p.StackLevel {
			continue
		}
		if overlap(held, p) {
			return fmt.Errorf("profile %d has this purpose and stack level already", held.ID)
		}
	}
	return nil
}

// overlap tells whether two profiles are valid at the same time.
func overlap(a, b ocpp21.ChargingProfile) bool {
	before := func(to, from ocpp21.ChargingProfile) bool {
		return !to.ValidTo.Time.IsZero() && !from.ValidFrom.Time.IsZero() && !to.ValidTo.Time.After(from.ValidFrom.Time)
	}
	return !before(a, b) && !before(b, a)
}

// setProfile is K01.
func (s *Station) setProfile(req *ocpp21.SetChargingProfileRequest) *ocpp21.SetChargingProfileResponse {
	rejected := func(reason, why string) *ocpp21.SetChargingProfileResponse {
		s.Log.Warn("a charging profile is refused", "profile", req.ChargingProfile.ID, "why", why)
		return &ocpp21.SetChargingProfileResponse{Status: ocpp21.ChargingProfileStatusRejected, StatusInfo: &ocpp21.StatusInfo{ReasonCode: reason, AdditionalInfo: cut(why, 512)}}
	}
	if err := s.checkProfile(req.EVSEID, req.ChargingProfile); err != nil {
		return rejected("InvalidProfile", err.Error())
	}
	if req.ChargingProfile.ChargingProfilePurpose == ocpp21.ChargingProfilePurposeTxProfile {
		tx := s.running(s.evses[req.EVSEID-1])
		if tx == nil || req.ChargingProfile.TransactionID != tx.ID { // K01.FR.03, K01.FR.09
			return rejected("TxNotFound", "no such transaction runs there")
		}
	}
	if len(s.state.Profiles) >= s.bounds().MaxInstalled {
		return rejected("OutOfMemory", "no room for another profile")
	}
	s.install(req.EVSEID, req.ChargingProfile, sourceCSO)
	return &ocpp21.SetChargingProfileResponse{Status: ocpp21.ChargingProfileStatusAccepted}
}

// install keeps a profile; it replaces the one with its id.
func (s *Station) install(evse int64, p ocpp21.ChargingProfile, source string) {
	s.state.Profiles = slices.DeleteFunc(s.state.Profiles, func(i Profile) bool {
		held, err := decodeProfile(i)
		return err != nil || held.ID == p.ID
	})
	payload := (&ocpp21.SetChargingProfileRequest{EVSEID: evse, ChargingProfile: p}).AppendJSON(nil)
	s.state.Profiles = append(s.state.Profiles, Profile{EVSE: int(evse), Received: s.Now(), Source: source, Payload: payload})
	s.Dirty()
}

// endProfiles removes the TxProfiles of a transaction.
func (s *Station) endProfiles(tx string) {
	s.removeProfiles(func(i Profile, p ocpp21.ChargingProfile) bool {
		return p.ChargingProfilePurpose == ocpp21.ChargingProfilePurposeTxProfile && p.TransactionID == tx
	})
}

func (s *Station) removeProfiles(match func(Profile, ocpp21.ChargingProfile) bool) int {
	before := len(s.state.Profiles)
	s.state.Profiles = slices.DeleteFunc(s.state.Profiles, func(i Profile) bool {
		p, err := decodeProfile(i)
		return err != nil || match(i, p)
	})
	if n := before - len(s.state.Profiles); n > 0 {
		s.Dirty()
		return n
	}
	return 0
}

// clearProfiles is K10.
func (s *Station) clearProfiles(req *ocpp21.ClearChargingProfileRequest) ocpp21.ClearChargingProfileStatus {
	n := s.removeProfiles(func(i Profile, p ocpp21.ChargingProfile) bool {
		if i.Source != sourceCSO {
			return false
		}
		if req.ChargingProfileID != nil {
			return p.ID == *req.ChargingProfileID
		}
		c := req.ChargingProfileCriteria
		return c == nil || (c.EVSEID == nil || int64(i.EVSE) == *c.EVSEID) &&
			(c.ChargingProfilePurpose == "" || p.ChargingProfilePurpose == c.ChargingProfilePurpose) && (c.StackLevel == nil || p.StackLevel == *c.StackLevel)
	})
	if n == 0 {
		return ocpp21.ClearChargingProfileStatusUnknown
	}
	return ocpp21.ClearChargingProfileStatusAccepted
}

// reportProfiles is K09: one message for each EVSE and source.
func (s *Station) reportProfiles(req *ocpp21.GetChargingProfilesRequest) (ocpp21.Response, func()) {
	type key struct {
		evse   int
		source string
	}
	found := map[key][]ocpp21.ChargingProfile{}
	var order []key
	for _, i := range s.state.Profiles {
		p, err := decodeProfile(i)
		c := req.ChargingProfile
		if err != nil || req.EVSEID != nil && int64(i.EVSE) != *req.EVSEID ||
			len(c.ChargingProfileID) > 0 && !slices.Contains(c.ChargingProfileID, p.ID) ||
			c.ChargingProfilePurpose != "" && c.ChargingProfilePurpose != p.ChargingProfilePurpose ||
			c.StackLevel != nil && *c.StackLevel != p.StackLevel ||
			len(c.ChargingLimitSource) > 0 && !slices.Contains(c.ChargingLimitSource, i.Source) {
			continue
		}
		k := key{i.EVSE, i.Source}
		if found[k] == nil {
			order = append(order, k)
		}
		found[k] = append(found[k], p)
	}
	if len(order) == 0 {
		return &ocpp21.GetChargingProfilesResponse{Status: ocpp21.GetChargingProfileStatusNoProfiles}, nil
	}
	return &ocpp21.GetChargingProfilesResponse{Status: ocpp21.GetChargingProfileStatusAccepted}, func() {
		for n, k := range order {
			s.say(&ocpp21.ReportChargingProfilesRequest{
				RequestID: req.RequestID, ChargingLimitSource: k.source, ChargingProfile: found[k], EVSEID: int64(k.evse), Tbc: optional(n+1 < len(order)),
			}, nil)
		}
	}
}

// composite is K08.
func (s *Station) composite(req *ocpp21.GetCompositeScheduleRequest) ocpp21.Response {
	if req.EVSEID > int64(len(s.evses)) || req.Duration <= 0 {
		return &ocpp21.GetCompositeScheduleResponse{Status: ocpp21.GenericStatusRejected}
	}
	var tx *schedule.Transaction
	hardware := schedule.Hardware{Phases: 1}
	prior := false
	for _, e := range s.evses {
		if req.EVSEID != 0 && req.EVSEID != int64(e.id) {
			continue
		}
		supply := e.outlet.Supply()
		phases := phasesOf(supply)
		hardware.Phases = max(hardware.Phases, phases)
		hardware.MaxW += mostW(supply)
		hardware.MaxA += mostW(supply) / (schedule.Voltage * float64(phases))
		if t := s.running(e); t != nil && req.EVSEID != 0 {
			tx, prior = &schedule.Transaction{ID: t.Number, Start: t.Start}, s.priority[t.ID]
		}
	}
	now := s.Now().Truncate(time.Second)
	length, unit := time.Duration(req.Duration)*time.Second, ocpp16.ChargingRateUnit(req.ChargingRateUnit)
	p := s.plan()
	sets := []schedule.Set{p.station, p.external, p.transactions}
	if prior && len(p.priority.Profiles) > 0 {
		sets[2] = p.priority
	}
	var parts [][]ocpp16.ChargingSchedulePeriod
	for _, set := range sets {
		c := set.Composite(int(req.EVSEID), now, length, unit, hardware, tx)
		parts, unit = append(parts, c.ChargingSchedulePeriod), c.ChargingRateUnit
	}
	return &ocpp21.GetCompositeScheduleResponse{Status: ocpp21.GenericStatusAccepted, Schedule: &ocpp21.CompositeSchedule{
		EVSEID: req.EVSEID, Duration: req.Duration, ScheduleStart: at(now), ChargingRateUnit: ocpp21.ChargingRateUnit(unit), ChargingSchedulePeriod: least(parts),
	}}
}

// least is the minimum of several schedules.
func least(parts [][]ocpp16.ChargingSchedulePeriod) []ocpp21.ChargingSchedulePeriod {
	var starts []int64
	for _, periods := range parts {
		for _, p := range periods {
			starts = append(starts, p.StartPeriod)
		}
	}
	slices.Sort(starts)
	var out []ocpp21.ChargingSchedulePeriod
	for _, start := range slices.Compact(starts) {
		limit := math.Inf(1)
		for _, periods := range parts {
			value := math.Inf(1)
			for _, p := range periods {
				if p.StartPeriod <= start {
					value = p.Limit
				}
			}
			limit = min(limit, value)
		}
		if n := len(out); n == 0 || *out[n-1].Limit != limit {
			out = append(out, ocpp21.ChargingSchedulePeriod{StartPeriod: start, Limit: &limit})
		}
	}
	return out
}

// externalID is the id of the profile that stands for the limit of an EVSE by the
// site's energy management; they are out of the way of what a CSMS picks.
const externalID = 1_900_000_000

// LimitExternally lets the site's energy management limit an EVSE, or the station
// as a whole for 0, to a current in A; a negative one lifts the limit (K11 to
// K13).
func (s *Station) LimitExternally(ctx context.Context, id int, amps float64) error {
	return s.Do(ctx, func() error {
		if id != 0 && s.evse(int64(id)) == nil {
			return charger.Refused("there is no EVSE %d", id)
		}
		profile := externalID + int64(id)
		n := s.removeProfiles(func(i Profile, p ocpp21.ChargingProfile) bool { return p.ID == profile })
		if amps < 0 {
			if n > 0 {
				s.keep(&ocpp21.ClearedChargingLimitRequest{ChargingLimitSource: sourceEMS, EVSEID: optional(int64(id))})
			}
		} else {
			plan := ocpp21.ChargingSchedule{ID: 1, ChargingRateUnit: ocpp21.ChargingRateUnitA, ChargingSchedulePeriod: []ocpp21.ChargingSchedulePeriod{{Limit: &amps}}}
			s.install(int64(id), ocpp21.ChargingProfile{
				ID: profile, ChargingProfilePurpose: ocpp21.ChargingProfilePurposeChargingStationExternalConstraints,
				ChargingProfileKind: ocpp21.ChargingProfileKindAbsolute, ChargingSchedule: []ocpp21.ChargingSchedule{plan},
			}, sourceEMS)
			req := &ocpp21.NotifyChargingLimitRequest{EVSEID: optional(int64(id)), ChargingLimit: ocpp21.ChargingLimit{ChargingLimitSource: sourceEMS}}
			if s.model.Bool(model.NotifyLimitWithSchedule) {
				req.ChargingSchedule = []ocpp21.ChargingSchedule{plan}
			}
			s.keep(req)
		}
		s.applyLimits()
		for _, e := range s.evses {
			if tx := s.running(e); tx != nil && (id == 0 || id == e.id) {
				s.update(e, tx, happening{trigger: ocpp21.TriggerReasonChargingRateChanged})
			}
		}
		return nil
	})
}
