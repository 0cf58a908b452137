package v201

import (
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// notifyReport takes a part of the device model. One that is too large for an
// event becomes several. OCPP 2.0.1 B07, B08.
func (p *Peer) notifyReport(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyReportRequest
	wrong, err := p.decode(&m, payload, "generatedAt", "seqNo", "reportData")
	if err != nil {
		return b, err
	}
	if len(wrong) > 0 { // the rest is told; what could not be read stays as it came
		if err := p.keep(m.Action(), payload, wrong[0].String()); err != nil {
			return b, err
		}
	}
	more := isTrue(m.Tbc)
	chunks := chunksOf(variablesOf(m.ReportData))
	command := p.arrived(m.Action(), m.RequestID, &m, more)
	report := site.ConfigurationReport{
		Command: command, Report: small(m.RequestID), Complete: p.ofWhole(m.RequestID, more),
		Part: p.partOf(m.RequestID, m.SeqNo, len(chunks)),
	}
	for i, variables := range chunks {
		report.Variables, report.More = variables, more || i+1 < len(chunks)
		if err := p.st.Configuration(report); err != nil {
			return b, err
		}
		report.Part++
	}
	return (&ocpp201.NotifyReportResponse{}).AppendJSON(b), nil
}

// chunkBytes is how much of a report goes into one event, which may have
// event.MaxSize.
const chunkBytes = event.MaxSize * 5 / 8

// chunksOf cuts variables into lists that fit into an event; an empty list is one
// too.
func chunksOf(variables []event.Variable) [][]event.Variable {
	const names = 200 // names of fields and what stands between them
	var chunks [][]event.Variable
	size, from := 0, 0
	for i := range variables {
		v := &variables[i]
		n := names + len(v.Component) + len(v.Variable) + len(v.Instance) + len(v.Value) + len(v.Unit)
		for _, word := range v.Values {
			n += len(word) + 3
		}
		if size += n; size > chunkBytes && i > from {
			chunks, from, size = append(chunks, variables[from:i]), i, n
		}
	}
	return append(chunks, variables[from:])
}

// reporting is a report of which parts have come.
type reporting struct {
	request int64
	base    int64 // number of its first message
	parts   []int // the number of the first event of each message
	next    int   // the number of the next event
}

// Bounds of the reports that are followed.
const (
	maxReports  = 8
	maxMessages = 10000
)

// partOf returns the number of the first of n events that the message numbered
// seq of a report becomes: from 1, with a hole where messages are missing, and the
// same again for a message that is repeated. Some stations number from 1.
func (p *Peer) partOf(request, seq int64, n int) int {
	var r *reporting
	for i := range p.reporting {
		if p.reporting[i].request == request {
			r = &p.reporting[i]
		}
	}
	if r == nil {
		if len(p.reporting) == maxReports {
			p.reporting = p.reporting[:copy(p.reporting, p.reporting[1:])]
		}
		p.reporting = append(p.reporting, reporting{request: request, base: max(0, min(seq, 1)), next: 1})
		r = &p.reporting[len(p.reporting)-1]
	}
	at := seq - r.base
	switch {
	case at < 0 || at > maxMessages:
		return r.next
	case at < int64(len(r.parts)):
		return r.parts[at]
	}
	for int64(len(r.parts)) < at { // a message is missing, of at least one event
		r.parts = append(r.parts, r.next)
		r.next++
	}
	first := r.next
	r.parts = append(r.parts, first)
	r.next += n
	return first
}

// variablesOf returns the variables of a report, one for each attribute, with
// what they may be.
func variablesOf(data []ocpp201.ReportData) []event.Variable {
	n := 0
	for i := range data {
		n += len(data[i].VariableAttribute)
	}
	variables := make([]event.Variable, 0, n)
	for i := range data {
		d := &data[i]
		v := variableOf(&d.Component, &d.Variable)
		if c := d.VariableCharacteristics; c != nil {
			v.DataType, v.Unit = snake(string(c.DataType)), c.Unit
			v.Values = listOf(c.ValuesList)
		}
		for j := range d.VariableAttribute {
			a, one := &d.VariableAttribute[j], v
			if kind := a.Type.Fold(); kind != ocpp201.AttributeActual {
				one.Attribute = string(kind)
			}
			if !job.Secret(one.Variable) {
				one.Value = a.Value
			}
			if a.Mutability != "" {
				one.Mutability = snake(string(a.Mutability.Fold()))
				one.ReadOnly = one.Mutability == "read_only"
			}
			variables = append(variables, one)
		}
	}
	return variables
}

// variableOf returns the place of a variable: an instance of a component stands
// behind a slash, a connector in place of it, as connector-2.
func variableOf(c *ocpp201.Component, v *ocpp201.Variable) event.Variable {
	evse, _, err := eventPlace(c)
	if err != nil {
		evse = 0
	}
	return event.Variable{Component: nameOf(c), Variable: v.Name, Instance: v.Instance, EVSE: evse}
}

// nameOf returns the name of a component within its EVSE.
func nameOf(c *ocpp201.Component) string {
	switch {
	case c.Instance != "":
		return c.Name + "/" + c.Instance
	case c.EVSE != nil && c.EVSE.ConnectorID != nil && *c.EVSE.ConnectorID > 0:
		return c.Name + "/connector-" + strconv.FormatInt(*c.EVSE.ConnectorID, 10)
	}
	return c.Name
}

// listOf reads a list of values. OCPP 2.0.1 part 1 §4: separated by commas.
func listOf(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// notifyMonitoringReport takes a part of the monitors that are set. OCPP 2.0.1
// N02.
func (p *Peer) notifyMonitoringReport(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyMonitoringReportRequest
	if _, err := p.decode(&m, payload, "generatedAt", "seqNo", "monitor"); err != nil {
		return b, err
	}
	for i := range m.Monitor {
		for _, v := range m.Monitor[i].VariableMonitoring {
			p.noteMonitor(v.ID, v.Type)
		}
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report of monitors"); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyMonitoringReportResponse{}).AppendJSON(b), nil
}

// notifyDisplayMessages takes a part of the messages that the station shows. OCPP
// 2.0.1 O03, O04.
func (p *Peer) notifyDisplayMessages(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyDisplayMessagesRequest
	if _, err := p.decode(&m, payload, "messageInfo"); err != nil {
		return b, err
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report of display messages"); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyDisplayMessagesResponse{}).AppendJSON(b), nil
}

// notifyCustomerInformation takes a part of what the station knows of a customer.
// OCPP 2.0.1 N09.
func (p *Peer) notifyCustomerInformation(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyCustomerInformationRequest
	if _, err := p.decode(&m, payload, "generatedAt", "seqNo", "data"); err != nil {
		return b, err
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report about a customer"); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyCustomerInformationResponse{}).AppendJSON(b), nil
}

// reportChargingProfiles takes a part of the profiles that the station holds. OCPP
// 2.0.1 K09.
func (p *Peer) reportChargingProfiles(b, payload []byte) ([]byte, error) {
	var m ocpp201.ReportChargingProfilesRequest
	if _, err := p.decode(&m, payload, "chargingProfile", "chargingLimitSource", "evseId"); err != nil {
		return b, err
	}
	p.arrived(m.Action(), m.RequestID, &m, isTrue(m.Tbc))
	if err := p.keep(m.Action(), payload, "a report of charging profiles"); err != nil {
		return b, err
	}
	return (&ocpp201.ReportChargingProfilesResponse{}).AppendJSON(b), nil
}
