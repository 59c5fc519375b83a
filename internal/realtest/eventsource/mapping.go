package eventsource

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// pollPeriod is how often a mapping looks whether a batch is complete.
const pollPeriod = 20 * time.Millisecond

// MappingOptions are the settings of an event source mapping.
type MappingOptions struct {
	Window   time.Duration // for which a batch waits for more messages
	MaxBatch int
}

// Map makes invocations of messages, with partial batch responses (ReportBatchItemFailures), until ctx ends, which ends no invocation: it
// returns when they have ended. The error is that of the first process that did not start.
func Map(ctx context.Context, q *Queue, f *Function, o MappingOptions) error {
	ticks := time.NewTicker(pollPeriod)
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
		case <-ticks.C:
		}
		if !q.due(o) {
			continue
		}
		e, err := f.acquire(ctx)
		if err != nil {
			return nil // ctx ended, or the function was stopped
		}
		running.Go(func() {
			if err := f.deliver(context.WithoutCancel(ctx), e, q, o.MaxBatch); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
}

// due reports whether a batch is full or has waited long enough.
func (q *Queue) due(o MappingOptions) bool {
	count, since := q.ready()
	return count >= o.MaxBatch || count > 0 && time.Since(since) >= o.Window
}

// deliver hands one batch to the function in e. What was neither deleted nor dead comes again after the visibility time-out.
func (f *Function) deliver(ctx context.Context, e *environment, q *Queue, limit int) error {
	batch := q.Receive(limit)
	if len(batch) == 0 {
		f.idle <- e
		return nil
	}
	records := make([]map[string]any, len(batch))
	for i, m := range batch {
		records[i] = q.record(m)
	}
	payload, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		f.idle <- e
		return err
	}
	i, err := f.invokeIn(ctx, e, q.options.Name, payload)
	if err != nil {
		return err
	}
	q.Delete(succeeded(batch, i))
	return nil
}

// succeeded returns the messages of a batch that the answer lets be deleted. As Lambda does it, an answer that cannot be understood fails all.
func succeeded(batch []Message, i Invocation) []Message {
	if i.Failed() {
		return nil
	}
	failed, err := itemFailures(i.Result.Response)
	if err != nil {
		return nil
	}
	var done []Message
	for _, m := range batch {
		if !failed[m.ID] {
			done = append(done, m)
		}
		delete(failed, m.ID)
	}
	if len(failed) > 0 {
		return nil // it names a message that is not in the batch
	}
	return done
}

func itemFailures(response []byte) (map[string]bool, error) {
	var answer struct {
		BatchItemFailures []struct {
			ItemIdentifier string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(response, &answer); err != nil {
		return nil, err
	}
	failed := map[string]bool{}
	for _, f := range answer.BatchItemFailures {
		if f.ItemIdentifier == "" {
			return nil, errors.New("an itemIdentifier is empty")
		}
		failed[f.ItemIdentifier] = true
	}
	return failed, nil
}
