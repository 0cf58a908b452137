package v201

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Outgoing is a request that the gateway may send, of the types of one version.
type Outgoing interface {
	job.Request
	job.Response // what a person wrote is read as strictly as an answer is leniently
}

// outDialect is what the orders remember of the models of stations, as long as
// the process lives.
type outDialect struct {
	models job.Models // by vendor, model and firmware
}

// outPeer is what the orders remember of one connection.
type outPeer struct {
	model    atomic.Pointer[job.Model] // nil: nothing is known yet
	requests atomic.Int64              // of the gateway's own, above ownRequests
	signing  sync.Map                  // int64 by kind of certificate: the number of the station's last request for one
}

// ownRequests is above every number that the site gives to an order: requests of
// the gateway itself count from here.
const ownRequests = 1 << 30

// newRequest numbers a request of the gateway itself.
func (p *Peer) newRequest() int { return ownRequests + int(p.requests.Add(1)) }

// learnModel says which model the station is, from its boot.
func (p *Peer) learnModel(vendor, model, firmware string) {
	p.model.Store(p.dialect.models.Of("model " + vendor + "\x00" + model + "\x00" + firmware))
}

// memory is what is known of the station's model, or of the station alone as long
// as nobody knows its model.
func (p *Peer) memory() *job.Model {
	if m := p.model.Load(); m != nil {
		return m
	}
	return p.dialect.models.Of("station " + string(p.c.Identity()))
}

// name is the standard's name in reasons.
func (p *Peer) name() string {
	return "OCPP " + strings.TrimPrefix(p.dialect.version.Protocol, "ocpp")
}

// errand is one order on its way, on a goroutine of its own.
type errand struct {
	*Peer
	*job.Job
}

// Execute implements site.Device.
func (p *Peer) Execute(o site.Order, report func(site.Outcome)) {
	p.begin(o, report, false, (*errand).execute)
}

// Look implements site.Device. What it asks is not the order: nothing is reported
// as delivered.
func (p *Peer) Look(o site.Order, report func(site.Outcome)) {
	p.begin(o, report, true, (*errand).look)
}

func (p *Peer) begin(o site.Order, report func(site.Outcome), looking bool, do func(*errand) (site.Outcome, error)) {
	switch o.Type {
	case event.CommandSetLimit, event.CommandClearLimit:
		if o.Transaction == "" {
			o.Transaction = p.transactionAt(o.EVSE) // a TxProfile names it
		}
	}
	j := p.errandOf(job.New(p.c, p.name(), o, report, looking))
	j.Start(func() (site.Outcome, error) { return do(j) })
}

// errandOf ties a job to the peer and to the types of its version.
func (p *Peer) errandOf(j *job.Job) *errand {
	version := &p.dialect.version
	if version.Request != nil {
		j.Check = func(action string, payload []byte) error {
			m, ok := version.Request(action)
			if !ok {
				return fmt.Errorf("%s is not sent to stations", action)
			}
			return strictly(m, payload)
		}
	}
	if version.Answer != nil {
		j.Read = func(action string, payload []byte, answer job.Response) ([]lenient.Deviation, error) {
			found, err := version.Answer(action, payload)
			_, _ = answer.Decode(payload) // fields that the version made optional may be missing
			return found, err
		}
	}
	return &errand{Peer: p, Job: j}
}

// strictly reads a payload that has to follow the schema to the letter.
func strictly(m Outgoing, payload []byte) error {
	found, err := m.Decode(payload)
	if err != nil {
		return err
	}
	if refusal := ocpp.Strict(ocppj.V201, found, nil); refusal != nil {
		return errors.New(refusal.Description)
	}
	return m.Validate()
}

// transactionAt is the transaction that runs at an EVSE, as far as this
// connection has seen; empty where none or more than one does.
func (p *Peer) transactionAt(evse int) string {
	found := ""
	for id, r := range p.running {
		if r.ended || evse == 0 || r.evse != evse {
			continue
		}
		if found != "" {
			return ""
		}
		found = id
	}
	return found
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
	case *event.ShowMessageParams:
		return j.showMessage(p)
	case *event.SendDataParams:
		return j.sendData(p)
	case *event.CallParams:
		return j.rawCall(p)
	}
	return job.Unsupportedf("%s has no %s", j.name(), j.Order.Type), nil
}

// atOptional is the EVSE that the order is about, for fields that are left out
// for the whole station.
func (j *errand) atOptional() *int64 { return job.Optional(j.Order.EVSE) }

