package ocpptest_test

import (
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
)

// TestCheckFrame shows what a frame of the gateway may not be.
func TestCheckFrame(t *testing.T) {
	for _, tt := range []struct{ protocol, frame, asked, want string }{
		{"ocpp1.6", `[2,"a","Reset",{"type":"Soft"}]`, "", ""},
		{"ocpp1.6", `[2,"a","Reset",{"type":"OnIdle"}]`, "", "PropertyConstraintViolation"},
		{"ocpp2.0.1", `[2,"a","Reset",{"type":"OnIdle"}]`, "", ""},
		{"ocpp2.0.1", `[2,"a","Reset",{"type":"ImmediateAndResume"}]`, "", "PropertyConstraintViolation"},
		{"ocpp2.1", `[2,"a","Reset",{"type":"ImmediateAndResume"}]`, "", ""},
		{"ocpp2.1", `[2,"a","Fly",{"high":1}]`, "", ""},
		{"ocpp1.6", `[3,"a",{}]`, "Fly", ""},
		{"ocpp1.6", `[3,"a",{}]`, "StopTransaction", ""},
		{"ocpp1.6", `[3,"a",{}]`, "Heartbeat", "OccurenceConstraintViolation"},
		{"ocpp2.0.1", `[3,"a",{}]`, "Heartbeat", "OccurrenceConstraintViolation"},
		{"ocpp2.1", `[3,"a",{"currentTime":"2026-11-22T06:01:02Z","interval":1}]`, "Heartbeat", "FormatViolation"},
		{"ocpp1.6", `[4,"a","OccurenceConstraintViolation","",{}]`, "Reset", ""},
		{"ocpp2.0.1", `[4,"a","OccurenceConstraintViolation","",{}]`, "Reset", "no error code"},
		{"ocpp1.6", `[4,"a","GenericError","x"]`, "Reset", "not as OCPP-J has it"},
		{"ocpp2.1", `[5,"a","GenericError","",{}]`, "", ""},
		{"ocpp2.0.1", `[5,"a","GenericError","",{}]`, "", "no CALLRESULTERROR"},
		{"ocpp2.1", `[6,"a","NotifyPeriodicEventStream",{}]`, "", "no SEND of a gateway"},
		{"ocpp1.6", `[2,"` + strings.Repeat("a", 37) + `","ClearCache",{}]`, "", "36 characters"},
		{"ocpp1.6", `[2,"a","ClearCache",{]`, "", "expected"},
	} {
		err := ocpptest.CheckFrame(tt.protocol, []byte(tt.frame), tt.asked)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %s: %v, want %q", tt.frame, tt.protocol, err, tt.want)
		}
	}
}
