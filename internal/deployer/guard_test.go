package deployer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

func dag(i int) string { return fmt.Sprintf("dags/%03d.py", i) }

// putDAGs uploads the files from..to-1.
func (w *world) putDAGs(from, to int) {
	w.t.Helper()
	for i := from; i < to; i++ {
		w.put(dag(i), fmt.Sprint("n = ", i))
	}
}

// deleteDAGs removes the files from..to-1.
func (w *world) deleteDAGs(from, to int) {
	w.t.Helper()
	for i := from; i < to; i++ {
		w.delete(dag(i))
	}
}

// withDAGs is a world in which n files are live.
func withDAGs(t testing.TB, n int) *world {
	w := newWorld(t)
	w.route.QuietPeriod = 0
	w.putDAGs(0, n)
	w.requireOutcome(deployer.Deployed, w.sync())
	return w
}

// approve approves what waits, and requires that to be n paths.
func (w *world) approve(n int) deployer.Approval {
	w.t.Helper()
	a, err := w.route.Approve(context.Background())
	require.NoError(w.t, err)
	require.Len(w.t, a.Removed, n)
	return a
}

// secondSource adds a bucket, mounted at "ml", with n files.
func secondSource(w *world, n int) *membucket.Bucket {
	ml := membucket.New("ml")
	ml.Now = w.clock.Now
	w.route.Sources = append(w.route.Sources, deployer.Source{URL: "s3://ml/", Bucket: ml, Mount: "ml"})
	for i := range n {
		_, err := ml.Put(context.Background(), fmt.Sprintf("%03d.py", i), strings.NewReader("ml"), bucket.Always)
		require.NoError(w.t, err)
	}
	return ml
}

func empty(t testing.TB, b *membucket.Bucket) {
	for _, o := range b.Snapshot("") {
		require.NoError(t, b.Delete(context.Background(), o.Key, ""))
	}
}

func TestMassRemoval(t *testing.T) {
	for name, c := range map[string]struct {
		files, removed      int
		percent, moreThan   int
		kept                bool
		addedInTheMeanwhile int
	}{
		"one of one hundred":              {100, 1, 50, 10, false, 0},
		"half, and just as many":          {20, 10, 50, 10, false, 0},
		"more than both":                  {20, 11, 50, 10, true, 0},
		"more files, exactly half":        {22, 11, 50, 10, false, 0},
		"more files, just over half":      {21, 11, 50, 10, true, 0},
		"most, but few":                   {12, 10, 50, 10, false, 0},
		"all but one":                     {12, 11, 50, 10, true, 0},
		"exactly half of many":            {100, 50, 50, 10, false, 0},
		"over half of many":               {100, 51, 50, 10, true, 0},
		"new files do not make up for it": {20, 11, 50, 10, true, 30},
		"no removal is allowed":           {20, 1, 0, 0, true, 0},
		"any few are":                     {20, 10, 0, 10, false, 0},
		"any percentage is":               {20, 19, 100, 0, false, 0},
		"a third, rounded down":           {30, 10, 33, 0, true, 0},
		"a third, exactly":                {100, 33, 33, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := withDAGs(t, c.files)
			w.route.MaxRemovedPercent, w.route.MaxRemovedFiles = c.percent, c.moreThan
			before := w.live()
			w.deleteDAGs(0, c.removed)
			w.putDAGs(500, 500+c.addedInTheMeanwhile)
			r := w.sync()
			if !c.kept {
				w.requireOutcome(deployer.Deployed, r)
				require.Len(t, r.Removed, c.removed)
				require.Empty(t, r.Kept)
				require.Equal(t, w.shown(), w.live())
				return
			}
			require.Empty(t, r.Removed)
			require.Len(t, r.Kept, c.removed)
			require.Equal(t, "removal", r.Kept[0].Reason)
			require.Contains(t, r.Kept[0].Message, fmt.Sprintf("%d of the %d files", c.removed, c.files))
			require.Contains(t, r.Kept[0].Message, "dagbucket approve")
			require.Len(t, w.live(), c.files+c.addedInTheMeanwhile)
			require.Subset(t, w.live(), before)
		})
	}
}

