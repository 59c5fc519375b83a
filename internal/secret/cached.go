package secret

import (
	"context"
	"fmt"
)

// Cached returns a function that resolves ref at its first call and keeps the secret; with refresh it resolves anew.
// After a failure nothing is kept, so that no caller goes on with a secret known to be stale. It may be called
// concurrently: calls wait for the one that resolves, at most until their own ctx ends.
func Cached(r Resolver, ref string) func(ctx context.Context, refresh bool) (string, error) {
	turn := make(chan struct{}, 1) // a lock that a context can end the wait for
	kept := ""
	return func(ctx context.Context, refresh bool) (string, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a read of the secret: %w", context.Cause(ctx))
		}
		if kept != "" && !refresh {
			return kept, nil
		}
		var err error
		kept, err = r.Resolve(ctx, ref)
		return kept, err
	}
}
