// Package config is the manager's configuration: the YAML file, its defaults,
// environment variables that override single keys, and a check that finds every
// fault with its line.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Config is what a manager needs to know to start.
type Config struct {
	DataDir  string `yaml:"data_dir"`
	HTTP     HTTP   `yaml:"http"`
	Files    Files  `yaml:"files"`
	Database string `yaml:"database"` // sqlite; a postgres:// URL is refused by this version
	Broker   Broker `yaml:"broker"`
	Log      Log    `yaml:"log"`
}

// HTTP is where pages, API and metrics are served.
type HTTP struct {
	Listen   string `yaml:"listen"`
	CertFile string `yaml:"cert_file"` // with KeyFile: TLS
	KeyFile  string `yaml:"key_file"`
	// PublicURL is where gateways and stations reach the manager, to bring files.
	// Where every gateway is on this machine it need not be said.
	PublicURL string `yaml:"public_url"`
}

// Files bounds what gateways and stations bring: recordings and logs.
type Files struct {
	MaxMB    int `yaml:"max_mb"`    // of one file
	TotalMB  int `yaml:"total_mb"`  // of all
	KeepDays int `yaml:"keep_days"` // then they are deleted
}

// Broker is either the embedded one or another.
type Broker struct {
	Embedded *Embedded `yaml:"embedded"` // nil with URL
	URL      string    `yaml:"url"`      // mqtt:// or mqtts://
	Username string    `yaml:"username"`
	Password string    `yaml:"password"`
	ClientID string    `yaml:"client_id"`
	CAFile   string    `yaml:"ca_file"`
}

// Embedded is the broker inside the manager.
type Embedded struct {
	Listen    string `yaml:"listen"`     // without TLS; beyond loopback only with Plain
	ListenTLS string `yaml:"listen_tls"` // with CertFile and KeyFile
	CertFile  string `yaml:"cert_file"`
	KeyFile   string `yaml:"key_file"`
	Plain     bool   `yaml:"plain"` // passwords and events may cross a network unencrypted
	MaxConns  int    `yaml:"max_connections"`
}

// Log says how much is logged.
type Log struct {
	Level string `yaml:"level"` // debug, info, warn, error
}

// Default is the configuration without a file.
func Default() Config {
	return Config{
		DataDir:  "./data/cloud",
		HTTP:     HTTP{Listen: ":8080"},
		Files:    Files{MaxMB: 256, TotalMB: 10240, KeepDays: 30},
		Database: "sqlite",
		Log:      Log{Level: "info"},
	}
}

const defaultBroker = "127.0.0.1:1883"

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Line int    // in the file; 0 for what an environment variable says, or for what is missing
	Text string // what was expected and what came
}

// Faults are all that is wrong with a configuration.
type Faults struct {
	File string
	List []Fault
}

// Error lists every fault, one a line.
func (f *Faults) Error() string {
	var lines []string
	for _, fault := range f.List {
		at := f.File
		if at == "" {
			at = "configuration"
		}
		if fault.Line > 0 {
			at += ":" + strconv.Itoa(fault.Line)
		}
		lines = append(lines, at+": "+fault.Text)
	}
	return strings.Join(lines, "\n")
}

// Load reads the file, or the defaults if its name is empty, and lets the
// environment override. What is wrong comes back as *Faults.
func Load(file string, getenv func(string) string) (Config, error) {
	var text []byte
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
		text = b
	}
	return Parse(file, text, getenv)
}

// Parse is Load for a text that has been read.
func Parse(file string, text []byte, getenv func(string) string) (Config, error) {
	c, f := Default(), &Faults{File: file}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		f.yaml(err)
		return Config{}, f
	}
	if doc.Kind != 0 {
		if doc.Content[0].Kind != yaml.MappingNode && doc.Content[0].Tag != "!!null" {
			f.at(doc.Content[0].Line, "expected keys and values")
			return Config{}, f
		}
		d := yaml.NewDecoder(strings.NewReader(string(text)))
		d.KnownFields(true)
		if err := d.Decode(&c); err != nil {
			f.yaml(err)
		}
	}
	f.environment(&c, getenv)
	c.complete()
	f.check(&c, lines(&doc))
	if len(f.List) > 0 {
		slices.SortStableFunc(f.List, func(a, b Fault) int { return a.Line - b.Line })
		return Config{}, f
	}
	return c, nil
}

