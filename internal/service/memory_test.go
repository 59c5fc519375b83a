package service

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

var _ deployer.Memory = (*memory)(nil)

func acquire(t *testing.T, m *memory, bytes int64) int64 {
	t.Helper()
	got, err := m.Acquire(t.Context(), bytes)
	require.NoError(t, err)
	return got
}

func tryAcquire(ctx context.Context, m *memory, bytes int64) error {
	_, err := m.Acquire(ctx, bytes)
	return err
}

func TestMemoryOfTheRuns(t *testing.T) {
	for name, c := range map[string]struct {
		process int64
		syntax  bool
		whole   int64
	}{
		"unknown":                   {0, true, assumedMemory - ownMemory - checkerMemory},
		"the least of a function":   {512 << 20, true, 262 << 20},
		"without the checker":       {400 << 20, false, 300 << 20},
		"more":                      {2 << 30, true, mostMemory},
		"too little for anything":   {128 << 20, true, leastMemory},
		"a little less than needed": {450 << 20, true, leastMemory},
	} {
		require.Equal(t, c.whole, newMemory(c.process, c.syntax).whole, name)
	}
}

// TestMoreMemoryThanThereIs is for one run to have, once it is alone.
func TestMoreMemoryThanThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(0, true)
		acquire(t, m, 10<<20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, tryAcquire(ctx, m, 1<<40), context.DeadlineExceeded)
		m.Release(10 << 20)
		require.Equal(t, m.whole, acquire(t, m, 1<<40), "there is no more")
		m.Release(m.whole)
		require.Equal(t, m.whole, m.free)
		acquire(t, m, m.whole)
		m.Release(m.whole)
	})
}

// TestALargeClaimLetsOthersPass: some of them, and then it has its turn.
func TestALargeClaimLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(0, true)
		slow := m.whole / 2
		acquire(t, m, slow)
		large := false
		var group sync.WaitGroup
		group.Go(func() {
			acquire(t, m, m.whole)
			large = true
		})
		synctest.Wait()
		for range mostPassed {
			acquire(t, m, 1<<20)
			m.Release(1 << 20)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, tryAcquire(ctx, m, 1<<20), context.DeadlineExceeded, "enough have passed")
		require.False(t, large)
		m.Release(slow)
		group.Wait()
		require.True(t, large)
		m.Release(m.whole)
		require.Equal(t, m.whole, m.free)
	})
}

// TestMemoryIsNeverLost: many take and give back, and some give up.
func TestMemoryIsNeverLost(t *testing.T) {
	m := newMemory(0, true)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(300))*time.Microsecond)
				need := random.Int64N(m.whole)
				if got, err := m.Acquire(ctx, need); err == nil {
					m.Release(got)
				}
				cancel()
			}
		})
	}
	group.Wait()
	require.Equal(t, m.whole, m.free)
	require.Empty(t, m.waiting)
}

func TestGoKeepsToTheFunctionsMemory(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	limitGo(0, true)
	require.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(-1), "no function")
	limitGo(512<<20, true)
	require.EqualValues(t, 342<<20, debug.SetMemoryLimit(-1))
	limitGo(1<<30, true)
	require.EqualValues(t, 342<<20, debug.SetMemoryLimit(-1), "who set it knows")
}

// TestLargeRunsLeaveLessGarbage, as long as they are under way.
func TestLargeRunsLeaveLessGarbage(t *testing.T) {
	m := newMemory(0, true)
	var said []int
	m.collect = func(percent int) { said = append(said, percent) }
	acquire(t, m, 60<<20)
	require.Empty(t, said)
	acquire(t, m, 60<<20)
	acquire(t, m, 20<<20)
	require.Equal(t, []int{lessGarbage}, said)
	m.Release(20 << 20)
	m.Release(60 << 20)
	m.Release(60 << 20)
	require.Equal(t, []int{lessGarbage, garbage}, said)

	swept := 0
	m.sweep = func() { swept++ }
	m.tidy()
	m.tidy()
	require.Equal(t, 1, swept)
	acquire(t, m, 120<<20)
	m.tidy() // of another run
	require.Equal(t, 1, swept, "a large one is under way")
	m.Release(120 << 20)
	m.tidy()
	require.Equal(t, 2, swept)
	require.Nil(t, garbageOf(0), "only a function has so little memory")
}
