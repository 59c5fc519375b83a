package doctor

import (
	"context"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/state"
)

// patient is one route under examination. What a check finds out serves those after it.
type patient struct {
	*examination
	cfg     *config.Config
	route   config.Route
	maxWait time.Duration

	unlistable map[bucket.URL]bool // sources
	skew       time.Duration       // the storage's clock minus the local one
	measured   bool                // skew is known
	states     bucket.Bucket
	store      *state.Store
	record     state.Record
	client     *astro.Client
	claims     astro.Claims
	deployment astro.Deployment
	answer     error // of reading the Deployment
}

// step is one check, or several of a kind. A fault of a step that it needs leaves it nothing to say.
type step struct {
	name  string
	needs []string
	run   func(context.Context) []Check
}

// steps are in the order in which one fault causes others: so the first is the one to repair.
func (p *patient) steps() []step {
	one := func(check func(context.Context) Check) func(context.Context) []Check {
		return func(ctx context.Context) []Check { return []Check{check(ctx)} }
	}
	return []step{
		{"source", nil, p.sources},
		{"state", []string{credentialsOf(p.cfg.State.Scheme)}, one(p.state)},
		{"record", []string{"state"}, one(p.readRecord)},
		{"clock", nil, one(p.clock)},
		{"token", []string{credentialsOf(schemeOfToken(p.route.Token))}, one(p.token)},
		{"deployment", []string{"token"}, one(p.reach)},
		{"dag deploys", []string{"deployment"}, one(p.dagDeploys)},
		{"awake", []string{"deployment"}, one(p.awake)},
		{"ci/cd", []string{"deployment"}, one(p.cicd)},
		{"runtime", []string{"deployment"}, one(p.runtime)},
		{"rights", []string{"deployment", "dag deploys", "awake"}, one(p.rights)},
		{"notifications", nil, p.wiring},
		{"last run", []string{"record"}, one(p.lastRun)},
		{"outcome", []string{"record"}, one(p.outcome)},
		{"lease", []string{"state", "record"}, one(p.lease)},
		{"drift", []string{"record", "deployment", "dag deploys"}, one(p.drift)},
	}
}

func (p *patient) examine(ctx context.Context) []Check {
	checks := []Check{}
	broken := map[string]string{} // steps that ended badly, and the step that is to blame
	for scheme, c := range p.known {
		if c.Status == Fault {
			broken[credentialsOf(scheme)] = c.Name
		}
	}
	for _, s := range p.steps() {
		if blame := blameOf(s, broken); blame != "" {
			broken[s.name] = blame
			checks = append(checks, Skip(s.name, "not checked, because of: %s", blame))
			continue
		}
		for _, c := range bounded(ctx, s.run) {
			if c.Status == Fault {
				broken[s.name] = s.name
			}
			checks = append(checks, c)
		}
	}
	return checks
}

// credentialsOf names a check of all routes, for steps that need it.
func credentialsOf(scheme string) string { return "credentials of " + scheme }

func blameOf(s step, broken map[string]string) string {
	for _, need := range s.needs {
		if broken[need] != "" {
			return broken[need]
		}
	}
	return ""
}

func bounded(ctx context.Context, run func(context.Context) []Check) []Check {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return run(ctx)
}

// now is the storage's clock as far as it is known: the local one may be wrong.
func (p *patient) now() time.Time { return p.Now().Add(p.skew) }

// wiring checks how events of each source arrive.
func (p *patient) wiring(ctx context.Context) []Check {
	var checks []Check
	for _, s := range p.route.Sources {
		cloud := p.Clouds[s.URL.Scheme]
		var found []Check
		switch {
		case s.URL.Scheme == "file":
			found = []Check{Skip("notifications", "a directory tells nobody of changes: runs come from the command line or a schedule")}
		case cloud == nil:
			found = []Check{Skip("notifications", "not looked at: there is no doctor for %s:// here", s.URL.Scheme)}
		case p.unlistable[s.URL]:
			found = []Check{Skip("notifications", "not checked, because of: source")}
		default:
			found = cloud.Wiring(ctx, Want{Source: s.URL, MaxWait: p.maxWait, Settings: p.Settings, ConfigSHA256: p.ConfigSHA256()})
		}
		for _, c := range found {
			c.About = s.URL.String()
			checks = append(checks, c)
		}
	}
	return checks
}
