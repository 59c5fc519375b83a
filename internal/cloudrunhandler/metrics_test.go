package cloudrunhandler_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheLineIsForLogBasedMetrics: one for each run, with a number in each flat field, by the names that filters and extractors of Cloud Logging use.
func TestTheLineIsForLogBasedMetrics(t *testing.T) {
	w := newWorld(t, nil)
	w.put("dags/a.py")
	require.Equal(t, "deployed", w.outcome(`{}`))
	require.Equal(t, "unchanged", w.outcome(`{}`))
	var lines []map[string]any
	for text := range strings.Lines(w.log.String()) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line["message"] == "run" {
			lines = append(lines, line)
		}
	}
	require.Len(t, lines, 2)
	for i, outcome := range []string{"deployed", "unchanged"} {
		require.Equal(t, []any{"INFO", "default", outcome}, []any{lines[i]["severity"], lines[i]["route"], lines[i]["outcome"]})
		for _, field := range []string{"seconds", "secondsList", "secondsLease", "notLiveAge", "files", "bytes", "kept", "leftOut", "requestsList", "requestsGet", "requestsPut", "requestsDelete"} {
			require.IsType(t, 0.0, lines[i][field], field)
		}
		require.Equal(t, 1.0, lines[i]["files"])
		for field, value := range lines[i] {
			require.NotContains(t, field, ".", "Cloud Logging takes a dot for a level")
			_, nested := value.(map[string]any)
			require.False(t, nested, field)
		}
	}
	require.Contains(t, lines[0], "secondsPack")
	require.NotContains(t, lines[1], "secondsPack", "it did not run")
}
