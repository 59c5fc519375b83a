//go:build mutations

package simulation

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutation switches one clause of the protocol off, in a copy of its source that only the compiler sees.
type mutation struct {
	name  string
	file  string // below internal
	from  string // exactly once in the file
	to    string
	seeds uint64 // of which class; 0: all
}

// mutations are the protocol's clauses, among them each that its model showed to be needed: the model's name stands behind. Its
// mut-start-pending needs a second clause to be off as well (a run that fails drops the bell), which is caught alone.
var mutations = []mutation{
	{"no fence", "state/record.go", "if old.v != \"\" {\n\t\twhen = bucket.IfVersion(old.v)", "when = bucket.Always\n\tif false {", 0},                                 // mut-no-fence
	{"no superseded list", "state/record.go", "func (r *Record) Supersede(version string) {\n", "func (r *Record) Supersede(version string) {\n\treturn\n", 0},         // mut-no-superseded
	{"a pending deploy that is given up is forgotten", "deployer/deploy.go", "rec.Supersede(rec.Pending.TarballVersion) // given up", "_ = 0 // given up", overtaking}, // reading-abandoned
	{"reads are not pinned", "deployer/fetch.go", "body := bucket.NewReader(ctx, s.Bucket, *it.object)", "loose := *it.object\n\tloose.Version = \"\"\n\tbody := bucket.NewReader(ctx, s.Bucket, loose)", 0},
	{"nobody rings", "state/lease.go", "t = Taken{Late: l.garbage || l.age > leaseLate}\n\t\treturn l.rung(), !l.Again && !l.garbage", "t = Taken{Late: l.garbage || l.age > leaseLate}\n\t\treturn l.rung(), false", 0}, // mut-no-bell
	{"one listing is enough for a removal", "deployer/settle.go", "if wait <= 0 && len(missing) == 0 {", "if wait <= 0 {", 0},
	{"the last listing alone removes", "deployer/settle.go", "v.doubtful = without(missing, before.missing)", "_ = before", 0},
	{"no guard", "deployer/guard.go", "if gone <= b.MaxRemovedFiles || gone*100 <= b.MaxRemovedPercent*g.Largest {", "if true {", 0},
	{"the guard forgets the last 24 hours", "state/record.go", "for _, s := range fresh(r.Sizes[source], now) {", "for _, s := range fresh(nil, now) {", 0},
	{"an empty source is deployed", "deployer/guard.go", "if empty, configured := b.plan.empty[source]; configured && empty {", "if empty, configured := b.plan.empty[source]; configured && empty && b.AllowEmpty {", 0},
	{"foreign DAGs are replaced", "deployer/guard.go", "if x.foreign && !x.mayReplace() {", "if false {", 0},
	{"no nonce", "state/record.go", "_, _ = rand.Read(b[:]) // never fails", "_ = rand.Reader", 0},
	{"after the bell the Deployment is not read again", "deployer/run.go", "if err := x.reconcile(ctx); err != nil { // step 3", "if x.result.Outcome == Deployed || x.result.Outcome == Unchanged {\n\t} else if err := x.reconcile(ctx); err != nil {", 0},                                                                                               // reading-bell-to-4
	{"a run that fails drops the bell", "state/lease.go", "return lease{Again: true}, true", "return lease{}, true", dying},                                                                                                                                                                                                                                // reading-fail-quiet
	{"a run that fails rings its own lease alone", "state/lease.go", "\t\t\treturn lease{Again: true}, true\n\t\t}\n\t\treturn l.rung(), !l.Again && !l.garbage", "\t\t\treturn lease{Again: true}, true\n\t\t}\n\t\treturn l.rung(), false", overtaking},                                                                                                  // reading-ring-own
	{"unchanged does not swap the record", "deployer/deploy.go", "if err := x.step(\"record\", func() error { return x.swapNaming(ctx, rec) }); err != nil {", "if x.record.Pending == nil {\n\t} else if err := x.step(\"record\", func() error { return x.swapNaming(ctx, rec) }); err != nil {", 0},                                                     // reading-no-swap
	{"the record is read again after the listing", "deployer/run.go", "if x.packed == nil || x.packed.same {", "if _, v, err := x.Store.ReadRecord(ctx); err == nil {\n\t\tx.version = v\n\t}\n\tif x.packed == nil || x.packed.same {", 0},                                                                                                                // mut-late-read
	{"release ignores the bell", "state/lease.go", "again = mine && (again || l.Again)", "again = false", 0},                                                                                                                                                                                                                                               // mut-release
	{"covered by the time of the deploy", "deployer/deploy.go", "d.Revision, d.Listed = x.view.revision, x.view.listed", "d.Revision, d.Listed = x.view.revision, time.Now().Add(time.Minute)", 0},                                                                                                                                                         // mut-start-finalize
	{"no restart when the last swap fails", "deployer/deploy.go", "if err := x.step(\"record\", func() error { return x.swap(ctx, rec) }); err != nil {\n\t\treturn err", "if err := x.step(\"record\", func() error { return x.swap(ctx, rec) }); err != nil {\n\t\tif err == state.ErrOvertaken {\n\t\t\treturn nil\n\t\t}\n\t\treturn err", overtaking}, // mut-no-restart
	{"a superseded version stays live", "deployer/drift.go", "x.redeploy = true\n\t\tx.Log.Warn(\"a superseded deploy", "x.Log.Warn(\"a superseded deploy", 0},
	{"covered does not look at the bell", "deployer/lease.go", "return !owed, err", "_ = owed\n\treturn true, err", dying},
	{"a late holder covers", "state/lease.go", "|| l.Holder != \"\" && l.age > leaseLate, err", ", err", dying},
	{"no quiet period", "deployer/settle.go", "return min(wait, x.QuietPeriod)", "return min(wait, 0)", 0},
	{"approvals wait for the bucket", "deployer/run.go", "&& !x.foreign && x.record.Approved == nil", "&& !x.foreign", 0},
	{"pauses are ignored", "deployer/hold.go", "if h := x.record.Hold(state.Paused); h != nil {", "if h := x.record.Hold(state.Paused); h != nil && false {", 0},
	{"what is live is deployed again", "deployer/pack.go", "x.packed.same = live != nil && live.Digest == x.packed.digest && !x.redeploy", "x.packed.same = live == nil && false", 0},
	{"who shares a lane is answered with any outcome", "deployer/share.go", "covered := r.arrived.Before(result.Began)", "covered := true", 0},
	{"who shares a lane is answered by the outcome's time", "deployer/deploy.go", "x.result.Began, x.result.Looked = x.view.began, x.looked", "x.result.Began, x.result.Looked = x.Clock.Now(), x.looked", 0},
	{"old bundles stay", "deployer/deploy.go", "x.logPrune(x.prune(ctx))", "x.logPrune(nil)", 0},
	{"a verdict outlives its object", "deployer/check.go", "r.Key == o.Key && r.Version == o.Version", "r.Key == o.Key", 0},
	{"a verdict outlives its content", "deployer/check.go", "x.checks.known[r.SHA256] = n", "x.checks.known[x.live[i].SHA256] = n", 0},
	{"another checker's verdict is taken for this one's", "deployer/check.go", ", by: n.refused.By}", "}", 0},
	{"what was broken goes live when it cannot be checked", "deployer/check.go", "if verdict != nil && verdict.unchecked != \"\" {", "if false {", 0},
	{"a kept file is taken for the new one", "deployer/check.go", "it.object, it.line = nil, it.live", "it.object = nil", 0},
	{"what is left out is named as live", "deployer/check.go", "if !it.leftOut {", "if true {", 0},
	{"nothing holds for a broken file", "deployer/check.go", "case Hold:\n\t\tx.checks.heldBy = append(x.checks.heldBy, n)", "case Hold:", 0},
	{"a rollback is forgotten by the next run", "deployer/plan.go", "case isPinned(b.pins[p], source, o):", "case false:", 0},
	{"a rollback outlives its object", "deployer/rollback.go", "f.Pinned.Key == o.Key && f.Pinned.Version == o.Version", "f.Pinned.Key == o.Key", 0},
	{"a rollback deploys what the record does not name", "deployer/deploy.go", "rec.Failed = x.failed\n\t}\n", "rec.Failed = x.failed\n\t}\n\tif x.rollback != nil {\n\t\tx.record = rec\n\t\treturn nil\n\t}\n", 0},
	{"a rollback drops the bell that it takes over", "deployer/run.go", "again := x.unclean", "again := false", 0},
	{"a rollback that was overtaken is done again", "deployer/rollback.go", "if x.rollback.isDone(&x.record) {", "if false {", 0},
	{"a rollback of what was left out pins nothing", "deployer/rollback.go", "now := cmp.Or(b.now[p], b.left[p])", "now := cmp.Or(b.now[p])", 0},
	{"the run before is the one with the name before", "deployer/rollback.go", "\treturn past, nil\n}", "\tslices.SortFunc(past, func(a, b state.Run) int { return strings.Compare(b.Run, a.Run) })\n\treturn past, nil\n}", 0},
	{"a rollback of some paths is of all", "deployer/rollback.go", "if len(b.rollback.paths) > 0 {", "if false {", 0},
	{"notices are dropped before they are sent", "deployer/notices.go", "changed := x.sendAll(ctx, rec.Outbox)", "gone := rec.Clone()\n\tgone.Outbox = nil\n\tif x.swap(ctx, gone) != nil {\n\t\treturn\n\t}\n\tchanged := x.sendAll(ctx, rec.Outbox)", 0},
	{"what was sent is sent again", "deployer/notices.go", "if rec.Outbox = keep; !changed {", "if _ = changed; true {", 0},
	{"people are told again and again", "deployer/notices.go", "rec.Told.State, rec.Told.Reason = kind, state.CutReason(why.Error())", "_ = kind", 0},
	{"nobody tells of what a later run finished", "deployer/reconcile.go", "if err := x.announceFinished(ctx, &rec); err != nil {", "if err := error(nil); err != nil {", 0},
	{"pages that could not be written stay old", "deployer/status.go", "rec.Shown = \"\"", "_ = rec.Shown", 0},
	{"a deploy is called live when it is finalized", "deployer/follow.go", "if d.RunningVersion == d.DesiredVersion && d.Healthy {", "if d.Healthy || true {", 0},
	{"a deploy is called live by the next run", "deployer/drift.go", "x.deployment.RunningVersion == x.deployment.DesiredVersion && x.deployment.Healthy", "true", 0},
	{"broken files empty a source", "deployer/check.go", "if shipped[source] == 0 &&", "if false &&", 0},
}

