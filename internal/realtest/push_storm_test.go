package realtest_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/gcsserver"
	"github.com/dagbucket/dagbucket/internal/realtest/buildpack"
	"github.com/dagbucket/dagbucket/internal/realtest/cloudrun"
)

// pushWorld is a bucket whose every change is pushed to instances of the function.
type pushWorld struct {
	t         *testing.T
	astro     *astrotest.Server
	storage   *gcsserver.Server
	dags      bucket.Bucket
	instances []*cloudrun.Instance
	pusher    *pusher
	states    atomic.Int64 // writes of the lease and the record
	copies    func(key string) int

	mu   sync.Mutex
	want map[string]string // by path in the archive
}

func newPushWorld(t *testing.T, instances, concurrency int, timeout time.Duration) *pushWorld {
	w := &pushWorld{t: t, want: map[string]string{}, copies: func(string) int { return 2 }, astro: astrotest.New(astrotest.Options{})}
	require.NoError(t, w.astro.Start())
	t.Cleanup(w.astro.Close)
	w.startInstances(instances, concurrency, timeout, "DAGBUCKET_SOURCE=gs://acme-dags/dags/", "DAGBUCKET_STATE=gs://acme-state/", "DAGBUCKET_ROUTE=prod",
		"DAGBUCKET_QUIET_PERIOD=2s", "ASTRO_DEPLOYMENT_ID="+astrotest.DeploymentID, "ASTRO_API_URL="+w.astro.URL())
	return w
}

// startInstances starts the storage, and instances of the function with an environment.
func (w *pushWorld) startInstances(instances, concurrency int, timeout time.Duration, env ...string) {
	t := w.t
	t.Helper()
	var err error
	w.storage, err = gcsserver.New("acme-dags", "acme-state")
	require.NoError(t, err)
	w.storage.WriteInterval = time.Second // as Cloud Storage may enforce it: of lease and record, too
	w.storage.OnChange = w.changed
	endpoint := httptest.NewServer(w.storage)
	t.Cleanup(endpoint.Close)
	open, err := gcpwire.Anonymous(t.Context(), endpoint.URL)
	require.NoError(t, err)
	w.dags, err = open["gs"](t.Context(), bucket.URL{Scheme: "gs", Bucket: "acme-dags"})
	require.NoError(t, err)
	var urls []string
	binary := cloudBinary(t, false)
	for range instances {
		i, err := cloudrun.Start(t.Context(), cloudrun.Options{Binary: binary, Timeout: timeout, Folder: buildpack.Workspace(binary), Env: append([]string{
			"TMPDIR=" + filepath.Join(t.TempDir(), "missing"), "STORAGE_EMULATOR_HOST=" + endpoint.URL,
			"ASTRO_API_TOKEN=" + astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour)),
		}, env...)})
		require.NoError(t, err)
		t.Cleanup(i.Stop)
		w.instances, urls = append(w.instances, i), append(urls, i.URL())
	}
	w.pusher = newPusher(urls, concurrency)
}

// changed pushes what happens to the DAGs, each notification several times.
func (w *pushWorld) changed(c gcsserver.Change) {
	switch {
	case c.Bucket == "acme-dags":
		w.pusher.publish(w.t, c.Notification(), w.copies(c.Key))
	case strings.HasSuffix(c.Key, "/lease.json"), strings.HasSuffix(c.Key, "/record.json"):
		w.states.Add(1)
	}
}

func (w *pushWorld) put(name string) error { return w.putAt("dags/"+name, "# "+name+"\n") }

func (w *pushWorld) putAt(key, content string) error {
	_, err := w.dags.Put(w.t.Context(), key, strings.NewReader(content), bucket.Always)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.want[key] = content
	return err
}

func (w *pushWorld) remove(name string) error {
	w.mu.Lock()
	delete(w.want, "dags/"+name)
	w.mu.Unlock()
	return w.dags.Delete(w.t.Context(), "dags/"+name, "")
}

