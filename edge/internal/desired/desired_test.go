package desired_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/desired"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// fakeSite is journal, clock and site in one: it notes what happens in order.
type fakeSite struct {
	said     []string
	alarms   int
	refusing bool // plans
	full     bool // the disk
	onCommit func()
}

func (s *fakeSite) note(format string, args ...any) {
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

func (s *fakeSite) SetTokens(section string, tokens []site.TokenInfo) {
	var out []string
	for _, t := range tokens {
		out = append(out, fmt.Sprintf("%s:%s %s %s %v", t.Token.Type, t.Token.Value, t.Decision, t.Parent, t.Expires != nil))
	}
	s.note("%s %q", section, out)
}

func (s *fakeSite) SetStations(stations []site.Admission) { s.note("stations %v", stations) }

func (s *fakeSite) SetPlan(p site.Plan) error {
	if s.refusing {
		return errors.New("the fallbacks exceed circuit A")
	}
	s.note("plan fallback %v, limit %v, %d circuits", p.FallbackA, p.LimitA, len(p.Circuits))
	return nil
}

func (s *fakeSite) Alarm(context.Context, event.GatewayAlarm) { s.alarms++ }

func (s *fakeSite) Commit(_ context.Context, c site.Change) error {
	if s.full {
		return site.ErrNotKept
	}
	if s.onCommit != nil {
		s.onCommit()
	}
	for _, d := range c.Events {
		if d.Boot != "b" || d.Clock != event.ClockSynced || d.Time.IsZero() {
			return fmt.Errorf("envelope %+v", d)
		}
		a := d.Data.(*event.GatewayApplied)
		s.note("applied %s %s %q", a.Section, a.Revision, a.Error)
	}
	return nil
}

func (*fakeSite) AddSamples(context.Context, event.Draft) error { return errors.New("not here") }

func (*fakeSite) Stamp() site.Stamp {
	return site.Stamp{Time: time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC), Boot: "b", Clock: event.ClockSynced}
}

func (*fakeSite) Judge() (time.Time, bool) { return time.Time{}, false }

func (s *fakeSite) take() []string {
	said := s.said
	s.said = nil
	return said
}

func open(t *testing.T, dir string, s *fakeSite) *desired.Store {
	t.Helper()
	d := desired.New(dir, s, s, s, slog.New(slog.DiscardHandler))
	d.Load(t.Context())
	return d
}

