package e2e

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to take an image of a card that is in use
)

// Proof 1: a full session of a charge point that shares no code with us.
func TestThirdPartySession(t *testing.T) {
	h := newHouse(t, plan{})
	thirdPartySession(t, h)
}

// Proof 2: the same through Mosquitto, with the access list of the operators'
// page.
func TestThirdPartySessionThroughMosquitto(t *testing.T) {
	h := newHouse(t, plan{mosquitto: true})
	thirdPartySession(t, h)
}

// thirdPartySession lives through one session and reads it back from the API.
func thirdPartySession(t *testing.T, h *house) {
	t.Helper()
	h.online()
	h.admit("04A1B2C3D4")
	out := run(t, nil, peer(t, "chargepoint"), "-url", h.ocppURL(), "-id", "OCPPGO-1", "-tag", "04A1B2C3D4",
		"-meter-start", "1000", "-energy", "5000", "-samples", "5", "-interval", "1100ms", "-connector", "2")
	transaction := 0
	for l := range strings.Lines(out) {
		var step struct {
			Action string
			Answer struct{ TransactionID int }
			Error  string
		}
		if err := json.Unmarshal([]byte(l), &step); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		if step.Error != "" {
			t.Errorf("%s was answered with an error: %s", step.Action, step.Error)
		}
		if step.Action == "StartTransaction" {
			transaction = step.Answer.TransactionID
		}
	}
	if transaction < 1 {
		t.Fatalf("transaction %d: want a positive number", transaction)
	}

	var s session
	eventually(t, "the session has ended", func() error {
		all, err := list[session](h.api, "/sessions", url.Values{"station": {"OCPPGO-1"}})
		if err != nil {
			return err
		}
		if len(all) != 1 || all[0].Status != "ended" {
			return fmt.Errorf("%+v", all)
		}
		s = all[0]
		return nil
	})
	if s.Transaction != strconv.Itoa(transaction) || s.EVSE != 2 || s.Connector != 1 || s.Protocol != "ocpp1.6" {
		t.Errorf("the session is %+v; want transaction %d on EVSE 2", s, transaction)
	}
	if s.MeterStartWh == nil || *s.MeterStartWh != 1000 || s.MeterStopWh == nil || *s.MeterStopWh != 6000 || s.EnergyWh == nil || *s.EnergyWh != 5000 {
		t.Errorf("registers %s to %s, energy %s; want 1000 to 6000, 5000", wh(s.MeterStartWh), wh(s.MeterStopWh), wh(s.EnergyWh))
	}
	if s.Reason != "local" || s.Token == nil || s.Token.Value != "04A1B2C3D4" || len(s.Flags) != 0 {
		t.Errorf("reason %q, token %+v, flags %v; want local, 04A1B2C3D4, none", s.Reason, s.Token, s.Flags)
	}
	eventually(t, "all samples have arrived", func() error {
		samples, err := list[samplePoint](h.api, "/sessions/"+s.ID+"/samples", nil)
		if err != nil {
			return err
		}
		var registers []int64
		for _, p := range samples {
			if p.EnergyWh != nil {
				registers = append(registers, *p.EnergyWh)
			}
		}
		if len(registers) < 5 || !slices.IsSorted(registers) {
			return fmt.Errorf("registers %v", registers)
		}
		return nil
	})
	timeline := must[struct {
		Event entry `json:"event"`
	}](t, h.api, "/sessions/"+s.ID+"/timeline", nil)
	var types []string
	for _, item := range timeline {
		types = append(types, strings.TrimPrefix(item.Event.Type, "chargeyard."))
	}
	for _, want := range []string{"session.started", "session.ended"} {
		if !slices.Contains(types, want) {
			t.Errorf("the timeline has %v, without %s", types, want)
		}
	}
	authorized := h.events("chargeyard.token.authorized")
	if len(authorized) == 0 || !strings.Contains(string(authorized[0].Data), `"by":"`) {
		t.Errorf("decisions about tokens: %+v", authorized)
	}
}

