package sqlite

import (
	"cmp"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

// cardPlace is the place of a scorecard in their order.
type cardPlace struct {
	Count int64
	Key   [4]string
}

// rest returns the cards that come after the place.
func (p cardPlace) rest(cards []fleet.Scorecard, keyOf func(*fleet.Scorecard) [4]string) []fleet.Scorecard {
	i := slices.IndexFunc(cards, func(c fleet.Scorecard) bool {
		return cmp.Or(cmp.Compare(p.Count, c.Count), compareKeys(keyOf(&c), p.Key)) > 0
	})
	if i < 0 {
		return nil
	}
	return cards[i:]
}

func compareKeys(a, b [4]string) int { return slices.Compare(a[:], b[:]) }

// gather makes cards of counts, which come station by station. Those with the
// most deviations stand first.
func gather(rows []scored, models bool, keyOf func(*fleet.Scorecard) [4]string) []fleet.Scorecard {
	byKey := map[[4]string]*fleet.Scorecard{}
	station := ""
	for i := range rows {
		v := &rows[i]
		key := keyOf(&v.station)
		c := byKey[key]
		if c == nil {
			first := v.station
			if models {
				first = fleet.Scorecard{Vendor: first.Vendor, Model: first.Model, Firmware: first.Firmware}
			}
			c = &first
			byKey[key] = c
		}
		if v.station.Station != station {
			station = v.station.Station
			c.Stations++
			if v.kind.Kind != "" {
				c.Deviating++
			}
		}
		count(c, v)
	}
	items := make([]fleet.Scorecard, 0, len(byKey))
	for _, c := range byKey {
		if c.Kinds == nil {
			c.Kinds = []fleet.DeviationCount{}
		}
		fleet.SortKinds(c.Kinds)
		items = append(items, *c)
	}
	slices.SortFunc(items, func(a, b fleet.Scorecard) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), compareKeys(keyOf(&a), keyOf(&b)))
	})
	return items
}

// count counts v on a card.
func count(c *fleet.Scorecard, v *scored) {
	if v.kind.Kind == "" {
		return
	}
	c.Count += v.kind.Count
	if c.Last == nil || c.Last.Before(v.kind.Last) {
		last := v.kind.Last
		c.Last = &last
	}
	for i := range c.Kinds {
		if k := &c.Kinds[i]; k.Kind == v.kind.Kind {
			k.Count, k.Recent, k.Stations = k.Count+v.kind.Count, k.Recent+v.kind.Recent, k.Stations+1
			k.First, k.Last = earlier(k.First, v.kind.First), later(k.Last, v.kind.Last)
			return
		}
	}
	c.Kinds = append(c.Kinds, v.kind)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
