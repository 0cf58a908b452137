package ocpp_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Whoever makes up names costs a bounded number of stations, and none of those
// that are known or named.
func TestUnknownLimit(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.AcceptUnknown, cfg.UnknownLimit = true, 2
	y := ocpptest.Start(t, cfg, site.Config{Stations: []site.Admission{{Station: "NAMED"}}}, quiet, v16.New())
	for _, tt := range []struct {
		id     string
		status int
	}{{"A", 101}, {"B", 101}, {"C", 503}, {"A", 101}, {"NAMED", 101}, {"D", 503}} {
		ws, response, err := ocpptest.Dial(t.Context(), y.URL+"/"+tt.id, nil, "ocpp1.6")
		if response == nil {
			t.Fatal(err)
		}
		if response.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", tt.id, response.StatusCode, tt.status)
		}
		if ws != nil {
			if err := ws.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	y.Journal.Wait(t, "alarm", func(d event.Draft) bool {
		a, ok := d.Data.(*event.GatewayAlarm)
		return ok && a.Alarm == "stations_full"
	})
	if n := len(y.Site.Stations()); n > 3 {
		t.Errorf("%d stations are known, want at most 3", n)
	}
}

func TestHandshake(t *testing.T) {
	hash, err := credential.NewHash([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := ocpptest.Config()
	cfg.AcceptUnknown = false
	cfg.Stations = map[event.StationID]ocpp.Station{"MUTE": {AssumeProtocol: "ocpp1.6"}}
	cfg.Aliases = map[event.StationID]event.StationID{"SERIAL": "CP-1", "LOCK-SERIAL": "LOCKED"}
	depot := site.Config{Stations: []site.Admission{
		{Station: "CP-1"}, {Station: "LOCKED", PasswordHashes: []string{hash}}, {Station: "MUTE"}, {Station: "r pc/1.6"}, {Station: "a:b", PasswordHashes: []string{hash}},
	}}
	y := ocpptest.Start(t, cfg, depot, quiet, v16.New())
	root := strings.TrimSuffix(y.URL, "/ocpp")
	as := func(user, password string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
	}
	v := []string{"ocpp1.6"}
	tests := []struct {
		name      string
		path      string
		header    http.Header
		protocols []string
		status    int    // of the handshake
		echo      string // the subprotocol in the answer
		closed    int    // right away, with this code; 0: it stays open
		as        event.StationID
	}{
		{name: "plain", path: "/ocpp/CP-1", protocols: v, status: 101, echo: "ocpp1.6", as: "CP-1"},
		{name: "another prefix", path: "/a/b/c/CP-1", protocols: v, status: 101, echo: "ocpp1.6", as: "CP-1"},
		{name: "no prefix, slash behind", path: "/CP-1/", protocols: v, status: 101, echo: "ocpp1.6", as: "CP-1"},
		{name: "address inside the path", path: "/ws://host:9000/X/CP-1", protocols: v, status: 101, echo: "ocpp1.6", as: "CP-1"},
		{name: "escaped identity", path: "/ocpp/r%20pc%2F1.6", protocols: v, status: 101, echo: "ocpp1.6", as: "r pc/1.6"},
		{name: "alias", path: "/ocpp/SERIAL", protocols: v, status: 101, echo: "ocpp1.6", as: "CP-1"},
		{name: "odd origin", path: "/ocpp/CP-1", header: http.Header{"Origin": {"http://elsewhere"}}, protocols: v, status: 101, echo: "ocpp1.6", as: "CP-1"},
		{name: "client's order", path: "/ocpp/CP-1", protocols: []string{"ocpp2.0.1", "ocpp1.6", "ocpp2.1"}, status: 101, echo: "ocpp1.6", as: "CP-1"},
		{name: "spelling of the client", path: "/ocpp/CP-1", protocols: []string{"OCPP1.6"}, status: 101, echo: "OCPP1.6", as: "CP-1"},
		{name: "OCPP-J 1.6 §3.1.2 none in common", path: "/ocpp/CP-1", protocols: []string{"ocpp2.0.1"}, status: 101, closed: websocket.CloseProtocolError},
		{name: "quirk 1 none named", path: "/ocpp/CP-1", status: 101, closed: websocket.CloseProtocolError},
		{name: "quirk 1 none named, assumed", path: "/ocpp/MUTE", status: 101, as: "MUTE"},
		{name: "other one named, nothing assumed", path: "/ocpp/MUTE", protocols: []string{"ocpp2.0.1"}, status: 101, closed: websocket.CloseProtocolError},
		{name: "unknown", path: "/ocpp/CP-2", protocols: v, status: 404},
		{name: "no identity", path: "/", protocols: v, status: 404},
		{name: "control character", path: "/ocpp/a%07b", protocols: v, status: 404},
		{name: "no credentials", path: "/ocpp/LOCKED", protocols: v, status: 401},
		{name: "wrong password", path: "/ocpp/LOCKED", header: as("LOCKED", "guess"), protocols: v, status: 401},
		{name: "wrong user", path: "/ocpp/LOCKED", header: as("CP-1", "secret"), protocols: v, status: 401},
		{name: "right password", path: "/ocpp/LOCKED", header: as("LOCKED", "secret"), protocols: v, status: 101, echo: "ocpp1.6", as: "LOCKED"},
		{name: "alias with its password", path: "/ocpp/LOCK-SERIAL", header: as("LOCK-SERIAL", "secret"), protocols: v, status: 101, echo: "ocpp1.6", as: "LOCKED"},
		{name: "colon in the identity", path: "/ocpp/a:b", header: as("a:b", "secret"), protocols: v, status: 101, echo: "ocpp1.6", as: "a:b"},
		{name: "credentials nobody asked for", path: "/ocpp/CP-1", header: as("CP-1", "x"), protocols: v, status: 101, echo: "ocpp1.6", as: "CP-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ws, response, err := ocpptest.Dial(t.Context(), root+tt.path, tt.header, tt.protocols...)
			if response == nil {
				t.Fatal(err)
			}
			if response.StatusCode != tt.status {
				t.Fatalf("status %d, want %d", response.StatusCode, tt.status)
			}
			if tt.status != 101 {
				if wanted := response.Header.Get("WWW-Authenticate") != ""; wanted != (tt.status == 401) {
					t.Errorf("WWW-Authenticate: %v", wanted)
				}
				return
			}
			s := ocpptest.Play(t, ws, nil)
			if got := response.Header.Get("Sec-Websocket-Protocol"); got != tt.echo {
				t.Errorf("subprotocol %q, want %q", got, tt.echo)
			}
			if tt.closed != 0 {
				if err := <-s.Closed; !websocket.IsCloseError(err, tt.closed) {
					t.Errorf("closed with %v, want %d", err, tt.closed)
				}
				return
			}
			s.Boot()
			y.Journal.Wait(t, "boot of "+string(tt.as), func(d event.Draft) bool {
				_, ok := d.Data.(*event.StationBooted)
				return ok && d.Address.Station == tt.as
			})
		})
	}
	t.Run("escape that is none", func(t *testing.T) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(root, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET /ocpp/CP%%ZZ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != 404 {
			t.Errorf("status %d, want 404", response.StatusCode)
		}
	})
	t.Run("no WebSocket", func(t *testing.T) {
		response, err := http.Get("http" + strings.TrimPrefix(root, "ws") + "/ocpp/CP-1")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != 400 {
			t.Errorf("status %d, want 400", response.StatusCode)
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

func TestAssumeForAll(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.AssumeProtocol = "ocpp1.6"
	y := ocpptest.Start(t, cfg, site.Config{}, quiet, v16.New())
	ws, response, err := ocpptest.Dial(t.Context(), y.URL+"/CP-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Sec-Websocket-Protocol"); got != "" {
		t.Errorf("subprotocol %q was echoed", got)
	}
	ocpptest.Play(t, ws, nil).Boot()
}
