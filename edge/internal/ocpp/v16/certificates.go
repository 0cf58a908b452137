package v16

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// uses are the kinds of root certificates of 1.6.
var uses = map[string]ocpp16.CertificateUse{
	"csms_root":         ocpp16.CertificateUseCentralSystemRootCertificate,
	"manufacturer_root": ocpp16.CertificateUseManufacturerRootCertificate,
}

// use returns the word for a kind, or why there is none.
func use(kind string) (ocpp16.CertificateUse, string) {
	if u, ok := uses[kind]; ok {
		return u, ""
	}
	return "", fmt.Sprintf("kind: OCPP 1.6 has csms_root and manufacturer_root, and v2g_root and mo_root for Plug & Charge, got %q", kind)
}

// hashOf is a certificate's hash as the domain knows it.
func hashOf(h ocpp16.CertificateHashData) event.CertificateHash {
	return event.CertificateHash{
		Algorithm: string(h.HashAlgorithm), IssuerNameHash: h.IssuerNameHash, IssuerKeyHash: h.IssuerKeyHash, Serial: h.SerialNumber,
	}
}

// installed asks which certificates of a kind there are.
func (j *errand) installed(u ocpp16.CertificateUse) ([]event.CertificateHash, error) {
	var answer ocpp16.GetInstalledCertificateIdsResponse
	if err := j.Call(&ocpp16.GetInstalledCertificateIdsRequest{CertificateType: u}, &answer); err != nil {
		return nil, err
	}
	hashes := make([]event.CertificateHash, len(answer.CertificateHashData))
	for i := range hashes {
		hashes[i] = hashOf(answer.CertificateHashData[i])
	}
	return hashes, nil
}

func (j *errand) listCertificates(p *event.ListCertificatesParams) (site.Outcome, error) {
	if p.Kind == "" {
		return j.listAll()
	}
	if tunnelUses[p.Kind] != "" {
		hashes, err := j.tunnelInstalledOf(p.Kind)
		if err != nil {
			return j.tunnelFailure(err)
		}
		return site.Outcome{State: event.StateSucceeded, Result: job.Result(map[string]any{"certificates": hashes})}, nil
	}
	u, wrong := use(p.Kind)
	if wrong != "" {
		return job.Unsupportedf("%s", wrong), nil
	}
	hashes, err := j.installed(u)
	if err != nil {
		return site.Outcome{}, err
	}
	return site.Outcome{State: event.StateSucceeded, Result: job.Result(map[string]any{"certificates": hashes})}, nil
}