// because is what a station says beside a status word.
func because(info *ocpp201.StatusInfo) string {
	if info == nil {
		return ""
	}
	if info.AdditionalInfo == "" {
		return info.ReasonCode
	}
	return strings.TrimPrefix(info.ReasonCode+": "+info.AdditionalInfo, ": ")
}

func (j *errand) start(p *event.StartParams) (site.Outcome, error) {
	request := &ocpp201.RequestStartTransactionRequest{
		EVSEID: j.atOptional(), IDToken: idTokenOf(p.Token), RemoteStartID: int64(j.Order.Request),
	}
	if p.LimitA != nil {
		// OCPP 2.0.1 K05.FR.02: of purpose TxProfile, without a transaction. Its level
		// is below that of later limits: K01.FR.39.
		j.learnSmartCharging()
		id := int64(ownRequests + j.Order.Request)
		if j.Order.EVSE != 0 {
			id = profileID(ocpp201.ChargingProfilePurposeTxProfile, j.Order.EVSE, false)
		}
		request.ChargingProfile = &ocpp201.ChargingProfile{
			ID:                     id,
			StackLevel:             j.atMost(levelStart),
			ChargingProfilePurpose: ocpp201.ChargingProfilePurposeTxProfile,
			ChargingProfileKind:    ocpp201.ChargingProfileKindRelative,
			ChargingSchedule: []ocpp201.ChargingSchedule{{
				ID: 1, ChargingRateUnit: ocpp201.ChargingRateUnitA,
				ChargingSchedulePeriod: []ocpp201.ChargingSchedulePeriod{{Limit: job.Decimal(*p.LimitA)}},
			}},
		}
	}
	var answer ocpp201.RequestStartTransactionResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo))
	if answer.TransactionID != "" { // one that began when the cable was plugged in. OCPP 2.0.1 F01.FR.13
		o.Result = job.Result(map[string]string{"transaction": answer.TransactionID})
	}
	return o, nil
}

func (j *errand) stop() (site.Outcome, error) {
	if j.Order.Transaction == "" {
		return job.Rejectedf("there is no running transaction, expected one to stop"), nil
	}
	var answer ocpp201.RequestStopTransactionResponse
	if err := j.Call(&ocpp201.RequestStopTransactionRequest{TransactionID: j.Order.Transaction}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo)), nil
}

func (j *errand) unlock(p *event.UnlockParams) (site.Outcome, error) {
	if j.Order.EVSE == 0 {
		return job.Rejectedf("evse is missing, expected which one to unlock"), nil
	}
	if profile := j.c.Profile(); profile.Unlock == stationprofile.None {
		return job.Unsupportedf("the station profile %s says that there is nothing to unlock", profile.Name), nil
	}
	var answer ocpp201.UnlockConnectorResponse
	request := &ocpp201.UnlockConnectorRequest{EVSEID: int64(j.Order.EVSE), ConnectorID: int64(max(p.Connector, 1))}
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	why := because(answer.StatusInfo)
	switch answer.Status.Fold() {
	case ocpp201.UnlockStatusUnlocked:
		return site.Outcome{State: event.StateSucceeded, Reason: why}, nil
	case ocpp201.UnlockStatusUnlockFailed:
		return site.Outcome{State: event.StateFailed, Reason: job.Join(job.Answered(string(answer.Status)), why)}, nil
	case ocpp201.UnlockStatusOngoingAuthorizedTransaction: // OCPP 2.0.1 F05.FR.02
		return site.Outcome{State: event.StateRejected, Reason: job.Join(job.Answered(string(answer.Status)), "stop the session first", why)}, nil
	}
	return job.Judge(string(answer.Status), event.StateSucceeded, why), nil
}

// resets are the words of Reset; the last one came with 2.1.
var resets = map[string]ocpp201.Reset{
	"": ocpp201.ResetOnIdle, "soft": ocpp201.ResetOnIdle, "hard": ocpp201.ResetImmediate, "resume": "ImmediateAndResume",
}

func (j *errand) reset(p *event.ResetParams) (site.Outcome, error) {
	word, ok := resets[p.Kind]
	if !ok {
		return job.Rejectedf("kind: expected soft, hard or resume, got %q", p.Kind), nil
	}
	var answer ocpp201.ResetResponse
	if err := j.Call(&ocpp201.ResetRequest{Type: word, EVSEID: j.atOptional()}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo)), nil
}

