package v201_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// After a connection that was lost between order and answer the station is looked
// at, and never told again.
func TestLook(t *testing.T) {
	certificate, hash := rootCertificate(t)
	limit := 8.0
	there := `{"status":"Accepted","certificateHashDataChain":[{"certificateType":"CSMSRootCertificate","certificateHashData":{"hashAlgorithm":"SHA256","issuerNameHash":"` + hash.IssuerNameHash + `","issuerKeyHash":"` + hash.IssuerKeyHash + `","serialNumber":"` + hash.Serial + `"}}]}`
	schedule := func(limit string) string {
		return `{"status":"Accepted","schedule":{"evseId":0,"duration":300,"scheduleStart":"2026-01-01T00:00:00Z","chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":` + limit + `}]}}`
	}
	value := func(v string) string {
		return `{"getVariableResult":[{"attributeStatus":"Accepted","attributeValue":"` + v + `","component":{"name":"A"},"variable":{"name":"x"}}]}`
	}
	write := event.SetConfigurationParams{Variables: []event.Variable{{Component: "A", Variable: "x", Value: "1"}}}
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
		{"value written", event.CommandSetConfiguration, write, "SetVariables", "GetVariables", value("1"), event.StateSucceeded},
		{"value not written", event.CommandSetConfiguration, write, "SetVariables", "GetVariables", value("0"), event.StateFailed},
		{"value not told", event.CommandSetConfiguration, write, "SetVariables", "GetVariables", `!NotSupported`, event.StateIndeterminate},
		{"list sent", event.CommandSendLocalList, event.SendLocalListParams{Version: 4}, "SendLocalList", "GetLocalListVersion", `{"versionNumber":4}`, event.StateSucceeded},
		{"list not sent", event.CommandSendLocalList, event.SendLocalListParams{Version: 4}, "SendLocalList", "GetLocalListVersion", `{"versionNumber":3}`, event.StateFailed},
		{"certificate installed", event.CommandInstallCertificate, event.InstallCertificateParams{Kind: "csms_root", Certificate: certificate}, "InstallCertificate", "GetInstalledCertificateIds", there, event.StateSucceeded},
		{"certificate not deleted", event.CommandDeleteCertificate, event.DeleteCertificateParams{Hash: hash}, "DeleteCertificate", "GetInstalledCertificateIds", there, event.StateFailed},
		{"certificate deleted", event.CommandDeleteCertificate, event.DeleteCertificateParams{Hash: hash}, "DeleteCertificate", "GetInstalledCertificateIds", `{"status":"NotFound"}`, event.StateSucceeded},
		{"question", event.CommandGetLimit, event.GetLimitParams{}, "GetCompositeSchedule", "", "", event.StateFailed},
		{"no trace", event.CommandSendData, event.SendDataParams{Vendor: "V"}, "DataTransfer", "", "", event.StateIndeterminate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour, LookAfter: time.Millisecond}, quiet, v201.New(v201.V201()))
			reached := make(chan struct{}, 1)
			s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, _ json.RawMessage) string {
				if action == tt.lost {
					reached <- struct{}{}
					return ""
				}
				return value("A")
			})
			boot(t, s)
			raw, err := json.Marshal(tt.params)
			if err != nil {
				t.Fatal(err)
			}
			c := event.Command{ID: "lost", Type: tt.kind, Station: "CS-1", Params: raw, Expires: time.Now().Add(time.Hour)}
			if err := y.Site.Execute(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			<-reached
			s.Drop()
			y.Journal.Wait(t, "end of the connection", func(d event.Draft) bool {
				_, ok := d.Data.(*event.StationDisconnected)
				return ok
			})
			boot(t, y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, payload json.RawMessage) string {
				if action != tt.looks {
					t.Errorf("%s %s was sent, expected only %s", action, payload, tt.looks)
					return `!GenericError`
				}
				return tt.answer
			}))
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

