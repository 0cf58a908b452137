package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// failpoints are the places at which a process kills itself.
var failpoints = []struct{ process, name string }{
	{"gateway", "edge.outbox.before-commit"},
	{"gateway", "edge.outbox.after-commit"},
	{"gateway", "edge.ocpp.before-answer"},
	{"gateway", "edge.ocpp.before-answer.StartTransaction"},
	{"gateway", "edge.ocpp.before-answer.StopTransaction"},
	{"gateway", "edge.ocpp.before-answer.TransactionEvent"},
	{"gateway", "edge.ocpp.after-answer"},
	{"gateway", "edge.uplink.before-publish"},
	{"gateway", "edge.uplink.after-publish"},
	{"gateway", "edge.uplink.before-settle"},
	{"gateway", "edge.uplink.after-settle"},
	{"gateway", "edge.samples.after-number"},
	{"gateway", "edge.command.after-journal"},
	{"gateway", "edge.command.after-effect"},
	{"manager", "cloud.ingest.before-commit"},
	{"manager", "cloud.ingest.after-commit"},
	{"manager", "cloud.ingest.after-ack"},
	{"manager", "cloud.commander.after-publish"},
}

// drivers are the cards of the scenario "busy".
var drivers = []string{"CAFE01", "CAFE02", "CAFE03", "CAFE04", "CAFE05", "CAFE06", "CAFE07", "CAFE08"}

// busy is a house with chargers that charge without end, and orders that go to
// them all the while.
type busy struct {
	*house
	depot  *depot
	orders map[string]string // command id to its unique text
	next   int
}

func newBusy(t *testing.T, chargers int) *busy {
	t.Helper()
	h := newHouse(t, plan{mosquitto: true, edge: "authorization: {offline: all}\nsamples: {flush: 2s}\n"})
	h.online()
	h.admit(drivers...)
	d := h.newDepot(chargers, "busy", "--seed", "1", "--prefix", "CP-")
	d.start()
	b := &busy{house: h, depot: d, orders: map[string]string{}}
	eventually(t, "sessions have ended", func() error {
		all, err := list[session](h.api, "/sessions", map[string][]string{"status": {"ended"}})
		if err == nil && len(all) < 3 {
			err = fmt.Errorf("%d sessions", len(all))
		}
		return err
	})
	return b
}

// order sends a message to a charger that must arrive at most once.
func (b *busy) order() {
	b.next++
	text := fmt.Sprintf("order-%d", b.next)
	body := map[string]any{
		"type": "send_data", "station": fmt.Sprintf("CP-%03d", b.next%5+1),
		"params": map[string]any{"vendor": "e2e", "message": "once", "data": text}, "expires": time.Now().Add(5 * time.Minute).UTC().Format(time.RFC3339),
	}
	var out command
	if err := b.api.do("POST", "/commands", body, &out); err == nil { // the manager may be down: then there is no order
		b.orders[out.ID] = text
	}
}

// back waits until manager and gateway are on their feet.
func (b *busy) back() {
	b.t.Helper()
	eventually(b.t, "manager is ready", b.managerReady)
	eventually(b.t, "gateway is healthy", b.gatewayReady)
}

func (b *busy) process(name string) *process {
	switch name {
	case "gateway":
		return b.gateway
	case "manager":
		return b.manager
	}
	return b.broker
}

// finish lets the chargers come to an end and compares.
func (b *busy) finish() {
	b.t.Helper()
	b.back()
	for id, text := range b.orders { // while the chargers are there to obey
		c := b.api.outcome(b.t, id, patience)
		if c.Status == "succeeded" || c.Status == "indeterminate" || c.Status == "failed" || c.Status == "expired" || c.Status == "rejected" {
			continue
		}
		b.t.Errorf("%s (%s) came to %s: %s", id, text, c.Status, c.Reason)
	}
	b.depot.drain(patience)
	ledger := readLedger(b.t, b.depot.ledger)
	b.settled(ledger)
	b.compareOrders(readOrders(b.t, b.depot.ledger))
	b.compare(ledger)
}

