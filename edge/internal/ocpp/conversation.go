package ocpp

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
)

// closeWait is how long a control frame may take.
const closeWait = time.Second

// Conversation is one connection of one station: frames in and out, in the
// framing that all versions of OCPP share. A Peer gives them their meaning.
//
// It has one goroutine, which reads. What the station says is handled on the
// station's goroutine, in the order of arrival; what the gateway asks is asked on
// the goroutine that calls Call. Pings and deadlines are timers.
type Conversation struct {
	server  *Server
	ws      *websocket.Conn
	station *site.Station
	id      event.StationID
	config  *Station // not changed
	info    site.ConnectionInfo
	profile atomic.Pointer[stationprofile.Profile] // of its model; nil: not known yet

	// Of the station's goroutine.
	peer       Peer
	connection site.Connection
	joined     bool // the site knows of the connection

	// Of the reader.
	heard time.Time // when the read deadline was set

	stopping atomic.Bool   // no frame is read any more
	ready    chan struct{} // closed when the station may be sent something
	done     chan struct{} // closed when the connection ends
	timers   [2]*time.Timer

	writing    sync.Mutex // held over one write, which has a deadline; nothing else is done under it
	writeUntil time.Time  // the deadline of writes; guarded by writing

	mu      sync.Mutex // guards what follows
	isReady bool
	ended   bool
	code    int // why it ended: the WebSocket close code
	reason  string
	busy    bool                // a CALL of ours is under way
	turns   []chan struct{}     // of those who wait to send the next one, first come first served
	pending *pending            // the CALL under way
	missed  int                 // CALLs in a row that were not answered in time
	late    []string            // ids of those that timed out last, at most keepLate
	told    map[string]struct{} // deviations that were logged
	warned  int                 // warnings about what it sent since warnedAt
	warnAt  time.Time
}

// Station returns the domain's side of the conversation. Its methods are to be
// called on its goroutine.
func (c *Conversation) Station() *site.Station { return c.station }

// Identity returns the name of the station.
func (c *Conversation) Identity() event.StationID { return c.id }

// Config returns what is configured for the station, not to be changed.
func (c *Conversation) Config() *Station { return c.config }

// Heartbeat is the period that the station is told at its boot.
func (c *Conversation) Heartbeat() time.Duration {
	if h := c.Profile().Heartbeat; h > 0 {
		return h
	}
	return c.server.cfg.Heartbeat
}

// Log returns the conversation's logger. It is made when it is needed: most
// connections have nothing to say.
func (c *Conversation) Log() *slog.Logger {
	return c.server.log.With("station", string(c.id))
}

// Now is the gateway's clock.
func (c *Conversation) Now() time.Time { return c.server.clock.Stamp().Time }

// Done is closed when the connection ends.
func (c *Conversation) Done() <-chan struct{} { return c.done }

// Post runs f on the station's goroutine; it waits for room in the inbox.
func (c *Conversation) Post(f func()) error { return c.station.Post(c.server.life, f) }

// Close ends the connection and returns at once. It is half of site.Device.
func (c *Conversation) Close(reason string) { c.hangUp(websocket.CloseNormalClosure, reason) }

// hangUp ends the connection from our side, without waiting for anybody.
func (c *Conversation) hangUp(code int, reason string) {
	if !c.end(code, reason) {
		return
	}
	c.server.work.Go(func() {
		c.farewell(code, reason)
		c.drop()
	})
}

// farewell sends the closing frame, if the station takes it within closeWait.
func (c *Conversation) farewell(code int, reason string) {
	frame := websocket.FormatCloseMessage(code, cut(reason, 123)) // RFC 6455 §5.5
	err := c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.Log().Debug("close frame not sent", "err", err)
	}
}

func (c *Conversation) drop() {
	if err := c.ws.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.Log().Debug("close socket", "err", err)
	}
}

// end marks the connection as ended and lets go whoever waits for an answer. It
// returns false when it had ended before; then the first reason stays.
func (c *Conversation) end(code int, reason string) bool {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return false
	}
	c.ended, c.code, c.reason = true, code, reason
	for _, t := range c.timers {
		if t != nil {
			t.Stop()
		}
	}
	c.mu.Unlock()
	close(c.done)
	return true
}

// run is the life of the connection, on its own goroutine.
func (c *Conversation) run() {
	defer c.server.leave(c)
	if err := c.Post(c.join); err != nil {
		c.hangUp(websocket.CloseGoingAway, "gateway stops")
		return
	}
	code, reason := c.read()
	if c.stopping.Load() {
		code, reason = websocket.CloseGoingAway, "gateway stops"
	}
	gone := make(chan struct{})
	err := c.Post(func() { // behind everything that the station said
		defer close(gone)
		c.part(code, reason)
	})
	if err != nil { // the site has stopped
		c.end(code, reason)
		c.drop()
		return
	}
	select {
	case <-gone:
	case <-c.server.life.Done():
	}
}

