package v201

import (
	"crypto/x509"
	"slices"
	"strconv"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// rootKinds are the kinds of root certificates, as they are installed and listed.
// OEMRootCertificate came with 2.1.
var rootKinds = map[string]string{
	"csms_root":         "CSMSRootCertificate",
	"manufacturer_root": "ManufacturerRootCertificate",
	"mo_root":           "MORootCertificate",
	"v2g_root":          "V2GRootCertificate",
	"oem_root":          "OEMRootCertificate",
}

// kindOf is the kind of an installed certificate.
func kindOf(word ocpp201.GetCertificateIDUse) string {
	if word.Fold() == ocpp201.GetCertificateIDUseV2GCertificateChain {
		return "v2g_chain"
	}
	for kind, w := range rootKinds {
		if w == string(word) {
			return kind
		}
	}
	return snake(string(word))
}

// hashOf is a certificate's hash as the domain knows it.
func hashOf(h *ocpp201.CertificateHashData) event.CertificateHash {
	return event.CertificateHash{
		Algorithm: string(h.HashAlgorithm), IssuerNameHash: h.IssuerNameHash, IssuerKeyHash: h.IssuerKeyHash, Serial: h.SerialNumber,
	}
}

// installed is one installed certificate, in the answer to list_certificates.
type installed struct {
	event.CertificateHash
	Kind     string                  `json:"kind"`
	Children []event.CertificateHash `json:"children,omitempty"` // of a chain
}

// installedOf asks which certificates there are; none named means of all kinds.
// OCPP 2.0.1 M03.
func (j *errand) installedOf(words ...ocpp201.GetCertificateIDUse) ([]installed, error) {
	var answer ocpp201.GetInstalledCertificateIdsResponse
	if err := j.Call(&ocpp201.GetInstalledCertificateIdsRequest{CertificateType: words}, &answer); err != nil {
		return nil, err
	}
	all := make([]installed, len(answer.CertificateHashDataChain))
	for i := range all {
		chain := &answer.CertificateHashDataChain[i]
		all[i] = installed{CertificateHash: hashOf(&chain.CertificateHashData), Kind: kindOf(chain.CertificateType)}
		for k := range chain.ChildCertificateHashData {
			all[i].Children = append(all[i].Children, hashOf(&chain.ChildCertificateHashData[k]))
		}
	}
	return all, nil
}

func (j *errand) listCertificates(p *event.ListCertificatesParams) (site.Outcome, error) {
	var words []ocpp201.GetCertificateIDUse
	switch word, ok := rootKinds[p.Kind]; {
	case ok:
		words = append(words, ocpp201.GetCertificateIDUse(word))
	case p.Kind == "v2g_chain":
		words = append(words, ocpp201.GetCertificateIDUseV2GCertificateChain)
	case p.Kind != "":
		return job.Rejectedf("kind: expected csms_root, manufacturer_root, mo_root, v2g_root, oem_root or v2g_chain, got %q", p.Kind), nil
	}
	all, err := j.installedOf(words...)
	if err != nil {
		return site.Outcome{}, err
	}
	return site.Outcome{State: event.StateSucceeded, Result: job.Result(map[string]any{"certificates": all})}, nil
}

func (j *errand) installCertificate(p *event.InstallCertificateParams) (site.Outcome, error) {
	word, ok := rootKinds[p.Kind]
	if !ok {
		return job.Rejectedf("kind: expected csms_root, manufacturer_root, mo_root, v2g_root or oem_root, got %q", p.Kind), nil
	}
	certificate, err := job.ParseCertificate(p.Certificate)
	if err != nil {
		return job.Rejectedf("certificate: %v", err), nil
	}
	var answer ocpp201.InstallCertificateResponse
	request := &ocpp201.InstallCertificateRequest{CertificateType: ocpp201.InstallCertificateUse(word), Certificate: p.Certificate}
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	o := job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo))
	if o.State != event.StateSucceeded {
		if answer.Status.Fold() == ocpp201.InstallCertificateStatusFailed { // M05.FR.03: Rejected is the certificate's fault, this the station's
			o.State = event.StateFailed
		}
		return o, nil
	}
	return j.checkInstalled(p.Kind, certificate)
}

// checkInstalled looks for the certificate among those that are installed.
func (j *errand) checkInstalled(kind string, certificate *x509.Certificate) (site.Outcome, error) {
	all, err := j.installedOf(ocpp201.GetCertificateIDUse(rootKinds[kind]))
	if err != nil {
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; the list of certificates cannot be read: " + err.Error()}, nil
	}
	hashes := make([]event.CertificateHash, len(all))
	for i := range all {
		hashes[i] = all[i].CertificateHash
	}
	return job.Installed(certificate, hashes), nil
}

