package v16

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// What a model may turn out to lack, and the numbers that it tells.
const (
	featureAmperes   = "A"
	featureWatts     = "W"
	featureComposite = "GetCompositeSchedule"
	numberAsked      = "smart charging asked" // 1: its keys have been read
)

// lineVoltage is the voltage to neutral by which amperes and watts are exchanged
// where a charge point takes only one of them.
const lineVoltage = 230

// stackLevel is the level of our profiles where the charge point does not say
// which is its highest. Level 0 is left for the default of the site.
const stackLevel = 1

// shape is one way to put a limit on a connector.
type shape struct {
	purpose   ocpp16.ChargingProfilePurpose
	connector int64
}

// feature names the shape in the memory of a model.
func (s shape) feature() string {
	if s.connector == 0 {
		return string(s.purpose) + " on 0"
	}
	return string(s.purpose)
}

// shapes lists the ways to limit what the order is about, the best one first.
// OCPP 1.6 §3.13: a limit of the whole charge point is a ChargePointMaxProfile on
// connector 0; some take only a TxDefaultProfile there. A connector has a
// TxDefaultProfile, which holds for the running transaction too, and where that
// is not so, the transaction has its TxProfile.
func (j *job) shapes() []shape {
	var all []shape
	if n := j.at(); j.order.Default {
		// It is to hold when nobody tells the charge point anything.
		all = []shape{{ocpp16.ChargingProfilePurposeTxDefaultProfile, n}, {ocpp16.ChargingProfilePurposeChargePointMaxProfile, 0}}
	} else if n == 0 {
		all = []shape{{ocpp16.ChargingProfilePurposeChargePointMaxProfile, 0}, {ocpp16.ChargingProfilePurposeTxDefaultProfile, 0}}
	} else {
		all = []shape{{ocpp16.ChargingProfilePurposeTxDefaultProfile, n}}
		if j.order.Transaction != "" {
			all = append(all, shape{ocpp16.ChargingProfilePurposeTxProfile, n})
		}
	}
	memory := j.model.Load()
	able := slices.DeleteFunc(slices.Clone(all), func(s shape) bool { return !memory.can(s.feature()) })
	if len(able) == 0 { // it may have learned
		return all
	}
	return able
}

// quota is a limit in a unit of OCPP.
type quota struct {
	unit  ocpp16.ChargingRateUnit
	value float64
	note  string // how it was worked out, if it was

	raised bool    // it is less than the charge point may be held at
	asked  float64 // what was asked for then, in unit
}

// quotas lists the units in which to try a limit, that of the command first. A
// limit in the other unit is worked out so that it is never above what was
// asked for, whatever number of phases charges.
func (j *job) quotas(p *event.SetLimitParams) []quota {
	var all []quota
	if p.LimitA != nil {
		w := *p.LimitA * lineVoltage
		all = []quota{{unit: ocpp16.ChargingRateUnitA, value: *p.LimitA}, {unit: ocpp16.ChargingRateUnitW, value: w,
			note: fmt.Sprintf("the charge point takes watts only: %g A became %g W, as if one phase charged", *p.LimitA, w)}}
	} else {
		a := *p.LimitW / lineVoltage / 3
		all = []quota{{unit: ocpp16.ChargingRateUnitW, value: *p.LimitW}, {unit: ocpp16.ChargingRateUnitA, value: a,
			note: fmt.Sprintf("the charge point takes amperes only: %g W became %.1f A on each of three phases", *p.LimitW, a)}}
	}
	for i := range all {
		all[i].raise(j.c.Config().MinimumA)
	}
	memory := j.model.Load()
	able := slices.DeleteFunc(slices.Clone(all), func(q quota) bool { return !memory.can(string(q.unit)) })
	if len(able) == 0 {
		return all
	}
	return able
}