// listAll asks for the certificates of every kind; those of Plug & Charge where
// the charge point knows the tunnel.
func (j *errand) listAll() (site.Outcome, error) {
	type installed struct {
		event.CertificateHash
		Kind string `json:"kind"`
	}
	all := []installed{}
	for _, kind := range slices.Sorted(maps.Keys(uses)) {
		hashes, err := j.installed(uses[kind])
		if err != nil {
			return site.Outcome{}, err
		}
		for _, h := range hashes {
			all = append(all, installed{h, kind})
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(tunnelUses)) {
		hashes, err := j.tunnelInstalledOf(kind)
		if errors.Is(err, errNoTunnel) || err != nil && job.Lacking(err) {
			break
		}
		if err != nil {
			return site.Outcome{}, err
		}
		for _, h := range hashes {
			all = append(all, installed{h, kind})
		}
	}
	return site.Outcome{State: event.StateSucceeded, Result: job.Result(map[string]any{"certificates": all})}, nil
}

func (j *errand) installCertificate(p *event.InstallCertificateParams) (site.Outcome, error) {
	if p.Kind == "v2g_root" || p.Kind == "mo_root" {
		certificate, err := job.ParseCertificate(p.Certificate)
		if err != nil {
			return job.Rejectedf("certificate: %v", err), nil
		}
		return j.tunnelInstallRoot(p.Kind, p.Certificate, certificate)
	}
	u, wrong := use(p.Kind)
	if wrong != "" {
		return job.Unsupportedf("%s", wrong), nil
	}
	certificate, err := job.ParseCertificate(p.Certificate)
	if err != nil {
		return job.Rejectedf("certificate: %v", err), nil
	}
	var answer ocpp16.InstallCertificateResponse
	if err := j.Call(&ocpp16.InstallCertificateRequest{CertificateType: u, Certificate: p.Certificate}, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded)
	if o.State != event.StateSucceeded {
		if answer.Status.Fold() == ocpp16.InstallCertificateStatusFailed {
			o.State = event.StateFailed
		}
		return o, nil
	}
	return j.checkInstalled(u, certificate)
}

// checkInstalled looks for the certificate among those that are installed.
func (j *errand) checkInstalled(u ocpp16.CertificateUse, certificate *x509.Certificate) (site.Outcome, error) {
	hashes, err := j.installed(u)
	if err != nil {
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; the list of certificates cannot be read: " + err.Error()}, nil
	}
	return job.Installed(certificate, hashes), nil
}

func (j *errand) deleteCertificate(p *event.DeleteCertificateParams) (site.Outcome, error) {
	request := &ocpp16.DeleteCertificateRequest{CertificateHashData: ocpp16.CertificateHashData{
		HashAlgorithm: ocpp16.HashAlgorithm(p.Hash.Algorithm), IssuerNameHash: p.Hash.IssuerNameHash,
		IssuerKeyHash: p.Hash.IssuerKeyHash, SerialNumber: p.Hash.Serial,
	}}
	var answer ocpp16.DeleteCertificateResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	switch answer.Status.Fold() {
	case ocpp16.DeleteCertificateStatusNotFound:
		if word, err := j.tunnelDeleteHash(p.Hash); err == nil && job.VerdictOf(word) == job.Accepted {
			return site.Outcome{State: event.StateSucceeded, Reason: "deleted by the message of Plug & Charge"}, nil
		}
		return job.Failedf("the charge point has no such certificate"), nil
	case ocpp16.DeleteCertificateStatusFailed:
		return job.Failedf("the charge point could not delete it"), nil
	}
	if o := job.Judge(string(answer.Status), event.StateSucceeded); o.State != event.StateSucceeded {
		return o, nil
	}
	gone, known := j.checkDeleted(p.Hash)
	switch {
	case !known:
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; the list of certificates cannot be read"}, nil
	case !gone:
		return job.Failedf("accepted, but it is still among the installed certificates"), nil
	}
	return site.Outcome{State: event.StateSucceeded}, nil
}

// checkDeleted tells whether a certificate is on no list any more. Known is false
// where no list can be read.
func (j *errand) checkDeleted(hash event.CertificateHash) (gone, known bool) {
	gone = true
	for _, u := range uses {
		hashes, err := j.installed(u)
		if err != nil {
			continue
		}
		known = true
		if slices.ContainsFunc(hashes, func(h event.CertificateHash) bool { return job.SameCertificate(h, hash) }) {
			gone = false
		}
	}
	return gone, known
}

// signCertificate hands over a signed chain or, without one, asks for a request
// to sign.
func (j *errand) signCertificate(p *event.SignCertificateParams) (site.Outcome, error) {
	switch p.Kind {
	case "", "station":
	case kindV2G:
		return j.tunnelHandOver(p.Chain)
	default:
		return job.Unsupportedf("kind: OCPP 1.6 has station, and v2g for Plug & Charge, got %q", p.Kind), nil
	}
	if p.Chain == "" {
		j.given.invite(ocpp16.ActionSignCertificate)
		return j.triggerExtended(ocpp16.ExtendedMessageTriggerSignChargePointCertificate)
	}
	var answer ocpp16.CertificateSignedResponse
	if err := j.Call(&ocpp16.CertificateSignedRequest{CertificateChain: p.Chain}, &answer); err != nil {
		return site.Outcome{}, err
	}
	// The charge point checks the chain before it accepts (security extension A02);
	// there is nothing else to read it back from.
	o := job.Judge(string(answer.Status), event.StateSucceeded)
	if o.State == event.StateSucceeded {
		o.Reason = job.Join(o.Reason, "the charge point has checked and accepted the chain; its next TLS connection shows it in use")
	}
	return o, nil
}
