package deployer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// limited is a Memory of a fixed size for one run at a time.
type limited struct {
	t           *testing.T
	whole, used int64
	most        int64
	err         error
}

func (l *limited) Acquire(_ context.Context, n int64) (int64, error) {
	if l.err != nil {
		return 0, l.err
	}
	require.Zero(l.t, l.used, "a run that waits for memory holds none")
	l.used = min(n, l.whole)
	l.most = max(l.most, l.used)
	return l.used, nil
}

func (l *limited) Release(n int64) {
	require.Positive(l.t, n)
	l.used -= n
	require.GreaterOrEqual(l.t, l.used, int64(0))
}

// TestARunReservesMemory for what it packs, gives most of it back before it talks to Astro, and all of it at its end, however that comes.
func TestARunReservesMemory(t *testing.T) {
	w := newWorld(t)
	memory := &limited{t: t, whole: 1 << 40}
	w.route.Memory, w.route.SmallBundle = memory, 1<<20
	w.put("dags/a.py", strings.Repeat("a", 1000))
	atCreate := int64(-1)
	w.astro.before = func(call string) {
		if call == "create" {
			atCreate = memory.used
		}
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Positive(t, memory.most)
	require.Positive(t, atCreate, "the bundle and the lines are still there")
	require.Less(t, atCreate, memory.most/10)
	require.Zero(t, memory.used)

	small := memory.most
	memory.whole, memory.most = small/2, 0
	w.put("dags/a.py", strings.Repeat("b", 1000))
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, small/2, memory.most, "there is no more")
	require.Zero(t, memory.used)

	w.states.Fault = func(op membucket.Op, key string, _ bool) error {
		if op == membucket.Put && strings.Contains(key, "bundles/") {
			return errors.New("no storage")
		}
		return nil
	}
	w.put("dags/a.py", strings.Repeat("c", 1000))
	w.requireOutcome(deployer.Failed, w.sync())
	require.Zero(t, memory.used)

	w.states.Fault, memory.whole, memory.most = nil, 1<<40, 0
	w.put("dags/model.bin", strings.Repeat("m", 12<<20))
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Greater(t, memory.most, small+10<<20, "what is larger has more parts on their way")

	w.put("dags/a.py", strings.Repeat("d", 1000))
	w.source.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Open && !after {
			w.source.Fault = nil
			w.put(key, strings.Repeat("e", 1000)) // so that it is packed twice
		}
		return nil
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	require.Zero(t, memory.used)

	memory.err = context.DeadlineExceeded
	w.put("dags/a.py", strings.Repeat("f", 1000))
	r := w.requireOutcome(deployer.Failed, w.sync())
	require.Contains(t, r.Reason, "waiting for memory that other routes use")
	require.True(t, r.Retryable)
}

// watched are pages that look how much memory is reserved when they are written.
type watched struct {
	memory *limited
	used   []int64
}

func (p *watched) Write(context.Context, *state.Status) error {
	p.used = append(p.used, p.memory.used)
	return nil
}

// TestPagesReserveMemory, also of a run that packs nothing: they name every file.
func TestPagesReserveMemory(t *testing.T) {
	w := newWorld(t)
	memory := &limited{t: t, whole: 1 << 40}
	pages := &watched{memory: memory}
	w.route.Memory, w.route.Pages = memory, pages
	for i := range 10 {
		w.put(fmt.Sprintf("dags/%d.py", i), "a")
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireOutcome(deployer.Unchanged, w.sync()) // it sees that Astro runs the deploy
	require.Len(t, pages.used, 2)
	require.GreaterOrEqual(t, pages.used[0], int64(10*2048), "and the bundle")
	require.Equal(t, int64(10*2048), pages.used[1])
	require.Zero(t, memory.used)

	w.route.MaxFiles = 5
	w.put("dags/a.py", "one more")
	w.requireOutcome(deployer.Held, w.sync())
	require.Len(t, pages.used, 3)
	require.Zero(t, memory.used)
}
