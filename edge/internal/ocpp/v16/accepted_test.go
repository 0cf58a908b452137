package v16

import (
	"errors"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// OCPP 1.6 §4.2: before it is accepted a charge point gets a SecurityError for
// everything but a boot, and a stop, which would be lost.
func TestNotAccepted(t *testing.T) {
	p := &peer{}
	for _, a := range ocpp16.Actions {
		if a.Name == ocpp16.ActionBootNotification || a.Name == ocpp16.ActionStopTransaction {
			continue
		}
		_, err := p.Handle(nil, a.Name, []byte(`{}`), time.Now())
		refusal := new(ocpp.CallError)
		if !errors.As(err, &refusal) || refusal.Code != ocppj.SecurityError {
			t.Errorf("%s: got %v, want SecurityError", a.Name, err)
		}
	}
}
