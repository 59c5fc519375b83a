package realtest_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/realtest/eventsource"
)

// upload is one file of the storm, at a time of it.
type upload struct {
	at      time.Duration
	route   *route
	name    string
	content []byte
}

// uploads are those of all routes over a time: a fifth of them in one burst, the others over a part of it, and the first route's over all of it.
func uploads(random *rand.Rand, routes []*route, files int, lasts time.Duration) (list []upload) {
	for i, r := range routes {
		start, spread := time.Duration(random.Int64N(int64(lasts/2))), lasts/12+time.Duration(random.Int64N(int64(lasts*5/12)))
		switch {
		case i == 0:
			start, spread = 0, lasts
		case i%5 == 1:
			start, spread = time.Duration(random.Int64N(int64(lasts-time.Second))), time.Second
		}
		for n := range files {
			list = append(list, upload{start + time.Duration(random.Int64N(int64(spread))), r, fmt.Sprintf("dag_%02d.py", n), fmt.Appendf(nil, "# %s %d\n", r.name, n)})
		}
	}
	slices.SortFunc(list, func(a, b upload) int { return cmp.Compare(a.at, b.at) })
	return list
}

// manyRoutes is a storm over many routes.
type manyRoutes struct {
	*world
	began time.Time

	mu   sync.Mutex
	last map[string]time.Time         // upload, by route
	want map[string]map[string]string // by route and path in the archive: fingerprint
}

// upload makes the uploads at their times.
func (m *manyRoutes) upload(list []upload, uploaders int) error {
	m.began, m.last, m.want = time.Now(), map[string]time.Time{}, map[string]map[string]string{}
	next := make(chan upload)
	var g errgroup.Group
	for range uploaders {
		g.Go(func() (err error) {
			for u := range next { // to the end, so that nobody waits for a reader
				if err == nil {
					err = m.uploadOne(u)
				}
			}
			return err
		})
	}
	for _, u := range list {
		<-time.After(time.Until(m.began.Add(u.at)))
		next <- u
	}
	close(next)
	return g.Wait()
}

// uploadOne sends the event within a second, and every tenth once more within four.
func (m *manyRoutes) uploadOne(u upload) error {
	bucket, key := dagsBucket, u.route.prefix+u.name
	if _, err := m.s3.PutObject(m.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(u.content)}); err != nil {
		return err
	}
	body, err := json.Marshal(s3Event("ObjectCreated:Put", key))
	if err != nil {
		return err
	}
	u.route.queue.Send(string(body), rand.N(time.Second))
	if rand.IntN(10) == 0 {
		u.route.queue.Send(string(body), rand.N(4*time.Second))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[u.route.name] = time.Now()
	if m.want[u.route.name] == nil {
		m.want[u.route.name] = map[string]string{}
	}
	m.want[u.route.name]["dags/"+u.name] = fingerprint(u.content)
	return nil
}

// liveAt is when a route's last deploy became live.
func (m *manyRoutes) liveAt(r *route) time.Time {
	finalized := m.astro.Finalized(r.deployment)
	require.NotEmpty(m.t, finalized, r.name)
	return finalized[len(finalized)-1].At
}

// requireOneRunAtOnce: no two runs of one route were at work at the same time.
func (m *manyRoutes) requireOneRunAtOnce() {
	m.t.Helper()
	work := map[string][]span{}
	for _, run := range m.runs() {
		if s, worked := run.work(); worked {
			work[run.Route] = append(work[run.Route], s)
		}
	}
	for name, list := range work {
		slices.SortFunc(list, func(a, b span) int { return a.end.Compare(b.end) })
		for i := 1; i < len(list); i++ {
			require.False(m.t, list[i].begin.Before(list[i-1].end), "%s: %v", name, list[i-1:i+1])
		}
	}
}

// requireBusyAtOnce: where a run of the route was under way, another process did not wait for its Deployment.
func (m *manyRoutes) requireBusyAtOnce(r *route, answer time.Duration) {
	m.t.Helper()
	busy := 0
	for _, run := range m.runs() {
		if run.Route == r.name && (run.Outcome == "busy" || run.Outcome == "covered") {
			busy++
			require.Less(m.t, run.Seconds, answer.Seconds())
		}
	}
	require.Positive(m.t, busy, "its events kept coming")
}

// loggedRun is a run's line in the log.
type loggedRun struct {
	Msg, Route, Outcome   string
	Time                  time.Time // of its end
	Seconds, SecondsLease float64
	steps                 float64 // seconds of all its steps but those of the lease
}