// calls are the messages for which there is no command, in the way of the second
// row of each: what goes out, and what came back.
var calls = []struct{ action, payload, answer string }{
	{"GetReport", `{"requestId":1,"componentCriteria":["Problem"]}`, `{"status":"Accepted"}`},
	{"SetNetworkProfile", `{"configurationSlot":1,"connectionData":{"ocppVersion":"OCPP20","ocppTransport":"JSON","ocppCsmsUrl":"wss://x","messageTimeout":30,"securityProfile":2,"ocppInterface":"Wired0"}}`, `{"status":"Accepted"}`},
	{"CostUpdated", `{"totalCost":16.5,"transactionId":"t1"}`, `{}`},
	{"GetChargingProfiles", `{"requestId":1,"chargingProfile":{"stackLevel":0}}`, `{"status":"NoProfiles"}`},
	{"PublishFirmware", `{"location":"https://f","checksum":"d41d8cd98f00b204e9800998ecf8427e","requestId":1}`, `{"status":"Accepted"}`},
	{"UnpublishFirmware", `{"checksum":"d41d8cd98f00b204e9800998ecf8427e"}`, `{"status":"NoFirmware"}`},
	{"ClearVariableMonitoring", `{"id":[1]}`, `{"clearMonitoringResult":[{"status":"Accepted","id":1}]}`},
	{"CustomerInformation", `{"requestId":1,"report":true,"clear":false}`, `{"status":"Accepted"}`},
	{"GetMonitoringReport", `{"requestId":1}`, `{"status":"EmptyResultSet"}`},
	{"SetMonitoringBase", `{"monitoringBase":"FactoryDefault"}`, `{"status":"Accepted"}`},
	{"SetMonitoringLevel", `{"severity":4}`, `{"status":"Accepted"}`},
	{"SetVariableMonitoring", `{"setMonitoringData":[{"value":253,"type":"UpperThreshold","severity":1,"component":{"name":"A"},"variable":{"name":"x"}}]}`, `{"setMonitoringResult":[{"status":"Accepted","type":"UpperThreshold","component":{"name":"A"},"variable":{"name":"x"},"severity":1}]}`},
	{"GetDisplayMessages", `{"requestId":1}`, `{"status":"Unknown"}`},
	{"GetTransactionStatus", `{"transactionId":"t1"}`, `{"messagesInQueue":false}`},
}

func TestCalls(t *testing.T) {
	for _, tt := range calls {
		t.Run(tt.action, func(t *testing.T) {
			y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v201.New(v201.V201()))
			sent := make(chan string, 1)
			s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, payload json.RawMessage) string {
				if action != tt.action {
					t.Errorf("%s was sent", action)
				}
				checkOrder(t, "ocpp2.0.1", action, payload)
				sent <- string(payload)
				return tt.answer
			})
			boot(t, s)
			params, err := json.Marshal(event.CallParams{Protocol: "ocpp2.0.1", Action: tt.action, Payload: json.RawMessage(tt.payload)})
			if err != nil {
				t.Fatal(err)
			}
			got := outcomeOf(t, y, event.Command{Type: event.CommandCall, Params: params})
			if got.State != event.StateSucceeded || string(got.Result) != tt.answer {
				t.Errorf("%s (%s) %s, want succeeded %s", got.State, got.Reason, got.Result, tt.answer)
			}
			same := func(a, b string) bool {
				var x, y any
				return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
			}
			if p := <-sent; !same(p, tt.payload) {
				t.Errorf("sent %s, want %s", p, tt.payload)
			}
		})
	}
}

// The parts of a report that a call asked for are told in the name of the command.
func TestCallNamesItsReport(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v201.New(v201.V201()))
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(string, json.RawMessage) string { return `{"status":"Accepted"}` })
	boot(t, s)
	params := json.RawMessage(`{"protocol":"ocpp2.0.1","action":"GetReport","payload":{"requestId":9}}`)
	got := outcomeOf(t, y, event.Command{Type: event.CommandCall, Params: params})
	for i, more := range []bool{true, false, false} {
		answer := s.Call("NotifyReport", fmt.Sprintf(`{"requestId":9,"generatedAt":"2026-01-01T00:00:00Z","seqNo":%d,"tbc":%t,"reportData":[{"component":{"name":"A"},"variable":{"name":"x"},"variableAttribute":[{"value":"%d"}]}]}`, i, more, i))
		if answer != "{}" {
			t.Fatalf("part %d was answered %s", i, answer)
		}
	}
	var commands []event.CommandID
	for _, d := range y.Journal.Events() {
		if e, ok := d.Data.(*event.StationConfiguration); ok {
			commands = append(commands, e.Command)
		}
	}
	if want := []event.CommandID{got.Command, got.Command, ""}; !slices.Equal(commands, want) {
		t.Errorf("parts in the name of %q, want %q", commands, want)
	}
}

