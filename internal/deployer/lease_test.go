package deployer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// event runs the route at once, woken by events.
func (w *world) event(times ...time.Time) deployer.Result {
	w.t.Helper()
	return w.route.Sync(context.Background(), times)
}

// hold takes the lease for another run.
func (w *world) hold(run string) {
	w.t.Helper()
	taken, err := w.route.Store.TakeLease(context.Background(), run)
	require.NoError(w.t, err)
	require.True(w.t, taken.Held)
}

// rung releases the lease of another run, and reports whether somebody rang.
func (w *world) rung(run string) bool {
	w.t.Helper()
	again, err := w.route.Store.ReleaseLease(context.Background(), run)
	require.NoError(w.t, err)
	return again
}

func (w *world) owed() bool {
	w.t.Helper()
	owed, err := w.route.Store.Owed(context.Background())
	require.NoError(w.t, err)
	return owed
}

// during does something once, before the given call to Astro takes effect.
func (w *world) during(call string, do func()) {
	done := false
	w.astro.before = func(name string) {
		if name == call && !done {
			done = true
			do()
		}
	}
}

// skewedClock is a local clock that is wrong.
type skewedClock struct {
	*clock
	wrong time.Duration
}

func (c skewedClock) Now() time.Time { return c.clock.Now().Add(c.wrong) }

func TestCovered(t *testing.T) {
	ctx := context.Background()
	ago := func(ages ...time.Duration) func(time.Time) []time.Time {
		return func(listed time.Time) (events []time.Time) {
			for _, age := range ages {
				events = append(events, listed.Add(-age))
			}
			return events
		}
	}
	old := ago(time.Hour)
	nothing := func(*world) {}
	for name, c := range map[string]struct {
		events func(listed time.Time) []time.Time
		change func(w *world)
		want   deployer.Outcome
	}{
		"5 s older":               {ago(5 * time.Second), nothing, deployer.Covered},
		"almost 5 s older":        {ago(5*time.Second - 1), nothing, deployer.Unchanged},
		"4 s older":               {ago(4 * time.Second), nothing, deployer.Unchanged},
		"younger":                 {ago(-time.Second), nothing, deployer.Unchanged},
		"several, all older":      {ago(time.Hour, 5*time.Second, time.Minute), nothing, deployer.Covered},
		"one of several is young": {ago(time.Hour, 4*time.Second, time.Minute), nothing, deployer.Unchanged},
		"without a time":          {func(time.Time) []time.Time { return []time.Time{{}} }, nothing, deployer.Unchanged},
		"one of several has no time": {
			func(listed time.Time) []time.Time { return []time.Time{listed.Add(-time.Hour), {}} }, nothing, deployer.Unchanged,
		},
		"no event": {ago(), nothing, deployer.Unchanged},
		"the bell is set": {
			old, func(w *world) { require.NoError(w.t, w.route.Store.AbandonLease(ctx, "other")) }, deployer.Unchanged,
		},
		"another run is at it":        {old, func(w *world) { w.hold("other") }, deployer.Covered},
		"another run may be dead":     {old, func(w *world) { w.hold("other"); w.clock.advance(25*time.Second + 1) }, deployer.Busy},
		"another run is dead":         {old, func(w *world) { w.hold("other"); w.clock.advance(time.Minute) }, deployer.Unchanged},
		"the lease is garbage":        {old, func(w *world) { w.overwrite("prod/lease.json", func([]byte) []byte { return nil }) }, deployer.Busy},
		"the lease is missing":        {old, func(w *world) { require.NoError(w.t, w.states.Delete(ctx, "prod/lease.json", "")) }, deployer.Covered},
		"another Deployment":          {old, func(w *world) { w.route.Deployment = "another" }, deployer.Unchanged},
		"another base folder":         {old, func(w *world) { w.route.BaseDir = "" }, deployer.Deployed},
		"there is no record":          {old, func(w *world) { require.NoError(w.t, w.states.Delete(ctx, "prod/record.json", "")) }, deployer.Unchanged},
		"the record cannot be read":   {old, func(w *world) { w.overwrite("prod/record.json", func([]byte) []byte { return []byte("{") }) }, deployer.Failed},
		"the local clock is too slow": {old, func(w *world) { w.route.Clock = skewedClock{w.clock, -24 * time.Hour} }, deployer.Covered},
		"the local clock is too fast": {ago(0), func(w *world) { w.route.Clock = skewedClock{w.clock, 24 * time.Hour} }, deployer.Unchanged},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "1")
			w.requireOutcome(deployer.Deployed, w.sync())
			listed := w.record().Listed
			c.change(w)
			calls := 0
			w.astro.before = func(string) { calls++ }
			r := w.requireOutcome(c.want, w.event(c.events(listed)...))
			if c.want == deployer.Covered {
				require.Equal(t, map[string]int64{"list": 0, "get": 2, "put": 0, "delete": 0, "sourceGet": 0, "astro": 0}, r.Requests, "the record and the lease")
				require.Zero(t, calls)
				require.NoError(t, r.Err)
			}
			require.Equal(t, c.want == deployer.Busy, r.Retryable, "whoever holds it may be dead")
		})
	}
}

func TestABusyRunRingsAndListsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		age  time.Duration
		late bool
	}{
		"young": {0, false}, "just in time": {25 * time.Second, false}, "late": {25*time.Second + 1, true}, "very late": {time.Minute - 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "1")
			w.hold("other")
			w.clock.advance(c.age)
			w.astro.before = func(call string) { t.Errorf("a busy run called %s", call) }
			for i := range 3 {
				r := w.requireOutcome(deployer.Busy, w.event(epoch))
				require.Equal(t, c.late, r.Retryable)
				require.Equal(t, c.late, strings.Contains(r.Reason, "may be dead"))
				require.Zero(t, r.Requests["list"])
				require.Equal(t, int64(max(0, 1-i)), r.Requests["put"], "one bell is enough")
			}
			require.NotContains(t, w.stateKeys(), "prod/record.json")
			require.True(t, w.rung("other"))
		})
	}
}

func TestADeadHoldersLeaseRunsOut(t *testing.T) {
	for _, wrong := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(fmt.Sprint("local clock wrong by ", wrong), func(t *testing.T) {
			w := newWorld(t)
			w.route.Clock = skewedClock{w.clock, wrong}
			w.put("dags/1.py", "1")
			w.hold("dead")
			w.clock.advance(40 * time.Second)
			require.True(t, w.requireOutcome(deployer.Busy, w.event()).Retryable)
			w.clock.advance(20*time.Second - 1)
			require.True(t, w.requireOutcome(deployer.Busy, w.event()).Retryable)
			w.clock.advance(1)
			w.requireOutcome(deployer.Deployed, w.event())
			require.Equal(t, w.shown(), w.live())
			require.Equal(t, epoch.Add(time.Minute), w.record().Listed)
			w.requireOutcome(deployer.Covered, w.event(epoch.Add(55*time.Second)))
			w.requireOutcome(deployer.Unchanged, w.event(epoch.Add(56*time.Second)))
		})
	}
}

// TestAnUploadInTheMiddleOfARun rings the run at each of its calls; a second listing then finds the upload.
func TestAnUploadInTheMiddleOfARun(t *testing.T) {
	for _, call := range []string{"deployment", "create", "upload", "finalize"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			w.route.QuietPeriod = 0
			w.put("dags/1.py", "1")
			w.during(call, func() {
				w.put("dags/2.py", "2")
				r := w.requireOutcome(deployer.Busy, w.event(w.clock.Now()))
				require.False(t, r.Retryable)
			})
			listings := 0
			w.source.Fault = func(op membucket.Op, _ string, after bool) error {
				if op == membucket.List && after {
					listings++
				}
				return nil
			}
			r := w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, 2, listings)
			require.Equal(t, w.shown(), w.live())
			require.Equal(t, w.record().Live.DeployID, r.DeployID)
			require.Equal(t, 2, r.Files)
			require.False(t, w.owed())
		})
	}
}

func TestARungRunThatFindsNothingMore(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.during("create", func() { w.requireOutcome(deployer.Busy, w.event()) })
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/1.py"}, r.Added, "what this run did is not forgotten")
	require.Equal(t, "deploy-1", r.DeployID)
	require.Equal(t, int64(2), r.Requests["list"])
	require.Equal(t, []string{"version-1"}, w.astro.finalized)

	w.during("deployment", func() { w.requireOutcome(deployer.Busy, w.event()) })
	r = w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, int64(2), r.Requests["list"])
	require.Equal(t, int64(1), w.requireOutcome(deployer.Unchanged, w.sync()).Requests["list"], "a bell is answered once")
}

func TestAHeldRunLooksAgainToo(t *testing.T) {
	w := newWorld(t)
	w.states.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Put && key == "prod/record.json" && after { // it has just noted that it is held
			w.states.Fault = nil
			w.put("dags/1.py", "1")
			w.requireOutcome(deployer.Busy, w.event())
		}
		return nil
	}
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, r.Reason)
	require.Equal(t, w.shown(), w.live())
	require.Empty(t, w.record().Holds)
}

func TestAFailedRunLeavesTheBellSet(t *testing.T) {
	passing, permanent := errors.New("Astro is down"), &deployer.PermanentError{Err: errors.New("no right to deploy")}
	for name, c := range map[string]struct {
		fail      func(w *world) (mend func())
		retryable bool
	}{
		"may pass":  {func(w *world) func() { w.astro.err = passing; return func() { w.astro.err = nil } }, true},
		"permanent": {func(w *world) func() { w.astro.err = permanent; return func() { w.astro.err = nil } }, false},
		"a listing fails": {func(w *world) func() {
			w.source.Fault = func(membucket.Op, string, bool) error { return passing }
			return func() { w.source.Fault = nil }
		}, true},
		"a denied listing": {func(w *world) func() {
			w.source.Fault = func(membucket.Op, string, bool) error { return bucket.ErrDenied }
			return func() { w.source.Fault = nil }
		}, false},
		"finalize fails": {func(w *world) func() {
			w.put("dags/2.py", "2")
			w.astro.fault = failing("finalize")
			return func() { w.astro.fault = nil }
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "1")
			w.requireOutcome(deployer.Deployed, w.sync())
			event := w.record().Listed.Add(-time.Hour)
			w.requireOutcome(deployer.Covered, w.event(event))
			mend := c.fail(w)
			require.Equal(t, c.retryable, w.requireOutcome(deployer.Failed, w.sync()).Retryable)
			mend()
			require.True(t, w.owed())
			r := w.requireOutcome(deployer.Unchanged, w.event(event))
			require.NotZero(t, r.Requests["list"], "the lease is free, and a listing is owed")
			require.False(t, w.owed())
			w.requireOutcome(deployer.Covered, w.event(event))
		})
	}
}

