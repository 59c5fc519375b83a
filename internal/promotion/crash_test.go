package promotion_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

var errKilled = errors.New("killed")

// steps names every call that a promotion makes of the storages, before and after its effect, and lets a test strike one of them.
type steps struct {
	mu     sync.Mutex
	count  map[string]int
	names  []string
	strike func(name string) error
}

var runName = regexp.MustCompile(`\d{8}T\d{6}Z-[0-9a-f]{8}`)

// watch has every call pass by strike, which is not called concurrently.
func (w *world) watch(strike func(name string) error) *steps {
	s := &steps{count: map[string]int{}, strike: strike}
	for where, b := range w.memory {
		b.Fault = func(op membucket.Op, key string, after bool) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			name := fmt.Sprintf("%s %s %s", where, op, runName.ReplaceAllString(key, "RUN"))
			if after {
				name = "after " + name
			}
			s.count[name]++
			name = fmt.Sprintf("%s #%d", name, s.count[name])
			s.names = append(s.names, name)
			return s.strike(name)
		}
	}
	return s
}

func (w *world) unwatch() {
	for _, b := range w.memory {
		b.Fault = nil
	}
}

var effect = regexp.MustCompile(`^(after )?\w+ (put|copy|delete) `)

// prepared is a world in which a promotion has everything to do: two files changed, one of them overwritten again since it is live, one new,
// one gone, and one that is the target's own.
func prepared(t *testing.T) *world {
	w := newWorld(t)
	w.numbered(5)
	w.sync(w.dev, deployer.Deployed)
	w.promote()
	w.put("prod/live/dags/own.py", "own")
	w.sync(w.prod, deployer.Deployed)
	w.put("dev/dags/team0/dag 000.py", "changed")
	w.put("dev/dags/team1/dag 001.py", "changed too")
	w.put("dev/dags/new.py", "new")
	w.remove("dev/dags/team4/dag 004.py")
	w.sync(w.dev, deployer.Deployed)
	w.put("dev/dags/team1/dag 001.py", "not live yet")
	return w
}

// TestAPromotionKilledAtAnyStep kills a promotion before and after each of its calls, or lets just that call fail. The target's runs deploy all
// of it or nothing, and the same promotion again comes to the same end.
func TestAPromotionKilledAtAnyStep(t *testing.T) {
	whole := prepared(t)
	before := whole.live("prod")
	seen := whole.watch(func(string) error { return nil })
	_, err := whole.try(service.PromoteOptions{})
	require.NoError(t, err)
	whole.unwatch()
	whole.sync(whole.prod, deployer.Deployed)
	want := whole.end()
	after := whole.live("prod")
	require.Equal(t, "changed too", after["dags/team1/dag 001.py"])
	require.Len(t, after, 6)
	require.GreaterOrEqual(t, len(seen.names), 40, "%v", seen.names)

	for _, name := range seen.names {
		for _, dies := range []bool{true, false} {
			if !effect.MatchString(name) && (!dies || strings.HasPrefix(name, "after ")) {
				continue // without an effect it makes no difference
			}
			t.Run(fmt.Sprintf("%s, dies: %t", name, dies), func(t *testing.T) {
				t.Parallel()
				w := prepared(t)
				deploys, struck := w.deploys(), false
				w.watch(func(step string) error {
					if step == name || dies && struck {
						struck = true
						return errKilled
					}
					return nil
				})
				_, err := w.try(service.PromoteOptions{})
				w.unwatch()
				require.True(t, struck)
				if dies && !strings.Contains(name, "state delete") {
					require.Error(t, err)
				}
				between := w.prod.Sync(t.Context(), nil) // woken by the copies' events
				require.Contains(t, []any{before, after}, w.live("prod"), "half of it was deployed: %v", between)
				w.promote()
				require.NotEqual(t, deployer.Held, w.prod.Sync(t.Context(), nil).Outcome)
				require.Equal(t, want, w.end())
				require.Equal(t, after, w.live("prod"))
				require.Equal(t, deploys+1, w.deploys(), "one deploy")
			})
		}
	}
}

// end is all that a promotion decides on: what is in the target, what is remembered, and what is told.
func (w *world) end() map[string]any {
	w.t.Helper()
	rec := w.record(w.prod)
	require.Empty(w.t, rec.Holds)
	require.Equal(w.t, "dev", rec.Promotion.From)
	memory, err := w.prod.Store.ReadManifest(context.Background(), rec.Promotion.Manifest)
	require.NoError(w.t, err)
	remembered := map[string]string{}
	for _, f := range memory {
		require.Equal(w.t, state.Live, f.State)
		remembered[f.Path] = f.SHA256
	}
	require.Len(w.t, remembered, len(memory))
	return map[string]any{"shown": w.shown("prod", ""), "remembered": remembered, "prod": w.told(w.prod), "dev": w.told(w.dev)}
}