// raise keeps q from ending the session of a charge point that does so when it is
// held below leastA, on each phase. In watts it is that of one phase: how many
// charge is not known, and more would be further from what was asked for.
func (q *quota) raise(leastA float64) {
	least := leastA
	if q.unit == ocpp16.ChargingRateUnitW {
		least *= lineVoltage
	}
	if q.value < least {
		q.asked, q.value, q.raised = q.value, least, true
	}
}

// instead turns what became of a raised limit into what became of the order:
// less was asked for, and whoever did is told.
func (q *quota) instead(o site.Outcome) site.Outcome {
	if !q.raised || o.State != event.StateSucceeded && o.State != event.StateAccepted {
		return o
	}
	o.State = event.StateFailed
	o.Reason = join(fmt.Sprintf("held at %g %s, the least that the configuration allows this charge point, not at %g %s",
		q.value, q.unit, q.asked, q.unit), o.Reason)
	o.Instead = &event.SetLimitParams{}
	if q.unit == ocpp16.ChargingRateUnitA {
		o.Instead.LimitA = &q.value
	} else {
		o.Instead.LimitW = &q.value
	}
	return o
}

// learnSmartCharging asks the charge point once for what its profiles may be.
func (j *job) learnSmartCharging() {
	memory := j.model.Load()
	if _, asked := memory.number(numberAsked); asked {
		return
	}
	values, _, err := j.ask(keyRateUnit, keyMaxStackLevel)
	if err != nil {
		return // without it, trying shows
	}
	memory.learn(numberAsked, 1)
	for _, kv := range values {
		switch {
		case strings.EqualFold(kv.Key, keyRateUnit):
			amperes, watts := rateUnits(kv.Value)
			if amperes && !watts {
				memory.cannot(featureWatts)
			}
			if watts && !amperes {
				memory.cannot(featureAmperes)
			}
		case strings.EqualFold(kv.Key, keyMaxStackLevel):
			if n, err := strconv.Atoi(strings.TrimSpace(kv.Value)); err == nil && n >= 0 {
				memory.learn(keyMaxStackLevel, n)
			}
		}
	}
}

// level is the stack level of our profiles: 0 for what the charge point is to
// keep on its own, above it for what rules now.
func (j *job) level() int64 {
	if j.order.Default {
		return 0
	}
	if n, ok := j.model.Load().number(keyMaxStackLevel); ok {
		return int64(min(n, stackLevel))
	}
	return stackLevel
}

// limitResult tells how a limit was put.
type limitResult struct {
	Purpose   string   `json:"purpose"`
	Connector int64    `json:"connector"`
	Unit      string   `json:"unit"`
	Limit     float64  `json:"limit"`
	ReadBack  *float64 `json:"read_back,omitempty"` // in Unit
}

// setLimit tries the ways to put a limit until one of them holds.
func (j *job) setLimit(p *event.SetLimitParams) (site.Outcome, error) {
	if (p.LimitA == nil) == (p.LimitW == nil) {
		return rejected("expected one of limit_a and limit_w"), nil
	}
	if !j.order.Standing && !p.Until.After(j.c.Now()) {
		return rejected("until: expected a time to come, got %s", p.Until.Format(time.RFC3339)), nil
	}
	j.learnSmartCharging()
	memory := j.model.Load()
	var last site.Outcome
	for _, s := range j.shapes() {
		for _, q := range j.quotas(p) {
			word, err := j.setProfile(s, q, p.Until)
			if err != nil {
				if !lacking(err) {
					return site.Outcome{}, err
				}
				word = "NotSupported"
			}
			if verdictOf(word) != accepted {
				last = judge(word, event.StateAccepted)
				continue
			}
			if q.note != "" { // the unit of the command was refused, this one was not
				memory.cannot(string(otherUnit(q.unit)))
			}
			o := j.checkLimit(s, q)
			if o.State != event.StateFailed {
				return q.instead(o), nil
			}
			last = o
			break // taken and not held to: the unit is not what is wrong
		}
		if last.State == event.StateUnsupported || last.State == event.StateRejected {
			memory.cannot(s.feature())
		}
	}
	return last, nil
}

