//go:build !race

package pysyntax

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const raceDetector = false

// TestInterpreted compares both ways to run the module. The interpreter takes half a minute under the race detector, and nothing in it is concurrent;
// the Makefile runs this test without.
func TestInterpreted(t *testing.T) {
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