// interruptAt promotes until a copy of this key, which takes effect.
func (w *world) interruptAt(key string) {
	w.t.Helper()
	dead := false
	w.watch(func(name string) error {
		if dead = dead || strings.HasPrefix(name, "after prod copy "+key); dead {
			return errKilled
		}
		return nil
	})
	_, err := w.try(service.PromoteOptions{})
	w.unwatch()
	require.ErrorIs(w.t, err, errKilled)
	require.NotNil(w.t, w.record(w.prod).Hold(state.Promoting))
}

// once does something before the first call of a kind below a prefix.
func (w *world) once(name string, op membucket.Op, prefix string, do func()) {
	var mu sync.Mutex
	done := false
	w.memory[name].Fault = func(called membucket.Op, key string, after bool) error {
		if called != op || after || !strings.HasPrefix(key, prefix) {
			return nil
		}
		mu.Lock()
		first := !done
		done = true
		mu.Unlock()
		if first {
			do()
		}
		return nil
	}
}

// TestDevMovesOnAfterAnInterruption: what the interrupted promotion left is known to be its own.
func TestDevMovesOnAfterAnInterruption(t *testing.T) {
	w := prepared(t)
	w.interruptAt("live/dags/team0/dag 000.py")
	w.put("dev/dags/team0/dag 000.py", "changed again")
	w.put("dev/dags/team4/dag 004.py", "back")
	w.sync(w.dev, deployer.Deployed)
	w.promote()
	w.sync(w.prod, deployer.Deployed)
	live := w.live("prod")
	require.Equal(t, "own", live["dags/own.py"])
	delete(live, "dags/own.py")
	require.Equal(t, w.live("dev"), live)
}

// TestBackAfterAnInterruption: what the interrupted promotion removed was removed by nobody else.
func TestBackAfterAnInterruption(t *testing.T) {
	w := prepared(t)
	w.watch(func(name string) error {
		if strings.HasPrefix(name, "after prod delete live/") {
			return errKilled
		}
		return nil
	})
	_, err := w.try(service.PromoteOptions{})
	w.unwatch()
	require.ErrorIs(t, err, errKilled)
	w.put("dev/dags/team4/dag 004.py", "n = 4")
	w.sync(w.dev, deployer.Deployed)
	require.Contains(t, w.promote().Copied, "dags/team4/dag 004.py")
}

// TestLostAnswers: a client that repeats a call whose answer was lost is told that the version is another one now.
func TestLostAnswers(t *testing.T) {
	w := prepared(t)
	w.memory["prod"].Fault = func(op membucket.Op, key string, after bool) error {
		if after && strings.HasPrefix(key, "live/dags/") && (op == membucket.Copy || op == membucket.Delete) {
			return bucket.ErrChanged
		}
		return nil
	}
	result := w.promote()
	require.Len(t, result.Copied, 3)
	require.Len(t, result.Removed, 1)
	w.sync(w.prod, deployer.Deployed)
}

// TestARepeatTakesTheRestAlong: lifting the hold with half of it left would deploy that half.
func TestARepeatTakesTheRestAlong(t *testing.T) {
	w := prepared(t)
	w.interruptAt("live/dags/team0/dag 000.py")
	result := w.promote("new.py")
	require.Equal(t, []string{"dags/new.py", "dags/team0/dag 000.py", "dags/team1/dag 001.py"}, result.Copied)
	require.Equal(t, []string{"dags/team4/dag 004.py"}, result.Removed)
}

func TestResumeDeploysWhatIsThere(t *testing.T) {
	w := prepared(t)
	w.interruptAt("live/dags/team0/dag 000.py")
	w.sync(w.prod, deployer.Held)
	require.NoError(t, w.prod.Resume(t.Context()))
	w.sync(w.prod, deployer.Deployed)
	require.Equal(t, "changed", w.live("prod")["dags/team0/dag 000.py"])
	w.promote()
	w.sync(w.prod, deployer.Deployed)
	require.Equal(t, "changed too", w.live("prod")["dags/team1/dag 001.py"])
}

func TestTwoPromotionsAtOnce(t *testing.T) {
	w := prepared(t)
	w.once("prod", membucket.Copy, "live/dags/t", func() { require.Len(t, w.promote().Copied, 3) })
	_, err := w.try(service.PromoteOptions{})
	require.ErrorContains(t, err, "this promotion was ended from elsewhere")
	deploys := w.deploys()
	w.sync(w.prod, deployer.Deployed)
	require.Equal(t, deploys+1, w.deploys())
	require.Equal(t, []string{"5 files copied, 0 removed, from dev", "3 files copied, 1 removed, from dev"}, w.told(w.prod))
}

func TestAnotherOneTakesOver(t *testing.T) {
	w := prepared(t)
	w.once("prod", membucket.Copy, "live/dags/t", func() { w.hold(w.prod, "from dev, run other") })
	_, err := w.try(service.PromoteOptions{})
	require.ErrorContains(t, err, "another one (from dev, run other) took over")
	require.Equal(t, "from dev, run other", w.record(w.prod).Hold(state.Promoting).Reason)
}

// hasty is a clock by which every look at it comes long after the last.
type hasty struct {
	deployer.Clock
	looks *atomic.Int64
}

