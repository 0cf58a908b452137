package ocpp

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Bounds of a handshake.
const (
	tlsWait     = 30 * time.Second // for its turn too
	requestWait = 10 * time.Second
	headLimit   = 16 << 10 // bytes of a request
)

// heads are buffers for requests. They go back before the conversation begins: an
// idle connection holds none.
var heads = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2<<10) }}

// tails are buffers for what answers them.
var tails = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 512) }}

// guest is somebody in the handshake.
type guest struct {
	conn     net.Conn
	listener *listener
	request  *http.Request
	remote   string
	id       event.StationID
	chain    []*x509.Certificate // that it showed
}

// refusal is the answer to a guest who is not let in.
type refusal struct {
	status int
	result string // for the metrics
	why    string // for the log
	event  string // for the manager; empty: none
	known  bool   // there is such a station
}

// greet is the handshake of one connection. Everything is decided before the
// upgrade; the conversation then lives on a goroutine of its own, with a small
// stack and without what the handshake held.
func (s *Server) greet(l *listener, raw *line) {
	g := &guest{conn: raw, listener: l, remote: raw.RemoteAddr().String()}
	if l.secure != nil {
		deadline(raw, tlsWait, s.log)
		secure := tls.Server(raw, l.secure)
		raw.begin()
		err := secure.Handshake()
		raw.end()
		if err != nil {
			s.metrics.handshake("tls")
			s.log.Debug("TLS handshake failed", "remote", g.remote, "err", err)
			raw.Close()
			return
		}
		state := secure.ConnectionState()
		s.metrics.secured(&state)
		g.conn, g.chain = secure, state.PeerCertificates
	}
	deadline(raw, requestWait, s.log)
	var r *refusal
	if g.request, r = readRequest(g.conn); r == nil {
		if secure, ok := g.conn.(*tls.Conn); ok {
			slim(secure)
		}
		r = s.decide(g)
	}
	if r != nil {
		s.turnAway(g, r)
		g.conn.Close()
	}
}

func deadline(conn net.Conn, wait time.Duration, log *slog.Logger) {
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		log.Debug("deadline not set", "err", err)
	}
}

// readRequest reads the request that opens a WebSocket. An escape in its path that
// is none (CP%ZZ) is answered as any other name that no station has: a station
// takes another answer for a fault of its own that no retry mends.
func readRequest(conn net.Conn) (*http.Request, *refusal) {
	head := heads.Get().(*bufio.Reader)
	head.Reset(io.LimitReader(conn, headLimit))
	defer func() {
		head.Reset(nil)
		heads.Put(head)
	}()
	request, err := http.ReadRequest(head)
	escape := url.EscapeError("")
	switch {
	case err == nil && head.Buffered() > 0:
		return nil, &refusal{status: http.StatusBadRequest, result: "failed", why: "it sent more than a request"}
	case err == nil:
		return request, nil
	case errors.As(err, &escape):
		return nil, &refusal{status: http.StatusNotFound, result: "identity", why: err.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed): // it said nothing
		return nil, &refusal{result: "failed", why: err.Error()}
	}
	return nil, &refusal{status: http.StatusBadRequest, result: "failed", why: err.Error()}
}

// decide lets a guest in, or says why not. A guest without a name, or with one
// that nobody knows, costs no more than the reading of its request.
func (s *Server) decide(g *guest) *refusal {
	name, err := identity(g.request.URL)
	if err != nil {
		return &refusal{status: http.StatusNotFound, result: "identity", why: err.Error()}
	}
	g.id = name
	if known, ok := s.cfg.Aliases[name]; ok {
		g.id = known
	}
	admission, known := s.site.Admitted(g.id)
	if !known && !s.cfg.AcceptUnknown {
		return &refusal{status: http.StatusNotFound, result: "unknown", event: "UnknownStation",
			why: "unknown station: list it under stations:, admit it at the manager, or set ocpp.unknown_stations"}
	}
	if !known && !s.site.RoomFor(g.id, s.cfg.UnknownLimit) {
		if s.first("full") {
			s.site.Alarm(s.life, event.GatewayAlarm{Alarm: "stations_full", Severity: "warning", Text: fmt.Sprintf(
				"%d stations that nobody named have connected, further ones are turned away: list those of the site under stations:, or raise ocpp.unknown_limit",
				s.cfg.UnknownLimit)})
		}
		return &refusal{status: http.StatusServiceUnavailable, result: "full", why: "too many stations that nobody named: list those of the site under stations:"}
	}
	config := s.stations[g.id]
	if config == nil {
		config = nothing
	}
	proof, r := s.prove(g, string(name), admission, config)
	if r != nil {
		r.known = known
		return r
	}
	return s.upgrade(g, config, proof)
}

