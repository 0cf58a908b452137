package ocpp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"github.com/chargeyard/chargeyard/shared/seam"
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

// keepLate is how many calls without an answer are remembered.
const keepLate = 4

// pending is a CALL of ours that waits for its answer.
type pending struct {
	id     string
	answer chan answer // room for one
}

// answer is what came back: a payload, or why there is none.
type answer struct {
	payload []byte
	err     error
}

// Errors of Call.
var (
	// ErrLost says that the connection ended before the answer came; whether the
	// station has acted on the call is not known.
	ErrLost = errors.New("connection lost before the answer")
	// ErrNotSent says that the connection ended before the call was sent.
	ErrNotSent = errors.New("connection lost before the call was sent")
	// ErrTimeout says that no answer came in time.
	ErrTimeout = errors.New("no answer in time")
)

// CallError is a CALLERROR, received or to be sent.
type CallError struct {
	Code        ocppj.ErrorCode
	Description string
}

// Error tells code and description.
func (e *CallError) Error() string {
	if e.Description == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Description
}

// Station returns the domain's side of the conversation. Its methods are to be
// called on its goroutine.
func (c *Conversation) Station() *site.Station { return c.station }

// Identity returns the name of the station.
func (c *Conversation) Identity() event.StationID { return c.id }

// Config returns what is configured for the station, not to be changed.
func (c *Conversation) Config() *Station { return c.config }

// Heartbeat is the period that the station is told at its boot.
func (c *Conversation) Heartbeat() time.Duration { return c.server.cfg.Heartbeat }

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
	c.Log().Info("station disconnected", "code", code, "reason", reason)
}

// inbound is a frame on its way to the station's goroutine.
type inbound struct {
	c        *Conversation
	frame    ocppj.Frame
	damage   *ocppj.ParseError // the frame could not be used
	data     *bytes.Buffer     // holds the frame's payload
	received time.Time         // by the gateway's clock
	read     time.Time         // by the monotonic clock
	run      func()
}

var (
	inbounds sync.Pool
	buffers  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	answers  = sync.Pool{New: func() any { return &[]byte{} }}
)

// keepBuffer is the largest buffer that goes back to the pool.
const keepBuffer = 64 << 10

// reuse gives a slice that was taken from the pool back, with what it has grown
// to.
func reuse(slot *[]byte, b []byte) {
	if cap(b) > keepBuffer {
		return
	}
	*slot = b[:0]
	answers.Put(slot)
}

func release(b *bytes.Buffer) {
	if b.Cap() > keepBuffer {
		return
	}
	b.Reset()
	buffers.Put(b)
}

// newInbound takes one from the pool; its run is made once.
func newInbound(c *Conversation, data *bytes.Buffer, now time.Time) *inbound {
	in, ok := inbounds.Get().(*inbound)
	if !ok {
		in = new(inbound)
		in.run = func() { in.c.handle(in) }
	}
	in.c, in.data, in.received, in.read = c, data, c.Now(), now
	return in
}

func (in *inbound) release() {
	release(in.data)
	run := in.run
	*in = inbound{run: run}
	inbounds.Put(in)
}

// read reads frames until the connection ends and returns why.
func (c *Conversation) read() (code int, reason string) {
	c.ws.SetReadLimit(c.server.cfg.FrameLimit)
	c.ws.SetPingHandler(c.pinged)
	c.ws.SetPongHandler(func(string) error {
		c.alive(time.Now())
		return nil
	})
	c.alive(time.Now())
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return c.why(err)
		}
		data := buffers.Get().(*bytes.Buffer)
		if _, err := data.ReadFrom(r); err != nil {
			release(data)
			return c.why(err)
		}
		now := time.Now()
		c.alive(now)
		if kind == websocket.BinaryMessage {
			c.Deviated("frame_binary", "", "")
		}
		if err := c.take(data, now); err != nil {
			return websocket.CloseGoingAway, "gateway stops"
		}
	}
}

// pinged answers a ping.
func (c *Conversation) pinged(data string) error {
	c.alive(time.Now())
	err := c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(closeWait))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.Log().Debug("pong not sent", "err", err)
	}
	return nil
}

// alive moves the read deadline: any frame is a sign of life. A missing pong
// alone is none of death, since some stations cannot pong.
func (c *Conversation) alive(now time.Time) {
	c.station.Heard()
	patience := c.server.cfg.readDeadline()
	step := min(5*time.Second, patience/8) // a timer moved with every frame costs much of the frame
	if now.Sub(c.heard) < step {
		return
	}
	c.heard = now
	c.deadline(now.Add(patience + step))
	if c.stopping.Load() {
		c.deadline(now)
	}
}

