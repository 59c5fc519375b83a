package deployer

import (
	"context"
	"fmt"
	"time"
)

// What a run holds while it packs and deploys, in bytes, as it was measured with up to 100,000 files.
const (
	memoryBase    = 16 << 20 // the compressor, and a part on its way into the state
	memoryPerFile = 2 << 10  // lines of manifests, the listing and the plan, and what the garbage collector did not see yet
	memoryFetch   = 64 << 10 // a request and its connection, beside the head of the object
	memoryParts   = 24 << 20 // at most: more parts on their way, and the bundle if it is small
)

// memoryNeed is about what packing the plan will take, in bytes.
func (x *run) memoryNeed() int64 {
	window := int64(x.window()) * (headSize + memoryFetch)
	var heads, all int64
	for i := range x.plan.items {
		it := &x.plan.items[i]
		all += it.line.Size
		if it.object != nil {
			heads = min(heads+min(it.object.Size, headSize)+memoryFetch, window)
		}
	}
	return memoryBase + int64(len(x.plan.items))*memoryPerFile + heads + min(all, memoryParts)
}

// reserveMemory waits until the runs of this process leave so much memory. The listing, the manifest and the plan are there already when a run
// packs: about a quarter of what it asks for.
func (x *run) reserveMemory(ctx context.Context, bytes int64) error {
	if x.Memory == nil {
		return nil
	}
	began := x.Clock.Now()
	got, err := x.Memory.Acquire(ctx, bytes)
	if err != nil {
		return fmt.Errorf("waiting for memory that other routes use: %w", err)
	}
	x.reserved = got
	if took := x.Clock.Now().Sub(began); took > time.Second {
		x.Log.Info("waited for memory that other routes used", "route", x.Name, "seconds", took.Seconds())
	}
	return nil
}

// shrinkMemory gives back what only packing took: a deploy may wait long for Astro.
func (x *run) shrinkMemory() {
	rest := min(int64(len(x.plan.items))*memoryPerFile+int64(len(x.packed.bundle.data)), x.reserved)
	if x.reserved > rest {
		x.Memory.Release(x.reserved - rest)
		x.reserved = rest
	}
}

func (x *run) releaseMemory() {
	if x.reserved > 0 {
		x.Memory.Release(x.reserved)
		x.reserved = 0
	}
}
