package v16

import (
	"encoding/json"
	"strconv"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// version is the standard's name in reasons.
const version = "OCPP 1.6"

// errand is one order on its way, on a goroutine of its own.
type errand struct {
	*peer
	*job.Job
}

// Execute implements site.Device.
func (p *peer) Execute(o site.Order, report func(site.Outcome)) {
	p.begin(o, report, false, (*errand).execute)
}

// Look implements site.Device. What it asks is not the order: nothing is reported
// as delivered.
func (p *peer) Look(o site.Order, report func(site.Outcome)) {
	p.begin(o, report, true, (*errand).look)
}

func (p *peer) begin(o site.Order, report func(site.Outcome), looking bool, do func(*errand) (site.Outcome, error)) {
	switch o.Type {
	case event.CommandSetLimit, event.CommandClearLimit:
		if id, ok := p.running[o.EVSE]; ok && o.Transaction == "" {
			o.Transaction = transactionOf(id) // a TxProfile names it
		}
	}
	j := &errand{peer: p, Job: job.New(p.c, version, o, report, looking)}
	j.Start(func() (site.Outcome, error) { return do(j) })
}

// execute carries out the order.
func (j *errand) execute() (site.Outcome, error) {
	switch p := j.Order.Params.(type) {
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
	return job.Unsupportedf("OCPP 1.6 has no %s", j.Order.Type), nil
}

// at is the connector that the order is about; 0 for the whole station.
func (j *errand) at() int64 {
	if j.Order.EVSE == 0 {
		return 0
	}
	return j.connector(j.Order.EVSE, 0)
}

// atOptional is at for fields that are left out for the whole station.
func (j *errand) atOptional() *int64 {
	if n := j.at(); n > 0 {
		return &n
	}
	return nil
}

func (j *errand) start(p *event.StartParams) (site.Outcome, error) {
	j.given.tell(p.Token.Value)
	request := &ocpp16.RemoteStartTransactionRequest{ConnectorID: j.atOptional(), IDTag: p.Token.Value}
	if p.LimitA != nil {
		// OCPP 1.6 §5.11: of purpose TxProfile, without a transaction.
		profile := rounded(ocpp16.ChargingProfile{
			ChargingProfileID:      int64(j.Order.Request),
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
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

func (j *errand) stop() (site.Outcome, error) {
	id, err := strconv.ParseInt(j.Order.Transaction, 10, 64)
	if err != nil {
		return job.Rejectedf("there is no running transaction, expected one to stop"), nil
	}
	var answer ocpp16.RemoteStopTransactionResponse
	if err := j.Call(&ocpp16.RemoteStopTransactionRequest{TransactionID: id}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

func (j *errand) unlock(p *event.UnlockParams) (site.Outcome, error) {
	if j.Order.EVSE == 0 {
		return job.Rejectedf("evse is missing, expected which one to unlock"), nil
	}
	if profile := j.c.Profile(); profile.Unlock == stationprofile.None {
		return job.Unsupportedf("the station profile %s says that there is nothing to unlock", profile.Name), nil
	}
	request := &ocpp16.UnlockConnectorRequest{ConnectorID: j.connector(j.Order.EVSE, max(p.Connector, 1))}
	var answer ocpp16.UnlockConnectorResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	if answer.Status.Fold() == ocpp16.UnlockStatusUnlocked {
		return site.Outcome{State: event.StateSucceeded}, nil
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded)
	switch o.State {
	case event.StateSucceeded:
		o.Reason = job.Answered(string(answer.Status))
	case event.StateRejected:
		o.State = event.StateFailed
	}
	return o, nil
}

func (j *errand) reset(p *event.ResetParams) (site.Outcome, error) {
	request := &ocpp16.ResetRequest{Type: ocpp16.ResetTypeSoft}
	switch p.Kind {
	case "hard":
		request.Type = ocpp16.ResetTypeHard
	case "soft", "":
	default:
		return job.Rejectedf("kind: expected soft or hard, got %q", p.Kind), nil
	}
	if j.Order.EVSE != 0 {
		return job.Unsupportedf("evse: OCPP 1.6 resets whole charge points only"), nil
	}
	var answer ocpp16.ResetResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

func (j *errand) setAvailability(p *event.SetAvailabilityParams) (site.Outcome, error) {
	request := &ocpp16.ChangeAvailabilityRequest{ConnectorID: j.at(), Type: ocpp16.AvailabilityTypeInoperative}
	if p.Available {
		request.Type = ocpp16.AvailabilityTypeOperative
	}
	var answer ocpp16.ChangeAvailabilityResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

func (j *errand) reserve(p *event.ReserveParams) (site.Outcome, error) {
	j.given.tell(p.Token.Value)
	request := &ocpp16.ReserveNowRequest{
		ConnectorID: j.at(), ExpiryDate: lenient.At(p.Until), IDTag: p.Token.Value,
		ParentIDTag: p.Parent, ReservationID: int64(p.Reservation),
	}
	var answer ocpp16.ReserveNowResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

func (j *errand) cancelReservation(p *event.CancelReservationParams) (site.Outcome, error) {
	var answer ocpp16.CancelReservationResponse
	if err := j.Call(&ocpp16.CancelReservationRequest{ReservationID: int64(p.Reservation)}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

func (j *errand) updateFirmware(p *event.UpdateFirmwareParams) (site.Outcome, error) {
	retrieve := p.Retrieve
	if retrieve.IsZero() {
		retrieve = j.c.Now()
	}
	if (p.Certificate == "") != (p.Signature == "") {
		return job.Rejectedf("expected certificate and signature, or neither"), nil
	}
	if p.Certificate == "" {
		if !p.Install.IsZero() {
			return job.Unsupportedf("install: an update without signature has no time of installation"), nil
		}
		request := &ocpp16.UpdateFirmwareRequest{
			Location: p.URL, RetrieveDate: lenient.At(retrieve),
			Retries: job.Optional(p.Retries), RetryInterval: job.Optional(p.RetryInterval),
		}
		if err := j.Call(request, &ocpp16.UpdateFirmwareResponse{}); err != nil {
			return site.Outcome{}, err
		}
		return site.Outcome{State: event.StateAccepted, Reason: "told; OCPP 1.6 has no word of consent for this"}, nil
	}
	request := &ocpp16.SignedUpdateFirmwareRequest{
		RequestID: int64(j.Order.Request), Retries: job.Optional(p.Retries), RetryInterval: job.Optional(p.RetryInterval),
		Firmware: ocpp16.Firmware{
			Location: p.URL, RetrieveDateTime: lenient.At(retrieve),
			SigningCertificate: p.Certificate, Signature: p.Signature,
		},
	}
	if !p.Install.IsZero() {
		request.Firmware.InstallDateTime = lenient.At(p.Install)
	}
	var answer ocpp16.SignedUpdateFirmwareResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted), nil
}

// featureGetLog is the message GetLog of the security extension.
const featureGetLog = "GetLog"

func (j *errand) getLog(p *event.GetLogParams) (site.Outcome, error) {
	kind := ocpp16.LogTypeDiagnosticsLog
	switch p.Kind {
	case "diagnostics", "":
	case "security":
		kind = ocpp16.LogTypeSecurityLog
	default:
		return job.Rejectedf("kind: expected diagnostics or security, got %q", p.Kind), nil
	}
	memory := j.model.Load()
	if kind == ocpp16.LogTypeSecurityLog || memory.Can(featureGetLog) {
		request := &ocpp16.GetLogRequest{
			LogType: kind, RequestID: int64(j.Order.Request),
			Retries: job.Optional(p.Retries), RetryInterval: job.Optional(p.RetryInterval),
			Log: ocpp16.LogParameters{RemoteLocation: p.URL},
		}
		if !p.From.IsZero() {
			request.Log.OldestTimestamp = lenient.At(p.From)
		}
		if !p.To.IsZero() {
			request.Log.LatestTimestamp = lenient.At(p.To)
		}
		var answer ocpp16.GetLogResponse
		err := j.Call(request, &answer)
		if err == nil {
			o := job.Judge(string(answer.Status), event.StateAccepted)
			o.Result = fileResult(answer.Filename)
			return o, nil
		}
		if !job.Lacking(err) || kind == ocpp16.LogTypeSecurityLog {
			return site.Outcome{}, err
		}
		memory.Cannot(featureGetLog)
	}
	request := &ocpp16.GetDiagnosticsRequest{
		Location: p.URL, Retries: job.Optional(p.Retries), RetryInterval: job.Optional(p.RetryInterval),
	}
	if !p.From.IsZero() {
		request.StartTime = lenient.At(p.From)
	}
	if !p.To.IsZero() {
		request.StopTime = lenient.At(p.To)
	}
	var answer ocpp16.GetDiagnosticsResponse
	if err := j.Call(request, &answer); err != nil {
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
	return job.Result(map[string]string{"file": name})
}

func (j *errand) clearCache() (site.Outcome, error) {
	var answer ocpp16.ClearCacheResponse
	if err := j.Call(&ocpp16.ClearCacheRequest{}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateSucceeded), nil
}

func (j *errand) sendData(p *event.SendDataParams) (site.Outcome, error) {
	var answer ocpp16.DataTransferResponse
	if err := j.Call(&ocpp16.DataTransferRequest{VendorID: p.Vendor, MessageID: p.Message, Data: p.Data}, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded)
	if job.VerdictOf(string(answer.Status)) == job.Refused && answer.Status.Fold() != ocpp16.DataTransferStatusRejected {
		o.State = event.StateUnsupported // unknown vendor or message
	}
	if answer.Data != "" {
		o.Result = job.Result(map[string]string{"data": answer.Data})
	}
	return o, nil
}

// rawCall sends a message for which there is no word, as it was given.
func (j *errand) rawCall(p *event.CallParams) (site.Outcome, error) {
	if p.Protocol != ocppj.V16 {
		return job.Unsupportedf("protocol: the charge point speaks %s, the message is of %q", ocppj.V16, p.Protocol), nil
	}
	payload := []byte(p.Payload)
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	var object map[string]json.RawMessage
	if p.Action == "" || json.Unmarshal(payload, &object) != nil || object == nil {
		return job.Rejectedf("expected an action and an object as payload"), nil
	}
	answer, err := j.Send(p.Action, payload)
	if err != nil {
		return site.Outcome{}, err
	}
	return site.Outcome{State: event.StateSucceeded, Reason: "answered; whether it agreed stands in the result", Result: answer}, nil
}
