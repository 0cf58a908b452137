// Package station is an OCPP 1.6 charge point with everything that a real one
// has but the metal: connectors with meters and cars, registration, local
// authorization, an offline queue, smart charging, reservations, firmware, logs
// and certificates.
package station

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Config is one charge point.
type Config struct {
	Identity string
	Password string // of the factory; AuthorizationKey replaces it
	Vendor   string
	Model    string
	Firmware string // version of the factory
	Outlets  []car.Supply
	// RegisterWh is where the meters stand when the charge point is new.
	RegisterWh float64
	// Configuration presets keys; what the central system sets stays.
	Configuration map[string]string
	Reconnect     time.Duration // shortest wait before connecting anew; it grows 16-fold
	CallTimeout   time.Duration // for the answer to a CALL
	BootTime      time.Duration // from power to the first attempt to connect
	DataVendors   []string      // vendorIds whose DataTransfer is accepted
	Seed          uint64
	Personality   string // for the ledger
	Unnamed       bool   // no sub-protocol in the handshake
	Secure        bool   // there is an address for security profiles 2 and 3
}

// Station is one charge point. Its methods may be called by any goroutine while
// Run runs.
type Station struct {
	*charger.Core

	cfg Config

	// What follows belongs to the goroutine of Run.

	state      *State
	keys       *keys.Store
	connectors []*connector // connector 1 first
	board      *fault       // of the charge point as a whole
	conflict   bool         // a LocalListConflict is to be reported
	draining   bool

	// What follows is in RAM and lost with the power.

	fresh       bool // not accepted yet since the start
	firmware    job
	upload      job
	jobs        int  // so far
	noSecurity  bool // the central system does not know the security extension
	boardStatus report
	resetting   ocpp16.ResetType
}

// New returns a charge point that remembers what is in memory. It starts in Run.
func New(cfg Config, dialer charger.Dialer, memory charger.Memory, book *ledger.Ledger, log *slog.Logger) (*Station, error) {
	if cfg.Identity == "" || len(cfg.Outlets) == 0 {
		return nil, fmt.Errorf("charge point %q with %d connectors: expected an identity and at least one", cfg.Identity, len(cfg.Outlets))
	}
	state := &State{}
	queue, found, err := memory.Load(state)
	if err != nil {
		return nil, fmt.Errorf("charge point %s: %w", cfg.Identity, err)
	}
	if !found {
		state.Firmware = cfg.Firmware
	}
	if n := len(state.Connectors); n > len(cfg.Outlets) {
		return nil, fmt.Errorf("charge point %s remembers %d connectors and has %d: expected at least as many (remove its memory to start with a new one)", cfg.Identity, n, len(cfg.Outlets))
	}
	for len(state.Connectors) < len(cfg.Outlets) {
		state.Connectors = append(state.Connectors, ConnectorState{RegisterWh: cfg.RegisterWh})
	}
	s := &Station{cfg: cfg}
	s.Core = charger.New(charger.Config{
		Identity: cfg.Identity, Version: ocppj.V16, Personality: cfg.Personality, Reconnect: cfg.Reconnect,
		CallTimeout: cfg.CallTimeout, BootTime: cfg.BootTime, Seed: cfg.Seed,
	}, s, dialer, memory, queue, book, log)
	if err := s.restore(state); err != nil {
		return nil, fmt.Errorf("charge point %s: %w", cfg.Identity, err)
	}
	return s, nil
}

// restore takes over what was remembered.
func (s *Station) restore(state *State) error {
	if state.Transactions == nil {
		state.Transactions = map[int64]*Transaction{}
	}
	if state.Cache == nil {
		state.Cache = map[string]CacheEntry{}
	}
	if state.List.Entries == nil {
		state.List.Entries = map[string]ocpp16.IDTagInfo{}
	}
	if state.Reservations == nil {
		state.Reservations = map[int64]Reservation{}
	}
	preset := keys.NewStore(nil, len(s.cfg.Outlets))
	for name, value := range s.cfg.Configuration {
		if err := preset.Preset(name, value); err != nil {
			return err
		}
	}
	if state.Configuration == nil {
		state.Configuration = preset.Values
	}
	s.state = state
	s.keys = keys.NewStore(state.Configuration, len(s.cfg.Outlets))
	s.Offset = state.ClockOffset
	for i, supply := range s.cfg.Outlets {
		s.connectors = append(s.connectors, &connector{
			id: i + 1, outlet: car.NewOutlet(supply, state.Connectors[i].RegisterWh, s.Random), last: time.Now(),
		})
	}
	return nil
}

// Identity is the charge point's name.
func (s *Station) Identity() string { return s.cfg.Identity }

// Connectors is how many it has.
func (s *Station) Connectors() int { return len(s.cfg.Outlets) }

// ---- the charger's dialect

// Begin is the start of the simulator.
func (s *Station) Begin() {
	s.interrupted(s.state.Alive) // what ran when the simulator ended
	s.powerOn()
}

// End is the end of the simulator.
func (s *Station) End() {
	s.draining = true // nothing begins any more
	s.advanceAll()
	s.state.Alive = s.Now()
}

// Settle lets limits and contactors follow what happened, and notes status
// changes.
func (s *Station) Settle() {
	if s.Powered {
		s.applyLimits()
		s.reportStatuses()
	}
}

// State is what memory keeps.
func (s *Station) State() any {
	for i, c := range s.connectors {
		s.state.Connectors[i].RegisterWh = c.outlet.RegisterWh()
	}
	s.state.ClockOffset = s.Offset
	if s.Powered {
		s.state.Alive = s.Now()
	}
	return s.state
}

// Login is who the charge point is to the central system.
func (s *Station) Login() charger.Login {
	login := charger.Login{
		Identity: s.cfg.Identity, Version: ocppj.V16, Profile: s.keys.Int(keys.SecurityProfile), Password: s.password(), Key: s.state.Key, Chain: s.state.Chain, Unnamed: s.cfg.Unnamed,
	}
	for _, c := range s.state.Certificates {
		if c.Use == ocpp16.CertificateUseCentralSystemRootCertificate {
			login.Roots = append(login.Roots, c.PEM)
		}
	}
	return login
}

// Patience is what the configuration says now.
func (s *Station) Patience() charger.Patience {
	return charger.Patience{
		Attempts: s.keys.Int(keys.TransactionMessageAttempts), Wait: s.keys.Seconds(keys.TransactionMessageRetry),
		Ping: s.keys.Seconds(keys.WebSocketPingInterval),
	}
}

// Resumed is a reconnect. OCPP-J 1.6 §3.1: no BootNotification on a mere one.
func (s *Station) Resumed() {
	s.scheduleHeartbeat()
	s.forgetUnconfirmedStatuses()
}

func at(t time.Time) lenient.Time { return lenient.At(t) }
