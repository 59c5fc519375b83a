package deployer_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// laneWorld is a lane whose runs take ten seconds, and list after some of them; the test's clock is virtual.
type laneWorld struct {
	lane    *deployer.Lane
	mu      sync.Mutex
	runs    [][]time.Time // their events
	ends    []time.Time   // of their contexts
	running atomic.Int32
	most    atomic.Int32
}

func newLaneWorld(lists time.Duration, slots chan struct{}) *laneWorld {
	w := &laneWorld{}
	w.lane = deployer.NewLane(deployer.SystemClock{}, slots, func(ctx context.Context, events []time.Time) deployer.Result {
		w.most.Store(max(w.most.Load(), w.running.Add(1)))
		defer w.running.Add(-1)
		end, _ := ctx.Deadline()
		w.mu.Lock()
		w.runs, w.ends = append(w.runs, events), append(w.ends, end)
		n := len(w.runs)
		w.mu.Unlock()
		if lists < 0 {
			time.Sleep(10 * time.Second)
			return deployer.Result{Outcome: deployer.Busy, Files: n}
		}
		time.Sleep(lists)
		began := time.Now()
		time.Sleep(10*time.Second - lists)
		return deployer.Result{Outcome: deployer.Deployed, Began: began, Files: n}
	})
	return w
}

// ask wants a run at some second, and notes the number of the one that it got.
func (w *laneWorld) ask(t *testing.T, group *sync.WaitGroup, at time.Duration, got *int) {
	group.Go(func() {
		time.Sleep(at)
		result, err := w.lane.Run(t.Context(), time.Time{}, []time.Time{time.Now()})
		require.NoError(t, err)
		*got = result.Files
	})
}

func oneSlot() chan struct{} { return make(chan struct{}, 1) }

func TestRequestsShareRuns(t *testing.T) {
	for name, c := range map[string]struct {
		lists time.Duration // after the run's beginning; negative: it does not
		want  [6]int
	}{
		"who comes before the listing has part in it": {4 * time.Second, [6]int{1, 1, 1, 2, 2, 2}},
		"a run that lists at once":                    {0, [6]int{1, 2, 2, 2, 2, 2}},
		"without a listing only its own":              {-1, [6]int{1, 2, 2, 2, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newLaneWorld(c.lists, oneSlot())
				var got [6]int
				var group sync.WaitGroup
				for i, at := range []time.Duration{0, 1 * time.Second, 3900 * time.Millisecond, 4100 * time.Millisecond, 9 * time.Second, 11 * time.Second} {
					w.ask(t, &group, at, &got[i])
				}
				group.Wait()
				if c.lists == 0 {
					c.want[5] = 3 // the second lists at 10 s
				}
				require.Equal(t, c.want, got)
				require.Equal(t, int32(1), w.most.Load(), "one at a time")
			})
		})
	}
}

func TestASharedRunHasTheTimeOfItsLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := oneSlot()
		w := newLaneWorld(time.Second, slots)
		slots <- struct{}{} // somebody else runs, and these gather
		now := time.Now()
		var group sync.WaitGroup
		for _, end := range []time.Duration{time.Minute, 3 * time.Minute, 2 * time.Minute} {
			group.Go(func() {
				_, err := w.lane.Run(t.Context(), now.Add(end), []time.Time{now})
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		<-slots
		group.Wait()
		require.Equal(t, []time.Time{now.Add(3 * time.Minute)}, w.ends)
		require.Len(t, w.runs, 1)
		require.Len(t, w.runs[0], 3)
	})
}

func TestWhoLeavesEndsNoSharedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLaneWorld(time.Second, oneSlot())
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := w.lane.Run(ctx, time.Time{}, nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		var got int
		w.ask(t, &group, 500*time.Millisecond, &got)
		group.Wait()
		require.Equal(t, 1, got, "it had joined the run of the one that left")
		require.Len(t, w.runs, 1)
	})
}

func TestLanesShareTheirSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := oneSlot()
		a, b := newLaneWorld(0, slots), newLaneWorld(0, slots)
		var one, two, three int
		var group sync.WaitGroup
		began := time.Now()
		a.ask(t, &group, 0, &one)
		b.ask(t, &group, time.Second, &two)
		b.ask(t, &group, 5*time.Second, &three) // joins, since that run has not begun
		group.Wait()
		require.Equal(t, 20*time.Second, time.Since(began))
		require.Len(t, b.runs, 1)
		synctest.Wait()
	})
}

// TestWhoIsOutOfTimeCostsNoRun: they waited for a slot until they gave up.
func TestWhoIsOutOfTimeCostsNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := oneSlot()
		slots <- struct{}{}
		w := newLaneWorld(0, slots)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := w.lane.Run(ctx, time.Now().Add(50*time.Second), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-slots
		synctest.Wait()
		require.Empty(t, w.runs)
		_, err = w.lane.Run(t.Context(), time.Now().Add(50*time.Second), nil)
		require.NoError(t, err, "the lane goes on")
	})
}

