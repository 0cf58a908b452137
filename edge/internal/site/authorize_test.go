package site

import (
	"fmt"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestAuthorize(t *testing.T) {
	past := p(base.Add(-time.Hour))
	list := []TokenInfo{
		{Token: card("Listed"), Decision: accepted, Parent: "FLEET"},
		{Token: card("BLOCKED"), Decision: "blocked"},
		{Token: card("OLD"), Decision: accepted, Expires: past},
	}
	tests := []struct {
		name       string
		policy     OfflinePolicy
		token      string
		away, mute bool
		want, by   string
		parent     string
		asked      int
	}{
		{name: "listed", token: "lisTED ", want: accepted, by: byLocalList, parent: "FLEET"},
		{name: "blocked in the list", token: "BLOCKED", want: "blocked", by: byLocalList},
		{name: "ran out", token: "OLD", want: expired, by: byLocalList},
		{name: "the manager knows it", token: "GOOD", want: accepted, by: byCloud, asked: 1},
		{name: "the manager does not", token: "BAD", want: invalid, by: byCloud, asked: 1},
		{name: "known, away, unknown token", token: "GOOD", away: true, want: invalid, by: byPolicy, asked: 1},
		{name: "known, away, listed", token: "LISTED", away: true, want: accepted, by: byLocalList, parent: "FLEET"},
		{name: "known, mute", token: "GOOD", mute: true, want: invalid, by: byPolicy, asked: 1},
		{name: "all, away", policy: OfflineAll, token: "ANY", away: true, want: accepted, by: byPolicy, asked: 1},
		{name: "all, away, blocked", policy: OfflineAll, token: "BLOCKED", away: true, want: "blocked", by: byLocalList},
		{name: "none, away, listed", policy: OfflineNone, token: "LISTED", away: true, want: invalid, by: byPolicy, asked: 1},
		{name: "none, away, blocked", policy: OfflineNone, token: "BLOCKED", away: true, want: "blocked", by: byLocalList},
		{name: "none, connected", policy: OfflineNone, token: "GOOD", want: accepted, by: byCloud, asked: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{Offline: tt.policy}, func(t *testing.T, r *rig) {
				r.site.SetTokens("tokens-00", list)
				r.manager.away, r.manager.mute = tt.away, tt.mute
				begin := time.Now()
				r.at("CP1", func(st *Station) {
					got, err := st.Authorize(card(tt.token))
					if err != nil || got.Decision != tt.want || got.Parent != tt.parent {
						t.Errorf("got %+v, %v; want %s", got, err, tt.want)
					}
				})
				if took := time.Since(begin); tt.mute != (took == 3*time.Second) {
					t.Errorf("took %v", took)
				}
				e := kept[*event.TokenAuthorized](r.journal)[0]
				if e.By != tt.by || e.Decision != tt.want || e.Context != "authorize" || r.manager.asked != tt.asked {
					t.Errorf("event %+v, asked %d times", e, r.manager.asked)
				}
			})
		})
	}
}

func TestTokenCache(t *testing.T) {
	bubble(t, Config{Cache: time.Hour}, func(t *testing.T, r *rig) {
		ask := func(token string) (string, string) {
			var d string
			r.at("CP1", func(st *Station) {
				got, err := st.Authorize(card(token))
				if err != nil {
					t.Error(err)
				}
				d = got.Decision
			})
			e := kept[*event.TokenAuthorized](r.journal)
			return d, e[len(e)-1].By
		}
		want := func(step, token, decision, by string) {
			t.Helper()
			if d, b := ask(token); d != decision || b != by {
				t.Errorf("%s: %s by %s, want %s by %s", step, d, b, decision, by)
			}
		}
		want("first", "GOOD", accepted, byCloud)
		want("unknown", "BAD", invalid, byCloud)
		r.manager.away = true
		want("again", "good", accepted, byCache)
		want("a refusal too", "BAD", invalid, byCache)
		r.restart()
		want("after a restart", "GOOD", accepted, byCache)
		r.pass(11 * time.Minute)
		want("a refusal is soon forgotten", "BAD", invalid, byPolicy)
		r.pass(time.Hour)
		want("too old", "GOOD", invalid, byPolicy)
		r.manager.away = false
		want("asked again", "GOOD", accepted, byCloud)
		r.site.SetTokens("tokens-01", []TokenInfo{{Token: card("GOOD"), Decision: "blocked"}})
		want("the list stands above", "GOOD", "blocked", byLocalList)
		r.site.SetTokens("tokens-01", nil)
		r.manager.away = true
		want("taken off the list", "GOOD", invalid, byPolicy)
		r.restart()
		want("taken off the list, after a restart", "GOOD", invalid, byPolicy)
	})
}

