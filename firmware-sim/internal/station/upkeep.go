package station

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/trust"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

const (
	transferTimeout   = 2 * time.Minute
	maxFirmware       = 64 << 20 // bytes
	installTime       = time.Second
	securityLogLength = 100
)

// job is an update or an upload.
type job struct {
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
		return &ocpp16.CertificateSignedResponse{Status: s.takeCertificate(req)}, nil
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
	if err := trust.CheckSigner(req.Firmware.SigningCertificate, roots, s.now()); err != nil {
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
	s.firmware = job{running: true, signed: signed, id: id}
	wait := u.retrieve.Sub(s.now())
	if wait > 0 && signed {
		s.firmwareStatus("DownloadScheduled")
	}
	s.in("firmware", wait, func() {
		s.firmwareStatus("Downloading")
		s.firmware.cancel = s.background(func(ctx context.Context) {
			image, err := withRetries(ctx, u.retries, u.interval, func() ([]byte, error) { return download(ctx, u.location) })
			if ctx.Err() == nil {
				s.post(func() { s.downloaded(u, image, err) })
			}
		})
	})
}

func (s *Station) downloaded(u update, image []byte, err error) {
	if err != nil {
		s.log.Warn("firmware cannot be downloaded", "err", err)
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
	wait := u.install.Sub(s.now())
	if wait > 0 && s.firmware.signed {
		s.firmwareStatus("InstallScheduled")
	}
	s.in("firmware", wait, func() {
		s.firmware.installing = true // nothing new begins
		s.firmware.blocked = func() { s.install(version) }
		s.afterTransaction()
	})
}

// install replaces the firmware and starts it; the word about it comes after the
// start.
func (s *Station) install(version string) {
	s.firmwareStatus("Installing")
	s.in("firmware", installTime, func() {
		if s.firmware.signed {
			s.firmwareStatus("InstallRebooting")
		}
		s.state.FirmwareReport = &FirmwareReport{Signed: s.firmware.signed, RequestID: s.firmware.id}
		s.state.Firmware = version
		s.dirty = true
		s.whenSaid(func() { s.reboot("new firmware") })
	})
}

// whenSaid calls then when all notifications have been answered, or after a
// while.
func (s *Station) whenSaid(then func()) {
	deadline := time.Now().Add(resetPatience)
	var wait func()
	wait = func() {
		if (len(s.calls) > 0 || s.pending != nil) && s.accepted() && time.Now().Before(deadline) {
			s.in("said", 50*time.Millisecond, wait)
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
	s.dirty = true
	s.firmware = job{signed: r.Signed, id: r.RequestID}
	s.firmwareStatus("Installed")
	s.security("FirmwareUpdated", s.state.Firmware)
	s.firmware = job{signed: r.Signed, id: r.RequestID}
}

func (s *Station) firmwareStatus(status string) {
	s.firmware.status = status
	if c := s.sayFirmware(); c != nil {
		c.keep = true
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

// ---- logs, §5.9 and GetLog

func (s *Station) sendLog(j job, location, name string, content []byte, retries, interval *int64) {
	s.upload.end()
	s.upload = j
	s.uploadStatus("Uploading")
	s.upload.cancel = s.background(func(ctx context.Context) {
		_, err := withRetries(ctx, retries, interval, func() ([]byte, error) { return nil, put(ctx, location, name, content) })
		if ctx.Err() != nil {
			return
		}
		s.post(func() {
			status := "Uploaded"
			if err != nil {
				s.log.Warn("a log cannot be uploaded", "err", err)
				status = "UploadFailed"
				if s.upload.log {
					status = "UploadFailure"
				}
			}
			s.uploadStatus(status)
			s.upload = job{log: s.upload.log, id: s.upload.id}
		})
	})
}

func (s *Station) uploadStatus(status string) {
	s.upload.status = status
	c := s.sayDiagnostics
	if s.upload.log {
		c = s.sayLog
	}
	c().keep = true
}

// sayDiagnostics tells how a GetDiagnostics stands.
func (s *Station) sayDiagnostics() *call {
	status := ocpp16.DiagnosticsStatusIdle
	if s.upload.status != "" && !s.upload.log {
		status = ocpp16.DiagnosticsStatus(s.upload.status)
	}
	return s.say(&ocpp16.DiagnosticsStatusNotificationRequest{Status: status}, nil)
}

// sayLog tells how a GetLog stands.
func (s *Station) sayLog() *call {
	req := &ocpp16.LogStatusNotificationRequest{Status: ocpp16.UploadLogStatusIdle}
	if s.upload.status != "" && s.upload.log {
		id := s.upload.id
		req.Status, req.RequestID = ocpp16.UploadLogStatus(s.upload.status), &id
	}
	return s.say(req, nil)
}

func (s *Station) logName(kind string) string {
	return cutText(fileName(s.cfg.Identity), 200) + "-" + kind + "-" + s.now().Format("20060102T150405Z") + ".json"
}

// diagnostics is what a charge point tells of itself.
func (s *Station) diagnostics() []byte {
	known, _ := s.keys.Report(nil)
	return document(map[string]any{
		"identity": s.cfg.Identity, "vendor": s.cfg.Vendor, "model": s.cfg.Model, "firmware": s.state.Firmware, "time": s.now(),
		"view": s.view(), "configuration": known, "profiles": s.state.Profiles.Profiles, "queue": s.state.Queue,
	})
}

func (s *Station) securityLog() []byte { return document(s.state.SecurityLog) }

func document(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return append(b, '\n')
}

// security notes an event of the security extension. The critical ones are sent,
// in order with the queue, until the central system says that it does not know
// them.
func (s *Station) security(kind, info string) {
	info = cutText(info, 255)
	s.state.SecurityLog = append(s.state.SecurityLog, SecurityEvent{Time: ms(s.now()), Type: kind, Info: info})
	if n := len(s.state.SecurityLog) - securityLogLength; n > 0 {
		s.state.SecurityLog = s.state.SecurityLog[n:]
	}
	s.dirty = true
	if !s.noSecurity {
		s.enqueue(&ocpp16.SecurityEventNotificationRequest{Type: kind, Timestamp: at(ms(s.now())), TechInfo: info}, 0)
	}
}

// ---- files

// withRetries repeats work as often as the order says; by itself once more after
// ten seconds.
func withRetries(ctx context.Context, retries, interval *int64, work func() ([]byte, error)) ([]byte, error) {
	left, pause := int64(1), 10*time.Second
	if retries != nil {
		left = min(*retries, 100)
	}
	if interval != nil {
		pause = time.Duration(*interval) * time.Second
	}
	for {
		b, err := work()
		if err == nil || left <= 0 {
			return b, err
		}
		left--
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// web checks that a location can be reached by HTTP, the only protocol that the
// charge point has (key SupportedFileTransferProtocols).
func web(location string) (*url.URL, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q: expected http:// or https://", location)
	}
	return u, nil
}

func transfer(ctx context.Context, method, location string, content []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, location, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxFirmware+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, fmt.Errorf("%s %s was answered with %s", method, location, resp.Status)
	case len(body) > maxFirmware:
		return nil, fmt.Errorf("%s is larger than %d bytes", location, maxFirmware)
	}
	return body, nil
}

func download(ctx context.Context, location string) ([]byte, error) {
	u, err := web(location)
	if err != nil {
		return nil, err
	}
	return transfer(ctx, http.MethodGet, u.String(), nil)
}

// put uploads a file to a location; one that ends with a slash is a folder.
func put(ctx context.Context, location, name string, content []byte) error {
	u, err := web(location)
	if err != nil {
		return err
	}
	if u.Path == "" || u.Path[len(u.Path)-1] == '/' {
		u = u.JoinPath(name)
	}
	_, err = transfer(ctx, http.MethodPut, u.String(), content)
	return err
}

// ---- passwords

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

// ---- certificates

// signCertificate asks for a certificate with a new key.
func (s *Station) signCertificate() *call {
	organization := s.keys.Get(keys.CpoName)
	key, csr, err := trust.Request(s.cfg.Identity, organization)
	if err != nil {
		s.log.Error("make a certificate request", "err", err)
		return nil
	}
	s.state.PendingKey = key
	s.dirty = true
	c := s.say(&ocpp16.SignCertificateRequest{CSR: csr}, func(answer ocpp16.Response, err error) {
		if resp, ok := answer.(*ocpp16.SignCertificateResponse); ok && err == nil && resp.Status == ocpp16.GenericStatusRejected {
			s.log.Warn("the central system will not sign a certificate")
		}
	})
	c.keep = true
	return c
}

// takeCertificate is CertificateSigned.
func (s *Station) takeCertificate(req *ocpp16.CertificateSignedRequest) ocpp16.CertificateSignedStatus {
	key := s.state.PendingKey
	if key == "" {
		key = s.state.Key
	}
	if err := trust.CheckChain(req.CertificateChain, key, s.now()); err != nil {
		s.security("InvalidChargePointCertificate", err.Error())
		return ocpp16.CertificateSignedStatusRejected
	}
	s.state.Key, s.state.Chain, s.state.PendingKey = key, req.CertificateChain, ""
	s.dirty = true
	return ocpp16.CertificateSignedStatusAccepted
}

func (s *Station) installCertificate(req *ocpp16.InstallCertificateRequest) ocpp16.InstallCertificateStatus {
	if len(s.state.Certificates) >= s.keys.Int(keys.CertificateStoreMaxLength) {
		return ocpp16.InstallCertificateStatusFailed
	}
	added, err := trust.Identify(req.Certificate, ocpp16.HashAlgorithmSHA256)
	if err != nil {
		s.log.Warn("a certificate is refused", "err", err)
		return ocpp16.InstallCertificateStatusRejected
	}
	for i, c := range s.state.Certificates { // the same one again
		if held, err := trust.Identify(c.PEM, ocpp16.HashAlgorithmSHA256); err == nil && c.Use == req.CertificateType && trust.Same(held, added) {
			s.state.Certificates[i].PEM = req.Certificate
			s.dirty = true
			return ocpp16.InstallCertificateStatusAccepted
		}
	}
	s.state.Certificates = append(s.state.Certificates, InstalledCertificate{Use: req.CertificateType, PEM: req.Certificate})
	s.dirty = true
	return ocpp16.InstallCertificateStatusAccepted
}

func (s *Station) deleteCertificate(req *ocpp16.DeleteCertificateRequest) ocpp16.DeleteCertificateStatus {
	for i, c := range s.state.Certificates {
		held, err := trust.Identify(c.PEM, req.CertificateHashData.HashAlgorithm)
		if err == nil && trust.Same(held, req.CertificateHashData) {
			s.state.Certificates = append(s.state.Certificates[:i], s.state.Certificates[i+1:]...)
			s.dirty = true
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
