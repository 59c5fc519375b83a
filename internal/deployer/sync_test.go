package deployer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

func TestFirstSyncDeploysExactlyTheFiles(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/team/é b+c%2B&.sql", "select 1")
	w.put("dags/.airflowignore", "team/")
	w.put("dags/__pycache__/a.pyc", "x")
	w.put("dags/empty/", "")
	w.put("dags_old/b.py", "not below the prefix")

	r := w.requireOutcome(deployer.Deployed, w.sync())

	require.Equal(t, map[string]string{"dags/a.py": "a = 1", "dags/team/é b+c%2B&.sql": "select 1", "dags/.airflowignore": "team/"}, w.live())
	require.Equal(t, []string{"dags/.airflowignore", "dags/a.py", "dags/team/é b+c%2B&.sql"}, r.Added)
	require.Equal(t, 3, r.Files)
	require.Equal(t, "deploy-1", r.DeployID)
	require.Equal(t, "version-1", r.TarballVersion)
	require.Len(t, r.LeftOut, 2)
	require.True(t, strings.HasPrefix(w.astro.deploys[0].Description, "dagbucket/prod/"+r.Digest+" "))
	rec := w.record()
	require.Nil(t, rec.Pending)
	require.Equal(t, r.Digest, rec.Live.Digest)
	require.Equal(t, epoch.Add(time.Minute), rec.Listed)
}

func TestNothingNewMeansListCallsOnly(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/.dagbucketignore", "*.tmp")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.source.Fault = func(op membucket.Op, key string, after bool) error {
		if op != membucket.List {
			return errors.New("only listing is allowed")
		}
		return nil
	}

	r := w.requireOutcome(deployer.Unchanged, w.sync())

	require.Equal(t, map[string]int64{"list": 1, "get": 3, "put": 3, "delete": 0, "sourceGet": 0, "astro": 0}, r.Requests,
		"one listing; record and lease read and swapped, the lease swapped once more; and the manifest's read since something is left out")
	require.Equal(t, []string{"version-1"}, w.astro.finalized)
	require.Equal(t, 1, r.Files)
	require.Equal(t, epoch.Add(2*time.Minute), w.record().Listed)
}

func TestOnlyWhatChangedIsFetched(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		w.put(fmt.Sprintf("dags/dag_%02d.py", i), fmt.Sprint("n = ", i))
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	w.clock.advance(time.Hour)
	w.put("dags/dag_07.py", "n = 7 # edited")
	w.put("dags/new.py", "new = True")
	w.delete("dags/dag_09.py")
	w.route.Window = 1 // one at a time, for the map
	fetched := map[string]int{}
	w.source.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Open && !after {
			fetched[key]++
		}
		return nil
	}

	r := w.requireOutcome(deployer.Deployed, w.sync())

	require.Equal(t, map[string]int{"dags/dag_07.py": 1, "dags/new.py": 1}, fetched)
	require.Equal(t, []string{"dags/new.py"}, r.Added)
	require.Equal(t, []string{"dags/dag_07.py"}, r.Modified)
	require.Equal(t, []string{"dags/dag_09.py"}, r.Removed)
	w.source.Fault = nil
	require.Equal(t, w.shown(), w.live())
	files := unpack(t, w.astro.bundles[w.astro.desired])
	require.Equal(t, epoch, files["dags/dag_08.py"].modified, "what did not change keeps its time")
	require.Equal(t, epoch.Add(time.Hour+time.Minute), files["dags/dag_07.py"].modified)
}

func TestSameContentUnderANewVersionIsNotDeployed(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 40_000) // larger than what is held of one object
	w := newWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/large.json", large)
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/a.py", "a = 1")
	w.put("dags/large.json", large)

	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, w.astro.finalized, 1)
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, int64(2), w.sync().Requests["get"], "the new versions are remembered")
	for range 3 {
		w.put("dags/a.py", "a = 1")
		w.requireOutcome(deployer.Unchanged, w.sync())
	}
	require.Len(t, w.stateKeys(), 5, "record and lease, the bundle, its manifest and the newest one: %v", w.stateKeys())

	w.put("dags/large.json", large)
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	files := unpack(t, w.astro.bundles[w.astro.desired])
	require.Equal(t, epoch, files["dags/large.json"].modified, "the same content keeps its time")
	require.Equal(t, w.shown(), w.live())
}

