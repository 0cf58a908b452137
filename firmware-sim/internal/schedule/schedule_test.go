package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/schedule"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"pgregory.net/rapid"
)

var (
	noon     = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC) // a Monday
	bounds   = schedule.Bounds{MaxStackLevel: 10, MaxPeriods: 24, MaxInstalled: 5}
	hardware = schedule.Hardware{Phases: 3, MaxA: 32, MaxW: 22080}
)

// make1 returns a profile with periods "0:16 3600:8", in seconds and amperes.
func make1(id int64, purpose ocpp16.ChargingProfilePurpose, level int64, kind ocpp16.ChargingProfileKind, periods string, change func(*ocpp16.ChargingProfile)) ocpp16.ChargingProfile {
	p := ocpp16.ChargingProfile{ChargingProfileID: id, StackLevel: level, ChargingProfilePurpose: purpose, ChargingProfileKind: kind}
	p.ChargingSchedule.ChargingRateUnit = ocpp16.ChargingRateUnitA
	for _, text := range strings.Fields(periods) {
		var period ocpp16.ChargingSchedulePeriod
		if _, err := fmt.Sscanf(text, "%d:%g", &period.StartPeriod, &period.Limit); err != nil {
			panic(err)
		}
		p.ChargingSchedule.ChargingSchedulePeriod = append(p.ChargingSchedule.ChargingSchedulePeriod, period)
	}
	if change != nil {
		change(&p)
	}
	return p
}

func from(t time.Time) func(*ocpp16.ChargingProfile) {
	return func(p *ocpp16.ChargingProfile) { p.ChargingSchedule.StartSchedule = lenient.At(t) }
}

func lasting(start time.Time, seconds int64) func(*ocpp16.ChargingProfile) {
	return func(p *ocpp16.ChargingProfile) {
		p.ChargingSchedule.StartSchedule, p.ChargingSchedule.Duration = lenient.At(start), &seconds
	}
}

func recurring(kind ocpp16.RecurrencyKind, start time.Time, seconds int64) func(*ocpp16.ChargingProfile) {
	return func(p *ocpp16.ChargingProfile) {
		lasting(start, seconds)(p)
		p.RecurrencyKind = kind
	}
}

const (
	whole    = ocpp16.ChargingProfilePurposeChargePointMaxProfile
	standard = ocpp16.ChargingProfilePurposeTxDefaultProfile
	own      = ocpp16.ChargingProfilePurposeTxProfile
	absolute = ocpp16.ChargingProfileKindAbsolute
	relative = ocpp16.ChargingProfileKindRelative
	again    = ocpp16.ChargingProfileKindRecurring
)

// show writes a composite schedule as "0:16 3600:8".
func show(s *ocpp16.ChargingSchedule) string {
	var parts []string
	for _, p := range s.ChargingSchedulePeriod {
		parts = append(parts, fmt.Sprintf("%d:%g", p.StartPeriod, p.Limit))
	}
	return strings.Join(parts, " ")
}

type at struct {
	connector int
	profile   ocpp16.ChargingProfile
}

