package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

const (
	// inboxSize bounds what may wait for one station: a mad one slows itself.
	inboxSize = 16
	// retryAfter is when something that could not be kept is tried again.
	retryAfter = 5 * time.Second
	// wallCheck is how often deadlines of the wall clock are looked at, because
	// that clock may jump.
	wallCheck = time.Minute
	// busyWithin is the time between two messages of a station that is worth a
	// goroutine to itself.
	busyWithin = time.Second
	// restEvery is how often the goroutines of stations that were busy are let go.
	restEvery = 15 * time.Second
)

// Station is one station of the site. Every method except Post, Heard and ID is
// to be called on its goroutine, inside a function given to Post, and returns
// only after what it decided is durable. An error that wraps ErrNotKept means
// that nothing was kept: the device must not get an answer.
type Station struct {
	id   event.StationID
	site *Site

	once        sync.Once
	inbox       chan func()
	posted      atomic.Int64 // posts not done, and 1 for the goroutine; 0: there is none
	heard       atomic.Int64 // Unix nanoseconds of the last frame; 0: never
	transaction atomic.Int64 // highest number given or seen; raised from other goroutines
	live        liveBook

	// Everything below belongs to the station's goroutine.

	served  time.Time // monotonic: when the goroutine last had something to do
	timer   *time.Timer
	wakeAt  time.Time // monotonic; zero: no timer is set
	device  Device    // nil: not connected
	conn    Connection
	info    ConnectionInfo
	since   time.Time // monotonic: when the connection came
	request int       // highest number given to an order

	boot       BootReport
	booted     bool      // boot data is known, of this connection or an earlier one
	bootedConn bool      // a boot came over this connection
	registered string    // as the answer to it said
	checkAt    time.Time // monotonic: when to ask for status, or to call it unknown; zero: settled
	refreshed  bool      // it was asked since checkAt was set
	relearn    bool      // connectors that stay silent until checkAt are gone
	connectors []connector
	registers  []register
	folds      []fold
	link       linkFold
	unsaid     []event.Draft

	open  []*session // running sessions, in the order of their starts
	ended []*session // what is remembered of past ones, oldest first

	signing []signing                     // requests for certificates that are being signed
	chains  []event.SignCertificateParams // to be handed to the device

	commands     []*command // not final, in the order they came
	current      *command   // told to the device and not answered yet
	reservations []reservation
	limits       []limit
	standing     standing
}

func newStation(s *Site, id event.StationID) *Station {
	return &Station{id: id, site: s}
}

// ID is the identity of the station.
func (st *Station) ID() event.StationID { return st.id }

// logger is made when it is needed: most stations have nothing to say.
func (st *Station) logger() *slog.Logger { return st.site.log.With("station", string(st.id)) }

