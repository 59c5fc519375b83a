package deployer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/state"
)

// recentDeploys is how far back a deploy of ours is looked for when the record is lost: the API's page limit is 1,000.
const recentDeploys = 200

// reconcile is step 3: it reads the record, then the Deployment, and settles what an earlier run left open. The record is
// read before anything is listed; that is what makes its compare-and-swap a fence against older views.
func (x *run) reconcile(ctx context.Context) error {
	x.id, x.looked, x.stepsBefore = x.NewRun(), x.Clock.Now(), maps.Clone(x.result.Seconds)
	x.stored = nil // what an earlier look read says nothing any more
	err := x.step("record", func() (err error) {
		x.record, x.version, err = x.Store.ReadRecord(ctx)
		return err
	})
	if err != nil {
		return err
	}
	stored := x.record
	x.stored = &stored
	x.plan, x.packed, x.view = plan{}, nil, view{}
	x.live, x.liveKnown, x.bundleGone, x.foreign, x.replaces = nil, true, false, false, ""
	x.redeploy, x.drift, x.notRun, x.answers, x.failed, x.refused = false, "", false, "", nil, refusal{}
	err = x.step("preflight", func() (err error) {
		x.deployment, err = x.Astro.Deployment(ctx)
		return err
	})
	if err != nil {
		return err
	}
	target := state.Target{Organization: x.deployment.Organization, Deployment: x.Deployment, BaseDir: x.BaseDir}
	if x.record.Target != target {
		old := x.record // of another target: counts as none, but for what is about the route itself
		x.record = state.Record{Target: target, Holds: old.Holds, Runs: elsewhere(old.Runs), Promotion: old.Promotion, Told: old.Told, Outbox: old.Outbox}
	}
	if err := x.recogniseLive(ctx); err != nil {
		return err
	}
	if !x.dry {
		x.discardOrphans(ctx)
	}
	x.reportRecord()
	return nil
}

// elsewhere marks runs as those of another target: their layout or Deployment is another, so nobody can go back to them.
func elsewhere(runs []state.Run) []state.Run {
	runs = slices.Clone(runs)
	for i := range runs {
		runs[i].Elsewhere = true
	}
	return runs
}

// recogniseLive compares what is live with the record.
func (x *run) recogniseLive(ctx context.Context) error {
	desired, rec := x.deployment.DesiredVersion, &x.record
	if rec.Pending != nil && rec.Pending.TarballVersion != desired {
		if err := x.lookForRefusal(ctx); err != nil {
			return err
		}
	}
	switch {
	case rec.Pending != nil && rec.Pending.TarballVersion == desired:
		if err := x.promotePending(ctx); err != nil {
			return err
		}
		return x.lookForFailure(ctx)
	case rec.Live != nil && rec.Live.TarballVersion == desired:
		return x.lookForFailure(ctx)
	case rec.Live != nil:
		return x.drifted(ctx)
	case desired == "":
		return nil // nothing was ever deployed
	default:
		return x.recogniseOwnDeploy(ctx)
	}
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}

// promotePending ends a deploy whose run died, or lost the answer, after it took effect.
func (x *run) promotePending(ctx context.Context) error {
	rec := x.record.Clone()
	rec.Promote(x.Clock.Now().UTC(), x.version.Now)
	rec.AddRun(state.Run{Run: rec.Live.Run, At: rec.Live.At, Outcome: string(Deployed), Reason: "finished by a later run",
		DeployID: rec.Live.DeployID, Digest: rec.Live.Digest, Files: rec.Live.Files})
	if err := x.announceFinished(ctx, &rec); err != nil {
		return err
	}
	return x.swap(ctx, rec)
	// A crash here leaves nothing open: the promoted record says what is live.
}

// swap writes the record if nobody wrote it since this run did or read it.
func (x *run) swap(ctx context.Context, rec state.Record) error {
	if x.dry {
		x.record = rec
		return nil
	}
	version, err := x.Store.SwapRecord(ctx, rec, x.version)
	if err != nil {
		return err
	}
	x.record, x.version, x.stored = rec, version, &rec
	return nil
}

// swapNaming is swap for a record that names what this run stored. From then on that may be in use, whatever the answer: after being
// overtaken only the next reading of the record tells.
func (x *run) swapNaming(ctx context.Context, rec state.Record) error {
	if x.leftovers {
		x.leftovers, x.orphans = false, append(x.orphans, x.id)
	}
	return x.swap(ctx, rec)
}

// discardOrphans removes what the record does not name after all.
func (x *run) discardOrphans(ctx context.Context) {
	used := x.used()
	for _, id := range x.orphans {
		if !used[id] && !hasDeployed(&x.record, id) {
			x.discardRun(ctx, id)
		}
	}
	x.orphans = nil
}

// hasDeployed reports whether a record tells of a deploy of a run, be it that another run promoted it.
func hasDeployed(rec *state.Record, id string) bool {
	return slices.ContainsFunc(rec.Runs, func(r state.Run) bool { return r.Run == id && r.Outcome == string(Deployed) })
}