func TestKeptFilesStayWithTheirOldBytes(t *testing.T) {
	w := withDAGs(t, 20)
	times := unpack(t, w.astro.bundles[w.astro.desired])
	w.deleteDAGs(0, 15)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.put("dags/new.py", "new")
	w.put(dag(19), "edited")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"dags/new.py"}, r.Added)
	require.Equal(t, []string{dag(19)}, r.Modified)
	require.Len(t, r.Kept, 15)
	files := unpack(t, w.astro.bundles[w.astro.desired])
	require.Len(t, files, 21)
	require.Equal(t, "new", files["dags/new.py"].content)
	require.Equal(t, "edited", files[dag(19)].content)
	for i := range 19 {
		require.Equal(t, times[dag(i)], files[dag(i)])
	}

	r = w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, r.Kept, 15, "it is told every time")
	w.putDAGs(0, 15)
	r = w.requireOutcome(deployer.Unchanged, w.sync())
	require.Empty(t, r.Kept, "the files came back")
	require.Len(t, w.astro.finalized, 2)
	w.deleteDAGs(3, 4)
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{dag(3)}, r.Removed)
	require.Equal(t, w.shown(), w.live())
}

func TestARemovalInSmallSteps(t *testing.T) {
	w := withDAGs(t, 40)
	for step := range 4 {
		w.deleteDAGs(step*5, step*5+5)
		require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 5)
	}
	w.deleteDAGs(20, 21)
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, dag(20), r.Kept[0].Path)
	require.Contains(t, r.Kept[0].Message, "21 of the 40 files that its source had in the last 24 hours are gone")
	require.Len(t, w.live(), 20)
}

func TestTheGuardForgetsAfter24Hours(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		kept  int
	}{
		"just before": {24*time.Hour - 1, 5}, "24 h later": {24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := withDAGs(t, 40)
			w.route.Clock = skewedClock{w.clock, -time.Hour}
			w.deleteDAGs(0, 20)
			w.requireOutcome(deployer.Deployed, w.sync())
			w.clock.advance(c.after)
			w.deleteDAGs(20, 25)
			require.Len(t, w.event().Kept, c.kept)
			require.Len(t, w.live(), 15+c.kept)
		})
	}
}

func TestSeveralSourcesAreGuardedApart(t *testing.T) {
	w := newWorld(t)
	w.route.QuietPeriod = 0
	w.putDAGs(0, 20)
	ml := secondSource(w, 20)
	w.requireOutcome(deployer.Deployed, w.sync())
	w.deleteDAGs(0, 11)
	for i := range 10 {
		require.NoError(t, ml.Delete(context.Background(), fmt.Sprintf("%03d.py", i), ""))
	}
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, r.Removed, 10)
	require.Equal(t, "dags/ml/000.py", r.Removed[0])
	require.Len(t, r.Kept, 11)
	require.Equal(t, dag(0), r.Kept[0].Path)
	require.Len(t, w.live(), 30)

	empty(t, ml)
	r = w.requireOutcome(deployer.Held, w.sync())
	require.Contains(t, r.Reason, "s3://ml/ is empty, and its 10 live files stay")
	require.Len(t, w.live(), 30)
	w.route.AllowEmpty = true
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, r.Removed, 10)
	require.Len(t, r.Kept, 11, "allow_empty allows no mass removal elsewhere")
}

