package deployer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

func TestARunFollowsItsDeploy(t *testing.T) {
	for name, c := range map[string]struct {
		during func(w *world) // at each poll
		live   bool
		slept  time.Duration
	}{
		"it comes":            {func(w *world) { w.astro.slow = w.clock.slept < 10*time.Second }, true, 10 * time.Second},
		"it does not come":    {func(*world) {}, false, 20 * time.Second},
		"somebody rings":      {func(w *world) { _, _ = w.route.Store.TakeLease(context.Background(), "another") }, false, time.Second},
		"another deploy":      {func(w *world) { w.astro.desired = "theirs" }, false, time.Second},
		"Astro does not say":  {func(w *world) { w.astro.err = errors.New("down") }, false, time.Second},
		"somebody here waits": {func(w *world) { w.route.Wanted = func() bool { return true } }, false, time.Second},
		"overtaken": {func(w *world) {
			w.astro.slow = false
			require.NoError(w.t, w.route.Pause(context.Background(), ""))
		}, false, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.route.Follow = 20 * time.Second
			w.put("dags/a.py", "a")
			w.astro.slow = true
			w.clock.advance(time.Minute)
			w.clock.onSleep = func() {
				if w.record().Live != nil {
					c.during(w)
				}
			}
			r := w.route.Sync(context.Background(), nil)
			require.Contains(t, []deployer.Outcome{deployer.Deployed, deployer.Held, deployer.Failed}, r.Outcome)
			require.Equal(t, c.live, w.record().Live.Confirmed)
			require.Equal(t, c.slept.Seconds(), r.Seconds["follow"])
			if c.live {
				require.Equal(t, c.slept, w.record().Live.LiveAt.Sub(w.record().Live.At))
				require.Equal(t, c.slept.Seconds(), w.record().Runs[0].LiveAfter)
			}
		})
	}
}

func TestNoFollowWhenTimeIsShort(t *testing.T) {
	w := newWorld(t)
	w.route.Follow = time.Minute
	w.put("dags/a.py", "a")
	w.clock.advance(time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w.requireOutcome(deployer.Deployed, w.route.Sync(ctx, nil))
	require.Zero(t, w.clock.slept)
}

// airflow answers with what it is given.
type airflow struct {
	errors []deployer.ImportError
	err    error
	asked  int
}

func (a *airflow) ImportErrors(context.Context) ([]deployer.ImportError, error) {
	a.asked++
	return a.errors, a.err
}

const trace = `Traceback (most recent call last):
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "/usr/local/airflow/dags/team/b.py", line 3, in <module>
    import pandos
ModuleNotFoundError: No module named 'pandos'
`

func TestImportErrorsAppearPerFile(t *testing.T) {
	w, n := newNotifyingWorld(t)
	p, air := &pages{}, &airflow{}
	w.route.Pages, w.route.Airflow = p, air
	w.put("dags/team/b.py", "import pandos")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.astro.slow = true
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Zero(t, air.asked, "it is not live yet")
	w.astro.slow = false
	air.errors = []deployer.ImportError{
		{File: "/usr/local/airflow/dags/team/b.py", Trace: trace},
		{File: "/usr/local/airflow/dags/other/elsewhere.py", Trace: "SyntaxError: not ours"},
		{File: "a.py", Trace: "ValueError: relative to the folder of DAGs\n\n"},
		{File: "/dags/b.py", Trace: "REDACTED - you do not have read permission"},
	}
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"ops import_errors: dags/a.py(import error) dags/b.py(import error) dags/team/b.py(import error)"}, n.taken())
	require.Equal(t, "attention", p.last.State)
	require.Equal(t, state.StatusCounts{Live: 3, Errors: 3}, p.last.Counts)
	require.Equal(t, "ValueError: relative to the folder of DAGs", p.last.Files[0].ImportError)
	require.Equal(t, "ModuleNotFoundError: No module named 'pandos'", p.last.Files[2].ImportError)
	require.Equal(t, 3, p.last.Files[2].Line)
	w.sync()
	require.Empty(t, n.taken())

	air.err = errors.New("Airflow restarts")
	w.sync()
	require.Equal(t, "Airflow does not say why to this token: see Import Errors in its web interface", w.record().ImportErrors[1].Message)
	require.Len(t, w.record().ImportErrors, 3, "what it said before still holds")
	require.Contains(t, w.logs.String(), "cannot ask Airflow for import errors")

	w.put("dags/team/b.py", "import pandas")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, n.taken(), "Airflow did not read it yet")
	air.err, air.errors = nil, nil
	w.sync()
	require.Equal(t, []string{"ops recovered: dags/a.py(import error) dags/b.py(import error) dags/team/b.py(import error)"}, n.taken())
	require.Equal(t, "live", p.last.State)
}

func TestImportErrorsAreBounded(t *testing.T) {
	w, _ := newNotifyingWorld(t)
	air := &airflow{}
	w.route.Airflow = air
	for range 500 {
		air.errors = append(air.errors, deployer.ImportError{File: "dags/a.py", Trace: strings.Repeat("é", 10_000)})
	}
	w.sync()
	w.sync()
	require.Len(t, w.record().ImportErrors, 100)
	require.LessOrEqual(t, len(w.record().ImportErrors[0].Message), 300)
}
