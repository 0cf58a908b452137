package job_test

import (
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
)

func TestVerdictOf(t *testing.T) {
	tests := map[string]job.Verdict{
		"Accepted": job.Accepted, "accepted": job.Accepted, "OK": job.Accepted, "Unlocked": job.Accepted, "AcceptedCanceled": job.Accepted,
		"Scheduled": job.Scheduled, "RebootRequired": job.RebootNeeded, "NotSupported": job.NotSupported, "NotImplemented": job.NotSupported,
		"Rejected": job.Refused, "Occupied": job.Refused, "": job.Refused, "Perhaps": job.Refused,
	}
	for word, want := range tests {
		if got := job.VerdictOf(word); got != want {
			t.Errorf("%q: got %d, want %d", word, got, want)
		}
	}
}

func TestRateUnits(t *testing.T) { // quirk 38
	tests := []struct {
		value          string
		amperes, watts bool
	}{
		{"Current", true, false}, {"Power", false, true}, {"Current,Power", true, true}, {"A,W", true, true}, {"W", false, true},
		{"A", true, false}, {" a ; w ", true, true}, {"", false, false}, {`["A"]`, true, false},
	}
	for _, tt := range tests {
		if a, w := job.RateUnits(tt.value); a != tt.amperes || w != tt.watts {
			t.Errorf("%q: got %v, %v", tt.value, a, w)
		}
	}
}

func TestSameValue(t *testing.T) {
	tests := []struct {
		written, read string
		want          bool
	}{
		{"30", "30", true}, {"30", "30.0", true}, {"true", "True", true}, {"a,b", "a, b", true}, {" x", "x ", true},
		{"30", "60", false}, {"a,b", "b,a", false}, {"", "x", false},
	}
	for _, tt := range tests {
		if got := job.SameValue(tt.written, tt.read); got != tt.want {
			t.Errorf("%q and %q: got %v", tt.written, tt.read, got)
		}
	}
}
