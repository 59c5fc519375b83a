package secret

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// readTime bounds a read of a secret; the sources bound theirs below it.
const readTime = 30 * time.Second

// Cache reads secrets for many who may want the same ones. It may be used concurrently.
type Cache struct {
	resolver Resolver
	reads    singleflight.Group

	mu   sync.Mutex
	kept map[string]*kept // by reference
}

// kept is a secret that was read, for all who use it. Whether to read it is decided, and what was read is kept, under its mutex: between
// the end of a read and the keeping of its value nobody may begin another.
type kept struct {
	mu    sync.Mutex
	value string // "" after a failure: nobody goes on with one that is known to be stale
}

// NewCache returns a Cache that reads by r.
func NewCache(r Resolver) *Cache { return &Cache{resolver: r, kept: map[string]*kept{}} }

// Read reads a secret anew. Of those who want the same one at the same time, one reads; each waits at most until its own ctx ends.
func (c *Cache) Read(ctx context.Context, ref string) (string, error) {
	k := c.keptOf(ref)
	k.mu.Lock()
	read := c.read(ctx, ref, k)
	k.mu.Unlock()
	return wait(ctx, read)
}

// Kept returns one user's way to a secret: it is read once for all of them. With refresh a user gets another one than before: the one that
// another user has read meanwhile, else one read anew. After a failure nothing is kept.
func (c *Cache) Kept(ref string) func(ctx context.Context, refresh bool) (string, error) {
	k := c.keptOf(ref)
	given := "" // guarded by k.mu
	known := func(ctx context.Context, refresh bool) (string, <-chan singleflight.Result) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.value == "" || refresh && k.value == given {
			return "", c.read(ctx, ref, k)
		}
		given = k.value
		return given, nil
	}
	return func(ctx context.Context, refresh bool) (string, error) {
		value, read := known(ctx, refresh)
		if read == nil {
			return value, nil
		}
		value, err := wait(ctx, read)
		if err != nil {
			return "", err // what was given stays known: the read that it would not wait for may still be under way
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		given = value
		return value, nil
	}
}

// read begins to read a secret, or joins those who wait for it. The caller holds k.mu.
func (c *Cache) read(ctx context.Context, ref string, k *kept) <-chan singleflight.Result {
	everybodys := context.WithoutCancel(ctx) // it must not end with whoever leaves first
	return c.reads.DoChan(ref, func() (any, error) {
		ctx, cancel := context.WithTimeout(everybodys, readTime)
		defer cancel()
		value, err := c.resolver.Resolve(ctx, ref)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.value = value
		c.reads.Forget(ref) // who comes from now on sees the value
		return value, err
	})
}

func wait(ctx context.Context, read <-chan singleflight.Result) (string, error) {
	select {
	case r := <-read:
		value, _ := r.Val.(string)
		return value, r.Err
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a read of the secret: %w", context.Cause(ctx))
	}
}

func (c *Cache) keptOf(ref string) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[ref] == nil {
		c.kept[ref] = &kept{}
	}
	return c.kept[ref]
}
