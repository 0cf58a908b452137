package sqlite

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

// where gathers the conditions of a query.
type where struct {
	terms []string
	args  []any
}

func (w *where) add(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.args = append(w.args, args...)
}

func (w *where) addIf(yes bool, term string, args ...any) {
	if yes {
		w.add(term, args...)
	}
}

// scope narrows to what the asker may see; the columns hold a row's tenant and
// its gateway.
func (w *where) scope(tenant, gateway string, s fleet.Scope) {
	w.add(tenant+" = ?", s.Tenant)
	w.addIf(s.Location != "", gateway+" IN (SELECT id FROM gateways WHERE location = ?)", s.Location)
}

func (w *where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

// limit is the number of items that p asks for.
func limit(p fleet.Page) int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, 1000)
}

// list makes a page of items, of which one more than the limit may have been
// read; key is what the next page begins after.
func list[T any](items []T, p fleet.Page, key func(T) []any) (fleet.List[T], error) {
	l := fleet.List[T]{Items: items}
	if l.Items == nil {
		l.Items = []T{}
	}
	if n := limit(p); len(items) > n {
		l.Items = items[:n]
		cursor, err := json.Marshal(key(items[n-1]))
		if err != nil {
			return fleet.List[T]{}, fmt.Errorf("cursor: %w", err)
		}
		l.Next = base64.RawURLEncoding.EncodeToString(cursor)
	}
	return l, nil
}

// decodeCursor reads what list wrote.
func decodeCursor(cursor string, dest ...any) error {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	var parts []json.RawMessage
	if err == nil {
		err = json.Unmarshal(raw, &parts)
	}
	if err == nil && len(parts) != len(dest) {
		err = fleet.ErrBadCursor
	}
	for i := range dest {
		if err == nil {
			err = json.Unmarshal(parts[i], dest[i])
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %q", fleet.ErrBadCursor, cursor)
	}
	return nil
}

// ms and ptr write times into columns that may be null.
func ms(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMilli()
}

func fromMS(v int64) time.Time { return time.UnixMilli(v).UTC() }

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// jsonOrNull writes v as JSON, nil as null.
func jsonOrNull[T any](v *T) (any, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	return b, err
}

func fromJSON[T any](b []byte) (*T, error) {
	if b == nil {
		return nil, nil
	}
	v := new(T)
	return v, json.Unmarshal(b, v)
}
