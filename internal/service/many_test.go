package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
)

// answer is how long a slow Deployment takes for each; the client gives up on one that takes 45 s.
const answer = 30 * time.Second

// many is a service of many routes, r0, r1, …, each with one file. It needs no network, so that time can be a bubble's.
type many struct {
	*service.Service
	t            *testing.T
	astro        *astrotest.Server
	source, held *membucket.Bucket // held: the state

	mu    sync.Mutex
	slow  map[string]bool
	began time.Time
	ended map[string]time.Duration // by route: when its last run ended
}

func newMany(t *testing.T, routes int, settings string, share bool) *many {
	m := &many{t: t, source: membucket.New("acme-dags"), held: membucket.New("acme-state"), slow: map[string]bool{}, ended: map[string]time.Duration{}, began: time.Now(),
		astro: astrotest.New(astrotest.Options{Deployments: deployments(routes)})}
	buckets := map[string]*membucket.Bucket{"acme-dags": m.source, "acme-state": m.held}
	var err error
	m.Service, err = service.New(t.Context(), manyRoutes(t, routes, settings, withToken), service.Deps{
		Buckets: bucket.Openers{"s3": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return buckets[u.Bucket], nil }},
		Secrets: secret.Local(withToken), Version: "test", Log: slog.New(slog.DiscardHandler), Transport: m, Share: share, SummaryAttrs: m.note,
	})
	require.NoError(t, err)
	for i := range routes {
		m.put(name(i), "a.py")
	}
	return m
}

func name(route int) string { return fmt.Sprintf("r%d", route) }

func (m *many) put(route, file string) {
	_, err := m.source.Put(m.t.Context(), route+"/"+file, strings.NewReader(file), bucket.Always)
	require.NoError(m.t, err)
}

// RoundTrip is the way to Astro, on which slow Deployments are slow.
func (m *many) RoundTrip(r *http.Request) (*http.Response, error) {
	_, after, _ := strings.Cut(r.URL.Path, "/deployments/")
	deployment, _, _ := strings.Cut(after, "/")
	m.mu.Lock()
	slow := m.slow[deployment]
	m.mu.Unlock()
	if slow {
		select {
		case <-time.After(answer):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return m.astro.Transport().RoundTrip(r)
}

var _ astro.Transport = (*many)(nil)

func (m *many) note(r deployer.Result) []slog.Attr {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[r.Route] = time.Since(m.began)
	return nil
}

func (m *many) changed(routes ...int) event.Message {
	var events []event.Event
	for _, i := range routes {
		events = append(events, created("acme-dags", name(i)+"/a.py"))
	}
	return message(events...)
}

// requireOthersAtOnce: every route but the slow one was done after its quiet period.
func (m *many) requireOthersAtOnce(slow string) {
	m.t.Helper()
	for route, at := range m.ended {
		if route == slow {
			require.GreaterOrEqual(m.t, at, 3*answer)
			continue
		}
		require.LessOrEqual(m.t, at, 11*time.Second, route)
	}
}

func TestASlowDeploymentIsInNobodysWay(t *testing.T) {
	const routes = 500
	for _, share := range []bool{false, true} {
		t.Run(fmt.Sprintf("share %v", share), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMany(t, routes, "", share)
				m.slow["r7"] = true
				batch := event.Batch{Queue: true}
				for i := range routes {
					batch.Messages = append(batch.Messages, m.changed(i))
				}
				report := m.Handle(t.Context(), batch)
				require.Empty(t, report.Failed)
				require.Len(t, report.Results, routes)
				for i, r := range report.Results {
					require.Equal(t, name(i), r.Route)
					require.Equal(t, deployer.Deployed, r.Outcome, r.Reason)
				}
				m.requireOthersAtOnce("r7")
			})
		})
	}
}

// TestRequestsOfManyRoutes: on Cloud Run each event is a request, and they come at once.
func TestRequestsOfManyRoutes(t *testing.T) {
	const routes = 500
	synctest.Test(t, func(t *testing.T) {
		m := newMany(t, routes, "", true)
		m.slow["r7"] = true
		var requests sync.WaitGroup
		for i := range 3 * routes {
			requests.Go(func() {
				report := m.Handle(t.Context(), event.Batch{Messages: []event.Message{m.changed(i % routes)}})
				require.Len(t, report.Results, 1)
				require.Equal(t, name(i%routes), report.Results[0].Route)
			})
		}
		requests.Wait()
		m.requireOthersAtOnce("r7")
		for i := range routes {
			require.Len(t, m.astro.Finalized(name(i)), 1)
		}
	})
}

