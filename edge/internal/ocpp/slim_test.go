package ocpp

import (
	"crypto/tls"
	"testing"
)

// The fields are there: when this fails after an upgrade of Go, look at crypto/tls
// for where the buffers are now.
func TestSlim(t *testing.T) {
	if got := slim(tls.Server(nil, new(tls.Config))); got != len(handshakeBuffers) {
		t.Errorf("%d buffers were dropped, want %d", got, len(handshakeBuffers))
	}
}