func TestComposite(t *testing.T) {
	tx := &schedule.Transaction{ID: 7, Start: noon.Add(-30 * time.Minute)}
	tests := []struct {
		name     string
		profiles []at
		tx       *schedule.Transaction
		want     string // of connector 1 over three hours from noon
	}{
		{"none", nil, tx, "0:32"},
		{"absolute", []at{{1, make1(1, standard, 0, absolute, "0:16 3600:8", from(noon.Add(-30*time.Minute)))}}, tx, "0:16 1800:8"},
		{"absolute, ahead", []at{{1, make1(1, standard, 0, absolute, "0:16", from(noon.Add(time.Hour)))}}, tx, "0:32 3600:16"},
		{"absolute without a start begins when it came", []at{{1, make1(1, standard, 0, absolute, "0:16 600:10", nil)}}, tx, "0:16 600:10"},
		{"a duration ends it", []at{{1, make1(1, standard, 0, absolute, "0:16 5400:8", lasting(noon, 3600))}}, tx, "0:16 3600:32"},
		{"relative to the transaction", []at{{1, make1(1, own, 0, relative, "0:16 3600:8", nil)}}, tx, "0:16 1800:8"},
		{"relative without a transaction begins now", []at{{0, make1(1, standard, 0, relative, "0:16 3600:8", nil)}}, nil, "0:16 3600:8"},
		{"§3.13.7, daily", []at{{0, make1(1, standard, 0, again, "0:16 28800:9 50400:20", recurring("Daily", noon.Add(-12*time.Hour).AddDate(-1, 0, 0), 86400))}}, tx, "0:9 7200:20"},
		{"daily, start ahead", []at{{0, make1(1, standard, 0, again, "0:16", recurring("Daily", noon.AddDate(0, 0, 3).Add(time.Hour), 3600))}}, tx, "0:32 3600:16 7200:32"},
		{"weekly, another day", []at{{0, make1(1, standard, 0, again, "0:16", recurring("Weekly", noon.AddDate(0, 0, -6), 3600))}}, tx, "0:32"},
		{"weekly, this day", []at{{0, make1(1, standard, 0, again, "0:16", recurring("Weekly", noon.AddDate(0, 0, -7), 3600))}}, tx, "0:16 3600:32"},
		{"longer than its recurrence (errata §3.44)", []at{{0, make1(1, standard, 0, again, "0:16 90000:6", recurring("Daily", noon.AddDate(0, 0, -2), 100000))}}, tx, "0:16"},
		{"the higher level prevails, and falls back", []at{
			{1, make1(1, standard, 0, absolute, "0:16", from(noon.Add(-time.Hour)))},
			{1, make1(2, standard, 1, absolute, "0:25", lasting(noon, 3600))},
		}, tx, "0:25 3600:16"},
		{"the profile of the transaction replaces the default", []at{
			{1, make1(1, standard, 9, absolute, "0:8", from(noon.Add(-time.Hour)))},
			{1, make1(2, own, 0, relative, "0:20", nil)},
		}, tx, "0:20"},
		{"the profile of another transaction does not", []at{
			{1, make1(1, standard, 0, relative, "0:8", nil)},
			{1, make1(2, own, 0, relative, "0:20", func(p *ocpp16.ChargingProfile) { p.TransactionID = new(int64) })},
		}, tx, "0:8"},
		{"the default of the connector replaces that of all (§3.13.1)", []at{
			{0, make1(1, standard, 5, relative, "0:8", nil)},
			{1, make1(2, standard, 0, relative, "0:20", nil)},
			{2, make1(3, standard, 0, relative, "0:6", nil)},
		}, tx, "0:20"},
		{"the least of the purposes (§3.13.3)", []at{
			{0, make1(1, whole, 0, absolute, "0:20 3600:10", from(noon))},
			{1, make1(2, standard, 0, absolute, "0:16 7200:8", from(noon))},
		}, tx, "0:16 3600:10 7200:8"},
		{"valid from and to", []at{
			{1, make1(1, standard, 0, relative, "0:16", func(p *ocpp16.ChargingProfile) {
				p.ValidFrom, p.ValidTo = lenient.At(noon.Add(time.Hour)), lenient.At(noon.Add(2*time.Hour))
			})},
		}, tx, "0:32 3600:16 7200:32"},
		{"watts, three phases where nothing is said", []at{{1, make1(1, standard, 0, relative, "0:6900", func(p *ocpp16.ChargingProfile) {
			p.ChargingSchedule.ChargingRateUnit = ocpp16.ChargingRateUnitW
		})}}, tx, "0:10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s schedule.Set
			for _, p := range tt.profiles {
				if err := schedule.Check(p.connector, p.profile, bounds); err != nil {
					t.Fatal(err)
				}
				if !s.Install(p.connector, p.profile, noon, bounds) {
					t.Fatal("no room")
				}
			}
			got := s.Composite(1, noon, 3*time.Hour, "", hardware, tt.tx)
			if show(got) != tt.want || *got.Duration != 10800 || !got.StartSchedule.IsZero() {
				t.Errorf("got %s, want %s", show(got), tt.want)
			}
		})
	}
}

