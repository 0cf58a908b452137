package ocpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/pki"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Trust is the gateway's certificates and its judgement of those of stations;
// package pki provides it.
type Trust interface {
	// Ready is closed once there is a certificate to show.
	Ready() <-chan struct{}
	// TLS returns how to speak TLS; with ask, stations are asked for theirs.
	TLS(ask bool) *tls.Config
	// Judge tells whether a certificate is to be believed, and what it says.
	Judge(chain []*x509.Certificate) (pki.Client, error)
	// Revoked tells whether a serial number was revoked.
	Revoked(serial string) bool
}

// Seen remembers with which security profile a station was seen, so that it is
// not let in with a lower one; package credential provides it.
type Seen interface {
	Profile(id event.StationID) int
	Raise(id event.StationID, profile int)
}

// forgetful is a Seen that remembers nothing.
type forgetful struct{}

func (forgetful) Profile(event.StationID) int { return 0 }
func (forgetful) Raise(event.StationID, int)  {}

// proof is by what a station has shown who it is.
type proof struct {
	profile int         // 0 to 3, as OCPP counts them
	client  *pki.Client // of its certificate; nil: it has none that counts
}

func (p proof) serial() string {
	if p.client == nil {
		return ""
	}
	return p.client.Serial
}

// Words of security events. OCPP 2.0.1 appendix 1 has most of them from the
// station's side only.
const (
	failedAuthentication = "FailedAuthentication"
	invalidCertificate   = "InvalidChargingStationCertificate"
)

// prove finds out with which security profile a guest comes and whether that will
// do. user is the name that it connects with.
func (s *Server) prove(g *guest, user string, admission site.Admission, config *Station) (proof, *refusal) {
	least, configured := admission.SecurityProfile, admission.SecurityProfile > 0
	if config.SecurityProfile != nil {
		least, configured = *config.SecurityProfile, true
	}
	why := fmt.Sprintf("at least security profile %d is wanted", least)
	if seen := s.cfg.Seen.Profile(g.id); !configured && seen > least {
		least = seen
		why = fmt.Sprintf("it was seen with security profile %d before: to let it in with less, set security_profile for it", seen)
	}
	secure := g.listener.secure != nil
	if !secure && least >= 2 { // no password is asked for where others could read it
		return proof{}, &refusal{status: http.StatusForbidden, result: "profile", event: failedAuthentication, why: "connected without TLS; " + why}
	}
	p, r := s.authenticate(g, user, admission, config)
	if r != nil {
		return p, r
	}
	switch {
	case p.profile < least:
		return p, &refusal{status: http.StatusForbidden, result: "profile", event: failedAuthentication,
			why: fmt.Sprintf("connected with security profile %d; %s", p.profile, why)}
	case !g.listener.admits(p.profile):
		return p, &refusal{status: http.StatusForbidden, result: "profile", event: failedAuthentication,
			why: fmt.Sprintf("connected with security profile %d, this address admits %s", p.profile, strings.Trim(fmt.Sprint(g.listener.Profiles), "[]"))}
	}
	if p.profile >= 2 {
		s.cfg.Seen.Raise(g.id, p.profile)
	}
	return p, nil
}

// authenticate looks at the certificate, then at the password.
func (s *Server) authenticate(g *guest, user string, admission site.Admission, config *Station) (proof, *refusal) {
	var doubt error
	if len(g.chain) > 0 && g.listener.admits(3) {
		client, err := s.cfg.Trust.Judge(g.chain)
		if err == nil && !client.Is(g.id, config.CommonName) && !client.Is(event.StationID(user), config.CommonName) {
			err = fmt.Errorf("%w: it is that of %q", pki.ErrUntrusted, stationOf(&client))
		}
		if err == nil {
			return proof{profile: 3, client: &client}, nil
		}
		doubt = fmt.Errorf("certificate %s (%s): %w", client.Serial, client.CommonName, err)
		if errors.Is(err, pki.ErrRevoked) {
			return proof{}, &refusal{status: http.StatusForbidden, result: "certificate", event: invalidCertificate, why: doubt.Error()}
		}
	}
	profile, r := s.checkPassword(g, user, admission.PasswordHashes)
	if r != nil && doubt != nil {
		r.why = doubt.Error() + "; " + r.why
	}
	if r == nil && profile == 0 && doubt != nil {
		r = &refusal{status: http.StatusForbidden, result: "certificate", event: invalidCertificate, why: doubt.Error()}
	}
	return proof{profile: profile}, r
}

func stationOf(c *pki.Client) string {
	if c.Station != "" {
		return string(c.Station)
	}
	return c.CommonName
}

// hashWait is how long a password may wait for its turn to be hashed.
const hashWait = 20 * time.Second

