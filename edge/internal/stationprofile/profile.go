// Package stationprofile knows how sorts of charging stations want to be treated.
//
// A profile is a small YAML file: which stations it is for, by vendor, model and
// firmware, and which behaviours of the gateway it switches, by name. Some are
// built in; an installer's own come before them. What is configured for one
// station by name comes before every profile.
//
// Nothing here knows a version of OCPP: a behaviour says what to do, a dialect
// knows how.
package stationprofile

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Profile is how one sort of station is treated. The zero Profile is what holds
// for a station that no profile knows: every behaviour as the gateway has it.
type Profile struct {
	Name      string `yaml:"name"`  // shown to people: wallbox
	Note      string `yaml:"note"`  // why, for people
	Match     []For  `yaml:"match"` // one of them has to fit
	Behaviour `yaml:"behaviour"`
}

// For says which stations a profile is for. Each text is a pattern over the whole
// word that the station uses, without regard to case: * stands for anything, ?
// for one character. What is left out fits everything.
type For struct {
	Vendor   string `yaml:"vendor"`
	Model    string `yaml:"model"`
	Firmware string `yaml:"firmware"`
}

// Behaviour is what can be switched. A value left out leaves a behaviour as it is:
// that of the next profile to ask, in the end the gateway's own.
type Behaviour struct {
	// Timeout is how long the station may take for an answer, Timeouts by action
	// where one takes longer than others.
	Timeout  time.Duration            `yaml:"timeout"`
	Timeouts map[string]time.Duration `yaml:"timeouts"`
	// Compression agrees to compressed frames when the station asks for them.
	// Default: as ocpp.compression says. After a frame that cannot be unpacked it
	// stays off.
	Compression *bool `yaml:"compression"`
	// Ping false sends the station no WebSocket pings. Default: yes.
	Ping *bool `yaml:"ping"`
	// BootFirst sends nothing before a boot was answered over this connection.
	// Default: no, any message shows that the station listens.
	BootFirst *bool `yaml:"boot_first"`
	// BootWait is how long the gateway waits for a station that says nothing
	// before it sends anything.
	BootWait time.Duration `yaml:"boot_wait"`
	// Heartbeat is the period that the station is told at its boot.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// AssumeProtocol is the subprotocol of a station that names none.
	AssumeProtocol string `yaml:"assume_protocol"`
	// EnergyScale and PowerScale multiply what the station measures: 1000 where
	// it says Wh and means kWh.
	EnergyScale float64 `yaml:"energy_scale"`
	PowerScale  float64 `yaml:"power_scale"`
	// RegisterScope says what the energy register of a session counts: session,
	// it begins at zero with each; lifetime, it never does, and a begin of zero is
	// none. Default: what the values show.
	RegisterScope string `yaml:"register_scope"`
	// MinimumA is the current below which the station ends a session instead of
	// pausing it: it is held no lower.
	MinimumA float64 `yaml:"minimum_current_a"`
	// LimitPurposes are the purposes of charging profiles to use, in this order,
	// in the words of the protocol: TxDefaultProfile. Default: what works.
	LimitPurposes []string `yaml:"limit_purposes"`
	// LimitUnit is the only unit that the station takes limits in: A or W.
	LimitUnit string `yaml:"limit_unit"`
	// ConfigurationChunk is how many variables may be asked for at once.
	ConfigurationChunk int `yaml:"configuration_chunk"`
	// ConfigurationList false says that the station does not list its
	// configuration: each key is asked for by name. Default: yes.
	ConfigurationList *bool `yaml:"configuration_list"`
	// Refresh none does not ask the station for its state when it says nothing
	// after it has connected. Default: ask.
	Refresh string `yaml:"refresh"`
	// Trigger says by which message the station can be asked for others: plain,
	// extended (of the security extension of 1.6) or none. Default: either.
	Trigger string `yaml:"trigger"`
	// Unlock none says that the station has nothing to unlock. Default: it has.
	Unlock string `yaml:"unlock"`
}

// The words of behaviours.
const (
	ScopeSession  = "session"
	ScopeLifetime = "lifetime"
	None          = "none"
	Ask           = "ask"
	Plain         = "plain"
	Extended      = "extended"
)

