package ocpp

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// handshakeBuffers are the fields of a tls.Conn that hold what the handshake
// needed: as much as its largest message, for as long as the connection lasts.
var handshakeBuffers = [...]string{"rawInput", "hand"}

// slim drops those buffers where they are empty: 3 of the 24 KiB of an idle
// connection. The library offers no way to do so. Nothing may be read at the same
// time. A library whose fields have other names or types keeps its buffers;
// TestSlim then says so.
func slim(c *tls.Conn) (dropped int) {
	fields := reflect.ValueOf(c).Elem()
	for _, name := range handshakeBuffers {
		f := fields.FieldByName(name)
		if !f.IsValid() || f.Type() != reflect.TypeFor[bytes.Buffer]() {
			continue
		}
		b := (*bytes.Buffer)(unsafe.Pointer(f.UnsafeAddr())) //nolint:gosec // its type was checked
		if b.Len() == 0 {
			*b = bytes.Buffer{}
			dropped++
		}
	}
	return dropped
}