func (f *Faults) at(line int, format string, args ...any) {
	f.List = append(f.List, Fault{Line: line, Text: fmt.Sprintf(format, args...)})
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (\S+) not found in type .*$`)
	yamlType    = regexp.MustCompile("^cannot unmarshal (\\S+)(?: `(.*)`)? into (.+)$")
)

// yaml takes over what the YAML library found, in words for its user.
func (f *Faults) yaml(err error) {
	texts := []string{err.Error()}
	var te *yaml.TypeError
	if errors.As(err, &te) {
		texts = te.Errors
	}
	for _, text := range texts {
		line := 0
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1]) //nolint:errcheck // digits, says the pattern
			text = m[2]
		}
		if m := yamlUnknown.FindStringSubmatch(text); m != nil {
			text = "unknown key " + m[1]
		} else if m := yamlType.FindStringSubmatch(text); m != nil {
			got := strconv.Quote(m[2])
			switch m[1] {
			case "!!seq":
				got = "a list"
			case "!!map":
				got = "keys and values"
			}
			text = fmt.Sprintf("expected %s, got %s", kind(m[3]), got)
		}
		f.at(line, "%s", text)
	}
}

func kind(goType string) string {
	switch {
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "int"):
		return "a whole number"
	case goType == "string":
		return "a text"
	}
	return "keys and values"
}

// environment overrides single keys: CHARGEYARD_ and the key's path in capitals.
func (f *Faults) environment(c *Config, getenv func(string) string) {
	embedded := func() *Embedded {
		if c.Broker.Embedded == nil {
			c.Broker.Embedded = &Embedded{}
		}
		return c.Broker.Embedded
	}
	texts := []struct {
		key string
		set func(v string)
	}{
		{"DATA_DIR", func(v string) { c.DataDir = v }},
		{"DATABASE", func(v string) { c.Database = v }},
		{"HTTP_LISTEN", func(v string) { c.HTTP.Listen = v }},
		{"HTTP_CERT_FILE", func(v string) { c.HTTP.CertFile = v }},
		{"HTTP_KEY_FILE", func(v string) { c.HTTP.KeyFile = v }},
		{"HTTP_PUBLIC_URL", func(v string) { c.HTTP.PublicURL = v }},
		{"FILES_MAX_MB", func(v string) { c.Files.MaxMB = f.whole("FILES_MAX_MB", v) }},
		{"FILES_TOTAL_MB", func(v string) { c.Files.TotalMB = f.whole("FILES_TOTAL_MB", v) }},
		{"FILES_KEEP_DAYS", func(v string) { c.Files.KeepDays = f.whole("FILES_KEEP_DAYS", v) }},
		{"LOG_LEVEL", func(v string) { c.Log.Level = v }},
		{"BROKER_URL", func(v string) { c.Broker.URL, c.Broker.Embedded = v, nil }},
		{"BROKER_USERNAME", func(v string) { c.Broker.Username = v }},
		{"BROKER_PASSWORD", func(v string) { c.Broker.Password = v }},
		{"BROKER_CLIENT_ID", func(v string) { c.Broker.ClientID = v }},
		{"BROKER_CA_FILE", func(v string) { c.Broker.CAFile = v }},
		{"BROKER_EMBEDDED_LISTEN", func(v string) { embedded().Listen = v }},
		{"BROKER_EMBEDDED_LISTEN_TLS", func(v string) { embedded().ListenTLS = v }},
		{"BROKER_EMBEDDED_CERT_FILE", func(v string) { embedded().CertFile = v }},
		{"BROKER_EMBEDDED_KEY_FILE", func(v string) { embedded().KeyFile = v }},
		{"BROKER_EMBEDDED_PLAIN", func(v string) {
			b, err := strconv.ParseBool(v)
			if err != nil {
				f.at(0, "CHARGEYARD_BROKER_EMBEDDED_PLAIN: expected true or false, got %q", v)
			}
			embedded().Plain = b
		}},
		{"BROKER_EMBEDDED_MAX_CONNECTIONS", func(v string) {
			embedded().MaxConns = f.whole("BROKER_EMBEDDED_MAX_CONNECTIONS", v)
		}},
	}
	for _, t := range texts {
		if v := getenv("CHARGEYARD_" + t.key); v != "" {
			t.set(v)
		}
	}
}

// whole reads a number of the environment.
func (f *Faults) whole(key, v string) int {
	n, err := strconv.Atoi(v)
	if err != nil {
		f.at(0, "CHARGEYARD_%s: expected a whole number, got %q", key, v)
	}
	return n
}

// complete fills in what depends on other keys.
func (c *Config) complete() {
	if c.Broker.URL == "" && c.Broker.Embedded == nil {
		c.Broker.Embedded = &Embedded{}
	}
	if e := c.Broker.Embedded; e != nil && e.Listen == "" && e.ListenTLS == "" {
		e.Listen = defaultBroker
	}
	if e := c.Broker.Embedded; c.HTTP.PublicURL == "" && e != nil && e.ListenTLS == "" && loopback(e.Listen) {
		// Every gateway is on this machine.
		if _, port, err := net.SplitHostPort(c.HTTP.Listen); err == nil && port != "0" {
			c.HTTP.PublicURL = "http://127.0.0.1:" + port
			if c.HTTP.CertFile != "" {
				c.HTTP.PublicURL = "https://localhost:" + port
			}
		}
	}
}

// check looks at everything together; line tells where a key stands.
func (f *Faults) check(c *Config, line func(path ...string) int) {
	if c.DataDir == "" {
		f.at(line("data_dir"), "data_dir: expected a folder")
	}
	switch {
	case c.Database == "sqlite":
	case strings.HasPrefix(c.Database, "postgres://"), strings.HasPrefix(c.Database, "postgresql://"):
		f.at(line("database"), "database: this version keeps its data in SQLite only: expected sqlite")
	default:
		f.at(line("database"), "database: expected sqlite, got %q", redacted(c.Database))
	}
	f.address(line("http", "listen"), "http.listen", c.HTTP.Listen)
	f.pair(line("http"), "http", c.HTTP.CertFile, c.HTTP.KeyFile)
	if c.HTTP.PublicURL != "" {
		u, err := url.Parse(c.HTTP.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			f.at(line("http", "public_url"), "http.public_url: expected an address like https://manager.example, got %q", c.HTTP.PublicURL)
		}
	}
	for _, n := range []struct {
		key   string
		value int
		most  int
	}{{"max_mb", c.Files.MaxMB, 1 << 20}, {"total_mb", c.Files.TotalMB, 1 << 30}, {"keep_days", c.Files.KeepDays, 3650}} {
		if n.value < 1 || n.value > n.most {
			f.at(line("files", n.key), "files.%s: expected 1 to %d, got %d", n.key, n.most, n.value)
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		f.at(line("log", "level"), "log.level: expected debug, info, warn or error, got %q", c.Log.Level)
	}
	if c.Broker.URL != "" {
		f.external(&c.Broker, line)
		return
	}
	for key, v := range map[string]string{
		"username": c.Broker.Username, "password": c.Broker.Password, "client_id": c.Broker.ClientID, "ca_file": c.Broker.CAFile,
	} {
		if v != "" {
			f.at(line("broker", key), "broker.%s: belongs to an external broker: expected a url with it", key)
		}
	}
	f.embedded(c.Broker.Embedded, line)
}

func (f *Faults) external(b *Broker, line func(...string) int) {
	if b.Embedded != nil {
		f.at(line("broker", "embedded"), "broker: expected either embedded or url, got both")
	}
	at := line("broker", "url")
	u, err := url.Parse(b.URL)
	switch {
	case err != nil:
		f.at(at, "broker.url: expected mqtt://host or mqtts://host")
	case u.Scheme != "mqtt" && u.Scheme != "mqtts" || u.Hostname() == "":
		f.at(at, "broker.url: expected mqtt://host or mqtts://host, got %q", u.Redacted())
	case u.User != nil:
		f.at(at, "broker.url: expected username and password as keys of their own")
	case u.Scheme == "mqtt" && b.CAFile != "":
		f.at(line("broker", "ca_file"), "broker.ca_file: only mqtts:// uses certificates")
	}
	if b.Username == "" {
		f.at(line("broker"), "broker.username: expected the manager's user at the broker")
	}
	f.file(line("broker", "ca_file"), "broker.ca_file", b.CAFile)
}

func (f *Faults) embedded(e *Embedded, line func(...string) int) {
	in := func(key string) int { return line("broker", "embedded", key) }
	if e.Listen != "" {
		f.address(in("listen"), "broker.embedded.listen", e.Listen)
		if !loopback(e.Listen) && !e.Plain {
			f.at(in("listen"), "broker.embedded.listen: %s is open to the network: expected listen_tls with cert_file and key_file, or plain: true if passwords and events may cross it unencrypted", e.Listen)
		}
	}
	if e.ListenTLS != "" {
		f.address(in("listen_tls"), "broker.embedded.listen_tls", e.ListenTLS)
		if e.CertFile == "" || e.KeyFile == "" {
			f.at(in("listen_tls"), "broker.embedded.listen_tls: expected cert_file and key_file with it")
		}
	}
	if e.CertFile != "" && e.ListenTLS == "" {
		f.at(in("cert_file"), "broker.embedded.cert_file: expected listen_tls with it")
	}
	f.file(in("cert_file"), "broker.embedded.cert_file", e.CertFile)
	f.file(in("key_file"), "broker.embedded.key_file", e.KeyFile)
	if e.MaxConns < 0 {
		f.at(in("max_connections"), "broker.embedded.max_connections: expected 1 or more, got %d", e.MaxConns)
	}
}

func (f *Faults) address(line int, key, v string) {
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		f.at(line, "%s: expected host:port or :port, got %q", key, v)
	}
}

func (f *Faults) pair(line int, key, cert, private string) {
	if (cert == "") != (private == "") {
		f.at(line, "%s: expected cert_file and key_file together", key)
	}
	f.file(line, key+".cert_file", cert)
	f.file(line, key+".key_file", private)
}

func (f *Faults) file(line int, key, name string) {
	if name == "" {
		return
	}
	if _, err := os.Stat(name); err != nil {
		f.at(line, "%s: expected a file: %v", key, err)
	}
}

// loopback tells whether an address is reachable from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // spoken about elsewhere
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func redacted(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "…"
}

// SQLite is the name of the database file.
func (c Config) SQLite() string { return filepath.Join(c.DataDir, "cloud.db") }

// lines returns a function that tells where a key stands, or the nearest one
// around it.
func lines(doc *yaml.Node) func(path ...string) int {
	return func(path ...string) int {
		if doc.Kind == 0 || len(doc.Content) == 0 {
			return 0
		}
		node, line := doc.Content[0], 0
		for _, key := range path {
			i := 0
			for i+1 < len(node.Content) && node.Content[i].Value != key {
				i += 2
			}
			if node.Kind != yaml.MappingNode || i+1 >= len(node.Content) {
				return line
			}
			line, node = node.Content[i].Line, node.Content[i+1]
		}
		return line
	}
}
