package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Problems passes requests on to mux and sees to it that what mux itself refuses
// under /api/ (no such path, not that method) is a problem detail like every
// other error there. What calls itself a form there is JSON.
func Problems(mux *http.ServeMux, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
				r.Header.Set("Content-Type", "application/json") // curl -d says so of everything
			}
			if h, pattern := mux.Handler(r); pattern == "" || pattern == "GET /" || pattern == "/" {
				refuse(h, pattern, w, r, log)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// refuse answers with the status that mux would have answered with.
func refuse(h http.Handler, pattern string, w http.ResponseWriter, r *http.Request, log *slog.Logger) {
	status := http.StatusNotFound
	if pattern == "" {
		heard := &listener{header: http.Header{}, status: http.StatusOK}
		h.ServeHTTP(heard, r)
		status = heard.status
		if allow := heard.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
		}
		if status < 400 { // a redirection to the clean path
			h.ServeHTTP(w, r)
			return
		}
	}
	detail := "there is nothing at this path; " + base + "/openapi.json lists what there is"
	if status == http.StatusMethodNotAllowed {
		detail = "this path does not take " + r.Method
	}
	body, err := json.Marshal(huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
	if err != nil {
		log.Error("encode problem", "err", err)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		log.Debug("write problem", "err", err)
	}
}

// listener hears what a handler would answer.
type listener struct {
	header http.Header
	status int
}

func (l *listener) Header() http.Header         { return l.header }
func (l *listener) Write(b []byte) (int, error) { return len(b), nil }
func (l *listener) WriteHeader(status int)      { l.status = status }