func (m *manyRoutes) runs() (list []loggedRun) {
	for _, i := range m.function.Invocations() {
		for line := range bytes.Lines(i.Result.Logs) {
			var run loggedRun
			var fields map[string]any
			if json.Unmarshal(line, &run) != nil || run.Msg != "run" || json.Unmarshal(line, &fields) != nil {
				continue
			}
			for name, value := range fields {
				if strings.HasPrefix(name, "seconds") && name != "seconds" && name != "secondsLease" {
					run.steps += value.(float64)
				}
			}
			list = append(list, run)
		}
	}
	return list
}

// span is when a run was at work for certain.
type span struct{ begin, end time.Time }

// work is when the run had the lease for certain: all its steps are between taking and giving it back, which are steps themselves.
func (r loggedRun) work() (span, bool) {
	ago := func(seconds float64) time.Time { return r.Time.Add(-time.Duration(seconds * float64(time.Second))) }
	s := span{ago(r.steps), ago(r.SecondsLease)}
	return s, s.begin.Before(s.end)
}

// tell logs what the storm took, and returns how many deploys a route had at most.
func (m *manyRoutes) tell(slow *route) (mostDeploys int) {
	deploys := map[int]int{}
	var lags []time.Duration
	for _, r := range m.routes {
		n := m.astro.Deploys(r.deployment)
		deploys[n]++
		mostDeploys = max(mostDeploys, n)
		if r != slow {
			lags = append(lags, m.liveAt(r).Sub(m.last[r.name]))
		}
	}
	slices.Sort(lags)
	at := func(part float64) float64 { return lags[int(part*float64(len(lags)-1))].Seconds() }
	m.t.Logf("from the last upload of a route until it is live: p50 %.1f s, p95 %.1f s, max %.1f s; the slow one %.1f s; routes by number of deploys %v; peak memory of a process %.0f MB",
		at(0.5), at(0.95), at(1), m.liveAt(slow).Sub(m.last[slow.name]).Seconds(), deploys, float64(m.function.PeakRSS())/1e6)
	return mostDeploys
}

// slowly stands before Astro, and lets one Deployment take so long for each answer.
func slowly(deployment string, answer time.Duration) func(http.Handler) http.Handler {
	return func(astro http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/deployments/"+deployment) {
				select {
				case <-time.After(answer):
				case <-r.Context().Done():
				}
			}
			astro.ServeHTTP(w, r)
		})
	}
}

// TestManyRoutes uploads 10,000 files of 500 routes in a minute: one configuration, one queue, at most 8 processes. One Deployment takes half a minute for each answer.
func TestManyRoutes(t *testing.T) {
	const (
		routes  = 500
		files   = 20
		lasts   = time.Minute
		quiet   = 10 * time.Second
		timeout = 200 * time.Second
		answer  = 30 * time.Second
		most    = 2 // deploys of a route
	)
	w := newWorld(t, worldOptions{
		routes: routes, settings: "quiet_period: " + quiet.String(), environments: 8, timeout: timeout, seed: 3, oneQueue: true, direct: true,
		astro: slowly("deployment00", answer),
	})
	m := &manyRoutes{world: w}
	slow := w.routes[0]
	w.run(eventsource.MappingOptions{Window: 2 * time.Second, MaxBatch: 1000}, eventsource.ScheduleOptions{Period: time.Hour})
	require.NoError(t, m.upload(uploads(rand.New(rand.NewPCG(3, 0)), w.routes, files, lasts), 16))
	took := time.Since(m.began)
	w.await(timeout, w.waiting)
	w.stopSchedule()
	w.log(fmt.Sprintf("%d routes, uploaded in %.1f s, queue empty after %.1f s", routes, took.Seconds(), time.Since(m.began).Seconds()))
	mostDeploys := m.tell(slow)

	require.Equal(t, "", w.behind(m.want))
	require.LessOrEqual(t, mostDeploys, most)
	m.requireOneRunAtOnce()
	m.requireBusyAtOnce(slow, answer)
	slowAt := m.liveAt(slow)
	for _, r := range w.routes[1:] {
		require.True(t, m.liveAt(r).Before(slowAt), "%s waited for the slow Deployment", r.name)
	}
	w.requireNoDeadLetters()
	began := time.Now()
	w.requireUnchangedByReconcile()
	t.Logf("one reconcile of all routes: %.1f s", time.Since(began).Seconds())
	w.requireNoSecrets()
}
