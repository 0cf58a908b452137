// Package schedule works out what charging profiles allow (OCPP 1.6 §3.13): the
// prevailing profile of each purpose by stack level, the minimum over the
// purposes, and the composite schedule of a stretch of time.
//
// It is pure: times come in, limits go out.
package schedule

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// Voltage is the one between phase and neutral with which amperes and watts are
// converted into each other.
const Voltage = 230

// Limit is what a profile allows, in the unit of the profile. Phases is 0 where
// the profile does not say.
type Limit struct {
	Value  float64
	Unit   ocpp16.ChargingRateUnit
	Phases int
}

// Amps is the limit per phase. Watts are divided by the phases of the profile,
// three where it does not say, whatever the outlet has (errata 1.6 §3.69, §3.34).
func (l Limit) Amps() float64 {
	if l.Unit == ocpp16.ChargingRateUnitA {
		return l.Value
	}
	phases := l.Phases
	if phases <= 0 {
		phases = 3
	}
	return l.Value / (Voltage * float64(phases))
}

// Watts is the limit over all phases of an outlet that has so many.
func (l Limit) Watts(phases int) float64 {
	if l.Unit == ocpp16.ChargingRateUnitW {
		return l.Value
	}
	phases = max(1, phases)
	if l.Phases > 0 {
		phases = min(l.Phases, phases)
	}
	return l.Value * Voltage * float64(phases)
}

// Installed is a charging profile in the memory of a charge point.
type Installed struct {
	Connector int                    `json:"connector"`
	Received  time.Time              `json:"received"`
	Profile   ocpp16.ChargingProfile `json:"profile"`
}

// Transaction is what a schedule has to know about a running transaction.
type Transaction struct {
	ID    int64
	Start time.Time
}

// Set holds the profiles of one charge point.
type Set struct {
	Profiles []Installed `json:"profiles"`
}

// Bounds are the capabilities of a charge point that a profile has to keep.
type Bounds struct {
	MaxStackLevel, MaxPeriods, MaxInstalled int
}

// Check tells what is wrong with a profile for a connector, apart from whether a
// transaction runs there.
func Check(connector int, p ocpp16.ChargingProfile, b Bounds) error {
	s := p.ChargingSchedule
	switch {
	case p.StackLevel < 0 || int(p.StackLevel) > b.MaxStackLevel:
		return fmt.Errorf("stack level %d: expected 0 to %d", p.StackLevel, b.MaxStackLevel)
	case len(s.ChargingSchedulePeriod) == 0 || len(s.ChargingSchedulePeriod) > b.MaxPeriods:
		return fmt.Errorf("%d periods: expected 1 to %d", len(s.ChargingSchedulePeriod), b.MaxPeriods)
	case s.ChargingSchedulePeriod[0].StartPeriod != 0:
		return fmt.Errorf("first period starts at %d s: expected 0", s.ChargingSchedulePeriod[0].StartPeriod)
	case s.Duration != nil && *s.Duration < 0:
		return fmt.Errorf("duration %d s: expected none or a positive one", *s.Duration)
	case s.ChargingRateUnit != ocpp16.ChargingRateUnitA && s.ChargingRateUnit != ocpp16.ChargingRateUnitW:
		return fmt.Errorf("unit %q: expected A or W", s.ChargingRateUnit)
	}
	for i, period := range s.ChargingSchedulePeriod {
		if period.Limit < 0 {
			return fmt.Errorf("period %d: limit %g: expected 0 or more", i, period.Limit)
		}
		if i > 0 && period.StartPeriod <= s.ChargingSchedulePeriod[i-1].StartPeriod {
			return fmt.Errorf("period %d starts at %d s: expected later than the one before", i, period.StartPeriod)
		}
	}
	switch p.ChargingProfilePurpose {
	case ocpp16.ChargingProfilePurposeChargePointMaxProfile:
		if connector != 0 {
			return fmt.Errorf("%s on connector %d: expected connector 0", p.ChargingProfilePurpose, connector)
		}
		if p.ChargingProfileKind == ocpp16.ChargingProfileKindRelative {
			return fmt.Errorf("%s of kind Relative: the charge point has no start that it could relate to", p.ChargingProfilePurpose)
		}
	case ocpp16.ChargingProfilePurposeTxProfile:
		if connector == 0 {
			return fmt.Errorf("%s on connector 0: expected one above", p.ChargingProfilePurpose)
		}
	case ocpp16.ChargingProfilePurposeTxDefaultProfile:
	default:
		return fmt.Errorf("purpose %q is not known", p.ChargingProfilePurpose)
	}
	switch p.ChargingProfileKind {
	case ocpp16.ChargingProfileKindAbsolute, ocpp16.ChargingProfileKindRelative:
	case ocpp16.ChargingProfileKindRecurring:
		if s.StartSchedule.Time.IsZero() {
			return fmt.Errorf("kind Recurring without startSchedule")
		}
		if period(p) == 0 {
			return fmt.Errorf("kind Recurring with recurrencyKind %q: expected Daily or Weekly", p.RecurrencyKind)
		}
	default:
		return fmt.Errorf("kind %q is not known", p.ChargingProfileKind)
	}
	return nil
}

