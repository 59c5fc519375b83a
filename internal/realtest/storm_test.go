package realtest_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/realtest/eventsource"
)

var (
	// As a set-up would have them, but for the schedule, which comes every 5 minutes there.
	stormMapping  = eventsource.MappingOptions{Window: 2 * time.Second, MaxBatch: 100}
	stormSchedule = eventsource.ScheduleOptions{Period: 10 * time.Second, RetryAfter: 5 * time.Second}
)

// TestStorm uploads a thousand files in twenty seconds, and each event comes twice.
func TestStorm(t *testing.T) {
	const (
		uploaders = 4
		uploads   = 1000
		lasts     = 20 * time.Second
		timeout   = 45 * time.Second
		mostToDo  = 3 // deploys
	)
	w := newWorld(t, worldOptions{routes: 1, settings: "quiet_period: 2s", environments: 4, timeout: timeout, seed: 1})
	r := w.routes[0]
	random := rand.New(rand.NewPCG(1, 0))
	for u := range uploaders {
		for i := range 5 {
			require.NoError(t, w.put(random, r, fmt.Sprintf("team%d/first_%d.py", u, i), fmt.Appendf(nil, "# %d\n", i)))
		}
	}
	require.Equal(t, map[string]string{r.name: "deployed"}, w.reconcile())
	before := len(w.astro.Finalized(r.deployment))

	w.run(stormMapping, stormSchedule)
	began := time.Now()
	var g errgroup.Group
	for u := range uploaders {
		g.Go(func() error { return w.storm(r, u, uploads/uploaders, lasts) })
	}
	require.NoError(t, g.Wait())
	took := time.Since(began)
	last := time.Now()
	want := w.inBucket()
	w.await(2*timeout, w.waiting)
	w.stopSchedule()
	w.log(fmt.Sprintf("uploaded in %.1f s, queue empty %.1f s later", took.Seconds(), time.Since(last).Seconds()))
	deploys := len(w.astro.Finalized(r.deployment)) - before
	t.Logf("%d files, quiet_period 2s: %d deploys before the last reconcile", len(want[r.name]), deploys)

	w.reconcile()
	require.Equal(t, want[r.name], w.live(r), "Astro runs what the bucket holds")
	require.LessOrEqual(t, len(w.astro.Finalized(r.deployment))-before, mostToDo)
	seen, _, _ := w.effects.counts()
	require.LessOrEqual(t, seen[deployCreated]-before, mostToDo, "deploys created: the lease saves the rest of the work")
	w.requireUnchangedByReconcile()
	w.requireOneFinalizeAtOnce()
	w.requireNoDeadLetters()
	w.requireNoSecrets()
}

// storm uploads n files evenly over a time, some of them again and again, and deletes some.
func (w *world) storm(r *route, uploader, n int, lasts time.Duration) error {
	random := rand.New(rand.NewPCG(2, uint64(uploader)))
	pace := time.NewTicker(lasts / time.Duration(n))
	defer pace.Stop()
	for i := range n {
		<-pace.C
		name := fmt.Sprintf("team%d/dag_%03d.py", uploader, random.IntN(n*4/5))
		if err := w.put(random, r, name, fmt.Appendf(nil, "# %s, upload %d\n", name, i)); err != nil {
			return err
		}
		if i%25 != 24 {
			continue
		}
		if i == 24 {
			name = fmt.Sprintf("team%d/first_0.py", uploader) // which is live
		}
		if err := w.remove(random, r, name); err != nil {
			return err
		}
	}
	return nil
}

// killer kills invocations at random moments while it is on.
type killer struct {
	kill func(environment int)

	mu     sync.Mutex
	random *rand.Rand
	on     bool
	took   []time.Duration // by the invocations that were let end: how long one may be expected to take
}

const killShare = 0.3

