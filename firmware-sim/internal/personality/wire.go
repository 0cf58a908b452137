package personality

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"github.com/google/uuid"
)

// object is a JSON object.
type object = map[string]any

// frame is a frame on its way. Of an answer, Action is that of its call.
type frame struct {
	Type    ocppj.MessageType
	ID      string
	Action  string
	Payload object
	raw     []byte // as it came; what is sent when nobody has changed it
	changed bool
}

func read(data []byte) (*frame, bool) {
	f, err := ocppj.Parse(data)
	if err != nil {
		return nil, false
	}
	out := &frame{Type: f.Type, ID: f.ID, Action: f.Action, raw: slices.Clone(data)}
	decoder := json.NewDecoder(bytes.NewReader(f.Payload))
	decoder.UseNumber()
	if len(f.Payload) > 0 && decoder.Decode(&out.Payload) != nil {
		return nil, false
	}
	return out, true
}

// bytes is the frame as it goes on the wire.
func (f *frame) bytes() []byte {
	if !f.changed {
		return f.raw
	}
	payload, err := json.Marshal(f.Payload)
	if err != nil {
		return f.raw
	}
	switch f.Type {
	case ocppj.Call:
		return ocppj.AppendCall(nil, f.ID, f.Action, payload)
	case ocppj.CallResult:
		return ocppj.AppendResult(nil, f.ID, payload)
	case ocppj.Send:
		return ocppj.AppendSend(nil, f.ID, f.Action, payload)
	}
	return f.raw
}

// set changes a field of the payload.
func (f *frame) set(key string, value any) {
	f.Payload[key] = value
	f.changed = true
}