// started has a transaction run at EVSE 1.
func started(t *testing.T, s *ocpptest.Station, id string) {
	t.Helper()
	answer := s.Call("TransactionEvent", `{"eventType":"Started","timestamp":"`+time.Now().UTC().Format(time.RFC3339)+`","triggerReason":"CablePluggedIn","seqNo":0,"transactionInfo":{"transactionId":"`+id+`"},"evse":{"id":1,"connectorId":1}}`)
	if answer != "{}" {
		t.Fatalf("the start was answered %s", answer)
	}
}

// A stop names the transaction of the session; a limit that a transaction's own
// profile overrules is put on that. OCPP 2.0.1 K02.FR.04.
func TestRunningTransaction(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v201.New(v201.V201()))
	profiles := make(chan string, 10)
	stopped := make(chan string, 1)
	held := "32"
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, payload json.RawMessage) string {
		switch action {
		case "SetChargingProfile":
			profiles <- string(payload)
			if strings.Contains(string(payload), `"TxProfile"`) {
				held = "8"
			}
		case "GetCompositeSchedule":
			return `{"status":"Accepted","schedule":{"evseId":1,"duration":300,"scheduleStart":"2026-01-01T00:00:00Z","chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":` + held + `}]}}`
		case "RequestStopTransaction":
			stopped <- string(payload)
		case "GetVariables":
			return `!NotSupported`
		}
		return `{"status":"Accepted"}`
	})
	boot(t, s)
	started(t, s, "tx-é")
	limit := 8.0
	params, err := json.Marshal(event.SetLimitParams{LimitA: &limit, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcomeOf(t, y, event.Command{Type: event.CommandSetLimit, EVSE: 1, Params: params}); got.State != event.StateSucceeded {
		t.Errorf("limit %s: %s", got.State, got.Reason)
	}
	<-profiles
	if p := <-profiles; !strings.Contains(p, `"transactionId":"tx-é"`) || !strings.Contains(p, `"id":11,"stackLevel":2,"chargingProfilePurpose":"TxProfile"`) {
		t.Errorf("second profile %s", p)
	}
	if got := outcomeOf(t, y, event.Command{Type: event.CommandStop, EVSE: 1}); got.State != event.StateAccepted {
		t.Errorf("stop %s: %s", got.State, got.Reason)
	}
	if p := <-stopped; p != `{"transactionId":"tx-é"}` {
		t.Errorf("stop named %s", p)
	}
}

// What a model has shown that it lacks is not tried again, at no station of it.
func TestModelIsRemembered(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v201.New(v201.V201()))
	tried := make(chan string, 20)
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, payload json.RawMessage) string {
		tried <- action
		switch action {
		case "SetChargingProfile":
			if strings.Contains(string(payload), "ChargingStationMaxProfile") {
				return `{"status":"Rejected"}`
			}
		case "GetCompositeSchedule", "GetChargingProfiles":
			return `!NotSupported`
		case "GetVariables":
			return `{"getVariableResult":[{"attributeStatus":"Accepted","attributeValue":"A","component":{"name":"SmartChargingCtrlr"},"variable":{"name":"RateUnit"}}]}`
		}
		return `{"status":"Accepted"}`
	})
	boot(t, s)
	limit := 8.0
	params, err := json.Marshal(event.SetLimitParams{LimitA: &limit, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := outcomeOf(t, y, event.Command{Type: event.CommandSetLimit, Params: params}); got.State != event.StateAccepted {
			t.Errorf("limit %s: %s", got.State, got.Reason)
		}
	}
	for i, want := range []string{"GetVariables", "SetChargingProfile", "SetChargingProfile", "GetCompositeSchedule", "GetChargingProfiles", "SetChargingProfile"} {
		if got := <-tried; got != want {
			t.Errorf("message %d was %s, want %s", i, got, want)
		}
	}
}