// invoking plans the end of an invocation.
func (k *killer) invoking(environment int) func(eventsource.Invocation) {
	k.mu.Lock()
	defer k.mu.Unlock()
	timer := time.NewTimer(0)
	timer.Stop()
	if k.on && k.random.Float64() < killShare {
		expected := 2 * time.Second
		if len(k.took) > 0 {
			expected = k.took[k.random.IntN(len(k.took))]
		}
		timer = time.AfterFunc(time.Duration(k.random.Float64()*float64(expected)), func() { k.kill(environment) })
	}
	return func(i eventsource.Invocation) {
		timer.Stop()
		k.mu.Lock()
		defer k.mu.Unlock()
		if !i.Failed() {
			k.took = append(k.took, i.Result.Duration)
		}
	}
}

func (k *killer) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.on = false
}

// TestKills kills three of ten invocations at random moments, and one after each kind of effect before its answer gets
// there. Several routes are at it, since a dead run's lease takes a minute to run out.
func TestKills(t *testing.T) {
	t.Parallel() // it waits most of the time
	const (
		routes     = 10
		timeout    = 20 * time.Second
		uploadFor  = 40 * time.Second // at least: until there were kills enough
		mostKills  = 150 * time.Second
		leastKills = 20
		leaseLife  = 60 * time.Second
		seed       = 7
	)
	k := &killer{random: rand.New(rand.NewPCG(seed, 0)), on: true}
	w := newWorld(t, worldOptions{routes: routes, settings: "quiet_period: 1s\nmax_wait: 5s", environments: 8, timeout: timeout, seed: seed, invoking: k.invoking})
	k.kill = w.function.Kill
	w.effects.want(leaseTaken, leaseRung, leaseReleased, recordPending, recordPromoted, recordUnchanged, bundleStored, multipartBegun,
		multipartCompleted, manifestStored, deployCreated, bundleUploaded, deployFinalized)
	w.run(stormMapping, stormSchedule)

	stop := make(chan struct{})
	var g errgroup.Group
	for i, r := range w.routes {
		g.Go(func() error { return w.trickle(rand.New(rand.NewPCG(seed, uint64(i+1))), r, i < 2, stop) })
	}
	began := time.Now()
	w.await(mostKills, func() string {
		kills, wanted, left := w.kills(), w.effects.stillWanted(), uploadFor-time.Since(began)
		if kills >= leastKills && len(wanted) == 0 && left <= 0 {
			return ""
		}
		return fmt.Sprintf("%d kills; not yet killed after %v", kills, wanted)
	})
	k.stop()
	close(stop)
	require.NoError(t, g.Wait())
	calm := time.Now()
	w.log(fmt.Sprintf("seed %d, %d kills in %.0f s", seed, w.kills(), time.Since(began).Seconds()))

	want := w.inBucket()
	w.await(leaseLife+stormSchedule.Period+timeout, func() string { return w.behind(want) })
	t.Logf("Astro equals the bucket %.0f s after the killing", time.Since(calm).Seconds())
	w.await(leaseLife+3*timeout, w.waiting)
	w.await(leaseLife+stormSchedule.Period+timeout, w.leased) // by the dead, where nothing was left to do
	w.stopSchedule()
	w.requireUnchangedByReconcile()
	w.requireOneFinalizeAtOnce()
	w.requireNoDeadLetters()
	w.requireNoSecrets()
	uploads, bundles, manifests := w.orphans()
	w.log("at the end")
	t.Logf("orphans: %d multipart uploads, %d bundles, %d manifests", uploads, bundles, manifests)
}

// trickle changes a small set until stop is closed. In a large one the bundle needs a multipart upload.
func (w *world) trickle(random *rand.Rand, r *route, large bool, stop <-chan struct{}) error {
	if large {
		incompressible := make([]byte, 9<<20)
		chaCha := rand.NewChaCha8([32]byte{})
		_, _ = chaCha.Read(incompressible) // never fails
		if err := w.put(random, r, "model.bin", incompressible); err != nil {
			return err
		}
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("dag_%02d.py", random.IntN(30))
		var err error
		if i > 5 && random.IntN(8) == 0 {
			err = w.remove(random, r, name)
		} else {
			err = w.put(random, r, name, fmt.Appendf(nil, "# %s, upload %d\n", name, i))
		}
		if err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(500+random.IntN(3000)) * time.Millisecond):
		}
	}
}
