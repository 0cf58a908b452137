package station

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/keys"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// maxCache is how many tokens the authorization cache keeps.
const maxCache = 500

// key is an idTag as it is compared: without regard to case (CiString20Type).
func tagKey(tag string) string { return strings.ToUpper(tag) }

// knowledge is what a charge point knows of a token by itself.
type knowledge struct {
	known    bool
	accepted bool
	parent   string
}

// recall looks a token up in the local list, then in the cache (§3.5.3).
func (s *Station) recall(tag string) knowledge {
	if s.keys.Bool(keys.LocalAuthListEnabled) {
		if info, ok := s.state.List.Entries[tagKey(tag)]; ok {
			return s.judge(info)
		}
	}
	if s.keys.Bool(keys.AuthorizationCacheEnabled) {
		if e, ok := s.state.Cache[tagKey(tag)]; ok {
			return s.judge(e.Info)
		}
	}
	return knowledge{}
}

func (s *Station) judge(info ocpp16.IDTagInfo) knowledge {
	expired := !info.ExpiryDate.Time.IsZero() && !s.Now().Before(info.ExpiryDate.Time)
	return knowledge{known: true, accepted: info.Status == ocpp16.AuthorizationStatusAccepted && !expired, parent: info.ParentIDTag}
}

// learn keeps what an IdTagInfo says (§3.5.1). A token of the local list stays
// out of the cache; a contradiction to the list is reported (§3.5.2).
func (s *Station) learn(tag string, info ocpp16.IDTagInfo) {
	if tag == "" {
		return
	}
	if listed, ok := s.state.List.Entries[tagKey(tag)]; ok && s.keys.Bool(keys.LocalAuthListEnabled) {
		if s.judge(listed).accepted != s.judge(info).accepted && !s.conflict {
			s.conflict = true
			s.In("conflict", time.Minute, func() { s.conflict = false })
		}
		return
	}
	if !s.keys.Bool(keys.AuthorizationCacheEnabled) {
		return
	}
	info.Extra = nil
	s.state.Cache[tagKey(tag)] = CacheEntry{Info: info, Seen: charger.Milliseconds(s.Now())}
	s.Dirty()
	for len(s.state.Cache) > maxCache {
		s.evict()
	}
}

// evict makes room in the cache: first what is not valid, then the oldest.
func (s *Station) evict() {
	var oldest string
	var age CacheEntry
	worse := func(e CacheEntry) bool {
		valid, before := s.judge(e.Info).accepted, s.judge(age.Info).accepted
		if valid != before {
			return !valid
		}
		return e.Seen.Before(age.Seen)
	}
	for tag, e := range s.state.Cache {
		if oldest == "" || worse(e) {
			oldest, age = tag, e
		}
	}
	delete(s.state.Cache, oldest)
}

// authorize finds out whether a token may charge, and calls decided with the
// answer and its group.
func (s *Station) authorize(tag string, decided func(accepted bool, parent string)) {
	k := s.recall(tag)
	if !s.Accepted() {
		decided(s.offlineDecision(k), k.parent)
		return
	}
	if k.accepted && s.keys.Bool(keys.LocalPreAuthorize) {
		decided(true, k.parent)
		return
	}
	s.say(&ocpp16.AuthorizeRequest{IDTag: tag}, func(answer ocpp16.Response, err error) {
		resp, ok := answer.(*ocpp16.AuthorizeResponse)
		if err != nil || !ok { // as if it had been offline all the time
			k := s.recall(tag)
			decided(s.offlineDecision(k), k.parent)
			return
		}
		s.learn(tag, resp.IDTagInfo)
		j := s.judge(resp.IDTagInfo)
		decided(j.accepted, j.parent)
	})
}

// offlineDecision is §3.5 and §3.5.4.
func (s *Station) offlineDecision(k knowledge) bool {
	if k.known {
		return k.accepted && s.keys.Bool(keys.LocalAuthorizeOffline)
	}
	return s.keys.Bool(keys.AllowOfflineTxForUnknownID)
}

// Tap presents a card at a connector, or at the charge point for connector 0.
func (s *Station) Tap(ctx context.Context, id int, tag string) error {
	return s.Do(ctx, func() error {
		if !s.Powered {
			return charger.Refused("the charge point has no power")
		}
		c := s.connector(int64(id))
		if id == 0 {
			c = s.likely()
		}
		if c == nil {
			return charger.Refused("there is no connector %d", id)
		}
		return s.tap(c, tag)
	})
}

