package outbox

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Names of files that were moved aside: events.db becomes
// events.damaged-20261122T060102.345Z.db, its WAL the same with -wal.
const (
	damagedMark = ".damaged-"
	walSuffix   = "-wal"
	shmSuffix   = "-shm"
	keepDamaged = 3 // files for a person to look at
)

func damagedName(path string, at time.Time) string {
	return strings.TrimSuffix(path, ".db") + damagedMark + at.UTC().Format("20060102T150405.000000Z") + ".db"
}

func damagedFiles(path string) ([]string, error) {
	found, err := filepath.Glob(strings.TrimSuffix(path, ".db") + damagedMark + "*.db")
	slices.Sort(found)
	return found, err
}

// moveAside renames a damaged file together with its WAL, which belongs to it
// and to no other.
func moveAside(path string, cause error) (string, error) {
	to := damagedName(path, time.Now())
	for _, suffix := range []string{"", walSuffix, shmSuffix} {
		if err := os.Rename(path+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("move %s aside: %w", path+suffix, err)
		}
	}
	note := fmt.Sprintf("%s\n%v\n", filepath.Base(path), cause)
	if err := os.WriteFile(to+".txt", []byte(note), 0o640); err != nil && faultOf(err) != faultFull {
		return "", err
	}
	return to, syncDir(filepath.Dir(path))
}

// finishMove does what a moveAside that was cut short has left: a WAL without
// its file must not meet a new one.
func finishMove(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(path + walSuffix); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to := damagedName(path, time.Now())
	if found, err := damagedFiles(path); err == nil && len(found) > 0 {
		newest := found[len(found)-1]
		if _, err := os.Stat(newest + walSuffix); errors.Is(err, fs.ErrNotExist) {
			to = newest
		}
	}
	for _, suffix := range []string{walSuffix, shmSuffix} {
		if err := os.Rename(path+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move %s aside: %w", path+suffix, err)
		}
	}
	return syncDir(filepath.Dir(path))
}

// replace moves the file aside while the lane is at work and goes on with a new
// one. What is in memory makes up for what cannot be read: records, positions,
// the newest events. A file that cannot be moved stays in use: where the disk
// takes no change, reading goes on at least. It runs in the writer's goroutine.
func (l *Lane) replace(cause error) error {
	err := l.tryReplace(cause)
	switch {
	case err == nil:
		l.irreplaceable = false
	case !l.irreplaceable: // once, not with every commit that fails
		l.irreplaceable = true
		l.log.Error("damaged file cannot be replaced", "err", err, "cause", cause)
	}
	return err
}

func (l *Lane) tryReplace(cause error) error {
	l.file.Lock()
	defer l.file.Unlock()
	if l.db != nil {
		to, err := moveAside(l.path, cause)
		if _, serr := os.Lstat(l.path); err != nil && serr == nil {
			return err
		}
		l.log.Error("file is damaged, going on with a new one", "err", cause, "file", to)
		if err := l.db.close(); err != nil {
			l.log.Info("damaged file not closed cleanly", "err", err)
		}
		l.db = nil
		l.mu.Lock()
		l.memory = &memory{streams: l.streams, ring: l.ring}
		l.ring.reset()
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if err := l.acquire(); err != nil {
		return err
	}
	l.mu.Lock()
	l.memory = nil
	l.suspected = nil
	l.mu.Unlock()
	l.poke()
	return nil
}

// salvageAll takes over what can be read of the files that were moved aside, each
// once, and reports it. It may be cut short at any point and begins anew then.
func (l *Lane) salvageAll() error {
	files, err := damagedFiles(l.path)
	if err != nil {
		return err
	}
	for _, file := range files {
		done, err := l.db.number("SELECT count(*) FROM salvaged WHERE file = ?", filepath.Base(file))
		if err != nil {
			return err
		}
		if done > 0 {
			continue
		}
		if err := l.salvageFile(file); err != nil {
			return fmt.Errorf("salvage %s: %w", file, err)
		}
	}
	for _, file := range files[:max(len(files)-keepDamaged, 0)] {
		for _, suffix := range []string{"", walSuffix, shmSuffix, ".txt"} {
			if err := os.Remove(file + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.log.Warn("old damaged file not removed", "file", file, "err", err)
			}
		}
	}
	return nil
}

func (l *Lane) salvageFile(file string) error {
	start := time.Now()
	v := &salvage{l: l, file: file}
	from, err := sql.Open("sqlite", dsnDamaged(file))
	if err != nil {
		return err
	}
	from.SetMaxOpenConns(1)
	v.from = from
	err = v.run()
	if cerr := from.Close(); cerr != nil {
		l.log.Warn("damaged file not closed", "file", file, "err", cerr)
	}
	if err != nil {
		return err
	}
	if err := l.load(l.db); err != nil {
		return err
	}
	cause := "damaged"
	if note, err := os.ReadFile(file + ".txt"); err == nil {
		if _, why, ok := strings.Cut(string(note), "\n"); ok {
			cause = strings.TrimSpace(why)
		}
	}
	l.log.Error("damaged file salvaged", "file", file, "recovered", v.recovered, "damaged", v.damaged, "took", time.Since(start))
	l.o.stats.salvages.Add(1)
	l.o.stats.damagedRows.Add(int64(v.damaged))
	l.o.alarms.report(&event.StreamSalvaged{
		Lane: l.name, File: filepath.Base(file), Recovered: v.recovered, Damaged: v.damaged, Error: cause,
	})
	l.o.alarms.raise("file_damaged", "critical", fmt.Sprintf(
		"%s.db was damaged (%s) and moved aside as %s: %d rows could be read, %d are lost; the card may be failing",
		l.name, cause, filepath.Base(file), v.recovered, v.damaged))
	return nil
}

// dsnDamaged opens a damaged file as it is, its WAL included.
// writable_schema has SQLite read a file that is shorter than it says.
func dsnDamaged(path string) string {
	q := url.Values{"_pragma": {"busy_timeout(1000)", "writable_schema(1)"}}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}
