package astrotest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// TestAirflowOfTheRuntime: each Deployment has the API of its Airflow, at the address that Astro names, and no other.
func TestAirflowOfTheRuntime(t *testing.T) {
	for runtime, versions := range map[string][2]string{"13.2.0": {"v1", "v2"}, "3.1-1": {"v2", "v1"}} {
		t.Run(runtime, func(t *testing.T) {
			p := newPeer(t, astrotest.Options{Deployments: []astrotest.Deployment{{RuntimeVersion: runtime}}})
			address := p.api(200, "GET", "", "")["webServerAirflowApiUrl"].(string)
			require.True(t, strings.HasSuffix(address, "/"+astrotest.DeploymentID[len(astrotest.DeploymentID)-8:]+"/api/"+versions[0]), address)
			p.SetImportErrors(astrotest.DeploymentID, []astrotest.ImportError{{File: "a.py", Trace: "x", At: time.Unix(0, 0)}, {File: "b.py", DAGs: 3}})
			base := "https://" + address
			page := p.api(200, "GET", base+"/importErrors?limit=1", "")
			require.Len(t, page["import_errors"], 1)
			require.Equal(t, map[string]float64{"v1": 2, "v2": 4}[versions[0]], page["total_entries"])
			first := page["import_errors"].([]any)[0].(map[string]any)
			require.Equal(t, []any{"a.py", "x"}, []any{first["filename"], first["stack_trace"]})
			require.Contains(t, first["timestamp"], "1970-01-01T00:00:00")
			require.Empty(t, p.api(200, "GET", base+"/importErrors?offset=9", "")["import_errors"])
			p.api(400, "GET", base+"/importErrors?offset=x", "")
			p.api(404, "GET", strings.Replace(base, versions[0], versions[1], 1)+"/importErrors", "")
			p.api(404, "GET", "https://example.com/another1/api/v2/importErrors", "")

			p.Inject(astrotest.Fault{Call: astrotest.ListImportErrors, Status: 418})
			p.api(418, "GET", base+"/importErrors", "")
			p.Update(astrotest.DeploymentID, func(d *astrotest.Deployment) { d.Hibernating = true })
			p.api(503, "GET", base+"/importErrors", "")
			p.token = astrotest.Token("clmanother", time.Time{})
			p.api(403, "GET", base+"/importErrors", "")
			p.token = ""
			p.api(401, "GET", base+"/importErrors", "")
		})
	}
}
