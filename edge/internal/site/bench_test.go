package site

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

// nowhere takes everything and keeps nothing: what is measured is the domain.
type nowhere struct{}

func (nowhere) Commit(context.Context, Change) error          { return nil }
func (nowhere) AddSamples(context.Context, event.Draft) error { return nil }

// BenchmarkSession is a charging session of 19 calls, as make bench plays it,
// without transport, decoding and disk. One operation is one call.
func BenchmarkSession(b *testing.B) {
	clock := &manualClock{now: base}
	s, err := New(Config{Offline: OfflineAll}, nowhere{}, clock, &fakeManager{away: true}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	st := s.Station("CP1")
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	_, err = st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp1.6", Remote: "10.0.0.1:1"})
	must(err)
	defer func() {
		if st.timer != nil {
			st.timer.Stop()
		}
	}()
	b.ReportAllocs()
	calls, meter := 0, int64(0)
	status := func(v event.Status) {
		must(st.Status(StatusReport{EVSE: 1, Connector: 1, Status: v}))
		calls++
	}
	for calls < b.N {
		token := card(fmt.Sprint("T", calls))
		clock.now = clock.now.Add(time.Minute)
		status(event.StatusPreparing)
		_, err := st.Authorize(token)
		must(err)
		out, err := st.Start(StartReport{EVSE: 1, Connector: 1, Token: token, MeterWh: &meter, Time: said(clock.now)})
		must(err)
		calls += 2
		status(event.StatusCharging)
		tx := fmt.Sprint(out.Transaction)
		for range 10 {
			clock.now, meter = clock.now.Add(time.Minute), meter+100
			wh, w := meter, 11000.0
			samples := make([]event.Sample, 10)
			for i := range samples {
				samples[i] = event.Sample{Time: clock.now, EnergyWh: &wh, PowerW: &w}
			}
			must(st.Meter(MeterReport{EVSE: 1, Connector: 1, Transaction: &tx, Samples: samples}))
			calls++
		}
		status(event.StatusSuspendedEV)
		status(event.StatusFinishing)
		wh := meter
		_, err = st.Stop(StopReport{Transaction: tx, MeterWh: &wh, Time: said(clock.now), Token: &token})
		must(err)
		status(event.StatusAvailable)
		calls += 2
	}
}
