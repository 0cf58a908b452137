package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// Of SQLite's file format, https://sqlite.org/fileformat2.html.
const (
	walHeader      = 32
	walFrameHeader = 24
	fileHeader     = 100  // of page 1, before its own
	tableLeaf      = 0x0d // type of a page that holds rows
	mapEntry       = 5    // bytes of an entry of a pointer map
	mapEntries     = pageSize / mapEntry
	mapFree        = 2 // the page that an entry is about holds nothing
	maxLocal       = pageSize - 35
	minLocal       = (pageSize-12)*32/255 - 23
	maxColumns     = 16
)

var errNotARow = errors.New("not a row")

// pages reads the pages of a damaged file and, over it, those of its WAL.
type pages struct {
	file, wal *os.File
	count     int64           // of the file alone
	frames    map[int64]int64 // page: where its newest committed content lies in wal
}

// scanPages calls f for every row on every page that holds rows, without asking
// how the pages hang together, until f returns an error. values are the columns
// without the key: nil, int64, string or []byte. What it finds is not proved in
// any way. Deleted rows do not come back: pages that are free are left out.
func scanPages(path string, f func(key int64, values []any) error) (err error) {
	p := &pages{}
	if p.file, err = os.Open(path); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.file.Close()) }()
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	p.count = info.Size() / pageSize
	if p.wal, err = os.Open(path + walSuffix); err == nil {
		defer func() { err = errors.Join(err, p.wal.Close()) }()
		if err := p.readWAL(); err != nil {
			return err
		}
	}
	visit := func(n int64) error {
		if p.free(n) {
			return nil
		}
		page, err := p.read(n)
		if err != nil {
			return nil // the next may be better
		}
		return p.rows(n, page, f)
	}
	for n := int64(1); n <= p.count; n++ {
		if err := visit(n); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(p.frames)) {
		if n > p.count { // not in the file yet
			if err := visit(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// readWAL finds the newest committed content of each page. The checksums of the
// frames are not looked at: those of the rows are.
func (p *pages) readWAL() error {
	var header [walHeader]byte
	if _, err := p.wal.ReadAt(header[:], 0); err != nil {
		return nil // nothing in it
	}
	p.frames = map[int64]int64{}
	pending := map[int64]int64{}
	var frame [walFrameHeader]byte
	for at := int64(walHeader); ; at += walFrameHeader + pageSize {
		if _, err := p.wal.ReadAt(frame[:], at); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read WAL: %w", err)
		}
		if string(frame[8:16]) != string(header[16:24]) {
			return nil // left from an earlier round
		}
		pending[int64(binary.BigEndian.Uint32(frame[:]))] = at + walFrameHeader
		if size := int64(binary.BigEndian.Uint32(frame[4:])); size > 0 { // a commit
			for n, where := range pending {
				p.frames[n] = where
			}
			clear(pending)
		}
	}
}

// read returns page n, in a buffer of its own.
func (p *pages) read(n int64) ([]byte, error) {
	page := make([]byte, pageSize)
	if at, ok := p.frames[n]; ok {
		_, err := p.wal.ReadAt(page, at)
		return page, err
	}
	_, err := p.file.ReadAt(page, (n-1)*pageSize)
	return page, err
}

// free tells whether the pointer map says that page n is free, or is one of the
// map's own.
func (p *pages) free(n int64) bool {
	if n < 2 {
		return false
	}
	at := (n-2)/(mapEntries+1)*(mapEntries+1) + 2
	if at == n {
		return true
	}
	var entry [1]byte
	offset := (n - at - 1) * mapEntry
	var err error
	if frame, ok := p.frames[at]; ok {
		_, err = p.wal.ReadAt(entry[:], frame+offset)
	} else {
		_, err = p.file.ReadAt(entry[:], (at-1)*pageSize+offset)
	}
	return err == nil && entry[0] == mapFree
}

// rows calls f for the rows of one page.
func (p *pages) rows(n int64, page []byte, f func(key int64, values []any) error) error {
	header := page
	if n == 1 {
		header = page[fileHeader:]
	}
	if header[0] != tableLeaf {
		return nil
	}
	cells := int(binary.BigEndian.Uint16(header[3:]))
	pointers := header[8:]
	for i := 0; i < cells && 2*i+2 <= len(pointers); i++ {
		at := int(binary.BigEndian.Uint16(pointers[2*i:]))
		if at >= pageSize {
			continue
		}
		key, record, err := p.cell(page[at:])
		if err != nil {
			continue
		}
		values, err := parseRecord(record)
		if err != nil || len(values) < 2 {
			continue
		}
		if err := f(key, values[1:]); err != nil { // the first column stands for the key
			return err
		}
	}
	return nil
}

// cell returns the key and the record of one row, from its overflow pages too.
func (p *pages) cell(b []byte) (key int64, record []byte, err error) {
	size, n := varint(b)
	b = b[n:]
	key, n = varint(b)
	b = b[n:]
	if n == 0 || size < 2 || size > 1<<24 {
		return 0, nil, errNotARow
	}
	if size <= maxLocal {
		if int(size) > len(b) {
			return 0, nil, errNotARow
		}
		return key, b[:size], nil
	}
	local := int64(minLocal) + (size-minLocal)%(pageSize-4)
	if local > maxLocal {
		local = minLocal
	}
	if int(local)+4 > len(b) {
		return 0, nil, errNotARow
	}
	record = append([]byte{}, b[:local]...)
	next := int64(binary.BigEndian.Uint32(b[local:]))
	seen := map[int64]bool{}
	for int64(len(record)) < size {
		if next < 2 || seen[next] {
			return 0, nil, errNotARow
		}
		seen[next] = true
		page, err := p.read(next)
		if err != nil {
			return 0, nil, err
		}
		next = int64(binary.BigEndian.Uint32(page))
		record = append(record, page[4:4+min(size-int64(len(record)), pageSize-4)]...)
	}
	return key, record, nil
}

// parseRecord reads the columns of a record.
func parseRecord(b []byte) ([]any, error) {
	size, n := varint(b)
	if n == 0 || size < int64(n) || size > int64(len(b)) {
		return nil, errNotARow
	}
	types, body := b[n:size], b[size:]
	var values []any
	for len(types) > 0 {
		kind, n := varint(types)
		if n == 0 || len(values) == maxColumns {
			return nil, errNotARow
		}
		types = types[n:]
		width := int64(0)
		switch {
		case kind >= 12:
			width = (kind - 12) / 2
		case kind >= 1 && kind <= 6:
			width = [...]int64{0, 1, 2, 3, 4, 6, 8}[kind]
		case kind == 7 || kind < 0 || kind == 10 || kind == 11: // no column holds such a value
			return nil, errNotARow
		}
		if width > int64(len(body)) {
			return nil, errNotARow
		}
		field := body[:width]
		body = body[width:]
		switch {
		case kind == 0:
			values = append(values, nil)
		case kind == 8 || kind == 9:
			values = append(values, kind-8)
		case kind <= 6:
			v := int64(int8(field[0]))
			for _, c := range field[1:] {
				v = v<<8 | int64(c)
			}
			values = append(values, v)
		case kind%2 == 0:
			values = append(values, append([]byte{}, field...))
		default:
			values = append(values, string(field))
		}
	}
	return values, nil
}

// varint reads SQLite's variable-length integer and returns how long it is, 0
// when b is too short.
func varint(b []byte) (v int64, n int) {
	for i := range 9 {
		if i == len(b) {
			return 0, 0
		}
		if i == 8 {
			return v<<8 | int64(b[i]), 9
		}
		v = v<<7 | int64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
