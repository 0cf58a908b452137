package v16

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// job is one order on its way, on a goroutine of its own: what takes several
// messages reads from top to bottom.
type job struct {
	*peer
	order     site.Order
	report    func(site.Outcome)
	delivered bool // the site knows that the charge point was told
}

// Execute implements site.Device.
func (p *peer) Execute(o site.Order, report func(site.Outcome)) {
	p.begin(o, report, false, (*job).execute)
}

// Look implements site.Device. What it asks is not the order: nothing is reported
// as delivered.
func (p *peer) Look(o site.Order, report func(site.Outcome)) { p.begin(o, report, true, (*job).look) }

func (p *peer) begin(o site.Order, report func(site.Outcome), delivered bool, do func(*job) (site.Outcome, error)) {
	switch o.Type {
	case event.CommandSetLimit, event.CommandClearLimit:
		if id, ok := p.running[o.EVSE]; ok && o.Transaction == "" {
			o.Transaction = transactionOf(id) // a TxProfile names it
		}
	}
	j := &job{peer: p, order: o, report: report, delivered: delivered}
	p.c.Go(func() {
		outcome, err := do(j)
		if err != nil {
			outcome = j.failure(err)
		}
		j.tell(outcome)
	})
}

// tell reports on the station's goroutine.
func (j *job) tell(o site.Outcome) {
	if err := j.c.Post(func() { j.report(o) }); err != nil {
		// The site is at its end: its journal says how far the command came.
		j.c.Log().Debug("outcome not reported", "command", string(j.order.ID), "state", string(o.State), "err", err)
	}
}

// call sends one message and reads its answer. The first one of an order tells
// the site that the charge point has been told.
func (j *job) call(request ocpp16.Request, answer ocpp16.Response) error {
	if err := request.Validate(); err != nil {
		return &unsendable{action: request.Action(), err: err}
	}
	payload, err := j.c.Call(request.Action(), request.AppendJSON(nil), j.sent)
	if err != nil {
		return fmt.Errorf("%s: %w", request.Action(), err)
	}
	found, err := answer.Decode(payload)
	j.c.DeviatedIn(request.Action()+"Response", found)
	if err != nil {
		j.c.Deviated("answer_unusable", request.Action(), string(payload))
		return &unreadable{action: request.Action(), err: err}
	}
	return nil
}

func (j *job) sent() {
	if j.delivered {
		return
	}
	j.delivered = true
	j.tell(site.Outcome{State: event.StateDelivered})
}

// unsendable is the error of a message that the schema does not allow.
type unsendable struct {
	action string
	err    error
}

func (e *unsendable) Error() string { return e.action + ": " + e.err.Error() }
func (e *unsendable) Unwrap() error { return e.err }

// unreadable is the error of an answer without its required fields.
type unreadable struct {
	action string
	err    error
}

func (e *unreadable) Error() string { return "answer to " + e.action + ": " + e.err.Error() }
func (e *unreadable) Unwrap() error { return e.err }

// lacking tells that the charge point does not have the message.
func lacking(err error) bool {
	refusal := new(ocpp.CallError)
	return errors.As(err, &refusal) && (refusal.Code == ocppj.NotImplemented || refusal.Code == ocppj.NotSupported)
}

// failure is the outcome of an order that an error ended. Whether a message that
// nobody answered had its effect is not known.
func (j *job) failure(err error) site.Outcome {
	refusal := new(ocpp.CallError)
	unsent, strange := new(unsendable), new(unreadable)
	switch {
	case lacking(err):
		return site.Outcome{State: event.StateUnsupported, Reason: "the charge point does not have this: " + err.Error()}
	case errors.As(err, &refusal):
		return site.Outcome{State: event.StateFailed, Reason: "the charge point answered with an error: " + err.Error()}
	case errors.As(err, &unsent):
		return site.Outcome{State: event.StateUnsupported, Reason: "OCPP 1.6 cannot carry this: " + err.Error()}
	case errors.As(err, &strange):
		return site.Outcome{State: event.StateIndeterminate, Reason: "the answer cannot be understood: " + err.Error()}
	case errors.Is(err, ocpp.ErrNotSent) && !j.delivered:
		return site.Outcome{State: event.StateFailed, Reason: "the connection was lost before the charge point was told"}
	}
	return site.Outcome{State: event.StateIndeterminate, Reason: err.Error()}
}

