package ocpp_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/pki"
	"github.com/chargeyard/chargeyard/edge/internal/site"
)

// handshakes makes b.N connections with TLS, 64 at a time.
func handshakes(b *testing.B, secure *tls.Config, url func(n int64) string) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			d := websocket.Dialer{Subprotocols: []string{"ocpp1.6"}, TLSClientConfig: secure, ReadBufferSize: 256, WriteBufferSize: 256}
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				ws, _, err := d.Dial(url(n), nil)
				if err != nil {
					b.Error(err)
					return
				}
				ws.Close()
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conn/s")
}

// BenchmarkHandshakeTLS is the rate at which stations connect with TLS; bare is a
// server that does nothing else, with the same certificate.
func BenchmarkHandshakeTLS(b *testing.B) {
	a := newAuthority(b, pki.Config{})
	waitRSA(b, a)
	client := &tls.Config{RootCAs: roots(b, a)}
	b.Run("bare", func(b *testing.B) {
		upgrader := websocket.Upgrader{Subprotocols: []string{"ocpp1.6"}, CheckOrigin: func(*http.Request) bool { return true }}
		l, err := tls.Listen("tcp", "127.0.0.1:0", a.TLS(false))
		if err != nil {
			b.Fatal(err)
		}
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			go func() {
				for {
					if _, _, err := ws.ReadMessage(); err != nil {
						ws.Close()
						return
					}
				}
			}()
		})}
		done := make(chan error, 1)
		go func() { done <- web.Serve(l) }()
		handshakes(b, client, func(n int64) string { return fmt.Sprintf("wss://%s/ocpp/CP-%d", l.Addr(), n%2000) })
		if err := web.Close(); err != nil {
			b.Error(err)
		}
		<-done
	})
	b.Run("chargeyard", func(b *testing.B) {
		cfg := ocpptest.Config()
		cfg.UnknownLimit = 10_000
		y := startSecure(b, a, cfg, site.Config{})
		handshakes(b, client, func(n int64) string { return fmt.Sprintf("%s/CP-%d", y.secure, n%2000) })
		y.Stop()
	})
}

// bareTLS is bare with TLS.
func bareTLS(tb testing.TB, address string, secure *tls.Config) net.Conn {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := tls.Dial("tcp", u.Host, secure)
	if err != nil {
		tb.Fatal(err)
	}
	request := "GET " + u.Path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ocpp1.6\r\nUser-Agent: bench\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		tb.Fatal(err)
	}
	answer := make([]byte, 512)
	if n, err := conn.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 101") {
		tb.Fatalf("handshake: %s %v", answer[:n], err)
	}
	return conn
}
