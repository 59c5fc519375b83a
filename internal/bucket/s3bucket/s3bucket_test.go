package s3bucket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/buckettest"
	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

const secretKey = "the-secret-key"

// open returns the bucket "acme" of a server.
func open(t *testing.T, server http.Handler) *s3bucket.Bucket {
	t.Helper()
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return at(listener.URL, s3bucket.NewHTTPClient())
}

// at returns the bucket "acme" of an endpoint, with checksums as the SDK's own configuration has them.
func at(endpoint string, client aws.HTTPClient) *s3bucket.Bucket {
	return s3bucket.New(s3bucket.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint, HTTPClient: client,
		Credentials:                credentials.NewStaticCredentialsProvider("key", secretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}, true), "acme")
}

// TestContract runs against the embedded server, which checks no credentials: of those, only the answer is shown.
func TestContract(t *testing.T) {
	buckettest.Run(t, buckettest.Harness{
		New:      func(t *testing.T) bucket.Bucket { return open(t, s3server.New("acme")) },
		Pair:     pair,
		PageSize: 1000,
		BadKeys:  []string{strings.Repeat("s", 1025)},
		Denied: func(t *testing.T) bucket.Bucket {
			return open(t, refusal(http.StatusForbidden, "InvalidAccessKeyId"))
		},
		Missing: func(t *testing.T) bucket.Bucket { return open(t, s3server.New("another")) },
		Cutting: func(t *testing.T) (bucket.Bucket, func()) {
			var cutting atomic.Bool
			server := s3server.New("acme")
			return open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if cutting.Load() && r.Method == http.MethodGet {
					w = &cutWriter{ResponseWriter: w, left: buckettest.CutAfter}
				}
				server.ServeHTTP(w, r)
			})), func() { cutting.Store(true) }
		},
	})
}

// pair returns the buckets "acme" and "beside" of one server.
func pair(t *testing.T) (from, to bucket.Bucket) {
	listener := httptest.NewServer(s3server.New("acme", "beside"))
	t.Cleanup(listener.Close)
	client := s3bucket.NewClient(aws.Config{Region: "us-east-1", BaseEndpoint: &listener.URL, HTTPClient: s3bucket.NewHTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("key", secretKey, "")}, true)
	return s3bucket.New(client, "acme"), s3bucket.New(client, "beside")
}

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

// refusal answers every request with this error.
func refusal(status int, code string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
		w.WriteHeader(status)
		if r.Method != http.MethodHead && code != "" {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>What\n the server says</Message></Error>", code)
		}
	})
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name      string
		status    int
		code      string
		want      error
		permanent bool
		message   string
	}{
		{"wrong access key", 403, "InvalidAccessKeyId", bucket.ErrDenied, true, "the AWS credentials are wrong or have expired"},
		{"wrong secret key", 403, "SignatureDoesNotMatch", bucket.ErrDenied, true, "the AWS credentials are wrong or have expired"},
		{"expired token", 400, "ExpiredToken", bucket.ErrDenied, true, "the AWS credentials are wrong or have expired"},
		{"no right", 403, "AccessDenied", bucket.ErrDenied, true, "access denied (AccessDenied: What the server says): the role needs s3:GetObject"},
		{"no right, without a document", 403, "", bucket.ErrDenied, true, "access denied: the role needs s3:GetObject"},
		{"a wrong clock", 403, "RequestTimeTooSkewed", bucket.ErrDenied, true, "RequestTimeTooSkewed: What the server says"},
		{"a name that no bucket has", 400, "InvalidBucketName", bucket.ErrNoBucket, true, "check the bucket's name"},
		{"no bucket", 404, "NoSuchBucket", bucket.ErrNoBucket, true, "check the bucket's name and region"},
		{"another region", 301, "PermanentRedirect", bucket.ErrDenied, true, "set AWS_REGION=eu-west-1"},
		{"no key", 404, "NoSuchKey", bucket.ErrNotExist, false, "no such object"},
		{"unknown access key of versitygw", 404, "XAdminUserNotFound", bucket.ErrDenied, true, "the AWS credentials are wrong or have expired"},
		{"no key, without a document", 404, "", bucket.ErrNotExist, false, "no such object"},
		{"anything else that is 404", 404, "Strange", nil, false, "Strange: What the server says"},
		{"changed", 412, "PreconditionFailed", bucket.ErrChanged, false, "not the version"},
		{"archived", 403, "InvalidObjectState", bucket.ErrArchived, false, "must be restored"},
		{"anything else", 400, "Strange", nil, false, "Strange: What the server says"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := open(t, refusal(test.status, test.code)).Open(t.Context(), "dags/a.py", "", 0)
			require.Error(t, err)
			for _, sentinel := range []error{bucket.ErrNotExist, bucket.ErrChanged, bucket.ErrArchived, bucket.ErrDenied, bucket.ErrNoBucket} {
				require.Equal(t, sentinel == test.want, errors.Is(err, sentinel), sentinel)
			}
			require.Equal(t, test.permanent, bucket.Permanent(err))
			require.Contains(t, err.Error(), "s3://acme/dags/a.py")
			require.Contains(t, err.Error(), test.message)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), secretKey)
		})
	}
}

