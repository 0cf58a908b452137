package station

import (
	"context"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/transfer"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/trust"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// installTime is how long it takes to replace the firmware.
const installTime = time.Second

// job is an update or an upload.
type job struct {
	number     int // counts jobs, so that the end of an older one can be told apart
	running    bool
	signed     bool // by the security extension
	log        bool // GetLog rather than GetDiagnostics
	id         int64
	status     string
	installing bool // connectors are out of service
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
func (s *Station) carryOutUpkeep(req ocpp16.Request) (ocpp16.Response, func()) {
	switch req := req.(type) {
	case *ocpp16.UpdateFirmwareRequest:
		return &ocpp16.UpdateFirmwareResponse{}, func() {
			s.update(update{location: req.Location, retrieve: req.RetrieveDate.Time, retries: req.Retries, interval: req.RetryInterval})
		}
	case *ocpp16.SignedUpdateFirmwareRequest:
		return s.signedUpdate(req)
	case *ocpp16.GetDiagnosticsRequest:
		name := s.logName("diagnostics")
		return &ocpp16.GetDiagnosticsResponse{FileName: name}, func() {
			s.sendLog(job{running: true}, req.Location, name, s.diagnostics(), req.Retries, req.RetryInterval)
		}
	case *ocpp16.GetLogRequest:
		status := ocpp16.LogStatusAccepted
		if s.upload.running {
			status = ocpp16.LogStatusAcceptedCanceled
		}
		name, content := s.logName("diagnostics"), s.diagnostics()
		if req.LogType == ocpp16.LogTypeSecurityLog {
			name, content = s.logName("security"), s.securityLog()
		}
		return &ocpp16.GetLogResponse{Status: status, Filename: name}, func() {
			s.sendLog(job{running: true, log: true, id: req.RequestID}, req.Log.RemoteLocation, name, content, req.Retries, req.RetryInterval)
		}
	case *ocpp16.InstallCertificateRequest:
		return &ocpp16.InstallCertificateResponse{Status: s.installCertificate(req)}, nil
	case *ocpp16.DeleteCertificateRequest:
		return &ocpp16.DeleteCertificateResponse{Status: s.deleteCertificate(req)}, nil
	case *ocpp16.GetInstalledCertificateIdsRequest:
		return s.listCertificates(req), nil
	case *ocpp16.CertificateSignedRequest:
		status := s.takeCertificate(req)
		return &ocpp16.CertificateSignedResponse{Status: status}, func() {
			if status == ocpp16.CertificateSignedStatusAccepted && s.keys.Int(keys.SecurityProfile) == 3 { // A02: the new one is used from now on
				s.In("reconnect", 200*time.Millisecond, func() { s.Reconnect("new certificate") })
			}
		}
	}
	return nil, nil
}

// ---- firmware, §5.19 and the security extension

// update is an order to install firmware.
type update struct {
	location          string
	retrieve, install time.Time
	retries, interval *int64
	certificate       string // PEM, of a signed update
	signature         string // base64
}

func (s *Station) signedUpdate(req *ocpp16.SignedUpdateFirmwareRequest) (ocpp16.Response, func()) {
	var roots []string
	for _, c := range s.state.Certificates {
		if c.Use == ocpp16.CertificateUseManufacturerRootCertificate {
			roots = append(roots, c.PEM)
		}
	}
	if err := trust.CheckSigner(req.Firmware.SigningCertificate, roots, s.Now()); err != nil {
		s.security("InvalidFirmwareSigningCertificate", err.Error())
		return &ocpp16.SignedUpdateFirmwareResponse{Status: ocpp16.UpdateFirmwareStatusInvalidCertificate}, nil
	}
	status := ocpp16.UpdateFirmwareStatusAccepted
	if s.firmware.running {
		if s.firmware.installing {
			return &ocpp16.SignedUpdateFirmwareResponse{Status: ocpp16.UpdateFirmwareStatusRejected}, nil
		}
		status = ocpp16.UpdateFirmwareStatusAcceptedCanceled
	}
	return &ocpp16.SignedUpdateFirmwareResponse{Status: status}, func() {
		s.firmware.end()
		s.firmware.signed, s.firmware.id = true, req.RequestID
		s.update(update{
			location: req.Firmware.Location, retrieve: req.Firmware.RetrieveDateTime.Time, install: req.Firmware.InstallDateTime.Time,
			retries: req.Retries, interval: req.RetryInterval, certificate: req.Firmware.SigningCertificate, signature: req.Firmware.Signature,
		})
	}
}

// update begins an update: it is fetched at its time, and installed when nothing
// is charging.
func (s *Station) update(u update) {
	signed, id := s.firmware.signed, s.firmware.id
	if u.certificate == "" {
		s.firmware.end()
		signed, id = false, 0
	}
	s.jobs++
	number := s.jobs
	s.firmware = job{number: number, running: true, signed: signed, id: id}
	wait := u.retrieve.Sub(s.Now())
	if wait > 0 && signed {
		s.firmwareStatus("DownloadScheduled")
	}
	s.In("firmware", wait, func() {
		s.firmwareStatus("Downloading")
		s.firmware.cancel = s.Background(func(ctx context.Context) {
			image, err := transfer.Repeat(ctx, u.retries, u.interval, func() ([]byte, error) { return transfer.Download(ctx, u.location) })
			if ctx.Err() == nil {
				s.Post(func() {
					if s.firmware.number == number {
						s.downloaded(u, image, err)
					}
				})
			}
		})
	})
}

func (s *Station) downloaded(u update, image []byte, err error) {
	if err != nil {
		s.Log.Warn("firmware cannot be downloaded", "err", err)
		s.firmwareFailed("DownloadFailed")
		return
	}
	s.firmwareStatus("Downloaded")
	if u.certificate != "" {
		if err := trust.VerifyImage(u.certificate, u.signature, image); err != nil {
			s.security("InvalidFirmwareSignature", err.Error())
			s.firmwareFailed("InvalidSignature")
			return
		}
		s.firmwareStatus("SignatureVerified")
	}
	version := versionOf(u.location, s.state.Firmware)
	wait := u.install.Sub(s.Now())
	if wait > 0 && s.firmware.signed {
		s.firmwareStatus("InstallScheduled")
	}
	s.In("firmware", wait, func() {
		s.firmware.installing = true // nothing new begins
		s.firmware.blocked = func() { s.install(version) }
		s.afterTransaction()
	})
}

// install replaces the firmware and starts it; the word about it comes after the
// start.
func (s *Station) install(version string) {
	s.firmwareStatus("Installing")
	s.In("firmware", installTime, func() {
		if s.firmware.signed {
			s.firmwareStatus("InstallRebooting")
		}
		s.state.FirmwareReport = &FirmwareReport{Signed: s.firmware.signed, RequestID: s.firmware.id}
		s.state.Firmware = version
		s.Dirty()
		s.whenSaid(func() { s.reboot("new firmware") })
	})
}

// whenSaid calls then when all notifications have been answered, or after a
// while.
func (s *Station) whenSaid(then func()) {
	deadline := time.Now().Add(resetPatience)
	var wait func()
	wait = func() {
		if !s.AllSaid() && s.Accepted() && time.Now().Before(deadline) {
			s.In("said", 50*time.Millisecond, wait)
			return
		}
		then()
	}
	wait()
}

// afterBoot says what the start before had no time to say.
func (s *Station) afterBoot() {
	s.security("StartupOfTheDevice", "")
	r := s.state.FirmwareReport
	if r == nil {
		return
	}
	s.state.FirmwareReport = nil
	s.Dirty()
	s.firmware = job{signed: r.Signed, id: r.RequestID}
	s.firmwareStatus("Installed")
	s.security("FirmwareUpdated", s.state.Firmware)
	s.firmware = job{signed: r.Signed, id: r.RequestID}
}

func (s *Station) firmwareStatus(status string) {
	s.firmware.status = status
	if c := s.sayFirmware(); c != nil {
		c.Keep = true
	}
}

func (s *Station) firmwareFailed(status string) {
	s.firmwareStatus(status)
	s.firmware = job{signed: s.firmware.signed, id: s.firmware.id}
}

// sayFirmware tells how an update stands; Idle when none is under way.
func (s *Station) sayFirmware() *call {
	status := s.firmware.status
	if status == "" {
		status = "Idle"
	}
	if !s.firmware.signed {
		return s.say(&ocpp16.FirmwareStatusNotificationRequest{Status: ocpp16.FirmwareStatus(status)}, nil)
	}
	req := &ocpp16.SignedFirmwareStatusNotificationRequest{Status: ocpp16.SignedFirmwareStatus(status)}
	if status != "Idle" {
		id := s.firmware.id
		req.RequestID = &id
	}
	return s.say(req, nil)
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
	if at := versionPattern.FindStringIndex(running); at != nil {
		v := running[at[0]:at[1]]
		for i := len(v) - 1; i >= 0; i-- {
			if v[i] == '.' {
				if n, err := strconv.Atoi(v[i+1:]); err == nil {
					return running[:at[0]] + v[:i+1] + strconv.Itoa(n+1) + running[at[1]:]
				}
			}
		}
	}
	return running + ".1"
}
