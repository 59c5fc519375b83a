package promotion_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

// TestFiveHundredFiles promotes 500 files, and then, interrupted half-way, 20 that changed and 3 that went.
func TestFiveHundredFiles(t *testing.T) {
	for _, backend := range []string{"mem", "s3", "gcs"} {
		t.Run(backend, func(t *testing.T) {
			w := newWorldOver(t, backend, oneSource)
			w.numbered(500)
			w.put("prod/live/dags/prod only.py", "p = 1")
			w.sync(w.dev, deployer.Deployed)
			first := w.promote()
			require.Len(t, first.Copied, 500)
			w.sync(w.prod, deployer.Deployed)
			w.remove("prod/live/dags/prod only.py")
			w.sync(w.prod, deployer.Deployed)
			require.Equal(t, w.live("dev"), w.live("prod"))

			for i := range 20 {
				w.put(fmt.Sprintf("dev/dags/team%d/dag %03d.py", i%7, i), fmt.Sprintf("changed = %d", i))
			}
			for i := range 3 {
				w.remove(fmt.Sprintf("dev/dags/team%d/dag %03d.py", (499-i)%7, 499-i))
			}
			w.sync(w.dev, deployer.Deployed)
			before, deploys := w.live("prod"), w.deploys()

			ctx, cancel := context.WithCancel(t.Context())
			w.progress = func(p deployer.Progress) {
				if p.Step == "copy" && p.Done == 10 {
					cancel()
				}
			}
			_, err := w.service.Promote(ctx, w.dev, w.prod, service.PromoteOptions{})
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "prod stays held: promote again to finish")
			w.progress = nil
			half := w.shown("prod", "live/dags/")
			require.NotEqual(t, before, half)
			held := w.sync(w.prod, deployer.Held)
			require.Contains(t, held.Reason, "promotion")
			require.Equal(t, before, w.live("prod"))

			second := w.promote()
			require.Len(t, second.Copied, 20)
			require.Len(t, second.Removed, 3)
			require.Equal(t, 477, second.Unchanged)
			require.Len(t, second.Warnings, 1)
			require.Contains(t, second.Warnings[0].Why, "this finishes the promotion")
			w.sync(w.prod, deployer.Deployed)
			require.Equal(t, deploys+1, w.deploys(), "one deploy")
			require.Equal(t, w.live("dev"), w.live("prod"))
			require.Len(t, w.live("prod"), 497)
			require.Equal(t, w.record(w.dev).Live.Digest, w.record(w.prod).Live.Digest)
			require.Equal(t, []string{"500 files copied, 0 removed, from dev", "20 files copied, 3 removed, from dev"}, w.told(w.prod))
			require.Equal(t, []string{"500 files copied, 0 removed, to prod", "20 files copied, 3 removed, to prod"}, w.told(w.dev))
			require.Empty(t, w.record(w.prod).Holds)

			again := w.promote()
			require.Empty(t, again.Copied)
			require.Equal(t, 497, again.Unchanged)
			w.sync(w.prod, deployer.Unchanged)
			require.Len(t, w.told(w.prod), 2, "a promotion of nothing is no history")
		})
	}
}

// hostile are names that some encoding on the way could spoil.
var hostile = []string{"a b.py", "a+b.py", "a%2Fb.py", "a%20b.py", "%", "a&b=c;d.py", `quo"te's.py`, "what?#x.py", "~tilde", "caf\u00e9.py", "cafe\u0301.py", "中文/日本 😀.py", "@:,=!().py", "..x/..."}

