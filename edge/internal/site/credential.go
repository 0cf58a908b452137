package site

import (
	"context"
	"slices"

	"github.com/chargeyard/chargeyard/shared/event"
)

// credential is what has become of the passwords of one station since somebody
// last named them.
type credential struct {
	Hashes []string `json:"h"`           // the newest first; empty: no password
	Over   []string `json:"o,omitempty"` // those that the admission named then
}

func credentialKey(id event.StationID) Key { return Key{Kind: kindCredential, Station: id} }

// passwords are the hashes that are good: needs s.mu.
func (s *Site) passwords(id event.StationID, named []string) []string {
	c, ok := s.credentials[id]
	if !ok {
		return named
	}
	if slices.Equal(c.Over, named) {
		return c.Hashes
	}
	out := slices.Clone(named) // somebody has named others since
	for _, h := range c.Hashes {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// maxPasswords bounds the passwords of one station that are good at a time.
const maxPasswords = 4

func (s *Site) passwordChanged(id event.StationID, hash string) error {
	s.mu.Lock()
	named := s.named(id).PasswordHashes
	good := s.passwords(id, named)
	s.mu.Unlock()
	if len(good) == 0 {
		good = []string{""} // it has none yet
	}
	c := credential{Hashes: []string{hash}, Over: named}
	for _, h := range good {
		if h != hash && len(c.Hashes) < maxPasswords {
			c.Hashes = append(c.Hashes, h)
		}
	}
	return s.keepCredential(id, c)
}

func (s *Site) passwordSeen(id event.StationID, hash string) {
	s.mu.Lock()
	named := s.named(id).PasswordHashes
	good := s.passwords(id, named)
	s.mu.Unlock()
	// Nobody else is let in meanwhile: what comes before the newest is only about
	// to be good, and what comes after it is no good any more.
	n := slices.Index(good, hash)
	if n < 0 || n == len(good)-1 {
		return
	}
	if err := s.keepCredential(id, credential{Hashes: good[:n+1], Over: named}); err != nil {
		s.log.Warn("older passwords stay good for now", "station", string(id), "err", err)
	}
}

func (s *Site) keepCredential(id event.StationID, c credential) error {
	if err := s.journal.Commit(context.Background(), Change{Put: []Record{record(credentialKey(id), c)}}); err != nil {
		return err
	}
	s.mu.Lock()
	s.credentials[id] = c
	s.mu.Unlock()
	return nil
}
