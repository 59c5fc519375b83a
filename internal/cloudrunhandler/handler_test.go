package cloudrunhandler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/cloudrunhandler"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
)

// world is the handler over buckets in memory.
type world struct {
	*cloudrunhandler.Handler
	t       *testing.T
	astro   *astrotest.Server
	buckets map[string]*membucket.Bucket
	mu      sync.Mutex
	log     bytes.Buffer
	runs    int
	wireErr error
}

func newWorld(t *testing.T, env map[string]string) *world {
	w := &world{t: t, buckets: map[string]*membucket.Bucket{"acme": membucket.New("acme"), "state": membucket.New("state")}}
	w.astro = astrotest.New(astrotest.Options{})
	require.NoError(t, w.astro.Start())
	t.Cleanup(w.astro.Close)
	all := map[string]string{
		"DAGBUCKET_SOURCE": "gs://acme/dags/", "DAGBUCKET_STATE": "gs://state/", "DAGBUCKET_QUIET_PERIOD": "0s", "ASTRO_API_URL": w.astro.URL(),
		"ASTRO_DEPLOYMENT_ID": astrotest.DeploymentID, "ASTRO_API_TOKEN": astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour)),
	}
	for name, value := range env {
		all[name] = value
	}
	getenv := func(name string) string { return all[name] }
	log := slog.New(slog.NewJSONHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: cloudrunhandler.LogAttr}))
	w.Handler = cloudrunhandler.New(func(ctx context.Context) (*service.Service, error) {
		if w.wireErr != nil {
			return nil, w.wireErr
		}
		cfg, err := config.Load(ctx, getenv, nil)
		if err != nil {
			return nil, err
		}
		return service.New(ctx, cfg, service.Deps{
			Buckets: bucket.Openers{"gs": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return w.buckets[u.Bucket], nil }},
			Secrets: secret.Local(getenv), Version: "test", Log: log, Share: true,
			SummaryAttrs: func(deployer.Result) []slog.Attr {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.runs++
				return nil
			},
		})
	}, log)
	return w
}

func (w *world) put(key string) {
	w.t.Helper()
	_, err := w.buckets["acme"].Put(w.t.Context(), key, strings.NewReader(key), bucket.Always)
	require.NoError(w.t, err)
}

func (w *world) post(body string) (int, string) {
	w.t.Helper()
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	return recorder.Code, recorder.Body.String()
}

// pushed is a Pub/Sub push of a change in the source.
func pushed(key string, at time.Time) string {
	return fmt.Sprintf(`{"message":{"attributes":{"eventType":"OBJECT_FINALIZE","bucketId":"acme","objectId":%q,"objectGeneration":"1","eventTime":%q},"messageId":"1"},"subscription":"s"}`,
		key, at.Format(time.RFC3339Nano))
}

func (w *world) outcome(body string) string {
	w.t.Helper()
	status, answer := w.post(body)
	require.Equal(w.t, http.StatusOK, status, answer)
	var results struct{ Results []deployer.Result }
	require.NoError(w.t, json.Unmarshal([]byte(answer), &results))
	if len(results.Results) == 0 {
		return ""
	}
	return string(results.Results[0].Outcome)
}

func TestOutcomesAndTheirStatus(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, "held", w.outcome(`{}`), "waiting for the first file")
	w.put("dags/a.py")
	require.Equal(t, "deployed", w.outcome(pushed("dags/a.py", time.Now())))
	require.Equal(t, "covered", w.outcome(pushed("dags/a.py", time.Now().Add(-time.Hour))))
	require.Equal(t, "unchanged", w.outcome(""))
	require.Empty(t, w.outcome(pushed("elsewhere/a.py", time.Now())), "for no route: acknowledged")

	w.buckets["acme"].Fault = func(membucket.Op, string, bool) error { return errors.New("the storage is down") }
	status, answer := w.post(`{}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, answer, "route default: ")
	require.Contains(t, answer, "the storage is down")
	w.buckets["acme"].Fault = func(membucket.Op, string, bool) error { return fmt.Errorf("%w: no right", bucket.ErrDenied) }
	require.Equal(t, "failed", w.outcome(`{}`), "what will not pass is acknowledged")
}

func TestWhatNobodyUnderstandsComesAgain(t *testing.T) {
	w := newWorld(t, nil)
	for body, says := range map[string]string{
		"nonsense": "cannot decode the event", `{"message":{"attributes":{}}}`: "cannot decode the event", `{"specversion":"1.0","type":"google.cloud.audit.log.v1.written"}`: "google.cloud.audit.log.v1.written",
	} {
		status, answer := w.post(body)
		require.Equal(t, http.StatusInternalServerError, status)
		require.Contains(t, answer, says)
		require.Contains(t, w.log.String(), `"severity":"ERROR"`)
	}
	require.Error(t, w.Background(t.Context(), "google.pubsub.topic.publish", time.Now(), []byte("nonsense")))
	require.Zero(t, w.runs)
}

func TestOnlyPOSTIsAnEvent(t *testing.T) {
	w := newWorld(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		recorder := httptest.NewRecorder()
		w.ServeHTTP(recorder, httptest.NewRequest(method, "/", nil))
		require.Equal(t, http.StatusMethodNotAllowed, recorder.Code)
		require.Equal(t, http.MethodPost, recorder.Header().Get("Allow"))
	}
	status, answer := w.post(strings.Repeat(" ", 8<<20+1))
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer, "larger than 8 MiB")
	require.Zero(t, w.runs)
}

func TestBackgroundEvents(t *testing.T) {
	w := newWorld(t, nil)
	w.put("dags/a.py")
	object := []byte(`{"kind":"storage#object","bucket":"acme","name":"dags/a.py","generation":"1"}`)
	require.NoError(t, w.Background(t.Context(), "google.storage.object.finalize", time.Now(), object))
	require.Len(t, w.astro.Finalized(astrotest.DeploymentID), 1)
	w.buckets["acme"].Fault = func(membucket.Op, string, bool) error { return errors.New("the storage is down") }
	require.ErrorContains(t, w.Background(t.Context(), "google.storage.object.delete", time.Now(), object), "the storage is down")
}

func TestSetUpThatFails(t *testing.T) {
	w := newWorld(t, nil)
	w.wireErr = errors.New("the network is down")
	status, answer := w.post(`{}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, answer, "cannot set up, so no route was run: the network is down")
	w.wireErr = nil
	w.put("dags/a.py")
	require.Equal(t, "deployed", w.outcome(`{}`), "it is tried again")
}

