package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
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
	conn        *socket
	next        int64
	meter       int64
	transaction int64
	spent       []time.Duration
	buf         []byte // the frame being made
	want        []byte // how its answer begins
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

func (f *fleet) dial(ctx context.Context, id string) (*charger, error) {
	conn, err := open(ctx, f.url+"/"+id)
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", id, err)
	}
	c := &charger{fleet: f, id: id, conn: conn, meter: 1000}
	c.begin("BootNotification")
	c.add(`{"chargePointVendor":"bench","chargePointModel":"bench"}`)
	_, err = c.call()
	if err == nil {
		err = status("Available")(c) // or it would be asked for later
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
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

// begin begins a CALL; its payload is added to it.
func (c *charger) begin(action string) {
	c.next++
	c.buf = append(c.buf[:0], make([]byte, maskRoom)...)
	c.add(`[2,"`)
	from := len(c.buf)
	c.add(c.id)
	c.add("-")
	c.addInt(c.next)
	c.want = append(append(append(c.want[:0], `[3,"`...), c.buf[from:]...), `",`...)
	c.add(`","`)
	c.add(action)
	c.add(`",`)
}

func (c *charger) add(text string) { c.buf = append(c.buf, text...) }
func (c *charger) addInt(n int64)  { c.buf = strconv.AppendInt(c.buf, n, 10) }
func (c *charger) addNow()         { c.buf = time.Now().UTC().AppendFormat(c.buf, "2006-01-02T15:04:05.000Z") }
func (c *charger) addStatus(status string) {
	c.add(`{"connectorId":1,"errorCode":"NoError","status":"`)
	c.add(status)
	c.add(`","timestamp":"`)
	c.addNow()
	c.add(`"}`)
}

// call sends the CALL and reads until its answer comes; calls of the server are
// answered with an error, as a station without any optional profile does.
func (c *charger) call() ([]byte, error) {
	c.add("]")
	sent := time.Now()
	if err := c.conn.send(opText, c.buf); err != nil {
		return nil, err
	}
	for {
		answer, err := c.conn.receive()
		if err != nil {
			return nil, fmt.Errorf("%s: no answer to %s: %w", c.id, c.buf[maskRoom:], err)
		}
		if bytes.HasPrefix(answer, []byte("[2,")) {
			fields := bytes.SplitN(answer, []byte(`"`), 3)
			refusal := append(make([]byte, maskRoom), `[4,"`+string(fields[1])+`","NotImplemented","",{}]`...)
			if err := c.conn.send(opText, refusal); err != nil {
				return nil, err
			}
			continue
		}
		c.spent = append(c.spent, time.Since(sent))
		if !bytes.HasPrefix(answer, c.want) && !bytes.HasPrefix(bytes.ReplaceAll(answer, []byte(" "), nil), c.want) {
			return nil, fmt.Errorf("%s: %s was answered with %s", c.id, c.buf[maskRoom:], answer)
		}
		c.fleet.calls.Add(1)
		return answer, nil
	}
}

// steps are the 19 calls of one charging session.
var steps = []func(c *charger) error{
	status("Preparing"), authorize, start, status("Charging"),
	values, values, values, values, values, values, values, values, values, values,
	status("Finishing"), stop, status("Available"), heartbeat, heartbeat,
}

func status(word string) func(c *charger) error {
	return func(c *charger) error {
		c.begin("StatusNotification")
		c.addStatus(word)
		_, err := c.call()
		return err
	}
}

func authorize(c *charger) error {
	c.begin("Authorize")
	c.add(`{"idTag":"BENCH001"}`)
	return c.accepted()
}

// accepted makes a call whose answer must say so.
func (c *charger) accepted() error {
	answer, err := c.call()
	if err == nil && !bytes.Contains(answer, []byte(`"Accepted"`)) {
		err = fmt.Errorf("%s: %s was answered with %s", c.id, c.buf[maskRoom:], answer)
	}
	return err
}

func start(c *charger) error {
	c.begin("StartTransaction")
	c.add(`{"connectorId":1,"idTag":"BENCH001","meterStart":`)
	c.addInt(c.meter)
	c.add(`,"timestamp":"`)
	c.addNow()
	c.add(`"}`)
	sent := time.Now()
	answer, err := c.call()
	if err != nil {
		return err
	}
	if c.transaction, err = number(answer, `"transactionId":`); err != nil {
		return err
	}
	if !bytes.Contains(answer, []byte(`"Accepted"`)) {
		return fmt.Errorf("%s: start was answered with %s", c.id, answer)
	}
	if c.fleet.onStart != nil {
		c.fleet.onStart(c.id, c.transaction, sent)
	}
	return nil
}

func values(c *charger) error {
	c.meter += 5 // so that its energy does not contradict its power
	c.begin("MeterValues")
	c.add(`{"connectorId":1,"transactionId":`)
	c.addInt(c.transaction)
	c.add(`,"meterValue":[{"timestamp":"`)
	c.addNow()
	c.add(`","sampledValue":[{"value":"`)
	c.addInt(c.meter)
	c.add(`","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"},` +
		`{"value":"11040.0","context":"Sample.Periodic","measurand":"Power.Active.Import","unit":"W"},` +
		`{"value":"16.01","context":"Sample.Periodic","measurand":"Current.Import","phase":"L1","unit":"A"},` +
		`{"value":"15.98","context":"Sample.Periodic","measurand":"Current.Import","phase":"L2","unit":"A"},` +
		`{"value":"16.02","context":"Sample.Periodic","measurand":"Current.Import","phase":"L3","unit":"A"},` +
		`{"value":"230.1","context":"Sample.Periodic","measurand":"Voltage","phase":"L1-N","unit":"V"},` +
		`{"value":"229.8","context":"Sample.Periodic","measurand":"Voltage","phase":"L2-N","unit":"V"},` +
		`{"value":"231.0","context":"Sample.Periodic","measurand":"Voltage","phase":"L3-N","unit":"V"},` +
		`{"value":"16.0","context":"Sample.Periodic","measurand":"Current.Offered","unit":"A"},` +
		`{"value":"41","context":"Sample.Periodic","measurand":"SoC","unit":"Percent","location":"EV"}]}]}`)
	_, err := c.call()
	return err
}

func stop(c *charger) error {
	c.begin("StopTransaction")
	c.add(`{"transactionId":`)
	c.addInt(c.transaction)
	c.add(`,"idTag":"BENCH001","meterStop":`)
	c.addInt(c.meter)
	c.add(`,"timestamp":"`)
	c.addNow()
	c.add(`","reason":"Local"}`)
	return c.accepted()
}

func heartbeat(c *charger) error {
	c.begin("Heartbeat")
	c.add("{}")
	_, err := c.call()
	return err
}

// session makes the calls of one charging session, or fewer when ctx ends.
func (c *charger) session(ctx context.Context) error {
	for _, step := range steps {
		if ctx.Err() != nil {
			return nil
		}
		began := time.Now()
		if err := step(c); err != nil {
			return err
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
