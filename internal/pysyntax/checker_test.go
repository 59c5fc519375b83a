package pysyntax

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	names := slices.Sorted(maps.Keys(corpus(t)))
	want := map[string][]Diagnostic{}
	for _, name := range names {
		want[name] = check(t, sharedChecker(t), string(readCorpus(t, name)), "3.12")
	}
	for _, workers := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			t.Parallel()
			c := New(Options{Cache: testCache, Make: true, Workers: workers})
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			var g errgroup.Group
			for i := range 8 { // each begins elsewhere, and loads if it is the first
				g.Go(func() error {
					for j := range names {
						name := names[(j+i*len(names)/8)%len(names)]
						if _, err := c.Check(cancelled, readCorpus(t, name), ""); err != context.Canceled {
							return fmt.Errorf("cancelled, %s: %w", name, err)
						}
						got, err := c.Check(t.Context(), readCorpus(t, name), "3.12")
						if err != nil || !slices.Equal(got, want[name]) {
							return fmt.Errorf("%s: %v, not %v: %w", name, got, want[name], err)
						}
					}
					return nil
				})
			}
			require.NoError(t, g.Wait())
			require.LessOrEqual(t, len(c.idle), workers)
			require.Empty(t, c.slots)
			c.Close()
		})
	}
}

// TestWaitingEnds is about a check that waits for others to end, for a place or as a large one.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{"for a place": "x = 1\n", "as a large one": fill("x = 1\n", 2*largeSource)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(Options{Cache: testCache, Make: true, Workers: 1})
			require.NoError(t, c.Load())
			c.large <- struct{}{}
			c.slots <- struct{}{}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				_, err := c.Check(ctx, []byte(source), "")
				ended <- err
			}()
			cancel()
			require.Equal(t, context.Canceled, <-ended)
			<-c.large
			<-c.slots
			require.Empty(t, check(t, c, source, ""), "the places are free again")
			require.Empty(t, c.large)
			c.Close()
		})
	}
}

func TestContextsAreDoneAlready(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	ctx, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	for name, source := range map[string]string{"valid": "x = 1\n", "invalid": "\x00", "too large": fill("x", 2*MaxSource)} {
		_, err := c.Check(ctx, []byte(source), "")
		require.Equal(t, context.DeadlineExceeded, err, name)
	}
}

// TestFailuresAreOfOneSource is about an instance whose state is broken: it is not used again.
func TestFailuresAreOfOneSource(t *testing.T) {
	t.Parallel()
	c := New(Options{Cache: testCache, Make: true, Workers: 1})
	require.NoError(t, c.Load())
	broken := c.idle[0]
	broken.heap.values = nil
	_, err := c.Check(t.Context(), []byte("x = = 1\n"), "3.9")
	require.True(t, IsUnchecked(err), err)
	require.ErrorContains(t, err, "reference")
	require.NotContains(t, err.Error(), "\n", "no stack")
	require.Empty(t, c.idle)
	require.Len(t, check(t, c, "x = = 1\n", "3.9"), 1)
	require.NotSame(t, broken, c.idle[0])
	c.Close()
}

func TestInstancesThatGrewAreNotKept(t *testing.T) {
	t.Parallel()
	c := New(Options{Cache: testCache, Make: true, Workers: 1})
	require.Empty(t, check(t, c, "x = 1\n", ""))
	require.Len(t, c.idle, 1)
	require.Empty(t, check(t, c, "x = ["+fill("1,", large)+"]\n", ""))
	require.Empty(t, c.idle, "of memory")
	kept := 0
	for check(t, c, fill("1 1\n", 2000), ""); len(c.idle) > 0; kept++ {
		require.Less(t, kept, keptValues)
		check(t, c, fill("1 1\n", 2000), "")
	}
	require.Positive(t, kept, "of values, some time")
	c.Close()
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := New(Options{})
	require.GreaterOrEqual(t, cap(c.slots), 1)
	require.LessOrEqual(t, cap(c.slots), mostWorkers)
	require.Contains(t, Kind, "ruff "+Version+"/")
	c.Close() // nothing was loaded
	require.False(t, IsUnchecked(nil))
	require.False(t, IsUnchecked(context.Canceled))
}

func FuzzCheck(f *testing.F) {
	for name := range corpus(f) {
		f.Add(readCorpus(f, name), "3.12")
	}
	for _, tc := range hostile {
		if len(tc.source) < 4<<10 {
			f.Add([]byte(tc.source), "")
		}
	}
	f.Add([]byte("class A:\n\tdef f():\n        pass # noqa\n"), "3.8")
	f.Add([]byte(strings.Repeat("\r", 10)), "x")
	f.Fuzz(func(t *testing.T, source []byte, python string) {
		found, err := sharedChecker(t).Check(t.Context(), source, python)
		if err != nil {
			require.True(t, IsUnchecked(err), err)
			return
		}
		require.LessOrEqual(t, len(found), maxDiagnostics)
		for _, d := range found {
			requireInside(t, d, source)
		}
	})
}
