package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chargeyard/chargeyard/shared/seam"
)

// looseRow is an event of the samples lane that has no number yet.
type looseRow struct {
	id          int64
	first, last time.Time // of its samples
	samples     int
	step        int // seconds between samples after thinning; wholeSamples, thinnedStep
	body        []byte
}

func (l *Lane) putLoose(ctx context.Context, r looseRow) error {
	_, err := l.db.putLoose.ExecContext(ctx, r.id, r.first.UnixMilli(), r.last.UnixMilli(), r.samples, r.step,
		checksum(looseStream, uint64(r.id), r.body), r.body)
	if err != nil {
		return fmt.Errorf("store samples: %w", err)
	}
	return nil
}

// selectLoose reads rows without a number in their order, on the writer's
// connection, until f returns false. A row whose checksum fails has no body.
func (l *Lane) selectLoose(ctx context.Context, where string, args []any, f func(r looseRow) bool) (err error) {
	rows, err := l.db.write.QueryContext(ctx, "SELECT id, first, last, samples, step, crc, body FROM loose WHERE "+where, args...)
	if err != nil {
		return fmt.Errorf("read samples: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r looseRow
		var first, last, crc int64
		if err := rows.Scan(&r.id, &first, &last, &r.samples, &r.step, &crc, &r.body); err != nil {
			return fmt.Errorf("%w: samples: %w", errDamaged, err)
		}
		r.first, r.last = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		if checksum(looseStream, uint64(r.id), r.body) != crc {
			r.body = nil
		}
		if !f(r) {
			return nil
		}
	}
	return rows.Err()
}

// number gives the oldest rows without a number their numbers, as many as fit
// in a batch of maxBytes, and returns when that is committed. From then on they
// never change.
func (l *Lane) number(ctx context.Context, maxBytes int) error {
	err := l.do(ctx, func() error {
		if l.db == nil {
			return fmt.Errorf("%w: %s is not open", errDamaged, l.path)
		}
		return l.numberLoose(maxBytes)
	})
	if err != nil {
		return fmt.Errorf("number samples: %w", err)
	}
	return nil
}

func (l *Lane) numberLoose(maxBytes int) error {
	l.mu.Lock()
	st := l.current()
	l.mu.Unlock()
	var tails [][]byte
	var ids []int64
	var sealed []*block
	all := false
	err := l.db.transact(func(ctx context.Context) error {
		size := 2
		all = true
		err := l.selectLoose(ctx, "1 ORDER BY id LIMIT ?", []any{maxBatchRows}, func(r looseRow) bool {
			size += headSize + len(r.body)
			if len(ids) > 0 && size > maxBytes {
				all = false
				return false
			}
			ids = append(ids, r.id)
			tails = append(tails, r.body)
			return true
		})
		if err != nil {
			return err
		}
		all = all && len(ids) < maxBatchRows
		good := tails[:0]
		for i, id := range ids {
			b, tail, err := l.o.sampler.seal(id)
			if err != nil {
				return err
			}
			if b != nil {
				sealed = append(sealed, b)
				tails[i] = tail
			}
			if _, err := l.db.deleteLoose.ExecContext(ctx, id); err != nil {
				return fmt.Errorf("number samples: %w", err)
			}
			if tails[i] != nil {
				good = append(good, tails[i])
			}
		}
		tails = good
		if len(tails) == 0 {
			return nil
		}
		return l.writeRows(ctx, st, st.last+1, tails)
	})
	l.o.sampler.sealed(sealed, err == nil)
	if err != nil {
		return err
	}
	if bad := len(ids) - len(tails); bad > 0 {
		l.log.Error("samples cannot be read back", "blocks", bad)
		l.o.stats.damagedRows.Add(int64(bad))
		l.o.alarms.raise("file_damaged", "critical", fmt.Sprintf(
			"%d blocks of samples cannot be read back from %s.db and are lost: the card may be failing", bad, l.name))
	}
	seam.Hit("edge.samples.after-number")
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(tails) > 0 {
		l.numbered(st, tails)
	}
	l.looseRows -= len(ids)
	if all || l.looseRows < 0 {
		l.looseRows = 0 // what was read was everything
	}
	return nil
}
