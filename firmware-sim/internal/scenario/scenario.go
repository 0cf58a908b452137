// Package scenario reads and runs the scripts that simulated chargers live
// through: who comes with which car, taps which card, charges for how long, and
// what goes wrong on the way.
//
// Parse lists every fault of a file with its line. firmware-sim/README.md
// describes the files.
package scenario

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// Scenario is a file.
type Scenario struct {
	Name          string
	Description   string
	Reconnect     time.Duration     // shortest wait before connecting anew; 0 when not set
	Configuration map[string]string // keys of 1.6 and variables of 2.x that every charger is preset with
	Groups        []Group
}

// Group is a number of chargers of one kind that live through one script.
type Group struct {
	Name          string
	Count         int
	Version       string   // of OCPP, as its sub-protocol
	Personalities []string // taken in turn by the chargers; none: they keep to the rules
	Vendor        string
	Model         string
	Firmware      string
	Supply        car.Supply
	Connectors    int
	Configuration map[string]string // before that of the scenario
	Tokens        []string          // cards of the drivers; made up when empty
	Cars          []Car
	Script        []Step // run once for every connector
}

// Car is a kind of vehicle.
type Car struct {
	Name string
	Car  car.Car // SoC as From
	From float64 // least state of charge on arrival, 0 to 1
	To   float64 // largest
}

// Arrive returns a car of this kind.
func (c Car) Arrive(random *rand.Rand) car.Car {
	arrived := c.Car
	arrived.SoC = max(0.001, c.From+random.Float64()*(c.To-c.From)) // 0 would mean a usual one
	return arrived
}

// Span is a duration, or a range from which one is drawn.
type Span struct{ From, To time.Duration }

// Draw returns a duration of the range.
func (s Span) Draw(random *rand.Rand) time.Duration {
	if s.To <= s.From {
		return s.From
	}
	return s.From + time.Duration(random.Int64N(int64(s.To-s.From)+1))
}

// Kind is what a step does.
type Kind string

// The kinds of step.
const (
	Plug      Kind = "plug"       // a car comes: Car, Connector
	Tap       Kind = "tap"        // a card is presented: Token, Connector
	Charge    Kind = "charge"     // wait while the transaction goes on: For, UntilSoC
	Unplug    Kind = "unplug"     // the car goes: Connector
	Break     Kind = "fault"      // something breaks: Codes, Info, For (until it is mended; not at all when zero), Connector
	LoseLink  Kind = "lose_link"  // the network goes away: For
	LosePower Kind = "lose_power" // the mains go away: For
	ClockSkew Kind = "clock_skew" // the charger's clock goes wrong: By
	Wait      Kind = "wait"       // For; jitter is a wait from nothing on
	Repeat    Kind = "repeat"     // Steps, Times (0: without end)
	Sometimes Kind = "sometimes"  // Steps, with probability Chance
)

// Step is one step of a script. Which fields count follows from its kind.
type Step struct {
	Line      int
	Kind      Kind
	Connector int  // 0: the one that the script runs for
	Board     bool // of a fault: of the charger as a whole
	Car       string
	Token     string
	For       Span
	UntilSoC  float64 // 0: not asked for
	Codes     []ocpp16.ChargePointErrorCode
	Info      string
	By        time.Duration
	Times     int
	Chance    float64
	Steps     []Step
}

// Chargers is how many chargers the scenario has by itself.
func (s *Scenario) Chargers() int {
	n := 0
	for _, g := range s.Groups {
		n += g.Count
	}
	return n
}

// Assign tells the group of each of count chargers: those of the scenario in its
// order, from its beginning again when it has fewer.
func (s *Scenario) Assign(count int) []*Group {
	own := make([]*Group, 0, s.Chargers())
	for i := range s.Groups {
		for range s.Groups[i].Count {
			own = append(own, &s.Groups[i])
		}
	}
	all := make([]*Group, count)
	for i := range all {
		all[i] = own[i%len(own)]
	}
	return all
}

// Load reads a scenario: a file when name is a path, else one of those embedded.
func Load(name string, embedded fs.FS) (*Scenario, error) {
	read := os.ReadFile
	path := name
	if !strings.ContainsRune(name, os.PathSeparator) && filepath.Ext(name) == "" {
		path = name + ".yaml"
		read = func(path string) ([]byte, error) { return fs.ReadFile(embedded, path) }
	}
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w (chargeyard-sim scenarios lists those that are built in)", name, err)
	}
	s, faults := Parse(data)
	if len(faults) > 0 {
		return nil, &FaultsError{File: path, Faults: faults}
	}
	s.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return s, nil
}

// Names lists the scenarios of a folder.
func Names(embedded fs.FS) ([]string, error) {
	files, err := fs.Glob(embedded, "*.yaml")
	if err != nil {
		return nil, err
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".yaml")
	}
	slices.Sort(files)
	return files, nil
}

// Fault is something wrong in a file.
type Fault struct {
	Line int
	Text string
}

// FaultsError is a file with faults.
type FaultsError struct {
	File   string
	Faults []Fault
}

// Error lists the faults, one a line.
func (e *FaultsError) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d: %s", e.File, f.Line, f.Text)
	}
	return b.String()
}
