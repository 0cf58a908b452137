// Package station2 is a charging station of OCPP 2.0.1 or 2.1 with everything
// that a real one has but the metal: EVSEs with meters and cars, a device model,
// transactions with their events, local authorization, an offline queue, smart
// charging, reservations, monitoring, display, firmware, logs and certificates.
//
// It is written in the types of 2.1, of which those of 2.0.1 are a part: a station
// of 2.0.1 leaves out what 2.1 has added. Whatever it sends is checked against the
// schema of its version.
//
// Package charger owns the goroutine, the link, the queue and memory. Each EVSE
// has one connector, number 1.
package station2

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/ledger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Config is one charging station.
type Config struct {
	Identity string
	Version  string // ocppj.V201 or ocppj.V21
	Password string // of the factory; SecurityCtrlr.BasicAuthPassword replaces it
	Vendor   string
	Model    string
	Firmware string // version of the factory
	Outlets  []car.Supply
	// RegisterWh is where the meters stand when the station is new.
	RegisterWh float64
	// Configuration presets variables by their names (see model.Name); what the
	// CSMS sets stays.
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

// Station is one charging station. Its methods may be called by any goroutine
// while Run runs.
type Station struct {
	*charger.Core

	cfg Config

	// What follows belongs to the goroutine of Run.

	state    *State
	model    *model.Model
	evses    []*evse // EVSE 1 first
	board    *fault  // of the station as a whole
	draining bool

	// What follows is in RAM and lost with the power.

	fresh      bool              // not accepted yet since the start
	reason     ocpp21.BootReason // of the next BootNotification
	firmware   job
	upload     job
	publish    job
	jobs       int // so far
	noSecurity bool
	scheduled  bool // a reset waits until nothing runs
	resetting  bool
	monitors   map[int64]*watch
	streams    map[int64]*stream
	alerts     map[int]fault   // faults that the CSMS was told of, by EVSE
	events     int64           // NotifyEvent so far
	priority   map[string]bool // transactions under priority charging
}

// New returns a charging station that remembers what is in memory. It starts in
// Run.
func New(cfg Config, dialer charger.Dialer, memory charger.Memory, book *ledger.Ledger, log *slog.Logger) (*Station, error) {
	if cfg.Identity == "" || len(cfg.Outlets) == 0 {
		return nil, fmt.Errorf("charging station %q with %d EVSEs: expected an identity and at least one", cfg.Identity, len(cfg.Outlets))
	}
	if cfg.Version != ocppj.V201 && cfg.Version != ocppj.V21 {
		return nil, fmt.Errorf("charging station %s: version %q: expected %s or %s", cfg.Identity, cfg.Version, ocppj.V201, ocppj.V21)
	}
	state := &State{}
	queue, found, err := memory.Load(state)
	if err != nil {
		return nil, fmt.Errorf("charging station %s: %w", cfg.Identity, err)
	}
	if !found {
		state.Firmware = cfg.Firmware
	}
	if n := len(state.EVSEs); n > len(cfg.Outlets) {
		return nil, fmt.Errorf("charging station %s remembers %d EVSEs and has %d: expected at least as many (remove its memory to start with a new one)", cfg.Identity, n, len(cfg.Outlets))
	}
	for len(state.EVSEs) < len(cfg.Outlets) {
		state.EVSEs = append(state.EVSEs, EVSEState{RegisterWh: cfg.RegisterWh})
	}
	s := &Station{cfg: cfg, state: state, reason: ocpp21.BootReasonPowerUp}
	s.Core = charger.New(charger.Config{
		Identity: cfg.Identity, Version: cfg.Version, Personality: cfg.Personality, Reconnect: cfg.Reconnect,
		CallTimeout: cfg.CallTimeout, BootTime: cfg.BootTime, Seed: cfg.Seed,
	}, s, dialer, memory, queue, book, log)
	if err := s.restore(); err != nil {
		return nil, fmt.Errorf("charging station %s: %w", cfg.Identity, err)
	}
	return s, nil
}

// restore takes over what was remembered.
func (s *Station) restore() error {
	st := s.state
	st.fill()
	supply := s.cfg.Outlets[0]
	fresh := st.Variables == nil
	s.model = model.New(st.Variables, model.Hardware{
		EVSEs: len(s.cfg.Outlets), Phases: phasesOf(supply), MaxW: mostW(supply), MaxA: supply.MaxA, DC: supply.DC,
		Vendor: s.cfg.Vendor, Model: s.cfg.Model, Identity: s.cfg.Identity, V21: s.v21(),
	}, s.live)
	if fresh {
		for name, value := range s.cfg.Configuration {
			if err := s.model.Preset(name, value); err != nil {
				return err
			}
		}
	}
	st.Variables = s.model.Values
	s.Offset = st.ClockOffset
	for i, supply := range s.cfg.Outlets {
		s.evses = append(s.evses, &evse{
			id: i + 1, outlet: car.NewOutlet(supply, st.EVSEs[i].RegisterWh, s.Random), last: time.Now(),
		})
	}
	s.forgetRAM()
	return nil
}

// v21 tells whether the station speaks OCPP 2.1.
func (s *Station) v21() bool { return s.cfg.Version == ocppj.V21 }

// Connectors is how many connectors the station has: one for each EVSE.
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

// Settle lets limits and contactors follow what happened, and notes changes of
// charging states and of statuses.
func (s *Station) Settle() {
	if !s.Powered {
		return
	}
	s.applyLimits()
	for _, e := range s.evses {
		s.followState(e)
	}
	s.reportStatuses()
	if s.v21() {
		s.pullDynamic()
	}
}

// State is what memory keeps.
func (s *Station) State() any {
	for i, e := range s.evses {
		s.state.EVSEs[i].RegisterWh = e.outlet.RegisterWh()
	}
	s.state.ClockOffset = s.Offset
	if s.Powered {
		s.state.Alive = s.Now()
	}
	return s.state
}

// Login is who the station is to the CSMS.
func (s *Station) Login() charger.Login {
	login := charger.Login{
		Identity: s.cfg.Identity, Version: s.cfg.Version, Profile: s.model.Int(model.SecurityProfile), Password: s.password(),
		Key: s.state.Key, Chain: s.state.Chain, Unnamed: s.cfg.Unnamed,
	}
	for _, c := range s.state.Certificates {
		if c.Use == string(ocpp21.InstallCertificateUseCSMSRootCertificate) {
			login.Roots = append(login.Roots, c.PEM)
		}
	}
	return login
}

// password is what the station proves itself with.
func (s *Station) password() []byte {
	if p := s.model.Text(model.BasicAuthPassword); p != "" {
		return []byte(p)
	}
	return []byte(s.cfg.Password)
}

// Patience is what the configuration says now.
func (s *Station) Patience() charger.Patience {
	return charger.Patience{
		Attempts: s.model.Int(model.MessageAttempts), Wait: s.model.Seconds(model.MessageAttemptInterval),
		Ping: s.model.Seconds(model.WebSocketPingInterval),
	}
}

// Resumed is a reconnect: no BootNotification on a mere one (B01). After more
// than OfflineThreshold all statuses are told, else those that changed (B04).
func (s *Station) Resumed() {
	s.scheduleHeartbeat()
	long := s.model.Seconds(model.OfflineThreshold)
	for _, e := range s.evses {
		if long > 0 && time.Since(e.toldAt) > long {
			e.told = ""
		}
	}
	s.openStreams()
}

// live answers for variables that change by themselves.
func (s *Station) live(n model.Name) (string, bool) {
	if n.EVSE > 0 && n.EVSE <= len(s.evses) {
		return s.liveEVSE(s.evses[n.EVSE-1], n)
	}
	switch n.String() {
	case "ChargingStation.AvailabilityState":
		switch {
		case s.board != nil && !s.board.warning():
			return string(ocpp21.ConnectorStatusFaulted), true
		case s.state.Inoperative:
			return string(ocpp21.ConnectorStatusUnavailable), true
		}
		return string(ocpp21.ConnectorStatusAvailable), true
	case "ChargingStation.Available":
		return strconv.FormatBool(!s.state.Inoperative), true
	case "ChargingStation.Problem":
		return strconv.FormatBool(s.board != nil), true
	case "ClockCtrlr.DateTime":
		return charger.Milliseconds(s.Now()).Format(time.RFC3339), true
	case "SecurityCtrlr.Identity":
		return s.cfg.Identity, true
	case model.LocalListEntries:
		return strconv.Itoa(len(s.state.List.Entries)), true
	case model.DisplayMessages:
		return strconv.Itoa(len(s.state.Messages)), true
	case model.CertificateEntries:
		return strconv.Itoa(len(s.state.Certificates)), true
	case model.ProfileEntries:
		return strconv.Itoa(len(s.state.Profiles)), true
	case "MonitoringCtrlr.ActiveMonitoringLevel":
		return strconv.FormatInt(s.state.MonitoringLevel, 10), true
	case "MonitoringCtrlr.ActiveMonitoringBase":
		return strings.Replace(s.state.MonitoringBase, "HardWired", "Hardwired", 1), true
	}
	return "", false
}

func (s *Station) liveEVSE(e *evse, n model.Name) (string, bool) {
	switch n.Variable {
	case "AvailabilityState":
		return string(s.status(e)), true
	case "Available":
		return strconv.FormatBool(!s.inoperative(e)), true
	case "Problem":
		return strconv.FormatBool(e.fault != nil), true
	case "Power":
		return strconv.FormatFloat(e.outlet.Reading().PowerW, 'f', 1, 64), true
	case "ACCurrent":
		return strconv.FormatFloat(e.outlet.Reading().CurrentA[0], 'f', 2, 64), true
	case "EnergyImportRegister":
		return strconv.FormatInt(int64(e.outlet.RegisterWh()), 10), true
	}
	return "", false
}

func at(t time.Time) lenient.Time { return lenient.At(charger.Milliseconds(t)) }

func ptr[T any](v T) *T { return &v }

// optional is nil for the zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func phasesOf(supply car.Supply) int {
	if supply.Phases == 0 {
		return 3
	}
	return supply.Phases
}

func mostW(supply car.Supply) float64 {
	if supply.DC {
		return supply.MaxW
	}
	return supply.MaxA * 230 * float64(phasesOf(supply))
}

func cut(text string, n int) string {
	r := []rune(text)
	return string(r[:min(n, len(r))])
}
