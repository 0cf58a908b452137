package stationprofile_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
)

func TestParseFaults(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "expected a profile, got an empty file"},
		{"no YAML", "name: [", "did not find expected"},
		{"two documents", "name: a\nmatch: [{vendor: a}]\nbehaviour: {ping: false}\n---\nname: b\n", "expected one YAML document"},
		{"unknown key", "name: a\nmatch: [{vendor: a}]\nbehaviour:\n  boot_frist: true\n", "line 4: boot_frist: unknown key, expected one of timeout,"},
		{"unknown key above", "name: a\nmatches: []\n", "line 2: matches: unknown key, expected one of name, note, match, behaviour"},
		{"wrong type", "name: a\nmatch: [{vendor: a}]\nbehaviour: {timeout: soon}\n", "line 3: expected a time span such as 30s or 5m, got soon"},
		{"no switch", "name: a\nmatch: [{vendor: a}]\n", "behaviour: missing"},
		{"no name", "match: [{vendor: a}]\nbehaviour: {ping: false}\n", "name: missing"},
		{"nobody", "name: a\nbehaviour: {ping: false}\n", "match: missing"},
		{"everybody", "name: a\nmatch: [{vendor: \"*\"}]\nbehaviour: {ping: false}\n", "line 2: match: expected part of a vendor"},
		{"word", "name: a\nmatch: [{vendor: a}]\nbehaviour:\n  register_scope: live\n", `line 4: behaviour.register_scope: expected session or lifetime, got "live"`},
		{"span of an action", "name: a\nmatch: [{vendor: a}]\nbehaviour:\n  timeouts:\n    Reset: 1h\n", "line 5: behaviour.timeouts.Reset: expected a time span from 1s to 10m"},
		{"factor", "name: a\nmatch: [{vendor: a}]\nbehaviour: {energy_scale: -1}\n", "energy_scale: expected a factor"},
		{"too large", strings.Repeat("#", stationprofile.MaxFile+1), "expected at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := stationprofile.Parse([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "fast.yaml", "name: fast\nmatch: [{vendor: Mennekes, model: \"Amtron*\", firmware: \"2.*\"}]\nbehaviour: {timeout: 5s}\n")
	write(t, dir, "menn.yaml", "name: mennekes\nmatch: [{vendor: \"mennekes\"}]\nbehaviour: {timeout: 70s}\n")
	write(t, dir, "note.txt", "not a profile")
	b, err := stationprofile.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ vendor, model, firmware, want string }{
		{"Wallbox Chargers", "Pulsar", "1", "wallbox"},
		{"WALL BOX CHARGERS", "", "", "wallbox"},
		{" Wallbox ", "", "", "wallbox"},
		{"Mennekes", "Amtron 4You", "2.1", "fast"},
		{"Mennekes", "Amtron 4You", "1.9", "mennekes"},
		{"ABB", "Terra AC W22", "", "abb-terra"},
		{"ABB", "Other", "", ""},
		{"Alfen BV", "Eve", "", "alfen"},
		{"go-e", "Gemini", "", "go-e"},
		{"United Chargers", "Grizzl-E Smart", "", "grizzl-e"},
		{"", "", "", ""},
	}
	for _, tt := range tests {
		got := ""
		if p := b.Find(tt.vendor, tt.model, tt.firmware); p != nil {
			got = p.Name
		}
		if got != tt.want {
			t.Errorf("%q %q %q: got %q, want %q", tt.vendor, tt.model, tt.firmware, got, tt.want)
		}
	}
	if p := b.Named("mennekes"); p == nil || p.Timeout != 70*time.Second {
		t.Errorf("the installer's profile does not take the place of the built-in one: %+v", p)
	}
	if p := b.Named("nothing"); p != nil {
		t.Errorf("got %+v", p)
	}
	if got := strings.Join(b.Names(), " "); !strings.Contains(got, "alfen fast go-e") {
		t.Errorf("names: %s", got)
	}
}

func TestLoadFaults(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", "name: a\nmatch: [{vendor: a}]\nbehaviour:\n  pong: true\n")
	write(t, dir, "b.yaml", "name: b\nmatch: [{vendor: b}]\nbehaviour: {ping: false}\n")
	write(t, dir, "c.yaml", "name: b\nmatch: [{vendor: c}]\nbehaviour: {ping: false}\n")
	_, err := stationprofile.Load(dir)
	if err == nil || !strings.Contains(err.Error(), dir+"/a.yaml: line 4: pong: unknown key") || !strings.Contains(err.Error(), dir+"/c.yaml: name: expected each name once") {
		t.Errorf("got %v", err)
	}
	if _, err := stationprofile.Load(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a directory that is not there was loaded")
	}
}

func TestOver(t *testing.T) {
	no := false
	base := stationprofile.Behaviour{Timeout: time.Minute, RegisterScope: "session", Ping: &no}
	yes := true
	got := stationprofile.Behaviour{Timeout: time.Second, Ping: &yes, LimitUnit: "A"}.Over(base)
	want := stationprofile.Behaviour{Timeout: time.Second, RegisterScope: "session", Ping: &yes, LimitUnit: "A"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMeter(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	kwh := stationprofile.Behaviour{EnergyScale: 1000}
	tests := []struct {
		name  string
		b     stationprofile.Behaviour
		given *int64
		want  *int64
	}{
		{"as it is", stationprofile.Behaviour{}, n(5), n(5)},
		{"scaled", kwh, n(5), n(5000)},
		{"of the session", stationprofile.Behaviour{RegisterScope: "session"}, n(77), n(0)},
		{"of the session, not told", stationprofile.Behaviour{RegisterScope: "session"}, nil, n(0)},
		{"of the lifetime", stationprofile.Behaviour{RegisterScope: "lifetime"}, n(77), n(77)},
		{"of the lifetime, lost", stationprofile.Behaviour{RegisterScope: "lifetime"}, n(0), nil},
		{"none", kwh, nil, nil},
	}
	for _, tt := range tests {
		if got := tt.b.Begin(tt.given); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTimeoutOf(t *testing.T) {
	b := stationprofile.Behaviour{Timeout: time.Minute, Timeouts: map[string]time.Duration{"GetDiagnostics": 2 * time.Minute}}
	if b.TimeoutOf("Reset") != time.Minute || b.TimeoutOf("GetDiagnostics") != 2*time.Minute {
		t.Errorf("got %v, %v", b.TimeoutOf("Reset"), b.TimeoutOf("GetDiagnostics"))
	}
}

// Whatever a file holds, it is a profile that can be used or it is refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte("name: a\nmatch: [{vendor: a}]\nbehaviour: {ping: false, timeouts: {Reset: 5s}}\n"))
	f.Add([]byte("- a\n- b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := stationprofile.Parse(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a word")
			}
			return
		}
		if p.Name == "" || len(p.Match) == 0 || len(p.Behaviour.Check()) > 0 {
			t.Errorf("taken: %+v", p)
		}
	})
}