// Install keeps a profile that Check has passed. It replaces the one with the
// same id, or with the same purpose and stack level on the connector. It reports
// whether there was room.
func (s *Set) Install(connector int, p ocpp16.ChargingProfile, received time.Time, b Bounds) bool {
	kept := slices.DeleteFunc(slices.Clone(s.Profiles), func(i Installed) bool {
		return i.Profile.ChargingProfileID == p.ChargingProfileID ||
			i.Connector == connector && i.Profile.ChargingProfilePurpose == p.ChargingProfilePurpose && i.Profile.StackLevel == p.StackLevel
	})
	if len(kept) >= b.MaxInstalled {
		return false
	}
	s.Profiles = append(kept, Installed{Connector: connector, Received: received.UTC(), Profile: p})
	return true
}

// Clear removes what a ClearChargingProfile names (§5.5): one by its id, else
// all that match every criterion given. It returns how many went.
func (s *Set) Clear(req *ocpp16.ClearChargingProfileRequest) int {
	before := len(s.Profiles)
	s.Profiles = slices.DeleteFunc(s.Profiles, func(i Installed) bool {
		if req.ID != nil {
			return i.Profile.ChargingProfileID == *req.ID
		}
		return (req.ConnectorID == nil || int64(i.Connector) == *req.ConnectorID) &&
			(req.ChargingProfilePurpose == "" || i.Profile.ChargingProfilePurpose == req.ChargingProfilePurpose) &&
			(req.StackLevel == nil || i.Profile.StackLevel == *req.StackLevel)
	})
	return before - len(s.Profiles)
}

// EndTransaction removes the TxProfiles of a connector: they hold for one
// transaction only.
func (s *Set) EndTransaction(connector int) {
	s.Profiles = slices.DeleteFunc(s.Profiles, func(i Installed) bool {
		return i.Connector == connector && i.Profile.ChargingProfilePurpose == ocpp16.ChargingProfilePurposeTxProfile
	})
}

// Station is what all connectors together may take at a moment.
func (s *Set) Station(at time.Time) (Limit, bool) {
	return s.prevailing(at, nil, func(i Installed) bool {
		return i.Profile.ChargingProfilePurpose == ocpp16.ChargingProfilePurposeChargePointMaxProfile
	})
}

// Connector is what one connector may take at a moment, the charge point's own
// bound aside. Tx is nil without a transaction.
func (s *Set) Connector(connector int, at time.Time, tx *Transaction) (Limit, bool) {
	if tx != nil {
		l, ok := s.prevailing(at, tx, func(i Installed) bool {
			return i.Connector == connector && i.Profile.ChargingProfilePurpose == ocpp16.ChargingProfilePurposeTxProfile &&
				(i.Profile.TransactionID == nil || *i.Profile.TransactionID == tx.ID)
		})
		if ok {
			return l, true
		}
	}
	// §3.13.1: a default of the connector replaces that of connector 0 there.
	for _, c := range []int{connector, 0} {
		l, ok := s.prevailing(at, tx, func(i Installed) bool {
			return i.Connector == c && i.Profile.ChargingProfilePurpose == ocpp16.ChargingProfilePurposeTxDefaultProfile
		})
		if ok {
			return l, true
		}
	}
	return Limit{}, false
}

// prevailing is the limit of the highest stack level that has one at a moment.
func (s *Set) prevailing(at time.Time, tx *Transaction, match func(Installed) bool) (best Limit, found bool) {
	level := int64(-1)
	for _, i := range s.Profiles {
		if !match(i) || i.Profile.StackLevel <= level {
			continue
		}
		if l, ok := i.at(at, tx); ok {
			best, found, level = l, true, i.Profile.StackLevel
		}
	}
	return best, found
}

func period(p ocpp16.ChargingProfile) time.Duration {
	switch p.RecurrencyKind {
	case ocpp16.RecurrencyKindDaily:
		return 24 * time.Hour
	case ocpp16.RecurrencyKindWeekly:
		return 7 * 24 * time.Hour
	}
	return 0
}

// begin is when the schedule that holds at a moment began.
func (i Installed) begin(at time.Time, tx *Transaction) time.Time {
	start := i.Profile.ChargingSchedule.StartSchedule.Time
	switch i.Profile.ChargingProfileKind {
	case ocpp16.ChargingProfileKindRelative:
		if tx != nil {
			return tx.Start
		}
		return at // a transaction would begin now
	case ocpp16.ChargingProfileKindRecurring:
		every := period(i.Profile)
		since := at.Sub(start)
		n := since / every
		if since < 0 && since%every != 0 {
			n--
		}
		return start.Add(n * every)
	}
	if start.IsZero() { // an Absolute one without a start begins when it comes
		return i.Received
	}
	return start
}

