//go:build infra

package infratest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/lambdahandler"
	"github.com/dagbucket/dagbucket/internal/service"
)

var stepForm = regexp.MustCompile(`\.step\("([^"]+)"`)

// steps are those of a run, as the code names them.
func steps(t *testing.T) (all []string) {
	all = []string{deployer.StepFollow}
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal", "deployer", "*.go"))
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, step := range stepForm.FindAllStringSubmatch(string(text), -1) {
			if !strings.HasSuffix(f, "_test.go") && !slices.Contains(all, step[1]) {
				all = append(all, step[1])
			}
		}
	}
	require.Contains(t, all, "pack")
	return all
}

// fields are all that a run's summary line may have.
func fields(t *testing.T) map[string]bool {
	t.Helper()
	r := deployer.Result{Route: "prod", Outcome: deployer.Deployed, Files: 1, Seconds: map[string]float64{},
		Requests: map[string]int64{"list": 1, "get": 1, "put": 1, "delete": 1}}
	for _, step := range steps(t) {
		r.Seconds[step] = 1
	}
	all := map[string]bool{"message": true}
	for _, a := range append(service.Summary(r, 1), lambdahandler.Metrics("f")(r)...) {
		all[a.Key] = true
	}
	return all
}

// TestTheDashboardShowsWhatTheLineHas: every metric of ours is a field of the line, and every step and kind of request is shown.
func TestTheDashboardShowsWhatTheLineHas(t *testing.T) {
	known, checked := fields(t), 0
	for _, i := range installations(t) {
		for _, d := range i.of("aws_cloudwatch_dashboard") {
			var body struct {
				Widgets []struct {
					Properties struct{ Metrics [][]any }
				}
			}
			require.NoError(t, json.Unmarshal([]byte(d.text("dashboard_body")), &body))
			shown := map[string]bool{}
			for _, w := range body.Widgets {
				for _, m := range w.Properties.Metrics {
					if m[0] == "dagbucket" {
						shown[m[1].(string)] = true
						require.True(t, known[m[1].(string)], "%s: %s is no field of the line", i.plan, m[1])
					}
				}
			}
			for _, step := range steps(t) {
				require.True(t, shown[service.StepField(step)], "%s: the dashboard does not show the step %s", i.plan, step)
			}
			for _, name := range []string{"seconds", "files", "bytes", "kept", "leftOut", "notLiveAge", "held", "requestsList", "requestsGet", "requestsPut", "requestsDelete"} {
				require.True(t, shown[name], name)
			}
			checked++
		}
	}
	require.NotZero(t, checked)
}

var payloadForm = regexp.MustCompile(`jsonPayload\.([A-Za-z]+)`)

// TestLogBasedMetricsReadTheLine: what they filter by and extract are fields of the line.
func TestLogBasedMetricsReadTheLine(t *testing.T) {
	known, checked := fields(t), map[string]bool{}
	for _, i := range installations(t) {
		for _, m := range i.of("google_logging_metric") {
			texts := append(flattened(m.Change.After["label_extractors"]), m.text("filter"), m.text("value_extractor"))
			for _, field := range payloadForm.FindAllStringSubmatch(strings.Join(texts, " "), -1) {
				require.True(t, known[field[1]], "%s: %s: %s is no field of the line", i.plan, m.Address, field[1])
				checked[field[1]] = true
			}
		}
	}
	for _, name := range []string{"outcome", "route", "seconds", "secondsPack", "notLiveAge"} {
		require.True(t, checked[name], name)
	}
}
