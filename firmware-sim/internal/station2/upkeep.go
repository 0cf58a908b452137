package station2

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path"
	"regexp"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/transfer"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/trust"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// installTime is how long it takes to replace the firmware.
const installTime = time.Second

// job is an update, an upload or a publication.
type job struct {
	number     int // counts jobs, so that the end of an older one can be told apart
	running    bool
	id         int64
	status     string
	where      []string // of a publication
	installing bool     // EVSEs are out of service
	cancel     context.CancelFunc
	blocked    func() // waits until nothing is charging
}

// end stops the job without a word.
func (j *job) end() {
	if j.cancel != nil {
		j.cancel()
	}
	*j = job{}
}

// resume goes on with what waited for transactions to end.
func (j *job) resume() {
	if f := j.blocked; f != nil {
		j.blocked = nil
		f()
	}
}

// carryOutUpkeep is carryOut for firmware, logs and certificates.
func (s *Station) carryOutUpkeep(req ocpp21.Request) (ocpp21.Response, func()) {
	switch req := req.(type) {
	case *ocpp21.UpdateFirmwareRequest:
		return s.updateFirmware(req)
	case *ocpp21.PublishFirmwareRequest:
		return &ocpp21.PublishFirmwareResponse{Status: ocpp21.GenericStatusAccepted}, func() { s.publishFirmware(req) }
	case *ocpp21.UnpublishFirmwareRequest:
		status := ocpp21.UnpublishFirmwareStatusNoFirmware
		if _, ok := s.state.Published[req.Checksum]; ok {
			delete(s.state.Published, req.Checksum)
			s.Dirty()
			status = ocpp21.UnpublishFirmwareStatusUnpublished
		}
		return &ocpp21.UnpublishFirmwareResponse{Status: status}, nil
	case *ocpp21.GetLogRequest:
		return s.getLog(req)
	case *ocpp21.InstallCertificateRequest:
		return &ocpp21.InstallCertificateResponse{Status: s.installCertificate(req)}, nil
	case *ocpp21.DeleteCertificateRequest:
		return &ocpp21.DeleteCertificateResponse{Status: s.deleteCertificate(req)}, nil
	case *ocpp21.GetInstalledCertificateIdsRequest:
		return s.listCertificates(req), nil
	case *ocpp21.CertificateSignedRequest:
		return s.takeCertificate(req)
	}
	return nil, nil
}

// launch makes a job of work that goes on beside the goroutine; done is
// called with its result, unless another job took its place.
func (s *Station) launch(j *job, work func(ctx context.Context) ([]byte, error), done func([]byte, error)) {
	s.jobs++
	number := s.jobs
	j.number, j.running = number, true
	j.cancel = s.Background(func(ctx context.Context) {
		b, err := work(ctx)
		if ctx.Err() != nil {
			return
		}
		s.Post(func() {
			if j.number == number {
				done(b, err)
			}
		})
	})
}

// ---- firmware (L01, L02)

func (s *Station) updateFirmware(req *ocpp21.UpdateFirmwareRequest) (ocpp21.Response, func()) {
	fw := req.Firmware
	if fw.SigningCertificate != "" {
		var roots []string
		for _, c := range s.state.Certificates {
			if c.Use == string(ocpp21.InstallCertificateUseManufacturerRootCertificate) {
				roots = append(roots, c.PEM)
			}
		}
		if err := trust.CheckSigner(fw.SigningCertificate, roots, s.Now()); err != nil {
			s.security("InvalidFirmwareSigningCertificate", err.Error())
			return &ocpp21.UpdateFirmwareResponse{Status: ocpp21.UpdateFirmwareStatusInvalidCertificate}, nil
		}
	}
	status := ocpp21.UpdateFirmwareStatusAccepted
	if s.firmware.running {
		if s.firmware.installing {
			return &ocpp21.UpdateFirmwareResponse{Status: ocpp21.UpdateFirmwareStatusRejected}, nil
		}
		status = ocpp21.UpdateFirmwareStatusAcceptedCanceled
	}
	return &ocpp21.UpdateFirmwareResponse{Status: status}, func() {
		s.firmware.end()
		s.firmware.id, s.firmware.running = req.RequestID, true
		wait := fw.RetrieveDateTime.Time.Sub(s.Now())
		if wait > 0 {
			s.firmwareStatus("DownloadScheduled")
		}
		s.In("firmware", wait, func() {
			s.firmwareStatus("Downloading")
			s.launch(&s.firmware, func(ctx context.Context) ([]byte, error) {
				return transfer.Repeat(ctx, req.Retries, req.RetryInterval, func() ([]byte, error) { return transfer.Download(ctx, fw.Location) })
			}, func(image []byte, err error) { s.downloaded(fw, image, err) })
		})
	}
}