func TestHostileNamesArriveUnchanged(t *testing.T) {
	for _, backend := range []string{"mem", "s3", "gcs"} {
		t.Run(backend, func(t *testing.T) {
			w := newWorldOver(t, backend, oneSource)
			for _, name := range hostile {
				w.put("dev/dags/"+name, "content of "+name)
			}
			w.sync(w.dev, deployer.Deployed)
			require.Len(t, w.promote().Copied, len(hostile))
			require.Equal(t, w.shown("dev", "dags/"), w.shown("prod", "live/dags/"))
			w.remove("dev/dags/a+b.py")
			w.sync(w.dev, deployer.Deployed)
			require.Equal(t, []string{"dags/a+b.py"}, w.promote().Removed)
			w.sync(w.prod, deployer.Deployed)
			require.Equal(t, w.live("dev"), w.live("prod"))
		})
	}
}

// TestWhatIsLiveIsPromoted: not what the source holds by now.
func TestWhatIsLiveIsPromoted(t *testing.T) {
	for _, backend := range []string{"mem", "s3", "gcs"} {
		t.Run(backend, func(t *testing.T) {
			w := newWorldOver(t, backend, oneSource)
			large := strings.Repeat("0123456789abcdef", 1<<20) + "x" // more than a conditional write takes
			for name, content := range map[string]string{"a.py": "a = 1", "b.py": "b = 1", "c.py": "c = 1", "large.bin": large} {
				w.put("dev/dags/"+name, content)
			}
			w.sync(w.dev, deployer.Deployed)
			live := w.live("dev")
			w.put("dev/dags/a.py", "a = 2")
			w.put("dev/dags/large.bin", "small")
			w.put("dev/dags/new.py", "new")
			w.remove("dev/dags/c.py")
			require.Len(t, w.promote().Copied, 4)
			w.sync(w.prod, deployer.Deployed)
			require.Equal(t, live, w.live("prod"))
		})
	}
}

// TestAnArchivedSource: its bytes are in the live bundle.
func TestAnArchivedSource(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.put("dev/dags/b.py", "b = 1")
	w.sync(w.dev, deployer.Deployed)
	w.memory["dev"].Change("dags/b.py", func(o *bucket.Object) { o.Archived = true })
	require.Len(t, w.promote().Copied, 2)
	require.Equal(t, map[string]string{"a.py": "a = 1", "b.py": "b = 1"}, w.shown("prod", "live/dags/"))
}

// TestADeployWhoseRunDied is pending in the record, and promoted once it is live.
func TestADeployWhoseRunDied(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	w.edit(w.dev, func(rec *state.Record) { rec.Pending, rec.Live = rec.Live, nil })
	require.Len(t, w.promote().Copied, 1)
}

func TestALostBundleIsTold(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	w.put("dev/dags/a.py", "a = 2")
	w.remove("state/dev/bundles/" + w.record(w.dev).Live.Run + ".tar.gz")
	_, err := w.try(service.PromoteOptions{})
	require.ErrorContains(t, err, "dags/a.py is live on dev, but its source holds another version, and the state lost the bundle")
	require.ErrorContains(t, err, "run dagbucket sync --route dev")
	require.Empty(t, w.shown("prod", ""))
	w.sync(w.dev, deployer.Deployed)
	w.promote()
	w.sync(w.prod, deployer.Deployed)
	require.Equal(t, map[string]string{"dags/a.py": "a = 2"}, w.live("prod"))
}

// TestBetweenStorages: what no storage can copy by itself passes through, and is checked.
func TestBetweenStorages(t *testing.T) {
	w := newWorld(t)
	w.foreign()
	large := strings.Repeat("0123456789abcdef", 1<<20) + "x"
	w.put("dev/dags/a.py", "a = 1")
	w.put("dev/dags/large.bin", large)
	w.sync(w.dev, deployer.Deployed)
	require.Len(t, w.promote().Copied, 2)
	require.Equal(t, w.shown("dev", "dags/"), w.shown("prod", "live/dags/"))

	// A storage that gives other bytes under the version that is live.
	w.put("dev/dags/a.py", "a = 2")
	w.sync(w.dev, deployer.Deployed)
	var was string
	w.memory["dev"].Change("dags/a.py", func(o *bucket.Object) { was = o.Version })
	w.put("dev/dags/a.py", "a = 3")
	w.memory["dev"].Change("dags/a.py", func(o *bucket.Object) { o.Version = was })
	w.promote()
	require.Equal(t, "a = 2", w.shown("prod", "live/dags/")["a.py"])
}