// The backend of twenty lines that the contract's page shows gets every event
// once and in order.
func TestConsumerInPython(t *testing.T) {
	need(t)
	h := &house{t: t, dir: t.TempDir(), http: freePort(t), mqtt: freePort(t), ocpp: freePort(t), console: freePort(t)}
	h.cloudYAML, h.edgeYAML = filepath.Join(h.dir, "cloud.yaml"), filepath.Join(h.dir, "edge.yaml")
	h.write(h.cloudYAML, fmt.Sprintf("data_dir: %s\nhttp: {listen: \"127.0.0.1:%d\"}\n", filepath.Join(h.dir, "cloud"), h.http))
	h.startMosquitto()
	python := "/usr/bin/python3" // Debian's, which has Debian's packages
	if err := exec.CommandContext(t.Context(), python, "-c", "import paho.mqtt.client, zstandard").Run(); err != nil {
		t.Fatalf("python3-paho-mqtt and python3-zstandard are not installed: make test installs them (%v)", err)
	}
	consumer := newProcess(t, "consumer", python, []string{"MQTT_PASSWORD=secret-of-the-manager"},
		filepath.Join("..", "..", "..", "shared", "examples", "consumer.py"), "127.0.0.1", strconv.Itoa(h.mqtt))
	h.uplink = newCable(t, "127.0.0.1:"+strconv.Itoa(h.mqtt))
	h.write(h.edgeYAML, fmt.Sprintf("gateway: %s\ndata_dir: %s\nmqtt: {url: \"mqtt://%s\", password: %q}\nocpp: {listen: \"127.0.0.1:%d\", unknown_stations: accept}\nconsole: {listen: \"127.0.0.1:%d\"}\nauthorization: {offline: all}\n",
		gatewayID, filepath.Join(h.dir, "edge"), h.uplink.address(), h.mqttPassword, h.ocpp, h.console))
	h.gateway = newProcess(t, "gateway", binary(t, "chargeyard-edge"), nil, "run", "--config", h.edgeYAML)
	eventually(t, "the broker listens", func() error {
		c, err := dial(h.mqtt)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	consumer.start()
	h.gateway.start()
	eventually(t, "gateway is healthy", h.gatewayReady)
	run(t, nil, peer(t, "chargepoint"), "-url", h.ocppURL(), "-id", "OCPPGO-1", "-samples", "3")
	eventually(t, "the consumer printed the end of the session", func() error {
		if !consumer.output.contains("chargeyard.session.ended") {
			return fmt.Errorf("it printed\n%s", consumer.output)
		}
		return h.drained()
	})
	last := map[string]uint64{}
	for l := range strings.Lines(consumer.output.String()) {
		var e entry
		if json.Unmarshal([]byte(l), &e) != nil || e.ID == "" {
			continue
		}
		stream, _, _ := strings.Cut(e.ID, "/")
		n, err := strconv.ParseUint(e.Sequence, 16, 64)
		if err != nil || n != last[stream]+1 {
			t.Errorf("event %s follows number %d: %v", e.ID, last[stream], err)
		}
		last[stream] = n
	}
}

// Proof 4: the uplink is cut for a whole session; the charger notices nothing,
// and the manager learns everything once it is mended.
func TestOutage(t *testing.T) {
	h := newHouse(t, plan{edge: "authorization: {offline: all}\n"})
	h.online()
	h.uplink.setCut(true)
	run(t, nil, peer(t, "chargepoint"), "-url", h.ocppURL(), "-id", "OCPPGO-1", "-tag", "CAFE01", "-meter-start", "70", "-energy", "30", "-samples", "4")
	if all := must[session](t, h.api, "/sessions", nil); len(all) != 0 {
		t.Errorf("the manager knows %d sessions through a cut wire", len(all))
	}
	h.uplink.setCut(false)
	eventually(t, "the session has arrived", func() error {
		all, err := list[session](h.api, "/sessions", nil)
		if err != nil {
			return err
		}
		if len(all) != 1 || all[0].Status != "ended" || all[0].EnergyWh == nil || *all[0].EnergyWh != 30 {
			return fmt.Errorf("%+v", all)
		}
		return h.drained()
	})
	h.compareOrder(h.events(""))
	if events := h.events("chargeyard.token.authorized"); len(events) == 0 || !strings.Contains(string(events[0].Data), "offline_policy") {
		t.Errorf("who decided while the manager was away: %+v", events)
	}
}

// Proof 7: the manager's database is restored from an older backup; the replay
// brings it up to date, and nothing is there twice.
func TestManagerRestored(t *testing.T) {
	h := newHouse(t, plan{edge: "authorization: {offline: all}\n"})
	h.online()
	h.admit("CAFE01", "CAFE02", "CAFE03")
	session1 := func(id, tag string) {
		run(t, nil, peer(t, "chargepoint"), "-url", h.ocppURL(), "-id", id, "-tag", tag, "-samples", "3")
	}
	ended := func(n int) func() error {
		return func() error {
			all, err := list[session](h.api, "/sessions", url.Values{"status": {"ended"}})
			if err == nil && len(all) != n {
				err = fmt.Errorf("%d sessions have ended, want %d", len(all), n)
			}
			if err != nil {
				return err
			}
			return h.drained()
		}
	}
	session1("OCPPGO-1", "CAFE01")
	eventually(t, "the first session has arrived", ended(1))
	backup := filepath.Join(h.dir, "backup.db")
	run(t, nil, binary(t, "chargeyard-cloud"), "backup", backup, "--config", h.cloudYAML)
	session1("OCPPGO-2", "CAFE02")
	session1("OCPPGO-1", "CAFE03")
	eventually(t, "all three have arrived", ended(3))
	before := h.events("")

	h.manager.kill()
	run(t, nil, binary(t, "chargeyard-cloud"), "restore", backup, "--config", h.cloudYAML)
	h.manager.start()
	eventually(t, "manager is ready", h.managerReady)
	eventually(t, "the replay brought the database up to date", ended(3))
	after := h.events("")
	h.compareOrder(after)
	ids := map[string]bool{}
	for _, e := range after {
		ids[e.ID] = true
	}
	for _, e := range before {
		if !ids[e.ID] {
			t.Errorf("%s %s is gone", e.Type, e.ID)
		}
	}
	t.Logf("%d events before, %d after", len(before), len(after))
}

// Proof 8, second half: the card is restored to an older image. What it then
// says under new numbers arrives, nothing old is applied again, and an alarm
// tells that the storage lost what it had confirmed.
func TestCardRestored(t *testing.T) {
	h := newHouse(t, plan{edge: "authorization: {offline: all}\n"})
	h.online()
	h.admit("CAFE01", "CAFE02", "CAFE03")
	transactions := map[string]bool{}
	charge := func(tag string) {
		out := run(t, nil, peer(t, "chargepoint"), "-url", h.ocppURL(), "-id", "OCPPGO-1", "-tag", tag, "-samples", "3")
		for l := range strings.Lines(out) {
			var step struct {
				Action string
				Answer struct{ TransactionID int }
			}
			if json.Unmarshal([]byte(l), &step) == nil && step.Action == "StartTransaction" {
				id := strconv.Itoa(step.Answer.TransactionID)
				if transactions[id] {
					t.Errorf("transaction %s was given twice", id)
				}
				transactions[id] = true
			}
		}
	}
	data, image := filepath.Join(h.dir, "edge"), filepath.Join(h.dir, "image")
	charge("CAFE01")
	takeImage(t, data, image)
	charge("CAFE02")
	eventually(t, "both sessions have arrived", h.endedSessions(2))
	h.gateway.kill()

	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(data, os.DirFS(image)); err != nil {
		t.Fatal(err)
	}
	h.gateway.start()
	eventually(t, "gateway is healthy", h.gatewayReady)
	eventually(t, "the gateway has said hello", h.drained)
	charge("CAFE03")
	eventually(t, "the third session has arrived", h.endedSessions(3))
	h.compareOrder(h.events(""))
	if starts := h.events("chargeyard.gateway.started"); len(starts) != 2 {
		t.Errorf("%d starts of the gateway have arrived, want the first and the one after the card was restored", len(starts))
	}
	lost := func(e entry) bool { return strings.Contains(string(e.Data), "storage_lost") }
	if alarms := h.events("chargeyard.gateway.alarm"); !slices.ContainsFunc(alarms, lost) {
		t.Errorf("no alarm tells that the storage lost what it had confirmed: %+v", alarms)
	}
}

// takeImage copies the directory of a gateway that is at work: its databases as
// SQLite copies them, the rest file by file.
func takeImage(t *testing.T, data, image string) {
	t.Helper()
	if err := os.CopyFS(image, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"events.db", "samples.db"} {
		for _, part := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(filepath.Join(image, name+part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		db, err := sql.Open("sqlite", filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), "VACUUM INTO ?", filepath.Join(image, name))
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatalf("image of %s: %v", name, err)
		}
	}
}

// endedSessions asks for n ended sessions and an empty gateway.
func (h *house) endedSessions(n int) func() error {
	return func() error {
		all, err := list[session](h.api, "/sessions", url.Values{"status": {"ended"}})
		if err == nil && len(all) != n {
			err = fmt.Errorf("%d sessions have ended, want %d", len(all), n)
		}
		if err != nil {
			return err
		}
		return h.drained()
	}
}

// Proof 9: the gateway boots in 1970 and learns the time later, from the manager
// or from its own kernel. What happened in between gets its right time at the
// manager. (That an hour passes in between is played in virtual time, beside the
// clock itself.)
func TestBootIn1970(t *testing.T) {
	need(t)
	t.Run("told by the manager", func(t *testing.T) { bootIn1970(t, false) })
	t.Run("told by the kernel", func(t *testing.T) { bootIn1970(t, true) })
}

func bootIn1970(t *testing.T, kernel bool) {
	t.Helper()
	set := filepath.Join(t.TempDir(), "clock-is-set")
	h := newHouse(t, plan{
		edge:    "authorization: {offline: all}\n",
		edgeEnv: []string{"CHARGEYARD_CLOCK=1970-01-01T00:00:10Z", "CHARGEYARD_CLOCK_SYNCED=" + set},
	})
	h.online()
	h.uplink.setCut(true)
	h.gateway.kill() // boots anew, with a blank card and nobody to tell it the time
	if err := os.RemoveAll(filepath.Join(h.dir, "edge")); err != nil {
		t.Fatal(err)
	}
	h.gateway.start()
	eventually(t, "gateway is healthy", h.gatewayReady)
	began := time.Now()
	run(t, nil, peer(t, "chargepoint"), "-url", h.ocppURL(), "-id", "OCPPGO-1", "-tag", "CAFE01", "-samples", "3")
	ended := time.Now()
	source := `"manager"`
	if kernel {
		source = `"kernel"`
		h.write(set, "")
		eventually(t, "the gateway trusts its clock", func() error {
			if !h.gateway.output.contains(`"source":"kernel"`) {
				return errors.New("it does not say so")
			}
			return nil
		})
	}
	h.uplink.setCut(false)
	eventually(t, "the session has arrived with its right time", func() error {
		all, err := list[session](h.api, "/sessions", nil)
		if err != nil {
			return err
		}
		if len(all) != 1 || all[0].Status != "ended" {
			return fmt.Errorf("%+v", all)
		}
		const slack = time.Second
		if s := all[0]; s.Started.Before(began.Add(-slack)) || s.Started.After(ended.Add(slack)) || s.Ended.Before(began.Add(-slack)) || s.Ended.After(ended.Add(slack)) {
			return fmt.Errorf("the session ran from %s to %s; want %s to %s", s.Started, s.Ended, began, ended)
		}
		return h.drained()
	})
	clock := h.events("chargeyard.gateway.clock")
	if len(clock) == 0 || !strings.Contains(string(clock[len(clock)-1].Data), source) {
		t.Errorf("no gateway.clock event of the %s tells the offset: %+v", source, clock)
	}
	unsynced := func(e entry) bool { return e.Clock == "unsynced" && strings.HasPrefix(e.Type, "chargeyard.session.") }
	if !slices.ContainsFunc(h.events(""), unsynced) {
		t.Error("no event of the session was recorded by an unsynced clock: this proves nothing")
	}
}
