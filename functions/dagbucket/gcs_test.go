package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

// onGoogle moves a set-up's source and state to an emulator of Cloud Storage, as its variable names it.
func (s *setup) onGoogle() (put func(key, content string)) {
	s.t.Helper()
	server, err := gcsserver.New("acme-dags", "acme-state", "acme-config")
	require.NoError(s.t, err)
	listener := httptest.NewServer(server)
	s.t.Cleanup(listener.Close)
	s.t.Setenv("STORAGE_EMULATOR_HOST", listener.URL) // Google's library reads it by itself
	s.env["STORAGE_EMULATOR_HOST"] = listener.URL
	s.env["DAGBUCKET_SOURCE"], s.env["DAGBUCKET_STATE"] = "gs://acme-dags/dags/", "gs://acme-state/"
	open, err := gcpwire.Anonymous(s.t.Context(), listener.URL)
	require.NoError(s.t, err)
	return func(url, content string) {
		s.t.Helper()
		place, key, err := bucket.ParseObjectURL(url)
		require.NoError(s.t, err)
		b, err := open.Open(s.t.Context(), place)
		require.NoError(s.t, err)
		_, err = b.Put(s.t.Context(), key, strings.NewReader(content), bucket.Always)
		require.NoError(s.t, err)
	}
}

func TestCloudStorageFromTheCommandLine(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	put := s.onGoogle()
	put("gs://acme-dags/dags/a.py", "a = 1")
	put("gs://acme-dags/dags/caf\u00e9 +%20 😀.py", "b = 2")
	put("gs://acme-dags/dags_old/a.py", "elsewhere")

	code, out, errs := s.run("plan")
	require.Equal(t, exitChanges, code, out+errs)
	require.Contains(t, out, "dags/a.py")
	require.Empty(t, s.live())
	code, out, errs = s.run("sync", "--wait")
	require.Equal(t, exitOK, code, out+errs)
	require.Equal(t, []string{"dags/a.py=a = 1", "dags/caf\u00e9 +%20 😀.py=b = 2"}, s.live())
	code, out, errs = s.run("status")
	require.Equal(t, exitOK, code, out+errs)
	require.Contains(t, out, "2 files")
	code, out, errs = s.run("sync")
	require.Equal(t, exitOK, code, out+errs)
	require.Contains(t, out, "unchanged")

	put("gs://acme-dags/dags/new.py", "c = 3")
	code, out, errs = s.run("event", "../../testdata/events/google/pubsub-scheduler-all.json")
	require.Equal(t, exitOK, code, out+errs)
	require.Len(t, s.live(), 3)
}

// TestMixedCloudsFromTheCommandLine: it has every cloud's clients.
func TestMixedCloudsFromTheCommandLine(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	put := s.onGoogle()
	s.env["DAGBUCKET_STATE"] = "file://" + s.state + "/"
	put("gs://acme-dags/dags/a.py", "a = 1")
	code, out, errs := s.run("sync")
	require.Equal(t, exitOK, code, out+errs)
	require.Equal(t, []string{"dags/a.py=a = 1"}, s.live())
}

func TestConfigurationInCloudStorage(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	put := s.onGoogle()
	put("gs://acme-dags/dags/a.py", "a = 1")
	put("gs://acme-config/dagbucket.yaml", `
state: gs://acme-state/
routes:
  - name: prod
    sources: [{url: "gs://acme-dags/dags/"}]
    deployment: `+astrotest.DeploymentID+`
    quiet_period: 0s
`)
	for _, name := range []string{"DAGBUCKET_SOURCE", "DAGBUCKET_STATE", "DAGBUCKET_QUIET_PERIOD", "ASTRO_DEPLOYMENT_ID"} {
		delete(s.env, name)
	}
	s.env["DAGBUCKET_CONFIG"] = "gs://acme-config/dagbucket.yaml"
	code, out, errs := s.run("sync")
	require.Equal(t, exitOK, code, out+errs)
	require.Contains(t, out, "prod  deployed: 1 file,")

	s.env["DAGBUCKET_CONFIG"] = "gs://acme-config/missing.yaml"
	code, out, errs = s.run("sync")
	require.Equal(t, exitUsage, code, out+errs)
	require.Contains(t, errs, "gs://acme-config/missing.yaml: no such object")
	s.env["DAGBUCKET_CONFIG"] = "gs://no-such-bucket/dagbucket.yaml"
	code, _, errs = s.run("sync")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "no such bucket: check the bucket's name")
}
