package depot

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/personality"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/scenario"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/station"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/station2"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Charger is one charger of a depot, of any version.
type Charger interface {
	scenario.Charger
	Identity() string
	Connectors() int
	Run(ctx context.Context) error
	Drain(ctx context.Context) error
	Tell(ctx context.Context, action string, payload json.RawMessage, send bool) (json.RawMessage, error)
}

// maker makes one charger.
type maker struct {
	cfg       Config
	group     *scenario.Group
	identity  string
	seed      uint64
	dialer    charger.Dialer
	folder    *charger.Folder // nil: memories in RAM
	book      *ledger.Ledger
	log       *slog.Logger
	reconnect time.Duration
	timeout   time.Duration
	boot      time.Duration
}

// charger returns the charger with a personality, which may have no name.
func (m maker) charger(version, name string) (Charger, error) {
	if name == "" {
		return m.one(version, name)
	}
	p, err := personality.Find(name)
	if err != nil {
		return nil, err
	}
	if !p.Speaks(version) {
		return nil, fmt.Errorf("charger %s: personality %s does not make sense in %s", m.identity, name, version)
	}
	if p.Hops {
		older, err := m.one(ocppj.V16, name)
		if err != nil {
			return nil, err
		}
		newer, err := m.one(version, name)
		if err != nil {
			return nil, err
		}
		return newHopper(older, newer), nil
	}
	m.dialer = p.Dialer(m.dialer, version)
	return m.one(version, p.Name)
}

// one returns a charger of a version.
func (m maker) one(version, personality string) (Charger, error) {
	connectors := m.group.Connectors
	if m.cfg.Connectors > 0 {
		connectors = m.cfg.Connectors
	}
	outlets := slices.Repeat([]car.Supply{m.group.Supply}, connectors)
	vendor, kind, firmware := or(m.group.Vendor, "Chargeyard"), or(m.group.Model, modelOf(m.group.Supply)), or(m.group.Firmware, "1.0.0")
	register := float64(1000 * (m.seed % 997))
	vendors := append([]string{"e2e"}, m.cfg.DataVendors...)
	if version == ocppj.V16 {
		return station.New(station.Config{
			Identity: m.identity, Password: m.cfg.Password, Vendor: vendor, Model: kind, Firmware: firmware, Outlets: outlets, RegisterWh: register,
			Configuration: m.configuration(false), Reconnect: m.reconnect, CallTimeout: m.timeout, BootTime: m.boot,
			DataVendors: vendors, Seed: m.seed, Personality: personality, Secure: m.cfg.Secure,
		}, m.dialer, m.memory(m.identity), m.book, m.log)
	}
	return station2.New(station2.Config{
		Identity: m.identity, Version: version, Password: m.cfg.Password, Vendor: vendor, Model: kind, Firmware: firmware, Outlets: outlets, RegisterWh: register,
		Configuration: m.configuration(true), Reconnect: m.reconnect, CallTimeout: m.timeout, BootTime: m.boot,
		DataVendors: vendors, Seed: m.seed, Personality: personality, Secure: m.cfg.Secure,
	}, m.dialer, m.memory(m.identity+"~"+version), m.book, m.log)
}

func (m maker) memory(name string) charger.Memory {
	if m.folder == nil {
		return charger.RAM{}
	}
	return m.folder.File(name)
}

// configuration is what a charger is preset with: keys of 1.6, or variables of
// OCPP 2, which the keys that have one stand for as well.
func (m maker) configuration(second bool) map[string]string {
	all := map[string]string{}
	for _, source := range []map[string]string{m.cfg.Scenario.Configuration, m.group.Configuration} {
		for key, value := range source {
			variable := strings.ContainsRune(key, '.')
			switch {
			case !second && !variable:
				all[key] = value
			case second && !variable:
				if name, ok := model.OfKey(key); ok {
					all[name] = value
				}
			}
		}
		for key, value := range source { // what is said in its own words counts
			if second && strings.ContainsRune(key, '.') {
				all[key] = value
			}
		}
	}
	return all
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func modelOf(s car.Supply) string {
	if s.DC {
		return fmt.Sprintf("Sim DC %.0f", s.MaxW/1000)
	}
	return fmt.Sprintf("Sim AC %d x %.0f A", s.Phases, s.MaxA)
}