// Post hands f to the station's goroutine and returns once there is room for it,
// not when it is done. It returns ctx's error, or ErrStopped. What is posted in
// the very moment in which the site stops may never run. It must not be called on
// that goroutine.
func (st *Station) Post(ctx context.Context, f func()) error {
	if !st.begin() {
		return ErrStopped
	}
	st.attend()
	err := st.offer(f)
	if errors.Is(err, ErrBusy) {
		select {
		case st.inbox <- f:
			return nil
		case <-st.site.done:
			err = ErrStopped
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		st.posted.Add(-1)
	}
	return err
}

// TryPost is Post for callers that may not wait: it returns ErrBusy when there
// is no room.
func (st *Station) TryPost(f func()) error {
	if !st.begin() {
		return ErrStopped
	}
	st.attend()
	err := st.offer(f)
	if err != nil {
		st.posted.Add(-1)
	}
	return err
}

// offer puts f into the inbox if there is room. A function that cannot wait costs
// less than one that can.
func (st *Station) offer(f func()) error {
	select {
	case <-st.site.done:
		return ErrStopped
	default:
	}
	select {
	case st.inbox <- f:
		return nil
	default:
		return ErrBusy
	}
}

// begin makes the inbox on first use.
func (st *Station) begin() bool {
	st.once.Do(func() {
		st.site.mu.Lock()
		defer st.site.mu.Unlock()
		if st.site.stopped {
			return
		}
		st.inbox = make(chan func(), inboxSize)
		st.site.running.Add(1)
	})
	return st.inbox != nil
}

// attend announces a post, and starts the goroutine if there is none.
func (st *Station) attend() {
	if st.posted.Add(1) == 1 {
		st.posted.Add(1) // the goroutine itself
		go st.run()
	}
}

// rest lets the goroutine go of a station that has become quiet: its stack is
// what an idle station holds most. The next post starts another one.
func (st *Station) rest() {
	if st.posted.Load() != 1 {
		return
	}
	st.attend()
	if st.offer(nil) != nil {
		st.posted.Add(-1)
	}
}

// stop has the goroutine of a station that has begun end for good. Nothing is
// posted any more.
func (st *Station) stop() {
	st.attend()
	st.inbox <- nil
}

// run is the station's goroutine. It stays while the station has much to say.
func (st *Station) run() {
	for {
		f := <-st.inbox
		leave := f == nil
		if !leave {
			now := time.Now()
			leave = now.Sub(st.served) > busyWithin
			st.served = now
			st.guard(f)
		}
		st.posted.Add(-1)
		if f == nil {
			select {
			case <-st.site.done:
				st.last()
				return
			default:
			}
		}
		if leave && st.posted.CompareAndSwap(1, 0) { // nobody has announced anything
			return
		}
	}
}

// last does what is posted still, and what is to be done when the site stops.
func (st *Station) last() {
	defer st.site.running.Done()
	for {
		select {
		case f := <-st.inbox:
			if f != nil {
				st.guard(f)
			}
			continue
		default:
		}
		break
	}
	st.guard(st.finish)
}

// guard runs f so that its panic costs this station its connection and nobody
// else anything.
func (st *Station) guard(f func()) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		st.logger().Error("handler panicked, closing the connection", "panic", v, "stack", string(debug.Stack()))
		st.site.Alarm(context.Background(), event.GatewayAlarm{Alarm: "station_fault", Severity: "warning", Text: fmt.Sprintf(
			"a message of station %q could not be handled and its connection was closed: please report the log", st.id)})
		if st.device != nil && st.id != "" {
			defer func() {
				if v := recover(); v != nil {
					st.logger().Error("device panicked while closing", "panic", v)
				}
			}()
			st.device.Close("internal error")
		}
	}()
	f()
}

// finish runs last, when the site stops.
func (st *Station) finish() {
	if st.timer != nil {
		st.timer.Stop()
	}
	st.tellLink(time.Now(), true)
	st.tellFolds(time.Now(), true)
}

// commit makes c durable. The site outlives whoever asked: no context ends it.
func (st *Station) commit(c Change) error {
	return st.site.journal.Commit(context.Background(), c)
}

// at is the address of a place of this station.
func (st *Station) at(evse, connector int) event.Address {
	return event.Address{Station: st.id, EVSE: evse, Connector: connector}
}

// Heard notes that the device sent something, whatever it was. It may be called
// on any goroutine.
func (st *Station) Heard() { st.heard.Store(time.Now().UnixNano()) }

// Heartbeat notes a heartbeat, and returns the gateway's time to answer with.
func (st *Station) Heartbeat() (time.Time, error) {
	err := st.observe(fact{kind: factHeartbeat})
	return st.site.clock.Stamp().Time, err
}

