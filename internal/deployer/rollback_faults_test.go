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
	"github.com/dagbucket/dagbucket/internal/state"
)

// onCall does something at one call of Astro, once.
func (w *world) onCall(name string, after bool, do func() error) {
	w.astro.fault = func(call string, is bool) error {
		if call != name || is != after {
			return nil
		}
		w.astro.fault = nil
		return do()
	}
}

// TestARollbackIsDoneOnce though others write the record before its run does.
func TestARollbackIsDoneOnce(t *testing.T) {
	for _, to := range []string{"", "deploy-2"} {
		w, runs := rolled(t)
		w.onCall("finalize", true, func() error { return w.route.Pause(context.Background(), "") })
		r := w.requireOutcome(deployer.Deployed, w.rollback(to))
		require.Contains(t, r.Reason, "rolled back to run "+runs[1])
		require.Equal(t, map[string]string{"dags/a.py": "a1", "dags/b.py": "b2", "dags/same.py": "same", "dags/team/c.py": "c2"}, w.live())
		require.Equal(t, 4, len(w.astro.deploys))
	}
}

// TestARollbackGoesWhereItWasSent though something else is deployed before it is.
func TestARollbackGoesWhereItWasSent(t *testing.T) {
	w, runs := rolled(t)
	w.onCall("upload", true, func() error {
		w.put("dags/d.py", "d")
		_, err := w.route.Store.TakeLease(context.Background(), "a later run")
		require.NoError(t, err)
		w.clock.advance(2 * state.LeaseLife)
		w.requireOutcome(deployer.Deployed, w.sync())
		return nil
	})
	r := w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Contains(t, r.Reason, "rolled back to run "+runs[1])
}

// TestARollbackAnswersTheBellThatItTakesOver: its lease was that of a run that died, and somebody had rung it.
func TestARollbackAnswersTheBellThatItTakesOver(t *testing.T) {
	for name, paths := range map[string][]string{"it is done": nil, "it is refused": {"dags/nowhere.py"}} {
		t.Run(name, func(t *testing.T) {
			w, _ := rolled(t)
			w.put("dags/d.py", "d")
			for _, run := range []string{"dies", "rings it"} {
				_, err := w.route.Store.TakeLease(context.Background(), run)
				require.NoError(t, err)
			}
			w.clock.advance(2 * state.LeaseLife)
			r := w.rollback("", paths...)
			require.Equal(t, paths == nil, r.Outcome == deployer.Deployed)
			require.Equal(t, "d", w.live()["dags/d.py"])
		})
	}
}

// TestASecondRollbackKeepsThePinOfAPathThatWasLeftOut has a path go, and come back with older content.
func TestASecondRollbackKeepsThePinOfAPathThatWasLeftOut(t *testing.T) {
	w, _ := newCheckedWorld(t)
	step := func(content string) {
		if content == "" {
			w.delete("dags/c.py")
		} else {
			w.put("dags/c.py", content)
		}
		w.requireOutcome(deployer.Deployed, w.sync())
	}
	w.put("dags/a.py", "a")
	step("c1")
	step("")
	step("c3")
	w.requireOutcome(deployer.Deployed, w.rollback("deploy-2"))
	require.NotContains(t, w.live(), "dags/c.py")
	w.requireOutcome(deployer.Deployed, w.rollback("deploy-1"))
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, "c1", w.live()["dags/c.py"], "the bucket has c3, which was rolled back")

	step("c4") // it ends with its key
	step("")
	w.put("dags/c.py", "BROKEN")
	w.sync()
	w.requireOutcome(deployer.Deployed, w.rollback("deploy-1"))
	w.route.Syntax = nil // nobody calls it broken any more
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, "c1", w.live()["dags/c.py"], "it was turned down all the same")
}

