package v201

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// refusal is a CALLERROR to be sent.
func refusal(code ocppj.ErrorCode, description string) *ocpp.CallError {
	return &ocpp.CallError{Code: code, Description: description}
}

// Handle implements ocpp.Peer. The frequent messages come first.
func (p *Peer) Handle(b []byte, action string, payload []byte, _ time.Time) ([]byte, error) {
	if !p.accepted && !p.may(action) {
		return b, refusal(ocppj.SecurityError, "the charging station is not accepted, expected BootNotification")
	}
	switch action {
	case ocpp201.ActionTransactionEvent:
		return p.transactionEvent(b, payload)
	case ocpp201.ActionMeterValues:
		return p.meterValues(b, payload)
	case ocpp201.ActionHeartbeat:
		return p.heartbeat(b, payload)
	case ocpp201.ActionStatusNotification:
		return p.statusNotification(b, payload)
	case ocpp201.ActionNotifyEvent:
		return p.notifyEvent(b, payload)
	case ocpp201.ActionAuthorize:
		return p.authorize(b, payload)
	case ocpp201.ActionBootNotification:
		return p.bootNotification(b, payload)
	case ocpp201.ActionDataTransfer:
		return p.dataTransfer(b, payload)
	case ocpp201.ActionFirmwareStatusNotification:
		return p.firmwareStatus(b, payload)
	case ocpp201.ActionPublishFirmwareStatusNotification:
		return p.publishFirmwareStatus(b, payload)
	case ocpp201.ActionLogStatusNotification:
		return p.logStatus(b, payload)
	case ocpp201.ActionSecurityEventNotification:
		return p.securityEvent(b, payload)
	case ocpp201.ActionReservationStatusUpdate:
		return p.reservationStatus(b, payload)
	case ocpp201.ActionSignCertificate:
		return p.signCertificate(b, payload)
	case ocpp201.ActionGet15118EVCertificate:
		return p.evCertificate(b, payload)
	case ocpp201.ActionGetCertificateStatus:
		return p.certificateStatus(b, payload)
	case ocpp201.ActionNotifyReport:
		return p.notifyReport(b, payload)
	case ocpp201.ActionNotifyMonitoringReport:
		return p.notifyMonitoringReport(b, payload)
	case ocpp201.ActionNotifyDisplayMessages:
		return p.notifyDisplayMessages(b, payload)
	case ocpp201.ActionNotifyCustomerInformation:
		return p.notifyCustomerInformation(b, payload)
	case ocpp201.ActionReportChargingProfiles:
		return p.reportChargingProfiles(b, payload)
	case ocpp201.ActionNotifyChargingLimit:
		return p.notifyChargingLimit(b, payload)
	case ocpp201.ActionClearedChargingLimit:
		return p.clearedChargingLimit(b, payload)
	case ocpp201.ActionNotifyEVChargingNeeds:
		return p.chargingNeeds(b, payload)
	case ocpp201.ActionNotifyEVChargingSchedule:
		return p.chargingSchedule(b, payload)
	}
	return p.unknownAction(b, action, payload)
}

// may tells whether a station that is not accepted may send a message: to boot,
// what it was asked for (B01.FR.10), and events of transactions, which it would
// repeat for ever and must not lose (B02.FR.03).
func (p *Peer) may(action string) bool {
	return action == ocpp201.ActionBootNotification || action == ocpp201.ActionTransactionEvent || p.welcome(action)
}

// unknownAction keeps what has no handler.
func (p *Peer) unknownAction(b []byte, action string, payload []byte) ([]byte, error) {
	answer := refusal(ocppj.NotImplemented, "unknown action")
	if slices.Contains(p.dialect.version.Actions, action) {
		answer = refusal(ocppj.NotSupported, "a message of the CSMS")
	}
	p.c.Warn("unexpected action", "action", action, "answer", string(answer.Code))
	p.c.Deviated("action", action, "")
	if p.c.Config().Strict {
		return b, answer
	}
	if err := p.keep(action, payload, answer.Description); err != nil {
		return b, err
	}
	return b, answer
}

