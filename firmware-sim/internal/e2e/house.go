package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const gatewayID = "gw-1"

// house is one manager, one gateway and what stands between them, each a
// process of its own.
type house struct {
	t   *testing.T
	dir string

	manager *process
	broker  *process // nil while the manager embeds one
	gateway *process
	uplink  *cable // gateway to broker

	http, mqtt, ocpp, console int
	ocppTLS                   int // where the plan asks for TLS
	api                       *client
	mqttPassword              string // of the gateway
	cloudYAML, edgeYAML       string
}

// plan is what a test wants to be different from the usual house.
type plan struct {
	mosquitto bool
	tls       bool     // the gateway shows chargers a certificate of its site CA
	edge      string   // more lines for edge.yaml
	edgeEnv   []string // environment of every start of the gateway
	cloudEnv  []string
}

// newHouse starts manager and gateway and waits until they know each other.
func newHouse(t *testing.T, p plan) *house {
	t.Helper()
	need(t)
	h := &house{t: t, dir: t.TempDir(), http: freePort(t), mqtt: freePort(t), ocpp: freePort(t), console: freePort(t), ocppTLS: freePort(t)}
	h.cloudYAML, h.edgeYAML = filepath.Join(h.dir, "cloud.yaml"), filepath.Join(h.dir, "edge.yaml")
	h.api = &client{base: fmt.Sprintf("http://127.0.0.1:%d", h.http), token: "e2e-admin-token-of-this-test"}

	broker := fmt.Sprintf("broker: {embedded: {listen: \"127.0.0.1:%d\"}}\n", h.mqtt)
	if p.mosquitto {
		broker = fmt.Sprintf("broker: {url: \"mqtt://127.0.0.1:%d\", username: manager, password: secret-of-the-manager}\n", h.mqtt)
	}
	h.write(h.cloudYAML, fmt.Sprintf("data_dir: %s\nhttp: {listen: \"127.0.0.1:%d\"}\n%s", filepath.Join(h.dir, "cloud"), h.http, broker))
	h.manager = newProcess(t, "manager", binary(t, "chargeyard-cloud"),
		append([]string{"CHARGEYARD_ADMIN_TOKEN=" + h.api.token}, p.cloudEnv...), "serve", "--config", h.cloudYAML)
	if p.mosquitto {
		h.startMosquitto()
	} else {
		h.mqttPassword = strings.TrimSpace(run(t, nil, binary(t, "chargeyard-cloud"), "gateway", "add", gatewayID, "--config", h.cloudYAML))
	}
	h.manager.start()
	eventually(t, "manager is ready", h.managerReady)

	secure := ""
	if p.tls {
		secure = fmt.Sprintf(`, tls: {listen: "127.0.0.1:%d", names: [127.0.0.1]}`, h.ocppTLS)
	}
	h.uplink = newCable(t, "127.0.0.1:"+strconv.Itoa(h.mqtt))
	h.write(h.edgeYAML, fmt.Sprintf(`gateway: %s
data_dir: %s
mqtt: {url: "mqtt://%s", password: %q}
ocpp: {listen: "127.0.0.1:%d", unknown_stations: accept%s}
console: {listen: "127.0.0.1:%d"}
%s`, gatewayID, filepath.Join(h.dir, "edge"), h.uplink.address(), h.mqttPassword, h.ocpp, secure, h.console, p.edge))
	h.gateway = newProcess(t, "gateway", binary(t, "chargeyard-edge"), p.edgeEnv, "run", "--config", h.edgeYAML)
	h.gateway.start()
	eventually(t, "gateway is healthy", h.gatewayReady)
	return h
}

func (h *house) write(path, content string) {
	h.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) managerReady() error {
	return healthy(fmt.Sprintf("http://127.0.0.1:%d/readyz", h.http))
}

func (h *house) gatewayReady() error {
	return healthy(fmt.Sprintf("http://127.0.0.1:%d/healthz", h.console))
}

