package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// A fleet is a number of bare charge points: WebSocket connections that live
// through charging sessions of 19 calls, ten of them meter readings of ten
// samples each, mean call 0.8 kB. Every answer is checked.
type fleet struct {
	url      string
	count    int
	prefix   string
	pace     time.Duration // between two calls of one charger; 0: as fast as the server answers
	spent    []time.Duration
	mu       sync.Mutex
	calls    atomic.Int64
	failures atomic.Int64
	failure  atomic.Pointer[error]
	onStart  func(station string, transaction int64, sent time.Time)
}

// charger is one connection.
type charger struct {
	fleet       *fleet
	id          string
	conn        *websocket.Conn
	next        int
	meter       int64
	transaction int64
	spent       []time.Duration
	buf         []byte
}

// connect opens all connections and boots the chargers. workers connections are
// opened at a time.
func (f *fleet) connect(ctx context.Context) ([]*charger, error) {
	all := make([]*charger, f.count)
	var wg sync.WaitGroup
	errs := make([]error, f.count)
	gate := make(chan struct{}, 64)
	for i := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			gate <- struct{}{}
			defer func() { <-gate }()
			all[i], errs[i] = f.dial(ctx, fmt.Sprintf("%s%05d", f.prefix, i))
		}()
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

var dialer = websocket.Dialer{Subprotocols: []string{"ocpp1.6"}, HandshakeTimeout: 30 * time.Second, ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{}}

func (f *fleet) dial(ctx context.Context, id string) (*charger, error) {
	conn, resp, err := dialer.DialContext(ctx, f.url+"/"+id, http.Header{})
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", id, err)
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	c := &charger{fleet: f, id: id, conn: conn, meter: 1000}
	if _, err := c.call("BootNotification", `{"chargePointVendor":"bench","chargePointModel":"bench"}`); err != nil {
		return nil, err
	}
	return c, nil
}

func closeAll(all []*charger) {
	for _, c := range all {
		if c != nil {
			_ = c.conn.Close() // the measurement is over
		}
	}
}

// call sends one CALL and reads until its answer comes; calls of the server are
// answered with an error, as a station without any optional profile does.
func (c *charger) call(action, payload string) ([]byte, error) {
	c.next++
	id := c.id + "-" + strconv.Itoa(c.next)
	c.buf = append(append(append(append(append(append(append(c.buf[:0], `[2,"`...), id...), `","`...), action...), `",`...), payload...), ']')
	sent := time.Now()
	if err := c.conn.WriteMessage(websocket.TextMessage, c.buf); err != nil {
		return nil, err
	}
	if err := c.conn.SetReadDeadline(sent.Add(60 * time.Second)); err != nil {
		return nil, err
	}
	want := []byte(`[3,"` + id + `",`)
	for {
		_, answer, err := c.conn.ReadMessage()
		if err != nil {
			return nil, fmt.Errorf("%s: no answer to %s: %w", c.id, action, err)
		}
		if bytes.HasPrefix(answer, []byte("[2,")) {
			fields := bytes.SplitN(answer, []byte(`"`), 3)
			if err := c.conn.WriteMessage(websocket.TextMessage, []byte(`[4,"`+string(fields[1])+`","NotImplemented","",{}]`)); err != nil {
				return nil, err
			}
			continue
		}
		c.spent = append(c.spent, time.Since(sent))
		c.fleet.calls.Add(1)
		if !bytes.HasPrefix(bytes.ReplaceAll(answer, []byte(" "), nil), want) {
			return nil, fmt.Errorf("%s: %s was answered with %s", c.id, action, answer)
		}
		return answer, nil
	}
}

