package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

func TestTargetsOfAKind(t *testing.T) {
	n := New(Target{Name: "a", Kinds: []string{"held", "kept"}}, Target{Name: "b", Kinds: []string{"held"}})
	require.Equal(t, []string{"a", "b"}, n.Targets("held"))
	require.Equal(t, []string{"a"}, n.Targets("kept"))
	require.Empty(t, n.Targets("deployed"))
	require.Empty(t, New().Targets("held"))
}

func TestANoticeGoesToItsTargetOnly(t *testing.T) {
	var got atomic.Int64
	send := func(_ context.Context, n *state.Notice) error { got.Add(int64(len(n.ID))); return nil }
	n := New(Target{Name: "a", Send: func(context.Context, *state.Notice) error { return errors.New("wrong one") }}, Target{Name: "b", Send: send})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { require.NoError(t, n.Send(t.Context(), "b", &state.Notice{ID: "x"})) })
	}
	all.Wait()
	require.EqualValues(t, 20, got.Load())

	require.EqualError(t, n.Send(t.Context(), "a", &state.Notice{}), "notify a: wrong one")
	err := n.Send(t.Context(), "gone", &state.Notice{})
	require.EqualError(t, err, "notify gone: the configuration has no such target any more")
	var permanent interface{ Permanent() bool }
	require.True(t, errors.As(err, &permanent) && permanent.Permanent())
}

func TestASendEndsAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ *state.Notice) error { <-ctx.Done(); return context.Cause(ctx) }
		began := time.Now()
		err := New(Target{Name: "a", Send: hang}).Send(t.Context(), "a", &state.Notice{})
		require.EqualError(t, err, "notify a: not within 10s: context deadline exceeded")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// TestRepeats counts tries and pauses in virtual time, with the 10 seconds that a send has.
func TestRepeats(t *testing.T) {
	passes, never := errors.New("busy"), Permanentf("wrong")
	for name, c := range map[string]struct {
		fails    []error // then it goes well
		tries    int
		want     string
		shortest time.Duration
		longest  time.Duration
	}{
		"at once":            {nil, 1, "", 0, 0},
		"after two failures": {[]error{passes, passes}, 3, "", 600 * time.Millisecond, 1800 * time.Millisecond},
		"too often":          {[]error{passes, passes, passes, passes}, 4, "busy (tried 4 times)", 1400 * time.Millisecond, 4200 * time.Millisecond},
		"for good":           {[]error{passes, never}, 2, "wrong", 0, time.Second},
		"waits as asked":     {[]error{&LaterError{passes, 3 * time.Second}}, 2, "", 3 * time.Second, 3 * time.Second},
		"not for so long":    {[]error{&LaterError{passes, 30 * time.Second}}, 1, "busy (a repeat makes sense in 30s, too late for this run)", 0, 0},
		"until there is no more time": {[]error{&LaterError{passes, 6 * time.Second}, fmt.Errorf("%w", &LaterError{passes, 6 * time.Second})}, 2,
			"busy (a repeat makes sense in 6s, too late for this run)", 6 * time.Second, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), sendTimeout)
				defer cancel()
				tries, began := 0, time.Now()
				err := Patient().Repeat(ctx, func() error {
					if tries++; tries > len(c.fails) {
						return nil
					}
					return c.fails[tries-1]
				})
				require.Equal(t, c.tries, tries)
				require.GreaterOrEqual(t, time.Since(began), c.shortest)
				require.LessOrEqual(t, time.Since(began), c.longest)
				if c.want == "" {
					require.NoError(t, err)
					return
				}
				require.EqualError(t, err, c.want)
			})
		})
	}
}

func TestARepeatEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		began := time.Now()
		require.EqualError(t, Patient().Repeat(ctx, func() error { return errors.New("busy") }), "busy")
		require.EqualError(t, Patient().Repeat(ctx, func() error { return errors.New("still") }), "still")
		require.Equal(t, 100*time.Millisecond, time.Since(began), "a pause ends with it")
	})
}