// TestOneListingThatMissesAnObjectEndsNoRollback: a removal counts when two agree on it.
func TestOneListingThatMissesAnObjectEndsNoRollback(t *testing.T) {
	for _, to := range []string{"deploy-1", "deploy-2"} { // the object is kept with older content, or left out
		w := newWorld(t)
		w.put("dags/a.py", "a")
		for _, content := range []string{"c1", "", "c3"} {
			if w.put("dags/c.py", content); content == "" {
				w.delete("dags/c.py")
			}
			w.requireOutcome(deployer.Deployed, w.sync())
		}
		w.requireOutcome(deployer.Deployed, w.rollback(to))
		live := w.live()
		source := w.route.Sources[0].Bucket
		w.route.MaxWait = time.Second
		listings := 0
		w.route.Sources[0].Bucket = missing{source, func() bool { listings++; return listings == 2 }}
		w.put("dags/a.py", "a2")
		w.clock.advance(-time.Minute) // it is not quiet yet, and the wait is short
		w.sync()
		require.Equal(t, 2, listings)
		w.route.Sources[0].Bucket = source
		w.requireOutcome(deployer.Unchanged, w.sync())
		live["dags/a.py"] = "a2"
		require.Equal(t, live, w.live())
	}
}

// missing is a bucket whose listings miss c.py now and then.
type missing struct {
	bucket.Reader
	now func() bool
}

func (m missing) List(ctx context.Context, prefix string) (bucket.Listing, error) {
	l, err := m.Reader.List(ctx, prefix)
	if m.now() {
		l.Objects = l.Objects[:1]
	}
	return l, err
}

// TestARollbackThatEmptiesASourceIsNotHeld for the broken files that were left out of it.
func TestARollbackThatEmptiesASourceIsNotHeld(t *testing.T) {
	w, _ := newCheckedWorld(t)
	second := w.route.Sources[0]
	second.Prefix, second.URL, second.Mount = "more/", "s3://acme/more/", "more"
	w.route.Sources = append(w.route.Sources, second)
	w.put("dags/a.py", "a")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("more/b.py", "b")
	w.put("more/c.py", "BROKEN")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Equal(t, map[string]string{"dags/a.py": "a"}, w.live())
	w.requireOutcome(deployer.Unchanged, w.sync())
}

// TestPeopleAreToldOfWhatALaterRunFinished: the run that deployed it died before it could.
func TestPeopleAreToldOfWhatALaterRunFinished(t *testing.T) {
	for name, next := range map[string]func(w *world){
		"a run":       func(w *world) { w.sync() },
		"an approval": func(w *world) { _, err := w.route.Approve(context.Background()); require.NoError(w.t, err); w.sync() },
	} {
		t.Run(name, func(t *testing.T) {
			w, n := newNotifyingWorld(t)
			n.mute = nil
			for i := range 20 {
				w.put(fmt.Sprintf("dags/n%02d.py", i), "n = 1")
			}
			w.sync()
			n.taken()
			for i := range 20 {
				w.delete(fmt.Sprintf("dags/n%02d.py", i))
			}
			w.put("dags/a.py", "BROKEN")
			w.put("dags/b.py", "b = 2")
			w.onCall("finalize", true, func() error { return errors.New("the answer is lost") })
			w.requireOutcome(deployer.Failed, w.sync())
			require.Empty(t, n.taken())
			next(w)
			got := strings.Join(n.taken(), "\n")
			require.Equal(t, 1, strings.Count(got, "ops kept:"), got)
			require.Contains(t, got, "dags/a.py(syntax)")
			require.Contains(t, got, "ops deployed: finished by a later run dags/b.py(modified)")
			w.sync()
			require.Empty(t, n.taken())
		})
	}
}

// TestARecordThatCannotBeReadAgain ends a run that looks once more, and nothing of its first look is taken for the second's.
func TestARecordThatCannotBeReadAgain(t *testing.T) {
	w, _ := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.delete("dags/b.py")
	require.NoError(t, w.route.Pause(context.Background(), ""))
	reads := 0
	w.states.Fault = func(op membucket.Op, key string, after bool) error {
		if op != membucket.Open || after || !strings.HasSuffix(key, "record.json") {
			return nil
		}
		if reads++; reads == 1 {
			_, err := w.route.Store.TakeLease(context.Background(), "rings")
			return err
		}
		return errKilled
	}
	w.requireOutcome(deployer.Failed, w.sync())
	require.Equal(t, 2, reads)
}

// TestARollbackCoversNoEvent: it looked at no source, so what an event from before it tells of is still to be seen.
func TestARollbackCoversNoEvent(t *testing.T) {
	w, _ := rolled(t)
	w.put("dags/d.py", "d")
	event := w.clock.now
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	w.clock.advance(time.Minute)
	w.requireOutcome(deployer.Deployed, w.route.Sync(context.Background(), []time.Time{event}))
	require.Equal(t, "d", w.live()["dags/d.py"])
}