func (c *Conversation) deadline(t time.Time) {
	if err := c.ws.SetReadDeadline(t); err != nil {
		c.Log().Debug("read deadline not set", "err", err)
	}
}

// stop ends the reading; what was read is still answered.
func (c *Conversation) stop() {
	c.stopping.Store(true)
	c.deadline(time.Now())
}

// why turns the error of a read into a close code and a reason. A frame over the
// limit has been answered with 1009 by the library.
func (c *Conversation) why(err error) (code int, reason string) {
	var closed *websocket.CloseError
	var timeout net.Error
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		reason = fmt.Sprintf("frame larger than %d bytes", c.server.cfg.FrameLimit)
		c.Log().Warn("frame over the limit, closing the connection", "limit", c.server.cfg.FrameLimit)
		c.Deviated("frame_too_large", "", reason)
		c.keep(site.DataReport{Reason: reason})
		c.swallow()
		return websocket.CloseMessageTooBig, reason
	case errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure:
		return closed.Code, "connection broke: " + closed.Text
	case errors.As(err, &closed):
		if closed.Text == "" {
			return closed.Code, "closed by the station"
		}
		return closed.Code, "closed by the station: " + cut(closed.Text, 200)
	case errors.As(err, &timeout) && timeout.Timeout():
		return websocket.CloseAbnormalClosure, fmt.Sprintf("nothing heard for %v", c.server.cfg.readDeadline())
	case errors.Is(err, net.ErrClosed):
		return websocket.CloseAbnormalClosure, "closed"
	}
	return websocket.CloseAbnormalClosure, "connection broke: " + err.Error()
}

// swallow reads what is left of a frame over the limit, within bounds: a socket
// closed with bytes unread is reset, and the station would never see the 1009.
func (c *Conversation) swallow() {
	const most, wait = 32 << 20, 2 * time.Second
	raw := c.ws.NetConn()
	if err := raw.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return
	}
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return
		}
	}
	scrap := make([]byte, 16<<10)
	for left := most; left > 0; {
		n, err := raw.Read(scrap)
		if err != nil {
			return
		}
		left -= n
	}
}

// take parses one frame and hands it over. The error says that the site has
// stopped; a frame that cannot be used is none.
func (c *Conversation) take(data *bytes.Buffer, now time.Time) error {
	frame, err := ocppj.Parse(data.Bytes())
	if err != nil {
		return c.damaged(data, now, err)
	}
	if frame.Repaired {
		c.Deviated("frame_repaired", "", head(data.Bytes()))
	}
	switch frame.Type {
	case ocppj.Call:
		in := newInbound(c, data, now)
		in.frame = frame
		return c.Post(in.run)
	case ocppj.CallResult:
		c.answered(frame.ID, answer{payload: bytes.Clone(frame.Payload)})
	case ocppj.CallError:
		c.answered(frame.ID, answer{err: &CallError{Code: frame.Code, Description: frame.Description}})
	default: // of 2.1
		c.unknownType(int(frame.Type), frame.ID, data)
	}
	release(data)
	return nil
}

// unknownType notes a frame of a type that the version does not have.
func (c *Conversation) unknownType(kind int, id string, data *bytes.Buffer) {
	c.Warn("frame of a type that this version does not have, ignored", "type", kind, "id", id)
	c.Deviated("frame_type", "", head(data.Bytes()))
}

// damaged deals with a frame that could not be parsed: an answer ends the call
// that it was meant for, everything else goes on to the station's goroutine.
func (c *Conversation) damaged(data *bytes.Buffer, now time.Time, err error) error {
	damage := new(ocppj.ParseError)
	if !errors.As(err, &damage) {
		damage.Code, damage.Reason = ocppj.InternalError, err.Error()
	}
	if damage.Code == ocppj.MessageTypeNotSupported { // OCPP-J 1.6 §4.1.3: to be ignored
		c.unknownType(int(damage.Type), damage.ID, data)
		release(data)
		return nil
	}
	c.Warn("damaged frame", "err", err, "bytes", data.Len(), "frame", head(data.Bytes()))
	c.Deviated("frame_damaged", "", head(data.Bytes()))
	switch damage.Type {
	case ocppj.CallResult, ocppj.CallError, ocppj.CallResultError:
		if damage.ID != "" {
			c.answered(damage.ID, answer{err: fmt.Errorf("damaged answer: %w", err)})
			release(data)
			return nil
		}
	case ocppj.Send: // never answered
		damage.ID = ""
	}
	in := newInbound(c, data, now)
	in.damage = damage
	return c.Post(in.run)
}

