package v201

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// What a model may turn out to lack, and the numbers that it tells.
const (
	featureComposite = ocpp201.ActionGetCompositeSchedule
	featureProfiles  = ocpp201.ActionGetChargingProfiles
	numberAsked      = "smart charging asked" // 1: its variables have been read
	numberLevel      = "ProfileStackLevel"
)

// The stack levels of our profiles, where the station goes that high. Profiles of
// one purpose, on one EVSE and the whole station, may not share a level: OCPP
// 2.0.1 K01.FR.06, K01.FR.39, K01.FR.52, K01.FR.53.
const (
	levelDefault = 0 // what the station is to keep on its own
	levelStart   = 1 // the limit that a session was started with
	levelStation = 1 // limits on EVSE 0
	levelEVSE    = 2 // limits on one EVSE
)

// shape is one way to put a limit on an EVSE.
type shape struct {
	purpose ocpp201.ChargingProfilePurpose
	evse    int
}

// feature names the shape in the memory of a model.
func (s shape) feature() string {
	if s.evse == 0 {
		return string(s.purpose) + " on 0"
	}
	return string(s.purpose)
}

// profileID is the id of our profile of a shape: always the same, so that the next
// one takes its place. OCPP 2.0.1 K01.FR.05.
func profileID(purpose ocpp201.ChargingProfilePurpose, evse int, byDefault bool) int64 {
	id := int64(evse)*8 + 1
	switch purpose {
	case ocpp201.ChargingProfilePurposeTxDefaultProfile:
		id++
	case ocpp201.ChargingProfilePurposeTxProfile:
		id += 2
	}
	if byDefault {
		id += 4
	}
	return id
}

// shapes lists the ways to limit what the order is about, the best one first.
// OCPP 2.0.1 K01: a limit of the whole station is a ChargingStationMaxProfile on
// EVSE 0; some take only a TxDefaultProfile there. An EVSE has a
// TxDefaultProfile, which holds for the running transaction too (K01.FR.32), and
// where that has a profile of its own, its TxProfile (K02.FR.04).
func (j *errand) shapes() []shape {
	var all []shape
	if n := j.Order.EVSE; j.Order.Default {
		// It is to hold when nobody tells the station anything.
		all = []shape{{ocpp201.ChargingProfilePurposeTxDefaultProfile, n}, {ocpp201.ChargingProfilePurposeChargingStationMaxProfile, 0}}
	} else if n == 0 {
		all = []shape{{ocpp201.ChargingProfilePurposeChargingStationMaxProfile, 0}, {ocpp201.ChargingProfilePurposeTxDefaultProfile, 0}}
	} else {
		all = []shape{{ocpp201.ChargingProfilePurposeTxDefaultProfile, n}}
		if j.Order.Transaction != "" {
			all = append(all, shape{ocpp201.ChargingProfilePurposeTxProfile, n})
		}
	}
	all = j.preferred(all)
	memory := j.memory()
	able := slices.DeleteFunc(slices.Clone(all), func(s shape) bool { return !memory.Can(s.feature()) })
	if len(able) == 0 { // it may have learned
		return all
	}
	return able
}

// preferred orders shapes as the station profile says, and leaves out what it does
// not name; all of them stay where it names none that fits.
func (j *errand) preferred(all []shape) []shape {
	var out []shape
	for _, name := range j.c.Profile().LimitPurposes {
		if name == "ChargePointMaxProfile" { // the word of 1.6
			name = string(ocpp201.ChargingProfilePurposeChargingStationMaxProfile)
		}
		for _, s := range all {
			if string(s.purpose) == name {
				out = append(out, s)
			}
		}
	}
	if len(out) == 0 {
		return all
	}
	return out
}

// quotas lists the units in which to try a limit, that of the command first.
func (j *errand) quotas(p *event.SetLimitParams) []job.Quota {
	profile := j.c.Profile()
	all := job.Quotas(p, profile.MinimumA, j.memory())
	if only := slices.DeleteFunc(slices.Clone(all), func(q job.Quota) bool { return q.Unit != profile.LimitUnit }); len(only) > 0 {
		return only
	}
	return all
}