func TestRetriesAreCounted(t *testing.T) {
	var requests atomic.Int64
	server := s3server.New("acme")
	b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			refusal(http.StatusServiceUnavailable, "SlowDown").ServeHTTP(w, r)
			return
		}
		server.ServeHTTP(w, r)
	}))
	var counted bucket.Requests
	listing, err := b.List(bucket.CountRequests(t.Context(), &counted), "")
	require.NoError(t, err)
	require.Empty(t, listing.Objects)
	require.Equal(t, int64(2), counted.List.Load())
}

// answer answers every request with this document.
func answer(document string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", "Tue, 03 Nov 2026 12:00:00 GMT")
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, document)
	})
}

const listHead = "<ListBucketResult><Name>acme</Name>"

func entry(key, rest string) string {
	return `<Contents><Key>` + key + `</Key><LastModified>2026-11-03T11:59:00.000Z</LastModified><ETag>"e"</ETag><Size>1</Size>` + rest + `</Contents>`
}

func TestListedStorageClasses(t *testing.T) {
	const restored = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2026-12-01T00:00:00Z</RestoreExpiryDate></RestoreStatus>"
	for _, test := range []struct {
		class, status string
		archived      bool
	}{
		{"STANDARD", "", false},
		{"STANDARD_IA", "", false},
		{"GLACIER_IR", "", false}, // instant retrieval
		{"GLACIER", "", true},
		{"DEEP_ARCHIVE", "", true},
		{"GLACIER", "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>", true},
		{"GLACIER", restored, false},
	} {
		t.Run(test.class+test.status, func(t *testing.T) {
			listing, err := open(t, answer(listHead+entry("a", "<StorageClass>"+test.class+"</StorageClass>"+test.status)+
				"</ListBucketResult>")).List(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, test.archived, listing.Objects[0].Archived)
			require.Equal(t, time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC), listing.Time, "the server's clock")
			require.Equal(t, time.Date(2026, 11, 3, 11, 59, 0, 0, time.UTC), listing.Objects[0].Modified)
			require.Equal(t, `"e"`, listing.Objects[0].Version)
		})
	}
}

func TestListedKeysAreDecodedOnlyIfEncoded(t *testing.T) {
	for encoding, want := range map[string]string{"<EncodingType>url</EncodingType>": "a b+.py", "": "a+b%2B.py", "<EncodingType></EncodingType>": "a+b%2B.py"} {
		listing, err := open(t, answer(listHead+encoding+entry("a+b%2B.py", "")+"</ListBucketResult>")).List(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, want, listing.Objects[0].Key)
	}
}

func TestAListingOutOfOrderIsRefused(t *testing.T) {
	for name, second := range map[string]string{"descending": "a", "twice": "b"} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, answer(listHead+entry("dags/b", "")+entry("dags/"+second, "")+"</ListBucketResult>")).List(t.Context(), "dags/")
			require.ErrorContains(t, err, "s3://acme/dags/")
			require.ErrorContains(t, err, "order")
		})
	}
}

