package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
)

// The units of a limit, which are features of a Model too.
const (
	Amperes = "A"
	Watts   = "W"
)

// lineVoltage is the voltage to neutral by which amperes and watts are exchanged
// where a station takes only one of them.
const lineVoltage = 230

// Quota is a limit in a unit of OCPP.
type Quota struct {
	Unit  string // Amperes, on each phase, or Watts
	Value float64
	Note  string // how it was worked out, if it was

	raised bool    // it is less than the station may be held at
	asked  float64 // what was asked for then, in Unit
}

// Quotas lists the units in which to try a limit, that of the command first. A
// limit in the other unit is worked out so that it is never above what was
// asked for, whatever number of phases charges. Below leastA, per phase, the
// station is not held.
func Quotas(p *event.SetLimitParams, leastA float64, memory *Model) []Quota {
	var all []Quota
	if p.LimitA != nil {
		w := *p.LimitA * lineVoltage
		all = []Quota{{Unit: Amperes, Value: *p.LimitA}, {Unit: Watts, Value: w,
			Note: fmt.Sprintf("the station takes watts only: %g A became %g W, as if one phase charged", *p.LimitA, w)}}
	} else {
		a := *p.LimitW / lineVoltage / 3
		all = []Quota{{Unit: Watts, Value: *p.LimitW}, {Unit: Amperes, Value: a,
			Note: fmt.Sprintf("the station takes amperes only: %g W became %.1f A on each of three phases", *p.LimitW, a)}}
	}
	for i := range all {
		all[i].raise(leastA)
	}
	able := slices.DeleteFunc(slices.Clone(all), func(q Quota) bool { return !memory.Can(q.Unit) })
	if len(able) == 0 {
		return all
	}
	return able
}

// OtherUnit is the unit that q is not in.
func (q *Quota) OtherUnit() string {
	if q.Unit == Amperes {
		return Watts
	}
	return Amperes
}

// raise keeps q from ending the session of a station that does so when it is held
// below leastA, on each phase. In watts it is that of one phase: how many charge
// is not known, and more would be further from what was asked for.
func (q *Quota) raise(leastA float64) {
	least := leastA
	if q.Unit == Watts {
		least *= lineVoltage
	}
	if q.Value < least {
		q.asked, q.Value, q.raised = q.Value, least, true
	}
}

// Instead turns what became of a raised limit into what became of the order:
// less was asked for, and whoever did is told.
func (q *Quota) Instead(o site.Outcome) site.Outcome {
	if !q.raised || o.State != event.StateSucceeded && o.State != event.StateAccepted {
		return o
	}
	o.State = event.StateFailed
	o.Reason = Join(fmt.Sprintf("held at %g %s, the least that the configuration allows this station, not at %g %s",
		q.Value, q.Unit, q.asked, q.Unit), o.Reason)
	o.Instead = &event.SetLimitParams{}
	if q.Unit == Amperes {
		o.Instead.LimitA = &q.Value
	} else {
		o.Instead.LimitW = &q.Value
	}
	return o
}

// RateUnits reads which units profiles may have: as the variable RateUnit of 2.x,
// and the configuration key of 1.6, which has two vocabularies: Current,Power and
// A,W.
func RateUnits(value string) (amperes, watts bool) {
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) }) {
		switch strings.ToLower(strings.Trim(part, `"[]`)) {
		case "current", "a", "amp", "amps", "ampere":
			amperes = true
		case "power", "w", "watt", "watts":
			watts = true
		}
	}
	return amperes, watts
}

// LearnUnits remembers which units the model takes, as RateUnits reads it.
func (m *Model) LearnUnits(value string) {
	amperes, watts := RateUnits(value)
	if amperes && !watts {
		m.Cannot(Watts)
	}
	if watts && !amperes {
		m.Cannot(Amperes)
	}
}

// Decimal returns a limit with one decimal, worked out in decimals: a station
// that checks multipleOf 0.1 refuses 16.000000000000004.
func Decimal(limit float64) float64 {
	if r, err := strconv.ParseFloat(string(lenient.AppendDecimal(nil, limit, 1)), 64); err == nil {
		return r
	}
	return limit
}
