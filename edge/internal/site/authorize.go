package site

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// The decisions about a token.
const (
	accepted   = "accepted"
	blocked    = "blocked"
	expired    = "expired"
	invalid    = "invalid"
	concurrent = "concurrent"
)

// Who took a decision.
const (
	byCloud       = "cloud"
	byCache       = "cache"
	byLocalList   = "local_list"
	byPolicy      = "offline_policy"
	byReservation = "reservation"
	byCommand     = "command"
	byStation     = "station"
)

// refusedFor is the longest that a refusal is remembered: whoever was refused
// goes and has it put right.
const refusedFor = 10 * time.Minute

// authorizeBurst is how many identical decisions become events of their own in a
// minute.
const authorizeBurst = 20

// tokenKey is the form in which tokens are compared.
func tokenKey(value string) string { return strings.ToUpper(strings.TrimSpace(value)) }

// inventedToken is the length of the tokens that a manager makes up for starts
// without a card, in hexadecimal digits. No card has one of it.
const inventedToken = 18

// sameToken compares two tokens. One that was made up may have come back with two
// characters more: some stations pad it to 20. Cards are what they are.
func sameToken(ours, theirs string) bool {
	a, b := tokenKey(ours), tokenKey(theirs)
	return a == b || len(a) == inventedToken && strings.Trim(a, "0123456789ABCDEF") == "" &&
		len(b) == inventedToken+2 && strings.HasPrefix(b, a)
}

// known is what is remembered of a token.
type known struct {
	token    event.Token
	decision string
	parent   string
	expires  *time.Time
	until    time.Time // of the cache; zero in the local list
}

// tokenBook is the local list, in sections, and the cache of answers.
type tokenBook struct {
	limit int

	mu       sync.RWMutex
	list     map[string]known
	sections map[string][]string // section: its keys
	cache    map[string]known
	dropped  []string // gone from the cache, their records still there
}

func newTokenBook(limit int) *tokenBook {
	return &tokenBook{limit: limit, list: make(map[string]known), sections: make(map[string][]string), cache: make(map[string]known)}
}

func (b *tokenBook) set(section string, tokens []TokenInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.sections[section] {
		delete(b.list, k)
		b.drop(k) // what was taken off the list is not to live on there
	}
	keys := make([]string, 0, len(tokens))
	for _, t := range tokens {
		k := tokenKey(t.Token.Value)
		b.list[k] = known{token: t.Token, decision: t.Decision, parent: t.Parent, expires: t.Expires}
		b.drop(k)
		keys = append(keys, k)
	}
	b.sections[section] = keys
}

// drop needs b.mu.
func (b *tokenBook) drop(k string) {
	if _, ok := b.cache[k]; ok {
		delete(b.cache, k)
		b.dropped = append(b.dropped, k)
	}
}

// takeDropped hands over the keys whose records are to be deleted: those that
// have not come back meanwhile.
func (b *tokenBook) takeDropped() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := slices.DeleteFunc(b.dropped, func(k string) bool { _, back := b.cache[k]; return back })
	b.dropped = nil
	return gone
}

func (b *tokenBook) putDropped(keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped = append(b.dropped, keys...)
}

// find returns what is known of a token, and by whom; "" where nothing is.
func (b *tokenBook) find(value string, now time.Time) (known, string) {
	k := tokenKey(value)
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e, ok := b.list[k]; ok {
		return e, byLocalList
	}
	if e, ok := b.cache[k]; ok && now.Before(e.until) {
		return e, byCache
	}
	return known{}, ""
}

// parent is the group of a token, where it is known.
func (b *tokenBook) parent(value string) string {
	k := tokenKey(value)
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e, ok := b.list[k]; ok {
		return e.parent
	}
	return b.cache[k].parent
}

// remember puts an answer into the cache, unless the list has come to know the
// token meanwhile. When the cache is full one that is soon over makes room.
func (b *tokenBook) remember(key string, e known) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.list[key]; ok {
		b.dropped = append(b.dropped, key)
		return
	}
	if _, ok := b.cache[key]; !ok && len(b.cache) >= b.limit {
		b.drop(soonestOver(b.cache))
	}
	b.cache[key] = e
}

