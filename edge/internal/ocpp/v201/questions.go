package v201

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// How long the manager is waited for. A car gives the contract 5 s
// (ISO 15118-2 §8.7), a station an answer 30 s.
const (
	certificateWait = 4 * time.Second
	questionWait    = 10 * time.Second
)

// authorize decides about a token, and about the certificate of a car that comes
// with it. OCPP 2.0.1 C01, C07.
func (p *Peer) authorize(b, payload []byte) ([]byte, error) {
	var m ocpp201.AuthorizeRequest
	if _, err := p.decode(&m, payload, "idToken.type", "idToken.additionalInfo", "certificate", "iso15118CertificateHashData"); err != nil {
		return b, err
	}
	if m.Certificate == "" && len(m.Iso15118CertificateHashData) == 0 {
		result, err := p.st.Authorize(tokenOf(&m.IDToken))
		if err != nil {
			return b, err
		}
		return (&ocpp201.AuthorizeResponse{IDTokenInfo: p.tokenInfo(result)}).AppendJSON(b), nil
	}
	answer := ocpp201.AuthorizeResponse{CertificateStatus: p.judgeCertificate(payload)}
	switch answer.CertificateStatus {
	case ocpp201.AuthorizeCertificateStatusAccepted, ocpp201.AuthorizeCertificateStatusContractCancelled:
		result, err := p.st.Authorize(tokenOf(&m.IDToken))
		if err != nil {
			return b, err
		}
		answer.IDTokenInfo = p.tokenInfo(result)
		switch answer.IDTokenInfo.Status { // C07.FR.13
		case ocpp201.AuthorizationStatusBlocked, ocpp201.AuthorizationStatusExpired,
			ocpp201.AuthorizationStatusInvalid, ocpp201.AuthorizationStatusUnknown:
			answer.CertificateStatus = ocpp201.AuthorizeCertificateStatusContractCancelled
		}
	case ocpp201.AuthorizeCertificateStatusCertificateExpired: // C07.FR.15
		answer.IDTokenInfo.Status = ocpp201.AuthorizationStatusExpired
	default: // C07.FR.16, C07.FR.17
		answer.IDTokenInfo.Status = ocpp201.AuthorizationStatusInvalid
	}
	return answer.AppendJSON(b), nil
}

// judgeCertificate asks the manager about the contract certificate of a car. One
// that nobody has verified counts as one that cannot be (C07.FR.17).
func (p *Peer) judgeCertificate(payload []byte) ocpp201.AuthorizeCertificateStatus {
	unverified := ocpp201.AuthorizeCertificateStatusCertChainError
	text, err := p.ask(site.QuestionCertificateStatus, payload, certificateWait)
	if err != nil {
		return unverified
	}
	var verdict struct {
		CertificateStatus ocpp201.AuthorizeCertificateStatus `json:"certificateStatus"`
	}
	if err := json.Unmarshal(text, &verdict); err != nil || !verdict.CertificateStatus.Fold().Known() {
		p.c.Warn("the manager's answer cannot be used", "question", site.QuestionCertificateStatus, "answer", string(bounded(text)))
		return unverified
	}
	return verdict.CertificateStatus.Fold()
}

// ask puts a message of the station to the manager, and says in the log why no
// answer came.
func (p *Peer) ask(kind string, payload []byte, wait time.Duration) (json.RawMessage, error) {
	answer, err := p.st.Ask(site.Question{Kind: kind, Payload: bytes.Clone(payload)}, wait)
	if err != nil {
		p.c.Warn("question not answered", "question", kind, "err", err)
	}
	return answer, err
}

// why is the reason for a Failed, as a station shows it. OCPP 2.0.1 part 2
// appendix 5 has no word for it.
func why(err error) *ocpp201.StatusInfo {
	info := &ocpp201.StatusInfo{ReasonCode: "NoAnswer", AdditionalInfo: "the manager did not answer"}
	switch {
	case errors.Is(err, site.ErrUnsupported):
		info.ReasonCode, info.AdditionalInfo = "UnsupportedRequest", "the manager answers no such question"
	case errors.Is(err, site.ErrManagerAway):
		info.AdditionalInfo = "the manager is out of reach"
	}
	return info
}

// usable decodes the manager's answer: one that is off the schema is none.
func (p *Peer) usable(kind string, answer json.RawMessage, m ocpp201.Response) bool {
	_, err := m.Decode(answer)
	if err == nil {
		err = m.Validate()
	}
	if err != nil {
		p.c.Warn("the manager's answer cannot be used", "question", kind, "err", err)
	}
	return err == nil
}

