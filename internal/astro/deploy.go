package astro

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// The states of a deploy.
const (
	Initialized = "INITIALIZED" // created, not finalized
	Deployed    = "DEPLOYED"
	Failed      = "FAILED"
)

// The types of deploy that replace a Deployment's DAGs. IMAGE_ONLY and BUNDLE do not.
const (
	DAGOnly     = "DAG_ONLY"
	ImageAndDAG = "IMAGE_AND_DAG"
)

const maxDescription = 500 // characters

// Deploy is one act of putting code on a Deployment.
type Deploy struct {
	ID                string
	Type              string // DAG_ONLY, IMAGE_AND_DAG, IMAGE_ONLY or BUNDLE
	Status            string // Initialized, Deployed or Failed
	Description       string
	DAGTarballVersion string    // "" as long as there is none
	CreatedAt         time.Time // zero when the API gives no readable time
	CreatedBy         string    // name of the API token or the person; may be ""
	RollbackFromID    string    // set on the deploy that a rollback makes
	ImageTag          string

	upload uploadURL // only from CreateDeploy
}

type deployJSON struct {
	ID             string `json:"id"`
	Type           string `json:"type"`
	Status         string `json:"status"`
	Description    string `json:"description"`
	TarballVersion string `json:"dagTarballVersion"`
	CreatedAt      string `json:"createdAt"`
	RollbackFromID string `json:"rollbackFromId"`
	ImageTag       string `json:"imageTag"`
	UploadURL      string `json:"dagsUploadUrl"`
	DAGDeploys     bool   `json:"isDagDeployEnabled"`
	CreatedBy      struct {
		ID        string `json:"id"`
		TokenName string `json:"apiTokenName"`
		FullName  string `json:"fullName"`
		Username  string `json:"username"`
	} `json:"createdBySubject"`
}

// deploy leaves the upload URL behind: a listing shows those of other people's deploys, too.
func (j deployJSON) deploy() Deploy {
	created, _ := time.Parse(time.RFC3339, j.CreatedAt)
	d := Deploy{ID: j.ID, Type: j.Type, Status: j.Status, Description: j.Description, DAGTarballVersion: j.TarballVersion,
		CreatedAt: created.UTC(), RollbackFromID: j.RollbackFromID, ImageTag: j.ImageTag}
	for _, name := range []string{j.CreatedBy.TokenName, j.CreatedBy.FullName, j.CreatedBy.Username, j.CreatedBy.ID} {
		if d.CreatedBy == "" {
			d.CreatedBy = name
		}
	}
	return d
}

