package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// A socket is a WebSocket of the simplest kind. The generator shares the machine
// with the server that it measures, so it spends as little as it can: one write
// and one read per call, no copies, and a mask of zeros, which RFC 6455 §5.3
// allows and which leaves the payload as it is.
type socket struct {
	net.Conn
	in       []byte // what was read and not looked at yet lies in in[from:to]
	from, to int
	until    time.Time // read deadline
}

const (
	maskRoom = 8       // bytes that send needs before the payload
	inSize   = 2 << 10 // more than any answer
	patience = 60 * time.Second
)

// Opcodes of frames. RFC 6455 §5.2.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
)

// open connects to ws://host:port/path, or wss://, and asks for OCPP 1.6. Who the
// server is does not matter to a measurement on this machine.
func open(ctx context.Context, url string) (*socket, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if scheme == "wss" {
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // see above
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("TLS handshake: %w", err), conn.Close())
		}
		conn = secure
	}
	s := &socket{Conn: conn, in: make([]byte, inSize)}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	if err := s.handshake(host, path, deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

func (s *socket) handshake(host, path string, deadline time.Time) error {
	if err := s.SetDeadline(deadline); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.Conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n", path, host)
	if err != nil {
		return err
	}
	end := []byte("\r\n\r\n")
	for !bytes.Contains(s.in[:s.to], end) {
		if s.to == len(s.in) {
			return errors.New("answer to the handshake is too long")
		}
		n, err := s.Read(s.in[s.to:])
		if err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		s.to += n
	}
	if !bytes.HasPrefix(s.in[:s.to], []byte("HTTP/1.1 101 ")) {
		line, _, _ := bytes.Cut(s.in[:s.to], []byte("\r\n"))
		return fmt.Errorf("handshake: expected 101, got %q", line)
	}
	s.from = bytes.Index(s.in[:s.to], end) + len(end)
	return s.SetDeadline(time.Time{})
}

// send writes one frame. The payload begins at frame[maskRoom].
func (s *socket) send(opcode byte, frame []byte) error {
	size := len(frame) - maskRoom
	switch {
	case size < 126:
		frame = frame[2:]
		frame[1] = 0x80 | byte(size)
	case size < 1<<16:
		frame[1] = 0x80 | 126
		binary.BigEndian.PutUint16(frame[2:], uint16(size))
	default:
		return fmt.Errorf("frame of %d bytes: expected less than 64 KiB", size)
	}
	frame[0] = 0x80 | opcode
	_, err := s.Write(frame)
	return err
}

// receive returns the next message, valid until the next call.
func (s *socket) receive() ([]byte, error) {
	for {
		opcode, payload, err := s.frame()
		if err != nil {
			return nil, err
		}
		switch opcode {
		case opText:
			return payload, nil
		case opPing:
			if err := s.send(opPong, append(make([]byte, maskRoom), payload...)); err != nil {
				return nil, err
			}
		case opClose:
			return nil, fmt.Errorf("closed by the server: %q", payload)
		}
	}
}

// frame returns the next frame, which must be whole and fit.
func (s *socket) frame() (opcode byte, payload []byte, err error) {
	for {
		b := s.in[s.from:s.to]
		if len(b) >= 2 {
			head, size := 2, int(b[1])
			if size == 126 && len(b) >= 4 {
				head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
			}
			if size > inSize-head || b[0]&0x80 == 0 {
				return 0, nil, fmt.Errorf("expected whole frames below %d bytes, got % x", inSize, b[:2])
			}
			if (head == 4 || size < 126) && len(b) >= head+size {
				s.from += head + size
				return b[0] & 0xf, b[head : head+size], nil
			}
		}
		s.to = copy(s.in, b)
		s.from = 0
		if err := s.more(); err != nil {
			return 0, nil, err
		}
	}
}

// more reads what has come. The deadline is moved rarely: that costs as much as
// a part of the call.
func (s *socket) more() error {
	if now := time.Now(); s.until.Sub(now) < patience {
		s.until = now.Add(2 * patience)
		if err := s.SetReadDeadline(s.until); err != nil {
			return err
		}
	}
	n, err := s.Read(s.in[s.to:])
	s.to += n
	return err
}
