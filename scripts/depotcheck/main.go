// Command depotcheck compares three things while a simulated depot runs: what
// its chargers wrote into their ledger, what the manager's API says, and the
// numbers that stand on the page in a real browser.
//
//	go run ./scripts/depotcheck                        the depot of make run
//	go run ./scripts/depotcheck -url … -token … -ledger …
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// settle is how long a message may take from charger to page; what is younger is
// not judged. Samples wait for their flush.
const settle = 20 * time.Second

func main() {
	base := flag.String("url", "http://127.0.0.1:8080", "the manager")
	token := flag.String("token", "", "API token; without it the one in data/admin-token")
	ledger := flag.String("ledger", "data/ledger.jsonl", "what the chargers wrote")
	browser := flag.String("browser", "chromium", "program that opens the page")
	flag.Parse()
	if *token == "" {
		raw, err := os.ReadFile("data/admin-token")
		if err != nil {
			fail(err)
		}
		*token = strings.TrimSpace(string(raw))
	}
	c := checker{base: *base, token: *token, ledger: *ledger, browser: *browser}
	if err := c.run(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "depotcheck:", err)
	os.Exit(1)
}

type checker struct {
	base, token, ledger, browser string
	faults                       []error
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

// session is what the API says of one.
type session struct {
	ID           string    `json:"id"`
	Identity     string    `json:"identity"`
	Transaction  string    `json:"transaction"`
	Status       string    `json:"status"`
	Started      time.Time `json:"started"`
	MeterStartWh *int64    `json:"meter_start_wh"`
	MeterStopWh  *int64    `json:"meter_stop_wh"`
	EnergyWh     *int64    `json:"energy_wh"`
}

func (c *checker) run() error {
	before, err := c.sessions()
	if err != nil {
		return err
	}
	energyBefore, err := c.energies(before)
	if err != nil {
		return err
	}
	pause(settle) // the page's live values may be as old as the samples' flush
	page, err := c.page()
	if err != nil {
		return err
	}
	pause(settle)
	after, err := c.sessions()
	if err != nil {
		return err
	}
	energyAfter, err := c.energies(after)
	if err != nil {
		return err
	}
	starts, stops, err := c.compareLedger(after)
	if err != nil {
		return err
	}
	c.comparePage(page, before, after, energyBefore, energyAfter)
	if err := errors.Join(c.faults...); err != nil {
		return err
	}
	fmt.Printf("ledger, API and page agree: %d starts and %d stops that chargers were confirmed, %d sessions in the API, %d running on the page\n",
		starts, stops, len(after), len(page.rows))
	return nil
}

// pause lets d pass: what runs is to move on.
func pause(d time.Duration) { <-time.NewTimer(d).C }

func (c *checker) get(path string, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/v1"+path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// sessions reads all of them, by station and transaction.
func (c *checker) sessions() (map[string]session, error) {
	all := map[string]session{}
	for cursor := ""; ; {
		var page struct {
			Items []session `json:"items"`
			Next  *string   `json:"next"`
		}
		if err := c.get("/sessions?limit=1000&cursor="+url.QueryEscape(cursor), &page); err != nil {
			return nil, err
		}
		for _, s := range page.Items {
			key := s.Identity + "/" + s.Transaction
			if _, twice := all[key]; twice {
				c.fault("transaction %s is there twice", key)
			}
			all[key] = s
		}
		if page.Next == nil || *page.Next == "" {
			return all, nil
		}
		cursor = *page.Next
	}
}

// energies are the Wh of running sessions by their newest sample.
func (c *checker) energies(sessions map[string]session) (map[string]int64, error) {
	out := map[string]int64{}
	for _, s := range sessions {
		if s.Status != "active" || s.MeterStartWh == nil {
			continue
		}
		var page struct {
			Items []struct {
				EnergyWh *int64 `json:"energy_wh"`
			} `json:"items"`
		}
		if err := c.get("/sessions/"+s.ID+"/samples?limit=1000", &page); err != nil {
			return nil, err
		}
		for _, p := range page.Items {
			if p.EnergyWh != nil {
				out[s.ID] = max(out[s.ID], *p.EnergyWh-*s.MeterStartWh)
			}
		}
	}
	return out, nil
}

// compareLedger holds the chargers' words against the API's.
func (c *checker) compareLedger(sessions map[string]session) (starts, stops int, err error) {
	f, err := os.Open(c.ledger)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }()
	open := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var l struct {
			Kind, Station, Action string
			Time                  time.Time
			Confirmed             bool
			Payload               struct {
				MeterStart, MeterStop int64
				TransactionID         int64
				IDTag, EventType      string
				TransactionInfo       struct{ TransactionID string }
			}
			Answer struct{ TransactionID int64 }
			// Of a session of OCPP 2, which tells its registers in its readings:
			TransactionID string `json:"transaction_id"`
			MeterStart    int64  `json:"meter_start"`
			MeterStop     int64  `json:"meter_stop"`
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil || time.Since(l.Time) < settle {
			continue
		}
		if l.Kind == "session" && l.TransactionID != "" {
			key := l.Station + "/" + l.TransactionID
			if !open[key] {
				continue
			}
			stops++
			delete(open, key)
			s := sessions[key]
			if s.Status != "ended" || s.MeterStartWh == nil || *s.MeterStartWh != l.MeterStart || s.MeterStopWh == nil || *s.MeterStopWh != l.MeterStop ||
				s.EnergyWh == nil || *s.EnergyWh != l.MeterStop-l.MeterStart {
				c.fault("transaction %s ran from %d to %d Wh; the API says %+v", key, l.MeterStart, l.MeterStop, s)
			}
		}
		if l.Kind != "message" || !l.Confirmed {
			continue
		}
		switch l.Action {
		case "StartTransaction":
			starts++
			key := l.Station + "/" + strconv.FormatInt(l.Answer.TransactionID, 10)
			open[key] = true
			s, ok := sessions[key]
			if !ok || s.MeterStartWh == nil || *s.MeterStartWh != l.Payload.MeterStart {
				c.fault("transaction %s began at %d Wh; the API says %+v", key, l.Payload.MeterStart, s)
			}
		case "TransactionEvent":
			if l.Payload.EventType != "Started" {
				continue
			}
			starts++
			key := l.Station + "/" + l.Payload.TransactionInfo.TransactionID
			open[key] = true
			if _, ok := sessions[key]; !ok {
				c.fault("transaction %s began; the API does not know it", key)
			}
		case "StopTransaction":
			key := l.Station + "/" + strconv.FormatInt(l.Payload.TransactionID, 10)
			if !open[key] {
				continue // begun before this ledger
			}
			stops++
			delete(open, key)
			s := sessions[key]
			if s.Status != "ended" || s.MeterStopWh == nil || *s.MeterStopWh != l.Payload.MeterStop || s.EnergyWh == nil || *s.EnergyWh != l.Payload.MeterStop-*s.MeterStartWh {
				c.fault("transaction %s stopped at %d Wh; the API says %+v", key, l.Payload.MeterStop, s)
			}
		}
	}
	if starts == 0 {
		c.fault("%s has no confirmed start that is older than %v", c.ledger, settle)
	}
	return starts, stops, lines.Err()
}

// shown is what stands on the page.
type shown struct {
	tiles map[string]string
	rows  map[string]int64 // running sessions: Wh, -1 where none is shown
}

var (
	tile = regexp.MustCompile(`data-tile="([a-z]+)">([^<]*)`)
	rows = regexp.MustCompile(`<tr data-session="([^"]+)"(?: data-energy-wh="([0-9.]+)")?`)
)

// page opens the page in a browser and reads it.
func (c *checker) page() (shown, error) {
	profile, err := os.MkdirTemp("", "chargeyard-page-")
	if err != nil {
		return shown{}, err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+profile,
		"--virtual-time-budget=8000", "--dump-dom", c.base+"/#token="+url.QueryEscape(c.token))
	var problem strings.Builder
	cmd.Stderr = &problem
	dom, err := cmd.Output()
	if err != nil {
		return shown{}, fmt.Errorf("open the page: %w\n%s", err, problem.String())
	}
	out := shown{tiles: map[string]string{}, rows: map[string]int64{}}
	for _, m := range tile.FindAllStringSubmatch(string(dom), -1) {
		out.tiles[m[1]] = m[2]
	}
	for _, m := range rows.FindAllStringSubmatch(string(dom), -1) {
		energy, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			energy = -1
		}
		out.rows[m[1]] = int64(energy)
	}
	if out.tiles["sessions"] == "" {
		return out, fmt.Errorf("the page shows no number of sessions:\n%.2000s", dom)
	}
	return out, nil
}

