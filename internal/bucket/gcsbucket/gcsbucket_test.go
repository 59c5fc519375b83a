package gcsbucket_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/buckettest"
	"github.com/dagbucket/dagbucket/internal/bucket/gcsbucket"
	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

// open returns the bucket "acme" of a server.
func open(t *testing.T, server http.Handler) *gcsbucket.Bucket {
	t.Helper()
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return at(t, gcsbucket.Options{Endpoint: listener.URL})
}

func at(t *testing.T, o gcsbucket.Options) *gcsbucket.Bucket {
	t.Helper()
	client, err := gcsbucket.NewClient(t.Context(), o)
	require.NoError(t, err)
	return gcsbucket.New(client, "acme")
}

func server(t *testing.T, buckets ...string) *gcsserver.Server {
	t.Helper()
	s, err := gcsserver.New(buckets...)
	require.NoError(t, err)
	return s
}

// TestContract runs against the embedded server, which checks no credentials: of those, only the answer is shown.
func TestContract(t *testing.T) {
	buckettest.Run(t, buckettest.Harness{
		New: func(t *testing.T) bucket.Bucket { return open(t, server(t, "acme")) },
		Pair: func(t *testing.T) (from, to bucket.Bucket) {
			listener := httptest.NewServer(server(t, "acme", "beside"))
			t.Cleanup(listener.Close)
			client, err := gcsbucket.NewClient(t.Context(), gcsbucket.Options{Endpoint: listener.URL})
			require.NoError(t, err)
			return gcsbucket.New(client, "acme"), gcsbucket.New(client, "beside")
		},
		PageSize: 1000,
		Lacks:    func(key string) bool { return strings.ContainsAny(key, "\r\n") || !isUTF8(key) },
		BadKeys: []string{strings.Repeat("s", 1025), "dags/\xff\xfe.py", "dags/new\nline.py", "dags/carriage\rreturn.py", "", ".", "..",
			".well-known/acme-challenge/x"},
		Denied: func(t *testing.T) bucket.Bucket {
			return open(t, refusal(http.StatusForbidden, "forbidden", "dagbucket@acme.iam.gserviceaccount.com does not have access"))
		},
		Missing: func(t *testing.T) bucket.Bucket { return open(t, server(t, "another")) },
		Cutting: func(t *testing.T) (bucket.Bucket, func()) {
			var cutting atomic.Bool
			server := server(t, "acme")
			return open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if cutting.Load() && r.Method == http.MethodGet {
					w = &cutWriter{ResponseWriter: w, left: buckettest.CutAfter}
				}
				server.ServeHTTP(w, r)
			})), func() { cutting.Store(true) }
		},
	})
}

func isUTF8(key string) bool { return strings.ToValidUTF8(key, "") == key }

// cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	if w.left -= n; w.left == 0 {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// refusal answers every request with this error, in the form of the JSON API.
func refusal(status int, reason, message string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"errors":[{"message":%[2]q,"domain":"global","reason":%q}]}}`, status, message, reason)
	})
}

// TestBrowsersAreTold how to take an object, whichever way it was written.
func TestBrowsersAreTold(t *testing.T) {
	storage := server(t, "acme")
	b := open(t, storage)
	for _, when := range []bucket.Condition{bucket.IfAbsent(), bucket.Always} {
		_, err := b.Put(t.Context(), "status.html", strings.NewReader("<!doctype html>"), when)
		require.NoError(t, err)
		answer := httptest.NewRecorder()
		storage.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/storage/v1/b/acme/o/status.html", nil))
		var attributes struct{ ContentType, CacheControl string }
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &attributes), answer.Body.String())
		require.Equal(t, []string{"text/html; charset=utf-8", "no-cache"}, []string{attributes.ContentType, attributes.CacheControl})
	}
}

// TestAnotherClientsBucketIsForeign: it may have other credentials, or be of another server.
func TestAnotherClientsBucketIsForeign(t *testing.T) {
	storage := server(t, "acme")
	_, err := open(t, storage).Copy(t.Context(), open(t, storage), "dags/a.py", "1", "dags/b.py", bucket.IfAbsent())
	require.ErrorIs(t, err, bucket.ErrCannotCopy)
}
