package station2

import (
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/trust"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// maxCertificates is how many root certificates a station keeps.
const maxCertificates = 20

// signCertificate asks for a certificate with a new key (A02).
func (s *Station) signCertificate(use ocpp21.CertificateSigningUse) *call {
	key, csr, err := trust.Request(s.cfg.Identity, s.model.Text(model.OrganizationName))
	if err != nil {
		s.Log.Error("make a certificate request", "err", err)
		return nil
	}
	s.state.PendingKey = key
	s.Dirty()
	c := s.say(&ocpp21.SignCertificateRequest{CSR: csr, CertificateType: use}, func(answer ocpp21.Response, err error) {
		if resp, ok := answer.(*ocpp21.SignCertificateResponse); ok && err == nil && resp.Status == ocpp21.GenericStatusRejected {
			s.Log.Warn("the CSMS will not sign a certificate")
		}
	})
	c.Keep = true
	return c
}

// takeCertificate is A02 and A03: with a new certificate of its own, a station of
// security profile 3 connects anew.
func (s *Station) takeCertificate(req *ocpp21.CertificateSignedRequest) (ocpp21.Response, func()) {
	key := s.state.PendingKey
	if key == "" {
		key = s.state.Key
	}
	if err := trust.CheckChain(req.CertificateChain, key, s.Now()); err != nil {
		s.security("InvalidChargingStationCertificate", err.Error())
		return &ocpp21.CertificateSignedResponse{Status: ocpp21.CertificateSignedStatusRejected}, nil
	}
	resp := &ocpp21.CertificateSignedResponse{Status: ocpp21.CertificateSignedStatusAccepted}
	s.state.PendingKey = ""
	s.Dirty()
	if req.CertificateType != "" && req.CertificateType != ocpp21.CertificateSigningUseChargingStationCertificate {
		return resp, nil
	}
	s.state.Key, s.state.Chain = key, req.CertificateChain
	if s.model.Int(model.SecurityProfile) != 3 {
		return resp, nil
	}
	return resp, func() {
		s.In("reconnect", 200*time.Millisecond, func() { s.Reconnect("new certificate") })
	}
}

func (s *Station) installCertificate(req *ocpp21.InstallCertificateRequest) ocpp21.InstallCertificateStatus {
	added, err := trust.Identify(req.Certificate, ocpp16.HashAlgorithmSHA256)
	if err != nil {
		s.Log.Warn("a certificate is refused", "err", err)
		return ocpp21.InstallCertificateStatusRejected
	}
	for i, c := range s.state.Certificates { // the same one again
		if held, err := trust.Identify(c.PEM, ocpp16.HashAlgorithmSHA256); err == nil && c.Use == string(req.CertificateType) && trust.Same(held, added) {
			s.state.Certificates[i].PEM = req.Certificate
			s.Dirty()
			return ocpp21.InstallCertificateStatusAccepted
		}
	}
	if len(s.state.Certificates) >= maxCertificates {
		return ocpp21.InstallCertificateStatusFailed
	}
	s.state.Certificates = append(s.state.Certificates, InstalledCertificate{Use: string(req.CertificateType), PEM: req.Certificate})
	s.Dirty()
	return ocpp21.InstallCertificateStatusAccepted
}

func (s *Station) deleteCertificate(req *ocpp21.DeleteCertificateRequest) ocpp21.DeleteCertificateStatus {
	h := req.CertificateHashData
	asked := ocpp16.CertificateHashData{
		HashAlgorithm: ocpp16.HashAlgorithm(h.HashAlgorithm), IssuerNameHash: h.IssuerNameHash, IssuerKeyHash: h.IssuerKeyHash, SerialNumber: h.SerialNumber,
	}
	if held, err := trust.Identify(s.state.Chain, asked.HashAlgorithm); err == nil && trust.Same(held, asked) { // M04.FR.06
		return ocpp21.DeleteCertificateStatusFailed
	}
	for i, c := range s.state.Certificates {
		held, err := trust.Identify(c.PEM, asked.HashAlgorithm)
		if err == nil && trust.Same(held, asked) {
			s.state.Certificates = append(s.state.Certificates[:i], s.state.Certificates[i+1:]...)
			s.Dirty()
			return ocpp21.DeleteCertificateStatusAccepted
		}
	}
	return ocpp21.DeleteCertificateStatusNotFound
}

func (s *Station) listCertificates(req *ocpp21.GetInstalledCertificateIdsRequest) ocpp21.Response {
	resp := &ocpp21.GetInstalledCertificateIdsResponse{Status: ocpp21.GetInstalledCertificateStatusNotFound}
	for _, c := range s.state.Certificates {
		asked := len(req.CertificateType) == 0
		for _, use := range req.CertificateType {
			asked = asked || string(use) == c.Use
		}
		if !asked {
			continue
		}
		if id, err := trust.Identify(c.PEM, ocpp16.HashAlgorithmSHA256); err == nil {
			resp.Status = ocpp21.GetInstalledCertificateStatusAccepted
			resp.CertificateHashDataChain = append(resp.CertificateHashDataChain, ocpp21.CertificateHashDataChain{
				CertificateType: ocpp21.GetCertificateIDUse(c.Use),
				CertificateHashData: ocpp21.CertificateHashData{
					HashAlgorithm: ocpp21.HashAlgorithm(id.HashAlgorithm), IssuerNameHash: id.IssuerNameHash, IssuerKeyHash: id.IssuerKeyHash, SerialNumber: id.SerialNumber,
				},
			})
		}
	}
	return resp
}
