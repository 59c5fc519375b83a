package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// works runs a command that must succeed, and returns what it says.
func (s *setup) works(args ...string) string {
	s.t.Helper()
	code, out, errs := s.run(args...)
	require.Equal(s.t, exitOK, code, "%v: %s%s", args, out, errs)
	return out
}

// decode is the JSON that a command prints.
func decode[T any](s *setup, args ...string) (v T) {
	s.t.Helper()
	require.NoError(s.t, json.Unmarshal([]byte(s.works(append(args, "--json")...)), &v))
	return v
}

// threeDeploys has a.py and b.py in three versions.
func threeDeploys(t *testing.T) *setup {
	s := newSetup(t, astrotest.Options{})
	for _, version := range []string{"1", "2", "3"} {
		s.write("a.py", "a = "+version)
		s.write("team/b.py", "b = "+version)
		s.works("sync")
	}
	return s
}

// TestRollbackScenario follows an operator through a bad release.
func TestRollbackScenario(t *testing.T) {
	s := threeDeploys(t)
	history := decode[deployer.History](s, "history")
	require.Len(t, history.Runs, 3)
	first, second := history.Runs[0].Run.Run, history.Runs[1].Run.Run
	out := s.works("history")
	require.Contains(t, out, "deployed  "+first)
	lines := strings.Split(out, "\n")
	require.Equal(t, []string{"<", "<", "*"}, []string{lines[0][:1], lines[1][:1], lines[2][:1]})
	require.Contains(t, lines[0], "2 files, +2 ~0 -0, ")
	require.Contains(t, lines[2], "2 files, +0 ~2 -0, ")
	require.Contains(t, out, "* is live; dagbucket rollback --to RUN brings back one that is marked <")
	out = s.works("diff")
	require.Contains(t, out, "from run "+second+" to ")
	require.Contains(t, out, "  ~ dags/a.py  (5 B → 5 B)\n  ~ dags/team/b.py")

	before := s.live()
	out = s.works("rollback", "--dry-run")
	require.Contains(t, out, "  ~ dags/a.py\n  ~ dags/team/b.py\n")
	require.Contains(t, out, "nothing was changed (--dry-run)")
	require.Equal(t, before, s.live())
	out = s.works("rollback", "dags/team")
	require.Contains(t, out, "rolled back to run "+second)
	require.Equal(t, []string{"dags/a.py=a = 3", "dags/team/b.py=b = 2"}, s.live())
	out = s.works("status")
	require.Contains(t, out, "live: One file is rolled back; everything else is live")
	require.Contains(t, out, "kept dags/team/b.py (rolled back): to run "+second+"; it stays so until its object changes")

	require.Contains(t, s.works("rollback", "--to", first), "rolled back to run "+first)
	require.Equal(t, []string{"dags/a.py=a = 1", "dags/team/b.py=b = 1"}, s.live())
	require.Contains(t, s.works("status"), "it was rolled back to run "+first)
	s.works("sync")
	require.Equal(t, []string{"dags/a.py=a = 1", "dags/team/b.py=b = 1"}, s.live(), "a run changes nothing of it")
	s.write("a.py", "a = 4")
	s.works("sync")
	require.Equal(t, []string{"dags/a.py=a = 4", "dags/team/b.py=b = 1"}, s.live(), "the key changed")

	code, _, errs := s.run("rollback", "--to", "nonsense")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, `the state holds no bundle of a run or deploy \"nonsense\": there is `)
}

// TestARollbackInAstroScenario has somebody roll back in Astro, without dagbucket.
func TestARollbackInAstroScenario(t *testing.T) {
	s := threeDeploys(t)
	deploy := decode[deployer.History](s, "history").Runs[0].DeployID
	s.rollBackInAstro(deploy)
	out := s.works("sync")
	require.Contains(t, out, "a rollback in Astro (")
	require.Contains(t, out, "it stays until the bucket changes")
	require.Equal(t, []string{"dags/a.py=a = 1", "dags/team/b.py=b = 1"}, s.live())
	out = s.works("status")
	require.Contains(t, out, "drifted: A rollback in Astro (")
	require.Contains(t, out, "next: An operator, if that was not meant")
	require.Contains(t, s.works("history"), "a rollback in Astro (")
	s.write("a.py", "a = 4")
	s.works("sync")
	require.Equal(t, []string{"dags/a.py=a = 4", "dags/team/b.py=b = 3"}, s.live())
}

func (s *setup) rollBackInAstro(deploy string) {
	s.t.Helper()
	url := s.astro.URL() + "/organizations/" + astrotest.OrganizationID + "/deployments/" + astrotest.DeploymentID + "/deploys/" + deploy + "/rollback"
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, url, strings.NewReader(`{"description": "back"}`))
	require.NoError(s.t, err)
	request.Header.Set("Authorization", "Bearer "+s.token)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
}