func TestBundlesAreReproducible(t *testing.T) {
	build := func(window int) []byte {
		w := newWorld(t)
		for i := range 300 {
			w.put(fmt.Sprintf("dags/%d/dag_%03d.py", i%7, i), strings.Repeat(fmt.Sprint("n = ", i, "\n"), i*i))
		}
		w.route.Window = window
		w.requireOutcome(deployer.Deployed, w.sync())
		return w.astro.bundles["version-1"]
	}
	first := build(64)
	for _, window := range []int{1, 2, 7, 500} {
		require.Equal(t, first, build(window), "window %d", window)
	}
}

func TestSeveralSourcesAndMounts(t *testing.T) {
	w := newWorld(t)
	ml := membucket.New("ml")
	ml.Now = w.clock.Now
	w.route.Sources = append(w.route.Sources, deployer.Source{URL: "s3://ml/", Bucket: ml, Mount: "ml/models"})
	w.put("dags/a.py", "a")
	_, err := ml.Put(context.Background(), "train.py", strings.NewReader("train"), bucket.Always)
	require.NoError(t, err)

	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, map[string]string{"dags/a.py": "a", "dags/ml/models/train.py": "train"}, w.live())

	w.route.BaseDir = ""
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, map[string]string{"a.py": "a", "ml/models/train.py": "train"}, w.live())
	require.Equal(t, "", w.record().Target.BaseDir)
}

func TestIgnoreFile(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a")
	w.put("dags/notes/todo.md", "x")
	w.put("dags/.dagbucketignore", "notes/\n")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/a.py"}, paths(w.live()))
	require.Equal(t, deployer.Note{Path: "dags/notes/todo.md", Key: "dags/notes/todo.md", Reason: "ignored",
		Message: "line 1 of .dagbucketignore: notes/"}, r.LeftOut[1])

	w.put("dags/.dagbucketignore", "# nothing\n")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/a.py", "dags/notes/todo.md"}, paths(w.live()))

	before := w.record().Live.DeployID
	w.put("dags/.dagbucketignore", "a\x00b")
	r = w.requireOutcome(deployer.Failed, w.sync())
	require.False(t, r.Retryable)
	require.Contains(t, r.Reason, "s3://acme/dags/.dagbucketignore")
	require.Equal(t, before, w.record().Live.DeployID)
	last := w.record().Runs[len(w.record().Runs)-1]
	require.Equal(t, "failed", last.Outcome, "it is told where people look")
	require.Equal(t, r.Reason, last.Reason)
}

func TestQuietPeriodMakesABurstOneDeploy(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	more := 3
	w.clock.onSleep = func() {
		if more > 0 {
			more--
			w.put(fmt.Sprintf("dags/more_%d.py", more), "x")
		}
	}
	r := w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), []time.Time{epoch}))
	require.Equal(t, 4, r.Files)
	require.Len(t, w.astro.finalized, 1)
	require.Equal(t, 40*time.Second, w.clock.slept)
}

func TestAYoungEventWaitsToo(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.clock.advance(time.Minute)
	w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), []time.Time{w.clock.Now().Add(-4 * time.Second)}))
	require.Equal(t, 6*time.Second, w.clock.slept)
}

func TestMaxWaitGoesOnWithTheLastListing(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	n := 0
	w.clock.onSleep = func() { n++; w.put("dags/1.py", fmt.Sprint(n)) }
	w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), nil))
	require.Equal(t, 3*time.Minute, w.clock.slept)
	require.Equal(t, w.shown(), w.live())
}