// TestMixedCloudsAreRefused: this function has no clients of the other cloud, and says which route wants one.
func TestMixedCloudsAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ name, value, says string }{
		"source": {"DAGBUCKET_SOURCE", "s3://acme/dags/", "route default: source s3://acme/dags/: no client for s3://: this program opens gs:// only"},
		"state":  {"DAGBUCKET_STATE", "s3://state/", "route default: state s3://state/: no client for s3://: this program opens gs:// only"},
		"token":  {"DAGBUCKET_TOKEN", "aws-ssm:/token", "route default: token: a secret's reference has the scheme aws-ssm:, which is not known here: write one of env:…, file:…"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{c.name: c.value}
			if c.name == "DAGBUCKET_TOKEN" {
				env["ASTRO_API_TOKEN"] = ""
			}
			w := newWorld(t, env)
			require.Equal(t, "failed", w.outcome(`{}`), "nothing but a person repairs it, so it is acknowledged")
			require.Contains(t, w.log.String(), c.says)
		})
	}
}

// TestRequestsAtOnceShareRuns: a burst side by side is one deploy, and every request is answered.
func TestRequestsAtOnceShareRuns(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 100 {
		w.put(fmt.Sprintf("dags/%d.py", i))
	}
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			recorder := httptest.NewRecorder()
			w.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(pushed(fmt.Sprintf("dags/%d.py", i), time.Now()))))
			require.Equal(t, http.StatusOK, recorder.Code)
		})
	}
	group.Wait()
	require.Len(t, w.astro.Finalized(astrotest.DeploymentID), 1)
	require.Less(t, w.runs, 20)
}

// TestTheTimeOfARequest: a run ends before its request does, also where the environment names no time-out.
func TestTheTimeOfARequest(t *testing.T) {
	for name, c := range map[string]struct{ timeout, works time.Duration }{
		"named": {60 * time.Second, 50 * time.Second}, "not named": {0, 530 * time.Second}, "short": {4 * time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.put("dags/a.py")
			w.buckets["acme"].Fault = func(membucket.Op, string, bool) error { return nil }
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				if c.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				began := time.Now()
				w.wireErr = nil
				// Nothing answers: the call ends with the run's time.
				w.buckets["state"].Fault = func(membucket.Op, string, bool) error {
					time.Sleep(time.Until(began.Add(c.works)) + time.Millisecond)
					return context.DeadlineExceeded
				}
				recorder := httptest.NewRecorder()
				w.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{}`)).WithContext(ctx))
				require.Equal(t, http.StatusServiceUnavailable, recorder.Code)
				require.Contains(t, recorder.Body.String(), "the invocation's time ran out")
			})
		})
	}
}

func TestLogLinesAreGooglesOwn(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: cloudrunhandler.LogAttr, Level: slog.LevelDebug}))
	for level, severity := range map[slog.Level]string{slog.LevelDebug: "DEBUG", slog.LevelInfo: "INFO", slog.LevelWarn: "WARNING", slog.LevelError: "ERROR"} {
		out.Reset()
		log.Log(t.Context(), level, "hello", slog.Group("inner", "level", "as it is"))
		var line map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &line))
		require.Equal(t, severity, line["severity"])
		require.Equal(t, "hello", line["message"])
		require.NotContains(t, line, "level")
		require.NotContains(t, line, "msg")
		require.Equal(t, map[string]any{"level": "as it is"}, line["inner"])
	}
}