// learnSmartCharging asks the station once for what its profiles may be.
func (j *errand) learnSmartCharging() {
	memory := j.memory()
	if _, asked := memory.Number(numberAsked); asked {
		return
	}
	values, err := j.ask(variable("SmartChargingCtrlr", "RateUnit", ""), variable("SmartChargingCtrlr", "ProfileStackLevel", ""))
	if err != nil {
		return // without it, trying shows
	}
	memory.Learn(numberAsked, 1)
	for _, r := range values {
		switch {
		case strings.EqualFold(r.Variable.Name, "RateUnit"):
			memory.LearnUnits(r.AttributeValue)
		case strings.EqualFold(r.Variable.Name, "ProfileStackLevel"):
			if n, err := strconv.Atoi(strings.TrimSpace(r.AttributeValue)); err == nil && n >= 0 {
				memory.Learn(numberLevel, n)
			}
		}
	}
}

// atMost is a stack level, or the highest that the station has.
func (j *errand) atMost(level int) int64 {
	if n, ok := j.memory().Number(numberLevel); ok {
		return int64(min(n, level))
	}
	return int64(level)
}

// level is the stack level of our profile of a shape.
func (j *errand) level(s shape) int64 {
	switch {
	case j.Order.Default:
		return levelDefault
	case s.evse == 0:
		return j.atMost(levelStation)
	}
	return j.atMost(levelEVSE)
}

// limitResult tells how a limit was put.
type limitResult struct {
	Purpose  string   `json:"purpose"`
	EVSE     int      `json:"evse"`
	Profile  int64    `json:"profile"`
	Unit     string   `json:"unit"`
	Limit    float64  `json:"limit"`
	ReadBack *float64 `json:"read_back,omitempty"` // in Unit
}

// setLimit tries the ways to put a limit until one of them holds.
func (j *errand) setLimit(p *event.SetLimitParams) (site.Outcome, error) {
	if (p.LimitA == nil) == (p.LimitW == nil) {
		return job.Rejectedf("expected one of limit_a and limit_w"), nil
	}
	if !j.Order.Standing && !p.Until.After(j.c.Now()) {
		return job.Rejectedf("until: expected a time to come, got %s", p.Until.Format(time.RFC3339)), nil
	}
	j.learnSmartCharging()
	memory := j.memory()
	var last, unheld site.Outcome
	for _, s := range j.shapes() {
		for _, q := range j.quotas(p) {
			word, why, err := j.setProfile(s, q, p.Until)
			if err != nil {
				if !job.Lacking(err) {
					return site.Outcome{}, err
				}
				word, why = "NotSupported", err.Error()
			}
			if job.VerdictOf(word) != job.Accepted {
				last = job.Judge(word, event.StateAccepted, why)
				continue
			}
			if q.Note != "" { // the unit of the command was refused, this one was not
				memory.Cannot(q.OtherUnit())
			}
			o := j.checkLimit(s, q)
			if o.State != event.StateFailed {
				return q.Instead(o), nil
			}
			last, unheld = o, o
			break // taken and not held to: the unit is not what is wrong
		}
		if last.State == event.StateUnsupported || last.State == event.StateRejected {
			memory.Cannot(s.feature())
		}
	}
	if unheld.State != "" { // says more than that other ways are not there
		return unheld, nil
	}
	return last, nil
}

