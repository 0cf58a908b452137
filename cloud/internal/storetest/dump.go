package storetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

// everything reads all pages of a list.
func everything[T any](t testing.TB, list func(fleet.Page) (fleet.List[T], error)) []T {
	t.Helper()
	out := []T{}
	var p fleet.Page
	for {
		l, err := list(p)
		must(t, err)
		out = append(out, l.Items...)
		if l.Next == "" {
			return out
		}
		p.Cursor = l.Next
	}
}

// Dump writes what the projections show, a line per thing, so that two can be
// compared. Positions and the manager's own clock are not in it.
func Dump(t testing.TB, store fleet.Store) string {
	t.Helper()
	var b strings.Builder
	line := func(kind string, v any) {
		text, err := json.Marshal(v)
		must(t, err)
		fmt.Fprintf(&b, "%s %s\n", kind, text)
	}
	ctx := t.Context()
	for _, g := range everything(t, func(p fleet.Page) (fleet.List[fleet.Gateway], error) { return store.Gateways(ctx, all, p) }) {
		g.Connectivity.AsOf, g.Lanes, g.Losses = time.Time{}, nil, nil
		line("gateway", g)
		for _, e := range everything(t, func(p fleet.Page) (fleet.List[fleet.SecurityEvent], error) {
			return store.SecurityEvents(ctx, all, fleet.SecurityFilter{Gateway: g.ID}, p)
		}) {
			e.Position = 0
			line("security", e)
		}
		for _, v := range everything(t, func(p fleet.Page) (fleet.List[fleet.PendingStation], error) {
			return store.PendingStations(ctx, all, g.ID, p)
		}) {
			line("pending", v)
		}
	}
	for _, st := range everything(t, func(p fleet.Page) (fleet.List[fleet.Station], error) {
		return store.Stations(ctx, all, fleet.StationFilter{}, p)
	}) {
		line("station", st)
		for _, i := range everything(t, func(p fleet.Page) (fleet.List[fleet.StatusInterval], error) {
			return store.StatusIntervals(ctx, all, st.ID, time.Time{}, time.Time{}, p)
		}) {
			line("interval", i)
		}
		for _, v := range everything(t, func(p fleet.Page) (fleet.List[fleet.Variable], error) {
			return store.Variables(ctx, all, st.ID, fleet.VariableFilter{}, p)
		}) {
			line("variable", v)
		}
	}
	for _, c := range everything(t, func(p fleet.Page) (fleet.List[fleet.Scorecard], error) {
		return store.StationScores(ctx, all, fleet.ScoreFilter{}, p)
	}) {
		line("score", c)
	}
	sessions := everything(t, func(p fleet.Page) (fleet.List[fleet.Session], error) {
		return store.Sessions(ctx, all, fleet.SessionFilter{}, p)
	})
	slices.SortFunc(sessions, func(a, b fleet.Session) int { return cmp.Compare(a.ID, b.ID) }) // those of one moment come in any order
	for _, s := range sessions {
		line("session", s)
		for _, v := range everything(t, func(p fleet.Page) (fleet.List[fleet.SamplePoint], error) { return store.Samples(ctx, all, s.ID, p) }) {
			line("sample", v)
		}
	}
	for _, c := range everything(t, func(p fleet.Page) (fleet.List[fleet.Command], error) {
		return store.Commands(ctx, all, fleet.CommandFilter{}, p)
	}) {
		line("command", c)
	}
	for _, v := range everything(t, func(p fleet.Page) (fleet.List[fleet.Token], error) { return store.Tokens(ctx, all, p) }) {
		line("token", v)
	}
	return b.String()
}

// same fails the test where two dumps differ, with the first line that does.
func same(t rapid.TB, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Fatalf("%s: line %d:\n got %s\nwant %s", what, i+1, a, b)
		}
	}
}
