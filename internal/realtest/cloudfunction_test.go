package realtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/gcsserver"
	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/realtest/buildpack"
	"github.com/dagbucket/dagbucket/internal/realtest/cloudrun"
)

// cloudFunction is what the buildpack builds of the staged source, served by Google's functions framework, with the stand-ins for Cloud
// Storage and Astro.
type cloudFunction struct {
	*function // the stand-in for Astro, and what the tests of the Lambda function know of it; it runs nothing
	*cloudrun.Instance
	dags bucket.Bucket
	down atomic.Bool // has the storage answer 503
}

type cloudOptions struct {
	background bool // the entry point for background events
	astro      astrotest.Options
	storage    gcsserver.Options
	timeout    time.Duration
	folder     string // to run in; default one with the source, as in the image
	env        []string
}

func newCloudFunction(t *testing.T, o cloudOptions) *cloudFunction {
	t.Helper()
	f := &cloudFunction{function: &function{t: t, astro: astrotest.New(o.astro)}}
	f.token = astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))
	require.NoError(t, f.astro.Start())
	t.Cleanup(f.astro.Close)
	endpoint := f.serveStorage(o.storage)

	run := cloudrun.Options{Binary: cloudBinary(t, o.background), Timeout: o.timeout, Folder: o.folder}
	if o.folder == "" {
		run.Folder = buildpack.Workspace(run.Binary)
	}
	before := filesIn(t, run.Folder)
	if o.background {
		run.Target = "DagbucketBackground"
	}
	missing := filepath.Join(t.TempDir(), "missing") // local disk is memory on Cloud Run: whoever wants to write there fails
	run.Env = append([]string{
		"TMPDIR=" + missing, "HOME=" + missing, "STORAGE_EMULATOR_HOST=" + endpoint,
		"DAGBUCKET_SOURCE=gs://acme-dags/dags/", "DAGBUCKET_STATE=gs://acme-state/", "DAGBUCKET_ROUTE=prod", "DAGBUCKET_QUIET_PERIOD=0s", "DAGBUCKET_FOLLOW=0s",
		"ASTRO_DEPLOYMENT_ID=" + astrotest.DeploymentID, "ASTRO_API_TOKEN=" + f.token, "ASTRO_API_URL=" + f.astro.URL(),
	}, o.env...)
	instance, err := cloudrun.Start(t.Context(), run)
	require.NoError(t, err)
	f.Instance = instance
	t.Cleanup(func() {
		instance.Stop()
		f.requireNoSecret(string(f.Logs()))
		require.NotContains(t, string(f.Logs()), "hunter2", "the metadata of an object is nobody's business")
		require.Equal(t, before, filesIn(t, run.Folder), "local disk is memory")
		f.requireStructuredLog(o.background)
	})
	return f
}

func (f *cloudFunction) serveStorage(o gcsserver.Options) (endpoint string) {
	f.t.Helper()
	o.Buckets = []string{"acme-dags", "acme-state"}
	server, err := gcsserver.NewWithOptions(o)
	require.NoError(f.t, err)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.down.Load() {
			http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
			return
		}
		server.ServeHTTP(w, r)
	}))
	f.t.Cleanup(front.Close)
	open, err := gcpwire.Anonymous(f.t.Context(), front.URL)
	require.NoError(f.t, err)
	f.dags, err = open["gs"](f.t.Context(), bucket.URL{Scheme: "gs", Bucket: "acme-dags"})
	require.NoError(f.t, err)
	return front.URL
}

// cloudBinary is the function as the buildpack builds it; `make test-real` has it built.
func cloudBinary(t *testing.T, background bool) string {
	t.Helper()
	root, err := realtest.ProjectRoot()
	require.NoError(t, err)
	path := filepath.Join(root, "build", "cloudfunction", "function")
	if background {
		path = filepath.Join(root, "build", "cloudfunction", "background")
	}
	require.FileExists(t, path, "run these tests with make test-real: it builds the function")
	return path
}

