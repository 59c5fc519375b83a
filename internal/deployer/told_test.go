package deployer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// addSource gives the route a second source, and returns a world that writes to that.
func (w *world) addSource() *world {
	other := *w
	other.source = membucket.New("two")
	other.source.Now = w.clock.Now
	w.route.Sources = append(w.route.Sources, deployer.Source{URL: "s3://two/x/", Bucket: other.source, Prefix: "x/"})
	return &other
}

// TestNoticesAreShort has authors with long names and conflicts, and nobody to tell: all of it waits in the record.
func TestNoticesAreShort(t *testing.T) {
	w, n := newNotifyingWorld(t)
	n.down["ops"] = true
	other := w.addSource()
	key := strings.Repeat(`"quoted"/`, 90) + "a.py"
	w.put("dags/"+key, "1")
	other.put("x/"+key, "2")
	w.sync()
	files := w.record().Outbox[0].Notice.Files
	require.Equal(t, "conflict", files[0].Reason)
	require.Less(t, len(files[0].Message), 310)
}

// TestAnotherLayoutIsNoPlaceToGoBackTo changes base_dir.
func TestAnotherLayoutIsNoPlaceToGoBackTo(t *testing.T) {
	w, _ := rolled(t)
	w.route.BaseDir, w.route.ReplaceExisting = "", true
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"a.py", "same.py", "team/c.py"}, paths(w.live()))
	for _, to := range []string{"", "deploy-1"} {
		r := w.rollback(to)
		require.Equal(t, deployer.Failed, r.Outcome)
		require.Contains(t, r.Reason, "the state holds no bundle that a rollback could use")
	}
	h, err := w.route.History(context.Background())
	require.NoError(t, err)
	require.False(t, h.Runs[0].Stored)
}

// TestASecondRollbackNeverGoesForward to what the first one turned down.
func TestASecondRollbackNeverGoesForward(t *testing.T) {
	t.Run("few bundles are kept", func(t *testing.T) {
		w := newWorld(t)
		w.route.KeepBundles = 3
		for i := range 4 {
			w.put("dags/a.py", fmt.Sprintf("a%d", i))
			w.requireOutcome(deployer.Deployed, w.sync())
			w.clock.advance(2 * time.Hour)
		}
		w.requireOutcome(deployer.Deployed, w.rollback("deploy-2"))
		require.Equal(t, "a1", w.live()["dags/a.py"])
		w.rollback("")
		require.NotContains(t, []string{"a2", "a3"}, w.live()["dags/a.py"])
	})
	t.Run("it was deployed again", func(t *testing.T) {
		w, runs := rolled(t)
		w.requireOutcome(deployer.Deployed, w.rollback(runs[1]))
		w.route.OnDrift = deployer.Redeploy
		w.foreign("theirs")
		w.requireOutcome(deployer.Deployed, w.sync())
		require.Equal(t, runs[1], w.record().Live.RolledBack)
		require.Contains(t, w.requireOutcome(deployer.Deployed, w.rollback("")).Reason, runs[0])
	})
	t.Run("one path went further back", func(t *testing.T) {
		w, runs := rolled(t)
		w.requireOutcome(deployer.Deployed, w.rollback(runs[0], "dags/b.py"))
		require.Contains(t, w.requireOutcome(deployer.Deployed, w.rollback("")).Reason, runs[2], "back to before that")
		require.NotContains(t, w.live(), "dags/b.py")
		require.Equal(t, "a3", w.live()["dags/a.py"])
	})
}

// TestAnIgnoredFileThatWasRolledBackHasOneFate until it is ignored no longer.
func TestAnIgnoredFileThatWasRolledBackHasOneFate(t *testing.T) {
	w, p := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.sync()
	w.put("dags/.dagbucketignore", "b.py\n")
	w.sync()
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	r := w.sync()
	require.Equal(t, map[string]string{"dags/b.py": "rolled back"}, reasons(r.Kept))
	require.Equal(t, "kept rolled back", fatesOf(p.last)["dags/b.py"])
	require.Equal(t, "b = 1", w.live()["dags/b.py"])
	w.put("dags/.dagbucketignore", "# nothing\n")
	w.put("dags/b.py", "b = 2")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, "b = 2", w.live()["dags/b.py"], "what its source shows there is something else now")
}

func TestAConflictThatPassesEndsNoRollback(t *testing.T) {
	w, runs := rolled(t)
	other := w.addSource()
	w.sync()
	w.requireOutcome(deployer.Deployed, w.rollback(runs[0], "dags/a.py"))
	other.put("x/a.py", "other")
	require.Equal(t, map[string]string{"dags/a.py": "conflict"}, reasons(w.sync().Kept))
	other.delete("x/a.py")
	r := w.sync()
	require.Equal(t, map[string]string{"dags/a.py": "rolled back"}, reasons(r.Kept))
	require.Equal(t, "a1", w.live()["dags/a.py"])
}