// TestFewWaitForASlowRun: the others leave it to the run that is under way, and give their places to other routes' requests.
func TestFewWaitForASlowRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leased atomic.Bool
		lane := deployer.NewLane(deployer.SystemClock{}, make(chan struct{}, 64), func(context.Context, []time.Time) deployer.Result {
			if !leased.CompareAndSwap(false, true) {
				return deployer.Result{Outcome: deployer.Busy}
			}
			defer leased.Store(false)
			began := time.Now()
			time.Sleep(time.Minute)
			return deployer.Result{Outcome: deployer.Unchanged, Began: began}
		})
		began := time.Now()
		var answers sync.Map // outcome → requests
		var waited atomic.Int32
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				arrived := time.Now()
				result, err := lane.Run(t.Context(), time.Time{}, []time.Time{arrived})
				require.NoError(t, err)
				count, _ := answers.LoadOrStore(result.Outcome, new(atomic.Int32))
				count.(*atomic.Int32).Add(1)
				if time.Since(arrived) > 0 {
					waited.Add(1)
				}
			})
		}
		group.Wait()
		require.Equal(t, 2*time.Minute, time.Since(began), "the run, and one for those who waited")
		count := func(o deployer.Outcome) int32 { n, _ := answers.Load(o); return n.(*atomic.Int32).Load() }
		require.EqualValues(t, 10, count(deployer.Unchanged), "who came in the first second")
		require.EqualValues(t, 90, count(deployer.Busy))
		require.EqualValues(t, 10, waited.Load())
	})
}

// TestTheScheduleWantsTheDeploymentLookedAt: a listing alone does not answer it.
func TestTheScheduleWantsTheDeploymentLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		lane := deployer.NewLane(deployer.SystemClock{}, oneSlot(), func(context.Context, []time.Time) deployer.Result {
			runs++
			n, looked := runs, time.Now()
			time.Sleep(10 * time.Second)
			began := time.Now()
			time.Sleep(10 * time.Second)
			return deployer.Result{Outcome: deployer.Unchanged, Looked: looked, Began: began, Files: n}
		})
		got := map[string]int{}
		var mu sync.Mutex
		var group sync.WaitGroup
		ask := func(name string, at time.Duration, events ...time.Time) {
			group.Go(func() {
				time.Sleep(at)
				result, err := lane.Run(t.Context(), time.Time{}, events)
				require.NoError(t, err)
				mu.Lock()
				defer mu.Unlock()
				got[name] = result.Files
			})
		}
		ask("first", 0, time.Now())
		ask("schedule", 5*time.Second, time.Time{})
		ask("event", 6*time.Second, time.Now())
		group.Wait()
		require.Equal(t, map[string]int{"first": 1, "event": 1, "schedule": 2}, got)
	})
}

// TestNobodyIsAnsweredByAnOlderListing asks from all sides at once.
func TestNobodyIsAnsweredByAnOlderListing(t *testing.T) {
	var listed sync.Map // began → true
	lane := deployer.NewLane(deployer.SystemClock{}, oneSlot(), func(context.Context, []time.Time) deployer.Result {
		began := time.Now()
		listed.Store(began, true)
		time.Sleep(time.Millisecond)
		return deployer.Result{Outcome: deployer.Unchanged, Began: began}
	})
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range 50 {
				arrived := time.Now()
				result, err := lane.Run(t.Context(), time.Time{}, []time.Time{arrived})
				require.NoError(t, err)
				require.False(t, result.Began.Before(arrived), "the listing is older than the request")
			}
		})
	}
	group.Wait()
}

// TestAnOutcomeSaysWhenItsListingBegan: who shares a lane relies on it.
func TestAnOutcomeSaysWhenItsListingBegan(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a = 1")
	require.Equal(t, epoch.Add(time.Minute), w.requireOutcome(deployer.Deployed, w.sync()).Began, "each of these runs begins a minute later")
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, epoch.Add(2*time.Minute), r.Began)
	require.Equal(t, r.Began, r.Looked, "this clock stands still meanwhile")
	w.put("dags/b.py", "b = 1")
	w.route.MaxFiles = 1
	require.Zero(t, w.requireOutcome(deployer.Held, w.sync()).Began)
	w.route.MaxFiles = 0
	w.source.Fault = func(op membucket.Op, _ string, _ bool) error {
		if op == membucket.Open {
			return errKilled
		}
		return nil
	}
	require.Zero(t, w.requireOutcome(deployer.Failed, w.sync()).Began)
}