func TestApply(t *testing.T) {
	tests := []struct {
		name     string
		section  string
		content  string
		refusing bool
		effect   string // what the site is told, at once and after a restart
		refusal  string // part of the error in gateway.applied
		unknown  bool   // stored all the same
	}{
		{
			name: "tokens", section: "tokens-0a",
			content: `{"tokens":[{"type":"rfid","value":"04 <&> A1","status":"accepted","parent":"fleet","expires":"2027-01-01T00:00:00Z","new":1},{"type":"","value":"b","status":"blocked"}]}`,
			effect:  `tokens-0a ["rfid:04 <&> A1 accepted fleet true" ":b blocked  false"]`,
		},
		{name: "no tokens", section: "tokens-3f", content: `{"tokens":[]}`, effect: `tokens-3f []`},
		{name: "token without value", section: "tokens-00", content: `{"tokens":[{"type":"rfid","value":" ","status":"accepted"}]}`, refusal: "expected a value"},
		{name: "token without status", section: "tokens-00", content: `{"tokens":[{"value":"a"}]}`, refusal: "expected a status"},
		{name: "tokens of another shape", section: "tokens-00", content: `{"tokens":{"a":"b"}}`, refusal: "content: "},
		{name: "stations", section: "stations", content: `{"stations":[{"identity":"CP 1","password_hash":"h"},{"identity":"CP2"}]}`, effect: `stations [{CP 1 [h] 0 } {CP2 [] 0 }]`},
		{
			name: "station that may not charge", section: "stations",
			content: `{"stations":[{"identity":"CP1","password_hash":"h","password_hashes":["g","h"],"security_profile":2,"registration":"pending"}]}`,
			effect:  `stations [{CP1 [h g] 2 pending}]`,
		},
		{name: "registration of another word", section: "stations", content: `{"stations":[{"identity":"CP1","registration":"maybe"}]}`, refusal: "accepted, pending or rejected"},
		{name: "security profile 4", section: "stations", content: `{"stations":[{"identity":"CP1","security_profile":4}]}`, refusal: "0 to 3"},
		{name: "station without identity", section: "stations", content: `{"stations":[{"password_hash":"h"}]}`, refusal: "expected an identity"},
		{
			name: "plan", section: "site", content: `{"fallback_a":{"CP1":6},"limit_a":{"CP1":16},"circuits":[{"name":"A","limit_a":63,"stations":["CP1"]}]}`,
			effect: `plan fallback map[CP1:6], limit map[CP1:16], 1 circuits`,
		},
		{name: "plan refused by the site", section: "site", content: `{}`, refusing: true, refusal: "exceed circuit A"},
		{name: "circuit without limit", section: "site", content: `{"circuits":[{"name":"A"}]}`, refusal: "positive limit_a"},
		{name: "unknown section", section: "tariffs", content: `{"eur":1}`, refusal: "unknown section", unknown: true},
		{name: "unknown tokens section", section: "tokens-40", content: `{"tokens":[]}`, refusal: "unknown section", unknown: true},
		{name: "not JSON", section: "tariffs", content: `{"eur"`, refusal: "expected JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, s := filepath.Join(t.TempDir(), "config", "desired"), &fakeSite{refusing: tt.refusing}
			store := open(t, dir, s)
			d := wire.Desired{Section: tt.section, Revision: "r1", Content: json.RawMessage(tt.content)}
			announced := map[string]string{tt.section: "r1"}
			if got := store.Wanted(announced); !slices.Equal(got, []string{tt.section}) {
				t.Errorf("Wanted before: %q", got)
			}
			if err := store.Apply(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			said := strings.Join(s.take(), "; ")
			if tt.refusal == "" && (!strings.Contains(said, tt.effect) || !strings.Contains(said, `applied `+tt.section+` r1 ""`)) {
				t.Errorf("said %s, want %s and applied", said, tt.effect)
			}
			if tt.refusal != "" && (!strings.HasPrefix(said, `applied `+tt.section+` r1 "`) || !strings.Contains(said, tt.refusal)) {
				t.Errorf("said %s, want applied with %q", said, tt.refusal)
			}
			if got := store.Wanted(announced); len(got) != 0 {
				t.Errorf("Wanted afterwards: %q", got)
			}
			want := map[string]string{}
			if tt.refusal == "" || tt.unknown {
				want = announced
			}
			if got := store.Revisions(); !maps.Equal(got, want) {
				t.Errorf("Revisions: %v, want %v", got, want)
			}
			if err := store.Apply(t.Context(), d); err != nil || len(s.take()) != 0 {
				t.Errorf("a repetition is not silent: %v", err)
			}

			again := open(t, dir, s)
			if got := again.Revisions(); !maps.Equal(got, want) {
				t.Errorf("Revisions after a restart: %v, want %v", got, want)
			}
			if said := strings.Join(s.take(), "; "); said != tt.effect || s.alarms != 0 {
				t.Errorf("said after a restart %q, %d alarms; want %q", said, s.alarms, tt.effect)
			}
		})
	}
}

func section(revision string, amps int) wire.Desired {
	return wire.Desired{Section: "site", Revision: revision, Content: json.RawMessage(fmt.Sprintf(`{"limit_a":{"CP1":%d}}`, amps))}
}

