package outbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/chargeyard/chargeyard/shared/seam"
)

// ballast is a file that is of no use but for its size: where the disk is full,
// it is given free, and the gateway goes on long enough to say so.
type ballast struct {
	path string
	size int64 // bytes; none below 1
	log  *slog.Logger

	mu sync.Mutex
}

// reserveBytes is a second, small ballast that only a start on a full disk gives
// free: even to read, SQLite needs a little.
const reserveBytes = 256 << 10

// spare is what must be free beside the ballast before it is taken again.
const spare = 4

// fill takes the ballast, when there is plenty of space.
func (b *ballast) fill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size < 1 || fileSize(b.path) >= b.size {
		return
	}
	if free, known := freeBytes(filepath.Dir(b.path)); !known || free < (1+spare)*b.size {
		return
	}
	if err := b.write(); err != nil {
		b.log.Warn("ballast not taken", "err", err)
	}
}

func (b *ballast) write() (err error) {
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(b.path))
		}
	}()
	err = syscall.Fallocate(int(f.Fd()), 0, 0, b.size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		zeros := make([]byte, 64<<10)
		for left := b.size; left > 0; left -= int64(len(zeros)) {
			if _, err := f.Write(zeros[:min(left, int64(len(zeros)))]); err != nil {
				return err
			}
		}
		return f.Sync()
	}
	return err
}

// release gives the ballast free and tells whether there was any.
func (b *ballast) release() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := os.Remove(b.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("ballast not given free", "err", err)
	}
	return err == nil
}

// lowBytes free are as good as none.
const lowBytes = 256 << 10

// freeBytes is what the file system of dir has left.
func freeBytes(dir string) (n int64, known bool) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, false
	}
	return int64(disk.Bavail) * int64(disk.Bsize), true
}

// pages is the largest size of the file in pages.
func (l *Lane) pages() int64 {
	n := l.limit / pageSize
	if m := int64(seam.MaxPages(string(l.name))); m > 0 {
		n = min(n, m)
	}
	return max(n, 16)
}

// limitPages has SQLite enforce the limit: beyond it a commit fails for lack of
// space and takes the same way out as on a full disk.
func (l *Lane) limitPages(db *database) error {
	return db.exec(fmt.Sprintf("PRAGMA max_page_count(%d)", l.pages()))
}

// makeRoom frees something after a commit found no space, and tells whether
// trying again makes sense. It runs in the writer's goroutine.
func (l *Lane) makeRoom() bool {
	if l.db == nil {
		return l.o.releaseBallast(l)
	}
	count, err := l.db.number("PRAGMA page_count")
	if err != nil {
		l.log.Warn("size of the file not known", "err", err)
		return false
	}
	before, err := l.db.number("PRAGMA max_page_count")
	if err == nil {
		err = l.limitPages(l.db)
	}
	if err != nil {
		l.log.Warn("limit of the file not set", "err", err)
		return false
	}
	if now, err := l.db.number("PRAGMA max_page_count"); err == nil && now > before {
		return true // the limit was raised
	}
	if count < before && l.o.releaseBallast(l) { // the disk is full, not the file
		return true
	}
	n, err := l.deleteDelivered(deleteRows, false)
	if err == nil && n > 0 {
		l.log.Info("delivered events deleted for space", "events", n)
		return true
	}
	if err == nil && l.name == l.o.samples.name {
		var some bool
		if some, err = l.thin(); some {
			return true
		}
	}
	if err != nil {
		l.log.Warn("no space could be made", "err", err)
	}
	return false
}

func (o *Outbox) releaseBallast(l *Lane) bool {
	if !o.ballast.release() {
		return false
	}
	o.stats.ballastFreed.Add(1)
	l.log.Warn("disk is full: ballast given free")
	o.alarms.raise("disk_full", "critical", fmt.Sprintf(
		"the disk of %s is full; a reserve was given free and events are still kept, for a while: free space", o.cfg.Dir))
	return true
}

// pressure is the share of the limit at which delivered rows go early and
// samples are thinned, in percent; relief is where it ends.
const (
	pressure = 90
	relief   = 80
)

// relieve keeps the file below its limit before a commit runs into it.
func (l *Lane) relieve(ctx context.Context) error {
	used, err := l.usedPages(ctx)
	if err != nil || used*100 < l.pages()*pressure {
		return err
	}
	for ctx.Err() == nil {
		var freed bool
		err := l.do(ctx, func() error {
			if l.db == nil {
				return nil
			}
			n, err := l.deleteDelivered(deleteRows, false)
			freed = n > 0
			if err == nil && !freed && l.name == l.o.samples.name {
				freed, err = l.thin()
			}
			return err
		})
		if err != nil || !freed {
			return err
		}
		if used, err = l.usedPages(ctx); err != nil || used*100 < l.pages()*relief {
			return err
		}
	}
	return nil
}

// usedPages counts the pages of the file that hold something.
func (l *Lane) usedPages(ctx context.Context) (used int64, err error) {
	err = l.do(ctx, func() error {
		if l.db == nil {
			return nil
		}
		if err := l.limitPages(l.db); err != nil { // it may have changed
			return err
		}
		count, err := l.db.number("PRAGMA page_count")
		if err != nil {
			return err
		}
		free, err := l.db.number("PRAGMA freelist_count")
		used = count - free
		return err
	})
	return used, err
}
