package site

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// FuzzRestore: whatever a damaged file yields, the gateway starts and serves.
func FuzzRestore(f *testing.F) {
	for _, s := range []string{
		`{"t":"5","e":1,"c":1,"k":12,"s":"2026-11-22T06:00:00Z","m":10,"g":true}`, `{"t":7,"r":2}`, `41`,
		`{"c":{"id":"a","type":"stop","station":"CP1","expires":"2026-11-22T07:00:00Z"},"p":1}`,
		`{"b":{"Vendor":"A"},"p":[[0,0],[1,1]]}`, `{"o":{"type":"rfid","value":"A"},"d":"accepted","u":"2026-11-22T07:00:00Z"}`,
		`{"n":1,"e":1,"u":"2026-11-22T07:00:00Z"}`, `{"e":1,"a":6.5,"u":"2026-11-22T07:00:00Z"}`,
	} {
		for kind := range byte(8) {
			f.Add(kind, "id", []byte(s))
		}
	}
	kinds := []Kind{kindStation, kindCounter, kindFloor, kindSession, kindCommand, kindToken, kindReservation, kindLimit}
	f.Fuzz(func(t *testing.T, kind byte, id string, value []byte) {
		r := Record{Key: Key{Kind: kinds[int(kind)%len(kinds)], Station: "CP1", ID: id}, Value: value}
		clock := &manualClock{now: base}
		s, err := New(Config{}, nowhere{}, clock, &fakeManager{away: true}, []Record{r}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		m := model{site: s, done: make(chan error, 1)}
		ctx, cancel := context.WithCancel(context.Background())
		m.stop = cancel
		go func() { m.done <- s.Run(ctx) }()
		defer func() {
			if err := m.shutdown(); err != nil {
				t.Error(err)
			}
		}()
		err = m.at(func(st *Station) error {
			wh := int64(5)
			_, connected := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp1.6"})
			_, started := st.Start(StartReport{EVSE: 1, Connector: 1, Token: card("A"), MeterWh: &wh, Time: said(base)})
			_, stopped := st.Stop(StopReport{Transaction: "5", MeterWh: &wh, Time: said(base.Add(time.Minute))})
			st.tick()
			return errors.Join(connected, started, stopped)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// What the gateway itself is told has numbers too; they make no station.
func TestCounterOfTheGateway(t *testing.T) {
	restored := []Record{record(Key{Kind: kindCounter}, counterState{0, 7})}
	s, err := New(Config{}, nowhere{}, &manualClock{now: base}, &fakeManager{away: true}, restored, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if all := s.Stations(); len(all) != 0 {
		t.Errorf("stations %+v, want none", all)
	}
	if s.self.request != 7 {
		t.Errorf("the next request of the gateway's own follows %d, want 7", s.self.request)
	}
}