func (j *errand) deleteCertificate(p *event.DeleteCertificateParams) (site.Outcome, error) {
	request := &ocpp201.DeleteCertificateRequest{CertificateHashData: ocpp201.CertificateHashData{
		HashAlgorithm: ocpp201.HashAlgorithm(p.Hash.Algorithm), IssuerNameHash: p.Hash.IssuerNameHash,
		IssuerKeyHash: p.Hash.IssuerKeyHash, SerialNumber: p.Hash.Serial,
	}}
	var answer ocpp201.DeleteCertificateResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	why := because(answer.StatusInfo)
	switch answer.Status.Fold() {
	case ocpp201.DeleteCertificateStatusNotFound:
		return job.Failedf("%s", job.Join("the station has no such certificate", why)), nil
	case ocpp201.DeleteCertificateStatusFailed:
		return job.Failedf("%s", job.Join("the station could not delete it", why)), nil
	}
	if o := job.Judge(string(answer.Status), event.StateSucceeded, why); o.State != event.StateSucceeded {
		return o, nil
	}
	gone, err := j.checkDeleted(p.Hash)
	switch {
	case err != nil:
		return site.Outcome{State: event.StateSucceeded, Reason: "accepted; the list of certificates cannot be read: " + err.Error()}, nil
	case !gone:
		return job.Failedf("accepted, but it is still among the installed certificates"), nil
	}
	return site.Outcome{State: event.StateSucceeded}, nil
}

// checkDeleted tells whether a certificate is on no list any more.
func (j *errand) checkDeleted(hash event.CertificateHash) (gone bool, err error) {
	all, err := j.installedOf()
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(all, func(c installed) bool { return job.SameCertificate(c.CertificateHash, hash) }), nil
}

// signings are the words of CertificateSigned and of the trigger that asks for a
// request, by what a certificate is for. V2G20 came with 2.1.
var signings = map[string]struct {
	use     ocpp201.CertificateSigningUse
	trigger ocpp201.MessageTrigger
}{
	"station": {ocpp201.CertificateSigningUseChargingStationCertificate, ocpp201.MessageTriggerSignChargingStationCertificate},
	"v2g":     {ocpp201.CertificateSigningUseV2GCertificate, ocpp201.MessageTriggerSignV2GCertificate},
	"v2g20":   {"V2G20Certificate", "SignV2G20Certificate"},
}

// NumberSigning remembers the number of a station's request for a certificate,
// which the chain then answers. OCPP 2.1 A02: requestId.
func (p *Peer) NumberSigning(use ocpp201.CertificateSigningUse, number int64) {
	p.signing.Store(use, number)
}

// numberedChain is a chain with the number of the request that it answers, which
// 2.1 added; 0 for none.
type numberedChain struct {
	ocpp201.CertificateSignedRequest
	number int64
}

// AppendJSON appends the payload to b.
func (r *numberedChain) AppendJSON(b []byte) []byte {
	b = r.CertificateSignedRequest.AppendJSON(b)
	if r.number == 0 {
		return b
	}
	b = append(b[:len(b)-1], `,"requestId":`...)
	b = strconv.AppendInt(b, r.number, 10)
	return append(b, '}')
}

// signCertificate hands over a signed chain or, without one, asks for a request to
// sign. OCPP 2.0.1 A02.
func (j *errand) signCertificate(p *event.SignCertificateParams) (site.Outcome, error) {
	kind := p.Kind
	if kind == "" {
		kind = "station"
	}
	words, ok := signings[kind]
	if !ok {
		return job.Rejectedf("kind: expected station, v2g or v2g20, got %q", p.Kind), nil
	}
	if p.Chain == "" {
		return j.triggerWord(words.trigger, nil)
	}
	request := &numberedChain{CertificateSignedRequest: ocpp201.CertificateSignedRequest{CertificateChain: p.Chain, CertificateType: words.use}}
	if number, ok := j.signing.LoadAndDelete(words.use); ok {
		request.number, _ = number.(int64)
	}
	var answer ocpp201.CertificateSignedResponse
	if err := j.Call(request, &answer); err != nil {
		return site.Outcome{}, err
	}
	// The station has checked the chain before it accepts it (A02.FR.06); that it uses
	// it shows in its next TLS connection, which the site sees.
	return job.Judge(string(answer.Status), event.StateAccepted, because(answer.StatusInfo)), nil
}