// checkPassword holds the password of a guest to the hashes that are good for the
// station, the newest first, and returns the security profile: 0 where none is
// wanted.
func (s *Server) checkPassword(g *guest, user string, hashes []string) (profile int, r *refusal) {
	if len(hashes) == 0 {
		return 0, nil
	}
	profile = 1
	if g.listener.secure != nil {
		profile = 2
	}
	optional := slices.Contains(hashes, "") // it has none yet, and is about to get one
	hashes = slices.DeleteFunc(slices.Clone(hashes), func(h string) bool { return h == "" })
	wrong := &refusal{status: http.StatusUnauthorized, result: "credentials", event: failedAuthentication, why: "wrong password"}
	password, ok := credential.Basic(g.request.Header.Get("Authorization"), user)
	if !ok {
		if optional && g.request.Header.Get("Authorization") == "" {
			return 0, nil
		}
		wrong.why = "no password, or one of another name"
		s.guard.failed(g)
		return 0, wrong
	}
	at, checked := s.remembered(hashes, password)
	if at < 0 && !checked {
		// What was right before costs nothing and is let in whatever others do in
		// its name; the slow hash is not for whoever keeps guessing.
		if s.guard.locked(g) {
			return 0, &refusal{status: http.StatusTooManyRequests, result: "locked", why: "too many failed attempts"}
		}
		var err error
		if at, err = s.hashed(hashes, password); err != nil {
			return 0, &refusal{status: http.StatusServiceUnavailable, result: "busy", why: "password not checked: " + err.Error()}
		}
	}
	if at < 0 {
		s.guard.failed(g)
		return 0, wrong
	}
	if len(hashes) > 1 || optional {
		s.site.PasswordSeen(g.id, hashes[at])
	}
	return profile, nil
}

// remembered returns the hash that password is known to fit, or -1; checked tells
// that it is known to fit none.
func (s *Server) remembered(hashes []string, password []byte) (at int, checked bool) {
	checked = true
	for i, h := range hashes {
		fits, known := s.passwords.Remembered(h, password)
		if fits {
			return i, true
		}
		checked = checked && known
	}
	return -1, checked
}

// hashed returns the hash that password fits, or -1.
func (s *Server) hashed(hashes []string, password []byte) (int, error) {
	ctx, cancel := context.WithTimeout(s.lobby, hashWait)
	defer cancel()
	for i, h := range hashes {
		fits, err := s.passwords.Matches(ctx, h, password)
		if err != nil {
			return -1, err
		}
		if fits {
			return i, nil
		}
	}
	return -1, nil
}

// shown is the certificate of an open connection.
type shown struct {
	client pki.Client
	asked  time.Time // when the station was last asked to renew it
}

// Pauses of inspect.
const (
	inspectEvery = time.Minute
	askAgain     = 24 * time.Hour
	askAtOnce    = 20 // stations at a time
)

// inspect looks at the certificates of those who are connected until ctx ends:
// one that was revoked ends the connection, one that ends soon is to be renewed.
func (s *Server) inspect(ctx context.Context) {
	tick := time.NewTicker(inspectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.inspectNow()
	}
}

func (s *Server) inspectNow() {
	now := s.clock.Stamp()
	asked := 0
	var revoked, ending []*Conversation
	s.mu.Lock()
	for c, m := range s.shown {
		switch {
		case s.cfg.Trust.Revoked(m.client.Serial):
			revoked = append(revoked, c)
		case now.Clock == event.ClockSynced && m.client.NotAfter.Sub(now.Time) < pki.RenewBefore &&
			now.Time.Sub(m.asked) >= askAgain && asked < askAtOnce:
			m.asked = now.Time
			asked++
			ending = append(ending, c)
		}
	}
	s.mu.Unlock()
	for _, c := range revoked {
		c.Log().Warn("certificate was revoked, closing the connection", "serial", c.info.Certificate)
		c.hangUp(websocket.ClosePolicyViolation, "certificate was revoked")
	}
	for _, c := range ending {
		c.renewCertificate()
	}
}

// renewCertificate asks the station for a request to sign a new certificate. OCPP
// 2.0.1 A02.FR.01, 1.6 security whitepaper A02.
func (c *Conversation) renewCertificate() {
	order := site.Order{Command: event.Command{Type: event.CommandSignCertificate}, Params: &event.SignCertificateParams{}, Standing: true}
	err := c.Post(func() {
		if !c.joined {
			return
		}
		c.Log().Info("certificate ends soon, asking for a request to sign a new one", "serial", c.info.Certificate)
		c.peer.Execute(order, func(o site.Outcome) {
			if o.State != event.StateDelivered {
				c.Log().Info("asked to renew its certificate", "answer", string(o.State), "reason", o.Reason)
			}
		})
	})
	if err != nil {
		c.Log().Debug("not asked to renew its certificate", "err", err)
	}
}