func TestASourceThatIsNoLongerConfigured(t *testing.T) {
	for name, c := range map[string]struct{ files, kept int }{"few files": {10, 0}, "many files": {11, 11}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.route.QuietPeriod = 0
			w.putDAGs(0, 3)
			secondSource(w, c.files)
			w.requireOutcome(deployer.Deployed, w.sync())
			w.route.Sources = w.route.Sources[:1]
			require.Len(t, w.sync().Kept, c.kept)
			require.Len(t, w.live(), 3+c.kept)
			w.approve(c.kept)
			w.sync()
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestApproveLetsExactlyTheseGo(t *testing.T) {
	w := withDAGs(t, 60)
	w.route.MaxRemovedPercent = 20
	w.deleteDAGs(0, 40)
	w.requireOutcome(deployer.Unchanged, w.sync())
	preview, err := w.route.Approvable(context.Background())
	require.NoError(t, err)
	require.Nil(t, w.record().Approved, "looking approves nothing")
	a := w.approve(40)
	require.Equal(t, preview, a)
	require.Equal(t, "prod", a.Route)
	require.Equal(t, dag(0), a.Removed[0])
	require.Empty(t, a.Replace)
	require.Equal(t, 40, w.record().Approved.Files)
	require.Len(t, w.live(), 60, "only the next run acts on it")

	w.deleteDAGs(40, 55)
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, a.Removed, r.Removed)
	require.Len(t, r.Kept, 15, "what vanished later was not approved")
	require.Len(t, w.live(), 20)
	require.Nil(t, w.record().Approved)

	w.approve(15)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

func TestWhatWasApprovedIsNoMeasureForTheRest(t *testing.T) {
	w := withDAGs(t, 60)
	w.deleteDAGs(0, 40)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(40)
	w.deleteDAGs(40, 55)
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, r.Removed, 40)
	require.Len(t, r.Kept, 15, "three quarters of the 20 that were to stay")
}

func TestLaterUploadsDoNotMakeAMassRemovalSmall(t *testing.T) {
	w := withDAGs(t, 20)
	w.deleteDAGs(0, 11)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.putDAGs(100, 150)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Kept, 11)
	w.clock.advance(48 * time.Hour)
	w.putDAGs(150, 151)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Kept, 11, "nor does time")
	w.approve(11)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

func TestAnApprovalHoldsOnce(t *testing.T) {
	w := withDAGs(t, 20)
	w.deleteDAGs(0, 15)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(15)
	w.putDAGs(0, 15) // the owner changed his mind
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Empty(t, r.Removed)
	require.Nil(t, w.record().Approved)
	w.deleteDAGs(0, 15)
	require.Len(t, w.requireOutcome(deployer.Unchanged, w.sync()).Kept, 15, "it is another removal")

	w.approve(15)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 15)
	w.putDAGs(0, 15)
	w.requireOutcome(deployer.Deployed, w.sync())
	w.deleteDAGs(0, 15)
	require.Len(t, w.requireOutcome(deployer.Unchanged, w.sync()).Kept, 15)
}

func TestAnApprovalOutlivesARunThatFails(t *testing.T) {
	w := withDAGs(t, 20)
	w.deleteDAGs(0, 15)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(15)
	w.astro.fault = failing("create")
	w.requireOutcome(deployer.Failed, w.sync())
	w.astro.fault = nil
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 15)
}

func TestApprovedFilesNoLongerCount(t *testing.T) {
	w := withDAGs(t, 100)
	w.deleteDAGs(0, 80)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(80)
	w.requireOutcome(deployer.Deployed, w.sync())
	w.deleteDAGs(80, 81)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 1)
}

func TestApproveWhatBecameEmpty(t *testing.T) {
	w := withDAGs(t, 3)
	w.deleteDAGs(0, 3)
	w.requireOutcome(deployer.Held, w.sync())
	require.Len(t, w.live(), 3)
	w.approve(3)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 3)
	require.Empty(t, w.live())
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.putDAGs(0, 1)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	w.deleteDAGs(0, 1)
	w.requireOutcome(deployer.Held, w.sync())
}

