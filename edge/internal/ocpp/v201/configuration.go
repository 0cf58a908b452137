package v201

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// fewVariables is how many variables are asked for at once where the station does
// not say how many it takes.
const fewVariables = 4

// variable names one variable of the whole station.
func variable(component, name, instance string) ocpp201.GetVariableData {
	return ocpp201.GetVariableData{
		Component: ocpp201.Component{Name: component}, Variable: ocpp201.Variable{Name: name, Instance: instance},
	}
}

// componentOf is the place of a variable in the device model, as variableOf writes
// it.
func componentOf(v event.Variable) ocpp201.Component {
	name, instance, _ := strings.Cut(v.Component, "/")
	c := ocpp201.Component{Name: name, Instance: instance}
	if v.EVSE != 0 {
		c.EVSE = &ocpp201.EVSE{ID: int64(v.EVSE)}
		if n, ok := strings.CutPrefix(instance, "connector-"); ok {
			if id, err := strconv.ParseInt(n, 10, 64); err == nil {
				c.Instance, c.EVSE.ConnectorID = "", &id
			}
		}
	}
	return c
}

// ask reads variables in one message.
func (j *errand) ask(variables ...ocpp201.GetVariableData) ([]ocpp201.GetVariableResult, error) {
	var answer ocpp201.GetVariablesResponse
	if err := j.Call(&ocpp201.GetVariablesRequest{GetVariableData: variables}, &answer); err != nil {
		return nil, err
	}
	return answer.GetVariableResult, nil
}

// room is how much fits into one message.
type room struct{ items, bytes int }

// rooms asks once how many variables, and how many bytes, a GetVariables and a
// SetVariables may have. OCPP 2.0.1 B05.FR.11, B06.FR.16.
func (j *errand) rooms() (get, set room) {
	if most := j.c.Profile().ConfigurationChunk; most > 0 {
		return room{items: most}, room{items: most}
	}
	memory := j.memory()
	number := func(name, instance string, otherwise int) int {
		if n, ok := memory.Number(name + "(" + instance + ")"); ok {
			return n
		}
		return otherwise
	}
	if _, asked := memory.Number("rooms asked"); !asked {
		var values []ocpp201.GetVariableResult
		var err error
		for _, instance := range []string{ocpp201.ActionGetVariables, ocpp201.ActionSetVariables} {
			var some []ocpp201.GetVariableResult
			some, err = j.ask(variable("DeviceDataCtrlr", "ItemsPerMessage", instance), variable("DeviceDataCtrlr", "BytesPerMessage", instance))
			values = append(values, some...)
		}
		if !errors.Is(err, ocpp.ErrLost) && !errors.Is(err, ocpp.ErrNotSent) {
			memory.Learn("rooms asked", 1)
		}
		for _, r := range values {
			if n, err := strconv.Atoi(strings.TrimSpace(r.AttributeValue)); err == nil && n > 0 {
				memory.Learn(r.Variable.Name+"("+r.Variable.Instance+")", n)
			}
		}
	}
	get = room{number("ItemsPerMessage", ocpp201.ActionGetVariables, fewVariables), number("BytesPerMessage", ocpp201.ActionGetVariables, 0)}
	set = room{number("ItemsPerMessage", ocpp201.ActionSetVariables, fewVariables), number("BytesPerMessage", ocpp201.ActionSetVariables, 0)}
	return get, set
}

// envelope is what surrounds the items of a message: brackets, the action, the
// id of the CALL and the name of the list.
const envelope = 120

// fill cuts items into messages: at most r.items each, and r.bytes where that is
// not 0, given the size of each item. One item always fits.
func fill[T any](items []T, r room, size func(*T) int) [][]T {
	var all [][]T
	bytes := 0
	for i := range items {
		n := size(&items[i]) + 1
		last := len(all) - 1
		if last < 0 || len(all[last]) >= max(r.items, 1) || r.bytes > 0 && bytes+n > r.bytes {
			all = append(all, nil)
			last++
			bytes = envelope
		}
		all[last] = append(all[last], items[i])
		bytes += n
	}
	return all
}