// Connected says that a device has connected and was authenticated. The newest
// connection wins: an older one is closed.
func (st *Station) Connected(d Device, info ConnectionInfo) (Connection, error) {
	stamp := st.site.clock.Stamp()
	var c Change
	quiet := st.link.quiet(time.Now(), st.site.cfg.Fold)
	if !quiet {
		if st.device != nil {
			c.Events = append(c.Events, draft(stamp, st.at(0, 0), stamp.Time, st.disconnection(0, "replaced by a newer connection")))
		}
		c.Events = append(c.Events, draft(stamp, st.at(0, 0), stamp.Time, info.event()))
	}
	hits := st.effects(fact{kind: factConnected, profile: info.SecurityProfile, word: info.Certificate})
	st.addEffects(&c, hits, stamp)
	if len(c.Events) > 0 {
		if err := st.commit(c); err != nil {
			return 0, err
		}
	}
	st.link.came(quiet)
	st.applyEffects(hits)
	if old := st.device; old != nil {
		if quiet {
			st.link.went(st.disconnection(0, "replaced by a newer connection"))
		}
		st.deviceGone()
		old.Close("replaced by a newer connection")
	}
	st.device, st.info, st.since = d, info, time.Now()
	st.conn++
	st.bootedConn, st.refreshed, st.relearn = false, false, false
	for i := range st.connectors {
		c := &st.connectors[i]
		c.told = false
		if !c.freeSince.IsZero() {
			st.grace(c) // for what it has queued
		}
	}
	st.expectStatus(st.site.cfg.RefreshAfter)
	st.askLater()
	if quiet {
		st.wake(st.link.until)
	}
	st.Heard()
	st.showLink()
	st.returned()
	return st.conn, nil
}

// Disconnected says that connection c has ended, with its close code. The end of
// a connection that was replaced is old news. It is told even if it cannot be
// kept now: nobody repeats it for us.
func (st *Station) Disconnected(c Connection, code int, reason string) error {
	if c != st.conn || st.device == nil {
		return nil
	}
	stamp := st.site.clock.Stamp()
	down := st.disconnection(code, reason)
	quiet := st.link.quiet(time.Now(), st.site.cfg.Fold)
	st.deviceGone()
	st.device = nil
	st.checkAt, st.relearn = time.Time{}, false
	st.showLink()
	if quiet {
		st.link.went(down)
		st.wake(st.link.until)
		return nil
	}
	st.link.came(false)
	d := draft(stamp, st.at(0, 0), stamp.Time, down)
	if err := st.commit(Change{Events: []event.Draft{d}}); err != nil {
		st.saySoon(d)
		return err
	}
	return nil
}

func (st *Station) disconnection(code int, reason string) *event.StationDisconnected {
	return &event.StationDisconnected{
		Code: code, Reason: reason,
		DurationS:    int64(time.Since(st.since) / time.Second),
		OpenSessions: len(st.open),
	}
}

func (i ConnectionInfo) event() *event.StationConnected {
	return &event.StationConnected{Protocol: i.Protocol, Remote: i.Remote, SecurityProfile: i.SecurityProfile}
}

// maxUnsaid bounds the events of one station that could not be kept and that no
// device repeats.
const maxUnsaid = 8

// saySoon keeps an event for another try.
func (st *Station) saySoon(d event.Draft) {
	if len(st.unsaid) < maxUnsaid {
		st.unsaid = append(st.unsaid, d)
	}
	st.wake(time.Now().Add(retryAfter))
}

// sayUnsaid tries again what could not be kept.
func (st *Station) sayUnsaid(now time.Time) {
	if len(st.unsaid) == 0 {
		return
	}
	if err := st.commit(Change{Events: st.unsaid}); err != nil {
		st.wake(now.Add(retryAfter))
		return
	}
	st.unsaid = nil
}

