package awswire

import (
	"context"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) { return c(r) }

func TestRequestsHaveTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		turns := newTurns(client(func(*http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return &http.Response{}, nil
		}))
		began := time.Now()
		var group sync.WaitGroup
		for range 3 * requestsAtOnce {
			group.Go(func() {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
				require.NoError(t, err)
				_, err = turns.Do(r)
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
		require.NoError(t, err)
		_, err = turns.Do(r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		group.Wait()
		require.EqualValues(t, requestsAtOnce, most.Load())
		require.Equal(t, 3*time.Second, time.Since(began))
	})
}

// TestClientsAreKept, and whatever they ask for has its turn.
func TestClientsAreKept(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-1")
	c := New(func(string) string { return "" })
	cfg, err := c.awsConfig(t.Context())
	require.NoError(t, err)
	require.IsType(t, turns{}, cfg.HTTPClient)
	first, err := c.secretSources(t.Context())
	require.NoError(t, err)
	again, err := c.secretSources(t.Context())
	require.NoError(t, err)
	require.Equal(t, reflect.ValueOf(first).Pointer(), reflect.ValueOf(again).Pointer())
}
