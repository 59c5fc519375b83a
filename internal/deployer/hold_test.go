package deployer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

func (w *world) pause(reason string) {
	w.t.Helper()
	require.NoError(w.t, w.route.Pause(context.Background(), reason))
}

func (w *world) resume() {
	w.t.Helper()
	require.NoError(w.t, w.route.Resume(context.Background()))
}

func TestPauseAndResume(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"before the first run": func(*world) {},
		"later":                func(w *world) { w.put("dags/0.py", "0"); w.requireOutcome(deployer.Deployed, w.sync()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			prepare(w)
			w.pause("we migrate the database")
			w.put("dags/1.py", "1")
			live, runs := w.live(), len(w.record().Runs)
			w.source.Fault = func(op membucket.Op, _ string, _ bool) error { t.Errorf("a paused run called %s", op); return nil }
			for range 3 {
				r := w.requireOutcome(deployer.Held, w.sync())
				require.Regexp(t, `^paused since .* \(we migrate the database\): dagbucket resume lets it go on$`, r.Reason)
				require.False(t, r.Retryable)
			}
			w.source.Fault = nil
			require.Equal(t, live, w.live())
			require.Len(t, w.record().Runs, runs+1, "it is told once")
			require.Equal(t, "we migrate the database", w.record().Hold(state.Paused).Reason)

			w.resume()
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
			require.Empty(t, w.record().Holds)
			w.resume()
			w.requireOutcome(deployer.Unchanged, w.sync())
		})
	}
}

func TestPausingTwiceIsOnePause(t *testing.T) {
	w := newWorld(t)
	w.pause("first")
	w.pause("")
	require.Len(t, w.record().Holds, 1)
	require.NotContains(t, w.requireOutcome(deployer.Held, w.sync()).Reason, "(")
	w.resume()
	require.Nil(t, w.record().Hold(state.Paused))
}

func TestAPauseOutlivesItsTarget(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.pause("moving")
	w.route.Deployment = "another"
	w.astro.desired, w.astro.deploys = "", nil
	for range 2 {
		require.Contains(t, w.requireOutcome(deployer.Held, w.sync()).Reason, "moving")
	}
	require.Empty(t, w.astro.desired)
	w.resume()
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, "another", w.record().Target.Deployment)
	require.Equal(t, w.shown(), w.live())
}

func TestAPauseOutlivesAFailingRun(t *testing.T) {
	w := newWorld(t)
	w.pause("x")
	w.astro.err = &deployer.PermanentError{Err: errors.New("no right to deploy")}
	w.requireOutcome(deployer.Failed, w.sync())
	w.astro.err = nil
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Held, w.sync())
}

// TestAPauseStopsARunUnderWay pauses the route during each call of a run.
func TestAPauseStopsARunUnderWay(t *testing.T) {
	for call, finalized := range map[string]int{"deployment": 1, "create": 1, "upload": 1, "finalize": 2} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "1")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/2.py", "2")
			w.during(call, func() { w.pause("stop") })
			r := w.requireOutcome(deployer.Held, w.sync())
			require.Contains(t, r.Reason, "stop")
			require.Len(t, w.astro.finalized, finalized, "only what is on its way lands")
			require.Equal(t, w.astro.desired, w.record().Live.TarballVersion)
			require.Nil(t, w.record().Pending)
			w.resume()
			w.sync()
			require.Equal(t, w.shown(), w.live())
			w.requireOutcome(deployer.Unchanged, w.sync())
			require.Len(t, w.astro.finalized, 2)
			requireNoOrphans(t, w, "a pause during "+call)
		})
	}
}

func TestPausedRunsCanBeLookedAtAndApproved(t *testing.T) {
	w := withDAGs(t, 20)
	w.pause("x")
	w.deleteDAGs(0, 15)
	r := w.requireOutcome(deployer.Held, w.route.Plan(context.Background()))
	require.Len(t, r.Kept, 15)
	w.approve(15)
	w.requireOutcome(deployer.Held, w.sync())
	require.Len(t, w.live(), 20)
	w.resume()
	require.Len(t, w.requireOutcome(deployer.Deployed, w.sync()).Removed, 15, "the approval waited")
}

func TestPauseAgainstARecordThatIsWritten(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	other := 0
	w.states.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Open && key == "prod/record.json" && after && other < 3 {
			other++
			fault := w.states.Fault
			w.states.Fault = nil
			rec, version, err := w.route.Store.ReadRecord(context.Background())
			require.NoError(t, err)
			_, err = w.route.Store.SwapRecord(context.Background(), rec, version)
			require.NoError(t, err)
			w.states.Fault = fault
		}
		return nil
	}
	w.pause("x")
	require.GreaterOrEqual(t, other, 2)
	require.NotNil(t, w.record().Live, "nothing else was lost")
	w.requireOutcome(deployer.Held, w.sync())
}

func TestPauseWithoutAReadableRecord(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.overwrite("prod/record.json", func([]byte) []byte { return []byte("<html>") })
	var damaged *state.RecordError
	require.ErrorAs(t, w.route.Pause(context.Background(), "x"), &damaged)
	require.ErrorAs(t, w.route.Resume(context.Background()), &damaged)
	w.states.Fault = func(membucket.Op, string, bool) error { return bucket.ErrDenied }
	require.ErrorIs(t, w.route.Pause(context.Background(), "x"), bucket.ErrDenied)
}
