package realtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/realtest/eventsource"
	"github.com/dagbucket/dagbucket/internal/realtest/lambdaruntime"
	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	dagsBucket  = "acme-dags"
	stateBucket = "acme-state"
)

// worldOptions say how large a world is and how fast its clocks run.
type worldOptions struct {
	routes       int
	settings     string // of every route, as lines of YAML
	environments int
	timeout      time.Duration // of an invocation, and for which a message is hidden
	seed         uint64
	invoking     func(environment int) (ended func(eventsource.Invocation)) // optional
	oneQueue     bool                                                       // of all routes; else each has its own
	astro        func(http.Handler) http.Handler                            // optional: stands before Astro
	direct       bool                                                       // nobody stands between the function and its servers: no effects are noted
}

// world is everything between an upload and Astro: a bucket whose changes become messages, a queue for each route, the function
// over real processes, a schedule, and the stand-in for Astro.
type world struct {
	t        *testing.T
	s3       *s3.Client
	astro    *astrotest.Server
	astroURL string // without /v1
	token    string
	routes   []*route
	queues   []*eventsource.Queue
	effects  *effects
	function *eventsource.Function

	stopSchedule func() // returns when its invocations have ended
}

type route struct {
	name, prefix, deployment string
	queue                    *eventsource.Queue
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	gateway, err := realtest.StartVersitygw(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(gateway.Stop)
	w := &world{t: t, token: astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour)),
		s3: client(gateway.Endpoint, gateway.AccessKey, gateway.SecretKey)}
	var deployments []astrotest.Deployment
	for i := range o.routes {
		r := &route{name: fmt.Sprintf("team%02d", i), prefix: fmt.Sprintf("team%02d/", i), deployment: fmt.Sprintf("deployment%02d", i)}
		if i == 0 || !o.oneQueue {
			w.queues = append(w.queues, eventsource.NewQueue(eventsource.QueueOptions{Name: r.name, Visibility: o.timeout, MaxReceives: 10, Seed: o.seed + uint64(i)}))
		}
		r.queue = w.queues[len(w.queues)-1]
		w.routes = append(w.routes, r)
		deployments = append(deployments, astrotest.Deployment{ID: r.deployment})
	}
	w.astro = astrotest.New(astrotest.Options{Deployments: deployments})
	w.startAstro(o)
	for _, name := range []string{dagsBucket, stateBucket} {
		_, err := w.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
		require.NoError(t, err)
	}
	w.startFunction(gateway, o)
	return w
}

func (w *world) startAstro(o worldOptions) {
	w.t.Helper()
	require.NoError(w.t, w.astro.Start())
	w.t.Cleanup(w.astro.Close)
	w.astroURL = strings.TrimSuffix(w.astro.URL(), "/v1")
	if o.astro != nil {
		before := httptest.NewServer(o.astro(w.astro))
		w.t.Cleanup(before.Close)
		w.astroURL = before.URL
	}
}

// startFunction gives each environment its own way to the servers.
func (w *world) startFunction(gateway *realtest.Gateway, o worldOptions) {
	w.t.Helper()
	binary, config := bootstrap(w.t), w.writeConfig(o.settings)
	w.effects = newEffects(w.t, func(n int) { w.function.Kill(n) })
	way := func(target string, n int) string {
		if o.direct {
			return target
		}
		return w.effects.proxy(w.t, target, n)
	}
	var runtimes []lambdaruntime.Options
	for n := range o.environments {
		runtimes = append(runtimes, lambdaruntime.Options{Binary: binary, Env: []string{
			"AWS_ACCESS_KEY_ID=" + gateway.AccessKey, "AWS_SECRET_ACCESS_KEY=" + gateway.SecretKey,
			"AWS_ENDPOINT_URL_S3=" + way(gateway.Endpoint, n), "DAGBUCKET_CONFIG=" + config, "TEAM_TOKEN=" + w.token,
			"ASTRO_API_URL=" + way(w.astroURL, n) + "/v1",
		}})
	}
	w.function = eventsource.NewFunction(eventsource.FunctionOptions{
		Runtime: func(n int) lambdaruntime.Options { return runtimes[n] }, Environments: o.environments, Timeout: o.timeout, Invoking: o.invoking,
	})
	w.t.Cleanup(w.function.Stop)
}

