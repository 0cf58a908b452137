package v201_test

import (
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// Whatever a station says, it is answered once: with what the schema allows, and
// an event of a transaction always with a confirmation.
func FuzzHandle(f *testing.F) {
	for _, m := range messages {
		f.Add(m.action, m.payload)
	}
	for _, m := range transactions {
		f.Add(m.action, m.payload)
	}
	y := ocpptest.Start(f, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	f.Fuzz(func(t *testing.T, action, payload string) {
		if strings.ContainsAny(action, "\"\\\n\r") || len(action) > 50 {
			return
		}
		s := y.ConnectAs(t, "ocpp2.0.1", "FUZZ", nil)
		s.Send(`[2,"1","` + action + `",` + payload + `]`)
		s.Send(`[2,"last","Heartbeat",{}]`)
		seen := false
		for {
			answer, err := s.Next()
			if err != nil {
				t.Fatalf("%s %q ended the connection: %v", action, payload, err)
			}
			if strings.HasPrefix(answer, `[3,"last",`) {
				return
			}
			if seen {
				t.Fatalf("%s %q was answered more than once", action, payload)
			}
			seen = true
			if rest, ok := strings.CutPrefix(answer, `[3,"1",`); ok {
				if _, known := ocpp201.Lookup(action); !known { // the payload has ended the frame and begun another
					continue
				}
				checkSchema(t, action, strings.TrimSuffix(rest, "]"))
			} else if action == ocpp201.ActionTransactionEvent && strings.HasPrefix(answer, `[4,"1",`) {
				t.Errorf("%q was answered %s", payload, answer)
			}
		}
	})
}
