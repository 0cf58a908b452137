package v16

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// What a model may turn out to lack, and the numbers that it tells.
const (
	featureComposite = "GetCompositeSchedule"
	numberAsked      = "smart charging asked" // 1: its keys have been read
)

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
func (j *errand) shapes() []shape {
	var all []shape
	if n := j.at(); j.Order.Default {
		// It is to hold when nobody tells the charge point anything.
		all = []shape{{ocpp16.ChargingProfilePurposeTxDefaultProfile, n}, {ocpp16.ChargingProfilePurposeChargePointMaxProfile, 0}}
	} else if n == 0 {
		all = []shape{{ocpp16.ChargingProfilePurposeChargePointMaxProfile, 0}, {ocpp16.ChargingProfilePurposeTxDefaultProfile, 0}}
	} else {
		all = []shape{{ocpp16.ChargingProfilePurposeTxDefaultProfile, n}}
		if j.Order.Transaction != "" {
			all = append(all, shape{ocpp16.ChargingProfilePurposeTxProfile, n})
		}
	}
	all = j.preferred(all)
	memory := j.model.Load()
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
		if name == "ChargingStationMaxProfile" { // the word of 2.x
			name = string(ocpp16.ChargingProfilePurposeChargePointMaxProfile)
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
	return job.Quotas(p, j.c.Profile().MinimumA, j.model.Load())
}

// learnSmartCharging asks the charge point once for what its profiles may be.
func (j *errand) learnSmartCharging() {
	memory := j.model.Load()
	if _, asked := memory.Number(numberAsked); asked {
		return
	}
	values, _, err := j.ask(keyRateUnit, keyMaxStackLevel)
	if err != nil {
		return // without it, trying shows
	}
	memory.Learn(numberAsked, 1)
	for _, kv := range values {
		switch {
		case strings.EqualFold(kv.Key, keyRateUnit):
			memory.LearnUnits(kv.Value)
		case strings.EqualFold(kv.Key, keyMaxStackLevel):
			if n, err := strconv.Atoi(strings.TrimSpace(kv.Value)); err == nil && n >= 0 {
				memory.Learn(keyMaxStackLevel, n)
			}
		}
	}
}

// level is the stack level of our profiles: 0 for what the charge point is to
// keep on its own, above it for what rules now.
func (j *errand) level() int64 {
	if j.Order.Default {
		return 0
	}
	if n, ok := j.model.Load().Number(keyMaxStackLevel); ok {
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
func (j *errand) setLimit(p *event.SetLimitParams) (site.Outcome, error) {
	if (p.LimitA == nil) == (p.LimitW == nil) {
		return job.Rejectedf("expected one of limit_a and limit_w"), nil
	}
	if !j.Order.Standing && !p.Until.After(j.c.Now()) {
		return job.Rejectedf("until: expected a time to come, got %s", p.Until.Format(time.RFC3339)), nil
	}
	j.learnSmartCharging()
	memory := j.model.Load()
	var last site.Outcome
	for _, s := range j.shapes() {
		for _, q := range j.quotas(p) {
			word, err := j.setProfile(s, q, p.Until)
			if err != nil {
				if !job.Lacking(err) {
					return site.Outcome{}, err
				}
				word = "NotSupported"
			}
			if job.VerdictOf(word) != job.Accepted {
				last = job.Judge(word, event.StateAccepted)
				continue
			}
			if q.Note != "" { // the unit of the command was refused, this one was not
				memory.Cannot(q.OtherUnit())
			}
			o := j.checkLimit(s, q)
			if o.State != event.StateFailed {
				return q.Instead(o), nil
			}
			last = o
			break // taken and not held to: the unit is not what is wrong
		}
		if last.State == event.StateUnsupported || last.State == event.StateRejected {
			memory.Cannot(s.feature())
		}
	}
	return last, nil
}

// setProfile sends one profile and returns the status word. One with an end ends
// by itself: a limit is a lease, even when the gateway dies.
func (j *errand) setProfile(s shape, q job.Quota, until time.Time) (string, error) {
	now := j.c.Now()
	profile := ocpp16.ChargingProfile{
		ChargingProfileID:      int64(j.Order.Request),
		StackLevel:             j.level(),
		ChargingProfilePurpose: s.purpose,
		ChargingProfileKind:    ocpp16.ChargingProfileKindAbsolute,
		ChargingSchedule: ocpp16.ChargingSchedule{
			StartSchedule:          lenient.At(now.Truncate(time.Second)),
			ChargingRateUnit:       ocpp16.ChargingRateUnit(q.Unit),
			ChargingSchedulePeriod: []ocpp16.ChargingSchedulePeriod{{Limit: q.Value}},
		},
	}
	if !until.IsZero() {
		duration := seconds(until.Sub(now))
		profile.ChargingSchedule.Duration = &duration
		profile.ValidTo = lenient.At(until)
	}
	if s.purpose == ocpp16.ChargingProfilePurposeTxProfile {
		id, err := strconv.ParseInt(j.Order.Transaction, 10, 64)
		if err != nil {
			return "Rejected", nil
		}
		profile.TransactionID = &id
	}
	request := &ocpp16.SetChargingProfileRequest{ConnectorID: s.connector, CsChargingProfiles: rounded(profile)}
	var answer ocpp16.SetChargingProfileResponse
	if err := j.Call(request, &answer); err != nil {
		return "", err
	}
	return string(answer.Status), nil
}

// rounded returns the profile with limits of one decimal.
func rounded(p ocpp16.ChargingProfile) ocpp16.ChargingProfile {
	for i := range p.ChargingSchedule.ChargingSchedulePeriod {
		period := &p.ChargingSchedule.ChargingSchedulePeriod[i]
		period.Limit = job.Decimal(period.Limit)
	}
	return p
}

// checkLimit reads back what the charge point now holds to.
func (j *errand) checkLimit(s shape, q job.Quota) site.Outcome {
	found := limitResult{Purpose: string(s.purpose), Connector: s.connector, Unit: q.Unit, Limit: q.Value}
	unchecked := func(why string) site.Outcome {
		return site.Outcome{State: event.StateAccepted, Reason: job.Join(q.Note, "the charge point took the limit; "+why), Result: job.Result(found)}
	}
	held, unit, err := j.held(s.connector, q.Unit)
	switch {
	case err != nil:
		return unchecked("it cannot be read back: " + err.Error())
	case held == nil:
		return unchecked("it reads back nothing")
	case unit != q.Unit:
		return unchecked("it reads back another unit: " + unit)
	}
	found.ReadBack = held
	if *held <= q.Value+0.1 {
		return site.Outcome{State: event.StateSucceeded, Reason: q.Note, Result: job.Result(found)}
	}
	if j.Order.Transaction == "" && s.purpose == ocpp16.ChargingProfilePurposeTxDefaultProfile {
		return unchecked(fmt.Sprintf("it reads back %g %s while nobody charges", *held, unit))
	}
	return site.Outcome{State: event.StateFailed, Result: job.Result(found),
		Reason: fmt.Sprintf("the charge point took the limit of %g %s and holds to %g %s", q.Value, q.Unit, *held, unit)}
}

// held returns the limit that a connector holds to now; nil where it has none to
// tell.
func (j *errand) held(connector int64, unit string) (*float64, string, error) {
	const span = 300
	memory := j.model.Load()
	if !memory.Can(featureComposite) {
		return nil, "", fmt.Errorf("the model does not have %s", featureComposite)
	}
	var answer ocpp16.GetCompositeScheduleResponse
	err := j.Call(&ocpp16.GetCompositeScheduleRequest{ConnectorID: connector, Duration: span, ChargingRateUnit: ocpp16.ChargingRateUnit(unit)}, &answer)
	if err != nil {
		if job.Lacking(err) {
			memory.Cannot(featureComposite)
		}
		return nil, "", err
	}
	if job.VerdictOf(string(answer.Status)) != job.Accepted {
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
	return &limit, string(answer.ChargingSchedule.ChargingRateUnit), nil
}

// clearLimit removes our profiles of what the order is about. "Unknown" says that
// there was none, which is as good.
func (j *errand) clearLimit() (site.Outcome, error) {
	j.learnSmartCharging()
	level := j.level()
	cleared := 0
	var last site.Outcome
	shapes := j.shapes()
	if n := j.at(); n != 0 && j.Order.Transaction == "" { // one may be left of a transaction that the site no longer has
		shapes = append(shapes, shape{ocpp16.ChargingProfilePurposeTxProfile, n})
	}
	for _, s := range shapes {
		var answer ocpp16.ClearChargingProfileResponse
		err := j.Call(&ocpp16.ClearChargingProfileRequest{ConnectorID: &s.connector, ChargingProfilePurpose: s.purpose, StackLevel: &level}, &answer)
		if err != nil {
			if !job.Lacking(err) {
				return site.Outcome{}, err
			}
			last = j.Failure(err)
			continue
		}
		if answer.Status.Fold() == ocpp16.ClearChargingProfileStatusUnknown || job.VerdictOf(string(answer.Status)) == job.Accepted {
			cleared++
			continue
		}
		last = job.Judge(string(answer.Status), event.StateSucceeded)
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
	request := &ocpp16.GetCompositeScheduleRequest{ConnectorID: j.at(), Duration: 3600}
	if p.DurationS > 0 {
		request.Duration = int64(p.DurationS)
	}
	switch p.Unit {
	case "":
	case job.Amperes, job.Watts:
		request.ChargingRateUnit = ocpp16.ChargingRateUnit(p.Unit)
	default:
		return job.Rejectedf("unit: expected A or W, got %q", p.Unit), nil
	}
	var answer ocpp16.GetCompositeScheduleResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded)
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
	o.Result = job.Result(found)
	return o, nil
}