// result writes what a question brought.
func result(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // only of our own structs
		return nil
	}
	return b
}

// judge turns the status word of an answer into an outcome, where consent means
// state.
func judge(word string, state event.CommandState) site.Outcome {
	switch verdictOf(word) {
	case accepted:
		o := site.Outcome{State: state}
		if word != "Accepted" {
			o.Reason = answered(word)
		}
		return o
	case scheduled:
		return site.Outcome{State: event.StateAccepted, Reason: "scheduled: it takes effect after the running session"}
	case rebootNeeded:
		return site.Outcome{State: event.StateAccepted, Reason: "accepted: it takes effect after a reset of the charge point"}
	case notSupported:
		return site.Outcome{State: event.StateUnsupported, Reason: answered(word)}
	}
	return site.Outcome{State: event.StateRejected, Reason: answered(word)}
}

// answered says what came, where it is not the usual word.
func answered(word string) string { return "the charge point answered " + strconv.Quote(word) }

func rejected(format string, args ...any) site.Outcome {
	return site.Outcome{State: event.StateRejected, Reason: fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) site.Outcome {
	return site.Outcome{State: event.StateUnsupported, Reason: fmt.Sprintf(format, args...)}
}

func failed(format string, args ...any) site.Outcome {
	return site.Outcome{State: event.StateFailed, Reason: fmt.Sprintf(format, args...)}
}

// execute carries out the order.
func (j *job) execute() (site.Outcome, error) {
	switch p := j.order.Params.(type) {
	case *event.StartParams:
		return j.start(p)
	case *event.StopParams:
		return j.stop()
	case *event.UnlockParams:
		return j.unlock(p)
	case *event.ResetParams:
		return j.reset(p)
	case *event.SetAvailabilityParams:
		return j.setAvailability(p)
	case *event.SetLimitParams:
		return j.setLimit(p)
	case *event.ClearLimitParams:
		return j.clearLimit()
	case *event.GetLimitParams:
		return j.getLimit(p)
	case *event.GetConfigurationParams:
		return j.getConfiguration(p)
	case *event.SetConfigurationParams:
		return j.setConfiguration(p)
	case *event.TriggerParams:
		return j.trigger(p)
	case *event.ReserveParams:
		return j.reserve(p)
	case *event.CancelReservationParams:
		return j.cancelReservation(p)
	case *event.UpdateFirmwareParams:
		return j.updateFirmware(p)
	case *event.GetLogParams:
		return j.getLog(p)
	case *event.ClearCacheParams:
		return j.clearCache()
	case *event.SendLocalListParams:
		return j.sendLocalList(p)
	case *event.InstallCertificateParams:
		return j.installCertificate(p)
	case *event.DeleteCertificateParams:
		return j.deleteCertificate(p)
	case *event.ListCertificatesParams:
		return j.listCertificates(p)
	case *event.SignCertificateParams:
		return j.signCertificate(p)
	case *event.SendDataParams:
		return j.sendData(p)
	case *event.CallParams:
		return j.rawCall(p)
	}
	return unsupported("OCPP 1.6 has no %s", j.order.Type), nil
}

// at is the connector that the order is about; 0 for the whole station.
func (j *job) at() int64 {
	if j.order.EVSE == 0 {
		return 0
	}
	return j.connector(j.order.EVSE, 0)
}

// atOptional is at for fields that are left out for the whole station.
func (j *job) atOptional() *int64 {
	if n := j.at(); n > 0 {
		return &n
	}
	return nil
}

func (j *job) start(p *event.StartParams) (site.Outcome, error) {
	request := &ocpp16.RemoteStartTransactionRequest{ConnectorID: j.atOptional(), IDTag: p.Token.Value}
	if p.LimitA != nil {
		// OCPP 1.6 §5.11: of purpose TxProfile, without a transaction.
		profile := rounded(ocpp16.ChargingProfile{
			ChargingProfileID:      int64(j.order.Request),
			StackLevel:             1,
			ChargingProfilePurpose: ocpp16.ChargingProfilePurposeTxProfile,
			ChargingProfileKind:    ocpp16.ChargingProfileKindRelative,
			ChargingSchedule: ocpp16.ChargingSchedule{
				ChargingRateUnit:       ocpp16.ChargingRateUnitA,
				ChargingSchedulePeriod: []ocpp16.ChargingSchedulePeriod{{Limit: *p.LimitA}},
			},
		})
		request.ChargingProfile = &profile
	}
	var answer ocpp16.RemoteStartTransactionResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateAccepted), nil
}

