package gcpsecret

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"

	"github.com/dagbucket/dagbucket/internal/secret"
)

// answer is what the fake says: a status and a body, or "" to cut the connection.
type answer struct {
	status int
	body   string
}

// fakeGoogle gives the answers in turn, the last one for ever, and checks what it is asked.
func fakeGoogle(t *testing.T, path string, answers ...answer) (r *reader, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != path || r.Header.Get("Authorization") != "Bearer TOKEN" {
			t.Errorf("asked %s %s as %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
		}
		a := answers[min(int(requests.Add(1)), len(answers))-1]
		if a.body == "" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(server.Close)
	return withoutPauses(option.WithEndpoint(server.URL),
		option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "TOKEN"}))), requests
}

func withoutPauses(opts ...option.ClientOption) *reader {
	r := newReader(opts)
	r.pauses = func() backoff.BackOff { return &backoff.ZeroBackOff{} }
	return r
}

// payloadOf is the answer with a payload; sum is added to its checksum.
func payloadOf(text string, sum int64) answer {
	sum += int64(crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
	return answer{200, fmt.Sprintf(`{"name":"projects/1/secrets/astro/versions/3","payload":{"data":%q,"dataCrc32c":"%d"}}`,
		base64.StdEncoding.EncodeToString([]byte(text)), sum)}
}

func secretOf(text string) answer { return payloadOf(text, 0) }

// refusal is an error in the form of https://cloud.google.com/apis/design/errors#http_mapping.
func refusal(code int, status, reason, message string) answer {
	return answer{code, fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[`+
		`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":%q,"domain":"googleapis.com","metadata":{"m":"SECRET"}},`+
		`{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"SECRET"}]}}`, code, message, status, reason)}
}

var (
	missing     = refusal(404, "NOT_FOUND", "", "Secret [projects/1/secrets/astro] not found or has no versions.")
	denied      = refusal(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "Permission 'secretmanager.versions.access' denied for resource 'projects/p/secrets/astro/versions/latest' (or it may not exist).")
	off         = refusal(403, "PERMISSION_DENIED", "SERVICE_DISABLED", "Secret Manager API is off.")
	unused      = refusal(403, "PERMISSION_DENIED", "", "Secret Manager API has not been used in project 1 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/secretmanager.googleapis.com/overview?project=1 then retry.")
	disabled    = refusal(400, "FAILED_PRECONDITION", "", "Secret Version [projects/1/secrets/astro/versions/4] is in DISABLED state.")
	invalid     = refusal(400, "INVALID_ARGUMENT", "", "The provided Secret ID does not match the expected format [projects/*/secrets/*/versions/*]")
	unknown     = refusal(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", "Request had invalid authentication credentials.")
	throttled   = refusal(429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "Quota exceeded.")
	unavailable = refusal(503, "UNAVAILABLE", "", "The service is currently unavailable.")
)

type readCase struct {
	name, ref, asked string // ref and asked have defaults
	answers          []answer
	want, wantErr    string
	permanent        bool
	requests         int64
}

func (c readCase) run(t *testing.T) {
	r, requests := fakeGoogle(t, c.asked, c.answers...)
	got, err := r.resolver().Resolve(t.Context(), c.ref)
	require.Equal(t, c.want, got)
	require.Equal(t, c.requests, requests.Load())
	if c.wantErr == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorContains(t, err, c.wantErr)
	requireTidy(t, err, c.ref, c.permanent)
}

// requireTidy checks what holds for every error.
func requireTidy(t *testing.T, err error, ref string, permanent bool) {
	t.Helper()
	require.ErrorContains(t, err, "secret "+ref+": ")
	for _, unwanted := range []string{"SECRET", "U0VDUkVU", "TOKEN", "\n", "alt=json"} {
		require.NotContains(t, err.Error(), unwanted)
	}
	require.Less(t, len(err.Error()), 700)
	var p interface{ Permanent() bool }
	require.Equal(t, permanent, errors.As(err, &p) && p.Permanent(), "permanent: %v", err)
}

const (
	ref   = "gcp-sm:projects/acme-prod/secrets/astro"
	asked = "/v1/projects/acme-prod/secrets/astro/versions/latest:access"
)

func runAll(t *testing.T, cases []readCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.ref == "" {
				c.ref = ref
			}
			if c.asked == "" {
				c.asked = asked
			}
			c.run(t)
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	object := []answer{secretOf(`{"token":"SECRET","n":1,"e":""}`)}
	const regional = "/locations/europe-west3/secrets/astro"
	runAll(t, []readCase{
		{name: "text", answers: []answer{secretOf("SECRET")}, want: "SECRET", requests: 1},
		{name: "line end", answers: []answer{secretOf("SECRET\r\n")}, want: "SECRET", requests: 1},
		{name: "latest", ref: ref + "/versions/latest", answers: []answer{secretOf("SECRET")}, want: "SECRET", requests: 1},
		{
			name: "version", ref: ref + "/versions/12", asked: "/v1/projects/acme-prod/secrets/astro/versions/12:access",
			answers: []answer{secretOf("SECRET")}, want: "SECRET", requests: 1,
		},
		{
			name: "regional", ref: "gcp-sm:projects/acme-prod" + regional, asked: "/v1/projects/acme-prod" + regional + "/versions/latest:access",
			answers: []answer{secretOf("SECRET")}, want: "SECRET", requests: 1,
		},
		{
			name: "regional version", ref: "gcp-sm:projects/acme-prod" + regional + "/versions/live#token",
			asked: "/v1/projects/acme-prod" + regional + "/versions/live:access", answers: object, want: "SECRET", requests: 1,
		},
		{
			name: "project of a domain", ref: "gcp-sm:projects/acme.com:prod/secrets/astro", asked: "/v1/projects/acme.com:prod/secrets/astro/versions/latest:access",
			answers: []answer{secretOf("SECRET")}, want: "SECRET", requests: 1,
		},
		{name: "key", ref: ref + "#token", answers: object, want: "SECRET", requests: 1},
		{name: "object without key", answers: object, wantErr: "it is a JSON object: add #key", permanent: true, requests: 1},
		{name: "no such key", ref: ref + "#tokn", answers: object, wantErr: `has no key "tokn": correct the key`, permanent: true, requests: 1},
		{name: "no key after #", ref: ref + "#", answers: object, wantErr: `has no key ""`, permanent: true, requests: 1},
		{name: "key of a number", ref: ref + "#n", answers: object, wantErr: `the value of "n" in its JSON object is not text`, permanent: true, requests: 1},
		{name: "key of an empty text", ref: ref + "#e", answers: object, wantErr: "it is empty", permanent: true, requests: 1},
		{name: "key but no object", ref: ref + "#token", answers: []answer{secretOf("SECRET")}, wantErr: "not a JSON object: leave out #token", permanent: true, requests: 1},
		{name: "key but null", ref: ref + "#token", answers: []answer{secretOf("null")}, wantErr: "not a JSON object", permanent: true, requests: 1},
		{name: "text that begins as an object", answers: []answer{secretOf("{SECRET")}, want: "{SECRET", requests: 1},
		{name: "empty", answers: []answer{{200, `{"payload":{"dataCrc32c":"0"}}`}}, wantErr: "it is empty", permanent: true, requests: 1},
		{name: "binary", answers: []answer{secretOf("SECRET\xff")}, wantErr: "it is a binary secret: store it as text", permanent: true, requests: 1},
		{name: "no checksum", answers: []answer{{200, `{"payload":{"data":"U0VDUkVU"}}`}}, want: "SECRET", requests: 1},
		{name: "damaged, then well", answers: []answer{payloadOf("SECRET", 1), secretOf("SECRET")}, want: "SECRET", requests: 2},
		{name: "damaged for long", answers: []answer{payloadOf("SECRET", 1)}, wantErr: "the payload of Secret Manager does not match its checksum (CRC32C)", requests: maxTries},
		{name: "no payload", answers: []answer{{200, `{}`}}, wantErr: "Secret Manager answered without a payload", requests: maxTries},
		{name: "not base64", answers: []answer{{200, `{"payload":{"data":"SECRET!"}}`}}, wantErr: "payload that is not base64", requests: maxTries},
		{name: "not JSON", answers: []answer{{200, "SECRET"}}, wantErr: "cannot be read from Secret Manager: its answer broke off or cannot be understood", requests: maxTries},
		{name: "other JSON", answers: []answer{{200, `{"payload":{"data":5,"dataCrc32c":"SECRET"}}`}}, wantErr: "cannot be understood", requests: maxTries},
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const regional = "projects/acme-prod/locations/europe-west3/secrets/astro"
	long := refusal(503, "UNAVAILABLE", "", "line 1 "+strings.Repeat("ü", 5000)+"\nline 2 SECRET")
	runAll(t, []readCase{
		{name: "missing", answers: []answer{missing}, wantErr: "there is no such secret or version in the project: correct its name", permanent: true, requests: 1},
		{name: "without versions", answers: []answer{missing}, wantErr: "or add a version if the secret is empty: Google answered 404 NOT_FOUND Secret [projects/1/", permanent: true, requests: 1},
		{name: "missing, in HTML", answers: []answer{{404, "<html>\nSECRET"}}, wantErr: "there is no such secret", permanent: true, requests: 1},
		{name: "denied", answers: []answer{denied}, wantErr: "allow roles/secretmanager.secretAccessor on it to this function's service account", permanent: true, requests: 1},
		{name: "API off", answers: []answer{off}, wantErr: "enable secretmanager.googleapis.com", permanent: true, requests: 1},
		{name: "API never used", answers: []answer{unused}, wantErr: "enable secretmanager.googleapis.com", permanent: true, requests: 1},
		{name: "disabled", answers: []answer{disabled}, wantErr: "enable its version if that is disabled, name another or add one", permanent: true, requests: 1},
		{name: "invalid", answers: []answer{invalid}, wantErr: "Google does not accept the reference: correct its name", permanent: true, requests: 1},
		{name: "wrong credentials", answers: []answer{unknown}, wantErr: "run gcloud auth application-default login, or give the function a service account", permanent: true, requests: 1},
		{name: "throttled and unavailable, then well", answers: []answer{throttled, unavailable, {}, secretOf("SECRET")}, want: "SECRET", requests: 4},
		{name: "unavailable, then missing", answers: []answer{unavailable, missing}, wantErr: "there is no such secret", permanent: true, requests: 2},
		{name: "missing at the last try", answers: []answer{unavailable, unavailable, unavailable, missing}, wantErr: "there is no such secret", permanent: true, requests: 4},
		{name: "throttled for long", answers: []answer{throttled}, wantErr: "Google answered 429 RESOURCE_EXHAUSTED Quota exceeded.", requests: maxTries},
		{name: "server fault", answers: []answer{{500, "SECRET"}}, wantErr: "cannot be read from Secret Manager: Google answered 500", requests: maxTries},
		{name: "bad gateway", answers: []answer{{502, "<html>\nSECRET"}}, wantErr: "Google answered 502", requests: maxTries},
		{name: "time-out of the gateway", answers: []answer{refusal(504, "DEADLINE_EXCEEDED", "", "late")}, wantErr: "Google answered 504 DEADLINE_EXCEEDED late", requests: maxTries},
		{name: "other 400", answers: []answer{{400, "SECRET"}}, wantErr: "cannot be read from Secret Manager: Google answered 400", requests: maxTries},
		{name: "long message", answers: []answer{long}, wantErr: "Google answered 503 UNAVAILABLE line 1 ü", requests: maxTries},
		{name: "connection cut", answers: []answer{{}}, wantErr: "cannot be read from Secret Manager: EOF", requests: maxTries},
		{
			name: "regional", ref: "gcp-sm:" + regional, asked: "/v1/" + regional + "/versions/latest:access",
			answers: []answer{unavailable}, wantErr: "cannot be read from Secret Manager in europe-west3: Google answered 503", requests: maxTries,
		},
	})
}

func TestMalformedReferences(t *testing.T) {
	t.Parallel()
	r := newReader([]option.ClientOption{option.WithTokenSource(nil), option.WithAPIKey("x")}) // a client of these is an error
	for _, name := range []string{
		"", "astro", "projects/p", "projects/p/secrets/", "projects//secrets/s", "projects/../secrets/s", "projects/p/secrets/s/", "projects/p/secrets/s/versions/",
		"projects/p/secrets/a/b", "projects/p/secrets/s/versions/1/2", "projects/p/secrets/s?x=y", "projects/p/secrets/%2e", "/projects/p/secrets/s",
		"projects/p/locations/evil.example/secrets/s", "projects/p/locations/x@evil/secrets/s", "projects/p/locations//secrets/s", "projects/p/secrets/s\n",
	} {
		_, err := r.read(t.Context(), name)
		require.ErrorContains(t, err, "write gcp-sm:projects/PROJECT/secrets/SECRET, with /versions/VERSION", "%q", name)
		var p *secret.PermanentError
		require.ErrorAs(t, err, &p)
	}
	require.Empty(t, r.clients)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestEachLocationHasItsEndpoint(t *testing.T) {
	t.Parallel()
	var hosts []string
	r := newReader([]option.ClientOption{option.WithHTTPClient(&http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Scheme+"://"+r.URL.Host)
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(secretOf("SECRET").body)), Header: http.Header{}}, nil
	})})})
	for range 2 {
		for _, name := range []string{"projects/p/secrets/s", "projects/p/locations/europe-west3/secrets/s", "projects/p/locations/us-east1/secrets/s"} {
			got, err := r.read(t.Context(), name)
			require.NoError(t, err)
			require.Equal(t, "SECRET", got)
		}
	}
	want := []string{"https://secretmanager.googleapis.com", "https://secretmanager.europe-west3.rep.googleapis.com", "https://secretmanager.us-east1.rep.googleapis.com"}
	require.Equal(t, append(want, want...), hosts)
	require.Len(t, r.clients, 3)
}

