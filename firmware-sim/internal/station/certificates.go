package station

import (
	"encoding/hex"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/trust"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// password is what the charge point proves itself with: AuthorizationKey when it
// was set (hex digits stand for bytes), else that of the factory.
func (s *Station) password() []byte {
	key := s.keys.Get(keys.AuthorizationKey)
	if key == "" {
		return []byte(s.cfg.Password)
	}
	if b, err := hex.DecodeString(key); err == nil {
		return b
	}
	return []byte(key)
}

// signCertificate asks for a certificate with a new key.
func (s *Station) signCertificate() *call {
	organization := s.keys.Get(keys.CpoName)
	key, csr, err := trust.Request(s.cfg.Identity, organization)
	if err != nil {
		s.Log.Error("make a certificate request", "err", err)
		return nil
	}
	s.state.PendingKey = key
	s.Dirty()
	c := s.say(&ocpp16.SignCertificateRequest{CSR: csr}, func(answer ocpp16.Response, err error) {
		if resp, ok := answer.(*ocpp16.SignCertificateResponse); ok && err == nil && resp.Status == ocpp16.GenericStatusRejected {
			s.Log.Warn("the central system will not sign a certificate")
		}
	})
	c.Keep = true
	return c
}

// takeCertificate is CertificateSigned.
func (s *Station) takeCertificate(req *ocpp16.CertificateSignedRequest) ocpp16.CertificateSignedStatus {
	key := s.state.PendingKey
	if key == "" {
		key = s.state.Key
	}
	if err := trust.CheckChain(req.CertificateChain, key, s.Now()); err != nil {
		s.security("InvalidChargePointCertificate", err.Error())
		return ocpp16.CertificateSignedStatusRejected
	}
	s.state.Key, s.state.Chain, s.state.PendingKey = key, req.CertificateChain, ""
	s.Dirty()
	return ocpp16.CertificateSignedStatusAccepted
}

func (s *Station) installCertificate(req *ocpp16.InstallCertificateRequest) ocpp16.InstallCertificateStatus {
	if len(s.state.Certificates) >= s.keys.Int(keys.CertificateStoreMaxLength) {
		return ocpp16.InstallCertificateStatusFailed
	}
	added, err := trust.Identify(req.Certificate, ocpp16.HashAlgorithmSHA256)
	if err != nil {
		s.Log.Warn("a certificate is refused", "err", err)
		return ocpp16.InstallCertificateStatusRejected
	}
	for i, c := range s.state.Certificates { // the same one again
		if held, err := trust.Identify(c.PEM, ocpp16.HashAlgorithmSHA256); err == nil && c.Use == req.CertificateType && trust.Same(held, added) {
			s.state.Certificates[i].PEM = req.Certificate
			s.Dirty()
			return ocpp16.InstallCertificateStatusAccepted
		}
	}
	s.state.Certificates = append(s.state.Certificates, InstalledCertificate{Use: req.CertificateType, PEM: req.Certificate})
	s.Dirty()
	return ocpp16.InstallCertificateStatusAccepted
}

func (s *Station) deleteCertificate(req *ocpp16.DeleteCertificateRequest) ocpp16.DeleteCertificateStatus {
	for i, c := range s.state.Certificates {
		held, err := trust.Identify(c.PEM, req.CertificateHashData.HashAlgorithm)
		if err == nil && trust.Same(held, req.CertificateHashData) {
			s.state.Certificates = append(s.state.Certificates[:i], s.state.Certificates[i+1:]...)
			s.Dirty()
			return ocpp16.DeleteCertificateStatusAccepted
		}
	}
	return ocpp16.DeleteCertificateStatusNotFound
}

func (s *Station) listCertificates(req *ocpp16.GetInstalledCertificateIdsRequest) ocpp16.Response {
	resp := &ocpp16.GetInstalledCertificateIdsResponse{Status: ocpp16.GetInstalledCertificateStatusNotFound}
	for _, c := range s.state.Certificates {
		if c.Use != req.CertificateType {
			continue
		}
		if id, err := trust.Identify(c.PEM, ocpp16.HashAlgorithmSHA256); err == nil {
			resp.Status = ocpp16.GetInstalledCertificateStatusAccepted
			resp.CertificateHashData = append(resp.CertificateHashData, id)
		}
	}
	return resp
}
