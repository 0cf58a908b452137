package commander

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// sectionsFresh is how long sections made from tokens are kept in memory:
// another manager on the same database may change a token.
const sectionsFresh = 30 * time.Second

// content is one section of desired state.
type content struct {
	plain    []byte
	revision string
}

// sections makes and remembers what gateways ought to have.
type sections struct {
	store    Store
	gateways Directory
	now      func() time.Time

	mu     sync.Mutex
	tokens map[fleet.Tenant]*tokenSections
}

type tokenSections struct {
	made    time.Time
	content map[string]content // the missing ones are to be made
}

func newSections(store Store, gateways Directory, now func() time.Time) *sections {
	return &sections{store: store, gateways: gateways, now: now, tokens: map[fleet.Tenant]*tokenSections{}}
}

// forget makes a section be made anew when it is next needed.
func (s *sections) forget(t fleet.Tenant, section string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ts := s.tokens[t]; ts != nil {
		delete(ts.content, section)
	}
}

// of returns every section that g ought to have. An empty tokens section is one
// too, or a gateway would keep a token that was deleted.
func (s *sections) of(ctx context.Context, g event.GatewayID) (map[string]content, error) {
	gateway, err := s.gateways.Owned(ctx, g)
	if err != nil {
		return nil, err
	}
	all, err := s.ofTenant(ctx, gateway.Tenant)
	if err != nil {
		return nil, err
	}
	own, err := s.store.Desired(ctx, g)
	if err != nil {
		return nil, err
	}
	for name, plain := range own {
		// As it will stand inside the message: the revision is that of those bytes.
		inside, err := json.Marshal(json.RawMessage(plain))
		if err != nil {
			return nil, fmt.Errorf("section %s of %s: %w", name, g, err)
		}
		all[name] = content{plain: inside, revision: wire.Revision(inside)}
	}
	return all, nil
}

// ofTenant returns a copy of the tokens sections of a tenant.
func (s *sections) ofTenant(ctx context.Context, t fleet.Tenant) (map[string]content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := s.tokens[t]
	if ts == nil || s.now().Sub(ts.made) > sectionsFresh {
		ts = &tokenSections{made: s.now(), content: map[string]content{}}
		s.tokens[t] = ts
	}
	for i := range wire.TokenSections {
		name := fmt.Sprintf("tokens-%02x", i)
		if _, ok := ts.content[name]; ok {
			continue
		}
		tokens, err := s.store.TokensIn(ctx, t, name)
		if err != nil {
			return nil, fmt.Errorf("tokens of section %s: %w", name, err)
		}
		section := wire.Tokens{Tokens: make([]wire.TokenEntry, len(tokens))}
		for i, token := range tokens {
			section.Tokens[i] = entry(token)
		}
		plain, err := json.Marshal(section)
		if err != nil {
			return nil, fmt.Errorf("encode section %s: %w", name, err)
		}
		ts.content[name] = content{plain: plain, revision: wire.Revision(plain)}
	}
	return maps.Clone(ts.content), nil
}

func entry(t fleet.Token) wire.TokenEntry {
	return wire.TokenEntry{
		Token: event.Token{Type: t.Type, Value: t.Value}, Status: t.Status, Parent: t.Parent, Expires: t.Expires,
	}
}

// Revisions returns the revision of every section that g ought to have in force.
func (c *Commander) Revisions(ctx context.Context, g event.GatewayID) (map[string]string, error) {
	all, err := c.sections.of(ctx, g)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(all))
	for name, s := range all {
		out[name] = s.revision
	}
	return out, nil
}

// sendOwed sends the sections whose revision differs from what the gateway has:
// at most wire.MaxOwed bytes, but at least one. For the rest it says hello
// again. What it refused comes last, or a large one would keep the others away
// at every hello.
func (c *Commander) sendOwed(ctx context.Context, g event.GatewayID, has, refused map[string]string) error {
	all, err := c.sections.of(ctx, g)
	if err != nil {
		return err
	}
	sent := 0
	names := slices.Sorted(maps.Keys(all))
	slices.SortStableFunc(names, func(a, b string) int {
		last := func(name string) int {
			if refused[name] == all[name].revision {
				return 1
			}
			return 0
		}
		return last(a) - last(b)
	})
	for _, name := range names {
		if wire.InForce(name, has[name], all[name].revision) {
			continue
		}
		packed, err := packSection(name, all[name])
		if err != nil {
			c.log.Error("section of desired state cannot be sent", "gateway", g, "section", name, "err", err)
			continue
		}
		if sent > 0 && sent+len(packed) > wire.MaxOwed {
			return nil
		}
		c.publishSection(g, name, packed)
		sent += len(packed)
	}
	return nil
}

// sendChanged sends sections that changed to whoever is there. Who is not, or
// does not get it, asks with its next hello.
func (c *Commander) sendChanged(ctx context.Context, changes []change) {
	if len(changes) == 0 {
		return
	}
	c.mu.Lock()
	var online []event.GatewayID
	for g, p := range c.peers {
		if p.online {
			online = append(online, g)
		}
	}
	c.mu.Unlock()
	slices.Sort(online)
	for _, g := range online {
		gateway, err := c.gateways.Owned(ctx, g)
		if err != nil {
			continue // knocking, or gone
		}
		all, err := c.sections.of(ctx, g)
		if err != nil {
			c.log.Error("send desired state", "gateway", g, "err", err)
			continue
		}
		for _, ch := range changes {
			if ch.gateway != g && (ch.gateway != "" || ch.tenant != gateway.Tenant) {
				continue
			}
			section, ok := all[ch.section]
			if !ok {
				continue
			}
			packed, err := packSection(ch.section, section)
			if err != nil {
				c.log.Error("section of desired state cannot be sent", "gateway", g, "section", ch.section, "err", err)
				continue
			}
			c.publishSection(g, ch.section, packed)
		}
	}
}

func packSection(name string, s content) ([]byte, error) {
	plain, err := json.Marshal(wire.Desired{Section: name, Revision: s.revision, Content: s.plain})
	if err != nil {
		return nil, err
	}
	packed := wire.Pack(plain)
	if len(packed) > wire.MaxWire {
		return nil, fmt.Errorf("%d bytes packed, expected at most %d", len(packed), wire.MaxWire)
	}
	return packed, nil
}

func (c *Commander) publishSection(g event.GatewayID, name string, packed []byte) {
	if err := c.bus.Publish(wire.Topic(g, wire.KindDesired, name), packed, 1, false); err != nil {
		c.log.Warn("section of desired state did not leave", "gateway", g, "section", name, "err", err)
	}
}
