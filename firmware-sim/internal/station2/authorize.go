package station2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// maxCache is how many tokens the authorization cache keeps.
const maxCache = 500

// tokenNone is the type of a driver that nobody asks.
const tokenNone = "NoAuthorization"

// tokenTypes are those that a scenario may put before a token: eMAID:DE-8AA-…
var tokenTypes = []string{"Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress"}

// presented is the token of a text: a card, unless a type stands before it.
func presented(text string) Token {
	if kind, id, ok := strings.Cut(text, ":"); ok && slices.Contains(tokenTypes, kind) {
		return Token{ID: id, Type: kind}
	}
	return Token{ID: text, Type: "ISO14443"}
}

func (t Token) message() *ocpp21.IDToken { return &ocpp21.IDToken{IDToken: t.ID, Type: t.Type} }

func tokenOf(m ocpp21.IDToken) Token { return Token{ID: m.IDToken, Type: m.Type} }

// tokenKey is a token as it is compared: without regard to case.
func tokenKey(id string) string { return strings.ToUpper(id) }

// knowledge is what a station knows of a token by itself.
type knowledge struct {
	known, accepted bool
	group           string
}

// recall looks a token up in the local list, then in the cache (C13, C12).
func (s *Station) recall(id string) knowledge {
	if s.model.Bool(model.LocalListEnabled) {
		if info, ok := s.state.List.Entries[tokenKey(id)]; ok {
			return s.judge(info)
		}
	}
	if s.model.Bool(model.AuthCacheEnabled) {
		if entry, ok := s.state.Cache[tokenKey(id)]; ok {
			if life := s.model.Seconds(model.AuthCacheLifeTime); life <= 0 || s.Now().Sub(entry.Seen) < life {
				return s.judge(entry.TokenInfo)
			}
		}
	}
	return knowledge{}
}

func (s *Station) judge(info TokenInfo) knowledge {
	expired := !info.Expires.IsZero() && !s.Now().Before(info.Expires)
	return knowledge{known: true, accepted: info.Status == string(ocpp21.AuthorizationStatusAccepted) && !expired, group: info.Group}
}

func infoOf(kind string, m ocpp21.IDTokenInfo) TokenInfo {
	info := TokenInfo{Type: kind, Status: string(m.Status), Expires: m.CacheExpiryDateTime.Time}
	if m.GroupIDToken != nil {
		info.Group = m.GroupIDToken.IDToken
	}
	return info
}

// learn keeps what the CSMS says of a token (C10). One of the local list stays
// out of the cache.
func (s *Station) learn(id string, m ocpp21.IDTokenInfo) {
	_, listed := s.state.List.Entries[tokenKey(id)]
	if id == "" || listed && s.model.Bool(model.LocalListEnabled) || !s.model.Bool(model.AuthCacheEnabled) {
		return
	}
	s.state.Cache[tokenKey(id)] = CacheEntry{TokenInfo: infoOf("", m), Seen: s.Now()}
	s.Dirty()
	for len(s.state.Cache) > maxCache { // the oldest goes
		var oldest string
		for id, entry := range s.state.Cache {
			if oldest == "" || entry.Seen.Before(s.state.Cache[oldest].Seen) {
				oldest = id
			}
		}
		delete(s.state.Cache, oldest)
	}
}

// authorize finds out whether a token may charge at an EVSE, and calls decided
// with the answer and its group.
func (s *Station) authorize(e *evse, t Token, decided func(accepted bool, group string)) {
	k := s.recall(t.ID)
	if !s.Accepted() {
		decided(s.offlineDecision(k), k.group)
		return
	}
	if k.accepted && s.model.Bool(model.LocalPreAuthorize) {
		decided(true, k.group)
		return
	}
	s.say(&ocpp21.AuthorizeRequest{IDToken: *t.message()}, func(answer ocpp21.Response, err error) {
		resp, ok := answer.(*ocpp21.AuthorizeResponse)
		if err != nil || !ok { // as if it had been offline all the time
			k := s.recall(t.ID)
			decided(s.offlineDecision(k), k.group)
			return
		}
		s.learn(t.ID, resp.IDTokenInfo)
		here := len(resp.IDTokenInfo.EVSEID) == 0 || slices.Contains(resp.IDTokenInfo.EVSEID, int64(e.id)) // C07
		j := s.judge(infoOf(t.Type, resp.IDTokenInfo))
		decided(resp.IDTokenInfo.Status == ocpp21.AuthorizationStatusAccepted && here, j.group)
	})
}

// offlineDecision is C13, C14 and C15.
func (s *Station) offlineDecision(k knowledge) bool {
	if k.known {
		return k.accepted && s.model.Bool(model.LocalAuthorizeOffline)
	}
	return s.model.Bool(model.OfflineTxForUnknown)
}

// Tap presents a card at an EVSE, or at the station for 0.
func (s *Station) Tap(ctx context.Context, id int, token string) error {
	return s.Do(ctx, func() error {
		if !s.Powered {
			return charger.Refused("the charging station has no power")
		}
		e := s.evse(int64(id))
		if id == 0 {
			e = s.likely()
		}
		if e == nil {
			return charger.Refused("there is no EVSE %d", id)
		}
		return s.tap(e, presented(token))
	})
}

