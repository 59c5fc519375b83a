package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

func TestABrokenFileIsShown(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	s.write("a.py", "a = 1\n")
	s.write("b.py", "b = 1\n")
	code, _, errs := s.run("sync")
	require.Equal(t, exitOK, code, errs)

	s.write("a.py", "def a(x):\n    if x\n        return 2\n")
	s.write("b.py", "b = 2\n")
	s.write("new.py", "print 'é', 1\n")
	code, out, errs := s.run("sync")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, []string{"dags/a.py=a = 1\n", "dags/b.py=b = 2\n"}, s.live())
	const kept = "  kept dags/a.py:2:9 (syntax): Expected `:`, found newline\n" +
		"          if x\n" +
		"              ^\n"
	require.Contains(t, out, kept)
	require.Contains(t, out, "  left out dags/new.py:1:7 (syntax): Simple statements must be separated by newlines or semicolons\n"+
		"      print 'é', 1\n"+
		"            ^\n")
	code, out, _ = s.run("status")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, kept)

	_, out, _ = s.run("sync", "--json")
	var result deployer.Result
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Equal(t, deployer.Unchanged, result.Outcome)
	require.Equal(t, []deployer.Note{{Path: "dags/a.py", Key: "a.py", Reason: "syntax", Line: 2, Column: 9,
		Message: "Expected `:`, found newline", Excerpt: "    if x\n        ^"}}, result.Kept)

	s.write("a.py", "a = 3\n")
	s.env["DAGBUCKET_SYNTAX"] = "warn"
	_, out, _ = s.run("sync")
	require.Contains(t, out, "  warning dags/new.py:1:7 (syntax): ")
	require.Contains(t, s.live(), "dags/a.py=a = 3\n")
	require.Contains(t, s.live(), "dags/new.py=print 'é', 1\n")

	s.write("a.py", "a =\n")
	s.env["DAGBUCKET_SYNTAX"] = "hold"
	code, out, _ = s.run("sync")
	require.Equal(t, exitHeld, code)
	require.Contains(t, out, "syntax: dags/a.py:1:4: Expected an expression")
}

// TestTheDeploymentSaysWhichPython: syntax that is too new for it is refused.
func TestTheDeploymentSaysWhichPython(t *testing.T) {
	for runtime, live := range map[string][]string{"8.10.0": {"dags/b.py=b = 1\n"}, "13.2.0": {"dags/a.py=type A = int\n", "dags/b.py=b = 1\n"}} {
		t.Run(runtime, func(t *testing.T) {
			s := newSetup(t, astrotest.Options{Deployments: []astrotest.Deployment{{RuntimeVersion: runtime}}})
			s.write("a.py", "type A = int\n")
			s.write("b.py", "b = 1\n")
			code, out, errs := s.run("sync")
			require.Equal(t, exitOK, code, errs)
			require.Equal(t, live, s.live(), out)
		})
	}
}