func (p *Peer) heartbeat(b, payload []byte) ([]byte, error) {
	var m ocpp201.HeartbeatRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	now, err := p.st.Heartbeat()
	if err != nil {
		return b, err
	}
	return (&ocpp201.HeartbeatResponse{CurrentTime: lenient.At(now)}).AppendJSON(b), nil
}

// bootNotification answers from the registration of the site. OCPP 2.0.1 B01 to
// B03.
func (p *Peer) bootNotification(b, payload []byte) ([]byte, error) {
	var m ocpp201.BootNotificationRequest
	// Whatever a station says of itself is taken: refused, it could never work.
	if _, err := p.decode(&m, payload, "chargingStation", "reason"); err != nil {
		return b, err
	}
	s := &m.ChargingStation
	report := site.BootReport{
		Vendor: s.VendorName, Model: s.Model, Serial: strings.TrimSpace(s.SerialNumber), Firmware: s.FirmwareVersion,
		Reason: snake(string(m.Reason.Fold())),
	}
	if s.Modem != nil {
		report.ICCID, report.IMSI = s.Modem.ICCID, s.Modem.IMSI
	}
	registration, err := p.st.Booted(report)
	if err != nil {
		return b, err
	}
	p.c.SetModel(report.Vendor, report.Model, report.Firmware)
	p.learnModel(report.Vendor, report.Model, report.Firmware)
	p.booted = true
	p.accepted = registration.Status == site.RegistrationAccepted
	p.c.Log().Info("station booted", "vendor", report.Vendor, "model", report.Model, "firmware", report.Firmware,
		"reason", report.Reason, "registration", registration.Status)
	answer := ocpp201.BootNotificationResponse{
		CurrentTime: lenient.At(registration.Time),
		Interval:    seconds(p.interval(registration)),
		Status:      registrationOf(registration.Status),
	}
	return answer.AppendJSON(b), nil
}

// interval is the heartbeat that a boot is answered with: that of the profile of
// the station where it has one.
func (p *Peer) interval(r site.Registration) time.Duration {
	if h := p.c.Profile().Heartbeat; h > 0 && r.Status == site.RegistrationAccepted {
		return h
	}
	return r.Interval
}

// statusNotification tells of a connector; connector 0 is taken for the whole
// EVSE, EVSE 0 for the station (quirk 48). OCPP 2.0.1 G01.
func (p *Peer) statusNotification(b, payload []byte) ([]byte, error) {
	var m ocpp201.StatusNotificationRequest
	if _, err := p.decode(&m, payload, "timestamp", "connectorId"); err != nil {
		return b, err
	}
	evse, connector, err := place(m.EVSEID, m.ConnectorID)
	if err != nil {
		return b, err
	}
	if connector == 0 {
		p.c.Deviated("connector_0", "", "")
	}
	report := site.StatusReport{EVSE: evse, Connector: connector, DeviceTime: m.Timestamp.Raw}
	report.Status, report.Raw = statusOf(string(m.ConnectorStatus))
	if err := p.status(report); err != nil {
		return b, err
	}
	return (&ocpp201.StatusNotificationResponse{}).AppendJSON(b), nil
}

// dataTransfer keeps what vendors say among themselves: no vendor is known here.
// OCPP 2.0.1 P02.
func (p *Peer) dataTransfer(b, payload []byte) ([]byte, error) {
	var m ocpp201.DataTransferRequest
	if _, err := p.decode(&m, payload, "data", "messageId"); err != nil {
		return b, err
	}
	report := site.DataReport{
		Action: ocpp201.ActionDataTransfer, Vendor: m.VendorID, Message: m.MessageID, Reason: "unknown vendor",
	}
	switch {
	case json.Valid(m.Data):
		report.Payload = bytes.Clone(m.Data)
	default:
		report.Text = string(m.Data)
	}
	if err := p.st.Data(report); err != nil {
		return b, err
	}
	return (&ocpp201.DataTransferResponse{Status: ocpp201.DataTransferStatusUnknownVendorId}).AppendJSON(b), nil
}

