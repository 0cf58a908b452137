package api

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Kinds of what a session's timeline holds.
const (
	kindEvent    = "event"
	kindStatus   = "status"
	kindDecision = "decision"
	kindCommand  = "command"
	kindFrame    = "frame"
)

// kindOrder orders what happened in the same moment: what was said comes before
// what followed from it.
var kindOrder = []string{kindFrame, kindCommand, kindDecision, kindEvent, kindStatus}

// SessionItem is something that happened during a session.
type SessionItem struct {
	Time     time.Time             `json:"time"`
	Kind     string                `json:"kind" enum:"event,status,decision,command,frame" doc:"Tells which of the other fields is there."`
	Event    *fleet.Entry          `json:"event,omitempty" doc:"Of the session, or of its station while it ran."`
	Status   *fleet.StatusInterval `json:"status,omitempty" doc:"The EVSE, one of its connectors, or the station went into a status."`
	Decision *Decision             `json:"decision,omitempty"`
	Command  *CommandMove          `json:"command,omitempty"`
	Frame    *Frame                `json:"frame,omitempty"`

	id string // orders those of one kind and moment
}

// Decision is a decision about a token.
type Decision struct {
	Position int64 `json:"position" doc:"In the event log."`
	EVSE     int   `json:"evse,omitempty"`
	event.TokenAuthorized
}

// CommandMove is one step in the life of a command.
type CommandMove struct {
	ID       event.CommandID    `json:"id"`
	Type     event.CommandType  `json:"type"`
	EVSE     int                `json:"evse,omitempty"`
	IssuedBy string             `json:"issued_by,omitempty"`
	State    event.CommandState `json:"state"`
	Reason   string             `json:"reason,omitempty"`
	Params   json.RawMessage    `json:"params,omitempty" doc:"With the first step."`
	Result   json.RawMessage    `json:"result,omitempty" doc:"With the last step."`
}

// Frame is something that station and gateway said to each other, as the
// gateway's flight recorder kept it.
type Frame struct {
	Recording string          `json:"recording" doc:"The id of the recording that holds it."`
	Direction string          `json:"direction" enum:"in,out" doc:"in: the station said it."`
	Frame     json.RawMessage `json:"frame,omitempty" doc:"As it went over the wire, where it was JSON."`
	Text      string          `json:"text,omitempty" doc:"Where it was not."`
	Cut       int             `json:"cut,omitempty" doc:"Bytes at its end that were not kept."`
}

// around is how long before its start and after its end what happened at the
// place of a session belongs to it: plug, card and command come first.
const around = 5 * time.Minute

// timelineMost bounds what of one kind a timeline looks at.
const timelineMost = 20_000

func (a *API) sessionTimeline() {
	type paged struct {
		SessionPath
		Paging
		Kind []string `query:"kind" enum:"event,status,decision,command,frame" doc:"Only these kinds, with commas between."`
	}
	op := operation(fleet.RoleViewer, http.MethodGet, "/sessions/{id}/timeline", "get-session-timeline",
		"What happened during a session, oldest first, whoever told it", http.StatusNotFound)
	op.Description += " Its events and those of its station while it ran, the statuses of its EVSE, decisions about tokens, commands step by step, " +
		"and frames, where a recording holds them. It begins 5 minutes before the session and ends 5 minutes after it, or where another session at its EVSE ends or begins."
	register(a, op, func(ctx context.Context, who fleet.Access, in *paged) (*listOutput[SessionItem], error) {
		s, err := a.store.Session(ctx, scopeOf(who), event.SessionID(in.ID))
		if err != nil {
			return nil, err
		}
		var after timelinePlace
		if in.Cursor != "" {
			if after, err = readPlace(in.Cursor); err != nil {
				return nil, err
			}
		}
		t := newTale(a, scopeOf(who), s, in.Kind, after)
		if err := t.neighbours(ctx); err != nil {
			return nil, err
		}
		if err := t.gather(ctx); err != nil {
			return nil, err
		}
		return listed(t.page(in.Limit), nil, nil)
	})
}

// timelinePlace is the place of an item in the order of a timeline.
type timelinePlace struct {
	at   time.Time
	kind int
	id   string
}

func placeOf(i *SessionItem) timelinePlace {
	return timelinePlace{i.Time, slices.Index(kindOrder, i.Kind), i.id}
}

func (p timelinePlace) compare(q timelinePlace) int {
	return cmp.Or(p.at.Compare(q.at), cmp.Compare(p.kind, q.kind), cmp.Compare(p.id, q.id))
}

