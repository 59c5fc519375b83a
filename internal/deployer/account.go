package deployer

import (
	"context"
	"sync/atomic"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// account is what a run asked of others: requests on the wire.
type account struct {
	sources, state bucket.Requests
	astro          atomic.Int64
}

type astroRequestsKey struct{}

// AstroRequests is where an Astro counts its requests under the context of a run, the upload among them; never nil.
func AstroRequests(ctx context.Context) *atomic.Int64 {
	if n, ok := ctx.Value(astroRequestsKey{}).(*atomic.Int64); ok {
		return n
	}
	return new(atomic.Int64)
}

// open returns a context under which everything is counted, storages as the state.
func (a *account) open(ctx context.Context) context.Context {
	return context.WithValue(bucket.CountRequests(ctx, &a.state), astroRequestsKey{}, &a.astro)
}

// ofSources counts under ctx what is asked of the sources.
func (a *account) ofSources(ctx context.Context) context.Context {
	return bucket.CountRequests(ctx, &a.sources)
}

// result is the account in the words of a Result.
func (a *account) result() map[string]int64 {
	return map[string]int64{
		"list":      a.sources.List.Load() + a.state.List.Load(),
		"get":       a.sources.Get.Load() + a.state.Get.Load(),
		"put":       a.state.Put.Load(),
		"delete":    a.state.Delete.Load(),
		"sourceGet": a.sources.Get.Load(),
		"astro":     a.astro.Load(),
	}
}
