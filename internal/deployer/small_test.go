package deployer_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// TestASmallBundleIsNotReadAgain: and what is uploaded is what the state holds, whichever way it takes.
func TestASmallBundleIsNotReadAgain(t *testing.T) {
	for name, c := range map[string]struct {
		limit int
		reads int64 // record, lease, three sources; and the bundle
	}{"held": {0, 5}, "read again": {1, 6}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.route.SmallBundle = c.limit
			for _, name := range []string{"a", "b", "c"} {
				w.put("dags/"+name+".py", strings.Repeat(name, 1000))
			}
			result := w.sync()
			w.requireOutcome(deployer.Deployed, result)
			require.Equal(t, w.shown(), w.live())
			require.Equal(t, c.reads, result.Requests["get"])
			stored, _, err := bucket.Read(t.Context(), w.states, "prod/bundles/"+w.record().Live.Run+".tar.gz", "", 1<<20)
			require.NoError(t, err)
			require.Equal(t, stored, w.astro.bundles[w.astro.desired])
		})
	}
}
