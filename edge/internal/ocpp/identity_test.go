package ocpp

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/shared/event"
)

func TestIdentity(t *testing.T) {
	tests := []struct {
		path string
		want event.StationID // empty: refused
	}{
		{"/ocpp/CP-1", "CP-1"},
		{"/CP-1", "CP-1"},
		{"/ocpp/CP-1/", "CP-1"},
		{"/ocpp/CP-1//", "CP-1"},
		{"/any/prefix/at/all/CP_1", "CP_1"},
		{"/ws://host:9000/CP_1/SERIAL", "SERIAL"},
		{"/ocpp/r%20pc%2F1.6", "r pc/1.6"},
		{"/ocpp/a%7Cb", "a|b"},
		{"/ocpp/a|b", "a|b"},
		{"/ocpp/100%2525", "100%25"}, // once, not twice
		{"/ocpp/a+b", "a+b"},
		{"/ocpp/a:b@c=d*", "a:b@c=d*"},
		{"/ocpp/S%C3%A4ule", "Säule"},
		{"/ocpp/Säule", "Säule"},
		{"/ocpp/" + strings.Repeat("x", 255), event.StationID(strings.Repeat("x", 255))},
		{"/ocpp/" + strings.Repeat("x", 256), ""},
		{"/ocpp/a%00b", ""},
		{"/ocpp/a%0Ab", ""},
		{"/ocpp/a%7Fb", ""},
		{"/ocpp/%FF", ""},
		{"/", ""},
		{"//", ""},
		{"", ""},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			u, err := url.ParseRequestURI("http://host" + tt.path + "?query=1/2")
			if err != nil {
				t.Fatal(err)
			}
			got, err := identity(u)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add("/ocpp/CP-1")
	f.Add("/ocpp/r%20pc%2F1.6")
	f.Add("//%2F%2f//")
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		if id, err := identity(u); err == nil && !credential.ValidIdentity(id) {
			t.Errorf("%q gives the identity %q", path, id)
		}
	})
}

func TestOffered(t *testing.T) {
	h := http.Header{"Sec-Websocket-Protocol": {"ocpp2.0.1 , ocpp1.6", "ocpp2.1,,"}}
	if got, want := offered(h), []string{"ocpp2.0.1", "ocpp1.6", "ocpp2.1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
