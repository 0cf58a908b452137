package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp"
	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/localauth"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
)

var errRefused = errors.New("token refused")

// reaction lies between the answer to a command and what follows from it. The
// library writes the answer after the handler has returned and tells nobody
// when it is out; without a pause the effect could overtake it.
const reaction = 50 * time.Millisecond

// charger is the charge point with its connectors.
type charger struct {
	opts options
	log  *transcript
	tick context.Context // ends with the program: timers and sessions watch it
	work sync.WaitGroup  // what commands have set going
	done chan struct{}   // capacity 1: a session has ended

	wire sync.RWMutex // read while a call is under way, written while connecting anew

	mu         sync.Mutex
	link       ocpp16.ChargePoint
	connectors []*connector // connector 1 is at index 0
	config     map[string]setting
	profiles   []installed
	list       map[string]localauth.AuthorizationData
	listAt     int
	anchors    []anchor
	heartbeat  time.Duration
}

// connector is guarded by the charger's lock.
type connector struct {
	number      int
	status      core.ChargePointStatus
	inoperative bool
	reservation int // 0 for none
	register    float64
	running     *session
}

// session is a transaction under way.
type session struct {
	transaction int              // 0 until the gateway has given one
	stop        chan core.Reason // capacity 1
	ended       chan struct{}
}

func newCharger(o options, out io.Writer) *charger {
	c := &charger{
		opts:   o,
		log:    &transcript{out: out},
		done:   make(chan struct{}, 1),
		config: settings(o),
		list:   map[string]localauth.AuthorizationData{},
	}
	for n := 1; n <= o.connectors; n++ {
		c.connectors = append(c.connectors, &connector{
			number: n, status: core.ChargePointStatusAvailable, register: float64(o.meterStart),
		})
	}
	return c
}

// run lives through the flags' story and returns the first fault.
func (c *charger) run(ctx context.Context) error {
	tick, cancel := context.WithCancel(ctx)
	defer cancel()
	c.tick = tick
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.boot(); err != nil {
		return errors.Join(err, c.log.fault())
	}
	go c.beat()

	var err error
	switch c.opts.start {
	case "local":
		err = c.charge(c.opts.connector, c.opts.tag, false, noReservation)
	case "remote":
		select {
		case <-c.done:
		case <-tick.Done():
		}
	}
	if err == nil {
		c.pause(c.opts.linger)
	}
	cancel()
	c.work.Wait()
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	link.Stop()
	return errors.Join(err, c.log.fault())
}

// reconnect drops the connection and opens another one.
func (c *charger) reconnect() error {
	c.wire.Lock()
	defer c.wire.Unlock()
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	link.Stop()
	return c.connect()
}

// connect opens a new connection with a new client: the library's clients
// cannot be started again once they are stopped.
func (c *charger) connect() error {
	socket, err := c.opts.socket()
	if err != nil {
		return err
	}
	link := ocpp16.NewChargePoint(c.opts.id, nil, socket)
	link.SetCoreHandler(c)
	link.SetLocalAuthListHandler(c)
	link.SetFirmwareManagementHandler(c)
	link.SetReservationHandler(c)
	link.SetRemoteTriggerHandler(c)
	link.SetSmartChargingHandler(c)
	link.SetSecurityHandler(c)
	link.SetLogHandler(c)
	link.SetExtendedTriggerMessageHandler(c)
	link.SetSecureFirmwareHandler(c)
	link.SetCertificateHandler(c)
	if err := link.Start(c.opts.url); err != nil {
		return fmt.Errorf("connect to %s as %s: %w", c.opts.url, c.opts.id, err)
	}
	c.mu.Lock()
	c.link = link
	c.mu.Unlock()
	return nil
}

// boot repeats the BootNotification until it is accepted, then tells every
// connector's status.
func (c *charger) boot() error {
	for {
		answer, err := c.send(c.bootRequest())
		if err != nil {
			return err
		}
		conf := answer.(*core.BootNotificationConfirmation)
		interval := time.Duration(conf.Interval) * time.Second
		if conf.Status == core.RegistrationStatusAccepted {
			c.mu.Lock()
			c.heartbeat = interval
			c.mu.Unlock()
			break
		}
		if interval == 0 {
			interval = time.Second
		}
		if !c.pause(interval) {
			return fmt.Errorf("boot: last answer was %s", conf.Status)
		}
	}
	if err := c.report(0); err != nil {
		return err
	}
	for n := range c.connectors {
		if err := c.report(n + 1); err != nil {
			return err
		}
	}
	return nil
}

func (c *charger) bootRequest() *core.BootNotificationRequest {
	r := core.NewBootNotificationRequest(c.opts.model, c.opts.vendor)
	r.ChargePointSerialNumber = "SN-0001"
	r.FirmwareVersion = "0.19.0"
	r.MeterType = "three-phase"
	return r
}

// beat sends heartbeats until the program ends.
func (c *charger) beat() {
	for {
		c.mu.Lock()
		every := c.heartbeat
		c.mu.Unlock()
		if every <= 0 {
			every = time.Minute
		}
		if !c.pause(every) {
			return
		}
		c.work.Add(1)
		c.call(core.NewHeartbeatRequest())
		c.work.Done()
	}
}

// send waits for the answer; the library gives up after 30 s.
func (c *charger) send(request ocpp.Request) (ocpp.Response, error) {
	c.wire.RLock()
	defer c.wire.RUnlock()
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	answer, err := link.SendRequest(request)
	c.log.sent(request, answer, err)
	return answer, err
}

// call is send for messages whose answer changes nothing here; a fault is in
// the transcript.
func (c *charger) call(request ocpp.Request) {
	if _, err := c.send(request); err != nil {
		return
	}
}

// report tells the status of a connector; 0 is the charge point itself.
func (c *charger) report(number int) error {
	c.mu.Lock()
	status := core.ChargePointStatusAvailable
	if number > 0 {
		status = c.connectors[number-1].status
	} else if c.allInoperative() {
		status = core.ChargePointStatusUnavailable
	}
	c.mu.Unlock()
	r := core.NewStatusNotificationRequest(number, core.NoError, status)
	r.Timestamp = types.Now()
	_, err := c.send(r)
	return err
}

func (c *charger) allInoperative() bool {
	for _, k := range c.connectors {
		if !k.inoperative {
			return false
		}
	}
	return true
}

// become changes a connector's status and tells it.
func (c *charger) become(number int, status core.ChargePointStatus) error {
	c.mu.Lock()
	c.connectors[number-1].status = status
	c.mu.Unlock()
	return c.report(number)
}

// pause waits; false means that the program is ending.
func (c *charger) pause(d time.Duration) bool {
	if d <= 0 {
		return c.tick.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.tick.Done():
		return false
	}
}

// later does something after the answer to the present command is out.
func (c *charger) later(f func()) {
	c.work.Go(func() {
		if c.pause(reaction) {
			f()
		}
	})
}
