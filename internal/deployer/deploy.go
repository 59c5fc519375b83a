package deployer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// monitoringDAG is what HYBRID Deployments expect from their client.
const monitoringDAG = "astronomer_monitoring_dag.py"

// deploy is step 9. The order is the protocol: nothing is finalized that the record does not name as pending.
func (x *run) deploy(ctx context.Context) error {
	x.warnOfHybrid()
	var d Deploy
	err := x.step("create", func() (err error) {
		d, err = x.Astro.Create(ctx, x.description())
		return err
		// A crash here leaves a deploy at Astro that is never finalized and changes nothing.
	})
	if err != nil {
		return err
	}
	pending := x.deployOf(d.ID)
	err = x.step("upload", func() (err error) {
		pending.TarballVersion, err = x.Astro.Upload(ctx, d, x.openBundle, x.packed.size)
		return err
		// A crash here leaves an uploaded version that nothing desires.
	})
	if err != nil {
		return err
	}
	if err := x.step("pending", func() error { return x.writePending(ctx, pending) }); err != nil {
		return err
	}
	return x.step("finalize", func() error { return x.Astro.Finalize(ctx, pending.DeployID, pending.TarballVersion) })
	// A crash here, or an error after the call took effect, leaves it pending: the next run finds it live and promotes it.
}

func (x *run) warnOfHybrid() {
	has := slices.ContainsFunc(x.plan.items, func(it item) bool { return it.path == x.archivePath(monitoringDAG) })
	if x.deployment.Hybrid && !has {
		x.Log.Warn("HYBRID Deployments expect "+monitoringDAG+" from their client: put one into the bucket", "route", x.Name)
	}
}

func (x *run) openBundle(ctx context.Context) (io.ReadCloser, error) {
	if small := &x.packed.bundle; !small.over {
		return io.NopCloser(bytes.NewReader(small.data)), nil
	}
	return x.Store.OpenBundle(ctx, x.id, x.packed.size)
}

// deployOf is what the record remembers of the deploy of what was packed.
func (x *run) deployOf(deployID string) state.Deploy {
	d := state.Deploy{Run: x.id, Manifest: x.id, DeployID: deployID, Digest: x.packed.digest, BundleSize: x.packed.size,
		Approved: x.plan.approved, Answers: x.answers}
	switch live := x.record.Live; {
	case x.rollback != nil && len(x.rollback.paths) == 0:
		d.RolledBack = x.rollback.run
	case x.rollback == nil && live != nil && live.Digest == d.Digest: // the same again, over a deploy of others or one that failed
		d.RolledBack = live.RolledBack
	}
	x.describe(&d)
	return d
}

// describe fills in what the plan and the view say of a deploy's contents.
func (x *run) describe(d *state.Deploy) {
	d.Files, d.Bytes, d.Kept, d.LeftOut = len(x.plan.items), x.plan.bytes, len(x.plan.kept), len(x.plan.leftOut)
	d.Warned, d.Verdicts = len(x.plan.warnings), x.verdictsOfPlan()
	d.Guarded, d.Sources = x.plan.guarded, map[string]int{}
	for i := range x.plan.items {
		d.Sources[x.plan.items[i].line.Source]++
	}
	d.Revision, d.Listed = "", time.Time{}
	if !x.plan.provisional {
		d.Revision, d.Listed = x.view.revision, x.view.listed
	}
}

// writePending names the deploy in the record before it is finalized. A run whose swap fails was overtaken and does not finalize.
func (x *run) writePending(ctx context.Context, pending state.Deploy) error {
	rec := x.record.Clone()
	if rec.Pending != nil {
		rec.Supersede(rec.Pending.TarballVersion) // given up, though its finalize may still land
	}
	rec.Pending = &pending
	if x.failed != nil {
		rec.Failed = x.failed
	}
	return x.swapNaming(ctx, rec)
	// A crash here leaves a pending deploy that was not finalized; the next run plans anew and supersedes it.
}

