package v16_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// OCPP 1.6 §4.2: a station that is not accepted yet may send what it was asked for,
// and nothing else; once it is admitted it is asked for its boot.
func TestPending(t *testing.T) {
	cfg := ocpptest.Config()
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Hour, PendUnknown: true}, quiet, v16.New())
	asked := make(chan string, 10)
	s := y.Connect(t, "CP-1", func(action string, payload json.RawMessage) string {
		if action == ocpp16.ActionTriggerMessage {
			asked <- string(payload)
		}
		return `{"status":"Accepted"}`
	})
	if answer := s.Call("BootNotification", `{"chargePointVendor":"A","chargePointModel":"B"}`); !strings.Contains(answer, `"Pending"`) {
		t.Fatalf("boot was answered %s", answer)
	}
	const status = `{"connectorId":1,"errorCode":"NoError","status":"Available"}`
	if answer := s.Call("StatusNotification", status); answer != "!SecurityError" {
		t.Errorf("status was answered %s", answer)
	}
	params, err := json.Marshal(event.TriggerParams{Message: "status"})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, y, event.Command{Type: event.CommandTrigger, EVSE: 1, Params: params}); got.State != event.StateAccepted {
		t.Errorf("trigger %s: %s", got.State, got.Reason)
	}
	<-asked
	if answer := s.Call("StatusNotification", status); answer != "{}" {
		t.Errorf("status that was asked for was answered %s", answer)
	}
	y.Site.SetStations([]site.Admission{{Station: "CP-1"}})
	if what := <-asked; !strings.Contains(what, "BootNotification") {
		t.Errorf("after the admission it was asked for %s", what)
	}
	if answer := s.Call("BootNotification", `{"chargePointVendor":"A","chargePointModel":"B"}`); !strings.Contains(answer, `"Accepted"`) {
		t.Errorf("boot was answered %s", answer)
	}
}
