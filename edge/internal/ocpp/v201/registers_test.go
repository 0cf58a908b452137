package v201_test

import (
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
)

// meter is a meter value of an event.
func meter(values ...string) string {
	return `,"meterValue":[{"timestamp":"2026-01-01T00:00:01Z","sampledValue":[` + strings.Join(values, ",") + `]}]`
}

// registers are what a meter may write and what its session begins with, then an
// id that comes again at another EVSE.
var registers = []golden{
	{"zero beside a value that cannot be read", "TransactionEvent", tx("Started", "Authorized", "z", 0, "", `,"evse":{"id":11,"connectorId":1}`+
		meter(`{"value":0}`, `{"value":"?","measurand":"SoC"}`)), `\{\}`, []string{`session.started .*"meter_wh":0`}},
	{"no zero where the register cannot be read", "TransactionEvent", tx("Started", "Authorized", "z1", 0, "", `,"evse":{"id":18,"connectorId":1}`+
		meter(`{"value":"?"}`, `{"value":0,"measurand":"SoC"}`)), `\{\}`, []string{`session.started .*"protocol":"ocpp2.0.1","trigger"`, `"soc_percent":0,"other":\[\{"measurand":"Energy.Active.Import.Register","raw":"\?"`}},
	{"nor where elements were left out", "TransactionEvent", tx("Started", "Authorized", "z6", 0, "", `,"evse":{"id":19,"connectorId":1}`+
		meter(`7`, `{"value":"?"}`, `{"value":0,"measurand":"SoC"}`)), `\{\}`, []string{`session.started .*"protocol":"ocpp2.0.1","trigger"`}},
	{"kWh with a multiplier", "TransactionEvent", tx("Started", "Authorized", "z2", 0, "", `,"evse":{"id":12,"connectorId":1}`+
		meter(`{"value":1.5,"unitOfMeasure":{"unit":"kWh","multiplier":1}}`)), `\{\}`, []string{`session.started .*"meter_wh":15000`}},
	{"milliwatt-hours", "TransactionEvent", tx("Started", "Authorized", "z3", 0, "", `,"evse":{"id":13,"connectorId":1}`+
		meter(`{"value":1500000,"unitOfMeasure":{"unit":"Wh","multiplier":-3}}`)), `\{\}`, []string{`session.started .*"meter_wh":1500`}},
	{"the outlet before the inlet", "TransactionEvent", tx("Started", "Authorized", "z4", 0, "", `,"evse":{"id":14,"connectorId":1}`+
		meter(`{"value":9000,"location":"Inlet"}`, `{"value":500,"location":"Outlet"}`)), `\{\}`, []string{`session.started .*"meter_wh":500`}},
	{"phases", "TransactionEvent", tx("Started", "Authorized", "z5", 0, "", `,"evse":{"id":15,"connectorId":1}`+
		meter(`{"value":1,"phase":"L1"}`, `{"value":2,"phase":"L2"}`, `{"value":4,"phase":"L3-N"}`)), `\{\}`, []string{`session.started .*"meter_wh":7`}},
	{"the same id elsewhere, begin", "TransactionEvent", tx("Started", "Authorized", "1", 0, "", `,"evse":{"id":16,"connectorId":1}`), `\{\}`, []string{`evses/16/connectors/1 chargeyard.session.started`}},
	{"the same id elsewhere, end", "TransactionEvent", tx("Ended", "Authorized", "1", 1, "", ``), `\{\}`, []string{`evses/16/connectors/1 chargeyard.session.ended`}},
	{"the same id elsewhere, again", "TransactionEvent", tx("Started", "Authorized", "1", 2, "", ``), `\{\}`, []string{`stations/CP-1 chargeyard.session.started`}},
	{"the same id elsewhere, cable", "TransactionEvent", tx("Updated", "CablePluggedIn", "1", 3, "", `,"evse":{"id":17,"connectorId":1}`), `\{\}`, []string{`evses/17/connectors/1 chargeyard.session.updated`}},
}

func TestRegisters(t *testing.T) {
	y := ocpptest.Start(t, ocpptest.Config(), site.Config{}, quiet, v201.New(v201.V201()))
	play(t, y, y.ConnectAs(t, "ocpp2.0.1", "CP-1", nil), registers)
}
