package ocpp

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/shared/event"
)

// longIdentity is the length above which other systems refuse an identity.
const longIdentity = 48

// errIdentity says that the path of a request names no station.
var errIdentity = errors.New("no identity")

// identity returns the station that a request's path names: the last segment
// that is not empty, unescaped once, after splitting, so that %2F stays inside
// it. OCPP-J 1.6 §3.1.1.
func identity(u *url.URL) (event.StationID, error) {
	segments := strings.Split(u.EscapedPath(), "/")
	last := ""
	for i := len(segments) - 1; i >= 0 && last == ""; i-- {
		last = segments[i]
	}
	if last == "" {
		return "", fmt.Errorf("%w in the path: expected /ocpp/{station}, got %q", errIdentity, u.EscapedPath())
	}
	text, err := url.PathUnescape(last)
	if err != nil {
		return "", fmt.Errorf("%w in the path: %w", errIdentity, err)
	}
	id := event.StationID(text)
	if !credential.ValidIdentity(id) {
		return "", fmt.Errorf("%w in the path: expected up to %d printable characters, got %q", errIdentity, credential.MaxIdentity, text)
	}
	return id, nil
}

// offered returns the subprotocols that a client lists, in its order of
// preference, over all lines of the header.
func offered(h http.Header) []string {
	var names []string
	for _, line := range h.Values("Sec-Websocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}