func (j *errand) setAvailability(p *event.SetAvailabilityParams) (site.Outcome, error) {
	request := &ocpp201.ChangeAvailabilityRequest{OperationalStatus: ocpp201.OperationalStatusInoperative}
	if p.Available {
		request.OperationalStatus = ocpp201.OperationalStatusOperative
	}
	switch {
	case j.Order.EVSE != 0:
		request.EVSE = &ocpp201.EVSE{ID: int64(j.Order.EVSE), ConnectorID: job.Optional(p.Connector)}
	case p.Connector != 0:
		return job.Rejectedf("evse is missing, expected the one that connector %d is of", p.Connector), nil
	}
	var answer ocpp201.ChangeAvailabilityResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo)), nil
}

func (j *errand) reserve(p *event.ReserveParams) (site.Outcome, error) {
	request := &ocpp201.ReserveNowRequest{
		ID: int64(p.Reservation), ExpiryDateTime: lenient.At(p.Until), IDToken: idTokenOf(p.Token),
		EVSEID: j.atOptional(), GroupIDToken: groupOf(p.Parent),
	}
	var answer ocpp201.ReserveNowResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo)), nil
}

func (j *errand) cancelReservation(p *event.CancelReservationParams) (site.Outcome, error) {
	var answer ocpp201.CancelReservationResponse
	if err := j.Call(&ocpp201.CancelReservationRequest{ReservationID: int64(p.Reservation)}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo)), nil
}

func (j *errand) updateFirmware(p *event.UpdateFirmwareParams) (site.Outcome, error) {
	if (p.Certificate == "") != (p.Signature == "") {
		return job.Rejectedf("expected certificate and signature, or neither"), nil
	}
	retrieve := p.Retrieve
	if retrieve.IsZero() {
		retrieve = j.c.Now()
	}
	request := &ocpp201.UpdateFirmwareRequest{
		RequestID: int64(j.Order.Request), Retries: job.Optional(p.Retries), RetryInterval: job.Optional(p.RetryInterval),
		Firmware: ocpp201.Firmware{
			Location: p.URL, RetrieveDateTime: lenient.At(retrieve),
			SigningCertificate: p.Certificate, Signature: p.Signature,
		},
	}
	if !p.Install.IsZero() {
		request.Firmware.InstallDateTime = lenient.At(p.Install)
	}
	var answer ocpp201.UpdateFirmwareResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo)), nil
}

// logs are the words of GetLog; the last one came with 2.1.
var logs = map[string]ocpp201.Log{
	"": ocpp201.LogDiagnosticsLog, "diagnostics": ocpp201.LogDiagnosticsLog, "security": ocpp201.LogSecurityLog,
	"data_collector": "DataCollectorLog",
}

func (j *errand) getLog(p *event.GetLogParams) (site.Outcome, error) {
	kind, ok := logs[p.Kind]
	if !ok {
		return job.Rejectedf("kind: expected diagnostics or security, got %q", p.Kind), nil
	}
	request := &ocpp201.GetLogRequest{
		LogType: kind, RequestID: int64(j.Order.Request),
		Retries: job.Optional(p.Retries), RetryInterval: job.Optional(p.RetryInterval),
		Log: ocpp201.LogParameters{RemoteLocation: p.URL},
	}
	if !p.From.IsZero() {
		request.Log.OldestTimestamp = lenient.At(p.From)
	}
	if !p.To.IsZero() {
		request.Log.LatestTimestamp = lenient.At(p.To)
	}
	var answer ocpp201.GetLogResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo))
	if answer.Filename != "" {
		o.Result = job.Result(map[string]string{"file": answer.Filename})
	}
	return o, nil
}

func (j *errand) clearCache() (site.Outcome, error) {
	var answer ocpp201.ClearCacheResponse
	if err := j.Call(&ocpp201.ClearCacheRequest{}, &answer); err != nil {
		return site.Outcome{}, err
	}
	return job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo)), nil
}

// sendData sends an object or a list as it is, and anything else as a text: data
// of 2.x is any JSON.
func (j *errand) sendData(p *event.SendDataParams) (site.Outcome, error) {
	request := &ocpp201.DataTransferRequest{VendorID: p.Vendor, MessageID: p.Message}
	switch text := strings.TrimSpace(p.Data); {
	case text == "":
	case strings.IndexByte("{[", text[0]) >= 0 && json.Valid([]byte(text)):
		request.Data = json.RawMessage(text)
	default:
		request.Data = job.Result(p.Data)
	}
	var answer ocpp201.DataTransferResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo))
	switch answer.Status.Fold() {
	case ocpp201.DataTransferStatusUnknownMessageId, ocpp201.DataTransferStatusUnknownVendorId:
		o.State = event.StateUnsupported
	}
	if len(answer.Data) > 0 && string(answer.Data) != "null" {
		o.Result = job.Result(map[string]json.RawMessage{"data": answer.Data})
	}
	return o, nil
}

