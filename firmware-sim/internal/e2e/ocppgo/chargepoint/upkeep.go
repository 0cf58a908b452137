package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp1.6/certificates"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/firmware"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/logging"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/securefirmware"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/security"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
)

// anchor is an installed root certificate.
type anchor struct {
	use  types.CertificateUse
	hash types.CertificateHashData
}

// OnGetDiagnostics reports an upload; nothing is sent to the location.
func (c *charger) OnGetDiagnostics(r *firmware.GetDiagnosticsRequest) (*firmware.GetDiagnosticsConfirmation, error) {
	c.later(func() {
		c.call(firmware.NewDiagnosticsStatusNotificationRequest(firmware.DiagnosticsStatusUploading))
		c.call(firmware.NewDiagnosticsStatusNotificationRequest(firmware.DiagnosticsStatusUploaded))
	})
	answer := firmware.NewGetDiagnosticsConfirmation()
	answer.FileName = c.opts.id + "-diagnostics.zip"
	return answered(c, r, answer)
}

// OnUpdateFirmware reports an update; nothing is fetched from the location.
func (c *charger) OnUpdateFirmware(r *firmware.UpdateFirmwareRequest) (*firmware.UpdateFirmwareConfirmation, error) {
	c.later(func() {
		if !c.pause(time.Until(r.RetrieveDate.Time)) {
			return
		}
		for _, status := range []firmware.FirmwareStatus{
			firmware.FirmwareStatusDownloading, firmware.FirmwareStatusDownloaded,
			firmware.FirmwareStatusInstalling, firmware.FirmwareStatusInstalled,
		} {
			c.call(firmware.NewFirmwareStatusNotificationRequest(status))
		}
	})
	return answered(c, r, firmware.NewUpdateFirmwareConfirmation())
}

// OnSignedUpdateFirmware is OnUpdateFirmware with a request id.
func (c *charger) OnSignedUpdateFirmware(r *securefirmware.SignedUpdateFirmwareRequest) (*securefirmware.SignedUpdateFirmwareResponse, error) {
	c.later(func() {
		if !c.pause(time.Until(r.Firmware.RetrieveDateTime.Time)) {
			return
		}
		for _, status := range []securefirmware.FirmwareStatus{
			securefirmware.FirmwareStatusDownloading, securefirmware.FirmwareStatusDownloaded, securefirmware.FirmwareStatusSignatureVerified,
			securefirmware.FirmwareStatusInstalling, securefirmware.FirmwareStatusInstalled,
		} {
			n := securefirmware.NewFirmwareStatusNotificationRequest(status)
			n.RequestID = &r.RequestID
			c.call(n)
		}
	})
	return answered(c, r, securefirmware.NewSignedUpdateFirmwareResponse(securefirmware.UpdateFirmwareStatusAccepted))
}

// OnGetLog reports an upload; nothing is sent to the location.
func (c *charger) OnGetLog(r *logging.GetLogRequest) (*logging.GetLogResponse, error) {
	c.later(func() {
		c.call(logging.NewLogStatusNotificationRequest(logging.UploadLogStatusUploading, r.RequestID))
		c.call(logging.NewLogStatusNotificationRequest(logging.UploadLogStatusUploaded, r.RequestID))
	})
	answer := logging.NewGetLogResponse(logging.LogStatusAccepted)
	answer.Filename = c.opts.id + "-log.zip"
	return answered(c, r, answer)
}

func (c *charger) OnCertificateSigned(r *security.CertificateSignedRequest) (*security.CertificateSignedResponse, error) {
	status := security.CertificateSignedStatusAccepted
	if _, err := hashes(r.CertificateChain); err != nil {
		status = security.CertificateSignedStatusRejected
	}
	return answered(c, r, security.NewCertificateSignedResponse(status))
}

func (c *charger) OnInstallCertificate(r *certificates.InstallCertificateRequest) (*certificates.InstallCertificateResponse, error) {
	hash, err := hashes(r.Certificate)
	if err != nil {
		return answered(c, r, certificates.NewInstallCertificateResponse(certificates.CertificateStatusRejected))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.anchors = append(c.anchors, anchor{use: r.CertificateType, hash: hash})
	return answered(c, r, certificates.NewInstallCertificateResponse(certificates.CertificateStatusAccepted))
}

func (c *charger) OnGetInstalledCertificateIds(r *certificates.GetInstalledCertificateIdsRequest) (*certificates.GetInstalledCertificateIdsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := certificates.NewGetInstalledCertificateIdsResponse(certificates.GetInstalledCertificateStatusNotFound)
	for _, a := range c.anchors {
		if a.use == r.CertificateType {
			answer.Status = certificates.GetInstalledCertificateStatusAccepted
			answer.CertificateHashData = append(answer.CertificateHashData, a.hash)
		}
	}
	return answered(c, r, answer)
}

func (c *charger) OnDeleteCertificate(r *certificates.DeleteCertificateRequest) (*certificates.DeleteCertificateResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.anchors)
	c.anchors = slices.DeleteFunc(c.anchors, func(a anchor) bool { return a.hash == r.CertificateHashData })
	status := certificates.DeleteCertificateStatusNotFound
	if len(c.anchors) < before {
		status = certificates.DeleteCertificateStatusAccepted
	}
	return answered(c, r, certificates.NewDeleteCertificateResponse(status))
}

// hashes names the first certificate of a PEM text as OCPP does.
func hashes(text string) (types.CertificateHashData, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return types.CertificateHashData{}, fmt.Errorf("want a PEM certificate, got %d bytes of something else", len(text))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return types.CertificateHashData{}, fmt.Errorf("parse certificate: %w", err)
	}
	name := sha256.Sum256(cert.RawIssuer)
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return types.CertificateHashData{
		HashAlgorithm:  types.SHA256,
		IssuerNameHash: hex.EncodeToString(name[:]),
		IssuerKeyHash:  hex.EncodeToString(key[:]),
		SerialNumber:   cert.SerialNumber.Text(16),
	}, nil
}
