package uplink_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	mochipackets "github.com/mochi-mqtt/server/v2/packets"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/uplink"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// patience bounds what these tests wait for; none of them takes so long.
const patience = 20 * time.Second

// lastWill is one of a connection that needs none: an empty one is refused.
var lastWill = uplink.Message{Topic: "cy/1/gw-1/status", Payload: []byte("{}"), QoS: 1}

// broker is a real one, with a perfect manager in process behind it.
type broker struct {
	t       *testing.T
	server  *mochi.Server
	address string

	mu        sync.Mutex
	positions map[string]uint64
	applied   []event.ID
	statuses  []string
	welcomes  int
	changed   chan struct{}

	inbox   chan uplink.Message // what the manager was told, in order
	manager sync.WaitGroup
}

// door lets gw-1 in with its password, and to its own topics but one.
type door struct {
	mochi.HookBase
	forbidden string
}

func (*door) ID() string { return "door" }
func (*door) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (*door) OnConnectAuthenticate(cl *mochi.Client, pk mochipackets.Packet) bool {
	return cl.ID == "gw-1" && string(pk.Connect.Username) == "gw-1" && string(pk.Connect.Password) == "secret"
}

func (d *door) OnACLCheck(cl *mochi.Client, topic string, _ bool) bool {
	return strings.HasPrefix(topic, "cy/1/gw-1/") && (d.forbidden == "" || topic != d.forbidden)
}

// listener waits at its end for everything that it began, which the library's
// own does not.
type listener struct {
	net.Listener
	served chan struct{}
	conns  sync.WaitGroup
}

func (*listener) ID() string              { return "l" }
func (*listener) Protocol() string        { return "tcp" }
func (l *listener) Address() string       { return l.Addr().String() }
func (*listener) Init(*slog.Logger) error { return nil }

func (l *listener) Serve(establish listeners.EstablishFn) {
	defer close(l.served)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		l.conns.Go(func() { _ = establish("l", conn) }) // how a client ends is for the client to say
	}
}

func (l *listener) Close(closeClients listeners.CloseFn) {
	_ = l.Listener.Close()
	<-l.served
	closeClients("l")
	l.conns.Wait()
}

