package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
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

// TestWhatDoctorComparesTheFunctionWith are the settings that it was run with, and the content of the file.
func TestWhatDoctorComparesTheFunctionWith(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	c := &console{env: func(name string) string { return s.env[name] }}
	o := c.doctorOptions(doctorCmd{})
	_, err := o.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"DAGBUCKET_SOURCE": s.env["DAGBUCKET_SOURCE"], "DAGBUCKET_STATE": s.env["DAGBUCKET_STATE"],
		"ASTRO_DEPLOYMENT_ID": astrotest.DeploymentID}, o.Settings)
	require.Empty(t, o.Place)
	require.Empty(t, o.ConfigSHA256())

	s.configure("")
	content, err := os.ReadFile(s.env["DAGBUCKET_CONFIG"])
	require.NoError(t, err)
	s.env["DAGBUCKET_CONFIG"] = "file://" + s.env["DAGBUCKET_CONFIG"]
	o = c.doctorOptions(doctorCmd{})
	_, err = o.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"DAGBUCKET_CONFIG": s.env["DAGBUCKET_CONFIG"]}, o.Settings)
	require.Equal(t, s.env["DAGBUCKET_CONFIG"], o.Place)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(content)), o.ConfigSHA256())
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
