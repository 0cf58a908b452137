package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
)

// Bounds of one group: more wait for the next commit.
const (
	maxGroupEvents = 1024
	maxGroupBytes  = 1 << 20
)

// request is one caller that waits for a commit.
type request struct {
	tails  [][]byte
	bytes  int
	put    []site.Record
	delete []site.Key
	// job runs alone, in the writer's goroutine, instead of the above.
	job  func() error
	done chan error // of one element, so that the writer never waits
}

func newRequest() *request { return &request{done: make(chan error, 1)} }

// request returns one that was released, or a new one.
func (o *Outbox) request() *request {
	if r, ok := o.requests.Get().(*request); ok {
		return r
	}
	return newRequest()
}

// release takes back r, which nobody waits for any more and no queue holds.
func (o *Outbox) release(r *request) {
	clear(r.tails)
	*r = request{tails: r.tails[:0], done: r.done}
	o.requests.Put(r)
}

func (r *request) add(tail []byte) {
	r.tails = append(r.tails, tail)
	r.bytes += len(tail)
}

// queue holds the requests that no commit has taken yet. Its length is bounded
// by the number of callers, each of which waits.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	wake    chan struct{} // has a token when waiting is not empty or closed
}

func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errClosed
	}
	q.waiting = append(q.waiting, r)
	if len(q.waiting) == 1 {
		q.signal()
	}
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// withdraw takes r back and tells whether it was still waiting.
func (q *queue) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w == r {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// take moves the next group to the end of group, or returns a job. It returns
// neither when the queue is empty; closed then tells whether it will stay so.
func (q *queue) take(group []*request) (_ []*request, job *request, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, events, bytes := 0, 0, 0
	for _, r := range q.waiting {
		if r.job != nil {
			break
		}
		if n > 0 && (events+len(r.tails) > maxGroupEvents || bytes+r.bytes > maxGroupBytes) {
			break
		}
		events += len(r.tails)
		bytes += r.bytes
		n++
	}
	if n == 0 && len(q.waiting) > 0 {
		job, n = q.waiting[0], 1
	} else {
		group = append(group, q.waiting[:n]...)
	}
	left := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[left:])
	q.waiting = q.waiting[:left]
	return group, job, q.closed && n == 0
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// submit hands r to the writer and waits for its commit.
func (l *Lane) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.queue.put(r); err != nil {
		return err
	}
	if ctx.Done() == nil {
		return <-r.done
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		if l.queue.withdraw(r) {
			return ctx.Err()
		}
		return <-r.done // the commit is under way, and short
	}
}

// kick makes the writer commit what it finds, without waiting for it.
func (l *Lane) kick() {
	_ = l.queue.put(newRequest()) // closed: the writer commits once more on its way out
}

// do runs job in the writer's goroutine and waits for it.
func (l *Lane) do(ctx context.Context, job func() error) error {
	r := newRequest()
	r.job = job
	return l.submit(ctx, r)
}

func (l *Lane) start() { go l.write() }

// stop waits until everything in the queue is answered.
func (l *Lane) stop() {
	l.queue.close()
	<-l.done
}

// write is the lane's writer: it alone writes the file. It commits at once when
// it is idle; a group grows only while a commit is under way.
func (l *Lane) write() {
	defer close(l.done)
	var group []*request
	for {
		var job *request
		var closed bool
		group, job, closed = l.queue.take(group[:0])
		switch {
		case job != nil:
			job.done <- l.runJob(job.job)
		case len(group) > 0:
			err := l.commitGroup(group)
			for _, r := range group {
				r.done <- err
			}
			clear(group)
			// Callers that were just answered and have more to say get into the
			// next group, not the one after it: half as many syncs.
			runtime.Gosched()
		case closed:
			l.lastCommit()
			return
		default:
			<-l.queue.wake
		}
	}
}

// lastCommit keeps what nobody waits for: samples, alarms, positions.
func (l *Lane) lastCommit() {
	l.mu.Lock()
	l.positioned = time.Time{}
	l.mu.Unlock()
	if err := l.commitGroup(nil); err != nil {
		l.log.Error("last commit failed", "err", err)
	}
}

// runJob runs job, and once more when it can be helped.
func (l *Lane) runJob(job func() error) error {
	err := job()
	if err != nil && l.mend(err) {
		err = job()
	}
	return err
}