// On returns what a switch says, or otherwise where it is left out.
func On(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

// TimeoutOf is how long the answer to action may take; 0 where the profile does
// not say.
func (b *Behaviour) TimeoutOf(action string) time.Duration {
	if t, ok := b.Timeouts[action]; ok {
		return t
	}
	return b.Timeout
}

// Over returns b where it says something, and base everywhere else.
func (b Behaviour) Over(base Behaviour) Behaviour {
	over, out := reflect.ValueOf(b), reflect.ValueOf(&base).Elem()
	for i := range over.NumField() {
		if f := over.Field(i); !f.IsZero() {
			out.Field(i).Set(f)
		}
	}
	return base
}

// IsZero tells that b switches nothing.
func (b Behaviour) IsZero() bool { return reflect.ValueOf(b).IsZero() }

// Register returns an energy register in Wh as the station means it; nil stays
// nil.
func (b *Behaviour) Register(wh *int64) *int64 {
	if wh == nil || b.EnergyScale == 0 {
		return wh
	}
	scaled := int64(math.Round(float64(*wh) * b.EnergyScale))
	return &scaled
}

// Begin returns the register that a session begins with as the station means it.
func (b *Behaviour) Begin(wh *int64) *int64 {
	switch {
	case b.RegisterScope == ScopeSession:
		return new(int64)
	case b.RegisterScope == ScopeLifetime && wh != nil && *wh == 0:
		return nil // the value of a station that has lost it
	}
	return b.Register(wh)
}

// fits tells whether a pattern fits a word.
func fits(pattern, word string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	return glob([]rune(strings.ToLower(pattern)), []rune(strings.ToLower(strings.TrimSpace(word))))
}

// glob is the usual match with one step back to the last star.
func glob(pattern, word []rune) bool {
	p, w, star, mark := 0, 0, -1, 0
	for w < len(word) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, w
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == word[w]):
			p, w = p+1, w+1
		case star >= 0:
			mark++
			p, w = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// weight is how much a pattern says: its characters that stand for themselves.
func weight(pattern string) int {
	return len(pattern) - strings.Count(pattern, "*") - strings.Count(pattern, "?")
}

// fit returns how closely the profile fits, -1 where it does not.
func (p *Profile) fit(vendor, model, firmware string) int {
	best := -1
	for _, m := range p.Match {
		if fits(m.Vendor, vendor) && fits(m.Model, model) && fits(m.Firmware, firmware) {
			best = max(best, weight(m.Vendor)+weight(m.Model)+weight(m.Firmware))
		}
	}
	return best
}

// protocols are the subprotocols that a station can be assumed to speak.
var protocols = []string{"ocpp1.6", "ocpp2.0.1", "ocpp2.1"}

// purposes are those that a limit may be given as. OCPP 1.6 §7.9, OCPP 2.0.1
// ChargingProfilePurposeEnumType.
var purposes = []string{"ChargePointMaxProfile", "ChargingStationMaxProfile", "TxDefaultProfile", "TxProfile"}

// Check returns what is wrong with the values of b: the key, and what was
// expected.
func (b *Behaviour) Check() []Fault {
	var faults []Fault
	fault := func(key, text string, args ...any) {
		faults = append(faults, Fault{Key: key, Text: fmt.Sprintf(text, args...)})
	}
	span := func(key string, d, least, most time.Duration) {
		if d != 0 && (d < least || d > most) {
			fault(key, "expected a time span from %v to %v, got %v", least, most, d)
		}
	}
	word := func(key, value string, words ...string) {
		if value != "" && !slices.Contains(words, value) {
			fault(key, "expected %s, got %q", strings.Join(words, " or "), value)
		}
	}
	span("timeout", b.Timeout, time.Second, 10*time.Minute)
	for action, d := range b.Timeouts {
		if d < time.Second || d > 10*time.Minute {
			fault("timeouts."+action, "expected a time span from 1s to 10m, got %v", d)
		}
	}
	span("boot_wait", b.BootWait, time.Second, 10*time.Minute)
	span("heartbeat", b.Heartbeat, time.Minute, 15*time.Minute)
	word("assume_protocol", b.AssumeProtocol, protocols...)
	word("register_scope", b.RegisterScope, ScopeSession, ScopeLifetime)
	word("limit_unit", b.LimitUnit, "A", "W")
	word("refresh", b.Refresh, Ask, None)
	word("trigger", b.Trigger, Plain, Extended, None)
	word("unlock", b.Unlock, Ask, None)
	for _, p := range b.LimitPurposes {
		word("limit_purposes", p, purposes...)
	}
	scale := func(key string, v float64) {
		if v != 0 && (math.IsNaN(v) || v < 1e-6 || v > 1e6) {
			fault(key, "expected a factor from 0.000001 to 1000000, got %g", v)
		}
	}
	scale("energy_scale", b.EnergyScale)
	scale("power_scale", b.PowerScale)
	if math.IsNaN(b.MinimumA) || b.MinimumA < 0 || b.MinimumA > 1000 {
		fault("minimum_current_a", "expected 0 to 1000 A, got %g", b.MinimumA)
	}
	if b.ConfigurationChunk < 0 || b.ConfigurationChunk > 1000 {
		fault("configuration_chunk", "expected 1 to 1000, got %d", b.ConfigurationChunk)
	}
	return faults
}
