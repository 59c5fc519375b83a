package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/notify/notifytest"
	"github.com/dagbucket/dagbucket/internal/state"
)

const path = "/services/T0SECRET/hook"

// receiver is the other side. It keeps what it gets, and answers in turn, the last answer for ever.
type receiver struct {
	*httptest.Server
	answers []http.HandlerFunc

	mu  sync.Mutex
	got []request
}

type request struct {
	method, path string
	header       http.Header
	body         []byte
}

func newReceiver(t *testing.T, answers ...http.HandlerFunc) *receiver {
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	content, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	r.got = append(r.got, request{q.Method, q.URL.RequestURI(), q.Header.Clone(), content})
	n := len(r.got)
	r.mu.Unlock()
	r.answers[min(n, len(r.answers))-1](w, q)
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "you sent it to "+q.URL.Path)
	}
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// text resolves to a fixed text.
func text(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

// pauses are noted, and not made.
func pauses(noted *[]time.Duration) notify.Patience {
	return notify.Patience{Tries: 3, Pauses: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
		Sleep: func(_ context.Context, d time.Duration) error {
			if noted != nil {
				*noted = append(*noted, d)
			}
			return nil
		}}
}

func options(address string) Options {
	return Options{Address: text(address), Version: "v1.2.3", Patience: pauses(nil), Now: func() time.Time { return time.Unix(1700000000, 0) }}
}

// verify checks a request as a receiver does that follows the Standard Webhooks specification, with no code of ours.
func verify(key []byte, r request) error {
	sent, err := strconv.ParseInt(r.header.Get("webhook-timestamp"), 10, 64)
	if age := time.Unix(1700000000, 0).Sub(time.Unix(sent, 0)).Abs(); err != nil || age > 5*time.Minute {
		return errors.New("too old")
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", r.header.Get("webhook-id"), sent, r.body)
	for _, signature := range strings.Fields(r.header.Get("webhook-signature")) {
		version, coded, _ := strings.Cut(signature, ",")
		given, err := base64.StdEncoding.DecodeString(coded)
		if version == "v1" && err == nil && hmac.Equal(given, mac.Sum(nil)) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

func TestEachKindIsPosted(t *testing.T) {
	for kind, n := range notifytest.Notices() {
		for _, slack := range []bool{false, true} {
			t.Run(fmt.Sprint(kind, " slack=", slack), func(t *testing.T) {
				r := newReceiver(t, says(http.StatusOK, "ok"))
				o := options(r.URL + path + "?key=1")
				o.Slack = slack
				require.NoError(t, New(o)(t.Context(), n))
				require.Len(t, r.requests(), 1)
				got := r.requests()[0]
				require.Equal(t, "POST "+path+"?key=1", got.method+" "+got.path)
				require.Equal(t, "application/json", got.header.Get("Content-Type"))
				require.Equal(t, "dagbucket/v1.2.3", got.header.Get("User-Agent"))
				require.Equal(t, n.ID, got.header.Get("Webhook-Id"))
				require.Empty(t, got.header.Get("Webhook-Signature"))
				var body map[string]any
				require.NoError(t, json.Unmarshal(got.body, &body))
				if slack {
					require.Equal(t, map[string]any{"text": notify.Slack(n)}, body)
					return
				}
				require.Equal(t, string(notify.Body(n)), string(got.body))
				require.Equal(t, kind, body["kind"])
				require.Equal(t, notify.Text(n), body["text"])
			})
		}
	}
}

func TestSignatures(t *testing.T) {
	n := notifytest.Notices()[state.NoticeHeld]
	raw := []byte("0123456789abcdef01234567")
	for name, c := range map[string]struct {
		secret string
		key    []byte
	}{
		"as Standard Webhooks writes keys": {"whsec_" + base64.StdEncoding.EncodeToString(raw), raw},
		"any text":                         {"correct horse battery staple", []byte("correct horse battery staple")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, status(503), status(204))
			o := options(r.URL)
			o.Secret = text(c.secret)
			require.NoError(t, New(o)(t.Context(), n))
			require.Len(t, r.requests(), 2)
			for _, got := range r.requests() {
				require.NoError(t, verify(c.key, got))
				require.Error(t, verify([]byte("another key"), got))
				got.body = append([]byte(nil), got.body...)
				got.body[10] ^= 1
				require.Error(t, verify(c.key, got))
			}
			require.Equal(t, r.requests()[0].header.Get("Webhook-Id"), r.requests()[1].header.Get("Webhook-Id"))
		})
	}
	_, err := keyOf("whsec_SECRET!")
	require.ErrorContains(t, err, "is not base64: store the whole key")
	require.NotContains(t, err.Error(), "SECRET")
	_, err = keyOf("whsec_")
	require.ErrorContains(t, err, "is not base64: store the whole key", "nobody signs with an empty key")
}

// TestTheSpecificationsExample is the one of standardwebhooks.com.
func TestTheSpecificationsExample(t *testing.T) {
	key, err := keyOf("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)))
}

// TestAnswers: what each answer means, and that none of them shows the address.
func TestAnswers(t *testing.T) {
	later := time.Now().Add(90 * time.Second).UTC()
	for name, c := range map[string]struct {
		answers   []http.HandlerFunc
		want      string
		permanent bool
		requests  int
		pauses    []time.Duration
	}{
		"gone":           {[]http.HandlerFunc{status(410)}, "the webhook answered HTTP 410 Gone: it is there no more; make a new one, or remove the target", true, 1, nil},
		"not there":      {[]http.HandlerFunc{says(404, "no_service\n")}, "HTTP 404 Not Found (no_service): it is there no more", true, 1, nil},
		"a word of ours": {[]http.HandlerFunc{says(404, "services")}, "HTTP 404 Not Found: it is there no more", true, 1, nil},
		"refused":        {[]http.HandlerFunc{says(400, "invalid_payload")}, "HTTP 400 Bad Request (invalid_payload): it does not take the notice", true, 1, nil},
		"redirected": {[]http.HandlerFunc{status(308, "Location", "https://elsewhere.example/SECRET")},
			"HTTP 308 Permanent Redirect: it redirects, which is not followed", true, 1, nil},
		"busy": {[]http.HandlerFunc{status(503)}, "HTTP 503 Service Unavailable (tried 3 times)", false, 3, []time.Duration{0, 0}},
		"busy once, and a while": {[]http.HandlerFunc{status(429, "Retry-After", "2"), status(200)}, "", false, 2,
			[]time.Duration{2 * time.Second}},
		"busy until": {[]http.HandlerFunc{status(503, "Retry-After", later.Format(http.TimeFormat), "Date", later.Add(-4*time.Second).Format(http.TimeFormat)),
			status(200)}, "", false, 2, []time.Duration{4 * time.Second}},
		"busy for long": {[]http.HandlerFunc{status(429, "Retry-After", "3600")}, "HTTP 429 Too Many Requests (a repeat makes sense in 1h0m0s, too late", false, 1, nil},
		"nonsense":      {[]http.HandlerFunc{status(429, "Retry-After", "soon"), status(408), status(200)}, "", false, 3, []time.Duration{0, 0}},
		"too early":     {[]http.HandlerFunc{status(425), status(200)}, "", false, 2, []time.Duration{0}},
		"broken once":   {[]http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status(202)}, "", false, 2, []time.Duration{0}},
		"garbage":       {[]http.HandlerFunc{hijack("SSH-2.0-OpenSSH_9.9\r\n")}, "could not be reached: no answer that is one of HTTP (tried 3 times)", false, 3, []time.Duration{0, 0}},
		"half an answer": {[]http.HandlerFunc{hijack("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")}, "could not be reached: the connection broke (tried 3 times)", false, 3,
			[]time.Duration{0, 0}},
		"a body without end": {[]http.HandlerFunc{hijack("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nx")}, "HTTP 500 Internal Server Error (x) (tried 3", false, 3, []time.Duration{0, 0}},
		"a large body":       {[]http.HandlerFunc{says(500, strings.Repeat("x", 1<<20)), says(200, strings.Repeat("x", 1<<20))}, "", false, 2, []time.Duration{0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, c.answers...)
			o := options(r.URL + path)
			var made []time.Duration
			o.Patience, o.Secret = pauses(&made), text("KEYSECRET")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := New(o)(ctx, notifytest.Notices()[state.NoticeFailed])
			require.Len(t, r.requests(), c.requests)
			require.Equal(t, c.pauses, made)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			requireNoSecret(t, err, r.URL)
			require.Equal(t, c.permanent, isPermanent(err))
		})
	}
}

func hijack(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}
}