// TestRefusedKeepsOld: a plan that may not hold leaves the one before it in
// force, over a restart too.
func TestRefusedKeepsOld(t *testing.T) {
	dir, s := t.TempDir(), &fakeSite{}
	store := open(t, dir, s)
	if err := store.Apply(t.Context(), section("r1", 16)); err != nil {
		t.Fatal(err)
	}
	s.refusing = true
	if err := store.Apply(t.Context(), section("r2", 99)); err != nil {
		t.Fatal(err)
	}
	if got := store.Revisions()["site"]; got != "r1" {
		t.Errorf("revision %q, want r1", got)
	}
	s.refusing = false
	s.take()
	open(t, dir, s)
	if got := strings.Join(s.take(), "; "); !strings.Contains(got, "limit map[CP1:16]") {
		t.Errorf("after a restart: %s", got)
	}
	if err := store.Apply(t.Context(), section("r3", 20)); err != nil {
		t.Fatal(err)
	}
	if got := store.Wanted(map[string]string{"site": "r2"}); len(got) != 1 {
		t.Errorf("a revision refused before another took effect is asked for again: %q", got)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestDurableFirst: a section is on the disk before anything says that it holds,
// and a full journal leaves everything as it was.
func TestDurableFirst(t *testing.T) {
	dir, s := t.TempDir(), &fakeSite{}
	store := open(t, dir, s)
	tokens := wire.Desired{Section: "tokens-00", Revision: "r1", Content: json.RawMessage(`{"tokens":[]}`)}
	s.full = true
	if err := store.Apply(t.Context(), tokens); !errors.Is(err, site.ErrNotKept) {
		t.Errorf("Apply with a full disk: %v, want ErrNotKept", err)
	}
	if len(store.Revisions()) != 0 || len(s.take()) != 0 {
		t.Errorf("it took effect")
	}
	if got := open(t, dir, s).Revisions(); len(got) != 0 {
		t.Errorf("after a restart: %v", got)
	}
	s.full = false
	s.onCommit = func() {
		files, err := filepath.Glob(filepath.Join(dir, "tokens-00.json*"))
		if err != nil || len(files) != 1 || len(s.said) != 0 {
			t.Errorf("when it is recorded: files %q, said %q, %v", files, s.said, err)
		}
	}
	if err := store.Apply(t.Context(), tokens); err != nil {
		t.Fatal(err)
	}
	if want := []string{`applied tokens-00 r1 ""`, `tokens-00 []`}; !slices.Equal(s.said, want) {
		t.Errorf("said %q, want %q", s.said, want)
	}
}

// TestDamaged: a file that cannot be trusted is moved aside and asked for again.
func TestDamaged(t *testing.T) {
	good := func(t *testing.T) string {
		dir := t.TempDir()
		s := &fakeSite{}
		if err := open(t, dir, s).Apply(t.Context(), section("r1", 16)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	tests := []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"a bit", func(b []byte) []byte { return []byte(strings.Replace(string(b), `16`, `17`, 1)) }},
		{"the end", func(b []byte) []byte { return b[:len(b)/2] }},
		{"everything", func([]byte) []byte { return nil }},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"the name", func(b []byte) []byte { return []byte(strings.Replace(string(b), `"site"`, `"cite"`, 1)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := good(t)
			path := filepath.Join(dir, "site.json")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s := &fakeSite{}
			store := open(t, dir, s)
			if len(store.Revisions()) != 0 || s.alarms != 1 || len(s.said) != 0 {
				t.Errorf("revisions %v, %d alarms, said %q", store.Revisions(), s.alarms, s.said)
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Errorf("not moved aside: %v", err)
			}
			if err := store.Apply(t.Context(), section("r1", 16)); err != nil {
				t.Fatal(err)
			}
			if got := open(t, dir, s).Revisions()["site"]; got != "r1" {
				t.Errorf("sent again: revision %q", got)
			}
		})
	}
}

// TestLoadForeign: what is not ours is left alone, an unfinished file removed, a
// folder that is none reported.
func TestLoadForeign(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"notes.txt", "site.json.tmp", "UPPER.json"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &fakeSite{}
	if got := open(t, dir, s).Revisions(); len(got) != 0 || s.alarms != 0 {
		t.Errorf("revisions %v, %d alarms", got, s.alarms)
	}
	if _, err := os.Stat(filepath.Join(dir, "site.json.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unfinished file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Error(err)
	}
	store := open(t, filepath.Join(dir, "notes.txt"), s)
	if s.alarms != 1 {
		t.Errorf("%d alarms about a folder that is a file", s.alarms)
	}
	if err := store.Apply(t.Context(), section("r1", 16)); err == nil {
		t.Error("stored in a folder that is a file")
	}
}

// TestApplyForeign: a name that is no file name is not ours.
func TestApplyForeign(t *testing.T) {
	dir, s := t.TempDir(), &fakeSite{}
	store := open(t, dir, s)
	for _, d := range []wire.Desired{
		{Section: "../site", Revision: "r", Content: json.RawMessage(`{}`)},
		{Section: "", Revision: "r", Content: json.RawMessage(`{}`)},
		{Section: "site", Content: json.RawMessage(`{}`)},
	} {
		if err := store.Apply(t.Context(), d); !errors.Is(err, wire.ErrNotOurs) {
			t.Errorf("Apply(%+v): %v, want ErrNotOurs", d, err)
		}
	}
	if len(s.said) != 0 {
		t.Errorf("said %q", s.said)
	}
}