// setProfile sends one profile and returns the status word, and what was said
// beside it. One with an end ends by itself: a limit is a lease, even when the
// gateway dies. A profile of somebody else that stands in its place is removed.
func (j *errand) setProfile(s shape, q job.Quota, until time.Time) (word, why string, err error) {
	now := j.c.Now()
	profile := ocpp201.ChargingProfile{
		ID:                     profileID(s.purpose, s.evse, j.Order.Default),
		StackLevel:             j.level(s),
		ChargingProfilePurpose: s.purpose,
		ChargingProfileKind:    ocpp201.ChargingProfileKindAbsolute,
		ChargingSchedule: []ocpp201.ChargingSchedule{{
			ID: 1, StartSchedule: lenient.At(now.Truncate(time.Second)), // K01.FR.40
			ChargingRateUnit:       ocpp201.ChargingRateUnit(q.Unit),
			ChargingSchedulePeriod: []ocpp201.ChargingSchedulePeriod{{Limit: job.Decimal(q.Value)}},
		}},
	}
	if !until.IsZero() {
		duration := max(int64(until.Sub(now)/time.Second), 1)
		profile.ChargingSchedule[0].Duration = &duration
		profile.ValidTo = lenient.At(until)
	}
	if s.purpose == ocpp201.ChargingProfilePurposeTxProfile { // K01.FR.03
		if j.Order.Transaction == "" {
			return "Rejected", "no transaction is running", nil
		}
		profile.TransactionID = j.Order.Transaction
	}
	request := &ocpp201.SetChargingProfileRequest{EVSEID: int64(s.evse), ChargingProfile: profile}
	for again := false; ; again = true {
		var answer ocpp201.SetChargingProfileResponse
		if err := j.Call(request, &answer); err != nil {
			return "", "", err
		}
		word, why = string(answer.Status), because(answer.StatusInfo)
		occupied := answer.StatusInfo != nil && strings.EqualFold(answer.StatusInfo.ReasonCode, "DuplicateProfile")
		if !occupied || again || job.VerdictOf(word) == job.Accepted {
			return word, why, nil
		}
		j.c.Log().Info("another charging profile stands in the place of ours, removing it", "purpose", string(s.purpose), "evse", s.evse)
		if err := j.makeRoom(s); err != nil {
			j.c.Log().Info("the other charging profile stays", "err", err)
			return word, why, nil
		}
	}
}

// makeRoom removes the profiles that keep ours from its level. OCPP 2.0.1
// K01.FR.52, K01.FR.53: EVSE 0 and the others are in each other's way. Where we
// have to use one level for both, ours are left alone.
func (j *errand) makeRoom(s shape) error {
	level := j.level(s)
	apart := j.atMost(levelEVSE) != j.atMost(levelStation)
	evse, station := int64(s.evse), int64(0)
	places := []*int64{&evse}
	switch {
	case apart && s.evse != 0:
		places = append(places, &station)
	case apart:
		places = []*int64{nil} // anywhere
	}
	for _, at := range places {
		request := &ocpp201.ClearChargingProfileRequest{ChargingProfileCriteria: &ocpp201.ClearChargingProfile{
			EVSEID: at, ChargingProfilePurpose: s.purpose, StackLevel: &level,
		}}
		if err := j.Call(request, &ocpp201.ClearChargingProfileResponse{}); err != nil {
			return err
		}
	}
	return nil
}

// checkLimit reads back what the station now holds to.
func (j *errand) checkLimit(s shape, q job.Quota) site.Outcome {
	found := limitResult{Purpose: string(s.purpose), EVSE: s.evse, Profile: profileID(s.purpose, s.evse, j.Order.Default), Unit: q.Unit, Limit: q.Value}
	held, unit, err := j.held(s.evse, q.Unit)
	why := ""
	switch {
	case err != nil:
		why = "what it holds to cannot be read back: " + err.Error()
	case held == nil:
		why = "it reads back nothing"
	case unit != q.Unit:
		why = "it reads back another unit: " + unit
	case *held <= q.Value+0.1:
		found.ReadBack = held
		return site.Outcome{State: event.StateSucceeded, Reason: q.Note, Result: job.Result(found)}
	case j.Order.Transaction == "" && s.purpose == ocpp201.ChargingProfilePurposeTxDefaultProfile:
		why = fmt.Sprintf("it reads back %g %s while nobody charges", *held, unit)
	default:
		found.ReadBack = held
		return site.Outcome{State: event.StateFailed, Result: job.Result(found),
			Reason: fmt.Sprintf("the station took the limit of %g %s and holds to %g %s", q.Value, q.Unit, *held, unit)}
	}
	// Whether the profile is there at least.
	installed, err := j.installedLimit(s, q.Unit)
	switch {
	case err != nil:
		return site.Outcome{State: event.StateAccepted, Reason: job.Join(q.Note, "the station took the limit; "+why), Result: job.Result(found)}
	case installed == nil:
		return site.Outcome{State: event.StateFailed, Result: job.Result(found),
			Reason: "the station took the limit, but its profile is not among those that are installed"}
	case *installed > q.Value+0.1:
		found.ReadBack = installed
		return site.Outcome{State: event.StateFailed, Result: job.Result(found),
			Reason: fmt.Sprintf("the station took the limit of %g %s and keeps %g", q.Value, q.Unit, *installed)}
	}
	found.ReadBack = installed
	return site.Outcome{State: event.StateSucceeded, Result: job.Result(found),
		Reason: job.Join(q.Note, "its profile is installed; "+why)}
}

