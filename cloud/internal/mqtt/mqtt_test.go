package mqtt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/mqtt"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// guard lets the manager in, and refuses subscriptions when told to.
type guard struct {
	mochi.HookBase
	mu     sync.Mutex
	refuse string // a part of a filter
}

func (g *guard) ID() string { return "guard" }

func (g *guard) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (g *guard) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	return string(cl.Properties.Username) == "manager" && string(pk.Connect.Password) == "secret"
}

func (g *guard) OnACLCheck(_ *mochi.Client, topic string, _ bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse == "" || !strings.Contains(topic, g.refuse)
}

// broker starts a broker on addr; the second function ends it.
func broker(t *testing.T, addr string, conf *tls.Config, g *guard) (string, *mochi.Server, func()) {
	t.Helper()
	s := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(g, nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr, TLSConfig: conf})
	if err := s.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l.Address(), s, stop
}

type message struct{ topic, payload string }

// failures counts the attempts that failed, by the warnings about them.
type failures struct {
	slog.Handler
	n atomic.Int64
}

func (f *failures) Enabled(context.Context, slog.Level) bool { return true }
func (f *failures) WithAttrs([]slog.Attr) slog.Handler       { return f }

func (f *failures) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		f.n.Add(1)
	}
	return nil
}

// fail waits until a bus has failed to connect.
func fail(t *testing.T, cfg mqtt.Config) *mqtt.Bus {
	t.Helper()
	f := &failures{Handler: slog.DiscardHandler}
	b, _ := start(t, cfg, f)
	eventually(t, "an attempt fails", func() bool { return f.n.Load() > 0 })
	if b.Ready() == nil {
		t.Error("ready after a failure")
	}
	return b
}

func run(t *testing.T, cfg mqtt.Config) (*mqtt.Bus, <-chan message) {
	t.Helper()
	return start(t, cfg, slog.DiscardHandler)
}