// startMosquitto starts the external broker with the access list that the
// operators' page shows.
func (h *house) startMosquitto() {
	h.t.Helper()
	passwords, acl, conf := filepath.Join(h.dir, "passwords"), filepath.Join(h.dir, "acl"), filepath.Join(h.dir, "mosquitto.conf")
	h.mqttPassword = "secret-of-the-gateway"
	tool := program(h.t, "mosquitto_passwd")
	h.write(passwords, "")
	run(h.t, nil, tool, "-b", passwords, "manager", "secret-of-the-manager")
	run(h.t, nil, tool, "-b", passwords, gatewayID, h.mqttPassword)
	run(h.t, nil, binary(h.t, "chargeyard-cloud"), "gateway", "add", gatewayID, "--config", h.cloudYAML)
	h.write(acl, accessList(h.t))
	h.write(conf, fmt.Sprintf("listener %d 127.0.0.1\nuse_username_as_clientid true\nallow_anonymous false\npassword_file %s\nacl_file %s\npersistence false\nuser %s\n",
		h.mqtt, passwords, acl, currentUser(h.t)))
	h.broker = newProcess(h.t, "mosquitto", program(h.t, "mosquitto"), nil, "-c", conf)
	h.broker.start()
}

// accessList is the block of cloud/README.md that operators copy, so that the
// page cannot be wrong.
func accessList(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../cloud/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```mosquitto-acl\n")
	list, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("cloud/README.md shows no access list (a block called mosquitto-acl)")
	}
	return list
}

// ocppURL is where chargers connect to.
func (h *house) ocppURL() string { return fmt.Sprintf("ws://127.0.0.1:%d/ocpp", h.ocpp) }

// online waits until the manager sees the gateway and has welcomed it.
func (h *house) online() {
	h.t.Helper()
	eventually(h.t, "the gateway has been welcomed", func() error {
		page, err := fetch(fmt.Sprintf("http://127.0.0.1:%d/metrics", h.console))
		if err == nil && !strings.Contains(page, "\nchargeyard_edge_uplink_reachable 1\n") {
			err = errors.New("it says that the manager does not answer")
		}
		return err
	})
	eventually(h.t, "the gateway is online", func() error {
		all, err := list[gatewayRow](h.api, "/gateways", nil)
		if err != nil {
			return err
		}
		for _, g := range all {
			if g.ID == gatewayID && g.Connectivity.Value == "online" {
				return nil
			}
		}
		return fmt.Errorf("%+v", all)
	})
}

// admit makes tokens known to the manager.
func (h *house) admit(tokens ...string) {
	h.t.Helper()
	for _, value := range tokens {
		if err := h.api.do(http.MethodPut, "/tokens/"+value, map[string]any{"type": "rfid", "status": "accepted"}, nil); err != nil {
			h.t.Fatal(err)
		}
	}
}

// depot is a set of simulated chargers with a ledger of what they said.
type depot struct {
	*process
	h       *house
	control string
	ledger  string
}

// newDepot prepares count simulated chargers; they start with start.
func (h *house) newDepot(count int, scenario string, more ...string) *depot {
	h.t.Helper()
	d := &depot{h: h, control: fmt.Sprintf("127.0.0.1:%d", freePort(h.t)), ledger: filepath.Join(h.dir, "ledger.jsonl")}
	d.process = newProcess(h.t, "chargers", binary(h.t, "chargeyard-sim"), nil, append([]string{
		"run", "--url", h.ocppURL(), "--count", strconv.Itoa(count), "--scenario", scenario,
		"--ledger", d.ledger, "--control", d.control, "--state-dir", filepath.Join(h.dir, "chargers"),
	}, more...)...)
	return d
}

// ask sends a wish to the simulator's control port.
func (d *depot) ask(method, path string, body, out any) error {
	c := client{base: "http://" + d.control}
	return c.raw(method, path, body, out)
}

// chargers asks for the state of every charger.
func (d *depot) chargers() ([]charger, error) {
	var all []charger
	return all, d.ask(http.MethodGet, "/stations", nil, &all)
}

// charger is the simulator's word about one of its chargers.
type charger struct {
	ID          string `json:"id"`
	Connected   bool   `json:"connected"`
	Transaction string `json:"transaction"`
	Queue       int    `json:"queue"`
}

// drain lets the chargers finish what they have begun, send what they have
// queued, and end.
func (d *depot) drain(limit time.Duration) {
	d.h.t.Helper()
	if err := d.ask(http.MethodPost, "/drain", nil, nil); err != nil {
		d.h.t.Fatalf("drain: %v", err)
	}
	eventuallyWithin(d.h.t, limit, "chargers have drained", func() error {
		all, err := d.chargers()
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.Queue > 0 || c.Transaction != "" {
				return fmt.Errorf("%+v", c)
			}
		}
		return nil
	})
	d.stop()
}
