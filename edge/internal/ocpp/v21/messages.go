package v21

import (
	"encoding/json"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v201"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// questionWait is how long the manager is waited for: a station gives an answer
// 30 s.
const questionWait = 10 * time.Second

// handlers deal with the messages of a station that 2.1 added.
var handlers = map[string]func(p *peer, b, payload []byte) ([]byte, error){
	ocpp21.ActionNotifySettlement:          (*peer).settlement,
	ocpp21.ActionVatNumberValidation:       (*peer).vatNumber,
	ocpp21.ActionNotifyPriorityCharging:    (*peer).priorityCharging,
	ocpp21.ActionPullDynamicScheduleUpdate: (*peer).pullSchedule,
	ocpp21.ActionGetCertificateChainStatus: (*peer).chainStatus,
	ocpp21.ActionOpenPeriodicEventStream:   (*peer).openStream,
	ocpp21.ActionClosePeriodicEventStream:  (*peer).closeStream,
	ocpp21.ActionNotifyPeriodicEventStream: (*peer).streamed,
	ocpp21.ActionNotifyDERAlarm:            (*peer).derAlarm,
	ocpp21.ActionNotifyDERStartStop:        (*peer).derStartStop,
	ocpp21.ActionReportDERControl:          (*peer).derReport,
	ocpp21.ActionBatterySwap:               (*peer).batterySwap,
}

// told takes a message that only tells something: it is kept as it came and
// acknowledged.
func (p *peer) told(b, payload []byte, m ocpp21.Request, why string, bearable ...string) ([]byte, error) {
	if err := p.Read(m, payload, bearable...); err != nil {
		return b, err
	}
	if err := p.Keep(m.Action(), payload, why); err != nil {
		return b, err
	}
	acknowledgement := m.NewResponse()
	if acknowledgement == nil { // it was sent without asking for one
		return append(b, "{}"...), nil
	}
	return acknowledgement.AppendJSON(b), nil
}

// settlement says what became of a payment at the station. OCPP 2.1 C22 to C25:
// the receipt that the answer could name is made by whoever settles it.
func (p *peer) settlement(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.NotifySettlementRequest), "the settlement of a payment",
		"settlementTime", "settlementAmount", "vatCompany", "statusInfo")
}

// priorityCharging says that a driver has begun or ended priority charging.
// OCPP 2.1 K22.
func (p *peer) priorityCharging(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.NotifyPriorityChargingRequest), "priority charging")
}

// closeStream ends a stream of values. OCPP 2.1 N12.
func (p *peer) closeStream(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.ClosePeriodicEventStreamRequest), "a stream of values ends")
}

// streamed is a part of a stream of values, sent without asking for an answer.
// OCPP 2.1 N15.
func (p *peer) streamed(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.NotifyPeriodicEventStreamRequest), "values of a stream", "basetime", "pending")
}

// derAlarm is a fault of the grid that the station has seen. OCPP 2.1 R06.
func (p *peer) derAlarm(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.NotifyDERAlarmRequest), "an alarm of the grid", "timestamp", "extraInfo")
}

// derStartStop says that a scheduled control has begun or ended. OCPP 2.1 R05.
func (p *peer) derStartStop(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.NotifyDERStartStopRequest), "a control of the grid begins or ends", "timestamp", "supersededIds")
}

// derReport is a part of the controls that are set. OCPP 2.1 R04.
func (p *peer) derReport(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.ReportDERControlRequest), "a report of controls of the grid")
}

// batterySwap says that batteries were put in or taken out. OCPP 2.1 S01 to S03.
func (p *peer) batterySwap(b, payload []byte) ([]byte, error) {
	return p.told(b, payload, new(ocpp21.BatterySwapRequest), "batteries put in or taken out", "batteryData")
}

// openStream agrees to a stream of values: all of it is kept. OCPP 2.1 N11.
func (p *peer) openStream(b, payload []byte) ([]byte, error) {
	var m ocpp21.OpenPeriodicEventStreamRequest
	if err := p.Read(&m, payload); err != nil {
		return b, err
	}
	if err := p.Keep(m.Action(), payload, "a stream of values begins"); err != nil {
		return b, err
	}
	return (&ocpp21.OpenPeriodicEventStreamResponse{Status: ocpp21.GenericStatusAccepted}).AppendJSON(b), nil
}

