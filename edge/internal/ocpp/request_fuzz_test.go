package ocpp

import (
	"bytes"
	"net"
	"net/http"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
)

// said is a connection that says one thing.
type said struct {
	net.Conn
	r *bytes.Reader
}

func (s said) Read(b []byte) (int, error) { return s.r.Read(b) }

// Whatever opens a connection is a request, or is refused with an answer that
// HTTP knows.
func FuzzRequest(f *testing.F) {
	const upgrade = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
	for _, seed := range []string{
		"GET /ocpp/CP-1 HTTP/1.1\r\n" + upgrade, "GET /ocpp/CP%ZZ HTTP/1.1\r\n" + upgrade, "GET ws://h/CP-1 HTTP/1.1\r\n" + upgrade,
		"\x16\x03\x01\x00\xa5\x01\x00", "GET / HTTP/1.1\r\nAuthorization: Basic OjpA\r\n\r\n", "POST /x HTTP/1.0\r\nContent-Length: 5\r\n\r\nabcde", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		request, r := readRequest(said{r: bytes.NewReader(data)})
		if (request == nil) == (r == nil) {
			t.Fatalf("%q: %v, %v", data, request, r)
		}
		if r != nil {
			if r.status != 0 && http.StatusText(r.status) == "" {
				t.Errorf("%q: status %d", data, r.status)
			}
			return
		}
		id, err := identity(request.URL)
		if err == nil && !credential.ValidIdentity(id) {
			t.Errorf("%q gives the identity %q", data, id)
		}
		credential.Basic(request.Header.Get("Authorization"), string(id))
		offered(request.Header)
	})
}