// signCertificate acknowledges at once: the chain follows by a command. OCPP 2.0.1
// A02, A03.
func (p *Peer) signCertificate(b, payload []byte) ([]byte, error) {
	var m ocpp201.SignCertificateRequest
	if _, err := p.decode(&m, payload, "certificateType"); err != nil {
		return b, err
	}
	if m.CSR == "" {
		return (&ocpp201.SignCertificateResponse{Status: ocpp201.GenericStatusRejected}).AppendJSON(b), nil
	}
	report := site.CertificateReport{CSR: m.CSR, Kind: signingOf(m.CertificateType)}
	if err := p.st.Certificate(report); err != nil {
		return b, err
	}
	return (&ocpp201.SignCertificateResponse{Status: ocpp201.GenericStatusAccepted}).AppendJSON(b), nil
}

// signingOf returns what a certificate is for; absent means both uses, of which
// the station's own is one. OCPP 2.0.1 CertificateSigningUseEnumType; V2G20 is
// from 2.1.
func signingOf(word ocpp201.CertificateSigningUse) string {
	switch word.Fold() {
	case ocpp201.CertificateSigningUseV2GCertificate:
		return "v2g"
	case "V2G20Certificate":
		return "v2g20"
	}
	return "station"
}

// evCertificate carries a car's wish for a contract certificate to the manager.
// OCPP 2.0.1 M01, M02.
func (p *Peer) evCertificate(b, payload []byte) ([]byte, error) {
	var m ocpp201.Get15118EVCertificateRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	var answer ocpp201.Get15118EVCertificateResponse
	text, err := p.ask(site.QuestionISO15118Certificate, payload, questionWait)
	if err != nil || !p.usable(site.QuestionISO15118Certificate, text, &answer) {
		answer = ocpp201.Get15118EVCertificateResponse{Status: ocpp201.Iso15118EVCertificateStatusFailed, StatusInfo: why(err)}
	}
	return answer.AppendJSON(b), nil
}

// certificateStatus carries a question about a certificate (OCSP) to the manager.
// OCPP 2.0.1 M06.
func (p *Peer) certificateStatus(b, payload []byte) ([]byte, error) {
	var m ocpp201.GetCertificateStatusRequest
	if _, err := p.decode(&m, payload); err != nil {
		return b, err
	}
	var answer ocpp201.GetCertificateStatusResponse
	text, err := p.ask(site.QuestionCertificateStatus, payload, questionWait)
	if err != nil || !p.usable(site.QuestionCertificateStatus, text, &answer) {
		answer = ocpp201.GetCertificateStatusResponse{Status: ocpp201.GetCertificateStatusFailed, StatusInfo: why(err)}
	}
	return answer.AppendJSON(b), nil
}

// chargingNeeds carries what a car needs to the manager, who may answer that it
// sets a profile for it. Nobody who does means Rejected: the station charges by
// what it has. OCPP 2.0.1 K15.
func (p *Peer) chargingNeeds(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyEVChargingNeedsRequest
	if _, err := p.decode(&m, payload, "chargingNeeds", "maxScheduleTuples"); err != nil {
		return b, err
	}
	evse, _, err := place(m.EVSEID, 0)
	if err != nil {
		return b, err
	}
	if evse == 0 { // K15: the EVSE that the car is connected to
		return b, p.asIs(m.Action(), payload, "evseId: expected that of the car, got 0")
	}
	if err := p.keep(m.Action(), payload, "the needs of a car"); err != nil {
		return b, err
	}
	var answer ocpp201.NotifyEVChargingNeedsResponse
	question := site.Question{Kind: site.QuestionChargingNeeds, Payload: bytes.Clone(payload)}
	text, err := p.st.AskAt(evse, question, certificateWait)
	if err != nil || !p.usable(site.QuestionChargingNeeds, text, &answer) {
		answer = ocpp201.NotifyEVChargingNeedsResponse{Status: ocpp201.NotifyEVChargingNeedsStatusRejected, StatusInfo: why(err)}
	}
	return answer.AppendJSON(b), nil
}

// chargingSchedule takes the schedule that a car has chosen. Accepted says that it
// arrived, not that it is approved of (K17.FR.04).
func (p *Peer) chargingSchedule(b, payload []byte) ([]byte, error) {
	var m ocpp201.NotifyEVChargingScheduleRequest
	if _, err := p.decode(&m, payload, "timeBase", "chargingSchedule"); err != nil {
		return b, err
	}
	if _, _, err := place(m.EVSEID, 0); err != nil {
		return b, err
	}
	if err := p.keep(m.Action(), payload, "the schedule of a car"); err != nil {
		return b, err
	}
	return (&ocpp201.NotifyEVChargingScheduleResponse{Status: ocpp201.GenericStatusAccepted}).AppendJSON(b), nil
}