// TestStoredCompressed: a file that is stored compressed is what its author has of it, on both sides.
func TestStoredCompressed(t *testing.T) {
	w := newWorld(t)
	w.foreign()
	large := strings.Repeat("0123456789abcdef", 1<<20) + "x"
	w.putCompressed("dev", "dags/a.py", "a = 1")
	w.putCompressed("dev", "dags/large.bin", large)
	w.putCompressed("prod", "live/dags/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	result := w.promote()
	require.Equal(t, []string{"dags/large.bin"}, result.Copied)
	require.Equal(t, 1, result.Unchanged)
	require.Equal(t, large, w.shown("prod", "live/dags/")["large.bin"])
}

func (w *world) putCompressed(name, key, content string) {
	w.t.Helper()
	var compressed bytes.Buffer
	zw := gzip.NewWriter(&compressed)
	_, err := zw.Write([]byte(content))
	require.NoError(w.t, err)
	require.NoError(w.t, zw.Close())
	w.put(name+"/"+key, compressed.String())
	w.memory[name].Change(key, func(o *bucket.Object) { o.Gzip = true })
}

// foreign makes dev's source a bucket that prod's storage knows nothing of.
func (w *world) foreign() {
	for i := range w.dev.Sources {
		w.dev.Sources[i].Bucket = struct{ bucket.Reader }{w.dev.Sources[i].Bucket}
	}
}

// TestOtherFilesAreLeftAlone: what was never promoted is the target's own.
func TestOtherFilesAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.put("prod/live/dags/own.py", "own")
	w.put("prod/live/dags/.dagbucketignore", "*.txt\n")
	w.put("dev/dags/note.txt", "left out there")
	w.sync(w.dev, deployer.Deployed)
	result := w.promote()
	require.Equal(t, []string{"dags/a.py", "dags/note.txt"}, result.Copied)
	require.Len(t, result.Warnings, 1)
	require.Equal(t, "dags/note.txt", result.Warnings[0].Path)
	require.Equal(t, "prod leaves it out (ignored: line 1 of .dagbucketignore: *.txt)", result.Warnings[0].Why)
	w.remove("dev/dags/a.py")
	w.put("dev/dags/b.py", "b = 1")
	w.sync(w.dev, deployer.Deployed)
	require.Len(t, w.promote().Warnings, 1, "it is there already, and left out still")
	require.Equal(t, []string{".dagbucketignore", "b.py", "note.txt", "own.py"}, keys(w.shown("prod", "live/dags/")))
}

func TestChosenPaths(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a.py", "team/b.py", "team/sub/c.py", "team2/d.py", "dags/e.py"} {
		w.put("dev/dags/"+name, name)
	}
	w.sync(w.dev, deployer.Deployed)
	require.Equal(t, []string{"dags/team/b.py", "dags/team/sub/c.py"}, w.promote("team/").Copied)
	require.Equal(t, []string{"dags/a.py"}, w.promote("dags/a.py", "dags/team").Copied)
	require.Equal(t, []string{"dags/dags/e.py"}, w.promote("dags/e.py").Copied, "no other file has that path")
	w.remove("dev/dags/team/b.py")
	w.remove("dev/dags/a.py")
	w.sync(w.dev, deployer.Deployed)
	require.Equal(t, []string{"dags/a.py"}, w.promote("a.py").Removed)
	require.Equal(t, "none.py: nothing of that name is live on dev, or was promoted before", w.refused(service.PromoteOptions{Paths: []string{"none.py", "team"}}))
	last := w.promote()
	require.Equal(t, []string{"dags/team2/d.py"}, last.Copied)
	require.Equal(t, []string{"dags/team/b.py"}, last.Removed, "what was promoted in part is remembered")
}

