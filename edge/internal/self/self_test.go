package self

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/ocpptest"
	"github.com/chargeyard/chargeyard/edge/internal/recorder"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// far is the manager's end: it keeps what was brought, and fails as it is told.
type far struct {
	mu     sync.Mutex
	file   []byte
	cut    int // how much of the first pieces it takes
	cuts   int // of how many
	status int // that it always answers
	asked  int
	digest string
	done   bool
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status != 0 {
		http.Error(w, "no", f.status)
		return
	}
	w.Header().Set("Upload-Offset", fmt.Sprint(len(f.file)))
	if strings.HasPrefix(r.Header.Get("Content-Range"), "bytes */") {
		f.asked++
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	var start, last, total int
	if _, scan := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &start, &last, &total); err != nil || scan != nil || r.Method != http.MethodPut {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	if start != len(f.file) || last-start+1 != len(body) {
		http.Error(w, "not from there", http.StatusConflict)
		return
	}
	if f.cuts > 0 {
		f.cuts--
		f.file = append(f.file, body[:min(f.cut, len(body))]...)
		w.Header().Set("Upload-Offset", fmt.Sprint(len(f.file)))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	f.file = append(f.file, body...)
	f.digest, f.done = r.Header.Get("Repr-Digest"), len(f.file) == total
	w.WriteHeader(http.StatusCreated)
}

// gateway runs a site with its self.
func gateway(t *testing.T, cfg Config) (*site.Site, *ocpptest.Journal, chan struct{}) {
	t.Helper()
	cfg.Clock, cfg.Retry = ocpptest.Clock{}, time.Millisecond
	s, err := New(cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	j := ocpptest.NewJournal()
	depot, err := site.New(site.Config{Self: s}, j, ocpptest.Clock{}, ocpptest.Away{}, nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	restarted := make(chan struct{}, 1)
	s.Bind(depot.Station(""), func() { restarted <- struct{}{} })
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, run := range []func(context.Context) error{depot.Run, s.Run} {
		work.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	return depot, j, restarted
}

func command(t *testing.T, depot *site.Site, j *ocpptest.Journal, kind event.CommandType, params any, expires time.Duration) *event.CommandUpdated {
	t.Helper()
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	if err := depot.Execute(t.Context(), event.Command{ID: "c1", Type: kind, Params: raw, Expires: time.Now().Add(expires)}); err != nil {
		t.Fatal(err)
	}
	d := j.Wait(t, "outcome", func(d event.Draft) bool {
		u, ok := d.Data.(*event.CommandUpdated)
		return ok && (u.State.Final() || u.State == event.StateAccepted)
	})
	return d.Data.(*event.CommandUpdated)
}

func tape() *recorder.Recorder {
	r := recorder.New(recorder.Config{})
	for i := range 100 {
		r.Record("CP-1", true, time.Now(), fmt.Appendf(nil, `[2,"%d","ChangeConfiguration",{"key":"AuthorizationKey","value":"secret"}]`, i))
	}
	return r
}

func TestRecord(t *testing.T) {
	tests := []struct {
		name    string
		far     *far
		station event.StationID
		from    time.Duration // from now
		url     string
		expires time.Duration
		state   event.CommandState
		reason  string
		asked   int
	}{
		{name: "at once", station: "CP-1", state: event.StateSucceeded},
		{name: "cut off twice", station: "CP-1", far: &far{cuts: 2, cut: 1000}, state: event.StateSucceeded, asked: 2},
		{name: "cut off before the first byte", station: "CP-1", far: &far{cuts: 1}, state: event.StateSucceeded, asked: 1},
		{name: "nobody there", station: "CP-1", url: "http://127.0.0.1:1/files/secret", expires: time.Second, state: event.StateFailed, reason: "attempts"},
		{name: "no longer wanted", station: "CP-1", far: &far{status: http.StatusGone}, state: event.StateFailed, reason: "410"},
		{name: "nothing recorded", station: "CP-2", state: event.StateFailed, reason: "holds nothing"},
		{name: "nothing from then", station: "CP-1", from: time.Hour, state: event.StateFailed, reason: "holds nothing"},
		{name: "no address", station: "CP-1", url: "ftp://x/", state: event.StateRejected, reason: "https://"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.far == nil {
				tt.far = &far{}
			}
			web := httptest.NewServer(tt.far)
			defer web.Close()
			depot, j, _ := gateway(t, Config{Frames: tape()})
			p := event.RecordParams{Station: tt.station, URL: tt.url}
			if p.URL == "" {
				p.URL = web.URL + "/files/secret"
			}
			if tt.from != 0 {
				p.From = time.Now().Add(tt.from)
			}
			if tt.expires == 0 {
				tt.expires = time.Minute
			}
			got := command(t, depot, j, event.CommandRecord, p, tt.expires)
			if got.State != tt.state || !strings.Contains(got.Reason, tt.reason) {
				t.Fatalf("%s (%s), want %s (%s)", got.State, got.Reason, tt.state, tt.reason)
			}
			if strings.Contains(got.Reason, "/files/") {
				t.Errorf("the reason tells the address: %s", got.Reason)
			}
			if tt.state != event.StateSucceeded {
				return
			}
			var result recorded
			if err := json.Unmarshal(got.Result, &result); err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(tt.far.file)
			if result.Frames != 100 || result.Bytes != len(tt.far.file) || result.SHA256 != hex.EncodeToString(sum[:]) || !tt.far.done || tt.far.asked != tt.asked {
				t.Errorf("result %+v, %d bytes brought, asked %d times", result, len(tt.far.file), tt.far.asked)
			}
			if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; tt.far.digest != want {
				t.Errorf("digest %s, want %s", tt.far.digest, want)
			}
			if bytes.Contains(tt.far.file, []byte("secret")) || bytes.Count(tt.far.file, []byte("\n")) != 100 {
				t.Errorf("brought %.300s", tt.far.file)
			}
		})
	}
}

func TestOthers(t *testing.T) {
	t.Run("restart", func(t *testing.T) {
		depot, j, restarted := gateway(t, Config{})
		if got := command(t, depot, j, event.CommandRestart, event.RestartParams{}, time.Minute); got.State != event.StateAccepted {
			t.Errorf("%s: %s", got.State, got.Reason)
		}
		<-restarted
	})
	t.Run("no recorder", func(t *testing.T) {
		depot, j, _ := gateway(t, Config{})
		if got := command(t, depot, j, event.CommandRecord, event.RecordParams{Station: "CP-1", URL: "https://h/"}, time.Minute); got.State != event.StateUnsupported {
			t.Errorf("%s: %s", got.State, got.Reason)
		}
	})
	t.Run("after a start", func(t *testing.T) {
		s, err := New(Config{Clock: ocpptest.Clock{}}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		depot, _, _ := gateway(t, Config{})
		s.Bind(depot.Station(""), nil)
		for kind, want := range map[event.CommandType]event.CommandState{
			event.CommandRestart: event.StateSucceeded, event.CommandRecord: event.StateFailed, event.CommandBundle: event.StateIndeterminate,
		} {
			told := make(chan site.Outcome, 1)
			s.Look(site.Order{Command: event.Command{Type: kind}}, func(o site.Outcome) { told <- o })
			if o := <-told; o.State != want {
				t.Errorf("%s: %s, want %s", kind, o.State, want)
			}
		}
		s.Refresh(nil)
		s.Close("")
	})
	t.Run("CA file", func(t *testing.T) {
		if _, err := New(Config{CAFile: "nowhere.pem"}, quiet); err == nil {
			t.Error("a file that is not there was taken")
		}
		if _, err := New(Config{CAFile: "self.go"}, quiet); err == nil {
			t.Error("a file without certificates was taken")
		}
	})
}
