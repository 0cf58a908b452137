package v201

import (
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// The words of display messages. What has no word of ours goes out as it is:
// states of 2.1 such as Discharging in snake_case, and qrcode, are checked against
// the schema of the version.
var (
	displayPriorities = map[string]ocpp201.MessagePriority{
		"": ocpp201.MessagePriorityNormalCycle, "normal": ocpp201.MessagePriorityNormalCycle,
		"in_front": ocpp201.MessagePriorityInFront, "always_front": ocpp201.MessagePriorityAlwaysFront,
	}
	displayStates = map[string]ocpp201.MessageState{
		"": "", "charging": ocpp201.MessageStateCharging, "faulted": ocpp201.MessageStateFaulted, "idle": ocpp201.MessageStateIdle,
		"unavailable": ocpp201.MessageStateUnavailable, "suspended": "Suspended", "discharging": "Discharging",
	}
	displayFormats = map[string]ocpp201.MessageFormat{
		"": ocpp201.MessageFormatUTF8, "utf8": ocpp201.MessageFormatUTF8, "ascii": ocpp201.MessageFormatASCII,
		"html": ocpp201.MessageFormatHTML, "uri": ocpp201.MessageFormatURI, "qrcode": "QRCODE",
	}
)

// showMessage sets one display message, or takes it away. OCPP 2.0.1 O01, O02,
// O05, O06: one with a known id is replaced.
func (j *errand) showMessage(p *event.ShowMessageParams) (site.Outcome, error) {
	if p.Text == "" {
		return j.clearMessage(p)
	}
	priority, known := displayPriorities[p.Priority]
	if !known {
		return job.Rejectedf("priority: expected normal, in_front or always_front, got %q", p.Priority), nil
	}
	state, known := displayStates[p.State]
	if !known {
		return job.Rejectedf("state: expected charging, faulted, idle, unavailable, suspended or discharging, got %q", p.State), nil
	}
	format, known := displayFormats[p.Format]
	if !known {
		return job.Rejectedf("format: expected utf8, ascii, html, uri or qrcode, got %q", p.Format), nil
	}
	if p.Session != "" && j.Order.Transaction == "" {
		return job.Rejectedf("session: %s is not running", p.Session), nil
	}
	message := ocpp201.MessageInfo{
		ID: int64(p.ID), Priority: priority, State: state,
		Message: ocpp201.MessageContent{Format: format, Language: p.Language, Content: p.Text},
	}
	if p.ID == 0 {
		message.ID = int64(j.Order.Request)
	}
	if p.Session != "" {
		message.TransactionID = j.Order.Transaction
	}
	if !p.Start.IsZero() {
		message.StartDateTime = lenient.At(p.Start)
	}
	if !p.End.IsZero() {
		message.EndDateTime = lenient.At(p.End)
	}
	answer, err := j.setMessage(&message)
	if err == nil && answer.Status.Fold() == ocpp201.DisplayMessageStatusNotSupportedMessageFormat && p.Format == "" && ascii(p.Text) {
		message.Message.Format = ocpp201.MessageFormatASCII // nobody asked for UTF-8
		answer, err = j.setMessage(&message)
	}
	if err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo))
	switch answer.Status.Fold() {
	case ocpp201.DisplayMessageStatusNotSupportedMessageFormat, ocpp201.DisplayMessageStatusNotSupportedPriority,
		ocpp201.DisplayMessageStatusNotSupportedState, "LanguageNotSupported":
		o.State = event.StateUnsupported
	}
	o.Result = job.Result(map[string]int64{"id": message.ID})
	return o, nil
}

func (j *errand) setMessage(m *ocpp201.MessageInfo) (*ocpp201.SetDisplayMessageResponse, error) {
	var answer ocpp201.SetDisplayMessageResponse
	err := j.Call(&ocpp201.SetDisplayMessageRequest{Message: *m}, &answer)
	return &answer, err
}

// clearMessage takes a message away. "Unknown" says that it is not there, which is
// as good.
func (j *errand) clearMessage(p *event.ShowMessageParams) (site.Outcome, error) {
	if p.ID == 0 {
		return job.Rejectedf("text, id: expected a text to show, or the id of a message to take away"), nil
	}
	var answer ocpp201.ClearDisplayMessageResponse
	if err := j.Call(&ocpp201.ClearDisplayMessageRequest{ID: int64(p.ID)}, &answer); err != nil {
		return site.Outcome{}, err
	}
	if answer.Status.Fold() == ocpp201.ClearMessageStatusUnknown {
		return site.Outcome{State: event.StateSucceeded, Reason: "there was no such message"}, nil
	}
	return job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo)), nil
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}
