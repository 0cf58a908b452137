package v16

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// tunnelUses are the kinds of certificates that 1.6 knows through the tunnel of
// Plug & Charge only.
var tunnelUses = map[string]string{
	"v2g_root":  "V2GRootCertificate",
	"mo_root":   "MORootCertificate",
	"v2g_chain": "V2GCertificateChain",
}

// errNoTunnel says that the charge point does not know a message of the tunnel.
var errNoTunnel = errors.New("the charge point does not know Plug & Charge over OCPP 1.6")

// tunnel sends a message through the tunnel and reads the answer.
func (j *errand) tunnel(message string, request, answer any) error {
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", message, err)
	}
	vendor := vendorPnC
	if v := j.vendor.Load(); v != nil {
		vendor = *v
	}
	var outer ocpp16.DataTransferResponse
	if err := j.Call(&ocpp16.DataTransferRequest{VendorID: vendor, MessageID: message, Data: string(data)}, &outer); err != nil {
		return err
	}
	if job.VerdictOf(string(outer.Status)) != job.Accepted {
		return fmt.Errorf("%w: %s was answered %s", errNoTunnel, message, outer.Status)
	}
	if err := json.Unmarshal([]byte(outer.Data), answer); err != nil {
		j.c.Deviated("tunnel_unreadable", message+".data", outer.Data)
		return fmt.Errorf("%s: the answer in data cannot be read: %w", message, err)
	}
	return nil
}

// tunnelFailure is the outcome of an order that the tunnel did not carry.
func (j *errand) tunnelFailure(err error) (site.Outcome, error) {
	if errors.Is(err, errNoTunnel) {
		return job.Unsupportedf("%v", err), nil
	}
	return site.Outcome{}, err
}

// tunnelStatusWord is an answer with nothing but a status.
type tunnelStatusWord struct {
	Status string `json:"status"`
}

// tunnelHash is a certificate's hash as 2.0.1 writes it.
type tunnelHash struct {
	Algorithm      string `json:"hashAlgorithm"`
	IssuerNameHash string `json:"issuerNameHash"`
	IssuerKeyHash  string `json:"issuerKeyHash"`
	Serial         string `json:"serialNumber"`
}

func (h tunnelHash) event() event.CertificateHash {
	return event.CertificateHash{Algorithm: h.Algorithm, IssuerNameHash: h.IssuerNameHash, IssuerKeyHash: h.IssuerKeyHash, Serial: h.Serial}
}

// tunnelInstalledOf asks which certificates of a kind there are.
func (j *errand) tunnelInstalledOf(kind string) ([]event.CertificateHash, error) {
	request := map[string][]string{"certificateType": {tunnelUses[kind]}}
	var answer struct {
		Status string `json:"status"`
		Chains []struct {
			Hash     tunnelHash   `json:"certificateHashData"`
			Children []tunnelHash `json:"childCertificateHashData"`
		} `json:"certificateHashDataChain"`
	}
	if err := j.tunnel(tunnelInstalled, request, &answer); err != nil {
		return nil, err
	}
	var hashes []event.CertificateHash
	for _, c := range answer.Chains { // NotFound comes with none
		hashes = append(hashes, c.Hash.event())
		for _, child := range c.Children {
			hashes = append(hashes, child.event())
		}
	}
	return hashes, nil
}

// tunnelInstallRoot installs a root certificate of Plug & Charge.
func (j *errand) tunnelInstallRoot(kind, text string, certificate *x509.Certificate) (site.Outcome, error) {
	var answer tunnelStatusWord
	request := map[string]string{"certificateType": tunnelUses[kind], "certificate": text}
	if err := j.tunnel(tunnelInstall, request, &answer); err != nil {
		return j.tunnelFailure(err)
	}
	o := job.Judge(answer.Status, event.StateSucceeded)
	if o.State != event.StateSucceeded {
		if answer.Status == "Failed" {
			o.State = event.StateFailed
		}
		return o, nil
	}
	hashes, err := j.tunnelInstalledOf(kind)
	if err != nil {
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; the list of certificates cannot be read: " + err.Error()}, nil
	}
	return job.Installed(certificate, hashes), nil
}

// tunnelDeleteHash deletes a certificate that the charge point does not know
// outside of Plug & Charge.
func (j *errand) tunnelDeleteHash(h event.CertificateHash) (string, error) {
	var answer tunnelStatusWord
	err := j.tunnel(tunnelDelete, map[string]tunnelHash{"certificateHashData": {
		Algorithm: h.Algorithm, IssuerNameHash: h.IssuerNameHash, IssuerKeyHash: h.IssuerKeyHash, Serial: h.Serial,
	}}, &answer)
	return answer.Status, err
}

// tunnelHandOver hands over the signed chain of a V2G certificate, or asks for a
// request to sign.
func (j *errand) tunnelHandOver(chain string) (site.Outcome, error) {
	var answer tunnelStatusWord
	if chain == "" {
		j.given.invite(ocpp16.ActionDataTransfer)
		if err := j.tunnel(tunnelTrigger, map[string]string{"requestedMessage": "SignV2GCertificate"}, &answer); err != nil {
			return j.tunnelFailure(err)
		}
		return job.Judge(answer.Status, event.StateAccepted), nil
	}
	if err := j.tunnel(tunnelSigned, map[string]string{"certificateChain": chain, "certificateType": "V2GCertificate"}, &answer); err != nil {
		return j.tunnelFailure(err)
	}
	return job.Judge(answer.Status, event.StateSucceeded), nil
}
