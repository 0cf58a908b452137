package fleet

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// mender adds an offset to the times that were told during one boot.
type mender struct {
	tx   Tx
	boot string
	by   time.Duration
}

func (m *mender) moment(t *Moment) bool {
	if t == nil || t.Boot != m.boot || t.At.IsZero() {
		return false
	}
	t.At = t.At.Add(m.by)
	return true
}

func (m *mender) gateway(g event.GatewayID) error {
	row, err := m.tx.Gateway(g)
	if err != nil || row == nil || !m.moment(&row.Started) {
		return err
	}
	return m.tx.PutGateway(*row)
}

func (m *mender) alarms(g event.GatewayID) error {
	rows, err := m.tx.Alarms(g)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if m.moment(&r.Raised) {
			if err := m.tx.PutAlarm(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mender) stations(g event.GatewayID) error {
	rows, err := m.tx.StationsOf(g)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if m.moment(&r.ConnectedAt) {
			if err := m.tx.PutStations([]StationRow{r}); err != nil {
				return err
			}
		}
		places, err := m.tx.PlacesOf(r.ID)
		if err != nil {
			return err
		}
		for _, p := range places {
			if m.moment(&p.AsOf) {
				if err := m.tx.PutPlaces([]PlaceRow{p}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// intervals mends what was told and then the whole chain from there on, since
// an interval may have been held back by one before it.
func (m *mender) intervals(g event.GatewayID) error {
	first, err := m.tx.IntervalsOf(g, m.boot)
	if err != nil {
		return err
	}
	places := slices.SortedFunc(maps.Keys(first), func(a, b PlaceKey) int {
		return cmp.Or(cmp.Compare(a.Station, b.Station), cmp.Compare(a.EVSE, b.EVSE), cmp.Compare(a.Connector, b.Connector))
	})
	for _, place := range places {
		number := first[place]
		before, err := m.tx.Interval(place, number-1)
		if err != nil {
			return err
		}
		rows, err := m.tx.Intervals(place, number)
		if err != nil {
			return err
		}
		for i := range rows {
			m.moment(&rows[i].Told)
			rows[i].From = rows[i].Told.At
			if before != nil && rows[i].From.Before(before.From) {
				rows[i].From = before.From
			}
			before = &rows[i]
		}
		if err := m.tx.MendIntervals(rows); err != nil {
			return err
		}
		p, err := m.tx.Place(place)
		if err != nil {
			return err
		}
		if p != nil && before != nil {
			p.From = before.From
			if err := m.tx.PutPlaces([]PlaceRow{*p}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mender) sessions(g event.GatewayID) error {
	rows, err := m.tx.SessionsOf(g, m.boot)
	if err != nil {
		return err
	}
	for _, r := range rows {
		old := r
		r.Started, r.Ended = clone(r.Started), clone(r.Ended)
		m.moment(r.Started)
		m.moment(r.Ended)
		m.moment(&r.At)
		for _, list := range [][]Reading{r.Detail.Readings, r.Detail.EndReadings} {
			for i := range list {
				if list[i].Boot == m.boot {
					list[i].Sample.Time = list[i].Sample.Time.Add(m.by)
				}
			}
		}
		if err := m.tx.PutSessions([]SessionChange{{Row: r, Old: &old}}); err != nil {
			return err
		}
	}
	return nil
}

func (m *mender) commands(g event.GatewayID) error {
	steps, err := m.tx.StepsOf(g, m.boot)
	if err != nil {
		return err
	}
	for _, s := range steps {
		m.moment(&s.At)
		if err := m.tx.PutStep(s); err != nil {
			return err
		}
		c, err := m.tx.Command(s.Command)
		if err != nil {
			return err
		}
		if c != nil {
			if err := (&Unit{tx: m.tx}).settleCommand(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
