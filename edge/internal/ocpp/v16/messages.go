package v16

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/metering"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// peer is one charge point on one connection. Everything except the orders runs
// on the station's goroutine.
type peer struct {
	dialect    *Dialect
	c          *ocpp.Conversation
	st         *site.Station
	connectors []ocpp.Connector        // that are not EVSE n, connector 1
	accepted   bool                    // a known station that comes without a boot is
	booted     bool                    // a boot came over this connection
	running    map[int]int64           // transactions seen on this connection, by EVSE
	watches    map[int]*metering.Watch // of the meters, by EVSE
	given      given
	vendor     atomic.Pointer[string] // that the charge point speaks of Plug & Charge as; nil: it did not yet
	model      atomic.Pointer[job.Model]
}

// Joined implements ocpp.Peer.
func (p *peer) Joined(site.Connection) {
	p.accepted = p.st.Registration() == site.RegistrationAccepted
}

// Close implements site.Device.
func (p *peer) Close(reason string) { p.c.Close(reason) }

// maxConnector is the highest connector that is believed.
const maxConnector = 1000

// place returns where a connector of 1.6 stands: connector n is EVSE n, connector
// 1, and connector 0 the station, unless configured otherwise.
func (p *peer) place(number int64) (evse, connector int, err error) {
	if number < 0 || number > maxConnector {
		return 0, 0, &ocpp.CallError{Code: ocppj.PropertyConstraintViolation,
			Description: fmt.Sprintf("connectorId: expected 0 to %d, got %d", maxConnector, number)}
	}
	if number == 0 {
		return 0, 0, nil
	}
	for _, at := range p.connectors {
		if int64(at.Number) == number {
			return at.EVSE, at.Connector, nil
		}
	}
	return int(number), 1, nil
}

// connector returns the connector of 1.6 that stands at a place; connector 0 of
// an EVSE means its first.
func (p *peer) connector(evse, connector int) int64 {
	for _, at := range p.connectors {
		if at.EVSE == evse && (at.Connector == connector || connector == 0) {
			return int64(at.Number)
		}
	}
	return int64(evse)
}

// Handle implements ocpp.Peer. The frequent messages come first.
func (p *peer) Handle(b []byte, action string, payload []byte, received time.Time) ([]byte, error) {
	if !p.accepted && action != ocpp16.ActionBootNotification && action != ocpp16.ActionStopTransaction && !p.given.welcome(action) {
		// OCPP 1.6 §4.2: before acceptance nothing that was not asked for; a stop
		// would be lost.
		return b, &ocpp.CallError{Code: ocppj.SecurityError, Description: "the charge point is not accepted, expected BootNotification"}
	}
	switch action {
	case ocpp16.ActionMeterValues:
		return p.meterValues(b, payload)
	case ocpp16.ActionHeartbeat:
		return p.heartbeat(b, payload)
	case ocpp16.ActionStatusNotification:
		return p.statusNotification(b, payload)
	case ocpp16.ActionAuthorize:
		return p.authorize(b, payload)
	case ocpp16.ActionStartTransaction:
		return p.startTransaction(b, payload)
	case ocpp16.ActionStopTransaction:
		return p.stopTransaction(b, payload)
	case ocpp16.ActionBootNotification:
		return p.bootNotification(b, payload)
	case ocpp16.ActionDataTransfer:
		return p.dataTransfer(b, payload)
	case ocpp16.ActionFirmwareStatusNotification:
		return p.firmwareStatus(b, payload)
	case ocpp16.ActionSignedFirmwareStatusNotification:
		return p.signedFirmwareStatus(b, payload)
	case ocpp16.ActionDiagnosticsStatusNotification:
		return p.diagnosticsStatus(b, payload)
	case ocpp16.ActionLogStatusNotification:
		return p.logStatus(b, payload)
	case ocpp16.ActionSecurityEventNotification:
		return p.securityEvent(b, payload)
	case ocpp16.ActionSignCertificate:
		return p.signCertificate(b, payload)
	}
	return p.unknownAction(b, action, payload)
}

