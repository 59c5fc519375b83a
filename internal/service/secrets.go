package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/dagbucket/dagbucket/internal/secret"
)

// secretTime bounds a read of a secret; the sources bound theirs below it.
const secretTime = 30 * time.Second

// secrets reads secrets for all routes. Of those who want the same one at the same time, one reads.
type secrets struct {
	resolver secret.Resolver
	reads    singleflight.Group
}

func (s *secrets) read(ctx context.Context, reference string) (string, error) {
	everybodys := context.WithoutCancel(ctx) // it must not end with whoever leaves first
	read := s.reads.DoChan(reference, func() (any, error) {
		ctx, cancel := context.WithTimeout(everybodys, secretTime)
		defer cancel()
		return s.resolver.Resolve(ctx, reference)
	})
	select {
	case r := <-read:
		value, _ := r.Val.(string)
		return value, r.Err
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a read of the secret: %w", context.Cause(ctx))
	}
}

// token is an API token that routes share.
type token struct {
	read func(context.Context) (string, error)

	mu   sync.Mutex
	kept string // "" after a failure: nobody goes on with one that is known to be stale
}

// reader returns one route's way to the token. With refresh it gets another one than before: the one that another route has read
// meanwhile, else one read anew.
func (t *token) reader() func(ctx context.Context, refresh bool) (string, error) {
	given := "" // guarded by mu
	known := func(refresh bool) (string, bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.kept == "" || refresh && t.kept == given {
			return "", false
		}
		given = t.kept
		return given, true
	}
	return func(ctx context.Context, refresh bool) (string, error) {
		if value, ok := known(refresh); ok {
			return value, nil
		}
		value, err := t.read(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.kept, given = value, value
		return value, err
	}
}
