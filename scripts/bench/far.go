package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/klauspost/compress/zstd"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// far is the far end of the gateway's uplink: a broker in this process and a
// manager that only acknowledges.
type far struct {
	server    *mqtt.Server
	address   string
	mu        sync.Mutex
	positions map[string]wire.Sequence
	events    atomic.Int64
	bytes     atomic.Int64

	unpacking sync.Mutex // guards what follows
	decoder   *zstd.Decoder
	plain     []byte
}

// allow lets everybody in: only the gateway under test knows the address.
type allow struct{ mqtt.HookBase }

func (*allow) ID() string                                              { return "allow" }
func (*allow) Provides(b byte) bool                                    { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }
func (*allow) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (*allow) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// newFar listens on address.
func newFar(address string) (*far, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	f := &far{address: address, positions: map[string]wire.Sequence{}, decoder: decoder}
	return f, f.start()
}

func (f *far) start() error {
	f.server = mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := f.server.AddHook(new(allow), nil); err != nil {
		return err
	}
	if err := f.server.AddListener(listeners.NewTCP(listeners.Config{ID: "bench", Address: f.address})); err != nil {
		return err
	}
	if err := f.server.Subscribe("cy/1/+/hello", 1, f.hello); err != nil {
		return err
	}
	if err := f.server.Subscribe("cy/1/+/up/+", 2, f.up); err != nil {
		return err
	}
	if err := f.server.Subscribe("cy/1/+/ask", 3, f.ask); err != nil {
		return err
	}
	return f.server.Serve()
}

func (f *far) stop() error { return f.server.Close() }

func (f *far) hello(_ *mqtt.Client, _ packets.Subscription, pk packets.Packet) {
	g, _, _, err := wire.ParseTopic(pk.TopicName)
	if err != nil {
		return
	}
	h, err := wire.Decode[wire.Hello](pk.Payload)
	if err != nil {
		return
	}
	w := wire.Welcome{Hello: h.Hello, Time: time.Now(), Incarnation: "bench", Positions: map[event.Lane]map[string]wire.Sequence{}, Desired: map[string]string{}}
	f.mu.Lock()
	for lane, streams := range h.Lanes {
		w.Positions[lane] = map[string]wire.Sequence{}
		for _, s := range streams {
			w.Positions[lane][s.Stream] = f.positions[s.Stream]
		}
	}
	f.mu.Unlock()
	f.publish(wire.Topic(g, wire.KindWelcome), w)
}

// ask accepts every token, for as long as a manager's answer usually holds.
func (f *far) ask(_ *mqtt.Client, _ packets.Subscription, pk packets.Packet) {
	g, _, _, err := wire.ParseTopic(pk.TopicName)
	if err != nil {
		return
	}
	q, err := wire.Decode[wire.Ask](pk.Payload)
	if err != nil || q.Token == nil {
		return
	}
	f.publish(wire.Topic(g, wire.KindAnswer), wire.Answer{ID: q.ID, Token: &wire.TokenEntry{Token: *q.Token, Status: "accepted"}})
}

func (f *far) up(_ *mqtt.Client, _ packets.Subscription, pk packets.Packet) {
	g, _, lane, err := wire.ParseTopic(pk.TopicName)
	if err != nil {
		return
	}
	f.bytes.Add(int64(len(pk.Payload)))
	f.unpacking.Lock()
	defer f.unpacking.Unlock()
	plain, err := f.unpack(pk.Payload)
	if err != nil {
		return
	}
	// The ids of the first and the last event suffice to acknowledge.
	key := []byte(`{"specversion":"1.0","id":"`)
	first, last := bytes.Index(plain, key), bytes.LastIndex(plain, key)
	if first < 0 {
		return
	}
	id := func(at int) (event.ID, error) {
		s := plain[at+len(key):]
		end := bytes.IndexByte(s, '"')
		return event.ParseID(string(s[:max(end, 0)]))
	}
	from, err := id(first)
	if err != nil {
		return
	}
	to, err := id(last)
	if err != nil {
		return
	}
	a, b := wire.Sequence(from.Sequence), wire.Sequence(to.Sequence)
	f.mu.Lock()
	f.positions[to.Stream] = max(b, f.positions[to.Stream])
	b = f.positions[to.Stream]
	f.mu.Unlock()
	f.events.Add(int64(to.Sequence - from.Sequence + 1))
	f.publish(wire.Topic(g, wire.KindAck, lane), wire.Ack{Stream: to.Stream, First: &a, Sequence: &b})
}

// unpack is wire.Unpack without a new buffer for each payload.
func (f *far) unpack(payload []byte) ([]byte, error) {
	if len(payload) > 0 && payload[0] == '[' {
		return payload, nil
	}
	plain, err := f.decoder.DecodeAll(payload, f.plain[:0])
	f.plain = plain
	return plain, err
}

func (f *far) publish(topic string, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		err = f.server.Publish(topic, b, false, 1)
	}
	if err != nil {
		fmt.Println("bench: far end:", err)
	}
}