// commitGroup makes a group durable or returns why nothing of it was kept.
func (l *Lane) commitGroup(group []*request) error {
	start := time.Now()
	staged, err := l.stage(group)
	if err == nil {
		err = l.commitStaged(staged)
	}
	for try := 0; err != nil && try < maxMends && l.mend(err); try++ {
		staged.restart()
		err = l.commitStaged(staged)
	}
	if err != nil {
		staged.giveBack()
		l.stuck(err)
		return err
	}
	l.committed(staged)
	stats := l.o.stats.lane(l.name)
	stats.commits.Add(1)
	stats.committed.Add(int64(staged.events))
	stats.commitNanos.Add(int64(time.Since(start)))
	return nil
}

// maxMends bounds how often one commit is tried anew: the ballast, delivered
// rows and a fresh file may each help once.
const maxMends = 4

// mend does what can be done about err and tells whether to try again. It runs
// in the writer's goroutine, outside a transaction.
func (l *Lane) mend(err error) bool {
	switch {
	case l.isSpace(err):
		return l.makeRoom()
	case faultOf(err) == faultDamaged:
		return l.replace(err) == nil
	}
	return false
}

// isSpace tells whether err is for lack of space. On a full disk SQLite calls it
// an I/O error at times: the file is not to blame for that.
func (l *Lane) isSpace(err error) bool {
	switch faultOf(err) {
	case faultFull:
		return true
	case faultDamaged:
		if errors.Is(err, errDamaged) {
			return false
		}
		free, known := freeBytes(l.o.cfg.Dir)
		return known && free < lowBytes && isIO(err)
	}
	return false
}

// stuck says once that nothing can be kept any more.
func (l *Lane) stuck(err error) {
	l.mu.Lock()
	first := !l.full
	l.full = true
	l.mu.Unlock()
	if !first {
		return
	}
	l.log.Error("nothing can be kept", "err", err)
	meaning := "what arrives is not confirmed to chargers"
	if l.name == event.LaneSamples {
		meaning = "samples are lost and counted"
	}
	l.o.alarms.raise(l.fullAlarm(), "critical", fmt.Sprintf(
		"%s.db cannot be written, %s until that is over: %v; free space in %s or restore the connection to the manager",
		l.name, meaning, err, l.o.cfg.Dir))
}

// fullAlarm is the word of the alarm that the lane's file takes no more.
func (l *Lane) fullAlarm() string {
	if l.name == event.LaneSamples {
		return "samples_full"
	}
	return "disk_full"
}

// isFull tells whether the last commit found no space.
func (l *Lane) isFull() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}

// staged is a group on its way into the file.
type staged struct {
	lane      *Lane
	group     []*request
	alarms    []alarm
	tails     [][]byte
	events    int
	stream    *stream    // that numbers tails
	positions []position // that become durable with it
	samples   *flush     // of the samples lane
}

// position is how far the manager has committed a stream.
type position struct {
	stream  *stream
	settled uint64
}

// stage gathers what goes into one transaction.
func (l *Lane) stage(group []*request) (s *staged, err error) {
	s = &staged{lane: l, group: group}
	n := 0
	for _, r := range group {
		n += len(r.tails)
	}
	s.tails = make([][]byte, 0, n+1)
	for _, r := range group {
		s.tails = append(s.tails, r.tails...)
	}
	switch l.name {
	case event.LaneEvents:
		s.alarms = l.o.alarms.take()
		for _, a := range s.alarms {
			s.tails = append(s.tails, a.tail)
		}
	case event.LaneSamples:
		l.mu.Lock()
		waited := l.awaited && l.looseRows == 0
		l.mu.Unlock()
		s.samples = l.o.sampler.stage(waited)
		s.tails, err = s.samples.tails()
	}
	s.events = len(s.tails)
	return s, err
}

// restart prepares another attempt after a failure.
func (s *staged) restart() {
	if s.samples != nil {
		s.samples.restart()
	}
}

// giveBack undoes stage after the last attempt.
func (s *staged) giveBack() {
	s.lane.o.alarms.giveBack(s.alarms)
	if s.samples != nil {
		s.lane.o.sampler.giveBack(s.samples)
	}
}

// empty tells whether there is nothing to write.
func (s *staged) empty() bool {
	if len(s.tails) > 0 || s.samples != nil && !s.samples.empty() {
		return false
	}
	for _, r := range s.group {
		if len(r.put) > 0 || len(r.delete) > 0 {
			return false
		}
	}
	return true
}

func (l *Lane) commitStaged(s *staged) error {
	l.mu.Lock()
	suspected := l.suspected
	s.stream = l.current()
	s.positions = l.movedPositions()
	l.mu.Unlock()
	if suspected != nil {
		return fmt.Errorf("%w: %w", errDamaged, suspected)
	}
	if l.db == nil {
		return fmt.Errorf("%w: %s is not open", errDamaged, l.path)
	}
	if s.empty() && len(s.positions) == 0 {
		return nil
	}
	err := l.db.transact(func(ctx context.Context) error {
		if err := l.writeStaged(ctx, s); err != nil {
			return err
		}
		if l.name == event.LaneEvents {
			seam.Hit("edge.outbox.before-commit")
		}
		return nil
	})
	switch {
	case err != nil:
	case l.name == event.LaneEvents:
		seam.Hit("edge.outbox.after-commit")
	case len(s.tails) > 0:
		seam.Hit("edge.samples.after-number")
	}
	return err
}