// text is a field that is a text, or what is written of a number.
func text(o object, key string) string {
	switch v := o[key].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// within returns an object in an object, nil when it is not there.
func within(o object, key string) object {
	inner, _ := o[key].(object)
	return inner
}

// items returns the objects of a list.
func items(o object, key string) []object {
	list, _ := o[key].([]any)
	var all []object
	for _, item := range list {
		if inner, ok := item.(object); ok {
			all = append(all, inner)
		}
	}
	return all
}

// wire is what lies between one charger and the far end. Its hooks change frames
// or take them away; they and its memory are guarded by mu.
type wire struct {
	mu      sync.Mutex
	version string
	pause   time.Duration
	began   time.Time
	asked   map[string]*frame // CALLs of the charger, by id
	ordered map[string]*frame // CALLs of the far end, by id
	own     map[string]bool   // ids of CALLs of the personality itself

	connected func(c *conn)
	// call, answer: of the charger. They return the frames that go out.
	call   func(c *conn, f *frame) []*frame
	answer func(c *conn, f *frame) []*frame
	// sent is called after the frames of a call went out.
	sent func(c *conn, f *frame)
	// order, result: of the far end. They return the frames that come in.
	order  func(c *conn, f *frame) []*frame
	result func(c *conn, f *frame) []*frame
	// raw changes the text of what goes out, at the very end.
	raw func(f *frame, data []byte) []byte
}

// conn is one connection with the personality between.
type conn struct {
	wire  *wire
	inner charger.Conn
	in    chan []byte
	ended chan struct{} // the inner connection has
	cut   chan struct{}
	once  sync.Once
	write sync.Mutex
	fault error // of reading; set before ended is closed
}

func (w *wire) connect(inner charger.Conn) *conn {
	c := &conn{wire: w, inner: inner, in: make(chan []byte, 64), ended: make(chan struct{}), cut: make(chan struct{})}
	w.mu.Lock()
	clear(w.asked)
	clear(w.ordered)
	clear(w.own)
	if w.connected != nil {
		w.connected(c)
	}
	w.mu.Unlock()
	go c.pump()
	return c
}

// pump takes what comes until the connection ends.
func (c *conn) pump() {
	defer close(c.ended)
	for {
		data, err := c.inner.Read()
		if err != nil {
			c.fault = err
			return
		}
		for _, f := range c.came(data) {
			select {
			case c.in <- f:
			case <-c.cut:
				c.fault = io.EOF
				return
			}
		}
	}
}

// came is a frame of the far end.
func (c *conn) came(data []byte) [][]byte {
	f, ok := read(data)
	if !ok {
		return [][]byte{slices.Clone(data)}
	}
	w := c.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.own[f.ID] && f.Type != ocppj.Call { // the answer to something that the charger does not know of
		delete(w.own, f.ID)
		if w.asked[f.ID] == nil {
			return nil
		}
	}
	all := []*frame{f}
	switch f.Type {
	case ocppj.Call:
		w.ordered[f.ID] = f
		if w.order != nil {
			all = w.order(c, f)
		}
	case ocppj.CallResult, ocppj.CallError:
		if asked := w.asked[f.ID]; asked != nil {
			f.Action = asked.Action
		}
		if w.result != nil {
			all = w.result(c, f)
		}
		delete(w.asked, f.ID)
	}
	return encoded(all)
}

func encoded(all []*frame) [][]byte {
	var out [][]byte
	for _, f := range all {
		out = append(out, f.bytes())
	}
	return out
}

// Read returns what the far end, or the personality in its name, has to say.
func (c *conn) Read() ([]byte, error) {
	select {
	case data := <-c.in:
		return data, nil
	case <-c.ended:
		select {
		case data := <-c.in:
			return data, nil
		default:
		}
		if c.fault == nil {
			return nil, io.EOF
		}
		return nil, c.fault
	}
}

// Write is what the charger says.
func (c *conn) Write(data []byte) error {
	f, ok := read(data)
	if !ok {
		return c.put(nil, data)
	}
	w := c.wire
	w.mu.Lock()
	all := []*frame{f}
	switch f.Type {
	case ocppj.Call:
		w.asked[f.ID] = f
		if w.call != nil {
			all = w.call(c, f)
		}
	case ocppj.CallResult, ocppj.CallError:
		if ordered := w.ordered[f.ID]; ordered != nil {
			f.Action = ordered.Action
		}
		delete(w.ordered, f.ID)
		if w.answer != nil {
			all = w.answer(c, f)
		}
	}
	w.mu.Unlock()
	for _, out := range all {
		if err := c.put(out, out.bytes()); err != nil {
			return err
		}
	}
	if w.sent != nil && f.Type == ocppj.Call {
		w.sent(c, f)
	}
	return nil
}

// put writes to the wire.
func (c *conn) put(f *frame, data []byte) error {
	if f != nil && c.wire.raw != nil {
		data = c.wire.raw(f, data)
	}
	c.write.Lock()
	defer c.write.Unlock()
	return c.inner.Write(data)
}

// later writes frames after a while, unless the connection ends before.
func (c *conn) later(wait time.Duration, frames ...*frame) {
	c.after(wait, func() {
		for _, f := range frames {
			if c.put(f, f.bytes()) != nil {
				return // the charger will learn of it
			}
		}
	})
}

// after does something after a while, unless the connection ends before.
func (c *conn) after(wait time.Duration, do func()) {
	go func() {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			do()
		case <-c.ended:
		case <-c.cut:
		}
	}()
}

// pretend lets a frame come in that the far end did not send.
func (c *conn) pretend(data []byte) {
	go func() {
		select {
		case c.in <- data:
		case <-c.ended:
		case <-c.cut:
		}
	}()
}

// again makes a copy of a call that the charger does not know of.
func (w *wire) again(f *frame, id string) *frame {
	twin := &frame{Type: f.Type, ID: id, Action: f.Action, Payload: clone(f.Payload), changed: true}
	w.own[id] = true
	return twin
}

func clone(o object) object {
	b, err := json.Marshal(o)
	if err != nil {
		return o
	}
	var out object
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	if decoder.Decode(&out) != nil {
		return o
	}
	return out
}

// Ping sends a ping.
func (c *conn) Ping(patience time.Duration) error { return c.inner.Ping(patience) }

// Close says goodbye.
func (c *conn) Close(reason string) error {
	c.once.Do(func() { close(c.cut) })
	err := c.inner.Close(reason)
	<-c.ended
	return err
}

// Cut ends the connection without a word.
func (c *conn) Cut() error {
	c.once.Do(func() { close(c.cut) })
	err := c.inner.Cut()
	<-c.ended
	return err
}

func newID() string { return uuid.NewString() }

func number(v float64) json.Number {
	return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
}