// Deploys returns the newest deploys of the Deployment, newest first, at most limit of them (1 to 1,000).
func (c *Client) Deploys(ctx context.Context, limit int) ([]Deploy, error) {
	limit = min(max(limit, 1), 1000)
	page, total, err := c.deployPage(ctx, 0, limit)
	if err != nil {
		return nil, err
	}
	// No document promises an order. If the oldest come first, the newest are on the last page.
	if total > limit && len(page) > 1 && page[0].CreatedAt.Before(page[len(page)-1].CreatedAt) {
		if page, _, err = c.deployPage(ctx, total-limit, limit); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(page, func(a, b Deploy) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return page, nil
}

func (c *Client) deployPage(ctx context.Context, offset, limit int) (page []Deploy, total int, err error) {
	path, err := c.path(ctx)
	if err != nil {
		return nil, 0, err
	}
	r := request{op: "list the deploys of Deployment " + c.deployment, missing: c.noDeployment(), method: http.MethodGet,
		path: fmt.Sprintf("%s/deploys?offset=%d&limit=%d", path, offset, limit), timeout: readTimeout}
	var answer struct {
		Deploys *[]deployJSON `json:"deploys"`
		Total   int           `json:"totalCount"`
	}
	err = repeat(ctx, func() error {
		answer.Deploys = nil
		return c.call(ctx, r, &answer)
	})
	if err != nil {
		return nil, 0, err
	}
	if answer.Deploys == nil {
		return nil, 0, notOurs(r.op, "has no list of deploys")
	}
	for _, j := range *answer.Deploys {
		if validID(j.ID) {
			page = append(page, j.deploy())
		}
	}
	return page[:min(len(page), limit)], answer.Total, nil
}

// Deploy reads one deploy. Only what CreateDeploy returned can be uploaded to.
func (c *Client) Deploy(ctx context.Context, deployID string) (Deploy, error) {
	r, err := c.deployRequest(ctx, "read", deployID)
	if err != nil {
		return Deploy{}, err
	}
	r.method, r.timeout = http.MethodGet, readTimeout
	var answer deployJSON
	err = repeat(ctx, func() error {
		answer = deployJSON{}
		return c.call(ctx, r, &answer)
	})
	if err != nil {
		return Deploy{}, err
	}
	if answer.ID != deployID {
		return Deploy{}, notOurs(r.op, "is about another deploy")
	}
	return answer.deploy(), nil
}

// CreateDeploy starts a DAG-only deploy. Nothing on the Deployment changes before it is finalized, so a lost answer is
// followed by a second deploy, and the first one stays behind unused. A description is cut after 500 characters.
func (c *Client) CreateDeploy(ctx context.Context, description string) (Deploy, error) {
	path, err := c.path(ctx)
	if err != nil {
		return Deploy{}, err
	}
	if runes := []rune(description); len(runes) > maxDescription {
		description = string(runes[:maxDescription])
	}
	r := request{op: "create a deploy on Deployment " + c.deployment, missing: c.noDeployment(), method: http.MethodPost,
		path: path + "/deploys", timeout: writeTimeout,
		body: map[string]string{"type": DAGOnly, "description": description}}
	var answer deployJSON
	err = repeat(ctx, func() error {
		answer = deployJSON{}
		return c.call(ctx, r, &answer)
	})
	switch {
	case err != nil:
		return Deploy{}, err
	case !validID(answer.ID):
		return Deploy{}, notOurs(r.op, "has no usable deploy ID")
	case answer.UploadURL == "" && !answer.DAGDeploys:
		return Deploy{}, dagDeploysOff(r.op, c.deployment)
	case answer.UploadURL == "":
		return Deploy{}, &Error{Op: r.op, Problem: "the answer holds no upload URL", Status: http.StatusOK}
	}
	d := answer.deploy()
	d.upload = func() string { return answer.UploadURL }
	return d, nil
}

// Finalize makes an uploaded DAG tarball version the one that the Deployment goes to. When an answer is lost or unclear,
// what Astro holds is read before anything is repeated: a repeat after somebody else's later deploy would undo that one.
// An error that is not permanent leaves open whether the deploy takes place.
func (c *Client) Finalize(ctx context.Context, deployID, version string) error {
	r, err := c.deployRequest(ctx, "finalize", deployID)
	if err != nil {
		return err
	}
	r.method, r.path, r.timeout = http.MethodPost, r.path+"/finalize", writeTimeout
	r.body = map[string]string{"dagTarballVersion": version}
	return repeat(ctx, func() error {
		var answer deployJSON
		err := c.call(ctx, r, &answer)
		if err == nil && answer.ID == deployID {
			return failedDeploy(r.op, answer.deploy())
		}
		if err == nil {
			err = notOurs(r.op, "is about another deploy")
		}
		var failed *Error
		if errors.As(err, &failed) && failed.noEffect {
			return err
		}
		return c.settle(ctx, r.op, deployID, version, err)
	})
}

// settle decides by reading what came of a finalize that ended with unclear: nil if it took effect.
func (c *Client) settle(ctx context.Context, op, deployID, version string, unclear error) error {
	done, err := c.finalized(ctx, op, deployID, version)
	switch {
	case done:
		return nil
	case err != nil:
		return &Error{Op: op, Problem: "it is not known whether it took effect; the next run finds out",
			cause: fmt.Errorf("%w; and then: %w", unclear, err), quiet: ctx.Err() != nil && errors.Is(unclear, ctx.Err())}
	}
	return unclear
}

func (c *Client) finalized(ctx context.Context, op, deployID, version string) (bool, error) {
	deploy, err := c.Deploy(ctx, deployID)
	if err != nil {
		return false, err
	}
	if err := failedDeploy(op, deploy); err != nil {
		return false, err
	}
	if deploy.DAGTarballVersion == version || deploy.Status == Deployed && deploy.DAGTarballVersion == "" {
		return true, nil
	}
	deployment, err := c.Deployment(ctx)
	if err != nil {
		return false, err
	}
	return deployment.DesiredDAGTarballVersion == version || deployment.DAGTarballVersion == version, nil
}

// failedDeploy is an error if Astro gave the deploy up. Another deploy of the same content may go well.
func failedDeploy(op string, d Deploy) error {
	if d.Status != Failed {
		return nil
	}
	return &Error{Op: op, Problem: "Astro could not carry out the deploy (status FAILED)", Status: http.StatusOK,
		Repair: "see the deploy's page in Astro if it keeps happening"}
}

// deployRequest is a call about one deploy, without method and body.
func (c *Client) deployRequest(ctx context.Context, verb, deployID string) (request, error) {
	op := verb + " deploy " + deployID
	if !validID(deployID) {
		return request{}, &Error{Op: fmt.Sprintf("%s deploy %q", verb, deployID), Problem: "this is not a deploy ID", permanent: true}
	}
	path, err := c.path(ctx)
	if err != nil {
		return request{}, err
	}
	return request{op: op, missing: fmt.Sprintf("Deployment %s has no deploy %s", c.deployment, deployID), path: path + "/deploys/" + deployID}, nil
}
