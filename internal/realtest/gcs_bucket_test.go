package realtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/buckettest"
	"github.com/dagbucket/dagbucket/internal/bucket/gcsbucket"
)

// fakeGCS is fake-gcs-server itself, with no more around it than what the contract needs and it lacks: the preconditions of reads and
// deletes, pages, and Google's words for what is not there. (The embedded server is the same fake with much more around it.)
type fakeGCS struct {
	mu   sync.Mutex // a precondition and what follows it are one step
	fake http.Handler
}

func newFakeGCS(t *testing.T, buckets ...string) *fakeGCS {
	t.Helper()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true})
	require.NoError(t, err)
	for _, name := range buckets {
		fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: name})
	}
	return &fakeGCS{fake: fake.HTTPHandler()}
}

func (f *fakeGCS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	answer := f.answer(r)
	f.mu.Unlock()
	if location := answer.Header().Get("Location"); location != "" {
		answer.Header().Set("Location", "http://"+r.Host+location[strings.Index(location, "/upload/"):])
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (f *fakeGCS) answer(r *http.Request) *httptest.ResponseRecorder {
	query := r.URL.Query()
	if want := query.Get("ifGenerationMatch"); want != "" && (r.Method == http.MethodGet || r.Method == http.MethodDelete) {
		if have := f.generation(r); have != "" && have != want {
			return said(http.StatusPreconditionFailed, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
		}
	}
	if strings.HasSuffix(r.URL.Path, "/o") && r.Method == http.MethodGet && query.Get("maxResults") == "" {
		query.Set("maxResults", "1000")
		r.URL.RawQuery = query.Encode()
	}
	answer := httptest.NewRecorder()
	f.fake.ServeHTTP(answer, r)
	if answer.Code == http.StatusNotFound {
		message := "No such object"
		if !f.hasBucket(r) {
			message = "The specified bucket does not exist."
		}
		return said(http.StatusNotFound, "notFound", message)
	}
	return answer
}

// ask makes a request for what the wrapper itself wants to know.
func (f *fakeGCS) ask(path string, into any) int {
	answer := httptest.NewRecorder()
	f.fake.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	_ = json.Unmarshal(answer.Body.Bytes(), into)
	return answer.Code
}

func (f *fakeGCS) generation(r *http.Request) string {
	var object struct{ Generation string }
	f.ask(r.URL.EscapedPath(), &object)
	return object.Generation
}

func (f *fakeGCS) hasBucket(r *http.Request) bool {
	_, path, _ := strings.Cut(r.URL.EscapedPath(), "/b/")
	name, _, _ := strings.Cut(path, "/")
	return f.ask("/storage/v1/b/"+name, new(struct{})) == http.StatusOK
}

func said(code int, reason, message string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	answer.Header().Set("Content-Type", "application/json")
	answer.WriteHeader(code)
	fmt.Fprintf(answer, `{"error":{"code":%d,"message":%q,"errors":[{"message":%[2]q,"domain":"global","reason":%q}]}}`, code, message, reason)
	return answer
}

func gcsBucket(t *testing.T, endpoint, name string) *gcsbucket.Bucket {
	t.Helper()
	client, err := gcsbucket.NewClient(t.Context(), gcsbucket.Options{Endpoint: endpoint})
	require.NoError(t, err)
	return gcsbucket.New(client, name)
}

// TestGCSBucketContract runs the storage contract over Google's client against fake-gcs-server, with a real broken network.
func TestGCSBucketContract(t *testing.T) {
	const pageSize = 100 // the fake takes longer for each object that it holds
	serve := func(t *testing.T, handler http.Handler) string {
		listener := httptest.NewServer(handler)
		t.Cleanup(listener.Close)
		return listener.URL
	}
	buckettest.Run(t, buckettest.Harness{
		New: func(t *testing.T) bucket.Bucket {
			return gcsBucket(t, serve(t, newFakeGCS(t, "acme")), "acme").WithPageSize(pageSize)
		},
		PageSize: pageSize,
		Many:     5 * pageSize / 2,
		Lacks:    func(key string) bool { return strings.ContainsAny(key, "\r\n") || !utf8.ValidString(key) }, // as Cloud Storage itself
		BadKeys:  []string{strings.Repeat("s", 1025), "dags/\xff\xfe.py", "dags/new\nline.py", "."},
		Denied: func(t *testing.T) bucket.Bucket {
			return gcsBucket(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"error":{"code":403,"message":"does not have storage.objects.get access","errors":[{"reason":"forbidden"}]}}`)
			})), "acme")
		},
		Missing: func(t *testing.T) bucket.Bucket { return gcsBucket(t, serve(t, newFakeGCS(t, "another")), "acme") },
		Cutting: func(t *testing.T) (bucket.Bucket, func()) {
			proxy := startProxy(t, serve(t, newFakeGCS(t, "acme")))
			return gcsBucket(t, "http://"+proxy.Listen, "acme"), func() {
				toxic := fmt.Sprintf(`{"type":"limit_data","stream":"downstream","attributes":{"bytes":%d}}`, buckettest.CutAfter)
				_, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
				require.NoError(t, err)
			}
		},
	})
}

// TestGCSPreconditionsAreEnforced: a wrong generation is refused by each call, and changes nothing; the very requests are looked at, since
// a client that sends no condition would pass against a server that has none.
func TestGCSPreconditionsAreEnforced(t *testing.T) {
	var mu sync.Mutex
	conditions := map[string]string{}
	fake := newFakeGCS(t, "acme")
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conditions[r.Method] = r.URL.Query().Get("ifGenerationMatch")
		mu.Unlock()
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(listener.Close)
	b := gcsBucket(t, listener.URL, "acme")
	sent := func(method string) string {
		mu.Lock()
		defer mu.Unlock()
		return conditions[method]
	}
	first, err := b.Put(t.Context(), "record.json", strings.NewReader("first"), bucket.IfAbsent())
	require.NoError(t, err)
	require.Equal(t, "0", sent(http.MethodPost))
	second, err := b.Put(t.Context(), "record.json", strings.NewReader("second"), bucket.IfVersion(first))
	require.NoError(t, err)
	require.Equal(t, first, sent(http.MethodPost))

	for name, call := range map[string]func() error{
		"put if absent": func() error {
			_, err := b.Put(t.Context(), "record.json", strings.NewReader("x"), bucket.IfAbsent())
			return err
		},
		"put if version": func() error {
			_, err := b.Put(t.Context(), "record.json", strings.NewReader("x"), bucket.IfVersion(first))
			return err
		},
		"open":       func() error { _, err := b.Open(t.Context(), "record.json", first, 0); return err },
		"open later": func() error { _, err := b.Open(t.Context(), "record.json", first, 3); return err },
		"delete":     func() error { return b.Delete(t.Context(), "record.json", first) },
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, call(), bucket.ErrChanged)
			content, object, err := bucket.Read(t.Context(), b, "record.json", "", 100)
			require.NoError(t, err)
			require.Equal(t, "second", string(content))
			require.Equal(t, second, object.Version)
		})
	}
	_, err = b.Open(t.Context(), "record.json", first, 0)
	require.ErrorIs(t, err, bucket.ErrChanged)
	require.Equal(t, first, sent(http.MethodGet))
	require.ErrorIs(t, b.Delete(t.Context(), "record.json", first), bucket.ErrChanged)
	require.Equal(t, first, sent(http.MethodDelete))
	require.NoError(t, b.Delete(t.Context(), "record.json", second))
}
