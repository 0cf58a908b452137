package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/personality"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"go.yaml.in/yaml/v3"
)

// hardware are the kinds of charger that have a name.
var hardware = map[string]car.Supply{
	"ac7":   {MaxA: 32, Phases: 1},
	"ac11":  {MaxA: 16, Phases: 3},
	"ac22":  {MaxA: 32, Phases: 3},
	"dc60":  {DC: true, MaxW: 60_000, Phases: 3},
	"dc150": {DC: true, MaxW: 150_000, Phases: 3},
}

// limits of what a file may ask for.
const (
	maxChargers   = 100_000
	maxConnectors = 64
	maxDepth      = 16     // of repeat and sometimes
	maxSteps      = 10_000 // in all: an alias within itself would never end
)

// Parse reads a scenario. With faults, the scenario must not be used.
func Parse(data []byte) (*Scenario, []Fault) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, []Fault{syntaxFault(err)}
	}
	p := &parser{cars: map[string]Car{}}
	if len(document.Content) == 0 {
		return nil, []Fault{{1, "the file is empty: expected groups"}}
	}
	s := p.scenario(document.Content[0])
	slices.SortStableFunc(p.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return s, p.faults
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

func syntaxFault(err error) Fault {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		text = strings.Replace(text, m[0], "", 1)
	}
	return Fault{line, text}
}

// parser walks the nodes of a file and collects what is wrong.
type parser struct {
	faults []Fault
	cars   map[string]Car
	order  []string // of cars
	read   int      // steps so far
}

func (p *parser) fault(n *yaml.Node, format string, args ...any) {
	p.faults = append(p.faults, Fault{n.Line, fmt.Sprintf(format, args...)})
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// fields reads a mapping with known keys.
func (p *parser) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		p.fault(n, "%s: expected a mapping, got %s", what, describe(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case !ok:
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			p.fault(key, "%s: unknown key %q: expected one of %s", what, key.Value, strings.Join(names, ", "))
		case seen[key.Value]:
			p.fault(key, "%s: %s is given twice", what, key.Value)
		default:
			read(resolve(value))
		}
		seen[key.Value] = true
	}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

func (p *parser) items(n *yaml.Node, what string) []*yaml.Node {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		p.fault(n, "%s: expected a list, got %s", what, describe(n))
		return nil
	}
	all := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		all[i] = resolve(item)
	}
	return all
}

func (p *parser) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.fault(n, "%s: expected a text, got %s", what, describe(n))
		return ""
	}
	return n.Value
}

func (p *parser) whole(n *yaml.Node, what string, low, high int) int {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < low || v > high {
		p.fault(n, "%s: expected a whole number from %d to %d, got %s", what, low, high, describe(n))
		return low
	}
	return v
}

func (p *parser) number(n *yaml.Node, what string, low, high float64) float64 {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || !(v >= low && v <= high) {
		p.fault(n, "%s: expected a number from %g to %g, got %s", what, low, high, describe(n))
		return low
	}
	return v
}

// span reads "5s" or "5s..20s".
func (p *parser) span(n *yaml.Node, what string) Span {
	low, high, ranged := strings.Cut(n.Value, "..")
	if !ranged {
		high = low
	}
	from, err1 := time.ParseDuration(strings.TrimSpace(low))
	to, err2 := time.ParseDuration(strings.TrimSpace(high))
	if n.Kind != yaml.ScalarNode || err1 != nil || err2 != nil || from < 0 || to < from {
		p.fault(n, "%s: expected a time such as 5s, or a range such as 5s..20s, got %s", what, describe(n))
		return Span{}
	}
	return Span{from, to}
}

// percent reads "80%".
func percent(text string) (float64, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	if !ok {
		return 0, errors.New("no percent sign")
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return 0, errors.New("not from 0% to 100%")
	}
	return v / 100, nil
}

