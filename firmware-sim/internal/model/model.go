// Package model is the device model of a simulated OCPP 2 charging station: the
// components and variables that it has, with the rules for reading and writing
// them. Names, types and units are those of OCPP 2.0.1 part 2, appendix 3.
package model

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Name is a variable of a component. EVSE and Connector are 0 where a component
// belongs to the station, or to the EVSE as a whole.
type Name struct {
	Component, Instance string
	EVSE, Connector     int
	Variable, Of        string // Of is the instance of the variable
}

// String is the name as people write it, and the key under which a value is kept.
func (n Name) String() string {
	var b strings.Builder
	b.WriteString(n.Component)
	if n.Instance != "" {
		b.WriteString("[" + n.Instance + "]")
	}
	if n.EVSE > 0 {
		b.WriteString("@" + strconv.Itoa(n.EVSE))
	}
	if n.Connector > 0 {
		b.WriteString("." + strconv.Itoa(n.Connector))
	}
	b.WriteString("." + n.Variable)
	if n.Of != "" {
		b.WriteString("[" + n.Of + "]")
	}
	return b.String()
}

// Mutability tells whether a variable can be read and written.
type Mutability string

// The mutabilities, in the words of OCPP.
const (
	ReadOnly  Mutability = "ReadOnly"
	WriteOnly Mutability = "WriteOnly"
	ReadWrite Mutability = "ReadWrite"
)

// Variable is one of the model with its characteristics.
type Variable struct {
	Name       Name
	Mutability Mutability
	Type       string // in the words of OCPP: string, decimal, integer, dateTime, boolean, OptionList, SequenceList, MemberList
	Unit       string
	Values     []string // of a list
	Min, Max   *float64
	Reboot     bool // a change takes effect at the next start
	Monitored  bool // monitors can be set
	Value      string

	check func(string) error
}

// Errors of Find, Get and Set.
var (
	ErrComponent = errors.New("there is no such component")
	ErrVariable  = errors.New("the component has no such variable")
	ErrRejected  = errors.New("rejected")
)

// Model is the device model of one station. Values holds what differs from the
// factory's settings, by Name.String; it is what has to be remembered.
type Model struct {
	Values map[string]string

	all  []Variable
	live func(Name) (string, bool)
}

// Hardware is what the model has to know about a station.
type Hardware struct {
	EVSEs    int
	Phases   int
	MaxW     float64 // of an EVSE
	MaxA     float64
	DC       bool
	Vendor   string
	Model    string
	Identity string
	V21      bool // OCPP 2.1
}

// New returns the model of a station over values that were remembered, which it
// goes on to change. Live answers for what changes by itself.
func New(values map[string]string, h Hardware, live func(Name) (string, bool)) *Model {
	if values == nil {
		values = map[string]string{}
	}
	return &Model{Values: values, all: inventory(h), live: live}
}

// Find returns a variable. Component names are compared without regard to case,
// as are those of variables.
func (m *Model) Find(n Name) (Variable, error) {
	known := false
	for _, d := range m.all {
		if !strings.EqualFold(d.Name.Component, n.Component) || !strings.EqualFold(d.Name.Instance, n.Instance) || d.Name.EVSE != n.EVSE || d.Name.Connector != n.Connector {
			continue
		}
		known = true
		if strings.EqualFold(d.Name.Variable, n.Variable) && strings.EqualFold(d.Name.Of, n.Of) {
			return m.shown(d), nil
		}
	}
	if !known {
		return Variable{}, ErrComponent
	}
	return Variable{}, ErrVariable
}

// All returns every variable with its value, in the order of the appendix.
func (m *Model) All() []Variable {
	all := make([]Variable, 0, len(m.all))
	for _, d := range m.all {
		all = append(all, m.shown(d))
	}
	return all
}

// shown is a variable with the value that it has now.
func (m *Model) shown(v Variable) Variable {
	if s, ok := m.Values[v.Name.String()]; ok {
		v.Value = s
	}
	if s, ok := m.live(v.Name); ok {
		v.Value = s
	}
	return v
}

// Set writes a variable of the configuration, as SetVariables does. Reboot
// reports that it takes effect at the next start only.
func (m *Model) Set(n Name, value string) (reboot bool, err error) {
	v, err := m.Find(n)
	if err != nil {
		return false, err
	}
	if v.Mutability == ReadOnly {
		return false, fmt.Errorf("%w: %s is read-only", ErrRejected, v.Name)
	}
	if err := v.accepts(value); err != nil {
		return false, fmt.Errorf("%w: %s: %w", ErrRejected, v.Name, err)
	}
	m.Values[v.Name.String()] = value
	return v.Reboot, nil
}

// Preset sets a variable by the name that String gives it, read-only ones too.
func (m *Model) Preset(name, value string) error {
	for _, d := range m.all {
		if strings.EqualFold(d.Name.String(), name) {
			if err := d.accepts(value); err != nil {
				return fmt.Errorf("variable %s: %w", d.Name, err)
			}
			m.Values[d.Name.String()] = value
			return nil
		}
	}
	return fmt.Errorf("variable %q is not known", name)
}

// Check tells whether Preset would take a variable of a usual station.
func Check(name, value string) error {
	return New(nil, Hardware{EVSEs: 1, Phases: 3, V21: true}, func(Name) (string, bool) { return "", false }).Preset(name, value)
}

// Text returns the value of a variable of the station by the name that String
// gives it; empty for an unknown one.
func (m *Model) Text(name string) string {
	for _, d := range m.all {
		if d.Name.String() == name {
			return m.shown(d).Value
		}
	}
	return ""
}

// Bool returns the value of a variable that is true or false.
func (m *Model) Bool(name string) bool { return strings.EqualFold(m.Text(name), "true") }

// Int returns the value of a variable that is a number.
func (m *Model) Int(name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(m.Text(name)))
	if err != nil {
		return 0
	}
	return n
}

// Seconds returns the value of a variable that is a number of seconds.
func (m *Model) Seconds(name string) time.Duration {
	return time.Duration(m.Int(name)) * time.Second
}

// List returns the items of a variable that is a list.
func (m *Model) List(name string) []string { return list(m.Text(name)) }

func list(value string) []string {
	var items []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// accepts tells what is wrong with a value.
func (v Variable) accepts(value string) error {
	switch v.Type {
	case "boolean":
		if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
			return fmt.Errorf("%q: expected true or false", value)
		}
	case "integer", "decimal":
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || v.Type == "integer" && n != float64(int64(n)) {
			return fmt.Errorf("%q: expected a number of type %s", value, v.Type)
		}
		if v.Min != nil && n < *v.Min || v.Max != nil && n > *v.Max {
			return fmt.Errorf("%q: expected %g to %g", value, *v.Min, *v.Max)
		}
	case "OptionList":
		if len(v.Values) > 0 && !slices.Contains(v.Values, value) {
			return fmt.Errorf("%q: expected one of %s", value, strings.Join(v.Values, ", "))
		}
	case "MemberList", "SequenceList":
		for _, item := range list(value) {
			if len(v.Values) > 0 && !slices.Contains(v.Values, item) {
				return fmt.Errorf("%q: expected some of %s", item, strings.Join(v.Values, ", "))
			}
		}
	}
	if v.check != nil {
		return v.check(value)
	}
	return nil
}
