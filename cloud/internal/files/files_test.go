package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chargeyard/chargeyard/cloud/internal/files"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/cloud/internal/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a manager's door for files.
type desk struct {
	t     *testing.T
	files *files.Files
	store *sqlite.Store
	dir   string
	url   string

	mu    sync.Mutex
	ahead time.Duration
}

func (d *desk) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Add(d.ahead)
}

var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func open(t *testing.T, limit, total int64) *desk {
	t.Helper()
	d := &desk{t: t, dir: filepath.Join(t.TempDir(), "files")}
	log := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cloud.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	d.store, d.url = store, server.URL
	d.files = files.New(files.Config{Dir: d.dir, PublicURL: server.URL + "/", Limit: limit, Total: total, Keep: 30 * 24 * time.Hour}, store, log, d.now)
	d.files.Register(mux)
	t.Cleanup(func() {
		server.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *desk) grant() string {
	d.t.Helper()
	url, err := d.files.Grant(d.t.Context(), fleet.File{Kind: fleet.FileRecording, Tenant: fleet.DefaultTenant, Gateway: "gw-1", Station: "st1", Identity: "CP-1"}, time.Now().Add(time.Hour))
	if err != nil || !strings.HasPrefix(url, d.url+"/files/") {
		d.t.Fatal(url, err)
	}
	return url
}

// only returns the one file that the database knows.
func (d *desk) only() fleet.File {
	d.t.Helper()
	l, err := d.store.Files(d.t.Context(), fleet.Scope{Tenant: fleet.DefaultTenant}, fleet.FileFilter{}, fleet.Page{})
	if err != nil || len(l.Items) != 1 {
		d.t.Fatal(l.Items, err)
	}
	return l.Items[0]
}

func (d *desk) send(method, url string, body io.Reader, headers ...string) *http.Response {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, url, body)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		d.t.Fatal(err)
	}
	if res.StatusCode >= 400 {
		d.t.Logf("%s: %s", res.Status, text)
	}
	return res
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func TestUpload(t *testing.T) {
	const whole = "0123456789"
	type step struct {
		method, body, span, digest, kind, path string
		status                                 int
		offset                                 string
	}
	tests := []struct {
		name  string
		steps []step
		there string // the file in the end; empty: none
	}{
		{name: "in one piece", steps: []step{{body: whole, digest: digest(whole), status: 201, offset: "10"}}, there: whole},
		{name: "without a digest", steps: []step{{body: whole, status: 201}}, there: whole},
		{name: "by POST, with a name", steps: []step{{method: "POST", path: "/diag/log.gz", body: whole, status: 201}}, there: whole},
		{name: "as a form", steps: []step{{method: "POST", kind: "multipart/form-data; boundary=b", body: "--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=f; filename=l.gz\r\n\r\n" + whole + "\r\n--b--\r\n", status: 201}}, there: whole},
		{name: "a form without a file", steps: []step{{method: "POST", kind: "multipart/form-data; boundary=b", body: "--b--\r\n", status: 400}}},
		{name: "in pieces", steps: []step{
			{body: "0123", span: "bytes 0-3/10", digest: digest(whole), status: 308, offset: "4"},
			{method: "HEAD", status: 200, offset: "4"},
			{span: "bytes */10", status: 308, offset: "4"},
			{body: "456789", span: "bytes 4-9/10", digest: digest(whole), status: 201, offset: "10"},
		}, there: whole},
		{name: "a piece again, the answer to it got lost", steps: []step{
			{body: "0123", span: "bytes 0-3/10", status: 308, offset: "4"},
			{body: "2345", span: "bytes 2-5/10", status: 308, offset: "6"},
			{body: "6789", span: "bytes 6-9/10", digest: digest(whole), status: 201},
		}, there: whole},
		{name: "a piece too far", steps: []step{
			{body: "0123", span: "bytes 0-3/10", status: 308, offset: "4"},
			{body: "6789", span: "bytes 6-9/10", status: 409, offset: "4"},
		}},
		{name: "begun anew", steps: []step{{body: "xxxx", span: "bytes 0-3/10", status: 308}, {body: whole, status: 201}}, there: whole},
		{name: "another digest", steps: []step{
			{body: "012345678x", digest: digest(whole), status: 422, offset: "0"},
			{body: whole, digest: digest(whole), status: 201},
		}, there: whole},
		{name: "once only", steps: []step{
			{body: whole, digest: digest(whole), status: 201},
			{body: whole, digest: digest(whole), status: 201, offset: "10"}, // the answer got lost
			{method: "HEAD", status: 201, offset: "10"},
			{body: "abcdefghij", digest: digest("abcdefghij"), status: 409},
			{body: whole, status: 409},
		}, there: whole},
		{name: "too large, as it says", steps: []step{{body: strings.Repeat("x", 101), status: 413}}},
		{name: "too large in pieces", steps: []step{{body: "x", span: "bytes 0-0/101", status: 413}}},
		{name: "as large as may be", steps: []step{{body: strings.Repeat("x", 100), status: 201}}, there: strings.Repeat("x", 100)},
		{name: "no range", steps: []step{{body: "x", span: "bytes x", status: 400}, {body: "x", span: "bytes 4-3/10", status: 400}, {body: "x", span: "bytes 0-10/10", status: 400}, {body: "x", span: "bytes 0-3/10", status: 400}}},
		{name: "no digest", steps: []step{{body: "x", digest: "sha-256=x", status: 400}}},
		{name: "a digest that we do not know", steps: []step{{body: "x", digest: "md5=:x:", status: 201}}, there: "x"},
		{name: "empty", steps: []step{{status: 201, offset: "0"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, 100, 1<<20)
			url := d.grant()
			for i, s := range tt.steps {
				method := s.method
				if method == "" {
					method = "PUT"
				}
				res := d.send(method, url+s.path, strings.NewReader(s.body), "Content-Range", s.span, "Repr-Digest", s.digest, "Content-Type", s.kind)
				if res.StatusCode != s.status || s.offset != "" && res.Header.Get("Upload-Offset") != s.offset {
					t.Errorf("step %d: %s at %q, want %d at %q", i, res.Status, res.Header.Get("Upload-Offset"), s.status, s.offset)
				}
			}
			file := d.only()
			r, err := d.files.Open(file)
			if tt.there == "" {
				if err == nil {
					r.Close() //nolint:errcheck // a reader
				}
				if want := tt.name == "empty"; (err == nil) != want {
					t.Errorf("file %+v opens: %v", file, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || string(got) != tt.there {
				t.Errorf("holds %q (%v), want %q", got, err, tt.there)
			}
			sum := sha256.Sum256(got)
			if file.State != fleet.FileComplete || file.Size != int64(len(got)) || file.SHA256 != fmt.Sprintf("%x", sum) || file.Completed == nil {
				t.Errorf("file %+v", file)
			}
			if left, err := os.ReadDir(d.dir); err != nil || len(left) != 1 {
				t.Errorf("folder holds %v (%v)", left, err)
			}
		})
	}
}

// TestLimitUnsaid: who does not say how much he brings is cut at the limit too.
func TestLimitUnsaid(t *testing.T) {
	d := open(t, 100, 1<<20)
	res := d.send("PUT", d.grant(), io.MultiReader(bytes.NewReader(make([]byte, 60)), bytes.NewReader(make([]byte, 60))))
	if res.StatusCode != http.StatusRequestEntityTooLarge || d.only().State != fleet.FileWaiting {
		t.Errorf("%s, %+v", res.Status, d.only())
	}
}

// TestCut: a bringer that dies leaves what it has brought, and the next request
// need not wait for it.
func TestCut(t *testing.T) {
	d := open(t, 100, 1<<20)
	url := d.grant()
	body, feed := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 10
	ended := make(chan error, 1)
	go func() {
		res, err := client.Do(r)
		if err == nil {
			err = res.Body.Close()
		}
		ended <- err
	}()
	if _, err := feed.Write([]byte("0123")); err != nil { // it hangs now
		t.Fatal(err)
	}
	var at string
	for deadline := time.Now().Add(10 * time.Second); at != "4" && time.Now().Before(deadline); {
		at = d.send("HEAD", url, nil).Header.Get("Upload-Offset")
	}
	if at != "4" && at != "0" {
		t.Fatalf("offset %q", at)
	}
	start := map[string]int{"4": 4, "0": 0}[at]
	res := d.send("PUT", url, strings.NewReader("0123456789"[start:]), "Content-Range", fmt.Sprintf("bytes %d-9/10", start), "Repr-Digest", digest("0123456789"))
	if res.StatusCode != http.StatusCreated || d.only().State != fleet.FileComplete {
		t.Errorf("%s", res.Status)
	}
	if err := feed.Close(); err != nil {
		t.Error(err)
	}
	<-ended
}

// TestCrash: a manager that dies between the file and the database takes the
// file in all the same.
func TestCrash(t *testing.T) {
	d := open(t, 100, 1<<20)
	url := d.grant()
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, d.only().ID), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.send("HEAD", url, nil).Header.Get("Upload-Offset"); got != "10" {
		t.Errorf("offset %q", got)
	}
	res := d.send("PUT", url, strings.NewReader("9"), "Content-Range", "bytes 9-9/10", "Repr-Digest", digest("0123456789"))
	if res.StatusCode != http.StatusCreated || d.only().State != fleet.FileComplete {
		t.Errorf("%s", res.Status)
	}
}

func TestAddress(t *testing.T) {
	d := open(t, 100, 10)
	url := d.grant()
	if res := d.send("PUT", d.url+"/files/nobody", strings.NewReader("x")); res.StatusCode != http.StatusNotFound {
		t.Errorf("unknown: %s", res.Status)
	}
	d.mu.Lock()
	d.ahead = 20 * time.Hour
	d.mu.Unlock()
	if res := d.send("PUT", url, strings.NewReader("0123456789")); res.StatusCode != http.StatusCreated {
		t.Errorf("%s", res.Status)
	}
	if _, err := d.files.Grant(t.Context(), fleet.File{Tenant: fleet.DefaultTenant}, time.Now()); !errors.Is(err, fleet.ErrNoAddress) {
		t.Errorf("without room: %v", err)
	}
	nowhere := files.New(files.Config{Dir: d.dir, Limit: 1, Total: 100}, d.store, slog.New(slog.DiscardHandler), time.Now)
	if _, err := nowhere.Grant(t.Context(), fleet.File{}, time.Now()); !errors.Is(err, fleet.ErrNoAddress) || !strings.Contains(err.Error(), "http.public_url") {
		t.Errorf("without an address: %v", err)
	}
}

// TestClean: what is old goes, with its row.
func TestClean(t *testing.T) {
	d := open(t, 100, 1<<20)
	d.send("PUT", d.grant(), strings.NewReader("0123456789"))
	file := d.only()
	run := func() {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.files.Run(ctx) }()
		for deadline := time.Now().Add(10 * time.Second); d.now().After(file.Until) && time.Now().Before(deadline); {
			if _, err := os.Stat(filepath.Join(d.dir, file.ID)); err != nil {
				break
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	run()
	if r, err := d.files.Open(d.only()); err != nil {
		t.Errorf("young: %v", err)
	} else if err := r.Close(); err != nil {
		t.Error(err)
	}
	d.mu.Lock()
	d.ahead = 31 * 24 * time.Hour
	d.mu.Unlock()
	run()
	if _, err := d.files.Open(file); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("old: %v", err)
	}
}
