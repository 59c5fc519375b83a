package deployer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// fakeChecker finds an error where a source says BROKEN, and refuses to judge one that says HARD. It is told of each call.
type fakeChecker struct {
	mu      sync.Mutex
	checked []string // sources
	pythons []string
	loads   int
	fails   error  // of every check
	lenient string // a Python for which nothing is broken
}

func (c *fakeChecker) Load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loads++
	return nil
}

func (c *fakeChecker) Check(_ context.Context, source []byte, python string) ([]pysyntax.Diagnostic, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := string(source)
	c.checked = append(c.checked, text[:min(len(text), 40)])
	c.pythons = append(c.pythons, python)
	if c.fails != nil {
		return nil, c.fails
	}
	if strings.Contains(text, "HARD") {
		return nil, &pysyntax.UncheckedError{Err: errors.New("too hard")}
	}
	before, _, broken := strings.Cut(text, "BROKEN")
	if !broken || python == c.lenient && python != "" {
		return nil, nil
	}
	line := strings.Count(before, "\n") + 1
	return []pysyntax.Diagnostic{{Line: line, Column: 1, Message: "invalid syntax", Excerpt: "BROKEN\n^"}, {Line: line + 1, Column: 1, Message: "another"}}, nil
}

// taken returns what was checked since it was last called.
func (c *fakeChecker) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := slices.Sorted(slices.Values(c.checked))
	c.checked = nil
	return taken
}

func newCheckedWorld(t *testing.T) (*world, *fakeChecker) {
	w, c := newWorld(t), &fakeChecker{}
	w.route.Syntax = c
	return w, c
}

// note is a note without what tests do not look at.
func note(path, key, reason string, line int, message string) deployer.Note {
	n := deployer.Note{Path: path, Key: key, Reason: reason, Line: line, Message: message}
	if line > 0 {
		n.Column, n.Excerpt = 1, "BROKEN\n^"
	}
	return n
}

func plain(notes []deployer.Note) []deployer.Note {
	var all []deployer.Note
	for _, n := range notes {
		all = append(all, deployer.Note{Path: n.Path, Key: n.Key, Reason: n.Reason, Line: n.Line, Column: n.Column, Message: n.Message, Excerpt: n.Excerpt})
	}
	return all
}

func TestABrokenFileKeepsItsLastGoodVersion(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.put("dags/b.sql", "BROKEN, but nobody parses SQL here")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"a = 1", "b = 1"}, checker.taken())

	w.put("dags/a.py", "a = 2\nBROKEN")
	w.put("dags/b.py", "b = 2")
	w.put("dags/new.py", "BROKEN")
	r := w.requireOutcome(deployer.Deployed, w.sync())

	require.Equal(t, []string{"BROKEN", "a = 2\nBROKEN", "b = 2"}, checker.taken(), "what did not change is not checked")
	require.Equal(t, "a = 1", w.live()["dags/a.py"])
	require.Equal(t, "b = 2", w.live()["dags/b.py"])
	require.NotContains(t, w.live(), "dags/new.py")
	require.Equal(t, []deployer.Note{note("dags/a.py", "dags/a.py", "syntax", 2, "invalid syntax")}, plain(r.Kept))
	require.Equal(t, []deployer.Note{note("dags/new.py", "dags/new.py", "syntax", 1, "invalid syntax")}, plain(r.LeftOut))
	require.Equal(t, []string{"dags/b.py"}, r.Modified)
	require.Empty(t, r.Added)
	require.Equal(t, 3, r.Files)
	require.EqualValues(t, len("a = 1")+len("b = 2")+len("BROKEN, but nobody parses SQL here"), r.Bytes)
	require.Contains(t, w.logs.String(), "path=dags/a.py line=2 column=1 reason=syntax")
	require.NotContains(t, w.logs.String(), "excerpt", "a source may hold secrets")

	// Nothing moves: nothing is read, and the fates are told again.
	r = w.requireOutcome(deployer.Unchanged, w.sync())
	require.Empty(t, checker.taken())
	require.Equal(t, []deployer.Note{note("dags/a.py", "dags/a.py", "syntax", 2, "invalid syntax")}, plain(r.Kept))
	status, err := w.route.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, plain(r.Kept), notesIn(status, state.Kept))
	require.Equal(t, []deployer.Note{note("dags/new.py", "dags/new.py", "syntax", 1, "invalid syntax")}, notesIn(status, state.LeftOut))

	// Another file moves: the verdicts are remembered, and the broken files are not even read.
	w.put("dags/b.py", "b = 3")
	w.source.Fault = func(op membucket.Op, key string, _ bool) error {
		if op == membucket.Open && key != "dags/b.py" {
			return fmt.Errorf("%s was read", key)
		}
		return nil
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	w.source.Fault = nil
	require.Equal(t, []string{"b = 3"}, checker.taken())
	require.Equal(t, "a = 1", w.live()["dags/a.py"])

	// The repair goes live.
	w.put("dags/a.py", "a = 3")
	w.put("dags/new.py", "new = 1")
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	require.Empty(t, r.Kept)
	require.Empty(t, r.LeftOut)
	require.Equal(t, []string{"dags/new.py"}, r.Added)
}

