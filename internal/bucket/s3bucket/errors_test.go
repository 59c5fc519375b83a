package s3bucket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

// served answers like a storage without a network, so that the pauses take no time.
func served(handler http.Handler) *s3bucket.Bucket {
	return at("http://storage.example", httpClient(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		response := recorder.Result()
		response.Request = r
		return response, nil
	}))
}

// failing fails each call in this way.
func failing(err error) *s3bucket.Bucket {
	client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) { return nil, err })}
	return at("https://storage.example", client)
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func page(status int, content string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, content)
	})
}

func TestWhatAnswersInTheStoragesPlace(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		content string
		says    string
	}{
		"HTML, 502":      {502, html, "HTTP 502 Bad Gateway from the storage (tried 5 times)"},
		"empty, 503":     {503, "", "HTTP 503 Service Unavailable from the storage (tried 5 times)"},
		"S3's 503":       {503, "<Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>", "SlowDown: Slow down. (tried 5 times)"},
		"HTML, 400":      {400, html, "HTTP 400 Bad Request from the storage"},
		"HTML, 302":      {302, html, "HTTP 302 Found from the storage: check that no proxy answers in the storage's place"},
		"HTML, 404, PUT": {418, "", "HTTP 418 I'm a teapot from the storage"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := served(page(test.status, test.content))
				_, err := b.List(t.Context(), "dags/")
				require.EqualError(t, err, "cannot list s3://acme/dags/: "+test.says)
				require.False(t, bucket.Permanent(err))
				_, err = b.Open(t.Context(), "dags/a.py", "", 0)
				require.EqualError(t, err, "cannot read s3://acme/dags/a.py: "+test.says)
				for _, when := range []bucket.Condition{bucket.Always, bucket.IfAbsent()} {
					_, err = b.Put(t.Context(), "record.json", strings.NewReader("x"), when)
					require.EqualError(t, err, "cannot write s3://acme/record.json: "+test.says)
				}
			})
		})
	}
}

// TestAnAnswerWithoutAVersionIsRefused: a read could not be pinned, and of a write nobody knows whether it took effect.
func TestAnAnswerWithoutAVersionIsRefused(t *testing.T) {
	for name, content := range map[string]string{"HTML": html, "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			b := open(t, page(200, content))
			for _, version := range []string{"", `"e"`} {
				_, err := b.Open(t.Context(), "dags/a.py", version, 0)
				require.EqualError(t, err, "cannot read s3://acme/dags/a.py: the answer is not an object (it has no ETag): check that no proxy answers in the storage's place")
			}
			for _, when := range []bucket.Condition{bucket.Always, bucket.IfAbsent(), bucket.IfVersion(`"e"`)} {
				version, err := b.Put(t.Context(), "record.json", strings.NewReader("x"), when)
				require.Empty(t, version)
				require.ErrorContains(t, err, "cannot write s3://acme/record.json: the answer names no version")
				require.ErrorContains(t, err, "it is not known whether it was stored")
				require.False(t, bucket.Permanent(err) || errors.Is(err, bucket.ErrChanged))
			}
		})
	}
	t.Run("at the end of an object", func(t *testing.T) {
		_, err := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				refusal(http.StatusRequestedRangeNotSatisfiable, "InvalidRange").ServeHTTP(w, r)
			}
		})).Open(t.Context(), "dags/a.py", "", 4)
		require.ErrorContains(t, err, "it has no ETag")
	})
}

// TestAnotherVersionThanAskedForIsRefused: some servers and caches ignore If-Match. Quotes around an ETag say nothing.
func TestAnotherVersionThanAskedForIsRefused(t *testing.T) {
	for etag, fits := range map[string]bool{`"e"`: true, "e": true, `"f"`: false, `W/"e"`: false} {
		b := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", etag) }))
		for _, version := range []string{`"e"`, "e"} {
			_, err := b.Open(t.Context(), "dags/a.py", version, 0)
			require.Equal(t, !fits, errors.Is(err, bucket.ErrChanged), "%s for %s: %v", etag, version, err)
		}
	}
}

