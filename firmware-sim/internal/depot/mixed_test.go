package depot_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/central"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/depot"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/personality"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// truth is a session in the ledger.
type truth struct {
	Kind, Station, Version, Personality string
	ID                                  string `json:"transaction_id"`
	Transaction                         int64
	EnergyWh                            float64 `json:"energy_wh"`
	MeterStart                          int64   `json:"meter_start"`
	MeterStop                           int64   `json:"meter_stop"`
}

// sessions reads the sessions of the ledger.
func (y *yard) sessions() []truth {
	y.t.Helper()
	b, err := os.ReadFile(y.path)
	if err != nil {
		y.t.Fatal(err)
	}
	var all []truth
	for text := range strings.Lines(string(b)) {
		var l truth
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			y.t.Fatal(err)
		}
		if l.Kind == "session" {
			all = append(all, l)
		}
	}
	return all
}

// Every personality lives through a session in each version in which it makes
// sense, and the ledger has it as it was.
func TestPersonalities(t *testing.T) {
	names := map[string]string{ocppj.V16: "1.6", ocppj.V201: "2.0.1", ocppj.V21: "2.1"}
	text := "configuration: {MeterValueSampleInterval: 1}\ngroups:\n"
	want := map[string]bool{}
	for _, p := range personality.All() {
		name := p.Name
		if p.Pause > 0 {
			name += ":50ms"
		}
		if p.Name == "unnamed" { // this central system insists on a sub-protocol
			continue
		}
		for _, v := range p.Versions {
			text += "  - {hardware: dc150, tokens: [CAFE01], version: \"" + names[v] + "\", personality: \"" + name + "\", script: [plug, tap, charge: {for: 1200ms}, tap, unplug]}\n"
			if !p.Hops { // the first firmware has that session
				want[p.Name+" "+v] = true
			}
		}
	}
	system := central.New()
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: parse(t, text)})
	y.waitFor("stops", func(all []central.Said) bool {
		stopped := map[string]bool{}
		for _, s := range all {
			if stops(s) {
				stopped[s.Station] = true
			}
		}
		return len(stopped) > len(want)
	})
	y.drain()
	for _, s := range y.sessions() {
		delete(want, s.Personality+" "+s.Version)
		if s.EnergyWh <= 0 || s.MeterStop < s.MeterStart || (s.ID == "") != (s.Version == ocppj.V16) {
			t.Errorf("%+v", s)
		}
	}
	if len(want) > 0 {
		t.Errorf("no session of %v", want)
	}
}

// stops tells whether a transaction was stopped.
func stops(s central.Said) bool {
	return s.Action == ocpp16.ActionStopTransaction || s.Action == ocpp21.ActionTransactionEvent && strings.Contains(string(s.Payload), `"Ended"`)
}

// drain waits until everything is over and told.
func (y *yard) drain() {
	y.t.Helper()
	if status := y.post("/drain", ""); status != 204 {
		y.t.Errorf("drain: %d", status)
	}
	y.await("drained", func(v charger.View) bool { return v.Queue == 0 && v.Transaction() == "" })
}

// The hopper speaks another version after each session.
func TestHopper(t *testing.T) {
	system := central.New()
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: parse(t, again), Version: ocppj.V201, Personality: "hopper"})
	y.waitFor("a session in each version", func(all []central.Said) bool {
		seen := map[string]bool{}
		for _, s := range all {
			seen[s.Version] = seen[s.Version] || stops(s)
		}
		return seen[ocppj.V16] && seen[ocppj.V201]
	})
}

const again = `
groups:
  - name: one
    tokens: [CAFE01]
    script:
      - repeat:
          steps:
            - plug
            - tap
            - wait: 100ms
            - unplug
            - wait: 500ms
`

func TestMixed(t *testing.T) {
	s := load(t, "mixed")
	if s.Chargers() != 60 {
		t.Fatalf("%d chargers, want 60", s.Chargers())
	}
	count, quirky := map[string]int{}, map[string]int{}
	for _, g := range s.Groups {
		count[g.Version] += g.Count
		if len(g.Personalities) > 0 {
			quirky[g.Version] += g.Count
		}
	}
	for _, v := range []string{ocppj.V16, ocppj.V201, ocppj.V21} {
		if count[v] != 20 || quirky[v] < 6 || quirky[v] > 7 {
			t.Errorf("%s: %d chargers, %d quirky", v, count[v], quirky[v])
		}
	}
	system := central.New()
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: s})
	y.await("all are registered", func(v charger.View) bool { return v.Registered })
	y.drain()
}
