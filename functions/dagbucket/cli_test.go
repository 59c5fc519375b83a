package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// testCache holds the syntax checker's machine code for tests, so that it is made once: see the Makefile.
const testCache = "../../build/pysyntax/test"

// setup is a route over two local directories, and a stand-in for Astro.
type setup struct {
	t      *testing.T
	astro  *astrotest.Server
	source string
	state  string
	token  string
	env    map[string]string
}

func newSetup(t *testing.T, o astrotest.Options) *setup {
	s := &setup{t: t, astro: astrotest.New(o), source: t.TempDir(), state: t.TempDir()}
	require.NoError(t, s.astro.Start())
	t.Cleanup(s.astro.Close)
	s.token = astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))
	s.env = map[string]string{
		"DAGBUCKET_SOURCE": "file://" + s.source + "/", "DAGBUCKET_STATE": "file://" + s.state + "/", "DAGBUCKET_QUIET_PERIOD": "0s",
		"ASTRO_DEPLOYMENT_ID": astrotest.DeploymentID, "ASTRO_API_TOKEN": s.token, "ASTRO_API_URL": s.astro.URL(),
	}
	return s
}

func (s *setup) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.source, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(s.t, os.WriteFile(path, []byte(content), 0o644))
}

// run calls the command line; nothing it says may hold a secret.
func (s *setup) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &console{env: func(name string) string { return s.env[name] }, out: &out, err: &errs, machineCode: testCache})
	s.requireNoSecret(out.String() + errs.String())
	return code, out.String(), errs.String()
}

// requireNoSecret searches a text, and everything in the state, for the token and for an upload URL's signature.
func (s *setup) requireNoSecret(text string) {
	s.t.Helper()
	for name, content := range s.files() {
		text += name + content
	}
	for _, part := range append(strings.Split(s.token, "."), "sig=", "sig%3D") {
		require.NotContains(s.t, text, part)
	}
}

// files is everything in the state.
func (s *setup) files() map[string]string {
	s.t.Helper()
	files := map[string]string{}
	require.NoError(s.t, filepath.WalkDir(s.state, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(entry.Name(), "lock") {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	}))
	return files
}

// stored is what runs stored for good: the state without lease, record and status pages, which tell of each run.
func (s *setup) stored() map[string]string {
	files := s.files()
	maps.DeleteFunc(files, func(path, _ string) bool {
		return slices.Contains([]string{"lease.json", "record.json", "status.json", "status.html"}, filepath.Base(path))
	})
	return files
}

func (s *setup) live() []string {
	s.t.Helper()
	uploads := s.astro.Uploads(astrotest.DeploymentID)
	_, desired := s.astro.Versions(astrotest.DeploymentID)
	for _, up := range uploads {
		if up.Version == desired {
			files, err := astrotest.Files(up.Archive())
			require.NoError(s.t, err)
			var names []string
			for _, f := range files {
				names = append(names, f.Name+"="+string(f.Content))
			}
			return names
		}
	}
	return nil
}

func TestSyncPlanStatus(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	s.write("a.py", "a = 1")
	s.write("team/b.sql", "select 1")
	s.write("__pycache__/a.pyc", "x")

	code, out, _ := s.run("plan")
	require.Equal(t, exitChanges, code)
	require.Contains(t, out, "  + dags/a.py\n  + dags/team/b.sql\n")
	require.Empty(t, s.files(), "a plan changes nothing")

	s.env["DAGBUCKET_SYNTAX"] = "off" // the checker may have something to say about itself
	code, out, errs := s.run("sync", "--json")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, []string{"dags/a.py=a = 1", "dags/team/b.sql=select 1"}, s.live())
	var result map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Equal(t, []string{"added", "bytes", "deployId", "digest", "files", "kept", "leftOut", "modified", "notLiveAge", "outcome", "reason", "removed",
		"requests", "route", "seconds", "tarballVersion", "warnings"}, slices.Sorted(maps.Keys(result)))
	require.Equal(t, "deployed", result["outcome"])
	require.Equal(t, "default", result["route"])
	require.Equal(t, []any{}, result["removed"])
	var summary map[string]any
	require.NoError(t, json.Unmarshal([]byte(errs), &summary), "one line a run, as JSON: %s", errs)
	require.Equal(t, "deployed", summary["outcome"])

	code, out, _ = s.run("plan")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "default  unchanged")
	code, _, _ = s.run("sync", "--wait")
	require.Equal(t, exitOK, code)

	code, out, _ = s.run("status")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "live since")
	require.Contains(t, out, "2 files")
	require.Contains(t, out, "left out dags/__pycache__/a.pyc (excluded)")
	code, out, _ = s.run("status", "--json")
	require.Equal(t, exitOK, code)
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Equal(t, "live", result["state"])

	require.NoError(t, os.Remove(filepath.Join(s.source, "a.py")))
	require.NoError(t, os.RemoveAll(filepath.Join(s.source, "team")))
	before := s.stored()
	code, out, _ = s.run("plan")
	require.Equal(t, exitHeld, code)
	require.Contains(t, out, "is empty")
	code, _, _ = s.run("sync")
	require.Equal(t, exitHeld, code)
	require.Equal(t, before, s.stored())

	code, out, _ = s.run("pause", "--reason", "release freeze")
	require.Equal(t, exitOK, code, out)
	code, out, _ = s.run("sync")
	require.Equal(t, exitHeld, code)
	require.Contains(t, out, "(release freeze): dagbucket resume lets it go on")
	code, out, _ = s.run("status")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "  paused since ")
	require.Contains(t, out, "ago): release freeze\n")
	code, out, _ = s.run("resume")
	require.Equal(t, exitOK, code, out)

	code, out, _ = s.run("approve", "--dry-run")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "waiting for approval: 2 files to remove\n  - dags/a.py\n  - dags/team/b.sql\n")
	code, _, _ = s.run("sync")
	require.Equal(t, exitHeld, code, "a dry run lets nothing go")
	code, out, _ = s.run("approve")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "approved: 2 files to remove")
	code, out, _ = s.run("sync")
	require.Equal(t, exitOK, code, out)
	require.Empty(t, s.live())
	code, out, _ = s.run("approve")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "nothing waits for approval")
}