// read reads variables in as many messages as the station needs; those that it
// leaves out of its answers are none that it has.
func (j *errand) read(variables []ocpp201.GetVariableData) ([]ocpp201.GetVariableResult, error) {
	r := room{items: fewVariables}
	if len(variables) > fewVariables {
		r, _ = j.rooms()
	}
	var all []ocpp201.GetVariableResult
	size := func(v *ocpp201.GetVariableData) int { return len(v.AppendJSON(nil)) }
	for _, chunk := range fill(variables, r, size) {
		some, err := j.ask(chunk...)
		if tooMany(err) && len(chunk) > 1 { // it said otherwise, or did not say
			j.memory().Learn("ItemsPerMessage("+ocpp201.ActionGetVariables+")", 1)
			some, err = nil, nil
			for _, one := range chunk {
				var found []ocpp201.GetVariableResult
				if found, err = j.ask(one); err != nil {
					break
				}
				some = append(some, found...)
			}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		for i := range chunk {
			asked := &chunk[i]
			if !slices.ContainsFunc(some, func(r ocpp201.GetVariableResult) bool {
				return sameVariable(&r.Component, &r.Variable, &asked.Component, &asked.Variable) && sameAttribute(r.AttributeType, asked.AttributeType)
			}) {
				all = append(all, ocpp201.GetVariableResult{
					AttributeStatus: ocpp201.GetVariableStatusUnknownVariable, AttributeType: asked.AttributeType,
					Component: asked.Component, Variable: asked.Variable,
				})
			}
		}
	}
	return all, nil
}

// tooMany tells that a station refuses a list for its length. OCPP 2.0.1
// B06.FR.16.
func tooMany(err error) bool {
	refusal := new(ocpp.CallError)
	if !errors.As(err, &refusal) {
		return false
	}
	code := refusal.Code.Canonical()
	return code == ocppj.OccurrenceConstraintViolation || code == ocppj.FormatViolation
}

// configurationResult is what a reading of the configuration brought.
type configurationResult struct {
	Variables []event.Variable `json:"variables"`
	Unknown   []string         `json:"unknown,omitempty"`
}

// dotted names a variable for people.
func dotted(c *ocpp201.Component, v *ocpp201.Variable) string {
	name := c.Name
	if c.Instance != "" {
		name += "/" + c.Instance
	}
	if c.EVSE != nil {
		name += "[" + strconv.FormatInt(c.EVSE.ID, 10)
		if c.EVSE.ConnectorID != nil {
			name += "." + strconv.FormatInt(*c.EVSE.ConnectorID, 10)
		}
		name += "]"
	}
	name += "." + v.Name
	if v.Instance != "" {
		name += "(" + v.Instance + ")"
	}
	return name
}

func (j *errand) getConfiguration(p *event.GetConfigurationParams) (site.Outcome, error) {
	if len(p.Variables) == 0 {
		return j.inventory()
	}
	names := make([]ocpp201.GetVariableData, len(p.Variables))
	for i, v := range p.Variables {
		names[i] = ocpp201.GetVariableData{
			AttributeType: ocpp201.Attribute(v.Attribute), Component: componentOf(v),
			Variable: ocpp201.Variable{Name: v.Variable, Instance: v.Instance},
		}
	}
	results, err := j.read(names)
	if err != nil {
		return site.Outcome{}, err
	}
	found := configurationResult{Variables: []event.Variable{}}
	for i := range results {
		r := &results[i]
		if job.VerdictOf(string(r.AttributeStatus)) != job.Accepted {
			found.Unknown = append(found.Unknown, dotted(&r.Component, &r.Variable))
			continue
		}
		found.Variables = append(found.Variables, told(r))
	}
	report := site.ConfigurationReport{Variables: found.Variables, Unknown: found.Unknown, Command: j.Order.ID}
	if err := j.OnStation(func() error { return j.st.Configuration(report) }); err != nil {
		return site.Outcome{}, err
	}
	return site.Outcome{State: event.StateSucceeded, Result: job.Result(found)}, nil
}

// told is a variable as the domain knows it.
func told(r *ocpp201.GetVariableResult) event.Variable {
	v := variableOf(&r.Component, &r.Variable)
	v.Value = r.AttributeValue
	if r.AttributeType != "" && r.AttributeType.Fold() != ocpp201.AttributeActual {
		v.Attribute = string(r.AttributeType)
	}
	if job.Secret(v.Variable) {
		v.Value = ""
	}
	return v
}

// inventories are the reports that hold the device model, the whole one first.
// OCPP 2.0.1 B07: every station has the first two, the last is optional.
var inventories = []ocpp201.ReportBase{
	ocpp201.ReportBaseFullInventory, ocpp201.ReportBaseConfigurationInventory, ocpp201.ReportBaseSummaryInventory,
}

// inventory has the station report its device model. The parts become events as
// they come; the order succeeds with the last one.
func (j *errand) inventory() (site.Outcome, error) {
	var last site.Outcome
	for i, base := range inventories {
		parts, variables := 0, 0
		if base == ocpp201.ReportBaseFullInventory {
			j.expectWhole(j.Order.Request)
		}
		var answer ocpp201.GetBaseReportResponse
		err := j.collect(ocpp201.ActionNotifyReport, j.Order.Request, func() (bool, error) {
			err := j.Call(&ocpp201.GetBaseReportRequest{RequestID: int64(j.Order.Request), ReportBase: base}, &answer)
			return err == nil && job.VerdictOf(string(answer.Status)) == job.Accepted, err
		}, func(message any) {
			parts++
			if m, ok := message.(*ocpp201.NotifyReportRequest); ok {
				variables += len(m.ReportData)
			}
		})
		result := job.Result(map[string]any{"report": string(base), "parts": parts, "variables": variables})
		switch {
		case err != nil && parts > 0:
			return site.Outcome{State: event.StateFailed, Result: result,
				Reason: fmt.Sprintf("the report broke off after %d parts: %v", parts, err)}, nil
		case err != nil:
			return site.Outcome{}, err
		case answer.Status.Fold() == ocpp201.GenericDeviceModelStatusEmptyResultSet: // B07.FR.13
			return site.Outcome{State: event.StateSucceeded, Result: result, Reason: "the station has nothing to report"}, nil
		}
		last = job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo))
		last.Result = result
		if last.State != event.StateSucceeded {
			j.isWhole(int64(j.Order.Request)) // it does not come
			last.Result = nil
		}
		if last.State != event.StateUnsupported {
			if i > 0 && last.State == event.StateSucceeded {
				last.Reason = "the station has no " + string(inventories[0]) + ", this is its " + string(base)
			}
			return last, nil
		}
	}
	return last, nil
}

