package desired

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/chargeyard/chargeyard/shared/wire"
)

const (
	suffix      = ".json"
	unfinished  = ".tmp"
	asideSuffix = ".damaged"
)

// stored is a section as it lies on the disk. Sum is the SHA-256 of the compact
// content, because a card may change bits and leave valid JSON.
type stored struct {
	Section  string          `json:"section"`
	Revision string          `json:"revision"`
	Sum      string          `json:"sha256"`
	Content  json.RawMessage `json:"content"`
}

// encode writes the file of a section.
func encode(d wire.Desired) ([]byte, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, d.Content); err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	sum := sha256.Sum256(compact.Bytes())
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // or the content would not be the one that was summed
	err := e.Encode(stored{Section: d.Section, Revision: d.Revision, Sum: hex.EncodeToString(sum[:]), Content: compact.Bytes()})
	return out.Bytes(), err
}

// decodeFile reads what encode wrote about section.
func decodeFile(section string, b []byte) (wire.Desired, error) {
	var f stored
	if err := json.Unmarshal(b, &f); err != nil {
		return wire.Desired{}, err
	}
	if f.Section != section || f.Revision == "" {
		return wire.Desired{}, fmt.Errorf("expected section %s and its revision, got %q, %q", section, f.Section, f.Revision)
	}
	if sum := sha256.Sum256(f.Content); hex.EncodeToString(sum[:]) != f.Sum {
		return wire.Desired{}, errors.New("checksum does not fit the content")
	}
	return wire.Desired{Section: f.Section, Revision: f.Revision, Content: f.Content}, nil
}

// pending is a section on the disk that is not yet in the place of the one
// before it.
type pending struct {
	from, to string
	done     bool
}

// write stores d beside its final place, fsync included.
func write(dir string, d wire.Desired) (_ *pending, err error) {
	b, err := encode(d)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	p := &pending{to: filepath.Join(dir, d.Section+suffix)}
	p.from = p.to + unfinished
	f, err := os.OpenFile(p.from, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// commit puts the section in its place, durably.
func (p *pending) commit() error {
	if err := os.Rename(p.from, p.to); err != nil {
		return err
	}
	p.done = true
	return syncDir(filepath.Dir(p.to))
}

// discard removes a section that was not committed.
func (p *pending) discard() {
	if !p.done {
		_ = os.Remove(p.from) // the next start removes it
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// damage is a file that was moved aside.
type damage struct {
	file, moved string
	err         error
}

// readAll reads every section in dir, in the order of their names. A missing
// folder holds none.
func readAll(dir string) (kept []wire.Desired, damaged []damage, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	for _, e := range entries { // those that could be listed, err or not
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), unfinished) {
			err = errors.Join(err, os.Remove(path))
			continue
		}
		section, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || !name.MatchString(section) || e.IsDir() {
			continue // not ours
		}
		b, bad := os.ReadFile(path)
		var d wire.Desired
		if bad == nil {
			d, bad = decodeFile(section, b)
		}
		if bad == nil {
			kept = append(kept, d)
			continue
		}
		moved := path + asideSuffix
		if e := os.Rename(path, moved); e != nil {
			err = errors.Join(err, e)
		}
		damaged = append(damaged, damage{file: path, moved: moved, err: bad})
	}
	return kept, damaged, err
}
