package v16

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// Plug & Charge over OCPP 1.6: messages of 2.0.1 inside of DataTransfer, as JSON in
// a text, both ways. OCA application note "Using ISO 15118 Plug & Charge with OCPP
// 1.6". An older dialect uses another vendor and names some fields otherwise; both
// are read into the same messages.
const (
	vendorPnC   = "org.openchargealliance.iso15118pnc"
	vendorOlder = "iso15118"
)

// How long the manager is waited for. A car gives a contract 5 s (ISO 15118-2
// §8.7).
const (
	contractWait = 4 * time.Second
	tunnelWait   = 10 * time.Second
)

// The messages of the tunnel.
const (
	tunnelAuthorize     = "Authorize"
	tunnelEVCertificate = "Get15118EVCertificate"
	tunnelStatus        = "GetCertificateStatus"
	tunnelSign          = "SignCertificate"
	tunnelSigned        = "CertificateSigned"
	tunnelInstall       = "InstallCertificate"
	tunnelDelete        = "DeleteCertificate"
	tunnelInstalled     = "GetInstalledCertificateIds"
	tunnelTrigger       = "TriggerMessage"
)

// older names the fields of the older dialect as the note does.
var older = map[string]string{
	"15118SchemaVersion": "iso15118SchemaVersion", "schemaVersion": "iso15118SchemaVersion",
	"exiStreamRequest": "exiRequest", "exiStreamResponse": "exiResponse",
	"contractId": "idToken", "emaid": "idToken", "eMAID": "idToken",
	"15118CertificateHashData": "iso15118CertificateHashData", "certHashData": "iso15118CertificateHashData",
	"typeOfCertificate": "certificateType", "ocspRequest": "ocspRequestData",
}

// tunnelled is the data of a message in the tunnel.
type tunnelled map[string]json.RawMessage

// readTunnel reads the data that a vendor's message carries. Some write the object
// itself in place of the text.
func readTunnel(vendor, data string) (tunnelled, error) {
	var t tunnelled
	text := []byte(data)
	if strings.TrimSpace(data) == "" {
		return tunnelled{}, nil
	}
	var inner string
	if json.Unmarshal(text, &inner) == nil { // twice a text
		text = []byte(inner)
	}
	if err := json.Unmarshal(text, &t); err != nil || t == nil {
		return nil, fmt.Errorf("data: expected an object of JSON in a text")
	}
	if strings.EqualFold(vendor, vendorOlder) {
		for name, meant := range older {
			if v, ok := t[name]; ok {
				if _, taken := t[meant]; !taken {
					t[meant] = v
				}
				delete(t, name)
			}
		}
	}
	return t, nil
}

// text returns a field that is a text.
func (t tunnelled) text(name string) string {
	var s string
	if json.Unmarshal(t[name], &s) != nil {
		return ""
	}
	return s
}

// has tells whether a field says anything.
func (t tunnelled) has(name string) bool {
	return !slices.Contains([]string{"", "null", `""`, "[]"}, string(bytes.Join(bytes.Fields(t[name]), nil)))
}

// token returns the contract that is to be authorized: a text in the note, the
// object of 2.0.1 with some. An eMAID without its separators is an idTag of 1.6.
func (t tunnelled) token() string {
	id := t.text("idToken")
	if id == "" {
		var object struct {
			IDToken string `json:"idToken"`
		}
		if json.Unmarshal(t["idToken"], &object) == nil {
			id = object.IDToken
		}
	}
	return strings.NewReplacer("-", "", " ", "").Replace(id)
}

// payload writes the message as 2.0.1 has it.
func (t tunnelled) payload() json.RawMessage {
	b, err := json.Marshal(t)
	if err != nil { // of parts that were read
		return json.RawMessage(`{}`)
	}
	return b
}

