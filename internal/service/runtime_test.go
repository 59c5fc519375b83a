package service

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/selection"
)

func TestWhatARuntimeVersionTells(t *testing.T) {
	t.Parallel()
	type ignores = []selection.AirflowSyntax
	for name, c := range map[string]struct {
		version, set string
		python       string
		ignores      ignores
	}{
		"Airflow 2":               {"13.2.0", "", "3.12", ignores{selection.Airflow2Regexp}},
		"Airflow 2 with globs":    {"12.9.0", "glob", "3.12", ignores{selection.Airflow2Glob}},
		"an old one":              {"4.2.9", "regexp", "3.9", ignores{selection.Airflow2Regexp}},
		"a very old one":          {"3.0.4", "", "", ignores{selection.Airflow2Regexp}},
		"Airflow 3.0":             {"3.0-17", "", "3.12", ignores{selection.Airflow2Glob}},
		"Airflow 3":               {"3.1-1", "", "3.13", ignores{selection.Airflow3Glob}},
		"Airflow 3 with regexps":  {"3.2-4", "regexp", "3.14", ignores{selection.Airflow3Regexp}},
		"Airflow 3, set as it is": {"3.2-4", "glob", "3.14", ignores{selection.Airflow3Glob}},
		"a coming one":            {"4.0-1", "", "", ignores{selection.Airflow3Glob}},
		"a coming old one":        {"14.0.0", "", "", ignores{selection.Airflow2Regexp}},
		"none":                    {"", "glob", "", nil},
		"not a version":           {"latest", "", "", nil},
		"half a version":          {"13", "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.python, Python(c.version))
			require.Equal(t, c.ignores, ignoresOf(c.version, c.set))
		})
	}
}