// description begins as it must for a lost record to be rebuilt: see recogniseOwnDeploy.
func (x *run) description() string {
	p := &x.plan
	if x.rollback != nil {
		return fmt.Sprintf("dagbucket/%s/%s run %s: %s, %d files", x.Name, x.packed.digest, x.id, x.rollback.says(), len(p.items))
	}
	return fmt.Sprintf("dagbucket/%s/%s run %s: %d files, %d added, %d modified, %d removed",
		x.Name, x.packed.digest, x.id, len(x.plan.items), len(p.added), len(p.modified), len(p.removed))
}

// parseDescription returns the digest and the run in a description of ours for this route.
func (r *Route) parseDescription(description string) (digest, runID string, ours bool) {
	rest, ours := strings.CutPrefix(description, "dagbucket/"+r.Name+"/")
	if !ours {
		return "", "", false
	}
	digest, rest, _ = strings.Cut(rest, " run ")
	runID, _, _ = strings.Cut(rest, ":")
	return digest, runID, len(digest) == 64 && isRunName(runID)
}

// isRunName reports whether a name from outside may become part of a key in the state.
func isRunName(name string) bool {
	for _, c := range name {
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

func (x *run) isOurs(d *Deploy) bool {
	_, _, ours := x.parseDescription(d.Description)
	return ours
}

// recogniseOwnDeploy rebuilds a lost record if what is live was deployed by this route; else what is live is foreign.
func (x *run) recogniseOwnDeploy(ctx context.Context) error {
	deploys, err := x.Astro.Deploys(ctx, recentDeploys)
	if err != nil {
		return err
	}
	for i := range deploys {
		if d := &deploys[i]; d.TarballVersion == x.deployment.DesiredVersion && x.isOurs(d) {
			return x.adopt(ctx, d)
		}
	}
	// A first deploy that was given up, and landed late, is ours even if nobody lists it any more.
	x.liveKnown = !slices.Contains(x.record.Superseded, x.deployment.DesiredVersion)
	x.foreign = x.liveKnown
	return nil
}

// adopt takes a deploy of ours that the record does not know for the live one: the record was lost, or is an old copy.
func (x *run) adopt(ctx context.Context, d *Deploy) error {
	digest, runID, _ := x.parseDescription(d.Description)
	rec := x.record.Clone()
	for _, old := range []*state.Deploy{rec.Live, rec.Pending} {
		if old != nil {
			rec.Supersede(old.TarballVersion)
		}
	}
	rec.Pending = nil
	rec.Live = &state.Deploy{Run: runID, Manifest: runID, DeployID: d.ID, TarballVersion: d.TarballVersion, Digest: digest}
	x.record = rec
	x.Log.Warn("the record does not know what is live, but it was deployed here", "route", x.Name, "deployId", d.ID)
	return x.recoverLive(ctx)
}

// recoverLive completes a rebuilt record from the manifest and the bundle, if the state still has them.
func (x *run) recoverLive(ctx context.Context) error {
	live := x.record.Live
	if err := x.readLive(ctx); err != nil || !x.liveKnown {
		return err
	}
	live.Sources = map[string]int{}
	for _, f := range x.live {
		if f.State != state.LeftOut {
			live.Files++
			live.Bytes += f.Size
			live.Sources[f.Source]++
		}
	}
	var err error
	live.BundleSize, err = x.Store.BundleSize(ctx, live.Run)
	if errors.Is(err, bucket.ErrNotExist) {
		x.bundleGone = true
		return nil
	}
	return err
}

// readLive reads the live manifest, once. Without it nobody knows what is live.
func (x *run) readLive(ctx context.Context) error {
	if x.live != nil || x.record.Live == nil || !x.liveKnown {
		return nil
	}
	files, err := x.Store.ReadManifest(ctx, x.record.Live.Manifest)
	if err == nil && digestOf(files) != x.record.Live.Digest {
		err = fmt.Errorf("%w: it lists other files than those that are live", state.ErrDamaged)
	}
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, state.ErrDamaged) {
		x.Log.Warn("the manifest of what is live is lost in the state", "route", x.Name, "error", err)
		x.liveKnown = false
		return nil
	}
	x.live = files
	return err
}

// digestOf is the digest of the bundle that a manifest describes.
func digestOf(files []state.File) string {
	return bundle.Digest(func(yield func(path, sum string) bool) {
		for _, f := range files {
			if f.State != state.LeftOut && !yield(f.Path, f.SHA256) {
				return
			}
		}
	})
}

// reportRecord fills the result with what is live.
func (x *run) reportRecord() {
	live := x.record.Live
	if live == nil {
		return
	}
	x.result.DeployID, x.result.TarballVersion, x.result.Digest = live.DeployID, live.TarballVersion, live.Digest
	x.result.Files, x.result.Bytes = live.Files, live.Bytes
}
