package gcsbucket_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/gcsbucket"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// served answers like a storage without a network, so that the pauses take no time.
func served(t *testing.T, handler http.Handler) *gcsbucket.Bucket {
	t.Helper()
	return at(t, gcsbucket.Options{Endpoint: "http://storage.example", Transport: transport(func(r *http.Request) (*http.Response, error) {
		if r.Body == nil {
			r.Body = http.NoBody
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		response := recorder.Result()
		response.Request = r
		return response, r.Context().Err()
	})})
}

// answer is one that anything may give.
func answer(status int, contentType, content string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, content)
	})
}

const (
	html = "<html><body>Sign in to the\nguest network</body></html>"
	kms  = "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized to use this key."
)

// calls are the contract's, and what an error of each begins with.
func calls(b bucket.Bucket) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"cannot list gs://acme/dags/": func(ctx context.Context) error { _, err := b.List(ctx, "dags/"); return err },
		"cannot read gs://acme/dags/a.py": func(ctx context.Context) error {
			_, err := b.Open(ctx, "dags/a.py", "", 0)
			return err
		},
		"cannot write gs://acme/record.json": func(ctx context.Context) error {
			_, err := b.Put(ctx, "record.json", strings.NewReader("x"), bucket.IfAbsent())
			return err
		},
		"cannot write gs://acme/bundle": func(ctx context.Context) error {
			_, err := b.Put(ctx, "bundle", strings.NewReader("x"), bucket.Always)
			return err
		},
		"cannot delete gs://acme/old": func(ctx context.Context) error { return b.Delete(ctx, "old", "") },
	}
}

// TestErrorsOfDownloads: Cloud Storage answers those with a bare line of text.
func TestErrorsOfDownloads(t *testing.T) {
	for name, test := range map[string]struct {
		status    int
		text      string
		want      error
		permanent bool
		says      string
	}{
		"no object":        {404, "No such object: acme/dags/a.py", bucket.ErrNotExist, false, "no such object"},
		"named like words": {404, "No such object: acme/dags/The specified bucket does not exist.py", bucket.ErrNotExist, false, "no such object"},
		"no bucket":        {404, "The specified bucket does not exist.", bucket.ErrNoBucket, true, "check the bucket's name"},
		"no right":         {403, "x@acme does not have storage.objects.get access.", bucket.ErrDenied, true, "(x@acme does not have storage.objects.get access.)"},
		"the key is off":   {400, "The Cloud KMS key is not enabled, current state is: DISABLED.", bucket.ErrDenied, true, "see that the bucket's KMS key is enabled"},
		"requester pays":   {400, "Bucket is a requester pays bucket but no user project provided.", bucket.ErrDenied, true, "set GOOGLE_CLOUD_QUOTA_PROJECT"},
	} {
		t.Run(name, func(t *testing.T) {
			b := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, "media", r.URL.Query().Get("alt"))
				w.Header().Set("X-GUploader-UploadID", "AAw")
				answer(test.status, "text/html; charset=UTF-8", test.text).ServeHTTP(w, r)
			}))
			_, err := b.Open(t.Context(), "dags/a.py", "", 0)
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.says)
			require.Equal(t, test.permanent, bucket.Permanent(err))
		})
	}
	_, err := served(t, answer(403, "text/html", html)).Open(t.Context(), "dags/a.py", "", 0)
	require.NotContains(t, err.Error(), "guest network", "what stands before the storage is not quoted")
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.Handler
		want    error // permanent; nil is one that may pass
		says    string
	}{
		"no right": {refusal(403, "forbidden", "x@acme.iam.gserviceaccount.com does not have the right."), bucket.ErrDenied,
			"access denied (x@acme.iam.gserviceaccount.com does not have the right.): the service account needs storage.objects."},
		"no credentials": {refusal(401, "required", "Anonymous caller does not have access."), bucket.ErrDenied,
			"access denied: there are no valid Google credentials: run gcloud auth application-default login, or give the function a service account"},
		"no right on the key":   {refusal(403, "forbidden", kms), bucket.ErrDenied, "roles/cloudkms.cryptoKeyEncrypterDecrypter on it"},
		"the key is off":        {refusal(400, "invalid", "The Cloud KMS key is not enabled, current state is: DISABLED."), bucket.ErrDenied, "see that the bucket's KMS key is enabled"},
		"requester pays":        {refusal(400, "required", "Bucket is a requester pays bucket but no user project provided."), bucket.ErrDenied, "set GOOGLE_CLOUD_QUOTA_PROJECT to the project that pays"},
		"too fast, 429":         {refusal(429, "rateLimitExceeded", "The object exceeded the rate limit."), nil, "rateLimitExceeded: The object exceeded the rate limit. (tried 6 times)"},
		"too fast, 403":         {refusal(403, "userRateLimitExceeded", "Slow down."), nil, "userRateLimitExceeded: Slow down."},
		"broken there":          {refusal(503, "backendError", "We are sorry."), nil, "backendError: We are sorry. (tried 6 times)"},
		"HTML, 502":             {answer(502, "text/html", html), nil, "HTTP 502 Bad Gateway from the storage (tried 6 times)"},
		"empty, 503":            {answer(503, "", ""), nil, "HTTP 503 Service Unavailable from the storage (tried 6 times)"},
		"HTML, 302":             {answer(302, "text/html", html), nil, "check that no proxy answers in the storage's place"},
		"HTML, 418":             {answer(418, "text/html", html), nil, "HTTP 418 I'm a teapot from the storage"},
		"a conflict":            {refusal(409, "conflict", "Try\nagain."), nil, "conflict: Try again."},
		"a bucket that is gone": {refusal(404, "notFound", "The specified bucket does not exist."), bucket.ErrNoBucket, "no such bucket: check the bucket's name"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for begins, call := range calls(served(t, test.handler)) {
					err := call(t.Context())
					require.ErrorContains(t, err, begins+": ")
					require.ErrorContains(t, err, test.says)
					require.NotContains(t, err.Error(), "\n")
					require.NotContains(t, err.Error(), "guest network")
					require.Less(t, len(err.Error()), 500)
					require.Equal(t, test.want != nil, bucket.Permanent(err), "%v", err)
					if test.want != nil {
						require.ErrorIs(t, err, test.want)
					}
				}
			})
		})
	}
}