// TestRemovalsThatWereRolledBackCanBeApproved since a person may want them to go after all.
func TestRemovalsThatWereRolledBackCanBeApproved(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a1")
	for i := range 20 {
		w.put(fmt.Sprintf("dags/f%d.py", i), "1")
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	for i := range 20 {
		w.put(fmt.Sprintf("dags/f%d.py", i), "2")
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	for i := range 20 {
		w.delete(fmt.Sprintf("dags/f%d.py", i))
	}
	w.sync()
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Len(t, w.sync().Kept, 20)
	approval, err := w.route.Approve(context.Background())
	require.NoError(t, err)
	require.Len(t, approval.Removed, 20)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

// TestARollbackListsNothing so that no event may be called covered by it.
func TestARollbackListsNothing(t *testing.T) {
	w, _ := rolled(t)
	before := w.record().Config
	w.addSource()
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Equal(t, before, w.record().Config)
}

func TestWithoutTheLiveBundleNothingIsRolledBack(t *testing.T) {
	w, runs := rolled(t)
	require.NoError(t, w.states.Delete(context.Background(), "prod/bundles/"+runs[2]+".tar.gz", ""))
	require.Contains(t, w.rollback("").Reason, "run dagbucket sync, which makes it anew")
	w.put("dags/other.py", "other")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireOutcome(deployer.Deployed, w.rollback(runs[1]))
}

// TestManyFailuresPushNoDeployOutOfTheHistory so that there stays something to go back to.
func TestManyFailuresPushNoDeployOutOfTheHistory(t *testing.T) {
	w, runs := rolled(t)
	for i := range 110 {
		if w.astro.err = nil; i%2 == 0 {
			w.astro.err = errors.New("down")
		}
		w.sync()
	}
	w.astro.err = nil
	w.sync()
	require.Len(t, w.record().Runs, 100)
	require.Contains(t, w.requireOutcome(deployer.Deployed, w.rollback("")).Reason, runs[1])
}

// TestPagesOfASecondLookThatFails: what the first one made live does not wait.
func TestPagesOfASecondLookThatFails(t *testing.T) {
	w, p := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.sync()
	w.put("dags/a.py", "a = 2")
	rung := false
	w.astro.before = func(call string) {
		if call == "finalize" {
			rung = true
			_, _ = w.route.Store.TakeLease(context.Background(), "another")
		}
	}
	w.astro.fault = func(call string, _ bool) error {
		if rung && call == "deployment" {
			return errors.New("Astro is down")
		}
		return nil
	}
	w.requireOutcome(deployer.Failed, w.sync())
	require.Equal(t, "failed", p.last.State)
	require.Equal(t, map[string]string{"dags/a.py": "live"}, fatesOf(p.last))
}

// TestUploadsHaveAFateWhileNothingCanBeDeployed asks the pages and the command.
func TestUploadsHaveAFateWhileNothingCanBeDeployed(t *testing.T) {
	w, p := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.sync()
	w.sync()
	w.put("dags/a.py", "a = 2")
	w.put("dags/new.py", "new = 1")
	for name, c := range map[string]struct {
		err  error
		fate string
	}{
		"hibernating":   {&deployer.HeldError{Reason: "it hibernates"}, "held"},
		"token refused": {&deployer.PermanentError{Err: errors.New("refused")}, "waiting"},
		"down":          {errors.New("down"), "waiting"},
	} {
		w.astro.err = c.err
		r := w.sync()
		want := map[string]string{"dags/a.py": c.fate, "dags/new.py": c.fate}
		require.Equal(t, want, fatesOf(p.last), name)
		require.Equal(t, "deploy-1", p.last.Files[0].DeployID)
		require.NotZero(t, r.NotLiveAge)
		s, _ := w.route.Status(context.Background())
		require.Equal(t, want, fatesOf(&s), name)
	}
}

func TestTheStatusCommandAgreesWithThePage(t *testing.T) {
	w, p := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.sync()
	w.put("dags/a.py", "a = 2")
	w.astro.fault = func(call string, _ bool) error {
		if call == "create" {
			return &deployer.PermanentError{Err: errors.New("no right to deploy")}
		}
		return nil
	}
	w.sync()
	s, err := w.route.Status(context.Background())
	require.NoError(t, err)
	require.Equal(t, p.last.Next, s.Next)
	require.Contains(t, s.Next, "An operator: ")
}

// TestDeploysThatAstroDoesNotRunAreToldOnce whether they end FAILED or never come.
func TestDeploysThatAstroDoesNotRunAreToldOnce(t *testing.T) {
	w, n := newNotifyingWorld(t)
	p := &pages{}
	w.route.Pages = p
	fail := func() {
		for i := range w.astro.deploys {
			w.astro.deploys[i].Failed, w.astro.deploys[i].Finished = i == 0, i != 0
		}
	}
	w.sync()
	w.put("dags/a.py", "a = 2")
	w.sync()
	var told []string
	for range 40 {
		fail()
		w.clock.advance(10 * time.Minute)
		w.sync()
		told = append(told, n.taken()...)
	}
	require.Len(t, told, 1, "%v", told)
	require.Contains(t, told[0], "ops failed: deploy ")
	require.Equal(t, "failed", p.last.State)
	require.Contains(t, p.last.Next, "An operator: look at the deploy in Astro.")
	require.Equal(t, "waiting", fatesOf(p.last)["dags/a.py"])

	w.astro.deploys[0].Failed, w.astro.deploys[0].Finished = false, true
	w.sync()
	w.clock.advance(5 * time.Hour)
	w.sync()
	require.Contains(t, strings.Join(n.taken(), " "), "recovered: Astro runs what was deployed last")
	require.Equal(t, "live", p.last.State)

	w.put("dags/a.py", "a = 3")
	w.astro.slow = true
	w.sync()
	require.Equal(t, "deploying", p.last.State)
	w.clock.advance(30 * time.Minute)
	w.sync()
	require.Equal(t, "failed", p.last.State)
	require.Contains(t, n.taken()[0], "ops failed: Astro does not run deploy")
	w.sync()
	require.Empty(t, n.taken())
}

func TestDriftThatOthersUndoIsToldToBeOver(t *testing.T) {
	w, n := newNotifyingWorld(t)
	p := &pages{}
	w.route.Pages = p
	ours := w.astro.desired
	w.foreign("theirs")
	w.sync()
	require.Len(t, n.taken(), 1)
	require.Equal(t, "waiting", fatesOf(p.last)["dags/a.py"], "the Deployment does not run it")
	w.astro.desired = ours
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"ops recovered: the Deployment's DAGs are those that were deployed from here again"}, n.taken())
}

func TestAHoldForAnotherFileIsNews(t *testing.T) {
	w, n := newNotifyingWorld(t)
	w.route.Sources[0].Syntax = deployer.Hold
	w.put("dags/a.py", "BROKEN")
	w.sync()
	require.Contains(t, n.taken()[0], "ops held: syntax: dags/a.py:1:1")
	w.put("dags/a.py", "a = 9")
	w.put("dags/b.py", "BROKEN")
	w.sync()
	require.Contains(t, n.taken()[0], "ops held: syntax: dags/b.py:1:1")
}

func TestStatusOfARollback(t *testing.T) {
	w, runs := rolled(t)
	p := &pages{}
	w.route.Pages = p
	w.requireOutcome(deployer.Deployed, w.rollback(runs[0]))
	w.sync()
	require.Equal(t, "live", p.last.State)
	require.Equal(t, "3 files are rolled back; everything else is live", p.last.Summary)
	require.NoError(t, w.route.Pause(context.Background(), "looking into it"))
	w.sync()
	w.requireOutcome(deployer.Deployed, w.rollback(runs[2]))
	require.Equal(t, "held", p.last.State)
	require.Equal(t, "Nothing else is deployed: paused: looking into it", p.last.Summary)
}

func TestLiveAfterCountsNoPause(t *testing.T) {
	w, _ := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.sync()
	require.NoError(t, w.route.Pause(context.Background(), ""))
	w.sync()
	w.clock.advance(48 * time.Hour)
	require.NoError(t, w.route.Resume(context.Background()))
	w.sync()
	require.Equal(t, 60.0, w.record().Runs[0].LiveAfter)
}

func TestTheAgeOutlivesTheBell(t *testing.T) {
	w, _ := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/k.py", "k = 1")
	w.sync()
	w.put("dags/k.py", "BROKEN")
	w.put("dags/a.py", "a = 2")
	w.astro.before = func(call string) {
		if call == "finalize" {
			w.astro.before = nil
			_, _ = w.route.Store.TakeLease(context.Background(), "another")
		}
	}
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, 60.0, r.NotLiveAge)
}

// TestImportErrorsDoNotFlap: until Airflow has read a repaired file, nothing is told of it.
func TestImportErrorsDoNotFlap(t *testing.T) {
	w, n := newNotifyingWorld(t)
	p := &pages{}
	w.route.Pages = p
	air := &airflow{errors: []deployer.ImportError{{File: "/usr/local/airflow/dags/a.py", Trace: trace, At: w.clock.now}}}
	w.route.Airflow = air
	w.sync()
	require.Len(t, n.taken(), 1)
	w.put("dags/a.py", "a = 22")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, p.last.Files[0].ImportError, "that was about the version before")
	w.sync()
	require.Empty(t, n.taken())
	air.errors = nil
	w.sync()
	require.Equal(t, []string{"ops recovered: dags/a.py(import error)"}, n.taken())
}