// TestAFailureIsOfItsRouteAlone: only the messages of routes that failed in a way that may pass come again.
func TestAFailureIsOfItsRouteAlone(t *testing.T) {
	const routes = 500
	m := newMany(t, routes, ", quiet_period: 0s", false)
	down := errors.New("the network is down")
	m.source.Fault = func(op membucket.Op, key string, _ bool) error {
		switch {
		case op == membucket.List && key == "r3/":
			return down
		case op == membucket.List && key == "r4/":
			return bucket.ErrDenied
		case op == membucket.List && key == "r5/":
			return bucket.ErrNotExist // the bucket is missing, and may come
		}
		return nil
	}
	m.held.Fault = func(_ membucket.Op, key string, _ bool) error {
		if strings.HasPrefix(key, "r6/") {
			return down
		}
		return nil
	}
	m.astro.Update("r8", func(d *astrotest.Deployment) { d.Hibernating = true })
	m.astro.Update("r9", func(d *astrotest.Deployment) { d.DAGDeploysOff = true })
	batch := event.Batch{Queue: true}
	for i := range routes {
		batch.Messages = append(batch.Messages, m.changed(i))
	}
	batch.Messages = append(batch.Messages, m.changed(10, 3), m.changed(10, 11), m.changed(4, 8, 9))
	report := m.Handle(t.Context(), batch)
	require.Equal(t, []int{3, 5, 6, routes}, report.Failed)
	unlike := map[string]deployer.Outcome{"r3": deployer.Failed, "r4": deployer.Failed, "r5": deployer.Failed, "r6": deployer.Failed, "r8": deployer.Held, "r9": deployer.Failed}
	for i, r := range report.Results {
		want := unlike[name(i)]
		if want == "" {
			want = deployer.Deployed
		}
		require.Equal(t, want, r.Outcome, "%s: %s", r.Route, r.Reason)
		require.Equal(t, name(i), r.Route)
	}
}

// TestRunsShareTheMemoryOfTheirProcess: of those that could run at once, only so many pack at once.
func TestRunsShareTheMemoryOfTheirProcess(t *testing.T) {
	const routes = service.RunsAtOnce
	synctest.Test(t, func(t *testing.T) {
		m := newMany(t, routes, ", quiet_period: 0s", false)
		var packing, most, swept atomic.Int64
		m.OnSweep(func() { swept.Add(1) })
		m.held.Fault = func(op membucket.Op, key string, after bool) error {
			if op == membucket.Put && strings.Contains(key, "/bundles/") && !after {
				most.Store(max(most.Load(), packing.Add(1)))
				time.Sleep(time.Second)
				packing.Add(-1)
			}
			return nil
		}
		batch := event.Batch{Queue: true}
		for i := range routes {
			batch.Messages = append(batch.Messages, m.changed(i))
		}
		require.Empty(t, m.Handle(t.Context(), batch).Failed)
		require.Greater(t, most.Load(), int64(5))
		require.Less(t, most.Load(), int64(routes/2))
		require.Positive(t, swept.Load())
	})
}

// TestTheScheduleIsOneMessageForAll: who did not get a turn before the time was over has touched nothing, and comes again; and for the others the
// second time is little work.
func TestTheScheduleIsOneMessageForAll(t *testing.T) {
	const (
		routes = 2*service.RunsAtOnce + 100
		time1  = 70 * time.Second // for two calls of Astro, and a part of the third
	)
	synctest.Test(t, func(t *testing.T) {
		m := newMany(t, routes, ", quiet_period: 0s", false)
		for i := range routes {
			m.slow[name(i)] = true
		}
		batch := event.Batch{Queue: true, Messages: []event.Message{message(event.Event{Kind: event.Schedule})}}
		invoke := func(within time.Duration) (done, late map[string]deployer.Result) {
			done, late = map[string]deployer.Result{}, map[string]deployer.Result{}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			began := time.Now()
			report := m.Handle(ctx, batch)
			require.Less(t, time.Since(began), within+5*time.Second, "less than the margin before Lambda ends it")
			require.Len(t, report.Results, routes)
			for _, r := range report.Results {
				if r.Retryable {
					late[r.Route] = r
				} else {
					done[r.Route] = r
				}
			}
			if len(late) > 0 {
				require.Equal(t, []int{0}, report.Failed)
			} else {
				require.Empty(t, report.Failed)
			}
			return done, late
		}
		done, late := invoke(time1)
		require.Equal(t, 0, len(done))
		require.Len(t, late, routes)
		untouched := 0
		for i := range routes {
			_, _, err := bucket.Read(t.Context(), m.held, name(i)+"/lease.json", "", 1<<10)
			if errors.Is(err, bucket.ErrNotExist) {
				untouched++
				require.Contains(t, late[name(i)].Reason, "before this route had its turn")
			}
		}
		require.Equal(t, routes-service.RunsAtOnce, untouched)

		clear(m.slow)
		_, late = invoke(time.Minute)
		require.Equal(t, 0, len(late))
		done, _ = invoke(time.Minute)
		for route, r := range done {
			require.Equal(t, deployer.Unchanged, r.Outcome, route)
			require.LessOrEqual(t, r.Requests["list"]+r.Requests["get"]+r.Requests["put"], int64(9), "%v", r.Requests)
		}
	})
}
