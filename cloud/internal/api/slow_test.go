package api

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/prometheus/client_golang/prometheus"
)

// emptyLog is a store without events; everything else of it is not asked for.
type emptyLog struct {
	Store
	access func() error
}

func (e emptyLog) Access(context.Context, string) (fleet.Access, error) {
	if e.access == nil {
		return fleet.Access{ID: "a"}, nil
	}
	return fleet.Access{ID: "a"}, e.access()
}

func (emptyLog) Events(context.Context, fleet.Scope, fleet.EventFilter, fleet.Page) (fleet.List[fleet.Entry], error) {
	return fleet.List[fleet.Entry]{}, nil
}

// stuck is a listener that does not read: what is written waits until the
// deadline.
type stuck struct {
	header   http.Header
	deadline time.Time
}

func (s *stuck) Header() http.Header                 { return s.header }
func (s *stuck) WriteHeader(int)                     {}
func (s *stuck) SetWriteDeadline(at time.Time) error { s.deadline = at; return nil }
func (s *stuck) FlushError() error                   { return nil }

func (s *stuck) Write([]byte) (int, error) {
	time.Sleep(time.Until(s.deadline))
	return 0, os.ErrDeadlineExceeded
}

type owners struct{}

func (owners) Owned(_ context.Context, id event.GatewayID) (fleet.Gateway, error) {
	return fleet.Gateway{ID: id, Tenant: "t"}, nil
}

// TestSlowListenerIsCut: one that does not read holds up nobody, keeps nothing
// growing and is gone after its time.
func TestSlowListenerIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := NewHub(owners{}, slog.New(slog.DiscardHandler), time.Now)
		a := &API{store: emptyLog{}, hub: hub, log: slog.New(slog.DiscardHandler), now: time.Now}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- hub.Run(ctx) }()
		l, err := hub.join(ctx, fleet.Scope{Tenant: "t"})
		if err != nil || l == nil {
			t.Fatal(err)
		}
		began := time.Now()
		cut := make(chan time.Duration, 1)
		go func() {
			defer hub.leave(l)
			a.serve(ctx, &stuck{header: http.Header{}}, l, fleet.Access{}, "0f3c1b2a", 1)
			cut <- time.Since(began)
		}()
		for range 5000 {
			hub.Live("gw-1", []byte(`{}`))
			hub.Live("gw-2", []byte(`{}`))
			hub.Status("gw-3", wire.Status{Online: true})
			hub.Applied(fleet.Applied{Entries: make([]fleet.Entry, 1)})
			synctest.Wait()
		}
		l.mu.Lock()
		owed := len(l.live) + len(l.gateways)
		l.mu.Unlock()
		if owed > 3 {
			t.Errorf("%d messages are owed, want the newest of each gateway", owed)
		}
		if after := <-cut; after > 2*streamWrite {
			t.Errorf("cut after %s, want about %s", after, streamWrite)
		}
		registry := prometheus.NewRegistry()
		registry.MustRegister(hub.cut)
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetMetric()[0].GetCounter().GetValue() != 1 {
			t.Errorf("cut: %v, %v; want 1", families, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if l, err := hub.join(t.Context(), fleet.Scope{Tenant: "t"}); l != nil || err != nil {
			t.Errorf("joined a hub that has ended: %v, %v", l, err)
		}
	})
}

// reader is a listener that reads.
type reader struct{ stuck }

func (r *reader) Write(b []byte) (int, error) { return len(b), nil }

// TestRevokedStreamEnds: a token that is taken away ends its streams soon; one
// that cannot be looked up for a while does not.
func TestRevokedStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer atomic.Value // of what the store says about the token
		say := func(err error) { answer.Store(&err) }
		say(nil)
		hub := NewHub(owners{}, slog.New(slog.DiscardHandler), time.Now)
		a := &API{store: emptyLog{access: func() error { return *answer.Load().(*error) }}, hub: hub, log: slog.New(slog.DiscardHandler), now: time.Now}
		ctx := context.WithValue(t.Context(), secretKey{}, "hash")
		l, err := hub.join(ctx, fleet.Scope{Tenant: "t"})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan time.Time, 1)
		go func() {
			a.serve(ctx, &reader{stuck{header: http.Header{}}}, l, fleet.Access{ID: "a"}, "0f3c1b2a", 1)
			ended <- time.Now()
		}()
		time.Sleep(time.Minute)
		say(os.ErrDeadlineExceeded) // the database is away
		time.Sleep(time.Minute)
		select {
		case at := <-ended:
			t.Fatalf("ended at %s though the token stands", at)
		default:
		}
		revoked := time.Now()
		say(fleet.ErrNotFound)
		if after := (<-ended).Sub(revoked); after > 2*streamPulse {
			t.Errorf("ended after %s, want at most %s", after, 2*streamPulse)
		}
	})
}

func TestMerge(t *testing.T) {
	say := func(gateway string, connectors ...string) LiveMessage {
		m := LiveMessage{Gateway: event.GatewayID(gateway)}
		for _, c := range connectors {
			station, status, _ := strings.Cut(c, " ")
			m.Connectors = append(m.Connectors, wire.LiveConnector{Station: event.StationID(station), EVSE: 1, Connector: 1, Status: event.Status(status)})
		}
		return m
	}
	tests := []struct {
		name                 string
		earlier, later, want LiveMessage
	}{
		{"the first", LiveMessage{}, say("g", "a x"), say("g", "a x")},
		{"nothing newer", say("g", "a x"), LiveMessage{}, say("g", "a x")},
		{"all of them", say("g", "a x", "b x"), say("g", "a y", "b y"), say("g", "a y", "b y")},
		{"some of them", say("g", "a x", "b x"), say("g", "a y"), say("g", "b x", "a y")},
		{"another one", say("g", "a x"), say("g", "b y"), say("g", "a x", "b y")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := merge(tt.earlier, tt.later); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestTooManyListeners(t *testing.T) {
	hub := NewHub(owners{}, slog.New(slog.DiscardHandler), time.Now)
	for i := range maxStreams + 1 {
		l, err := hub.join(t.Context(), fleet.Scope{Tenant: "t"})
		if err != nil || (l != nil) != (i < maxStreams) {
			t.Fatalf("listener %d: %v, %v", i, l, err)
		}
	}
}