// soonestOver looks at a few entries (a map's order is random) and returns the
// key of the one that ends first.
func soonestOver(cache map[string]known) string {
	best, seen := "", 0
	for k, e := range cache {
		if best == "" || e.until.Before(cache[best].until) {
			best = k
		}
		if seen++; seen == 32 {
			break
		}
	}
	return best
}

// outdate drops from the cache what is over.
func (b *tokenBook) outdate(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, e := range b.cache {
		if now.After(e.until) {
			b.drop(k)
		}
	}
}

// decision is what was decided about a token, and why.
type decision struct {
	AuthorizeResult
	by, reason string
	key        string
	learned    *known // an answer to remember
}

func (d *decision) event(t event.Token, context string) *event.TokenAuthorized {
	return &event.TokenAuthorized{
		Token:         t,
		Authorization: event.Authorization{Decision: d.Decision, By: d.by, Reason: d.reason},
		Parent:        d.Parent, Expires: d.Expires, Context: context,
	}
}

// authorization is d as it stands in the events of a session.
func (d *decision) authorization() *event.Authorization {
	return &event.Authorization{Decision: d.Decision, By: d.by, Reason: d.reason}
}

// records are what has to survive of a decision.
func (d *decision) records() []Record {
	if d.learned == nil {
		return nil
	}
	return []Record{tokenRecord(d.key, *d.learned)}
}

// learn remembers an answer that is durable now.
func (s *Site) learn(d decision) {
	if d.learned != nil {
		s.tokens.remember(d.key, *d.learned)
	}
}

// SetTokens replaces the tokens of one section of the local list.
func (s *Site) SetTokens(section string, tokens []TokenInfo) {
	s.tokens.set(section, tokens)
	s.dropTokens() // or a restart would bring back what was taken off the list
}

// dropTokens deletes the records of answers that are no longer remembered.
func (s *Site) dropTokens() {
	gone := s.tokens.takeDropped()
	if len(gone) == 0 {
		return
	}
	var c Change
	for _, k := range gone {
		c.Delete = append(c.Delete, Key{Kind: kindToken, ID: k})
	}
	if err := s.journal.Commit(context.Background(), c); err != nil {
		s.log.Warn("outdated authorizations stay on the disk for now", "tokens", len(gone), "err", err)
		s.tokens.putDropped(gone)
	}
}

// Authorize decides whether a token may charge. An unknown token waits for the
// manager for as long as Config.Ask, and not at all while it is out of reach.
func (st *Station) Authorize(token event.Token) (AuthorizeResult, error) {
	stamp := st.site.clock.Stamp()
	d := st.decide(token, 0, st.startOrder(0, token) != nil, st.reservationFor(0, 0, token) != nil, stamp)
	ev := d.event(token, "authorize")
	key := hash("authorize", d.key, d.Decision, d.by, d.reason)
	if st.repeated(key, authorizeBurst, st.at(0, 0), ev) {
		return d.AuthorizeResult, nil
	}
	c := Change{Events: []event.Draft{draft(stamp, st.at(0, 0), stamp.Time, ev)}, Put: d.records()}
	if err := st.commit(c); err != nil {
		st.forgetFold(key)
		return AuthorizeResult{}, err
	}
	st.site.learn(d)
	return d.AuthorizeResult, nil
}

