package files

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
)

// patience is how long a bringer may say nothing.
const patience = time.Minute

// Register serves the addresses on mux. Many chargers add the name of their file
// to an address.
func (f *Files) Register(mux *http.ServeMux) {
	for _, path := range []string{"/files/{secret}", "/files/{secret}/{name...}"} {
		mux.HandleFunc("PUT "+path, f.serve)
		mux.HandleFunc("POST "+path, f.serve)
		mux.HandleFunc("HEAD "+path, f.serve)
	}
}

// refusal is an answer other than success.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// serve answers whoever brings a file.
func (f *Files) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	size, outcome, err := f.bring(w, r)
	if outcome == "" {
		outcome = "failed"
	}
	f.brought.WithLabelValues(outcome).Inc()
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		offset(w, size)
		http.Error(w, refused.text, refused.status)
	case errors.Is(err, fleet.ErrNotFound):
		http.Error(w, "there is no such address", http.StatusNotFound)
	case err != nil:
		f.log.Error("take a file in", "err", err)
		http.Error(w, "the manager could not take this", http.StatusInternalServerError)
	case outcome == "complete", outcome == "repeated":
		offset(w, size)
		w.WriteHeader(http.StatusCreated)
	default: // there is more to come
		offset(w, size)
		status := http.StatusPermanentRedirect // 308: so far, go on from here
		if r.Method == http.MethodHead {
			status = http.StatusOK
		}
		w.WriteHeader(status)
	}
}

// offset tells how much is there already.
func offset(w http.ResponseWriter, size int64) {
	if size < 0 {
		return
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(size, 10))
	if size > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", size-1))
	}
}

// bring takes a file, or a piece of one. It returns how much of it is there now,
// negative where that is nobody's business, and what became of the request.
func (f *Files) bring(w http.ResponseWriter, r *http.Request) (size int64, outcome string, err error) {
	file, err := f.store.FileOf(r.Context(), hash(r.PathValue("secret")))
	if err != nil {
		return -1, "unknown", err
	}
	digest, err := wanted(r.Header.Get("Repr-Digest"))
	if err != nil {
		return -1, "refused", err
	}
	p, err := readPiece(r)
	if err != nil {
		return -1, "refused", err
	}
	switch file.State {
	case fleet.FileComplete:
		if p.question || r.Method == http.MethodHead || digest != "" && digest == file.SHA256 {
			return file.Size, "repeated", nil // its answer got lost
		}
		return file.Size, "refused", refuse(http.StatusConflict, "this address has served: the file is there")
	case fleet.FileLapsed:
		return -1, "late", refuse(http.StatusGone, "this address served until %s", file.Expires.Format(time.RFC3339))
	}
	control := http.NewResponseController(w)
	u := f.begin(file.ID, func() { control.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // then it ends by itself
	defer f.end(file.ID, u)
	there, err := f.there(file.ID)
	if err != nil || p.question || r.Method == http.MethodHead {
		return there, "asked", err
	}
	body, form, err := content(r)
	if err != nil {
		return there, "refused", err
	}
	if form {
		p = piece{total: -1, length: -1}
	}
	if p.start > there {
		return there, "refused", refuse(http.StatusConflict, "expected a piece that begins at byte %d, got one that begins at %d", there, p.start)
	}
	if p.total > file.Limit {
		return there, "large", refuse(http.StatusRequestEntityTooLarge, "expected at most %d bytes, got %d", file.Limit, p.total)
	}
	there, err = f.write(file, p, &deadlined{body, control})
	if err != nil {
		return there, "broken", err
	}
	if p.total >= 0 && there < p.total {
		return there, "part", nil
	}
	return f.complete(r.Context(), file, digest)
}

// piece is what a request brings of a file.
type piece struct {
	question     bool  // only how much is there
	start, total int64 // bytes; total is negative where it is not said
	length       int64 // of the piece; negative where it is not said
}

// readPiece reads Content-Range. RFC 9110 §14.4
func readPiece(r *http.Request) (piece, error) {
	text := r.Header.Get("Content-Range")
	if text == "" {
		return piece{total: r.ContentLength, length: r.ContentLength}, nil
	}
	bad := refuse(http.StatusBadRequest, "expected a Content-Range like bytes 0-1023/4096 or bytes */4096, got %q", text)
	spec, ok := strings.CutPrefix(text, "bytes ")
	span, size, found := strings.Cut(spec, "/")
	if !ok || !found {
		return piece{}, bad
	}
	p := piece{total: -1}
	var err error
	if size != "*" {
		if p.total, err = strconv.ParseInt(size, 10, 64); err != nil || p.total < 0 {
			return piece{}, bad
		}
	}
	if span == "*" {
		p.question = true
		return p, nil
	}
	first, last, found := strings.Cut(span, "-")
	start, errStart := strconv.ParseInt(first, 10, 64)
	end, errEnd := strconv.ParseInt(last, 10, 64)
	if !found || errStart != nil || errEnd != nil || start < 0 || end < start || p.total < 0 || end >= p.total {
		return piece{}, bad
	}
	p.start, p.length = start, end-start+1
	if r.ContentLength >= 0 && r.ContentLength != p.length {
		return piece{}, refuse(http.StatusBadRequest, "Content-Range tells of %d bytes, Content-Length of %d", p.length, r.ContentLength)
	}
	return p, nil
}

// wanted reads the SHA-256 of a Repr-Digest, as hex; empty where none is named.
// RFC 9530 §3
func wanted(header string) (string, error) {
	for _, member := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if !strings.EqualFold(name, "sha-256") {
			continue
		}
		text, ok := strings.CutPrefix(value, ":")
		text, closed := strings.CutSuffix(text, ":")
		sum, err := base64.StdEncoding.DecodeString(text)
		if !ok || !closed || err != nil || len(sum) != sha256.Size {
			return "", refuse(http.StatusBadRequest, "expected a Repr-Digest like sha-256=:…:, got %q", header)
		}
		return hex.EncodeToString(sum), nil
	}
	return "", nil
}

// content is what a request brings: its body, or the first file of a form.
func content(r *http.Request) (body io.Reader, form bool, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "multipart/form-data" {
		return r.Body, false, nil //nolint:nilerr // it may bring no Content-Type, or a wrong one
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, true, refuse(http.StatusBadRequest, "form: %v", err)
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, true, refuse(http.StatusBadRequest, "expected a form with a file: %v", err)
		}
		if part.FileName() != "" {
			return part, true, nil
		}
	}
}

