// Package socket is a charger's end of OCPP-J over WebSocket: handshake with
// sub-protocol and Basic authentication, text messages, pings.
package socket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/gorilla/websocket"
)

const (
	handshakeTimeout = 15 * time.Second
	writeTimeout     = 10 * time.Second
	frameLimit       = 1 << 20 // bytes
	bufferBytes      = 1024    // of reading and writing, each; larger frames are cut for the wire
)

// Config is one central system.
type Config struct {
	// URL is its endpoint, to which the identity of each charger is appended.
	URL string
	// SecureURL is where chargers of security profiles 2 and 3 connect to (wss);
	// empty: to URL too.
	SecureURL string
	// Roots, in PEM, are those that its certificate has to lead to; empty: those
	// of this machine.
	Roots []byte
}

// Dialer connects chargers to one central system.
type Dialer struct {
	base, secure *url.URL
	roots        []byte
	pool         sync.Pool // of buffers
}

// New returns a Dialer.
func New(cfg Config) (*Dialer, error) {
	base, err := endpoint(cfg.URL, "ws", "wss")
	if err != nil {
		return nil, err
	}
	d := &Dialer{base: base, secure: base, roots: cfg.Roots}
	if cfg.SecureURL != "" {
		if d.secure, err = endpoint(cfg.SecureURL, "wss"); err != nil {
			return nil, err
		}
	}
	if len(cfg.Roots) > 0 && !x509.NewCertPool().AppendCertsFromPEM(cfg.Roots) {
		return nil, errors.New("root certificates of the central system: expected certificates in PEM")
	}
	return d, nil
}

func endpoint(raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("url of the central system: %w", err)
	}
	if !slices.Contains(schemes, u.Scheme) || u.Host == "" {
		return nil, fmt.Errorf("url of the central system: %q: expected %s://host:port/path", raw, strings.Join(schemes, ":// or "))
	}
	return u, nil
}

// Secure tells whether chargers can go to security profiles 2 and 3.
func (d *Dialer) Secure() bool { return d.secure.Scheme == "wss" }

// tls is what a charger brings to a TLS handshake.
func (d *Dialer) tls(login charger.Login) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(d.roots) > 0 || len(login.Roots) > 0 {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(d.roots)
		for _, root := range login.Roots {
			config.RootCAs.AppendCertsFromPEM([]byte(root))
		}
	}
	if login.Chain != "" && login.Profile != 2 {
		pair, err := tls.X509KeyPair([]byte(login.Chain), []byte(login.Key))
		if err != nil {
			return nil, fmt.Errorf("certificate of the charger: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// StatusError is a handshake that the central system refused.
type StatusError struct {
	Code int // HTTP status
}

// Error tells the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the handshake was answered with %d %s", e.Code, http.StatusText(e.Code))
}

// Dial connects a charger. An empty password, or security profile 3, sends no
// credentials.
func (d *Dialer) Dial(ctx context.Context, login charger.Login) (charger.Conn, error) {
	header := http.Header{}
	if len(login.Password) > 0 && login.Profile != 3 {
		pair := append([]byte(login.Identity+":"), login.Password...)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString(pair))
	}
	endpoint := *d.base
	if login.Profile >= 2 {
		endpoint = *d.secure
	}
	endpoint.RawPath = strings.TrimSuffix(endpoint.EscapedPath(), "/") + "/" + url.PathEscape(login.Identity)
	endpoint.Path = strings.TrimSuffix(endpoint.Path, "/") + "/" + login.Identity
	dialer := websocket.Dialer{
		Proxy: http.ProxyFromEnvironment, HandshakeTimeout: handshakeTimeout,
		ReadBufferSize: bufferBytes, WriteBufferSize: bufferBytes, WriteBufferPool: &d.pool,
	}
	if endpoint.Scheme == "wss" {
		config, err := d.tls(login)
		if err != nil {
			return nil, err
		}
		dialer.TLSClientConfig = config
	}
	want := ""
	if !login.Unnamed {
		want = login.Version
		dialer.Subprotocols = []string{want}
	}
	ws, resp, err := dialer.DialContext(ctx, endpoint.String(), header)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) && resp != nil {
			return nil, &StatusError{Code: resp.StatusCode}
		}
		return nil, err
	}
	if got := ws.Subprotocol(); got != want {
		err := fmt.Errorf("the central system chose sub-protocol %q, expected %q", got, want)
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
