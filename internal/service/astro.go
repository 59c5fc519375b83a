package service

import (
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// Astro is a client as the pipeline sees it.
func Astro(client *astro.Client) deployer.Astro { return astroAdapter{client} }

// astroAdapter lets the pipeline speak of Astro in its own words.
type astroAdapter struct{ client *astro.Client }

func (a astroAdapter) Deployment(ctx context.Context) (deployer.Deployment, error) {
	ctx = counted(ctx)
	organization, err := a.client.Organization(ctx)
	if err != nil {
		return deployer.Deployment{}, err
	}
	d, err := a.client.Deployment(ctx)
	if err != nil {
		return deployer.Deployment{}, err
	}
	if err := d.Check(); err != nil {
		return deployer.Deployment{}, asHeld(err)
	}
	return deployer.Deployment{
		Organization: organization, Name: d.Name, URL: pageOf(d), DesiredVersion: d.DesiredDAGTarballVersion, RunningVersion: d.DAGTarballVersion,
		Healthy: d.Status == "HEALTHY", Hybrid: d.Type == "HYBRID",
		Python: Python(d.RuntimeVersion), Ignores: ignoresOf(d.RuntimeVersion, d.IgnoreFileSyntax),
	}, nil
}

// counted has a run's account know of the requests.
func counted(ctx context.Context) context.Context {
	return astro.CountRequests(ctx, deployer.AstroRequests(ctx))
}

// pageOf is a Deployment's page in Astro; "" if its Workspace is not known.
func pageOf(d astro.Deployment) string {
	if d.WorkspaceID == "" {
		return ""
	}
	return "https://cloud.astronomer.io/" + url.PathEscape(d.WorkspaceID) + "/deployments/" + url.PathEscape(d.ID)
}

func (a astroAdapter) Deploys(ctx context.Context, limit int) ([]deployer.Deploy, error) {
	found, err := a.client.Deploys(counted(ctx), limit)
	if err != nil {
		return nil, err
	}
	var deploys []deployer.Deploy
	for _, d := range found {
		if d.Type != astro.DAGOnly && d.Type != astro.ImageAndDAG {
			continue // it left the DAGs alone, though it may name their version
		}
		deploys = append(deploys, deployer.Deploy{ID: d.ID, Description: d.Description, TarballVersion: d.DAGTarballVersion,
			Finished: d.Status == astro.Deployed, Failed: d.Status == astro.Failed,
			Image: d.Type == astro.ImageAndDAG, Rollback: d.RollbackFromID != ""})
	}
	return deploys, nil
}

func (a astroAdapter) Create(ctx context.Context, description string) (deployer.Deploy, error) {
	d, err := a.client.CreateDeploy(counted(ctx), description)
	if err != nil {
		return deployer.Deploy{}, asHeld(err)
	}
	return deployer.Deploy{ID: d.ID, Description: d.Description, Upload: d}, nil
}

func (a astroAdapter) Upload(ctx context.Context, d deployer.Deploy, open func(context.Context) (io.ReadCloser, error), size int64) (string, error) {
	return a.client.Upload(counted(ctx), d.Upload.(astro.Deploy), open, size)
}

func (a astroAdapter) Finalize(ctx context.Context, deployID, version string) error {
	return asHeld(a.client.Finalize(counted(ctx), deployID, version))
}

// heldError is Astro's refusal that is no failure: nothing is wrong, and nothing can be deployed yet.
type heldError struct{ error }

func (e heldError) Held() bool    { return true }
func (e heldError) Unwrap() error { return e.error }

func asHeld(err error) error {
	var refusal *astro.Error
	if errors.As(err, &refusal) && refusal.Hibernating() {
		return heldError{err}
	}
	return err
}
