package eventsource

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

const asyncRetries = 2 // Lambda's own, after the first try

// ScheduleOptions are the settings of an EventBridge rule.
type ScheduleOptions struct {
	Period     time.Duration
	RetryAfter time.Duration // Lambda waits one minute, then two
}

// Schedule invokes f asynchronously every period until ctx ends, which ends no invocation: it returns when they have ended. The error is that of
// the first process that did not start.
func Schedule(ctx context.Context, f *Function, o ScheduleOptions) error {
	ticks := time.NewTicker(o.Period)
	defer ticks.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	failed := make(chan error, 1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case at := <-ticks.C:
			running.Go(func() {
				if err := f.invokeAsync(ctx, ScheduledEvent(at), o.RetryAfter); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		}
	}
}

func (f *Function) invokeAsync(ctx context.Context, payload []byte, retryAfter time.Duration) error {
	for try := 0; ; try++ {
		i, err := f.Invoke(context.WithoutCancel(ctx), "schedule", payload)
		if err != nil || !i.Failed() || try == asyncRetries {
			return err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return nil
		}
	}
}

// ScheduledEvent is EventBridge's event of a schedule.
func ScheduledEvent(at time.Time) []byte {
	payload, _ := json.Marshal(map[string]any{ // strings always marshal
		"version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event", "source": "aws.events",
		"account": "111122223333", "time": at.UTC().Format(time.RFC3339), "region": "us-east-1",
		"resources": []string{"arn:aws:events:us-east-1:111122223333:rule/reconcile"}, "detail": map[string]any{},
	})
	return payload
}
