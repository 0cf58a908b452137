package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// walker reads a table of a damaged file in the order of its integer key, around
// what cannot be read.
type walker struct {
	from    *sql.DB
	table   string
	key     string
	columns []string
	note    func(error) // learns of each damage
}

// Bounds of a walk, so that a wreck does not hold up the start for ever.
const (
	walkPortion = 500
	walkDamages = 10_000
)

// run calls f for each row between two keys that can be read, with the values of
// its columns as SQLite has them: whether they make sense is for f to judge. run
// ends with the first error of f.
func (w *walker) run(low, high int64, f func(key int64, values []any) error) error {
	query := fmt.Sprintf("SELECT %[2]s, %[3]s FROM %[1]s WHERE %[2]s BETWEEN ? AND ? ORDER BY %[2]s LIMIT ?",
		w.table, w.key, strings.Join(w.columns, ", "))
	low, high = w.bounds(low, high)
	damages := 0
	for from := low; from <= high; {
		read := 0
		var failed error
		err := each(context.Background(), w.from, query, []any{from, high, walkPortion}, func(scan func(...any) error) error {
			var key int64
			values := make([]any, len(w.columns))
			dest := []any{&key}
			for i := range values {
				dest = append(dest, &values[i])
			}
			if err := scan(dest...); err != nil {
				return err
			}
			if key < from || key > high {
				return fmt.Errorf("%w: key %d after %d", errDamaged, key, from-1)
			}
			read++
			from = key + 1
			failed = f(key, values)
			return failed
		})
		switch {
		case failed != nil:
			return failed
		case err != nil:
			w.note(err)
			if damages++; damages > walkDamages {
				return nil
			}
			from = w.leap(from, high)
		case read < walkPortion:
			return nil
		}
	}
	return nil
}

// bounds narrows a range of keys to what the table holds, where that can be read.
func (w *walker) bounds(low, high int64) (int64, int64) {
	for _, order := range []string{"", " DESC"} {
		query := fmt.Sprintf("SELECT %[2]s FROM %[1]s WHERE %[2]s BETWEEN ? AND ? ORDER BY %[2]s%[3]s LIMIT 1", w.table, w.key, order)
		var n int64
		err := w.from.QueryRow(query, low, high).Scan(&n)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return low, low - 1
		case err != nil || n < low || n > high:
			w.note(err)
		case order == "":
			low = n
		default:
			high = n
		}
	}
	return low, high
}

// leap returns a key above bad, which cannot be read, from which on reading
// works again: the first, as far as there is only one damage in between.
func (w *walker) leap(bad, high int64) int64 {
	query := fmt.Sprintf("SELECT %[2]s FROM %[1]s WHERE %[2]s >= ? ORDER BY %[2]s LIMIT 1", w.table, w.key)
	good := func(k int64) bool {
		var n int64
		err := w.from.QueryRow(query, k).Scan(&n)
		return err == nil || errors.Is(err, sql.ErrNoRows)
	}
	for step := int64(1); step <= high-bad; step *= 2 {
		k := bad + step
		if !good(k) {
			bad = k
			continue
		}
		for k-bad > 1 {
			if mid := bad + (k-bad)/2; good(mid) {
				k = mid
			} else {
				bad = mid
			}
		}
		return k
	}
	return high + 1
}