func TestABrokenFileAloneIsNoDeploy(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())

	w.put("dags/a.py", "BROKEN")
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []deployer.Note{note("dags/a.py", "dags/a.py", "syntax", 1, "invalid syntax")}, plain(r.Kept))
	require.Len(t, w.astro.finalized, 1)

	checker.taken()
	w.put("dags/a.py", "BROKEN") // the same content under a new version is known
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Empty(t, checker.taken())

	w.delete("dags/a.py") // the last file: a removal like any other
	w.requireOutcome(deployer.Held, w.sync())
	w.put("dags/a.py", "a = 1") // what is live, again
	r = w.requireOutcome(deployer.Unchanged, w.sync())
	require.Empty(t, r.Kept)
	require.Len(t, w.astro.finalized, 1)
}

func TestSyntaxSettings(t *testing.T) {
	for name, c := range map[string]struct {
		setting  string
		outcome  deployer.Outcome
		live     string
		reason   string
		kept     int
		warnings int
		checked  int
	}{
		"default":        {"", deployer.Deployed, "a = 1", "", 1, 0, 2},
		"keep-last-good": {deployer.KeepLastGood, deployer.Deployed, "a = 1", "", 1, 0, 2},
		"hold":           {deployer.Hold, deployer.Held, "a = 1", "syntax: dags/a.py:1:1: invalid syntax: repair it, or remove it", 1, 0, 2},
		"warn":           {deployer.Warn, deployer.Deployed, "BROKEN", "", 0, 1, 2},
		"off":            {deployer.Off, deployer.Deployed, "BROKEN", "", 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, checker := newCheckedWorld(t)
			w.route.Sources[0].Syntax = c.setting
			w.put("dags/a.py", "a = 1")
			w.put("dags/b.py", "b = 1")
			w.requireOutcome(deployer.Deployed, w.sync())
			checker.taken()

			w.put("dags/a.py", "BROKEN")
			w.put("dags/b.py", "b = 2")
			r := w.requireOutcome(c.outcome, w.sync())
			require.Equal(t, c.live, w.live()["dags/a.py"])
			require.Equal(t, c.reason, r.Reason)
			require.Len(t, r.Kept, c.kept)
			require.Len(t, r.Warnings, c.warnings)
			require.Len(t, checker.taken(), c.checked)
			if c.outcome == deployer.Held {
				require.Equal(t, "b = 1", w.live()["dags/b.py"], "nothing goes live")
				w.put("dags/a.py", "a = 2")
				w.requireOutcome(deployer.Deployed, w.sync())
				require.Equal(t, w.shown(), w.live())
				return
			}
			require.Equal(t, "b = 2", w.live()["dags/b.py"])
			r = w.requireOutcome(deployer.Unchanged, w.sync())
			require.Len(t, r.Warnings, c.warnings, "it is told again")
			w.put("dags/b.py", "b = 3")
			r = w.requireOutcome(deployer.Deployed, w.sync())
			require.Len(t, r.Warnings, c.warnings, "and again")
			require.Len(t, r.Kept, c.kept)
		})
	}
}

