package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first schedule")
	schedules = flag.Uint64("schedules", defaultSchedules, "how many schedules")
	step      = flag.Uint64("step", 1, "from one schedule's seed to the next")
	verbose   = flag.Bool("log", false, "print what happened, also if it went well")
)

// TestMain lets garbage lie: worlds are small and many.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// run is one schedule in a bubble of virtual time.
func run(t *testing.T, seed uint64) (w *world) {
	synctest.Test(t, func(t *testing.T) { w = simulate(t, seed) })
	return w
}

func TestSchedules(t *testing.T) {
	parts := uint64(runtime.GOMAXPROCS(0))
	var failed atomic.Bool // one schedule is enough to look at
	for part := range parts {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for n := part; n < *schedules && !failed.Load(); n += parts {
				check(t, *firstSeed+n**step, func() { failed.Store(true) })
			}
		})
	}
}

// check runs one schedule and tells what led to the first thing that went wrong.
func check(t *testing.T, seed uint64, onFailure func()) {
	w := run(t, seed)
	if len(w.violations) > 0 || *verbose {
		fmt.Fprintf(os.Stderr, "seed %d: %+v\n%s\n", seed, w.p, strings.Join(w.trace, "\n"))
	}
	if n := len(w.violations); n > 0 {
		onFailure()
		t.Fatalf("%d violations, the first is: %s\nreplay it with: make soak SEED=%d SCHEDULES=1", n, w.violations[0], seed)
	}
}

// TestASeedIsASchedule: or a failing one could not be replayed.
func TestASeedIsASchedule(t *testing.T) {
	for seed := range uint64(12) {
		require.Equal(t, run(t, seed).trace, run(t, seed).trace, "seed %d", seed)
	}
}
