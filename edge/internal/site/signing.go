package site

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// signWithin is how long the signing of a certificate may take; the station has
// been answered and waits for the chain, or asks again.
const signWithin = 30 * time.Second

// certificateKinds is how many sorts of certificates a station has at most.
const certificateKinds = 4

// signing is a request that is being signed.
type signing struct{ kind, csr string }

// sign has a request signed without holding the station up.
func (st *Station) sign(r CertificateReport) {
	if r.Kind == "" {
		r.Kind = "station"
	}
	job := signing{r.Kind, r.CSR}
	if slices.Contains(st.signing, job) || len(st.signing) >= certificateKinds {
		return
	}
	st.signing = append(st.signing, job)
	started := st.site.background(signWithin, func(ctx context.Context) {
		chain, err := st.site.signature(ctx, st.id, r)
		if err := st.Post(context.Background(), func() { st.signed(job, chain, err) }); err != nil {
			return // the site has stopped: the station asks again
		}
	})
	if !started {
		st.signing = nil
	}
}

// background runs f beside the stations, unless the site has stopped. Its context
// ends with the site, or after limit.
func (s *Site) background(limit time.Duration, f func(ctx context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		s.running.Go(func() {
			select {
			case <-s.done:
				cancel()
			case <-ctx.Done():
			}
		})
		f(ctx)
	})
	return true
}

// signature is the chain for a request: of a station's own certificate from the
// site's CA where there is one, else from the manager.
func (s *Site) signature(ctx context.Context, id event.StationID, r CertificateReport) (string, error) {
	if s.cfg.Signer != nil && r.Kind == "station" {
		return s.cfg.Signer.Sign(ctx, id, r.Kind, r.CSR)
	}
	payload, err := json.Marshal(map[string]string{"csr": r.CSR, "kind": r.Kind})
	if err != nil {
		return "", fmt.Errorf("encode request: %w", err)
	}
	raw, err := s.manager.Ask(ctx, event.Address{Station: id}, Question{Kind: QuestionSignCertificate, Payload: payload})
	if err != nil {
		return "", err
	}
	var answer struct {
		Chain string `json:"chain"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", fmt.Errorf("answer of the manager: %w", err)
	}
	if answer.Chain == "" {
		return "", errors.New("answer of the manager: expected a chain, got none")
	}
	return answer.Chain, nil
}

// signed takes what became of a request.
func (st *Station) signed(job signing, chain string, err error) {
	st.signing = slices.DeleteFunc(st.signing, func(j signing) bool { return j == job })
	switch {
	case errors.Is(err, ErrUnsupported), errors.Is(err, ErrManagerAway):
		st.logger().Info("nobody signs the certificate, a command may bring it", "kind", job.kind, "err", err)
		return
	case err != nil:
		st.logger().Warn("certificate not signed", "kind", job.kind, "err", err)
		st.site.Alarm(context.Background(), event.GatewayAlarm{Alarm: "certificate_not_signed", Severity: "warning", Text: fmt.Sprintf(
			"the certificate that station %q asks for was not signed: %v", st.id, err)})
		return
	}
	st.chains = slices.DeleteFunc(st.chains, func(p event.SignCertificateParams) bool { return p.Kind == job.kind })
	st.chains = append(st.chains, event.SignCertificateParams{Chain: chain, Kind: job.kind})
	st.wake(time.Now())
}

// handChain hands the device the next chain that it waits for.
func (st *Station) handChain() {
	if len(st.chains) == 0 {
		return
	}
	p := st.chains[0]
	st.request++
	c := &command{
		owner: st, cmd: event.Command{Type: event.CommandSignCertificate, Station: st.id}, params: &p,
		phase: phaseHanded, request: st.request, standing: true,
	}
	if err := st.commit(Change{Put: []Record{st.counterRecord()}}); err != nil {
		st.wake(time.Now().Add(retryAfter))
		return
	}
	st.chains = st.chains[1:]
	c.done = func(o Outcome) {
		switch o.State {
		case event.StateSucceeded:
		case "": // the connection was lost: once more, unless a newer one has come
			if !slices.ContainsFunc(st.chains, func(k event.SignCertificateParams) bool { return k.Kind == p.Kind }) {
				st.chains = append(st.chains, p)
			}
		default:
			st.logger().Warn("the station does not take its certificate", "kind", p.Kind, "state", string(o.State), "reason", o.Reason)
		}
	}
	st.commands = append(st.commands, c)
	st.handOver(c, false)
}

// leafSerial is the serial number of the first certificate of a chain, as
// ConnectionInfo has it; empty: there is none to be read.
func leafSerial(chain string) string {
	block, _ := pem.Decode([]byte(chain))
	if block == nil {
		return ""
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ""
	}
	return leaf.SerialNumber.Text(16)
}