// TestAFailedUploadLeavesNoParts: parts cost money until somebody removes them.
func TestAFailedUploadLeavesNoParts(t *testing.T) {
	for name, interrupt := range map[string]func(context.CancelFunc) error{
		"the body fails":           func(context.CancelFunc) error { return errors.New("the source failed") },
		"the context is cancelled": func(cancel context.CancelFunc) error { cancel(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var begun, aborted atomic.Int64
			server := s3server.New("acme")
			b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				query := r.URL.Query()
				if query.Has("uploads") {
					begun.Add(1)
				}
				if query.Has("uploadId") && r.Method == http.MethodDelete {
					aborted.Add(1)
				}
				server.ServeHTTP(w, r)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			parts := strings.NewReader(strings.Repeat("x", 20<<20))
			_, err := b.Put(ctx, "bundle", io.MultiReader(parts, interruption(func() error { return interrupt(cancel) }), strings.NewReader("x")), bucket.Always)
			require.Error(t, err)
			require.Equal(t, int64(1), begun.Load())
			require.Equal(t, int64(1), aborted.Load())
		})
	}
}

// interruption is a reader without bytes, which does something when it is its turn.
type interruption func() error

func (i interruption) Read([]byte) (int, error) {
	if err := i(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func TestALargeConditionalPutIsRefused(t *testing.T) {
	b := open(t, s3server.New("acme"))
	_, err := b.Put(t.Context(), "record.json", strings.NewReader(strings.Repeat("x", 16<<20+1)), bucket.IfAbsent())
	require.ErrorContains(t, err, "s3://acme/record.json: a conditional write takes at most 16777216 bytes")
}

// settings clears what the SDK would find on this machine.
func settings(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	nothing := filepath.Join(t.TempDir(), "nothing")
	t.Setenv("AWS_CONFIG_FILE", nothing)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestMissingSettings(t *testing.T) {
	for _, test := range []struct {
		name, region, endpoint string
		want                   error
		message                string
	}{
		{"no region", "", "", bucket.ErrNoBucket, "set AWS_REGION to the bucket's"},
		{"no credentials", "eu-west-1", "http://127.0.0.1:1", bucket.ErrDenied, "no AWS credentials were found: set AWS_PROFILE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			settings(t)
			t.Setenv("AWS_REGION", test.region)
			t.Setenv("AWS_ENDPOINT_URL", test.endpoint)
			cfg, err := config.LoadDefaultConfig(t.Context())
			require.NoError(t, err)
			_, err = s3bucket.New(s3bucket.NewClient(cfg, test.endpoint != ""), "acme").List(t.Context(), "dags/")
			require.ErrorIs(t, err, test.want)
			require.True(t, bucket.Permanent(err))
			require.ErrorContains(t, err, "cannot list s3://acme/dags/: ")
			require.ErrorContains(t, err, test.message)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestAServerThatIsDownIsNamed(t *testing.T) {
	listener := httptest.NewServer(http.NotFoundHandler())
	b := s3bucket.New(s3bucket.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: &listener.URL, HTTPClient: s3bucket.NewHTTPClient(), Credentials: aws.AnonymousCredentials{},
		RetryMaxAttempts: 1,
	}, true), "acme")
	listener.Close()
	_, err := b.List(t.Context(), "dags/")
	address := strings.TrimPrefix(listener.URL, "http://")
	require.EqualError(t, err, "cannot list s3://acme/dags/: dial tcp "+address+": connect: connection refused: check that the function can reach "+address+" (DNS, VPC, proxy)")
	require.False(t, bucket.Permanent(err))
}

// TestTheErrorOfABodyIsNotTakenForTheStorages: a body may be another object that is being read.
func TestTheErrorOfABodyIsNotTakenForTheStorages(t *testing.T) {
	b := open(t, s3server.New("acme"))
	_, cause := b.Open(t.Context(), "dags/a.py", "", 0)
	require.ErrorIs(t, cause, bucket.ErrNotExist)
	failing := interruption(func() error { return fmt.Errorf("packing dags/a.py: %w", cause) })
	_, err := b.Put(t.Context(), "bundle", failing, bucket.Always)
	require.EqualError(t, err, "cannot write s3://acme/bundle: packing dags/a.py: "+cause.Error())
	require.ErrorIs(t, err, bucket.ErrNotExist)
}

func TestACancelledListingIsNoPartOfOne(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := s3server.New("acme")
	b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("continuation-token") {
			cancel()
			<-r.Context().Done() // the client has hung up
			return
		}
		server.ServeHTTP(w, r)
	})).WithPageSize(2)
	for _, key := range []string{"a", "b", "c"} {
		_, err := b.Put(t.Context(), key, strings.NewReader("x"), bucket.Always)
		require.NoError(t, err)
	}
	listing, err := b.List(ctx, "")
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, listing.Objects)
}

