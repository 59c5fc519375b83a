// Package s3server is an S3 server in memory, for the demo and for tests: gofakes3 with the preconditions it lacks, the upload
// framing of today's SDKs, listings that page as S3's do, and a notification for every change. It checks no credentials and no
// checksums.
package s3server

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// MaxBody is the largest request body in bytes: larger objects come in parts.
const MaxBody = 256 << 20

// Server is the server as an http.Handler. Buckets are addressed by path: /bucket/key.
type Server struct {
	// OnChange, if not nil, is called for each object that a request created or removed, before that request is
	// answered. Set it before the first request; calls may be concurrent.
	OnChange func(Change)

	store backend
	s3    http.Handler

	mu        sync.Mutex // held by each change, so that a precondition and what follows it are one step
	sequencer uint64     // of the last change; guarded by mu
}

// New returns a server that holds these buckets, empty. A bucket named twice exists once.
func New(buckets ...string) *Server {
	store := backend{s3mem.New()}
	for _, name := range buckets {
		// The only error is that it exists already.
		_ = store.CreateBucket(name)
	}
	// Clients' clocks and header sizes are not this server's business.
	fake := gofakes3.New(store, gofakes3.WithTimeSkewLimit(0), gofakes3.WithMetadataSizeLimit(0))
	return &Server{store: store, s3: fake.Server()}
}

// ServeHTTP answers one S3 request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	if err := decodeUpload(r); err != nil {
		writeError(w, r, err)
		return
	}
	switch {
	case isList(r):
		s.list(w, r)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		bucket, key := target(r)
		if o := s.store.head(bucket, key); o.exists && !matches(r, o.etag) {
			writeError(w, r, gofakes3.ErrPreconditionFailed) // before the range is looked at
			return
		}
		matching := &matchingWriter{ResponseWriter: w, request: r}
		s.s3.ServeHTTP(matching, r)
		matching.WriteHeader(http.StatusOK) // gofakes3 leaves that out where there is no body
	case changesObjects(r):
		s.change(w, r)
	default: // parts of an upload, buckets
		s.s3.ServeHTTP(w, r)
	}
}

// changesObjects reports whether r, if it succeeds, creates or removes objects.
func changesObjects(r *http.Request) bool {
	_, key := target(r)
	query := r.URL.Query()
	switch r.Method {
	case http.MethodPut, http.MethodDelete:
		return key != "" && !query.Has("uploadId")
	case http.MethodPost:
		return query.Has("uploadId") || query.Has("delete")
	}
	return false
}

// change runs a request that changes objects: its body is read first, then it has the store to itself, so that a slow
// client holds up nobody.
func (s *Server) change(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		writeError(w, r, bodyError(err))
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body))) // S3 insists on one; for curl -T - it is known only now
	answer, changes, err := s.changeLocked(r, body)
	if err != nil {
		writeError(w, r, err)
		return
	}
	if s.OnChange != nil {
		for _, c := range changes {
			s.OnChange(c)
		}
	}
	answer.send(w)
}

func (s *Server) changeLocked(r *http.Request, body []byte) (*recorder, []Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkPreconditions(r); err != nil {
		return nil, nil, err
	}
	bucket, key := target(r)
	keys := []string{key}
	if r.URL.Query().Has("delete") {
		keys = keysToDelete(body)
	}
	before := make([]object, len(keys))
	for i, key := range keys {
		before[i] = s.store.head(bucket, key)
	}
	answer := &recorder{header: http.Header{}}
	s.s3.ServeHTTP(answer, r)
	if answer.status >= 300 {
		return answer, nil, nil
	}
	var changes []Change
	for i, key := range keys {
		after := s.store.head(bucket, key)
		if !after.exists && !before[i].exists {
			continue // deleting what is not there changes nothing
		}
		s.sequencer++
		changes = append(changes, newChange(eventName(r, answer.header), bucket, key, after, s.sequencer))
		if r.URL.Query().Has("uploadId") {
			answer.setUploadETag(after.etag)
		}
	}
	return answer, changes, nil
}

