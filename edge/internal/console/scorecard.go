package console

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// Score is how one station has kept to its protocol since the gateway started.
type Score struct {
	Station event.StationID
	Model   string // vendor, model and firmware; empty: it has not said
	Profile string // the station profile that it is treated by; empty: none
	Kinds   []Deviations
}

// Deviations counts departures of one kind.
type Deviations struct {
	Kind  string
	Count int64
	Last  time.Time
	Text  string // where the last one was, and what was written
}

// Frames writes the frames of a station from one moment up to another, as lines of
// JSON without secrets. A zero moment is no bound. Known is false where nothing is
// recorded of the station; then nothing is written.
type Frames func(w io.Writer, id event.StationID, from, to time.Time) (known bool, err error)

// modelScore sums the scores of a model.
type modelScore struct {
	model, profile  string
	stations, clean int
	kinds           map[string]int64
}

// byModel sums scores, the worst model first.
func byModel(scores []Score) []modelScore {
	sums := map[string]*modelScore{}
	for i := range scores {
		s := &scores[i]
		m := sums[s.Model]
		if m == nil {
			m = &modelScore{model: s.Model, kinds: map[string]int64{}}
			sums[s.Model] = m
		}
		m.stations++
		m.profile = cmp.Or(m.profile, s.Profile)
		if len(s.Kinds) == 0 {
			m.clean++
		}
		for _, d := range s.Kinds {
			m.kinds[d.Kind] += d.Count
		}
	}
	var out []modelScore
	for _, m := range sums {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b modelScore) int {
		return cmp.Or(cmp.Compare(len(b.kinds), len(a.kinds)), cmp.Compare(a.model, b.model))
	})
	return out
}

// scorecard shows how models and stations keep to their protocol.
func (c *Console) scorecard(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	e := html.EscapeString
	fmt.Fprintf(&b, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"+
		"<meta http-equiv=refresh content=60><title>Scorecard of %s</title><style>%s</style><h1>Scorecard <span class=dim>%s</span></h1>"+
		"<p>How chargers depart from their protocol, since the gateway started. All of it was understood or kept; "+
		"what does not go away is worth a word with the maker.", e(string(c.cfg.Gateway)), style, e(string(c.cfg.Gateway)))
	scores := c.sources.Scores()
	b.WriteString("<h2>Models</h2><table><tr><th>Model<th>Profile<th>Stations<th>Without any<th>Deviations")
	for _, m := range byModel(scores) {
		fmt.Fprintf(&b, "<tr><td>%s<td>%s<td>%d<td>%d<td>%s", e(cmp.Or(m.model, "not said yet")), e(m.profile), m.stations, m.clean, e(counts(m.kinds)))
	}
	b.WriteString("</table><h2>Stations</h2><table><tr><th>Station<th>Model<th>Deviation<th>Times<th>Last<th>What it was")
	shown := 0
	for _, s := range scores {
		for i, d := range s.Kinds {
			name, model := "", ""
			if i == 0 {
				name, model = string(s.Station), s.Model
			}
			fmt.Fprintf(&b, "<tr><td>%s<td>%s<td>%s<td>%d<td class=when>%s<td class=dim>%s", e(name), e(model), e(d.Kind), d.Count, d.Last.UTC().Format(time.DateTime), e(d.Text))
			shown++
		}
	}
	if shown == 0 {
		b.WriteString("<tr><td colspan=6 class=dim>None: every station keeps to its protocol.")
	}
	b.WriteString("</table><p class=dim><a href=/>gateway</a></html>\n")
	c.show(w, b.String())
}

// counts lists kinds with how often, most first.
func counts(kinds map[string]int64) string {
	names := make([]string, 0, len(kinds))
	for kind := range kinds {
		names = append(names, kind)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(kinds[b], kinds[a]), cmp.Compare(a, b)) })
	for i, kind := range names {
		names[i] = fmt.Sprintf("%s × %d", kind, kinds[kind])
	}
	return strings.Join(names, ", ")
}

// show sends a page.
func (c *Console) show(w http.ResponseWriter, page string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if _, err := w.Write([]byte(page)); err != nil {
		c.log.Debug("page cut off", "err", err)
	}
}

// frames sends what the flight recorder holds of a station, one frame a line. The
// query may hold from and to, as RFC 3339 or a span back from now such as 10m.
func (c *Console) frames(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	from, err := moment(r.FormValue("from"), now)
	to, errTo := moment(r.FormValue("to"), now)
	if err != nil || errTo != nil {
		http.Error(w, "from, to: expected a time such as 2026-11-22T10:00:00Z, or how long ago such as 10m", http.StatusBadRequest)
		return
	}
	id := event.StationID(r.PathValue("id"))
	body := &lazy{w: w}
	known, err := c.sources.Frames(body, id, from, to)
	switch {
	case err != nil:
		c.log.Debug("frames cut off", "station", string(id), "err", err)
	case !known:
		http.Error(w, "nothing is recorded of this station", http.StatusNotFound)
	default:
		body.begin()
	}
}

// lazy sets the headers of a body when it begins.
type lazy struct {
	w     http.ResponseWriter
	begun bool
}

func (l *lazy) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.w.Header().Set("Cache-Control", "no-store")
	}
}

func (l *lazy) Write(p []byte) (int, error) {
	l.begin()
	return l.w.Write(p)
}

func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago.Abs()), nil
	}
	return time.Parse(time.RFC3339, text)
}
