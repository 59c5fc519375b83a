package deployer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// readOnly lets nothing be written anywhere.
func (w *world) readOnly() {
	refuse := func(op membucket.Op, key string, after bool) error {
		if op == membucket.Put || op == membucket.Delete {
			return errors.New("a plan writes nothing")
		}
		return nil
	}
	w.states.Fault, w.source.Fault = refuse, refuse
	w.astro.fault = func(call string, after bool) error {
		if call != "deployment" && call != "deploys" {
			return errors.New("a plan deploys nothing")
		}
		return nil
	}
}

func TestPlan(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	plan := func() deployer.Result {
		w.readOnly()
		r := w.route.Plan(context.Background())
		w.states.Fault, w.source.Fault, w.astro.fault = nil, nil, nil
		return r
	}
	r := w.requireOutcome(deployer.Changes, plan())
	require.Equal(t, []string{"dags/1.py", "dags/2.py"}, r.Added)
	require.Equal(t, 2, r.Files)
	require.Zero(t, w.clock.slept, "a plan does not wait")

	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireOutcome(deployer.Unchanged, plan())

	w.put("dags/1.py", "one")
	w.delete("dags/2.py")
	r = w.requireOutcome(deployer.Changes, plan())
	require.Equal(t, []string{"dags/1.py"}, r.Modified)
	require.Equal(t, []string{"dags/2.py"}, r.Removed)

	w.delete("dags/1.py")
	r = w.requireOutcome(deployer.Held, plan())
	require.Contains(t, r.Reason, "is empty")
	require.Len(t, r.Kept, 2, "what would go")

	w.source.Fault = nil
	w.astro.fault = func(string, bool) error { return errors.New("Astro is down") }
	r = w.requireOutcome(deployer.Failed, w.route.Plan(context.Background()))
	require.True(t, r.Retryable)
}

func TestAPlanDoesNotPromote(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.astro.fault = func(call string, after bool) error {
		if call == "finalize" && after {
			return errors.New("the answer is lost")
		}
		return nil
	}
	w.requireOutcome(deployer.Failed, w.sync())
	w.astro.fault = nil
	w.requireOutcome(deployer.Unchanged, w.route.Plan(context.Background()))
	require.NotNil(t, w.record().Pending)
	require.Nil(t, w.record().Live)
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	s, err := w.route.Status(context.Background())
	require.NoError(t, err)
	require.Nil(t, s.Live)
	w.put("dags/1.py", "1")
	w.put("dags/a.pyc", "x")
	w.requireOutcome(deployer.Deployed, w.sync())
	s, err = w.route.Status(context.Background())
	require.NoError(t, err)
	require.True(t, s.Deployment.InSync)
	require.Equal(t, 1, s.Live.Files)
	require.Equal(t, "excluded", s.In(state.LeftOut)[0].Reason)
	require.Len(t, s.Runs, 1)
	w.astro.desired = "somebody's"
	s, err = w.route.Status(context.Background())
	require.NoError(t, err)
	require.False(t, s.Deployment.InSync)
}

func TestForeignDeploysStayUntilTheBucketChanges(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.astro.desired = "somebody's"
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Contains(t, r.Reason, "replaced what was deployed here; it stays until the bucket changes")
	require.Equal(t, "somebody's", w.astro.desired)
	w.put("dags/1.py", "one")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

func TestASupersededVersionIsDeployedOver(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/1.py", "one")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.astro.desired = "version-1" // a finalize that landed late
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

func TestWaitUntilRunning(t *testing.T) {
	w := newWorld(t)
	w.astro.desired = "v1"
	require.NoError(t, w.route.WaitUntilRunning(context.Background(), "v1"))
	require.ErrorContains(t, w.route.WaitUntilRunning(context.Background(), "v0"), "another tarball version")
	w.astro.slow = true
	w.clock.onSleep = func() { w.astro.slow = w.clock.slept < 20*time.Second }
	require.NoError(t, w.route.WaitUntilRunning(context.Background(), "v1"))
	require.Equal(t, 21*time.Second, w.clock.slept)
	w.astro.slow, w.clock.onSleep = true, nil
	require.ErrorContains(t, w.route.WaitUntilRunning(context.Background(), "v1"), "after 10m0s")
}