// checkPreconditions checks If-Match and If-None-Match as S3 does: a missing object is 404 for If-Match, not 412.
func (s *Server) checkPreconditions(r *http.Request) error {
	if err := s.checkCopySource(r); err != nil {
		return err
	}
	bucket, key := target(r)
	match, noneMatch := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if match == "" && noneMatch == "" {
		return nil
	}
	switch current := s.store.head(bucket, key); {
	case !s.store.has(bucket):
		return gofakes3.BucketNotFound(bucket)
	case match != "" && !current.exists:
		return gofakes3.KeyNotFound(key)
	case !matches(r, current.etag):
		return gofakes3.ErrPreconditionFailed
	case noneMatch != "" && current.exists:
		return gofakes3.ErrPreconditionFailed
	}
	// They hold, and nothing can change until the request is done; gofakes3 need not look again.
	r.Header.Del("If-Match")
	r.Header.Del("If-None-Match")
	return nil
}

// checkCopySource checks the condition of a copy on what is copied.
func (s *Server) checkCopySource(r *http.Request) error {
	wanted := r.Header.Get("X-Amz-Copy-Source-If-Match")
	if wanted == "" {
		return nil
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/"), "/")
	key, err := url.PathUnescape(key)
	source := s.store.head(bucket, key)
	switch {
	case err != nil:
		return gofakes3.ErrInvalidArgument
	case !s.store.has(bucket):
		return gofakes3.BucketNotFound(bucket)
	case !source.exists:
		return gofakes3.KeyNotFound(key)
	case strings.Trim(wanted, `"`) != strings.Trim(source.etag, `"`):
		return gofakes3.ErrPreconditionFailed
	}
	r.Header.Del("X-Amz-Copy-Source-If-Match")
	return nil
}

// target splits the path of a request into bucket and key.
func target(r *http.Request) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return bucket, key
}

// matches reports whether r's If-Match, if it has one, names this ETag; quotes are optional, as for S3.
func matches(r *http.Request, etag string) bool {
	wanted := r.Header.Get("If-Match")
	return wanted == "" || wanted == "*" || strings.Trim(wanted, `"`) == strings.Trim(etag, `"`)
}

func keysToDelete(body []byte) []string {
	var in struct {
		Object []struct{ Key string }
	}
	// What cannot be decoded is refused by gofakes3, with S3's error.
	_ = xml.Unmarshal(body, &in)
	keys := make([]string, len(in.Object))
	for i, o := range in.Object {
		keys[i] = o.Key
	}
	return keys
}

func eventName(r *http.Request, answer http.Header) string {
	switch {
	case r.Method == http.MethodDelete, r.URL.Query().Has("delete"):
		if answer.Get("x-amz-delete-marker") == "true" {
			return "ObjectRemoved:DeleteMarkerCreated"
		}
		return "ObjectRemoved:Delete"
	case r.Method == http.MethodPost:
		return "ObjectCreated:CompleteMultipartUpload"
	case r.Header.Get("X-Amz-Copy-Source") != "":
		return "ObjectCreated:Copy"
	}
	return "ObjectCreated:Put"
}

// entityTooLarge is S3's error for a body over the limit; gofakes3 does not know it.
const entityTooLarge gofakes3.ErrorCode = "EntityTooLarge"

func bodyError(err error) error {
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return entityTooLarge
	}
	return gofakes3.ErrIncompleteBody
}

// writeError answers with S3's error document.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	code := gofakes3.ErrInternal
	if coded := gofakes3.Error(nil); errors.As(err, &coded) {
		code = coded.ErrorCode()
	}
	message := code.Message()
	if message == "" {
		message = err.Error()
	}
	status := code.Status()
	if code == entityTooLarge {
		status, message = http.StatusBadRequest, fmt.Sprintf("the body is larger than %d bytes", MaxBody)
	}
	document, _ := xml.Marshal(gofakes3.ErrorResponse{Code: code, Message: message})
	document = append([]byte(xml.Header), document...)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(document)
	}
}
