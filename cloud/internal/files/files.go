// Package files takes in what is too large for a message: recordings of a
// gateway, logs of a station. A command names an address that serves one file,
// once; whoever has the file brings it there, in as many pieces as the network
// makes of it.
//
// A file is there whole, with the digest that its bringer named, or not at all.
// What nobody brings, and what is old, is deleted.
package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

// Store is what the files need of the database.
type Store interface {
	AddFile(ctx context.Context, f fleet.File, secretSHA256 string) error
	FileOf(ctx context.Context, secretSHA256 string) (fleet.File, error)
	CompleteFile(ctx context.Context, id string, size int64, sha256 string, at time.Time) error
	StaleFiles(ctx context.Context, now time.Time) ([]fleet.File, error)
	DeleteFile(ctx context.Context, id string) error
}

// Config says where files lie and how much of them there may be.
type Config struct {
	Dir       string
	PublicURL string        // where gateways and stations reach the manager; empty: no files
	Limit     int64         // bytes of one file
	Total     int64         // bytes of all files; beyond it no address is given out
	Keep      time.Duration // how long a file is kept
}

// Files gives out addresses and serves them.
type Files struct {
	cfg     Config
	store   Store
	log     *slog.Logger
	now     func() time.Time
	brought *prometheus.CounterVec

	mu       sync.Mutex
	underway map[string]*upload // by id of the file
}

// upload is one request that brings a file.
type upload struct {
	stop func() // has its reading fail
	done chan struct{}
}

// New returns Files that are cleaned up while Run runs.
func New(cfg Config, store Store, log *slog.Logger, now func() time.Time) *Files {
	return &Files{
		cfg: cfg, store: store, log: log, now: now, underway: map[string]*upload{},
		brought: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chargeyard_cloud_files_total",
			Help: "Requests that brought a file, or a piece of one, by what became of them.",
		}, []string{"outcome"}),
	}
}

// Metrics returns what the files count.
func (f *Files) Metrics() []prometheus.Collector { return []prometheus.Collector{f.brought} }

const (
	cleanEvery = time.Hour
	// grace is how long past the command's end an address serves: the command may
	// be executed at the last moment, and a charger's upload takes long.
	grace = 24 * time.Hour
)

// Run deletes files whose time is over until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		if err := f.clean(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("delete old files", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// clean deletes what is stale: the file first, so that none is left without a
// row.
func (f *Files) clean(ctx context.Context) error {
	for {
		stale, err := f.store.StaleFiles(ctx, f.now())
		if err != nil || len(stale) == 0 {
			return err
		}
		for _, file := range stale {
			for _, name := range []string{f.part(file.ID), f.whole(file.ID)} {
				if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			if err := f.store.DeleteFile(ctx, file.ID); err != nil {
				return err
			}
			f.log.Info("file deleted", "file", file.ID, "kind", file.Kind, "station", file.Identity, "state", file.State)
		}
	}
}

func (f *Files) whole(id string) string { return filepath.Join(f.cfg.Dir, id) }
func (f *Files) part(id string) string  { return f.whole(id) + ".part" }

// Grant gives out an address for file, whose kind, place and command are filled
// in; served is how long the command that names it lives. fleet.ErrNoAddress
// where nobody has said under which address the manager is reached, or where
// there is no room.
func (f *Files) Grant(ctx context.Context, file fleet.File, served time.Time) (url string, err error) {
	if f.cfg.PublicURL == "" {
		return "", fmt.Errorf("%w: http.public_url is not set, so that nobody could bring a file", fleet.ErrNoAddress)
	}
	used, err := f.used()
	if err != nil {
		return "", fmt.Errorf("room for files: %w", err)
	}
	if used >= f.cfg.Total {
		return "", fmt.Errorf("%w: the files take %d MB already, at most %d are allowed (files.total_mb)", fleet.ErrNoAddress, used>>20, f.cfg.Total>>20)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("name a file: %w", err)
	}
	now := f.now().UTC().Truncate(time.Millisecond)
	file.ID, file.Limit, file.Created = id.String(), f.cfg.Limit, now
	file.Expires, file.Until = served.Add(grace), now.Add(f.cfg.Keep)
	if file.Until.Before(file.Expires) {
		file.Until = file.Expires
	}
	secret := rand.Text() + rand.Text()[:6]
	if err := f.store.AddFile(ctx, file, hash(secret)); err != nil {
		return "", err
	}
	return strings.TrimSuffix(f.cfg.PublicURL, "/") + "/files/" + secret, nil
}

// hash is the form in which the secret of an address is kept. It is long and
// random, so a fast hash does.
func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// used is how many bytes all files take.
func (f *Files) used() (total int64, err error) {
	entries, err := os.ReadDir(f.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

// Open opens a complete file. fleet.ErrNotFound where it is not there.
func (f *Files) Open(file fleet.File) (io.ReadSeekCloser, error) {
	if file.State != fleet.FileComplete {
		return nil, fmt.Errorf("file %s is %s: %w", file.ID, file.State, fleet.ErrNotFound)
	}
	r, err := os.Open(f.whole(file.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("file %s: %w", file.ID, fleet.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", file.ID, err)
	}
	return r, nil
}

// begin makes r the one request that brings a file: one that was under way
// before is most likely dead, and is cut.
func (f *Files) begin(id string, stop func()) *upload {
	mine := &upload{stop: stop, done: make(chan struct{})}
	for {
		f.mu.Lock()
		before := f.underway[id]
		if before == nil {
			f.underway[id] = mine
			f.mu.Unlock()
			return mine
		}
		f.mu.Unlock()
		before.stop()
		<-before.done
	}
}

func (f *Files) end(id string, u *upload) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.underway, id)
	close(u.done)
}
