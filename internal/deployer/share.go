package deployer

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// mostWaiting bounds the requests that one route keeps waiting, since a process serves so many at once and no more: a Deployment that
	// answers slowly must not take the requests of all other routes their places.
	mostWaiting = 8
	// soonDone is for a run to get its lease, and for a short one to end: until then all may wait.
	soonDone = time.Second
)

// Lane lets all who want a run of one route share runs, one at a time: for a process that serves many requests at once. Who arrives before
// the listing behind an outcome began is answered with it, since that listing has seen what it tells of; everybody else waits for the next run.
// Where enough wait already, who comes on top has a run beside, as another process would: it rings, and ends as Busy.
type Lane struct {
	clock Clock
	run   func(ctx context.Context, events []time.Time) Result
	slots chan struct{}

	mu      sync.Mutex
	waiting []*request // in the order of their arrival
	serving bool
	since   time.Time // when the run under way began; zero if there is none
}

// NewLane returns the lane of a route. clock is the route's, run does one run, and slots, which lanes may share, holds one for each run
// that may be under way.
func NewLane(clock Clock, slots chan struct{}, run func(ctx context.Context, events []time.Time) Result) *Lane {
	return &Lane{clock: clock, slots: slots, run: run}
}

// request is one that waits for a run.
type request struct {
	events  []time.Time
	arrived time.Time
	end     time.Time
	done    chan Result
}

// Run waits for the outcome of a run that covers the events. A run that begins for them ends at the latest with the last of those it begins
// for: each by its end, never if that is zero. When ctx ends first, Run returns its error, and the events must come again.
func (l *Lane) Run(ctx context.Context, end time.Time, events []time.Time) (Result, error) {
	if l.crowded() {
		select {
		case l.slots <- struct{}{}:
			return await(ctx, l.beside(&request{events: events, end: end}))
		default: // it waits anyway
		}
	}
	return await(ctx, l.join(end, events))
}

// beside runs for one request alone, in the slot that was taken for it.
func (l *Lane) beside(r *request) <-chan Result {
	done := make(chan Result, 1)
	go func() {
		defer func() { <-l.slots }()
		done <- l.runFor([]*request{r})
	}()
	return done
}

func await(ctx context.Context, done <-chan Result) (Result, error) {
	select {
	case result := <-done:
		return result, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Wanted reports whether somebody waits for the next run.
func (l *Lane) Wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) > 0
}

// crowded reports whether enough wait for a run that takes its time.
func (l *Lane) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) >= mostWaiting && !l.since.IsZero() && l.clock.Now().Sub(l.since) >= soonDone
}

func (l *Lane) runSince(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = t
}

func (l *Lane) join(end time.Time, events []time.Time) <-chan Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &request{events: events, arrived: l.clock.Now(), end: end, done: make(chan Result, 1)}
	l.waiting = append(l.waiting, r)
	if !l.serving {
		l.serving = true
		go l.serve()
	}
	return r.done
}

// serve runs until nobody waits. A run that panics ends the process, as it would anywhere: all of its requests come again.
func (l *Lane) serve() {
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

// take returns all who wait and have time left; the lane ends when that is nobody.
func (l *Lane) take() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	late := func(r *request) bool { return !r.end.IsZero() && !r.end.After(now) } // they waited for a slot until they gave up
	own := slices.DeleteFunc(l.waiting, late)
	l.waiting, l.serving = nil, len(own) > 0
	return own
}

func (l *Lane) serveOnce(own []*request) {
	l.runSince(l.clock.Now())
	result := l.runFor(own)
	l.runSince(time.Time{})
	for _, r := range append(own, l.seen(result)...) {
		r.done <- result
	}
}

func (l *Lane) runFor(own []*request) Result {
	var events []time.Time
	for _, r := range own {
		events = append(events, r.events...)
	}
	ctx, cancel := withLast(own)
	defer cancel()
	return l.run(ctx, events)
}

// withLast returns a context that ends with the last of them. None of their own contexts does: a run must not end with whoever leaves first.
func withLast(own []*request) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, r := range own {
		if r.end.IsZero() {
			return context.WithCancel(context.Background())
		}
		if r.end.After(last) {
			last = r.end
		}
	}
	return context.WithDeadline(context.Background(), last)
}

// seen takes those out of the waiting who arrived before the listing behind a result began. The schedule and people, whose events have no
// time, want the Deployment to be looked at as well.
func (l *Lane) seen(result Result) []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	var seen []*request
	l.waiting = slices.DeleteFunc(l.waiting, func(r *request) bool {
		covered := r.arrived.Before(result.Began)
		if slices.ContainsFunc(r.events, time.Time.IsZero) {
			covered = r.arrived.Before(result.Looked)
		}
		if covered {
			seen = append(seen, r)
		}
		return covered
	})
	return seen
}