func TestApproveOneOfTwoEmptySources(t *testing.T) {
	w := newWorld(t)
	w.route.QuietPeriod = 0
	w.putDAGs(0, 3)
	ml := secondSource(w, 3)
	w.requireOutcome(deployer.Deployed, w.sync())
	empty(t, ml)
	w.requireOutcome(deployer.Held, w.sync())
	w.approve(3)
	w.deleteDAGs(0, 3)
	r := w.requireOutcome(deployer.Held, w.sync())
	require.Contains(t, r.Reason, "s3://acme/dags/ is empty, and its 3 live files stay")
	require.Len(t, w.live(), 6)
}

// foreignWorld is a Deployment with DAGs that somebody else deployed.
func foreignWorld(t testing.TB) *world {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.foreign("theirs")
	w.requireOutcome(deployer.Held, w.sync())
	return w
}

// foreign makes a version live that somebody else deployed.
func (w *world) foreign(version string) {
	w.astro.desired = version
	w.astro.deploys = append([]deployer.Deploy{{ID: "id of " + version, Description: "by hand", TarballVersion: version, Finished: true}}, w.astro.deploys...)
}

func TestApproveForeignDAGs(t *testing.T) {
	w := foreignWorld(t)
	require.Equal(t, "theirs", w.approve(0).Replace)
	require.Equal(t, "theirs", w.astro.desired)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	require.Nil(t, w.record().Approved)
	require.Empty(t, w.record().Holds)

	w = foreignWorld(t)
	w.approve(0)
	w.foreign("theirs, edited")
	w.requireOutcome(deployer.Held, w.sync())
	require.Equal(t, "theirs, edited", w.astro.desired, "nobody approved this one")
	require.Equal(t, "theirs, edited", w.approve(0).Replace)
	w.requireOutcome(deployer.Deployed, w.sync())
}

func TestApproveALostState(t *testing.T) {
	w := withDAGs(t, 3)
	empty(t, w.states)
	w.deleteDAGs(0, 1)
	w.requireOutcome(deployer.Held, w.sync())
	require.Equal(t, "version-1", w.approve(0).Replace)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	require.Nil(t, w.record().Approved)

	w.deleteDAGs(1, 3)
	w.requireOutcome(deployer.Held, w.sync())
	require.Len(t, w.live(), 2, "that approval is used up")
}

func TestApproveNothing(t *testing.T) {
	w := withDAGs(t, 3)
	before := w.stateKeys()
	record := w.record()
	require.Empty(t, w.approve(0).Replace)
	require.Equal(t, before, w.stateKeys())
	require.Equal(t, record.Nonce, w.record().Nonce)
}

func TestAnApprovalThatIsGone(t *testing.T) {
	w := withDAGs(t, 20)
	w.deleteDAGs(0, 15)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(15)
	require.NoError(t, w.states.Delete(context.Background(), "prod/manifests/"+w.record().Approved.Manifest+".jsonl.gz", ""))
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, r.Kept, 15)
	require.Contains(t, w.logs.String(), "approve it again")
	w.approve(15)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 15)
}