func TestTheHoldNamesTheFirstOfManyAndEachSourceHasItsSetting(t *testing.T) {
	w, _ := newCheckedWorld(t)
	other := membucket.New("other")
	other.Now = w.clock.Now
	w.route.Sources = append(w.route.Sources, deployer.Source{URL: "s3://other/", Bucket: other, Mount: "ml", Syntax: deployer.Hold})
	put := func(key, content string) {
		_, err := other.Put(t.Context(), key, strings.NewReader(content), bucket.Always)
		require.NoError(t, err)
	}
	w.put("dags/a.py", "a = 1")
	put("m.py", "m = 1")
	w.requireOutcome(deployer.Deployed, w.sync())

	w.put("dags/a.py", "BROKEN")
	w.put("dags/c.py", "c = 1")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, r.Kept, 1, "the first source keeps")

	put("m.py", "BROKEN")
	put("n.py", "BROKEN")
	r = w.requireOutcome(deployer.Held, w.sync())
	require.Equal(t, "syntax: dags/ml/m.py:1:1: invalid syntax (and 1 more): repair it, or remove it", r.Reason)
	require.Len(t, r.Kept, 2)
	require.Len(t, r.LeftOut, 1)
	require.Equal(t, "m = 1", w.live()["dags/ml/m.py"])
}

func TestASettingThatChangesActsAtOnce(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/a.py", "BROKEN")
	w.requireOutcome(deployer.Unchanged, w.sync())

	w.route.Sources[0].Syntax = deployer.Hold
	w.requireOutcome(deployer.Held, w.sync())
	w.route.Sources[0].Syntax = deployer.Warn
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, "BROKEN", w.live()["dags/a.py"])
}

func TestAnotherPythonIsAskedAgain(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.astro.python = "3.11"
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/a.py", "BROKEN")
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"3.11", "3.11"}, checker.pythons)
	checker.taken()

	w.astro.python = "3.12"
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"BROKEN"}, checker.taken())
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Empty(t, checker.taken(), "the new verdict is remembered")
}

func TestWhatCannotBeCheckedIsDeployed(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		fails   error
		message string
	}{
		"one file":       {"HARD", nil, "not checked: too hard"},
		"no checker":     {"a = 2", &pysyntax.UncheckedError{Err: errors.New("no memory")}, "not checked: no memory"},
		"too large":      {strings.Repeat("#", pysyntax.MaxSource+1), nil, "not checked: 1048577 bytes are more than 1048576"},
		"large and hard": {"HARD" + strings.Repeat("#", pysyntax.MaxSource/2), nil, "not checked: too hard"},
	} {
		t.Run(name, func(t *testing.T) {
			w, checker := newCheckedWorld(t)
			w.put("dags/a.py", "a = 1")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/a.py", c.content)
			checker.fails = c.fails
			r := w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, c.content, w.live()["dags/a.py"])
			require.Equal(t, []deployer.Note{note("dags/a.py", "dags/a.py", "unchecked", 0, c.message)}, plain(r.Warnings))
			r = w.requireOutcome(deployer.Unchanged, w.sync())
			require.Equal(t, []deployer.Note{note("dags/a.py", "dags/a.py", "unchecked", 0, c.message)}, plain(r.Warnings))
		})
	}
}

func TestAFailingCheckOfAnotherKindFailsTheRun(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.put("dags/a.py", "a = 1")
	checker.fails = context.Canceled
	r := w.requireOutcome(deployer.Failed, w.sync())
	require.True(t, r.Retryable)
}

// TestLargeFilesAreCheckedWhole: what is larger than the fetch holds ahead is read once more.
func TestLargeFilesAreCheckedWhole(t *testing.T) {
	large := strings.Repeat("# comment\n", 60_000)
	for name, gzip := range map[string]bool{"plain": false, "stored compressed": true} {
		t.Run(name, func(t *testing.T) {
			w, _ := newCheckedWorld(t)
			put := w.put
			if gzip {
				put = func(key, content string) { w.putEncoded(key, compressed(t, content)) }
			}
			for i := range 9 {
				put(fmt.Sprintf("dags/%d.py", i), large)
			}
			w.requireOutcome(deployer.Deployed, w.sync())
			for i := range 9 {
				put(fmt.Sprintf("dags/%d.py", i), large+"BROKEN")
			}
			put("dags/9.py", large+"fine")
			r := w.requireOutcome(deployer.Deployed, w.sync())
			require.Len(t, r.Kept, 9)
			require.Equal(t, 60_001, r.Kept[0].Line)
			require.Equal(t, large, w.live()["dags/0.py"])
			require.Equal(t, large+"fine", w.live()["dags/9.py"])
		})
	}
}