func TestLatestIsReadAfresh(t *testing.T) {
	t.Parallel()
	r, _ := fakeGoogle(t, asked, secretOf("OLD"), secretOf("NEW"))
	for _, want := range []string{"OLD", "NEW"} {
		got, err := r.resolver().Resolve(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Len(t, r.clients, 1)
}

func TestConcurrentReads(t *testing.T) {
	t.Parallel()
	r, requests := fakeGoogle(t, asked, secretOf("SECRET"))
	resolver := r.resolver()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := resolver.Resolve(t.Context(), ref); err != nil || got != "SECRET" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 20, requests.Load())
	require.Len(t, r.clients, 1)
}

// TestPausesBetweenTries waits in virtual time.
func TestPausesBetweenTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin, tries := time.Now(), 0
		r := newReader([]option.ClientOption{option.WithHTTPClient(&http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			tries++
			return nil, syscall.ECONNRESET
		})})})
		_, err := r.resolver().Resolve(t.Context(), ref)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		requireTidy(t, err, ref, false)
		require.Equal(t, maxTries, tries)
		require.Greater(t, time.Since(begin), time.Second)
		require.Less(t, time.Since(begin), readTimeout/2, "the tries must fit into the time of a read")
	})
}

func TestContextEndsARead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	_, err := Sources(option.WithEndpoint(server.URL), option.WithoutAuthentication()).Resolve(ctx, ref)
	require.ErrorIs(t, err, context.Canceled)
	requireTidy(t, err, ref, false)
}

