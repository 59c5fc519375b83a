package service

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
)

const (
	// assumedMemory is the least that a function has.
	assumedMemory = 512 << 20
	// What the process takes without its runs, and beside it the syntax checker.
	ownMemory     = 100 << 20
	checkerMemory = 150 << 20
	// leastMemory lets one run of any size go on.
	leastMemory = 250 << 20
	// mostMemory bounds what is open at once: a run holds the body of each large object that waits for its turn, and 256 KiB of it. Lambda has
	// 1,024 descriptors for a process, however large its memory.
	mostMemory = 320 << 20
	// outsideMemory is what the process takes that is not Go's, beside the checker.
	outsideMemory = 20 << 20
	// mostPassed is how many claims may be served before one that came earlier and is too large for now.
	mostPassed = 64
)

// How much garbage there may be beside what is in use, in per cent: as much again is Go's own, and fast. For 100,000 files that would be 70 MB
// more than half as much is.
const (
	garbage     = 100
	lessGarbage = 50
	largeClaims = 100 << 20 // that runs have together
)

// limitGo has Go collect its garbage before a function's memory is full: without it, the garbage may be as much again as what is in use.
// What the environment sets (GOMEMLIMIT, GOGC) stays.
func limitGo(function int64, syntax bool) {
	if function == 0 || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	if syntax {
		function -= checkerMemory
	}
	debug.SetMemoryLimit(max(function-outsideMemory, leastMemory))
}

// garbageOf lets runs that take much say how much garbage there may be; nil outside of a function, and where the environment says it.
func garbageOf(function int64) func(percent int) {
	if function == 0 {
		return nil
	}
	if before := debug.SetGCPercent(garbage); before != garbage {
		debug.SetGCPercent(before)
		return nil
	}
	return func(percent int) { debug.SetGCPercent(percent) }
}

// memory is what the runs of a process may take together, in bytes. It fulfils deployer.Memory. Claims are served in the order of their arrival,
// but one that is too large for now lets others pass: what it waits for may be the run of a slow Deployment.
type memory struct {
	whole   int64
	collect func(percent int) // sets how much garbage there may be; optional
	sweep   func()            // collects it

	mu      sync.Mutex
	free    int64
	waiting []*claim
	large   bool // runs have largeClaims
	left    bool // garbage of theirs may be left
}

type claim struct {
	bytes  int64
	passed int           // how many that came later were served
	served chan struct{} // closed when it is
}

// newMemory returns what is left for runs in a process that may take so much; 0 is unknown.
func newMemory(function int64, syntax bool) *memory {
	whole := cmp.Or(function, assumedMemory) - ownMemory
	if syntax {
		whole -= checkerMemory
	}
	whole = min(max(whole, leastMemory), mostMemory)
	return &memory{whole: whole, free: whole, collect: garbageOf(function), sweep: runtime.GC}
}

// tidy is called when a run has ended. After a large one it collects the garbage: Go would let the next one make as much again beside it.
func (m *memory) tidy() {
	m.mu.Lock()
	tidy := m.left && !m.large
	m.left = m.left && m.large
	m.mu.Unlock()
	if tidy {
		m.sweep()
	}
}

// Acquire waits for so much; for all of it if that is less.
func (m *memory) Acquire(ctx context.Context, bytes int64) (got int64, err error) {
	c := m.claim(min(bytes, m.whole))
	select {
	case <-c.served:
		return c.bytes, nil
	case <-ctx.Done():
		m.giveUp(c)
		return 0, ctx.Err()
	}
}

// Release gives back some of what Acquire got.
func (m *memory) Release(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += bytes
	m.serve()
}

func (m *memory) claim(bytes int64) *claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &claim{bytes: bytes, served: make(chan struct{})}
	m.waiting = append(m.waiting, c)
	m.serve()
	return c
}

func (m *memory) giveUp(c *claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.waiting, c); i >= 0 {
		m.waiting = slices.Delete(m.waiting, i, i+1)
	} else { // it was served just now
		m.free += c.bytes
	}
	m.serve()
}

// serve serves who can be served. mu is held.
func (m *memory) serve() {
	m.serveInTurn()
	if m.collect == nil {
		return
	}
	if large := m.whole-m.free > largeClaims; large != m.large {
		m.large = large
		if large {
			m.left = true
			m.collect(lessGarbage)
		} else {
			m.collect(garbage)
		}
	}
}

func (m *memory) serveInTurn() {
	for i := 0; i < len(m.waiting); {
		c := m.waiting[i]
		switch {
		case c.bytes <= m.free:
			m.free -= c.bytes
			close(c.served)
			m.waiting = slices.Delete(m.waiting, i, i+1)
			for _, earlier := range m.waiting[:i] {
				earlier.passed++
			}
		case c.passed >= mostPassed:
			return
		default:
			i++
		}
	}
}