// compareOrders checks that no order was carried out twice, and every one that
// is said to have succeeded once.
func (b *busy) compareOrders(arrived map[string]int) {
	b.t.Helper()
	for text, n := range arrived {
		if n > 1 {
			b.t.Errorf("%s was carried out %d times", text, n)
		}
	}
	done := 0
	for id, text := range b.orders {
		var c command
		if err := b.api.do("GET", "/commands/"+id, nil, &c); err != nil {
			b.t.Error(err)
		}
		if c.Status == "succeeded" {
			done++
			if arrived[text] != 1 {
				b.t.Errorf("%s succeeded and was carried out %d times", text, arrived[text])
			}
		}
	}
	b.t.Logf("%d orders, %d arrived, %d succeeded", len(b.orders), len(arrived), done)
}

// readOrders counts the vendor messages that reached a charger, by their text.
func readOrders(t *testing.T, path string) map[string]int {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	arrived := map[string]int{}
	for l := range strings.Lines(string(raw)) {
		var o struct {
			Kind    string
			Action  string
			Payload struct{ VendorID, Data string }
		}
		if json.Unmarshal([]byte(l), &o) == nil && o.Kind == "order" && o.Action == "DataTransfer" && o.Payload.VendorID == "e2e" {
			arrived[o.Payload.Data]++
		}
	}
	return arrived
}

// Proof 5, first half: at each failpoint the process kills itself, at least
// three times, later each time.
func TestFailpoints(t *testing.T) {
	need(t)
	for _, f := range failpoints {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			b := newBusy(t, 20)
			p := b.process(f.process)
			hits := []int{1, 4, 7}
			if strings.HasPrefix(f.name, "edge.outbox.") { // the first commits of a start only tell that chargers are back
				hits = append(hits, 20, 30, 40, 50)
			}
			for _, hit := range hits {
				p.kill()
				p.start(fmt.Sprintf("CHARGEYARD_FAILPOINT=%s:%d", f.name, hit))
				eventually(t, f.name+" is reached", func() error {
					if strings.Contains(f.name, "command") && b.managerReady() == nil {
						b.order()
					}
					if p.running() {
						return fmt.Errorf("%s still runs", f.process)
					}
					return nil
				})
				if err := p.exitError(); err == nil || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("%s ended by itself: %v", f.process, err)
				}
				p.start()
				b.back()
			}
			b.finish()
		})
	}
}

// Proof 5, second half: thirty kill -9 of whoever, at any moment.
func TestRandomKills(t *testing.T) {
	b := newBusy(t, 20)
	b.randomKills(30, rand.New(rand.NewPCG(1, 2)))
	b.finish()
}

func (b *busy) randomKills(n int, r *rand.Rand) {
	b.t.Helper()
	names := []string{"gateway", "manager", "broker"}
	killed := map[string]int{}
	for range n {
		b.order()
		name := names[r.IntN(len(names))]
		pause := time.NewTimer(time.Duration(200+r.IntN(2800)) * time.Millisecond) // the moment of a kill is what is random here
		<-pause.C
		b.process(name).kill()
		killed[name]++
		if r.IntN(3) == 0 { // two at once
			other := names[r.IntN(len(names))]
			b.process(other).kill()
			killed[other]++
			if other != name {
				b.process(other).start()
			}
		}
		b.process(name).start()
		b.back()
	}
	b.t.Logf("killed: %v", killed)
}

// TestSoak is TestRandomKills for as long as CHARGEYARD_SOAK says.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("CHARGEYARD_SOAK"))
	if err != nil {
		t.Skip("a long soak runs with CHARGEYARD_SOAK=30m (make soak sets it)")
	}
	b := newBusy(t, 40)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for end := time.Now().Add(length); time.Now().Before(end); {
		b.randomKills(10, r)
	}
	b.finish()
}