func (s *Station) downloaded(fw ocpp21.Firmware, image []byte, err error) {
	if err != nil {
		s.Log.Warn("firmware cannot be downloaded", "err", err)
		s.firmwareFailed("DownloadFailed")
		return
	}
	s.firmwareStatus("Downloaded")
	if fw.SigningCertificate != "" {
		if err := trust.VerifyImage(fw.SigningCertificate, fw.Signature, image); err != nil {
			s.security("InvalidFirmwareSignature", err.Error())
			s.firmwareFailed("InvalidSignature")
			return
		}
		s.firmwareStatus("SignatureVerified")
	}
	wait := fw.InstallDateTime.Time.Sub(s.Now())
	if wait > 0 {
		s.firmwareStatus("InstallScheduled")
	}
	s.In("firmware", wait, func() {
		s.firmware.installing = true // nothing new begins
		s.firmware.blocked = func() {
			s.firmwareStatus("Installing")
			s.In("firmware", installTime, func() { s.installFirmware(versionOf(fw.Location, s.state.Firmware)) })
		}
		s.afterTransaction()
	})
}

// installFirmware replaces the firmware and starts it; the word about it comes
// after the start.
func (s *Station) installFirmware(version string) {
	s.firmwareStatus("InstallRebooting")
	id := s.firmware.id
	s.state.FirmwareJob, s.state.Firmware = &id, version
	s.Dirty()
	s.restart(ocpp21.BootReasonFirmwareUpdate, resetPatience)
}

func (s *Station) firmwareStatus(status string) {
	s.firmware.status = status
	s.sayFirmware().Keep = true
}

func (s *Station) firmwareFailed(status string) {
	s.firmwareStatus(status)
	s.firmware = job{}
}

// sayFirmware tells how an update stands; Idle when none is under way.
func (s *Station) sayFirmware() *call {
	if s.firmware.status == "" {
		return s.say(&ocpp21.FirmwareStatusNotificationRequest{Status: ocpp21.FirmwareStatusIdle}, nil)
	}
	return s.say(&ocpp21.FirmwareStatusNotificationRequest{Status: ocpp21.FirmwareStatus(s.firmware.status), RequestID: ptr(s.firmware.id)}, nil)
}

var versionPattern = regexp.MustCompile(`\d+(\.\d+)+`)

// versionOf is the version of an image: the one in its name, else one more than
// what runs.
func versionOf(location, running string) string {
	if u, err := url.Parse(location); err == nil {
		if v := versionPattern.FindString(path.Base(u.Path)); v != "" {
			return v
		}
	}
	return running + ".1"
}

// ---- publishing to other stations (L03, L04)

