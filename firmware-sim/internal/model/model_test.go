package model_test

import (
	"errors"
	"testing"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
)

func none(model.Name) (string, bool) { return "", false }

func TestSet(t *testing.T) {
	tests := []struct {
		name   string
		at     model.Name
		value  string
		want   error
		reboot bool
	}{
		{name: "a number", at: model.Name{Component: "OCPPCommCtrlr", Variable: "HeartbeatInterval"}, value: "60"},
		{name: "other case", at: model.Name{Component: "ocppcommctrlr", Variable: "heartbeatinterval"}, value: "60"},
		{name: "no number", at: model.Name{Component: "OCPPCommCtrlr", Variable: "HeartbeatInterval"}, value: "soon", want: model.ErrRejected},
		{name: "out of bounds", at: model.Name{Component: "OCPPCommCtrlr", Variable: "HeartbeatInterval"}, value: "-1", want: model.ErrRejected},
		{name: "with an instance", at: model.Name{Component: "OCPPCommCtrlr", Variable: "MessageAttempts", Of: "TransactionEvent"}, value: "5"},
		{name: "without its instance", at: model.Name{Component: "OCPPCommCtrlr", Variable: "MessageAttempts"}, value: "5", want: model.ErrVariable},
		{name: "read-only", at: model.Name{Component: "ChargingStation", Variable: "Model"}, value: "X", want: model.ErrRejected},
		{name: "a member that is none", at: model.Name{Component: "TxCtrlr", Variable: "TxStartPoint"}, value: "Authorized,Breakfast", want: model.ErrRejected},
		{name: "members", at: model.Name{Component: "TxCtrlr", Variable: "TxStartPoint"}, value: "Authorized,EVConnected"},
		{name: "a short password", at: model.Name{Component: "SecurityCtrlr", Variable: "BasicAuthPassword"}, value: "short", want: model.ErrRejected},
		{name: "at the next start", at: model.Name{Component: "OCPPCommCtrlr", Variable: "NetworkConfigurationPriority"}, value: "1,0", reboot: true},
		{name: "unknown component", at: model.Name{Component: "CoffeeCtrlr", Variable: "Enabled"}, value: "true", want: model.ErrComponent},
		{name: "an EVSE that is not there", at: model.Name{Component: "EVSE", EVSE: 3, Variable: "Power"}, value: "1", want: model.ErrComponent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := model.New(nil, model.Hardware{EVSEs: 2, Phases: 3}, none)
			reboot, err := m.Set(tt.at, tt.value)
			if !errors.Is(err, tt.want) || reboot != tt.reboot {
				t.Fatalf("%v, %v; want %v, %v", reboot, err, tt.reboot, tt.want)
			}
			if v, _ := m.Find(tt.at); err == nil && v.Value != tt.value {
				t.Errorf("value %q, want %q", v.Value, tt.value)
			}
		})
	}
}

func TestInventory(t *testing.T) {
	m := model.New(nil, model.Hardware{EVSEs: 2, Phases: 3, MaxW: 22_080, Vendor: "V", Model: "M", V21: true}, func(n model.Name) (string, bool) {
		return "Occupied", n.Component == "Connector" && n.Variable == "AvailabilityState" && n.EVSE == 2
	})
	seen := map[string]bool{}
	for _, v := range m.All() {
		if seen[v.Name.String()] {
			t.Errorf("%s is there twice", v.Name)
		}
		seen[v.Name.String()] = true
	}
	if got := m.Text("Connector@2.1.AvailabilityState"); got != "Occupied" {
		t.Errorf("state of connector 2: %q", got)
	}
	if err := m.Preset("SampledDataCtrlr.TxUpdatedInterval", "5"); err != nil || m.Int(model.TxUpdatedInterval) != 5 {
		t.Error(err, m.Int(model.TxUpdatedInterval))
	}
	if err := model.Check("Nothing.Here", "1"); err == nil {
		t.Error("an unknown variable was taken")
	}
}
