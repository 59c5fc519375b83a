package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// report is the JSON form, as other programs read it.
type report struct {
	OK    bool `json:"ok"`
	First *struct {
		Name, Status, Says, Repair string
	} `json:"first"`
	Routes []struct {
		Route  string `json:"route"`
		Checks []struct {
			Name, Status, Says, Repair string
		} `json:"checks"`
	} `json:"routes"`
}

func TestDoctor(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	s.env["DAGBUCKET_SYNTAX"] = "off"
	s.write("a.py", "a = 1")
	diagnose := func(args ...string) (int, report) {
		t.Helper()
		code, out, errs := s.run(append([]string{"doctor", "--json"}, args...)...)
		var r report
		require.NoError(t, json.Unmarshal([]byte(out), &r), "%s%s", out, errs)
		return code, r
	}

	code, r := diagnose()
	require.Equal(t, 2, code, "the token of these tests ends within the hour, and no run came yet")
	require.Equal(t, "token", r.First.Name)
	require.Empty(t, s.files(), "nothing is left in the state")

	s.token = astrotest.Token(astrotest.OrganizationID, time.Time{})
	s.env["ASTRO_API_TOKEN"] = s.token
	code, r = diagnose()
	require.Equal(t, 2, code)
	require.Equal(t, "last run", r.First.Name)

	code, _, errs := s.run("sync")
	require.Equal(t, exitOK, code, errs)
	code, r = diagnose()
	require.Equal(t, exitOK, code)
	require.True(t, r.OK)
	require.Nil(t, r.First)
	require.Equal(t, "default", r.Routes[0].Route)
	require.Equal(t, 1, s.astro.Deploys(astrotest.DeploymentID))
	code, _ = diagnose("--deep")
	require.Equal(t, exitOK, code)
	require.Equal(t, 2, s.astro.Deploys(astrotest.DeploymentID))

	code, out, _ := s.run("doctor")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "All is well.")
	require.Contains(t, out, "a directory tells nobody of changes")
}

func TestDoctorOfABrokenConfiguration(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	s.env["DAGBUCKET_QUIET_PERIOD"] = "10"
	s.env["ASTRO_DEPLOYMENT_ID"] = ""
	code, out, _ := s.run("doctor")
	require.Equal(t, 1, code)
	require.Contains(t, out, "FAULT  configuration  the configuration has 2 problems:")
	require.Contains(t, out, "First: configuration: ")

	s.env = map[string]string{"DAGBUCKET_CONFIG": filepath.Join(t.TempDir(), "none.yaml")}
	code, out, _ = s.run("doctor", "--json")
	require.Equal(t, 1, code)
	require.Contains(t, out, "none.yaml")

	code, _, errs := s.run("doctor", "--nonsense")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "unknown flag")
}
