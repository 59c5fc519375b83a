package deployer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// rolled is a world with three deploys: run 1 has a and b, run 2 changes b and adds c, run 3 changes a and removes b.
func rolled(t testing.TB) (w *world, runs []string) {
	w = newWorld(t)
	step := func(change func()) {
		change()
		w.requireOutcome(deployer.Deployed, w.sync())
		runs = append(runs, w.record().Live.Run)
	}
	step(func() { w.put("dags/a.py", "a1"); w.put("dags/b.py", "b1"); w.put("dags/same.py", "same") })
	step(func() { w.put("dags/b.py", "b2"); w.put("dags/team/c.py", "c2") })
	step(func() { w.put("dags/a.py", "a3"); w.delete("dags/b.py") })
	return w, runs
}

func (w *world) rollback(to string, paths ...string) deployer.Result {
	w.t.Helper()
	w.clock.advance(time.Minute)
	return w.route.Rollback(context.Background(), to, paths, false)
}

func reasons(notes []deployer.Note) map[string]string {
	found := map[string]string{}
	for _, n := range notes {
		found[n.Path] = n.Reason
	}
	return found
}

func TestRollbackGoesBackOneDeployAndThenFurther(t *testing.T) {
	w, runs := rolled(t)
	r := w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Contains(t, r.Reason, "rolled back to run "+runs[1])
	require.Equal(t, map[string]string{"dags/a.py": "a1", "dags/b.py": "b2", "dags/same.py": "same", "dags/team/c.py": "c2"}, w.live())
	require.Equal(t, []string{"dags/b.py"}, r.Added)
	require.Equal(t, []string{"dags/a.py"}, r.Modified)
	require.Equal(t, map[string]string{"dags/a.py": "rolled back", "dags/b.py": "rolled back"}, reasons(r.Kept))
	require.Equal(t, runs[1], w.record().Live.RolledBack)
	require.Contains(t, w.astro.deploys[0].Description, "rolled back to run")

	r = w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, r.Kept, 2, "it stays as it was rolled back")
	r = w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, r.Kept, 2)

	r = w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Contains(t, r.Reason, "rolled back to run "+runs[0], "the next one goes further back, and not to what was rolled back")
	require.Equal(t, map[string]string{"dags/a.py": "a1", "dags/b.py": "b1", "dags/same.py": "same"}, w.live())
	require.Equal(t, map[string]string{"dags/team/c.py": "rolled back"}, reasons(r.LeftOut))
	w.requireOutcome(deployer.Unchanged, w.sync())

	r = w.rollback("")
	require.Equal(t, deployer.Failed, r.Outcome)
	require.Contains(t, r.Reason, "nothing to roll back to")
	require.Contains(t, r.Reason, runs[2]+" (deploy deploy-3, 3 files)")
	w.requireOutcome(deployer.Unchanged, w.sync())
}

// TestAPathIsRolledBackUntilItsKeyChanges has everything else go on as usual.
func TestAPathIsRolledBackUntilItsKeyChanges(t *testing.T) {
	w, runs := rolled(t)
	w.requireOutcome(deployer.Deployed, w.rollback(runs[0]))
	require.Equal(t, map[string]string{"dags/a.py": "a1", "dags/b.py": "b1", "dags/same.py": "same"}, w.live())

	w.put("dags/new.py", "new")
	w.put("dags/same.py", "other")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, map[string]string{"dags/a.py": "a1", "dags/b.py": "b1", "dags/same.py": "other", "dags/new.py": "new"}, w.live())
	require.Equal(t, map[string]string{"dags/a.py": "rolled back", "dags/b.py": "rolled back"}, reasons(r.Kept))
	require.Equal(t, map[string]string{"dags/team/c.py": "rolled back"}, reasons(r.LeftOut))

	w.put("dags/a.py", "a4") // it was kept with older content
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/team/c.py", "c4") // it was left out
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/b.py", "b4") // it was kept though its key was gone
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, r.Kept)
	require.Empty(t, r.LeftOut)
	require.Equal(t, w.shown(), w.live())
}

