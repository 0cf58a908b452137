package v201

import (
	"slices"
	"testing"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

func TestSnake(t *testing.T) {
	for word, want := range map[string]string{
		"": "", "Idle": "idle", "EVConnectTimeout": "ev_connect_timeout", "SuspendedEVSE": "suspended_evse", "SoCLimitReached": "soc_limit_reached",
		"SOCLimitReached": "soc_limit_reached", "DownloadFailed": "download_failed", "OptionList": "option_list", "dateTime": "date_time",
		"ReadWrite": "read_write", "DirectPayment": "direct_payment", "eMAID": "emaid", "two words": "two_words", "InvalidTLSVersion": "invalid_tls_version",
	} {
		if got := snake(word); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

// Every security event of 2.x keeps its name, and those of 1.6 take it.
func TestSecurityOf(t *testing.T) {
	for _, word := range securityEvents {
		if got := securityOf(word); got != word {
			t.Errorf("%s: got %s", word, got)
		}
	}
	for word, want := range map[string]string{
		"FailedToAuthenticateAtCentralSystem": "FailedToAuthenticateAtCsms", "CentralSystemFailedToAuthenticate": "CsmsFailedToAuthenticate",
		"InvalidCentralSystemCertificate": "InvalidCsmsCertificate", "InvalidChargePointCertificate": "InvalidChargingStationCertificate",
		"InvalidTlsCipherSuite": "InvalidTLSCipherSuite", "FailedToAuthenticateAtCSMS": "FailedToAuthenticateAtCsms", " ResetOrReboot ": "ResetOrReboot", "Own": "Own",
	} {
		if got := securityOf(word); got != want {
			t.Errorf("%s: got %s, want %s", word, got, want)
		}
	}
}

func TestTokenOf(t *testing.T) {
	for _, tt := range []struct {
		in   ocpp201.IDToken
		want event.Token
	}{
		{ocpp201.IDToken{IDToken: " 04A1 ", Type: "ISO14443"}, event.Token{Type: "rfid", Value: "04A1"}},
		{ocpp201.IDToken{IDToken: "E004", Type: "iso15693"}, event.Token{Type: "rfid", Value: "E004"}},
		{ocpp201.IDToken{IDToken: "X", Type: "eMAID"}, event.Token{Type: "emaid", Value: "X"}},
		{ocpp201.IDToken{IDToken: "X", Type: "MacAddress"}, event.Token{Type: "mac", Value: "X"}},
		{ocpp201.IDToken{IDToken: "X", Type: "Central"}, event.Token{Type: "central", Value: "X"}},
		{ocpp201.IDToken{Type: "NoAuthorization"}, event.Token{Type: "none"}},
		{ocpp201.IDToken{IDToken: "X"}, event.Token{Type: "unspecified", Value: "X"}},
		{ocpp201.IDToken{IDToken: "X", Type: "DirectPayment"}, event.Token{Type: "direct_payment", Value: "X"}},
		{ocpp201.IDToken{IDToken: "X", Type: "VIN"}, event.Token{Type: "vin", Value: "X"}},
	} {
		if got := tokenOf(&tt.in); got != tt.want {
			t.Errorf("%+v: got %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

// The faults of OCPP 2.x by the component that has them, and when they are there.
func TestProblemOf(t *testing.T) {
	yes, monitor := true, int64(9)
	tests := []struct {
		name, component, variable string
		trigger                   ocpp201.EventTrigger
		value                     string
		cleared                   *bool
		monitor                   ocpp201.Monitor
		code                      string
		raised                    bool
	}{
		{"lock", "ConnectorPlugRetentionLock", "Problem", "Alerting", "true", nil, "", "connector_lock", true},
		{"car", "ConnectedEV", "Problem", "Alerting", "true", nil, "", "ev_communication", true},
		{"residual current", "RCD", "Tripped", "Delta", "true", nil, "", "ground", true},
		{"breaker", "OverCurrentBreaker", "Tripped", "Delta", "true", nil, "", "over_current", true},
		{"meter", "FiscalMetering", "Problem", "Alerting", "1", nil, "", "meter", true},
		{"contactor", "PowerContactor", "Problem", "Alerting", "TRUE", nil, "", "power_switch", true},
		{"reader", "TokenReader", "Problem", "Alerting", "true", nil, "", "reader", true},
		{"controller", "Controller", "Problem", "Alerting", "true", nil, "", "internal", true},
		{"what nobody knows", "Unicorn", "Problem", "Alerting", "true", nil, "", "other", true},
		{"over", "RCD", "Tripped", "Delta", "false", nil, "", "ground", false},
		{"cleared", "RCD", "Problem", "Alerting", "true", &yes, "", "ground", false},
		{"no truth value", "RCD", "Problem", "Alerting", "gone bad", nil, "", "ground", true},
		{"hot", "TemperatureSensor", "Active", "Alerting", "true", nil, "", "temperature_high", true},
		{"sensor switched on", "TemperatureSensor", "Active", "Delta", "true", nil, "", "", false},
		{"hot by a monitor", "Controller", "Temperature", "Alerting", "95", nil, ocpp201.MonitorUpperThreshold, "temperature_high", true},
		{"cold", "Controller", "Temperature", "Alerting", "-40", nil, ocpp201.MonitorLowerThreshold, "", true},
		{"temperature as it goes", "Controller", "Temperature", "Periodic", "40", nil, "", "", false},
		{"weak signal", "DataLink", "SignalStrength", "Alerting", "-110", nil, "", "weak_signal", true},
		{"over voltage", "ElectricalFeed", "ACVoltage", "Alerting", "260", nil, ocpp201.MonitorUpperThreshold, "over_voltage", true},
		{"under voltage", "ElectricalFeed", "DCVoltage", "Alerting", "20", nil, ocpp201.MonitorLowerThreshold, "under_voltage", true},
		{"voltage on an unknown side", "ElectricalFeed", "ACVoltage", "Alerting", "260", nil, "", "", true},
		{"over current", "ElectricalFeed", "ACCurrent", "Alerting", "40", nil, ocpp201.MonitorUpperThreshold, "over_current", true},
		{"anything", "ClockCtrlr", "DateTime", "Periodic", "x", nil, "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &Peer{}
			d := &ocpp201.EventData{
				Trigger: tt.trigger, ActualValue: tt.value, Cleared: tt.cleared, VariableMonitoringID: &monitor,
				Component: ocpp201.Component{Name: tt.component}, Variable: ocpp201.Variable{Name: tt.variable},
			}
			if tt.monitor != "" {
				p.noteMonitor(monitor, tt.monitor)
			}
			code, raised := p.problemOf(d)
			if code != tt.code || code != "" && raised != tt.raised {
				t.Errorf("got %q, %v; want %q, %v", code, raised, tt.code, tt.raised)
			}
		})
	}
}

// Parts are numbered from 1 without holes, whatever the station numbers from; a
// hole shows what is missing.
func TestPartOf(t *testing.T) {
	p := &Peer{}
	for _, step := range []struct {
		request, seq int64
		n, want      int
	}{
		{1, 0, 1, 1}, {1, 1, 3, 2}, {2, 1, 1, 1}, {1, 2, 1, 5}, {2, 2, 1, 2}, {1, 1, 3, 2}, {1, 5, 1, 8}, {3, 7, 1, 7}, {1, 6, 1, 9},
	} {
		if got := p.partOf(step.request, step.seq, step.n); got != step.want {
			t.Errorf("report %d, message %d: got part %d, want %d", step.request, step.seq, got, step.want)
		}
	}
	for i := range int64(3 * maxReports) {
		p.partOf(100+i, 1<<40, 1)
		p.partOf(100+i, -1<<40, 1)
	}
	if len(p.reporting) > maxReports {
		t.Errorf("%d reports are followed", len(p.reporting))
	}
}

// What one connection has a peer remember is bounded.
func TestBounds(t *testing.T) {
	p := &Peer{}
	for i := range 3 * maxMonitors {
		f := fault{faultKey: faultKey{evse: i}}
		p.noteFault(f, true)
		p.noteFault(fault{faultKey: faultKey{evse: -i}}, false)
		p.noteMonitor(int64(i), ocpp201.MonitorDelta)
		p.seen(string(rune(i + 256)))
	}
	for name, n := range map[string]int{"faults": len(p.faults), "over": len(p.over), "monitors": len(p.monitors), "running": len(p.running)} {
		if n > maxMonitors {
			t.Errorf("%s: %d are remembered", name, n)
		}
	}
	if !slices.IsSortedFunc(p.faults, func(a, b fault) int { return a.evse - b.evse }) {
		t.Error("the newest fault is not the last")
	}
}