// caughtBy are the schedules that found those mutations that take long to find. They are tried first: it saves most of the search, which
// follows where a change of the protocol or of the simulator made another schedule of a seed.
var caughtBy = map[string]uint64{
	"no superseded list":                                  49,
	"reads are not pinned":                                93,
	"nobody rings":                                        48,
	"the last listing alone removes":                      1016,
	"after the bell the Deployment is not read again":     86,
	"a run that fails drops the bell":                     30709,
	"a run that fails rings its own lease alone":          625,
	"release ignores the bell":                            197,
	"a superseded version stays live":                     64,
	"a late holder covers":                                1349,
	"who shares a lane is answered with any outcome":      192,
	"who shares a lane is answered by the outcome's time": 397,
	"a rollback that was overtaken is done again":         204,
	"a rollback of what was left out pins nothing":        89,
	"pages that could not be written stay old":            456,
}

// TestMutationsAreCaught: a simulator that finds nothing must be able to find something.
func TestMutationsAreCaught(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			simulate := m.compile(t)
			var output string
			var err error
			if seed, known := caughtBy[m.name]; known {
				output, err = simulate(seed, 1, 1)
			}
			if err == nil {
				output, err = simulate(m.search())
			}
			require.Error(t, err, "the schedules found nothing")
			require.Contains(t, output, "replay it with", "the schedules themselves must find it")
			_, found, _ := strings.Cut(output, "the first is: ")
			found, seed, _ := strings.Cut(found, "\n")
			seed, _, _ = strings.Cut(seed, "\n")
			t.Log(found, strings.TrimSpace(seed))
		})
	}
}

// search says which schedules to try: from which seed on, how many of them, and how far one is from the next.
func (m mutation) search() (seed uint64, schedules, step int) {
	if m.seeds == 0 {
		return 1, 3000, 1
	}
	return m.seeds, 3000, classes
}

// compile returns a run of schedules over the mutated source.
func (m mutation) compile(t *testing.T) func(seed uint64, schedules, step int) (string, error) {
	path, err := filepath.Abs(filepath.Join("..", m.file))
	require.NoError(t, err)
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(source), m.from), "the clause must stand in %s exactly once: %s", m.file, m.from)
	dir := t.TempDir()
	mutated := filepath.Join(dir, filepath.Base(m.file))
	require.NoError(t, os.WriteFile(mutated, []byte(strings.Replace(string(source), m.from, m.to, 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))
	binary := filepath.Join(dir, "simulation.test")
	output, err := exec.Command("go", "test", "-c", "-overlay", overlayFile, "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", output)
	return func(seed uint64, schedules, step int) (string, error) {
		output, err := exec.Command(binary, "-test.run=^TestSchedules$", fmt.Sprint("-seed=", seed), fmt.Sprint("-schedules=", schedules),
			fmt.Sprint("-step=", step)).CombinedOutput()
		return string(output), err
	}
}
