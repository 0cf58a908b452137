package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/chargeyard/chargeyard/shared/event"
)

// large is the folder of events that cannot travel whole.
type large struct {
	dir   string
	limit int64 // bytes; the oldest files go first

	mu sync.Mutex
}

// keepDraft writes the whole of d and returns the name of its file, below
// data_dir.
func (g *large) keepDraft(gateway event.GatewayID, d *event.Draft) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	whole, err := event.AppendWholeTail([]byte(`{"specversion":"1.0",`), gateway, d)
	if err != nil {
		return "", err
	}
	return g.keep(id.String()+".json", whole)
}

// keep writes one file, durable when it returns.
func (g *large) keep(name string, content []byte) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if int64(len(content)) > g.limit {
		return "", fmt.Errorf("%d bytes, the folder %s may hold %d", len(content), g.dir, g.limit)
	}
	if err := os.MkdirAll(g.dir, 0o750); err != nil {
		return "", err
	}
	if err := g.prune(int64(len(content))); err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(g.dir, name), content); err != nil {
		return "", err
	}
	return filepath.Join(filepath.Base(g.dir), name), nil
}

// prune makes room for size bytes.
func (g *large) prune(size int64) error {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	var files []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		files = append(files, info)
		size += info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if size <= g.limit {
			return nil
		}
		if err := os.Remove(filepath.Join(g.dir, f.Name())); err != nil {
			return err
		}
		size -= f.Size()
	}
	return nil
}

// stub is the data of an event that the manager could not read.
type stub struct {
	Reason string `json:"reason"`
	File   string `json:"file,omitempty"` // below data_dir, the whole
}

// Stub replaces one event that the manager cannot read by a stub of the same id
// and keeps its whole as a file.
func (l *Lane) Stub(ctx context.Context, id string, sequence uint64, reason string) error {
	l.mu.Lock()
	st := l.find(id)
	l.mu.Unlock()
	if st == nil {
		return nil // it is gone
	}
	var tail []byte
	err := l.readRows(st, span{sequence, sequence}, func(r row, ok bool) bool {
		if ok {
			tail = bytes.Clone(r.tail)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("stub %s/%d: %w", id, sequence, err)
	}
	if tail == nil {
		return l.declare(ctx, st, []span{{sequence, sequence}})
	}
	eventID := event.ID{Stream: id, Sequence: sequence}
	whole := append(event.AppendHead(nil, eventID), tail...)
	file, err := l.o.large.keep(id+"-"+event.FormatSequence(sequence)+".json", whole)
	if err != nil {
		l.log.Warn("whole of an unreadable event not kept", "event", eventID, "err", err)
	}
	replacement, err := l.stubTail(whole, stub{Reason: reason, File: file})
	if err != nil {
		return fmt.Errorf("stub %s: %w", eventID, err)
	}
	err = l.do(ctx, func() error {
		if l.db == nil {
			return fmt.Errorf("%w: %s is not open", errDamaged, l.path)
		}
		return l.db.transact(func(ctx context.Context) error {
			_, err := l.db.write.ExecContext(ctx, "UPDATE rows SET crc = ?, body = ? WHERE key = ?",
				checksum(id, sequence, replacement), replacement, rowKey(st.ordinal, sequence))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("stub %s: %w", eventID, err)
	}
	l.mu.Lock()
	if st == l.current() {
		l.ring.replace(sequence, replacement)
	}
	l.mu.Unlock()
	l.ahead.Store(nil) // it may hold the event as it was
	l.o.stats.stubs.Add(1)
	l.log.Warn("event replaced by a stub", "event", eventID, "reason", reason, "file", file)
	return nil
}

// stubTail keeps of an event what can be read of its envelope.
func (l *Lane) stubTail(whole []byte, data stub) ([]byte, error) {
	stamp := l.o.stamp()
	e := event.Event{
		Type: event.TypeDataReceived, Time: stamp.Time, Recorded: stamp.Time, Boot: stamp.Boot, Clock: stamp.Clock,
	}
	if err := json.Unmarshal(whole, &e); err != nil {
		l.log.Warn("event to be stubbed is not JSON", "err", err)
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	tail, err := json.Marshal(struct {
		Source    string          `json:"source"`
		Type      event.Type      `json:"type"`
		Subject   string          `json:"subject,omitempty"`
		Time      string          `json:"time"`
		Recorded  string          `json:"recorded"`
		Boot      string          `json:"boot"`
		Clock     event.Clock     `json:"clock"`
		Truncated bool            `json:"truncated,omitempty"`
		Stub      bool            `json:"stub"`
		Data      json.RawMessage `json:"data"`
	}{
		Source: event.Source(l.o.cfg.Gateway), Type: e.Type, Subject: e.Subject,
		Time: e.Time.UTC().Format(event.TimeLayout), Recorded: e.Recorded.UTC().Format(event.TimeLayout),
		Boot: e.Boot, Clock: e.Clock, Truncated: e.Truncated, Stub: true, Data: raw,
	})
	if err != nil {
		return nil, err
	}
	return tail[1:], nil // the head brings the opening brace
}