func TestFilesThatAirflowIgnoresOnlyWarn(t *testing.T) {
	const regexp, glob = selection.Airflow2Regexp, selection.Airflow3Glob
	for name, c := range map[string]struct {
		syntaxes []selection.AirflowSyntax
		ignore   map[string]string
		file     string
		ignored  bool
	}{
		"regexp":                 {[]selection.AirflowSyntax{regexp}, map[string]string{".airflowignore": "lib/.*_x"}, "lib/a_x.py", true},
		"regexp read as glob":    {[]selection.AirflowSyntax{glob}, map[string]string{".airflowignore": "lib/.*_x"}, "lib/a_x.py", false},
		"glob":                   {[]selection.AirflowSyntax{glob}, map[string]string{".airflowignore": "lib/*_x.py"}, "lib/a_x.py", true},
		"unknown syntax":         {nil, map[string]string{".airflowignore": "lib/*_x.py"}, "lib/a_x.py", true},
		"in the folder":          {[]selection.AirflowSyntax{glob}, map[string]string{"lib/.airflowignore": "a_x.py"}, "lib/a_x.py", true},
		"in another folder":      {[]selection.AirflowSyntax{glob}, map[string]string{"other/.airflowignore": "a_x.py"}, "lib/a_x.py", false},
		"no file names anything": {[]selection.AirflowSyntax{glob}, map[string]string{".airflowignore": ""}, "lib/a_x.py", false},
	} {
		for _, baseDir := range []string{"dags", ""} {
			t.Run(name+" in "+baseDir, func(t *testing.T) {
				w, _ := newCheckedWorld(t)
				w.route.BaseDir = baseDir
				w.astro.ignores = c.syntaxes
				for file, content := range c.ignore {
					w.put("dags/"+file, content)
				}
				w.put("dags/z.py", "z = 1")
				w.put("dags/"+c.file, "BROKEN") // with a fetched ignore file
				r := w.requireOutcome(deployer.Deployed, w.sync())
				w.put("dags/"+c.file, "BROKEN 2") // with one from the live bundle
				w.put("dags/z.py", "z = 2")
				again := w.requireOutcome(deployer.Deployed, w.sync())
				for _, r := range []deployer.Result{r, again} {
					if c.ignored {
						require.Len(t, r.Warnings, 1)
						require.Empty(t, r.LeftOut)
					} else {
						require.Len(t, r.LeftOut, 1)
						require.Empty(t, r.Warnings)
					}
				}
			})
		}
	}
}

func TestAnIgnoreFileThatComesLetsARefusedFileGo(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.astro.ignores = []selection.AirflowSyntax{selection.Airflow3Glob}
	w.put("dags/a.py", "BROKEN")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.NotContains(t, w.live(), "dags/a.py")
	checker.taken()

	w.put("dags/.airflowignore", "a.py")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, checker.taken(), "its content is known")
	require.Equal(t, w.shown(), w.live())
	require.Len(t, r.Warnings, 1)
	require.Equal(t, 1, r.Warnings[0].Line)
}

func TestNothingLeftButBrokenFiles(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.put("dags/a.py", "BROKEN")
	r := w.requireOutcome(deployer.Held, w.sync())
	require.Equal(t, "syntax: every file of s3://acme/dags/ has a syntax error, and nothing of it would be live: repair one, or set guard.allow_empty: true", r.Reason)
	require.Len(t, r.LeftOut, 1)
	require.Empty(t, w.astro.finalized)
	require.Empty(t, slices.DeleteFunc(w.storedRuns(), func(key string) bool { return false }))

	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.delete("dags/a.py")
	w.put("dags/b.py", "BROKEN")
	w.requireOutcome(deployer.Held, w.sync())
	require.Equal(t, map[string]string{"dags/a.py": "a = 1"}, w.live())
}

