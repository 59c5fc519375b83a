package lambdahandler_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/lambdahandler"
	"github.com/dagbucket/dagbucket/internal/service"
)

// units are those that CloudWatch knows (MetricDatum in the CloudWatch API reference).
var units = []string{
	"Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits",
	"Terabits", "Percent", "Count", "Bytes/Second", "Kilobytes/Second", "Megabytes/Second", "Gigabytes/Second", "Terabytes/Second", "Bits/Second",
	"Kilobits/Second", "Megabits/Second", "Gigabits/Second", "Terabits/Second", "Count/Second", "None",
}

// line is the summary line of a run as the function writes it.
func line(t *testing.T, r deployer.Result, took time.Duration) []byte {
	t.Helper()
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).LogAttrs(t.Context(), slog.LevelInfo, service.SummaryMessage,
		append(service.Summary(r, took), lambdahandler.Metrics("dagbucket")(r)...)...)
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")), "one line")
	return out.Bytes()
}

// requireEMF holds a line against the rules and the schema of "Specification: Embedded metric format" in the CloudWatch user guide. It returns
// the unit of each metric, by its dimensions and name.
func requireEMF(t *testing.T, line []byte) (found map[string]string) {
	t.Helper()
	require.Less(t, len(line), 256<<10)
	requireNoKeyTwice(t, line)
	var root map[string]any
	require.NoError(t, json.Unmarshal(line, &root))
	metadata := root["_aws"].(map[string]any)
	require.Len(t, metadata, 2)
	timestamp := metadata["Timestamp"].(float64)
	require.Equal(t, timestamp, float64(int64(timestamp)), "whole milliseconds")
	at := time.UnixMilli(int64(timestamp))
	require.True(t, at.After(time.Now().Add(-14*24*time.Hour)) && at.Before(time.Now().Add(2*time.Hour)))
	found = map[string]string{}
	for _, entry := range metadata["CloudWatchMetrics"].([]any) {
		directive := entry.(map[string]any)
		require.Len(t, directive, 3, "Namespace, Dimensions, Metrics")
		require.Regexp(t, `^[a-zA-Z0-9._/#:-]{1,255}$`, directive["Namespace"])
		sets := requireDimensions(t, root, directive["Dimensions"].([]any))
		metrics := directive["Metrics"].([]any)
		require.LessOrEqual(t, len(metrics), 100)
		for _, m := range metrics {
			name := requireMetric(t, root, m.(map[string]any))
			for _, set := range sets {
				key := fmt.Sprint(directive["Namespace"], " ", set, " ", name)
				require.NotContains(t, found, key, "a metric twice")
				found[key] = m.(map[string]any)["Unit"].(string)
			}
		}
	}
	return found
}

// requireDimensions: each is a member of the root, a text that is not empty.
func requireDimensions(t *testing.T, root map[string]any, sets []any) (all []string) {
	t.Helper()
	require.NotEmpty(t, sets)
	for _, s := range sets {
		set := s.([]any)
		require.NotEmpty(t, set)
		require.LessOrEqual(t, len(set), 9)
		for _, name := range set {
			require.Regexp(t, `^[^:][\x20-\x7e]{0,249}$`, name)
			require.Regexp(t, `^[\x20-\x7e]{1,1000}$`, root[name.(string)])
		}
		all = append(all, strings.Trim(fmt.Sprint(set), "[]"))
	}
	return all
}

// requireMetric: it names a member of the root, a number of a known unit.
func requireMetric(t *testing.T, root map[string]any, m map[string]any) string {
	t.Helper()
	require.Len(t, m, 2, "Name, Unit")
	name := m["Name"].(string)
	require.Regexp(t, `^[\x20-\x7e]{1,255}$`, name)
	require.Regexp(t, `^[a-zA-Z]+$`, name, "Cloud Logging takes a dot for a level, and quotes other characters")
	require.Contains(t, units, m["Unit"])
	require.IsType(t, 0.0, root[name], name)
	return name
}

// requireNoKeyTwice: of two members of one name nobody knows which one counts.
func requireNoKeyTwice(t *testing.T, line []byte) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(line))
	_, err := decoder.Token()
	require.NoError(t, err)
	seen := map[string]bool{}
	for decoder.More() {
		key, err := decoder.Token()
		require.NoError(t, err)
		require.False(t, seen[key.(string)], key)
		seen[key.(string)] = true
		var value json.RawMessage
		require.NoError(t, decoder.Decode(&value))
	}
}

