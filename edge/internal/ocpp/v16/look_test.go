package v16_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// After a connection that was lost between order and answer the charge point is
// looked at, and never told again.
func TestLook(t *testing.T) {
	certificate, hash := root(t)
	limit := 8.0
	installed := `{"status":"Accepted","certificateHashData":[{"hashAlgorithm":"SHA256","issuerNameHash":"` + hash.IssuerNameHash + `","issuerKeyHash":"` + hash.IssuerKeyHash + `","serialNumber":"` + hash.Serial + `"}]}`
	schedule := func(limit string) string {
		return `{"status":"Accepted","chargingSchedule":{"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":` + limit + `}]}}`
	}
	tests := []struct {
		name   string
		kind   event.CommandType
		params any
		lost   string // the call whose answer is lost
		looks  string // the call that looks
		answer string
		state  event.CommandState
	}{
		{"limit held", event.CommandSetLimit, event.SetLimitParams{LimitA: &limit, Until: time.Now().Add(time.Hour)}, "SetChargingProfile", "GetCompositeSchedule", schedule("8"), event.StateSucceeded},
		{"limit not held", event.CommandSetLimit, event.SetLimitParams{LimitA: &limit, Until: time.Now().Add(time.Hour)}, "SetChargingProfile", "GetCompositeSchedule", schedule("32"), event.StateFailed},
		{"limit not told", event.CommandSetLimit, event.SetLimitParams{LimitA: &limit, Until: time.Now().Add(time.Hour)}, "SetChargingProfile", "GetCompositeSchedule", `!NotSupported`, event.StateIndeterminate},
		{"value written", event.CommandSetConfiguration, event.SetConfigurationParams{Variables: []event.Variable{{Component: "Ocpp16", Variable: "X", Value: "1"}}}, "ChangeConfiguration", "GetConfiguration", `{"configurationKey":[{"key":"X","readonly":false,"value":"1"}]}`, event.StateSucceeded},
		{"value not written", event.CommandSetConfiguration, event.SetConfigurationParams{Variables: []event.Variable{{Component: "Ocpp16", Variable: "X", Value: "1"}}}, "ChangeConfiguration", "GetConfiguration", `{"configurationKey":[{"key":"X","readonly":false,"value":"0"}]}`, event.StateFailed},
		{"list sent", event.CommandSendLocalList, event.SendLocalListParams{Version: 4}, "SendLocalList", "GetLocalListVersion", `{"listVersion":4}`, event.StateSucceeded},
		{"list not sent", event.CommandSendLocalList, event.SendLocalListParams{Version: 4}, "SendLocalList", "GetLocalListVersion", `{"listVersion":3}`, event.StateFailed},
		{"certificate installed", event.CommandInstallCertificate, event.InstallCertificateParams{Kind: "csms_root", Certificate: certificate}, "InstallCertificate", "GetInstalledCertificateIds", installed, event.StateSucceeded},
		{"certificate not deleted", event.CommandDeleteCertificate, event.DeleteCertificateParams{Hash: hash}, "DeleteCertificate", "GetInstalledCertificateIds", installed, event.StateFailed},
		{"certificate deleted", event.CommandDeleteCertificate, event.DeleteCertificateParams{Hash: hash}, "DeleteCertificate", "GetInstalledCertificateIds", `{"status":"NotFound"}`, event.StateSucceeded},
		{"question", event.CommandGetLimit, event.GetLimitParams{}, "GetCompositeSchedule", "", "", event.StateFailed},
		{"no trace", event.CommandSendData, event.SendDataParams{Vendor: "V"}, "DataTransfer", "", "", event.StateIndeterminate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour, LookAfter: time.Millisecond}, quiet, v16.New())
			reached := make(chan struct{}, 1)
			s := y.Connect(t, "CP-1", func(action string, _ json.RawMessage) string {
				if action == tt.lost {
					reached <- struct{}{}
					return ""
				}
				return `{"configurationKey":[{"key":"ChargingScheduleAllowedChargingRateUnit","readonly":true,"value":"A"}]}`
			})
			s.Boot()
			raw, err := json.Marshal(tt.params)
			if err != nil {
				t.Fatal(err)
			}
			c := event.Command{ID: "lost", Type: tt.kind, Station: "CP-1", Params: raw, Expires: time.Now().Add(time.Hour)}
			if err := y.Site.Execute(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			<-reached
			s.Drop()
			y.Journal.Wait(t, "end of the connection", func(d event.Draft) bool {
				_, ok := d.Data.(*event.StationDisconnected)
				return ok
			})
			y.Connect(t, "CP-1", func(action string, payload json.RawMessage) string {
				if tt.looks == "" || !strings.Contains(tt.looks, action) {
					t.Errorf("%s %s was sent, expected only %s", action, payload, tt.looks)
					return `!GenericError`
				}
				return tt.answer
			}).Boot()
			d := y.Journal.Wait(t, "outcome", func(d event.Draft) bool {
				e, ok := d.Data.(*event.CommandUpdated)
				return ok && e.State.Final()
			})
			if e := d.Data.(*event.CommandUpdated); e.State != tt.state {
				t.Errorf("%s (%s), want %s", e.State, e.Reason, tt.state)
			}
		})
	}
}
