package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Patience is how often something is tried, and with what pauses.
type Patience struct {
	Tries  int
	Pauses func() backoff.BackOff
	Sleep  func(ctx context.Context, d time.Duration) error
}

// Patient fits several tries into the time of a send.
func Patient() Patience {
	return Patience{Tries: 4, Sleep: sleep, Pauses: func() backoff.BackOff {
		pauses := backoff.NewExponentialBackOff()
		pauses.InitialInterval, pauses.Multiplier = 400*time.Millisecond, 2
		return pauses
	}}
}

// LaterError is a failure after which the other side wants some time.
type LaterError struct {
	Err   error
	After time.Duration
}

func (e *LaterError) Error() string { return e.Err.Error() }
func (e *LaterError) Unwrap() error { return e.Err }

// Repeat calls try until it goes well, fails for good, or the tries or the time are used up, and returns its last error. It does not begin
// a pause that ctx would cut short.
func (p Patience) Repeat(ctx context.Context, try func() error) error {
	pauses := p.Pauses()
	for tries := 1; ; tries++ {
		err := try()
		var permanent interface{ Permanent() bool }
		if err == nil || ctx.Err() != nil || errors.As(err, &permanent) && permanent.Permanent() {
			return err
		}
		if tries >= p.Tries {
			return fmt.Errorf("%w (tried %d times)", err, tries)
		}
		pause := pauses.NextBackOff()
		var later *LaterError
		if errors.As(err, &later) {
			pause = max(pause, later.After)
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < pause {
			return fmt.Errorf("%w (a repeat makes sense in %s, too late for this run)", err, pause.Round(time.Second))
		}
		if p.Sleep(ctx, pause) != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