func (s *Station) publishFirmware(req *ocpp21.PublishFirmwareRequest) {
	s.publish.end()
	s.publish.id = req.RequestID
	s.publishStatus("Downloading")
	s.launch(&s.publish, func(ctx context.Context) ([]byte, error) {
		return transfer.Repeat(ctx, req.Retries, req.RetryInterval, func() ([]byte, error) { return transfer.Download(ctx, req.Location) })
	}, func(image []byte, err error) {
		if err != nil {
			s.Log.Warn("firmware to publish cannot be downloaded", "err", err)
			s.publishStatus("DownloadFailed")
			s.publish = job{}
			return
		}
		s.publishStatus("Downloaded")
		sum := md5.Sum(image)
		if hex.EncodeToString(sum[:]) != req.Checksum {
			s.publishStatus("InvalidChecksum")
			s.publish = job{}
			return
		}
		s.publishStatus("ChecksumVerified")
		s.state.Published[req.Checksum] = req.Location
		s.publish.where = []string{req.Location} // there is no network of its own to offer it in
		s.publishStatus("Published")
		s.publish = job{}
	})
}

func (s *Station) publishStatus(status string) {
	s.publish.status = status
	s.sayPublished().Keep = true
}

func (s *Station) sayPublished() *call {
	req := &ocpp21.PublishFirmwareStatusNotificationRequest{Status: ocpp21.PublishFirmwareStatusIdle}
	if s.publish.status != "" {
		req.Status, req.RequestID, req.Location = ocpp21.PublishFirmwareStatus(s.publish.status), ptr(s.publish.id), s.publish.where
	}
	return s.say(req, nil)
}

// ---- logs (N01)

func (s *Station) getLog(req *ocpp21.GetLogRequest) (ocpp21.Response, func()) {
	status := ocpp21.LogStatusAccepted
	if s.upload.running {
		status = ocpp21.LogStatusAcceptedCanceled
	}
	kind, content := "diagnostics", s.diagnostics()
	switch req.LogType {
	case ocpp21.LogSecurityLog:
		kind, content = "security", document(s.state.SecurityLog)
	case ocpp21.LogDataCollectorLog:
		return &ocpp21.GetLogResponse{Status: ocpp21.LogStatusRejected}, nil
	}
	name := cut(charger.FileName(s.cfg.Identity), 200) + "-" + kind + "-" + s.Now().Format("20060102T150405Z") + ".json"
	return &ocpp21.GetLogResponse{Status: status, Filename: name}, func() {
		if s.upload.running {
			s.upload.status = "AcceptedCanceled"
			s.sayLog().Keep = true
		}
		s.upload.end()
		s.upload.id = req.RequestID
		s.logStatus("Uploading")
		s.launch(&s.upload, func(ctx context.Context) ([]byte, error) {
			return transfer.Repeat(ctx, req.Retries, req.RetryInterval, func() ([]byte, error) {
				return nil, transfer.Put(ctx, req.Log.RemoteLocation, name, content)
			})
		}, func(_ []byte, err error) {
			status := "Uploaded"
			if err != nil {
				s.Log.Warn("a log cannot be uploaded", "err", err)
				status = "UploadFailure"
			}
			s.logStatus(status)
			s.upload = job{}
		})
	}
}

func (s *Station) logStatus(status string) {
	s.upload.status = status
	s.sayLog().Keep = true
}

// sayLog tells how an upload stands; Idle when none is under way.
func (s *Station) sayLog() *call {
	if s.upload.status == "" {
		return s.say(&ocpp21.LogStatusNotificationRequest{Status: ocpp21.UploadLogStatusIdle}, nil)
	}
	return s.say(&ocpp21.LogStatusNotificationRequest{Status: ocpp21.UploadLogStatus(s.upload.status), RequestID: ptr(s.upload.id)}, nil)
}

// diagnostics is what a station tells of itself.
func (s *Station) diagnostics() []byte {
	variables := map[string]string{}
	for _, v := range s.model.All() {
		if v.Mutability != "WriteOnly" {
			variables[v.Name.String()] = v.Value
		}
	}
	return document(map[string]any{
		"identity": s.cfg.Identity, "vendor": s.cfg.Vendor, "model": s.cfg.Model, "firmware": s.state.Firmware, "time": s.Now(),
		"view": s.View(), "variables": variables, "profiles": s.state.Profiles, "queue": s.Queue,
	})
}

func document(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return append(b, '\n')
}