// nothing is configured for most stations.
var nothing = &Station{}

// upgradable is a connection in the clothes that the library wants of net/http.
type upgradable struct {
	http.ResponseWriter // nil: nothing of it is used
	conn                net.Conn
	refused             *refusal
}

// Hijack hands the connection over with a buffer for the answer.
func (u *upgradable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	tail := tails.Get().(*bufio.Writer)
	tail.Reset(u.conn)
	return u.conn, bufio.NewReadWriter(nobody, tail), nil
}

// nobody has sent more than the request: that was looked at.
var nobody = bufio.NewReaderSize(strings.NewReader(""), 16)

// noteRefusal keeps what the library would answer.
func noteRefusal(w http.ResponseWriter, _ *http.Request, status int, why error) {
	if u, ok := w.(*upgradable); ok {
		u.refused = &refusal{status: status, result: "failed", why: why.Error()}
	}
}

// upgrade completes the handshake and starts the conversation.
func (s *Server) upgrade(g *guest, config *Station, proof proof) *refusal {
	log := s.log.With("station", string(g.id))
	if utf8.RuneCountInString(string(g.id)) > longIdentity {
		log.Warn("identity longer than 48 characters, which other systems may refuse")
	}
	names := offered(g.request.Header)
	protocol, echo := s.choose(names)
	treatment := s.treatment(g.id, config)
	if len(names) == 0 {
		protocol = treatment.AssumeProtocol
		if protocol == "" {
			protocol = s.cfg.AssumeProtocol
		}
		if protocol != "" {
			s.deviated(g.id, "no_subprotocol", "", "")
		}
	}
	header := http.Header{}
	if echo != "" {
		header.Set("Sec-Websocket-Protocol", echo)
	}
	var station *site.Station
	if _, ok := s.dialects[protocol]; ok {
		station = s.site.Station(g.id) // it counts before the next one is asked whether there is room
	}
	upgrader := s.upgrader
	upgrader.EnableCompression = s.compresses(g.id, protocol, treatment)
	clothes := &upgradable{conn: g.conn}
	ws, err := upgrader.Upgrade(clothes, g.request, header)
	if err != nil {
		if clothes.refused != nil {
			return clothes.refused
		}
		s.metrics.handshake("failed")
		log.Debug("handshake failed", "remote", g.remote, "err", err)
		g.conn.Close()
		return nil
	}
	ws.EnableWriteCompression(false) // answers are short, and packing takes memory
	if station == nil {
		s.metrics.handshake("protocol")
		s.dismiss(ws, g, names)
		return nil
	}
	c := &Conversation{
		server: s, ws: ws, id: g.id, config: config,
		station: station,
		info: site.ConnectionInfo{Protocol: protocol, Remote: g.remote, SecurityProfile: proof.profile,
			Certificate: proof.serial(), Pending: proof.client != nil && proof.client.Expired},
		ready: make(chan struct{}),
		done:  make(chan struct{}),
	}
	if !s.enter(c, proof) {
		c.farewell(websocket.CloseGoingAway, "gateway stops")
		c.drop()
		return nil
	}
	s.metrics.handshake("accepted")
	s.sweep()
	c.start(time.Duration(rand.Int64N(int64(max(s.cfg.Ping, 1))))) // spread
	s.work.Go(c.run)
	return nil
}

// sweepEvery is after how many connections garbage is collected. What handshakes
// leave lies between what connections keep: of a storm of two thousand that is
// collected only at its end, a third of the memory stays torn and is never given
// back. Not while others are served: they would notice.
const sweepEvery = 128

// sweep counts a connection.
func (s *Server) sweep() {
	if s.arrived.Add(1)%sweepEvery != 0 || s.pace.busy() || !s.sweeping.CompareAndSwap(false, true) {
		return
	}
	s.work.Go(func() {
		runtime.GC()
		s.sweeping.Store(false)
	})
}

