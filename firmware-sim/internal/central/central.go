// Package central is a tiny central system for tests: it accepts every charger of
// OCPP 1.6, 2.0.1 and 2.1, remembers what it was told, and answers as a test wants.
package central

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"github.com/gorilla/websocket"
)

// Said is a CALL of a charger.
type Said struct {
	Station string
	ID      string
	Version string // of OCPP, as its sub-protocol
	Action  string
	Payload json.RawMessage
	Request ocpp16.Request // nil in other versions
}

// Answer is how a CALL is answered: with a response, a CALLERROR, by closing the
// connection without a word, or not at all.
type Answer struct {
	Response ocpp16.Response
	Code     ocppj.ErrorCode
	Hangup   bool
	Silent   bool
}

// System is a central system. Its zero value is not usable.
type System struct {
	// Decide may be set before the first charger comes; it chooses the answer to
	// a CALL of 1.6. Nil, or an empty Answer, means that of a friendly central
	// system.
	Decide func(Said) Answer
	// Password, when set before the first charger comes, must be given by
	// chargers; SetPassword changes it afterwards.
	Password string

	server *httptest.Server

	mu       sync.Mutex
	said     []Said
	changed  chan struct{} // closed and replaced when something is said or connected
	conns    map[string]*conn
	came     map[string]int // connections so far
	next     int64          // transactionId
	handlers sync.WaitGroup
}

type conn struct {
	ws      *websocket.Conn
	write   sync.Mutex
	mu      sync.Mutex
	pending map[string]chan ocppj.Frame

	password    bool
	certificate string // common name of the charger's
}

// New starts a central system.
func New() *System {
	s := &System{conns: map[string]*conn{}, came: map[string]int{}, changed: make(chan struct{})}
	s.server = httptest.NewServer(http.HandlerFunc(s.handle))
	return s
}

// NewTLS starts one that speaks TLS. Certificates of chargers, which they need not
// have, must lead to one of roots.
func NewTLS(roots *x509.CertPool) *System {
	s := &System{conns: map[string]*conn{}, came: map[string]int{}, changed: make(chan struct{})}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.handle))
	s.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: roots}
	s.server.StartTLS()
	return s
}

// Root is the certificate that its own leads to, in PEM; nil without TLS.
func (s *System) Root() []byte {
	if s.server.Certificate() == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
}

// Login tells how a charger that is connected proved itself: by a password, by a
// certificate of this name, or by neither.
func (s *System) Login(station string) (password bool, certificate string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[station]; c != nil {
		return c.password, c.certificate
	}
	return false, ""
}

// Close ends it and all connections.
func (s *System) Close() {
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.ws.Close()
	}
	s.mu.Unlock()
	s.server.Close()
	s.handlers.Wait()
}

// SetPassword changes the password of connections to come.
func (s *System) SetPassword(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Password = password
}

// URL is where chargers connect to.
func (s *System) URL() string { return "ws" + strings.TrimPrefix(s.server.URL, "http") + "/ocpp" }

func (s *System) handle(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	path := r.URL.EscapedPath()
	id, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	user, password, _ := r.BasicAuth() // those without a password come with a certificate, or the test wants none
	s.mu.Lock()
	want := s.Password
	s.mu.Unlock()
	if want != "" && (user != id || password != want) {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{ocppj.V16, ocppj.V201, ocppj.V21}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &conn{ws: ws, pending: map[string]chan ocppj.Frame{}, password: password != ""}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		c.certificate = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	s.mu.Lock()
	s.conns[id] = c
	s.came[id]++
	s.notify()
	s.mu.Unlock()
	defer func() {
		_ = ws.Close()
		s.mu.Lock()
		if s.conns[id] == c {
			delete(s.conns, id)
		}
		s.notify()
		s.mu.Unlock()
	}()
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		f, err := ocppj.Parse(data)
		if err != nil {
			continue
		}
		if f.Type != ocppj.Call {
			c.mu.Lock()
			if answer, ok := c.pending[f.ID]; ok {
				answer <- f
				delete(c.pending, f.ID)
			}
			c.mu.Unlock()
			continue
		}
		if !s.answer(c, id, f) {
			return
		}
	}
}

// notify wakes those who wait. The lock must be held.
func (s *System) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *System) answer(c *conn, id string, f ocppj.Frame) bool {
	version := c.ws.Subprotocol()
	if version == ocppj.V201 || version == ocppj.V21 {
		s.note(Said{Station: id, ID: f.ID, Version: version, Action: f.Action, Payload: slices.Clone(f.Payload)})
		return c.send(ocppj.AppendResult(nil, f.ID, friendly2(f).AppendJSON(nil))) == nil
	}
	req, ok := ocpp16.NewRequest(f.Action)
	if !ok {
		return c.send(ocppj.AppendError(nil, f.ID, ocppj.NotImplemented, "", nil)) == nil
	}
	if _, err := req.Decode(f.Payload); err != nil {
		return c.send(ocppj.AppendError(nil, f.ID, ocppj.CodeOf(err).For(ocppj.V16), err.Error(), nil)) == nil
	}
	said := Said{Station: id, ID: f.ID, Version: version, Action: f.Action, Payload: req.AppendJSON(nil), Request: req}
	var a Answer
	if s.Decide != nil {
		a = s.Decide(said)
	}
	s.note(said)
	switch {
	case a.Hangup:
		return false
	case a.Silent:
		return true
	case a.Code != "":
		return c.send(ocppj.AppendError(nil, f.ID, a.Code, "as the test wants", nil)) == nil
	case a.Response == nil:
		a.Response = s.friendly(req)
	}
	return c.send(ocppj.AppendResult(nil, f.ID, a.Response.AppendJSON(nil))) == nil
}

