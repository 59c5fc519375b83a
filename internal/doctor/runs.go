package doctor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	runsStop  = 15 * time.Minute // three schedules without a run
	leaseOwes = 5 * time.Minute  // by then the schedule has made up for a run that died
)

func (p *patient) readRecord(ctx context.Context) Check {
	record, _, err := p.store.ReadRecord(ctx)
	var unreadable *state.RecordError
	switch {
	case errors.As(err, &unreadable):
		return Bad("record", "restore an earlier version of the route's record.json, or delete it to have it rebuilt; if its format is newer, use the newer dagbucket",
			"%s", oneLine(err))
	case err != nil:
		return Bad("record", repairOf(err, "read the state"), "%s", oneLine(err))
	}
	p.record = record
	switch {
	case record.Format == 0:
		return Good("record", "there is none yet: the first run writes it")
	case record.Target.Deployment != p.route.Deployment && record.Target.Deployment != "":
		return Warn("record", "run `dagbucket sync`, which begins a new record; or correct the route's deployment",
			"it is of Deployment %s, and so counts as none for %s", record.Target.Deployment, p.route.Deployment)
	}
	return Good("record", "it can be read")
}

// lastRun stands for the schedule: where that calls the function, every run is followed by another within minutes.
func (p *patient) lastRun(context.Context) Check {
	last := newest(p.record.Runs)
	if last == nil {
		return Warn("last run", "run `dagbucket sync`, and see that the schedule calls the function every 5 minutes", "no run is recorded yet")
	}
	age := p.now().Sub(last.At).Round(time.Second)
	if age > runsStop {
		return Warn("last run", "see that the schedule is enabled and calls the function (on AWS the EventBridge rule, on Google the Cloud Scheduler job), "+
			"and look into the function's log",
			"it ended %s ago: the schedule should look every 5 minutes", age)
	}
	return Good("last run", "it ended %s ago: %s", max(age, 0), last.Outcome)
}

// newest leaves out promotions, which are no runs.
func newest(runs []state.Run) *state.Run {
	for i := len(runs) - 1; i >= 0; i-- {
		if runs[i].Outcome != state.Promoted {
			return &runs[i]
		}
	}
	return nil
}

func (p *patient) outcome(context.Context) Check {
	last := newest(p.record.Runs)
	if paused := p.record.Hold(state.Paused); paused != nil {
		return Warn("outcome", "run `dagbucket resume` to let it go on", "the route is paused since %s%s", paused.At.UTC().Format(time.RFC3339), because(paused.Reason))
	}
	switch {
	case last == nil:
		return Skip("outcome", "no run is recorded yet")
	case last.Outcome == string(deployer.Failed):
		return Bad("outcome", "repair what it says, and run `dagbucket sync`", "the last run failed%s", because(last.Reason))
	case last.Outcome == string(deployer.Held):
		return Warn("outcome", "do what it says; see `dagbucket status` and `dagbucket approve --dry-run`", "the last run was held%s", because(last.Reason))
	}
	return Good("outcome", "the last run ended in order: %s", last.Outcome)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + Line(reason)
}

// lease looks for a run that died, or failed, and that no other has made up for.
func (p *patient) lease(ctx context.Context) Check {
	owed, err := p.store.Owed(ctx)
	if err != nil {
		return Warn("lease", repairOf(err, "read the state"), "%s", oneLine(err))
	}
	age, err := p.leaseAge(ctx)
	switch {
	case errors.Is(err, bucket.ErrNotExist):
		return Good("lease", "there is none yet: the first run makes it")
	case err != nil:
		return Warn("lease", repairOf(err, "read the state"), "%s", oneLine(err))
	case owed && age > leaseOwes:
		return Warn("lease", "run `dagbucket sync`; if it comes back, look into the function's log for time-outs and for want of memory",
			"a run failed or died %s ago, and none has made up for it since", age.Round(time.Second))
	}
	return Good("lease", "no run is stuck")
}

// leaseAge is how long ago lease.json was written, by the storage's clock.
func (p *patient) leaseAge(ctx context.Context) (time.Duration, error) {
	body, err := p.states.Open(ctx, p.cfg.State.Prefix+p.route.Name+"/lease.json", "", 0)
	if err != nil {
		return 0, err
	}
	return body.Now.Sub(body.Object.Modified), body.Close()
}

// drift asks what `dagbucket status` tells.
func (p *patient) drift(ctx context.Context) Check {
	one := *p.cfg
	one.Routes = []config.Route{p.route}
	s, err := service.New(ctx, &one, service.Deps{Buckets: p.Buckets, Secrets: p.Secrets, Version: p.Version, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return Skip("drift", "not checked: %s", oneLine(err))
	}
	route, err := s.Route(p.route.Name)
	if err != nil {
		return Skip("drift", "not checked: %s", oneLine(err))
	}
	status, err := route.Status(ctx)
	switch {
	case err != nil:
		return Warn("drift", "do what it says", "what is live cannot be compared: %s", oneLine(err))
	case status.Drift != "":
		return Warn("drift", "see `dagbucket status`; a change in the bucket, or on_drift: redeploy, deploys over it", "others deployed: %s", Line(status.Drift))
	case status.Live == nil:
		return Skip("drift", "nothing was deployed from here yet")
	}
	return Good("drift", "what is live was deployed from here")
}
