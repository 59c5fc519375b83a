package deployer_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

var errKilled = errors.New("killed")

// steps names every call that a run makes of the outside, before and after its effect, and lets a test strike one of them. What it
// names does not depend on which of two concurrent calls comes first.
type steps struct {
	mu     sync.Mutex
	count  map[string]int
	names  []string
	strike func(name string) error // may be nil; not called concurrently
}

func (s *steps) step(what string, after bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := "before " + what
	if after {
		name = "after " + what
	}
	s.count[name]++
	name = fmt.Sprintf("%s #%d", name, s.count[name])
	s.names = append(s.names, name)
	if s.strike == nil {
		return nil
	}
	return s.strike(name)
}

// watch has every call of the world's run pass by strike. The runs' names in keys are left out of the steps' names.
func watch(w *world, strike func(name string) error) *steps {
	s := &steps{count: map[string]int{}, strike: strike}
	runName := regexp.MustCompile(`run-\d+`)
	on := func(where string) membucket.Fault {
		return func(op membucket.Op, key string, after bool) error {
			return s.step(where+" "+string(op)+" "+runName.ReplaceAllString(key, "RUN"), after)
		}
	}
	w.source.Fault, w.states.Fault = on("source"), on("state")
	w.astro.fault = func(call string, after bool) error { return s.step("astro "+call, after) }
	return s
}

func unwatch(w *world) { w.source.Fault, w.states.Fault, w.astro.fault = nil, nil, nil }

// everyStep runs a scenario once to learn its steps, and then once for each of them.
func everyStep(t *testing.T, prepare func(w *world), atLeast int, check func(w *world, name string)) {
	t.Helper()
	w := newWorld(t)
	prepare(w)
	s := watch(w, nil)
	w.sync()
	unwatch(w)
	require.GreaterOrEqual(t, len(s.names), atLeast, "the run has steps: %v", s.names)
	for _, name := range s.names {
		w := newWorld(t)
		prepare(w)
		check(w, name)
	}
}

// TestARunKilledAtAnyStep kills a run before and after each of its effects. What it leaves must never be less than what was live, and
// the next run must repair it.
func TestARunKilledAtAnyStep(t *testing.T) {
	scenarios := map[string]func(w *world){
		"first deploy": func(w *world) { w.put("dags/1.py", "1"); w.put("dags/2.py", "2") },
		"add, change, remove": func(w *world) {
			w.put("dags/1.py", "1")
			w.put("dags/2.py", "2")
			w.put("dags/3.py", "3")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/1.py", "one")
			w.put("dags/4.py", "4")
			w.delete("dags/2.py")
		},
		"same content again": func(w *world) {
			w.put("dags/1.py", "1")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/1.py", "1")
		},
		"a pending deploy is live": func(w *world) {
			w.put("dags/1.py", "1")
			w.astro.fault = failing("finalize")
			w.requireOutcome(deployer.Failed, w.sync())
			w.astro.fault = nil
			w.put("dags/2.py", "2")
		},
	}
	for name, prepare := range scenarios {
		t.Run(name, func(t *testing.T) {
			everyStep(t, prepare, 10, func(w *world, name string) {
				before, after := w.live(), w.shown()
				dead := false // from then on nothing reaches the outside
				watch(w, func(step string) error {
					if dead = dead || step == name; dead {
						return errKilled
					}
					return nil
				})
				w.sync()
				unwatch(w)
				require.True(t, dead, name)
				live := w.live()
				require.True(t, equal(live, before) || equal(live, after), "killed %s: %v is live", name, live)

				r := w.sync()
				require.Contains(t, []deployer.Outcome{deployer.Deployed, deployer.Unchanged}, r.Outcome, "killed %s: %s", name, r.Reason)
				require.Equal(t, after, w.live(), "killed %s", name)
				rec := w.record()
				require.Nil(t, rec.Pending)
				require.Equal(t, w.astro.desired, rec.Live.TarballVersion)
				w.requireOutcome(deployer.Unchanged, w.sync())
				requireNoOrphans(t, w, name)
			})
		})
	}
}

