package pysyntax

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

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

// TestInterpreted compares both ways to run the module.
func TestInterpreted(t *testing.T) {
	if raceDetector {
		t.Skip("the interpreter takes half a minute under the race detector, and nothing in it is concurrent")
	}
	t.Parallel()
	compiled := sharedChecker(t)
	interpreted, log := newChecker(Options{})
	names := slices.Sorted(maps.Keys(corpus(t)))
	for i := 0; i < len(names); i += len(names)/10 + 1 {
		for _, python := range []string{"3.9", "3.13"} {
			source := string(readCorpus(t, names[i]))
			require.Equal(t, check(t, compiled, source, python), check(t, interpreted, source, python), names[i])
		}
	}
	require.True(t, interpreted.interpreted)
	require.Contains(t, log.String(), "there is no machine code")

	long := []byte(fill("😀 ", largestInterpreted))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := interpreted.Check(ctx, long, "")
	require.Equal(t, context.DeadlineExceeded, err)
	_, err = interpreted.Check(t.Context(), long, "")
	require.EqualError(t, err, "not checked: it takes longer than 2s without machine code")
	_, err = interpreted.Check(t.Context(), []byte(fill("x = 1\n", 2*largestInterpreted)), "")
	require.ErrorContains(t, err, "the most without machine code")
	require.Len(t, check(t, interpreted, "x = = 1\n", ""), 1, "the next one is checked normally")
}
