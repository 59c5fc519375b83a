package astro

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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

// retryAfter reads the header of that name, seconds or a date; 0 when there is none or it cannot be read. A date is
// taken relative to the answer's own, so that a wrong local clock does no harm.
func retryAfter(header http.Header) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, until.Sub(now))
}