func equal(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// requireNoOrphans lets later deploys prune, and looks at what is left.
func requireNoOrphans(t *testing.T, w *world, struck string) {
	w.route.KeepBundles = 1
	for i := range 2 {
		w.clock.advance(2 * time.Hour) // no run is that long, so what is left belongs to none
		w.put("dags/later.py", fmt.Sprint(i))
		w.requireOutcome(deployer.Deployed, w.sync())
	}
	live := w.record().Live
	require.Equal(t, []string{"prod/bundles/" + live.Run + ".tar.gz", "prod/lease.json", "prod/manifests/" + live.Manifest + ".jsonl.gz", "prod/record.json"},
		w.stateKeys(), "after a kill at %s", struck)
}

// TestEveryCallThatFailsOnce strikes each call once, before and after its effect, and lets the run go on.
func TestEveryCallThatFailsOnce(t *testing.T) {
	errPassing := errors.New("a passing fault")
	prepare := func(w *world) {
		w.put("dags/1.py", "1")
		w.requireOutcome(deployer.Deployed, w.sync())
		w.put("dags/2.py", "2")
	}
	everyStep(t, prepare, 20, func(w *world, name string) {
		watch(w, func(step string) error {
			if step == name {
				return errPassing
			}
			return nil
		})
		r := w.sync()
		unwatch(w)
		if r.Outcome == deployer.Failed {
			require.True(t, r.Retryable, "%s: %s", name, r.Reason)
			require.ErrorIs(t, r.Err, errPassing, name)
		} else {
			require.Equal(t, deployer.Deployed, r.Outcome, name)
		}
		require.Contains(t, []deployer.Outcome{deployer.Deployed, deployer.Unchanged}, w.sync().Outcome, name)
		require.Equal(t, w.shown(), w.live(), name)
	})
}

// TestAnOvertakenRunDoesNotFinalize lets a second run see and deploy a newer bucket at each moment of a first one.
func TestAnOvertakenRunDoesNotFinalize(t *testing.T) {
	prepare := func(w *world) {
		w.route.QuietPeriod = 0
		w.put("dags/1.py", "1")
		w.requireOutcome(deployer.Deployed, w.sync())
		w.put("dags/1.py", "older")
	}
	everyStep(t, prepare, 15, func(w *world, name string) {
		overtaken, excused := false, false
		var other func()
		s := watch(w, func(step string) error {
			if step == name && !overtaken {
				overtaken = true
				other()
			}
			return nil
		})
		other = func() {
			s.mu.Unlock() // the other run takes its own steps
			defer s.mu.Lock()
			rec := w.record()
			// The finalize is on its way already: the one exception that the fence cannot close.
			excused = rec.Pending != nil && w.astro.desired != rec.Pending.TarballVersion
			w.clock.advance(state.LeaseLife) // the run is slow, and misses its renewals
			w.put("dags/1.py", "newer")
			w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), nil))
		}
		r := w.sync()
		unwatch(w)
		require.True(t, overtaken, name)
		require.Contains(t, []deployer.Outcome{deployer.Deployed, deployer.Unchanged}, r.Outcome, "overtaken %s: %s", name, r.Reason)
		w.requireOutcome(deployer.Unchanged, w.sync())
		require.Equal(t, map[string]string{"dags/1.py": "newer"}, w.live(), "overtaken %s", name)
		require.LessOrEqual(t, len(w.stateKeys()), 2+2*w.astro.uploads, "overtaken %s: record and lease, and two objects for each upload: %v", name, w.stateKeys())
		if excused {
			return
		}
		newer := false
		for _, version := range w.astro.finalized {
			content := unpack(t, w.astro.bundles[version])["dags/1.py"].content
			require.False(t, newer && content != "newer", "overtaken %s: an older view went live again", name)
			newer = newer || content == "newer"
		}
	})
}

func TestObjectsThatChangeUnderTheFetch(t *testing.T) {
	w := newWorld(t)
	w.route.Window = 1
	w.put("dags/1.py", "1")
	w.put("dags/busy.py", "first")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/2.py", "2")
	w.put("dags/busy.py", "0")
	changes := 0
	w.source.Fault = changeAgain(w, &changes, 2)
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, r.Kept)
	require.Equal(t, "2", w.live()["dags/busy.py"])

	w.put("dags/3.py", "3")
	w.put("dags/busy.py", "x")
	changes = 0
	w.source.Fault = changeAgain(w, &changes, 1000)
	listed := w.record().Listed
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, "changing", r.Kept[0].Reason)
	require.Equal(t, "2", w.live()["dags/busy.py"], "its last good content")
	require.Equal(t, "3", w.live()["dags/3.py"], "the others go on")
	require.Equal(t, listed, w.record().Listed)

	w.source.Fault = nil
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

// changeAgain overwrites dags/busy.py whenever somebody is about to read it, up to a limit.
func changeAgain(w *world, changes *int, limit int) membucket.Fault {
	var fault membucket.Fault
	fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Open && key == "dags/busy.py" && !after && *changes < limit {
			*changes++
			w.source.Fault = nil
			w.put("dags/busy.py", fmt.Sprint(*changes))
			w.clock.advance(time.Minute)
			w.source.Fault = fault
		}
		return nil
	}
	return fault
}