func TestEventCommand(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	s.write("a.py", "a = 1")
	payload := filepath.Join(t.TempDir(), "event.json")
	for _, c := range []struct {
		name, payload string
		code          int
		says          string
	}{
		{"manual", `{}`, exitOK, "default  deployed: 1 file"},
		{"another route", `{"route":"other"}`, exitOK, "asks for no route"},
		{"no JSON", `hello`, exitUsage, "event.json"},
		{"unknown", `{"foo":1}`, exitFailed, "foo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(payload, []byte(c.payload), 0o644))
			code, out, errs := s.run("event", payload)
			require.Equal(t, c.code, code, out+errs)
			require.Contains(t, out+errs, c.says)
		})
	}
	code, _, errs := s.run("event", payload+".missing")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "event.json.missing")
}

func TestUsageAndHelp(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	for _, args := range [][]string{{"synk"}, {"sync", "--rout"}, {"event"}, {"sync", "--route", "other"}, {}} {
		code, _, errs := s.run(args...)
		require.Equal(t, exitUsage, code, "%v", args)
		require.NotEmpty(t, errs)
	}
	code, out, _ := s.run("--help")
	require.Equal(t, exitOK, code)
	for _, command := range []string{"demo", "sync", "plan", "event", "status", "version", "DAGBUCKET_CONFIG", "Exit codes"} {
		require.Contains(t, out, command)
	}
	code, out, _ = s.run("version")
	require.Equal(t, exitOK, code)
	require.Equal(t, "dagbucket dev\n", out)
	delete(s.env, "DAGBUCKET_STATE")
	s.env["DAGBUCKET_MAX_WAIT"] = "soon"
	code, _, errs := s.run("sync")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "DAGBUCKET_STATE")
	require.Contains(t, errs, "DAGBUCKET_MAX_WAIT", "all problems in one report")
}

func TestDemo(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	for bucket, args := range map[string][]string{"s3://": {"demo"}, "gs://": {"demo", "--cloud", "gcp", "--once"}} {
		code, out, errs := s.run(args...)
		require.Equal(t, exitOK, code, errs)
		require.Contains(t, out, "Uploading sample DAGs to "+bucket+"demo-dags/")
		require.Contains(t, out, "\ndemo  deployed: ")
		require.Contains(t, out, "equals what was uploaded", "without a terminal it is one round")
	}
	code, _, errs := s.run("demo", "--cloud", "azure")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, `--cloud must be one of "aws","gcp" but got "azure"`)
}

