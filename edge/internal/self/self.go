// Package self is the gateway as the device of the commands for itself: it starts
// again, and it uploads what its flight recorder holds. Whatever else there is a
// word for is for later versions.
package self

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/recorder"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// longest is how long an upload may be tried: the site waits no longer for an
// answer.
const longest = 9 * time.Minute

// Frames is the flight recorder; package recorder provides it.
type Frames interface {
	Frames(id event.StationID, from, to time.Time) []recorder.Frame
}

// Config is what the gateway can do for itself.
type Config struct {
	Frames Frames        // nil: nothing is recorded
	CAFile string        // PEM, an authority that is trusted beside the system's; empty: none
	Retry  time.Duration // before the second attempt of an upload, doubled up to a minute; 0: 1 s
	Clock  site.Clock
}

// Self carries out commands for the gateway. It implements site.Device.
type Self struct {
	cfg  Config
	log  *slog.Logger
	web  *http.Client
	work sync.WaitGroup
	life context.Context // ends when Run does
	end  context.CancelFunc

	station *site.Station // takes the reports
	restart func()
}

// New returns a Self, to be bound before anything else. The error is that of the
// CA file.
func New(cfg Config, log *slog.Logger) (*Self, error) {
	if cfg.Retry <= 0 {
		cfg.Retry = time.Second
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 10 * time.Second,
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authority for uploads: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authority for uploads: expected certificates in PEM in %s", cfg.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	s := &Self{cfg: cfg, log: log, web: &http.Client{
		Transport:     transport,
		Timeout:       2 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Bind says where reports go and how to start again. It is called once, before the
// site runs.
func (s *Self) Bind(station *site.Station, restart func()) {
	s.station, s.restart = station, restart
}

// Run waits until ctx ends; what is under way then is given up.
func (s *Self) Run(ctx context.Context) error {
	<-ctx.Done()
	s.end()
	s.work.Wait()
	s.web.CloseIdleConnections()
	return nil
}

// Execute implements site.Device.
func (s *Self) Execute(o site.Order, report func(site.Outcome)) {
	switch o.Type {
	case event.CommandRestart:
		// Agreed to before it happens, so that the next start finds it in the journal
		// and reports that it took place.
		s.later(func() {
			report(site.Outcome{State: event.StateDelivered})
			report(site.Outcome{State: event.StateAccepted, Reason: "the gateway is about to start again"})
			s.log.Info("starting again by order", "command", string(o.ID))
			s.restart()
		})
	case event.CommandRecord:
		s.work.Go(func() {
			s.tell(func() { report(site.Outcome{State: event.StateDelivered}) })
			outcome := s.record(o)
			s.tell(func() { report(outcome) })
		})
	default:
		s.later(func() {
			report(site.Outcome{State: event.StateUnsupported, Reason: "this version of the gateway has no " + string(o.Type)})
		})
	}
}

// Look implements site.Device: it is asked about commands that an earlier start was
// in the middle of.
func (s *Self) Look(o site.Order, report func(site.Outcome)) {
	outcome := site.Outcome{State: event.StateIndeterminate, Reason: "the gateway was interrupted"}
	switch o.Type {
	case event.CommandRestart:
		outcome = site.Outcome{State: event.StateSucceeded, Reason: "the gateway has started again"}
	case event.CommandRecord:
		outcome = site.Outcome{State: event.StateFailed, Reason: "the gateway has started again: what it had recorded is gone"}
	}
	s.later(func() { report(outcome) })
}

// Refresh implements site.Device: there is nothing to refresh.
func (s *Self) Refresh([]event.Address) {}

// Close implements site.Device: the gateway is connected to itself as long as it
// runs.
func (s *Self) Close(string) {}

// later runs f on the goroutine of the gateway's own commands.
func (s *Self) later(f func()) { s.work.Go(func() { s.tell(f) }) }

func (s *Self) tell(f func()) {
	if err := s.station.Post(context.WithoutCancel(s.life), f); err != nil {
		s.log.Debug("outcome not reported", "err", err)
	}
}

// recorded is the result of an upload.
type recorded struct {
	Frames int    `json:"frames"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // of the uploaded bytes, hexadecimal
}

// record uploads the frames of a station, redacted, until it is done or the
// command expires.
func (s *Self) record(o site.Order) site.Outcome {
	failed := func(format string, args ...any) site.Outcome {
		return site.Outcome{State: event.StateFailed, Reason: fmt.Sprintf(format, args...)}
	}
	var p event.RecordParams
	if raw, ok := o.Params.(json.RawMessage); !ok || json.Unmarshal(raw, &p) != nil {
		return site.Outcome{State: event.StateRejected, Reason: "params: expected station, from, to and url"}
	}
	if s.cfg.Frames == nil {
		return site.Outcome{State: event.StateUnsupported, Reason: "the recorder is switched off: recorder.station is 0"}
	}
	target, err := url.Parse(p.URL)
	if err != nil || target.Scheme != "https" && target.Scheme != "http" || target.Host == "" {
		return site.Outcome{State: event.StateRejected, Reason: "url: expected an address that begins with https://"}
	}
	frames := s.cfg.Frames.Frames(p.Station, p.From, p.To)
	if len(frames) == 0 {
		return failed("the recorder holds nothing of station %q from that time", p.Station)
	}
	var body bytes.Buffer
	if err := recorder.Write(&body, frames); err != nil {
		return failed("write the frames: %v", err)
	}
	sum := sha256.Sum256(body.Bytes())
	ctx, cancel := context.WithTimeout(s.life, s.patience(o))
	defer cancel()
	u := &upload{web: s.web, url: p.URL, body: body.Bytes(), digest: "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"}
	if err := u.run(ctx, s.cfg.Retry, s.log.With("command", string(o.ID), "station", string(p.Station))); err != nil {
		if s.life.Err() != nil {
			return failed("the gateway stopped before the upload was done")
		}
		return failed("not uploaded: %v", err)
	}
	result, err := json.Marshal(recorded{Frames: len(frames), Bytes: body.Len(), SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		return failed("write the result: %v", err)
	}
	return site.Outcome{State: event.StateSucceeded, Result: result}
}

// patience is how long an order may be worked on.
func (s *Self) patience(o site.Order) time.Duration {
	now, ok := s.cfg.Clock.Judge()
	if !ok {
		now = s.cfg.Clock.Stamp().Time
	}
	if left := o.Expires.Sub(now); !o.Expires.IsZero() && left < longest {
		return max(left, time.Second)
	}
	return longest
}

// upload brings a file to a one-time address: by PUT, in one piece, or from where
// an earlier attempt was cut off.
type upload struct {
	web    *http.Client
	url    string
	body   []byte
	digest string // RFC 9530 Repr-Digest
	sent   int    // bytes that are there, as far as is known
}

// errGiveUp wraps answers that no repetition mends.
var errGiveUp = errors.New("refused")

// run tries until the file is there, ctx ends, or the far end does not want it.
func (u *upload) run(ctx context.Context, pause time.Duration, log *slog.Logger) error {
	for try := 1; ; try++ {
		done, err := u.send(ctx)
		if done || errors.Is(err, errGiveUp) {
			return err
		}
		if try == 1 {
			log.Warn("upload interrupted, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return fmt.Errorf("after %d attempts: %w", try, err)
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
		if done, askErr := u.ask(ctx); done || errors.Is(askErr, errGiveUp) {
			return askErr
		}
	}
}

// send brings what is missing.
func (u *upload) send(ctx context.Context) (done bool, err error) {
	span := fmt.Sprintf("bytes %d-%d/%d", u.sent, len(u.body)-1, len(u.body))
	return u.request(ctx, span, u.body[u.sent:])
}

// ask finds out how much is there. RFC 9110 §14.4: a range that is not known yet.
func (u *upload) ask(ctx context.Context) (done bool, err error) {
	return u.request(ctx, fmt.Sprintf("bytes */%d", len(u.body)), nil)
}

func (u *upload) request(ctx context.Context, span string, body []byte) (done bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, u.url, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("%w: %w", errGiveUp, err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Content-Range", span)
	r.Header.Set("Repr-Digest", u.digest)
	answer, err := u.web.Do(r)
	if err != nil {
		// the address holds a secret: it stays out of logs and reasons
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return false, err
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 300))
	if closing := answer.Body.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return false, err
	}
	u.sent = 0
	if n, err := strconv.Atoi(answer.Header.Get("Upload-Offset")); err == nil && n > 0 && n < len(u.body) {
		u.sent = n
	}
	switch status := answer.StatusCode; {
	case status >= 200 && status < 300:
		return true, nil
	case status == http.StatusPermanentRedirect, status == http.StatusConflict && u.sent > 0,
		status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return false, fmt.Errorf("the answer was %s", answer.Status)
	default:
		return false, fmt.Errorf("%w: the answer was %s: %s", errGiveUp, answer.Status, bytes.TrimSpace(text))
	}
}
