package broker

import (
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// FuzzAllowed: whatever a gateway asks for, it stays in its own tree, and no
// filter of its reaches out of it.
func FuzzAllowed(f *testing.F) {
	for _, s := range []string{"cy/1/gw-1/up/events", "cy/1/gw-1/#", "cy/1/+/cmd", "$share/x/cy/1/gw-1/cmd", "cy/1/gw-1/ack/+", "cy/1/gw-1//status", ""} {
		f.Add("gw-1", s, true)
		f.Add("gw-1", s, false)
	}
	f.Fuzz(func(t *testing.T, gateway, topic string, write bool) {
		g := event.GatewayID(gateway)
		if !wire.ValidGateway(g) || !allowed(g, topic, write) {
			return
		}
		if !strings.HasPrefix(topic, wire.Prefix+gateway+"/") {
			t.Fatalf("%s may use %q", g, topic)
		}
		if strings.Contains(topic, "#") || write && strings.Contains(topic, "+") || strings.Count(topic, "/") > 4 {
			t.Fatalf("%s may use %q", g, topic)
		}
	})
}
