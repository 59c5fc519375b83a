package service

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

func client(t *testing.T, d astrotest.Deployment) (*astro.Client, *astrotest.Server) {
	server := astrotest.New(astrotest.Options{Deployments: []astrotest.Deployment{d}})
	token := astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))
	c, err := astro.New(astro.Options{BaseURL: "http://localhost/v1", Deployment: astrotest.DeploymentID, Transport: server.Transport(),
		Token: func(context.Context, bool) (string, error) { return token, nil }})
	require.NoError(t, err)
	return c, server
}

func TestImportErrorsInThePipelinesWords(t *testing.T) {
	c, server := client(t, astrotest.Deployment{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	server.SetImportErrors(astrotest.DeploymentID, []astrotest.ImportError{{File: "a.py", Trace: "x", At: at}})
	found, err := airflowAdapter{c}.ImportErrors(t.Context())
	require.NoError(t, err)
	require.Equal(t, []deployer.ImportError{{File: "a.py", Trace: "x", At: at}}, found)
	server.Inject(astrotest.Fault{Call: astrotest.ListImportErrors, Status: 403})
	_, err = airflowAdapter{c}.ImportErrors(t.Context())
	require.True(t, deployer.Permanent(err))
}

func TestThePageOfADeployment(t *testing.T) {
	c, _ := client(t, astrotest.Deployment{})
	d, err := Astro(c).Deployment(t.Context())
	require.NoError(t, err)
	require.Equal(t, "https://cloud.astronomer.io/"+astrotest.WorkspaceID+"/deployments/"+astrotest.DeploymentID, d.URL)
	require.Empty(t, pageOf(astro.Deployment{ID: "d"}))
	require.Equal(t, "https://cloud.astronomer.io/a%2Fb%3F/deployments/d", pageOf(astro.Deployment{ID: "d", WorkspaceID: "a/b?"}))
}
