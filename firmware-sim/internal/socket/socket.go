// Package socket is a charger's end of OCPP-J over WebSocket: handshake with
// sub-protocol and Basic authentication, text messages, pings.
package socket

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocppj"
	"github.com/gorilla/websocket"
)

const (
	handshakeTimeout = 15 * time.Second
	writeTimeout     = 10 * time.Second
	frameLimit       = 1 << 20 // bytes
	bufferBytes      = 1024    // of reading and writing, each; larger frames are cut for the wire
)

// Dialer connects chargers to one central system.
type Dialer struct {
	base   *url.URL
	dialer websocket.Dialer
}

// New returns a Dialer for the endpoint at rawURL, to which the identity of
// each charger is appended. Config is for wss; nil means the usual one.
func New(rawURL string, config *tls.Config) (*Dialer, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("url of the central system: %w", err)
	}
	if u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
		return nil, fmt.Errorf("url of the central system: %q: expected ws://host:port/path or wss://host:port/path", rawURL)
	}
	return &Dialer{base: u, dialer: websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: handshakeTimeout,
		Subprotocols:     []string{ocppj.V16},
		ReadBufferSize:   bufferBytes,
		WriteBufferSize:  bufferBytes,
		WriteBufferPool:  &sync.Pool{},
		TLSClientConfig:  config,
	}}, nil
}

// StatusError is a handshake that the central system refused.
type StatusError struct {
	Code int // HTTP status
}

// Error tells the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the handshake was answered with %d %s", e.Code, http.StatusText(e.Code))
}

// Dial connects as identity. An empty password sends no credentials.
func (d *Dialer) Dial(ctx context.Context, identity string, password []byte) (*Conn, error) {
	header := http.Header{}
	if len(password) > 0 {
		pair := append([]byte(identity+":"), password...)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString(pair))
	}
	endpoint := *d.base
	endpoint.RawPath = strings.TrimSuffix(endpoint.EscapedPath(), "/") + "/" + url.PathEscape(identity)
	endpoint.Path = strings.TrimSuffix(endpoint.Path, "/") + "/" + identity
	ws, resp, err := d.dialer.DialContext(ctx, endpoint.String(), header)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) && resp != nil {
			return nil, &StatusError{Code: resp.StatusCode}
		}
		return nil, err
	}
	if got := ws.Subprotocol(); got != ocppj.V16 {
		err := fmt.Errorf("the central system chose sub-protocol %q, expected %q", got, ocppj.V16)
		return nil, errors.Join(err, ws.Close())
	}
	ws.SetReadLimit(frameLimit)
	c := &Conn{ws: ws}
	ws.SetPongHandler(func(string) error { return c.alive() })
	answer := ws.PingHandler()
	ws.SetPingHandler(func(data string) error { return errors.Join(c.alive(), answer(data)) })
	return c, nil
}

// Conn is one connection. One goroutine may read while another writes.
type Conn struct {
	ws      *websocket.Conn
	waiting atomic.Bool // for a sign of life
}

// Read returns the next message. Every error is final.
func (c *Conn) Read() ([]byte, error) {
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if err := c.alive(); err != nil {
			return nil, err
		}
		if kind == websocket.TextMessage { // OCPP-J §3: text messages only
			return data, nil
		}
	}
}

// alive takes away the deadline that Ping has set.
func (c *Conn) alive() error {
	if !c.waiting.Swap(false) {
		return nil
	}
	return c.ws.NetConn().SetReadDeadline(time.Time{})
}

// Write sends one message.
func (c *Conn) Write(data []byte) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return c.ws.WriteMessage(websocket.TextMessage, data)
}

// Ping sends a ping. Nothing heard within patience ends the connection; a ping
// while another is waited for does not prolong it.
func (c *Conn) Ping(patience time.Duration) error {
	if c.waiting.CompareAndSwap(false, true) {
		if err := c.ws.NetConn().SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if !c.waiting.Load() { // something came between the two lines above
			if err := c.ws.NetConn().SetReadDeadline(time.Time{}); err != nil {
				return err
			}
		}
	}
	return c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
}

// Close says goodbye and closes the connection.
func (c *Conn) Close(reason string) error {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, reason)
	err := c.ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
	if errors.Is(err, websocket.ErrCloseSent) {
		err = nil
	}
	return errors.Join(err, c.ws.Close())
}

// Cut ends the connection as a pulled cable or lost power does: without a word.
func (c *Conn) Cut() error { return c.ws.NetConn().Close() }