// TestEveryRefusal drives the command line into each failure: one clear line, the right exit code, the state as it was, no secret anywhere.
func TestEveryRefusal(t *testing.T) {
	deployment := func(change func(*astrotest.Deployment)) func(*setup) {
		return func(s *setup) { s.astro.Update(astrotest.DeploymentID, change) }
	}
	inject := func(f astrotest.Fault) func(*setup) {
		return func(s *setup) { f.Times = -1; s.astro.Inject(f) }
	}
	gone := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		breakIt func(*setup)
		code    int
		says    string
	}{
		"DAG deploys off":       {deployment(func(d *astrotest.Deployment) { d.DAGDeploysOff = true }), exitFailed, "--dag-deploy enable"},
		"hibernating":           {deployment(func(d *astrotest.Deployment) { d.Hibernating = true }), exitHeld, "hibernates"},
		"Remote Execution":      {deployment(func(d *astrotest.Deployment) { d.RemoteExecution = true }), exitFailed, "Remote Execution"},
		"wrong Deployment":      {func(s *setup) { s.env["ASTRO_DEPLOYMENT_ID"] = "clmh57jtm000008lb58fe2xxx" }, exitFailed, "check the IDs"},
		"wrong organization":    {func(s *setup) { s.env["ASTRO_ORGANIZATION_ID"] = "clmg78a9d000008l7ek2m1xxx" }, exitFailed, "organization"},
		"token expired":         {func(s *setup) { s.token = astrotest.Token(astrotest.OrganizationID, gone) }, exitFailed, "token"},
		"token missing":         {func(s *setup) { delete(s.env, "ASTRO_API_TOKEN") }, exitUsage, "ASTRO_API_TOKEN"},
		"token refused":         {func(s *setup) { s.astro.AcceptTokens() }, exitFailed, "refuses the API token"},
		"token without rights":  {inject(astrotest.Fault{Call: astrotest.GetDeployment, Status: http.StatusForbidden}), exitFailed, "no right"},
		"create without rights": {inject(astrotest.Fault{Call: astrotest.CreateDeploy, Status: http.StatusForbidden}), exitFailed, "no right"},
		"falls asleep": {inject(astrotest.Fault{Call: astrotest.CreateDeploy, Status: http.StatusBadRequest,
			Message: "Deploy is blocked because Deployment is in HIBERNATING state"}), exitHeld, "hibernates"},
		"HTML":                   {inject(astrotest.Fault{Call: astrotest.GetDeployment, Status: http.StatusOK, Body: "<html>"}), exitFailed, "ASTRO_API_URL"},
		"upload signature ended": {inject(astrotest.Fault{Call: astrotest.Upload, Status: http.StatusForbidden}), exitFailed, "signed upload URL"},
		"upload redirected": {inject(astrotest.Fault{Call: astrotest.Upload, Status: http.StatusFound, Header: http.Header{"Location": {"http://127.0.0.1:1/"}}}),
			exitFailed, "redirect"},
		"no source":           {func(s *setup) { require.NoError(s.t, os.RemoveAll(s.source)) }, exitFailed, "no such bucket"},
		"bad ignore file":     {func(s *setup) { s.write(".dagbucketignore", "*.log\n[a-\n") }, exitFailed, ".dagbucketignore: line 2"},
		"state in the source": {func(s *setup) { s.env["DAGBUCKET_STATE"] = s.env["DAGBUCKET_SOURCE"] + "state/" }, exitUsage, "DAGBUCKET_STATE"},
		"plain http":          {func(s *setup) { s.env["ASTRO_API_URL"] = "http://astro.example.com/v1" }, exitUsage, "https"},
		"damaged record": {func(s *setup) {
			require.NoError(s.t, os.MkdirAll(filepath.Join(s.state, "default"), 0o755))
			require.NoError(s.t, os.WriteFile(filepath.Join(s.state, "default", "record.json"), []byte("{"), 0o644))
		}, exitFailed, "record.json is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, astrotest.Options{})
			s.write("a.py", "a = 1")
			c.breakIt(s)
			if _, ok := s.env["ASTRO_API_TOKEN"]; ok {
				s.env["ASTRO_API_TOKEN"] = s.token
			}
			before, record := s.stored(), s.files()[filepath.Join(s.state, "default", "record.json")]
			code, out, errs := s.run("sync")
			require.Equal(t, c.code, code, out+errs)
			require.Contains(t, out+errs, c.says)
			require.Equal(t, before, s.stored(), "the state is as it was")
			require.Empty(t, s.live())
			code, _, _ = s.run("sync", "--json", "--verbose")
			require.Equal(t, c.code, code)
			for _, other := range []string{"plan", "status"} {
				_, _, _ = s.run(other) // run searches what it says for secrets
			}
			require.Equal(t, before, s.stored())
			if record != "" {
				require.Equal(t, record, s.files()[filepath.Join(s.state, "default", "record.json")], "never overwritten")
			}
		})
	}
}

// TestNamesAreTheOfficialClients compares with what the official client ships for a folder: everything below it, hidden files
// included, as dags/…, without entries for directories; less what is documented as excluded.
func TestNamesAreTheOfficialClients(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	excluded := []string{"__pycache__/a.cpython-312.pyc", "team/__pycache__/b.pyc", ".git/HEAD", ".DS_Store", "team/.b.py.swp", "notes/draft.md", ".dagbucketignore"}
	for _, name := range append([]string{"a.py", ".airflowignore", ".hidden", "team/.airflowignore", "team/b.py", "team/sql/q 1.sql", "team/données/é.csv",
		"empty.py", "team-2/a.py", "team.py", "UPPER.py", "notes/keep.md"}, excluded...) {
		s.write(name, name)
	}
	s.write("empty.py", "")
	s.write(".dagbucketignore", "notes/*\n!notes/keep.md\n")
	require.NoError(t, os.Mkdir(filepath.Join(s.source, "no-files"), 0o755))

	var want []string
	require.NoError(t, filepath.WalkDir(s.source, func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, s.source+"/")
		if err == nil && entry.Type().IsRegular() && !slices.Contains(excluded, name) && !strings.HasPrefix(name, ".dagbucket") {
			content, _ := os.ReadFile(path)
			want = append(want, "dags/"+name+"="+string(content))
		}
		return err
	}))
	slices.Sort(want)
	code, out, errs := s.run("sync")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, want, s.live())
	require.Contains(t, out, "left out dags/notes/draft.md (ignored)")
}
