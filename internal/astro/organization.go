package astro

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

const organizationRepair = "name the organization in the configuration (organization, or ASTRO_ORGANIZATION_ID)"

// organization is the Organization's ID: configured, or found once.
type organization struct {
	configured string
	found      atomic.Pointer[string]
}

// orgName is an Organization's ID and, if it is known, its name.
type orgName struct{ id, name string }

func (o orgName) String() string {
	if o.name == "" {
		return o.id
	}
	return fmt.Sprintf("%s (%s)", o.id, o.name)
}

// Organization returns the Organization's ID: the configured one, the one in the token, or the only one that the API
// shows. With several to choose from it fails and names them.
func (c *Client) Organization(ctx context.Context) (string, error) {
	if c.organization.configured != "" {
		return c.organization.configured, nil
	}
	if id := c.organization.found.Load(); id != nil {
		return *id, nil
	}
	token, err := c.token.get(ctx)
	if err != nil {
		return "", err
	}
	found := token.organizations
	if len(found) == 0 {
		if found, err = c.organizations(ctx); err != nil {
			return "", err
		}
	}
	if len(found) != 1 {
		return "", ambiguous(found, token.secrets)
	}
	c.organization.found.Store(&found[0].id)
	return found[0].id, nil
}

// organizations asks the API.
func (c *Client) organizations(ctx context.Context) ([]orgName, error) {
	var answer struct {
		Organizations []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"organizations"`
	}
	err := repeat(ctx, func() error {
		return c.call(ctx, request{op: "find the token's organization", missing: "the API does not show organizations",
			method: http.MethodGet, path: "/organizations", timeout: readTimeout}, &answer)
	})
	if err != nil {
		return nil, err
	}
	var found []orgName
	for _, o := range answer.Organizations {
		if validID(o.ID) {
			found = append(found, orgName{o.ID, o.Name})
		}
	}
	return found, nil
}

func ambiguous(found []orgName, s secrets) error {
	e := &Error{Op: "find the token's organization", Problem: "the token shows none", Repair: organizationRepair, permanent: true}
	if len(found) > 0 {
		names := make([]string, len(found))
		for i, org := range found {
			names[i] = org.String()
		}
		e.Problem = "the token shows several: " + s.line(strings.Join(names, ", "), maxMessage)
	}
	return e
}
