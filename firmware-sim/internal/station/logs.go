package station

import (
	"context"
	"encoding/json"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/transfer"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// securityLogLength is how many security events a charge point remembers.
const securityLogLength = 100

// sendLog uploads a file, §5.9 and GetLog, and tells how it goes.
func (s *Station) sendLog(j job, location, name string, content []byte, retries, interval *int64) {
	s.upload.end()
	s.jobs++
	number := s.jobs
	s.upload, s.upload.number = j, number
	s.uploadStatus("Uploading")
	s.upload.cancel = s.Background(func(ctx context.Context) {
		_, err := transfer.Repeat(ctx, retries, interval, func() ([]byte, error) { return nil, transfer.Put(ctx, location, name, content) })
		if ctx.Err() != nil {
			return
		}
		s.Post(func() {
			if s.upload.number != number { // another took its place meanwhile
				return
			}
			status := "Uploaded"
			if err != nil {
				s.Log.Warn("a log cannot be uploaded", "err", err)
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
	c().Keep = true
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
	return cutText(charger.FileName(s.cfg.Identity), 200) + "-" + kind + "-" + s.Now().Format("20060102T150405Z") + ".json"
}

// diagnostics is what a charge point tells of itself.
func (s *Station) diagnostics() []byte {
	known, _ := s.keys.Report(nil)
	return document(map[string]any{
		"identity": s.cfg.Identity, "vendor": s.cfg.Vendor, "model": s.cfg.Model, "firmware": s.state.Firmware, "time": s.Now(),
		"view": s.View(), "configuration": known, "profiles": s.state.Profiles.Profiles, "queue": s.Queue,
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
	s.state.SecurityLog = append(s.state.SecurityLog, SecurityEvent{Time: charger.Milliseconds(s.Now()), Type: kind, Info: info})
	if n := len(s.state.SecurityLog) - securityLogLength; n > 0 {
		s.state.SecurityLog = s.state.SecurityLog[n:]
	}
	s.Dirty()
	if !s.noSecurity {
		s.enqueue(&ocpp16.SecurityEventNotificationRequest{Type: kind, Timestamp: at(charger.Milliseconds(s.Now())), TechInfo: info}, 0).Once = true
	}
}