func (f *cloudFunction) put(key, content string) {
	f.t.Helper()
	_, err := f.dags.Put(f.t.Context(), key, strings.NewReader(content), bucket.Always)
	require.NoError(f.t, err)
}

func (f *cloudFunction) delete(key string) {
	f.t.Helper()
	require.NoError(f.t, f.dags.Delete(f.t.Context(), key, ""))
}

type reply struct {
	status int
	body   string
}

type request struct {
	header http.Header
	body   []byte
	path   string // relative
}

func (f *cloudFunction) send(r request) reply {
	f.t.Helper()
	got, err := f.try(f.t.Context(), r)
	require.NoError(f.t, err)
	f.requireNoSecret(got.body)
	require.NotContains(f.t, got.body, "hunter2")
	return got
}

func (f *cloudFunction) try(ctx context.Context, r request) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL()+r.path, bytes.NewReader(r.body))
	if err != nil {
		return reply{}, err
	}
	req.Header = r.header.Clone()
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, strings.TrimSpace(string(body))}, err
}

func (f *cloudFunction) post(payload any) reply {
	f.t.Helper()
	return f.send(jsonRequest([]byte(text(payload))))
}

func jsonRequest(body []byte) request {
	return request{header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

// requireOutcome checks that one route was run.
func (f *cloudFunction) requireOutcome(want deployer.Outcome, a reply) deployer.Result {
	f.t.Helper()
	require.Equal(f.t, http.StatusOK, a.status, a.body)
	var body struct{ Results []deployer.Result }
	require.NoError(f.t, json.Unmarshal([]byte(a.body), &body))
	require.Len(f.t, body.Results, 1)
	require.Equal(f.t, want, body.Results[0].Outcome, a.body)
	return body.Results[0]
}

// requireStructuredLog checks that Cloud Logging can read each line. The framework ends requests with an empty line, and says in plain
// words how a background function failed.
func (f *cloudFunction) requireStructuredLog(background bool) {
	f.t.Helper()
	for line := range bytes.Lines(f.Logs()) {
		if len(bytes.TrimSpace(line)) == 0 || background && bytes.HasPrefix(line, []byte("Function error: ")) {
			continue
		}
		var entry struct{ Severity, Message, Time string }
		require.NoError(f.t, json.Unmarshal(line, &entry), string(line))
		require.Contains(f.t, []string{"DEBUG", "INFO", "WARNING", "ERROR"}, entry.Severity, string(line))
		require.NotEmpty(f.t, entry.Message, string(line))
		require.NotEmpty(f.t, entry.Time, string(line))
	}
}

// requireLogged finds a line with this severity that contains all of these texts.
func (f *cloudFunction) requireLogged(severity string, texts ...string) {
	f.t.Helper()
	for line := range strings.Lines(string(f.Logs())) {
		found := strings.Contains(line, `"severity":"`+severity+`"`)
		for _, text := range texts {
			found = found && strings.Contains(line, text)
		}
		if found {
			return
		}
	}
	require.Failf(f.t, "not in the log", "%s %q in:\n%s", severity, texts, f.Logs())
}

// recordedTime matches the times of the recorded events, which would be covered by any listing of today.
var recordedTime = regexp.MustCompile(`2026-03-01T09:[0-9:.]+Z`)

// recordedRequest reads a file of testdata/events/google as if it had happened now.
func recordedRequest(t *testing.T, name string) request {
	t.Helper()
	root, err := realtest.ProjectRoot()
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(root, "testdata", "events", "google", name))
	require.NoError(t, err)
	content = recordedTime.ReplaceAll(content, []byte(time.Now().UTC().Format(time.RFC3339Nano)))
	if strings.HasSuffix(name, ".json") {
		r := jsonRequest(content)
		if strings.HasPrefix(name, "cloudevent-structured") {
			r.header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
		}
		return r
	}
	reader := bufio.NewReader(bytes.NewReader(content))
	header, err := textproto.NewReader(reader).ReadMIMEHeader()
	require.NoError(t, err)
	header.Del("Host")
	body, err := io.ReadAll(reader)
	require.NoError(t, err)
	return request{header: http.Header(header), body: body}
}

// The recorded requests that do not end in a deploy.
var (
	changesNothing = []string{"background-metadata-update.json", "cloudevent-binary-metadata-updated.http", "pubsub-metadata-update.json"}
	undecodable    = []string{
		"background-other.json", "cloudevent-batch.http", "cloudevent-binary-audit-log.http", "cloudevent-binary-protobuf.http",
		"pubsub-no-notification.json", "pubsub-text.json", "pubsub-unknown-event.json", "pubsub-unwrapped-odd-key-none.http",
	}
)

// recordedNames are the names of the files in testdata/events/google that match one of the patterns, in order.
func recordedNames(t *testing.T, patterns ...string) []string {
	t.Helper()
	root, err := realtest.ProjectRoot()
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Join(root, "testdata", "events", "google"))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		if slices.ContainsFunc(patterns, func(pattern string) bool {
			matches, err := filepath.Match(pattern, entry.Name())
			return err == nil && matches
		}) {
			names = append(names, entry.Name())
		}
	}
	require.NotEmpty(t, names)
	return names
}