func otherUnit(u ocpp16.ChargingRateUnit) ocpp16.ChargingRateUnit {
	if u == ocpp16.ChargingRateUnitA {
		return ocpp16.ChargingRateUnitW
	}
	return ocpp16.ChargingRateUnitA
}

// setProfile sends one profile and returns the status word. One with an end ends
// by itself: a limit is a lease, even when the gateway dies.
func (j *job) setProfile(s shape, q quota, until time.Time) (string, error) {
	now := j.c.Now()
	profile := ocpp16.ChargingProfile{
		ChargingProfileID:      int64(j.order.Request),
		StackLevel:             j.level(),
		ChargingProfilePurpose: s.purpose,
		ChargingProfileKind:    ocpp16.ChargingProfileKindAbsolute,
		ChargingSchedule: ocpp16.ChargingSchedule{
			StartSchedule:          lenient.At(now.Truncate(time.Second)),
			ChargingRateUnit:       q.unit,
			ChargingSchedulePeriod: []ocpp16.ChargingSchedulePeriod{{Limit: q.value}},
		},
	}
	if !until.IsZero() {
		duration := seconds(until.Sub(now))
		profile.ChargingSchedule.Duration = &duration
		profile.ValidTo = lenient.At(until)
	}
	if s.purpose == ocpp16.ChargingProfilePurposeTxProfile {
		id, err := strconv.ParseInt(j.order.Transaction, 10, 64)
		if err != nil {
			return "Rejected", nil
		}
		profile.TransactionID = &id
	}
	request := &ocpp16.SetChargingProfileRequest{ConnectorID: s.connector, CsChargingProfiles: rounded(profile)}
	var answer ocpp16.SetChargingProfileResponse
	if err := j.call(request, &answer); err != nil {
		return "", err
	}
	return string(answer.Status), nil
}

// rounded returns the profile with limits of one decimal, worked out in decimals:
// a charge point that checks multipleOf 0.1 refuses 16.000000000000004.
func rounded(p ocpp16.ChargingProfile) ocpp16.ChargingProfile {
	for i := range p.ChargingSchedule.ChargingSchedulePeriod {
		period := &p.ChargingSchedule.ChargingSchedulePeriod[i]
		text := lenient.AppendDecimal(nil, period.Limit, 1)
		if limit, err := strconv.ParseFloat(string(text), 64); err == nil {
			period.Limit = limit
		}
	}
	return p
}

// checkLimit reads back what the charge point now holds to.
func (j *job) checkLimit(s shape, q quota) site.Outcome {
	found := limitResult{Purpose: string(s.purpose), Connector: s.connector, Unit: string(q.unit), Limit: q.value}
	unchecked := func(why string) site.Outcome {
		return site.Outcome{State: event.StateAccepted, Reason: join(q.note, "the charge point took the limit; "+why), Result: result(found)}
	}
	held, unit, err := j.held(s.connector, q.unit)
	switch {
	case err != nil:
		return unchecked("it cannot be read back: " + err.Error())
	case held == nil:
		return unchecked("it reads back nothing")
	case unit != q.unit:
		return unchecked("it reads back another unit: " + string(unit))
	}
	found.ReadBack = held
	if *held <= q.value+0.1 {
		return site.Outcome{State: event.StateSucceeded, Reason: q.note, Result: result(found)}
	}
	if j.order.Transaction == "" && s.purpose == ocpp16.ChargingProfilePurposeTxDefaultProfile {
		return unchecked(fmt.Sprintf("it reads back %g %s while nobody charges", *held, unit))
	}
	return site.Outcome{State: event.StateFailed, Result: result(found),
		Reason: fmt.Sprintf("the charge point took the limit of %g %s and holds to %g %s", q.value, q.unit, *held, unit)}
}

func join(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(n string) bool { return n == "" }), "; ")
}

