package deployer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// pages keeps what was written last.
type pages struct {
	last   *state.Status
	writes int
	err    error
}

func (p *pages) Write(_ context.Context, s *state.Status) error {
	p.writes++
	if p.err != nil {
		return p.err
	}
	p.last = s
	return nil
}

func newShownWorld(t *testing.T) (*world, *pages) {
	w, _ := newCheckedWorld(t)
	p := &pages{}
	w.route.Pages = p
	return w, p
}

func fatesOf(s *state.Status) map[string]string {
	fates := map[string]string{}
	for _, f := range s.Files {
		fates[f.Path] = f.State
		if f.Reason != "" {
			fates[f.Path] += " " + f.Reason
		}
	}
	return fates
}

func TestStatusAfterEachRun(t *testing.T) {
	w, p := newShownWorld(t)
	w.sync()
	require.Equal(t, "waiting", p.last.State)
	require.Equal(t, "Waiting for the first file: nothing to deploy below s3://acme/dags/", p.last.Summary)
	require.Equal(t, "A DAG author: upload a file.", p.last.Next)

	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.sync()
	require.Equal(t, "deploying", p.last.State)
	require.Equal(t, map[string]string{"dags/a.py": "live", "dags/b.py": "live"}, fatesOf(p.last))
	first := p.last.Live
	require.Equal(t, []any{"deploy-1", 2, w.clock.now}, []any{first.DeployID, first.Files, first.At})
	w.sync()
	require.Equal(t, "live", p.last.State)
	require.Equal(t, "Everything is live", p.last.Summary)
	require.Equal(t, w.clock.now, p.last.Live.LiveAt)

	w.put("dags/a.py", "BROKEN")
	w.put("dags/b.py", "b = 2")
	w.put("dags/c.pyc", "c")
	w.sync()
	require.Equal(t, "attention", p.last.State)
	require.Equal(t, "One file needs attention; everything else is live", p.last.Summary)
	require.Equal(t, "The author of dags/a.py: repair it and upload it again, or remove it.", p.last.Next)
	require.Equal(t, map[string]string{"dags/a.py": "kept syntax", "dags/b.py": "live", "dags/c.pyc": "leftOut excluded"}, fatesOf(p.last))
	require.Equal(t, state.StatusCounts{Live: 1, Kept: 1, LeftOut: 1}, p.last.Counts)
	files := p.last.Files
	require.Equal(t, first.At, files[0].Since, "what is live of it is the first version")
	require.Equal(t, []string{"deploy-1", "deploy-2"}, []string{files[0].DeployID, files[1].DeployID})

	w.put("dags/b.py", "b = 3")
	w.put("dags/new.py", "new = 1")
	require.NoError(t, w.route.Pause(context.Background(), "freeze"))
	w.sync()
	require.Equal(t, "held", p.last.State)
	require.Contains(t, p.last.Summary, "Nothing is deployed: paused since")
	require.Equal(t, "An operator or author: dagbucket resume lets it go on.", p.last.Next)
	require.Equal(t, map[string]string{"dags/a.py": "kept syntax", "dags/b.py": "held", "dags/c.pyc": "leftOut excluded", "dags/new.py": "held"}, fatesOf(p.last))
	require.Equal(t, "deploy-2", p.last.Files[1].DeployID, "what is live of it still is")

	require.NoError(t, w.route.Resume(context.Background()))
	w.astro.fault = func(call string, _ bool) error {
		if call == "create" {
			return errors.New("Astro is down")
		}
		return nil
	}
	w.sync()
	require.Equal(t, "failed", p.last.State)
	require.Contains(t, p.last.Next, "Nobody needs to do anything: it is tried again by itself.")
	require.Equal(t, map[string]string{"dags/a.py": "kept syntax", "dags/b.py": "waiting", "dags/c.pyc": "leftOut excluded", "dags/new.py": "waiting"}, fatesOf(p.last))
	w.astro.fault = nil
	w.astro.err = &deployer.PermanentError{Err: errors.New("no right: grant it")}
	w.sync()
	require.Contains(t, p.last.Next, "An operator: the message above says what to repair.")
	w.astro.err = nil

	w.delete("dags/new.py")
	w.put("dags/a.py", "a = 2")
	w.sync()
	w.sync()
	require.Equal(t, "live", p.last.State)
	w.foreign("theirs")
	w.sync()
	require.Equal(t, "drifted", p.last.State)
	require.False(t, p.last.Deployment.InSync)
	require.Contains(t, p.last.Summary, "A DAG-only deploy from elsewhere")
}

// TestPagesAreWrittenWhenTheyWouldDiffer or have become old.
func TestPagesAreWrittenWhenTheyWouldDiffer(t *testing.T) {
	w, p := newShownWorld(t)
	writes := func() int { n := p.writes; p.writes = 0; return n }
	w.put("dags/a.py", "a = 1")
	w.sync()
	w.sync()
	require.Equal(t, 2, writes(), "deployed, and seen to run")
	for range 14 {
		w.sync()
	}
	require.Zero(t, writes(), "nothing changed for 14 minutes")
	w.sync()
	require.Equal(t, 1, writes(), "they are a quarter of an hour old")

	w.put("dags/a.py", "a = 2")
	p.err = errors.New("access denied")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Contains(t, w.logs.String(), "could not write the status pages")
	p.err = nil
	writes()
	w.sync()
	require.Equal(t, 1, writes(), "what could not be written is written by the next run")

	_, err := w.route.Store.TakeLease(context.Background(), "one that died")
	require.NoError(t, err)
	w.clock.advance(time.Minute)
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, 1, writes(), "one that died may have written older ones")
}

