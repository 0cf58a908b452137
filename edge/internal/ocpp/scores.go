package ocpp

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Score is how often one station departed from its protocol since the gateway
// started.
type Score struct {
	Station                 event.StationID
	Vendor, Model, Firmware string // as it last called itself; empty: it never did
	Profile                 string // by which it is treated; empty: none
	Kinds                   []Deviations
}

// Deviations counts those of one kind.
type Deviations struct {
	Kind  string
	Count int64
	Last  time.Time // UTC
	Text  string    // where the last one was, and what was written there; cut
}

const (
	// maxKinds bounds the kinds that are counted for one station; the code makes
	// far fewer.
	maxKinds = 128
	// scoresEvery is how often changed scores are told; after a disconnection at
	// least scoresAfter apart.
	scoresEvery = time.Hour
	scoresAfter = 10 * time.Minute
)

// scores are those of all stations.
type scores struct {
	mu       sync.Mutex // guards what follows
	stations map[event.StationID]*score
}

type score struct {
	vendor, model, firmware, profile string
	kinds                            map[string]*Deviations
	changed                          bool      // since told
	told                             time.Time // monotonic
}

// of needs s.mu. Of more stations than can be told apart none is kept.
func (s *scores) of(id event.StationID) *score {
	one := s.stations[id]
	if one == nil && len(s.stations) < maxStations {
		one = &score{}
		if s.stations == nil {
			s.stations = map[event.StationID]*score{}
		}
		s.stations[id] = one
	}
	return one
}

// model notes what a station calls itself.
func (s *scores) model(id event.StationID, vendor, model, firmware, profile string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.of(id); one != nil {
		one.vendor, one.model, one.firmware, one.profile = vendor, model, firmware, profile
	}
}

// count adds one deviation.
func (s *scores) count(id event.StationID, kind, path, text string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of(id)
	if one == nil {
		return
	}
	d := one.kinds[kind]
	if d == nil {
		if len(one.kinds) >= maxKinds {
			return
		}
		if one.kinds == nil {
			one.kinds = map[string]*Deviations{}
		}
		d = &Deviations{Kind: kind}
		one.kinds[kind] = d
	}
	d.Count++
	if d.Count == 1 || now.Sub(d.Last) > time.Second { // not for each of a flood
		d.Last, d.Text = now, cut(joined(path, text), 200)
	}
	one.changed = true
}

func joined(path, text string) string {
	if path == "" || text == "" {
		return path + text
	}
	return path + ": " + text
}

// news returns what is to be told of a station, nil when that can wait.
func (s *scores) news(id event.StationID, after time.Duration) []event.Variable {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.stations[id]
	now := time.Now()
	if one == nil || !one.changed || !one.told.IsZero() && now.Sub(one.told) < after {
		return nil
	}
	one.changed, one.told = false, now
	variables := make([]event.Variable, 0, len(one.kinds))
	for _, kind := range slices.Sorted(maps.Keys(one.kinds)) {
		variables = append(variables, event.Variable{
			Component: site.ComponentDeviations, Variable: kind, Value: strconv.FormatInt(one.kinds[kind].Count, 10), ReadOnly: true,
		})
	}
	return variables
}

// untold says that what news returned could not be kept.
func (s *scores) untold(id event.StationID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.stations[id]; one != nil {
		one.changed = true
	}
}

// due lists the stations with something to tell.
func (s *scores) due() []event.StationID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []event.StationID
	for id, one := range s.stations {
		if one.changed {
			ids = append(ids, id)
		}
	}
	return ids
}

// Scores returns how the stations keep to their protocol, by name; those that
// departed from it nowhere have no kinds.
func (s *Server) Scores() []Score {
	s.scores.mu.Lock()
	defer s.scores.mu.Unlock()
	all := make([]Score, 0, len(s.scores.stations))
	for id, one := range s.scores.stations {
		score := Score{Station: id, Vendor: one.vendor, Model: one.model, Firmware: one.firmware, Profile: one.profile}
		for _, d := range one.kinds {
			score.Kinds = append(score.Kinds, *d)
		}
		slices.SortFunc(score.Kinds, func(a, b Deviations) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind))
		})
		all = append(all, score)
	}
	slices.SortFunc(all, func(a, b Score) int { return cmp.Compare(a.Station, b.Station) })
	return all
}

// deviated counts one departure of a station.
func (s *Server) deviated(id event.StationID, kind, path, text string) {
	s.metrics.deviated(id, kind)
	s.scores.count(id, kind, path, text, s.clock.Stamp().Time)
}

// tellScore reports the deviations of a station if there are new ones and none
// were told within after. It is called on the station's goroutine.
func (s *Server) tellScore(id event.StationID, st *site.Station, after time.Duration) {
	variables := s.scores.news(id, after)
	if variables == nil {
		return
	}
	if err := st.Deviations(variables); err != nil {
		s.scores.untold(id)
		s.log.Warn("deviations not kept", "station", string(id), "err", err)
	}
}

// keepScores tells the deviations of stations that stay connected, until ctx ends.
func (s *Server) keepScores(ctx context.Context) {
	tick := time.NewTicker(scoresEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, id := range s.scores.due() {
			st := s.site.Station(id)
			if err := st.Post(ctx, func() { s.tellScore(id, st, scoresEvery/2) }); err != nil {
				return
			}
		}
	}
}
