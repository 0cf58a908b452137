// Package config reads edge.yaml, the one file that a gateway is set up with.
//
// It starts from defaults, refuses keys that it does not know, and reports every
// fault with its line: an installer mends the file once, not once per fault.
// Environment variables override single keys.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Config is the whole file.
type Config struct {
	Gateway       event.GatewayID `yaml:"gateway"`  // also the MQTT user name and client id
	DataDir       string          `yaml:"data_dir"` // holds events.db, samples.db and config/
	Log           Log             `yaml:"log"`
	MQTT          MQTT            `yaml:"mqtt"`
	OCPP          OCPP            `yaml:"ocpp"`
	Console       Console         `yaml:"console"`
	Samples       Samples         `yaml:"samples"`
	Limits        Limits          `yaml:"limits"`
	Authorization Authorization   `yaml:"authorization"`
	Recorder      Recorder        `yaml:"recorder"`
	Stations      []Station       `yaml:"stations"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // auto (text on a terminal, JSON otherwise), text or json
}

// MQTT is the way to the manager.
type MQTT struct {
	URL      string `yaml:"url"` // mqtt:// or mqtts://
	Password string `yaml:"password"`
	CAFile   string `yaml:"ca_file"` // PEM; absent: the system's roots
}

// Plain tells that what goes to the broker can be read on the way: it is neither
// encrypted nor stays on this machine.
func (m MQTT) Plain() bool {
	u, err := url.Parse(m.URL)
	if err != nil || u.Scheme != "mqtt" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// OCPP is the endpoint for charging stations.
type OCPP struct {
	Listen              string        `yaml:"listen"`           // plain; empty: none
	Profiles            []int         `yaml:"profiles"`         // security profiles that it admits
	TLS                 TLS           `yaml:"tls"`              // the same with TLS
	Listeners           []Listener    `yaml:"listeners"`        // further ones
	UnknownStations     string        `yaml:"unknown_stations"` // refuse, pending or accept
	UnknownLimit        int           `yaml:"unknown_limit"`    // unnamed stations that are accepted
	AssumeProtocol      string        `yaml:"assume_protocol"`  // for stations that name none
	Ping                time.Duration `yaml:"ping"`             // between our pings; 0: none
	ReadDeadlineMinimum time.Duration `yaml:"read_deadline_minimum"`
	FrameLimit          Bytes         `yaml:"frame_limit"`
	Heartbeat           time.Duration `yaml:"heartbeat"`        // told to stations at their boot
	Timeout             time.Duration `yaml:"timeout"`          // of a station's answer
	TimeoutsToClose     int           `yaml:"timeouts"`         // unanswered calls in a row after which the connection is closed
	BootWait            time.Duration `yaml:"boot_wait"`        // before a silent station is sent anything
	RefreshAfter        time.Duration `yaml:"refresh_after"`    // before a station that told no status is asked for it
	Compression         string        `yaml:"compression"`      // auto (OCPP 2.x), on or off
	StationProfiles     string        `yaml:"station_profiles"` // a directory of the installer's own; empty: none
}

// TLS is what stations that encrypt find. It is switched on by a certificate, or
// by names to make one for.
type TLS struct {
	Listen        string        `yaml:"listen"`          // with names or certificates :8443, otherwise none
	Profiles      []int         `yaml:"profiles"`        // security profiles that it admits
	Names         []string      `yaml:"names"`           // DNS names and addresses of the gateway, for the site CA's certificate
	Certificates  []Certificate `yaml:"certificates"`    // files, instead of the site CA's
	ClientCAs     []string      `yaml:"client_ca_files"` // further authorities whose stations are believed
	Organisation  string        `yaml:"organisation"`    // O of every station certificate; empty: not checked
	AcceptExpired bool          `yaml:"accept_expired"`  // let a station with an expired certificate boot as pending, to renew it
}

// On tells whether stations can connect with TLS.
func (t TLS) On() bool { return t.Listen != "" }

// Certificate names a certificate with its chain, and its key: PEM files.
type Certificate struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// Listener is a further address for stations.
type Listener struct {
	Listen   string `yaml:"listen"`
	TLS      bool   `yaml:"tls"`
	Profiles []int  `yaml:"profiles"` // security profiles that it admits
}

// Console is the local page with health and metrics.
type Console struct {
	Listen string `yaml:"listen"` // empty: none
}

// Samples says how meter samples are kept.
type Samples struct {
	Flush time.Duration `yaml:"flush"` // how long a sample may wait for the disk; 0: not at all
}

// Limits bounds what the gateway keeps on its disk.
type Limits struct {
	Events  Bytes `yaml:"events"`  // of events.db
	Samples Bytes `yaml:"samples"` // of samples.db, above which samples thin out
	Ballast Bytes `yaml:"ballast"` // kept to be given free when the disk is full
}

// Authorization says who may charge while the manager is out of reach.
type Authorization struct {
	Offline string        `yaml:"offline"` // known, all or none
	Ask     time.Duration `yaml:"ask"`     // for the manager's answer about an unknown token
	Cache   time.Duration `yaml:"cache"`   // how long that answer is remembered

	MasterPassGroup string `yaml:"master_pass_group"` // whose tokens end every session and start none; absent: there is none
	Concurrent      string `yaml:"concurrent"`        // a token that is charging already: accept or refuse
}

// Recorder bounds the flight recorder, which keeps the last frames of each
// station in memory.
type Recorder struct {
	Station Bytes `yaml:"station"` // of one station; 0: nothing is recorded
	Total   Bytes `yaml:"total"`   // of all stations together
}

// Station is one charging station that is known by name.
type Station struct {
	Identity       event.StationID   `yaml:"identity"`
	Aliases        []event.StationID `yaml:"aliases"`           // other names that it connects with
	PasswordHash   string            `yaml:"password_hash"`     // of `chargeyard-edge hash`; absent: no password
	AssumeProtocol string            `yaml:"assume_protocol"`   // when it names none in the handshake
	Timeout        time.Duration     `yaml:"timeout"`           // of its answers; 0: ocpp.timeout
	Connectors     []Connector       `yaml:"connectors"`        // where they are not EVSE n, connector 1
	MinimumA       float64           `yaml:"minimum_current_a"` // it ends sessions when held below this
	Ping           *bool             `yaml:"ping"`              // false: it cannot take pings
	// SecurityProfile is the least with which it may connect: 0 to 3; absent: what
	// it was seen with before.
	SecurityProfile *int   `yaml:"security_profile"`
	CertificateCN   string `yaml:"certificate_cn"` // common name of its certificate; absent: its identity
	Registration    string `yaml:"registration"`   // accepted, pending or rejected; absent: accepted
	Strict          bool   `yaml:"strict"`         // whatever is off the schema is refused
	Profile         string `yaml:"profile"`        // the station profile by which it is treated; absent: what fits its model
	// Behaviour switches what its profile would, for this station alone.
	Behaviour stationprofile.Behaviour `yaml:"behaviour"`
}

// Connector says at which EVSE an OCPP 1.6 connector stands, where two of them
// share one.
type Connector struct {
	Number    int `yaml:"number"`    // as OCPP 1.6 counts them
	EVSE      int `yaml:"evse"`      // from 1
	Connector int `yaml:"connector"` // of that EVSE, from 1
}

// Default returns what holds where the file says nothing. It names no gateway.
func Default() Config {
	return Config{
		DataDir: "./data/edge",
		Log:     Log{Level: "info", Format: "auto"},
		OCPP: OCPP{
			Listen:              ":8887",
			UnknownStations:     "refuse",
			UnknownLimit:        2000,
			Ping:                45 * time.Second,
			ReadDeadlineMinimum: 10 * time.Minute,
			FrameLimit:          1 << 20,
			Heartbeat:           5 * time.Minute,
			Timeout:             30 * time.Second,
			TimeoutsToClose:     3,
			BootWait:            30 * time.Second,
			RefreshAfter:        30 * time.Second,
			Compression:         "auto",
		},
		Console:       Console{Listen: "127.0.0.1:8880"},
		Samples:       Samples{Flush: 10 * time.Second},
		Limits:        Limits{Events: 1 << 30, Samples: 512 << 20, Ballast: 8 << 20},
		Authorization: Authorization{Offline: "known", Ask: 3 * time.Second, Cache: 24 * time.Hour, Concurrent: "accept"},
		Recorder:      Recorder{Station: 64 << 10, Total: 16 << 20},
	}
}

// Fault is one thing wrong with a configuration.
type Fault struct {
	Line int    // in the file; 0: none
	Key  string // ocpp.listen, or the name of an environment variable; may be empty
	Text string // what was expected and what came
}

// String returns "line 4: ocpp.listen: expected …".
func (f Fault) String() string {
	var s strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&s, "line %d: ", f.Line)
	}
	if f.Key != "" {
		s.WriteString(f.Key + ": ")
	}
	s.WriteString(f.Text)
	return s.String()
}

// Faults is the error of a file with anything wrong, in the order of its lines.
type Faults []Fault

// Error lists all of them, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// ErrNoFile says that there is no configuration, and how to make one.
var ErrNoFile = errors.New("there is no configuration")

// Load reads the file at path and applies the environment (NAME=value, as
// os.Environ returns it). The error is ErrNoFile, Faults, or that of reading.
func Load(path string, environ []string) (Config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("%w at %s: make one with `chargeyard-edge init --config %s`", ErrNoFile, path, path)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(text, environ)
}

// Parse reads the text of a configuration and applies the environment. The error
// is Faults.
func Parse(text []byte, environ []string) (Config, error) {
	c := Default()
	faults, whole := decode(text, &c)
	faults = append(faults, override(&c, environ)...)
	if t := &c.OCPP.TLS; t.Listen == "" && (len(t.Names) > 0 || len(t.Certificates) > 0) {
		t.Listen = ":8443"
	}
	if whole {
		faults = append(faults, check(&c, text, faults)...)
	}
	if len(faults) > 0 {
		return Config{}, sortFaults(faults)
	}
	return c, nil
}

// Bytes is a size. In YAML it is a number of bytes, or one with a unit: 512KiB,
// 64 MiB, 2GiB.
type Bytes int64

// UnmarshalYAML reads a size.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	size, err := parseBytes(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: expected a size such as 64MiB, got %q", n.Line, n.Value)}}
	}
	*b = size
	return nil
}