// session is the 19 calls of one charging session.
func (c *charger) session(ctx context.Context) error {
	status := func(s string) [2]string {
		return [2]string{"StatusNotification", `{"connectorId":1,"errorCode":"NoError","status":"` + s + `","timestamp":"` + now() + `"}`}
	}
	steps := [][2]string{status("Preparing"), {"Authorize", `{"idTag":"BENCH001"}`}, {"StartTransaction", ""}, status("Charging")}
	for range 10 {
		steps = append(steps, [2]string{"MeterValues", ""})
	}
	steps = append(steps, status("Finishing"), [2]string{"StopTransaction", ""}, status("Available"), [2]string{"Heartbeat", "{}"}, [2]string{"Heartbeat", "{}"})
	for _, s := range steps {
		if ctx.Err() != nil {
			return nil
		}
		began := time.Now()
		switch s[0] {
		case "StartTransaction":
			answer, err := c.call(s[0], fmt.Sprintf(`{"connectorId":1,"idTag":"BENCH001","meterStart":%d,"timestamp":"%s"}`, c.meter, now()))
			if err != nil {
				return err
			}
			if c.transaction, err = number(answer, `"transactionId":`); err != nil {
				return err
			}
			if !bytes.Contains(answer, []byte("Accepted")) {
				return fmt.Errorf("%s: start was answered with %s", c.id, answer)
			}
			if c.fleet.onStart != nil {
				c.fleet.onStart(c.id, c.transaction, began)
			}
		case "MeterValues":
			c.meter += 50
			if _, err := c.call(s[0], c.meterValues()); err != nil {
				return err
			}
		case "StopTransaction":
			if _, err := c.call(s[0], fmt.Sprintf(`{"transactionId":%d,"idTag":"BENCH001","meterStop":%d,"timestamp":"%s","reason":"Local"}`, c.transaction, c.meter, now())); err != nil {
				return err
			}
		default:
			if _, err := c.call(s[0], s[1]); err != nil {
				return err
			}
		}
		if rest := c.fleet.pace - time.Since(began); c.fleet.pace > 0 && rest > 0 {
			t := time.NewTimer(rest)
			select {
			case <-ctx.Done():
				t.Stop()
				return nil
			case <-t.C:
			}
		}
	}
	return nil
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

func (c *charger) meterValues() string {
	return fmt.Sprintf(`{"connectorId":1,"transactionId":%d,"meterValue":[{"timestamp":"%s","sampledValue":[`+
		`{"value":"%d","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"},`+
		`{"value":"11040.0","context":"Sample.Periodic","measurand":"Power.Active.Import","unit":"W"},`+
		`{"value":"16.01","context":"Sample.Periodic","measurand":"Current.Import","phase":"L1","unit":"A"},`+
		`{"value":"15.98","context":"Sample.Periodic","measurand":"Current.Import","phase":"L2","unit":"A"},`+
		`{"value":"16.02","context":"Sample.Periodic","measurand":"Current.Import","phase":"L3","unit":"A"},`+
		`{"value":"230.1","context":"Sample.Periodic","measurand":"Voltage","phase":"L1-N","unit":"V"},`+
		`{"value":"229.8","context":"Sample.Periodic","measurand":"Voltage","phase":"L2-N","unit":"V"},`+
		`{"value":"231.0","context":"Sample.Periodic","measurand":"Voltage","phase":"L3-N","unit":"V"},`+
		`{"value":"16.0","context":"Sample.Periodic","measurand":"Current.Offered","unit":"A"},`+
		`{"value":"41","context":"Sample.Periodic","measurand":"SoC","unit":"Percent","location":"EV"}]}]}`, c.transaction, now(), c.meter)
}

// number reads the integer that follows key.
func number(b []byte, key string) (int64, error) {
	_, rest, ok := bytes.Cut(b, []byte(key))
	end := bytes.IndexAny(rest, ",}")
	if !ok || end < 0 {
		return 0, fmt.Errorf("expected %s in %s", key, b)
	}
	return strconv.ParseInt(string(bytes.TrimSpace(rest[:end])), 10, 64)
}

// charge lets all chargers live through sessions until ctx ends.
func (f *fleet) charge(ctx context.Context, all []*charger) error {
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if f.pace > 0 { // spread the chargers over one pace
				t := time.NewTimer(f.pace * time.Duration(i) / time.Duration(len(all)))
				select {
				case <-ctx.Done():
				case <-t.C:
				}
				t.Stop()
			}
			for ctx.Err() == nil {
				if err := c.session(ctx); err != nil && ctx.Err() == nil {
					f.failures.Add(1)
					f.failure.CompareAndSwap(nil, &err)
					return
				}
			}
		}()
	}
	wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range all {
		f.spent = append(f.spent, c.spent...)
		c.spent = c.spent[:0]
	}
	if e := f.failure.Load(); e != nil {
		return fmt.Errorf("%d chargers failed, the first: %w", f.failures.Load(), *e)
	}
	return nil
}

// quantile of the answer times so far; forgets them.
func (f *fleet) quantile(q float64) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.spent) == 0 {
		return 0
	}
	slices.Sort(f.spent)
	d := f.spent[int(float64(len(f.spent)-1)*q)]
	f.spent = f.spent[:0]
	return d
}
