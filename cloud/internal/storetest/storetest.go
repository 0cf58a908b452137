// Package storetest is the suite that every fleet.Store passes. It speaks to a
// store as ingest, API and commander do, and knows nothing of what is beneath.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Opener opens one database, again and again: at most one of its stores is
// closed by the suite, the rest by the opener's own clean-up.
type Opener func() fleet.Store

// Forgetter is a store that can take the events up to a position out of its log
// and leave what was made of them, as a store that prunes will.
type Forgetter interface {
	Forget(ctx context.Context, upTo int64) error
}

// Run runs the suite. fresh makes an empty database. Two stores that are open
// on one database at a time stand for two managers.
func Run(t *testing.T, fresh func(t testing.TB) Opener) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, fresh func(t testing.TB) Opener)
	}{
		{"Apply", testApply},
		{"Hello", testHello},
		{"DeadLetters", testDeadLetters},
		{"Gateways", testGateways},
		{"Stations", testStations},
		{"Intervals", testIntervals},
		{"Sessions", testSessions},
		{"Transactions", testTransactions},
		{"Samples", testSamples},
		{"Clock", testClock},
		{"Commands", testCommands},
		{"Events", testEvents},
		{"Variables", testVariables},
		{"Scores", testScores},
		{"Security", testSecurity},
		{"Pending", testPending},
		{"Files", testFiles},
		{"Wishes", testWishes},
		{"Writes", testWrites},
		{"Scope", testScope},
		{"Pages", testPages},
		{"Rebuild", testRebuild},
		{"Backup", testBackup},
		{"Managers", testManagers},
		{"Model", testModel},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, fresh) })
	}
}

// began is when the world of these tests begins.
var began = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

// after is a time in that world.
func after(d time.Duration) time.Time { return began.Add(d) }

var all = fleet.Scope{Tenant: fleet.DefaultTenant}

// must fails the test at an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ok returns v of a call that may not fail; a test that goes on without it
// means nothing.
func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// start opens an empty database with gateway gw-1 in it.
func start(t testing.TB, fresh func(t testing.TB) Opener) (fleet.Store, *Gateway) {
	t.Helper()
	store := fresh(t)()
	return store, add(t, store, "gw-1")
}

// add makes a gateway known to store.
func add(t testing.TB, store fleet.Store, id event.GatewayID) *Gateway {
	t.Helper()
	must(t, store.AddGateway(t.Context(), fleet.Gateway{ID: id, Tenant: fleet.DefaultTenant}, "hash"))
	return NewGateway(id)
}

// isNotFound fails the test unless err says so.
func isNotFound(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("got error %v, want %v", err, fleet.ErrNotFound)
	}
}

func ptr[T any](v T) *T { return &v }
