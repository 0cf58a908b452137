package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Seen remembers the highest security profile with which each station was seen,
// over restarts: whoever comes with less is not the station, or has been reset.
// A profile raised in the last second before a power cut may be forgotten; the
// next connection raises it again.
type Seen struct {
	path string
	log  *slog.Logger
	news chan struct{}

	mu       sync.Mutex // guards what follows
	profiles map[event.StationID]int
}

// maxSeen bounds the stations that are remembered.
const maxSeen = 20_000

// OpenSeen reads what is remembered in the file at path. One that cannot be read
// is moved aside: stations are let in as if they had not been seen.
func OpenSeen(path string, log *slog.Logger) *Seen {
	s := &Seen{path: path, log: log, news: make(chan struct{}, 1), profiles: map[event.StationID]int{}}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &s.profiles)
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
	default:
		aside := path + ".damaged"
		log.Error("security profiles seen so far cannot be read, moved aside", "file", aside, "err", err, "moved", os.Rename(path, aside))
		s.profiles = map[event.StationID]int{}
	}
	if s.profiles == nil {
		s.profiles = map[event.StationID]int{}
	}
	return s
}

// Profile returns the highest profile that a station was seen with, or 0.
func (s *Seen) Profile(id event.StationID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.profiles[id]
}

// Raise remembers that a station was seen with a profile.
func (s *Seen) Raise(id event.StationID, profile int) {
	s.mu.Lock()
	before, known := s.profiles[id]
	higher := profile > before && (known || len(s.profiles) < maxSeen)
	if higher {
		s.profiles[id] = profile
	}
	s.mu.Unlock()
	if higher {
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

// Run writes what is new to the file, at most once a second, until ctx ends.
func (s *Seen) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-s.news:
				s.save()
			default:
			}
			return nil
		case <-s.news:
		}
		s.save()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (s *Seen) save() {
	s.mu.Lock()
	text, err := json.MarshalIndent(s.profiles, "", " ")
	s.mu.Unlock()
	if err == nil {
		err = replace(s.path, append(text, '\n'))
	}
	if err != nil {
		s.log.Error("security profiles seen not kept", "file", s.path, "err", err)
	}
}

// replace writes a file that is the old one or the new one, never half of it.
func replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