// dismiss ends a connection that has no subprotocol in common with us. OCPP-J 1.6
// §3.1.2: the handshake is completed without the header, then closed.
func (s *Server) dismiss(ws *websocket.Conn, g *guest, names []string) {
	if s.first(string(g.id) + " protocol") {
		s.log.Warn("no common subprotocol, closing: where the station names none, assume_protocol helps",
			"station", string(g.id), "remote", g.remote, "offered", names)
	}
	frame := websocket.FormatCloseMessage(websocket.CloseProtocolError, "no common subprotocol, expected "+s.spoken())
	if err := ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait)); err != nil {
		s.log.Debug("close frame not sent", "err", err)
	}
	if err := ws.Close(); err != nil {
		s.log.Debug("close socket", "err", err)
	}
}

// compresses tells whether a station may send compressed frames. One that broke
// such a frame may not until the gateway starts again.
func (s *Server) compresses(id event.StationID, protocol string, treatment *stationprofile.Profile) bool {
	s.mu.Lock()
	broken := s.unpacked[id]
	s.mu.Unlock()
	if broken {
		return false
	}
	return stationprofile.On(treatment.Compression, slices.Contains(s.cfg.Compress, protocol))
}

// treatment is how a station is to be treated before it says what it is: as what
// it was when it was here last.
func (s *Server) treatment(id event.StationID, config *Station) *stationprofile.Profile {
	s.scores.mu.Lock()
	last := score{}
	if one := s.scores.stations[id]; one != nil {
		last.vendor, last.model, last.firmware = one.vendor, one.model, one.firmware
	}
	s.scores.mu.Unlock()
	return s.profile(config, last.vendor, last.model, last.firmware)
}

// cannotUnpack remembers that a station sends compressed frames that cannot be
// unpacked: from its next connection on it is not offered to.
func (s *Server) cannotUnpack(id event.StationID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unpacked) < maxStations {
		s.unpacked[id] = true
	}
}

// turnAway answers a guest who is not let in. One that keeps knocking is logged
// once a minute.
func (s *Server) turnAway(g *guest, r *refusal) {
	s.metrics.handshake(r.result)
	if r.status == 0 {
		s.log.Debug("handshake failed", "remote", g.remote, "err", r.why)
		return
	}
	if s.first(string(g.id) + " " + r.result) {
		level := slog.LevelDebug
		if s.remember(g, r) {
			level = slog.LevelWarn
		}
		s.log.Log(s.lobby, level, "station turned away", "station", string(g.id), "remote", g.remote, "status", r.status, "reason", r.why)
	}
	if r.event != "" {
		s.site.Refused(g.id, site.SecurityReport{Event: r.event, Info: fmt.Sprintf("%s (from %s)", r.why, host(g.remote))}, r.known)
	}
	extra := ""
	switch r.status {
	case http.StatusUnauthorized:
		extra = "WWW-Authenticate: Basic realm=\"ocpp\", charset=\"UTF-8\"\r\n"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		extra = "Retry-After: 30\r\n"
	}
	text := http.StatusText(r.status)
	_, err := fmt.Fprintf(g.conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s\n",
		r.status, text, extra, len(text)+1, text)
	if err != nil {
		s.log.Debug("refusal not sent", "remote", g.remote, "err", err)
	}
}

// Turned is somebody who was not let in.
type Turned struct {
	At     time.Time
	Name   event.StationID // that it connected with; empty: none that can be one
	Remote string
	Reason string
}

// mostTurned is how many of them are remembered, and logged in a minute: whoever
// makes up names does not fill the disk.
const mostTurned = 50

// remember keeps a guest who was not let in, and tells whether to log it.
func (s *Server) remember(g *guest, r *refusal) (loud bool) {
	t := Turned{At: s.clock.Stamp().Time, Name: g.id, Remote: g.remote, Reason: r.why}
	s.mu.Lock()
	defer s.mu.Unlock()
	loud = len(s.away) < mostTurned || t.At.Sub(s.away[0].At) > time.Minute
	s.away = append(s.away[max(0, len(s.away)-mostTurned+1):], t)
	return loud
}

// TurnedAway lists who was not let in lately, the newest first; who keeps knocking
// is there once a minute.
func (s *Server) TurnedAway() []Turned {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.away)
	slices.Reverse(list)
	return list
}

// host is the address without the port.
func host(remote string) string {
	if h, _, err := net.SplitHostPort(remote); err == nil {
		return h
	}
	return remote
}

// version names a version of TLS for the metrics.
func version(state *tls.ConnectionState) string {
	return strings.ReplaceAll(strings.ToLower(tls.VersionName(state.Version)), " ", "")
}