// TestTheLineIsEmbeddedMetricFormat: for every outcome, with what ran and what did not.
func TestTheLineIsEmbeddedMetricFormat(t *testing.T) {
	always := []string{"seconds", "kept", "leftOut", "deployed", "unchanged", "covered", "held", "busy", "failed"}
	looked := []string{"notLiveAge", "files", "bytes", "secondsList", "secondsLease", "requestsList", "requestsGet"}
	full := deployer.Result{Route: "prod", Files: 7, Bytes: 1 << 40, NotLiveAge: 12.5, Kept: []deployer.Note{{Path: "a"}},
		Seconds:  map[string]float64{"list": 0.1, "lease": 1e-9},
		Requests: map[string]int64{"list": 2, "get": 1, "put": 0, "delete": 0, "sourceGet": 1, "astro": 1}} // those two are no metrics: each is paid for
	busy := deployer.Result{Route: "prod", Seconds: map[string]float64{"lease": 1}, Requests: map[string]int64{"get": 1}}
	deployed := full
	deployed.Seconds = map[string]float64{}
	steps := []string{"lease", "record", "preflight", "list", "wait", "pack", "create", "upload", "pending", "finalize", "prune", "status", "notify", "import errors"}
	for _, step := range steps {
		deployed.Seconds[step] = 1
	}
	everyStep := slices.Concat(always, []string{"notLiveAge", "files", "bytes", "requestsList", "requestsGet"})
	for _, step := range steps {
		everyStep = append(everyStep, service.StepField(step))
	}
	for name, c := range map[string]struct {
		result  deployer.Result
		outcome deployer.Outcome
		metrics []string
	}{
		"deployed":           {deployed, deployer.Deployed, everyStep},
		"unchanged":          {full, deployer.Unchanged, append(looked, always...)},
		"held":               {full, deployer.Held, append(looked, always...)},
		"failed":             {full, deployer.Failed, append(looked, always...)},
		"busy":               {busy, deployer.Busy, append([]string{"secondsLease", "requestsGet"}, always...)},
		"covered":            {deployer.Result{Route: "prod"}, deployer.Covered, always},
		"set-up that failed": {deployer.Result{Reason: "\"odd\"\n\x00 text"}, deployer.Failed, always},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.result.Outcome = c.outcome
				want := map[string]bool{}
				for _, m := range c.metrics {
					want["dagbucket function "+m] = true
				}
				if c.result.Route != "" {
					want["dagbucket function route succeeded"] = true
				}
				have := map[string]bool{}
				for key := range requireEMF(t, line(t, c.result, 1500*time.Millisecond)) {
					have[key] = true
				}
				require.Equal(t, want, have)
			})
		})
	}
}

// TestTheLinesFields: what log-based metrics read, and what it means.
func TestTheLinesFields(t *testing.T) {
	r := deployer.Result{Route: "prod", Outcome: deployer.Deployed, Files: 3, Bytes: 10, NotLiveAge: 2.5, LeftOut: []deployer.Note{{}, {}},
		Seconds: map[string]float64{"list": 0.25, "pack": 1}, Requests: map[string]int64{"list": 2, "get": 3, "put": 4, "delete": 0, "sourceGet": 2, "astro": 5}}
	var fields map[string]any
	require.NoError(t, json.Unmarshal(line(t, r, 1500*time.Millisecond), &fields))
	for name, value := range map[string]any{
		"msg": "run", "route": "prod", "outcome": "deployed", "files": 3.0, "bytes": 10.0, "kept": 0.0, "leftOut": 2.0, "notLiveAge": 2.5, "seconds": 1.5,
		"secondsList": 0.25, "secondsPack": 1.0, "requestsList": 2.0, "requestsGet": 3.0, "requestsPut": 4.0, "requestsDelete": 0.0, "requestsSourceGet": 2.0, "requestsAstro": 5.0, "succeeded": 1.0, "deployed": 1.0,
		"failed": 0.0,
	} {
		require.Equal(t, value, fields[name], name)
	}
	require.NotContains(t, fields, "secondsWait", "it did not run")
}