// decide finds a decision: what the local list says stands; then a start command
// of the manager names the token, or a reservation one that it has not refused
// since; then what it answered before;
// then it is asked; then the offline policy decides.
func (st *Station) decide(t event.Token, evse int, ordered, reserved bool, stamp Stamp) decision {
	s := st.site
	d := decision{key: tokenKey(t.Value)}
	if t.Type == tokenNone {
		d.Decision, d.by, d.reason = accepted, byStation, "the station asks nobody to show a token"
		return d
	}
	e, by := s.tokens.find(t.Value, stamp.Time)
	if by == byCache && (ordered || reserved) {
		before := decision{}
		before.take(e, by, stamp.Time)
		if ordered || before.Decision == accepted {
			by = "" // a reservation does not undo a refusal
		}
	}
	switch {
	case by != "":
		d.take(e, by, stamp.Time)
		if s.cfg.Offline != OfflineNone || d.Decision != accepted {
			return d
		}
	case ordered:
		d.Decision, d.by, d.reason = accepted, byCommand, "named by a start command"
		return d
	case reserved:
		d.Decision, d.by, d.reason = accepted, byReservation, "the place is reserved for it"
		return d
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Ask)
	defer cancel()
	info, err := s.manager.AskToken(ctx, st.at(evse, 0), t)
	if err != nil {
		reason := "the manager did not answer in time"
		if errors.Is(err, ErrManagerAway) {
			reason = "the manager is out of reach"
		}
		d.AuthorizeResult = AuthorizeResult{Decision: invalid}
		if s.cfg.Offline == OfflineAll {
			d.Decision = accepted
		}
		d.by, d.reason = byPolicy, reason
		return d
	}
	k := known{token: t, decision: info.Decision, parent: info.Parent, expires: info.Expires}
	keep := info.Cache
	if keep <= 0 {
		if keep = s.cfg.Cache; info.Decision != accepted {
			keep = min(keep, refusedFor)
		}
	}
	k.until = stamp.Time.Add(keep)
	d.take(k, byCloud, stamp.Time)
	d.learned = &k
	return d
}

// decideStart is decide for a token that begins to charge. The sessions but do not
// count as others in which it does.
func (st *Station) decideStart(t event.Token, evse int, but []event.SessionID, ordered, reserved bool, stamp Stamp) decision {
	d := st.decide(t, evse, ordered, reserved, stamp)
	if d.Decision != accepted {
		return d
	}
	cfg := &st.site.cfg
	switch {
	case cfg.MasterPassGroup != "" && tokenKey(d.Parent) == tokenKey(cfg.MasterPassGroup): // OCPP 2.0.1 C16
		d.Decision, d.reason = invalid, "a master pass ends sessions and starts none"
	case cfg.RefuseConcurrent && t.Type != tokenNone && st.site.charging(t, but):
		d.Decision, d.reason = concurrent, "the token is charging already"
	}
	return d
}

// charging tells whether a token charges in another session than those given.
func (s *Site) charging(t event.Token, but []event.SessionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.inUse[tokenKey(t.Value)], func(id event.SessionID) bool { return !slices.Contains(but, id) })
}

// use notes that the token of a session charges, where anybody wants to know.
func (s *Site) use(sess *session) {
	if !s.cfg.RefuseConcurrent || sess.token == nil {
		return
	}
	k := tokenKey(sess.token.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inUse == nil {
		s.inUse = make(map[string][]event.SessionID)
	}
	if !slices.Contains(s.inUse[k], sess.id) {
		s.inUse[k] = append(s.inUse[k], sess.id)
	}
}

// disuse notes that a session is over.
func (s *Site) disuse(sess *session) {
	if !s.cfg.RefuseConcurrent || sess.token == nil {
		return
	}
	k := tokenKey(sess.token.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.inUse[k], func(id event.SessionID) bool { return id == sess.id })
	if s.inUse[k] = left; len(left) == 0 {
		delete(s.inUse, k)
	}
}

// take decides by what is known.
func (d *decision) take(e known, by string, now time.Time) {
	d.AuthorizeResult = AuthorizeResult{Decision: e.decision, Parent: e.parent, Expires: e.expires}
	d.by = by
	switch e.decision {
	case accepted, blocked, expired, invalid, concurrent:
	default: // a word of a later version is no consent
		d.Decision, d.reason = invalid, fmt.Sprintf("the word %q is not known", e.decision)
		return
	}
	switch {
	case e.decision == accepted && e.expires != nil && !now.Before(*e.expires):
		d.Decision, d.reason = expired, "the token ran out"
	case e.decision != accepted:
		d.reason = "the token is " + e.decision
	}
}

// recall is what is known of the token that stopped a session, without asking
// anybody: a stop cannot be refused.
func (st *Station) recall(t *event.Token) AuthorizeResult {
	if t == nil || t.Value == "" {
		return AuthorizeResult{}
	}
	now := st.site.clock.Stamp().Time
	e, by := st.site.tokens.find(t.Value, now)
	if by == "" {
		return AuthorizeResult{}
	}
	var d decision
	d.take(e, by, now)
	return d.AuthorizeResult
}
