package astro

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	maxTries = 5
	// maxWait is the longest Retry-After that is waited for; beyond it the run ends and its events come again.
	maxWait = 2 * time.Minute
)

// repeat calls try until it goes well, until its error says that a repeat is of no use, or until tries or ctx run out;
// then it returns the last error. Between tries it waits with growing, randomly spread pauses, and never less than
// the answer asked for. It does not start a wait that ctx would cut short.
func repeat(ctx context.Context, try func() error) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.Multiplier = 2
	pauses.MaxInterval = 20 * time.Second
	for tries := 1; ; tries++ {
		err := try()
		var failed *Error
		if err == nil || !errors.As(err, &failed) || !failed.repeatable {
			return err
		}
		if tries == maxTries {
			return gaveUp(failed, fmt.Sprintf("tried %d times", tries))
		}
		pause := max(pauses.NextBackOff(), failed.retryAfter)
		if end, ok := ctx.Deadline(); pause > maxWait || ok && time.Until(end) < pause {
			return gaveUp(failed, fmt.Sprintf("a repeat makes sense in %s, too late for this run", pause.Round(time.Second)))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			last := *failed
			last.cause = context.Cause(ctx)
			return &last
		}
	}
}

func gaveUp(failed *Error, why string) error {
	last := *failed
	last.Problem += " (" + why + ")"
	return &last
}