func TestARemovalNeedsTwoListings(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	w.put("dags/busy.py", "0")
	w.requireOutcome(deployer.Deployed, w.sync())
	listed := w.record().Listed
	w.put("dags/busy.py", "1")
	slept := 0
	w.clock.onSleep = func() {
		slept++
		w.put("dags/busy.py", fmt.Sprint(slept))
		if w.clock.slept == 3*time.Minute {
			w.delete("dags/2.py") // the last listing is the only one that misses it
		}
	}

	r := w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), nil))
	require.Equal(t, []string{"dags/1.py", "dags/2.py", "dags/busy.py"}, paths(w.live()))
	require.Equal(t, "changing", r.Kept[0].Reason)
	require.Equal(t, listed, w.record().Listed, "an outcome that left a removal uncounted covers nothing")
	require.Zero(t, r.Began, "and answers nobody who shares the run")

	w.clock.onSleep = nil
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/1.py", "dags/busy.py"}, paths(w.live()))
}

// TestANewFileBesideAKeptOne must not give an archive where one path is a file and a directory.
func TestANewFileBesideAKeptOne(t *testing.T) {
	for name, c := range map[string]struct{ kept, added string }{
		"a directory": {"dags/a/b.py", "dags/a"},
		"a file":      {"dags/a", "dags/a/b/c.py"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put(c.kept, "kept")
			w.put("dags/busy.py", "0")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/busy.py", "1")
			n := 0
			w.clock.onSleep = func() {
				n++
				w.put("dags/busy.py", fmt.Sprint(n))
				if w.clock.slept == 3*time.Minute {
					w.delete(c.kept)
					w.put(c.added, "new")
				}
			}
			r := w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), nil))
			require.Equal(t, []string{c.kept, "dags/busy.py"}, paths(w.live()))
			require.Equal(t, c.added, r.LeftOut[0].Path)
			require.Empty(t, r.Added)
			w.clock.onSleep = nil
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestHeld(t *testing.T) {
	deployed := func(t *testing.T) *world {
		w := newWorld(t)
		w.put("dags/1.py", "1")
		w.requireOutcome(deployer.Deployed, w.sync())
		return w
	}
	foreign := func(t *testing.T) *world {
		w := newWorld(t)
		w.put("dags/1.py", "1")
		w.astro.desired = "somebody's"
		w.astro.deploys = []deployer.Deploy{{ID: "x", Description: "by hand", TarballVersion: "somebody's"}}
		return w
	}
	for name, c := range map[string]struct {
		world  func(t *testing.T) *world
		change func(*world)
		reason string
		allow  func(*world)
		then   deployer.Outcome
	}{
		"a source became empty": {
			deployed, func(w *world) { w.delete("dags/1.py") }, "s3://acme/dags/ is empty, and its 1 live files stay",
			func(w *world) { w.route.AllowEmpty = true }, deployer.Deployed,
		},
		"nothing yet": {
			newWorldT, func(*world) {}, "waiting for the first file", func(w *world) { w.put("dags/1.py", "1") }, deployer.Deployed,
		},
		"foreign DAGs": {
			foreign, func(*world) {}, "already has DAGs", func(w *world) { w.route.ReplaceExisting = true }, deployer.Deployed,
		},
		"too many files": {
			deployed, func(w *world) { w.put("dags/2.py", "2"); w.route.MaxFiles = 1 }, "limits.max_files (1)",
			func(w *world) { w.route.MaxFiles = 2 }, deployer.Deployed,
		},
		"too many bytes": {
			deployed, func(w *world) { w.put("dags/2.py", "22"); w.route.MaxBytes = 2 }, "limits.max_bytes (2)",
			func(w *world) { w.delete("dags/2.py") }, deployer.Unchanged,
		},
		"Astro holds": {
			deployed, func(w *world) { w.astro.err = &deployer.HeldError{Reason: "it hibernates"} }, "it hibernates",
			func(w *world) { w.astro.err = nil }, deployer.Unchanged,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.world(t)
			c.change(w)
			live, stored := w.astro.desired, w.storedRuns()
			r := w.requireOutcome(deployer.Held, w.sync())
			require.Contains(t, r.Reason, c.reason)
			require.Equal(t, live, w.astro.desired)
			require.ElementsMatch(t, stored, w.storedRuns())
			require.Equal(t, r.Reason, w.record().Hold("held").Reason)
			c.allow(w)
			w.requireOutcome(c.then, w.sync())
			require.Empty(t, w.record().Holds)
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func newWorldT(t *testing.T) *world { return newWorld(t) }

func TestALostRecordIsRebuilt(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	first := w.requireOutcome(deployer.Deployed, w.sync())
	require.NoError(t, w.states.Delete(context.Background(), "prod/record.json", ""))

	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, first.DeployID, r.DeployID)
	require.Equal(t, first.Digest, w.record().Live.Digest)
	require.Equal(t, 2, w.record().Live.Files)
	require.Len(t, w.astro.finalized, 1)

	require.NoError(t, w.states.Delete(context.Background(), "prod/record.json", ""))
	w.delete("dags/2.py")
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/2.py"}, r.Removed, "the manifest was found again")
}

func TestALostStateBucketRemovesNothing(t *testing.T) {
	lose := func(w *world) {
		for _, key := range w.stateKeys() {
			require.NoError(t, w.states.Delete(context.Background(), key, ""))
		}
	}
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	w.requireOutcome(deployer.Deployed, w.sync())
	lose(w)
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, w.astro.finalized, 1, "the same contents need no deploy")
	w.put("dags/3.py", "3")
	w.requireOutcome(deployer.Deployed, w.sync())

	lose(w)
	w.delete("dags/2.py")
	r := w.requireOutcome(deployer.Held, w.sync())
	require.Contains(t, r.Reason, "the state is lost")
	require.Empty(t, w.storedRuns())
	require.Len(t, w.live(), 3)
	w.route.ReplaceExisting = true
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

func TestALostManifest(t *testing.T) {
	lost := func() *world {
		w := newWorld(t)
		w.put("dags/1.py", "1")
		w.put("dags/2.py", "2")
		w.requireOutcome(deployer.Deployed, w.sync())
		require.NoError(t, w.states.Delete(context.Background(), "prod/manifests/"+w.record().Live.Manifest+".jsonl.gz", ""))
		return w
	}
	w := lost()
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.put("dags/1.py", "1") // the same bytes again
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, w.astro.finalized, 1)
	w.put("dags/3.py", "3")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())

	w = lost()
	w.delete("dags/2.py")
	w.put("dags/3.py", "3")
	w.requireOutcome(deployer.Held, w.sync())
	require.Len(t, w.live(), 2, "nobody knows what would go")
}

