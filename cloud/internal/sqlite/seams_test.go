package sqlite

import (
	"context"
	"fmt"
)

// Forget implements storetest.Forgetter.
func (s *Store) Forget(ctx context.Context, upTo int64) error {
	return s.tx(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM log WHERE position <= ?`, upTo)
		return err
	})
}

// SpareDisk leaves room for so many more pages of 4 KiB.
func (s *Store) SpareDisk(ctx context.Context, pages int) error {
	return s.tx(ctx, func(t *tx) error {
		var now, limit int
		if _, err := t.one(`PRAGMA page_count`, nil, &now); err != nil {
			return err
		}
		_, err := t.one(fmt.Sprintf(`PRAGMA max_page_count = %d`, now+pages), nil, &limit)
		return err
	})
}

// Pragmas reads a setting on the connection that writes and on one that reads.
func (s *Store) Pragmas(ctx context.Context, name string) (write, read string, err error) {
	err = s.tx(ctx, func(t *tx) error {
		_, err := t.one(`PRAGMA `+name, nil, &write)
		return err
	})
	if err != nil {
		return "", "", err
	}
	err = s.read.QueryRowContext(ctx, `PRAGMA `+name).Scan(&read)
	return write, read, err
}