// firmwareStatus tells how far an update has come. OCPP 2.0.1 L01.
func (p *Peer) firmwareStatus(b, payload []byte) ([]byte, error) {
	var m ocpp201.FirmwareStatusNotificationRequest
	if _, err := p.decode(&m, payload, "requestId"); err != nil {
		return b, err
	}
	if err := p.st.Firmware(site.FirmwareReport{Status: snake(string(m.Status.Fold())), Request: requestOf(m.RequestID)}); err != nil {
		return b, err
	}
	return (&ocpp201.FirmwareStatusNotificationResponse{}).AppendJSON(b), nil
}

// publishFirmwareStatus tells of firmware that a local controller hands on. OCPP
// 2.0.1 L03.
func (p *Peer) publishFirmwareStatus(b, payload []byte) ([]byte, error) {
	var m ocpp201.PublishFirmwareStatusNotificationRequest
	if _, err := p.decode(&m, payload, "requestId", "location"); err != nil {
		return b, err
	}
	report := site.FirmwareReport{
		Status: snake(string(m.Status.Fold())), Request: requestOf(m.RequestID), Publish: true, Locations: slices.Clone(m.Location),
	}
	if err := p.st.Firmware(report); err != nil {
		return b, err
	}
	return (&ocpp201.PublishFirmwareStatusNotificationResponse{}).AppendJSON(b), nil
}

// logStatus tells how far an upload has come. OCPP 2.0.1 N01.
func (p *Peer) logStatus(b, payload []byte) ([]byte, error) {
	var m ocpp201.LogStatusNotificationRequest
	if _, err := p.decode(&m, payload, "requestId"); err != nil {
		return b, err
	}
	if err := p.st.Log(site.LogReport{Status: uploadOf(string(m.Status.Fold())), Request: requestOf(m.RequestID)}); err != nil {
		return b, err
	}
	return (&ocpp201.LogStatusNotificationResponse{}).AppendJSON(b), nil
}

// securityEvent takes a security event. OCPP 2.0.1 A04.
func (p *Peer) securityEvent(b, payload []byte) ([]byte, error) {
	var m ocpp201.SecurityEventNotificationRequest
	if _, err := p.decode(&m, payload, "timestamp", "techInfo"); err != nil {
		return b, err
	}
	report := site.SecurityReport{Event: securityOf(m.Type), Info: m.TechInfo, DeviceTime: m.Timestamp.Raw}
	if err := p.st.Security(report); err != nil {
		return b, err
	}
	return (&ocpp201.SecurityEventNotificationResponse{}).AppendJSON(b), nil
}

// reservationStatus says that the station has given up a reservation. OCPP 2.0.1
// H04.
func (p *Peer) reservationStatus(b, payload []byte) ([]byte, error) {
	var m ocpp201.ReservationStatusUpdateRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	id := small(m.ReservationID)
	if id == 0 {
		return b, p.asIs(m.Action(), payload, "expected a positive reservationId")
	}
	report := site.ReservationReport{Reservation: id, Status: snake(string(m.ReservationUpdateStatus.Fold()))}
	if err := p.st.Reservation(report); err != nil {
		return b, err
	}
	return (&ocpp201.ReservationStatusUpdateResponse{}).AppendJSON(b), nil
}

// asIs keeps a message whose values make no sense and returns the refusal of it.
func (p *Peer) asIs(action string, payload []byte, why string) error {
	if err := p.keep(action, payload, why); err != nil {
		return err
	}
	return refusal(ocppj.PropertyConstraintViolation, why)
}