func TestCompositeUnits(t *testing.T) {
	var s schedule.Set
	s.Install(0, make1(1, whole, 0, absolute, "0:10", from(noon)), noon, bounds)
	if got := show(s.Composite(0, noon, time.Hour, ocpp16.ChargingRateUnitW, hardware, nil)); got != "0:6900" {
		t.Errorf("10 A of three phases are %s W, want 6900", got)
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name      string
		connector int
		profile   ocpp16.ChargingProfile
		want      string // part of the error
	}{
		{"level", 1, make1(1, standard, 11, relative, "0:6", nil), "stack level"},
		{"no periods", 1, make1(1, standard, 0, relative, "", nil), "periods"},
		{"late first period (errata §3.45)", 1, make1(1, standard, 0, relative, "5:6", nil), "first period"},
		{"order", 1, make1(1, standard, 0, relative, "0:6 60:7 60:8", nil), "later"},
		{"negative", 1, make1(1, standard, 0, relative, "0:-1", nil), "limit"},
		{"whole on a connector", 1, make1(1, whole, 0, absolute, "0:6", nil), "connector 0"},
		{"whole, relative", 0, make1(1, whole, 0, relative, "0:6", nil), "Relative"},
		{"own on connector 0", 0, make1(1, own, 0, relative, "0:6", nil), "above"},
		{"recurring without a start", 1, make1(1, standard, 0, again, "0:6", nil), "startSchedule"},
		{"recurring without a kind", 1, make1(1, standard, 0, again, "0:6", from(noon)), "recurrencyKind"},
		{"unit", 1, make1(1, standard, 0, relative, "0:6", func(p *ocpp16.ChargingProfile) { p.ChargingSchedule.ChargingRateUnit = "hp" }), "unit"},
		{"good", 1, make1(1, standard, 0, relative, "0:6", nil), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := schedule.Check(tt.connector, tt.profile, bounds)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestInstallAndClear(t *testing.T) {
	var s schedule.Set
	install := func(connector int, p ocpp16.ChargingProfile) {
		t.Helper()
		if !s.Install(connector, p, noon, bounds) {
			t.Fatal("no room")
		}
	}
	install(1, make1(1, standard, 0, relative, "0:6", nil))
	install(1, make1(2, standard, 0, relative, "0:7", nil)) // same purpose and level
	install(2, make1(3, standard, 0, relative, "0:8", nil))
	install(2, make1(3, standard, 1, relative, "0:9", nil)) // same id
	install(1, make1(4, own, 0, relative, "0:10", nil))
	if n := len(s.Profiles); n != 3 {
		t.Fatalf("%d profiles, want 3: %+v", n, s.Profiles)
	}
	s.EndTransaction(1)
	if n := len(s.Profiles); n != 2 {
		t.Errorf("%d profiles after the transaction, want 2", n)
	}
	for i := int64(10); i < 13; i++ {
		install(0, make1(i, standard, i-10, relative, "0:6", nil))
	}
	if s.Install(0, make1(20, standard, 9, relative, "0:6", nil), noon, bounds) {
		t.Error("a sixth profile found room")
	}
	clears := []struct {
		req  ocpp16.ClearChargingProfileRequest
		want int
	}{
		{ocpp16.ClearChargingProfileRequest{ConnectorID: new(int64), ChargingProfilePurpose: whole}, 0},
		{ocpp16.ClearChargingProfileRequest{ConnectorID: new(int64), StackLevel: new(int64)}, 1},
		{ocpp16.ClearChargingProfileRequest{}, 4}, // errata §3.25: everything
	}
	for i, c := range clears {
		if got := s.Clear(&c.req); got != c.want {
			t.Errorf("clear %d took %d, want %d", i, got, c.want)
		}
	}
}

// A composite schedule says at its edges what holds at that moment, and nothing
// in between is missed.
func TestCompositeAgreesWithTheMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s schedule.Set
		for i := range rapid.IntRange(0, 4).Draw(t, "profiles") {
			purpose := rapid.SampledFrom([]ocpp16.ChargingProfilePurpose{whole, standard, own}).Draw(t, "purpose")
			kind := rapid.SampledFrom([]ocpp16.ChargingProfileKind{absolute, relative, again}).Draw(t, "kind")
			connector := 1
			if purpose == whole {
				connector = 0
			}
			start := noon.Add(time.Duration(rapid.IntRange(-90000, 9000).Draw(t, "start")) * time.Second)
			p := make1(int64(i), purpose, rapid.Int64Range(0, 3).Draw(t, "level"), kind, fmt.Sprintf("0:%d %d:%d", rapid.IntRange(0, 40).Draw(t, "a"),
				rapid.IntRange(1, 9000).Draw(t, "second"), rapid.IntRange(0, 40).Draw(t, "b")), recurring("Daily", start, rapid.Int64Range(0, 90000).Draw(t, "duration")))
			if schedule.Check(connector, p, bounds) == nil {
				s.Install(connector, p, noon, bounds)
			}
		}
		tx := &schedule.Transaction{ID: 1, Start: noon.Add(-10 * time.Minute)}
		composite := s.Composite(1, noon, 2*time.Hour, ocpp16.ChargingRateUnitA, hardware, tx)
		offset := rapid.Int64Range(0, 7199).Draw(t, "offset")
		moment := noon.Add(time.Duration(offset) * time.Second)
		want := 32.0
		if l, ok := s.Station(moment); ok {
			want = min(want, l.Amps())
		}
		if l, ok := s.Connector(1, moment, tx); ok {
			want = min(want, l.Amps())
		}
		got := -1.0
		for _, p := range composite.ChargingSchedulePeriod {
			if p.StartPeriod <= offset {
				got = p.Limit
			}
		}
		if got != want {
			t.Fatalf("at %d s the schedule %s says %g A, the moment %g A", offset, show(composite), got, want)
		}
	})
}