// recordDeployed is step 10: it makes the pending deploy the live one.
func (x *run) recordDeployed(ctx context.Context) error {
	rec := x.record.Clone()
	first := rec.Live == nil
	rec.Promote(x.Clock.Now().UTC(), x.view.listed)
	if x.rollback == nil { // that looked at no source: what held the last run may do so still
		rec.LiftHold(state.HeldBack)
		rec.Config = x.configuration()
	}
	x.noteUnclean(&rec)
	x.deployment.DesiredVersion = rec.Live.TarballVersion
	x.addRun(&rec, Deployed, x.reason())
	x.announce(&rec, Deployed, nil)
	x.claimPages(&rec, Deployed, nil)
	if err := x.step("record", func() error { return x.swap(ctx, rec) }); err != nil {
		return err
	}
	// A crash here leaves old bundles that the next deploy prunes, and people untold: the next run tells them.
	x.live = x.packed.files
	x.reportRecord()
	x.settled(Deployed)
	x.plan.items = nil // they refer to what was live before
	x.drift = ""       // whatever it was, that ended it
	done := x.result
	x.deployed = &done
	if !first { // nothing is older than a first deploy
		x.logPrune(x.prune(ctx))
	}
	return nil
}

// recordUnchanged ends a run that has nothing to change in what is live. The record is always swapped: that takes the fence
// from every older view, and gives up what was pending.
func (x *run) recordUnchanged(ctx context.Context) error {
	rec := x.record.Clone()
	if rec.Pending != nil {
		rec.Supersede(rec.Pending.TarballVersion)
		rec.Pending = nil
	}
	replaced, described, files := "", "", x.live
	if rec.Live != nil && (rec.Live.Revision != x.view.revision || x.plan.made && rec.Live.Verdicts != x.verdictsOfPlan()) {
		replaced, described = rec.Live.Manifest, rec.Live.Run
		var err error
		if files, err = x.renewManifest(ctx, rec.Live); err != nil {
			return err
		}
	}
	if !x.plan.provisional {
		rec.Listed = x.view.listed
	}
	rec.Approved = nil
	rec.LiftHold(state.HeldBack)
	rec.Config = x.configuration()
	x.sweep(ctx, &rec)
	x.askAirflow(ctx, &rec)
	x.addRun(&rec, Unchanged, x.reason())
	x.announce(&rec, Unchanged, nil)
	x.claimPages(&rec, Unchanged, nil)
	if err := x.step("record", func() error { return x.swapNaming(ctx, rec) }); err != nil {
		return err
	}
	// A crash here leaves the manifest that was replaced, for a later deploy to prune, and people untold: the next run tells them.
	x.live = files
	if replaced != "" && replaced != rec.Live.Run && replaced != described { // the description at Astro names that one, if the record is lost
		x.discardRun(ctx, replaced)
	}
	x.reportRecord()
	x.result.Added, x.result.Modified, x.result.Removed = nil, nil, nil
	x.settled(Unchanged)
	return nil
}

// reason is what there is to say of an outcome that is in order; "" is nothing.
func (x *run) reason() string {
	switch {
	case x.rollback == nil:
		return x.drift
	case x.drift == "":
		return x.rollback.says()
	}
	return x.rollback.says() + "; " + x.drift
}

// settled sets the outcome of a run that the record tells of.
func (x *run) settled(o Outcome) {
	x.result.Outcome, x.result.Reason, x.result.Began, x.result.Looked = o, x.reason(), time.Time{}, time.Time{}
	if !x.plan.provisional {
		x.result.Began, x.result.Looked = x.view.began, x.looked
	}
}

// renewManifest lets the live deploy remember the versions and fates that this listing shows for the same contents.
func (x *run) renewManifest(ctx context.Context, live *state.Deploy) (files []state.File, err error) {
	defer x.describe(live)
	files = x.plan.lines()
	if x.packed != nil {
		files = x.packed.files
	}
	if x.packed != nil && x.packed.stored { // the state had lost the bundle
		live.Run, live.Manifest, live.BundleSize = x.id, x.id, x.packed.size
		return files, nil
	}
	x.id, x.leftovers = x.NewRun(), true
	live.Manifest = x.id
	return files, x.Store.PutManifest(ctx, x.id, files)
	// A crash here leaves a manifest that nothing refers to; a later deploy prunes it.
}