// serve starts a broker at address, which may be empty.
func serve(t *testing.T, address string, forbidden string, conf *tls.Config) *broker {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	b := &broker{t: t, positions: make(map[string]uint64), changed: make(chan struct{}), inbox: make(chan uplink.Message, 1000)}
	b.manager.Go(func() {
		for m := range b.inbox {
			b.manage(m.Topic, m.Payload)
		}
	})
	b.server = mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := b.server.AddHook(&door{forbidden: forbidden}, nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	b.address = l.Addr().String()
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	if err := b.server.AddListener(&listener{Listener: l, served: make(chan struct{})}); err != nil {
		t.Fatal(err)
	}
	for i, f := range []string{"hello", "up/+", "status"} {
		err := b.server.Subscribe("cy/1/+/"+f, i+1, func(_ *mochi.Client, _ mochipackets.Subscription, pk mochipackets.Packet) {
			b.inbox <- uplink.Message{Topic: pk.TopicName, Payload: slices.Clone(pk.Payload)}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.server.Serve(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *broker) close() {
	if err := b.server.Close(); err != nil {
		b.t.Error(err)
	}
	close(b.inbox)
	b.manager.Wait()
}

func (b *broker) say(k wire.Kind, sub string, v any) {
	payload, err := json.Marshal(v)
	if err != nil {
		b.t.Error(err)
	}
	topic := wire.Topic(gateway, k)
	if sub != "" {
		topic += "/" + sub
	}
	if err := b.server.Publish(topic, payload, false, 1); err != nil {
		b.t.Error(err)
	}
}

func (b *broker) manage(topic string, payload []byte) {
	_, kind, sub, err := wire.ParseTopic(topic)
	if err != nil {
		b.t.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch kind {
	case wire.KindHello:
		h, err := wire.Decode[wire.Hello](payload)
		if err != nil {
			b.t.Error(err)
		}
		w := wire.Welcome{Hello: h.Hello, Time: time.Now(), Positions: make(map[event.Lane]map[string]wire.Sequence)}
		for lane, streams := range h.Lanes {
			w.Positions[lane] = make(map[string]wire.Sequence)
			for _, s := range streams {
				w.Positions[lane][s.Stream] = wire.Sequence(b.positions[s.Stream])
			}
		}
		b.welcomes++
		b.say(wire.KindWelcome, "", w)
	case wire.KindUp:
		events, err := wire.ParseBatch(payload)
		if err != nil {
			b.t.Error(err)
			return
		}
		var first, last event.ID
		for i := range events {
			id, err := events[i].EventID()
			if err != nil {
				b.t.Error(err)
			}
			if i == 0 {
				first = id
			}
			last = id
			if id.Sequence == b.positions[id.Stream]+1 {
				b.positions[id.Stream]++
				b.applied = append(b.applied, id)
			}
		}
		start, position := wire.Sequence(first.Sequence), wire.Sequence(b.positions[last.Stream])
		b.say(wire.KindAck, sub, wire.Ack{Stream: first.Stream, First: &start, Sequence: &position})
	case wire.KindStatus:
		s, err := wire.Decode[wire.Status](payload)
		if err != nil {
			b.t.Error(err)
		}
		b.statuses = append(b.statuses, map[bool]string{true: "online", false: "offline"}[s.Online])
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// until waits until done is true; it is asked again after each message.
func (b *broker) until(what string, done func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		ok, changed := done(), b.changed
		b.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			b.t.Fatalf("%s: not within %v: applied %d, statuses %q, welcomes %d", what, patience, len(b.applied), b.statuses, b.welcomes)
		}
	}
}

// retained is the word that a newcomer would find.
func (b *broker) retained() wire.Status {
	b.t.Helper()
	pk, ok := b.server.Topics.Retained.Get("cy/1/gw-1/status")
	if !ok {
		b.t.Fatal("no retained status")
	}
	s, err := wire.Decode[wire.Status](pk.Payload)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// real makes w speak to the broker at address.
func (w *world) real(t *testing.T, cfg uplink.MQTTConfig) {
	t.Helper()
	cfg.Gateway, cfg.Password = gateway, "secret"
	transport, err := uplink.NewMQTT(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.uplink = uplink.New(uplink.Config{Gateway: gateway, Version: "1", Boot: "b"},
		map[event.Lane]uplink.Lane{event.LaneEvents: w.events, event.LaneSamples: w.samples}, transport, w.clock, slog.New(slog.DiscardHandler))
}

func TestMQTT(t *testing.T) {
	b := serve(t, "", "", nil)
	defer b.close()
	w := newWorld(100)
	w.real(t, uplink.MQTTConfig{URL: "mqtt://" + b.address})
	w.events.add("s", 1000)
	w.samples.add("m", 100)
	w.start(t)
	b.until("everything applied", func() bool { return len(b.applied) == 1100 })
	var want []string
	for i := range 200 { // in order, however fast
		b.say(wire.KindCommand, "", order(fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("execute %d", i))
	}
	for deadline := time.Now().Add(patience); len(w.site.heard()) < 200 && time.Now().Before(deadline); {
		w.events.add("s", 1)
		n := len(w.site.heard())
		b.until("one more", func() bool { return b.positions["s"] == w.last("s") })
		if n == 0 {
			continue
		}
	}
	if got := w.site.heard(); !slices.Equal(got, want) {
		t.Errorf("commands %q", got)
	}
	if s := b.retained(); !s.Online || s.Boot != "b" {
		t.Errorf("retained status %+v", s)
	}
	w.finish(t)
	if s := b.retained(); s.Online {
		t.Errorf("retained status after the stop %+v", s)
	}
	b.until("offline said once", func() bool { return slices.Equal(b.statuses, []string{"online", "offline"}) })
}

func (w *world) last(stream string) uint64 {
	w.events.mu.Lock()
	defer w.events.mu.Unlock()
	return w.events.last[stream]
}

// TestBrokerRestart: connections come back by themselves, and nothing is lost.
func TestBrokerRestart(t *testing.T) {
	b := serve(t, "", "", nil)
	w := newWorld(10)
	w.real(t, uplink.MQTTConfig{URL: "mqtt://" + b.address})
	w.start(t)
	total := 0
	for range 3 {
		w.events.add("s", 50)
		total += 50
		b.until("everything applied", func() bool { return len(b.applied) == total })
		b.close()
		w.events.add("s", 20)
		total += 20
		next := serve(t, b.address, "", nil)
		next.positions, next.applied = b.positions, b.applied
		b = next
	}
	b.until("everything applied", func() bool { return len(b.applied) == total })
	w.finish(t)
	b.close()
	for i, id := range b.applied {
		if id.Sequence != uint64(i+1) {
			t.Fatalf("event %d is %s", i, id)
		}
	}
}

// TestOldWill: the last will of a connection that died silently comes after the
// new one was made, and does not get the last word.
func TestOldWill(t *testing.T) {
	b := serve(t, "", "", nil)
	defer b.close()
	w := newWorld(10)
	w.real(t, uplink.MQTTConfig{URL: "mqtt://" + b.address})
	w.start(t)
	b.until("online", func() bool { return b.welcomes == 1 })
	old, err := json.Marshal(wire.Status{Boot: "b", Connection: "older"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.server.Publish("cy/1/gw-1/status", old, true, 1); err != nil {
		t.Fatal(err)
	}
	b.until("repeated", func() bool { return slices.Equal(b.statuses, []string{"online", "offline", "online"}) })
	if s := b.retained(); !s.Online {
		t.Errorf("retained status %+v", s)
	}
	cl, ok := b.server.Clients.Get("gw-1")
	if !ok {
		t.Fatal("no client")
	}
	cl.Stop(fmt.Errorf("cable cut")) // the broker sends its will
	b.until("back again", func() bool { return b.welcomes == 2 && b.statuses[len(b.statuses)-1] == "online" })
	w.finish(t)
}

func TestConnectRefused(t *testing.T) {
	b := serve(t, "", "cy/1/gw-1/cmd", nil)
	defer b.close()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := deaf.Close(); err != nil {
			t.Error(err)
		}
	}()
	tests := []struct {
		name     string
		url      string
		password string
		within   time.Duration
		want     string
	}{
		{name: "wrong password", url: "mqtt://" + b.address, password: "guess", want: "wrong password"},
		{name: "nobody there", url: "mqtt://127.0.0.1:1", password: "secret", want: "refused"},
		{name: "no answer", url: "mqtt://" + deaf.Addr().String(), password: "secret", within: 100 * time.Millisecond, want: "deadline exceeded"},
		{name: "no TLS there", url: "mqtts://" + b.address, password: "secret", within: time.Second, want: ""},
		{name: "may not read commands", url: "mqtt://" + b.address, password: "secret", want: "cy/1/gw-1/cmd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			transport, err := uplink.NewMQTT(uplink.MQTTConfig{URL: tt.url, Gateway: gateway, Password: tt.password, Clock: trust{clock: event.ClockSynced, now: time.Now()}})
			if err != nil {
				t.Fatal(err)
			}
			if tt.within == 0 {
				tt.within = patience
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			s, err := transport.Connect(ctx, lastWill, func(string, []byte) {})
			if err == nil {
				defer s.Close()
				err = s.Subscribe(ctx, "cy/1/gw-1/ack/+", "cy/1/gw-1/cmd")
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), tt.password) {
				t.Errorf("error %v, want one that says %q and no password", err, tt.want)
			}
		})
	}
}

// TestBrokerStopsReading: a broker that takes nothing more does not hold us.
func TestBrokerStopsReading(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(release)
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := packets.ReadPacket(bufio.NewReader(conn)); err != nil {
			t.Error(err)
		}
		if err := packets.NewControlPacket(packets.Connack).Write(conn); err != nil {
			t.Error(err)
		}
		<-release // reads no more
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	transport, err := uplink.NewMQTT(uplink.MQTTConfig{URL: "mqtt://" + l.Addr().String(), Gateway: gateway})
	if err != nil {
		t.Fatal(err)
	}
	transport.SetWriteWait(200 * time.Millisecond)
	s, err := transport.Connect(t.Context(), lastWill, func(string, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	large := make([]byte, wire.MaxWire)
	full := false
	for range 1000 { // the kernel takes some megabytes
		if _, err := s.Publish(uplink.Message{Topic: "t", Payload: large, QoS: 1}); err != nil {
			full = true
			break
		}
	}
	if !full {
		t.Error("a hundred megabytes were taken for a broker that does not read")
	}
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Errorf("the session is still there after %v", patience)
	}
}

func TestNewMQTT(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:1883", "http://host", "mqtt://", "mqtt://:1883", "mqtt:host", "://"} {
		if _, err := uplink.NewMQTT(uplink.MQTTConfig{URL: url}); err == nil {
			t.Errorf("NewMQTT(%q) takes it", url)
		}
	}
	for _, url := range []string{"mqtt://host", "mqtts://host:1", "mqtt://[::1]:1883"} {
		if _, err := uplink.NewMQTT(uplink.MQTTConfig{URL: url}); err != nil {
			t.Errorf("NewMQTT(%q): %v", url, err)
		}
	}
	if _, err := uplink.NewMQTT(uplink.MQTTConfig{URL: "ws://user:secret@host"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one without the secret", err)
	}
}

// trust is a TrustClock that stands.
type trust struct {
	now, floor time.Time
	clock      event.Clock
}

func (c trust) Stamp() site.Stamp { return site.Stamp{Time: c.now, Boot: "b", Clock: c.clock} }
func (c trust) Floor() time.Time  { return c.floor }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, from time.Time) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: from, NotAfter: from.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, file: filepath.Join(t.TempDir(), "ca.pem")}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(t *testing.T, name string, from, to time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestTLS(t *testing.T) {
	made := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	build, now := made.AddDate(0, -3, 0), made.AddDate(0, 3, 0)
	ours, others := newAuthority(t, build), newAuthority(t, build)
	notCA := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(notCA, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	synced := trust{now: now, floor: build, clock: event.ClockSynced}
	year := made.AddDate(1, 0, 0)
	tests := []struct {
		name   string
		server *tls.Config
		ca     string
		clock  trust
		want   string // part of the error; empty: none
	}{
		{name: "pinned authority", server: ours.sign(t, "127.0.0.1", made, year), ca: ours.file, clock: synced},
		{name: "another authority", server: others.sign(t, "127.0.0.1", made, year), ca: ours.file, clock: synced, want: "unknown authority"},
		{name: "no authority of the system", server: ours.sign(t, "127.0.0.1", made, year), clock: synced, want: "unknown authority"},
		{name: "another host", server: ours.sign(t, "broker.example", made, year), ca: ours.file, clock: synced, want: "127.0.0.1"},
		{name: "expired", server: ours.sign(t, "127.0.0.1", made, made.AddDate(0, 1, 0)), ca: ours.file, clock: synced, want: "expired"},
		{name: "not yet valid", server: ours.sign(t, "127.0.0.1", now.AddDate(0, 1, 0), year), ca: ours.file, clock: synced, want: "not yet valid"},
		{
			name: "unsynced box older than the certificate", server: ours.sign(t, "127.0.0.1", made, year), ca: ours.file,
			clock: trust{now: build, floor: build, clock: event.ClockUnsynced},
		},
		{
			name: "unsynced box with a random date", server: ours.sign(t, "127.0.0.1", made, year), ca: ours.file,
			clock: trust{now: made.AddDate(40, 0, 0), floor: build, clock: event.ClockUnsynced},
		},
		{
			name: "unsynced box, certificate expired before the floor", server: ours.sign(t, "127.0.0.1", made, made.AddDate(0, 1, 0)), ca: ours.file,
			clock: trust{now: build, floor: now, clock: event.ClockUnsynced}, want: "expired",
		},
		{
			name: "unsynced box, another authority", server: others.sign(t, "127.0.0.1", made, year), ca: ours.file,
			clock: trust{now: build, floor: build, clock: event.ClockUnsynced}, want: "unknown authority",
		},
		{name: "no such file", server: ours.sign(t, "127.0.0.1", made, year), ca: ours.file + "x", clock: synced, want: "ca_file"},
		{name: "no certificate in it", server: ours.sign(t, "127.0.0.1", made, year), ca: notCA, clock: synced, want: "found none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := serve(t, "", "", tt.server)
			defer b.close()
			transport, err := uplink.NewMQTT(uplink.MQTTConfig{URL: "mqtts://" + b.address, Gateway: gateway, Password: "secret", CAFile: tt.ca, Clock: tt.clock})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s, err := transport.Connect(ctx, lastWill, func(string, []byte) {})
			if err == nil {
				s.Close()
			}
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
