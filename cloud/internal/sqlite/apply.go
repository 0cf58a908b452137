package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/seam"
	"github.com/chargeyard/chargeyard/shared/wire"
)

// keptLetters is how many dead letters of a gateway are kept, the newest.
const keptLetters = 1000

// groupEvents is the number of events from which a commit takes in no further
// batch.
const groupEvents = 2000

// queue groups batches that come while another is being committed into one
// commit. Whoever finds nobody at work does the work.
type queue struct {
	mu      sync.Mutex
	waiting []*job
	busy    bool
}

// job is one batch on its way into the database.
type job struct {
	batch   fleet.Batch
	in      []fleet.Incoming
	applied fleet.Applied
	err     error
	done    chan struct{}
}

// Apply implements fleet.Ingest.
func (s *Store) Apply(ctx context.Context, b fleet.Batch) (fleet.Applied, error) {
	if err := ctx.Err(); err != nil {
		return fleet.Applied{}, err
	}
	j := &job{batch: b, in: fleet.Read(&b), done: make(chan struct{})}
	s.queue.mu.Lock()
	s.queue.waiting = append(s.queue.waiting, j)
	lead := !s.queue.busy
	s.queue.busy = true
	s.queue.mu.Unlock()
	if lead {
		s.work(ctx)
	}
	<-j.done // whoever works finishes every job, soon
	return j.applied, j.err
}

// work commits what waits, group by group, until nothing does.
func (s *Store) work(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // the others' batches are among them
	for {
		s.queue.mu.Lock()
		group, events := s.queue.waiting, 0
		for i, j := range group {
			if events += len(j.in); events >= groupEvents {
				group = group[:i+1]
				break
			}
		}
		s.queue.waiting = s.queue.waiting[len(group):]
		s.queue.busy = len(group) > 0
		s.queue.mu.Unlock()
		if len(group) == 0 {
			return
		}
		s.commit(ctx, group)
	}
}

// commit applies a group, in one transaction if it can be: where one batch
// spoils it for the others, each goes alone.
func (s *Store) commit(ctx context.Context, group []*job) {
	err := s.tryCommit(ctx, group)
	if err != nil && len(group) > 1 {
		for _, j := range group {
			s.commit(ctx, []*job{j})
		}
		return
	}
	for _, j := range group {
		if err != nil {
			j.applied, j.err = fleet.Applied{}, err
		}
		close(j.done)
	}
}

// tryCommit applies a group in one transaction. A gateway that nobody has added
// fails its own batch only.
func (s *Store) tryCommit(ctx context.Context, group []*job) error {
	return s.tx(ctx, func(t *tx) error {
		unit, err := s.unit(t)
		if err != nil {
			return err
		}
		position, err := t.head()
		if err != nil {
			return err
		}
		log := newLogWriter(t, position)
		for _, j := range group {
			j.applied, j.err = fleet.Applied{}, nil
			err := s.apply(t, unit, log, j)
			if errors.Is(err, fleet.ErrNotFound) {
				j.err = err
				continue
			}
			if err != nil {
				return fmt.Errorf("apply %s of %s: %w", j.batch.Stream, j.batch.Gateway, err)
			}
		}
		if err := unit.Flush(); err != nil {
			return fmt.Errorf("projections: %w", err)
		}
		unit.Rest()
		if err := log.flush(); err != nil {
			return fmt.Errorf("log: %w", err)
		}
		seam.Hit("cloud.ingest.before-commit")
		return nil
	})
}