// share reads "20%" or "20%..60%".
func (p *parser) share(n *yaml.Node, what string) (from, to float64) {
	low, high, ranged := strings.Cut(n.Value, "..")
	if !ranged {
		high = low
	}
	from, err1 := percent(low)
	to, err2 := percent(high)
	if n.Kind != yaml.ScalarNode || err1 != nil || err2 != nil || to < from {
		p.fault(n, "%s: expected a state of charge such as 20%%, or a range such as 20%%..60%%, got %s", what, describe(n))
	}
	return from, to
}

func (p *parser) scenario(n *yaml.Node) *Scenario {
	s := &Scenario{}
	var groups *yaml.Node
	p.fields(n, "scenario", map[string]func(*yaml.Node){
		"description":   func(n *yaml.Node) { s.Description = p.text(n, "description") },
		"reconnect":     func(n *yaml.Node) { s.Reconnect = p.span(n, "reconnect").From },
		"configuration": func(n *yaml.Node) { s.Configuration = p.configuration(n) },
		"cars":          p.readCars,
		"groups":        func(n *yaml.Node) { groups = n },
	})
	if groups == nil {
		if resolve(n).Kind == yaml.MappingNode {
			p.fault(n, "scenario: groups are missing")
		}
		return s
	}
	for i, g := range p.items(groups, "groups") {
		s.Groups = append(s.Groups, p.group(g, i))
	}
	if n := s.Chargers(); len(p.faults) == 0 && (n < 1 || n > maxChargers) {
		p.fault(groups, "groups: %d chargers: expected 1 to %d", n, maxChargers)
	}
	return s
}

func (p *parser) configuration(n *yaml.Node) map[string]string {
	all := map[string]string{}
	if n.Kind != yaml.MappingNode {
		p.fault(n, "configuration: expected a mapping of keys to values, got %s", describe(n))
		return all
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		if value.Kind != yaml.ScalarNode {
			p.fault(value, "configuration: %s: expected a value, got %s", key.Value, describe(value))
			continue
		}
		check := keys.Check
		if strings.ContainsRune(key.Value, '.') { // Component.Variable of OCPP 2
			check = model.Check
		}
		if err := check(key.Value, value.Value); err != nil {
			p.fault(key, "configuration: %v", err)
		}
		all[key.Value] = value.Value
	}
	return all
}

