package e2e

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// Proof 8, first half: the gateway's disk is full. It stops confirming and says
// so; the chargers queue; once there is room again everything arrives.
func TestDiskFull(t *testing.T) {
	pages := filepath.Join(t.TempDir(), "max-pages")
	h := newHouse(t, plan{
		mosquitto: true, edge: "authorization: {offline: all}\n",
		edgeEnv: []string{"CHARGEYARD_MAX_PAGES_EVENTS=" + pages},
	})
	h.online()
	h.admit(drivers...)
	d := h.newDepot(8, "busy", "--seed", "3", "--prefix", "CP-")
	d.start()
	eventually(t, "a session has ended", func() error {
		all, err := list[session](h.api, "/sessions", url.Values{"status": {"ended"}})
		if err == nil && len(all) == 0 {
			err = fmt.Errorf("no session")
		}
		return err
	})
	// Without the manager nothing becomes free again. SQLite never goes below the
	// pages that a file has: what is delivered makes room first, then it is full.
	h.uplink.setCut(true)
	h.gateway.kill() // the limit is read when a file is opened, and when it is full
	h.write(pages, "1")
	h.gateway.start()
	// Long enough that sessions begin and end meanwhile.
	queued := func() error {
		all, err := d.chargers()
		if err != nil {
			return err
		}
		n := 0
		for _, c := range all {
			if c.Queue > 0 {
				n++
			}
		}
		if n < len(all)/2 || len(all) == 0 {
			return fmt.Errorf("%d of %d chargers have queued messages", n, len(all))
		}
		return nil
	}
	eventually(t, "the gateway says that it is unwell", func() error {
		if err := h.gatewayReady(); err == nil || !strings.Contains(err.Error(), "503") {
			return fmt.Errorf("its health page, on a full disk: %w", err)
		}
		return nil
	})
	eventually(t, "chargers queue because nobody confirms", queued)
	h.write(pages, "1000000")
	h.uplink.setCut(false)
	eventually(t, "the gateway has recovered", h.gatewayReady)
	d.drain(patience)
	ledger := readLedger(t, d.ledger)
	h.settled(ledger)
	h.compare(ledger)
	alarms := h.events("chargeyard.gateway.alarm")
	if len(alarms) == 0 || !strings.Contains(string(alarms[0].Data), "disk") {
		t.Errorf("no alarm tells of the full disk: %+v", alarms)
	}
}