// at is what the profile allows at a moment; ok is false when it says nothing.
func (i Installed) at(at time.Time, tx *Transaction) (Limit, bool) {
	p := i.Profile
	if from := p.ValidFrom.Time; !from.IsZero() && at.Before(from) {
		return Limit{}, false
	}
	if to := p.ValidTo.Time; !to.IsZero() && !at.Before(to) {
		return Limit{}, false
	}
	s := p.ChargingSchedule
	offset := at.Sub(i.begin(at, tx))
	if offset < 0 || s.Duration != nil && offset >= time.Duration(*s.Duration)*time.Second {
		return Limit{}, false
	}
	limit, ok := Limit{Unit: s.ChargingRateUnit}, false
	for _, period := range s.ChargingSchedulePeriod {
		if time.Duration(period.StartPeriod)*time.Second > offset {
			break
		}
		limit.Value, limit.Phases, ok = period.Limit, 0, true
		if period.NumberPhases != nil {
			limit.Phases = int(*period.NumberPhases)
		}
	}
	return limit, ok
}

// edges appends the moments between from and to at which the profile may change
// what it allows.
func (i Installed) edges(all []time.Time, from, to time.Time, tx *Transaction) []time.Time {
	add := func(t time.Time) {
		if t.After(from) && t.Before(to) {
			all = append(all, t)
		}
	}
	add(i.Profile.ValidFrom.Time)
	add(i.Profile.ValidTo.Time)
	s := i.Profile.ChargingSchedule
	begin, every := i.begin(from, tx), period(i.Profile)
	if i.Profile.ChargingProfileKind != ocpp16.ChargingProfileKindRecurring {
		every = 0
	}
	for {
		for _, p := range s.ChargingSchedulePeriod {
			add(begin.Add(time.Duration(p.StartPeriod) * time.Second))
		}
		if s.Duration != nil {
			add(begin.Add(time.Duration(*s.Duration) * time.Second))
		}
		if every == 0 {
			return all
		}
		if begin = begin.Add(every); !begin.Before(to) {
			return all
		}
	}
}

// Hardware is what an outlet, or all of a charge point, can give without any
// profile.
type Hardware struct {
	Phases int
	MaxA   float64 // per phase
	MaxW   float64
}

// Composite is the schedule of a connector, or of the charge point as a whole
// for connector 0, from a moment on (§5.7).
func (s *Set) Composite(connector int, from time.Time, length time.Duration, unit ocpp16.ChargingRateUnit, h Hardware, tx *Transaction) *ocpp16.ChargingSchedule {
	if unit == "" {
		unit = ocpp16.ChargingRateUnitA
	}
	if tx == nil { // as a transaction would have it that begins now
		tx = &Transaction{ID: -1, Start: from}
	}
	to := from.Add(length)
	moments := []time.Time{from}
	for _, i := range s.Profiles {
		if i.Connector == 0 || i.Connector == connector {
			moments = i.edges(moments, from, to, tx)
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	seconds := int64(length / time.Second)
	out := &ocpp16.ChargingSchedule{Duration: &seconds, ChargingRateUnit: unit} // without startSchedule: errata 1.6 §3.57
	for _, at := range moments {
		p := ocpp16.ChargingSchedulePeriod{
			StartPeriod: int64(at.Sub(from) / time.Second),
			Limit:       s.allowed(connector, at, unit, h, tx),
		}
		if n := len(out.ChargingSchedulePeriod); n > 0 {
			last := &out.ChargingSchedulePeriod[n-1]
			if last.Limit == p.Limit {
				continue
			}
			if last.StartPeriod == p.StartPeriod { // two edges within one second: the later holds
				last.Limit = p.Limit
				continue
			}
		}
		out.ChargingSchedulePeriod = append(out.ChargingSchedulePeriod, p)
	}
	return out
}

// allowed is the least of all bounds at a moment, with one decimal.
func (s *Set) allowed(connector int, at time.Time, unit ocpp16.ChargingRateUnit, h Hardware, tx *Transaction) float64 {
	in := func(l Limit) float64 {
		if unit == ocpp16.ChargingRateUnitW {
			return l.Watts(h.Phases)
		}
		return l.Amps()
	}
	least := h.MaxA
	if unit == ocpp16.ChargingRateUnitW {
		least = h.MaxW
	}
	if l, ok := s.Station(at); ok {
		least = min(least, in(l))
	}
	if connector > 0 {
		if l, ok := s.Connector(connector, at, tx); ok {
			least = min(least, in(l))
		}
	}
	return math.Round(least*10) / 10
}