// Booted says that the station started, or says so (some repeat it for ever).
// Running sessions go on: their stops will come.
func (st *Station) Booted(r BootReport) (Registration, error) {
	stamp := st.site.clock.Stamp()
	ev := &event.StationBooted{
		Protocol: st.info.Protocol, Vendor: r.Vendor, Model: r.Model, Serial: r.Serial, Firmware: r.Firmware,
		ICCID: r.ICCID, IMSI: r.IMSI, MeterType: r.MeterType, MeterSerial: r.MeterSerial,
		Reason: r.Reason, Registration: st.Registration(),
	}
	key := hash("booted", r.Vendor, r.Model, r.Serial, r.Firmware, r.ICCID, r.IMSI, r.MeterType, r.MeterSerial, r.Reason, ev.Registration)
	var c Change
	if !st.repeated(key, 1, st.at(0, 0), ev) {
		c.Events = append(c.Events, draft(stamp, st.at(0, 0), stamp.Time, ev))
	}
	if !st.booted || r != st.boot {
		c.Put = append(c.Put, st.stationRecord(r, st.connectors))
	}
	hits := st.effects(fact{kind: factBooted})
	st.addEffects(&c, hits, stamp)
	if len(c.Events)+len(c.Put) > 0 {
		if err := st.commit(c); err != nil {
			st.forgetFold(key)
			return Registration{}, err
		}
	}
	st.applyEffects(hits)
	again := st.bootedConn && r == st.boot && ev.Registration == st.registered // some never stop saying it
	st.boot, st.booted, st.bootedConn, st.registered = r, true, true, ev.Registration
	if !again {
		// The topology is learned anew: the same identity may be other hardware.
		st.relearn, st.refreshed = true, false
		for i := range st.connectors {
			st.connectors[i].told = false
		}
		st.expectStatus(st.site.cfg.RefreshAfter)
		st.showLink()
		st.askLater()
		st.forgetLimits()
		st.restand()
		st.lookAgain()
	}
	out := Registration{Status: ev.Registration, Interval: st.site.cfg.Heartbeat, Time: stamp.Time}
	if out.Status != RegistrationAccepted {
		out.Interval = bootAgain
	}
	return out, nil
}

// bootAgain is when a station that was not accepted says again that it started.
// OCPP 2.0.1 B02.FR.08, B03.FR.06.
const bootAgain = time.Minute

// forgetFold undoes a first mention that could not be kept.
func (st *Station) forgetFold(key uint64) {
	for i := range st.folds {
		if f := &st.folds[i]; f.key == key && f.more == 0 {
			st.folds = append(st.folds[:i], st.folds[i+1:]...)
			return
		}
	}
}

// wake makes sure that tick runs at the given monotonic time.
func (st *Station) wake(at time.Time) {
	if at.IsZero() || (!st.wakeAt.IsZero() && !at.Before(st.wakeAt)) {
		return
	}
	st.wakeAt = at
	wait := max(time.Until(at), 0)
	if st.timer != nil {
		st.timer.Reset(wait)
		return
	}
	st.timer = time.AfterFunc(wait, func() {
		// only the end of the site can keep it from being posted
		if err := st.Post(context.Background(), st.tick); err != nil {
			return
		}
	})
}

// tick does what has become due and sets the timer for what comes next.
func (st *Station) tick() {
	now := time.Now()
	st.wakeAt = time.Time{}
	st.sayUnsaid(now)
	st.tellLink(now, false)
	st.tellFolds(now, false)
	st.checkStatus(now)
	st.askTransactions(now)
	st.inferEnds(now)
	st.endReservations()
	st.endLimits()
	st.watchCommands(now)

	var next time.Time
	sooner := func(t time.Time) { // what is past waits for something else
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(st.checkAt)
	sooner(st.standing.retryAt)
	if st.link.more > 0 {
		sooner(st.link.until)
	}
	for i := range st.folds {
		if f := &st.folds[i]; f.more > 0 {
			sooner(f.until)
		}
	}
	for i := range st.connectors {
		sooner(st.connectors[i].inferAt)
	}
	for _, s := range st.open {
		sooner(s.askAt)
		sooner(s.goneAt)
	}
	for _, c := range st.commands {
		sooner(c.deadline)
		sooner(c.lookAt)
		sooner(c.retryAt)
		if c.phase == phaseWaiting {
			sooner(st.wallDeadline(c.cmd.Expires))
		}
	}
	for i := range st.reservations {
		sooner(st.wallDeadline(st.reservations[i].Until))
	}
	for i := range st.limits {
		sooner(st.wallDeadline(st.limits[i].Until))
	}
	st.wake(next)
}

// wallDeadline turns a time of the wall clock into a monotonic one to wake at;
// never far away, because that clock may be set.
func (st *Station) wallDeadline(t time.Time) time.Time {
	wait := min(max(t.Sub(st.site.now()), time.Second), wallCheck)
	return time.Now().Add(wait)
}

// resume takes up what an earlier start of the gateway left.
func (st *Station) resume() {
	st.restarted()
	st.tick()
}