func (h hasty) Now() time.Time { return h.Clock.Now().Add(time.Duration(h.looks.Add(1)) * time.Minute) }

// TestALiftedHoldIsNoticed before everything is written.
func TestALiftedHoldIsNoticed(t *testing.T) {
	w := prepared(t)
	w.once("prod", membucket.Copy, "live/dags/t", func() { require.NoError(t, w.prod.Resume(t.Context())) })
	w.prod.Clock = hasty{w.prod.Clock, new(atomic.Int64)}
	_, err := w.try(service.PromoteOptions{})
	require.ErrorContains(t, err, "the hold of prod was lifted")
	require.Contains(t, w.shown("prod", "live/dags/"), "team4/dag 004.py", "removals come last")
}

func TestAnotherRoutesPromotionIsInTheWay(t *testing.T) {
	w := prepared(t)
	w.hold(w.prod, "from staging, run x")
	require.Contains(t, w.refused(service.PromoteOptions{Force: true}), ": another promotion (from staging, run x) writes into the sources of prod since ")
}

// TestChangedOnTheWay: what others write while a promotion runs is not overwritten unseen.
func TestChangedOnTheWay(t *testing.T) {
	w := prepared(t)
	w.once("prod", membucket.Copy, "live/dags/t", func() { w.put("prod/live/dags/team0/dag 000.py", "by hand") })
	result, err := w.try(service.PromoteOptions{})
	require.NoError(t, err)
	require.Len(t, result.Refused, 1)
	require.Equal(t, "dags/team0/dag 000.py", result.Refused[0].Path)
	require.Contains(t, result.Warnings[0].Why, "prod stays held")
	require.Equal(t, "by hand", w.shown("prod", "live/dags/")["team0/dag 000.py"])
	w.sync(w.prod, deployer.Held)
	result, err = w.try(service.PromoteOptions{Force: true})
	require.NoError(t, err)
	require.Empty(t, result.Refused)
	w.sync(w.prod, deployer.Deployed)
	require.Equal(t, "changed", w.live("prod")["dags/team0/dag 000.py"])
}

// TestChangedJustBefore: what others write over a file that is gone on dev is not removed unseen, nor what they make where nothing was overwritten.
func TestChangedJustBefore(t *testing.T) {
	for name, c := range map[string]struct {
		op   membucket.Op
		path string
	}{
		"a removal":  {membucket.Delete, "team4/dag 004.py"},
		"a new file": {membucket.Copy, "new.py"},
	} {
		t.Run(name, func(t *testing.T) {
			w := prepared(t)
			w.once("prod", c.op, "live/dags/"+c.path, func() { w.put("prod/live/dags/"+c.path, "by hand") })
			result, err := w.try(service.PromoteOptions{})
			require.NoError(t, err)
			require.Len(t, result.Refused, 1)
			require.Equal(t, "dags/"+c.path, result.Refused[0].Path)
			require.Equal(t, "by hand", w.shown("prod", "live/dags/")[c.path])
		})
	}
}

// TestOvertakenAtTheBeginning: a run, or a person, that writes the target's record meanwhile is no hindrance.
func TestOvertakenAtTheBeginning(t *testing.T) {
	w := prepared(t)
	w.once("state", membucket.Put, "prod/record.json", func() { require.NoError(t, w.prod.Pause(t.Context(), "freeze")) })
	require.Len(t, w.promote().Copied, 3)
	require.Equal(t, []string{w.record(w.prod).Promotion.Manifest}, w.promotedManifests())
	require.NotNil(t, w.record(w.prod).Hold(state.Paused), "what overtook it stays")
	require.Nil(t, w.record(w.prod).Hold(state.Promoting))
}

// promotedManifests are those of prod that no deploy refers to.
func (w *world) promotedManifests() (names []string) {
	for _, name := range keys(w.shown("state", "prod/manifests/")) {
		name = strings.TrimSuffix(name, ".jsonl.gz")
		if live := w.record(w.prod).Live; live == nil || live.Manifest != name {
			names = append(names, name)
		}
	}
	return names
}

// TestARunOfTheTargetIsStopped: one that listed before the promotion began finalizes nothing of it.
func TestARunOfTheTargetIsStopped(t *testing.T) {
	w := prepared(t)
	w.put("prod/live/dags/own.py", "own, changed")
	deploys := w.deploys()
	w.once("state", membucket.Put, "prod/bundles/", func() { // it has listed, and not deployed yet
		ctx, cancel := context.WithCancel(t.Context())
		w.progress = func(p deployer.Progress) {
			if p.Step == "copy" {
				cancel()
			}
		}
		_, err := w.service.Promote(ctx, w.dev, w.prod, service.PromoteOptions{})
		require.ErrorIs(t, err, context.Canceled)
		w.progress = nil
	})
	held := w.sync(w.prod, deployer.Held)
	require.Contains(t, held.Reason, "promotion")
	require.Equal(t, deploys, w.deploys())
	w.promote()
	w.sync(w.prod, deployer.Deployed)
	require.Equal(t, deploys+1, w.deploys())
}
