package astro

import (
	"context"
	"fmt"
	"net/http"
)

const (
	hibernates = "the Deployment hibernates"
	wakeRepair = "wake it in Astro, or wait until its schedule does; the next reconcile looks again"
)

// Deployment is the state of an Airflow environment on Astro, as far as deploys are concerned.
type Deployment struct {
	ID                       string
	Name                     string
	OrganizationID           string
	WorkspaceID              string
	Type                     string // STANDARD, DEDICATED or HYBRID
	Status                   string // CREATING, DEPLOYING, HEALTHY, UNHEALTHY, UNKNOWN or HIBERNATING
	StatusReason             string
	RuntimeVersion           string // such as 13.2.0 (Airflow 2) or 3.1-1 (Airflow 3)
	DAGTarballVersion        string // running now; "" before the first deploy
	DesiredDAGTarballVersion string // where it is going; equal to the above when no deploy is in progress
	DAGDeployEnabled         bool
	CICDEnforced             bool
	RemoteExecution          bool
	WebServerURL             string
	AirflowAPIURL            string
	ImageTag                 string
	IgnoreFileSyntax         string // its environment variable AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX; "" if that is not set, or secret
}

// Hibernating reports whether the Deployment sleeps.
func (d Deployment) Hibernating() bool { return d.Status == "HIBERNATING" }

// Live reports whether a DAG tarball version has arrived: it runs, nothing else is on its way, and all is healthy.
func (d Deployment) Live(version string) bool {
	return version != "" && d.DAGTarballVersion == version && d.DesiredDAGTarballVersion == version && d.Status == "HEALTHY"
}

// Check refuses a Deployment that cannot take a DAG-only deploy, before anything is done.
func (d Deployment) Check() error {
	op := fmt.Sprintf("check Deployment %s (%q)", d.ID, d.Name)
	switch {
	case d.RemoteExecution:
		return &Error{Op: op, permanent: true,
			Problem: "it uses Remote Execution: its agents take their DAGs from elsewhere, and the deploy API cannot ship them",
			Repair:  "choose a Deployment without Remote Execution, or remove this route"}
	case !d.DAGDeployEnabled:
		return dagDeploysOff(op, d.ID)
	case d.Hibernating():
		return &Error{Op: op, Problem: hibernates, Repair: wakeRepair, permanent: true, hibernating: true}
	}
	return nil
}

func dagDeploysOff(op, deploymentID string) error {
	return &Error{Op: op, Problem: "DAG-only deploys are turned off", permanent: true,
		Repair: "turn them on in the Deployment's settings, or with: astro deployment update " + deploymentID + " --dag-deploy enable"}
}

// deploymentJSON is what of the API's Deployment is read.
type deploymentJSON struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	OrganizationID   string `json:"organizationId"`
	WorkspaceID      string `json:"workspaceId"`
	Type             string `json:"type"`
	Status           string `json:"status"`
	StatusReason     string `json:"statusReason"`
	RuntimeVersion   string `json:"astroRuntimeVersion"`
	TarballVersion   string `json:"dagTarballVersion"`
	DesiredVersion   string `json:"desiredDagTarballVersion"`
	DAGDeployEnabled *bool  `json:"isDagDeployEnabled"`
	CICDEnforced     bool   `json:"isCicdEnforced"`
	WebServerURL     string `json:"webServerUrl"`
	AirflowAPIURL    string `json:"webServerAirflowApiUrl"`
	ImageTag         string `json:"imageTag"`
	Variables        []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"environmentVariables"`
	RemoteExecution *struct {
		Enabled bool `json:"enabled"`
	} `json:"remoteExecution"`
}

// Deployment reads the Deployment.
func (c *Client) Deployment(ctx context.Context) (Deployment, error) {
	path, err := c.path(ctx)
	if err != nil {
		return Deployment{}, err
	}
	r := request{op: "read Deployment " + c.deployment, missing: c.noDeployment(), method: http.MethodGet, path: path, timeout: readTimeout}
	var answer deploymentJSON
	err = repeat(ctx, func() error {
		answer = deploymentJSON{}
		return c.call(ctx, r, &answer)
	})
	if err != nil {
		return Deployment{}, err
	}
	if answer.ID != c.deployment || answer.DAGDeployEnabled == nil {
		return Deployment{}, notOurs(r.op, "is not about this Deployment")
	}
	d := Deployment{
		ID: answer.ID, Name: answer.Name, OrganizationID: answer.OrganizationID, WorkspaceID: answer.WorkspaceID,
		Type: answer.Type, Status: answer.Status, StatusReason: answer.StatusReason, RuntimeVersion: answer.RuntimeVersion,
		DAGTarballVersion: answer.TarballVersion, DesiredDAGTarballVersion: answer.DesiredVersion,
		DAGDeployEnabled: *answer.DAGDeployEnabled, CICDEnforced: answer.CICDEnforced,
		RemoteExecution: answer.RemoteExecution != nil && answer.RemoteExecution.Enabled,
		WebServerURL:    answer.WebServerURL, AirflowAPIURL: answer.AirflowAPIURL, ImageTag: answer.ImageTag,
	}
	for _, v := range answer.Variables {
		if v.Key == "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX" {
			d.IgnoreFileSyntax = v.Value
		}
	}
	return d, nil
}

// notOurs is the error of well-formed JSON that answers another question.
func notOurs(op, problem string) error {
	return &Error{Op: op, Problem: "the answer " + problem, Status: http.StatusOK, Repair: baseURLRepair, permanent: true}
}

// path is the Deployment's, below the base URL.
func (c *Client) path(ctx context.Context) (string, error) {
	orgID, err := c.Organization(ctx)
	if err != nil {
		return "", err
	}
	return "/organizations/" + orgID + "/deployments/" + c.deployment, nil
}

func (c *Client) noDeployment() string {
	orgID := c.organization.configured
	if found := c.organization.found.Load(); orgID == "" && found != nil {
		orgID = *found
	}
	return fmt.Sprintf("organization %s has no Deployment %s that the token can see", orgID, c.deployment)
}
