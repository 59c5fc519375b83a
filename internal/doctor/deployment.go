package doctor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
)

const (
	expiresSoon = 14 * 24 * time.Hour
	day         = 24 * time.Hour
	newToken    = "make a new API token in Astro, and put it where the route's token points: "
)

// token reads the token, and has Astro say whether it is valid.
func (p *patient) token(ctx context.Context) Check {
	at := newToken + p.route.Token
	text, err := p.Secrets.Resolve(ctx, p.route.Token)
	if err != nil {
		return Bad("token", "store the API token there, and allow reading it; or correct the route's token", "%s", oneLine(err))
	}
	if p.claims, err = astro.ReadClaims(text); err != nil {
		return Bad("token", at, "%s", problemOf(err))
	}
	end := p.claims.Expires
	left := end.Sub(p.now())
	switch {
	case !end.IsZero() && left <= 0:
		return Bad("token", at, "it expired on %s", end.Format(time.RFC3339))
	case p.route.Organization != "" && len(p.claims.Organizations) > 0 && !slices.Contains(p.claims.Organizations, p.route.Organization):
		return Bad("token", "correct the route's organization, or take a token of that organization",
			"it is of organization %s, and the configuration says %s", strings.Join(p.claims.Organizations, ", "), p.route.Organization)
	}
	if refused := p.ask(ctx); refused != nil {
		return Bad("token", at, "%s", problemOf(refused))
	}
	if !end.IsZero() && left < expiresSoon {
		return Warn("token", at, "it expires in %s, on %s", days(left), end.Format(time.RFC3339))
	}
	return Good("token", "%s", p.describeToken(left))
}

func (p *patient) describeToken(left time.Duration) string {
	says := "it does not expire"
	if !p.claims.Expires.IsZero() {
		says = "it is valid for " + days(left)
	}
	if len(p.claims.Organizations) > 0 {
		says += "; organization " + strings.Join(p.claims.Organizations, ", ")
	}
	return says
}

// ask reads the Deployment. Its error is one that says that the token itself is refused; others are the next step's.
func (p *patient) ask(ctx context.Context) error {
	if p.client, p.answer = astro.New(astro.Options{
		BaseURL: p.cfg.AstroURL, Organization: p.route.Organization, Deployment: p.route.Deployment,
		Token: secret.NewCache(p.Secrets).Kept(p.route.Token), Version: p.Version,
	}); p.answer != nil {
		return nil
	}
	p.deployment, p.answer = p.client.Deployment(ctx)
	var refusal *astro.Error
	if errors.As(p.answer, &refusal) && refusal.Status == http.StatusUnauthorized {
		return p.answer
	}
	return nil
}

func (p *patient) reach(context.Context) Check {
	d := p.deployment
	switch {
	case p.answer != nil:
		return Bad("deployment", repairOfAstro(p.answer), "%s", problemOf(p.answer))
	case d.RemoteExecution:
		return Bad("deployment", "choose a Deployment without Remote Execution, or remove this route",
			"%s (%q) uses Remote Execution: its agents take their DAGs from elsewhere", d.ID, d.Name)
	case d.Status == "UNHEALTHY":
		return Warn("deployment", "look at the Deployment's page in Astro", "%s (%q) is unhealthy%s", d.ID, d.Name, because(d.StatusReason))
	}
	return Good("deployment", "%s (%q) in workspace %s is %s", d.ID, d.Name, d.WorkspaceID, strings.ToLower(d.Status))
}

func (p *patient) dagDeploys(context.Context) Check {
	if !p.deployment.DAGDeployEnabled {
		return Bad("dag deploys", "turn them on in the Deployment's settings, or with: astro deployment update "+p.deployment.ID+" --dag-deploy enable",
			"DAG-only deploys are turned off")
	}
	return Good("dag deploys", "they are on")
}

func (p *patient) awake(context.Context) Check {
	if p.deployment.Hibernating() {
		return Warn("awake", "wake it in Astro, or wait until its schedule does: what was uploaded is deployed then",
			"the Deployment hibernates: runs are held")
	}
	return Good("awake", "the Deployment does not hibernate")
}

func (p *patient) cicd(context.Context) Check {
	switch {
	case p.deployment.CICDEnforced && !p.claims.API:
		return Warn("ci/cd", newToken+p.route.Token, "CI/CD enforcement is on, and the token does not look like an API token: a person's own is refused")
	case p.deployment.CICDEnforced:
		return Good("ci/cd", "enforcement is on, and an API token passes")
	}
	return Good("ci/cd", "enforcement is off")
}

func (p *patient) runtime(context.Context) Check {
	version := p.deployment.RuntimeVersion
	python := service.Python(version)
	if python == "" {
		return Warn("runtime", "use a newer dagbucket, or set the route's syntax to off",
			"Runtime %q is not known here: Python files are checked without knowing their Python", version)
	}
	return Good("runtime", "%s, with Python up to %s", version, python)
}

// probeDeploy must not look like a deploy of a run.
const probeDeploy = "dagbucket doctor: proves the right to deploy, and is never finalized"

// rights are proven as far as reading goes. Only a deploy proves the right to deploy, and Astro's history would show it.
func (p *patient) rights(ctx context.Context) Check {
	if _, err := p.client.Deploys(ctx, 1); err != nil {
		return Bad("rights", repairOfAstro(err), "%s", problemOf(err))
	}
	switch {
	case !p.Deep:
		return Good("rights", "the token may read the Deployment and its deploys; whether it may deploy is not proven (--deep does that)")
	case p.deployment.Hibernating():
		return Good("rights", "the token may read the Deployment and its deploys; a Deployment that hibernates lets nobody prove the right to deploy")
	}
	if _, err := p.client.CreateDeploy(ctx, probeDeploy); err != nil {
		return Bad("rights", repairOfAstro(err), "%s", problemOf(err))
	}
	return Good("rights", "the token may deploy")
}

// problemOf is an error of Astro's client without its repair.
func problemOf(err error) string {
	var e *astro.Error
	if !errors.As(err, &e) {
		return oneLine(err)
	}
	bare := *e
	bare.Repair = ""
	return oneLine(&bare)
}

func repairOfAstro(err error) string {
	var e *astro.Error
	if errors.As(err, &e) && e.Repair != "" {
		return e.Repair
	}
	return "see that Astro's API can be reached from here, and run doctor again"
}

func days(left time.Duration) string {
	if left < 2*day {
		return Count(int(left/time.Hour), "hour")
	}
	return Count(int(left/day), "day")
}
