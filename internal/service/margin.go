package service

import (
	"context"
	"time"
)

const (
	// margin is kept free at the end of an invocation, for reporting and cleaning up. No cloud sends a signal before it ends one.
	margin = 10 * time.Second
	// A short invocation keeps one part of this many free instead, but leastMargin where that is not half of it.
	marginPart  = 5
	leastMargin = 5 * time.Second
)

// workEnd is when the work in an invocation's context must be over; zero is never.
func workEnd(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	left := time.Until(deadline)
	return deadline.Add(-min(margin, max(left/marginPart, min(leastMargin, left/2))))
}

// WithMargin ends the work before the cloud ends the invocation.
func WithMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	end := workEnd(ctx)
	if end.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end)
}