func (s *Store) apply(t *tx, unit *fleet.Unit, log *logWriter, j *job) error {
	b := &j.batch
	from, err := t.origin(b.Gateway)
	if err != nil {
		return err
	}
	st, err := t.stream(from, b.Lane, b.Stream)
	if err != nil {
		return err
	}
	was := st.position
	j.applied.Entries = make([]fleet.Entry, 0, len(j.in))
	log.begin(from, st, len(j.in))
	for i := range j.in {
		in := &j.in[i]
		id := in.ID
		if id.Stream != b.Stream {
			return fmt.Errorf("event %q is none of stream %s", b.Events[i].ID, b.Stream) // wire.ParseBatch lets none through
		}
		if id.Sequence <= st.position {
			continue
		}
		if id.Sequence > st.position+1 {
			if err := s.cross(t, st, id.Sequence-1); err != nil {
				return err
			}
			if id.Sequence > st.position+1 {
				break // the gateway says hello again, and declares it or sends it
			}
		}
		err = unit.Project(from, log.position+1, in)
		if errors.Is(err, fleet.ErrSenseless) {
			err = s.bury(t, from, j, i, err)
		} else if err == nil {
			j.applied.Entries = append(j.applied.Entries, log.add(in))
		}
		if err != nil {
			return err
		}
		st.position = id.Sequence
	}
	j.applied.Position = st.position
	if st.position == was && st.id != 0 {
		return nil
	}
	return t.putStream(st)
}

// bury keeps an event that makes no sense as a dead letter.
func (s *Store) bury(t *tx, from fleet.Origin, j *job, i int, why error) error {
	payload, err := json.Marshal(&j.batch.Events[i])
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	return t.putLetter(from, fleet.DeadLetter{
		Gateway: from.Gateway, Topic: wire.Topic(from.Gateway, wire.KindUp, string(j.batch.Lane)),
		Event: j.batch.Events[i].ID, Reason: why.Error(), Payload: payload, Received: s.now(),
	})
}

// stream is a row of streams.
type stream struct {
	id       int64 // 0: not stored yet
	from     fleet.Origin
	lane     event.Lane
	stream   string
	position uint64
	oldest   uint64
	next     uint64
	missing  [][2]uint64
}

func (t *tx) origin(g event.GatewayID) (fleet.Origin, error) {
	from := fleet.Origin{Gateway: g}
	ok, err := t.one(`SELECT tenant FROM gateways WHERE id = ?`, []any{g}, &from.Tenant)
	if err == nil && !ok {
		err = fmt.Errorf("gateway %s: %w", g, fleet.ErrNotFound)
	}
	return from, err
}

// stream returns the row of a stream; one that is new has position 0, and its
// id once it is stored.
func (t *tx) stream(from fleet.Origin, lane event.Lane, name string) (*stream, error) {
	st := &stream{from: from, lane: lane, stream: name, oldest: 1}
	var missing string
	ok, err := t.one(`SELECT id, position, oldest, next, missing FROM streams WHERE gateway = ? AND lane = ? AND stream = ?`,
		[]any{from.Gateway, lane, name}, &st.id, &st.position, &st.oldest, &st.next, &missing)
	if err != nil {
		return nil, err
	}
	if ok {
		return st, json.Unmarshal([]byte(missing), &st.missing)
	}
	return st, t.putStream(st)
}

func (t *tx) putStream(st *stream) error {
	if st.missing == nil {
		st.missing = [][2]uint64{}
	}
	missing, err := json.Marshal(st.missing)
	if err != nil {
		return err
	}
	_, err = t.one(`INSERT INTO streams (tenant, gateway, lane, stream, position, oldest, next, missing) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (gateway, lane, stream) DO UPDATE SET position = excluded.position, oldest = excluded.oldest,
			next = excluded.next, missing = excluded.missing RETURNING id`,
		[]any{st.from.Tenant, st.from.Gateway, st.lane, st.stream, st.position, st.oldest, st.next, string(missing)}, &st.id)
	return err
}