func TestARunOutOfTimeLeavesTheBellSet(t *testing.T) {
	for _, call := range []string{"deployment", "create", "upload", "finalize"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "1")
			w.clock.advance(time.Minute)
			ctx, cancel := context.WithCancel(context.Background())
			w.astro.fault = func(name string, after bool) error {
				if name == call && !after {
					cancel()
				}
				return ctx.Err()
			}
			r := w.requireOutcome(deployer.Failed, w.route.Sync(ctx, []time.Time{epoch}))
			require.True(t, r.Retryable)
			w.astro.fault = nil
			require.True(t, w.owed())
			w.requireOutcome(deployer.Deployed, w.event(epoch))
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestAFailedRunThatLostItsLeaseRingsTheNextOne(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.during("create", func() {
		w.clock.advance(time.Minute)
		w.hold("other")
	})
	w.astro.fault = func(call string, _ bool) error {
		if call == "create" {
			return errors.New("Astro is down")
		}
		return nil
	}
	w.requireOutcome(deployer.Failed, w.sync())
	require.True(t, w.rung("other"), "the other run listed, perhaps, before this one failed")
}

func TestACleanEndOwesNothing(t *testing.T) {
	w := newWorld(t)
	w.requireOutcome(deployer.Held, w.sync())
	require.False(t, w.owed())
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.False(t, w.owed())
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.False(t, w.owed())
}

// tickingClock renews leases when a test says so.
type tickingClock struct {
	*clock
	ticks   chan time.Time
	stopped chan struct{}
}

func (c tickingClock) Tick(time.Duration) (<-chan time.Time, func()) {
	return c.ticks, func() { close(c.stopped) }
}

// tick returns when a renewal is done: the second tick is not taken before.
func (c tickingClock) tick() {
	for range 2 {
		select {
		case c.ticks <- time.Time{}:
		case <-c.stopped:
		}
	}
}

func ticking(w *world) tickingClock {
	c := tickingClock{w.clock, make(chan time.Time), make(chan struct{})}
	w.route.Clock = c
	return c
}

func TestALongRunRenewsItsLease(t *testing.T) {
	w := newWorld(t)
	c := ticking(w)
	w.put("dags/1.py", "1")
	w.during("upload", func() {
		for range 10 {
			w.clock.advance(20 * time.Second)
			require.False(t, w.requireOutcome(deployer.Busy, w.event()).Retryable)
			c.tick()
		}
		w.astro.before = nil
		w.route.Clock = w.clock // for the run's next look
	})
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"version-1"}, w.astro.finalized)
	require.NotContains(t, w.logs.String(), "renew")
}

func TestARunThatLostItsLease(t *testing.T) {
	w := newWorld(t)
	c := ticking(w)
	w.put("dags/1.py", "1")
	w.during("upload", func() {
		w.clock.advance(time.Minute)
		w.hold("other")
		c.tick()
	})
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Contains(t, w.logs.String(), "the lease was not renewed in time")
	require.False(t, w.rung("other"), "the other's lease was left alone")
	require.Equal(t, w.shown(), w.live(), "the fence, not the lease, decides")
}

func TestARenewalThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	c := ticking(w)
	w.put("dags/1.py", "1")
	var broken atomic.Bool
	w.states.Fault = func(_ membucket.Op, key string, _ bool) error {
		if key == "prod/lease.json" && broken.Load() {
			return errors.New("a passing fault")
		}
		return nil
	}
	w.during("upload", func() {
		broken.Store(true)
		w.clock.advance(20 * time.Second)
		c.tick()
		broken.Store(false)
		w.clock.advance(30 * time.Second)
		c.tick()
		require.False(t, w.requireOutcome(deployer.Busy, w.event()).Retryable, "it is young again")
		w.route.Clock = w.clock
	})
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Contains(t, w.logs.String(), "could not renew the lease")
}

func TestASourceThatWasNeverListedIsNotCovered(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	uploaded := w.clock.Now()
	w.requireOutcome(deployer.Deployed, w.sync())
	w.clock.advance(time.Minute)
	w.requireOutcome(deployer.Covered, w.event(uploaded))
	w.route.Sources = append(w.route.Sources, deployer.Source{URL: "s3://other/", Bucket: membucket.New("other")})
	w.requireOutcome(deployer.Unchanged, w.event(uploaded))
}
