package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chargeyard/chargeyard/cloud/internal/config"
)

func none(string) string { return "" }

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return found
}

func TestGood(t *testing.T) {
	for _, file := range files(t, "testdata/*.good.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := config.Load(file, none); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBad reads what is wrong with each file from its own end: line and text of
// every fault.
func TestBad(t *testing.T) {
	for _, file := range files(t, "testdata/*.bad.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(string(text), "# want:\n")
			var want []string
			for line := range strings.Lines(after) {
				want = append(want, strings.TrimSpace(strings.TrimPrefix(line, "# ")))
			}
			_, err = config.Load(file, none)
			var faults *config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("error %v, want faults", err)
			}
			var got []string
			for _, f := range faults.List {
				got = append(got, strconv.Itoa(f.Line)+": "+f.Text)
			}
			if !slices.Equal(got, want) {
				t.Errorf("faults\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if n := strings.Count(err.Error(), file+":"); n != len(want) {
				t.Errorf("%d lines name the file, want %d:\n%v", n, len(want), err)
			}
		})
	}
}

func TestWithoutFile(t *testing.T) {
	c, err := config.Load("", none)
	if err != nil {
		t.Fatal(err)
	}
	if c.SQLite() != filepath.Join("data", "cloud", "cloud.db") || c.HTTP.Listen != ":8080" ||
		c.Broker.Embedded == nil || c.Broker.Embedded.Listen != "127.0.0.1:1883" {
		t.Errorf("defaults %+v", c)
	}
	if _, err := config.Load("testdata/missing.yaml", none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	with := func(env map[string]string) func(string) string {
		return func(key string) string { return env[key] }
	}
	tests := []struct {
		name  string
		file  string
		env   map[string]string
		want  func(config.Config) any
		is    any
		fault string
	}{
		{name: "data", env: map[string]string{"CHARGEYARD_DATA_DIR": "/x"}, want: func(c config.Config) any { return c.DataDir }, is: "/x"},
		{name: "listen", env: map[string]string{"CHARGEYARD_HTTP_LISTEN": ":1"}, want: func(c config.Config) any { return c.HTTP.Listen }, is: ":1"},
		{
			name: "password", file: "testdata/external.good.yaml", env: map[string]string{"CHARGEYARD_BROKER_PASSWORD": "other"},
			want: func(c config.Config) any { return c.Broker.Password }, is: "other",
		},
		{
			name: "another broker", file: "testdata/embedded.good.yaml",
			env:  map[string]string{"CHARGEYARD_BROKER_URL": "mqtt://b", "CHARGEYARD_BROKER_USERNAME": "m"},
			want: func(c config.Config) any { return c.Broker }, is: config.Broker{URL: "mqtt://b", Username: "m"},
		},
		{
			name: "embedded", env: map[string]string{
				"CHARGEYARD_BROKER_EMBEDDED_LISTEN": ":5", "CHARGEYARD_BROKER_EMBEDDED_PLAIN": "true", "CHARGEYARD_BROKER_EMBEDDED_MAX_CONNECTIONS": "7",
			},
			want: func(c config.Config) any { return *c.Broker.Embedded }, is: config.Embedded{Listen: ":5", Plain: true, MaxConns: 7},
		},
		{name: "files", env: map[string]string{"CHARGEYARD_FILES_MAX_MB": "1", "CHARGEYARD_FILES_TOTAL_MB": "2", "CHARGEYARD_FILES_KEEP_DAYS": "3"}, want: func(c config.Config) any { return c.Files }, is: config.Files{MaxMB: 1, TotalMB: 2, KeepDays: 3}},
		{name: "address", env: map[string]string{"CHARGEYARD_HTTP_PUBLIC_URL": "https://m"}, want: func(c config.Config) any { return c.HTTP.PublicURL }, is: "https://m"},
		{name: "address on one machine", env: map[string]string{"CHARGEYARD_HTTP_LISTEN": ":81"}, want: func(c config.Config) any { return c.HTTP.PublicURL }, is: "http://127.0.0.1:81"},
		{name: "no address beyond it", file: "testdata/plain.good.yaml", want: func(c config.Config) any { return c.HTTP.PublicURL }, is: ""},
		{name: "not a number", env: map[string]string{"CHARGEYARD_BROKER_EMBEDDED_MAX_CONNECTIONS": "many"}, fault: "CHARGEYARD_BROKER_EMBEDDED_MAX_CONNECTIONS"},
		{name: "not true or false", env: map[string]string{"CHARGEYARD_BROKER_EMBEDDED_PLAIN": "perhaps"}, fault: "CHARGEYARD_BROKER_EMBEDDED_PLAIN"},
		{name: "a wrong value", env: map[string]string{"CHARGEYARD_LOG_LEVEL": "loud"}, fault: "log.level"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Load(tt.file, with(tt.env))
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("error %v, want one about %s", err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.want(c); !reflect.DeepEqual(got, tt.is) {
				t.Errorf("%+v, want %+v", got, tt.is)
			}
		})
	}
}

// TestNoSecretInFaults: what a fault says ends up in logs.
func TestNoSecretInFaults(t *testing.T) {
	for _, text := range []string{
		`broker: {url: "https://manager:hunter2@b", username: m}`,
		`database: "mysql://u:hunter2@h/d"`,
	} {
		_, err := config.Parse("", []byte(text), none)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/embedded.good.yaml", "testdata/unknown.bad.yaml", "testdata/both.bad.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := config.Parse("x", []byte(text), none)
		var faults *config.Faults
		if err != nil && (!errors.As(err, &faults) || len(faults.List) == 0) {
			t.Errorf("error %v without faults", err)
		}
	})
}