// unknownAction keeps what has no handler.
func (p *peer) unknownAction(b []byte, action string, payload []byte) ([]byte, error) {
	refusal := &ocpp.CallError{Code: ocppj.NotImplemented, Description: "unknown action"}
	if _, ok := ocpp16.Lookup(action); ok {
		refusal = &ocpp.CallError{Code: ocppj.NotSupported, Description: "a message of the central system"}
	}
	p.c.Warn("unexpected action", "action", action, "answer", string(refusal.Code))
	p.c.Deviated("action", action, "")
	if p.c.Config().Strict {
		return b, refusal
	}
	report := site.DataReport{Action: action, Payload: bytes.Clone(payload), Reason: refusal.Description}
	if err := p.st.Data(report); err != nil {
		return b, err
	}
	return b, refusal
}

// borne is what decode found wrong and could be lived with.
type borne []lenient.Problem

// lacks tells that a field was missing or unusable.
func (b borne) lacks(path string) bool {
	for i := range b {
		if b[i].Path == path {
			return true
		}
	}
	return false
}

// decode reads a payload and counts its deviations. Problems in the fields named
// bearable, or below them, are returned; any other refuses the message.
func (p *peer) decode(m ocpp16.Request, payload []byte, bearable ...string) (borne, error) {
	found, err := m.Decode(payload)
	if len(found) > 0 {
		p.c.DeviatedIn(m.Action(), found)
	}
	if p.c.Config().Strict {
		return nil, p.strict(m, found, err)
	}
	if err == nil {
		return nil, nil
	}
	wrong := new(lenient.Error)
	if !errors.As(err, &wrong) {
		return nil, fmt.Errorf("decode %s: %w", m.Action(), err)
	}
	for _, problem := range wrong.Problems {
		p.c.Deviated("problem_"+problem.Class.String(), m.Action()+"."+problem.Path, problem.String())
		if !bears(bearable, problem.Path) {
			return nil, &ocpp.CallError{Code: ocppj.CodeOf(err), Description: err.Error()}
		}
	}
	return wrong.Problems, nil
}

// strict refuses whatever is off the schema. What is refused leaves no trace but
// the count.
func (p *peer) strict(m ocpp16.Request, found []lenient.Deviation, err error) error {
	if err == nil && len(found) == 0 {
		if err = m.Validate(); err != nil {
			p.c.Deviated("invalid", m.Action(), err.Error())
		}
	} else if err != nil {
		p.c.Deviated("problem", m.Action(), err.Error())
	}
	if refusal := ocpp.Strict(ocppj.V16, found, err); refusal != nil {
		return refusal
	}
	return nil
}