// note remembers what was said.
func (s *System) note(said Said) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, said)
	s.notify()
}

// friendly2 accepts everything of OCPP 2.
func friendly2(f ocppj.Frame) ocpp21.Response {
	accepted := ocpp21.IDTokenInfo{Status: ocpp21.AuthorizationStatusAccepted}
	switch f.Action {
	case ocpp21.ActionBootNotification:
		return &ocpp21.BootNotificationResponse{Status: ocpp21.RegistrationStatusAccepted, CurrentTime: lenient.At(time.Now()), Interval: 300}
	case ocpp21.ActionHeartbeat:
		return &ocpp21.HeartbeatResponse{CurrentTime: lenient.At(time.Now())}
	case ocpp21.ActionAuthorize:
		return &ocpp21.AuthorizeResponse{IDTokenInfo: accepted}
	case ocpp21.ActionSignCertificate:
		return &ocpp21.SignCertificateResponse{Status: ocpp21.GenericStatusAccepted}
	}
	resp, ok := ocpp21.NewResponse(f.Action)
	if !ok {
		return &ocpp21.StatusNotificationResponse{} // {}
	}
	return resp
}

// friendly accepts everything.
func (s *System) friendly(req ocpp16.Request) ocpp16.Response {
	accepted := ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatusAccepted}
	switch req.(type) {
	case *ocpp16.BootNotificationRequest:
		return &ocpp16.BootNotificationResponse{Status: ocpp16.RegistrationStatusAccepted, CurrentTime: lenient.At(time.Now()), Interval: 300}
	case *ocpp16.HeartbeatRequest:
		return &ocpp16.HeartbeatResponse{CurrentTime: lenient.At(time.Now())}
	case *ocpp16.AuthorizeRequest:
		return &ocpp16.AuthorizeResponse{IDTagInfo: accepted}
	case *ocpp16.StartTransactionRequest:
		s.mu.Lock()
		s.next++
		id := s.next
		s.mu.Unlock()
		return &ocpp16.StartTransactionResponse{IDTagInfo: accepted, TransactionID: id}
	case *ocpp16.SignCertificateRequest:
		return &ocpp16.SignCertificateResponse{Status: ocpp16.GenericStatusAccepted}
	}
	return req.NewResponse()
}

func (c *conn) send(frame []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	return c.ws.WriteMessage(websocket.TextMessage, frame)
}

// Call sends a CALL to a charger and decodes the CALLRESULT into resp.
func (s *System) Call(ctx context.Context, station string, req ocpp16.Request, resp ocpp16.Response) error {
	payload, err := s.Ask(ctx, station, req.Action(), req.AppendJSON(nil))
	if err != nil {
		return err
	}
	deviations, err := resp.Decode(payload)
	if err == nil && len(deviations) > 0 {
		err = fmt.Errorf("%s: %v", payload, deviations)
	}
	return errors.Join(err, resp.Validate())
}

// Ask sends a CALL of any version to a charger and returns the payload of the
// CALLRESULT.
func (s *System) Ask(ctx context.Context, station, action string, payload []byte) ([]byte, error) {
	s.mu.Lock()
	c := s.conns[station]
	s.next++
	id := "call-" + strconv.FormatInt(s.next, 10)
	s.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("%s is not connected", station)
	}
	answer := make(chan ocppj.Frame, 1)
	c.mu.Lock()
	c.pending[id] = answer
	c.mu.Unlock()
	if err := c.send(ocppj.AppendCall(nil, id, action, payload)); err != nil {
		return nil, err
	}
	select {
	case f := <-answer:
		if f.Type != ocppj.CallResult {
			return nil, fmt.Errorf("%s: %s: %s", action, f.Code, f.Description)
		}
		return f.Payload, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", action, ctx.Err())
	}
}

// Send puts raw bytes on the wire of a charger.
func (s *System) Send(station string, frame string) error {
	s.mu.Lock()
	c := s.conns[station]
	s.mu.Unlock()
	if c == nil {
		return fmt.Errorf("%s is not connected", station)
	}
	return c.send([]byte(frame))
}

// Said returns what chargers have said so far.
func (s *System) Said() []Said {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Said(nil), s.said...)
}

// Wait waits until met holds of everything that was said.
func (s *System) Wait(ctx context.Context, met func([]Said) bool) error {
	for {
		s.mu.Lock()
		ok, changed := met(s.said), s.changed
		var last []string
		if !ok {
			for _, said := range s.said {
				last = append(last, said.String())
			}
		}
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w; chargers said\n%s", ctx.Err(), strings.Join(last, "\n"))
		}
	}
}

// Connections is how often a charger has connected.
func (s *System) Connections(station string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came[station]
}

// Changes is closed when something is said, or a charger comes or goes.
func (s *System) Changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Connected tells whether a charger is there.
func (s *System) Connected(station string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[station] != nil
}

// String shows the call as people write it down.
func (s Said) String() string {
	return s.Station + " " + s.Action + " " + string(s.Payload)
}
