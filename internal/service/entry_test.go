package service_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/service"
)

// TestAnAnswerOfManyRoutesIsSmall: Lambda takes 6 MB, and an error should be read.
func TestAnAnswerOfManyRoutesIsSmall(t *testing.T) {
	for _, routes := range []int{1, 500} {
		var report service.Report
		for i := range routes {
			paths := slices.Repeat([]string{"dags/team/some/folder/with/a/long/name.py"}, 5000)
			report.Results = append(report.Results, deployer.Result{Route: fmt.Sprint(i), Added: paths, Modified: paths, Retryable: true, Reason: "the network is down"})
		}
		encoded, err := json.Marshal(report.Answer())
		require.NoError(t, err)
		require.Less(t, len(encoded), 1<<20)
		reasons := report.Retryable()
		require.Equal(t, "route 0: the network is down", reasons[0])
		require.LessOrEqual(t, len(reasons), 21)
		if routes > 1 {
			require.Equal(t, "and 480 more routes", reasons[20])
		}
	}
}