func start(t *testing.T, cfg mqtt.Config, log slog.Handler) (*mqtt.Bus, <-chan message) {
	t.Helper()
	heard := make(chan message, 1000)
	b, err := mqtt.New(cfg, func(topic string, payload []byte) { heard <- message{topic, string(payload)} }, slog.New(log))
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
	return b, heard
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !yes(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

func ready(t *testing.T, b *mqtt.Bus) {
	t.Helper()
	eventually(t, "the manager connects", func() bool { return b.Ready() == nil })
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

func manager(addr string) mqtt.Config {
	return mqtt.Config{URL: "mqtt://" + addr, Username: "manager", Password: "secret"}
}

// TestManyManagers: what is to be worked on goes to one of them, what informs
// goes to all.
func TestManyManagers(t *testing.T) {
	addr, s, _ := broker(t, "127.0.0.1:0", nil, &guard{})
	first, one := run(t, manager(addr))
	second, two := run(t, manager(addr))
	ready(t, first)
	ready(t, second)
	for _, topic := range []string{"cy/1/gw-1/status", "cy/1/gw-1/live"} {
		if err := s.Publish(topic, []byte("x"), false, 1); err != nil {
			t.Fatal(err)
		}
		for _, heard := range []<-chan message{one, two} {
			if m := receive(t, heard); m.topic != topic {
				t.Errorf("heard %+v, want %s", m, topic)
			}
		}
	}
	const n = 200
	topics := []string{"cy/1/gw-1/up/events", "cy/1/gw-1/up/samples", "cy/1/gw-1/hello", "cy/1/gw-1/ask"}
	for i := range n {
		if err := s.Publish(topics[i%len(topics)], []byte("x"), false, 1); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	for range n {
		select {
		case m := <-one:
			got[m.topic]++
		case m := <-two:
			got[m.topic]++
		case <-time.After(patience):
			t.Fatalf("heard %v, want %d in all", got, n)
		}
	}
	for _, topic := range topics {
		if got[topic] != n/len(topics) {
			t.Errorf("%s came %d times, want %d", topic, got[topic], n/len(topics))
		}
	}
	select {
	case m := <-one:
		t.Errorf("one too many: %+v", m)
	case m := <-two:
		t.Errorf("one too many: %+v", m)
	default:
	}
	for _, topic := range []string{"cy/1/gw-1/ack/events", "cy/1/gw-1/cmd", "other"} {
		if err := s.Publish(topic, []byte("x"), false, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRetainedStatus: who connects learns who is there.
func TestRetainedStatus(t *testing.T) {
	addr, s, _ := broker(t, "127.0.0.1:0", nil, &guard{})
	if err := s.Publish("cy/1/gw-1/status", []byte("there"), true, 1); err != nil {
		t.Fatal(err)
	}
	_, heard := run(t, manager(addr))
	if m := receive(t, heard); m.payload != "there" {
		t.Errorf("heard %+v", m)
	}
}

func TestPublish(t *testing.T) {
	addr, s, stop := broker(t, "127.0.0.1:0", nil, &guard{})
	got := make(chan message, 10)
	err := s.Subscribe("cy/1/gw-1/cmd", 1, func(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
		got <- message{pk.TopicName, string(pk.Payload)}
	})
	if err != nil {
		t.Fatal(err)
	}
	b, heard := run(t, manager(addr))
	ready(t, b)
	if err := b.Publish("cy/1/gw-1/cmd", []byte("go"), 1, false); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, got); m.payload != "go" {
		t.Errorf("published %+v", m)
	}

	// The broker dies: publishing says so and does not wait, and the manager comes
	// back by itself with its subscriptions.
	stop()
	eventually(t, "the loss is noticed", func() bool { return b.Ready() != nil })
	if err := b.Publish("cy/1/gw-1/cmd", []byte("lost"), 1, false); err == nil {
		t.Error("published to a broker that is away")
	}
	_, s, _ = broker(t, addr, nil, &guard{})
	ready(t, b)
	if err := s.Publish("cy/1/gw-1/hello", []byte("again"), false, 1); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, heard); m.payload != "again" {
		t.Errorf("heard %+v", m)
	}
}

// TestRefused: wrong credentials and a broker that grants nothing are told
// apart from one that works, again and again without harm.
func TestRefused(t *testing.T) {
	g := &guard{refuse: "up/+"}
	addr, _, _ := broker(t, "127.0.0.1:0", nil, g)
	wrong := manager(addr)
	wrong.Password = "other"
	denied, unheard := fail(t, wrong), fail(t, manager(addr))
	g.mu.Lock()
	g.refuse = ""
	g.mu.Unlock()
	ready(t, unheard)
	if denied.Ready() == nil {
		t.Error("ready with a wrong password")
	}
}

func TestConfig(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []mqtt.Config{
		{URL: "http://b"}, {URL: "mqtt://"}, {URL: "://"}, {URL: "mqtts://b", CAFile: "missing.pem"}, {URL: "mqtts://b", CAFile: ca},
	} {
		if _, err := mqtt.New(c, nil, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	for _, c := range []mqtt.Config{{URL: "mqtt://b"}, {URL: "mqtts://b"}, {URL: "mqtt://[::1]:1884"}} {
		if _, err := mqtt.New(c, nil, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestTLS: only the certificate authority that is named is trusted.
func TestTLS(t *testing.T) {
	pair, authority := certificate(t)
	_, other := certificate(t)
	addr, s, _ := broker(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}}, &guard{})
	good := manager(addr)
	good.URL, good.CAFile = "mqtts://"+addr, authority
	b, heard := run(t, good)
	ready(t, b)
	if err := s.Publish("cy/1/gw-1/hello", []byte("x"), false, 1); err != nil {
		t.Fatal(err)
	}
	receive(t, heard)
	for _, file := range []string{other, ""} {
		bad := good
		bad.CAFile = file
		fail(t, bad)
	}
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
