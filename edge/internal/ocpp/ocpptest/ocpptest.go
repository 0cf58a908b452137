// Package ocpptest runs the endpoint for stations against a real site with a
// journal in memory, and plays charging stations on real WebSockets. It is for
// tests and benchmarks.
package ocpptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// Journal keeps everything in memory. It implements site.Journal.
type Journal struct {
	mu     sync.Mutex
	events []event.Draft
	full   bool
	news   chan struct{} // closed and renewed with every change
}

// NewJournal returns an empty Journal.
func NewJournal() *Journal { return &Journal{news: make(chan struct{})} }

// Fill makes the journal refuse everything, or take it again.
func (j *Journal) Fill(full bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full = full
}

func (j *Journal) add(drafts ...event.Draft) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full {
		return fmt.Errorf("%w: the disk is full", site.ErrNotKept)
	}
	j.events = append(j.events, drafts...)
	close(j.news)
	j.news = make(chan struct{})
	return nil
}

// Commit implements site.Journal.
func (j *Journal) Commit(_ context.Context, c site.Change) error { return j.add(c.Events...) }

// AddSamples implements site.Journal.
func (j *Journal) AddSamples(_ context.Context, d event.Draft) error { return j.add(d) }

// Events returns what was kept so far.
func (j *Journal) Events() []event.Draft {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]event.Draft(nil), j.events...)
}

// Wait waits for an event that match accepts.
func (j *Journal) Wait(t testing.TB, what string, match func(event.Draft) bool) event.Draft {
	t.Helper()
	late := time.After(10 * time.Second)
	for from := 0; ; {
		j.mu.Lock()
		events, news := j.events, j.news
		j.mu.Unlock()
		for ; from < len(events); from++ {
			if match(events[from]) {
				return events[from]
			}
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("no event: %s", what)
		}
	}
}

// Clock is the system's, trusted. It implements site.Clock.
type Clock struct{}

// Stamp implements site.Clock.
func (Clock) Stamp() site.Stamp {
	return site.Stamp{Time: time.Now().UTC(), Boot: "test", Clock: event.ClockSynced}
}

// Judge implements site.Clock.
func (Clock) Judge() (time.Time, bool) { return time.Now().UTC(), true }

// Away is a manager out of reach. It implements site.Manager.
type Away struct{}

// AskToken implements site.Manager.
func (Away) AskToken(context.Context, event.Address, event.Token) (site.TokenInfo, error) {
	return site.TokenInfo{}, site.ErrManagerAway
}

// Ask implements site.Manager.
func (Away) Ask(context.Context, event.Address, site.Question) (json.RawMessage, error) {
	return nil, site.ErrManagerAway
}

// Yard is a running endpoint.
type Yard struct {
	Site    *site.Site
	Server  *ocpp.Server
	Journal *Journal
	URL     string // ws://127.0.0.1:port/ocpp
	Stop    func() // ends it; called again, it does nothing
}

// Config returns settings that suit a test.
func Config() ocpp.Config {
	return ocpp.Config{
		Listen: "127.0.0.1:0", AcceptUnknown: true, FrameLimit: 1 << 20,
		Ping: time.Minute, ReadDeadlineMinimum: time.Minute, Heartbeat: time.Minute,
		Timeout: 5 * time.Second, TimeoutsToClose: 3,
	}
}

// Start runs an endpoint until the test ends or Stop is called.
func Start(t testing.TB, cfg ocpp.Config, depot site.Config, log *slog.Logger, dialects ...ocpp.Dialect) *Yard {
	t.Helper()
	return StartWith(t, Away{}, cfg, depot, log, dialects...)
}

// StartWith is Start with a manager that can be asked.
func StartWith(t testing.TB, m site.Manager, cfg ocpp.Config, depot site.Config, log *slog.Logger, dialects ...ocpp.Dialect) *Yard {
	t.Helper()
	if depot.Offline == "" {
		depot.Offline = site.OfflineAll
	}
	y := &Yard{Journal: NewJournal()}
	var err error
	if y.Site, err = site.New(depot, y.Journal, Clock{}, m, nil, log); err != nil {
		t.Fatal(err)
	}
	if y.Server, err = ocpp.New(cfg, y.Site, Clock{}, log, dialects...); err != nil {
		t.Fatal(err)
	}
	atSite, endSite := context.WithCancel(context.Background())
	atServer, endServer := context.WithCancel(context.Background())
	siteDone, serverDone := make(chan error, 1), make(chan error, 1)
	go func() { siteDone <- y.Site.Run(atSite) }()
	go func() { serverDone <- y.Server.Run(atServer) }()
	y.Stop = sync.OnceFunc(func() {
		endServer()
		if err := <-serverDone; err != nil {
			t.Errorf("server: %v", err)
		}
		endSite()
		if err := <-siteDone; err != nil {
			t.Errorf("site: %v", err)
		}
	})
	t.Cleanup(y.Stop)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address := y.Server.Address(ctx)
	if address == nil {
		t.Fatal("the server does not listen")
	}
	y.URL = "ws://" + address.String() + "/ocpp"
	return y
}

// Station is a charging station under the control of a test.
type Station struct {
	t      testing.TB
	ws     *websocket.Conn
	Answer func(action string, payload json.RawMessage) string // to calls of the gateway: a payload, or a CALLERROR code after !

	write   sync.Mutex
	asked   map[string]string      // the action of each call of the station, by id
	answers chan []json.RawMessage // CALLRESULT and CALLERROR
	Calls   chan Call              // of the gateway
	Closed  chan error             // why the connection ended
	next    int
}