const mounted = `
state: SCHEME://state/
routes:
  - {name: dev, deployment: dev, quiet_period: 0s, base_dir: "", sources: [{url: "SCHEME://dev/dags/"}, {url: "SCHEME://dev/models/", mount: ml}]}
  - {name: prod, deployment: prod, quiet_period: 0s, sources: [SOURCES]}
`

func TestPathsFindTheirSources(t *testing.T) {
	for name, c := range map[string]struct {
		sources string
		there   string // in prod, beforehand
		want    []string
		refused string
	}{
		"two sources hold it": {`{url: "SCHEME://prod/"}, {url: "SCHEME://ml/x/", mount: ml}`, "prod/ml/train.py ml/x/train.py", nil,
			"dags/ml/train.py: several sources of prod hold it: remove all but one"},
		"longest mount":         {`{url: "SCHEME://prod/"}, {url: "SCHEME://ml/x/", mount: ml}`, "", []string{"ml/x/deep/train.py", "ml/x/train.py", "prod/a.py"}, ""},
		"deeper mount":          {`{url: "SCHEME://ml/deep/", mount: ml/deep}, {url: "SCHEME://prod/"}`, "", []string{"ml/deep/train.py", "prod/a.py", "prod/ml/train.py"}, ""},
		"where it lies already": {`{url: "SCHEME://prod/"}, {url: "SCHEME://ml/x/", mount: ml}`, "prod/ml/train.py", []string{"ml/x/deep/train.py", "prod/a.py", "prod/ml/train.py"}, ""},
		"no source":             {`{url: "SCHEME://ml/", mount: ml}`, "", nil, "dags/a.py: no source of prod is mounted there"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOver(t, "mem", strings.ReplaceAll(mounted, "SOURCES", c.sources))
			w.put("dev/dags/a.py", "a.py")
			w.put("dev/models/train.py", "train")
			w.put("dev/models/deep/train.py", "deep")
			w.sync(w.dev, deployer.Deployed)
			for _, place := range strings.Fields(c.there) {
				w.put(place, "train")
			}
			if c.refused != "" {
				require.Equal(t, c.refused, w.refused(service.PromoteOptions{}))
				return
			}
			w.promote()
			var got []string
			for place := range w.everything() {
				if strings.HasPrefix(place, "prod/") || strings.HasPrefix(place, "ml/") {
					got = append(got, place)
				}
			}
			require.ElementsMatch(t, c.want, got)
			w.sync(w.prod, deployer.Deployed)
			require.Equal(t, []string{"dags/a.py", "dags/ml/deep/train.py", "dags/ml/train.py"}, keys(w.live("prod")))
		})
	}
}

func TestNoIgnoreFileIsOverwritten(t *testing.T) {
	w := newWorldOver(t, "mem", strings.ReplaceAll(mounted, "SOURCES", `{url: "SCHEME://ml/", mount: sub}`))
	w.put("dev/dags/sub/.dagbucketignore", "*")
	w.sync(w.dev, deployer.Deployed)
	require.Equal(t, "dags/sub/.dagbucketignore: there it would say what is left out of the whole source", w.refused(service.PromoteOptions{}))
}