// handle answers one CALL, on the station's goroutine. What the station said is
// dealt with even when the connection is gone: some reset themselves right after
// the last message.
func (c *Conversation) handle(in *inbound) {
	defer in.release()
	if !c.joined {
		return
	}
	body, whole := answers.Get().(*[]byte), answers.Get().(*[]byte)
	payload, frame := *body, *whole
	defer func() {
		reuse(body, payload)
		reuse(whole, frame)
	}()

	var err error
	id, action := in.frame.ID, in.frame.Action
	if in.damage != nil {
		id, action = in.damage.ID, ""
		payload, err = c.peer.Damaged(payload, in.data.Bytes(), in.damage, in.received)
	} else {
		payload, err = c.peer.Handle(payload, action, in.frame.Payload, in.received)
	}
	if errors.Is(err, site.ErrNotKept) {
		// Unanswered, a station discards after its attempts; offline, it queues.
		c.Log().Error("message not kept, closing the connection", "action", action, "err", err)
		c.server.metrics.notKept.Inc()
		now := time.Now()
		c.server.notKept.Store(&now)
		c.hangUp(websocket.CloseTryAgainLater, "try again later")
		return
	}
	if id == "" {
		return
	}
	if err == nil {
		frame = ocppj.AppendResult(frame, id, payload)
	} else {
		refusal := new(CallError)
		if !errors.As(err, &refusal) {
			c.Log().Error("message not handled", "action", action, "err", err)
			refusal.Code = ocppj.InternalError
		}
		code := refusal.Code.For(c.info.Protocol)
		frame = ocppj.AppendError(frame, id, code, refusal.Description, nil)
		c.server.metrics.refused(code)
	}
	seam.Hit("edge.ocpp.before-answer")
	if err := c.write(frame); err == nil {
		c.server.metrics.answered(action, time.Since(in.read))
	}
	seam.Hit("edge.ocpp.after-answer")
	c.open()
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

// Call sends a CALL and waits for the answer to it: at most one is under way,
// the others wait in the order in which they came. sent is called as soon as it
// has been sent; it may be nil. The payload that comes back is the caller's.
//
// The error is ErrNotSent, ErrLost, ErrTimeout, a *CallError, or that of a
// damaged answer.
func (c *Conversation) Call(action string, payload []byte, sent func()) ([]byte, error) {
	<-c.queue() // those before it give up soon when the connection ends
	defer c.next()
	select {
	case <-c.ready:
	case <-c.done:
	}
	select {
	case <-c.done:
		return nil, ErrNotSent
	default:
	}

	p := &pending{id: uuid.NewString(), answer: make(chan answer, 1)}
	c.mu.Lock()
	c.pending = p
	c.mu.Unlock()
	if err := c.write(ocppj.AppendCall(nil, p.id, action, payload)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	c.server.metrics.called(action)
	if sent != nil {
		sent()
	}
	timeout := time.NewTimer(c.timeout())
	defer timeout.Stop()
	select {
	case a := <-p.answer:
		return a.payload, a.err
	case <-c.done:
		return nil, ErrLost
	case <-timeout.C:
		return c.miss(p, action)
	}
}

func (c *Conversation) timeout() time.Duration {
	if c.config.Timeout > 0 {
		return c.config.Timeout
	}
	return c.server.cfg.Timeout
}

// queue takes a place in the order of our calls; the channel is closed when it
// is the first.
func (c *Conversation) queue() chan struct{} {
	turn := make(chan struct{})
	c.mu.Lock()
	free := !c.busy
	c.busy = true
	if !free {
		c.turns = append(c.turns, turn)
	}
	c.mu.Unlock()
	if free {
		close(turn)
	}
	return turn
}

// next lets the next of our calls go.
func (c *Conversation) next() {
	c.mu.Lock()
	c.pending = nil
	var turn chan struct{}
	if len(c.turns) > 0 {
		turn, c.turns = c.turns[0], c.turns[1:]
	} else {
		c.busy, c.turns = false, nil
	}
	c.mu.Unlock()
	if turn != nil {
		close(turn)
	}
}

// miss gives a call up. After several in a row the connection is closed: some
// stations answer nothing any more until they reconnect.
func (c *Conversation) miss(p *pending, action string) ([]byte, error) {
	c.mu.Lock()
	c.pending = nil
	if len(c.late) == keepLate {
		c.late = c.late[:copy(c.late, c.late[1:])]
	}
	c.late = append(c.late, p.id)
	c.missed++
	missed := c.missed
	c.mu.Unlock()
	select {
	case a := <-p.answer: // it came in the meantime
		return a.payload, a.err
	default:
	}
	c.server.metrics.timeouts.Inc()
	c.Log().Warn("no answer in time", "action", action, "id", p.id, "timeout", c.timeout().String())
	if missed >= c.server.cfg.TimeoutsToClose {
		c.hangUp(websocket.CloseGoingAway, fmt.Sprintf("no answer to %d calls in a row", missed))
	}
	return nil, fmt.Errorf("%w: %s after %v", ErrTimeout, action, c.timeout())
}

// answered hands an answer to the call that waits for it. Answers to nobody are
// logged, counted and dropped; they never touch the call under way.
func (c *Conversation) answered(id string, a answer) {
	c.mu.Lock()
	p := c.pending
	if p != nil && p.id == id {
		c.pending, c.missed = nil, 0
		c.mu.Unlock()
		p.answer <- a
		return
	}
	late := slices.Contains(c.late, id)
	if late {
		c.missed = 0 // slow, not dumb
	}
	c.mu.Unlock()
	if late {
		c.Warn("late answer, dropped", "id", id)
		c.Deviated("answer_late", "", id)
		return
	}
	c.Warn("answer to nobody, dropped", "id", id, "err", a.err)
	c.Deviated("answer_unknown", "", id)
}

// ping keeps the line busy, so that a dead one is noticed and routers in between
// do not forget it.
func (c *Conversation) ping() {
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

// start sets the timers going.
func (c *Conversation) start(pingIn time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	if c.server.cfg.Ping > 0 && !c.config.NoPing {
		c.timers[0] = time.AfterFunc(pingIn, c.ping)
	}
	if c.server.cfg.BootWait > 0 {
		c.timers[1] = time.AfterFunc(c.server.cfg.BootWait, c.open)
	}
}

// Deviated counts one departure of the station from what its protocol says. The
// first of its kind on this connection is logged.
func (c *Conversation) Deviated(kind, path, text string) {
	c.server.metrics.deviated(c.id, kind)
	c.mu.Lock()
	_, told := c.told[kind]
	if !told {
		if c.told == nil {
			c.told = map[string]struct{}{}
		}
		c.told[kind] = struct{}{}
	}
	c.mu.Unlock()
	level := slog.LevelDebug
	if !told {
		level = slog.LevelInfo
	}
	c.Log().Log(context.Background(), level, "deviation", "kind", kind, "path", path, "text", text)
}

// Warn logs something wrong about what the station sent. One that does nothing
// else does not fill the disk: after some lines a minute they are for debugging
// only, and the counters tell the rest.
func (c *Conversation) Warn(message string, args ...any) {
	const most, pause = 10, time.Minute
	now := time.Now()
	level := slog.LevelWarn
	c.mu.Lock()
	if now.Sub(c.warnAt) >= pause {
		c.warnAt, c.warned = now, 0
	}
	c.warned++
	if c.warned > most {
		level = slog.LevelDebug
	}
	c.mu.Unlock()
	c.Log().Log(context.Background(), level, message, args...) //nolint:sloglint // the callers' are constant
}

// DeviatedIn counts the departures of a payload of action.
func (c *Conversation) DeviatedIn(action string, found []lenient.Deviation) {
	for i := range found {
		c.Deviated(string(found[i].Kind), action+"."+found[i].Path, found[i].Text)
	}
}

// keep reports something that has no other event, from outside the station's
// goroutine.
func (c *Conversation) keep(d site.DataReport) {
	err := c.Post(func() {
		if !c.joined {
			return
		}
		if err := c.station.Data(d); err != nil {
			c.Log().Error("data not kept", "err", err)
		}
	})
	if err != nil {
		c.Log().Debug("data not kept", "err", err)
	}
}

// head returns the beginning of a frame for a log line.
func head(data []byte) string {
	const most = 200
	if len(data) > most {
		return string(bytes.ToValidUTF8(data[:most], []byte("\uFFFD"))) + "…"
	}
	return string(bytes.ToValidUTF8(data, []byte("\uFFFD")))
}

// cut returns at most n bytes of text, without half a character at the end.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return string(bytes.ToValidUTF8([]byte(text[:n]), nil))
}