func (j *job) stop() (site.Outcome, error) {
	id, err := strconv.ParseInt(j.order.Transaction, 10, 64)
	if err != nil {
		return rejected("there is no running transaction, expected one to stop"), nil
	}
	var answer ocpp16.RemoteStopTransactionResponse
	if err := j.call(&ocpp16.RemoteStopTransactionRequest{TransactionID: id}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateAccepted), nil
}

func (j *job) unlock(p *event.UnlockParams) (site.Outcome, error) {
	if j.order.EVSE == 0 {
		return rejected("evse is missing, expected which one to unlock"), nil
	}
	request := &ocpp16.UnlockConnectorRequest{ConnectorID: j.connector(j.order.EVSE, max(p.Connector, 1))}
	var answer ocpp16.UnlockConnectorResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	if answer.Status.Fold() == ocpp16.UnlockStatusUnlocked {
		return site.Outcome{State: event.StateSucceeded}, nil
	}
	o := judge(string(answer.Status), event.StateSucceeded)
	switch o.State {
	case event.StateSucceeded:
		o.Reason = answered(string(answer.Status))
	case event.StateRejected:
		o.State = event.StateFailed
	}
	return o, nil
}

func (j *job) reset(p *event.ResetParams) (site.Outcome, error) {
	request := &ocpp16.ResetRequest{Type: ocpp16.ResetTypeSoft}
	switch p.Kind {
	case "hard":
		request.Type = ocpp16.ResetTypeHard
	case "soft", "":
	default:
		return rejected("kind: expected soft or hard, got %q", p.Kind), nil
	}
	if j.order.EVSE != 0 {
		return unsupported("evse: OCPP 1.6 resets whole charge points only"), nil
	}
	var answer ocpp16.ResetResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateAccepted), nil
}

func (j *job) setAvailability(p *event.SetAvailabilityParams) (site.Outcome, error) {
	request := &ocpp16.ChangeAvailabilityRequest{ConnectorID: j.at(), Type: ocpp16.AvailabilityTypeInoperative}
	if p.Available {
		request.Type = ocpp16.AvailabilityTypeOperative
	}
	var answer ocpp16.ChangeAvailabilityResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateAccepted), nil
}

func (j *job) reserve(p *event.ReserveParams) (site.Outcome, error) {
	request := &ocpp16.ReserveNowRequest{
		ConnectorID: j.at(), ExpiryDate: lenient.At(p.Until), IDTag: p.Token.Value,
		ParentIDTag: p.Parent, ReservationID: int64(p.Reservation),
	}
	var answer ocpp16.ReserveNowResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateAccepted), nil
}

func (j *job) cancelReservation(p *event.CancelReservationParams) (site.Outcome, error) {
	var answer ocpp16.CancelReservationResponse
	if err := j.call(&ocpp16.CancelReservationRequest{ReservationID: int64(p.Reservation)}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateAccepted), nil
}

// optional leaves a number out where it is zero.
func optional(n int) *int64 {
	if n == 0 {
		return nil
	}
	v := int64(n)
	return &v
}

func (j *job) updateFirmware(p *event.UpdateFirmwareParams) (site.Outcome, error) {
	retrieve := p.Retrieve
	if retrieve.IsZero() {
		retrieve = j.c.Now()
	}
	if (p.Certificate == "") != (p.Signature == "") {
		return rejected("expected certificate and signature, or neither"), nil
	}
	if p.Certificate == "" {
		if !p.Install.IsZero() {
			return unsupported("install: an update without signature has no time of installation"), nil
		}
		request := &ocpp16.UpdateFirmwareRequest{
			Location: p.URL, RetrieveDate: lenient.At(retrieve),
			Retries: optional(p.Retries), RetryInterval: optional(p.RetryInterval),
		}
		if err := j.call(request, &ocpp16.UpdateFirmwareResponse{}); err != nil {
			return site.Outcome{}, err
		}
		return site.Outcome{State: event.StateAccepted, Reason: "told; OCPP 1.6 has no word of consent for this"}, nil
	}
	request := &ocpp16.SignedUpdateFirmwareRequest{
		RequestID: int64(j.order.Request), Retries: optional(p.Retries), RetryInterval: optional(p.RetryInterval),
		Firmware: ocpp16.Firmware{
			Location: p.URL, RetrieveDateTime: lenient.At(retrieve),
			SigningCertificate: p.Certificate, Signature: p.Signature,
		},
	}
	if !p.Install.IsZero() {
		request.Firmware.InstallDateTime = lenient.At(p.Install)
	}
	var answer ocpp16.SignedUpdateFirmwareResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateAccepted), nil
}