func TestALostBundleHoldsWhatShouldBeKept(t *testing.T) {
	for name, remembered := range map[string]bool{"found now": false, "remembered": true} {
		t.Run(name, func(t *testing.T) {
			w, _ := newCheckedWorld(t)
			w.put("dags/a.py", "a = 1")
			w.put("dags/b.py", "b = 1")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/a.py", "BROKEN")
			if remembered {
				w.requireOutcome(deployer.Unchanged, w.sync())
			}
			require.NoError(t, w.states.Delete(t.Context(), "prod/bundles/"+w.record().Live.Run+".tar.gz", ""))
			w.put("dags/b.py", "b = 2")
			r := w.requireOutcome(deployer.Held, w.sync())
			require.Contains(t, r.Reason, "dags/a.py keeps its last good content (syntax), but the state no longer holds it")
			w.put("dags/a.py", "a = 2")
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestTheCheckerIsLoadedOnlyForChangedPython(t *testing.T) {
	loads := func(c *fakeChecker) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.loads
	}
	w, checker := newCheckedWorld(t)
	w.put("dags/a.sql", "select 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Eventually(t, func() bool { return loads(checker) == 1 }, time.Minute, time.Millisecond)
	w.put("dags/a.sql", "select 2")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/b.py", "BROKEN")
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Eventually(t, func() bool { return loads(checker) == 2 }, time.Minute, time.Millisecond)
	w.put("dags/a.sql", "select 3")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, 2, loads(checker))

	w.route.Sources[0].Syntax = deployer.Off
	w.put("dags/c.py", "c = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, 2, loads(checker))
}

// TestHalfOfTheTimeIsForTheRest: a run that has a deadline stops checking when half of what was left before is over. What has a good version waits
// for the next run, and what is new goes live.
func TestHalfOfTheTimeIsForTheRest(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	checker.taken()
	w.put("dags/a.py", "a = 2")
	w.put("dags/new.py", "BROKEN")
	w.clock.advance(time.Minute)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	w.source.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Open && after {
			w.clock.advance(365 * 24 * time.Hour) // the test's clock is not the deadline's
		}
		return nil
	}
	r := w.requireOutcome(deployer.Deployed, w.route.Sync(ctx, nil))
	require.Empty(t, checker.taken())
	const why = "not checked: the time for it was over"
	require.Equal(t, []deployer.Note{note("dags/a.py", "dags/a.py", "unchecked", 0, why)}, plain(r.Kept))
	require.Equal(t, []deployer.Note{note("dags/new.py", "dags/new.py", "unchecked", 0, why)}, plain(r.Warnings))
	require.Equal(t, "a = 1", w.live()["dags/a.py"])
	require.True(t, r.Began.IsZero(), "it covers nothing")

	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"a = 2"}, checker.taken())
	require.Equal(t, w.shown(), w.live())
	require.Empty(t, r.Kept)
}

// TestTheTimeForChecksBeginsWithThem: a long wait for a busy bucket takes nothing from it.
func TestTheTimeForChecksBeginsWithThem(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.clock.now = time.Now()
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/a.py", "BROKEN")
	n := 0
	w.clock.onSleep = func() { n++; w.put("dags/b.sql", fmt.Sprint(n)) }
	ctx, cancel := context.WithDeadline(t.Context(), w.clock.Now().Add(5*time.Minute))
	defer cancel()
	r := w.requireOutcome(deployer.Deployed, w.route.Sync(ctx, nil))
	require.GreaterOrEqual(t, w.clock.slept, 150*time.Second, "over half of the invocation")
	require.Len(t, r.Kept, 1)
}

// TestTheTimeForChecksIsByOneClock: a run's clock may be wrong, and what its deadline is by is another.
func TestTheTimeForChecksIsByOneClock(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"slow": -24 * time.Hour, "fast": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w, checker := newCheckedWorld(t)
			w.clock.now = time.Now().Add(wrong)
			w.put("dags/a.py", "a = 1")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/a.py", "BROKEN")
			w.put("dags/b.py", "b = 1")
			checker.taken()
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(5*time.Minute))
			defer cancel()
			w.clock.advance(time.Minute)
			w.source.Fault = func(op membucket.Op, key string, after bool) error {
				if op == membucket.Open && after && key == "dags/b.py" {
					w.clock.advance(time.Minute) // less than half
				}
				return nil
			}
			r := w.requireOutcome(deployer.Deployed, w.route.Sync(ctx, nil))
			require.Equal(t, []string{"BROKEN", "b = 1"}, checker.taken())
			require.Len(t, r.Kept, 1)
		})
	}
}

// TestWhatIsKnownToBeBrokenStaysSo: even if nobody can check it again.
func TestWhatIsKnownToBeBrokenStaysSo(t *testing.T) {
	for name, change := range map[string]func(*world){
		"the same object":             func(*world) {},
		"the content under a version": func(w *world) { w.put("dags/a.py", "BROKEN") },
	} {
		t.Run(name, func(t *testing.T) {
			w, checker := newCheckedWorld(t)
			w.astro.python = "3.11"
			w.put("dags/a.py", "a = 1")
			w.requireOutcome(deployer.Deployed, w.sync())
			w.put("dags/a.py", "BROKEN")
			w.put("dags/new.py", "BROKEN")
			w.requireOutcome(deployer.Unchanged, w.sync())
			w.astro.python = "3.12"
			checker.fails = &pysyntax.UncheckedError{Err: errors.New("the checker cannot run")}
			change(w)
			r := w.requireOutcome(deployer.Unchanged, w.sync())
			require.Len(t, r.Kept, 1)
			require.Len(t, r.LeftOut, 1)
			require.Equal(t, map[string]string{"dags/a.py": "a = 1"}, w.live())
		})
	}
}

