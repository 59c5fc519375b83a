package pysyntax

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// stricter is what is refused although CPython before 3.14 accepts it, see decode.
const stricter = "invalid/nonutf8_comment.py"

func TestCorpus(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	all := corpus(t)
	for _, python := range []string{"3.8", "3.9", "3.10", "3.11", "3.12", "3.13"} {
		t.Run(python, func(t *testing.T) {
			t.Parallel()
			invalid := 0
			var missed, refused []string
			for _, name := range slices.Sorted(maps.Keys(all)) {
				want, known := all[name][python]
				require.True(t, known, "no verdict on %s", name)
				found := check(t, c, string(readCorpus(t, name)), python)
				switch {
				case want != nil && len(found) == 0:
					missed = append(missed, name)
				case want == nil && len(found) > 0:
					refused = append(refused, name)
				}
				if want != nil {
					invalid++
				}
			}
			t.Logf("%d files, %d of them invalid; missed: %q", len(all), invalid, missed)
			require.Equal(t, []string{stricter}, refused, "valid files")
			require.Greater(t, invalid, 100)
			require.LessOrEqual(t, len(missed)*100, invalid*3, "at most 3 %%")
		})
	}
}
