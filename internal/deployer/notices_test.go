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

	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// notifier notes what each target gets; those that are down get nothing.
type notifier struct {
	targets []string
	mute    map[string]bool // kinds that nobody wants
	down    map[string]bool
	mu      sync.Mutex
	got     []string // target, kind and what it is about
	ids     map[string]int
}

func (n *notifier) Targets(kind string) []string {
	if n.mute[kind] {
		return nil
	}
	return n.targets
}

func (n *notifier) Send(_ context.Context, target string, notice *state.Notice) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down[target] {
		return errors.New("connection refused")
	}
	about := notice.Reason
	for _, f := range notice.Files {
		about += " " + f.Path + "(" + f.Reason + ")"
	}
	n.got = append(n.got, strings.TrimSpace(target+" "+notice.Kind+": "+strings.TrimSpace(about)))
	n.ids[target+notice.ID]++
	return nil
}

// taken is what arrived since it was last called.
func (n *notifier) taken() []string {
	got := slices.Sorted(slices.Values(n.got)) // they are sent side by side
	n.got = nil
	return got
}

func newNotifyingWorld(t *testing.T) (*world, *notifier) {
	w, _ := newCheckedWorld(t)
	n := &notifier{targets: []string{"ops"}, mute: map[string]bool{state.NoticeDeployed: true}, down: map[string]bool{}, ids: map[string]int{}}
	w.route.Notifier = n
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Empty(t, n.taken(), "nothing is wrong, and nobody asked to be told of deploys")
	return w, n
}

func TestPeopleAreToldOnceOfEachChange(t *testing.T) {
	w, n := newNotifyingWorld(t)
	again := func() {
		w.sync()
		w.sync()
		require.Empty(t, n.taken(), "nothing changed")
	}
	w.put("dags/a.py", "BROKEN")
	w.put("dags/new.py", "BROKEN")
	w.put("dags/c.pyc", "left out on purpose")
	w.sync()
	require.Equal(t, []string{"ops kept: dags/a.py(syntax)", "ops left_out: dags/new.py(syntax)"}, n.taken())
	again()
	w.put("dags/a.py", "BROKEN again") // its author should hear of each upload
	w.sync()
	require.Equal(t, []string{"ops kept: dags/a.py(syntax)"}, n.taken())
	w.put("dags/a.py", "a = 2")
	w.delete("dags/new.py")
	w.sync()
	require.Equal(t, []string{"ops recovered: dags/a.py(syntax) dags/new.py(syntax)"}, n.taken())
	again()

	require.NoError(t, w.route.Pause(context.Background(), "freeze"))
	w.sync()
	require.Regexp(t, `^ops held: paused since .* \(freeze\): dagbucket resume lets it go on$`, n.taken()[0])
	again()
	require.NoError(t, w.route.Resume(context.Background()))
	w.sync()
	require.Regexp(t, `^ops recovered: it was held: paused since`, n.taken()[0])
	again()

	w.delete("dags/a.py")
	w.delete("dags/b.py")
	w.sync()
	require.Contains(t, n.taken()[0], "ops held: s3://acme/dags/ is empty")
	again()
}

func TestFailuresAreToldOnce(t *testing.T) {
	w, n := newNotifyingWorld(t)
	w.put("dags/a.py", "a = 2")
	w.astro.fault = func(call string, _ bool) error {
		if call == "create" {
			return fmt.Errorf("request %d: Astro is down", w.runs) // the text differs each time
		}
		return nil
	}
	w.requireOutcome(deployer.Failed, w.sync())
	require.Empty(t, n.taken(), "it may pass before anybody reads of it")
	w.requireOutcome(deployer.Failed, w.sync())
	require.Len(t, n.taken(), 1)
	w.requireOutcome(deployer.Failed, w.sync())
	require.Empty(t, n.taken())
	w.astro.fault = nil
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Contains(t, n.taken()[0], "ops recovered: it was failed: ")

	w.astro.err = &deployer.PermanentError{Err: errors.New("the token has no right: grant it")}
	w.requireOutcome(deployer.Failed, w.sync())
	require.Equal(t, []string{"ops failed: the token has no right: grant it"}, n.taken(), "this will not pass")
	w.requireOutcome(deployer.Failed, w.sync())
	w.astro.err = &deployer.PermanentError{Err: errors.New("DAG deploys are off")}
	w.requireOutcome(deployer.Failed, w.sync())
	require.Equal(t, []string{"ops failed: DAG deploys are off"}, n.taken(), "another reason is a change")
}