func bears(bearable []string, path string) bool {
	for _, name := range bearable {
		if rest, ok := strings.CutPrefix(path, name); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// count is the Deviated of meter values, without the path of a payload.
func (p *peer) count(kind, where, text string) { p.c.Deviated(kind, where, text) }

// readings are the meter values that are being handled, to be used again: they
// are most of what a charger sends, and their lists are long.
var readings = sync.Pool{New: func() any { return new(ocpp16.MeterValuesRequest) }}

// usualReadings is the largest payload, in bytes, whose lists are kept.
const usualReadings = 8 << 10

func (p *peer) meterValues(b, payload []byte) ([]byte, error) {
	m := readings.Get().(*ocpp16.MeterValuesRequest)
	if len(payload) <= usualReadings {
		defer readings.Put(m)
	}
	wrong, err := p.decode(m, payload, "meterValue", "transactionId")
	if err != nil {
		return b, err
	}
	evse, connector, err := p.place(m.ConnectorID)
	if err != nil {
		return b, err
	}
	report := site.MeterReport{EVSE: evse, Connector: connector, Samples: p.samples(m.MeterValue)}
	report.Suspect = p.implausible(evse, report.Samples)
	if m.TransactionID != nil {
		id := transactionOf(*m.TransactionID)
		report.Transaction = &id
		p.runs(evse, *m.TransactionID)
	}
	switch {
	case len(report.Samples) > 0:
		err = p.st.Meter(report)
	case len(wrong) > 0: // nothing of it could be read
		err = p.st.Data(site.DataReport{Action: m.Action(), Payload: bytes.Clone(payload), Reason: wrong[0].String()})
	}
	if err != nil {
		return b, err
	}
	return (&ocpp16.MeterValuesResponse{}).AppendJSON(b), nil
}

// runs notes the transaction of an EVSE, for profiles that want it named.
func (p *peer) runs(evse int, id int64) {
	if evse == 0 || id <= 0 || p.running[evse] == id {
		return
	}
	if p.running == nil {
		p.running = map[int]int64{}
	}
	p.running[evse] = id
}

func (p *peer) heartbeat(b, payload []byte) ([]byte, error) {
	var m ocpp16.HeartbeatRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	now, err := p.st.Heartbeat()
	if err != nil {
		return b, err
	}
	return (&ocpp16.HeartbeatResponse{CurrentTime: lenient.At(now)}).AppendJSON(b), nil
}

func (p *peer) statusNotification(b, payload []byte) ([]byte, error) {
	var m ocpp16.StatusNotificationRequest
	if _, err := p.decode(&m, payload, "errorCode", "timestamp"); err != nil {
		return b, err
	}
	evse, connector, err := p.place(m.ConnectorID)
	if err != nil {
		return b, err
	}
	report := site.StatusReport{
		EVSE: evse, Connector: connector, ErrorCode: faultOf(m.ErrorCode),
		VendorID: m.VendorID, VendorErrorCode: m.VendorErrorCode, Info: m.Info, DeviceTime: m.Timestamp.Raw,
	}
	report.Status, report.Raw = statusOf(m.Status)
	if report.ErrorCode == "other" && m.ErrorCode.Fold() != ocpp16.ChargePointErrorCodeOtherError && report.VendorErrorCode == "" {
		report.VendorErrorCode = string(m.ErrorCode) // the word that the standard does not have
	}
	if err := p.st.Status(report); err != nil {
		return b, err
	}
	return (&ocpp16.StatusNotificationResponse{}).AppendJSON(b), nil
}

func (p *peer) authorize(b, payload []byte) ([]byte, error) {
	var m ocpp16.AuthorizeRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	result, err := p.st.Authorize(p.token(m.IDTag))
	if err != nil {
		return b, err
	}
	return (&ocpp16.AuthorizeResponse{IDTagInfo: tagInfo(result)}).AppendJSON(b), nil
}

func (p *peer) startTransaction(b, payload []byte) ([]byte, error) {
	var m ocpp16.StartTransactionRequest
	wrong, err := p.decode(&m, payload, "meterStart", "timestamp", "reservationId")
	if err != nil {
		return b, err
	}
	evse, connector, err := p.place(m.ConnectorID)
	if err != nil {
		return b, err
	}
	if evse == 0 { // forbidden by OCPP 1.6 §7.17; a station with one socket may do it
		p.c.Deviated("start_on_connector_0", "", "")
		if evse, connector, err = p.place(1); err != nil {
			return b, err
		}
	}
	report := site.StartReport{
		EVSE: evse, Connector: connector, Token: p.token(m.IDTag),
		MeterWh: p.c.Profile().Begin(registerOf(m.MeterStart, !wrong.lacks("meterStart"))), Time: timeOf(m.Timestamp),
	}
	if m.ReservationID != nil && *m.ReservationID > 0 && *m.ReservationID < 1<<31 {
		report.Reservation = int(*m.ReservationID)
	}
	result, err := p.st.Start(report)
	if err != nil {
		return b, err
	}
	p.runs(evse, result.Transaction)
	p.begins(evse, report)
	answer := ocpp16.StartTransactionResponse{IDTagInfo: tagInfo(result.AuthorizeResult), TransactionID: result.Transaction}
	return answer.AppendJSON(b), nil
}

// stopTransaction always confirms: a charge point repeats a stop until it is
// confirmed, and an error would lose it.
func (p *peer) stopTransaction(b, payload []byte) ([]byte, error) {
	var m ocpp16.StopTransactionRequest
	wrong, err := p.decode(&m, payload, "meterStop", "timestamp", "idTag", "reason", "transactionData")
	if err != nil && p.c.Config().Strict {
		return b, err
	}
	if err != nil {
		return p.keepStop(b, payload, nil, err.Error())
	}
	report := site.StopReport{
		Transaction: transactionOf(m.TransactionID),
		MeterWh:     p.c.Profile().Register(registerOf(m.MeterStop, !wrong.lacks("meterStop"))),
		Time:        timeOf(m.Timestamp),
		Reason:      reasonOf(m.Reason),
		Readings:    p.samples(m.TransactionData),
	}
	if m.IDTag != "" {
		token := p.token(m.IDTag)
		report.Token = &token
	}
	for evse, id := range p.running {
		if id == m.TransactionID {
			delete(p.running, evse)
		}
	}
	result, err := p.st.Stop(report)
	if errors.Is(err, site.ErrNotKept) {
		return b, err
	}
	if err != nil {
		return p.keepStop(b, payload, nil, err.Error())
	}
	var answer ocpp16.StopTransactionResponse
	if report.Token != nil && result.Decision == "accepted" {
		info := tagInfo(result.AuthorizeResult)
		answer.IDTagInfo = &info
	}
	return answer.AppendJSON(b), nil
}

// keepStop confirms a stop that cannot be used, and keeps it as it came: payload
// where it is JSON, text where it is not.
func (p *peer) keepStop(b, payload, text []byte, why string) ([]byte, error) {
	p.c.Warn("stop of a transaction cannot be used, kept as it came", "reason", why)
	p.c.Deviated("stop_unusable", "", why)
	report := site.DataReport{Action: ocpp16.ActionStopTransaction, Payload: bytes.Clone(payload), Text: string(text), Reason: why}
	if err := p.st.Data(report); err != nil {
		return b, err
	}
	return (&ocpp16.StopTransactionResponse{}).AppendJSON(b), nil
}

func (p *peer) bootNotification(b, payload []byte) ([]byte, error) {
	var m ocpp16.BootNotificationRequest
	// Whatever a station says of itself is taken: refused, it could never work.
	if _, err := p.decode(&m, payload, "chargePointVendor", "chargePointModel"); err != nil {
		return b, err
	}
	serial := m.ChargePointSerialNumber
	if strings.TrimSpace(serial) == "" {
		serial = m.ChargeBoxSerialNumber
	}
	registration, err := p.st.Booted(site.BootReport{
		Vendor: m.ChargePointVendor, Model: m.ChargePointModel, Serial: serial, Firmware: m.FirmwareVersion,
		ICCID: m.ICCID, IMSI: m.IMSI, MeterType: m.MeterType, MeterSerial: m.MeterSerialNumber,
	})
	if err != nil {
		return b, err
	}
	p.c.SetModel(m.ChargePointVendor, m.ChargePointModel, m.FirmwareVersion)
	p.known(site.BootReport{Vendor: m.ChargePointVendor, Model: m.ChargePointModel, Firmware: m.FirmwareVersion})
	p.booted = true
	p.accepted = registration.Status == "accepted"
	p.c.Log().Info("station booted", "vendor", m.ChargePointVendor, "model", m.ChargePointModel,
		"firmware", m.FirmwareVersion, "registration", registration.Status)
	answer := ocpp16.BootNotificationResponse{
		Status:      registrationOf(registration.Status),
		CurrentTime: lenient.At(registration.Time),
		Interval:    seconds(p.interval(registration)),
	}
	return answer.AppendJSON(b), nil
}

// dataTransfer keeps what vendors say among themselves: no vendor is known here.
func (p *peer) dataTransfer(b, payload []byte) ([]byte, error) {
	var m ocpp16.DataTransferRequest
	if _, err := p.decode(&m, payload, "data", "messageId"); err != nil {
		return b, err
	}
	if answer, ok, err := p.plugAndCharge(&m); ok || err != nil {
		if err != nil {
			return b, err
		}
		return answer.AppendJSON(b), nil
	}
	report := site.DataReport{
		Action: ocpp16.ActionDataTransfer, Vendor: m.VendorID, Message: m.MessageID, Reason: "unknown vendor",
	}
	if data := json.RawMessage(m.Data); m.Data != "" && json.Valid(data) {
		report.Payload = data
	} else {
		report.Text = m.Data
	}
	if err := p.st.Data(report); err != nil {
		return b, err
	}
	return (&ocpp16.DataTransferResponse{Status: ocpp16.DataTransferStatusUnknownVendorId}).AppendJSON(b), nil
}

func (p *peer) firmwareStatus(b, payload []byte) ([]byte, error) {
	var m ocpp16.FirmwareStatusNotificationRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	if err := p.st.Firmware(site.FirmwareReport{Status: snake(string(m.Status))}); err != nil {
		return b, err
	}
	return (&ocpp16.FirmwareStatusNotificationResponse{}).AppendJSON(b), nil
}

func (p *peer) signedFirmwareStatus(b, payload []byte) ([]byte, error) {
	var m ocpp16.SignedFirmwareStatusNotificationRequest
	if _, err := p.decode(&m, payload, "requestId"); err != nil {
		return b, err
	}
	if err := p.st.Firmware(site.FirmwareReport{Status: snake(string(m.Status)), Request: requestOf(m.RequestID)}); err != nil {
		return b, err
	}
	return (&ocpp16.SignedFirmwareStatusNotificationResponse{}).AppendJSON(b), nil
}

func (p *peer) diagnosticsStatus(b, payload []byte) ([]byte, error) {
	var m ocpp16.DiagnosticsStatusNotificationRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	if err := p.st.Log(site.LogReport{Status: uploadOf(string(m.Status))}); err != nil {
		return b, err
	}
	return (&ocpp16.DiagnosticsStatusNotificationResponse{}).AppendJSON(b), nil
}

func (p *peer) logStatus(b, payload []byte) ([]byte, error) {
	var m ocpp16.LogStatusNotificationRequest
	if _, err := p.decode(&m, payload, "requestId"); err != nil {
		return b, err
	}
	if err := p.st.Log(site.LogReport{Status: uploadOf(string(m.Status)), Request: requestOf(m.RequestID)}); err != nil {
		return b, err
	}
	return (&ocpp16.LogStatusNotificationResponse{}).AppendJSON(b), nil
}

func (p *peer) securityEvent(b, payload []byte) ([]byte, error) {
	var m ocpp16.SecurityEventNotificationRequest
	if _, err := p.decode(&m, payload, "timestamp", "techInfo"); err != nil {
		return b, err
	}
	report := site.SecurityReport{Event: securityOf(m.Type), Info: m.TechInfo, DeviceTime: m.Timestamp.Raw}
	if err := p.st.Security(report); err != nil {
		return b, err
	}
	return (&ocpp16.SecurityEventNotificationResponse{}).AppendJSON(b), nil
}

// signCertificate acknowledges at once: the chain follows by a command.
func (p *peer) signCertificate(b, payload []byte) ([]byte, error) {
	var m ocpp16.SignCertificateRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	if err := p.st.Certificate(site.CertificateReport{CSR: m.CSR}); err != nil {
		return b, err
	}
	return (&ocpp16.SignCertificateResponse{Status: ocpp16.GenericStatusAccepted}).AppendJSON(b), nil
}

// requestOf returns the request id that a message names, 0 where it names none.
func requestOf(id *int64) int {
	if id == nil || *id < 0 || *id >= 1<<31 {
		return 0
	}
	return int(*id)
}

// Damaged implements ocpp.Peer. A frame that was meant to stop a transaction is
// mended as far as its letters go, else kept and confirmed.
func (p *peer) Damaged(b, frame []byte, damage *ocppj.ParseError, received time.Time) ([]byte, error) {
	if meansStop(frame, damage) {
		mended, err := ocppj.Parse(bytes.ToValidUTF8(frame, []byte("\uFFFD")))
		if err == nil && mended.Type == ocppj.Call && mended.Action == ocpp16.ActionStopTransaction {
			return p.stopTransaction(b, mended.Payload)
		}
		return p.keepStop(b, nil, bounded8k(frame), damage.Reason)
	}
	report := site.DataReport{Text: string(bounded8k(frame)), Reason: damage.Error()}
	if err := p.st.Data(report); err != nil {
		return b, err
	}
	return b, &ocpp.CallError{Code: damage.Code, Description: damage.Reason}
}

// meansStop tells whether a damaged frame was the call StopTransaction.
func meansStop(frame []byte, damage *ocppj.ParseError) bool {
	const reach = 600 // an id of 255 bytes may stand before the action
	return damage.ID != "" && (damage.Type == ocppj.Call || damage.Type == 0) &&
		bytes.Contains(frame[:min(len(frame), reach)], []byte(`"`+ocpp16.ActionStopTransaction+`"`))
}

// bounded8k returns at most the first 8 KiB of a frame, as valid UTF-8.
func bounded8k(frame []byte) []byte {
	return bytes.ToValidUTF8(frame[:min(len(frame), 8<<10)], []byte("\uFFFD"))
}