func TestTokenCacheBound(t *testing.T) {
	b := newTokenBook(10)
	for i := range 100 {
		b.remember(fmt.Sprint("T", i), known{decision: accepted, until: base.Add(time.Duration(i) * time.Minute)})
	}
	if len(b.cache) != 10 || len(b.takeDropped()) != 90 {
		t.Errorf("%d remembered", len(b.cache))
	}
}

func TestSameToken(t *testing.T) {
	tests := []struct {
		ours, theirs string
		same         bool
	}{
		{"abc", " ABC", true},
		{"ABC", "ABC00", false}, // too short to be one of ours
		{"A1B2C3D4E5F60718AB", "a1b2c3d4e5f60718ab00", true},
		{"A1B2C3D4E5F60718AB", "A1B2C3D4E5F60718AB0", false},
		{"04A1B2C3", "04A1B2C3D4", false}, // two cards
		{"VISITOR-CARD-00018", "VISITOR-CARD-0001800", false},
		{"A1B2C3D4E5F60718AB", "A1B2C3D4E5F60718AC00", false},
	}
	for _, tt := range tests {
		if got := sameToken(tt.ours, tt.theirs); got != tt.same {
			t.Errorf("%q and %q: %v, want %v", tt.ours, tt.theirs, got, tt.same)
		}
	}
}

// A reservation is good for its token and its group, unless they have been
// refused since.
func TestReservedToken(t *testing.T) {
	tests := []struct {
		name  string
		token string
		named int
		list  bool // the token is blocked in the local list
		asked bool // the manager refused it before
		want  string
		used  bool
	}{
		{name: "its token", token: "VISITOR", named: 7, want: accepted, used: true},
		{name: "its token, not named", token: "VISITOR", want: accepted, used: true},
		{name: "its group", token: "MEMBER", named: 7, want: accepted, used: true},
		{name: "another token", token: "THIEF", named: 7, want: invalid},
		{name: "its token, refused since", token: "VISITOR", named: 7, asked: true, want: invalid, used: true},
		{name: "its token, blocked", token: "VISITOR", named: 7, list: true, want: "blocked", used: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				r.connect("CP1", 1)
				r.site.SetTokens("tokens-00", []TokenInfo{{Token: card("MEMBER"), Decision: accepted, Parent: "FLEET"}})
				if tt.list {
					r.site.SetTokens("tokens-01", []TokenInfo{{Token: card(tt.token), Decision: "blocked"}})
				}
				if tt.asked {
					r.at("CP1", func(st *Station) {
						if _, err := st.Authorize(card(tt.token)); err != nil {
							t.Error(err)
						}
					})
				}
				r.at("CP1", func(st *Station) {
					st.reservations = append(st.reservations, reservation{ID: 7, EVSE: 1, Token: card("VISITOR"), Parent: "fleet", Until: r.now().Add(time.Hour)})
					out, err := st.Start(StartReport{EVSE: 1, Connector: 1, Token: card(tt.token), Reservation: tt.named, MeterWh: p[int64](1), Time: said(r.now())})
					if err != nil || out.Decision != tt.want {
						t.Errorf("%s, %v; want %s", out.Decision, err, tt.want)
					}
					if used := len(st.reservations) == 0; used != tt.used {
						t.Errorf("used %t, want %t", used, tt.used)
					}
				})
			})
		})
	}
}

// A refused token gets a number and a session with a flag: the device has begun
// one.
func TestRefusedStart(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.connect("CP1", 1)
		out := r.begin("CP1", 1, "BAD", 1)
		if out.Decision != invalid || out.Transaction <= 0 {
			t.Errorf("answered %+v", out)
		}
		s := kept[*event.SessionStarted](r.journal)[0]
		if flags(s.Flags) != "[unauthorized]" || s.Authorization.Decision != invalid {
			t.Errorf("started %+v", s)
		}
	})
}