// Go runs f on a goroutine that the server waits for when it stops. It is for
// what takes several calls; they fail when the connection ends.
func (c *Conversation) Go(f func()) { c.server.work.Go(f) }

// join tells the site, on the station's goroutine.
func (c *Conversation) join() {
	if !c.server.newest(c) { // a newer connection was quicker
		c.hangUp(websocket.CloseNormalClosure, "a newer connection took over")
		return
	}
	if boot := c.station.Boot(); boot != (site.BootReport{}) || !c.config.own().IsZero() || c.config.StationProfile != "" {
		c.SetModel(boot.Vendor, boot.Model, boot.Firmware) // as it was at its last boot
	}
	c.wait()
	peer := c.server.dialects[c.info.Protocol].Converse(c)
	connection, err := c.station.Connected(peer, c.info)
	if err != nil {
		c.Log().Error("connection not kept, closing it", "err", err)
		c.hangUp(websocket.CloseTryAgainLater, "try again later")
		return
	}
	c.peer, c.connection, c.joined = peer, connection, true
	peer.Joined(connection)
	c.Log().Info("station connected", "remote", c.info.Remote, "protocol", c.info.Protocol, "security_profile", c.info.SecurityProfile)
}

// part tells the site that the connection is over, on the station's goroutine.
func (c *Conversation) part(code int, reason string) {
	if c.end(code, reason) && code == websocket.CloseGoingAway {
		c.farewell(code, reason)
	}
	c.drop()
	if !c.joined {
		return
	}
	c.mu.Lock()
	code, reason = c.code, c.reason
	c.mu.Unlock()
	if err := c.station.Disconnected(c.connection, code, reason); err != nil {
		c.Log().Error("end of a connection not kept", "err", err)
	}
	c.server.tellScore(c.id, c.station, scoresAfter)
	c.Log().Info("station disconnected", "code", code, "reason", reason)
}

// stop ends the reading; what was read is still answered.
func (c *Conversation) stop() {
	c.stopping.Store(true)
	c.deadline(time.Now())
}

// open lets our own calls go: the station has shown that it takes answers.
func (c *Conversation) open() {
	c.mu.Lock()
	was := c.isReady
	c.isReady = true
	if t := c.timers[1]; t != nil {
		t.Stop()
		c.timers[1] = nil
	}
	c.mu.Unlock()
	if !was {
		close(c.ready)
	}
}

// write sends one frame. A station that does not take it within WriteWait is
// hung up on: nobody else waits for it.
func (c *Conversation) write(frame []byte) error {
	wait := c.server.cfg.WriteWait
	c.writing.Lock()
	var err error
	if now := time.Now(); c.writeUntil.Sub(now) < wait { // a timer moved with every frame costs much of the frame
		c.writeUntil = now.Add(wait + wait/4)
		err = c.ws.SetWriteDeadline(c.writeUntil)
	}
	if err == nil {
		if r := c.server.cfg.Recorder; r != nil {
			r.Record(c.id, false, c.Now(), frame)
		}
		err = c.ws.WriteMessage(websocket.TextMessage, frame)
	}
	c.writing.Unlock()
	if err == nil {
		return nil
	}
	reason := "write failed: " + err.Error()
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		reason = fmt.Sprintf("does not read: a frame was not taken within %v", c.server.cfg.WriteWait)
	}
	if c.end(websocket.CloseAbnormalClosure, reason) {
		c.Log().Warn("frame not sent, closing the connection", "err", err)
	}
	c.drop()
	return err
}

// ping keeps the line busy, so that a dead one is noticed and routers in between
// do not forget it.
func (c *Conversation) ping() {
	if !stationprofile.On(c.Profile().Ping, true) { // known since the boot
		return
	}
	err := c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(closeWait))
	if err != nil {
		// A write that blocks has a deadline of its own; a dead socket ends the reader.
		c.Log().Debug("ping not sent", "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.timers[0].Reset(c.server.cfg.Ping)
	}
}

// start sets the timer of the pings going.
func (c *Conversation) start(pingIn time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	if c.server.cfg.Ping > 0 && !c.config.NoPing {
		c.timers[0] = time.AfterFunc(pingIn, c.ping)
	}
}

// wait lets our own calls go after a while, if nothing shows before that the
// station takes them.
func (c *Conversation) wait() {
	patience := c.bootWait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended && !c.isReady && patience > 0 {
		c.timers[1] = time.AfterFunc(patience, c.open)
	}
}

// cut returns at most n bytes of text, without half a character at the end.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return string(bytes.ToValidUTF8([]byte(text[:n]), nil))
}