func (p *parser) readCars(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.fault(n, "cars: expected a mapping of names to cars, got %s", describe(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		c := Car{Name: name, From: 0.2, To: 0.2}
		what := "car " + name
		p.fields(n.Content[i+1], what, map[string]func(*yaml.Node){
			"battery_kwh": func(n *yaml.Node) { c.Car.BatteryWh = 1000 * p.number(n, what+": battery_kwh", 0.1, 2000) },
			"soc":         func(n *yaml.Node) { c.From, c.To = p.share(n, what+": soc") },
			"ac_phases":   func(n *yaml.Node) { c.Car.ACPhases = p.whole(n, what+": ac_phases", 1, 3) },
			"ac_max_a":    func(n *yaml.Node) { c.Car.ACMaxA = p.number(n, what+": ac_max_a", car.MinCurrentA, 125) },
			"dc_max_kw":   func(n *yaml.Node) { c.Car.DCMaxW = 1000 * p.number(n, what+": dc_max_kw", 1, 4000) },
			"target": func(n *yaml.Node) {
				_, c.Car.Target = p.share(n, what+": target")
			},
		})
		p.cars[name] = c
		p.order = append(p.order, name)
	}
}

func (p *parser) group(n *yaml.Node, index int) Group {
	g := Group{Name: fmt.Sprintf("group %d", index+1), Count: 1, Version: ocppj.V16, Connectors: 1, Supply: hardware["ac22"]}
	what := func(field string) string { return g.Name + ": " + field }
	var script, cars, personalities *yaml.Node
	p.fields(n, g.Name, map[string]func(*yaml.Node){
		"version":       func(n *yaml.Node) { g.Version = p.version(n, what("version")) },
		"personality":   func(n *yaml.Node) { personalities = n },
		"name":          func(n *yaml.Node) { g.Name = p.text(n, what("name")) },
		"count":         func(n *yaml.Node) { g.Count = p.whole(n, what("count"), 1, maxChargers) },
		"connectors":    func(n *yaml.Node) { g.Connectors = p.whole(n, what("connectors"), 1, maxConnectors) },
		"vendor":        func(n *yaml.Node) { g.Vendor = p.short(n, what("vendor"), 20) },
		"model":         func(n *yaml.Node) { g.Model = p.short(n, what("model"), 20) },
		"firmware":      func(n *yaml.Node) { g.Firmware = p.short(n, what("firmware"), 50) },
		"configuration": func(n *yaml.Node) { g.Configuration = p.configuration(n) },
		"hardware":      func(n *yaml.Node) { g.Supply = p.hardware(n, what("hardware")) },
		"tokens": func(n *yaml.Node) {
			for _, item := range p.items(n, what("tokens")) {
				g.Tokens = append(g.Tokens, p.short(item, what("token"), 20))
			}
		},
		"cars":   func(n *yaml.Node) { cars = n },
		"script": func(n *yaml.Node) { script = n },
	})
	if personalities != nil {
		g.Personalities = p.personalities(personalities, g.Version, what("personality"))
	}
	names := p.order
	if cars != nil {
		names = nil
		for _, item := range p.items(cars, what("cars")) {
			if _, ok := p.cars[item.Value]; !ok {
				p.fault(item, "%s: the scenario has no car %s", g.Name, describe(item))
				continue
			}
			names = append(names, item.Value)
		}
	}
	for _, name := range names {
		g.Cars = append(g.Cars, p.cars[name])
	}
	if len(g.Cars) == 0 {
		g.Cars = []Car{{Name: "usual", From: 0.2, To: 0.6}}
	}
	if script != nil {
		g.Script = p.steps(script, &g, what("script"), 0)
	}
	return g
}

// versions are those of OCPP by their names.
var versions = map[string]string{"1.6": ocppj.V16, "2.0.1": ocppj.V201, "2.1": ocppj.V21}

// Version returns the sub-protocol of a version of OCPP: of 2.0.1, ocpp2.0.1.
func Version(name string) (string, error) {
	v, ok := versions[name]
	if !ok {
		return "", fmt.Errorf("version %q: expected 1.6, 2.0.1 or 2.1", name)
	}
	return v, nil
}

func (p *parser) version(n *yaml.Node, what string) string {
	v, err := Version(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		p.fault(n, "%s: expected 1.6, 2.0.1 or 2.1, got %s", what, describe(n))
		return ocppj.V16
	}
	return v
}

// personalities reads one name or a list of them.
func (p *parser) personalities(n *yaml.Node, version, what string) []string {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = p.items(n, what)
	}
	var all []string
	for _, item := range nodes {
		name := p.text(item, what)
		found, err := personality.Find(name)
		switch {
		case err != nil:
			p.fault(item, "%s: %v", what, err)
		case !found.Speaks(version):
			p.fault(item, "%s: %s does not make sense in %s", what, name, version)
		}
		all = append(all, name)
	}
	return all
}

func (p *parser) short(n *yaml.Node, what string, limit int) string {
	text := p.text(n, what)
	if len([]rune(text)) > limit {
		p.fault(n, "%s: %q: expected at most %d characters", what, text, limit)
	}
	return text
}