func (l *Lane) writeStaged(ctx context.Context, s *staged) error {
	if len(s.tails) > 0 {
		if err := l.writeRows(ctx, s.stream, s.stream.last+1, s.tails); err != nil {
			return err
		}
	}
	for _, r := range s.group {
		if err := l.o.records.write(ctx, l.db, r.put, r.delete); err != nil {
			return err
		}
	}
	if s.samples != nil {
		if err := s.samples.write(ctx, l); err != nil {
			return err
		}
	}
	return l.writePositions(ctx, s.positions)
}

// writeRows numbers tails from first on. The row of a stream is stored with its
// first event.
func (l *Lane) writeRows(ctx context.Context, st *stream, first uint64, tails [][]byte) error {
	if !st.stored {
		if _, err := l.db.insertStream.ExecContext(ctx, st.ordinal, st.id); err != nil {
			return fmt.Errorf("store stream: %w", err)
		}
		if _, err := l.db.copyStream.ExecContext(ctx, st.ordinal, st.id); err != nil {
			return fmt.Errorf("store stream: %w", err)
		}
	}
	args := make([]any, 0, 3*insertSizes[0])
	for i, n := range insertSizes {
		for len(tails) >= n {
			args = args[:0]
			for _, tail := range tails[:n] {
				args = append(args, rowKey(st.ordinal, first), checksum(st.id, first, tail), tail)
				first++
			}
			if _, err := l.db.insertRows[i].ExecContext(ctx, args...); err != nil {
				return fmt.Errorf("store events: %w", err)
			}
			tails = tails[n:]
		}
	}
	return nil
}

// movedPositions lists the positions that are newer than the file, when it is
// time to store them. The caller holds mu.
func (l *Lane) movedPositions() []position {
	if !l.settledDirty || time.Since(l.positioned) < positionsApart {
		return nil
	}
	var moved []position
	for _, s := range l.streams {
		if s.settled != s.settledStored && s.stored {
			moved = append(moved, position{s, s.settled})
		}
	}
	return moved
}

// writePositions stores positions with the hour in which they were reached, for
// retention. They are not worth a commit of their own: they travel with others.
func (l *Lane) writePositions(ctx context.Context, positions []position) error {
	hour := hourOf(l.o.stamp().Time)
	for _, p := range positions {
		_, err := l.db.setSettled.ExecContext(ctx, int64(p.settled), p.stream.ordinal)
		if err == nil {
			_, err = l.db.setMark.ExecContext(ctx, p.stream.ordinal, hour, int64(p.settled))
		}
		if err != nil {
			return fmt.Errorf("store position: %w", err)
		}
	}
	return nil
}

// committed takes over into memory what is now in the file.
func (l *Lane) committed(s *staged) {
	if len(s.group) > 0 {
		l.o.records.apply(s.group)
	}
	l.mu.Lock()
	if len(s.tails) > 0 {
		l.numbered(s.stream, s.tails)
	}
	for _, p := range s.positions {
		p.stream.settledStored = p.settled
		l.positioned = time.Now()
	}
	l.settledDirty = slices.ContainsFunc(l.streams, func(s *stream) bool { return s.settled != s.settledStored })
	recovered := l.full
	l.full = false
	l.mu.Unlock()
	if s.samples != nil {
		l.o.sampler.flushed(s.samples)
		l.addLoose(s.samples.newRows)
	}
	if recovered && !s.empty() {
		l.log.Info("events are kept again")
		l.o.alarms.clear(l.fullAlarm())
	}
	l.poke()
}

// numbered takes committed rows of st into memory. The caller holds mu.
func (l *Lane) numbered(st *stream, tails [][]byte) {
	st.stored = true
	first := st.last + 1
	st.last += uint64(len(tails))
	if st == l.current() {
		l.ring.push(first, tails)
	}
}

func (l *Lane) addLoose(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looseRows += n
}

// closeFile closes the file, if it is open.
func (l *Lane) closeFile() error {
	if l == nil {
		return nil
	}
	l.file.Lock()
	defer l.file.Unlock()
	if l.db == nil {
		return nil
	}
	err := l.db.close()
	l.db = nil
	if err != nil {
		return fmt.Errorf("close %s: %w", l.path, err)
	}
	return nil
}