func (p timelinePlace) String() string {
	text, err := json.Marshal([]string{strconv.FormatInt(p.at.UnixNano(), 36), strconv.Itoa(p.kind), p.id})
	if err != nil { // texts always have a form
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func readPlace(cursor string) (p timelinePlace, err error) {
	bad := invalid("query.cursor", "expected the next of the page before", cursor)
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	var parts []string
	if err != nil || json.Unmarshal(text, &parts) != nil || len(parts) != 3 {
		return p, bad
	}
	nanos, err := strconv.ParseInt(parts[0], 36, 64)
	if err != nil {
		return p, bad
	}
	if p.kind, err = strconv.Atoi(parts[1]); err != nil {
		return p, bad
	}
	p.at, p.id = time.Unix(0, nanos).UTC(), parts[2]
	return p, nil
}

// tale gathers what happened during one session.
type tale struct {
	*API
	scope    fleet.Scope
	session  fleet.Session
	from, to time.Time // to is zero while the session runs
	kinds    []string  // empty: all
	after    timelinePlace
	items    []SessionItem
}

func newTale(a *API, scope fleet.Scope, s fleet.Session, kinds []string, after timelinePlace) *tale {
	t := &tale{API: a, scope: scope, session: s, kinds: kinds, after: after}
	switch {
	case s.Started != nil:
		t.from = s.Started.Add(-around)
	case s.Ended != nil:
		t.from = s.Ended.Add(-around)
	}
	if s.Ended != nil {
		t.to = s.Ended.Add(around)
	}
	return t
}

// neighbours keeps out what belongs to the sessions before and after at the same
// EVSE.
func (t *tale) neighbours(ctx context.Context) error {
	s := &t.session
	if s.Started == nil || s.EVSE == 0 {
		return nil
	}
	f := fleet.SessionFilter{Station: s.Station, EVSE: s.EVSE, To: *s.Started}
	before, err := t.store.Sessions(ctx, t.scope, f, fleet.Page{Limit: 1})
	if err != nil {
		return err
	}
	for _, b := range before.Items {
		if b.Ended != nil && b.Ended.After(t.from) && !b.Ended.After(*s.Started) {
			t.from = *b.Ended
		}
	}
	if s.Ended == nil {
		return nil
	}
	f = fleet.SessionFilter{Station: s.Station, EVSE: s.EVSE, From: *s.Ended, To: t.to}
	return each(func(p fleet.Page) (fleet.List[fleet.Session], error) { return t.store.Sessions(ctx, t.scope, f, p) }, func(b *fleet.Session) {
		if b.ID != s.ID && b.Started != nil && b.Started.Before(t.to) {
			t.to = *b.Started
		}
	})
}

func (t *tale) wants(kind string) bool { return len(t.kinds) == 0 || slices.Contains(t.kinds, kind) }

// add adds what happened in its time and belongs to no page before.
func (t *tale) add(i SessionItem) {
	if t.wants(i.Kind) && placeOf(&i).compare(t.after) > 0 {
		t.items = append(t.items, i)
	}
}

// within tells whether a time is one of the session's.
func (t *tale) within(at time.Time) bool {
	return !at.Before(t.from) && (t.to.IsZero() || at.Before(t.to))
}

// here tells whether an EVSE is the session's, or all of the station.
func (t *tale) here(evse int) bool { return evse == 0 || t.session.EVSE == 0 || evse == t.session.EVSE }

// lower is the earliest time that is still of interest.
func (t *tale) lower() time.Time {
	if t.after.at.After(t.from) {
		return t.after.at
	}
	return t.from
}

func (t *tale) gather(ctx context.Context) error {
	for _, part := range []struct {
		kinds []string
		read  func(context.Context) error
	}{
		{[]string{kindEvent, kindDecision}, t.events},
		{[]string{kindStatus}, t.statuses},
		{[]string{kindCommand}, t.commands},
		{[]string{kindFrame}, t.frames},
	} {
		if !slices.ContainsFunc(part.kinds, t.wants) {
			continue
		}
		if err := part.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// page is the first part of what was gathered.
func (t *tale) page(limit int) (l fleet.List[SessionItem]) {
	slices.SortFunc(t.items, func(x, y SessionItem) int { return placeOf(&x).compare(placeOf(&y)) })
	l.Items = t.items
	if len(t.items) > limit {
		l.Items = t.items[:limit]
		l.Next = placeOf(&t.items[limit-1]).String()
	}
	return l
}

// each reads all parts of a list, up to timelineMost items.
func each[T any](list func(fleet.Page) (fleet.List[T], error), f func(*T)) error {
	p, n := fleet.Page{Limit: 1000}, 0
	for {
		l, err := list(p)
		if err != nil {
			return err
		}
		for i := range l.Items {
			f(&l.Items[i])
		}
		if n += len(l.Items); l.Next == "" || n >= timelineMost {
			return nil
		}
		p.Cursor = l.Next
	}
}

// events reads what the log has of the session, wherever it lies in time, and of
// its station meanwhile.
func (t *tale) events(ctx context.Context) error {
	filters := []fleet.EventFilter{
		{Session: t.session.ID, Rising: true},
		{Station: t.session.Station, From: t.lower(), To: t.to, Rising: true},
	}
	for n, f := range filters {
		err := each(func(p fleet.Page) (fleet.List[fleet.Entry], error) { return t.store.Events(ctx, t.scope, f, p) }, func(e *fleet.Entry) {
			t.entry(e, n == 0)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// entry adds an event; own tells whether it is the session's.
func (t *tale) entry(e *fleet.Entry, own bool) {
	id := strconv.FormatInt(e.Position, 36)
	id = "0000000000000"[min(13, len(id)):] + id // in the order of the log
	if e.Type == event.TypeSessionSampled || e.Type == event.TypeMeterSampled {
		return // /sessions/{id}/samples has them one by one
	}
	if own {
		t.add(SessionItem{Time: e.Time, Kind: kindEvent, Event: e, id: id})
		return
	}
	if e.Session != "" || !t.within(e.Time) {
		return // of this session it is there already, of another it is none of ours
	}
	place, err := event.ParseSubject(e.Subject)
	if err != nil || !t.here(place.EVSE) {
		return
	}
	switch e.Type {
	case event.TypeStationStatus, event.TypeCommandUpdated:
		return // statuses and commands speak for themselves
	case event.TypeTokenAuthorized:
		d := &Decision{Position: e.Position, EVSE: place.EVSE}
		if json.Unmarshal(e.Data, &d.TokenAuthorized) == nil {
			t.add(SessionItem{Time: e.Time, Kind: kindDecision, Decision: d, id: id})
			return
		}
	}
	t.add(SessionItem{Time: e.Time, Kind: kindEvent, Event: e, id: id})
}

func (t *tale) statuses(ctx context.Context) error {
	return each(func(p fleet.Page) (fleet.List[fleet.StatusInterval], error) {
		return t.store.StatusIntervals(ctx, t.scope, t.session.Station, t.from, t.to, p)
	}, func(i *fleet.StatusInterval) {
		if t.here(i.EVSE) { // also the one that lasted into the session
			id := strconv.Itoa(i.EVSE) + "/" + strconv.Itoa(i.Connector) + "/" + i.Status + i.ErrorCode
			t.add(SessionItem{Time: i.From, Kind: kindStatus, Status: i, id: id})
		}
	})
}

func (t *tale) commands(ctx context.Context) error {
	f := fleet.CommandFilter{Station: t.session.Station, From: t.from, To: t.to}
	return each(func(p fleet.Page) (fleet.List[fleet.Command], error) { return t.store.Commands(ctx, t.scope, f, p) }, func(c *fleet.Command) {
		if !t.here(c.EVSE) {
			return
		}
		tidyCommand(c)
		for n, step := range c.Steps {
			if !t.within(step.At) {
				continue
			}
			m := &CommandMove{ID: c.ID, Type: c.Type, EVSE: c.EVSE, State: step.State, Reason: step.Reason}
			if n == 0 {
				m.Params, m.IssuedBy = c.Params, c.IssuedBy
			}
			if n == len(c.Steps)-1 {
				m.Result = c.Result
			}
			t.add(SessionItem{Time: step.At, Kind: kindCommand, Command: m, id: string(c.ID) + "/" + strconv.Itoa(100+n)})
		}
	})
}

// frames reads what recordings of the station hold of the session's time. What
// several of them hold is shown once.
func (t *tale) frames(ctx context.Context) error {
	f := fleet.FileFilter{Kind: fleet.FileRecording, Station: t.session.Station, State: fleet.FileComplete, From: t.lower(), To: t.to}
	var recordings []fleet.File
	err := each(func(p fleet.Page) (fleet.List[fleet.File], error) { return t.store.Files(ctx, t.scope, f, p) }, func(r *fleet.File) {
		recordings = append(recordings, *r)
	})
	if err != nil {
		return err
	}
	shown := map[string]bool{}
	for _, r := range recordings {
		if err := t.recording(r, shown); err != nil && !errors.Is(err, fleet.ErrNotFound) {
			return err
		}
	}
	return nil
}

// recordedFrame is one line of a recording.
type recordedFrame struct {
	Time      time.Time       `json:"time"`
	Direction string          `json:"direction"`
	Frame     json.RawMessage `json:"frame"`
	Text      string          `json:"text"`
	Cut       int             `json:"cut"`
}

// maxFrame is the longest line of a recording that is read.
const maxFrame = 4 << 20

func (t *tale) recording(file fleet.File, shown map[string]bool) (err error) {
	r, err := t.files.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxFrame)
	for n := 0; lines.Scan() && len(shown) < timelineMost; n++ {
		var f recordedFrame
		if json.Unmarshal(lines.Bytes(), &f) != nil || f.Time.IsZero() || f.Direction != "in" && f.Direction != "out" {
			continue // a line that is none: the rest may be
		}
		// As exact as an event, or what followed from a frame would come before it.
		f.Time = f.Time.UTC().Truncate(time.Millisecond)
		key := strconv.FormatInt(f.Time.UnixNano(), 36) + f.Direction + string(f.Frame) + f.Text
		if shown[key] || !t.within(f.Time) || f.Time.Before(t.lower()) {
			continue
		}
		shown[key] = true
		id := file.ID + "/" + strconv.Itoa(1_000_000+n)
		t.add(SessionItem{Time: f.Time, Kind: kindFrame, id: id, Frame: &Frame{
			Recording: file.ID, Direction: f.Direction, Frame: f.Frame, Text: f.Text, Cut: f.Cut,
		}})
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return err
	}
	return nil
}
