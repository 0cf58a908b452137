package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/config"
)

func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return names
}

func TestGood(t *testing.T) {
	for _, name := range files(t, "*.good.yaml") {
		if _, err := config.Load(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := config.Load("testdata/everything.good.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.MQTT.Password != "0815" || c.OCPP.FrameLimit != 2<<20 || c.Limits.Samples != 256<<20 || c.Limits.Ballast != 0 ||
		c.Samples.Flush != 0 || c.OCPP.Ping != 0 || len(c.Stations) != 2 || c.Stations[0].Timeout != 90*time.Second ||
		*c.Stations[0].Ping || c.Stations[0].Connectors[1].Connector != 2 || c.Stations[1].Identity != "CP|2" {
		t.Errorf("read %+v", c)
	}
}

var want = regexp.MustCompile(`# want ?(.*)`)

// Every fault of a bad file is reported, with its line, and nothing else.
func TestBad(t *testing.T) {
	for _, name := range files(t, "*.bad.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var wanted []string
			for _, m := range want.FindAllStringSubmatch(string(text), -1) {
				wanted = append(wanted, strings.TrimPrefix(strings.TrimPrefix(m[1], ": "), " "))
			}
			_, err = config.Load(name, nil)
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want faults", err)
			}
			for _, w := range wanted {
				found := false
				for _, f := range faults {
					found = found || strings.HasPrefix(f.String(), w)
				}
				if !found {
					t.Errorf("no fault %q in\n%v", w, faults)
				}
			}
			if !strings.Contains(name, "syntax") && len(faults) != len(wanted) {
				t.Errorf("%d faults, want %d:\n%v", len(faults), len(wanted), faults)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("a password is repeated:\n%v", err)
			}
			for i := 1; i < len(faults); i++ {
				if faults[i-1].Line > faults[i].Line {
					t.Errorf("line %d comes before line %d", faults[i-1].Line, faults[i].Line)
				}
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	_, err := config.Load("nowhere.yaml", nil)
	if !errors.Is(err, config.ErrNoFile) || !strings.Contains(err.Error(), "chargeyard-edge init") {
		t.Errorf("got %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	text, err := os.ReadFile("testdata/smallest.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(text, []string{
		"CHARGEYARD_MQTT_PASSWORD=s:e=c'r et", "CHARGEYARD_GATEWAY=gw-9", "CHARGEYARD_OCPP_TIMEOUT=10s", "CHARGEYARD_SAMPLES_FLUSH=0s",
		"CHARGEYARD_LIMITS_SAMPLES=64MiB", "CHARGEYARD_OCPP_TIMEOUTS=7", "CHARGEYARD_CONSOLE_LISTEN=",
		"CHARGEYARD_E2E=1", "CHARGEYARD_FAILPOINT=x:1", "OTHER=1", "nonsense",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.MQTT.Password != "s:e=c'r et" || c.Gateway != "gw-9" || c.OCPP.Timeout != 10*time.Second || c.Samples.Flush != 0 ||
		c.Limits.Samples != 64<<20 || c.OCPP.TimeoutsToClose != 7 || c.Console.Listen != "" {
		t.Errorf("read %+v", c)
	}
	_, err = config.Parse(text, []string{"CHARGEYARD_OCPP_TIMEOUT=soon", "CHARGEYARD_LIMITS_SAMPLES=much"})
	for _, w := range []string{`CHARGEYARD_OCPP_TIMEOUT: expected a time span such as 30s or 5m, got soon`, `CHARGEYARD_LIMITS_SAMPLES: expected a size`} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got %v, want %s", err, w)
		}
	}
}

// What init writes has no faults, and names the defaults as they are.
func TestExample(t *testing.T) {
	example := config.Example("gw-7")
	got, err := config.Parse([]byte(example), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Gateway != "gw-7" {
		t.Errorf("gateway %q", got.Gateway)
	}
	// Switched on, what is commented out changes nothing.
	all := regexp.MustCompile(`(?m)^( *)# ((samples|flush|limits|events|samples|ballast|log|level|format|heartbeat|ping|read_deadline_minimum|timeout|timeouts|frame_limit|unknown_limit|boot_wait|refresh_after|compression|ask|cache|recorder|station|total):|  (flush|events|samples|ballast|level|format|station|total):)`).
		ReplaceAllString(example, "$1$2")
	same, err := config.Parse([]byte(all), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, all)
	}
	if !reflect.DeepEqual(got, same) {
		t.Errorf("the comments name other defaults:\n%+v\n%+v", got, same)
	}
}

func TestPlain(t *testing.T) {
	tests := map[string]bool{"mqtt://127.0.0.1:1883": false, "mqtt://localhost": false, "mqtt://[::1]:1883": false, "mqtts://broker": false, "mqtt://broker:1883": true, "mqtt://10.0.0.1": true}
	for address, want := range tests {
		if got := (config.MQTT{URL: address}).Plain(); got != want {
			t.Errorf("%s: got %v", address, got)
		}
	}
}

func TestGatewayFor(t *testing.T) {
	tests := map[string]string{
		"depot-7.example.com": "depot-7", "Raspberry_Pi": "raspberry-pi", "": "gw-1", "---": "gw-1", "ÄÖ": "gw-1",
		strings.Repeat("x", 60): strings.Repeat("x", 40),
	}
	for host, want := range tests {
		if got := config.GatewayFor(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/everything.good.yaml", "testdata/values.bad.yaml", "testdata/keys.bad.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(text, nil)
		if err == nil && c.Gateway == "" {
			t.Error("a configuration without a gateway has no faults")
		}
	})
}
