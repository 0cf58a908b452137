package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// truth is a session of a charger whose end was confirmed, as it really was,
// whatever the charger made of it on the wire.
type truth struct {
	Kind          string    `json:"kind"`
	Station       string    `json:"station"`
	Version       string    `json:"version"`
	Personality   string    `json:"personality"`
	Connector     int       `json:"connector"`
	Token         string    `json:"token"`
	Transaction   int64     `json:"transaction"`
	TransactionID string    `json:"transaction_id"`
	Start         time.Time `json:"start"`
	Stop          time.Time `json:"stop"`
	MeterStart    int64     `json:"meter_start"`
	MeterStop     int64     `json:"meter_stop"`
}

// name is the transaction as the gateway must know it; empty where the charger
// never learned it.
func (s truth) name() string {
	if s.TransactionID != "" {
		return s.TransactionID
	}
	if s.Transaction > 0 {
		return strconv.FormatInt(s.Transaction, 10)
	}
	return ""
}

// readTruth reads the sessions of a ledger.
func readTruth(t *testing.T, path string) []truth {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	var all []truth
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var s truth
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("ledger: %v in %s", err, lines.Bytes())
		}
		if s.Kind == "session" {
			all = append(all, s)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// A depot as depots are: sixty chargers, twenty of each version, a third of them
// quirky, and all the while cuts of the uplink and kills of gateway and manager.
// Each session that a charger ended is there once, with the energy that flowed.
func TestMixedDepot(t *testing.T) {
	mixedDepot(t, 3*time.Minute, 11)
}

// TestSoakMixedDepot is the same for as long as CHARGEYARD_SOAK says.
func TestSoakMixedDepot(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("CHARGEYARD_SOAK"))
	if err != nil {
		t.Skip("a long soak runs with CHARGEYARD_SOAK=1h (make soak sets it)")
	}
	mixedDepot(t, length, uint64(time.Now().UnixNano()))
}

func mixedDepot(t *testing.T, length time.Duration, seed uint64) {
	t.Helper()
	need(t)
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t, plan{mosquitto: true, edge: "authorization: {offline: all}\nsamples: {flush: 2s}\n"})
	h.online()
	h.admit(drivers...)
	d := h.newDepot(60, "mixed", "--seed", "1", "--prefix", "CP-")
	d.start()
	b := &busy{house: h, depot: d, orders: map[string]string{}}
	cuts, kills := 0, map[string]int{}
	for end := time.Now().Add(length); time.Now().Before(end); {
		pause := time.NewTimer(time.Duration(3000+r.IntN(5000)) * time.Millisecond) // the moment is what is random here
		<-pause.C
		switch r.IntN(5) {
		case 0, 1:
			h.uplink.setCut(true)
			cuts++
		case 2:
			h.uplink.setCut(false)
		case 3:
			h.gateway.kill()
			kills["gateway"]++
			h.gateway.start()
		case 4:
			h.manager.kill()
			kills["manager"]++
			h.manager.start()
			eventually(t, "manager is ready", h.managerReady)
		}
	}
	h.uplink.setCut(false)
	b.back()
	d.drain(3 * time.Minute)
	t.Logf("%d cuts, kills %v", cuts, kills)
	h.compareTruth(readTruth(t, d.ledger), readLedger(t, d.ledger))
}

// compareTruth holds what really flowed against what the manager's database
// holds.
func (h *house) compareTruth(all []truth, said []line) {
	t := h.t
	t.Helper()
	var sessions []session
	eventuallyWithin(t, 3*time.Minute, "the manager has caught up", func() error {
		var err error
		if sessions, err = list[session](h.api, "/sessions", nil); err != nil {
			return err
		}
		ended := 0
		for _, s := range sessions {
			if s.Status == "ended" {
				ended++
			}
		}
		if ended < len(all) {
			return fmt.Errorf("%d of %d ends have arrived", ended, len(all))
		}
		return h.drained()
	})
	held := map[string][]session{}
	for _, s := range sessions {
		held[s.Identity+"/"+s.Transaction] = append(held[s.Identity+"/"+s.Transaction], s)
	}
	for key, same := range held {
		if len(same) > 1 {
			t.Errorf("transaction %s: %d sessions, want 1: %+v", key, len(same), same)
		}
	}
	accounted := map[string]bool{}
	versions, quirky := map[string]int{}, map[string]int{}
	for _, s := range all {
		versions[s.Version]++
		if s.Personality != "" {
			quirky[s.Personality]++
		}
		what := fmt.Sprintf("%s %s (%s %s) by %s, %d to %d Wh, %s", s.Station, s.name(), s.Version, s.Personality, s.Token, s.MeterStart, s.MeterStop, s.Start.Format(time.TimeOnly))
		found := slices.DeleteFunc(slices.Clone(sessions), func(c session) bool {
			if c.Identity != s.Station || accounted[c.ID] {
				return true
			}
			if name := s.name(); name != "" && c.Transaction == name {
				return false
			}
			// Its number was never learned, or the charger says another.
			return c.MeterStartWh == nil || *c.MeterStartWh != s.MeterStart || c.MeterStopWh == nil || *c.MeterStopWh != s.MeterStop
		})
		if len(found) != 1 {
			t.Errorf("%s: %d sessions, want 1", what, len(found))
			continue
		}
		c := found[0]
		accounted[c.ID] = true
		switch {
		case c.Status != "ended" || c.EnergyWh == nil || *c.EnergyWh != s.MeterStop-s.MeterStart:
			t.Errorf("%s: the session is %s with %s Wh, %s to %s, %v", what, c.Status, wh(c.EnergyWh), wh(c.MeterStartWh), wh(c.MeterStopWh), c.Flags)
		case c.Token == nil || c.Token.Value != s.Token:
			t.Errorf("%s: the session's token is %+v", what, c.Token)
		case s.Personality == "" && slices.Contains(c.Flags, "suspect"):
			t.Errorf("%s: the session is suspect without a reason: %v", what, c.Flags)
		}
	}
	for _, c := range sessions {
		if !accounted[c.ID] && !unfinished(said, c) {
			t.Errorf("session %s on %s/%d (%s, transaction %s, %s, %v) belongs to none of a charger's", c.ID, c.Identity, c.EVSE, c.Protocol, c.Transaction, c.Status, c.Flags)
		}
	}
	t.Logf("chargers were confirmed %d sessions %v, %d of them quirky %v; the manager holds %d", len(all), versions, sum(quirky), quirky, len(sessions))
	if len(versions) < 3 {
		t.Errorf("sessions of %v: this proves nothing of the others", versions)
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// unfinished tells whether a charger began c and its end was never confirmed.
func unfinished(said []line, c session) bool {
	return slices.ContainsFunc(said, func(l line) bool {
		return l.Station == c.Identity && !l.Confirmed && (l.Action == "StartTransaction" || l.Action == "StopTransaction" || l.Action == "TransactionEvent")
	})
}