// held returns the limit that an EVSE holds to now; nil where it has none to tell.
// OCPP 2.0.1 K08.
func (j *errand) held(evse int, unit string) (*float64, string, error) {
	const span = 300
	memory := j.memory()
	if !memory.Can(featureComposite) {
		return nil, "", fmt.Errorf("the model does not have %s", featureComposite)
	}
	var answer composite
	err := j.Call(&ocpp201.GetCompositeScheduleRequest{EVSEID: int64(evse), Duration: span, ChargingRateUnit: ocpp201.ChargingRateUnit(unit)}, &answer)
	if err != nil {
		if job.Lacking(err) {
			memory.Cannot(featureComposite)
		}
		return nil, "", err
	}
	if job.VerdictOf(string(answer.Status)) != job.Accepted {
		return nil, "", fmt.Errorf("%s was answered %s", featureComposite, job.Join(string(answer.Status), because(answer.StatusInfo)))
	}
	if answer.Schedule == nil || len(answer.Schedule.ChargingSchedulePeriod) == 0 || answer.unlimited {
		return nil, unit, nil
	}
	// The period that runs now: the schedule may have begun before.
	ahead := int64(0)
	if start := answer.Schedule.ScheduleStart.Time; !start.IsZero() {
		if since := j.c.Now().Sub(start); since > 0 && since < time.Hour {
			ahead = int64(since / time.Second)
		}
	}
	limit := answer.Schedule.ChargingSchedulePeriod[0].Limit
	for _, period := range answer.Schedule.ChargingSchedulePeriod {
		if period.StartPeriod <= ahead {
			limit = period.Limit
		}
	}
	return &limit, string(answer.Schedule.ChargingRateUnit), nil
}

// composite is a composite schedule that may have periods without a limit: 2.1
// allows a setpoint alone.
type composite struct {
	ocpp201.GetCompositeScheduleResponse
	unlimited bool
}

// Decode replaces the answer by what payload says.
func (c *composite) Decode(payload []byte) ([]lenient.Deviation, error) {
	found, err := c.GetCompositeScheduleResponse.Decode(payload)
	wrong := new(lenient.Error)
	if errors.As(err, &wrong) {
		c.unlimited = slices.ContainsFunc(wrong.Problems, func(p lenient.Problem) bool { return strings.HasSuffix(p.Path, ".limit") })
	}
	return found, err
}

