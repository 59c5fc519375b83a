package dirbucket

import (
	"context"
	"os"
	"time"
)

// lockPoll is how often a lock that another process holds is asked for; it is held for about a millisecond.
const lockPoll = 5 * time.Millisecond

// lock keeps other writers out, of this process and of others, until unlock. The file stays: removing it would let two
// writers lock two files.
func (b *Bucket) lock(ctx context.Context, root *os.Root) (unlock func(), err error) {
	select {
	case <-b.writing:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release := func() { b.writing <- struct{}{} }
	f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		release()
		return nil, err
	}
	for {
		locked, err := tryLock(f)
		if locked {
			return func() { _ = f.Close(); release() }, nil // closing unlocks
		}
		if err == nil {
			err = pause(ctx)
		}
		if err != nil {
			_ = f.Close()
			release()
			return nil, err
		}
	}
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(lockPoll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
