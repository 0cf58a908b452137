package ocpp_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/pki"
	"github.com/chargeyard/chargeyard/edge/internal/site"
)

// bare opens a connection with as little of our own memory as can be: the client
// runs in the same process and must not be counted much.
func bare(tb testing.TB, address string) net.Conn {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		tb.Fatal(err)
	}
	request := "GET " + u.Path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ocpp1.6\r\nUser-Agent: bench\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		tb.Fatal(err)
	}
	answer := make([]byte, 512)
	if n, err := conn.Read(answer); err != nil || string(answer[9:12]) != "101" {
		tb.Fatalf("handshake: %s %v", answer[:n], err)
	}
	return conn
}

// send writes a masked text frame of at most 125 bytes, and reads the answer.
func ask(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := conn.Write(frame); err != nil {
		tb.Fatal(err)
	}
	answer := make([]byte, 256)
	if _, err := conn.Read(answer); err != nil {
		tb.Fatal(err)
	}
}

// memory is what the process holds for goroutines and on the heap.
func memory() uint64 {
	for range 3 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond) // stacks shrink, pools empty
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// idle opens n connections that have booted and say no more, and returns the
// memory of each, that of its end in the client included (about 0.5 KiB).
func idle(tb testing.TB, n int) float64 {
	cfg := ocpptest.Config()
	cfg.Ping = time.Hour
	y := ocpptest.Start(tb, cfg, site.Config{}, quiet, v16.New())
	before := memory()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = bare(tb, fmt.Sprintf("%s/CP-%d", y.URL, i))
		ask(tb, conns[i], `[2,"1","BootNotification",{"chargePointVendor":"A","chargePointModel":"B"}]`)
		ask(tb, conns[i], `[2,"2","Heartbeat",{}]`)
	}
	each := float64(memory()-before) / float64(n) / 1024
	for _, c := range conns {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	}
	return each
}

// idleSecure is idle with TLS.
func idleSecure(tb testing.TB, n int) float64 {
	a := newAuthority(tb, pki.Config{})
	waitRSA(tb, a)
	cfg := ocpptest.Config()
	cfg.Ping = time.Hour
	y := startSecure(tb, a, cfg, site.Config{})
	secure := &tls.Config{RootCAs: y.roots, CurvePreferences: []tls.CurveID{tls.X25519}}
	before := memory()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = bareTLS(tb, fmt.Sprintf("%s/CP-%d", y.secure, i), secure)
		ask(tb, conns[i], `[2,"1","BootNotification",{"chargePointVendor":"A","chargePointModel":"B"}]`)
		ask(tb, conns[i], `[2,"2","Heartbeat",{}]`)
	}
	each := float64(memory()-before) / float64(n) / 1024
	for _, c := range conns {
		c.Close()
	}
	return each
}

func BenchmarkIdleConnectionTLS(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(idleSecure(b, 1000), "KiB/conn")
	}
}

func BenchmarkIdleConnection(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(idle(b, 2000), "KiB/conn")
	}
}

// An idle connection costs less than 17 KiB, station and site included.
func TestIdleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	if each := idle(t, 1000); each > 17 {
		t.Errorf("%.1f KiB for each idle connection, want at most 17", each)
	} else {
		t.Logf("%.1f KiB for each idle connection", each)
	}
}

func benchmarkCall(b *testing.B, frame string) {
	y := ocpptest.Start(b, ocpptest.Config(), site.Config{}, quiet, v16.New())
	ws, _, err := ocpptest.Dial(b.Context(), y.URL+"/CP-1", http.Header{}, "ocpp1.6")
	if err != nil {
		b.Fatal(err)
	}
	defer ws.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
			b.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeartbeat(b *testing.B) { benchmarkCall(b, `[2,"1","Heartbeat",{}]`) }

func BenchmarkMeterValues(b *testing.B) {
	benchmarkCall(b, `[2,"1","MeterValues",{"connectorId":1,"transactionId":7,"meterValue":[{"timestamp":"2026-11-22T06:01:02Z","sampledValue":[`+
		`{"value":"1520.4","measurand":"Energy.Active.Import.Register","unit":"Wh"},{"value":"11040.0","measurand":"Power.Active.Import","unit":"W"},`+
		`{"value":"16.0","measurand":"Current.Import","phase":"L1","unit":"A"},{"value":"230.0","measurand":"Voltage","phase":"L1-N","unit":"V"},`+
		`{"value":"16.0","measurand":"Current.Import","phase":"L2","unit":"A"},{"value":"230.0","measurand":"Voltage","phase":"L2-N","unit":"V"},`+
		`{"value":"16.0","measurand":"Current.Import","phase":"L3","unit":"A"},{"value":"230.0","measurand":"Voltage","phase":"L3-N","unit":"V"},`+
		`{"value":"42.8","measurand":"SoC","location":"EV","unit":"Percent"},{"value":"50.0","measurand":"Frequency"}]}]}]`)
}