// laterReports names, by the request that asks, the message that brings what was
// asked for.
var laterReports = map[string]string{
	ocpp201.ActionGetBaseReport:       ocpp201.ActionNotifyReport,
	ocpp201.ActionGetReport:           ocpp201.ActionNotifyReport,
	ocpp201.ActionGetMonitoringReport: ocpp201.ActionNotifyMonitoringReport,
	ocpp201.ActionGetDisplayMessages:  ocpp201.ActionNotifyDisplayMessages,
	ocpp201.ActionCustomerInformation: ocpp201.ActionNotifyCustomerInformation,
	ocpp201.ActionGetChargingProfiles: ocpp201.ActionReportChargingProfiles,
	ocpp201.ActionPublishFirmware:     ocpp201.ActionPublishFirmwareStatusNotification,
}

// rawCall sends a message for which there is no word, once it has been held
// against the schema.
func (j *errand) rawCall(p *event.CallParams) (site.Outcome, error) {
	version := &j.dialect.version
	if p.Protocol != version.Protocol {
		return job.Unsupportedf("protocol: the station speaks %s, the message is of %q", version.Protocol, p.Protocol), nil
	}
	payload := []byte(p.Payload)
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	m, ok := version.request(p.Action)
	if !ok {
		return job.Rejectedf("action: expected one that %s sends to stations, got %q", j.name(), p.Action), nil
	}
	if err := strictly(m, payload); err != nil {
		return job.Rejectedf("payload: %v", err), nil
	}
	if report := laterReports[p.Action]; report != "" {
		j.invite(report)
		var asked struct {
			RequestID int `json:"requestId"`
		}
		if err := json.Unmarshal(payload, &asked); err == nil {
			j.nameReport(report, asked.RequestID)
		}
	}
	answer, err := j.Send(p.Action, m.AppendJSON(nil))
	if err != nil {
		return site.Outcome{}, err
	}
	o := site.Outcome{State: event.StateSucceeded, Reason: "answered; whether it agreed stands in the result", Result: answer}
	found, err := version.answer(p.Action, answer)
	j.c.DeviatedIn(p.Action+"Response", found)
	if err != nil {
		j.c.Deviated("answer_unusable", p.Action, string(answer))
		o.Reason = "the answer departs from the schema: " + err.Error()
	}
	return o, nil
}

// nameReport has the parts of a report become events in the name of the command,
// until the last one.
func (j *errand) nameReport(action string, request int) {
	j.await(action, request, j.Order.ID, func(_ any, more bool) {
		if !more {
			j.mu.Lock()
			defer j.mu.Unlock()
			delete(j.awaited, awaited{action: action, request: int64(request)})
		}
	})
}

// request returns an empty request of an action that goes to stations.
func (v *Version) request(action string) (Outgoing, bool) {
	if v.Request != nil {
		return v.Request(action)
	}
	info, ok := ocpp201.Lookup(action)
	if !ok || info.Direction&ocpp201.FromServer == 0 {
		return nil, false
	}
	return ocpp201.NewRequest(action)
}

// answer reads the answer to an action.
func (v *Version) answer(action string, payload []byte) ([]lenient.Deviation, error) {
	if v.Answer != nil {
		return v.Answer(action, payload)
	}
	m, ok := ocpp201.NewResponse(action)
	if !ok {
		return nil, fmt.Errorf("%s has no answer in OCPP 2.0.1", action)
	}
	return m.Decode(payload)
}

// AskTransaction asks whether a transaction still goes on at the station, and
// whether messages about it wait there. Ongoing is nil where the station does not
// say; known is false where it cannot be asked. Report is called on the station's
// goroutine. OCPP 2.0.1 E14.
func (p *Peer) AskTransaction(id string, report func(ongoing *bool, queued bool, known bool)) {
	j := p.errandOf(job.Own(p.c, p.name()))
	p.c.Go(func() {
		var answer ocpp201.GetTransactionStatusResponse
		err := j.Call(&ocpp201.GetTransactionStatusRequest{TransactionID: id}, &answer)
		if err != nil {
			p.c.Log().Info("station does not tell about a transaction", "transaction", id, "err", err)
		}
		if err := p.c.Post(func() { report(answer.OngoingIndicator, answer.MessagesInQueue, err == nil) }); err != nil {
			p.c.Log().Debug("state of a transaction not reported", "transaction", id, "err", err)
		}
	})
}

var (
	_ site.Device           = (*Peer)(nil)
	_ site.TransactionAsker = (*Peer)(nil)
)
