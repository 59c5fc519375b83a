package deployer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// What Route.OnDrift may be.
const (
	Heal     = "heal"     // deploy again over an image deploy; report what somebody did on purpose
	Redeploy = "redeploy" // deploy again over everything, once for each foreign deploy
	Report   = "report"   // never deploy again because of what others did
)

// drifted decides what to do about a Deployment that goes to another version than the record's.
func (x *run) drifted(ctx context.Context) error {
	deploys, err := x.Astro.Deploys(ctx, recentDeploys)
	if err != nil {
		return err
	}
	desired, rec := x.deployment.DesiredVersion, &x.record
	by := deployOfVersion(deploys, desired)
	ours := slices.Contains(rec.Superseded, desired)
	last := deployByID(deploys, rec.Live.DeployID)
	switch {
	case last != nil && last.Failed && (by == nil || before(deploys, by.ID, last.ID)):
		x.retryFailed(last) // Astro went back to what was there before it
		return nil
	case ours && (by == nil || !by.Rollback):
		x.redeploy = true
		x.Log.Warn("a superseded deploy of ours is live, deploying again", "route", x.Name, "tarballVersion", desired)
		return nil
	case by != nil && !by.Rollback && x.isOurs(by) && !before(deploys, by.ID, rec.Live.DeployID):
		return x.adopt(ctx, by) // the record is an old copy
	}
	x.answerForeign(by)
	return nil
}

// deployOfVersion is the newest deploy that brought a version, or nil. Without a version it is the newest image deploy, if nothing was
// deployed after it.
func deployOfVersion(deploys []Deploy, version string) *Deploy {
	for i := range deploys {
		d := &deploys[i]
		if version != "" && d.TarballVersion == version {
			return d
		}
		if version == "" && d.Finished {
			if d.Image {
				return d
			}
			return nil
		}
	}
	return nil
}

func deployByID(deploys []Deploy, id string) *Deploy {
	for i := range deploys {
		if deploys[i].ID == id {
			return &deploys[i]
		}
	}
	return nil
}

// before reports whether a deploy was created before another one; false if that is not known.
func before(newestFirst []Deploy, id, other string) bool {
	at := func(id string) int { return slices.IndexFunc(newestFirst, func(d Deploy) bool { return d.ID == id }) }
	return at(other) >= 0 && at(id) > at(other)
}

// answerForeign leaves a deploy of others alone and tells of it, or deploys over it: at most once for each.
func (x *run) answerForeign(by *Deploy) {
	what, name := "a DAG-only deploy from elsewhere", orNone(x.deployment.DesiredVersion)
	image := false
	if by != nil {
		name = by.ID
		switch {
		case by.Rollback:
			what = "a rollback in Astro"
		case by.Image:
			what, image = "an image deploy", true
		}
	}
	x.drift = fmt.Sprintf("%s (%s) replaced what was deployed here", what, name)
	heal := x.OnDrift == Redeploy || x.OnDrift != Report && image
	switch {
	case heal && !slices.Contains(x.record.Answered, name):
		x.redeploy, x.answers = true, name
		x.drift += "; deploying again"
	case heal:
		x.drift += " again; it was deployed over once, and now stays until the bucket changes"
	default:
		x.drift += "; it stays until the bucket changes"
	}
	x.Log.Warn(x.drift, "route", x.Name)
}

// lookForFailure asks, until Astro was seen to run a deploy, whether it failed.
func (x *run) lookForFailure(ctx context.Context) error {
	if x.record.Live.Confirmed {
		return nil
	}
	deploys, err := x.Astro.Deploys(ctx, recentDeploys)
	if err != nil {
		return err
	}
	d := deployByID(deploys, x.record.Live.DeployID)
	switch {
	case d != nil && d.Failed:
		x.retryFailed(d)
	case (d == nil || d.Finished) && x.deployment.RunningVersion == x.deployment.DesiredVersion && x.deployment.Healthy:
		x.record = x.record.Clone()
		if x.dry { // when it came is for a run to say
			x.record.Live.Confirmed = true
			return nil
		}
		x.record.SeenLive(x.Clock.Now().UTC()) // stored with the next outcome
	default:
		listed := x.record.Live.Listed // by the storage's clock, as what it is compared with: machines' own may differ
		if since := x.version.Now.Sub(listed); !listed.IsZero() && since > longBringUp {
			x.notRun = true
			x.drift = fmt.Sprintf("Astro does not run deploy %s, or is not healthy, %s after it was made: look at it there", x.record.Live.DeployID, since.Round(time.Minute))
		}
	}
	return nil
}

// longBringUp is when a deploy that Astro does not run is no longer on its way: 40 official ones took up to nine minutes.
const longBringUp = 15 * time.Minute

const (
	firstRetry = 5 * time.Minute // after the second failure in a row; the first is answered at once
	lastRetry  = 4 * time.Hour
)

// retryFailed deploys again what Astro could not carry out, with a pause that doubles.
func (x *run) retryFailed(d *Deploy) {
	x.notRun = true
	next, tries := x.nextTry()
	if x.version.Now.Before(next) {
		x.drift = fmt.Sprintf("deploy %s ended FAILED at Astro, the %d. in a row: look at it there; the next try is after %s",
			d.ID, tries+1, next.UTC().Format(time.RFC3339))
		x.Log.Warn(x.drift, "route", x.Name)
		return
	}
	x.redeploy = true
	x.failed = &state.Failure{Tries: tries + 1, At: x.version.Now}
	x.drift = fmt.Sprintf("deploy %s ended FAILED at Astro; deploying again", d.ID)
	x.Log.Warn(x.drift, "route", x.Name)
}

// nextTry is when a deploy that failed may be tried again, by the storage's clock, and how often it was.
func (x *run) nextTry() (next time.Time, tries int) {
	f := x.record.Failed
	if f == nil {
		return time.Time{}, 0
	}
	return f.At.Add(min(firstRetry<<min(max(f.Tries-1, 0), 10), lastRetry)), f.Tries
}

// refusal is a set of files whose deploy Astro refused at its finalize. The zero value is none.
type refusal struct {
	deployID string
	digest   string
	next     time.Time // when the same files may be tried again; zero: at once
}

// lookForRefusal asks whether the pending deploy failed before it became live: the same files are not tried again and again.
func (x *run) lookForRefusal(ctx context.Context) error {
	deploys, err := x.Astro.Deploys(ctx, recentDeploys)
	if err != nil {
		return err
	}
	p := x.record.Pending
	if d := deployByID(deploys, p.DeployID); d == nil || !d.Failed {
		return nil
	}
	next, tries := x.nextTry()
	if x.version.Now.Before(next) {
		x.refused = refusal{p.DeployID, p.Digest, next}
		return nil
	}
	x.failed = &state.Failure{Tries: tries + 1, At: x.version.Now}
	return nil
}

// checkRefused holds a run that would deploy what Astro refused not long ago.
func (x *run) checkRefused() error {
	if x.refused.digest == "" || x.refused.digest != x.packed.digest {
		return nil
	}
	return held(fmt.Sprintf("deploy %s of the same files ended FAILED at Astro", x.refused.deployID),
		"look at it there; the next try is after "+x.refused.next.UTC().Format(time.RFC3339))
}