// TestDriftScenario has an image deploy, which is healed, and a deploy of somebody's, which is left.
func TestDriftScenario(t *testing.T) {
	s := threeDeploys(t)
	s.astro.DeployFromOutside(astrotest.DeploymentID, "IMAGE_AND_DAG", "astro deploy", nil)
	out := s.works("sync")
	require.Contains(t, out, "an image deploy (")
	require.Contains(t, out, "replaced what was deployed here; deploying again")
	require.Equal(t, []string{"dags/a.py=a = 3", "dags/team/b.py=b = 3"}, s.live())
	require.Contains(t, s.works("status"), "default  live: Everything is live")

	archive, err := os.ReadFile(filepath.Join(s.state, "default", "bundles", decode[deployer.History](s, "history").Runs[0].Run.Run+".tar.gz"))
	require.NoError(t, err)
	s.astro.DeployFromOutside(astrotest.DeploymentID, "DAG_ONLY", "by hand", archive)
	require.Contains(t, s.works("sync"), "a DAG-only deploy from elsewhere")
	require.Contains(t, s.works("status"), "drifted: A DAG-only deploy from elsewhere")
	require.Equal(t, []string{"dags/a.py=a = 1", "dags/team/b.py=b = 1"}, s.live())
}

func TestStatusPages(t *testing.T) {
	s := threeDeploys(t)
	s.write("a.py", "a = (")
	s.works("sync")
	page := filepath.Join(s.state, "default", "status.html")
	stored, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(stored), "One file needs attention; everything else is live")
	content, err := os.ReadFile(filepath.Join(s.state, "default", "status.json"))
	require.NoError(t, err)
	var status state.Status
	require.NoError(t, json.Unmarshal(content, &status))
	require.Equal(t, []any{1, "attention", "dags/a.py", "kept", "syntax", 1}, []any{status.Format, status.State, status.Files[0].Path, status.Files[0].State,
		status.Files[0].Reason, status.Files[0].Line})

	own := filepath.Join(t.TempDir(), "status.html")
	s.works("status", "--html", own)
	written, err := os.ReadFile(own)
	require.NoError(t, err)
	require.Contains(t, string(written), "dags/team/b.py")
	require.Contains(t, s.works("status", "--html", "-"), "<!doctype html>")
	code, _, errs := s.run("status", "--html", filepath.Join(own, "below"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "not a directory")
}

// TestACopyOfThePages lies where authors can open it.
func TestACopyOfThePages(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	pages := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(pages, "prod"), 0o755))
	s.configure("    status: file://" + pages + "/prod/\n")
	s.write("a.py", "a = 1")
	s.works("sync")
	for _, name := range []string{"status.json", "status.html"} {
		require.FileExists(t, filepath.Join(pages, "prod", name))
	}
	require.NoError(t, os.RemoveAll(pages))
	s.write("a.py", "a = 2")
	require.Contains(t, s.works("sync"), "deployed", "pages that cannot be written fail no run")
}

// configure replaces the environment's route by one of a file with more settings.
func (s *setup) configure(more string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "dagbucket.yaml")
	require.NoError(s.t, os.WriteFile(file, []byte("state: "+s.env["DAGBUCKET_STATE"]+"\nroutes:\n  - name: default\n    sources: [{url: \""+s.env["DAGBUCKET_SOURCE"]+
		"\"}]\n    deployment: "+astrotest.DeploymentID+"\n    quiet_period: 0s\n"+more), 0o644))
	for _, name := range []string{"DAGBUCKET_SOURCE", "DAGBUCKET_STATE", "DAGBUCKET_QUIET_PERIOD", "ASTRO_DEPLOYMENT_ID"} {
		delete(s.env, name)
	}
	s.env["DAGBUCKET_CONFIG"] = file
}

// TestNotificationsAndImportErrors go through real HTTP, from a run to a webhook.
func TestNotificationsAndImportErrors(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	var got []string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var n struct{ Kind, Text string }
		_ = json.Unmarshal(body, &n)
		got = append(got, n.Kind+"\n"+n.Text)
	}))
	defer hook.Close()
	s.env["HOOK"] = hook.URL
	s.configure("    import_errors: true\n    notify: [webhook:env:HOOK]\n")
	s.write("a.py", "a = 1")
	s.write("b.py", "import pandos")
	s.works("sync")
	require.Empty(t, got)
	s.write("a.py", "a = (")
	s.works("sync")
	require.Len(t, got, 1)
	require.True(t, strings.HasPrefix(got[0], "kept\n"))
	require.Contains(t, got[0], "dags/a.py:1")
	s.astro.SetImportErrors(astrotest.DeploymentID, []astrotest.ImportError{{File: "/usr/local/airflow/dags/b.py",
		Trace: "Traceback\n  File \"/usr/local/airflow/dags/b.py\", line 1\nModuleNotFoundError: No module named 'pandos'\n"}})
	s.works("sync")
	require.Len(t, got, 2)
	require.Contains(t, got[1], "import_errors\n")
	require.Contains(t, got[1], "No module named 'pandos'")
	require.Contains(t, s.works("status"), "warning dags/b.py:1 (import error): ModuleNotFoundError: No module named 'pandos'")
	hook.Close()
	s.write("a.py", "a = 2")
	require.Contains(t, s.works("sync"), "deployed", "a target that is down fails no run")
	require.NotContains(t, strings.Join(got, ""), s.token)
}
