package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

// lane lets all who want a run of one route share runs, one at a time. Who arrives before the listing behind an outcome began is
// answered with it, since that listing has seen what it tells of; everybody else waits for the next run.
type lane struct {
	clock deployer.Clock
	sync  func(ctx context.Context, events []time.Time) deployer.Result
	slots chan struct{} // bounds the runs of all lanes

	mu      sync.Mutex
	waiting []*request
	running bool
}

// request is one that waits for a run.
type request struct {
	events   []time.Time
	arrived  time.Time
	deadline time.Time // of the work for it; zero is never
	done     chan deployer.Result
}

// errLeft is the fate of a request whose time was over first.
var errLeft = errors.New("its time was over before a run had seen what it tells of")

// run waits for the outcome of a run that covers the events. When ctx ends first, the events must come again; the run goes on as long as
// those that it began for had time.
func (l *lane) run(ctx context.Context, route string, events []time.Time) deployer.Result {
	r := &request{events: events, arrived: l.clock.Now(), deadline: workEnd(ctx), done: make(chan deployer.Result, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, r)
	if !l.running {
		l.running = true
		go l.serve()
	}
	l.mu.Unlock()
	select {
	case result := <-r.done:
		return result
	case <-ctx.Done():
		return deployer.Result{Route: route, Outcome: deployer.Failed, Reason: errLeft.Error(), Err: errLeft, Retryable: true}
	}
}

// serve runs until nobody waits.
func (l *lane) serve() {
	for {
		l.slots <- struct{}{}
		own := l.take()
		if len(own) > 0 {
			l.serveOnce(own)
		}
		<-l.slots
		if len(own) == 0 {
			return
		}
	}
}

// take returns all who wait; the lane ends when that is nobody.
func (l *lane) take() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.waiting
	l.waiting, l.running = nil, len(own) > 0
	return own
}

func (l *lane) serveOnce(own []*request) {
	var events []time.Time
	ctx, cancel := context.WithCancel(context.Background())
	if end, bounded := latest(own); bounded {
		ctx, cancel = context.WithDeadline(context.Background(), end)
	}
	defer cancel()
	for _, r := range own {
		events = append(events, r.events...)
	}
	result := l.sync(ctx, events)
	for _, r := range append(own, l.seen(result.Began)...) {
		r.done <- result
	}
}

// latest is the last of the deadlines; it is not bounded if one of them never comes.
func latest(own []*request) (end time.Time, bounded bool) {
	for _, r := range own {
		if r.deadline.IsZero() {
			return time.Time{}, false
		}
		if r.deadline.After(end) {
			end = r.deadline
		}
	}
	return end, true
}

// seen takes those who arrived before a listing began out of the waiting.
func (l *lane) seen(began time.Time) []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0 // they wait in the order of their arrival, nearly
	for n < len(l.waiting) && l.waiting[n].arrived.Before(began) {
		n++
	}
	seen := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return seen
}

const (
	// margin is kept free at the end of an invocation, for reporting and cleaning up: the process may be killed or frozen then, without a signal.
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
