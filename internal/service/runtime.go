package service

import (
	"strconv"
	"strings"

	"github.com/dagbucket/dagbucket/internal/selection"
)

// runtimeLine is a line of Astro Runtime versions: 13 of "13.2.0", 3.1 of "3.1-4". Lines with a dash are of Airflow 3, and are named after its version.
type runtimeLine struct {
	major, minor int
	airflow3     bool
}

// parseRuntime reads an astroRuntimeVersion.
func parseRuntime(version string) (r runtimeLine, ok bool) {
	line, _, airflow3 := strings.Cut(version, "-")
	parts := strings.Split(line, ".")
	if len(parts) < 2 {
		return runtimeLine{}, false
	}
	r.airflow3 = airflow3
	var err1, err2 error
	r.major, err1 = strconv.Atoi(parts[0])
	r.minor, err2 = strconv.Atoi(parts[1])
	return r, err1 == nil && err2 == nil && (len(parts) == 2) == airflow3
}

// newestPython is the newest Python that images of a Runtime line come with. Most lines can be had with older ones too, which the API does not
// tell. Sources: "Python versioning" in Astronomer's "Astro Runtime architecture", and for Airflow 3 the catalogue of Runtime versions; for 11 and
// 3.1, of which they do not tell the newest ones, what their Airflow supports.
var newestPython = map[runtimeLine]string{
	{4, 0, false}: "3.9", {5, 0, false}: "3.9", {6, 0, false}: "3.9", {7, 0, false}: "3.9", {8, 0, false}: "3.10", {9, 0, false}: "3.11",
	{10, 0, false}: "3.11", {11, 0, false}: "3.12", {12, 0, false}: "3.12", {13, 0, false}: "3.12",
	{3, 0, true}: "3.12", {3, 1, true}: "3.13", {3, 2, true}: "3.14", {3, 3, true}: "3.14",
}

// Python is the newest Python that DAGs of an Astro Runtime version may run on: their syntax is checked for it, so that none is refused that works.
// It is "" if it is not known.
func Python(runtimeVersion string) string {
	r, ok := parseRuntime(runtimeVersion)
	if !ok {
		return ""
	}
	if !r.airflow3 {
		r.minor = 0
	}
	return newestPython[r]
}

// ignoresOf is how a Deployment's Airflow reads .airflowignore: as set, or by default. Airflow's default was regexp before Airflow 3, and is glob now
// (https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#airflowignore).
func ignoresOf(runtimeVersion, set string) []selection.AirflowSyntax {
	r, ok := parseRuntime(runtimeVersion)
	switch {
	case !ok:
		return nil
	case !r.airflow3 && set == "glob":
		return []selection.AirflowSyntax{selection.Airflow2Glob}
	case !r.airflow3:
		return []selection.AirflowSyntax{selection.Airflow2Regexp}
	case set == "regexp":
		return []selection.AirflowSyntax{selection.Airflow3Regexp}
	case r.major == 3 && r.minor == 0:
		return []selection.AirflowSyntax{selection.Airflow2Glob} // its globs are still those
	}
	return []selection.AirflowSyntax{selection.Airflow3Glob}
}
