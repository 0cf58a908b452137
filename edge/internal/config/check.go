package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/credential"
	"github.com/chargeyard/chargeyard/edge/internal/pki"
	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// protocols are the versions that a station can be assumed to speak.
var protocols = []string{"ocpp1.6", "ocpp2.0.1", "ocpp2.1"}

// checker collects what is wrong with the values of a file that could be read.
type checker struct {
	lines  lines
	unread map[int]bool // lines that could not be read and have their fault
	faults Faults
}

func check(c *Config, text []byte, before Faults) Faults {
	k := &checker{lines: newLines(text), unread: map[int]bool{}}
	for _, f := range before {
		k.unread[f.Line] = f.Line > 0
	}
	k.gateway(c)
	k.mqtt(c.MQTT)
	k.ocpp(c.OCPP)
	k.rest(c)
	k.recorder(c.Recorder)
	k.stations(c, k.book(c.OCPP.StationProfiles))
	return k.faults
}

// fault notes something about the key that path leads to.
func (k *checker) fault(text string, path ...any) {
	var key strings.Builder
	for _, step := range path {
		switch at := step.(type) {
		case string:
			if key.Len() > 0 {
				key.WriteByte('.')
			}
			key.WriteString(at)
		case int:
			key.WriteString("[" + strconv.Itoa(at) + "]")
		}
	}
	if line := k.lines.of(path...); !k.unread[line] {
		k.faults = append(k.faults, Fault{Line: line, Key: key.String(), Text: text})
	}
}

// word checks that value is one of words.
func (k *checker) word(value string, words []string, path ...any) {
	if !slices.Contains(words, value) {
		k.fault(fmt.Sprintf("expected %s, got %q", strings.Join(words, " or "), value), path...)
	}
}

// span checks that value is at least least and at most most.
func (k *checker) span(value, least, most time.Duration, path ...any) {
	if value < least || value > most {
		k.fault(fmt.Sprintf("expected a time span from %v to %v, got %v", least, most, value), path...)
	}
}

// address checks a host and port to listen on.
func (k *checker) address(value string, path ...any) {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		k.fault(fmt.Sprintf("expected an address such as :8887 or 127.0.0.1:8880, got %q", value), path...)
	}
}

func (k *checker) gateway(c *Config) {
	switch {
	case c.Gateway == "":
		k.fault("missing, expected the id that `chargeyard-cloud gateway add` was given", "gateway")
	case !wire.ValidGateway(c.Gateway):
		k.fault(fmt.Sprintf("expected 1 to 40 of a-z, 0-9 and -, not beginning with -, got %q", c.Gateway), "gateway")
	}
	if c.DataDir == "" {
		k.fault("expected the path of a directory, got nothing", "data_dir")
	} else if info, err := os.Stat(c.DataDir); err == nil && !info.IsDir() {
		k.fault(fmt.Sprintf("expected a directory, %s is something else", c.DataDir), "data_dir")
	}
}

func (k *checker) mqtt(m MQTT) {
	u, err := url.Parse(m.URL)
	switch {
	case m.URL == "":
		k.fault("missing, expected the manager's broker such as mqtts://broker.example:8883", "mqtt", "url")
	case err != nil || u.Host == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts":
		// the text may hold a password: it is not repeated
		k.fault("expected mqtt://host:port or mqtts://host:port", "mqtt", "url")
	case u.User != nil:
		k.fault("expected no user and no password in the address: the gateway's id is the user, mqtt.password the password", "mqtt", "url")
	}
	if m.Password == "" {
		k.fault("missing, expected the password that `chargeyard-cloud gateway add` printed", "mqtt", "password")
	}
	if m.CAFile != "" {
		if _, err := os.Stat(m.CAFile); err != nil {
			k.fault("expected a file with the authority's certificate: "+err.Error(), "mqtt", "ca_file")
		}
	}
}

func (k *checker) ocpp(o OCPP) {
	k.listeners(o)
	k.tls(o.TLS)
	k.word(o.UnknownStations, []string{"accept", "pending", "refuse"}, "ocpp", "unknown_stations")
	k.word(o.Compression, []string{"auto", "on", "off"}, "ocpp", "compression")
	if o.UnknownLimit < 1 || o.UnknownLimit > 100_000 {
		k.fault(fmt.Sprintf("expected 1 to 100000, got %d", o.UnknownLimit), "ocpp", "unknown_limit")
	}
	if o.AssumeProtocol != "" {
		k.word(o.AssumeProtocol, protocols, "ocpp", "assume_protocol")
	}
	if o.Ping != 0 {
		k.span(o.Ping, 5*time.Second, time.Hour, "ocpp", "ping")
	}
	k.span(o.ReadDeadlineMinimum, 30*time.Second, 24*time.Hour, "ocpp", "read_deadline_minimum")
	k.span(o.Heartbeat, time.Minute, 15*time.Minute, "ocpp", "heartbeat") // some take 0 or an hour badly
	k.span(o.Timeout, time.Second, 10*time.Minute, "ocpp", "timeout")
	k.span(o.BootWait, 0, 10*time.Minute, "ocpp", "boot_wait")
	k.span(o.RefreshAfter, time.Second, time.Hour, "ocpp", "refresh_after")
	if o.FrameLimit < 4<<10 || o.FrameLimit > 64<<20 {
		k.fault(fmt.Sprintf("expected a size from 4KiB to 64MiB, got %d bytes", o.FrameLimit), "ocpp", "frame_limit")
	}
	if o.TimeoutsToClose < 1 {
		k.fault(fmt.Sprintf("expected at least 1, got %d", o.TimeoutsToClose), "ocpp", "timeouts")
	}
}

