package simulation

import (
	"context"
	"fmt"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

const (
	writeInterval = time.Second // of one object, at the least
	// A subscription's least back-off should be longer than a lease takes to be late: then what comes again after its run died is not left
	// to a holder that is dead. With less, that waits for the reconcile.
	goodBackoff, leastBackoff, mostBackoff = 30 * time.Second, 10 * time.Second, 600 * time.Second
)

// lane is an instance of Google's function: a process with one clock, which serves requests side by side.
type lane struct {
	*deployer.Lane
	w     *world
	clock *actor // never runs
}

func newLane(w *world, i int) *lane {
	l := &lane{w: w, clock: &actor{w: w, skew: between(w.roll("lane", fmt.Sprint(i)), -10*time.Minute, 10*time.Minute)}}
	l.Lane = deployer.NewLane(l.clock, make(chan struct{}, 1), l.run)
	return l
}

// run is one run of the instance. One that is killed takes its requests with it.
func (l *lane) run(ctx context.Context, events []time.Time) deployer.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := l.w.newActor(ctx, cancel)
	a.skew, a.wanted = l.clock.skew, l.Wanted
	r := l.w.sync(ctx, a, events)
	if a.isDead() {
		return deployer.Result{Outcome: deployer.Failed, Retryable: true}
	}
	return r
}

// push delivers an event as Pub/Sub does, until it is acknowledged or has come too often.
func (w *world) push(m *message) {
	r := w.roll("push", fmt.Sprint(m.id))
	pause := goodBackoff
	if w.p.reconcile {
		pause = leastBackoff
	}
	for range maxReceives {
		ctx, cancel := context.WithTimeout(context.Background(), invocationTime+10*time.Second)
		result, err := w.lanes[r.IntN(len(w.lanes))].Run(ctx, time.Now().Add(invocationTime), []time.Time{m.at})
		cancel()
		if err == nil && !result.Retryable {
			return
		}
		time.Sleep(between(r, pause, 2*pause))
		pause = min(2*pause, mostBackoff)
	}
	w.log("an event is given up")
	w.excused = true // it lies in the dead-letter topic, and somebody is told
}

// awaitTurn is how the storage's client, which tries again what comes too fast, makes a write wait.
func (b *simBucket) awaitTurn(ctx context.Context, key string) error {
	w := b.a.w
	if !w.p.google || b.source >= 0 {
		return nil
	}
	w.mu.Lock()
	turn := time.Now()
	if next := w.written[key].Add(writeInterval); next.After(turn) {
		turn = next.Add(between(w.roll("turn", b.a.name), time.Millisecond, writeInterval))
	}
	w.written[key] = turn
	w.mu.Unlock()
	return b.a.pass(ctx, time.Until(turn))
}