// installedLimit returns the limit of our profile of a shape as the station keeps
// it; nil where it does not have the profile. OCPP 2.0.1 K09.
func (j *errand) installedLimit(s shape, unit string) (*float64, error) {
	memory := j.memory()
	if !memory.Can(featureProfiles) {
		return nil, fmt.Errorf("the model does not have %s", featureProfiles)
	}
	id := profileID(s.purpose, s.evse, j.Order.Default)
	evse := int64(s.evse)
	request := &ocpp201.GetChargingProfilesRequest{
		RequestID: int64(j.newRequest()), EVSEID: &evse,
		ChargingProfile: ocpp201.ChargingProfileCriterion{ChargingProfileID: []int64{id}},
	}
	var limit *float64
	var answer ocpp201.GetChargingProfilesResponse
	err := j.collect(ocpp201.ActionReportChargingProfiles, int(request.RequestID), func() (bool, error) {
		err := j.Call(request, &answer)
		return err == nil && job.VerdictOf(string(answer.Status)) == job.Accepted, err
	}, func(message any) {
		m, ok := message.(*ocpp201.ReportChargingProfilesRequest)
		if !ok {
			return
		}
		for i := range m.ChargingProfile {
			p := &m.ChargingProfile[i]
			if p.ID != id {
				continue
			}
			for k := range p.ChargingSchedule {
				if c := &p.ChargingSchedule[k]; string(c.ChargingRateUnit) == unit && len(c.ChargingSchedulePeriod) > 0 {
					v := c.ChargingSchedulePeriod[0].Limit
					limit = &v
				}
			}
		}
	})
	if err != nil {
		if job.Lacking(err) {
			memory.Cannot(featureProfiles)
		}
		return nil, err
	}
	if answer.Status.Fold() == ocpp201.GetChargingProfileStatusNoProfiles || job.VerdictOf(string(answer.Status)) == job.Accepted {
		return limit, nil
	}
	return nil, fmt.Errorf("%s was answered %s", featureProfiles, answer.Status)
}

// clearLimit removes our profiles of what the order is about. "Unknown" says that
// there was none, which is as good. OCPP 2.0.1 K10.
func (j *errand) clearLimit() (site.Outcome, error) {
	j.learnSmartCharging()
	cleared := 0
	var last site.Outcome
	shapes := j.shapes()
	if n := j.Order.EVSE; n != 0 && j.Order.Transaction == "" { // one may be left of a transaction that the site no longer has
		shapes = append(shapes, shape{ocpp201.ChargingProfilePurposeTxProfile, n})
	}
	for _, s := range shapes {
		level, evse := j.level(s), int64(s.evse)
		request := &ocpp201.ClearChargingProfileRequest{ChargingProfileCriteria: &ocpp201.ClearChargingProfile{
			EVSEID: &evse, ChargingProfilePurpose: s.purpose, StackLevel: &level,
		}}
		var answer ocpp201.ClearChargingProfileResponse
		if err := j.Call(request, &answer); err != nil {
			if !job.Lacking(err) {
				return site.Outcome{}, err
			}
			last = j.Failure(err)
			continue
		}
		if answer.Status.Fold() == ocpp201.ClearChargingProfileStatusUnknown || job.VerdictOf(string(answer.Status)) == job.Accepted {
			cleared++
			continue
		}
		last = job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo))
	}
	if cleared == 0 {
		return last, nil
	}
	return site.Outcome{State: event.StateSucceeded}, nil
}

// schedule is the answer to get_limit.
type schedule struct {
	Unit    string           `json:"unit"`
	Start   *time.Time       `json:"start,omitempty"`
	Periods []schedulePeriod `json:"periods"`
}

type schedulePeriod struct {
	StartS int64   `json:"start_s"`
	Limit  float64 `json:"limit"`
	Phases *int64  `json:"phases,omitempty"`
}

func (j *errand) getLimit(p *event.GetLimitParams) (site.Outcome, error) {
	request := &ocpp201.GetCompositeScheduleRequest{EVSEID: int64(j.Order.EVSE), Duration: 3600}
	if p.DurationS > 0 {
		request.Duration = int64(p.DurationS)
	}
	switch p.Unit {
	case "":
	case job.Amperes, job.Watts:
		request.ChargingRateUnit = ocpp201.ChargingRateUnit(p.Unit)
	default:
		return job.Rejectedf("unit: expected A or W, got %q", p.Unit), nil
	}
	var answer ocpp201.GetCompositeScheduleResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo))
	if o.State != event.StateSucceeded {
		return o, nil
	}
	found := schedule{Unit: p.Unit, Periods: []schedulePeriod{}}
	if s := answer.Schedule; s != nil {
		found.Unit = string(s.ChargingRateUnit)
		for _, period := range s.ChargingSchedulePeriod {
			found.Periods = append(found.Periods, schedulePeriod{period.StartPeriod, period.Limit, period.NumberPhases})
		}
		if t := s.ScheduleStart.Time; !t.IsZero() {
			found.Start = &t
		}
	}
	o.Result = job.Result(found)
	return o, nil
}
