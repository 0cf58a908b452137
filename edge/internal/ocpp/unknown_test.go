package ocpp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/v16"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// A station that nobody named is refused and reported, or waits, or is served.
func TestUnknown(t *testing.T) {
	tests := []struct {
		name      string
		let, pend bool
		status    int
		boot      string
	}{
		{"refuse", false, false, 404, ""},
		{"pending", true, true, 101, "Pending"},
		{"accept", true, false, 101, "Accepted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ocpptest.Config()
			cfg.AcceptUnknown = tt.let
			y := ocpptest.Start(t, cfg, site.Config{PendUnknown: tt.pend}, quiet, v16.New())
			ws, status, err := dial(t, y.URL+"/NEW", nil, http.Header{})
			if status != tt.status {
				t.Fatalf("status %d, want %d: %v", status, tt.status, err)
			}
			if tt.boot == "" {
				y.Journal.Wait(t, "unknown station", func(d event.Draft) bool {
					e, ok := d.Data.(*event.StationSecurity)
					return ok && e.Event == "UnknownStation" && d.Address.Station == "NEW"
				})
				away := y.Server.TurnedAway()
				if len(away) != 1 || away[0].Name != "NEW" || !strings.Contains(away[0].Reason, "unknown") {
					t.Errorf("turned away %+v", away)
				}
				return
			}
			s := ocpptest.Play(t, ws, nil)
			if answer := s.Call("BootNotification", `{"chargePointVendor":"A","chargePointModel":"B"}`); !strings.Contains(answer, tt.boot) {
				t.Errorf("boot was answered %s, want %s", answer, tt.boot)
			}
		})
	}
}

// Whoever makes up names by the thousand costs neither stations nor memory.
func TestUnknownStorm(t *testing.T) {
	cfg := ocpptest.Config()
	cfg.AcceptUnknown = false
	var log book
	y := ocpptest.Start(t, cfg, site.Config{}, log.logger(), v16.New())
	for i := range 2000 {
		if _, status, err := dial(t, fmt.Sprintf("%s/MADE-UP-%d", y.URL, i), nil, nil); status != 404 {
			t.Fatalf("status %d: %v", status, err)
		}
	}
	if n := len(y.Site.Stations()); n != 0 {
		t.Errorf("%d stations are known", n)
	}
	if n := len(y.Server.TurnedAway()); n > 50 {
		t.Errorf("%d are remembered", n)
	}
	warnings := 0
	log.mu.Lock()
	for _, line := range log.lines {
		if strings.Contains(line, "level=WARN") {
			warnings++
		}
	}
	log.mu.Unlock()
	if warnings > 60 {
		t.Errorf("%d warnings were logged", warnings)
	}
	if n := len(y.Journal.Events()); n > 300 {
		t.Errorf("%d events were recorded", n)
	}
}