func TestADeletedKeyEndsARollback(t *testing.T) {
	w, runs := rolled(t)
	w.requireOutcome(deployer.Deployed, w.rollback(runs[0], "dags/a.py"))
	w.delete("dags/a.py")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

func TestRollbackOfSomePaths(t *testing.T) {
	w, runs := rolled(t)
	for name, c := range map[string]struct {
		paths []string
		live  map[string]string
		fails string
	}{
		"a file":                  {[]string{"dags/a.py"}, map[string]string{"dags/a.py": "a1", "dags/same.py": "same", "dags/team/c.py": "c2"}, ""},
		"without the base folder": {[]string{"a.py"}, map[string]string{"dags/a.py": "a1", "dags/same.py": "same", "dags/team/c.py": "c2"}, ""},
		"a folder":                {[]string{"dags/team/"}, map[string]string{"dags/a.py": "a3", "dags/same.py": "same"}, ""},
		"one of them is the same": {[]string{"same.py", "b.py"}, map[string]string{"dags/a.py": "a3", "dags/b.py": "b1", "dags/same.py": "same", "dags/team/c.py": "c2"}, ""},
		"nothing differs":         {[]string{"same.py"}, nil, "there is nothing to roll back"},
		"no such path":            {[]string{"a.py", "dags/x.py"}, nil, `has a file or folder "dags/x.py"`},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := rolled(t)
			before := w.live()
			dry := w.route.Rollback(context.Background(), runs[0], c.paths, true)
			require.Equal(t, before, w.live(), "a dry run changes nothing")
			r := w.rollback(runs[0], c.paths...)
			if c.fails != "" {
				require.Contains(t, r.Reason, c.fails)
				require.Contains(t, dry.Reason, c.fails)
				require.Equal(t, before, w.live())
				w.requireOutcome(deployer.Unchanged, w.sync())
				return
			}
			w.requireOutcome(deployer.Deployed, r)
			require.Equal(t, deployer.Changes, dry.Outcome)
			require.Equal(t, [][]string{r.Added, r.Modified, r.Removed}, [][]string{dry.Added, dry.Modified, dry.Removed})
			require.Equal(t, c.live, w.live())
			w.requireOutcome(deployer.Unchanged, w.sync())
			require.Equal(t, c.live, w.live())
		})
	}
	require.NotEmpty(t, w.live())
}

func TestWhatCannotBeRolledBack(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w *world, runs []string)
		to     string
		says   []string
	}{
		"no such run": {nil, "run-9", []string{`no bundle of a run or deploy "run-9"`, "there is "}},
		"several":     {nil, "run-", []string{"the beginning of several runs"}},
		"bundle pruned": {func(w *world, runs []string) {
			w.states.Delete(context.Background(), "prod/bundles/"+runs[0]+".tar.gz", "")
		}, "", nil},
		"all bundles pruned": {dropBundles, "", []string{"nothing to roll back to", "the state holds no bundle"}},
		"what is live":       {nil, "deploy-3", []string{"what is live is what run"}},
		"damaged": {func(w *world, runs []string) {
			w.overwrite("prod/bundles/"+runs[0]+".tar.gz", func(b []byte) []byte { return b[:len(b)/2] })
		}, "deploy-1", []string{"nothing was deployed; go back to another run"}},
		"nothing known": {func(w *world, _ []string) {
			w.states.Delete(context.Background(), "prod/record.json", "")
			w.astro.desired = "elsewhere"
		}, "", []string{"it is not known here what is live"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, runs := rolled(t)
			if c.before != nil {
				c.before(w, runs)
			}
			before := w.astro.desired
			r := w.rollback(c.to)
			if c.says == nil { // the run before that is left
				require.Contains(t, w.requireOutcome(deployer.Deployed, r).Reason, runs[1])
				return
			}
			require.Equal(t, deployer.Failed, r.Outcome)
			require.False(t, r.Retryable)
			for _, text := range c.says {
				require.Contains(t, r.Reason, text)
			}
			require.Equal(t, before, w.astro.desired)
			if name != "nothing known" {
				w.requireOutcome(deployer.Unchanged, w.sync())
				require.Equal(t, "unchanged", w.record().Runs[len(w.record().Runs)-1].Outcome, "a mistake of a person is no run that failed")
			}
		})
	}
}

func dropBundles(w *world, runs []string) {
	for _, run := range runs[:2] {
		_ = w.states.Delete(context.Background(), "prod/bundles/"+run+".tar.gz", "")
	}
}