func TestARangeThatIsIgnoredIsNoticed(t *testing.T) {
	b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"e"`)
		answer("the whole object").ServeHTTP(w, r)
	}))
	body, err := b.Open(t.Context(), "dags/a.py", "", 0)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	_, err = b.Open(t.Context(), "dags/a.py", "", 4)
	require.ErrorContains(t, err, "s3://acme/dags/a.py: the storage was asked for bytes from 4 on")
}

// slowClient answers after a while, as a client without a network.
type slowClient struct{ after time.Duration }

func (c slowClient) Do(r *http.Request) (*http.Response, error) {
	time.Sleep(c.after)
	recorder := httptest.NewRecorder()
	answer(listHead+entry("a", "")+"</ListBucketResult>").ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func TestASlowListingIsDatedByItsBeginning(t *testing.T) {
	for after, want := range map[time.Duration]int{900 * time.Millisecond: 0, 7500 * time.Millisecond: -7} {
		synctest.Test(t, func(t *testing.T) {
			b := s3bucket.New(s3bucket.NewClient(aws.Config{
				Region: "us-east-1", HTTPClient: slowClient{after}, Credentials: aws.AnonymousCredentials{},
			}, true), "acme")
			listing, err := b.List(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, time.Date(2026, 11, 3, 12, 0, want, 0, time.UTC), listing.Time)
		})
	}
}

// TestUploadsOverTLS: only there the SDK frames a body in chunks and sends its checksum behind it, as it does to S3.
func TestUploadsOverTLS(t *testing.T) {
	var framed atomic.Int64
	server := s3server.New("acme")
	listener := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Trailer") != "" {
			framed.Add(1)
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(listener.Close)
	trusting := s3bucket.NewHTTPClient().WithTransportOptions(func(transport *http.Transport) {
		transport.TLSClientConfig = listener.Client().Transport.(*http.Transport).TLSClientConfig
	})
	b := at(listener.URL, trusting)
	for i, test := range []struct {
		size int
		when bucket.Condition
	}{{0, bucket.Always}, {5, bucket.Always}, {13 << 20, bucket.Always}, {5, bucket.IfAbsent()}} {
		key, content := fmt.Sprint("bundle ", i), strings.Repeat("x", test.size)
		version, err := b.Put(t.Context(), key, io.MultiReader(strings.NewReader(content)), test.when)
		require.NoError(t, err)
		got, _, err := bucket.Read(t.Context(), b, key, version, int64(test.size))
		require.NoError(t, err)
		require.True(t, content == string(got), key)
	}
	require.Equal(t, int64(4), framed.Load(), "two small ones and two parts; an empty one is not")
}

func TestAWrongChecksumIsAnError(t *testing.T) {
	for name, checksum := range map[string]string{"right": "NhCmhg==", "wrong": "AAAAAA=="} { // CRC32 of "hello"
		t.Run(name, func(t *testing.T) {
			b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"e"`)
				if r.Header.Get("Range") != "" { // the reader tries to go on at the end
					refusal(http.StatusRequestedRangeNotSatisfiable, "InvalidRange").ServeHTTP(w, r)
					return
				}
				w.Header().Set("X-Amz-Checksum-Crc32", checksum)
				fmt.Fprint(w, "hello")
			}))
			content, _, err := bucket.Read(t.Context(), b, "dags/a.py", "", 5)
			if name == "right" {
				require.NoError(t, err)
				require.Equal(t, "hello", string(content))
				return
			}
			require.ErrorContains(t, err, "s3://acme/dags/a.py at byte 5: ")
			require.ErrorContains(t, err, "checksum did not match")
		})
	}
}

// TestBrowsersAreTold how to take an object, whichever way it was written.
func TestBrowsersAreTold(t *testing.T) {
	storage := s3server.New("acme")
	var got []string
	b := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = []string{r.Header.Get("Content-Type"), r.Header.Get("Cache-Control")}
		storage.ServeHTTP(w, r)
	}))
	for _, when := range []bucket.Condition{bucket.IfAbsent(), bucket.Always} {
		_, err := b.Put(t.Context(), "status.html", strings.NewReader("<!doctype html>"), when)
		require.NoError(t, err)
		require.Equal(t, []string{"text/html; charset=utf-8", "no-cache"}, got)
	}
}
