package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/broker"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	paho "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 5 * time.Second

// directory knows gateways and their passwords.
type directory struct {
	mu      sync.Mutex
	hashes  map[event.GatewayID]string
	knocked []event.GatewayID
	err     error
}

func (d *directory) GatewaySecret(_ context.Context, id event.GatewayID) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return "", d.err
	}
	h, ok := d.hashes[id]
	if !ok {
		return "", fleet.ErrNotFound
	}
	return h, nil
}

func (d *directory) Knocked(_ context.Context, id event.GatewayID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.knocked = append(d.knocked, id)
	return nil
}

type message struct{ topic, payload string }

// start runs a broker that knows gw-1 and gw-2, both with the password "secret".
func start(t *testing.T) (b *broker.Broker, d *directory, url string, heard <-chan message) {
	t.Helper()
	hash := broker.HashSecret("secret")
	d = &directory{hashes: map[event.GatewayID]string{"gw-1": hash, "gw-2": hash}}
	messages := make(chan message, 100)
	b, err := broker.New(broker.Config{Listen: "127.0.0.1:0"}, d,
		func(topic string, payload []byte) {
			if strings.HasPrefix(string(payload), "offline") {
				time.Sleep(20 * time.Millisecond) // as if the old connection took its time to end
			}
			messages <- message{topic, string(payload)}
		}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-b.Listening():
	case err := <-ended:
		t.Fatal(err)
	}
	return b, d, "tcp://" + b.Addresses()[0], messages
}

type client struct {
	paho.Client
	got  chan message
	lost chan error
}

// dial connects as a gateway does; change may change its ways.
func dial(t *testing.T, url, user string, change func(*paho.ClientOptions)) (*client, error) {
	t.Helper()
	c := &client{got: make(chan message, 100), lost: make(chan error, 1)}
	o := paho.NewClientOptions().AddBroker(url).SetClientID(user).SetUsername(user).SetPassword("secret").
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(patience).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { c.got <- message{m.Topic(), string(m.Payload())} }).
		SetConnectionLostHandler(func(_ paho.Client, err error) { c.lost <- err })
	if change != nil {
		change(o)
	}
	c.Client = paho.NewClient(o)
	token := c.Connect()
	if !token.WaitTimeout(patience) {
		t.Fatal("no answer to CONNECT")
	}
	t.Cleanup(func() { c.Disconnect(10) })
	return c, token.Error()
}

func mustDial(t *testing.T, url, user string, change func(*paho.ClientOptions)) *client {
	t.Helper()
	c, err := dial(t, url, user, change)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func receive(t *testing.T, from <-chan message) message {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return message{}
	}
}

func TestConnect(t *testing.T) {
	tests := []struct {
		name   string
		user   string
		change func(*paho.ClientOptions)
		broken error
		ok     bool
		knocks bool
	}{
		{name: "a gateway", user: "gw-1", ok: true},
		{name: "wrong password", user: "gw-1", change: func(o *paho.ClientOptions) { o.SetPassword("other") }},
		{name: "no password", user: "gw-1", change: func(o *paho.ClientOptions) { o.SetPassword("") }},
		{name: "another's client id", user: "gw-1", change: func(o *paho.ClientOptions) { o.SetClientID("gw-2") }},
		{name: "no user", user: "gw-1", change: func(o *paho.ClientOptions) { o.SetUsername("") }},
		{name: "unknown gateway", user: "gw-9", knocks: true},
		{name: "not a gateway's name", user: "GW 1"},
		{name: "the manager's name", user: "inline"},
		{name: "an empty name", user: ""},
		{name: "a will about itself", user: "gw-1", ok: true, change: func(o *paho.ClientOptions) { o.SetWill("cy/1/gw-1/status", "{}", 1, true) }},
		{name: "a will about another", user: "gw-1", change: func(o *paho.ClientOptions) { o.SetWill("cy/1/gw-2/status", "{}", 1, true) }},
		{name: "a will as the manager", user: "gw-1", change: func(o *paho.ClientOptions) { o.SetWill("cy/1/gw-1/cmd", "{}", 1, true) }},
		{name: "no clean session", user: "gw-1", ok: true, change: func(o *paho.ClientOptions) { o.SetCleanSession(false) }},
		{name: "database away", user: "gw-1", broken: errors.New("away")},
	}
	_, d, url, _ := start(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d.mu.Lock()
			d.err, d.knocked = tt.broken, nil
			d.mu.Unlock()
			_, err := dial(t, url, tt.user, tt.change)
			if (err == nil) != tt.ok {
				t.Errorf("connect: %v, want ok %v", err, tt.ok)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if (len(d.knocked) > 0) != tt.knocks {
				t.Errorf("knocked: %v, want %v", d.knocked, tt.knocks)
			}
		})
	}
}

