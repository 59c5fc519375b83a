package state

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLinesUpToTheLimit are read, whether or not the last one is ended.
func TestLinesUpToTheLimit(t *testing.T) {
	for text, fits := range map[string]bool{"": true, "1\n2\n3": true, "1\n2\n3\n": true, "\n\n3\n": true, "1\n2\n3\n4": false, "1\n2\n3\n\n": false, "\n\n\n\n": false} {
		var got []int
		err := readLines(strings.NewReader(text), 3, func(values []int) { got = append(got, values...) })
		if !fits {
			require.ErrorContains(t, err, "more than 3 lines", "%q", text)
			continue
		}
		require.NoError(t, err, "%q", text)
		require.Len(t, got, len(strings.Fields(text)), "%q", text)
	}
	// The limit at the end of a part, and behind it.
	for _, n := range []int{linesAtOnce, 2 * linesAtOnce} {
		text := strings.Repeat("1\n", n)
		require.NoError(t, readLines(strings.NewReader(text), n, func([]int) {}))
		require.Error(t, readLines(strings.NewReader(text), n-1, func([]int) {}))
	}
}