func (w *world) writeConfig(settings string) string {
	w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "state: s3://%s/\nroutes:\n", stateBucket)
	for _, r := range w.routes {
		fmt.Fprintf(&b, "  - name: %s\n    sources: [{url: s3://%s/%s}]\n    deployment: %s\n    token: env:TEAM_TOKEN\n", r.name, dagsBucket, r.prefix, r.deployment)
		for line := range strings.Lines(settings) {
			b.WriteString("    " + line)
		}
		b.WriteByte('\n')
	}
	path := filepath.Join(w.t.TempDir(), "dagbucket.yaml")
	require.NoError(w.t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// run starts the mappings and the schedule. They end with the test, the schedule also with stopSchedule.
func (w *world) run(mapping eventsource.MappingOptions, schedule eventsource.ScheduleOptions) {
	ctx, cancel := context.WithCancel(context.Background())
	scheduled, stop := context.WithCancel(ctx)
	var mappings, schedules sync.WaitGroup
	check := func(err error) {
		if err != nil {
			w.t.Errorf("an environment did not start: %v", err)
		}
	}
	for _, q := range w.queues {
		mappings.Go(func() { check(eventsource.Map(ctx, q, w.function, mapping)) })
	}
	schedules.Go(func() { check(eventsource.Schedule(scheduled, w.function, schedule)) })
	w.stopSchedule = func() {
		stop()
		schedules.Wait()
	}
	w.t.Cleanup(func() {
		cancel()
		w.function.Stop()
		mappings.Wait()
		schedules.Wait()
	})
}

// put uploads a file and sends the event.
func (w *world) put(random *rand.Rand, r *route, name string, content []byte) error {
	bucket, key := dagsBucket, r.prefix+name
	_, err := w.s3.PutObject(w.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
	if err != nil {
		return err
	}
	return w.notify(random, r, "ObjectCreated:Put", key)
}

func (w *world) remove(random *rand.Rand, r *route, name string) error {
	bucket, key := dagsBucket, r.prefix+name
	if _, err := w.s3.DeleteObject(w.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		return err
	}
	return w.notify(random, r, "ObjectRemoved:Delete", key)
}

// notify sends an event twice: at once or a little later, and again within some seconds.
func (w *world) notify(random *rand.Rand, r *route, event, key string) error {
	body, err := json.Marshal(s3Event(event, key))
	if err != nil {
		return err
	}
	for _, within := range []time.Duration{time.Second, 4 * time.Second} {
		r.queue.Send(string(body), time.Duration(random.Int64N(int64(within))))
	}
	return nil
}

// reconcile makes one invocation by schedule, which must succeed, and returns the outcomes by route.
func (w *world) reconcile() map[string]string {
	w.t.Helper()
	i, err := w.function.Invoke(w.t.Context(), "reconcile", eventsource.ScheduledEvent(time.Now()))
	require.NoError(w.t, err)
	require.False(w.t, i.Failed(), "%s\n%s", i.Result.FunctionError, i.Result.Logs)
	outcomes := map[string]string{}
	for _, line := range summaries(i) {
		outcomes[line.Route] = line.Outcome
	}
	return outcomes
}

func (w *world) requireUnchangedByReconcile() {
	w.t.Helper()
	before := w.finalized()
	want := map[string]string{}
	for _, r := range w.routes {
		want[r.name] = "unchanged"
	}
	require.Equal(w.t, want, w.reconcile())
	require.Equal(w.t, before, w.finalized(), "nothing is deployed for nothing")
}

// await polls until problem is "", and fails with it at the deadline.
func (w *world) await(within time.Duration, problem func() string) {
	w.t.Helper()
	deadline := time.After(within)
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		last := problem()
		if last == "" || w.t.Failed() {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			require.Failf(w.t, "not in time", "after %v: %s", within, last)
		}
	}
}

// waiting says how many messages the queues hold; "" is none.
func (w *world) waiting() string {
	n := 0
	for _, q := range w.queues {
		n += q.Len()
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("the queues hold %d messages", n)
}

// leased names the routes whose lease is held.
func (w *world) leased() string {
	w.t.Helper()
	var names []string
	for _, r := range w.routes {
		var lease struct{ Holder string }
		require.NoError(w.t, json.Unmarshal(w.read(stateBucket, r.name+"/lease.json"), &lease))
		if lease.Holder != "" {
			names = append(names, r.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("leases are held: %v", names)
}

// behind names the routes whose Deployment does not run what the bucket holds.
func (w *world) behind(want map[string]map[string]string) string {
	var names []string
	for _, r := range w.routes {
		if !maps.Equal(want[r.name], w.live(r)) {
			names = append(names, r.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("behind their buckets: %v", names)
}

func (w *world) requireNoDeadLetters() {
	w.t.Helper()
	for _, q := range w.queues {
		require.Empty(w.t, q.DeadLetters())
	}
}

// fingerprint keeps comparisons readable.
func fingerprint(content []byte) string {
	return fmt.Sprintf("%d bytes, %x", len(content), sha256.Sum256(content))
}

// live is what a Deployment goes to: path and fingerprint.
func (w *world) live(r *route) map[string]string {
	w.t.Helper()
	files, err := w.astro.LiveFiles(r.deployment)
	require.NoError(w.t, err)
	contents := map[string]string{}
	for _, f := range files {
		contents[f.Name] = fingerprint(f.Content)
	}
	return contents
}

// inBucket is what the bucket holds, by route: path in the archive and fingerprint.
func (w *world) inBucket() map[string]map[string]string {
	w.t.Helper()
	all := map[string]map[string]string{}
	for _, r := range w.routes {
		contents := map[string]string{}
		for _, key := range w.list(dagsBucket, r.prefix) {
			contents["dags/"+strings.TrimPrefix(key, r.prefix)] = fingerprint(w.read(dagsBucket, key))
		}
		all[r.name] = contents
	}
	return all
}

func (w *world) list(bucket, prefix string) []string {
	w.t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(w.s3, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context())
		require.NoError(w.t, err)
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

func (w *world) read(bucket, key string) []byte {
	w.t.Helper()
	out, err := w.s3.GetObject(w.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	require.NoError(w.t, err)
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	require.NoError(w.t, err)
	return content
}

// finalized counts the finalized deploys by route.
func (w *world) finalized() map[string]int {
	counts := map[string]int{}
	for _, r := range w.routes {
		counts[r.name] = len(w.astro.Finalized(r.deployment))
	}
	return counts
}

func (w *world) requireOneFinalizeAtOnce() {
	w.t.Helper()
	_, _, most := w.effects.counts()
	require.Equal(w.t, 1, most, "finalizes of one Deployment at the same time")
	for _, r := range w.routes {
		require.LessOrEqual(w.t, w.astro.MostFinalizesAtOnce(r.deployment), 1)
	}
}

// summary is what is read of a run's line in the log.
type summary struct{ Msg, Route, Outcome, Reason string }

func summaries(i eventsource.Invocation) []summary {
	var found []summary
	for line := range bytes.Lines(i.Result.Logs) {
		var s summary
		if json.Unmarshal(line, &s) == nil && s.Msg == "run" {
			found = append(found, s)
		}
	}
	return found
}

// requireNoSecrets searches every log and answer.
func (w *world) requireNoSecrets() {
	w.t.Helper()
	for _, i := range w.function.Invocations() {
		text := string(i.Result.Logs) + string(i.Result.Response) + i.Result.FunctionError
		for _, part := range append(strings.Split(w.token, "."), "sig=", "sig%3D") {
			require.NotContains(w.t, text, part)
		}
	}
}

// kills counts the invocations that were killed from outside.
func (w *world) kills() int {
	n := 0
	for _, i := range w.function.Invocations() {
		if i.Result.Crashed {
			n++
		}
	}
	return n
}

// orphans are what dead runs left in the state.
func (w *world) orphans() (uploads, bundles, manifests int) {
	w.t.Helper()
	bucket := stateBucket
	out, err := w.s3.ListMultipartUploads(w.t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	require.NoError(w.t, err)
	for _, r := range w.routes {
		runs := map[string]bool{}
		var record state.Record
		require.NoError(w.t, json.Unmarshal(w.read(stateBucket, r.name+"/record.json"), &record))
		for _, past := range record.Runs {
			runs[past.Run] = true
		}
		for _, d := range []*state.Deploy{record.Live, record.Pending} {
			if d != nil {
				runs[d.Run], runs[d.Manifest] = true, true
			}
		}
		for _, key := range w.list(stateBucket, r.name+"/") {
			kind, file, _ := strings.Cut(strings.TrimPrefix(key, r.name+"/"), "/")
			run, _, _ := strings.Cut(file, ".")
			switch {
			case runs[run]:
			case kind == "bundles":
				bundles++
			case kind == "manifests":
				manifests++
			}
		}
	}
	return len(out.Uploads), bundles, manifests
}

// log prints the numbers.
func (w *world) log(title string) {
	w.t.Helper()
	outcomes, sources, failures := map[string]int{}, map[string]int{}, map[string]int{}
	for _, i := range w.function.Invocations() {
		sources[i.Source]++
		switch {
		case i.Result.Crashed:
			failures["killed"]++
		case i.Result.TimedOut:
			failures["timed out"]++
		case i.Failed():
			failures["error"]++
		}
		for _, s := range summaries(i) {
			if s.Outcome == "failed" {
				outcomes["failed: "+s.Reason]++
				continue
			}
			if s.Outcome == "busy" && strings.Contains(s.Reason, "missed") {
				s.Outcome = "busy, late"
			}
			outcomes[s.Outcome]++
		}
	}
	sent, most := 0, 0
	for _, q := range w.queues {
		sent += q.Sent()
		most = max(most, q.MostReceives())
	}
	seen, killed, atOnce := w.effects.counts()
	deploys := slices.Sorted(maps.Values(w.finalized()))
	w.t.Logf("%s: %d messages, received at most %d times; invocations by source %v, not answered %v; outcomes %v; finalized deploys by route %v, at once %d; effects %v; killed after %v",
		title, sent, most, sources, failures, outcomes, deploys, atOnce, seen, killed)
}