// question keeps a message, puts it to the manager and reads the answer into out,
// which has to follow the schema. Err says why there is none.
func (p *peer) question(kind string, m ocpp21.Request, payload []byte, out ocpp21.Response) (err, fault error) {
	if err := p.Keep(m.Action(), payload, "a question to the manager"); err != nil {
		return nil, err
	}
	var text json.RawMessage
	if text, err = p.Question(kind, payload, questionWait); err != nil {
		return err, nil
	}
	if _, err = out.Decode(text); err == nil {
		err = out.Validate()
	}
	if err != nil {
		p.Conversation().Warn("the manager's answer cannot be used", "question", kind, "err", err)
	}
	return err, nil
}

// reason is why a question failed.
func reason(err error) *ocpp21.StatusInfo {
	code, text := v201.WhyNot(err)
	return &ocpp21.StatusInfo{ReasonCode: code, AdditionalInfo: text}
}

// vatNumber asks the manager to validate the tax number of a driver's company.
// What nobody has validated is not valid. OCPP 2.1 C21.
func (p *peer) vatNumber(b, payload []byte) ([]byte, error) {
	var m ocpp21.VatNumberValidationRequest
	if err := p.Read(&m, payload, "evseId"); err != nil {
		return b, err
	}
	var answer ocpp21.VatNumberValidationResponse
	err, fault := p.question(site.QuestionVATNumber, &m, payload, &answer)
	if fault != nil {
		return b, fault
	}
	if err != nil {
		answer = ocpp21.VatNumberValidationResponse{
			VatNumber: cut(m.VatNumber, 20), Status: ocpp21.GenericStatusRejected, StatusInfo: reason(err),
		}
		if m.EVSEID != nil && *m.EVSEID >= 0 {
			answer.EVSEID = m.EVSEID
		}
	}
	return answer.AppendJSON(b), nil
}

// pullSchedule asks the manager for the next value of a dynamic profile. Without
// one the station goes on by what it has. OCPP 2.1 K28.
func (p *peer) pullSchedule(b, payload []byte) ([]byte, error) {
	var m ocpp21.PullDynamicScheduleUpdateRequest
	if err := p.Read(&m, payload); err != nil {
		return b, err
	}
	var answer ocpp21.PullDynamicScheduleUpdateResponse
	err, fault := p.question(site.QuestionDynamicSchedule, &m, payload, &answer)
	if fault != nil {
		return b, fault
	}
	if err != nil {
		answer = ocpp21.PullDynamicScheduleUpdateResponse{Status: ocpp21.ChargingProfileStatusRejected, StatusInfo: reason(err)}
	}
	return answer.AppendJSON(b), nil
}

// chainStatus asks the manager whether certificates are revoked. Of what nobody
// has looked up the status is Failed. OCPP 2.1 M07.
func (p *peer) chainStatus(b, payload []byte) ([]byte, error) {
	var m ocpp21.GetCertificateChainStatusRequest
	if err := p.Read(&m, payload); err != nil {
		return b, err
	}
	if n := len(m.CertificateStatusRequests); n == 0 || n > 4 {
		return b, p.Refuse(m.Action(), payload, "certificateStatusRequests: expected 1 to 4")
	}
	var answer ocpp21.GetCertificateChainStatusResponse
	err, fault := p.question(site.QuestionCertificateChainStatus, &m, payload, &answer)
	if fault != nil {
		return b, fault
	}
	if err != nil {
		answer = ocpp21.GetCertificateChainStatusResponse{}
		for i := range m.CertificateStatusRequests {
			asked := &m.CertificateStatusRequests[i]
			answer.CertificateStatus = append(answer.CertificateStatus, ocpp21.CertificateStatus{
				CertificateHashData: asked.CertificateHashData, Source: asked.Source,
				Status: ocpp21.CertificateStatusTypeFailed, NextUpdate: lenient.At(p.Conversation().Now().Add(askAgain)),
			})
		}
	}
	return answer.AppendJSON(b), nil
}

// askAgain is when a station may ask again for a status that could not be looked
// up.
const askAgain = time.Hour

// numberSigning remembers the number of a request for a certificate: the chain
// that answers it has to name it. OCPP 2.1 A02.
func (p *peer) numberSigning(payload []byte) {
	var m ocpp21.SignCertificateRequest
	if _, err := m.Decode(payload); err != nil || m.RequestID == nil {
		return
	}
	use := ocpp201.CertificateSigningUse(m.CertificateType.Fold())
	if use == "" {
		use = ocpp201.CertificateSigningUseChargingStationCertificate
	}
	p.NumberSigning(use, *m.RequestID)
}

// cut returns at most n characters of text.
func cut(text string, n int) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), n)])
}