// TestChangedInTheTarget: each way in which others may have changed what was promoted, or would be overwritten.
func TestChangedInTheTarget(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(w *world) // before the first promotion
		between func(w *world)
		refused string
		end     string // of live/dags/a.py when forced, or when it is not refused
	}{
		"there before, with another content": {before: func(w *world) { w.put("prod/live/dags/a.py", "p = 1") },
			refused: "dags/a.py: it is there with another content, and never was promoted", end: "a = 1"},
		"there before, with the same content": {before: func(w *world) { w.put("prod/live/dags/a.py", "a = 1") }, end: "a = 1"},
		"changed, and in dev too": {between: func(w *world) { w.put("prod/live/dags/a.py", "p = 1"); w.put("dev/dags/a.py", "a = 2") },
			refused: "dags/a.py: it was changed there since it was promoted", end: "a = 2"},
		"changed": {between: func(w *world) { w.put("prod/live/dags/a.py", "p = 1") },
			refused: "dags/a.py: it was changed there since it was promoted", end: "a = 1"},
		"changed and deployed": {between: func(w *world) { w.put("prod/live/dags/a.py", "p = 1"); w.sync(w.prod, deployer.Deployed) },
			refused: "dags/a.py: it was changed there since it was promoted", end: "a = 1"},
		"changed, as in dev": {between: func(w *world) { w.put("prod/live/dags/a.py", "a = 2"); w.put("dev/dags/a.py", "a = 2") }, end: "a = 2"},
		"uploaded again":     {between: func(w *world) { w.put("prod/live/dags/a.py", "a = 1"); w.put("dev/dags/a.py", "a = 2") }, end: "a = 2"},
		"removed": {between: func(w *world) { w.remove("prod/live/dags/a.py") },
			refused: "dags/a.py: it was removed there since it was promoted", end: "a = 1"},
		"removed, and in dev too": {between: func(w *world) { w.remove("prod/live/dags/a.py"); w.remove("dev/dags/a.py") }},
		"changed, and gone in dev": {between: func(w *world) { w.put("prod/live/dags/a.py", "p = 1"); w.remove("dev/dags/a.py") },
			refused: "dags/a.py: it is gone on dev, and was changed there since it was promoted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dev/dags/a.py", "a = 1")
			w.put("dev/dags/b.py", "b = 1")
			w.sync(w.dev, deployer.Deployed)
			if c.before != nil {
				c.before(w)
			}
			if c.between != nil {
				w.promote()
				w.sync(w.prod, deployer.Deployed)
				c.between(w)
				require.NotEqual(t, deployer.Failed, w.dev.Sync(t.Context(), nil).Outcome)
			}
			if c.refused != "" {
				require.Equal(t, c.refused, w.refused(service.PromoteOptions{}))
				require.Equal(t, c.refused, w.refused(service.PromoteOptions{DryRun: true}))
			}
			result, err := w.try(service.PromoteOptions{Force: c.refused != ""})
			require.NoError(t, err)
			require.Empty(t, result.Refused)
			require.Equal(t, c.end, w.shown("prod", "live/dags/")["a.py"])
			require.Empty(t, w.promote().Copied, "then it is remembered")
		})
	}
}

// TestFromRouteIsNotFit: the states of the from-route of which nothing is promoted, and those that do not matter.
func TestFromRouteIsNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(w *world)
		refused string
	}{
		"nothing was deployed": {func(w *world) {}, ": nothing was deployed on dev yet"},
		"held": {func(w *world) {
			w.sync(w.dev, deployer.Deployed)
			w.remove("dev/dags/a.py")
			w.sync(w.dev, deployer.Held)
		}, ": dev is held: "},
		"being promoted into": {func(w *world) { w.sync(w.dev, deployer.Deployed); w.hold(w.dev, "from other, run x") }, ": dev is held: "},
		"its last deploy was not seen to run": {func(w *world) {
			w.sync(w.dev, deployer.Deployed)
			w.edit(w.dev, func(rec *state.Record) { rec.Live.Confirmed = false })
			w.astro.Update("dev", func(d *astrotest.Deployment) { d.Status = "UNHEALTHY" })
		}, ": the Deployment of dev was not seen to run its last deploy yet"},
		"its manifest is lost": {func(w *world) {
			w.sync(w.dev, deployer.Deployed)
			w.remove("state/dev/manifests/" + w.record(w.dev).Live.Manifest + ".jsonl.gz")
		}, ": the state of dev lost its manifest"},
		"its manifest is another": {func(w *world) {
			w.sync(w.dev, deployer.Deployed)
			require.NoError(w.t, w.dev.Store.PutManifest(w.t.Context(), w.record(w.dev).Live.Manifest, nil))
		}, ": the state of dev lost its manifest"},
		"others deployed there": {func(w *world) {
			w.sync(w.dev, deployer.Deployed)
			w.astro.DeployFromOutside("dev", "DAG_ONLY", "by hand", nil)
		}, ": the Deployment of dev does not run what was deployed from there last"},
		"paused": {func(w *world) {
			w.sync(w.dev, deployer.Deployed)
			require.NoError(w.t, w.dev.Pause(w.t.Context(), "freeze"))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dev/dags/a.py", "a = 1")
			c.prepare(w)
			if c.refused == "" {
				require.Len(t, w.promote().Copied, 1)
				return
			}
			require.Contains(t, w.refused(service.PromoteOptions{Force: true}), c.refused)
		})
	}
}