func isPermanent(err error) bool {
	var permanent interface{ Permanent() bool }
	return errors.As(err, &permanent) && permanent.Permanent()
}

// requireNoSecret searches the whole chain of an error, in every form that a log could give it.
func requireNoSecret(t *testing.T, err error, address string) {
	t.Helper()
	host := strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")
	for ; err != nil; err = errors.Unwrap(err) {
		for _, form := range []string{"%v", "%+v", "%#v"} {
			for _, secret := range []string{"SECRET", "/services", host} {
				require.NotContains(t, fmt.Sprintf(form, err), secret)
			}
		}
	}
}

func TestAWebhookThatHangs(t *testing.T) {
	stop := make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { <-stop })
	defer close(stop)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("not within 10s"))
	defer cancel()
	err := New(options(r.URL+path))(ctx, notifytest.Notices()[state.NoticeFailed])
	require.EqualError(t, err, "the webhook did not answer: not within 10s")
	require.Len(t, r.requests(), 1)
	requireNoSecret(t, err, r.URL)
}

func TestWebhooksThatCannotBeReached(t *testing.T) {
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	t.Cleanup(tls.Close)
	plain := newReceiver(t, status(200))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for address, want := range map[string]string{
		tls.URL + path: "its certificate is not valid",
		strings.Replace(plain.URL, "http:", "https:", 1) + path: "it does not speak TLS as we do",
		"http://" + closed.Addr().String() + path:               "its host refused the connection",
		"https://secret-host.invalid" + path:                    "its host's name was not found",
	} {
		o := options(address)
		o.Transport = newTransport()
		o.Transport.(*http.Transport).Proxy = nil
		err := New(o)(t.Context(), notifytest.Notices()[state.NoticeFailed])
		require.ErrorContains(t, err, "the webhook could not be reached: "+want+" (tried 3 times)", address)
		requireNoSecret(t, err, address)
		require.False(t, isPermanent(err))
	}
}