// listeners checks the addresses for stations.
func (k *checker) listeners(o OCPP) {
	taken := map[string]bool{}
	listen := func(address string, secure bool, profiles []int, path ...any) {
		at := append(path, "listen")
		k.address(address, at...)
		if taken[address] && !strings.HasSuffix(address, ":0") {
			k.fault(fmt.Sprintf("expected each address once, got %q again", address), at...)
		}
		taken[address] = true
		k.profiles(profiles, secure, append(path, "profiles")...)
	}
	if o.Listen != "" {
		listen(o.Listen, false, o.Profiles, "ocpp")
	}
	if o.TLS.On() {
		listen(o.TLS.Listen, true, o.TLS.Profiles, "ocpp", "tls")
	}
	for i, l := range o.Listeners {
		listen(l.Listen, l.TLS, l.Profiles, "ocpp", "listeners", i)
		if l.TLS && !o.TLS.On() {
			k.fault("expected ocpp.tls with names or certificates, for the certificate to show", "ocpp", "listeners", i, "tls")
		}
	}
	if len(taken) == 0 {
		k.fault("expected an address for stations here or under ocpp.tls, got none", "ocpp", "listen")
	}
}

// profiles checks which security profiles an address admits.
func (k *checker) profiles(profiles []int, secure bool, path ...any) {
	can := []int{0, 1}
	if secure {
		can = []int{0, 2, 3}
	}
	for _, p := range profiles {
		if !slices.Contains(can, p) {
			k.fault(fmt.Sprintf("expected some of %s, got %d", strings.Trim(fmt.Sprint(can), "[]"), p), path...)
			return
		}
	}
}

// tls checks certificates and whom to trust.
func (k *checker) tls(t TLS) {
	for i, c := range t.Certificates {
		if err := pki.CheckPair(pki.KeyPair{Certificate: c.Certificate, Key: c.Key}); err != nil {
			k.fault("expected a certificate and its key in PEM: "+strings.TrimPrefix(err.Error(), "ocpp.tls.certificates: "), "ocpp", "tls", "certificates", i)
		}
	}
	for i, path := range t.ClientCAs {
		if err := pki.CheckAuthorities(path); err != nil {
			k.fault("expected a file with the authority's certificate: "+err.Error(), "ocpp", "tls", "client_ca_files", i)
		}
	}
	for i, name := range t.Names {
		if !hostName.MatchString(name) && net.ParseIP(name) == nil {
			k.fault(fmt.Sprintf("expected a host name such as gw-1.example or an address such as 10.0.0.1, got %q", name), "ocpp", "tls", "names", i)
		}
	}
}

