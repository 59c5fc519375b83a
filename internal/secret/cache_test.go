package secret

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// slowSecrets takes a second for each read, and gives what current holds; "" is a failure.
func slowSecrets(current *atomic.Value, reads *atomic.Int64) *Cache {
	return NewCache(Resolver{"env": func(ctx context.Context, _ string) (string, error) {
		reads.Add(1)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if value := current.Load().(string); value != "" {
			return value, nil
		}
		return "", errors.New("the store is down")
	}})
}

// readers returns the ways of many routes to one token, and has all of them read at once.
func readers(s *Cache) func(t *testing.T, refresh bool) (values map[string]int, failures int) {
	var all []func(context.Context, bool) (string, error)
	for range 500 {
		all = append(all, s.Kept("env:TOKEN"))
	}
	return func(t *testing.T, refresh bool) (map[string]int, int) {
		var mu sync.Mutex
		values, failures := map[string]int{}, 0
		var group sync.WaitGroup
		for _, read := range all {
			group.Go(func() {
				value, err := read(t.Context(), refresh)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failures++
					return
				}
				values[value]++
			})
		}
		group.Wait()
		return values, failures
	}
}

func TestRoutesShareAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current atomic.Value
		var reads atomic.Int64
		current.Store("first")
		read := readers(slowSecrets(&current, &reads))
		for step, c := range []struct {
			stored   string
			refresh  bool
			values   string
			failures int
			reads    int64
		}{
			{"first", false, "map[first:500]", 0, 1},
			{"second", false, "map[first:500]", 0, 0}, // which nobody has refused yet
			{"second", true, "map[second:500]", 0, 1}, // refused to all at once
			{"", true, "map[]", 500, 1},
			{"third", false, "map[third:500]", 0, 1}, // nothing was kept
		} {
			current.Store(c.stored)
			before := reads.Load()
			values, failures := read(t, c.refresh)
			require.Equal(t, c.values, fmt.Sprint(values), step)
			require.Equal(t, c.failures, failures, step)
			require.Equal(t, c.reads, reads.Load()-before, step)
		}
	})
}

// TestARotatedTokenIsReadOnce: routes find out one after the other that theirs is refused.
func TestARotatedTokenIsReadOnce(t *testing.T) {
	reads := 0
	c := NewCache(Resolver{"env": func(context.Context, string) (string, error) { reads++; return fmt.Sprint(reads), nil }})
	a, b := c.Kept("env:TOKEN"), c.Kept("env:TOKEN")
	for _, c := range []struct {
		read    func(context.Context, bool) (string, error)
		refresh bool
		want    string
	}{{a, false, "1"}, {b, false, "1"}, {a, true, "2"}, {b, true, "2"}, {b, true, "3"}, {a, false, "3"}, {a, true, "4"}} {
		got, err := c.read(t.Context(), c.refresh)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

// TestNobodyReadsWhatIsBeingKept: who comes just as a read ends must not begin another.
func TestNobodyReadsWhatIsBeingKept(t *testing.T) {
	for range 500 {
		var reads atomic.Int64
		c := NewCache(Resolver{"env": func(context.Context, string) (string, error) { reads.Add(1); return "secret", nil }})
		var group errgroup.Group
		for range 50 {
			read := c.Kept("env:TOKEN")
			group.Go(func() error {
				runtime.Gosched() // so that they come while the read ends
				_, err := read(t.Context(), false)
				return err
			})
		}
		require.NoError(t, group.Wait())
		require.EqualValues(t, 1, reads.Load())
	}
}

// TestWhoLeavesEndsNoRead: others wait for it.
func TestWhoLeavesEndsNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current atomic.Value
		var reads atomic.Int64
		current.Store("secret")
		s := slowSecrets(&current, &reads)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := s.Read(ctx, "env:TOKEN")
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait()
		value, err := s.Read(t.Context(), "env:TOKEN")
		require.NoError(t, err)
		require.Equal(t, "secret", value)
		group.Wait()
		require.EqualValues(t, 1, reads.Load())
	})
}

// TestWhoLeavesIsNotGivenTheRefusedOne: when it comes back, it waits for the read that it had asked for.
func TestWhoLeavesIsNotGivenTheRefusedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current atomic.Value
		var reads atomic.Int64
		current.Store("refused")
		read := slowSecrets(&current, &reads).Kept("env:TOKEN")
		_, err := read(t.Context(), false)
		require.NoError(t, err)
		current.Store("second")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = read(ctx, true)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		value, err := read(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, "second", value)
		require.EqualValues(t, 2, reads.Load())
	})
}

// TestARefreshGivesAnother, however many read at that moment.
func TestARefreshGivesAnother(t *testing.T) {
	var reads atomic.Int64
	c := NewCache(Resolver{"env": func(context.Context, string) (string, error) { return fmt.Sprint(reads.Add(1)), nil }})
	var group errgroup.Group
	for range 8 {
		read := c.Kept("env:TOKEN")
		group.Go(func() error {
			for range 5000 {
				before, err := read(t.Context(), false)
				after, failure := read(t.Context(), true)
				if err := errors.Join(err, failure); err != nil {
					return err
				}
				if after == before {
					return fmt.Errorf("%s again", after)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}
