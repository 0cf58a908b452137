package socket_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/socket"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server that hands each connection to talk, and returns its
// address and the requests that came.
func serve(t *testing.T, protocols []string, talk func(*websocket.Conn)) (string, chan *http.Request) {
	t.Helper()
	requests := make(chan *http.Request, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		if strings.HasSuffix(r.URL.Path, "unknown") {
			http.NotFound(w, r)
			return
		}
		ws, err := (&websocket.Upgrader{Subprotocols: protocols}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		talk(ws)
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http") + "/some/path/", requests
}

func dial(t *testing.T, url, identity string, password []byte) (charger.Conn, error) {
	t.Helper()
	d, err := socket.New(socket.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return d.Dial(ctx, charger.Login{Identity: identity, Version: ocppj.V16, Password: password})
}

// echo sends back what it gets until the other side goes.
func echo(ws *websocket.Conn) {
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, data) != nil {
			return
		}
	}
}

func TestHandshake(t *testing.T) {
	url, requests := serve(t, []string{"ocpp1.6"}, echo)
	conn, err := dial(t, url, "CP 1/ö|2", []byte{0x00, ':', 0xff})
	if err != nil {
		t.Fatal(err)
	}
	r := <-requests
	if got := r.URL.EscapedPath(); got != "/some/path/CP%201%2F%C3%B6%7C2" {
		t.Errorf("path %s", got)
	}
	user, password, ok := r.BasicAuth()
	if !ok || user != "CP 1/ö|2" || password != "\x00:\xff" {
		t.Errorf("credentials %q %q", user, password)
	}
	if err := conn.Write([]byte(`[2,"1","Heartbeat",{}]`)); err != nil {
		t.Fatal(err)
	}
	if data, err := conn.Read(); err != nil || string(data) != `[2,"1","Heartbeat",{}]` {
		t.Errorf("%s, %v", data, err)
	}
	if err := conn.Close("done"); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(); err == nil {
		t.Error("a closed connection can be read")
	}
}

func TestRefused(t *testing.T) {
	url, _ := serve(t, []string{"ocpp1.6"}, echo)
	_, err := dial(t, url, "unknown", nil)
	if refused, ok := errors.AsType[*socket.StatusError](err); !ok || refused.Code != http.StatusNotFound || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v, want a 404", err)
	}
	url, _ = serve(t, []string{"ocpp2.0.1"}, echo)
	if _, err := dial(t, url, "CP-1", nil); err == nil || !strings.Contains(err.Error(), "sub-protocol") {
		t.Errorf("%v, want a word about the sub-protocol", err)
	}
	for _, bad := range []string{"http://127.0.0.1/", "ws:///x", "::"} {
		if _, err := socket.New(socket.Config{URL: bad}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// A pong keeps the connection; silence ends it.
func TestPing(t *testing.T) {
	url, _ := serve(t, []string{"ocpp1.6"}, echo)
	conn, err := dial(t, url, "CP-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan error, 1)
	go func() {
		_, err := conn.Read()
		lost <- err
	}()
	if err := conn.Ping(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := conn.Cut(); err != nil {
		t.Fatal(err)
	}
	if err := <-lost; err == nil {
		t.Error("a cut connection can be read")
	}

	silent := make(chan struct{})
	url, _ = serve(t, []string{"ocpp1.6"}, func(*websocket.Conn) { <-silent }) // never reads: no pong
	defer close(silent)
	if conn, err = dial(t, url, "CP-1", nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range []time.Duration{20 * time.Millisecond, time.Hour} { // the second does not prolong the first
		if err := conn.Ping(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Read(); err == nil {
		t.Error("silence was taken for life")
	}
	if err := conn.Cut(); err != nil {
		t.Error(err)
	}
}