// likely is the EVSE that somebody with a card means: one where a car waits for
// it, else one where something runs, else a free one.
func (s *Station) likely() *evse {
	for _, fits := range []func(*evse) bool{
		func(e *evse) bool { return e.plugged() && e.auth == nil && !e.finished },
		func(e *evse) bool { return e.auth != nil && !e.waiting },
		func(e *evse) bool { return !e.plugged() && s.usable(e) == nil },
	} {
		if i := slices.IndexFunc(s.evses, fits); i >= 0 {
			return s.evses[i]
		}
	}
	return s.evses[0]
}

func (s *Station) tap(e *evse, t Token) error {
	if e.authorizing {
		return charger.Refused("a card is being checked at EVSE %d", e.id)
	}
	if e.auth != nil && !e.waiting {
		s.tapToStop(e, t)
		return nil
	}
	if e.waiting && strings.EqualFold(e.auth.token.ID, t.ID) { // second presentation
		s.deauthorize(e, happening{trigger: ocpp21.TriggerReasonStopAuthorized, token: &t, reason: ocpp21.ReasonLocal})
		return nil
	}
	if err := s.usable(e); err != nil {
		return err
	}
	e.authorizing = true
	s.authorize(e, t, func(accepted bool, group string) {
		e.authorizing = false
		t.Group = group
		if !accepted || s.usable(e) != nil || !s.reservedFor(e, t) {
			e.refusals++
			return
		}
		s.admit(e, &authorization{token: t}, ocpp21.TriggerReasonAuthorized)
	})
	return nil
}

// admit lets somebody charge: at once when a car is there, else when it comes
// within EVConnectionTimeOut (E03).
func (s *Station) admit(e *evse, a *authorization, trigger ocpp21.TriggerReason) {
	a.reservation = s.useReservation(e, a.token)
	e.auth, e.finished = a, false
	name := "plug " + strconv.Itoa(e.id)
	s.Off(name)
	if e.waiting = !e.plugged(); e.waiting {
		if wait := s.model.Seconds(model.EVConnectionTimeOut); wait > 0 {
			s.In(name, wait, func() {
				s.deauthorize(e, happening{trigger: ocpp21.TriggerReasonEVConnectTimeout, reason: ocpp21.ReasonTimeout})
			})
		}
	}
	s.applyLimits()
	s.happened(e, happening{trigger: trigger})
}

// tapToStop ends a transaction for its own token, or one of its group (E07), or
// the master pass. Only another token is asked about.
func (s *Station) tapToStop(e *evse, t Token) {
	held := e.auth.token
	stop := func(reason ocpp21.Reason) {
		s.deauthorize(e, happening{trigger: ocpp21.TriggerReasonStopAuthorized, token: &t, reason: reason})
	}
	if strings.EqualFold(held.ID, t.ID) {
		stop(ocpp21.ReasonLocal)
		return
	}
	e.authorizing = true
	a := e.auth
	s.authorize(e, t, func(accepted bool, group string) {
		e.authorizing = false
		master := s.model.Text(model.MasterPassGroup)
		switch {
		case e.auth != a || !accepted || group == "":
		case strings.EqualFold(group, a.token.Group):
			stop(ocpp21.ReasonLocal)
			return
		case master != "" && strings.EqualFold(group, master): // C16
			stop(ocpp21.ReasonMasterPass)
			return
		}
		e.refusals++
	})
}

// stopLocally ends a transaction as its driver would.
func (s *Station) stopLocally(e *evse, tx *Transaction) {
	h := happening{trigger: ocpp21.TriggerReasonStopAuthorized, token: tx.Token, reason: ocpp21.ReasonLocal}
	s.deauthorize(e, h)
}

// updateList carries out a SendLocalList (D01).
func (s *Station) updateList(req *ocpp21.SendLocalListRequest) ocpp21.SendLocalListStatus {
	list := &s.state.List
	if len(req.LocalAuthorizationList) > s.model.Int(model.LocalListItems) || req.VersionNumber < 1 {
		return ocpp21.SendLocalListStatusFailed
	}
	next := map[string]TokenInfo{}
	if req.UpdateType == ocpp21.UpdateDifferential {
		if req.VersionNumber <= list.Version {
			return ocpp21.SendLocalListStatusVersionMismatch
		}
		for id, info := range list.Entries {
			next[id] = info
		}
	}
	seen := map[string]bool{}
	for _, entry := range req.LocalAuthorizationList {
		key := tokenKey(entry.IDToken.IDToken)
		if seen[key] || entry.IDTokenInfo == nil && req.UpdateType == ocpp21.UpdateFull { // D01.FR.18
			return ocpp21.SendLocalListStatusFailed
		}
		seen[key] = true
		if entry.IDTokenInfo == nil {
			delete(next, key)
			continue
		}
		next[key] = infoOf(entry.IDToken.Type, *entry.IDTokenInfo)
		delete(s.state.Cache, key)
	}
	list.Version, list.Entries = req.VersionNumber, next
	s.Dirty()
	return ocpp21.SendLocalListStatusAccepted
}
