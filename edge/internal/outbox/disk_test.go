package outbox

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// call is one system call that strace has recorded, in the order of its end.
type call struct {
	name   string
	fd     int
	path   string // that the descriptor, or the first name, stands for
	to     string // of a rename
	flags  string // of an openat
	data   []byte
	offset int64
	begun  int // number of calls that had ended when it began
}

var (
	tracedCall    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (-?\d+)`)
	tracedResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	tracedFD      = regexp.MustCompile(`^(\d+)<([^>]*)>`)
	tracedText    = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
)

// readTrace reads the output of strace -f -y -xx.
func readTrace(path string) (calls []call, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	type open struct {
		text  string
		begun int
	}
	unfinished := map[string]open{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line := lines.Text()
		begun := len(calls)
		pid, _, _ := strings.Cut(line, " ")
		if text, ok := strings.CutSuffix(line, " <unfinished ...>"); ok {
			unfinished[pid] = open{text, begun}
			continue
		}
		if m := tracedResumed.FindStringSubmatch(line); m != nil {
			start, ok := unfinished[pid]
			if !ok {
				return nil, fmt.Errorf("resumed without a start: %.100s", line)
			}
			delete(unfinished, pid)
			line, begun = start.text+m[3], start.begun
		}
		m := tracedCall.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[4], "-") { // an exit, or a call that failed
			continue
		}
		c, err := parseCall(m[2], m[3], m[4])
		if err != nil {
			return nil, fmt.Errorf("%w in %.200s", err, line)
		}
		c.begun = begun
		calls = append(calls, c)
	}
	return calls, lines.Err()
}

func parseCall(name, args, result string) (call, error) {
	c := call{name: name}
	var texts [][]byte
	for _, m := range tracedText.FindAllStringSubmatch(args, -1) {
		texts = append(texts, unescape(m[1]))
	}
	last := args[strings.LastIndex(args, ",")+1:]
	var err error
	switch name {
	case "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate":
		m := tracedFD.FindStringSubmatch(args)
		if m == nil {
			return c, errors.New("expected a descriptor")
		}
		c.path = string(unescape(m[2]))
		if c.fd, err = strconv.Atoi(m[1]); err != nil {
			return c, err
		}
		switch name {
		case "write", "pwrite64":
			written, err := strconv.Atoi(result)
			if err != nil || len(texts) != 1 || written > len(texts[0]) {
				return c, fmt.Errorf("expected %s bytes of data, got %d texts", result, len(texts))
			}
			c.data = texts[0][:written]
			if name == "write" {
				return c, nil
			}
		case "fsync", "fdatasync":
			return c, nil
		}
		c.offset, err = strconv.ParseInt(strings.TrimSpace(last), 0, 64)
	default:
		if len(texts) == 0 {
			return c, errors.New("expected a name")
		}
		c.path = string(texts[0])
		c.to = string(texts[len(texts)-1])
		c.flags = args
		if name == "open" || name == "openat" {
			c.fd, err = strconv.Atoi(result)
		}
	}
	return c, err
}

// unescape reads \x2f\x74…; a text without escapes stays as it is.
func unescape(s string) []byte {
	if !strings.HasPrefix(s, `\x`) {
		return []byte(s)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		return []byte(s)
	}
	return b
}

// disk is what is surely on the disk: of a file what its last fsync covered, of
// a directory the names that its last fsync covered.
type disk struct {
	dir   string
	names map[string]*inode // as the process sees them
	sure  map[string]*inode // as they are after a power cut
	at    map[int]int64     // where a write to a descriptor goes
}

type inode struct {
	sure    []byte
	pending []change
}

// change is a write or, with data nil, a new length.
type change struct {
	call   int
	offset int64
	data   []byte
}

func newDisk(dir string) *disk {
	return &disk{dir: dir, names: map[string]*inode{}, sure: map[string]*inode{}, at: map[int]int64{}}
}

// apply takes call n of the recording.
func (d *disk) apply(n int, c call) error {
	name, ours := strings.CutPrefix(c.path, d.dir)
	if !ours || strings.HasSuffix(name, shmSuffix) { // the index of a WAL is made anew
		return nil
	}
	f := d.names[name]
	switch c.name {
	case "mkdir", "mkdirat":
		return nil // restore makes them
	case "open", "openat":
		d.at[c.fd] = 0
		if f == nil && strings.Contains(c.flags, "O_CREAT") {
			f = &inode{}
			d.names[name] = f
		}
		if f != nil && strings.Contains(c.flags, "O_TRUNC") {
			f.pending = append(f.pending, change{call: n})
		}
		return nil
	case "fsync", "fdatasync":
		if f == nil { // a directory
			d.syncNames(name)
			return nil
		}
		f.sync(c.begun)
		return nil
	case "unlink", "unlinkat":
		delete(d.names, name)
		return nil
	case "rename", "renameat", "renameat2":
		d.names[strings.TrimPrefix(c.to, d.dir)] = f
		delete(d.names, name)
		return nil
	}
	if f == nil {
		return fmt.Errorf("%s of %s, which was never opened", c.name, name)
	}
	switch c.name {
	case "write":
		f.pending = append(f.pending, change{n, d.at[c.fd], c.data})
		d.at[c.fd] += int64(len(c.data))
	case "pwrite64":
		f.pending = append(f.pending, change{n, c.offset, c.data})
	case "ftruncate":
		f.pending = append(f.pending, change{call: n, offset: c.offset})
	}
	return nil
}

// sync makes sure what had been written when the call began.
func (f *inode) sync(begun int) {
	n := 0
	for _, c := range f.pending {
		if c.call >= begun {
			break
		}
		end := c.offset + int64(len(c.data))
		if missing := end - int64(len(f.sure)); missing > 0 {
			f.sure = append(f.sure, make([]byte, missing)...)
		}
		if c.data == nil {
			f.sure = f.sure[:c.offset]
		}
		copy(f.sure[min(c.offset, int64(len(f.sure))):], c.data)
		n++
	}
	f.pending = f.pending[n:]
}

func (d *disk) syncNames(dir string) {
	for name := range d.sure {
		if filepath.Dir(name) == filepath.Join("/", dir) {
			delete(d.sure, name)
		}
	}
	for name, f := range d.names {
		if filepath.Dir(name) == filepath.Join("/", dir) {
			d.sure[name] = f
		}
	}
}

// restore writes to dir what a power cut leaves.
func (d *disk) restore(dir string) error {
	for name, f := range d.sure {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.sure, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return os.MkdirAll(dir, 0o700)
}