func TestRollbackWhilePausedAndWhileAnotherRunWorks(t *testing.T) {
	w, runs := rolled(t)
	require.NoError(t, w.route.Pause(context.Background(), ""))
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	w.requireOutcome(deployer.Held, w.sync())

	_, err := w.route.Store.TakeLease(context.Background(), "another")
	require.NoError(t, err)
	w.clock.onSleep = func() { w.clock.onSleep = nil; _, _ = w.route.Store.ReleaseLease(context.Background(), "another") }
	w.clock.advance(-time.Minute)
	r := w.rollback(runs[0])
	w.requireOutcome(deployer.Deployed, r)
	require.Nil(t, w.clock.onSleep, "it waited for the other run")
}

// TestManyNewFilesAreRolledBack is no mass removal: a person asked for it, and it is no measure of later ones.
func TestManyNewFilesAreRolledBack(t *testing.T) {
	w, _ := rolled(t)
	for _, c := range strings.Split("d e f g h i j k l m n o p q r s t u v", " ") {
		w.put("dags/"+c+".py", c)
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	r := w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Len(t, r.Removed, 19)
	w.delete("dags/same.py")
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/same.py"}, r.Removed)
	require.Empty(t, r.Kept)
}

// TestARollbackOutlivesALostRecord has the manifest remember it.
func TestARollbackOutlivesALostRecord(t *testing.T) {
	w, runs := rolled(t)
	w.requireOutcome(deployer.Deployed, w.rollback(runs[0]))
	live := w.live()
	require.NoError(t, w.states.Delete(context.Background(), "prod/record.json", ""))
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, r.Kept, 2)
	require.Equal(t, live, w.live())
}

// TestRollbackToAFileWhereAFolderIs refuses half of an exchange, and does the whole.
func TestRollbackToAFileWhereAFolderIs(t *testing.T) {
	w := newWorld(t)
	w.put("dags/x", "file")
	w.put("dags/y.py", "y")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.delete("dags/x")
	w.put("dags/x/in.py", "in")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Contains(t, w.rollback("", "dags/x/in.py").Reason, "rolled back", "that alone is possible")
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"dags/y.py"}, paths(w.live()))
	w.requireOutcome(deployer.Deployed, w.rollback("deploy-1"))
	require.Equal(t, map[string]string{"dags/x": "file", "dags/y.py": "y"}, w.live())
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, map[string]string{"dags/x": "file", "dags/y.py": "y"}, w.live())
}

func TestRollbackKilledAtAnyStep(t *testing.T) {
	_, runs := rolled(t)
	want := map[string]string{"dags/a.py": "a1", "dags/b.py": "b1", "dags/same.py": "same"}
	for _, call := range []string{"create", "upload", "finalize"} {
		for _, after := range []bool{false, true} {
			w, _ := rolled(t)
			w.astro.fault = func(c string, a bool) error {
				if c == call && a == after {
					return context.DeadlineExceeded
				}
				return nil
			}
			require.Equal(t, deployer.Failed, w.rollback(runs[0]).Outcome)
			w.astro.fault = nil
			w.sync()
			if call == "finalize" && after {
				require.Equal(t, want, w.live())
				require.Equal(t, runs[0], w.record().Live.RolledBack)
			} else {
				require.Equal(t, w.shown(), w.live())
			}
			w.requireOutcome(deployer.Unchanged, w.sync())
			w.rollback(runs[0])
			require.Equal(t, want, w.live())
			require.Empty(t, w.record().Holds)
			w.requireOutcome(deployer.Unchanged, w.sync())
			require.Equal(t, state.Kept, w.manifest()["dags/a.py"].State)
		}
	}
}

// manifest is what the live manifest says, by path.
func (w *world) manifest() map[string]*state.File {
	w.t.Helper()
	lines, err := w.route.Store.ReadManifest(context.Background(), w.record().Live.Manifest)
	require.NoError(w.t, err)
	files := map[string]*state.File{}
	for i := range lines {
		files[lines[i].Path] = &lines[i]
	}
	return files
}

// TestWhatWasGoneBeforeARollbackIsNotMissed: later runs need no second listing to believe that it is not there.
func TestWhatWasGoneBeforeARollbackIsNotMissed(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	first := w.record().Live.Run
	w.delete("dags/a.py")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireOutcome(deployer.Deployed, w.rollback(first, "dags/a.py"))
	w.put("dags/b.py", "b = 2")
	lists := 0
	w.source.Fault = func(op membucket.Op, _ string, after bool) error {
		if op == membucket.List && !after {
			lists++
		}
		return nil
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, 1, lists)
	require.Equal(t, map[string]string{"dags/a.py": "a = 1", "dags/b.py": "b = 2"}, w.live())
}