// TestTopics goes through what a gateway may do on its own tree and on others.
func TestTopics(t *testing.T) {
	b, _, url, heard := start(t)
	publish := []struct {
		topic string
		ok    bool
	}{
		{"cy/1/gw-1/hello", true},
		{"cy/1/gw-1/up/events", true},
		{"cy/1/gw-1/up/samples", true},
		{"cy/1/gw-1/ask", true},
		{"cy/1/gw-1/live", true},
		{"cy/1/gw-1/status", true},
		{"cy/1/gw-1/up", false},
		{"cy/1/gw-1/up/events/more", false},
		{"cy/1/gw-1/hello/x", false},
		{"cy/1/gw-1/ack/events", false},
		{"cy/1/gw-1/welcome", false},
		{"cy/1/gw-1/cmd", false},
		{"cy/1/gw-1/answer", false},
		{"cy/1/gw-1/desired/site", false},
		{"cy/1/gw-2/up/events", false},
		{"cy/1/gw-2/hello", false},
		{"cy/1/gw-10/hello", false},
		{"other", false},
	}
	for _, tt := range publish {
		t.Run("publish "+tt.topic, func(t *testing.T) {
			c := mustDial(t, url, "gw-1", nil)
			c.Publish(tt.topic, 1, false, "x")
			// The next message proves that the one before has been dealt with; a
			// forbidden one costs the connection.
			c.Publish("cy/1/gw-1/up/events", 1, false, "after")
			if tt.ok {
				if m := receive(t, heard); m.topic != tt.topic || m.payload != "x" {
					t.Errorf("the manager heard %+v", m)
				}
				if m := receive(t, heard); m.payload != "after" {
					t.Errorf("the manager heard %+v", m)
				}
				return
			}
			select {
			case <-c.lost:
			case <-time.After(patience):
				t.Error("the connection lives on")
			}
			select {
			case m := <-heard:
				t.Errorf("the manager heard %+v", m)
			default:
			}
		})
	}
	subscribe := []struct {
		filter, topic string
		ok            bool
	}{
		{"cy/1/gw-1/ack/+", "cy/1/gw-1/ack/events", true},
		{"cy/1/gw-1/ack/samples", "cy/1/gw-1/ack/samples", true},
		{"cy/1/gw-1/welcome", "cy/1/gw-1/welcome", true},
		{"cy/1/gw-1/cmd", "cy/1/gw-1/cmd", true},
		{"cy/1/gw-1/answer", "cy/1/gw-1/answer", true},
		{"cy/1/gw-1/desired/+", "cy/1/gw-1/desired/tokens-3f", true},
		{"cy/1/gw-1/status", "cy/1/gw-1/status", true},
		{"cy/1/gw-1/#", "cy/1/gw-1/cmd", false},
		{"cy/1/gw-1/+", "cy/1/gw-1/cmd", false},
		{"cy/1/gw-1/desired/#", "cy/1/gw-1/desired/site", false},
		{"cy/1/gw-1/hello", "cy/1/gw-1/hello", false},
		{"cy/1/gw-1/up/+", "cy/1/gw-1/up/events", false},
		{"cy/1/+/cmd", "cy/1/gw-2/cmd", false},
		{"cy/1/gw-2/cmd", "cy/1/gw-2/cmd", false},
		{"#", "cy/1/gw-2/cmd", false},
		{"$share/managers/cy/1/+/up/+", "cy/1/gw-2/up/events", false},
		{"$SYS/#", "$SYS/broker/version", false},
	}
	for _, tt := range subscribe {
		t.Run("subscribe "+tt.filter, func(t *testing.T) {
			c := mustDial(t, url, "gw-1", nil)
			token := c.Subscribe(tt.filter, 1, nil)
			if !token.WaitTimeout(patience) {
				t.Fatal("no answer to SUBSCRIBE")
			}
			code := byte(0x80)
			for _, code = range token.(*paho.SubscribeToken).Result() { // the library may cut $share off the key
			}
			if (code != 0x80) != tt.ok {
				t.Errorf("answer %#x, want ok %v", code, tt.ok)
			}
			if !c.Subscribe("cy/1/gw-1/answer", 1, nil).WaitTimeout(patience) {
				t.Fatal("no answer to SUBSCRIBE")
			}
			for _, topic := range []string{tt.topic, "cy/1/gw-1/answer"} {
				if err := b.Publish(topic, []byte("x"), 1, false); err != nil {
					t.Fatal(err)
				}
			}
			m := receive(t, c.got)
			if (m.topic == tt.topic) != tt.ok {
				t.Errorf("got %+v, want that of %s %v", m, tt.topic, tt.ok)
			}
			for len(heard) > 0 { // what the manager itself published on topics that it listens to
				<-heard
			}
		})
	}
}