func (p *parser) hardware(n *yaml.Node, what string) car.Supply {
	if n.Kind == yaml.ScalarNode {
		s, ok := hardware[n.Value]
		if !ok {
			p.fault(n, "%s: expected ac7, ac11, ac22, dc60, dc150 or a mapping, got %s", what, describe(n))
		}
		return s
	}
	s := car.Supply{Phases: 3}
	p.fields(n, what, map[string]func(*yaml.Node){
		"kind": func(n *yaml.Node) {
			if n.Value != "ac" && n.Value != "dc" {
				p.fault(n, "%s: kind: expected ac or dc, got %s", what, describe(n))
			}
			s.DC = n.Value == "dc"
		},
		"phases": func(n *yaml.Node) {
			if s.Phases = p.whole(n, what+": phases", 1, 3); s.Phases == 2 {
				p.fault(n, "%s: phases: expected 1 or 3, got 2", what)
			}
		},
		"max_a":  func(n *yaml.Node) { s.MaxA = p.number(n, what+": max_a", car.MinCurrentA, 125) },
		"max_kw": func(n *yaml.Node) { s.MaxW = 1000 * p.number(n, what+": max_kw", 1, 4000) },
	})
	switch {
	case s.DC && s.MaxW == 0:
		p.fault(n, "%s: max_kw is missing", what)
	case !s.DC && s.MaxA == 0:
		p.fault(n, "%s: max_a is missing", what)
	}
	return s
}

// ---- scripts

func (p *parser) steps(n *yaml.Node, g *Group, what string, depth int) []Step {
	if depth > maxDepth {
		p.fault(n, "%s: steps are nested deeper than %d", what, maxDepth)
		return nil
	}
	var all []Step
	for _, item := range p.items(n, what) {
		if p.read++; p.read > maxSteps {
			if p.read == maxSteps+1 {
				p.fault(n, "%s: more than %d steps in the file", what, maxSteps)
			}
			return all
		}
		all = append(all, p.step(item, g, depth))
	}
	return all
}

// step reads "- unplug" or "- wait: 5s" or "- charge: {for: 5s}".
func (p *parser) step(n *yaml.Node, g *Group, depth int) Step {
	s := Step{Line: n.Line}
	var name string
	var value *yaml.Node
	switch {
	case n.Kind == yaml.ScalarNode:
		name = n.Value
	case n.Kind == yaml.MappingNode && len(n.Content) == 2:
		name, value = n.Content[0].Value, resolve(n.Content[1])
		if value.Tag == "!!null" {
			value = nil
		}
	default:
		p.fault(n, "step: expected one name, such as plug or wait: 5s, got %s", describe(n))
		return s
	}
	s.Kind = Kind(name)
	connector := func(n *yaml.Node) { s.Connector = p.whole(n, name+": connector", 1, g.Connectors) }
	read := func(known map[string]func(*yaml.Node)) {
		if value != nil {
			p.fields(value, name, known)
		}
	}
	required := func(ok bool, field string) {
		if !ok {
			p.fault(n, "%s: %s is missing", name, field)
		}
	}
	span := false
	// For steps with one number, "wait: 5s" says it as well.
	times := func() {
		switch {
		case value == nil:
		case value.Kind == yaml.ScalarNode:
			s.For, span = p.span(value, name), true
		default:
			p.fields(value, name, map[string]func(*yaml.Node){"for": func(n *yaml.Node) { s.For, span = p.span(n, name+": for"), true }})
		}
		required(span || value != nil && value.Kind == yaml.MappingNode && len(value.Content) > 0, "for")
	}
	switch s.Kind {
	case Plug:
		read(map[string]func(*yaml.Node){"connector": connector, "car": func(n *yaml.Node) {
			if s.Car = n.Value; !slices.ContainsFunc(g.Cars, func(c Car) bool { return c.Name == n.Value }) {
				p.fault(n, "plug: the group has no car %s", describe(n))
			}
		}})
	case Tap:
		read(map[string]func(*yaml.Node){"connector": connector, "token": func(n *yaml.Node) { s.Token = p.short(n, "tap: token", 20) }})
	case Unplug:
		read(map[string]func(*yaml.Node){"connector": connector})
	case Charge:
		read(map[string]func(*yaml.Node){"connector": connector,
			"for": func(n *yaml.Node) { s.For, span = p.span(n, "charge: for"), true },
			"until": func(n *yaml.Node) {
				if n.Value == "full" {
					s.UntilSoC = 1
					return
				}
				v, err := percent(n.Value)
				if err != nil || v == 0 {
					p.fault(n, "charge: until: expected full or a state of charge such as 80%%, got %s", describe(n))
				}
				s.UntilSoC = v
			}})
		required(value != nil && len(value.Content) > 0, "for or until")
	case Break:
		p.faultStep(n, value, g, &s)
	case LoseLink, LosePower, Wait:
		times()
	case "jitter":
		s.Kind = Wait
		times()
		s.For = Span{0, s.For.To}
	case ClockSkew:
		by := func(n *yaml.Node) {
			d, err := time.ParseDuration(n.Value)
			if err != nil || d == 0 {
				p.fault(n, "clock_skew: by: expected a time such as 90s or -2h, got %s", describe(n))
			}
			s.By = d
		}
		read(map[string]func(*yaml.Node){"by": by})
		required(value != nil && len(value.Content) > 0, "by")
	case Repeat:
		p.repeat(n, value, g, &s, depth)
	case Sometimes:
		s.Chance = -1
		read(map[string]func(*yaml.Node){
			"chance": func(n *yaml.Node) { s.Chance = p.number(n, "sometimes: chance", 0, 1) },
			"steps":  func(n *yaml.Node) { s.Steps = p.steps(n, g, "sometimes: steps", depth+1) },
		})
		required(s.Chance >= 0, "chance")
		required(len(s.Steps) > 0, "steps")
	default:
		p.fault(n, "unknown step %q: expected plug, tap, charge, unplug, fault, lose_link, lose_power, clock_skew, wait, jitter, repeat or sometimes", name)
	}
	return s
}

