package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// past is an incarnation that is over: up to End its log is that of the ones
// after it.
type past struct {
	Name string `json:"name"`
	End  int64  `json:"end"`
}

// readMeta returns a value of meta, empty where there is none.
func readMeta(ctx context.Context, r reader, name string) (string, error) {
	found, err := query(ctx, r, func(scan scanner) (v string, err error) {
		err = scan(&v)
		return v, err
	}, `SELECT value FROM meta WHERE name = ?`, name)
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0], nil
}

// Incarnation implements fleet.Queries and fleet.Ingest.
func (s *Store) Incarnation(ctx context.Context) (v string, err error) {
	err = s.view(ctx, "incarnation", func(r reader) error {
		v, err = readMeta(ctx, r, "incarnation")
		return err
	})
	return v, err
}

// NewIncarnation names the database anew: to be called once it was restored
// from an older copy that Backup did not write.
func (s *Store) NewIncarnation(ctx context.Context) (name string, err error) {
	err = s.tx(ctx, func(t *tx) error {
		name, err = t.rename()
		return err
	})
	return name, wrap("new incarnation", err)
}

// rename begins a new incarnation and remembers where the one before ended.
func (t *tx) rename() (string, error) {
	var old, text string
	if _, err := t.one(`SELECT value FROM meta WHERE name = 'incarnation'`, nil, &old); err != nil {
		return "", err
	}
	known, err := t.one(`SELECT value FROM meta WHERE name = 'past'`, nil, &text)
	if err != nil {
		return "", err
	}
	var before []past
	if known {
		if err := json.Unmarshal([]byte(text), &before); err != nil {
			return "", fmt.Errorf("past incarnations: %w", err)
		}
	}
	head, err := t.head()
	if err != nil {
		return "", err
	}
	list, err := json.Marshal(append(before, past{old, head}))
	if err != nil {
		return "", err
	}
	name := uuid.NewString()
	_, err = t.exec(`INSERT OR REPLACE INTO meta (name, value) VALUES ('incarnation', ?), ('past', ?)`, name, string(list))
	return name, err
}

// Resume implements fleet.Queries.
func (s *Store) Resume(ctx context.Context, incarnation string, position int64) (after int64, err error) {
	err = s.view(ctx, "resume", func(r reader) error {
		present, err := readMeta(ctx, r, "incarnation")
		if err != nil {
			return err
		}
		text, err := readMeta(ctx, r, "past")
		if err != nil {
			return err
		}
		var before []past
		if text != "" {
			if err := json.Unmarshal([]byte(text), &before); err != nil {
				return fmt.Errorf("past incarnations: %w", err)
			}
		}
		heads, err := query(ctx, r, func(scan scanner) (v int64, err error) {
			err = scan(&v)
			return v, err
		}, `SELECT position FROM log ORDER BY position DESC LIMIT 1`)
		if err != nil {
			return err
		}
		if strings.HasPrefix(present, incarnation) {
			if len(heads) > 0 && position <= heads[0] {
				after = position
			}
			return nil
		}
		common := int64(-1) // of all logs since that incarnation
		for _, p := range before {
			switch {
			case strings.HasPrefix(p.Name, incarnation):
				common = p.End
			case common >= 0:
				common = min(common, p.End)
			}
		}
		after = max(0, min(position, common))
		return nil
	})
	return after, err
}