// storm uploads n files evenly over a time, and deletes some of the first ones meanwhile.
func (w *pushWorld) storm(n, uploaders int, lasts time.Duration) error {
	var g errgroup.Group
	for u := range uploaders {
		g.Go(func() error {
			pace := time.NewTicker(lasts / time.Duration(n/uploaders))
			defer pace.Stop()
			for i := range n / uploaders {
				<-pace.C
				if err := w.put(fmt.Sprintf("team%d/dag_%03d.py", u, i)); err != nil {
					return err
				}
				if i%125 == 124 { // fewer than the guard asks about
					if err := w.remove(fmt.Sprintf("team%d/first_%d.py", u, i/125)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// settle waits until every message is acknowledged or given up.
func (w *pushWorld) settle(within time.Duration) {
	w.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for w.pusher.unacknowledged() > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			require.Fail(w.t, "messages are not acknowledged", "%d of them; %v", w.pusher.unacknowledged(), w.pusher.failed)
		}
	}
}

func (w *pushWorld) requireLive() {
	w.t.Helper()
	files, err := w.astro.LiveFiles(astrotest.DeploymentID)
	require.NoError(w.t, err)
	live := map[string]string{}
	for _, f := range files {
		live[f.Name] = string(f.Content)
	}
	require.Equal(w.t, w.want, live)
}

// runs counts the summary lines by outcome.
func (w *pushWorld) runs() map[string]int {
	outcomes := map[string]int{}
	for _, i := range w.instances {
		for line := range strings.Lines(string(i.Logs())) {
			var run struct{ Message, Outcome string }
			if json.Unmarshal([]byte(line), &run) == nil && run.Message == "run" {
				outcomes[run.Outcome]++
			}
		}
	}
	return outcomes
}

// TestPushStorm: a thousand events in ten seconds, each delivered twice, 80 requests at once at an instance.
func TestPushStorm(t *testing.T) {
	const (
		uploads     = 1000
		lasts       = 10 * time.Second
		concurrency = 80
		mostDeploys = 3
		timeout     = 60 * time.Second
	)
	for _, instances := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d instances", instances), func(t *testing.T) {
			w := newPushWorld(t, instances, concurrency, timeout)
			stop := w.pusher.start(t.Context())
			defer stop()
			for u := range 4 {
				for i := range 10 {
					require.NoError(t, w.put(fmt.Sprintf("team%d/first_%d.py", u, i)))
				}
			}
			w.settle(timeout)
			before := len(w.astro.Finalized(astrotest.DeploymentID))
			require.Equal(t, 1, before)
			writes := w.states.Load()

			began := time.Now()
			require.NoError(t, w.storm(uploads, 4, lasts))
			took, last := time.Since(began), time.Now()
			w.settle(2 * timeout)
			emptied := time.Since(last)

			deploys := len(w.astro.Finalized(astrotest.DeploymentID)) - before
			writes = w.states.Load() - writes
			t.Logf("uploaded in %.1f s, every message acknowledged %.1f s later; %d messages, %d requests at once, %d came again; %d deploys, %d writes of lease and record; runs: %v",
				took.Seconds(), emptied.Seconds(), w.pusher.acked, w.pusher.most, len(w.pusher.failed), deploys, writes, w.runs())
			for _, i := range w.instances {
				t.Logf("peak memory of an instance: %.0f MB", float64(i.PeakRSS())/1e6)
			}
			w.requireLive()
			require.LessOrEqual(t, deploys, mostDeploys)
			require.Equal(t, 1, w.astro.MostFinalizesAtOnce(astrotest.DeploymentID), "one at a time")
			require.Zero(t, w.pusher.dead, "dead letters")
			require.Empty(t, w.pusher.failed, "nothing went wrong, so nothing had to come again")
			require.Greater(t, w.pusher.acked, 2*uploads)
			require.Greater(t, w.pusher.most, concurrency/2, "this is no storm")
			require.Less(t, writes, int64(uploads)/5, "no event is a write of its own")
		})
	}
}