// TestAnUploadToWhatIsNoStorage: each answer of an upload in parts may be another's.
func TestAnUploadToWhatIsNoStorage(t *testing.T) {
	for name, foreign := range map[string]func(*http.Request) bool{
		"the beginning": func(r *http.Request) bool { return r.URL.Query().Has("uploads") },
		"a part":        func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" },
		"the end":       func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
		"all":           func(*http.Request) bool { return true },
	} {
		for kind, content := range map[string]string{"HTML": html, "nothing": "", "HTML that is no XML": "<html><br></html>"} {
			t.Run(name+": "+kind, func(t *testing.T) {
				server := s3server.New("acme")
				_, err := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if foreign(r) {
						_, _ = io.Copy(io.Discard, r.Body)
						page(200, content).ServeHTTP(w, r)
						return
					}
					server.ServeHTTP(w, r)
				})).Put(t.Context(), "bundle", io.LimitReader(spaces{}, 13<<20), bucket.Always)
				require.ErrorContains(t, err, "cannot write s3://acme/bundle: the answer ")
				require.ErrorContains(t, err, "check that no proxy answers in the storage's place")
				require.False(t, bucket.Permanent(err))
			})
		}
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestNoConnection(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	const reach = ": check that the function can reach storage.example (DNS, VPC, proxy)"
	for name, test := range map[string]struct {
		err  error
		says string
	}{
		"unknown host": {dial(&net.DNSError{Err: "no such host", Name: "storage.example", IsNotFound: true}), "lookup storage.example: no such host" + reach},
		"no route":     {dial(errors.New("i/o timeout")), "dial tcp: i/o timeout (tried 5 times)" + reach},
		"closed":       {io.EOF, "the connection broke (tried 5 times)"},
		"no TLS":       {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "the other side does not speak TLS (tried 5 times)" + reach},
		"plain HTTP":   {http.ErrSchemeMismatch, "the other side does not speak TLS (tried 5 times)" + reach},
		"closed early": {&net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed}, "the connection broke (tried 5 times)"},
		"something":    {errors.New("something"), "something (tried 5 times)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := failing(test.err).List(t.Context(), "dags/")
				require.EqualError(t, err, "cannot list s3://acme/dags/: "+test.says)
				require.ErrorIs(t, err, test.err)
				require.False(t, bucket.Permanent(err))
			})
		})
	}
}

// TestTimeRunsOut: the attempts may take longer than there is time, and then the last one that ended by itself says why.
func TestTimeRunsOut(t *testing.T) {
	for name, test := range map[string]struct {
		first http.Handler
		says  string
	}{
		"no answer at all": {nil, "no complete answer by then"},
		"a 502 before":     {page(502, html), "no complete answer by then; the attempt before: HTTP 502 Bad Gateway from the storage"},
		"a refusal before": {refusal(503, "SlowDown"), "no complete answer by then; the attempt before: SlowDown: What the server says"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				b := at("http://localhost", httpClient(func(r *http.Request) (*http.Response, error) {
					if calls++; calls > 1 || test.first == nil {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					recorder := httptest.NewRecorder()
					test.first.ServeHTTP(recorder, r)
					return recorder.Result(), nil
				}))
				for verb, call := range callsThatTalk(b) {
					calls = 0
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					err := call(ctx)
					cancel()
					require.EqualError(t, err, fmt.Sprintf("cannot %s: %s", verb, test.says))
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.False(t, bucket.Permanent(err))
				}
			})
		})
	}
}

func callsThatTalk(b *s3bucket.Bucket) map[string]func(context.Context) error {
	put := func(when bucket.Condition) func(context.Context) error {
		return func(ctx context.Context) error { _, err := b.Put(ctx, "k", strings.NewReader("x"), when); return err }
	}
	return map[string]func(context.Context) error{
		"list s3://acme/dags/": func(ctx context.Context) error { _, err := b.List(ctx, "dags/"); return err },
		"read s3://acme/k":     func(ctx context.Context) error { _, err := b.Open(ctx, "k", "", 0); return err },
		"write s3://acme/k":    put(bucket.IfAbsent()),
		"delete s3://acme/k":   func(ctx context.Context) error { return b.Delete(ctx, "k", "") },
	}
}

func TestACancelledCallSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	_, err := open(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		cancel()
		<-r.Context().Done() // no answer: it might come before the client notices
	})).List(ctx, "dags/")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "cannot list s3://acme/dags/: ")
	require.Equal(t, int64(1), calls.Load())
}