// likely is the connector that somebody with a card means: one where a car waits
// for it, else one where something runs, else a free one.
func (s *Station) likely() *connector {
	for _, fits := range []func(*connector) bool{
		func(c *connector) bool { return c.outlet.Car() != nil && s.running(c) == nil && !c.finished },
		func(c *connector) bool { return s.running(c) != nil },
		func(c *connector) bool { return c.outlet.Car() == nil && s.usable(c) == nil },
	} {
		if i := slices.IndexFunc(s.connectors, fits); i >= 0 {
			return s.connectors[i]
		}
	}
	return s.connectors[0]
}

func (s *Station) tap(c *connector, tag string) error {
	if c.authorizing {
		return charger.Refused("a card is being checked at connector %d", c.id)
	}
	if tx := s.running(c); tx != nil {
		s.tapToStop(c, tx, tag)
		return nil
	}
	if w := c.waiting; w != nil && strings.EqualFold(w.tag, tag) { // second presentation: B1
		c.waiting = nil
		s.Off("plug " + itoa(c.id))
		return nil
	}
	if err := s.usable(c); err != nil {
		return err
	}
	c.authorizing = true
	s.authorize(tag, func(accepted bool, parent string) {
		c.authorizing = false
		if !accepted || s.running(c) != nil || s.usable(c) != nil || !s.reservedFor(c, tag, parent) {
			c.refusals++
			return
		}
		s.admit(c, admission{tag: tag, parent: parent})
	})
	return nil
}

// tapToStop ends a transaction for its own token, or one of its group (§3.10).
// Only another token is asked about (§4.1).
func (s *Station) tapToStop(c *connector, tx *Transaction, tag string) {
	if strings.EqualFold(tx.IDTag, tag) {
		s.stop(c, ocpp16.ReasonLocal, tag)
		return
	}
	c.authorizing = true
	s.authorize(tag, func(accepted bool, parent string) {
		c.authorizing = false
		if now := s.running(c); accepted && now == tx && parent != "" && strings.EqualFold(parent, tx.Parent) {
			s.stop(c, ocpp16.ReasonLocal, tag)
			return
		}
		c.refusals++
	})
}

// usable tells why nothing can begin at a connector.
func (s *Station) usable(c *connector) error {
	f := s.broken(c)
	switch {
	case s.draining:
		return charger.Refused("the charge point is being emptied")
	case s.resetting != "":
		return charger.Refused("the charge point is starting anew")
	case f != nil && !f.warning():
		return charger.Refused("connector %d is broken: %s", c.id, f.code)
	case s.inoperative(c), s.firmware.installing:
		return charger.Refused("connector %d is out of service", c.id)
	}
	return nil
}

// admit lets an authorized token start: at once when a car is there, else when
// it comes within ConnectionTimeOut.
func (s *Station) admit(c *connector, a admission) {
	if c.outlet.Car() != nil {
		s.start(c, a)
		return
	}
	c.waiting = &a
	name := "plug " + itoa(c.id)
	s.Off(name)
	if wait := s.keys.Seconds(keys.ConnectionTimeOut); wait > 0 {
		s.In(name, wait, func() { c.waiting = nil })
	}
}

// updateList carries out a SendLocalList.
func (s *Station) updateList(req *ocpp16.SendLocalListRequest) ocpp16.UpdateStatus {
	list := &s.state.List
	for _, e := range req.LocalAuthorizationList {
		if req.UpdateType == ocpp16.UpdateTypeFull && e.IDTagInfo == nil {
			return ocpp16.UpdateStatusFailed
		}
	}
	if len(req.LocalAuthorizationList) > s.keys.Int(keys.SendLocalListMaxLength) {
		return ocpp16.UpdateStatusFailed
	}
	next := map[string]ocpp16.IDTagInfo{}
	switch req.UpdateType {
	case ocpp16.UpdateTypeFull:
	case ocpp16.UpdateTypeDifferential:
		if req.ListVersion <= list.Version {
			return ocpp16.UpdateStatusVersionMismatch
		}
		for tag, info := range list.Entries {
			next[tag] = info
		}
	default:
		return ocpp16.UpdateStatusFailed
	}
	for _, e := range req.LocalAuthorizationList {
		if e.IDTagInfo == nil {
			delete(next, tagKey(e.IDTag))
			continue
		}
		info := *e.IDTagInfo
		info.Extra = nil
		next[tagKey(e.IDTag)] = info
		delete(s.state.Cache, tagKey(e.IDTag)) // §3.5.3
	}
	if len(next) > s.keys.Int(keys.LocalAuthListMaxLength) || req.ListVersion < 1 { // errata 1.6 §3.52
		return ocpp16.UpdateStatusFailed
	}
	list.Version, list.Entries = req.ListVersion, next
	s.Dirty()
	return ocpp16.UpdateStatusAccepted
}