// addRun appends this run to the record's history; runs of reconciles that found nothing take one line together.
func (x *run) addRun(rec *state.Record, outcome Outcome, reason string) {
	line := state.Run{Run: x.id, At: x.Clock.Now().UTC(), Outcome: string(outcome), Reason: reason}
	line.Seconds, line.Steps = x.tookSince()
	if rec.Live != nil {
		line.DeployID, line.Digest, line.Files = rec.Live.DeployID, rec.Live.Digest, rec.Live.Files
		line.Kept, line.LeftOut = rec.Live.Kept, rec.Live.LeftOut
	}
	if outcome == Deployed {
		line.Added, line.Modified, line.Removed = len(x.plan.added), len(x.plan.modified), len(x.plan.removed)
	}
	if n := len(rec.Runs); n > 0 && outcome == Unchanged && rec.Runs[n-1].Outcome == string(Unchanged) && rec.Runs[n-1].Digest == line.Digest {
		rec.Runs = rec.Runs[:n-1]
	}
	rec.AddRun(line)
}

// tookSince is how long this look at the sources took, and its steps that took a hundredth of a second at least.
func (x *run) tookSince() (seconds float64, steps map[string]float64) {
	for _, name := range sortedKeys(x.result.Seconds) {
		if took := x.result.Seconds[name] - x.stepsBefore[name]; took >= 0.01 {
			if steps == nil {
				steps = map[string]float64{}
			}
			steps[name] = math.Round(took*1000) / 1000
		}
	}
	return math.Round(x.Clock.Now().Sub(x.looked).Seconds()*1000) / 1000, steps
}

// orphanAge is longer than any run that may still come to name its bundle: functions end after 15 minutes (Lambda) or 60 (Cloud Run).
const orphanAge = 61 * time.Minute

// prune removes bundles and manifests that are neither in use, nor among the newest KeepBundles, nor perhaps of a run that is
// under way.
func (x *run) prune(ctx context.Context) error {
	return x.step("prune", func() error {
		stored, err := x.Store.Stored(ctx)
		if err != nil {
			return err
		}
		used := x.used()
		for _, old := range stored[:max(0, len(stored)-x.KeepBundles)] {
			if used[old.Run] || old.Age < orphanAge {
				continue
			}
			if err := x.Store.Discard(ctx, old.Run); err != nil {
				return fmt.Errorf("run %s: %w", old.Run, err)
			}
		}
		return nil
	})
}

// logPrune tells of a failure, which fails no run: a later one prunes again.
func (x *run) logPrune(err error) {
	if err != nil {
		x.Log.Warn("could not prune what is no longer used; a later run will", "route", x.Name, "error", err)
	}
}

// noteUnclean remembers that a run died, until what it left can be told from what living runs are working on.
func (x *run) noteUnclean(rec *state.Record) {
	if x.unclean {
		rec.Sweep = x.view.listed.Add(orphanAge)
	}
}

// sweep removes what dead runs left: when its time has come, and without a deploy that would prune.
func (x *run) sweep(ctx context.Context, rec *state.Record) {
	if !rec.Sweep.IsZero() && !x.view.listed.Before(rec.Sweep) {
		err := x.prune(ctx)
		if err == nil {
			err = x.Store.CleanUp(ctx, orphanAge)
		}
		if x.logPrune(err); err == nil {
			rec.Sweep = time.Time{}
		}
	}
	x.noteUnclean(rec)
}

// used names the runs whose bundle or manifest the record needs, as it is stored and as this run has it.
func (x *run) used() map[string]bool {
	used := map[string]bool{}
	for _, rec := range []*state.Record{&x.record, x.stored} {
		for _, d := range []*state.Deploy{rec.Live, rec.Pending} {
			if d != nil {
				used[d.Run], used[d.Manifest], used[d.RolledBack] = true, true, true
			}
		}
		if rec.Approved != nil {
			used[rec.Approved.Manifest] = true
		}
		if rec.Promotion != nil {
			used[rec.Promotion.Manifest] = true
		}
	}
	return used
}
