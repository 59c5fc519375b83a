package realtest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// newPushRoutes is a bucket with a folder for each of many Deployments, of which the first answers slowly.
func newPushRoutes(t *testing.T, routes, instances, concurrency int, timeout, answer time.Duration) *pushWorld {
	var file strings.Builder
	file.WriteString("state: gs://acme-state/\nroutes:\n")
	var deployments []astrotest.Deployment
	for i := range routes {
		fmt.Fprintf(&file, "  - {name: team%02d, sources: [{url: gs://acme-dags/team%02d/}], deployment: team%02d, quiet_period: 2s}\n", i, i, i)
		deployments = append(deployments, astrotest.Deployment{ID: teamName(i)})
	}
	config := filepath.Join(t.TempDir(), "dagbucket.yaml")
	require.NoError(t, os.WriteFile(config, []byte(file.String()), 0o600))
	w := &pushWorld{t: t, want: map[string]string{}, copies: copies, astro: astrotest.New(astrotest.Options{Deployments: deployments})}
	before := httptest.NewServer(slowly(teamName(0), answer)(w.astro))
	t.Cleanup(before.Close)
	t.Cleanup(w.astro.Close)
	w.startInstances(instances, concurrency, timeout, "DAGBUCKET_CONFIG="+config, "ASTRO_API_URL="+before.URL+"/v1")
	return w
}

// copies of a notification: those of the slow Deployment are more than there are places for requests.
func copies(key string) int {
	if strings.HasPrefix(key, teamName(0)+"/") {
		return 50
	}
	return 2
}

func teamName(i int) string { return fmt.Sprintf("team%02d", i) }

// TestPushManyRoutes: events of a hundred routes are pushed to three instances, and one Deployment answers slowly.
func TestPushManyRoutes(t *testing.T) {
	const (
		routes  = 100
		files   = 10
		lasts   = 20 * time.Second
		timeout = 3 * time.Minute
		answer  = 20 * time.Second
		most    = 2 // deploys of a route
	)
	w := newPushRoutes(t, routes, 3, 80, timeout, answer)
	stop := w.pusher.start(t.Context())
	defer stop()
	began := time.Now()
	last := map[string]time.Time{}
	var g errgroup.Group
	g.SetLimit(16)
	list := uploads(rand.New(rand.NewPCG(4, 0)), pushedRoutes(routes), files, lasts)
	for _, u := range list {
		<-time.After(time.Until(began.Add(u.at)))
		last[u.route.name] = time.Now()
		g.Go(func() error { return w.putAt(u.route.prefix+u.name, string(u.content)) })
	}
	require.NoError(t, g.Wait())
	w.settle(timeout)
	t.Logf("every message acknowledged after %.1f s; %d messages, %d requests at once, %d came again; runs: %v", time.Since(began).Seconds(),
		w.pusher.acked, w.pusher.most, len(w.pusher.failed), w.runs())
	for _, i := range w.instances {
		t.Logf("peak memory of an instance: %.0f MB", float64(i.PeakRSS())/1e6)
	}
	slow := w.liveAt(teamName(0))
	latest := time.Duration(0)
	for i := range routes {
		require.LessOrEqual(t, w.astro.Deploys(teamName(i)), most)
		live, err := w.astro.LiveFiles(teamName(i))
		require.NoError(t, err)
		require.Len(t, live, files)
		for _, f := range live {
			require.Equal(t, w.want[teamName(i)+strings.TrimPrefix(f.Name, "dags")], string(f.Content))
		}
		if i > 0 {
			at := w.liveAt(teamName(i))
			require.True(t, at.Before(slow), "%s waited for the slow Deployment", teamName(i))
			latest = max(latest, at.Sub(last[teamName(i)]))
		}
	}
	t.Logf("from the last upload of a route until it is live: at most %.1f s; the slow one %.1f s", latest.Seconds(), slow.Sub(last[teamName(0)]).Seconds())
	require.Zero(t, w.pusher.dead, "dead letters")
}

func pushedRoutes(n int) (list []*route) {
	for i := range n {
		list = append(list, &route{name: teamName(i), prefix: teamName(i) + "/"})
	}
	return list
}

// liveAt is when the last deploy of a Deployment was finalized.
func (w *pushWorld) liveAt(deployment string) time.Time {
	finalized := w.astro.Finalized(deployment)
	require.NotEmpty(w.t, finalized, deployment)
	return finalized[len(finalized)-1].At
}