// A new password is good before the station is told of it, and the old one still.
func TestPasswordChanges(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v201.New(v201.V201()))
	hashes := make(chan int, 1)
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, _ json.RawMessage) string {
		if action == "SetVariables" {
			a, _ := y.Site.Admitted("CS-1")
			hashes <- len(a.PasswordHashes)
			return `{"setVariableResult":[{"attributeStatus":"Accepted","component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"}}]}`
		}
		return `!NotSupported`
	})
	y.Site.SetStations([]site.Admission{{Station: "CS-1", PasswordHashes: []string{""}}})
	boot(t, s)
	params, err := json.Marshal(event.SetConfigurationParams{Variables: []event.Variable{{Component: "SecurityCtrlr", Variable: "BasicAuthPassword", Value: "0123456789abcdef"}}})
	if err != nil {
		t.Fatal(err)
	}
	got := outcomeOf(t, y, event.Command{Type: event.CommandSetConfiguration, Params: params})
	if got.State != event.StateAccepted || strings.Contains(string(got.Result), "0123456789abcdef") {
		t.Errorf("%s: %s %s", got.State, got.Reason, got.Result)
	}
	if n := <-hashes; n != 2 {
		t.Errorf("the station was told of its password while %d were good, want the old and the new one", n)
	}
}