// written is what became of one variable.
type written struct {
	Component string `json:"component"`
	Variable  string `json:"variable"`
	Status    string `json:"status"` // the station's word
	Reason    string `json:"reason,omitempty"`
	Value     string `json:"value,omitempty"`
}

func (j *errand) setConfiguration(p *event.SetConfigurationParams) (site.Outcome, error) {
	if len(p.Variables) == 0 {
		return job.Rejectedf("variables: expected at least one"), nil
	}
	data := make([]ocpp201.SetVariableData, len(p.Variables))
	for i, v := range p.Variables {
		if n := len(v.Value); isPassword(v.Component, v.Variable) && (n < leastPassword || n > mostPassword) {
			return job.Rejectedf("BasicAuthPassword: expected %d to %d characters, got %d", leastPassword, mostPassword, n), nil
		}
		data[i] = ocpp201.SetVariableData{
			AttributeType: ocpp201.Attribute(v.Attribute), AttributeValue: v.Value, Component: componentOf(v),
			Variable: ocpp201.Variable{Name: v.Variable, Instance: v.Instance},
		}
	}
	r := room{items: fewVariables}
	if len(data) > fewVariables {
		_, r = j.rooms()
	}
	var all []written
	var worst site.Outcome // the outcome of the first variable that was not simply accepted
	done, reboot := 0, false
	for _, chunk := range fill(data, r, func(d *ocpp201.SetVariableData) int { return len(d.AppendJSON(nil)) }) {
		if err := j.announcePassword(chunk); err != nil {
			return site.Outcome{}, err
		}
		var answer ocpp201.SetVariablesResponse
		if err := j.Call(&ocpp201.SetVariablesRequest{SetVariableData: chunk}, &answer); err != nil {
			return site.Outcome{}, err
		}
		for i := range chunk {
			d := &chunk[i]
			w := written{Component: d.Component.Name, Variable: dotted(&d.Component, &d.Variable), Status: "no answer"}
			if at := slices.IndexFunc(answer.SetVariableResult, func(r ocpp201.SetVariableResult) bool {
				return sameVariable(&r.Component, &r.Variable, &d.Component, &d.Variable) && sameAttribute(r.AttributeType, d.AttributeType)
			}); at >= 0 {
				w.Status, w.Reason = string(answer.SetVariableResult[at].AttributeStatus), because(answer.SetVariableResult[at].AttributeStatusInfo)
			}
			all = append(all, w)
			o := job.Judge(w.Status, event.StateSucceeded, w.Reason)
			if o.State == event.StateSucceeded || o.State == event.StateAccepted {
				done++
				reboot = reboot || o.State == event.StateAccepted
				continue
			}
			if worst.State == "" {
				worst = o
				worst.Reason = w.Variable + ": " + o.Reason
			}
		}
	}
	if worst.State != "" {
		if done > 0 {
			worst.State = event.StateFailed
			worst.Reason += "; " + strconv.Itoa(done) + " of " + strconv.Itoa(len(data)) + " were accepted"
		}
		worst.Result = job.Result(all)
		return worst, nil
	}
	if reboot {
		return site.Outcome{State: event.StateAccepted, Result: job.Result(all),
			Reason: "reboot required: the values take effect after a reset of the station"}, nil
	}
	return j.readBack(p.Variables, all)
}

