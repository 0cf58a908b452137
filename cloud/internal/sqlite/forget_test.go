package sqlite

import "context"

// Forget implements storetest.Forgetter.
func (s *Store) Forget(ctx context.Context, upTo int64) error {
	return s.tx(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM log WHERE position <= ?`, upTo)
		return err
	})
}