// comparePage: what ran before and still runs after must stand on the page; what
// ran at neither time must not; energies lie between the two.
func (c *checker) comparePage(p shown, before, after map[string]session, energyBefore, energyAfter map[string]int64) {
	if got := strconv.Itoa(len(p.rows)); p.tiles["sessions"] != got {
		c.fault("the page counts %s running sessions and lists %s", p.tiles["sessions"], got)
	}
	known := map[string]bool{}
	for key, s := range before {
		known[s.ID] = true
		if s.Status != "active" || after[key].Status != "active" {
			continue
		}
		wh, ok := p.rows[s.ID]
		if !ok {
			c.fault("session %s on %s runs and is not on the page", s.ID, s.Identity)
			continue
		}
		if low, high := energyBefore[s.ID], energyAfter[s.ID]; high > 0 && (wh < low || wh > high) {
			c.fault("the page shows %d Wh for the session on %s; its samples say %d before and %d after", wh, s.Identity, low, high)
		}
	}
	for _, s := range after {
		known[s.ID] = true
		if b := before[s.Identity+"/"+s.Transaction]; b.Status == "ended" && p.rows[s.ID] != 0 {
			c.fault("the page lists session %s on %s as running; it has ended", s.ID, s.Identity)
		}
	}
	for id := range p.rows {
		if !known[id] {
			c.fault("the page lists session %s, which the API does not know", id)
		}
	}
}