// TestStoredAddresses: what a reference holds is judged as what the configuration holds is.
func TestStoredAddresses(t *testing.T) {
	for _, address := range []string{
		"https://hooks.example/a", "http://localhost:1/", "http://127.0.0.1/", "http://[::1]:80/", "http://example.com/SECRET", "http://localhost.evil.example/SECRET", "SECRET",
		"", "ftp://SECRET/", "https:///SECRET", "https://%zzSECRET", "//SECRET", "http://10.0.0.1/SECRET", "https://h/\x00SECRET",
	} {
		_, err := config.Load(t.Context(), func(name string) string { return map[string]string{"DAGBUCKET_CONFIG": "s3://c/c.yaml"}[name] },
			func(context.Context, string) ([]byte, error) {
				return fmt.Appendf(nil, "state: s3://s/\nroutes: [{name: a, deployment: d, token: 'env:T', sources: [{url: s3://b/}], notify: [%q]}]", "webhook:"+address), nil
			})
		require.Equal(t, err == nil, isAddress(address), "%q", address)
		if err == nil {
			continue
		}
		err = New(options(address))(t.Context(), &state.Notice{})
		require.ErrorContains(t, err, "what is stored as its address (not shown) is none")
		require.NotContains(t, err.Error(), "SECRET")
		require.True(t, isPermanent(err))
	}
}

func TestWhatIsStoredIsReadEachTime(t *testing.T) {
	r := newReceiver(t, status(200))
	reads := 0
	o := options("")
	o.Address = func(context.Context) (string, error) {
		if reads++; reads == 1 {
			return "", errors.New("secret env:HOOK: not set")
		}
		return r.URL + "/" + strconv.Itoa(reads) + "\n", nil
	}
	send := New(o)
	n := notifytest.Notices()[state.NoticeKept]
	require.EqualError(t, send(t.Context(), n), "its address: secret env:HOOK: not set")
	require.NoError(t, send(t.Context(), n))
	require.NoError(t, send(t.Context(), n))
	require.Equal(t, []string{"/2", "/3"}, []string{r.requests()[0].path, r.requests()[1].path})

	o.Secret = func(context.Context) (string, error) { return "", errors.New("secret env:KEY: not set") }
	require.EqualError(t, New(o)(t.Context(), n), "the key of its signature: secret env:KEY: not set")
	require.Len(t, r.requests(), 2, "nothing is sent without a signature that is wanted")
}
