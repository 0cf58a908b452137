package scenario_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/car"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/scenario"
	"github.com/chargeyard/chargeyard/firmware-sim/scenarios"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEmbedded(t *testing.T) {
	names, err := scenario.Names(scenarios.Files)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"busy", "charge-once", "depot", "idle", "mixed"}; !slices.Equal(names, want) {
		t.Fatalf("embedded are %v, want %v", names, want)
	}
	counts := map[string]int{"busy": 20, "charge-once": 1, "depot": 12, "idle": 1, "mixed": 60}
	for _, name := range names {
		s, err := scenario.Load(name, scenarios.Files)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != name || s.Description == "" || s.Chargers() != counts[name] {
			t.Errorf("%s: %q, %q, %d chargers; want %d", name, s.Name, s.Description, s.Chargers(), counts[name])
		}
	}
}

func TestGood(t *testing.T) {
	s, err := scenario.Load(filepath.Join("testdata", "everything.good.yaml"), scenarios.Files)
	if err != nil {
		t.Fatal(err)
	}
	g := s.Groups[0]
	if s.Reconnect != 2*time.Second || s.Chargers() != 4 || s.Configuration["HeartbeatInterval"] != "30" || g.Configuration["NumberOfConnectors"] != "2" {
		t.Errorf("%+v", s)
	}
	if !g.Supply.DC || g.Supply.MaxW != 62_500 || g.Connectors != 2 || g.Vendor != "Someone" || g.Firmware != "2.1.0" || !slices.Equal(g.Tokens, []string{"A", "B"}) {
		t.Errorf("%+v", g)
	}
	if c := g.Cars; len(c) != 1 || c[0].Car.BatteryWh != 30_500 || c[0].From != 0.1 || c[0].To != 0.9 || c[0].Car.ACPhases != 1 || c[0].Car.Target != 0.8 {
		t.Errorf("cars %+v", c)
	}
	var got []string
	var walk func([]scenario.Step)
	walk = func(steps []scenario.Step) {
		for _, s := range steps {
			got = append(got, fmt.Sprintf("%d %s %d %s%s %s %g %v %s %s %d %g", s.Line, s.Kind, s.Connector, s.Car, s.Token, s.For, s.UntilSoC, s.Codes, s.Info, s.By, s.Times, s.Chance))
			walk(s.Steps)
		}
	}
	walk(g.Script)
	want := []string{
		"19 wait 0  {0s 3s} 0 []  0s 0 0",
		"20 plug 2 small {0s 0s} 0 []  0s 0 0",
		"21 tap 2 C {0s 0s} 0 []  0s 0 0",
		"22 charge 2  {10s 20s} 0.8 []  0s 0 0",
		"23 charge 0  {0s 0s} 1 []  0s 0 0",
		"24 fault 0  {5s 5s} 0 [GroundFailure] wet 0s 0 0",
		"25 fault 0  {0s 0s} 0 [OtherError WeakSignal]  0s 0 0",
		"26 lose_link 0  {5s 5s} 0 []  0s 0 0",
		"27 lose_power 0  {1s 2s} 0 []  0s 0 0",
		"28 clock_skew 0  {0s 0s} 0 []  -1m30s 0 0",
		"29 repeat 0  {0s 0s} 0 []  0s 2 0",
		"32 sometimes 0  {0s 0s} 0 []  0s 0 0.5",
		"32 unplug 0  {0s 0s} 0 []  0s 0 0",
		"33 repeat 0  {0s 0s} 0 []  0s 0 0",
		"35 wait 0  {1m0s 1m0s} 0 []  0s 0 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var marked = regexp.MustCompile(`# (\d+): `)

// Every fault is listed, with its line: those of many.bad.yaml are marked in the
// file.
func TestBad(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "many.bad.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for _, m := range marked.FindAllSubmatch(data, -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, n)
	}
	_, faults := scenario.Parse(data)
	var got []int
	for _, f := range faults {
		got = append(got, f.Line)
	}
	if !slices.Equal(got, want) {
		t.Errorf("faults in lines %v, want %v:\n%s", got, want, &scenario.FaultsError{File: "many", Faults: faults})
	}
	for name, line := range map[string]int{"syntax": 2, "nogroups": 1, "empty": 1} {
		path := filepath.Join("testdata", name+".bad.yaml")
		_, err := scenario.Load(path, scenarios.Files)
		faults, ok := errors.AsType[*scenario.FaultsError](err)
		if !ok || len(faults.Faults) != 1 || faults.Faults[0].Line != line || !strings.Contains(err.Error(), fmt.Sprintf("%s:%d: ", path, line)) {
			t.Errorf("%s: %v, want one fault in line %d", name, err, line)
		}
	}
	if _, err := scenario.Load("nothing-like-it", scenarios.Files); err == nil {
		t.Error("a scenario that does not exist was loaded")
	}
}

// A script that contains itself ends the reading, not the machine.
func TestEndless(t *testing.T) {
	for _, script := range []string{
		"&a [repeat: {times: 2, steps: *a}, repeat: {times: 2, steps: *a}, repeat: {times: 2, steps: *a}]",
		"&a [*a]",
		"[" + strings.Repeat("plug, ", 10_001) + "]",
	} {
		if _, faults := scenario.Parse([]byte("groups:\n  - script: " + script + "\n")); len(faults) == 0 {
			t.Errorf("%.60s: no fault", script)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("groups: [{script: &a [repeat: {times: 2, steps: *a}, repeat: {steps: *a}]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, faults := scenario.Parse(data)
		if len(faults) > 0 {
			lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + 2
			for _, f := range faults {
				if f.Line < 0 || f.Line > lines || f.Text == "" {
					t.Errorf("fault %+v in a file of %d lines", f, lines)
				}
			}
			return
		}
		if n := s.Chargers(); n < 1 || len(s.Assign(3)) != 3 {
			t.Errorf("%d chargers", n)
		}
	})
}

func TestAssign(t *testing.T) {
	s := &scenario.Scenario{Groups: []scenario.Group{{Name: "a", Count: 2}, {Name: "b", Count: 1}}}
	var got []string
	for _, g := range s.Assign(5) {
		got = append(got, g.Name)
	}
	if want := []string{"a", "a", "b", "a", "a"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// fake is a charger that accepts everybody, and notes what is done to it.
type fake struct {
	mu      sync.Mutex
	begun   time.Time
	done    []string
	view    charger.View
	refuse  bool
	changed chan struct{}
}

func newFake() *fake {
	return &fake{begun: time.Now(), changed: make(chan struct{}), view: charger.View{Registered: true, Connectors: make([]charger.ConnectorView, 2)}}
}

func (f *fake) note(format string, args ...any) error {
	f.done = append(f.done, fmt.Sprintf("%v ", time.Since(f.begun).Round(time.Second))+fmt.Sprintf(format, args...))
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

func (f *fake) Plug(_ context.Context, c int, _ car.Car) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.note("plug %d", c)
}

func (f *fake) Unplug(_ context.Context, c int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view.Connectors[c-1] = charger.ConnectorView{}
	return f.note("unplug %d", c)
}

func (f *fake) Tap(_ context.Context, c int, token string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse {
		return fmt.Errorf("%w: no", charger.ErrRefused)
	}
	if v := &f.view.Connectors[c-1]; v.Transaction == "" {
		*v = charger.ConnectorView{Transaction: "1", Token: token, Wants: true}
	} else {
		*v = charger.ConnectorView{}
	}
	return f.note("tap %d %s", c, token)
}

func (f *fake) Fault(_ context.Context, c int, code ocpp16.ChargePointErrorCode, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.note("fault %d %s", c, code)
}

func (f *fake) Clear(_ context.Context, c int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.note("clear %d", c)
}

func (f *fake) SetLink(_ context.Context, up bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.note("link %v", up)
}

func (f *fake) SetPower(_ context.Context, on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.note("power %v", on)
}

func (f *fake) SkewClock(_ context.Context, by time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.note("skew %s", by)
}

func (f *fake) Look(context.Context) (charger.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.view
	v.Connectors = slices.Clone(v.Connectors)
	return v, nil
}

func (f *fake) Await(ctx context.Context, met func(charger.View) bool) error {
	for {
		f.mu.Lock()
		ok, changed := met(f.view), f.changed
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func play(t *testing.T, script string, prepare func(*fake)) []string {
	t.Helper()
	s, faults := scenario.Parse([]byte("groups:\n  - name: g\n    connectors: 2\n    tokens: [T]\n    script:\n" + script))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var done []string
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		if prepare != nil {
			prepare(f)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := scenario.NewPlayer(&s.Groups[0], f, "CP-1", 2, 1, slog.New(slog.DiscardHandler)).Play(ctx); err != nil {
			t.Error(err)
		}
		done = f.done
	})
	return done
}

func TestPlayer(t *testing.T) {
	tests := []struct {
		name, script string
		prepare      func(*fake)
		want         []string
	}{
		{"a session", "      - plug\n      - tap\n      - charge: {for: 30s}\n      - tap\n      - wait: 5s\n      - unplug\n", nil,
			[]string{"0s plug 2", "0s tap 2 T", "30s tap 2 T", "35s unplug 2"}},
		{"another connector and card", "      - tap: {token: X, connector: 1}\n", nil, []string{"0s tap 1 X"}},
		{"a refused card: nothing is waited for", "      - plug\n      - tap\n      - charge: {for: 30s}\n      - unplug\n", func(f *fake) { f.refuse = true },
			[]string{"0s plug 2", "0s unplug 2"}},
		{"things that go wrong and right again", "      - lose_link: 5s\n      - lose_power: 3s\n      - fault: {code: OtherError, clear_after: 2s}\n      - clock_skew: {by: 1m}\n", nil,
			[]string{"0s link false", "5s link true", "5s power false", "8s power true", "8s fault 2 OtherError", "10s clear 2", "10s skew 1m0s"}},
		{"a fault of the whole that stays", "      - fault: {code: OtherError, connector: 0}\n", nil, []string{"0s fault 0 OtherError"}},
		{"repeat", "      - repeat: {times: 2, steps: [plug, wait: 1s, unplug]}\n", nil, []string{"0s plug 2", "1s unplug 2", "1s plug 2", "2s unplug 2"}},
		{"sometimes", "      - sometimes: {chance: 1, steps: [plug]}\n      - sometimes: {chance: 0, steps: [unplug]}\n", nil, []string{"0s plug 2"}},
		{"not registered: it begins after a while", "      - plug\n", func(f *fake) { f.view.Registered = false }, []string{"15s plug 2"}},
		{"until the car has enough", "      - tap\n      - charge: {until: 80%}\n      - unplug\n", func(f *fake) {
			go func() {
				time.Sleep(time.Minute)
				f.mu.Lock()
				f.view.Connectors[1].SoC = 0.8
				_ = f.note("enough")
				f.mu.Unlock()
			}()
		}, []string{"0s tap 2 T", "1m0s enough", "1m0s unplug 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := play(t, tt.script, tt.prepare); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// One seed gives one course of things.
func TestSeed(t *testing.T) {
	script := "      - repeat:\n          times: 20\n          steps: [plug, wait: 1s..10s, sometimes: {chance: 0.5, steps: [tap]}, unplug]\n"
	first, second := play(t, script, nil), play(t, script, nil)
	if !slices.Equal(first, second) || len(first) < 45 {
		t.Errorf("%q and then %q", first, second)
	}
}