// cross moves st over the numbers up to end that its gateway no longer has, and
// records the loss. It stops before the first that may still come.
func (s *Store) cross(t *tx, st *stream, end uint64) error {
	for st.position < end {
		first, last, reason := st.position+1, uint64(0), ""
		if first < st.oldest {
			last, reason = min(end, st.oldest-1), "expired"
		} else if i := slices.IndexFunc(st.missing, func(m [2]uint64) bool { return m[0] <= first && first <= m[1] }); i >= 0 {
			last, reason = min(end, st.missing[i][1]), "declared"
		} else {
			return nil
		}
		_, err := t.exec(`INSERT INTO losses (tenant, gateway, lane, stream, first, last, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			st.from.Tenant, st.from.Gateway, st.lane, st.stream, first, last, reason, s.now().UnixMilli())
		if err != nil {
			return err
		}
		s.log.Error("events are lost", "gateway", st.from.Gateway, "lane", st.lane, "stream", st.stream, "first", first, "last", last, "reason", reason)
		st.position = last
	}
	return nil
}

// Hello implements fleet.Ingest. Numbers that the gateway says are lost are
// crossed at once, so that a stream may end in them.
func (s *Store) Hello(ctx context.Context, g event.GatewayID, h fleet.HelloFacts) (map[event.Lane]map[string]uint64, error) {
	positions := map[event.Lane]map[string]uint64{}
	var unknown error
	err := s.tx(ctx, func(t *tx) error {
		from, err := t.origin(g)
		if errors.Is(err, fleet.ErrNotFound) {
			unknown = err
			return t.knock(g, h)
		}
		if err != nil {
			return err
		}
		for _, told := range h.Streams {
			st, err := t.stream(from, told.Lane, told.Stream)
			if err != nil {
				return err
			}
			st.oldest, st.next, st.missing = told.Oldest, told.Next, told.Missing
			if told.Next > 0 {
				if err := s.cross(t, st, told.Next-1); err != nil {
					return err
				}
			}
			if err := t.putStream(st); err != nil {
				return err
			}
			if positions[told.Lane] == nil {
				positions[told.Lane] = map[string]uint64{}
			}
			positions[told.Lane][told.Stream] = st.position
		}
		_, err = t.exec(`INSERT INTO connections (gateway, tenant, online, boot, connection, at, version, clock) VALUES (?, ?, 1, ?, ?, ?, ?, ?)
			ON CONFLICT (gateway) DO UPDATE SET at = CASE WHEN online = 1 AND connection = excluded.connection THEN at ELSE excluded.at END,
				online = 1, boot = excluded.boot, connection = excluded.connection, version = excluded.version, clock = excluded.clock`,
			g, from.Tenant, h.Boot, h.Connection, h.At.UnixMilli(), h.Version, h.Clock)
		return err
	})
	if err == nil {
		err = unknown
	}
	if err != nil {
		return nil, fmt.Errorf("hello of %s: %w", g, err)
	}
	return positions, nil
}

// keptKnocks bounds the unknown gateways that are remembered.
const keptKnocks = 100

func (t *tx) knock(g event.GatewayID, h fleet.HelloFacts) error {
	_, err := t.exec(`INSERT INTO knocking (gateway, version, boot, at) VALUES (?, ?, ?, ?)
		ON CONFLICT (gateway) DO UPDATE SET version = excluded.version, boot = excluded.boot, at = excluded.at`,
		g, h.Version, h.Boot, h.At.UnixMilli())
	if err != nil {
		return err
	}
	_, err = t.exec(`DELETE FROM knocking WHERE gateway IN (SELECT gateway FROM knocking ORDER BY at DESC, gateway LIMIT -1 OFFSET ?)`, keptKnocks)
	return err
}

// putLetter keeps d and forgets the oldest beyond what is kept of one gateway.
func (t *tx) putLetter(from fleet.Origin, d fleet.DeadLetter) error {
	if d.Payload == nil {
		d.Payload = []byte{}
	}
	d.Payload = d.Payload[:min(len(d.Payload), event.MaxSize)]
	_, err := t.exec(`INSERT INTO dead_letters (tenant, gateway, topic, event, reason, payload, received) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		from.Tenant, from.Gateway, d.Topic, d.Event, d.Reason, d.Payload, d.Received.UnixMilli())
	if err != nil {
		return err
	}
	_, err = t.exec(`DELETE FROM dead_letters WHERE gateway = ?1 AND id <= (
		SELECT id FROM dead_letters WHERE gateway = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`, from.Gateway, keptLetters)
	return err
}
