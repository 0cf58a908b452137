package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/uuid"
)

const patience = 10 * time.Second

// box is a gateway as the manager sees one: it says hello, sends batches and
// waits for their acks.
type box struct {
	id       event.GatewayID
	client   paho.Client
	stream   string
	next     uint64
	boot     string
	welcomes chan wire.Welcome
	acks     chan wire.Ack
	orders   chan wire.Order
	answers  chan wire.Answer
	sections chan wire.Desired
	lost     chan error
}

// plug connects a gateway and lets it say hello.
func plug(t testing.TB, broker string, id event.GatewayID, password string) *box {
	t.Helper()
	b := newBox(id)
	if err := b.connect(broker, password); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.client.Disconnect(50) })
	b.hello(t)
	return b
}

func newBox(id event.GatewayID) *box {
	return &box{
		id: id, stream: uuid.Must(uuid.NewV7()).String(), next: 1, boot: "boot-" + string(id),
		welcomes: make(chan wire.Welcome, 10), acks: make(chan wire.Ack, 10), orders: make(chan wire.Order, 100),
		answers: make(chan wire.Answer, 10), sections: make(chan wire.Desired, 200), lost: make(chan error, 1),
	}
}

func (b *box) connect(broker, password string) error {
	will, err := json.Marshal(wire.Status{Boot: b.boot, Connection: b.stream})
	if err != nil {
		return err
	}
	o := paho.NewClientOptions().AddBroker("tcp://"+broker).SetClientID(string(b.id)).SetUsername(string(b.id)).SetPassword(password).
		SetAutoReconnect(false).SetConnectTimeout(patience).SetBinaryWill(wire.Topic(b.id, wire.KindStatus), will, 1, true).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { b.take(m) }).
		SetConnectionLostHandler(func(_ paho.Client, err error) { b.lost <- err })
	b.client = paho.NewClient(o)
	if err := done(b.client.Connect()); err != nil {
		return err
	}
	filters := map[string]byte{}
	for _, f := range []string{"welcome", "ack/+", "cmd", "answer", "desired/+"} {
		filters[wire.Prefix+string(b.id)+"/"+f] = 1
	}
	if err := done(b.client.SubscribeMultiple(filters, nil)); err != nil {
		return err
	}
	return b.send(wire.KindStatus, "", wire.Status{Online: true, Boot: b.boot, Connection: b.stream}, true)
}

func done(t paho.Token) error {
	if !t.WaitTimeout(patience) {
		return errors.New("no answer from the broker")
	}
	return t.Error()
}

func (b *box) send(k wire.Kind, sub string, v any, retained bool) error {
	plain, err := json.Marshal(v)
	if err != nil {
		return err
	}
	topic := wire.Topic(b.id, k)
	if sub != "" {
		topic = wire.Topic(b.id, k, sub)
	}
	return done(b.client.Publish(topic, 1, retained, wire.Pack(plain)))
}

func pass[T any](to chan T, payload []byte) {
	v, err := wire.Decode[T](payload)
	if err == nil {
		to <- v
	}
}

func (b *box) take(m paho.Message) {
	_, kind, _, err := wire.ParseTopic(m.Topic())
	if err != nil {
		return
	}
	switch kind {
	case wire.KindWelcome:
		pass(b.welcomes, m.Payload())
	case wire.KindAck:
		pass(b.acks, m.Payload())
	case wire.KindCommand:
		pass(b.orders, m.Payload())
	case wire.KindAnswer:
		pass(b.answers, m.Payload())
	case wire.KindDesired:
		pass(b.sections, m.Payload())
	}
}

func get[T any](t testing.TB, from chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

func (b *box) hello(t testing.TB) wire.Welcome {
	t.Helper()
	err := b.send(wire.KindHello, "", wire.Hello{
		Hello: uuid.NewString(), Version: "1.2.3", Boot: b.boot, Connection: b.stream, Clock: event.ClockSynced, Time: time.Now(),
		Lanes: map[event.Lane][]wire.StreamSummary{event.LaneEvents: {{Stream: b.stream, Oldest: 1, Next: wire.Sequence(b.next)}}},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	return get(t, b.welcomes, "welcome")
}

// report sends events as one batch and waits until the manager has them.
func (b *box) report(t testing.TB, drafts ...event.Draft) {
	t.Helper()
	if err := b.tell(drafts...); err != nil {
		t.Fatal(err)
	}
	a := get(t, b.acks, "ack")
	if a.Refused != "" || a.Sequence == nil || uint64(*a.Sequence) != b.next-1 {
		t.Fatalf("ack %+v, want everything up to %d", a, b.next-1)
	}
}

func (b *box) tell(drafts ...event.Draft) error {
	batch := wire.NewBatcher(b.stream)
	for i := range drafts {
		d := &drafts[i]
		if d.Time.IsZero() {
			d.Time = time.Now()
		}
		d.Recorded, d.Boot, d.Clock = time.Now(), b.boot, event.ClockSynced
		tail, err := event.AppendTail(nil, b.id, d)
		if err != nil {
			return err
		}
		batch.Add(b.next, tail)
		b.next++
	}
	return done(b.client.Publish(wire.Topic(b.id, wire.KindUp, string(event.LaneEvents)), 1, false, wire.Pack(batch.Batch().JSON)))
}

func at(station event.StationID, evse int) event.Address {
	a := event.Address{Station: station, EVSE: evse}
	if evse > 0 {
		a.Connector = 1
	}
	return a
}

func wh(n int64) *int64 { return &n }

// arrive is a station that connects, boots and shows n free connectors.
func arrive(station event.StationID, n int) []event.Draft {
	out := []event.Draft{
		{Address: at(station, 0), Data: &event.StationConnected{Protocol: "ocpp1.6", Remote: "192.0.2.1:1234"}},
		{Address: at(station, 0), Data: &event.StationBooted{Protocol: "ocpp1.6", Vendor: "Nordlicht", Model: "Duo 22", Serial: fmt.Sprintf("NL-%s", station), Firmware: "4.1.7"}},
		{Address: at(station, 0), Data: &event.StationStatus{Status: event.StatusAvailable}},
	}
	for i := range n {
		out = append(out, event.Draft{Address: at(station, i+1), Data: &event.StationStatus{Status: event.StatusAvailable}})
	}
	return out
}
