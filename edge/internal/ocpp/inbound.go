package ocpp

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"github.com/chargeyard/chargeyard/shared/seam"
)

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
	var bounded io.LimitedReader
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return c.why(err)
		}
		data := buffers.Get().(*bytes.Buffer)
		bounded.R, bounded.N = r, c.server.cfg.FrameLimit+1 // the library counts what is compressed
		if _, err := data.ReadFrom(&bounded); err != nil {
			release(data)
			return c.why(err)
		}
		if bounded.N == 0 {
			release(data)
			c.farewell(websocket.CloseMessageTooBig, "frame too large")
			return c.why(websocket.ErrReadLimit)
		}
		now := time.Now()
		c.alive(now)
		if r := c.server.cfg.Recorder; r != nil {
			r.Record(c.id, true, c.Now(), data.Bytes())
		}
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
	patience := c.patience()
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
	case brokenDeflate(err): // quirk 13
		reason = "compressed frame that cannot be unpacked"
		c.Deviated("frame_compression", "", err.Error())
		c.server.cannotUnpack(c.id)
		c.farewell(websocket.CloseInvalidFramePayloadData, reason)
		return websocket.CloseInvalidFramePayloadData, reason + ": the next connection is without compression"
	case errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure:
		return closed.Code, "connection broke: " + closed.Text
	case errors.As(err, &closed):
		if closed.Text == "" {
			return closed.Code, "closed by the station"
		}
		return closed.Code, "closed by the station: " + cut(closed.Text, 200)
	case errors.As(err, &timeout) && timeout.Timeout():
		return websocket.CloseAbnormalClosure, fmt.Sprintf("nothing heard for %v", c.patience())
	case errors.Is(err, net.ErrClosed):
		return websocket.CloseAbnormalClosure, "closed"
	}
	return websocket.CloseAbnormalClosure, "connection broke: " + err.Error()
}

// brokenDeflate tells that the error of a read is that of unpacking it. A frame cut
// short by a lost connection is none: that is a CloseError.
func brokenDeflate(err error) bool {
	corrupt, inside := flate.CorruptInputError(0), flate.InternalError("")
	return errors.As(err, &corrupt) || errors.As(err, &inside) || err == io.ErrUnexpectedEOF //nolint:errorlint // not wrapped
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
	switch {
	case frame.Type == ocppj.Call, frame.Type == ocppj.Send && c.info.Protocol == ocppj.V21:
		in := newInbound(c, data, now)
		in.frame = frame
		return c.Post(in.run)
	case frame.Type == ocppj.CallResult:
		c.answered(frame.ID, answer{payload: bytes.Clone(frame.Payload)})
	case frame.Type == ocppj.CallError:
		c.answered(frame.ID, answer{err: &CallError{Code: frame.Code, Description: frame.Description}})
	case frame.Type == ocppj.CallResultError && c.info.Protocol == ocppj.V21:
		c.resultRefused(frame)
	default:
		c.unknownType(int(frame.Type), frame.ID, data)
	}
	release(data)
	return nil
}

// unknownType deals with a frame of a type that the version does not have: 1.6
// wants it ignored (OCPP-J 1.6 §4.1.3), later ones answered (OCPP 2.0.1 part 4
// §4.1.3).
func (c *Conversation) unknownType(kind int, id string, data *bytes.Buffer) {
	c.Warn("frame of a type that this version does not have", "type", kind, "id", id)
	c.Deviated("frame_type", "", head(data.Bytes()))
	if c.info.Protocol != ocppj.V16 {
		c.refuse(id, ocppj.MessageTypeNotSupported, fmt.Sprintf("message type %d is not known in %s", kind, c.info.Protocol))
	}
}

// noID stands for an id that could not be read. OCPP 2.0.1 part 4 §4.2.3.
const noID = "-1"

// refuse answers a frame, on whatever goroutine, that no dialect sees.
func (c *Conversation) refuse(id string, code ocppj.ErrorCode, description string) {
	if id == "" {
		id = noID
	}
	code = code.For(c.info.Protocol)
	c.server.metrics.refused(code)
	if err := c.write(ocppj.AppendError(nil, id, code, description, nil)); err != nil {
		c.Log().Debug("refusal not sent", "err", err)
	}
}

// resultRefused notes that the station could not use an answer of ours. OCPP 2.1
// part 4 §4.2.4.
func (c *Conversation) resultRefused(frame ocppj.Frame) {
	c.server.metrics.resultErrors.WithLabelValues("received").Inc()
	c.Warn("the station cannot use an answer of the gateway", "id", frame.ID, "code", string(frame.Code), "description", frame.Description)
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
			if damage.Type == ocppj.CallResult {
				c.RefuseResult(damage.ID, damage.Code, damage.Reason)
			}
			c.answered(damage.ID, answer{err: fmt.Errorf("damaged answer: %w", err)})
			release(data)
			return nil
		}
	case ocppj.Send: // never answered
		damage.ID = ""
	default:
		if damage.ID == "" && c.info.Protocol != ocppj.V16 {
			damage.ID = noID
		}
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
	switch {
	case in.damage != nil && c.config.Strict: // nothing of it is kept
		id, action = in.damage.ID, ""
		err = &CallError{Code: in.damage.Code, Description: in.damage.Reason}
	case in.damage != nil:
		id, action = in.damage.ID, ""
		payload, err = c.peer.Damaged(payload, in.data.Bytes(), in.damage, in.received)
	case in.frame.Repaired && c.config.Strict:
		err = &CallError{Code: ocppj.FormatViolation, Description: "the frame is not as the standard wants it"}
	default:
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
	if in.frame.Type == ocppj.Send { // OCPP 2.1 part 4 §4.2.5: never answered
		if err != nil {
			c.Warn("message without answer not taken", "action", action, "err", err)
		}
		c.server.metrics.answered(action, time.Since(in.read))
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
	if seam.Enabled { // by action too: starts and stops are rare among the others
		seam.Hit("edge.ocpp.before-answer." + action)
	}
	if err := c.write(frame); err == nil {
		c.server.metrics.answered(action, time.Since(in.read))
	}
	seam.Hit("edge.ocpp.after-answer")
	if c.shows(action) {
		c.open()
	}
}

// Deviated counts one departure of the station from what its protocol says. The
// first of its kind on this connection is logged.
func (c *Conversation) Deviated(kind, path, text string) {
	c.server.deviated(c.id, kind, path, text)
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