const oddName = "dags/a+b c%2B/é 🌷.py" // that the recorded events tell of

func TestCloudFunctionDeploysForEveryEnvelope(t *testing.T) {
	f := newCloudFunction(t, cloudOptions{})
	deploys := 0
	for i, name := range recordedNames(t, "*.http", "*.json") {
		t.Run(name, func(t *testing.T) {
			content := fmt.Sprint("round = ", i)
			f.put(oddName, content)
			got := f.send(recordedRequest(t, name))
			switch {
			case slices.Contains(undecodable, name):
				require.Equal(t, http.StatusInternalServerError, got.status, "it comes again, until it reaches the dead-letter topic")
				require.Contains(t, got.body, "cannot decode the event")
			case slices.Contains(changesNothing, name):
				require.Equal(t, reply{http.StatusOK, `{"results":[]}`}, got)
			default:
				deploys++
				f.requireOutcome(deployer.Deployed, got)
				require.Equal(t, map[string]string{oddName: content}, f.live())
			}
			require.Len(t, f.astro.Finalized(astrotest.DeploymentID), deploys)
		})
	}
	require.Greater(t, deploys, 30)
}

func TestCloudFunctionRunsOnRequest(t *testing.T) {
	f := newCloudFunction(t, cloudOptions{})
	for i, body := range []string{"", "{}", `{"route":"prod"}`} {
		f.put("dags/a.py", fmt.Sprint("round = ", i))
		result := f.requireOutcome(deployer.Deployed, f.send(jsonRequest([]byte(body))))
		require.Equal(t, "prod", result.Route)
		require.Equal(t, map[string]string{"dags/a.py": fmt.Sprint("round = ", i)}, f.live())
	}
	f.requireOutcome(deployer.Unchanged, f.post(object{}))
	require.Equal(t, reply{http.StatusOK, `{"results":[]}`}, f.post(object{"route": "other"}))
	f.requireLogged("WARNING", "an event is for no route", `"other"`)

	response, err := http.Get(f.URL())
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
}

// TestBackgroundFunctionDeploysForEveryEnvelope has the framework read background events, CloudEvents in binary mode, and the pushes of
// Pub/Sub: all are background events for the function.
func TestBackgroundFunctionDeploysForEveryEnvelope(t *testing.T) {
	f := newCloudFunction(t, cloudOptions{background: true})
	deploys := 0
	for i, name := range recordedNames(t, "background-*.json", "cloudevent-binary-[afdmpo]*.http", "pubsub-*.json") {
		if name == "cloudevent-binary-protobuf.http" { // the framework answers 400
			continue
		}
		t.Run(name, func(t *testing.T) {
			content := fmt.Sprint("round = ", i)
			f.put(oddName, content)
			r := recordedRequest(t, name)
			if strings.HasPrefix(name, "pubsub-") {
				r.path = "projects/acme-data/topics/dags" // as the framework wants it of a push endpoint
			}
			got := f.send(r)
			switch {
			case slices.Contains(undecodable, name):
				require.Equal(t, http.StatusInternalServerError, got.status)
			case slices.Contains(changesNothing, name):
				require.Equal(t, reply{http.StatusOK, ""}, got)
			default:
				deploys++
				require.Equal(t, reply{http.StatusOK, ""}, got)
				require.Equal(t, map[string]string{oddName: content}, f.live())
			}
			require.Len(t, f.astro.Finalized(astrotest.DeploymentID), deploys)
		})
	}
	require.Greater(t, deploys, 15)

	got := f.post(object{"route": "prod"})
	require.Equal(t, http.StatusInternalServerError, got.status)
	require.Contains(t, got.body, "use Dagbucket for others")
}

