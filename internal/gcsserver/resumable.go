package gcsserver

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// uploadLife is how long an upload is remembered after its last request: a client may be gone, or ask for a lost answer again.
const uploadLife = time.Hour

// uploads are the resumable uploads. The fake's own cannot be resumed: it appends a chunk that is sent again, and takes the question
// how much has arrived for the end.
type uploads struct {
	mu   sync.Mutex
	byID map[string]*upload // guarded by mu
}

// upload is a resumable upload. Nothing of it is visible until it is complete.
type upload struct {
	name
	query    url.Values // of the request that began it: the preconditions, which count at its end
	metadata map[string]any
	lastUsed time.Time // guarded by uploads.mu

	mu       sync.Mutex // held by each request of this upload
	received []byte
	answer   *recorder // once it is complete
}

// beginUpload answers with the address that takes the content.
func (s *Server) beginUpload(w http.ResponseWriter, r *http.Request, n name, body []byte) error {
	u := &upload{name: n, query: r.URL.Query(), metadata: map[string]any{}, lastUsed: time.Now()}
	if len(body) > 0 && json.Unmarshal(body, &u.metadata) != nil {
		return invalid("The upload's metadata cannot be parsed.")
	}
	if u.key == "" {
		u.key, _ = u.metadata["name"].(string)
	}
	if u.metadata["contentType"] == nil && r.Header.Get("X-Upload-Content-Type") != "" {
		u.metadata["contentType"] = r.Header.Get("X-Upload-Content-Type")
	}
	if err := checkKey(u.key); err != nil {
		return err
	}
	if _, err := s.find(target{name: u.name}); err != nil {
		return err
	}
	id := rand.Text()
	s.uploads.add(id, u)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	w.Header().Set("Location", fmt.Sprintf("%s://%s/upload/storage/v1/b/%s/o?uploadType=resumable&upload_id=%s",
		scheme, r.Host, url.PathEscape(u.bucket), id))
	w.Header().Set("X-GUploader-UploadID", id)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *uploads) add(id string, u *upload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID == nil {
		a.byID = map[string]*upload{}
	}
	for id, other := range a.byID {
		if time.Since(other.lastUsed) > uploadLife {
			delete(a.byID, id)
		}
	}
	a.byID[id] = u
}

func (a *uploads) get(id string) *upload {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.byID[id]
	if u != nil {
		u.lastUsed = time.Now()
	}
	return u
}

func (a *uploads) remove(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byID, id)
}

// resume takes the next chunk of an upload, or says how much has arrived.
func (s *Server) resume(w http.ResponseWriter, r *http.Request, id string) error {
	u := s.uploads.get(id)
	if u == nil {
		return &failure{status: http.StatusNotFound, reason: "notFound", message: "No such upload."}
	}
	if r.Method == http.MethodDelete {
		s.uploads.remove(id)
		w.WriteHeader(499) // Cloud Storage's answer to a cancelled upload
		return nil
	}
	chunk, err := readBody(r)
	if err != nil {
		return err // the client may send it again
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.answer != nil {
		u.answer.send(w)
		return nil
	}
	complete, err := u.receive(r.Header.Get("Content-Range"), chunk)
	if err != nil {
		return err
	}
	if !complete {
		u.askForMore(w, r)
		return nil
	}
	answer := &recorder{header: http.Header{}}
	if err := s.finish(answer, r, u); isTooManyWrites(err) {
		return err // it passes
	} else if err != nil {
		writeError(answer, r, jsonAPI, err)
	}
	u.answer, u.received = answer, nil
	answer.send(w)
	return nil
}

// askForMore says how much has arrived.
func (u *upload) askForMore(w http.ResponseWriter, r *http.Request) {
	if len(u.received) > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(u.received)-1))
	}
	if r.Header.Get("X-Guploader-No-308") != "" {
		w.Header().Set("X-Http-Status-Code-Override", "308")
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusPermanentRedirect)
}

// receive adds a chunk, less what of it has arrived before, and reports whether the content is complete. The range is one of
// "bytes 0-9/*", "bytes 10-19/20", "bytes */20" and "bytes */*"; without one the chunk is everything.
func (u *upload) receive(contentRange string, chunk []byte) (complete bool, err error) {
	if contentRange == "" {
		u.received = chunk
		return true, nil
	}
	span, total, ok := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "/")
	size := int64(-1)
	if total != "*" {
		size, err = strconv.ParseInt(total, 10, 64)
	}
	if !ok || err != nil {
		return false, invalid("Invalid Content-Range: %q", contentRange)
	}
	if span != "*" {
		var first, last int
		if _, err := fmt.Sscanf(span, "%d-%d", &first, &last); err != nil || last-first+1 != len(chunk) || first < 0 {
			return false, invalid("Invalid Content-Range: %q", contentRange)
		}
		if first > len(u.received) {
			return false, invalid("The chunk begins at byte %d, but %d bytes have arrived.", first, len(u.received))
		}
		if known := len(u.received) - first; known < len(chunk) {
			u.received = append(u.received, chunk[known:]...)
		}
	}
	if len(u.received) > MaxBody {
		return false, errTooLarge
	}
	return size >= 0 && int64(len(u.received)) >= size, nil
}

// finish stores the content as if it had come in one request.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, u *upload) error {
	if sum, ok := strings.CutPrefix(r.Header.Get("X-Goog-Hash"), "crc32c="); ok {
		u.metadata["crc32c"] = sum
	}
	contentType, _ := u.metadata["contentType"].(string)
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	var body bytes.Buffer
	body.Grow(len(u.received) + 8<<10) // with room for the metadata
	parts := multipart.NewWriter(&body)
	for _, part := range []struct {
		contentType string
		content     []byte
	}{{"application/json", encoded(u.metadata)}, {contentType, u.received}} {
		// Writes to a buffer do not fail.
		p, _ := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {part.contentType}})
		_, _ = p.Write(part.content)
	}
	_ = parts.Close()
	whole := r.Clone(r.Context())
	u.query.Set("uploadType", "multipart")
	u.query.Set("name", u.key)
	whole.Method, whole.URL.RawQuery = http.MethodPost, u.query.Encode()
	whole.Header = http.Header{"Content-Type": {"multipart/related; boundary=" + parts.Boundary()}}
	return s.store(w, whole, u.name, body.Bytes())
}