// TestSilenceEndsARead waits in virtual time.
func TestSilenceEndsARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		r := newReader([]option.ClientOption{option.WithHTTPClient(&http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})})
		_, err := r.resolver().Resolve(t.Context(), ref)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "Secret Manager has not answered within 20s")
		requireTidy(t, err, ref, false)
		require.Equal(t, readTimeout, time.Since(begin))
	})
}

// credentialsFile writes the key of a service account whose access tokens tokenURL gives.
func credentialsFile(t *testing.T, path, tokenURL string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "dagbucket@acme-prod.iam.gserviceaccount.com", "token_uri": tokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, file, 0o600))
}

// TestDefaultCredentials is of one process's life: credentials are missing, then refused, then good.
func TestDefaultCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	tokens := []answer{{400, "{\"error\":\"invalid_grant\",\n\"error_description\":\"SECRET\"}"}, {503, "SECRET"}, {200, `{"access_token":"TOKEN","token_type":"Bearer","expires_in":3600}`}}
	var given atomic.Int64
	tokenServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, claims, _ := strings.Cut(r.PostFormValue("assertion"), ".")
		claims, _, _ = strings.Cut(claims, ".")
		if decoded, err := base64.RawURLEncoding.DecodeString(claims); err != nil || !strings.Contains(string(decoded), `"scope":"https://www.googleapis.com/auth/cloud-platform"`) {
			t.Errorf("asked for a token with the claims %s", decoded)
		}
		a := tokens[min(int(given.Add(1)), len(tokens))-1]
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(tokenServer.Close)
	google, requests := fakeGoogle(t, asked, secretOf("SECRET"))
	r := withoutPauses(google.opts[0])
	resolver := r.resolver()

	_, err := resolver.Resolve(t.Context(), ref)
	require.ErrorContains(t, err, "there are no usable credentials for Google Cloud: run gcloud auth application-default login, or give the function a service account: open ")
	requireTidy(t, err, ref, true)

	credentialsFile(t, path, tokenServer.URL)
	_, err = resolver.Resolve(t.Context(), ref)
	require.ErrorContains(t, err, "Google does not accept the credentials: run gcloud auth application-default login")
	requireTidy(t, err, ref, true)

	for range 2 {
		got, err := resolver.Resolve(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, "SECRET", got)
	}
	require.EqualValues(t, 3, given.Load(), "the token is kept")
	require.EqualValues(t, 2, requests.Load())
}

// TestNoServiceAccount runs on a machine of Google that has no service account.
func TestNoServiceAccount(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	_, err := Sources(option.WithEndpoint(server.URL)).Resolve(t.Context(), ref)
	require.ErrorContains(t, err, "Google does not accept the credentials: run gcloud auth application-default login")
	requireTidy(t, err, ref, true)
}

// TestDebugLogStaysSilent sets what makes Google's SDK log answers.
func TestDebugLogStaysSilent(t *testing.T) {
	t.Setenv("GOOGLE_SDK_GO_LOGGING_LEVEL", "debug")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	stderr := os.Stderr
	os.Stderr = log
	defer func() { os.Stderr = stderr }()
	r, _ := fakeGoogle(t, asked, secretOf("SECRET"))
	got, err := r.resolver().Resolve(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, "SECRET", got)
	logged, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	require.Empty(t, string(logged))
}