func TestCloudFunctionWaitsForTheStorage(t *testing.T) {
	f := newCloudFunction(t, cloudOptions{timeout: 10 * time.Second})
	f.put("dags/a.py", "a")
	event := recordedRequest(t, "pubsub-finalize.json")
	f.down.Store(true)
	got := f.send(event)
	require.Equal(t, http.StatusServiceUnavailable, got.status, got.body)
	require.Contains(t, got.body, "route prod: ")
	f.requireLogged("ERROR", `"message":"run"`, `"outcome":"failed"`)
	f.down.Store(false)
	f.requireOutcome(deployer.Deployed, f.send(event))
	require.Equal(t, map[string]string{"dags/a.py": "a"}, f.live())
}

func TestCloudFunctionAcknowledgesWhatWillNotPass(t *testing.T) {
	for name, c := range map[string]struct {
		deployment astrotest.Deployment
		fault      astrotest.Fault
		env        []string
		says       []string
	}{
		"DAG deploys off": {deployment: astrotest.Deployment{DAGDeploysOff: true}, says: []string{"--dag-deploy enable"}},
		"no rights":       {fault: astrotest.Fault{Call: astrotest.CreateDeploy, Status: http.StatusForbidden, Times: -1}, says: []string{"the API token has no right to do this"}},
		"two clouds": {env: []string{"DAGBUCKET_SOURCE=s3://acme-dags/dags/"},
			says: []string{"route prod: source s3://acme-dags/dags/: no client for s3://", "let a route stay in one cloud"}},
		"wrong configuration": {env: []string{"DAGBUCKET_MAX_WAIT=soon", "DAGBUCKET_STATE=gs://acme-dags/dags/state/"},
			says: []string{"DAGBUCKET_MAX_WAIT", "DAGBUCKET_STATE"}},
		"missing bucket": {env: []string{"DAGBUCKET_SOURCE=gs://acme-nothing/dags/"}, says: []string{"gs://acme-nothing/dags/: no such bucket"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newCloudFunction(t, cloudOptions{astro: astrotest.Options{Deployments: []astrotest.Deployment{c.deployment}}, env: c.env})
			if c.fault.Call != "" {
				f.astro.Inject(c.fault)
			}
			f.put("dags/a.py", "a")
			result := f.requireOutcome(deployer.Failed, f.post(object{}))
			for _, text := range c.says {
				require.Contains(t, result.Reason, text)
			}
			f.requireLogged("ERROR", append(c.says, `"message":"run"`)...)
			require.Empty(t, f.live())
		})
	}
}

// TestCloudFunctionAnswersBeforeItsDeadline lets Astro never answer: Cloud Run answers 504 in the function's place at the end of the time,
// and the outcome would be lost.
func TestCloudFunctionAnswersBeforeItsDeadline(t *testing.T) {
	const timeout = 6 * time.Second
	f := newCloudFunction(t, cloudOptions{timeout: timeout})
	f.put("dags/a.py", "a")
	f.astro.Inject(astrotest.Fault{Call: astrotest.Upload, Hang: true, Times: -1})
	began := time.Now()
	got := f.send(recordedRequest(t, "pubsub-finalize.json"))
	require.Less(t, time.Since(began), timeout)
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.Contains(t, got.body, "time ran out")
}