// TestAnOldVerdictIsAskedAbout: as soon as anybody can tell.
func TestAnOldVerdictIsAskedAbout(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.astro.python, checker.lenient = "3.11", "3.12"
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/a.py", "BROKEN")
	w.put("dags/new.py", "BROKEN, too")
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.astro.python, checker.fails = "3.12", &pysyntax.UncheckedError{Err: errors.New("the checker cannot run")}
	for range 2 {
		checker.taken()
		w.requireOutcome(deployer.Unchanged, w.sync())
		require.Equal(t, []string{"BROKEN", "BROKEN, too"}, checker.taken(), "each run asks")
	}
	checker.fails = nil
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	require.Empty(t, r.Kept)
	require.Empty(t, r.LeftOut)
}

// TestThePythonChangesUnderARun: one that is overtaken, and so looks at everything anew.
func TestThePythonChangesUnderARun(t *testing.T) {
	w, checker := newCheckedWorld(t)
	w.astro.python, checker.lenient = "3.12", "3.12"
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/a.py", "BROKEN")
	w.astro.before = func(call string) {
		if call == "create" {
			w.astro.before, w.astro.python = nil, "3.11"
			require.NoError(t, w.route.Resume(t.Context()))
		}
	}
	r := w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, r.Kept, 1)
	require.Equal(t, "a = 1", w.live()["dags/a.py"])
}

func TestWhatIsSaidToBeCompressedAndIsNot(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.putEncoded("dags/.airflowignore", "a.py\n")
	w.putEncoded("dags/large.py", strings.Repeat("# comment\n", 60_000))
	w.put("dags/a.py", "BROKEN")
	r := w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, r.Warnings, 1, "the ignore file is read as it is shipped")
	w.putEncoded("dags/.airflowignore", compressed(t, "b.py\n"))
	w.put("dags/b.py", "BROKEN")
	r = w.requireOutcome(deployer.Deployed, w.sync())
	require.Len(t, r.Warnings, 2)
}

func TestWarningsStayWithTheirContent(t *testing.T) {
	for name, lost := range map[string]bool{"uploaded again": false, "the bundle is lost": true} {
		t.Run(name, func(t *testing.T) {
			w, _ := newCheckedWorld(t)
			w.route.Sources[0].Syntax = deployer.Warn
			w.put("dags/a.py", "BROKEN")
			w.put("dags/b.py", "b = 1")
			r := w.requireOutcome(deployer.Deployed, w.sync())
			require.Len(t, r.Warnings, 1)
			if lost {
				require.NoError(t, w.states.Delete(t.Context(), "prod/bundles/"+w.record().Live.Run+".tar.gz", ""))
				w.put("dags/b.py", "b = 2")
			} else {
				w.put("dags/a.py", "BROKEN")
			}
			require.Equal(t, plain(r.Warnings), plain(w.sync().Warnings))
			require.Equal(t, plain(r.Warnings), plain(w.sync().Warnings))
		})
	}
}

// TestABrokenFileThatIsArchived: the reason is another then, and so is what the fates rest on.
func TestABrokenFileThatIsArchived(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.astro.python = "3.11"
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/a.py", "BROKEN")
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.archive("dags/a.py")
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.astro.python = "3.12"
	w.requireOutcome(deployer.Unchanged, w.sync())
	reads := w.requireOutcome(deployer.Unchanged, w.sync()).Requests["get"]
	status, err := w.route.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "archived", status.In(state.Kept)[0].Reason)
	require.EqualValues(t, 3, reads, "lease, record, and the manifest to tell of what is kept")
}