// TestStatusIsRetained: a status waits for whoever comes later, nothing else
// does, whatever a gateway wishes.
func TestStatusIsRetained(t *testing.T) {
	_, _, url, heard := start(t)
	c := mustDial(t, url, "gw-1", nil)
	for _, topic := range []string{"cy/1/gw-1/up/events", "cy/1/gw-1/status"} {
		if !c.Publish(topic, 1, true, topic).WaitTimeout(patience) {
			t.Fatal("no PUBACK")
		}
		receive(t, heard)
	}
	c.Disconnect(100)
	c = mustDial(t, url, "gw-1", nil)
	c.Subscribe("cy/1/gw-1/status", 1, nil)
	if m := receive(t, c.got); m.topic != "cy/1/gw-1/status" {
		t.Errorf("retained: %+v", m)
	}
}

// TestNewestConnectionWins: the old one ends, its last will comes before
// anything of the new one, and the new one loses nothing, however quickly they
// follow each other.
func TestNewestConnectionWins(t *testing.T) {
	b, _, url, heard := start(t)
	var before *client
	for i := range 20 {
		will := fmt.Sprintf("offline %d", i)
		c := mustDial(t, url, "gw-1", func(o *paho.ClientOptions) { o.SetWill("cy/1/gw-1/status", will, 1, true) })
		if before != nil {
			select {
			case m := <-heard:
				if m.payload != fmt.Sprintf("offline %d", i-1) {
					t.Fatalf("connection %d: first came %+v", i, m)
				}
			default:
				t.Fatalf("connection %d is in before the old one is out", i)
			}
			select {
			case <-before.lost:
			case <-time.After(patience):
				t.Fatal("the old connection lives on")
			}
		}
		if !c.Subscribe("cy/1/gw-1/cmd", 1, nil).WaitTimeout(patience) {
			t.Fatal("no answer to SUBSCRIBE")
		}
		if err := b.Publish("cy/1/gw-1/cmd", []byte(will), 1, false); err != nil {
			t.Fatal(err)
		}
		if m := receive(t, c.got); m.payload != will {
			t.Fatalf("connection %d got %+v", i, m)
		}
		before = c
	}
}

// TestLargeMessage: what is larger than the contract allows is for the manager
// to refuse by name.
func TestLargeMessage(t *testing.T) {
	_, _, url, heard := start(t)
	c := mustDial(t, url, "gw-1", nil)
	c.Publish("cy/1/gw-1/up/events", 1, false, strings.Repeat("x", 200<<10))
	if m := receive(t, heard); len(m.payload) != 200<<10 {
		t.Errorf("%d bytes came", len(m.payload))
	}
	c.Publish("cy/1/gw-1/up/events", 1, false, strings.Repeat("x", 300<<10))
	select {
	case <-c.lost:
	case <-time.After(patience):
		t.Error("the connection lives on")
	}
}
