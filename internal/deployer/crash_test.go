package deployer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

var errKilled = errors.New("killed")

// killer ends a run at its n-th step, before or after that step takes effect: from then on nothing reaches the outside.
type killer struct {
	steps  int // so far; each effect is two steps, before and after
	at     int
	struck string
	dead   bool
}

func (k *killer) step(what string, after bool) error {
	if k.dead {
		return errKilled
	}
	k.steps++
	if k.steps == k.at {
		k.dead = true
		k.struck = fmt.Sprintf("%s (after: %v)", what, after)
		return errKilled
	}
	return nil
}

func (k *killer) arm(w *world) {
	strike := func(where string) membucket.Fault {
		return func(op membucket.Op, key string, after bool) error {
			return k.step(where+" "+string(op)+" "+key, after)
		}
	}
	w.source.Fault, w.states.Fault = strike("source"), strike("state")
	w.astro.fault = func(call string, after bool) error { return k.step("astro "+call, after) }
}

func (k *killer) disarm(w *world) { w.source.Fault, w.states.Fault, w.astro.fault = nil, nil, nil }

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
			w.astro.fault = func(call string, after bool) error {
				if call == "finalize" && after {
					return errKilled
				}
				return nil
			}
			w.requireOutcome(deployer.Failed, w.sync())
			w.astro.fault = nil
			w.put("dags/2.py", "2")
		},
	}
	for name, prepare := range scenarios {
		t.Run(name, func(t *testing.T) {
			for at := 1; ; at++ {
				w := newWorld(t)
				w.route.Window = 1 // in order, so that each step is struck once
				prepare(w)
				before, after := w.live(), w.shown()
				k := &killer{at: at}
				k.arm(w)
				w.sync()
				k.disarm(w)
				if !k.dead {
					require.Greater(t, at, 10, "the run has steps to be killed at")
					return
				}
				live := w.live()
				require.True(t, equal(live, before) || equal(live, after), "killed at %s: %v is live", k.struck, live)

				r := w.sync()
				require.Contains(t, []deployer.Outcome{deployer.Deployed, deployer.Unchanged}, r.Outcome, "after a kill at %s: %s", k.struck, r.Reason)
				require.Equal(t, after, w.live(), "after a kill at %s", k.struck)
				rec := w.record()
				require.Nil(t, rec.Pending)
				require.Equal(t, w.astro.desired, rec.Live.TarballVersion)
				r = w.requireOutcome(deployer.Unchanged, w.sync())
				require.Zero(t, r.Requests["delete"])
				requireNoOrphans(t, w, k.struck)
			}
		})
	}
}

func equal(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// requireNoOrphans lets later deploys prune, and looks at what is left.
func requireNoOrphans(t *testing.T, w *world, struck string) {
	w.route.KeepBundles = 1
	for i := range 2 {
		w.put("dags/later.py", fmt.Sprint(i))
		w.requireOutcome(deployer.Deployed, w.sync())
	}
	live := w.record().Live
	require.Equal(t, []string{"prod/bundles/" + live.Run + ".tar.gz", "prod/manifests/" + live.Manifest + ".jsonl.gz", "prod/record.json"},
		w.stateKeys(), "after a kill at %s", struck)
}

// TestEveryCallThatFailsOnce strikes each call once, before and after its effect, and lets the run go on.
func TestEveryCallThatFailsOnce(t *testing.T) {
	errPassing := errors.New("a passing fault")
	for at := 1; ; at++ {
		w := newWorld(t)
		w.route.Window = 1
		w.put("dags/1.py", "1")
		w.requireOutcome(deployer.Deployed, w.sync())
		w.put("dags/2.py", "2")
		n, struck := 0, ""
		step := func(what string, after bool) error {
			if n++; n != at {
				return nil
			}
			struck = fmt.Sprintf("%s (after: %v)", what, after)
			return errPassing
		}
		w.source.Fault = func(op membucket.Op, key string, after bool) error { return step("source "+string(op)+" "+key, after) }
		w.states.Fault = func(op membucket.Op, key string, after bool) error { return step("state "+string(op)+" "+key, after) }
		w.astro.fault = func(call string, after bool) error { return step("astro "+call, after) }
		r := w.sync()
		w.source.Fault, w.states.Fault, w.astro.fault = nil, nil, nil
		if struck == "" {
			require.Greater(t, at, 20)
			return
		}
		if r.Outcome == deployer.Failed {
			require.True(t, r.Retryable, "%s: %s", struck, r.Reason)
			require.ErrorIs(t, r.Err, errPassing, struck)
		} else {
			require.Equal(t, deployer.Deployed, r.Outcome, struck)
		}
		require.Contains(t, []deployer.Outcome{deployer.Deployed, deployer.Unchanged}, w.sync().Outcome, struck)
		require.Equal(t, w.shown(), w.live(), struck)
	}
}

// TestAnOvertakenRunDoesNotFinalize lets a second run see and deploy a newer bucket at each moment of a first one.
func TestAnOvertakenRunDoesNotFinalize(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t)
		w.route.QuietPeriod = 0
		w.put("dags/1.py", "1")
		w.requireOutcome(deployer.Deployed, w.sync())
		w.put("dags/1.py", "older")
		n, overtaken, inside := 0, "", false
		excused := false // the finalize is on its way already: the one exception that the fence cannot close
		step := func(what string) error {
			if inside {
				return nil
			}
			if n++; n == at {
				rec := w.record()
				excused = rec.Pending != nil && w.astro.desired != rec.Pending.TarballVersion
				overtaken, inside = what, true
				w.put("dags/1.py", "newer")
				w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), nil))
				inside = false
			}
			return nil
		}
		w.source.Fault = func(op membucket.Op, key string, after bool) error {
			if op == membucket.Put {
				return nil // the author's
			}
			return step("source " + string(op))
		}
		w.states.Fault = func(op membucket.Op, key string, after bool) error { return step("state " + string(op) + " " + key) }
		w.astro.fault = func(call string, after bool) error { return step("astro " + call) }
		w.route.Window = 1
		r := w.sync()
		w.source.Fault, w.states.Fault, w.astro.fault = nil, nil, nil
		if overtaken == "" {
			require.Greater(t, at, 15)
			return
		}
		require.Contains(t, []deployer.Outcome{deployer.Deployed, deployer.Unchanged}, r.Outcome, "overtaken at %s: %s", overtaken, r.Reason)
		w.requireOutcome(deployer.Unchanged, w.sync())
		require.Equal(t, map[string]string{"dags/1.py": "newer"}, w.live(), "overtaken at %s", overtaken)
		if excused {
			continue
		}
		newest := 0
		for i, version := range w.astro.finalized {
			if unpack(t, w.astro.bundles[version])["dags/1.py"].content == "newer" {
				newest = i
				break
			}
		}
		for _, version := range w.astro.finalized[newest:] {
			require.Equal(t, "newer", unpack(t, w.astro.bundles[version])["dags/1.py"].content, "overtaken at %s: an older view went live again", overtaken)
		}
	}
}

func TestObjectsThatChangeUnderTheFetch(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.put("dags/busy.py", "first")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/2.py", "2")
	w.put("dags/busy.py", "0")
	changes := 0
	change := func(limit int) membucket.Fault {
		return func(op membucket.Op, key string, after bool) error {
			if op == membucket.Open && key == "dags/busy.py" && !after && changes < limit {
				changes++
				w.source.Fault = nil
				w.put("dags/busy.py", fmt.Sprint(changes))
				w.clock.advance(time.Minute)
				w.source.Fault = changeAgain(w, &changes, limit)
			}
			return nil
		}
	}
	w.source.Fault = change(2)
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
