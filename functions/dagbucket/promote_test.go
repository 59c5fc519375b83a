package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// twoRoutes is dev, over the set-up's source, and prod, over another folder.
func twoRoutes(t *testing.T) (s *setup, prod string) {
	s = newSetup(t, astrotest.Options{Deployments: []astrotest.Deployment{{ID: "dev"}, {ID: "prod"}}})
	prod = t.TempDir()
	file := filepath.Join(t.TempDir(), "dagbucket.yaml")
	yaml := strings.NewReplacer("STATE", s.state, "DEV", s.source, "PROD", prod).Replace(`
state: "file://STATE/"
routes:
  - {name: dev, deployment: dev, quiet_period: 0s, syntax: "off", sources: [{url: "file://DEV/"}]}
  - {name: prod, deployment: prod, quiet_period: 0s, syntax: "off", sources: [{url: "file://PROD/"}]}
`)
	require.NoError(t, os.WriteFile(file, []byte(yaml), 0o600))
	for name := range s.env {
		if strings.HasPrefix(name, "DAGBUCKET_") || name == "ASTRO_DEPLOYMENT_ID" {
			delete(s.env, name)
		}
	}
	s.env["DAGBUCKET_CONFIG"] = file
	return s, prod
}

func TestPromote(t *testing.T) {
	s, prod := twoRoutes(t)
	s.write("a.py", "a = 1")
	s.write("team/b +%.py", "b = 1")
	promote := func(args ...string) (int, string, string) {
		return s.run(append([]string{"promote", "--from", "dev", "--to", "prod"}, args...)...)
	}
	code, out, _ := promote()
	require.Equal(t, exitHeld, code)
	require.Equal(t, "dev → prod  refused\n  refused nothing was deployed on dev yet\n", out)

	code, _, errs := s.run("sync", "--route", "dev")
	require.Equal(t, exitOK, code, errs)
	code, out, _ = promote("--dry-run")
	require.Equal(t, exitOK, code)
	require.Equal(t, "dev → prod  2 files would be copied, 0 would be removed, 0 there already\n  > dags/a.py\n  > dags/team/b +%.py\n", out)
	require.NoFileExists(t, filepath.Join(prod, "a.py"))

	code, out, errs = promote("--no-sync", "a.py")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, "dev → prod  1 file copied, 0 removed, 0 there already\n  > dags/a.py\n", out)
	require.Empty(t, s.astro.Finalized("prod"))

	code, out, errs = promote()
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "dev → prod  1 file copied, 0 removed, 1 there already\n  > dags/team/b +%.py\nprod  deployed: 2 files")
	require.Len(t, s.astro.Finalized("prod"), 1)
	content, err := os.ReadFile(filepath.Join(prod, "team/b +%.py"))
	require.NoError(t, err)
	require.Equal(t, "b = 1", string(content))

	code, out, _ = promote()
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "dev → prod  nothing to do: 2 files there already\nprod  unchanged")

	require.NoError(t, os.WriteFile(filepath.Join(prod, "a.py"), []byte("by hand"), 0o600))
	s.write("a.py", "a = 2")
	code, _, _ = s.run("sync", "--route", "dev")
	require.Equal(t, exitOK, code)
	code, out, _ = promote()
	require.Equal(t, exitHeld, code)
	require.Equal(t, "dev → prod  refused\n  refused dags/a.py: it was changed there since it was promoted\n", out)

	code, out, errs = promote("--force", "--json")
	require.Equal(t, exitOK, code, errs)
	var result map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Equal(t, []string{"copied", "dryRun", "from", "refused", "removed", "sync", "to", "unchanged", "warnings"}, slices.Sorted(maps.Keys(result)))
	require.Equal(t, []any{"dags/a.py"}, result["copied"])
	require.Equal(t, []any{}, result["removed"])
	require.Equal(t, "deployed", result["sync"].(map[string]any)["outcome"])
	require.Len(t, s.astro.Finalized("prod"), 2)

	s.write("a.py", "a = 3")
	code, _, _ = s.run("sync", "--route", "dev")
	require.Equal(t, exitOK, code)
	s.astro.Update("prod", func(d *astrotest.Deployment) { d.DAGDeploysOff = true })
	code, out, _ = promote()
	require.Equal(t, exitFailed, code, "the files are copied, and the deploy failed")
	require.Contains(t, out, "  > dags/a.py\nprod  failed")
}

func TestPromoteUsage(t *testing.T) {
	s, _ := twoRoutes(t)
	for words, args := range map[string][]string{
		"missing flags":        {"promote", "--from", "dev"},
		"are the same route":   {"promote", "--from", "dev", "--to", "dev"},
		`no route is called "`: {"promote", "--from", "dev", "--to", "staging"},
	} {
		code, _, errs := s.run(args...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, errs, words)
	}
}
