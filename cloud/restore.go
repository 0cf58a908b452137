package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/sqlite"
)

// lock makes the caller the only manager on dir until it unlocks or dies.
func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "manager.lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = errors.Join(err, f.Close())
		return nil, fmt.Errorf("data_dir %s: another manager runs on it: %w", dir, err)
	}
	return f.Close, nil // which gives the lock back
}

type restoreCommand struct {
	settings
	Path string `arg:"" type:"existingfile" help:"A copy that backup wrote."`
}

// Run puts a backup in the place of the database. What was there is kept beside
// it.
func (c *restoreCommand) Run(env *surroundings) (err error) {
	conf, err := c.load()
	if err != nil {
		return err
	}
	unlock, err := lock(conf.DataDir)
	if err != nil {
		return fmt.Errorf("stop the manager first: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	target := conf.SQLite()
	part := target + ".restoring"
	if err := copyFile(c.Path, part); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := check(env.ctx, part); err != nil {
		return errors.Join(fmt.Errorf("restore: %s is no backup that can be used: %w", c.Path, err), remove(part))
	}
	aside := target + "." + time.Now().UTC().Format("20060102T150405.000Z")
	kept := false
	for _, suffix := range []string{"", "-wal", "-shm"} { // they belong together
		err := os.Rename(target+suffix, aside+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restore: %w", err)
		}
		kept = kept || err == nil && suffix == ""
	}
	if err := os.Rename(part, target); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := syncDir(conf.DataDir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if kept {
		if _, err := fmt.Fprintln(env.stdout, "the database that was there:", aside); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(env.stdout, "restored:", target)
	return err
}

// check opens a copy as the database that it is to be. It gets a new
// incarnation: gateways see that their manager has forgotten something.
func check(ctx context.Context, path string) error {
	const magic = "SQLite format 3\x00" // an empty file would make an empty database
	head := make([]byte, len(magic))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(f, head)
	if err := errors.Join(err, f.Close()); err != nil || string(head) != magic {
		return errors.Join(errors.New("expected a SQLite database"), err)
	}
	store, err := sqlite.Open(ctx, path, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = store.NewIncarnation(ctx)
	return errors.Join(err, store.Close())
}

func remove(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// copyFile copies a file so that it survives a loss of power.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if err := remove(to); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