// How long a password may be: that of 2.0.1 at least and that of 2.1 at most. The
// station's own check comes after this one.
const (
	leastPassword = 16
	mostPassword  = 64
)

// isPassword tells whether a variable is the password that the station connects
// with. OCPP 2.0.1 part 2 §2: SecurityCtrlr.BasicAuthPassword.
func isPassword(component, variable string) bool {
	return strings.EqualFold(component, "SecurityCtrlr") && strings.EqualFold(variable, "BasicAuthPassword")
}

// announcePassword makes a new password good before the station has it: whichever
// of the two it connects with, it is let in. OCPP 2.0.1 A01.
func (j *errand) announcePassword(chunk []ocpp201.SetVariableData) error {
	for i := range chunk {
		d := &chunk[i]
		if !isPassword(d.Component.Name, d.Variable.Name) {
			continue
		}
		hash, err := credential.NewHash([]byte(d.AttributeValue))
		if err != nil {
			return fmt.Errorf("new password: %w", err)
		}
		if err := j.OnStation(func() error { return j.st.PasswordChanged(hash) }); err != nil {
			return fmt.Errorf("new password: %w", err)
		}
	}
	return nil
}

func sameVariable(aC *ocpp201.Component, aV *ocpp201.Variable, bC *ocpp201.Component, bV *ocpp201.Variable) bool {
	return strings.EqualFold(dotted(aC, aV), dotted(bC, bV))
}

func sameAttribute(a, b ocpp201.Attribute) bool {
	plain := func(t ocpp201.Attribute) ocpp201.Attribute {
		if t == "" {
			return ocpp201.AttributeActual
		}
		return t.Fold()
	}
	return plain(a) == plain(b)
}

// readBack compares what was written with what the station now has. What can only
// be written is not told.
func (j *errand) readBack(variables []event.Variable, all []written) (site.Outcome, error) {
	names := make([]ocpp201.GetVariableData, len(variables))
	for i, v := range variables {
		names[i] = ocpp201.GetVariableData{
			AttributeType: ocpp201.Attribute(v.Attribute), Component: componentOf(v),
			Variable: ocpp201.Variable{Name: v.Variable, Instance: v.Instance},
		}
	}
	results, err := j.read(names)
	if err != nil {
		return site.Outcome{State: event.StateAccepted, Reason: "accepted, but cannot be read back: " + err.Error(), Result: job.Result(all)}, nil
	}
	o := site.Outcome{State: event.StateSucceeded}
	for i, v := range variables {
		name := dotted(&names[i].Component, &names[i].Variable)
		at := slices.IndexFunc(results, func(r ocpp201.GetVariableResult) bool {
			return sameVariable(&r.Component, &r.Variable, &names[i].Component, &names[i].Variable) && sameAttribute(r.AttributeType, names[i].AttributeType)
		})
		if at < 0 || job.VerdictOf(string(results[at].AttributeStatus)) != job.Accepted || job.Secret(v.Variable) {
			o.Reason = name + ": accepted; the station does not tell its value"
			continue
		}
		if i < len(all) {
			all[i].Value = results[at].AttributeValue
		}
		if !job.SameValue(v.Value, results[at].AttributeValue) {
			return site.Outcome{State: event.StateFailed, Result: job.Result(all),
				Reason: name + ": accepted, but it reads back as " + strconv.Quote(results[at].AttributeValue)}, nil
		}
	}
	if len(all) > 0 {
		o.Result = job.Result(all)
	}
	return o, nil
}
