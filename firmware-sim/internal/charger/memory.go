package charger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Memory is the non-volatile memory of a charger: its state, which is the
// dialect's own, and its queue.
type Memory interface {
	// Load reads what was saved last into state, a pointer, and returns the
	// queue. Found is false when nothing was saved.
	Load(state any) (queue []*Message, found bool, err error)
	// Save keeps both. It must not change them; messages of the queue may be
	// held on to, for their addresses.
	Save(state any, queue []*Message) error
}

// RAM is a Memory that lives as long as the process. The charger's own state
// survives simulated power losses; nothing survives the simulator.
type RAM struct{}

// Load returns nothing.
func (RAM) Load(any) ([]*Message, bool, error) { return nil, false, nil }

// Save does nothing.
func (RAM) Save(any, []*Message) error { return nil }

// Folder is where the memories of many chargers are.
type Folder struct {
	dir   string
	slots chan struct{} // so that a thousand chargers do not hold a thousand threads
}

// writers is how many memories of a folder are written at a time.
const writers = 4

// OpenFolder returns a folder, which is made when it does not exist.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder of the chargers' memories: %w", err)
	}
	return &Folder{dir: dir, slots: make(chan struct{}, writers)}, nil
}

// File returns the Memory of a charger.
func (d *Folder) File(identity string) *File {
	return &File{path: filepath.Join(d.dir, FileName(identity)), slots: d.slots, limit: usualLimit}
}

// File is a Memory in two files: NAME.json holds everything but the queue and is
// replaced as a whole at every change; the queue, which may be long, is a journal
// beside it, NAME.queue-N. The first file tells which journal and how much of it
// counts, so that the two always fit each other.
//
// Nothing is synced: what a memory has to survive is the end of this process,
// not that of the machine.
type File struct {
	slots   chan struct{}
	path    string
	journal int    // number of the journal
	bytes   int64  // of the journal that count
	lines   int    // in it
	kept    []kept // the queue as the journal has it
	limit   int    // lines that a journal may have before it is written anew
}

// kept is a message as it stands in the journal.
type kept struct {
	message            *Message
	attempts, failures int
}

const usualLimit = 2000 // lines of a journal

// record is a line of the journal: a message that came, or new numbers of one, or
// one that went.
type record struct {
	Add    *Message `json:"add,omitempty"`
	Update *Message `json:"update,omitempty"` // without its payload
	Remove string   `json:"remove,omitempty"`
}

// saved is the first file.
type saved struct {
	Journal int   `json:"journal"`
	Bytes   int64 `json:"bytes"`
	State   any   `json:"state"`
}

// FileName makes a name for a file of an identity, without slashes and dots.
func FileName(identity string) string {
	var b strings.Builder
	for _, c := range []byte(identity) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (f *File) statePath() string { return f.path + ".json" }

func (f *File) journalPath(n int) string { return fmt.Sprintf("%s.queue-%d", f.path, n) }

// Load reads both files.
func (f *File) Load(state any) (queue []*Message, found bool, err error) {
	b, err := os.ReadFile(f.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("memory: %w", err)
	}
	s := saved{State: state}
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, false, fmt.Errorf("memory %s cannot be read: %w (remove it to start with a new charge point)", f.statePath(), err)
	}
	f.journal, f.bytes, f.lines, f.kept = s.Journal, s.Bytes, 0, nil
	queue, err = f.loadQueue()
	return queue, err == nil, err
}

func (f *File) loadQueue() ([]*Message, error) {
	b, err := os.ReadFile(f.journalPath(f.journal))
	if err != nil && (f.bytes > 0 || !errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("memory: %w", err)
	}
	if int64(len(b)) < f.bytes {
		return nil, fmt.Errorf("memory: %s has %d bytes, expected at least %d", f.journalPath(f.journal), len(b), f.bytes)
	}
	byID := map[string]*Message{}
	var order []*Message
	for line := range bytes.Lines(b[:f.bytes]) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("memory: %s, line %d: %w", f.journalPath(f.journal), f.lines+1, err)
		}
		f.lines++
		switch {
		case r.Add != nil:
			byID[r.Add.ID] = r.Add
			order = append(order, r.Add)
		case r.Update != nil && byID[r.Update.ID] != nil:
			m := byID[r.Update.ID]
			m.Attempts, m.Failures, m.FirstSent = r.Update.Attempts, r.Update.Failures, r.Update.FirstSent
		case r.Remove != "":
			delete(byID, r.Remove)
		}
	}
	var queue []*Message
	for _, m := range order {
		if byID[m.ID] == m {
			queue = append(queue, m)
			f.kept = append(f.kept, kept{m, m.Attempts, m.Failures})
		}
	}
	return queue, nil
}

// Save brings the files up to date.
func (f *File) Save(state any, queue []*Message) error {
	f.slots <- struct{}{}
	defer func() { <-f.slots }()
	if err := f.saveQueue(queue); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	b, err := json.Marshal(saved{Journal: f.journal, Bytes: f.bytes, State: state})
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	if err := replace(f.statePath(), b); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return nil
}

// replace writes a file so that there is always a whole one.
func replace(path string, content []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// saveQueue adds to the journal what changed since the last time.
func (f *File) saveQueue(queue []*Message) error {
	if f.lines > f.limit && f.lines > 4*len(queue) {
		return f.compact(queue)
	}
	records := f.changes(queue)
	if len(records) == 0 {
		return nil
	}
	b, err := encodeRecords(records)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(f.journalPath(f.journal), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, f.bytes) // over what a process before left unfinished
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	f.bytes += int64(len(b))
	f.lines += len(records)
	f.remember(queue)
	return nil
}

// changes compares the queue with the journal. Both have the same order, and
// what is new is at the end.
func (f *File) changes(queue []*Message) []record {
	var records []record
	i := 0
	for _, k := range f.kept {
		if i >= len(queue) || queue[i] != k.message {
			records = append(records, record{Remove: k.message.ID})
			continue
		}
		if m := queue[i]; m.Attempts != k.attempts || m.Failures != k.failures {
			update := *m
			update.Payload = nil
			records = append(records, record{Update: &update})
		}
		i++
	}
	for _, m := range queue[i:] {
		records = append(records, record{Add: m})
	}
	return records
}

func encodeRecords(records []record) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	for _, r := range records {
		if err := encoder.Encode(r); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func (f *File) remember(queue []*Message) {
	f.kept = f.kept[:0]
	for _, m := range queue {
		f.kept = append(f.kept, kept{m, m.Attempts, m.Failures})
	}
}

// compact begins a new journal that holds the queue and nothing else. The old one
// goes once nothing points to it, at the next change.
func (f *File) compact(queue []*Message) error {
	records := make([]record, len(queue))
	for i, m := range queue {
		records[i] = record{Add: m}
	}
	b, err := encodeRecords(records)
	if err != nil {
		return err
	}
	if err := replace(f.journalPath(f.journal+1), b); err != nil {
		return err
	}
	if err := os.Remove(f.journalPath(f.journal - 1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.journal++
	f.bytes, f.lines = int64(len(b)), len(records)
	f.remember(queue)
	return nil
}