func TestStatusCommandTellsWhatWaits(t *testing.T) {
	w, _ := newShownWorld(t)
	w.put("dags/a.py", "a = 1")
	w.sync()
	w.put("dags/a.py", "a = 2")
	w.put("dags/b.py", "b = 1")
	s, err := w.route.Status(context.Background())
	require.NoError(t, err)
	require.Equal(t, "waiting", s.State)
	require.Equal(t, "2 files wait for the next run", s.Summary)
	require.Equal(t, map[string]string{"dags/a.py": "waiting", "dags/b.py": "waiting"}, fatesOf(&s))
	w.delete("dags/a.py")
	s, err = w.route.Status(context.Background())
	require.NoError(t, err)
	require.Equal(t, "it is gone from its source, and goes with the next deploy", s.Files[0].Message)

	w.astro.err = errors.New("Astro is down")
	s, err = w.route.Status(context.Background())
	require.ErrorContains(t, err, "Astro is down")
	require.Equal(t, "failed", s.State)
	require.Equal(t, "deploy-1", s.Live.DeployID, "what the record knows is told all the same")
}

func TestHistoryTellsWhatRunsDid(t *testing.T) {
	w, runs := rolled(t)
	w.sync()
	w.rollback(runs[1])
	h, err := w.route.History(context.Background())
	require.NoError(t, err)
	var told []string
	for _, r := range h.Runs {
		told = append(told, r.Outcome)
	}
	require.Equal(t, []string{"deployed", "deployed", "deployed", "unchanged", "deployed"}, told)
	require.True(t, h.Runs[4].Live)
	require.True(t, h.Runs[1].Restored)
	require.Equal(t, []bool{true, true, true, false, true}, []bool{h.Runs[0].Stored, h.Runs[1].Stored, h.Runs[2].Stored, h.Runs[3].Stored, h.Runs[4].Stored})
	require.InDelta(t, 60, h.Runs[2].LiveAfter, 0.1, "the next run saw it live")
	dropBundles(w, runs)
	h, err = w.route.History(context.Background())
	require.NoError(t, err)
	require.False(t, h.Runs[0].Stored)
}

func TestDiffOfRuns(t *testing.T) {
	w, runs := rolled(t)
	paths := func(files []deployer.DiffFile) []string {
		names := []string{}
		for _, f := range files {
			names = append(names, f.Path)
		}
		return names
	}
	for name, c := range map[string]struct {
		from, to                 string
		added, modified, removed []string
		fails                    string
	}{
		"the last change":    {"", "", []string{}, []string{"dags/a.py"}, []string{"dags/b.py"}, ""},
		"a run and live":     {runs[0], "", []string{"dags/team/c.py"}, []string{"dags/a.py"}, []string{"dags/b.py"}, ""},
		"two runs":           {runs[0], "deploy-2", []string{"dags/team/c.py"}, []string{"dags/b.py"}, []string{}, ""},
		"the other way":      {"deploy-2", runs[0], []string{}, []string{"dags/b.py"}, []string{"dags/team/c.py"}, ""},
		"the same":           {runs[2], "", []string{}, []string{}, []string{}, ""},
		"no such run":        {"x", "", nil, nil, nil, `no bundle of a run or deploy "x": there is `},
		"beginning of many":  {"run-", "", nil, nil, nil, "write more of it"},
		"no such second run": {"", "x", nil, nil, nil, `"x"`},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := w.route.Diff(context.Background(), c.from, c.to)
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			require.Equal(t, [][]string{c.added, c.modified, c.removed}, [][]string{paths(d.Added), paths(d.Modified), paths(d.Removed)})
		})
	}
	_, err := newWorld(t).route.Diff(context.Background(), "", "")
	require.ErrorContains(t, err, "nothing was deployed from here yet")
}

func TestAgeOfTheNewestChangeThatIsNotLive(t *testing.T) {
	w, _ := newShownWorld(t)
	age := func() float64 { return w.sync().NotLiveAge }
	w.put("dags/a.py", "a = 1")
	w.put("dags/x.pyc", "x")
	w.put("dags/.dagbucketignore", "*.md\n")
	w.put("dags/x.md", "x")
	require.Zero(t, age(), "what is left out on purpose does not count")
	w.put("dags/a.py", "BROKEN")
	require.Equal(t, 60.0, age())
	require.Equal(t, 120.0, age())
	w.put("dags/a.py", "a = 2")
	require.Zero(t, age())
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Zero(t, age(), "what was rolled back is not live on purpose")
	require.NoError(t, w.route.Pause(context.Background(), ""))
	w.put("dags/b.py", "b = 1")
	require.Equal(t, 60.0, age())
}