// held returns the limit that a connector holds to now; nil where it has none to
// tell.
func (j *job) held(connector int64, unit ocpp16.ChargingRateUnit) (*float64, ocpp16.ChargingRateUnit, error) {
	const span = 300
	memory := j.model.Load()
	if !memory.can(featureComposite) {
		return nil, "", fmt.Errorf("the model does not have %s", featureComposite)
	}
	var answer ocpp16.GetCompositeScheduleResponse
	err := j.call(&ocpp16.GetCompositeScheduleRequest{ConnectorID: connector, Duration: span, ChargingRateUnit: unit}, &answer)
	if err != nil {
		if lacking(err) {
			memory.cannot(featureComposite)
		}
		return nil, "", err
	}
	if verdictOf(string(answer.Status)) != accepted {
		return nil, "", fmt.Errorf("%s was answered %s", featureComposite, answer.Status)
	}
	if answer.ChargingSchedule == nil || len(answer.ChargingSchedule.ChargingSchedulePeriod) == 0 {
		return nil, unit, nil
	}
	// The period that runs now: the schedule may have begun before.
	ahead := int64(0)
	start := answer.ScheduleStart
	if start.IsZero() {
		start = answer.ChargingSchedule.StartSchedule
	}
	if !start.Time.IsZero() {
		if since := j.c.Now().Sub(start.Time); since > 0 && since < time.Hour {
			ahead = int64(since / time.Second)
		}
	}
	periods := answer.ChargingSchedule.ChargingSchedulePeriod
	limit := periods[0].Limit
	for _, period := range periods {
		if period.StartPeriod <= ahead {
			limit = period.Limit
		}
	}
	return &limit, answer.ChargingSchedule.ChargingRateUnit, nil
}

// clearLimit removes our profiles of what the order is about. "Unknown" says that
// there was none, which is as good.
func (j *job) clearLimit() (site.Outcome, error) {
	j.learnSmartCharging()
	level := j.level()
	cleared := 0
	var last site.Outcome
	shapes := j.shapes()
	if n := j.at(); n != 0 && j.order.Transaction == "" { // one may be left of a transaction that the site no longer has
		shapes = append(shapes, shape{ocpp16.ChargingProfilePurposeTxProfile, n})
	}
	for _, s := range shapes {
		var answer ocpp16.ClearChargingProfileResponse
		err := j.call(&ocpp16.ClearChargingProfileRequest{ConnectorID: &s.connector, ChargingProfilePurpose: s.purpose, StackLevel: &level}, &answer)
		if err != nil {
			if !lacking(err) {
				return site.Outcome{}, err
			}
			last = j.failure(err)
			continue
		}
		if answer.Status.Fold() == ocpp16.ClearChargingProfileStatusUnknown || verdictOf(string(answer.Status)) == accepted {
			cleared++
			continue
		}
		last = judge(string(answer.Status), event.StateSucceeded)
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

func (j *job) getLimit(p *event.GetLimitParams) (site.Outcome, error) {
	request := &ocpp16.GetCompositeScheduleRequest{ConnectorID: j.at(), Duration: 3600}
	if p.DurationS > 0 {
		request.Duration = int64(p.DurationS)
	}
	switch p.Unit {
	case "":
	case featureAmperes, featureWatts:
		request.ChargingRateUnit = ocpp16.ChargingRateUnit(p.Unit)
	default:
		return rejected("unit: expected A or W, got %q", p.Unit), nil
	}
	var answer ocpp16.GetCompositeScheduleResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := judge(string(answer.Status), event.StateSucceeded)
	if o.State != event.StateSucceeded {
		return o, nil
	}
	found := schedule{Unit: p.Unit, Periods: []schedulePeriod{}}
	if s := answer.ChargingSchedule; s != nil {
		found.Unit = string(s.ChargingRateUnit)
		for _, period := range s.ChargingSchedulePeriod {
			found.Periods = append(found.Periods, schedulePeriod{period.StartPeriod, period.Limit, period.NumberPhases})
		}
	}
	if t := answer.ScheduleStart.Time; !t.IsZero() {
		found.Start = &t
	}
	o.Result = result(found)
	return o, nil
}
