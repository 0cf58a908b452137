// Package desired keeps the state in which the manager wants this gateway, in
// sections: who may charge, which stations may connect, what holds when no
// command does.
//
// A section is on the disk before it takes effect, so that a site without an
// uplink starts with what it had. A section that cannot take effect leaves the
// one before it in force, and the manager is told why. A damaged file is moved
// aside and its revision forgotten, so that the manager sends it again.
package desired

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// Site is where sections take effect.
type Site interface {
	// SetTokens replaces the tokens of one tokens section.
	SetTokens(section string, tokens []site.TokenInfo)
	// SetStations replaces the stations that the manager admits.
	SetStations(stations []site.Admission)
	// SetPlan replaces the site plan, or says why it may not hold; then the one
	// before it stays.
	SetPlan(p site.Plan) error
	// Alarm reports what needs a person.
	Alarm(ctx context.Context, a event.GatewayAlarm)
}

// errUnknown is recorded about a section that a newer manager knows.
var errUnknown = errors.New("unknown section")

// name is what a section may be called: it becomes the name of a file.
var name = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// Store keeps the sections in a folder of its own.
type Store struct {
	dir     string
	journal site.Journal
	clock   site.Clock
	site    Site
	log     *slog.Logger

	applying sync.Mutex // held by Load and Apply: one section at a time

	mu      sync.Mutex
	inForce map[string]string // section: revision
	refused map[string]string // section: revision that was refused last
}

// New returns a Store of the files in dir, which is made when it is missing. It
// holds nothing before Load.
func New(dir string, j site.Journal, c site.Clock, s Site, log *slog.Logger) *Store {
	return &Store{
		dir: dir, journal: j, clock: c, site: s, log: log,
		inForce: make(map[string]string), refused: make(map[string]string),
	}
}

// Load puts the stored sections in force. What cannot be read is moved aside and
// reported: a gateway starts with what it has.
func (s *Store) Load(ctx context.Context) {
	s.applying.Lock()
	defer s.applying.Unlock()
	kept, damaged, err := readAll(s.dir)
	if err != nil {
		s.log.Error("desired state not loaded", "dir", s.dir, "err", err)
		s.alarm(ctx, fmt.Sprintf("The folder %s of desired state cannot be read (%v): the site goes on without it until the manager has sent it anew.", s.dir, err))
	}
	for _, d := range damaged {
		s.log.Error("damaged desired section moved aside", "file", d.file, "to", d.moved, "err", d.err)
		s.alarm(ctx, fmt.Sprintf("The file %s of desired state is damaged (%v). It was moved to %s; the manager sends it again.", d.file, d.err, d.moved))
	}
	for _, d := range kept {
		effect, err := s.parse(d)
		if err == nil {
			err = effect()
		}
		if err != nil && !errors.Is(err, errUnknown) {
			s.log.Error("stored desired section not in force", "section", d.Section, "revision", d.Revision, "err", err)
			s.alarm(ctx, fmt.Sprintf("The stored section %s of desired state cannot take effect: %v.", d.Section, err))
			continue
		}
		s.set(d, nil)
	}
	s.log.Info("desired state loaded", "sections", len(s.Revisions()))
}

func (s *Store) alarm(ctx context.Context, text string) {
	s.site.Alarm(ctx, event.GatewayAlarm{Alarm: "file_damaged", Severity: "warning", Text: text})
}

// Revisions maps each section to its revision in force.
func (s *Store) Revisions() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.inForce)
}

// Wanted lists the sections whose announced revision is neither in force nor was
// refused before.
func (s *Store) Wanted(announced map[string]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for section, revision := range announced {
		if !wire.InForce(section, s.inForce[section], revision) && s.refused[section] != revision {
			out = append(out, section)
		}
	}
	slices.Sort(out)
	return out
}

// Apply stores d and puts it in force, and records that with gateway.applied; or
// records why it cannot take effect, which leaves the section as it was. An
// error means that neither could be made durable, or that d is no section.
func (s *Store) Apply(ctx context.Context, d wire.Desired) error {
	if !name.MatchString(d.Section) || d.Revision == "" {
		return fmt.Errorf("%w: expected a section and its revision, got %q, %q", wire.ErrNotOurs, d.Section, d.Revision)
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.known(d) {
		return nil // the manager repeats what it was not told about yet
	}
	effect, refusal := s.parse(d)
	if refusal != nil && !errors.Is(refusal, errUnknown) {
		return s.refuse(ctx, d, refusal)
	}
	file, err := write(s.dir, d)
	if err != nil {
		return fmt.Errorf("store section %s: %w", d.Section, err)
	}
	defer file.discard()
	// A plan is checked by the site, which alone knows its stations; all else
	// cannot be refused any more. So the effect may go first: the next start
	// finds the section on the disk or asks for it again.
	if d.Section == wire.SectionSite {
		if err := effect(); err != nil {
			return s.refuse(ctx, d, err)
		}
	}
	if err := s.record(ctx, d, refusal); err != nil {
		return err
	}
	if err := file.commit(); err != nil {
		return fmt.Errorf("store section %s: %w", d.Section, err)
	}
	if d.Section != wire.SectionSite && refusal == nil {
		if err := effect(); err != nil {
			return fmt.Errorf("section %s: %w", d.Section, err)
		}
	}
	s.set(d, nil)
	level := slog.LevelInfo
	if isTokens(d.Section) { // there are many, and they change every day
		level = slog.LevelDebug
	}
	s.log.Log(ctx, level, "desired section in force", "section", d.Section, "revision", d.Revision)
	return nil
}

// refuse records why d does not take effect.
func (s *Store) refuse(ctx context.Context, d wire.Desired, why error) error {
	s.log.Warn("desired section refused", "section", d.Section, "revision", d.Revision, "err", why)
	if err := s.record(ctx, d, why); err != nil {
		return err
	}
	s.set(d, why)
	return nil
}

// record makes what became of d an event.
func (s *Store) record(ctx context.Context, d wire.Desired, refusal error) error {
	applied := &event.GatewayApplied{Section: d.Section, Revision: d.Revision}
	if refusal != nil {
		applied.Error = refusal.Error()
	}
	now := s.clock.Stamp()
	err := s.journal.Commit(ctx, site.Change{Events: []event.Draft{{Time: now.Time, Recorded: now.Time, Boot: now.Boot, Clock: now.Clock, Data: applied}}})
	if err != nil {
		return fmt.Errorf("record section %s: %w", d.Section, err)
	}
	return nil
}

// known tells whether this revision of the section has been dealt with.
func (s *Store) known(d wire.Desired) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inForce[d.Section] == d.Revision || s.refused[d.Section] == d.Revision
}

func (s *Store) set(d wire.Desired, refusal error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal != nil {
		s.refused[d.Section] = d.Revision
		return
	}
	delete(s.refused, d.Section)
	s.inForce[d.Section] = d.Revision
}

// parse reads the content of d and returns what puts it in force.
func (s *Store) parse(d wire.Desired) (effect func() error, err error) {
	switch {
	case isTokens(d.Section):
		tokens, err := tokensOf(d.Content)
		return func() error { s.site.SetTokens(d.Section, tokens); return nil }, err
	case d.Section == wire.SectionStations:
		stations, err := stationsOf(d.Content)
		return func() error { s.site.SetStations(stations); return nil }, err
	case d.Section == wire.SectionSite:
		plan, err := planOf(d.Content)
		return func() error { return s.site.SetPlan(plan) }, err
	}
	if !json.Valid(d.Content) {
		return nil, errors.New("expected JSON")
	}
	return func() error { return nil }, errUnknown
}