func TestALostRecordAndBundle(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.NoError(t, w.states.Delete(context.Background(), "prod/bundles/"+w.record().Live.Run+".tar.gz", ""))
	require.NoError(t, w.states.Delete(context.Background(), "prod/record.json", ""))
	w.put("dags/3.py", "3")
	w.delete("dags/1.py")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/1.py"}, r.Removed)
	require.Equal(t, w.shown(), w.live())
}

func TestARecordOfAnotherTargetCountsAsNone(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.route.Deployment = "another"
	w.astro.desired, w.astro.deploys = "", nil

	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/1.py"}, r.Added)
	require.Equal(t, "another", w.record().Target.Deployment)
	require.Empty(t, w.record().Superseded)
}

func TestAnUnreadableRecordIsNeverOverwritten(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "cut": `{"format":1,"li`, "another document": `[1]`, "newer": `{"format":2}`, "no format": `{}`, "wrong type": `{"format":1,"live":7}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "1")
			_, err := w.states.Put(context.Background(), "prod/record.json", strings.NewReader(content), bucket.Always)
			require.NoError(t, err)
			r := w.requireOutcome(deployer.Failed, w.sync())
			require.False(t, r.Retryable)
			require.Contains(t, r.Reason, "mem://state/prod/record.json")
			kept, _, err := bucket.Read(context.Background(), w.states, "prod/record.json", "", 100)
			require.NoError(t, err)
			require.Equal(t, content, string(kept))
			require.Empty(t, w.astro.finalized)
		})
	}
}

// TestTheRevisionIsPinned: a version of dagbucket that named the same listings otherwise would look at every file of every bucket once more.
func TestTheRevisionIsPinned(t *testing.T) {
	w := newWorld(t)
	for i := range 1200 {
		w.put(fmt.Sprintf("dags/a folder with a long name/%04d.py", i), "a = 1")
	}
	w.archive("dags/a folder with a long name/0007.py")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, "8356ea1ae66aff7bffa2b86287b6d45647daffa2d84512913869bd369c609036", w.record().Live.Revision)
}
