package deployer

import (
	"context"
	"errors"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// coveredMargin is how much older than a listing an event must be to be covered by it: events and answers are dated by
// different machines of the storage, and an answer's date has whole seconds.
const coveredMargin = 5 * time.Second

// covered is step 1: it reports whether the listing behind the last outcome has seen all that woke this run.
func (x *run) covered(ctx context.Context) (bool, error) {
	newest := time.Time{}
	for _, t := range x.wake {
		if t.IsZero() {
			return false, nil
		}
		if t.After(newest) {
			newest = t
		}
	}
	if newest.IsZero() {
		return false, nil
	}
	record, _, err := x.Store.ReadRecord(ctx)
	if err != nil {
		return false, err
	}
	if record.Target.Deployment != x.Deployment || record.Config != x.configuration() || record.Listed.Sub(newest) < coveredMargin {
		return false, nil
	}
	// Only after the record: a bell that rings later belongs to an event that is newer than that.
	owed, err := x.Store.Owed(ctx)
	return !owed, err
}

// errBusy ends a run that rang another one.
var errBusy = errors.New("another run is at it, and will list again")

// errLate ends a run that rang another one which may be dead.
var errLate = errors.New("another run holds the lease, but missed its renewal and may be dead: the lease runs out within a minute, and the events come again")

// takeLease is step 2: it takes the lease, or rings the run that has it and ends with errBusy or errLate.
func (x *run) takeLease(ctx context.Context) error {
	return x.step("lease", func() error {
		taken, err := x.Store.TakeLease(ctx, x.lease)
		switch {
		case err != nil:
			return err
		case taken.Late:
			return errLate
		case !taken.Held:
			return errBusy
		}
		x.unclean = x.unclean || taken.Unclean
		return nil
		// A crash here leaves a lease that runs out after state.LeaseLife by the storage's clock.
	})
}

// renewLease renews the lease in the background until stop is called. Losing it ends nothing: the fence keeps what matters.
func (x *run) renewLease(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	ticks, stopTicks := x.Clock.Tick(state.LeaseRenewal)
	go func() {
		defer close(done)
		defer stopTicks()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks:
			}
			err := x.Store.RenewLease(ctx, x.lease)
			if errors.Is(err, state.ErrLeaseLost) {
				x.Log.Warn("the lease was not renewed in time, and another run took it", "route", x.Name)
				return
			}
			if err != nil && ctx.Err() == nil {
				x.Log.Warn("could not renew the lease", "route", x.Name, "error", err)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// releaseLease is step 11: it frees the lease, or reports that somebody rang, so that this run must look again.
func (x *run) releaseLease(ctx context.Context) (again bool, err error) {
	err = x.step("lease", func() error {
		again, err = x.Store.ReleaseLease(ctx, x.lease)
		return err
		// A crash here leaves nothing; before it, a lease that runs out.
	})
	if again {
		x.Log.Info("something changed meanwhile, looking again", "route", x.Name)
	}
	return again, err
}

// abandonLease ends a run that failed: the bell stays set, so that no event is covered by what this run did not do.
func (x *run) abandonLease(ctx context.Context) {
	ctx, cancel := x.grace(ctx)
	defer cancel()
	var err error
	for range abandonTries {
		if err = x.Store.AbandonLease(ctx, x.lease); err == nil {
			return
		}
		if x.Clock.Sleep(ctx, abandonPause) != nil {
			break
		}
	}
	x.Log.Warn(leaseNotGivenBack, "route", x.Name, "error", err)
}

const (
	abandonTries = 3 // what failed the run may pass; the bell matters more than the time
	abandonPause = 200 * time.Millisecond
	// A lease that nobody gave back is as that of a run that died.
	leaseNotGivenBack = "could not give back the lease; it runs out by itself"
)