// deadlined reads as long as something comes.
type deadlined struct {
	io.Reader
	control *http.ResponseController
}

// Read implements io.Reader.
func (d *deadlined) Read(b []byte) (int, error) {
	if err := d.control.SetReadDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return d.Reader.Read(b)
}

// there is how much of a file has come. One that was whole and that the database
// does not know as such, because the manager died in between, is a part again.
func (f *Files) there(id string) (int64, error) {
	if err := os.Rename(f.whole(id), f.part(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	info, err := os.Stat(f.part(id))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// write puts a piece in its place and returns how much is there then.
func (f *Files) write(file fleet.File, p piece, body io.Reader) (there int64, err error) {
	if err := os.MkdirAll(f.cfg.Dir, 0o750); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(f.part(file.ID), os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, out.Close())
	}()
	// What overlaps is told anew; a file without a range begins anew.
	if err := out.Truncate(p.start); err != nil {
		return 0, err
	}
	if _, err := out.Seek(p.start, io.SeekStart); err != nil {
		return 0, err
	}
	most := file.Limit - p.start
	if p.length >= 0 {
		most = min(most, p.length)
	}
	n, err := io.Copy(out, io.LimitReader(body, most))
	there = p.start + n
	if err != nil {
		return there, refuse(http.StatusBadRequest, "after byte %d: %v", there, err)
	}
	if err := out.Sync(); err != nil {
		return there, err
	}
	if p.length >= 0 && n < p.length {
		return there, refuse(http.StatusBadRequest, "expected %d bytes, got %d", p.length, n)
	}
	if extra, err := io.CopyN(io.Discard, body, 1); extra > 0 {
		return there, refuse(http.StatusRequestEntityTooLarge, "expected at most %d bytes", file.Limit)
	} else if err != nil && !errors.Is(err, io.EOF) {
		return there, refuse(http.StatusBadRequest, "after byte %d: %v", there, err)
	}
	return there, nil
}

// complete checks the whole and makes it a file.
func (f *Files) complete(ctx context.Context, file fleet.File, digest string) (size int64, outcome string, err error) {
	size, sum, err := digestOf(f.part(file.ID))
	if err != nil {
		return -1, "", err
	}
	if digest != "" && digest != sum {
		if err := os.Remove(f.part(file.ID)); err != nil {
			return -1, "", err
		}
		return 0, "digest", refuse(http.StatusUnprocessableEntity, "expected SHA-256 %s, got %s: bring it again from its beginning", digest, sum)
	}
	if err := os.Rename(f.part(file.ID), f.whole(file.ID)); err != nil {
		return -1, "", err
	}
	if err := syncDir(f.cfg.Dir); err != nil {
		return -1, "", err
	}
	if err := f.store.CompleteFile(context.WithoutCancel(ctx), file.ID, size, sum, f.now()); err != nil {
		return -1, "", err
	}
	f.log.Info("file is there", "file", file.ID, "kind", file.Kind, "gateway", file.Gateway, "station", file.Identity, "bytes", size)
	return size, "complete", nil
}

func digestOf(name string) (size int64, sum string, err error) {
	in, err := os.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	h := sha256.New()
	size, err = io.Copy(h, in)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// syncDir has a rename outlive the power.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