func TestBrokenFilesDoNotEmptyASource(t *testing.T) {
	w, _ := newCheckedWorld(t)
	other := membucket.New("other")
	other.Now = w.clock.Now
	w.route.Sources = append(w.route.Sources, deployer.Source{URL: "s3://other/", Bucket: other, Mount: "ml"})
	put := func(key, content string) {
		_, err := other.Put(t.Context(), key, strings.NewReader(content), bucket.Always)
		require.NoError(t, err)
	}
	w.put("dags/a.py", "a = 1")
	put("m.py", "m = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.NoError(t, other.Delete(t.Context(), "m.py", ""))
	put("n.py", "BROKEN")
	r := w.requireOutcome(deployer.Held, w.sync())
	require.Contains(t, r.Reason, "every file of s3://other/ has a syntax error")
	require.Contains(t, w.live(), "dags/ml/m.py")
	put("n.py", "n = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.NotContains(t, w.live(), "dags/ml/m.py")
}

// TestWhatAPersonLetGoIsNotAll: the last file, which nobody let go, goes with the others, and only a broken one is left.
func TestWhatAPersonLetGoIsNotAll(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.route.MaxRemovedFiles = 1
	for _, key := range []string{"dags/a.py", "dags/b.py", "dags/c.py"} {
		w.put(key, "fine")
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	w.delete("dags/a.py")
	w.delete("dags/b.py")
	w.requireOutcome(deployer.Unchanged, w.sync())
	approved, err := w.route.Approve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"dags/a.py", "dags/b.py"}, approved.Removed)
	w.delete("dags/c.py")
	w.put("dags/d.py", "BROKEN")
	r := w.requireOutcome(deployer.Held, w.sync())
	require.Contains(t, r.Reason, "every file of s3://acme/dags/ has a syntax error")
	require.Len(t, w.live(), 3)
	w.put("dags/d.py", "d = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

// TestTheFetchLooksOnWhileThePackerIsDone is for the race detector: many files that are not fetched follow a broken one.
func TestTheFetchLooksOnWhileThePackerIsDone(t *testing.T) {
	w, _ := newCheckedWorld(t)
	for i := range 5 {
		w.put(fmt.Sprintf("dags/x%05d.sql", i), "x")
	}
	w.put("dags/b.py", "b")
	w.requireOutcome(deployer.Deployed, w.sync())
	for i := range 50 {
		w.put("dags/a.py", fmt.Sprint("BROKEN", i))
		w.put("dags/b.py", fmt.Sprint("b", i))
		w.requireOutcome(deployer.Deployed, w.sync())
	}
}

// TestNoReasonMakesTheRecordUnreadable: a checker's message may be as long as the source.
func TestNoReasonMakesTheRecordUnreadable(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.route.Syntax = talker{}
	w.route.Sources[0].Syntax = deployer.Hold
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	for i := range 6 {
		w.put("dags/a.py", fmt.Sprint("BROKEN", i))
		w.requireOutcome(deployer.Held, w.sync())
		w.put("dags/a.py", fmt.Sprint("good", i))
		w.requireOutcome(deployer.Deployed, w.sync())
	}
}

type talker struct{}

func (talker) Load() error { return nil }

func (talker) Check(_ context.Context, source []byte, _ string) ([]pysyntax.Diagnostic, error) {
	if !strings.Contains(string(source), "BROKEN") {
		return nil, nil
	}
	return []pysyntax.Diagnostic{{Line: 1, Column: 1, Message: strings.Repeat("a", 1_000_000)}}, nil
}

func TestTheManifestTellsOfEachVerdict(t *testing.T) {
	w, _ := newCheckedWorld(t)
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	good, err := w.route.Store.ReadManifest(t.Context(), w.record().Live.Manifest)
	require.NoError(t, err)
	w.put("dags/a.py", "BROKEN")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	files, err := w.route.Store.ReadManifest(t.Context(), w.record().Live.Manifest)
	require.NoError(t, err)
	kept := files[0]
	require.Equal(t, state.Kept, kept.State)
	require.Equal(t, good[0].SHA256, kept.SHA256, "of the content that is live")
	require.Equal(t, good[0].Version, kept.Version)
	require.Equal(t, good[0].Modified, kept.Modified)
	require.Equal(t, 1, kept.Line)
	require.Equal(t, "BROKEN\n^", kept.Excerpt)
	require.Equal(t, "s3://acme/dags/", kept.Refused.Source)
	require.Equal(t, "dags/a.py", kept.Refused.Key)
	require.NotEqual(t, kept.Version, kept.Refused.Version)
	require.Equal(t, pysyntax.Kind+" for Python "+pysyntax.Python(""), kept.Refused.By)
	require.Contains(t, w.record().Live.Verdicts, pysyntax.Kind)
}