func (p *parser) faultStep(n, value *yaml.Node, g *Group, s *Step) {
	code := func(n *yaml.Node) {
		c := ocpp16.ChargePointErrorCode(n.Value)
		check := ocpp16.StatusNotificationRequest{ErrorCode: c, Status: ocpp16.ChargePointStatusFaulted}
		if check.Validate() != nil || c == ocpp16.ChargePointErrorCodeNoError {
			p.fault(n, "fault: code: expected an error code of OCPP 1.6 such as GroundFailure, got %s", describe(n))
		}
		s.Codes = append(s.Codes, c)
	}
	if value != nil {
		p.fields(value, "fault", map[string]func(*yaml.Node){
			"connector": func(n *yaml.Node) {
				s.Connector = p.whole(n, "fault: connector", 0, g.Connectors)
				s.Board = s.Connector == 0
			},
			"code": func(n *yaml.Node) {
				if n.Kind != yaml.SequenceNode {
					code(n)
					return
				}
				for _, item := range n.Content {
					code(resolve(item))
				}
			},
			"info":        func(n *yaml.Node) { s.Info = p.short(n, "fault: info", 50) },
			"clear_after": func(n *yaml.Node) { s.For = p.span(n, "fault: clear_after") },
		})
	}
	if len(s.Codes) == 0 {
		p.fault(n, "fault: code is missing")
	}
}

func (p *parser) repeat(n, value *yaml.Node, g *Group, s *Step, depth int) {
	if value != nil {
		p.fields(value, "repeat", map[string]func(*yaml.Node){
			"times": func(n *yaml.Node) { s.Times = p.whole(n, "repeat: times", 1, 1_000_000) },
			"steps": func(n *yaml.Node) { s.Steps = p.steps(n, g, "repeat: steps", depth+1) },
		})
	}
	if len(s.Steps) == 0 {
		p.fault(n, "repeat: steps are missing")
		return
	}
	if s.Times == 0 && !takesTime(s.Steps) {
		p.fault(n, "repeat: without end, and no step in it takes time: it would keep a processor busy")
	}
}

// takesTime tells whether a script surely lets time pass.
func takesTime(steps []Step) bool {
	for _, s := range steps {
		switch s.Kind {
		case Wait, LoseLink, LosePower:
			if s.For.To > 0 {
				return true
			}
		case Repeat:
			if s.Times == 0 || takesTime(s.Steps) {
				return true
			}
		}
	}
	return false
}
