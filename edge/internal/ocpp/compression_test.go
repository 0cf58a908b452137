package ocpp_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
)

const deflate = "permessage-deflate"

// Compression is agreed to where the protocol or the station has it, and works.
func TestCompression(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		name    string
		all     []string
		station *bool
		want    bool
	}{
		{"off", nil, nil, false},
		{"on for the protocol", []string{"ocpp1.6"}, nil, true},
		{"on for another one", []string{"ocpp2.1"}, nil, false},
		{"on for the station", nil, &yes, true},
		{"off for the station", []string{"ocpp1.6"}, &no, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ocpptest.Config()
			cfg.Compress = tt.all
			cfg.Stations = map[event.StationID]ocpp.Station{"CP-1": {Behaviour: stationprofile.Behaviour{Compression: tt.station}}}
			y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
			d := websocket.Dialer{Subprotocols: []string{"ocpp1.6"}, EnableCompression: true}
			ws, response, err := d.Dial(y.URL+"/CP-1", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(response.Header.Get("Sec-Websocket-Extensions"), deflate); got != tt.want {
				t.Errorf("agreed %v, want %v", got, tt.want)
			}
			ocpptest.Play(t, ws, nil).Boot()
		})
	}
}

// raw opens a connection that offers compression and tells whether it was taken.
func raw(t *testing.T, address string) (conn net.Conn, agreed bool) {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(address, "ws://"), "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ocpp1.6\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", path)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, strings.Contains(response.Header.Get("Sec-Websocket-Extensions"), deflate)
}

// compressedFrame is a masked text frame with the bit of compression set.
func compressedFrame(payload []byte) []byte {
	frame := []byte{0xc1, 0x80 | 127}
	frame = binary.BigEndian.AppendUint64(frame, uint64(len(payload)))
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// closeCode reads what comes until the closing frame.
func closeCode(t *testing.T, conn net.Conn) int {
	t.Helper()
	for {
		head := make([]byte, 2)
		if _, err := readFull(conn, head); err != nil {
			t.Fatalf("no closing frame: %v", err)
		}
		body := make([]byte, head[1]&0x7f)
		if _, err := readFull(conn, body); err != nil {
			t.Fatal(err)
		}
		if head[0]&0xf == 8 {
			return int(binary.BigEndian.Uint16(body))
		}
	}
}

func readFull(conn net.Conn, b []byte) (int, error) { return io.ReadFull(conn, b) }

// quirk 13: a station that compresses wrongly is not offered it again.
func TestBrokenCompression(t *testing.T) {
	for name, payload := range map[string][]byte{"no deflate": []byte("\xff\xff\xff\xffnonsense"), "cut short": {0xf2, 0x48}} {
		t.Run(name, func(t *testing.T) {
			cfg := ocpptest.Config()
			cfg.Compress = []string{"ocpp1.6"}
			y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
			conn, agreed := raw(t, y.URL+"/CP-1")
			if !agreed {
				t.Fatal("compression was not agreed to")
			}
			if _, err := conn.Write(compressedFrame(payload)); err != nil {
				t.Fatal(err)
			}
			if got := closeCode(t, conn); got != websocket.CloseInvalidFramePayloadData {
				t.Errorf("closed with %d, want %d", got, websocket.CloseInvalidFramePayloadData)
			}
			if _, agreed := raw(t, y.URL+"/CP-1"); agreed {
				t.Error("compression was agreed to again")
			}
			if _, agreed := raw(t, y.URL+"/CP-2"); !agreed {
				t.Error("another station suffers from it")
			}
		})
	}
}

// A small frame that unpacks to more than the limit is too large.
func TestCompressionBomb(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.Compress, cfg.FrameLimit = []string{"ocpp1.6"}, 64<<10
	y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
	conn, _ := raw(t, y.URL+"/CP-1")
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 16<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(compressedFrame(bytes.TrimSuffix(packed.Bytes(), []byte{0, 0, 0xff, 0xff}))); err != nil {
		t.Fatal(err)
	}
	if got := closeCode(t, conn); got != websocket.CloseMessageTooBig {
		t.Errorf("closed with %d, want %d", got, websocket.CloseMessageTooBig)
	}
}