// TestForeignAnswers: what says 200 and is not Cloud Storage is an error, never an empty listing or a version.
func TestForeignAnswers(t *testing.T) {
	for name, handler := range map[string]http.Handler{
		"HTML": answer(200, "text/html", html), "an empty object": answer(200, "application/json", "{}"), "null": answer(200, "application/json", "null"),
		"nothing": answer(200, "", ""), "204": answer(204, "", ""),
		"another kind of listing": answer(200, "application/json", `{"kind":"storage#buckets","items":[]}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for begins, call := range calls(served(t, handler)) {
					if begins == "cannot delete gs://acme/old" {
						continue // nothing is asked of its answer
					}
					err := call(t.Context())
					require.ErrorContains(t, err, begins)
					require.False(t, bucket.Permanent(err))
					require.NotContains(t, err.Error(), "\n")
				}
			})
		})
	}
}

func TestListingsAreDoubted(t *testing.T) {
	item := func(name, generation, size string) string {
		return fmt.Sprintf(`{"name":%q,"generation":%q,"size":%q,"timeCreated":"2026-11-25T04:00:00Z"}`, name, generation, size)
	}
	page := func(items ...string) string {
		return `{"kind":"storage#objects","items":[` + strings.Join(items, ",") + `]}`
	}
	for says, content := range map[string]string{
		"does not list keys in order":     page(item("dags/b", "1", "1"), item("dags/a", "1", "1")),
		`in order: "dags/a" after "dags/`: page(item("dags/a", "1", "1"), item("dags/a", "2", "1")),
		"which was not asked for":         page(item("dags_old/a", "1", "1")),
		"without a generation":            page(item("dags/a", "0", "1")),
		"its next page is the same again": `{"kind":"storage#objects","nextPageToken":"x","items":[]}`,
	} {
		t.Run(says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listing, err := served(t, answer(200, "application/json", content)).List(t.Context(), "dags/")
				require.ErrorContains(t, err, says)
				require.Empty(t, listing.Objects)
			})
		})
	}
}

func TestEmptyPagesGoOn(t *testing.T) {
	b := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.True(t, strings.HasPrefix(r.URL.Query().Get("fields"), "kind,"))
		switch token := r.URL.Query().Get("pageToken"); token {
		case "":
			fmt.Fprint(w, `{"kind":"storage#objects","nextPageToken":"1"}`)
		case "1":
			fmt.Fprint(w, `{"kind":"storage#objects","nextPageToken":"2"}`)
		default:
			fmt.Fprint(w, `{"kind":"storage#objects","items":[{"name":"dags/a","generation":"7","size":"3","timeCreated":"2026-11-25T04:00:00.123Z"}]}`)
		}
	}))
	listing, err := b.List(t.Context(), "dags/")
	require.NoError(t, err)
	require.Equal(t, []bucket.Object{{Key: "dags/a", Size: 3, Version: "7", Modified: time.Date(2026, 11, 25, 4, 0, 0, 123_000_000, time.UTC)}}, listing.Objects)
}

func TestTheListingsTimeIsThatOfItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now().UTC().Truncate(time.Second)
		pages := 0
		b := served(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(20 * time.Second)
			w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
			if pages++; pages < 3 {
				fmt.Fprintf(w, `{"kind":"storage#objects","nextPageToken":"%d"}`, pages)
				return
			}
			fmt.Fprint(w, `{"kind":"storage#objects"}`)
		}))
		listing, err := b.List(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, began, listing.Time)
	})
}

// TestWhatPassesIsTriedAgain: each call comes through after faults of each kind, and counts its requests.
func TestWhatPassesIsTriedAgain(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for name, fault := range map[string]func(*http.Request) (*http.Response, error){
		"429": func(r *http.Request) (*http.Response, error) {
			return recorded(refusal(429, "rateLimitExceeded", "x"), r)
		},
		"503":   func(r *http.Request) (*http.Response, error) { return recorded(refusal(503, "backendError", "x"), r) },
		"reset": func(*http.Request) (*http.Response, error) { return nil, reset },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := server(t, "acme")
				left := 0
				b := at(t, gcsbucket.Options{Endpoint: "http://storage.example", Transport: transport(func(r *http.Request) (*http.Response, error) {
					if left > 0 {
						left--
						if r.Body != nil {
							_, _ = io.Copy(io.Discard, r.Body)
						}
						return fault(r)
					}
					return recorded(storage, r)
				})})
				var requests bucket.Requests
				ctx := bucket.CountRequests(t.Context(), &requests)
				left = 3
				version, err := b.Put(ctx, "dags/a.py", strings.NewReader("a"), bucket.IfAbsent())
				require.NoError(t, err)
				left = 3
				version, err = b.Put(ctx, "dags/a.py", strings.NewReader("b"), bucket.IfVersion(version))
				require.NoError(t, err)
				left = 3
				_, err = b.Put(ctx, "dags/b.py", strings.NewReader("b"), bucket.Always)
				require.NoError(t, err)
				left = 3
				listing, err := b.List(ctx, "dags/")
				require.NoError(t, err)
				require.Len(t, listing.Objects, 2)
				left = 3
				content, _, err := bucket.Read(ctx, b, "dags/a.py", version, 10)
				require.NoError(t, err)
				require.Equal(t, "b", string(content))
				left = 3
				require.NoError(t, b.Delete(ctx, "dags/a.py", version))
				require.Equal(t, []int64{4, 4, 12, 4}, []int64{requests.List.Load(), requests.Get.Load(), requests.Put.Load(), requests.Delete.Load()})
			})
		})
	}
}

func recorded(handler http.Handler, r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	response := recorder.Result()
	response.Request = r
	return response, nil
}

// TestALostAnswerOfASwap: the repeated request finds its own write, and its caller is told that somebody changed the object: it has to look.
func TestALostAnswerOfASwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := server(t, "acme")
		lose := false
		b := at(t, gcsbucket.Options{Endpoint: "http://storage.example", Transport: transport(func(r *http.Request) (*http.Response, error) {
			response, err := recorded(storage, r)
			if lose {
				lose = false
				return nil, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
			}
			return response, err
		})})
		lose = true
		_, err := b.Put(t.Context(), "record.json", strings.NewReader("mine"), bucket.IfAbsent())
		require.ErrorIs(t, err, bucket.ErrChanged)
		content, _, err := bucket.Read(t.Context(), b, "record.json", "", 10)
		require.NoError(t, err)
		require.Equal(t, "mine", string(content))
	})
}

// TestOneWriteASecond: Cloud Storage refuses faster ones, and they are tried again until they are taken.
func TestOneWriteASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := server(t, "acme")
		storage.WriteInterval = time.Second
		b := served(t, storage)
		version := ""
		for i := range 5 {
			when := bucket.IfAbsent()
			if version != "" {
				when = bucket.IfVersion(version)
			}
			var err error
			version, err = b.Put(t.Context(), "lease.json", strings.NewReader(fmt.Sprint(i)), when)
			require.NoError(t, err)
		}
	})
}

