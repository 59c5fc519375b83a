package demo

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

// attempts bounds the deliveries of one change. The clouds have such a bound too, and a place for what exceeds it.
const attempts = 5

// change is one change of the DAGs' bucket.
type change struct {
	shown        string // for people
	notification any    // what the storage sends of it, for json.Marshal
}

// invoke delivers a batch to the function. It returns which changes must come again, and why.
type invoke func(ctx context.Context, batch []change) (again []change, err error)

// deliverAll hands changes to the function as the cloud's carrier does: those that are there or, to go on, all until ctx ends. With Once
// it returns an error if one cannot be delivered.
func (d *demo) deliverAll(ctx context.Context, goOn bool) error {
	var carriers errgroup.Group
	for range d.cloud.atOnce {
		carriers.Go(func() error {
			for {
				batch := d.gather(ctx, goOn)
				if len(batch) == 0 {
					return nil
				}
				err := d.deliver(ctx, batch)
				if d.pending.Add(-int64(len(batch))) == 0 {
					d.showIdle()
				}
				if err != nil && d.Once {
					return err
				}
			}
		})
	}
	return carriers.Wait()
}

// gather takes a change, and what follows it within the window. It returns nothing if there is none to be had.
func (d *demo) gather(ctx context.Context, wait bool) []change {
	var batch []change
	select {
	case c := <-d.changes:
		batch = append(batch, c)
	default:
		if !wait {
			return nil
		}
		select {
		case c := <-d.changes:
			batch = append(batch, c)
		case <-ctx.Done():
			return nil
		}
	}
	for end := time.After(d.cloud.window); len(batch) < d.cloud.most; {
		select {
		case c := <-d.changes:
			batch = append(batch, c)
		case <-end:
			return batch
		case <-ctx.Done():
			return nil
		}
	}
	return batch
}

// deliver hands a batch to the function, and again what must come again.
func (d *demo) deliver(ctx context.Context, batch []change) error {
	for attempt, wait := 1, d.backOff; ; attempt, wait = attempt+1, 2*wait {
		d.announce(batch, attempt)
		var err error
		if batch, err = d.invoke(ctx, batch); len(batch) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if attempt == attempts {
			d.giveUp(batch, err)
			return fmt.Errorf("%s was delivered %d times in vain: %w", batch[0].shown, attempts, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// announce lists a batch, under a heading unless the lines above belong to it as well.
func (d *demo) announce(batch []change, attempt int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.arriving {
		fmt.Fprintf(d.Out, "\n%s events arrive through %s:\n", d.cloud.storage, d.cloud.carrier)
	}
	d.arriving = true
	for _, c := range batch {
		fmt.Fprintf(d.Out, "  %s", c.shown)
		if attempt > 1 {
			fmt.Fprintf(d.Out, ", again (%d of %d)", attempt, attempts)
		}
		fmt.Fprintln(d.Out)
	}
}

func (d *demo) giveUp(batch []change, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arriving = false
	fmt.Fprintf(d.Out, "\n%s would give up now, and keep these as dead letters (%v):\n", d.cloud.carrier, err)
	for _, c := range batch {
		fmt.Fprintf(d.Out, "  %s\n", c.shown)
	}
}

// show prints a run, unless the demo ends: what a run says then is about that. Runs that find nothing to do have late events
// acknowledged; of many in a row only the last is printed, when no more events are on their way, and none of those that did not look.
func (d *demo) show(ctx context.Context, r deployer.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case ctx.Err() != nil || r.Outcome == deployer.Covered:
	case r.Outcome == deployer.Unchanged:
		d.idle = &r
	default:
		d.print(r)
	}
}

func (d *demo) showIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle != nil {
		d.print(*d.idle)
	}
}

// print wants the lock.
func (d *demo) print(r deployer.Result) {
	d.arriving, d.idle = false, nil
	d.Print(r)
}
