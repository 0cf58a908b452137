package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/chargeyard/chargeyard/shared/event"
)

// ErrOtherGateway says that a data directory belongs to another gateway id.
var ErrOtherGateway = errors.New("data_dir belongs to another gateway")

// ErrInUse says that another process works in the data directory.
var ErrInUse = errors.New("data_dir is in use by another process")

// CheckOwner returns ErrOtherGateway when dir belongs to another gateway than g:
// events that it still holds would go out under a wrong name. A directory that
// does not exist or has no owner yet is fine.
func CheckOwner(dir string, g event.GatewayID) error {
	b, err := os.ReadFile(filepath.Join(dir, "gateway"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("owner of data_dir: %w", err)
	}
	owner := strings.TrimSpace(string(b))
	if owner == string(g) || owner == "" {
		return nil
	}
	return fmt.Errorf("%w: %s belongs to %q, the configuration says %q: use another data_dir, or set gateway to %q",
		ErrOtherGateway, dir, owner, g, owner)
}

// own writes g into dir when nobody owns it yet.
func own(dir string, g event.GatewayID) error {
	if err := CheckOwner(dir, g); err != nil {
		return err
	}
	path := filepath.Join(dir, "gateway")
	if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == string(g) {
		return nil
	}
	return writeFile(path, []byte(string(g)+"\n"))
}

// lockDir takes the lock of dir, which the kernel gives free with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// writeFile writes a small file so that it is there whole, or not at all, after
// a loss of power.
func writeFile(path string, content []byte) (err error) {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes names that were given in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