func TestDriftIsTold(t *testing.T) {
	w, n := newNotifyingWorld(t)
	w.foreign("theirs")
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"ops drift: a DAG-only deploy from elsewhere (id of theirs) replaced what was deployed here; it stays until the bucket changes"}, n.taken())
	w.sync()
	require.Empty(t, n.taken())
	w.put("dags/a.py", "a = 2")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"ops recovered: the Deployment's DAGs are those that were deployed from here again"}, n.taken())

	w.route.OnDrift = deployer.Redeploy
	w.foreign("others")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, []string{"ops drift: a DAG-only deploy from elsewhere (id of others) replaced what was deployed here; deploying again"}, n.taken())
	w.sync()
	require.Empty(t, n.taken(), "that ended with the same run")
}

func TestDeploysAreToldOnRequest(t *testing.T) {
	w, n := newNotifyingWorld(t)
	n.mute = nil
	w.put("dags/a.py", "a = 2")
	w.delete("dags/b.py")
	w.sync()
	require.Equal(t, []string{"ops deployed: dags/a.py(modified) dags/b.py(removed)"}, n.taken())
	require.Contains(t, w.requireOutcome(deployer.Deployed, w.rollback("")).Reason, "rolled back")
	got := n.taken()
	require.Len(t, got, 1, "what a person rolled back is no news of kept files")
	require.Contains(t, got[0], "ops deployed: rolled back to run")
}

// TestTargetsThatAreDown has the outcome of a run depend on nothing that is told.
func TestTargetsThatAreDown(t *testing.T) {
	w, n := newNotifyingWorld(t)
	n.targets, n.down = []string{"ops", "team"}, map[string]bool{"ops": true, "team": true}
	w.put("dags/a.py", "BROKEN")
	w.put("dags/b.py", "b = 2")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, map[string]string{"dags/a.py": "a = 1", "dags/b.py": "b = 2"}, w.live())
	require.Len(t, w.record().Outbox, 1)
	n.down["team"] = false
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"team kept: dags/a.py(syntax)"}, n.taken())
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Empty(t, n.taken())
	n.down["ops"] = false
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, []string{"ops kept: dags/a.py(syntax)"}, n.taken())
	require.Empty(t, w.record().Outbox)

	n.down["ops"] = true
	w.put("dags/a.py", "BROKEN anew")
	w.sync()
	w.clock.advance(24 * time.Hour)
	w.sync()
	require.Empty(t, w.record().Outbox, "a day later nobody wants to read it")
}

// TestNoticesOutliveACrash kills the run after each write of the record: people are told all the same, by the next run.
func TestNoticesOutliveACrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		for dies := 1; dies <= 6; dies++ {
			w, n := newNotifyingWorld(t)
			w.put("dags/a.py", "BROKEN")
			puts, dead := 0, false
			var mu sync.Mutex // a bundle is written while another one is read
			w.states.Fault = func(op membucket.Op, key string, tookEffect bool) error {
				mu.Lock()
				defer mu.Unlock()
				if op == membucket.Put && tookEffect == after {
					puts++
				}
				if dead = dead || puts == dies; dead {
					return errKilled
				}
				return nil
			}
			w.sync()
			w.states.Fault = nil
			told := len(n.taken())
			for range 3 {
				w.sync()
			}
			require.Equal(t, "kept", w.manifest()["dags/a.py"].State)
			told += len(n.taken())
			require.Contains(t, []int{1, 2}, told, "at least once; write %d, after effect %v", dies, after)
			require.Empty(t, w.record().Outbox)
			require.Len(t, n.ids, 1, "a repeat has the same ID")
		}
	}
}

func TestTheOutboxIsBounded(t *testing.T) {
	w, n := newNotifyingWorld(t)
	n.down["ops"] = true
	for i := range 60 {
		w.put("dags/a.py", fmt.Sprintf("BROKEN %d", i))
		w.sync()
	}
	require.Len(t, w.record().Outbox, 50)
}

// TestARollbackEndsNoHoldOfTheSources since it did not look at them.
func TestARollbackEndsNoHoldOfTheSources(t *testing.T) {
	w, n := newNotifyingWorld(t)
	w.put("dags/a.py", "a = 2")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.delete("dags/a.py")
	w.delete("dags/b.py")
	w.requireOutcome(deployer.Held, w.sync())
	require.Len(t, n.taken(), 1)
	w.requireOutcome(deployer.Deployed, w.rollback(""))
	require.Empty(t, n.taken())
	require.NotNil(t, w.record().Hold(state.HeldBack))
	w.requireOutcome(deployer.Held, w.sync())
	require.Empty(t, n.taken(), "that is known")
}
