package ocpp

import (
	"bytes"
	"fmt"
	"net"
	"time"
)

// escapes is a listener that answers requests whose path holds an escape that is
// none (CP%ZZ) with 404, as any other name that no station has. net/http would
// answer 400 before anybody is asked, and a station takes that for a fault of its
// own that no retry mends.
type escapes struct{ net.Listener }

// Accept wraps the connection.
func (l escapes) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &firstLine{Conn: conn}, nil
}

// firstLine looks at the first line that comes in.
type firstLine struct {
	net.Conn
	seen bool
}

// Read passes on what comes, unless its request line is refused.
func (c *firstLine) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.seen || n == 0 {
		return n, err
	}
	c.seen = true
	if !badEscape(b[:n]) {
		return n, err
	}
	if err := c.SetWriteDeadline(time.Now().Add(closeWait)); err != nil {
		return 0, fmt.Errorf("%w: %w", errNoEscape, err)
	}
	const answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	if _, err := c.Write([]byte(answer)); err != nil {
		return 0, fmt.Errorf("%w: %w", errNoEscape, err)
	}
	if err := c.CloseWrite(); err != nil {
		return 0, fmt.Errorf("%w: %w", errNoEscape, err)
	}
	return 0, errNoEscape
}

// CloseWrite ends our half of the connection.
func (c *firstLine) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// badEscape tells whether the path in the request line that opens data holds a
// percent sign without two hex digits.
func badEscape(data []byte) bool {
	line, _, _ := bytes.Cut(data, []byte("\r\n"))
	target, ok := bytes.CutPrefix(line, []byte("GET "))
	if !ok {
		return false
	}
	target, _, _ = bytes.Cut(target, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte("?"))
	for i := 0; i < len(target); i++ {
		if target[i] != '%' {
			continue
		}
		if i+2 >= len(target) || !isHex(target[i+1]) || !isHex(target[i+2]) {
			return true
		}
		i += 2
	}
	return false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
