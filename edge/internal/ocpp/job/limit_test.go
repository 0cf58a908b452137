package job_test

import (
	"fmt"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

func TestQuotas(t *testing.T) {
	amperes, watts := func(v float64) *event.SetLimitParams { return &event.SetLimitParams{LimitA: &v} }, func(v float64) *event.SetLimitParams { return &event.SetLimitParams{LimitW: &v} }
	tests := []struct {
		name   string
		p      *event.SetLimitParams
		leastA float64
		lacks  []string
		want   string // value and unit of each, in order
	}{
		{"amperes first", amperes(10), 0, nil, "10 A, 2300 W"},
		{"watts first, never above", watts(6900), 0, nil, "6900 W, 10 A"},
		{"watts only", amperes(10), 0, []string{job.Amperes}, "2300 W"},
		{"amperes only", watts(6900), 0, []string{job.Watts}, "10 A"},
		{"neither: it may have learned", amperes(10), 0, []string{job.Amperes, job.Watts}, "10 A, 2300 W"},
		{"quirk 52 raised", amperes(2), 6, nil, "6 A, 1380 W"},
		{"quirk 52 in watts", watts(0), 6, nil, "1380 W, 6 A"},
		{"not raised", amperes(6), 6, nil, "6 A, 1380 W"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var memory job.Model
			for _, unit := range tt.lacks {
				memory.Cannot(unit)
			}
			got := ""
			for i, q := range job.Quotas(tt.p, tt.leastA, &memory) {
				if i > 0 {
					got += ", "
				}
				got += fmt.Sprint(q.Value, " ", q.Unit)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// Whoever asked for less than the station may be held at is told what holds.
func TestInstead(t *testing.T) {
	low, enough := 2.0, 8.0
	tests := []struct {
		limit float64
		came  event.CommandState
		want  event.CommandState
		held  float64 // 0: as ordered
	}{
		{low, event.StateSucceeded, event.StateFailed, 6},
		{low, event.StateAccepted, event.StateFailed, 6},
		{low, event.StateRejected, event.StateRejected, 0},
		{enough, event.StateSucceeded, event.StateSucceeded, 0},
	}
	for _, tt := range tests {
		q := job.Quotas(&event.SetLimitParams{LimitA: &tt.limit}, 6, &job.Model{})[0]
		o := q.Instead(site.Outcome{State: tt.came})
		held := 0.0
		if o.Instead != nil {
			held = *o.Instead.LimitA
		}
		if o.State != tt.want || held != tt.held {
			t.Errorf("%g A, %s: got %s, held at %g", tt.limit, tt.came, o.State, held)
		}
	}
}

func TestDecimal(t *testing.T) { // quirk 81
	for limit, want := range map[float64]float64{16.000000000000004: 16, 10.04: 10, 0: 0, 6.25: 6.2} {
		if got := job.Decimal(limit); got != want && got != want+0.1 {
			t.Errorf("%g: got %g, want %g", limit, got, want)
		}
	}
}

func TestModels(t *testing.T) {
	var models job.Models
	a := models.Of("a")
	a.Cannot("x")
	a.Learn("n", 3)
	if models.Of("a") != a || models.Of("b") == a || !models.Of("b").Can("x") || a.Can("x") {
		t.Error("models are not told apart")
	}
	if n, ok := a.Number("n"); n != 3 || !ok {
		t.Errorf("got %d %t, want 3", n, ok)
	}
	for i := range 2000 { // bounded: in the end it begins anew
		models.Of(fmt.Sprint("m", i))
	}
	if models.Of("a") == a {
		t.Error("nothing was forgotten after 2,000 models")
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		word    string
		details []string
		state   event.CommandState
		reason  string
	}{
		{"Accepted", nil, event.StateSucceeded, ""},
		{"Accepted", []string{"NoError"}, event.StateSucceeded, "NoError"},
		{"accepted", nil, event.StateSucceeded, `the station answered "accepted"`},
		{"Scheduled", nil, event.StateAccepted, "scheduled: it takes effect after the running session"},
		{"RebootRequired", nil, event.StateAccepted, "accepted: it takes effect after a reset of the station"},
		{"NotSupported", []string{"", "why"}, event.StateUnsupported, `the station answered "NotSupported"; why`},
		{"Occupied", []string{"why"}, event.StateRejected, `the station answered "Occupied"; why`},
	}
	for _, tt := range tests {
		if o := job.Judge(tt.word, event.StateSucceeded, tt.details...); o.State != tt.state || o.Reason != tt.reason {
			t.Errorf("%q %q: got %s, %s", tt.word, tt.details, o.State, o.Reason)
		}
	}
}
