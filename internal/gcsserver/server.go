// Package gcsserver is a Cloud Storage server in memory, for the demo and for tests: fake-gcs-server with the preconditions it lacks,
// Google's errors, listings that page as Google's do, resumable uploads that can be resumed, and a notification for every change. It
// checks no credentials and keeps no versions.
//
// It speaks the JSON API, and of the XML API the downloads (/bucket/object), which is what Google's Go client asks for under
// STORAGE_EMULATOR_HOST.
package gcsserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// MaxBody is the largest object, and the largest request body, in bytes.
const MaxBody = 1 << 30

// Server is the server as an http.Handler.
type Server struct {
	// OnChange, if not nil, is called for each object that a request created or removed, before that request is
	// answered. Set it before the first request; calls may be concurrent.
	OnChange func(Change)

	// WriteInterval, if not 0, is how long after a write or delete of an object the next one of the same name is refused with
	// 429: Cloud Storage allows about one a second. Set it before the first request.
	WriteInterval time.Duration

	fake *fakestorage.Server

	// mu is held by each change, so that a precondition and what follows it are one step. It guards what follows.
	mu       sync.RWMutex
	shelf    shelf
	written  map[name]time.Time // the last write or delete; only kept if there is a WriteInterval
	sequence uint64             // of the last notification

	generation int64 // the highest that was given

	uploads uploads // those that come in several requests
}

// Options are what New leaves out.
type Options struct {
	Buckets []string // exist from the start, empty
	// Events, if it names a project and a topic, has every change published to Pub/Sub (PUBSUB_EMULATOR_HOST is heeded). The
	// connection is never closed.
	Events fakestorage.EventManagerOptions
}

// New returns a server that holds these buckets, empty. A bucket named twice exists once.
func New(buckets ...string) (*Server, error) {
	return NewWithOptions(Options{Buckets: buckets})
}

// NewWithOptions returns a server.
func NewWithOptions(options Options) (*Server, error) {
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true, BucketsLocation: "US", ExternalURL: googleAPIs, EventOptions: options.Events,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{fake: fake, shelf: shelf{fake: fake, buckets: map[string]*contents{}}, written: map[name]time.Time{}}
	for _, name := range options.Buckets {
		s.CreateBucket(name)
	}
	return s, nil
}

// CreateBucket creates a bucket, unless it exists.
func (s *Server) CreateBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: name})
}

// RemoveBucket removes a bucket and all that is in it, without telling OnChange.
func (s *Server) RemoveBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shelf.buckets, name)
	// The only errors are that it does not exist, and that it is not empty, which it always is for the fake.
	_ = s.fake.Backend().DeleteBucket(name)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	t := targetOf(r)
	var err error
	switch {
	case r.ContentLength > MaxBody:
		err = errTooLarge
	case t.kind == aBucket:
		err = s.serveBucket(w, r, t)
	case t.kind == aListing && r.Method == http.MethodGet:
		err = s.list(w, r, t)
	case t.kind == anUpload:
		err = s.upload(w, r, t)
	case t.kind == anObject && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		err = s.read(w, r, t)
	case t.kind == anObject && t.api == jsonAPI:
		err = s.changeObject(w, r, t)
	default:
		err = errNotSupported
	}
	if err != nil {
		writeError(w, r, t.api, err)
	}
}

// serveBucket leaves buckets to the fake, for which they are all empty.
func (s *Server) serveBucket(w http.ResponseWriter, r *http.Request, t target) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var in struct{ Versioning struct{ Enabled bool } }
	if json.Unmarshal(body, &in) == nil && in.Versioning.Enabled {
		return errNotSupported
	}
	answer, err := s.askAboutBucket(r, t, body)
	if err != nil {
		return err
	}
	answer.send(w)
	return nil
}

func (s *Server) askAboutBucket(r *http.Request, t target, body []byte) (*recorder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodDelete && len(s.shelf.contents(t.bucket).objects) > 0 {
		return nil, errBucketNotEmpty
	}
	answer := s.ask(r, t.path, body)
	switch {
	case answer.status == http.StatusNotFound && t.bucket != "" && !s.shelf.has(t.bucket):
		return nil, errNoBucket
	case answer.status >= 400 && answer.header.Get("Content-Type") != "application/json":
		return nil, errNotSupported // the fake's router says so in plain text
	case r.Method == http.MethodDelete && !s.shelf.has(t.bucket):
		delete(s.shelf.buckets, t.bucket)
		return &recorder{status: http.StatusNoContent}, nil
	}
	return answer, nil
}

// ask puts a request to the fake: r with this path and body. Paths are encoded the one way that the fake's router copes with, slashes
// of a key included.
func (s *Server) ask(r *http.Request, path string, body []byte) *recorder {
	forwarded := r.Clone(r.Context())
	forwarded.URL.RawPath = path
	forwarded.URL.Path = unescaped(path)
	forwarded.Body, forwarded.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := &recorder{header: http.Header{}}
	s.fake.HTTPHandler().ServeHTTP(answer, forwarded)
	return answer
}

// recorder holds an answer of the fake.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *recorder) Header() http.Header { return a.header }

func (a *recorder) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *recorder) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *recorder) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(max(a.status, http.StatusOK))
	_, _ = w.Write(a.body.Bytes())
}

// readBody reads all of the body. If it ends too early, the client is gone, and what it sent counts for nothing.
func readBody(r *http.Request) ([]byte, error) {
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := body.ReadFrom(r.Body)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, invalid("The body ended too early: %v", err)
	}
	return body.Bytes(), nil
}