// Silent stations are asked for their boot and the status of each connector; those
// that have no triggers for a report.
func TestRefresh(t *testing.T) {
	tests := []struct {
		name   string
		answer func(action string, payload json.RawMessage) string
		want   []string // patterns
	}{
		{"OCPP 2.0.1 F06", func(string, json.RawMessage) string { return `{"status":"Accepted"}` },
			[]string{`TriggerMessage {"requestedMessage":"BootNotification"}`, `TriggerMessage {"requestedMessage":"StatusNotification"}`}},
		{"no triggers", func(action string, _ json.RawMessage) string {
			if action == "TriggerMessage" {
				return `!NotImplemented`
			}
			return `{"status":"Accepted"}`
		}, []string{`TriggerMessage {"requestedMessage":"BootNotification"}`, `TriggerMessage {"requestedMessage":"StatusNotification"}`, `GetBaseReport {"requestId":1073741825,"reportBase":"SummaryInventory"}`}},
		{"no summary", func(action string, payload json.RawMessage) string {
			if action == "TriggerMessage" {
				return `{"status":"NotImplemented"}`
			}
			if strings.Contains(string(payload), "Summary") {
				return `{"status":"NotSupported"}`
			}
			return `{"status":"Accepted"}`
		}, []string{`TriggerMessage .*Boot.*`, `TriggerMessage .*Status.*`, `GetBaseReport .*"SummaryInventory"}`, `GetBaseReport .*"FullInventory"}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ocpptest.Config()
			cfg.BootWait = time.Millisecond // it says nothing at all
			y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Millisecond}, quiet, v201.New(v201.V201()))
			var mu sync.Mutex
			var got []string
			done := make(chan struct{})
			y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, payload json.RawMessage) string {
				mu.Lock()
				defer mu.Unlock()
				checkOrder(t, "ocpp2.0.1", action, payload)
				if got = append(got, action+" "+string(payload)); len(got) == len(tt.want) {
					close(done)
				}
				return tt.answer(action, payload)
			})
			select {
			case <-done:
			case <-time.After(10 * time.Second):
			}
			y.Stop()
			mu.Lock()
			defer mu.Unlock()
			if len(got) != len(tt.want) {
				t.Fatalf("asked %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if !regexp.MustCompile(`^(` + want + `)$`).MatchString(got[i]) {
					t.Errorf("asked %s, want %s", got[i], want)
				}
			}
		})
	}
}

// What a report says of connectors is their status, where it is asked for because
// they are silent.
func TestRefreshByReport(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.BootWait = time.Millisecond
	y := ocpptest.Start(t, cfg, site.Config{RefreshAfter: time.Millisecond}, quiet, v201.New(v201.V201()))
	asked := make(chan struct{})
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, _ json.RawMessage) string {
		if action == "TriggerMessage" {
			return `!NotSupported`
		}
		close(asked)
		return `{"status":"Accepted"}`
	})
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Fatal("no report was asked for")
	}
	for _, part := range []string{`"seqNo":0,"tbc":true,"reportData":[{"component":{"name":"Connector","evse":{"id":2,"connectorId":1}},"variable":{"name":"AvailabilityState"},"variableAttribute":[{"value":"Occupied"}]}]`,
		`"seqNo":1,"reportData":[{"component":{"name":"ChargingStation"},"variable":{"name":"AvailabilityState"},"variableAttribute":[{"type":"Actual","value":"Available"}]}]`} {
		if answer := s.Call("NotifyReport", `{"requestId":1073741825,"generatedAt":"2026-01-01T00:00:00Z",`+part+`}`); answer != "{}" {
			t.Fatalf("answered %s", answer)
		}
	}
	for _, want := range []string{"stations/CS-1/evses/2/connectors/1 occupied", "stations/CS-1 available"} {
		y.Journal.Wait(t, want, func(d event.Draft) bool {
			e, ok := d.Data.(*event.StationStatus)
			return ok && d.Address.Subject()+" "+string(e.Status) == want
		})
	}
}

// A status is asked for connector by connector. OCPP 2.0.1 F06.FR.12.
func TestTriggerStatus(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour}, quiet, v201.New(v201.V201()))
	sent := make(chan string, 4)
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(_ string, payload json.RawMessage) string {
		sent <- string(payload)
		return `{"status":"Accepted"}`
	})
	boot(t, s)
	for _, at := range []string{`"evseId":2,"connectorId":1`, `"evseId":1,"connectorId":2`, `"evseId":1,"connectorId":1`} {
		s.Call("StatusNotification", `{`+when+`,"connectorStatus":"Available",`+at+`}`)
	}
	if got := outcomeOf(t, y, event.Command{Type: event.CommandTrigger, Params: json.RawMessage(`{"message":"status"}`)}); got.State != event.StateAccepted {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
	for _, want := range []string{`"id":1,"connectorId":1`, `"id":1,"connectorId":2`, `"id":2,"connectorId":1`} {
		if got := <-sent; got != `{"evse":{`+want+`},"requestedMessage":"StatusNotification"}` {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
}

// After a reconnect with an open session the station is asked about it. OCPP 2.0.1
// E14.
func TestAskTransaction(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour, LookAfter: time.Millisecond}, quiet, v201.New(v201.V201()))
	answer := func(string, json.RawMessage) string { return `{"status":"Accepted"}` }
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", answer)
	boot(t, s)
	started(t, s, "t1")
	s.Drop()
	y.Journal.Wait(t, "end of the connection", func(d event.Draft) bool {
		_, ok := d.Data.(*event.StationDisconnected)
		return ok
	})
	asked := make(chan string, 1)
	again := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(action string, payload json.RawMessage) string {
		if action == "GetTransactionStatus" {
			asked <- string(payload)
			return `{"ongoingIndicator":true,"messagesInQueue":false}`
		}
		return `{"status":"Accepted"}`
	})
	boot(t, again)
	select {
	case p := <-asked:
		if p != `{"transactionId":"t1"}` {
			t.Errorf("asked %s", p)
		}
	case <-time.After(10 * time.Second):
		t.Error("the station was not asked")
	}
}

// A report that breaks off is no inventory.
func TestReportBreaksOff(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{RefreshAfter: time.Hour, LookAfter: time.Millisecond}, quiet, v201.New(v201.V201()))
	asked := make(chan struct{}, 1)
	s := y.ConnectAs(t, "ocpp2.0.1", "CS-1", func(string, json.RawMessage) string {
		asked <- struct{}{}
		return `{"status":"Accepted"}`
	})
	boot(t, s)
	c := event.Command{ID: "c", Type: event.CommandGetConfiguration, Station: "CS-1", Expires: time.Now().Add(time.Hour)}
	if err := y.Site.Execute(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	<-asked
	s.Call("NotifyReport", `{"requestId":1,"generatedAt":"2026-01-01T00:00:00Z","seqNo":0,"tbc":true,"reportData":[{"component":{"name":"A"},"variable":{"name":"x"},"variableAttribute":[{"value":"1"}]}]}`)
	s.Drop()
	y.Journal.Wait(t, "end of the connection", func(d event.Draft) bool {
		_, ok := d.Data.(*event.StationDisconnected)
		return ok
	})
	boot(t, y.ConnectAs(t, "ocpp2.0.1", "CS-1", nil))
	d := y.Journal.Wait(t, "outcome", func(d event.Draft) bool {
		e, ok := d.Data.(*event.CommandUpdated)
		return ok && e.Command == c.ID && e.State.Final()
	})
	if e := d.Data.(*event.CommandUpdated); e.State != event.StateFailed {
		t.Errorf("%s: %s", e.State, e.Reason)
	}
}