func TestAnApprovalHoldsForAnHour(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		kept  int
	}{
		"just in time": {state.ApprovalLife, 0}, "too late": {state.ApprovalLife + 1, 15},
	} {
		t.Run(name, func(t *testing.T) {
			w := withDAGs(t, 20)
			w.route.Clock = skewedClock{w.clock, 24 * time.Hour}
			w.deleteDAGs(0, 15)
			w.requireOutcome(deployer.Unchanged, w.sync())
			w.approve(15)
			w.clock.advance(c.after)
			require.Len(t, w.event().Kept, c.kept)
			require.Len(t, w.live(), 5+c.kept)
			w.approve(c.kept)
			w.sync()
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestASecondApprovalAddsToTheFirst(t *testing.T) {
	w := withDAGs(t, 60)
	w.route.MaxRemovedPercent = 20
	w.deleteDAGs(0, 40)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(40)
	w.deleteDAGs(40, 55)
	w.approve(15)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 55)
}

func TestApprovedFilesNoLongerCountWhenALaterRunFinishes(t *testing.T) {
	w := withDAGs(t, 100)
	w.deleteDAGs(0, 80)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(80)
	w.astro.fault = failing("finalize") // it took effect
	w.requireOutcome(deployer.Failed, w.sync())
	w.astro.fault = nil
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.deleteDAGs(80, 81)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 1)
}

func TestDamagedManifests(t *testing.T) {
	damage := func(w *world, run string) {
		w.overwrite("prod/manifests/"+run+".jsonl.gz", func(b []byte) []byte { return b[:len(b)/2] })
	}
	t.Run("of what is live", func(t *testing.T) {
		w := withDAGs(t, 3)
		damage(w, w.record().Live.Manifest)
		w.putDAGs(3, 4)
		w.requireOutcome(deployer.Held, w.sync())
		require.Len(t, w.live(), 3, "nobody knows what would go")
		w.approve(0)
		w.requireOutcome(deployer.Deployed, w.sync())
		require.Equal(t, w.shown(), w.live())
	})
	t.Run("of what was approved", func(t *testing.T) {
		w := withDAGs(t, 20)
		w.deleteDAGs(0, 15)
		w.requireOutcome(deployer.Unchanged, w.sync())
		w.approve(15)
		damage(w, w.record().Approved.Manifest)
		require.Len(t, w.requireOutcome(deployer.Unchanged, w.sync()).Kept, 15)
		require.Contains(t, w.logs.String(), "approve it again")
	})
}

func TestAnApprovalThatTwoMakeAtOnce(t *testing.T) {
	w := withDAGs(t, 20)
	w.deleteDAGs(0, 15)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.during("deployment", func() { w.approve(15) })
	_, err := w.route.Approve(context.Background())
	require.NoError(t, err)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 15)
	require.Equal(t, w.shown(), w.live())
}

func TestAMovedFileIsNoRemoval(t *testing.T) {
	w := withDAGs(t, 20)
	ml := secondSource(w, 0)
	w.route.Sources[1].Mount = ""
	for i := range 20 {
		_, err := ml.Put(context.Background(), fmt.Sprintf("%03d.py", i), strings.NewReader(fmt.Sprint("n = ", i)), bucket.Always)
		require.NoError(t, err)
	}
	w.deleteDAGs(0, 20)
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, map[string]int{"s3://ml/": 20}, w.record().Live.Sources)
	require.Len(t, w.live(), 20)
	require.Nil(t, w.record().Hold(state.HeldBack))
}

func TestANewBucketThatIsEmptyRemovesNothing(t *testing.T) {
	w := withDAGs(t, 5)
	w.route.Sources = w.route.Sources[:0]
	secondSource(w, 0)
	require.Len(t, w.requireOutcome(deployer.Unchanged, w.sync()).Kept, 5)
	w.approve(5)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, w.live())
}

func TestKeptRemovalsStayKeptWhenOthersCome(t *testing.T) {
	w := withDAGs(t, 100)
	w.deleteDAGs(0, 60)
	require.Len(t, w.requireOutcome(deployer.Unchanged, w.sync()).Kept, 60)
	w.putDAGs(200, 220)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Kept, 60)
	w.putDAGs(220, 221)
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Kept, 60)
	w.putDAGs(0, 60)
	require.Empty(t, w.requireOutcome(deployer.Unchanged, w.sync()).Kept, "they are back")
	require.Equal(t, w.shown(), w.live())
}

func TestAMountThatMovesRemovesNothing(t *testing.T) {
	w := withDAGs(t, 100)
	w.route.Sources[0].Mount = "ml"
	w.requireOutcome(deployer.Deployed, w.sync())
	w.putDAGs(100, 101)
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, w.live(), 201)
}

func TestAnApprovalIsNoCoverForMore(t *testing.T) {
	w := withDAGs(t, 100)
	w.deleteDAGs(0, 60)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.approve(60)
	w.deleteDAGs(60, 99)
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, r.Removed, 60, "what was printed")
	require.Len(t, r.Kept, 39)
}