func TestALiveBundleThatIsGone(t *testing.T) {
	for name, damage := range map[string]func(w *world, key string){
		"missing":   func(w *world, key string) { require.NoError(w.t, w.states.Delete(context.Background(), key, "")) },
		"cut short": func(w *world, key string) { w.overwrite(key, func(b []byte) []byte { return b[:len(b)/2] }) },
		"changed":   func(w *world, key string) { w.overwrite(key, func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b }) },
		"another": func(w *world, key string) {
			other := newWorld(w.t)
			other.put("dags/1.py", "not 1, but as long")
			other.requireOutcome(deployer.Deployed, other.sync())
			w.overwrite(key, func([]byte) []byte { return other.astro.bundles["version-1"] })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "this is the first ")
			w.put("dags/2.py", "2")
			w.requireOutcome(deployer.Deployed, w.sync())
			damage(w, "prod/bundles/"+w.record().Live.Run+".tar.gz")
			w.put("dags/3.py", "3")
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestKeptBytesThatAreGoneHoldTheRun(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/2.py", "two")
	w.archive("dags/2.py")
	w.put("dags/3.py", "3")
	require.NoError(t, w.states.Delete(context.Background(), "prod/bundles/"+w.record().Live.Run+".tar.gz", ""))
	r := w.requireOutcome(deployer.Held, w.sync())
	require.Contains(t, r.Reason, "dags/2.py keeps its last good content (archived)")
	require.Len(t, w.live(), 2)
}

func TestArchivedObjects(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/2.py", "two")
	w.archive("dags/2.py")
	w.put("dags/3.py", "3")
	w.archive("dags/3.py")
	w.put("dags/4.py", "4")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, "archived", r.Kept[0].Reason)
	require.Equal(t, "dags/3.py", r.LeftOut[0].Path)
	require.Equal(t, map[string]string{"dags/1.py": "1", "dags/2.py": "2", "dags/4.py": "4"}, w.live())
}

// failing lets one kind of call fail after it took effect.
func failing(kind string) func(call string, after bool) error {
	return func(call string, after bool) error {
		if call == kind && after {
			return errKilled
		}
		return nil
	}
}

func TestAPendingDeployThatIsLiveIsNotDeployedAgain(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.astro.fault = failing("finalize")
	r := w.requireOutcome(deployer.Failed, w.sync())
	require.True(t, r.Retryable)
	w.astro.fault = nil
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"version-1"}, w.astro.finalized)
	require.Len(t, w.astro.deploys, 1)
	runs := w.record().Runs
	require.Equal(t, "failed", runs[0].Outcome, "people can read of it")
	require.Equal(t, "finished by a later run", runs[1].Reason)
}

func TestAFailedRunLeavesTheStateAsItWas(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	before := w.stateKeys()
	w.put("dags/2.py", "2")
	w.astro.fault = failing("upload")
	w.requireOutcome(deployer.Failed, w.sync())
	require.Equal(t, before, w.stateKeys())
}

// TestASwapThatWasAnsweredWrongly: the record was swapped, the answer says it was not, and meanwhile somebody wrote on top.
func TestASwapThatWasAnsweredWrongly(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/1.py", "1") // the same content: a new manifest, and no deploy
	struck := false
	w.states.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Put && key == "prod/record.json" && after && !struck {
			struck = true
			require.NoError(t, w.route.Pause(context.Background(), ""))
			return bucket.ErrChanged
		}
		return nil
	}
	w.requireOutcome(deployer.Held, w.sync())
	w.states.Fault = nil
	_, err := w.route.Store.ReadManifest(context.Background(), w.record().Live.Manifest)
	require.NoError(t, err, "what the record names is never discarded")
}

// TestAHeldRunThatWasOvertakenStartsAgain: its reason may rest on what is no longer so.
func TestAHeldRunThatWasOvertakenStartsAgain(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.delete("dags/1.py")
	w.requireOutcome(deployer.Held, w.sync())
	approved := false
	w.astro.before = func(call string) {
		if call == "deployment" && !approved {
			approved = true
			a, err := w.route.Approve(context.Background())
			require.NoError(t, err)
			require.Equal(t, []string{"dags/1.py"}, a.Removed)
		}
	}
	w.put("dags/folder/", "")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, w.live())
}

func TestARecordRebuiltWithoutItsBundle(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/2.py", "2")
	w.requireOutcome(deployer.Deployed, w.sync())
	for _, key := range []string{"prod/record.json", "prod/bundles/" + w.record().Live.Run + ".tar.gz"} {
		require.NoError(t, w.states.Delete(context.Background(), key, ""))
	}
	w.requireOutcome(deployer.Unchanged, w.sync())
	live := w.record().Live
	files, err := w.route.Store.ReadManifest(context.Background(), live.Manifest)
	require.NoError(t, err)
	for _, f := range files {
		require.NotEmpty(t, f.SHA256)
	}
	_, err = w.route.Store.BundleSize(context.Background(), live.Run)
	require.NoError(t, err, "the bundle is there again")
}