// plugAndCharge deals with a DataTransfer of the tunnel; ok is false for any other.
func (p *peer) plugAndCharge(m *ocpp16.DataTransferRequest) (answer *ocpp16.DataTransferResponse, ok bool, err error) {
	vendor := strings.TrimSpace(m.VendorID)
	if !strings.EqualFold(vendor, vendorPnC) && !strings.EqualFold(vendor, vendorOlder) {
		return nil, false, nil
	}
	p.vendor.Store(&vendor) // commands go the way that it knows
	accepted := func(data any) *ocpp16.DataTransferResponse {
		b, err := json.Marshal(data)
		if err != nil { // of our own structs
			return &ocpp16.DataTransferResponse{Status: ocpp16.DataTransferStatusRejected}
		}
		return &ocpp16.DataTransferResponse{Status: ocpp16.DataTransferStatusAccepted, Data: string(b)}
	}
	t, wrong := readTunnel(vendor, m.Data)
	if wrong != nil {
		p.c.Deviated("tunnel_unreadable", "DataTransfer.data", wrong.Error())
		return &ocpp16.DataTransferResponse{Status: ocpp16.DataTransferStatusRejected}, true, nil
	}
	switch m.MessageID {
	case tunnelAuthorize:
		data, err := p.authorizeContract(t)
		return accepted(data), true, err
	case tunnelEVCertificate:
		return accepted(p.askTunnelled(site.QuestionISO15118Certificate, t, map[string]string{"status": "Failed", "exiResponse": ""}, contractWait)), true, nil
	case tunnelStatus:
		return accepted(p.askTunnelled(site.QuestionCertificateStatus, t, map[string]string{"status": "Failed"}, tunnelWait)), true, nil
	case tunnelSign:
		csr := t.text("csr")
		if csr == "" {
			return accepted(map[string]string{"status": "Rejected"}), true, nil
		}
		err := p.st.Certificate(site.CertificateReport{CSR: csr, Kind: kindV2G})
		return accepted(map[string]string{"status": "Accepted"}), true, err
	}
	p.c.Deviated("tunnel_message", "DataTransfer.messageId", m.MessageID)
	return &ocpp16.DataTransferResponse{Status: ocpp16.DataTransferStatusUnknownMessageId}, true, nil
}

// kindV2G is the certificate by which a charge point shows itself to cars.
const kindV2G = "v2g"

// askTunnelled puts a message to the manager. Where nobody answers, or what comes
// is no object with a status, the answer is failed.
func (p *peer) askTunnelled(kind string, t tunnelled, failed any, wait time.Duration) any {
	answer, err := p.st.Ask(site.Question{Kind: kind, Payload: t.payload()}, wait)
	var status struct {
		Status string `json:"status"`
	}
	if err == nil && (json.Unmarshal(answer, &status) != nil || status.Status == "") {
		err = fmt.Errorf("expected an object with a status, got %q", answer[:min(len(answer), 200)])
	}
	if err != nil {
		p.c.Warn("question not answered", "question", kind, "err", err)
		return failed
	}
	return json.RawMessage(answer)
}

// contractInfo answers a contract, as 2.0.1 does.
type contractInfo struct {
	Status  string            `json:"status"`
	Expires string            `json:"cacheExpiryDateTime,omitempty"`
	Group   map[string]string `json:"groupIdToken,omitempty"`
}

// authorizeContract decides about the contract of a car. What it says about the
// car's certificate is the manager's word: a certificate that nobody has verified
// counts as one that cannot be. OCPP 2.0.1 C07.
func (p *peer) authorizeContract(t tunnelled) (any, error) {
	type response struct {
		Info        contractInfo `json:"idTokenInfo"`
		Certificate string       `json:"certificateStatus,omitempty"`
	}
	var answer response
	if t.has("certificate") || t.has("iso15118CertificateHashData") {
		answer.Certificate = p.verdict(t)
		switch answer.Certificate {
		case "Accepted", "ContractCancelled":
		case "CertificateExpired": // C07.FR.15
			answer.Info.Status = "Expired"
			return answer, nil
		default: // C07.FR.16, C07.FR.17
			answer.Info.Status = "Invalid"
			return answer, nil
		}
	}
	id := t.token()
	if id == "" {
		answer.Info.Status = "Invalid"
		return answer, nil
	}
	result, err := p.st.Authorize(event.Token{Type: "emaid", Value: id})
	if err != nil {
		return nil, err
	}
	info := tagInfo(result)
	answer.Info.Status = string(info.Status)
	if info.ParentIDTag != "" {
		answer.Info.Group = map[string]string{"idToken": info.ParentIDTag, "type": "Central"}
	}
	if result.Expires != nil {
		answer.Info.Expires = result.Expires.UTC().Format(time.RFC3339)
	}
	if answer.Certificate != "" && info.Status != ocpp16.AuthorizationStatusAccepted && info.Status != ocpp16.AuthorizationStatusConcurrentTx {
		answer.Certificate = "ContractCancelled" // C07.FR.13
	}
	return answer, nil
}

// verdict is what the manager says of the certificate of a car.
func (p *peer) verdict(t tunnelled) string {
	const unverified = "CertChainError"
	text, err := p.st.Ask(site.Question{Kind: site.QuestionCertificateStatus, Payload: t.payload()}, contractWait)
	var answer struct {
		Status string `json:"certificateStatus"`
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		p.c.Warn("question not answered", "question", site.QuestionCertificateStatus, "err", err)
		return unverified
	}
	switch answer.Status {
	case "Accepted", "SignatureError", "CertificateExpired", "CertificateRevoked", "NoCertificateAvailable", unverified, "ContractCancelled":
		return answer.Status
	}
	return unverified
}