// Call is a CALL of the gateway.
type Call struct {
	ID, Action string
	Payload    json.RawMessage
}

// Dial connects as the station that url ends with. The answer of a failed
// handshake is returned.
func Dial(ctx context.Context, url string, header http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: 10 * time.Second}
	return d.DialContext(ctx, url, header)
}

// Connect connects a station that answers with answer, or with {} when it is nil.
func (y *Yard) Connect(t testing.TB, id string, answer func(action string, payload json.RawMessage) string) *Station {
	t.Helper()
	return y.ConnectAs(t, "ocpp1.6", id, answer)
}

// ConnectAs is Connect for a protocol: ocpp2.0.1.
func (y *Yard) ConnectAs(t testing.TB, protocol, id string, answer func(action string, payload json.RawMessage) string) *Station {
	t.Helper()
	ws, response, err := Dial(t.Context(), y.URL+"/"+id, nil, protocol)
	if err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return Play(t, ws, answer)
}

// Play plays a station on an open connection.
func Play(t testing.TB, ws *websocket.Conn, answer func(action string, payload json.RawMessage) string) *Station {
	s := &Station{t: t, ws: ws, Answer: answer, asked: map[string]string{},
		answers: make(chan []json.RawMessage, 64), Calls: make(chan Call, 64), Closed: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read()
	}()
	t.Cleanup(func() {
		s.Drop()
		<-done
	})
	return s
}

func (s *Station) read() {
	for {
		_, data, err := s.ws.ReadMessage()
		if err != nil {
			s.Closed <- err
			return
		}
		var frame []json.RawMessage
		if err := json.Unmarshal(data, &frame); err != nil || len(frame) < 3 {
			s.t.Errorf("the gateway sent %s", data)
			return
		}
		s.check(data, text(frame[1]))
		if string(frame[0]) != "2" {
			s.answers <- frame
			continue
		}
		c := Call{ID: text(frame[1]), Action: text(frame[2]), Payload: frame[3]}
		answer := "{}"
		if s.Answer != nil {
			answer = s.Answer(c.Action, c.Payload)
		}
		select {
		case s.Calls <- c:
		default:
		}
		switch code, isError := strings.CutPrefix(answer, "!"); {
		case answer == "": // none
		case isError:
			s.Send(fmt.Sprintf(`[4,%q,%q,"",{}]`, c.ID, code))
		default:
			s.Send(fmt.Sprintf(`[3,%q,%s]`, c.ID, answer))
		}
	}
}

// check holds a frame of the gateway with that id against the rules of the version.
func (s *Station) check(data []byte, id string) {
	s.write.Lock()
	asked := s.asked[id]
	s.write.Unlock()
	if err := CheckFrame(s.ws.Subprotocol(), data, asked); err != nil {
		s.t.Errorf("the gateway sent %s: %v", data, err)
	}
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	return s
}

// Send sends one text frame as it is.
func (s *Station) Send(frame string) { s.SendAs(websocket.TextMessage, []byte(frame)) }

// SendAs sends one frame of a kind.
func (s *Station) SendAs(kind int, frame []byte) {
	s.write.Lock()
	defer s.write.Unlock()
	if f, err := ocppj.Parse(frame); err == nil && f.Type == ocppj.Call {
		s.asked[f.ID] = f.Action
	}
	if err := s.ws.WriteMessage(kind, frame); err != nil {
		s.t.Logf("send: %v", err)
	}
}

// Drop breaks the connection.
func (s *Station) Drop() {
	if err := s.ws.Close(); err != nil {
		s.t.Logf("close: %v", err)
	}
}

// ErrNoAnswer says that the gateway did not answer.
var ErrNoAnswer = errors.New("no answer")

// Next returns the next answer of the gateway: its whole frame as text.
func (s *Station) Next() (string, error) {
	select {
	case frame := <-s.answers:
		b, err := json.Marshal(frame)
		return string(b), err
	case err := <-s.Closed:
		s.Closed <- err
		return "", err
	case <-time.After(10 * time.Second):
		return "", ErrNoAnswer
	}
}

// Call sends a CALL and returns the payload of its CALLRESULT, or the code of its
// CALLERROR after an exclamation mark.
func (s *Station) Call(action, payload string) string {
	s.t.Helper()
	s.next++
	s.Send(fmt.Sprintf(`[2,"m%d",%q,%s]`, s.next, action, payload))
	answer, err := s.Next()
	if err != nil {
		s.t.Fatalf("%s: %v", action, err)
	}
	var frame []json.RawMessage
	if err := json.Unmarshal([]byte(answer), &frame); err != nil {
		s.t.Fatal(err)
	}
	if text(frame[1]) != fmt.Sprintf("m%d", s.next) {
		s.t.Fatalf("%s: answered %s", action, answer)
	}
	if string(frame[0]) == "4" {
		return "!" + text(frame[2])
	}
	return string(frame[2])
}

// Boot sends a BootNotification and fails unless it is accepted.
func (s *Station) Boot() {
	s.t.Helper()
	if answer := s.Call("BootNotification", `{"chargePointVendor":"Acme","chargePointModel":"Wall"}`); !strings.Contains(answer, `"Accepted"`) {
		s.t.Fatalf("boot was answered %s", answer)
	}
}