// hostName is the form of a DNS name, as a certificate may hold it.
var hostName = regexp.MustCompile(`^(?:\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

func (k *checker) rest(c *Config) {
	k.word(c.Log.Level, []string{"debug", "info", "warn", "error"}, "log", "level")
	k.word(c.Log.Format, []string{"auto", "text", "json"}, "log", "format")
	if c.Console.Listen != "" {
		k.address(c.Console.Listen, "console", "listen")
	}
	k.span(c.Samples.Flush, 0, 10*time.Minute, "samples", "flush")
	k.word(c.Authorization.Offline, []string{"known", "all", "none"}, "authorization", "offline")
	k.word(c.Authorization.Concurrent, []string{"accept", "refuse"}, "authorization", "concurrent")
	k.span(c.Authorization.Ask, 100*time.Millisecond, 30*time.Second, "authorization", "ask")
	k.span(c.Authorization.Cache, 0, 365*24*time.Hour, "authorization", "cache")
	if c.Limits.Events < 16<<20 {
		k.fault(fmt.Sprintf("expected at least 16MiB, got %d bytes", c.Limits.Events), "limits", "events")
	}
	if c.Limits.Samples < 4<<20 {
		k.fault(fmt.Sprintf("expected at least 4MiB, got %d bytes", c.Limits.Samples), "limits", "samples")
	}
}

// book reads the station profiles; nil: they cannot be read.
func (k *checker) book(dir string) *stationprofile.Book {
	book, err := stationprofile.Load(dir)
	if faults := stationprofile.Faults(nil); errors.As(err, &faults) {
		for _, f := range faults {
			k.fault(f.String(), "ocpp", "station_profiles")
		}
	} else if err != nil {
		k.fault(fmt.Sprintf("expected a directory with station profiles, got %q: %v", dir, err), "ocpp", "station_profiles")
	}
	if err != nil {
		return nil
	}
	return book
}

func (k *checker) recorder(r Recorder) {
	if r.Station < 0 || r.Station > 16<<20 {
		k.fault(fmt.Sprintf("expected a size up to 16MiB, got %d bytes", r.Station), "recorder", "station")
	}
	if r.Total < r.Station || r.Total > 1<<30 {
		k.fault(fmt.Sprintf("expected a size from that of one station to 1GiB, got %d bytes", r.Total), "recorder", "total")
	}
}

func (k *checker) stations(c *Config, book *stationprofile.Book) {
	names := map[event.StationID]int{}
	name := func(id event.StationID, i int, path ...any) {
		switch first, taken := names[id]; {
		case id == "":
			k.fault("missing, expected the identity that the station connects with", path...)
		case !credential.ValidIdentity(id):
			k.fault(fmt.Sprintf("expected up to %d printable characters, got %q", credential.MaxIdentity, id), path...)
		case taken:
			k.fault(fmt.Sprintf("expected each identity once, %q is that of stations[%d] too", id, first), path...)
		default:
			names[id] = i
		}
	}
	for i, s := range c.Stations {
		name(s.Identity, i, "stations", i, "identity")
		for j, alias := range s.Aliases {
			name(alias, i, "stations", i, "aliases", j)
		}
		if s.PasswordHash != "" {
			if _, err := credential.ParseHash(s.PasswordHash); err != nil {
				k.fault(err.Error()+": make one with `chargeyard-edge hash`", "stations", i, "password_hash")
			}
		}
		if s.AssumeProtocol != "" {
			k.word(s.AssumeProtocol, protocols, "stations", i, "assume_protocol")
		}
		if s.Timeout != 0 {
			k.span(s.Timeout, time.Second, 10*time.Minute, "stations", i, "timeout")
		}
		if s.MinimumA < 0 || s.MinimumA > 80 {
			k.fault(fmt.Sprintf("expected 0 to 80 A, got %g", s.MinimumA), "stations", i, "minimum_current_a")
		}
		if s.Registration != "" {
			k.word(s.Registration, []string{"accepted", "pending", "rejected"}, "stations", i, "registration")
		}
		if s.Profile != "" && book != nil && book.Named(s.Profile) == nil {
			k.fault(fmt.Sprintf("expected one of %s, got %q", strings.Join(book.Names(), ", "), s.Profile), "stations", i, "profile")
		}
		for _, f := range s.Behaviour.Check() {
			path := []any{"stations", i, "behaviour"}
			for key := range strings.SplitSeq(f.Key, ".") {
				path = append(path, key)
			}
			k.fault(f.Text, path...)
		}
		k.security(c.OCPP, s, i)
		k.connectors(s, i)
	}
}

// security checks that a station can reach the security profile that it has to.
func (k *checker) security(o OCPP, s Station, i int) {
	if len(s.CertificateCN) > 64 {
		k.fault(fmt.Sprintf("expected at most 64 characters (RFC 5280), got %d", len(s.CertificateCN)), "stations", i, "certificate_cn")
	}
	if s.SecurityProfile == nil {
		return
	}
	switch p := *s.SecurityProfile; {
	case p < 0 || p > 3:
		k.fault(fmt.Sprintf("expected 0 to 3, got %d", p), "stations", i, "security_profile")
	case p >= 2 && !o.TLS.On():
		k.fault(fmt.Sprintf("security profile %d needs TLS: expected ocpp.tls with names or certificates", p), "stations", i, "security_profile")
	}
}

func (k *checker) connectors(s Station, i int) {
	numbers, places := map[int]bool{}, map[[2]int]bool{}
	for j, c := range s.Connectors {
		place := [2]int{c.EVSE, c.Connector}
		switch {
		case c.Number < 1 || c.EVSE < 1 || c.Connector < 1:
			k.fault("expected number, evse and connector, each from 1", "stations", i, "connectors", j)
		case numbers[c.Number]:
			k.fault(fmt.Sprintf("expected each number once, got %d again", c.Number), "stations", i, "connectors", j)
		case places[place]:
			k.fault(fmt.Sprintf("expected each place once, got EVSE %d, connector %d again", c.EVSE, c.Connector), "stations", i, "connectors", j)
		}
		numbers[c.Number], places[place] = true, true
	}
}