// TestRequesterPays: the project that pays is named only to buckets that ask for it, and then always.
func TestRequesterPays(t *testing.T) {
	storage := server(t, "acme")
	for name, asks := range map[string]bool{"requester pays": true, "owner pays": false} {
		t.Run(name, func(t *testing.T) {
			var named, unnamed, asked atomic.Int32
			b := at(t, gcsbucket.Options{
				Endpoint: "http://storage.example",
				Payer:    func(context.Context) (string, error) { asked.Add(1); return "team-project", nil },
				Transport: transport(func(r *http.Request) (*http.Response, error) {
					switch project := r.URL.Query().Get("userProject"); {
					case project == "team-project":
						named.Add(1)
					case asks:
						unnamed.Add(1)
						return recorded(refusal(400, "required", "Bucket is a requester pays bucket but no user project provided."), r)
					}
					return recorded(storage, r)
				}),
			})
			_, err := b.Put(t.Context(), "a", strings.NewReader("a"), bucket.IfAbsent())
			require.NoError(t, err)
			_, err = b.Put(t.Context(), "a", strings.NewReader("b"), bucket.Always)
			require.NoError(t, err)
			listing, err := b.List(t.Context(), "")
			require.NoError(t, err)
			content, _, err := bucket.Read(t.Context(), b, "a", listing.Objects[0].Version, 10)
			require.NoError(t, err)
			require.Equal(t, "b", string(content))
			require.NoError(t, b.Delete(t.Context(), "a", ""))
			if asks {
				require.Equal(t, []int32{5, 1, 1}, []int32{named.Load(), unnamed.Load(), asked.Load()})
			} else {
				require.Equal(t, []int32{0, 0, 0}, []int32{named.Load(), unnamed.Load(), asked.Load()})
			}
		})
	}
	b := at(t, gcsbucket.Options{Endpoint: "http://storage.example", Payer: func(context.Context) (string, error) { return "", errors.New("no project is known") },
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			return recorded(refusal(400, "required", "Bucket is a requester pays bucket but no user project provided."), r)
		})})
	_, err := b.List(t.Context(), "")
	require.ErrorIs(t, err, bucket.ErrDenied)
	require.ErrorContains(t, err, "set GOOGLE_CLOUD_QUOTA_PROJECT")
	require.ErrorContains(t, err, "no project is known")
}

// TestCompressedObjects: they are listed and read as they are stored, from any offset, and marked.
func TestCompressedObjects(t *testing.T) {
	var stored bytes.Buffer
	zw := gzip.NewWriter(&stored)
	_, err := io.WriteString(zw, strings.Repeat("print('hello')\n", 1000))
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	storage := server(t, "acme")
	upload := httptest.NewRequest(http.MethodPost, "/upload/storage/v1/b/acme/o?uploadType=media&name=dags/a.py&contentEncoding=gzip", bytes.NewReader(stored.Bytes()))
	_, err = recorded(storage, upload)
	require.NoError(t, err)
	b := open(t, storage)

	listing, err := b.List(t.Context(), "dags/")
	require.NoError(t, err)
	require.Len(t, listing.Objects, 1)
	object := listing.Objects[0]
	require.True(t, object.Gzip)
	require.Equal(t, int64(stored.Len()), object.Size)
	require.True(t, strings.HasSuffix(object.Version, "/gzip"))
	for _, offset := range []int64{0, 1, object.Size - 1, object.Size} {
		body, err := b.Open(t.Context(), object.Key, object.Version, offset)
		require.NoError(t, err)
		rest, err := io.ReadAll(body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(stored.Bytes()[offset:], rest), "from %d", offset)
		require.True(t, body.Object.Gzip)
		require.Equal(t, object.Version, body.Object.Version)
	}
	content, _, err := bucket.Read(t.Context(), b, object.Key, object.Version, 1<<20)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("print('hello')\n", 1000), string(content), "small objects are read decompressed")
	_, _, err = bucket.Read(t.Context(), b, object.Key, object.Version, 1000)
	require.ErrorIs(t, err, bucket.ErrTooLarge)

	_, err = b.Open(t.Context(), object.Key, strings.TrimSuffix(object.Version, "/gzip"), 0)
	require.ErrorIs(t, err, bucket.ErrChanged, "the same generation, under another encoding")
}

// TestAFailingSourcePublishesNothing also while the storage is slow, and leaves nobody behind.
func TestAFailingSourcePublishesNothing(t *testing.T) {
	for _, size := range []int64{0, 1 << 20, 20 << 20} {
		storage := server(t, "acme")
		var mu sync.Mutex
		last := ""
		b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			last = r.Header.Get("Content-Range")
			mu.Unlock()
			storage.ServeHTTP(w, r)
		}))
		cause := errors.New("the source failed")
		_, err := b.Put(t.Context(), "bundle", io.MultiReader(io.LimitReader(zeros{}, size), failing{cause}), bucket.Always)
		require.ErrorIs(t, err, cause)
		listing, err := b.List(t.Context(), "")
		require.NoError(t, err)
		require.Empty(t, listing.Objects)
		mu.Lock()
		require.False(t, strings.HasSuffix(last, "/20971520"), "the upload was ended as if it were whole")
		mu.Unlock()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
