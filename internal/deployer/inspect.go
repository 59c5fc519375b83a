package deployer

import (
	"context"
	"fmt"
	"time"
)

// Changes is the outcome of a plan that would deploy. Runs never end so.
const Changes Outcome = "changes"

// Plan tells what a run would do now, and changes nothing: it neither waits for quiet nor reads a source's files. Its outcome is Unchanged,
// Changes, Held or Failed.
func (r *Route) Plan(ctx context.Context) Result {
	x := r.dryRun()
	if err := x.preview(x.account.open(ctx)); err != nil {
		x.fail(ctx, err)
	}
	return x.finish()
}

// dryRun changes nothing and does not wait.
func (r *Route) dryRun() *run {
	dry := *r
	dry.QuietPeriod, dry.MaxWait = 0, 0
	x := dry.newRun()
	x.dry = true
	return x
}

func (x *run) preview(ctx context.Context) error {
	if err := x.reconcile(ctx); err != nil {
		if x.stored != nil {
			x.lookAsStored(ctx)
		}
		return err
	}
	paused := x.checkPaused()
	if err := x.settle(ctx); err != nil {
		return err
	}
	x.result.Outcome, x.result.Reason = Unchanged, x.drift
	if x.isLive(x.view.revision) {
		x.reportLive(ctx)
		return paused
	}
	if !x.liveKnown && !x.mayReplace() {
		x.replaces = orNone(x.deployment.DesiredVersion)
	}
	err := x.makePlan(ctx)
	x.report()
	x.result.Files, x.result.Bytes = len(x.plan.items), x.plan.bytes
	if err == nil {
		err = paused
	}
	if err != nil {
		return err
	}
	if x.mustPack() {
		x.result.Outcome = Changes
	}
	return nil
}

const (
	runningTimeout = 10 * time.Minute
	runningPoll    = 3 * time.Second
)

// WaitUntilRunning waits until the Deployment runs a tarball version, or goes to another one.
func (r *Route) WaitUntilRunning(ctx context.Context, version string) error {
	end := r.Clock.Now().Add(runningTimeout)
	for {
		d, err := r.Astro.Deployment(ctx)
		switch {
		case err != nil:
			return err
		case d.DesiredVersion != version:
			return fmt.Errorf("the Deployment goes to another tarball version meanwhile (%s)", d.DesiredVersion)
		case d.RunningVersion == version && d.Healthy:
			return nil
		case r.Clock.Now().After(end):
			return fmt.Errorf("the Deployment does not run tarball version %s after %s: look at its state in Astro", version, runningTimeout)
		}
		if err := r.Clock.Sleep(ctx, runningPoll); err != nil {
			return err
		}
	}
}