// featureGetLog is the message GetLog of the security extension.
const featureGetLog = "GetLog"

func (j *job) getLog(p *event.GetLogParams) (site.Outcome, error) {
	kind := ocpp16.LogTypeDiagnosticsLog
	switch p.Kind {
	case "diagnostics", "":
	case "security":
		kind = ocpp16.LogTypeSecurityLog
	default:
		return rejected("kind: expected diagnostics or security, got %q", p.Kind), nil
	}
	memory := j.model.Load()
	if kind == ocpp16.LogTypeSecurityLog || memory.can(featureGetLog) {
		request := &ocpp16.GetLogRequest{
			LogType: kind, RequestID: int64(j.order.Request),
			Retries: optional(p.Retries), RetryInterval: optional(p.RetryInterval),
			Log: ocpp16.LogParameters{RemoteLocation: p.URL},
		}
		if !p.From.IsZero() {
			request.Log.OldestTimestamp = lenient.At(p.From)
		}
		if !p.To.IsZero() {
			request.Log.LatestTimestamp = lenient.At(p.To)
		}
		var answer ocpp16.GetLogResponse
		err := j.call(request, &answer)
		if err == nil {
			o := judge(string(answer.Status), event.StateAccepted)
			o.Result = fileResult(answer.Filename)
			return o, nil
		}
		if !lacking(err) || kind == ocpp16.LogTypeSecurityLog {
			return site.Outcome{}, err
		}
		memory.cannot(featureGetLog)
	}
	request := &ocpp16.GetDiagnosticsRequest{
		Location: p.URL, Retries: optional(p.Retries), RetryInterval: optional(p.RetryInterval),
	}
	if !p.From.IsZero() {
		request.StartTime = lenient.At(p.From)
	}
	if !p.To.IsZero() {
		request.StopTime = lenient.At(p.To)
	}
	var answer ocpp16.GetDiagnosticsResponse
	if err := j.call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := site.Outcome{State: event.StateAccepted, Result: fileResult(answer.FileName)}
	if answer.FileName == "" {
		o.Reason = "the charge point named no file: it may have nothing to upload"
	}
	return o, nil
}

func fileResult(name string) json.RawMessage {
	if name == "" {
		return nil
	}
	return result(map[string]string{"file": name})
}

func (j *job) clearCache() (site.Outcome, error) {
	var answer ocpp16.ClearCacheResponse
	if err := j.call(&ocpp16.ClearCacheRequest{}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return judge(string(answer.Status), event.StateSucceeded), nil
}

func (j *job) sendData(p *event.SendDataParams) (site.Outcome, error) {
	var answer ocpp16.DataTransferResponse
	if err := j.call(&ocpp16.DataTransferRequest{VendorID: p.Vendor, MessageID: p.Message, Data: p.Data}, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := judge(string(answer.Status), event.StateSucceeded)
	if verdictOf(string(answer.Status)) == refused && answer.Status.Fold() != ocpp16.DataTransferStatusRejected {
		o.State = event.StateUnsupported // unknown vendor or message
	}
	if answer.Data != "" {
		o.Result = result(map[string]string{"data": answer.Data})
	}
	return o, nil
}

// rawCall sends a message for which there is no word, as it was given.
func (j *job) rawCall(p *event.CallParams) (site.Outcome, error) {
	if p.Protocol != ocppj.V16 {
		return unsupported("protocol: the charge point speaks %s, the message is of %q", ocppj.V16, p.Protocol), nil
	}
	payload := []byte(p.Payload)
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	var object map[string]json.RawMessage
	if p.Action == "" || json.Unmarshal(payload, &object) != nil || object == nil {
		return rejected("expected an action and an object as payload"), nil
	}
	answer, err := j.c.Call(p.Action, payload, j.sent)
	if err != nil {
		return site.Outcome{}, fmt.Errorf("%s: %w", p.Action, err)
	}
	return site.Outcome{State: event.StateSucceeded, Result: answer}, nil
}
