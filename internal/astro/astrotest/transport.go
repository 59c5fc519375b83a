package astrotest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// Transport is the server without a network: a client that uses it reaches the server under any host name. Nothing in
// it waits on the operating system, so it works in a bubble of testing/synctest. A hijacking or streaming handler is
// not supported, and neither is Expect: 100-continue.
func (s *Server) Transport() http.RoundTripper { return direct{s} }

type direct struct{ server *Server }

func (t direct) RoundTrip(r *http.Request) (*http.Response, error) {
	inner, err := arrived(r)
	if err != nil {
		_ = r.Body.Close()
		return nil, err
	}
	sent := &sentBody{ReadCloser: inner.Body}
	inner.Body = sent
	w := &recorder{header: http.Header{}}
	done := make(chan bool, 1)
	go func() {
		defer func() {
			aborted := recover()
			_ = inner.Body.Close()
			if aborted != nil && aborted != http.ErrAbortHandler {
				panic(aborted)
			}
			done <- aborted == nil
		}()
		t.server.ServeHTTP(w, inner)
	}()
	select {
	case complete := <-done:
		switch {
		case r.Context().Err() != nil:
			return nil, r.Context().Err()
		case sent.failed != nil:
			return nil, sent.failed
		case !complete:
			return nil, io.ErrUnexpectedEOF
		}
		return w.response(r), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// arrived is a client's request as a server sees it.
func arrived(r *http.Request) (*http.Request, error) {
	seen := r.Clone(r.Context())
	seen.RequestURI = r.URL.RequestURI()
	parsed, err := url.ParseRequestURI(seen.RequestURI)
	if err != nil {
		return nil, err
	}
	seen.URL = parsed
	if seen.Host == "" {
		seen.Host = r.URL.Host
	}
	if seen.Body == nil {
		seen.Body = http.NoBody
	}
	return seen, nil
}

// sentBody notes why a client's body could not be read: the error belongs to the client, not to the server.
type sentBody struct {
	io.ReadCloser
	failed error
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

type recorder struct {
	mu     sync.Mutex // a handler may still write when its client has gone
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.body.Write(p)
}

func (w *recorder) response(r *http.Request) *http.Response {
	w.WriteHeader(http.StatusOK)
	return &http.Response{Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r}
}