func (w *world) hold(r *deployer.Route, reason string) {
	w.edit(r, func(rec *state.Record) {
		rec.SetHold(state.Hold{Kind: state.Promoting, Reason: reason, At: r.Clock.Now()})
	})
}

// edit changes a route's record.
func (w *world) edit(r *deployer.Route, change func(*state.Record)) {
	w.t.Helper()
	rec, version, err := r.Store.ReadRecord(context.Background())
	require.NoError(w.t, err)
	change(&rec)
	_, err = r.Store.SwapRecord(context.Background(), rec, version)
	require.NoError(w.t, err)
}

// TestASourceThatMoved: what is remembered of a place that the target no longer has says nothing of the new one.
func TestASourceThatMoved(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	w.promote()
	w.wire(strings.ReplaceAll(oneSource, "prod/live/dags/", "prod/moved/"))
	require.Equal(t, []string{"dags/a.py"}, w.promote().Copied)
	require.Equal(t, map[string]string{"a.py": "a = 1"}, w.shown("prod", "moved/"))
}

// TestALostMemory: without it, what is there is compared anyway.
func TestALostMemory(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	w.promote()
	w.remove("state/prod/manifests/" + w.record(w.prod).Promotion.Manifest + ".jsonl.gz")
	require.Equal(t, 1, w.promote().Unchanged)
	require.Equal(t, []string{w.record(w.prod).Promotion.Manifest}, w.promotedManifests(), "it is remembered again, and once")
}

func TestKeptPathsAreRefused(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		w.put(fmt.Sprintf("dev/dags/%02d.py", i), "x = 1")
	}
	w.put("dev/dags/team/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	for i := range 20 {
		w.remove(fmt.Sprintf("dev/dags/%02d.py", i)) // so many are kept until somebody approves
	}
	w.put("dev/dags/team/a.py", "a = 2")
	w.sync(w.dev, deployer.Deployed)
	require.Contains(t, w.refused(service.PromoteOptions{Force: true}), "dags/07.py: dev keeps an earlier version of it (removal)")
	require.Equal(t, []string{"dags/team/a.py"}, w.promote("team").Copied, "that is none of them")
}

func TestOnePlaceIsRefused(t *testing.T) {
	w := newWorldOver(t, "mem", strings.ReplaceAll(oneSource, "prod/live/dags/", "dev/dags/inside/"))
	w.put("dev/dags/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	require.Contains(t, w.refused(service.PromoteOptions{}), "are one place")
}

func TestDryRunTellsAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.put("dev/dags/b.py", "b = 1")
	w.sync(w.dev, deployer.Deployed)
	w.promote()
	w.put("dev/dags/a.py", "a = 2")
	w.put("dev/dags/c.py", "c = 1")
	w.remove("dev/dags/b.py")
	w.sync(w.dev, deployer.Deployed)
	before := w.everything()
	result, err := w.try(service.PromoteOptions{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, before, w.everything())
	require.Equal(t, []string{"dags/a.py", "dags/c.py"}, result.Copied)
	require.Equal(t, []string{"dags/b.py"}, result.Removed)
	require.Zero(t, result.Unchanged)
	require.True(t, result.DryRun)
}
